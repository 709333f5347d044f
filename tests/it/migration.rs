//! A group that becomes a supergroup gets its answers under its new id, also after a kill.

use std::fs;

use serde_json::{Value, json};

use crate::support::{GROUP, House, SUPERGROUP, wait_for};

/// A house whose group has become a supergroup while an agent holds a message of it.
fn moved() -> (House, crate::support::Agent, i64) {
    let house = House::with_group();
    let gateway = house.gateway();
    let update = house.arrive_in(GROUP, "before");
    let mut agent = house.agent();
    agent.wait_for_message();
    assert!(gateway.stop().success());
    // The service messages that tell of it get lost.
    house
        .sim
        .set_allowed_updates(house.bot(), &["callback_query"]);
    house.sim.migrate(GROUP, SUPERGROUP);
    (house, agent, update)
}

#[track_caller]
fn wait_to_hear(house: &House, texts: &[&str]) {
    wait_for("the answers in the supergroup", || {
        let heard = house.sim.bot_texts(house.bot(), SUPERGROUP);
        if heard == texts { Ok(()) } else { Err(heard) }
    });
}

fn refused(house: &House) -> usize {
    let calls = house.sim.calls_of(house.bot(), "sendMessage");
    let old = calls.iter().filter(|call| call.chat_id == Some(GROUP));
    old.count()
}

#[test]
fn everything_that_waits_for_a_group_follows_it_in_order_and_the_old_id_is_asked_once() {
    let (house, mut agent, update) = moved();
    agent.reply(json!({"text": "one"}));
    agent.reply(json!({"text": "two", "to": update}));
    let gateway = house.gateway();
    wait_to_hear(&house, &["one", "two"]);
    assert_eq!(refused(&house), 1);
    let lines = house.bot_lines(SUPERGROUP);
    assert!(
        lines.iter().all(|line| line.reply_to.is_none()),
        "{lines:?}"
    );

    // Known to the next gateway, and to the person.
    gateway.kill();
    let _gateway = house.gateway();
    let answer = agent.reply(json!({"text": "three", "to": update}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(refused(&house), 1);
    let notice = answer["notices"][0].as_str().unwrap();
    assert!(notice.contains(&SUPERGROUP.to_string()), "{notice}");
    let moved = json!([{"bot_id": house.bot(), "from": GROUP, "to": SUPERGROUP}]);
    assert_eq!(house.status()["moved"], moved);
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(
        text.contains("replace the id with -1000000000050"),
        "{text}"
    );
}

#[test]
fn what_is_written_in_the_supergroup_reaches_the_session_of_the_group() {
    let (house, mut agent, _) = moved();
    agent.reply(json!({"text": "one"}));
    let gateway = house.gateway();
    wait_to_hear(&house, &["one"]);
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    let sent = house.say_in(SUPERGROUP, "after");
    house.wait_until_arrived(sent.update_id.unwrap());
}

#[test]
fn once_the_person_has_put_the_new_id_into_the_configuration_status_is_silent() {
    let (mut house, mut agent, _) = moved();
    agent.reply(json!({"text": "one"}));
    let _gateway = house.gateway();
    wait_to_hear(&house, &["one"]);
    house.config["sessions"]["ONE"]["chat_ids"] = json!([11, SUPERGROUP]);
    house.write_config();
    assert_eq!(house.status()["moved"], Value::Null);
}

#[test]
fn a_kill_before_or_after_the_new_id_is_recorded_loses_and_doubles_nothing() {
    for (point, asked, text) in [
        // The refusal was not recorded, so the fate of that message is unknown.
        ("accepted:before", 2, "↻ may repeat\none"),
        ("accepted:after", 2, "one"),
        ("migration:before", 2, "one"),
        ("migration:after", 1, "one"),
    ] {
        let (house, mut agent, _) = moved();
        agent.reply(json!({"text": "one"}));
        let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
        drop(gateway.end());
        let _gateway = house.gateway();
        wait_to_hear(&house, &[text]);
        assert_eq!(refused(&house), asked, "{point}");
    }
}

#[test]
fn a_full_disk_keeps_the_answer_until_the_new_id_can_be_recorded() {
    let (house, mut agent, _) = moved();
    agent.reply(json!({"text": "one"}));
    let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", "migration:enospc:3")]);
    gateway.wait_for_log("a test lets this write fail");
    wait_to_hear(&house, &["one"]);
    let path = house
        .state()
        .join(format!("bots/{}/migrations.json", house.bot()));
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(file["migrations"][0]["to"], SUPERGROUP);
}

#[test]
fn progress_and_reactions_never_touch_a_message_of_the_supergroup_that_has_an_old_number() {
    let house = House::with_group();
    let gateway = house.gateway();
    let update = house.arrive_in(GROUP, "before");
    let mut agent = house.agent();
    agent.wait_for_message();
    agent.reply(json!({"text": "at work", "keep_open": true}));
    house.wait_until_sent();
    house.sim.migrate(GROUP, SUPERGROUP);
    agent.reply(json!({"text": "still", "keep_open": true}));
    wait_to_hear(&house, &["still"]);
    let reaction = agent
        .call("telegram_react", json!({"emoji": "👍", "to": update}))
        .ok();
    assert_ne!(reaction["status"], "delivered");
    drop(gateway);
    let methods: Vec<String> = house
        .effects()
        .into_iter()
        .filter(|call| call.chat_id == Some(SUPERGROUP))
        .map(|call| call.method)
        .collect();
    assert_eq!(methods, ["sendMessage"]);
}
