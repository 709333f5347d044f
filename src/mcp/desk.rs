//! What lies on the desk while one call is decided, and what of it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use super::conversation::{Conversation, Held};
use super::holder::{self, HolderId};
use super::mailbox::{Caller, Mailbox, MailboxError, Showing, ShownPage};
use super::page::{self, Page};
use super::seen::{self, Marks};
use super::tools::{Refusal, To, ToolResult};
use crate::chain::Chain;
use crate::clock::Timestamp;
use crate::gateway::presence;
use crate::ids::{Address, UpdateId};
use crate::inbox::entry::EntryName;
use crate::inbox::view::{self, Item, MessageView, Shown};
use crate::session::registry::{AgentFile, ClientName, Thread};
use crate::store::atomic::{self, Durability};
use crate::store::format::{self, ReadError};
use crate::store::lock::FileLock;
use crate::store::steps::Step;
use crate::telegram::update;

/// How many entries beyond a page are read, to find the parts and edits of what is on it.
const LOOKAHEAD: usize = 128;
/// How many entries are read at most in search of one conversation.
const SEARCH: usize = 5000;
/// A holder's call is noted at least this often, so that others see that it is not silent.
const ACTIVE_NOTE: Duration = Duration::from_secs(60);

/// What lies on the desk while one call is decided: everything read under the lock, once.
pub(super) struct Desk<'a> {
    pub(super) mailbox: &'a Mailbox,
    pub(super) caller: &'a Caller,
    pub(super) now: Timestamp,
    pub(super) pending: BTreeSet<EntryName>,
    pub(super) me: Conversation,
    /// As it is on disk.
    me_on_disk: Option<Conversation>,
    others: Vec<Other>,
    marks: Marks,
    /// The conversation that this call shows, to be remembered as the one that is being answered.
    answering: Option<Address>,
    pub(super) notices: Vec<String>,
    _lock: FileLock,
}

/// Notes something in this agent's conversation that a result said, now that it has gone out.
pub(super) fn note(
    mailbox: &Mailbox,
    caller: &Caller,
    said: impl FnOnce(&mut Conversation),
) -> Result<(), MailboxError> {
    let _lock = lock(mailbox, caller)?;
    let marks = Marks::read(&mailbox.dir)?;
    let path = mailbox.dir.conversations().join(file_name(&caller.holder));
    let on_disk: Option<Conversation> = format::read(&mailbox.state, &path, mailbox.clock.now())?;
    let Some(on_disk) = on_disk else {
        return Ok(());
    };
    let mut me = on_disk.clone();
    marks.apply(&mut me);
    said(&mut me);
    if me != on_disk {
        // Lost with the power, that note only means that it is said once more.
        format::write(&path, &me, Step::Seen, Durability::FileSynced)?;
    }
    Ok(())
}

/// What this agent was shown, if it can be read. What is wrong with the file is for the call to say.
pub(super) fn peek(mailbox: &Mailbox, caller: &Caller) -> Option<Conversation> {
    seen::peek(&mailbox.dir, caller.holder.as_str())
}

/// Makes the server known before an agent has called it.
pub(super) fn register(mailbox: &Mailbox, client: Option<ClientName>) -> Result<(), MailboxError> {
    mailbox.state.prepare()?;
    mailbox.dir.prepare()?;
    let _lock = lock_as(mailbox, "registering")?;
    let mut registration = mailbox
        .registration
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(registration.tell(|file| file.client = client)?)
}

/// Takes the session lock for a call.
pub(super) fn lock(mailbox: &Mailbox, caller: &Caller) -> Result<FileLock, MailboxError> {
    lock_as(mailbox, &caller.label)
}

fn lock_as(mailbox: &Mailbox, whom: &str) -> Result<FileLock, MailboxError> {
    let who = format!("telepost mcp, pid {} ({whom})", std::process::id());
    Ok(mailbox.dir.take_lock(&who)?)
}

/// What a call tells of an agent: that it lives, and how it can be reached.
fn call_of(file: &mut AgentFile, caller: &Caller) {
    file.holders.insert(caller.holder.clone());
    if caller.client.is_some() {
        file.client.clone_from(&caller.client);
    }
    let known = file.threads.iter().any(|one| one.holder == caller.holder);
    if let Some(id) = caller.thread.clone().filter(|_| !known) {
        let holder = caller.holder.clone();
        file.threads.push(Thread { holder, id });
    }
}

/// Whether messages that the agent holds are shown once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The call looks again if it shows nothing.
    Never,
    IfNothingNew,
    Also,
}

pub(super) struct Other {
    conversation: Conversation,
    alive: bool,
    /// Alive and not silent: what it holds is not shown to anybody else.
    keeps: bool,
}

impl<'a> Desk<'a> {
    pub(super) fn open(mailbox: &'a Mailbox, caller: &'a Caller) -> Result<Self, MailboxError> {
        mailbox.state.prepare()?;
        mailbox.dir.prepare()?;
        let lock = lock(mailbox, caller)?;
        let now = mailbox.clock.now();
        mailbox
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tell(|file| call_of(file, caller))?;

        let mut notices = Vec::new();
        mailbox.settle_committed(now, &mut notices)?;
        let pending = mailbox.inbox.pending()?;
        let living = holder::living(&mailbox.state, &mailbox.dir, now)?;
        let marks = Marks::read(&mailbox.dir)?;
        let mut me_on_disk = None;
        let (mut others, mut left) = (Vec::new(), Vec::new());
        for name in atomic::list(&mailbox.dir.conversations())? {
            let path = mailbox.dir.conversations().join(&name);
            let mut conversation: Conversation = match format::read(&mailbox.state, &path, now) {
                Ok(Some(conversation)) => conversation,
                Ok(None) => continue,
                Err(error @ ReadError::Quarantined { .. }) => {
                    notices.push(format!(
                        "What one agent was shown is not known any more; the messages that it held are offered again. {}",
                        Chain(&error)
                    ));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if name == file_name(&caller.holder) {
                me_on_disk = Some(conversation);
                continue;
            }
            marks.apply(&mut conversation);
            conversation.reconcile(&pending);
            let alive = living
                .iter()
                .any(|holder| holder.as_str() == conversation.holder);
            if !alive && conversation.is_idle() {
                left.push((path, conversation.late));
                continue;
            }
            let keeps = alive && !conversation.is_silent(now);
            others.push(Other {
                conversation,
                alive,
                keeps,
            });
        }
        let mut me = me_on_disk
            .clone()
            .unwrap_or_else(|| Conversation::new(caller.holder.as_str(), &caller.label, now));
        marks.apply(&mut me);
        me.reconcile(&pending);
        let mut desk = Self {
            mailbox,
            caller,
            now,
            pending,
            me,
            me_on_disk,
            others,
            marks,
            answering: None,
            notices,
            _lock: lock,
        };
        desk.inherit(left)?;
        desk.note_activity();
        Ok(desk)
    }

    /// Notes that this holder is not silent, whatever it calls. Without a file it holds nothing, so
    /// that nobody asks.
    fn note_activity(&mut self) {
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        if noted.is_some_and(|at| self.now.since(at) >= ACTIVE_NOTE)
            && let Err(error) = self.save(Step::Hold)
        {
            tracing::warn!(error = %Chain(&error), "cannot note that this agent is not silent");
        }
    }

    /// Writes this holder's conversation if that says something new.
    pub(super) fn save(&mut self, step: Step) -> Result<(), MailboxError> {
        self.me.label.clone_from(&self.caller.label);
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        let fresh = noted.is_some_and(|at| self.now.since(at) < ACTIVE_NOTE);
        self.me.active_at = if fresh {
            noted.unwrap_or(self.now)
        } else {
            self.now
        };
        if self.me_on_disk.as_ref() != Some(&self.me) {
            let path = self
                .mailbox
                .dir
                .conversations()
                .join(file_name(&self.caller.holder));
            format::write(&path, &self.me, step, Durability::Synced)?;
            self.me_on_disk = Some(self.me.clone());
            self.clear_marks();
        }
        Ok(())
    }

    /// Removes the marks that the conversation just written has taken over. One that stays costs nothing
    /// but its name.
    fn clear_marks(&mut self) {
        let others = self.others.iter();
        let others = others.map(|other| other.conversation.holder.as_str());
        if let Err(error) = self
            .marks
            .clear(&self.mailbox.dir, &self.me, &others.collect())
        {
            tracing::debug!(error = %Chain(&error), "marks that are not needed any more stay");
        }
    }

    pub(super) fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    /// Pending entries that another agent keeps.
    pub(super) fn kept(&self) -> BTreeSet<EntryName> {
        self.others
            .iter()
            .filter(|other| other.keeps)
            .flat_map(|other| other.conversation.entries())
            .collect()
    }

    /// Pending entries that an agent held that is dead or silent.
    fn left_behind(&self) -> BTreeSet<EntryName> {
        self.others
            .iter()
            .filter(|other| !other.keeps)
            .flat_map(|other| other.conversation.entries())
            .collect()
    }

    pub(super) fn read(&mut self, name: EntryName) -> Result<Option<Item>, MailboxError> {
        match self.mailbox.inbox.read(name, self.now) {
            Ok(Some(entry)) => {
                let update = update::read(entry.update.get()).ok();
                Ok(Some(Item {
                    name,
                    address: entry.address,
                    update,
                }))
            }
            Ok(None) => {
                self.pending.remove(&name);
                Ok(None)
            }
            Err(error @ ReadError::Quarantined { .. }) => {
                self.pending.remove(&name);
                self.notices.push(format!(
                    "One message could not be read; ask the person to send it again. {}",
                    Chain(&error)
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads entries that were not shown to this agent, oldest first: those of a page and what may
    /// belong to them. The last message is left out where more entries follow that were not read,
    /// because some of its parts may be among them.
    fn fresh(&mut self, limit: usize, only: Option<Address>) -> Result<Vec<Shown>, MailboxError> {
        let (mine, kept) = (self.me.seen(), self.kept());
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
            .filter(|held| held.seen && only.is_none_or(|address| held.address == address))
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
            .filter(|held| held.seen && held.awaits_files)
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

    pub(super) fn show(
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
        self.shown(base, page, &on_page, ready_in)
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

    pub(super) fn show_part(
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
        self.shown(base, page, &[shown], None)
    }

    pub(super) fn part_of(
        &self,
        shown: &Shown,
        again: bool,
        part: usize,
    ) -> Result<MessageView, MailboxError> {
        let (id, parts) = (shown.message.update_id, shown.message.part_count());
        let message = shown.message.clone().at(self.now, again).part(part);
        message.ok_or_else(|| Refusal(format!("Message {id} has {parts} part(s), so there is no part {part}. Call again with `part` 1 to {parts}.")).into())
    }

    pub(super) fn show_conversation(
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
        self.answering = Some(address);
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
        ready_in: Option<Duration>,
    ) -> Result<ShownPage, MailboxError> {
        // Every message of the page is the first part of one of `on_page`, in the same order.
        let entries = view::entries_of(on_page);
        let newly: BTreeSet<EntryName> = entries.difference(&self.me.seen()).copied().collect();
        if !newly.is_empty() {
            // The gateway may not have synced the folder yet; what was shown must never vanish.
            self.mailbox.inbox.sync_names()?;
        }
        // First the others let go, then we hold: a kill in between leaves a message that nobody
        // holds, which is offered as new, and never one that two hold.
        let conversations = self.mailbox.dir.conversations();
        for other in &mut self.others {
            if other.conversation.entries().is_disjoint(&entries) {
                continue;
            }
            other.conversation.let_go(&entries);
            let path = conversations.join(format!("{}.json", other.conversation.holder));
            if other.conversation.is_idle() && other.conversation.late.is_empty() && !other.alive {
                atomic::remove(&path, Step::Hold)?;
                atomic::sync_folder(&conversations)?;
            } else {
                format::write(&path, &other.conversation, Step::Hold, Durability::Synced)?;
            }
        }
        let newest = self.mailbox.outbox.newest()?;
        // After every reply so far, whatever the clock says: "newly shown since" is a comparison.
        let shown_at = Timestamp(self.now.0.max(newest + 1));
        let before = self.me.mark();
        let answering = self.answering.or(self.me.answering);
        let id = seen::new_show();
        self.me
            .hold(&on_page.iter().collect::<Vec<_>>(), id, shown_at);
        self.me.answering = answering.filter(|address| self.me.held_at(*address).next().is_some());
        self.save(Step::Hold)?;

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
            showing: Showing {
                id,
                newly,
                before,
                after: self.me.mark(),
            },
            ready_in,
        })
    }

    /// Says who has messages that are not shown.
    fn others_notice(&self, shown: &BTreeSet<EntryName>) -> Vec<String> {
        // Agents of one client have the same label: as one line, or all but the first would be lost
        // as repetitions.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for other in self.others.iter().filter(|other| other.keeps) {
            let conversation = &other.conversation;
            let count = conversation.entries().difference(shown).count();
            *counts.entry(&conversation.label).or_default() += count;
        }
        counts
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(label, count)| {
                format!("{count} message(s) are being answered by another agent of this session ({label}); they are offered to you if it ends or is silent for 30 minutes.")
            })
            .collect()
    }

    /// The conversation that `to` means.
    pub(super) fn address_of(&mut self, to: To) -> Result<Address, MailboxError> {
        let id = match to {
            To::Home => return self.home(),
            To::Message(id) => id,
        };
        if let Some(held) = self.me.find(id) {
            return Ok(held.address);
        }
        let kept = self.kept();
        if let Some(name) = self
            .pending
            .iter()
            .find(|name| name.update_id == id)
            .copied()
        {
            if kept.contains(&name) {
                return Err(Refusal(format!("Message {id} is being answered by another agent of this session. Leave it to that agent, or wait until it ends.")).into());
            }
            if let Some(item) = self.read(name)? {
                return Ok(item.address);
            }
        }
        match self.mailbox.inbox.read_settled(id, self.now) {
            Ok(Some(entry)) => Ok(entry.address),
            Ok(None) | Err(ReadError::Quarantined { .. }) => Err(self.no_such(id).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn home(&self) -> Result<Address, MailboxError> {
        let presence = presence::read(&self.mailbox.state, self.now)?;
        let bot = presence
            .as_ref()
            .and_then(|presence| presence.sessions.get(&self.mailbox.session))
            .map(|session| session.bot_id);
        match bot {
            Some(bot_id) => Ok(Address { bot_id, chat_id: self.mailbox.home, topic_id: None }),
            None => Err(Refusal(
                "The bot of this session is not known yet, because no gateway has run with its token. Nothing was sent. Ask the person to set the token and to run `telepost gateway`, then call again.".to_owned(),
            )
            .into()),
        }
    }

    pub(super) fn no_such(&self, id: UpdateId) -> Refusal {
        let ids: Vec<String> = self
            .me
            .held
            .iter()
            .map(|held| held.update_id.to_string())
            .collect();
        let held = if ids.is_empty() {
            "You hold none.".to_owned()
        } else {
            format!("You hold {}.", ids.join(", "))
        };
        Refusal(format!(
            "This session has no message {id}; `update_id` of a message names it. {held} Call telegram_poll to see what waits."
        ))
    }
}

fn file_name(holder: &HolderId) -> String {
    format!("{}.json", holder.as_str())
}
