//! Texts and their entities. Lengths count code points; entity offsets count UTF-16 units.

use serde_json::{Map, Value, json};

use super::Context;
use super::html;
use crate::answer::Refusal;
use crate::params::as_int;

/// Longest message text, in code points.
pub(super) const MAX_TEXT: usize = 4096;
/// Longest caption, in code points.
pub(super) const MAX_CAPTION: usize = 1024;
/// Further entities are ignored.
const MAX_ENTITIES: usize = 100;
const MAX_OFFSET: i64 = 1_000_000;
/// Most bytes of the entities of one message, of which each takes a few and its address.
const MAX_ENTITY_BYTES: usize = 9500;
/// Bytes of an entity without an address.
const PLAIN_ENTITY_BYTES: usize = 12;

/// Entity types that a sender may give.
const GIVEN: &[&str] = &[
    "bold",
    "italic",
    "underline",
    "strikethrough",
    "spoiler",
    "blockquote",
    "expandable_blockquote",
    "code",
    "pre",
    "text_link",
    "text_mention",
    "custom_emoji",
    "date_time",
];
/// Entity types that the server finds by itself; given ones are ignored.
const FOUND: &[&str] = &[
    "mention",
    "hashtag",
    "cashtag",
    "bot_command",
    "url",
    "email",
    "phone_number",
    "bank_card_number",
];

/// A text as it is stored: trimmed, with its entities in UTF-16 units.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Formatted {
    pub(super) text: String,
    pub(super) entities: Vec<Value>,
}

impl Formatted {
    pub(super) fn code_points(&self) -> usize {
        self.text.chars().count()
    }
}

/// Reads a text parameter with its formatting.
pub(super) fn read(
    context: &Context<'_>,
    name: &str,
    entities_name: &str,
) -> Result<Formatted, Refusal> {
    let text = context.params.text(name).unwrap_or_default();
    let mode = context.params.text("parse_mode").unwrap_or_default();
    let Ok(entities) = context.params.nested(entities_name) else {
        return Err(Refusal::bad(
            "can't parse entities: can't parse entities JSON object",
        ));
    };
    formatted(&text, &mode, entities.as_ref())
}

/// Applies a parse mode, or checks entities; the parse mode wins when both are given.
pub(super) fn formatted(
    text: &str,
    mode: &str,
    entities: Option<&Value>,
) -> Result<Formatted, Refusal> {
    let whole = match mode.to_ascii_lowercase().as_str() {
        "" | "none" => Formatted {
            text: text.to_owned(),
            entities: parse_entities(entities)?,
        },
        "html" => html::parse(text)?,
        // Marks are neither checked nor removed: see "Where it knows less" in the crate documentation.
        "markdown" | "markdownv2" => Formatted {
            text: text.to_owned(),
            entities: Vec::new(),
        },
        _ => return Err(Refusal::bad("unsupported parse_mode")),
    };
    check_bounds(&whole)?;
    check_size(&whole.entities)?;
    Ok(trimmed(&whole))
}

/// Refuses entities that are too many bytes together.
fn check_size(entities: &[Value]) -> Result<(), Refusal> {
    let text = |entity: &Value, name: &str| {
        let value = entity.get(name).and_then(Value::as_str);
        value.map_or(0, str::len)
    };
    let bytes: usize = entities
        .iter()
        .map(|entity| PLAIN_ENTITY_BYTES + text(entity, "url") + text(entity, "language"))
        .sum();
    if bytes > MAX_ENTITY_BYTES {
        return Err(Refusal::bad("ENTITIES_TOO_LONG"));
    }
    Ok(())
}

fn parse_entities(given: Option<&Value>) -> Result<Vec<Value>, Refusal> {
    let broken = |what: &str| Refusal::bad(format!("can't parse MessageEntity: {what}"));
    let Some(given) = given else {
        return Ok(Vec::new());
    };
    // The real server ignores a value that is no array; a caller that sends one means something else.
    let list = given
        .as_array()
        .ok_or_else(|| Refusal::bad("can't parse entities: expected an Array"))?;
    let mut entities = Vec::new();
    for entity in list.iter().take(MAX_ENTITIES) {
        let object = entity
            .as_object()
            .ok_or_else(|| broken("expected an Object"))?;
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .ok_or_else(|| broken("Can't find field \"type\""))?;
        let field = |name: &str| {
            let value = object
                .get(name)
                .ok_or_else(|| broken(&format!("Can't find field \"{name}\"")))?;
            as_int(value).ok_or_else(|| broken(&format!("Field \"{name}\" must be of type Number")))
        };
        let (offset, length) = (field("offset")?, field("length")?);
        for (name, number) in [("offset", offset), ("length", length)] {
            if !(0..=MAX_OFFSET).contains(&number) {
                return Err(Refusal::bad(format!(
                    "receive an entity with incorrect {name} {number}"
                )));
            }
        }
        if FOUND.contains(&kind) {
            continue;
        }
        if !GIVEN.contains(&kind) {
            return Err(broken("Unsupported type specified"));
        }
        check_fields(kind, object)?;
        if length > 0 {
            entities.push(entity.clone());
        }
    }
    // Outer before inner, as the server returns them.
    entities.sort_by_key(|entity| {
        let (offset, length) = span(entity);
        (offset, std::cmp::Reverse(length))
    });
    Ok(entities)
}

/// Fields that some types need.
fn check_fields(kind: &str, object: &Map<String, Value>) -> Result<(), Refusal> {
    let needed = match kind {
        "text_link" => "url",
        "text_mention" => "user",
        "custom_emoji" => "custom_emoji_id",
        "date_time" => "unix_time",
        _ => return Ok(()),
    };
    let Some(value) = object.get(needed) else {
        return Err(Refusal::bad(format!(
            "can't parse MessageEntity: Can't find field \"{needed}\""
        )));
    };
    if kind == "text_link" {
        let url = value.as_str().unwrap_or_default();
        let absolute = if url.contains("://") || url.starts_with("tg:") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let sound = url::Url::parse(&absolute).is_ok_and(|url| match url.scheme() {
            "http" | "https" => url
                .host_str()
                .is_some_and(|host| host.contains('.') || host.starts_with('[')),
            scheme => matches!(scheme, "tg" | "ton"),
        });
        if url.is_empty() || !sound {
            return Err(Refusal::bad(format!("entity URL '{url}' is invalid")));
        }
    }
    Ok(())
}

/// (offset, length) of an entity, in UTF-16 units.
fn span(entity: &Value) -> (i64, i64) {
    let number = |name: &str| entity.get(name).and_then(as_int).unwrap_or(0);
    (number("offset"), number("length"))
}

/// The answer of [`crate::check_text`].
pub(crate) fn judged(
    text: &str,
    entities: &Value,
    limit: usize,
) -> Result<(String, Vec<Value>), Refusal> {
    let kept = formatted(text, "", Some(entities))?;
    if kept.text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    if kept.code_points() > limit {
        return Err(Refusal::bad("message is too long"));
    }
    Ok((kept.text, kept.entities))
}

/// Whether an entity may lie in another (Bot API, `MessageEntity`): code in none but a quote and with none in it,
/// no quote in a quote, of the rest only styles in each other and around one that is no style.
fn may_lie_in(inner: &str, outer: &str) -> bool {
    let quote = |kind| matches!(kind, "blockquote" | "expandable_blockquote");
    let code = |kind| matches!(kind, "code" | "pre");
    let style = |kind| {
        matches!(
            kind,
            "bold" | "italic" | "underline" | "strikethrough" | "spoiler"
        )
    };
    match (inner, outer) {
        (inner, outer) if quote(outer) => !quote(inner),
        (_, outer) if code(outer) => false,
        (inner, outer) if code(inner) => quote(outer),
        (inner, outer) => style(inner) || style(outer),
    }
}

/// Offsets must lie in the text and between code points; entities may nest, not cross.
fn check_bounds(whole: &Formatted) -> Result<(), Refusal> {
    let mut boundaries = std::collections::BTreeMap::new();
    let mut units = 0_i64;
    for (byte, symbol) in whole.text.char_indices() {
        boundaries.insert(units, byte);
        units += symbol_units(symbol);
    }
    boundaries.insert(units, whole.text.len());
    let byte_behind = |unit: i64| {
        boundaries
            .range(unit..)
            .next()
            .map_or(whole.text.len(), |(_, byte)| *byte)
    };
    let mut open: Vec<(i64, &str)> = Vec::new();
    for entity in &whole.entities {
        let (offset, length) = span(entity);
        let kind = entity
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let end = offset + length;
        if offset > units {
            return Err(Refusal::bad(format!(
                "entity begins after the end of the text at UTF-16 offset {offset}"
            )));
        }
        if !boundaries.contains_key(&offset) {
            let byte = byte_behind(offset);
            return Err(Refusal::bad(format!(
                "entity begins in a middle of a UTF-16 symbol at byte offset {byte}"
            )));
        }
        if end > units {
            return Err(Refusal::bad(format!(
                "entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset {end}"
            )));
        }
        if !boundaries.contains_key(&end) {
            let byte = byte_behind(end);
            return Err(Refusal::bad(format!(
                "entity beginning at UTF-16 offset {offset} ends in a middle of a UTF-16 symbol at byte offset {byte}"
            )));
        }
        open.retain(|(outer_end, _)| *outer_end > offset);
        if open.last().is_some_and(|(outer_end, _)| end > *outer_end) {
            return Err(Refusal::bad(format!(
                "entity beginning at UTF-16 offset {offset} crosses another entity"
            )));
        }
        if let Some((_, outer)) = open.iter().find(|(_, outer)| !may_lie_in(kind, outer)) {
            return Err(Refusal::bad(format!(
                "entity {kind} beginning at UTF-16 offset {offset} may not lie in entity {outer}"
            )));
        }
        open.push((end, kind));
    }
    Ok(())
}

fn symbol_units(symbol: char) -> i64 {
    if symbol.len_utf16() == 2 { 2 } else { 1 }
}

/// Spaces and line feeds are cut off behind the text, and before it up to the first entity; entities move along.
fn trimmed(whole: &Formatted) -> Formatted {
    let text = whole.text.trim_end();
    let first = whole
        .entities
        .first()
        .map_or(i64::MAX, |entity| span(entity).0);
    let mut cut = 0_i64;
    let mut rest = text.chars();
    while cut < first {
        let mut ahead = rest.clone();
        match ahead.next() {
            Some(' ' | '\n' | '\t' | '\r') => rest = ahead,
            _ => break,
        }
        cut += 1;
    }
    let text = rest.as_str().to_owned();
    let units: i64 = text.chars().map(symbol_units).sum();
    let entities = whole
        .entities
        .iter()
        .filter_map(|entity| {
            let (offset, length) = span(entity);
            let offset = offset - cut;
            let length = length.min(units - offset);
            let mut moved = entity.clone();
            let object = moved.as_object_mut()?;
            object.insert("offset".to_owned(), json!(offset));
            object.insert("length".to_owned(), json!(length));
            (length > 0).then_some(moved)
        })
        .collect();
    Formatted { text, entities }
}

/// Entities that the server finds in a person's text: here only bot commands.
pub(crate) fn auto_entities(text: &str) -> Vec<Value> {
    let mut entities = Vec::new();
    let mut offset = 0_i64;
    let mut before = ' ';
    let mut symbols = text.chars().peekable();
    while let Some(symbol) = symbols.next() {
        let start = offset;
        offset += symbol_units(symbol);
        if symbol == '/' && before.is_whitespace() {
            while symbols
                .next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '@'))
                .is_some()
            {
                offset += 1;
            }
            if offset > start + 1 {
                entities.push(
                    json!({ "type": "bot_command", "offset": start, "length": offset - start }),
                );
            }
        }
        before = symbol;
    }
    entities
}
