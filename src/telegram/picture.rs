//! The format and size of a picture, by its content. Pure: it reads whatever it is given.
//!
//! Knows just enough of PNG, JPEG, WebP and GIF to tell width and height, which decide whether
//! Telegram takes a picture as a photo (docs/facts/telegram.md 5). A file that only looks like a picture is none.

use std::io::{self, Read, Seek, SeekFrom};

/// A picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageInfo {
    /// In which format it is.
    pub(crate) format: Format,
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
}

/// The formats that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP that stands still.
    WebP,
    /// GIF, or WebP that moves.
    Moving,
}

/// Most markers of a JPEG that are looked at in search of its size.
const MARKERS: usize = 1000;

/// Reads the picture at the beginning of `file`; `None` if there is none.
pub(crate) fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<ImageInfo>> {
    let mut head = [0; 30];
    let length = fill(file, &mut head)?;
    let head = head.get(..length).unwrap_or_default();
    if head.starts_with(b"\x89PNG\r\n\x1a\n") && head.get(12..16) == Some(b"IHDR") {
        let side = |at| Some(u32::from_be_bytes(array(head, at)?));
        return Ok(picture(Format::Png, side(16), side(20)));
    }
    if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
        let side = |at| Some(u32::from(u16::from_le_bytes(array(head, at)?)));
        return Ok(picture(Format::Moving, side(6), side(8)));
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        return Ok(webp(head));
    }
    if head.starts_with(b"\xff\xd8\xff") {
        return jpeg(file);
    }
    Ok(None)
}

fn picture(format: Format, width: Option<u32>, height: Option<u32>) -> Option<ImageInfo> {
    let (width, height) = (width?, height?);
    (width > 0 && height > 0).then_some(ImageInfo {
        format,
        width,
        height,
    })
}

fn webp(head: &[u8]) -> Option<ImageInfo> {
    match head.get(12..16)? {
        // Lossy: a key frame with its start code, then 14 bits for each side.
        b"VP8 " if head.get(23..26)? == b"\x9d\x01\x2a" => {
            let side = |at| Some(u32::from(u16::from_le_bytes(array(head, at)?) & 0x3fff));
            picture(Format::WebP, side(26), side(28))
        }
        // Lossless: 14 bits for each side, less one, behind a signature.
        b"VP8L" if *head.get(20)? == 0x2f => {
            let bits = u32::from_le_bytes(array(head, 21)?);
            let side = |bits: u32| Some((bits & 0x3fff) + 1);
            picture(Format::WebP, side(bits), side(bits >> 14))
        }
        // Extended: flags, then 24 bits for each side, less one.
        b"VP8X" => {
            let side = |at| {
                let [a, b, c]: [u8; 3] = array(head, at)?;
                Some(u32::from_le_bytes([a, b, c, 0]) + 1)
            };
            let moves = head.get(20)? & 0x02 != 0;
            let format = if moves { Format::Moving } else { Format::WebP };
            picture(format, side(24), side(27))
        }
        _ => None,
    }
}

/// Goes from marker to marker up to the one that holds the size.
fn jpeg(file: &mut (impl Read + Seek)) -> io::Result<Option<ImageInfo>> {
    file.seek(SeekFrom::Start(2))?;
    for _ in 0..MARKERS {
        let mut marker = [0; 2];
        if fill(file, &mut marker)? < 2 {
            return Ok(None);
        }
        let [0xff, kind] = marker else {
            return Ok(None);
        };
        match kind {
            // Padding before a marker.
            0xff => {
                file.seek(SeekFrom::Current(-1))?;
                continue;
            }
            // Markers without anything behind them.
            0x01 | 0xd0..=0xd8 => continue,
            // The picture itself begins, or is over, and no size was there.
            0xd9 | 0xda => return Ok(None),
            _ => {}
        }
        let mut segment = [0; 7];
        let length = fill(file, &mut segment)?;
        let read = i64::try_from(length).unwrap_or(0);
        let segment = segment.get(..length).unwrap_or_default();
        // The frames: all from C0 to CF but the tables C4, C8 and CC.
        if matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc) {
            let side = |at| Some(u32::from(u16::from_be_bytes(array(segment, at)?)));
            return Ok(picture(Format::Jpeg, side(5), side(3)));
        }
        let Some(size) = array(segment, 0).map(u16::from_be_bytes) else {
            return Ok(None);
        };
        file.seek(SeekFrom::Current(i64::from(size) - read))?;
    }
    Ok(None)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads as much as there is and fits.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Option<(Format, u32, u32)> {
        let found = read(&mut io::Cursor::new(bytes)).unwrap();
        found.map(|picture| (picture.format, picture.width, picture.height))
    }

    fn webp(chunk: &[u8]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WEBP", chunk, &[0; 20]].concat()
    }

    #[test]
    fn a_png_has_its_size_at_its_head() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02";
        assert_eq!(of(png), Some((Format::Png, 640, 480)));
    }

    #[test]
    fn a_jpeg_has_its_size_behind_whatever_a_camera_wrote_before_it() {
        let exif = [&b"\xff\xe1\xff\xff"[..], &vec![7; 0xfffd]].concat();
        let frame = b"\xff\xc2\0\x11\x08\x01\xe0\x02\x80\x03";
        let jpeg = [&b"\xff\xd8"[..], &exif, b"\xff\xff\xc4\0\x04ab", frame].concat();
        assert_eq!(of(&jpeg), Some((Format::Jpeg, 640, 480)));
        assert_eq!(of(b"\xff\xd8\xff\xda\0\x02"), None);
        assert_eq!(of(b"\xff\xd8\xff\xe0\0"), None);
        assert_eq!(of(b"\xff\xd8\xff\xe0\0\0"), None);
    }

    #[test]
    fn each_kind_of_webp_is_read_and_a_moving_one_is_no_photo() {
        let lossy = webp(b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x80\x02\xe0\x01");
        assert_eq!(of(&lossy), Some((Format::WebP, 640, 480)));
        let bits: u32 = 639 + (479 << 14);
        let lossless = [&b"VP8L\0\0\0\0\x2f"[..], &bits.to_le_bytes()].concat();
        assert_eq!(of(&webp(&lossless)), Some((Format::WebP, 640, 480)));
        let extended = |flags: u8| {
            let head = [b"VP8X\0\0\0\0", &[flags, 0, 0, 0][..]].concat();
            webp(&[&head[..], &[0x7f, 2, 0, 0xdf, 1, 0]].concat())
        };
        assert_eq!(of(&extended(0x10)), Some((Format::WebP, 640, 480)));
        assert_eq!(of(&extended(0x12)), Some((Format::Moving, 640, 480)));
    }

    #[test]
    fn what_is_no_picture_or_is_cut_off_is_none() {
        for bytes in [
            &b""[..],
            b"plain text",
            b"\x89PNG\r\n\x1a\n",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\0\0",
            b"RIFF\0\0\0\0WEBP",
            b"RIFF\0\0\0\0WAVEfmt ",
            b"GIF89a\x01",
        ] {
            assert_eq!(of(bytes), None, "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(
            start in 0..5usize,
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let starts: [&[u8]; 5] = [b"", b"\xff\xd8", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"\x89PNG\r\n\x1a\n"];
            let _picture = of(&[starts[start], &bytes].concat());
        }
    }
}
