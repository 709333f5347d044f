//! `conversations/<holder>.json`, the file of each holder.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::holds::Conversation;
use crate::state::inbox::EntryName;
use crate::store::{Durability, ReadError, StateFile, StateFolder, Step, StoreError};

/// The conversations of a session.
#[derive(Clone, Debug)]
pub struct Holds(StateFolder<Conversation>);

impl Holds {
    /// The conversations of a session whose folders exist.
    pub fn new(dir: &SessionDir) -> Self {
        let folder = dir.storage().folder(dir.conversations(), Step::Hold);
        // A loss of power may leave nothing of one; it ends the agent, too.
        Self(folder.with(Durability::Unsynced))
    }

    /// The holders that have a conversation.
    pub fn holders(&self) -> Result<Vec<String>, StoreError> {
        let names = self.0.names()?;
        let holders = names.iter().filter_map(|name| name.strip_suffix(".json"));
        Ok(holders.map(str::to_owned).collect())
    }

    /// Reads a conversation; a damaged one goes to the quarantine.
    pub fn read(&self, holder: &str, now: Timestamp) -> Result<Option<Conversation>, ReadError> {
        self.file(holder).read(now)
    }

    /// Reads a conversation as far as that is possible now. Its damage is for the agents to report.
    pub fn peek(&self, holder: &str) -> Option<Conversation> {
        self.file(holder).peek()
    }

    /// All conversations that can be read.
    pub fn peek_all(&self) -> Result<Vec<Conversation>, StoreError> {
        let holders = self.holders()?;
        Ok(holders
            .iter()
            .filter_map(|holder| self.peek(holder))
            .collect())
    }

    /// The entries that agents have seen and not answered. A damaged conversation counts as missing.
    pub fn held_entries(&self, now: Timestamp) -> Result<BTreeSet<EntryName>, ReadError> {
        let mut held = BTreeSet::new();
        for holder in self.holders()? {
            if let Some(conversation) = self.file(&holder).read_or_missing(now)? {
                held.extend(conversation.entries());
            }
        }
        Ok(held)
    }

    /// Writes a conversation.
    pub fn write(
        &self,
        conversation: &Conversation,
        step: Step,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let file = self.file(&conversation.holder);
        file.at(step).with(durability).write(conversation)
    }

    /// Removes the conversation of a holder that is gone.
    pub fn remove(&self, holder: &str) -> Result<(), StoreError> {
        self.file(holder).remove()
    }

    fn file(&self, holder: &str) -> StateFile<Conversation> {
        self.0.file(format!("{holder}.json"))
    }
}
