//! The forms in which models write parameters. Pure.
//!
//! Whatever can mean only one thing is taken: `"true"`, `"20"`, `ack: 5`, `files: "a.txt"`, `to: ""`. A
//! parameter that says nothing (`null`, an empty text or list) counts as left out. The refusal of anything
//! else says what to write.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::tools::{Refusal, Tool};

/// How much of a refused value is repeated.
const SHOWN: usize = 60;

#[derive(Clone, Copy)]
enum Form {
    Flag,
    Number,
    Id,
    Ids,
    /// The id of a message, or `home`.
    Place,
    Text,
    /// A name of which an empty one means something.
    Name,
    Paths,
    Labels,
}

impl Form {
    /// An example of it, for a refusal.
    fn example(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Number => "a whole number, such as 20",
            Self::Id => "the `update_id` of a message, such as 815",
            Self::Ids => "a list of `update_id`s, such as [815, 816]",
            Self::Place => "the `update_id` of a message, such as 815, or \"home\"",
            Self::Text => "a string",
            Self::Name => "one emoji, such as \"👍\", or \"\" to remove yours",
            Self::Paths => "a list of paths, such as [\"report.pdf\"]",
            Self::Labels => "a list of strings",
        }
    }

    /// The value in the form of the schema; `Null` if it says nothing, `None` if it can mean anything.
    fn read(self, value: Value) -> Option<Value> {
        let says_nothing = match &value {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty() && !self.is_text(),
            Value::Array(list) => list.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if says_nothing {
            return Some(Value::Null);
        }
        let value = match value.as_array().map(Vec::as_slice) {
            Some([one]) if !self.is_list() => one.clone(),
            _ => value,
        };
        match self {
            Self::Flag => read_flag(&value).map(Value::Bool),
            Self::Number => read_number(&value).map(Value::from),
            Self::Id => read_id(&value).map(Value::from),
            Self::Ids => read_ids(&value).map(Value::from),
            Self::Place => match value.as_str().map(unquote) {
                Some(text) if text.eq_ignore_ascii_case("home") => Some(json!("home")),
                _ => read_id(&value).map(Value::from),
            },
            Self::Text | Self::Name => read_text(value).map(Value::String),
            Self::Paths => read_paths(value).map(Value::from),
            Self::Labels => {
                let mut labels = read_paths(value)?;
                labels.retain(|label| !label.trim().is_empty());
                Some(if labels.is_empty() {
                    Value::Null
                } else {
                    labels.into()
                })
            }
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Name)
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Ids | Self::Paths | Self::Labels)
    }
}

impl Tool {
    const fn parameters(self) -> &'static [(&'static str, Form)] {
        match self {
            Self::Poll => &[
                ("limit", Form::Number),
                ("wait_seconds", Form::Number),
                ("ack", Form::Ids),
                ("message", Form::Id),
                ("part", Form::Number),
            ],
            Self::Reply => &[
                ("text", Form::Text),
                ("to", Form::Place),
                ("files", Form::Paths),
                ("options", Form::Labels),
                ("keep_open", Form::Flag),
                ("silent", Form::Flag),
            ],
            Self::React => &[("emoji", Form::Name), ("to", Form::Id)],
        }
    }
}

pub(crate) fn read_parameters<T: DeserializeOwned>(
    tool: Tool,
    arguments: Map<String, Value>,
) -> Result<T, Refusal> {
    let refuse = |problem: String| {
        Refusal(format!(
            "{} was called with invalid parameters: {problem}. Nothing was changed; call again.",
            tool.name()
        ))
    };
    let mut plain = Map::new();
    for (given, value) in arguments {
        let known = tool.parameters().iter();
        let Some(&(name, form)) = known.clone().find(|(name, _)| is_same(name, &given)) else {
            let names: Vec<String> = known.map(|(name, _)| format!("`{name}`")).collect();
            let names = names.join(", ");
            return Err(refuse(format!(
                "there is no parameter `{}`; the parameters are {names}",
                cut(&given)
            )));
        };
        let shown = cut(&value.to_string());
        match form.read(value) {
            Some(Value::Null) => {}
            Some(_) if plain.contains_key(name) => {
                return Err(refuse(format!("`{name}` is given twice")));
            }
            Some(value) => drop(plain.insert(name.to_owned(), value)),
            None => {
                let example = form.example();
                return Err(refuse(format!(
                    "`{name}` is {shown}, but must be {example}"
                )));
            }
        }
    }
    if matches!(tool, Tool::React) && !plain.contains_key("emoji") {
        let example = Form::Name.example();
        return Err(refuse(format!("`emoji` is missing: write {example}")));
    }
    serde_json::from_value(Value::Object(plain)).map_err(|error| refuse(error.to_string()))
}

/// Whether a name is that of a parameter, in any style of writing (`keepOpen`, `keep-open`).
fn is_same(name: &str, given: &str) -> bool {
    let plain = |text: &str| -> String {
        let letters = text
            .chars()
            .filter(|letter| !matches!(letter, '_' | '-' | ' '));
        letters.flat_map(char::to_lowercase).collect()
    };
    plain(name) == plain(given)
}

fn cut(text: &str) -> String {
    let end = if text.chars().count() > SHOWN {
        "…"
    } else {
        ""
    };
    text.chars().take(SHOWN).chain(end.chars()).collect()
}

/// A text without the quotes and spaces around it.
fn unquote(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'', '`']).trim()
}

fn read_flag(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(flag) => return Some(*flag),
        Value::Number(number) => number.to_string(),
        Value::String(text) => unquote(text).to_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    match text.as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn read_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = unquote(text);
            let number = text.parse().ok();
            number.or_else(|| whole(text.parse().ok()?))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The whole number that a number with a point stands for, such as 20.0.
#[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

fn read_id(value: &Value) -> Option<i64> {
    match value {
        Value::Object(message) => read_number(message.get("update_id")?),
        Value::String(text) => read_number(&json!(unquote(text).trim_start_matches('#'))),
        Value::Number(_) => read_number(value),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

fn read_ids(value: &Value) -> Option<Vec<i64>> {
    let mut ids = Vec::new();
    match value {
        Value::Array(list) => {
            for one in list.iter().filter(|one| !one.is_null()) {
                ids.extend(read_ids(one)?);
            }
        }
        Value::String(text) => {
            let text = unquote(text).trim_matches(['[', ']']);
            let parts = text.split([',', ';', ' ', '\n']);
            for one in parts.filter(|one| !one.trim().is_empty()) {
                ids.push(read_id(&json!(one))?);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            ids.push(read_id(value)?);
        }
    }
    let mut known = std::collections::BTreeSet::new();
    ids.retain(|id| known.insert(*id));
    Some(ids)
}

fn read_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn read_paths(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(list) => {
            let list = list.into_iter().filter(|one| !one.is_null());
            list.map(|one| match one {
                Value::String(path) => Some(path),
                Value::Object(mut file) if file.len() == 1 => read_text(file.remove("path")?),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => None,
            })
            .collect()
        }
        // A list that was written as a text.
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(list @ Value::Array(_)) => read_paths(list),
            _ => Some(vec![text]),
        },
        Value::Object(_) => read_paths(Value::Array(vec![value])),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UpdateId;
    use crate::mcp::tools::{PollParams, ReactParams, ReplyParams, To};

    fn read<T: DeserializeOwned>(tool: Tool, arguments: &Value) -> Result<T, Refusal> {
        read_parameters(tool, arguments.as_object().unwrap().clone())
    }

    #[test]
    fn flags_numbers_and_ids_are_taken_in_every_form_that_means_one_thing() {
        for value in [
            "true",
            "\"true\"",
            "\" True \"",
            "1",
            "\"yes\"",
            "[true]",
            "\"on\"",
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            let params: ReplyParams = read(Tool::Reply, &json!({"keep_open": value})).unwrap();
            assert_eq!(params.keep_open, Some(true), "{value}");
        }
        for value in [
            json!(false),
            json!("false"),
            json!("FALSE"),
            json!(0),
            json!("no"),
        ] {
            let params: ReplyParams = read(Tool::Reply, &json!({"silent": value})).unwrap();
            assert_eq!(params.silent, Some(false), "{value}");
        }
        for value in [
            json!(20),
            json!("20"),
            json!(20.0),
            json!("20.0"),
            json!(" 20 "),
            json!([20]),
        ] {
            let arguments = json!({"limit": value, "waitSeconds": value, "message": value});
            let params: PollParams = read(Tool::Poll, &arguments).unwrap();
            let message = Some(UpdateId(20));
            assert_eq!(
                (params.limit, params.wait_seconds, params.message),
                (Some(20), Some(20), message),
                "{value}"
            );
        }
        for value in [
            json!([5, 6]),
            json!(["5", "6"]),
            json!("5,6"),
            json!("5, 6"),
            json!("[5, 6]"),
            json!("5 6"),
            json!([5.0, null, "6", 5]),
            json!(["5,6"]),
            json!([{"update_id": 5}, "#6"]),
        ] {
            let params: PollParams = read(Tool::Poll, &json!({"ack": value})).unwrap();
            assert_eq!(params.ack, Some(vec![UpdateId(5), UpdateId(6)]), "{value}");
        }
        let params: PollParams = read(Tool::Poll, &json!({"ack": 5})).unwrap();
        assert_eq!(params.ack, Some(vec![UpdateId(5)]));
    }

    #[test]
    fn places_texts_and_files_are_taken_too() {
        for (value, to) in [
            (json!(17), To::Message(UpdateId(17))),
            (json!("17"), To::Message(UpdateId(17))),
            (json!([17.0]), To::Message(UpdateId(17))),
            (json!("home"), To::Home),
            (json!(" \"Home\" "), To::Home),
        ] {
            let params: ReplyParams = read(Tool::Reply, &json!({"to": value})).unwrap();
            assert_eq!(params.to, Some(to), "{value}");
        }
        for value in [
            json!("a.txt"),
            json!(["a.txt"]),
            json!("[\"a.txt\"]"),
            json!({"path": "a.txt"}),
            json!([{"path": "a.txt"}]),
        ] {
            let params: ReplyParams = read(Tool::Reply, &json!({"files": value})).unwrap();
            assert_eq!(params.files(), ["a.txt"], "{value}");
        }
        let params: ReplyParams =
            read(Tool::Reply, &json!({"text": 42, "options": ["", null]})).unwrap();
        assert_eq!((params.text.as_deref(), params.options), (Some("42"), None));
    }

    #[test]
    fn what_says_nothing_counts_as_left_out() {
        for nothing in [json!(null), json!(""), json!(" "), json!([])] {
            let mut arguments = json!({});
            for name in ["to", "files", "options", "keep_open", "silent"] {
                arguments[name] = nothing.clone();
            }
            let params: ReplyParams = read(Tool::Reply, &arguments).unwrap();
            assert_eq!(params, ReplyParams::default(), "{nothing}");
            let mut arguments = json!({});
            for name in ["limit", "wait_seconds", "ack", "message", "part"] {
                arguments[name] = nothing.clone();
            }
            let params: PollParams = read(Tool::Poll, &arguments).unwrap();
            assert_eq!(params, PollParams::default(), "{nothing}");
        }
        let params: ReactParams = read(Tool::React, &json!({"emoji": "", "to": ""})).unwrap();
        assert_eq!((params.emoji.as_str(), params.to), ("", None));
    }

    #[test]
    fn what_is_refused_is_told_what_to_write() {
        for (tool, arguments, words) in [
            (
                Tool::Reply,
                json!({"keep_open": "maybe"}),
                "`keep_open` is \"maybe\", but must be true or false",
            ),
            (Tool::Poll, json!({"limit": "many"}), "such as 20"),
            (Tool::Poll, json!({"limit": 1.5}), "such as 20"),
            (Tool::Poll, json!({"ack": "all"}), "such as [815, 816]"),
            (Tool::Poll, json!({"message": {"a": 1}}), "such as 815"),
            (Tool::Reply, json!({"to": "chat"}), "or \"home\""),
            (Tool::Reply, json!({"text": ["a", "b"]}), "a string"),
            (Tool::Reply, json!({"files": 7}), "[\"report.pdf\"]"),
            (
                Tool::Reply,
                json!({"txt": "a"}),
                "no parameter `txt`; the parameters are `text`, `to`",
            ),
            (
                Tool::Reply,
                json!({"keep_open": true, "keepOpen": false}),
                "given twice",
            ),
            (
                Tool::React,
                json!({}),
                "`emoji` is missing: write one emoji",
            ),
            (Tool::React, json!({"emoji": null}), "`emoji` is missing"),
        ] {
            let refusal = match tool {
                Tool::Poll => read::<PollParams>(tool, &arguments).unwrap_err(),
                Tool::Reply => read::<ReplyParams>(tool, &arguments).unwrap_err(),
                Tool::React => read::<ReactParams>(tool, &arguments).unwrap_err(),
            };
            assert!(refusal.0.contains(words), "{refusal}");
        }
    }
}
