//! Decisions about answers of the Bot API. Pure.
//!
//! Decided by `error_code` first, then by substrings of the description, without regard to case
//! (docs/facts/telegram.md 9: descriptions are not stable, codes are).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::ChatId;
use crate::text::one_line;

/// A rate limit of no time at all would be tried without end.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait that a header alone asks for: without Telegram's own JSON it comes from a program in between.
const LONGEST_FOREIGN_WAIT: Duration = Duration::from_secs(60);
/// Most characters of a description that are kept.
const DESCRIPTION_MAX: usize = 300;

/// A call did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The server answered that it will not.
    #[error("Telegram answered {code}: {description}")]
    Refused {
        /// `error_code`, or the HTTP status when the body has none.
        code: u16,
        /// The server's words, made harmless.
        description: String,
        /// How long to wait, from the body or the `Retry-After` header.
        retry_after: Option<Duration>,
        /// The chat that the group became.
        migrate_to: Option<ChatId>,
    },
    /// The request surely never reached the server: refused connection, name or TLS failure.
    #[error("cannot reach Telegram: {0}")]
    Unreachable(String),
    /// The request was or may have been received, and no understandable answer was heard.
    #[error("no answer from Telegram: {0}")]
    Doubt(String),
}

/// The reaction to a failed call that sends something: the table of docs/facts/telegram.md 9.
#[derive(Clone, Debug, PartialEq)]
pub enum FailureDecision {
    /// Nothing may go to that chat for so long.
    RateLimit(Duration),
    /// Try again after a growing pause; the request surely had no effect.
    Retry,
    /// Try again after a growing pause, marked: the request may have had its effect.
    RetryMarked,
    /// The bot's token is not accepted: nothing of this bot can be sent until that changes.
    StopBot,
    /// The wanted state is already there.
    TreatAsDone,
    /// Telegram refuses it as it is, and takes it with this change; tried once per message.
    Repair(Repair),
    /// The group has become this supergroup: everything goes there from now on.
    Migrate(ChatId),
    /// Nothing can be sent to this chat until a person changes that. Waiting deliveries are kept.
    ChatBlocked,
    /// The same for this topic of the chat only, until it is opened again.
    TopicClosed,
    /// This delivery can never succeed.
    Fail,
}

/// A change that lets Telegram take a message which it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Without formatting: its entities were refused.
    Plain,
    /// Cut into smaller messages: it was too long.
    Split,
    /// Not as a reply: the message that it replies to is gone.
    WithoutReply,
    /// The topic was not found; first it is tried again a little later, where that has helped.
    AgainLater,
    /// Outside its topic, which is gone.
    WithoutTopic,
    /// As a new message: the one that it was to edit is gone, or cannot be edited.
    NewMessage,
    /// As files to open: they were refused as photos.
    AsDocuments,
    /// Each file by itself: they were refused as an album.
    Apart,
}

/// How the refusal of an album begins of which other messages may have been sent (docs/facts/telegram.md 5).
const PARTLY: &str = "failed to send message #";

impl ApiError {
    /// Whether some messages of an album may have been sent although it was refused.
    pub fn is_partial(&self) -> bool {
        match self {
            Self::Refused { description, .. } => description.to_lowercase().contains(PARTLY),
            Self::Unreachable(_) | Self::Doubt(_) => false,
        }
    }

    /// The reaction to it.
    pub fn decision(&self) -> FailureDecision {
        match self {
            Self::Unreachable(_) => FailureDecision::Retry,
            Self::Doubt(_) => FailureDecision::RetryMarked,
            Self::Refused {
                code,
                description,
                retry_after,
                migrate_to,
            } => refused(*code, description, *retry_after, *migrate_to),
        }
    }

    /// Whether two pollers, or a poller and a webhook, are at the same bot.
    pub fn conflict(&self) -> Option<Conflict> {
        match self {
            Self::Refused {
                code: 409,
                description,
                ..
            } => {
                let webhook = description.to_lowercase().contains("webhook");
                Some(if webhook {
                    Conflict::Webhook
                } else {
                    Conflict::OtherPoller
                })
            }
            Self::Refused { .. } | Self::Unreachable(_) | Self::Doubt(_) => None,
        }
    }
}

/// The other receiver of the bot's updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another program calls `getUpdates`.
    OtherPoller,
    /// A webhook is set; it is not ours, so it stays.
    Webhook,
}

impl Conflict {
    /// For files and `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherPoller => "other_poller",
            Self::Webhook => "webhook",
        }
    }

    /// The cause and the remedy, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::OtherPoller => {
                "another program polls this bot's updates; stop it or give it a bot of its own (telepost then continues by itself)"
            }
            Self::Webhook => {
                "a webhook is set for this bot; telepost does not remove what it did not set: call deleteWebhook or use another bot (telepost then continues by itself)"
            }
        }
    }
}

/// The words of refusals that are final for a chat, not for one message.
const CHAT_IS_DEAD: &str = "chat not found|peer_id_invalid|have no rights to send|not enough rights to send|\
    need administrator rights|chat_write_forbidden|chat_restricted|chat_send_plain_forbidden|user_is_blocked|\
    input_user_deactivated|channel_private|group chat was deleted";
/// The words of refusals whose wanted state is already there.
const IS_DONE: &str =
    "message is not modified|message to delete not found|topic_not_modified|query is too old";
/// The words of refusals that a change mends. The first that fits counts.
const REPAIRS: [(&str, Repair); 8] = [
    // Before the other failures of entities: these are sound, and too many for one message.
    ("entities_too_long|entities too long", Repair::Split),
    (
        "can't parse entities|can't parse message entit|entity_|entities_|entities are invalid",
        Repair::Plain,
    ),
    (
        "message is too long|message_too_long|text is too long|caption is too long|caption_too_long",
        Repair::Split,
    ),
    // Before the album that they may be in. A group that takes no media may well take texts.
    (
        "photo_invalid|photo_ext_invalid|photo_save_file_invalid|image_process_failed|too big for a photo|\
         rights to send photos|chat_send_photos_forbidden|rights to send documents|chat_send_docs_forbidden",
        Repair::AsDocuments,
    ),
    (
        "message to be replied not found|replied message not found|message to reply not found|\
         reply_message_id_invalid",
        Repair::WithoutReply,
    ),
    (
        "message thread not found|topic_deleted|topic_id_invalid",
        Repair::WithoutTopic,
    ),
    (
        "message to edit not found|message can't be edited|message_id_invalid|no text in the message to edit",
        Repair::NewMessage,
    ),
    (
        "failed to send message #|group send failed|wrong file identifier|media_invalid|media_grouped_invalid",
        Repair::Apart,
    ),
];

fn refused(
    code: u16,
    description: &str,
    retry_after: Option<Duration>,
    migrate_to: Option<ChatId>,
) -> FailureDecision {
    let text = description.to_lowercase();
    match code {
        // Without a number the server still wants a pause; 30 s is what its own caps use as a middle.
        429 => FailureDecision::RateLimit(
            retry_after
                .unwrap_or(Duration::from_secs(30))
                .max(SHORTEST_WAIT),
        ),
        401 | 421 => FailureDecision::StopBot,
        404 if !text.contains("method not found") => FailureDecision::StopBot,
        500..=599 => FailureDecision::RetryMarked,
        409 => FailureDecision::Retry,
        // Blocked, kicked, deactivated, never started: whatever its words, it is about the chat.
        403 => FailureDecision::ChatBlocked,
        400 => bad_request(&text, migrate_to),
        _ => FailureDecision::Fail,
    }
}

fn bad_request(text: &str, migrate_to: Option<ChatId>) -> FailureDecision {
    let says = |words: &str| words.split('|').any(|words| text.contains(words));
    if let Some(to) = migrate_to {
        FailureDecision::Migrate(to)
    } else if says(IS_DONE) {
        FailureDecision::TreatAsDone
    } else if says("reactions_too_many|reaction_too_many") {
        FailureDecision::Retry
    } else if let Some((_, repair)) = REPAIRS.iter().find(|(words, _)| says(words)) {
        FailureDecision::Repair(*repair)
    } else if says("topic_closed") {
        FailureDecision::TopicClosed
    } else if says(CHAT_IS_DEAD) {
        FailureDecision::ChatBlocked
    } else {
        FailureDecision::Fail
    }
}

/// The wait of a 429 that says it in its description only.
fn in_words(description: &str) -> Option<Duration> {
    let text = description.to_lowercase();
    let (_, after) = text.split_once("retry after")?;
    let number: String = after
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    seconds(Some(&Value::from(number)))
}

/// Words of a server, made harmless for logs and terminals, and not too long.
pub fn harmless(words: &str) -> String {
    let short: String = words.chars().take(DESCRIPTION_MAX).collect();
    let cut = if short.len() < words.len() { "…" } else { "" };
    one_line(&short) + cut
}

/// Reads an answer. `Ok` carries `result` as it came, `null` if there is none: the call had its effect.
pub fn read_answer(
    status: u16,
    retry_after_header: Option<&str>,
    body: &[u8],
) -> Result<Box<RawValue>, ApiError> {
    #[derive(serde::Deserialize)]
    struct ApiAnswer {
        ok: bool,
        #[serde(default)]
        result: Option<Box<RawValue>>,
        #[serde(default)]
        error_code: Option<Value>,
        #[serde(default)]
        description: Option<Value>,
        #[serde(default)]
        parameters: Option<Value>,
    }
    let text = String::from_utf8_lossy(body);
    let Ok(answer) = serde_json::from_str::<ApiAnswer>(&text) else {
        // A proxy's HTML page, half an answer, or no JSON: the body may hold message text, so it
        // is not repeated in the error.
        let what = format!(
            "HTTP {status} with a body that is not a Bot API answer ({} bytes)",
            body.len()
        );
        // Only these two are known to come from Telegram's own front without JSON. Anything else comes from a
        // program in between (a captive portal, a proxy), which is no reason to give a message up.
        return Err(match status {
            413 | 429 => ApiError::Refused {
                code: status,
                description: what,
                retry_after: seconds(retry_after_header.map(Value::from).as_ref())
                    .map(|wait| wait.min(LONGEST_FOREIGN_WAIT)),
                migrate_to: None,
            },
            _ => ApiError::Doubt(what),
        });
    };
    if answer.ok {
        return Ok(answer.result.unwrap_or_else(|| RawValue::NULL.to_owned()));
    }
    let parameter = |name: &str| answer.parameters.as_ref().and_then(|all| all.get(name));
    let code = answer
        .error_code
        .as_ref()
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or(status);
    let description = answer
        .description
        .as_ref()
        .and_then(Value::as_str)
        .map_or_else(|| "no description".to_owned(), harmless);
    Err(ApiError::Refused {
        code,
        retry_after: seconds(parameter("retry_after"))
            .or_else(|| seconds(retry_after_header.map(Value::from).as_ref()))
            .or_else(|| in_words(&description).filter(|_| code == 429)),
        migrate_to: parameter("migrate_to_chat_id")
            .and_then(Value::as_i64)
            .map(ChatId),
        description,
    })
}

/// A number of seconds that may come as an integer, a float or a text; a month at most.
fn seconds(value: Option<&Value>) -> Option<Duration> {
    let number = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (number.is_finite() && number >= 0.0).then(|| Duration::from_secs_f64(number.min(2_678_400.0)))
}

#[cfg(test)]
mod tests;
