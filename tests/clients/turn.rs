//! A turn: the person writes, the model is shown it, reacts and answers, and the answer is there once.

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::{House, ids};

crate::each_client!(a_message_is_shown_reacted_to_and_answered_once);

fn a_message_is_shown_reacted_to_and_answered_once(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.start("Look at Telegram.");

    let asked = client.model.asked();
    house.say("what is 6 times 7?");
    asked.call("telegram_poll", json!({"wait_seconds": 15}));
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(shown["messages"][0]["text"], "what is 6 times 7?");
    asked.call("telegram_react", json!({"emoji": "👀"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.call("telegram_reply", json!({"text": "42"}));
    let asked = client.model.asked();
    let answered = asked.result();
    assert_eq!(answered["status"], "delivered", "{answered}");
    assert_eq!(answered["acked"], json!(ids(&shown)));
    asked.say("Answered.");
    session.turn_ends();
    session.close();
    assert_eq!(house.heard(), ["42"]);
    assert_eq!(house.names("inbox"), [""; 0]);
}
