//! Reading the values of keys, each with its path, so that a message says where the value stands, what it is, and
//! what was expected.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::env::Env;
use super::error::{Problem, Violation, list, nearest, quote, violation};
use super::json::{child, describe};
use super::key::{Choice, ConfigKey};
use super::keys::TABLES;
use super::rules;

/// The surroundings of the file, and the mistakes found so far.
pub(super) struct Reader<'r> {
    pub(super) env: &'r Env,
    /// The file, absolute.
    pub(super) file: &'r Path,
    pub(super) problems: Vec<Problem>,
}

/// An object and the path to it.
pub(super) struct Object<'v> {
    pub(super) path: String,
    pub(super) map: &'v Map<String, Value>,
}

/// The place of a key in its object, with the value if there is one.
pub(super) struct Slot<'v> {
    pub(super) path: String,
    pub(super) value: Option<&'v Value>,
    pub(super) key: &'v ConfigKey,
    pub(super) siblings: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    pub(super) fn slot(&self, key: &'v ConfigKey) -> Slot<'v> {
        Slot {
            path: child(&self.path, key.name),
            value: self.map.get(key.name),
            key,
            siblings: self.map,
        }
    }
}

impl Reader<'_> {
    pub(super) fn report(&mut self, path: &str, what: impl AsRef<str>, instead: impl AsRef<str>) {
        self.problems.push(Problem::new(path, what, instead));
    }

    /// The value that a rule accepts; a violation is reported.
    pub(super) fn accept<T>(&mut self, path: &str, checked: Result<T, Violation>) -> Option<T> {
        checked
            .map_err(|(what, instead)| self.report(path, what, instead))
            .ok()
    }

    /// Reports every key of `object` that is not one of `keys`.
    pub(super) fn refuse_unknown(&mut self, object: &Object<'_>, keys: &[ConfigKey]) {
        let has = |keys: &[ConfigKey], name: &str| keys.iter().any(|key| key.name == name);
        for name in object.map.keys().filter(|name| !has(keys, name)) {
            let known = keys.iter().map(|key| key.name);
            let home = TABLES.iter().find(|(keys, _)| has(keys, name));
            let instead = match (home, nearest(name, known.clone())) {
                (Some((_, place)), _) => format!("move it: `{name}` belongs {place}"),
                (None, Some("bot_token_env")) => {
                    "did you mean `bot_token_env`? It takes the name of a variable; the token itself belongs in the \
                     file .env beside this one"
                        .to_owned()
                }
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("delete it; the valid keys here are {}", list(known)),
            };
            let path = child(&object.path, name);
            self.report(&path, "is not a key that telepost knows", instead);
        }
    }

    /// The value of `slot` as the type that `cast` finds. Another type is reported, and so is a missing value if the
    /// key is required.
    pub(super) fn typed<'v, T>(
        &mut self,
        slot: &Slot<'v>,
        cast: impl Fn(&'v Value) -> Option<T>,
    ) -> Option<T> {
        let key = slot.key;
        if let Some(value) = slot.value {
            return cast(value).or_else(|| {
                let is_optional_null = value.is_null() && !key.is_required();
                let leave_out = if is_optional_null {
                    ", or leave the key out"
                } else {
                    ""
                };
                let what = format!("is {}, not {}", describe(value), key.takes.describe());
                let instead = format!("write, for example, {}{leave_out}", key.example);
                self.report(&slot.path, what, instead);
                None
            });
        }
        if key.is_required() {
            let instead = format!("write \"{}\": {}", key.name, key.example);
            self.report(&slot.path, "is missing", instead);
        }
        None
    }

    /// Reads by a function of its own, for keys that no other method suits.
    pub(super) fn with<T>(&mut self, slot: &Slot<'_>, read: fn(&Slot<'_>, &mut Self) -> T) -> T {
        read(slot, self)
    }

    /// Reads a text that follows `rule`.
    pub(super) fn text<T>(
        &mut self,
        slot: &Slot<'_>,
        rule: fn(&str, &Self) -> Result<T, Violation>,
    ) -> Option<T> {
        let checked = rule(self.typed(slot, Value::as_str)?, self);
        self.accept(&slot.path, checked)
    }

    pub(super) fn required_text<T: Default>(
        &mut self,
        slot: &Slot<'_>,
        rule: fn(&str, &Self) -> Result<T, Violation>,
    ) -> T {
        self.text(slot, rule).unwrap_or_default()
    }

    pub(super) fn one_of<T: Choice>(&mut self, slot: &Slot<'_>) -> T {
        let chosen = self.text(slot, |text, _| {
            let chosen = T::NAMES.iter().find(|(name, _)| *name == text);
            chosen.map(|&(_, value)| value).ok_or_else(|| {
                let others = T::names()[1..].join("\" or \"");
                let instead = format!("write \"{}\" (the default) or \"{others}\"", T::NAMES[0].0);
                violation(format!("is {}", quote(text)), instead)
            })
        });
        chosen.unwrap_or(T::NAMES[0].1)
    }

    pub(super) fn switch(&mut self, slot: &Slot<'_>, default: bool) -> bool {
        self.typed(slot, Value::as_bool).unwrap_or(default)
    }

    /// Reads absolute paths, without repetitions.
    pub(super) fn paths(&mut self, slot: &Slot<'_>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let items = self.typed(slot, Value::as_array);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let checked = item.as_str().map(|text| rules::absolute_path(text, self));
            let checked = checked.unwrap_or_else(|| {
                let example = slot.key.example.trim_matches(['[', ']']);
                let what = format!("is {}, not a string", describe(item));
                Err(violation(what, format!("write, for example, {example}")))
            });
            let path = self.accept(&format!("{}[{index}]", slot.path), checked);
            paths.extend(path.filter(|path| !paths.contains(path)));
        }
        paths
    }

    /// Reads ids that follow `rule`, without repetitions, in their order. `none` explains why there must be one.
    pub(super) fn ids<T>(
        &mut self,
        slot: &Slot<'_>,
        rule: fn(i64) -> Result<T, Violation>,
        (why, instead): &(&str, &str),
    ) -> Vec<T> {
        let (what, instead) = match slot.value {
            None => (format!("is missing: {why}"), (*instead).to_owned()),
            Some(Value::Array(items)) if items.is_empty() => {
                (format!("is empty: {why}"), (*instead).to_owned())
            }
            Some(Value::Number(number)) => (
                "is a number, not a list".to_owned(),
                format!("write [{number}]"),
            ),
            Some(Value::String(text)) if text.trim().parse::<i64>().is_ok() => (
                "is a string, not a list of numbers".to_owned(),
                format!("write [{}]", text.trim()),
            ),
            Some(_) => {
                let items = self.typed(slot, Value::as_array);
                let items = items.into_iter().flatten().enumerate();
                let mut seen = BTreeSet::new();
                let new = items.filter(|(_, item)| item.as_i64().is_none_or(|id| seen.insert(id)));
                let accepted = new.filter_map(|(index, item)| {
                    let path = format!("{}[{index}]", slot.path);
                    self.accept(&path, rules::id(item).and_then(rule))
                });
                return accepted.collect();
            }
        };
        self.report(&slot.path, what, instead);
        Vec::new()
    }
}
