//! One look at a session: who has what of the messages that wait, what is to be done about it, and doing
//! that.
//!
//! For what whom is woken stands in `wake.json` before it is done, so that a gateway that is started anew
//! does not wake for it once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::SessionId;
use crate::state::agents::turns::{Forgotten, TurnFile};
use crate::state::agents::{self, Registered};
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, ReadError};
use crate::store::lock::{self, FileLock, LockError};
use crate::waker::absence::Watched;
use crate::waker::absence::policy::{Absence, Presence};
use crate::waker::clients;
use crate::waker::methods::tmux::guard::Typing;
use crate::waker::methods::tmux::{self, Surroundings};
use crate::waker::methods::{codex_queue, inbox_socket};
use crate::waker::policy::{self, Decision, Memory, Outcome, Rung, Situation, Wake};
use crate::waker::unanswered::{self, Verdict};
use crate::waker::{conversations, read, unshown};

/// How long an MCP server may take to answer a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After a failure to read or write.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// When to look again, and what was waited for meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Next {
    pub(super) at: Option<Duration>,
    pub(super) waited: Duration,
}

impl From<Option<Duration>> for Next {
    fn from(at: Option<Duration>) -> Self {
        let waited = Duration::ZERO;
        Self { at, waited }
    }
}

/// Who has what of the messages that wait.
struct View<'l> {
    pending: BTreeSet<EntryName>,
    conversations: BTreeMap<String, Conversation>,
    living: &'l [Registered],
}

pub(super) struct Session<'a> {
    pub(super) state: &'a StateDir,
    pub(super) id: &'a SessionId,
    pub(super) dir: SessionDir,
    pub(super) inbox: Inbox,
    pub(super) typing: Option<Typing>,
    pub(super) around: &'a Surroundings,
    pub(super) stop: &'a CancellationToken,
    pub(super) clock: &'a Clock,
}

impl Session<'_> {
    /// Looks at the session, wakes its agent if that is due, and says when to look again.
    pub(super) fn look_or_say(&self, tmux_session: Option<&str>) -> Next {
        let Next { at, waited } = self.look().unwrap_or_else(|error| {
            tracing::warn!(session = %self.id, error = %Chain(&error), "cannot see whether its agent is to be woken");
            Some(AFTER_FAILURE).into()
        });
        let told = tmux_session.and_then(|name| {
            self.look_after(name).unwrap_or_else(|error| {
                tracing::warn!(session = %self.id, error = %Chain(&error), "cannot see whether it is running");
                Some(AFTER_FAILURE)
            })
        });
        let at = at.into_iter().chain(told).min();
        Next { at, waited }
    }

    /// Sees to it that the person knows whether anybody is there.
    fn look_after(&self, tmux_session: &str) -> Result<Option<Duration>, ReadError> {
        let watched = Watched {
            state: self.state,
            id: self.id,
            presence: &|| presence(self.around, tmux_session),
        };
        let lives = !agents::registered(&self.dir)?.is_empty();
        watched.look(lives, self.clock.now())
    }

    fn look(&self) -> Result<Next, ReadError> {
        let now = self.clock.now();
        let living = agents::registered(&self.dir)?;
        self.forget_the_dead(&living)?;
        let mut memory = read(self.state, &self.dir, now)?;
        let turns = self.turns()?;
        let is_quiet = living.is_empty() && turns.is_empty() && memory.wake.is_none();
        if is_quiet && self.typing.is_none() {
            return Ok(None.into());
        }
        let before = memory.clone();
        let view = self.view(&living)?;
        memory
            .forgotten
            .retain(|entry, _| view.pending.contains(entry));
        let mut situation = self.situation(&view, now);
        let due = self.judge(&mut situation, &mut memory, &view, &turns)?;
        for drained in turns.iter().filter_map(|turn| turn.drained) {
            memory.drained(drained, &situation.unshown, now);
        }
        let typist = self.typist(&living, &mut situation, &mut memory, now);
        let waiting = situation.waiting();
        memory.look(&waiting, now);
        let answer_due = self.take_answer(&mut memory, &living, now)?;
        let decision = match answer_due {
            Some(left) => Decision::Later(left),
            None => policy::decide(&situation, memory.wake.as_ref(), now),
        };
        let decision = self.ask_the_pane(decision, typist.as_ref(), &situation, &mut memory, now);
        let (Decision::Wake(plan), Some(newest)) = (&decision, waiting.last()) else {
            if memory != before {
                self.write(&memory)?;
            }
            let later = match decision {
                Decision::Later(later) => Some(later),
                Decision::Nothing | Decision::Wake(_) => None,
            };
            return Ok(later.into_iter().chain(due).min().into());
        };
        // Nobody is told of what a loss of power could take back.
        self.inbox.sync_names()?;
        let last = (memory.wake.clone(), memory.typed.is_some());
        let wake = memory.begin(plan.clone(), *newest, now).clone();
        if wake.rung == Rung::Tmux {
            memory.typed = Some(wake.agent.clone());
        }
        self.write(&memory)?;
        tracing::info!(session = %self.id, waiting = waiting.len(), agent = wake.agent.registration, rung = wake.rung.name(), number = wake.number, "waking the agent");
        match wake.rung {
            Rung::InboxSocket => {
                inbox_socket::ask(&self.dir, &wake.agent.registration, wake.number)?;
                Ok(Some(ANSWER_WITHIN).into())
            }
            Rung::CodexQueue => {
                let outcome = queue(&living, &wake);
                self.ended(&mut memory, wake.number, outcome);
                self.write(&memory)?;
                // What is to be done next is decided by the next look.
                Ok(Some(Duration::ZERO).into())
            }
            Rung::Tmux => self.type_to(typist.as_ref(), &mut memory, &wake, last),
        }
    }

    fn view<'l>(&self, living: &'l [Registered]) -> Result<View<'l>, ReadError> {
        let pending = self.inbox.pending()?;
        let holds = Holds::new(self.state, self.dir.clone());
        let conversations = conversations(&holds, &pending)?;
        Ok(View {
            pending,
            conversations,
            living,
        })
    }

    /// What waits and nobody has, and the agents.
    fn situation(&self, view: &View<'_>, now: Timestamp) -> Situation {
        let typing = self.typing.as_ref();
        let agents = view
            .living
            .iter()
            .flat_map(|one| super::list_agents(&self.dir, one, &view.conversations, typing, now));
        Situation {
            unshown: unshown(&view.pending, &view.conversations, view.living, now),
            agents: agents.collect(),
        }
    }

    /// Finds out who has finished without answering, and tells the persons. When to look again for that.
    fn judge(
        &self,
        situation: &mut Situation,
        memory: &mut Memory,
        view: &View<'_>,
        turns: &[TurnFile],
    ) -> Result<Option<Duration>, ReadError> {
        let now = self.clock.now();
        let mut due: Option<Duration> = None;
        let mut soonest = |later: Duration| due = Some(due.map_or(later, |due| due.min(later)));
        let holders = view.living.iter().flat_map(Registered::agents);
        for (agent, (_, holder)) in situation.agents.iter_mut().zip(holders) {
            let mine = view.conversations.get(holder.as_str());
            let turn = turns.iter().find(|turn| turn.holder == holder);
            let told = turn.and_then(|turn| turn.forgotten.as_ref());
            match unanswered::judge(mine, told, agent.seen, now) {
                Verdict::Nothing => {}
                Verdict::Later(later) => soonest(later),
                Verdict::Forgot(forgot) => {
                    self.tell(memory, mine, &forgot)?;
                    let rest = memory.rest(&forgot.entries, now);
                    if rest.is_zero() {
                        agent.forgot = forgot.entries;
                    } else {
                        soonest(rest);
                    }
                }
            }
        }
        // Who has ended right after its turn will not be asked again, and still has forgotten.
        for turn in turns.iter().filter(|turn| !lives(view.living, turn)) {
            let mine = view.conversations.get(turn.holder.as_str());
            let held = mine.map(|mine| {
                mine.entries()
                    .intersection(&situation.unshown)
                    .copied()
                    .collect()
            });
            let told = unanswered::by_hooks(&held.unwrap_or_default(), turn.forgotten.as_ref());
            if let Some(forgot) = told {
                self.tell(memory, mine, &forgot)?;
            }
            if !turn.client_process.is_running() {
                atomic::remove(&self.dir.turn(turn.holder.as_str()), Step::Sweep)?;
            }
        }
        Ok(due)
    }

    fn tell(
        &self,
        memory: &mut Memory,
        mine: Option<&Conversation>,
        forgot: &Forgotten,
    ) -> Result<(), ReadError> {
        let untold = memory.forget(&forgot.entries, forgot.at);
        if let Some(mine) = mine.filter(|_| !untold.is_empty()) {
            let outbox = Outbox::new(self.state, self.dir.clone());
            // A kill may have come between an answer and its settling.
            let answered = outbox.answered()?;
            let untold = untold.difference(&answered).copied().collect();
            unanswered::tell(&outbox, self.id, mine, &untold, self.clock.now())?;
        }
        Ok(())
    }

    /// What hooks have told, of whomever.
    fn turns(&self) -> Result<Vec<TurnFile>, ReadError> {
        let names = atomic::list(&self.dir.turns())?;
        // One that cannot be read is for the next hook to report; a lock has nothing to tell.
        let read = |name: &String| format::peek(&self.dir.turns().join(name));
        Ok(names.iter().filter_map(read).collect())
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
        if let Some(answer) = inbox_socket::answer(&self.dir, registration)
            && answer.number == wake.number
        {
            let outcome = answer.error.map_or(Outcome::Given, Outcome::Failed);
            self.ended(memory, wake.number, outcome);
            self.write(memory)?;
            atomic::remove(
                &inbox_socket::answer_path(&self.dir, registration),
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
        inbox_socket::ask(&self.dir, registration, wake.number)?;
        Ok(Some(left))
    }

    pub(super) fn ended(&self, memory: &mut Memory, number: i64, outcome: Outcome) {
        if let Outcome::Failed(reason) = &outcome {
            tracing::warn!(session = %self.id, number, reason, "the agent could not be woken this way");
        }
        memory.ended(number, outcome, self.clock.now());
    }

    /// Survives a kill; lost with the power, it costs a turn of a model.
    pub(super) fn write(&self, memory: &Memory) -> Result<(), ReadError> {
        let path = self.dir.wake();
        Ok(format::write(
            &path,
            memory,
            Step::Wake,
            Durability::Unsynced,
        )?)
    }

    /// Removes what MCP servers and hooks have left behind that live no more.
    fn forget_the_dead(&self, living: &[Registered]) -> Result<(), ReadError> {
        for name in atomic::list(&self.dir.turns())? {
            let path = self.dir.turns().join(&name);
            let of = name.strip_suffix(".lock");
            let of_nobody = || of.is_some_and(|holder| !self.dir.turn(holder).exists());
            if !of_nobody() {
                continue;
            }
            // The first hook of an agent has the lock before there is a note.
            match FileLock::try_take(&path, "telepost gateway, clearing up") {
                Ok(_lock) if of_nobody() => atomic::remove(&path, Step::Sweep)?,
                Ok(_) | Err(LockError::Held { .. }) => {}
                Err(LockError::Store(error)) => return Err(error.into()),
            }
        }
        for name in atomic::list(&self.dir.wakes())? {
            let path = self.dir.wakes().join(&name);
            let of = name.split('.').next().unwrap_or_default();
            let lives = living.iter().any(|one| one.name == of);
            // One that has not registered yet may be in its first call.
            if !lives && !lock::is_held(&path)? {
                atomic::remove(&path, Step::Sweep)?;
            }
        }
        Ok(())
    }
}

/// Whether an agent is in the tmux session of that name.
fn presence(around: &Surroundings, tmux_session: &str) -> Presence {
    match tmux::terminals(around, tmux_session) {
        Ok(None) => Presence::Gone(Absence::NoSession),
        Ok(Some(terminals)) => clients::presence(&terminals),
        Err(refusal) => {
            tracing::debug!(reason = %refusal, "tmux cannot be asked");
            Presence::Unknown
        }
    }
}

/// Whether the agent of these turns has an MCP server that lives.
fn lives(living: &[Registered], turn: &TurnFile) -> bool {
    let mut agents = living.iter().flat_map(Registered::agents);
    agents.any(|(_, holder)| holder == turn.holder)
}

fn queue(living: &[Registered], wake: &Wake) -> Outcome {
    let agent = living
        .iter()
        .find(|one| one.name == wake.agent.registration);
    match (agent, &wake.agent.thread) {
        (Some(agent), Some(thread)) => match codex_queue::queue(&agent.file.reach, thread) {
            Ok(()) => Outcome::Given,
            Err(reason) => Outcome::Failed(reason),
        },
        (Some(_) | None, _) => Outcome::Failed("it has gone".to_owned()),
    }
}
