//! Files: uploads, albums, and the path under which a file can be fetched.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::text::{self, Formatted, MAX_CAPTION};
use super::{Context, messages};
use crate::answer::{Answer, Refusal, Verdict};
use crate::params::Upload;
use crate::picture;
use crate::state::{State, StoredFile};

/// Larger files cannot be fetched.
const MAX_DOWNLOAD: u64 = 20 << 20;
/// Larger uploads are refused.
const MAX_UPLOAD: usize = 50 << 20;
/// Larger photos are refused.
const MAX_PHOTO: usize = 10 << 20;
/// Most pixels of width and height of a photo together.
const MAX_SIDES: u64 = 10_000;
/// A photo's longer side is at most so many times the shorter.
const MAX_RATIO: u64 = 20;

pub(super) fn get(context: &mut Context<'_>) -> Verdict {
    let id = context.params.text("file_id").unwrap_or_default();
    let Some(file) = context.state.files.get(&id) else {
        return Err(Refusal::bad("invalid file_id"));
    };
    if file.size > MAX_DOWNLOAD {
        return Err(Refusal::bad("file is too big"));
    }
    Ok(Answer::Result(json!({
        "file_id": id,
        "file_unique_id": format!("unique-{id}"),
        "file_size": file.size,
        "file_path": file.path,
    })))
}

/// Stores an uploaded file and returns its id.
fn store(state: &mut State, kind: &str, upload: &Upload) -> String {
    let number = state.number();
    let id = format!("{kind}-{number}");
    let file = StoredFile {
        path: format!("{kind}s/file_{number}"),
        name: Some(upload.file_name.clone()),
        size: u64::try_from(upload.bytes.len()).unwrap_or(u64::MAX),
        bytes: Bytes::clone(&upload.bytes),
    };
    state.files.insert(id.clone(), file);
    id
}

/// The `document` or `photo` part of a message, from an upload or from the id of a known file.
fn part(
    context: &mut Context<'_>,
    kind: &str,
    value: Option<&str>,
    field: &str,
) -> Result<Value, Refusal> {
    let attached = value.and_then(|value| value.strip_prefix("attach://"));
    let params = context.params;
    let id = if let Some(upload) = params.file(attached.unwrap_or(field)) {
        if upload.bytes.is_empty() {
            return Err(Refusal::bad("file must be non-empty"));
        }
        if upload.bytes.len() > MAX_UPLOAD {
            return Err(Refusal::new(413, "Request Entity Too Large"));
        }
        if kind == "photo" && upload.bytes.len() > MAX_PHOTO {
            let size = upload.bytes.len();
            return Err(Refusal::bad(format!(
                "file of size {size} bytes is too big for a photo; the maximum size is {MAX_PHOTO} bytes"
            )));
        }
        if kind == "photo" {
            dimensions(&upload.bytes)?;
        }
        store(context.state, kind, upload)
    } else {
        let known = value
            .filter(|id| context.state.files.contains_key(*id))
            .map(str::to_owned);
        known.ok_or_else(|| Refusal::bad("wrong file identifier/HTTP URL specified"))?
    };
    let file = context.state.files.get(&id);
    let size = file.map_or(0, |file| file.size);
    let unique = format!("unique-{id}");
    if kind == "photo" {
        return Ok(
            json!([{ "file_id": id, "file_unique_id": unique, "width": 640, "height": 480, "file_size": size }]),
        );
    }
    let name = file.and_then(|file| file.name.clone());
    let mime = params
        .file(attached.unwrap_or(field))
        .and_then(|upload| upload.mime_type.clone());
    let mut part = json!({ "file_id": id, "file_unique_id": unique, "file_size": size });
    crate::render::put(&mut part, "file_name", name.map(Value::from));
    crate::render::put(&mut part, "mime_type", mime.map(Value::from));
    Ok(part)
}

/// The server's verdict on an uploaded photo.
fn dimensions(bytes: &[u8]) -> Result<(), Refusal> {
    let Some((width, height)) = picture::size(bytes) else {
        return Err(Refusal::bad("IMAGE_PROCESS_FAILED"));
    };
    let (width, height) = (u64::from(width), u64::from(height));
    let (long, short) = (width.max(height), width.min(height));
    if short == 0 || width + height > MAX_SIDES || long > MAX_RATIO * short {
        return Err(Refusal::bad("PHOTO_INVALID_DIMENSIONS"));
    }
    Ok(())
}

fn caption(text: &Formatted) -> Result<(), Refusal> {
    if text.code_points() > MAX_CAPTION {
        Err(Refusal::bad("message caption is too long"))
    } else {
        Ok(())
    }
}

pub(super) fn send_document(context: &mut Context<'_>) -> Verdict {
    send_one(context, "document")
}

pub(super) fn send_photo(context: &mut Context<'_>) -> Verdict {
    send_one(context, "photo")
}

fn send_one(context: &mut Context<'_>, kind: &str) -> Verdict {
    let text = text::read(context, "caption", "caption_entities")?;
    let value = context.params.text(kind);
    if value.is_none() && context.params.file(kind).is_none() {
        return Err(Refusal::bad(format!("there is no {kind} in the request")));
    }
    let target = messages::target(context)?;
    caption(&text)?;
    let part = part(context, kind, value.as_deref(), kind)?;
    context.spend(target.chat, 1)?;
    let media = Map::from_iter([(kind.to_owned(), part)]);
    Ok(Answer::Result(messages::deliver(
        context, &target, text, media,
    )))
}

pub(super) fn send_group(context: &mut Context<'_>) -> Verdict {
    let media = context.params.nested("media");
    let media = media
        .map_err(|()| Refusal::bad("can't parse media JSON object"))?
        .unwrap_or(Value::Null);
    let items = media
        .as_array()
        .ok_or_else(|| Refusal::bad("media must be an Array"))?;
    if !(2..=10).contains(&items.len()) {
        return Err(Refusal::bad("there must be from 2 to 10 media in an album"));
    }
    let kind_of = |item: &Value| {
        item.get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let documents = items
        .iter()
        .filter(|item| kind_of(item) == "document")
        .count();
    if documents != 0 && documents != items.len() {
        return Err(Refusal::bad(
            "document can't be mixed with other media types",
        ));
    }
    let target = messages::target(context)?;
    let mut parts = Vec::new();
    for item in items {
        let kind = kind_of(item);
        if !matches!(kind.as_str(), "document" | "photo") {
            return Err(Refusal::bad(
                "can't parse InputMedia: type must be specified",
            ));
        }
        let words = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let text = text::formatted(
            words("caption"),
            words("parse_mode"),
            item.get("caption_entities"),
        )?;
        caption(&text)?;
        let attached = item.get("media").and_then(Value::as_str);
        let upload =
            attached.and_then(|media| context.params.file(media.strip_prefix("attach://")?));
        if kind == "document" && upload.is_some_and(|upload| picture::is_webp(&upload.bytes)) {
            // Live probes of others (2026): WebP is taken as a photo of an album and as a document alone.
            let number = parts.len() + 1;
            return Err(Refusal::bad(format!(
                "failed to send message #{number} with the error message \"Wrong file identifier/HTTP URL specified\""
            )));
        }
        let part = part(
            context,
            &kind,
            item.get("media").and_then(Value::as_str),
            "",
        )?;
        parts.push((kind, part, text));
    }
    // Each item counts as a message.
    context.spend(target.chat, parts.len())?;
    let album = (10_000_000_000_000 + context.state.number()).to_string();
    let mut sent = Vec::new();
    for (kind, part, text) in parts {
        let media = Map::from_iter([(kind, part), ("media_group_id".to_owned(), json!(album))]);
        sent.push(messages::deliver(context, &target, text, media));
    }
    Ok(Answer::Result(Value::Array(sent)))
}
