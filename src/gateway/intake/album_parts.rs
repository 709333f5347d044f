//! Parts of albums that do not address the bot, kept for a moment: a later part may address it. Pure.
//!
//! In a group with `require_mention` the part that names the bot may come in a later batch than the others.
//! The parts are in memory only: until then no part was meant for the bot, so a kill loses nothing that was.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::ids::UpdateId;
use crate::routing::recent::RecentlyAdmitted;
use crate::telegram::update::{self, Body, Update};

/// How long a part waits for the one that names the bot.
const WAIT: Duration = Duration::from_secs(5);
/// How many parts are kept.
const PARTS_MOST: usize = 64;
/// How large a part may be, in bytes.
const PART_MOST: usize = 64 * 1024;

/// The parts, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct AlbumParts(VecDeque<(Timestamp, UpdateId, Box<RawValue>)>);

impl AlbumParts {
    /// Keeps an update if it is a part of an album.
    pub(super) fn keep(&mut self, update: &Update, raw: &RawValue, now: Timestamp) {
        let Body::Message {
            message,
            edited: false,
        } = &update.body
        else {
            return;
        };
        let is_kept = self.0.iter().any(|(_, id, _)| *id == update.id);
        if message.media_group_id.is_none() || raw.get().len() > PART_MOST || is_kept {
            return;
        }
        self.0.push_back((now, update.id, raw.to_owned()));
        if self.0.len() > PARTS_MOST {
            self.0.pop_front();
        }
    }

    /// The parts of albums that are admitted by now, oldest first.
    pub(super) fn admitted(&self, recent: &RecentlyAdmitted) -> Vec<(Update, Box<RawValue>)> {
        let read = self.0.iter().filter_map(|(_, _, raw)| {
            let update = update::read(raw.get()).ok()?;
            let Body::Message { message, .. } = &update.body else {
                return None;
            };
            recent
                .is_continued_by(message)
                .then(|| (update, raw.clone()))
        });
        read.collect()
    }

    /// Removes the parts that are stored, and those that have waited too long.
    pub(super) fn remove(&mut self, stored: &[(Update, Box<RawValue>)], now: Timestamp) {
        self.0.retain(|(came, id, _)| {
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

    fn ids(admitted: &[(Update, Box<RawValue>)]) -> Vec<i64> {
        admitted.iter().map(|(update, _)| update.id.0).collect()
    }

    #[test]
    fn the_parts_of_an_album_are_kept_until_one_names_the_bot_or_some_seconds() {
        let mut parts = AlbumParts::default();
        for (id, album) in [(1, Some("a")), (2, None), (3, Some("b")), (4, Some("a"))] {
            let (update, raw) = part(id, album);
            parts.keep(&update, &raw, NOW);
            parts.keep(&update, &raw, NOW);
        }
        let mut recent = RecentlyAdmitted::default();
        assert_eq!(ids(&parts.admitted(&recent)), [0; 0]);
        recent.remember(&part(5, Some("a")).0);
        let admitted = parts.admitted(&recent);
        assert_eq!(ids(&admitted), [1, 4]);
        parts.remove(&admitted, NOW);
        assert_eq!(ids(&parts.admitted(&recent)), [0; 0]);
        recent.remember(&part(6, Some("b")).0);
        assert_eq!(ids(&parts.admitted(&recent)), [3]);
        parts.remove(&[], Timestamp(NOW.0 + 6000));
        assert_eq!(ids(&parts.admitted(&recent)), [0; 0]);
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let mut parts = AlbumParts::default();
        for id in 1..1000 {
            let (update, raw) = part(id, Some("a"));
            parts.keep(&update, &raw, NOW);
        }
        assert_eq!(parts.0.len(), PARTS_MOST);
    }
}
