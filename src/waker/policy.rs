//! Whether to wake an agent, which one, by which way, and when to look again. Pure.
//!
//! A wake only says that messages wait, so a lost one costs time and one too many costs a turn of a
//! model. Hence: one for a batch (what waits and nobody has been shown when it is decided), none while
//! the agent is at work, the next way only when this one has not helped within its time, and then ever
//! longer pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::agents::turns::Drained;
use crate::state::agents::{AgentState, Sighting};
use crate::state::inbox::entry::EntryName;
use crate::waker::methods::tmux::guard::{self, Refusal};

/// How often an agent is looked at that is at work while messages wait.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The same, when that has lasted for a while.
pub(super) const LOOK_SELDOM: Duration = Duration::from_secs(5);
/// After so long it is looked at seldom.
const A_WHILE: Duration = Duration::from_secs(60);
/// An agent of which no more is known than that it called is taken to be at work for so long.
const AT_WORK: Duration = Duration::from_secs(10);
/// The same, while it holds messages that it has not answered.
const ANSWERING: Duration = Duration::from_secs(120);
/// How long an agent may take to look into its mailbox that is known to be idle after a wake.
const PATIENCE_IDLE: Duration = Duration::from_secs(15);
/// The same, if nobody knows what it is doing.
const PATIENCE: Duration = Duration::from_secs(60);
/// Codex keeps what it is told until its turn is over, on disk (clients.md 5.3), so it is told seldom.
const PATIENCE_QUEUED: Duration = Duration::from_secs(600);
/// How soon a pane is looked at again that could not be typed into.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_secs(2);
/// The pauses before the ladder is climbed once more. The last one stays.
const PAUSES: [Duration; 6] = [
    PATIENCE_IDLE,
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(480),
    Duration::from_secs(900),
];

/// A way of waking an agent, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Claude Code's inbox socket, written by the session's own MCP server.
    InboxSocket,
    /// `codex queue`.
    CodexQueue,
    /// Typing into the agent's pane of tmux.
    Tmux,
}

impl Rung {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::InboxSocket => "inbox socket",
            Self::CodexQueue => "codex queue",
            Self::Tmux => "tmux",
        }
    }
}

/// Names an agent: its MCP server's registration, and its thread where it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AgentKey {
    /// The registration.
    pub registration: String,
    /// The thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

/// A living agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Which.
    pub key: AgentKey,
    /// Whether it holds messages that wait.
    pub holds: bool,
    /// What it holds, has finished without answering, and is to be reminded of now.
    pub forgot: BTreeSet<EntryName>,
    /// What it is doing.
    pub seen: Sighting,
    /// How it can be woken.
    pub rungs: BTreeSet<Rung>,
}

/// How things are when it is decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Situation {
    /// What waits and is in no living agent's hands.
    pub unshown: BTreeSet<EntryName>,
    /// The living agents, oldest first.
    pub agents: Vec<Agent>,
}

impl Situation {
    /// For what somebody is to be woken.
    pub fn waiting(&self) -> BTreeSet<EntryName> {
        let forgot = self.agents.iter().flat_map(|agent| &agent.forgot);
        forgot.chain(&self.unshown).copied().collect()
    }
}

/// How an attempt ended, as far as the way itself can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nobody knows yet, or ever will.
    Open,
    /// The client has it.
    Given,
    /// It surely did not reach the client.
    Failed(String),
}

/// The last wake, until its batch has been shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// Its time in milliseconds, or one more than that of the wake before: none comes twice.
    pub number: i64,
    /// The newest message of the batch.
    pub newest: EntryName,
    /// Who was woken.
    pub agent: AgentKey,
    /// How.
    pub rung: Rung,
    /// The ways that were tried since the last pause, this one included.
    pub tried: BTreeSet<Rung>,
    /// How often the ladder was climbed to its end.
    pub rounds: u32,
    /// When.
    pub at: Timestamp,
    /// How that ended.
    pub outcome: Outcome,
}

/// How a way of waking has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When messages were last taken after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<Timestamp>,
    /// When it last failed, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<(Timestamp, String)>,
}

/// What is remembered of waking the agents of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The version of this file.
    pub format: u32,
    /// The number of the last wake.
    pub number: i64,
    /// The last wake, until its batch has been shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<Wake>,
    /// How each way has done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<Rung, Record>,
    /// How the stop hook has done, which wakes nobody, but keeps an agent from falling asleep.
    #[serde(default)]
    pub stop_hook: Record,
    /// The messages that an agent has finished without answering, and that still wait. The person was told
    /// of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forgotten: BTreeMap<EntryName, Forgetting>,
    /// Since when nothing is typed, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<(Timestamp, Refusal)>,
    /// In whose input line a command may stand that we have pasted and not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<AgentKey>,
}

/// How often, and when last, an agent has finished without answering a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgetting {
    /// How often.
    pub times: u32,
    /// When last.
    pub at: Timestamp,
}

impl Memory {
    /// Nobody was ever woken.
    pub fn new(format: u32) -> Self {
        Self {
            format,
            number: 0,
            wake: None,
            records: BTreeMap::new(),
            stop_hook: Record::default(),
            forgotten: BTreeMap::new(),
            refused: None,
            typed: None,
        }
    }

    /// An agent finished at this time and held these, for which it may be woken only after a pause that
    /// gets longer each time. Those of which nobody has told the person.
    pub fn forget(&mut self, entries: &BTreeSet<EntryName>, at: Timestamp) -> BTreeSet<EntryName> {
        let mut untold = BTreeSet::new();
        for entry in entries {
            let known = self.forgotten.entry(*entry).or_insert_with(|| {
                untold.insert(*entry);
                Forgetting { times: 0, at }
            });
            if known.times == 0 || at > known.at {
                known.times = known.times.saturating_add(1);
                known.at = at;
            }
        }
        untold
    }

    /// How long the agent is left alone that has forgotten these.
    pub fn rest(&self, entries: &BTreeSet<EntryName>, now: Timestamp) -> Duration {
        let known = entries.iter().filter_map(|entry| self.forgotten.get(entry));
        let left = known.map(|known| {
            let passed = if known.at > now {
                // A clock that was set back must not keep an agent asleep.
                Duration::MAX
            } else {
                now.since(known.at)
            };
            pause(known.times.saturating_sub(1)).saturating_sub(passed)
        });
        left.min().unwrap_or_default()
    }

    /// Messages of which an agent was told when it wanted to stop have been taken.
    pub fn drained(&mut self, drained: Drained, unshown: &BTreeSet<EntryName>, now: Timestamp) {
        let is_new = self.stop_hook.worked_at.is_none_or(|at| at < drained.at);
        let is_taken = unshown
            .first()
            .is_none_or(|oldest| *oldest > drained.newest);
        if is_new && is_taken {
            self.stop_hook.worked_at = Some(now);
        }
    }

    /// Nothing was typed, for this reason. Whether that is news.
    pub fn refuse(&mut self, refusal: &Refusal, now: Timestamp) -> bool {
        if self.refused.as_ref().is_some_and(|(_, old)| old == refusal) {
            return false;
        }
        self.refused = Some((now, refusal.clone()));
        true
    }

    /// Forgets a wake whose batch is in somebody's hands or settled by now: it has worked.
    pub fn look(&mut self, unshown: &BTreeSet<EntryName>, now: Timestamp) {
        if unshown.is_empty() {
            self.refused = None;
        }
        let over = |wake: &Wake| unshown.first().is_none_or(|oldest| *oldest > wake.newest);
        if let Some(wake) = self.wake.take_if(|wake| over(wake))
            && !matches!(wake.outcome, Outcome::Failed(_))
        {
            self.records.entry(wake.rung).or_default().worked_at = Some(now);
        }
    }

    /// Notes how an attempt has ended.
    pub fn ended(&mut self, number: i64, outcome: Outcome, now: Timestamp) {
        let Some(wake) = self.wake.as_mut().filter(|wake| wake.number == number) else {
            return;
        };
        if let Outcome::Failed(reason) = &outcome {
            self.records.entry(wake.rung).or_default().failed = Some((now, reason.clone()));
        }
        wake.outcome = outcome;
    }

    /// An agent is about to be woken.
    pub fn begin(&mut self, plan: Plan, newest: EntryName, now: Timestamp) -> &Wake {
        self.number = now.0.max(self.number.saturating_add(1));
        self.wake.insert(Wake {
            number: self.number,
            newest,
            agent: plan.agent,
            rung: plan.rung,
            tried: plan.tried,
            rounds: plan.rounds,
            at: now,
            outcome: Outcome::Open,
        })
    }
}

/// Whom to wake, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whom.
    pub agent: AgentKey,
    /// How.
    pub rung: Rung,
    tried: BTreeSet<Rung>,
    rounds: u32,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, until something changes.
    Nothing,
    /// Wake this agent now.
    Wake(Plan),
    /// Look again after this time.
    Later(Duration),
}

/// Decides. `last` is the last wake, if its batch has not been shown.
pub fn decide(situation: &Situation, last: Option<&Wake>, now: Timestamp) -> Decision {
    let Some(agent) = target(situation) else {
        return Decision::Nothing;
    };
    if let Some(later) = at_work(agent) {
        return Decision::Later(later);
    }
    climb(agent, &agent.rungs, last, now)
}

/// Decides when nothing can be typed since then: the other ways of the same agent, and soon another look.
pub fn decide_refused(
    situation: &Situation,
    last: Option<&Wake>,
    since: Timestamp,
    now: Timestamp,
) -> Decision {
    let again = if now.since(since) > A_WHILE {
        LOOK_SELDOM
    } else {
        REFUSED_AGAIN
    };
    let Some(agent) = target(situation) else {
        return Decision::Nothing;
    };
    let mut rungs = agent.rungs.clone();
    rungs.remove(&Rung::Tmux);
    match climb(agent, &rungs, last, now) {
        Decision::Wake(plan) => Decision::Wake(plan),
        Decision::Later(later) => Decision::Later(later.min(again)),
        Decision::Nothing => Decision::Later(again),
    }
}

/// Whether a gateway was killed while it typed: nobody noted how that wake ended.
pub fn was_cut_short(last: Option<&Wake>) -> bool {
    last.is_some_and(|last| last.rung == Rung::Tmux && last.outcome == Outcome::Open)
}

/// The same wake once more.
pub fn again(last: &Wake) -> Decision {
    Decision::Wake(Plan {
        agent: last.agent.clone(),
        rung: last.rung,
        tried: last.tried.clone(),
        rounds: last.rounds,
    })
}

/// Why an agent is not typed to that could be woken by nothing else, if that is because of what it does.
/// That it works on what it was woken for is no reason.
pub fn not_typed(situation: &Situation, last: Option<&Wake>) -> Option<Refusal> {
    let agent = target(situation)?;
    if !agent.rungs.iter().eq([&Rung::Tmux]) {
        return None;
    }
    let was_given =
        last.is_some_and(|last| last.agent == agent.key && last.outcome == Outcome::Given);
    match agent.seen.state {
        AgentState::Busy if was_given => None,
        AgentState::Busy | AgentState::Waiting => guard::of_state(agent.seen.state),
        AgentState::Idle | AgentState::Unknown | AgentState::Gone => None,
    }
}

/// The next of these ways, when its time has come.
fn climb(agent: &Agent, rungs: &BTreeSet<Rung>, last: Option<&Wake>, now: Timestamp) -> Decision {
    let first = |rounds: u32| match rungs.first() {
        Some(&rung) => Decision::Wake(Plan {
            agent: agent.key.clone(),
            rung,
            tried: BTreeSet::from([rung]),
            rounds,
        }),
        None => Decision::Nothing,
    };
    // Another agent has not been woken for them yet.
    let Some(last) = last.filter(|last| last.agent == agent.key) else {
        return first(0);
    };
    // A clock that was set back must not keep an agent asleep.
    let passed = if last.at > now {
        Duration::MAX
    } else {
        now.since(last.at)
    };
    let failed = matches!(last.outcome, Outcome::Failed(_));
    let patience = match (last.rung, agent.seen.state) {
        _ if failed => Duration::ZERO,
        (Rung::CodexQueue, _) => PATIENCE_QUEUED,
        (Rung::InboxSocket | Rung::Tmux, AgentState::Idle) => PATIENCE_IDLE,
        (Rung::InboxSocket | Rung::Tmux, _) => PATIENCE,
    };
    let next = rungs.difference(&last.tried).next().copied();
    let due = match next {
        Some(_) => patience,
        None => patience.max(pause(last.rounds)),
    };
    if passed < due {
        return Decision::Later(due.saturating_sub(passed).min(LOOK_SELDOM));
    }
    match next {
        Some(rung) => Decision::Wake(Plan {
            agent: agent.key.clone(),
            rung,
            tried: last.tried.iter().copied().chain([rung]).collect(),
            rounds: last.rounds,
        }),
        None => first(last.rounds.saturating_add(1)),
    }
}

/// Who is woken: who holds messages already, else who came last; and nobody who cannot be. What an agent
/// has forgotten is in its hands, and nobody else would be shown it.
pub(super) fn target(situation: &Situation) -> Option<&Agent> {
    let wanted = |agent: &&Agent| !situation.unshown.is_empty() || !agent.forgot.is_empty();
    let can = |agent: &&Agent| {
        wanted(agent) && agent.seen.state != AgentState::Gone && !agent.rungs.is_empty()
    };
    let agents = || situation.agents.iter().filter(can);
    agents()
        .rfind(|agent| agent.holds)
        .or_else(|| agents().next_back())
}

/// How long to leave an agent alone that is, or may be, at work.
fn at_work(agent: &Agent) -> Option<Duration> {
    let age = agent.seen.age;
    match agent.seen.state {
        AgentState::Idle | AgentState::Gone => None,
        // What a person is asked at the terminal must be answered there first.
        AgentState::Busy | AgentState::Waiting => Some(if age.is_some_and(|age| age > A_WHILE) {
            LOOK_SELDOM
        } else {
            LOOK_AGAIN
        }),
        AgentState::Unknown => {
            let quiet = if agent.holds { ANSWERING } else { AT_WORK };
            let left = quiet.saturating_sub(age?);
            (!left.is_zero()).then(|| left.min(LOOK_SELDOM))
        }
    }
}

fn pause(rounds: u32) -> Duration {
    let index = usize::try_from(rounds).unwrap_or(usize::MAX);
    let last = PAUSES.last().copied().unwrap_or_default();
    PAUSES.get(index).copied().unwrap_or(last)
}

#[cfg(test)]
mod tests;
