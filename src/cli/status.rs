//! `telepost status`: the report, as text or JSON.

use serde_json::json;

use super::arguments::Cli;
use super::failure::{Failure, exit};
use super::setup::LenientSetup;
use super::terminal::{format_table, print, print_json};
use crate::clock::Timestamp;
use crate::config::{Config, ConfigError, Env};
use crate::error_chain::Chain;
use crate::install::client::{Client, ClientFiles};
use crate::ops::status::waking::LivingAgent;
use crate::ops::status::{BotReport, Report, SessionReport, StatusSources};
use crate::text::{format_span, one_line};

pub(super) fn run(cli: &Cli, env: &Env, json: bool) -> Result<(), Failure> {
    let gathered = gather(cli, env);
    let (report, config, now) = match gathered {
        Ok(gathered) => gathered,
        Err(failure) => {
            if json {
                let words = Chain(&failure).to_string();
                let nothing: [(); 0] = [];
                print_json(&json!({
                    "gateway": null, "bots": nothing, "sessions": nothing, "problems": [words],
                }))?;
            }
            return Err(failure);
        }
    };
    if json {
        print_json(&report)?;
    } else {
        print(&format_report(&report, now))?;
    }
    config?;
    if report.problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Reported(exit::NOT_DONE))
}

type Gathered = (Report, Result<Config, ConfigError>, Timestamp);

fn gather(cli: &Cli, env: &Env) -> Result<Gathered, Failure> {
    let inspection = LenientSetup::load(cli, env)?;
    let claude = ClientFiles::locate(Client::Claude, env);
    let now = inspection.clock.now();
    let sources = StatusSources {
        state: &inspection.state,
        config_path: &inspection.path,
        config: inspection.config.as_ref(),
        claude: claude.as_ref(),
    };
    let report = Report::gather(&sources, now)?;
    Ok((report, inspection.config, now))
}

fn format_report(report: &Report, now: Timestamp) -> String {
    let mut head = match &report.gateway {
        Some(gateway) => format!(
            "Gateway: running for {}, pid {}, version {}\n",
            format_span(gateway.uptime_s),
            gateway.pid,
            one_line(&gateway.version)
        ),
        None => "Gateway: not running\n".to_owned(),
    };
    let proxy = report.gateway.as_ref().and_then(|one| one.proxy.as_ref());
    let proxy = proxy.map(|proxy| {
        format!(
            "Telegram is reached through the proxy {}\n",
            one_line(proxy)
        )
    });
    let places = format!(
        "Configuration: {}\nState: {}\nLog: {}\n",
        report.configuration.display(),
        report.state.display(),
        report.log.display()
    );
    head.extend([proxy.unwrap_or_default(), places]);
    let mut parts = vec![head];
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
    let agents = report.sessions.iter().flat_map(|session| {
        let agents = session.waking.agents.iter();
        agents.map(|agent| agent_row(session, agent))
    });
    let agents: Vec<Vec<String>> = agents.collect();
    if !agents.is_empty() {
        let head = [
            "session", "agent", "state", "bound by", "woken by", "folder",
        ];
        parts.push(format_table(&head, agents));
    }
    for lines in [&report.problems, &report.notes] {
        if !lines.is_empty() {
            parts.push(lines.join("\n") + "\n");
        }
    }
    parts.join("\n")
}

fn bot_row(bot: &BotReport) -> Vec<String> {
    let name = bot.username.as_ref();
    vec![
        name.map(|name| format!("@{}", one_line(name)))
            .unwrap_or_default(),
        bot.id.map(|id| id.to_string()).unwrap_or_default(),
        bot.state.to_owned(),
        bot.last_poll_age_s.map_or_else(
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
    } else if !session.served {
        id.push_str(" (not served)");
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

fn agent_row(session: &SessionReport, agent: &LivingAgent) -> Vec<String> {
    let client = agent.client.as_deref().unwrap_or("unknown");
    let folder = agent.folder.as_ref();
    let folder = folder.map(|folder| one_line(&folder.display().to_string()));
    vec![
        session.id.to_string(),
        format!("{}, pid {}", one_line(client), agent.pid),
        agent.state.name().to_owned(),
        agent.bound_by.unwrap_or_default().to_owned(),
        agent.ways.join(", "),
        folder.unwrap_or_default(),
    ]
}
