//! The fate of messages when the person stops a call, or the client is killed in the middle of one.

use std::fs;

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::client::{Client, Kind, Session};
use crate::support::{House, again, ids, texts, wait_for};

crate::each_client!(
    a_message_after_a_stopped_call_is_new_to_the_model,
    a_client_killed_with_a_message_is_shown_it_again_and_answers_once,
    a_client_killed_in_a_waiting_call_loses_nothing,
    a_reply_whose_client_is_killed_is_sent_once,
);

fn a_message_after_a_stopped_call_is_new_to_the_model(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.converse("Wait for Telegram.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({"wait_seconds": 50}));
    wait_for_a_call(&house);
    session.interrupt();
    session.turn_ends();
    house.say("are you there?");
    house.wait_for_inbox(1);
    assert_eq!(held(&house), 0, "a stopped call has shown something");

    session.say("Look again.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(texts(&shown), ["are you there?"]);
    assert_eq!(again(&shown), [false], "{shown}");
    answer_and_end(&client, asked, "yes");
    session.turn_ends();
    assert_eq!(house.heard(), ["yes"]);
}

fn a_client_killed_with_a_message_is_shown_it_again_and_answers_once(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("do it");
    house.wait_for_inbox(1);
    let client = Client::registered(kind, &house);
    let mut session = client.start("Look at Telegram.");
    let id = session.id();
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let working = client.model.asked();
    let first = working.result();
    assert_eq!(texts(&first), ["do it"]);
    kill(&client, session, "telegram_poll");
    drop(working);

    let mut session = client.resume(&id, "Go on.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(ids(&shown), ids(&first));
    assert_eq!(again(&shown), [true], "{shown}");
    answer_and_end(&client, asked, "done");
    session.turn_ends();
    assert_eq!(house.heard(), ["done"]);
    assert_eq!(house.names("inbox"), [""; 0]);
}

fn a_client_killed_in_a_waiting_call_loses_nothing(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let mut session = client.start("Wait for Telegram.");
    let id = session.id();
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({"wait_seconds": 50}));
    wait_for_a_call(&house);
    kill(&client, session, "telegram_poll");
    house.say("still there?");
    house.wait_for_inbox(1);
    assert_eq!(held(&house), 0);

    let mut session = client.resume(&id, "Go on.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(texts(&shown), ["still there?"]);
    assert_eq!(again(&shown), [false], "{shown}");
    answer_and_end(&client, asked, "yes");
    session.turn_ends();
    assert_eq!(house.heard(), ["yes"]);
}

fn a_reply_whose_client_is_killed_is_sent_once(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("a question");
    house.wait_for_inbox(1);
    let client = Client::registered(kind, &house);
    let mut session = client.start("Look at Telegram.");
    let id = session.id();
    let asked = client.model.asked();
    asked.call("telegram_reply", json!({}));
    let slow = house
        .sim
        .fault(Fault::on(house.bot()).method("sendMessage").hang());
    let asked = client.model.asked();
    asked.call("telegram_reply", json!({"text": "an answer"}));
    wait_for("the request to Telegram", || {
        if house.sim.fault_hits(slow) == 1 {
            Ok(())
        } else {
            Err("not yet")
        }
    });
    kill(&client, session, "telegram_reply");
    house.sim.clear_fault(slow);
    house.wait_to_hear(&["an answer"]);

    let mut session = client.resume(&id, "Go on.");
    let asked = client.model.asked();
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    let shown = asked.result();
    assert_eq!(shown, json!({"remaining": 0, "session": "ONE"}));
    asked.say("It was answered.");
    session.turn_ends();
    assert_eq!(house.heard(), ["an answer"]);
}

fn answer_and_end(client: &Client, asked: crate::model::Asked, text: &str) {
    asked.call("telegram_reply", json!({"text": text}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.say("Answered.");
}

/// Waits until a tool call of an agent has begun: its registration names the agent.
fn wait_for_a_call(house: &House) {
    wait_for("an agent that has called", || {
        let names = house.names("agents").into_iter();
        let files = names.map(|name| house.session("agents").join(name));
        let texts: Vec<String> = files
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect();
        let called = |text: &String| {
            serde_json::from_str::<Value>(text).is_ok_and(|file| {
                file["holders"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty())
            })
        };
        if texts.iter().any(called) {
            Ok(())
        } else {
            Err(texts)
        }
    });
}

/// How many messages agents hold.
fn held(house: &House) -> Value {
    house.status()["sessions"][0]["held"].clone()
}

/// Kills the client, and nothing else, once it has written down its call of this tool. The end of its input
/// ends the server: none is left behind.
fn kill(client: &Client, mut session: Session, tool: &str) {
    client.wait_until_stored(&session.id(), tool);
    #[cfg(target_os = "linux")]
    assert_eq!(client.servers().len(), 1, "one server for one client");
    session.kill();
    #[cfg(target_os = "linux")]
    wait_for("the server to end", || {
        let servers = client.servers();
        if servers.is_empty() {
            Ok(())
        } else {
            Err(servers)
        }
    });
}
