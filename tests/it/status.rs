//! `status`: how everything is, for people and for programs.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, House, wait_for};

/// Replaces what differs from run to run.
fn settled(mut status: Value) -> Value {
    // Its own tests are in `wake.rs`.
    if let Some(session) = status.pointer_mut("/sessions/0") {
        session.as_object_mut().unwrap().remove("waking");
    }
    status.as_object_mut().unwrap().remove("notes");
    for (pointer, word) in [
        ("/gateway/pid", "PID"),
        ("/gateway/uptime_s", "SECONDS"),
        ("/bots/0/last_poll_age_s", "SECONDS"),
        ("/sessions/0/oldest_age_s", "SECONDS"),
        ("/sessions/0/held_until", "TIME"),
    ] {
        if let Some(value) = status.pointer_mut(pointer)
            && !value.is_null()
        {
            *value = json!(word);
        }
    }
    status
}

#[test]
fn without_a_gateway_the_sessions_are_shown_and_nothing_else() {
    let house = House::new();
    assert_eq!(
        house.status(),
        json!({
            "gateway": null,
            "bots": [],
            "sessions": [{"id": "ONE", "pending": 0, "held": 0, "dead": 0, "outbox": 0, "failed": 0, "oldest_age_s": null}],
            "configuration": house.config_path(),
            "state": house.state(),
            "log": house.state().join("logs"),
            "problems": ["Gateway: not running. Start it with `telepost gateway --detach`; Telegram keeps messages for 24 hours."],
        })
    );
}

#[test]
fn without_a_gateway_people_are_told_how_to_start_one() {
    let house = House::new();
    let output = house.run(&["status"]);
    let folder = house.path().display().to_string();
    let expected = "\
Gateway: not running
Configuration: HOUSE/sessions.json
State: HOUSE/state
Log: HOUSE/state/logs

 session  waiting  shown  oldest  to send  held until  failed
 ONE      0        0              0                    0

Gateway: not running. Start it with `telepost gateway --detach`; Telegram keeps messages for 24 hours.
";
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.replace(&folder, "HOUSE"), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn everything_that_waits_is_counted() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(600));
    agent.reply(json!({"text": "held by the gate"}));
    house.say("two");
    agent.wait_for_message();
    house.say("three");
    house.wait_for_inbox(2);
    let name = format!("test_{}_bot", house.bot());
    let expected = json!({
        "gateway": {"pid": "PID", "version": env!("CARGO_PKG_VERSION"), "uptime_s": "SECONDS"},
        "bots": [{"id": house.bot(), "username": name, "polling": true, "last_poll_age_s": "SECONDS", "conflict": null, "state": "polling"}],
        "sessions": [{"id": "ONE", "pending": 2, "held": 1, "dead": 0, "outbox": 1, "failed": 0, "oldest_age_s": "SECONDS", "held_until": "TIME", "agents": 1}],
        "configuration": house.config_path(),
        "state": house.state(),
        "log": house.state().join("logs"),
    });
    wait_for("the whole status", || {
        let status = settled(house.status());
        if status == expected {
            Ok(())
        } else {
            Err(status)
        }
    });
}

#[test]
fn the_keys_stand_in_the_order_of_the_contract() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    let output = house.run(&["status", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":"))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            "gateway",
            "pid",
            "version",
            "uptime_s",
            "bots",
            "id",
            "username",
            "polling",
            "last_poll_age_s",
            "conflict",
            "state",
            "sessions",
            "id",
            "pending",
            "held",
            "dead",
            "outbox",
            "failed",
            "oldest_age_s",
            "configuration",
            "state",
            "log",
            "notes"
        ]
    );
}

#[test]
fn a_gateway_that_has_just_started_says_within_seconds_that_it_polls() {
    let house = House::new();
    let _gateway = house.gateway();
    // No message comes: a poll that waits for 50 s has told nothing yet.
    house.wait_for_bot(0, "polling", json!(true));
    assert_eq!(
        house.bot_status(0)["username"],
        format!("test_{}_bot", house.bot())
    );
}

#[test]
fn a_bot_whose_token_is_good_again_is_shown_so_although_nobody_writes() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.revoke(house.bot());
    house.wait_for_bot(0, "off", json!("the token is not accepted (401)"));
    house.sim.unrevoke(house.bot());
    house.wait_for_bot(0, "off", Value::Null);
    house.wait_for_bot(0, "polling", json!(true));
}

#[test]
fn a_session_that_left_the_configuration_is_still_shown() {
    let mut house = House::new();
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    assert!(gateway.stop().success());
    house.config["sessions"] =
        json!({"OTHER": {"bot_token_env": "TOKEN_ONE", "chat_ids": [12], "allowed_users": [12]}});
    house.config["default"] = json!("OTHER");
    house.write_config();
    let sessions = house.status()["sessions"].clone();
    let counts: Vec<_> = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| {
            (
                session["id"].as_str().unwrap(),
                session["pending"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(counts, [("OTHER", 0), ("ONE", 1)]);
}

#[test]
fn messages_that_may_stand_twice_are_counted_and_explained() {
    let house = House::new();
    let _gateway = house.gateway();
    let lost = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(lost.answer_lost());
    house.agent_asked("one").reply(json!({"text": "answer"}));
    assert_eq!(house.status()["sessions"][0]["repeats"], 1);
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains("ONE: 1 message may appear twice"), "{text}");
}

#[test]
fn an_agent_is_told_that_the_gateway_is_frozen() {
    let house = House::new();
    let gateway = house.gateway();
    house.wait_for_bot(0, "polling", json!(true));
    let pid = rustix::process::Pid::from_raw(i32::try_from(gateway.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let mut command = house.agent_command("ONE");
    let mut agent = Agent::start(command.env("TELEPOST_TEST_CLOCK_MS", "300000"));
    let shown = agent.poll(json!({}));
    let notice = shown["notices"][0].as_str().unwrap();
    assert!(
        notice.contains("the gateway does not poll any more"),
        "{shown}"
    );
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
}
