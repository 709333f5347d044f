//! Reading updates leniently: what we know is read, what we do not know never hurts.
//!
//! The raw JSON is what is stored. These structs are read from it whenever somebody looks, so a
//! field that a later version understands is there for old entries too. (teloxide-core 0.13 turns a
//! text with an unknown entity into an empty message without an error, so its types are not used.)

use serde::Deserialize;
use serde_json::Value;

use crate::ids::{ChatId, MessageId, TopicId, UpdateId, UserId};

/// Largest `update_id`: the server's queue counts them in 32 bits.
const UPDATE_ID_MAX: i64 = i32::MAX as i64;

/// The kinds of update that we ask for. Sent with every poll, because the server keeps the last
/// list that anybody sent (telegram.md 2.3).
pub const ALLOWED_UPDATES: [&str; 5] = [
    "message",
    "edited_message",
    "callback_query",
    "message_reaction",
    "my_chat_member",
];

/// One update, read as far as we understand it.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Its id.
    pub id: UpdateId,
    /// What it brings.
    pub body: Body,
}

/// What an update brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A message, new or edited.
    Message {
        /// The message.
        message: Box<Message>,
        /// Whether it replaces an earlier text of the same message.
        edited: bool,
    },
    /// Somebody pressed a button under one of our messages.
    Press(Box<Press>),
    /// Somebody changed the reactions on a message.
    Reaction(Box<Reaction>),
    /// Our own standing in a chat changed: in which, if it says so.
    Membership(Option<ChatId>),
    /// A kind that we do not route.
    Other(String),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Message {
    /// Unique within its chat; 0 for ephemeral messages (Bot API 10.2).
    pub message_id: MessageId,
    /// Seconds since 1970.
    #[serde(default)]
    pub date: i64,
    /// Seconds since 1970 of the edit.
    #[serde(default, deserialize_with = "lenient")]
    pub edit_date: Option<i64>,
    /// Where.
    pub chat: Chat,
    /// Who; absent in channels.
    #[serde(default, deserialize_with = "lenient")]
    pub from: Option<User>,
    /// A channel or group that speaks for itself: anonymous admins and linked channels.
    #[serde(default, deserialize_with = "lenient")]
    pub sender_chat: Option<Chat>,
    /// The topic, if [`Self::is_topic_message`]; also set on plain replies, where it means nothing.
    #[serde(default, deserialize_with = "lenient")]
    pub message_thread_id: Option<TopicId>,
    /// Whether the thread id is a topic.
    #[serde(default, deserialize_with = "lenient")]
    pub is_topic_message: Option<bool>,
    /// The text.
    #[serde(default, deserialize_with = "lenient")]
    pub text: Option<String>,
    /// The text below a picture or file.
    #[serde(default, deserialize_with = "lenient")]
    pub caption: Option<String>,
    /// Same for all parts of one album.
    #[serde(default, deserialize_with = "lenient")]
    pub media_group_id: Option<String>,
    /// The message that this one replies to.
    #[serde(default, deserialize_with = "lenient")]
    pub reply_to_message: Option<Box<Quoted>>,
    /// The part of it that the person marked.
    #[serde(default, deserialize_with = "lenient")]
    pub quote: Option<TextQuote>,
    /// Where a forwarded message comes from.
    #[serde(default, deserialize_with = "lenient")]
    pub forward_origin: Option<Value>,
    /// All other fields; the kind of the message is found among their names.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// A chat.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// `private`, `group`, `supergroup` or `channel`.
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    pub kind: Option<String>,
    /// The name of a group.
    #[serde(default, deserialize_with = "lenient")]
    pub title: Option<String>,
    /// The name of a channel or person.
    #[serde(default, deserialize_with = "lenient")]
    pub username: Option<String>,
}

/// A person or a bot.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// Whether it is a bot.
    #[serde(default, deserialize_with = "lenient")]
    pub is_bot: Option<bool>,
    /// The first name.
    #[serde(default, deserialize_with = "lenient")]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default, deserialize_with = "lenient")]
    pub last_name: Option<String>,
    /// The public name, without `@`.
    #[serde(default, deserialize_with = "lenient")]
    pub username: Option<String>,
}

impl User {
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

/// A message that another one replies to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Quoted {
    /// Its id.
    pub message_id: MessageId,
    /// Who wrote it.
    #[serde(default, deserialize_with = "lenient")]
    pub from: Option<User>,
    /// Its text.
    #[serde(default, deserialize_with = "lenient")]
    pub text: Option<String>,
    /// Its caption.
    #[serde(default, deserialize_with = "lenient")]
    pub caption: Option<String>,
    /// The topic's first message stands in for "no reply" in topics.
    #[serde(default)]
    pub forum_topic_created: Option<Value>,
}

/// A part of a message that a person marked while replying.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TextQuote {
    /// The part.
    pub text: String,
}

/// A press of a button.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Press {
    /// The id to answer it with.
    pub id: String,
    /// Who pressed.
    pub from: User,
    /// The message with the button; may be inaccessible, then only id and chat are there.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Box<Message>>,
    /// What the button carries.
    #[serde(default, deserialize_with = "lenient")]
    pub data: Option<String>,
}

/// A change of the reactions on a message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Reaction {
    /// Where.
    pub chat: Chat,
    /// On which message.
    pub message_id: MessageId,
    /// Who; absent for anonymous reactions.
    #[serde(default, deserialize_with = "lenient")]
    pub user: Option<User>,
    /// Seconds since 1970.
    #[serde(default)]
    pub date: i64,
    /// All reactions of that person now.
    #[serde(default)]
    pub new_reaction: Vec<Value>,
}

impl Reaction {
    /// The emoji of the reactions now, in order.
    pub fn emoji(&self) -> Vec<String> {
        self.new_reaction
            .iter()
            .map(
                |reaction| match reaction.get("emoji").and_then(Value::as_str) {
                    Some(emoji) => emoji.to_owned(),
                    None => "(custom)".to_owned(),
                },
            )
            .collect()
    }
}

/// The content fields. An animation also has `document`, so the more telling name stands first.
const CONTENT: [&str; 22] = [
    "animation",
    "photo",
    "document",
    "voice",
    "audio",
    "video",
    "video_note",
    "sticker",
    "location",
    "venue",
    "contact",
    "poll",
    "dice",
    "story",
    "game",
    "invoice",
    "rich_message",
    "checklist",
    "paid_media",
    "giveaway",
    "live_photo",
    "gift",
];

/// The fields of service messages.
const SERVICE: [&str; 20] = [
    "new_chat_members",
    "left_chat_member",
    "new_chat_title",
    "new_chat_photo",
    "delete_chat_photo",
    "group_chat_created",
    "supergroup_chat_created",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "pinned_message",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_closed",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "message_auto_delete_timer_changed",
    "video_chat_started",
    "video_chat_ended",
    "boost_added",
];

impl Message {
    /// The topic that an answer must name; `None` outside topics and in General (telegram.md 7).
    pub fn topic(&self) -> Option<TopicId> {
        let is_topic = self.is_topic_message == Some(true);
        self.message_thread_id
            .filter(|topic| is_topic && topic.0 > 1)
    }

    /// What kind of message this is, by the name of its content field; `unknown` if we know none.
    pub fn kind(&self) -> &str {
        if self.text.is_some() {
            return "text";
        }
        CONTENT
            .into_iter()
            .find(|name| self.rest.contains_key(*name))
            .unwrap_or_else(|| self.service().unwrap_or("unknown"))
    }

    /// The name of the event that a service message tells, such as `new_chat_members`.
    pub fn service(&self) -> Option<&'static str> {
        SERVICE
            .into_iter()
            .find(|name| self.rest.contains_key(*name))
    }
}

/// Why an update cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No usable `update_id`: it cannot be recognised when it comes again.
    #[error("it has no usable update_id")]
    NoId,
    /// The id is fine, but a part that we need is not what it should be.
    #[error("{reason}")]
    Body {
        /// The id.
        id: UpdateId,
        /// What is wrong.
        reason: String,
    },
}

/// Reads one update.
pub fn read(raw: &str) -> Result<Update, Unreadable> {
    let value: Value = serde_json::from_str(raw).map_err(|_| Unreadable::NoId)?;
    let id = value
        .get("update_id")
        .and_then(Value::as_i64)
        .filter(|id| (1..=UPDATE_ID_MAX).contains(id))
        .map(UpdateId)
        .ok_or(Unreadable::NoId)?;
    let Value::Object(mut fields) = value else {
        return Err(Unreadable::NoId);
    };
    fields.remove("update_id");
    let body = body(fields).map_err(|error| Unreadable::Body {
        id,
        reason: error.to_string(),
    })?;
    Ok(Update { id, body })
}

fn body(mut fields: serde_json::Map<String, Value>) -> Result<Body, serde_json::Error> {
    if let Some(message) = fields.remove("message") {
        return Ok(Body::Message {
            message: serde_json::from_value(message)?,
            edited: false,
        });
    }
    if let Some(message) = fields.remove("edited_message") {
        return Ok(Body::Message {
            message: serde_json::from_value(message)?,
            edited: true,
        });
    }
    if let Some(press) = fields.remove("callback_query") {
        return Ok(Body::Press(serde_json::from_value(press)?));
    }
    if let Some(reaction) = fields.remove("message_reaction") {
        return Ok(Body::Reaction(serde_json::from_value(reaction)?));
    }
    if let Some(change) = fields.get("my_chat_member") {
        let chat = change.pointer("/chat/id").and_then(Value::as_i64);
        return Ok(Body::Membership(chat.map(ChatId)));
    }
    Ok(Body::Other(
        fields
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "nothing".to_owned()),
    ))
}

/// Reads an optional field; what is not what we expect counts as absent.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        let body = read(json).unwrap().body;
        let Body::Message { message, .. } = body else {
            panic!("{body:?}")
        };
        *message
    }

    #[test]
    fn a_text_with_an_unknown_entity_keeps_its_text() {
        let message = message(
            r#"{"update_id":5,"message":{"message_id":1,"date":2,"chat":{"id":3,"type":"private"},
               "text":"at noon","entities":[{"type":"date_time","offset":0,"length":2,"unix":1}]}}"#,
        );
        assert_eq!(message.text.as_deref(), Some("at noon"));
        assert_eq!(message.kind(), "text");
    }

    #[test]
    fn an_optional_field_of_the_wrong_type_does_not_cost_the_message() {
        let message = message(
            r#"{"update_id":5,"message":{"message_id":1,"chat":{"id":3,"type":7},"from":"nobody","text":"hi",
               "reply_to_message":[1],"media_group_id":9}}"#,
        );
        assert_eq!(message.text.as_deref(), Some("hi"));
        assert_eq!(message.from, None);
    }

    #[test]
    fn updates_without_a_usable_id_are_told_apart_from_those_with_a_bad_body() {
        for raw in [
            "null",
            "[]",
            "{}",
            r#"{"update_id":-1}"#,
            r#"{"update_id":"7"}"#,
            r#"{"update_id":99999999999}"#,
        ] {
            assert_eq!(read(raw), Err(Unreadable::NoId), "{raw}");
        }
        let error = read(r#"{"update_id":7,"message":{"text":"no chat"}}"#).unwrap_err();
        assert!(
            matches!(
                error,
                Unreadable::Body {
                    id: UpdateId(7),
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn the_thread_id_of_a_plain_reply_and_of_the_general_topic_is_no_topic() {
        let at = |rest: &str| {
            message(&format!(r#"{{"update_id":5,"message":{{"message_id":1,"chat":{{"id":-3}},"text":"x"{rest}}}}}"#)).topic()
        };
        assert_eq!(at(r#","message_thread_id":9"#), None);
        assert_eq!(
            at(r#","message_thread_id":1,"is_topic_message":true"#),
            None
        );
        assert_eq!(
            at(r#","message_thread_id":9,"is_topic_message":true"#),
            Some(TopicId(9))
        );
    }

    #[test]
    fn an_animation_is_not_taken_for_a_document() {
        let message = message(
            r#"{"update_id":5,"message":{"message_id":1,"chat":{"id":3},"document":{},"animation":{},"caption":"c"}}"#,
        );
        assert_eq!(message.kind(), "animation");
    }
}
