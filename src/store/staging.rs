//! Folders of copies, filled step by step and published by one rename.
//!
//! The name of an unfinished folder begins with a dot. Its process holds a lock on it (`flock` on the folder
//! itself, so the lock moves with it) until the file that it belongs to is written. An unlocked folder that
//! belongs to no file was left by a kill, however young it is; [`sweep_folders`] removes it.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::atomic;
use crate::store::crash_points::Attempt;
use crate::store::{Side, Step, mark_step};

/// The end of the name of an unfinished folder.
const SUFFIX: &str = ".copies";
/// The part of a file that is in memory while it is copied.
const CHUNK: usize = 128 * 1024;

/// An unfinished folder. Unless it is kept, it is removed with this value.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    kept: bool,
    /// Locked as long as this lives.
    _folder: File,
}

/// A file could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The original could not be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// The copy could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Staging {
    /// Creates an empty folder in `parent`, under a name that no process looks for.
    pub fn create(parent: &Path) -> Result<Self, StoreError> {
        loop {
            let path = parent.join(format!(".{:016x}{SUFFIX}", fastrand::u64(..)));
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(|source| StoreError::new("create the folder", &path, source))?;
            match lock_folder(&path) {
                Ok(Some(folder)) => {
                    return Ok(Self {
                        path,
                        kept: false,
                        _folder: folder,
                    });
                }
                // Swept before it was locked.
                Ok(None) => {}
                Err(source) => return Err(StoreError::new("lock", &path, source)),
            }
        }
    }

    /// Creates an empty file of this name; returns it with its path for now.
    pub fn file(&self, name: &str) -> Result<(File, PathBuf), StoreError> {
        let path = self.path.join(name);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| StoreError::new("write", &path, source))?;
        Ok((file, path))
    }

    /// Copies `source` to its end into a new file of this name. The bytes are synced, the name is not. Returns
    /// the size.
    pub fn copy(&self, name: &str, source: &mut impl Read) -> Result<u64, CopyError> {
        mark_step(Step::Stage, Side::Before);
        let attempt = Attempt::new(Step::Stage, 2);
        let (mut copy, path) = self.file(name)?;
        let failed = |source| StoreError::new("write", &path, source);
        attempt.part(0).map_err(failed)?;
        let (mut chunk, mut size) = (vec![0; CHUNK], 0);
        loop {
            let count = match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            let bytes = chunk.get(..count).unwrap_or_default();
            copy.write_all(bytes).map_err(failed)?;
            size += count as u64;
        }
        attempt.part(1).map_err(failed)?;
        copy.sync_all().map_err(failed)?;
        mark_step(Step::Stage, Side::After);
        Ok(size)
    }

    /// Shares a copy of another folder, which keeps it too.
    pub fn take_over(&self, name: &str, from: &Path) -> Result<(), CopyError> {
        let path = self.path.join(name);
        if fs::hard_link(from, &path).is_ok() {
            return Ok(());
        }
        // Some file systems have no hard links.
        let mut source = File::open(from).map_err(CopyError::Read)?;
        self.copy(name, &mut source).map(drop)
    }

    /// Opens a copy for reading.
    pub fn open(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path.join(name);
        File::open(&path).map_err(|source| StoreError::new("read", &path, source))
    }

    /// Makes the names of the copies durable. The slow part is over then.
    pub fn sync(&self) -> Result<(), StoreError> {
        atomic::sync_folder(&self.path)
    }

    /// Gives the folder its name, durably. Unless it is kept, it is still removed with this value.
    pub fn publish(&mut self, path: &Path, step: Step) -> Result<(), StoreError> {
        mark_step(step, Side::Before);
        #[cfg(feature = "test-hooks")]
        super::power::remember_move(&self.path, path);
        let attempt = Attempt::new(step, 2);
        let failed = |source| StoreError::new("write", path, source);
        attempt
            .part(0)
            .and_then(|()| rename_folder(&self.path, path))
            .map_err(failed)?;
        path.clone_into(&mut self.path);
        attempt.part(1).map_err(failed)?;
        atomic::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        mark_step(step, Side::After);
        Ok(())
    }

    /// Keeps the folder: the file that it belongs to is written.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.kept {
            // A folder that stays costs room until the next sweep.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// Removes a folder of copies. A missing folder is success.
pub fn remove_folder(path: &Path, step: Step) -> Result<(), StoreError> {
    if !path.is_dir() {
        return Ok(());
    }
    mark_step(step, Side::Before);
    let attempt = Attempt::new(step, 1);
    match attempt.part(0).and_then(|()| fs::remove_dir_all(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::new("remove", path, source))
        }
        _ => {
            mark_step(step, Side::After);
            Ok(())
        }
    }
}

/// Removes the folders of copies in `parent` that no process fills and that belong to no file. `belongs` decides
/// by name; `None` is a name that no folder of copies has.
pub fn sweep_folders(
    parent: &Path,
    belongs: impl Fn(&str) -> Result<Option<bool>, StoreError>,
    step: Step,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::new("list the folder", parent, source);
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let unnamed = name.starts_with('.') && name.ends_with(SUFFIX);
        if !entry.file_type().is_ok_and(|kind| kind.is_dir())
            || !unnamed && belongs(&name)? != Some(false)
        {
            continue;
        }
        // Its process may have written the file meanwhile, so `belongs` is asked again under the lock.
        if let Ok(Some(_locked)) = lock_folder(&entry.path())
            && (unnamed || belongs(&name)? == Some(false))
        {
            remove_folder(&entry.path(), step)?;
        }
    }
    Ok(())
}

/// Locks a folder. `None` if another process holds the lock, or the folder is gone.
fn lock_folder(path: &Path) -> io::Result<Option<File>> {
    let folder = match File::open(path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match folder.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let mine = folder.metadata()?;
    let there = fs::symlink_metadata(path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino()));
    Ok(there.then_some(folder))
}

#[expect(
    clippy::disallowed_methods,
    reason = "synced by the one function that calls it"
)]
fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_folder_that_is_being_filled_survives_every_sweep_and_one_that_was_given_up_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let staging = Staging::create(parent.path()).unwrap();
        staging.copy("0", &mut &b"bytes"[..]).unwrap();
        sweep_folders(parent.path(), |_| Ok(Some(false)), Step::Sweep).unwrap();
        assert_eq!(names(parent.path()).len(), 1);
        drop(staging);
        assert_eq!(names(parent.path()), [""; 0]);
    }

    #[test]
    fn what_a_kill_left_is_swept_whatever_its_age_and_what_belongs_to_something_stays() {
        let parent = tempfile::tempdir().unwrap();
        for name in [".0123456789abcdef.copies", "orphan", "owned", "foreign"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let belongs = |name: &str| {
            Ok(match name {
                "orphan" => Some(false),
                "owned" => Some(true),
                _ => None,
            })
        };
        sweep_folders(parent.path(), belongs, Step::Sweep).unwrap();
        let mut left = names(parent.path());
        left.sort();
        assert_eq!(left, ["foreign", "owned"]);
    }

    #[test]
    fn a_named_folder_is_not_swept_before_what_it_belongs_to_is_written() {
        let parent = tempfile::tempdir().unwrap();
        let mut staging = Staging::create(parent.path()).unwrap();
        staging
            .publish(&parent.path().join("named"), Step::Attach)
            .unwrap();
        sweep_folders(parent.path(), |_| Ok(Some(false)), Step::Sweep).unwrap();
        assert_eq!(names(parent.path()), ["named"]);
        staging.keep();
        sweep_folders(parent.path(), |_| Ok(Some(true)), Step::Sweep).unwrap();
        assert_eq!(names(parent.path()), ["named"]);
    }
}
