//! `told.json`: the failed deliveries that the agents of a session were told of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::layout::SessionDir;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::StoreError;
use crate::store::crash_points::Step;
use crate::store::state_file::{ReadError, StateFile};

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FailureNotices {
    /// The failures that were told.
    pub told: BTreeSet<DeliveryId>,
}

impl FailureNotices {
    /// Reads the file. A damaged one counts as missing: the failures are told once more.
    pub fn read(dir: &SessionDir, now: Timestamp) -> Result<Self, ReadError> {
        Ok(Self::file(dir).read_or_missing(now)?.unwrap_or_default())
    }

    /// Writes the file, durably. The caller holds the session lock.
    pub fn write(&self, dir: &SessionDir) -> Result<(), StoreError> {
        Self::file(dir).write(self)
    }

    fn file(dir: &SessionDir) -> StateFile<Self> {
        dir.storage().file(dir.told(), Step::Told)
    }
}
