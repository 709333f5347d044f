//! The format and size of a picture, by its content. Pure: it reads whatever it is given.
//!
//! Width and height decide whether Telegram takes a picture as a photo (docs/facts/telegram.md 5). A file that only
//! looks like a picture is none, and neither is a JPEG with padding between its parts, which few programs write: it
//! goes out as a file.

use std::io::{self, BufRead, ErrorKind, Read as _, Seek};

use imagesize::{ImageError, ImageType, image_type, reader_size};

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

/// Reads the picture at the beginning of `file`; `None` if there is none.
pub(crate) fn read(file: &mut (impl BufRead + Seek)) -> io::Result<Option<ImageInfo>> {
    let mut head = Vec::new();
    file.by_ref().take(30).read_to_end(&mut head)?;
    file.rewind()?;
    // The flags of the extended form of WebP tell whether it moves.
    let has_flag = head.get(20).is_some_and(|flags| flags & 0x02 != 0);
    let moves = head.get(12..16) == Some(b"VP8X") && has_flag;
    let format = match image_type(&head) {
        Ok(ImageType::Png) => Format::Png,
        Ok(ImageType::Jpeg) => Format::Jpeg,
        Ok(ImageType::Webp) if !moves => Format::WebP,
        Ok(ImageType::Webp | ImageType::Gif) => Format::Moving,
        Ok(_) | Err(_) => return Ok(None),
    };
    let size = match reader_size(file) {
        Ok(size) => size,
        Err(ImageError::IoError(error))
            if !matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData
            ) =>
        {
            return Err(error);
        }
        Err(_) => return Ok(None),
    };
    let side = |pixels| u32::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    let both = side(size.width).zip(side(size.height));
    Ok(both.map(|(width, height)| ImageInfo {
        format,
        width,
        height,
    }))
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
        let jpeg = [&b"\xff\xd8"[..], &exif, b"\xff\xc4\0\x04ab", frame].concat();
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
