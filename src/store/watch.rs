//! Noticing that a name changed in a folder, with a rescan as the safety net.
//!
//! A lost notification costs time, never a message: a waiting caller looks again after [`RESCAN`], or
//! [`RESCAN_UNWATCHED`] where folders cannot be watched (inotify limits, NFS).
//!
//! Only changes of names count. Opening or reading a folder must not look like a change of it, or every
//! reader would wake every watcher.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
mod portable;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[cfg(target_os = "linux")]
use self::inotify::InotifyEvents as EventSource;
#[cfg(not(target_os = "linux"))]
use self::portable::CollectedEvents as EventSource;
use super::atomic;
use crate::clock::Clock;

/// How often a waiting call looks again without a notification.
pub const RESCAN: Duration = Duration::from_secs(1);
/// How often a waiting call looks again where folders cannot be watched.
pub const RESCAN_UNWATCHED: Duration = Duration::from_millis(250);

enum NameEvent<'a> {
    /// This name appeared or, if `gone`, disappeared.
    Name { path: &'a Path, gone: bool },
    /// More changed than the system can tell.
    Overflow,
}

/// The changes of names in one folder, for an owner that must not miss any.
pub struct NameChanges(EventSource);

impl NameChanges {
    /// The changes from now on. `None` where the system reports them late or not at all.
    pub fn of(folder: &Path) -> Option<Self> {
        let is_prompt = cfg!(target_os = "linux");
        let events = is_prompt.then(|| EventSource::new(&[folder.to_owned()]).ok());
        events.flatten().map(Self)
    }

    /// Hands out the paths that changed since the last time. `false` if there were more than the system can
    /// tell.
    pub fn take(&self, mut sink: impl FnMut(&Path)) -> bool {
        let mut is_complete = true;
        self.0.drain(&mut |event| match event {
            NameEvent::Name { path, .. } => sink(path),
            NameEvent::Overflow => is_complete = false,
        });
        is_complete
    }
}

impl fmt::Debug for NameChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameChanges")
    }
}

/// Watches folders for any change of names.
pub struct FolderWatch {
    events: Option<EventSource>,
    clock: Clock,
}

impl FolderWatch {
    /// Begins to watch. Where that is not possible the log says so once, and waiting falls back
    /// to frequent rescans.
    pub fn new(folders: &[PathBuf], clock: &Clock) -> Self {
        let events = match EventSource::new(folders) {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::warn!(%error, "folders cannot be watched; polling them four times a second while something is waiting");
                None
            }
        };
        Self {
            events,
            clock: clock.clone(),
        }
    }

    /// Whether the system reports changes.
    pub fn is_live(&self) -> bool {
        self.events.is_some()
    }

    /// Waits for a change, or for the time of the next rescan.
    pub async fn changed_or_rescan(&self) {
        let span = if self.is_live() {
            RESCAN
        } else {
            RESCAN_UNWATCHED
        };
        tokio::select! {
            // Both arms are cancel-safe: an event that was taken ends this wait in the same step.
            () = self.until(|| self.take_events(|_| true)) => {}
            () = self.clock.sleep(span) => {}
        }
    }

    /// Takes the events since the last time. Whether `counts` said yes to any of them.
    fn take_events(&self, mut counts: impl FnMut(&NameEvent<'_>) -> bool) -> bool {
        let mut any = false;
        if let Some(events) = &self.events {
            events.drain(&mut |event| {
                // A temporary file is nothing yet; its new name is a change of its own.
                if !event.is_temporary() && counts(&event) {
                    any = true;
                }
            });
        }
        any
    }

    /// Waits until `took`, asked once and then after each event, says yes.
    async fn until(&self, mut took: impl FnMut() -> bool + Send) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        events.until(&mut took).await;
    }
}

impl NameEvent<'_> {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Name { path, .. } => path
                .file_name()
                .map(OsStr::to_string_lossy)
                .is_some_and(|name| atomic::is_temporary(&name)),
            Self::Overflow => false,
        }
    }
}

/// How a changed name concerns the owner of a [`NameWatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It does not.
    None,
    /// The name is to be looked at.
    Name,
    /// Everything is to be looked at again.
    All,
}

/// The changes since the last call of [`NameWatch::news`].
#[derive(Debug, Default)]
pub struct News {
    /// These names.
    pub names: BTreeSet<PathBuf>,
    /// More than the names tell.
    pub all: bool,
}

/// Most names that are remembered between two calls.
const NAMES_MAX: usize = 1024;

type InterestIn = dyn Fn(&Path, bool) -> Interest + Send + Sync;

/// Watches folders and remembers which names changed, so that the owner of thousands of files does not look
/// through all of them each time.
pub struct NameWatch {
    watch: FolderWatch,
    interest: Box<InterestIn>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    news: News,
    /// Something of interest came since [`NameWatch::changed`] returned last.
    is_new: bool,
}

impl NameWatch {
    /// Begins to watch. `interest` is asked for each changed path, and whether it is gone.
    pub fn new(
        folders: &[PathBuf],
        clock: &Clock,
        interest: impl Fn(&Path, bool) -> Interest + Send + Sync + 'static,
    ) -> Self {
        Self {
            watch: FolderWatch::new(folders, clock),
            interest: Box::new(interest),
            noted: Mutex::default(),
        }
    }

    /// Takes the changes since the last time. Where folders cannot be watched, everything may have changed.
    pub fn news(&self) -> News {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        self.note(&mut noted);
        let mut news = std::mem::take(&mut noted.news);
        news.all |= !self.watch.is_live();
        news
    }

    /// Waits for a change of interest; where folders cannot be watched, for the time of the next rescan.
    pub async fn changed(&self) {
        if !self.watch.is_live() {
            return self.watch.changed_or_rescan().await;
        }
        let took = || {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            self.note(&mut noted);
            std::mem::take(&mut noted.is_new)
        };
        self.watch.until(took).await;
    }

    fn note(&self, noted: &mut Noted) {
        let Noted { news, is_new } = noted;
        *is_new |= self
            .watch
            .take_events(|event| news.add(event, &self.interest));
    }
}

impl News {
    /// Adds an event; `false` if it is of no interest.
    fn add(&mut self, event: &NameEvent<'_>, interest: &InterestIn) -> bool {
        let (path, interest) = match *event {
            NameEvent::Name { path, gone } => (path, interest(path, gone)),
            NameEvent::Overflow => (Path::new(""), Interest::All),
        };
        match interest {
            Interest::None => return false,
            Interest::Name if self.names.len() < NAMES_MAX => {
                self.names.insert(path.to_owned());
            }
            Interest::Name | Interest::All => self.all = true,
        }
        true
    }
}

#[cfg(test)]
mod tests;
