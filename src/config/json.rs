//! JSON: the parser, which notices keys that appear twice, and words for places and values.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::quote;

/// Parses `text`. Also returns the paths of the keys that appear more than once in their object.
pub(super) fn parse(text: &str) -> Result<(Value, Vec<String>), serde_json::Error> {
    let value = serde_json::from_str(text)?;
    let mut duplicates = Vec::new();
    find_duplicates(text, "", &mut duplicates);
    Ok((value, duplicates))
}

/// `text` is valid JSON, so an error only says that it is not of the type that is tried.
fn find_duplicates(text: &str, path: &str, found: &mut Vec<String>) {
    if let Ok(Entries(entries)) = serde_json::from_str(text) {
        let mut keys = BTreeSet::new();
        for (key, value) in &entries {
            let path = child(path, key);
            find_duplicates(value.get(), &path, found);
            if !keys.insert(key) && !found.contains(&path) {
                found.push(path);
            }
        }
    } else if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
        for (index, item) in items.iter().enumerate() {
            find_duplicates(item.get(), &format!("{path}[{index}]"), found);
        }
    }
}

/// The entries of an object as they are written.
struct Entries<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Entries<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'t> Visitor<'t> for EntriesVisitor {
            type Value = Entries<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Entries<'t>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The path of `key` in the object at `path`.
pub(super) fn child(path: &str, key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    match (!key.is_empty() && key.chars().all(is_plain), path) {
        (true, "") => key.to_owned(),
        (true, _) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", quote(key)),
    }
}

pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
