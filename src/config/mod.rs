//! The configuration: `sessions.json`, the few variables around it, and the tokens.
//!
//! A configuration is accepted as a whole or refused as a whole, with every mistake at once: half a list of people
//! would let the wrong ones in. Reading it needs no token and writes nothing. Tokens are read apart from it
//! ([`Tokens::read`]), by the gateway and `telepost check` only.
//!
//! `keys.rs` declares every key once; struct, reader, JSON schema and documentation come from there.

mod api_url;
mod dotenv;
mod env;
mod error;
mod file;
mod json;
mod key;
mod keys;
mod mark;
mod paths;
mod proxy;
mod reader;
mod rules;
mod serving;
mod sessions;
mod token;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde_json::Value;

pub use self::env::Env;
pub use self::error::{ConfigError, Problem};
use self::file::{FileFault, read_file};
pub(crate) use self::json::RawMembers;
pub use self::keys::{AbsenceNotices, Config, GatewayStart, Pace, Receipts, Session};
pub use self::mark::{ConfigChange, ConfigMark};
pub use self::paths::{config_path, guess_state_dir, state_dir};
pub use self::proxy::{Proxy, ProxySetting};
use self::reader::{Object, Reader};
pub use self::serving::Binding;
pub(crate) use self::token::redact;
pub use self::token::{MalformedToken, Token};
pub use self::tokens::{Bot, TokenState, Tokens};
use crate::ids::{Address, BotId, ChatId, PLACEHOLDER, UserId};

impl Session {
    /// The chat for messages that answer none.
    pub fn home(&self) -> Option<ChatId> {
        self.chat_ids.first().copied()
    }

    /// Its addresses, once its bot is known.
    pub fn addresses(&self, bot_id: BotId) -> impl Iterator<Item = Address> {
        self.chat_ids.iter().map(move |&chat_id| Address {
            bot_id,
            chat_id,
            topic_id: None,
        })
    }
}

impl Config {
    /// Reads the file at `path`. Needs no tokens.
    pub fn load(path: &Path, env: &Env) -> Result<Self, ConfigError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (bytes, _) = read_file(&path).map_err(|fault| explain_unreadable(&path, fault))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &path, env),
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = good.split(|&byte| byte == b'\n').count();
                let problem = Problem::new(
                    &format!("line {line}"),
                    "contains bytes that are not UTF-8",
                    "save the file as UTF-8 in your editor",
                );
                Err(ConfigError::refused(&path, vec![problem]))
            }
        }
    }

    /// Reads `text` as the content of the file at `path`, which is absolute.
    pub fn parse(text: &str, path: &Path, env: &Env) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader {
            env,
            file: path,
            problems: Vec::new(),
        };
        match parse_with(text, &mut reader) {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(ConfigError::refused(path, reader.problems)),
        }
    }

    /// Oddities that are allowed, but probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for session in self.sessions.values() {
            let path = json::child("sessions", session.id.as_str());
            if session.allowed_users.contains(&PLACEHOLDER) {
                warnings.push(format!(
                    "{path}.allowed_users: {PLACEHOLDER} is the placeholder of the examples, not a person's id"
                ));
            }
            let people: BTreeSet<&UserId> = session.allowed_users.iter().collect();
            for chat in session.chat_ids.iter().filter(|chat| chat.0 > 0) {
                if !people.contains(&UserId(chat.0)) {
                    warnings.push(format!(
                        "{path}.chat_ids: {chat} is a person's private chat, but this person is not in \
                         {path}.allowed_users, so nothing from there gets in"
                    ));
                }
            }
            if session.tmux_wake_command.is_some() && session.tmux_session.is_none() {
                warnings.push(format!(
                    "{path}.tmux_wake_command is never typed, because {path}.tmux_session is missing"
                ));
            }
        }
        warnings
    }
}

/// `None` if no key could be read.
fn parse_with(text: &str, reader: &mut Reader<'_>) -> Option<Config> {
    let parsed =
        json::parse(text).map_err(|error| reader.problems.push(explain_syntax(text, &error)));
    let (value, duplicates) = parsed.ok()?;
    for path in duplicates {
        reader.report(
            &path,
            "appears twice; only one of the two could take effect",
            "keep one of them, or rename one",
        );
    }
    let Some(map) = value.as_object() else {
        reader.report(
            "top level",
            format!("is {}, not an object", json::describe(&value)),
            "begin with {\"sessions\": and end with }; sessions.example.json shows every key",
        );
        return None;
    };
    let path = String::new();
    let top = Object { path, map };
    reader.typed(&top.slot(&keys::SCHEMA), Value::as_str);
    let file = reader.file.to_owned();
    Some(Config::read(reader, &top, file))
}

/// The shortest content that a new file can begin with.
fn suggest_content() -> String {
    format!(
        "write {{\"sessions\": {}}} into it; the quick start of the README says how to find your own ids",
        keys::SESSIONS_EXAMPLE
    )
}

fn explain_syntax(text: &str, error: &serde_json::Error) -> Problem {
    if text.trim().is_empty() {
        return Problem::new("", "the file is empty", suggest_content());
    }
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let position = format!(" at line {line} column {column}");
    let message = message.strip_suffix(&position).unwrap_or(&message);
    let (what, instead) = if error.is_eof() {
        (
            "the file ends too early",
            "close what is open: each { needs its }, each [ its ], each string its closing quote",
        )
    } else {
        (
            "this is not JSON",
            "correct it there or just before; every string and every key needs double quotes, a comma goes between two \
             entries and not after the last one, and there are no comments",
        )
    };
    let place = format!("line {line}, column {column}");
    Problem::new(&place, format!("{what}: {message}"), instead)
}

fn explain_unreadable(path: &Path, fault: FileFault) -> ConfigError {
    let (what, instead) = match fault {
        FileFault::Refused(what, instead) => (what, instead),
        FileFault::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            let content = suggest_content();
            (
                "there is no such file".to_owned(),
                format!("{content}. Or name your file with --config or TG_SESSIONS_CONFIG"),
            )
        }
        FileFault::Io(error) => {
            let shown = path.display();
            (
                error.to_string(),
                format!("make {shown} a file that you may read, or name another one with --config"),
            )
        }
    };
    ConfigError::unreadable(path, &what, &instead)
}
