//! The messages that the agents of a session hold, as far as these still wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::agents::{HolderId, Registered};
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::EntryName;
use crate::state::inbox::pending::Pending;
use crate::store::StoreError;

#[derive(Debug, Default)]
pub(crate) struct Conversations(BTreeMap<String, Conversation>);

impl Conversations {
    /// Reads them, unless nothing waits.
    pub(crate) fn read(dir: &SessionDir, pending: &Pending) -> Result<Self, StoreError> {
        if pending.is_empty() {
            return Ok(Self::default());
        }
        let mut found = BTreeMap::new();
        for mut conversation in Holds::new(dir).peek_all()? {
            conversation.reconcile(&pending.among(&conversation.entries()));
            found.insert(conversation.holder.clone(), conversation);
        }
        Ok(Self(found))
    }

    pub(crate) fn find(&self, holder: &HolderId) -> Option<&Conversation> {
        self.0.get(holder.as_str())
    }

    /// Whether an agent holds messages and has called recently.
    pub(crate) fn is_held_by(&self, holder: &HolderId, now: Timestamp) -> bool {
        let mine = self.find(holder);
        mine.is_some_and(|mine| !mine.is_silent(now) && !mine.held.is_empty())
    }

    pub(crate) fn list_shown(&self, holder: &HolderId) -> BTreeSet<EntryName> {
        self.find(holder)
            .map(Conversation::entries)
            .unwrap_or_default()
    }

    /// The entries that wait and that no living agent holds.
    pub(crate) fn list_unshown(
        &self,
        pending: &Pending,
        living: &[Registered],
        now: Timestamp,
    ) -> BTreeSet<EntryName> {
        let lives = |name: &str| living.iter().any(|server| server.name == name);
        let holders = living.iter().flat_map(|server| &server.file.holders);
        let held: BTreeSet<EntryName> = holders
            .filter_map(|holder| self.find(holder))
            .filter(|conversation| !conversation.is_silent(now))
            // A message whose server process is gone may not have reached the agent.
            .flat_map(|conversation| conversation.living_entries(lives))
            .collect();
        pending.iter().filter(|name| !held.contains(name)).collect()
    }
}
