//! A rate limit over a kill: nothing at all goes to the chat before it ends, whatever else goes on.

use std::time::Duration;

use serde_json::json;
use telegram_sim::Fault;

use crate::support::{House, OWNER, wait_for};

/// An answer of five messages meets a 429 with this wait on its second, and the gateway is killed
/// `dead` seconds later and started again.
fn killed_while_closed(retry_after: i64, dead: u64) {
    let house = House::with(json!({"chat_ids": [OWNER, 12], "allowed_users": [OWNER, 12]}));
    let bot = house.bot();
    let gateway = house.gateway();
    let flood = Fault::on(bot).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.after(1).retry_after(retry_after));
    let mut agent = house.agent_asked("all of it");
    let parts = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(4000));
    let answer = agent.reply(json!({"text": parts.join("\n")}));
    assert_eq!(answer["status"], "accepted");
    assert!(answer["held_until"].is_string(), "{answer}");
    // Meanwhile others go on, in both directions.
    let other = |agent: &mut crate::support::Agent, number: u32| {
        house.sim.say(bot, 12, 12, &format!("question {number}"));
        agent.wait_for_message();
        let answer = agent.reply(json!({"text": format!("answer {number}")}));
        assert_eq!(answer["status"], "delivered");
    };
    other(&mut agent, 1);
    agent
        .call(
            "telegram_react",
            json!({"emoji": "👍", "to": house.sim.confirmed(bot)[0]}),
        )
        .ok();
    agent.reply(json!({"text": "behind it", "to": "home"}));
    // Part of the scenario: nothing is waited for.
    drop(house.sim.wait_for(|_| false, Duration::from_secs(dead)));
    gateway.kill();
    let _gateway = house.gateway();
    other(&mut agent, 2);
    people_read_when_it_opens(&house);
    let whole = house.sim.wait_for(
        |view| view.bot_texts(bot, OWNER).len() == 6,
        Duration::from_secs(60),
    );
    whole.unwrap();
    house.wait_until_sent();
    let letters: Vec<_> = house
        .heard()
        .iter()
        .map(|text| text.chars().next().unwrap())
        .collect();
    assert_eq!(letters, ['a', 'b', 'c', 'd', 'e', 'b']);
    assert_eq!(house.sim.bot_texts(bot, 12), ["answer 1", "answer 2"]);
    let calls: Vec<_> = house
        .effects()
        .into_iter()
        .filter(|call| call.chat_id == Some(OWNER))
        .collect();
    let refused = calls
        .iter()
        .position(|call| call.outcome.code() == Some(429))
        .unwrap();
    let pause = calls[refused + 1].at_ms - calls[refused].answered_at_ms.unwrap();
    assert!(pause >= retry_after * 1000, "{pause}");
    // Five messages and one more, each once, and the one that was refused.
    let sends = calls
        .iter()
        .filter(|call| call.method == "sendMessage")
        .count();
    assert_eq!(sends, 7);
    println!(
        "retry_after {retry_after} s, killed after {dead} s: the next call came after {pause} ms"
    );
}

/// In the time of this machine, to the minute.
fn people_read_when_it_opens(house: &House) {
    let status = house.status();
    let opens = status["sessions"][0]["held_until"].as_str().unwrap();
    let opens = chrono::DateTime::parse_from_rfc3339(opens).unwrap();
    let local = opens
        .with_timezone(&chrono::Local)
        .format("%H:%M")
        .to_string();
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains(&local), "{local}: {text}");
}

#[test]
fn a_gateway_that_is_killed_while_a_gate_is_closed_waits_it_out_and_sends_the_rest_once() {
    killed_while_closed(6, 2);
}

#[test]
#[ignore = "half a minute; run by TELEPOST_SOAK=1"]
fn twenty_seconds_are_waited_out_over_a_kill() {
    killed_while_closed(20, 2);
}

#[test]
fn a_429_for_whatever_method_closes_the_chat_for_all_of_them() {
    for method in ["setMessageReaction", "editMessageText", "sendMessage"] {
        let house = House::new();
        let _gateway = house.gateway();
        let mut agent = house.agent_asked("hello");
        agent.reply(json!({"text": "at work", "keep_open": true}));
        house.wait_until_sent();
        let flood = Fault::on(house.bot()).method(method);
        house.sim.fault(flood.retry_after(600));
        match method {
            "setMessageReaction" => drop(agent.call("telegram_react", json!({"emoji": "👍"})).ok()),
            "editMessageText" => drop(agent.reply(json!({"text": "more", "keep_open": true}))),
            _ => {}
        }
        if method != "sendMessage" {
            // Or the answer would overtake it.
            wait_for("the refusal", || {
                let calls = house.effects();
                let refused = calls.iter().any(|call| call.outcome.code() == Some(429));
                refused.then_some(()).ok_or(calls)
            });
        }
        let held = agent.reply(json!({"text": "answer"}));
        assert!(held["held_until"].is_string(), "{method}: {held}");
        let codes: Vec<_> = house
            .effects()
            .iter()
            .map(|call| call.outcome.code())
            .collect();
        assert_eq!(codes, [None, Some(429)], "{method}");
    }
}

#[test]
fn three_chats_that_are_flooded_at_once_stop_the_bot_for_the_shortest_wait() {
    let house =
        House::with(json!({"chat_ids": [11, 12, 13, 14], "allowed_users": [11, 12, 13, 14]}));
    let bot = house.bot();
    let gateway = house.gateway();
    let updates: Vec<i64> = (11..15)
        .map(|chat| house.sim.say(bot, chat, chat, "?").update_id.unwrap())
        .collect();
    house.wait_for_inbox(4);
    let mut agent = house.agent();
    agent.poll(json!({}));
    for chat in 11..14 {
        let flood = Fault::on(bot).method("sendMessage").chat(chat);
        house.sim.fault(flood.retry_after(chat - 8));
    }
    assert!(gateway.stop().success());
    for update in &updates[..3] {
        agent.reply(json!({"text": "one of three", "to": update}));
    }
    let _gateway = house.gateway();
    wait_for("three closed gates", || {
        let calls = house.effects();
        let floods = calls.iter().filter(|call| call.outcome.code() == Some(429));
        if floods.count() == 3 {
            Ok(())
        } else {
            Err(calls)
        }
    });
    let held = agent.reply(json!({"text": "the fourth", "to": updates[3]}));
    assert!(held["held_until"].is_string(), "{held}");
    wait_for("the fourth answer", || {
        let heard = house.sim.bot_texts(bot, 14);
        if heard == ["the fourth"] {
            Ok(())
        } else {
            Err(heard)
        }
    });
    let calls = house.effects();
    let last_flood = calls.iter().filter(|call| call.outcome.code() == Some(429));
    let first = last_flood
        .map(|call| call.answered_at_ms.unwrap())
        .min()
        .unwrap();
    let fourth = calls.iter().find(|call| call.chat_id == Some(14)).unwrap();
    assert!(fourth.at_ms - first >= 3000, "{calls:?}");
}
