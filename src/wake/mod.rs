//! Waking the agent of a session: a hint that messages wait, which costs time when it is lost and
//! never a message. What was written travels by the tools alone.
//!
//! The gateway alone decides ([`policy`]). It notes in `wake.json` for what it wakes whom before it
//! does, so that a gateway that is started anew does not wake for it once more, and looks again only
//! while messages wait.

pub mod codex;
pub mod policy;
pub mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::policy::{Agent, AgentKey, Decision, Memory, Outcome, Rung, Situation, Wake};
use crate::chain::Chain;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::SessionId;
use crate::inbox::disk::Inbox;
use crate::inbox::entry::EntryName;
use crate::mcp::conversation::Conversation;
use crate::session::downtime::Watched;
use crate::session::registry::{self, Registered};
use crate::session::tmux::Tmux;
use crate::store::atomic::{self, Durability};
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::layout::{SessionDir, StateDir};
use crate::store::steps::Step;
use crate::store::watch::{Interest, NameWatch};

/// What a woken agent reads. The same for everybody: nothing that anybody has written is in it.
pub const WAKE_TEXT: &str = "Telegram messages are waiting for this session. Call the tool telegram_poll to read them, then answer with telegram_reply.";

/// How long an MCP server may take to answer a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After a failure to read or write.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// A look takes at most this part of the time, however much waits.
const SHARE: u32 = 10;

/// Wakes the agents of all sessions.
#[derive(Debug)]
pub struct Waker {
    state: StateDir,
    sessions: Vec<SessionId>,
    /// The tmux sessions of those that have one.
    terminals: Arc<BTreeMap<SessionId, String>>,
    tmux: Tmux,
    clock: Clock,
}

/// Says when to look at a session again.
type Looked = (SessionId, Option<Duration>, Duration);

impl Waker {
    /// Wakes for the sessions of the configuration, whose folders exist.
    pub fn new(state: &StateDir, config: &Config, tmux: Tmux, clock: Clock) -> Self {
        let terminals = config.sessions.iter().filter_map(|(id, session)| {
            let tmux_session = session.tmux_session.clone()?;
            Some((id.clone(), tmux_session))
        });
        Self {
            state: state.clone(),
            sessions: config.sessions.keys().cloned().collect(),
            terminals: Arc::new(terminals.collect()),
            tmux,
            clock,
        }
    }

    /// Wakes until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let watch = NameWatch::new(&self.folders(), &self.clock, |path, _| interest(path));
        let now = self.clock.instant();
        let mut due: BTreeMap<SessionId, tokio::time::Instant> =
            self.sessions.iter().map(|id| (id.clone(), now)).collect();
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
                let (terminals, tmux) = (Arc::clone(&self.terminals), self.tmux.clone());
                looking.spawn_blocking(move || {
                    let begun = clock.instant();
                    let watched = terminals.get(&id).map(|tmux_session| Watched {
                        state: &state,
                        id: &id,
                        tmux_session,
                        tmux: &tmux,
                    });
                    let next = look(&state, &id, watched.as_ref(), &clock);
                    (id, next, clock.instant().duration_since(begun))
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
                    Ok((id, next, took)) => {
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
            for id in &self.sessions {
                let folder = self.state.session(id);
                if news.all
                    || news
                        .names
                        .iter()
                        .any(|name| name.starts_with(folder.root()))
                {
                    let at = due.entry(id.clone()).or_insert(now);
                    *at = now.min(*at);
                }
            }
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.sessions.iter().map(|id| self.state.session(id));
        dirs.flat_map(|dir| [dir.inbox(), dir.conversations(), dir.agents(), dir.wakes()])
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

/// Looks at a session, wakes its agent if that is due, and says when to look again.
fn look(
    state: &StateDir,
    id: &SessionId,
    watched: Option<&Watched<'_>>,
    clock: &Clock,
) -> Option<Duration> {
    let session = Session {
        inbox: Inbox::new(state, state.session(id)),
        dir: state.session(id),
        state,
        id,
        clock,
    };
    let woken = session.look().unwrap_or_else(|error| {
        tracing::warn!(session = %id, error = %Chain(&error), "cannot see whether its agent is to be woken");
        Some(AFTER_FAILURE)
    });
    let told = watched.and_then(|watched| {
        session.look_after(watched).unwrap_or_else(|error| {
            tracing::warn!(session = %id, error = %Chain(&error), "cannot see whether it is running");
            Some(AFTER_FAILURE)
        })
    });
    woken.into_iter().chain(told).min()
}

struct Session<'a> {
    state: &'a StateDir,
    id: &'a SessionId,
    dir: SessionDir,
    inbox: Inbox,
    clock: &'a Clock,
}

impl Session<'_> {
    /// Sees to it that the person knows whether anybody is there.
    fn look_after(&self, watched: &Watched<'_>) -> Result<Option<Duration>, ReadError> {
        let lives = !registry::registered(&self.dir)?.is_empty();
        watched.look(lives, self.clock.now())
    }

    fn look(&self) -> Result<Option<Duration>, ReadError> {
        let now = self.clock.now();
        let living = registry::registered(&self.dir)?;
        self.forget_the_dead(&living)?;
        let mut memory = read(self.state, &self.dir, now)?;
        if living.is_empty() && memory.wake.is_none() {
            return Ok(None);
        }
        let situation = self.situation(&living, now)?;
        let before = memory.clone();
        memory.look(&situation.unshown, now);
        let answer_due = self.take_answer(&mut memory, &living, now)?;
        let decision = match answer_due {
            Some(left) => Decision::Later(left),
            None => policy::decide(&situation, memory.wake.as_ref(), now),
        };
        let (Decision::Wake(plan), Some(newest)) = (&decision, situation.unshown.last()) else {
            if memory != before {
                self.write(&memory)?;
            }
            return Ok(match decision {
                Decision::Later(later) => Some(later),
                Decision::Nothing | Decision::Wake(_) => None,
            });
        };
        // Nobody is told of what a loss of power could take back.
        self.inbox.sync_names()?;
        let wake = memory.begin(plan.clone(), *newest, now).clone();
        self.write(&memory)?;
        let waiting = situation.unshown.len();
        tracing::info!(session = %self.id, waiting, agent = wake.agent.registration, rung = wake.rung.name(), number = wake.number, "waking the agent");
        match wake.rung {
            Rung::InboxSocket => {
                socket::ask(&self.dir, &wake.agent.registration, wake.number)?;
                Ok(Some(ANSWER_WITHIN))
            }
            Rung::CodexQueue => {
                let outcome = queue(&living, &wake);
                self.ended(&mut memory, wake.number, outcome);
                self.write(&memory)?;
                // What is to be done next is decided by the next look.
                Ok(Some(Duration::ZERO))
            }
        }
    }

    /// What waits and nobody has, and the agents.
    fn situation(&self, living: &[Registered], now: Timestamp) -> Result<Situation, ReadError> {
        let pending = self.inbox.pending()?;
        let mut held = BTreeMap::new();
        if !pending.is_empty() {
            for name in atomic::list(&self.dir.conversations())? {
                let path = self.dir.conversations().join(name);
                // One that cannot be read is for the agents to report.
                if let Some(mut all) = format::peek::<Conversation>(&path)
                    && !all.is_silent(now)
                {
                    all.reconcile(&pending);
                    held.insert(all.holder.clone(), all.entries());
                }
            }
        }
        let mut situation = Situation::default();
        let mut kept: BTreeSet<EntryName> = BTreeSet::new();
        for one in living {
            let holders = one
                .file
                .holders
                .iter()
                .map(crate::mcp::holder::HolderId::as_str);
            let entries: BTreeSet<EntryName> = holders
                .filter_map(|holder| held.get(holder))
                .flatten()
                .copied()
                .collect();
            situation.agents.extend(agents(&self.dir, one, &held, now));
            kept.extend(entries);
        }
        situation.unshown = pending.difference(&kept).copied().collect();
        Ok(situation)
    }

    /// Notes what the MCP server says of the last request. The time that it has left to say it.
    fn take_answer(
        &self,
        memory: &mut Memory,
        living: &[Registered],
        now: Timestamp,
    ) -> Result<Option<Duration>, ReadError> {
        let open = memory
            .wake
            .clone()
            .filter(|wake| wake.outcome == Outcome::Open && wake.rung == Rung::InboxSocket);
        let Some(wake) = open else {
            return Ok(None);
        };
        let registration = &wake.agent.registration;
        if !living.iter().any(|one| one.name == *registration) {
            return Ok(None);
        }
        if let Some(answer) = socket::answer(&self.dir, registration)
            && answer.number == wake.number
        {
            let outcome = answer.error.map_or(Outcome::Given, Outcome::Failed);
            self.ended(memory, wake.number, outcome);
            self.write(memory)?;
            atomic::remove(
                &socket::answer_path(&self.dir, registration),
                Step::WakeRequest,
            )?;
            return Ok(None);
        }
        let left = ANSWER_WITHIN.saturating_sub(now.since(wake.at));
        if left.is_zero() {
            let reason = "its MCP server did not answer".to_owned();
            self.ended(memory, wake.number, Outcome::Failed(reason));
            return Ok(None);
        }
        // A gateway that was killed may not have come to asking. It is carried out only once.
        socket::ask(&self.dir, registration, wake.number)?;
        Ok(Some(left))
    }

    fn ended(&self, memory: &mut Memory, number: i64, outcome: Outcome) {
        if let Outcome::Failed(reason) = &outcome {
            tracing::warn!(session = %self.id, number, reason, "the agent could not be woken this way");
        }
        memory.ended(number, outcome, self.clock.now());
    }

    /// Survives a kill; lost with the power, it costs a turn of a model.
    fn write(&self, memory: &Memory) -> Result<(), ReadError> {
        let path = self.dir.wake();
        Ok(format::write(
            &path,
            memory,
            Step::Wake,
            Durability::Unsynced,
        )?)
    }

    /// Removes what MCP servers have left behind that live no more.
    fn forget_the_dead(&self, living: &[Registered]) -> Result<(), ReadError> {
        for name in atomic::list(&self.dir.wakes())? {
            let path = self.dir.wakes().join(&name);
            let of = name.split('.').next().unwrap_or_default();
            let lives = living.iter().any(|one| one.name == of);
            // One that has not registered yet may be in its first call.
            if !lives && !crate::store::lock::is_held(&path)? {
                atomic::remove(&path, Step::Sweep)?;
            }
        }
        Ok(())
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

/// The agents of an MCP server: one, or one for each thread that has called it.
pub fn agents(
    dir: &SessionDir,
    one: &Registered,
    held: &BTreeMap<String, BTreeSet<EntryName>>,
    now: Timestamp,
) -> Vec<Agent> {
    let seen = registry::look(dir, one, now);
    let holds = |holder: &str| held.get(holder).is_some_and(|entries| !entries.is_empty());
    let key = |thread: Option<&str>| AgentKey {
        registration: one.name.clone(),
        thread: thread.map(str::to_owned),
    };
    if one.file.threads.is_empty() {
        let socket = &one.file.reach.inbox_socket;
        let rung = socket.as_ref().filter(|path| path.exists());
        return vec![Agent {
            key: key(None),
            holds: one.file.holders.iter().any(|holder| holds(holder.as_str())),
            seen,
            rungs: rung.map(|_| Rung::InboxSocket).into_iter().collect(),
        }];
    }
    let threads = one.file.threads.iter();
    threads
        .map(|thread| Agent {
            key: key(Some(&thread.id)),
            holds: holds(thread.holder.as_str()),
            seen,
            rungs: one
                .file
                .reach
                .codex
                .as_ref()
                .map(|_| Rung::CodexQueue)
                .into_iter()
                .collect(),
        })
        .collect()
}

fn queue(living: &[Registered], wake: &Wake) -> Outcome {
    let agent = living
        .iter()
        .find(|one| one.name == wake.agent.registration);
    match (agent, &wake.agent.thread) {
        (Some(agent), Some(thread)) => match codex::queue(&agent.file.reach, thread) {
            Ok(()) => Outcome::Given,
            Err(reason) => Outcome::Failed(reason),
        },
        (Some(_) | None, _) => Outcome::Failed("it has gone".to_owned()),
    }
}
