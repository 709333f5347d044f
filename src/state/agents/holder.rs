//! The identity of an agent, and whether it lives.
//!
//! A holder is the client's thread if the client names one (`_meta.threadId`, Codex), else the parent process
//! of `telepost mcp` (pid and start time): an MCP server that the client starts again is the same holder. It
//! lives while some MCP server holds the lock on a registration in `agents/` that names it. A pid alone proves
//! nothing, because it may belong to another process by now.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::agents::{AgentFile, ProcessId, Reach, folder, list_registered};
use crate::store::{HeldLock, ReadError, StateFile, StoreError};

/// Names an agent in the messages that it holds. Safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HolderId(String);

impl HolderId {
    /// The agent of a client's thread.
    pub fn of_thread(thread: &str) -> Self {
        Self(format!("thread-{}", short_hash(&[thread])))
    }

    /// The agent of the client process that started this MCP server.
    pub fn of_process(client: &ProcessId) -> Self {
        Self(format!("process-{}-{}", client.pid, client.start))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first 32 hexadecimal digits of the SHA-256 of parts, each with its length.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let half = digest
        .iter()
        .take(16)
        .fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("{half:032x}")
}

/// The registration of this MCP server. Its lock lives as long as the process.
#[derive(Debug)]
pub struct Registration {
    stored: StateFile<AgentFile>,
    file: AgentFile,
    locked: Option<HeldLock>,
}

impl Registration {
    /// A registration that is not written yet.
    pub fn new(dir: &SessionDir, client: &ProcessId, reach: Reach, started_at: Timestamp) -> Self {
        let pid = std::process::id();
        Self {
            stored: folder(dir).file(format!("{pid}-{}.json", started_at.0)),
            file: AgentFile {
                pid,
                started_at,
                client_process: client.clone(),
                holders: BTreeSet::new(),
                client: None,
                threads: Vec::new(),
                reach,
            },
            locked: None,
        }
    }

    /// Its name without `.json`, which names its other files, too.
    pub fn name(&self) -> String {
        format!("{}-{}", self.file.pid, self.file.started_at.0)
    }

    /// Whether this server lives, and this agent has called it.
    pub fn names(&self, holder: &HolderId) -> bool {
        self.locked.is_some() && self.file.holders.contains(holder)
    }

    /// Changes the registration, and writes it if it is new or different. The caller holds the session lock, as
    /// does every caller of [`list_living`], so that the list is never read while one file replaces the other.
    pub fn update(&mut self, change: impl FnOnce(&mut AgentFile)) -> Result<(), StoreError> {
        let mut file = self.file.clone();
        change(&mut file);
        if self.locked.is_some() && self.file == file {
            return Ok(());
        }
        self.locked = Some(self.stored.write_locked(&file)?);
        // Only a written change counts, so that a failed write is repeated.
        self.file = file;
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.locked.is_some() {
            // A kill leaves the file; `list_living` removes files without a lock.
            drop(self.stored.remove());
        }
    }
}

/// The MCP server processes that live, and the agents that have called them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Living {
    /// The names of the servers' registrations.
    pub servers: BTreeSet<String>,
    /// The agents.
    pub holders: BTreeSet<HolderId>,
}

impl Living {
    /// Whether this agent lives.
    pub fn has_holder(&self, holder: &str) -> bool {
        self.holders.iter().any(|one| one.as_str() == holder)
    }
}

/// Lists the living, and removes the registrations of dead servers. The caller holds the session lock.
pub fn list_living(dir: &SessionDir, now: Timestamp) -> Result<Living, StoreError> {
    let mut living = Living::default();
    for name in folder(dir).names()? {
        let stored = folder(dir).file(&name);
        if !stored.is_locked()? {
            if stored.path().is_dir() {
                // A folder is not ours, so its content must not be thrown away.
                if let Err(ReadError::Store(error)) = stored.read(now) {
                    return Err(error);
                }
            } else {
                stored.remove()?;
            }
            continue;
        }
        let bytes = match dir.storage().disk().read(stored.path()) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        // Whatever its version: a newer server lives, too.
        let file: Option<AgentFile> = serde_json::from_slice(&bytes).ok();
        living
            .holders
            .extend(file.into_iter().flat_map(|file| file.holders));
        living
            .servers
            .extend(name.strip_suffix(".json").map(str::to_owned));
    }
    Ok(living)
}

/// The processes of the MCP servers that live, as far as can be seen without the session lock.
pub fn list_connected(dir: &SessionDir) -> Result<Vec<u32>, StoreError> {
    let mut pids = Vec::new();
    for name in folder(dir).names()? {
        let pid = name.split_once('-').and_then(|(pid, _)| pid.parse().ok());
        if let Some(pid) = pid
            && folder(dir).file(&name).is_locked()?
        {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Whether a holder lives, as far as can be seen without the session lock. The answer may be wrong for a
/// moment. Removes nothing.
pub fn seems_to_live(dir: &SessionDir, holder: &str) -> bool {
    let servers = list_registered(dir).unwrap_or_default();
    let mut holders = servers.iter().flat_map(|server| &server.file.holders);
    holders.any(|one| one.as_str() == holder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::state::StateDir;

    fn dir() -> (tempfile::TempDir, SessionDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(folder.path().to_owned()).session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        (folder, dir)
    }

    fn alive(dir: &SessionDir) -> Result<BTreeSet<HolderId>, StoreError> {
        Ok(list_living(dir, Timestamp(1))?.holders)
    }

    fn registration(dir: &SessionDir, started: i64) -> Registration {
        let client = ProcessId {
            pid: 1,
            start: "1".to_owned(),
        };
        Registration::new(dir, &client, Reach::default(), Timestamp(started))
    }

    /// Makes a holder known as alive.
    fn announce(registration: &mut Registration, holder: &HolderId) -> Result<(), StoreError> {
        registration.update(|file| {
            file.holders.insert(holder.clone());
        })
    }

    #[test]
    fn a_holder_lives_as_long_as_its_registration_is_locked() {
        let (_folder, dir) = dir();
        let (one, two) = (HolderId::of_thread("one"), HolderId::of_thread("two"));
        let mut registration = registration(&dir, 1);
        assert_eq!(alive(&dir).unwrap(), BTreeSet::new());
        announce(&mut registration, &one).unwrap();
        announce(&mut registration, &two).unwrap();
        assert_eq!(
            alive(&dir).unwrap(),
            BTreeSet::from([one.clone(), two.clone()])
        );
        assert!(seems_to_live(&dir, one.as_str()) && seems_to_live(&dir, two.as_str()));
        assert!(!seems_to_live(&dir, "thread-three"));
        drop(registration);
        assert_eq!(alive(&dir).unwrap(), BTreeSet::new());
        assert!(!seems_to_live(&dir, one.as_str()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a folder that is not there")]
    fn a_holder_whose_registration_failed_is_registered_at_its_next_call() {
        let (_folder, dir) = dir();
        let (one, two) = (HolderId::of_thread("one"), HolderId::of_thread("two"));
        let mut registration = registration(&dir, 1);
        announce(&mut registration, &one).unwrap();
        let aside = dir.root().join("aside");
        std::fs::rename(dir.agents(), &aside).unwrap();
        announce(&mut registration, &two).unwrap_err();
        std::fs::rename(&aside, dir.agents()).unwrap();
        assert_eq!(alive(&dir).unwrap(), BTreeSet::from([one.clone()]));
        announce(&mut registration, &two).unwrap();
        assert_eq!(alive(&dir).unwrap(), BTreeSet::from([one, two]));
    }

    #[test]
    fn what_a_killed_server_left_behind_is_removed() {
        let (_folder, dir) = dir();
        let mut registration = registration(&dir, 1);
        announce(&mut registration, &HolderId::of_thread("one")).unwrap();
        let path = registration.stored.path().to_owned();
        // A kill drops the lock and leaves the file.
        registration.locked = None;
        assert!(path.exists());
        assert_eq!(alive(&dir).unwrap(), BTreeSet::new());
        assert!(!path.exists());
    }
}
