//! How everything is: one report for `status`, later for the doctor, the health file and the chat.

mod waking;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::{BotId, ChatId, SessionId};
use crate::ops::outbox::{Row, printable};
use crate::state::agents::holder;
use crate::state::bots::migrations;
use crate::state::bots::rate_limits::{self, HeldUntil};
use crate::state::gateway_status::{self, BotHealth, GatewayStatus};
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::inbox::dead_letters;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::atomic;
use crate::store::format::ReadError;
use crate::telegram::error::Conflict;
use crate::waker::methods::tmux::guard::TypingRules;

pub use crate::ops::status::waking::WakingReport;

/// How many waiting deliveries are read in search of one that is held up.
const LOOKED_AT: usize = 1000;

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The gateway; `None` if none runs.
    pub gateway: Option<GatewayReport>,
    /// Its bots.
    pub bots: Vec<BotReport>,
    /// The sessions.
    pub sessions: Vec<SessionReport>,
    /// Groups that became supergroups, and whose new id is not in the configuration yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedChat>,
    /// Chats that cannot be written to, as far as is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedChat>,
    /// Updates that nobody could read and that are kept: `telepost inbox list` shows them.
    #[serde(skip_serializing_if = "is_none")]
    pub dead_letters: u64,
    /// Damaged files that are kept.
    #[serde(skip_serializing_if = "is_none")]
    pub quarantine: u64,
    /// The disk of the state folder is full.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
}

/// The running gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatewayReport {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
}

/// One bot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BotReport {
    /// The bot; `None` while its token is not set.
    pub id: Option<BotId>,
    /// Its public name.
    pub username: Option<String>,
    /// Whether its updates arrive; `polling`, `conflict` and `off` say it in JSON.
    #[serde(skip)]
    pub health: BotHealth,
    /// Whether it is polled.
    pub polling: bool,
    /// Seconds since a poll was last answered.
    pub last_poll_age_s: Option<u64>,
    /// The other receiver of its updates: `other_poller` or `webhook`.
    pub conflict: Option<&'static str>,
    /// Updates of today (UTC) from people or chats that are on no list.
    #[serde(skip_serializing_if = "is_none")]
    pub refused_today: u64,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionReport {
    /// The session.
    pub id: SessionId,
    /// Messages that wait.
    pub pending: usize,
    /// How many of them an agent was shown.
    pub held: usize,
    /// Updates that were not understood.
    pub dead: usize,
    /// Deliveries that Telegram does not have yet.
    pub outbox: usize,
    /// Deliveries that nobody can deliver.
    pub failed: usize,
    /// Seconds that the oldest waiting message has waited.
    pub oldest_age_s: Option<u64>,
    /// When the gate of the first of its deliveries opens that is held up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
    /// Why, if it is not a flood: the chat cannot be written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many messages were sent once more, marked, because nobody knew whether they had arrived.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: usize,
    /// MCP servers that an agent has used and that live.
    #[serde(skip_serializing_if = "is_zero")]
    pub agents: usize,
    /// Whether it is in the configuration. If not, nobody serves it.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub configured: bool,
    /// How its agents can be woken; absent while nothing is known of any.
    #[serde(skip_serializing_if = "WakingReport::is_empty")]
    pub waking: WakingReport,
    /// The same as `held_until`, for people.
    #[serde(skip)]
    opens: Option<Timestamp>,
}

/// A chat that cannot be written to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParkedChat {
    /// The bot.
    pub bot_id: BotId,
    /// The chat.
    pub chat_id: ChatId,
    /// Why, in Telegram's words or ours.
    pub reason: String,
    /// Since when, or when it was last tried.
    pub since: String,
}

/// A group that has another id than the configuration says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MovedChat {
    /// The bot.
    pub bot_id: BotId,
    /// The id in `chat_ids`.
    pub from: ChatId,
    /// The id that it has now.
    pub to: ChatId,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Report {
    /// Looks at the disk. Changes nothing, but damaged files are kept in quarantine as everywhere.
    pub fn gather(state: &StateDir, config: &Config, now: Timestamp) -> Result<Self, ReadError> {
        let presence = if gateway_status::is_running(state)? {
            gateway_status::read(state, now)?
        } else {
            None
        };
        let mut ids: Vec<SessionId> = config.sessions.keys().cloned().collect();
        for id in state.all_sessions()? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let sessions = ids
            .iter()
            .map(|id| {
                let configured = config.sessions.get(id);
                let mut session = SessionReport::gather(state, id, now)?;
                session.configured = configured.is_some();
                if let Some(typing) = configured.and_then(TypingRules::of) {
                    session.waking = waking::gather(&state.session(id), Some(&typing), now)?;
                }
                Ok(session)
            })
            .collect::<Result<_, ReadError>>()?;
        Ok(Self {
            gateway: presence.as_ref().map(|file| GatewayReport {
                pid: file.pid,
                version: file.version.clone(),
                uptime_s: now.since(file.started_at).as_secs(),
            }),
            bots: presence.map(|file| bots(&file, now)).unwrap_or_default(),
            sessions,
            moved: moved(state, config, now)?,
            parked: parked(state, now)?,
            dead_letters: dead_letters::count(state)?,
            quarantine: atomic::list_names(&state.quarantine())?.len() as u64,
            disk_full: state.is_full(),
        })
    }
}

impl Report {
    /// For people.
    pub fn to_text(&self, now: Timestamp) -> String {
        let mut text = match &self.gateway {
            Some(gateway) => format!("Gateway: runs, pid {}, version {}, for {}\n", gateway.pid, gateway.version, span(gateway.uptime_s)),
            None => "Gateway: does not run. Start it with `telepost gateway --detach`; messages wait at Telegram for 24 hours.\n".to_owned(),
        };
        if !self.bots.is_empty() {
            let rows = self.bots.iter().map(|bot| {
                let polled = bot
                    .last_poll_age_s
                    .map_or_else(|| "never".to_owned(), |age| format!("{} ago", span(age)));
                let state = match &bot.health {
                    BotHealth::Starting => "starting".to_owned(),
                    BotHealth::Polling => "polling".to_owned(),
                    BotHealth::Conflict(Conflict::Webhook) => {
                        "conflict: a webhook is set".to_owned()
                    }
                    BotHealth::Conflict(Conflict::OtherPoller) => {
                        "conflict: another program polls this bot".to_owned()
                    }
                    BotHealth::Off(reason) => format!("off: {reason}"),
                };
                vec![
                    bot.username
                        .as_ref()
                        .map_or_else(String::new, |name| format!("@{name}")),
                    bot.id.map_or_else(String::new, |id| id.to_string()),
                    state,
                    polled,
                    bot.refused_today.to_string(),
                ]
            });
            text = [
                &text,
                "\n",
                &table(&["bot", "id", "state", "last poll", "refused today"], rows),
                "\n",
            ]
            .concat();
        }
        let rows = self.sessions.iter().map(|session| {
            let held = session.held_for_people(now).unwrap_or_default();
            let id = if session.configured {
                session.id.to_string()
            } else {
                format!("{} (not configured)", session.id)
            };
            vec![
                id,
                session.pending.to_string(),
                session.held.to_string(),
                session.oldest_age_s.map_or_else(String::new, span),
                session.outbox.to_string(),
                held,
                session.failed.to_string(),
                session.dead.to_string(),
            ]
        });
        let head = [
            "session",
            "waiting",
            "shown",
            "oldest",
            "to send",
            "held until",
            "failed",
            "unreadable",
        ];
        [&text, "\n", &table(&head, rows), "\n", &self.remarks()].concat()
    }

    /// What a person should know or do, a line each.
    fn remarks(&self) -> String {
        let mut remarks = Vec::new();
        if self.disk_full {
            // What the gateway would say of it has no room either.
            remarks.push("The disk of the state folder is full: make room. Until then nothing is taken from Telegram, which keeps it for 24 hours, and nothing is sent; no message is lost.".to_owned());
        }
        for session in &self.sessions {
            let id = &session.id;
            if !session.configured {
                remarks.push(format!("{id} is not in the configuration: nobody gets what waits there, and nothing is sent for it. Put it back into sessions.json, or remove it with `telepost prune {id}`."));
            }
            if let Some(reason) = &session.reason {
                remarks.push(format!("{id}: a chat cannot be written to ({reason}). What waits for it is kept, and tried again when somebody writes there and every hour."));
            }
            if session.failed > 0 {
                remarks.push(format!(
                    "{id}: {} could not be delivered; `telepost outbox list` shows why.",
                    session.failed
                ));
            }
            if session.repeats > 0 {
                remarks.push(format!("{id}: {} message(s) may stand twice, because nobody knew whether they had arrived; the second is marked.", session.repeats));
            }
        }
        for session in &self.sessions {
            let waits = session.pending > session.held;
            remarks.extend(session.waking.remark(&session.id, waits));
        }
        for parked in &self.parked {
            remarks.push(format!(
                "Chat {} cannot be written to: {} (since {}).",
                parked.chat_id,
                printable(&parked.reason),
                parked.since
            ));
        }
        for moved in &self.moved {
            remarks.push(format!("The group {} became a supergroup: put {} in its place in chat_ids in sessions.json.", moved.from, moved.to));
        }
        if self.dead_letters > 0 {
            remarks.push(format!(
                "Unreadable updates: {}; `telepost inbox list` shows them.",
                self.dead_letters
            ));
        }
        if self.quarantine > 0 {
            remarks.push(format!(
                "Damaged files: {}, kept in the folder quarantine of the state folder.",
                self.quarantine
            ));
        }
        if remarks.is_empty() {
            return String::new();
        }
        format!("\n{}\n", remarks.join("\n"))
    }
}

/// What waits and what failed, for people.
pub fn deliveries(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "Nothing waits to be sent, and nothing has failed.\n".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let sent = match row.messages {
            Some(messages) if messages > 1 => format!(" ({} of {messages} sent)", row.sent),
            Some(_) | None => String::new(),
        };
        vec![
            // Unique in practice, and short enough to be typed.
            row.id.to_string().chars().take(18).collect(),
            row.session.to_string(),
            span(row.age_s),
            row.to.clone(),
            row.kind.to_owned(),
            format!("{}{sent}", row.state),
            printable(row.reason.as_deref().unwrap_or_default()),
            row.text.clone(),
        ]
    });
    let head = [
        "id", "session", "age", "to", "kind", "state", "reason", "text",
    ];
    format!("{}\n", table(&head, lines))
}

/// A plain table.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A span of seconds as people say it.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn bots(file: &GatewayStatus, now: Timestamp) -> Vec<BotReport> {
    file.bots
        .iter()
        .map(|bot| BotReport {
            id: bot.id,
            username: bot.username.clone(),
            health: bot.health.clone(),
            polling: bot.health == BotHealth::Polling,
            last_poll_age_s: bot.last_poll_at.map(|at| now.since(at).as_secs()),
            refused_today: bot.refused_on.today(now),
            conflict: match &bot.health {
                BotHealth::Conflict(conflict) => Some(conflict.as_str()),
                BotHealth::Starting | BotHealth::Polling | BotHealth::Off(_) => None,
            },
            off: match &bot.health {
                BotHealth::Off(reason) => Some(reason.clone()),
                BotHealth::Starting | BotHealth::Polling | BotHealth::Conflict(_) => None,
            },
        })
        .collect()
}

/// The entries of a session that agents were shown.
pub fn held(dir: &SessionDir, now: Timestamp) -> Result<BTreeSet<EntryName>, ReadError> {
    let mut held = BTreeSet::new();
    let holds = Holds::new(dir);
    for holder in holds.holders()? {
        match holds.read(&holder, now) {
            Ok(Some(conversation)) => held.extend(conversation.entries()),
            Ok(None) | Err(ReadError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

impl SessionReport {
    /// Looks at one session. Whether it is configured is not to be seen on disk.
    pub fn gather(state: &StateDir, id: &SessionId, now: Timestamp) -> Result<Self, ReadError> {
        let dir = state.session(id);
        let inbox = Inbox::new(state, dir.clone());
        let outbox = Outbox::new(state, dir.clone());
        let pending = inbox.pending()?;
        let held = held(&dir, now)?;
        let waiting = outbox.waiting()?;
        let held_up = first_held_up(state, &outbox, &waiting, now)?;
        Ok(Self {
            id: id.clone(),
            configured: true,
            agents: holder::list_connected(&dir)?.len(),
            pending: pending.len(),
            held: pending.intersection(&held).count(),
            dead: inbox.dead_count()?,
            outbox: waiting.len(),
            failed: outbox.failed()?.len(),
            oldest_age_s: pending
                .first()
                .map(|name| now.since(name.received_at()).as_secs()),
            held_until: held_up.as_ref().map(|held| held.opens.rfc3339()),
            opens: held_up.as_ref().map(|held| held.opens),
            reason: held_up.and_then(|held| held.reason),
            repeats: outbox.repeats(now)?,
            waking: waking::gather(&dir, None, now)?,
        })
    }

    /// Until when the first of its deliveries is held up, for people.
    pub fn held_for_people(&self, now: Timestamp) -> Option<String> {
        let opens = self.opens?.local_moment(now);
        Some(match &self.reason {
            None => opens,
            Some(_) => format!("{opens} (parked)"),
        })
    }
}

/// Until when the first delivery waits that a gate holds up.
fn first_held_up(
    state: &StateDir,
    outbox: &Outbox,
    waiting: &BTreeSet<DeliveryId>,
    now: Timestamp,
) -> Result<Option<HeldUntil>, ReadError> {
    if waiting.is_empty() {
        return Ok(None);
    }
    let mut bots = BTreeMap::new();
    for bot in state.all_bots()? {
        let gates = match rate_limits::read_limits(state, bot, now) {
            Err(ReadError::Quarantined { .. }) => continue,
            gates => gates?,
        };
        if !gates.is_empty() {
            bots.insert(bot, (gates, migrations::read_migrations(state, bot, now)?));
        }
    }
    if bots.is_empty() {
        return Ok(None);
    }
    for id in waiting.iter().take(LOOKED_AT) {
        let delivery = match outbox.read(id, now) {
            Ok(Some(delivery)) => delivery,
            Ok(None) | Err(ReadError::Quarantined { .. }) => continue,
            Err(error) => return Err(error),
        };
        let held = bots
            .get(&delivery.address.bot_id)
            .and_then(|(gates, moves)| gates.held(moves.current(delivery.address.chat_id), now));
        if held.is_some() {
            return Ok(held);
        }
    }
    Ok(None)
}

/// The chats that cannot be written to.
fn parked(state: &StateDir, now: Timestamp) -> Result<Vec<ParkedChat>, ReadError> {
    let mut found = Vec::new();
    for bot_id in state.all_bots()? {
        let gates = match rate_limits::read_limits(state, bot_id, now) {
            Err(ReadError::Quarantined { .. }) => continue,
            gates => gates?,
        };
        found.extend(gates.blocked.into_iter().filter_map(|gate| {
            Some(ParkedChat {
                bot_id,
                chat_id: gate.chat_id,
                reason: gate.reason?,
                since: gate.pause.closed_at.rfc3339(),
            })
        }));
    }
    Ok(found)
}

/// The configured chats that have another id now.
fn moved(state: &StateDir, config: &Config, now: Timestamp) -> Result<Vec<MovedChat>, ReadError> {
    let chats: BTreeSet<ChatId> = config
        .sessions
        .values()
        .flat_map(|session| session.chat_ids.iter().copied())
        .collect();
    let mut found = Vec::new();
    for bot_id in state.all_bots()? {
        let moves = migrations::read_migrations(state, bot_id, now)?;
        for from in moves.all().map(|migration| migration.from) {
            let to = moves.current(from);
            if chats.contains(&from) && !chats.contains(&to) {
                found.push(MovedChat { bot_id, from, to });
            }
        }
    }
    Ok(found)
}
