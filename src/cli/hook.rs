//! `telepost hook`. The agent waits for it, so it is quick, has no runtime, and never fails: an error is one line
//! on stderr, and the client goes on as if there were no hook.

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
use crate::hook::{Hook, HookInput, HookKind, handle_hook};
use crate::ids::SessionId;
use crate::state::layout::StateDir;
use crate::store::StateError;

/// How long a client may take to write the input.
const INPUT_WITHIN: Duration = Duration::from_secs(1);
/// A longer input is cut, and so not understood.
const INPUT_MAX: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
enum HookFailure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("`{0}` is not the name of a session")]
    Session(String),
}

/// Handles one hook. The caller exits with 0 in every case.
pub(super) fn run(cli: &Cli, event: &str, session: Option<&str>) {
    // A newer client or installation may know hooks that this program does not.
    let Some(kind) = HookKind::parse(event) else {
        return;
    };
    let handled = catch_unwind(AssertUnwindSafe(|| handle(cli, kind, session)));
    match handled {
        Ok(Ok(Some(answer))) => {
            // The client may be gone.
            drop(writeln!(io::stdout(), "{answer}"));
        }
        Ok(Err(error)) => drop(writeln!(io::stderr(), "telepost hook: {}", Chain(&error))),
        // A panic has been printed.
        Ok(Ok(None)) | Err(_) => {}
    }
}

fn handle(cli: &Cli, kind: HookKind, session: Option<&str>) -> Result<Option<Value>, HookFailure> {
    let hook = Hook {
        kind,
        input: read_input(),
        installation: name_installation(cli, session),
    };
    let env = Env::read();
    let path = config::config_path(cli.config.as_deref(), &env)?;
    let config = Config::load(&path, &env)?;
    let sessions = match session {
        None => config.sessions.keys().cloned().collect(),
        Some(id) => {
            vec![SessionId::new(id).map_err(|_| HookFailure::Session(id.to_owned()))?]
        }
    };
    let now = clock(&env).now();
    for state in list_states(&config, &env)? {
        state.verify().map_err(StateError::from)?;
        let answer = handle_hook(&state, &sessions, &hook, now)?;
        if answer.is_some() {
            return Ok(answer);
        }
    }
    Ok(None)
}

/// The folders in which the state may be. Codex gives its MCP servers little more than HOME
/// (docs/facts/clients.md 5.1) but its hooks all of its environment, so the server may use another folder than
/// the hook.
fn list_states(config: &Config, env: &Env) -> Result<Vec<StateDir>, ConfigError> {
    let mut found = vec![config::state_dir(Some(config), env)?];
    if let Some(home) = env.get("HOME") {
        let bare = config::state_dir(Some(config), &Env::from_pairs([("HOME", home)]));
        found.extend(bare.ok().filter(|other| !found.contains(other)));
    }
    found.retain(|path| Path::is_dir(path));
    Ok(found.into_iter().map(StateDir::new).collect())
}

/// Names an installation of our hooks by its program and arguments.
fn name_installation(cli: &Cli, session: Option<&str>) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let config = cli.config.as_deref().unwrap_or(Path::new("-"));
    let session = session.unwrap_or("-");
    format!("{} {} {session}", program.display(), config.display())
}

/// Reads the client's input from stdin. A missing or unreadable input counts as empty, because the arguments
/// already name the hook.
fn read_input() -> HookInput {
    let (sender, read) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let all = io::stdin().lock().take(INPUT_MAX).read_to_end(&mut bytes);
        // After the time limit there is no receiver.
        drop(sender.send(all.map(|_| bytes)));
    });
    let bytes = read.recv_timeout(INPUT_WITHIN).ok().and_then(Result::ok);
    HookInput::read(&bytes.unwrap_or_default())
}
