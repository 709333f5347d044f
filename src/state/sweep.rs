//! Removes files that are past their time: leftovers of killed writers, old tombstones, results and files of
//! messages.

use crate::clock::Timestamp;
use crate::state::files::Files;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::logs;
use crate::state::outbox::Outbox;
use crate::store::{StoreError, atomic};

/// Sweeps the whole state folder. `file_time` is the time of the file system's clock, with which leftovers
/// are compared; `now` is the time of the entries.
pub fn sweep(state: &StateDir, now: Timestamp, file_time: Timestamp) -> Result<(), StoreError> {
    for id in state.all_sessions()? {
        let dir = state.session(&id);
        for folder in [
            dir.inbox(),
            dir.context(),
            dir.positions(),
            dir.conversations(),
            dir.agents(),
            dir.wakes(),
            dir.turns(),
            dir.outbox(),
            dir.sent(),
            dir.failed(),
            dir.drops(),
        ] {
            atomic::remove_leftovers(&folder, file_time);
        }
        Inbox::new(&dir).sweep(now)?;
        Files::new(&dir).sweep(now)?;
        Outbox::new(state, dir).sweep(now)?;
    }
    atomic::remove_leftovers(state.root(), file_time);
    logs::make_private(state)
}
