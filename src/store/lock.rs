//! Locks between processes: `flock` through std, on files that are never removed.
//!
//! A process lives as long as its lock is held; nothing else tells. The text in a lock file names the holder
//! for people.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;

/// A lock that is held until this value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

/// A lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's own words for itself.
        holder: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FileLock {
    /// Takes the lock, or names its holder at once. The file names `who` for people.
    pub fn try_take(path: &Path, who: &str) -> Result<Self, LockError> {
        let mut file = open_lock_file(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    holder: read_holder(path),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::new("lock", path, source).into());
            }
        }
        if let Err(source) = note_holder(&mut file, who) {
            // A full disk must not keep a process out: the note is for people, only the lock counts.
            tracing::debug!(path = %path.display(), error = %source, "cannot record the lock's holder");
        }
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Takes the lock, waiting up to `patience` (polled, as std has no timed lock).
    pub fn take_within(path: &Path, who: &str, patience: Duration) -> Result<Self, LockError> {
        let pause = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_take(path, who) {
                Err(LockError::Held { .. }) if waited < patience => {
                    std::thread::sleep(pause);
                    waited += pause;
                }
                other => return other,
            }
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still names the locked file: a cleaner of temporary folders may have removed it, and
    /// another process may have locked a new one.
    pub fn still_there(&self) -> bool {
        let same = |a: &fs::Metadata, b: &fs::Metadata| a.dev() == b.dev() && a.ino() == b.ino();
        matches!((self.file.metadata(), fs::metadata(&self.path)), (Ok(mine), Ok(named)) if same(&mine, &named))
    }

    /// Marks the file as used, for cleaners of temporary folders that go by age.
    pub fn touch(&self, now: crate::clock::Timestamp) -> io::Result<()> {
        let millis = u64::try_from(now.0).unwrap_or(0);
        self.file
            .set_modified(std::time::UNIX_EPOCH + Duration::from_millis(millis))
    }
}

/// Names the holder in the file, unless the file names it already: most often the last holder was the same, and
/// emptying a file costs a third of a durable write.
fn note_holder(file: &mut File, who: &str) -> io::Result<()> {
    // The file may have any size; one byte more than expected tells the difference.
    let most = u64::try_from(who.len())
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut noted = Vec::new();
    Read::take(&mut *file, most).read_to_end(&mut noted)?;
    if noted == who.as_bytes() {
        return Ok(());
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(who.as_bytes())
}

/// Whether some process has the lock.
pub fn is_held(path: &Path) -> Result<bool, StoreError> {
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StoreError::new("open", path, source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(StoreError::new("lock", path, source)),
    }
}

/// Reads how the holder of a lock named itself.
pub fn read_holder(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(1000).read_to_string(&mut text));
    if read.is_err() || text.trim().is_empty() {
        return "another process".to_owned();
    }
    text.trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn open_lock_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Never through a symlink, which another user may have put there.
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
        .map_err(|source| StoreError::new("open", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_learns_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let first = FileLock::try_take(&path, "pid 7").unwrap();
        let error = FileLock::try_take(&path, "pid 8").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} is held by pid 7", path.display())
        );
        assert!(is_held(&path).unwrap());
        drop(first);
        assert!(!is_held(&path).unwrap());
        drop(FileLock::try_take(&path, "pid 8, and more").unwrap());
        drop(FileLock::try_take(&path, "pid 8").unwrap());
        assert_eq!(read_holder(&path), "pid 8");
        let _again = FileLock::try_take(&path, "pid 8").unwrap();
        assert_eq!(read_holder(&path), "pid 8");
    }

    #[test]
    fn a_lock_whose_file_was_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let lock = FileLock::try_take(&path, "pid 7").unwrap();
        assert!(lock.still_there());
        fs::remove_file(&path).unwrap();
        assert!(!lock.still_there());
        let _other = FileLock::try_take(&path, "pid 8").unwrap();
        assert!(!lock.still_there());
    }

    #[test]
    fn a_symlink_in_place_of_a_lock_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        std::os::unix::fs::symlink(folder.path().join("target"), &path).unwrap();
        assert!(matches!(
            FileLock::try_take(&path, ""),
            Err(LockError::Store(_))
        ));
        assert!(!folder.path().join("target").exists());
    }
}
