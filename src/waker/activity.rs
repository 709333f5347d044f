//! Observes agents.
//!
//! Three sources report the state of an agent: our own MCP server (its calls), the hooks of the client (its turns), and files
//! that the client writes for itself. Claude Code keeps its state in `sessions/<pid>.json` and Codex a record
//! of each thread ([`super::rollout`]); both are internal to the clients and so read leniently. The newest
//! report counts. If an agent called after it is said to have become idle, its state is unknown.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::SessionDir;
use crate::state::agents::{HolderId, ProcessId, Registered, TurnFile, TurnState};
use crate::state::wake_requests::CallActivity;
use crate::waker::rollout::{self, EndedTurn};

/// Two reports within this time count as simultaneous.
const SAME_TIME: Duration = Duration::from_millis(500);
/// No hook reports a turn that the person stopped. After so long without a sign of life, a report that the
/// agent works is stale.
const STALE: Duration = Duration::from_secs(600);

/// The state of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Not known.
    Unknown,
    /// It waits for its person.
    Idle,
    /// It works.
    Busy,
    /// It asks its person for something, such as a permission.
    Waiting,
    /// It has ended.
    Gone,
}

impl AgentState {
    /// The same word as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Gone => "gone",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) state: AgentState,
    /// For how long, or how long it has been silent: `None` if it was never heard from.
    pub(crate) age: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateReport {
    pub(crate) state: AgentState,
    pub(crate) since: Timestamp,
}

pub(crate) fn combine_reports(
    calls: CallActivity,
    hooks: Option<StateReport>,
    client: Option<StateReport>,
    now: Timestamp,
) -> Activity {
    let activity = |state, at: Option<Timestamp>| Activity {
        state,
        age: at.map(|at| now.since(at)),
    };
    if calls.under_way {
        return activity(AgentState::Busy, Some(now));
    }
    let is_stale = |report: &StateReport| {
        let last_sign = calls.last.map_or(report.since, |at| at.max(report.since));
        report.state == AgentState::Busy && now.since(last_sign) >= STALE
    };
    let contradicts = |report: &StateReport| {
        report.state == AgentState::Idle && calls.last.is_some_and(|at| at > report.since)
    };
    let newest = newest_report(hooks.filter(|report| !is_stale(report)), client);
    newest.filter(|report| !contradicts(report)).map_or_else(
        || activity(AgentState::Unknown, calls.last),
        |report| activity(report.state, Some(report.since)),
    )
}

/// The newer report. Of two simultaneous ones the one that does not say idle: in doubt, the agent is left
/// alone.
fn newest_report(one: Option<StateReport>, other: Option<StateReport>) -> Option<StateReport> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    let (older, newer) = if one.since <= other.since {
        (one, other)
    } else {
        (other, one)
    };
    let same_time = newer.since.since(older.since) <= SAME_TIME;
    let in_doubt = newer.state == AgentState::Idle && older.state != AgentState::Idle;
    Some(if same_time && in_doubt { older } else { newer })
}

pub(crate) fn observe_agent(
    dir: &SessionDir,
    server: &Registered,
    holder: &HolderId,
    now: Timestamp,
) -> Activity {
    let client = &server.file.client_process;
    if !client.is_running() {
        let state = AgentState::Gone;
        return Activity { state, age: None };
    }
    let ended = last_ended_turn(server, holder);
    // If Codex has recorded the end of a turn, that turn is over, whatever its hooks left out.
    let is_over = |turn: &TurnFile| {
        let ended = ended.as_ref();
        turn.turn.is_some() && ended.is_some_and(|ended| ended.turn == turn.turn)
    };
    let hooks = TurnFile::peek(dir, holder, client)
        .filter(|turn| turn.state != TurnState::Busy || !is_over(turn))
        .and_then(|turn| turn_report(&turn));
    let from_rollout = ended.map(|ended| StateReport {
        state: AgentState::Idle,
        since: ended.at,
    });
    let folder = server.file.reach.claude_folder.as_deref();
    let from_client = from_rollout.or_else(|| read_claude_state(folder?, client));
    combine_reports(
        CallActivity::read(dir, &server.name),
        hooks,
        from_client,
        now,
    )
}

fn last_ended_turn(server: &Registered, holder: &HolderId) -> Option<EndedTurn> {
    let mut threads = server.file.threads.iter();
    let thread = threads.find(|thread| thread.holder == *holder)?;
    let reach = &server.file.reach;
    let home = reach.codex_home.clone();
    let home = home.or_else(|| Some(reach.home.as_ref()?.join(".codex")))?;
    rollout::read_last_end(&home, &thread.id)
}

fn turn_report(turn: &TurnFile) -> Option<StateReport> {
    let state = match turn.state {
        TurnState::Idle => AgentState::Idle,
        TurnState::Busy => AgentState::Busy,
        TurnState::Ended => return None,
    };
    let since = turn.since;
    Some(StateReport { state, since })
}

/// The keys that are read of Claude Code's own file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaudeFile {
    status: String,
    status_updated_at: i64,
    #[serde(default)]
    proc_start: Option<String>,
}

/// The state that a Claude Code records in this folder of its own.
pub(crate) fn read_claude_state(folder: &Path, client: &ProcessId) -> Option<StateReport> {
    let path = folder.join(format!("sessions/{}.json", client.pid));
    let file: ClaudeFile = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    // The file of a killed process stays, and its number may belong to another process by now.
    let start = file.proc_start;
    if start.is_some_and(|start| !client.began_at(&start)) {
        return None;
    }
    let state = match file.status.as_str() {
        "idle" => AgentState::Idle,
        "busy" => AgentState::Busy,
        "waiting" => AgentState::Waiting,
        _ => return None,
    };
    let since = Timestamp(file.status_updated_at);
    Some(StateReport { state, since })
}

#[cfg(test)]
mod tests;
