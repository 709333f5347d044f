//! `wake.json`: the last wake of a session's agent, how each way of waking has done, and the messages that
//! an agent left unanswered.
//!
//! The file is unsynced: it survives a kill, and a loss of power costs one turn of a model. Decisions are
//! made in `waker/policy.rs`; the methods here only record what happened.

mod refusal;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use self::refusal::TypingRefusal;
use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::agents::Drained;
use crate::state::inbox::EntryName;
use crate::store::{Durability, StateFile, Step};

/// Names a way of waking, on disk and for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MethodId(Cow<'static, str>);

impl MethodId {
    /// Lower-case words, joined by `_`.
    pub(crate) const fn new(id: &'static str) -> Self {
        Self(Cow::Borrowed(id))
    }

    pub(crate) fn label(&self) -> String {
        self.0.replace('_', " ")
    }
}

/// Names an agent: its MCP server's registration, and its thread if the client has threads.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct AgentKey {
    pub(crate) registration: String,
    pub(crate) thread: Option<String>,
}

/// How an attempt ended, as far as the method itself can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WakeOutcome {
    /// Not known yet, and perhaps never.
    Open,
    Given,
    /// It certainly did not reach the client.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakePlan {
    pub(crate) agent: AgentKey,
    #[serde(rename = "rung")]
    pub(crate) method: MethodId,
    /// The methods tried since the last pause, this one included.
    pub(crate) tried: BTreeSet<MethodId>,
    /// How often every method has been tried.
    pub(crate) rounds: u32,
}

/// The last wake, until its batch has been shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wake {
    /// The time in milliseconds, or one more than the previous number, so that none is used twice.
    pub(crate) number: i64,
    /// The newest message of the batch.
    pub(crate) newest: EntryName,
    #[serde(flatten)]
    pub(crate) plan: WakePlan,
    pub(crate) at: Timestamp,
    pub(crate) outcome: WakeOutcome,
}

/// When a method last worked and last failed.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MethodRecord {
    /// When messages were last taken after a wake by this method.
    pub(crate) worked_at: Option<Timestamp>,
    pub(crate) failed: Option<(Timestamp, String)>,
}

/// How often an agent finished without answering a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnansweredCount {
    pub(crate) times: u32,
    pub(crate) at: Timestamp,
}

#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeLog {
    pub(crate) number: i64,
    /// The last wake, until its batch has been shown.
    pub(crate) wake: Option<Wake>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) records: BTreeMap<MethodId, MethodRecord>,
    /// How the stop hook has done. It wakes no agent, but keeps one from going idle over messages.
    #[serde(default)]
    pub(crate) stop_hook: MethodRecord,
    /// The messages that an agent finished without answering and that still wait. Their chats were told.
    #[serde(
        default,
        rename = "forgotten",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(crate) unanswered: BTreeMap<EntryName, UnansweredCount>,
    /// Since when typing is refused, and why.
    pub(crate) refused: Option<(Timestamp, TypingRefusal)>,
    /// The agent whose input line may hold a command that was pasted and not sent.
    pub(crate) typed: Option<AgentKey>,
}

impl WakeLog {
    /// The file of a session. Damage costs one turn of a model, so a damaged log counts as missing.
    pub(crate) fn file(dir: &SessionDir) -> StateFile<Self> {
        let file = dir.storage().file(dir.wake(), Step::Wake);
        file.with(Durability::Unsynced)
    }

    /// Records a wake before it is made.
    pub(crate) fn begin(&mut self, plan: WakePlan, newest: EntryName, now: Timestamp) -> &Wake {
        self.number = now.0.max(self.number.saturating_add(1));
        self.wake.insert(Wake {
            number: self.number,
            newest,
            plan,
            at: now,
            outcome: WakeOutcome::Open,
        })
    }

    pub(crate) fn end(&mut self, outcome: WakeOutcome, now: Timestamp) {
        let Some(wake) = &mut self.wake else { return };
        if let WakeOutcome::Failed(reason) = &outcome {
            let record = self.records.entry(wake.plan.method.clone()).or_default();
            record.failed = Some((now, reason.clone()));
        }
        wake.outcome = outcome;
    }

    /// Drops the wake once its batch has been shown or settled: then it worked.
    pub(crate) fn observe_waiting(&mut self, waiting: &BTreeSet<EntryName>, now: Timestamp) {
        if waiting.is_empty() {
            self.refused = None;
        }
        let is_taken = |wake: &mut Wake| waiting.first().is_none_or(|oldest| *oldest > wake.newest);
        if let Some(wake) = self.wake.take_if(is_taken)
            && !matches!(wake.outcome, WakeOutcome::Failed(_))
        {
            self.records.entry(wake.plan.method).or_default().worked_at = Some(now);
        }
    }

    /// Records that the stop hook worked, once the messages that it announced have been taken.
    pub(crate) fn observe_drained(
        &mut self,
        drained: Drained,
        unshown: &BTreeSet<EntryName>,
        now: Timestamp,
    ) {
        let is_new = self.stop_hook.worked_at.is_none_or(|at| at < drained.at);
        let oldest = unshown.first();
        if is_new && oldest.is_none_or(|oldest| *oldest > drained.newest) {
            self.stop_hook.worked_at = Some(now);
        }
    }

    /// Records that an agent finished without answering these, and returns those that are new here: their
    /// chats have not been told.
    pub(crate) fn record_unanswered(
        &mut self,
        entries: &BTreeSet<EntryName>,
        at: Timestamp,
    ) -> BTreeSet<EntryName> {
        let mut untold = BTreeSet::new();
        for entry in entries {
            let known = self.unanswered.entry(*entry).or_insert_with(|| {
                untold.insert(*entry);
                UnansweredCount { times: 0, at }
            });
            if known.times == 0 || at > known.at {
                known.times = known.times.saturating_add(1);
                known.at = at;
            }
        }
        untold
    }

    /// Records why nothing is typed. Returns whether the reason is new.
    pub(crate) fn refuse(&mut self, refusal: &TypingRefusal, now: Timestamp) -> bool {
        if self.refused.as_ref().is_some_and(|(_, old)| old == refusal) {
            return false;
        }
        self.refused = Some((now, refusal.clone()));
        true
    }
}

#[cfg(test)]
mod tests;
