//! Waking the agent of a session: a hint that messages wait, which costs time when it is lost and
//! never a message. What was written travels by the tools alone.
//!
//! The gateway alone decides ([`policy`]), one look at a session at a time (`look`), and looks again only
//! while messages wait.

pub mod absence;
pub mod clients;
pub mod methods;
pub mod policy;
mod session_check;
pub mod unanswered;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::SessionId;
use crate::state::agents::holder::HolderId;
use crate::state::agents::{self, Registered, Thread};
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::store::StoreError;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::watch::{Interest, NameWatch};
use crate::waker::methods::tmux::Surroundings;
use crate::waker::methods::tmux::guard::Typing;
use crate::waker::methods::tmux::typing::Typist;
use crate::waker::policy::{Agent, AgentKey, Memory, Rung};
use crate::waker::session_check::Session;

/// What a woken agent reads. The same for everybody: nothing that anybody has written is in it.
pub const WAKE_TEXT: &str = "Telegram messages are waiting for this session. Call the tool telegram_poll to read them, then answer with telegram_reply.";

/// After a change, so that a call that waits for it is served first, and one look finds what it has done.
const SETTLES: Duration = Duration::from_millis(5);
/// A look takes at most this part of the time, however much waits.
const SHARE: u32 = 10;

/// Wakes the agents of all sessions.
#[derive(Debug)]
pub struct Waker {
    state: StateDir,
    sessions: BTreeMap<SessionId, Terminal>,
    around: Surroundings,
    clock: Clock,
}

/// What is configured of the terminal of a session.
#[derive(Clone, Debug, Default)]
struct Terminal {
    /// What may be typed, and where.
    typing: Option<Typing>,
    /// The tmux session.
    tmux_session: Option<String>,
}

/// A session that was looked at.
#[derive(Debug)]
struct Looked {
    id: SessionId,
    /// When to look again.
    next: Option<Duration>,
    /// How long it has worked.
    took: Duration,
}

impl Waker {
    /// Wakes for the sessions of the configuration, whose folders exist; some of them also by typing.
    pub fn new(state: &StateDir, config: &Config, around: Surroundings, clock: Clock) -> Self {
        let sessions = config.sessions.iter().map(|(id, session)| {
            let terminal = Terminal {
                typing: Typing::of(session),
                tmux_session: session.tmux_session.clone(),
            };
            (id.clone(), terminal)
        });
        Self {
            state: state.clone(),
            sessions: sessions.collect(),
            around,
            clock,
        }
    }

    /// Wakes until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let watch = NameWatch::new(&self.folders(), &self.clock, |path, _| interest(path));
        let now = self.clock.instant();
        let mut due: BTreeMap<SessionId, tokio::time::Instant> =
            self.sessions.keys().map(|id| (id.clone(), now)).collect();
        // At most one look at a session at a time; what happens meanwhile is looked at afterwards.
        let mut looking: JoinSet<Looked> = JoinSet::new();
        let mut busy = BTreeSet::new();
        loop {
            let now = self.clock.instant();
            let ready: Vec<SessionId> = due
                .iter()
                .filter(|(id, at)| **at <= now && !busy.contains(*id))
                .map(|(id, _)| id.clone())
                .collect();
            for id in ready {
                due.remove(&id);
                busy.insert(id.clone());
                let (state, clock) = (self.state.clone(), self.clock.clone());
                let terminal = self.sessions.get(&id).cloned().unwrap_or_default();
                let (around, stop) = (self.around.clone(), stop.clone());
                looking.spawn_blocking(move || {
                    let begun = clock.instant();
                    let session = Session {
                        inbox: Inbox::new(&state, state.session(&id)),
                        dir: state.session(&id),
                        state: &state,
                        id: &id,
                        typing: terminal.typing,
                        around: &around,
                        stop: &stop,
                        clock: &clock,
                    };
                    let next = session.look_or_say(terminal.tmux_session.as_deref());
                    let took = clock.instant().duration_since(begun);
                    let took = took.saturating_sub(next.waited);
                    let next = next.at;
                    Looked { id, next, took }
                });
            }
            let next = due.iter().filter(|(id, _)| !busy.contains(*id));
            let wait = next.map(|(_, at)| at.duration_since(now)).min();
            let timer = async {
                match wait {
                    Some(wait) => self.clock.sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // All arms are cancel-safe: what is due is looked at however this wait ends.
                () = stop.cancelled() => return,
                () = watch.changed() => {}
                () = timer => {}
                Some(looked) = looking.join_next() => match looked {
                    Ok(Looked { id, next, took }) => {
                        let now = self.clock.instant();
                        let soonest = now + took * SHARE;
                        busy.remove(&id);
                        let news = due.remove(&id).map(|at| at.max(soonest));
                        let next = next.map(|next| (now + next).max(soonest));
                        if let Some(at) = news.into_iter().chain(next).min() {
                            due.insert(id, at);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "looking whom to wake has panicked");
                        busy.clear();
                        looking.abort_all();
                    }
                },
            }
            let news = watch.news();
            let now = self.clock.instant();
            for id in self.sessions.keys() {
                let folder = self.state.session(id);
                if news.all
                    || news
                        .names
                        .iter()
                        .any(|name| name.starts_with(folder.root()))
                {
                    let soon = now + SETTLES;
                    let at = due.entry(id.clone()).or_insert(soon);
                    *at = soon.min(*at);
                }
            }
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.sessions.keys().map(|id| self.state.session(id));
        dirs.flat_map(|dir| {
            [
                dir.inbox(),
                dir.conversations(),
                dir.agents(),
                dir.wakes(),
                dir.turns(),
            ]
        })
        .collect()
    }
}

/// Requests are ours, and the locks of calls are looked at while messages wait.
fn interest(path: &Path) -> Interest {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".lock") || name.ends_with(".request.json") {
        Interest::None
    } else {
        Interest::Name
    }
}

/// What is remembered of waking the agents of a session. A damaged memory costs a turn of a model.
pub fn read(state: &StateDir, dir: &SessionDir, now: Timestamp) -> Result<Memory, ReadError> {
    match format::read(state, &dir.wake(), now) {
        Ok(memory) => Ok(memory.unwrap_or_else(|| Memory::new(FORMAT))),
        Err(ReadError::Quarantined { .. }) => Ok(Memory::new(FORMAT)),
        Err(error) => Err(error),
    }
}

/// The conversations of a session, by holder, as far as they are about pending messages.
pub fn conversations(
    holds: &Holds,
    pending: &BTreeSet<EntryName>,
) -> Result<BTreeMap<String, Conversation>, StoreError> {
    let mut found = BTreeMap::new();
    if pending.is_empty() {
        return Ok(found);
    }
    for mut all in holds.peek_all()? {
        all.reconcile(pending);
        found.insert(all.holder.clone(), all);
    }
    Ok(found)
}

/// What waits and is in no living agent's hands.
pub fn unshown(
    pending: &BTreeSet<EntryName>,
    conversations: &BTreeMap<String, Conversation>,
    living: &[Registered],
    now: Timestamp,
) -> BTreeSet<EntryName> {
    let holders = living.iter().flat_map(|one| &one.file.holders);
    let theirs = holders
        .filter_map(|holder| conversations.get(holder.as_str()))
        .filter(|all| !all.is_silent(now));
    // A message whose server process is gone may not have reached the agent.
    let lives = |server: &str| living.iter().any(|one| one.name == server);
    let kept: BTreeSet<EntryName> = theirs.flat_map(|all| all.living_entries(lives)).collect();
    pending.difference(&kept).copied().collect()
}

/// The agents of an MCP server: one, or one for each thread that has called it.
pub fn list_agents(
    dir: &SessionDir,
    one: &Registered,
    conversations: &BTreeMap<String, Conversation>,
    typing: Option<&Typing>,
    now: Timestamp,
) -> Vec<Agent> {
    let reach = &one.file.reach;
    let holds = |holder: &HolderId| {
        let all = conversations.get(holder.as_str());
        all.is_some_and(|all| !all.is_silent(now) && !all.held.is_empty())
    };
    let agent = |(thread, holder): (Option<&Thread>, HolderId)| {
        let rungs = match thread {
            None => {
                let socket = reach.inbox_socket.as_ref();
                let socket = socket.filter(|path| path.exists());
                let typist = typing.and_then(|typing| Typist::of(dir, one, typing));
                [
                    socket.map(|_| Rung::InboxSocket),
                    typist.map(|_| Rung::Tmux),
                ]
            }
            Some(_) => [reach.codex.as_ref().map(|_| Rung::CodexQueue), None],
        };
        Agent {
            key: AgentKey {
                registration: one.name.clone(),
                thread: thread.map(|thread| thread.id.clone()),
            },
            holds: holds(&holder),
            forgot: BTreeSet::new(),
            seen: agents::look(dir, one, &holder, now),
            rungs: rungs.into_iter().flatten().collect(),
        }
    };
    one.agents().into_iter().map(agent).collect()
}
