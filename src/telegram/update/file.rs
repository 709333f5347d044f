//! The file that came with a message: which of several sizes, and what Telegram says of it. Pure.
//!
//! Sources: the Bot API's `PhotoSize`, `Document`, `Voice`, … up to 10.3.

use serde_json::Value;

use super::content::FILES;
use super::message::Message;

/// Most bytes that a bot can fetch (docs/facts/telegram.md 5: 20 MiB).
pub const FETCH_BYTES: u64 = 20 << 20;

/// A file that came with a message, as its sender describes it. None of them is a file name here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingFile {
    /// photo, document, …
    pub kind: &'static str,
    /// The id for `getFile`; absent if Telegram does not say.
    pub file_id: Option<String>,
    /// The same for the same bytes from any sender: `file_unique_id`, else the `file_id`.
    pub content: String,
    /// The name that the sender gave it.
    pub name: Option<String>,
    /// The type that the sender's client gave it.
    pub mime: Option<String>,
    /// Bytes, as announced.
    pub size: Option<u64>,
}

impl Message {
    /// The file that came with it. Of a photo the largest size that can be fetched, of a live photo
    /// the picture.
    pub fn file(&self) -> Option<IncomingFile> {
        let kind = self.kind();
        let kind = FILES.split(' ').find(|name| *name == kind)?;
        let field = self.rest.get(kind)?;
        let sizes = field
            .as_array()
            .or_else(|| field.get("photo").and_then(Value::as_array));
        let file = sizes.and_then(|sizes| best(sizes)).unwrap_or(field);
        let text = |name: &str| file.get(name).and_then(Value::as_str).map(str::to_owned);
        let file_id = text("file_id").filter(|id| !id.is_empty());
        Some(IncomingFile {
            kind,
            content: text("file_unique_id")
                .or_else(|| file_id.clone())
                .unwrap_or_default(),
            file_id,
            name: text("file_name"),
            mime: text("mime_type").or_else(|| sticker_mime(kind, file)),
            size: size(file),
        })
    }
}

/// The largest size below the limit, else the smallest. Telegram gives the largest last, but says
/// nowhere that it will.
fn best(sizes: &[Value]) -> Option<&Value> {
    let area = |photo: &&Value| {
        let side = |name: &str| photo.get(name).and_then(Value::as_u64).unwrap_or(0);
        side("width").saturating_mul(side("height"))
    };
    let fits = |photo: &&Value| size(photo).is_none_or(|size| size <= FETCH_BYTES);
    let fitting = sizes.iter().filter(fits).max_by_key(area);
    fitting.or_else(|| sizes.iter().min_by_key(area))
}

fn size(file: &Value) -> Option<u64> {
    file.get("file_size").and_then(Value::as_u64)
}

/// A sticker says by two flags what the others say by a type.
fn sticker_mime(kind: &str, file: &Value) -> Option<String> {
    let is = |flag: &str| file.get(flag) == Some(&Value::Bool(true));
    let mime = match kind {
        "sticker" if is("is_animated") => "application/x-tgsticker",
        "sticker" if is("is_video") => "video/webm",
        "sticker" => "image/webp",
        _ => return None,
    };
    Some(mime.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(fields: &Value) -> Option<IncomingFile> {
        let mut message = json!({"message_id": 1, "chat": {"id": 1}});
        let fields = fields.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(fields);
        Message::read(message, "message").unwrap().file()
    }

    fn photo(id: &str, side: u32, bytes: u64) -> Value {
        json!({"file_id": id, "file_unique_id": format!("u-{id}"), "width": side, "height": side, "file_size": bytes})
    }

    #[test]
    fn of_a_photo_the_largest_size_is_taken_that_can_be_fetched() {
        let chosen = |sizes: &[Value]| file(&json!({"photo": sizes})).unwrap().file_id.unwrap();
        let (small, large) = (photo("small", 90, 900), photo("large", 900, FETCH_BYTES));
        let huge = photo("huge", 9000, FETCH_BYTES + 1);
        assert_eq!(chosen(&[small.clone(), large.clone()]), "large");
        assert_eq!(chosen(&[large.clone(), huge.clone(), small]), "large");
        assert_eq!(chosen(&[huge]), "huge");
    }

    #[test]
    fn of_a_live_photo_the_picture_is_taken_and_a_text_has_no_file() {
        let live = json!({"live_photo": {"file_id": "video", "photo": [photo("still", 90, 900)]}});
        let live = file(&live).unwrap();
        assert_eq!(
            (live.kind, live.file_id.as_deref()),
            ("live_photo", Some("still"))
        );
        assert_eq!(file(&json!({"text": "hello"})), None);
    }

    #[test]
    fn a_file_without_an_id_is_named_and_cannot_be_asked_for() {
        let attached =
            file(&json!({"document": {"file_name": "a.pdf", "file_size": "many"}})).unwrap();
        assert_eq!((attached.file_id, attached.size), (None, None));
        assert_eq!(attached.name.as_deref(), Some("a.pdf"));
    }
}
