//! What of the desk is shown: choosing it, recording that, and only then giving it out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Address, UpdateId};
use crate::mcp::call::desk::Desk;
use crate::mcp::call::{MailboxError, ShownPage};
use crate::mcp::page::{self, Page};
use crate::mcp::tools::{Refusal, To, ToolResult};
use crate::state::holds::{Conversation, Held};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::{self, MessageView, Shown};
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;

/// How many entries beyond a page are read, to find the parts and edits of what is on it.
const LOOKAHEAD: usize = 128;
/// How many entries are read at most in search of one conversation.
const SEARCH: usize = 5000;

/// Whether messages that the agent holds are shown once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mcp) enum Again {
    /// The call looks again if it shows nothing.
    Never,
    IfNothingNew,
    Also,
}

impl Desk<'_> {
    /// Pending entries that an agent held that is dead or silent.
    fn left_behind(&self) -> BTreeSet<EntryName> {
        let held = self.others.iter().map(|other| &other.conversation);
        let held: BTreeSet<EntryName> = held.flat_map(Conversation::entries).collect();
        held.difference(&self.kept()).copied().collect()
    }

    /// Reads entries that were not shown to this agent, oldest first: those of a page and what may
    /// belong to them. The last message is left out where more entries follow that were not read,
    /// because some of its parts may be among them.
    fn fresh(&mut self, limit: usize, only: Option<Address>) -> Result<Vec<Shown>, MailboxError> {
        let (mine, kept) = (self.read_entries(), self.kept());
        let most = SEARCH.max(limit + LOOKAHEAD);
        let names: Vec<EntryName> = self
            .pending
            .iter()
            .filter(|name| !mine.contains(name) && !kept.contains(name))
            .take(most + 1)
            .copied()
            .collect();
        let mut items = Vec::new();
        let mut unread = false;
        for (index, &name) in names.iter().enumerate() {
            if items.len() >= limit + LOOKAHEAD || index >= most {
                unread = true;
                break;
            }
            items.extend(
                self.read(name)?
                    .filter(|item| only.is_none_or(|address| item.address == address)),
            );
        }
        let mut shown = view::fresh(&items);
        if unread && shown.len() > 1 {
            shown.pop();
        }
        for message in &mut shown {
            self.fill(message);
        }
        Ok(shown)
    }

    /// How the files of a message stand at this moment.
    fn fill(&mut self, shown: &mut Shown) {
        let notices = self.mailbox.files.fill(shown, self.now);
        self.notices.extend(notices);
    }

    /// The messages that this agent holds, oldest first, as they were shown.
    fn held(&mut self, only: Option<Address>) -> Result<Vec<Shown>, MailboxError> {
        let mut held: Vec<Held> = self
            .me
            .held
            .iter()
            .filter(|held| self.is_read(held) && only.is_none_or(|address| held.address == address))
            .cloned()
            .collect();
        held.sort_by_key(|held| held.entries.first().copied());
        held.into_iter()
            .filter_map(|held| self.read_held(&held).transpose())
            .collect()
    }

    /// The messages that this agent holds whose files were on their way when it was shown them, and are
    /// not any more.
    fn with_news_of_files(&mut self) -> Result<Vec<Shown>, MailboxError> {
        let waiting = self.me.held.iter();
        let waiting: Vec<Held> = waiting
            .filter(|held| self.is_read(held) && held.awaits_files)
            .cloned()
            .collect();
        let mut news = Vec::new();
        for held in waiting {
            let shown = self.read_held(&held)?;
            news.extend(shown.filter(|shown| !shown.message.awaits_files()));
        }
        Ok(news)
    }

    fn read_held(&mut self, held: &Held) -> Result<Option<Shown>, MailboxError> {
        let mut items = Vec::new();
        for &name in &held.entries {
            items.extend(self.read(name)?);
        }
        let mut shown = view::together(&items);
        if let Some(shown) = &mut shown {
            self.fill(shown);
        }
        Ok(shown)
    }

    pub(in crate::mcp) fn show(
        mut self,
        mut base: ToolResult,
        limit: usize,
        again: Again,
        only: Option<Address>,
    ) -> Result<ShownPage, MailboxError> {
        base.session = self.mailbox.session.to_string();
        // Shown before, to an agent that is gone or in a result that may be lost.
        let mut before: BTreeSet<EntryName> = self.left_behind();
        before.extend(self.me.entries());
        let fresh = self.fresh(limit, only)?;
        let patient = again == Again::Never;
        let wait = |shown: &Shown, now| {
            let files = shown.wait_for_files(now).filter(|_| patient);
            shown.wait(now).into_iter().chain(files).max()
        };
        let ready_in = fresh.iter().filter_map(|shown| wait(shown, self.now)).min();
        let mut page = Page::new(&base, limit);
        let mut on_page = Vec::new();
        for shown in fresh {
            if wait(&shown, self.now).is_some() {
                continue;
            }
            let again = shown.entries.iter().any(|entry| before.contains(entry));
            if !self.place(&mut page, &shown, again) {
                break;
            }
            on_page.push(shown);
        }
        if again != Again::Also {
            for shown in self.with_news_of_files()? {
                if !self.place(&mut page, &shown, true) {
                    break;
                }
                on_page.push(shown);
            }
        }
        if again == Again::Also || (again == Again::IfNothingNew && page.is_empty()) {
            for shown in self.held(only)? {
                if !self.place(&mut page, &shown, true) {
                    break;
                }
                on_page.push(shown);
            }
        }
        self.shown(base, page, &on_page, only, ready_in)
    }

    /// Puts the first part of a message on a page.
    fn place(&self, page: &mut Page, shown: &Shown, again: bool) -> bool {
        shown
            .message
            .clone()
            .at(self.now, again)
            .part(1)
            .is_some_and(|message| page.push(message))
    }

    pub(in crate::mcp) fn show_part(
        mut self,
        mut base: ToolResult,
        id: UpdateId,
        part: usize,
    ) -> Result<ShownPage, MailboxError> {
        base.session = self.mailbox.session.to_string();
        let held = self.me.find(id).cloned();
        if held.is_none()
            && let Some(late) = self.me.find_late(id).cloned()
        {
            return self.show_late(base, &late, part);
        }
        let (shown, again) = match held {
            Some(held) => (self.read_held(&held)?, true),
            None => (
                self.fresh(SEARCH, None)?
                    .into_iter()
                    .find(|shown| shown.message.update_id == id),
                false,
            ),
        };
        let Some(shown) = shown else {
            return Err(self.no_such(id).into());
        };
        let message = self.part_of(&shown, again, part)?;
        let mut page = Page::new(&base, 1);
        page.push(message);
        self.shown(base, page, &[shown], None, None)
    }

    pub(in crate::mcp) fn part_of(
        &self,
        shown: &Shown,
        again: bool,
        part: usize,
    ) -> Result<MessageView, MailboxError> {
        let (id, parts) = (shown.message.update_id, shown.message.part_count());
        let message = shown.message.clone().at(self.now, again).part(part);
        message.ok_or_else(|| Refusal(format!("Message {id} has {parts} part(s), so there is no part {part}. Call again with `part` 1 to {parts}.")).into())
    }

    pub(in crate::mcp) fn show_conversation(
        mut self,
        base: ToolResult,
        to: Option<To>,
    ) -> Result<ShownPage, MailboxError> {
        let address = match to {
            Some(to) => Some(self.address_of(to)?),
            None => self.oldest()?,
        };
        let Some(address) = address else {
            return self.show(base, 1, Again::Never, None);
        };
        // What the agent has not seen comes first, so that a second call goes on where a full page ended.
        self.show(base, 20, Again::Also, Some(address))
    }

    /// The conversation of the oldest message that this agent may see.
    fn oldest(&mut self) -> Result<Option<Address>, MailboxError> {
        let kept = self.kept();
        let names: Vec<EntryName> = self
            .pending
            .iter()
            .filter(|name| !kept.contains(name))
            .copied()
            .collect();
        for name in names {
            if let Some(item) = self.read(name)? {
                return Ok(Some(item.address));
            }
        }
        Ok(None)
    }

    /// Records what a page shows, then gives it out.
    fn shown(
        mut self,
        mut result: ToolResult,
        page: Page,
        on_page: &[Shown],
        answering: Option<Address>,
        ready_in: Option<Duration>,
    ) -> Result<ShownPage, MailboxError> {
        // Every message of the page is the first part of one of `on_page`, in the same order.
        let entries = view::entries_of(on_page);
        let newly = entries.difference(&self.read_entries()).copied().collect();
        // First the others let go, then we hold: a kill in between leaves a message that nobody
        // holds, which is offered as new, and never one that two hold. A loss of power ends every
        // server process, and with them all holds: nothing is synced.
        let holds = &self.mailbox.holds;
        for other in &mut self.others {
            if other.conversation.entries().is_disjoint(&entries) {
                continue;
            }
            other.conversation.let_go(&entries);
            if other.conversation.is_idle() && other.conversation.late.is_empty() && !other.alive {
                holds.remove(&other.conversation.holder)?;
            } else {
                holds.write(&other.conversation, Step::Hold, Durability::Unsynced)?;
            }
        }
        let newest = self.mailbox.outbox.newest()?;
        // After every reply so far, whatever the clock says: "newly shown since" is a comparison.
        let shown_at = Timestamp(self.now.0.max(newest + 1));
        let on_page: Vec<&Shown> = on_page.iter().collect();
        let server = &self.mailbox.server;
        self.me.hold(&on_page, server, &self.read, shown_at);
        self.save(Step::Hold, Durability::Unsynced)?;
        let presentation = self.present(newly, answering);

        let shown = entries.iter().filter(|name| self.pending.contains(name));
        result.remaining = self.pending.len() - shown.count();
        let mut messages: Vec<_> = on_page
            .iter()
            .map(|shown| shown.entries.first())
            .zip(page.into_messages())
            .collect();
        messages.sort_by_key(|(first, _)| *first);
        result.messages = messages.into_iter().map(|(_, message)| message).collect();
        result.notices.extend(self.others_notice(&entries));
        result.notices.append(&mut self.notices);
        result.notices = page::notices(&result.notices);
        Ok(ShownPage {
            result,
            presentation,
            ready_in,
        })
    }

    /// Says who has messages that are not shown.
    fn others_notice(&self, shown: &BTreeSet<EntryName>) -> Vec<String> {
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
                format!("{count} message(s) are being answered by another agent of this session ({label}); they are offered to you if it ends or is silent for 30 minutes.")
            })
            .collect()
    }
}
