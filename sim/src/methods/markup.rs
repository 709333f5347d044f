//! Inline keyboards.

use serde_json::Value;

use super::Context;
use crate::answer::Refusal;

const MAX_CALLBACK_BYTES: usize = 64;
/// The actions of buttons that send no data back.
const OTHERS: &[&str] = &[
    "url",
    "web_app",
    "login_url",
    "switch_inline_query",
    "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat",
    "copy_text",
    "callback_game",
    "pay",
    "disabled",
];

/// The inline keyboard of a call. Other kinds of markup are accepted and not kept: they are not part of a message.
pub(super) fn read(context: &Context<'_>) -> Result<Option<Value>, Refusal> {
    let Ok(markup) = context.params.nested("reply_markup") else {
        return Err(Refusal::bad(
            "can't parse reply keyboard markup JSON object",
        ));
    };
    let Some(markup) = markup else {
        return Ok(None);
    };
    let object = markup
        .as_object()
        .ok_or_else(|| Refusal::bad("object expected as reply markup"))?;
    let Some(keyboard) = object.get("inline_keyboard") else {
        return Ok(None);
    };
    let rows = keyboard.as_array().ok_or_else(|| {
        Refusal::bad("field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array")
    })?;
    let mut buttons = 0;
    for row in rows {
        let row = row.as_array().ok_or_else(|| {
            Refusal::bad("can't parse inline keyboard button: expected an Array of Array")
        })?;
        for button in row {
            check(button)?;
            buttons += 1;
        }
    }
    Ok((buttons > 0).then_some(markup))
}

fn check(button: &Value) -> Result<(), Refusal> {
    let broken = |what: &str| Refusal::bad(format!("can't parse inline keyboard button: {what}"));
    let object = button
        .as_object()
        .ok_or_else(|| broken("InlineKeyboardButton must be an Object"))?;
    let text = object
        .get("text")
        .and_then(Value::as_str)
        .ok_or_else(|| broken("Can't find field \"text\""))?;
    if text.trim().is_empty() {
        return Err(broken("Text buttons must be non-empty"));
    }
    if let Some(data) = object.get("callback_data") {
        let data = data
            .as_str()
            .ok_or_else(|| broken("Field \"callback_data\" must be of type String"))?;
        if data.is_empty() || data.len() > MAX_CALLBACK_BYTES {
            return Err(Refusal::bad("BUTTON_DATA_INVALID"));
        }
        return Ok(());
    }
    if OTHERS.iter().any(|field| object.contains_key(*field)) {
        return Ok(());
    }
    Err(broken("Text buttons are unallowed in the inline keyboard"))
}
