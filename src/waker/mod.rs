//! Wakes the agents of all sessions.
//!
//! A wake is a hint that messages wait. A lost one costs time and never a message: the messages themselves
//! travel only through the tools. The gateway alone decides about wakes ([`policy`]), in one check of a
//! session at a time (`session_check`), and checks again only while messages wait. [`methods`] has the ways of
//! waking, and says how to add one.

pub(crate) mod absence;
pub(crate) mod activity;
mod clients;
pub(crate) mod conversations;
pub(crate) mod methods;
pub(crate) mod policy;
mod rollout;
mod session_check;
pub(crate) mod unanswered;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::config::{AbsenceNotices, Config};
use crate::ids::SessionId;
use crate::state::agents::Registered;
use crate::state::inbox::Inbox;
use crate::state::wake_log::AgentKey;
use crate::state::{SessionDir, StateDir, wake_requests};
use crate::store::watch::{Interest, NameWatch};
use crate::waker::activity::observe_agent;
use crate::waker::conversations::Conversations;
use crate::waker::methods::tmux::guard::TypingRules;
use crate::waker::methods::{WakeTarget, list_available};
use crate::waker::policy::WakeCandidate;
use crate::waker::session_check::SessionCheck;

pub use self::absence::policy::{BACK_TEXT, CONNECTED_TEXT, DOWN_TEXT, UNCONNECTED_TEXT};
pub use self::activity::AgentState;
pub use self::methods::inbox_socket::InboxSocket;
pub use self::methods::tmux::pane::TmuxServer;

/// The text that a woken agent reads. It is constant: nothing that a person wrote is in it.
pub const WAKE_TEXT: &str = "Telegram messages are waiting for this session. Call the tool telegram_poll to read them, then answer with telegram_reply.";

/// How long a change settles, so that a call that waits for it is served first and one check finds the result.
const SETTLES: Duration = Duration::from_millis(5);
/// The checks of a session take at most one part in this many of the time, however much waits.
const SHARE: u32 = 10;

/// Wakes the agents of all sessions.
#[derive(Debug)]
pub struct Waker {
    state: StateDir,
    sessions: BTreeMap<SessionId, Option<TypingRules>>,
    tells_absence: bool,
    /// Kept, so that each follows the names of its folder.
    inboxes: BTreeMap<SessionId, Inbox>,
    tmux: TmuxServer,
    clock: Clock,
}

#[derive(Debug)]
struct CheckedSession {
    id: SessionId,
    /// When to check again.
    next: Option<Duration>,
    took: Duration,
}

impl Waker {
    /// For the configured sessions, whose folders exist.
    pub fn new(state: &StateDir, config: &Config, tmux: TmuxServer, clock: Clock) -> Self {
        let sessions = config.sessions.iter();
        let sessions = sessions.map(|(id, session)| (id.clone(), TypingRules::of(session)));
        let inboxes = config.sessions.keys();
        let inboxes = inboxes.map(|id| (id.clone(), Inbox::new(&state.session(id))));
        Self {
            inboxes: inboxes.collect(),
            state: state.clone(),
            sessions: sessions.collect(),
            tells_absence: config.absence == AbsenceNotices::On,
            tmux,
            clock,
        }
    }

    /// Wakes until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let dirs = self.sessions.keys().map(|id| self.state.session(id));
        let folders: Vec<_> = dirs.flat_map(|dir| dir.folders_about_waking()).collect();
        let watch = NameWatch::new(&folders, &self.clock, |path, _| interest(path));
        let now = self.clock.instant();
        let mut due: BTreeMap<SessionId, tokio::time::Instant> =
            self.sessions.keys().map(|id| (id.clone(), now)).collect();
        // One check of a session at a time; a change meanwhile is checked afterwards.
        let mut checks: JoinSet<CheckedSession> = JoinSet::new();
        let mut busy = BTreeSet::new();
        loop {
            let now = self.clock.instant();
            let ready = due
                .iter()
                .filter(|(id, at)| **at <= now && !busy.contains(*id));
            let ready: Vec<SessionId> = ready.map(|(id, _)| id.clone()).collect();
            for id in ready {
                due.remove(&id);
                busy.insert(id.clone());
                self.spawn_check(&mut checks, id, &stop);
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
                // All arms are cancel-safe: a session that is due is checked however this wait ends.
                () = stop.cancelled() => return,
                () = watch.changed() => {}
                () = timer => {}
                Some(checked) = checks.join_next() => match checked {
                    Ok(CheckedSession { id, next, took }) => {
                        let now = self.clock.instant();
                        let soonest = now + took * SHARE;
                        busy.remove(&id);
                        let changed = due.remove(&id).map(|at| at.max(soonest));
                        let next = next.map(|next| (now + next).max(soonest));
                        if let Some(at) = changed.into_iter().chain(next).min() {
                            due.insert(id, at);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the check of a session panicked");
                        busy.clear();
                        checks.abort_all();
                    }
                },
            }
            let news = watch.news();
            let soon = self.clock.instant() + SETTLES;
            for id in self.sessions.keys() {
                let folder = self.state.session(id);
                let has_changed = |name: &std::path::PathBuf| name.starts_with(folder.root());
                if news.all || news.names.iter().any(has_changed) {
                    let at = due.entry(id.clone()).or_insert(soon);
                    *at = soon.min(*at);
                }
            }
        }
    }

    fn spawn_check(
        &self,
        checks: &mut JoinSet<CheckedSession>,
        id: SessionId,
        stop: &CancellationToken,
    ) {
        let (state, tmux) = (self.state.clone(), self.tmux.clone());
        let (clock, stop) = (self.clock.clone(), stop.clone());
        let rules = self.sessions.get(&id).cloned().flatten();
        let tells_absence = self.tells_absence;
        let inbox = self.inboxes.get(&id).cloned();
        checks.spawn_blocking(move || {
            let begun = clock.instant();
            let dir = state.session(&id);
            let check = SessionCheck {
                inbox: &inbox.unwrap_or_else(|| Inbox::new(&dir)),
                dir,
                state: &state,
                id: &id,
                rules,
                tells_absence,
                tmux: &tmux,
                stop: &stop,
                clock: &clock,
            };
            let next = check.run();
            let took = clock.instant().duration_since(begun);
            let took = took.saturating_sub(next.waited);
            let next = next.at;
            CheckedSession { id, next, took }
        });
    }
}

fn interest(path: &Path) -> Interest {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if wake_requests::is_noise(&name) {
        Interest::None
    } else {
        Interest::Name
    }
}

/// The time since then. After the clock was set back it is unlimited, so that no pause lasts for ever.
fn time_since(at: Timestamp, now: Timestamp) -> Duration {
    if at > now {
        Duration::MAX
    } else {
        now.since(at)
    }
}

/// The agents of an MCP server: one, or one for each thread that has called it.
pub(crate) fn list_candidates(
    dir: &SessionDir,
    server: &Registered,
    conversations: &Conversations,
    typing: Option<&TypingRules>,
    now: Timestamp,
) -> Vec<WakeCandidate> {
    let agents = server.agents().into_iter();
    let candidates = agents.map(|(thread, holder)| {
        let thread = thread.map(|thread| thread.id.clone());
        let target = WakeTarget {
            dir,
            server: Some(server),
            thread: thread.as_deref(),
            pane: None,
            typing,
        };
        WakeCandidate {
            methods: list_available(&target),
            holds: conversations.is_held_by(&holder, now),
            unanswered: BTreeSet::new(),
            activity: observe_agent(dir, server, &holder, now),
            key: AgentKey {
                registration: server.name.clone(),
                thread,
            },
        }
    });
    candidates.collect()
}
