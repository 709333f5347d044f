//! Parts of albums of which it is not known yet whether they are meant for the bot. Pure.
//!
//! In a group that waits to be named, the part that names the bot may come in a later batch than others.
//! Those are kept for a moment, in memory only: nobody has spoken to the bot yet, so a kill costs what
//! was not meant for it anyway.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::ids::UpdateId;
use crate::routing::Recent;
use crate::telegram::update::{self, Body, Update};

/// How long the part that names the bot may take.
const WAIT: Duration = Duration::from_secs(5);
/// How many parts are kept, and how large one may be.
const MOST: usize = 64;
const BYTES: usize = 64 * 1024;

/// The parts, as they came.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    parts: VecDeque<(Timestamp, UpdateId, Box<RawValue>)>,
}

impl Undecided {
    /// Keeps an update that was not meant, if it is part of an album.
    pub(super) fn keep(&mut self, update: &Update, raw: &RawValue, now: Timestamp) {
        let Body::Message {
            message,
            edited: false,
        } = &update.body
        else {
            return;
        };
        let kept = self.parts.iter().any(|(_, id, _)| *id == update.id);
        if message.media_group_id.is_none() || raw.get().len() > BYTES || kept {
            return;
        }
        self.parts.push_back((now, update.id, raw.to_owned()));
        if self.parts.len() > MOST {
            self.parts.pop_front();
        }
    }

    /// Those that belong to something that is let in by now, in the order in which they came.
    pub(super) fn decided(&self, recent: &Recent) -> Vec<(Update, Box<RawValue>)> {
        let read = self.parts.iter().filter_map(|(_, _, raw)| {
            let update = update::read(raw.get()).ok()?;
            let Body::Message { message, .. } = &update.body else {
                return None;
            };
            recent.has_begun(message).then(|| (update, raw.clone()))
        });
        read.collect()
    }

    /// Forgets those that are stored, and those that nobody has named in time.
    pub(super) fn forget(&mut self, stored: &[(Update, Box<RawValue>)], now: Timestamp) {
        self.parts.retain(|(came, id, _)| {
            now.since(*came) <= WAIT && !stored.iter().any(|(update, _)| update.id == *id)
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn part(id: i64, album: Option<&str>) -> (Update, Box<RawValue>) {
        let message = json!({"message_id": id, "chat": {"id": -50}, "from": {"id": 11},
            "media_group_id": album, "photo": []});
        let raw = json!({"update_id": id, "message": message}).to_string();
        let update = update::read(&raw).unwrap();
        (update, RawValue::from_string(raw).unwrap())
    }

    fn ids(decided: &[(Update, Box<RawValue>)]) -> Vec<i64> {
        decided.iter().map(|(update, _)| update.id.0).collect()
    }

    #[test]
    fn the_parts_of_an_album_are_kept_until_one_names_the_bot_or_some_seconds() {
        let mut undecided = Undecided::default();
        for (id, album) in [(1, Some("a")), (2, None), (3, Some("b")), (4, Some("a"))] {
            let (update, raw) = part(id, album);
            undecided.keep(&update, &raw, NOW);
            undecided.keep(&update, &raw, NOW);
        }
        let mut recent = Recent::default();
        assert_eq!(ids(&undecided.decided(&recent)), [0; 0]);
        recent.take_in(&part(5, Some("a")).0);
        let decided = undecided.decided(&recent);
        assert_eq!(ids(&decided), [1, 4]);
        undecided.forget(&decided, NOW);
        assert_eq!(ids(&undecided.decided(&recent)), [0; 0]);
        recent.take_in(&part(6, Some("b")).0);
        assert_eq!(ids(&undecided.decided(&recent)), [3]);
        undecided.forget(&[], Timestamp(NOW.0 + 6000));
        assert_eq!(ids(&undecided.decided(&recent)), [0; 0]);
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let mut undecided = Undecided::default();
        for id in 1..1000 {
            let (update, raw) = part(id, Some("a"));
            undecided.keep(&update, &raw, NOW);
        }
        assert_eq!(undecided.parts.len(), MOST);
    }
}
