use std::fs;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::store::disk::RealDisk;
use crate::store::{LockError, atomic};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    n: u8,
}

const NOW: Timestamp = Timestamp(1);

/// A file of a state folder, and the folder.
fn sample_file() -> (tempfile::TempDir, StateFile<Sample>) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let storage = Storage::new(RealDisk, root.clone(), root.join("quarantine"));
    let file = storage.file(root.join("a/sample.json"), Step::Presence);
    atomic::create_folder(&root.join("a")).unwrap();
    (folder, file)
}

fn put(file: &StateFile<Sample>, bytes: &[u8]) {
    atomic::replace_file(&file.path, bytes, Step::Presence, Durability::Unsynced).unwrap();
}

/// The file that moved to the quarantine: names and bytes.
fn quarantined(file: &StateFile<Sample>) -> Vec<(String, Vec<u8>)> {
    let folder = file.storage.root().join("quarantine");
    let names = atomic::list_names(&folder).unwrap();
    let bytes = |name: &String| fs::read(folder.join(name)).unwrap();
    names
        .iter()
        .map(|name| (name.clone(), bytes(name)))
        .collect()
}

const DAMAGE: [&[u8]; 7] = [
    b"",
    b"{\"format\":1,\"n\":",
    b"[]",
    b"{\"format\":1,\"n\":\"x\"}",
    b"{\"n\":1}",
    b"{\"format\":\"1\",\"n\":1}",
    b"\xff\xfe",
];

#[test]
fn a_written_value_is_read_and_the_version_is_on_disk() {
    let (_folder, file) = sample_file();
    file.write(&Sample { n: 7 }).unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), b"{\"format\":1,\"n\":7}");
    assert_eq!(file.read(NOW).unwrap(), Some(Sample { n: 7 }));
    assert_eq!(file.peek(), Some(Sample { n: 7 }));
}

#[test]
fn a_missing_file_is_none() {
    let (_folder, file) = sample_file();
    assert_eq!(file.read(NOW).unwrap(), None);
    assert_eq!(file.inspect().unwrap(), Inspection::Missing);
}

#[test]
fn damage_of_every_kind_is_reported_and_its_bytes_are_kept() {
    for bytes in DAMAGE {
        let (_folder, file) = sample_file();
        put(&file, bytes);
        let error = file.read(NOW).unwrap_err();
        assert!(matches!(error, ReadError::Quarantined { .. }), "{error}");
        let name = "0000000000001-a_sample.json".to_owned();
        assert_eq!(quarantined(&file), [(name, bytes.to_vec())]);
        assert!(!file.exists().unwrap());
    }
}

#[test]
fn damage_of_every_kind_counts_as_missing_if_asked_and_its_bytes_are_kept() {
    for bytes in DAMAGE {
        let (_folder, file) = sample_file();
        put(&file, bytes);
        assert_eq!(file.read_or_missing(NOW).unwrap(), None);
        assert_eq!(quarantined(&file).len(), 1);
    }
}

#[test]
fn a_peek_at_damage_moves_nothing() {
    for bytes in DAMAGE {
        let (_folder, file) = sample_file();
        put(&file, bytes);
        assert_eq!(file.peek(), None);
        assert!(matches!(file.inspect().unwrap(), Inspection::Damaged(_)));
        assert_eq!(fs::read(file.path()).unwrap(), bytes);
    }
}

#[test]
fn a_newer_file_is_refused_by_every_read_and_left_alone() {
    let (_folder, file) = sample_file();
    put(&file, b"{\"format\":2,\"other\":true}");
    for error in [
        file.read(NOW).unwrap_err(),
        file.read_or_missing(NOW).unwrap_err(),
    ] {
        assert!(
            matches!(error, ReadError::Newer { found: 2, .. }),
            "{error}"
        );
    }
    assert_eq!(file.peek(), None);
    assert_eq!(file.inspect().unwrap(), Inspection::Newer(2));
    assert!(file.exists().unwrap());
}

#[test]
fn a_folder_in_place_of_a_file_is_quarantined() {
    let (_folder, file) = sample_file();
    atomic::create_folder(file.path()).unwrap();
    assert_eq!(file.peek(), None);
    let error = file.read(NOW).unwrap_err();
    assert!(error.to_string().contains("it is a folder"), "{error}");
    assert!(!file.exists().unwrap());
}

#[test]
fn a_file_that_cannot_be_read_stays_and_the_error_is_no_damage() {
    let (_folder, file) = sample_file();
    std::os::unix::fs::symlink(file.path(), file.path()).unwrap();
    let error = file.read_or_missing(NOW).unwrap_err();
    assert!(matches!(error, ReadError::Store(_)), "{error}");
    assert!(fs::symlink_metadata(file.path()).is_ok());
}

#[test]
fn a_file_of_another_user_is_named_with_its_remedy() {
    let (_folder, file) = sample_file();
    file.write(&Sample { n: 1 }).unwrap();
    // Only root can give a file away; other users have a file of root's at hand.
    let me = rustix::process::getuid().as_raw();
    let path = if me == 0 {
        std::os::unix::fs::chown(file.path(), Some(1234), None).unwrap();
        file.path()
    } else {
        Path::new("/etc/passwd")
    };
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = ReadError::from(StoreError::new("read", path, denied)).to_string();
    let owner = if me == 0 {
        "user 1234"
    } else {
        "root (after a run with sudo?)"
    };
    let remedy = format!("belongs to {owner} and you are user {me}: run `sudo chown {me} ");
    assert!(error.contains(&remedy), "{error}");
}

#[test]
fn the_files_of_a_folder_are_named_and_removed() {
    let (_folder, file) = sample_file();
    let root = file.storage.root().to_owned();
    let folder: StateFolder<Sample> = file.storage.folder(root.join("many"), Step::Turn);
    assert_eq!(folder.names().unwrap(), [""; 0]);
    folder.create().unwrap();
    for name in ["b.json", "a.json"] {
        folder.file(name).write(&Sample { n: 1 }).unwrap();
    }
    folder
        .file("c.json")
        .prepare(&Sample { n: 2 })
        .unwrap()
        .publish()
        .unwrap();
    folder.sync().unwrap();
    assert_eq!(folder.names().unwrap(), ["a.json", "b.json", "c.json"]);
    folder.file("a.json").at(Step::Sweep).remove().unwrap();
    assert!(
        folder
            .file("b.json")
            .rename_to(&folder.file("d.json"))
            .unwrap()
    );
    assert!(
        !folder
            .file("b.json")
            .rename_to(&folder.file("e.json"))
            .unwrap()
    );
    let mut names = Vec::new();
    folder.visit(|name| names.push(name)).unwrap();
    names.sort();
    assert_eq!(names, ["c.json", "d.json"]);
}

#[test]
fn a_locked_file_is_locked_until_the_lock_is_dropped() {
    let (_folder, file) = sample_file();
    let lock = file.write_locked(&Sample { n: 1 }).unwrap();
    assert!(file.is_locked().unwrap());
    assert_eq!(file.peek(), Some(Sample { n: 1 }));
    drop(lock);
    assert!(!file.is_locked().unwrap());
}

/// A disk whose reads of one file return these contents in turn, the last one again and again.
#[derive(Debug)]
struct Changing(Mutex<Vec<&'static [u8]>>);

impl Disk for Changing {
    fn read(&self, _: &Path) -> Result<Vec<u8>, StoreError> {
        let mut contents = self.0.lock().unwrap();
        let next = if contents.len() > 1 {
            contents.remove(0)
        } else {
            contents[0]
        };
        Ok(next.to_vec())
    }
    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        RealDisk.exists(path)
    }
    fn renamed_at(&self, path: &Path) -> Option<Timestamp> {
        RealDisk.renamed_at(path)
    }
    fn visit(&self, folder: &Path, visitor: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        RealDisk.visit(folder, visitor)
    }
    fn replace(&self, p: &Path, b: &[u8], s: Step, d: Durability) -> Result<(), StoreError> {
        RealDisk.replace(p, b, s, d)
    }
    fn prepare(&self, path: &Path, bytes: &[u8], step: Step) -> Result<PreparedFile, StoreError> {
        RealDisk.prepare(path, bytes, step)
    }
    fn replace_locked(&self, p: &Path, b: &[u8], s: Step) -> Result<HeldLock, StoreError> {
        RealDisk.replace_locked(p, b, s)
    }
    fn rename(&self, from: &Path, to: &Path, step: Step) -> Result<bool, StoreError> {
        RealDisk.rename(from, to, step)
    }
    fn remove(&self, path: &Path, step: Step) -> Result<(), StoreError> {
        RealDisk.remove(path, step)
    }
    fn create_folder(&self, folder: &Path) -> Result<(), StoreError> {
        RealDisk.create_folder(folder)
    }
    fn sync_folder(&self, folder: &Path) -> Result<(), StoreError> {
        RealDisk.sync_folder(folder)
    }
    fn lock(&self, path: &Path, who: &str, patience: Duration) -> Result<HeldLock, LockError> {
        RealDisk.lock(path, who, patience)
    }
    fn is_locked(&self, path: &Path) -> Result<bool, StoreError> {
        RealDisk.is_locked(path)
    }
}

#[test]
fn a_damaged_file_that_is_replaced_meanwhile_is_read_again_and_not_moved() {
    let (folder, real) = sample_file();
    real.write(&Sample { n: 9 }).unwrap();
    let contents: Vec<&[u8]> = vec![b"{", b"{\"format\":1,\"n\":", b"{\"format\":1,\"n\":9}"];
    let root = folder.path().to_owned();
    let disk = Changing(Mutex::new(contents));
    let storage = Storage::new(disk, root.clone(), root.join("quarantine"));
    let file: StateFile<Sample> = storage.file(real.path.clone(), Step::Presence);
    assert_eq!(file.read(NOW).unwrap(), Some(Sample { n: 9 }));
    assert!(real.exists().unwrap());
}
