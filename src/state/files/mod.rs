//! The files of one session on disk, and how much room they may take.
//!
//! The gateway puts files here; it alone does, and a folder appears with everything in it. Whoever removes
//! one looks first that no message waits that has it.

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
use crate::state::files::state::{FileState, STATE_FILE, Standing};
use crate::state::inbox::Inbox;
use crate::state::inbox::view::{AttachmentView, FileStanding, Shown};
use crate::state::layout::{SessionDir, StateDir};
use crate::store::StoreError;
use crate::store::atomic;
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::staging::{self, Staging};

/// How many bytes the files of one session may take.
pub const QUOTA: u64 = 1 << 30;
/// How long a file stays after it came, when its message is settled and no tombstone of it is left.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The files of one session.
#[derive(Clone, Debug)]
pub struct Files {
    state: StateDir,
    dir: SessionDir,
}

/// What one message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The message.
    pub update_id: UpdateId,
    /// Since when.
    pub since: Timestamp,
    /// Bytes.
    pub bytes: u64,
}

/// A file that is being written. Unless it is finished, it goes again with this value.
#[derive(Debug)]
pub struct Partial {
    staging: Staging,
    file: File,
    name: String,
    path: PathBuf,
    hash: Sha256,
    size: u64,
}

impl Files {
    /// The files of a session whose folders exist.
    pub fn new(state: &StateDir, dir: SessionDir) -> Self {
        Self {
            state: state.clone(),
            dir,
        }
    }

    fn folder(&self, id: UpdateId) -> PathBuf {
        self.dir.files().join(id.to_string())
    }

    /// How the file of a message stands; `None` if it is not there and nobody has given it up.
    pub fn standing(
        &self,
        id: UpdateId,
        content: &str,
        now: Timestamp,
    ) -> Result<Option<Standing>, ReadError> {
        let path = self.folder(id).join(STATE_FILE);
        let state: Option<FileState> = format::read(&self.state, &path, now)?;
        let standing = state
            .filter(|state| state.content == state::key(content))
            .map(|state| state.standing);
        // Somebody may have removed the file alone.
        Ok(standing.filter(|standing| match standing {
            Standing::Ready { .. } => standing
                .file()
                .is_some_and(|file| self.folder(id).join(file).is_file()),
            Standing::Failed { .. } | Standing::NoRoom { .. } => true,
        }))
    }

    /// Says of each file of a message how it stands now. What cannot be read is said of the file, and
    /// keeps nobody from the message. Returns what the agent should know besides.
    pub fn fill(&self, shown: &mut Shown, now: Timestamp) -> Vec<String> {
        let mut notices = Vec::new();
        for (view, file) in shown.message.attachments.iter_mut().zip(&shown.files) {
            for &id in &file.updates {
                match self.standing(id, &file.content, now) {
                    Ok(Some(standing)) => {
                        self.say(view, id, standing);
                        break;
                    }
                    Ok(None) => {}
                    Err(error @ ReadError::Quarantined { .. }) => {
                        notices.push(format!("A file is fetched once more. {}", Chain(&error)));
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

    fn say(&self, view: &mut AttachmentView, id: UpdateId, standing: Standing) {
        let path = standing.file().map(|file| self.folder(id).join(file));
        match standing {
            Standing::Ready { size, sha256, .. } => {
                view.state = FileStanding::Ready;
                view.path = path.map(|path| path.display().to_string());
                view.size = Some(size);
                view.sha256 = Some(sha256);
                view.reason = None;
            }
            Standing::Failed { reason } | Standing::NoRoom { reason } => {
                view.state = FileStanding::Failed;
                view.reason = Some(reason);
            }
        }
    }

    /// Whether there is a state of a message's file, whatever it says.
    pub fn has_state(&self, id: UpdateId) -> bool {
        self.folder(id).join(STATE_FILE).is_file()
    }

    /// Begins a file under a name of ours.
    pub fn begin(&self, name: String) -> Result<Partial, StoreError> {
        let staging = Staging::create(&self.dir.files())?;
        let (file, path) = staging.file(&name)?;
        Ok(Partial {
            staging,
            file,
            name,
            path,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// The file is complete: from now on it is there, durably.
    pub fn finish(
        &self,
        partial: Partial,
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
        let standing = Standing::Ready {
            file: partial.name,
            size: partial.size,
            sha256,
        };
        self.publish(partial.staging, id, content, standing, now)
    }

    /// Nothing is fetched: says so, durably.
    pub fn give_up(
        &self,
        id: UpdateId,
        content: &str,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let staging = Staging::create(&self.dir.files())?;
        self.publish(staging, id, content, standing, now)
    }

    fn publish(
        &self,
        mut staging: Staging,
        id: UpdateId,
        content: &str,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let state = FileState {
            format: FORMAT,
            content: state::key(content),
            at: now,
            standing,
        };
        let (mut file, path) = staging.file(STATE_FILE)?;
        let failed = |source| StoreError::new("write", &path, source);
        file.write_all(&format::encode(&path, &state)?)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        staging.sync()?;
        // What was given up for lack of room, or belonged to another bot's update of that number.
        staging::remove_folder(&self.folder(id), Step::Sweep)?;
        staging.publish(&self.folder(id), Step::Download)?;
        staging.keep();
        Ok(())
    }

    /// What lies here, by message. The order is that of the numbers, which says nothing.
    pub fn kept(&self) -> Result<Vec<Kept>, StoreError> {
        let mut kept = Vec::new();
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
                // One that is gone this moment takes no room.
                bytes += std::fs::metadata(folder.join(file)).map_or(0, |file| file.len());
            }
            kept.push(Kept {
                update_id,
                // The last change of a name in it: when it was filled.
                since: Timestamp(metadata.mtime().saturating_mul(1000)),
                bytes,
            });
        }
        Ok(kept)
    }

    /// What of it belongs to no message that waits, the oldest first.
    fn settled(&self) -> Result<Vec<Kept>, StoreError> {
        // In this order: a folder that is there now had its entry before.
        let mut kept = self.kept()?;
        let pending = Inbox::new(&self.state, self.dir.clone()).pending()?;
        let pending: BTreeSet<UpdateId> = pending.iter().map(|name| name.update_id).collect();
        kept.retain(|kept| !pending.contains(&kept.update_id));
        kept.sort_by_key(|kept| (kept.since, kept.update_id));
        Ok(kept)
    }

    /// Makes room for a file below the quota: files of settled messages go, the oldest first. `false`
    /// if that is not enough.
    pub fn make_room(&self, bytes: u64, quota: u64) -> Result<bool, StoreError> {
        let mut used: u64 = self.kept()?.iter().map(|kept| kept.bytes).sum();
        let fits = |used: u64| used.saturating_add(bytes) <= quota;
        if fits(used) {
            return Ok(true);
        }
        let settled = self.settled()?;
        let most: u64 = settled.iter().map(|kept| kept.bytes).sum();
        // What would be removed in vain stays.
        if !fits(used.saturating_sub(most)) {
            return Ok(false);
        }
        for kept in settled {
            if fits(used) {
                break;
            }
            self.remove(kept.update_id)?;
            used = used.saturating_sub(kept.bytes);
        }
        Ok(true)
    }

    /// Removes what is past its time, and what a kill has left.
    pub fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        staging::sweep_folders(&self.dir.files(), |_| Ok(None), Step::Sweep)?;
        // An agent may still be at work on what it has answered.
        let inbox = Inbox::new(&self.state, self.dir.clone());
        let seen: BTreeSet<UpdateId> = inbox
            .seen()?
            .into_iter()
            .map(|name| name.update_id)
            .collect();
        for kept in self.settled()? {
            if !seen.contains(&kept.update_id) && now.since(kept.since) > KEEP {
                self.remove(kept.update_id)?;
            }
        }
        let mut used: u64 = self.kept()?.iter().map(|kept| kept.bytes).sum();
        for kept in self.settled()? {
            if used <= QUOTA {
                break;
            }
            self.remove(kept.update_id)?;
            used = used.saturating_sub(kept.bytes);
        }
        Ok(())
    }

    /// The files of settled messages that came longer ago than that.
    pub fn prunable(&self, older_than: Duration, now: Timestamp) -> Result<Vec<Kept>, StoreError> {
        let mut settled = self.settled()?;
        settled.retain(|kept| now.since(kept.since) >= older_than);
        Ok(settled)
    }

    /// Removes the files of a message.
    pub fn remove(&self, id: UpdateId) -> Result<(), StoreError> {
        staging::remove_folder(&self.folder(id), Step::Sweep)
    }
}

impl Partial {
    /// The next bytes.
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
    use crate::state::inbox;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let dir = state.session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        (folder, Files::new(&state, dir))
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
        let entry = inbox::entry(address, UpdateId(id), NOW, raw);
        Inbox::new(&files.state, files.dir.clone())
            .put(&entry)
            .unwrap();
    }

    fn ids(files: &Files) -> Vec<i64> {
        let mut ids: Vec<i64> = files
            .kept()
            .unwrap()
            .iter()
            .map(|kept| kept.update_id.0)
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
        let there = |content: &str| files.standing(UpdateId(1), content, NOW).unwrap().is_some();
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
        let used: u64 = files.kept().unwrap().iter().map(|kept| kept.bytes).sum();
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
        let standing = Standing::NoRoom { reason };
        files
            .give_up(UpdateId(1), "content", standing.clone(), NOW)
            .unwrap();
        let now = |files: &Files| {
            files
                .standing(UpdateId(1), "content", NOW)
                .unwrap()
                .unwrap()
        };
        assert_eq!(now(&files), standing);
        put(&files, 1, 10);
        assert_eq!(now(&files).file(), Some("document.bin"));
    }
}
