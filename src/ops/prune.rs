//! Removes the folders of sessions that are no longer in the configuration.
//!
//! A session that leaves `sessions.json` keeps its folder until a person removes it. Under the session
//! lock, the pruner makes sure that no process serves the session. The folder then gets a name that no
//! session has, durably, and is removed file by file; the next run finishes a removal that was killed.

use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::Config;
use crate::ids::SessionId;
use crate::ops::{OpsError, lock_session};
use crate::state::agents::holder;
use crate::state::gateway_status;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::state::sweep::{Removal, finish_removals};
use crate::text::one_line;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftoverSession {
    pub(crate) id: SessionId,
    pub(crate) pending: usize,
    pub(crate) outbox: usize,
    pub(crate) failed: usize,
    pub(crate) folder: PathBuf,
}

#[derive(Debug)]
pub(crate) struct SessionPruner<'a> {
    pub(crate) state: &'a StateDir,
    pub(crate) config: &'a Config,
    pub(crate) clock: &'a Clock,
}

impl SessionPruner<'_> {
    /// The leftover sessions of these names, or all of them. Finishes removals that were killed.
    pub(crate) fn find(&self, names: &[String]) -> Result<Vec<LeftoverSession>, OpsError> {
        finish_removals(self.state)?;
        let mut ids = self.state.all_sessions()?;
        if names.is_empty() {
            ids.retain(|id| !self.config.sessions.contains_key(id));
        } else {
            for name in names {
                self.require_folder(&ids, name)?;
            }
            ids.retain(|id| names.iter().any(|name| name == id.as_str()));
        }
        ids.into_iter().map(|id| self.inspect(id)).collect()
    }

    fn require_folder(&self, ids: &[SessionId], name: &str) -> Result<(), OpsError> {
        if ids.iter().any(|id| id.as_str() == name) {
            return Ok(());
        }
        Err(OpsError::Refused(
            if self.config.sessions.contains_key(name) {
                format!(
                    "session {name} is in the configuration and has nothing to remove; if it is no longer needed, take it out of sessions.json"
                )
            } else {
                format!(
                    "there is no session {}; `telepost status` lists the sessions",
                    one_line(name)
                )
            },
        ))
    }

    fn inspect(&self, id: SessionId) -> Result<LeftoverSession, OpsError> {
        self.require_unserved(&id)?;
        let dir = self.state.session(&id);
        let outbox = Outbox::new(self.state, dir.clone());
        Ok(LeftoverSession {
            pending: Inbox::new(&dir).pending()?.len(),
            outbox: outbox.waiting()?.len(),
            failed: outbox.failed()?.len(),
            folder: dir.root().to_owned(),
            id,
        })
    }

    /// Removes a session that [`Self::find`] returned, for good.
    pub(crate) fn remove(&self, session: &LeftoverSession) -> Result<(), OpsError> {
        let lock = lock_session(self.state, &session.id, "prune")?;
        // An agent may have started while the person was asked.
        self.require_unserved(&session.id)?;
        let removal = Removal::begin(self.state, &session.id, self.clock.now())?;
        drop(lock);
        Ok(removal.finish()?)
    }

    /// Refuses a session that is configured, or that an agent or the gateway serves.
    fn require_unserved(&self, id: &SessionId) -> Result<(), OpsError> {
        let refuse = |words| Err(OpsError::Refused(format!("{words}; nothing was removed")));
        if self.config.sessions.contains_key(id) {
            return refuse(format!(
                "session {id} is in the configuration: take it out of sessions.json first"
            ));
        }
        let agents = holder::list_connected(&self.state.session(id))?;
        if !agents.is_empty() {
            let pids: Vec<String> = agents.iter().map(u32::to_string).collect();
            return refuse(format!(
                "an agent of session {id} is still running (telepost mcp, pid {}): stop it first",
                pids.join(", ")
            ));
        }
        if gateway_status::is_running(self.state)?
            && gateway_status::read(self.state, self.clock.now())?
                .is_some_and(|status| status.sessions.contains_key(id))
        {
            return refuse(format!(
                "the running gateway still serves session {id}: replace it with \
                 `telepost gateway --replace --detach` first"
            ));
        }
        Ok(())
    }
}
