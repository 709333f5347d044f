//! What telepost has in the files of a client, and from the content of such a file to the content with
//! it and without it again. Pure.
//!
//! Nothing here depends on what was written earlier: what is ours is recognised by what it says. The
//! content from before, where it is known, decides what stays.

use serde_json::{Value, json};

use super::hooks::{self, Form};
use super::json::{self, Mistake};
use super::toml;

/// The name of the MCP server in both clients; commands, skills and allow rules count on it.
pub const SERVER: &str = "telegram";
const SERVERS: &str = "mcpServers";
const PROJECTS: &str = "projects";
const ALLOW: [&str; 2] = ["permissions", "allow"];
/// The rule that allows our three tools (clients.md 1).
pub const RULE: &str = "mcp__telegram__*";
/// A rule that allows them too.
const WIDER_RULE: &str = "mcp__telegram";

/// How a client starts the MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Server {
    /// Whether it is a telepost, whichever.
    fn is_ours(&self) -> bool {
        is_telepost(&self.command) && self.args.iter().any(|argument| argument == "mcp")
    }
}

/// Whether a program is a telepost, by its name.
pub(super) fn is_telepost(command: &str) -> bool {
    command.rsplit('/').next() == Some("telepost")
}

/// What is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// How the server is started.
    pub server: Server,
    /// The folder whose windows get it; `None`: all. Claude Code only.
    pub folder: Option<String>,
}

/// What telepost has in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Claude Code's `.claude.json`: the server.
    ClaudeServers,
    /// Claude Code's `settings.json`: the allow rule, and the hooks.
    ClaudeSettings,
    /// Codex's `config.toml`: the server, and that its tools need no approval.
    CodexConfig,
    /// Codex's `hooks.json`: the hooks.
    CodexHooks,
    /// The whole file: a command or a skill.
    Text(&'static str),
}

impl Kind {
    /// The content to assume for a file of which nobody knows what was in it before.
    pub fn blank(self) -> Option<&'static str> {
        match self {
            Self::ClaudeServers | Self::ClaudeSettings | Self::CodexHooks => Some("{}"),
            Self::CodexConfig => Some(""),
            Self::Text(_) => None,
        }
    }
}

/// Why a file is left as it is, and with it all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not what it should be.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// A value is of another kind than it must be.
    Shape {
        /// The keys that lead to it.
        place: String,
        /// What it must be.
        expected: &'static str,
    },
    /// There is a server of that name, and it is no telepost.
    Foreign {
        /// The program that it starts.
        command: String,
    },
}

impl From<Mistake> for Refusal {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::Syntax { line, column, what } => Self::Syntax { line, column, what },
            Mistake::Shape { place, expected } => Self::Shape { place, expected },
        }
    }
}

/// What is already known of a file, and what may be done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// Its content is what an earlier installation wrote.
    pub ours: bool,
    /// What is in the way may be replaced.
    pub replace: bool,
}

/// The content with telepost in it. `None`: a text that is somebody else's work stays.
pub fn put(
    kind: Kind,
    registration: &Registration,
    text: Option<&str>,
    leave: Leave,
) -> Result<Option<String>, Refusal> {
    match kind {
        Kind::ClaudeServers => claude_servers(document(text), registration, leave).map(Some),
        Kind::ClaudeSettings => claude_settings(document(text), &registration.server).map(Some),
        Kind::CodexHooks => {
            let text = hooks::put(document(text), &registration.server, Form::Shell)?;
            Ok(Some(text))
        }
        Kind::CodexConfig => {
            codex_config(text.unwrap_or_default(), &registration.server, leave).map(Some)
        }
        Kind::Text(content) => {
            let stays = text.is_some_and(|text| text != content) && !leave.ours && !leave.replace;
            Ok((!stays).then(|| content.to_owned()))
        }
    }
}

/// The document that nothing stands for.
fn document(text: Option<&str>) -> &str {
    text.filter(|text| !text.trim().is_empty())
        .unwrap_or("{}\n")
}

fn claude_servers(
    text: &str,
    registration: &Registration,
    leave: Leave,
) -> Result<String, Refusal> {
    json::check(text)?;
    let path = match &registration.folder {
        Some(folder) => vec![PROJECTS, folder, SERVERS, SERVER],
        None => vec![SERVERS, SERVER],
    };
    let Server { command, args } = &registration.server;
    let wanted = json!({"type": "stdio", "command": command, "args": args});
    let found = json::get(text, &path);
    if found.is_none() {
        return Ok(json::set(text, &path, &wanted)?);
    }
    match found.as_ref().map(claude_server) {
        Some(server) if !server.is_ours() && !leave.replace => Err(Refusal::Foreign {
            command: server.command,
        }),
        Some(server) if server.is_ours() => {
            // What else somebody has set there (a time limit, variables) stays.
            let mut text = text.to_owned();
            for (key, value) in wanted.as_object().into_iter().flatten() {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                if json::get(&text, &path).as_ref() != Some(value) {
                    text = json::set(&text, &path, value)?;
                }
            }
            Ok(text)
        }
        _ => Ok(json::set(text, &path, &wanted)?),
    }
}

fn claude_server(entry: &Value) -> Server {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let args = entry["args"].as_array();
    Server {
        command: text(&entry["command"]),
        args: args.into_iter().flatten().map(text).collect(),
    }
}

fn claude_settings(text: &str, server: &Server) -> Result<String, Refusal> {
    json::check(text)?;
    let text = &hooks::put(text, server, Form::Exec)?;
    let rules = json::get(text, &ALLOW);
    let has = |rule: &str| {
        let rules = rules.as_ref().and_then(Value::as_array);
        rules.is_some_and(|rules| rules.iter().any(|one| one == rule))
    };
    if has(RULE) || has(WIDER_RULE) {
        return Ok(text.to_owned());
    }
    Ok(json::push(text, &ALLOW, &Value::from(RULE))?)
}

fn codex_config(text: &str, server: &Server, leave: Leave) -> Result<String, Refusal> {
    toml::check(text)?;
    let found = toml::get(text);
    let fresh = match &found {
        Some(found) if !found.is_ours() && !leave.replace => {
            return Err(Refusal::Foreign {
                command: found.command.clone(),
            });
        }
        Some(found) => !found.is_ours(),
        None => toml::contains(text) && leave.replace,
    };
    Ok(toml::put(text, server, fresh)?)
}

/// The content without telepost, as far as it was not there `before`. `None`: nothing of the file is
/// left.
pub fn take(
    kind: Kind,
    text: &str,
    before: Option<&str>,
    leave: Leave,
) -> Result<Option<String>, Refusal> {
    let kept = match kind {
        Kind::ClaudeServers => without_claude_servers(text, before)?,
        Kind::ClaudeSettings => {
            json::check(document(Some(text)))?;
            let text = json::withdraw(text, &ALLOW, &Value::from(RULE), before);
            hooks::take(&text, before)
        }
        Kind::CodexHooks => {
            json::check(document(Some(text)))?;
            hooks::take(text, before)
        }
        Kind::CodexConfig => toml::restore(text, before)?,
        Kind::Text(content) => {
            return Ok(if text == content || leave.ours {
                before.map(str::to_owned)
            } else {
                Some(text.to_owned())
            });
        }
    };
    let empty = kept.trim().is_empty() || json::get(&kept, &[]) == Some(json!({}));
    match before {
        None if empty && kept != text => Ok(None),
        // What was blank before is no document, so nothing could be restored from it.
        Some(before) if empty && before.trim().is_empty() => Ok(Some(before.to_owned())),
        _ => Ok(Some(kept)),
    }
}

fn without_claude_servers(text: &str, before: Option<&str>) -> Result<String, Refusal> {
    json::check(document(Some(text)))?;
    let before = before.filter(|before| json::check(before).is_ok());
    let folders = json::keys(text, &[PROJECTS]);
    let mut places: Vec<Vec<&str>> = folders
        .iter()
        .map(|folder| vec![PROJECTS, folder.as_str(), SERVERS, SERVER])
        .collect();
    places.push(vec![SERVERS, SERVER]);
    let mut text = text.to_owned();
    for path in places {
        let entry = json::get(&text, &path);
        if entry.is_some_and(|entry| claude_server(&entry).is_ours()) {
            text = json::restore(&text, &path, before);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
