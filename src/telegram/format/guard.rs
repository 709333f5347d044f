//! Keeps characters that mean themselves from being read as markup. Pure.
//!
//! Agents write addresses, paths, globs and names without backticks, and Markdown would take their
//! `*`, `_`, `~` and `\` for its own. The rules, outside of code, HTML, link targets and definitions:
//!
//! - An address (`https://…`) is as written up to white space, but for delimiters at its very end.
//! - A run of delimiters between two of letter, digit, `/`, `.`, `\` begins nothing: `src/**/*.rs`,
//!   `a.__b__`, `2*3*4`. It may still end what began before: `**bold**ed`.
//! - `*.rs`, `**/*.ts`, `**/dist/**` are globs. `__init__`, `__a_b__`, `__f__()` and `_a_b_` are names.
//! - In a Windows path or a regular expression (`C:\*`, `a\b`, `\d+\.`) a backslash escapes nothing.
//! - Scripts of East Asia put no space behind punctuation: `**注意：**请` is bold.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};

use super::EntityStyle;
use super::html::contains;
use super::marks::{HtmlTag, Marks, is_cjk, is_spaceless};
use super::table;

/// Names with two underscores at both ends that are no emphasis, of Python, JavaScript, PHP and C.
const DUNDER_NAMES: &str = " abs abstractmethods add all and annotations asm attribute author await bases bool builtins bytes call class cell \
    classcell cause code context const construct contains copy copyright credits CLASS COUNTER cplusplus date DATE debug deepcopy del delattr delete \
    delitem destruct dict DIR dir dirname div doc divmod email enter eq esModule exit extension fields file FILE filename FUNCTION fixtures float floor floordiv format \
    fspath func future ge get getattr getattribute getinitargs getitem getnewargs getstate globals gt \
    hash iadd iand imul index init inline int invert ior isub iter le len license LINE linux loader lshift lt main maintainer map match \
    METHOD missing mocks mod module mro mul name NAMESPACE ne neg new next or package path pos pow proto \
    prepare pycache qualname radd rand reduce repr reversed rmul round ror rsub rxor self set schema setattr setitem \
    setstate sizeof slots snapshots spec status str sub subclasses subclasshook suppress tablename test tests TIME \
    toString traceback truediv trunc typename typeof version volatile warningregistry weakref wrapped xor ";

/// Names that stars stand before in Python and C.
const ARGUMENTS: &str = " args argv envp kwargs options opts params ";

/// A source with marks in place of what must not be read as markup.
pub(super) fn guard(source: &str, marks: &Marks) -> Option<String> {
    let suspicious = source.contains(['*', '_', '~', '\\']) || source.contains("://");
    if !suspicious && !source.contains('|') {
        return None;
    }
    let outline = Outline::read(source);
    let mut guarding = Guarding {
        source,
        marks,
        edits: outline.wider_heads,
        begun: BTreeSet::new(),
        read_to: 0,
    };
    let stretches = outside(source.len(), &outline.inert);
    for range in stretches.clone() {
        guarding.stretch(range, &outline.tables);
    }
    guarding.spoilers(stretches, &outline.tables);
    if guarding.edits.is_empty() {
        return None;
    }
    Some(guarding.apply())
}

/// Where a source has code.
pub(super) fn code_of(source: &str) -> Vec<Range<usize>> {
    let parser = Parser::new_ext(source, super::markdown::OPTIONS).into_offset_iter();
    parser
        .filter(|(event, _)| matches!(event, Event::Code(_) | Event::Start(Tag::CodeBlock(_))))
        .map(|(_, range)| range)
        .collect()
}

/// The stretches of a source between sorted ranges, which may overlap.
fn outside(end: usize, inert: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut stretches, mut from) = (Vec::new(), 0);
    for range in inert {
        if range.start > from {
            stretches.push(from..range.start);
        }
        from = range.end.max(from);
    }
    stretches.push(from..end.max(from));
    stretches
}

/// The result of a first look at a source.
struct Outline {
    /// Places without delimiters of emphasis, in order.
    inert: Vec<Range<usize>>,
    tables: Vec<Range<usize>>,
    /// Additions to the heads of tables that have longer rows.
    wider_heads: Vec<Edit>,
}

struct Edit {
    range: Range<usize>,
    new: String,
}

impl Outline {
    fn read(source: &str) -> Self {
        let mut parser = Parser::new_ext(source, super::markdown::OPTIONS).into_offset_iter();
        let mut inert: Vec<Range<usize>> = Vec::new();
        let mut tables = Vec::new();
        // Open links, each with the end of its words.
        let mut links: Vec<(LinkType, usize)> = Vec::new();
        for (event, range) in parser.by_ref() {
            match &event {
                // The rest of an address is no code.
                Event::Code(_) if is_in_address(source, &range) => {}
                Event::Code(_)
                | Event::Html(_)
                | Event::InlineHtml(_)
                | Event::Rule
                | Event::FootnoteReference(_)
                | Event::Start(Tag::CodeBlock(_)) => inert.push(range.clone()),
                Event::Start(Tag::FootnoteDefinition(label)) => {
                    inert.push(range.start..range.start + label.len() + "[^]:".len());
                }
                Event::Start(Tag::Table(_)) => tables.push(range.clone()),
                Event::Start(Tag::Link { link_type, .. } | Tag::Image { link_type, .. }) => {
                    links.push((*link_type, range.start));
                    continue;
                }
                Event::End(TagEnd::Link | TagEnd::Image) => {
                    if let Some((kind, words_end)) = links.pop() {
                        let has_label = matches!(kind, LinkType::Inline | LinkType::Reference);
                        let start = if has_label { words_end } else { range.start };
                        inert.push(start..range.end);
                    }
                }
                Event::Start(_)
                | Event::End(_)
                | Event::Text(_)
                | Event::InlineMath(_)
                | Event::DisplayMath(_)
                | Event::SoftBreak
                | Event::HardBreak
                | Event::TaskListMarker(_) => {}
            }
            if let Some((_, words_end)) = links.last_mut() {
                *words_end = range.end.max(*words_end);
            }
        }
        let definitions = parser.reference_definitions();
        inert.extend(
            definitions
                .iter()
                .map(|(_, definition)| definition.span.clone()),
        );
        inert.sort_by_key(|range| (range.start, range.end));
        let wider_heads = tables
            .iter()
            .filter_map(|range| Some((range.start, source.get(range.clone())?)))
            .flat_map(|(start, table)| table::wider_head(table, start))
            .map(|(at, new)| Edit { range: at..at, new })
            .collect();
        Self {
            inert,
            tables,
            wider_heads,
        }
    }
}

/// Whether a range is a part of an address that stands between white space.
fn is_in_address(source: &str, range: &Range<usize>) -> bool {
    let before = source.get(..range.start).unwrap_or_default();
    let start = before.rfind(char::is_whitespace).unwrap_or(0);
    let inner = source.get(range.clone()).unwrap_or_default();
    before.get(start..).and_then(address_start).is_some() && !inner.contains(char::is_whitespace)
}

struct Guarding<'a> {
    source: &'a str,
    marks: &'a Marks,
    edits: Vec<Edit>,
    /// The runs of this paragraph that may have begun emphasis, which a run within a word can end.
    begun: BTreeSet<&'a str>,
    /// The end of the last word.
    read_to: usize,
}

/// A run of one delimiter that no backslash makes text.
struct Run {
    range: Range<usize>,
    /// The characters around it and the delimiters beside it.
    before: Option<char>,
    after: Option<char>,
    is_alone: bool,
}

impl<'a> Guarding<'a> {
    /// Reads one stretch between places without delimiters.
    fn stretch(&mut self, range: Range<usize>, tables: &[Range<usize>]) {
        let Some(text) = self.source.get(range.clone()) else {
            return;
        };
        let mut start = None;
        let mut before = ' ';
        for (at, symbol) in text.char_indices().chain([(text.len(), ' ')]) {
            let at = range.start + at;
            let is_border = symbol == '|' && before != '\\' && contains(tables, at);
            before = symbol;
            if !symbol.is_whitespace() && !is_border {
                start.get_or_insert(at);
            } else if let Some(start) = start.take() {
                self.word(start..at);
            }
        }
    }

    fn text(&self, range: Range<usize>) -> &'a str {
        self.source.get(range).unwrap_or_default()
    }

    /// Reads what stands between white space.
    fn word(&mut self, mut range: Range<usize>) {
        if self.text(self.read_to..range.start).contains("\n\n") {
            self.begun.clear();
        }
        self.read_to = range.end;
        while let Some(at) = address_start(self.text(range.clone())) {
            let address = range.start + at;
            self.plain_word(range.start..address);
            let rest = self.text(address..range.end);
            let cut = |c: char| matches!(c, '<' | '>') || is_cjk(c) && !c.is_alphanumeric();
            let end = address + rest.find(cut).unwrap_or(rest.len());
            self.address(address..end);
            range.start = end;
        }
        self.plain_word(range);
    }

    /// Keeps an address as it is. A run of delimiters at its very end may end what began before it.
    fn address(&mut self, range: Range<usize>) {
        let text = self.text(range.clone());
        let core = text
            .trim_end_matches(|c| ".,;:!?)]}'\"".contains(c))
            .trim_end_matches(['*', '_', '~', '|']);
        let core_end = range.start + core.len();
        let ending = self.text(core_end..range.end);
        let run = ending.len() - ending.trim_start_matches(['*', '_', '~', '|']).len();
        let run_end = core_end + run;
        let before = self.text(0..range.start);
        let block = before.rfind("\n\n").map_or(0, |at| at + 2);
        let began = run > 0
            && self
                .text(block..range.start)
                .contains(self.text(core_end..run_end));
        let found: Vec<usize> = text
            .char_indices()
            .map(|(at, _)| range.start + at)
            .filter(|at| !(began && (core_end..run_end).contains(at)))
            .collect();
        for at in found {
            self.literal(at);
        }
        if began {
            self.insert(run_end, self.marks.gap());
        }
    }

    /// Reads a word without an address.
    fn plain_word(&mut self, range: Range<usize>) {
        let text = self.text(range.clone());
        if !text.contains(['*', '_', '~', '\\']) {
            return;
        }
        let has_backslashes = escapes_nothing(text);
        if has_backslashes {
            let escapes: Vec<usize> = text
                .match_indices('\\')
                .map(|(at, _)| range.start + at)
                .filter(|at| {
                    let rest = self.text(at + 1..range.end);
                    rest.starts_with(|c: char| c.is_ascii_punctuation() && c != '|')
                })
                .collect();
            for at in escapes {
                self.literal(at);
                // Without its backslash it would mean something.
                self.literal(at + 1);
            }
        }
        let runs = self.runs(range.clone(), has_backslashes);
        let is_glob = is_glob(self.text(range.clone()));
        for run in &runs {
            let is_name = self.is_name(run, &range);
            let is_symbol = self.is_symbol(run);
            self.run(run, is_glob || is_name || is_symbol);
        }
    }

    fn runs(&self, range: Range<usize>, has_backslashes: bool) -> Vec<Run> {
        let is_delimiter = |c: char| matches!(c, '*' | '_' | '~');
        let mut runs = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let rest = self.text(at..range.end);
            let Some(symbol) = rest.chars().next() else {
                break;
            };
            if symbol == '\\' && !has_backslashes {
                let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
                at += 1 + escaped;
                continue;
            }
            if !is_delimiter(symbol) {
                at += symbol.len_utf8();
                continue;
            }
            let end = at + rest.find(|c| !is_delimiter(c)).unwrap_or(rest.len());
            let before = self.text(0..at).chars().next_back();
            let after = self.text(end..self.source.len()).chars().next();
            let cluster = at..end;
            while at < end {
                let rest = self.text(at..end);
                let symbol = rest.chars().next().unwrap_or('*');
                let run_end = at + rest.find(|c| c != symbol).unwrap_or(rest.len());
                runs.push(Run {
                    range: at..run_end,
                    before,
                    after,
                    is_alone: cluster == (at..run_end),
                });
                at = run_end;
            }
        }
        runs
    }

    /// Whether stars mark the arguments of Python (`f(*args, **kwargs)`), a power (`(a+b)**2`) or the end of a
    /// file's name (`'*.rs'`).
    fn is_symbol(&self, run: &Run) -> bool {
        let stars = self.text(run.range.clone());
        let rest = self.text(run.range.end..self.source.len());
        let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = name.into_iter().next().unwrap_or_default();
        let ends = |rest: &str| !rest.starts_with('*');
        if stars.starts_with('*') && ARGUMENTS.contains(&format!(" {name} ")) {
            return ends(rest.get(name.len()..).unwrap_or_default());
        }
        if run.before == Some(')') && rest.starts_with(|c: char| c.is_ascii_digit()) {
            return true;
        }
        let quoted = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ')' | ']' | ',');
        let token = rest.split(quoted).next().unwrap_or_default();
        let is_ending = token
            .strip_prefix('.')
            .is_some_and(|ending| ending.starts_with(|c: char| c.is_ascii_alphanumeric()));
        stars == "*" && is_ending && !token.contains('*')
    }

    fn run(&mut self, run: &Run, is_name: bool) {
        let text = self.text(run.range.clone());
        let touches_left = run
            .before
            .is_some_and(|c| touches(c) || matches!(c, '/' | '.' | '\\'));
        let touches_right = self.touches_right(run);
        let in_word = run.before.is_some_and(touches);
        let keeps = if is_name {
            true
        } else if !run.is_alone {
            touches_left && touches_right
        } else if text.contains('_') {
            // Between two letters underscores alone are no delimiters.
            let is_plain = in_word && run.after.is_some_and(touches);
            touches_left && touches_right && !is_plain
        } else {
            let ends = in_word && self.begun.contains(text);
            touches_left && touches_right && !ends && !self.is_choice(run, text)
        };
        if keeps {
            for at in run.range.clone() {
                self.literal(at);
            }
            return;
        }
        if text.contains('_') || text == "~" {
            return;
        }
        if !in_word && run.after.is_some_and(|c| !c.is_whitespace()) {
            self.begun.insert(text);
        } else {
            self.begun.remove(text);
        }
        let begins_nothing = in_word || text == "*" && matches!(run.before, Some(')' | ']'));
        if begins_nothing && run.after.is_some_and(touches) {
            self.insert(run.range.end, self.marks.gap());
            return;
        }
        self.join(run);
    }

    /// Whether a letter, a digit or a part of a path follows.
    fn touches_right(&self, run: &Run) -> bool {
        let rest = self.text(run.range.end..self.source.len());
        match run.after {
            Some('/' | '\\') => true,
            Some('.') => rest
                .chars()
                .nth(1)
                .is_some_and(|c| touches(c) || matches!(c, '*' | '_' | '{')),
            Some(other) => touches(other),
            None => false,
        }
    }

    /// The second of two emphasised words with a slash between them: `**Yes**/**No**`.
    fn is_choice(&self, run: &Run, text: &str) -> bool {
        let before = self.text(0..run.range.start);
        let first = before
            .strip_suffix('/')
            .and_then(|rest| rest.strip_suffix(text));
        run.before == Some('/')
            && first.is_some_and(|rest| {
                rest.ends_with(|c: char| !"/*.\\".contains(c) && !c.is_whitespace())
            })
    }

    /// Whether underscores belong to a name such as `__init__`.
    fn is_name(&self, run: &Run, word: &Range<usize>) -> bool {
        let text = self.text(run.range.clone());
        if !text.starts_with('_') {
            return false;
        }
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let head = self.text(word.start..run.range.start);
        let start = run.range.start - (head.len() - head.trim_end_matches(of_name).len());
        let tail = self.text(run.range.start..word.end);
        let end = word.end - tail.trim_start_matches(of_name).len();
        let name = self.text(start..end);
        let inner = name.trim_matches('_');
        let lead = name.len() - name.trim_start_matches('_').len();
        let is_enclosed = lead > 0 && !inner.is_empty() && name.len() == 2 * lead + inner.len();
        if !is_enclosed {
            return false;
        }
        let before = self.text(0..start).chars().next_back();
        let after = self.text(end..self.source.len());
        let mut following = after.chars();
        let in_path = matches!(before, Some('/' | '.' | '\\'))
            || match following.next() {
                Some('/' | '\\' | '(') => true,
                Some('.') => following.next().is_some_and(|c| touches(c) || c == '_'),
                _ => false,
            };
        let known = lead == 2 && DUNDER_NAMES.contains(&format!(" {inner} "));
        in_path || known || inner.contains('_')
    }

    /// Makes the punctuation beside a run count as a letter, where East Asian text is beside it.
    fn join(&mut self, run: &Run) {
        let (Some(before), Some(after)) = (run.before, run.after) else {
            return;
        };
        if !run.is_alone || !is_cjk(before) && !is_cjk(after) {
            return;
        }
        let is_mark = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
        match (is_mark(before), is_mark(after)) {
            (true, false) if !after.is_whitespace() => {
                self.insert(run.range.start, self.marks.joint());
            }
            (false, true) if !before.is_whitespace() => {
                self.insert(run.range.end, self.marks.joint());
            }
            _ => {}
        }
    }

    /// Makes spoilers of pairs of `||`, which are no Markdown: only where they cannot mean "or".
    fn spoilers(&mut self, stretches: Vec<Range<usize>>, tables: &[Range<usize>]) {
        let literals: BTreeSet<usize> = self.edits.iter().map(|edit| edit.range.start).collect();
        let mut begun: Option<usize> = None;
        for range in stretches {
            let text = self.text(range.clone());
            for (at, _) in text.match_indices("||") {
                let at = range.start + at;
                let before = self.text(0..at).chars().next_back();
                let after = self.text(at + 2..self.source.len()).chars().next();
                let is_alone = !matches!(before, Some('|' | '\\')) && after != Some('|');
                if !is_alone || literals.contains(&at) || contains(tables, at) {
                    continue;
                }
                let begins = after.is_some_and(|c| !c.is_whitespace())
                    && !before.is_some_and(char::is_alphanumeric);
                let ends = before.is_some_and(|c| !c.is_whitespace())
                    && !after.is_some_and(char::is_alphanumeric);
                let first = begun.filter(|first| !begins_block(self.text(*first..at)));
                match first {
                    Some(first) if ends => {
                        for (at, opens) in [(first, true), (at, false)] {
                            let mark = self.marks.tag(HtmlTag::Style(EntityStyle::Spoiler), opens);
                            self.edits.push(Edit {
                                range: at..at + 2,
                                new: mark.map(String::from).unwrap_or_default(),
                            });
                        }
                        begun = None;
                    }
                    _ if begins => begun = Some(at),
                    _ => {}
                }
            }
        }
    }

    fn literal(&mut self, at: usize) {
        let symbol = self.text(at..self.source.len()).chars().next();
        if let Some(mark) = symbol.and_then(|symbol| self.marks.literal(symbol)) {
            self.edits.push(Edit {
                range: at..at + 1,
                new: mark.to_string(),
            });
        }
    }

    fn insert(&mut self, at: usize, mark: char) {
        self.edits.push(Edit {
            range: at..at,
            new: mark.to_string(),
        });
    }

    fn apply(mut self) -> String {
        self.edits
            .sort_by_key(|edit| (edit.range.start, edit.range.end));
        self.edits
            .dedup_by(|next, edit| next.range == edit.range && !edit.range.is_empty());
        let mut text = String::with_capacity(self.source.len() + 3 * self.edits.len());
        let mut from = 0;
        for edit in self.edits {
            text.push_str(self.source.get(from..edit.range.start).unwrap_or_default());
            text.push_str(&edit.new);
            from = edit.range.end.max(from);
        }
        text.push_str(self.source.get(from..).unwrap_or_default());
        text
    }
}

/// A letter or digit of a script that puts spaces between words.
fn touches(symbol: char) -> bool {
    symbol.is_alphanumeric() && !is_spaceless(symbol)
}

/// Whether another paragraph, item or heading begins in a text.
fn begins_block(text: &str) -> bool {
    text.lines().skip(1).any(|line| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with(|c: char| c.is_ascii_digit() || "-*+>#`~|".contains(c))
    })
}

fn address_start(word: &str) -> Option<usize> {
    let at = word.find("://")?;
    let head = word.get(..at)?;
    let scheme = ["https", "http", "HTTPS", "HTTP"]
        .into_iter()
        .find(|scheme| head.ends_with(scheme));
    match scheme {
        Some(scheme) => Some(at - scheme.len()),
        None => Some(at + 3 + address_start(word.get(at + 3..)?)?),
    }
}

/// Whether backslashes of a word are meant, as in a path of Windows or a regular expression.
fn escapes_nothing(word: &str) -> bool {
    let core = word.trim_start_matches(['*', '_', '(', '"', '\'', '[']);
    let mut head = core.chars();
    let drive =
        head.next().is_some_and(|c| c.is_ascii_alphabetic()) && head.as_str().starts_with(":\\");
    let before_letter = word.match_indices('\\').any(|(at, _)| {
        word.get(at + 1..)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
    });
    let glob = word.match_indices("\\*.").any(|(at, _)| {
        word.get(at + 3..)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic()))
    });
    drive
        || before_letter
        || glob
        || word.contains("\\**\\")
        || core.starts_with("..\\")
        || core.starts_with(".\\")
}

/// Whether all stars of a word are wildcards.
fn is_glob(word: &str) -> bool {
    let word = word.trim_start_matches(['(', '[', '{', '"', '\'', '!']);
    let core = word.trim_end_matches([',', '.', ';', ':', '!', '?', ')', ']', '}', '"', '\'']);
    let rest = core.trim_start_matches('*');
    let stars = core.len() - rest.len();
    match (stars, rest.chars().next()) {
        (1, Some('.')) => {
            let ending = rest.get(1..).unwrap_or_default();
            ending.trim_matches('*').is_empty() && !ending.is_empty()
                || ending.starts_with(|c: char| c.is_alphanumeric() || c == '{')
                    && !ending.ends_with('*')
        }
        (1, Some('_' | '-')) => {
            let ending = rest.rsplit_once('.').map_or("", |(_, ending)| ending);
            !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }
        (2, Some('/')) => {
            rest.ends_with("/**")
                || !rest.ends_with("**") && rest.trim_end_matches('*').contains('*')
        }
        (1, Some('/')) => rest.ends_with("/*"),
        // "*test*.py"
        (1, Some(_)) => rest
            .split_once("*.")
            .is_some_and(|(_, ending)| ending.starts_with(|c: char| c.is_ascii_lowercase())),
        _ => false,
    }
}
