//! Which failures the agents of a session were told of: each is said once, in `notices`.
//!
//! A failure is told to the agent whose delivery it is, or to any other when that one is gone. It is
//! noted when the result that says it has gone out; killed before, it is said once more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::mcp::call::desk;
use crate::mcp::call::{Caller, Mailbox, MailboxError, News};
use crate::mcp::tools::Refusal;
use crate::state::agents::holder;
use crate::state::outbox::delivery::{Content, DeliveryId, DeliveryOutcome, FinishedDelivery};
use crate::state::outbox::notice;
use crate::store::crash_points::Step;
use crate::store::state_file::{ReadError, StateFile};

/// Most failures that one result tells; others follow with the next.
const MOST: usize = 2;
/// How much of a text or a reason is said.
const WORDS: usize = 60;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct ToldFile {
    told: BTreeSet<DeliveryId>,
}

impl Mailbox {
    /// The failures that this agent is to be told of, each with its words.
    pub fn failures(&self, caller: &Caller) -> Result<News<DeliveryId>, Refusal> {
        Ok(self.untold(caller)?)
    }

    /// Notes that the result which told these has gone out.
    pub fn note_told(&self, caller: &Caller, ids: &BTreeSet<DeliveryId>) -> Result<(), Refusal> {
        Ok(self.record_told(caller, ids)?)
    }

    fn untold(&self, caller: &Caller) -> Result<News<DeliveryId>, MailboxError> {
        let mut failed: BTreeSet<DeliveryId> = self.outbox.failed()?.into_iter().collect();
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let told = self.told()?;
        failed.retain(|id| !told.contains(id));
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let living = {
            self.dir.prepare()?;
            let _lock = desk::lock(self, caller)?;
            holder::list_living(&self.dir, now)?
        };
        let mut words = Vec::new();
        for id in failed {
            if words.len() == MOST {
                break;
            }
            let finished = match self.outbox.finished(&id, now) {
                Ok(Some(finished)) => finished,
                Ok(None) | Err(ReadError::Quarantined { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let whose = finished.delivery.holder.as_str();
            // No agent has said that.
            if whose == notice::GATEWAY {
                continue;
            }
            let another = whose != caller.holder.as_str() && living.has_holder(whose);
            if another {
                continue;
            }
            words.extend(say(&finished).map(|words| (id, words)));
        }
        Ok(words)
    }

    fn record_told(&self, caller: &Caller, ids: &BTreeSet<DeliveryId>) -> Result<(), MailboxError> {
        self.dir.prepare()?;
        let _lock = desk::lock(self, caller)?;
        let mut told = self.told()?;
        // What has left failed/ is not asked for again.
        let failed: BTreeSet<DeliveryId> = self.outbox.failed()?.into_iter().collect();
        told.retain(|id| failed.contains(id));
        told.extend(ids.iter().cloned());
        Ok(self.told_file().write(&ToldFile { told })?)
    }

    /// Reads the failures that were told. After damage they are told once more.
    fn told(&self) -> Result<BTreeSet<DeliveryId>, MailboxError> {
        let file = self.told_file().read_or_missing(self.clock.now())?;
        Ok(file.map(|file| file.told).unwrap_or_default())
    }

    fn told_file(&self) -> StateFile<ToldFile> {
        let path = self.dir.told();
        self.dir.storage().file(path, Step::Told)
    }
}

/// What an agent should know of a failure.
fn say(finished: &FinishedDelivery) -> Option<String> {
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
        ", except for its beginning"
    };
    Some(format!(
        "Not delivered: {what}{part}. {}. It is not tried again by itself; send it anew if it still matters.",
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
