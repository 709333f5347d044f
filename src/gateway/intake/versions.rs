//! The newest version of each message, to tell edits that are news from those that Telegram sends by itself: for a
//! reaction, a vote, a link preview. Pure.
//!
//! The versions are those of the entries on disk. They are in memory from the moment at which their entry is named,
//! so the owner forgets all of them when a batch fails.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::ids::{ChatId, MessageId};
use crate::state::inbox::TOMBSTONE_MS;
use crate::state::inbox::entry::EntryName;
use crate::telegram::update::{Body, Message, Update};

/// The newest versions of the messages of one bot.
#[derive(Debug, Default)]
pub(super) struct KnownVersions {
    versions: BTreeMap<(ChatId, MessageId), KnownVersion>,
    /// Whether those of all entries on disk are there.
    pub(super) are_complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct KnownVersion {
    /// The entry of the message.
    name: EntryName,
    /// When it was written, in seconds since 1970.
    date: i64,
    fingerprint: u64,
}

/// The meaning of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EditMeaning {
    /// A reader sees something new.
    News,
    /// A reader sees what was there before.
    Same,
    /// A live location moved; the entry of its message, if that is known.
    Movement(Option<EntryName>),
    /// Only an earlier version could tell, and there is none in memory.
    Unknown,
}

impl KnownVersions {
    /// Records the version of an update that has this entry.
    pub(super) fn record(&mut self, update: &Update, name: EntryName) {
        let Body::Message { message, .. } = &update.body else {
            return;
        };
        // All ephemeral messages have the id 0.
        if message.message_id.0 == 0 {
            return;
        }
        let date = message.version_date();
        let fingerprint = message.fingerprint();
        let version = KnownVersion {
            name,
            date,
            fingerprint,
        };
        let key = (message.chat.id, message.message_id);
        let known = self.versions.entry(key).or_insert(version);
        if date >= known.date {
            (known.date, known.fingerprint) = (date, fingerprint);
        }
    }

    /// The meaning of an edit that came at `now`.
    pub(super) fn judge(&self, message: &Message, now: Timestamp) -> EditMeaning {
        let known = self.versions.get(&(message.chat.id, message.message_id));
        let date = message.version_date();
        match known {
            Some(known) if message.kind() == "location" => EditMeaning::Movement(Some(known.name)),
            // An older version than the known one is an edit that comes again.
            Some(known) if date < known.date || message.fingerprint() == known.fingerprint => {
                EditMeaning::Same
            }
            Some(_) => EditMeaning::News,
            None if !self.are_complete => EditMeaning::Unknown,
            None if message.kind() == "location" => EditMeaning::Movement(None),
            // Its version was forgotten, or never admitted: the date tells whether a person edited it now.
            None if message.message_id.0 == 0 => EditMeaning::News,
            None => {
                let edited = message.edited_at().map(Timestamp::from_unix_seconds);
                let is_recent = |at: Timestamp| now.0.saturating_sub(at.0) < TOMBSTONE_MS;
                if edited.is_some_and(is_recent) {
                    EditMeaning::News
                } else {
                    EditMeaning::Same
                }
            }
        }
    }

    /// Forgets the versions of entries that were received before a time, in milliseconds.
    pub(super) fn forget_before(&mut self, time: i64) {
        self.versions
            .retain(|_, version| version.name.received >= time);
    }
}
