//! `parse_mode=HTML`: tags become entities, character references become characters, the rest is refused.

use serde_json::{Map, Value, json};

use super::text::Formatted;
use crate::answer::Refusal;

struct Open {
    tag: String,
    kind: Option<&'static str>,
    fields: Map<String, Value>,
    offset: i64,
    index: usize,
}

/// Parses the whole text.
pub(super) fn parse(html: &str) -> Result<Formatted, Refusal> {
    let mut text = String::new();
    let mut units = 0_i64;
    let mut entities: Vec<Option<Value>> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut rest = html;
    while let Some(symbol) = rest.chars().next() {
        if symbol == '<' {
            let at = html.len() - rest.len();
            let (inside, behind) = rest
                .strip_prefix('<')
                .and_then(|inner| inner.split_once('>'))
                .ok_or_else(|| refuse(format!("unclosed start tag at byte offset {at}")))?;
            rest = behind;
            if let Some(name) = inside.strip_prefix('/') {
                close(name.trim(), at, units, &mut open, &mut entities)?;
            } else {
                let (tag, kind, fields) = start_tag(inside, at)?;
                open.push(Open {
                    tag,
                    kind,
                    fields,
                    offset: units,
                    index: entities.len(),
                });
                entities.push(None);
            }
            continue;
        }
        let (decoded, length) = reference(rest).unwrap_or((symbol, symbol.len_utf8()));
        text.push(decoded);
        units += if decoded.len_utf16() == 2 { 2 } else { 1 };
        rest = rest.get(length..).unwrap_or_default();
    }
    match open.last() {
        Some(open) => Err(refuse(format!(
            "can't find end tag corresponding to start tag \"{}\"",
            open.tag
        ))),
        None => Ok(Formatted {
            text,
            entities: entities.into_iter().flatten().collect(),
        }),
    }
}

fn refuse(what: impl AsRef<str>) -> Refusal {
    Refusal::bad(format!("can't parse entities: {}", what.as_ref()))
}

fn close(
    name: &str,
    at: usize,
    units: i64,
    open: &mut Vec<Open>,
    entities: &mut [Option<Value>],
) -> Result<(), Refusal> {
    let last = open
        .pop()
        .ok_or_else(|| refuse(format!("unexpected end tag at byte offset {at}")))?;
    if !name.is_empty() && !name.eq_ignore_ascii_case(&last.tag) {
        let tag = last.tag;
        return Err(refuse(format!(
            "unmatched end tag at byte offset {at}, expected \"</{tag}>\", found \"</{name}>\""
        )));
    }
    if let (Some(kind), Some(slot)) = (last.kind, entities.get_mut(last.index))
        && units > last.offset
    {
        let mut entity = last.fields;
        entity.insert("type".to_owned(), json!(kind));
        entity.insert("offset".to_owned(), json!(last.offset));
        entity.insert("length".to_owned(), json!(units - last.offset));
        *slot = Some(Value::Object(entity));
    }
    Ok(())
}

/// Name, entity type, fields of the entity.
type StartTag = (String, Option<&'static str>, Map<String, Value>);

/// The name of a tag and the entity that it stands for. A link without address and a `code` inside `pre` stand for
/// none.
fn start_tag(inside: &str, at: usize) -> Result<StartTag, Refusal> {
    let (name, attributes) = inside
        .split_once(char::is_whitespace)
        .unwrap_or((inside, ""));
    let name = name.to_ascii_lowercase();
    let mut fields = Map::new();
    let kind = match name.as_str() {
        "b" | "strong" => Some("bold"),
        "i" | "em" => Some("italic"),
        "u" | "ins" => Some("underline"),
        "s" | "strike" | "del" => Some("strikethrough"),
        "tg-spoiler" => Some("spoiler"),
        "span" if attribute(attributes, "class").as_deref() == Some("tg-spoiler") => {
            Some("spoiler")
        }
        "span" => {
            return Err(refuse(format!(
                "tag \"span\" must have class \"tg-spoiler\" at byte offset {at}"
            )));
        }
        "code" => Some("code"),
        "pre" => Some("pre"),
        "blockquote" if attributes.contains("expandable") => Some("expandable_blockquote"),
        "blockquote" => Some("blockquote"),
        "a" => attribute(attributes, "href")
            .filter(|url| !url.is_empty())
            .map(|url| {
                fields.insert("url".to_owned(), json!(url));
                "text_link"
            }),
        "tg-emoji" => {
            let emoji = attribute(attributes, "emoji-id").unwrap_or_default();
            fields.insert("custom_emoji_id".to_owned(), json!(emoji));
            Some("custom_emoji")
        }
        _ => {
            return Err(refuse(format!(
                "unsupported start tag \"{name}\" at byte offset {at}"
            )));
        }
    };
    Ok((name, kind, fields))
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (_, behind) = attributes.split_once(name)?;
    let value = behind.trim_start().strip_prefix('=')?.trim_start();
    let quote = value
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '\''))?;
    let (value, _) = value.strip_prefix(quote)?.split_once(quote)?;
    let mut decoded = String::new();
    let mut rest = value;
    while let Some(symbol) = rest.chars().next() {
        let (symbol, length) = reference(rest).unwrap_or((symbol, symbol.len_utf8()));
        decoded.push(symbol);
        rest = rest.get(length..)?;
    }
    Some(decoded)
}

/// A character reference at the start of the text, and its length in bytes.
fn reference(text: &str) -> Option<(char, usize)> {
    let (name, _) = text.strip_prefix('&')?.split_once(';')?;
    let symbol = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|symbol| *symbol != '\0')?
        }
    };
    Some((symbol, name.len() + 2))
}
