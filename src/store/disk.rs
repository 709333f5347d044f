//! The disk below the state folder, as an argument.
//!
//! [`RealDisk`] is the file system. A test puts a disk in memory in its place that forgets what was not
//! synced, and so runs the product's own drivers. The trait is used as `&dyn Disk`: each call is at least
//! one system call, so dynamic dispatch costs nothing that could be measured, and no type above carries a
//! parameter for it.
//!
//! Folders of copies ([`super::staging`]) are not behind this trait: they hold files of any size.

use std::any::Any;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::StoreError;
use super::atomic::{self, Durability};
use super::crash_points::Step;
use super::lock::{self, FileLock, LockError};
use crate::clock::Timestamp;

/// The file operations of the state folder.
///
/// A name changes at once for every process; it survives a loss of power once its folder is synced. A
/// rename is one change: both names or none. The methods are those of the file system of this machine; a disk
/// in memory has each of its own.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Reads a whole file.
    fn read(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        fs::read(path).map_err(|source| StoreError::new("read", path, source))
    }

    /// Whether the name exists.
    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        path.try_exists()
            .map_err(|source| StoreError::new("read", path, source))
    }

    /// When the name of a file last changed. `None` if that is unknown.
    fn renamed_at(&self, path: &Path) -> Option<Timestamp> {
        // A rename changes ctime, not mtime.
        let metadata = fs::metadata(path).ok()?;
        Some(Timestamp(metadata.ctime().saturating_mul(1000)))
    }

    /// Dates a file that a clock from the future has dated as changed now. Failures cost its room for longer.
    fn renew(&self, path: &Path) {
        // That changes ctime, too, whatever the time is.
        let now = crate::clock::Clock::system().now().0;
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now).unwrap_or(0));
        drop(File::open(path).and_then(|file| file.set_modified(now)));
    }

    /// Hands out the names in a folder, unordered, without those of unfinished files. A missing folder
    /// has none.
    fn visit(&self, folder: &Path, visitor: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        atomic::visit_names(folder, visitor)
    }

    /// Lists the same names, sorted.
    fn list(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        self.visit(folder, &mut |name| names.push(name))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Creates or replaces a file as one step.
    fn replace(
        &self,
        path: &Path,
        bytes: &[u8],
        step: Step,
        durability: Durability,
    ) -> Result<(), StoreError> {
        atomic::replace_file(path, bytes, step, durability)
    }

    /// Makes the bytes of a file durable before the file has its name. Several files of a batch are
    /// prepared in parallel.
    fn prepare(&self, path: &Path, bytes: &[u8], step: Step) -> Result<PreparedFile, StoreError> {
        atomic::prepare_file(path, bytes, step)
    }

    /// Creates or replaces a file that is locked from the moment when it has its name.
    fn replace_locked(
        &self,
        path: &Path,
        bytes: &[u8],
        step: Step,
    ) -> Result<HeldLock, StoreError> {
        atomic::replace_locked(path, bytes, step).map(HeldLock::new)
    }

    /// Gives a file another name, unsynced. `false` if there is no such file.
    fn rename(&self, from: &Path, to: &Path, step: Step) -> Result<bool, StoreError> {
        atomic::rename_file(from, to, step)
    }

    /// Removes a file, unsynced. A missing file is success.
    fn remove(&self, path: &Path, step: Step) -> Result<(), StoreError> {
        atomic::remove_file(path, step)
    }

    /// Creates a folder and those above it.
    fn create_folder(&self, folder: &Path) -> Result<(), StoreError> {
        atomic::create_folder(folder)
    }

    /// Refuses a folder that another user can change, and the folders in it down to a depth.
    fn check_folders(&self, folder: &Path, depth: u32) -> Result<(), StoreError> {
        atomic::check_folders(folder, depth)
    }

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        atomic::sync_folder(folder)
    }

    /// Does the same as a step of its own, for the names of a whole batch.
    fn sync_batch(&self, folder: &Path, step: Step) -> Result<(), StoreError> {
        atomic::sync_batch(folder, step)
    }

    /// Takes a lock, and waits for it up to `patience`. `who` tells people which process holds it.
    fn lock(&self, path: &Path, who: &str, patience: Duration) -> Result<HeldLock, LockError> {
        FileLock::take_within(path, who, patience).map(HeldLock::new)
    }

    /// Whether a process holds the lock.
    fn is_locked(&self, path: &Path) -> Result<bool, StoreError> {
        lock::is_held(path)
    }
}

/// A lock that is held until this value is dropped.
#[derive(Debug)]
#[must_use]
pub struct HeldLock(
    #[expect(dead_code, reason = "its drop releases the lock")] Box<dyn Any + Send>,
);

impl HeldLock {
    /// Wraps the value whose drop releases the lock.
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

/// A file whose bytes are durable and that has no name yet.
#[must_use]
pub struct PreparedFile(Box<dyn FnOnce() -> Result<(), StoreError> + Send>);

impl PreparedFile {
    /// Wraps the call that gives the file its name.
    pub fn new(publish: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Self {
        Self(Box::new(publish))
    }

    /// Gives the file its name. The caller syncs the folder.
    pub fn publish(self) -> Result<(), StoreError> {
        (self.0)()
    }
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {}
