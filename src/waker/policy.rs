//! Whether to wake an agent, which one, by which method, and when to check again. Pure.
//!
//! A wake only says that messages wait, so a lost one costs time, and a needless one costs a turn of a model.
//! Hence one wake for a batch (the messages that wait unshown at that moment), none while the agent works,
//! the next method only if this one has not helped within its patience, and then longer and longer pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::inbox::EntryName;
use crate::state::wake_log::{AgentKey, MethodId, UnansweredCount, Wake, WakeOutcome, WakePlan};
use crate::waker::activity::{Activity, AgentState};
use crate::waker::methods::find_patience;
use crate::waker::time_since;

/// How often a working agent is checked while messages wait.
const CHECK_OFTEN: Duration = Duration::from_secs(1);
/// The same after [`A_WHILE`].
pub(super) const CHECK_SELDOM: Duration = Duration::from_secs(5);
/// How soon a pane that refused typing is checked again, until [`A_WHILE`] has passed.
pub(super) const CHECK_REFUSED: Duration = Duration::from_secs(2);
const A_WHILE: Duration = Duration::from_secs(60);
/// An agent of unknown state is taken to be at work for this long after its last call.
const AT_WORK: Duration = Duration::from_secs(10);
/// The same while it holds messages that it has not answered.
const ANSWERING: Duration = Duration::from_secs(120);
/// The pauses before all methods are tried again. The last one is kept.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(480),
    Duration::from_secs(900),
];

/// How long an agent may take to look into its mailbox after a wake, before the next method is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    pub(crate) idle: Duration,
    pub(crate) unknown: Duration,
}

impl Patience {
    /// For a method that reaches an idle agent at once.
    pub(crate) const PROMPT: Self = Self {
        idle: Duration::from_secs(15),
        unknown: Duration::from_secs(60),
    };
    /// For a method whose client keeps the wake until the agent is idle, and so must not be used often.
    pub(crate) const QUEUED: Self = Self {
        idle: Duration::from_secs(600),
        unknown: Duration::from_secs(600),
    };
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WakeCandidate {
    pub(crate) key: AgentKey,
    pub(crate) holds: bool,
    /// The messages that it finished without answering, if it is to be reminded of them now.
    pub(crate) unanswered: BTreeSet<EntryName>,
    pub(crate) activity: Activity,
    /// The methods that can wake it, the best first.
    pub(crate) methods: Vec<MethodId>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Situation {
    /// The messages that wait and that no living agent has been shown.
    pub(crate) unshown: BTreeSet<EntryName>,
    /// The living agents, oldest first.
    pub(crate) agents: Vec<WakeCandidate>,
}

impl Situation {
    /// The messages for which an agent should be woken.
    pub(crate) fn waiting(&self) -> BTreeSet<EntryName> {
        let unanswered = self.agents.iter().flat_map(|agent| &agent.unanswered);
        unanswered.chain(&self.unshown).copied().collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WakeDecision {
    Nothing,
    Wake(WakePlan),
    Later(Duration),
}

/// Decides. `last` is the last wake, if its batch has not been shown.
pub(crate) fn decide_wake(
    situation: &Situation,
    last: Option<&Wake>,
    now: Timestamp,
) -> WakeDecision {
    let Some(agent) = choose_agent(situation) else {
        return WakeDecision::Nothing;
    };
    match time_at_work(agent) {
        Some(later) => WakeDecision::Later(later),
        None => next_method(agent, &agent.methods, last, now),
    }
}

/// Decides while one method has been refused since a given time: by the other methods of the same agent, and
/// with a check of that method soon.
pub(crate) fn decide_without(
    (refused, since): (&MethodId, Timestamp),
    situation: &Situation,
    last: Option<&Wake>,
    now: Timestamp,
) -> WakeDecision {
    let Some(agent) = choose_agent(situation) else {
        return WakeDecision::Nothing;
    };
    let again = if now.since(since) > A_WHILE {
        CHECK_SELDOM
    } else {
        CHECK_REFUSED
    };
    let others = agent.methods.iter().filter(|method| *method != refused);
    let others: Vec<MethodId> = others.cloned().collect();
    match next_method(agent, &others, last, now) {
        WakeDecision::Wake(plan) => WakeDecision::Wake(plan),
        WakeDecision::Later(later) => WakeDecision::Later(later.min(again)),
        WakeDecision::Nothing => WakeDecision::Later(again),
    }
}

/// The agent to wake: one that holds messages already, else the newest, if it can be woken at all. An
/// unanswered message is in the hands of its agent, so only that agent is woken for it.
pub(super) fn choose_agent(situation: &Situation) -> Option<&WakeCandidate> {
    let is_wanted =
        |agent: &WakeCandidate| !situation.unshown.is_empty() || !agent.unanswered.is_empty();
    let can_be_woken = |agent: &&WakeCandidate| {
        is_wanted(agent) && agent.activity.state != AgentState::Gone && !agent.methods.is_empty()
    };
    let agents = || situation.agents.iter().filter(can_be_woken);
    let holder = agents().rfind(|agent| agent.holds);
    holder.or_else(|| agents().next_back())
}

/// The next of these methods, once its time has come.
fn next_method(
    agent: &WakeCandidate,
    methods: &[MethodId],
    last: Option<&Wake>,
    now: Timestamp,
) -> WakeDecision {
    let plan = |method: &MethodId, tried: BTreeSet<MethodId>, rounds| {
        WakeDecision::Wake(WakePlan {
            agent: agent.key.clone(),
            method: method.clone(),
            tried: tried.into_iter().chain([method.clone()]).collect(),
            rounds,
        })
    };
    let Some(first) = methods.first() else {
        return WakeDecision::Nothing;
    };
    // A wake of another agent says nothing about this one.
    let Some(last) = last.filter(|last| last.plan.agent == agent.key) else {
        return plan(first, BTreeSet::new(), 0);
    };
    let patience = match (&last.outcome, agent.activity.state) {
        (WakeOutcome::Failed(_), _) => Duration::ZERO,
        (_, AgentState::Idle) => find_patience(&last.plan.method).idle,
        (_, _) => find_patience(&last.plan.method).unknown,
    };
    let next = methods
        .iter()
        .find(|method| !last.plan.tried.contains(method));
    let due = match next {
        Some(_) => patience,
        None => patience.max(pause(last.plan.rounds)),
    };
    let passed = time_since(last.at, now);
    if passed < due {
        return WakeDecision::Later(due.saturating_sub(passed).min(CHECK_SELDOM));
    }
    match next {
        Some(next) => plan(next, last.plan.tried.clone(), last.plan.rounds),
        None => plan(first, BTreeSet::new(), last.plan.rounds.saturating_add(1)),
    }
}

/// How long to leave an agent alone because it works, or may work.
fn time_at_work(agent: &WakeCandidate) -> Option<Duration> {
    let age = agent.activity.age;
    match agent.activity.state {
        AgentState::Idle | AgentState::Gone => None,
        // A question to the person at the terminal must be answered there first.
        AgentState::Busy | AgentState::Waiting => Some(if age.is_some_and(|age| age > A_WHILE) {
            CHECK_SELDOM
        } else {
            CHECK_OFTEN
        }),
        AgentState::Unknown => {
            let quiet = if agent.holds { ANSWERING } else { AT_WORK };
            let left = quiet.saturating_sub(age?);
            (!left.is_zero()).then(|| left.min(CHECK_SELDOM))
        }
    }
}

/// How long to leave an agent alone that finished without answering these: longer each time.
pub(crate) fn pause_left(
    counts: &BTreeMap<EntryName, UnansweredCount>,
    entries: &BTreeSet<EntryName>,
    now: Timestamp,
) -> Duration {
    let counts = entries.iter().filter_map(|entry| counts.get(entry));
    let left = counts.map(|count| {
        pause(count.times.saturating_sub(1)).saturating_sub(time_since(count.at, now))
    });
    left.min().unwrap_or_default()
}

fn pause(rounds: u32) -> Duration {
    let index = usize::try_from(rounds).unwrap_or(usize::MAX);
    let longest = PAUSES.last().copied().unwrap_or_default();
    PAUSES.get(index).copied().unwrap_or(longest)
}

#[cfg(test)]
mod tests;
