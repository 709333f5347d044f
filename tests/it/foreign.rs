//! Files of another user (a run with sudo), a state folder that is read-only: each process that meets them names the file, its owner and the remedy; nothing is lost, the rest goes on, and so does this when it is mended.
//!
//! Root may read everything. As root, telepost itself therefore runs as an ordinary user here and the
//! files are root's; as an ordinary user, a file without any mode is as unreadable as root's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use telegram_sim::Fault;

use crate::support::{Agent, Gateway, House, names_in, texts, wait_for};

/// The ordinary user.
const SOMEBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A house whose telepost runs as the user `nobody`.
struct Home(House);

impl Home {
    fn new() -> Self {
        let home = Self(House::new());
        if is_root() {
            for path in [home.0.path().to_owned(), home.0.config_path()] {
                chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
            }
        }
        home
    }

    fn gateway_there(&self) -> Gateway {
        let mut command = self
            .0
            .command_with_tokens(&["gateway", "--log-level", "debug"]);
        Gateway::start(as_somebody(&mut command), self.0.path())
    }

    fn gateway(&self) -> Gateway {
        let gateway = self.gateway_there();
        gateway.wait_until_polling(&self.0);
        gateway
    }

    fn agent(&self) -> Agent {
        Agent::start(as_somebody(&mut self.0.agent_command("ONE")))
    }

    fn agent_asked(&self, text: &str) -> Agent {
        self.0.say(text);
        let mut agent = self.agent();
        agent.wait_for_message();
        agent
    }

    fn status(&self) -> Output {
        let mut command = self.0.command_with_tokens(&["status"]);
        as_somebody(&mut command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

fn as_somebody(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(SOMEBODY).gid(SOMEBODY);
    }
    command
}

/// Gives a file to another user.
fn take_away(path: &Path) {
    if is_root() {
        chown(path, Some(0), Some(0)).unwrap();
    } else {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
}

fn give_back(path: &Path) {
    if is_root() {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    } else {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The words name the file, its owner, and what to do.
#[track_caller]
fn names_the_owner(words: &str, path: &Path) {
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    let whose = if is_root() {
        "belongs to root"
    } else {
        "check who owns it"
    };
    assert!(words.contains(whose), "{words}");
    assert!(!is_root() || words.contains("sudo chown"), "{words}");
}

/// No tool call goes on over this file; when it is given back, the message is shown.
fn tool_calls_wait_for(path: &Path, agent: &mut Agent, shown: &[&str]) {
    take_away(path);
    for tool in ["telegram_poll", "telegram_reply"] {
        let refusal = agent.call(tool, json!({})).refused();
        names_the_owner(&refusal, path);
        assert!(refusal.contains("Nothing was lost"), "{refusal}");
    }
    give_back(path);
    assert_eq!(texts(&agent.poll(json!({}))), shown);
}

#[test]
fn a_foreign_message_is_named_and_shown_when_it_is_given_back() {
    let home = Home::new();
    let _gateway = home.gateway();
    home.0.say("one");
    home.0.wait_for_inbox(1);
    let path = home.0.only_file("inbox");
    take_away(&path);
    // The gateway goes on.
    home.0.say("two");
    home.0.wait_for_inbox(2);
    tool_calls_wait_for(&path, &mut home.agent(), &["one", "two"]);
}

#[test]
fn a_foreign_conversation_is_named_and_goes_on_when_it_is_given_back() {
    let home = Home::new();
    let _gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    tool_calls_wait_for(&home.0.only_file("conversations"), &mut agent, &["one"]);
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
}

#[test]
fn a_foreign_session_lock_is_named_and_calls_go_on_when_it_is_given_back() {
    let home = Home::new();
    let _gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    tool_calls_wait_for(&home.0.session("session.lock"), &mut agent, &["one"]);
}

#[test]
fn a_foreign_registration_is_named_and_calls_go_on_when_it_is_given_back() {
    let home = Home::new();
    let _gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    let path = home.0.only_file("agents");
    // The agent knows of itself without the file; another one cannot know whether it still keeps the message.
    take_away(&path);
    assert_eq!(texts(&agent.poll(json!({}))), ["one"]);
    give_back(&path);
    let mut other = home.agent().thread("another");
    tool_calls_wait_for(&path, &mut other, &[]);
}

#[test]
fn a_foreign_reply_is_named_in_the_log_and_sent_when_it_is_given_back() {
    let home = Home::new();
    let gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "waiting"}));
    let path = home.0.only_file("outbox");
    take_away(&path);
    let gateway = home.gateway();
    gateway.wait_for_log("cannot read a delivery now");
    names_the_owner(&gateway.log(), &path);
    home.0.say("the rest goes on");
    home.0.wait_for_inbox(1);
    assert_eq!(home.0.heard(), [""; 0]);
    give_back(&path);
    home.0.wait_to_hear(&["waiting"]);
}

#[test]
fn foreign_progress_is_named_in_the_log_and_its_reply_goes_on_when_it_is_given_back() {
    let home = Home::new();
    let gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    let refused = Fault::on(home.0.bot()).method("sendMessage");
    home.0
        .sim
        .fault(refused.error(500, "Internal Server Error").times(2));
    agent.begin("telegram_reply", json!({"text": "waiting"}));
    let progress = wait_for("the progress", || {
        let names = home.0.names("outbox");
        let name = names.iter().find(|name| name.ends_with(".progress.json"));
        name.cloned().ok_or(names)
    });
    assert!(gateway.stop().success());
    let path = home.0.session("outbox").join(progress);
    take_away(&path);
    let gateway = home.gateway();
    gateway.wait_for_log("cannot continue sending; nothing is lost");
    names_the_owner(&gateway.log(), &path);
    assert_eq!(home.0.heard(), [""; 0]);
    give_back(&path);
    wait_for("the reply", || {
        let heard = home.0.heard();
        if heard.len() == 1 && heard[0].ends_with("waiting") {
            Ok(())
        } else {
            Err(heard)
        }
    });
}

#[test]
fn foreign_gates_and_locks_and_logs_keep_the_gateway_from_starting_until_they_are_given_back() {
    let home = Home::new();
    let gateway = home.gateway();
    let flood = Fault::on(home.0.bot()).method("sendMessage");
    home.0.sim.fault(flood.retry_after(1));
    home.agent_asked("one").reply(json!({"text": "held"}));
    assert!(gateway.stop().success());
    let log = names_in(&home.0.state().join("logs"));
    let state = home.0.state();
    for path in [
        state.join(format!("bots/{}/gates.json", home.0.bot())),
        state.join("gateway.lock"),
        state.join("logs").join(&log[0]),
        state.clone(),
    ] {
        take_away(&path);
        let (status, words) = home.gateway_there().end();
        assert!(!status.success(), "{}", path.display());
        if path.starts_with(state.join("logs")) {
            assert!(words.contains("log"), "{words}");
        } else {
            names_the_owner(&words, &path);
        }
        if path == state {
            chown_folder_back(&path);
        } else {
            give_back(&path);
        }
    }
    let _gateway = home.gateway();
    home.0.wait_to_hear(&["held"]);
}

/// A folder without any mode was more than a file.
fn chown_folder_back(path: &Path) {
    give_back(path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_foreign_gateway_json_is_named_by_status_and_replaced_by_the_gateway() {
    let home = Home::new();
    let _gateway = home.gateway();
    let path: PathBuf = home.0.state().join("gateway.json");
    wait_for("gateway.json", || path.exists().then_some(()).ok_or("none"));
    take_away(&path);
    let status = home.status();
    assert!(!status.status.success(), "{status:?}");
    names_the_owner(&String::from_utf8_lossy(&status.stderr), &path);
    home.0.say("a poll that is answered writes it anew");
    wait_for("the status", || {
        let status = home.status();
        if status.status.success() {
            Ok(())
        } else {
            Err(status)
        }
    });
}

#[test]
fn a_foreign_folder_is_named_with_its_owner_and_filled_when_it_is_given_back() {
    let home = Home::new();
    let gateway = home.gateway();
    home.0.say("one");
    home.0.wait_for_inbox(1);
    let inbox = home.0.session("inbox");
    take_away(&inbox);
    home.0.say("two");
    gateway.wait_for_log("cannot store messages");
    let words = gateway.log();
    assert!(
        words.contains("inbox belongs to root")
            || !is_root() && words.contains("check who owns it"),
        "{words}"
    );
    // A folder may be root's for a good reason: no command that takes it away.
    assert!(!words.contains("sudo chown"), "{words}");
    chown_folder_back(&inbox);
    home.0.wait_for_texts(&["one", "two"]);
}

#[test]
fn a_foreign_record_of_a_sent_reply_is_named_and_holds_up_the_next_until_it_is_given_back() {
    let home = Home::new();
    let _gateway = home.gateway();
    let mut agent = home.agent_asked("one");
    agent.reply(json!({"text": "sent"}));
    let path = home.0.only_file("sent");
    home.0.say("two");
    agent.wait_for_message();
    take_away(&path);
    let next = json!({"text": "next"});
    let refusal = agent.call("telegram_reply", next.clone()).refused();
    names_the_owner(&refusal, &path);
    give_back(&path);
    assert_eq!(agent.reply(next)["status"], "delivered");
    assert_eq!(home.0.heard(), ["sent", "next"]);
}
