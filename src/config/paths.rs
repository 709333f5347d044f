//! The places of the configuration and of the state, and the reading of written paths.

use std::path::{Path, PathBuf};

use super::Config;
use super::env::Env;
use super::error::{ConfigError, ConfigFailure, Problem, Violation};

const CONFIG_VARIABLE: &str = "TG_SESSIONS_CONFIG";
const STATE_VARIABLE: &str = "TELEPOST_STATE_DIR";

/// The configuration file: `flag` (`--config`), else `TG_SESSIONS_CONFIG`, else
/// `$XDG_CONFIG_HOME/telepost/sessions.json`, else `~/.config/telepost/sessions.json`.
pub fn config_path(flag: Option<&Path>, env: &Env) -> Result<PathBuf, ConfigError> {
    let refuse = |place: &str, violation: &Violation| {
        let problem = Problem::new(place, violation);
        ConfigError::new(ConfigFailure::NoConfigPath, None, vec![problem])
    };
    if let Some(path) = flag {
        return absolute(path, env).map_err(|violation| refuse("--config", &violation));
    }
    if let Some(path) = env.get(CONFIG_VARIABLE) {
        return absolute(Path::new(path), env)
            .map_err(|violation| refuse(&variable(CONFIG_VARIABLE), &violation));
    }
    let folder = xdg("XDG_CONFIG_HOME", ".config", env).ok_or_else(|| {
        let violation = Violation::new(
            "is not set, so there is no ~/.config/telepost/sessions.json",
            "set HOME, or name the file with --config or in TG_SESSIONS_CONFIG",
        );
        refuse(&variable("HOME"), &violation)
    })?;
    Ok(folder.join("sessions.json"))
}

/// The state folder, always absolute: `TELEPOST_STATE_DIR`, else `state_dir` of the configuration,
/// else `$XDG_STATE_HOME/telepost`, else `~/.local/state/telepost`.
pub fn state_dir(config: Option<&Config>, env: &Env) -> Result<PathBuf, ConfigError> {
    let refuse = |name: &str, violation: &Violation| {
        let problem = Problem::new(&variable(name), violation);
        ConfigError::new(ConfigFailure::NoStateDir, None, vec![problem])
    };
    if let Some(path) = env.get(STATE_VARIABLE) {
        return absolute(Path::new(path), env)
            .map_err(|violation| refuse(STATE_VARIABLE, &violation));
    }
    if let Some(path) = config.and_then(|config| config.state_dir.clone()) {
        return Ok(path);
    }
    xdg("XDG_STATE_HOME", ".local/state", env).ok_or_else(|| {
        let violation = Violation::new(
            "is not set, so there is no ~/.local/state/telepost",
            "set HOME, or name the folder in TELEPOST_STATE_DIR or with \"state_dir\" in the configuration",
        );
        refuse("HOME", &violation)
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

/// A path from outside the file, made absolute. Clients pass `~/` unexpanded, so it is expanded here too.
fn absolute(path: &Path, env: &Env) -> Result<PathBuf, Violation> {
    let path = match path.to_str() {
        Some(text) => expand(text, env)?,
        None => path.to_owned(),
    };
    std::path::absolute(path)
        .map(|path| tidy(&path))
        .map_err(|_| {
            let what = "is relative, but the working directory is gone";
            Violation::new(what, "write an absolute path")
        })
}

/// A written path with `~/` replaced; it may still be relative.
pub(super) fn expand(text: &str, env: &Env) -> Result<PathBuf, Violation> {
    let (what, instead) = if text.trim().is_empty() {
        (
            "is empty",
            "write an absolute path or one that begins with ~/",
        )
    } else if text.contains(char::is_control) {
        (
            "contains a control character",
            "write the path without line breaks and tabs",
        )
    } else if let Some(rest) = text.strip_prefix('~') {
        match home(env) {
            _ if !rest.is_empty() && !rest.starts_with('/') => (
                "begins with ~ and a name",
                "write the path out; the only short form is ~/ (your own home)",
            ),
            Some(home) => return Ok(tidy(&home.join(rest.trim_start_matches('/')))),
            None => (
                "begins with ~/, but HOME is not set",
                "write the path out, beginning with /",
            ),
        }
    } else {
        return Ok(tidy(Path::new(text)));
    };
    Err(Violation::new(what, instead))
}

/// Without `.`, doubled and final slashes. `..` stays: its meaning depends on links.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path without links where it exists, else as written.
pub(super) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
