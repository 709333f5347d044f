//! `down.json`: that a session has no agent while messages wait, and which chats were told.
//!
//! The note is synced before a chat is told. Its time names the absence, and so the notices about it: a kill
//! in between tells no chat twice. Decisions are made in `waker/absence/policy.rs`.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId};
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};

/// What a session without an agent lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    #[serde(rename = "no_session")]
    TmuxSession,
    #[serde(rename = "no_agent")]
    Agent,
}

impl Missing {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::TmuxSession => "its tmux session is gone",
            Self::Agent => "no agent runs in its tmux session",
        }
    }
}

/// How far an absence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum AbsencePhase {
    /// It may be a restart; no chat is told yet.
    Doubtful,
    Down,
    Returning {
        at: Timestamp,
    },
    /// An agent has been there for long enough, and the chats are told that, too.
    Over,
}

/// A chat that wrote during the absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingChat {
    pub(crate) address: Address,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<MessageId>,
    /// Whether the chat was certainly told.
    pub(crate) told: bool,
}

/// The note of an absence, as long as that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absence {
    pub(crate) format: u32,
    /// When it was noticed; this names it.
    pub(crate) since: Timestamp,
    #[serde(rename = "absence")]
    pub(crate) missing: Missing,
    pub(crate) phase: AbsencePhase,
    /// The newest message whose chat is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) known_to: Option<EntryName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chats: Vec<WaitingChat>,
}

impl Absence {
    /// An absence that was noticed now.
    pub(crate) fn new(missing: Missing, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            since: now,
            missing,
            phase: AbsencePhase::Doubtful,
            known_to: None,
            chats: Vec::new(),
        }
    }

    /// Reads the note of a session. A damaged one counts as none: a chat may be told once more.
    pub(crate) fn read(
        state: &StateDir,
        dir: &SessionDir,
        now: Timestamp,
    ) -> Result<Option<Self>, ReadError> {
        match format::read(state, &dir.down(), now) {
            Err(ReadError::Quarantined { .. }) => Ok(None),
            read @ (Ok(_) | Err(_)) => read,
        }
    }

    /// Replaces the note of a session.
    pub(crate) fn write(&self, dir: &SessionDir) -> Result<(), StoreError> {
        format::write(&dir.down(), self, Step::Downtime, Durability::Synced)
    }

    /// Removes the note of a session.
    pub(crate) fn remove(dir: &SessionDir) -> Result<(), StoreError> {
        atomic::remove(&dir.down(), Step::Downtime)
    }
}
