//! Our hooks in Claude Code's `settings.json` and Codex's `hooks.json`, which have the same shape. Pure.
//!
//! Claude Code starts a hook as a program with arguments; Codex 0.169 ignores the arguments and gives one
//! command line to a shell. In either form a hook is ours if it starts `telepost hook`. Each session has
//! hooks of its own, and only those of the running agent speak.

use serde_json::{Value, json};

use super::error::EditError;
use super::json::{self, get_value};
use super::registration::{ServerCommand, is_telepost};

const HOOKS: &str = "hooks";
/// The subcommand.
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

/// How a client writes a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookForm {
    /// A program and its arguments.
    Exec,
    /// A command line for a shell.
    Shell,
}

/// The hook of one event, for the agents of this MCP server.
fn build_hook(server: &ServerCommand, event: &str, form: HookForm) -> Value {
    let options = server.args.iter().skip(1).map(String::as_str);
    let args: Vec<&str> = [HOOK, event].into_iter().chain(options).collect();
    match form {
        HookForm::Exec => json!({
            "type": "command", "command": server.command, "args": args, "timeout": TIMEOUT,
        }),
        HookForm::Shell => {
            let words = [&*server.command].into_iter().chain(args);
            // Only a NUL cannot be quoted, and no argument of a process has one.
            let line = shlex::try_join(words).unwrap_or_default();
            json!({"type": "command", "command": line, "timeout": TIMEOUT})
        }
    }
}

/// The text with our hooks. One for the same session is replaced.
pub(super) fn put_hooks(
    text: &str,
    server: &ServerCommand,
    form: HookForm,
) -> Result<String, EditError> {
    json::check_syntax(text)?;
    let mut text = text.to_owned();
    for (event, argument) in EVENTS {
        if event == STOP_FAILURE && form == HookForm::Shell {
            continue;
        }
        let wanted = build_hook(server, argument, form);
        let session = find_session(&server.args);
        let found = find_hooks(&text, event);
        if found.iter().any(|hook| hook.handler == wanted) {
            continue;
        }
        let same_session = |hook: &&InstalledHook| find_session(&hook.words) == session;
        text = match found.iter().find(same_session) {
            Some(old) => json::set_value(&text, &old.path(event), &wanted)?,
            None => json::push_value(&text, &[HOOKS, event], &json!({"hooks": [wanted]}))?,
        };
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
            let path = hook.path(event);
            let [events, event, group, ..] = path;
            let shorter = if hook.is_alone {
                json::remove_value(&text, &[events, event, group], before)
            } else {
                json::remove_value(&text, &path, before)
            };
            if shorter == text {
                break;
            }
            text = shorter;
        }
    }
    text
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

/// The program and the arguments of a hook, in either form.
fn split_words(handler: &Value) -> Vec<String> {
    let command = handler["command"].as_str().unwrap_or_default();
    let Some(args) = handler["args"].as_array() else {
        return shlex::split(command).unwrap_or_default();
    };
    let args = args.iter().filter_map(Value::as_str);
    [command]
        .into_iter()
        .chain(args)
        .map(str::to_owned)
        .collect()
}

fn find_session(args: &[String]) -> Option<&String> {
    let at = args.iter().position(|word| word == "--session")?;
    args.get(at + 1)
}

#[cfg(test)]
mod tests;
