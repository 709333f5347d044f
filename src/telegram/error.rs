//! What an answer of the Bot API means, as a decision.
//!
//! Decided by `error_code` first, then by substrings of the description, without regard to case
//! (telegram.md 9: descriptions are not stable, codes are).

use std::time::Duration;

use serde_json::Value;

use crate::ids::ChatId;

/// A call did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The server answered that it will not.
    #[error("Telegram answered {code}: {description}")]
    Refused {
        /// `error_code`, or the HTTP status when the body has none.
        code: u16,
        /// The server's words.
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

/// What to do about a failed call that sends something.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing may go to that chat for so long.
    CloseGate(Duration),
    /// Try again after a growing pause; the request surely had no effect.
    Retry,
    /// Try again after a growing pause, marked: the request may have had its effect.
    RetryMarked,
    /// The bot's token is not accepted: nothing of this bot can be sent until that changes.
    StopBot,
    /// What was wanted is already so.
    TreatAsDone,
    /// This delivery can never succeed.
    Fail,
}

impl ApiError {
    /// What to do about it.
    pub fn decision(&self) -> Decision {
        match self {
            Self::Unreachable(_) => Decision::Retry,
            Self::Doubt(_) => Decision::RetryMarked,
            Self::Refused {
                code,
                description,
                retry_after,
                ..
            } => refused(*code, description, *retry_after),
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

/// Who else wants the bot's updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another program calls `getUpdates`.
    OtherPoller,
    /// A webhook is set; it is not ours, so it stays.
    Webhook,
}

impl Conflict {
    /// What a person should know and do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::OtherPoller => {
                "another program polls this bot's updates; stop it or give it a bot of its own (telepost goes on by itself then)"
            }
            Self::Webhook => {
                "a webhook is set for this bot; telepost does not remove what it did not set: call deleteWebhook or use another bot (telepost goes on by itself then)"
            }
        }
    }
}

fn refused(code: u16, description: &str, retry_after: Option<Duration>) -> Decision {
    let text = description.to_lowercase();
    let says = |part: &str| text.contains(part);
    match code {
        // Without a number the server still wants a pause; 30 s is what its own caps use as a middle.
        429 => Decision::CloseGate(retry_after.unwrap_or(Duration::from_secs(30))),
        401 | 421 => Decision::StopBot,
        404 if !says("method not found") => Decision::StopBot,
        500..=599 => Decision::RetryMarked,
        409 => Decision::Retry,
        400 if says("message is not modified") || says("topic_not_modified") => {
            Decision::TreatAsDone
        }
        400 if says("reactions_too_many") || says("reaction_too_many") => Decision::Retry,
        _ => Decision::Fail,
    }
}

/// Reads an answer. `Ok` carries `result` as it came.
pub fn read_answer(
    status: u16,
    retry_after_header: Option<&str>,
    body: &[u8],
) -> Result<Box<serde_json::value::RawValue>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        ok: bool,
        #[serde(default)]
        result: Option<Box<serde_json::value::RawValue>>,
        #[serde(default)]
        error_code: Option<Value>,
        #[serde(default)]
        description: Option<Value>,
        #[serde(default)]
        parameters: Option<Value>,
    }
    let text = String::from_utf8_lossy(body);
    let Ok(answer) = serde_json::from_str::<Answer>(&text) else {
        // A proxy's HTML page, half an answer, or no JSON: the body may hold message text, so it
        // is not repeated in the error.
        let what = format!(
            "HTTP {status} with a body that is no Bot API answer ({} bytes)",
            body.len()
        );
        // Only these two are known to come from Telegram's own front without JSON. Anything else is
        // somebody in between (a captive portal, a proxy), and no reason to give a message up.
        return Err(match status {
            413 | 429 => ApiError::Refused {
                code: status,
                description: what,
                retry_after: seconds(retry_after_header.map(Value::from).as_ref()),
                migrate_to: None,
            },
            _ => ApiError::Doubt(what),
        });
    };
    if answer.ok {
        return answer
            .result
            .ok_or_else(|| ApiError::Doubt("an answer without a result".to_owned()));
    }
    let parameter = |name: &str| answer.parameters.as_ref().and_then(|all| all.get(name));
    Err(ApiError::Refused {
        code: answer
            .error_code
            .as_ref()
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(status),
        description: answer
            .description
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or("no description")
            .to_owned(),
        retry_after: seconds(parameter("retry_after"))
            .or_else(|| seconds(retry_after_header.map(Value::from).as_ref())),
        migrate_to: parameter("migrate_to_chat_id")
            .and_then(Value::as_i64)
            .map(ChatId),
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
mod tests {
    use super::*;

    fn decision(status: u16, header: Option<&str>, body: &str) -> Decision {
        read_answer(status, header, body.as_bytes())
            .unwrap_err()
            .decision()
    }

    #[test]
    fn the_wait_of_a_429_is_found_wherever_the_server_puts_it() {
        let wait = |seconds| Decision::CloseGate(Duration::from_secs_f64(seconds));
        for (header, parameters, expected) in [
            (None, r#","parameters":{"retry_after":7}"#, wait(7.0)),
            (
                None,
                r#","parameters":{"retry_after":7.5,"extra":1}"#,
                wait(7.5),
            ),
            (
                None,
                r#","parameters":{"retry_after":86400}"#,
                wait(86400.0),
            ),
            (Some("9"), r#","parameters":{}"#, wait(9.0)),
            (Some("9"), "", wait(9.0)),
            (None, "", wait(30.0)),
        ] {
            let body = format!(
                r#"{{"ok":false,"error_code":429,"description":"Too Many Requests: retry after"{parameters}}}"#
            );
            assert_eq!(decision(429, header, &body), expected, "{body}");
        }
    }

    #[test]
    fn every_class_of_failure_has_its_decision() {
        for (status, body, expected) in [
            (
                401,
                r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#,
                Decision::StopBot,
            ),
            (
                404,
                r#"{"ok":false,"error_code":404,"description":"Not Found"}"#,
                Decision::StopBot,
            ),
            (
                404,
                r#"{"ok":false,"error_code":404,"description":"Not Found: method not found"}"#,
                Decision::Fail,
            ),
            (
                500,
                r#"{"ok":false,"error_code":500,"description":"Internal Server Error: restart"}"#,
                Decision::RetryMarked,
            ),
            (502, "<html>Bad Gateway</html>", Decision::RetryMarked),
            (200, "{\"ok\":tr", Decision::RetryMarked),
            (
                302,
                "<html>Please log in to this network</html>",
                Decision::RetryMarked,
            ),
            (
                403,
                "<html>Blocked by the proxy</html>",
                Decision::RetryMarked,
            ),
            (413, "<html>Request Entity Too Large</html>", Decision::Fail),
            (
                400,
                r#"{"ok":false,"error_code":400,"description":"Bad Request: message is not modified: x"}"#,
                Decision::TreatAsDone,
            ),
            (
                403,
                r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#,
                Decision::Fail,
            ),
        ] {
            assert_eq!(decision(status, None, body), expected, "{body}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated_in_the_error() {
        let error = read_answer(502, None, b"<html>secret words</html>").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn both_kinds_of_conflict_are_told_apart() {
        let conflict = |text: &str| {
            let body =
                format!(r#"{{"ok":false,"error_code":409,"description":"Conflict: {text}"}}"#);
            read_answer(409, None, body.as_bytes())
                .unwrap_err()
                .conflict()
        };
        assert_eq!(
            conflict("terminated by other getUpdates request"),
            Some(Conflict::OtherPoller)
        );
        assert_eq!(
            conflict("can't use getUpdates method while webhook is active"),
            Some(Conflict::Webhook)
        );
    }
}
