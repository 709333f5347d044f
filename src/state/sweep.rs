//! Removes files that are past their time: leftovers of killed writers, old tombstones, results and files of
//! messages. Removes the folder of a session so that a kill in between leaves no half of it in use: one rename
//! takes the folder away from the session, the files go afterwards.

use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::files::Files;
use crate::state::inbox::Inbox;
use crate::state::outbox::Outbox;
use crate::state::{StateDir, logs};
use crate::store::{Step, StoreError, atomic};

/// Sweeps the whole state folder. `file_time` is the time of the file system's clock, with which leftovers
/// are compared; `now` is the time of the entries.
pub fn sweep(state: &StateDir, now: Timestamp, file_time: Timestamp) -> Result<(), StoreError> {
    for id in state.all_sessions()? {
        let dir = state.session(&id);
        for folder in dir.folders() {
            atomic::remove_leftovers(&folder, file_time);
        }
        Inbox::new(&dir).sweep(now)?;
        Files::new(&dir).sweep(now)?;
        Outbox::new(state, dir).sweep(now)?;
    }
    atomic::remove_leftovers(state.root(), file_time);
    logs::make_private(state)
}

/// A session folder that has lost its name, and still has its files.
#[derive(Debug)]
#[must_use = "the files are still there"]
pub struct Removal(PathBuf);

impl Removal {
    /// Takes the folder away from the session, durably. The caller holds the session lock.
    pub fn begin(state: &StateDir, id: &SessionId, now: Timestamp) -> Result<Self, StoreError> {
        let removed = state.removed_session(id, now);
        atomic::rename_file(state.session(id).root(), &removed, Step::Prune)?;
        atomic::sync_folder(&state.sessions())?;
        Ok(Self(removed))
    }

    /// Removes the files.
    pub fn finish(self) -> Result<(), StoreError> {
        atomic::remove_tree(&self.0)
    }
}

/// Finishes the removals that were killed.
pub fn finish_removals(state: &StateDir) -> Result<(), StoreError> {
    let mut folders = state.removed_sessions();
    folders.try_for_each(|folder| Removal(folder).finish())
}
