//! `keep_open`: progress is one silent message that later progress edits.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, House, OWNER, again, ids};

/// An agent that holds one message of the private chat.
fn asked(house: &House) -> (Agent, i64) {
    let id = house.arrive("a long task");
    let mut agent = house.agent();
    agent.poll(json!({}));
    (agent, id)
}

/// Sends progress, and waits until Telegram has it, so that the next does not take its place.
fn progress(house: &House, agent: &mut Agent, text: &str) -> Value {
    let result = agent.reply(json!({"text": text, "keep_open": true}));
    house.wait_until_sent();
    result
}

/// For each of the bot's messages: its text, how often it was edited, whether it was silent.
fn chat(house: &House) -> Vec<(String, usize, bool)> {
    house
        .bot_lines(OWNER)
        .into_iter()
        .map(|line| (line.text, line.edits, line.silent))
        .collect()
}

fn line(text: &str, edits: usize, silent: bool) -> (String, usize, bool) {
    (text.to_owned(), edits, silent)
}

#[test]
fn progress_is_a_silent_message_and_acknowledges_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, id) = asked(&house);
    let result = progress(&house, &mut agent, "reading");
    assert_eq!(
        (&result["acked"], &result["remaining"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(chat(&house), [line("reading", 0, true)]);
    let held = agent.poll(json!({}));
    assert_eq!((ids(&held), again(&held)), (vec![id], vec![true]));
}

#[test]
fn progress_returns_at_once_while_telegram_hangs() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    house
        .sim
        .fault(Fault::on(house.bot()).method("sendMessage").always().hang());
    let result = agent.reply(json!({"text": "reading", "keep_open": true}));
    assert_eq!(result["status"], "accepted");
    assert_eq!(house.heard(), [""; 0]);
    house.sim.clear_faults();
}

#[test]
fn later_progress_edits_the_first() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    for text in ["reading", "thinking", "writing"] {
        progress(&house, &mut agent, text);
    }
    assert_eq!(chat(&house), [line("writing", 2, true)]);
}

#[test]
fn of_progress_that_could_not_leave_yet_only_the_newest_is_sent() {
    let house = House::new();
    let gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    assert!(gateway.stop().success());
    for text in ["reading", "thinking", "writing"] {
        agent.reply(json!({"text": text, "keep_open": true}));
    }
    let _gateway = house.gateway();
    house.wait_until_sent();
    assert_eq!(chat(&house), [line("writing", 0, true)]);
}

#[test]
fn the_final_reply_is_a_new_message_that_rings_and_settles() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, id) = asked(&house);
    progress(&house, &mut agent, "reading");
    let answered = agent.reply(json!({"text": "done"}));
    assert_eq!(
        (&answered["status"], &answered["acked"]),
        (&json!("delivered"), &json!([id]))
    );
    assert_eq!(
        chat(&house),
        [line("reading", 0, true), line("done", 0, false)]
    );
}

#[test]
fn a_final_reply_ends_the_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    progress(&house, &mut agent, "reading");
    agent.reply(json!({"text": "done"}));
    house.arrive("another task");
    agent.poll(json!({}));
    progress(&house, &mut agent, "reading again");
    assert_eq!(
        chat(&house),
        [
            line("reading", 0, true),
            line("done", 0, false),
            line("reading again", 0, true)
        ]
    );
}

#[test]
fn newly_shown_messages_begin_a_new_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    progress(&house, &mut agent, "reading");
    house.arrive("and this");
    agent.poll(json!({}));
    progress(&house, &mut agent, "reading both");
    progress(&house, &mut agent, "writing");
    assert_eq!(
        chat(&house),
        [line("reading", 0, true), line("writing", 1, true)]
    );
}

#[test]
fn a_message_that_was_not_shown_begins_no_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    progress(&house, &mut agent, "reading");
    house.arrive("unseen");
    progress(&house, &mut agent, "writing");
    assert_eq!(chat(&house), [line("writing", 1, true)]);
}

#[test]
fn an_ack_that_empties_the_conversation_ends_the_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, id) = asked(&house);
    progress(&house, &mut agent, "reading");
    agent.poll(json!({"ack": [id]}));
    agent.reply(json!({"text": "by the way", "to": id, "keep_open": true}));
    house.wait_until_sent();
    assert_eq!(
        chat(&house),
        [line("reading", 0, true), line("by the way", 0, true)]
    );
}

#[test]
fn an_ack_that_leaves_something_of_the_conversation_does_not_end_the_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    house.arrive("two");
    let mut agent = house.agent();
    agent.poll(json!({}));
    progress(&house, &mut agent, "reading");
    agent.poll(json!({"ack": [id]}));
    progress(&house, &mut agent, "writing");
    assert_eq!(chat(&house), [line("writing", 1, true)]);
}

#[test]
fn the_turn_goes_on_after_the_server_was_killed() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    progress(&house, &mut agent, "reading");
    agent.kill();
    progress(&house, &mut house.agent(), "writing");
    assert_eq!(chat(&house), [line("writing", 1, true)]);
}

#[test]
fn progress_longer_than_one_message_loses_its_end() {
    let house = House::new();
    let _gateway = house.gateway();
    let (mut agent, _) = asked(&house);
    progress(&house, &mut agent, &"é".repeat(4097));
    let cut = format!("{}…", "é".repeat(4095));
    assert!(chat(&house) == [line(&cut, 0, true)]);
    progress(&house, &mut agent, &"è".repeat(4096));
    assert!(chat(&house) == [line(&"è".repeat(4096), 1, true)]);
}
