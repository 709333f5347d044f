//! Noticing that something changed in a folder: `notify`, with a rescan as the safety net.
//!
//! A lost notification costs time, never a message: whoever waits looks again after
//! [`RESCAN`], or [`RESCAN_UNWATCHED`] where watching is not possible (inotify limits, NFS).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::clock::Clock;

/// How often a waiting call looks again although it was told nothing.
pub const RESCAN: Duration = Duration::from_secs(1);
/// How often a waiting call looks again where folders cannot be watched.
pub const RESCAN_UNWATCHED: Duration = Duration::from_millis(250);

/// Watches folders.
pub struct FolderWatch {
    watcher: Option<notify::RecommendedWatcher>,
    changed: Arc<Notify>,
    clock: Clock,
}

impl FolderWatch {
    /// Begins to watch. Where that is not possible it is said once in the log, and [`Self::changed`]
    /// falls back to looking often.
    pub fn new(folders: &[PathBuf], clock: &Clock) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = match watcher(&changed) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                unwatched(&error);
                None
            }
        };
        let mut watch = Self {
            watcher,
            changed,
            clock: clock.clone(),
        };
        for folder in folders {
            watch.add(folder);
        }
        watch
    }

    /// Watches one more folder.
    pub fn add(&mut self, folder: &Path) {
        if let Some(watcher) = &mut self.watcher
            && let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
        {
            unwatched(&error);
            self.watcher = None;
        }
    }

    /// Whether changes are really told.
    pub fn is_live(&self) -> bool {
        self.watcher.is_some()
    }

    /// Waits for a change, or for the time at which a waiting call looks again anyway.
    pub async fn changed_or_rescan(&self) {
        let span = if self.is_live() {
            RESCAN
        } else {
            RESCAN_UNWATCHED
        };
        tokio::select! {
            // Both arms are cancel-safe: a missed permit only means one more look.
            () = self.changed.notified() => {}
            () = self.clock.sleep(span) => {}
        }
    }

    /// Waits for a change only; where watching is not possible, for the time to look again.
    pub async fn changed(&self) {
        if self.is_live() {
            self.changed.notified().await;
        } else {
            self.changed_or_rescan().await;
        }
    }
}

fn watcher(changed: &Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let changed = Arc::clone(changed);
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a folder must not look like a change of it, or the watch would wake itself.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        changed.notify_one();
    })
}

fn unwatched(error: &notify::Error) {
    tracing::warn!(%error, "folders cannot be watched; looking four times a second while something waits");
}
