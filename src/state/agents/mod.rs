//! `agents/<pid>-<start>.json`: the MCP servers that live, the agents that call them, and how their clients
//! can be reached.
//!
//! An agent lives while its MCP server holds the lock on its registration ([`holder`]). Its turns are in
//! `turns/` ([`turns`]), and the calls that are under way in `wakes/`
//! ([`wake_requests`](crate::state::wake_requests)).

pub mod holder;
pub mod process;
pub mod turns;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::holder::HolderId;
pub use self::process::ProcessId;
pub use self::turns::{Drained, TurnFile, TurnState, Unanswered};
use crate::clock::Timestamp;
use crate::config::{Binding, Env};
use crate::state::SessionDir;
use crate::store::{StateFolder, Step, StoreError};

/// Longer names of threads are ignored.
const THREAD_MAX: usize = 100;

/// The file of a living MCP server.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentFile {
    /// The MCP server, for people.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// The process that started it.
    pub client_process: ProcessId,
    /// The agents that have called it.
    pub holders: BTreeSet<HolderId>,
    /// The name that its client gives itself.
    pub client: Option<ClientName>,
    /// The threads that have called it, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<Thread>,
    /// How the client can be reached.
    #[serde(default)]
    pub reach: Reach,
}

/// The name that a client gives itself when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientName {
    /// `claude-code`, `codex-mcp-client`, ….
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One thread of a client that names its threads (Codex).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The agent.
    pub holder: HolderId,
    /// The client's own name of the thread: letters, digits, `-` and `_`.
    pub id: String,
}

/// How a client was started and can be reached, as its MCP server sees it. It contains no secret.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The folder that it was started in.
    pub folder: Option<PathBuf>,
    /// Why it has this session.
    pub binding: Option<Binding>,
    /// Claude Code's inbox socket; only the MCP server writes to it.
    pub inbox_socket: Option<PathBuf>,
    /// Where Claude Code keeps `sessions/<pid>.json`.
    pub claude_folder: Option<PathBuf>,
    /// The program of the client, if that is Codex.
    pub codex: Option<PathBuf>,
    /// Where Codex keeps its own files, if not in `~/.codex`.
    pub codex_home: Option<PathBuf>,
    /// `HOME` of the client.
    pub home: Option<PathBuf>,
    /// `PATH` of the client.
    pub path: Option<String>,
    /// The pane of tmux that the client runs in, if it does.
    pub tmux: Option<Pane>,
}

/// A pane of tmux. A tmux server gives each id once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pane {
    /// The socket of the server.
    pub socket: PathBuf,
    /// `%` and a number.
    pub id: String,
}

impl Pane {
    /// The pane that tmux names in the environment (`TMUX`, `TMUX_PANE`). A pane named by its position is refused.
    pub fn of(env: &Env) -> Option<Self> {
        let socket = env.get("TMUX")?.rsplitn(3, ',').last().map(PathBuf::from)?;
        let id = env.get("TMUX_PANE")?.to_owned();
        let number = id.strip_prefix('%')?;
        let is_pane = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_pane && socket.is_absolute()).then_some(Self { socket, id })
    }
}

impl Reach {
    /// Collects what a client's MCP server can see.
    pub fn see(env: &Env, client: &ProcessId) -> Self {
        let home = env.get("HOME").map(PathBuf::from);
        let own = env.get("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        Self {
            folder: std::env::current_dir().ok(),
            binding: None,
            inbox_socket: env.get("CLAUDE_CODE_MESSAGING_SOCKET").map(PathBuf::from),
            claude_folder: own.or_else(|| home.as_ref().map(|home| home.join(".claude"))),
            codex: client.program().filter(|program| is_codex(program)),
            // Codex gives its servers few variables, and not this one (docs/facts/clients.md 5.1).
            codex_home: client.variable("CODEX_HOME").map(PathBuf::from),
            home,
            path: env.get("PATH").map(str::to_owned),
            tmux: Pane::of(env),
        }
    }
}

fn is_codex(program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("codex")
}

/// Accepts the name of a thread if it can safely be one word of a command line.
pub fn check_thread_id(id: &str) -> Option<String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = !id.is_empty() && id.len() <= THREAD_MAX && !id.starts_with('-');
    (fits && id.chars().all(safe)).then(|| id.to_owned())
}

/// One living MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The name of its registration without `.json`, which names its other files, too.
    pub name: String,
    /// Its content.
    pub file: AgentFile,
}

impl Registered {
    /// Whether it is an open window that no agent has called from. Its session came by `default`, so it may be
    /// any window of a client that has us everywhere, and no message wakes it.
    pub fn is_unclaimed(&self) -> bool {
        self.file.reach.binding == Some(Binding::Default) && self.file.holders.is_empty()
    }

    /// The agents that call it: each thread, or the client if that has none.
    pub fn agents(&self) -> Vec<(Option<&Thread>, HolderId)> {
        let threads = self.file.threads.iter();
        let threads: Vec<_> = threads
            .map(|thread| (Some(thread), thread.holder.clone()))
            .collect();
        if threads.is_empty() {
            return vec![(None, HolderId::of_process(&self.file.client_process))];
        }
        threads
    }
}

/// Lists the living MCP servers of a session that belong to it, oldest first. Removes nothing and needs no lock.
pub fn list_registered(dir: &SessionDir) -> Result<Vec<Registered>, StoreError> {
    let mut found = list_open(dir)?;
    found.retain(|server| !server.is_unclaimed());
    Ok(found)
}

/// Lists the same servers, and those that came by `default` and were not called yet.
pub fn list_open(dir: &SessionDir) -> Result<Vec<Registered>, StoreError> {
    let mut found = Vec::new();
    let folder = folder(dir);
    for name in folder.names()? {
        let Some(stem) = name.strip_suffix(".json") else {
            continue;
        };
        // The MCP servers report a damaged one.
        let stored = folder.file(&name);
        if let Some(file) = stored.peek()
            && stored.is_locked()?
        {
            let name = stem.to_owned();
            found.push(Registered { name, file });
        }
    }
    found.sort_by_key(|one| one.file.started_at);
    Ok(found)
}

fn folder(dir: &SessionDir) -> StateFolder<AgentFile> {
    dir.storage().folder(dir.agents(), Step::Agent)
}

#[cfg(test)]
mod tests;
