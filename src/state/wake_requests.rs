//! The folder `wakes/`, through which the gateway and the MCP servers talk about waking.
//!
//! - `<registration>.request.json`: the gateway asks the server to wake its agent.
//! - `<registration>.answer.json`: the server reports how that went.
//! - `<registration>.lock`: held while a call of the server is under way; its modification time is the end
//!   of the last call.
//!
//! Everything here is unsynced: a loss of power ends every reader of these files as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::store::{Durability, FileLock, StateFile, Step, StoreError, atomic, lock};

/// How long a call waits for its lock, which others probe for microseconds.
const CALL_PATIENCE: Duration = Duration::from_millis(50);

pub(crate) fn folder(dir: &SessionDir) -> PathBuf {
    dir.wakes()
}

/// Whether a file in the folder is of no interest to the gateway: it writes the requests itself, and probes the
/// markers of calls when it needs to.
pub(crate) fn is_noise(name: &str) -> bool {
    [".request.json", ".lock"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// A request to an MCP server to wake its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeRequest {
    pub(crate) number: i64,
}

impl WakeRequest {
    pub(crate) fn file(dir: &SessionDir, registration: &str) -> StateFile<Self> {
        file(dir, &format!("{registration}.request.json"))
    }
}

/// The report of an MCP server on a request.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WakeAnswer {
    pub(crate) number: i64,
    /// Why the agent could not be woken, if so.
    pub(crate) error: Option<String>,
}

impl WakeAnswer {
    pub(crate) fn file(dir: &SessionDir, registration: &str) -> StateFile<Self> {
        file(dir, &format!("{registration}.answer.json"))
    }
}

fn file<T>(dir: &SessionDir, name: &str) -> StateFile<T> {
    let file = dir
        .storage()
        .file(dir.wakes().join(name), Step::WakeRequest);
    file.with(Durability::Unsynced)
}

/// Shows the gateway that calls of one MCP server are under way. It only helps to decide when to wake, so a
/// failure to write it stops no call.
#[derive(Debug)]
pub(crate) struct CallMarker {
    dir: SessionDir,
    path: PathBuf,
    under_way: usize,
    lock: Option<FileLock>,
}

impl CallMarker {
    /// The marker of a registration, with no call under way.
    pub(crate) fn new(dir: &SessionDir, registration: &str) -> Self {
        Self {
            dir: dir.clone(),
            path: marker_path(dir, registration),
            under_way: 0,
            lock: None,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.under_way += 1;
        if self.lock.is_some() {
            return;
        }
        let holder = format!("telepost mcp, pid {}", std::process::id());
        let taken = self
            .dir
            .storage()
            .disk()
            .create_folder(&self.dir.wakes())
            .map_err(Into::into)
            .and_then(|()| FileLock::take_within(&self.path, &holder, CALL_PATIENCE));
        match taken {
            Ok(lock) => self.lock = Some(lock),
            Err(error) => tracing::debug!(%error, "cannot record that a call is under way"),
        }
    }

    pub(crate) fn end(&mut self, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way > 0 {
            return;
        }
        if let Some(lock) = self.lock.take()
            && let Err(error) = lock.touch(now)
        {
            tracing::debug!(%error, "cannot record when a call ended");
        }
    }
}

/// The calls of an MCP server, as the gateway sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallActivity {
    pub(crate) under_way: bool,
    pub(crate) last: Option<Timestamp>,
}

impl CallActivity {
    pub(crate) fn read(dir: &SessionDir, registration: &str) -> Self {
        let path = marker_path(dir, registration);
        Self {
            under_way: lock::is_held(&path).unwrap_or(false),
            last: modified_at(&path),
        }
    }
}

fn marker_path(dir: &SessionDir, registration: &str) -> PathBuf {
    dir.wakes().join(format!("{registration}.lock"))
}

fn modified_at(path: &Path) -> Option<Timestamp> {
    let time = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(since.as_millis()).ok()?))
}

/// Removes the files of registrations that are not among the living ones.
pub(crate) fn remove_stale(dir: &SessionDir, living: &BTreeSet<&str>) -> Result<(), StoreError> {
    for name in atomic::list_names(&dir.wakes())? {
        let path = dir.wakes().join(&name);
        let registration = name.split('.').next().unwrap_or_default();
        // A server that has not registered yet may be in its first call.
        if !living.contains(registration) && !lock::is_held(&path)? {
            atomic::remove_file(&path, Step::Sweep)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::state::StateDir;

    #[test]
    fn calls_are_under_way_until_the_last_has_ended_and_that_moment_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(folder.path().to_owned()).session(&SessionId::new("ONE").unwrap());
        let mut calls = CallMarker::new(&dir, "7-1");
        let seen = || CallActivity::read(&dir, "7-1");
        assert_eq!(seen(), CallActivity::default());
        calls.begin();
        calls.begin();
        assert!(seen().under_way);
        calls.end(Timestamp(5000));
        assert!(seen().under_way);
        calls.end(Timestamp(6000));
        let last = Some(Timestamp(6000));
        let under_way = false;
        assert_eq!(seen(), CallActivity { under_way, last });
    }
}
