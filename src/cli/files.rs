//! `telepost files`: the files that came with messages, for people who need room.

use std::time::Duration;

use super::arguments::FilesAction;
use super::{Failure, known, named, print};
use crate::clock::Clock;
use crate::config::Config;
use crate::ids::SessionId;
use crate::state::files::state::megabytes;
use crate::state::files::{Files, Kept};
use crate::state::layout::StateDir;
use crate::store::StoreError;

/// Does what was asked, and prints what became of it.
pub(super) fn run(
    action: &FilesAction,
    config: &Config,
    state: &StateDir,
    clock: &Clock,
) -> Result<(), Failure> {
    let FilesAction::Prune {
        session,
        older_than,
        dry_run,
    } = action;
    let older_than = older_than.unwrap_or(Duration::ZERO);
    if let Some(id) = session {
        known(&named(id)?, config, state)?;
    }
    let mut lines = Vec::new();
    for id in state.all_sessions()? {
        if session.as_ref().is_some_and(|only| only != id.as_str()) {
            continue;
        }
        lines.extend(prune(state, &id, older_than, *dry_run, clock)?);
    }
    if lines.is_empty() {
        let which = match session {
            Some(id) => format!("session {id} has"),
            None => "there are".to_owned(),
        };
        return print(&format!("Nothing to do: {which} no files.\n"));
    }
    print(&lines.concat())
}

/// Works with a gateway and without one: only the gateway adds files, and only for messages that wait.
fn prune(
    state: &StateDir,
    id: &SessionId,
    older_than: Duration,
    dry_run: bool,
    clock: &Clock,
) -> Result<Option<String>, StoreError> {
    let files = Files::new(state, state.session(id));
    let going = files.prunable(older_than, clock.now())?;
    let mut staying = files.kept()?;
    staying.retain(|kept| !going.iter().any(|gone| gone.update_id == kept.update_id));
    if going.is_empty() && staying.is_empty() {
        return Ok(None);
    }
    if !dry_run {
        for kept in &going {
            files.remove(kept.update_id)?;
        }
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    let rest = if staying.is_empty() {
        String::new()
    } else {
        let staying = sum(&staying);
        format!("; those of {staying} stay, because they wait or are younger")
    };
    Ok(Some(format!(
        "{id}: {verb} the files of {}{rest}.\n",
        sum(&going)
    )))
}

fn sum(kept: &[Kept]) -> String {
    let bytes = kept.iter().map(|kept| kept.bytes).sum();
    format!("{} messages ({})", kept.len(), megabytes(bytes))
}

/// Reads a span such as `7d`, `12h`, `30m` or `90s`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span; write a number and d, h, m or s, such as 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = text
        .strip_suffix(unit)
        .unwrap_or_default()
        .parse()
        .map_err(|_| wrong())?;
    Ok(Duration::from_secs(
        number.checked_mul(seconds).ok_or_else(wrong)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!(span("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        for wrong in [
            "",
            "d",
            "7",
            "7w",
            "-1d",
            "1.5h",
            "99999999999999999999d",
            "7dd ",
        ] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
