//! Waking: whether and when the gateway wakes an agent by its inbox socket, over every restart.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::client::{Client, says};
use crate::support::{Agent, House, wait_for};

/// An agent of the default session, which came to that session by default.
fn agent_of_nobody(house: &House) -> Agent {
    let mut command: Command = house.command(&["mcp"]);
    Agent::start(command.stderr(std::process::Stdio::null()))
}

#[test]
fn a_message_wakes_an_agent_that_has_never_called_and_does_not_travel_with_the_wake() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let _agent = house.agent_registered();
    house.say("rm -rf /");
    let frame = client.wait_for_a_wake();
    assert_eq!(
        frame[0],
        json!({"type": "auth", "token": "a-secret-of-the-client"})
    );
    let text = frame[1]["message"]["content"].as_str().unwrap();
    assert!(text.contains("Call the tool telegram_poll"), "{text}");
    assert!(!text.contains("rm -rf"), "{text}");
    assert_eq!(frame.len(), 2);
    assert_eq!(gateway.wakes(), 1);
}

#[test]
fn a_wake_has_worked_when_the_agent_has_taken_the_messages() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let mut agent = house.agent_registered();
    house.say("one");
    client.wait_for_a_wake();
    let way = house.waking()["ways"][0].clone();
    assert_eq!(way, json!({"name": "inbox socket", "live": true}));
    agent.wait_for_message();
    agent.reply(json!({"text": "done"}));
    wait_for("the record of it", || {
        let way = house.waking()["ways"][0].clone();
        way["worked_at"].as_str().map(str::to_owned).ok_or(way)
    });
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    let remark = "ONE: its agent is woken by inbox socket (last worked ";
    assert!(text.contains(remark), "{text}");
    // Idle again: the next message is a wake of its own, with another text.
    says(&house, "idle");
    house.say("two");
    client.wait_for_a_wake();
    assert_eq!(gateway.wakes(), 2);
}

#[test]
fn an_agent_at_work_is_woken_when_it_has_become_idle() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    says(&house, "busy");
    let _agent = house.agent_registered();
    for (state, number) in [("busy", 1), ("waiting", 2)] {
        says(&house, state);
        house.say("a message");
        gateway.wait_for_log(&format!("update_id={}", 300_000_000 + number));
        house.wait_for_inbox(number);
        house.wait_for_state(state);
        client.is_left_alone();
    }
    says(&house, "idle");
    client.wait_for_a_wake();
    assert_eq!(gateway.wakes(), 1);
}

#[test]
fn an_agent_that_waits_in_a_call_is_given_the_message_and_not_woken() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let mut agent = house.agent_registered();
    for text in ["one", "two"] {
        let call = agent.begin("telegram_poll", json!({"wait_seconds": 30}));
        house.wait_for_state("busy");
        house.say(text);
        let shown = agent.answer(call).ok();
        assert_eq!(shown["messages"][0]["text"], text);
        agent.reply(json!({"text": "seen"}));
    }
    client.is_left_alone();
    assert_eq!(gateway.wakes(), 0);
}

#[test]
fn an_agent_for_which_nobody_chose_the_session_is_woken_only_once_it_has_called() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let mut stranger = agent_of_nobody(&house);
    // One that was chosen registers meanwhile: so much time has passed.
    let chosen = house.agent_registered();
    assert_eq!(house.names("agents").len(), 1);
    chosen.close();
    house.arrive("one");
    client.is_left_alone();
    assert_eq!(gateway.wakes(), 0);
    stranger.wait_for_message();
    stranger.reply(json!({"text": "done"}));
    says(&house, "idle");
    house.say("two");
    client.wait_for_a_wake();
}

#[test]
fn an_agent_that_starts_while_messages_wait_is_woken() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    house.arrive("one");
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains("ONE: no agent is connected."), "{text}");
    let _agent = house.agent();
    client.wait_for_a_wake();
    assert_eq!(gateway.wakes(), 1);
}

#[test]
fn a_socket_that_is_gone_is_said_in_the_status() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let _agent = house.agent_registered();
    // The file stays, and no process listens.
    drop(client);
    house.say("one");
    gateway.wait_for_log("the agent could not be woken this way");
    let way = house.waking()["ways"][0].clone();
    let reason = way["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("cannot write to ") && reason.contains("in.sock: "),
        "{reason}"
    );
}

/// A gateway that dies at this point while it wakes, and one that takes its place: how often the agent
/// is woken.
fn gateway_dies_at(point: &str) -> usize {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let dying = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
    dying.wait_until_polling(&house);
    let mut agent = house.agent_registered();
    house.say("one");
    dying.end();
    let gateway = house.gateway();
    client.wait_for_a_wake();
    agent.wait_for_message();
    agent.reply(json!({"text": "done"}));
    house.wait_to_hear(&["done"]);
    client.is_left_alone();
    gateway.wakes()
}

#[test]
fn a_gateway_that_dies_before_it_notes_a_wake_leaves_it_to_the_next() {
    assert_eq!(gateway_dies_at("wake:before"), 1);
}

#[test]
fn a_gateway_that_dies_after_it_noted_a_wake_has_it_carried_out_by_the_next() {
    assert_eq!(gateway_dies_at("wake:after"), 0);
}

#[test]
fn a_gateway_that_dies_before_it_asks_is_asked_for_by_the_next() {
    assert_eq!(gateway_dies_at("wake-request:before"), 0);
}

#[test]
fn a_gateway_that_dies_after_it_asked_does_not_wake_twice() {
    assert_eq!(gateway_dies_at("wake-request:after"), 0);
}

#[test]
fn an_agent_whose_server_dies_when_it_was_woken_is_woken_anew() {
    for point in ["wake-request:before", "wake-request:after"] {
        let mut house = House::new();
        let client = Client::new(&mut house);
        let _gateway = house.gateway();
        let mut command = house.agent_command("ONE");
        let dying = Agent::start(command.env("TELEPOST_CRASH_AT", point));
        house.wait_until_registered();
        house.say("one");
        client.wait_for_a_wake();
        dying.end();
        let mut agent = house.agent();
        client.wait_for_a_wake();
        agent.wait_for_message();
        agent.reply(json!({"text": "done"}));
        house.wait_to_hear(&["done"]);
    }
}

#[test]
fn nothing_of_the_tokens_stands_in_what_waking_leaves_on_disk() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    house.say("one");
    client.wait_for_a_wake();
    wait_for("the answer to be noted", || {
        let text = fs::read_to_string(house.session("../ONE/wake.json")).unwrap_or_default();
        if text.contains("given") {
            Ok(())
        } else {
            Err(text)
        }
    });
    for folder in ["agents", "wakes", "."] {
        for name in house.names(folder) {
            let text = fs::read_to_string(house.session(folder).join(&name)).unwrap_or_default();
            assert!(!text.contains("a-secret-of-the-client"), "{folder}/{name}");
            assert!(!text.contains(house.token()), "{folder}/{name}");
        }
    }
}
