//! How a file becomes durable. Every write to disk goes through here.
//!
//! [`state_file`] is the face of this layer: a file with its path, its crash point and its durability, over
//! a [`disk`]. [`atomic`] replaces one file, [`staging`] fills whole folders, [`envelope`] has the version,
//! [`lock`] excludes other processes, [`ownership`] finds other users who can write, [`watch`] notices changes, and [`crash_points`] names the durable
//! steps. This layer does not know the content of the files.

pub mod atomic;
pub mod crash_points;
pub mod disk;
pub mod envelope;
pub mod lock;
pub mod ownership;
#[cfg(feature = "test-hooks")]
mod power;
#[cfg(target_os = "linux")]
pub mod socket_lock;
pub mod staging;
pub mod state_file;
pub mod watch;

use std::io;
use std::path::{Path, PathBuf};

pub use self::atomic::Durability;
pub use self::crash_points::{Side, Step, mark_step};
pub use self::disk::{Disk, HeldLock, PreparedFile};
pub use self::lock::{FileLock, LockError};
pub use self::state_file::{Inspection, ReadError, StateFile, StateFolder};

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}{remedy}", path.display())]
pub struct StoreError {
    operation: &'static str,
    path: PathBuf,
    remedy: String,
    #[source]
    source: io::Error,
}

impl StoreError {
    /// Names the operation, the file and, where it is known, the remedy.
    pub fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            operation,
            path: path.to_owned(),
            remedy: find_remedy(path, &source),
            source,
        }
    }

    /// Whether the disk or the quota is full, which ends when room is made.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Whether the file or folder is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether a folder stands in the place of a file.
    pub fn is_folder(&self) -> bool {
        self.source.kind() == io::ErrorKind::IsADirectory
    }
}

/// An operation on the state folder failed, for one of the causes that every such operation has.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process has the lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn find_remedy(path: &Path, error: &io::Error) -> String {
    if is_full(error) {
        " (disk full: free some space, nothing is lost meanwhile)".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        describe_other_owner(path).unwrap_or_else(|| {
            " (check who owns it: a run with sudo may have left root's files)".to_owned()
        })
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        " (the file system is read-only)".to_owned()
    } else if let Some(file) = find_blocking_file(path, error) {
        format!(
            " ({} is a file, not a folder: move it away, or name another place)",
            file.display()
        )
    } else if error.kind() == io::ErrorKind::IsADirectory {
        " (a folder is in its place: move that away)".to_owned()
    } else {
        String::new()
    }
}

/// Finds the file that stands where a folder is needed.
fn find_blocking_file(path: &Path, error: &io::Error) -> Option<PathBuf> {
    use io::ErrorKind::{AlreadyExists, NotADirectory};
    let is_meant = matches!(error.kind(), AlreadyExists | NotADirectory);
    let mut places = path.ancestors().filter(|_| is_meant);
    let nearest = places.find_map(|place| Some((place, std::fs::metadata(place).ok()?)));
    let (place, metadata) = nearest?;
    (!metadata.is_dir()).then(|| place.to_owned())
}

/// Names the other user who owns a file, or the folder for it, and the remedy.
fn describe_other_owner(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::getuid().as_raw();
    let places = [Some(path), path.parent()].into_iter().flatten();
    let (place, metadata) = places
        .filter_map(|place| Some((place, std::fs::symlink_metadata(place).ok()?)))
        .find(|(_, metadata)| metadata.uid() != me)?;
    let owner = name_user(metadata.uid());
    // A folder may belong to root for a good reason, so no command is proposed.
    Some(if metadata.is_file() {
        format!(
            " (it belongs to {owner} and you are user {me}: run `sudo chown {me} {}`)",
            place.display()
        )
    } else {
        format!(
            " ({} belongs to {owner} and you are user {me})",
            place.display()
        )
    })
}

fn name_user(owner: u32) -> String {
    if owner == 0 {
        "root (after a run with sudo?)".to_owned()
    } else {
        format!("user {owner}")
    }
}
