//! The disk: what processes see, and what a loss of power leaves of it.
//!
//! Files are written whole and synced before they get their name, as `store::atomic` does, so only
//! names can be lost. A change of names is safe once one of its folders is synced, or a minute later;
//! of all others a loss of power keeps an arbitrary part: no order among them is promised by POSIX.
//! A move within one file system is one change: lost or kept as a whole.

use std::collections::BTreeMap;
use std::rc::Rc;

use telepost::clock::Timestamp;
use telepost::state::bots::rate_limits::ChatLimit;
use telepost::state::holds::Conversation;
use telepost::state::inbox::entry::EntryName;
use telepost::state::inbox::view::Item;
use telepost::state::outbox::delivery::{Delivery, DeliveryId, DeliveryState, FinishedDelivery};

/// The process that was at work is dead.
#[derive(Debug)]
pub(crate) struct Died;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folder {
    Inbox,
    Done,
    Conversations,
    Outbox,
    Sent,
    Failed,
    Bot,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Entry(EntryName),
    Holder(String),
    Delivery(DeliveryId),
    Progress(DeliveryId),
    Gates,
}

/// A folder of a session, and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) session: usize,
    pub(crate) folder: Folder,
    pub(crate) name: Name,
}

#[derive(Clone, Debug)]
pub(crate) enum File {
    Entry(Rc<Item>),
    /// A tombstone, and when it became one.
    Settled(Rc<Item>, Timestamp),
    Conversation(Rc<Conversation>),
    Delivery(Rc<Delivery>),
    Progress(Rc<DeliveryState>),
    Finished(Rc<FinishedDelivery>),
    Gates(Rc<Vec<ChatLimit>>),
}

/// A change of names that would not surely survive.
#[derive(Clone, Debug)]
struct Change {
    sets: Vec<(Path, Option<File>)>,
}

pub(crate) type Files = BTreeMap<Path, File>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// The files as every process sees them.
    pub(crate) now: Files,
    /// The files that a loss of power surely leaves.
    pub(crate) durable: Files,
    unsynced: Vec<Change>,
    /// The process at work dies before its so many-th step from here.
    pub(crate) fuse: Option<u8>,
}

impl Disk {
    /// A point at which a process may die.
    pub(crate) fn step(&mut self) -> Result<(), Died> {
        match &mut self.fuse {
            Some(0) => Err(Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, sets: Vec<(Path, Option<File>)>) {
        for (path, file) in &sets {
            set(&mut self.now, path, file.as_ref());
        }
        self.unsynced.push(Change { sets });
    }

    /// Gives a synced file its name.
    pub(crate) fn name(&mut self, path: Path, file: File) -> Result<(), Died> {
        self.step()?;
        self.change(vec![(path, Some(file))]);
        Ok(())
    }

    /// The same, durably.
    pub(crate) fn write(&mut self, path: Path, file: File) -> Result<(), Died> {
        let (session, folder) = (path.session, path.folder);
        self.name(path, file)?;
        self.sync(session, folder)
    }

    pub(crate) fn remove(&mut self, path: &Path) -> Result<(), Died> {
        self.step()?;
        if self.now.contains_key(path) {
            self.change(vec![(path.clone(), None)]);
        }
        Ok(())
    }

    /// Moves an entry to the tombstones. `false` if it is not there.
    pub(crate) fn settle(
        &mut self,
        session: usize,
        name: EntryName,
        at: Timestamp,
    ) -> Result<bool, Died> {
        self.step()?;
        let from = path(session, Folder::Inbox, Name::Entry(name));
        let Some(File::Entry(item)) = self.now.get(&from).cloned() else {
            return Ok(false);
        };
        let to = path(session, Folder::Done, Name::Entry(name));
        self.change(vec![(to, Some(File::Settled(item, at))), (from, None)]);
        Ok(true)
    }

    pub(crate) fn sync(&mut self, session: usize, folder: Folder) -> Result<(), Died> {
        self.step()?;
        let is_in = |change: &Change| {
            let mut sets = change.sets.iter();
            sets.any(|(path, _)| path.session == session && path.folder == folder)
        };
        let (safe, rest): (Vec<_>, Vec<_>) = self.unsynced.drain(..).partition(is_in);
        self.unsynced = rest;
        for (path, _) in safe.iter().flat_map(|change| &change.sets) {
            set(&mut self.durable, path, self.now.get(path));
        }
        Ok(())
    }

    /// The kernel writes everything back by itself.
    pub(crate) fn write_back(&mut self) {
        self.unsynced.clear();
        self.durable.clone_from(&self.now);
    }

    /// The power fails: of the changes that were not synced those whose bit is set survive.
    pub(crate) fn lose(&mut self, keep: u32) {
        for (index, change) in self.unsynced.drain(..).enumerate() {
            if keep >> (index % 32) & 1 == 1 {
                for (path, file) in &change.sets {
                    set(&mut self.durable, path, file.as_ref());
                }
            }
        }
        self.now.clone_from(&self.durable);
    }

    pub(crate) fn get(&self, session: usize, folder: Folder, name: Name) -> Option<&File> {
        self.now.get(&path(session, folder, name))
    }

    pub(crate) fn list(
        &self,
        session: usize,
        folder: Folder,
    ) -> impl DoubleEndedIterator<Item = (&Path, &File)> {
        list(&self.now, session, folder)
    }

    pub(crate) fn entries(&self, session: usize, folder: Folder) -> Vec<EntryName> {
        let names = self.list(session, folder);
        names.filter_map(|(path, _)| path.entry()).collect()
    }

    pub(crate) fn deliveries(&self, session: usize, folder: Folder) -> Vec<DeliveryId> {
        let names = self.list(session, folder);
        names.filter_map(|(path, _)| path.delivery()).collect()
    }

    /// All deliveries, finished or not, in the order of acceptance.
    pub(crate) fn all_deliveries(&self, session: usize) -> Vec<DeliveryId> {
        let folders = [Folder::Outbox, Folder::Sent, Folder::Failed];
        let mut all: Vec<_> = folders
            .into_iter()
            .flat_map(|folder| self.deliveries(session, folder))
            .collect();
        all.sort();
        all.dedup();
        all
    }

    pub(crate) fn finished(&self, session: usize, id: &DeliveryId) -> Option<Rc<FinishedDelivery>> {
        [Folder::Sent, Folder::Failed]
            .into_iter()
            .find_map(
                |folder| match self.get(session, folder, Name::Delivery(id.clone())) {
                    Some(File::Finished(finished)) => Some(Rc::clone(finished)),
                    _ => None,
                },
            )
    }

    pub(crate) fn waiting(&self, session: usize, id: &DeliveryId) -> Option<Rc<Delivery>> {
        match self.get(session, Folder::Outbox, Name::Delivery(id.clone())) {
            Some(File::Delivery(delivery)) => Some(Rc::clone(delivery)),
            _ => None,
        }
    }

    pub(crate) fn delivery(&self, session: usize, id: &DeliveryId) -> Option<Rc<Delivery>> {
        match self.finished(session, id) {
            Some(finished) => Some(Rc::new(finished.delivery.clone())),
            None => self.waiting(session, id),
        }
    }

    pub(crate) fn item(&self, session: usize, folder: Folder, name: EntryName) -> Option<Rc<Item>> {
        match self.get(session, folder, Name::Entry(name)) {
            Some(File::Entry(item) | File::Settled(item, _)) => Some(Rc::clone(item)),
            _ => None,
        }
    }
}

impl Path {
    pub(crate) fn entry(&self) -> Option<EntryName> {
        match &self.name {
            Name::Entry(name) => Some(*name),
            _ => None,
        }
    }

    pub(crate) fn delivery(&self) -> Option<DeliveryId> {
        match &self.name {
            Name::Delivery(id) => Some(id.clone()),
            _ => None,
        }
    }
}

pub(crate) fn path(session: usize, folder: Folder, name: Name) -> Path {
    Path {
        session,
        folder,
        name,
    }
}

pub(crate) fn list(
    files: &Files,
    session: usize,
    folder: Folder,
) -> impl DoubleEndedIterator<Item = (&Path, &File)> {
    let first = path(
        session,
        folder,
        Name::Entry(EntryName {
            received: i64::MIN,
            update_id: telepost::ids::UpdateId(i64::MIN),
        }),
    );
    let last = path(session, folder, Name::Gates);
    files.range(first..=last)
}

fn set(files: &mut Files, path: &Path, file: Option<&File>) {
    match file {
        Some(file) => {
            files.insert(path.clone(), file.clone());
        }
        None => {
            files.remove(path);
        }
    }
}
