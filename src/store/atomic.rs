//! Durable files: temporary file in the same folder, sync, rename, sync of the folder.
//!
//! A reader sees the old file, the new file or no file, never half of one. A kill leaves at most a
//! temporary file, whose name begins with a dot; listings skip those and the gateway removes old
//! ones.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::StoreError;
use super::disk::PreparedFile;
use super::ownership::find_other_writer;
use crate::store::crash_points::Attempt;
use crate::store::{Side, Step, mark_step};

/// Whether a write must survive a loss of power, or only a kill of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// File and folder are synced before the call returns.
    Synced,
    /// The file is synced; the caller syncs the folder once for a whole batch.
    FileSynced,
    /// Neither is synced: for files that only inform.
    Unsynced,
}

/// Creates or replaces a file as one step.
pub fn replace_file(
    path: &Path,
    bytes: &[u8],
    step: Step,
    durability: Durability,
) -> Result<(), StoreError> {
    mark_step(step, Side::Before);
    let parts = if durability == Durability::Synced {
        3
    } else {
        2
    };
    let attempt = Attempt::new(step, parts);
    let temporary = write_temporary(path, bytes, durability, attempt)?;
    name_file(temporary, path, durability, attempt)?;
    mark_step(step, Side::After);
    Ok(())
}

/// Creates or replaces a file of another program: through links, durably, with the mode and the owner that it
/// had. A new file is private.
pub fn replace_foreign(path: &Path, bytes: &[u8], step: Step) -> Result<(), StoreError> {
    let path = &resolve_links(path);
    mark_step(step, Side::Before);
    let attempt = Attempt::new(step, 3);
    let temporary = write_temporary(path, bytes, Durability::Synced, attempt)?;
    if let Ok(old) = fs::metadata(path) {
        let file = temporary.as_file();
        let keep = || {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(old.permissions())
        };
        keep().map_err(|source| StoreError::new("keep owner and mode of", path, source))?;
    }
    name_file(temporary, path, Durability::Synced, attempt)?;
    mark_step(step, Side::After);
    Ok(())
}

/// Follows the links of a path, also to a file that does not exist yet.
pub fn resolve_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = parent_of(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

/// Does the first half of [`replace_file`] with [`Durability::FileSynced`], so that the files of a batch are
/// prepared in parallel.
pub fn prepare_file(path: &Path, bytes: &[u8], step: Step) -> Result<PreparedFile, StoreError> {
    mark_step(step, Side::Before);
    let durability = Durability::FileSynced;
    let attempt = Attempt::new(step, 2);
    let temporary = write_temporary(path, bytes, durability, attempt)?;
    let path = path.to_owned();
    Ok(PreparedFile::new(move || {
        name_file(temporary, &path, durability, attempt)?;
        mark_step(step, Side::After);
        Ok(())
    }))
}

/// Creates or replaces a file and returns it open and locked. The lock is there before the name.
pub fn replace_locked(path: &Path, bytes: &[u8], step: Step) -> Result<File, StoreError> {
    mark_step(step, Side::Before);
    let attempt = Attempt::new(step, 2);
    let temporary = write_temporary(path, bytes, Durability::Unsynced, attempt)?;
    temporary
        .as_file()
        .lock()
        .map_err(|source| StoreError::new("lock", path, source))?;
    let file = name_file(temporary, path, Durability::Unsynced, attempt)?;
    mark_step(step, Side::After);
    Ok(file)
}

fn write_temporary(
    path: &Path,
    bytes: &[u8],
    durability: Durability,
    attempt: Attempt,
) -> Result<NamedTempFile, StoreError> {
    let failed = |source| StoreError::new("write", path, source);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp").rand_bytes(12);
    // Private to this user (0600), and removed again if anything fails.
    let mut temporary = builder.tempfile_in(parent_of(path)).map_err(failed)?;
    attempt.part(0).map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    if durability != Durability::Unsynced {
        temporary.as_file().sync_all().map_err(failed)?;
    }
    Ok(temporary)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that renames a new file into its name"
)]
fn name_file(
    temporary: NamedTempFile,
    path: &Path,
    durability: Durability,
    attempt: Attempt,
) -> Result<File, StoreError> {
    let failed = |source| StoreError::new("write", path, source);
    attempt.part(1).map_err(failed)?;
    #[cfg(feature = "test-hooks")]
    super::power::remember_naming(path, durability != Durability::Unsynced);
    let (file, temporary) = temporary.into_parts();
    fs::rename(&temporary, path).map_err(failed)?;
    // It has another name now: there is nothing to remove.
    temporary.keep().map_err(|error| failed(error.error))?;
    if durability == Durability::Synced {
        attempt.part(2).map_err(failed)?;
        sync_folder(parent_of(path))?;
    }
    Ok(file)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(|source| StoreError::new("sync the folder", folder, source))?;
    #[cfg(feature = "test-hooks")]
    super::power::note_synced(folder);
    Ok(())
}

/// Does the same as a step of its own, for the names of a whole batch.
pub fn sync_batch(folder: &Path, step: Step) -> Result<(), StoreError> {
    mark_step(step, Side::Before);
    Attempt::new(step, 1)
        .part(0)
        .map_err(|source| StoreError::new("sync the folder", folder, source))?;
    sync_folder(folder)?;
    mark_step(step, Side::After);
    Ok(())
}

/// Gives a file another name on the same file system, without syncing the folders. `false` if there is no
/// such file.
#[expect(clippy::disallowed_methods, reason = "the one place that moves a file")]
pub fn rename_file(from: &Path, to: &Path, step: Step) -> Result<bool, StoreError> {
    mark_step(step, Side::Before);
    #[cfg(feature = "test-hooks")]
    super::power::remember_move(from, to);
    let attempt = Attempt::new(step, 1);
    match attempt.part(0).and_then(|()| fs::rename(from, to)) {
        Ok(()) => {
            mark_step(step, Side::After);
            Ok(true)
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(false),
        Err(source) => Err(StoreError::new("move", from, source)),
    }
}

/// Removes a file. A missing file is success.
pub fn remove_file(path: &Path, step: Step) -> Result<(), StoreError> {
    mark_step(step, Side::Before);
    #[cfg(feature = "test-hooks")]
    super::power::remember_removal(path);
    let attempt = Attempt::new(step, 1);
    match attempt.part(0).and_then(|()| fs::remove_file(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::new("remove", path, source))
        }
        _ => {
            mark_step(step, Side::After);
            Ok(())
        }
    }
}

/// Removes a folder if it is empty. `false` if it stays.
pub fn remove_empty_folder(path: &Path) -> bool {
    fs::remove_dir(path).is_ok()
}

/// Removes a folder with everything in it, unsynced. Parts that are gone already are success, so no process
/// may need the folder any more under any name.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::new("remove the folder", path, source))
        }
        _ => Ok(()),
    }
}

/// Creates a folder and those above it, for this user only.
pub fn create_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::new("create the folder", path, source))?;
    // The files to come are lost with the name of their folder.
    sync_folder(parent_of(path))
}

/// Refuses a folder that another user can change, and the folders in it down to a depth. A missing folder is safe.
pub fn check_folders(folder: &Path, depth: u32) -> Result<(), StoreError> {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::new("use", folder, source)),
    };
    if let Some(other) = find_other_writer(&metadata) {
        let (why, remedy) = other.explain(folder);
        let source = io::Error::other(format!("{why}; {remedy}"));
        return Err(StoreError::new("use", folder, source));
    }
    if depth == 0 {
        return Ok(());
    }
    let failed = |source| StoreError::new("list the folder", folder, source);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            check_folders(&entry.path(), depth - 1)?;
        }
    }
    Ok(())
}

/// Takes from other users the right to read a file that a dependency has created.
pub fn make_private(path: &Path) -> Result<(), StoreError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|source| StoreError::new("change the mode of", path, source))
}

/// Lists the names in a folder, sorted, without those of temporary files. A missing folder is empty.
pub fn list_names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    visit_names(folder, |name| names.push(name))?;
    names.sort_unstable();
    Ok(names)
}

/// Hands out the same names one by one, unordered, so that a large folder takes no memory.
pub fn visit_names(folder: &Path, mut visitor: impl FnMut(String)) -> Result<(), StoreError> {
    let failed = |source| StoreError::new("list the folder", folder, source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        // No file of ours has a name that is not UTF-8.
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && !is_temporary(&name)
        {
            visitor(name);
        }
    }
    Ok(())
}

/// Whether a file has this name only until it is whole.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.')
}

/// Removes temporary files that a killed process left behind. Only the gateway calls this, at its
/// start, and only for files that are an hour old: a writer at work is never disturbed.
pub fn remove_leftovers(folder: &Path, now: crate::clock::Timestamp) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with('.') && name.ends_with(".tmp")) {
            continue;
        }
        let modified = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok();
        let age = modified
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        if age.is_some_and(|written| now.0.saturating_sub(written) > 3_600_000) {
            // A file that stays costs a little room until the next start.
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_leaves_no_temporary_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace_file(&path, b"one", Step::Presence, Durability::Synced).unwrap();
        replace_file(&path, b"two", Step::Presence, Durability::Synced).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_into_a_missing_folder_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/a.json");
        let error = replace_file(&path, b"", Step::Presence, Durability::Synced).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write {}", path.display())
        );
    }

    #[test]
    fn moving_a_file_that_is_gone_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let moved = rename_file(
            &folder.path().join("a"),
            &folder.path().join("b"),
            Step::Settle,
        )
        .unwrap();
        assert!(!moved);
    }

    #[test]
    fn moving_a_file_into_a_missing_folder_is_an_error_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("a");
        replace_file(&from, b"x", Step::Settle, Durability::Synced).unwrap();
        assert!(rename_file(&from, &folder.path().join("no/b"), Step::Settle).is_err());
        assert!(from.exists());
    }

    #[test]
    fn only_old_temporary_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = folder.path().join(".a.json.0.tmp");
        File::options()
            .create_new(true)
            .write(true)
            .open(&temporary)
            .unwrap();
        let now = crate::clock::Clock::system().now();
        remove_leftovers(folder.path(), now);
        assert!(temporary.exists());
        remove_leftovers(
            folder.path(),
            now.plus(std::time::Duration::from_secs(7200)),
        );
        assert!(!temporary.exists());
    }
}
