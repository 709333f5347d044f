//! A state folder that is read-only: nothing is confirmed, shown or accepted; a refused caller reads why; it goes on when the folder can be written again.
//!
//! As root: the folder mounted over itself, read-only. As an ordinary user: folders without the right
//! to write.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use telegram_sim::Fault;

use crate::support::{House, PATIENCE, texts, wait_for};

/// A folder that cannot be written to, until this is dropped.
pub(crate) struct ReadOnly {
    path: PathBuf,
    mounted: bool,
}

impl ReadOnly {
    fn make(house: &House) -> Self {
        Self::folder(&house.state())
    }

    pub(crate) fn folder(path: &Path) -> Self {
        let path = path.to_owned();
        let mounted = rustix::process::getuid().is_root();
        let read_only = Self { path, mounted };
        if mounted {
            let path = &read_only.path;
            let mount = |arguments: &[&str], paths: &[&Path]| {
                let done = Command::new("mount").args(arguments).args(paths).output();
                let done = done.unwrap();
                if done.status.success() {
                    Ok(())
                } else {
                    Err(done)
                }
            };
            mount(&["--bind"], &[path, path]).expect("root may mount a folder over itself");
            // Busy while a process writes through the new mount.
            wait_for("the mount to be read-only", || {
                mount(&["-o", "remount,bind,ro"], &[path])
            });
        } else {
            set_folders(&read_only.path, 0o500);
        }
        read_only
    }

    /// The system's name for it.
    fn words(&self) -> &'static str {
        if self.mounted {
            "the file system is read-only"
        } else {
            "check who owns it"
        }
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if self.mounted {
            let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
            drop(unmounted);
        } else {
            set_folders(&self.path, 0o700);
        }
    }
}

/// Sets the mode of a folder and of those below it.
fn set_folders(folder: &Path, mode: u32) {
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            set_folders(&entry.path(), mode);
        }
    }
}

#[test]
fn a_gateway_whose_folder_becomes_read_only_confirms_nothing_says_so_and_goes_on() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("before");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    let read_only = ReadOnly::make(&house);
    house.say("during");
    gateway.wait_for_log(read_only.words());
    let polls = house.sim.call_count(house.bot(), "getUpdates");
    let tried = house.sim.wait_for(
        |view| view.call_count(house.bot(), "getUpdates") >= polls + 2,
        PATIENCE,
    );
    tried.unwrap();
    assert_eq!(house.inbox_texts(), ["before"]);
    assert_eq!(house.sim.confirmed(house.bot()).len(), 1, "only the first");
    drop(read_only);
    house.wait_for_texts(&["before", "during"]);
}

#[test]
fn an_agent_whose_folder_is_read_only_is_shown_nothing_and_sends_nothing_until_it_is_not() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("first");
    house.say("second");
    house.wait_for_inbox(2);
    let read_only = ReadOnly::make(&house);
    for (tool, arguments) in [
        ("telegram_poll", json!({})),
        ("telegram_reply", json!({})),
        ("telegram_reply", json!({"text": "answer"})),
        ("telegram_react", json!({"emoji": "👍"})),
    ] {
        let refusal = agent.call(tool, arguments).refused();
        assert!(refusal.contains(read_only.words()), "{refusal}");
        assert!(!refusal.contains("second"), "{refusal}");
    }
    // One that starts now, too: it cannot even say that it lives.
    let refusal = house.agent().call("telegram_poll", json!({})).refused();
    assert!(refusal.contains(read_only.words()), "{refusal}");
    assert_eq!(house.names("inbox").len(), 2);
    assert_eq!(house.names("outbox"), [""; 0]);
    assert_eq!(house.heard(), [""; 0]);
    drop(read_only);
    assert_eq!(texts(&agent.poll(json!({}))), ["second"]);
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn what_waits_in_a_read_only_folder_is_not_sent_until_its_progress_can_be_written() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("question");
    // Nothing is in flight when the folder becomes read-only: the chat is closed for a second.
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(1));
    assert_eq!(agent.reply(json!({"text": "answer"}))["status"], "accepted");
    let read_only = ReadOnly::make(&house);
    gateway.wait_for_log(read_only.words());
    assert_eq!(house.heard(), [""; 0]);
    drop(read_only);
    house.wait_to_hear(&["answer"]);
}

#[test]
fn status_and_stop_work_in_a_read_only_folder_and_no_gateway_starts_in_it() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("hello");
    house.wait_for_inbox(1);
    let pid = gateway.pid();
    let read_only = ReadOnly::make(&house);
    let status = house.status();
    assert_eq!(status["gateway"]["pid"], pid);
    assert_eq!(status["sessions"][0]["pending"], 1);
    let stopped = house.run(&["gateway", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(gateway.end().0.success());
    let (status, words) = house.gateway_with(&[]).end();
    assert!(!status.success());
    assert!(words.contains(read_only.words()), "{words}");
    drop(read_only);
    let _gateway = house.gateway();
    house.wait_for_texts(&["hello"]);
}
