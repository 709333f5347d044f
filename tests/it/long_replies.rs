//! Replies that no person would scroll through, and short ones behind them.

use serde_json::{Value, json};

use crate::support::{House, wait_for};

/// Lines of text, so many characters together.
fn long(characters: usize) -> String {
    let line = "All of the tests passed, and this is one more line of the report.\n";
    line.chars().cycle().take(characters).collect()
}

fn notices(result: &Value) -> String {
    result["notices"].to_string()
}

#[test]
fn a_reply_beyond_twenty_messages_is_one_document_with_its_beginning_as_text() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("all of it");
    let text = long(90_000);
    let answer = agent.reply(json!({"text": text}));
    assert_eq!(answer["status"], "delivered", "{answer}");
    assert!(notices(&answer).contains("document"), "{answer}");
    assert!(notices(&answer).contains("90,000"), "{answer}");
    let sent = house.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    let name = sent[0].extra["document"]["file_name"].as_str().unwrap();
    assert_eq!(name, "answer.md");
    assert!(house.content(&sent[0]) == text.as_bytes(), "other bytes");
    let start = sent[0].text.trim_end_matches('…').trim_end();
    let length = start.chars().count();
    assert!((900..=1000).contains(&length), "{length}: {start}");
    assert!(text.starts_with(start), "{start}");
    assert_eq!(house.names("inbox"), [""; 0], "the question is settled");
}

#[test]
fn a_reply_of_twenty_messages_is_sent_as_messages() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("much of it");
    let answer = agent.reply(json!({"text": long(78_000)}));
    house.wait_until_the_outbox_is_empty();
    let sent = house.heard();
    assert!((19..=20).contains(&sent.len()), "{}: {answer}", sent.len());
}

#[test]
fn formatting_that_makes_more_than_twenty_messages_makes_a_document_too() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("all names");
    let answer = agent.reply(json!({"text": "**a** b ".repeat(2_100)}));
    assert_eq!(answer["status"], "delivered", "{answer}");
    // Its beginning has more formatting than a caption may have.
    let sent = house.sent();
    assert!(sent.len() <= 3, "{sent:?}");
    assert!(sent.last().unwrap().extra["document"].is_object());
}

#[test]
fn a_long_reply_with_files_comes_before_them_and_repeats_are_noticed() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    let mut agent = house.agent_asked("everything");
    let arguments = json!({"text": long(100_000), "files": ["a.txt"]});
    let answer = agent.call_as("1", "telegram_reply", arguments.clone()).ok();
    let again = agent.call_as("1", "telegram_reply", arguments).ok();
    assert_eq!(again["delivery_id"], answer["delivery_id"], "{again}");
    let names: Vec<Value> = house
        .sent()
        .iter()
        .map(|line| line.extra["document"]["file_name"].clone())
        .collect();
    assert_eq!(names, ["answer.md", "a.txt"]);
}

#[test]
fn a_text_that_is_no_answer_any_more_is_refused_with_a_way_out() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("the log");
    let text = "x".repeat(2_000_001);
    let refusal = agent
        .call("telegram_reply", json!({"text": text}))
        .refused();
    assert!(refusal.contains("2,000,000"), "{refusal}");
    assert!(refusal.contains("`files`"), "{refusal}");
    assert_eq!(house.names("inbox").len(), 1, "nothing is settled");
    let most = agent.reply(json!({"text": "y".repeat(2_000_000)}));
    assert_ne!(most["status"], "failed", "{most}");
    house.wait_until_the_outbox_is_empty();
    assert_eq!(house.sent().len(), 1);
}

#[test]
fn a_short_answer_never_waits_for_more_than_ten_messages_of_a_long_one() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("much of it");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": long(78_000), "to": "home"}));
    agent.reply(json!({"text": "short one", "to": "home"}));
    agent.reply(json!({"text": "short two", "to": "home"}));
    let _gateway = house.gateway();
    wait_for("all of it", || {
        let left = house.names("outbox");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    let heard = house.heard();
    let place = |text: &str| heard.iter().position(|line| line == text).unwrap();
    assert_eq!((place("short one"), place("short two")), (10, 11));
    // The rest of the long one follows in its order.
    let rest: Vec<&String> = heard
        .iter()
        .filter(|line| !line.starts_with("short"))
        .collect();
    let whole: String = rest
        .into_iter()
        .flat_map(|line| line.split_whitespace())
        .collect();
    let meant: String = long(78_000).split_whitespace().collect();
    assert!(whole == meant, "the long one is out of order");
}
