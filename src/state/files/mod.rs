//! The files that came with the messages of one session, and how much room they may take.
//!
//! On disk: `files/<update_id>/` has the file and its `state.json`. Only the gateway adds such a folder, and
//! it appears complete. A folder is removed only while no waiting message has it.

pub mod state;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::error_chain::Chain;
use crate::ids::UpdateId;
use crate::state::SessionDir;
use crate::state::files::state::{FetchResult, FileState, STATE_FILE};
use crate::state::inbox::Inbox;
use crate::state::inbox::view::{AttachmentView, FileStanding, RenderedMessage};
use crate::store::envelope::encode;
use crate::store::staging::{self, Staging};
use crate::store::{ReadError, StateFile, Step, StoreError, atomic};

/// How many bytes the files of one session may take.
pub const QUOTA: u64 = 1 << 30;
/// How long a file stays after its message is settled and its tombstone is gone.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The files of one session.
#[derive(Clone, Debug)]
pub struct Files {
    dir: SessionDir,
}

/// The files of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFiles {
    /// The message.
    pub update_id: UpdateId,
    /// When they came.
    pub since: Timestamp,
    /// Bytes.
    pub bytes: u64,
}

/// A file that is being written. Dropped unfinished, it is removed.
#[derive(Debug)]
pub struct PartialFile {
    staging: Staging,
    file: File,
    name: String,
    path: PathBuf,
    hash: Sha256,
    size: u64,
}

impl Files {
    /// The files of a session whose folders exist.
    pub fn new(dir: &SessionDir) -> Self {
        Self { dir: dir.clone() }
    }

    fn folder(&self, id: UpdateId) -> PathBuf {
        self.dir.files().join(id.to_string())
    }

    fn state_file(&self, id: UpdateId) -> StateFile<FileState> {
        let path = self.folder(id).join(STATE_FILE);
        self.dir.storage().file(path, Step::Download)
    }

    /// The result of fetching the file of a message; `None` if the file is still to be fetched.
    pub fn result(
        &self,
        id: UpdateId,
        content: &str,
        now: Timestamp,
    ) -> Result<Option<FetchResult>, ReadError> {
        let state = self.state_file(id).read(now)?;
        let result = state
            .filter(|state| state.content == state::content_key(content))
            .map(|state| state.result);
        // A person may have removed the file alone.
        Ok(result.filter(|result| match result {
            FetchResult::Ready { .. } => result
                .file()
                .is_some_and(|file| self.folder(id).join(file).is_file()),
            FetchResult::Failed { .. } | FetchResult::NoRoom { .. } => true,
        }))
    }

    /// Fills in the state of each file of a message. An unreadable state becomes the reason of that file and
    /// does not hold back the message. Returns notices for the agent.
    pub fn fill(&self, shown: &mut RenderedMessage, now: Timestamp) -> Vec<String> {
        let mut notices = Vec::new();
        for (view, file) in shown.message.attachments.iter_mut().zip(&shown.files) {
            for &id in &file.updates {
                match self.result(id, &file.content, now) {
                    Ok(Some(result)) => {
                        self.fill_result(view, id, result);
                        break;
                    }
                    Ok(None) => {}
                    Err(error @ ReadError::Quarantined { .. }) => {
                        notices.push(format!("A file is being fetched again. {}", Chain(&error)));
                    }
                    Err(error) => {
                        view.state = FileStanding::Failed;
                        view.reason = Some(Chain(&error).to_string());
                    }
                }
            }
        }
        notices
    }

    fn fill_result(&self, view: &mut AttachmentView, id: UpdateId, result: FetchResult) {
        let path = result.file().map(|file| self.folder(id).join(file));
        match result {
            FetchResult::Ready { size, sha256, .. } => {
                view.state = FileStanding::Ready;
                view.path = path.map(|path| path.display().to_string());
                view.size = Some(size);
                view.sha256 = Some(sha256);
                view.reason = None;
            }
            FetchResult::Failed { reason } | FetchResult::NoRoom { reason } => {
                view.state = FileStanding::Failed;
                view.reason = Some(reason);
            }
        }
    }

    /// Whether a result is recorded for the file of a message.
    pub fn has_result(&self, id: UpdateId) -> bool {
        self.folder(id).join(STATE_FILE).is_file()
    }

    /// Begins a file with a name from [`state::name_file`].
    pub fn begin(&self, name: String) -> Result<PartialFile, StoreError> {
        let staging = Staging::create(&self.dir.files())?;
        let (file, path) = staging.file(&name)?;
        Ok(PartialFile {
            staging,
            file,
            name,
            path,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Publishes a complete file, durably.
    pub fn finish(
        &self,
        partial: PartialFile,
        id: UpdateId,
        content: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sha256 = partial
            .hash
            .finalize()
            .iter()
            .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        let failed = |source| StoreError::new("write", &partial.path, source);
        partial.file.sync_all().map_err(failed)?;
        let result = FetchResult::Ready {
            file: partial.name,
            size: partial.size,
            sha256,
        };
        self.publish(partial.staging, id, content, result, now)
    }

    /// Records that a file is not fetched, durably.
    pub fn give_up(
        &self,
        id: UpdateId,
        content: &str,
        result: FetchResult,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let staging = Staging::create(&self.dir.files())?;
        self.publish(staging, id, content, result, now)
    }

    fn publish(
        &self,
        mut staging: Staging,
        id: UpdateId,
        content: &str,
        result: FetchResult,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let state = FileState {
            content: state::content_key(content),
            at: now,
            result,
        };
        let (mut file, path) = staging.file(STATE_FILE)?;
        let failed = |source| StoreError::new("write", &path, source);
        file.write_all(&encode(&path, &state)?)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        staging.sync()?;
        // An older result: a lack of room, or the update of another bot with the same number.
        staging::remove_folder(&self.folder(id), Step::Sweep)?;
        staging.publish(&self.folder(id), Step::Download)?;
        staging.keep();
        Ok(())
    }

    /// The files of each message, in no useful order.
    pub fn stored(&self) -> Result<Vec<StoredFiles>, StoreError> {
        let mut stored = Vec::new();
        for name in atomic::list_names(&self.dir.files())? {
            let Ok(update_id) = name.parse().map(UpdateId) else {
                continue;
            };
            let folder = self.folder(update_id);
            let Ok(metadata) = std::fs::metadata(&folder) else {
                continue;
            };
            let mut bytes = 0;
            for file in atomic::list_names(&folder)? {
                // A file that has just been removed takes no room.
                bytes += std::fs::metadata(folder.join(file)).map_or(0, |file| file.len());
            }
            stored.push(StoredFiles {
                update_id,
                // The time of the last change of a name in it, that is, when it was filled.
                since: Timestamp(metadata.mtime().saturating_mul(1000)),
                bytes,
            });
        }
        Ok(stored)
    }

    /// The files of messages that no longer wait, oldest first.
    fn settled(&self) -> Result<Vec<StoredFiles>, StoreError> {
        // In this order: the entry of a folder that exists now existed before it.
        let mut stored = self.stored()?;
        let pending = Inbox::new(&self.dir).pending()?;
        let pending: BTreeSet<UpdateId> = pending.iter().map(|name| name.update_id).collect();
        stored.retain(|stored| !pending.contains(&stored.update_id));
        stored.sort_by_key(|stored| (stored.since, stored.update_id));
        Ok(stored)
    }

    /// Makes room for a file below the quota by removing files of settled messages, oldest first. `false` if
    /// that is not enough: then nothing is removed.
    pub fn make_room(&self, bytes: u64, quota: u64) -> Result<bool, StoreError> {
        let used = total_bytes(&self.stored()?).saturating_add(bytes);
        if used <= quota {
            return Ok(true);
        }
        let settled = self.settled()?;
        if used.saturating_sub(total_bytes(&settled)) > quota {
            return Ok(false);
        }
        self.evict(settled, used, quota)?;
        Ok(true)
    }

    /// Removes files that are past their time, and leftovers of a kill.
    pub fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        staging::sweep_folders(&self.dir.files(), |_| Ok(None), Step::Sweep)?;
        // An agent may still work with the files of a message that it has answered.
        let inbox = Inbox::new(&self.dir);
        let seen: BTreeSet<UpdateId> = inbox
            .stored()?
            .into_iter()
            .map(|name| name.update_id)
            .collect();
        for stored in self.settled()? {
            if now.is_future(stored.since) {
                let folder = self.folder(stored.update_id);
                self.dir.storage().disk().renew(&folder);
            }
            if !seen.contains(&stored.update_id) && now.since(stored.since) > KEEP {
                self.remove(stored.update_id)?;
            }
        }
        let used = total_bytes(&self.stored()?);
        self.evict(self.settled()?, used, QUOTA)
    }

    /// Removes files, in this order, until no more than the quota is used.
    fn evict(&self, files: Vec<StoredFiles>, mut used: u64, quota: u64) -> Result<(), StoreError> {
        for stored in files {
            if used <= quota {
                break;
            }
            self.remove(stored.update_id)?;
            used = used.saturating_sub(stored.bytes);
        }
        Ok(())
    }

    /// The files of settled messages that are at least so old.
    pub fn prunable(
        &self,
        older_than: Duration,
        now: Timestamp,
    ) -> Result<Vec<StoredFiles>, StoreError> {
        let mut settled = self.settled()?;
        settled.retain(|stored| now.since(stored.since) >= older_than);
        Ok(settled)
    }

    /// Removes the files of a message.
    pub fn remove(&self, id: UpdateId) -> Result<(), StoreError> {
        staging::remove_folder(&self.folder(id), Step::Sweep)
    }
}

/// The room that files take together.
pub fn total_bytes(files: &[StoredFiles]) -> u64 {
    files.iter().map(|stored| stored.bytes).sum()
}

impl PartialFile {
    /// Writes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(|source| StoreError::new("write", &self.path, source))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Address, BotId, ChatId, SessionId};
    use crate::state::StateDir;
    use crate::state::inbox::Entry;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let dir = state.session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        (folder, Files::new(&dir))
    }

    fn put(files: &Files, id: i64, size: usize) {
        let mut partial = files.begin("document.bin".to_owned()).unwrap();
        partial.write(&vec![7; size]).unwrap();
        files.finish(partial, UpdateId(id), "content", NOW).unwrap();
    }

    fn wait_for_an_answer(files: &Files, id: i64) {
        let address = Address {
            bot_id: BotId(7),
            chat_id: ChatId(11),
            topic_id: None,
        };
        let raw = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
        let entry = Entry::new(address, UpdateId(id), NOW, raw);
        Inbox::new(&files.dir).put(&entry).unwrap();
    }

    fn ids(files: &Files) -> Vec<i64> {
        let mut ids: Vec<i64> = files
            .stored()
            .unwrap()
            .iter()
            .map(|stored| stored.update_id.0)
            .collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn what_is_not_finished_is_nowhere() {
        let (_folder, files) = files();
        let mut partial = files.begin("document.bin".to_owned()).unwrap();
        partial.write(b"half").unwrap();
        assert_eq!(ids(&files), [0; 0]);
        drop(partial);
        assert_eq!(std::fs::read_dir(files.dir.files()).unwrap().count(), 0);
    }

    #[test]
    fn a_state_is_believed_only_of_the_bytes_that_it_is_about_and_while_they_are_there() {
        let (_folder, files) = files();
        put(&files, 1, 10);
        let there = |content: &str| files.result(UpdateId(1), content, NOW).unwrap().is_some();
        assert!(there("content") && !there("of another bot"));
        std::fs::remove_file(files.folder(UpdateId(1)).join("document.bin")).unwrap();
        assert!(!there("content"));
    }

    #[test]
    fn room_is_made_by_what_is_answered_and_only_if_that_is_enough() {
        let (_folder, files) = files();
        for id in 1..=3 {
            put(&files, id, 1000);
        }
        wait_for_an_answer(&files, 1);
        let used = total_bytes(&files.stored().unwrap());
        assert!(files.make_room(0, used).unwrap());
        assert!(!files.make_room(used, used).unwrap());
        assert_eq!(ids(&files), [1, 2, 3], "removed in vain");
        assert!(files.make_room(500, used).unwrap());
        assert_eq!(ids(&files), [1, 3]);
    }

    #[test]
    fn a_file_that_was_given_up_may_come_later() {
        let (_folder, files) = files();
        let reason = "no room".to_owned();
        let result = FetchResult::NoRoom { reason };
        files
            .give_up(UpdateId(1), "content", result.clone(), NOW)
            .unwrap();
        let now = |files: &Files| files.result(UpdateId(1), "content", NOW).unwrap().unwrap();
        assert_eq!(now(&files), result);
        put(&files, 1, 10);
        assert_eq!(now(&files).file(), Some("document.bin"));
    }
}
