//! An agent that polls and ends its turn in plain text: the person is told, once, and the message is
//! offered again, ever more seldom.

use std::fs;

use serde_json::json;

use crate::support::client::{Client, says_since};
use crate::support::hooks::{PAUSES_ARE_OVER, Said, TOLD};
use crate::support::{Agent, House, OWNER, texts, wait_for};

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A turn that ends in plain text although its agent was reminded.
#[track_caller]
fn ends_in_plain_text(house: &House, turn: &str) {
    let Said::Context(reminder) = house.stops(turn, false) else {
        panic!("no reminder")
    };
    assert!(reminder.starts_with("You were shown "), "{reminder}");
    assert_eq!(house.stops(turn, true), Said::Nothing);
}

#[test]
fn the_person_is_told_when_the_agent_has_finished_without_answering() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("is it raining?");
    let Said::Context(_) = house.stops("a", false) else {
        panic!("no reminder")
    };
    assert_eq!(house.heard(), [] as [&str; 0], "it may still answer");
    assert_eq!(house.stops("a", true), Said::Nothing);
    house.wait_to_hear(&[TOLD]);
    // Kept, and offered again.
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["is it raining?"]);
    assert_eq!(shown["messages"][0]["again"], true);
    agent.reply(json!({"text": "yes"}));
    house.wait_to_hear(&[TOLD, "yes"]);
    assert_eq!(house.names("inbox"), [] as [&str; 0]);
}

#[test]
fn it_is_said_of_which_message_and_in_its_chat() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("one");
    house.arrive("two");
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    let newest = shown["messages"][1]["message_id"].clone();
    ends_in_plain_text(&house, "a");
    let told = "The agent finished without answering. Your 2 messages are kept, and the agent will be shown them again.";
    house.wait_to_hear(&[told]);
    let transcript = house.sim.transcript(house.bot(), OWNER);
    let notice = transcript.iter().find(|line| line.text == told).unwrap();
    assert_eq!(json!(notice.reply_to), newest);
}

#[test]
fn ten_turns_in_plain_text_are_ten_reminders_and_one_word_to_the_person() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway_with(&[PAUSES_ARE_OVER]);
    gateway.wait_until_polling(&house);
    let mut agent = house.agent_registered();
    house.say("is it raining?");
    for repetition in 0..10 {
        client.wait_for_a_wake();
        let turn = format!("wake {repetition}");
        house.prompted(&turn);
        let shown = agent.poll(json!({}));
        assert_eq!(texts(&shown), ["is it raining?"]);
        ends_in_plain_text(&house, &turn);
        house.wait_to_hear(&[TOLD]);
    }
    client.wait_for_a_wake();
    house.prompted("the last wake");
    agent.reply(json!({"text": "yes"}));
    assert_eq!(house.stops("the last wake", false), Said::Nothing);
    house.wait_to_hear(&[TOLD, "yes"]);
    client.is_left_alone();
    assert_eq!(gateway.wakes(), 11);
}

#[test]
fn an_agent_that_has_forgotten_is_left_alone_until_its_pause_is_over() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let mut agent = house.agent_registered();
    house.say("one");
    client.wait_for_a_wake();
    house.prompted("a");
    agent.wait_for_message();
    ends_in_plain_text(&house, "a");
    house.wait_to_hear(&[TOLD]);
    client.is_left_alone();
    house.wait_until_put_away(1);
    // The pause outlives the gateway. Another person's message does not wait for it.
    gateway.kill();
    let gateway = house.gateway();
    house.say("two");
    client.wait_for_a_wake();
    house.prompted("b");
    let shown = agent.wait_for_message();
    assert_eq!(texts(&shown), ["two"]);
    assert_eq!(house.heard(), [TOLD]);
    gateway.kill();
    let _gateway = house.gateway_with(&[PAUSES_ARE_OVER]);
    client.is_left_alone();
    ends_in_plain_text(&house, "b");
    house.wait_to_hear(&[TOLD, TOLD]);
    client.wait_for_a_wake();
}

#[test]
fn without_hooks_an_agent_that_is_idle_for_a_while_has_finished() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    says_since(&house, "busy", now());
    let _agent = house.agent_asked("one");
    gateway.wait_for_log("update_id=300000001");
    assert_eq!(house.heard(), [] as [&str; 0]);
    says_since(&house, "idle", now());
    house.wait_to_hear(&[TOLD]);
    house.wait_until_put_away(1);
    // Then it is as with hooks: the pause, the wake.
    gateway.kill();
    let _gateway = house.gateway_with(&[PAUSES_ARE_OVER]);
    client.wait_for_a_wake();
    assert_eq!(house.heard(), [TOLD]);
}

#[test]
fn an_agent_that_ends_right_after_its_turn_has_forgotten_all_the_same() {
    let house = House::new();
    let gateway = house.gateway();
    let agent = house.agent_asked("one");
    gateway.kill();
    ends_in_plain_text(&house, "a");
    assert_eq!(house.hook("end", json!({"session_id": "s"})), Said::Nothing);
    agent.close();
    let _gateway = house.gateway();
    house.wait_to_hear(&[TOLD]);
    let shown = house.agent().thread("another").wait_for_message();
    assert_eq!(texts(&shown), ["one"]);
}

#[test]
fn of_two_threads_of_one_client_only_the_one_that_has_finished_has_forgotten() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut one = house.agent().thread("thread-1");
    let mut two = house.agent().thread("thread-2");
    house.say("one");
    one.wait_for_message();
    house.say("two");
    two.wait_for_message();
    assert!(matches!(
        house.thread_stops("thread-1", false),
        Said::Block(_)
    ));
    assert_eq!(house.thread_stops("thread-1", true), Said::Nothing);
    house.wait_to_hear(&[TOLD]);
    let transcript = house.sim.transcript(house.bot(), OWNER);
    let about = transcript.iter().find(|line| line.text == "one").unwrap();
    let notice = transcript.iter().find(|line| line.text == TOLD).unwrap();
    assert_eq!(notice.reply_to, Some(about.message_id));
    two.reply(json!({"text": "to two"}));
    house.wait_to_hear(&[TOLD, "to two"]);
}

/// A gateway that dies at this point while it tells, and one that takes its place.
fn gateway_dies_at(point: &str) {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    gateway.kill();
    let dying = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
    dying.wait_until_polling(&house);
    ends_in_plain_text(&house, "a");
    dying.end();
    let _gateway = house.gateway();
    let heard = |end: &str| {
        wait_for(end, || {
            let heard = house.heard();
            let ends = heard.last().is_some_and(|last| last.ends_with(end));
            if ends { Ok(heard) } else { Err(heard) }
        })
    };
    heard(TOLD);
    agent.reply(json!({"text": "done"}));
    // The dying one may have had its notice under way: then it comes once more, marked.
    let mut heard = heard("done");
    heard.retain(|text| !text.starts_with("↻ may repeat\n"));
    assert!(heard == ["done"] || heard == [TOLD, "done"], "{heard:?}");
}

#[test]
fn a_gateway_that_dies_while_it_tells_the_person_tells_once() {
    for point in ["accept:before", "accept:after", "wake:before", "wake:after"] {
        gateway_dies_at(point);
    }
}

#[test]
fn an_agent_that_answers_in_time_has_forgotten_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent: Agent = house.agent_asked("one");
    let Said::Context(_) = house.stops("a", false) else {
        panic!("no reminder")
    };
    agent.reply(json!({"text": "yes"}));
    assert_eq!(house.stops("a", true), Said::Nothing);
    house.say("two");
    agent.wait_for_message();
    agent.reply(json!({"text": "yes again"}));
    house.wait_to_hear(&["yes", "yes again"]);
    wait_for("a note of what was forgotten", || {
        let text = fs::read_to_string(house.session("wake.json")).unwrap_or_default();
        if text.contains("\"forgotten\"") {
            Err(text)
        } else {
            Ok(())
        }
    });
}

#[test]
fn what_is_answered_and_not_yet_settled_was_not_forgotten() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    gateway.kill();
    let never_settles = ("TELEPOST_FAIL_AT", "settle:eio:99");
    let mut command = house.agent_command("ONE");
    let mut agent = Agent::start(command.env(never_settles.0, never_settles.1));
    agent.wait_for_message();
    ends_in_plain_text(&house, "a");
    let _refused = agent.call("telegram_reply", json!({"text": "done"}));
    assert!(agent.close().success());
    let gateway = house.gateway_with(&[never_settles]);
    wait_for("somebody to look at what it held", || {
        let text = fs::read_to_string(house.session("wake.json")).unwrap_or_default();
        if text.contains("\"forgotten\"") {
            Ok(())
        } else {
            Err(text)
        }
    });
    gateway.kill();
    let _gateway = house.gateway();
    house.wait_until_put_away(1);
    assert_eq!(house.heard(), ["done"]);
}
