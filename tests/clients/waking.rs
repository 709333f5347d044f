//! Waking: a message reaches a client that sits idle, with no person at the terminal.

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::{House, texts, wait_for};

/// The text that a woken model reads. It holds no word of any message.
const WAKE_TEXT: &str = "Telegram messages are waiting for this session. Call the tool telegram_poll to read them, then answer with telegram_reply.";

#[test]
fn an_idle_claude_code_is_woken_by_its_inbox_socket_once_for_each_message() {
    wakes(Kind::Claude, "inbox socket");
}

#[test]
fn an_idle_codex_is_woken_by_its_queue_once_for_each_message() {
    wakes(Kind::Codex, "codex queue");
}

fn wakes(kind: Kind, way: &str) {
    let house = House::new();
    let gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.converse("Hello.");
    let mut asked = client.model.asked();
    if kind == Kind::Codex {
        // Only its first call tells which thread it is.
        asked.call("telegram_poll", json!({}));
        asked = client.model.asked();
    }
    asked.say("Hello.");
    session.turn_ends();
    wait_for("a registered agent", || {
        let names = house.names("agents");
        if names.is_empty() { Err(names) } else { Ok(()) }
    });

    for (turn, text) in ["a first errand", "a second errand"]
        .into_iter()
        .enumerate()
    {
        house.say(text);
        let asked = client.model.asked();
        let read = asked.everything();
        assert_eq!(read.matches(WAKE_TEXT).count(), turn + 1, "{read}");
        assert!(!read.contains(text), "content travels by the tool");
        asked.call("telegram_poll", json!({}));
        let asked = client.model.asked();
        assert_eq!(texts(&asked.result()), [text]);
        asked.call("telegram_reply", json!({"text": format!("to {text}")}));
        let asked = client.model.asked();
        assert_eq!(asked.result()["status"], "delivered");
        asked.say("Answered.");
        session.turn_ends();
    }
    house.wait_to_hear(&["to a first errand", "to a second errand"]);
    wait_for("the status to say so", || {
        let waking = house.status()["sessions"][0]["waking"].clone();
        let worked = &waking["ways"][0];
        if worked["name"] == json!(way) && worked["worked_at"].is_string() {
            Ok(())
        } else {
            Err(waking)
        }
    });
    assert!(client.model.is_left_alone(), "woken for nothing");
    assert_eq!(gateway.wakes(), 2);
}
