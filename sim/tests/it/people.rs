use std::time::Duration;

use serde_json::{Value, json};

use crate::client::*;

fn first(house: &House, kind: &str) -> Value {
    house.call("getUpdates", json!({})).result()[0][kind].clone()
}

#[test]
fn an_edit_of_a_person_is_an_update_of_its_own() {
    let house = house();
    let sent = house.sim.say(house.bot, ANNA, ANNA, "helo");
    let update = house
        .sim
        .edit(house.bot, ANNA, sent.message_id, "hello")
        .unwrap();
    assert_eq!(Some(update), sent.update_id.map(|id| id + 1));
    let updates = house.call("getUpdates", json!({})).result();
    assert_eq!(
        updates[0]["message"]["text"], "helo",
        "an update is what it was when it came into being"
    );
    assert_eq!(updates[1]["edited_message"]["text"], "hello");
    assert!(updates[1]["edited_message"]["edit_date"].is_i64());
}

#[test]
fn bot_commands_are_marked() {
    let house = house();
    house
        .sim
        .say(house.bot, ANNA, ANNA, "\u{1F600} /status@my_bot now");
    let message = first(&house, "message");
    assert_eq!(
        message["entities"],
        json!([{ "type": "bot_command", "offset": 3, "length": 14 }])
    );
}

#[test]
fn a_message_can_reply_quote_and_belong_to_an_album() {
    let house = house();
    let answer = house.send("forty-two").result()["message_id"]
        .as_i64()
        .unwrap();
    house
        .sim
        .message(house.bot)
        .chat(ANNA)
        .reply_to(answer)
        .quote("two")
        .media_group("9")
        .text("why?")
        .send();
    let message = first(&house, "message");
    assert_eq!(message["reply_to_message"]["text"], "forty-two");
    assert_eq!(message["quote"]["text"], "two");
    assert_eq!(message["media_group_id"], "9");
}

#[test]
fn raw_fields_are_merged_and_null_removes() {
    let house = house();
    let fields =
        json!({ "text": null, "sticker": { "emoji": "👍" }, "from": { "is_premium": true } });
    house
        .sim
        .message(house.bot)
        .chat(ANNA)
        .text("x")
        .raw(fields)
        .send();
    let message = first(&house, "message");
    assert_eq!(message.get("text"), None);
    assert_eq!(message["sticker"]["emoji"], "👍");
    assert_eq!(
        (&message["from"]["id"], &message["from"]["is_premium"]),
        (&json!(ANNA), &json!(true))
    );
}

#[test]
fn dates_follow_the_clock_of_the_simulator() {
    let house = house();
    house.sim.advance(Duration::from_secs(1_000_000));
    let sent = house.sim.say(house.bot, ANNA, ANNA, "from the future");
    assert!((sent.date - house.sim.now()).abs() <= 2);
    let old = house
        .sim
        .message(house.bot)
        .chat(ANNA)
        .text("x")
        .ago(60)
        .send();
    assert!((house.sim.now() - old.date - 60).abs() <= 2);
    house.sim.set_ago(Duration::from_hours(1));
    assert!(house.sim.now() < sent.date - 1_000_000);
}

#[test]
fn a_button_of_a_message_that_is_gone_can_be_pressed() {
    let house = house();
    house.sim.press(house.bot, ANNA, 999, "yes", ANNA).unwrap();
    assert_eq!(first(&house, "callback_query")["message"]["date"], 0);
}

#[test]
fn a_failed_wait_tells_what_the_server_looked_like() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, "unheard");
    house.send("spoken").result();
    let error = house
        .sim
        .wait_for(
            |view| view.pending(house.bot) == 2,
            Duration::from_millis(1),
        )
        .unwrap_err();
    let text = error.to_string();
    for part in ["1 updates pending", "sendMessage", "unheard", "spoken"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_wait_hands_out_what_it_found() {
    let house = house();
    std::thread::scope(|scope| {
        scope.spawn(|| house.send("hello").result());
        let found = house.wait_for(|view| view.bot_texts(house.bot, ANNA).pop());
        assert_eq!(found, "hello");
    });
}

#[test]
fn a_text_longer_than_a_message_comes_in_parts() {
    let house = house();
    let parts = house
        .sim
        .say_long(house.bot, ANNA, ANNA, &"\u{1F600}".repeat(5_000));
    assert_eq!(parts.len(), 2);
    let text = first(&house, "message")["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(text.chars().count(), 4_096);
}

#[test]
fn a_clock_that_stands_still_is_moved_by_hand_only() {
    let house = house();
    let before = house.sim.now();
    house.sim.advance(Duration::from_secs(5));
    assert_eq!(house.sim.now(), before + 5);
}

#[test]
fn people_do_not_edit_what_bots_wrote() {
    let house = house();
    let id = house.send("mine").result()["message_id"].as_i64().unwrap();
    assert_eq!(house.sim.edit(house.bot, ANNA, id, "yours"), None);
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["mine"]);
}
