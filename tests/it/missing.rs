//! Removed files and folders, and folders that stand where a lock or a registration
//! should be: each has one stated outcome (docs/state-files.md, the column "missing").

use std::fs;
use std::path::Path;

use serde_json::json;
use telegram_sim::Fault;

use crate::support::{House, names_in, texts, wait_for};

#[test]
fn a_removed_message_counts_as_settled() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    fs::remove_file(house.only_file("inbox")).unwrap();
    let shown = agent.poll(json!({}));
    assert_eq!(shown.get("messages"), None);
    assert_eq!(shown["remaining"], 0);
    house.say("two");
    assert_eq!(texts(&agent.wait_for_message()), ["two"]);
}

#[test]
fn a_removed_tombstone_means_never_seen() {
    let house = House::new();
    let gateway = house.gateway();
    house.agent_asked("one").reply(json!({"text": "answer"}));
    gateway.wait_until_polling(&house);
    fs::remove_file(house.only_file("done")).unwrap();
    assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
    house.wait_for_texts(&["one"]);
}

#[test]
fn what_a_removed_conversation_held_is_offered_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    fs::remove_file(house.only_file("conversations")).unwrap();
    let refusal = agent
        .call("telegram_reply", json!({"text": "answer"}))
        .refused();
    assert!(
        refusal.contains("call telegram_reply without text first"),
        "{refusal}"
    );
    assert_eq!(texts(&agent.poll(json!({}))), ["one"]);
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
}

#[test]
fn a_removed_registration_means_that_its_agent_does_not_live() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut one = house.agent().thread("one");
    house.say("question");
    one.wait_for_message();
    fs::remove_file(house.only_file("agents")).unwrap();
    let mut two = house.agent().thread("two");
    let shown = two.poll(json!({}));
    assert_eq!(texts(&shown), ["question"]);
    assert_eq!(shown["messages"][0]["again"], true);
    // It lives: it is shown again what it has lost, when the other has answered.
    two.reply(json!({"text": "answer"}));
    assert_eq!(one.poll(json!({})).get("messages"), None);
}

#[test]
fn a_removed_session_lock_is_made_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    fs::remove_file(house.session("session.lock")).unwrap();
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
    assert!(house.session("session.lock").exists());
}

/// A house whose gateway has stopped before the reply went out; its request was refused once.
fn a_house_with_a_tried_reply() -> House {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let failing = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(failing.retry_after(600));
    assert_eq!(agent.reply(json!({"text": "answer"}))["status"], "accepted");
    assert!(gateway.stop().success());
    house
}

#[test]
fn a_removed_reply_is_not_sent_and_holds_up_nothing() {
    let house = a_house_with_a_tried_reply();
    let gates = house
        .state()
        .join(format!("bots/{}/gates.json", house.bot()));
    fs::remove_file(gates).unwrap();
    for name in house.names("outbox") {
        if !name.ends_with(".progress.json") {
            fs::remove_file(house.session("outbox").join(name)).unwrap();
        }
    }
    let _gateway = house.gateway();
    house.agent_asked("two").reply(json!({"text": "next"}));
    assert_eq!(house.heard(), ["next"]);
    // Its remains are swept.
    assert_eq!(house.names("outbox"), [""; 0]);
}

#[test]
fn without_its_progress_a_reply_counts_as_not_sent_and_without_gates_the_chat_is_open() {
    let house = a_house_with_a_tried_reply();
    let gates = house
        .state()
        .join(format!("bots/{}/gates.json", house.bot()));
    fs::remove_file(gates).unwrap();
    let names = house.names("outbox");
    let progress = names.iter().find(|name| name.ends_with(".progress.json"));
    fs::remove_file(house.session("outbox").join(progress.unwrap())).unwrap();
    let _gateway = house.gateway();
    house.wait_to_hear(&["answer"]);
}

#[test]
fn without_its_record_a_sent_reply_is_not_known_and_not_sent_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "answer"}));
    fs::remove_file(house.only_file("sent")).unwrap();
    assert_eq!(agent.poll(json!({})).get("messages"), None);
    house.say("two");
    agent.wait_for_message();
    assert_eq!(agent.reply(json!({"text": "next"}))["status"], "delivered");
    assert_eq!(house.heard(), ["answer", "next"]);
}

#[test]
fn a_removed_gateway_json_is_there_again_after_the_next_poll() {
    let house = House::new();
    let gateway = house.gateway();
    let path = house.state().join("gateway.json");
    wait_for("gateway.json", || path.exists().then_some(()).ok_or("none"));
    fs::remove_file(&path).unwrap();
    house.say("hello");
    wait_for("gateway.json again", || {
        path.exists().then_some(()).ok_or("none")
    });
    assert_eq!(house.status()["gateway"]["pid"], gateway.pid());
}

#[test]
fn a_removed_gateway_lock_lets_no_second_gateway_poll() {
    let house = House::new();
    let gateway = house.gateway();
    fs::remove_file(house.state().join("gateway.lock")).unwrap();
    let (status, words) = house.gateway_with(&[]).end();
    assert!(!status.success());
    assert!(words.contains("is already polled by"), "{words}");
    gateway.wait_until_polling(&house);
}

#[test]
fn folders_that_are_removed_while_the_gateway_runs_are_made_again() {
    for removed in ["sessions/ONE/inbox", "sessions/ONE", "sessions", ""] {
        let house = House::new();
        let _gateway = house.gateway();
        house.say("before");
        house.wait_for_inbox(1);
        wait_for("Telegram to be told that it is stored", || {
            match house.sim.pending(house.bot()) {
                0 => Ok(()),
                left => Err(left),
            }
        });
        // In one step, whatever the gateway writes at this moment.
        fs::rename(house.state().join(removed), house.path().join("removed")).unwrap();
        house.say("after");
        wait_for("the next message", || {
            let texts = house.inbox_texts();
            if texts == ["after"] {
                Ok(())
            } else {
                Err((removed, texts))
            }
        });
        let mut agent = house.agent();
        agent.poll(json!({}));
        let call = agent.begin("telegram_reply", json!({"text": "answer"}));
        // The watch of a removed folder is gone; what it misses is found after the next poll.
        wait_for("the reply", || {
            let names = house.names("outbox");
            if names.is_empty() && house.heard().is_empty() {
                Err(names)
            } else {
                Ok(())
            }
        });
        house.say("poll");
        let answer = agent.answer(call).ok();
        // With the lock of the gateway gone, it looks as if none ran: then no call waits for it.
        let status = if removed.is_empty() {
            "accepted"
        } else {
            "delivered"
        };
        assert_eq!(answer["status"], status, "{removed}");
        house.wait_to_hear(&["answer"]);
    }
}

// ---- folders in the place of files that are no JSON ----------------------------------------------------------------

fn put_a_folder(path: &Path) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::create_dir_all(path.join("with something in it")).unwrap();
}

#[test]
fn a_folder_in_place_of_the_session_lock_is_named_and_calls_go_on_when_it_is_gone() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let path = house.session("session.lock");
    put_a_folder(&path);
    let refusal = agent.call("telegram_poll", json!({})).refused();
    assert!(
        refusal.contains(path.to_str().unwrap()) && refusal.contains("folder"),
        "{refusal}"
    );
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
}

#[test]
fn a_folder_in_place_of_the_gateway_lock_is_named_and_no_gateway_starts_until_it_is_gone() {
    let house = House::new();
    let path = house.state().join("gateway.lock");
    put_a_folder(&path);
    let (status, words) = house.gateway_with(&[]).end();
    assert!(!status.success());
    assert!(
        words.contains(path.to_str().unwrap()) && words.contains("folder"),
        "{words}"
    );
    fs::remove_dir_all(&path).unwrap();
    let _gateway = house.gateway();
}

#[test]
fn a_folder_in_place_of_a_registration_is_kept_in_quarantine_and_is_no_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut one = house.agent_asked("one");
    put_a_folder(&house.session("agents/1-1.json"));
    put_a_folder(&house.only_file_but("agents", "1-1.json"));
    let mut two = house.agent().thread("two");
    let shown = two.poll(json!({}));
    assert_eq!(texts(&shown), ["one"]);
    assert_eq!(names_in(&house.state().join("quarantine")).len(), 2);
    assert_eq!(two.reply(json!({"text": "answer"}))["status"], "delivered");
    assert_eq!(one.poll(json!({})).get("messages"), None);
}

impl House {
    /// The one file of a folder besides this one.
    fn only_file_but(&self, folder: &str, other: &str) -> std::path::PathBuf {
        let mut names = self.names(folder);
        names.retain(|name| name != other);
        assert_eq!(names.len(), 1, "{folder}: {names:?}");
        self.session(folder).join(&names[0])
    }
}
