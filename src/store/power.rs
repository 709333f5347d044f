//! A loss of power, for tests: what was not synced is gone.
//!
//! Exists in builds with `test-hooks` only. With `TELEPOST_POWER_LOSS` set, every change of a name
//! is remembered until its folder is synced, and every file until it is synced itself; at a crash
//! point they are taken back, newest first, before the process aborts. A kill alone keeps
//! everything that the kernel has heard of, so without this no test would notice a missing sync.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A change that would not survive.
#[derive(Debug)]
enum Change {
    /// A file got a name; what had the name before.
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
static CHANGES: Mutex<Vec<Change>> = Mutex::new(Vec::new());
static UNSYNCED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn remember(change: impl FnOnce() -> Change) {
    if *ON {
        CHANGES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(change());
    }
}

/// A file is about to get its name. `synced` says whether its bytes are safe.
pub(super) fn naming(path: &Path, synced: bool) {
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

/// A file is about to move.
pub(super) fn moving(from: &Path, to: &Path) {
    if from.exists() {
        remember(|| Change::Moved {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }
}

/// A file is about to be removed.
pub(super) fn removing(path: &Path) {
    if let Ok(content) = fs::read(path) {
        remember(|| Change::Removed {
            path: path.to_owned(),
            content,
        });
    }
}

/// A folder was synced: the names in it are safe.
pub(super) fn synced(folder: &Path) {
    let in_folder = |path: &Path| path.parent() == Some(folder);
    CHANGES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|change| match change {
            Change::Named { path, .. } | Change::Removed { path, .. } => !in_folder(path),
            // One journal holds both ends of a move.
            Change::Moved { from, to } => !in_folder(from) && !in_folder(to),
        });
}

/// The power goes.
#[expect(clippy::disallowed_methods, reason = "takes back, durably or not")]
pub(super) fn lose() {
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
    for change in changes.into_iter().rev() {
        // Another process may have gone on from there; then there is nothing to take back.
        drop(undo(change));
    }
}
