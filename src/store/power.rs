//! A loss of power, for tests: unsynced changes are gone.
//!
//! Exists in builds with `test-hooks` only. With `TELEPOST_POWER_LOSS` set, every change of a name
//! is remembered until its folder is synced, and every file until it is synced itself; at a crash
//! point they are taken back, newest first, before the process aborts. A kill alone keeps
//! everything that the kernel has heard of, so without this no test would notice a missing sync.
//!
//! All processes of a test have the variable, so that a folder that another one has synced meanwhile
//! (a file `.synced` in it says when) is safe, as it would be.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use super::lock::FileLock;

/// A change that would not survive, and when it was made.
#[derive(Debug)]
struct Unsafe {
    at: u128,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// A file got a name that may have had another file before.
    Named {
        path: PathBuf,
        before: Option<Vec<u8>>,
    },
    /// A file moved.
    Moved { from: PathBuf, to: PathBuf },
    /// A file was removed.
    Removed { path: PathBuf, content: Vec<u8> },
}

static ON: LazyLock<bool> = LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "exists in test builds only")]
    std::env::var_os("TELEPOST_POWER_LOSS").is_some()
});
static CHANGES: Mutex<Vec<Unsafe>> = Mutex::new(Vec::new());
static UNSYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn remember(change: impl FnOnce() -> Change) {
    if *ON {
        CHANGES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Unsafe {
                at: monotonic_now(),
                change: change(),
            });
    }
}

/// A file is about to get its name. `synced` says whether its bytes are safe.
pub(super) fn remember_naming(path: &Path, synced: bool) {
    remember(|| Change::Named {
        path: path.to_owned(),
        before: fs::read(path).ok(),
    });
    if *ON {
        let mut unsynced = UNSYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced.retain(|other| other != path);
        if !synced {
            unsynced.push(path.to_owned());
        }
    }
}

pub(super) fn remember_move(from: &Path, to: &Path) {
    if from.exists() {
        remember(|| Change::Moved {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }
}

pub(super) fn remember_removal(path: &Path) {
    if let Ok(content) = fs::read(path) {
        remember(|| Change::Removed {
            path: path.to_owned(),
            content,
        });
    }
}

/// A folder was synced: the names in it are safe.
#[expect(
    clippy::disallowed_methods,
    reason = "a note for the other processes of a test"
)]
pub(super) fn note_synced(folder: &Path) {
    if *ON {
        CHANGES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|unsafe_| !unsafe_.change.is_in(folder));
        drop(fs::write(
            folder.join(".synced"),
            monotonic_now().to_string(),
        ));
    }
}

impl Change {
    /// One journal of the file system holds both ends of a move.
    fn folders(&self) -> Vec<&Path> {
        let paths = match self {
            Self::Named { path, .. } | Self::Removed { path, .. } => vec![path],
            Self::Moved { from, to } => vec![from, to],
        };
        paths.into_iter().filter_map(|path| path.parent()).collect()
    }

    fn is_in(&self, folder: &Path) -> bool {
        self.folders().contains(&folder)
    }
}

/// Keeps the calls of other processes out of the sessions concerned: a real loss of power takes every process
/// at once, so no call may have read a name and not yet synced it when that name is taken back. A server that
/// dies within its own call has the lock already and does not wait long for itself.
fn hold_calls(changes: &[Unsafe]) -> Vec<FileLock> {
    let sessions: BTreeSet<PathBuf> = changes
        .iter()
        .flat_map(|lost| lost.change.folders())
        .filter_map(|folder| Some(folder.parent()?.join("session.lock")))
        .filter(|lock| lock.exists())
        .collect();
    let patience = Duration::from_millis(300);
    let held = sessions
        .iter()
        .map(|lock| FileLock::take_within(lock, "a loss of power", patience));
    held.filter_map(Result::ok).collect()
}

/// Whether another process has synced the folder of a change since it was made.
fn is_safe(unsafe_: &Unsafe) -> bool {
    let noted = |folder: &Path| fs::read_to_string(folder.join(".synced")).ok();
    let since =
        |folder: &&Path| noted(folder).and_then(|at| at.parse::<u128>().ok()) > Some(unsafe_.at);
    unsafe_.change.folders().iter().any(since)
}

/// The monotonic clock, which all processes share.
fn monotonic_now() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u128::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000
        + u128::try_from(now.tv_nsec).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "takes back, durably or not")]
pub(super) fn lose_power() {
    let undo = |change: Change| -> io::Result<()> {
        match change {
            Change::Named {
                path,
                before: Some(before),
            } => fs::write(path, before),
            Change::Named { path, before: None } => fs::remove_file(path),
            Change::Moved { from, to } => fs::rename(to, from),
            Change::Removed { path, content } => fs::write(path, content),
        }
    };
    // Bytes that were never synced: the name is there, the file is empty.
    for path in UNSYNCED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
    {
        if path.exists()
            && path
                .extension()
                .is_some_and(|extension| extension == "json")
        {
            drop(fs::write(path, b""));
        }
    }
    let changes = std::mem::take(&mut *CHANGES.lock().unwrap_or_else(PoisonError::into_inner));
    let _calls = hold_calls(&changes);
    for lost in changes.into_iter().rev() {
        if !is_safe(&lost) {
            // Another process may have gone on from there; then there is nothing to take back.
            drop(undo(lost.change));
        }
    }
}
