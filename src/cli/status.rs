//! `telepost status`: the report, as text or JSON.

use super::failure::Failure;
use super::setup::Setup;
use super::terminal::{format_table, print, print_json};
use crate::clock::Timestamp;
use crate::ops::status::waking::{STOP_HOOK, WakingReport, WayReport};
use crate::ops::status::{BotReport, Report, SessionReport};
use crate::state::bots::rate_limits::TOPIC_IS_CLOSED;
use crate::state::gateway_status::BotHealth;
use crate::telegram::error::Conflict;
use crate::text::{format_count, format_span, one_line};

pub(super) fn run(setup: &Setup, json: bool) -> Result<(), Failure> {
    let now = setup.clock.now();
    let report = Report::gather(&setup.state, &setup.config, now)?;
    if json {
        return print_json(&report);
    }
    print(&format_report(&report, now))
}

fn format_report(report: &Report, now: Timestamp) -> String {
    let mut parts = vec![match &report.gateway {
        Some(gateway) => format!(
            "Gateway: running for {}, pid {}, version {}\n",
            format_span(gateway.uptime_s),
            gateway.pid,
            gateway.version
        ),
        None => "Gateway: not running. Start it with `telepost gateway --detach`; Telegram keeps messages for 24 hours.\n".to_owned(),
    }];
    if let Some(proxy) = report.gateway.as_ref().and_then(|one| one.proxy.as_ref()) {
        parts.push(format!(
            "Telegram is reached through the proxy {}\n",
            one_line(proxy)
        ));
    }
    if !report.bots.is_empty() {
        let head = ["bot", "id", "state", "last poll", "refused today"];
        parts.push(format_table(&head, report.bots.iter().map(bot_row)));
    }
    let head = [
        "session",
        "waiting",
        "shown",
        "oldest",
        "to send",
        "held until",
        "failed",
    ];
    let rows = report.sessions.iter().map(|one| session_row(one, now));
    parts.push(format_table(&head, rows));
    let remarks = list_remarks(report);
    if !remarks.is_empty() {
        parts.push(remarks.join("\n") + "\n");
    }
    parts.join("\n")
}

fn bot_row(bot: &BotReport) -> Vec<String> {
    let mut state = match &bot.health {
        BotHealth::Starting => "starting".to_owned(),
        BotHealth::Polling => "polling".to_owned(),
        BotHealth::Conflict(Conflict::Webhook) => "conflict: a webhook is set".to_owned(),
        BotHealth::Conflict(Conflict::OtherPoller) => {
            "conflict: another program polls this bot".to_owned()
        }
        BotHealth::Off(reason) => format!("off: {reason}"),
    };
    if let Some(moment) = &bot.retry_moment {
        state.extend(["; tried again at ", moment]);
    }
    let polled = bot.last_poll_age_s;
    vec![
        bot.username
            .as_ref()
            .map(|name| format!("@{name}"))
            .unwrap_or_default(),
        bot.id.map(|id| id.to_string()).unwrap_or_default(),
        state,
        polled.map_or_else(
            || "never".to_owned(),
            |age| format!("{} ago", format_span(age)),
        ),
        bot.refused_today.to_string(),
    ]
}

fn session_row(session: &SessionReport, now: Timestamp) -> Vec<String> {
    let mut id = session.id.to_string();
    if !session.configured {
        id.push_str(" (not configured)");
    }
    vec![
        id,
        session.pending.to_string(),
        session.held.to_string(),
        session.oldest_age_s.map(format_span).unwrap_or_default(),
        session.outbox.to_string(),
        session.format_held_until(now).unwrap_or_default(),
        session.failed.to_string(),
    ]
}

/// The lines below the tables: each says what a person should know or do.
fn list_remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    if report.disk_full {
        // The log of the gateway has no room for this either.
        remarks.push("The disk of the state folder is full: make room. Until then nothing is taken from Telegram, which keeps messages for 24 hours, and nothing is sent; no message is lost.".to_owned());
    }
    for session in &report.sessions {
        let id = &session.id;
        if !session.configured {
            remarks.push(format!("{id} is not in the configuration: no agent gets its messages, and nothing is sent for it. Put it back into sessions.json, or remove it with `telepost prune {id}`."));
        }
        if let Some(reason) = session
            .reason
            .as_ref()
            .filter(|_| session.held_until.is_none())
        {
            remarks.push(format!(
                "{id}: a message to send waits in vain: {}.",
                one_line(reason)
            ));
        } else if session.reason.as_deref() == Some(TOPIC_IS_CLOSED) {
            remarks.push(format!("{id}: {TOPIC_IS_CLOSED}. Messages for it are kept, and sent when it is opened again."));
        } else if let Some(reason) = &session.reason {
            remarks.push(format!("{id}: Telegram accepts no messages for one of its chats ({}). Messages for that chat are kept, and retried every hour and when someone writes there.", one_line(reason)));
        }
        if session.failed > 0 {
            remarks.push(format!(
                "{id}: {} could not be delivered; `telepost outbox list` shows why.",
                format_count(session.failed, "message")
            ));
        }
        if session.repeats > 0 {
            remarks.push(format!("{id}: {} may appear twice, because it was unclear whether the first copy had arrived; the second is marked.", format_count(session.repeats, "message")));
        }
    }
    for session in &report.sessions {
        remarks.extend(describe_waking(session));
    }
    for chat in &report.parked {
        let topic = chat.topic_id.map(|topic| format!(", topic {topic},"));
        remarks.push(format!(
            "Chat {}{} accepts no messages: {} (since {}).",
            chat.chat_id,
            topic.unwrap_or_default(),
            one_line(&chat.reason),
            chat.since
        ));
    }
    for chat in &report.moved {
        remarks.push(format!(
            "The group {} became a supergroup: replace the id with {} in chat_ids in sessions.json.",
            chat.from, chat.to
        ));
    }
    if report.dead_letters > 0 {
        remarks.push(format!(
            "Unreadable updates: {}; `telepost inbox list` shows them.",
            report.dead_letters
        ));
    }
    if report.quarantine > 0 {
        remarks.push(format!(
            "Damaged files: {}, kept in the folder quarantine of the state folder.",
            report.quarantine
        ));
    }
    remarks
}

/// How the agents of a session are woken, or why they are not.
fn describe_waking(session: &SessionReport) -> Option<String> {
    let (id, waking) = (&session.id, &session.waking);
    if waking.agents.is_empty() {
        return describe_absence(session);
    }
    let (hooks, ways): (Vec<&WayReport>, Vec<&WayReport>) = waking
        .ways
        .iter()
        .filter(|way| way.live)
        .partition(|way| way.name == STOP_HOOK);
    let ways: Vec<String> = ways.into_iter().map(describe_way).collect();
    let hook: String = hooks.into_iter().map(describe_way).collect();
    let ways = ways.join(", else ");
    Some(match (ways.is_empty(), hook.is_empty()) {
        (true, true) => format!(
            "{id}: its agent cannot be woken. It sees messages only when it calls telegram_poll; tell it to."
        ),
        (true, false) => format!(
            "{id}: its agent cannot be woken while it is idle. It learns of messages at the end of each turn through {hook}."
        ),
        (false, true) => format!("{id}: its agent is woken by {ways}."),
        (false, false) => format!(
            "{id}: its agent is woken by {ways}, and learns of messages at the end of each turn through {hook}."
        ),
    })
}

/// The remark on a session without an agent.
fn describe_absence(session: &SessionReport) -> Option<String> {
    let WakingReport { ways, down, .. } = &session.waking;
    let id = &session.id;
    if let Some(down) = down {
        return Some(format!(
            "{id}: not running since {} ({}); the people who wrote were told. The next agent that you start gets the waiting messages.",
            down.since, down.reason
        ));
    }
    if session.pending <= session.held {
        return None;
    }
    let refused = ways.iter().find_map(|way| way.refused.as_deref());
    Some(match refused {
        Some(refused) => format!(
            "{id}: its agent was not woken by tmux, {}.",
            one_line(refused)
        ),
        None => format!(
            "{id}: no agent is there. The next one that you start gets the waiting messages."
        ),
    })
}

fn describe_way(way: &WayReport) -> String {
    let worked = way.worked_at.as_ref();
    let worked = worked.map(|at| format!("last worked {at}"));
    let failed = way.failed_at.as_ref().zip(way.reason.as_ref());
    let failed = failed.map(|(at, reason)| format!("failed {at}: {}", one_line(reason)));
    let refused = way.refused.as_deref().map(one_line);
    let details: Vec<String> = worked.into_iter().chain(failed).chain(refused).collect();
    if details.is_empty() {
        return way.name.clone();
    }
    format!("{} ({})", way.name, details.join("; "))
}
