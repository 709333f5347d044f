//! A disk in memory for the product's own drivers: every process sees a change at once, and a loss of
//! power takes back an arbitrary part of the changes that were not synced.
//!
//! A name is safe once one of its folders is synced, a minute later at the latest; POSIX promises no order
//! among the others. A rename within the disk is one change: lost or kept as a whole. A file that was
//! never synced itself may be empty after the loss, even if its name is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use telepost::clock::Timestamp;
use telepost::store::StoreError;
use telepost::store::atomic::Durability;
use telepost::store::crash_points::Step;
use telepost::store::disk::{Disk, HeldLock, PreparedFile};
use telepost::store::lock::LockError;

/// A file with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    bytes: Arc<[u8]>,
    is_synced: bool,
    renamed_at: Timestamp,
}

/// The files of each folder, by their names.
#[derive(Clone, Debug, Default)]
struct Contents(BTreeMap<PathBuf, BTreeMap<String, Content>>);

/// A mistake of the disk, in place of one of the program, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Syncs of the folders of this name do nothing.
    NoSync(&'static str),
    /// Files whose path ends so are not written.
    NoWrite(&'static str),
}

/// A change of names that a loss of power may take back.
#[derive(Debug)]
struct UnsyncedChange {
    sets: Vec<(PathBuf, Option<Content>)>,
}

#[derive(Debug)]
struct Memory {
    now: Timestamp,
    /// The files that every process sees.
    visible: Contents,
    /// The files that a loss of power leaves for sure.
    durable: Contents,
    unsynced: Vec<UnsyncedChange>,
    /// The process at work dies before its so many-th change from here.
    fuse: Option<u8>,
    mistake: Option<Mistake>,
    locks: BTreeMap<PathBuf, u64>,
    next_lock: u64,
}

/// A handle on the disk; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk(Arc<Mutex<Memory>>);

impl MemoryDisk {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Memory {
            now: Timestamp(0),
            visible: Contents::default(),
            durable: Contents::default(),
            unsynced: Vec::new(),
            fuse: None,
            mistake: None,
            locks: BTreeMap::new(),
            next_lock: 0,
        })))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time at which names change from here on.
    pub(crate) fn set_time(&self, now: Timestamp) {
        self.memory().now = now;
    }

    /// Lets the process at work die before its `changes`-th change from here; `None` lets the next
    /// process live. From its death on, every operation fails.
    pub(crate) fn set_fuse(&self, changes: Option<u8>) {
        self.memory().fuse = changes;
    }

    /// Whether the process at work is dead. No result that it returns counts then.
    pub(crate) fn is_dead(&self) -> bool {
        self.memory().fuse == Some(0)
    }

    /// Lets the disk make a mistake from here on.
    pub(crate) fn make_mistake(&self, mistake: Option<Mistake>) {
        self.memory().mistake = mistake;
    }

    /// A point at which the process at work may die without a change of the disk.
    pub(crate) fn step(&self) -> Result<(), StoreError> {
        self.memory().step("wait for", Path::new("/"))
    }

    /// The kernel writes everything back by itself.
    pub(crate) fn write_back(&self) {
        let mut memory = self.memory();
        memory.unsynced.clear();
        for content in memory.visible.each() {
            content.is_synced = true;
        }
        memory.durable = memory.visible.clone();
    }

    /// The power fails: of the unsynced changes, and of the unsynced bytes, those whose bit is set
    /// survive. The locks go with their processes.
    pub(crate) fn lose_power(&self, keep: u32) {
        let mut memory = self.memory();
        let mut bits = (0..32).cycle().map(|bit| keep >> bit & 1 == 1);
        let unsynced = std::mem::take(&mut memory.unsynced);
        for change in unsynced {
            if bits.next() == Some(true) {
                for (path, content) in change.sets {
                    memory.durable.set(&path, content);
                }
            }
        }
        for content in memory.durable.each() {
            if !content.is_synced && bits.next() == Some(false) {
                content.bytes = Arc::from([]);
            }
            content.is_synced = true;
        }
        memory.visible = memory.durable.clone();
        memory.locks.clear();
    }

    /// The names in a folder: those that every process sees, or those that a loss of power leaves for sure.
    pub(crate) fn names(&self, folder: &Path, survive: bool) -> Vec<String> {
        let memory = self.memory();
        let names = memory.side(survive).0.get(folder).into_iter().flatten();
        let sound = names.filter(|(_, content)| content.is_synced || !survive);
        sound.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a folder has a file, on the same terms.
    pub(crate) fn has(&self, folder: &Path, name: &str, survive: bool) -> bool {
        let memory = self.memory();
        let found = memory
            .side(survive)
            .0
            .get(folder)
            .and_then(|names| names.get(name));
        found.is_some_and(|content| content.is_synced || !survive)
    }

    /// Removes a file behind the back of every process.
    pub(crate) fn lose_file(&self, path: &Path) {
        let mut memory = self.memory();
        memory.visible.set(path, None);
    }

    /// A loss of power would bring a name back that is gone.
    pub(crate) fn bring_back(&self, path: &Path) {
        let content = Content {
            bytes: Arc::from([]),
            is_synced: true,
            renamed_at: Timestamp(0),
        };
        self.memory().durable.set(path, Some(content));
    }

    fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        let memory = self.memory();
        let content = memory.durable.get(path).filter(|file| file.is_synced)?;
        Some(content.bytes.to_vec())
    }

    fn create(&self, path: &Path, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
        let mut memory = self.memory();
        memory.step("write", path)?;
        if let Some(Mistake::NoWrite(end)) = memory.mistake
            && path.to_string_lossy().ends_with(end)
        {
            return Ok(());
        }
        let content = Content {
            bytes: Arc::from(bytes),
            is_synced: durability != Durability::Unsynced,
            renamed_at: memory.now,
        };
        memory.change(vec![(path.to_owned(), Some(content))]);
        if durability == Durability::Synced {
            memory.sync(parent(path))?;
        }
        Ok(())
    }

    fn hold(&self, path: &Path) -> HeldLock {
        let mut memory = self.memory();
        memory.next_lock += 1;
        let number = memory.next_lock;
        memory.locks.insert(path.to_owned(), number);
        HeldLock::new(Guard {
            disk: self.clone(),
            path: path.to_owned(),
            number,
        })
    }
}

impl Contents {
    fn get(&self, path: &Path) -> Option<&Content> {
        self.0.get(parent(path))?.get(name(path))
    }

    fn set(&mut self, path: &Path, content: Option<Content>) {
        match content {
            Some(content) => {
                let folder = self.0.entry(parent(path).to_owned()).or_default();
                folder.insert(name(path).to_owned(), content);
            }
            None => {
                if let Some(folder) = self.0.get_mut(parent(path)) {
                    folder.remove(name(path));
                }
            }
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Content> {
        self.0.values_mut().flat_map(BTreeMap::values_mut)
    }
}

impl Memory {
    fn side(&self, survive: bool) -> &Contents {
        if survive {
            &self.durable
        } else {
            &self.visible
        }
    }

    /// A point at which the process may die.
    fn step(&mut self, operation: &'static str, path: &Path) -> Result<(), StoreError> {
        match &mut self.fuse {
            Some(0) => Err(StoreError::new(
                operation,
                path,
                io::Error::other("the process is dead"),
            )),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A dead process reads nothing either.
    fn live(&self, operation: &'static str, path: &Path) -> Result<(), StoreError> {
        if self.fuse != Some(0) {
            return Ok(());
        }
        let source = io::Error::other("the process is dead");
        Err(StoreError::new(operation, path, source))
    }

    fn change(&mut self, sets: Vec<(PathBuf, Option<Content>)>) {
        for (path, content) in &sets {
            self.visible.set(path, content.clone());
        }
        self.unsynced.push(UnsyncedChange { sets });
    }

    fn sync(&mut self, folder: &Path) -> Result<(), StoreError> {
        self.step("sync the folder", folder)?;
        if let Some(Mistake::NoSync(name)) = self.mistake
            && folder.ends_with(name)
        {
            return Ok(());
        }
        let is_in = |change: &UnsyncedChange| {
            let mut sets = change.sets.iter();
            sets.any(|(path, _)| path.parent() == Some(folder))
        };
        let (safe, rest): (Vec<_>, Vec<_>) = self.unsynced.drain(..).partition(is_in);
        self.unsynced = rest;
        for (path, _) in safe.into_iter().flat_map(|change| change.sets) {
            let content = self.visible.get(&path).cloned();
            self.durable.set(&path, content);
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let memory = self.memory();
        memory.live("read", path)?;
        match memory.visible.get(path) {
            Some(content) => Ok(content.bytes.to_vec()),
            None => Err(StoreError::new(
                "read",
                path,
                io::ErrorKind::NotFound.into(),
            )),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        let memory = self.memory();
        memory.live("read", path)?;
        Ok(memory.visible.get(path).is_some())
    }

    fn renamed_at(&self, path: &Path) -> Option<Timestamp> {
        let memory = self.memory();
        memory.visible.get(path).map(|content| content.renamed_at)
    }

    fn visit(&self, folder: &Path, visitor: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let memory = self.memory();
        memory.live("list the folder", folder)?;
        let files = memory.visible.0.get(folder).into_iter().flatten();
        let mut names: BTreeSet<String> = files.map(|(name, _)| name.clone()).collect();
        // The folders in it that have files somewhere below.
        let below = memory.visible.0.range(folder.to_owned()..);
        let below = below.take_while(|(path, _)| path.starts_with(folder));
        let below = below.filter_map(|(path, _)| path.strip_prefix(folder).ok()?.iter().next());
        names.extend(below.map(|name| name.to_string_lossy().into_owned()));
        drop(memory);
        names.into_iter().for_each(visitor);
        Ok(())
    }

    fn replace(
        &self,
        path: &Path,
        bytes: &[u8],
        _step: Step,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.create(path, bytes, durability)
    }

    fn prepare(&self, path: &Path, bytes: &[u8], _step: Step) -> Result<PreparedFile, StoreError> {
        self.memory().live("write", path)?;
        let (disk, path, bytes) = (self.clone(), path.to_owned(), bytes.to_vec());
        let publish = move || disk.create(&path, &bytes, Durability::FileSynced);
        Ok(PreparedFile::new(publish))
    }

    fn replace_locked(
        &self,
        path: &Path,
        bytes: &[u8],
        _step: Step,
    ) -> Result<HeldLock, StoreError> {
        self.create(path, bytes, Durability::Unsynced)?;
        Ok(self.hold(path))
    }

    fn rename(&self, from: &Path, to: &Path, _step: Step) -> Result<bool, StoreError> {
        let mut memory = self.memory();
        memory.step("move", from)?;
        let Some(mut content) = memory.visible.get(from).cloned() else {
            return Ok(false);
        };
        content.renamed_at = memory.now;
        memory.change(vec![
            (from.to_owned(), None),
            (to.to_owned(), Some(content)),
        ]);
        Ok(true)
    }

    fn remove(&self, path: &Path, _step: Step) -> Result<(), StoreError> {
        let mut memory = self.memory();
        memory.step("remove", path)?;
        if memory.visible.get(path).is_some() {
            memory.change(vec![(path.to_owned(), None)]);
        }
        Ok(())
    }

    fn create_folder(&self, folder: &Path) -> Result<(), StoreError> {
        // A folder is there as soon as a file is in it.
        self.memory().live("create the folder", folder)
    }

    fn check_folders(&self, _folder: &Path, _depth: u32) -> Result<(), StoreError> {
        Ok(())
    }

    fn sync_batch(&self, folder: &Path, _step: Step) -> Result<(), StoreError> {
        self.sync_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.memory().sync(folder)
    }

    fn lock(&self, path: &Path, who: &str, _patience: Duration) -> Result<HeldLock, LockError> {
        // One process is at work at a time, so no lock becomes free while another one waits.
        if self.memory().locks.contains_key(path) {
            return Err(LockError::Held {
                path: path.to_owned(),
                holder: who.to_owned(),
            });
        }
        self.memory().live("lock", path)?;
        Ok(self.hold(path))
    }

    fn is_locked(&self, path: &Path) -> Result<bool, StoreError> {
        Ok(self.memory().locks.contains_key(path))
    }
}

/// Releases a lock, unless the file was locked anew meanwhile.
struct Guard {
    disk: MemoryDisk,
    path: PathBuf,
    number: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut memory = self.disk.memory();
        if memory.locks.get(&self.path) == Some(&self.number) {
            memory.locks.remove(&self.path);
        }
    }
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use telepost::state::layout::StateDir;
    use telepost::store::state_file::{ReadError, StateFile, Storage};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Number {
        n: u8,
    }

    const ALL: u32 = u32::MAX;

    fn storage() -> (MemoryDisk, Storage) {
        let disk = MemoryDisk::new();
        let state = StateDir::on(disk.clone(), PathBuf::from("/state"));
        (disk, state.storage().clone())
    }

    fn number_file(storage: &Storage, name: &str) -> StateFile<Number> {
        storage.file(storage.root().join(name), Step::Hold)
    }

    fn read(file: &StateFile<Number>) -> Option<u8> {
        file.read(Timestamp(1)).unwrap().map(|number| number.n)
    }

    #[test]
    fn a_synced_file_survives_and_an_unsynced_one_may_be_old_new_or_damaged() {
        let (disk, storage) = storage();
        let file = number_file(&storage, "a/x.json");
        file.write(&Number { n: 1 }).unwrap();
        disk.lose_power(0);
        assert_eq!(read(&file), Some(1));
        let unsynced = file.clone().with(Durability::Unsynced);
        for (keep, expected) in [(0, Ok(Some(1))), (ALL, Ok(Some(2))), (1, Err(()))] {
            unsynced.write(&Number { n: 2 }).unwrap();
            assert_eq!(read(&file), Some(2));
            disk.lose_power(keep);
            let found = file.read(Timestamp(1));
            let found = found.map(|number| number.map(|number| number.n));
            assert_eq!(found.map_err(drop), expected);
            file.write(&Number { n: 1 }).unwrap();
        }
    }

    #[test]
    fn a_rename_is_kept_or_lost_as_a_whole_and_one_synced_folder_makes_it_safe() {
        for (keep, synced) in [(0, false), (ALL, false), (0, true)] {
            let (disk, storage) = storage();
            let (from, to) = (
                number_file(&storage, "a/x.json"),
                number_file(&storage, "b/x.json"),
            );
            from.write(&Number { n: 1 }).unwrap();
            assert!(from.rename_to(&to).unwrap());
            if synced {
                disk.sync_folder(Path::new("/state/b")).unwrap();
            }
            disk.lose_power(keep);
            let is_moved = synced || keep == ALL;
            assert_eq!(to.exists().unwrap(), is_moved);
            assert_eq!(from.exists().unwrap(), !is_moved);
        }
    }

    #[test]
    fn a_kill_at_each_change_of_a_write_leaves_the_old_file_or_the_new_one() {
        for (fuse, seen, durable) in [(0, 1, 1), (1, 2, 1), (2, 2, 2)] {
            let (disk, storage) = storage();
            let file = number_file(&storage, "a/x.json");
            file.write(&Number { n: 1 }).unwrap();
            disk.set_fuse(Some(fuse));
            assert_eq!(file.write(&Number { n: 2 }).is_ok(), fuse == 2);
            assert!(disk.is_dead());
            file.read(Timestamp(1)).unwrap_err();
            disk.set_fuse(None);
            assert_eq!(read(&file), Some(seen));
            let safe = disk.durable(file.path()).unwrap();
            assert_eq!(
                safe,
                format!(r#"{{"format":1,"n":{durable}}}"#).into_bytes()
            );
        }
    }

    #[test]
    fn damage_moves_to_the_quarantine_and_a_written_back_disk_loses_nothing() {
        let (disk, storage) = storage();
        let file = number_file(&storage, "a/x.json");
        disk.replace(file.path(), b"{", Step::Hold, Durability::Unsynced)
            .unwrap();
        disk.write_back();
        disk.lose_power(0);
        let error = file.read(Timestamp(1)).unwrap_err();
        assert!(matches!(error, ReadError::Quarantined { .. }), "{error}");
        let names = disk.list(Path::new("/state/quarantine")).unwrap();
        assert_eq!(names, ["0000000000001-a_x.json"]);
        assert_eq!(read(&file), None);
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped_or_the_power_goes() {
        let (disk, storage) = storage();
        let path = Path::new("/state/session.lock");
        let first = disk.lock(path, "one", Duration::ZERO).unwrap();
        disk.lock(path, "two", Duration::ZERO).unwrap_err();
        drop(first);
        let file = number_file(&storage, "agents/1.json");
        let old = file.write_locked(&Number { n: 1 }).unwrap();
        let new = file.write_locked(&Number { n: 2 }).unwrap();
        drop(old);
        assert!(file.is_locked().unwrap());
        disk.lose_power(ALL);
        assert!(!file.is_locked().unwrap());
        drop(new);
    }

    #[test]
    fn a_prepared_file_has_its_name_when_it_is_published_at_the_time_of_the_disk() {
        let (disk, storage) = storage();
        let file = number_file(&storage, "a/x.json");
        let prepared = file.prepare(&Number { n: 1 }).unwrap();
        assert!(!file.exists().unwrap());
        disk.set_time(Timestamp(7));
        prepared.publish().unwrap();
        assert_eq!(disk.renamed_at(file.path()), Some(Timestamp(7)));
        disk.lose_power(0);
        assert_eq!(read(&file), None);
    }
}
