//! Helpers of the tests of the gateway: other programs at the same bot, shared bots, status.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Agent, House, wait_for};

/// A group that some tests give to session `ONE`.
pub(crate) const SUPERGROUP: i64 = -1_000_000_000_050;
/// The person on no list.
pub(crate) const STRANGER: i64 = 99;

impl House {
    /// One bot, session `ONE`, with these keys of the session overridden.
    pub(crate) fn with(more: Value) -> Self {
        let mut house = Self::empty();
        house.add_session("ONE", more);
        house.write_config();
        house
    }

    /// Adds a session that shares the bot of session `ONE`; its chat is the private one of `user`.
    pub(crate) fn share_bot(&mut self, id: &str, user: i64) {
        self.config["sessions"][id] =
            json!({"bot_token_env": "TOKEN_ONE", "chat_ids": [user], "allowed_users": [user]});
        self.write_config();
    }

    /// Why each of the dead letters of the first bot is one, sorted.
    pub(crate) fn dead_letters(&self) -> Vec<String> {
        // The update itself may be nested too deeply to be read.
        #[derive(serde::Deserialize)]
        struct Letter {
            reason: String,
        }
        let folder = self.state().join(format!("bots/{}/dead", self.bot()));
        let mut reasons: Vec<String> = names_in(&folder)
            .into_iter()
            .map(|name| fs::read(folder.join(name)).unwrap())
            .map(|bytes| serde_json::from_slice::<Letter>(&bytes).unwrap().reason)
            .collect();
        reasons.sort();
        reasons
    }

    /// A call by another program that has the token of the first bot. Waits for the answer.
    pub(crate) fn other_program(&self, method: &str, params: &Value) -> Value {
        call(&self.request(method, params), self.sim.address())
    }

    /// The bytes of such a call.
    pub(crate) fn request(&self, method: &str, params: &Value) -> String {
        let (token, body) = (self.token(), params.to_string());
        format!(
            "POST /bot{token}/{method} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// A bot in `status --json`.
    pub(crate) fn bot_status(&self, index: usize) -> Value {
        self.status()["bots"][index].clone()
    }

    /// Waits until `status --json` says this of a bot.
    #[track_caller]
    pub(crate) fn wait_for_bot(&self, index: usize, key: &str, value: Value) {
        wait_for("the bot's status", || {
            let status = self.bot_status(index);
            if status[key] == value {
                Ok(())
            } else {
                Err(status)
            }
        });
    }

    /// Waits until `status --json` says that Telegram cannot be reached for the first bot.
    #[track_caller]
    pub(crate) fn wait_until_unreachable(&self) {
        wait_for("Telegram to be away", || {
            let status = self.bot_status(0);
            let off = status["unreachable"].as_str().unwrap_or_default();
            if off.starts_with("cannot reach Telegram") {
                Ok(())
            } else {
                Err(status)
            }
        });
    }

    /// The texts in the inbox of session `ONE`, in the order of the entries.
    pub(crate) fn inbox_texts(&self) -> Vec<String> {
        let texts = self.names("inbox").into_iter().map(|name| {
            let file = fs::read(self.session("inbox").join(name)).unwrap();
            let entry: Value = serde_json::from_slice(&file).unwrap();
            let update = &entry["update"];
            let text = ["message", "edited_message"].map(|kind| update[kind]["text"].as_str());
            text.into_iter()
                .flatten()
                .next()
                .unwrap_or("(no text)")
                .to_owned()
        });
        texts.collect()
    }

    /// Waits until the inbox of session `ONE` has exactly these texts in this order.
    #[track_caller]
    pub(crate) fn wait_for_texts(&self, texts: &[&str]) {
        self.wait_for_inbox(texts.len());
        assert_eq!(self.inbox_texts(), texts);
    }

    /// The calls of the first bot that do more than listen and set up the bot itself.
    pub(crate) fn effects(&self) -> Vec<telegram_sim::Call> {
        let own = ["getUpdates", "getMe", "setMyCommands"];
        let mut calls = self.sim.calls(self.bot());
        calls.retain(|call| !own.contains(&call.method.as_str()));
        calls
    }

    /// Waits until the menu of the first bot is set in both scopes: then a gateway does nothing more by itself.
    pub(crate) fn wait_for_menu(&self) {
        wait_for("the menu of the commands", || {
            let calls = self.sim.call_count(self.bot(), "setMyCommands");
            if calls >= 2 { Ok(()) } else { Err(calls) }
        });
    }

    /// All texts that the gateway has written into its log files.
    pub(crate) fn log_files(&self) -> String {
        let folder = self.state().join("logs");
        let files = names_in(&folder).into_iter();
        files
            .map(|name| fs::read_to_string(folder.join(name)).unwrap())
            .collect()
    }

    /// An agent that holds a message with this text, which the person has just written.
    pub(crate) fn agent_asked(&self, text: &str) -> Agent {
        self.say(text);
        let mut agent = self.agent();
        agent.wait_for_message();
        agent
    }

    /// Waits until the gateway knows that so many deliveries of session `ONE` are out, and no more wait: one
    /// that is killed before would send the last once more, marked.
    #[track_caller]
    pub(crate) fn wait_until_put_away(&self, count: usize) {
        wait_for("the deliveries to be put away", || {
            let (waiting, sent) = (self.names("outbox"), self.names("sent"));
            if waiting.is_empty() && sent.len() == count {
                Ok(())
            } else {
                Err((waiting, sent))
            }
        });
    }

    /// The one file in a folder of session `ONE`.
    #[track_caller]
    pub(crate) fn only_file(&self, folder: &str) -> PathBuf {
        let names = self.names(folder);
        assert_eq!(names.len(), 1, "{folder}: {names:?}");
        self.session(folder).join(&names[0])
    }
}

/// The names in a folder, sorted, without temporary files; none if there is no such folder.
pub(crate) fn names_in(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// Sends the bytes of a call and reads its answer.
pub(crate) fn call(request: &str, address: std::net::SocketAddr) -> Value {
    let mut stream = TcpStream::connect(address).expect("the simulator listens");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"))
}

/// Ends whatever gateway runs for the house, also when the test fails. Others are never touched.
pub(crate) struct Background<'a>(pub(crate) &'a House);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let stopped = self.0.run(&["gateway", "stop"]);
        if !std::thread::panicking() {
            assert!(stopped.status.success(), "{stopped:?}");
        }
    }
}
