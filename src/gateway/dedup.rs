//! Deduplication: the names of stored updates, by which an update that comes again is recognised. Pure.
//!
//! The caller asks the disk whether the file is really there. A busy bot has tens of thousands of names in
//! two days, so each takes as little memory as possible.

use std::collections::BTreeSet;

use crate::ids::{SessionId, UpdateId};
use crate::state::inbox::entry::EntryName;

/// Names of entries and tombstones of all sessions.
#[derive(Debug, Default)]
pub(super) struct StoredNames {
    /// The sessions, by index.
    sessions: Vec<SessionId>,
    /// Update, index of its session, and time of receipt.
    names: BTreeSet<(UpdateId, u32, i64)>,
}

impl StoredNames {
    pub(super) fn insert(&mut self, session: &SessionId, name: EntryName) {
        let place = self.sessions.iter().position(|known| known == session);
        let place = place.unwrap_or_else(|| {
            self.sessions.push(session.clone());
            self.sessions.len() - 1
        });
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.names.insert((name.update_id, place, name.received));
    }

    /// Where an update may be stored.
    pub(super) fn find(&self, id: UpdateId) -> Vec<(SessionId, EntryName)> {
        let named = |&(update_id, place, received): &(UpdateId, u32, i64)| {
            let session = self.sessions.get(usize::try_from(place).ok()?)?;
            let name = EntryName {
                received,
                update_id,
            };
            Some((session.clone(), name))
        };
        let all = (id, 0, i64::MIN)..=(id, u32::MAX, i64::MAX);
        self.names.range(all).filter_map(named).collect()
    }

    pub(super) fn remove(&mut self, session: &SessionId, name: EntryName) {
        let place = self.sessions.iter().position(|known| known == session);
        if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
            self.names.remove(&(name.update_id, place, name.received));
        }
    }

    /// Removes names that were received before a time, in milliseconds.
    pub(super) fn remove_before(&mut self, time: i64) {
        self.names.retain(|(_, _, received)| *received >= time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> SessionId {
        SessionId::new(id).unwrap()
    }

    fn name(received: i64, update_id: i64) -> EntryName {
        EntryName {
            received,
            update_id: UpdateId(update_id),
        }
    }

    #[test]
    fn every_place_of_an_update_is_known_and_no_other() {
        let mut stored = StoredNames::default();
        let (one, two) = (session("ONE"), session("TWO"));
        for (session, name) in [
            (&one, name(10, 5)),
            (&two, name(11, 5)),
            (&two, name(12, 6)),
            (&one, name(13, 4)),
            (&one, name(10, 5)),
        ] {
            stored.insert(session, name);
        }
        let places = [(one.clone(), name(10, 5)), (two.clone(), name(11, 5))];
        assert_eq!(stored.find(UpdateId(5)), places);
        stored.remove(&one, name(11, 5));
        assert_eq!(stored.find(UpdateId(5)), places);
        stored.remove(&two, name(11, 5));
        assert_eq!(stored.find(UpdateId(5)), [(one, name(10, 5))]);
        stored.remove_before(12);
        assert_eq!(stored.find(UpdateId(5)), []);
        assert_eq!(stored.find(UpdateId(6)), [(two, name(12, 6))]);
        assert_eq!(stored.find(UpdateId(7)), []);
    }
}
