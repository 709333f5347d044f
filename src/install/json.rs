//! Changes of one value in a JSON text that leave every other byte as it is. Pure.
//!
//! The text is somebody's file: order, indentation, line ends, numbers and escapes are theirs. So values
//! are found by their place in the text and only that place is written. What is put at the end of an
//! object or list and taken away again leaves the text that was there before.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The text is no JSON.
    Syntax {
        line: usize,
        column: usize,
        what: String,
    },
    /// The value at `place` has to be an object or a list and is something else.
    Shape {
        place: String,
        expected: &'static str,
    },
}

/// Whether the text is JSON.
pub(super) fn check(text: &str) -> Result<(), Mistake> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let words = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            Err(Mistake::Syntax {
                line: error.line(),
                column: error.column(),
                what: words.strip_suffix(&place).unwrap_or(&words).to_owned(),
            })
        }
    }
}

/// The value at a path of keys.
pub(super) fn get(text: &str, path: &[&str]) -> Option<Value> {
    serde_json::from_str(raw(text, path)?).ok()
}

/// The keys of the object at a path.
pub(super) fn keys(text: &str, path: &[&str]) -> Vec<String> {
    let found = find(text, path).and_then(|span| Container::object(text, &span));
    let items = found.map(|object| object.items).unwrap_or_default();
    items.into_iter().map(|item| item.key).collect()
}

/// Puts a value at a path of keys: in the place of the one that is there, else at the end of its
/// object. Objects that are missing on the way are made.
pub(super) fn set(text: &str, path: &[&str], value: &Value) -> Result<String, Mistake> {
    let layout = Layout::of(text);
    if let Some(span) = find(text, path) {
        let indent = line_indent(text, span.start).to_owned();
        let new = layout.render(value, &indent, is_on_one_line(text, &span, &layout));
        return Ok(splice(text, span, &new));
    }
    let (object, key, rest) = way(text, path)?;
    let value = rest.iter().rev().fold(value.clone(), |inner, key| {
        Value::Object([((*key).to_owned(), inner)].into_iter().collect())
    });
    Ok(layout.append(text, &object, Some(key), &value))
}

/// Puts a value at the end of the list at a path, which is made if it is missing.
pub(super) fn push(text: &str, path: &[&str], value: &Value) -> Result<String, Mistake> {
    let Some(span) = find(text, path) else {
        return set(text, path, &Value::Array(vec![value.clone()]));
    };
    let list = Container::list(text, &span).ok_or_else(|| Mistake::Shape {
        place: path.join("."),
        expected: "a list",
    })?;
    Ok(Layout::of(text).append(text, &list, None, value))
}

/// Makes the value at a path what it is in `before`: that one again, or none.
pub(super) fn restore(text: &str, path: &[&str], before: Option<&str>) -> String {
    let Some(span) = find(text, path) else {
        return text.to_owned();
    };
    if let Some(was) = before.and_then(|before| raw(before, path)) {
        return splice(text, span, was);
    }
    let Some((key, parent)) = path.split_last() else {
        return text.to_owned();
    };
    let object = find(text, parent).and_then(|span| Container::object(text, &span));
    let at = object
        .as_ref()
        .and_then(|object| object.items.iter().rposition(|item| item.key == *key));
    match (object, at) {
        (Some(object), Some(at)) => prune(&cut(text, &object, at, parent, before), parent, before),
        _ => text.to_owned(),
    }
}

/// Takes a value out of the list at a path, unless it is in that list in `before` too.
pub(super) fn withdraw(text: &str, path: &[&str], value: &Value, before: Option<&str>) -> String {
    let contains = |list: Option<Value>| match list {
        Some(Value::Array(items)) => items.contains(value),
        _ => false,
    };
    if contains(before.and_then(|before| get(before, path))) {
        return text.to_owned();
    }
    let list = find(text, path).and_then(|span| Container::list(text, &span));
    let same = |item: &Item| {
        let written = text.get(item.value.clone()).unwrap_or_default();
        serde_json::from_str::<Value>(written).is_ok_and(|written| written == *value)
    };
    let at = list
        .as_ref()
        .and_then(|list| list.items.iter().rposition(same));
    match (list, at) {
        (Some(list), Some(at)) => prune(&cut(text, &list, at, path, before), path, before),
        _ => text.to_owned(),
    }
}

/// Takes away what is empty now, unless it was there before: from the inside out.
fn prune(text: &str, path: &[&str], before: Option<&str>) -> String {
    let is_empty = match get(text, path) {
        Some(Value::Object(object)) => object.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => false,
    };
    if path.is_empty() || !is_empty {
        text.to_owned()
    } else {
        restore(text, path, before)
    }
}

/// The text without one item of a container.
fn cut(text: &str, from: &Container, at: usize, path: &[&str], before: Option<&str>) -> String {
    let end = |item: &Item| item.value.end;
    let previous = at.checked_sub(1).and_then(|at| from.items.get(at));
    match (previous, from.items.get(at), from.items.get(at + 1)) {
        (Some(previous), Some(item), _) => splice(text, end(previous)..end(item), ""),
        (None, Some(item), Some(next)) => splice(text, item.start..next.start, ""),
        _ => {
            // The last one: an empty container has the blanks that it had.
            let blanks = before
                .and_then(|before| raw(before, path))
                .map(|was| was.trim_matches(['{', '}', '[', ']']))
                .filter(|was| was.trim().is_empty());
            splice(text, from.inner.clone(), blanks.unwrap_or_default())
        }
    }
}

/// The nearest object on the way to a path that is missing, the key to put there, and the keys below.
fn way<'p>(
    text: &str,
    path: &'p [&'p str],
) -> Result<(Container, &'p str, &'p [&'p str]), Mistake> {
    for (index, key) in path.iter().enumerate().rev() {
        let (parent, below) = path.split_at(index);
        if let Some(span) = find(text, parent) {
            let object = Container::object(text, &span).ok_or_else(|| Mistake::Shape {
                place: if parent.is_empty() {
                    "the file".to_owned()
                } else {
                    parent.join(".")
                },
                expected: "an object",
            })?;
            let rest = below.split_first().map(|(_, rest)| rest);
            return Ok((object, key, rest.unwrap_or_default()));
        }
    }
    Err(Mistake::Shape {
        place: "the file".to_owned(),
        expected: "an object",
    })
}

fn raw<'t>(text: &'t str, path: &[&str]) -> Option<&'t str> {
    text.get(find(text, path)?)
}

/// Where the value at a path stands; in a list a key is a number, from 0. Of a key that is written twice,
/// clients take the last.
fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let mut span = span_of(text, whole);
    for key in path {
        let item = if let Some(object) = Container::object(text, &span) {
            object.items.into_iter().rfind(|item| item.key == *key)
        } else {
            let list = Container::list(text, &span)?;
            list.items.into_iter().nth(key.parse().ok()?)
        };
        span = item?.value;
    }
    Some(span)
}

/// Where a piece of a text stands in it.
fn span_of(text: &str, part: &RawValue) -> Range<usize> {
    let part = part.get();
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

fn splice(text: &str, span: Range<usize>, new: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(span, new);
    text
}

/// An object or a list in a text.
struct Container {
    /// What is between the brackets.
    inner: Range<usize>,
    items: Vec<Item>,
}

/// A value of a list, or a key and its value.
struct Item {
    /// Empty in a list.
    key: String,
    /// Where it begins: the key, if it has one.
    start: usize,
    value: Range<usize>,
}

impl Container {
    fn object(text: &str, span: &Range<usize>) -> Option<Self> {
        let Members(members) = serde_json::from_str(text.get(span.clone())?).ok()?;
        Some(Self::new(text, span, members))
    }

    fn list(text: &str, span: &Range<usize>) -> Option<Self> {
        let values: Vec<&RawValue> = serde_json::from_str(text.get(span.clone())?).ok()?;
        let members = values.into_iter().map(|value| (String::new(), value));
        Some(Self::new(text, span, members.collect()))
    }

    fn new(text: &str, span: &Range<usize>, members: Vec<(String, &RawValue)>) -> Self {
        let inner = span.start + 1..span.end - 1;
        let mut from = inner.start;
        let items = members.into_iter().map(|(key, value)| {
            let value = span_of(text, value);
            let gap = text.get(from..value.start).unwrap_or_default();
            let blanks = gap.find(|c: char| !c.is_ascii_whitespace() && c != ',');
            let start = from + blanks.unwrap_or(gap.len());
            from = value.end;
            Item { key, start, value }
        });
        Self {
            items: items.collect(),
            inner,
        }
    }

    /// The blanks before the first item.
    fn lead<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.get(self.inner.start..self.items.first()?.start)
    }

    /// What stands between the items: after the comma.
    fn between<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (first, second) = (self.items.first()?, self.items.get(1)?);
        text.get(first.value.end..second.start)?
            .trim_start()
            .strip_prefix(',')
    }
}

/// The members of an object in their order, also those whose key is written twice.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(serde::de::Error::custom("a list"))
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// How somebody writes JSON.
struct Layout {
    newline: &'static str,
    /// One step of indentation.
    unit: String,
    /// Everything on one line.
    one_line: bool,
    /// A blank after a colon.
    airy: bool,
}

impl Layout {
    fn of(text: &str) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let root = find(text, &[]).and_then(|span| Container::object(text, &span));
        let lead = root.as_ref().and_then(|root| root.lead(text));
        let unit = lead.and_then(|lead| lead.rsplit_once('\n'));
        let colon = root.as_ref().and_then(|root| {
            let first = root.items.first()?;
            text.get(first.start..first.value.start)
        });
        Self {
            newline,
            unit: unit.map_or_else(|| "  ".to_owned(), |(_, unit)| unit.to_owned()),
            one_line: lead.is_some_and(|lead| !lead.contains('\n')),
            airy: colon.is_none_or(|colon| colon.ends_with(|c: char| c.is_ascii_whitespace())),
        }
    }

    /// The text with one more item at the end of a container.
    fn append(&self, text: &str, to: &Container, key: Option<&str>, value: &Value) -> String {
        let item = |indent: &str, one_line: bool| {
            let blank = if self.airy { " " } else { "" };
            let key = key.map(|key| format!("{}:{blank}", Value::from(key)));
            key.unwrap_or_default() + &self.render(value, indent, one_line)
        };
        let Some(last) = to.items.last() else {
            if self.one_line {
                return splice(text, to.inner.clone(), &item("", true));
            }
            let outer = line_indent(text, to.inner.start);
            let (inner, newline) = (format!("{outer}{}", self.unit), self.newline);
            let item = item(&inner, false);
            let item = format!("{newline}{inner}{item}{newline}{outer}");
            return splice(text, to.inner.clone(), &item);
        };
        let lead = to.lead(text).unwrap_or_default();
        let item = if let Some((_, indent)) = lead.rsplit_once('\n') {
            format!(",{}{indent}{}", self.newline, item(indent, false))
        } else {
            let blank = if self.airy { " " } else { "" };
            let between = to.between(text).filter(|between| !between.contains('\n'));
            format!(",{}{}", between.unwrap_or(blank), item("", true))
        };
        splice(text, last.value.end..last.value.end, &item)
    }

    fn render(&self, value: &Value, indent: &str, one_line: bool) -> String {
        let (open, close, items): (_, _, Vec<(Option<&str>, &Value)>) = match value {
            Value::Array(list) if !list.is_empty() => {
                ('[', ']', list.iter().map(|value| (None, value)).collect())
            }
            Value::Object(object) if !object.is_empty() => {
                let items = object.iter().map(|(key, value)| (Some(&**key), value));
                ('{', '}', items.collect())
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => return value.to_string(),
        };
        let (inner, newline) = (format!("{indent}{}", self.unit), self.newline);
        let blank = if self.airy { " " } else { "" };
        let items = items.into_iter().map(|(key, value)| {
            let key = key.map(|key| format!("{}:{blank}", Value::from(key)));
            key.unwrap_or_default() + &self.render(value, &inner, one_line)
        });
        let items: Vec<String> = items.collect();
        if one_line {
            format!("{open}{}{close}", items.join(&format!(",{blank}")))
        } else {
            let items = items.join(&format!(",{newline}{inner}"));
            format!("{open}{newline}{inner}{items}{newline}{indent}{close}")
        }
    }
}

/// Whether a value is written on one line, although it need not be.
fn is_on_one_line(text: &str, span: &Range<usize>, layout: &Layout) -> bool {
    let written = text.get(span.clone()).unwrap_or_default();
    layout.one_line || (written.starts_with(['{', '[']) && !written.contains('\n'))
}

/// The blanks at the beginning of the line on which something stands.
fn line_indent(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit_once('\n').map_or(before, |(_, line)| line);
    let blanks = line.find(|c: char| !c.is_ascii_whitespace());
    line.get(..blanks.unwrap_or(line.len())).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
