//! Uploads: photos and documents, alone or as an album, streamed from where they lie.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::{Api, OutgoingMessage, SEND_TIMEOUT, hear, sent_message, wire_entities};
use crate::ids::{Address, MessageId};
use crate::telegram::error::ApiError;
use crate::telegram::format::Rich;

/// The slowest line that an upload may have, in bytes a second: what is slower looks lost.
const SLOWEST: u64 = 64 * 1024;
/// How much of a file is in memory while it is sent.
const CHUNK: usize = 64 * 1024;

/// How files are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Seen at once.
    Photo,
    /// To be opened, with their names.
    Document,
}

/// One file of an upload.
#[derive(Debug)]
pub struct FileToSend {
    /// At its beginning; it does not change any more.
    pub file: std::fs::File,
    /// The name that the person sees.
    pub name: String,
    /// In bytes.
    pub size: u64,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Document => "document",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Photo => "sendPhoto",
            Self::Document => "sendDocument",
        }
    }
}

impl Api {
    /// Sends a file, or an album of two to ten (docs/facts/telegram.md 5), with a message below the first, and
    /// returns the ids of the new messages, as far as Telegram says them.
    pub async fn upload(
        &self,
        to: Address,
        media: Media,
        files: Vec<FileToSend>,
        message: &OutgoingMessage,
    ) -> Result<Vec<MessageId>, ApiError> {
        let mut form = Form::new().text("chat_id", to.chat_id.0.to_string());
        if message.silent {
            form = form.text("disable_notification", "true");
        }
        if let Some(topic) = super::thread(to) {
            form = form.text("message_thread_id", topic.to_string());
        }
        if let Some(reply) = message.reply_to.and_then(super::reply_parameters) {
            form = form.text("reply_parameters", json!(reply).to_string());
        }
        let caption = caption_parameters(&message.text);
        let album = files.len() > 1;
        if album {
            let items: Vec<Value> = (0..files.len())
                .map(|number| item(media, number, &caption))
                .collect();
            form = form.text("media", Value::from(items).to_string());
        } else {
            for (name, value) in caption {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                form = form.text(name, value);
            }
            if media == Media::Document {
                form = form.text("disable_content_type_detection", "true");
            }
            // An album has no buttons.
            if let Some(keyboard) = &message.keyboard {
                form = form.text("reply_markup", json!(keyboard).to_string());
            }
        }
        let mut size = 0;
        for (number, file) in files.into_iter().enumerate() {
            size += file.size;
            let name = if album {
                number.to_string()
            } else {
                media.name().to_owned()
            };
            form = form.part(name, part(file));
        }
        let method = if album {
            "sendMediaGroup"
        } else {
            media.method()
        };
        let timeout = SEND_TIMEOUT + Duration::from_secs(size / SLOWEST);
        let result = hear(self.request(method, timeout).multipart(form)).await?;
        if album {
            let messages: Option<Vec<&RawValue>> = serde_json::from_str(result.get()).ok();
            let messages = messages.unwrap_or_default();
            return Ok(messages.into_iter().map(sent_message).collect());
        }
        Ok(vec![sent_message(&result)])
    }
}

/// The caption and its formatting, as parameters.
fn caption_parameters(caption: &Rich) -> Vec<(&'static str, Value)> {
    let mut parameters = Vec::new();
    if !caption.text.is_empty() {
        parameters.push(("caption", json!(caption.text)));
    }
    if let Some(entities) = wire_entities(caption) {
        parameters.push(("caption_entities", json!(entities)));
    }
    parameters
}

/// One item of an album; the first has the caption.
fn item(media: Media, number: usize, caption: &[(&'static str, Value)]) -> Value {
    let mut item = json!({"type": media.name(), "media": format!("attach://{number}")});
    if let (0, Some(item)) = (number, item.as_object_mut()) {
        for (name, value) in caption {
            item.insert((*name).to_owned(), value.clone());
        }
    }
    item
}

fn part(file: FileToSend) -> Part {
    let stream = ReaderStream::with_capacity(File::from_std(file.file), CHUNK);
    Part::stream_with_length(reqwest::Body::wrap_stream(stream), file.size).file_name(file.name)
}
