//! Inline content of a block: styles, links, code, spoilers. Pure.

use std::ops::Range;

use super::super::clean;
use super::super::link::{LinkTarget, target};
use super::super::marks::HtmlTag;
use super::{Entity, EntityStyle, Inline, Means, Open, Renderer, Span, is_blank};

/// Most white space that is kept at the beginning of a line, in spaces.
const MAX_INDENTATION: usize = 16;

impl Renderer<'_> {
    pub(super) fn begin_inline(&mut self, at: usize) {
        if self.inline.is_some() {
            return;
        }
        match self.marker.take() {
            Some(marker) => {
                self.text.push_str(&marker);
                self.text.push(' ');
            }
            None => self.break_before(self.heading.unwrap_or(at)),
        }
        self.inline = Some(Inline {
            start: self.text.len(),
            cell: false,
        });
        if self.heading.is_some() {
            self.push_open(Means::Style(Entity::new(EntityStyle::Bold, 0, 0)));
        }
        for tag in self.tags.clone() {
            self.open_tag(tag);
        }
    }

    pub(super) fn end_inline(&mut self) {
        if self.inline.as_ref().is_some_and(|inline| inline.cell) {
            return;
        }
        while let Some(innermost) = self.open.len().checked_sub(1) {
            self.close_at(innermost);
        }
        self.heading = None;
        if let Some(inline) = self.inline.take() {
            let solid = self.text.trim_end().len().max(inline.start);
            self.text.truncate(solid);
        }
    }

    pub(super) fn line_break(&mut self) {
        match &self.inline {
            Some(inline) if inline.cell => self.text.push(' '),
            Some(_) => {
                self.text.push('\n');
                self.indent();
            }
            None => {}
        }
    }

    /// Keeps the white space that a line of a paragraph begins with: Markdown drops it, but people
    /// align things with it. Within a list it belongs to the list.
    pub(super) fn keep_indentation(&mut self, line_end: usize) {
        if self.containers.is_empty()
            && let Some((_, line)) = self
                .source
                .get(line_end..)
                .and_then(|rest| rest.split_once('\n'))
        {
            let indentation = line.bytes().take_while(|byte| *byte == b' ').count();
            self.text
                .extend(std::iter::repeat_n(' ', indentation.min(MAX_INDENTATION)));
        }
    }

    /// Text as it was written, with what its tags mean.
    pub(super) fn put(&mut self, text: &str) {
        let mut rest = text;
        if !text.is_ascii() {
            while let Some((at, symbol, (tag, opens))) = rest
                .char_indices()
                .find_map(|(at, symbol)| Some((at, symbol, self.marks.tag_of(symbol)?)))
            {
                self.put_plain(rest.get(..at).unwrap_or_default());
                if opens {
                    self.begin_tag(tag);
                } else {
                    self.end_tag(tag);
                }
                rest = rest.get(at + symbol.len_utf8()..).unwrap_or_default();
            }
        }
        self.put_plain(rest);
    }

    /// Text as it was written.
    fn put_plain(&mut self, text: &str) {
        // `&#x202e;` becomes a letter only now.
        let text = self.marks.restore(text);
        for (index, line) in clean(&text).split('\n').enumerate() {
            if index > 0 {
                self.line_break();
            }
            self.text.push_str(line);
        }
        self.visible = self.visible || !is_blank(&text);
    }

    fn begin_tag(&mut self, tag: HtmlTag) {
        match tag {
            HtmlTag::Style(_) => {
                self.open_tag(tag);
                self.tags.push(tag);
            }
            HtmlTag::Link => {
                if let Some(address) = self.addresses.pop_front() {
                    let here = self.source.len();
                    self.open_link(&address, here);
                    if let Some(open) = self.open.last_mut() {
                        open.tag = Some(tag);
                    }
                }
            }
        }
    }

    fn open_tag(&mut self, tag: HtmlTag) {
        let HtmlTag::Style(kind) = tag else {
            return;
        };
        let means = if self.is_in(kind) {
            Means::Nothing
        } else {
            Means::Style(Entity::new(kind, 0, 0))
        };
        self.push_open(means);
        if let Some(open) = self.open.last_mut() {
            open.tag = Some(tag);
        }
    }

    fn end_tag(&mut self, tag: HtmlTag) {
        if let Some(at) = self.tags.iter().rposition(|open| *open == tag) {
            self.tags.remove(at);
        }
        if let Some(at) = self.open.iter().rposition(|open| open.tag == Some(tag)) {
            self.close_at(at);
        }
    }

    /// Whether a style is open.
    fn is_in(&self, kind: EntityStyle) -> bool {
        self.open
            .iter()
            .any(|open| matches!(&open.means, Means::Style(entity) if entity.kind == kind))
    }

    pub(super) fn html(&mut self, text: &str) {
        let name = text.trim().trim_start_matches('<').trim_end_matches('>');
        let is_break = name.trim_end_matches('/').trim().eq_ignore_ascii_case("br");
        match &self.inline {
            Some(inline) if is_break && inline.cell => self.text.push_str(" / "),
            Some(_) if is_break => {
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.line_break();
            }
            _ => self.put(text),
        }
    }

    pub(super) fn code(&mut self, text: &str) {
        // Code and links do not nest; a link is worth more.
        if self.is_in(EntityStyle::TextLink) || is_blank(text) {
            self.put(text);
            return;
        }
        let start = self.text.len();
        self.put(text);
        self.format(Entity::new(EntityStyle::Code, 0, 0), start..self.text.len());
    }

    pub(super) fn open_style(
        &mut self,
        kind: EntityStyle,
        mark: &'static str,
        range: &Range<usize>,
    ) {
        self.begin_inline(range.start);
        let written = self.source.get(range.clone()).unwrap_or_default();
        let before = self.source.get(..range.start).unwrap_or_default();
        let after = self.source.get(range.end..).unwrap_or_default();
        let between_words = before.ends_with(|c: char| c.is_ascii_alphanumeric())
            && after.starts_with(|c: char| c.is_ascii_alphanumeric());
        let nested = self.is_in(kind);
        let in_slashes = written.trim_start_matches(mark).starts_with('/')
            && written.trim_end_matches(mark).ends_with('/')
            && written.contains(' ');
        // "5~6 and 7~8" strikes nothing through.
        let literal = match mark {
            "~~" if !written.starts_with("~~") => Some("~"),
            // "2*(3)*4" is no emphasis, nor what is between the globs "**/a" and "b/**".
            "*" | "**" if between_words || in_slashes => written.starts_with(mark).then_some(mark),
            _ => None,
        };
        if let Some(mark) = literal {
            self.text.push_str(mark);
        }
        self.push_open(match literal {
            Some(mark) => Means::Literal(mark),
            None if nested => Means::Nothing,
            None => Means::Style(Entity::new(kind, 0, 0)),
        });
    }

    pub(super) fn open_link(&mut self, address: &str, at: usize) {
        self.begin_inline(at);
        // A picture may lie in a link, and a link in the description of a picture.
        let in_link = self.open.iter().any(|open| match &open.means {
            Means::Style(entity) => entity.kind == EntityStyle::TextLink,
            Means::Local(_) | Means::Mail(_) => true,
            Means::Nothing | Means::Literal(_) => false,
        });
        self.push_open(match target(address) {
            _ if in_link => Means::Nothing,
            LinkTarget::Web(url) => Means::Style(Entity {
                url: Some(url),
                ..Entity::new(EntityStyle::TextLink, 0, 0)
            }),
            LinkTarget::Local(path) => Means::Local(path),
            LinkTarget::Mail(address) => Means::Mail(address),
            LinkTarget::Nowhere => Means::Nothing,
        });
    }

    /// A picture is a link to it, under its description.
    pub(super) fn open_image(&mut self, address: &str, range: &Range<usize>) {
        self.open_link(address, range.start);
        let written = self.source.get(range.clone()).unwrap_or_default();
        if written.starts_with("![]") {
            self.put("image");
        }
    }

    fn push_open(&mut self, means: Means) {
        self.open.push(Open {
            start: self.text.len(),
            means,
            tag: None,
        });
    }

    /// Closes the innermost formatting of Markdown.
    pub(super) fn close(&mut self) {
        if let Some(at) = self.open.iter().rposition(|open| open.tag.is_none()) {
            self.close_at(at);
        }
    }

    fn close_at(&mut self, at: usize) {
        if at >= self.open.len() {
            return;
        }
        let open = self.open.remove(at);
        let words = self.text.get(open.start..).unwrap_or_default();
        match open.means {
            Means::Style(entity) => {
                if let Some(url) = entity.url.as_deref().filter(|_| is_blank(words)) {
                    self.text.push_str(url);
                    self.visible = true;
                }
                self.format(entity, open.start..self.text.len());
            }
            Means::Literal(mark) => self.text.push_str(mark),
            Means::Local(path) => self.close_local(open.start, &path),
            Means::Mail(address) if !words.contains(&address) => {
                self.put(&format!(" ({address})"));
            }
            Means::Mail(_) | Means::Nothing => {}
        }
    }

    /// A path that says what its link says takes its place, else it follows.
    fn close_local(&mut self, start: usize, path: &str) {
        let words = self.text.get(start..).unwrap_or_default();
        if is_blank(words) || says(path, words) {
            self.text.truncate(start);
            for span in &mut self.spans {
                span.range.end = span.range.end.min(start);
            }
            self.spans.retain(|span| !span.range.is_empty());
            for open in &mut self.open {
                open.start = open.start.min(start);
            }
            self.code(path);
        } else {
            self.text.push_str(" (");
            self.code(path);
            self.text.push(')');
        }
    }

    /// Notes formatting, without white space at its ends.
    pub(super) fn format(&mut self, entity: Entity, range: Range<usize>) {
        let text = self.text.get(range.clone()).unwrap_or_default();
        if is_blank(text) {
            return;
        }
        let start = range.start + (text.len() - text.trim_start().len());
        let end = range.start + text.trim_end().len();
        self.spans.push(Span {
            range: start..end,
            entity,
        });
    }
}

/// Whether a path ends with the words of its link, but for the place in the file.
fn says(path: &str, words: &str) -> bool {
    path.rfind(words).is_some_and(|at| {
        let (before, rest) = path.split_at(at);
        let after = rest.strip_prefix(words).unwrap_or_default();
        (before.is_empty() || before.ends_with('/'))
            && (after.is_empty() || after.starts_with([':', '#', '?']))
    })
}

/// The rest of a range without other, sorted ranges.
pub(in crate::telegram::format) fn without(
    range: Range<usize>,
    holes: &[Range<usize>],
) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut from = range.start;
    let first = holes.partition_point(|hole| hole.end <= range.start);
    for hole in holes.iter().skip(first) {
        if hole.start >= range.end {
            break;
        }
        pieces.push(from..hole.start.max(from));
        from = hole.end;
    }
    pieces.push(from..range.end.max(from));
    pieces
}
