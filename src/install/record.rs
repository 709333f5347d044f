//! What an installation remembers, in one file beside those that it has changed: which were there before
//! and where their content from then is kept. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::format::FORMAT;

/// The record of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this file.
    pub format: u32,
    /// The files that telepost has changed, by path.
    pub files: BTreeMap<PathBuf, Kept>,
    /// The folders that telepost has made.
    pub folders: BTreeSet<PathBuf>,
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its content from before. `None`: there was no such file.
    pub backup: Option<Backup>,
    /// The sum of what telepost wrote.
    pub written: String,
    /// What telepost wrote is made of the content from before and of nothing else.
    pub exact: bool,
}

/// A copy of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Its sum. A copy that somebody has changed is no copy.
    pub sum: String,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            format: FORMAT,
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
        }
    }
}

/// The SHA-256 of a content, in hexadecimal.
pub fn sum(content: &str) -> String {
    format!("{:x}", Sha256::digest(content.as_bytes()))
}
