//! The string literals of a Rust source, and what each is used for. Knows no more of Rust than that takes.

/// The use of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// `#[error("…")]`
    Error,
    /// An event of `tracing`.
    Log,
    /// All else.
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) text: String,
    pub(super) used: Use,
}

/// The literals outside of tests, test hooks, patterns of bytes, and attributes other than `error`.
pub(super) fn literals(source: &str) -> Vec<Literal> {
    let mut reader = Reader {
        tokens: tokens(source),
        at: 0,
        found: Vec::new(),
    };
    while reader.at < reader.tokens.len() {
        reader.step(Use::Text);
    }
    reader.found
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Literal(String),
    Mark(char),
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    found: Vec<Literal>,
}

impl Reader {
    fn is(&self, ahead: usize, mark: char) -> bool {
        self.tokens.get(self.at + ahead) == Some(&Token::Mark(mark))
    }

    fn word(&self, ahead: usize) -> &str {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }

    /// One token, or all of an attribute or of an event.
    fn step(&mut self, used: Use) {
        if self.is(0, '#') && (self.is(1, '[') || (self.is(1, '!') && self.is(2, '['))) {
            self.attribute();
            return;
        }
        let is_event = ["error", "warn", "info", "debug", "trace"].contains(&self.word(0));
        if is_event && self.is(1, '!') && self.is(2, '(') {
            self.at += 2;
            self.group(Use::Log);
            return;
        }
        if let Some(Token::Literal(text)) = self.tokens.get(self.at) {
            let text = text.clone();
            self.found.push(Literal { text, used });
        }
        self.at += 1;
    }

    /// All tokens from an opening bracket to its counterpart.
    fn group(&mut self, used: Use) {
        let mut depth = 0;
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Mark('(' | '[' | '{')) => depth += 1,
                Some(Token::Mark(')' | ']' | '}')) => depth -= 1,
                None => return,
                _ => {}
            }
            self.step(used);
            if depth == 0 {
                return;
            }
        }
    }

    fn attribute(&mut self) {
        while !self.is(0, '[') {
            self.at += 1;
        }
        let (begin, before) = (self.at, self.found.len());
        let used = match self.word(1) {
            "error" => Use::Error,
            _ => Use::Text,
        };
        self.group(used);
        let attribute = &self.tokens[begin..self.at];
        let has = |token: &Token| attribute.contains(token);
        let word = |word: &str| Token::Word(word.to_owned());
        let for_tests = has(&word("test")) || has(&Token::Literal("test-hooks".to_owned()));
        let leaves_out = has(&word("cfg")) && for_tests && !has(&word("not"));
        if used != Use::Error {
            self.found.truncate(before);
        }
        if leaves_out {
            self.leave_out();
        }
    }

    /// Passes by the item, statement or field that an attribute leaves out.
    fn leave_out(&mut self) {
        while self.is(0, '#') {
            self.attribute();
        }
        let before = self.found.len();
        let items = [
            "pub", "fn", "impl", "mod", "struct", "enum", "use", "const", "static", "async", "type",
        ];
        let is_item = items.contains(&self.word(0));
        while self.at < self.tokens.len() {
            if self.is(0, '{') {
                self.group(Use::Text);
                break;
            }
            if self.is(0, '(') || self.is(0, '[') {
                self.group(Use::Text);
                continue;
            }
            let is_over = self.is(0, ';') || (!is_item && self.is(0, ','));
            if is_over {
                self.at += 1;
                break;
            }
            if [')', ']', '}'].into_iter().any(|mark| self.is(0, mark)) {
                break;
            }
            self.at += 1;
        }
        self.found.truncate(before);
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (token, length) = token(rest, first);
        found.extend(token);
        rest = &rest[length..];
    }
    found
}

/// The token at the beginning of a text, if it is one that counts, and its length.
fn token(rest: &str, first: char) -> (Option<Token>, usize) {
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if first.is_alphabetic() || first == '_' {
        return word_or_prefixed(rest);
    }
    match first {
        '"' => quoted(rest, true),
        '\'' => (None, character(rest)),
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ => (Some(Token::Mark(first)), first.len_utf8()),
    }
}

/// A word, or a literal with `b`, `r` or `br` before it.
fn word_or_prefixed(rest: &str) -> (Option<Token>, usize) {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let is_raw = matches!(word, "r" | "br") && behind[hashes..].starts_with('"');
    if is_raw {
        let begin = hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        let length = behind[begin..].find(&close).unwrap_or(behind.len() - begin);
        let text = behind[begin..begin + length].to_owned();
        let token = (word == "r").then_some(Token::Literal(text));
        return (token, end + begin + length + close.len());
    }
    match (word, behind.chars().next()) {
        ("b", Some('"')) => (None, end + quoted(behind, false).1),
        ("b", Some('\'')) => (None, end + character(behind)),
        _ => (Some(Token::Word(word.to_owned())), end),
    }
}

/// A literal in double quotes, with its escapes as what they stand for.
fn quoted(rest: &str, counts: bool) -> (Option<Token>, usize) {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (counts.then_some(Token::Literal(text)), at + 1),
            '\\' => match letters.next().map(|(_, letter)| letter) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('\n') => {
                    while letters
                        .next_if(|(_, letter)| letter.is_whitespace())
                        .is_some()
                    {}
                }
                Some('u') => {
                    let digits = letters.by_ref().skip(1).map(|(_, letter)| letter);
                    let digits: String = digits.take_while(|letter| *letter != '}').collect();
                    let number = u32::from_str_radix(&digits, 16).ok();
                    text.extend(number.and_then(char::from_u32));
                }
                Some('x') => {
                    letters.next();
                    letters.next();
                }
                Some(letter) => text.push(letter),
                None => break,
            },
            _ => text.push(letter),
        }
    }
    (None, rest.len())
}

/// The length of a character literal; that of the quote alone where it begins a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            letters.next();
            letters
                .find(|(_, letter)| *letter == '\'')
                .map_or(1, |(at, _)| at + 1)
        }
        Some(_) => match letters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[test]
fn literals_are_found_with_their_use_and_those_of_tests_are_not() {
    let source = r##"
//! "a comment"
#[error("cannot read {path}: {source}")] struct A;
#[expect(clippy::all, reason = "an attribute")]
fn f<'a>(letter: char) -> &'a str {
    warn!(id = 7, "a log line");
    if letter == '"' || letter == '\'' || letter == b'x' { g(b"bytes", r#"a "raw" one"#) }
    #[cfg(feature = "test-hooks")]
    hook("a hook", f(1, 2));
    #[cfg(not(feature = "test-hooks"))]
    other("no hook");
    "joined \
     over lines: \u{1f440}"
}
#[cfg(test)]
mod tests { fn t() { "a test" } }
const LAST: &str = "the last";
"##;
    let found = literals(source).into_iter();
    let found: Vec<_> = found.map(|literal| (literal.used, literal.text)).collect();
    let expected = [
        (Use::Error, "cannot read {path}: {source}"),
        (Use::Log, "a log line"),
        (Use::Text, "a \"raw\" one"),
        (Use::Text, "no hook"),
        (Use::Text, "joined over lines: 👀"),
        (Use::Text, "the last"),
    ];
    assert_eq!(found, expected.map(|(used, text)| (used, text.to_owned())));
}
