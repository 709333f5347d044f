//! The paths of the state folder. docs/state-files.md describes each file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BotId, SessionId};
use crate::store::disk::RealDisk;
use crate::store::state_file::Storage;
use crate::store::{Disk, HeldLock, LockError, StoreError};

/// How long to wait for the session lock, which others hold for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How the name of a session folder ends during its removal.
const REMOVED: &str = ".pruned";
/// With less room than a few small files take, the disk counts as full.
const SMALLEST: u64 = 16 * 1024;

/// Declares the paths of files and folders by their names.
macro_rules! declare_paths {
    ($owner:ident { $($(#[$doc:meta])+ $path:ident = $name:literal;)+ }) => {
        impl $owner {
            $($(#[$doc])+ pub(in crate::state) fn $path(&self) -> PathBuf { self.root().join($name) })+
        }
    };
}

declare_paths! {
    StateDir {
        /// The lock of the gateway.
        gateway_lock = "gateway.lock";
        /// The status of the gateway.
        gateway = "gateway.json";
        /// The folder of the gateway's logs.
        logs = "logs";
        /// Unreadable files.
        quarantine = "quarantine";
        /// The folder that holds one folder per session.
        sessions = "sessions";
    }
}

declare_paths! {
    SessionDir {
        /// The session lock: held for read-decide-write only.
        lock = "session.lock";
        /// Pending entries.
        inbox = "inbox";
        /// How many entries of a large inbox wait.
        counts = "counts.json";
        /// Settled entries.
        done = "done";
        /// Events that wait for the next message.
        context = "context";
        /// The newest position of each live location that waits.
        positions = "positions";
        /// The conversation of each agent.
        conversations = "conversations";
        /// Living MCP servers.
        agents = "agents";
        /// Requests to wake agents, their answers, and markers of calls.
        wakes = "wakes";
        /// The turns of the agents, as the hooks of their clients report them.
        turns = "turns";
        /// The last wake, and how each way of waking has done.
        wake = "wake.json";
        /// The absence of agents, and the chats that were told.
        down = "down.json";
        /// Deliveries that are not finished.
        outbox = "outbox";
        /// Deliveries that Telegram has accepted.
        sent = "sent";
        /// Files that came with messages.
        files = "files";
        /// Deliveries that have failed.
        failed = "failed";
        /// Deliveries that a person wants dropped.
        drops = "drops";
        /// The failures that the agents were told of.
        told = "told.json";
    }
}

/// The state folder.
#[derive(Clone, Debug)]
pub struct StateDir {
    storage: Storage,
}

impl StateDir {
    /// Names the folder; touches nothing.
    pub fn new(root: PathBuf) -> Self {
        Self::on(RealDisk, root)
    }

    /// The same on another disk.
    pub fn on(disk: impl Disk + 'static, root: PathBuf) -> Self {
        let quarantine = root.join("quarantine");
        let storage = Storage::new(disk, root, quarantine);
        Self { storage }
    }

    /// Makes the [`crate::store::state_file::StateFile`] of each file.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Creates the folder if it is missing, and refuses one that another user can change.
    pub fn prepare(&self) -> Result<(), StoreError> {
        self.storage.disk().create_folder(self.root())?;
        self.storage.disk().check_folders(self.root(), 0)
    }

    /// Refuses a state folder that another user can change, or with such a folder in it. Every process asks once,
    /// before it believes what it reads.
    pub fn verify(&self) -> Result<(), StoreError> {
        // `sessions/<id>/inbox` is the deepest folder with files that are believed.
        self.storage.disk().check_folders(self.root(), 3)
    }

    /// Whether the disk is full. An unknown size counts as room.
    pub fn is_full(&self) -> bool {
        rustix::fs::statvfs(self.root()).is_ok_and(|disk| {
            // Some file systems do not say how large they are.
            disk.f_blocks > 0 && disk.f_bavail.saturating_mul(disk.f_frsize) < SMALLEST
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        self.storage.root()
    }

    /// How many damaged files are kept.
    pub fn quarantine_count(&self) -> Result<u64, StoreError> {
        Ok(self.storage.disk().list(&self.quarantine())?.len() as u64)
    }

    pub(in crate::state) fn gates(&self, bot: BotId) -> PathBuf {
        self.bot(bot).join("gates.json")
    }

    /// Groups of a bot that have become supergroups.
    pub(in crate::state) fn migrations(&self, bot: BotId) -> PathBuf {
        self.bot(bot).join("migrations.json")
    }

    /// Every bot that has a folder.
    pub fn all_bots(&self) -> Result<Vec<BotId>, StoreError> {
        let names = self.storage.disk().list(&self.root().join("bots"))?;
        Ok(names
            .iter()
            .filter_map(|name| name.parse().ok().map(BotId))
            .collect())
    }

    /// The messages with a receipt of a bot.
    pub(in crate::state) fn receipts(&self, bot: BotId) -> PathBuf {
        self.bot(bot).join("receipts.json")
    }

    pub(in crate::state) fn bot_dead(&self, bot: BotId) -> PathBuf {
        self.bot(bot).join("dead")
    }

    pub(in crate::state) fn prepare_bot(&self, bot: BotId) -> Result<(), StoreError> {
        self.storage.disk().create_folder(&self.bot(bot))
    }

    fn bot(&self, bot: BotId) -> PathBuf {
        self.root().join("bots").join(bot.to_string())
    }

    /// The folder of one session.
    pub fn session(&self, id: &SessionId) -> SessionDir {
        SessionDir {
            storage: self.storage.clone(),
            root: self.sessions().join(id.as_str()),
        }
    }

    /// The name of a session folder during its removal; no session can have it.
    pub(in crate::state) fn removed_session(&self, id: &SessionId, now: Timestamp) -> PathBuf {
        self.sessions().join(format!(".{id}-{}{REMOVED}", now.0))
    }

    pub(in crate::state) fn removed_sessions(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(self.sessions()).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with('.') && name.ends_with(REMOVED)
        })
    }

    /// Every session that has a folder, configured or not.
    pub fn all_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        let names = self.storage.disk().list(&self.sessions())?;
        Ok(names
            .iter()
            .filter_map(|name| SessionId::new(name).ok())
            .collect())
    }
}

impl AsRef<Storage> for StateDir {
    fn as_ref(&self) -> &Storage {
        &self.storage
    }
}

/// The folder of one session.
#[derive(Clone, Debug)]
pub struct SessionDir {
    storage: Storage,
    root: PathBuf,
}

impl SessionDir {
    /// Creates the folders that are missing.
    pub fn prepare(&self) -> Result<(), StoreError> {
        let mut folders = self.folders().into_iter();
        folders.try_for_each(|folder| self.storage.disk().create_folder(&folder))
    }

    pub(in crate::state) fn folders(&self) -> [PathBuf; 13] {
        [
            self.inbox(),
            self.done(),
            self.context(),
            self.positions(),
            self.conversations(),
            self.agents(),
            self.wakes(),
            self.turns(),
            self.outbox(),
            self.sent(),
            self.failed(),
            self.drops(),
            self.files(),
        ]
    }

    /// Makes the values of its files.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes that lock. Others hold it for milliseconds; after 5 s the error names the holder. `who` names this
    /// process to others.
    pub fn take_lock(&self, who: &str) -> Result<HeldLock, LockError> {
        self.take_lock_within(who, LOCK_PATIENCE)
    }

    /// Does the same with another patience.
    pub fn take_lock_within(&self, who: &str, patience: Duration) -> Result<HeldLock, LockError> {
        let disk = self.storage.disk();
        disk.lock(&self.lock(), who, patience)
    }

    /// The folders in which a change may end the wait of a call: new messages, their files, and finished
    /// deliveries.
    pub fn folders_about_calls(&self) -> [PathBuf; 4] {
        [self.inbox(), self.files(), self.sent(), self.failed()]
    }

    /// The folders in which a change may be a reason to wake an agent, or not to.
    pub fn folders_about_waking(&self) -> [PathBuf; 5] {
        [
            self.inbox(),
            self.conversations(),
            self.agents(),
            self.wakes(),
            self.turns(),
        ]
    }
}
