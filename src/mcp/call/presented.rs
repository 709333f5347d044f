//! The results of this process that have presented messages, and the messages that its agents have surely
//! read from them.
//!
//! It lives in memory only. A process that dies takes it along, and then another one of the same agent
//! shows the messages again before a reply may settle them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::Address;
use crate::state::agents::holder::HolderId;
use crate::state::inbox::entry::EntryName;

/// How many results are kept apart in case their calls are cancelled late.
const APART: usize = 64;

/// Names a presentation within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentationId(u64);

/// The messages that one result presents.
#[derive(Clone, Debug)]
struct Presentation {
    id: PresentationId,
    holder: HolderId,
    /// The entries that this process had not surely shown to the agent before.
    newly: BTreeSet<EntryName>,
    /// The conversation that `telegram_reply` showed, to be answered next.
    answering: Option<Address>,
    flushed: bool,
}

/// The messages that one agent has surely read, in results that are too old to be cancelled.
#[derive(Clone, Debug, Default)]
struct ReadByAgent {
    entries: BTreeSet<EntryName>,
    answering: Option<Address>,
}

/// The presentations of this process.
#[derive(Clone, Debug, Default)]
pub(in crate::mcp) struct Presented {
    last: u64,
    recent: VecDeque<Presentation>,
    settled: BTreeMap<HolderId, ReadByAgent>,
}

impl Presented {
    /// A result is about to present messages, or the conversation that is answered next.
    pub(in crate::mcp) fn begin(
        &mut self,
        holder: &HolderId,
        newly: BTreeSet<EntryName>,
        answering: Option<Address>,
    ) -> PresentationId {
        self.last += 1;
        let id = PresentationId(self.last);
        self.recent.push_back(Presentation {
            id,
            holder: holder.clone(),
            newly,
            answering,
            flushed: false,
        });
        if self.recent.len() > APART
            && let Some(oldest) = self.recent.pop_front()
            && oldest.flushed
        {
            let read = self.settled.entry(oldest.holder).or_default();
            read.entries.extend(oldest.newly);
            read.answering = oldest.answering.or(read.answering);
        }
        id
    }

    /// The result is in the client's pipe.
    pub(in crate::mcp) fn flushed(&mut self, id: PresentationId) {
        let mut recent = self.recent.iter_mut();
        if let Some(one) = recent.find(|one| one.id == id) {
            one.flushed = true;
        }
    }

    /// The client has cancelled the call and drops its result. Returns the entries that no other result
    /// has presented.
    pub(in crate::mcp) fn cancelled(&mut self, id: PresentationId) -> BTreeSet<EntryName> {
        let Some(at) = self.recent.iter().position(|one| one.id == id) else {
            return BTreeSet::new();
        };
        let Some(mut gone) = self.recent.remove(at) else {
            return BTreeSet::new();
        };
        let others = self.recent.iter();
        let others = others.filter(|one| one.holder == gone.holder);
        let settled = self.settled.get(&gone.holder);
        let presented: BTreeSet<EntryName> = others
            .flat_map(|one| &one.newly)
            .chain(settled.iter().flat_map(|read| &read.entries))
            .copied()
            .collect();
        gone.newly.retain(|entry| !presented.contains(entry));
        gone.newly
    }

    /// The entries that an agent has surely read from this process.
    pub(in crate::mcp) fn read(&self, holder: &HolderId) -> BTreeSet<EntryName> {
        let settled = self.settled.get(holder);
        let settled = settled.iter().flat_map(|read| &read.entries);
        settled
            .chain(self.flushed_to(holder).flat_map(|one| &one.newly))
            .copied()
            .collect()
    }

    /// The conversation that `telegram_reply` has shown the agent last.
    pub(in crate::mcp) fn answering(&self, holder: &HolderId) -> Option<Address> {
        let settled = self.settled.get(holder).and_then(|read| read.answering);
        let recent = self.flushed_to(holder).filter_map(|one| one.answering);
        recent.last().or(settled)
    }

    /// Forgets entries that an agent no longer holds, and the conversation to be answered once it is answered.
    pub(in crate::mcp) fn retain(
        &mut self,
        holder: &HolderId,
        entries: &BTreeSet<EntryName>,
        addresses: &BTreeSet<Address>,
    ) {
        // When the current conversation is answered, no earlier one takes its place.
        let current = self.answering(holder);
        let is_over = current.is_some_and(|address| !addresses.contains(&address));
        if let Some(read) = self.settled.get_mut(holder) {
            read.entries.retain(|entry| entries.contains(entry));
            read.answering = read.answering.filter(|_| !is_over);
        }
        for one in self.recent.iter_mut().filter(|one| one.holder == *holder) {
            one.newly.retain(|entry| entries.contains(entry));
            one.answering = one.answering.filter(|_| !(is_over && one.flushed));
        }
    }

    fn flushed_to<'a>(&'a self, holder: &HolderId) -> impl Iterator<Item = &'a Presentation> {
        let holder = holder.clone();
        let recent = self.recent.iter();
        recent.filter(move |one| one.flushed && one.holder == holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BotId, ChatId, UpdateId};

    fn entries(ids: &[i64]) -> BTreeSet<EntryName> {
        let entry = |id: &i64| EntryName {
            received: *id,
            update_id: UpdateId(*id),
        };
        ids.iter().map(entry).collect()
    }

    fn chat(id: i64) -> Address {
        Address {
            bot_id: BotId(7),
            chat_id: ChatId(id),
            topic_id: None,
        }
    }

    #[test]
    fn only_a_result_that_went_out_was_read() {
        let me = HolderId::of_thread("me");
        let mut presented = Presented::default();
        let id = presented.begin(&me, entries(&[1]), Some(chat(5)));
        assert_eq!(
            (presented.read(&me), presented.answering(&me)),
            (entries(&[]), None)
        );
        presented.flushed(id);
        assert_eq!(
            (presented.read(&me), presented.answering(&me)),
            (entries(&[1]), Some(chat(5)))
        );
        assert_eq!(
            presented.read(&HolderId::of_thread("another")),
            entries(&[])
        );
    }

    #[test]
    fn a_late_cancellation_takes_back_what_no_other_result_has_presented() {
        let me = HolderId::of_thread("me");
        let mut presented = Presented::default();
        let first = presented.begin(&me, entries(&[1, 2]), Some(chat(5)));
        let second = presented.begin(&me, entries(&[2, 3]), Some(chat(6)));
        presented.flushed(first);
        presented.flushed(second);
        assert_eq!(presented.cancelled(second), entries(&[3]));
        assert_eq!(presented.read(&me), entries(&[1, 2]));
        assert_eq!(presented.answering(&me), Some(chat(5)));
        assert_eq!(presented.cancelled(second), entries(&[]));
    }

    #[test]
    fn many_results_later_a_message_still_counts_as_read() {
        let me = HolderId::of_thread("me");
        let mut presented = Presented::default();
        let first = presented.begin(&me, entries(&[1]), Some(chat(5)));
        presented.flushed(first);
        for _ in 0..2 * APART {
            presented.begin(&me, entries(&[9]), None);
        }
        assert_eq!(presented.read(&me), entries(&[1]));
        assert_eq!(presented.answering(&me), Some(chat(5)));
        assert_eq!(presented.cancelled(first), entries(&[]));
        presented.retain(&me, &entries(&[]), &BTreeSet::new());
        assert_eq!(
            (presented.read(&me), presented.answering(&me)),
            (entries(&[]), None)
        );
    }
}
