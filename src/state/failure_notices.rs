//! `told.json`: the failed deliveries of a session that an agent was told of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::outbox::DeliveryId;
use crate::store::{ReadError, StateFile, Step, StoreError};

#[derive(Debug, Default, Serialize, Deserialize)]
struct ToldFile {
    told: BTreeSet<DeliveryId>,
}

/// Reads the failures that an agent was told of. A damaged file counts as missing: they are told once more.
pub fn read_told(dir: &SessionDir, now: Timestamp) -> Result<BTreeSet<DeliveryId>, ReadError> {
    Ok(file(dir).read_or_missing(now)?.unwrap_or_default().told)
}

/// Records the failures that an agent was told of. The caller holds the session lock.
pub fn record_told(dir: &SessionDir, told: BTreeSet<DeliveryId>) -> Result<(), StoreError> {
    file(dir).write(&ToldFile { told })
}

fn file(dir: &SessionDir) -> StateFile<ToldFile> {
    dir.storage().file(dir.told(), Step::Told)
}
