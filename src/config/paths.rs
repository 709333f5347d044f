//! The places of the configuration and of the state, and the reading of written paths.

use std::path::{Path, PathBuf};

use super::Config;
use super::env::Env;
use super::error::{ConfigError, Problem, Violation, refuse_if, violation};
use super::file::read_file;

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
    let (place, found) = match given {
        Some((place, path)) => (place, absolute(path, env)),
        None => (
            variable("HOME"),
            xdg("XDG_CONFIG_HOME", ".config", env)
                .map(|folder| folder.join("sessions.json"))
                .ok_or_else(|| {
                    violation(
                        "is not set, so there is no ~/.config/telepost/sessions.json",
                        "set HOME, or name the file with --config or in TG_SESSIONS_CONFIG",
                    )
                }),
        ),
    };
    found.map_err(|violation| {
        let problem = Problem::from_violation(&place, violation);
        ConfigError::new("it is not clear where the configuration is:", problem)
    })
}

/// The state folder, always absolute: `TELEPOST_STATE_DIR`, else `state_dir` of the configuration,
/// else `$XDG_STATE_HOME/telepost`, else `~/.local/state/telepost`.
pub fn state_dir(config: Option<&Config>, env: &Env) -> Result<PathBuf, ConfigError> {
    let configured = config.and_then(|config| config.state_dir.clone());
    let (name, found) = match (env.get(STATE_VARIABLE), configured) {
        (Some(path), _) => (STATE_VARIABLE, absolute(Path::new(path), env)),
        (None, Some(path)) => return Ok(path),
        (None, None) => ("HOME", xdg("XDG_STATE_HOME", ".local/state", env).ok_or_else(|| {
            violation(
                "is not set, so there is no ~/.local/state/telepost",
                "set HOME, or name the folder in TELEPOST_STATE_DIR or with \"state_dir\" in the configuration",
            )
        })),
    };
    found.map_err(|violation| {
        let problem = Problem::from_violation(&variable(name), violation);
        ConfigError::new("it is not clear where the state belongs:", problem)
    })
}

/// The state folder that a configuration names although it is refused, as far as that can be read.
pub fn guess_state_dir(path: &Path, env: &Env) -> Option<PathBuf> {
    let (bytes, _) = read_file(path).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let folder = expand(value.get("state_dir")?.as_str()?, env).ok()?;
    Some(tidy(&path.parent()?.join(folder)))
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
            violation(what, "write an absolute path")
        })
}

/// A written path with `~/` replaced; it may still be relative.
pub(super) fn expand(text: &str, env: &Env) -> Result<PathBuf, Violation> {
    let absolute = "write an absolute path or one that begins with ~/";
    refuse_if(text.trim().is_empty(), "is empty", absolute)?;
    refuse_if(
        text.contains(char::is_control),
        "contains a control character",
        "write the path without line breaks and tabs",
    )?;
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(tidy(Path::new(text)));
    };
    refuse_if(
        !rest.is_empty() && !rest.starts_with('/'),
        "begins with ~ and a name",
        "write the path out; the only short form is ~/ (your own home)",
    )?;
    let home = home(env).ok_or_else(|| {
        let what = "begins with ~/, but HOME is not set";
        violation(what, "write the path out, beginning with /")
    })?;
    Ok(tidy(&home.join(rest.trim_start_matches('/'))))
}

/// Without `.`, doubled and final slashes. `..` stays: its meaning depends on links.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path without links where it exists, else as written.
pub(super) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
