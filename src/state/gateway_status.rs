//! The gateway's status, in `gateway.json`.
//!
//! The gateway writes it when something changes and after a completed poll, unsynced: it informs, and
//! nothing depends on it but the bot of a session's home chat. Whether a gateway runs is never read from
//! here but from its lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, DAY_MS, Timestamp};
use crate::config::{Config, ConfigChange, ConfigMark, TokenState, Tokens};
use crate::ids::{BotId, SessionId};
use crate::state::StateDir;
use crate::state::agents::ProcessId;
use crate::store::{Durability, FileLock, LockError, ReadError, StateFile, Step, StoreError, lock};
use crate::telegram::error::Conflict;
use crate::telegram::polling::POLL_DEADLINE;

/// The file.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The process number, for people.
    pub pid: u32,
    /// The process, for `gateway stop`.
    pub process: ProcessId,
    /// The version of telepost.
    pub version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Always empty. Version 0.1 requires the key, and an agent may still run its server of that version.
    #[serde(default)]
    formats: BTreeMap<String, u32>,
    /// The proxy to Telegram, without a password.
    pub proxy: Option<String>,
    /// Its configuration.
    pub configuration: Option<ConfigMark>,
    /// Its bots.
    pub bots: Vec<BotStatus>,
    /// Which bot serves which session.
    pub sessions: BTreeMap<SessionId, ServedSession>,
}

impl GatewayStatus {
    /// Says that its configuration is no longer the one on disk, and what to do.
    pub fn explain_old_configuration(&self) -> Option<String> {
        let mark = self.configuration.as_ref()?;
        let path = mark.path.display();
        Some(match mark.find_change()? {
            ConfigChange::Changed => format!(
                "The gateway runs with an older configuration: {path} or the .env beside it has changed since it started. Run `telepost gateway --detach --replace`."
            ),
            ConfigChange::Missing => format!(
                "The gateway runs with a configuration that is gone: there is no {path} any more. Put it back, or name the new place with --config and run `telepost gateway --detach --replace`."
            ),
        })
    }

    /// Why nothing of a bot goes out, and what to do, if the gateway does not have that bot.
    pub fn explain_missing(&self, bot: BotId) -> Option<String> {
        let has_it = self.bots.iter().any(|status| status.id == Some(bot));
        (!has_it).then(|| format!("it was accepted for bot {bot}, which the running gateway does not have; give a session that bot's token again and run `telepost gateway --replace`, or remove it with `telepost outbox drop`"))
    }
}

/// How old the last sign of a gateway that polls may be: a poll ends within 65 s, and then says so.
const SILENT_AFTER: Duration = POLL_DEADLINE.saturating_add(Duration::from_secs(25));

/// How one bot stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BotStatus {
    /// The bot; unknown while its token is not set.
    pub id: Option<BotId>,
    /// Its public name, without `@`.
    pub username: Option<String>,
    /// Whether its updates arrive.
    #[serde(flatten)]
    pub health: BotHealth,
    /// When Telegram last answered a poll.
    pub last_poll_at: Option<Timestamp>,
    /// When it is polled again after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Updates from people or chats that are on no list, since the gateway started.
    pub refused: u64,
    /// The same, on the day (UTC) of the newest.
    #[serde(default)]
    pub refused_on: DayCount,
    /// Messages of groups that do not name the bot, on the day (UTC) of the newest.
    #[serde(default)]
    pub not_addressed_on: DayCount,
}

impl GatewayStatus {
    /// Whether a gateway that said last that it polls has been silent for too long: it is stopped (SIGSTOP) or hangs,
    /// or the machine has slept.
    pub fn is_silent(&self, bot: &BotStatus, now: Timestamp) -> bool {
        let last_sign = bot.last_poll_at.unwrap_or(self.started_at);
        matches!(bot.health, BotHealth::Starting | BotHealth::Polling)
            && now.since(last_sign) > SILENT_AFTER
    }
}

impl BotStatus {
    fn new(id: Option<BotId>, username: Option<String>, health: BotHealth) -> Self {
        Self {
            id,
            username,
            health,
            last_poll_at: None,
            retry_at: None,
            refused: 0,
            refused_on: DayCount::default(),
            not_addressed_on: DayCount::default(),
        }
    }
}

/// Whether the updates of a bot arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HealthRecord", into = "HealthRecord")]
pub enum BotHealth {
    /// No poll has ended yet.
    Starting,
    /// The last poll succeeded.
    Polling,
    /// Another program receives the updates.
    Conflict(Conflict),
    /// Telegram cannot be reached; the reason is for people. The poller tries again by itself.
    Unreachable(String),
    /// The bot cannot work; the reason is for people.
    Off(String),
}

impl BotHealth {
    /// Why nothing arrives and what to do about it, for people and agents.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Polling => None,
            Self::Conflict(conflict) => Some(conflict.advice()),
            Self::Unreachable(reason) | Self::Off(reason) => Some(reason),
        }
    }

    /// The text of the key `off`: the reason, if the bot does not work until a person does something.
    pub fn off(&self) -> Option<&str> {
        match self {
            Self::Off(reason) => Some(reason),
            Self::Starting | Self::Polling | Self::Conflict(_) | Self::Unreachable(_) => None,
        }
    }

    /// The text of the key `unreachable`.
    pub fn unreachable(&self) -> Option<&str> {
        match self {
            Self::Unreachable(reason) => Some(reason),
            Self::Starting | Self::Polling | Self::Conflict(_) | Self::Off(_) => None,
        }
    }

    /// The text of the key `conflict`.
    pub fn conflict(&self) -> Option<&'static str> {
        match self {
            Self::Conflict(conflict) => Some(conflict.as_str()),
            Self::Starting | Self::Polling | Self::Off(_) | Self::Unreachable(_) => None,
        }
    }
}

/// How [`BotHealth`] stands in the file: the keys of version 0.1.
#[derive(Serialize, Deserialize)]
struct HealthRecord {
    polling: bool,
    conflict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

impl From<HealthRecord> for BotHealth {
    fn from(record: HealthRecord) -> Self {
        match (record.off, record.conflict.as_deref()) {
            (Some(reason), _) => Self::Off(reason),
            (None, Some("webhook")) => Self::Conflict(Conflict::Webhook),
            (None, Some(_)) => Self::Conflict(Conflict::OtherPoller),
            (None, None) if record.polling => Self::Polling,
            (None, None) => record.unreachable.map_or(Self::Starting, Self::Unreachable),
        }
    }
}

impl From<BotHealth> for HealthRecord {
    fn from(health: BotHealth) -> Self {
        Self {
            polling: health == BotHealth::Polling,
            conflict: health.conflict().map(str::to_owned),
            off: health.off().map(str::to_owned),
            unreachable: health.unreachable().map(str::to_owned),
        }
    }
}

/// Updates of one kind on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    /// Days since 1970.
    pub day: i64,
    /// How many.
    pub count: u64,
}

impl DayCount {
    /// Adds updates of today.
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

/// The bot of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedSession {
    /// The bot.
    pub bot_id: BotId,
}

/// Reads what the last gateway said of itself. A damaged file counts as missing: the running gateway writes a
/// new one after its next poll.
pub fn read(state: &StateDir, now: Timestamp) -> Result<Option<GatewayStatus>, ReadError> {
    file(state).read_or_missing(now)
}

fn file(state: &StateDir) -> StateFile<GatewayStatus> {
    let file = state.storage().file(state.gateway(), Step::Presence);
    file.with(Durability::Unsynced)
}

/// Whether a gateway runs.
pub fn is_running(state: &StateDir) -> Result<bool, StoreError> {
    lock::is_held(&state.gateway_lock())
}

/// Takes the lock of the gateway. `who` names this process to others.
pub fn take_gateway_lock(
    state: &StateDir,
    who: &str,
    patience: Duration,
) -> Result<FileLock, LockError> {
    FileLock::take_within(&state.gateway_lock(), who, patience)
}

/// Names the process that holds the lock of the gateway.
pub fn name_gateway(state: &StateDir) -> String {
    lock::read_holder(&state.gateway_lock())
}

/// The running gateway's own view, shared by its tasks.
#[derive(Debug)]
pub struct StatusWriter {
    state: StateDir,
    clock: Clock,
    status: Mutex<GatewayStatus>,
}

impl StatusWriter {
    /// The status of a gateway that has just taken its locks. `before` is the file of the last gateway: the
    /// count of refused updates goes on for the day.
    pub fn begin(
        state: &StateDir,
        config: &Config,
        tokens: &Tokens,
        clock: Clock,
        before: Option<&GatewayStatus>,
    ) -> Arc<Self> {
        let before = before.map(|file| file.bots.as_slice()).unwrap_or_default();
        let configured_name =
            |session: &SessionId| config.sessions.get(session)?.bot_username.clone();
        let mut bots = Vec::new();
        let mut sessions = BTreeMap::new();
        for (id, bot) in tokens.bots() {
            let before = before.iter().find(|bot| bot.id == Some(id));
            let username = bot.sessions.iter().find_map(configured_name);
            bots.push(BotStatus {
                refused_on: before.map(|bot| bot.refused_on).unwrap_or_default(),
                not_addressed_on: before.map(|bot| bot.not_addressed_on).unwrap_or_default(),
                ..BotStatus::new(Some(id), username, BotHealth::Starting)
            });
            let served = |session| (session, ServedSession { bot_id: id });
            sessions.extend(bot.sessions.into_iter().map(served));
        }
        for (session, token) in tokens.iter() {
            if let TokenState::Unset { variable } = token {
                let health = BotHealth::Off(format!("{variable} is not set"));
                bots.push(BotStatus::new(None, configured_name(session), health));
            }
        }
        let process = ProcessId::me();
        let status = GatewayStatus {
            pid: process.pid,
            process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: clock.now(),
            formats: BTreeMap::new(),
            proxy: tokens.proxy().map(ToString::to_string),
            configuration: Some(ConfigMark::read(&config.path)),
            bots,
            sessions,
        };
        Arc::new(Self {
            state: state.clone(),
            clock,
            status: Mutex::new(status),
        })
    }

    /// Changes the status of a bot, and writes the file if that changed anything.
    pub fn update(&self, bot: BotId, change: impl FnOnce(&mut BotStatus, Timestamp)) {
        let changed = {
            let mut all = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.now();
            let mut bots = all.bots.iter_mut();
            bots.find(|status| status.id == Some(bot))
                .is_some_and(|status| {
                    let before = status.clone();
                    change(status, now);
                    *status != before
                })
        };
        if changed {
            self.write();
        }
    }

    /// Writes the file. A failure is logged only: nothing depends on the file.
    pub fn write(&self) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file(&self.state).write(&*status) {
            tracing::warn!(error = %crate::error_chain::Chain(&error), "cannot write gateway.json");
        }
    }
}
