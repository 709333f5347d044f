//! The parameters of one call, whichever of the four ways they came in.
//!
//! Query and form values are strings, JSON bodies carry values, multipart carries strings and files. Nested objects
//! may be JSON or a string that contains JSON; the accessors accept both, as the real server does.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Parameters that are objects or arrays, shown parsed in recorded calls even when they came as strings.
const NESTED: &[&str] = &[
    "allowed_updates",
    "caption_entities",
    "commands",
    "entities",
    "link_preview_options",
    "media",
    "reaction",
    "reply_markup",
    "reply_parameters",
    "scope",
];

/// A file of a multipart body.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) file_name: String,
    pub(crate) mime_type: Option<String>,
    pub(crate) bytes: Bytes,
}

/// All parameters of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    values: BTreeMap<String, Value>,
    files: BTreeMap<String, Upload>,
}

impl Params {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    pub(crate) fn set_file(&mut self, name: impl Into<String>, file: Upload) {
        self.files.insert(name.into(), file);
    }

    /// Adds `name=value&…`.
    pub(crate) fn add_form(&mut self, form: &[u8]) {
        for (name, value) in url::form_urlencoded::parse(form) {
            self.set(name, Value::String(value.into_owned()));
        }
    }

    pub(crate) fn file(&self, name: &str) -> Option<&Upload> {
        self.files.get(name)
    }

    /// The parameter as text; an object becomes its JSON.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value = self.values.get(name).filter(|value| !value.is_null())?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    /// The parameter as an integer; something else than a number reads as absent.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        as_int(self.values.get(name)?)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| is_true(&text))
    }

    /// A nested parameter; `Err` when it is a string that is not JSON.
    pub(crate) fn nested(&self, name: &str) -> Result<Option<Value>, ()> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text).map(Some).map_err(drop),
            Some(value) => Ok(Some(value.clone())),
        }
    }

    /// The value in the call log: nested strings parsed, files as name and size.
    pub(crate) fn shown(&self) -> Value {
        let mut shown = Map::new();
        for (name, value) in &self.values {
            let nested = NESTED
                .contains(&name.as_str())
                .then(|| self.nested(name).ok().flatten())
                .flatten();
            shown.insert(name.clone(), nested.unwrap_or_else(|| value.clone()));
        }
        for (name, file) in &self.files {
            shown.insert(
                name.clone(),
                json!({ "file_name": file.file_name, "size": file.bytes.len() }),
            );
        }
        Value::Object(shown)
    }
}

/// A number, or a string that contains one.
pub(crate) fn as_int(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// The spellings that the real server reads as "yes".
pub(crate) fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "1")
}
