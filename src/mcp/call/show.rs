//! Which messages a result shows. The hold is on disk before the result goes out.

use std::time::Duration;

use crate::ids::{Address, UpdateId};
use crate::mcp::call::tool_call::ToolCall;
use crate::mcp::call::{Caller, Mailbox, ShownPage, take_lock};
use crate::mcp::page::{self, Page};
use crate::mcp::tools::{Refusal, To, ToolResult};
use crate::state::holds::{Held, Late};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::{self, MessageView, RenderedMessage};
use crate::store::disk::HeldLock;

/// How many entries beyond a page are read, to find the parts and edits of what is on it.
const LOOKAHEAD: usize = 128;
/// How many entries are read at most in search of one conversation.
const SEARCH: usize = 5000;

/// Whether messages that the agent holds are shown once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The call looks again if it shows nothing.
    Never,
    IfNothingNew,
    Also,
}

pub(super) struct ShowCall<'a> {
    call: ToolCall<'a>,
    result: ToolResult,
}

impl<'a> ShowCall<'a> {
    /// Opens the call; `base` is what its result says besides.
    pub(super) fn open(
        mailbox: &'a Mailbox,
        caller: &'a Caller,
        base: ToolResult,
    ) -> Result<Self, Refusal> {
        mailbox.prepare()?;
        let lock = take_lock(&mailbox.dir, &caller.label)?;
        Self::open_locked(mailbox, caller, base, lock)
    }

    /// Opens the call with the session lock.
    pub(super) fn open_locked(
        mailbox: &'a Mailbox,
        caller: &'a Caller,
        base: ToolResult,
        lock: HeldLock,
    ) -> Result<Self, Refusal> {
        let session = mailbox.session.to_string();
        Ok(Self {
            call: ToolCall::open_locked(mailbox, caller, lock)?,
            result: ToolResult { session, ..base },
        })
    }

    /// Shows a page: first what this agent has not read yet.
    pub(super) fn show_page(
        mut self,
        limit: usize,
        again: Again,
        only: Option<Address>,
    ) -> Result<ShownPage, Refusal> {
        let now = self.call.picture.now;
        let before = self.call.picture.shown_before();
        let fresh = self.read_fresh(limit, only)?;
        let patient = again == Again::Never;
        let wait = |message: &RenderedMessage| {
            let files = message.wait_for_files(now).filter(|_| patient);
            message.wait(now).into_iter().chain(files).max()
        };
        let ready_in = fresh.iter().filter_map(wait).min();
        let mut page = Page::new(&self.result, limit);
        let mut on_page = Vec::new();
        let ready = fresh.into_iter().filter(|message| wait(message).is_none());
        let is_again = |message: &RenderedMessage| {
            let mut entries = message.entries.iter();
            entries.any(|entry| before.contains(entry))
        };
        self.place_all(&mut page, &mut on_page, ready, is_again);
        if again != Again::Also {
            let with_files = self.read_with_new_files()?;
            self.place_all(&mut page, &mut on_page, with_files, |_| true);
        }
        if again == Again::Also || (again == Again::IfNothingNew && page.is_empty()) {
            let held = self.read_again(only)?;
            self.place_all(&mut page, &mut on_page, held, |_| true);
        }
        self.present(page, &on_page, only, ready_in)
    }

    pub(super) fn show_part(mut self, id: UpdateId, part: usize) -> Result<ShownPage, Refusal> {
        let held = self.call.picture.me.find(id).cloned();
        let (message, again) = if let Some(held) = held {
            (self.read_held(&held)?, true)
        } else {
            if let Some(late) = self.call.picture.me.find_late(id).cloned() {
                return self.show_late(&late, part);
            }
            let mut fresh = self.read_fresh(SEARCH, None)?.into_iter();
            (fresh.find(|one| one.message.update_id == id), false)
        };
        let Some(message) = message else {
            return Err(self.call.no_such(id));
        };
        let mut page = Page::new(&self.result, 1);
        page.push(self.part_of(&message, again, part)?);
        self.present(page, &[message], None, None)
    }

    /// Shows the oldest waiting conversation, or the one meant, to be answered next.
    pub(super) fn show_conversation(mut self, to: Option<To>) -> Result<ShownPage, Refusal> {
        let address = match to {
            Some(to) => Some(self.call.address_of(to)?),
            None => self.oldest()?,
        };
        let Some(address) = address else {
            return self.show_page(1, Again::Never, None);
        };
        // Messages that the agent has not read come first, so that a second call goes on where a full page
        // ended.
        self.show_page(20, Again::Also, Some(address))
    }

    /// The conversation of the oldest message that this agent may see.
    fn oldest(&mut self) -> Result<Option<Address>, Refusal> {
        let visible = self.call.picture.visible_names();
        let names: Vec<EntryName> = visible.take(SEARCH).collect();
        for name in names {
            if let Some(item) = self.call.read_entry(name)? {
                return Ok(Some(item.address));
            }
        }
        Ok(None)
    }

    /// Reads messages that were not shown to this agent, oldest first: those of a page and what may belong
    /// to them. The last one is left out where more entries follow that were not read, because some of
    /// its parts may be among them.
    fn read_fresh(
        &mut self,
        limit: usize,
        only: Option<Address>,
    ) -> Result<Vec<RenderedMessage>, Refusal> {
        let page = limit + LOOKAHEAD;
        let most = only.map_or(page, |_| SEARCH.max(page));
        let names: Vec<EntryName> = self.call.picture.fresh_names().take(most + 1).collect();
        let mut items = Vec::new();
        let mut has_unread = false;
        for (index, name) in names.into_iter().enumerate() {
            if items.len() >= page || index >= most {
                has_unread = true;
                break;
            }
            let item = self.call.read_entry(name)?;
            items.extend(item.filter(|item| only.is_none_or(|address| item.address == address)));
        }
        let mut messages = view::fresh(&items);
        if has_unread && messages.len() > 1 {
            messages.pop();
        }
        for message in &mut messages {
            self.fill_files(message);
        }
        Ok(messages)
    }

    /// The messages that this agent has read, as they were shown.
    fn read_again(&mut self, only: Option<Address>) -> Result<Vec<RenderedMessage>, Refusal> {
        let held = self.call.picture.read_messages(only).into_iter();
        held.filter_map(|held| self.read_held(&held).transpose())
            .collect()
    }

    /// The messages that this agent has read whose files were being fetched then, and are not any more.
    fn read_with_new_files(&mut self) -> Result<Vec<RenderedMessage>, Refusal> {
        let mut with_files = Vec::new();
        for held in self.call.picture.read_messages(None) {
            if held.awaits_files {
                let message = self.read_held(&held)?;
                with_files.extend(message.filter(|message| !message.message.awaits_files()));
            }
        }
        Ok(with_files)
    }

    fn read_held(&mut self, held: &Held) -> Result<Option<RenderedMessage>, Refusal> {
        let mut items = Vec::new();
        for &name in &held.entries {
            items.extend(self.call.read_entry(name)?);
        }
        let mut message = view::together(&items);
        if let Some(message) = &mut message {
            self.fill_files(message);
        }
        Ok(message)
    }

    fn fill_files(&mut self, message: &mut RenderedMessage) {
        let notices = self.call.mailbox.files.fill(message, self.call.picture.now);
        self.call.notices.extend(notices);
    }

    /// Puts the first parts of messages on a page, until it is full.
    fn place_all(
        &self,
        page: &mut Page,
        on_page: &mut Vec<RenderedMessage>,
        messages: impl IntoIterator<Item = RenderedMessage>,
        again: impl Fn(&RenderedMessage) -> bool,
    ) {
        for message in messages {
            let view = message.message.clone();
            let first = view.at(self.call.picture.now, again(&message)).part(1);
            if !first.is_some_and(|first| page.push(first)) {
                return;
            }
            on_page.push(message);
        }
    }

    fn part_of(
        &self,
        message: &RenderedMessage,
        again: bool,
        part: usize,
    ) -> Result<MessageView, Refusal> {
        let view = &message.message;
        let (id, parts) = (view.update_id, view.part_count());
        let shown = view.clone().at(self.call.picture.now, again).part(part);
        shown.ok_or_else(|| Refusal(format!("Message {id} has {parts} part(s), so there is no part {part}. Call again with `part` 1 to {parts}.")))
    }

    /// Shows a message that is settled, for its files. It is not held anew: there is nothing to answer.
    fn show_late(mut self, late: &Late, part: usize) -> Result<ShownPage, Refusal> {
        let now = self.call.picture.now;
        let Some((message, notices)) = self.call.mailbox.read_late(late, now)? else {
            return Err(self.call.no_such(late.update_id));
        };
        let mut page = Page::new(&self.result, 1);
        page.push(self.part_of(&message, true, part)?);
        self.call.notices.extend(notices);
        self.result.messages = page.into_messages();
        self.result.remaining = self.call.picture.pending.len();
        Ok(self.finish())
    }

    /// Records the showing, then makes the result.
    fn present(
        mut self,
        page: Page,
        on_page: &[RenderedMessage],
        answering: Option<Address>,
        ready_in: Option<Duration>,
    ) -> Result<ShownPage, Refusal> {
        let showing = self.call.picture.plan_showing(on_page);
        self.call.carry_out(showing.effects)?;
        let presentation = self.call.track_presentation(showing.newly, answering);

        let pending = &self.call.picture.pending;
        let shown = showing.entries.iter().filter(|name| pending.contains(name));
        self.result.remaining = pending.len() - shown.count();
        // Every message of the page is the first part of one of `on_page`, in the same order.
        let mut messages: Vec<_> = on_page
            .iter()
            .map(|message| message.entries.first())
            .zip(page.into_messages())
            .collect();
        messages.sort_by_key(|(first, _)| *first);
        self.result.messages = messages.into_iter().map(|(_, message)| message).collect();
        let about_others = self.call.picture.notices_about_others(&showing.entries);
        self.call.notices.splice(0..0, about_others);
        Ok(ShownPage {
            presentation,
            ready_in,
            ..self.finish()
        })
    }

    fn finish(mut self) -> ShownPage {
        self.result.notices.append(&mut self.call.notices);
        self.result.notices = page::notices(&self.result.notices);
        ShownPage {
            result: self.result,
            presentation: None,
            ready_in: None,
        }
    }
}
