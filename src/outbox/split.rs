//! Cutting a text into messages. Pure.
//!
//! Telegram's limit counts Unicode code points, not UTF-16 units (telegram.md 5).

/// Most code points of one message.
pub const MESSAGE_LIMIT: usize = 4096;

/// Cuts a text into pieces of at most `limit` code points and returns the end of each, in bytes.
/// Prefers the end of a paragraph, then of a line, then of a word, in the second half of a piece.
/// A piece of nothing but white space, which Telegram refuses, goes with the piece before it or
/// is left out.
pub fn ends(text: &str, limit: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let (_, rest) = text.split_at(start);
        let end = start + piece(rest, limit);
        let (_, from_start) = text.split_at(start);
        let (this, _) = from_start.split_at(end - start);
        if !this.trim().is_empty() {
            ends.push(end);
        } else if let Some(last) = ends.last_mut() {
            // White space at a cut shows nothing and is trimmed, so it does not count.
            *last = end;
        } else {
            ends.push(end);
        }
        start = end;
    }
    // Leading white space belongs to the first piece that shows something.
    if ends.len() > 1
        && ends
            .first()
            .is_some_and(|&end| text.split_at(end).0.trim().is_empty())
    {
        ends.remove(0);
    }
    ends
}

/// The pieces of a text, cut at `ends`, as they are sent: without white space at either end, which
/// Telegram would strip as well.
pub fn pieces<'a>(text: &'a str, ends: &[usize]) -> Vec<&'a str> {
    let mut start = 0;
    ends.iter()
        .map(|&end| {
            let piece = text.get(start..end).unwrap_or_default();
            start = end;
            piece.trim()
        })
        .collect()
}

/// Where the first piece of a text ends, in bytes.
fn piece(text: &str, limit: usize) -> usize {
    let Some((hard, _)) = text.char_indices().nth(limit) else {
        return text.len();
    };
    let (head, _) = text.split_at(hard);
    let half = text
        .char_indices()
        .nth(limit / 2)
        .map_or(0, |(index, _)| index);
    ["\n\n", "\n", " "]
        .into_iter()
        .find_map(|end| {
            head.rfind(end)
                .map(|index| index + end.len())
                .filter(|&index| index > half)
        })
        .unwrap_or(hard)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str, limit: usize) -> Vec<&str> {
        pieces(text, &ends(text, limit))
    }

    #[test]
    fn a_text_that_fits_is_one_message() {
        let text = "😀".repeat(MESSAGE_LIMIT);
        assert_eq!(cut(&text, MESSAGE_LIMIT), [text.as_str()]);
        let longer = "😀".repeat(MESSAGE_LIMIT + 1);
        assert_eq!(cut(&longer, MESSAGE_LIMIT), [text.as_str(), "😀"]);
    }

    #[test]
    fn cuts_are_made_at_paragraphs_before_lines_before_words() {
        assert_eq!(cut("aaaa\n\nbb\ncc", 9), ["aaaa", "bb\ncc"]);
        assert_eq!(cut("aaaaa\nbb cc", 9), ["aaaaa", "bb cc"]);
        assert_eq!(cut("aaaaaa bbbb", 9), ["aaaaaa", "bbbb"]);
        assert_eq!(cut("aaaaaaaaaaa", 9), ["aaaaaaaaa", "aa"]);
    }

    #[test]
    fn a_stretch_of_white_space_is_no_message() {
        assert_eq!(cut(&format!("a{}b", "\n".repeat(40)), 9), ["a", "b"]);
        assert_eq!(cut(&format!("{}b", "\n".repeat(40)), 9), ["b"]);
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost_and_every_piece_is_sendable(text in "[ab😀 \n\t]{1,400}", limit in 4usize..60) {
            prop_assume!(!text.trim().is_empty());
            let solid = |text: &str| text.split_whitespace().collect::<String>();
            let pieces = cut(&text, limit);
            prop_assert_eq!(solid(&pieces.concat()), solid(&text));
            for piece in pieces {
                prop_assert!(!piece.trim().is_empty());
                prop_assert!(piece.chars().count() <= limit, "{:?}", piece);
            }
        }
    }
}
