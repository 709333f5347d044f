//! Noticing that something changed in a folder: `notify`, with a rescan as the safety net.
//!
//! A lost notification costs time, never a message: whoever waits looks again after
//! [`RESCAN`], or [`RESCAN_UNWATCHED`] where watching is not possible (inotify limits, NFS).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{EventKindMask, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::atomic;
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
        Self::filtered(folders, clock, |_| true)
    }

    /// The same, for those events only for which `counts` says so.
    fn filtered(
        folders: &[PathBuf],
        clock: &Clock,
        counts: impl Fn(&notify::Event) -> bool + Send + 'static,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = match watcher(&changed, counts) {
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

/// What a change of a name is to the watcher of a [`NameWatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing.
    None,
    /// This one is to be looked at.
    Name,
    /// Everything is to be looked at again.
    All,
}

/// What has changed since it was asked last.
#[derive(Debug, Default)]
pub struct News {
    /// These names.
    pub names: BTreeSet<PathBuf>,
    /// More than could be told by name.
    pub all: bool,
}

/// Most names that are remembered between two looks.
const NAMES_MAX: usize = 1024;

/// Watches folders, and remembers which of their names have changed: who keeps thousands of files
/// there need not look through all of them each time.
pub struct NameWatch {
    watch: FolderWatch,
    news: Arc<Mutex<News>>,
}

impl NameWatch {
    /// Begins to watch. `interest` is asked for each path that has changed, and whether it is gone.
    pub fn new(
        folders: &[PathBuf],
        clock: &Clock,
        interest: impl Fn(&Path, bool) -> Interest + Send + 'static,
    ) -> Self {
        let news = Arc::new(Mutex::new(News::default()));
        let noted = Arc::clone(&news);
        let counts = move |event: &notify::Event| {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut noted, event, &interest)
        };
        Self {
            watch: FolderWatch::filtered(folders, clock, counts),
            news,
        }
    }

    /// Takes what has changed since the last time. Where folders cannot be watched, that is all.
    pub fn news(&self) -> News {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = std::mem::take(&mut *news);
        news.all |= !self.watch.is_live();
        news
    }

    /// Waits for something of interest; where watching is not possible, for the time to look again.
    pub async fn changed(&self) {
        self.watch.changed().await;
    }
}

/// Notes what an event tells; `false` if that is of no interest.
fn note(
    news: &mut News,
    event: &notify::Event,
    interest: &impl Fn(&Path, bool) -> Interest,
) -> bool {
    let gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
    );
    // A move within the folder names the old path first.
    let moved = event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both));
    let mut counts = event.need_rescan();
    news.all |= counts;
    for path in event.paths.iter().skip(usize::from(moved)) {
        match interest(path, gone) {
            Interest::None => continue,
            Interest::Name if news.names.len() < NAMES_MAX => {
                news.names.insert(path.clone());
            }
            Interest::Name | Interest::All => news.all = true,
        }
        counts = true;
    }
    counts
}

fn watcher(
    changed: &Arc<Notify>,
    counts: impl Fn(&notify::Event) -> bool + Send + 'static,
) -> notify::Result<notify::RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let told = move |event: notify::Result<notify::Event>| {
        // A temporary file is nothing yet; its new name is a change of its own. An error is a reason to
        // look.
        let counts = |event: &notify::Event| !is_unfinished(&event.paths) && counts(event);
        if event.is_ok_and(|event| !counts(&event)) {
            return;
        }
        changed.notify_one();
    };
    // Names only: reading a folder must not look like a change of it, or the watch would wake itself,
    // and each event costs a trip through the thread that watches.
    let names = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
    notify::RecommendedWatcher::new(told, notify::Config::default().with_event_kinds(names))
}

/// Whether only temporary files have changed.
fn is_unfinished(paths: &[PathBuf]) -> bool {
    let temporary = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| atomic::is_temporary(&name.to_string_lossy()))
    };
    !paths.is_empty() && paths.iter().all(temporary)
}

fn unwatched(error: &notify::Error) {
    tracing::warn!(%error, "folders cannot be watched; looking four times a second while something waits");
}
