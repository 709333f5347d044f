//! The files of each client that telepost has a part in. All that differs between the clients is this list.

use std::path::PathBuf;

use super::plan::FileContent;
use crate::config::Env;

const COMMAND: &str = include_str!("../../commands/telegram-reply.md");
const SKILL: &str = include_str!("../../skills/telegram/SKILL.md");

/// A client that agents run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
}

impl Client {
    /// Its product name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
        }
    }

    /// Its name on the command line.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    /// The variable that moves its files.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Claude => "CLAUDE_CONFIG_DIR",
            Self::Codex => "CODEX_HOME",
        }
    }

    /// The command that a person types there to read the mailbox.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Claude => "/telegram-reply",
            Self::Codex => "$telegram",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFile {
    pub(crate) path: PathBuf,
    /// The part of it that is telepost's.
    pub(crate) content: FileContent,
    /// The same for people.
    pub(crate) purpose: &'static str,
}

impl ClientFile {
    fn new(path: PathBuf, content: FileContent, purpose: &'static str) -> Self {
        Self {
            path,
            content,
            purpose,
        }
    }

    /// Whether the whole file is ours.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.content, FileContent::Text(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// In the order in which telepost changes them.
    pub(crate) files: Vec<ClientFile>,
    /// The record of the installation.
    pub(crate) record: PathBuf,
}

impl ClientFiles {
    /// The files of a client. `None`: neither its variable nor `HOME` says where they are.
    pub(crate) fn locate(client: Client, env: &Env) -> Option<Self> {
        // A relative folder would be another one in each working directory.
        let folder = |variable| {
            let path = env.get(variable).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let (home, moved) = (folder("HOME"), folder(client.variable()));
        let default = format!(".{}", client.argument());
        let root = moved
            .clone()
            .or_else(|| Some(home.clone()?.join(default)))?;
        let mut files = match client {
            Client::Claude => vec![
                ClientFile::new(
                    moved.or(home)?.join(".claude.json"),
                    FileContent::ClaudeServers,
                    "the MCP server `telegram`",
                ),
                ClientFile::new(
                    root.join("settings.json"),
                    FileContent::ClaudeSettings,
                    "the rule that allows its tools, and the hooks",
                ),
                ClientFile::new(
                    root.join("commands/telegram-reply.md"),
                    FileContent::Text(COMMAND),
                    "the command /telegram-reply",
                ),
            ],
            Client::Codex => vec![
                ClientFile::new(
                    root.join("config.toml"),
                    FileContent::CodexConfig,
                    "the MCP server `telegram` with its tools approved",
                ),
                ClientFile::new(
                    root.join("hooks.json"),
                    FileContent::CodexHooks,
                    "the hooks",
                ),
            ],
        };
        files.push(ClientFile::new(
            root.join("skills/telegram/SKILL.md"),
            FileContent::Text(SKILL),
            "the skill `telegram`",
        ));
        Some(Self {
            files,
            record: root.join("telepost-install.json"),
        })
    }
}

#[cfg(test)]
mod tests;
