//! Hooks of the clients (clients.md 3 and 5.2): what `telepost hook` does with one.
//!
//! A hook speaks for the agent of a living registration: one whose client is the process that started the
//! hook (directly, or by a shell), or, where the client has threads (Codex), one that the thread has
//! called. For whomever else it is silent and writes nothing, so that a hook that runs in every window
//! touches only the window that is bound. What it tells goes into `turns/<holder>.json` first; then the
//! agent is told. The file survives a kill; lost with the power, it costs a hint.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;
use crate::state::agents::turns::{Event, Heard, Mailbox, Say, TurnFile};
use crate::state::agents::{self, Registered};
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::store::StateError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, ReadError};
use crate::store::lock::FileLock;
use crate::waker::WAKE_TEXT;
use crate::waker::policy::{Memory, Outcome, Rung};

/// How long one hook waits for another of the same agent.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many processes may stand between the client and its hook.
const DEPTH: usize = 4;
/// For so long a wake that was given keeps the agent from being told once more.
const ON_THE_WAY: Duration = Duration::from_secs(60);
/// Codex keeps what it was told until the turn is over.
const QUEUED: Duration = Duration::from_secs(600);

/// Which hook it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session begins.
    SessionStart,
    /// A prompt was submitted.
    Prompt,
    /// The agent wants to stop.
    Stop,
    /// A turn has ended because the API failed.
    StopFailure,
    /// A session ends.
    End,
}

impl Kind {
    /// By its name on the command line.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "session-start" => Some(Self::SessionStart),
            "prompt" => Some(Self::Prompt),
            "stop" => Some(Self::Stop),
            "stop-failure" => Some(Self::StopFailure),
            "end" => Some(Self::End),
            _ => None,
        }
    }
}

/// What a client gives its hook on stdin, as far as it is read: leniently, for it is the client's own.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Payload {
    #[serde(default)]
    session_id: Value,
    #[serde(default)]
    prompt_id: Value,
    #[serde(default)]
    turn_id: Value,
    #[serde(default)]
    source: Value,
    #[serde(default)]
    stop_hook_active: Value,
}

/// Names longer than this are nobody's.
const NAME_MAX: usize = 200;

impl Payload {
    /// Whatever can be read of it.
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn name(value: &Value) -> Option<String> {
        let fits = |name: &&str| !name.is_empty() && name.len() <= NAME_MAX;
        value.as_str().filter(fits).map(str::to_owned)
    }

    /// The client's name of the session; of the thread, for Codex.
    fn session(&self) -> Option<String> {
        Self::name(&self.session_id)
    }

    fn turn(&self) -> Option<String> {
        Self::name(&self.prompt_id).or_else(|| Self::name(&self.turn_id))
    }

    /// Whether the session was going on already and does so.
    fn is_midway(&self) -> bool {
        !matches!(
            self.source.as_str(),
            Some("startup" | "resume" | "clear" | "fork")
        )
    }
}

/// How a client reads what its hook says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Claude,
    Codex,
}

/// An agent that a hook speaks for.
#[derive(Clone, Debug, PartialEq)]
struct Speaker {
    holder: HolderId,
    client: ProcessId,
    dialect: Dialect,
}

/// A hook, as its client has started it.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Which it is.
    pub kind: Kind,
    /// What the client says of it.
    pub payload: Payload,
    /// Which installation it comes from: one that starts it in another way is another.
    pub voice: String,
}

/// Takes in a hook for the agents of these sessions that it speaks for. What is to be printed, if
/// anything.
pub fn hear(
    state: &StateDir,
    sessions: &[SessionId],
    hook: &Hook,
    now: Timestamp,
) -> Result<Option<Value>, StateError> {
    let thread = hook.payload.session();
    let mut clients = Clients::default();
    for id in sessions {
        let dir = state.session(id);
        let living = agents::registered(&dir)?;
        let Some(speaker) = speaker(&living, thread.as_deref(), &mut clients) else {
            continue;
        };
        let house = House {
            state,
            dir,
            living,
            now,
        };
        // A client that has two servers of ours hears one of them at a time. Its turn then goes on, so
        // that the other has its word when it ends.
        if let Some(say) = house.take_in(&speaker, hook)? {
            return Ok(Some(words(say, speaker.dialect)));
        }
    }
    Ok(None)
}

/// Whom a hook speaks for: the newest that fits.
fn speaker(living: &[Registered], thread: Option<&str>, clients: &mut Clients) -> Option<Speaker> {
    living.iter().rev().find_map(|one| {
        let file = &one.file;
        let speaker = |holder: HolderId, dialect| Speaker {
            holder,
            client: file.client_process.clone(),
            dialect,
        };
        if let Some(thread) = file.threads.iter().find(|known| Some(&*known.id) == thread) {
            return Some(speaker(thread.holder.clone(), Dialect::Codex));
        }
        // One process of Codex has many threads: without a known one it is nobody.
        if !file.threads.is_empty() || file.reach.codex.is_some() {
            return None;
        }
        clients.has(&file.client_process).then(|| {
            let holder = HolderId::of_process(&file.client_process);
            speaker(holder, Dialect::Claude)
        })
    })
}

/// The processes that may be the client of this hook: the one that started it, and those behind it as
/// long as they are shells. Another client in between (an agent that runs an agent) ends the search.
#[derive(Debug, Default)]
struct Clients {
    /// From the nearest on, as far as was looked.
    found: Vec<ProcessId>,
    is_complete: bool,
}

impl Clients {
    fn has(&mut self, client: &ProcessId) -> bool {
        loop {
            if self.found.contains(client) {
                return true;
            }
            if self.is_complete {
                return false;
            }
            self.look_further();
        }
    }

    fn look_further(&mut self) {
        let next = match self.found.last() {
            None => Some(ProcessId::parent()),
            Some(last) if self.found.len() < DEPTH && last.is_shell() => {
                last.started_by().and_then(ProcessId::of)
            }
            Some(_) => None,
        };
        match next {
            Some(next) => self.found.push(next),
            None => self.is_complete = true,
        }
    }
}

/// One session, as a hook finds it.
struct House<'a> {
    state: &'a StateDir,
    dir: SessionDir,
    living: Vec<Registered>,
    now: Timestamp,
}

impl House<'_> {
    /// Notes what the hook tells. What is to be said to the agent, once that is noted.
    fn take_in(&self, speaker: &Speaker, hook: &Hook) -> Result<Option<Say>, StateError> {
        let payload = &hook.payload;
        atomic::create_folder(&self.dir.turns())?;
        let name = speaker.holder.as_str();
        let lock = self.dir.turns().join(format!("{name}.lock"));
        let who = format!("telepost hook, pid {}", std::process::id());
        let _lock = FileLock::take_within(&lock, &who, PATIENCE)?;
        let path = self.dir.turn(name);
        let before: Option<TurnFile> = match format::read(self.state, &path, self.now) {
            Err(ReadError::Quarantined { .. }) => None,
            read => read?,
        };
        let of_this = |file: &TurnFile| file.client_process == speaker.client;
        let mut file = before.filter(of_this).unwrap_or_else(|| {
            TurnFile::new(speaker.holder.clone(), speaker.client.clone(), self.now)
        });
        let event = match hook.kind {
            Kind::SessionStart => Event::SessionStart {
                midway: payload.is_midway(),
            },
            Kind::Prompt => Event::Prompt,
            Kind::Stop => Event::Stop {
                mailbox: self.mailbox(speaker)?,
                kept_going: payload.stop_hook_active.as_bool(),
            },
            Kind::StopFailure => Event::Failure,
            Kind::End => Event::End,
        };
        let heard = Heard {
            event,
            client_session: payload.session(),
            turn: payload.turn(),
            voice: hook.voice.clone(),
        };
        let unchanged = file.clone();
        let say = file.hear(heard, self.now);
        if file != unchanged {
            format::write(&path, &file, Step::Turn, Durability::Unsynced)?;
        }
        Ok(say)
    }

    fn mailbox(&self, speaker: &Speaker) -> Result<Mailbox, StateError> {
        let pending = Inbox::new(self.state, self.dir.clone()).pending()?;
        if pending.is_empty() {
            return Ok(Mailbox::default());
        }
        let holds = Holds::new(self.state, self.dir.clone());
        let conversations = crate::waker::conversations(&holds, &pending)?;
        let mut mailbox = Mailbox::default();
        if let Some(mine) = conversations.get(speaker.holder.as_str())
            && !mine.held.is_empty()
        {
            let mut mine = mine.clone();
            let outbox = Outbox::new(self.state, self.dir.clone());
            mine.let_go(&outbox.answered()?);
            mailbox.held = mine.entries();
            mailbox.messages = mine.held.len();
        }
        let waiting = crate::waker::unshown(&pending, &conversations, &self.living, self.now);
        // What it was shown is in its hands, however long ago that was.
        mailbox.waiting = waiting.difference(&mailbox.held).copied().collect();
        if self.is_woken_for(&mailbox.waiting) {
            mailbox.waiting.clear();
        }
        Ok(mailbox)
    }

    /// Whether the gateway has just woken somebody for all of these.
    fn is_woken_for(&self, waiting: &BTreeSet<EntryName>) -> bool {
        let memory: Option<Memory> = format::peek(&self.dir.wake());
        let Some(wake) = memory.and_then(|memory| memory.wake) else {
            return false;
        };
        let lasts = match (&wake.outcome, wake.rung) {
            (Outcome::Failed(_), _) => return false,
            (Outcome::Open | Outcome::Given, Rung::CodexQueue) => QUEUED,
            (Outcome::Open | Outcome::Given, Rung::InboxSocket | Rung::Tmux) => ON_THE_WAY,
        };
        let covers = waiting.last().is_some_and(|newest| *newest <= wake.newest);
        covers && wake.at <= self.now && self.now.since(wake.at) < lasts
    }
}

/// What the client is told. Nothing that anybody has written is in it.
fn words(say: Say, dialect: Dialect) -> Value {
    let text = match say {
        Say::Drain => WAKE_TEXT.to_owned(),
        Say::Remind(count) => reminder(count),
    };
    match dialect {
        // Continues the turn, too, and is not shown to the person as an error (clients.md 3).
        Dialect::Claude => json!({
            "hookSpecificOutput": {"hookEventName": "Stop", "additionalContext": text},
        }),
        Dialect::Codex => json!({"decision": "block", "reason": text}),
    }
}

fn reminder(count: usize) -> String {
    let (messages, them) = match count {
        1 => ("1 Telegram message".to_owned(), "it"),
        count => (format!("{count} Telegram messages"), "them"),
    };
    format!(
        "You were shown {messages} and have not answered. The person sees nothing of what you write here: answer with the tool telegram_reply, or list {them} in `ack` of telegram_poll if no answer is needed. telegram_poll shows {them} again."
    )
}
