//! Changes in the holds of agents, as a watch reports them.

use std::path::{Path, PathBuf};

use crate::ids::SessionId;
use crate::state::holds::Holds;
use crate::state::layout::SessionDir;
use crate::store::watch::Interest;

const CONVERSATIONS: &str = "conversations";

/// The holds of one agent have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldChange {
    /// The session.
    pub session: SessionId,
    /// The agent.
    pub holder: String,
}

impl HoldChange {
    /// The folder in which new names are changes.
    pub fn folder(dir: &SessionDir) -> PathBuf {
        dir.conversations()
    }

    /// Whether a path stands in such a folder.
    pub fn is_watched(path: &Path) -> bool {
        folder_name(path) == Some(CONVERSATIONS)
    }

    /// How much a changed path in such a folder matters.
    pub fn interest(path: &Path) -> Interest {
        let is_temporary = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_temporary {
            Interest::None
        } else {
            Interest::Name
        }
    }

    /// The change that a path such as `…/sessions/ONE/conversations/<name>` stands for, if it is one.
    pub fn at(path: &Path) -> Option<Self> {
        if !Self::is_watched(path) {
            return None;
        }
        let holder = Holds::holder_of(path.file_name()?.to_str()?)?;
        let session = path.parent()?.parent()?.file_name()?.to_str()?;
        Some(Self {
            session: SessionId::new(session).ok()?,
            holder: holder.to_owned(),
        })
    }
}

fn folder_name(path: &Path) -> Option<&str> {
    path.parent()?.file_name()?.to_str()
}
