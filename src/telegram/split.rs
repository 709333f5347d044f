//! Cutting a text with entities into messages. Pure.
//!
//! Telegram's limit counts Unicode code points, not UTF-16 units, and it honours about 100 entities
//! of a message (docs/facts/telegram.md 5). It strips white space at both ends, except before the first entity,
//! so every piece is stripped here already: what is stored is what arrives.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

use crate::telegram::format::{EntityStyle, Rich, Span, is_blank};

/// Most code points of one message.
pub const MESSAGE_LIMIT: usize = 4096;
/// Most code points below a photo or a file.
pub const CAPTION_LIMIT: usize = 1024;
/// Most entities of one message; further ones would show nothing.
pub const ENTITY_LIMIT: usize = 100;
/// Most bytes of the entities of one message. Telegram refuses somewhere near 9,500 (docs/facts/telegram.md 5).
pub const ENTITY_BYTES: usize = 8192;
/// Bytes of an entity without its address or language, at most.
const PLAIN_ENTITY_BYTES: usize = 20;
/// Stands for the rest of a text that must be one message.
const CUT_OFF: &str = "…";

/// Cuts a text into messages of at most `limit` code points, [`ENTITY_LIMIT`] entities and
/// [`ENTITY_BYTES`] of them. Prefers
/// the end of a paragraph, then of a line, then of a word, in the second half of a message; never
/// cuts a grapheme that fits into one. Formatting goes on behind a cut. A block of code or a table
/// that fits into one message stays whole. Blank text becomes one blank message.
pub fn split(rich: &Rich, limit: usize) -> Vec<Rich> {
    let cutter = Cutter::new(rich, limit.max(1));
    let mut pieces = Vec::new();
    let mut start = cutter.skip_blank(0);
    while start < rich.text.len() {
        let end = cutter.end(start);
        let piece = cutter.slice(start..end);
        // Telegram refuses a message of which nothing is seen.
        if !is_blank(&piece.text) {
            pieces.push(piece);
        }
        start = cutter.skip_blank(end);
    }
    if pieces.is_empty() {
        pieces.push(blank(rich, limit));
    }
    pieces
}

/// A text that shows nothing, as the one message that it is.
fn blank(rich: &Rich, limit: usize) -> Rich {
    if rich.code_points() <= limit {
        return rich.clone();
    }
    let text = rich.text.chars().take(limit).collect();
    Rich::from_spans(text, Vec::new())
}

/// A text as one message: its beginning, if it is too long.
pub fn fit(rich: &Rich, limit: usize) -> Rich {
    let cutter = Cutter::new(rich, limit.saturating_sub(CUT_OFF.chars().count()).max(1));
    let start = cutter.skip_blank(0);
    let whole = cutter.slice(start..rich.text.len());
    if whole.text.is_empty() {
        return blank(rich, limit);
    }
    if whole.code_points() <= limit {
        return whole;
    }
    let end = cutter.between_graphemes(start, cutter.hard_end(start));
    let mut beginning = cutter.slice(start..end);
    beginning.text.push_str(CUT_OFF);
    beginning
}

struct Cutter<'a> {
    text: &'a str,
    /// All entities, by where they begin.
    spans: Vec<Span>,
    /// How far each entity and those before it reach.
    reach: Vec<usize>,
    /// Blocks of code and tables, in order; they do not overlap.
    blocks: Vec<Range<usize>>,
    limit: usize,
}

impl<'a> Cutter<'a> {
    fn new(rich: &'a Rich, limit: usize) -> Self {
        let spans = rich.spans();
        let blocks = spans
            .iter()
            .filter(|span| span.entity.kind == EntityStyle::Pre)
            .map(|span| span.range.clone())
            .collect();
        let reach = spans
            .iter()
            .scan(0, |reach, span| {
                *reach = span.range.end.max(*reach);
                Some(*reach)
            })
            .collect();
        Self {
            text: &rich.text,
            spans,
            reach,
            blocks,
            limit,
        }
    }

    /// Where the next message begins: white space is left out, except for the indentation of code.
    fn skip_blank(&self, from: usize) -> usize {
        let rest = self.after(from);
        let solid = self.text.len() - rest.trim_start().len();
        match self.block_at(solid) {
            Some(block) => {
                let blank = self.text.get(from..solid).unwrap_or_default();
                let line = blank.rfind('\n').map_or(from, |index| from + index + 1);
                line.max(block.start)
            }
            None => solid,
        }
    }

    /// Where the message that begins at `start` ends, before white space is left out.
    fn end(&self, start: usize) -> usize {
        let hard = self.hard_end(start);
        if hard == self.text.len() {
            return hard;
        }
        if let Some(block) = self.block_at(hard).filter(|block| block.start < hard) {
            let fits = self.between(block.clone()).trim_end().chars().count() <= self.limit;
            if fits && !self.between(start..block.start).trim().is_empty() {
                return self.with_what_follows(start, block.start, start);
            }
        }
        let half = start
            + self
                .after(start)
                .chars()
                .take(self.limit / 2)
                .map(char::len_utf8)
                .sum::<usize>();
        for (separator, in_block) in [
            ("\n\n", false),
            ("\n", false),
            ("\n\n", true),
            ("\n", true),
            (" ", false),
            (" ", true),
        ] {
            if let Some(end) = self.behind(separator, in_block, half, hard) {
                return self.with_what_follows(start, end, half);
            }
        }
        self.between_graphemes(start, hard)
    }

    /// How far a message that begins at `start` can reach at most.
    fn hard_end(&self, start: usize) -> usize {
        let rest = self.after(start);
        let end = rest
            .char_indices()
            .nth(self.limit)
            .map_or(self.text.len(), |(index, _)| start + index);
        let mut room = EntityRoom::default();
        self.spans_behind(start)
            .find(|span| !room.takes(span))
            .map(|span| span.range.start)
            .filter(|&surplus| surplus > start)
            .map_or(end, |surplus| surplus.min(end))
    }

    /// The end of the last separator that begins up to `hard` and ends behind `half`, and that no
    /// grapheme holds together.
    fn behind(&self, separator: &str, in_block: bool, half: usize, hard: usize) -> Option<usize> {
        let fits = |end: usize| {
            let inside = self
                .block_at(end - separator.len())
                .is_some_and(|block| end < block.end);
            inside == in_block && self.is_boundary(end)
        };
        // One just behind the message costs it nothing.
        let beyond = hard + separator.len();
        if self.after(hard).starts_with(separator) && fits(beyond) {
            return Some(beyond);
        }
        self.between(0..hard)
            .rmatch_indices(separator)
            .map(|(index, _)| index + separator.len())
            .take_while(|&end| end > half)
            .find(|&end| fits(end))
    }

    /// Moves a cut before a heading or a line such as "For example:", which belong to what follows,
    /// but not to or before `least`.
    fn with_what_follows(&self, start: usize, end: usize, least: usize) -> usize {
        let head = self.between(start..end).trim_end();
        let Some(line) = head.rfind('\n').map(|index| start + index + 1) else {
            return end;
        };
        let end_of_line = start + head.len();
        let mut around = self
            .spans_behind(line)
            .take_while(|span| span.range.start <= line);
        let heading = around
            .any(|span| span.entity.kind == EntityStyle::Bold && end_of_line <= span.range.end);
        let belongs = heading || head.ends_with(':');
        if belongs && line > least && self.block_at(line).is_none() {
            line
        } else {
            end
        }
    }

    /// The last end of a grapheme up to `hard`; a single one that is longer is cut.
    fn between_graphemes(&self, start: usize, hard: usize) -> usize {
        if self.is_boundary(hard) {
            return hard;
        }
        match GraphemeCursor::new(hard, self.text.len(), true).prev_boundary(self.text, 0) {
            Ok(Some(boundary)) if boundary > start => boundary,
            Ok(_) | Err(_) => hard,
        }
    }

    fn is_boundary(&self, index: usize) -> bool {
        GraphemeCursor::new(index, self.text.len(), true)
            .is_boundary(self.text, 0)
            .unwrap_or(true)
    }

    /// One message: stripped at its end, with the formatting that lies in it.
    fn slice(&self, range: Range<usize>) -> Rich {
        let text = self.between(range.clone()).trim_end();
        let end = range.start + text.len();
        let mut room = EntityRoom::default();
        let spans = self
            .spans_behind(range.start)
            .take_while(|span| span.range.start < end)
            .filter_map(|span| {
                let clipped = span.range.start.max(range.start)..span.range.end.min(end);
                // Telegram drops formatting of nothing but white space.
                let shows = !is_blank(self.between(clipped.clone()));
                shows.then(|| Span {
                    range: clipped.start - range.start..clipped.end - range.start,
                    entity: span.entity.clone(),
                })
            })
            .take_while(|span| room.takes(span))
            .collect();
        Rich::from_spans(text.to_owned(), spans)
    }

    /// The entities that end behind a place.
    fn spans_behind(&self, start: usize) -> impl Iterator<Item = &Span> {
        let first = self.reach.partition_point(|reach| *reach <= start);
        let spans = self.spans.iter().skip(first);
        spans.filter(move |span| span.range.end > start)
    }

    /// The block of code or table that reaches over a place.
    fn block_at(&self, index: usize) -> Option<&Range<usize>> {
        let after = self.blocks.partition_point(|block| block.end <= index);
        self.blocks.get(after).filter(|block| block.start <= index)
    }

    fn after(&self, start: usize) -> &'a str {
        self.between(start..self.text.len())
    }

    fn between(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }
}

/// The share of a message's limits that its entities take.
#[derive(Default)]
struct EntityRoom {
    count: usize,
    bytes: usize,
}

impl EntityRoom {
    /// Takes an entity in, if it fits.
    fn takes(&mut self, span: &Span) -> bool {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.count += 1;
        self.bytes += PLAIN_ENTITY_BYTES + length(&span.entity.url) + length(&span.entity.language);
        self.count <= ENTITY_LIMIT && self.bytes <= ENTITY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telegram::format::{Entity, plain};

    fn cut(text: &str, limit: usize) -> Vec<String> {
        let pieces = split(&plain(text), limit);
        pieces.into_iter().map(|piece| piece.text).collect()
    }

    /// A text in which `[`, `]` mark a block of code and `*` begins and ends bold.
    fn rich(marked: &str) -> Rich {
        let (mut text, mut spans) = (String::new(), Vec::new());
        let (mut bold, mut block) = (None, 0);
        let mut span = |kind, range| {
            let entity = Entity::new(kind, 0, 0);
            spans.push(Span { range, entity });
        };
        for symbol in marked.chars() {
            match symbol {
                '[' => block = text.len(),
                ']' => span(EntityStyle::Pre, block..text.len()),
                '*' => match bold.take() {
                    Some(start) => span(EntityStyle::Bold, start..text.len()),
                    None => bold = Some(text.len()),
                },
                other => text.push(other),
            }
        }
        Rich::from_spans(text, spans)
    }

    /// The reverse of [`rich`].
    fn marked(rich: &Rich) -> String {
        let mut marks: Vec<(usize, char)> = Vec::new();
        for span in rich.spans() {
            let block = span.entity.kind == EntityStyle::Pre;
            let (open, close) = if block { ('[', ']') } else { ('*', '*') };
            marks.extend([(span.range.start, open), (span.range.end, close)]);
        }
        marks.sort_by_key(|(index, _)| *index);
        let mut text = rich.text.clone();
        for (index, mark) in marks.into_iter().rev() {
            text.insert(index, mark);
        }
        text
    }

    fn cut_marked(text: &str, limit: usize) -> Vec<String> {
        split(&rich(text), limit).iter().map(marked).collect()
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
        assert_eq!(cut("aaaa bbbb\n\nc", 9), ["aaaa bbbb", "c"]);
    }

    #[test]
    fn a_stretch_of_white_space_is_no_message() {
        assert_eq!(cut(&format!("a{}b", "\n".repeat(40)), 9), ["a", "b"]);
        assert_eq!(cut(&format!("{}b", "\n".repeat(40)), 9), ["b"]);
        assert_eq!(cut("  \n", 9), ["  \n"]);
    }

    #[test]
    fn a_grapheme_is_cut_only_if_it_is_longer_than_a_message() {
        let family = "👨‍👩‍👧‍👦";
        assert_eq!(cut(&family.repeat(2), 9), [family, family]);
        assert_eq!(
            cut("aaaaaaaa\u{301}\u{302}a", 9),
            ["aaaaaaa", "a\u{301}\u{302}a"]
        );
        let tower = format!("a{}b", "\u{301}".repeat(11));
        let pieces = [
            format!("a{}", "\u{301}".repeat(8)),
            format!("{}b", "\u{301}".repeat(3)),
        ];
        assert_eq!(cut(&tower, 9), pieces);
    }

    #[test]
    fn formatting_goes_on_behind_a_cut() {
        assert_eq!(cut_marked("*aaaaa bbbbb* c", 9), ["*aaaaa*", "*bbbbb* c"]);
        assert_eq!(
            cut_marked("[one two\n    three four]", 15),
            ["[one two]", "[    three four]"]
        );
    }

    #[test]
    fn a_block_that_fits_into_one_message_stays_whole() {
        assert_eq!(
            cut_marked("aa\n\n[bb\nbb\nbb\nbb]\nc", 12),
            ["aa", "[bb\nbb\nbb\nbb]", "c"]
        );
    }

    #[test]
    fn a_heading_goes_with_what_follows() {
        assert_eq!(
            cut_marked("aaaaaaaa\n*bb*\n\ncccccccc", 14),
            ["aaaaaaaa", "*bb*\n\ncccccccc"]
        );
        assert_eq!(
            cut_marked("aaa\nbb:\n[cc\ncc\ncc]", 12),
            ["aaa", "bb:\n[cc\ncc\ncc]"]
        );
    }

    #[test]
    fn no_message_has_more_entities_than_telegram_shows() {
        let pieces = split(&rich(&"*b* a ".repeat(250)), MESSAGE_LIMIT);
        let counts: Vec<usize> = pieces.iter().map(|piece| piece.entities.len()).collect();
        assert_eq!(counts, [100, 100, 50]);
    }

    #[test]
    fn no_message_has_more_bytes_of_entities_than_telegram_takes() {
        let url = format!("https://example.org/{}", "p".repeat(180));
        let text = format!("[a]({url}) ").repeat(60);
        let whole = crate::telegram::format::markdown(&text);
        let pieces = split(&whole, MESSAGE_LIMIT);
        let bytes = |piece: &Rich| -> usize {
            let urls = piece
                .entities
                .iter()
                .filter_map(|entity| entity.url.as_ref());
            urls.map(|url| 12 + url.len()).sum()
        };
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| bytes(piece) < 8500));
        let links: usize = pieces.iter().map(|piece| piece.entities.len()).sum();
        assert_eq!(links, 60);
    }

    #[test]
    fn what_must_be_one_message_loses_its_end() {
        assert_eq!(fit(&plain("aaa bbb"), 7).text, "aaa bbb");
        assert_eq!(marked(&fit(&rich("aaa *bbb*b"), 7)), "aaa *bb*…");
    }

    #[test]
    fn what_shows_nothing_is_one_message_that_is_not_too_long() {
        for text in ["\u{301}".repeat(21), " ".repeat(21), "\u{2800}".repeat(21)] {
            let all = rich(&text);
            let sizes: Vec<usize> = split(&all, 20).iter().map(Rich::code_points).collect();
            assert_eq!(sizes, [20], "{text:?}");
            assert!(fit(&all, 20).code_points() <= 20, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost_and_every_piece_is_sendable(text in "[ab😀👨‍👧\u{301} \n\t]{1,400}", limit in 4usize..60) {
            prop_assume!(text.contains(['a', 'b']));
            let seen = |text: &str| text.replace(|c| !"ab😀👨👧".contains(c), "");
            let pieces = cut(&text, limit);
            prop_assert_eq!(seen(&pieces.concat()), seen(&text));
            for piece in pieces {
                prop_assert_eq!(piece.trim(), &piece);
                prop_assert!(!piece.is_empty());
                prop_assert!(piece.chars().count() <= limit, "{:?}", piece);
            }
        }
    }
}
