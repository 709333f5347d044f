//! Removing what a session has left behind that is no longer in the configuration.
//!
//! A session that is taken out of `sessions.json` keeps its folder with everything in it; only a
//! person removes it. Under the session lock it is made sure that nobody serves it any more. Then its
//! folder gets a name that no session has, durably, and goes file by file: whoever is killed in
//! between has removed it, and the next one clears up.

use std::path::PathBuf;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::SessionId;
use crate::ops::inbox::CareError;
use crate::state::agents::holder;
use crate::state::gateway_status;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::store::StoreError;
use crate::store::atomic;
use crate::store::crash_points::Step;

/// What a session has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The session.
    pub id: SessionId,
    /// Messages that wait.
    pub pending: usize,
    /// Deliveries that Telegram does not have.
    pub outbox: usize,
    /// Deliveries that nobody could deliver.
    pub failed: usize,
    /// Its folder.
    pub folder: PathBuf,
}

impl Left {
    /// What goes with it, for people.
    pub fn words(&self) -> String {
        format!(
            "Session {} is not in the configuration. With it go, for good:\n  {} that wait\n  {} that Telegram does not have\n  {} that could not be delivered\n  its record of the last days, and files that came with messages\n  ({})\n",
            self.id,
            count(self.pending, "message"),
            count(self.outbox, "answer"),
            count(self.failed, "answer"),
            self.folder.display(),
        )
    }
}

fn count(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

/// The sessions of one state folder.
#[derive(Debug)]
pub struct Prune<'a> {
    /// The state folder.
    pub state: &'a StateDir,
    /// The configuration.
    pub config: &'a Config,
    /// The clocks.
    pub clock: &'a Clock,
}

impl Prune<'_> {
    /// What is there to be removed: these sessions, or all that are not in the configuration. Also
    /// clears up after one that was killed.
    pub fn find(&self, ids: &[String]) -> Result<Vec<Left>, CareError> {
        self.clear_up()?;
        let all = self.state.all_sessions()?;
        let configured = |id: &SessionId| self.config.sessions.contains_key(id);
        let chosen: Vec<SessionId> = if ids.is_empty() {
            all.into_iter().filter(|id| !configured(id)).collect()
        } else {
            let mut chosen = Vec::new();
            for text in ids {
                match all.iter().find(|id| id.as_str() == text) {
                    Some(id) if configured(id) => return Err(configured_still(id)),
                    Some(id) if chosen.contains(id) => {}
                    Some(id) => chosen.push(id.clone()),
                    None if self.config.sessions.keys().any(|id| id.as_str() == text) => {
                        return Err(CareError::Refused(format!(
                            "session {text} has nothing to remove, and it is in the configuration: take it out there if it is no longer needed"
                        )));
                    }
                    None => {
                        return Err(CareError::Refused(format!(
                            "there is no session {}; `telepost status` shows those that there are",
                            crate::text::one_line(text)
                        )));
                    }
                }
            }
            chosen
        };
        chosen.into_iter().map(|id| self.look(id)).collect()
    }

    fn look(&self, id: SessionId) -> Result<Left, CareError> {
        self.unneeded(&id)?;
        let dir = self.state.session(&id);
        let outbox = Outbox::new(self.state, dir.clone());
        Ok(Left {
            pending: Inbox::new(self.state, dir.clone()).pending()?.len(),
            outbox: outbox.waiting()?.len(),
            failed: outbox.failed()?.len(),
            folder: dir.root().to_owned(),
            id,
        })
    }

    /// Removes one that [`Self::find`] has found, for good.
    pub fn remove(&self, left: &Left) -> Result<(), CareError> {
        let dir = self.state.session(&left.id);
        let who = format!("telepost prune, pid {}", std::process::id());
        let lock = dir.take_lock(&who)?;
        // Somebody may have come while the person was asked.
        self.unneeded(&left.id)?;
        let now = self.clock.now();
        let gone = self.state.pruned(&left.id, now);
        atomic::rename_file(dir.root(), &gone, Step::Prune)?;
        atomic::sync_folder(&self.state.sessions())?;
        drop(lock);
        Ok(atomic::remove_tree(&gone)?)
    }

    /// Whether nobody serves the session any more.
    fn unneeded(&self, id: &SessionId) -> Result<(), CareError> {
        if self.config.sessions.contains_key(id) {
            return Err(configured_still(id));
        }
        let agents = holder::list_connected(&self.state.session(id))?;
        if !agents.is_empty() {
            let pids: Vec<String> = agents.iter().map(u32::to_string).collect();
            return Err(CareError::Refused(format!(
                "an agent of session {id} still runs (telepost mcp, pid {}): end it first; nothing was removed",
                pids.join(", ")
            )));
        }
        if self.is_served(id, self.clock.now())? {
            return Err(CareError::Refused(format!(
                "the gateway that runs still serves session {id}: let it take over the configuration with \
                 `telepost gateway --replace --detach` first; nothing was removed"
            )));
        }
        Ok(())
    }

    fn is_served(&self, id: &SessionId, now: Timestamp) -> Result<bool, CareError> {
        if !gateway_status::is_running(self.state)? {
            return Ok(false);
        }
        let presence = gateway_status::read(self.state, now)?;
        Ok(presence.is_some_and(|file| file.sessions.contains_key(id)))
    }

    fn clear_up(&self) -> Result<(), StoreError> {
        for path in self.state.all_pruned()? {
            atomic::remove_tree(&path)?;
        }
        Ok(())
    }
}

fn configured_still(id: &SessionId) -> CareError {
    CareError::Refused(format!(
        "session {id} is in the configuration: take it out of sessions.json first; nothing was removed"
    ))
}
