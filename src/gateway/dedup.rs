//! Which updates were stored, and where: the names that an update which comes again is recognised by. Pure.
//!
//! Whether such a file is really there is asked of the disk. A busy house has tens of thousands of them
//! in two days, so each takes as little as it can.

use std::collections::BTreeSet;

use crate::ids::{SessionId, UpdateId};
use crate::state::inbox::entry::EntryName;

/// Names of entries and tombstones, of all sessions.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The sessions, by their place here.
    sessions: Vec<SessionId>,
    /// Update, session, and when it was received.
    names: BTreeSet<(UpdateId, u32, i64)>,
}

impl Known {
    /// Notes that a session has a file of that name.
    pub(super) fn note(&mut self, session: &SessionId, name: EntryName) {
        let place = self.sessions.iter().position(|known| known == session);
        let place = place.unwrap_or_else(|| {
            self.sessions.push(session.clone());
            self.sessions.len() - 1
        });
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.names.insert((name.update_id, place, name.received));
    }

    /// Where an update may be.
    pub(super) fn of(&self, id: UpdateId) -> Vec<(SessionId, EntryName)> {
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

    /// Forgets one name.
    pub(super) fn forget(&mut self, session: &SessionId, name: EntryName) {
        let place = self.sessions.iter().position(|known| known == session);
        if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
            self.names.remove(&(name.update_id, place, name.received));
        }
    }

    /// Forgets what was received before that time.
    pub(super) fn forget_before(&mut self, time: i64) {
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
        let mut known = Known::default();
        let (one, two) = (session("ONE"), session("TWO"));
        for (session, name) in [
            (&one, name(10, 5)),
            (&two, name(11, 5)),
            (&two, name(12, 6)),
            (&one, name(13, 4)),
            (&one, name(10, 5)),
        ] {
            known.note(session, name);
        }
        let places = [(one.clone(), name(10, 5)), (two.clone(), name(11, 5))];
        assert_eq!(known.of(UpdateId(5)), places);
        known.forget(&one, name(11, 5));
        assert_eq!(known.of(UpdateId(5)), places);
        known.forget(&two, name(11, 5));
        assert_eq!(known.of(UpdateId(5)), [(one, name(10, 5))]);
        known.forget_before(12);
        assert_eq!(known.of(UpdateId(5)), []);
        assert_eq!(known.of(UpdateId(6)), [(two, name(12, 6))]);
        assert_eq!(known.of(UpdateId(7)), []);
    }
}
