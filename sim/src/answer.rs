//! The answer of a method: a result, or a refusal in the words of the real server.

use serde_json::{Value, json};

/// A refusal: the code is both the HTTP status and `error_code`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) description: String,
    pub(crate) parameters: Option<Value>,
}

impl Refusal {
    pub(crate) fn new(code: u16, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
            parameters: None,
        }
    }

    pub(crate) fn bad(description: impl AsRef<str>) -> Self {
        Self::new(400, format!("Bad Request: {}", description.as_ref()))
    }

    pub(crate) fn forbidden(description: impl AsRef<str>) -> Self {
        Self::new(403, format!("Forbidden: {}", description.as_ref()))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized")
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    pub(crate) fn too_many(retry_after: i64) -> Self {
        Self {
            code: 429,
            description: format!("Too Many Requests: retry after {retry_after}"),
            parameters: Some(json!({ "retry_after": retry_after })),
        }
    }

    pub(crate) fn migrated(new_chat: i64) -> Self {
        Self {
            parameters: Some(json!({ "migrate_to_chat_id": new_chat })),
            ..Self::bad("group chat was upgraded to a supergroup chat")
        }
    }

    pub(crate) fn body(&self) -> String {
        let mut body =
            json!({ "ok": false, "error_code": self.code, "description": self.description });
        if let (Some(parameters), Some(object)) = (&self.parameters, body.as_object_mut()) {
            object.insert("parameters".to_owned(), parameters.clone());
        }
        body.to_string()
    }

    /// The value for the `Retry-After` header, present with a 429 only.
    pub(crate) fn retry_after(&self) -> Option<String> {
        let value = self.parameters.as_ref()?.get("retry_after")?;
        (self.code == 429).then(|| value.to_string())
    }
}

/// A result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The value of `result`.
    Result(Value),
    /// The value of `result` and a remark for people.
    Noted(Value, &'static str),
    /// JSON text of `result`, inserted verbatim: update batches, which tests may fill with anything.
    Raw(String),
}

impl Answer {
    pub(crate) const fn yes() -> Self {
        Self::Result(Value::Bool(true))
    }

    pub(crate) fn body(&self) -> String {
        match self {
            Self::Result(value) => format!(r#"{{"ok":true,"result":{value}}}"#),
            Self::Noted(value, remark) => {
                format!(r#"{{"ok":true,"result":{value},"description":"{remark}"}}"#)
            }
            Self::Raw(text) => format!(r#"{{"ok":true,"result":{text}}}"#),
        }
    }
}

pub(crate) type Verdict = Result<Answer, Refusal>;
