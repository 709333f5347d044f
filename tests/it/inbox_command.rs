//! `telepost inbox`: waiting messages and unreadable updates.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{House, OWNER, wait_for};

fn output(output: &Output) -> (i32, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    (output.status.code().unwrap(), text + &errors)
}

fn inbox(house: &House, arguments: &[&str]) -> (i32, String) {
    output(&house.run(&[&["inbox"], arguments].concat()))
}

fn list(house: &House) -> Vec<Value> {
    let (code, text) = inbox(house, &["list", "--json"]);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A dead letter that a later version, or another configuration, could read: here the configuration
/// and the version are the same, and a person has repaired the update on disk.
fn bury(house: &House, update: &Value) -> String {
    let id = house.say("-").update_id.unwrap();
    house.wait_for_inbox(1);
    let (code, text) = inbox(house, &["drop", &id.to_string()]);
    assert_eq!(code, 0, "{text}");
    let folder = house.state().join(format!("bots/{}/dead", house.bot()));
    std::fs::create_dir_all(&folder).unwrap();
    let letter = json!({"format": 1, "bot_id": house.bot(), "received": 1_700_000_000_000_i64, "reason": "an older version could not read it", "update": update});
    // Named by the hash of the update, which `list` tells.
    std::fs::write(folder.join("1700000000000-0.json"), letter.to_string()).unwrap();
    let line = list(house)
        .into_iter()
        .find(|line| line["state"] == "dead")
        .unwrap();
    line["id"].as_str().unwrap().to_owned()
}

fn update(id: i64, from: i64, text: &str) -> Value {
    json!({"update_id": id, "message": {"message_id": 900, "date": 1_700_000_000, "chat": {"id": from, "type": "private"}, "from": {"id": from, "is_bot": false, "first_name": "Ada"}, "text": text}})
}

#[test]
fn an_empty_inbox_says_so() {
    let house = House::new();
    assert_eq!(
        inbox(&house, &["list"]),
        (
            0,
            "No messages are waiting, and no updates are unreadable.\n".to_owned()
        )
    );
    assert_eq!(
        inbox(&house, &["retry", "--all"]),
        (0, "There are no unreadable updates.\n".to_owned())
    );
}

#[test]
fn what_waits_what_was_shown_and_what_is_dead_is_listed() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("shown");
    house.say("waits\u{1b}[31m");
    house.sim.raw_text(house.bot(), "null");
    house.say("last");
    house.wait_for_inbox(3);
    // Letters come after the good ones.
    wait_for("the dead letter", || match house.dead_letters().len() {
        1 => Ok(()),
        count => Err(count),
    });
    let lines = list(&house);
    let seen: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| {
            let text = line["text"].as_str().or(line["reason"].as_str());
            (line["state"].as_str().unwrap(), text.unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("shown", "shown"),
            ("waiting", "waits\u{1b}[31m"),
            ("waiting", "last"),
            ("dead", "it has no usable update_id"),
        ]
    );
    // The same without a gateway, and for people.
    assert!(gateway.stop().success());
    let (code, text) = inbox(&house, &["list"]);
    assert_eq!((code, text.lines().count()), (0, 5), "{text}");
    assert!(text.contains("waits\\u{1b}[31m"), "{text}");
    agent.poll(json!({}));
}

#[test]
fn all_of_a_message_is_shown_without_a_character_that_acts_upon_the_terminal() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house
        .say("one\u{1b}]0;x\u{7}\u{9b}\u{202e}\ntwo")
        .update_id
        .unwrap();
    house.wait_for_inbox(1);
    let (code, text) = inbox(&house, &["show", &id.to_string()]);
    assert_eq!(code, 0, "{text}");
    assert!(
        !text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')),
        "{text:?}"
    );
    let whole: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        whole["message"]["text"],
        "one\u{1b}]0;x\u{7}\u{9b}\u{202e}\ntwo"
    );
    assert_eq!(whole["updates"][0]["update_id"], id);
}

#[test]
fn a_dropped_message_is_shown_to_no_agent_and_does_not_come_back() {
    let house = House::new();
    let gateway = house.gateway();
    let dropped = house.say("dropped").update_id.unwrap();
    house.say("kept");
    house.wait_for_inbox(2);
    gateway.wait_until_polling(&house);
    let (code, text) = inbox(&house, &["drop", &dropped.to_string()]);
    assert_eq!(
        (code, text),
        (0, format!("{dropped}: dropped; no agent will see it\n"))
    );
    assert_eq!(house.sim.redeliver(house.bot(), 2), 2);
    house.say("new");
    house.wait_for_texts(&["kept", "new"]);
    let page = house.agent().poll(json!({}));
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    let (code, text) = inbox(&house, &["drop", &dropped.to_string()]);
    assert_eq!(code, 1);
    assert!(
        text.contains("no message") && text.contains("inbox list"),
        "{text}"
    );
}

#[test]
fn nothing_is_dropped_if_one_of_the_ids_is_wrong_or_none_is_given() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.say("kept").update_id.unwrap();
    house.wait_for_inbox(1);
    for wrong in ["7", "dead-123456", "everything", "dead-"] {
        let (code, text) = inbox(&house, &["drop", &id.to_string(), wrong]);
        assert_eq!(code, 1, "{text}");
    }
    assert_eq!(inbox(&house, &["drop"]).0, 2);
    assert_eq!(house.inbox_texts(), ["kept"]);
}

#[test]
fn a_dead_letter_that_can_be_read_now_is_taken_in_through_the_gate() {
    let house = House::new();
    let gateway = house.gateway();
    let dead = bury(&house, &update(1_900_000_001, OWNER, "at last"));
    let (code, text) = inbox(&house, &["retry", &dead]);
    assert_eq!(
        (code, text),
        (
            0,
            format!("{dead}: now message 1900000001 of session ONE\n")
        )
    );
    assert_eq!(
        (house.inbox_texts(), house.dead_letters()),
        (vec!["at last".to_owned()], vec![])
    );
    // The running gateway and the next one know it.
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    let page = house.agent().poll(json!({}));
    assert_eq!(page["messages"][0]["text"], "at last");
}

#[test]
fn a_dead_letter_of_a_stranger_stays_where_it_is() {
    let house = House::new();
    let _gateway = house.gateway();
    let dead = bury(&house, &update(1_900_000_001, 99, "let me in"));
    let (code, text) = inbox(&house, &["retry", "--all"]);
    assert_eq!(code, 1);
    assert!(
        text.contains(&format!(
            "{dead}: not admitted: the chat is in no session's chat_ids"
        )),
        "{text}"
    );
    assert_eq!(
        (house.names("inbox"), house.dead_letters().len()),
        (vec![], 1)
    );
    let (code, text) = inbox(&house, &["drop", &dead]);
    assert_eq!((code, text), (0, format!("{dead}: dropped for good\n")));
    assert_eq!(list(&house), [] as [Value; 0]);
}

#[test]
fn a_retry_that_is_killed_between_the_entry_and_the_letter_is_done_once() {
    let house = House::new();
    let _gateway = house.gateway();
    let dead = bury(&house, &update(1_900_000_001, OWNER, "once"));
    let killed = house
        .command_with_tokens(&["inbox", "retry", &dead])
        .env("TELEPOST_CRASH_AT", "sweep:before")
        .output()
        .unwrap();
    assert!(killed.status.code().is_none(), "{killed:?}");
    let (code, text) = inbox(&house, &["retry", &dead]);
    assert_eq!(
        (code, text),
        (
            0,
            format!("{dead}: session ONE already has it, as message 1900000001\n")
        )
    );
    assert_eq!(
        (house.inbox_texts(), house.dead_letters()),
        (vec!["once".to_owned()], vec![])
    );
}
