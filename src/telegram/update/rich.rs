//! Rich messages (Bot API 10.1 to 10.3) as Markdown. Pure.
//!
//! A rich message is a list of blocks, and its texts are a text, a list of texts, or an object with
//! a type and a text. Types that we do not know give what text they have.

use serde_json::Value;

use super::markdown::{code, fence, link, quote};
use crate::ids::UserId;

/// A rich message as Markdown.
pub fn to_markdown(message: &Value) -> String {
    let mut out = String::new();
    blocks(message.get("blocks"), &mut out);
    out.trim().to_owned()
}

/// Whether a rich message names a bot or begins with a command for it.
pub(super) fn addresses(message: &Value, bot: UserId, is_me: &dyn Fn(&str) -> bool) -> bool {
    match message {
        Value::Array(items) => items.iter().any(|item| addresses(item, bot, is_me)),
        Value::Object(fields) => {
            let string = |name: &str| fields.get(name).and_then(Value::as_str);
            let named = match string("type") {
                Some("mention") => string("username").is_some_and(is_me),
                Some("text_mention") => {
                    let user = fields.get("user").and_then(|user| user.get("id"));
                    user.and_then(Value::as_i64) == Some(bot.0)
                }
                Some("bot_command") => string("bot_command")
                    .is_some_and(|word| word.split_once('@').is_none_or(|(_, name)| is_me(name))),
                _ => false,
            };
            named || fields.values().any(|value| addresses(value, bot, is_me))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn blocks(list: Option<&Value>, out: &mut String) {
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        if !out.is_empty() && !out.ends_with("\n\n") {
            out.push_str(if out.ends_with('\n') { "\n" } else { "\n\n" });
        }
        block(item, out);
    }
}

fn block(block: &Value, out: &mut String) {
    let string = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = string("type");
    match kind {
        "heading" => {
            let size = block.get("size").and_then(Value::as_u64).unwrap_or(1);
            let size = usize::try_from(size.clamp(1, 6)).unwrap_or(1);
            out.push_str(&"#".repeat(size));
            out.push(' ');
            text(block.get("text"), out);
        }
        "pre" => {
            let mut inner = String::new();
            plain(block.get("text"), &mut inner);
            fence(&inner, Some(string("language")), None, out);
        }
        "divider" => out.push_str("---"),
        "mathematical_expression" => {
            out.push_str("$$");
            out.push_str(string("expression"));
            out.push_str("$$");
        }
        "anchor" => {}
        "list" => list(block, out),
        "blockquote" | "expandable_blockquote" | "pullquote" => {
            let mut inner = String::new();
            blocks(block.get("blocks"), &mut inner);
            text(block.get("text"), &mut inner);
            credit(block, &mut inner);
            quote(&inner, None, out);
        }
        "table" => table(block, out),
        "details" => {
            text(block.get("summary"), out);
            blocks(block.get("blocks"), out);
        }
        "buttons" => buttons(block, out),
        "paragraph" | "footer" | "thinking" => text(block.get("text"), out),
        other => {
            out.push('[');
            out.push_str(&other.replace('_', " "));
            out.push(']');
            text(block.get("text"), out);
            blocks(block.get("blocks"), out);
        }
    }
    if let Some(caption) = block.get("caption") {
        out.push('\n');
        text(caption.get("text").or(Some(caption)), out);
        credit(caption, out);
    }
}

fn credit(block: &Value, out: &mut String) {
    if let Some(credit) = block.get("credit") {
        out.push_str("\n— ");
        text(Some(credit), out);
    }
}

fn list(block: &Value, out: &mut String) {
    let items = block.get("items").and_then(Value::as_array);
    for (index, item) in items.into_iter().flatten().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let label = item.get("label").and_then(Value::as_str).unwrap_or("•");
        let is = |name: &str| item.get(name) == Some(&Value::Bool(true));
        out.push_str(if label == "•" { "-" } else { label });
        out.push(' ');
        if is("has_checkbox") {
            out.push_str(if is("is_checked") { "[x] " } else { "[ ] " });
        }
        let mut inner = String::new();
        blocks(item.get("blocks"), &mut inner);
        out.push_str(&inner.trim().replace('\n', "\n  "));
    }
}

fn table(block: &Value, out: &mut String) {
    let rows = block.get("cells").and_then(Value::as_array);
    for (index, row) in rows.into_iter().flatten().enumerate() {
        let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
        out.push_str(if index > 0 { "\n|" } else { "|" });
        for cell in cells {
            let mut inner = String::new();
            text(cell.get("text"), &mut inner);
            out.push(' ');
            out.push_str(&inner.replace('\n', " "));
            out.push_str(" |");
        }
        if index == 0 {
            out.push_str("\n|");
            out.push_str(&"---|".repeat(cells.len()));
        }
    }
}

fn buttons(block: &Value, out: &mut String) {
    let all = block
        .get("buttons")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let flat = all.flat_map(|item| {
        let row = item.as_array().map(Vec::as_slice);
        row.unwrap_or(std::slice::from_ref(item))
    });
    for button in flat {
        out.push_str("[button: ");
        text(button.get("text"), out);
        out.push(']');
    }
}

/// A text with its styles.
fn text(rich: Option<&Value>, out: &mut String) {
    match rich {
        Some(Value::String(words)) => out.push_str(words),
        Some(Value::Array(items)) => items.iter().for_each(|item| text(Some(item), out)),
        Some(Value::Object(fields)) => {
            let string = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let inner = || {
                let mut inner = String::new();
                text(fields.get("text"), &mut inner);
                inner
            };
            let marks = match string("type") {
                "bold" => ("**", "**"),
                "italic" => ("*", "*"),
                "underline" => ("<u>", "</u>"),
                "strikethrough" => ("~~", "~~"),
                "spoiler" => ("||", "||"),
                "subscript" => ("<sub>", "</sub>"),
                "superscript" => ("<sup>", "</sup>"),
                "marked" => ("==", "=="),
                "code" => return code(&inner(), out),
                "url" => return link(&inner(), string("url"), out),
                "text_mention" => {
                    let user = fields.get("user").and_then(|user| user.get("id"));
                    let id = user.and_then(Value::as_i64).unwrap_or_default();
                    return link(&inner(), &format!("tg://user?id={id}"), out);
                }
                "custom_emoji" => return out.push_str(string("alternative_text")),
                "mathematical_expression" => ("$", "$"),
                "button" => {
                    return text(
                        fields.get("button").and_then(|button| button.get("text")),
                        out,
                    );
                }
                _ => ("", ""),
            };
            out.push_str(marks.0);
            out.push_str(&inner());
            out.push_str(string("expression"));
            out.push_str(marks.1);
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {}
    }
}

/// A text without its styles.
fn plain(rich: Option<&Value>, out: &mut String) {
    match rich {
        Some(Value::String(words)) => out.push_str(words),
        Some(Value::Array(items)) => items.iter().for_each(|item| plain(Some(item), out)),
        Some(Value::Object(fields)) => plain(fields.get("text"), out),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_blocks_of_a_rich_message_are_markdown() {
        let message = json!({"blocks": [
            {"type": "heading", "size": 2, "text": "Plan"},
            {"type": "paragraph", "text": ["see ", {"type": "bold", "text": "this"}, " and ",
                {"type": "url", "text": "that", "url": "https://example.org"}]},
            {"type": "list", "items": [
                {"label": "1.", "blocks": [{"type": "paragraph", "text": "one"}]},
                {"label": "•", "has_checkbox": true, "is_checked": true, "blocks": [{"type": "paragraph", "text": "two"}]}]},
            {"type": "pre", "language": "sh", "text": "ls"},
            {"type": "blockquote", "blocks": [{"type": "paragraph", "text": "wise"}], "credit": "Ada"},
            {"type": "table", "cells": [[{"text": "a"}, {"text": "b"}], [{"text": "1"}, {}]]},
            {"type": "photo", "photo": [], "caption": {"text": "a cat"}},
            {"type": "hologram", "text": "still here"}]});
        assert_eq!(
            to_markdown(&message),
            "## Plan\n\nsee **this** and [that](https://example.org)\n\n1. one\n- [x] two\n\n```sh\nls\n```\n\n\
             > wise\n> — Ada\n\n| a | b |\n|---|---|\n| 1 |  |\n\n[photo]\na cat\n\n[hologram]still here"
        );
    }

    #[test]
    fn what_is_no_rich_message_has_no_words() {
        for odd in [
            json!(null),
            json!([1]),
            json!({"blocks": 7}),
            json!({"blocks": [null, 3, {"type": 1}]}),
        ] {
            assert!(!to_markdown(&odd).contains(char::is_alphanumeric), "{odd}");
        }
    }
}
