//! Removes the folder of a session so that a kill in between leaves no half of it in use: one rename takes
//! the folder away from the session, the files go afterwards.

use std::path::PathBuf;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic;
use crate::store::crash_points::Step;

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
    let mut folders = state.removed_sessions()?.into_iter();
    folders.try_for_each(|folder| Removal(folder).finish())
}
