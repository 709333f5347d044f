//! Our hooks in Claude Code's `settings.json` and Codex's `hooks.json`, which have the same shape. Pure.
//!
//! A hook is one line for a shell, which does nothing once the program is gone: a client reports a hook that
//! cannot be started at every turn (docs/facts/clients.md 3). A client has one set of hooks per configuration,
//! whatever its sessions: `telepost hook` finds the session by the agent that runs it.

use serde_json::{Value, json};

use super::client::Client;
use super::error::EditError;
use super::json::{self, get_value};
use super::registration::{ServerCommand, find_option, is_telepost};

const HOOKS: &str = "hooks";
const HOOK: &str = "hook";
/// Codex has no such event.
const STOP_FAILURE: &str = "StopFailure";
/// The events that telepost listens to, and the argument of `telepost hook` for each.
const EVENTS: [(&str, &str); 5] = [
    ("SessionStart", "session-start"),
    ("UserPromptSubmit", "prompt"),
    ("Stop", "stop"),
    (STOP_FAILURE, "stop-failure"),
    ("SessionEnd", "end"),
];
/// Seconds after which the client gives up on a hook. Codex accepts no more for `SessionEnd`.
const TIMEOUT: u32 = 3;

/// The hook of one event. Its shell is replaced by the program, which so stays a child of the client.
fn build_hook(server: &ServerCommand, event: &str) -> Value {
    let options = server.args.iter().skip(1).map(String::as_str);
    let options = options.take_while(|word| *word != "--session");
    let words = [&*server.command, HOOK, event].into_iter().chain(options);
    // Only a NUL cannot be quoted, and no argument of a process has one.
    let line = shlex::try_join(words).unwrap_or_default();
    let program = shlex::try_quote(&server.command).unwrap_or_default();
    let line = format!("test ! -x {program} || exec {line}");
    json!({"type": "command", "command": line, "timeout": TIMEOUT})
}

/// The text with our hooks. Those that an earlier version made, one set per session, are replaced.
pub(super) fn put_hooks(
    text: &str,
    server: &ServerCommand,
    client: Client,
) -> Result<String, EditError> {
    json::check_syntax(text)?;
    let mut text = text.to_owned();
    for (event, argument) in EVENTS {
        if event == STOP_FAILURE && client == Client::Codex {
            continue;
        }
        let wanted = build_hook(server, argument);
        let config = find_option(&server.args, "--config");
        let same_config = |hook: &InstalledHook| find_option(&hook.words, "--config") == config;
        let mut keeps_one = false;
        // From the last one, so that the places of the others stay.
        let found = find_hooks(&text, event).into_iter().filter(same_config);
        let found: Vec<InstalledHook> = found.collect();
        for (index, hook) in found.iter().enumerate().rev() {
            if hook.handler == wanted && !keeps_one {
                keeps_one = true;
            } else if index == 0 && !keeps_one {
                text = json::set_value(&text, &hook.path(event), &wanted)?;
                keeps_one = true;
            } else {
                text = remove_hook(&text, event, hook, None);
            }
        }
        if !keeps_one {
            text = json::push_value(&text, &[HOOKS, event], &json!({"hooks": [wanted]}))?;
        }
    }
    Ok(text)
}

/// The text without our hooks, except those that are in `before` too.
pub(super) fn remove_hooks(text: &str, before: Option<&str>) -> String {
    let mut text = text.to_owned();
    for (event, _) in EVENTS {
        let stay = before.map(|before| find_hooks(before, event));
        let stay = stay.unwrap_or_default();
        let goes = |hook: &InstalledHook| !stay.iter().any(|stay| stay.handler == hook.handler);
        while let Some(hook) = find_hooks(&text, event).into_iter().find(goes) {
            let shorter = remove_hook(&text, event, &hook, before);
            if shorter == text {
                break;
            }
            text = shorter;
        }
    }
    text
}

/// The text without a hook, and without its group if that had no other.
fn remove_hook(text: &str, event: &str, hook: &InstalledHook, before: Option<&str>) -> String {
    let path = hook.path(event);
    let length = if hook.is_alone { 3 } else { path.len() };
    json::remove_value(text, path.get(..length).unwrap_or(&path), before)
}

/// One of our hooks in a text.
struct InstalledHook {
    handler: Value,
    words: Vec<String>,
    /// Its group in the list of its event, and its index in that group.
    place: [String; 2],
    /// Whether it is the only hook of its group.
    is_alone: bool,
}

impl InstalledHook {
    fn path<'a>(&'a self, event: &'a str) -> [&'a str; 5] {
        let [group, index] = &self.place;
        [HOOKS, event, group, HOOKS, index]
    }
}

fn find_hooks(text: &str, event: &str) -> Vec<InstalledHook> {
    let groups = get_value(text, &[HOOKS, event]).unwrap_or_default();
    let mut found = Vec::new();
    for (group, handlers) in groups.as_array().into_iter().flatten().enumerate() {
        let handlers = handlers[HOOKS].as_array();
        for (index, handler) in handlers.into_iter().flatten().enumerate() {
            let words = split_words(handler);
            if let [program, subcommand, ..] = &*words
                && is_telepost(program)
                && subcommand == HOOK
            {
                found.push(InstalledHook {
                    handler: handler.clone(),
                    words,
                    place: [group.to_string(), index.to_string()],
                    is_alone: handlers.is_some_and(|handlers| handlers.len() == 1),
                });
            }
        }
    }
    found
}

/// The program and the arguments of a hook: in the form of [`build_hook`], or in those of earlier versions,
/// which were a line without the test, or a program and its arguments.
fn split_words(handler: &Value) -> Vec<String> {
    let command = handler["command"].as_str().unwrap_or_default();
    let mut words = match handler["args"].as_array() {
        None => shlex::split(command).unwrap_or_default(),
        Some(args) => {
            let args = args.iter().filter_map(Value::as_str);
            [command]
                .into_iter()
                .chain(args)
                .map(str::to_owned)
                .collect()
        }
    };
    if let [test, not, executable, tested, or, exec, run, ..] = &*words
        && [&**test, not, executable, or, exec] == ["test", "!", "-x", "||", "exec"]
        && tested == run
    {
        words.drain(..6);
    }
    words
}

#[cfg(test)]
mod tests;
