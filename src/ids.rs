//! Identifiers. Each is a type of its own, so that a chat can never be passed where a user is meant. Pure.
//!
//! Sources: Telegram ids are 64-bit signed, with at most 52 significant bits (Bot API, `Chat.id`,
//! `User.id`); `update_id` starts again at a random number after a quiet week, so it is compared
//! only for equality.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// User ids that stand for several people: Telegram itself (service messages, posts of a linked channel),
/// an anonymous admin, a channel. No list of people may admit them.
pub const STAND_INS: [UserId; 3] = [UserId(777_000), UserId(1_087_968_824), UserId(136_817_688)];

/// The id in the examples. No account has so large an id, so a copy that was never edited admits no person.
pub const PLACEHOLDER: UserId = UserId(4_444_444_444_444_444);

/// Telegram ids have at most 52 significant bits.
pub const ID_MAX: i64 = 1 << 52;

/// Most bytes that a session id may have; it becomes a folder name.
pub const SESSION_ID_MAX: usize = 64;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A bot, by the number before the colon of its token.
    BotId
);
number_id!(
    /// A chat (`Chat.id`): positive for a private chat, negative for groups.
    ChatId
);
number_id!(
    /// A person or bot (`User.id`).
    UserId
);
number_id!(
    /// A forum topic (`message_thread_id`); never 1, the General topic is no topic here.
    TopicId
);
number_id!(
    /// A `message_id`: one message within its chat.
    MessageId
);
number_id!(
    /// An `update_id`: one update of one bot, 1 to 2³¹−1.
    UpdateId
);

/// The id of a configured session: also its folder name below `sessions/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Accepts `[A-Za-z0-9][A-Za-z0-9._-]*` of at most [`SESSION_ID_MAX`] bytes: safe as a folder
    /// name on every file system. Returns what is wrong otherwise.
    pub fn new(text: &str) -> Result<Self, String> {
        let is_safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        Err(
            match (text.chars().next(), text.chars().find(|c| !is_safe(c))) {
                (None, _) => "it is empty".to_owned(),
                (Some(first), _) if !first.is_ascii_alphanumeric() => {
                    format!(
                        "it begins with {first:?}; the first character must be a letter or a digit"
                    )
                }
                _ if text.len() > SESSION_ID_MAX => "it is longer than 64 characters".to_owned(),
                (_, Some(bad)) => format!(
                    "it contains {bad:?}; only letters, digits, '.', '_' and '-' are safe in a folder name"
                ),
                // Some file systems drop it.
                _ if text.ends_with('.') => "it ends with a dot".to_owned(),
                _ => return Ok(Self(text.to_owned())),
            },
        )
    }

    /// The id that examples use.
    pub fn example() -> Self {
        Self("SESSION_X01".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where messages come from and go to: one chat, or one topic in it, as one bot sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The bot.
    pub bot_id: BotId,
    /// The chat.
    pub chat_id: ChatId,
    /// The topic, absent outside topics and for the General topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topic_id {
            Some(topic) => write!(f, "chat {} topic {topic}", self.chat_id),
            None => write!(f, "chat {}", self.chat_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_that_are_no_safe_folder_names_are_refused() {
        for (text, why) in [
            ("", "it is empty"),
            ("..", "it begins with '.'"),
            ("-x", "it begins with '-'"),
            ("a/b", "it contains '/'"),
            ("a b", "it contains ' '"),
            ("é", "it begins with 'é'"),
            ("a.", "it ends with a dot"),
            (&"a".repeat(65), "it is longer"),
        ] {
            let refused = SessionId::new(text).unwrap_err();
            assert!(refused.starts_with(why), "{text:?}: {refused}");
        }
        assert_eq!(
            SessionId::new("SESSION_X01").unwrap().as_str(),
            "SESSION_X01"
        );
    }
}
