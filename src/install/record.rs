//! The record of an installation, `telepost-install.json` in the client's folder. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InstallRecord {
    /// The files that telepost has changed.
    pub(super) files: BTreeMap<PathBuf, FileRecord>,
    /// The folders that telepost has created.
    pub(super) folders: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    /// Its original content. `None`: there was no such file.
    pub(super) backup: Option<Backup>,
    /// The hash of the content that telepost wrote.
    pub(super) written: String,
    /// Whether telepost made that from the original content alone.
    pub(super) exact: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backup {
    pub(super) path: PathBuf,
    /// Its hash: a copy that was edited is not used.
    pub(super) sum: String,
}

impl FileRecord {
    pub(super) fn has_written(&self, text: &str) -> bool {
        self.written == hash_text(text)
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(super) fn hash_text(text: &str) -> String {
    format!("{:x}", Sha256::digest(text.as_bytes()))
}
