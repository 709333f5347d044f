//! The functions that read and write files before [`super::state_file`] existed, over it. They go once no
//! caller is left.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::atomic::{self, Durability};
use super::crash_points::Step;
pub use super::envelope::{FORMAT, Unparsable, encode, parse};
pub use super::state_file::ReadError;
use super::state_file::Storage;
use crate::clock::Timestamp;

/// Reads a file. `None` if there is none.
pub fn read<T: DeserializeOwned>(
    state: &impl AsRef<Storage>,
    path: &Path,
    now: Timestamp,
) -> Result<Option<T>, ReadError> {
    let file = state.as_ref().file(path.to_owned(), Step::Quarantine);
    file.read(now)
}

/// Reads a file if it can be read now.
pub fn peek<T: DeserializeOwned>(path: &Path) -> Option<T> {
    parse(&std::fs::read(path).ok()?).ok()
}

/// Moves a file (or a folder that stands in its place) to the quarantine.
pub fn quarantine(
    state: &impl AsRef<Storage>,
    path: &Path,
    reason: String,
    now: Timestamp,
) -> Result<ReadError, StoreError> {
    state.as_ref().quarantine(path, reason, now)
}

/// Writes a value as a file.
pub fn write<T: Serialize>(
    path: &Path,
    value: &T,
    step: Step,
    durability: Durability,
) -> Result<(), StoreError> {
    atomic::replace_file(path, &encode(path, value)?, step, durability)
}
