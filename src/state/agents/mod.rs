//! Which agents of a session live, how they can be reached, and what they are doing.
//!
//! An agent lives while its MCP server holds the lock on its registration. What it is doing is known
//! from three sides: a call of ours under way is a lock on a file beside (and the file's time is the
//! end of the last call), the hooks of its client tell of its turns (`turn.rs`), and the client writes files
//! of its own: Claude Code its state to `sessions/<pid>.json` (clients.md 4.5), which is internal to it and
//! so read leniently, Codex a record of each thread (`rollout.rs`). The newest word counts; an agent that called after it is said to have become idle is at work or not, nobody
//! knows.

pub mod holder;
pub mod process;
pub mod rollout;
pub mod turns;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::Env;
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;
use crate::state::agents::turns::{TurnFile, TurnState};
use crate::state::layout::SessionDir;
use crate::store::StoreError;
use crate::store::atomic;
use crate::store::format;
use crate::store::lock::{self, FileLock};

/// How long a call waits for its lock, which others ask for microseconds.
const CALL_PATIENCE: Duration = Duration::from_millis(50);
/// Two words that are not farther apart are told at the same time.
const SAME_TIME: Duration = Duration::from_millis(500);
/// No hook tells of a turn that the person has stopped. After so long without a sign of life the word of
/// a hook that the agent works is old.
const STALE: Duration = Duration::from_secs(600);
/// Longer names of threads are nobody's.
const THREAD_MAX: usize = 100;

/// The file of a living MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentFile {
    /// The version of this file.
    pub format: u32,
    /// The MCP server, for people.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// The process that started it.
    pub client_process: ProcessId,
    /// The agents that have called it.
    pub holders: BTreeSet<HolderId>,
    /// What its client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientName>,
    /// The threads that have called it, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<Thread>,
    /// How the client can be reached.
    #[serde(default)]
    pub reach: Reach,
}

/// What a client calls itself when it connects.
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
    /// The client's own name of it: letters, digits, `-` and `_`.
    pub id: String,
}

/// How a client can be reached, as its MCP server sees it. No secret is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Claude Code's inbox socket; only the MCP server writes to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox_socket: Option<PathBuf>,
    /// Where Claude Code keeps `sessions/<pid>.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claude_folder: Option<PathBuf>,
    /// The program that runs the client, if that is Codex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codex: Option<PathBuf>,
    /// Where Codex keeps its own files, if not in `~/.codex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codex_home: Option<PathBuf>,
    /// `HOME` of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// `PATH` of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The pane of tmux that the client runs in, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmux: Option<Pane>,
}

/// A pane of tmux. Its id is not given a second time as long as the server runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pane {
    /// The socket of the server.
    pub socket: PathBuf,
    /// `%` and a number.
    pub id: String,
}

impl Pane {
    /// The pane that tmux names in the environment (`TMUX`, `TMUX_PANE`), never one by its place.
    pub fn of(env: &Env) -> Option<Self> {
        let socket = env.get("TMUX")?.rsplitn(3, ',').last().map(PathBuf::from)?;
        let id = env.get("TMUX_PANE")?.to_owned();
        let number = id.strip_prefix('%')?;
        let is_pane = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_pane && socket.is_absolute()).then_some(Self { socket, id })
    }
}

impl Reach {
    /// What can be seen from inside a client's MCP server.
    pub fn see(env: &Env, client: &ProcessId) -> Self {
        let home = env.get("HOME").map(PathBuf::from);
        let own = env.get("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        Self {
            inbox_socket: env.get("CLAUDE_CODE_MESSAGING_SOCKET").map(PathBuf::from),
            claude_folder: own.or_else(|| home.as_ref().map(|home| home.join(".claude"))),
            codex: client.program().filter(|program| is_codex(program)),
            // Codex gives its servers few variables, and not this one (clients.md 5.1).
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

/// A thread's name, if it can safely be one word of a command line.
pub fn thread_id(id: &str) -> Option<String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = !id.is_empty() && id.len() <= THREAD_MAX && !id.starts_with('-');
    (fits && id.chars().all(safe)).then(|| id.to_owned())
}

/// One living MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The name of its registration, without `.json`: also that of its other files.
    pub name: String,
    /// What it says of itself.
    pub file: AgentFile,
}

impl Registered {
    /// The agents that call it: each thread, or the client where that has none.
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

/// The living MCP servers of a session, oldest first. Removes nothing and needs no lock.
pub fn registered(dir: &SessionDir) -> Result<Vec<Registered>, StoreError> {
    let mut found = Vec::new();
    for name in atomic::list(&dir.agents())? {
        let path = dir.agents().join(&name);
        let Some(stem) = name.strip_suffix(".json") else {
            continue;
        };
        // A damaged one is for the MCP servers to report.
        if let Some(file) = format::peek::<AgentFile>(&path)
            && lock::is_held(&path)?
        {
            let name = stem.to_owned();
            found.push(Registered { name, file });
        }
    }
    found.sort_by_key(|one| one.file.started_at);
    Ok(found)
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Nobody knows.
    Unknown,
    /// It waits for its person.
    Idle,
    /// It works.
    Busy,
    /// It asks its person something, such as a permission.
    Waiting,
    /// It has ended.
    Gone,
}

/// What an agent is doing, and for how long that, or its silence, lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it is doing.
    pub state: AgentState,
    /// Since when: `None` if it has not been heard of at all.
    pub age: Option<Duration>,
}

/// What our own side knows of an agent's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallsSeen {
    /// One is under way.
    pub under_way: bool,
    /// When the last one ended.
    pub last: Option<Timestamp>,
}

/// What somebody says of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Says {
    /// What it is doing.
    pub state: AgentState,
    /// Since when.
    pub since: Timestamp,
}

/// What an agent is doing, from all sides: its calls, the hooks of its client, the client's own file.
pub fn state(
    calls: CallsSeen,
    hooks: Option<Says>,
    client: Option<Says>,
    now: Timestamp,
) -> Sighting {
    let age = |at: Timestamp| Some(now.since(at));
    if calls.under_way {
        let state = AgentState::Busy;
        return Sighting {
            state,
            age: age(now),
        };
    }
    let silent_since = |says: Says| calls.last.map_or(says.since, |last| last.max(says.since));
    let stale =
        |says: &Says| says.state == AgentState::Busy && now.since(silent_since(*says)) >= STALE;
    let hooks = hooks.filter(|says| !stale(says));
    match newest(hooks, client) {
        // An agent cannot have been idle when it called.
        Some(says)
            if says.state != AgentState::Idle || calls.last.is_none_or(|at| at <= says.since) =>
        {
            Sighting {
                state: says.state,
                age: age(says.since),
            }
        }
        Some(_) | None => Sighting {
            state: AgentState::Unknown,
            age: calls.last.and_then(age),
        },
    }
}

/// The newer word. Of two at the same time that which says that the agent is not idle: when in doubt, it
/// is left alone.
fn newest(one: Option<Says>, other: Option<Says>) -> Option<Says> {
    let (Some(one), Some(other)) = (one, other) else {
        return one.or(other);
    };
    let (older, newer) = if one.since <= other.since {
        (one, other)
    } else {
        (other, one)
    };
    let same_time = newer.since.since(older.since) <= SAME_TIME;
    let doubt = newer.state == AgentState::Idle && older.state != AgentState::Idle;
    Some(if same_time && doubt { older } else { newer })
}

/// Looks what an agent is doing, whose calls go through this MCP server.
pub fn look(dir: &SessionDir, agent: &Registered, holder: &HolderId, now: Timestamp) -> Sighting {
    if !agent.file.client_process.is_running() {
        let state = AgentState::Gone;
        return Sighting { state, age: None };
    }
    let path = lock_path(dir, &agent.name);
    let calls = CallsSeen {
        under_way: lock::is_held(&path).unwrap_or(false),
        last: modified(&path),
    };
    let turn = turn(dir, agent, holder);
    let ended = last_end(agent, holder);
    // A turn that Codex has written down as ended is over, whatever its hooks have left out.
    let is_over = |turn: &TurnFile| {
        let ended = ended.as_ref();
        turn.turn.is_some() && ended.is_some_and(|ended| ended.turn == turn.turn)
    };
    let hooks = turn
        .filter(|turn| turn.state != TurnState::Busy || !is_over(turn))
        .and_then(|turn| hooks_say(&turn));
    let folder = agent.file.reach.claude_folder.as_deref();
    let client = ended.map(|ended| Says {
        state: AgentState::Idle,
        since: ended.at,
    });
    let client = client.or_else(|| claude_says(folder?, &agent.file.client_process));
    state(calls, hooks, client, now)
}

/// What the hooks of an agent's client have told of its turns, if it has any and this very process runs it.
pub fn turn(dir: &SessionDir, agent: &Registered, holder: &HolderId) -> Option<TurnFile> {
    let turn: TurnFile = format::peek(&dir.turn(holder.as_str()))?;
    (turn.client_process == agent.file.client_process).then_some(turn)
}

/// The end of a turn of Codex, if nothing has begun since.
fn last_end(agent: &Registered, holder: &HolderId) -> Option<rollout::Ended> {
    let file = &agent.file;
    let thread = file.threads.iter().find(|one| one.holder == *holder)?;
    let reach = &file.reach;
    let home = reach.codex_home.clone();
    let home = home.or_else(|| Some(reach.home.as_ref()?.join(".codex")))?;
    rollout::last_end(&home, &thread.id)
}

fn hooks_say(turn: &TurnFile) -> Option<Says> {
    let state = match turn.state {
        TurnState::Idle => AgentState::Idle,
        TurnState::Busy => AgentState::Busy,
        TurnState::Ended => return None,
    };
    Some(Says {
        state,
        since: turn.since,
    })
}

fn modified(path: &Path) -> Option<Timestamp> {
    let time = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(since.as_millis()).ok()?))
}

/// Claude Code's own file (clients.md 4.5): the keys that are read of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaudeFile {
    status: String,
    status_updated_at: i64,
    #[serde(default)]
    proc_start: Option<String>,
}

/// What a Claude Code whose own files lie in this folder says of itself; `None` if there is none.
pub fn claude_says(folder: &Path, client: &ProcessId) -> Option<Says> {
    let path = folder.join(format!("sessions/{}.json", client.pid));
    let file: ClaudeFile = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    // The file of a killed one stays, and its number may be somebody else's by now.
    if file
        .proc_start
        .is_some_and(|start| !client.began_at(&start))
    {
        return None;
    }
    let state = match file.status.as_str() {
        "idle" => AgentState::Idle,
        "busy" => AgentState::Busy,
        "waiting" => AgentState::Waiting,
        _ => return None,
    };
    Some(Says {
        state,
        since: Timestamp(file.status_updated_at),
    })
}

fn lock_path(dir: &SessionDir, name: &str) -> PathBuf {
    dir.wakes().join(format!("{name}.lock"))
}

/// The calls of one MCP server that are under way, for the gateway to see. Only a help for deciding
/// when to wake: that it cannot be written keeps no call from its work.
#[derive(Debug)]
pub struct Calls {
    dir: SessionDir,
    path: PathBuf,
    under_way: usize,
    lock: Option<FileLock>,
}

impl Calls {
    /// None is under way. `name` is that of the registration.
    pub fn new(dir: &SessionDir, name: &str) -> Self {
        Self {
            dir: dir.clone(),
            path: lock_path(dir, name),
            under_way: 0,
            lock: None,
        }
    }

    /// One more begins.
    pub fn begin(&mut self) {
        self.under_way += 1;
        if self.lock.is_some() {
            return;
        }
        let who = format!("telepost mcp, pid {}", std::process::id());
        let taken = atomic::create_folder(&self.dir.wakes())
            .map_err(Into::into)
            .and_then(|()| FileLock::take_within(&self.path, &who, CALL_PATIENCE));
        match taken {
            Ok(lock) => self.lock = Some(lock),
            Err(error) => tracing::debug!(%error, "cannot show that a call is under way"),
        }
    }

    /// One ends.
    pub fn end(&mut self, now: Timestamp) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way > 0 {
            return;
        }
        if let Some(lock) = self.lock.take()
            && let Err(error) = lock.touch(now)
        {
            tracing::debug!(%error, "cannot note when a call has ended");
        }
    }
}

#[cfg(test)]
mod tests;
