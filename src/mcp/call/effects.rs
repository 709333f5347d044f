//! The changes of the disk that a call decides on, as data, and the driver that carries them out.
//!
//! A call decides on a [`crate::mcp::call::picture::Picture`] and returns its [`Effects`] in the order in
//! which they must happen. A kill between any two is made good by the next call of any agent.

use crate::error_chain::Chain;
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::Delivery;
use crate::store::StoreError;
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;
use crate::store::staging::Staging;

/// One change of the disk.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Makes the names in `outbox/` durable. The process that committed them may have died before its sync.
    SyncOutbox,
    /// Makes the names in `inbox/` durable. An entry that a loss of power took back would come again under
    /// another name, although a commit has answered it.
    SyncInbox,
    /// Accepts a delivery, with the copies of its files: the commit point.
    Accept(Box<Delivery>, Option<Staging>),
    /// Moves entries from `inbox/` to `done/`, durably.
    Settle(Vec<EntryName>),
    /// Writes what an agent holds, unsynced: a loss of power ends all server processes and their holds.
    WriteHolds(Box<Conversation>),
    /// Writes what an agent still holds, durably.
    ReleaseHolds(Box<Conversation>),
    /// Removes the conversation of an agent that is gone.
    RemoveHolds(String),
}

/// The changes of a call, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The changes up to the commit: a failure refuses the call.
    pub(crate) commit: Vec<Effect>,
    /// The consequences of the commit: the next call makes a failure good.
    pub(crate) follow_up: Vec<Effect>,
}

impl From<Vec<Effect>> for Effects {
    fn from(commit: Vec<Effect>) -> Self {
        let follow_up = Vec::new();
        Self { commit, follow_up }
    }
}

/// Carries out effects on the disk of a session.
#[derive(Clone, Debug)]
pub(crate) struct EffectDriver {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) holds: Holds,
}

impl EffectDriver {
    /// Carries out the changes of a call. On an error the call is refused, and nothing was committed.
    pub(crate) fn carry_out(&self, effects: Effects) -> Result<(), StoreError> {
        self.apply_all(effects.commit)?;
        if let Err(error) = self.apply_all(effects.follow_up) {
            tracing::warn!(error = %Chain(&error), "a committed reply is followed up at the next call");
        }
        Ok(())
    }

    fn apply_all(&self, effects: Vec<Effect>) -> Result<(), StoreError> {
        effects
            .into_iter()
            .try_for_each(|effect| self.apply(effect))
    }

    fn apply(&self, effect: Effect) -> Result<(), StoreError> {
        match effect {
            Effect::SyncOutbox => self.outbox.sync_names(),
            Effect::SyncInbox => self.inbox.sync_names(),
            Effect::Accept(delivery, None) => self.outbox.accept(&delivery),
            Effect::Accept(delivery, Some(copies)) => self.outbox.accept_with(&delivery, copies),
            Effect::Settle(entries) => self.inbox.settle(&entries).map(drop),
            Effect::WriteHolds(conversation) => {
                self.holds
                    .write(&conversation, Step::Hold, Durability::Unsynced)
            }
            Effect::ReleaseHolds(conversation) => {
                self.holds
                    .write(&conversation, Step::Release, Durability::Synced)
            }
            Effect::RemoveHolds(holder) => self.holds.remove(&holder),
        }
    }
}
