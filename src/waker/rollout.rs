//! The end of a turn, from Codex's own record of a thread
//! (`sessions/<year>/<month>/<day>/rollout-<time>-<thread>.jsonl`).
//!
//! No hook of Codex 0.169 reports a turn that an API failure ended, and the hooks may not be installed. The
//! record has the end of every turn. It is internal to Codex and so read leniently: lines that are not
//! understood are skipped, and a turn that has begun counts as unknown, because a killed Codex leaves it so.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;

/// How much of the record's end is read. The end of a turn is among its last lines.
const TAIL: u64 = 64 << 10;
/// No time zone is farther from UTC.
const ZONES: Duration = Duration::from_hours(14);

/// A turn has ended, and none has begun since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedTurn {
    pub(crate) at: Timestamp,
    pub(crate) turn: Option<String>,
}

/// The fields that are read of a line.
#[derive(Debug, Deserialize)]
struct RolloutLine {
    timestamp: String,
    payload: RolloutPayload,
}

#[derive(Debug, Deserialize)]
struct RolloutPayload {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    turn_id: Option<String>,
}

/// The end of the last turn of a thread, from the record in this folder of Codex.
pub(super) fn read_last_end(codex_home: &Path, thread: &str) -> Option<EndedTurn> {
    let mut file = File::open(find_record(codex_home, thread)?).ok()?;
    let length = file.metadata().ok()?.len();
    let start = SeekFrom::Start(length.saturating_sub(TAIL));
    file.seek(start).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    parse_tail(&tail)
}

/// Finds the record of a thread in the folder of the day on which the thread began. The id has that time (it
/// is a UUID of version 7); the day depends on the time zone of the machine.
fn find_record(codex_home: &Path, thread: &str) -> Option<PathBuf> {
    let digits = thread.get(..13)?.replace('-', "");
    let began = Timestamp(i64::from_str_radix(&digits, 16).ok()?);
    let zones = i64::try_from(ZONES.as_millis()).ok()?;
    let ending = format!("-{thread}.jsonl");
    let mut days: Vec<String> = [-zones, 0, zones]
        .into_iter()
        .map(|shift| Timestamp(began.0.saturating_add(shift)).day())
        .collect();
    days.dedup();
    days.into_iter().find_map(|day| {
        let folder = codex_home.join("sessions").join(day.replace('-', "/"));
        let mut entries = fs::read_dir(folder).ok()?.flatten();
        let found = entries.find(|entry| entry.file_name().to_string_lossy().ends_with(&ending));
        Some(found?.path())
    })
}

fn parse_tail(tail: &[u8]) -> Option<EndedTurn> {
    let mut lines = tail.rsplit(|byte| *byte == b'\n');
    let last = lines.find_map(|line| {
        let line: RolloutLine = serde_json::from_slice(line).ok()?;
        let is_turns = ["task_started", "task_complete", "turn_aborted"];
        is_turns.contains(&&*line.payload.kind).then_some(line)
    })?;
    if last.payload.kind == "task_started" {
        return None;
    }
    Some(EndedTurn {
        at: Timestamp::from_rfc3339(&last.timestamp)?,
        turn: last.payload.turn_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: &str = "01a215e2-a219-7193-9662-25c2c7babb8e";

    fn line(kind: &str, turn: &str, second: u32) -> String {
        format!(
            r#"{{"timestamp":"2026-11-26T03:25:{second:02}.103Z","ordinal":9,"type":"event_msg","payload":{{"type":"{kind}","turn_id":"{turn}","error":null}}}}"#
        )
    }

    fn ended(turn: &str, second: i64) -> EndedTurn {
        let at = Timestamp(1_795_663_500_103 + second * 1000);
        let turn = Some(turn.to_owned());
        EndedTurn { at, turn }
    }

    #[test]
    fn the_last_turn_is_over_or_nothing_is_known() {
        let begun = line("task_started", "a", 1);
        let over = line("task_complete", "a", 4);
        let stopped = line("turn_aborted", "b", 9);
        let other = r#"{"timestamp":"x","type":"response_item","payload":{"type":"message"}}"#;
        let undated = over.replace("2026", "20x6");
        for (lines, expected) in [
            (vec![], None),
            (vec![&*begun], None),
            (vec![&begun, &over], Some(ended("a", 4))),
            (vec![&over, other], Some(ended("a", 4))),
            (vec![&over, &stopped], Some(ended("b", 9))),
            (vec![&over, &begun], None),
            (vec!["{", "\u{fffd}", &over, "null"], Some(ended("a", 4))),
            (vec![&undated], None),
        ] {
            let text = lines.join("\n") + "\n";
            assert_eq!(parse_tail(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test writes what nobody needs after it"
    )]
    fn a_record_is_found_by_the_day_of_its_thread_and_read_at_its_end() {
        for day in ["2026/11/25", "2026/11/26"] {
            let home = tempfile::tempdir().unwrap();
            assert_eq!(read_last_end(home.path(), THREAD), None);
            let folder = home.path().join("sessions").join(day);
            fs::create_dir_all(&folder).unwrap();
            let long = "x".repeat(200_000);
            let text = format!("{long}\n{}\n", line("task_complete", "a", 4));
            let name = format!("rollout-2026-11-26T03-25-03-{THREAD}.jsonl");
            fs::write(folder.join(name), text).unwrap();
            assert_eq!(
                read_last_end(home.path(), THREAD),
                Some(ended("a", 4)),
                "{day}"
            );
            for nobody in ["", "x", "../../x", "ää-äääääääääääää"] {
                assert_eq!(read_last_end(home.path(), nobody), None, "{nobody}");
            }
        }
    }
}
