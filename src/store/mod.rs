//! Every write to disk goes through here.
//!
//! Owns: how a file becomes durable ([`atomic`]), how processes exclude each other ([`lock`]), how
//! a file's version is checked and damage is kept ([`mod@format`]), where everything lies
//! ([`layout`]), how changes are noticed ([`watch`]), and the names of the durable steps
//! ([`steps`]). Must not know what is in the files.

pub mod atomic;
pub mod format;
pub mod layout;
pub mod lock;
#[cfg(feature = "test-hooks")]
mod power;
pub mod steps;
pub mod watch;

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}{}", path.display(), remedy(path, source))]
pub struct StoreError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl StoreError {
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            operation,
            path: path.to_owned(),
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
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn remedy(path: &Path, error: &io::Error) -> String {
    if is_full(error) {
        " (disk full: make room, nothing is lost meanwhile)".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        whose(path)
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        " (the file system is read-only)".to_owned()
    } else {
        String::new()
    }
}

/// Names the owner of the file, or of the first folder above it that is somebody else's.
fn whose(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::getuid().as_raw();
    for place in path.ancestors() {
        match std::fs::symlink_metadata(place) {
            Ok(metadata) if metadata.uid() != me => {
                let owner = match metadata.uid() {
                    0 => "root, perhaps after a run with sudo".to_owned(),
                    other => format!("user {other}"),
                };
                return format!(
                    " ({} belongs to {owner}; you are user {me})",
                    place.display()
                );
            }
            // It is ours, so its mode is what forbids.
            Ok(_) => return format!(" ({} does not allow it; see its mode)", place.display()),
            Err(_) => {}
        }
    }
    String::new()
}
