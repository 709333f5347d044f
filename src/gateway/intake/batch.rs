//! From a batch of updates to durable entries: disk first, only then may the batch be confirmed.
//!
//! After a crash Telegram delivers the same batch again, and storing it again changes nothing: an update is
//! recognised by (bot, `update_id`) among the names in `inbox/` and `done/` of all sessions. Ids are
//! never compared: they start again at a random number after a quiet week.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;

use super::album_parts::AlbumParts;
use super::outsiders::Outsiders;
use super::session_inbox::{SessionInbox, WaitingEvent};
use super::versions::{EditMeaning, KnownVersions};
use crate::clock::{Clock, DAY_MS, Timestamp};
use crate::error_chain::Chain;
use crate::gateway::dedup::StoredNames;
use crate::gateway::responder::{CommandCall, ResponderTask};
use crate::ids::{Address, BotId, SessionId, UpdateId, UserId};
use crate::routing::commands::Command;
use crate::routing::recent::RecentlyAdmitted;
use crate::routing::{Recipient, RouteDecision, Routes};
use crate::state::bots::HeardChats;
use crate::state::bots::migrations::{Migrations, Moves};
use crate::state::inbox::dead_letters::{self, DeadLetter};
use crate::state::inbox::entry::{Entry, EntryName};
use crate::state::inbox::{Inbox, TOMBSTONE_MS};
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::state::outbox::sent_index::SentIndex;
use crate::store::StoreError;
use crate::store::disk::PreparedFile;
use crate::telegram::update::{self, Body, ChatStanding, Membership, Message, Unreadable, Update};

/// How many of the newest pending entries are read at the start, for parts that are still to come.
const RECENT_ENTRIES: usize = 32;

/// Stores the updates of one bot.
#[derive(Debug)]
pub struct BatchWriter {
    state: StateDir,
    bot: BotId,
    /// The routes of the configuration.
    configured: Routes,
    /// The same with the ids that groups have now.
    routes: Routes,
    migrations: Arc<Mutex<Migrations>>,
    /// The migrations that `routes` already follow.
    moves: Moves,
    clock: Clock,
    heard: Arc<HeardChats>,
    /// Our own messages, for reactions on them.
    sent: Arc<SentIndex>,
    sessions: BTreeMap<SessionId, SessionInbox>,
    /// Where each update was stored, by whichever bot.
    stored: StoredNames,
    /// Admitted messages that may be continued.
    recent: RecentlyAdmitted,
    album_parts: AlbumParts,
    versions: KnownVersions,
    /// The newest positions of live locations, to be written once the batch is durable.
    movements: BTreeMap<(SessionId, EntryName), Box<RawValue>>,
    outsiders: Outsiders,
    /// Tasks for the responder, once the batch is durable.
    tasks: Vec<ResponderTask>,
    /// Entries of the batch that have no file yet.
    unwritten: Vec<UnwrittenEntry>,
}

#[derive(Debug)]
struct UnwrittenEntry {
    session: SessionId,
    inbox: Inbox,
    entry: Entry,
    is_event: bool,
}

impl UnwrittenEntry {
    fn prepare(&self) -> Result<PreparedFile, StoreError> {
        if self.is_event {
            self.inbox.prepare_event(&self.entry)
        } else {
            self.inbox.prepare(&self.entry)
        }
    }
}

/// How many files are synced at the same time: the file system writes them out together.
const SYNCS: usize = 8;

/// Maps the items on a few threads and returns the results in order.
fn map_in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // The usual batch is one message, and starting a thread would delay it.
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(items.len().div_ceil(SYNCS))
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<_>>()))
            .collect();
        let done = parts.into_iter().flat_map(|part| {
            part.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        done.collect()
    })
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    /// New entries, by session.
    pub(crate) entries: BTreeMap<SessionId, usize>,
    /// Updates that were stored before.
    pub(crate) known: usize,
    pub(crate) refused: u64,
    /// Messages of groups that do not name the bot.
    pub(crate) not_addressed: u64,
    /// Updates that this version cannot read; each is kept as a dead letter.
    pub(crate) dead: usize,
    /// Tasks for the responder, in order.
    pub(crate) tasks: Vec<ResponderTask>,
    pub(crate) memberships: Vec<Membership>,
    /// The id of the last update that has a usable one: confirming it confirms the batch.
    pub(crate) last_id: Option<UpdateId>,
}

impl BatchWriter {
    /// Reads the names of every session's entries.
    pub fn open(
        state: &StateDir,
        bot: BotId,
        routes: Routes,
        migrations: Arc<Mutex<Migrations>>,
        heard: Arc<HeardChats>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut writer = Self {
            state: state.clone(),
            bot,
            configured: routes.clone(),
            routes,
            migrations,
            moves: Moves::default(),
            heard,
            sent: Arc::default(),
            clock,
            sessions: BTreeMap::new(),
            stored: StoredNames::default(),
            recent: RecentlyAdmitted::default(),
            album_parts: AlbumParts::default(),
            versions: KnownVersions::default(),
            movements: BTreeMap::new(),
            outsiders: Outsiders::default(),
            tasks: Vec::new(),
            unwritten: Vec::new(),
        };
        writer.follow_migrations();
        for id in state.all_sessions()? {
            writer.open_session(&id)?;
        }
        writer.load_recent()?;
        Ok(writer)
    }

    /// Remembers the newest pending entries: the gateway may have been stopped between two parts of an album.
    fn load_recent(&mut self) -> Result<(), StoreError> {
        for place in self.sessions.values() {
            for name in place
                .inbox
                .pending()?
                .into_iter()
                .rev()
                .take(RECENT_ENTRIES)
            {
                // The agent that is shown a damaged entry reports it.
                let Ok(Some(entry)) = place.inbox.peek(name) else {
                    continue;
                };
                if let Ok(update) = update::read(entry.update.get()) {
                    self.recent.remember(&update);
                }
            }
        }
        Ok(())
    }

    /// Shares the index of our own messages with the sender, which keeps it current.
    #[must_use]
    pub fn sharing(self, sent: Arc<SentIndex>) -> Self {
        Self { sent, ..self }
    }

    /// Whether groups wait for the bot's public name.
    pub(crate) fn needs_username(&self) -> bool {
        self.routes.need_username()
    }

    /// The bot's public name, without `@`.
    pub(crate) fn set_username(&mut self, username: &str) {
        self.configured.set_username(username);
        self.routes.set_username(username);
    }

    fn open_session(&mut self, id: &SessionId) -> Result<&mut SessionInbox, StoreError> {
        if !self.sessions.contains_key(id) {
            let dir = self.state.session(id);
            dir.prepare()?;
            let inbox = Inbox::new(&dir);
            let seen = inbox.stored()?;
            let last_received = seen.iter().map(|name| name.received).max().unwrap_or(0);
            let events = inbox
                .events()?
                .iter()
                .filter_map(WaitingEvent::read)
                .collect();
            for name in seen {
                self.stored.insert(id, name);
            }
            self.sessions.insert(
                id.clone(),
                SessionInbox {
                    inbox,
                    last_received,
                    events,
                    taken: Vec::new(),
                },
            );
        }
        self.sessions.get_mut(id).ok_or_else(|| {
            StoreError::new(
                "open",
                self.state.session(id).root(),
                std::io::ErrorKind::NotFound.into(),
            )
        })
    }

    /// Stores a batch. On an error nothing of it may be confirmed; the part that is stored already is
    /// recognised when Telegram delivers the batch again.
    pub(crate) fn store(&mut self, updates: &[Box<RawValue>]) -> Result<StoredBatch, StoreError> {
        let stored = self.try_store(updates);
        if stored.is_err() {
            // In memory are versions and events of entries that are not on disk.
            self.versions = KnownVersions::default();
            self.sessions.clear();
            self.movements.clear();
        }
        stored
    }

    fn try_store(&mut self, updates: &[Box<RawValue>]) -> Result<StoredBatch, StoreError> {
        let mut stored = StoredBatch::default();
        let mut touched = BTreeSet::new();
        self.unwritten.clear();
        let read: Vec<_> = updates.iter().map(|raw| update::read(raw.get())).collect();
        self.record_migrations(&read)?;
        self.follow_migrations();
        // Any part of an album may be the one that names the bot.
        for update in read.iter().flatten() {
            if let RouteDecision::Admit { .. } = self.routes.decide(self.bot, update) {
                self.recent.remember(update);
            }
        }
        let admitted_parts = self.album_parts.admitted(&self.recent);
        for (update, raw) in &admitted_parts {
            self.store_update(update, raw, &mut stored, &mut touched)?;
        }
        let mut unreadable = Vec::new();
        for (raw, read) in updates.iter().zip(&read) {
            match read {
                Ok(update) => {
                    stored.last_id = Some(update.id);
                    self.store_update(update, raw, &mut stored, &mut touched)?;
                }
                Err(error) => {
                    if let Unreadable::Body { id, .. } = error {
                        stored.last_id = Some(*id);
                    }
                    stored.dead += 1;
                    unreadable.push((raw, error));
                }
            }
        }
        let with_events = self.write_entries()?;
        for session in &touched {
            self.open_session(session)?.inbox.sync()?;
        }
        for session in &with_events {
            self.open_session(session)?.inbox.sync_events()?;
        }
        self.settle_events();
        self.write_positions();
        self.album_parts.remove(&admitted_parts, self.clock.now());
        // Dead letters last: no agent waits for them.
        for (raw, error) in unreadable {
            self.store_dead_letter(raw, &error.to_string())?;
        }
        stored.tasks = std::mem::take(&mut self.tasks);
        Ok(stored)
    }

    /// Records the groups that became supergroups, before anything of the batch is routed: messages in the
    /// new group must be admitted. Telegram itself reports a migration, so its sender does not matter.
    fn record_migrations(&mut self, read: &[Result<Update, Unreadable>]) -> Result<(), StoreError> {
        let messages = read.iter().flatten().filter_map(new_message);
        for (from, to) in messages.filter_map(Message::migration) {
            if !self.routes.knows(from) {
                continue;
            }
            let mut migrations = self.migrations();
            if migrations.current(from) != to && migrations.record_migration(from, to)? {
                drop(migrations);
                // Deliveries for the group go to the supergroup now.
                self.heard.note(self.bot, from);
            }
        }
        Ok(())
    }

    /// Routes by the ids that groups have now; the sender records migrations, too.
    fn follow_migrations(&mut self) {
        let moves = self.migrations().moves().clone();
        if moves != self.moves {
            self.routes = self.configured.following(|chat| moves.current(chat));
            self.moves = moves;
        }
    }

    fn migrations(&self) -> std::sync::MutexGuard<'_, Migrations> {
        self.migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn store_update(
        &mut self,
        update: &Update,
        raw: &RawValue,
        stored: &mut StoredBatch,
        touched: &mut BTreeSet<SessionId>,
    ) -> Result<(), StoreError> {
        if let Body::Membership(Some(membership)) = &update.body
            && self.routes.knows(membership.chat)
        {
            // A membership needs no tombstone: storing the same ones again, in order, changes nothing.
            stored.memberships.push(*membership);
            match membership.standing {
                ChatStanding::Member => self.heard.note(self.bot, membership.chat),
                ChatStanding::Removed | ChatStanding::Muted => {
                    self.heard.forget(self.bot, membership.chat);
                }
            }
        }
        if let Body::Message { message, .. } = &update.body
            && message.opens_topic()
        {
            // Telegram itself tells it, so its sender does not matter.
            self.heard.note_topic(Address {
                bot_id: self.bot,
                chat_id: message.chat.id,
                topic_id: message.topic(),
            });
        }
        let Some((session, address)) = self.admit(update, raw, stored) else {
            return Ok(());
        };
        if let Body::Press(press) = &update.body {
            self.add_task(ResponderTask::Press(press.id.clone()));
        }
        if let Some(session) = self.find_stored(update.id)? {
            // A batch that failed before its folder was synced may have stored it.
            touched.insert(session);
            stored.known += 1;
            return Ok(());
        }
        match self.routes.recipient(update) {
            Recipient::Agent => {}
            Recipient::EditedCommand => return Ok(()),
            Recipient::Command(command) => {
                return self.store_command(session, address, update, command, raw);
            }
        }
        if let Body::Message {
            message,
            edited: true,
        } = &update.body
            && !self.is_news(&session, message, raw)?
        {
            return Ok(());
        }
        let is_event =
            new_message(update).is_some_and(|message| message.is_event(UserId(self.bot.0)));
        let (inbox, mut entry) = self.make_entry(&session, address, update, raw)?;
        let place = self.open_session(&session)?;
        if is_event {
            if let Some(event) = WaitingEvent::read(&entry) {
                place.add_event(event);
            }
        } else {
            entry.context = place.take_events(address);
            *stored.entries.entry(session.clone()).or_default() += 1;
            touched.insert(session.clone());
        }
        self.unwritten.push(UnwrittenEntry {
            session,
            inbox,
            entry,
            is_event,
        });
        Ok(())
    }

    /// Whether an edit shows something new. The movement of a live location is kept for its message.
    fn is_news(
        &mut self,
        session: &SessionId,
        message: &Message,
        raw: &RawValue,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut meaning = self.versions.judge(message, now);
        if meaning == EditMeaning::Unknown {
            self.load_versions()?;
            meaning = self.versions.judge(message, now);
        }
        if let EditMeaning::Movement(Some(name)) = meaning {
            self.movements
                .insert((session.clone(), name), raw.to_owned());
        }
        Ok(meaning == EditMeaning::News)
    }

    /// Reads the versions of all entries, once: most gateways never see an edit of an older message.
    fn load_versions(&mut self) -> Result<(), StoreError> {
        for id in self.state.all_sessions()? {
            self.open_session(&id)?;
        }
        for place in self.sessions.values() {
            let mut names = place.inbox.stored()?;
            names.sort_unstable();
            names.dedup();
            for name in names {
                let entry = match place.inbox.peek(name)? {
                    None => place.inbox.peek_settled(name)?,
                    pending => pending,
                };
                let entry = entry.filter(|entry| entry.bot() == self.bot);
                if let Some(update) = entry.and_then(|entry| update::read(entry.update.get()).ok())
                {
                    self.versions.record(&update, name);
                }
            }
        }
        self.versions.are_complete = true;
        Ok(())
    }

    /// Settles the events that messages have taken along. Those that stay are shown once more.
    fn settle_events(&mut self) {
        for (session, place) in &mut self.sessions {
            let taken = std::mem::take(&mut place.taken);
            if let Err(error) = place.inbox.settle_events(&taken) {
                tracing::debug!(%session, %error, "cannot settle events");
            }
        }
    }

    fn write_positions(&mut self) {
        for ((session, name), update) in std::mem::take(&mut self.movements) {
            let inbox = Inbox::new(&self.state.session(&session));
            if let Err(error) = inbox.put_position(name, &update) {
                tracing::debug!(%session, %error, "cannot store a position");
            }
        }
    }

    /// The session and the address that an update is admitted to.
    fn admit(
        &mut self,
        update: &Update,
        raw: &RawValue,
        stored: &mut StoredBatch,
    ) -> Option<(SessionId, Address)> {
        match self.routes.decide(self.bot, update) {
            RouteDecision::Admit { session, address } => {
                self.heard.note(self.bot, address.chat_id);
                let address = self
                    .sent_message_address(&session, update)
                    .unwrap_or(address);
                Some((session, address))
            }
            RouteDecision::NotAddressed {
                session,
                address: place,
            } => {
                let address = match &update.body {
                    Body::Message { message, .. } => {
                        self.recent.is_continued_by(message).then_some(place)
                    }
                    Body::Press(_) | Body::Reaction(_) | Body::Membership(_) | Body::Other(_) => {
                        self.sent_message_address(&session, update)
                    }
                };
                let Some(address) = address else {
                    self.album_parts.keep(update, raw, self.clock.now());
                    stored.not_addressed += 1;
                    let day = self.clock.now().0 / DAY_MS;
                    self.outsiders.log_not_addressed(place, &session, day);
                    return None;
                };
                // A text in three parts: the third continues the second.
                self.recent.remember(update);
                Some((session, address))
            }
            RouteDecision::Refuse(refused) => {
                stored.refused += 1;
                let day = self.clock.now().0 / DAY_MS;
                let to_admit = self.routes.advise(&refused);
                self.outsiders
                    .log_refusal(self.bot, &refused, &to_admit, day);
                None
            }
            RouteDecision::Ignore(why) => {
                tracing::debug!(update_id = update.id.0, why, "update ignored");
                None
            }
        }
    }

    /// Stores the tombstone of a command; only then the command may be carried out.
    fn store_command(
        &mut self,
        session: SessionId,
        address: Address,
        update: &Update,
        command: Command,
        raw: &RawValue,
    ) -> Result<(), StoreError> {
        let Body::Message { message, .. } = &update.body else {
            return Ok(());
        };
        let Some(from) = &message.from else {
            return Ok(());
        };
        let (inbox, tombstone) = self.make_entry(&session, address, update, raw)?;
        let written = inbox.put_command(&tombstone);
        if written.is_err() {
            // The tombstone may not be durable, and the command was not carried out: forget it.
            self.stored.remove(&session, tombstone.name());
        }
        self.reopen_if_gone(&session, written)?;
        self.add_task(ResponderTask::Command(CommandCall {
            session,
            address,
            message_id: message.message_id,
            from: from.id,
            command,
        }));
        Ok(())
    }

    /// The address of our message that an update reacts to; a reaction does not name the topic.
    fn sent_message_address(&self, session: &SessionId, update: &Update) -> Option<Address> {
        let Body::Reaction(reaction) = &update.body else {
            return None;
        };
        let outbox = Outbox::new(&self.state, self.state.session(session));
        let chat = Address {
            bot_id: self.bot,
            chat_id: reaction.chat.id,
            topic_id: None,
        };
        let found = self.sent.find(session, &outbox, chat, reaction.message_id);
        found.unwrap_or_else(|error| {
            tracing::warn!(%session, error = %Chain(&error), "cannot look for the message of a reaction");
            None
        })
    }

    /// The session in which an update of this bot is stored already.
    fn find_stored(&mut self, id: UpdateId) -> Result<Option<SessionId>, StoreError> {
        let same = |ready: &&UnwrittenEntry| ready.entry.name().update_id == id;
        if let Some(ready) = self.unwritten.iter().find(same) {
            return Ok(Some(ready.session.clone()));
        }
        for (session, name) in self.stored.find(id) {
            let (bot, now) = (self.bot, self.clock.now());
            if self.open_session(&session)?.inbox.knows(name, bot, now)? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Adds a task once: a batch that failed is delivered again, and with it its button presses.
    fn add_task(&mut self, task: ResponderTask) {
        if !self.tasks.contains(&task) {
            self.tasks.push(task);
        }
    }

    /// Makes the entry of an update, with a name that is newer than all others of its session.
    fn make_entry(
        &mut self,
        session: &SessionId,
        address: Address,
        update: &Update,
        raw: &RawValue,
    ) -> Result<(Inbox, Entry), StoreError> {
        let now = self.clock.now();
        let place = self.open_session(session)?;
        let inbox = place.inbox.clone();
        let waiting = if now.is_future(Timestamp(place.last_received)) {
            inbox.pending()?.last().map_or(0, |name| name.received)
        } else {
            place.last_received
        };
        let received = Inbox::next_name(now, update.told_at(), place.last_received, waiting);
        place.last_received = received;
        let entry = Entry::new(address, update.id, Timestamp(received), raw.to_owned());
        self.stored.insert(session, entry.name());
        self.versions.record(update, entry.name());
        Ok((inbox, entry))
    }

    /// Writes the entries of the batch: their bytes in parallel, their names in order, so that no agent sees
    /// a later entry first. Returns the sessions that got events.
    fn write_entries(&mut self) -> Result<BTreeSet<SessionId>, StoreError> {
        let batch = std::mem::take(&mut self.unwritten);
        let prepared = map_in_parallel(&batch, UnwrittenEntry::prepare);
        for (ready, prepared) in batch.iter().zip(prepared) {
            let written = prepared.and_then(PreparedFile::publish);
            self.reopen_if_gone(&ready.session, written)?;
            tracing::debug!(session = %ready.session, update_id = ready.entry.name().update_id.0, "update stored");
        }
        let events = batch.into_iter().filter(|ready| ready.is_event);
        Ok(events.map(|ready| ready.session).collect())
    }

    /// Opens the session anew at the next attempt if its folder was removed.
    fn reopen_if_gone(
        &mut self,
        session: &SessionId,
        written: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if written.as_ref().is_err_and(StoreError::is_not_found) {
            self.sessions.remove(session);
        }
        written
    }

    /// Forgets names that are older than any tombstone, so that memory stays bounded.
    pub(crate) fn forget_old(&mut self) {
        let newest = self.sessions.values().map(|place| place.last_received);
        let newest = Timestamp(newest.max().unwrap_or_default());
        let before = self.clock.now().for_expiry(newest).0 - 2 * TOMBSTONE_MS;
        self.stored.remove_before(before);
        self.versions.forget_before(before);
    }

    /// Keeps an update that cannot be read, once, with the reason.
    fn store_dead_letter(&self, raw: &RawValue, reason: &str) -> Result<(), StoreError> {
        let letter = DeadLetter::new(self.bot, self.clock.now(), reason, raw.to_owned());
        let Some(path) = dead_letters::store(&self.state, &letter)? else {
            return Ok(());
        };
        tracing::warn!(bot_id = self.bot.0, reason, path = %path.display(), "an update could not be read and is kept; see `telepost inbox list`");
        Ok(())
    }
}

/// A message that is no edit of an earlier one.
fn new_message(update: &Update) -> Option<&Message> {
    match &update.body {
        Body::Message {
            message,
            edited: false,
        } => Some(message),
        Body::Message { edited: true, .. }
        | Body::Press(_)
        | Body::Reaction(_)
        | Body::Membership(_)
        | Body::Other(_) => None,
    }
}

#[cfg(test)]
mod tests;
