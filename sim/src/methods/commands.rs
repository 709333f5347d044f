//! Command menus and answers to button presses.

use serde_json::{Value, json};

use super::Context;
use crate::answer::{Answer, Refusal, Verdict};

const MAX_COMMANDS: usize = 100;
const SCOPES: &[&str] = &[
    "default",
    "all_private_chats",
    "all_group_chats",
    "all_chat_administrators",
    "chat",
    "chat_administrators",
    "chat_member",
];

/// One name for scope and language.
fn scope(context: &Context<'_>) -> Result<String, Refusal> {
    let scope = context.params.nested("scope");
    let scope = scope.map_err(|()| Refusal::bad("can't parse BotCommandScope JSON object"))?;
    let scope = scope.unwrap_or_else(|| json!({ "type": "default" }));
    let kind = scope
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !SCOPES.contains(&kind) {
        return Err(Refusal::bad(
            "can't parse BotCommandScope: unsupported type specified",
        ));
    }
    if kind.starts_with("chat") && scope.get("chat_id").is_none() {
        return Err(Refusal::bad(
            "can't parse BotCommandScope: can't find field \"chat_id\"",
        ));
    }
    Ok(format!(
        "{scope}/{}",
        context.params.text("language_code").unwrap_or_default()
    ))
}

pub(super) fn set(context: &mut Context<'_>) -> Verdict {
    let commands = context.params.nested("commands");
    let commands = commands.map_err(|()| Refusal::bad("can't parse commands JSON object"))?;
    let commands = commands.unwrap_or(Value::Null);
    let list = commands
        .as_array()
        .ok_or_else(|| Refusal::bad("expected an Array of BotCommand"))?;
    if list.len() > MAX_COMMANDS {
        return Err(Refusal::bad("BOT_COMMANDS_TOO_MUCH"));
    }
    for one in list {
        let field = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = field("command").trim_start_matches('/');
        let known =
            |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit() || symbol == '_';
        if !(1..=32).contains(&name.len()) || !name.chars().all(known) {
            return Err(Refusal::bad("BOT_COMMAND_INVALID"));
        }
        if !(1..=256).contains(&field("description").chars().count()) {
            return Err(Refusal::bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    let scope = scope(context)?;
    context.me()?.commands.insert(scope, commands);
    Ok(Answer::yes())
}

pub(super) fn get(context: &mut Context<'_>) -> Verdict {
    let scope = scope(context)?;
    let commands = context.me()?.commands.get(&scope).cloned();
    Ok(Answer::Result(commands.unwrap_or_else(|| json!([]))))
}

pub(super) fn delete(context: &mut Context<'_>) -> Verdict {
    let scope = scope(context)?;
    context.me()?.commands.remove(&scope);
    Ok(Answer::yes())
}

pub(super) fn answer_callback(context: &mut Context<'_>) -> Verdict {
    let id = context.params.text("callback_query_id").unwrap_or_default();
    if context
        .params
        .text("text")
        .unwrap_or_default()
        .chars()
        .count()
        > 200
    {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    if !context.me()?.callbacks.contains(&id) {
        return Err(Refusal::bad(
            "query is too old and response timeout expired or query ID is invalid",
        ));
    }
    Ok(Answer::yes())
}
