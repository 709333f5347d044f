//! From the content of a client's file to the content with telepost and without it. Pure.
//!
//! Our content is recognised by its own text, not by a memory of earlier writes. The content from before
//! the installation, where it is known, decides what stays.

use serde_json::{Value, json};

use super::client::Client;
use super::error::EditError;
use super::hooks;
use super::json::{self, get_value};
use super::registration::{ServerCommand, ServerRegistration};
use super::toml;

/// The name of the MCP server in both clients; commands, skills and allow rules count on it.
pub(crate) const SERVER: &str = "telegram";
const SERVERS: &str = "mcpServers";
const PROJECTS: &str = "projects";
const ALLOW: [&str; 2] = ["permissions", "allow"];
/// The rule that allows our three tools.
pub(crate) const RULE: &str = "mcp__telegram__*";
/// The same for the tools of the plugin.
pub(super) const PLUGIN_RULE: &str = "mcp__plugin_telepost_telegram__*";

/// The part of a file that is telepost's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileContent {
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

impl FileContent {
    /// The content from before that is assumed if none is recorded.
    pub(super) fn blank(self) -> Option<&'static str> {
        match self {
            Self::ClaudeServers | Self::ClaudeSettings | Self::CodexHooks => Some("{}"),
            Self::CodexConfig => Some(""),
            Self::Text(_) => None,
        }
    }
}

/// The permission to overwrite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overwrite {
    /// The file is still as an earlier installation wrote it.
    pub(crate) as_written: bool,
    /// `--replace`: the user gives up what is in the way.
    pub(crate) replace: bool,
}

/// The content with telepost. `None`: the user has edited a command or skill, and it stays.
pub(crate) fn put_content(
    content: FileContent,
    registration: &ServerRegistration,
    text: Option<&str>,
    overwrite: Overwrite,
) -> Result<Option<String>, EditError> {
    let (server, replace) = (&registration.server, overwrite.replace);
    let new = match content {
        FileContent::ClaudeServers => put_claude_server(or_empty(text), registration, replace)?,
        FileContent::ClaudeSettings => {
            let text = hooks::put_hooks(or_empty(text), server, Client::Claude)?;
            put_allow_rule(text)?
        }
        FileContent::CodexHooks => hooks::put_hooks(or_empty(text), server, Client::Codex)?,
        FileContent::CodexConfig => toml::put_server(text.unwrap_or_default(), server, replace)?,
        FileContent::Text(new) => {
            let is_edited = text.is_some_and(|text| text != new) && !overwrite.as_written;
            return Ok((replace || !is_edited).then(|| new.to_owned()));
        }
    };
    Ok(Some(new))
}

/// An empty file counts as an empty object.
fn or_empty(text: Option<&str>) -> &str {
    text.filter(|text| !text.trim().is_empty())
        .unwrap_or("{}\n")
}

fn put_claude_server(
    text: &str,
    registration: &ServerRegistration,
    replace: bool,
) -> Result<String, EditError> {
    json::check_syntax(text)?;
    let path = claude_path(registration.folder.as_deref());
    let ServerCommand { command, args } = &registration.server;
    let wanted = json!({"type": "stdio", "command": command, "args": args});
    let found = get_value(text, &path).map(|entry| read_claude_server(&entry));
    match found {
        Some(found) if found.is_ours() => {
            // Settings that the user has added to the entry (a time limit, variables) stay.
            let mut text = text.to_owned();
            for (key, value) in wanted.as_object().into_iter().flatten() {
                let path = [&*path, &[key]].concat();
                if get_value(&text, &path).as_ref() != Some(value) {
                    text = json::set_value(&text, &path, value)?;
                }
            }
            Ok(text)
        }
        Some(ServerCommand { command, .. }) if !replace => Err(EditError::OtherServer { command }),
        Some(_) | None => json::set_value(text, &path, &wanted),
    }
}

fn read_claude_server(entry: &Value) -> ServerCommand {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let args = entry["args"].as_array();
    ServerCommand {
        command: text(&entry["command"]),
        args: args.into_iter().flatten().map(text).collect(),
    }
}

fn put_allow_rule(text: String) -> Result<String, EditError> {
    if allows(&text, RULE) {
        return Ok(text);
    }
    json::push_value(&text, &ALLOW, &RULE.into())
}

/// Whether Claude Code's settings have this rule, or the wider one for the whole server.
pub(super) fn allows(settings: &str, rule: &str) -> bool {
    let wider = rule.trim_end_matches("__*");
    let rules = get_value(settings, &ALLOW).unwrap_or_default();
    let mut rules = rules.as_array().into_iter().flatten();
    rules.any(|found| found == rule || found == wider)
}

/// The server in a file of a client, for a folder or for all.
pub(super) fn find_server(
    content: FileContent,
    folder: Option<&str>,
    text: &str,
) -> Option<ServerCommand> {
    match content {
        FileContent::ClaudeServers => {
            let entry = get_value(text, &claude_path(folder))?;
            Some(read_claude_server(&entry))
        }
        FileContent::CodexConfig => toml::get_server(text),
        FileContent::ClaudeSettings | FileContent::CodexHooks | FileContent::Text(_) => None,
    }
}

/// Whether Claude Code has our server, in any folder.
pub(super) fn has_claude_server(text: &str) -> bool {
    let folders = json::list_keys(text, &[PROJECTS]);
    let folders = folders.iter().map(|folder| Some(folder.as_str()));
    let find = |folder| find_server(FileContent::ClaudeServers, folder, text);
    folders
        .chain([None])
        .filter_map(find)
        .any(|server| server.is_ours())
}

fn claude_path(folder: Option<&str>) -> Vec<&str> {
    match folder {
        Some(folder) => vec![PROJECTS, folder, SERVERS, SERVER],
        None => vec![SERVERS, SERVER],
    }
}

/// The content without telepost, except for what was there `before`. `None`: nothing is left of the file.
pub(crate) fn remove_content(
    content: FileContent,
    text: &str,
    before: Option<&str>,
    as_written: bool,
) -> Result<Option<String>, EditError> {
    let checked = || json::check_syntax(or_empty(Some(text)));
    let left = match content {
        FileContent::ClaudeServers => {
            checked()?;
            remove_claude_servers(text, before)
        }
        FileContent::ClaudeSettings => {
            checked()?;
            let text = json::withdraw_value(text, &ALLOW, &RULE.into(), before);
            hooks::remove_hooks(&text, before)
        }
        FileContent::CodexHooks => {
            checked()?;
            hooks::remove_hooks(text, before)
        }
        FileContent::CodexConfig => toml::restore_server(text, before)?,
        FileContent::Text(ours) => {
            let is_ours = as_written || text == ours;
            let left = if is_ours { before } else { Some(text) };
            return Ok(left.map(str::to_owned));
        }
    };
    let is_empty = left.trim().is_empty() || get_value(&left, &[]) == Some(json!({}));
    Ok(match before {
        None if is_empty && left != text => None,
        // Blanks are not a document, so no edit can bring them back.
        Some(before) if is_empty && before.trim().is_empty() => Some(before.to_owned()),
        Some(_) | None => Some(left),
    })
}

fn remove_claude_servers(text: &str, before: Option<&str>) -> String {
    let before = before.filter(|before| json::check_syntax(before).is_ok());
    let folders = json::list_keys(text, &[PROJECTS]);
    let folders = folders.iter().map(|folder| Some(folder.as_str()));
    let mut text = text.to_owned();
    for path in folders.chain([None]).map(claude_path) {
        let entry = get_value(&text, &path);
        if entry.is_some_and(|entry| read_claude_server(&entry).is_ours()) {
            text = json::restore_value(&text, &path, before);
        }
    }
    text
}

#[cfg(test)]
mod tests;
