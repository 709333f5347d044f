//! `telepost outbox`: what waits and what failed, tried again or dropped, while a gateway runs and
//! while none does.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Gateway, House, OWNER, wait_for};

fn list(house: &House) -> Vec<Value> {
    let output = house.run(&["outbox", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that succeeds; what it prints.
#[track_caller]
fn say(house: &House, arguments: &[&str]) -> String {
    let output = house.run(&[&["outbox"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that is refused; why.
#[track_caller]
fn refused(house: &House, arguments: &[&str]) -> String {
    let output = house.run(&[&["outbox"], arguments].concat());
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// An answer in three messages of which the second is refused for good.
fn failed(house: &House) -> (Gateway, String) {
    let gateway = house.gateway();
    let mut agent = house.agent_asked("all of it");
    let send = Fault::on(house.bot()).method("sendMessage").after(1);
    house
        .sim
        .fault(send.error(400, "Bad Request: message text is empty"));
    let parts = ["a", "b", "c"].map(|letter| letter.repeat(4000));
    let answer = agent.reply(json!({"text": parts.join("\n")}));
    assert_eq!(answer["status"], "failed");
    house.wait_until_sent();
    let id = answer["delivery_id"].as_str().unwrap().to_owned();
    (gateway, id)
}

fn letters(house: &House) -> Vec<String> {
    let heard = house.heard().into_iter();
    heard.map(|text| text.chars().take(1).collect()).collect()
}

#[track_caller]
fn wait_for_letters(house: &House, expected: &[&str]) {
    wait_for("the rest", || {
        let letters = letters(house);
        if letters == expected {
            Ok(())
        } else {
            Err(letters)
        }
    });
}

#[test]
fn an_empty_outbox_says_so() {
    let house = House::new();
    assert_eq!(
        say(&house, &["list"]),
        "No messages are waiting to be sent, and none have failed.\n"
    );
    assert_eq!(list(&house), [Value::Null; 0]);
}

#[test]
fn the_list_shows_what_waits_and_what_failed_with_the_reason() {
    let house = House::new();
    let (_gateway, id) = failed(&house);
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(600));
    let mut agent = house.agent();
    agent.reply(json!({"text": "\n  held\u{1b}[31m\nmore", "to": "home"}));
    let rows = list(&house);
    let brief = |row: &Value| {
        let keys = ["session", "to", "kind", "state", "sent", "messages", "text"];
        keys.map(|key| row[key].clone()).to_vec()
    };
    let to = format!("chat {OWNER}");
    assert_eq!(rows[0]["id"], id.as_str());
    let text = format!("{}…", "a".repeat(59));
    let expected = json!(["ONE", to, "reply", "failed", 1, 3, text]);
    assert_eq!(json!(brief(&rows[0])), expected);
    let reason = rows[0]["reason"].as_str().unwrap();
    assert!(reason.contains("message text is empty"), "{reason}");
    let expected = json!(["ONE", to, "reply", "held", 0, 1, "held\\u{1b}[31m"]);
    assert_eq!(json!(brief(&rows[1])), expected);
    assert!(rows[1]["held_until"].is_string(), "{}", rows[1]);
    let table = say(&house, &["list"]);
    assert!(table.contains("failed (1 of 3 sent)"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
}

#[test]
fn a_failed_answer_is_tried_again_from_where_it_was_refused_and_once_however_often_one_asks() {
    let house = House::new();
    let (gateway, id) = failed(&house);
    assert_eq!(letters(&house), ["a"]);
    assert!(say(&house, &["retry", &id]).contains("is retried"));
    wait_for_letters(&house, &["a", "b", "c"]);
    house.wait_until_sent();
    assert!(say(&house, &["retry", &id]).contains("already"));
    assert!(gateway.stop().success());
    assert!(say(&house, &["retry", &id]).contains("already"));
    let _gateway = house.gateway();
    house.wait_until_sent();
    assert_eq!(letters(&house), ["a", "b", "c"]);
    assert_eq!(list(&house), [Value::Null; 0]);
    assert_eq!(house.status()["sessions"][0]["failed"], 0);
}

#[test]
fn what_was_tried_again_goes_behind_what_was_accepted_before() {
    let house = House::new();
    let (gateway, id) = failed(&house);
    assert!(gateway.stop().success());
    house
        .agent()
        .reply(json!({"text": "in between", "to": "home"}));
    // The beginning of the id is enough.
    say(&house, &["retry", &id[..20]]);
    let _gateway = house.gateway();
    wait_for_letters(&house, &["a", "i", "b", "c"]);
}

#[test]
fn an_answer_that_waits_is_dropped_at_once_while_a_gateway_runs() {
    let house = House::new();
    let _gateway = house.gateway();
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(600));
    let mut agent = house.agent_asked("hello");
    let first = agent.reply(json!({"text": "one"}));
    let second = agent.reply(json!({"text": "two", "to": "home"}));
    for answer in [&second, &first] {
        let id = answer["delivery_id"].as_str().unwrap();
        assert_eq!(say(&house, &["drop", id]), format!("{id} is dropped\n"));
    }
    assert_eq!(list(&house), [Value::Null; 0]);
    assert_eq!(house.names("drops"), [""; 0]);
    assert_eq!(house.names("outbox"), [""; 0]);
    // It is answered all the same: the agent's call stands.
    assert_eq!(house.names("inbox"), [""; 0]);
}

#[test]
fn an_answer_that_waits_is_dropped_by_the_next_gateway_before_it_sends_anything() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    assert!(gateway.stop().success());
    let unwanted = agent.reply(json!({"text": "unwanted"}));
    agent.reply(json!({"text": "wanted", "to": "home"}));
    let id = unwanted["delivery_id"].as_str().unwrap();
    assert!(say(&house, &["drop", id]).contains("before it sends any more of it"));
    assert_eq!(list(&house)[0]["state"], "dropping");
    let _gateway = house.gateway();
    house.wait_to_hear(&["wanted"]);
    house.wait_until_sent();
    assert_eq!(house.sim.call_count(house.bot(), "sendMessage"), 1);
}

#[test]
fn a_kill_anywhere_in_a_drop_sends_nothing_and_leaves_nothing() {
    for point in [
        "settle:after",
        "finish:before",
        "finish:after",
        "leave:after",
        "leave:after:2",
    ] {
        let house = House::new();
        let gateway = house.gateway();
        let mut agent = house.agent_asked("hello");
        assert!(gateway.stop().success());
        let unwanted = agent.reply(json!({"text": "unwanted"}));
        say(&house, &["drop", unwanted["delivery_id"].as_str().unwrap()]);
        let mut gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
        wait_for("what the point leaves", || {
            let names = house.names("outbox");
            if names.is_empty() || gateway.ended().is_some() {
                Ok(())
            } else {
                Err(names)
            }
        });
        drop(gateway);
        let _gateway = house.gateway();
        wait_for("the marker to go", || {
            let names = [house.names("drops"), house.names("outbox")].concat();
            if names.is_empty() { Ok(()) } else { Err(names) }
        });
        assert_eq!(
            house.sim.call_count(house.bot(), "sendMessage"),
            0,
            "{point}"
        );
    }
}

#[test]
fn a_kill_of_a_retry_sends_the_answer_once_or_not_yet() {
    for (point, heard) in [
        ("accept:before", &["a"][..]),
        ("accept:after", &["a", "b", "c"]),
        ("finish:before", &["a", "b", "c"]),
        ("sweep:before", &["a", "b", "c"]),
    ] {
        let house = House::new();
        let (_gateway, id) = failed(&house);
        let killed = house
            .command_with_tokens(&["outbox", "retry", &id])
            .env("TELEPOST_CRASH_AT", point)
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{point}");
        wait_for_letters(&house, heard);
        house.wait_until_sent();
        assert_eq!(list(&house).len(), usize::from(heard.len() == 1), "{point}");
        say(&house, &["retry", &id]);
        wait_for_letters(&house, &["a", "b", "c"]);
        house.wait_until_sent();
        assert_eq!(house.names("failed"), [""; 0], "{point}");
    }
}

#[test]
fn a_kill_of_the_command_drops_or_does_not_and_nothing_else() {
    for (point, heard) in [("drop:before", 1), ("drop:after", 0)] {
        let house = House::new();
        let gateway = house.gateway();
        let mut agent = house.agent_asked("hello");
        assert!(gateway.stop().success());
        let answer = agent.reply(json!({"text": "unwanted"}));
        let id = answer["delivery_id"].as_str().unwrap();
        let killed = house
            .command_with_tokens(&["outbox", "drop", id])
            .env("TELEPOST_CRASH_AT", point)
            .output()
            .unwrap();
        assert!(!killed.status.success());
        let _gateway = house.gateway();
        house.wait_until_sent();
        assert_eq!(house.heard().len(), heard, "{point}");
    }
}

#[test]
fn a_failed_answer_that_is_dropped_is_no_longer_listed_and_the_same_call_does_not_send_it_anew() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    let send = Fault::on(house.bot()).method("sendMessage");
    house
        .sim
        .fault(send.error(400, "Bad Request: message text is empty"));
    let answer = agent
        .call_as("call-1", "telegram_reply", json!({"text": "hi"}))
        .ok();
    house.wait_until_sent();
    let id = answer["delivery_id"].as_str().unwrap();
    assert_eq!(say(&house, &["drop", id]), format!("{id} is dropped\n"));
    assert_eq!(list(&house), [Value::Null; 0]);
    let again = agent
        .call_as("call-1", "telegram_reply", json!({"text": "hi"}))
        .ok();
    assert_eq!(
        (&again["status"], &again["delivery_id"]),
        (&json!("failed"), &json!(id))
    );
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    let sent = agent.reply(json!({"text": "hi"}));
    let sent = sent["delivery_id"].as_str().unwrap();
    house.wait_until_sent();
    assert!(refused(&house, &["retry", sent]).contains("has not failed"));
    assert!(refused(&house, &["drop", sent]).contains("nothing to drop"));
    assert!(refused(&house, &["retry", "nonsense"]).contains("there is no delivery"));
    assert!(gateway.stop().success());
    for text in ["one", "two"] {
        agent.reply(json!({"text": text, "to": "home"}));
    }
    assert!(refused(&house, &["drop", "1"]).contains("deliveries begin with"));
    let waiting = list(&house)[0]["id"].as_str().unwrap().to_owned();
    assert!(refused(&house, &["retry", &waiting]).contains("is still waiting"));
}
