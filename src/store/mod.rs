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
#[error("cannot {operation} {}{}", path.display(), remedy(source))]
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

fn remedy(error: &io::Error) -> &'static str {
    if is_full(error) {
        " (disk full: make room, nothing is lost meanwhile)"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        " (check who owns it: a run with sudo may have left root's files)"
    } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        " (the file system is read-only)"
    } else {
        ""
    }
}
