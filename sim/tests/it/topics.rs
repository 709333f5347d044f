use serde_json::{Value, json};
use telegram_sim::{GroupKind, Standing};

use crate::client::*;

fn forum() -> House {
    let house = house();
    house.sim.add_group(FORUM, "The forum", GroupKind::Forum);
    house.sim.open_chat(house.bot, FORUM);
    house
}

fn send_to(house: &House, chat: i64, topic: i64) -> Answer {
    house.call(
        "sendMessage",
        json!({ "chat_id": chat, "message_thread_id": topic, "text": "x" }),
    )
}

#[test]
fn a_message_to_a_topic_says_so() {
    let house = forum();
    let topic = house.sim.add_topic(house.bot, FORUM, "Work");
    let message = send_to(&house, FORUM, topic).result();
    assert_eq!(
        (&message["message_thread_id"], &message["is_topic_message"]),
        (&json!(topic), &json!(true))
    );
    assert_eq!(
        message["reply_to_message"]["forum_topic_created"]["name"],
        "Work"
    );
}

#[test]
fn general_must_not_be_named() {
    let house = forum();
    assert_eq!(
        send_to(&house, FORUM, 1).refusal(),
        "400 Bad Request: message thread not found"
    );
    let message = house
        .call("sendMessage", json!({ "chat_id": FORUM, "text": "x" }))
        .result();
    assert_eq!(message.get("message_thread_id"), None);
}

#[test]
fn no_topic_is_number_one() {
    let house = forum();
    assert!(house.sim.add_topic(house.bot, FORUM, "Work") > 1);
}

#[test]
fn an_unknown_topic_is_not_found() {
    let house = forum();
    assert_eq!(
        send_to(&house, FORUM, 77).refusal(),
        "400 Bad Request: message thread not found"
    );
}

#[test]
fn outside_of_forums_a_topic_is_ignored() {
    let house = house();
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    house.sim.open_chat(house.bot, GROUP);
    for chat in [GROUP, ANNA] {
        let message = send_to(&house, chat, 77).result();
        assert_eq!(message.get("message_thread_id"), None);
    }
}

#[test]
fn a_closed_topic_takes_nothing_until_it_is_open_again() {
    let house = forum();
    let topic = house.sim.add_topic(house.bot, FORUM, "Work");
    house.sim.close_topic(house.bot, FORUM, topic);
    assert_eq!(
        send_to(&house, FORUM, topic).refusal(),
        "400 Bad Request: TOPIC_CLOSED"
    );
    house.sim.reopen_topic(house.bot, FORUM, topic);
    send_to(&house, FORUM, topic).result();
}

#[test]
fn general_can_be_closed() {
    let house = forum();
    house.sim.close_topic(house.bot, FORUM, 0);
    assert_eq!(
        send_to(&house, FORUM, 0).refusal(),
        "400 Bad Request: TOPIC_CLOSED"
    );
}

#[test]
fn a_deleted_topic_is_not_found_and_still_takes_chat_actions() {
    let house = forum();
    let topic = house.sim.add_topic(house.bot, FORUM, "Work");
    house.sim.delete_topic(house.bot, FORUM, topic);
    assert_eq!(
        send_to(&house, FORUM, topic).refusal(),
        "400 Bad Request: message thread not found"
    );
    let action = json!({ "chat_id": FORUM, "message_thread_id": topic, "action": "typing" });
    house.call("sendChatAction", action).result();
}

#[test]
fn a_reply_stays_in_the_topic_of_its_message() {
    let house = forum();
    let topic = house.sim.add_topic(house.bot, FORUM, "Work");
    let asked = house
        .sim
        .message(house.bot)
        .chat(FORUM)
        .from(ANNA)
        .topic(topic)
        .text("?")
        .send();
    let reply = json!({ "chat_id": FORUM, "text": "!", "reply_parameters": { "message_id": asked.message_id } });
    assert_eq!(
        house.call("sendMessage", reply).result()["message_thread_id"],
        topic
    );
}

#[test]
fn private_chats_have_topics_when_the_bot_has_them() {
    let house = house();
    assert_eq!(
        house.call("getMe", json!({})).result()["has_topics_enabled"],
        false
    );
    let create = || {
        house.call(
            "createForumTopic",
            json!({ "chat_id": ANNA, "name": "Session 1" }),
        )
    };
    assert_eq!(
        create().refusal(),
        "400 Bad Request: the chat is not a forum"
    );
    house.sim.private_topics(house.bot, true);
    assert_eq!(
        house.call("getMe", json!({})).result()["has_topics_enabled"],
        true
    );
    let topic = create().result()["message_thread_id"].as_i64().unwrap();
    assert_eq!(
        send_to(&house, ANNA, topic).result()["is_topic_message"],
        true
    );
    assert_eq!(
        send_to(&house, ANNA, topic + 50).refusal(),
        "400 Bad Request: message thread not found"
    );
}

#[test]
fn a_bot_makes_renames_closes_and_deletes_topics() {
    let house = forum();
    let created = house
        .call(
            "createForumTopic",
            json!({ "chat_id": FORUM, "name": "Work" }),
        )
        .result();
    let topic = &created["message_thread_id"];
    let change = |method: &str, more: Value| {
        let mut params = json!({ "chat_id": FORUM, "message_thread_id": topic });
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        house.call(method, params)
    };
    assert_eq!(
        change("editForumTopic", json!({ "name": "Work" })).refusal(),
        "400 Bad Request: TOPIC_NOT_MODIFIED"
    );
    change("editForumTopic", json!({ "name": "Play" })).result();
    change("closeForumTopic", json!({})).result();
    assert_eq!(
        change("closeForumTopic", json!({})).refusal(),
        "400 Bad Request: TOPIC_NOT_MODIFIED"
    );
    change("reopenForumTopic", json!({})).result();
    change("deleteForumTopic", json!({})).result();
    assert_eq!(
        change("closeForumTopic", json!({})).refusal(),
        "400 Bad Request: message thread not found"
    );
}

#[test]
fn making_a_topic_needs_a_name_and_the_right() {
    let house = forum();
    let create = |name: &str| {
        house
            .call(
                "createForumTopic",
                json!({ "chat_id": FORUM, "name": name }),
            )
            .refusal()
    };
    assert_eq!(create(" "), "400 Bad Request: TOPIC_TITLE_EMPTY");
    assert_eq!(
        create(&"x".repeat(129)),
        "400 Bad Request: TOPIC_TITLE_TOO_LONG"
    );
    house.sim.set_standing(house.bot, FORUM, Standing::Member);
    assert_eq!(
        create("Work"),
        "400 Bad Request: not enough rights to create a topic"
    );
}

#[test]
fn a_reply_in_general_has_a_thread_that_is_no_topic() {
    let house = forum();
    let first = house.sim.say(house.bot, FORUM, ANNA, "one");
    house
        .sim
        .message(house.bot)
        .chat(FORUM)
        .from(ANNA)
        .reply_to(first.message_id)
        .text("two")
        .send();
    let reply = house.call("getUpdates", json!({})).result()[1]["message"].clone();
    assert_eq!(reply["message_thread_id"], first.message_id);
    assert_eq!(reply.get("is_topic_message"), None);
}

#[test]
fn what_people_do_to_topics_is_told_by_service_messages() {
    let house = forum();
    let topic = house.sim.add_topic(house.bot, FORUM, "Work");
    house.sim.rename_topic(house.bot, FORUM, topic, "Play");
    house.sim.close_topic(house.bot, FORUM, topic);
    house.sim.reopen_topic(house.bot, FORUM, topic);
    let updates = house.call("getUpdates", json!({})).result();
    for (update, field) in [
        "forum_topic_created",
        "forum_topic_edited",
        "forum_topic_closed",
        "forum_topic_reopened",
    ]
    .iter()
    .enumerate()
    {
        let message = &updates[update]["message"];
        assert!(message[field].is_object(), "{message}");
        assert_eq!(message["message_thread_id"], topic);
    }
}
