//! Answers that no Bot API should give: endless ones, ones with half of what was asked, pauses of days, and
//! texts that would act upon a terminal.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{House, OWNER, wait_for};

/// How many seconds from now a moment of the JSON is.
fn seconds_until(moment: &Value) -> i64 {
    let moment = moment.as_str().expect("a moment");
    let at = chrono::DateTime::parse_from_rfc3339(moment).unwrap();
    (at.to_utc() - chrono::Utc::now()).num_seconds()
}

#[test]
fn an_ok_without_a_usable_message_id_is_a_delivery_and_is_never_sent_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let results = [
        "{}",
        "true",
        "null",
        "[]",
        r#"{"message_id":"x"}"#,
        r#"{"message_id":99999999999999999999}"#,
        r#"{"message_id":-4.5}"#,
    ];
    house.say("go");
    agent.wait_for_message();
    for (number, result) in results.into_iter().enumerate() {
        let send = Fault::on(house.bot()).method("sendMessage");
        house.sim.fault(send.result(result));
        let answer = agent.reply(json!({"text": format!("report {number}"), "to": "home"}));
        assert_eq!(answer["status"], "delivered", "{result}: {answer}");
    }
    house.wait_until_the_outbox_is_empty();
    assert_eq!(
        house.sim.call_count(house.bot(), "sendMessage"),
        results.len()
    );
}

#[test]
fn an_album_and_a_progress_update_without_ids_are_sent_once_too() {
    let house = House::new();
    let _gateway = house.gateway();
    for name in ["a.txt", "b.txt"] {
        house.file(name, name);
    }
    let mut agent = house.agent_asked("go");
    let fault = |method: &str, result: &str| {
        let fault = Fault::on(house.bot()).method(method);
        house.sim.fault(fault.result(result));
    };
    fault("sendMessage", "{}");
    agent.reply(json!({"text": "one", "keep_open": true}));
    house.wait_until_sent();
    // Its message cannot be edited, because its id is not known: the next update is a new one.
    agent.reply(json!({"text": "two", "keep_open": true}));
    house.wait_until_sent();
    house.wait_to_hear(&["one", "two"]);
    assert_eq!(house.sim.call_count(house.bot(), "editMessageText"), 0);
    fault("sendMediaGroup", r#"[{"message_id":7}, {}]"#);
    let answer = agent.reply(json!({"text": "done", "files": ["a.txt", "b.txt"]}));
    assert_eq!(answer["status"], "delivered", "{answer}");
    assert_eq!(house.sim.call_count(house.bot(), "sendMediaGroup"), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_of_the_bot_api_is_never_read_beyond_8_mb() {
    let peak = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let line = line.unwrap().trim_end_matches("kB").trim();
        line.parse().unwrap()
    };
    let house = House::new();
    let gateway = house.gateway();
    let before = peak(gateway.pid());
    let endless = format!("\"{}\"", "x".repeat(60_000_000));
    let poll = Fault::on(house.bot()).method("getUpdates").always();
    let fault = house.sim.fault(poll.result(endless));
    // It ends the poll that waits, and the next one is answered without an end.
    house.say("one");
    house.wait_for_inbox(1);
    house.say("two");
    wait_for("the endless answer", || {
        let off = house.bot_status(0)["unreachable"].clone();
        let words = off.as_str().unwrap_or_default();
        if words.contains("8 MB") {
            Ok(())
        } else {
            Err(off)
        }
    });
    house.sim.clear_fault(fault);
    house.wait_for_texts(&["one", "two"]);
    let after = peak(gateway.pid());
    assert!(after < before + 30_000, "{before} kB, then {after} kB");
}

#[test]
fn nothing_that_a_server_says_acts_upon_a_terminal_or_a_log() {
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\r\n2026-01-01 ERROR forged";
    let house = House::new();
    let me = json!({"id": house.bot(), "is_bot": true, "username": format!("evil{HOSTILE}")});
    let get_me = Fault::on(house.bot()).method("getMe").always();
    house.sim.fault(get_me.result(me.to_string()));
    let gateway = house.gateway();
    let mut agent = house.agent_asked("go");
    let send = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(send.error(
        400,
        &format!("Bad Request: {HOSTILE}{}", "x".repeat(100_000)),
    ));
    let answer = agent.reply(json!({"text": "yes"}));
    assert_eq!(answer["status"], "failed");
    let status = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    let list = String::from_utf8(house.run(&["outbox", "list"]).stdout).unwrap();
    let reason = answer["reason"].as_str().unwrap();
    for (name, text) in [
        ("the log", gateway.log().as_str()),
        ("the log files", &house.log_files()),
        ("status", &status),
        ("outbox list", &list),
        ("the agent's result", reason),
        (
            "gateway.json",
            &house.status()["bots"][0]["username"].to_string(),
        ),
    ] {
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(acts), "{name}: {text:?}");
        let forged = text
            .lines()
            .any(|line| line.starts_with("2026-01-01 ERROR"));
        assert!(!forged, "{name}: {text:?}");
    }
    assert!(reason.len() < 2000, "{} bytes", reason.len());
}

#[test]
fn a_poll_is_tried_again_soon_whatever_pause_was_asked_for_and_status_says_when() {
    for ask in [
        |fault: Fault| fault.retry_after(86_400),
        |fault: Fault| {
            fault
                .error(503, "Service Unavailable")
                .parameters(json!({"retry_after": 86_400}))
        },
        |fault: Fault| fault.html(429).retry_after_header("90000"),
        |fault: Fault| fault.html(503).retry_after_header("90000"),
    ] {
        let house = House::new();
        let poll = Fault::on(house.bot()).method("getUpdates").always();
        house.sim.fault(ask(poll));
        let _gateway = house.gateway_with(&[]);
        let bot = wait_for("the refused poll", || {
            let bot = house.bot_status(0);
            if bot["unreachable"].is_string() {
                Ok(bot)
            } else {
                Err(bot)
            }
        });
        let left = seconds_until(&bot["retry_at"]);
        assert!((-1..=75).contains(&left), "{left}: {bot}");
        let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
        assert!(text.contains("tried again at"), "{text}");
    }
}

#[test]
fn a_chat_waits_as_long_as_telegram_says_and_no_longer_than_a_minute_for_a_proxy() {
    for (ask, range) in [
        (
            (|fault: Fault| fault.retry_after(86_400)) as fn(Fault) -> Fault,
            86_000..=86_402,
        ),
        (
            |fault: Fault| fault.html(429).retry_after_header("90000"),
            50..=62,
        ),
    ] {
        let house = House::new();
        let _gateway = house.gateway();
        let mut agent = house.agent_asked("go");
        let send = Fault::on(house.bot()).method("sendMessage").always();
        house.sim.fault(ask(send));
        let kept = agent.reply(json!({"text": "yes"}));
        assert_eq!(kept["status"], "accepted", "{kept}");
        let left = seconds_until(&kept["held_until"]);
        assert!(range.contains(&left), "{left}: {kept}");
    }
}

/// How many bytes a process has read so far.
#[cfg(target_os = "linux")]
fn bytes_read(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_reaction_to_an_unknown_message_does_not_read_what_was_ever_sent() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("go");
    agent.reply(json!({"text": "x".repeat(500)}));
    house.wait_until_the_outbox_is_empty();
    let record = std::fs::read_to_string(house.only_file("sent")).unwrap();
    let record_json: Value = serde_json::from_str(&record).unwrap();
    let id = record_json["delivery"]["id"].as_str().unwrap();
    for number in 0..300 {
        let other = format!("{}-{number:032x}", &id[..13]);
        let path = house.session("sent").join(format!("{other}.json"));
        std::fs::write(path, record.replace(id, &other)).unwrap();
    }
    let react = |message: i64| {
        // On the person's own message: it stands in no record of ours.
        let emoji = if message % 2 == 0 { "👍" } else { "🔥" };
        house.sim.react(house.bot(), OWNER, 1, OWNER, &[emoji]);
    };
    let before_all = house.names("inbox").len();
    react(1);
    house.wait_for_inbox(before_all + 1);
    let before = bytes_read(gateway.pid());
    for message in 2..12 {
        react(message);
    }
    house.wait_for_inbox(before_all + 11);
    let read = bytes_read(gateway.pid()) - before;
    assert!(read < 300_000, "{read} bytes for ten reactions");
}
