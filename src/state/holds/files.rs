//! `conversations/<holder>.json`, the file of each holder.

use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::state::holds::Conversation;
use crate::state::layout::{SessionDir, StateDir};
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, ReadError};

/// The conversations of a session.
#[derive(Clone, Debug)]
pub struct Holds {
    state: StateDir,
    dir: SessionDir,
}

impl Holds {
    /// The conversations of a session whose folders exist.
    pub fn new(state: &StateDir, dir: SessionDir) -> Self {
        Self {
            state: state.clone(),
            dir,
        }
    }

    /// The folder, to be watched.
    pub fn folder(&self) -> PathBuf {
        self.dir.conversations()
    }

    /// The holder that a file name of the folder means.
    pub fn holder_of(name: &str) -> Option<&str> {
        name.strip_suffix(".json")
    }

    /// The holders that have a conversation.
    pub fn holders(&self) -> Result<Vec<String>, StoreError> {
        let names = atomic::list(&self.folder())?;
        let holders = names.iter().filter_map(|name| Self::holder_of(name));
        Ok(holders.map(str::to_owned).collect())
    }

    /// Reads a conversation; a damaged one goes to the quarantine.
    pub fn read(&self, holder: &str, now: Timestamp) -> Result<Option<Conversation>, ReadError> {
        format::read(&self.state, &self.path(holder), now)
    }

    /// Reads a conversation as far as that is possible now. Its damage is for the agents to report.
    pub fn peek(&self, holder: &str) -> Option<Conversation> {
        format::peek(&self.path(holder))
    }

    /// All conversations that can be read.
    pub fn peek_all(&self) -> Result<Vec<Conversation>, StoreError> {
        let holders = self.holders()?;
        Ok(holders
            .iter()
            .filter_map(|holder| self.peek(holder))
            .collect())
    }

    /// Writes a conversation.
    pub fn write(
        &self,
        conversation: &Conversation,
        step: Step,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let path = self.path(&conversation.holder);
        format::write(&path, conversation, step, durability)
    }

    /// Removes the conversation of a holder that is gone.
    pub fn remove(&self, holder: &str) -> Result<(), StoreError> {
        atomic::remove(&self.path(holder), Step::Hold)
    }

    fn path(&self, holder: &str) -> PathBuf {
        self.folder().join(format!("{holder}.json"))
    }
}
