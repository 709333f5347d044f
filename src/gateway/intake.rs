//! A batch of updates becomes entries. Disk first: only when a batch is durable may the next poll
//! confirm it.
//!
//! After a crash the same batch comes again and is a no-op: an update is recognised by (bot,
//! `update_id`) among the names in `inbox/`, `done/` and `dead/` of all sessions. Never by
//! comparing ids: they start again at a random number after a quiet week.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;

use crate::clock::{Clock, DAY_MS, Timestamp};
use crate::gateway::dedup::Known;
use crate::gateway::responder::{Asked, Task};
use crate::gateway::undecided::Undecided;
use crate::ids::{Address, BotId, SessionId, UpdateId, UserId};
use crate::routing::commands::Command;
use crate::routing::{Recent, Refused, Routes, Verdict};
use crate::state::bots::Heard;
use crate::state::bots::migrations::{Migrations, Moves};
use crate::state::inbox::dead_letters::{self, DeadUpdate};
use crate::state::inbox::entry::Entry;
use crate::state::inbox::{self, Inbox, TOMBSTONE_MS};
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::store::StoreError;
use crate::store::atomic::Prepared;
use crate::telegram::update::{self, Body, Membership, Message, Standing, Unreadable, Update};

/// How many senders the log remembers for "once a day".
const STRANGERS_MOST: usize = 10_000;
/// How many of the newest pending entries are read at the start, for the parts that may still come.
const RECENT_ENTRIES: usize = 32;

/// Takes in the updates of one bot.
#[derive(Debug)]
pub struct Ingest {
    state: StateDir,
    bot: BotId,
    /// As the configuration has them.
    configured: Routes,
    /// With the ids that groups have now.
    routes: Routes,
    migrations: Arc<Mutex<Migrations>>,
    /// Those that the routes follow.
    moves: Moves,
    clock: Clock,
    heard: Arc<Heard>,
    sessions: BTreeMap<SessionId, SessionInbox>,
    /// Where an update of that id was stored before, by whichever bot.
    known: Known,
    /// What was let in a moment ago, and may go on.
    recent: Recent,
    /// What may turn out to be part of it.
    undecided: Undecided,
    /// Refused senders, and the day on which the log named them.
    strangers: BTreeMap<Option<UserId>, i64>,
    /// What is to be answered once its batch is durable.
    tasks: Vec<Task>,
    /// Entries of the batch that have no file yet.
    ready: Vec<Ready>,
}

#[derive(Debug)]
struct Ready {
    session: SessionId,
    inbox: Inbox,
    entry: Entry,
}

#[derive(Debug)]
struct SessionInbox {
    inbox: Inbox,
    last_received: i64,
}

/// How many files are synced at the same time: the file system writes them out together.
const SYNCS: usize = 8;

/// Does the work for all of them on a few threads, and returns what came of it in their order.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // The usual batch is one message, which is not to wait for a thread.
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

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// New entries, by session.
    pub entries: BTreeMap<SessionId, usize>,
    /// Updates that were there already.
    pub known: usize,
    /// Updates that the gate refused.
    pub refused: u64,
    /// Updates that nobody could read.
    pub dead: usize,
    /// What the gateway answers by itself, in order.
    pub tasks: Vec<Task>,
    /// What the bot is now in chats of ours, in order.
    pub memberships: Vec<Membership>,
    /// The id that the next poll confirms, if any was usable.
    pub last_id: Option<UpdateId>,
}

impl Ingest {
    /// Looks up what every session has seen.
    pub fn open(
        state: &StateDir,
        bot: BotId,
        routes: Routes,
        migrations: Arc<Mutex<Migrations>>,
        heard: Arc<Heard>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut ingest = Self {
            state: state.clone(),
            bot,
            configured: routes.clone(),
            routes,
            migrations,
            moves: Moves::default(),
            heard,
            clock,
            sessions: BTreeMap::new(),
            known: Known::default(),
            recent: Recent::default(),
            undecided: Undecided::default(),
            strangers: BTreeMap::new(),
            tasks: Vec::new(),
            ready: Vec::new(),
        };
        ingest.follow();
        for id in state.all_sessions()? {
            ingest.open_session(&id)?;
        }
        ingest.recall()?;
        Ok(ingest)
    }

    /// The gateway before this one may have been stopped between two parts of an album.
    fn recall(&mut self) -> Result<(), StoreError> {
        for place in self.sessions.values() {
            for name in place
                .inbox
                .pending()?
                .into_iter()
                .rev()
                .take(RECENT_ENTRIES)
            {
                // Whoever is shown the entry says what is wrong with it.
                let Ok(Some(entry)) = place.inbox.peek(name) else {
                    continue;
                };
                if let Ok(update) = update::read(entry.update.get()) {
                    self.recent.take_in(&update);
                }
            }
        }
        Ok(())
    }

    /// Whether groups wait for the bot's public name.
    pub fn needs_username(&self) -> bool {
        self.routes.need_username()
    }

    /// The bot's public name, without `@`.
    pub fn set_username(&mut self, username: &str) {
        self.configured.set_username(username);
        self.routes.set_username(username);
    }

    fn open_session(&mut self, id: &SessionId) -> Result<&mut SessionInbox, StoreError> {
        if !self.sessions.contains_key(id) {
            let dir = self.state.session(id);
            dir.prepare()?;
            let inbox = Inbox::new(&self.state, dir);
            let seen = inbox.seen()?;
            let last_received = seen.iter().map(|name| name.received).max().unwrap_or(0);
            for name in seen {
                self.known.note(id, name);
            }
            self.sessions.insert(
                id.clone(),
                SessionInbox {
                    inbox,
                    last_received,
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

    /// Takes in a batch. On an error nothing of it may be confirmed; what was stored of it already
    /// is recognised when the batch comes again.
    pub fn batch(&mut self, updates: &[Box<RawValue>]) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        let mut touched = BTreeSet::new();
        self.ready.clear();
        let read: Vec<_> = updates.iter().map(|raw| update::read(raw.get())).collect();
        self.learn(&read)?;
        self.follow();
        // Any part of an album may be the one that names the bot.
        for update in read.iter().flatten() {
            if let Verdict::Admit { .. } = self.routes.decide(self.bot, update) {
                self.recent.take_in(update);
            }
        }
        let decided = self.undecided.decided(&self.recent);
        for (update, raw) in &decided {
            self.update(update, raw, &mut taken, &mut touched)?;
        }
        let mut unreadable = Vec::new();
        for (raw, read) in updates.iter().zip(&read) {
            match read {
                Ok(update) => {
                    taken.last_id = Some(update.id);
                    self.update(update, raw, &mut taken, &mut touched)?;
                }
                Err(error) => {
                    if let Unreadable::Body { id, .. } = error {
                        taken.last_id = Some(*id);
                    }
                    taken.dead += 1;
                    unreadable.push((raw, error));
                }
            }
        }
        self.write_ready()?;
        for session in &touched {
            self.open_session(session)?.inbox.sync()?;
        }
        self.undecided.forget(&decided, self.clock.now());
        // Nobody waits for them.
        for (raw, error) in unreadable {
            self.bury(raw, &error.to_string())?;
        }
        taken.tasks = std::mem::take(&mut self.tasks);
        Ok(taken)
    }

    /// Takes up what the batch tells of groups that became supergroups, before anything of it is
    /// routed: whoever writes in the new one is to be let in. The server tells it, so it does not
    /// matter who is named as the sender.
    fn learn(&mut self, read: &[Result<Update, Unreadable>]) -> Result<(), StoreError> {
        let messages = read.iter().flatten().filter_map(new_message);
        for (from, to) in messages.filter_map(Message::migration) {
            if !self.routes.knows(from) {
                continue;
            }
            let mut migrations = self.migrations();
            if migrations.current(from) != to && migrations.learn(from, to)? {
                drop(migrations);
                // What waits for the group goes to the supergroup.
                self.heard.note(self.bot, from);
            }
        }
        Ok(())
    }

    /// Routes by the ids that groups have now. The sender learns of them too.
    fn follow(&mut self) {
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

    fn update(
        &mut self,
        update: &Update,
        raw: &RawValue,
        taken: &mut Taken,
        touched: &mut BTreeSet<SessionId>,
    ) -> Result<(), StoreError> {
        if let Body::Membership(Some(membership)) = &update.body
            && self.routes.knows(membership.chat)
        {
            // It needs no tombstone: the same ones again, in the same order, come to the same.
            taken.memberships.push(*membership);
            match membership.standing {
                Standing::Member => self.heard.note(self.bot, membership.chat),
                Standing::Removed | Standing::Muted => {
                    self.heard.forget(self.bot, membership.chat);
                }
            }
        }
        let (session, address) = match self.routes.decide(self.bot, update) {
            Verdict::Admit { session, address } => {
                self.heard.note(self.bot, address.chat_id);
                let address = self.answered(&session, update).unwrap_or(address);
                (session, address)
            }
            Verdict::NotMeant { session, address } => {
                let address = match &update.body {
                    Body::Message { message, .. } => {
                        self.recent.has_begun(message).then_some(address)
                    }
                    Body::Press(_) | Body::Reaction(_) | Body::Membership(_) | Body::Other(_) => {
                        self.answered(&session, update)
                    }
                };
                let Some(address) = address else {
                    self.undecided.keep(update, raw, self.clock.now());
                    tracing::debug!(update_id = update.id.0, "not meant for the bot");
                    return Ok(());
                };
                // A cut text goes on with its second part, too.
                self.recent.take_in(update);
                (session, address)
            }
            Verdict::Refuse(refused) => {
                taken.refused += 1;
                self.note(refused);
                return Ok(());
            }
            Verdict::Ignore(why) => {
                tracing::debug!(update_id = update.id.0, why, "update ignored");
                return Ok(());
            }
        };
        if let Body::Press(press) = &update.body {
            self.ask(Task::Press(press.id.clone()));
        }
        let command = self.command(&session, address, update);
        if let Some(holder) = self.known(update.id)? {
            // It may have been stored by a batch that failed before its folder was synced.
            touched.insert(holder);
            taken.known += 1;
            return Ok(());
        }
        match command {
            None => {}
            // An edit is no second command, and nothing for the agent.
            Some(_) if is_edit(update) => return Ok(()),
            Some(asked) => {
                let (inbox, tombstone) = self.entry(&session, address, update.id, raw)?;
                let written = inbox.put_command(&tombstone);
                if written.is_err() {
                    // A tombstone that may not last is none: nothing was carried out.
                    self.known.forget(&session, tombstone.name());
                }
                self.reopen_if_gone(&session, written)?;
                self.ask(Task::Command(asked));
                return Ok(());
            }
        }
        let (inbox, entry) = self.entry(&session, address, update.id, raw)?;
        *taken.entries.entry(session.clone()).or_default() += 1;
        touched.insert(session.clone());
        self.ready.push(Ready {
            session,
            inbox,
            entry,
        });
        Ok(())
    }

    /// Where our message went that an update reacts to; a reaction does not tell the topic.
    fn answered(&self, session: &SessionId, update: &Update) -> Option<Address> {
        let Body::Reaction(reaction) = &update.body else {
            return None;
        };
        Outbox::new(&self.state, self.state.session(session)).sent_to(
            self.bot,
            reaction.chat.id,
            reaction.message_id,
        )
    }

    /// The session in which an update of this bot is stored already.
    fn known(&mut self, id: UpdateId) -> Result<Option<SessionId>, StoreError> {
        let same = |ready: &&Ready| ready.entry.name().update_id == id;
        if let Some(ready) = self.ready.iter().find(same) {
            return Ok(Some(ready.session.clone()));
        }
        for (session, name) in self.known.of(id) {
            let (bot, now) = (self.bot, self.clock.now());
            if self.open_session(&session)?.inbox.knows(name, bot, now)? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Notes what is to be answered. A batch that fails comes again, and with it its presses.
    fn ask(&mut self, task: Task) {
        if !self.tasks.contains(&task) {
            self.tasks.push(task);
        }
    }

    /// The command that an update is, if it is one that the gateway answers.
    fn command(&self, session: &SessionId, address: Address, update: &Update) -> Option<Asked> {
        let Body::Message { message, .. } = &update.body else {
            return None;
        };
        Some(Asked {
            session: session.clone(),
            address,
            message_id: message.message_id,
            from: message.from.as_ref()?.id,
            command: Command::read(message, self.routes.username())?,
        })
    }

    /// The entry of an update, with a name that is newer than all of its session.
    fn entry(
        &mut self,
        session: &SessionId,
        address: Address,
        id: UpdateId,
        raw: &RawValue,
    ) -> Result<(Inbox, Entry), StoreError> {
        let now = self.clock.now();
        let place = self.open_session(session)?;
        let received = now.0.max(place.last_received + 1);
        place.last_received = received;
        let inbox = place.inbox.clone();
        let entry = inbox::entry(address, id, Timestamp(received), raw.to_owned());
        self.known.note(session, entry.name());
        Ok((inbox, entry))
    }

    /// Writes the entries of the batch: their bytes side by side, their names in order, so that no
    /// agent sees a later one first.
    fn write_ready(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.ready);
        let prepared = side_by_side(&batch, |ready| ready.inbox.prepare(&ready.entry));
        for (ready, prepared) in batch.iter().zip(prepared) {
            let written = prepared.and_then(Prepared::publish);
            self.reopen_if_gone(&ready.session, written)?;
            tracing::debug!(session = %ready.session, update_id = ready.entry.name().update_id.0, "update stored");
        }
        Ok(())
    }

    /// If somebody has removed the folder, the next attempt opens the session anew.
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

    /// Forgets what is older than any tombstone, so that memory does not grow for ever.
    pub fn forget_old(&mut self) {
        self.known
            .forget_before(self.clock.now().0 - 2 * TOMBSTONE_MS);
    }

    /// Names a refused sender in the log, once a day, so that the owner finds the id to put on a list.
    fn note(&mut self, refused: Refused) {
        let day = self.clock.now().0 / DAY_MS;
        if self.strangers.len() > STRANGERS_MOST {
            self.strangers.clear();
        }
        if self.strangers.insert(refused.user, day) == Some(day) {
            return;
        }
        tracing::info!(
            bot_id = self.bot.0,
            user_id = refused.user.map(|user| user.0),
            chat_id = refused.chat.map(|chat| chat.0),
            why = refused.why.as_str(),
            "refused an update (said once a day for this sender); no answer was sent"
        );
    }

    /// Keeps an update that belongs to no session, once, with the reason.
    fn bury(&self, raw: &RawValue, reason: &str) -> Result<(), StoreError> {
        let letter = DeadUpdate::new(self.bot, self.clock.now(), reason, raw.to_owned());
        let Some(path) = dead_letters::bury(&self.state, &letter)? else {
            return Ok(());
        };
        tracing::warn!(bot_id = self.bot.0, reason, path = %path.display(), "an update could not be read; it is kept. Look at it with `telepost inbox list`");
        Ok(())
    }
}

fn is_edit(update: &Update) -> bool {
    matches!(update.body, Body::Message { edited: true, .. })
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
