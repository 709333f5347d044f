//! A text and its entities as Markdown, the way back from what an answer becomes. Pure.
//!
//! For reading, not for rendering: what a person wrote stays as it was written, so a `*` or `_` of
//! the text gets no backslash. An agent reads code, paths and globs in messages all the time, and a
//! `foo\_bar` would be copied with its backslash. The only loss is whether `**x**` was bold or
//! typed, which no agent needs.
//!
//! Underlined and spoiler, which Markdown has not, are `<u>…</u>` and `||…||`. A mention of a person
//! without a public name is a link to `tg://user?id=…`. Offsets of entities count UTF-16 units; an
//! entity that is not in the text, or begins or ends within a character, is ignored. A style within
//! itself counts once, and where two overlap, the later one ends with the earlier, so the result is
//! never longer than a few times the text, however many entities there are.

use std::borrow::Cow;

use serde_json::Value;

use super::message::{EntityKind, TextEntity, entities};
use crate::telegram::format::EntityStyle;

/// Most characters of the language of a code block.
const LANGUAGE_CHARS: usize = 32;

/// A text as Markdown.
pub fn to_markdown<'a>(words: &'a str, list: Option<&Value>) -> Cow<'a, str> {
    let entities = entities(words, list);
    let telling: Vec<TextEntity> = entities
        .into_iter()
        .filter(|entity| style(&entity.kind).is_some())
        .collect();
    if telling.is_empty() {
        return Cow::Borrowed(words);
    }
    let mut out = String::with_capacity(words.len() + 16 * telling.len().min(words.len()));
    write(words, 0, words.len(), telling, &mut out);
    Cow::Owned(out)
}

/// For each UTF-16 offset of a text, and its end, the offset in bytes; `None` within a character.
pub(super) fn utf16_to_bytes(words: &str) -> Vec<Option<usize>> {
    let mut bytes = Vec::with_capacity(words.len() + 1);
    for (index, character) in words.char_indices() {
        bytes.push(Some(index));
        if character.len_utf16() == 2 {
            bytes.push(None);
        }
    }
    bytes.push(Some(words.len()));
    bytes
}

/// The marks before and after a part; `None` for what shows itself.
fn style(kind: &EntityKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        EntityKind::Style(EntityStyle::Bold) => ("**", "**"),
        EntityKind::Style(EntityStyle::Italic) => ("*", "*"),
        EntityKind::Style(EntityStyle::Underline) => ("<u>", "</u>"),
        EntityKind::Style(EntityStyle::Strikethrough) => ("~~", "~~"),
        EntityKind::Style(EntityStyle::Spoiler) => ("||", "||"),
        // These need more than a mark on both sides.
        EntityKind::Style(_)
        | EntityKind::Pre(_)
        | EntityKind::Link(_)
        | EntityKind::TextMention(_) => ("", ""),
        EntityKind::Mention | EntityKind::Command | EntityKind::Plain => return None,
    })
}

/// Writes the part of the text from `at` to `end`; all entities begin in it and are in order.
fn write(words: &str, mut at: usize, end: usize, entities: Vec<TextEntity>, out: &mut String) {
    let plain = |from: usize, to: usize| words.get(from..to).unwrap_or_default();
    let mut rest = entities.into_iter().peekable();
    while let Some(entity) = rest.next() {
        // Within code, or begun before what overlapped it ended.
        if entity.start < at {
            continue;
        }
        let entity_end = entity.end.min(end);
        out.push_str(plain(at, entity.start));
        let mut within = Vec::new();
        while let Some(inner) = rest.next_if(|inner| inner.start < entity_end) {
            if !is_same_style(&inner.kind, &entity.kind) {
                within.push(inner);
            }
        }
        part(words, entity.start, entity_end, &entity.kind, within, out);
        at = entity_end;
    }
    out.push_str(plain(at, end));
}

fn is_same_style(one: &EntityKind, other: &EntityKind) -> bool {
    match (one, other) {
        (EntityKind::Style(one), EntityKind::Style(other)) => one == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn part(
    words: &str,
    start: usize,
    end: usize,
    kind: &EntityKind,
    within: Vec<TextEntity>,
    out: &mut String,
) {
    let text = words.get(start..end).unwrap_or_default();
    let mut inner = String::new();
    match kind {
        EntityKind::Pre(language) => {
            return fence(text, language.as_deref(), words.get(end..), out);
        }
        EntityKind::Style(EntityStyle::Code) => return code(text, out),
        EntityKind::Style(_)
        | EntityKind::Link(_)
        | EntityKind::TextMention(_)
        | EntityKind::Mention
        | EntityKind::Command
        | EntityKind::Plain => write(words, start, end, within, &mut inner),
    }
    match kind {
        EntityKind::Style(EntityStyle::Blockquote) => quote(&inner, words.get(end..), out),
        EntityKind::Link(url) => link(&inner, url, out),
        EntityKind::TextMention(user) => link(&inner, &format!("tg://user?id={user}"), out),
        EntityKind::Style(_)
        | EntityKind::Pre(_)
        | EntityKind::Mention
        | EntityKind::Command
        | EntityKind::Plain => {
            let (before, after) = style(kind).unwrap_or_default();
            // "**bold **" is no bold: the marks stand at the words.
            let core = inner.trim();
            if core.is_empty() {
                return out.push_str(&inner);
            }
            let lead = inner.len() - inner.trim_start().len();
            out.push_str(inner.get(..lead).unwrap_or_default());
            out.push_str(before);
            out.push_str(core);
            out.push_str(after);
            out.push_str(inner.get(lead + core.len()..).unwrap_or_default());
        }
    }
}

/// Code within a line; more ticks around what has ticks.
pub(super) fn code(text: &str, out: &mut String) {
    let ticks = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    for piece in [&ticks, pad, text, pad, &ticks] {
        out.push_str(piece);
    }
}

/// Lines of code, on lines of their own.
pub(super) fn fence(text: &str, language: Option<&str>, after: Option<&str>, out: &mut String) {
    let ticks = "`".repeat(longest_run(text).max(2) + 1);
    own_line(out);
    out.push_str(&ticks);
    let language = language.unwrap_or_default().chars();
    out.extend(
        language
            .filter(|c| c.is_alphanumeric() || "+-#._".contains(*c))
            .take(LANGUAGE_CHARS),
    );
    out.push('\n');
    out.push_str(text);
    own_line(out);
    out.push_str(&ticks);
    if after.is_some_and(|after| !after.is_empty() && !after.starts_with('\n')) {
        out.push('\n');
    }
}

/// Each line as a quote, on lines of their own.
pub(super) fn quote(inner: &str, after: Option<&str>, out: &mut String) {
    own_line(out);
    let lines: Vec<String> = inner
        .trim_end_matches('\n')
        .split('\n')
        .map(|line| format!("> {line}").trim_end().to_owned())
        .collect();
    out.push_str(&lines.join("\n"));
    if inner.ends_with('\n')
        || after.is_some_and(|after| !after.is_empty() && !after.starts_with('\n'))
    {
        out.push('\n');
    }
}

/// A link; an address that shows itself needs none.
pub(super) fn link(text: &str, url: &str, out: &mut String) {
    if text == url {
        out.push_str(url);
        return;
    }
    let url: String = url.chars().filter(|c| !c.is_control()).collect();
    out.push('[');
    out.push_str(text);
    out.push_str("](");
    if url.contains([' ', '(', ')']) {
        out.push('<');
        out.push_str(&url);
        out.push('>');
    } else {
        out.push_str(&url);
    }
    out.push(')');
}

fn own_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn markdown(words: &str, entities: &[(&str, i64, i64)]) -> String {
        let list: Vec<Value> = entities
            .iter()
            .map(|(kind, offset, length)| {
                json!({"type": kind, "offset": offset, "length": length,
                "url": "https://example.org/a", "language": "rust", "user": {"id": 7}})
            })
            .collect();
        to_markdown(words, Some(&json!(list))).into_owned()
    }

    #[test]
    fn each_style_is_written_as_markdown_has_it() {
        let cases = [
            ("bold", "say **it** now"),
            ("italic", "say *it* now"),
            ("underline", "say <u>it</u> now"),
            ("strikethrough", "say ~~it~~ now"),
            ("spoiler", "say ||it|| now"),
            ("code", "say `it` now"),
            ("pre", "say \n```rust\nit\n```\n now"),
            ("text_link", "say [it](https://example.org/a) now"),
            ("text_mention", "say [it](tg://user?id=7) now"),
            ("blockquote", "say \n> it\n now"),
            ("expandable_blockquote", "say \n> it\n now"),
            ("mention", "say it now"),
            ("hashtag", "say it now"),
            ("date_time", "say it now"),
            ("custom_emoji", "say it now"),
            ("invented", "say it now"),
        ];
        for (kind, expected) in cases {
            assert_eq!(markdown("say it now", &[(kind, 4, 2)]), expected, "{kind}");
        }
    }

    #[test]
    fn what_a_person_typed_stays_as_it_was_typed() {
        for words in [
            "a*b*c",
            "snake_case_name",
            r"C:\new\[x](y)",
            "# no **heading**",
            "`x",
        ] {
            assert_eq!(markdown(words, &[("hashtag", 0, 1)]), words);
        }
    }

    #[test]
    fn offsets_count_utf16_units() {
        assert_eq!(
            markdown("😀 bold é", &[("bold", 3, 4), ("code", 8, 1)]),
            "😀 **bold** `é`"
        );
    }

    #[test]
    fn entities_that_are_not_in_the_text_are_ignored() {
        let entities = [
            ("bold", -1, 2),
            ("bold", 0, 0),
            ("bold", 0, -3),
            ("bold", 1, 1),
            ("bold", 3, 99),
            ("bold", 99, 1),
            ("bold", i64::MAX, i64::MAX),
        ];
        assert_eq!(markdown("😀 text", &entities), "😀 text");
    }

    #[test]
    fn styles_within_each_other_are_nested() {
        let entities = [("bold", 0, 9), ("italic", 4, 5), ("text_link", 0, 9)];
        assert_eq!(
            markdown("one three", &entities),
            "**[one *three*](https://example.org/a)**"
        );
    }

    #[test]
    fn nothing_is_formatted_within_code() {
        assert_eq!(
            markdown("x * y", &[("code", 0, 5), ("bold", 0, 1)]),
            "`x * y`"
        );
    }

    #[test]
    fn code_with_ticks_gets_more_ticks() {
        assert_eq!(markdown("a `b` c", &[("code", 0, 7)]), "``a `b` c``");
        assert_eq!(
            markdown("```\nx", &[("pre", 0, 5)]),
            "````rust\n```\nx\n````"
        );
    }

    #[test]
    fn a_quote_of_several_lines_has_its_mark_on_each() {
        assert_eq!(
            markdown("one\n\ntwo\nmine", &[("blockquote", 0, 9)]),
            "> one\n>\n> two\nmine"
        );
    }

    #[test]
    fn the_marks_stand_at_the_words_and_not_at_the_spaces() {
        assert_eq!(markdown("so  bold ,", &[("bold", 3, 6)]), "so  **bold** ,");
        assert_eq!(markdown("a   b", &[("bold", 1, 3)]), "a   b");
    }

    #[test]
    fn ten_thousand_entities_do_not_make_a_long_text() {
        let many: Vec<(&str, i64, i64)> = (0..10_000).map(|_| ("bold", 0, 4)).collect();
        assert_eq!(markdown("text", &many), "**text**");
    }

    #[test]
    fn an_address_with_brackets_stays_one_address() {
        let list = json!([{"type": "text_link", "offset": 0, "length": 1, "url": "https://e.org/a(b)\n c"}]);
        assert_eq!(to_markdown("x", Some(&list)), "[x](<https://e.org/a(b) c>)");
    }

    proptest! {
        /// The words are all there, in order, and the result is not much longer.
        #[test]
        fn no_word_is_lost_or_made_up(
            words in "[a-z😀é \n]{0,60}",
            entities in proptest::collection::vec(
                (proptest::sample::select(vec!["bold", "italic", "code", "pre", "text_link", "blockquote", "underline"]), -2i64..70, -2i64..70),
                0..12,
            ),
        ) {
            let written = markdown(&words, &entities);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic() || *c == '😀').collect::<String>();
            let bare = written
                .replace("https://example.org/a", "")
                .replace("```rust", "```")
                .replace("<u>", "")
                .replace("</u>", "");
            prop_assert_eq!(letters(&bare), letters(&words));
            prop_assert!(written.len() <= 200 * (words.len() + 1));
        }
    }
}
