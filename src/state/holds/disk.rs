//! Reads conversations across holders.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::state::holds::Conversation;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::store::atomic;
use crate::store::format::{self, ReadError};

/// The entries of a session that agents have seen and not answered. A damaged conversation counts as missing.
pub fn held_entries(
    state: &StateDir,
    dir: &SessionDir,
    now: Timestamp,
) -> Result<BTreeSet<EntryName>, ReadError> {
    let mut held = BTreeSet::new();
    for name in atomic::list(&dir.conversations())? {
        match format::read::<Conversation>(state, &dir.conversations().join(name), now) {
            Ok(Some(conversation)) => held.extend(conversation.entries()),
            Ok(None) | Err(ReadError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}
