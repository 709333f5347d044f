//! The result of fetching one file, and its name here. Pure.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::agents::holder::short_hash;
use crate::telegram::update::file::IncomingFile;

/// The name of the state within the folder of a file.
pub const STATE_FILE: &str = "state.json";

/// The file `state.json`. Written once, with the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// The bytes that this is about, as [`content_key`]: a new bot of a session may reuse the update ids of
    /// the bot before it.
    pub content: String,
    /// When it was written.
    pub at: Timestamp,
    /// The result.
    #[serde(rename = "standing")]
    pub result: FetchResult,
}

/// The result of fetching a file: final, except for [`FetchResult::NoRoom`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum FetchResult {
    /// The file is there.
    Ready {
        /// Its name in the folder.
        file: String,
        /// Bytes.
        size: u64,
        /// Its SHA-256, as 64 hexadecimal digits.
        sha256: String,
    },
    /// The file can never be fetched.
    Failed {
        /// Why, for the agent.
        reason: String,
    },
    /// The files of the session take all the room that they may. The file is fetched once there is room.
    NoRoom {
        /// Why, for the agent.
        reason: String,
    },
}

impl FetchResult {
    /// The name of the file, if it is there and the name is one of ours: a forged state must not lead out of
    /// its folder.
    pub fn file(&self) -> Option<&str> {
        let Self::Ready { file, .. } = self else {
            return None;
        };
        let plain = Path::new(file).file_name() == Some(file.as_ref()) && file != STATE_FILE;
        plain.then_some(file)
    }
}

/// The identity of the bytes, from [`IncomingFile::content`], as a hash: no text from outside stands in the file.
pub fn content_key(content: &str) -> String {
    short_hash(&[content])
}

/// The name of a file here: its kind, and an ending from [`ENDINGS`]. It holds no text of a person.
pub fn name_file(file: &IncomingFile) -> String {
    format!("{}.{}", file.kind, choose_ending(file))
}

/// The endings that a file may have here, and their media types. Programs choose by the ending how to handle
/// a file, so only harmless ones are accepted.
const ENDINGS: [(&str, &[&str]); 52] = [
    ("jpg", &["image/jpeg"]),
    ("png", &["image/png"]),
    ("gif", &["image/gif"]),
    ("webp", &["image/webp"]),
    ("heic", &["image/heic", "image/heif"]),
    ("svg", &["image/svg+xml"]),
    ("tgs", &["application/x-tgsticker"]),
    ("mp4", &["video/mp4"]),
    ("mov", &["video/quicktime"]),
    ("webm", &["video/webm"]),
    ("mkv", &["video/x-matroska"]),
    ("ogg", &["audio/ogg"]),
    ("mp3", &["audio/mpeg", "audio/mp3"]),
    ("m4a", &["audio/mp4", "audio/x-m4a"]),
    ("wav", &["audio/wav", "audio/x-wav"]),
    ("flac", &["audio/flac", "audio/x-flac"]),
    ("pdf", &["application/pdf"]),
    ("json", &["application/json"]),
    ("csv", &["text/csv"]),
    ("tsv", &["text/tab-separated-values"]),
    ("xml", &["application/xml", "text/xml"]),
    ("html", &["text/html"]),
    ("md", &["text/markdown"]),
    ("log", &[]),
    ("diff", &["text/x-diff"]),
    ("patch", &["text/x-patch"]),
    ("yaml", &["application/yaml", "text/yaml"]),
    ("yml", &[]),
    ("toml", &[]),
    ("sql", &["application/sql"]),
    ("rs", &["text/rust"]),
    ("py", &["text/x-python"]),
    ("js", &["text/javascript", "application/javascript"]),
    ("ts", &[]),
    ("go", &[]),
    ("c", &[]),
    ("h", &[]),
    ("cpp", &[]),
    ("java", &[]),
    ("zip", &["application/zip", "application/x-zip-compressed"]),
    ("gz", &["application/gzip", "application/x-gzip"]),
    ("tar", &["application/x-tar"]),
    ("7z", &["application/x-7z-compressed"]),
    (
        "docx",
        &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
    ),
    (
        "xlsx",
        &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
    ),
    (
        "pptx",
        &["application/vnd.openxmlformats-officedocument.presentationml.presentation"],
    ),
    ("odt", &["application/vnd.oasis.opendocument.text"]),
    ("ods", &["application/vnd.oasis.opendocument.spreadsheet"]),
    ("epub", &["application/epub+zip"]),
    ("ics", &["text/calendar"]),
    ("vcf", &["text/vcard", "text/x-vcard"]),
    ("txt", &["text/plain"]),
];

/// The ending from the sender's file name where it says more than the media type ("text/plain" for source
/// code), else from the type, else from the kind.
fn choose_ending(file: &IncomingFile) -> &'static str {
    let listed = |wanted: &str| {
        let found = ENDINGS.iter().find(|(ending, _)| *ending == wanted);
        found.map(|(ending, _)| *ending)
    };
    let by_name = || {
        let (_, ending) = file.name.as_deref()?.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "jpeg" => Some("jpg"),
            "oga" | "opus" => Some("ogg"),
            "htm" => Some("html"),
            other => listed(other),
        }
    };
    let by_mime = || {
        let mime = file.mime.as_deref()?.split(';').next()?;
        let mime = mime.trim().to_ascii_lowercase();
        let found = ENDINGS
            .iter()
            .find(|(_, mimes)| mimes.contains(&mime.as_str()));
        found.map(|(ending, _)| *ending)
    };
    let by_kind = || {
        Some(match file.kind {
            "photo" | "live_photo" => "jpg",
            "voice" => "ogg",
            "audio" => "mp3",
            "video" | "video_note" | "animation" => "mp4",
            _ => return None,
        })
    };
    // Telegram converts all kinds but documents, whose name is therefore the best source.
    let first = if file.kind == "document" {
        by_name()
    } else {
        None
    };
    first
        .or_else(by_mime)
        .or_else(by_name)
        .or_else(by_kind)
        .unwrap_or("bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: &'static str, name: Option<&str>, mime: Option<&str>) -> IncomingFile {
        IncomingFile {
            kind,
            file_id: None,
            content: String::new(),
            name: name.map(str::to_owned),
            mime: mime.map(str::to_owned),
            size: None,
        }
    }

    #[test]
    fn the_ending_is_one_of_ours_whatever_the_sender_calls_the_file() {
        for (kind, name, mime, expected) in [
            ("photo", None, None, "photo.jpg"),
            ("voice", None, Some("audio/ogg"), "voice.ogg"),
            ("voice", None, None, "voice.ogg"),
            ("sticker", None, Some("image/webp"), "sticker.webp"),
            (
                "animation",
                Some("a.gif"),
                Some("video/mp4"),
                "animation.mp4",
            ),
            (
                "document",
                Some("main.rs"),
                Some("text/plain"),
                "document.rs",
            ),
            ("document", Some("a.tar.GZ"), None, "document.gz"),
            ("document", Some("Scan.JPEG"), None, "document.jpg"),
            (
                "document",
                Some("x"),
                Some("Text/HTML; charset=utf-8"),
                "document.html",
            ),
            (
                "document",
                Some("run.exe"),
                Some("application/x-msdownload"),
                "document.bin",
            ),
            ("document", Some("../../etc/passwd"), None, "document.bin"),
            ("document", Some("a./../b.sh\0"), Some("\n"), "document.bin"),
            ("document", None, None, "document.bin"),
        ] {
            assert_eq!(
                name_file(&file(kind, name, mime)),
                expected,
                "{name:?} {mime:?}"
            );
        }
    }

    #[test]
    fn a_state_that_leads_out_of_its_folder_names_no_file() {
        let named = |file: &str| {
            let (file, sha256) = (file.to_owned(), String::new());
            let size = 1;
            FetchResult::Ready { file, size, sha256 }
                .file()
                .map(str::to_owned)
        };
        assert_eq!(named("photo.jpg").as_deref(), Some("photo.jpg"));
        for bad in ["../state", "/etc/passwd", "a/b", "..", ".", "", STATE_FILE] {
            assert_eq!(named(bad), None, "{bad:?}");
        }
    }
}
