//! Reactions: the 73 emoji of Bot API 10.3, at most one of a bot on a message.

use serde_json::Value;

use super::{Context, chats};
use crate::answer::{Answer, Refusal, Verdict};

/// Exactly the allowed emoji; none contains U+FE0F.
const ALLOWED: &[&str] = &[
    "\u{2764}",
    "👍",
    "👎",
    "🔥",
    "🥰",
    "👏",
    "😁",
    "🤔",
    "🤯",
    "😱",
    "🤬",
    "😢",
    "🎉",
    "🤩",
    "🤮",
    "💩",
    "🙏",
    "👌",
    "\u{1F54A}",
    "🤡",
    "🥱",
    "🥴",
    "😍",
    "🐳",
    "\u{2764}\u{200D}\u{1F525}",
    "🌚",
    "🌭",
    "💯",
    "🤣",
    "\u{26A1}",
    "🍌",
    "🏆",
    "💔",
    "🤨",
    "😐",
    "🍓",
    "🍾",
    "💋",
    "🖕",
    "😈",
    "😴",
    "😭",
    "🤓",
    "👻",
    "\u{1F468}\u{200D}\u{1F4BB}",
    "👀",
    "🎃",
    "🙈",
    "😇",
    "😨",
    "🤝",
    "\u{270D}",
    "🤗",
    "🫡",
    "🎅",
    "🎄",
    "\u{2603}",
    "💅",
    "🤪",
    "🗿",
    "🆒",
    "💘",
    "🙉",
    "🦄",
    "😘",
    "💊",
    "🙊",
    "😎",
    "👾",
    "\u{1F937}\u{200D}\u{2642}",
    "🤷",
    "\u{1F937}\u{200D}\u{2640}",
    "😡",
];

pub(super) fn set(context: &mut Context<'_>) -> Verdict {
    let reaction = context.params.nested("reaction");
    let reaction = reaction.map_err(|()| Refusal::bad("can't parse reaction types JSON object"))?;
    let list = match &reaction {
        None => &[][..],
        Some(Value::Array(list)) => list.as_slice(),
        Some(_) => return Err(Refusal::bad("expected an Array of ReactionType")),
    };
    let chat = chats::readable(context)?;
    let id = context.params.int("message_id").unwrap_or(0);
    let bot = context.bot;
    let Some(message) = context.state.message_mut(bot, chat, id) else {
        return Err(Refusal::bad("message to react not found"));
    };
    if list.len() > 1 {
        return Err(Refusal::bad("REACTIONS_TOO_MANY"));
    }
    for one in list {
        let kind = one.get("type").and_then(Value::as_str).unwrap_or_default();
        let emoji = one.get("emoji").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "emoji" | "custom_emoji" | "paid") {
            return Err(Refusal::bad(
                "can't parse ReactionType: invalid type specified",
            ));
        }
        if kind != "emoji" || !ALLOWED.contains(&emoji) {
            return Err(Refusal::bad("REACTION_INVALID"));
        }
    }
    if list.is_empty() {
        message.reactions.remove(&bot);
    } else {
        message.reactions.insert(bot, list.to_vec());
    }
    Ok(Answer::yes())
}

#[cfg(test)]
mod tests {
    use super::ALLOWED;

    #[test]
    fn there_are_73_different_reactions_and_none_has_a_variation_selector() {
        let different: std::collections::BTreeSet<_> = ALLOWED.iter().collect();
        assert_eq!(different.len(), 73);
        assert!(ALLOWED.iter().all(|emoji| !emoji.contains('\u{FE0F}')));
    }
}
