//! Width and height of uploaded photos: PNG, JPEG and WebP.

/// The size of a picture in pixels; `None` if it is no picture that the server can read.
pub(crate) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => {
            let sides = bytes.get(16..24)?;
            let (width, height) = sides.split_at(4);
            Some((big(width), big(height)))
        }
        [0xff, 0xd8, segments @ ..] => jpeg(segments),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            chunk @ ..,
        ] => webp(chunk),
        _ => None,
    }
}

/// Whether it is a WebP, which is a sticker where it is no photo.
pub(crate) fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

fn jpeg(mut segments: &[u8]) -> Option<(u32, u32)> {
    while let [0xff, kind, high, low, rest @ ..] = segments {
        if *kind == 0xff {
            segments = segments.get(1..)?;
            continue;
        }
        if (0xc0..=0xcf).contains(kind) && ![0xc4, 0xc8, 0xcc].contains(kind) {
            return Some((big(rest.get(3..5)?), big(rest.get(1..3)?)));
        }
        let length = usize::from(*high) * 256 + usize::from(*low);
        segments = segments.get(2 + length..)?;
    }
    None
}

fn webp(chunk: &[u8]) -> Option<(u32, u32)> {
    let data = chunk.get(8..)?;
    match chunk.get(..4)? {
        b"VP8X" => Some((little(data.get(4..7)?) + 1, little(data.get(7..10)?) + 1)),
        b"VP8L" => {
            let bits = little(data.get(1..5)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => Some((
            little(data.get(6..8)?) & 0x3fff,
            little(data.get(8..10)?) & 0x3fff,
        )),
        _ => None,
    }
}

fn big(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}
