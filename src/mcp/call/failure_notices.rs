//! Notices of failed deliveries: an agent is told of each once, in `notices`.
//!
//! The agent that made the delivery is told, or any other when that one is gone. The notice is recorded when
//! the result that holds it has gone out; after a kill before that, it is given once more.

use std::collections::BTreeSet;

use crate::mcp::call::{Caller, Mailbox, Notices, take_lock};
use crate::mcp::tools::Refusal;
use crate::state::agents::holder;
use crate::state::failure_notices;
use crate::state::outbox::delivery::{Content, DeliveryId, DeliveryOutcome, FinishedDelivery};
use crate::state::outbox::notice;
use crate::store::state_file::ReadError;

/// Most failures that one result tells; others follow with the next.
const MOST: usize = 2;
/// Most characters of a text or a reason in a notice.
const WORDS: usize = 60;

impl Mailbox {
    /// The notices about failures that this agent is to be told of.
    pub(crate) fn list_failures(&self, caller: &Caller) -> Result<Notices<DeliveryId>, Refusal> {
        let mut failed: BTreeSet<DeliveryId> = self.driver.outbox.failed()?.into_iter().collect();
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let told = failure_notices::read_told(&self.dir, self.clock.now())?;
        failed.retain(|id| !told.contains(id));
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let living = {
            self.dir.prepare()?;
            let _lock = take_lock(&self.dir, &caller.label)?;
            holder::list_living(&self.dir, now)?
        };
        let mut words = Vec::new();
        for id in failed {
            if words.len() == MOST {
                break;
            }
            let finished = match self.driver.outbox.finished(&id, now) {
                Ok(Some(finished)) => finished,
                Ok(None) | Err(ReadError::Quarantined { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let whose = finished.delivery.holder.as_str();
            // The gateway's own notices concern no agent.
            if whose == notice::GATEWAY {
                continue;
            }
            let another = whose != caller.holder.as_str() && living.has_holder(whose);
            if another {
                continue;
            }
            words.extend(describe_failure(&finished).map(|words| (id, words)));
        }
        Ok(words)
    }

    /// Records that the client has the notices about these failures.
    pub(crate) fn record_failures_told(
        &self,
        caller: &Caller,
        ids: &BTreeSet<DeliveryId>,
    ) -> Result<(), Refusal> {
        self.dir.prepare()?;
        let _lock = take_lock(&self.dir, &caller.label)?;
        let mut told = failure_notices::read_told(&self.dir, self.clock.now())?;
        // A delivery that has left failed/ needs no record.
        let failed: BTreeSet<DeliveryId> = self.driver.outbox.failed()?.into_iter().collect();
        told.retain(|id| failed.contains(id));
        told.extend(ids.iter().cloned());
        Ok(failure_notices::record_told(&self.dir, told)?)
    }
}

/// Describes a failure for an agent.
fn describe_failure(finished: &FinishedDelivery) -> Option<String> {
    let DeliveryOutcome::Failed {
        reason,
        message_ids,
    } = &finished.outcome
    else {
        return None;
    };
    let what = match &finished.delivery.content {
        Content::Reply { text, .. } => format!("your reply {:?}", cut(text)),
        Content::ProgressUpdate { text } => format!("your progress {:?}", cut(text)),
        Content::Reaction { emoji, .. } => format!("your reaction {emoji:?}"),
    };
    let part = if message_ids.is_empty() {
        ""
    } else {
        " (only its beginning was delivered)"
    };
    Some(format!(
        "Not delivered: {what}{part}. {}. It is not retried automatically; send it again if it still matters.",
        cut(reason)
    ))
}

/// The beginning of a text, on one line.
fn cut(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= WORDS {
        return line;
    }
    line.chars().take(WORDS).chain(['…']).collect()
}
