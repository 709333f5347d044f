//! JSON: the parser, which notices keys that appear twice, and words for places and values.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
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
    let Ok(RawMembers { is_list, items }) = serde_json::from_str(text) else {
        return;
    };
    let mut keys = BTreeSet::new();
    for (index, (key, value)) in items.iter().enumerate() {
        let path = if is_list {
            format!("{path}[{index}]")
        } else {
            child(path, key)
        };
        find_duplicates(value.get(), &path, found);
        if !is_list && !keys.insert(key) && !found.contains(&path) {
            found.push(path);
        }
    }
}

/// The items of an object or a list as they are written; a map would drop the first of two equal keys.
pub(crate) struct RawMembers<'t> {
    pub(crate) is_list: bool,
    /// Each with its key, which is empty in a list.
    pub(crate) items: Vec<(String, &'t RawValue)>,
}

impl<'de: 't, 't> Deserialize<'de> for RawMembers<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = RawMembers<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (is_list, mut items) = (false, Vec::new());
        while let Some(item) = map.next_entry()? {
            items.push(item);
        }
        Ok(RawMembers { is_list, items })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (is_list, mut items) = (true, Vec::new());
        while let Some(value) = list.next_element()? {
            items.push((String::new(), value));
        }
        Ok(RawMembers { is_list, items })
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
        Value::String(text) if text.is_empty() => "an empty string".to_owned(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
