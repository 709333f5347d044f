//! `telepost hook`: in the way of an agent, so it is quick, has no runtime, and never fails. What goes
//! wrong is one line on stderr; the client goes on as if there were no hook.

use std::io::{self, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::arguments::Cli;
use super::setup::clock;
use crate::config::{self, Config, ConfigError, Env};
use crate::error_chain::Chain;
use crate::hook::{self, Hook, Kind, Payload};
use crate::ids::SessionId;
use crate::state::layout::StateDir;
use crate::store::StateError;

/// How long a client may take to say what its hook is about.
const PAYLOAD_WITHIN: Duration = Duration::from_secs(1);
/// A longer one is not read to its end, and so not understood.
const PAYLOAD_MAX: u64 = 16 << 20;

/// A hook could not be heard.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("`{0}` is not the name of a session")]
    Session(String),
}

/// Takes in one hook. Whatever happens, the caller ends with 0.
pub(super) fn run(cli: &Cli, event: &str, session: Option<&str>) {
    // A newer client, or a newer installation, may know hooks that this program does not.
    let Some(kind) = Kind::parse(event) else {
        return;
    };
    let heard = catch_unwind(AssertUnwindSafe(|| hear(cli, kind, session)));
    match heard {
        Ok(Ok(Some(said))) => {
            // A client that no longer listens has nobody to tell.
            drop(writeln!(io::stdout(), "{said}"));
        }
        Ok(Err(error)) => drop(writeln!(io::stderr(), "telepost hook: {}", Chain(&error))),
        // A panic has been printed.
        Ok(Ok(None)) | Err(_) => {}
    }
}

fn hear(cli: &Cli, kind: Kind, session: Option<&str>) -> Result<Option<Value>, Unheard> {
    let hook = Hook {
        kind,
        payload: read_payload(),
        voice: voice(cli, session),
    };
    let env = Env::read();
    let path = config::config_path(cli.config.as_deref(), &env)?;
    let config = Config::load(&path, &env)?;
    let sessions = match session {
        None => config.sessions.keys().cloned().collect(),
        Some(id) => {
            vec![SessionId::new(id).map_err(|_| Unheard::Session(id.to_owned()))?]
        }
    };
    let now = clock(&env).now();
    for state in states(&config, &env)? {
        let said = hook::hear(&state, &sessions, &hook, now)?;
        if said.is_some() {
            return Ok(said);
        }
    }
    Ok(None)
}

/// Where the state may be: Codex gives its MCP servers little more than HOME (clients.md 5.1), and its
/// hooks all of its environment, so that the server may have another than the hook.
fn states(config: &Config, env: &Env) -> Result<Vec<StateDir>, ConfigError> {
    let mut found = vec![config::state_dir(Some(config), env)?];
    if let Some(home) = env.get("HOME") {
        let bare = config::state_dir(Some(config), &Env::from_pairs([("HOME", home)]));
        found.extend(bare.ok().filter(|other| !found.contains(other)));
    }
    found.retain(|path| Path::is_dir(path));
    Ok(found.into_iter().map(StateDir::new).collect())
}

/// What the hooks of one installation have in common: their program, and what they name.
fn voice(cli: &Cli, session: Option<&str>) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let config = cli.config.as_deref().unwrap_or(Path::new("-"));
    let session = session.unwrap_or("-");
    format!("{} {} {session}", program.display(), config.display())
}

/// What the client says on stdin. One that says nothing in time, or nothing that can be read, has said
/// nothing: which hook it is stands in the arguments.
fn read_payload() -> Payload {
    let (sender, read) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let all = io::stdin().lock().take(PAYLOAD_MAX).read_to_end(&mut bytes);
        // If nobody waits any more, the process ends.
        drop(sender.send(all.map(|_| bytes)));
    });
    let bytes = read.recv_timeout(PAYLOAD_WITHIN).ok().and_then(Result::ok);
    Payload::read(&bytes.unwrap_or_default())
}
