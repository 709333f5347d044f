//! How the agents of a session can be woken, for `status`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::outbox::manage::printable;
use crate::session::down::Phase;
use crate::session::downtime;
use crate::session::registry::{self, AgentState};
use crate::store::format::ReadError;
use crate::store::layout::{SessionDir, StateDir};
use crate::wake;

/// How the agents of a session can be woken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WakingReport {
    /// The agents that live, newest last.
    pub agents: Vec<LivingAgent>,
    /// The ways that can be used now, or that have been.
    pub ways: Vec<WayReport>,
    /// Since when nobody is there, if people were told so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<DownReport>,
}

/// A session that is not running.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DownReport {
    /// Since when.
    pub since: String,
    /// What is missing.
    pub reason: &'static str,
}

impl WakingReport {
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.ways.is_empty() && self.down.is_none()
    }

    /// What a person should know of it. `waits`: whether messages wait that nobody was shown.
    pub(super) fn remark(&self, id: &SessionId, waits: bool) -> Option<String> {
        if self.agents.is_empty()
            && let Some(down) = &self.down
        {
            return Some(format!(
                "{id}: it is not running since {} ({}), and who wrote was told so. What waits is shown to the next agent that you start.",
                down.since, down.reason
            ));
        }
        if self.agents.is_empty() {
            return waits.then(|| {
                format!(
                    "{id}: no agent is there. What waits is shown to the next one that you start."
                )
            });
        }
        let live: Vec<String> = self
            .ways
            .iter()
            .filter(|way| way.live)
            .map(WayReport::to_text)
            .collect();
        Some(if live.is_empty() {
            format!(
                "{id}: its agent cannot be woken. It sees messages when it calls telegram_poll; tell it to."
            )
        } else {
            format!("{id}: its agent is woken by {}.", live.join(", else "))
        })
    }
}

impl WayReport {
    fn to_text(&self) -> String {
        let worked = self
            .worked_at
            .as_ref()
            .map(|at| format!("last worked {at}"));
        let failed = self
            .failed_at
            .as_ref()
            .zip(self.reason.as_ref())
            .map(|(at, reason)| format!("failed {at}: {}", printable(reason)));
        let said: Vec<String> = worked.into_iter().chain(failed).collect();
        if said.is_empty() {
            return self.name.to_owned();
        }
        format!("{} ({})", self.name, said.join("; "))
    }
}

/// An agent that lives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LivingAgent {
    /// The process of its MCP server.
    pub pid: u32,
    /// Its client, as that calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What it is doing.
    pub state: AgentState,
    /// How it can be woken.
    pub ways: Vec<&'static str>,
}

/// A way of waking agents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WayReport {
    /// Which.
    pub name: &'static str,
    /// Whether an agent that lives can be woken by it.
    pub live: bool,
    /// When messages were last taken after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<String>,
    /// When it last failed, if that is newer, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the agents of a session can be woken.
pub(super) fn gather(
    state: &StateDir,
    dir: &SessionDir,
    now: Timestamp,
) -> Result<WakingReport, ReadError> {
    let mut report = WakingReport::default();
    let mut live = BTreeSet::new();
    for one in registry::registered(dir)? {
        let client = one.file.client.as_ref();
        for agent in wake::agents(dir, &one, &BTreeMap::new(), now) {
            live.extend(agent.rungs.iter().copied());
            report.agents.push(LivingAgent {
                pid: one.file.pid,
                client: client.map(|client| format!("{} {}", client.name, client.version)),
                state: agent.seen.state,
                ways: agent.rungs.iter().map(|rung| rung.name()).collect(),
            });
        }
    }
    report.down = downtime::read(state, dir, now)?
        .filter(|note| note.phase != Phase::Doubtful)
        .map(|note| DownReport {
            since: note.since.rfc3339(),
            reason: note.absence.words(),
        });
    let memory = wake::read(state, dir, now)?;
    let known = live.iter().chain(memory.records.keys()).copied();
    for rung in known.collect::<BTreeSet<_>>() {
        let record = memory.records.get(&rung).cloned().unwrap_or_default();
        let failed = record
            .failed
            .filter(|(at, _)| record.worked_at.is_none_or(|worked| worked < *at));
        report.ways.push(WayReport {
            name: rung.name(),
            live: live.contains(&rung),
            worked_at: record.worked_at.map(Timestamp::rfc3339),
            failed_at: failed.as_ref().map(|(at, _)| at.rfc3339()),
            reason: failed.map(|(_, reason)| reason),
        });
    }
    Ok(report)
}
