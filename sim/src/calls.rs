//! The record of every call that reached the server.

use std::time::Instant;

use serde_json::Value;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not answered yet.
    Pending,
    /// Applied and answered.
    Ok,
    /// Refused with this code and description.
    Error {
        /// HTTP status and `error_code`.
        code: u16,
        /// The description.
        description: String,
    },
    /// Not applied; the connection was closed by a fault.
    Dropped,
    /// Applied; the answer was not heard: by a fault it never left, or not whole, or not as JSON, or the client had
    /// hung up by then.
    Lost,
    /// A poll whose client went away, or a call that the stopping server cut off. `getUpdates` confirms on arrival,
    /// so that much of it was applied.
    Aborted,
}

impl Outcome {
    /// Whether the call was applied and answered.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// The error code of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Error { code, .. } => Some(*code),
            Self::Pending | Self::Ok | Self::Dropped | Self::Lost | Self::Aborted => None,
        }
    }
}

/// One recorded call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub(crate) id: u64,
    /// Real milliseconds since the simulator was started.
    pub at_ms: i64,
    /// The same moment, for who measures.
    pub at: Instant,
    /// The bot.
    pub bot: i64,
    /// The method in its documented spelling, or as sent when there is no such method; `download` for files.
    pub method: String,
    /// The parameters; nested ones parsed, uploaded files as `{file_name, size}`.
    pub params: Value,
    /// The chat that the call names.
    pub chat_id: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Real milliseconds since the simulator was started, once answered.
    pub answered_at_ms: Option<i64>,
    /// The same moment, for who measures: before the first byte of the answer is written.
    pub answered_at: Option<Instant>,
}

impl Call {
    /// A parameter as text, empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.params
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A parameter as a number, whether it came as a number or as text.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.params.get(name).and_then(crate::params::as_int)
    }
}
