//! The state of gateway, bots and sessions, gathered from the disk.

mod remarks;
pub(crate) mod waking;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::remarks::{list_notes, list_problems};
use self::waking::{WakingReport, gather_waking};
use crate::clock::Timestamp;
use crate::config::{Config, ConfigError};
use crate::ids::{BotId, ChatId, SessionId, TopicId};
use crate::install::client::ClientFiles;
use crate::install::find_missing_rule;
use crate::ops::list_sessions;
use crate::state::agents::holder;
use crate::state::bots::migrations;
use crate::state::bots::rate_limits::{self, HeldUntil, TOPIC_IS_CLOSED};
use crate::state::gateway_status::{self, BotHealth, GatewayStatus};
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::inbox::dead_letters;
use crate::state::layout::StateDir;
use crate::state::logs;
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::state_file::ReadError;
use crate::waker::methods::tmux::guard::TypingRules;

/// How many waiting deliveries are read in search of a blocked one.
const READ_MAX: usize = 1000;

/// The places that a report is gathered from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusSources<'a> {
    pub(crate) state: &'a StateDir,
    /// The place of the configuration.
    pub(crate) config_path: &'a Path,
    /// The configuration, or why it is refused: then the gateway's own words count.
    pub(crate) config: Result<&'a Config, &'a ConfigError>,
    /// The files of Claude Code, if it is known where they are.
    pub(crate) claude: Option<&'a ClientFiles>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The gateway; `None` if none runs.
    pub(crate) gateway: Option<GatewayReport>,
    pub(crate) bots: Vec<BotReport>,
    pub(crate) sessions: Vec<SessionReport>,
    /// Groups that became supergroups, and whose new id is not in the configuration yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) moved: Vec<MovedChat>,
    /// Chats that Telegram accepts no messages for, as far as is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parked: Vec<BlockedChat>,
    /// Unreadable updates that are kept; `telepost inbox list` shows them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dead_letters: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) quarantine: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) disk_full: bool,
    pub(crate) configuration: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
    /// Everything that is off, each with its next step, in the words of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<String>,
    /// Things to know that are not off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct GatewayReport {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) uptime_s: u64,
    /// The proxy to Telegram, and the place that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BotReport {
    /// The bot; `None` while its token is not set.
    pub(crate) id: Option<BotId>,
    pub(crate) username: Option<String>,
    /// Whether its updates arrive; `polling`, `conflict` and `off` say it in JSON.
    #[serde(skip)]
    pub(crate) health: BotHealth,
    /// Whether it is polled: its last poll was answered, and not too long ago.
    pub(crate) polling: bool,
    /// Seconds since a poll was last answered.
    pub(crate) last_poll_age_s: Option<u64>,
    /// The other receiver of its updates: `other_poller` or `webhook`.
    pub(crate) conflict: Option<&'static str>,
    /// Updates of today (UTC) from people or chats that are on no list.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) refused_today: u64,
    /// Messages of today (UTC) from groups that do not name the bot.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) not_addressed_today: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) off: Option<String>,
    /// Why Telegram cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreachable: Option<String>,
    /// How it stands, in the words of the text.
    pub(crate) state: &'static str,
    /// When it is polled again after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<String>,
    /// The same, for people.
    #[serde(skip)]
    pub(crate) retry_moment: Option<String>,
}

fn is_zero<N: Default + PartialEq>(count: &N) -> bool {
    *count == N::default()
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SessionReport {
    pub(crate) id: SessionId,
    pub(crate) pending: usize,
    /// How many of them an agent has seen.
    pub(crate) held: usize,
    /// Always 0, because dead letters belong to a bot; the key is part of the JSON contract.
    pub(crate) dead: usize,
    pub(crate) outbox: usize,
    pub(crate) failed: usize,
    pub(crate) oldest_age_s: Option<u64>,
    /// Until when the first blocked delivery waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_until: Option<String>,
    /// Why, if it is not a rate limit: Telegram refuses messages for the chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// How many messages were sent once more, marked, because their arrival was in doubt.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) repeats: usize,
    /// MCP servers that an agent has used and that live.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) agents: usize,
    /// Whether it is in the configuration. If not, it is not served.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub(crate) configured: bool,
    /// Whether the running gateway serves it, if one runs.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub(crate) served: bool,
    /// How its agents can be woken; absent while no agent is known.
    #[serde(skip_serializing_if = "WakingReport::is_empty")]
    pub(crate) waking: WakingReport,
    /// The same as `held_until`, for people.
    #[serde(skip)]
    opens: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BlockedChat {
    pub(crate) bot_id: BotId,
    pub(crate) chat_id: ChatId,
    /// The topic, if only a topic is closed; absent for General.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic_id: Option<TopicId>,
    /// Why, in Telegram's words or ours.
    pub(crate) reason: String,
    /// Since when, or when it was last tried.
    pub(crate) since: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MovedChat {
    pub(crate) bot_id: BotId,
    /// The id in `chat_ids`.
    pub(crate) from: ChatId,
    /// The id that it has now.
    pub(crate) to: ChatId,
}

impl Report {
    /// Reads the disk. Changes nothing, except that damaged files move to the quarantine as everywhere.
    pub(crate) fn gather(sources: &StatusSources<'_>, now: Timestamp) -> Result<Self, ReadError> {
        let (state, config) = (sources.state, sources.config.ok());
        let status = if gateway_status::is_running(state)? {
            gateway_status::read(state, now)?
        } else {
            None
        };
        let sessions = list_sessions(config, state)?;
        let sessions = sessions
            .iter()
            .map(|id| gather_session(state, config, status.as_ref(), id, now))
            .collect::<Result<_, ReadError>>()?;
        let mut report = Self {
            gateway: status.as_ref().map(|file| GatewayReport {
                pid: file.pid,
                version: file.version.clone(),
                uptime_s: now.since(file.started_at).as_secs(),
                proxy: file.proxy.clone(),
            }),
            bots: status
                .as_ref()
                .map(|file| report_bots(file, now))
                .unwrap_or_default(),
            sessions,
            moved: find_moved_chats(state, config, now)?,
            parked: find_blocked_chats(state, now)?,
            dead_letters: dead_letters::count(state)?,
            quarantine: state.quarantine_count()?,
            disk_full: state.is_full(),
            configuration: sources.config_path.to_owned(),
            state: state.root().to_owned(),
            log: logs::folder(state),
            problems: Vec::new(),
            notes: Vec::new(),
        };
        report.problems = list_problems(&report, sources, status.as_ref());
        report.notes = list_notes(&report);
        report
            .notes
            .extend(sources.claude.and_then(find_missing_rule));
        Ok(report)
    }
}

fn gather_session(
    state: &StateDir,
    config: Option<&Config>,
    status: Option<&GatewayStatus>,
    id: &SessionId,
    now: Timestamp,
) -> Result<SessionReport, ReadError> {
    let mut session = SessionReport::gather(state, id, now)?;
    let is_served = status.is_none_or(|status| status.sessions.contains_key(id));
    let configured = config.map(|config| config.sessions.get(id));
    session.configured = configured.map_or(is_served, |found| found.is_some());
    session.served = is_served || !session.configured;
    if session.reason.is_none()
        && let Some(status) = status
    {
        session.reason = find_missing_bot(state, id, status, now)?;
    }
    if let Some(typing) = configured.flatten().and_then(TypingRules::of) {
        session.waking = gather_waking(&state.session(id), Some(&typing), now)?;
    }
    Ok(session)
}

fn report_bots(file: &GatewayStatus, now: Timestamp) -> Vec<BotReport> {
    file.bots
        .iter()
        .map(|bot| {
            let is_stale = file.is_silent(bot, now);
            let state = match &bot.health {
                BotHealth::Starting | BotHealth::Polling if is_stale => "not answering",
                BotHealth::Starting => "starting",
                BotHealth::Polling => "polling",
                BotHealth::Conflict(_) => "conflict",
                BotHealth::Unreachable(_) => "cannot reach Telegram, tried again",
                BotHealth::Off(_) => "off",
            };
            BotReport {
                id: bot.id,
                username: bot.username.clone(),
                health: bot.health.clone(),
                polling: bot.health == BotHealth::Polling && !is_stale,
                last_poll_age_s: bot.last_poll_at.map(|at| now.since(at).as_secs()),
                refused_today: bot.refused_on.today(now),
                not_addressed_today: bot.not_addressed_on.today(now),
                retry_at: bot.retry_at.map(Timestamp::rfc3339),
                retry_moment: bot.retry_at.map(|at| at.local_moment(now)),
                conflict: bot.health.conflict(),
                off: bot.health.off().map(str::to_owned),
                unreachable: bot.health.unreachable().map(str::to_owned),
                state,
            }
        })
        .collect()
}

impl SessionReport {
    /// Gathers the report of one session, as if it were configured: the disk does not know.
    pub(crate) fn gather(
        state: &StateDir,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Self, ReadError> {
        let dir = state.session(id);
        let inbox = Inbox::new(&dir);
        let outbox = Outbox::new(state, dir.clone());
        let pending = inbox.summarize(&dir)?;
        let mut held = Holds::new(&dir).held_entries(now)?;
        held.retain(|name| inbox.is_pending(*name));
        let waiting = outbox.waiting()?;
        let blocked = find_first_blocked(state, &outbox, &waiting, now)?;
        Ok(Self {
            id: id.clone(),
            configured: true,
            served: true,
            agents: holder::list_connected(&dir)?.len(),
            pending: pending.count,
            held: held.len(),
            dead: 0,
            outbox: waiting.len(),
            failed: outbox.failed()?.len(),
            oldest_age_s: pending.oldest.map(|at| now.since(at).as_secs()),
            held_until: blocked.as_ref().map(|held| held.opens.rfc3339()),
            opens: blocked.as_ref().map(|held| held.opens),
            reason: blocked.and_then(|held| held.reason),
            repeats: outbox.repeats(now)?,
            waking: gather_waking(&dir, None, now)?,
        })
    }

    pub(crate) fn format_held_until(&self, now: Timestamp) -> Option<String> {
        let opens = self.opens?.local_moment(now);
        Some(match &self.reason {
            None => opens,
            Some(_) => format!("{opens} (blocked)"),
        })
    }
}

/// Why one of the oldest waiting deliveries cannot go out, if the gateway does not have its bot.
fn find_missing_bot(
    state: &StateDir,
    session: &SessionId,
    status: &GatewayStatus,
    now: Timestamp,
) -> Result<Option<String>, ReadError> {
    let outbox = Outbox::new(state, state.session(session));
    Ok(outbox
        .oldest_bots(now)?
        .into_iter()
        .find_map(|bot| status.explain_missing(bot)))
}

fn find_first_blocked(
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
    for id in waiting.iter().take(READ_MAX) {
        let delivery = match outbox.read(id, now) {
            Ok(Some(delivery)) => delivery,
            Ok(None) | Err(ReadError::Quarantined { .. }) => continue,
            Err(error) => return Err(error),
        };
        let held = bots
            .get(&delivery.address.bot_id)
            .and_then(|(gates, moves)| {
                let chat = moves.current(delivery.address.chat_id);
                gates.held(chat, delivery.address.topic_id, now)
            });
        if held.is_some() {
            return Ok(held);
        }
    }
    Ok(None)
}

fn find_blocked_chats(state: &StateDir, now: Timestamp) -> Result<Vec<BlockedChat>, ReadError> {
    let mut found = Vec::new();
    for bot_id in state.all_bots()? {
        let gates = match rate_limits::read_limits(state, bot_id, now) {
            Err(ReadError::Quarantined { .. }) => continue,
            gates => gates?,
        };
        found.extend(gates.chats.into_iter().filter_map(|gate| {
            Some(BlockedChat {
                bot_id,
                chat_id: gate.chat_id,
                topic_id: None,
                reason: gate.reason?,
                since: gate.pause.closed_at.rfc3339(),
            })
        }));
        found.extend(gates.topics.into_iter().map(|closed| BlockedChat {
            bot_id,
            chat_id: closed.chat_id,
            topic_id: closed.topic_id,
            reason: TOPIC_IS_CLOSED.to_owned(),
            since: closed.pause.closed_at.rfc3339(),
        }));
    }
    Ok(found)
}

fn find_moved_chats(
    state: &StateDir,
    config: Option<&Config>,
    now: Timestamp,
) -> Result<Vec<MovedChat>, ReadError> {
    let chats: BTreeSet<ChatId> = config
        .into_iter()
        .flat_map(|config| config.sessions.values())
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
