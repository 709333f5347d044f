//! One token, one poller; one gateway per state folder.
//!
//! The lock of a bot lies in `/var/tmp/telepost-<uid>/`, a path from no environment variable: two
//! gateways with other homes, configurations or state folders still find each other. Locks are
//! never removed; a lock that is held means a process that lives.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::ids::BotId;
use crate::state::gateway_status;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::lock::{FileLock, LockError};

/// `status` asks for the lock for a moment to see whether it is held; a starting gateway must not
/// take that for another gateway.
const PROBE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a gateway may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The locks of a running gateway.
#[derive(Debug)]
pub struct Locks {
    /// That of the state folder.
    pub gateway: FileLock,
    /// Those of its bots, in the order of their ids.
    pub bots: Vec<BotLock>,
}

/// The lock of one bot.
#[derive(Debug)]
pub struct BotLock {
    lock: FileLock,
    path: PathBuf,
    who: String,
}

/// Another gateway is in the way.
#[derive(Debug, thiserror::Error)]
pub enum SingletonError {
    /// One with the same state folder.
    #[error("a gateway already runs for this state folder: {holder} ({}); use `{take_over}` to take over, or `telepost gateway stop` to end it", path.display())]
    SameState {
        /// The note in its lock.
        holder: String,
        /// The lock.
        path: PathBuf,
        /// The command that takes over, in the form that was typed.
        take_over: &'static str,
    },
    /// One that polls one of our bots.
    #[error("bot {bot} is already polled by {holder} ({}); stop that one first, or give this configuration a bot of its own", path.display())]
    SameBot {
        /// The bot.
        bot: BotId,
        /// The note in the bot's lock.
        holder: String,
        /// The lock.
        path: PathBuf,
    },
    /// The folder of the bot locks is not safe to use.
    #[error("the folder {} cannot be trusted with locks: {why}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The fault and its remedy.
        why: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gateway was asked to stop and did not.
    #[error("the gateway (pid {pid}) did not stop within {} seconds; `kill -9 {pid}` is safe, nothing is lost by it", STOP_WITHIN.as_secs())]
    WillNotStop {
        /// Its process number.
        pid: u32,
    },
    /// The lock is held, but it is not known by whom.
    #[error(
        "a gateway runs ({0}), but it has not said yet which process it is; try again in a second"
    )]
    Unknown(String),
}

impl Locks {
    /// Takes all locks, or none and says who has one.
    pub fn take(
        state: &StateDir,
        config: &Path,
        bots: &[BotId],
        now: Timestamp,
        take_over: &'static str,
    ) -> Result<Self, SingletonError> {
        let who = format!(
            "telepost gateway, pid {}, since {now}, configuration {}, state {}",
            std::process::id(),
            config.display(),
            state.root().display()
        );
        let gateway = gateway_status::take_gateway_lock(state, &who, PROBE_PATIENCE);
        let gateway = gateway.map_err(|error| match error {
            LockError::Held { path, holder } => SingletonError::SameState {
                holder,
                path,
                take_over,
            },
            LockError::Store(error) => error.into(),
        })?;
        let folder = bot_lock_folder()?;
        let bots = bots
            .iter()
            .map(|&bot| BotLock::take(&folder, bot, &who))
            .collect::<Result<_, _>>()?;
        Ok(Self { gateway, bots })
    }
}

impl BotLock {
    fn take(folder: &Path, bot: BotId, who: &str) -> Result<Self, SingletonError> {
        let path = folder.join(format!("bot-{bot}.lock"));
        match FileLock::try_take(&path, who) {
            Ok(lock) => Ok(Self {
                lock,
                path,
                who: who.to_owned(),
            }),
            Err(LockError::Held { path, holder }) => {
                Err(SingletonError::SameBot { bot, holder, path })
            }
            Err(LockError::Store(error)) => Err(error.into()),
        }
    }

    /// Makes sure that the lock file is still the one that is locked. A cleaner of temporary folders
    /// may have removed it: then a new one is locked, unless another process was faster.
    pub fn confirm(&mut self) -> Result<(), LockError> {
        if self.lock.still_there() {
            return Ok(());
        }
        if let Some(folder) = self.path.parent()
            && !folder.exists()
        {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(folder)
                .map_err(|source| StoreError::new("create the folder", folder, source))?;
        }
        self.lock = FileLock::try_take(&self.path, &self.who)?;
        tracing::warn!(path = %self.path.display(), "the bot's lock file was removed by somebody; locked a new one");
        Ok(())
    }

    /// Marks the lock file as used.
    pub fn touch(&self, now: Timestamp) {
        if let Err(error) = self.lock.touch(now) {
            tracing::debug!(%error, "cannot touch the bot's lock file");
        }
    }
}

/// The folder of the bot locks of this user, made if it is missing and checked if it is there.
fn bot_lock_folder() -> Result<PathBuf, SingletonError> {
    let me = rustix::process::getuid().as_raw();
    let path = PathBuf::from(format!("/var/tmp/telepost-{me}"));
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(StoreError::new("create the folder", &path, source).into()),
    }
    let metadata =
        fs::symlink_metadata(&path).map_err(|source| StoreError::new("read", &path, source))?;
    let refuse = |why: String| {
        Err(SingletonError::Folder {
            path: path.clone(),
            why,
        })
    };
    if !metadata.is_dir() {
        return refuse(
            "it is no folder (a symlink or a file stands in its place); remove that".to_owned(),
        );
    }
    if metadata.uid() != me {
        return refuse(format!(
            "it belongs to user {}, not to you ({me}); ask that user or root to remove it",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse("others may write to it; run `chmod 700` on it".to_owned());
    }
    Ok(path)
}

/// The state folder of a gateway that runs with this configuration, from the notes in the locks of its bots.
pub fn find_state_of(config: &Path) -> Option<PathBuf> {
    let folder = bot_lock_folder().ok()?;
    let note = format!(", configuration {}, state ", config.display());
    let locks = fs::read_dir(folder).ok()?.flatten();
    let mut locks = locks.map(|entry| entry.path());
    locks.find_map(|lock| {
        let holder = crate::store::lock::read_holder(&lock);
        let (_, state) = holder.split_once(&note)?;
        crate::store::lock::is_held(&lock)
            .is_ok_and(|is_held| is_held)
            .then(|| PathBuf::from(state))
    })
}

/// Stops the running gateway and waits until it has let go of its lock. `false` if none runs.
pub async fn stop(state: &StateDir, clock: &Clock) -> Result<bool, SingletonError> {
    let mut asked: Option<u32> = None;
    let deadline = clock.instant() + STOP_WITHIN;
    while gateway_status::is_running(state)? {
        if asked.is_none() {
            asked = ask_to_stop(state, clock.now());
        }
        if clock.instant() >= deadline {
            return Err(match asked {
                Some(pid) => SingletonError::WillNotStop { pid },
                None => SingletonError::Unknown(gateway_status::name_gateway(state)),
            });
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    Ok(asked.is_some())
}

/// Sends the stop signal to the process that `gateway.json` names, if that is really running: the pid alone may belong to another process by now.
fn ask_to_stop(state: &StateDir, now: Timestamp) -> Option<u32> {
    let file = gateway_status::read(state, now).ok()??;
    if !file.process.is_running() || file.process.pid == std::process::id() {
        return None;
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(file.process.pid).ok()?)?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok()?;
    // A process that was stopped (Ctrl-Z) takes no other signal.
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).ok()?;
    Some(file.process.pid)
}
