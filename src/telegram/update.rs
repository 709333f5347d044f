//! Reading updates leniently: what we know is read, what we do not know never hurts. Pure.
//!
//! The raw JSON is what is stored. These structs are read from it at each use, so a
//! field that a later version understands is there for old entries too. (teloxide-core 0.13 turns a
//! text with an unknown entity into an empty message without an error, so its types are not used.)
//!
//! Field by field and not by `serde`: an error of `serde` repeats what it did not expect, and the
//! reason of a refusal goes into the log, where no word of a person may stand.
//!
//! [`message`] is what a message is made of, [`content`] what it says, [`mod@file`] what came with it,
//! [`markdown`] and [`rich`] its words as Markdown.

pub mod content;
pub mod file;
pub mod markdown;
pub mod message;
pub mod rich;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use self::message::{Chat, EntityKind, Forward, Message, Press, Reaction, TextEntity, User};
use crate::clock::Timestamp;
use crate::ids::{ChatId, UpdateId};

/// Largest `update_id`: the server's queue counts them in 32 bits.
const UPDATE_ID_MAX: i64 = i32::MAX as i64;

/// Most bytes of an update. The largest that Telegram makes, a rich message (32,768 characters,
/// docs/facts/telegram.md 1) that replies to another one, stays far below.
pub const UPDATE_BYTES: usize = 1024 * 1024;

/// The kinds of update that we ask for. Sent with every poll, because the server keeps the last list that it was
/// sent (docs/facts/telegram.md 2.3).
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
    /// Its content.
    pub body: Body,
}

impl Update {
    /// When it happened, as Telegram tells it. The press of a button has no time of its own.
    pub fn told_at(&self) -> Option<Timestamp> {
        let seconds = match &self.body {
            Body::Message { message, .. } => message.version_date(),
            Body::Reaction(reaction) => reaction.date,
            Body::Press(_) | Body::Membership(_) | Body::Other(_) => 0,
        };
        (seconds > 0).then(|| Timestamp::from_unix_seconds(seconds))
    }
}

/// The content of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A message, new or edited.
    Message {
        /// The message.
        message: Box<Message>,
        /// Whether it replaces an earlier text of the same message.
        edited: bool,
    },
    /// A person pressed a button under one of our messages.
    Press(Box<Press>),
    /// A person changed the reactions on a message.
    Reaction(Box<Reaction>),
    /// Our own standing in a chat changed: in which, if it says so.
    Membership(Option<Membership>),
    /// A kind that we do not route.
    Other(String),
}

/// The new standing of our bot in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The chat.
    pub chat: ChatId,
    /// The bot's rights there.
    pub standing: ChatStanding,
}

/// The rights of our bot in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatStanding {
    /// It may write, as far as the update tells.
    Member,
    /// A person has blocked it, or a group has removed it.
    Removed,
    /// It is in the group and may not write.
    Muted,
}

impl Membership {
    /// Reads a `ChatMemberUpdated`; `None` if it does not say which chat.
    fn read(value: &Value) -> Option<Self> {
        let chat = value.pointer("/chat/id").and_then(Value::as_i64)?;
        let now = value.get("new_chat_member")?;
        let flag = |name: &str| now.get(name).and_then(Value::as_bool);
        let standing = match now.get("status").and_then(Value::as_str)? {
            "kicked" | "left" => ChatStanding::Removed,
            "restricted" if flag("is_member") == Some(false) => ChatStanding::Removed,
            "restricted" if flag("can_send_messages") == Some(false) => ChatStanding::Muted,
            _ => ChatStanding::Member,
        };
        Some(Self {
            chat: ChatId(chat),
            standing,
        })
    }
}

/// Why an update cannot be read. No reason repeats text of a person.
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
        /// The fault.
        reason: String,
    },
}

/// Reads one update.
pub fn read(raw: &str) -> Result<Update, Unreadable> {
    let id = id(raw).ok_or(Unreadable::NoId)?;
    let unreadable = |reason: String| Unreadable::Body { id, reason };
    if raw.len() > UPDATE_BYTES {
        return Err(unreadable(format!(
            "it has {} bytes, but at most {UPDATE_BYTES} are accepted",
            raw.len()
        )));
    }
    let fields: Map<String, Value> = serde_json::from_str(raw)
        .map_err(|error| unreadable(format!("it cannot be read as JSON: {error}")))?;
    let body = body(fields).map_err(unreadable)?;
    Ok(Update { id, body })
}

/// The id, which can be had however deeply the rest is nested.
fn id(raw: &str) -> Option<UpdateId> {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow)]
        update_id: &'a RawValue,
    }
    // An array would do for a struct of one field.
    if !raw.trim_start().starts_with('{') {
        return None;
    }
    let id: Id<'_> = serde_json::from_str(raw).ok()?;
    let id = id.update_id.get().parse().ok()?;
    (1..=UPDATE_ID_MAX).contains(&id).then_some(UpdateId(id))
}

fn body(mut fields: Map<String, Value>) -> Result<Body, String> {
    let present = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
    let kinds: Vec<&str> = ALLOWED_UPDATES.into_iter().filter(present).collect();
    let kind = match kinds.as_slice() {
        [] => {
            let named = fields.keys().find(|name| *name != "update_id");
            return Ok(Body::Other(
                named.cloned().unwrap_or_else(|| "nothing".to_owned()),
            ));
        }
        [kind] => *kind,
        many => {
            return Err(format!(
                "it contradicts itself: it is {}",
                many.join(" and ")
            ));
        }
    };
    let value = fields.remove(kind).unwrap_or_default();
    match kind {
        "message" | "edited_message" => Ok(Body::Message {
            message: Box::new(Message::read(value, kind)?),
            edited: kind == "edited_message",
        }),
        "callback_query" => Ok(Body::Press(Box::new(Press::read(value)?))),
        "message_reaction" => Ok(Body::Reaction(Box::new(Reaction::read(value)?))),
        _ => Ok(Body::Membership(Membership::read(&value))),
    }
}

#[cfg(test)]
mod tests;
