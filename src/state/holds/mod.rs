//! What one agent was shown and is answering. Pure; one file per holder.
//!
//! The conversation never decides what is answered: the outbox does. A held entry without an inbox
//! file is settled, whatever stands here.

pub mod changes;
pub mod disk;
pub mod seen;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, UpdateId};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::Shown;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::format::FORMAT;

/// A living holder that has not called for so long no longer keeps others from its messages.
pub const SILENCE: Duration = Duration::from_secs(30 * 60);
/// The same text again within this time, with nothing newly shown in between, is the same reply.
pub const REPEAT_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How many messages are remembered that were settled before their files had come.
const LATE_MOST: usize = 20;

/// The file of one holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The version of this file.
    pub format: u32,
    /// Whose it is.
    pub holder: String,
    /// Who that is, for people: the client's name and process.
    pub label: String,
    /// When the holder last called.
    pub active_at: Timestamp,
    /// When it was last shown something that it had not been shown before.
    pub shown_at: Timestamp,
    /// What it was shown and has not settled, in the order of showing.
    pub held: Vec<Held>,
    /// The conversation that `telegram_reply` showed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answering: Option<Address>,
    /// The progress messages that later ones edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// What was settled before its files had come, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Late>,
}

/// A result that showed messages, until that has surely gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShowId(pub u64);

/// One message that the holder was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// As which it was shown.
    pub update_id: UpdateId,
    /// Telegram's id of it.
    pub message_id: MessageId,
    /// Where it came from.
    pub address: Address,
    /// The entries behind it.
    pub entries: Vec<EntryName>,
    /// Whether the result that showed it went out to the client. If the server died before, nobody
    /// knows whether the agent has seen it: then it is shown again before it may be answered.
    pub seen: bool,
    /// The result that showed it, while it is not known here whether that went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<ShowId>,
    /// Whether a file of it was still on its way when it was shown last: it is shown again when that
    /// has come, or is given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_files: bool,
}

/// A message that was answered, acknowledged or dropped while a file of it was on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// As which it was shown.
    pub update_id: UpdateId,
    /// The entries behind it; they are settled.
    pub entries: Vec<EntryName>,
    /// Whether its holder knows that the files have come, or never will.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// A turn that has shown progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Where.
    pub address: Address,
    /// Its first progress delivery, which names it.
    pub first: DeliveryId,
}

/// What a showing changes besides the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    shown_at: Timestamp,
    answering: Option<Address>,
    turns: Vec<Turn>,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the conversation that the agent was shown.
    Held(Address),
    /// A message of its own: to a conversation of which it holds nothing, or that it does not answer.
    Own(Address),
}

impl Target {
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
            format: FORMAT,
            holder: holder.to_owned(),
            label: label.to_owned(),
            active_at: now,
            shown_at: Timestamp(0),
            held: Vec::new(),
            answering: None,
            turns: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Forgets what is no longer pending: it is settled. A conversation of which nothing is left is
    /// no longer the one that is being answered, and its turn is over. Whose files had not come is
    /// remembered.
    pub fn reconcile(&mut self, pending: &BTreeSet<EntryName>) {
        let before = self.addresses();
        let mut late = Vec::new();
        for held in &mut self.held {
            let (left, settled) = held
                .entries
                .iter()
                .partition(|entry| pending.contains(entry));
            held.entries = left;
            if held.seen && held.awaits_files {
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
        self.answering = self.answering.filter(|address| after.contains(address));
    }

    /// Takes messages into the hold that a result shows, not yet as seen. What is held and seen already
    /// stays as it is.
    pub fn hold(&mut self, shown: &[&Shown], show: ShowId, now: Timestamp) {
        for shown in shown {
            let known = self.seen();
            let awaits_files = shown.message.awaits_files();
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
            // A message whose showing was lost may be another now, with one more part.
            for held in &mut self.held {
                held.entries.retain(|entry| !shown.entries.contains(entry));
            }
            self.held.retain(|held| !held.entries.is_empty());
            self.shown_at = now;
            // Newly shown messages begin a turn of their own.
            self.turns.retain(|turn| turn.address != shown.address);
            self.held.push(Held {
                update_id: shown.message.update_id,
                message_id: shown.message.message_id,
                address: shown.address,
                entries: shown.entries.clone(),
                seen: false,
                show: Some(show),
                awaits_files,
            });
        }
    }

    /// These results have gone out.
    pub fn went_out(&mut self, shows: &BTreeSet<ShowId>) {
        for held in &mut self.held {
            if held.show.is_some_and(|show| shows.contains(&show)) {
                held.seen = true;
                held.show = None;
            }
        }
    }

    /// The results of which it is not known here whether they went out.
    pub fn shows(&self) -> impl Iterator<Item = ShowId> {
        self.held.iter().filter_map(|held| held.show)
    }

    /// The entries that it holds and has surely been shown.
    pub fn seen(&self) -> BTreeSet<EntryName> {
        let seen = self.held.iter().filter(|held| held.seen);
        seen.flat_map(|held| held.entries.iter().copied()).collect()
    }

    /// Lets go of entries without settling them: another agent takes them, or the result that
    /// showed them was cancelled and never seen.
    pub fn let_go(&mut self, entries: &BTreeSet<EntryName>) {
        for held in &mut self.held {
            held.entries.retain(|entry| !entries.contains(entry));
        }
        self.held.retain(|held| !held.entries.is_empty());
        let left = self.addresses();
        self.answering = self.answering.filter(|address| left.contains(address));
    }

    /// How things are before or after a showing.
    pub fn mark(&self) -> Mark {
        Mark {
            shown_at: self.shown_at,
            answering: self.answering,
            turns: self.turns.clone(),
        }
    }

    /// Takes a showing back that nobody saw: lets go of what it showed first, and puts back what it
    /// has changed besides and nothing else has changed since. Where some of it was answered by now,
    /// somebody has seen it after all.
    pub fn unshow(&mut self, newly: &BTreeSet<EntryName>, before: &Mark, after: &Mark) {
        if newly.is_subset(&self.entries()) {
            if self.shown_at == after.shown_at {
                self.shown_at = before.shown_at;
            }
            if self.answering == after.answering {
                self.answering = before.answering;
            }
            if self.turns == after.turns {
                self.turns.clone_from(&before.turns);
            }
        }
        self.let_go(newly);
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

    /// What it holds of one conversation.
    pub fn held_at(&self, address: Address) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(move |held| held.address == address)
    }

    /// Where a reply goes that names nothing: to the conversation that `telegram_reply` showed last,
    /// else to the only one held.
    pub fn place(&self) -> Result<Target, Unplaced> {
        if let Some(address) = self
            .answering
            .filter(|address| self.held_at(*address).next().is_some())
        {
            return Ok(Target::Held(address));
        }
        let addresses = self.addresses();
        let mut all = addresses.iter();
        match (all.next(), all.next()) {
            (None, _) => Err(Unplaced::NothingHeld),
            (Some(&address), None) => Ok(Target::Held(address)),
            (Some(_), Some(_)) => {
                let first = |address: &Address| self.held_at(*address).next().cloned();
                Err(Unplaced::Several(
                    addresses.iter().filter_map(first).collect(),
                ))
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

    /// A progress was accepted: the first one names the turn.
    pub fn progressed(&mut self, address: Address, delivery: &DeliveryId) {
        if self.turn(address).is_none() {
            self.turns.push(Turn {
                address,
                first: delivery.clone(),
            });
        }
    }

    /// A final reply was accepted: what it answered is settled, and the turn is over.
    pub fn replied(&mut self, address: Address) {
        self.held.retain(|held| held.address != address);
        self.turns.retain(|turn| turn.address != address);
        self.answering = self.answering.filter(|answering| *answering != address);
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

    /// What waits for its files, or has, with nobody who was told.
    pub fn awaits_files(&self) -> BTreeSet<EntryName> {
        let held = self
            .held
            .iter()
            .filter(|held| held.seen && held.awaits_files);
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

    fn addresses(&self) -> BTreeSet<Address> {
        self.held.iter().map(|held| held.address).collect()
    }
}

#[cfg(test)]
mod tests;
