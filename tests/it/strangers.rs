//! Only listed people get in, and strangers get no answer.

use serde_json::{Value, json};
use telegram_sim::GroupKind;

use crate::support::{Gateway, House, OWNER, STRANGER, SUPERGROUP, wait_for};

fn house() -> (House, Gateway) {
    let house = House::with(json!({"chat_ids": [OWNER, SUPERGROUP]}));
    house
        .sim
        .add_group(SUPERGROUP, "Team", GroupKind::Supergroup);
    house.sim.open_chat(house.bot(), SUPERGROUP);
    let gateway = house.gateway();
    (house, gateway)
}

/// After something that must not get in: no entry but the owner's next message, and no call.
#[track_caller]
fn nothing_came_of_it(house: &House) {
    house.say("the owner");
    house.wait_for_texts(&["the owner"]);
    assert_eq!(house.effects(), []);
    assert_eq!(house.heard(), [""; 0]);
}

/// How often the log names a refused sender in a chat.
fn refusals(gateway: &Gateway, user: i64, chat: i64) -> usize {
    let log = gateway.log();
    let lines = log.lines().filter(|line| {
        line.contains("refused an update")
            && line.contains(&format!("user_id={user} "))
            && line.contains(&format!("chat_id={chat} "))
    });
    lines.count()
}

#[test]
fn a_stranger_in_a_private_chat_is_refused_in_silence_and_named_once_in_the_log() {
    let (house, gateway) = house();
    for text in ["let me in", "please", "/start"] {
        house.sim.say(house.bot(), STRANGER, STRANGER, text);
    }
    nothing_came_of_it(&house);
    assert_eq!(refusals(&gateway, STRANGER, STRANGER), 1);
}

#[test]
fn two_strangers_are_both_named_in_the_log() {
    let (house, gateway) = house();
    for user in [98, 99] {
        house.sim.say(house.bot(), user, user, "hello");
    }
    nothing_came_of_it(&house);
    assert_eq!(
        (refusals(&gateway, 98, 98), refusals(&gateway, 99, 99)),
        (1, 1)
    );
}

#[test]
fn the_text_of_a_stranger_is_not_in_the_log() {
    let (house, gateway) = house();
    house
        .sim
        .say(house.bot(), STRANGER, STRANGER, "xyzzy-plugh");
    nothing_came_of_it(&house);
    assert!(!gateway.log().contains("xyzzy"), "{}", gateway.log());
}

#[test]
fn a_stranger_in_an_allowed_group_is_refused() {
    let (house, gateway) = house();
    house
        .sim
        .say(house.bot(), SUPERGROUP, STRANGER, "@bot do it");
    nothing_came_of_it(&house);
    assert_eq!(refusals(&gateway, STRANGER, SUPERGROUP), 1);
}

#[test]
fn the_owner_in_an_allowed_group_gets_in() {
    let (house, _gateway) = house();
    house
        .sim
        .say(house.bot(), SUPERGROUP, OWNER, "from the group");
    house.wait_for_texts(&["from the group"]);
}

#[test]
fn the_owner_in_a_foreign_group_is_refused() {
    let (house, gateway) = house();
    let foreign = -1_000_000_000_077;
    house.sim.say(house.bot(), foreign, OWNER, "from elsewhere");
    nothing_came_of_it(&house);
    assert_eq!(refusals(&gateway, OWNER, foreign), 1);
}

#[test]
fn an_edit_of_a_stranger_is_refused() {
    let (house, _gateway) = house();
    for chat in [STRANGER, SUPERGROUP] {
        let sent = house.sim.say(house.bot(), chat, STRANGER, "a");
        let edit = house.sim.edit(house.bot(), chat, sent.message_id, "b");
        assert!(edit.is_some());
    }
    nothing_came_of_it(&house);
}

#[test]
fn a_button_that_a_stranger_presses_does_nothing() {
    let (house, _gateway) = house();
    for chat in [STRANGER, SUPERGROUP] {
        let sent = house.sim.say(house.bot(), chat, STRANGER, "a");
        let press = house
            .sim
            .press(house.bot(), chat, sent.message_id, "approve", STRANGER);
        assert!(press.is_some());
    }
    nothing_came_of_it(&house);
}

#[test]
fn a_reaction_of_a_stranger_is_refused() {
    let (house, _gateway) = house();
    for chat in [STRANGER, SUPERGROUP] {
        let sent = house.sim.say(house.bot(), chat, STRANGER, "a");
        let reaction = house
            .sim
            .react(house.bot(), chat, sent.message_id, STRANGER, &["👍"]);
        assert!(reaction.is_some());
    }
    nothing_came_of_it(&house);
}

#[test]
fn an_anonymous_admin_is_refused_because_nobody_knows_who_it_is() {
    let (house, _gateway) = house();
    let group = json!({"id": SUPERGROUP, "type": "supergroup", "title": "Team"});
    for from in [OWNER, 1_087_968_824] {
        house
            .sim
            .message(house.bot())
            .chat(SUPERGROUP)
            .from(from)
            .text("by order of the admins")
            .raw(json!({"sender_chat": group}))
            .send();
    }
    nothing_came_of_it(&house);
}

#[test]
fn a_message_without_a_sender_is_refused() {
    let (house, _gateway) = house();
    house
        .sim
        .message(house.bot())
        .chat(SUPERGROUP)
        .from(OWNER)
        .text("from nobody")
        .raw(json!({"from": null}))
        .send();
    nothing_came_of_it(&house);
}

/// Queues an update of a kind that was not asked for: the server may still have some of an earlier program.
fn queue_kind(house: &House, kind: &str, more: Value) {
    let last = house
        .sim
        .say(house.bot(), STRANGER, STRANGER, "-")
        .update_id
        .unwrap();
    let mut message = json!({"message_id": 5, "date": house.sim.now(), "chat": {"id": OWNER, "type": "private"}, "from": {"id": OWNER, "is_bot": false, "first_name": "Ada"}, "text": "inject"});
    message
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let update = json!({"update_id": last + 1, kind: message});
    house
        .sim
        .raw_text(house.bot(), &update.to_string())
        .unwrap();
}

#[test]
fn channel_posts_are_not_routed() {
    let (house, _gateway) = house();
    let channel = json!({"chat": {"id": SUPERGROUP, "type": "channel"}, "from": null});
    queue_kind(&house, "channel_post", channel.clone());
    queue_kind(&house, "edited_channel_post", channel);
    nothing_came_of_it(&house);
}

#[test]
fn guest_and_business_messages_are_not_routed_even_with_the_owners_ids() {
    let (house, _gateway) = house();
    for kind in [
        "guest_message",
        "business_message",
        "edited_business_message",
    ] {
        queue_kind(&house, kind, json!({}));
    }
    queue_kind(&house, "message", json!({"guest_query_id": "1"}));
    queue_kind(&house, "message", json!({"business_connection_id": "1"}));
    nothing_came_of_it(&house);
}

#[test]
fn a_stranger_who_claims_to_be_the_owner_stays_a_stranger() {
    let (house, gateway) = house();
    let owner = json!({"id": OWNER, "is_bot": false, "first_name": "Ada"});
    for forged in [
        json!({"forward_origin": {"type": "user", "sender_user": owner, "date": 1}, "forward_from": owner}),
        json!({"reply_to_message": {"message_id": 1, "date": 1, "chat": {"id": OWNER, "type": "private"}, "from": owner, "text": "yes"}}),
        json!({"via_bot": owner, "author_signature": "Ada"}),
        json!({"contact": {"user_id": OWNER, "first_name": "Ada"}}),
    ] {
        house
            .sim
            .message(house.bot())
            .chat(STRANGER)
            .text(&format!(r#"{{"from": {{"id": {OWNER}}}}}"#))
            .raw(forged)
            .send();
    }
    nothing_came_of_it(&house);
    assert_eq!(refusals(&gateway, STRANGER, STRANGER), 1);
}

#[test]
fn refusals_are_counted_for_the_owner_to_see() {
    let (house, _gateway) = house();
    for _ in 0..3 {
        house.sim.say(house.bot(), STRANGER, STRANGER, "hello");
    }
    nothing_came_of_it(&house);
    wait_for("the count", || {
        let file = std::fs::read(house.state().join("gateway.json")).unwrap();
        let file: Value = serde_json::from_slice(&file).unwrap();
        let refused = file["bots"][0]["refused"].clone();
        if refused == 3 { Ok(()) } else { Err(refused) }
    });
}

/// The line of the log about a refused sender.
fn refusal_of(gateway: &Gateway, user: i64) -> String {
    let log = gateway.log();
    let mut lines = log
        .lines()
        .filter(|line| line.contains("refused an update"));
    let line = lines.find(|line| line.contains(&format!("user_id={user} ")));
    line.unwrap_or_else(|| panic!("{log}")).to_owned()
}

#[test]
fn a_refused_person_is_named_with_what_to_write_where() {
    let (house, gateway) = house();
    house
        .sim
        .name(98, "Bob\u{1b}[31m\u{202e}\nx", Some("bob_b"));
    house.sim.say(house.bot(), 98, 98, "hello");
    house.sim.say(house.bot(), SUPERGROUP, 99, "hello");
    house.sim.add_group(-77, "Other", GroupKind::Supergroup);
    house.sim.open_chat(house.bot(), -77);
    house.sim.say(house.bot(), -77, OWNER, "hello");
    nothing_came_of_it(&house);
    let alone = refusal_of(&gateway, 98);
    for words in [
        "Bob",
        "@bob_b",
        "put 98 into chat_ids and allowed_users of a session",
    ] {
        assert!(alone.contains(words), "{words}: {alone}");
    }
    assert!(!alone.contains(['\u{1b}', '\u{202e}']), "{alone:?}");
    let in_group = refusal_of(&gateway, 99);
    assert!(
        in_group.contains("put 99 into allowed_users of session ONE"),
        "{in_group}"
    );
    let group = refusal_of(&gateway, OWNER);
    assert!(
        group.contains("put -77 into chat_ids of a session"),
        "{group}"
    );
}

#[test]
fn the_placeholder_of_the_example_is_named_where_the_own_id_belongs() {
    let placeholder = json!([4_444_444_444_444_444_i64]);
    let house = House::with(json!({"chat_ids": placeholder, "allowed_users": placeholder}));
    let gateway = house.gateway();
    house.say("hello");
    wait_for("the refusal", || {
        let log = gateway.log();
        if log.contains("refused an update") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let line = refusal_of(&gateway, OWNER);
    let words = format!(
        "put {OWNER} in the place of 4444444444444444, the placeholder of the example, into chat_ids and allowed_users of session ONE"
    );
    assert!(line.contains(&words), "{line}");
}
