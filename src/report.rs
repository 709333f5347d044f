//! How everything is: one report for `status`, later for the doctor, the health file and the chat.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::gateway::presence::{self, PresenceFile};
use crate::ids::{BotId, SessionId};
use crate::inbox::dead;
use crate::inbox::disk::Inbox;
use crate::inbox::entry::EntryName;
use crate::mcp::conversation::Conversation;
use crate::outbox::disk::Outbox;
use crate::outbox::gates;
use crate::store::atomic;
use crate::store::format::{self, ReadError};
use crate::store::layout::{SessionDir, StateDir};

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The gateway; `None` if none runs.
    pub gateway: Option<GatewayReport>,
    /// Its bots.
    pub bots: Vec<BotReport>,
    /// The sessions.
    pub sessions: Vec<SessionReport>,
    /// Updates that nobody could read and that are kept: `telepost inbox list` shows them.
    #[serde(skip_serializing_if = "is_none")]
    pub dead_letters: u64,
    /// Damaged files that are kept.
    #[serde(skip_serializing_if = "is_none")]
    pub quarantine: u64,
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
    /// Whether it is polled.
    pub polling: bool,
    /// Seconds since a poll was last answered.
    pub last_poll_age_s: Option<u64>,
    /// Who else wants its updates: `other_poller` or `webhook`.
    pub conflict: Option<String>,
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
    /// When the flood gate of one of its deliveries opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
}

impl Report {
    /// Looks at the disk. Changes nothing, but damaged files are kept in quarantine as everywhere.
    pub fn gather(
        state: &StateDir,
        configured: &[SessionId],
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let presence = if presence::is_running(state)? {
            presence::read(state, now)?
        } else {
            None
        };
        let mut ids = configured.to_vec();
        for id in state.all_sessions()? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let sessions = ids
            .iter()
            .map(|id| session(state, id, now))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            gateway: presence.as_ref().map(|file| GatewayReport {
                pid: file.pid,
                version: file.version.clone(),
                uptime_s: now.since(file.started_at).as_secs(),
            }),
            bots: presence.map(|file| bots(&file, now)).unwrap_or_default(),
            sessions,
            dead_letters: dead::count(state)?,
            quarantine: atomic::list(&state.quarantine())?.len() as u64,
        })
    }
}

impl Report {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = match &self.gateway {
            Some(gateway) => format!("Gateway: runs, pid {}, version {}, for {}\n", gateway.pid, gateway.version, span(gateway.uptime_s)),
            None => "Gateway: does not run. Start it with `telepost gateway --detach`; messages wait at Telegram for 24 hours.\n".to_owned(),
        };
        if !self.bots.is_empty() {
            let rows = self.bots.iter().map(|bot| {
                let polled = bot
                    .last_poll_age_s
                    .map_or_else(|| "never".to_owned(), |age| format!("{} ago", span(age)));
                let state = match (&bot.off, bot.conflict.as_deref()) {
                    (Some(off), _) => format!("off: {off}"),
                    (None, Some("webhook")) => "conflict: a webhook is set".to_owned(),
                    (None, Some(_)) => "conflict: another program polls this bot".to_owned(),
                    (None, None) if bot.polling => "polling".to_owned(),
                    (None, None) => "starting".to_owned(),
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
            vec![
                session.id.to_string(),
                session.pending.to_string(),
                session.held.to_string(),
                session.oldest_age_s.map_or_else(String::new, span),
                session.outbox.to_string(),
                session.held_until.clone().unwrap_or_default(),
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
        let mut text = [&text, "\n", &table(&head, rows), "\n"].concat();
        if self.dead_letters > 0 {
            text.extend([
                "\nUnreadable updates: ",
                &self.dead_letters.to_string(),
                "; `telepost inbox list` shows them.\n",
            ]);
        }
        if self.quarantine > 0 {
            text.extend([
                "\nDamaged files: ",
                &self.quarantine.to_string(),
                ", kept in the folder quarantine of the state folder.\n",
            ]);
        }
        text
    }
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

fn bots(file: &PresenceFile, now: Timestamp) -> Vec<BotReport> {
    file.bots
        .iter()
        .map(|bot| BotReport {
            id: bot.id,
            username: bot.username.clone(),
            polling: bot.polling,
            last_poll_age_s: bot.last_poll_at.map(|at| now.since(at).as_secs()),
            refused_today: bot.refused_on.today(now),
            conflict: bot.conflict.clone(),
            off: bot.off.clone(),
        })
        .collect()
}

/// The entries of a session that agents were shown.
pub fn held(
    state: &StateDir,
    dir: &SessionDir,
    now: Timestamp,
) -> Result<BTreeSet<EntryName>, ReadError> {
    let mut held = BTreeSet::new();
    for name in atomic::list(&dir.conversations())? {
        match format::read::<Conversation>(state, &dir.conversations().join(name), now) {
            Ok(Some(conversation)) => held.extend(conversation.entries()),
            Ok(None) | Err(ReadError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

fn session(state: &StateDir, id: &SessionId, now: Timestamp) -> Result<SessionReport, ReadError> {
    let dir = state.session(id);
    let inbox = Inbox::new(state, dir.clone());
    let outbox = Outbox::new(state, dir.clone());
    let pending = inbox.pending()?;
    let held = held(state, &dir, now)?;
    let waiting = outbox.waiting()?;
    let mut opens = None;
    if let Some(first) = waiting.first() {
        match outbox.read(first, now) {
            Ok(Some(delivery)) => {
                let gates = match gates::read_closed(state, delivery.address.bot_id, now) {
                    Err(ReadError::Quarantined { .. }) => Vec::new(),
                    gates => gates?,
                };
                let gate = gates
                    .iter()
                    .find(|gate| gate.chat_id == delivery.address.chat_id);
                opens = gate
                    .and_then(|gate| gate.opens_at(now))
                    .map(Timestamp::rfc3339);
            }
            Ok(None) | Err(ReadError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SessionReport {
        id: id.clone(),
        pending: pending.len(),
        held: pending.intersection(&held).count(),
        dead: inbox.dead_count()?,
        outbox: waiting.len(),
        failed: outbox.failed_count()?,
        oldest_age_s: pending
            .first()
            .map(|name| now.since(name.received_at()).as_secs()),
        held_until: opens,
    })
}
