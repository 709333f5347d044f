//! Reading the values of keys: each has its place, so that a message says where it stands, what it is, and what
//! was expected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::env::Env;
use super::error::{Problem, Violation, list, nearest, quote};
use super::json::{child, describe};
use super::key::{Choice, ConfigKey};
use super::keys::TABLES;
use super::rules;

/// A value and the path to it.
pub(super) struct Node<'v> {
    pub(super) path: String,
    pub(super) value: &'v Value,
}

/// An object and the path to it.
pub(super) struct Object<'v> {
    pub(super) path: String,
    pub(super) map: &'v Map<String, Value>,
}

/// The surroundings of the file, and the mistakes found so far.
pub(super) struct Reader<'r> {
    pub(super) env: &'r Env,
    /// The file, absolute.
    pub(super) file: &'r Path,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn report(&mut self, path: &str, violation: &Violation) {
        self.problems.push(Problem::new(path, violation));
    }

    /// Reports every key of `object` that is not one of `keys`.
    pub(super) fn refuse_unknown(&mut self, object: &Object<'_>, keys: &[ConfigKey]) {
        let names = || keys.iter().map(|key| key.name);
        let unknown = object
            .map
            .keys()
            .filter(|name| names().all(|known| known != *name));
        for name in unknown {
            let home = TABLES
                .iter()
                .find(|(keys, _)| keys.iter().any(|key| key.name == name));
            let instead = match (home, nearest(name, names())) {
                (Some((_, place)), _) => format!("move it: `{name}` belongs {place}"),
                (None, Some("bot_token_env")) => {
                    "did you mean `bot_token_env`? It takes the name of a variable; the token itself belongs in the \
                     file .env beside this one"
                        .to_owned()
                }
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("delete it; the keys known here are {}", list(names())),
            };
            let violation = Violation::new("is not a key that telepost knows", instead);
            self.report(&child(&object.path, name), &violation);
        }
    }

    /// The value of `key`; a required one that is missing is reported.
    pub(super) fn find<'v>(&mut self, object: &Object<'v>, key: &ConfigKey) -> Option<Node<'v>> {
        let path = child(&object.path, key.name);
        let value = object.map.get(key.name);
        if value.is_none() && key.is_required() {
            let instead = format!("write \"{}\": {}", key.name, key.example);
            self.report(&path, &Violation::new("is missing", instead));
        }
        value.map(|value| Node { path, value })
    }

    pub(super) fn report_wrong_type(&mut self, node: &Node<'_>, key: &ConfigKey) {
        self.report_not(node, key, key.takes.describe(), key.example);
    }

    fn report_not(&mut self, node: &Node<'_>, key: &ConfigKey, kind: &str, example: &str) {
        let leave_out = if node.value.is_null() && !key.is_required() {
            ", or leave the key out"
        } else {
            ""
        };
        let violation = Violation::new(
            format!("is {}, not {kind}", describe(node.value)),
            format!("write for example {example}{leave_out}"),
        );
        self.report(&node.path, &violation);
    }

    /// Reads by a function of its own, for keys that no other method suits.
    pub(super) fn with<T>(
        &mut self,
        object: &Object<'_>,
        key: &ConfigKey,
        read: fn(&Object<'_>, &ConfigKey, &mut Self) -> T,
    ) -> T {
        read(object, key, self)
    }

    /// Reads a text that follows `rule`.
    pub(super) fn text<T>(
        &mut self,
        object: &Object<'_>,
        key: &ConfigKey,
        rule: fn(&str, &Self) -> Result<T, Violation>,
    ) -> Option<T> {
        let node = self.find(object, key)?;
        let Some(text) = node.value.as_str() else {
            self.report_wrong_type(&node, key);
            return None;
        };
        let value = rule(text, self);
        value
            .map_err(|violation| self.report(&node.path, &violation))
            .ok()
    }

    pub(super) fn required_text<T: Default>(
        &mut self,
        object: &Object<'_>,
        key: &ConfigKey,
        rule: fn(&str, &Self) -> Result<T, Violation>,
    ) -> T {
        self.text(object, key, rule).unwrap_or_default()
    }

    pub(super) fn one_of<T: Choice>(&mut self, object: &Object<'_>, key: &ConfigKey) -> T {
        let value = self.text(object, key, |text, _| {
            let known = T::NAMES.iter().find(|(name, _)| *name == text);
            known.map(|&(_, value)| value).ok_or_else(|| {
                let choices = T::NAMES.iter().map(|&(name, value)| {
                    let note = if value == T::default() {
                        " (the default)"
                    } else {
                        ""
                    };
                    format!("\"{name}\"{note}")
                });
                let choices: Vec<String> = choices.collect();
                Violation::new(
                    format!("is {}", quote(text)),
                    format!("write {}", choices.join(" or ")),
                )
            })
        });
        value.unwrap_or_default()
    }

    pub(super) fn switch(&mut self, object: &Object<'_>, key: &ConfigKey, default: bool) -> bool {
        let Some(node) = self.find(object, key) else {
            return default;
        };
        node.value.as_bool().unwrap_or_else(|| {
            self.report_wrong_type(&node, key);
            default
        })
    }

    /// Reads absolute paths, without repetitions.
    pub(super) fn paths(&mut self, object: &Object<'_>, key: &ConfigKey) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let node = self.find(object, key);
        for node in node.map(|node| self.items(&node, key)).unwrap_or_default() {
            match node
                .value
                .as_str()
                .map(|text| rules::absolute_path(text, self))
            {
                Some(Ok(path)) if paths.contains(&path) => {}
                Some(Ok(path)) => paths.push(path),
                Some(Err(violation)) => self.report(&node.path, &violation),
                None => self.report_not(&node, key, "a text", key.example.trim_matches(['[', ']'])),
            }
        }
        paths
    }

    /// Reads ids that follow `rule`, without repetitions, in their order. `none` explains why there must be one.
    pub(super) fn ids<T>(
        &mut self,
        object: &Object<'_>,
        key: &ConfigKey,
        rule: fn(i64) -> Result<T, Violation>,
        none: &(&str, &'static str),
    ) -> Vec<T> {
        let (why, instead) = *none;
        let path = child(&object.path, key.name);
        let violation = match object.map.get(key.name) {
            None => Violation::new(format!("is missing: {why}"), instead),
            Some(Value::Array(items)) if items.is_empty() => {
                Violation::new(format!("is empty: {why}"), instead)
            }
            Some(Value::Number(number)) => {
                Violation::new("is a number, not a list", format!("write [{number}]"))
            }
            Some(Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
                let instead = format!("write [{}]", text.trim());
                Violation::new("is a text, not a list of numbers", instead)
            }
            Some(value) => {
                let items = self.items(&Node { path, value }, key);
                let mut seen = BTreeSet::new();
                let is_new = |item: &Node<'_>| item.value.as_i64().is_none_or(|id| seen.insert(id));
                return items
                    .into_iter()
                    .filter(is_new)
                    .filter_map(|item| {
                        let id = rules::id(item.value).and_then(rule);
                        id.map_err(|violation| self.report(&item.path, &violation))
                            .ok()
                    })
                    .collect();
            }
        };
        self.report(&path, &violation);
        Vec::new()
    }

    /// The entries of a list, each with its path.
    fn items<'v>(&mut self, node: &Node<'v>, key: &ConfigKey) -> Vec<Node<'v>> {
        let Value::Array(items) = node.value else {
            self.report_wrong_type(node, key);
            return Vec::new();
        };
        let entry = |(index, value)| Node {
            path: format!("{}[{index}]", node.path),
            value,
        };
        items.iter().enumerate().map(entry).collect()
    }
}
