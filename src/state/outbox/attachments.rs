//! The files of a reply: how each is sent, and how they form albums. Pure.

use serde::{Deserialize, Serialize};

use crate::telegram::picture::{Format, ImageInfo};

/// Most files of one reply, as many as an album holds (docs/facts/telegram.md 5).
pub const MOST: usize = 10;
/// Most bytes of one file (docs/facts/telegram.md 5).
pub const LARGEST: u64 = 50_000_000;
/// Most bytes of one photo (docs/facts/telegram.md 5).
const LARGEST_PHOTO: u64 = 10_000_000;
/// Most bytes of the files of one album: the request that carries them has the limit of one file.
const LARGEST_ALBUM: u64 = LARGEST;
/// Most pixels of width and height of a photo together (docs/facts/telegram.md 5).
const PHOTO_SIDES: u64 = 10_000;
/// A photo's longer side is at most so many times the shorter (docs/facts/telegram.md 5).
const PHOTO_RATIO: u32 = 20;
/// Longest file name in the chat, in characters.
const NAME_LONGEST: usize = 100;
/// Longest ending that is kept when a name is cut.
const ENDING_LONGEST: usize = 16;

/// A file that goes with a reply, as its copy in the outbox is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedFile {
    /// The name in the chat.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// The hash of its content, in hexadecimal digits.
    pub sha256: String,
    /// How it is sent.
    pub kind: FileKind,
}

/// How a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// As a photo, which is seen at once; neighbours are an album.
    Photo,
    /// As it is, to be opened; neighbours are an album.
    Document,
    /// As it is, by itself. Telegram takes no WebP and no animation into an album of documents: it answers
    /// "wrong file identifier/HTTP URL specified".
    LoneDocument,
}

impl FileKind {
    /// How a file with this picture in it, or none, is sent.
    pub(crate) fn of(picture: Option<ImageInfo>, size: u64) -> Self {
        let Some(picture) = picture else {
            return Self::Document;
        };
        let (long, short) = (
            picture.width.max(picture.height),
            picture.width.min(picture.height),
        );
        let fits = size <= LARGEST_PHOTO
            && u64::from(long) + u64::from(short) <= PHOTO_SIDES
            && long <= short.saturating_mul(PHOTO_RATIO);
        match picture.format {
            Format::Png | Format::Jpeg | Format::WebP if fits => Self::Photo,
            Format::Png | Format::Jpeg => Self::Document,
            Format::WebP | Format::Moving => Self::LoneDocument,
        }
    }
}

/// Groups files into requests, by their numbers: neighbours of one kind, so that the order stays as the
/// agent wanted it.
pub fn group_albums(files: &[AttachedFile]) -> Vec<Vec<usize>> {
    let mut albums: Vec<(FileKind, u64, Vec<usize>)> = Vec::new();
    for (number, file) in files.iter().enumerate() {
        match albums.last_mut() {
            Some((kind, size, album))
                if *kind == file.kind
                    && file.kind != FileKind::LoneDocument
                    && album.len() < MOST
                    && *size + file.size <= LARGEST_ALBUM =>
            {
                *size += file.size;
                album.push(number);
            }
            _ => albums.push((file.kind, file.size, vec![number])),
        }
    }
    albums.into_iter().map(|(_, _, album)| album).collect()
}

/// Makes a file name safe to show: one line, no character that turns or hides a part of it, not too
/// long, with its ending.
pub fn clean_name(name: &str) -> String {
    let hidden = |symbol: char| {
        symbol.is_control()
            || matches!(symbol, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{061c}')
    };
    let clean: String = name
        .chars()
        .filter(|symbol| !hidden(*symbol))
        .map(|symbol| {
            // Separators of a path, and what ends a name within a header.
            if matches!(symbol, '/' | '\\' | '"') {
                '_'
            } else {
                symbol
            }
        })
        .collect();
    let clean = clean.trim();
    if clean.is_empty() {
        return "file".to_owned();
    }
    let length = clean.chars().count();
    if length <= NAME_LONGEST {
        return clean.to_owned();
    }
    let ending = clean
        .rsplit_once('.')
        .map(|(_, ending)| ending)
        .filter(|ending| ending.chars().count() <= ENDING_LONGEST)
        .map_or_else(String::new, |ending| format!(".{ending}"));
    let room = NAME_LONGEST - 1 - ending.chars().count();
    let start: String = clean.chars().take(room).collect();
    format!("{start}…{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(format: Format, width: u32, height: u32, size: u64) -> FileKind {
        let picture = ImageInfo {
            format,
            width,
            height,
        };
        FileKind::of(Some(picture), size)
    }

    fn file(kind: FileKind, size: u64) -> AttachedFile {
        AttachedFile {
            name: "a".to_owned(),
            size,
            sha256: String::new(),
            kind,
        }
    }

    #[test]
    fn a_picture_is_a_photo_up_to_telegrams_limits_and_a_document_beyond_each() {
        use FileKind::{Document, LoneDocument, Photo};
        for (format, width, height, size, expected) in [
            (Format::Png, 640, 480, 1000, Photo),
            (Format::WebP, 640, 480, 1000, Photo),
            (Format::Jpeg, 640, 480, LARGEST_PHOTO, Photo),
            (Format::Jpeg, 640, 480, LARGEST_PHOTO + 1, Document),
            (Format::Png, 5000, 5000, 1000, Photo),
            (Format::Png, 5000, 5001, 1000, Document),
            (Format::Png, 2000, 100, 1000, Photo),
            (Format::Png, 100, 2001, 1000, Document),
            (Format::WebP, 100, 2001, 1000, LoneDocument),
            (Format::Moving, 640, 480, 1000, LoneDocument),
            (Format::Png, u32::MAX, u32::MAX, 1000, Document),
        ] {
            assert_eq!(
                kind(format, width, height, size),
                expected,
                "{format:?} {width}x{height}, {size} bytes"
            );
        }
        assert_eq!(FileKind::of(None, 5), Document);
    }

    #[test]
    fn neighbours_of_one_kind_are_an_album_and_the_order_stays() {
        use FileKind::{Document, LoneDocument, Photo};
        for (kinds, expected) in [
            (vec![Photo, Photo, Photo], vec![vec![0, 1, 2]]),
            (
                vec![Photo, Document, Document, Photo],
                vec![vec![0], vec![1, 2], vec![3]],
            ),
            (vec![LoneDocument, LoneDocument], vec![vec![0], vec![1]]),
            (vec![], vec![]),
        ] {
            let files: Vec<AttachedFile> = kinds.iter().map(|kind| file(*kind, 1)).collect();
            assert_eq!(group_albums(&files), expected, "{kinds:?}");
        }
    }

    #[test]
    fn an_album_is_no_larger_than_one_request_may_be() {
        let files = [30, 20, 19, 2].map(|mega| file(FileKind::Document, mega * 1_000_000));
        assert_eq!(group_albums(&files), [vec![0, 1], vec![2, 3]]);
        let largest = [LARGEST, 1].map(|size| file(FileKind::Document, size));
        assert_eq!(group_albums(&largest), [[0], [1]]);
    }

    #[test]
    fn a_name_is_shown_without_what_could_mislead_and_with_its_ending() {
        for (name, shown) in [
            ("plot.png", "plot.png"),
            ("Übersicht 2.pdf", "Übersicht 2.pdf"),
            ("a\nb\u{7}.txt", "ab.txt"),
            ("gpj.\u{202e}exe", "gpj.exe"),
            ("a\"b\\c.txt", "a_b_c.txt"),
            ("\u{200b}\n", "file"),
            ("  x  ", "x"),
        ] {
            assert_eq!(clean_name(name), shown, "{name:?}");
        }
        let long = clean_name(&format!("{}.tar", "ä".repeat(300)));
        assert_eq!(long.chars().count(), NAME_LONGEST);
        assert!(long.ends_with("….tar"), "{long}");
    }
}
