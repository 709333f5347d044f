//! Versioned JSON files: a newer version is refused and kept, an unreadable file goes to
//! `quarantine/` with its bytes and is reported. Neither is ever treated as absent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::atomic::{self, Durability};
use crate::clock::Timestamp;
use crate::state::layout::StateDir;
use crate::store::crash_points::Step;

/// The version that this program writes, the same for every kind of file until one changes.
pub const FORMAT: u32 = 1;

/// A file could not be read as what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Written by a newer telepost; left as it is.
    #[error("{} has format {found}, but this telepost reads only up to {FORMAT}: update telepost (the file is left as it is)", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not what it should be; its bytes are in `quarantine/` now.
    #[error("{} was unreadable ({reason}); its bytes are kept in {}", path.display(), kept.display())]
    Quarantined {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        kept: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Reads a file. `None` if there is none.
pub fn read<T: DeserializeOwned>(
    state: &StateDir,
    path: &Path,
    now: Timestamp,
) -> Result<Option<T>, ReadError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Err(quarantine(state, path, "it is a folder".to_owned(), now)?);
        }
        Err(source) => return Err(StoreError::new("read", path, source).into()),
    };
    match parse(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(Unparsable::Newer(found)) => Err(ReadError::Newer {
            path: path.to_owned(),
            found,
        }),
        // Somebody may have replaced it meanwhile: a good file must not be moved away for a bad one.
        Err(Unparsable::Damaged(_)) if fs::read(path).is_ok_and(|again| again != bytes) => {
            read(state, path, now)
        }
        Err(Unparsable::Damaged(reason)) => Err(quarantine(state, path, reason, now)?),
    }
}

/// Reads a file that somebody else looks after: `None` where there is none that can be read. Nothing
/// is moved or reported, so only for what costs nothing when it is missing.
pub fn peek<T: DeserializeOwned>(path: &Path) -> Option<T> {
    parse(&fs::read(path).ok()?).ok()
}

/// Why bytes are no file of ours.
#[derive(Debug)]
pub enum Unparsable {
    /// Of a newer version.
    Newer(u32),
    /// Not what they should be, and why.
    Damaged(String),
}

/// The value that bytes stand for.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unparsable> {
    if bytes.is_empty() {
        return Err(Unparsable::Damaged("it is empty".to_owned()));
    }
    // The version is read first: a newer file may have a shape that this program cannot know.
    match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { format }) if format > FORMAT => return Err(Unparsable::Newer(format)),
        Ok(_) => {}
        Err(error) => return Err(Unparsable::Damaged(error.to_string())),
    }
    serde_json::from_slice(bytes).map_err(|error| Unparsable::Damaged(error.to_string()))
}

/// Moves a file (or a folder that stands in its place) to `quarantine/`.
pub fn quarantine(
    state: &StateDir,
    path: &Path,
    reason: String,
    now: Timestamp,
) -> Result<ReadError, StoreError> {
    let folder = state.quarantine();
    atomic::create_folder(&folder)?;
    let relative = path.strip_prefix(state.root()).unwrap_or(path);
    let flat: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let kept = folder.join(format!("{:013}-{}", now.0, flat.join("_")));
    atomic::rename(path, &kept, Step::Quarantine)?;
    atomic::sync_folder(&folder)?;
    tracing::error!(path = %path.display(), kept = %kept.display(), reason, "unreadable file moved to quarantine");
    Ok(ReadError::Quarantined {
        path: path.to_owned(),
        kept,
        reason,
    })
}

/// Writes a value as a file.
pub fn write<T: Serialize>(
    path: &Path,
    value: &T,
    step: Step,
    durability: Durability,
) -> Result<(), StoreError> {
    atomic::replace(path, &encode(path, value)?, step, durability)
}

/// A value as the bytes of a file.
pub fn encode<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::new("encode", path, error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        format: u32,
        n: u8,
    }

    fn state() -> (tempfile::TempDir, StateDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let path = folder.path().join("sample.json");
        (folder, state, path)
    }

    fn put(path: &Path, bytes: &[u8]) {
        atomic::replace(path, bytes, Step::Presence, Durability::Unsynced).unwrap();
    }

    #[test]
    fn what_was_written_is_read() {
        let (_folder, state, path) = state();
        let sample = Sample {
            format: FORMAT,
            n: 7,
        };
        write(&path, &sample, Step::Presence, Durability::Synced).unwrap();
        assert_eq!(read(&state, &path, Timestamp(1)).unwrap(), Some(sample));
    }

    #[test]
    fn a_missing_file_is_none() {
        let (_folder, state, path) = state();
        assert_eq!(read::<Sample>(&state, &path, Timestamp(1)).unwrap(), None);
    }

    #[test]
    fn damage_of_every_kind_is_quarantined_with_its_bytes() {
        for bytes in [
            &b""[..],
            b"{\"format\":1,\"n\":",
            b"[]",
            b"{\"format\":1,\"n\":\"x\"}",
            b"{\"n\":1}",
            b"\xff\xfe",
        ] {
            let (_folder, state, path) = state();
            put(&path, bytes);
            let error = read::<Sample>(&state, &path, Timestamp(1)).unwrap_err();
            let ReadError::Quarantined { kept, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(fs::read(kept).unwrap(), bytes);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let (_folder, state, path) = state();
        put(&path, b"{\"format\":2,\"other\":true}");
        let error = read::<Sample>(&state, &path, Timestamp(1)).unwrap_err();
        assert!(
            matches!(error, ReadError::Newer { found: 2, .. }),
            "{error}"
        );
        assert!(path.exists());
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_quarantined() {
        let (_folder, state, path) = state();
        atomic::create_folder(&path).unwrap();
        let error = read::<Sample>(&state, &path, Timestamp(1)).unwrap_err();
        assert!(matches!(error, ReadError::Quarantined { .. }), "{error}");
    }
}
