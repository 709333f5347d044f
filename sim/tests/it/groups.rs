use serde_json::json;
use telegram_sim::{GroupKind, Standing};

use crate::client::*;

#[test]
fn a_group_message_names_its_author_and_its_chat() {
    let house = house();
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    house.sim.say(house.bot, GROUP, ANNA, "hello");
    let message = house.call("getUpdates", json!({})).result()[0]["message"].clone();
    assert_eq!(
        (&message["chat"]["id"], &message["chat"]["type"]),
        (&json!(GROUP), &json!("group"))
    );
    assert_eq!(message["from"]["id"], ANNA);
}

#[test]
fn all_bots_of_a_group_get_its_messages() {
    let house = house();
    let other = house.sim.add_bot("43:other", "other_bot");
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    house.sim.open_chat(other, GROUP);
    house.sim.say(house.bot, GROUP, ANNA, "hello");
    assert_eq!(
        (house.sim.pending(house.bot), house.sim.pending(other)),
        (1, 1)
    );
}

#[test]
fn a_group_that_became_a_supergroup_names_its_new_id() {
    let house = house();
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    house.sim.open_chat(house.bot, GROUP);
    house.sim.migrate(GROUP, FORUM);
    let answer = house.call("sendMessage", json!({ "chat_id": GROUP, "text": "x" }));
    assert_eq!(
        answer.refusal(),
        "400 Bad Request: group chat was upgraded to a supergroup chat"
    );
    assert_eq!(
        answer.json()["parameters"],
        json!({ "migrate_to_chat_id": FORUM })
    );
    let updates = house.call("getUpdates", json!({})).result();
    assert_eq!(updates[0]["message"]["migrate_to_chat_id"], FORUM);
    assert_eq!(updates[1]["message"]["migrate_from_chat_id"], GROUP);
    house
        .call("sendMessage", json!({ "chat_id": FORUM, "text": "x" }))
        .result();
}

#[test]
fn a_kicked_bot_is_told_from_what() {
    for (chat, kind, what) in [
        (GROUP, GroupKind::Group, "group"),
        (FORUM, GroupKind::Forum, "supergroup"),
    ] {
        let house = house();
        house.sim.add_group(chat, "A group", kind);
        house.sim.block(house.bot, chat);
        let answer = house.call("sendMessage", json!({ "chat_id": chat, "text": "x" }));
        assert_eq!(
            answer.refusal(),
            format!("403 Forbidden: bot was kicked from the {what} chat")
        );
        house.sim.set_standing(house.bot, chat, Standing::NotMember);
        let answer = house.call("sendMessage", json!({ "chat_id": chat, "text": "x" }));
        assert_eq!(
            answer.refusal(),
            format!("403 Forbidden: bot is not a member of the {what} chat")
        );
    }
}

#[test]
fn only_administrators_hear_of_reactions_in_groups() {
    let house = house();
    house
        .sim
        .set_allowed_updates(house.bot, &["message", "message_reaction"]);
    house.sim.add_group(GROUP, "A group", GroupKind::Group);
    let sent = house.sim.say(house.bot, GROUP, ANNA, "hello");
    house.sim.set_standing(house.bot, GROUP, Standing::Member);
    assert_eq!(
        house
            .sim
            .react(house.bot, GROUP, sent.message_id, ANNA, &["👍"]),
        None
    );
    house
        .sim
        .set_standing(house.bot, GROUP, Standing::Administrator);
    assert!(
        house
            .sim
            .react(house.bot, GROUP, sent.message_id, ANNA, &["👍"])
            .is_some()
    );
}
