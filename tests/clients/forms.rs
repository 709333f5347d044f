//! The forms of parameters that no schema names reach us as the model wrote them: no client stands in between.

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::{House, ids};

crate::each_client!(parameters_in_other_forms_than_those_of_the_schema_are_taken);

fn parameters_in_other_forms_than_those_of_the_schema_are_taken(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.start("Look at Telegram.");

    let asked = client.model.asked();
    house.say("how far is it?");
    asked.call(
        "telegram_poll",
        json!({"wait_seconds": "15", "limit": "20", "ack": "", "message": null}),
    );
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(shown["messages"][0]["text"], "how far is it?");
    asked.call(
        "telegram_reply",
        json!({"text": "half", "keep_open": "true", "files": [], "options": [], "to": ""}),
    );
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "accepted");
    asked.call("telegram_react", json!({"emoji": ":+1:"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.call("telegram_poll", json!({"ack": ids(&shown)[0].to_string()}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["acked"], json!(ids(&shown)));
    asked.say("Done.");
    session.turn_ends();
    session.close();
}
