//! Where the configuration and the state are, and how a path in the configuration is read.

use std::io;
use std::path::{Path, PathBuf};

use super::Config;
use super::env::Env;
use super::error::{ConfigError, Problem};

const CONFIG_VARIABLE: &str = "TG_SESSIONS_CONFIG";
const STATE_VARIABLE: &str = "TELEPOST_STATE_DIR";

/// The configuration file: `flag` (`--config`), else `TG_SESSIONS_CONFIG`, else
/// `$XDG_CONFIG_HOME/telepost/sessions.json`, else `~/.config/telepost/sessions.json`.
pub fn config_path(flag: Option<&Path>, env: &Env) -> Result<PathBuf, ConfigError> {
    let given = match flag {
        Some(flag) => Some(("--config".to_owned(), flag)),
        None => env
            .get(CONFIG_VARIABLE)
            .map(|path| (variable(CONFIG_VARIABLE), Path::new(path))),
    };
    if let Some((place, path)) = given {
        return absolute(path, env)
            .map_err(|mistake| mistake.explain(&place, ConfigError::no_config_path));
    }
    xdg("XDG_CONFIG_HOME", ".config", env)
        .map(|folder| folder.join("sessions.json"))
        .ok_or_else(|| {
            ConfigError::no_config_path(Problem::new(
                &variable("HOME"),
                "is not set, so there is no ~/.config/telepost/sessions.json",
                "set HOME, or name the file with --config or in TG_SESSIONS_CONFIG",
            ))
        })
}

/// The state folder, always absolute: `TELEPOST_STATE_DIR`, else `state_dir` of the configuration,
/// else `$XDG_STATE_HOME/telepost`, else `~/.local/state/telepost`.
pub fn state_dir(config: Option<&Config>, env: &Env) -> Result<PathBuf, ConfigError> {
    if let Some(path) = env.get(STATE_VARIABLE) {
        return absolute(Path::new(path), env).map_err(|mistake| {
            mistake.explain(&variable(STATE_VARIABLE), ConfigError::no_state_dir)
        });
    }
    if let Some(path) = config.and_then(|config| config.state_dir.clone()) {
        return Ok(path);
    }
    xdg("XDG_STATE_HOME", ".local/state", env).ok_or_else(|| {
        ConfigError::no_state_dir(Problem::new(
            &variable("HOME"),
            "is not set, so there is no ~/.local/state/telepost",
            "set HOME, or name the folder in TELEPOST_STATE_DIR or with \"state_dir\" in the configuration",
        ))
    })
}

/// How a message names a variable of the environment.
pub(super) fn variable(name: &str) -> String {
    format!("{name} (environment)")
}

/// `telepost` below an XDG folder. A relative XDG variable is ignored, as the specification says.
fn xdg(name: &str, fallback: &str, env: &Env) -> Option<PathBuf> {
    env.get(name)
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(home(env)?.join(fallback)))
        .map(|folder| folder.join("telepost"))
}

fn home(env: &Env) -> Option<PathBuf> {
    env.get("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
}

/// A path from outside the file, made absolute. Clients pass `~/` unexpanded, so it is known here too.
pub(super) fn absolute(path: &Path, env: &Env) -> Result<PathBuf, PathMistake> {
    let path = match path.to_str() {
        Some(text) => expand(text, env)?,
        None => path.to_owned(),
    };
    std::path::absolute(path)
        .map(|path| tidy(&path))
        .map_err(PathMistake::NoWorkingDirectory)
}

/// A written path with `~/` replaced; it may still be relative.
pub(super) fn expand(text: &str, env: &Env) -> Result<PathBuf, PathMistake> {
    if text.trim().is_empty() {
        return Err(PathMistake::Empty);
    }
    if text.contains(char::is_control) {
        return Err(PathMistake::Control);
    }
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(tidy(Path::new(text)));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(PathMistake::OtherHome);
    }
    let home = home(env).ok_or(PathMistake::NoHome)?;
    Ok(tidy(&home.join(rest.trim_start_matches('/'))))
}

/// Without `.`, doubled and final slashes. `..` stays: what it means depends on links.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path without links where it exists, else as written.
pub(super) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Why a written path cannot be used.
#[derive(Debug)]
pub(super) enum PathMistake {
    Empty,
    Control,
    OtherHome,
    NoHome,
    NoWorkingDirectory(io::Error),
}

impl PathMistake {
    /// What is wrong, and what to write instead.
    pub(super) fn texts(&self) -> (&'static str, &'static str) {
        match self {
            Self::Empty => (
                "is empty",
                "write an absolute path or one that begins with ~/",
            ),
            Self::Control => (
                "has a control character in it",
                "write the path without line breaks and tabs",
            ),
            Self::OtherHome => (
                "begins with ~ and a name",
                "write the path out; of the short forms only ~/ (your own home) is known",
            ),
            Self::NoHome => (
                "begins with ~/, but HOME is not set",
                "write the path out, beginning with /",
            ),
            Self::NoWorkingDirectory(_) => (
                "is relative, but the working directory is gone",
                "write an absolute path",
            ),
        }
    }

    fn explain(self, place: &str, error: fn(Problem) -> ConfigError) -> ConfigError {
        let (what, instead) = self.texts();
        let error = error(Problem::new(place, what, instead));
        match self {
            Self::NoWorkingDirectory(source) => error.with_source(source),
            Self::Empty | Self::Control | Self::OtherHome | Self::NoHome => error,
        }
    }
}
