//! `logs/`: the logs of the gateway, a file per day, and the output of a gateway in the background.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::state::StateDir;
use crate::store::{StoreError, atomic};

/// The folder of the logs.
pub fn folder(state: &StateDir) -> PathBuf {
    state.logs()
}

/// The folder of the logs, created if it is missing.
pub fn create_folder(state: &StateDir) -> Result<PathBuf, StoreError> {
    let folder = state.logs();
    atomic::create_folder(&folder)?;
    Ok(folder)
}

/// Opens the file for stdout and stderr of a gateway in the background: a panic or a message of the
/// runtime would be lost otherwise.
pub fn open_output(state: &StateDir) -> Result<File, StoreError> {
    let path = create_folder(state)?.join("gateway.output");
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| StoreError::new("open", &path, source))
}

/// Makes the files private: the writer of the log sets no modes.
pub fn make_private(state: &StateDir) -> Result<(), StoreError> {
    for name in atomic::list_names(&state.logs())? {
        atomic::make_private(&state.logs().join(name))?;
    }
    Ok(())
}
