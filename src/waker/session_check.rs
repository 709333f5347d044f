//! One check of a session: which agent has which of the waiting messages, the decision about that, and
//! carrying it out.
//!
//! A wake is written to `wake.json` before it is made, so that a gateway that starts again does not repeat it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::SessionId;
use crate::state::absence::Missing;
use crate::state::agents::{
    HolderId, Registered, TurnFile, Unanswered, holder, list_registered, turns,
};
use crate::state::inbox::pending::Pending;
use crate::state::inbox::{EntryName, Inbox};
use crate::state::outbox::Outbox;
use crate::state::wake_log::{AgentKey, TypingRefusal, Wake, WakeLog, WakeOutcome, WakePlan};
use crate::state::{SessionDir, StateDir, wake_requests};
use crate::store::StateError;
use crate::waker::absence::AbsenceCheck;
use crate::waker::absence::policy::AgentPresence;
use crate::waker::conversations::Conversations;
use crate::waker::methods::tmux::guard::{self, TypingRules};
use crate::waker::methods::tmux::pane::TmuxServer;
use crate::waker::methods::tmux::{FoundAgent, TmuxMethod, find_unconnected};
use crate::waker::methods::{
    AttemptContext, AttemptResult, Preflight, WakeMethod, WakeTarget, find_method,
};
use crate::waker::policy::{
    self, Situation, WakeCandidate, WakeDecision, choose_agent, decide_wake, decide_without,
};
use crate::waker::unanswered::{TurnVerdict, judge_turn, notify_chats, still_unanswered};
use crate::waker::{clients, list_candidates};

/// When to check again after a failure to read or write.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// When to check again, and how long this check waited for an agent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NextCheck {
    pub(crate) at: Option<Duration>,
    pub(crate) waited: Duration,
}

/// The messages that wait, and the agents.
struct SessionView {
    pending: Pending,
    conversations: Conversations,
    living: Vec<Registered>,
    turns: Vec<TurnFile>,
    /// An agent in a pane that is not connected.
    found: Option<FoundAgent>,
}

pub(super) struct SessionCheck<'a> {
    pub(crate) state: &'a StateDir,
    pub(crate) id: &'a SessionId,
    pub(crate) dir: SessionDir,
    pub(crate) inbox: &'a Inbox,
    pub(crate) rules: Option<TypingRules>,
    pub(crate) tells_absence: bool,
    pub(crate) tmux: &'a TmuxServer,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) clock: &'a Clock,
}

impl SessionCheck<'_> {
    /// Wakes an agent if that is due, and tells the chats if the session has none. Returns when to check again.
    pub(super) fn run(&self) -> NextCheck {
        let NextCheck { at, waited } = self.check_agents().unwrap_or_else(|error| {
            tracing::warn!(session = %self.id, error = %Chain(&error), "cannot check whether to wake its agent");
            NextCheck {
                at: Some(AFTER_FAILURE),
                waited: Duration::ZERO,
            }
        });
        let absence = self.check_absence().unwrap_or_else(|error| {
            tracing::warn!(session = %self.id, error = %Chain(&error), "cannot check whether it is running");
            Some(AFTER_FAILURE)
        });
        let at = at.into_iter().chain(absence).min();
        NextCheck { at, waited }
    }

    fn check_absence(&self) -> Result<Option<Duration>, StateError> {
        if !self.tells_absence {
            return Ok(None);
        }
        // Without a tmux session an open window is the only sign of life, also one that came by `default`.
        let is_connected = match self.rules {
            Some(_) => !list_registered(&self.dir)?.is_empty(),
            None => !holder::list_connected(&self.dir)?.is_empty(),
        };
        let check = AbsenceCheck {
            state: self.state,
            id: self.id,
            dir: &self.dir,
            inbox: self.inbox,
            is_connected,
        };
        let list = |rules: &TypingRules| self.tmux.list_terminals(&rules.session);
        let look = || match self.rules.as_ref().map(list).transpose() {
            Ok(None) => AgentPresence::Absent(Missing::Connection),
            Ok(Some(None)) => AgentPresence::Absent(Missing::TmuxSession),
            Ok(Some(Some(terminals))) => clients::find_client(&terminals),
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "tmux cannot be queried");
                AgentPresence::Unknown
            }
        };
        Ok(check.run(look, self.clock.now())?)
    }

    fn check_agents(&self) -> Result<NextCheck, StateError> {
        let now = self.clock.now();
        let living = list_registered(&self.dir)?;
        turns::remove_stale_locks(&self.dir)?;
        let names = living.iter().map(|server| server.name.as_str());
        wake_requests::remove_stale(&self.dir, &names.collect())?;
        let mut log = WakeLog::file(&self.dir)
            .read_or_missing(now)?
            .unwrap_or_default();
        let turns = TurnFile::peek_all(&self.dir)?;
        let is_quiet = living.is_empty() && turns.is_empty() && log.wake.is_none();
        if is_quiet && self.rules.is_none() {
            return Ok(NextCheck::default());
        }
        let before = log.clone();
        let pending = self.inbox.follow_pending()?;
        let mut view = SessionView {
            conversations: Conversations::read(&self.dir, &pending)?,
            pending,
            living,
            turns,
            found: None,
        };
        log.unanswered
            .retain(|entry, _| view.pending.contains(entry));
        let mut situation = self.situation(&view, now);
        let judged = self.judge_turns(&mut situation, &mut log, &view)?;
        for drained in view.turns.iter().filter_map(|turn| turn.drained) {
            log.observe_drained(drained, &situation.unshown, now);
        }
        self.add_unconnected(&mut view, &mut situation, &mut log);
        let waiting = situation.waiting();
        log.observe_waiting(&waiting, now);
        let decision = match self.follow_up(&view, &mut log, now)? {
            Some(left) => WakeDecision::Later(left),
            None => decide_wake(&situation, log.wake.as_ref(), now),
        };
        let decision = self.preflight(decision, &view, &situation, &mut log, now);
        let later = match (decision, waiting.last()) {
            (WakeDecision::Wake(plan), Some(_)) => {
                return self.wake(plan, &waiting, &view, log);
            }
            (WakeDecision::Later(later), _) => Some(later),
            (WakeDecision::Nothing | WakeDecision::Wake(_), _) => None,
        };
        if log != before {
            WakeLog::file(&self.dir).write(&log)?;
        }
        Ok(NextCheck {
            at: later.into_iter().chain(judged).min(),
            waited: Duration::ZERO,
        })
    }

    fn situation(&self, view: &SessionView, now: Timestamp) -> Situation {
        let rules = self.rules.as_ref();
        let agents = view
            .living
            .iter()
            .flat_map(|server| list_candidates(&self.dir, server, &view.conversations, rules, now));
        Situation {
            unshown: view
                .conversations
                .list_unshown(&view.pending, &view.living, now),
            agents: agents.collect(),
        }
    }

    /// Finds the agents that finished without answering, and tells the chats. Returns when to check that again.
    fn judge_turns(
        &self,
        situation: &mut Situation,
        log: &mut WakeLog,
        view: &SessionView,
    ) -> Result<Option<Duration>, StateError> {
        let now = self.clock.now();
        let mut again: Option<Duration> = None;
        let mut check_in = |later: Duration| again = Some(again.map_or(later, |at| at.min(later)));
        let holders = view.living.iter().flat_map(Registered::agents);
        let holders: Vec<HolderId> = holders.map(|(_, holder)| holder).collect();
        for (agent, holder) in situation.agents.iter_mut().zip(&holders) {
            let turn = view.turns.iter().find(|turn| turn.holder == *holder);
            let reported = turn.and_then(|turn| turn.unanswered.as_ref());
            let shown = view.conversations.list_shown(holder);
            match judge_turn(shown, reported, agent.activity, now) {
                TurnVerdict::Nothing => {}
                TurnVerdict::Later(later) => check_in(later),
                TurnVerdict::Finished(unanswered) => {
                    self.tell_unanswered(log, view, holder, &unanswered)?;
                    let pause = policy::pause_left(&log.unanswered, &unanswered.entries, now);
                    if pause.is_zero() {
                        agent.unanswered = unanswered.entries;
                    } else {
                        check_in(pause);
                    }
                }
            }
        }
        // An agent that ended right after its turn is not checked again, and may have left messages unanswered.
        let ended = |turn: &&TurnFile| !holders.contains(&turn.holder);
        for turn in view.turns.iter().filter(ended) {
            let shown = view.conversations.list_shown(&turn.holder);
            let held = shown.intersection(&situation.unshown).copied().collect();
            if let Some(unanswered) = still_unanswered(&held, turn.unanswered.as_ref()) {
                self.tell_unanswered(log, view, &turn.holder, &unanswered)?;
            }
            if !turn.client_process.is_running() {
                turn.remove(&self.dir)?;
            }
        }
        Ok(again)
    }

    fn tell_unanswered(
        &self,
        log: &mut WakeLog,
        view: &SessionView,
        holder: &HolderId,
        unanswered: &Unanswered,
    ) -> Result<(), StateError> {
        let untold = log.record_unanswered(&unanswered.entries, unanswered.at);
        let conversation = view.conversations.find(holder);
        if let Some(conversation) = conversation.filter(|_| !untold.is_empty()) {
            let outbox = Outbox::new(self.state, self.dir.clone());
            // A kill may have come between a reply and the settling of its messages.
            let answered = outbox.answered()?;
            let untold = untold.difference(&answered).copied().collect();
            notify_chats(&outbox, self.id, conversation, &untold, self.clock.now())?;
        }
        Ok(())
    }

    /// Adds the agent that runs in the tmux session, if none is connected.
    fn add_unconnected(
        &self,
        view: &mut SessionView,
        situation: &mut Situation,
        log: &mut WakeLog,
    ) {
        let Some(rules) = self.rules.as_ref().filter(|_| view.living.is_empty()) else {
            return;
        };
        if situation.waiting().is_empty() {
            return;
        }
        match find_unconnected(self.tmux, self.state, &self.dir, rules, self.clock) {
            Ok(Some(found)) => {
                situation.agents.push(WakeCandidate {
                    key: found.key.clone(),
                    holds: false,
                    unanswered: BTreeSet::new(),
                    activity: found.activity,
                    methods: vec![TmuxMethod.id()],
                });
                view.found = Some(found);
            }
            Ok(None) => {
                tracing::debug!(session = %self.id, "there is no agent to wake");
                log.refused = None;
            }
            Err(refusal) => self.record_refusal(log, &refusal),
        }
    }

    /// The agent of this name, as a method sees it.
    fn target<'t>(&'t self, view: &'t SessionView, key: &'t AgentKey) -> WakeTarget<'t> {
        let server = view
            .living
            .iter()
            .find(|server| server.name == key.registration);
        let found = view.found.as_ref().filter(|found| found.key == *key);
        WakeTarget {
            dir: &self.dir,
            server,
            thread: key.thread.as_deref(),
            pane: found.map(|found| &found.pane),
            typing: self.rules.as_ref(),
        }
    }

    /// Records the result of an attempt that was pending. Returns how long it may still take.
    fn follow_up(
        &self,
        view: &SessionView,
        log: &mut WakeLog,
        now: Timestamp,
    ) -> Result<Option<Duration>, StateError> {
        let open = log
            .wake
            .clone()
            .filter(|wake| wake.outcome == WakeOutcome::Open);
        let Some((wake, method)) = open.and_then(|wake| {
            let method = find_method(&wake.plan.method)?;
            Some((wake, method))
        }) else {
            return Ok(None);
        };
        let target = self.target(view, &wake.plan.agent);
        match method.follow_up(&target, &wake, now)? {
            Some(AttemptResult::Pending(left)) => Ok(Some(left)),
            Some(result) => {
                self.record_result(log, result, None);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Checks the terminal of the agent, if a typing method is due or was cut short by a kill. Returns the
    /// decision that then holds.
    fn preflight(
        &self,
        decision: WakeDecision,
        view: &SessionView,
        situation: &Situation,
        log: &mut WakeLog,
        now: Timestamp,
    ) -> WakeDecision {
        let Some(agent) = choose_agent(situation) else {
            // An agent may appear in the panes a moment later.
            let may_appear = self.rules.is_some()
                && situation.agents.is_empty()
                && !situation.unshown.is_empty();
            return if may_appear && decision == WakeDecision::Nothing {
                WakeDecision::Later(policy::CHECK_SELDOM)
            } else {
                decision
            };
        };
        if let Some(refusal) = guard::refuse_busy(agent, log.wake.as_ref()) {
            self.record_refusal(log, &refusal);
        }
        let is_ours = log.typed.as_ref() == Some(&agent.key);
        let cut_short = log.wake.clone().filter(|last| {
            let types = find_method(&last.plan.method).is_some_and(WakeMethod::types);
            is_ours && types && last.outcome == WakeOutcome::Open
        });
        let due = match &decision {
            WakeDecision::Wake(plan) => Some(plan.method.clone()),
            WakeDecision::Nothing | WakeDecision::Later(_) => None,
        };
        let Some(method) = due
            .clone()
            .or(cut_short.as_ref().map(|last| last.plan.method.clone()))
        else {
            return decision;
        };
        let target = self.target(view, &agent.key);
        let checked = find_method(&method).map_or(Preflight::Go, |method| {
            method.preflight(&target, is_ours, self.clock)
        });
        match (checked, cut_short) {
            (Preflight::Unsent, Some(last)) => WakeDecision::Wake(last.plan),
            (Preflight::Empty { idle_for }, cut_short) => {
                log.typed = None;
                // The agent has done nothing since, so the command never reached it.
                let lost =
                    cut_short.filter(|last| idle_for.is_some_and(|idle| idle > now.since(last.at)));
                lost.map_or(decision, |last| WakeDecision::Wake(last.plan))
            }
            (Preflight::Refused(refusal), _) => {
                if refusal == TypingRefusal::Draft {
                    log.typed = None;
                }
                if due.is_none() {
                    return decision;
                }
                self.record_refusal(log, &refusal);
                let since = log.refused.as_ref().map_or(now, |(since, _)| *since);
                decide_without((&method, since), situation, log.wake.as_ref(), now)
            }
            (Preflight::Go | Preflight::Unsent, _) => decision,
        }
    }

    /// Records the wake, makes it, and records its result.
    fn wake(
        &self,
        plan: WakePlan,
        waiting: &BTreeSet<EntryName>,
        view: &SessionView,
        mut log: WakeLog,
    ) -> Result<NextCheck, StateError> {
        // An agent is told only of messages that a loss of power cannot take back.
        self.inbox.sync_names()?;
        let (Some(method), Some(newest)) = (find_method(&plan.method), waiting.last()) else {
            return Ok(NextCheck::default());
        };
        let last = log.wake.clone();
        let is_ours = log.typed.is_some();
        let wake = log.begin(plan, *newest, self.clock.now()).clone();
        if method.types() {
            log.typed = Some(wake.plan.agent.clone());
        }
        WakeLog::file(&self.dir).write(&log)?;
        tracing::info!(session = %self.id, waiting = waiting.len(), agent = wake.plan.agent.registration, method = wake.plan.method.label(), number = wake.number, "waking the agent");
        let begun = self.clock.instant();
        let context = AttemptContext {
            wake: &wake,
            is_ours,
            clock: self.clock,
            stop: self.stop,
        };
        let target = self.target(view, &wake.plan.agent);
        let result = method.attempt(&target, &context)?;
        let waited = self.clock.instant().duration_since(begun);
        let at = match result {
            AttemptResult::Pending(left) => left,
            AttemptResult::Refused(_) => policy::CHECK_REFUSED,
            AttemptResult::Given | AttemptResult::Failed(_) | AttemptResult::Stopped => {
                Duration::ZERO
            }
        };
        let recorded = log.clone();
        self.record_result(&mut log, result, last);
        if log != recorded {
            WakeLog::file(&self.dir).write(&log)?;
        }
        Ok(NextCheck {
            at: Some(at),
            waited,
        })
    }

    /// Records the result of an attempt. `before` is the wake before it, which holds again if it was refused.
    fn record_result(&self, log: &mut WakeLog, result: AttemptResult, before: Option<Wake>) {
        let types = log
            .wake
            .as_ref()
            .is_some_and(|wake| find_method(&wake.plan.method).is_some_and(WakeMethod::types));
        let now = self.clock.now();
        match result {
            AttemptResult::Given => {
                if types {
                    log.typed = None;
                    log.refused = None;
                }
                log.end(WakeOutcome::Given, now);
            }
            AttemptResult::Failed(reason) => {
                tracing::warn!(session = %self.id, reason, "the agent could not be woken this way");
                if types {
                    log.refused = None;
                }
                log.end(WakeOutcome::Failed(reason), now);
            }
            AttemptResult::Refused(refusal) => {
                self.record_refusal(log, &refusal);
                log.wake = before;
            }
            AttemptResult::Pending(_) | AttemptResult::Stopped => {}
        }
    }

    fn record_refusal(&self, log: &mut WakeLog, refusal: &TypingRefusal) {
        if log.refuse(refusal, self.clock.now()) {
            tracing::info!(session = %self.id, "not typed: {refusal}");
        } else {
            tracing::debug!(session = %self.id, "still not typed: {refusal}");
        }
    }
}
