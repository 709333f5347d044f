//! The calls of an agent, as read-decide-write steps under the session lock.
//!
//! Owns the order of writes. Showing: what others must let go of, then our hold, then the result.
//! Replying: the outbox file (the commit point), then the settling of what it answers, then our
//! conversation. A kill between any two is made good by the next call, of whomever:
//! [`Desk::open`] settles what the outbox answers, and a held entry without a file is settled.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::conversation::{Conversation, Held, REPEAT_WITHIN, Target, Unplaced};
use super::holder::{self, HolderId, Registration};
use super::page::{self, Page};
use super::tools::{PollParams, ReactParams, Refusal, ReplyParams, Status, To, ToolResult, in_range};
use crate::chain::Chain;
use crate::clock::{Clock, Timestamp};
use crate::gateway::presence;
use crate::ids::{Address, ChatId, MessageId, SessionId, UpdateId};
use crate::inbox::disk::Inbox;
use crate::inbox::entry::EntryName;
use crate::inbox::view::{self, Item, Shown};
use crate::outbox::delivery::{Content, Delivery, DeliveryId, Outcome};
use crate::outbox::disk::{Outbox, Standing};
use crate::outbox::gates;
use crate::outbox::split::MESSAGE_LIMIT;
use crate::store::atomic::Durability;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::layout::{SessionDir, StateDir};
use crate::store::lock::{FileLock, LockError};
use crate::store::steps::Step;
use crate::store::{StoreError, atomic};
use crate::telegram::{reactions, update};

/// How long to wait for the session lock, which others hold for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How many entries beyond a page are read, to find the parts and edits of what is on it.
const LOOKAHEAD: usize = 128;
/// How many entries are read at most in search of one conversation.
const SEARCH: usize = 5000;
/// Most ids in one `ack`.
const ACK_MOST: usize = 200;
/// A holder's call is noted at least this often, so that others see that it is not silent.
const ACTIVE_NOTE: Duration = Duration::from_secs(60);

/// One session's mailbox, as one MCP server uses it.
pub struct Mailbox {
    state: StateDir,
    dir: SessionDir,
    session: SessionId,
    home: ChatId,
    inbox: Inbox,
    outbox: Outbox,
    clock: Clock,
    registration: Mutex<Registration>,
    /// Deliveries whose answers this process has seen settled: not read again at every call.
    settled: Mutex<BTreeSet<DeliveryId>>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub holder: HolderId,
    /// The client, for people.
    pub label: String,
    /// The client's own id of this call, if it gives one: the same call is never carried out twice.
    pub call: Option<String>,
}

/// A page that was shown, and which entries on it were not held before.
#[derive(Debug)]
pub struct ShownPage {
    /// The result.
    pub result: ToolResult,
    /// To let go of again if the result is never seen.
    pub newly: BTreeSet<EntryName>,
    /// When a message that is still being put together will be complete.
    pub ready_in: Option<Duration>,
}

/// A reply or reaction that is on disk.
#[derive(Debug)]
pub struct Accepted {
    /// The delivery.
    pub id: DeliveryId,
    /// Where it goes.
    pub address: Address,
    /// Whether an earlier call has made it.
    pub repeat: bool,
    /// How many messages wait now.
    pub remaining: usize,
    /// What was acknowledged with it.
    pub acked: Vec<UpdateId>,
    /// What the agent should know besides.
    pub notices: Vec<String>,
}

/// A step failed.
#[derive(Debug, thiserror::Error)]
enum MailboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("another call of this session is still at work")]
    Lock(#[from] LockError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<MailboxError> for Refusal {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Refused(refusal) => refusal,
            MailboxError::Store(_) | MailboxError::Read(_) | MailboxError::Lock(_) => {
                Self(format!("{}. Nothing was lost; call again when that is mended.", Chain(&error)))
            }
        }
    }
}

impl Mailbox {
    /// The mailbox of a session. Touches nothing.
    pub fn new(state: StateDir, session: &crate::config::Session, registration: Registration, clock: Clock) -> Self {
        let dir = state.session(&session.id);
        Self {
            inbox: Inbox::new(&state, dir.clone()),
            outbox: Outbox::new(&state, dir.clone()),
            session: session.id.clone(),
            home: session.chat_ids.first().copied().unwrap_or(ChatId(0)),
            registration: Mutex::new(registration),
            settled: Mutex::default(),
            state,
            dir,
            clock,
        }
    }

    /// The folders whose changes a waiting call watches: new messages, and finished deliveries.
    pub fn watched(&self) -> [std::path::PathBuf; 3] {
        [self.dir.inbox(), self.dir.sent(), self.dir.failed()]
    }

    /// Creates the folders of the session, so that they can be watched.
    pub fn prepare(&self) -> Result<(), Refusal> {
        let prepared = self.state.prepare().and_then(|()| self.dir.prepare());
        prepared.map_err(|error| MailboxError::from(error).into())
    }

    /// Carries out `ack`. Returns what was and what was not acknowledged.
    pub fn acknowledge(&self, caller: &Caller, ids: &[UpdateId]) -> Result<(Vec<UpdateId>, Vec<UpdateId>), Refusal> {
        if ids.len() > ACK_MOST {
            return Err(Refusal(format!(
                "`ack` lists {} messages; at most {ACK_MOST} at once. Nothing was acknowledged; call again with fewer.",
                ids.len()
            )));
        }
        Ok(self.acknowledge_ids(caller, ids)?)
    }

    fn acknowledge_ids(&self, caller: &Caller, ids: &[UpdateId]) -> Result<(Vec<UpdateId>, Vec<UpdateId>), MailboxError> {
        if ids.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut desk = Desk::open(self, caller)?;
        let (mut acked, mut not_acked, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for &id in ids {
            match desk.me.find(id) {
                Some(held) => {
                    acked.push(id);
                    entries.extend(held.entries.iter().copied());
                }
                None => not_acked.push(id),
            }
        }
        self.inbox.settle(&entries)?;
        desk.forget_settled(&entries);
        desk.save()?;
        Ok((acked, not_acked))
    }

    /// Shows the messages that were not shown to this agent yet, oldest first. With `again`, those
    /// that it holds if there are no others.
    pub fn show(&self, caller: &Caller, base: ToolResult, limit: usize, again: bool) -> Result<ShownPage, Refusal> {
        let again = if again { Again::IfNothingNew } else { Again::Never };
        Ok(Desk::open(self, caller)?.show(base, limit, again, None)?)
    }

    /// Shows one part of one message.
    pub fn show_part(&self, caller: &Caller, base: ToolResult, id: UpdateId, part: usize) -> Result<ShownPage, Refusal> {
        Ok(Desk::open(self, caller)?.show_part(base, id, part)?)
    }

    /// Shows the oldest waiting conversation, or the one meant, and remembers it as the one that is
    /// being answered.
    pub fn show_conversation(&self, caller: &Caller, base: ToolResult, to: Option<To>) -> Result<ShownPage, Refusal> {
        Ok(Desk::open(self, caller)?.show_conversation(base, to)?)
    }

    /// Lets go of what a result showed that the client cancelled, and so never saw.
    pub fn unshow(&self, caller: &Caller, entries: &BTreeSet<EntryName>) -> Result<(), Refusal> {
        let undo = || -> Result<(), MailboxError> {
            let mut desk = Desk::open(self, caller)?;
            desk.me.let_go(entries);
            desk.save()
        };
        Ok(undo()?)
    }

    /// Accepts a reply, a progress or a message of the agent's own.
    pub fn reply(&self, caller: &Caller, params: &ReplyParams) -> Result<Accepted, Refusal> {
        Ok(Desk::open(self, caller)?.reply(params)?)
    }

    /// Accepts a reaction.
    pub fn react(&self, caller: &Caller, params: &ReactParams) -> Result<Accepted, Refusal> {
        Ok(Desk::open(self, caller)?.react(params)?)
    }

    /// How an accepted delivery stands.
    pub fn standing(&self, accepted: &Accepted) -> Result<ToolResult, Refusal> {
        Ok(self.standing_of(accepted)?)
    }

    fn standing_of(&self, accepted: &Accepted) -> Result<ToolResult, MailboxError> {
        let now = self.clock.now();
        let mut result = ToolResult {
            remaining: accepted.remaining,
            session: self.session.to_string(),
            status: Some(Status::Accepted),
            acked: accepted.acked.clone(),
            delivery_id: Some(accepted.id.to_string()),
            repeat: accepted.repeat,
            notices: accepted.notices.clone(),
            ..ToolResult::default()
        };
        match self.outbox.standing(&accepted.id, now)? {
            Standing::Finished(finished) => match finished.outcome {
                Outcome::Delivered { message_ids, .. } => {
                    result.status = Some(Status::Delivered);
                    result.message_ids = message_ids;
                }
                Outcome::Unknown => {
                    result.notices.push("Telegram's answer was lost: it may stand in the chat or not; it is not sent again.".to_owned());
                }
                Outcome::Superseded => {
                    result.notices.push("A newer message took its place before it was sent.".to_owned());
                }
                Outcome::Failed { reason, message_ids } => {
                    result.status = Some(Status::Failed);
                    result.reason = Some(reason);
                    result.message_ids = message_ids;
                }
            },
            // Gone after it was accepted means finished so long ago that its record was swept.
            Standing::Waiting | Standing::Gone => {
                result.held_until = self.gate_opens(accepted.address, now)?.map(Timestamp::rfc3339);
            }
        }
        Ok(result)
    }

    /// When the flood gate of a chat opens; `None` if it is open.
    fn gate_opens(&self, address: Address, now: Timestamp) -> Result<Option<Timestamp>, ReadError> {
        match gates::read_closed(&self.state, address.bot_id, now) {
            Ok(gates) => Ok(gates
                .iter()
                .find(|gate| gate.chat_id == address.chat_id)
                .and_then(|gate| gate.opens_at(now))),
            // The gateway will report it and write new ones.
            Err(ReadError::Quarantined { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What lies on the desk while one call is decided: everything read under the lock, once.
struct Desk<'a> {
    mailbox: &'a Mailbox,
    caller: &'a Caller,
    now: Timestamp,
    pending: BTreeSet<EntryName>,
    me: Conversation,
    /// As it is on disk.
    me_on_disk: Option<Conversation>,
    others: Vec<Other>,
    notices: Vec<String>,
    _lock: FileLock,
}

/// Whether messages that the agent holds are shown once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    IfNothingNew,
    Also,
}

struct Other {
    conversation: Conversation,
    alive: bool,
    /// Alive and not silent: what it holds is not shown to anybody else.
    keeps: bool,
}

impl<'a> Desk<'a> {
    fn open(mailbox: &'a Mailbox, caller: &'a Caller) -> Result<Self, MailboxError> {
        mailbox.state.prepare()?;
        mailbox.dir.prepare()?;
        let who = format!("telepost mcp, pid {} ({})", std::process::id(), caller.label);
        let lock = FileLock::take_within(&mailbox.dir.lock(), &who, LOCK_PATIENCE)?;
        let now = mailbox.clock.now();
        mailbox.registration.lock().unwrap_or_else(PoisonError::into_inner).announce(&caller.holder)?;

        let mut notices = Vec::new();
        mailbox.settle_committed(now, &mut notices)?;
        let pending = mailbox.inbox.pending()?;
        let living = holder::living(&mailbox.dir)?;
        let mut me_on_disk = None;
        let mut others = Vec::new();
        for name in atomic::list(&mailbox.dir.conversations())? {
            let path = mailbox.dir.conversations().join(&name);
            let mut conversation: Conversation = match format::read(&mailbox.state, &path, now) {
                Ok(Some(conversation)) => conversation,
                Ok(None) => continue,
                Err(error @ ReadError::Quarantined { .. }) => {
                    notices.push(format!("{}; the messages that it held are offered again.", Chain(&error)));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if name == file_name(&caller.holder) {
                me_on_disk = Some(conversation);
                continue;
            }
            conversation.reconcile(&pending);
            let alive = living.iter().any(|holder| holder.as_str() == conversation.holder);
            if !alive && conversation.is_idle() {
                atomic::remove(&path, Step::Hold)?;
                continue;
            }
            let keeps = alive && !conversation.is_silent(now);
            others.push(Other { conversation, alive, keeps });
        }
        let mut me = me_on_disk.clone().unwrap_or_else(|| Conversation::new(caller.holder.as_str(), &caller.label, now));
        me.reconcile(&pending);
        Ok(Self { mailbox, caller, now, pending, me, me_on_disk, others, notices, _lock: lock })
    }

    /// Writes this holder's conversation if that says something new.
    fn save(&mut self) -> Result<(), MailboxError> {
        self.me.label.clone_from(&self.caller.label);
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        let fresh = noted.is_some_and(|at| self.now.since(at) < ACTIVE_NOTE);
        self.me.active_at = if fresh { noted.unwrap_or(self.now) } else { self.now };
        if self.me_on_disk.as_ref() != Some(&self.me) {
            let path = self.mailbox.dir.conversations().join(file_name(&self.caller.holder));
            format::write(&path, &self.me, Step::Hold, Durability::Synced)?;
            self.me_on_disk = Some(self.me.clone());
        }
        Ok(())
    }

    fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    /// Pending entries that another agent keeps.
    fn kept(&self) -> BTreeSet<EntryName> {
        self.others.iter().filter(|other| other.keeps).flat_map(|other| other.conversation.entries()).collect()
    }

    /// Pending entries that an agent held that is dead or silent.
    fn left_behind(&self) -> BTreeSet<EntryName> {
        self.others.iter().filter(|other| !other.keeps).flat_map(|other| other.conversation.entries()).collect()
    }

    fn read(&mut self, name: EntryName) -> Result<Option<Item>, MailboxError> {
        match self.mailbox.inbox.read(name, self.now) {
            Ok(Some(entry)) => {
                let update = update::read(entry.update.get()).ok();
                Ok(Some(Item { name, address: entry.address, update }))
            }
            Ok(None) => {
                self.pending.remove(&name);
                Ok(None)
            }
            Err(error @ ReadError::Quarantined { .. }) => {
                self.pending.remove(&name);
                self.notices.push(format!("One message could not be read: {}. Ask the person to send it again.", Chain(&error)));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads entries that were not shown to this agent, oldest first: those of a page and what may
    /// belong to them. The last message is left out where more entries follow that were not read,
    /// because some of its parts may be among them.
    fn fresh(&mut self, limit: usize, only: Option<Address>) -> Result<Vec<Shown>, MailboxError> {
        let (mine, kept) = (self.me.entries(), self.kept());
        let names: Vec<EntryName> =
            self.pending.iter().filter(|name| !mine.contains(name) && !kept.contains(name)).copied().collect();
        let mut items = Vec::new();
        let mut unread = false;
        for (index, &name) in names.iter().enumerate() {
            if items.len() >= limit + LOOKAHEAD || index >= SEARCH.max(limit + LOOKAHEAD) {
                unread = true;
                break;
            }
            items.extend(self.read(name)?.filter(|item| only.is_none_or(|address| item.address == address)));
        }
        let mut shown = view::fresh(&items);
        if unread && shown.len() > 1 {
            shown.pop();
        }
        Ok(shown)
    }

    /// The messages that this agent holds, oldest first, as they were shown.
    fn held(&mut self, only: Option<Address>) -> Result<Vec<Shown>, MailboxError> {
        let mut held: Vec<Held> =
            self.me.held.iter().filter(|held| only.is_none_or(|address| held.address == address)).cloned().collect();
        held.sort_by_key(|held| held.entries.first().copied());
        held.into_iter().filter_map(|held| self.read_held(&held).transpose()).collect()
    }

    fn read_held(&mut self, held: &Held) -> Result<Option<Shown>, MailboxError> {
        let mut items = Vec::new();
        for &name in &held.entries {
            items.extend(self.read(name)?);
        }
        Ok(view::together(&items))
    }

    fn show(mut self, mut base: ToolResult, limit: usize, again: Again, only: Option<Address>) -> Result<ShownPage, MailboxError> {
        base.session = self.mailbox.session.to_string();
        let left_behind = self.left_behind();
        let fresh = self.fresh(limit, only)?;
        let ready_in = fresh.iter().filter(|shown| shown.ready_at > self.now).map(|shown| shown.ready_at.since(self.now)).min();
        let mut page = Page::new(&base, limit);
        let mut on_page = Vec::new();
        for shown in fresh.into_iter().filter(|shown| shown.ready_at <= self.now) {
            let before = shown.entries.iter().any(|entry| left_behind.contains(entry));
            if !self.place(&mut page, &shown, before) {
                break;
            }
            on_page.push(shown);
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
        shown.message.clone().at(self.now, again).part(1).is_some_and(|message| page.push(message))
    }

    fn show_part(mut self, mut base: ToolResult, id: UpdateId, part: usize) -> Result<ShownPage, MailboxError> {
        base.session = self.mailbox.session.to_string();
        let held = self.me.find(id).cloned();
        let (shown, again) = match held {
            Some(held) => (self.read_held(&held)?, true),
            None => (self.fresh(SEARCH, None)?.into_iter().find(|shown| shown.message.update_id == id), false),
        };
        let Some(shown) = shown else { return Err(self.no_such(id)?.into()) };
        let parts = shown.message.part_count();
        let Some(message) = shown.message.clone().at(self.now, again).part(part) else {
            return Err(Refusal(format!("Message {id} has {parts} part(s), so there is no part {part}. Call again with `part` 1 to {parts}.")).into());
        };
        let mut page = Page::new(&base, 1);
        page.push(message);
        self.shown(base, page, &[shown], None)
    }

    fn show_conversation(mut self, base: ToolResult, to: Option<To>) -> Result<ShownPage, MailboxError> {
        let address = match to {
            Some(to) => Some(self.address_of(to)?),
            None => self.oldest()?,
        };
        let Some(address) = address else { return self.show(base, 1, Again::Never, None) };
        self.me.answering = Some(address);
        // What the agent has not seen comes first, so that a second call goes on where a full page ended.
        self.show(base, 20, Again::Also, Some(address))
    }

    /// The conversation of the oldest message that this agent may see.
    fn oldest(&mut self) -> Result<Option<Address>, MailboxError> {
        let kept = self.kept();
        let names: Vec<EntryName> = self.pending.iter().filter(|name| !kept.contains(name)).copied().collect();
        for name in names {
            if let Some(item) = self.read(name)? {
                return Ok(Some(item.address));
            }
        }
        Ok(None)
    }

    /// Records what a page shows, then gives it out.
    fn shown(mut self, mut result: ToolResult, page: Page, on_page: &[Shown], ready_in: Option<Duration>) -> Result<ShownPage, MailboxError> {
        // Every message of the page is the first part of one of `on_page`, in the same order.
        let entries = view::entries_of(on_page);
        let newly: BTreeSet<EntryName> = entries.difference(&self.me.entries()).copied().collect();
        // First the others let go, then we hold: a kill in between leaves a message that nobody
        // holds, which is offered as new, and never one that two hold.
        let conversations = self.mailbox.dir.conversations();
        for other in &mut self.others {
            if other.conversation.entries().is_disjoint(&entries) {
                continue;
            }
            other.conversation.let_go(&entries);
            let path = conversations.join(format!("{}.json", other.conversation.holder));
            if other.conversation.is_idle() && !other.alive {
                atomic::remove(&path, Step::Hold)?;
            } else {
                format::write(&path, &other.conversation, Step::Hold, Durability::Synced)?;
            }
        }
        let newest = self.mailbox.outbox.all()?.last().map_or(0, |id| id.accepted);
        // After every reply so far, whatever the clock says: "newly shown since" is a comparison.
        let shown_at = Timestamp(self.now.0.max(newest + 1));
        let answering = self.me.answering;
        self.me.hold(&on_page.iter().collect::<Vec<_>>(), shown_at);
        self.me.answering = answering.filter(|address| self.me.held_at(*address).next().is_some());
        self.save()?;

        result.remaining = self.pending.difference(&entries).count();
        let mut messages: Vec<_> = on_page.iter().map(|shown| shown.entries.first()).zip(page.into_messages()).collect();
        messages.sort_by_key(|(first, _)| *first);
        result.messages = messages.into_iter().map(|(_, message)| message).collect();
        result.notices.extend(self.others_notice(&entries));
        result.notices.append(&mut self.notices);
        result.notices = page::notices(result.notices);
        Ok(ShownPage { result, newly, ready_in })
    }

    /// Says who has messages that are not shown.
    fn others_notice(&self, shown: &BTreeSet<EntryName>) -> Vec<String> {
        self.others
            .iter()
            .filter(|other| other.keeps)
            .filter_map(|other| {
                let count = other.conversation.entries().difference(shown).count();
                let label = &other.conversation.label;
                (count > 0).then(|| {
                    format!("{count} message(s) are being answered by another agent of this session ({label}); they are offered to you if it ends or is silent for 30 minutes.")
                })
            })
            .collect()
    }

    /// The conversation that `to` means.
    fn address_of(&mut self, to: To) -> Result<Address, MailboxError> {
        let id = match to {
            To::Home => return self.home(),
            To::Message(id) => id,
        };
        if let Some(held) = self.me.find(id) {
            return Ok(held.address);
        }
        let kept = self.kept();
        if let Some(name) = self.pending.iter().find(|name| name.update_id == id).copied() {
            if kept.contains(&name) {
                return Err(Refusal(format!("Message {id} is being answered by another agent of this session. Leave it to that agent, or wait until it ends.")).into());
            }
            if let Some(item) = self.read(name)? {
                return Ok(item.address);
            }
        }
        match self.mailbox.inbox.read_settled(id, self.now) {
            Ok(Some(entry)) => Ok(entry.address),
            Ok(None) | Err(ReadError::Quarantined { .. }) => Err(self.no_such(id)?.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn home(&self) -> Result<Address, MailboxError> {
        let presence = presence::read(&self.mailbox.state, self.now)?;
        let bot = presence.as_ref().and_then(|presence| presence.sessions.get(&self.mailbox.session)).map(|session| session.bot_id);
        match bot {
            Some(bot_id) => Ok(Address { bot_id, chat_id: self.mailbox.home, topic_id: None }),
            None => Err(Refusal(
                "The bot of this session is not known yet, because no gateway has run with its token. Nothing was sent. Ask the person to set the token and to run `telepost gateway`, then call again.".to_owned(),
            )
            .into()),
        }
    }

    fn no_such(&self, id: UpdateId) -> Result<Refusal, MailboxError> {
        let ids: Vec<String> = self.me.held.iter().map(|held| held.update_id.to_string()).collect();
        let held = if ids.is_empty() { "You hold none.".to_owned() } else { format!("You hold {}.", ids.join(", ")) };
        Ok(Refusal(format!("This session has no message {id}; `update_id` of a message names it. {held} Call telegram_poll to see what waits.")))
    }

    fn reply(mut self, params: &ReplyParams) -> Result<Accepted, MailboxError> {
        let text = params.text.as_deref().unwrap_or_default();
        let keep_open = params.keep_open == Some(true);
        if text.trim().is_empty() {
            return Err(Refusal("The text is blank: there is nothing to send. Nothing was acknowledged; call again with the answer, or with `ack` of telegram_poll if none is needed.".to_owned()).into());
        }
        if keep_open && text.chars().count() > MESSAGE_LIMIT {
            return Err(Refusal(format!("Progress is one message of at most {MESSAGE_LIMIT} characters, and this has {}. Nothing was sent; shorten it, or send it without keep_open.", text.chars().count())).into());
        }
        let key = self.key(&[text, &format!("{:?}", params.to), &keep_open.to_string()]);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        if !keep_open && let Some(repeat) = self.repeated(text, params.to)? {
            return Ok(repeat);
        }
        let target = self.target(params.to)?;
        let address = target.address();
        let answered: Vec<Held> = match target {
            Target::Held(address) if !keep_open => self.me.held_at(address).cloned().collect(),
            Target::Held(_) | Target::Own(_) => Vec::new(),
        };
        let entries: Vec<EntryName> = answered.iter().flat_map(|held| held.entries.iter().copied()).collect();
        let content = if keep_open {
            Content::Progress { text: text.to_owned() }
        } else {
            Content::Reply { text: text.to_owned(), files: Vec::new(), options: Vec::new() }
        };
        let delivery = Delivery {
            reply_to: answered.iter().max_by_key(|held| held.entries.first().copied()).map(|held| held.message_id),
            answers: entries.clone(),
            silent: keep_open || params.silent == Some(true),
            turn: self.me.turn(address).cloned(),
            ..self.delivery(key, address, content)?
        };
        self.mailbox.outbox.accept(&delivery)?;
        // From here on the reply stands. What follows is made good by the next call if it fails.
        let acked = answered.iter().map(|held| held.update_id).collect();
        self.committed(&delivery, &entries, keep_open);
        Ok(self.accepted(delivery.id, address, acked, false))
    }

    /// Follows up a commit. A failure here costs nothing: the next call does it.
    fn committed(&mut self, delivery: &Delivery, entries: &[EntryName], keep_open: bool) {
        let address = delivery.address;
        let mut follow = || -> Result<(), MailboxError> {
            self.mailbox.inbox.settle(entries)?;
            self.forget_settled(entries);
            if keep_open {
                self.me.progressed(address, delivery.turn.as_ref().unwrap_or(&delivery.id));
            } else {
                self.me.replied(address);
            }
            self.save()
        };
        if let Err(error) = follow() {
            tracing::warn!(error = %Chain(&error), "a committed reply is followed up at the next call");
            for entry in entries {
                self.pending.remove(entry);
            }
        }
    }

    fn react(mut self, params: &ReactParams) -> Result<Accepted, MailboxError> {
        let Some(emoji) = reactions::normalise(&params.emoji) else {
            return Err(Refusal(format!("Telegram has no reaction {:?}. Nothing was sent; choose one of {}", params.emoji, reactions::ALLOWED.join(" "))).into());
        };
        let key = self.key(&["react", &emoji, &format!("{:?}", params.to)]);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        let (address, message_id) = self.message_to_react_to(params.to)?;
        let delivery = self.delivery(key, address, Content::Reaction { message_id, emoji })?;
        self.mailbox.outbox.accept(&delivery)?;
        Ok(self.accepted(delivery.id, address, Vec::new(), false))
    }

    fn message_to_react_to(&mut self, to: Option<UpdateId>) -> Result<(Address, MessageId), MailboxError> {
        let Some(id) = to else {
            return match self.me.newest() {
                Some(held) => Ok((held.address, held.message_id)),
                None => Err(Refusal("You hold no message to react to. Nothing was sent; call telegram_poll first, or name a message in `to`.".to_owned()).into()),
            };
        };
        if let Some(held) = self.me.find(id) {
            return Ok((held.address, held.message_id));
        }
        if self.pending.iter().any(|name| name.update_id == id) {
            return Err(Refusal(format!("Message {id} was not shown to you. Nothing was sent; call telegram_poll first.")).into());
        }
        let settled = match self.mailbox.inbox.read_settled(id, self.now) {
            Ok(Some(entry)) => {
                let update = update::read(entry.update.get()).ok();
                view::together(&[Item { name: entry.name(), address: entry.address, update }])
            }
            Ok(None) | Err(ReadError::Quarantined { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match settled {
            Some(shown) => Ok((shown.address, shown.message.message_id)),
            None => Err(self.no_such(id)?.into()),
        }
    }

    /// Where a reply goes.
    fn target(&mut self, to: Option<To>) -> Result<Target, MailboxError> {
        if let Some(to) = to {
            let address = self.address_of(to)?;
            if self.me.held_at(address).next().is_some() {
                return Ok(Target::Held(address));
            }
            if let To::Message(id) = to
                && self.pending.iter().any(|name| name.update_id == id)
            {
                return Err(Refusal(format!("Message {id} was not shown to you, so you cannot answer it. Nothing was sent; call telegram_reply with `to`: {id} and without text first.")).into());
            }
            return Ok(Target::Own(address));
        }
        match self.me.place() {
            Ok(target) => Ok(target),
            Err(Unplaced::NothingHeld) => {
                let kept = self.kept();
                let waiting = self.pending.difference(&kept).count();
                let what = match waiting {
                    0 => "No message waits for an answer. Use `to`: \"home\" to write to the person by yourself, or `to` with the update_id of an earlier message.".to_owned(),
                    1 => "1 message waits that you have not seen; call telegram_reply without text first.".to_owned(),
                    n => format!("{n} messages wait that you have not seen; call telegram_reply without text first."),
                };
                Err(Refusal(format!("You hold no message, so it is not clear where this goes. Nothing was sent. {what}")).into())
            }
            Err(Unplaced::Several(choices)) => {
                let list: Vec<String> = choices.iter().map(|held| format!("{} ({})", held.update_id, held.address)).collect();
                Err(Refusal(format!("You hold messages of {} conversations, so it is not clear which one this answers. Nothing was sent; call again with `to`: one of {}.", choices.len(), list.join(", "))).into())
            }
        }
    }

    /// The same text as this holder's last reply, with nothing newly shown since: models repeat calls
    /// whose result they lost.
    fn repeated(&mut self, text: &str, to: Option<To>) -> Result<Option<Accepted>, MailboxError> {
        let since = self.now.0 - i64::try_from(REPEAT_WITHIN.as_millis()).unwrap_or(0);
        for id in self.mailbox.outbox.all()?.into_iter().rev().take_while(|id| id.accepted >= since) {
            let Some(delivery) = self.mailbox.outbox.read_any(&id, self.now)? else { continue };
            let Content::Reply { text: sent, .. } = &delivery.content else { continue };
            if delivery.holder != self.caller.holder.as_str() {
                continue;
            }
            let same = sent == text && self.me.shown_at.0 < id.accepted;
            let elsewhere = match to {
                Some(to) => self.address_of(to)? != delivery.address,
                None => false,
            };
            if !same || elsewhere {
                return Ok(None);
            }
            return Ok(Some(self.accepted(id, delivery.address, Vec::new(), true)));
        }
        Ok(None)
    }

    /// What an earlier call with the same key has made.
    fn earlier(&mut self, key: &str) -> Result<Option<Accepted>, MailboxError> {
        let Some(id) = self.mailbox.outbox.by_key(key)? else { return Ok(None) };
        let Some(delivery) = self.mailbox.outbox.read_any(&id, self.now)? else { return Ok(None) };
        Ok(Some(self.accepted(id, delivery.address, Vec::new(), true)))
    }

    /// The key of a call: the same for the same call of the same client, else random.
    fn key(&self, what: &[&str]) -> String {
        match &self.caller.call {
            Some(call) => {
                let mut parts = vec![self.mailbox.session.as_str(), call.as_str()];
                parts.extend(what);
                holder::short_hash(&parts)
            }
            None => format!("{:032x}", fastrand::u128(..)),
        }
    }

    fn delivery(&self, key: String, address: Address, content: Content) -> Result<Delivery, MailboxError> {
        let last = self.mailbox.outbox.all()?.last().map_or(0, |id| id.accepted);
        let accepted = self.now.0.max(last + 1).max(self.me.shown_at.0 + 1);
        Ok(Delivery {
            format: FORMAT,
            id: DeliveryId { accepted, key },
            session: self.mailbox.session.clone(),
            holder: self.caller.holder.as_str().to_owned(),
            address,
            content,
            answers: Vec::new(),
            reply_to: None,
            silent: false,
            turn: None,
        })
    }

    fn accepted(&mut self, id: DeliveryId, address: Address, acked: Vec<UpdateId>, repeat: bool) -> Accepted {
        Accepted {
            id,
            address,
            repeat,
            remaining: self.pending.len(),
            acked,
            notices: page::notices(std::mem::take(&mut self.notices)),
        }
    }
}

impl Mailbox {
    /// Settles what waiting deliveries answer: the follow-up of a commit that a kill cut short.
    fn settle_committed(&self, now: Timestamp, notices: &mut Vec<String>) -> Result<(), MailboxError> {
        let mut known = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.outbox.waiting()?;
        known.retain(|id| waiting.contains(id));
        for id in waiting {
            if known.contains(&id) {
                continue;
            }
            match self.outbox.read(&id, now) {
                Ok(Some(delivery)) => {
                    self.inbox.settle(&delivery.answers)?;
                    known.insert(id);
                }
                Ok(None) => {}
                Err(error @ ReadError::Quarantined { .. }) => {
                    notices.push(format!("One reply could not be read: {}. What it answered is offered again.", Chain(&error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn file_name(holder: &HolderId) -> String {
    format!("{}.json", holder.as_str())
}

/// Checks what `telegram_poll` was asked for, before anything is changed.
pub fn poll_limits(params: &PollParams) -> Result<(usize, Duration, usize), Refusal> {
    let limit = in_range("limit", params.limit, 20, 1..=100)?;
    let wait = in_range("wait_seconds", params.wait_seconds, 0, 0..=50)?;
    let part = in_range("part", params.part, 1, 1..=100_000)?;
    if params.part.is_some() && params.message.is_none() {
        return Err(Refusal("`part` needs `message`: the update_id of the message whose part you want. Nothing was changed; call again with both.".to_owned()));
    }
    Ok((limit, Duration::from_secs(wait as u64), part))
}
