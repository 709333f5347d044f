//! Looking after the inbox by hand: what waits, what nobody could read, trying that again, and
//! dropping what nobody needs. Works with a gateway and without one.
//!
//! A message is named by its `update_id`, a dead letter by `dead-` and the beginning of its hash.
//! What changes a session is done under its session lock, like a tool call, and with the steps that
//! others have: an entry and its synced folder before its letter goes, a tombstone for what is
//! dropped. Whoever is killed in between may do it again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::{BotId, SessionId, UpdateId};
use crate::ops::status;
use crate::routing::{Recipient, RouteDecision, Routes, build_routes};
use crate::state::bots::migrations;
use crate::state::files::Files;
use crate::state::gateway_status;
use crate::state::inbox::dead_letters::{self, DeadUpdate};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::{self, Item, MessageView, Shown};
use crate::state::inbox::{self, Inbox};
use crate::state::layout::StateDir;
use crate::store::StateError;
use crate::store::disk::HeldLock;
use crate::store::format::ReadError;
use crate::telegram::update;

/// How a dead letter's name begins.
const DEAD: &str = "dead-";
/// How many characters of its hash a name shows.
const HASH_SHOWN: usize = 12;
/// How few may be typed.
const HASH_LEAST: usize = 6;

/// What a person asked for could not be done. Nothing of it was touched.
#[derive(Debug, thiserror::Error)]
pub enum CareError {
    /// The state cannot be used, or another process has the session lock.
    #[error(transparent)]
    State(StateError),
    /// There is no such thing, or more than one, or it is still needed.
    #[error("{0}")]
    Refused(String),
}

impl<E: Into<StateError>> From<E> for CareError {
    fn from(error: E) -> Self {
        Self::State(error.into())
    }
}

/// So many entries are read at a time.
const AT_ONCE: usize = 256;

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The `update_id` of a message, or the name of a dead letter.
    pub id: String,
    /// `waiting`, `shown` (to an agent, and not answered) or `dead`.
    pub state: &'static str,
    /// The session; a dead letter has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The bot that received it.
    pub bot_id: BotId,
    /// When.
    pub received_at: String,
    /// How long ago that was.
    pub age_s: u64,
    /// What kind of message it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One message or letter as `show` prints it.
#[derive(Debug, Serialize)]
pub struct Whole {
    /// What the list says of it.
    #[serde(flatten)]
    pub line: Line,
    /// The message as an agent sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageView>,
    /// The updates behind it, as Telegram gave them.
    pub updates: Vec<Box<serde_json::value::RawValue>>,
}

/// What became of one thing that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was asked.
    pub id: String,
    /// What became of it, for people.
    pub words: String,
    /// Whether it is done.
    pub good: bool,
}

/// The inboxes of one state folder.
#[derive(Debug)]
pub struct Care<'a> {
    /// The state folder.
    pub state: &'a StateDir,
    /// The configuration.
    pub config: &'a Config,
    /// The clocks.
    pub clock: &'a Clock,
    /// Only this session.
    pub only: Option<&'a SessionId>,
}

/// A message that waits, with its entries.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its session.
    pub session: SessionId,
    /// The bot that received it.
    pub bot: BotId,
    /// As an agent would be shown it now.
    pub shown: Shown,
    /// Whether an agent was shown it.
    pub held: bool,
}

enum Found {
    Waiting(Box<Waiting>),
    Dead(DeadUpdate),
}

impl Care<'_> {
    /// What waits and what nobody could read, each oldest first.
    pub fn list(&self) -> Result<Vec<Line>, CareError> {
        let now = self.clock.now();
        let mut lines = Vec::new();
        for id in self.sessions()? {
            lines.extend(self.waiting(&id)?.iter().map(|waiting| waiting.line(now)));
        }
        if self.only.is_none() {
            let letters = dead_letters::all(self.state, now)?;
            lines.extend(letters.iter().map(|letter| dead_line(letter, now)));
        }
        Ok(lines)
    }

    /// All of one message or letter.
    pub fn show(&self, id: &str) -> Result<Whole, CareError> {
        let now = self.clock.now();
        match self.find(id)? {
            Found::Dead(letter) => Ok(Whole {
                line: dead_line(&letter, now),
                message: None,
                updates: vec![letter.update],
            }),
            Found::Waiting(mut waiting) => {
                let inbox = self.inbox(&waiting.session);
                let files = Files::new(self.state, self.state.session(&waiting.session));
                // What the log says of a damaged one is said there.
                drop(files.fill(&mut waiting.shown, now));
                let mut updates = Vec::new();
                for &name in &waiting.shown.entries {
                    updates.extend(inbox.peek(name)?.map(|entry| entry.update));
                }
                Ok(Whole {
                    line: waiting.line(now),
                    message: Some(waiting.shown.message.clone().at(now, waiting.held)),
                    updates,
                })
            }
        }
    }

    /// Tries to take in letters again: after an update of telepost, or of the configuration. All of
    /// them if none is named.
    pub fn retry(&self, ids: &[String]) -> Result<Vec<Done>, CareError> {
        let mut letters = Vec::new();
        for id in ids {
            match self.find(id)? {
                Found::Dead(letter) => letters.push(letter),
                Found::Waiting(_) => {
                    return Err(CareError::Refused(format!(
                        "{id} is a message that waits for an agent already; only dead letters are tried again"
                    )));
                }
            }
        }
        if ids.is_empty() {
            letters = dead_letters::all(self.state, self.clock.now())?;
        }
        letters.iter().map(|letter| self.take_in(letter)).collect()
    }

    /// Drops messages and letters. All are looked up before the first one goes.
    pub fn drop(&self, ids: &[String]) -> Result<Vec<Done>, CareError> {
        let found = ids
            .iter()
            .map(|id| self.find(id))
            .collect::<Result<Vec<_>, _>>()?;
        ids.iter()
            .zip(found)
            .map(|(id, found)| {
                let words = match found {
                    Found::Dead(letter) => {
                        dead_letters::remove(self.state, &letter)?;
                        "dropped; nothing is left of it".to_owned()
                    }
                    Found::Waiting(waiting) => self.settle(&waiting)?,
                };
                Ok(Done {
                    id: id.clone(),
                    words,
                    good: true,
                })
            })
            .collect()
    }

    fn settle(&self, waiting: &Waiting) -> Result<String, CareError> {
        let _lock = self.lock(&waiting.session)?;
        let moved = self
            .inbox(&waiting.session)
            .settle(&waiting.shown.entries)?
            .len();
        Ok(match moved {
            0 => "an agent has answered it meanwhile".to_owned(),
            1 => "dropped; no agent will see it".to_owned(),
            parts => format!("dropped, all {parts} parts; no agent will see it"),
        })
    }

    fn take_in(&self, letter: &DeadUpdate) -> Result<Done, CareError> {
        let done = |good, words: String| {
            Ok(Done {
                id: dead_id(letter),
                words,
                good,
            })
        };
        let update = match update::read(letter.update.get()) {
            Ok(update) => update,
            Err(error) => {
                return done(
                    false,
                    format!("this telepost cannot read it either: {error}"),
                );
            }
        };
        let Some(routes) = self.routes(letter.bot_id)? else {
            return done(
                false,
                format!(
                    "no session uses bot {}, as far as the last gateway knew; start a gateway with the new configuration first",
                    letter.bot_id
                ),
            );
        };
        let (session, address) = match routes.decide(letter.bot_id, &update) {
            RouteDecision::Admit { session, address } => (session, address),
            RouteDecision::NotAddressed { session, .. } => {
                return done(
                    false,
                    format!("it does not address the bot (require_mention of session {session})"),
                );
            }
            RouteDecision::Refuse(refused) => {
                return done(false, format!("refused: {}", refused.why.as_str()));
            }
            RouteDecision::Ignore(why) => return done(false, format!("ignored: {why}")),
        };
        if let Recipient::Command(command) = routes.recipient(&update) {
            let words = format!(
                "it is /{}, which the gateway answers when it is written",
                command.name()
            );
            return done(false, words);
        }
        let _lock = self.lock(&session)?;
        let (inbox, now) = (self.inbox(&session), self.clock.now());
        let seen = inbox.seen()?;
        let known = match seen.iter().rfind(|name| name.update_id == update.id) {
            Some(&name) => inbox.knows(name, letter.bot_id, now)?,
            None => false,
        };
        if !known {
            let last = seen.iter().map(|name| name.received).max().unwrap_or(0);
            let received = Timestamp(now.0.max(last + 1));
            inbox.put(&inbox::entry(
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
                format!("session {session} has it already, as message {}", update.id)
            } else {
                format!("now message {} of session {session}", update.id)
            },
        )
    }

    /// The gate for a bot, as the last gateway knew it; `None` if it has no session.
    fn routes(&self, bot: BotId) -> Result<Option<Routes>, CareError> {
        let Some(presence) = gateway_status::read(self.state, self.clock.now())? else {
            return Ok(None);
        };
        let sessions = presence
            .sessions
            .iter()
            .filter(|(_, session)| session.bot_id == bot)
            .map(|(id, _)| id);
        let moves = migrations::read_migrations(self.state, bot, self.clock.now())?;
        let mut routes = build_routes(self.config, sessions);
        routes = routes.following(|chat| moves.current(chat));
        let bot = presence
            .bots
            .iter()
            .find(|presence| presence.id == Some(bot));
        if let Some(username) = bot.and_then(|bot| bot.username.as_ref()) {
            routes.set_username(username);
        }
        Ok((routes != Routes::default()).then_some(routes))
    }

    fn find(&self, id: &str) -> Result<Found, CareError> {
        if let Some(hash) = id.strip_prefix(DEAD) {
            return self.find_dead(id, hash);
        }
        let Ok(update_id) = id.parse().map(UpdateId) else {
            return Err(CareError::Refused(format!(
                "{id} is neither the number of a message nor the name of a dead letter; `telepost inbox list` shows them"
            )));
        };
        let mut found = Vec::new();
        for session in self.sessions()? {
            let all = self.waiting(&session)?.into_iter();
            found.extend(all.filter(|waiting| waiting.is(update_id)));
        }
        let ids: BTreeSet<&SessionId> = found.iter().map(|waiting| &waiting.session).collect();
        if ids.len() > 1 {
            let ids: Vec<&str> = ids.into_iter().map(SessionId::as_str).collect();
            return Err(CareError::Refused(format!(
                "there is a message {id} in several sessions ({}); say which with --session",
                ids.join(", ")
            )));
        }
        found
            .pop()
            .map(|waiting| Found::Waiting(Box::new(waiting)))
            .ok_or_else(|| {
                CareError::Refused(format!(
                    "no message {id} waits; `telepost inbox list` shows what does"
                ))
            })
    }

    fn find_dead(&self, id: &str, hash: &str) -> Result<Found, CareError> {
        let mut letters = dead_letters::all(self.state, self.clock.now())?;
        letters.retain(|letter| hash.len() >= HASH_LEAST && letter.hash().starts_with(hash));
        match (letters.pop(), letters.is_empty()) {
            (Some(letter), true) => Ok(Found::Dead(letter)),
            (Some(_), false) => Err(CareError::Refused(format!(
                "{id} is the beginning of several names; write more of it"
            ))),
            (None, _) => Err(CareError::Refused(format!(
                "there is no dead letter {id}; `telepost inbox list` shows them"
            ))),
        }
    }

    fn sessions(&self) -> Result<Vec<SessionId>, CareError> {
        if let Some(only) = self.only {
            return Ok(vec![only.clone()]);
        }
        let mut ids: BTreeSet<SessionId> = self.config.sessions.keys().cloned().collect();
        ids.extend(self.state.all_sessions()?);
        Ok(ids.into_iter().collect())
    }

    fn inbox(&self, session: &SessionId) -> Inbox {
        Inbox::new(self.state, self.state.session(session))
    }

    fn lock(&self, session: &SessionId) -> Result<HeldLock, CareError> {
        let dir = self.state.session(session);
        dir.prepare()?;
        let who = format!("telepost inbox, pid {}", std::process::id());
        Ok(dir.take_lock(&who)?)
    }

    fn waiting(&self, session: &SessionId) -> Result<Vec<Waiting>, CareError> {
        Ok(waiting(self.state, session, self.clock.now())?)
    }
}

/// The messages of a session that wait, oldest first.
pub fn waiting(
    state: &StateDir,
    session: &SessionId,
    now: Timestamp,
) -> Result<Vec<Waiting>, ReadError> {
    let mut all = Vec::new();
    each_waiting(state, session, now, |waiting| all.push(waiting))?;
    Ok(all)
}

/// Goes through the messages of a session that wait, oldest first. Few of them are in memory at a time, so
/// an edit that lies far behind its message is one of its own, as on the pages that agents are shown.
pub fn each_waiting(
    state: &StateDir,
    session: &SessionId,
    now: Timestamp,
    mut take: impl FnMut(Waiting),
) -> Result<(), ReadError> {
    let dir = state.session(session);
    let inbox = Inbox::new(state, dir.clone());
    let held: BTreeSet<EntryName> = status::held(&dir, now)?;
    let mut names = inbox.pending()?.into_iter().peekable();
    let mut items: Vec<Item> = Vec::new();
    loop {
        for name in names.by_ref().take(AT_ONCE) {
            match inbox.read(name, now) {
                Ok(Some(entry)) => items.push(Item {
                    name,
                    address: entry.address,
                    update: update::read(entry.update.get()).ok(),
                }),
                // Settled meanwhile, or kept in quarantine now, as the log says.
                Ok(None) | Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if items.len() <= AT_ONCE / 2 && names.peek().is_some() {
            continue;
        }
        // To what begins among the last of them more may belong that was not read yet.
        let open = names
            .peek()
            .and_then(|_| items.iter().nth_back(AT_ONCE / 2));
        let open = open.map(|item| item.name);
        let is_open = |name: &EntryName| open.is_some_and(|open| *name > open);
        let mut taken = BTreeSet::new();
        for shown in view::fresh(&items) {
            if shown.entries.first().is_some_and(is_open) {
                continue;
            }
            taken.extend(shown.entries.iter().copied());
            take(Waiting {
                session: session.clone(),
                bot: shown.address.bot_id,
                held: shown.entries.iter().any(|entry| held.contains(entry)),
                shown,
            });
        }
        if names.peek().is_none() {
            return Ok(());
        }
        items.retain(|item| is_open(&item.name) && !taken.contains(&item.name));
    }
}

impl Waiting {
    /// Whether an update is part of it.
    pub fn is(&self, update_id: UpdateId) -> bool {
        let mut entries = self.shown.entries.iter();
        entries.any(|name| name.update_id == update_id)
    }

    /// How long it has waited.
    pub fn age(&self, now: Timestamp) -> Duration {
        let received = self.shown.entries.first().map(|name| name.received_at());
        now.since(received.unwrap_or(now))
    }

    fn line(&self, now: Timestamp) -> Line {
        let message = &self.shown.message;
        let received = self.shown.entries.first().map(|name| name.received_at());
        let received = received.unwrap_or(now);
        Line {
            id: message.update_id.to_string(),
            state: if self.held { "shown" } else { "waiting" },
            session: Some(self.session.clone()),
            bot_id: self.bot,
            received_at: received.rfc3339(),
            age_s: now.since(received).as_secs(),
            kind: Some(message.kind.clone()),
            from: message.from.as_ref().map(|from| from.name.clone()),
            text: Some(message.text.clone()),
            reason: None,
        }
    }
}

fn dead_line(letter: &DeadUpdate, now: Timestamp) -> Line {
    Line {
        id: dead_id(letter),
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

fn dead_id(letter: &DeadUpdate) -> String {
    let hash: String = letter.hash().chars().take(HASH_SHOWN).collect();
    format!("{DEAD}{hash}")
}
