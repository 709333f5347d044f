//! The names of the pending entries, for a process that asks for them again and again.
//!
//! The names of a large folder are listed once. From then on the system tells which of them came and went, so
//! that a call costs the same whether a thousand messages wait or a hundred thousand. An event is there before
//! the change of its name returns to the process that made it, so the names are never older than those of a
//! listing. Where the system cannot tell, and for a small folder, each call lists.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::UpdateId;
use crate::state::inbox::{Entry, EntryName};
use crate::store::watch::NameChanges;
use crate::store::{StateFolder, StoreError};

/// A folder with fewer names is listed by each call: that takes less than a millisecond.
const LARGE: usize = 1000;

/// The pending entries, as one call sees them.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    names: Arc<BTreeSet<EntryName>>,
    /// Entries that have gone since.
    gone: BTreeSet<EntryName>,
}

impl Pending {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len() - self.gone.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an entry is pending.
    pub fn contains(&self, name: &EntryName) -> bool {
        self.names.contains(name) && !self.gone.contains(name)
    }

    /// The entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = EntryName> {
        let names = self.names.iter().copied();
        names.filter(|name| !self.gone.contains(name))
    }

    /// The entry of an update.
    pub fn find(&self, update_id: UpdateId) -> Option<EntryName> {
        self.iter().find(|name| name.update_id == update_id)
    }

    /// Those of these entries that are pending.
    pub fn among(&self, entries: &BTreeSet<EntryName>) -> BTreeSet<EntryName> {
        let pending = entries.iter().filter(|name| self.contains(name));
        pending.copied().collect()
    }

    /// Takes note that an entry is not pending any more.
    pub fn remove(&mut self, name: EntryName) {
        if self.names.contains(&name) {
            self.gone.insert(name);
        }
    }
}

impl From<BTreeSet<EntryName>> for Pending {
    fn from(names: BTreeSet<EntryName>) -> Self {
        Self {
            names: Arc::new(names),
            gone: BTreeSet::new(),
        }
    }
}

/// The names of a large folder, and their changes.
#[derive(Clone, Debug, Default)]
pub(super) struct FollowedNames(Arc<Mutex<Option<Followed>>>);

#[derive(Debug)]
struct Followed {
    changes: NameChanges,
    names: Arc<BTreeSet<EntryName>>,
}

impl FollowedNames {
    /// The names of a folder as they are now.
    pub(super) fn read(&self, folder: &StateFolder<Entry>) -> Result<Pending, StoreError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(followed) = &mut *known
            && followed.catch_up(folder)?
        {
            let names = Arc::clone(&followed.names);
            return Ok(Pending {
                names,
                ..Pending::default()
            });
        }
        *known = None;
        let names = list(folder)?;
        if names.len() < LARGE {
            return Ok(names.into());
        }
        let Some(changes) = NameChanges::of(folder.path()) else {
            return Ok(names.into());
        };
        // Once more: the changes begin now.
        let pending = Pending::from(list(folder)?);
        let names = Arc::clone(&pending.names);
        *known = Some(Followed { changes, names });
        Ok(pending)
    }
}

impl Followed {
    /// Takes over the changes. `false` if there were more than the system can tell.
    fn catch_up(&mut self, folder: &StateFolder<Entry>) -> Result<bool, StoreError> {
        let mut changed = BTreeSet::new();
        let is_complete = self.changes.take(|path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            changed.extend(name.and_then(EntryName::parse));
        });
        if is_complete && !changed.is_empty() {
            let names = Arc::make_mut(&mut self.names);
            for name in changed {
                if folder.file(name.file_name()).exists()? {
                    names.insert(name);
                } else {
                    names.remove(&name);
                }
            }
        }
        Ok(is_complete)
    }
}

pub(super) fn list(folder: &StateFolder<Entry>) -> Result<BTreeSet<EntryName>, StoreError> {
    let mut names = Vec::new();
    folder.visit(|name| names.extend(EntryName::parse(&name)))?;
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::state::StateDir;

    fn name(number: i64) -> EntryName {
        EntryName {
            received: 1_700_000_000_000 + number,
            update_id: UpdateId(number),
        }
    }

    #[test]
    fn what_has_gone_is_neither_counted_nor_named() {
        let mut pending = Pending::from(BTreeSet::from([name(1), name(2)]));
        pending.remove(name(1));
        pending.remove(name(1));
        pending.remove(name(3));
        assert_eq!((pending.len(), pending.is_empty()), (1, false));
        assert_eq!(pending.iter().collect::<Vec<_>>(), [name(2)]);
        assert_eq!(pending.find(UpdateId(1)), None);
        let some = BTreeSet::from([name(1), name(2), name(3)]);
        assert_eq!(pending.among(&some), BTreeSet::from([name(2)]));
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "names that come and go")]
    async fn the_names_of_a_large_folder_are_those_that_a_listing_would_find() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::new(folder.path().to_owned()).session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        let inbox = crate::state::inbox::Inbox::new(&dir);
        let path = |number: i64| inbox.pending.path().join(name(number).file_name());
        let put = |number: i64| std::fs::write(path(number), "").unwrap();
        let check = || {
            let followed: BTreeSet<EntryName> = inbox.follow_pending().unwrap().iter().collect();
            assert_eq!(followed, inbox.pending().unwrap());
        };
        (0..1500).for_each(put);
        check();
        assert!(inbox.followed.0.lock().unwrap().is_some());
        (1500..1600).for_each(put);
        std::fs::remove_file(path(3)).unwrap();
        std::fs::rename(path(4), folder.path().join("elsewhere")).unwrap();
        check();
        std::fs::rename(folder.path().join("elsewhere"), path(4)).unwrap();
        put(3);
        std::fs::remove_file(path(5)).unwrap();
        check();
        // More than the system remembers.
        for _ in 0..8500 {
            std::fs::rename(path(6), path(7)).unwrap();
            std::fs::rename(path(7), path(6)).unwrap();
        }
        (3000..3010).for_each(put);
        check();
        check();
        (0..2500).for_each(|number| drop(std::fs::remove_file(path(number))));
        check();
    }
}
