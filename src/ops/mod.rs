//! The operations behind the commands and the chat commands: status, inbox, outbox and prune. They print
//! nothing.

pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod prune;
pub(crate) mod status;

use crate::config::Config;
use crate::ids::SessionId;
use crate::state::layout::StateDir;
use crate::store::disk::HeldLock;
use crate::store::{StateError, StoreError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum OpsError {
    /// The state cannot be used, or another process holds the session lock.
    #[error(transparent)]
    State(StateError),
    /// The request names nothing, or several things, or something that is still needed. Nothing was
    /// changed.
    #[error("{0}")]
    Refused(String),
    /// There is no such delivery, or its state does not allow the operation.
    #[error("{0}")]
    NoDelivery(String),
}

impl<E: Into<StateError>> From<E> for OpsError {
    fn from(error: E) -> Self {
        Self::State(error.into())
    }
}

/// The sessions of the configuration, if that can be read, then the others that have a folder.
pub(crate) fn list_sessions(
    config: Option<&Config>,
    state: &StateDir,
) -> Result<Vec<SessionId>, StoreError> {
    let configured = config.into_iter().flat_map(|config| config.sessions.keys());
    let mut ids: Vec<SessionId> = configured.cloned().collect();
    for id in state.all_sessions()? {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Takes the lock of a session whose folders may be incomplete, in the name of a command.
fn lock_session(
    state: &StateDir,
    session: &SessionId,
    command: &str,
) -> Result<HeldLock, OpsError> {
    let dir = state.session(session);
    dir.prepare()?;
    let holder = format!("telepost {command}, pid {}", std::process::id());
    Ok(dir.take_lock(&holder)?)
}
