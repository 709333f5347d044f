//! `down.json`: that a session has no agent while messages wait, and which chats were told.
//!
//! The note is synced before a chat is told. Its time names the absence, and so the notices about it: a kill
//! in between tells no chat twice. Decisions are made in `waker/absence/policy.rs`.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId};
use crate::state::SessionDir;
use crate::state::inbox::EntryName;
use crate::store::{StateFile, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    #[serde(rename = "no_session")]
    TmuxSession,
    #[serde(rename = "no_agent")]
    Agent,
    /// No tmux session is configured, so only a connection shows an agent.
    #[serde(rename = "not_connected")]
    Connection,
}

impl Missing {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::TmuxSession => "its tmux session is gone",
            Self::Agent => "no agent runs in its tmux session",
            Self::Connection => "no agent is connected",
        }
    }
}

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

#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingChat {
    pub(crate) address: Address,
    pub(crate) message_id: Option<MessageId>,
    /// Whether the chat was certainly told.
    pub(crate) told: bool,
}

/// The note of an absence, as long as that lasts.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absence {
    /// When it was noticed; this names it.
    pub(crate) since: Timestamp,
    #[serde(rename = "absence")]
    pub(crate) missing: Missing,
    pub(crate) phase: AbsencePhase,
    /// The newest message whose chat is listed.
    pub(crate) known_to: Option<EntryName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) chats: Vec<WaitingChat>,
}

impl Absence {
    pub(crate) fn new(missing: Missing, now: Timestamp) -> Self {
        Self {
            since: now,
            missing,
            phase: AbsencePhase::Doubtful,
            known_to: None,
            chats: Vec::new(),
        }
    }

    /// The file of a session. A damaged note counts as missing: a chat may be told once more.
    pub(crate) fn file(dir: &SessionDir) -> StateFile<Self> {
        dir.storage().file(dir.down(), Step::Downtime)
    }
}
