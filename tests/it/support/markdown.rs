//! Markdown for tests: documents, a generator of nasty ones, and what must hold of their messages.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::json;
use telepost::state::outbox::delivery::{Content, DeliveryState};
use telepost::telegram::format::{EntityStyle, Rich, is_blank, markdown};
use telepost::telegram::split::{fit, split};

/// The documents of `tests/data/markdown`, each with its title.
pub(crate) fn documents() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/markdown");
    let mut documents = Vec::new();
    for name in ["answers.md", "corners.md", "world.md"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        for document in text.split("%%%% ").skip(1) {
            let (title, source) = document.split_once('\n').unwrap();
            documents.push((format!("{name}: {title}"), source.to_owned()));
        }
    }
    documents
}

/// Rules for every text that is cut into messages: Telegram takes each of them as it is, and
/// together they say what the source says.
pub(crate) fn judge(source: &str, limit: usize) -> Result<Vec<Rich>, String> {
    let whole = markdown(source);
    let pieces = split(&whole, limit);
    for piece in &pieces {
        takes(piece, limit)?;
        takes(&piece.below("↻ may repeat\n"), limit + 13)?;
    }
    takes(&fit(&whole, limit), limit)?;
    let said: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    says(source, &said)?;
    let blocks = |pieces: &[Rich]| solid(&pieces.iter().map(in_blocks).collect::<String>());
    if blocks(&pieces) != blocks(&[whole]) {
        return Err("a cut changed what is in blocks of code".to_owned());
    }
    Ok(pieces)
}

/// The same for messages that are cut again at run time.
pub(crate) fn judge_repairs(source: &str) -> Result<(), String> {
    let content = Content::Reply {
        text: source.to_owned(),
        files: Vec::new(),
        options: Vec::new(),
    };
    let mut progress = DeliveryState::plan(&content);
    for index in (0..progress.parts.len()).rev() {
        progress.halve(index);
    }
    for index in (0..progress.parts.len()).rev() {
        progress.doubted(index, String::new());
    }
    progress.without_entities(0);
    let mut said = String::new();
    for index in 0..progress.parts.len() {
        let message = progress.text(index);
        takes(&message, 4096)?;
        said.push_str(
            message
                .text
                .strip_prefix("↻ may repeat\n")
                .ok_or("no mark")?,
        );
    }
    says(source, &said)
}

/// Telegram takes a message, and neither moves nor drops anything.
fn takes(piece: &Rich, limit: usize) -> Result<(), String> {
    let entities = json!(piece.entities);
    let (text, kept) = telegram_sim::check_text(&piece.text, &entities, limit)?;
    if is_blank(&text) || text != piece.text {
        return Err(format!("{:?} would arrive as {text:?}", piece.text));
    }
    if json!(kept) != entities {
        return Err(format!("{entities} would arrive as {}", json!(kept)));
    }
    Ok(())
}

fn in_blocks(piece: &Rich) -> String {
    piece
        .spans()
        .into_iter()
        .filter(|span| span.entity.kind == EntityStyle::Pre)
        .map(|span| piece.text[span.range].to_owned())
        .collect()
}

fn solid(text: &str) -> String {
    // The Hangul filler is an invisible letter.
    text.replace(
        |symbol: char| !symbol.is_alphanumeric() || symbol == '\u{3164}',
        "",
    )
}

/// All letters and digits of the source's text stand in what is sent, in order; those of a table
/// may stand in another order.
fn says(source: &str, said: &str) -> Result<(), String> {
    // Characters that Telegram removes are removed before Markdown is read.
    let removed = |symbol: char| {
        symbol.is_control() && !"\r\n\t".contains(symbol)
            || matches!(symbol, '\u{202a}'..='\u{202e}' | '\u{feff}')
    };
    let source = source
        .replace(removed, "")
        .replace("\r\n", "\n")
        .replace(['\r', '\u{2028}', '\u{2029}'], "\n");
    let tagless = without_tags(&source);
    let has_tags = tagless != source;
    if has_tags {
        return says_words(&tagless, &solid(said));
    }
    let source = without_pipes(&tagless);
    let (mut text, mut cells, mut in_table) = (String::new(), String::new(), false);
    for (event, range) in Parser::new_ext(&source, OPTIONS).into_offset_iter() {
        match event {
            Event::Start(Tag::Table(columns)) => {
                in_table = true;
                cells.push_str(&surplus(&source[range], columns.len()));
            }
            Event::End(TagEnd::Table) => in_table = false,
            Event::Text(words) | Event::Code(words) if in_table => cells.push_str(&words),
            Event::Text(words) | Event::Code(words) => text.push_str(&words),
            Event::Html(words) | Event::InlineHtml(words) if !words.contains("br") => {
                (if in_table { &mut cells } else { &mut text }).push_str(&words);
            }
            Event::Start(_)
            | Event::End(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    let said = solid(said);
    let mut rest = said.chars();
    for (at, symbol) in solid(&text).chars().enumerate() {
        if !rest.any(|there| there == symbol) {
            let before: String = solid(&text).chars().take(at).collect();
            return Err(format!("{symbol:?} of the text is lost behind {before:?}"));
        }
    }
    let count = |text: &str, symbol| text.chars().filter(|there| *there == symbol).count();
    let everything = solid(&(text + &cells));
    let mut symbols: Vec<char> = solid(&cells).chars().collect();
    symbols.sort_unstable();
    symbols.dedup();
    match symbols
        .into_iter()
        .find(|symbol| count(&said, *symbol) < count(&everything, *symbol))
    {
        Some(symbol) => Err(format!("{symbol:?} of a table is lost")),
        None => Ok(()),
    }
}

/// The same of a source with tags. Markdown alone does not tell what these enclose, so only words that are beyond
/// doubt are counted: those of lines without links, code and escapes.
fn says_words(source: &str, said: &str) -> Result<(), String> {
    let doubtful = |line: &&str| line.contains(['`', '[', ']', '(', ')', '&', '~', '\\', ':', '"']);
    let lines = source.lines().filter(|line| !doubtful(line));
    let words = lines.flat_map(str::split_whitespace);
    let plain = words.filter(|word| word.chars().all(char::is_alphanumeric));
    let mut wanted: BTreeMap<char, usize> = BTreeMap::new();
    for symbol in solid(&plain.collect::<String>()).chars() {
        *wanted.entry(symbol).or_default() += 1;
    }
    let count = |symbol: char| said.chars().filter(|there| *there == symbol).count();
    match wanted
        .into_iter()
        .find(|(symbol, many)| count(*symbol) < *many)
    {
        Some((symbol, _)) => Err(format!("{symbol:?} of a plain word is lost")),
        None => Ok(()),
    }
}

const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS)
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_GFM);

/// Where a source has something of a kind.
fn places(source: &str, wanted: impl Fn(&Event<'_>) -> bool) -> Vec<Range<usize>> {
    let events = Parser::new_ext(source, OPTIONS).into_offset_iter();
    events
        .filter(|(event, _)| wanted(event))
        .map(|(_, range)| range)
        .collect()
}

fn is_code(event: &Event<'_>) -> bool {
    matches!(event, Event::Code(_) | Event::Start(Tag::CodeBlock(_)))
}

/// The text of cells for which a table has no column; Markdown drops them.
fn surplus(table: &str, columns: usize) -> String {
    let mut words = String::new();
    for row in table.lines().skip(2).filter(|row| !row.contains('`')) {
        let row = row.trim_start_matches([' ', '>', '\t']).trim_end();
        let row = row.strip_prefix('|').unwrap_or(row);
        let (mut cells, mut escaped) = (vec![String::new()], false);
        for symbol in row.chars() {
            if symbol == '|' && !escaped {
                cells.push(String::new());
            } else {
                cells.last_mut().unwrap().push(symbol);
            }
            escaped = symbol == '\\' && !escaped;
        }
        for cell in cells.iter().skip(columns) {
            for event in Parser::new_ext(cell, OPTIONS) {
                if let Event::Text(text) = event {
                    words.push_str(&text);
                }
            }
        }
    }
    words
}

/// A source without tags that may be formatting: Markdown alone does not tell which become formatting.
fn without_tags(source: &str) -> String {
    const NAMES: &[&str] = &[
        "b",
        "strong",
        "i",
        "em",
        "u",
        "ins",
        "s",
        "strike",
        "del",
        "tg-spoiler",
        "code",
        "pre",
        "blockquote",
        "a",
    ];
    let code = places(source, is_code);
    let lower = source.to_ascii_lowercase();
    let (mut text, mut from) = (String::new(), 0);
    for (at, _) in source.match_indices('<') {
        let behind = code.partition_point(|range| range.end <= at);
        let in_code = code.get(behind).is_some_and(|range| range.start <= at);
        if at < from || in_code {
            continue;
        }
        let Some(end) = source[at..].find('>').map(|end| at + end) else {
            break;
        };
        let inner = &source[at + 1..end];
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        let name = inner.split([' ', '\n']).next().unwrap();
        let name = name.to_ascii_lowercase();
        let is_pair = || {
            let begins = lower.find(&format!("<{name}"));
            begins.is_some() && begins < lower.rfind(&format!("</{name}"))
        };
        if NAMES.contains(&name.as_str()) && is_pair() {
            // Something stands in its place, so that nothing else grows together.
            text.extend([&source[from..at], "⸮"]);
            from = end + 1;
        }
    }
    text + &source[from..]
}

/// A source whose addresses have no `|`: it makes no table there.
fn without_pipes(source: &str) -> String {
    let mut kept = places(source, |event| {
        is_code(event) || matches!(event, Event::Start(Tag::Table(_)))
    });
    kept.sort_by_key(|range| range.start);
    let mut text = String::new();
    let (mut in_address, mut kept_until, mut next) = (false, 0, 0);
    for (at, symbol) in source.char_indices() {
        while next < kept.len() && kept[next].start <= at {
            kept_until = kept[next].end.max(kept_until);
            next += 1;
        }
        let is_kept = at < kept_until;
        if symbol.is_whitespace() || matches!(symbol, '<' | '>') || is_kept {
            in_address = false;
        } else if source[..at].ends_with("://") {
            in_address = true;
        }
        text.push(if in_address && symbol == '|' {
            '│'
        } else {
            symbol
        });
    }
    text
}

/// A small part of a text that still fails, for people to read.
pub(crate) fn smallest(source: &str, fails: impl Fn(&str) -> bool) -> String {
    let mut symbols: Vec<char> = source.chars().collect();
    let mut width = symbols.len() / 2;
    let mut tries = 3000;
    while width > 0 {
        let mut at = 0;
        while at < symbols.len() && tries > 0 {
            tries -= 1;
            let end = (at + width).min(symbols.len());
            let mut fewer = symbols.clone();
            fewer.drain(at..end);
            let text: String = fewer.iter().collect();
            if !is_blank(&text) && fails(&text) {
                symbols = fewer;
            } else {
                at = end;
            }
        }
        width /= 2;
    }
    symbols.into_iter().collect()
}

/// A generated document: always the same for the same seed.
pub(crate) fn generated(seed: u64) -> String {
    let mut maker = Maker {
        random: fastrand::Rng::with_seed(seed),
    };
    let mut text = String::new();
    for _ in 0..maker.random.usize(1..12) {
        maker.block(&mut text, "", 0);
    }
    // Now and then one that needs many messages.
    if maker.random.u8(..20) == 0 {
        text = text.repeat(maker.random.usize(2..40));
    }
    // Or one that breaks off anywhere.
    if maker.random.u8(..4) == 0 {
        let at = maker.random.usize(..=text.chars().count());
        text = text.chars().take(at).collect();
    }
    if is_blank(&text) {
        "x".to_owned()
    } else {
        text
    }
}

const WORDS: &[&str] = &[
    "the",
    "gateway",
    "a_b_c",
    "2*3*4",
    "x",
    "Größe",
    "東京タワー",
    "שלום",
    "مرحبا",
    "👨‍👩‍👧‍👦",
    "🇩🇪🇫🇷",
    "e\u{301}\u{302}",
    "https://example.org/a_b(c)?d=*e*",
    "C:\\temp\\x",
    "Vec<String>",
    "&amp;",
    "&#0;",
    "&nbsp;",
    "&#x202e;",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "\u{ad}",
    "\u{3164}",
    "\t",
    "~5",
    "$PATH",
    "#tag",
    "@name",
    "/start",
    "[x]",
    "[1]",
    "[^1]",
    "a||b",
    "||",
    "|",
    "*",
    "**",
    "_",
    "__",
    "~~",
    "`",
    "``",
    "```",
    "\\",
    "<",
    ">",
    "<br>",
    "<b>",
    "</b>",
    "<u>",
    "</u>",
    "<code>",
    "</code>",
    "<blockquote>",
    "</blockquote>",
    "https://example.org/pkg/__init__.py?a=*b*",
    "obj.__class__.__name__",
    "src/**/*.rs",
    "**注意：**请",
    "README.md",
    "/etc",
    "@dataclass",
    "<!--",
    "-->",
    "[",
    "](",
    ")",
    "!",
    "![",
    "1.",
    "-",
    "+",
    "#",
    "=",
    "\u{0}",
    "\u{7}",
    "\r",
    "z\u{336}\u{337}\u{338}\u{339}",
    "\u{301}",
    "…",
    "’",
    "12345",
    "|---|",
    ":",
    "'",
];

struct Maker {
    random: fastrand::Rng,
}

impl Maker {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.random.usize(..from.len())]
    }

    fn inline(&mut self, text: &mut String, depth: usize) {
        for _ in 0..self.random.usize(1..5) {
            let mark = match self.random.u8(..14) {
                _ if depth > 2 => "",
                0 => "**",
                1 => "*",
                2 => "_",
                3 => "~~",
                4 => "||",
                5 => "***",
                6 => {
                    text.push_str("``");
                    text.push_str(self.pick(WORDS));
                    text.push_str("`` ");
                    continue;
                }
                7 => {
                    text.push_str(self.pick(&["[", "![", "[**"]));
                    self.inline(text, depth + 2);
                    text.push_str(self.pick(&[
                        "](https://example.org/ä b)",
                        "](https://example.org/x \"title\")",
                        "](src/main.rs#L12)",
                        "](<a b>)",
                        "](mailto:me@example.org)",
                        "](#x)",
                        "]()",
                        "][1]",
                        "]",
                        "](http://localhost/)",
                        "](tg://user?id=5)",
                    ]));
                    continue;
                }
                8 => {
                    text.push('`');
                    text.push_str(self.pick(WORDS));
                    text.push_str("` ");
                    continue;
                }
                _ => "",
            };
            if mark.is_empty() {
                for _ in 0..self.random.usize(1..6) {
                    text.push_str(self.pick(WORDS));
                    text.push_str(self.pick(&[" ", " ", " ", "", "  "]));
                }
            } else {
                text.push_str(mark);
                self.inline(text, depth + 1);
                text.push_str(mark);
                text.push_str(self.pick(&[" ", "", "."]));
            }
        }
    }

    fn lines(&mut self, text: &mut String, indent: &str) {
        for _ in 0..self.random.usize(1..4) {
            text.push_str(indent);
            self.inline(text, 0);
            text.push_str(self.pick(&["\n", "\n", "  \n", "\\\n", "\r\n"]));
        }
    }

    fn block(&mut self, text: &mut String, indent: &str, depth: usize) {
        match self.random.u8(..if depth > 4 { 6 } else { 12 }) {
            0 | 1 => self.lines(text, indent),
            2 => {
                text.push_str(indent);
                text.push_str(self.pick(&["# ", "### ", "####### ", "#"]));
                self.inline(text, 1);
                text.push('\n');
            }
            3 => self.code(text, indent),
            4 => self.table(text, indent),
            5 => {
                text.push_str(indent);
                text.push_str(self.pick(&[
                    "---\n",
                    "***\n",
                    "===\n",
                    "<div>\n",
                    "</div>\n",
                    "<!-- c -->\n",
                    "[1]: https://example.org\n",
                    "[^1]: note\n",
                    "[!NOTE]\n",
                ]));
            }
            6..=8 => {
                let mark = self.pick(&["- ", "* ", "1. ", "7) ", "- [ ] ", "- [x] ", "10. "]);
                let inner = format!(
                    "{indent}{}",
                    " ".repeat(mark.trim_end_matches("[ ] ").len().min(4))
                );
                for _ in 0..self.random.usize(1..4) {
                    text.push_str(indent);
                    text.push_str(mark);
                    if self.random.bool() {
                        self.inline(text, 1);
                        text.push('\n');
                    }
                    if self.random.u8(..3) == 0 {
                        self.block(text, &inner, depth + 1);
                    }
                }
            }
            9 | 10 => {
                let inner = format!("{indent}> ");
                for _ in 0..self.random.usize(1..3) {
                    self.block(text, &inner, depth + 1);
                }
            }
            _ => {
                // A long stretch without a good place for a cut.
                let word = self.pick(WORDS);
                let separator = self.pick(&["", " "]);
                for _ in 0..self.random.usize(1..200) {
                    text.push_str(word);
                    text.push_str(separator);
                }
                text.push('\n');
            }
        }
        text.push_str(self.pick(&["\n", "", "\n\n"]));
    }

    fn code(&mut self, text: &mut String, indent: &str) {
        let fence = self.pick(&["```", "~~~", "````"]);
        let language = self.pick(&["", "rust", "diff", "c++ x", "\"", "ä", "{.python}"]);
        text.extend([indent, fence, language, "\n"]);
        for _ in 0..self.random.usize(0..6) {
            text.push_str(indent);
            text.push_str(self.pick(&["", "    ", "\t", "+ ", "``` "]));
            for _ in 0..self.random.usize(0..12) {
                text.push_str(self.pick(WORDS));
                text.push(' ');
            }
            text.push('\n');
        }
        if self.random.u8(..8) > 0 {
            text.extend([indent, fence, "\n"]);
        }
    }

    fn table(&mut self, text: &mut String, indent: &str) {
        let columns = self.random.usize(1..5);
        for row in 0..self.random.usize(1..6) {
            text.push_str(indent);
            let surplus = usize::from(row > 1 && self.random.u8(..4) == 0);
            for _ in 0..columns + surplus {
                text.push_str("| ");
                if self.random.u8(..5) > 0 {
                    self.inline(text, 3);
                }
            }
            text.push_str("|\n");
            if row == 0 {
                text.push_str(indent);
                for _ in 0..columns {
                    text.push_str(self.pick(&["|---", "|:-:", "|--:"]));
                }
                text.push_str("|\n");
            }
        }
    }
}
