//! `telepost inbox`.

use std::io::{self, Write as _};

use super::arguments::InboxAction;
use super::failure::Failure;
use super::setup::LenientSetup;
use super::terminal::{format_table, print, print_json};
use crate::ops::inbox::{AdminResult, InboxAdmin, InboxPage, InboxRow};
use crate::telegram::update::content::short;
use crate::text::{format_span, one_line};

const TEXT_MAX: usize = 60;

pub(super) fn run(
    setup: &LenientSetup,
    session: Option<&str>,
    action: &InboxAction,
) -> Result<(), Failure> {
    let only = session.map(|name| setup.find_session(name)).transpose()?;
    let admin = InboxAdmin {
        state: &setup.state,
        config: setup.config.as_ref().ok(),
        clock: &setup.clock,
        only: only.as_ref(),
    };
    match action {
        InboxAction::List { json, limit, after } => {
            let page = admin.list(*limit, after.as_deref())?;
            let more = format_more(&page);
            if *json {
                // The list stays a list for programs.
                drop(io::stderr().write_all(more.as_bytes()));
                return print_json(&page.rows);
            }
            let gap = if more.is_empty() { "" } else { "\n" };
            print(&format!("{}{gap}{more}", format_list(&page.rows)))
        }
        InboxAction::Show { ids } => {
            let all: Result<Vec<_>, _> = ids.iter().map(|id| admin.show(id)).collect();
            all?.iter().try_for_each(print_json)
        }
        InboxAction::Retry { all: true, .. } => report(&admin.retry(&[])?),
        InboxAction::Retry { ids, .. } => report(&admin.retry(ids)?),
        InboxAction::Drop { ids } => report(&admin.drop(ids)?),
    }
}

fn format_more(page: &InboxPage) -> String {
    let lines = page.more.iter().map(|(session, left, last)| {
        format!(
            "{session}: {left} more; `telepost inbox list --session {session} --after {last}` shows the next.\n"
        )
    });
    lines.collect()
}

fn format_list(rows: &[InboxRow]) -> String {
    if rows.is_empty() {
        return "No messages are waiting, and no updates are unreadable.\n".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let text = row.text.as_ref().or(row.reason.as_ref());
        let text = text.map(String::as_str).unwrap_or_default();
        let place = row.session.as_ref().map(ToString::to_string);
        vec![
            row.id.clone(),
            place.unwrap_or_else(|| format!("(bot {})", row.bot_id)),
            row.state.to_owned(),
            format_span(row.age_s),
            row.kind.clone().unwrap_or_default(),
            one_line(row.from.as_deref().unwrap_or_default()),
            one_line(&short(text, TEXT_MAX)),
        ]
    });
    let head = ["id", "session", "state", "age", "kind", "from", "text"];
    format_table(&head, lines)
}

fn report(results: &[AdminResult]) -> Result<(), Failure> {
    if results.is_empty() {
        return print("There are no unreadable updates.\n");
    }
    for result in results {
        print(&format!("{}: {}\n", result.id, result.words))?;
    }
    match results.iter().filter(|result| !result.is_done).count() {
        0 => Ok(()),
        failed => Err(Failure::refused(format!(
            "retrying failed for {failed} of {}; they are kept",
            results.len()
        ))),
    }
}
