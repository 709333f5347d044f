//! The results that the model reads: the tools, the instructions, and results that no client cuts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, Kind};
use crate::model::Asked;
use crate::support::{House, ids};

crate::each_client!(
    the_model_is_offered_the_three_tools_with_their_schemas_and_the_instructions,
    pages_arrive_uncut,
    a_message_longer_than_a_page_is_read_in_parts,
    a_refusal_says_what_to_do,
);

/// Codex cuts the middle out of more than 12,000 bytes, with room for its own words.
const PAGE_BYTES: usize = 9000;

/// The tools as we describe them.
const TOOLS: &str = include_str!("../data/tools.json");

fn the_model_is_offered_the_three_tools_with_their_schemas_and_the_instructions(kind: Kind) {
    let house = House::new();
    let client = Client::registered(kind, &house);
    let _session = client.start("Hello.");
    let asked = client.model.asked();
    let described: Value = serde_json::from_str(TOOLS).unwrap();
    for tool in described.as_array().unwrap() {
        let offered = asked.tool(tool["name"].as_str().unwrap());
        assert_eq!(json!(offered.description), tool["description"]);
        let names = |schema: &Value| -> BTreeSet<String> {
            schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(names(&offered.schema), names(&tool["inputSchema"]));
    }
    let instructions = "A message waits until you answer it or list it in `ack`";
    let end = "check that it still makes sense before you act on it.";
    let everything = asked.everything();
    assert!(everything.contains(instructions), "no instructions");
    assert!(everything.contains(end), "the instructions are cut");
}

fn pages_arrive_uncut(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    // Letters of three bytes: bytes count, not characters.
    let written: Vec<String> = (0..30)
        .map(|n| format!("{n} {}", "漢".repeat(300)))
        .collect();
    let sent: Vec<i64> = written
        .iter()
        .filter_map(|text| house.say(text).update_id)
        .collect();
    house.wait_for_inbox(30);
    let client = Client::registered(kind, &house);
    let _session = client.start("Read everything.");
    let mut seen = Vec::new();
    let mut asked = client.model.asked();
    while seen.len() < sent.len() {
        asked.call("telegram_poll", json!({"limit": 100}));
        asked = client.model.asked();
        let page = page(&asked);
        assert!(!ids(&page).is_empty(), "{page}");
        seen.extend(ids(&page));
        assert_eq!(page["remaining"], json!(sent.len() - ids(&page).len()));
    }
    assert_eq!(seen, sent);
}

fn a_message_longer_than_a_page_is_read_in_parts(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let text: String = (0..3000)
        .map(|n| if n % 10 == 0 { '\n' } else { '😀' })
        .collect();
    let sent = house.say(&text);
    house.wait_for_inbox(1);
    let client = Client::registered(kind, &house);
    let _session = client.start("Read everything.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let mut asked = client.model.asked();
    let first = page(&asked)["messages"][0].clone();
    let parts = first["parts"].as_u64().unwrap();
    assert!(parts > 1, "too small a test: {first}");
    let mut read = first["text"].as_str().unwrap().to_owned();
    for part in 2..=parts {
        asked.call(
            "telegram_poll",
            json!({"message": sent.update_id, "part": part}),
        );
        asked = client.model.asked();
        let shown = page(&asked);
        assert_eq!(shown["messages"][0]["part"], part);
        read.push_str(shown["messages"][0]["text"].as_str().unwrap());
    }
    assert_eq!(read, text);
}

fn a_refusal_says_what_to_do(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let _session = client.start("Answer.");
    let asked = client.model.asked();
    asked.call("telegram_reply", json!({"text": "hello?"}));
    let refusal = client.model.asked().result_text();
    assert!(
        refusal.contains("Use `to`: \"home\" to write to the person on your own initiative"),
        "{refusal}"
    );
}

/// A result as the model reads it: whole, and of the size that was promised.
#[track_caller]
fn page(asked: &Asked) -> Value {
    let text = asked.result_text();
    assert!(text.len() <= PAGE_BYTES, "{} bytes", text.len());
    asked.result()
}
