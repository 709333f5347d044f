//! A full disk: stop confirming, say so, go on when there is room. No message is paid for it.
//!
//! The state folder is a small file system of its own, which needs root. Without it these tests
//! fail with a word about it, unless `TELEPOST_NO_TMPFS` is set: then they are left out.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::attachments::{bytes, send, settled};
use crate::support::{House, PATIENCE, texts, wait_for};

/// A state folder of 256 KiB or another size, unmounted when the test ends.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` if the machine cannot do it and the caller of the tests knows that.
    fn mount(house: &House) -> Option<Self> {
        Self::mount_of(house, "256k")
    }

    #[expect(clippy::print_stdout, reason = "says why a test tested nothing")]
    fn mount_of(house: &House, size: &str) -> Option<Self> {
        let path = house.state();
        fs::create_dir(&path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .args([&format!("size={size},mode=0700"), "telepost-test"])
            .arg(&path)
            .output();
        let words = match mount {
            Ok(output) if output.status.success() => return Some(Self { path }),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        if std::env::var_os("TELEPOST_NO_TMPFS").is_some() {
            println!("left out, because a tmpfs cannot be mounted here: {words}");
            return None;
        }
        panic!(
            "a tmpfs cannot be mounted here ({words}); run as root, or leave these tests out with TELEPOST_NO_TMPFS=1"
        );
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).unwrap();
        let mut size = 64 * 1024;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Takes all the room but so many bytes.
    fn leave(&self, bytes: u64) {
        self.fill();
        let file = fs::File::options()
            .write(true)
            .open(self.ballast())
            .unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size - bytes).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        drop(unmounted);
    }
}

#[test]
fn a_gateway_with_a_full_disk_confirms_nothing_says_so_and_goes_on_when_there_is_room() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let gateway = house.gateway();
    house.say("before");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    disk.fill();
    house.say("during 1");
    gateway.wait_for_log("disk full");
    house.say("during 2");
    let polls = house.sim.call_count(house.bot(), "getUpdates");
    let tried = house.sim.wait_for(
        |view| view.call_count(house.bot(), "getUpdates") >= polls + 2,
        PATIENCE,
    );
    tried.unwrap();
    assert_eq!(house.inbox_texts(), ["before"]);
    assert_eq!(house.sim.confirmed(house.bot()).len(), 1, "only the first");
    let status = || String::from_utf8(house.run(&["status"]).stdout).unwrap();
    let full = "The disk of the state folder is full: free some space.";
    assert!(status().contains(full) && house.status()["disk_full"] == true);
    let mut offsets: Vec<_> = house
        .sim
        .calls_of(house.bot(), "getUpdates")
        .iter()
        .map(|poll| poll.int("offset"))
        .collect();
    offsets.dedup();
    assert_eq!(offsets.len(), 2, "the offset stands still: {offsets:?}");

    disk.make_room();
    house.wait_for_texts(&["before", "during 1", "during 2"]);
    house.wait_for_bot(0, "polling", json!(true));
    assert!(!status().contains(full));
}

#[test]
fn a_poll_that_cannot_record_what_it_shows_shows_nothing_and_says_disk_full() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let _gateway = house.gateway();
    house.say("precious");
    house.wait_for_inbox(1);
    disk.fill();
    let mut agent = house.agent();
    let refusal = agent.call("telegram_poll", json!({})).refused();
    assert!(
        refusal.contains("disk full") && !refusal.contains("precious"),
        "{refusal}"
    );
    disk.make_room();
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["precious"]);
    assert_eq!(shown["messages"][0].get("again"), None);
}

#[test]
fn a_reply_that_cannot_be_stored_is_refused_and_acknowledges_nothing() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let gateway = house.gateway();
    let mut agent = house.agent_asked("precious");
    // It removes files of its own now and then, and each makes room for another.
    assert!(gateway.stop().success());
    disk.fill();
    let refusal = agent
        .call("telegram_reply", json!({"text": "answer"}))
        .refused();
    assert!(refusal.contains("disk full"), "{refusal}");
    assert_eq!(house.names("inbox").len(), 1);
    assert_eq!(house.names("outbox"), [""; 0]);
    disk.make_room();
    let _gateway = house.gateway();
    let answer = agent.reply(json!({"text": "answer"}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(answer["acked"].as_array().unwrap().len(), 1);
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn what_cannot_be_recorded_is_not_sent_until_there_is_room() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let gateway = house.gateway();
    let mut agent = house.agent_asked("precious");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "answer"}));
    disk.fill();
    let gateway = house.gateway();
    gateway.wait_for_log("cannot continue sending; nothing is lost");
    assert_eq!(house.effects(), []);
    disk.make_room();
    house.wait_to_hear(&["answer"]);
}

#[test]
fn a_file_that_does_not_fit_holds_up_no_message_and_comes_when_there_is_room() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let gateway = house.gateway();
    // More than there is room for, and texts meanwhile.
    disk.leave(120 * 1024);
    let content = bytes(1, 200_000);
    let sent = send(&house, "doc", content.clone(), "a file");
    gateway.wait_for_log("cannot store a file");
    house.say("a text");
    house.wait_for_inbox(2);
    let mut agent = house.agent();
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["a file", "a text"]);
    let file = &shown["messages"][0]["attachments"][0];
    assert_eq!(file["state"], "downloading");
    disk.make_room();
    let file = settled(&mut agent, &sent).remove(0);
    assert_eq!(fs::read(file["path"].as_str().unwrap()).unwrap(), content);
    gateway.wait_for_log("files can be stored again");
}

#[test]
fn a_stream_of_messages_and_files_into_a_full_disk_is_all_there_afterwards() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount(&house) else {
        return;
    };
    let gateway = house.gateway();
    let mut expected = Vec::new();
    let mut sent = Vec::new();
    let mut stream = |round: u8| {
        for number in 0..5 {
            let text = format!("{round}-{number}");
            house.say(&text);
            expected.push(text);
        }
        let text = format!("file {round}");
        sent.push(send(&house, &text, bytes(round, 4000), &text));
        expected.push(text);
    };
    stream(0);
    house.wait_for_inbox(6);
    gateway.wait_until_polling(&house);
    // A half-written file would make room.
    gateway.wait_for_log("file fetched");
    disk.fill();
    stream(1);
    gateway.wait_for_log("cannot store messages");
    let confirmed = house.sim.confirmed(house.bot()).len();
    stream(2);
    let polls = house.sim.call_count(house.bot(), "getUpdates");
    let tried = house.sim.wait_for(
        |view| view.call_count(house.bot(), "getUpdates") >= polls + 2,
        PATIENCE,
    );
    tried.unwrap();
    assert_eq!(
        house.sim.confirmed(house.bot()).len(),
        confirmed,
        "the offset stands still"
    );
    disk.make_room();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    wait_for("all messages", || {
        let texts = house.inbox_texts();
        if texts.len() == expected.len() {
            Ok(())
        } else {
            Err(texts)
        }
    });
    let mut agent = house.agent();
    for (round, sent) in sent.iter().enumerate() {
        let file = settled(&mut agent, sent).remove(0);
        let content = fs::read(file["path"].as_str().unwrap()).unwrap();
        assert_eq!(content, bytes(u8::try_from(round).unwrap(), 4000));
    }
}

/// Says something every 20 ms for so long, and adds it to the list.
fn stream(house: &House, time: Duration, said: &mut Vec<String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        said.push(format!("message {}", said.len()));
        house.say(&said[said.len() - 1]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "more than a minute; run by TELEPOST_SOAK=1"]
fn a_disk_that_is_full_for_a_minute_under_a_stream_of_messages_loses_none_of_them() {
    let house = House::new();
    let Some(disk) = SmallDisk::mount_of(&house, "64m") else {
        return;
    };
    let gateway = house.gateway();
    let mut said = Vec::new();
    stream(&house, Duration::from_secs(5), &mut said);
    house.wait_for_inbox(said.len());
    gateway.wait_until_polling(&house);
    disk.fill();
    let full_at = said.len();
    house.say("the first that does not fit");
    said.push("the first that does not fit".to_owned());
    gateway.wait_for_log("cannot store messages");
    let confirmed = house.sim.confirmed(house.bot()).len();
    let offset = || {
        let polls = house.sim.calls_of(house.bot(), "getUpdates");
        polls.last().and_then(|poll| poll.int("offset"))
    };
    let (stands_at, polls) = (offset(), house.sim.call_count(house.bot(), "getUpdates"));
    stream(&house, Duration::from_secs(60), &mut said);
    let log = gateway.log();
    assert!(log.contains("disk full: free some space"), "{log}");
    assert!(house.sim.call_count(house.bot(), "getUpdates") > polls + 2);
    assert_eq!(offset(), stands_at);
    assert_eq!(house.sim.confirmed(house.bot()).len(), confirmed);
    assert_eq!(house.names("inbox").len(), full_at);
    let status = house.run(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("is full: free some space"), "{status}");

    disk.make_room();
    stream(&house, Duration::from_secs(5), &mut said);
    house.wait_for_inbox(said.len());
    assert_eq!(house.inbox_texts(), said);
    house.wait_for_bot(0, "polling", json!(true));
    assert_eq!(house.sim.pending(house.bot()), 0);
}
