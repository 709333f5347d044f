//! Sending, editing and deleting messages.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::text::{self, Formatted, MAX_TEXT};
use super::{Context, chats, markup, topics};
use crate::answer::{Answer, Refusal, Verdict};
use crate::state::{Author, Message};

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly the \
                            same as a current content and reply markup of the message";
/// Messages older than this cannot be deleted by a bot.
const DELETABLE_SECONDS: i64 = 48 * 3_600;

/// Where a message goes: checked.
pub(super) struct Target {
    pub(super) chat: i64,
    pub(super) topic: Option<i64>,
    pub(super) reply_to: Option<i64>,
    pub(super) quote: Option<Value>,
    pub(super) markup: Option<Value>,
}

/// Checks everything about a message but its content.
pub(super) fn target(context: &Context<'_>) -> Result<Target, Refusal> {
    let markup = markup::read(context)?;
    let chat = chats::writable(context)?;
    let mut topic = topics::of_send(context, chat)?;
    let (reply_to, quote) = reply(context, chat)?;
    if topic.is_none() {
        // A reply alone stays in the topic of the message that it replies to.
        topic = reply_to
            .and_then(|id| context.state.message(context.bot, chat, id))
            .and_then(|replied| replied.topic);
    }
    topics::check_open(context, chat, topic)?;
    Ok(Target {
        chat,
        topic,
        reply_to,
        quote,
        markup,
    })
}

/// The message that is replied to, and what of it is quoted.
type Reply = (Option<i64>, Option<Value>);

fn reply(context: &Context<'_>, chat: i64) -> Result<Reply, Refusal> {
    let parameters = context
        .params
        .nested("reply_parameters")
        .map_err(|()| Refusal::bad("can't parse reply parameters JSON object"))?;
    let (id, elsewhere, lenient, quote) = if let Some(parameters) = &parameters {
        let object = parameters
            .as_object()
            .ok_or_else(|| Refusal::bad("object expected as reply parameters"))?;
        let id = object.get("message_id").and_then(crate::params::as_int);
        let id = id.ok_or_else(|| Refusal::bad("message to be replied not found"))?;
        let elsewhere = object
            .get("chat_id")
            .and_then(crate::params::as_int)
            .filter(|other| *other != chat);
        let lenient = object
            .get("allow_sending_without_reply")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        (id, elsewhere, lenient, object.get("quote").cloned())
    } else {
        match context
            .params
            .int("reply_to_message_id")
            .filter(|id| *id != 0)
        {
            Some(id) => (
                id,
                None,
                context.params.flag("allow_sending_without_reply"),
                None,
            ),
            None => return Ok((None, None)),
        }
    };
    if context
        .state
        .message(context.bot, elsewhere.unwrap_or(chat), id)
        .is_none()
    {
        // Leniency counts in the same chat only.
        if lenient && elsewhere.is_none() {
            return Ok((None, None));
        }
        return Err(Refusal::bad("message to be replied not found"));
    }
    // A reply into another chat is accepted, and not shown: there is no message of this chat to show.
    Ok(if elsewhere.is_some() {
        (None, None)
    } else {
        (Some(id), quote)
    })
}

/// Stores a message of the bot and returns it as the answer shows it.
pub(super) fn deliver(
    context: &mut Context<'_>,
    target: &Target,
    text: Formatted,
    media: Map<String, Value>,
) -> Value {
    let mut extra = media;
    if let Some(quote) = &target.quote {
        extra.insert(
            "quote".to_owned(),
            serde_json::json!({ "text": quote, "position": 0, "is_manual": true }),
        );
    }
    let message = Message {
        id: 0,
        author: Author::Bot(context.bot),
        date: context.now(),
        at_ms: context.uptime_ms,
        edited_at: None,
        text: text.text,
        entities: text.entities,
        topic: target.topic,
        reply_to: target.reply_to,
        markup: target.markup.clone(),
        extra,
        silent: context.params.flag("disable_notification"),
        deleted: false,
        earlier_texts: Vec::new(),
        reactions: BTreeMap::new(),
    };
    let id = context.state.store(context.bot, target.chat, message);
    shown(context, target.chat, id)
}

fn shown(context: &Context<'_>, chat: i64, id: i64) -> Value {
    context
        .state
        .message(context.bot, chat, id)
        .map_or(Value::Null, |message| {
            context.state.message_json(context.bot, chat, message)
        })
}

pub(super) fn send(context: &mut Context<'_>) -> Verdict {
    let text = text::read(context, "text", "entities")?;
    if text.text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    let target = target(context)?;
    if text.code_points() > MAX_TEXT {
        return Err(Refusal::bad("message is too long"));
    }
    context.spend(target.chat, 1)?;
    Ok(Answer::Result(deliver(context, &target, text, Map::new())))
}

/// The message that an edit names, if the bot may edit it.
fn editable(context: &Context<'_>) -> Result<(i64, i64), Refusal> {
    let chat = chats::writable(context)?;
    let id = context.params.int("message_id").filter(|id| *id != 0);
    let id = id.ok_or_else(|| Refusal::bad("message identifier is not specified"))?;
    let message = context.state.message(context.bot, chat, id);
    let message = message.ok_or_else(|| Refusal::bad("message to edit not found"))?;
    if message.author != Author::Bot(context.bot)
        || message.extra.contains_key("forum_topic_created")
    {
        return Err(Refusal::bad("message can't be edited"));
    }
    Ok((chat, id))
}

pub(super) fn edit_text(context: &mut Context<'_>) -> Verdict {
    let text = text::read(context, "text", "entities")?;
    if text.text.is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    let markup = markup::read(context)?;
    let (chat, id) = editable(context)?;
    let current = context.state.message(context.bot, chat, id);
    if current.is_some_and(Message::has_media) {
        return Err(Refusal::bad("there is no text in the message to edit"));
    }
    if text.code_points() > MAX_TEXT {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    context.spend(chat, 1)?;
    let now = context.now();
    if let Some(message) = context.state.message_mut(context.bot, chat, id) {
        if message.text == text.text
            && message.entities == text.entities
            && message.markup == markup
        {
            return Err(Refusal::bad(NOT_MODIFIED));
        }
        message
            .earlier_texts
            .push(std::mem::replace(&mut message.text, text.text));
        message.entities = text.entities;
        // An edit without a keyboard takes the keyboard away.
        message.markup = markup;
        message.edited_at = Some(now);
    }
    Ok(Answer::Result(shown(context, chat, id)))
}

pub(super) fn edit_markup(context: &mut Context<'_>) -> Verdict {
    let markup = markup::read(context)?;
    let (chat, id) = editable(context)?;
    context.spend(chat, 1)?;
    let now = context.now();
    if let Some(message) = context.state.message_mut(context.bot, chat, id) {
        if message.markup == markup {
            return Err(Refusal::bad(NOT_MODIFIED));
        }
        message.markup = markup;
        message.edited_at = Some(now);
    }
    Ok(Answer::Result(shown(context, chat, id)))
}

pub(super) fn delete(context: &mut Context<'_>) -> Verdict {
    let chat = chats::readable(context)?;
    let id = context.params.int("message_id").unwrap_or(0);
    let (now, bot) = (context.now(), context.bot);
    let administrator = chats::is_administrator(context, chat);
    let Some(message) = context.state.message_mut(bot, chat, id) else {
        return Err(Refusal::bad("message to delete not found"));
    };
    let own = message.author == Author::Bot(bot);
    let fresh = message.date > now - DELETABLE_SECONDS;
    let service = message.extra.contains_key("forum_topic_created");
    if !fresh || service || !(own || chat > 0 || administrator) {
        return Err(Refusal::bad("message can't be deleted"));
    }
    message.deleted = true;
    Ok(Answer::yes())
}
