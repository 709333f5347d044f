//! Which chat a call means, and whether the bot may use it.

use super::Context;
use crate::answer::{Answer, Refusal, Verdict};
use crate::state::{GroupKind, Standing};

const ACTIONS: &[&str] = &[
    "typing",
    "upload_photo",
    "record_video",
    "upload_video",
    "record_voice",
    "upload_voice",
    "upload_document",
    "choose_sticker",
    "find_location",
    "record_video_note",
    "upload_video_note",
    "cancel",
];

/// The chat that a call names, if the bot may read it.
pub(super) fn readable(context: &Context<'_>) -> Result<i64, Refusal> {
    let name = context.params.text("chat_id").unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::bad("chat_id is empty"));
    }
    let chat = name.trim().parse::<i64>().ok().filter(|chat| *chat != 0);
    let chat = chat.ok_or_else(|| Refusal::bad("chat not found"))?;
    if let Some(new_chat) = context
        .state
        .groups
        .get(&chat)
        .and_then(|group| group.migrated_to)
    {
        return Err(Refusal::migrated(new_chat));
    }
    let kind = match context.state.groups.get(&chat).map(|group| group.kind) {
        Some(GroupKind::Supergroup | GroupKind::Forum) => "supergroup",
        Some(GroupKind::Group) | None => "group",
    };
    match context.state.standings.get(&(context.bot, chat)) {
        None => Err(Refusal::bad("chat not found")),
        Some(Standing::Member | Standing::Administrator | Standing::Muted) => Ok(chat),
        Some(Standing::Blocked) if chat > 0 => {
            Err(Refusal::forbidden("bot was blocked by the user"))
        }
        Some(Standing::Blocked) => Err(Refusal::forbidden(format!(
            "bot was kicked from the {kind} chat"
        ))),
        Some(Standing::NotMember) => Err(Refusal::forbidden(format!(
            "bot is not a member of the {kind} chat"
        ))),
        Some(Standing::Deactivated) => Err(Refusal::forbidden("user is deactivated")),
        Some(Standing::NotStarted) => Err(Refusal::forbidden(
            "bot can't initiate conversation with a user",
        )),
    }
}

/// The chat that a call names, if the bot may write there.
pub(super) fn writable(context: &Context<'_>) -> Result<i64, Refusal> {
    let chat = readable(context)?;
    if context.state.standings.get(&(context.bot, chat)) == Some(&Standing::Muted) {
        return Err(Refusal::bad(
            "not enough rights to send text messages to the chat",
        ));
    }
    Ok(chat)
}

pub(super) fn is_administrator(context: &Context<'_>, chat: i64) -> bool {
    context.state.standings.get(&(context.bot, chat)) == Some(&Standing::Administrator)
}

/// True even for a topic that is gone: no probe.
pub(super) fn action(context: &mut Context<'_>) -> Verdict {
    let action = context
        .params
        .text("action")
        .unwrap_or_default()
        .to_ascii_lowercase();
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Refusal::bad("wrong parameter action in request"));
    }
    writable(context)?;
    Ok(Answer::yes())
}

pub(super) fn get(context: &mut Context<'_>) -> Verdict {
    let chat = readable(context)?;
    Ok(Answer::Result(context.state.chat_json(chat)))
}
