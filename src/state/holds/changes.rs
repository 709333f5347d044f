//! Changes in the holds of agents, as a watch reports them.

use std::path::{Path, PathBuf};

use crate::ids::SessionId;
use crate::state::holds::seen;
use crate::state::layout::SessionDir;
use crate::store::watch::Interest;

const CONVERSATIONS: &str = "conversations";
const SEEN: &str = "seen";

/// The holds of one agent have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldChange {
    /// The session.
    pub session: SessionId,
    /// The agent.
    pub holder: String,
}

impl HoldChange {
    /// The folders in which new names are changes.
    pub fn folders(dir: &SessionDir) -> [PathBuf; 2] {
        [dir.conversations(), dir.seen()]
    }

    /// Whether a path stands in such a folder.
    pub fn is_watched(path: &Path) -> bool {
        matches!(folder_name(path), Some(CONVERSATIONS | SEEN))
    }

    /// How much a changed path in such a folder matters. The conversation has taken over a mark that is
    /// gone.
    pub fn interest(path: &Path, is_gone: bool) -> Interest {
        let is_temporary = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_temporary || is_gone && folder_name(path) == Some(SEEN) {
            Interest::None
        } else {
            Interest::Name
        }
    }

    /// The change that a path such as `…/sessions/ONE/conversations/<name>` stands for, if it is one.
    pub fn at(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let holder = match folder_name(path)? {
            CONVERSATIONS => name.strip_suffix(".json")?,
            SEEN => seen::holder_of(name)?,
            _ => return None,
        };
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
