//! What the gateway says of itself, in `gateway.json`.
//!
//! Written when something changes and after a completed poll, unsynced: it informs, nothing depends
//! on it but the bot of a session's home chat. Whether a gateway runs is never read from here but
//! from its lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::DAY_MS;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, TokenState, Tokens};
use crate::ids::{BotId, SessionId};
use crate::state::agents::process::ProcessId;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::lock;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceFile {
    /// The version of this file.
    pub format: u32,
    /// The process number, for people.
    pub pid: u32,
    /// The process, for `gateway stop`.
    pub process: ProcessId,
    /// The version of telepost.
    pub version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// The newest version of each kind of file that it reads: an MCP server writes none newer.
    pub formats: BTreeMap<String, u32>,
    /// Its bots.
    pub bots: Vec<BotPresence>,
    /// Which bot serves which session.
    pub sessions: BTreeMap<SessionId, SessionPresence>,
}

/// How one bot is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BotPresence {
    /// The bot; unknown while its token is not set.
    pub id: Option<BotId>,
    /// Its public name, without `@`.
    pub username: Option<String>,
    /// Whether it is polled.
    pub polling: bool,
    /// When a poll was last answered.
    pub last_poll_at: Option<Timestamp>,
    /// Who else wants its updates: `other_poller` or `webhook`.
    pub conflict: Option<String>,
    /// Why it cannot work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// Updates from people or chats that are on no list, since the gateway started.
    pub refused: u64,
    /// The same, on the day (UTC) of the newest.
    #[serde(default)]
    pub refused_on: RefusedOn,
}

/// Refused updates of one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedOn {
    /// Days since 1970.
    pub day: i64,
    /// How many.
    pub count: u64,
}

impl RefusedOn {
    /// Counts so many more.
    pub fn add(&mut self, now: Timestamp, count: u64) {
        if count > 0 {
            *self = Self {
                day: now.0 / DAY_MS,
                count: self.today(now) + count,
            };
        }
    }

    /// How many there were today.
    pub fn today(&self, now: Timestamp) -> u64 {
        if self.day == now.0 / DAY_MS {
            self.count
        } else {
            0
        }
    }
}

/// What serves a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionPresence {
    /// The bot.
    pub bot_id: BotId,
}

/// Reads what the last gateway said of itself.
pub fn read(state: &StateDir, now: Timestamp) -> Result<Option<PresenceFile>, ReadError> {
    match format::read(state, &state.gateway(), now) {
        // It informs only; the running gateway writes a new one after its next poll.
        Err(ReadError::Quarantined { .. }) => Ok(None),
        other => other,
    }
}

/// Whether a gateway runs.
pub fn is_running(state: &StateDir) -> Result<bool, StoreError> {
    lock::is_held(&state.gateway_lock())
}

/// The running gateway's own view, shared by its tasks.
#[derive(Debug)]
pub struct Presence {
    state: StateDir,
    clock: Clock,
    file: Mutex<PresenceFile>,
}

impl Presence {
    /// A gateway that has just taken its locks.
    /// `before` is what the last one said: the count of a day goes on.
    pub fn begin(
        state: &StateDir,
        config: &Config,
        tokens: &Tokens,
        clock: Clock,
        before: Option<&PresenceFile>,
    ) -> Arc<Self> {
        let mut bots = Vec::new();
        let mut sessions = BTreeMap::new();
        for (id, bot) in tokens.bots() {
            let username = bot
                .sessions
                .iter()
                .find_map(|session| config.sessions.get(session)?.bot_username.clone());
            let before = before.map(|file| file.bots.as_slice()).unwrap_or_default();
            let before = before.iter().find(|bot| bot.id == Some(id));
            bots.push(BotPresence {
                id: Some(id),
                username,
                polling: false,
                last_poll_at: None,
                conflict: None,
                off: None,
                refused: 0,
                refused_on: before.map(|bot| bot.refused_on).unwrap_or_default(),
            });
            sessions.extend(
                bot.sessions
                    .into_iter()
                    .map(|session| (session, SessionPresence { bot_id: id })),
            );
        }
        for (session, token) in tokens.iter() {
            if let TokenState::Unset { variable } = token {
                bots.push(BotPresence {
                    id: None,
                    username: config
                        .sessions
                        .get(session)
                        .and_then(|session| session.bot_username.clone()),
                    polling: false,
                    last_poll_at: None,
                    conflict: None,
                    off: Some(format!("{variable} is not set")),
                    refused: 0,
                    refused_on: RefusedOn::default(),
                });
            }
        }
        let formats = ["inbox", "outbox", "conversations", "gates", "agents"]
            .map(|kind| (kind.to_owned(), FORMAT));
        let process = ProcessId::me();
        let file = PresenceFile {
            format: FORMAT,
            pid: process.pid,
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: clock.now(),
            formats: formats.into(),
            bots,
            sessions,
        };
        Arc::new(Self {
            state: state.clone(),
            clock,
            file: Mutex::new(file),
        })
    }

    /// Changes what is said of a bot, and writes the file if that changed it.
    pub fn update(&self, bot: BotId, change: impl FnOnce(&mut BotPresence, Timestamp)) {
        let changed = {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            match file
                .bots
                .iter_mut()
                .find(|presence| presence.id == Some(bot))
            {
                Some(presence) => {
                    let before = presence.clone();
                    change(presence, now);
                    *presence != before
                }
                None => false,
            }
        };
        if changed {
            self.write();
        }
    }

    /// Writes the file. A failure is only said: nothing depends on it.
    pub fn write(&self) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = format::write(
            &self.state.gateway(),
            &*file,
            Step::Presence,
            Durability::Unsynced,
        ) {
            tracing::warn!(error = %crate::error_chain::Chain(&error), "cannot say how the gateway is");
        }
    }
}
