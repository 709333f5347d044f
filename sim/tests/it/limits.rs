use std::time::Duration;

use serde_json::json;
use telegram_sim::GroupKind;

use crate::client::*;

fn limited() -> House {
    let house = house();
    house.sim.rate_limits(true);
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    house.sim.open_chat(house.bot, GROUP);
    house
}

fn retry_after(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 429, "{}", answer.text());
    answer.json()["parameters"]["retry_after"].as_i64().unwrap()
}

#[test]
fn without_limits_nothing_is_too_much() {
    let house = house();
    for _ in 0..40 {
        house.send("x").result();
    }
}

#[test]
fn a_chat_takes_a_short_burst_and_then_one_a_second() {
    let house = limited();
    for _ in 0..3 {
        house.send("x").result();
    }
    assert_eq!(retry_after(&house.send("x")), 3);
    house.sim.open_chat(house.bot, 8);
    house
        .call(
            "sendMessage",
            json!({ "chat_id": 8, "text": "another chat is free" }),
        )
        .result();
    house.sim.advance(Duration::from_secs(3));
    house.send("x").result();
}

#[test]
fn retry_after_decreases_while_one_waits() {
    let house = limited();
    for _ in 0..3 {
        house.send("x").result();
    }
    let first = retry_after(&house.send("x"));
    house.sim.advance(Duration::from_millis(1_500));
    assert!(retry_after(&house.send("x")) < first);
}

#[test]
fn a_group_takes_twenty_a_minute_and_edits_count() {
    let house = limited();
    let message = house
        .call("sendMessage", json!({ "chat_id": GROUP, "text": "0" }))
        .result();
    for n in 1..20 {
        house.sim.advance(Duration::from_secs(1));
        let edit =
            json!({ "chat_id": GROUP, "message_id": message["message_id"], "text": n.to_string() });
        house.call("editMessageText", edit).result();
    }
    house.sim.advance(Duration::from_secs(1));
    let wait = retry_after(&house.call("sendMessage", json!({ "chat_id": GROUP, "text": "x" })));
    assert!((35..=41).contains(&wait), "{wait}");
}

#[test]
fn a_bot_sends_thirty_a_second_to_all_chats_together() {
    let house = limited();
    let mut statuses = Vec::new();
    for chat in 100..140 {
        house.sim.open_chat(house.bot, chat);
        statuses.push(
            house
                .call("sendMessage", json!({ "chat_id": chat, "text": "x" }))
                .status,
        );
    }
    assert_eq!(statuses, [[200; 30].as_slice(), &[429; 10]].concat());
}

#[test]
fn each_part_of_an_album_counts() {
    let house = limited();
    house.sim.add_file("a", "a");
    let part = json!({ "type": "document", "media": "a" });
    house
        .call(
            "sendMediaGroup",
            json!({ "chat_id": ANNA, "media": [part, part, part] }),
        )
        .result();
    retry_after(&house.send("x"));
}

#[test]
fn actions_reactions_and_callbacks_cost_nothing() {
    let house = limited();
    for _ in 0..10 {
        house
            .call(
                "sendChatAction",
                json!({ "chat_id": ANNA, "action": "typing" }),
            )
            .result();
    }
    house.send("x").result();
}

#[test]
fn making_a_topic_counts_as_a_message() {
    let house = limited();
    house.sim.private_topics(house.bot, true);
    let create = || {
        house.call(
            "createForumTopic",
            json!({ "chat_id": ANNA, "name": "Session" }),
        )
    };
    for _ in 0..3 {
        create().result();
    }
    retry_after(&create());
}
