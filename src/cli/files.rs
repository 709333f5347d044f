//! `telepost files`: removes files that came with messages, for people who need room.

use std::time::Duration;

use super::arguments::FilesAction;
use super::failure::Failure;
use super::setup::LenientSetup;
use super::terminal::print;
use crate::ids::SessionId;
use crate::state::files::{Files, StoredFiles, total_bytes};
use crate::store::StoreError;
use crate::text::{format_count, format_megabytes};

pub(super) fn run(setup: &LenientSetup, action: &FilesAction) -> Result<(), Failure> {
    let FilesAction::Prune {
        session,
        older_than,
        dry_run,
    } = action;
    let older_than = older_than.unwrap_or(Duration::ZERO);
    let (sessions, owner) = match session {
        Some(name) => {
            let id = setup.find_session(name)?;
            let owner = format!("session {id} has");
            (vec![id], owner)
        }
        None => (setup.state.all_sessions()?, "there are".to_owned()),
    };
    let mut lines = Vec::new();
    for id in sessions {
        lines.extend(prune(setup, &id, older_than, *dry_run)?);
    }
    if lines.is_empty() {
        return print(&format!("Nothing to do: {owner} no files.\n"));
    }
    print(&lines.concat())
}

/// Works with a gateway and without one: the gateway adds files only for messages that wait.
fn prune(
    setup: &LenientSetup,
    id: &SessionId,
    older_than: Duration,
    dry_run: bool,
) -> Result<Option<String>, StoreError> {
    let files = Files::new(&setup.state.session(id));
    let going = files.prunable(older_than, setup.clock.now())?;
    let mut staying = files.stored()?;
    staying.retain(|stored| !going.iter().any(|gone| gone.update_id == stored.update_id));
    if going.is_empty() && staying.is_empty() {
        return Ok(None);
    }
    if !dry_run {
        for stored in &going {
            files.remove(stored.update_id)?;
        }
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    let rest = if staying.is_empty() {
        String::new()
    } else {
        let staying = format_sum(&staying);
        format!(
            "; the files of {staying} are kept, because those messages are waiting or are newer"
        )
    };
    let going = format_sum(&going);
    Ok(Some(format!("{id}: {verb} the files of {going}{rest}.\n")))
}

fn format_sum(stored: &[StoredFiles]) -> String {
    format!(
        "{} ({})",
        format_count(stored.len(), "message"),
        format_megabytes(total_bytes(stored))
    )
}

/// Reads a span such as `7d`, `12h`, `30m` or `90s`.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is not a duration; write a number and d, h, m or s, such as 7d");
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
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
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
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
