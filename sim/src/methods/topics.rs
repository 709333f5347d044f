//! Forum topics, in groups and in private chats.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::{Context, chats};
use crate::answer::{Answer, Refusal, Verdict};
use crate::state::{Author, Message, State, Topic, room_key};

const MAX_NAME: usize = 128;
/// General has this id on the inside; naming it in a send is refused.
const GENERAL: i64 = 1;
const COLORS: &[i64] = &[
    7_322_096, 16_766_590, 13_338_331, 9_367_192, 16_749_490, 16_478_047,
];

fn not_found() -> Refusal {
    Refusal::bad("message thread not found")
}

/// The topic that a send names. Outside of forums, and with id 0, the parameter is ignored; naming General is refused.
pub(super) fn of_send(context: &Context<'_>, chat: i64) -> Result<Option<i64>, Refusal> {
    let id = context.params.int("message_thread_id").unwrap_or(0);
    if id == 0 || !context.state.is_forum(context.bot, chat) {
        return Ok(None);
    }
    let topic = context
        .state
        .rooms
        .get(&room_key(context.bot, chat))
        .and_then(|room| room.topics.get(&id));
    match topic {
        Some(topic) if id != GENERAL && !topic.deleted => Ok(Some(id)),
        _ => Err(not_found()),
    }
}

/// Whether the topic is open. No exception is made for administrators.
pub(super) fn check_open(
    context: &Context<'_>,
    chat: i64,
    topic: Option<i64>,
) -> Result<(), Refusal> {
    let room = context.state.rooms.get(&room_key(context.bot, chat));
    let closed = room.is_some_and(|room| match topic {
        Some(id) => room.topics.get(&id).is_some_and(|topic| topic.closed),
        None => room.general_closed,
    });
    if closed {
        Err(Refusal::bad("TOPIC_CLOSED"))
    } else {
        Ok(())
    }
}

/// Adds a topic and the service message that opens it, whose id is the topic's id.
pub(crate) fn create_topic(
    state: &mut State,
    bot: i64,
    chat: i64,
    author: Author,
    (date, at_ms): (i64, i64),
    (name, color): (&str, i64),
) -> i64 {
    let mut extra = Map::new();
    extra.insert(
        "forum_topic_created".to_owned(),
        json!({ "name": name, "icon_color": color }),
    );
    let message = Message {
        id: 0,
        author,
        date,
        at_ms,
        edited_at: None,
        text: String::new(),
        entities: Vec::new(),
        topic: None,
        reply_to: None,
        markup: None,
        extra,
        silent: false,
        deleted: false,
        earlier_texts: Vec::new(),
        reactions: BTreeMap::new(),
    };
    // General owns id 1, so the first topic of an empty forum must not get it.
    if state.room(bot, chat).messages.is_empty() {
        let mut first = message.clone();
        first.deleted = true;
        state.store(bot, chat, first);
    }
    let id = state.store(bot, chat, message);
    if let Some(message) = state.message_mut(bot, chat, id) {
        message.topic = Some(id);
    }
    let creator_bot = match author {
        Author::Bot(bot) => Some(bot),
        Author::Person(_) => None,
    };
    let topic = Topic {
        name: name.to_owned(),
        closed: false,
        deleted: false,
        creator_bot,
    };
    state.room(bot, chat).topics.insert(id, topic);
    id
}

fn forum(context: &Context<'_>) -> Result<i64, Refusal> {
    let chat = chats::readable(context)?;
    if context.state.is_forum(context.bot, chat) {
        Ok(chat)
    } else {
        Err(Refusal::bad("the chat is not a forum"))
    }
}

fn checked_name(context: &Context<'_>) -> Result<Option<String>, Refusal> {
    let Some(name) = context.params.text("name") else {
        return Ok(None);
    };
    let name = name.trim().to_owned();
    if name.chars().count() > MAX_NAME {
        return Err(Refusal::bad("TOPIC_TITLE_TOO_LONG"));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

pub(super) fn create(context: &mut Context<'_>) -> Verdict {
    let chat = forum(context)?;
    let name = checked_name(context)?.ok_or_else(|| Refusal::bad("TOPIC_TITLE_EMPTY"))?;
    let color = context
        .params
        .int("icon_color")
        .unwrap_or(COLORS.first().copied().unwrap_or_default());
    if !COLORS.contains(&color) {
        return Err(Refusal::bad("invalid icon color specified"));
    }
    if chat < 0 && !chats::is_administrator(context, chat) {
        return Err(Refusal::bad("not enough rights to create a topic"));
    }
    // Creating a topic counts as a message.
    context.spend(chat, 1)?;
    let when = (context.now(), context.uptime_ms);
    let id = create_topic(
        context.state,
        context.bot,
        chat,
        Author::Bot(context.bot),
        when,
        (&name, color),
    );
    Ok(Answer::Result(
        json!({ "message_thread_id": id, "name": name, "icon_color": color }),
    ))
}

/// The topic that a change names, if the bot may change it.
fn changeable<'a>(context: &'a mut Context<'_>, chat: i64) -> Result<&'a mut Topic, Refusal> {
    let administrator = chat > 0 || chats::is_administrator(context, chat);
    let bot = context.bot;
    let id = context.params.int("message_thread_id").unwrap_or(0);
    let topic = context
        .state
        .room(bot, chat)
        .topics
        .get_mut(&id)
        .filter(|topic| !topic.deleted);
    let topic = topic.ok_or_else(not_found)?;
    if !administrator && topic.creator_bot != Some(bot) {
        return Err(Refusal::bad("not enough rights to manage the topic"));
    }
    Ok(topic)
}

pub(super) fn edit(context: &mut Context<'_>) -> Verdict {
    let chat = forum(context)?;
    let name = checked_name(context)?;
    let topic = changeable(context, chat)?;
    match name {
        Some(name) if name != topic.name => topic.name = name,
        Some(_) | None => return Err(Refusal::bad("TOPIC_NOT_MODIFIED")),
    }
    Ok(Answer::yes())
}

pub(super) fn set_closed(context: &mut Context<'_>, closed: bool) -> Verdict {
    let chat = forum(context)?;
    if chat > 0 {
        return Err(Refusal::bad(
            "the method can be called for supergroups only",
        ));
    }
    let topic = changeable(context, chat)?;
    if topic.closed == closed {
        return Err(Refusal::bad("TOPIC_NOT_MODIFIED"));
    }
    topic.closed = closed;
    Ok(Answer::yes())
}

pub(super) fn delete(context: &mut Context<'_>) -> Verdict {
    let chat = forum(context)?;
    let id = context.params.int("message_thread_id").unwrap_or(0);
    changeable(context, chat)?.deleted = true;
    let bot = context.bot;
    for message in context.state.room(bot, chat).messages.values_mut() {
        message.deleted |= message.topic == Some(id);
    }
    Ok(Answer::yes())
}
