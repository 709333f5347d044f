//! The JSON schema and the page of keys are those that the declarations make. `UPDATE_DOCS=1` rewrites them.

use std::fs;

use serde_json::json;

use self::maker::{json_schema, keys_as_markdown};
use super::*;
use crate::config::key::{Absent, ConfigKey};

mod maker;

const BEGIN: &str = "<!-- generated:keys -->\n";
const END: &str = "<!-- /generated:keys -->\n";

/// Compares a file of the repository with `expected`, or rewrites it.
#[track_caller]
fn is_up_to_date(file: &str, expected: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&stored);
    if Env::read().get("UPDATE_DOCS").is_some() {
        put(&path, &expected);
    } else {
        assert_eq!(
            stored, expected,
            "{file} is outdated; run the tests once with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn the_stored_schema_is_up_to_date() {
    is_up_to_date("docs/sessions.schema.json", |_| {
        let text = serde_json::to_string_pretty(&json_schema()).unwrap();
        format!("{text}\n")
    });
}

#[test]
fn the_page_of_keys_is_up_to_date() {
    is_up_to_date("docs/configuration.md", |stored| {
        let (before, rest) = stored.split_once(BEGIN).expect("a marker");
        let (_, after) = rest.split_once(END).expect("a marker");
        format!("{before}{BEGIN}{}{END}{after}", keys_as_markdown())
    });
}

/// A value that telepost accepts must not be underlined by an editor, so the schema may only be the more lenient of
/// the two.
#[test]
fn the_schema_names_the_keys_that_are_accepted() {
    let schema = json_schema();
    let session = &schema["properties"]["sessions"]["additionalProperties"];
    assert_eq!(schema["required"], json!(["sessions"]));
    assert_eq!(
        session["required"],
        json!(["bot_token_env", "chat_ids", "allowed_users"])
    );
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    for (object, schema) in [
        (&example, &schema),
        (&example["sessions"]["SESSION_X01"], session),
    ] {
        let known = schema["properties"].as_object().unwrap();
        for (key, value) in object.as_object().unwrap() {
            assert!(known.contains_key(key), "{key}");
            if let Some(choices) = known[key].get("enum") {
                assert!(choices.as_array().unwrap().contains(value), "{key}");
            }
        }
    }
}

/// The default of `key`, if it is a value and not an explanation.
fn stated_default(key: &ConfigKey) -> Option<&'static str> {
    match key.absent {
        Absent::Means(text) => serde_json::from_str::<Value>(text).ok().map(|_| text),
        Absent::Refused | Absent::Off => None,
    }
}

/// An example or a default that telepost would refuse is worse than none.
#[test]
fn examples_and_defaults_of_the_reference_are_accepted() {
    let accepted = |text: &str, key: &str| {
        if let Err(error) = parse(text) {
            panic!("{key}: {error}");
        }
    };
    for (keys, in_session) in [(Config::KEYS, false), (Session::KEYS, true)] {
        for key in keys {
            for value in [Some(key.example), stated_default(key)]
                .into_iter()
                .flatten()
            {
                let text = match key.name {
                    "sessions" => format!("{{\"sessions\": {value}}}"),
                    "default" => format!(
                        "{{\"sessions\": {{{value}: {}}}, \"default\": {value}}}",
                        session("name", "\"Ada\"")
                    ),
                    name if in_session => with(name, value),
                    name => with_top(name, value),
                };
                accepted(&text, key.name);
            }
        }
    }
}

/// The defaults are written twice, in the reader and for the reference.
#[test]
fn stated_defaults_are_those_of_the_reader() {
    let plain = parse(&with("name", "")).unwrap();
    let session_keys = Session::KEYS
        .iter()
        .filter(|key| key.name != "tmux_wake_command");
    for (key, in_session) in Config::KEYS
        .iter()
        .map(|key| (key, false))
        .chain(session_keys.map(|key| (key, true)))
    {
        if let Some(text) = stated_default(key) {
            let stated = if in_session {
                with(key.name, text)
            } else {
                let session = session("name", "");
                format!(
                    "{{\"sessions\": {{\"A\": {session}}}, \"{}\": {text}}}",
                    key.name
                )
            };
            assert_eq!(parse(&stated).unwrap(), plain, "{}", key.name);
        }
    }
}
