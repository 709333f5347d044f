//! The fields of messages, presses and reactions: the fields that we need, the others as they
//! came. Pure.
//!
//! Sender and chat must be there; any other field of an unexpected form counts as absent. Sources: the Bot API's
//! `Message`, `MessageOrigin`, `CallbackQuery` and `MessageReactionUpdated`, up to 10.3.

use std::borrow::Cow;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as ValueError;
use serde_json::{Map, Value};

use super::markdown::{to_markdown, utf16_to_bytes};
use super::rich;
use crate::ids::{ChatId, MessageId, TopicId, UserId};
use crate::telegram::format::EntityStyle;

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Unique within its chat; 0 for ephemeral messages (Bot API 10.2).
    pub message_id: MessageId,
    /// Seconds since 1970; 0 for a message that is no longer accessible.
    pub date: i64,
    /// Where.
    pub chat: Chat,
    /// Who; absent in channels.
    pub from: Option<User>,
    /// Whether a channel or group speaks for itself: anonymous admins and linked channels.
    pub by_chat: bool,
    /// The topic, if [`Self::is_topic_message`]; also set on plain replies, where it means nothing.
    pub message_thread_id: Option<TopicId>,
    /// Whether the thread id is a topic.
    pub is_topic_message: bool,
    /// The text.
    pub text: Option<String>,
    /// The text below a picture or file.
    pub caption: Option<String>,
    /// Same for all parts of one album.
    pub media_group_id: Option<String>,
    /// The message that this one replies to.
    pub reply_to_message: Option<Box<Message>>,
    /// All other fields; the kind of the message is found among their names.
    pub rest: Map<String, Value>,
}

/// A chat.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// `private`, `group`, `supergroup` or `channel`.
    pub kind: Option<String>,
    /// The name of a group or channel.
    pub title: Option<String>,
    /// The public name of a channel or person.
    pub username: Option<String>,
}

/// A person or a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The public name, without `@`.
    pub username: Option<String>,
}

/// Where a forwarded message comes from (`MessageOrigin`, or the fields of before Bot API 7.0).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forward {
    /// `user`, `hidden_user`, `chat` or `channel`.
    pub kind: String,
    /// The name of the person or the title of the chat.
    pub name: Option<String>,
    /// The id of the person or chat, where it is not hidden.
    pub id: Option<i64>,
    /// The public name, without `@`.
    pub username: Option<String>,
    /// The signature, in channels and groups that speak for themselves.
    pub signature: Option<String>,
    /// The id of the original post in its channel.
    pub message_id: Option<MessageId>,
    /// When it was written first, in seconds since 1970.
    pub date: Option<i64>,
}

/// Telegram's description of a part of a text (`MessageEntity`).
#[derive(Clone, Debug, PartialEq)]
pub struct TextEntity {
    /// Its kind.
    pub kind: EntityKind,
    /// Where it begins, in bytes; a character begins there.
    pub start: usize,
    /// Where it ends, in bytes, after the start.
    pub end: usize,
}

/// The kind of a part of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityKind {
    /// `@name`.
    Mention,
    /// The name of a person without a public name.
    TextMention(UserId),
    /// `/word`.
    Command,
    /// A style that needs no more than its name.
    Style(EntityStyle),
    /// Lines of code, and their language.
    Pre(Option<String>),
    /// A link behind the text.
    Link(String),
    /// A kind that the text shows by itself (`url`, `hashtag`, …), or something that we do not know.
    Plain,
}

/// A press of a button.
#[derive(Clone, Debug, PartialEq)]
pub struct Press {
    /// The id to answer it with.
    pub id: String,
    /// The person.
    pub from: User,
    /// The message with the button; may be inaccessible, then only id and chat are there.
    pub message: Option<Box<Message>>,
    /// The data of the button.
    pub data: Option<String>,
}

/// A change of the reactions on a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Reaction {
    /// Where.
    pub chat: Chat,
    /// On which message.
    pub message_id: MessageId,
    /// Who; absent for anonymous reactions.
    pub user: Option<User>,
    /// Seconds since 1970.
    pub date: i64,
    /// The reactions of that person before.
    pub old: Vec<String>,
    /// The reactions of that person now.
    pub new: Vec<String>,
}

impl Message {
    /// Reads a message that stands in the field `name`. The error says what is wrong with it.
    pub fn read(value: Value, name: &str) -> Result<Self, String> {
        let mut fields = object(value, name)?;
        let message_id = whole(&mut fields, "message_id", name).map(MessageId)?;
        let chat = match fields.remove("chat") {
            Some(chat) => Chat::read(chat, &format!("{name}.chat"))?,
            None => return Err(format!("{name}.chat is missing")),
        };
        let by_chat = [
            &fields.remove("sender_chat"),
            &fields.remove("sender_business_bot"),
        ]
        .into_iter()
        .flatten()
        .any(|value| !value.is_null());
        let from = fields.remove("from").and_then(User::read);
        let reply_to_message = fields
            .remove("reply_to_message")
            .and_then(|quoted| Self::read(quoted, "reply_to_message").ok())
            .map(Box::new);
        Ok(Self {
            message_id,
            date: number(&mut fields, "date").unwrap_or_default(),
            chat,
            from,
            by_chat,
            message_thread_id: number(&mut fields, "message_thread_id").map(TopicId),
            is_topic_message: fields.remove("is_topic_message") == Some(Value::Bool(true)),
            text: text(&mut fields, "text"),
            caption: text(&mut fields, "caption"),
            media_group_id: text(&mut fields, "media_group_id"),
            reply_to_message,
            rest: fields,
        })
    }

    /// The topic that an answer must name; `None` outside topics and in General (docs/facts/telegram.md 7).
    pub fn topic(&self) -> Option<TopicId> {
        self.message_thread_id
            .filter(|topic| self.is_topic_message && topic.0 > 1)
    }

    /// When this version was written, in seconds since 1970.
    pub fn version_date(&self) -> i64 {
        self.edited_at().unwrap_or(self.date)
    }

    /// When it was edited, in seconds since 1970, if that is after it was sent.
    pub fn edited_at(&self) -> Option<i64> {
        let at = self.rest.get("edit_date")?.as_i64()?;
        (at > self.date).then_some(at)
    }

    /// Whether it tells that its topic was opened again.
    pub fn opens_topic(&self) -> bool {
        self.rest.contains_key("forum_topic_reopened")
    }

    /// The name of the topic, where the message happens to tell it: every message that replies to
    /// nothing "replies" to the one that made the topic, and service messages name it.
    pub fn topic_name(&self) -> Option<&str> {
        let quoted = self.reply_to_message.as_deref();
        name_in(&self.rest, "forum_topic_edited")
            .or_else(|| name_in(&self.rest, "forum_topic_created"))
            .or_else(|| name_in(&quoted?.rest, "forum_topic_created"))
    }

    /// The group that became a supergroup, and the supergroup: both chats are told, each of the
    /// other one (docs/facts/telegram.md 8).
    pub fn migration(&self) -> Option<(ChatId, ChatId)> {
        let other = |field: &str| Some(ChatId(self.rest.get(field)?.as_i64()?));
        let here = self.chat.id;
        other("migrate_to_chat_id")
            .map(|to| (here, to))
            .or_else(|| Some((other("migrate_from_chat_id")?, here)))
    }

    /// The message that the person replied to. In a topic the message that created it stands here when the
    /// message is no reply.
    pub fn replied(&self) -> Option<&Self> {
        self.reply_to_message
            .as_deref()
            .filter(|quoted| !quoted.rest.contains_key("forum_topic_created"))
    }

    /// The part of the message that it replies to that came with it, as Markdown, and whether the person marked
    /// it. Where the person did not, the server adds the beginning of it.
    pub fn quote(&self) -> Option<(Cow<'_, str>, bool)> {
        let quote = self.rest.get("quote")?;
        let is_manual = quote.get("is_manual") == Some(&Value::Bool(true));
        let words = quote.get("text")?.as_str()?;
        Some((to_markdown(words, quote.get("entities")), is_manual))
    }

    /// Where it comes from, if it was forwarded.
    pub fn forward(&self) -> Option<Forward> {
        match self.rest.get("forward_origin") {
            Some(origin @ Value::Object(_)) => Some(Forward::read(origin)),
            _ => Forward::legacy(&self.rest),
        }
    }

    /// The entities of the text, or else of the caption, in order; those whose place is not in it
    /// are left out.
    pub fn entities(&self) -> Vec<TextEntity> {
        let (words, field) = match (&self.text, &self.caption) {
            (Some(text), _) => (text, "entities"),
            (None, Some(caption)) => (caption, "caption_entities"),
            (None, None) => return Vec::new(),
        };
        entities(words, self.rest.get(field))
    }

    /// Whether it speaks to a bot: names it, replies to it, or begins with a command. `username`
    /// is the bot's, without `@`; while it is not known, no `@name` can be recognised.
    pub fn addresses(&self, bot: UserId, username: Option<&str>) -> bool {
        let is_me = |name: &str| {
            let name = name.strip_prefix('@').unwrap_or(name);
            username.is_some_and(|mine| mine.eq_ignore_ascii_case(name))
        };
        let replies = self
            .replied()
            .and_then(|quoted| quoted.from.as_ref())
            .is_some_and(|from| from.id == bot);
        if replies {
            return true;
        }
        let words = self.text.as_deref().or(self.caption.as_deref());
        let words = words.unwrap_or_default();
        let named = self.entities().iter().any(|entity| {
            let part = words.get(entity.start..entity.end).unwrap_or_default();
            match &entity.kind {
                EntityKind::Mention => is_me(part),
                EntityKind::TextMention(user) => *user == bot,
                // "/status@other_bot" is another bot's.
                EntityKind::Command => {
                    entity.start == 0 && part.split_once('@').is_none_or(|(_, name)| is_me(name))
                }
                EntityKind::Style(_)
                | EntityKind::Pre(_)
                | EntityKind::Link(_)
                | EntityKind::Plain => false,
            }
        });
        named
            || self
                .rest
                .get("rich_message")
                .is_some_and(|message| rich::addresses(message, bot, &is_me))
    }
}

impl Chat {
    /// Reads a chat that stands in the field `name`.
    pub fn read(value: Value, name: &str) -> Result<Self, String> {
        let mut fields = object(value, name)?;
        Ok(Self {
            id: whole(&mut fields, "id", name).map(ChatId)?,
            kind: text(&mut fields, "type"),
            title: text(&mut fields, "title"),
            username: text(&mut fields, "username"),
        })
    }
}

impl User {
    /// Reads a person; `None` if the person cannot be identified.
    pub fn read(value: Value) -> Option<Self> {
        let mut fields = object(value, "").ok()?;
        Some(Self {
            id: UserId(number(&mut fields, "id")?),
            first_name: text(&mut fields, "first_name"),
            last_name: text(&mut fields, "last_name"),
            username: text(&mut fields, "username"),
        })
    }

    /// First and last name.
    pub fn name(&self) -> String {
        let parts = [self.first_name.as_deref(), self.last_name.as_deref()];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if name.trim().is_empty() {
            format!("user {}", self.id)
        } else {
            name
        }
    }
}

impl Forward {
    /// Reads a `MessageOrigin`, also the one in an `ExternalReplyInfo`.
    pub fn read(origin: &Value) -> Self {
        let string = |name: &str| origin.get(name).and_then(Value::as_str).map(str::to_owned);
        let user = origin.get("sender_user").cloned().and_then(User::read);
        let place = origin.get("sender_chat").or_else(|| origin.get("chat"));
        let place = place.cloned().and_then(|chat| Chat::read(chat, "").ok());
        Self {
            kind: string("type").unwrap_or_else(|| "unknown".to_owned()),
            name: string("sender_user_name"),
            signature: string("author_signature"),
            message_id: origin
                .get("message_id")
                .and_then(Value::as_i64)
                .map(MessageId),
            date: origin.get("date").and_then(Value::as_i64),
            ..Self::default()
        }
        .by(user, place)
    }

    /// Reads what servers sent before Bot API 7.0, and local ones may still send.
    fn legacy(rest: &Map<String, Value>) -> Option<Self> {
        let string = |name: &str| rest.get(name).and_then(Value::as_str).map(str::to_owned);
        let user = rest.get("forward_from").cloned().and_then(User::read);
        let place = rest.get("forward_from_chat").cloned();
        let place = place.and_then(|chat| Chat::read(chat, "").ok());
        let hidden = string("forward_sender_name");
        let date = rest.get("forward_date").and_then(Value::as_i64);
        let kind = match (&user, &place, &hidden) {
            (Some(_), _, _) => "user",
            (None, Some(chat), _) if chat.kind.as_deref() == Some("channel") => "channel",
            (None, Some(_), _) => "chat",
            (None, None, Some(_)) => "hidden_user",
            (None, None, None) if date.is_some() => "unknown",
            (None, None, None) => return None,
        };
        let forward = Self {
            kind: kind.to_owned(),
            name: hidden,
            signature: string("forward_signature"),
            message_id: rest
                .get("forward_from_message_id")
                .and_then(Value::as_i64)
                .map(MessageId),
            date,
            ..Self::default()
        };
        Some(forward.by(user, place))
    }

    fn by(mut self, user: Option<User>, place: Option<Chat>) -> Self {
        if let Some(user) = user {
            self.name = Some(user.name());
            self.id = Some(user.id.0);
            self.username = user.username;
        } else if let Some(chat) = place {
            self.name = chat.title.or(self.name);
            self.id = Some(chat.id.0);
            self.username = chat.username;
        }
        self
    }
}

impl Press {
    pub(super) fn read(value: Value) -> Result<Self, String> {
        let name = "callback_query";
        let mut fields = object(value, name)?;
        let from = fields.remove("from").and_then(User::read);
        Ok(Self {
            id: text(&mut fields, "id").ok_or_else(|| format!("{name}.id is missing"))?,
            from: from.ok_or_else(|| format!("{name}.from is missing or not a user"))?,
            message: match fields.remove("message") {
                None | Some(Value::Null) => None,
                Some(message) => Some(Box::new(Message::read(message, "callback_query.message")?)),
            },
            data: text(&mut fields, "data"),
        })
    }

    /// The label of the button, if the message still has it.
    pub fn label(&self) -> Option<&str> {
        let keyboard = self.message.as_ref()?.rest.get("reply_markup")?;
        let rows = keyboard.get("inline_keyboard")?.as_array()?;
        let mut buttons = rows.iter().filter_map(Value::as_array).flatten();
        let data = self.data.as_deref()?;
        buttons
            .find(|button| button.get("callback_data").and_then(Value::as_str) == Some(data))?
            .get("text")?
            .as_str()
    }
}

impl Reaction {
    pub(super) fn read(value: Value) -> Result<Self, String> {
        let name = "message_reaction";
        let mut fields = object(value, name)?;
        let chat = match fields.remove("chat") {
            Some(chat) => Chat::read(chat, "message_reaction.chat")?,
            None => return Err(format!("{name}.chat is missing")),
        };
        Ok(Self {
            chat,
            message_id: whole(&mut fields, "message_id", name).map(MessageId)?,
            user: fields.remove("user").and_then(User::read),
            date: number(&mut fields, "date").unwrap_or_default(),
            old: reactions(fields.get("old_reaction")),
            new: reactions(fields.get("new_reaction")),
        })
    }
}

/// The reactions of a list, as people see them.
fn reactions(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .map(
            |reaction| match reaction.get("type").and_then(Value::as_str) {
                Some("paid") => "⭐ (paid)".to_owned(),
                _ => reaction
                    .get("emoji")
                    .and_then(Value::as_str)
                    .map_or_else(|| "(custom)".to_owned(), str::to_owned),
            },
        )
        .collect()
}

/// The entities of a text that have a place in it, in the order of their beginnings, the longer of
/// two first.
pub(super) fn entities(words: &str, list: Option<&Value>) -> Vec<TextEntity> {
    let Some(list) = list
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
    else {
        return Vec::new();
    };
    let bytes = utf16_to_bytes(words);
    let place =
        |offset: Option<&Value>| -> Option<usize> { usize::try_from(offset?.as_i64()?).ok() };
    let mut found: Vec<TextEntity> = list
        .iter()
        .filter_map(|entity| {
            let offset = place(entity.get("offset"))?;
            let length = place(entity.get("length")).filter(|length| *length > 0)?;
            let start = (*bytes.get(offset)?)?;
            let end = (*bytes.get(offset.checked_add(length)?)?)?;
            let kind = EntityKind::read(entity);
            Some(TextEntity { kind, start, end })
        })
        .collect();
    found.sort_by_key(|entity| (entity.start, std::cmp::Reverse(entity.end)));
    found
}

impl EntityKind {
    fn read(entity: &Value) -> Self {
        let string = |name: &str| entity.get(name).and_then(Value::as_str).map(str::to_owned);
        match entity
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "mention" => Self::Mention,
            "text_mention" => entity
                .get("user")
                .and_then(|user| user.get("id"))
                .and_then(Value::as_i64)
                .map_or(Self::Plain, |id| Self::TextMention(UserId(id))),
            "bot_command" => Self::Command,
            "pre" => Self::Pre(string("language")),
            "text_link" => string("url").map_or(Self::Plain, Self::Link),
            "expandable_blockquote" => Self::Style(EntityStyle::Blockquote),
            style => EntityStyle::deserialize(style.into_deserializer())
                .map_or_else(|_: ValueError| Self::Plain, Self::Style),
        }
    }
}

fn name_in<'a>(fields: &'a Map<String, Value>, event: &str) -> Option<&'a str> {
    fields.get(event)?.get("name")?.as_str()
}

fn object(value: Value, name: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(format!("{name} is not an object"))
        }
    }
}

/// A number that must be there.
fn whole(fields: &mut Map<String, Value>, field: &str, name: &str) -> Result<i64, String> {
    match fields.remove(field) {
        None | Some(Value::Null) => Err(format!("{name}.{field} is missing")),
        Some(value) => value
            .as_i64()
            .ok_or_else(|| format!("{name}.{field} is not a whole number")),
    }
}

fn number(fields: &mut Map<String, Value>, field: &str) -> Option<i64> {
    fields.remove(field)?.as_i64()
}

fn text(fields: &mut Map<String, Value>, field: &str) -> Option<String> {
    match fields.remove(field)? {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}
