//! Hooks: a message that comes during a turn is read before it ends, an agent that ends without an answer
//! is reminded, and the person is told if that does not help.

use std::fs;

use serde_json::{Value, json};

use crate::client::{Client, Kind, Session};
use crate::model::Asked;
use crate::support::hooks::{DRAIN, PAUSES_ARE_OVER, TOLD};
use crate::support::{House, texts, wait_for};

const REMINDER: &str = "You were shown 1 Telegram message and have not answered.";

crate::each_client!(
    a_message_that_comes_during_a_turn_is_read_before_it_ends,
    an_agent_that_ends_in_plain_text_is_reminded_and_then_the_person_is_told,
    an_agent_that_answers_after_the_reminder_leaves_nothing_unanswered,
    the_person_is_told_of_a_turn_that_the_api_has_ended,
    a_client_whose_hooks_lost_their_program_works_on_in_silence,
);

fn a_message_that_comes_during_a_turn_is_read_before_it_ends(kind: Kind) {
    let house = House::new();
    let gateway = house.gateway();
    let client = Client::installed(kind, &house);
    let mut session = client.start("Work.");
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    house.arrive("an errand");
    asked.say("I have worked.");
    let asked = client.model.asked();
    let read = asked.everything();
    assert!(read.contains(DRAIN), "{read}");
    assert!(!read.contains("an errand"), "content travels by the tool");
    assert_eq!(turn(&house)["state"], "busy");
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["an errand"]);
    asked.call("telegram_reply", json!({"text": "done"}));
    client.model.asked().say("Answered.");
    session.turn_ends();
    house.wait_to_hear(&["done"]);
    assert!(client.model.is_left_alone(), "kept going for nothing");
    assert_eq!(gateway.wakes(), 0);
}

fn an_agent_that_ends_in_plain_text_is_reminded_and_then_the_person_is_told(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::installed(kind, &house);
    house.arrive("is it raining?");
    let mut session = client.start("Look at Telegram.");
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["is it raining?"]);
    asked.say("It is raining.");
    let asked = client.model.asked();
    let read = asked.everything();
    assert_eq!(read.matches(REMINDER).count(), 1, "{read}");
    asked.say("As I said, it is raining.");
    session.turn_ends();
    house.wait_to_hear(&[TOLD]);
    assert!(client.model.is_left_alone(), "reminded once more");
    session.close();

    // Offered again, to the next agent.
    let mut session = client.start("Look at Telegram.");
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["messages"][0]["again"], true);
    answers(&client, &mut session, asked);
    house.wait_to_hear(&[TOLD, "yes"]);
}

fn an_agent_that_answers_after_the_reminder_leaves_nothing_unanswered(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::installed(kind, &house);
    house.arrive("is it raining?");
    let mut session = client.start("Look at Telegram.");
    client.model.asked().call("telegram_poll", json!({}));
    client.model.asked().say("It is raining.");
    let asked = client.model.asked();
    assert!(asked.everything().contains(REMINDER));
    answers(&client, &mut session, asked);
    house.wait_to_hear(&["yes"]);
    assert_eq!(turn(&house)["forgotten"], Value::Null);
    assert!(client.model.is_left_alone(), "reminded once more");
}

fn the_person_is_told_of_a_turn_that_the_api_has_ended(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::installed(kind, &house);
    house.say("is it raining?");
    house.wait_for_inbox(1);
    let mut session = client.converse("Look at Telegram.");
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["is it raining?"]);
    client.model.break_down();
    drop(asked);
    session.turn_ends();
    house.wait_to_hear(&[TOLD]);
    assert_eq!(house.names("inbox").len(), 1, "kept");
}

#[test]
fn a_codex_that_has_finished_without_answering_is_offered_the_message_again() {
    let house = House::new();
    let gateway = house.gateway_with(&[PAUSES_ARE_OVER]);
    gateway.wait_until_polling(&house);
    let client = Client::installed(Kind::Codex, &house);
    house.arrive("is it raining?");
    let mut session = client.converse("Look at Telegram.");
    for _ in 0..2 {
        ends_in_plain_text(&client, &mut session);
        house.wait_to_hear(&[TOLD]);
    }
    let asked = client.model.asked();
    answers(&client, &mut session, asked);
    house.wait_to_hear(&[TOLD, "yes"]);
    assert!(client.model.is_left_alone(), "woken for nothing");
    assert_eq!(gateway.wakes(), 2);
}

#[test]
fn claude_code_tells_of_every_prompt_and_every_stop() {
    for kind in [Kind::Claude, Kind::OlderClaude] {
        let house = House::new();
        let client = Client::installed(kind, &house);
        let mut session = client.converse("Hello.");
        let asked = client.model.asked();
        house.wait_until_registered();
        asked.say("Hello.");
        session.turn_ends();
        let first = turn(&house);
        assert_eq!(
            (&first["state"], &first["continued"]),
            (&json!("idle"), &json!(0))
        );
        session.say("Work.");
        let asked = client.model.asked();
        let second = turn(&house);
        assert_eq!(second["state"], "busy");
        assert!(second["prompted_at"].is_i64(), "{second}");
        assert_ne!(second["turn"], first["turn"]);
        asked.say("Worked.");
        session.turn_ends();
        assert_eq!(turn(&house)["state"], "idle");
        session.close();
    }
}

/// Its own file tells that it is idle. That of the older one does so at the terminal only.
#[test]
fn without_hooks_the_person_is_told_too() {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(Kind::Claude, &house);
    house.arrive("is it raining?");
    let mut session = client.converse("Look at Telegram.");
    client.model.asked().call("telegram_poll", json!({}));
    client.model.asked().say("It is raining.");
    session.turn_ends();
    house.wait_to_hear(&[TOLD]);
    assert_eq!(house.names("turns"), [] as [&str; 0]);
}

#[test]
fn ten_wakes_that_end_in_plain_text_are_ten_reminders_and_one_word_to_the_person() {
    let house = House::new();
    let gateway = house.gateway_with(&[PAUSES_ARE_OVER]);
    gateway.wait_until_polling(&house);
    let client = Client::installed(Kind::Claude, &house);
    let mut session = client.converse("Hello.");
    client.model.asked().say("Hello.");
    session.turn_ends();
    house.wait_until_registered();
    house.say("is it raining?");
    for _ in 0..10 {
        ends_in_plain_text(&client, &mut session);
        house.wait_to_hear(&[TOLD]);
    }
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    answers(&client, &mut session, asked);
    house.wait_to_hear(&[TOLD, "yes"]);
    assert!(client.model.is_left_alone(), "woken for nothing");
    assert_eq!(gateway.wakes(), 11);
}

#[test]
fn the_hooks_of_the_plugin_do_the_same() {
    for kind in [Kind::Claude, Kind::OlderClaude] {
        let house = House::new();
        let _gateway = house.gateway();
        let client = Client::with_plugin(kind, &house);
        client.allow(&["mcp__plugin_telepost_telegram__*"]);
        house.arrive("is it raining?");
        let mut session = client.converse("Look at Telegram.");
        ends_in_plain_text(&client, &mut session);
        house.wait_to_hear(&[TOLD]);
    }
}

/// A turn in which the agent looks, and goes on in plain text although it is reminded.
#[track_caller]
fn ends_in_plain_text(client: &Client, session: &mut Session) {
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["is it raining?"]);
    asked.say("It is raining.");
    let asked = client.model.asked();
    assert!(asked.everything().contains(REMINDER));
    asked.say("As I said.");
    session.turn_ends();
}

/// A turn that ends with the answer "yes".
#[track_caller]
fn answers(client: &Client, session: &mut Session, asked: Asked) {
    asked.call("telegram_reply", json!({"text": "yes"}));
    client.model.asked().say("Answered.");
    session.turn_ends();
}

#[test]
fn with_plugin_and_installation_an_agent_is_reminded_of_each_message_once() {
    for kind in [Kind::Claude, Kind::OlderClaude] {
        let house = House::new();
        let _gateway = house.gateway();
        let client = Client::with_plugin(kind, &house);
        client.telepost(&house, &["install", "claude", "--yes", "--session", "ONE"]);
        house.say("is it raining?");
        house.wait_for_inbox(1);
        let mut session = client.converse("Look at Telegram.");
        let poll = "mcp__telegram__telegram_poll";
        client.model.asked().call(poll, json!({}));
        client.model.asked().say("It is raining.");
        let asked = client.model.asked();
        assert_eq!(asked.everything().matches(REMINDER).count(), 1);
        house.say("and tomorrow?");
        house.wait_for_inbox(2);
        asked.call(poll, json!({}));
        client.model.asked().say("It will rain.");
        let asked = client.model.asked();
        let read = asked.everything();
        assert_eq!(read.matches("You were shown").count(), 2, "{read}");
        let turn = turn(&house);
        assert_eq!(
            (&turn["state"], &turn["forgotten"]),
            (&json!("busy"), &Value::Null)
        );
        asked.call("mcp__telegram__telegram_reply", json!({"text": "yes"}));
        client.model.asked().say("Answered.");
        session.turn_ends();
        house.wait_to_hear(&["yes"]);
        assert!(client.model.is_left_alone(), "reminded once more");
    }
}

/// The turns that the hooks recorded of the one agent.
#[track_caller]
fn turn(house: &House) -> Value {
    let found = wait_for("a turn file", || house.turn().ok_or(house.names("turns")));
    found.1
}

fn a_client_whose_hooks_lost_their_program_works_on_in_silence(kind: Kind) {
    let house = House::new();
    let client = Client::installed(kind, &house);
    let file = client.hooks_file();
    let text = fs::read_to_string(&file).unwrap();
    let gone = text.replace(env!("CARGO_BIN_EXE_telepost"), "/gone/telepost");
    assert_ne!(gone, text);
    fs::write(&file, gone).unwrap();
    client.trust_hooks_again();
    let mut session = client.converse("Work.");
    client.model.asked().say("I have worked.");
    session.turn_ends();
    assert!(client.model.is_left_alone(), "kept going for nothing");
    let said = session.everything();
    session.close();
    let records = client.records();
    for words in [
        "telepost: not found",
        "hook_non_blocking_error",
        "exited with code",
    ] {
        assert!(!said.contains(words), "{words}: {said}");
        assert!(!records.contains(words), "{words}: {records}");
    }
}
