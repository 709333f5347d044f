//! Edits one value of a JSON text and leaves every other byte alone. Pure.
//!
//! The file belongs to the user: key order, indentation, line ends, numbers and escapes stay as they are
//! written. An edit therefore splices the text at the span of a value, and the removal of a value that was
//! appended gives the text that was there before. No syntax tree of a library does this: `jsonc-parser`
//! breaks objects on one line into several, drops blank lines beside an insertion, and refuses the lone
//! surrogates that JavaScript writes.

use std::ops::Range;

use serde::Serialize as _;
use serde::de::IgnoredAny;
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;
use serde_json::{Serializer, Value, json};

use super::error::EditError;
use crate::config::RawMembers;

pub(super) fn check_syntax(text: &str) -> Result<(), EditError> {
    let Err(error) = serde_json::from_str::<IgnoredAny>(text) else {
        return Ok(());
    };
    let (line, column, words) = (error.line(), error.column(), error.to_string());
    let position = format!(" at line {line} column {column}");
    Err(EditError::Syntax {
        line,
        column,
        message: words.strip_suffix(&position).unwrap_or(&words).to_owned(),
    })
}

pub(super) fn get_value(text: &str, path: &[&str]) -> Option<Value> {
    serde_json::from_str(get_raw(text, path)?).ok()
}

fn get_raw<'t>(text: &'t str, path: &[&str]) -> Option<&'t str> {
    text.get(find_span(text, path)?)
}

pub(super) fn list_keys(text: &str, path: &[&str]) -> Vec<String> {
    let object = Members::find(text, path).map(|object| object.items);
    let items = object.unwrap_or_default().into_iter();
    items.map(|item| item.key).collect()
}

/// Puts a value at a path of keys: in place of the value there, else at the end of its object. Missing
/// objects on the way are created.
pub(super) fn set_value(text: &str, path: &[&str], value: &Value) -> Result<String, EditError> {
    let style = TextStyle::detect(text);
    if let Some(span) = find_span(text, path) {
        let written = text.get(span.clone()).unwrap_or_default();
        let one_line = style.one_line || written.starts_with(['{', '[']) && !written.contains('\n');
        let new = style.render(None, value, line_indent(text, span.start), one_line);
        return Ok(splice(text, span, &new));
    }
    for (index, key) in path.iter().enumerate().rev() {
        let (parent, missing) = path.split_at(index);
        if find_span(text, parent).is_some() {
            let object = Members::find(text, parent).filter(|found| !found.is_list);
            let object = object.ok_or_else(|| EditError::at_path(parent, "an object"))?;
            let inner = missing.iter().skip(1).rev();
            let value = inner.fold(value.clone(), |inner, key| json!({ *key: inner }));
            return Ok(style.append(text, &object, Some(key), &value));
        }
    }
    Err(EditError::at_path(&[], "an object"))
}

/// Appends a value to the list at a path, which is created if it is missing.
pub(super) fn push_value(text: &str, path: &[&str], value: &Value) -> Result<String, EditError> {
    if find_span(text, path).is_none() {
        return set_value(text, path, &json!([value]));
    }
    let list = Members::find(text, path).filter(|found| found.is_list);
    let list = list.ok_or_else(|| EditError::at_path(path, "a list"))?;
    Ok(TextStyle::detect(text).append(text, &list, None, value))
}

/// Gives a path the value that it has in `before`, or removes it.
pub(super) fn restore_value(text: &str, path: &[&str], before: Option<&str>) -> String {
    match before.and_then(|before| get_raw(before, path)) {
        Some(was) => match find_span(text, path) {
            Some(span) => splice(text, span, was),
            None => text.to_owned(),
        },
        None => remove_value(text, path, before),
    }
}

/// Removes a value from the list at a path, unless that list has it in `before`.
pub(super) fn withdraw_value(
    text: &str,
    path: &[&str],
    value: &Value,
    before: Option<&str>,
) -> String {
    let position = |text: &str| {
        let list = get_value(text, path)?;
        list.as_array()?.iter().rposition(|item| item == value)
    };
    match (position(text), before.and_then(position)) {
        (Some(at), None) => remove_value(text, &[path, &[&*at.to_string()]].concat(), before),
        _ => text.to_owned(),
    }
}

/// Removes the value at a path, and with it each object or list that is empty then and not in `before`.
pub(super) fn remove_value(text: &str, path: &[&str], before: Option<&str>) -> String {
    let Some((key, parent)) = path.split_last() else {
        return text.to_owned();
    };
    let members = Members::find(text, parent);
    let Some((members, at)) = members.and_then(|all| all.position(key).map(|at| (all, at))) else {
        return text.to_owned();
    };
    let item = |at: usize| members.items.get(at);
    let end = |item: &Member| item.value.end;
    let previous = at.checked_sub(1).and_then(item);
    match (previous, item(at), item(at + 1)) {
        (Some(previous), Some(item), _) => splice(text, end(previous)..end(item), ""),
        (None, Some(item), Some(next)) => splice(text, item.start..next.start, ""),
        _ => match before.and_then(|before| get_raw(before, parent)) {
            None if !parent.is_empty() => remove_value(text, parent, before),
            // An object that was empty before has its own blanks.
            Some(was) if Members::find(was, &[]).is_some_and(|was| was.items.is_empty()) => {
                splice(text, members.span, was)
            }
            Some(_) | None => splice(text, members.inner(), ""),
        },
    }
}

/// The span of the value at a path. The key of a list item is its index.
fn find_span(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    path.iter().try_fold(span_of(text, whole), |span, key| {
        let members = Members::at_span(text, span)?;
        let item = members.items.get(members.position(key)?)?;
        Some(item.value.clone())
    })
}

/// The span of a part that borrows from the text.
fn span_of(text: &str, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr().addr() - text.as_ptr().addr();
    start..start + part.get().len()
}

fn splice(text: &str, span: Range<usize>, new: &str) -> String {
    let mut text = text.to_owned();
    text.replace_range(span, new);
    text
}

/// The blanks at the beginning of the line of an offset.
fn line_indent(text: &str, offset: usize) -> &str {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let blanks = line.find(|c: char| !c.is_ascii_whitespace());
    line.get(..blanks.unwrap_or(line.len())).unwrap_or_default()
}

/// The spans in an object or a list.
struct Members {
    is_list: bool,
    span: Range<usize>,
    items: Vec<Member>,
}

struct Member {
    /// Empty in a list.
    key: String,
    /// Start of the key, in a list of the value.
    start: usize,
    value: Range<usize>,
}

impl Members {
    fn find(text: &str, path: &[&str]) -> Option<Self> {
        Self::at_span(text, find_span(text, path)?)
    }

    fn at_span(text: &str, span: Range<usize>) -> Option<Self> {
        let RawMembers { is_list, items } = serde_json::from_str(text.get(span.clone())?).ok()?;
        let mut from = span.start + 1;
        let items = items.into_iter().map(|(key, value)| {
            let value = span_of(text, value);
            let gap = text.get(from..value.start).unwrap_or_default();
            let blanks = gap.find(|c: char| !c.is_ascii_whitespace() && c != ',');
            let start = from + blanks.unwrap_or(gap.len());
            from = value.end;
            Member { key, start, value }
        });
        Some(Self {
            is_list,
            items: items.collect(),
            span,
        })
    }

    /// Of a key that is written twice, the clients take the last.
    fn position(&self, key: &str) -> Option<usize> {
        if self.is_list {
            key.parse().ok().filter(|at| *at < self.items.len())
        } else {
            self.items.iter().rposition(|item| item.key == key)
        }
    }

    fn inner(&self) -> Range<usize> {
        self.span.start + 1..self.span.end - 1
    }

    fn leading_blanks<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.get(self.span.start + 1..self.items.first()?.start)
    }

    fn gap<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (first, second) = (self.items.first()?, self.items.get(1)?);
        let gap = text.get(first.value.end..second.start)?;
        gap.trim_start().strip_prefix(',')
    }
}

/// How a file is formatted, as far as its first lines show.
struct TextStyle<'t> {
    newline: &'static str,
    /// One step of indentation.
    unit: &'t str,
    one_line: bool,
    /// The blank after a colon or a comma.
    space: &'static str,
}

impl<'t> TextStyle<'t> {
    fn detect(text: &'t str) -> Self {
        let root = Members::find(text, &[]).filter(|root| !root.is_list);
        let blanks = root.as_ref().and_then(|root| root.leading_blanks(text));
        let unit = blanks.and_then(|blanks| blanks.rsplit_once('\n'));
        let first = root.as_ref().and_then(|root| root.items.first());
        let key = first.and_then(|first| text.get(first.start..first.value.start));
        let is_tight = key.is_some_and(|key| key.ends_with(':'));
        Self {
            newline: detect_newline(text),
            unit: unit.map_or("  ", |(_, unit)| unit),
            one_line: blanks.is_some_and(|blanks| !blanks.contains('\n')),
            space: if is_tight { "" } else { " " },
        }
    }

    /// The text with one more item at the end of an object or a list.
    fn append(&self, text: &str, to: &Members, key: Option<&str>, value: &Value) -> String {
        let Some(last) = to.items.last() else {
            let outer = line_indent(text, to.span.start);
            let inner = format!("{outer}{}", self.unit);
            let item = self.render(key, value, &inner, self.one_line);
            let newline = self.newline;
            return if self.one_line {
                splice(text, to.inner(), &item)
            } else {
                let item = format!("{newline}{inner}{item}{newline}{outer}");
                splice(text, to.inner(), &item)
            };
        };
        let blanks = to.leading_blanks(text).unwrap_or_default();
        let item = if let Some((_, indent)) = blanks.rsplit_once('\n') {
            let item = self.render(key, value, indent, false);
            format!(",{}{indent}{item}", self.newline)
        } else {
            let gap = to.gap(text).filter(|gap| !gap.contains('\n'));
            let item = self.render(key, value, "", true);
            format!(",{}{item}", gap.unwrap_or(self.space))
        };
        splice(text, last.value.end..last.value.end, &item)
    }

    fn render(&self, key: Option<&str>, value: &Value, indent: &str, one_line: bool) -> String {
        let key = key.map(|key| format!("{}:{}", Value::from(key), self.space));
        let key = key.unwrap_or_default();
        if one_line {
            return format!("{key}{value}");
        }
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(self.unit.as_bytes());
        let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
        // Writing into memory cannot fail.
        drop(value.serialize(&mut serializer));
        let lines = String::from_utf8(bytes).unwrap_or_default();
        key + &lines.replace('\n', &format!("{}{indent}", self.newline))
    }
}

pub(super) fn detect_newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

#[cfg(test)]
pub(super) mod tests;
