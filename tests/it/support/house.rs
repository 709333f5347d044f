//! A house: everything that one test needs, in a temporary folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use telegram_sim::Sim;

use super::{Agent, wait_for};

/// The chat of the person who owns the sessions, and that person.
pub(crate) const OWNER: i64 = 11;

pub(crate) struct House {
    pub(crate) sim: Sim,
    folder: tempfile::TempDir,
    pub(crate) config: Value,
    pub(crate) bots: Vec<i64>,
    tokens: Vec<(String, String)>,
    /// The program that the commands of this house run.
    pub(crate) program: PathBuf,
    /// Environment of every process of this house.
    pub(crate) env: Vec<(String, String)>,
}

/// Bot ids that no other test on this machine has: by process and count.
fn new_bot_id() -> i64 {
    static COUNT: AtomicI64 = AtomicI64::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    i64::from(std::process::id()) * 1000 + count + 1_000_000_000
}

impl House {
    /// One bot, one session `ONE`, whose owner is [`OWNER`] in a private chat.
    pub(crate) fn new() -> Self {
        let mut house = Self::empty();
        house.add_session("ONE", json!({}));
        house.write_config();
        house
    }

    /// No session yet.
    pub(crate) fn empty() -> Self {
        let sim = Sim::start().unwrap();
        let folder = tempfile::Builder::new()
            .prefix("telepost-it-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        let config = json!({
            "sessions": {},
            "state_dir": folder.path().join("state"),
            "api_url": sim.url(),
            "gateway": "manual",
            "pace": "off",
            // Switched on where they are the subject: else calls could not be counted.
            "receipts": "off",
        });
        Self {
            sim,
            folder,
            config,
            bots: Vec::new(),
            tokens: Vec::new(),
            program: super::program(),
            env: Vec::new(),
        }
    }

    /// Adds a session with a bot of its own; `more` overrides its keys.
    pub(crate) fn add_session(&mut self, id: &str, more: Value) -> i64 {
        let bot = new_bot_id();
        let token = format!("{bot}:{}", "A".repeat(35));
        self.sim.add_bot(&token, &format!("test_{bot}_bot"));
        let variable = format!("TOKEN_{id}");
        // Most tests are about something else than who is meant in a group.
        let mut session = json!({"bot_token_env": variable, "chat_ids": [OWNER], "allowed_users": [OWNER], "require_mention": false});
        session
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.config["sessions"][id] = session;
        if self.config["default"].is_null() {
            self.config["default"] = json!(id);
        }
        self.tokens.push((variable, token));
        self.bots.push(bot);
        bot
    }

    /// The bot of the first session.
    pub(crate) fn bot(&self) -> i64 {
        self.bots[0]
    }

    pub(crate) fn token(&self) -> &str {
        &self.tokens[0].1
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that the agents work in.
    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path().join("sessions.json")
    }

    pub(crate) fn write_config(&self) {
        fs::write(self.config_path(), self.config.to_string()).unwrap();
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// A folder of session `ONE`, such as `inbox`.
    pub(crate) fn session(&self, folder: &str) -> PathBuf {
        self.state().join("sessions/ONE").join(folder)
    }

    /// The names in a folder of session `ONE`.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        self.names_of("ONE", folder)
    }

    /// The names in a folder of a session.
    pub(crate) fn names_of(&self, session: &str, folder: &str) -> Vec<String> {
        let folder = self.state().join("sessions").join(session).join(folder);
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }

    /// Waits until so many messages are in the inbox of session `ONE`.
    #[track_caller]
    pub(crate) fn wait_for_inbox(&self, count: usize) {
        wait_for("entries in the inbox", || {
            let names = self.names("inbox");
            if names.len() == count {
                Ok(())
            } else {
                Err(names)
            }
        });
    }

    /// The person writes in the private chat.
    pub(crate) fn say(&self, text: &str) -> telegram_sim::Sent {
        self.sim.say(self.bot(), OWNER, OWNER, text)
    }

    /// The times from an answer of the Bot API with updates to the poll that confirmed them: before that
    /// each of them was stored.
    pub(crate) fn batch_times(&self) -> Vec<Duration> {
        let polls = self.sim.calls_of(self.bot(), "getUpdates");
        let stored = polls.iter().zip(polls.iter().skip(1));
        let stored = stored.filter(|(poll, next)| poll.int("offset") < next.int("offset"));
        let times = stored.filter_map(|(poll, next)| Some(next.at - poll.answered_at?));
        times.collect()
    }

    /// The bot's messages in the private chat.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.sim.bot_texts(self.bot(), OWNER)
    }

    /// Waits until the bot has written exactly this.
    #[track_caller]
    pub(crate) fn wait_to_hear(&self, texts: &[&str]) {
        wait_for("the bot's messages", || {
            let heard = self.heard();
            if heard == texts { Ok(()) } else { Err(heard) }
        });
    }

    /// The program with this house's configuration and a bare environment, without tokens.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config_path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("RUST_BACKTRACE", "1")
            .envs(self.env.iter().cloned());
        command
    }

    /// The same with the tokens, as a gateway has them.
    pub(crate) fn command_with_tokens(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.envs(self.tokens.iter().cloned());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command_with_tokens(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Starts a gateway and waits until each of its bots polls.
    #[track_caller]
    pub(crate) fn gateway(&self) -> Gateway {
        // A poll of a gateway that has just gone may still seem to wait.
        let polls = |bot: i64| self.sim.call_count(bot, "getUpdates");
        let before: Vec<(i64, usize)> = self.bots.iter().map(|&bot| (bot, polls(bot))).collect();
        let gateway = self.gateway_with(&[]);
        for (bot, before) in before {
            wait_for("a poll of the new gateway", || {
                if polls(bot) > before {
                    Ok(())
                } else {
                    Err(gateway.log())
                }
            });
        }
        gateway.wait_until_polling(self);
        gateway
    }

    /// Starts a gateway with more environment, and does not wait for anything.
    pub(crate) fn gateway_with(&self, env: &[(&str, &str)]) -> Gateway {
        Gateway::start(
            self.command_with_tokens(&["gateway", "--log-level", "debug"])
                .envs(env.iter().copied()),
            self.path(),
        )
    }

    /// An agent of session `ONE`.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_of("ONE")
    }

    /// An agent of a session.
    pub(crate) fn agent_of(&self, session: &str) -> Agent {
        Agent::start(&mut self.agent_command(session))
    }

    pub(crate) fn agent_command(&self, session: &str) -> Command {
        let mut command = self.command(&["mcp", "--session", session]);
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path().join("agents.log"))
            .unwrap();
        command.stderr(log).current_dir(self.work());
        command
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A gateway in the foreground.
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
}

impl Gateway {
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        static COUNT: AtomicI64 = AtomicI64::new(0);
        let log = folder.join(format!(
            "gateway-{}.log",
            COUNT.fetch_add(1, Ordering::SeqCst)
        ));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Waits until a poll of every bot waits at the simulator.
    #[track_caller]
    pub(crate) fn wait_until_polling(&self, house: &House) {
        for &bot in &house.bots {
            let waiting = house
                .sim
                .wait_for(|view| view.waiting_polls(bot) > 0, super::PATIENCE);
            assert!(waiting.is_ok(), "bot {bot} is not polled:\n{}", self.log());
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// `kill -9`, without waiting for its end.
    pub(crate) fn strike(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // It may have ended by itself this moment; no other process gets its number before it is waited for.
        let _struck = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }

    /// Its stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it has woken an agent, by its log.
    pub(crate) fn wakes(&self) -> usize {
        self.log().matches("waking the agent").count()
    }

    /// Waits until the log has these words.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        wait_for(words, || {
            if self.log().contains(words) {
                Ok(())
            } else {
                Err(self.log())
            }
        });
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        wait_for("the gateway to end", || {
            self.child.try_wait().unwrap().ok_or("runs")
        })
    }

    /// Waits for its end by itself.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for("the gateway to end", || {
            self.child.try_wait().unwrap().ok_or("runs")
        });
        (status, self.log())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
