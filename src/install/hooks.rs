//! Our hooks in a file of a client: Claude Code's `settings.json` and Codex's `hooks.json` have the same
//! shape. Pure.
//!
//! Claude Code starts a hook as a program with arguments; Codex 0.169 ignores the arguments and gives one
//! command line to a shell. Whichever form it has, a hook is ours if it starts `telepost hook`. There may
//! be one for each session: only the one whose agent it is speaks.

use serde_json::{Value, json};

use super::json::{self, Mistake};
use super::plan::{Server, is_telepost};

const HOOKS: &str = "hooks";
/// The events that we hear, and what `telepost hook` calls them.
const EVENTS: [(&str, &str); 5] = [
    ("SessionStart", "session-start"),
    ("UserPromptSubmit", "prompt"),
    ("Stop", "stop"),
    (STOP_FAILURE, "stop-failure"),
    ("SessionEnd", "end"),
];
/// Only Claude Code tells of this.
const STOP_FAILURE: &str = "StopFailure";
/// Seconds after which the client gives a hook up. Codex takes no more for the last event.
const TIMEOUT: u32 = 3;

/// How a client writes a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A program and its arguments.
    Exec,
    /// A line for a shell.
    Shell,
}

/// The hook of one event, for the agents of this MCP server.
fn handler(server: &Server, event: &str, form: Form) -> Value {
    let options = server.args.iter().skip(1);
    let args: Vec<&str> = [HOOK, event]
        .into_iter()
        .chain(options.map(String::as_str))
        .collect();
    match form {
        Form::Exec => json!({
            "type": "command", "command": server.command, "args": args, "timeout": TIMEOUT,
        }),
        Form::Shell => {
            let words = [&*server.command].into_iter().chain(args);
            let line: Vec<String> = words.map(quoted).collect();
            json!({"type": "command", "command": line.join(" "), "timeout": TIMEOUT})
        }
    }
}

/// The subcommand.
const HOOK: &str = "hook";

/// The text with our hooks in it. One of ours for the same session is replaced.
pub(super) fn put(text: &str, server: &Server, form: Form) -> Result<String, Mistake> {
    json::check(text)?;
    let mut text = text.to_owned();
    for (event, name) in EVENTS {
        if event == STOP_FAILURE && form == Form::Shell {
            continue;
        }
        let wanted = handler(server, name, form);
        let session = session(&server.args);
        let same = |ours: &&Ours| self::session(&ours.words) == session;
        let found = ours(&text, event);
        if found.iter().any(|ours| ours.handler == wanted) {
            continue;
        }
        text = match found.iter().find(same) {
            Some(old) => json::set(&text, &old.path(event), &wanted)?,
            None => json::push(&text, &[HOOKS, event], &json!({"hooks": [wanted]}))?,
        };
    }
    Ok(text)
}

/// The text without our hooks, but with those that are in `before` too.
pub(super) fn take(text: &str, before: Option<&str>) -> String {
    let mut text = text.to_owned();
    for (event, _) in EVENTS {
        let stay = before.map(|before| ours(before, event)).unwrap_or_default();
        let goes = |ours: &Ours| !stay.iter().any(|stay| stay.handler == ours.handler);
        while let Some(ours) = ours(&text, event).into_iter().find(goes) {
            let shorter = if ours.is_alone {
                json::withdraw(&text, &[HOOKS, event], &ours.group, before)
            } else {
                let path = ours.path(event);
                let (_, list) = path.split_last().unwrap_or((&"", &[]));
                json::withdraw(&text, list, &ours.handler, None)
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
struct Ours {
    group: Value,
    handler: Value,
    words: Vec<String>,
    /// Which group of its event, and which of its hooks.
    place: [String; 2],
    /// Whether nothing else is in its group.
    is_alone: bool,
}

impl Ours {
    fn path<'a>(&'a self, event: &'a str) -> [&'a str; 5] {
        let [group, hook] = &self.place;
        [HOOKS, event, group, HOOKS, hook]
    }
}

fn ours(text: &str, event: &str) -> Vec<Ours> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let groups = json::get(text, &[HOOKS, event]).unwrap_or_default();
    let mut found = Vec::new();
    for (at, group) in list(&groups).into_iter().enumerate() {
        let handlers = list(&group[HOOKS]);
        for (index, handler) in handlers.iter().enumerate() {
            let words = words(handler);
            let is_ours = words.first().is_some_and(|program| is_telepost(program))
                && words.get(1).is_some_and(|word| word == HOOK);
            if is_ours {
                found.push(Ours {
                    group: group.clone(),
                    handler: handler.clone(),
                    words,
                    place: [at.to_string(), index.to_string()],
                    is_alone: handlers.len() == 1,
                });
            }
        }
    }
    found
}

/// The program and the arguments of a hook, in either form.
fn words(handler: &Value) -> Vec<String> {
    let command = handler["command"].as_str().unwrap_or_default();
    match handler["args"].as_array() {
        Some(args) => {
            let args = args.iter().filter_map(Value::as_str);
            [command]
                .into_iter()
                .chain(args)
                .map(str::to_owned)
                .collect()
        }
        None => split(command),
    }
}

/// Whose hook it is.
fn session(args: &[String]) -> Option<&String> {
    let at = args.iter().position(|word| word == "--session")?;
    args.get(at + 1)
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words of a line, as far as quotes go.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(session: &str) -> Server {
        let words = ["mcp", "--config", "/c o/it's.json", "--session", session];
        Server {
            command: "/b in/telepost".to_owned(),
            args: words.map(str::to_owned).to_vec(),
        }
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_client_gets_its_hooks_in_its_form() {
        let exec = value(&put("{}", &server("ONE"), Form::Exec).unwrap());
        assert_eq!(
            exec["hooks"]["Stop"],
            json!([{"hooks": [{
                "type": "command", "command": "/b in/telepost",
                "args": ["hook", "stop", "--config", "/c o/it's.json", "--session", "ONE"], "timeout": 3,
            }]}])
        );
        let shell = value(&put("{}", &server("ONE"), Form::Shell).unwrap());
        let events: Vec<_> = shell["hooks"].as_object().unwrap().keys().collect();
        assert_eq!(
            events,
            ["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"]
        );
        assert_eq!(
            shell["hooks"]["SessionEnd"][0]["hooks"][0]["command"],
            r"'/b in/telepost' hook end --config '/c o/it'\''s.json' --session ONE"
        );
    }

    #[test]
    fn a_line_is_split_as_it_was_made() {
        for word in ["a", "it's", "a b", "", "ä\"", "$HOME", "\\"] {
            let line = format!("x {} y", quoted(word));
            assert_eq!(split(&line), ["x", word, "y"], "{line}");
        }
        assert_eq!(split(r#"a "b c"d \'"#), ["a", "b cd", "'"]);
    }

    #[test]
    fn each_session_has_its_own_and_each_is_put_in_once() {
        for form in [Form::Exec, Form::Shell] {
            let one = put("{}\n", &server("ONE"), form).unwrap();
            assert_eq!(put(&one, &server("ONE"), form).unwrap(), one);
            let both = put(&one, &server("TWO"), form).unwrap();
            assert_eq!(ours(&both, "Stop").len(), 2);
            let moved = Server {
                command: "/new/telepost".to_owned(),
                ..server("ONE")
            };
            let moved = put(&both, &moved, form).unwrap();
            let programs: Vec<String> = ours(&moved, "Stop")
                .into_iter()
                .map(|ours| ours.words[0].clone())
                .collect();
            assert_eq!(programs, ["/new/telepost", "/b in/telepost"]);
            assert_eq!(take(&moved, Some("{}\n")), "{}\n");
        }
    }

    #[test]
    fn hooks_of_the_user_stay_also_those_beside_ours() {
        let before = "{\n  \"hooks\": {\n    \"Stop\": [\n      {\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}\n    ],\n    \"PreToolUse\": []\n  }\n}\n";
        let with = put(before, &server("ONE"), Form::Exec).unwrap();
        assert_eq!(value(&with)["hooks"]["Stop"].as_array().unwrap().len(), 2);
        assert_eq!(take(&with, Some(before)), before);
        // Somebody has put ours into a group with another.
        let mut mixed = value(&with);
        let ours = mixed["hooks"]["Stop"][1]["hooks"][0].clone();
        mixed["hooks"]["Stop"][0]["hooks"]
            .as_array_mut()
            .unwrap()
            .insert(0, ours);
        mixed["hooks"]["Stop"].as_array_mut().unwrap().pop();
        let mixed = serde_json::to_string_pretty(&mixed).unwrap();
        assert_eq!(value(&take(&mixed, Some(before))), value(before));
        assert_eq!(put(&mixed, &server("ONE"), Form::Exec).unwrap(), mixed);
    }

    #[test]
    fn a_hook_of_ours_that_was_there_before_stays() {
        let before = put("{}", &server("ONE"), Form::Shell).unwrap();
        let with = put(&before, &server("TWO"), Form::Shell).unwrap();
        assert_eq!(take(&with, Some(&before)), before);
        assert_eq!(take(&with, None), "{}");
    }

    #[test]
    fn a_file_of_another_shape_is_refused() {
        for text in [r#"{"hooks": []}"#, r#"{"hooks": {"Stop": {}}}"#] {
            let refused = put(text, &server("ONE"), Form::Exec).unwrap_err();
            assert!(matches!(refused, Mistake::Shape { .. }), "{refused:?}");
        }
    }
}
