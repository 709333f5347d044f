//! From what agents write to what Telegram shows: a plain text and its entities. Pure.
//!
//! Never a `parse_mode`: a text with entities has no syntax that could be wrong (docs/facts/telegram.md 5).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthChar;

mod guard;
mod html;
mod link;
mod markdown;
mod marks;
mod names;
mod nesting;
mod table;

/// A text with its formatting, as it is stored and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rich {
    /// The plain text.
    pub text: String,
    /// How it is shown; sorted, outer before inner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity>,
}

/// One stretch of formatted text, with the field names of the Bot API's `MessageEntity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// How it is shown.
    #[serde(rename = "type")]
    pub kind: EntityStyle,
    /// Where it begins, in UTF-16 units.
    pub offset: usize,
    /// How long it is, in UTF-16 units.
    pub length: usize,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// In which language a block of code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// The kinds of formatting that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityStyle {
    /// Bold.
    Bold,
    /// Italic.
    Italic,
    /// Underlined.
    Underline,
    /// Struck through.
    Strikethrough,
    /// Hidden until it is touched.
    Spoiler,
    /// A quote.
    Blockquote,
    /// Code within a line.
    Code,
    /// A block of code, or a table.
    Pre,
    /// Text that is a link.
    TextLink,
}

/// An entity whose place is still a range of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it is.
    pub range: Range<usize>,
    /// The kind; offset and length do not count.
    pub entity: Entity,
}

impl Entity {
    /// An entity without a link or a language.
    pub fn new(kind: EntityStyle, offset: usize, length: usize) -> Self {
        Self {
            kind,
            offset,
            length,
            url: None,
            language: None,
        }
    }
}

impl Rich {
    /// A text whose entities are given by their bytes. Their ranges must lie between code points.
    pub fn from_spans(text: String, mut spans: Vec<Span>) -> Self {
        spans.retain(|span| !span.range.is_empty());
        spans.sort_by_key(|span| {
            let quote = span.entity.kind == EntityStyle::Blockquote;
            (span.range.start, Reverse(span.range.end), !quote)
        });
        let ends = spans
            .iter()
            .flat_map(|span| [span.range.start, span.range.end]);
        let places = places(&text, ends.collect(), |(byte, _)| byte);
        let unit = |byte| look_up(&places, byte, |(byte, _)| byte).map_or(0, |(_, unit)| unit);
        let entities = spans
            .into_iter()
            .map(|span| {
                let offset = unit(span.range.start);
                Entity {
                    offset,
                    length: unit(span.range.end) - offset,
                    ..span.entity
                }
            })
            .collect();
        Self { text, entities }
    }

    /// The entities by their bytes. One that does not fit the text is left out.
    pub fn spans(&self) -> Vec<Span> {
        let entities = self.entities.iter();
        let ends = entities.flat_map(|entity| [entity.offset, entity.offset + entity.length]);
        let places = places(&self.text, ends.collect(), |(_, unit)| unit);
        let byte = |unit| look_up(&places, unit, |(_, unit)| unit).map(|(byte, _)| byte);
        let span = |entity: &Entity| {
            Some(Span {
                range: byte(entity.offset)?..byte(entity.offset + entity.length)?,
                entity: entity.clone(),
            })
        };
        self.entities.iter().filter_map(span).collect()
    }

    /// The same text behind a plain line that is put before it.
    #[must_use]
    pub fn below(&self, line: &str) -> Self {
        let shift = utf16_len(line);
        Self {
            text: format!("{line}{}", self.text),
            entities: self
                .entities
                .iter()
                .map(|entity| Entity {
                    offset: entity.offset + shift,
                    ..entity.clone()
                })
                .collect(),
        }
    }

    /// The same text without formatting; the address of a link stands behind its words.
    #[must_use]
    pub fn without_formatting(&self) -> Self {
        Self {
            text: with_addresses(&self.text, &self.spans()),
            entities: Vec::new(),
        }
    }

    /// The length that Telegram's limits count: code points (docs/facts/telegram.md 5).
    pub fn code_points(&self) -> usize {
        self.text.chars().count()
    }
}

/// GitHub Markdown as Telegram shows it. A text in which Markdown would show nothing (`***`, `#`)
/// stays as it is.
pub fn markdown(text: &str) -> Rich {
    let text = clean(text);
    let rich = markdown::render(&text);
    if is_blank(&rich.text) {
        return plain(&text);
    }
    rich
}

/// Whether nothing of a text is seen: Telegram refuses such a message.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|symbol| {
        symbol.is_whitespace()
            || symbol.width().unwrap_or(0) == 0
            || matches!(
                symbol,
                '\u{ad}'
                    | '\u{115f}'
                    | '\u{1160}'
                    | '\u{2800}'
                    | '\u{3164}'
                    | '\u{ffa0}'
                    | '\u{fffc}'
            )
    })
}

/// A text as it is, without any formatting.
pub fn plain(text: &str) -> Rich {
    Rich {
        text: clean(text).into_owned(),
        entities: Vec::new(),
    }
}

/// Without what Telegram removes or replaces itself: line ends become line feeds, other control
/// characters and marks that turn the direction of everything behind them go.
fn clean(text: &str) -> Cow<'_, str> {
    let unwanted = |symbol: char| {
        symbol.is_control() && !matches!(symbol, '\n' | '\t')
            || matches!(symbol, '\u{2028}'..='\u{202e}' | '\u{feff}')
    };
    if !text.contains(unwanted) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut symbols = text.chars().peekable();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '\r' if symbols.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' => cleaned.push('\n'),
            symbol if unwanted(symbol) => {}
            symbol => cleaned.push(symbol),
        }
    }
    Cow::Owned(cleaned)
}

/// A text with the address of each link behind its words, unless they say it.
fn with_addresses(text: &str, spans: &[Span]) -> String {
    let mut links: Vec<(usize, &str)> = spans
        .iter()
        .filter_map(|span| {
            let url = span.entity.url.as_deref()?;
            let words = text.get(span.range.clone())?;
            let is_said = url.trim_end_matches('/') == words.trim_end_matches('/');
            (!is_said).then_some((span.range.end, url))
        })
        .collect();
    links.sort_by_key(|(end, _)| *end);
    let mut whole = String::with_capacity(text.len());
    let mut from = 0;
    for (end, url) in links {
        whole.push_str(text.get(from..end).unwrap_or_default());
        whole.extend([" (", url, ")"]);
        from = end;
    }
    whole + text.get(from..).unwrap_or_default()
}

/// A length in UTF-16 units.
fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A place in a text: its byte, and the UTF-16 units before it.
type Place = (usize, usize);

/// The wanted places between the code points of a text, in order.
fn places(text: &str, mut wanted: Vec<usize>, by: fn(Place) -> usize) -> Vec<Place> {
    wanted.sort_unstable();
    wanted.dedup();
    let mut wanted = wanted.into_iter().peekable();
    let (mut found, mut units) = (Vec::new(), 0);
    let ends = text.char_indices().map(|(byte, c)| (byte, c.len_utf16()));
    for (byte, width) in ends.chain([(text.len(), 0)]) {
        let here = by((byte, units));
        while wanted.next_if(|wanted| *wanted < here).is_some() {}
        if wanted.next_if_eq(&here).is_some() {
            found.push((byte, units));
        }
        units += width;
    }
    found
}

fn look_up(places: &[Place], wanted: usize, by: fn(Place) -> usize) -> Option<Place> {
    let at = places.binary_search_by_key(&wanted, |place| by(*place));
    places.get(at.ok()?).copied()
}

#[cfg(test)]
mod tests;
