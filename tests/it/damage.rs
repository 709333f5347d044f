//! Damaged state: each file, each way in which it can be wrong, and the one outcome of it.
//!
//! Empty, cut off, with flipped bytes, of a wrong type, a folder in its place: the file goes to `quarantine/` with its bytes and an agent or a person is told. Written by a newer telepost: refused and left alone. Never is either
//! taken for "not there" in silence, and the rest goes on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{House, OWNER, PATIENCE, names_in, texts, wait_for};

/// The ways in which a file can be unreadable.
const WAYS: [Damage; 5] = [
    Damage::Empty,
    Damage::CutOff,
    Damage::Flipped,
    Damage::WrongType,
    Damage::Folder,
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Damage {
    Empty,
    CutOff,
    Flipped,
    WrongType,
    Folder,
}

/// The same test for each way, side by side.
pub(crate) fn in_every_way(test: impl Fn(Damage) + Sync) {
    std::thread::scope(|scope| {
        for way in WAYS {
            scope.spawn({
                let test = &test;
                move || test(way)
            });
        }
    });
}

impl Damage {
    /// Damages a file; returns the bytes that quarantine must keep, nothing for a folder.
    pub(crate) fn inflict(self, path: &Path) -> Option<Vec<u8>> {
        let whole = fs::read(path).unwrap();
        let bytes = match self {
            Self::Empty => Vec::new(),
            Self::CutOff => whole[..whole.len() / 2].to_vec(),
            // The highest bit of bytes all over the file: always noticed, because the files
            // are ASCII or whole UTF-8. `flipped.rs` has the other bits.
            Self::Flipped => {
                let mut bytes = whole;
                let tenth = bytes.len() / 10;
                for place in 1..10 {
                    bytes[place * tenth] ^= 0x80;
                }
                bytes
            }
            Self::WrongType => br#"{"format": 1, "id": 7, "parts": {}, "gates": 5, "worn": 5, "held": "x", "pid": [], "address": null, "delivery": 3}"#.to_vec(),
            Self::Folder => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                return None;
            }
        };
        fs::write(path, &bytes).unwrap();
        Some(bytes)
    }
}

/// Makes a file one of a later version; returns its bytes.
pub(crate) fn make_newer(path: &Path) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    value["format"] = json!(99);
    let bytes = value.to_string().into_bytes();
    fs::write(path, &bytes).unwrap();
    bytes
}

/// The quarantine has exactly this, under a name that says where it was.
#[track_caller]
pub(crate) fn is_kept(house: &House, was: &Path, bytes: Option<Vec<u8>>) {
    let names = names_in(&house.state().join("quarantine"));
    let file = was.file_name().unwrap().to_str().unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].ends_with(file), "{names:?}");
    let kept = house.state().join("quarantine").join(&names[0]);
    match bytes {
        Some(bytes) => assert_eq!(fs::read(kept).unwrap(), bytes),
        None => assert!(kept.is_dir()),
    }
}

// ---- inbox ---------------------------------------------------------------------------------------------------------

#[test]
fn a_damaged_message_is_kept_and_reported_and_the_next_one_is_shown() {
    in_every_way(|way| {
        let house = House::new();
        let _gateway = house.gateway();
        house.say("one");
        house.wait_for_inbox(1);
        let path = house.only_file("inbox");
        let bytes = way.inflict(&path);
        house.say("two");
        house.wait_for_inbox(2);
        let shown = house.agent().poll(json!({}));
        assert_eq!(texts(&shown), ["two"], "{way:?}");
        assert_eq!(shown["remaining"], 0, "{way:?}");
        let notice = shown["notices"][0].as_str().unwrap();
        assert!(
            notice.starts_with("One message could not be read"),
            "{way:?}: {notice}"
        );
        is_kept(&house, &path, bytes);
    });
}

#[test]
fn a_damaged_message_is_healed_when_telegram_delivers_it_again() {
    in_every_way(|way| {
        let house = House::new();
        let gateway = house.gateway();
        house.say("one");
        house.wait_for_inbox(1);
        gateway.wait_until_polling(&house);
        let path = house.only_file("inbox");
        let bytes = way.inflict(&path);
        assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
        house.say("two");
        house.wait_for_inbox(2);
        assert_eq!(house.inbox_texts(), ["one", "two"], "{way:?}");
        is_kept(&house, &path, bytes);
        assert_eq!(house.agent().poll(json!({})).get("notices"), None);
    });
}

#[test]
fn a_message_of_a_newer_telepost_is_refused_and_left_alone() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    let path = house.only_file("inbox");
    let bytes = make_newer(&path);
    let refusal = house.agent().call("telegram_poll", json!({})).refused();
    assert!(
        refusal.contains("has format 99") && refusal.contains("update telepost"),
        "{refusal}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    house.say("two");
    house.wait_for_inbox(2);
}

#[test]
fn a_damaged_tombstone_still_says_that_its_message_was_answered() {
    in_every_way(|way| {
        let house = House::new();
        let gateway = house.gateway();
        let mut agent = house.agent_asked("one");
        agent.reply(json!({"text": "answered"}));
        gateway.wait_until_polling(&house);
        way.inflict(&house.only_file("done"));
        assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
        house.say("two");
        house.wait_for_inbox(1);
        assert_eq!(house.inbox_texts(), ["two"], "{way:?}");
    });
}

// ---- conversation --------------------------------------------------------------------------------------------------

#[test]
fn a_damaged_conversation_is_kept_and_what_it_held_is_offered_again() {
    in_every_way(|way| {
        let house = House::new();
        let _gateway = house.gateway();
        let mut agent = house.agent_asked("one");
        let path = house.only_file("conversations");
        let bytes = way.inflict(&path);
        let shown = agent.poll(json!({}));
        assert_eq!(texts(&shown), ["one"], "{way:?}");
        if way == Damage::Empty {
            // A loss of power leaves that of a hold, which is not synced.
            assert!(shown["notices"].is_null(), "{shown}");
            assert_eq!(names_in(&house.state().join("quarantine")), [""; 0]);
        } else {
            let notice = shown["notices"][0].as_str().unwrap();
            assert!(
                notice.contains("the messages that it held are offered again")
                    && notice.contains("was unreadable"),
                "{way:?}: {notice}"
            );
            is_kept(&house, &path, bytes);
        }
        let answer = agent.reply(json!({"text": "still here"}));
        assert_eq!(answer["status"], "delivered", "{way:?}");
    });
}

#[test]
fn a_conversation_of_a_newer_telepost_is_refused_and_left_alone() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let path = house.only_file("conversations");
    let bytes = make_newer(&path);
    let refusal = agent.call("telegram_poll", json!({})).refused();
    assert!(refusal.contains("update telepost"), "{refusal}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

// ---- outbox --------------------------------------------------------------------------------------------------------

/// A house whose gateway has stopped with one reply in the outbox, which answers "one".
fn house_with_a_waiting_reply() -> (House, crate::support::Agent) {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "waiting"}));
    (house, agent)
}

#[test]
fn a_damaged_reply_is_kept_and_said_in_the_log_and_later_replies_go_out() {
    in_every_way(|way| {
        let (house, mut agent) = house_with_a_waiting_reply();
        let path = house.only_file("outbox");
        let bytes = way.inflict(&path);
        let gateway = house.gateway();
        gateway.wait_for_log("unreadable file moved to quarantine");
        is_kept(&house, &path, bytes);
        house.say("two");
        agent.wait_for_message();
        assert_eq!(
            agent.reply(json!({"text": "later"}))["status"],
            "delivered",
            "{way:?}"
        );
        assert_eq!(house.heard(), ["later"], "{way:?}");
    });
}

#[test]
fn a_damaged_reply_is_reported_to_the_agent_without_a_promise_that_is_not_kept() {
    let (house, mut agent) = house_with_a_waiting_reply();
    Damage::CutOff.inflict(&house.only_file("outbox"));
    let shown = agent.poll(json!({}));
    let notices = shown["notices"].to_string();
    assert!(
        notices.contains("One stored reply could not be read"),
        "{notices}"
    );
    // Its question was settled with it: it does not come again, so the agent must write again.
    assert_eq!(shown.get("messages"), None);
    assert!(
        notices.contains("The person did not get all of it") && !notices.contains("offered again"),
        "{notices}"
    );
}

#[test]
fn a_reply_of_a_newer_telepost_waits_for_one_and_is_left_alone() {
    let (house, _agent) = house_with_a_waiting_reply();
    let path = house.only_file("outbox");
    let bytes = make_newer(&path);
    let gateway = house.gateway();
    gateway.wait_for_log("has format 99");
    house.say("the rest goes on");
    house.wait_for_inbox(1);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(house.heard(), [""; 0]);
}

// ---- progress ------------------------------------------------------------------------------------------------------

/// A house whose gateway died after Telegram had the first of three messages of a reply.
fn house_with_a_third_of_a_reply() -> (House, std::path::PathBuf) {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "accepted:after")]);
    gateway.wait_until_polling(&house);
    let text = ["a", "b", "c"].map(|letter| letter.repeat(4000)).join("\n");
    house.agent_asked("all of it").reply(json!({"text": text}));
    drop(gateway.end());
    let names = house.names("outbox");
    let name = names.iter().find(|name| name.ends_with("progress.json"));
    let path = house.session("outbox").join(name.unwrap());
    (house, path)
}

/// The first letter of each message, marked ones with the mark's arrow before it.
fn letters(house: &House) -> Vec<String> {
    let short = |text: String| match text.strip_prefix("↻ may repeat\n") {
        Some(rest) => format!("↻{}", &rest[..1]),
        None => text[..1].to_owned(),
    };
    house.heard().into_iter().map(short).collect()
}

#[test]
fn when_nobody_knows_how_far_a_reply_had_come_all_of_it_is_sent_again_marked() {
    in_every_way(|way| {
        let (house, path) = house_with_a_third_of_a_reply();
        let bytes = way.inflict(&path);
        let _gateway = house.gateway();
        let all = house.sim.wait_for(
            |view| view.bot_texts(house.bot(), OWNER).len() == 4,
            PATIENCE,
        );
        all.unwrap();
        assert_eq!(letters(&house), ["a", "↻a", "↻b", "↻c"], "{way:?}");
        is_kept(&house, &path, bytes);
    });
}

#[test]
fn progress_of_a_newer_telepost_holds_up_its_chat_and_is_left_alone() {
    let (house, path) = house_with_a_third_of_a_reply();
    let bytes = make_newer(&path);
    let gateway = house.gateway();
    gateway.wait_for_log("has format 99");
    house.say("the rest goes on");
    house.wait_for_inbox(1);
    assert_eq!(letters(&house), ["a"]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// A file of a newer telepost: no gateway starts, and the file stays as it is.
#[track_caller]
pub(crate) fn keeps_the_gateway_from_starting_when_newer(house: &House, path: &Path) {
    let bytes = make_newer(path);
    let (status, log) = house.gateway_with(&[]).end();
    assert_eq!(status.code(), Some(5));
    assert!(log.contains("update telepost"), "{log}");
    assert_eq!(fs::read(path).unwrap(), bytes);
}

// ---- gates ---------------------------------------------------------------------------------------------------------

/// A house whose gateway has stopped while the gate of the owner's chat is closed.
fn house_with_a_closed_gate() -> (House, std::path::PathBuf) {
    let house = House::new();
    let gateway = house.gateway();
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(600));
    house.agent_asked("one").reply(json!({"text": "held"}));
    assert!(gateway.stop().success());
    let path = house
        .state()
        .join(format!("bots/{}/gates.json", house.bot()));
    (house, path)
}

#[test]
fn damaged_gates_are_kept_and_said_in_the_log_and_count_as_open() {
    in_every_way(|way| {
        let (house, path) = house_with_a_closed_gate();
        let bytes = way.inflict(&path);
        let gateway = house.gateway();
        house.wait_to_hear(&["held"]);
        is_kept(&house, &path, bytes);
        gateway.wait_for_log("unreadable file moved to quarantine");
    });
}

#[test]
fn gates_of_a_newer_telepost_keep_the_gateway_from_starting_and_are_left_alone() {
    let (house, path) = house_with_a_closed_gate();
    keeps_the_gateway_from_starting_when_newer(&house, &path);
    assert_eq!(house.heard(), [""; 0]);
}

// ---- receipts.json -------------------------------------------------------------------------------------------------

/// A house whose gateway has stopped while a message wears 👀.
fn house_with_a_receipt() -> (House, std::path::PathBuf) {
    let mut house = House::new();
    house.config["receipts"] = json!("on");
    house.write_config();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let put = |view: &telegram_sim::View<'_>| {
        let calls = view.calls(house.bot());
        calls.iter().any(|call| call.method == "setMessageReaction")
    };
    house.sim.wait_for(put, crate::support::PATIENCE).unwrap();
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "done"}));
    let path = house
        .state()
        .join(format!("bots/{}/receipts.json", house.bot()));
    (house, path)
}

#[test]
fn damaged_receipts_are_kept_and_said_in_the_log_and_count_as_none() {
    in_every_way(|way| {
        let (house, path) = house_with_a_receipt();
        let bytes = way.inflict(&path);
        let gateway = house.gateway();
        house.wait_to_hear(&["done"]);
        is_kept(&house, &path, bytes);
        gateway.wait_for_log("unreadable file moved to quarantine");
    });
}

#[test]
fn receipts_of_a_newer_telepost_keep_the_gateway_from_starting_and_are_left_alone() {
    let (house, path) = house_with_a_receipt();
    keeps_the_gateway_from_starting_when_newer(&house, &path);
}

// ---- gateway.json --------------------------------------------------------------------------------------------------

#[test]
fn a_damaged_gateway_json_keeps_no_gateway_from_starting_and_is_replaced() {
    in_every_way(|way| {
        let house = House::new();
        let gateway = house.gateway();
        assert!(gateway.stop().success());
        way.inflict(&house.state().join("gateway.json"));
        let gateway = house.gateway();
        assert_eq!(house.status()["gateway"]["pid"], gateway.pid(), "{way:?}");
        house.say("hello");
        house.wait_for_texts(&["hello"]);
    });
}

#[test]
fn a_gateway_json_that_is_damaged_while_the_gateway_runs_is_there_again_after_the_next_poll() {
    in_every_way(|way| {
        let house = House::new();
        let gateway = house.gateway();
        let path = house.state().join("gateway.json");
        wait_for("gateway.json", || path.exists().then_some(()).ok_or("none"));
        way.inflict(&path);
        // The first reader moves it away; after the next poll there is a new one.
        house.status();
        house.say("hello");
        house.wait_for_texts(&["hello"]);
        wait_for("the gateway in the status", || {
            let status = house.status();
            if status["gateway"]["pid"] == gateway.pid() {
                Ok(())
            } else {
                Err((way, status))
            }
        });
    });
}

#[test]
fn a_gateway_json_of_a_newer_telepost_is_refused_and_left_alone() {
    let house = House::new();
    assert!(house.gateway().stop().success());
    let path = house.state().join("gateway.json");
    keeps_the_gateway_from_starting_when_newer(&house, &path);
}

// ---- sent/ ---------------------------------------------------------------------------------------------------------

/// A house with a reply in `sent/`.
fn house_with_a_sent_reply() -> (House, crate::support::Gateway, crate::support::Agent) {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "sent"}));
    (house, gateway, agent)
}

#[test]
fn a_damaged_record_of_a_sent_reply_is_kept_and_holds_up_no_later_reply() {
    in_every_way(|way| {
        let (house, _gateway, mut agent) = house_with_a_sent_reply();
        let path = house.only_file("sent");
        let bytes = way.inflict(&path);
        house.say("two");
        agent.wait_for_message();
        let answer = agent.call("telegram_reply", json!({"text": "next"})).ok();
        assert_eq!(answer["status"], "delivered", "{way:?}");
        assert_eq!(house.heard(), ["sent", "next"], "{way:?}");
        is_kept(&house, &path, bytes);
    });
}

#[test]
fn a_record_of_a_newer_telepost_is_refused_and_left_alone() {
    let (house, _gateway, mut agent) = house_with_a_sent_reply();
    let path = house.only_file("sent");
    let bytes = make_newer(&path);
    house.say("two");
    agent.wait_for_message();
    let refusal = agent
        .call("telegram_reply", json!({"text": "next"}))
        .refused();
    assert!(refusal.contains("update telepost"), "{refusal}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(house.heard(), ["sent"]);
}

#[test]
fn a_damaged_record_beside_what_is_left_of_its_delivery_is_not_sent_again() {
    in_every_way(|way| {
        let house = House::new();
        // Killed between the record in sent/ and the removal from outbox/.
        let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "leave:before")]);
        gateway.wait_until_polling(&house);
        let mut agent = house.agent_asked("one");
        agent.reply(json!({"text": "sent"}));
        drop(gateway.end());
        let path = house.only_file("sent");
        let bytes = way.inflict(&path);
        let _gateway = house.gateway();
        // Its progress says that Telegram has all of it.
        house.say("two");
        agent.wait_for_message();
        agent.call("telegram_reply", json!({"text": "next"})).ok();
        assert_eq!(house.heard(), ["sent", "next"], "{way:?}");
        is_kept(&house, &path, bytes);
    });
}
