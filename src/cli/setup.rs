//! The things that most commands need before they begin.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::arguments::Cli;
use super::failure::Failure;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, Env};
use crate::gateway::singleton;
use crate::ids::SessionId;
use crate::launch::Launch;
use crate::ops::list_sessions;
use crate::state::layout::StateDir;
use crate::text::one_line;

/// The configuration, the state folder that it names, and the clocks.
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) state: StateDir,
    pub(super) clock: Clock,
}

impl Setup {
    /// Refuses a state folder that other users can change, before anything of it is read.
    pub(super) fn load(cli: &Cli, env: &Env) -> Result<Self, Failure> {
        let path = config::config_path(cli.config.as_deref(), env)?;
        let config = Config::load(&path, env)?;
        let state = StateDir::new(config::state_dir(Some(&config), env)?);
        state.verify()?;
        let clock = clock(env);
        Ok(Self {
            config,
            state,
            clock,
        })
    }

    /// How to start a gateway with this configuration.
    pub(super) fn launch(&self, replace: bool) -> Result<Launch, Failure> {
        Ok(Launch {
            program: find_program()?,
            config: self.config.path.clone(),
            state: self.state.root().to_owned(),
            replace,
        })
    }
}

/// The same for the commands that look and mend: they work although the configuration is refused or gone, with
/// the state folder that it names, or that a running gateway named.
pub(super) struct LenientSetup {
    pub(super) path: PathBuf,
    pub(super) config: Result<Config, ConfigError>,
    pub(super) state: StateDir,
    pub(super) clock: Clock,
}

impl LenientSetup {
    pub(super) fn load(cli: &Cli, env: &Env) -> Result<Self, Failure> {
        let path = config::config_path(cli.config.as_deref(), env)?;
        let config = Config::load(&path, env);
        let state = match &config {
            Ok(config) => config::state_dir(Some(config), env)?,
            Err(_) => find_state(&path, env)?,
        };
        let state = StateDir::new(state);
        state.verify()?;
        Ok(Self {
            path,
            config,
            state,
            clock: clock(env),
        })
    }

    /// Loads, and tells on stderr what is wrong with the configuration.
    pub(super) fn load_and_warn(cli: &Cli, env: &Env) -> Result<Self, Failure> {
        let inspection = Self::load(cli, env)?;
        if let Err(error) = &inspection.config {
            let state = inspection.state.root().display();
            drop(writeln!(
                io::stderr(),
                "telepost: warning: {error}\n  Until then this command works with the state folder {state}."
            ));
        }
        Ok(inspection)
    }

    /// The session of that name. Refuses one that is neither configured nor has a folder.
    pub(super) fn find_session(&self, name: &str) -> Result<SessionId, Failure> {
        let id = SessionId::new(name).map_err(|error| {
            Failure::refused(format!("{} is not a session id: {error}", one_line(name)))
        })?;
        if list_sessions(self.config.as_ref().ok(), &self.state)?.contains(&id) {
            return Ok(id);
        }
        Err(Failure::refused(format!(
            "there is no session {id}; `telepost status` lists the sessions"
        )))
    }
}

/// The state folder of a configuration that is refused: that of the environment, the one that the file names as
/// far as it can be read, that of a gateway which still runs with it, or the usual one.
fn find_state(path: &Path, env: &Env) -> Result<PathBuf, ConfigError> {
    let usual = config::state_dir(None, env);
    if env.get("TELEPOST_STATE_DIR").is_some() {
        return usual;
    }
    let named = config::guess_state_dir(path, env).or_else(|| singleton::find_state_of(path));
    named.map_or(usual, Ok)
}

/// The path of this program.
pub(super) fn find_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::io("find this program"))
}

/// Runs a future to its end on this thread.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::io("start the runtime"))?;
    Ok(runtime.block_on(future))
}

#[cfg(not(feature = "test-hooks"))]
pub(super) fn clock(_env: &Env) -> Clock {
    Clock::system()
}

/// A test moves the wall clock of one process with `TELEPOST_TEST_CLOCK_MS`.
#[cfg(feature = "test-hooks")]
pub(super) fn clock(env: &Env) -> Clock {
    let shift = env.get("TELEPOST_TEST_CLOCK_MS");
    Clock::shifted(shift.and_then(|shift| shift.parse().ok()).unwrap_or(0))
}
