//! The inbox by hand: lists the waiting messages and the dead letters (updates that telepost could not read),
//! tries dead letters again, and drops both. Works with a gateway and without one.
//!
//! The name of a message is its `update_id`; the name of a dead letter is `dead-` and the beginning of its
//! hash. Every change of a session happens under its session lock and in the same steps as elsewhere: an
//! entry and its synced folder before its letter goes, a tombstone for a dropped message. A killed command
//! may be repeated.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::{BotId, SessionId, UpdateId};
use crate::ops::{OpsError, list_sessions, lock_session};
use crate::routing::{Recipient, RouteDecision, Routes, build_routes};
use crate::state::bots::migrations;
use crate::state::files::Files;
use crate::state::gateway_status;
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::inbox::dead_letters::{self, DeadLetter};
use crate::state::inbox::entry::{Entry, EntryName};
use crate::state::inbox::view::{self, Item, MessageView, RenderedMessage};
use crate::state::layout::StateDir;
use crate::store::state_file::ReadError;
use crate::telegram::update;

const DEAD_PREFIX: &str = "dead-";
/// How many characters of the hash a name shows.
const HASH_SHOWN: usize = 12;
/// How many of them a person must type at least.
const HASH_MIN: usize = 6;

const READ_AT_ONCE: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct InboxRow {
    /// The `update_id` of a message, or the name of a dead letter.
    pub(crate) id: String,
    /// `waiting`, `shown` (to an agent, and not answered) or `dead`.
    pub(crate) state: &'static str,
    /// The session; a dead letter belongs to none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionId>,
    pub(crate) bot_id: BotId,
    pub(crate) received_at: String,
    pub(crate) age_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Why it is unreadable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct InboxDetails {
    #[serde(flatten)]
    pub(crate) row: InboxRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<MessageView>,
    /// The updates behind it, as Telegram gave them.
    pub(crate) updates: Vec<Box<serde_json::value::RawValue>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminResult {
    pub(crate) id: String,
    pub(crate) words: String,
    pub(crate) is_done: bool,
}

#[derive(Debug)]
pub(crate) struct InboxAdmin<'a> {
    pub(crate) state: &'a StateDir,
    pub(crate) config: Option<&'a Config>,
    pub(crate) clock: &'a Clock,
    pub(crate) only: Option<&'a SessionId>,
}

#[derive(Clone, Debug)]
pub(crate) struct PendingMessage {
    pub(crate) session: SessionId,
    pub(crate) bot: BotId,
    /// The message as an agent would see it now.
    pub(crate) shown: RenderedMessage,
    /// Whether an agent has seen it.
    pub(crate) held: bool,
}

enum InboxItem {
    Message(Box<PendingMessage>),
    DeadLetter(DeadLetter),
}

/// A part of the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct InboxPage {
    pub(crate) rows: Vec<InboxRow>,
    /// The sessions with more messages, how many entries of them are not shown, and the last message that is.
    pub(crate) more: Vec<(SessionId, usize, String)>,
}

impl InboxAdmin<'_> {
    /// The oldest `limit` waiting messages of each session, then the dead letters, each oldest first. With `after`,
    /// the messages of one session that came after that one. No more is read than is listed.
    pub(crate) fn list(&self, limit: usize, after: Option<&str>) -> Result<InboxPage, OpsError> {
        let now = self.clock.now();
        let after = after.map(parse_update_id).transpose()?;
        let mut page = InboxPage::default();
        let mut has_started = after.is_none();
        for id in self.sessions()? {
            let names = self.inbox(&id).pending()?;
            let start = after.map(|after| names.iter().find(|name| name.update_id == after));
            let names = match start {
                None => names,
                Some(None) => continue,
                Some(Some(&start)) => names.range(start..).copied().collect(),
            };
            has_started = true;
            self.list_session(&id, names, (limit, after), now, &mut page)?;
        }
        if !has_started {
            return Err(OpsError::Refused(
                "the message that --after names does not wait any more; leave the option out to begin with the oldest"
                    .to_owned(),
            ));
        }
        if self.only.is_none() && after.is_none() {
            let letters = dead_letters::read_all(self.state, now)?;
            let letters = letters.iter().map(|letter| dead_letter_row(letter, now));
            page.rows.extend(letters);
        }
        Ok(page)
    }

    fn list_session(
        &self,
        id: &SessionId,
        names: BTreeSet<EntryName>,
        (limit, after): (usize, Option<UpdateId>),
        now: Timestamp,
        page: &mut InboxPage,
    ) -> Result<(), OpsError> {
        let (mut left, mut count, mut last) = (names.len(), 0, None);
        for_each_of(self.state, id, names, now, |waiting| {
            if count >= limit {
                return ControlFlow::Break(());
            }
            left = left.saturating_sub(waiting.shown.entries.len());
            if after.is_none_or(|after| !waiting.contains(after)) {
                let row = waiting.row(now);
                last = Some(row.id.clone());
                page.rows.push(row);
                count += 1;
            }
            ControlFlow::Continue(())
        })?;
        if let Some(last) = last.filter(|_| left > 0 && count >= limit) {
            page.more.push((id.clone(), left, last));
        }
        Ok(())
    }

    pub(crate) fn show(&self, id: &str) -> Result<InboxDetails, OpsError> {
        let now = self.clock.now();
        match self.find(id)? {
            InboxItem::DeadLetter(letter) => Ok(InboxDetails {
                row: dead_letter_row(&letter, now),
                message: None,
                updates: vec![letter.update],
            }),
            InboxItem::Message(mut waiting) => {
                let inbox = self.inbox(&waiting.session);
                let files = Files::new(&self.state.session(&waiting.session));
                // The log reports damaged files.
                drop(files.fill(&mut waiting.shown, now));
                let mut updates = Vec::new();
                for &name in &waiting.shown.entries {
                    updates.extend(inbox.peek(name)?.map(|entry| entry.update));
                }
                Ok(InboxDetails {
                    row: waiting.row(now),
                    message: Some(waiting.shown.message.clone().at(now, waiting.held)),
                    updates,
                })
            }
        }
    }

    /// Takes dead letters in again, after an update of telepost or of the configuration. Without ids, all
    /// of them.
    pub(crate) fn retry(&self, ids: &[String]) -> Result<Vec<AdminResult>, OpsError> {
        let mut letters = Vec::new();
        for id in ids {
            match self.find(id)? {
                InboxItem::DeadLetter(letter) => letters.push(letter),
                InboxItem::Message(_) => {
                    return Err(OpsError::Refused(format!(
                        "{id} is a message, which is already waiting for an agent; only unreadable updates (dead-…) can be retried"
                    )));
                }
            }
        }
        if ids.is_empty() {
            letters = dead_letters::read_all(self.state, self.clock.now())?;
        }
        letters.iter().map(|letter| self.ingest(letter)).collect()
    }

    /// Drops messages and dead letters. All are looked up before the first one goes.
    pub(crate) fn drop(&self, ids: &[String]) -> Result<Vec<AdminResult>, OpsError> {
        let found = ids
            .iter()
            .map(|id| self.find(id))
            .collect::<Result<Vec<_>, _>>()?;
        ids.iter()
            .zip(found)
            .map(|(id, found)| {
                let words = match found {
                    InboxItem::DeadLetter(letter) => {
                        dead_letters::remove(self.state, &letter)?;
                        "dropped for good".to_owned()
                    }
                    InboxItem::Message(waiting) => self.settle(&waiting)?,
                };
                Ok(AdminResult {
                    id: id.clone(),
                    words,
                    is_done: true,
                })
            })
            .collect()
    }

    fn settle(&self, waiting: &PendingMessage) -> Result<String, OpsError> {
        let _lock = lock_session(self.state, &waiting.session, "inbox")?;
        let moved = self
            .inbox(&waiting.session)
            .settle(&waiting.shown.entries)?
            .len();
        Ok(match moved {
            0 => "an agent has already answered it".to_owned(),
            1 => "dropped; no agent will see it".to_owned(),
            parts => format!("dropped, all {parts} parts; no agent will see it"),
        })
    }

    fn ingest(&self, letter: &DeadLetter) -> Result<AdminResult, OpsError> {
        let done = |is_done, words: String| {
            Ok(AdminResult {
                id: dead_letter_name(letter),
                words,
                is_done,
            })
        };
        let update = match update::read(letter.update.get()) {
            Ok(update) => update,
            Err(error) => {
                return done(
                    false,
                    format!("this version of telepost cannot read it either: {error}"),
                );
            }
        };
        let Some(routes) = self.routes(letter.bot_id)? else {
            return done(
                false,
                format!(
                    "no session used bot {} when the gateway last ran; start a gateway with the new configuration first",
                    letter.bot_id
                ),
            );
        };
        let (session, address) = match routes.decide(letter.bot_id, &update) {
            RouteDecision::Admit { session, address } => (session, address),
            RouteDecision::NotAddressed { session, .. } => {
                return done(
                    false,
                    format!(
                        "it does not address the bot, which `require_mention` of session {session} requires"
                    ),
                );
            }
            RouteDecision::Refuse(refused) => {
                return done(false, format!("not admitted: {}", refused.why.as_str()));
            }
            RouteDecision::Ignore(why) => return done(false, format!("ignored: {why}")),
        };
        if let Recipient::Command(command) = routes.recipient(&update) {
            let words = format!(
                "it is the command /{}, which the gateway answers only when it arrives",
                command.name()
            );
            return done(false, words);
        }
        let _lock = lock_session(self.state, &session, "inbox")?;
        let (inbox, now) = (self.inbox(&session), self.clock.now());
        let seen = inbox.stored()?;
        let known = match seen.iter().rfind(|name| name.update_id == update.id) {
            Some(&name) => inbox.knows(name, letter.bot_id, now)?,
            None => false,
        };
        if !known {
            let last = seen.iter().map(|name| name.received).max().unwrap_or(0);
            let received = Timestamp(now.0.max(last + 1));
            inbox.put(&Entry::new(
                address,
                update.id,
                received,
                letter.update.clone(),
            ))?;
        }
        inbox.sync()?;
        dead_letters::remove(self.state, letter)?;
        done(
            true,
            if known {
                format!("session {session} already has it, as message {}", update.id)
            } else {
                format!("now message {} of session {session}", update.id)
            },
        )
    }

    /// The routes of a bot, as the last gateway knew it; `None` if it has no session.
    fn routes(&self, bot: BotId) -> Result<Option<Routes>, OpsError> {
        let Some(status) = gateway_status::read(self.state, self.clock.now())? else {
            return Ok(None);
        };
        let sessions = status
            .sessions
            .iter()
            .filter(|(_, session)| session.bot_id == bot)
            .map(|(id, _)| id);
        let moves = migrations::read_migrations(self.state, bot, self.clock.now())?;
        let config = self.config.ok_or_else(|| {
            OpsError::Refused("the configuration cannot be used, so it is not clear to which session an update belongs; correct it first (`telepost check` says where)".to_owned())
        })?;
        let mut routes = build_routes(config, sessions);
        routes = routes.following(|chat| moves.current(chat));
        let bot = status.bots.iter().find(|status| status.id == Some(bot));
        if let Some(username) = bot.and_then(|bot| bot.username.as_ref()) {
            routes.set_username(username);
        }
        Ok((routes != Routes::default()).then_some(routes))
    }

    fn find(&self, id: &str) -> Result<InboxItem, OpsError> {
        if let Some(hash) = id.strip_prefix(DEAD_PREFIX) {
            return self.find_dead(id, hash);
        }
        let update_id = parse_update_id(id)?;
        let mut found = Vec::new();
        for session in self.sessions()? {
            let all = self.waiting(&session)?.into_iter();
            found.extend(all.filter(|waiting| waiting.contains(update_id)));
        }
        let ids: BTreeSet<&SessionId> = found.iter().map(|waiting| &waiting.session).collect();
        if ids.len() > 1 {
            let ids: Vec<&str> = ids.into_iter().map(SessionId::as_str).collect();
            return Err(OpsError::Refused(format!(
                "several sessions have a message {id} ({}); choose one with --session",
                ids.join(", ")
            )));
        }
        found
            .pop()
            .map(|waiting| InboxItem::Message(Box::new(waiting)))
            .ok_or_else(|| {
                OpsError::Refused(format!(
                    "no message {id} is waiting; `telepost inbox list` shows the messages that are"
                ))
            })
    }

    fn find_dead(&self, id: &str, hash: &str) -> Result<InboxItem, OpsError> {
        let mut letters = dead_letters::read_all(self.state, self.clock.now())?;
        letters.retain(|letter| hash.len() >= HASH_MIN && letter.hash().starts_with(hash));
        match (letters.pop(), letters.is_empty()) {
            (Some(letter), true) => Ok(InboxItem::DeadLetter(letter)),
            (Some(_), false) => Err(OpsError::Refused(format!(
                "several unreadable updates begin with {id}; write more of the id"
            ))),
            (None, _) => Err(OpsError::Refused(format!(
                "there is no unreadable update {id}; `telepost inbox list` shows them"
            ))),
        }
    }

    fn sessions(&self) -> Result<Vec<SessionId>, OpsError> {
        if let Some(only) = self.only {
            return Ok(vec![only.clone()]);
        }
        Ok(list_sessions(self.config, self.state)?)
    }

    fn inbox(&self, session: &SessionId) -> Inbox {
        Inbox::new(&self.state.session(session))
    }

    fn waiting(&self, session: &SessionId) -> Result<Vec<PendingMessage>, OpsError> {
        let mut all = Vec::new();
        for_each_waiting(self.state, session, self.clock.now(), |waiting| {
            all.push(waiting);
        })?;
        Ok(all)
    }
}

/// Passes each waiting message of a session to `take`, oldest first. Only a few are in memory at a time, so
/// an edit that lies far behind its message is a message of its own, as on the pages of an agent.
pub(crate) fn for_each_waiting(
    state: &StateDir,
    session: &SessionId,
    now: Timestamp,
    mut take: impl FnMut(PendingMessage),
) -> Result<(), ReadError> {
    let names = Inbox::new(&state.session(session)).pending()?;
    for_each_of(state, session, names, now, |waiting| {
        take(waiting);
        ControlFlow::Continue(())
    })
}

/// Does the same with some entries of a session, until `take` breaks.
fn for_each_of(
    state: &StateDir,
    session: &SessionId,
    names: BTreeSet<EntryName>,
    now: Timestamp,
    mut take: impl FnMut(PendingMessage) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let dir = state.session(session);
    let inbox = Inbox::new(&dir);
    let held = Holds::new(&dir).held_entries(now)?;
    let mut names = names.into_iter().peekable();
    let mut items: Vec<Item> = Vec::new();
    loop {
        for name in names.by_ref().take(READ_AT_ONCE) {
            match inbox.read(name, now) {
                Ok(Some(entry)) => items.push(Item::new(name, entry)),
                // Settled meanwhile, or moved to the quarantine, as the log says.
                Ok(None) | Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if items.len() <= READ_AT_ONCE / 2 && names.peek().is_some() {
            continue;
        }
        // More parts of a message that begins among the last entries may follow unread.
        let open = names
            .peek()
            .and_then(|_| items.iter().nth_back(READ_AT_ONCE / 2));
        let open = open.map(|item| item.name);
        let is_open = |name: &EntryName| open.is_some_and(|open| *name > open);
        let mut taken = BTreeSet::new();
        for shown in view::fresh(&items) {
            if shown.entries.first().is_some_and(is_open) {
                continue;
            }
            taken.extend(shown.entries.iter().copied());
            let waiting = PendingMessage {
                session: session.clone(),
                bot: shown.address.bot_id,
                held: shown.entries.iter().any(|entry| held.contains(entry)),
                shown,
            };
            if take(waiting).is_break() {
                return Ok(());
            }
        }
        if names.peek().is_none() {
            return Ok(());
        }
        items.retain(|item| is_open(&item.name) && !taken.contains(&item.name));
    }
}

impl PendingMessage {
    pub(crate) fn contains(&self, update_id: UpdateId) -> bool {
        let mut entries = self.shown.entries.iter();
        entries.any(|name| name.update_id == update_id)
    }

    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        now.since(self.received_at().unwrap_or(now))
    }

    fn received_at(&self) -> Option<Timestamp> {
        let first = self.shown.entries.first()?;
        Some(first.received_at())
    }

    fn row(&self, now: Timestamp) -> InboxRow {
        let message = &self.shown.message;
        InboxRow {
            id: message.update_id.to_string(),
            state: if self.held { "shown" } else { "waiting" },
            session: Some(self.session.clone()),
            bot_id: self.bot,
            received_at: self.received_at().unwrap_or(now).rfc3339(),
            age_s: self.age(now).as_secs(),
            kind: Some(message.kind.clone()),
            from: message.from.as_ref().map(|from| from.name.clone()),
            text: Some(message.text.clone()),
            reason: None,
        }
    }
}

fn parse_update_id(id: &str) -> Result<UpdateId, OpsError> {
    id.parse().map(UpdateId).map_err(|_| {
        OpsError::Refused(format!(
            "{id} is neither the number of a message nor the name of an unreadable update (dead-…); `telepost inbox list` shows both"
        ))
    })
}

fn dead_letter_row(letter: &DeadLetter, now: Timestamp) -> InboxRow {
    InboxRow {
        id: dead_letter_name(letter),
        state: "dead",
        session: None,
        bot_id: letter.bot_id,
        received_at: letter.received.rfc3339(),
        age_s: now.since(letter.received).as_secs(),
        kind: None,
        from: None,
        text: None,
        reason: Some(letter.reason.clone()),
    }
}

fn dead_letter_name(letter: &DeadLetter) -> String {
    let hash: String = letter.hash().chars().take(HASH_SHOWN).collect();
    format!("{DEAD_PREFIX}{hash}")
}
