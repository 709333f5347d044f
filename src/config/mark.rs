//! Whether a configuration has changed since a gateway read it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::file::read_file;

/// A configuration file as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMark {
    /// The file, absolute.
    pub path: PathBuf,
    stamp: Option<FileStamp>,
    /// The hash of its content.
    sum: Option<String>,
    /// Of the tokens beside it only size and time: their content belongs in no other file.
    tokens: Option<FileStamp>,
}

/// Size and time of the last change of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileStamp {
    size: u64,
    changed: (i64, i64),
}

/// The difference between a configuration and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// The content of the file, or its `.env`, is another one.
    Changed,
    /// There is no such file any more.
    Missing,
}

impl ConfigMark {
    /// The mark of this file as it is now.
    pub fn read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: read_stamp(path),
            sum: read_sum(path),
            tokens: read_stamp(&path.with_file_name(".env")),
        }
    }

    /// The difference to the file as it is now. The content is read only if the file was written since.
    pub fn find_change(&self) -> Option<ConfigChange> {
        let Some(stamp) = read_stamp(&self.path) else {
            return Some(ConfigChange::Missing);
        };
        let is_same = self.stamp == Some(stamp) || read_sum(&self.path) == self.sum;
        let has_tokens = read_stamp(&self.path.with_file_name(".env")) == self.tokens;
        (!is_same || !has_tokens).then_some(ConfigChange::Changed)
    }
}

fn read_stamp(path: &Path) -> Option<FileStamp> {
    let found = fs::metadata(path).ok()?;
    Some(FileStamp {
        size: found.len(),
        changed: (found.mtime(), found.mtime_nsec()),
    })
}

fn read_sum(path: &Path) -> Option<String> {
    let (bytes, _) = read_file(path).ok()?;
    Some(format!("{:x}", Sha256::digest(bytes)))
}
