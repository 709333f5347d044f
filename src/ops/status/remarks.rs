//! The lines below the tables of `status`: what is off, each with its next step, and what is good to know. The
//! same words are in its JSON. Pure.

use super::waking::{STOP_HOOK, WayReport};
use super::{BotReport, Report, SessionReport, StatusSources};
use crate::state::bots::rate_limits::TOPIC_IS_CLOSED;
use crate::state::gateway_status::{BotHealth, GatewayStatus};
use crate::telegram::error::Conflict;
use crate::text::{format_count, format_span, one_line};

/// Everything that is off.
pub(super) fn list_problems(
    report: &Report,
    sources: &StatusSources<'_>,
    status: Option<&GatewayStatus>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if report.gateway.is_none() {
        problems.push("Gateway: not running. Start it with `telepost gateway --detach`; Telegram keeps messages for 24 hours.".to_owned());
    }
    if let Err(error) = sources.config {
        problems.push(format!("The configuration cannot be used: {error}"));
    }
    if let Some(status) = status {
        problems.extend(describe_gateway(report, sources, status));
    }
    if report.disk_full {
        // The log of the gateway has no room for this either.
        problems.push("The disk of the state folder is full: free some space. Until then, no messages are fetched or sent. Telegram keeps new messages for 24 hours; stored messages are safe.".to_owned());
    }
    let env_file = report.configuration.with_file_name(".env");
    let env_file = env_file.display().to_string();
    problems.extend(
        report
            .bots
            .iter()
            .filter_map(|bot| describe_bot(bot, &env_file)),
    );
    for session in &report.sessions {
        problems.extend(describe_session(session));
    }
    for chat in &report.parked {
        let topic = chat.topic_id.map(|topic| format!(", topic {topic},"));
        problems.push(format!(
            "Chat {}{} accepts no messages: {} (since {}). Messages for it are kept; they are sent when it accepts them again.",
            chat.chat_id,
            topic.unwrap_or_default(),
            one_line(&chat.reason),
            chat.since
        ));
    }
    for chat in &report.moved {
        problems.push(format!(
            "The group {} became a supergroup: replace the id with {} in chat_ids in sessions.json.",
            chat.from, chat.to
        ));
    }
    if report.dead_letters > 0 {
        problems.push(format!(
            "Unreadable updates: {}; `telepost inbox list` shows them.",
            report.dead_letters
        ));
    }
    problems
}

/// The things that are good to know.
pub(super) fn list_notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for session in &report.sessions {
        if session.repeats > 0 {
            notes.push(format!("{}: {} may appear twice, because it was unclear whether the first copy had arrived; the second copy is marked.", session.id, format_count(session.repeats, "message")));
        }
    }
    notes.extend(report.sessions.iter().filter_map(describe_waking));
    for bot in report.bots.iter().filter(|bot| bot.not_addressed_today > 0) {
        notes.push(format!(
            "{}: {} in groups did not name the bot today, so no session got them. `\"require_mention\": false` admits them.",
            name_bot(bot),
            format_count(usize::try_from(bot.not_addressed_today).unwrap_or(usize::MAX), "message")
        ));
    }
    if report.quarantine > 0 {
        notes.push(format!(
            "Damaged files: {}, kept in the `quarantine` folder of the state folder. Delete them if you do not need them.",
            report.quarantine
        ));
    }
    notes
}

/// The differences between the running gateway, this program and its configuration.
fn describe_gateway(
    report: &Report,
    sources: &StatusSources<'_>,
    status: &GatewayStatus,
) -> Vec<String> {
    let mut lines = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if status.version != own {
        lines.push(format!(
            "The gateway is telepost {}, this program is {own}: run `telepost gateway --detach --replace`.",
            one_line(&status.version)
        ));
    }
    let mark = status.configuration.as_ref();
    match mark.filter(|mark| mark.path != report.configuration) {
        Some(mark) => lines.push(format!(
            "The gateway runs with another configuration, {}. Name that one with --config, or run `telepost gateway --detach --replace` to use {}.",
            one_line(&mark.path.display().to_string()),
            sources.config_path.display()
        )),
        None => lines.extend(status.explain_old_configuration()),
    }
    lines
}

fn describe_bot(bot: &BotReport, env_file: &str) -> Option<String> {
    let name = name_bot(bot);
    let again = bot.retry_moment.as_ref();
    let again = again.map(|moment| format!(" It is tried again at {moment}."));
    let again = again.unwrap_or_default();
    match &bot.health {
        BotHealth::Starting | BotHealth::Polling if bot.state == "not answering" => {
            let age = bot
                .last_poll_age_s
                .map(|age| format!(" for {}", format_span(age)));
            Some(format!(
                "{name} is not polled{}: the gateway is frozen, or the machine has slept. If this stays, run `telepost gateway --detach --replace`.",
                age.unwrap_or_default()
            ))
        }
        BotHealth::Starting | BotHealth::Polling => None,
        BotHealth::Conflict(conflict) => {
            let what = match conflict {
                Conflict::Webhook => "a webhook is set",
                Conflict::OtherPoller => "another program polls this bot",
            };
            Some(format!("{name}: conflict: {what}. {}", conflict.advice()))
        }
        BotHealth::Unreachable(reason) => Some(format!(
            "{name}: {}.{again} If this stays, check the network of this machine, and whether it needs a proxy.",
            one_line(reason.trim_end_matches('.'))
        )),
        BotHealth::Off(reason) if bot.id.is_none() => Some(format!(
            "{name} is off: {}. Write the token into {env_file}, then run `telepost gateway --detach --replace`.",
            one_line(reason)
        )),
        BotHealth::Off(reason) => Some(format!(
            "{name} is off: {}.{again} `telepost check --online` says whether Telegram takes its token; a new one goes into {env_file}, followed by `telepost gateway --detach --replace`.",
            one_line(reason)
        )),
    }
}

fn name_bot(bot: &BotReport) -> String {
    match (&bot.username, bot.id) {
        (Some(name), _) => format!("@{}", one_line(name)),
        (None, Some(id)) => format!("Bot {id}"),
        (None, None) => "A bot".to_owned(),
    }
}

fn describe_session(session: &SessionReport) -> Vec<String> {
    let (id, mut lines) = (&session.id, Vec::new());
    if !session.configured {
        lines.push(format!("{id} is not in the configuration: no agent gets its messages, and nothing is sent for it. Put it back into sessions.json, or remove it with `telepost prune {id}`."));
    }
    if !session.served {
        lines.push(format!("{id} is not served: the running gateway does not know it, or has no token for it. Run `telepost gateway --detach --replace`."));
    }
    match &session.reason {
        Some(reason) if session.held_until.is_none() => lines.push(format!(
            "{id}: a message cannot be sent: {}.",
            one_line(reason)
        )),
        Some(reason) if reason == TOPIC_IS_CLOSED => lines.push(format!("{id}: {TOPIC_IS_CLOSED}. Messages for it are kept, and sent when it is opened again.")),
        Some(reason) => lines.push(format!("{id}: Telegram accepts no messages for one of its chats ({}). Messages for that chat are kept and retried every hour, and as soon as someone writes there.", one_line(reason))),
        None => {}
    }
    if session.failed > 0 {
        lines.push(format!(
            "{id}: {} could not be delivered; `telepost outbox list` shows why.",
            format_count(session.failed, "message")
        ));
    }
    if let Some(down) = &session.waking.down {
        lines.push(format!(
            "{id}: not running since {} ({}); the people who wrote were notified. The next agent that you start gets the waiting messages.",
            down.since, down.reason
        ));
    }
    lines
}

/// How the agents of a session are woken, or why they are not.
fn describe_waking(session: &SessionReport) -> Option<String> {
    let (id, waking) = (&session.id, &session.waking);
    if waking.agents.is_empty() {
        return describe_absence(session);
    }
    if waking.agents.iter().all(|agent| agent.unclaimed) {
        return Some(describe_refusal(session).unwrap_or_else(|| {
            format!("{id}: its agent came by default: set `cwd` (or `--session`) to be woken. Until then it sees messages when it calls telegram_poll.")
        }));
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
            "{id}: its agent cannot be woken. It sees messages only when it calls telegram_poll; tell it to do so."
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
    let id = &session.id;
    if session.waking.down.is_some() || session.pending <= session.held {
        return None;
    }
    Some(describe_refusal(session).unwrap_or_else(|| {
        format!(
            "{id}: no agent is connected. The next one that you start gets the waiting messages."
        )
    }))
}

/// Why nothing was typed to an agent in the tmux session.
fn describe_refusal(session: &SessionReport) -> Option<String> {
    let ways = &session.waking.ways;
    let refused = ways.iter().find_map(|way| way.refused.as_deref())?;
    Some(format!(
        "{}: its agent was not woken by tmux ({}).",
        session.id,
        one_line(refused)
    ))
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
