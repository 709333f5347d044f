//! The messages that one agent was shown and is answering, and the file that says so.
//!
//! A conversation never decides what is answered: the outbox does. A held entry without an inbox file
//! is settled, whatever stands here.
//!
//! A hold names the MCP server process that showed the message. It is written before the result goes
//! out, and unsynced: a kill keeps it, and a loss of power ends the agent as well. Whether the result
//! reached the client only its process knows, in memory; another process of the same agent shows the
//! message again before a reply may settle it.

mod files;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::files::Holds;
use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, UpdateId};
use crate::state::inbox::EntryName;
use crate::state::inbox::view::RenderedMessage;
use crate::state::outbox::DeliveryId;

/// A living holder that has not called for so long no longer keeps others from its messages.
pub const SILENCE: Duration = Duration::from_secs(30 * 60);
/// The same text again within this time, with nothing newly shown in between, is the same reply.
pub const REPEAT_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How many messages are remembered that were settled before their files had come.
const LATE_MOST: usize = 20;

/// The file of one holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The agent.
    pub holder: String,
    /// The client's name and process, for people.
    pub label: String,
    /// When the holder last called.
    pub active_at: Timestamp,
    /// When it was first shown the newest message that it has surely read.
    pub shown_at: Timestamp,
    /// The messages that it was shown and has not settled, in the order of showing.
    pub held: Vec<Held>,
    /// The progress messages that later ones edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<ProgressTurn>,
    /// The messages that were settled before their files had come, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Late>,
}

/// One message that the holder was shown.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Names the message.
    pub update_id: UpdateId,
    /// Telegram's id of it.
    pub message_id: MessageId,
    /// Where it came from.
    pub address: Address,
    /// The entries behind it.
    pub entries: Vec<EntryName>,
    /// The MCP server process that showed it last; `None` if an earlier version of telepost did.
    pub server: Option<String>,
    /// When the holder was shown it first.
    #[serde(default)]
    pub shown_at: Timestamp,
    /// Whether a file of it was still being fetched when it was shown last: it is shown again when that
    /// file is there, or given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_files: bool,
    /// Always `false`. Processes of an earlier version need the field, and then show the message again.
    #[serde(default, skip_deserializing)]
    pub seen: bool,
}

/// A message that was answered, acknowledged or dropped while a file of it was being fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Names the message.
    pub update_id: UpdateId,
    /// The entries behind it; they are settled.
    pub entries: Vec<EntryName>,
    /// Whether its holder knows that the files have come, or never will.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// A turn that has shown progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressTurn {
    /// Where.
    pub address: Address,
    /// Its first progress delivery, which names it.
    pub first: DeliveryId,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyTarget {
    /// To the conversation that the agent was shown.
    Held(Address),
    /// A message of its own: to a conversation of which it holds nothing, or that it does not answer.
    Own(Address),
}

impl ReplyTarget {
    /// The place.
    pub fn address(self) -> Address {
        match self {
            Self::Held(address) | Self::Own(address) => address,
        }
    }
}

/// A reply cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// The agent holds nothing.
    NothingHeld,
    /// It holds several conversations and has not said which it means: one message of each.
    Several(Vec<Held>),
}

impl Conversation {
    /// A holder that was shown nothing.
    pub fn new(holder: &str, label: &str, now: Timestamp) -> Self {
        Self {
            holder: holder.to_owned(),
            label: label.to_owned(),
            active_at: now,
            shown_at: Timestamp(0),
            held: Vec::new(),
            turns: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Takes note of the messages that the holder has surely read: newer ones than those before make the
    /// same answer a new one, and end the turn of their conversation.
    pub fn observe_read(&mut self, server: &str, read: &BTreeSet<EntryName>) {
        for held in &self.held {
            if !held.is_read(server, read) {
                continue;
            }
            self.shown_at = self.shown_at.max(held.shown_at);
            self.turns.retain(|turn| {
                turn.address != held.address || turn.first.accepted > held.shown_at.0
            });
        }
    }

    /// Forgets the messages that are no longer pending: they are settled. A conversation of which nothing
    /// is left has no turn any more. A message whose files had not come is remembered.
    pub fn reconcile(&mut self, pending: &BTreeSet<EntryName>) {
        let before = self.addresses();
        let mut late = Vec::new();
        for held in &mut self.held {
            let (left, settled) = held
                .entries
                .iter()
                .partition(|entry| pending.contains(entry));
            held.entries = left;
            if held.awaits_files {
                late.push(Late {
                    update_id: held.update_id,
                    entries: settled,
                    told: false,
                });
            }
        }
        self.take_over(late);
        self.held.retain(|held| !held.entries.is_empty());
        let after = self.addresses();
        for address in before.difference(&after) {
            self.turns.retain(|turn| turn.address != *address);
        }
    }

    /// Takes the messages that a result of this server shows into the hold. A message that the holder
    /// has surely read from this server stays as it is.
    pub fn hold(
        &mut self,
        shown: &[&RenderedMessage],
        server: &str,
        read: &BTreeSet<EntryName>,
        now: Timestamp,
    ) {
        for shown in shown {
            let awaits_files = shown.message.awaits_files();
            let known = self.read_entries(server, read);
            if shown.entries.iter().all(|entry| known.contains(entry)) {
                for held in &mut self.held {
                    if held
                        .entries
                        .iter()
                        .any(|entry| shown.entries.contains(entry))
                    {
                        held.awaits_files = awaits_files;
                    }
                }
                continue;
            }
            // RenderedMessage again: it is as old as its first showing, unless it has one more part now.
            let earlier = self.held.iter().filter(|held| {
                let mut entries = shown.entries.iter();
                entries.all(|entry| held.entries.contains(entry))
            });
            let shown_at = earlier.map(|held| held.shown_at).max().unwrap_or(now);
            for held in &mut self.held {
                held.entries.retain(|entry| !shown.entries.contains(entry));
            }
            self.held.retain(|held| !held.entries.is_empty());
            self.held.push(Held {
                update_id: shown.message.update_id,
                message_id: shown.message.message_id,
                address: shown.address,
                entries: shown.entries.clone(),
                server: Some(server.to_owned()),
                shown_at,
                awaits_files,
                seen: false,
            });
        }
    }

    /// The entries that it holds and has surely read from this server.
    pub fn read_entries(&self, server: &str, read: &BTreeSet<EntryName>) -> BTreeSet<EntryName> {
        let held = self.held.iter().filter(|held| held.is_read(server, read));
        held.flat_map(|held| held.entries.iter().copied()).collect()
    }

    /// The entries that a living server process has shown.
    pub fn living_entries(&self, lives: impl Fn(&str) -> bool) -> BTreeSet<EntryName> {
        let held = self.held.iter().filter(|held| held.is_of_living(&lives));
        held.flat_map(|held| held.entries.iter().copied()).collect()
    }

    /// Lets go of entries without settling them: another agent takes them, or the result that
    /// showed them was cancelled.
    pub fn let_go(&mut self, entries: &BTreeSet<EntryName>) {
        for held in &mut self.held {
            held.entries.retain(|entry| !entries.contains(entry));
        }
        self.held.retain(|held| !held.entries.is_empty());
    }

    /// The entries that it holds.
    pub fn entries(&self) -> BTreeSet<EntryName> {
        self.held
            .iter()
            .flat_map(|held| held.entries.iter().copied())
            .collect()
    }

    /// The message that was shown as, or contains, an update.
    pub fn find(&self, update_id: UpdateId) -> Option<&Held> {
        self.held
            .iter()
            .find(|held| held.update_id == update_id)
            .or_else(|| {
                self.held.iter().find(|held| {
                    held.entries
                        .iter()
                        .any(|entry| entry.update_id == update_id)
                })
            })
    }

    /// The newest message that it holds.
    pub fn newest(&self) -> Option<&Held> {
        self.held
            .iter()
            .max_by_key(|held| held.entries.first().copied())
    }

    /// The held messages of one conversation.
    pub fn held_at(&self, address: Address) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(move |held| held.address == address)
    }

    /// The target of a reply that names none: the conversation that `telegram_reply` showed last, else the only
    /// one of `read`, the conversations that this server has surely shown.
    pub fn place(
        &self,
        answering: Option<Address>,
        read: &BTreeSet<Address>,
    ) -> Result<ReplyTarget, Unplaced> {
        if let Some(address) = answering.filter(|address| self.held_at(*address).next().is_some()) {
            return Ok(ReplyTarget::Held(address));
        }
        let mut all = read.iter();
        match (all.next(), all.next()) {
            (None, _) => Err(Unplaced::NothingHeld),
            (Some(&address), None) => Ok(ReplyTarget::Held(address)),
            (Some(_), Some(_)) => {
                let first = |address: &Address| self.held_at(*address).next().cloned();
                Err(Unplaced::Several(read.iter().filter_map(first).collect()))
            }
        }
    }

    /// The turn of a conversation that has shown progress.
    pub fn turn(&self, address: Address) -> Option<&DeliveryId> {
        self.turns
            .iter()
            .find(|turn| turn.address == address)
            .map(|turn| &turn.first)
    }

    /// Counts times that a clock told which had jumped ahead as now: the names of new replies follow them.
    pub fn come_back(&mut self, now: Timestamp) {
        let held = self.held.iter_mut().map(|held| &mut held.shown_at);
        for shown_at in held.chain([&mut self.shown_at]) {
            if now.is_future(*shown_at) {
                *shown_at = now;
            }
        }
    }

    /// A progress was accepted: the first one names the turn.
    pub fn progressed(&mut self, address: Address, delivery: &DeliveryId) {
        if self.turn(address).is_none() {
            self.turns.push(ProgressTurn {
                address,
                first: delivery.clone(),
            });
        }
    }

    /// A final reply was accepted: what it answered is settled, and the turn is over.
    pub fn replied(&mut self, address: Address) {
        self.held.retain(|held| held.address != address);
        self.turns.retain(|turn| turn.address != address);
    }

    /// Takes over what was settled before its files had come.
    pub fn take_over(&mut self, late: Vec<Late>) {
        for late in late.into_iter().filter(|late| !late.entries.is_empty()) {
            let known = self
                .late
                .iter_mut()
                .find(|one| one.update_id == late.update_id);
            match known {
                Some(known) => {
                    let new = late
                        .entries
                        .iter()
                        .filter(|one| !known.entries.contains(one));
                    let new: Vec<EntryName> = new.copied().collect();
                    known.told &= new.is_empty();
                    known.entries.extend(new);
                }
                None => self.late.push(late),
            }
        }
        let beyond = self.late.len().saturating_sub(LATE_MOST);
        self.late.drain(..beyond);
    }

    /// The message that was settled before its files had come and was shown as, or contains, an update.
    pub fn find_late(&self, update_id: UpdateId) -> Option<&Late> {
        let is = |late: &&Late| {
            let mut entries = late.entries.iter();
            late.update_id == update_id || entries.any(|entry| entry.update_id == update_id)
        };
        self.late.iter().find(is)
    }

    /// Its holder knows of the files of these.
    pub fn told_of_files(&mut self, ids: &BTreeSet<UpdateId>) {
        for late in &mut self.late {
            late.told |= ids.contains(&late.update_id);
        }
    }

    /// The entries whose files are wanted: no result has said yet that they have come.
    pub fn awaits_files(&self) -> BTreeSet<EntryName> {
        let held = self.held.iter().filter(|held| held.awaits_files);
        let late = self.late.iter().filter(|late| !late.told);
        let held = held.flat_map(|held| held.entries.iter());
        held.chain(late.flat_map(|late| late.entries.iter()))
            .copied()
            .collect()
    }

    /// Whether it holds nothing and is in no turn.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.turns.is_empty()
    }

    /// Whether a living holder has been silent for so long that others may take over.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        now.since(self.active_at) >= SILENCE
    }

    /// The conversations of which this server has surely shown messages that are still held.
    pub fn read_addresses(&self, server: &str, read: &BTreeSet<EntryName>) -> BTreeSet<Address> {
        let held = self.held.iter().filter(|held| held.is_read(server, read));
        held.map(|held| held.address).collect()
    }

    /// The conversations that it holds messages of.
    pub fn addresses(&self) -> BTreeSet<Address> {
        self.held.iter().map(|held| held.address).collect()
    }
}

impl Held {
    /// Whether this server has surely shown it: `read` are the entries of its results that went out.
    pub fn is_read(&self, server: &str, read: &BTreeSet<EntryName>) -> bool {
        self.server.as_deref() == Some(server)
            && self.entries.iter().all(|entry| read.contains(entry))
    }

    /// Of a hold of an earlier version only the holder is known.
    fn is_of_living(&self, lives: impl Fn(&str) -> bool) -> bool {
        self.server.as_deref().is_none_or(lives)
    }
}

#[cfg(test)]
mod tests;
