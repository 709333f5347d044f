//! How the agents of a session can be woken, for `status`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::Binding;
use crate::state::absence::{Absence, AbsencePhase};
use crate::state::agents::list_open;
use crate::state::agents::turns::TurnFile;
use crate::state::layout::SessionDir;
use crate::state::wake_log::{MethodId, MethodRecord, WakeLog};
use crate::store::state_file::ReadError;
use crate::waker::activity::AgentState;
use crate::waker::conversations::Conversations;
use crate::waker::list_candidates;
use crate::waker::methods::tmux::TmuxMethod;
use crate::waker::methods::tmux::guard::TypingRules;
use crate::waker::methods::{METHODS, WakeMethod};

/// The way that keeps an agent at work when messages have arrived, and wakes no idle agent. It counts as
/// available once a hook has reported.
pub(crate) const STOP_HOOK: &str = "Stop hook";

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct WakingReport {
    /// The living agents, newest last.
    pub(crate) agents: Vec<LivingAgent>,
    /// The ways that can be used now, or were used before.
    pub(crate) ways: Vec<WayReport>,
    /// Since when no agent is there, if people were told so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) down: Option<DownReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DownReport {
    pub(crate) since: String,
    pub(crate) reason: &'static str,
}

impl WakingReport {
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.ways.is_empty() && self.down.is_none()
    }
}

impl WayReport {
    fn of(name: String, live: bool, record: MethodRecord) -> Self {
        let failed = record
            .failed
            .filter(|(at, _)| record.worked_at.is_none_or(|worked| worked < *at));
        Self {
            name,
            live,
            worked_at: record.worked_at.map(Timestamp::rfc3339),
            failed_at: failed.as_ref().map(|(at, _)| at.rfc3339()),
            reason: failed.map(|(_, reason)| reason),
            refused: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LivingAgent {
    pub(crate) pid: u32,
    /// The name and version of its client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// The folder that it was started in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// The place that named its session: `--session`, `TG_SESSION_ID`, `cwd` or `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bound_by: Option<&'static str>,
    /// Whether it came by `default` and has not called a tool: then no message wakes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unclaimed: bool,
    /// Its activity.
    pub(crate) state: AgentState,
    /// How it can be woken.
    pub(crate) ways: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WayReport {
    pub(crate) name: String,
    /// Whether it can wake a living agent.
    pub(crate) live: bool,
    /// When messages were last taken after its use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worked_at: Option<String>,
    /// When it last failed, if that is newer, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Why nothing is typed now, although a message waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

pub(super) fn gather_waking(
    dir: &SessionDir,
    typing: Option<&TypingRules>,
    now: Timestamp,
) -> Result<WakingReport, ReadError> {
    let mut report = WakingReport::default();
    let (mut live, mut hooks) = (BTreeSet::new(), false);
    for server in list_open(dir)? {
        let unclaimed = server.is_unclaimed();
        let client = server.file.client.as_ref();
        let candidates = list_candidates(dir, &server, &Conversations::default(), typing, now);
        for (agent, (_, holder)) in candidates.into_iter().zip(server.agents()) {
            let methods = if unclaimed { Vec::new() } else { agent.methods };
            let mut ways: Vec<String> = methods.iter().map(MethodId::label).collect();
            if TurnFile::peek(dir, &holder, &server.file.client_process).is_some() {
                hooks = true;
                ways.push(STOP_HOOK.to_owned());
            }
            live.extend(methods);
            report.agents.push(LivingAgent {
                pid: server.file.pid,
                client: client.map(|client| format!("{} {}", client.name, client.version)),
                folder: server.file.reach.folder.clone(),
                bound_by: server.file.reach.binding.map(Binding::name),
                unclaimed,
                state: agent.activity.state,
                ways,
            });
        }
    }
    report.down = Absence::file(dir)
        .read_or_missing(now)?
        .filter(|note| note.phase != AbsencePhase::Doubtful)
        .map(|note| DownReport {
            since: note.since.rfc3339(),
            reason: note.missing.describe(),
        });
    let log = WakeLog::file(dir).read_or_missing(now)?.unwrap_or_default();
    for method in METHODS.map(WakeMethod::id) {
        let refused = log.refused.as_ref().filter(|_| method == TmuxMethod::ID);
        let record = log.records.get(&method);
        if live.contains(&method) || record.is_some() || refused.is_some() {
            let record = record.cloned().unwrap_or_default();
            let mut way = WayReport::of(method.label(), live.contains(&method), record);
            way.refused = refused.map(|(_, refusal)| format!("not typed: {refusal}"));
            report.ways.push(way);
        }
    }
    if hooks || log.stop_hook.worked_at.is_some() {
        let way = WayReport::of(STOP_HOOK.to_owned(), hooks, log.stop_hook);
        report.ways.push(way);
    }
    Ok(report)
}
