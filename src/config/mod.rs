//! The configuration: `sessions.json`, the few variables around it, and the tokens.
//!
//! A configuration is accepted as a whole or refused as a whole, with every mistake at once: a half
//! configured gate would be an open one. Reading it needs no token and writes nothing. The tokens
//! are read apart from it ([`Tokens::read`]), by the gateway and `telepost check` only.

mod api_url;
mod check;
mod dotenv;
mod env;
mod error;
mod id_lists;
mod json;
mod paths;
mod serving;
mod session;
mod token;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use url::Url;

pub use self::env::Env;
pub(crate) use self::error::redact;
pub use self::error::{ConfigError, Problem};
pub use self::paths::{config_path, state_dir};
pub use self::serving::Binding;
pub use self::token::{MalformedToken, Token};
pub use self::tokens::{Bot, TokenState, Tokens};
use crate::ids::{Address, BotId, ChatId, SessionId, UserId};

/// A configuration without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file, absolute.
    pub path: PathBuf,
    /// At least one session.
    pub sessions: BTreeMap<SessionId, Session>,
    /// The session that is served when nothing else decides; always one of `sessions`.
    pub default: SessionId,
    /// `state_dir`, absolute. Ask [`state_dir`], which also knows the environment.
    pub state_dir: Option<PathBuf>,
    /// The Bot API's address, without a final slash behind a path: push segments (`bot<token>`, the
    /// method) with `path_segments_mut`, as teloxide does; `Url::join` would read `bot1:` as a scheme.
    pub api_url: Url,
    /// Who starts the gateway.
    pub gateway: GatewayStart,
    /// How fast may be sent.
    pub pace: Pace,
    /// Whether people see that an agent has seen their message and works on it.
    pub receipts: Receipts,
}

/// One agent session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id, also its folder name.
    pub id: SessionId,
    /// What people call it; no other session has this name. Its id unless configured.
    pub name: String,
    /// The variable that holds its bot's token.
    pub bot_token_env: String,
    /// Its bot's username, without `@`.
    pub bot_username: Option<String>,
    /// Its chats, without repetitions, never empty; the first is the home chat.
    pub chat_ids: Vec<ChatId>,
    /// Who may write to it, without repetitions, never empty.
    pub allowed_users: Vec<UserId>,
    /// Whether the bot must be meant in a group: by name, by a reply to it, or by a command.
    pub require_mention: bool,
    /// The tmux session that its agent runs in.
    pub tmux_session: Option<String>,
    /// The one line that may be typed there.
    pub tmux_wake_command: Option<String>,
    /// The folder whose agents belong to it, absolute.
    pub cwd: Option<PathBuf>,
    /// Folders from which files may be sent, absolute.
    pub send_roots: Vec<PathBuf>,
    /// Whether an answer is shown as a Telegram reply to the newest message that it answers.
    pub reply_to_message: bool,
}

/// Who starts the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayStart {
    /// An MCP server that finds none running.
    #[default]
    Auto,
    /// A person or a service manager.
    Manual,
}

/// How fast may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Below Telegram's limits.
    #[default]
    Normal,
    /// As fast as it goes, for tests against the simulator.
    Off,
}

/// Whether people see that an agent has been shown their message (👀) and works on it ("typing…").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    /// They do.
    #[default]
    On,
    /// They see the agent's own messages and reactions only.
    Off,
}

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
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, &path, env),
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = good.split(|&byte| byte == b'\n').count();
                let problem = Problem::new(
                    &format!("line {line}"),
                    "has bytes that are not UTF-8",
                    "save the file as UTF-8 in your editor",
                );
                Err(ConfigError::refused(&path, vec![problem]))
            }
        }
    }

    /// Reads `text` as the content of the file at `path`.
    pub fn parse(text: &str, path: &Path, env: &Env) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        check::read(text, path, env).map_err(|problems| ConfigError::refused(path, problems))
    }

    /// What is not forbidden, but probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for session in self.sessions.values() {
            let path = json::child("sessions", session.id.as_str());
            if session
                .allowed_users
                .contains(&UserId(id_lists::PLACEHOLDER))
            {
                warnings.push(format!(
                    "{path}.allowed_users: {} is the placeholder of the examples and nobody's id",
                    id_lists::PLACEHOLDER
                ));
            }
            for chat in session.chat_ids.iter().filter(|chat| chat.0 > 0) {
                if !session.allowed_users.contains(&UserId(chat.0)) {
                    warnings.push(format!(
                        "{path}.chat_ids: {chat} is a person's private chat, but this person is not in \
                         {path}.allowed_users and is never heard"
                    ));
                }
            }
            if session.tmux_wake_command.is_some() && session.tmux_session.is_none() {
                warnings.push(format!("{path}.tmux_wake_command is never typed, because {path}.tmux_session is missing"));
            }
        }
        warnings
    }
}

fn unreadable(path: &Path, error: io::Error) -> ConfigError {
    let shown = path.display();
    let (what, instead) = if error.kind() == io::ErrorKind::NotFound {
        (
            "there is no such file".to_owned(),
            format!(
                "{}. Or name your file with --config or TG_SESSIONS_CONFIG",
                check::smallest()
            ),
        )
    } else {
        (
            error.to_string(),
            format!("make {shown} a file that you may read, or name another one with --config"),
        )
    };
    ConfigError::unreadable(path, Problem::new("", &what, &instead), error)
}
