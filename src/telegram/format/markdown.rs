//! GitHub Markdown as text with entities. Pure.
//!
//! Which formatting may lie in which (Bot API, `MessageEntity`): code holds no other and lies in
//! none but a quote, quotes do not nest, links do not nest. Telegram drops what breaks this; here it
//! does not come to be. Line breaks stay as the agent wrote them, also those that Markdown folds.

use std::collections::VecDeque;
use std::ops::Range;

use pulldown_cmark::{
    BlockQuoteKind, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd,
};

pub(super) use super::nesting::nest_spans;
use super::table::{Table, TableCell};

use super::guard::{code_of, guard};
use super::html;
use super::marks::{HtmlTag, Marks};
use super::names::wrap_names;
use super::{Entity, EntityStyle, Rich, Span, is_blank};

pub(super) mod inline;

/// The text of a thematic break.
const RULE: &str = "──────────";
/// Deepest level that is still indented further.
const MAX_INDENT: usize = 8;
/// Longest name of a language, in bytes.
const MAX_LANGUAGE: usize = 32;

/// GitHub Markdown.
pub(super) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_GFM);

/// A text as Telegram shows it. Blank if nothing in it would be seen.
pub(super) fn render(source: &str) -> Rich {
    let Some(marks) = Marks::new(source) else {
        return read(source, Renderer::default());
    };
    let translated = html::translate(source, &marks, code_of);
    let guarded = guard(&translated.source, &marks);
    let source = guarded.as_deref().unwrap_or(&translated.source);
    let renderer = Renderer {
        marks,
        addresses: translated.addresses,
        ..Renderer::default()
    };
    read(source, renderer)
}

fn read<'a>(source: &'a str, renderer: Renderer<'a>) -> Rich {
    let mut parser = Parser::new_ext(source, OPTIONS).into_offset_iter();
    let events: Vec<(Event<'_>, Range<usize>)> = parser.by_ref().collect();
    let definitions = parser.reference_definitions();
    let used: Vec<usize> = events
        .iter()
        .filter_map(|(event, _)| {
            let Event::Start(Tag::Link { id, .. } | Tag::Image { id, .. }) = event else {
                return None;
            };
            Some(definitions.get(id)?.span.start)
        })
        .collect();
    // A definition without a reference would vanish: an agent's list of sources, for example.
    let mut unused: Vec<Range<usize>> = definitions
        .iter()
        .map(|(_, definition)| definition.span.clone())
        .filter(|span| !used.contains(&span.start))
        .collect();
    unused.sort_by_key(|span| std::cmp::Reverse(span.start));
    let mut renderer = Renderer {
        source,
        unused,
        ..renderer
    };
    for (event, range) in events {
        renderer.event(event, range);
    }
    renderer.unused_definitions(source.len() + 1);
    if !renderer.visible {
        return Rich::default();
    }
    wrap_names(&renderer.text, &mut renderer.spans);
    let spans = nest_spans(&renderer.text, renderer.spans);
    Rich::from_spans(renderer.text, spans)
}

#[derive(Default)]
struct Renderer<'a> {
    source: &'a str,
    marks: Marks,
    /// Where the links of HTML lead whose tags are still to come.
    addresses: VecDeque<String>,
    /// The HTML tags of styles that are open; they go on in the next paragraph.
    tags: Vec<HtmlTag>,
    /// Link definitions without a link, last first.
    unused: Vec<Range<usize>>,
    text: String,
    spans: Vec<Span>,
    containers: Vec<OpenBlock>,
    /// The prefix of an item's next content, on the same line.
    marker: Option<String>,
    /// The paragraph, heading or cell that is being written.
    inline: Option<Inline>,
    /// Formatting and links that are open in it, outer first.
    open: Vec<Open>,
    /// Where a heading begins whose text is still to come.
    heading: Option<usize>,
    code_block: Option<CodeBlock>,
    table: Option<Table>,
    /// Where the outermost quote begins, once something of it is written.
    quote: Option<usize>,
    /// Whether anything was written but marks of ours.
    visible: bool,
}

#[derive(PartialEq)]
enum OpenBlock {
    Quote,
    /// With the number of its last item.
    List(Option<u64>),
    Item,
}

struct Inline {
    start: usize,
    cell: bool,
}

struct Open {
    start: usize,
    means: Means,
    /// The HTML tag that ends it; else Markdown does.
    tag: Option<HtmlTag>,
}

enum Means {
    Style(Entity),
    /// Within the same style, where it changes nothing.
    Nothing,
    /// No formatting after all: the marks are shown.
    Literal(&'static str),
    /// A link that Telegram could not open.
    Local(String),
    /// A mail address, which Telegram finds in the text.
    Mail(String),
}

struct CodeBlock {
    at: usize,
    language: Option<String>,
    text: String,
}

impl Renderer<'_> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => {
                if let Some(block) = &mut self.code_block {
                    block.text.push_str(&self.marks.written(&text));
                } else {
                    self.begin_inline(range.start);
                    self.put(&text);
                }
            }
            Event::Code(text) => {
                self.begin_inline(range.start);
                let text = self.marks.written(&text);
                self.code(&text);
            }
            Event::Html(text) | Event::InlineHtml(text) => {
                self.begin_inline(range.start);
                self.html(&text);
            }
            Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.begin_inline(range.start);
                self.put(&text);
            }
            Event::FootnoteReference(label) => {
                self.begin_inline(range.start);
                self.put(&format!("[{label}]"));
            }
            Event::SoftBreak | Event::HardBreak => {
                self.line_break();
                self.keep_indentation(range.start);
            }
            Event::Rule => {
                self.end_inline();
                self.marker_alone();
                self.break_before(range.start);
                self.text.push_str(RULE);
            }
            Event::TaskListMarker(done) => {
                let sign = if done { "☑" } else { "☐" };
                let numbered = self.marker.take().filter(|marker| !is_bullet(marker));
                self.marker = Some(match numbered {
                    Some(number) => format!("{number} {sign}"),
                    None => sign.to_owned(),
                });
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        let at = range.start;
        match tag {
            Tag::Emphasis => self.open_style(EntityStyle::Italic, "*", &range),
            Tag::Strong => self.open_style(EntityStyle::Bold, "**", &range),
            Tag::Strikethrough => self.open_style(EntityStyle::Strikethrough, "~~", &range),
            Tag::Link {
                link_type: LinkType::Email,
                dest_url,
                ..
            } => self.open_link(&format!("mailto:{}", self.marks.written(&dest_url)), at),
            Tag::Link { dest_url, .. } => self.open_link(&self.marks.written(&dest_url), at),
            Tag::Image { dest_url, .. } => {
                self.open_image(&self.marks.written(&dest_url), &range);
            }
            Tag::Heading { .. } => {
                self.end_inline();
                self.heading = Some(at);
            }
            Tag::BlockQuote(kind) => {
                self.end_inline();
                self.marker_alone();
                self.containers.push(OpenBlock::Quote);
                if let Some(kind) = kind {
                    self.alert(kind, at);
                }
            }
            Tag::CodeBlock(kind) => {
                self.end_inline();
                self.code_block = Some(CodeBlock {
                    at,
                    language: match kind {
                        CodeBlockKind::Fenced(info) => language(&info),
                        CodeBlockKind::Indented => None,
                    },
                    text: String::new(),
                });
            }
            Tag::List(_) => {
                self.end_inline();
                self.containers.push(OpenBlock::List(None));
            }
            Tag::Item => self.item(at),
            Tag::FootnoteDefinition(label) => {
                self.end_inline();
                self.marker_alone();
                self.break_before(at);
                self.marker = Some(format!("[{}]", self.marks.written(&label)));
                self.visible = true;
            }
            Tag::Table(alignments) => {
                self.end_inline();
                self.marker_alone();
                self.table = Some(Table {
                    at,
                    alignments,
                    rows: Vec::new(),
                });
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                self.inline = Some(Inline {
                    start: self.text.len(),
                    cell: true,
                });
            }
            Tag::Paragraph
            | Tag::HtmlBlock
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::MetadataBlock(_)
            | Tag::Superscript
            | Tag::Subscript => self.end_inline(),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough
            | TagEnd::Link
            | TagEnd::Image => self.close(),
            TagEnd::BlockQuote(_) => {
                self.end_inline();
                self.containers.pop();
                if !self.containers.contains(&OpenBlock::Quote)
                    && let Some(start) = self.quote.take()
                {
                    // With its indentation: a quote begins at the beginning of a line.
                    let end = self.text.trim_end().len();
                    let entity = Entity::new(EntityStyle::Blockquote, 0, 0);
                    let range = start..end.max(start);
                    self.spans.push(Span { range, entity });
                }
            }
            TagEnd::CodeBlock => self.end_code_block(),
            TagEnd::List(_) => {
                self.end_inline();
                self.containers.pop();
            }
            TagEnd::Item => {
                self.end_inline();
                self.marker_alone();
                self.containers.pop();
            }
            TagEnd::FootnoteDefinition => {
                self.end_inline();
                self.marker_alone();
            }
            TagEnd::Table => self.end_table(),
            TagEnd::TableCell => self.end_cell(),
            TagEnd::TableHead | TagEnd::TableRow => {}
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::HtmlBlock
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::MetadataBlock(_)
            | TagEnd::Superscript
            | TagEnd::Subscript => self.end_inline(),
        }
    }

    /// Begins a new line for a block, or a new paragraph where the source has a blank line.
    fn break_before(&mut self, at: usize) {
        self.new_line(at);
        self.indent();
    }

    /// The same without indentation: code is copied as it stands.
    fn new_line(&mut self, at: usize) {
        self.unused_definitions(at);
        if !self.text.is_empty() {
            let before = self.source.get(..at).unwrap_or_default();
            let solid = before.trim_end_matches(|c: char| c.is_whitespace() || c == '>');
            let gap = before.get(solid.len()..).unwrap_or_default();
            let blank = gap.matches('\n').count() > 1;
            self.text.push_str(if blank { "\n\n" } else { "\n" });
        }
        if self.quote.is_none() && self.containers.contains(&OpenBlock::Quote) {
            self.quote = Some(self.text.len());
        }
    }

    /// Writes what stands before every line of the innermost item or quote.
    fn indent(&mut self) {
        let quote = self
            .containers
            .iter()
            .position(|container| *container == OpenBlock::Quote);
        // A quote begins at the beginning of its lines.
        let within = quote.map_or(0, |outermost| outermost + 1);
        let marks = self
            .containers
            .iter()
            .skip(within)
            .filter_map(|container| match container {
                OpenBlock::Item => Some("  "),
                // Quotes do not nest: an inner one keeps its mark.
                OpenBlock::Quote => Some("> "),
                OpenBlock::List(_) => None,
            });
        self.text.extend(marks.take(MAX_INDENT));
    }

    fn item(&mut self, at: usize) {
        self.end_inline();
        match self.marker.take() {
            // An item that begins with a list: both marks on one line.
            Some(marker) => {
                self.text.push_str(&marker);
                self.text.push(' ');
            }
            None => self.break_before(at),
        }
        let depth = self
            .containers
            .iter()
            .filter(|container| matches!(container, OpenBlock::List(_)))
            .count();
        let written = self.source.get(at..).unwrap_or_default().trim_start();
        let digits = written.bytes().take_while(u8::is_ascii_digit).count();
        let number: Option<u64> = written.get(..digits).and_then(|text| text.parse().ok());
        self.marker = Some(match (number, self.containers.last_mut()) {
            (Some(number), Some(OpenBlock::List(last))) => {
                // "1. 1. 1." is counted; "1. 3. 7." means what it says.
                let number = last.map_or(number, |last| number.max(last.saturating_add(1)));
                *last = Some(number);
                let closed = written
                    .get(digits..)
                    .is_some_and(|rest| rest.starts_with(')'));
                format!("{number}{}", if closed { ')' } else { '.' })
            }
            _ => bullet(depth).to_owned(),
        });
        self.containers.push(OpenBlock::Item);
    }

    /// Writes a mark that has no content on its line.
    fn marker_alone(&mut self) {
        if let Some(marker) = self.marker.take() {
            self.text.push_str(&marker);
        }
    }

    fn alert(&mut self, kind: BlockQuoteKind, at: usize) {
        let name = match kind {
            BlockQuoteKind::Note => "Note",
            BlockQuoteKind::Tip => "Tip",
            BlockQuoteKind::Important => "Important",
            BlockQuoteKind::Warning => "Warning",
            BlockQuoteKind::Caution => "Caution",
        };
        self.begin_inline(at);
        let start = self.text.len();
        self.text.push_str(name);
        self.format(Entity::new(EntityStyle::Bold, 0, 0), start..self.text.len());
        self.end_inline();
    }

    fn end_code_block(&mut self) {
        let Some(block) = self.code_block.take() else {
            return;
        };
        let text = expand_tabs(block.text.trim_end());
        if is_blank(&text) {
            return;
        }
        self.marker_alone();
        self.new_line(block.at);
        self.block(&text, block.language);
    }

    fn block(&mut self, text: &str, language: Option<String>) {
        let start = self.text.len();
        self.text.push_str(text);
        self.visible = true;
        let entity = Entity {
            language,
            ..Entity::new(EntityStyle::Pre, 0, 0)
        };
        let range = start..self.text.len();
        self.spans.push(Span { range, entity });
    }

    fn end_cell(&mut self) {
        let Some(inline) = self.inline.take() else {
            return;
        };
        let from = self
            .spans
            .partition_point(|span| span.range.start < inline.start);
        let spans = self.spans.split_off(from);
        let text = self.text.split_off(inline.start);
        let cell = TableCell {
            text,
            spans: spans
                .into_iter()
                .map(|span| Span {
                    range: span.range.start - inline.start..span.range.end - inline.start,
                    ..span
                })
                .collect(),
        };
        if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
            row.push(cell);
        }
    }

    fn end_table(&mut self) {
        let Some(table) = self.table.take() else {
            return;
        };
        self.inline = None;
        if let Some(text) = table.aligned() {
            if !is_blank(&text) {
                self.new_line(table.at);
                self.block(&text, None);
            }
            return;
        }
        let Some((head, rows)) = table.rows.split_first() else {
            return;
        };
        self.break_before(table.at);
        let mut named = vec![false; head.len()];
        let mut first = true;
        let mut fresh = true;
        for row in rows {
            let mut apart = !fresh;
            for (index, name) in head.iter().enumerate() {
                let nothing = TableCell::default();
                let cell = row.get(index).unwrap_or(&nothing);
                // Every name stands there at least once, and whole.
                let only_name = || {
                    let mut cells = rows.iter().filter_map(|row| row.get(index));
                    first && !name.is_blank() && cells.all(TableCell::is_blank)
                };
                if cell.is_blank() && !only_name() {
                    continue;
                }
                if apart {
                    self.text.push('\n');
                    apart = false;
                }
                if !fresh {
                    self.text.push('\n');
                    self.indent();
                }
                fresh = false;
                let short = named
                    .get_mut(index)
                    .is_some_and(|named| std::mem::replace(named, true));
                let name = if short {
                    name.label()
                } else {
                    name.text.clone()
                };
                self.field(name.trim().trim_end_matches(':'), cell, index == 0);
            }
            first = false;
        }
        if fresh {
            let cells: Vec<&str> = head.iter().map(|cell| cell.text.trim()).collect();
            self.text.push_str(&cells.join(", "));
            self.visible = true;
        }
        self.text.truncate(self.text.trim_end().len());
    }

    /// A cell of a table that is too wide, as a line of its own.
    fn field(&mut self, name: &str, cell: &TableCell, in_bold: bool) {
        let start = self.text.len();
        if !name.is_empty() {
            self.text.push_str(name);
            self.text.push_str(": ");
        }
        let shift = self.text.len();
        self.text
            .push_str(if cell.is_blank() { "–" } else { &cell.text });
        self.visible = true;
        let moved = |range: &Range<usize>| range.start + shift..range.end + shift;
        if in_bold {
            self.format(Entity::new(EntityStyle::Bold, 0, 0), start..self.text.len());
        }
        for span in &cell.spans {
            if !(in_bold && span.entity.kind == EntityStyle::Bold) {
                self.spans.push(Span {
                    range: moved(&span.range),
                    entity: span.entity.clone(),
                });
            }
        }
    }

    /// Writes the definitions before a place that no link refers to.
    fn unused_definitions(&mut self, before: usize) {
        while let Some(span) = self.unused.pop_if(|span| span.start < before) {
            self.break_before(span.start);
            let definition = self.source.get(span).unwrap_or_default().trim();
            self.text.push_str(&self.marks.written(definition));
            self.visible = true;
        }
    }
}

fn bullet(depth: usize) -> &'static str {
    match depth {
        0 | 1 => "•",
        2 => "◦",
        _ => "▪",
    }
}

fn is_bullet(marker: &str) -> bool {
    matches!(marker, "•" | "◦" | "▪")
}

/// The language of a block of code, from what stands behind its fence.
fn language(info: &str) -> Option<String> {
    let name = info
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | ':'))
        .next()?;
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-#._".contains(&byte));
    (plain && (1..=MAX_LANGUAGE).contains(&name.len())).then(|| name.to_owned())
}

/// Telegram makes one space of a tab, which would take away the indentation.
fn expand_tabs(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut column = 0;
    for symbol in text.chars() {
        match symbol {
            '\t' => {
                let width = 4 - column % 4;
                expanded.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' => {
                expanded.push('\n');
                column = 0;
            }
            symbol => {
                expanded.push(symbol);
                column += 1;
            }
        }
    }
    expanded
}
