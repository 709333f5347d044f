//! A loss of power between a name and its sync, while another process has acted upon that name: what
//! the other one has told stays true.

use std::fs;

use serde_json::json;

use crate::support::{Agent, House, wait_for};

/// A house whose processes forget at their crash point every name and byte that is not synced.
fn house() -> House {
    let mut house = House::new();
    let power = ("TELEPOST_POWER_LOSS".to_owned(), "1".to_owned());
    house.env.push(power);
    house
}

#[test]
fn a_question_that_was_answered_before_its_folder_was_synced_is_not_asked_again() {
    let house = house();
    let now = house.path().join("now");
    // The gateway cannot settle either, which would sync the folder.
    let gateway = house.gateway_with(&[
        ("TELEPOST_CRASH_AT", "inbox-sync:before"),
        ("TELEPOST_DIE_WHEN", now.to_str().unwrap()),
        ("TELEPOST_FAIL_AT", "settle:eio:1000"),
    ]);
    house.say("question");
    house.wait_for_inbox(1);
    let mut command = house.agent_command("ONE");
    let mut agent = Agent::start(command.env("TELEPOST_CRASH_AT", "accept:after"));
    assert_eq!(agent.reply(json!({}))["messages"][0]["text"], "question");
    let call = agent.begin("telegram_reply", json!({"text": "answer"}));
    assert!(agent.try_answer(call).is_none());
    fs::write(&now, "").unwrap();
    let (status, log) = gateway.end();
    assert!(!status.success(), "{log}");
    let _gateway = house.gateway();
    wait_for("Telegram to be rid of it", || {
        match house.sim.pending(house.bot()) {
            0 => Ok(()),
            left => Err(left),
        }
    });
    house.wait_to_hear(&["answer"]);
    let after = house.agent().poll(json!({}));
    assert!(after["messages"].is_null(), "asked again: {after}");
}

#[test]
fn an_answer_that_settled_its_question_before_its_folder_was_synced_is_not_lost() {
    let house = house();
    let now = house.path().join("now");
    let gateway = house.gateway_with(&[
        ("TELEPOST_CRASH_AT", "settle:after"),
        ("TELEPOST_DIE_WHEN", now.to_str().unwrap()),
    ]);
    house.say("question");
    house.wait_for_inbox(1);
    // The first write of the answer fails at its bytes, the second at its name, the third when the
    // folder is synced; the server dies after it has said so, before that folder is synced.
    let lost = house.path().join("lost");
    let mut agent = Agent::start(
        house
            .agent_command("ONE")
            .env("TELEPOST_FAIL_AT", "accept:eio:3")
            .env("TELEPOST_CRASH_AT", "answer:after:5")
            .env("TELEPOST_DIE_WHEN", &lost),
    )
    .thread("same");
    agent.reply(json!({}));
    let answer = json!({"text": "answer"});
    for _ in 0..3 {
        agent
            .call_as("one call", "telegram_reply", answer.clone())
            .refused();
    }
    house.wait_for_inbox(0);
    fs::write(&lost, "").unwrap();
    agent.end();
    fs::write(&now, "").unwrap();
    gateway.end();
    let _gateway = house.gateway();
    house.wait_to_hear(&["answer"]);
}
