//! How everything is: one report for `status`, later for the doctor, the health file and the chat.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::gateway::presence::{self, PresenceFile};
use crate::ids::{BotId, SessionId};
use crate::inbox::disk::Inbox;
use crate::outbox::disk::Outbox;
use crate::outbox::gates;
use crate::store::format::{self, ReadError};
use crate::store::layout::StateDir;
use crate::mcp::conversation::Conversation;
use crate::store::atomic;

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The gateway; `None` if none runs.
    pub gateway: Option<GatewayReport>,
    /// Its bots.
    pub bots: Vec<BotReport>,
    /// The sessions.
    pub sessions: Vec<SessionReport>,
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
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
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
    pub fn gather(state: &StateDir, configured: &[SessionId], now: Timestamp) -> Result<Self, ReadError> {
        let presence = match presence::is_running(state)? {
            true => presence::read(state, now)?,
            false => None,
        };
        let mut ids = configured.to_vec();
        for id in state.all_sessions()? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let sessions = ids.iter().map(|id| session(state, id, now)).collect::<Result<_, _>>()?;
        Ok(Self {
            gateway: presence.as_ref().map(|file| GatewayReport {
                pid: file.pid,
                version: file.version.clone(),
                uptime_s: now.since(file.started_at).as_secs(),
            }),
            bots: presence.map(|file| bots(&file, now)).unwrap_or_default(),
            sessions,
        })
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
            conflict: bot.conflict.clone(),
            off: bot.off.clone(),
        })
        .collect()
}

fn session(state: &StateDir, id: &SessionId, now: Timestamp) -> Result<SessionReport, ReadError> {
    let dir = state.session(id);
    let inbox = Inbox::new(state, dir.clone());
    let outbox = Outbox::new(state, dir.clone());
    let pending = inbox.pending()?;
    let mut held = std::collections::BTreeSet::new();
    for name in atomic::list(&dir.conversations())? {
        match format::read::<Conversation>(state, &dir.conversations().join(name), now) {
            Ok(Some(conversation)) => held.extend(conversation.entries()),
            Ok(None) | Err(ReadError::Quarantined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let waiting = outbox.waiting()?;
    let mut opens = None;
    if let Some(first) = waiting.first() {
        match outbox.read(first, now) {
            Ok(Some(delivery)) => {
                let gates = gates::read_closed(state, delivery.address.bot_id, now)?;
                let gate = gates.iter().find(|gate| gate.chat_id == delivery.address.chat_id);
                opens = gate.and_then(|gate| gate.opens_at(now)).map(Timestamp::rfc3339);
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
        oldest_age_s: pending.first().map(|name| now.since(name.received_at()).as_secs()),
        held_until: opens,
    })
}
