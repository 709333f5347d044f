//! Hundreds of messages in one session of each client, by hand: `TELEPOST_SOAK=1 tests/run`.

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::House;

const MESSAGES: usize = 200;

fn each_of_many_messages_is_answered_once(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.start("Answer everything.");
    let mut asked = client.model.asked();
    let mut answers = Vec::new();
    for n in 0..MESSAGES {
        house.say(&format!("question {n}"));
        asked.call("telegram_poll", json!({"wait_seconds": 15}));
        asked = client.model.asked();
        let shown = asked.result();
        assert_eq!(
            shown["messages"].as_array().map(Vec::len),
            Some(1),
            "{shown}"
        );
        assert_eq!(shown["messages"][0]["text"], format!("question {n}"));
        let answer = format!("answer {n}");
        asked.call("telegram_reply", json!({"text": answer}));
        asked = client.model.asked();
        assert_eq!(asked.result()["status"], "delivered");
        answers.push(answer);
    }
    asked.say("All answered.");
    session.turn_ends();
    session.close();
    assert_eq!(house.heard(), answers);
    assert_eq!(house.names("inbox"), [""; 0]);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn claude_code_answers_each_of_many_messages_once() {
    each_of_many_messages_is_answered_once(Kind::Claude);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn an_older_claude_code_answers_each_of_many_messages_once() {
    each_of_many_messages_is_answered_once(Kind::OlderClaude);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn codex_answers_each_of_many_messages_once() {
    each_of_many_messages_is_answered_once(Kind::Codex);
}
