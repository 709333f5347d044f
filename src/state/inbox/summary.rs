//! How many entries wait, without a look at each: the count of a large inbox is kept in `counts.json`, together
//! with the moment at which the file system last changed the folder. A folder that was changed since is counted
//! again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Inbox;
use super::entry::EntryName;
use crate::clock::{Clock, Timestamp};
use crate::state::SessionDir;
use crate::store::{Durability, StateFile, Step, StoreError};

/// A smaller inbox is counted each time.
const KEPT_FROM: usize = 500;
/// A change at the very moment of a count may leave the folder's time as it is, so only the count of a folder that
/// has rested for this long is kept.
const RESTS_FOR: Duration = Duration::from_secs(2);

/// How many entries wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxSummary {
    /// How many.
    pub count: usize,
    /// When the oldest came.
    pub oldest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CountFile {
    folder: FolderStamp,
    summary: InboxSummary,
}

/// The identity of a folder and the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FolderStamp {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Inbox {
    /// How many entries wait.
    pub fn summarize(&self, dir: &SessionDir) -> Result<InboxSummary, StoreError> {
        let stamp = read_stamp(&dir.inbox());
        if let Some((stamp, _)) = stamp
            && let Some(kept) = file(dir).peek()
            && kept.folder == stamp
        {
            return Ok(kept.summary);
        }
        let names = self.pending()?;
        let summary = InboxSummary {
            count: names.len(),
            oldest: names.first().map(|name| name.received_at()),
        };
        if let Some((folder, has_rested)) = stamp
            && has_rested
            && summary.count >= KEPT_FROM
        {
            // Without the file the next count is as slow as this one.
            drop(file(dir).write(&CountFile { folder, summary }));
        }
        Ok(summary)
    }

    /// Whether an entry waits.
    pub fn is_pending(&self, name: EntryName) -> bool {
        self.pending_file(name).path().exists()
    }
}

fn file(dir: &SessionDir) -> StateFile<CountFile> {
    let file = dir.storage().file(dir.counts(), Step::Presence);
    file.with(Durability::Unsynced)
}

/// The stamp of a folder, and whether it has rested.
fn read_stamp(folder: &Path) -> Option<(FolderStamp, bool)> {
    let found = fs::metadata(folder).ok()?;
    // The times of files come from the system's clock, which no test shifts.
    let changed = Timestamp(found.mtime() * 1000 + found.mtime_nsec() / 1_000_000);
    let rested = Clock::system().now().since(changed);
    let stamp = FolderStamp {
        inode: found.ino(),
        seconds: found.mtime(),
        nanoseconds: found.mtime_nsec(),
    };
    Some((stamp, rested >= RESTS_FOR))
}
