//! The inbox: admitted updates, one immutable file each, from pending to settled.
//!
//! On disk: `inbox/<received>-<update_id>.json` is pending; a settled entry is the same file in `done/`. An event
//! of the chat waits in `context/` until the next message takes it along, and is settled then. `positions/` has the
//! newest position of a pending live location, under the name of its entry.
//! After a crash an entry is in one of these folders, in both, which counts as settled, or in none: then
//! Telegram delivers it again.
//!
//! The gateway adds entries; the MCP server or the gateway settles them. The decision which messages are
//! shown or answered is not made here.

pub mod dead_letters;
pub mod entry;
pub mod pending;
pub mod summary;
pub mod view;

use std::collections::BTreeSet;

use serde_json::value::RawValue;

pub use self::entry::{Entry, EntryName};
use crate::clock::{DAY_MS, Timestamp};
use crate::ids::{BotId, UpdateId};
use crate::state::SessionDir;
use crate::state::inbox::pending::{FollowedNames, Pending};
use crate::store::{
    Durability, Inspection, PreparedFile, ReadError, StateFile, StateFolder, Step, StoreError,
};

/// How long a settled entry stays as a tombstone. Telegram keeps updates for 24 h.
pub const TOMBSTONE_MS: i64 = 48 * 3600 * 1000;

/// The inbox of one session.
#[derive(Clone, Debug)]
pub struct Inbox {
    pending: StateFolder<Entry>,
    settled: StateFolder<Entry>,
    events: StateFolder<Entry>,
    positions: StateFolder<Entry>,
    followed: FollowedNames,
}

impl Inbox {
    /// The inbox of a session whose folders exist.
    pub fn new(dir: &SessionDir) -> Self {
        let folder = |path, step| dir.storage().folder(path, step);
        Self {
            pending: folder(dir.inbox(), Step::InboxEntry).with(Durability::FileSynced),
            settled: folder(dir.done(), Step::Command),
            events: folder(dir.context(), Step::InboxEntry).with(Durability::FileSynced),
            positions: folder(dir.positions(), Step::Presence).with(Durability::Unsynced),
            followed: FollowedNames::default(),
        }
    }

    fn pending_file(&self, name: EntryName) -> StateFile<Entry> {
        self.pending.file(name.file_name())
    }

    fn settled_file(&self, name: EntryName) -> StateFile<Entry> {
        self.settled.file(name.file_name())
    }

    /// Writes an entry. Durable only after [`Self::sync`].
    pub fn put(&self, entry: &Entry) -> Result<(), StoreError> {
        self.pending_file(entry.name()).write(entry)
    }

    /// Makes the bytes of an entry durable, without a name. A file system commits several syncs at once, so the
    /// entries of a batch are prepared in parallel.
    pub fn prepare(&self, entry: &Entry) -> Result<PreparedFile, StoreError> {
        self.pending_file(entry.name()).prepare(entry)
    }

    /// Does the same with an event.
    pub fn prepare_event(&self, event: &Entry) -> Result<PreparedFile, StoreError> {
        self.events.file(event.name().file_name()).prepare(event)
    }

    /// The events that wait, oldest first.
    pub fn events(&self) -> Result<Vec<Entry>, StoreError> {
        let names = self.events.names()?.into_iter();
        let read = names.map(|name| Ok(self.events.file(name).inspect()?.intact()));
        read.filter_map(Result::transpose).collect()
    }

    /// Settles events, unsynced: a loss of power shows them once more.
    pub fn settle_events(&self, names: &[EntryName]) -> Result<(), StoreError> {
        for &name in names {
            let event = self.events.file(name.file_name()).at(Step::Settle);
            event.rename_to(&self.settled_file(name))?;
        }
        Ok(())
    }

    /// Replaces the position of a pending live location; of a settled one there is nothing left to show.
    pub fn put_position(&self, name: EntryName, update: &RawValue) -> Result<(), StoreError> {
        let Some(entry) = self.peek(name)? else {
            return Ok(());
        };
        let update = update.to_owned();
        self.positions
            .file(name.file_name())
            .write(&Entry { update, ..entry })
    }

    /// The entry with the newest position, if it is a live location.
    fn at_newest_position(&self, entry: Entry) -> Entry {
        if !entry.update.get().contains("\"live_period\"") {
            return entry;
        }
        let newest = self.positions.file(entry.name().file_name()).peek();
        newest.unwrap_or(entry)
    }

    /// Writes a bot command as a tombstone, durably: it is carried out now, and is never pending.
    pub fn put_command(&self, command: &Entry) -> Result<(), StoreError> {
        self.settled_file(command.name()).write(command)
    }

    /// Makes the names in `inbox/` durable.
    pub fn sync_names(&self) -> Result<(), StoreError> {
        self.pending.sync()
    }

    /// Makes the entries of a batch durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.pending.sync_batch(Step::InboxSync)
    }

    /// Makes the events of a batch durable.
    pub fn sync_events(&self) -> Result<(), StoreError> {
        self.events.sync_batch(Step::InboxSync)
    }

    /// The names of the pending entries, oldest first.
    pub fn pending(&self) -> Result<BTreeSet<EntryName>, StoreError> {
        pending::list(&self.pending)
    }

    /// The same for a process that asks again and again: it does not take longer the more wait.
    pub fn follow_pending(&self) -> Result<Pending, StoreError> {
        self.followed.read(&self.pending)
    }

    /// Every stored update. The folders are read in the order in which entries move, so an entry that moves
    /// meanwhile is not missed, but may be named twice.
    pub fn stored(&self) -> Result<Vec<EntryName>, StoreError> {
        let mut names = Vec::new();
        for folder in [&self.pending, &self.events, &self.settled] {
            folder.visit(|name| names.extend(EntryName::parse(&name)))?;
        }
        Ok(names)
    }

    /// Whether an entry of that name is stored for this bot. A damaged pending entry does not count: it moves to
    /// the quarantine, and Telegram's copy takes its place. A damaged tombstone counts, because its name alone
    /// matters.
    pub fn knows(&self, name: EntryName, bot: BotId, now: Timestamp) -> Result<bool, StoreError> {
        match self.read(name, now) {
            Ok(Some(entry)) => return Ok(entry.bot() == bot),
            Ok(None) => {}
            Err(ReadError::Newer { .. }) => return Ok(true),
            Err(ReadError::Quarantined { .. }) => return Ok(false),
            Err(ReadError::Store(error)) => return Err(error),
        }
        for file in [self.events.file(name.file_name()), self.settled_file(name)] {
            match file.inspect()? {
                Inspection::Missing => {}
                Inspection::Intact(entry) => return Ok(entry.bot() == bot),
                Inspection::Newer(_) | Inspection::Damaged(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Reads a pending entry. `None` if it has been settled.
    pub fn read(&self, name: EntryName, now: Timestamp) -> Result<Option<Entry>, ReadError> {
        let entry = self.pending_file(name).read(now)?;
        Ok(entry.map(|entry| self.at_newest_position(entry)))
    }

    /// Reads a pending entry without moving a damaged file.
    pub fn peek(&self, name: EntryName) -> Result<Option<Entry>, StoreError> {
        let entry = self.pending_file(name).inspect()?.intact();
        Ok(entry.map(|entry| self.at_newest_position(entry)))
    }

    /// Does the same with a tombstone.
    pub fn peek_settled(&self, name: EntryName) -> Result<Option<Entry>, StoreError> {
        Ok(self.settled_file(name).inspect()?.intact())
    }

    /// Reads the tombstone of an update.
    pub fn read_settled(
        &self,
        update_id: UpdateId,
        now: Timestamp,
    ) -> Result<Option<Entry>, ReadError> {
        let suffix = format!("-{update_id}.json");
        let names = self.settled.names()?;
        match names.iter().rfind(|name| name.ends_with(&suffix)) {
            Some(name) => self.settled.file(name).read(now),
            None => Ok(None),
        }
    }

    /// Settles entries, durably. Entries that another process has settled are no error. Returns the entries
    /// that this call moved.
    pub fn settle(&self, names: &[EntryName]) -> Result<Vec<EntryName>, StoreError> {
        let mut moved = Vec::new();
        for &name in names {
            let pending = self.pending_file(name).at(Step::Settle);
            if pending.rename_to(&self.settled_file(name))? {
                moved.push(name);
            }
        }
        // Also for entries that another process moved: it may have died before it synced.
        if !names.is_empty() {
            // The new names first: a loss of power in between leaves two names, never none.
            self.settled.sync()?;
            self.pending.sync()?;
        }
        Ok(moved)
    }

    /// The time of the name for an update that comes at `now`. Names strictly increase: order is kept by counting on
    /// from the newest. `told` is the time that Telegram gives the update: it keeps updates for a day, so a clock
    /// further ahead has jumped. `newest` and `waiting` are the newest name and the newest one that waits; where only
    /// settled names lie in the future, new ones come back to the clock.
    pub fn next_name(now: Timestamp, told: Option<Timestamp>, newest: i64, waiting: i64) -> i64 {
        let latest = told.map_or(now.0, |told| told.0.saturating_add(DAY_MS));
        let now = Timestamp(now.0.min(latest));
        let last = if now.is_future(Timestamp(newest)) && !now.is_future(Timestamp(waiting)) {
            waiting
        } else {
            newest
        };
        now.0.max(last + 1)
    }

    /// Removes tombstones that were settled more than [`TOMBSTONE_MS`] ago, by the clock of the file system.
    pub fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut removed = 0;
        let newest = self.stored()?.into_iter().max();
        let until = now.for_expiry(newest.map_or(now, EntryName::received_at));
        for name in self.settled.names()? {
            let file = self.settled.file(&name).at(Step::Sweep);
            let Some(settled) = file.believed_change(now) else {
                continue;
            };
            let received = EntryName::parse(&name).map(EntryName::received_at);
            // A folder that was copied has newer changes; a name from the future says nothing.
            let received = received.filter(|received| !now.is_future(*received));
            let settled = settled.max(received.unwrap_or_default());
            if until.0.saturating_sub(settled.0) > TOMBSTONE_MS {
                file.remove()?;
                removed += 1;
            }
        }
        for name in self.positions.names()? {
            if !self.pending.file(&name).exists()? {
                self.positions.file(name).at(Step::Sweep).remove()?;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Address, ChatId, SessionId};
    use crate::state::StateDir;
    use crate::store::atomic;

    const BOT: BotId = BotId(7);

    fn inbox() -> (tempfile::TempDir, StateDir, Inbox) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let dir = state.session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        let inbox = Inbox::new(&dir);
        (folder, state, inbox)
    }

    fn sample(update_id: i64, received: i64) -> Entry {
        let address = Address {
            bot_id: BOT,
            chat_id: ChatId(11),
            topic_id: None,
        };
        let raw =
            serde_json::value::RawValue::from_string(format!(r#"{{"update_id":{update_id}}}"#))
                .unwrap();
        Entry::new(address, UpdateId(update_id), Timestamp(received), raw)
    }

    #[test]
    fn an_entry_keeps_the_update_to_the_byte() {
        let (_folder, _state, inbox) = inbox();
        let raw = r#"{"update_id":5,"x":1.0,"e":"\ud83d\ude00","deep":[[[]]]}"#;
        let mut entry = sample(5, 1_700_000_000_000);
        entry.update = serde_json::value::RawValue::from_string(raw.to_owned()).unwrap();
        inbox.put(&entry).unwrap();
        let read = inbox.read(entry.name(), Timestamp(1)).unwrap().unwrap();
        assert_eq!(read.update.get(), raw);
        assert_eq!(read.address, entry.address);
    }

    #[test]
    fn settling_twice_is_settling_once() {
        let (_folder, _state, inbox) = inbox();
        let entry = sample(5, 1_700_000_000_000);
        inbox.put(&entry).unwrap();
        assert_eq!(inbox.settle(&[entry.name()]).unwrap(), [entry.name()]);
        assert_eq!(inbox.settle(&[entry.name()]).unwrap(), []);
        assert!(inbox.pending().unwrap().is_empty());
        assert!(inbox.knows(entry.name(), BOT, Timestamp(1)).unwrap());
    }

    #[test]
    fn the_same_update_id_of_another_bot_is_another_update() {
        let (_folder, _state, inbox) = inbox();
        let entry = sample(5, 1_700_000_000_000);
        inbox.put(&entry).unwrap();
        assert!(inbox.knows(entry.name(), BOT, Timestamp(1)).unwrap());
        assert!(!inbox.knows(entry.name(), BotId(8), Timestamp(1)).unwrap());
        inbox.settle(&[entry.name()]).unwrap();
        assert!(!inbox.knows(entry.name(), BotId(8), Timestamp(1)).unwrap());
    }

    #[test]
    fn a_damaged_pending_entry_is_not_known_so_telegrams_copy_can_replace_it() {
        let (_folder, state, inbox) = inbox();
        let entry = sample(5, 1_700_000_000_000);
        let path = state
            .session(&SessionId::new("ONE").unwrap())
            .inbox()
            .join(entry.name().file_name());
        atomic::replace_file(&path, b"{\"for", Step::InboxEntry, Durability::Synced).unwrap();
        assert!(!inbox.knows(entry.name(), BOT, Timestamp(1)).unwrap());
        assert_eq!(atomic::list_names(&state.quarantine()).unwrap().len(), 1);
    }

    #[test]
    fn names_count_on_and_come_back_to_the_clock_once_only_settled_ones_are_ahead() {
        let now = Timestamp(1_700_000_000_000);
        let name = |told: Option<i64>, newest: i64, waiting: i64| {
            let told = told.map(|told| Timestamp(now.0 + told));
            Inbox::next_name(now, told, now.0 + newest, now.0 + waiting) - now.0
        };
        assert_eq!(name(None, -5, -9), 0);
        assert_eq!(name(None, 5, -9), 6);
        assert_eq!(name(Some(-2 * DAY_MS), -5 * DAY_MS, -9 * DAY_MS), -DAY_MS);
        assert_eq!(name(None, DAY_MS, DAY_MS), DAY_MS + 1);
        assert_eq!(name(None, 9 * DAY_MS, -9), 0);
        assert_eq!(name(None, 9 * DAY_MS, 7), 8);
        assert_eq!(name(None, 9 * DAY_MS, 8 * DAY_MS), 9 * DAY_MS + 1);
    }

    #[test]
    fn fresh_tombstones_stay_and_old_ones_go() {
        let (_folder, _state, inbox) = inbox();
        let now = crate::clock::Clock::system().now();
        let entry = sample(5, now.0 - TOMBSTONE_MS * 3);
        inbox.put(&entry).unwrap();
        inbox.settle(&[entry.name()]).unwrap();
        assert_eq!(inbox.sweep(now).unwrap(), 0);
        assert_eq!(
            inbox
                .sweep(Timestamp(now.0 + TOMBSTONE_MS + 60_000))
                .unwrap(),
            1
        );
        assert!(!inbox.knows(entry.name(), BOT, now).unwrap());
    }
}
