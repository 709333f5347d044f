//! The picture on which a call decides: the state of the session, read once under its lock. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Address, UpdateId};
use crate::mcp::call::effects::Effect;
use crate::state::holds::{Conversation, Held, Late};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::pending::Pending;
use crate::state::inbox::view::{self, RenderedMessage};

/// A holder's call is noted at least this often, so that others see that it is not silent.
const ACTIVE_NOTE: Duration = Duration::from_secs(60);

/// The state of a session, as one call sees it.
#[derive(Clone, Debug)]
pub(in crate::mcp) struct Picture {
    pub(super) now: Timestamp,
    /// This server process, as its holds name it.
    pub(super) server: String,
    /// The calling agent, for people.
    pub(super) label: String,
    pub(super) pending: Pending,
    /// The conversation of the calling agent.
    pub(super) me: Conversation,
    /// The same as it is on disk.
    pub(super) me_on_disk: Option<Conversation>,
    pub(super) others: Vec<OtherAgent>,
    /// The entries that this process has surely shown to this agent.
    pub(super) read: BTreeSet<EntryName>,
    /// The conversation that `telegram_reply` has shown last.
    pub(super) answering: Option<Address>,
    /// When the newest delivery was accepted.
    pub(super) newest_accepted: i64,
}

/// Another agent of the session.
#[derive(Clone, Debug)]
pub(in crate::mcp) struct OtherAgent {
    pub(super) conversation: Conversation,
    pub(super) alive: bool,
    /// The entries that it keeps others from: a living server process has shown them, and it is not silent.
    pub(super) kept: BTreeSet<EntryName>,
}

impl OtherAgent {
    pub(super) fn new(
        conversation: Conversation,
        alive: bool,
        now: Timestamp,
        lives: impl Fn(&str) -> bool,
    ) -> Self {
        let keeps = alive && !conversation.is_silent(now);
        let kept = keeps.then(|| conversation.living_entries(lives));
        Self {
            kept: kept.unwrap_or_default(),
            conversation,
            alive,
        }
    }
}

#[derive(Debug)]
pub(in crate::mcp) struct Showing {
    pub(super) effects: Vec<Effect>,
    /// The entries that the result shows.
    pub(super) entries: BTreeSet<EntryName>,
    /// Those of them that this process has not surely shown to this agent before.
    pub(super) newly: BTreeSet<EntryName>,
}

impl Picture {
    /// Whether this agent has surely read a message from this process.
    pub(super) fn is_read(&self, held: &Held) -> bool {
        held.is_read(&self.server, &self.read)
    }

    /// The message that this agent has surely read, and that an update belongs to.
    pub(super) fn find_read(&self, id: UpdateId) -> Option<&Held> {
        self.me.find(id).filter(|held| self.is_read(held))
    }

    /// The entries that this agent has surely read from this process.
    pub(super) fn read_entries(&self) -> BTreeSet<EntryName> {
        self.me.read_entries(&self.server, &self.read)
    }

    /// The entries that another agent keeps.
    pub(super) fn kept(&self) -> BTreeSet<EntryName> {
        let kept = self.others.iter().flat_map(|other| &other.kept);
        kept.copied().collect()
    }

    /// The entries that were shown before, to an agent that is gone or in a result that may be lost.
    pub(super) fn shown_before(&self) -> BTreeSet<EntryName> {
        let held = self.others.iter().map(|other| &other.conversation);
        let held: BTreeSet<EntryName> = held.flat_map(Conversation::entries).collect();
        let mut before: BTreeSet<EntryName> = held.difference(&self.kept()).copied().collect();
        before.extend(self.me.entries());
        before
    }

    /// The entries that may be shown to this agent as new, oldest first.
    pub(super) fn fresh_names(&self) -> impl Iterator<Item = EntryName> {
        let (mine, kept) = (self.read_entries(), self.kept());
        let names = self.pending.iter();
        names.filter(move |name| !mine.contains(name) && !kept.contains(name))
    }

    /// The entries that this agent may see, oldest first.
    pub(super) fn visible_names(&self) -> impl Iterator<Item = EntryName> {
        let kept = self.kept();
        let names = self.pending.iter();
        names.filter(move |name| !kept.contains(name))
    }

    /// The messages that this agent holds and has surely read, oldest first.
    pub(super) fn read_messages(&self, only: Option<Address>) -> Vec<Held> {
        let mine = self.me.held.iter().filter(|held| self.is_read(held));
        let mine = mine.filter(|held| only.is_none_or(|address| held.address == address));
        let mut mine: Vec<Held> = mine.cloned().collect();
        mine.sort_by_key(|held| held.entries.first().copied());
        mine
    }

    /// An entry is not there any more.
    pub(super) fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(*entry);
        }
        let pending = self.pending.among(&self.me.entries());
        self.me.reconcile(&pending);
    }

    /// Decides on a showing: first the others let go, then this agent holds. A kill in between leaves a
    /// message that no agent holds, which is offered as new, and never one that two hold.
    pub(super) fn plan_showing(&mut self, on_page: &[RenderedMessage]) -> Showing {
        let entries = view::entries_of(on_page);
        let newly = entries.difference(&self.read_entries()).copied().collect();
        let mut effects = Vec::new();
        for other in &mut self.others {
            if other.conversation.entries().is_disjoint(&entries) {
                continue;
            }
            other.conversation.let_go(&entries);
            let conversation = &other.conversation;
            effects.push(
                if conversation.is_idle() && conversation.late.is_empty() && !other.alive {
                    Effect::RemoveHolds(conversation.holder.clone())
                } else {
                    Effect::WriteHolds(Box::new(conversation.clone()))
                },
            );
        }
        // After every reply so far, whatever the clock says: "newly shown since" is a comparison.
        let shown_at = Timestamp(self.now.0.max(self.newest_accepted + 1));
        let on_page: Vec<&RenderedMessage> = on_page.iter().collect();
        self.me.hold(&on_page, &self.server, &self.read, shown_at);
        effects.extend(self.save(Effect::WriteHolds));
        Showing {
            effects,
            entries,
            newly,
        }
    }

    pub(super) fn plan_acknowledgement(&mut self, entries: Vec<EntryName>) -> Vec<Effect> {
        self.forget_settled(&entries);
        let mut effects = vec![Effect::Settle(entries)];
        effects.extend(self.save(Effect::ReleaseHolds));
        effects
    }

    /// Lets go of entries that this agent never saw.
    pub(super) fn plan_release(&mut self, entries: &BTreeSet<EntryName>) -> Vec<Effect> {
        self.me.let_go(entries);
        self.save(Effect::ReleaseHolds).into_iter().collect()
    }

    /// Removes the conversations of agents that are gone. This agent is told instead of their files that are
    /// still to come: first it is its own, so that a kill in between leaves it with both.
    pub(super) fn plan_inheritance(&mut self, left: Vec<(String, Vec<Late>)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (holder, mut late) in left {
            late.retain(|late| !late.told);
            if !late.is_empty() {
                self.me.take_over(late);
                effects.extend(self.save(Effect::ReleaseHolds));
            }
            effects.push(Effect::RemoveHolds(holder));
        }
        effects
    }

    /// Notes that this agent is not silent. Without a file it holds nothing that others could wait for.
    pub(super) fn plan_activity_note(&mut self) -> Option<Effect> {
        let noted = self.me_on_disk.as_ref()?.active_at;
        let is_due = self.now.since(noted) >= ACTIVE_NOTE;
        is_due.then(|| self.save(Effect::WriteHolds)).flatten()
    }

    /// Writes the conversation of this agent if it differs from the one on disk.
    pub(super) fn save(&mut self, effect: fn(Box<Conversation>) -> Effect) -> Option<Effect> {
        self.me.label.clone_from(&self.label);
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        let fresh = noted.filter(|at| self.now.since(*at) < ACTIVE_NOTE);
        self.me.active_at = fresh.unwrap_or(self.now);
        if self.me_on_disk.as_ref() == Some(&self.me) {
            return None;
        }
        self.me_on_disk = Some(self.me.clone());
        Some(effect(Box::new(self.me.clone())))
    }

    /// Names the agents that hold messages which are not shown.
    pub(super) fn notices_about_others(&self, shown: &BTreeSet<EntryName>) -> Vec<String> {
        // Agents of one client have the same label: as one line, or all but the first would be lost
        // as repetitions.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for other in &self.others {
            let count = other.kept.difference(shown).count();
            *counts.entry(&other.conversation.label).or_default() += count;
        }
        counts
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(label, count)| {
                format!("Another agent of this session ({label}) is answering {count} message(s); they are offered to you if it ends or makes no call for 30 minutes.")
            })
            .collect()
    }
}
