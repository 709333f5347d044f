//! `telepost inbox`: what [`Care`] finds, for people and programs.

use super::arguments::InboxAction;
use super::{Failure, known, named, print};
use crate::ops::inbox::{Care, Done, Line};
use crate::ops::status::{span, table};
use crate::state::layout::StateDir;
use crate::{clock, config, text};

/// Most characters of a text in the list.
const TEXT_SHOWN: usize = 60;

/// Does what was asked, and prints what became of it.
pub(super) fn run(
    action: &InboxAction,
    session: Option<&str>,
    config: &config::Config,
    state: &StateDir,
    clock: &clock::Clock,
) -> Result<(), Failure> {
    let only = session.map(named).transpose()?;
    if let Some(id) = &only {
        known(id, config, state)?;
    }
    let care = Care {
        state,
        config,
        clock,
        only: only.as_ref(),
    };
    match action {
        InboxAction::List { json: true } => print_json(&care.list()?),
        InboxAction::List { json: false } => print(&list(&care.list()?)),
        InboxAction::Show { ids } => {
            let all = ids
                .iter()
                .map(|id| care.show(id))
                .collect::<Result<Vec<_>, _>>()?;
            all.iter().try_for_each(print_json)
        }
        InboxAction::Retry { all: true, .. } => report(&care.retry(&[])?),
        InboxAction::Retry { ids, .. } => report(&care.retry(ids)?),
        InboxAction::Drop { ids } => report(&care.drop(ids)?),
    }
}

fn list(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "Nothing waits, and nothing is unreadable.\n".to_owned();
    }
    let rows = lines.iter().map(|line| {
        let said = line.text.as_ref().or(line.reason.as_ref());
        let said = said.map(String::as_str).unwrap_or_default();
        vec![
            line.id.clone(),
            line.session
                .as_ref()
                .map_or_else(|| format!("(bot {})", line.bot_id), ToString::to_string),
            line.state.to_owned(),
            span(line.age_s),
            line.kind.clone().unwrap_or_default(),
            text::one_line(line.from.as_deref().unwrap_or_default()),
            text::one_line(&crate::telegram::update::content::short(said, TEXT_SHOWN)),
        ]
    });
    let head = ["id", "session", "state", "age", "kind", "from", "text"];
    table(&head, rows) + "\n"
}

fn report(done: &[Done]) -> Result<(), Failure> {
    if done.is_empty() {
        return print("There are no dead letters.\n");
    }
    for one in done {
        print(&format!("{}: {}\n", one.id, one.words))?;
    }
    let left = done.iter().filter(|one| !one.good).count();
    if left == 0 {
        return Ok(());
    }
    Err(Failure::NotDone(format!(
        "{left} of {} could not be taken in and are kept",
        done.len()
    )))
}

fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Io {
        operation: "write JSON",
        source: error.into(),
    })?;
    print(&format!("{}\n", text::json(&text)))
}
