//! `telepost outbox`.

use super::arguments::OutboxAction;
use super::failure::Failure;
use super::setup::{LenientSetup, block_on};
use super::terminal::{format_table, print, print_json};
use crate::ops::list_sessions;
use crate::ops::outbox::{OutboxAdmin, OutboxRow};
use crate::state::gateway_status;
use crate::text::{format_span, one_line};

pub(super) fn run(setup: &LenientSetup, action: &OutboxAction) -> Result<(), Failure> {
    let sessions = list_sessions(setup.config.as_ref().ok(), &setup.state)?;
    let admin = OutboxAdmin::new(&setup.state, sessions, setup.clock.clone());
    match action {
        OutboxAction::List { json: true } => print_json(&admin.list()?),
        OutboxAction::List { json: false } => print(&format_list(&admin.list()?)),
        OutboxAction::Retry { id } => print(&admin.retry(id)?),
        OutboxAction::Drop { id } => {
            let gateway_runs = gateway_status::is_running(&setup.state)?;
            print(&block_on(admin.drop(id, gateway_runs))??)
        }
    }
}

fn format_list(rows: &[OutboxRow]) -> String {
    if rows.is_empty() {
        return "No messages are waiting to be sent, and none have failed.\n".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let sent = match row.messages {
            Some(messages) if messages > 1 => format!(" ({} of {messages} sent)", row.sent),
            Some(_) | None => String::new(),
        };
        vec![
            short_id(row),
            row.session.to_string(),
            format_span(row.age_s),
            row.to.clone(),
            row.kind.to_owned(),
            format!("{}{sent}", row.state),
            row.text.clone(),
        ]
    });
    let head = ["id", "session", "age", "to", "kind", "state", "text"];
    let table = format_table(&head, lines);
    let reasons = rows.iter().filter_map(|row| {
        let reason = one_line(row.reason.as_deref()?);
        Some(format!("{}: {reason}\n", short_id(row)))
    });
    let reasons: String = reasons.collect();
    let gap = if reasons.is_empty() { "" } else { "\n" };
    format!("{table}{gap}{reasons}")
}

/// Unique in practice, and short enough to be typed.
fn short_id(row: &OutboxRow) -> String {
    row.id.to_string().chars().take(18).collect()
}
