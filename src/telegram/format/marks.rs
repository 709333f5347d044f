//! Characters that stand for others while Markdown is read. Pure.
//!
//! The parser knows nothing of addresses, paths and HTML. So characters that it must not take for
//! markup, and tags that it must not see, are replaced by characters that do not occur in the source;
//! the renderer puts back what they stand for.

use std::borrow::Cow;
use std::collections::HashSet;

use super::EntityStyle;

/// Characters of the source that mean themselves, wherever they are replaced.
const LITERALS: [char; 11] = ['*', '_', '~', '|', '\\', '&', '[', ']', '!', '`', '<'];
/// White space without a name in HTML, so that no `&…;` of the source becomes one.
const SPACES: [char; 4] = ['\u{2000}', '\u{2001}', '\u{2006}', '\u{1680}'];

/// An HTML tag that is formatting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HtmlTag {
    /// `<b>` and its like.
    Style(EntityStyle),
    /// `<a href="…">`.
    Link,
}

impl HtmlTag {
    const fn name(self) -> &'static str {
        match self {
            Self::Style(EntityStyle::Italic) => "i",
            Self::Style(EntityStyle::Underline) => "u",
            Self::Style(EntityStyle::Strikethrough) => "s",
            Self::Style(EntityStyle::Spoiler) => "tg-spoiler",
            Self::Style(_) => "b",
            Self::Link => "a",
        }
    }
}

/// All of them, by their place among the marks.
const TAGS: [HtmlTag; 6] = [
    HtmlTag::Style(EntityStyle::Bold),
    HtmlTag::Style(EntityStyle::Italic),
    HtmlTag::Style(EntityStyle::Underline),
    HtmlTag::Style(EntityStyle::Strikethrough),
    HtmlTag::Style(EntityStyle::Spoiler),
    HtmlTag::Link,
];

/// The characters for one source. The default has none.
#[derive(Default)]
pub(super) struct Marks {
    /// Like letters to the parser.
    literals: Vec<char>,
    /// A letter to the parser, and nothing to the reader.
    joint: char,
    /// White space to the parser, and nothing to the reader.
    gap: char,
    /// Punctuation to the parser: an opening and a closing one per tag.
    tags: Vec<char>,
}

impl Marks {
    /// Characters that a source does not contain; none if it contains nearly all.
    pub(super) fn new(source: &str) -> Option<Self> {
        let mut used: HashSet<char> = source.chars().filter(|c| !c.is_ascii()).collect();
        used.extend(source.split("&#").skip(1).filter_map(referenced));
        let mut letters = ('\u{e000}'..'\u{f8ff}').filter(|c| !used.contains(c));
        let joint = letters.next()?;
        let literals: Vec<char> = letters.take(LITERALS.len()).collect();
        let tags: Vec<char> = ('\u{2e00}'..'\u{2e50}')
            .filter(|c| !used.contains(c))
            .take(2 * TAGS.len())
            .collect();
        (literals.len() == LITERALS.len() && tags.len() == 2 * TAGS.len()).then_some(Self {
            literals,
            joint,
            gap: SPACES.into_iter().find(|c| !used.contains(c))?,
            tags,
        })
    }

    /// The character that keeps another from being read as markup.
    pub(super) fn literal(&self, symbol: char) -> Option<char> {
        let at = LITERALS.iter().position(|literal| *literal == symbol)?;
        self.literals.get(at).copied()
    }

    /// Makes punctuation before it, or behind it, count as a letter.
    pub(super) const fn joint(&self) -> char {
        self.joint
    }

    /// Behind a delimiter: it may end emphasis, and not begin it.
    pub(super) const fn gap(&self) -> char {
        self.gap
    }

    /// The character in place of a tag.
    pub(super) fn tag(&self, tag: HtmlTag, opens: bool) -> Option<char> {
        let at = TAGS.iter().position(|known| *known == tag)?;
        self.tags.get(2 * at + usize::from(!opens)).copied()
    }

    /// The tag that a character stands for, and whether it opens.
    pub(super) fn tag_of(&self, symbol: char) -> Option<(HtmlTag, bool)> {
        let at = self.tags.iter().position(|tag| *tag == symbol)?;
        Some((*TAGS.get(at / 2)?, at % 2 == 0))
    }

    /// A text as it was written, with the tags in it.
    pub(super) fn written<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let restored = self.restore(text);
        if restored.is_ascii() || !restored.contains(|c| self.tags.contains(&c)) {
            return restored;
        }
        let mut whole = String::with_capacity(restored.len());
        for symbol in restored.chars() {
            match self.tag_of(symbol) {
                Some((tag, opens)) => {
                    let slash = if opens { "" } else { "/" };
                    whole.extend(["<", slash, tag.name(), ">"]);
                }
                None => whole.push(symbol),
            }
        }
        Cow::Owned(whole)
    }

    /// A text as it was written, but for tags.
    pub(super) fn restore<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let stands_in = |c: char| c == self.joint || c == self.gap || self.literals.contains(&c);
        if text.is_ascii() || !text.contains(stands_in) {
            return Cow::Borrowed(text);
        }
        let written = |symbol: char| match self.literals.iter().position(|c| *c == symbol) {
            Some(at) => LITERALS.get(at).copied(),
            None => (symbol != self.joint && symbol != self.gap).then_some(symbol),
        };
        Cow::Owned(text.chars().filter_map(written).collect())
    }
}

/// The character of a numeric reference, from behind its `&#`.
fn referenced(rest: &str) -> Option<char> {
    let number = rest.split(';').next()?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

/// Whether a character belongs to the scripts of East Asia, whose punctuation no space follows.
pub(super) const fn is_cjk(symbol: char) -> bool {
    matches!(
        symbol,
        '\u{1100}'..='\u{11ff}'
            | '\u{2e80}'..='\u{2fdf}'
            | '\u{3001}'..='\u{9fff}'
            | '\u{a960}'..='\u{a97f}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a character belongs to a script that puts no space between words.
pub(super) const fn is_spaceless(symbol: char) -> bool {
    is_cjk(symbol)
        || matches!(symbol, '\u{e00}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1950}'..='\u{1aaf}')
}
