use serde_json::{Value, json};

use crate::client::*;

fn post(house: &House, what: &str, body: &Value) -> Answer {
    let line = format!("POST /sim/{what}");
    request(
        &house.sim,
        &line,
        "application/json",
        body.to_string().as_bytes(),
    )
    .unwrap()
}

fn get(house: &House, what: &str) -> String {
    request(&house.sim, &format!("GET /sim/{what}"), "", b"")
        .unwrap()
        .text()
}

#[test]
fn a_message_written_with_curl_is_an_update() {
    let house = house();
    let sent = post(&house, "message", &json!({ "chat": ANNA, "text": "hello" })).result();
    let updates = house.call("getUpdates", json!({})).result();
    assert_eq!(updates[0]["update_id"], sent["update_id"]);
    assert_eq!(updates[0]["message"]["from"]["id"], ANNA);
}

#[test]
fn people_edit_press_and_react_with_curl() {
    let house = house();
    house.sim.set_allowed_updates(
        house.bot,
        &[
            "message",
            "edited_message",
            "callback_query",
            "message_reaction",
        ],
    );
    let id = post(&house, "message", &json!({ "chat": ANNA, "text": "a" })).result()["message_id"]
        .clone();
    post(
        &house,
        "edit",
        &json!({ "chat": ANNA, "message_id": id, "text": "b" }),
    )
    .result();
    post(
        &house,
        "callback",
        &json!({ "chat": ANNA, "message_id": id, "data": "yes" }),
    )
    .result();
    post(
        &house,
        "reaction",
        &json!({ "chat": ANNA, "message_id": id, "emoji": "👍" }),
    )
    .result();
    post(&house, "raw", &json!({ "update": { "poll": {} } })).result();
    post(&house, "raw", &json!({ "verbatim": "null" })).result();
    assert_eq!(
        house.sim.pending(house.bot),
        5,
        "a known kind that was not asked for is filtered"
    );
}

#[test]
fn transcript_and_calls_are_text() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, "how are you?");
    house.send("fine").result();
    assert_eq!(
        get(&house, "transcript?chat=7"),
        "1 User 7: how are you?\n2 my_bot: fine\n"
    );
    assert!(get(&house, "transcript").starts_with("chat 7:\n1 User 7"));
    assert!(get(&house, "calls?bot=42").contains("sendMessage"));
    assert!(get(&house, "help").contains("/sim/fault"));
}

#[test]
fn a_fault_can_be_injected_and_removed_with_curl() {
    let house = house();
    let fault = json!({ "method": "sendMessage", "times": 5, "retry_after": 9 });
    post(&house, "fault", &fault).result();
    assert_eq!(house.send("x").status, 429);
    post(&house, "fault", &json!({ "clear": true })).result();
    house.send("x").result();
    assert_eq!(
        post(&house, "fault", &json!({ "kind": "meteor" })).status,
        400
    );
}

#[test]
fn a_reset_forgets_everything_but_the_bots() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, "hello");
    post(&house, "reset", &json!({})).result();
    assert_eq!(house.sim.pending(house.bot), 0);
    assert_eq!(house.sim.transcript(house.bot, ANNA), []);
    house.call("getMe", json!({})).result();
}

#[test]
fn with_several_bots_one_must_be_named() {
    let house = house();
    house.sim.add_bot("43:other", "other_bot");
    let message = json!({ "chat": ANNA, "text": "hello" });
    assert_eq!(post(&house, "message", &message).status, 400);
    let message = json!({ "bot": 43, "chat": ANNA, "text": "hello" });
    post(&house, "message", &message).result();
    assert!(get(&house, "help").contains("/sim/fault"));
}
