use serde_json::{Value, json};

use crate::client::*;

fn react(house: &House, message: i64, reaction: &Value) -> Answer {
    house.call(
        "setMessageReaction",
        json!({ "chat_id": ANNA, "message_id": message, "reaction": reaction }),
    )
}

fn emoji(emoji: &str) -> Value {
    json!([{ "type": "emoji", "emoji": emoji }])
}

#[test]
fn a_reaction_replaces_the_earlier_one_and_nothing_removes_it() {
    let house = house();
    let message = house.sim.say(house.bot, ANNA, ANNA, "hello").message_id;
    let shown = || house.sim.transcript(house.bot, ANNA)[0].reactions.clone();
    react(&house, message, &emoji("👀")).result();
    react(&house, message, &emoji("👍")).result();
    assert_eq!(shown(), [(house.bot, "👍".to_owned())]);
    react(&house, message, &json!([])).result();
    assert_eq!(shown(), []);
}

#[test]
fn a_variation_selector_makes_a_reaction_invalid() {
    let house = house();
    let message = house.sim.say(house.bot, ANNA, ANNA, "hello").message_id;
    react(&house, message, &emoji("\u{2764}")).result();
    for wrong in ["\u{2764}\u{FE0F}", "✅", "👍\u{1F3FD}", "", "x"] {
        assert_eq!(
            react(&house, message, &emoji(wrong)).refusal(),
            "400 Bad Request: REACTION_INVALID",
            "{wrong}"
        );
    }
}

#[test]
fn the_message_is_looked_for_before_the_emoji() {
    let house = house();
    assert_eq!(
        react(&house, 999, &emoji("✅")).refusal(),
        "400 Bad Request: message to react not found"
    );
}

#[test]
fn a_bot_has_one_reaction_at_most() {
    let house = house();
    let message = house.sim.say(house.bot, ANNA, ANNA, "hello").message_id;
    let two = json!([{ "type": "emoji", "emoji": "👍" }, { "type": "emoji", "emoji": "👀" }]);
    assert_eq!(
        react(&house, message, &two).refusal(),
        "400 Bad Request: REACTIONS_TOO_MANY"
    );
}

#[test]
fn paid_and_custom_reactions_are_refused() {
    let house = house();
    let message = house.sim.say(house.bot, ANNA, ANNA, "hello").message_id;
    for reaction in [
        json!([{ "type": "paid" }]),
        json!([{ "type": "custom_emoji", "custom_emoji_id": "1" }]),
    ] {
        assert_eq!(
            react(&house, message, &reaction).refusal(),
            "400 Bad Request: REACTION_INVALID"
        );
    }
}

#[test]
fn a_person_s_reaction_is_an_update_when_asked_for() {
    let house = house();
    house
        .sim
        .set_allowed_updates(house.bot, &["message_reaction"]);
    let message = house.send("done").result()["message_id"].as_i64().unwrap();
    house
        .sim
        .react(house.bot, ANNA, message, ANNA, &["🎉"])
        .unwrap();
    let update = house.call("getUpdates", json!({})).result()[0]["message_reaction"].clone();
    assert_eq!(
        (&update["old_reaction"], &update["new_reaction"]),
        (&json!([]), &emoji("🎉"))
    );
    assert_eq!(update["message_id"], message);
}
