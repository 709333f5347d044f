//! `turns/<holder>.json`: the turns of one agent, as the hooks of its client report them.
//!
//! `hook/turn.rs` decides what a report changes. The files are unsynced: they survive a kill, and a loss of
//! power costs a hint.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::agents::{HolderId, ProcessId};
use crate::state::inbox::EntryName;
use crate::store::{
    Durability, FileLock, LockError, StateError, StateFile, StateFolder, Step, StoreError, atomic,
};

/// The turns of one agent.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFile {
    /// The agent.
    pub holder: HolderId,
    /// The process that runs the agent; once that has ended, the file says nothing.
    pub client_process: ProcessId,
    /// The client's own name of its session.
    pub client_session: Option<String>,
    /// The client's own name of the turn, if it has one.
    pub turn: Option<String>,
    /// The installation of our hooks that speaks in this turn: its program and arguments.
    #[serde(rename = "voice")]
    pub installation: Option<String>,
    /// The state of the agent.
    pub state: TurnState,
    /// Since when.
    pub since: Timestamp,
    /// When a prompt was last submitted.
    pub prompted_at: Option<Timestamp>,
    /// When a turn last ended.
    pub stopped_at: Option<Timestamp>,
    /// How often our hooks have continued this turn.
    #[serde(default)]
    pub continued: u32,
    /// The batch that was announced at the end of this turn.
    pub drained: Option<Drained>,
    /// The entries that the agent was reminded of in this turn.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reminded: BTreeSet<EntryName>,
    /// The entries that it still held when it ended its turn.
    #[serde(rename = "forgotten")]
    pub unanswered: Option<Unanswered>,
}

/// The state of an agent, by its hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// Between two turns.
    Idle,
    /// In a turn.
    Busy,
    /// Its session has ended; nothing more is known of it.
    Ended,
}

/// A batch that was announced to an agent when it was about to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// When.
    pub at: Timestamp,
    /// The newest message of the batch.
    pub newest: EntryName,
}

/// The messages that an agent held when it ended its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// When it ended.
    pub at: Timestamp,
    /// The entries behind the messages.
    pub entries: BTreeSet<EntryName>,
}

impl TurnFile {
    /// The turns of an agent that no hook has reported yet.
    pub fn new(holder: HolderId, client_process: ProcessId, now: Timestamp) -> Self {
        Self {
            holder,
            client_process,
            client_session: None,
            turn: None,
            installation: None,
            state: TurnState::Busy,
            since: now,
            prompted_at: None,
            stopped_at: None,
            continued: 0,
            drained: None,
            reminded: BTreeSet::new(),
            unanswered: None,
        }
    }

    /// Changes the turns of the agent that this process runs, while no other hook does. A damaged file, and
    /// one of an earlier process, count as missing.
    pub fn update<T>(
        dir: &SessionDir,
        (holder, client): (&HolderId, &ProcessId),
        patience: Duration,
        now: Timestamp,
        change: impl FnOnce(&mut Self) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        folder(dir).create()?;
        let writer = format!("telepost hook, pid {}", std::process::id());
        let path = folder(dir).path().join(format!("{}.lock", holder.as_str()));
        // The gateway may remove the file of the lock between its opening and its locking.
        let _lock = loop {
            let lock = FileLock::take_within(&path, &writer, patience)?;
            if lock.still_there() {
                break lock;
            }
        };
        let file = file(dir, holder.as_str());
        let before = file.read_or_missing(now)?;
        let mut turns = before
            .filter(|turns| turns.client_process == *client)
            .unwrap_or_else(|| Self::new(holder.clone(), client.clone(), now));
        let unchanged = turns.clone();
        let result = change(&mut turns)?;
        if turns != unchanged {
            file.write(&turns)?;
        }
        Ok(result)
    }

    /// The turns of an agent, if hooks have reported any and this process runs it.
    pub fn peek(dir: &SessionDir, holder: &HolderId, client: &ProcessId) -> Option<Self> {
        let turns = file(dir, holder.as_str()).peek()?;
        (turns.client_process == *client).then_some(turns)
    }

    /// All that can be read; damage is left for the next hook to report.
    pub fn peek_all(dir: &SessionDir) -> Result<Vec<Self>, StoreError> {
        let names = folder(dir).names()?;
        let files = names.iter().map(|name| folder(dir).file(name));
        Ok(files.filter_map(|file| file.peek()).collect())
    }

    /// Removes the turns of an agent that has ended.
    pub fn remove(&self, dir: &SessionDir) -> Result<(), StoreError> {
        file(dir, self.holder.as_str()).at(Step::Sweep).remove()
    }
}

fn folder(dir: &SessionDir) -> StateFolder<TurnFile> {
    let folder = dir.storage().folder(dir.turns(), Step::Turn);
    folder.with(Durability::Unsynced)
}

fn file(dir: &SessionDir, holder: &str) -> StateFile<TurnFile> {
    folder(dir).file(format!("{holder}.json"))
}

/// Removes the locks whose files are gone.
pub fn remove_stale_locks(dir: &SessionDir) -> Result<(), StoreError> {
    for name in folder(dir).names()? {
        let Some(holder) = name.strip_suffix(".lock") else {
            continue;
        };
        let file = file(dir, holder);
        if file.exists()? {
            continue;
        }
        // The first hook of an agent takes the lock before it writes the file.
        let path = folder(dir).path().join(&name);
        match FileLock::try_take(&path, "telepost gateway, clearing up") {
            Ok(_lock) if !file.exists()? => atomic::remove_file(&path, Step::Sweep)?,
            Ok(_) | Err(LockError::Held { .. }) => {}
            Err(LockError::Store(error)) => return Err(error),
        }
    }
    Ok(())
}
