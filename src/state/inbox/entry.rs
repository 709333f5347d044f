//! One entry: its name and its file. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::ids::{Address, BotId, UpdateId};

/// The name of an entry, whose order is the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// When it was written, in milliseconds; strictly increasing within a session.
    pub received: i64,
    /// The update.
    pub update_id: UpdateId,
}

impl EntryName {
    /// Reads a file name such as `1700000000000-815.json`.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (received, update_id) = file_name.strip_suffix(".json")?.split_once('-')?;
        if received.len() != 13 || !received.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // Only the canonical form. With a hundred thousand names, formatting each one to compare would cost.
        let digits = update_id.strip_prefix('-').unwrap_or(update_id);
        let written = !digits.starts_with(['0', '+']) || update_id == "0";
        written.then_some(Self {
            received: received.parse().ok()?,
            update_id: UpdateId(update_id.parse().ok()?),
        })
    }

    /// The file name.
    pub fn file_name(self) -> String {
        format!("{:013}-{}.json", self.received, self.update_id)
    }

    /// When it was written.
    pub fn received_at(self) -> Timestamp {
        Timestamp(self.received)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}-{}", self.received, self.update_id)
    }
}

impl Serialize for EntryName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&format!("{text}.json"))
            .ok_or_else(|| serde::de::Error::custom("not the name of an entry"))
    }
}

/// The file of an entry. Written once, never changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The address that admitted it.
    pub address: Address,
    /// The update's id, also in the name.
    pub update_id: UpdateId,
    /// When it was written, also in the name.
    pub received: Timestamp,
    /// The update as Telegram gave it.
    pub update: Box<RawValue>,
    /// Events of the chat that came before it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
}

impl Entry {
    /// The entry of an admitted update.
    pub fn new(
        address: Address,
        update_id: UpdateId,
        received: Timestamp,
        update: Box<RawValue>,
    ) -> Self {
        Self {
            address,
            update_id,
            received,
            update,
            context: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> EntryName {
        EntryName {
            received: self.received.0,
            update_id: self.update_id,
        }
    }

    /// The bot that received it.
    pub fn bot(&self) -> BotId {
        self.address.bot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_arrival_and_are_read_back() {
        let earlier = EntryName {
            received: 999_999_999_999,
            update_id: UpdateId(9),
        };
        let later = EntryName {
            received: 1_700_000_000_000,
            update_id: UpdateId(1),
        };
        assert_eq!(earlier.file_name(), "0999999999999-9.json");
        assert!(earlier.file_name() < later.file_name() && earlier < later);
        for update_id in [0, 1, 10, -1, i64::MAX, i64::MIN] {
            let name = EntryName {
                received: 1_700_000_000_000,
                update_id: UpdateId(update_id),
            };
            assert_eq!(EntryName::parse(&name.file_name()), Some(name));
        }
    }

    #[test]
    fn other_names_are_no_entries() {
        for name in [
            "1-2.json",
            "1700000000000-x.json",
            "1700000000000-07.json",
            "1700000000000-+7.json",
            "1700000000000--07.json",
            "1700000000000--0.json",
            "1700000000000-.json",
            "1700000000000-7",
            ".1700000000000-7.json.tmp",
            "note.txt",
        ] {
            assert_eq!(EntryName::parse(name), None, "{name}");
        }
    }
}
