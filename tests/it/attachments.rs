//! The files that come with messages: fetched beside everything else, whole or not at all, and explained
//! where they cannot be had.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use telegram_sim::{Fault, FaultId, Sent};

use crate::support::{Agent, Answer, Gateway, House, OWNER, PATIENCE, texts, wait_for};

/// Bytes that differ from those of another seed everywhere.
pub(crate) fn bytes(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..size).map(next).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

/// The owner sends a document with a caption.
pub(crate) fn send(house: &House, file: &str, content: Vec<u8>, caption: &str) -> Sent {
    house.sim.add_file(file, content);
    let message = house.sim.message(house.bot()).chat(OWNER).text(caption);
    message.document(file, "plan.pdf", "application/pdf").send()
}

/// The attachments of a message, once none of them is on its way any more.
#[track_caller]
pub(crate) fn settled(agent: &mut Agent, sent: &Sent) -> Vec<Value> {
    settled_as(agent, sent.update_id.unwrap())
}

#[track_caller]
fn settled_as(agent: &mut Agent, update_id: i64) -> Vec<Value> {
    let message = json!({"message": update_id});
    wait_for("its files", || {
        // Before it has arrived there is no such message.
        let shown = match agent.call("telegram_poll", message.clone()) {
            Answer::Ok(shown) => shown,
            Answer::Refused(words) => return Err(json!(words)),
        };
        let files = shown["messages"][0]["attachments"].as_array().unwrap();
        if files.iter().any(|file| file["state"] == "downloading") {
            return Err(shown);
        }
        Ok(files.clone())
    })
}

#[track_caller]
pub(crate) fn is_there(file: &Value, content: &[u8]) {
    assert_eq!(file["state"], "ready", "{file}");
    assert_eq!(file["sha256"], json!(sha256(content)));
    assert_eq!(file["size"], json!(content.len()));
    let path = Path::new(file["path"].as_str().unwrap());
    assert!(path.is_absolute(), "{}", path.display());
    assert!(
        fs::read(path).unwrap() == content,
        "other bytes in {}",
        path.display()
    );
}

pub(crate) fn strike(house: &House, method: &str, fault: impl FnOnce(Fault) -> Fault) -> FaultId {
    house
        .sim
        .fault(fault(Fault::on(house.bot()).method(method)))
}

/// Waits until a download has begun that a fault holds back.
pub(crate) fn wait_until_struck(house: &House, fault: FaultId) {
    let struck = house
        .sim
        .wait_for(|view| view.fault_hits(fault) > 0, PATIENCE);
    struck.unwrap();
}

/// Everything in `files/`, also what has no name yet.
fn files_on_disk(house: &House) -> Vec<String> {
    let entries = fs::read_dir(house.session("files")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".synced")
        .collect();
    names.sort();
    names
}

#[test]
fn a_document_lies_on_disk_under_a_name_of_ours_for_this_user_only() {
    let house = House::new();
    let _gateway = house.gateway();
    let content = bytes(1, 300_000);
    house.sim.add_file("doc", content.clone());
    let name = "../../../evil\n.sh";
    let message = house.sim.message(house.bot()).chat(OWNER).text("look");
    let sent = message.document("doc", name, "application/pdf").send();
    let files = settled(&mut house.agent(), &sent);
    is_there(&files[0], &content);
    assert_eq!(files[0]["name"], json!(name));
    let path = files[0]["path"].as_str().unwrap();
    let update = sent.update_id.unwrap();
    let expected = house
        .session("files")
        .join(format!("{update}/document.pdf"));
    assert_eq!(path, expected.to_str().unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&expected), 0o600);
    assert_eq!(mode(expected.parent().unwrap()), 0o700);
    assert_eq!(
        house.names(&format!("files/{update}")),
        ["document.pdf", "state.json"]
    );
}

#[test]
fn an_album_a_paste_a_large_document_one_that_is_too_large_and_a_voice_are_one_message_each() {
    let house = House::new();
    let _gateway = house.gateway();
    let photos: Vec<Vec<u8>> = (0..10).map(|seed| bytes(seed, 50_000)).collect();
    let mut album = Vec::new();
    for (number, photo) in photos.iter().enumerate() {
        let id = format!("photo-{number}");
        house.sim.add_file(&id, photo.clone());
        let caption = if number == 0 { "ten pictures" } else { "" };
        let message = house.sim.message(house.bot()).chat(OWNER).photo(&id);
        album.push(message.media_group("album").text(caption).send());
    }
    let paste = "word ".repeat(2400);
    house.sim.say_long(house.bot(), OWNER, OWNER, &paste);
    let large = bytes(11, 19 << 20);
    let film = send(&house, "large", large.clone(), "a large one");
    house.sim.add_large_file("huge", 25 << 20);
    let huge = house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("a huge one");
    let huge = huge.document("huge", "film.mkv", "video/x-matroska").send();
    let voice = bytes(12, 30_000);
    house.sim.add_file("voice", voice.clone());
    let voice_message = json!({"text": null, "voice": {"file_id": "voice", "file_unique_id": "v", "duration": 3,
        "mime_type": "audio/ogg", "file_size": voice.len()}});
    let spoken = house.sim.message(house.bot()).chat(OWNER);
    let spoken = spoken.raw(voice_message).send();
    house.wait_for_inbox(10 + 3 + 1 + 1 + 1);

    let mut agent = house.agent();
    let mut messages = Vec::new();
    while messages.len() < 5 {
        let shown = agent.wait_for_message();
        let shown = shown["messages"].as_array().unwrap().iter();
        let new = shown.filter(|message| message.get("again").is_none());
        messages.extend(new.map(|message| message["update_id"].clone()));
    }
    assert_eq!(
        agent.poll(json!({}))["messages"][0]["again"],
        true,
        "five in all"
    );
    for (file, photo) in settled(&mut agent, &album[0]).iter().zip(&photos) {
        is_there(file, photo);
    }
    is_there(&settled(&mut agent, &spoken)[0], &voice);
    is_there(&settled(&mut agent, &film)[0], &large);
    let huge_file = &settled(&mut agent, &huge)[0];
    assert_eq!(huge_file["state"], "failed");
    assert_eq!(huge_file.get("path"), None);
    let reason = huge_file["reason"].as_str().unwrap();
    assert!(
        reason.contains("25 MB") && reason.contains("at most 20 MB"),
        "{reason}"
    );
    house.wait_to_hear(&["This file is 25 MB, but a bot can download at most 20 MB. The agent knows that you sent it, but cannot open it."]);
    let told = house.sim.calls_of(house.bot(), "sendMessage");
    assert_eq!(
        told[0].params["reply_parameters"]["message_id"],
        json!(huge.message_id)
    );
    // The gateway did not ask for a file that it knows to be too large.
    let asked = house.sim.calls_of(house.bot(), "getFile");
    assert!(asked.iter().all(|call| call.params["file_id"] != "huge"));
}

#[test]
fn a_file_that_only_the_server_finds_too_large_is_explained_as_well() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.add_large_file("huge", 25 << 20);
    let huge =
        json!({"document": {"file_id": "huge", "file_unique_id": "h", "file_name": "a.zip"}});
    let message = house.sim.message(house.bot()).chat(OWNER).text("huge");
    let sent = message.raw(huge).send();
    let file = &settled(&mut house.agent(), &sent)[0];
    let reason = file["reason"].as_str().unwrap();
    assert!(
        reason.contains("too big") && reason.contains("20 MB"),
        "{reason}"
    );
    wait_for("the notice", || {
        let heard = house.heard();
        if heard.len() == 1 { Ok(()) } else { Err(heard) }
    });
}

#[test]
fn a_slow_download_holds_up_neither_texts_nor_small_files() {
    let house = House::new();
    let _gateway = house.gateway();
    let stalled = strike(&house, "download", Fault::stalled);
    send(&house, "film", bytes(1, 3 << 20), "a film");
    wait_until_struck(&house, stalled);
    let small = bytes(2, 900);
    let sent = send(&house, "small", small.clone(), "a small one");
    house.say("a text");
    house.wait_for_inbox(3);
    let mut agent = house.agent();
    is_there(&settled(&mut agent, &sent)[0], &small);
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["a film", "a text"]);
    assert_eq!(
        shown["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
}

#[test]
fn two_films_of_which_none_comes_do_not_hold_up_a_picture() {
    let house = House::new();
    let _gateway = house.gateway();
    let films = strike(&house, "getFile", |fault| {
        fault.contains("film").hang().always()
    });
    for film in ["film-1", "film-2"] {
        send(&house, film, bytes(1, 3 << 20), "a film");
    }
    wait_until_struck(&house, films);
    house.wait_for_inbox(2);
    let picture = bytes(2, 900);
    let sent = send(&house, "picture", picture.clone(), "a small one");
    is_there(&settled(&mut house.agent(), &sent)[0], &picture);
}

#[test]
fn a_message_that_was_shown_without_its_file_is_shown_again_when_that_has_come() {
    let house = House::new();
    let _gateway = house.gateway();
    let stalled = strike(&house, "download", Fault::stalled);
    let content = bytes(1, 70_000);
    let sent = send(&house, "doc", content.clone(), "slow");
    house.wait_for_inbox(1);
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    assert_eq!(
        shown["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
    // Nothing new, and nothing that has changed.
    let waiting = agent.begin("telegram_poll", json!({"wait_seconds": 40}));
    wait_until_struck(&house, stalled);
    assert!(!agent.has_answered(waiting));
    house.sim.clear_fault(stalled);
    let shown = agent.answer(waiting).ok();
    let message = &shown["messages"][0];
    assert_eq!(message["update_id"], json!(sent.update_id));
    assert_eq!(message["again"], true);
    is_there(&message["attachments"][0], &content);
    // Once: then there is no news of it any more.
    let waiting = agent.begin("telegram_poll", json!({"wait_seconds": 40}));
    house.say("next");
    assert_eq!(texts(&agent.answer(waiting).ok()), ["next"]);
    // By its number it is shown at any time.
    let one = agent.poll(json!({"message": sent.update_id}));
    is_there(&one["messages"][0]["attachments"][0], &content);
}

#[test]
fn a_waiting_poll_gives_a_picture_the_moment_that_it_needs() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let waiting = agent.begin("telegram_poll", json!({"wait_seconds": 40}));
    let content = bytes(1, 40_000);
    send(&house, "doc", content.clone(), "quick");
    let shown = agent.answer(waiting).ok();
    is_there(&shown["messages"][0]["attachments"][0], &content);
}

type Break = fn(Fault) -> Fault;

/// These faults strike one after the other, and then the file comes.
fn comes_in_spite_of(faults: &[(&str, Break)]) {
    let house = House::new();
    let _gateway = house.gateway();
    for (method, fault) in faults {
        strike(&house, method, fault);
    }
    let content = bytes(1, 200_000);
    let sent = send(&house, "doc", content.clone(), "at last");
    is_there(&settled(&mut house.agent(), &sent)[0], &content);
    assert_eq!(files_on_disk(&house), [sent.update_id.unwrap().to_string()]);
}

#[test]
fn a_download_that_breaks_off_is_begun_anew() {
    comes_in_spite_of(&[
        ("getFile", Fault::reset_before),
        ("download", Fault::truncated),
        ("download", Fault::answer_lost),
        ("download", Fault::closed_before),
    ]);
}

#[test]
fn a_server_that_is_ill_or_busy_is_asked_again() {
    comes_in_spite_of(&[
        ("getFile", |fault| fault.html(502)),
        ("getFile", |fault| fault.retry_after(1)),
        ("download", |fault| {
            fault.error(500, "Internal Server Error")
        }),
        ("download", |fault| fault.retry_after(1)),
        ("download", |fault| fault.error(404, "Not Found")),
    ]);
}

#[test]
fn a_file_that_telegram_no_longer_has_fails_with_the_reason_and_is_not_asked_for_again() {
    let house = House::new();
    let gateway = house.gateway();
    let gone = "Bad Request: wrong file_id or the file is temporarily unavailable";
    strike(&house, "getFile", |fault| fault.error(400, gone).always());
    let sent = send(&house, "doc", bytes(1, 100), "gone");
    let mut agent = house.agent();
    let file = settled(&mut agent, &sent).remove(0);
    assert_eq!(file["state"], "failed");
    let reason = file["reason"].as_str().unwrap();
    assert!(
        reason.contains("wrong file_id") && reason.contains("send it again"),
        "{reason}"
    );
    let asked = house.sim.call_count(house.bot(), "getFile");
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    house.say("next");
    agent.wait_for_message();
    assert_eq!(house.sim.call_count(house.bot(), "getFile"), asked);
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn a_session_that_was_sent_many_files_keeps_no_other_session_waiting_for_its_one() {
    let mut house = House::empty();
    house.add_session("ONE", json!({}));
    // The same bot, in another person's chat.
    let two = json!({"bot_token_env": "TOKEN_ONE", "chat_ids": [12], "allowed_users": [12]});
    house.config["sessions"]["TWO"] = two;
    house.write_config();
    let first = "first".to_owned();
    for file in (0..8).map(|n| format!("many {n}")).chain([first.clone()]) {
        let chat = if file == first { 12 } else { OWNER };
        house.sim.add_file(&file, bytes(1, 100));
        house.sim.open_chat(house.bot(), chat);
        let message = house.sim.message(house.bot()).chat(chat).from(chat);
        message.document(&file, "a.pdf", "application/pdf").send();
    }
    let _gateway = house.gateway();
    let asked = wait_for("nine files", || {
        let calls = house.sim.calls_of(house.bot(), "getFile");
        if calls.len() == 9 {
            Ok(calls)
        } else {
            Err(calls.len())
        }
    });
    let place = asked.iter().position(|call| call.text("file_id") == first);
    assert!(place.is_some_and(|place| place <= 1), "{place:?}");
}

#[test]
fn a_file_of_another_size_than_announced_is_never_given_out() {
    let house = House::new();
    let _gateway = house.gateway();
    // It says 500 bytes, and gives none.
    house.sim.add_large_file("liar", 500);
    let message = house.sim.message(house.bot()).chat(OWNER).text("liar");
    let sent = message.document("liar", "a.txt", "text/plain").send();
    let file = settled(&mut house.agent(), &sent).remove(0);
    assert_eq!((&file["state"], file.get("path")), (&json!("failed"), None));
    assert!(
        file["reason"].as_str().unwrap().contains("instead of 500"),
        "{file}"
    );
}

#[test]
fn a_server_that_keeps_its_files_to_itself_and_one_that_names_odd_paths_are_explained() {
    let house = House::new();
    let at = |file: &str, path: &str| {
        let sent = send(&house, file, bytes(1, 100), file);
        house.sim.place_file(file, path);
        sent
    };
    let local = at("local", "/var/lib/telegram/doc");
    let odd = at("odd", "a/../../getMe");
    let _gateway = house.gateway();
    let mut agent = house.agent();
    for (sent, words) in [(local, "--local"), (odd, "without a usable path")] {
        let file = settled(&mut agent, &sent).remove(0);
        assert_eq!(file["state"], "failed", "{file}");
        assert!(file["reason"].as_str().unwrap().contains(words), "{file}");
    }
    assert_eq!(house.sim.call_count(house.bot(), "download"), 0);
}

#[test]
fn a_killed_gateway_leaves_nothing_half_and_the_next_one_fetches_it() {
    let house = House::new();
    let gateway = house.gateway();
    let stalled = strike(&house, "download", Fault::stalled);
    let content = bytes(1, 2 << 20);
    let sent = send(&house, "doc", content.clone(), "survivor");
    wait_until_struck(&house, stalled);
    wait_for("the first bytes", || {
        let names = files_on_disk(&house);
        if names.len() == 1 { Ok(()) } else { Err(names) }
    });
    gateway.kill();
    let mut agent = house.agent();
    let shown = agent.poll(json!({}));
    assert_eq!(
        shown["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
    house.sim.clear_faults();
    let _gateway = house.gateway();
    is_there(&settled(&mut agent, &sent)[0], &content);
    assert_eq!(files_on_disk(&house), [sent.update_id.unwrap().to_string()]);
}

/// A gateway that dies before or after a step of a file that comes and of one that is too large; the next
/// one makes it good.
pub(crate) fn dies_at(step: &str, power: bool) {
    for side in ["before", "after"] {
        let house = House::new();
        let crash = format!("{step}:{side}");
        let mut env = vec![("TELEPOST_CRASH_AT", crash.as_str())];
        env.extend(power.then_some(("TELEPOST_POWER_LOSS", "1")));
        let content = bytes(1, 100_000);
        let sent = send(&house, "doc", content.clone(), "a file");
        house.sim.add_large_file("huge", 25 << 20);
        let huge = house.sim.message(house.bot()).chat(OWNER).text("huge");
        let huge = huge.document("huge", "a.zip", "application/zip").send();
        // Whether a message was sent twice is asked in other tests: none is sent in this life.
        let nothing_sent = strike(&house, "sendMessage", |fault| fault.reset_before().always());
        let (status, log) = house.gateway_with(&env).end();
        assert!(!status.success(), "nothing died at {crash}:\n{log}");
        house.sim.clear_fault(nothing_sent);
        let _gateway = house.gateway();
        let mut agent = house.agent();
        is_there(&settled(&mut agent, &sent)[0], &content);
        assert_eq!(settled(&mut agent, &huge)[0]["state"], "failed");
        wait_for("the notice", || {
            let (waiting, sent) = (house.names("outbox"), house.names("sent"));
            if waiting.is_empty() && sent.len() == 1 {
                Ok(())
            } else {
                Err((waiting, sent))
            }
        });
        let heard = house.heard();
        assert_eq!(heard.len(), 1, "{crash}: {heard:?}");
        let update = sent.update_id.unwrap();
        assert_eq!(
            files_on_disk(&house),
            [update.to_string(), (update + 1).to_string()]
        );
    }
}

#[test]
fn a_disk_that_refuses_costs_no_file_and_is_said() {
    for (errno, remedy) in [
        ("enospc", "disk full: free some space"),
        ("eacces", "check who owns it"),
    ] {
        let house = House::new();
        let fail = format!("download:{errno}:3");
        let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", &fail)]);
        let content = bytes(1, 100_000);
        let sent = send(&house, "doc", content.clone(), "a file");
        is_there(&settled(&mut house.agent(), &sent)[0], &content);
        let log = gateway.log();
        assert_eq!(log.matches("a test lets this write fail").count(), 3);
        assert!(
            log.contains("cannot store a file") && log.contains(remedy),
            "{log}"
        );
    }
}

#[test]
fn a_damaged_state_is_kept_and_its_file_fetched_again_and_a_newer_one_is_left_alone() {
    let house = House::new();
    let gateway = house.gateway();
    let content = bytes(1, 1000);
    let sent = send(&house, "doc", content.clone(), "a file");
    let mut agent = house.agent();
    settled(&mut agent, &sent);
    let state = house.session(&format!("files/{}/state.json", sent.update_id.unwrap()));
    fs::write(&state, "{").unwrap();
    let shown = agent.poll(json!({}));
    assert_eq!(
        shown["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
    assert!(
        shown["notices"][0].as_str().unwrap().contains("quarantine"),
        "{shown}"
    );
    // Whatever comes next lets the gateway look.
    house.say("a text");
    is_there(&settled(&mut agent, &sent)[0], &content);

    assert!(gateway.stop().success());
    fs::write(&state, r#"{"format":2,"new":true}"#).unwrap();
    let _gateway = house.gateway();
    let file = settled(&mut agent, &sent).remove(0);
    assert!(
        file["reason"].as_str().unwrap().contains("update telepost"),
        "{file}"
    );
    assert_eq!(
        fs::read_to_string(&state).unwrap(),
        r#"{"format":2,"new":true}"#
    );
}

#[test]
fn a_file_that_somebody_removed_is_fetched_again_while_its_message_waits() {
    let house = House::new();
    let _gateway = house.gateway();
    let content = bytes(1, 1000);
    let sent = send(&house, "doc", content.clone(), "a file");
    let mut agent = house.agent();
    settled(&mut agent, &sent);
    fs::remove_dir_all(house.session(&format!("files/{}", sent.update_id.unwrap()))).unwrap();
    house.say("a text");
    is_there(&settled(&mut agent, &sent)[0], &content);
}

#[test]
fn a_new_caption_brings_the_file_along_and_gives_no_second_notice() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.add_large_file("huge", 25 << 20);
    let huge = house.sim.message(house.bot()).chat(OWNER).text("huge");
    let sent = huge.document("huge", "a.zip", "application/zip").send();
    let mut agent = house.agent();
    settled(&mut agent, &sent);
    let fields = json!({"message_id": sent.message_id, "date": house.sim.now(), "edit_date": house.sim.now(),
        "chat": {"id": OWNER, "type": "private"}, "from": {"id": OWNER, "is_bot": false, "first_name": "A"},
        "caption": "really huge", "document": {"file_id": "huge", "file_unique_id": "unique-huge", "file_size": 25 << 20}});
    let edit = json!({"edited_message": fields});
    let edit = house.sim.raw_update(house.bot(), edit).unwrap();
    assert_eq!(settled_as(&mut agent, edit)[0]["state"], "failed");
    house.wait_until_put_away(1);
}

/// Lets the file of a message seem to take all the room that there is.
fn fill_quota(file: &Value) {
    let path = file["path"].as_str().unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(1 << 30).unwrap();
}

#[test]
fn a_full_quota_is_a_reason_and_no_loss_and_ends_when_messages_are_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = send(&house, "first", bytes(1, 1000), "first");
    let mut agent = house.agent();
    let first = settled(&mut agent, &sent).remove(0);
    fill_quota(&first);
    let content = bytes(2, 1000);
    let sent = send(&house, "second", content.clone(), "second");
    let second = settled(&mut agent, &sent).remove(0);
    assert_eq!(second["state"], "failed");
    assert!(
        second["reason"].as_str().unwrap().contains("1024 MB"),
        "{second}"
    );
    let shown = agent.poll(json!({}));
    agent.poll(json!({"ack": [shown["messages"][0]["update_id"]]}));
    // The gateway looks after each poll.
    house.say("a text");
    wait_for("the second file", || {
        let shown = agent.poll(json!({}));
        let messages = shown["messages"].as_array().cloned().unwrap_or_default();
        let second = messages
            .into_iter()
            .find(|message| message["text"] == "second");
        match second {
            Some(message) if message["attachments"][0]["state"] == "ready" => Ok(message),
            _ => Err(shown),
        }
    });
    assert!(
        !Path::new(first["path"].as_str().unwrap()).exists(),
        "made no room"
    );
}

#[test]
fn prune_removes_the_files_of_answered_messages_and_never_those_that_wait() {
    let mut house = House::new();
    house.share_bot("TWO", 22);
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let sent = send(&house, "old", bytes(1, 2 << 20), "old");
    let old = settled(&mut agent, &sent).remove(0);
    agent.reply(json!({"text": "thanks"}));
    let sent = send(&house, "new", bytes(2, 1000), "new");
    let new = settled(&mut agent, &sent).remove(0);
    let there = |file: &Value| Path::new(file["path"].as_str().unwrap()).exists();
    let prune = |arguments: &[&str]| {
        let output = house.run(&[&["files", "prune"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        prune(&["--session", "TWO"]),
        "Nothing to do: session TWO has no files.\n"
    );
    let kept = prune(&["--older-than", "1h"]);
    assert!(
        kept.starts_with("ONE: removed the files of 0 messages"),
        "{kept}"
    );
    let planned = prune(&["--dry-run"]);
    assert!(
        planned.starts_with("ONE: would remove the files of 1 message (2.1 MB)"),
        "{planned}"
    );
    assert!(there(&old) && there(&new));
    let done = prune(&[]);
    assert!(
        done.starts_with("ONE: removed the files of 1 message (2.1 MB)"),
        "{done}"
    );
    assert!(!there(&old) && there(&new));
    let wrong = house.run(&["files", "prune", "--older-than", "soon"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// A gateway whose clock is that many days ahead.
fn gateway_in_days(house: &House, days: u64) -> Gateway {
    let ahead = (days * 24 * 3600 * 1000).to_string();
    // A poll of the gateway that has just gone may still seem to wait.
    let polls = || house.sim.call_count(house.bot(), "getUpdates");
    let before = polls();
    let gateway = house.gateway_with(&[("TELEPOST_TEST_CLOCK_MS", &ahead)]);
    wait_for("a poll of the new gateway", || {
        let now = polls();
        if now > before { Ok(()) } else { Err(now) }
    });
    gateway
}

#[test]
fn files_go_a_week_after_they_came_when_their_messages_are_settled_and_forgotten() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent();
    let sent = send(&house, "old", bytes(1, 1000), "old");
    let old = settled(&mut agent, &sent).remove(0);
    agent.reply(json!({"text": "thanks"}));
    let sent = send(&house, "waits", bytes(2, 1000), "waits");
    let waits = settled(&mut agent, &sent).remove(0);
    let there = |file: &Value| Path::new(file["path"].as_str().unwrap()).exists();
    assert!(gateway.stop().success());
    assert!(gateway_in_days(&house, 6).stop().success());
    assert!(there(&old) && there(&waits));
    assert!(gateway_in_days(&house, 8).stop().success());
    assert!(!there(&old) && there(&waits));
}
