//! Simple HTML as formatting: `<b> <i> <u> <s> <code> <pre> <a href> <blockquote>` and their like. Pure.
//!
//! Only tags with their end and without further attributes are formatting; all others are text, as
//! an agent may well write `Vec<i>`. Text within tags is Markdown as outside of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use super::EntityStyle;
use super::marks::{HtmlTag, Marks};

/// How often tags that turn out to lie in code are given up, before all are.
const MAX_TRIES: usize = 4;
/// Most tags of one source; a source with more keeps them as text.
const MAX_TAGS: usize = 4000;
/// Longest tag, in bytes.
const MAX_TAG: usize = 2100;

/// A source whose simple tags have been replaced.
pub(super) struct TranslatedHtml<'a> {
    /// With a mark per tag of a style or a link; Markdown in place of code and quotes.
    pub(super) source: Cow<'a, str>,
    /// Where the links lead, in order.
    pub(super) addresses: VecDeque<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TagName {
    Inline(HtmlTag),
    Code,
    Pre,
    Quote,
}

struct FoundTag {
    name: TagName,
    opens: bool,
    range: Range<usize>,
    address: Option<String>,
}

/// A tag with its end.
struct Element {
    name: TagName,
    open: Range<usize>,
    close: Range<usize>,
    address: Option<String>,
}

/// Replaces the simple tags of a source. `code_of` says where a source has code.
pub(super) fn translate<'a>(
    source: &'a str,
    marks: &Marks,
    code_of: impl Fn(&str) -> Vec<Range<usize>>,
) -> TranslatedHtml<'a> {
    let untouched = TranslatedHtml {
        source: Cow::Borrowed(source),
        addresses: VecDeque::new(),
    };
    if !source.contains("</") {
        return untouched;
    }
    let mut tags = find_tags(source, &code_of(source));
    if tags.len() > MAX_TAGS {
        return untouched;
    }
    for _ in 0..MAX_TRIES {
        let elements = pair_tags(source, &tags);
        if elements.is_empty() {
            break;
        }
        let (translated, origins) = rewrite(source, elements, marks);
        // A block of HTML hides the code in it from the first look.
        let code = code_of(&translated.source);
        let hidden: Vec<usize> = origins
            .into_iter()
            .filter(|(at, _)| contains(&code, *at))
            .map(|(_, origin)| origin)
            .collect();
        if hidden.is_empty() {
            return translated;
        }
        tags.retain(|tag| !hidden.contains(&tag.range.start));
    }
    untouched
}

/// Whether one of sorted ranges contains a place.
pub(super) fn contains(ranges: &[Range<usize>], at: usize) -> bool {
    let index = ranges.partition_point(|range| range.end <= at);
    ranges.get(index).is_some_and(|range| range.start <= at)
}

fn find_tags(source: &str, code: &[Range<usize>]) -> Vec<FoundTag> {
    source
        .match_indices('<')
        .filter(|(at, _)| !contains(code, *at))
        .filter_map(|(at, _)| {
            let mut ahead = source.as_bytes().iter().skip(at + 1).take(MAX_TAG);
            let end = at + 1 + ahead.position(|byte| *byte == b'>')? + 1;
            let inner = source.get(at + 1..end - 1)?;
            let (opens, inner) = match inner.strip_prefix('/') {
                Some(inner) => (false, inner.trim_end()),
                None => (true, inner),
            };
            let (name, address) = read_tag(inner, opens)?;
            Some(FoundTag {
                name,
                opens,
                range: at..end,
                address,
            })
        })
        .collect()
}

/// Reads what stands between `<` and `>`.
fn read_tag(inner: &str, opens: bool) -> Option<(TagName, Option<String>)> {
    let style = |style| TagName::Inline(HtmlTag::Style(style));
    let (name, attributes) = inner.split_once([' ', '\n']).unwrap_or((inner, ""));
    let attributes = attributes.trim();
    let lower = name.to_ascii_lowercase();
    if lower == "a" {
        let address = attribute(attributes, "href");
        let complete = !opens || address.is_some();
        return complete.then_some((TagName::Inline(HtmlTag::Link), address));
    }
    let found = match lower.as_str() {
        "b" | "strong" => style(EntityStyle::Bold),
        "i" | "em" => style(EntityStyle::Italic),
        "u" | "ins" => style(EntityStyle::Underline),
        "s" | "strike" | "del" => style(EntityStyle::Strikethrough),
        "tg-spoiler" => style(EntityStyle::Spoiler),
        "code" if attributes.starts_with("class=") => return Some((TagName::Code, None)),
        "code" => TagName::Code,
        "pre" => TagName::Pre,
        "blockquote" if attributes == "expandable" => return Some((TagName::Quote, None)),
        "blockquote" => TagName::Quote,
        _ => return None,
    };
    attributes.is_empty().then_some((found, None))
}

/// The value of the only attribute, if it is this one.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (written, value) = attributes.split_once('=')?;
    if !written.trim_end().eq_ignore_ascii_case(name) {
        return None;
    }
    let value = value.trim();
    let quoted = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    let whole = !value.is_empty() && !value.contains(['"', '\'', '\n']);
    whole.then(|| decode(value))
}

/// The tags that have their end, outermost only of code.
fn pair_tags(source: &str, tags: &[FoundTag]) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<&FoundTag> = Vec::new();
    let mut raw_until = 0;
    for (index, tag) in tags.iter().enumerate() {
        if tag.range.start < raw_until {
            continue;
        }
        let is_raw = matches!(tag.name, TagName::Code | TagName::Pre);
        if is_raw && tag.opens {
            let mut rest = tags.iter().skip(index + 1);
            if let Some(end) = rest.find(|end| end.name == tag.name && !end.opens) {
                let inner = source.get(tag.range.end..end.range.start);
                let inner = inner.unwrap_or_default();
                let is_shown = !super::is_blank(inner);
                if is_shown && (tag.name == TagName::Pre || !inner.contains("\n\n")) {
                    raw_until = end.range.end;
                    elements.push(element(tag, end));
                }
            }
        } else if tag.opens {
            open.push(tag);
        } else if let Some(at) = open.iter().rposition(|opened| opened.name == tag.name) {
            if let Some(opened) = open.get(at) {
                elements.push(element(opened, tag));
            }
            open.remove(at);
        }
    }
    elements
}

fn element(open: &FoundTag, close: &FoundTag) -> Element {
    Element {
        name: open.name,
        open: open.range.clone(),
        close: close.range.clone(),
        address: open.address.clone(),
    }
}

/// The new source, and for each new piece its place there and in the old source.
fn rewrite<'a>(
    source: &str,
    elements: Vec<Element>,
    marks: &Marks,
) -> (TranslatedHtml<'a>, Vec<(usize, usize)>) {
    let mut edits: Vec<(Range<usize>, String, bool)> = Vec::new();
    let mut quotes: Vec<Range<usize>> = Vec::new();
    let mut addresses: Vec<(usize, String)> = Vec::new();
    for element in elements {
        let (open, close) = (element.open, element.close);
        let inner = source.get(open.end..close.start).unwrap_or_default();
        match element.name {
            TagName::Inline(tag) => {
                let mark = |opens| marks.tag(tag, opens).map(String::from).unwrap_or_default();
                if let Some(address) = element.address {
                    addresses.push((open.start, address));
                }
                edits.push((open, mark(true), true));
                edits.push((close, mark(false), true));
            }
            TagName::Code if !inner.contains('\n') => {
                let span = code_span(&decode(inner), marks);
                edits.push((open.start..close.end, span, false));
            }
            TagName::Code | TagName::Pre => {
                let range = open.start..close.end;
                let block = code_block(source, &range, inner);
                edits.push((range, block, false));
            }
            // At the beginning of a line of its own a fence would swallow its first word.
            TagName::Quote if inner.contains("```") || inner.contains("~~~") => {}
            TagName::Quote => quotes.push(open.start..close.end),
        }
    }
    put_quotes(source, quotes, &mut edits);
    edits.sort_by_key(|(range, ..)| (range.start, range.end));
    addresses.sort_by_key(|(at, _)| *at);
    let (mut text, mut origins) = (String::with_capacity(source.len()), Vec::new());
    let mut from = 0;
    for (range, new, is_mark) in edits {
        text.push_str(source.get(from..range.start).unwrap_or_default());
        if is_mark {
            origins.push((text.len(), range.start));
        }
        text.push_str(&new);
        from = range.end.max(from);
    }
    text.push_str(source.get(from..).unwrap_or_default());
    let translated = TranslatedHtml {
        source: Cow::Owned(text),
        addresses: addresses.into_iter().map(|(_, address)| address).collect(),
    };
    (translated, origins)
}

/// Quotes become lines that begin with `>`; one in a quote stays text.
fn put_quotes(
    source: &str,
    mut quotes: Vec<Range<usize>>,
    edits: &mut Vec<(Range<usize>, String, bool)>,
) {
    quotes.sort_by_key(|quote| quote.start);
    let is_quoted = |at: usize| quotes.iter().any(|quote| quote.contains(&at));
    for (range, new, _) in edits.iter_mut() {
        if new.contains('\n') && is_quoted(range.start) {
            *new = new.trim_end().replace('\n', "\n> ") + "\n> ";
        }
    }
    let mut whole_pieces: Vec<Range<usize>> =
        edits.iter().map(|(range, ..)| range.clone()).collect();
    whole_pieces.sort_by_key(|range| range.start);
    let mut until = 0;
    for quote in quotes {
        if quote.start < until {
            continue;
        }
        until = quote.end;
        let whole = source.get(quote.clone()).unwrap_or_default();
        let head = whole.find('>').map_or(0, |at| at + 1);
        let tail = whole.rfind('<').unwrap_or(whole.len());
        let inner = whole.get(head..tail).unwrap_or_default();
        let lead = inner.len() - inner.trim_start().len();
        let inner_start = quote.start + head + lead;
        let inner_end = inner_start + inner.trim().len();
        let before = source.get(..quote.start).unwrap_or_default();
        let own_line = before.is_empty() || before.ends_with('\n');
        let begin = if own_line { "> " } else { "\n> " };
        edits.push((quote.start..inner_start, begin.to_owned(), false));
        for (at, _) in source
            .get(inner_start..inner_end)
            .unwrap_or_default()
            .match_indices('\n')
        {
            let place = inner_start + at + 1;
            // Blocks of code within are one edit, which has its own lines.
            if !contains(&whole_pieces, place) {
                edits.push((place..place, "> ".to_owned(), false));
            }
        }
        let rest = source.get(quote.end..).unwrap_or_default();
        let end = if rest.trim().is_empty() { "" } else { "\n\n" };
        let spaces = rest.len() - rest.trim_start().len();
        edits.push((inner_end..quote.end + spaces, end.to_owned(), false));
    }
}

/// Text as code of Markdown: between marks that are longer than those in it.
fn code_span(text: &str, marks: &Marks) -> String {
    let longest = longest_run(text, '`');
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) {
        " "
    } else {
        ""
    };
    // Three at the beginning of a line would begin a block.
    let begin = if longest > 1 {
        String::from(marks.joint())
    } else {
        String::new()
    };
    format!("{begin}{fence}{pad}{text}{pad}{fence}")
}

fn code_block(source: &str, range: &Range<usize>, inner: &str) -> String {
    let mut language = String::new();
    let mut text = inner;
    if let Some(rest) = inner.trim_start().strip_prefix("<code")
        && let Some((attributes, body)) = rest.split_once('>')
        && let Some(body) = body.trim_end().strip_suffix("</code>")
    {
        let class = attribute(attributes.trim(), "class").unwrap_or_default();
        class
            .trim_start_matches("language-")
            .clone_into(&mut language);
        text = body;
    }
    let text = decode(text.strip_prefix('\n').unwrap_or(text));
    let fence = "`".repeat(longest_run(&text, '`').max(2) + 1);
    let before = source.get(..range.start).unwrap_or_default();
    let own_line = before.is_empty() || before.ends_with('\n');
    let begin = if own_line { "" } else { "\n" };
    let behind = source.get(range.end..).unwrap_or_default();
    let end = if behind.is_empty() || behind.starts_with('\n') {
        ""
    } else {
        "\n"
    };
    let text = text.trim_end();
    format!("{begin}{fence}{language}\n{text}\n{fence}{end}")
}

fn longest_run(text: &str, mark: char) -> usize {
    let runs = text.split(|symbol| symbol != mark);
    runs.map(str::len).max().unwrap_or(0)
}

/// The characters that HTML demands to be written by name.
fn decode(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}
