//! Files that an agent sends reach the phone byte for byte, as photos, documents and albums.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telegram_sim::{Fault, Line};

use crate::support::{House, OWNER, png, wait_for};

const MARK: &str = "↻ may repeat";

/// The kind of a message: its kind, the name of its file, its text.
fn summary(line: &Line) -> (&'static str, String, &str) {
    let kind = if line.extra["photo"].is_array() {
        "photo"
    } else if line.extra["document"].is_object() {
        "document"
    } else {
        "text"
    };
    let name = line.extra["document"]["file_name"].as_str();
    (kind, name.unwrap_or_default().to_owned(), &line.text)
}

/// Methods that sent something, in order.
fn methods(house: &House) -> Vec<String> {
    let mut calls = house.effects();
    calls.retain(|call| call.method.starts_with("send") && call.method != "sendChatAction");
    calls.into_iter().map(|call| call.method).collect()
}

#[test]
fn a_file_arrives_byte_for_byte_with_the_text_as_its_caption() {
    let house = House::new();
    let _gateway = house.gateway();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    house.file("out/report.bin", &content);
    let mut agent = house.agent_asked("the report?");
    let answer = agent.reply(json!({"text": "here it is", "files": ["out/report.bin"]}));
    assert_eq!(answer["status"], "delivered");
    let sent = house.sent();
    assert_eq!(
        sent.iter().map(summary).collect::<Vec<_>>(),
        [("document", "report.bin".to_owned(), "here it is")]
    );
    assert_eq!(answer["message_ids"], json!([sent[0].message_id]));
    assert!(house.content(&sent[0]) == content, "other bytes");
    assert_eq!(house.names("inbox"), [""; 0], "the question is settled");
    house.wait_until_the_outbox_is_empty();
}

#[test]
fn a_file_without_a_text_is_an_answer_too() {
    let house = House::new();
    let _gateway = house.gateway();
    let path = house.file("a.txt", "a");
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"files": [path]}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(answer["acked"].as_array().map(Vec::len), Some(1));
    assert_eq!(summary(&house.sent()[0]).2, "");
}

#[test]
fn pictures_are_photos_by_their_content_and_documents_where_telegram_would_refuse_them() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("photo", png(640, 480, "a"));
    house.file("wide.png", png(4000, 100, "b"));
    house.file("huge.png", png(6000, 6000, "c"));
    house.file("no.png", "only its name is one of a picture");
    let mut heavy = png(640, 480, "d");
    heavy.resize(10_000_001, 0);
    house.file("heavy.png", heavy);
    let mut agent = house.agent_asked("pictures?");
    let files = ["photo", "wide.png", "huge.png", "no.png", "heavy.png"];
    let answer = agent.reply(json!({"text": "all", "files": files}));
    assert_eq!(answer["status"], "delivered");
    let sent = house.sent();
    let kinds: Vec<_> = sent.iter().map(|line| summary(line).0).collect();
    assert_eq!(
        kinds,
        ["photo", "document", "document", "document", "document"]
    );
    assert_eq!(answer["message_ids"].as_array().map(Vec::len), Some(5));
}

#[test]
fn neighbours_of_one_kind_are_one_album_and_the_order_stays() {
    let house = House::new();
    let _gateway = house.gateway();
    for name in ["1.png", "2.png", "3.png"] {
        house.file(name, png(64, 48, name));
    }
    house.file("a.txt", "a");
    house.file("b.txt", "b");
    let mut agent = house.agent_asked("all?");
    let files = ["1.png", "2.png", "a.txt", "b.txt", "3.png"];
    let answer = agent.reply(json!({"text": "five", "files": files}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(
        methods(&house),
        ["sendMediaGroup", "sendMediaGroup", "sendPhoto"]
    );
    let sent = house.sent();
    let contents: Vec<_> = sent.iter().map(|line| house.content(line)).collect();
    let expected = files.map(|name| fs::read(house.work().join(name)).unwrap());
    assert!(contents == expected, "another order or other bytes");
    let ids: Vec<i64> = sent.iter().map(|line| line.message_id).collect();
    assert_eq!(answer["message_ids"], json!(ids));
    let texts: Vec<&str> = sent.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["five", "", "", "", ""]);
    let silent: Vec<bool> = sent.iter().map(|line| line.silent).collect();
    assert_eq!(
        silent,
        [false, false, true, true, true],
        "one answer rings once"
    );
}

#[test]
fn a_webp_that_is_no_photo_goes_alone_because_no_album_takes_it() {
    let house = House::new();
    let _gateway = house.gateway();
    // Extended, with the flag of one that moves.
    let moving = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x3f\0\0\x2f\0\0";
    house.file("a.txt", "a");
    house.file("moves.webp", moving);
    house.file("b.txt", "b");
    let mut agent = house.agent_asked("all?");
    let answer = agent.reply(json!({"files": ["a.txt", "moves.webp", "b.txt"]}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(methods(&house), ["sendDocument"; 3]);
}

#[test]
fn a_text_too_long_for_a_caption_goes_before_the_files() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    let (fits, long) = ("x".repeat(1024), "y".repeat(1025));
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": fits, "files": ["a.txt"]}));
    house.say("two");
    agent.wait_for_message();
    let answer = agent.reply(json!({"text": long, "files": ["a.txt"]}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(answer["message_ids"].as_array().map(Vec::len), Some(2));
    let sent = house.sent();
    let name = || "a.txt".to_owned();
    assert!(
        sent.iter().map(summary).eq([
            ("document", name(), fits.as_str()),
            ("text", String::new(), long.as_str()),
            ("document", name(), ""),
        ]),
        "{sent:?}"
    );
}

/// The most memory that a process has had, in kB.
#[cfg(target_os = "linux")]
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim_end_matches("kB").trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_of_20_mb_arrives_and_is_never_in_memory_as_a_whole() {
    let house = House::new();
    let gateway = house.gateway();
    let content: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
    house.file("large.bin", &content);
    let mut agent = house.agent_asked("the large one?");
    let before = [peak(gateway.pid()), peak(agent.pid())];
    agent.reply(json!({"files": ["large.bin"]}));
    house.wait_until_the_outbox_is_empty();
    let after = [peak(gateway.pid()), peak(agent.pid())];
    assert!(house.content(&house.sent()[0]) == content, "other bytes");
    for (before, after) in before.into_iter().zip(after) {
        assert!(
            after < before + 10_000,
            "{before} kB before, {after} kB after"
        );
    }
}

#[test]
fn what_is_sent_is_what_the_file_was_at_the_call() {
    let house = House::new();
    let mut gateway = house.gateway();
    let (changed, removed) = (house.file("a.txt", "first"), house.file("b.txt", "second"));
    let mut agent = house.agent_asked("both?");
    assert!(gateway.stop().success());
    let answer = agent.reply(json!({"text": "both", "files": ["a.txt", "b.txt"]}));
    assert_eq!(answer["status"], "accepted");
    fs::write(changed, "something else").unwrap();
    fs::remove_file(removed).unwrap();
    gateway = house.gateway();
    wait_for("the files", || {
        let sent = house.sent();
        if sent.len() == 2 { Ok(()) } else { Err(sent) }
    });
    let contents: Vec<_> = house
        .sent()
        .iter()
        .map(|line| house.content(line))
        .collect();
    assert_eq!(contents, [b"first".to_vec(), b"second".to_vec()]);
    house.wait_until_the_outbox_is_empty();
    drop(gateway);
}

// ---- the same call again -----------------------------------------------------------------------------------------------

#[test]
fn the_same_call_again_sends_nothing_even_when_its_file_is_gone() {
    let house = House::new();
    let _gateway = house.gateway();
    let path = house.file("a.txt", "a");
    let mut agent = house.agent_asked("the file?");
    let call = json!({"text": "here", "files": ["a.txt"]});
    let first = agent.call_as("call", "telegram_reply", call.clone()).ok();
    fs::remove_file(path).unwrap();
    let again = agent.call_as("call", "telegram_reply", call).ok();
    assert_eq!(again["repeat"], true);
    assert_eq!(again["message_ids"], first["message_ids"]);
    assert_eq!(house.sent().len(), 1);
}

#[test]
fn the_same_text_with_the_same_content_is_a_repeat_and_with_other_content_is_not() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("plot.png", png(64, 48, "first"));
    let mut agent = house.agent_asked("a plot?");
    let call = json!({"text": "the plot", "files": ["plot.png"]});
    agent.reply(call.clone());
    assert_eq!(agent.reply(call.clone())["repeat"], true);
    house.file("plot.png", png(64, 48, "second"));
    let mut other = call.clone();
    other["to"] = json!("home");
    assert_eq!(agent.reply(other)["repeat"], Value::Null);
    assert_eq!(house.sent().len(), 2);
    house.wait_until_the_outbox_is_empty();
}

// ---- failures ----------------------------------------------------------------------------------------------------------

#[test]
fn an_upload_whose_answer_is_lost_is_repeated_with_the_mark_in_its_caption() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house
        .sim
        .fault(Fault::on(house.bot()).method("sendDocument").answer_lost());
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"text": "here", "files": ["a.txt"]}));
    assert_eq!(answer["status"], "delivered");
    let texts: Vec<String> = house.sent().into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["here".to_owned(), format!("{MARK}\nhere")]);
    assert!(house.sent().iter().all(|line| house.content(line) == b"a"));
}

#[test]
fn an_upload_without_a_caption_is_marked_too() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house.file("b.txt", "b");
    house.sim.fault(
        Fault::on(house.bot())
            .method("sendMediaGroup")
            .answer_lost(),
    );
    let mut agent = house.agent_asked("the files?");
    agent.reply(json!({"files": ["a.txt", "b.txt"]}));
    let texts: Vec<String> = house.sent().into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["", "", MARK, ""]);
}

#[test]
fn a_full_caption_in_doubt_goes_before_its_file_so_that_the_mark_fits() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    let caption = "x".repeat(1024);
    house
        .sim
        .fault(Fault::on(house.bot()).method("sendDocument").answer_lost());
    let mut agent = house.agent_asked("the file?");
    agent.reply(json!({"text": caption, "files": ["a.txt"]}));
    let sent = house.sent();
    let marked = format!("{MARK}\n{caption}");
    assert!(
        sent.iter()
            .map(|line| line.text.as_str())
            .eq([caption.as_str(), &marked, MARK]),
        "{sent:?}"
    );
}

#[test]
fn a_photo_that_telegram_does_not_take_arrives_as_a_document() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.png", png(64, 48, "a"));
    let refused = "Bad Request: PHOTO_INVALID_DIMENSIONS";
    let send = Fault::on(house.bot()).method("sendPhoto");
    house.sim.fault(send.error(400, refused));
    let mut agent = house.agent_asked("a picture?");
    let answer = agent.reply(json!({"text": "here", "files": ["a.png"]}));
    assert_eq!(answer["status"], "delivered");
    let notice = answer["notices"][0].as_str().unwrap();
    assert!(notice.contains("did not accept a picture as a photo"));
    let expected = ("document", "a.png".to_owned(), "here");
    assert_eq!(
        house.sent().iter().map(summary).collect::<Vec<_>>(),
        [expected]
    );
}

#[test]
fn a_group_that_takes_no_files_still_takes_texts_and_the_agent_is_told_why_its_file_did_not_go() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.png", png(64, 48, "a"));
    for (method, what) in [("sendPhoto", "photos"), ("sendDocument", "documents")] {
        let refused = format!("Bad Request: not enough rights to send {what} to the chat");
        let send = Fault::on(house.bot()).method(method).always();
        house.sim.fault(send.error(400, &refused));
    }
    let mut agent = house.agent_asked("a picture?");
    let answer = agent.reply(json!({"text": "here", "files": ["a.png"], "to": "home"}));
    assert_eq!(answer["status"], "failed", "{answer}");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("rights to send documents"), "{reason}");
    let answer = agent.reply(json!({"text": "I may not send pictures here"}));
    assert_eq!(answer["status"], "delivered", "{answer}");
}

#[test]
fn an_album_that_telegram_does_not_take_arrives_file_by_file() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house.file("b.txt", "b");
    let album = || Fault::on(house.bot()).method("sendMediaGroup");
    let refused = "Bad Request: group send failed";
    house.sim.fault(album().error(400, refused));
    let mut agent = house.agent_asked("files?");
    let call = json!({"text": "one", "files": ["a.txt", "b.txt"]});
    assert_eq!(agent.reply(call)["status"], "delivered");
    // Of this one some may stand in the chat already.
    let partly = "Bad Request: failed to send message #2 with the error message \"x\"";
    house.sim.fault(album().error(400, partly));
    house.say("again?");
    agent.wait_for_message();
    let call = json!({"text": "two", "files": ["a.txt", "b.txt"]});
    assert_eq!(agent.reply(call)["status"], "delivered");
    let texts: Vec<String> = house.sent().into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["one", "", &format!("{MARK}\ntwo"), MARK]);
}

#[test]
fn a_file_is_a_telegram_reply_to_the_question() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house.file("b.txt", "b");
    let asked = house.say("files?").message_id;
    let mut agent = house.agent();
    agent.wait_for_message();
    agent.reply(json!({"files": ["a.txt", "b.txt"]}));
    let replies: Vec<_> = house.sent().iter().map(|line| line.reply_to).collect();
    assert_eq!(replies, [Some(asked); 2]);
}

#[test]
fn a_failed_reply_that_a_person_tries_again_has_its_files() {
    let house = House::new();
    let _gateway = house.gateway();
    let path = house.file("a.txt", "a");
    let send = Fault::on(house.bot()).method("sendDocument");
    house.sim.fault(send.error(400, "Bad Request: so there"));
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"files": ["a.txt"]}));
    assert_eq!(answer["status"], "failed");
    fs::remove_file(path).unwrap();
    let list = house.run(&["outbox", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("a.txt"));
    let id = answer["delivery_id"].as_str().unwrap();
    let retried = house.run(&["outbox", "retry", id]);
    assert!(retried.status.success(), "{retried:?}");
    house.wait_to_hear(&[""]);
    assert_eq!(house.content(&house.sent()[0]), b"a");
    house.wait_until_the_outbox_is_empty();
}

#[test]
fn a_failed_reply_that_a_person_drops_takes_its_files_along() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    let send = Fault::on(house.bot()).method("sendDocument");
    house.sim.fault(send.error(400, "Bad Request: so there"));
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"files": ["a.txt"]}));
    wait_for("only the files to be kept with the record", || {
        let names = house.outbox();
        (names.len() == 1).then_some(()).ok_or(names)
    });
    let id = answer["delivery_id"].as_str().unwrap();
    assert!(house.run(&["outbox", "drop", id]).status.success());
    assert_eq!(house.outbox(), [""; 0]);
}

#[test]
fn an_upload_that_was_under_way_at_kill_9_is_repeated_from_its_copy() {
    let house = House::new();
    let gateway = house.gateway();
    house.file("a.txt", "a");
    let send = Fault::on(house.bot()).method("sendDocument");
    let hang = house.sim.fault(send.hang_after());
    let mut agent = house.agent_asked("the file?");
    let call = agent.begin(
        "telegram_reply",
        json!({"text": "here", "files": ["a.txt"]}),
    );
    house.wait_to_hear(&["here"]);
    gateway.kill();
    house.sim.clear_fault(hang);
    fs::remove_file(house.work().join("a.txt")).unwrap();
    let _gateway = house.gateway();
    house.wait_to_hear(&["here", &format!("{MARK}\nhere")]);
    agent.answer(call).ok();
    assert!(house.sent().iter().all(|line| house.content(line) == b"a"));
    house.wait_until_the_outbox_is_empty();
}

#[test]
fn the_messages_of_an_album_are_not_sent_again_after_a_kill() {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "accepted:after:1")]);
    gateway.wait_until_polling(&house);
    for name in ["1.png", "2.png"] {
        house.file(name, png(64, 48, name));
    }
    house.file("a.txt", "a");
    let mut agent = house.agent_asked("all?");
    let call = agent.begin(
        "telegram_reply",
        json!({"text": "three", "files": ["1.png", "2.png", "a.txt"]}),
    );
    drop(gateway.end());
    assert_eq!(house.sent().len(), 2);
    let _gateway = house.gateway();
    wait_for("the rest", || {
        let sent = house.sent();
        if sent.len() == 3 { Ok(()) } else { Err(sent) }
    });
    agent.answer(call).ok();
    let record = house.only_file_soon("sent");
    let outcome = &record["outcome"];
    let ids: Vec<i64> = house.sent().iter().map(|line| line.message_id).collect();
    assert_eq!(outcome["message_ids"], json!(ids));
}

#[test]
fn a_429_on_an_upload_closes_the_chat_and_the_file_arrives_once() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house
        .sim
        .fault(Fault::on(house.bot()).method("sendDocument").retry_after(1));
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"text": "here", "files": ["a.txt"]}));
    assert!(answer["held_until"].is_string(), "{answer}");
    house.wait_to_hear(&["here"]);
}

#[test]
fn a_hanging_upload_holds_up_no_other_chat() {
    let house = House::with(json!({"chat_ids": [OWNER, 12], "allowed_users": [OWNER, 12]}));
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    let hang = Fault::on(house.bot()).method("sendDocument").hang_after();
    house.sim.fault(hang);
    let mut agent = house.agent_asked("the file?");
    let call = agent.begin("telegram_reply", json!({"files": ["a.txt"]}));
    wait_for("the upload", || {
        let sent = house.sent();
        if sent.len() == 1 { Ok(()) } else { Err(sent) }
    });
    house.sim.say(house.bot(), 12, 12, "and me?");
    let mut other = house.agent().thread("other");
    other.wait_for_message();
    assert_eq!(
        other.reply(json!({"text": "you too"}))["status"],
        "delivered"
    );
    agent.cancel(call);
}

#[test]
fn a_copy_that_is_gone_fails_the_reply_with_the_reason() {
    let house = House::new();
    let gateway = house.gateway();
    house.file("a.txt", "a");
    let mut agent = house.agent_asked("the file?");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "here", "files": ["a.txt"]}));
    let names = house.names("outbox").into_iter();
    let mut folders = names.filter(|name| Path::new(name).extension().is_none());
    let folder = house.session("outbox").join(folders.next().unwrap());
    fs::remove_file(folder.join("0")).unwrap();
    let _gateway = house.gateway();
    let record = house.only_file_soon("failed");
    let reason = record["outcome"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("the copy of \"a.txt\" to be sent is missing"),
        "{reason}"
    );
    assert_eq!(house.sent().len(), 0);
}

#[test]
fn errors_of_uploads_say_nothing_of_the_token() {
    let house = House::new();
    let gateway = house.gateway();
    house.file("a.txt", "a");
    let send = || Fault::on(house.bot()).method("sendDocument");
    house.sim.fault(send().answer_lost());
    house.sim.fault(send().closed_before());
    house.sim.fault(send().error(400, "Bad Request: so there"));
    let mut agent = house.agent_asked("the file?");
    let answer = agent.reply(json!({"text": "here", "files": ["a.txt"]}));
    assert_eq!(answer["status"], "failed", "{answer}");
    let secret = house.token().split_once(':').unwrap().1;
    let said = [gateway.log(), house.log_files(), answer.to_string()].concat();
    assert!(said.contains("so there"), "{said}");
    assert!(!said.contains(secret));
}
