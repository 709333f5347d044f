//! How the agents of a session can be woken, for `status`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::state::agents::{self, AgentState};
use crate::state::layout::{SessionDir, StateDir};
use crate::store::format::ReadError;
use crate::waker::absence::policy::Phase;
use crate::waker::methods::tmux::guard::Typing;
use crate::waker::policy::{Record, Rung};
use crate::waker::{self, absence};

/// The way that keeps an agent at work when messages have arrived, and wakes no idle agent. It counts as
/// available once a hook has reported.
pub const STOP_HOOK: &str = "Stop hook";

/// How the agents of a session can be woken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WakingReport {
    /// The living agents, newest last.
    pub agents: Vec<LivingAgent>,
    /// The ways that can be used now, or were used before.
    pub ways: Vec<WayReport>,
    /// Since when no agent is there, if people were told so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<DownReport>,
}

/// A session that is not running.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DownReport {
    /// Since when.
    pub since: String,
    /// The missing part.
    pub reason: &'static str,
}

impl WakingReport {
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.ways.is_empty() && self.down.is_none()
    }
}

impl WayReport {
    fn of(name: &'static str, live: bool, record: Record) -> Self {
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

/// A living agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LivingAgent {
    /// The process of its MCP server.
    pub pid: u32,
    /// The name and version of its client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Its activity.
    pub state: AgentState,
    /// How it can be woken.
    pub ways: Vec<&'static str>,
}

/// A way of waking agents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WayReport {
    /// Its name.
    pub name: &'static str,
    /// Whether it can wake a living agent.
    pub live: bool,
    /// When messages were last taken after its use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<String>,
    /// When it last failed, if that is newer, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why nothing is typed now, although a message waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How the agents of a session can be woken.
pub(super) fn gather_waking(
    state: &StateDir,
    dir: &SessionDir,
    typing: Option<&Typing>,
    now: Timestamp,
) -> Result<WakingReport, ReadError> {
    let mut report = WakingReport::default();
    let (mut live, mut hooks) = (BTreeSet::new(), false);
    for one in agents::registered(dir)? {
        let client = one.file.client.as_ref();
        let agents = waker::list_agents(dir, &one, &BTreeMap::new(), typing, now);
        for (agent, (_, holder)) in agents.into_iter().zip(one.agents()) {
            live.extend(agent.rungs.iter().copied());
            let mut ways: Vec<_> = agent.rungs.iter().map(|rung| rung.name()).collect();
            if agents::turn(dir, &one, &holder).is_some() {
                hooks = true;
                ways.push(STOP_HOOK);
            }
            report.agents.push(LivingAgent {
                pid: one.file.pid,
                client: client.map(|client| format!("{} {}", client.name, client.version)),
                state: agent.seen.state,
                ways,
            });
        }
    }
    report.down = absence::read(state, dir, now)?
        .filter(|note| note.phase != Phase::Doubtful)
        .map(|note| DownReport {
            since: note.since.rfc3339(),
            reason: note.absence.words(),
        });
    let memory = waker::read(state, dir, now)?;
    let refused = memory.refused.as_ref();
    let refused = refused.map(|(_, refusal)| format!("not typed: {refusal}"));
    let typed = refused.is_some().then_some(&Rung::Tmux);
    let known = live
        .iter()
        .chain(memory.records.keys())
        .chain(typed)
        .copied();
    for rung in known.collect::<BTreeSet<_>>() {
        let record = memory.records.get(&rung).cloned().unwrap_or_default();
        let mut way = WayReport::of(rung.name(), live.contains(&rung), record);
        way.refused = refused.clone().filter(|_| rung == Rung::Tmux);
        report.ways.push(way);
    }
    if hooks || memory.stop_hook.worked_at.is_some() {
        let way = WayReport::of(STOP_HOOK, hooks, memory.stop_hook);
        report.ways.push(way);
    }
    Ok(report)
}
