//! One token, one poller; one gateway per state folder.
//!
//! The lock of a bot lies in `/var/tmp/telepost-<uid>/`, a path from no environment variable: two
//! gateways with other homes, configurations or state folders still find each other. Locks are
//! never removed; a lock that is held means a process that lives.
//!
//! Another user can make that folder first. So a gateway takes the lock in every place where it can be had: also in
//! `/run/user/<uid>`, if the system has one for this user, and as an abstract socket on Linux. One place is enough to
//! start. A gateway that finds the lock of this user held in any place does not start.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::ids::BotId;
use crate::state::gateway_status;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::lock::{self, FileLock, LockError};
use crate::store::ownership::find_other_writer;
#[cfg(target_os = "linux")]
use crate::store::socket_lock::{SocketLock, SocketTaken};

/// `status` asks for the lock for a moment to see whether it is held; a starting gateway must not
/// take that for another gateway.
const PROBE_PATIENCE: Duration = Duration::from_millis(300);
/// How long a gateway may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Locks {
    pub(crate) gateway: FileLock,
    /// Those of its bots, in the order of their ids.
    pub(crate) bots: Vec<BotLock>,
}

/// The lock of one bot, in each place where it can be had.
#[derive(Debug)]
pub(crate) struct BotLock {
    bot: BotId,
    who: String,
    files: Vec<FileLock>,
    #[cfg(target_os = "linux")]
    socket: Option<SocketLock>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SingletonError {
    #[error("a gateway already runs for this state folder: {holder} ({}); use `{take_over}` to take over, or `telepost gateway stop` to stop it", path.display())]
    SameState {
        holder: String,
        path: PathBuf,
        /// The command that takes over, in the form that was typed.
        take_over: &'static str,
    },
    #[error("bot {bot} is already polled by {holder} ({}); stop that one first, or give this configuration a bot of its own", path.display())]
    SameBot {
        bot: BotId,
        holder: String,
        path: PathBuf,
    },
    #[error("the folder {} cannot be trusted with locks: {why}", path.display())]
    Folder { path: PathBuf, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the gateway (pid {pid}) did not stop within {} seconds; `kill -9 {pid}` is safe and loses nothing", STOP_WITHIN.as_secs())]
    WillNotStop { pid: u32 },
    #[error(
        "a gateway is running ({0}) but has not recorded its process id yet; try again in a second"
    )]
    Unknown(String),
}

impl Locks {
    /// Takes all locks, or none and says who has one.
    pub(crate) fn take(
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
        let bots = bots
            .iter()
            .map(|&bot| BotLock::take(bot, &who))
            .collect::<Result<_, _>>()?;
        Ok(Self { gateway, bots })
    }
}

impl BotLock {
    fn take(bot: BotId, who: &str) -> Result<Self, SingletonError> {
        let mut lock = Self {
            bot,
            who: who.to_owned(),
            files: Vec::new(),
            #[cfg(target_os = "linux")]
            socket: None,
        };
        lock.take_missing()?;
        Ok(lock)
    }

    /// Takes the lock in the places where this process does not have it. Fails if another process of this user has
    /// it in any of them, or if no place is left.
    fn take_missing(&mut self) -> Result<(), SingletonError> {
        let mut fault = None;
        for folder in lock_folders() {
            let path = match folder {
                Ok(folder) => folder.join(format!("bot-{}.lock", self.bot)),
                Err(error) => {
                    fault.get_or_insert(error);
                    continue;
                }
            };
            if self.files.iter().any(|lock| lock.path() == path) {
                continue;
            }
            match FileLock::try_take(&path, &self.who) {
                Ok(lock) => self.files.push(lock),
                Err(LockError::Held { path, holder }) => {
                    let bot = self.bot;
                    return Err(SingletonError::SameBot { bot, holder, path });
                }
                Err(LockError::Store(error)) => {
                    fault.get_or_insert(error.into());
                }
            }
        }
        let has_socket = self.take_socket()?;
        match fault {
            Some(fault) if self.files.is_empty() && !has_socket => Err(fault),
            _ => Ok(()),
        }
    }

    #[cfg(target_os = "linux")]
    fn take_socket(&mut self) -> Result<bool, SingletonError> {
        if self.socket.is_none() {
            let me = rustix::process::getuid().as_raw();
            let name = format!("telepost-{me}-bot-{}", self.bot);
            match SocketLock::try_take(&name) {
                Ok(socket) => self.socket = Some(socket),
                Err(SocketTaken::Held) => {
                    return Err(SingletonError::SameBot {
                        bot: self.bot,
                        holder: "another gateway of yours".to_owned(),
                        path: PathBuf::from(format!("@{name}")),
                    });
                }
                Err(SocketTaken::Unusable(error)) => {
                    tracing::debug!(%error, name, "the abstract socket cannot serve as a lock");
                }
            }
        }
        Ok(self.socket.is_some())
    }

    #[cfg(not(target_os = "linux"))]
    fn take_socket(&mut self) -> Result<bool, SingletonError> {
        Ok(false)
    }

    /// Makes sure that the lock files are still those that are locked. A cleaner of temporary folders
    /// may have removed one: then a new one is locked, unless another process was faster.
    pub(crate) fn confirm(&mut self) -> Result<(), SingletonError> {
        let before = self.files.len();
        self.files.retain(FileLock::still_there);
        if self.files.len() < before {
            tracing::warn!(
                bot_id = self.bot.0,
                "the bot's lock file was removed; locking a new one"
            );
        }
        self.take_missing()
    }

    /// Marks the lock files as used.
    pub(crate) fn touch(&self, now: Timestamp) {
        for lock in &self.files {
            if let Err(error) = lock.touch(now) {
                tracing::debug!(%error, "cannot touch the bot's lock file");
            }
        }
    }
}

/// The folders of the bot locks of this user, made if they are missing and checked if they are there.
fn lock_folders() -> Vec<Result<PathBuf, SingletonError>> {
    let me = rustix::process::getuid().as_raw();
    let mut folders = vec![prepare_folder(PathBuf::from(format!(
        "/var/tmp/telepost-{me}"
    )))];
    let run = PathBuf::from(format!("/run/user/{me}"));
    let is_own =
        |metadata: &fs::Metadata| metadata.is_dir() && find_other_writer(metadata).is_none();
    if fs::symlink_metadata(&run).is_ok_and(|metadata| is_own(&metadata)) {
        folders.push(prepare_folder(run.join("telepost")));
    }
    folders
}

fn prepare_folder(path: PathBuf) -> Result<PathBuf, SingletonError> {
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::new("create the folder", &path, source).into());
        }
        _ => {}
    }
    let metadata =
        fs::symlink_metadata(&path).map_err(|source| StoreError::new("read", &path, source))?;
    let why = if metadata.is_dir() {
        let other = find_other_writer(&metadata).map(|other| other.explain(&path));
        other.map(|(why, remedy)| format!("{why}; {remedy}"))
    } else {
        Some("it is not a folder (a symlink or a file is in its place); remove that".to_owned())
    };
    match why {
        Some(why) => Err(SingletonError::Folder { path, why }),
        None => Ok(path),
    }
}

/// The state folder of a gateway that runs with this configuration, from the notes in the locks of its bots.
pub(crate) fn find_state_of(config: &Path) -> Option<PathBuf> {
    let note = format!(", configuration {}, state ", config.display());
    let folders = lock_folders().into_iter().flatten();
    let locks = folders.filter_map(|folder| fs::read_dir(folder).ok());
    let mut locks = locks.flatten().flatten().map(|entry| entry.path());
    locks.find_map(|lock| {
        let holder = lock::read_holder(&lock);
        let (_, state) = holder.split_once(&note)?;
        let is_held = lock::is_held(&lock).unwrap_or(false);
        is_held.then(|| PathBuf::from(state))
    })
}

/// Stops the running gateway and waits until it has let go of its lock. `false` if none runs.
pub(crate) async fn stop(state: &StateDir, clock: &Clock) -> Result<bool, SingletonError> {
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
