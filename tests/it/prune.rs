//! A changed configuration: the gateway takes it over, and a session that is no longer in it keeps
//! everything until a person removes it.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::home::{err, out};
use crate::support::{Background, House, OWNER, STRANGER, names_in, wait_for};

/// The person of session `TWO`.
const OTHER: i64 = 12;

/// Session `ONE`, and a session `TWO` with a message that waits, an answer that is not sent, and no
/// place in the configuration any more. No gateway runs.
fn left_behind() -> House {
    let mut house = House::new();
    house.share_bot("TWO", OTHER);
    let gateway = house.gateway();
    house.sim.say(house.bot(), OTHER, OTHER, "first");
    let mut agent = house.agent_of("TWO");
    agent.wait_for_message();
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "not sent"}));
    agent.close();
    let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", "in-flight:enospc:1000")]);
    house.sim.say(house.bot(), OTHER, OTHER, "second");
    wait_for("the second message", || {
        let names = house.names_of("TWO", "inbox");
        if names.len() == 1 { Ok(()) } else { Err(names) }
    });
    assert!(gateway.stop().success());
    forget(&mut house, "TWO");
    house
}

/// Takes a session out of the configuration.
fn forget(house: &mut House, session: &str) {
    let sessions = house.config["sessions"].as_object_mut().unwrap();
    sessions.remove(session).unwrap();
    house.write_config();
}

fn session_report(house: &House, id: &str) -> Value {
    let status = house.status();
    let sessions = status["sessions"].as_array().unwrap();
    let found = sessions.iter().find(|session| session["id"] == id);
    found.cloned().unwrap_or_default()
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(err(output).contains(words), "{}", err(output));
}

fn folder(house: &House) -> Vec<String> {
    names_in(&house.state().join("sessions"))
}

#[test]
fn a_session_that_is_no_longer_configured_keeps_everything_and_status_shows_it() {
    let house = left_behind();
    let _gateway = house.gateway();
    let report = session_report(&house, "TWO");
    assert_eq!(report["configured"], false, "{report}");
    assert_eq!(
        (&report["pending"], &report["outbox"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(session_report(&house, "ONE")["configured"], Value::Null);
    let text = out(&house.run(&["status"]));
    assert!(text.contains("TWO is not in the configuration"), "{text}");
    // No gateway sends for it.
    house.say("for ONE");
    house.wait_for_inbox(1);
    assert_eq!(house.sim.call_count(house.bot(), "sendMessage"), 0);
}

#[test]
fn a_session_that_comes_back_into_the_configuration_goes_on_where_it_was() {
    let mut house = left_behind();
    drop(house.gateway());
    house.share_bot("TWO", OTHER);
    let _gateway = house.gateway();
    let texts = || house.sim.bot_texts(house.bot(), OTHER);
    wait_for("the answer", || match texts() {
        texts if texts == ["not sent"] => Ok(()),
        texts => Err(texts),
    });
    let shown = house.agent_of("TWO").wait_for_message();
    assert_eq!(shown["messages"][0]["text"], "second");
}

#[test]
fn a_gateway_takes_over_a_changed_configuration_and_the_messages_that_came_meanwhile() {
    let mut house = House::new();
    let one = house.gateway();
    house.arrive("before");
    house.config["sessions"]["ONE"]["chat_ids"] = json!([OWNER, STRANGER]);
    house.config["sessions"]["ONE"]["allowed_users"] = json!([OWNER, STRANGER]);
    house.write_config();
    let started = house.run(&["gateway", "--replace", "--detach"]);
    assert!(started.status.success(), "{started:?}");
    let _background = Background(&house);
    assert!(one.end().0.success());
    house
        .sim
        .say(house.bot(), STRANGER, STRANGER, "no stranger now");
    house.wait_for_texts(&["before", "no stranger now"]);
}

#[test]
fn a_configuration_that_is_refused_replaces_nobody() {
    let mut house = House::new();
    let mut gateway = house.gateway();
    house.config["sessions"]["ONE"]["allowed_users"] = json!([]);
    house.write_config();
    let replaced = house.run(&["gateway", "--replace", "--detach"]);
    assert_eq!(replaced.status.code(), Some(3), "{replaced:?}");
    house.say("still heard");
    house.wait_for_inbox(1);
    assert!(gateway.ended().is_none());
}

#[test]
fn prune_says_what_is_lost_and_removes_only_what_is_not_configured() {
    let house = left_behind();
    let asked = house.run(&["prune"]);
    refused(&asked, "there is no terminal to ask for confirmation");
    let text = out(&asked);
    for line in [
        "Session TWO is not in the configuration",
        "waiting messages: 1",
        "answers that are waiting to be sent: 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(folder(&house), ["ONE", "TWO"]);

    let pruned = house.run(&["prune", "--yes"]);
    assert!(pruned.status.success(), "{pruned:?}");
    assert!(out(&pruned).contains("Session TWO was removed."));
    assert_eq!(folder(&house), ["ONE"]);
    let again = out(&house.run(&["prune", "--yes"]));
    assert!(again.contains("nothing to remove"), "{again}");
}

#[test]
fn prune_refuses_a_session_that_is_configured_served_unknown_or_has_an_agent() {
    let mut house = House::new();
    house.share_bot("TWO", OTHER);
    let gateway = house.gateway();
    let mut agent = house.agent_of("TWO");
    agent.poll(json!({}));
    refused(
        &house.run(&["prune", "TWO", "--yes"]),
        "is in the configuration",
    );
    refused(
        &house.run(&["prune", "THREE", "--yes"]),
        "there is no session THREE",
    );

    forget(&mut house, "TWO");
    let words = format!("telepost mcp, pid {}", agent.pid());
    refused(&house.run(&["prune", "TWO", "--yes"]), &words);
    assert!(agent.close().success());
    refused(
        &house.run(&["prune", "TWO", "--yes"]),
        "still serves session TWO",
    );
    assert_eq!(folder(&house), ["ONE", "TWO"]);

    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    assert!(house.run(&["prune", "TWO", "--yes"]).status.success());
    assert_eq!(folder(&house), ["ONE"]);
}

/// For the crash table: killed before, nothing is touched; killed after, it is gone, and the next
/// one clears up.
#[test]
fn prune_dies_at_prune() {
    for (point, left) in [
        ("prune:before", vec!["ONE", "TWO"]),
        ("prune:after", vec!["ONE"]),
    ] {
        for power in [false, true] {
            let house = left_behind();
            let mut command = house.command(&["prune", "--yes"]);
            command.env("TELEPOST_CRASH_AT", point);
            if power {
                command.env("TELEPOST_POWER_LOSS", "1");
            }
            assert!(!command.output().unwrap().status.success());
            let unsynced = power && point == "prune:after";
            let left = if unsynced {
                vec!["ONE", "TWO"]
            } else {
                left.clone()
            };
            assert_eq!(folder(&house), left, "{point}, power: {power}");
            assert!(house.run(&["prune", "--yes"]).status.success());
            let all = fs::read_dir(house.state().join("sessions")).unwrap();
            let all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
            let left = all
                .iter()
                .filter(|name| name.to_string_lossy().contains("TWO"));
            assert_eq!(left.count(), 0, "{all:?}");
        }
    }
}
