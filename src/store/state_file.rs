//! The files of the state folder: path, durability, and the meaning of damage.
//!
//! A [`StateFile`] is one value with the path, the crash point and the durability of a file. Every read
//! goes through it, so a newer version is refused and kept, and an unreadable file moves to the
//! quarantine with its bytes. Neither counts as absent unless the caller asks for that by name:
//!
//! - [`StateFile::read`]: damage is an error that the caller reports.
//! - [`StateFile::read_or_missing`]: damage is logged, then the file counts as missing.
//! - [`StateFile::peek`]: nothing moves; for files of other processes.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::atomic::Durability;
use super::crash_points::Step;
use super::disk::{Disk, HeldLock, PreparedFile};
use super::envelope::{self, FORMAT, Unparsable};
use crate::clock::Timestamp;

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A newer telepost has written it; it is left as it is.
    #[error("{} has format {found}, but this telepost reads only up to {FORMAT}: update telepost (the file is left as it is)", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It was damaged; its bytes are in the quarantine now.
    #[error("{} was unreadable ({reason}); its bytes are kept in {}", path.display(), kept.display())]
    Quarantined {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        kept: PathBuf,
        /// The damage, for people.
        reason: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A folder of state: its disk, its root and its quarantine.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Anchor>);

#[derive(Debug)]
struct Anchor {
    disk: Box<dyn Disk>,
    root: PathBuf,
    quarantine: PathBuf,
}

impl Storage {
    /// Names the folders; touches nothing.
    pub fn new(disk: impl Disk + 'static, root: PathBuf, quarantine: PathBuf) -> Self {
        Self(Arc::new(Anchor {
            disk: Box::new(disk),
            root,
            quarantine,
        }))
    }

    /// The disk.
    pub fn disk(&self) -> &dyn Disk {
        &*self.0.disk
    }

    /// The folder that all files lie in.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// A file that is written durably, as this step.
    pub fn file<T>(&self, path: PathBuf, step: Step) -> StateFile<T> {
        StateFile {
            storage: self.clone(),
            path,
            step,
            durability: Durability::Synced,
            content: PhantomData,
        }
    }

    /// A folder with one such file per entry.
    pub fn folder<T>(&self, path: PathBuf, step: Step) -> StateFolder<T> {
        StateFolder(self.file(path, step))
    }

    /// Moves an unreadable file, or a folder in the place of one, to the quarantine.
    pub fn quarantine(
        &self,
        path: &Path,
        reason: String,
        now: Timestamp,
    ) -> Result<ReadError, StoreError> {
        let folder = &self.0.quarantine;
        self.disk().create_folder(folder)?;
        let relative = path.strip_prefix(self.root()).unwrap_or(path);
        let flat: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        let kept = folder.join(format!("{:013}-{}", now.0, flat.join("_")));
        self.disk().rename(path, &kept, Step::Quarantine)?;
        self.disk().sync_folder(folder)?;
        tracing::error!(path = %path.display(), kept = %kept.display(), reason, "unreadable file moved to quarantine");
        Ok(ReadError::Quarantined {
            path: path.to_owned(),
            kept,
            reason,
        })
    }
}

/// The content at the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection<T> {
    /// No file.
    Missing,
    /// The value.
    Intact(T),
    /// A file of a newer version.
    Newer(u32),
    /// An unreadable file; the reason is for people.
    Damaged(String),
}

impl<T> Inspection<T> {
    /// The value of an intact file.
    pub fn intact(self) -> Option<T> {
        match self {
            Self::Intact(value) => Some(value),
            Self::Missing | Self::Newer(_) | Self::Damaged(_) => None,
        }
    }
}

/// One file of the state folder.
#[derive(Clone, Debug)]
pub struct StateFile<T> {
    storage: Storage,
    path: PathBuf,
    step: Step,
    durability: Durability,
    content: PhantomData<fn(T) -> T>,
}

impl<T> StateFile<T> {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same file, changed as another step.
    #[must_use]
    pub fn at(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// The same file, written with another durability.
    #[must_use]
    pub fn with(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether a file is there.
    pub fn exists(&self) -> Result<bool, StoreError> {
        self.storage.disk().exists(&self.path)
    }

    /// When its name last changed. `None` if that is unknown.
    pub fn renamed_at(&self) -> Option<Timestamp> {
        self.storage.disk().renamed_at(&self.path)
    }

    /// When its name last changed, as far as the clock of `now` can be believed: a file from the future counts as
    /// changed now, and is dated so.
    pub fn believed_change(&self, now: Timestamp) -> Option<Timestamp> {
        let changed = self.renamed_at()?;
        if now.is_future(changed) {
            self.storage.disk().renew(&self.path);
            return Some(now);
        }
        Some(changed)
    }

    /// Gives the file another name, unsynced. `false` if there is none.
    pub fn rename_to(&self, to: &Self) -> Result<bool, StoreError> {
        self.storage.disk().rename(&self.path, &to.path, self.step)
    }

    /// Removes the file, unsynced. A missing file is success.
    pub fn remove(&self) -> Result<(), StoreError> {
        self.storage.disk().remove(&self.path, self.step)
    }

    /// Whether a process holds the lock on the file.
    pub fn is_locked(&self) -> Result<bool, StoreError> {
        self.storage.disk().is_locked(&self.path)
    }
}

impl<T: DeserializeOwned> StateFile<T> {
    /// Reads the file. A damaged file moves to the quarantine, and the error says so.
    pub fn read(&self, now: Timestamp) -> Result<Option<T>, ReadError> {
        loop {
            let (bytes, reason) = match self.look()? {
                (_, Inspection::Missing) => return Ok(None),
                (_, Inspection::Intact(value)) => return Ok(Some(value)),
                (_, Inspection::Newer(found)) => {
                    return Err(ReadError::Newer {
                        path: self.path.clone(),
                        found,
                    });
                }
                (bytes, Inspection::Damaged(reason)) => (bytes, reason),
            };
            // Another process may have replaced it meanwhile, and a good file must not be moved away.
            let again = self.storage.disk().read(&self.path).ok();
            if again.is_none() || again == bytes {
                return Err(self.storage.quarantine(&self.path, reason, now)?);
            }
        }
    }

    /// Reads the file. A damaged file moves to the quarantine, the log says so, and it counts as missing.
    pub fn read_or_missing(&self, now: Timestamp) -> Result<Option<T>, ReadError> {
        match self.read(now) {
            Err(ReadError::Quarantined { .. }) => Ok(None),
            other => other,
        }
    }

    /// Reads the file if it can be read now. Moves and reports nothing.
    pub fn peek(&self) -> Option<T> {
        self.inspect().ok().and_then(Inspection::intact)
    }

    /// Reads the file with its damage. Moves and reports nothing.
    pub fn inspect(&self) -> Result<Inspection<T>, StoreError> {
        self.look().map(|(_, found)| found)
    }

    /// The same, with the bytes of a file.
    fn look(&self) -> Result<(Option<Vec<u8>>, Inspection<T>), StoreError> {
        let bytes = match self.storage.disk().read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok((None, Inspection::Missing)),
            Err(error) if error.is_folder() => {
                return Ok((None, Inspection::Damaged("it is a folder".to_owned())));
            }
            Err(error) => return Err(error),
        };
        if bytes.is_empty() && self.durability == Durability::Unsynced {
            // A loss of power leaves nothing of a file that was not synced.
            return Ok((None, Inspection::Missing));
        }
        let found = match envelope::parse(&bytes) {
            Ok(value) => Inspection::Intact(value),
            Err(Unparsable::Newer(version)) => Inspection::Newer(version),
            Err(Unparsable::Damaged(reason)) => Inspection::Damaged(reason),
        };
        Ok((Some(bytes), found))
    }
}

impl<T: Serialize> StateFile<T> {
    /// Creates or replaces the file.
    pub fn write(&self, value: &T) -> Result<(), StoreError> {
        let bytes = envelope::encode(&self.path, value)?;
        self.storage
            .disk()
            .replace(&self.path, &bytes, self.step, self.durability)
    }

    /// Makes the bytes durable; publishing gives the file its name, unsynced.
    pub fn prepare(&self, value: &T) -> Result<PreparedFile, StoreError> {
        let bytes = envelope::encode(&self.path, value)?;
        self.storage.disk().prepare(&self.path, &bytes, self.step)
    }

    /// Creates or replaces the file and holds the lock on it. Unsynced: a lock does not outlive a loss of
    /// power either.
    pub fn write_locked(&self, value: &T) -> Result<HeldLock, StoreError> {
        let bytes = envelope::encode(&self.path, value)?;
        self.storage
            .disk()
            .replace_locked(&self.path, &bytes, self.step)
    }
}

/// A folder with one file per entry: the value is that of its files, with the path of the folder.
#[derive(Clone, Debug)]
pub struct StateFolder<T>(StateFile<T>);

impl<T> StateFolder<T> {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The same folder, its files written with another durability.
    #[must_use]
    pub fn with(self, durability: Durability) -> Self {
        Self(self.0.with(durability))
    }

    /// The file of this name.
    pub fn file(&self, name: impl AsRef<Path>) -> StateFile<T> {
        let Self(StateFile {
            storage,
            path,
            step,
            durability,
            content,
        }) = self;
        StateFile {
            storage: storage.clone(),
            path: path.join(name),
            step: *step,
            durability: *durability,
            content: *content,
        }
    }

    fn disk(&self) -> &dyn Disk {
        self.0.storage.disk()
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        self.disk().list(self.path())
    }

    /// Hands out the names one by one, unordered, so that a large folder takes no memory.
    pub fn visit(&self, mut visitor: impl FnMut(String)) -> Result<(), StoreError> {
        self.disk().visit(self.path(), &mut visitor)
    }

    /// Creates the folder.
    pub fn create(&self) -> Result<(), StoreError> {
        self.disk().create_folder(self.path())
    }

    /// Makes its names durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.disk().sync_folder(self.path())
    }

    /// Makes the names of a batch durable, as this step.
    pub fn sync_batch(&self, step: Step) -> Result<(), StoreError> {
        self.disk().sync_batch(self.path(), step)
    }
}

#[cfg(test)]
mod tests;
