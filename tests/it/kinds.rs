//! Every kind of message gives one entry, which says what it is, and holds up none of the texts.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::{Agent, House, OWNER};

/// Every content and service field of the Bot API's `Message` up to 10.3, with the fields that the
/// schema gives it, and some invented ones.
const KINDS: &str = include_str!("../data/kinds.json");

/// How many of them are events that wait for the next message.
const EVENTS: usize = 43;

#[derive(Deserialize)]
struct Row {
    kind: String,
    message: Map<String, Value>,
    /// The text that the agent reads; where it is left out, only that it is told something.
    text: Option<String>,
}

fn kinds() -> Vec<Row> {
    serde_json::from_str(KINDS).unwrap()
}

/// The owner's message with these fields.
fn message(house: &House, message_id: usize, fields: &Map<String, Value>) {
    let mut message = json!({
        "message_id": 1000 + message_id,
        "date": house.sim.now(),
        "chat": {"id": OWNER, "type": "private", "first_name": "Ada"},
        "from": {"id": OWNER, "is_bot": false, "first_name": "Ada"},
    });
    message.as_object_mut().unwrap().extend(fields.clone());
    house
        .sim
        .raw_update(house.bot(), json!({"message": message}))
        .unwrap();
}

/// All that waits, page by page.
fn everything(agent: &mut Agent) -> Vec<Value> {
    let mut shown = Vec::new();
    loop {
        let page = agent.poll(json!({"limit": 100}));
        let mut messages = page["messages"].as_array().cloned().unwrap_or_default();
        // A message that is shown again has news of its file.
        messages.retain(|message| message.get("again").is_none());
        if messages.is_empty() {
            return shown;
        }
        shown.extend(messages);
    }
}

#[test]
fn every_kind_of_message_is_shown_with_what_it_is_beside_the_texts_between() {
    let house = House::new();
    let kinds = kinds();
    for (index, kind) in kinds.iter().enumerate() {
        message(&house, index, &kind.message);
        house.say(&format!("text {index}"));
    }
    let gateway = house.gateway();
    house.wait_for_inbox(2 * kinds.len() - EVENTS);
    gateway.wait_until_polling(&house);
    // No kind costs the others a poll. How long a batch takes is for benches/figures (mixed).
    assert_eq!(house.batch_times().len(), (2 * kinds.len()).div_ceil(100));
    // Without waiting: nothing of this is held back.
    let shown = everything(&mut house.agent());
    assert_eq!(shown.len(), 2 * kinds.len() - EVENTS);
    assert_eq!(house.dead_letters(), [""; 0]);
    let mut shown = shown.into_iter();
    for (index, kind) in kinds.iter().enumerate() {
        let fields = json!(kind.message);
        let mut message = shown.next().unwrap();
        let text = if let Some(event) = message["context"][0].as_str() {
            event.strip_prefix("Ada: ").unwrap().to_owned()
        } else {
            assert_eq!(message["kind"], json!(kind.kind), "{fields}");
            let text = message["text"].as_str().unwrap().replace("]\n", "] ");
            message = shown.next().unwrap();
            text
        };
        match &kind.text {
            Some(expected) => assert_eq!(text, expected.replace("]\n", "] "), "{fields}"),
            None => assert!(text.starts_with('[') && text.len() > 4, "{text}: {fields}"),
        }
        assert_eq!(message["text"], json!(format!("text {index}")));
    }
}

#[test]
fn no_kind_stands_twice_in_the_table_without_a_reason() {
    let kinds = kinds();
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.kind.as_str()).collect();
    names.retain(|name| *name != "unknown");
    names.sort_unstable();
    // A photo with and without its caption.
    names.dedup();
    let unknown = kinds.iter().filter(|kind| kind.kind == "unknown").count();
    assert_eq!((names.len(), unknown), (78, 5));
}

#[test]
fn formatting_and_links_are_markdown_and_what_was_typed_stays_as_it_was_typed() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("😀 see docs in a_b.rs:\nfn x() {}")
        .entities(&json!([
            {"type": "text_link", "offset": 7, "length": 4, "url": "https://example.org/"},
            {"type": "code", "offset": 15, "length": 6},
            {"type": "pre", "offset": 23, "length": 9, "language": "rust"},
            {"type": "bold", "offset": 400, "length": 9},
        ]))
        .send();
    let shown = house.agent().wait_for_message();
    assert_eq!(
        shown["messages"][0]["text"],
        "😀 see [docs](https://example.org/) in `a_b.rs`:\n```rust\nfn x() {}\n```"
    );
}

#[test]
fn an_album_of_ten_and_a_paste_of_three_are_one_message_each_and_settled_as_one() {
    let house = House::new();
    for number in 0..10 {
        let caption = if number == 0 {
            json!("ten pictures")
        } else {
            Value::Null
        };
        let fields = json!({"media_group_id": "g", "caption": caption,
            "photo": [{"file_id": number.to_string(), "width": 9, "height": 9}]});
        message(&house, number, fields.as_object().unwrap());
    }
    let paste: Vec<String> = ["a", "b", "c"].map(|letter| letter.repeat(4000)).into();
    for (index, text) in paste.iter().enumerate() {
        let fields = json!({"text": text});
        message(&house, 100 + index, fields.as_object().unwrap());
    }
    let _gateway = house.gateway();
    house.wait_for_inbox(13);
    let mut agent = house.agent();
    let mut shown = Vec::new();
    while shown.len() < 2 {
        let page = agent.wait_for_message();
        shown.extend(page["messages"].as_array().unwrap().clone());
    }
    assert_eq!(shown[0]["text"], "ten pictures");
    assert_eq!(shown[0]["attachments"].as_array().unwrap().len(), 10);
    let parts = shown[1]["parts"].as_u64().unwrap();
    let id = shown[1]["update_id"].clone();
    let whole: String = (1..=parts)
        .map(|part| {
            let page = agent.poll(json!({"message": id, "part": part}));
            page["messages"][0]["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(whole, paste.join("\n"));
    let acked = agent.poll(json!({"ack": [shown[0]["update_id"], id]}));
    assert_eq!(acked["remaining"], 0);
    assert_eq!(
        (house.names("inbox").len(), house.names("done").len()),
        (0, 13)
    );
}
