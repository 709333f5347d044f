//! An agent that works through its messages whatever dies around it, and a keeper of the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::Answer;
use super::oracle::{Attempt, Ledger, Place};
use super::{Agent, Gateway, House, names_in};

/// SIGABRT (a crash point) and SIGKILL (a killer).
const STRUCK: [i32; 2] = [6, 9];

/// Keeps a gateway running.
pub(crate) struct Keeper<'a> {
    house: &'a House,
    gateway: Mutex<Option<Gateway>>,
    /// Set only for the first start.
    env: Mutex<Vec<(String, String)>>,
    /// How often it was found dead.
    pub(crate) deaths: Mutex<usize>,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(house: &'a House, env: Vec<(String, String)>) -> Self {
        Self {
            house,
            gateway: Mutex::new(None),
            env: Mutex::new(env),
            deaths: Mutex::new(0),
        }
    }

    /// Starts a gateway if none runs.
    pub(crate) fn ensure(&self) {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = gateway.as_mut() {
            let Some(status) = running.ended() else {
                return;
            };
            let signal = status.signal();
            assert!(
                signal.is_some_and(|signal| STRUCK.contains(&signal)),
                "the gateway ended by itself ({status}):\n{}",
                running.log()
            );
            *self.deaths.lock().unwrap() += 1;
        }
        let env = std::mem::take(&mut *self.env.lock().unwrap());
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        *gateway = Some(self.house.gateway_with(&env));
    }

    /// Keeps it running until the flag is set.
    pub(crate) fn keep(&self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            self.ensure();
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`, whatever it is doing.
    pub(crate) fn kill(&self) {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gateway) = gateway.as_ref() {
            gateway.strike();
        }
    }
}

/// An agent of one session.
pub(crate) struct Worker<'a> {
    house: &'a House,
    bot: i64,
    session: String,
    ledger: Arc<Mutex<Ledger>>,
    agent: Option<Agent>,
    env: Vec<(String, String)>,
    /// Which agent this is: a new one after it "died".
    life: usize,
    /// Messages that it was shown and has not settled: text and update id, by chat.
    held: BTreeMap<i64, Vec<(String, i64)>>,
    replies: usize,
    calls: usize,
    pub(crate) deaths: usize,
    /// It gave a call up, and no answer has come since: who knows what that call showed.
    gave_up: bool,
    /// Whether its client dies with its server: then no agent makes a lost call again.
    pub(crate) mortal: bool,
    /// A refusal with these words is no failure of the test: the call is made again.
    pub(crate) bears: Option<&'static str>,
    /// How often it was refused with them.
    pub(crate) refusals: usize,
    /// Looks after every answer whether what it says is on disk. Not for a loss of power, which may take back names that no process needs.
    pub(crate) looks_after: bool,
    /// Files that go with its answers.
    pub(crate) files: Vec<&'static str>,
    /// The messages that the current reply answers, if it is looked after.
    replying: Vec<i64>,
    /// The process, for a killer.
    pub(crate) pid: Arc<Mutex<Option<u32>>>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        house: &'a House,
        bot: i64,
        session: &str,
        ledger: &Arc<Mutex<Ledger>>,
        env: Vec<(String, String)>,
    ) -> Self {
        Self {
            house,
            bot,
            session: session.to_owned(),
            ledger: Arc::clone(ledger),
            agent: None,
            env,
            life: 0,
            held: BTreeMap::new(),
            replies: 0,
            calls: 0,
            deaths: 0,
            gave_up: false,
            mortal: false,
            bears: None,
            refusals: 0,
            looks_after: false,
            files: Vec::new(),
            replying: Vec::new(),
            pid: Arc::default(),
        }
    }

    /// Its name in the ledger, and its holder in telepost.
    fn name(&self) -> String {
        format!("{}-{}", self.session, self.life)
    }

    /// Dies with whatever it holds; the next one knows nothing.
    pub(crate) fn die(&mut self) {
        self.lose_agent();
        self.life += 1;
        self.held.clear();
    }

    pub(crate) fn holds_something(&self) -> bool {
        self.held.values().any(|held| !held.is_empty())
    }

    /// Looks for messages, by one tool or the other.
    pub(crate) fn look(&mut self, by_reply: bool, wait: u64) {
        let answer = if by_reply {
            self.call("telegram_reply", &json!({}))
        } else {
            self.call("telegram_poll", &json!({"wait_seconds": wait}))
        };
        if let Some(answer) = answer {
            self.saw(&answer.ok());
        }
    }

    fn saw(&mut self, result: &Value) {
        let name = self.name();
        for message in result["messages"].as_array().into_iter().flatten() {
            let text = message["text"].as_str().unwrap().to_owned();
            let id = message["update_id"].as_i64().unwrap();
            if self.looks_after {
                self.is_held_on_disk(id);
            }
            let chat = message["chat"]["id"].as_i64().unwrap();
            self.ledger
                .lock()
                .unwrap()
                .shown
                .entry(text.clone())
                .or_default()
                .insert(name.clone());
            let held = self.held.entry(chat).or_default();
            if !held.contains(&(text.clone(), id)) {
                held.push((text, id));
            }
        }
    }

    /// Disk first, then word: what was shown is held on disk.
    fn is_held_on_disk(&self, update: i64) {
        let folder = self.house.state().join("sessions").join(&self.session);
        let folder = folder.join("conversations");
        let held = names_in(&folder).into_iter().any(|name| {
            // It may be replaced at this moment, by the agent itself only.
            let conversation: Value =
                serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
            let mut held = conversation["held"].as_array().into_iter().flatten();
            held.any(|held| held["update_id"] == update)
        });
        assert!(
            held,
            "{update} was shown, and no conversation on disk says so"
        );
    }

    /// Disk first, then word: what was accepted is a file.
    fn is_accepted_on_disk(&self, result: &Value) {
        let id = result["delivery_id"].as_str().unwrap();
        // In the order in which it moves.
        let somewhere = ["outbox", "sent", "failed"].into_iter().any(|folder| {
            let names = self.house.names_of(&self.session, folder);
            names.contains(&format!("{id}.json"))
        });
        assert!(somewhere, "{id} was accepted, and there is no such file");
    }

    /// Answers everything that it holds of one chat, in so many lines.
    pub(crate) fn answer(&mut self, lines: usize) {
        let Some((&chat, held)) = self.held.iter().find(|(_, held)| !held.is_empty()) else {
            return;
        };
        let (answers, ids): (Vec<String>, Vec<i64>) = held.iter().cloned().unzip();
        self.replies += 1;
        let first = format!(
            "{} r{} answers {}",
            self.name(),
            self.replies,
            answers.join(" ")
        );
        let more = (1..lines).map(|line| {
            format!(
                "{} r{} line {line} {}",
                self.name(),
                self.replies,
                "x".repeat(60)
            )
        });
        let text = std::iter::once(first)
            .chain(more)
            .collect::<Vec<_>>()
            .join("\n");
        let place = Place {
            bot: self.bot,
            chat,
        };
        let index = {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.attempts.push(Attempt {
                place,
                text: text.clone(),
                answers,
                agent: self.name(),
                committed: false,
            });
            ledger.attempts.len() - 1
        };
        let mut arguments = json!({"text": text, "to": ids[0]});
        if !self.files.is_empty() {
            arguments["files"] = json!(self.files);
        }
        self.replying = if self.looks_after { ids } else { Vec::new() };
        let deaths = self.deaths;
        let answer = self.call_until_heard("telegram_reply", &arguments);
        self.replying.clear();
        let Some(answer) = answer else {
            return;
        };
        match answer {
            Answer::Ok(result) => {
                assert_ne!(result["status"], "failed", "{result}");
                if self.looks_after {
                    self.is_accepted_on_disk(&result);
                }
                self.ledger.lock().unwrap().attempts[index].committed = true;
                self.held.remove(&chat);
            }
            // The messages that it was shown may not have reached it: it looks again and answers then.
            Answer::Refused(words) if words.contains("may not have reached you") => {}
            // A loss of power takes the hold along, with the server process.
            Answer::Refused(words)
                if self.deaths > deaths && words.contains("was not shown to you") => {}
            Answer::Refused(words) => panic!("{} was refused: {words}", self.name()),
        }
    }

    /// A refused reply has acknowledged nothing, unless its delivery is there all the same.
    fn is_settled_only_by_an_answer(&self, ids: &[i64]) {
        let folder = self.house.state().join("sessions").join(&self.session);
        let names = |name: &str| self.house.names_of(&self.session, name);
        let inbox = names("inbox");
        let ends = |text: &str, id: &i64| text.ends_with(&format!("-{id}"));
        for id in ids {
            if inbox
                .iter()
                .any(|name| ends(&name.replace(".json", ""), id))
            {
                continue;
            }
            // In the order in which it moves.
            let answered = ["outbox", "sent"].into_iter().any(|place| {
                names(place).iter().any(|name| {
                    let file = fs::read(folder.join(place).join(name)).unwrap_or_default();
                    let file: Value = serde_json::from_slice(&file).unwrap_or_default();
                    let answers = [&file["answers"], &file["delivery"]["answers"]];
                    let mut answers = answers.into_iter().filter_map(|answers| answers.as_array());
                    answers.any(|list| list.iter().any(|name| ends(name.as_str().unwrap(), id)))
                })
            });
            assert!(answered, "{id} was settled by a reply that was refused");
        }
    }

    /// Acknowledges one message.
    pub(crate) fn acknowledge(&mut self) {
        let Some((&chat, held)) = self.held.iter().find(|(_, held)| !held.is_empty()) else {
            return;
        };
        let (text, id) = held[0].clone();
        let name = self.name();
        self.ledger
            .lock()
            .unwrap()
            .acked
            .entry(text.clone())
            .or_default()
            .insert(name);
        let Some(result) =
            self.call_until_heard("telegram_poll", &json!({"ack": [id], "limit": 1}))
        else {
            return;
        };
        let result = result.ok();
        let refused = result["not_acked"].as_array().into_iter().flatten();
        if refused.into_iter().any(|refused| *refused == id) && self.is_still_there(&text, id) {
            return;
        }
        self.held
            .get_mut(&chat)
            .unwrap()
            .retain(|held| held.0 != text);
        self.saw(&result);
    }

    /// Whether an acknowledgement was refused because this server process has not shown the message: a call before
    /// it was lost with its process. A message that this call has settled is refused as well, and is gone.
    fn is_still_there(&mut self, text: &str, id: i64) -> bool {
        let Some(answer) = self.call_until_heard("telegram_poll", &json!({"message": id})) else {
            return true;
        };
        let Answer::Ok(result) = answer else {
            return false;
        };
        self.saw(&result);
        let name = self.name();
        let mut ledger = self.ledger.lock().unwrap();
        if let Some(names) = ledger.acked.get_mut(text) {
            names.remove(&name);
            if names.is_empty() {
                ledger.acked.remove(text);
            }
        }
        true
    }

    /// Says how the work goes.
    pub(crate) fn progress(&mut self) {
        if !self.holds_something() {
            return;
        }
        let (_, held) = self.held.iter().find(|(_, held)| !held.is_empty()).unwrap();
        let to = held[0].1;
        self.calls += 1;
        let text = format!("{} progress {}", self.name(), self.calls);
        self.ledger.lock().unwrap().progress.insert(text.clone());
        // Not repeated when its answer is lost: the next one says more.
        drop(self.call(
            "telegram_reply",
            &json!({"text": text, "to": to, "keep_open": true}),
        ));
    }

    /// Begins a poll and gives it up.
    pub(crate) fn cancel_a_poll(&mut self) {
        let Some(agent) = self.running() else { return };
        let id = agent.begin("telegram_poll", json!({"wait_seconds": 5}));
        agent.cancel(id);
        self.gave_up = true;
    }

    /// Makes the same call again until an answer is heard, as a model does whose call was lost;
    /// `None` if it died over it.
    fn call_until_heard(&mut self, tool: &str, arguments: &Value) -> Option<Answer> {
        self.calls += 1;
        let call = json!({"claudecode/toolUseId": format!("{}-{}", self.name(), self.calls)});
        let life = self.life;
        loop {
            if let Some(answer) = self.call_with(tool, arguments, call.clone()) {
                return Some(answer);
            }
            if self.mortal {
                self.die();
            }
            if self.life != life {
                return None;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Option<Answer> {
        self.call_with(tool, arguments, json!({}))
    }

    /// One call; `None` if the server died before it answered, or refused in a way that it bears.
    fn call_with(&mut self, tool: &str, arguments: &Value, meta: Value) -> Option<Answer> {
        let agent = self.running()?;
        let id = agent.begin_with(tool, arguments.clone(), meta);
        let answer = agent.try_answer(id);
        if answer.is_none() {
            self.lose_agent();
            // A client that dies with a call given up is another agent afterwards.
            if self.gave_up {
                self.die();
            }
        }
        self.gave_up = false;
        if let (Some(Answer::Refused(words)), Some(bears)) = (&answer, self.bears)
            && words.contains(bears)
        {
            self.refusals += 1;
            self.is_settled_only_by_an_answer(&self.replying);
            return None;
        }
        answer
    }

    fn running(&mut self) -> Option<&mut Agent> {
        if self.agent.is_none() {
            let mut command = self.house.agent_command(&self.session);
            command.envs(std::mem::take(&mut self.env));
            let agent = Agent::try_start(&mut command).map(|agent| agent.thread(&self.name()));
            match agent {
                Some(agent) => {
                    *self.pid.lock().unwrap() = Some(agent.pid());
                    self.agent = Some(agent);
                }
                None => self.deaths += 1,
            }
        }
        self.agent.as_mut()
    }

    fn lose_agent(&mut self) {
        *self.pid.lock().unwrap() = None;
        if let Some(agent) = self.agent.take() {
            self.deaths += 1;
            agent.kill();
        }
    }
}

/// The person says something, which the oracle will ask for.
pub(crate) fn say(house: &House, ledger: &Mutex<Ledger>, place: Place, text: &str) {
    ledger.lock().unwrap().said.insert(text.to_owned(), place);
    house.sim.say(place.bot, place.chat, super::OWNER, text);
}

/// Whether nothing waits any more: no message, no delivery.
pub(crate) fn at_rest(
    house: &House,
    sessions: &[&str],
    ledger: &Mutex<Ledger>,
) -> Result<(), String> {
    let bots: BTreeSet<i64> = ledger
        .lock()
        .unwrap()
        .said
        .values()
        .map(|place| place.bot)
        .collect();
    let unpolled: usize = bots.iter().map(|bot| house.sim.pending(*bot)).sum();
    let mut left = vec![format!("{unpolled} updates at Telegram")];
    let mut rest = unpolled == 0;
    for session in sessions {
        for folder in ["inbox", "outbox"] {
            let mut names = house.names_of(session, folder);
            // Copies of files are no delivery; that none stay for ever is looked at by itself.
            names.retain(|name| name.strip_suffix(".json").is_some());
            rest &= names.is_empty();
            left.push(format!("{session}/{folder}: {names:?}"));
        }
    }
    if rest { Ok(()) } else { Err(left.join("; ")) }
}
