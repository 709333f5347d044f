//! `telepost hook`, run by the hooks of the clients (docs/facts/clients.md 3 and 5.2).
//!
//! A hook speaks for an agent of a living registration: the one whose client started the hook (directly or
//! through a shell), or, where the client has threads (Codex), the thread if it has called us. In every other
//! window the hook is silent and writes nothing. Its report is recorded in `turns/` before the agent is
//! answered.

mod turn;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use self::turn::{HookEvent, HookReply, HookReport, MailboxSummary, apply_report};
use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;
use crate::state::agents::turns::TurnFile;
use crate::state::agents::{Registered, list_registered};
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::pending::Pending;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::state::wake_log::{WakeLog, WakeOutcome};
use crate::store::StateError;
use crate::waker::WAKE_TEXT;
use crate::waker::conversations::Conversations;
use crate::waker::methods::find_patience;

/// How long one hook waits for another of the same agent.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many processes may stand between the client and its hook.
const DEPTH: usize = 4;
/// Longer names are ignored.
const NAME_MAX: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookKind {
    SessionStart,
    Prompt,
    Stop,
    StopFailure,
    End,
}

impl HookKind {
    pub(crate) fn parse(name: &str) -> Option<Self> {
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

/// The fields that are read of a client's input on stdin, leniently: the format belongs to the client.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct HookInput {
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

impl HookInput {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    fn name(value: &Value) -> Option<String> {
        let fits = |name: &&str| !name.is_empty() && name.len() <= NAME_MAX;
        value.as_str().filter(fits).map(str::to_owned)
    }

    /// The client's name of the session; for Codex, that of the thread.
    fn session(&self) -> Option<String> {
        Self::name(&self.session_id)
    }

    fn turn(&self) -> Option<String> {
        Self::name(&self.prompt_id).or_else(|| Self::name(&self.turn_id))
    }

    /// Whether the session was running already and goes on.
    fn is_midway(&self) -> bool {
        let starts = ["startup", "resume", "clear", "fork"];
        !self
            .source
            .as_str()
            .is_some_and(|source| starts.contains(&source))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) kind: HookKind,
    pub(crate) input: HookInput,
    pub(crate) installation: String,
}

/// The format in which a client reads the answer of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerFormat {
    Claude,
    Codex,
}

/// The agent that a hook speaks for.
#[derive(Clone, Debug, PartialEq)]
struct HookAgent {
    holder: HolderId,
    client: ProcessId,
    format: AnswerFormat,
}

/// Records a hook for the agent that it speaks for in these sessions. Returns the text to print, if any.
pub(crate) fn handle_hook(
    state: &StateDir,
    sessions: &[SessionId],
    hook: &Hook,
    now: Timestamp,
) -> Result<Option<Value>, StateError> {
    let thread = hook.input.session();
    let mut callers = CallingProcesses::default();
    for id in sessions {
        let dir = state.session(id);
        let living = list_registered(&dir)?;
        let Some(agent) = find_agent(&living, thread.as_deref(), &mut callers) else {
            continue;
        };
        let session = HookSession {
            state,
            dir,
            living,
            now,
        };
        // A client with two of our servers is answered by one of them at a time: its turn goes on, so the
        // other one answers the next stop.
        if let Some(reply) = session.record(&agent, hook)? {
            return Ok(Some(render_reply(reply, agent.format)));
        }
    }
    Ok(None)
}

/// The newest agent that a hook can speak for.
fn find_agent(
    living: &[Registered],
    thread: Option<&str>,
    callers: &mut CallingProcesses,
) -> Option<HookAgent> {
    living.iter().rev().find_map(|server| {
        let file = &server.file;
        let agent = |holder: HolderId, format| HookAgent {
            holder,
            client: file.client_process.clone(),
            format,
        };
        if let Some(thread) = file.threads.iter().find(|known| Some(&*known.id) == thread) {
            return Some(agent(thread.holder.clone(), AnswerFormat::Codex));
        }
        // One process of Codex runs many threads, so without a known thread the agent is unknown.
        if !file.threads.is_empty() || file.reach.codex.is_some() {
            return None;
        }
        let holder = || HolderId::of_process(&file.client_process);
        callers
            .include(&file.client_process)
            .then(|| agent(holder(), AnswerFormat::Claude))
    })
}

/// The processes that may be the client of this hook: its parent, and further ancestors as long as they are
/// shells. Another client in between (an agent that runs an agent) ends the search.
#[derive(Debug, Default)]
struct CallingProcesses {
    /// The nearest first, as far as was searched.
    found: Vec<ProcessId>,
    is_complete: bool,
}

impl CallingProcesses {
    fn include(&mut self, client: &ProcessId) -> bool {
        while !self.found.contains(client) {
            if self.is_complete {
                return false;
            }
            self.search_further();
        }
        true
    }

    fn search_further(&mut self) {
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

struct HookSession<'a> {
    state: &'a StateDir,
    dir: SessionDir,
    living: Vec<Registered>,
    now: Timestamp,
}

impl HookSession<'_> {
    /// Records the report. Returns the answer to the agent, once the report is on disk.
    fn record(&self, agent: &HookAgent, hook: &Hook) -> Result<Option<HookReply>, StateError> {
        let names = (&agent.holder, &agent.client);
        TurnFile::update(&self.dir, names, PATIENCE, self.now, |file| {
            let report = HookReport {
                event: self.event(agent, hook)?,
                client_session: hook.input.session(),
                turn: hook.input.turn(),
                installation: hook.installation.clone(),
            };
            Ok(apply_report(file, report, self.now))
        })
    }

    fn event(&self, agent: &HookAgent, hook: &Hook) -> Result<HookEvent, StateError> {
        Ok(match hook.kind {
            HookKind::SessionStart => HookEvent::SessionStart {
                midway: hook.input.is_midway(),
            },
            HookKind::Prompt => HookEvent::Prompt,
            HookKind::Stop => HookEvent::Stop {
                mailbox: self.summarize_mailbox(agent)?,
                kept_going: hook.input.stop_hook_active.as_bool(),
            },
            HookKind::StopFailure => HookEvent::Failure,
            HookKind::End => HookEvent::End,
        })
    }

    fn summarize_mailbox(&self, agent: &HookAgent) -> Result<MailboxSummary, StateError> {
        let mut mailbox = MailboxSummary::default();
        let pending = Pending::from(Inbox::new(&self.dir).pending()?);
        if pending.is_empty() {
            return Ok(mailbox);
        }
        let conversations = Conversations::read(&self.dir, &pending)?;
        let mine = conversations.find(&agent.holder);
        if let Some(mut mine) = mine.filter(|mine| !mine.held.is_empty()).cloned() {
            let outbox = Outbox::new(self.state, self.dir.clone());
            mine.let_go(&outbox.answered()?);
            mailbox.held = mine.entries();
            mailbox.messages = mine.held.len();
        }
        let unshown = conversations.list_unshown(&pending, &self.living, self.now);
        // A message that the agent was shown is in its hands, however long ago that was.
        mailbox.waiting = unshown.difference(&mailbox.held).copied().collect();
        if self.is_woken_for(&mailbox.waiting) {
            mailbox.waiting.clear();
        }
        Ok(mailbox)
    }

    /// Whether the gateway has just woken an agent for all of these.
    fn is_woken_for(&self, waiting: &BTreeSet<EntryName>) -> bool {
        let Some(wake) = WakeLog::file(&self.dir).peek().and_then(|log| log.wake) else {
            return false;
        };
        let covers = waiting.last().is_some_and(|newest| *newest <= wake.newest);
        let may_arrive = !matches!(wake.outcome, WakeOutcome::Failed(_))
            && wake.at <= self.now
            && self.now.since(wake.at) < find_patience(&wake.plan.method).unknown;
        covers && may_arrive
    }
}

/// The answer in the client's format. It is constant text: nothing that a person wrote is in it.
fn render_reply(reply: HookReply, format: AnswerFormat) -> Value {
    let text = match reply {
        HookReply::Announce => WAKE_TEXT.to_owned(),
        HookReply::Remind(count) => reminder(count),
    };
    match format {
        // This continues the turn as well, and is not shown to the person as an error (docs/facts/clients.md 3).
        AnswerFormat::Claude => json!({
            "hookSpecificOutput": {"hookEventName": "Stop", "additionalContext": text},
        }),
        AnswerFormat::Codex => json!({"decision": "block", "reason": text}),
    }
}

fn reminder(count: usize) -> String {
    let (messages, them) = match count {
        1 => ("1 Telegram message".to_owned(), "it"),
        count => (format!("{count} Telegram messages"), "them"),
    };
    format!(
        "You were shown {messages} and have not answered. The person cannot see what you write here: answer with the tool telegram_reply, or list {them} in `ack` of telegram_poll if no answer is needed. telegram_poll shows {them} again."
    )
}
