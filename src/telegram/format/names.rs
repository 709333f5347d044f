//! Names that Telegram would make links of by itself, as code. Pure.
//!
//! Telegram takes `README.md` for a website of Moldova, `/etc` for a command, `@dataclass` for a
//! person, `#define` for a hashtag and `$PATH` for a share (docs/facts/telegram.md 5). A name of a program becomes code, in which Telegram finds nothing. All else stays: `@username` is a person
//! and `/start` a command, unless what stands beside it says otherwise.
//!
//! - A file: a name without `/` whose ending is one of [`ENDINGS`] or that is one of [`FILES`].
//! - A path: `/` with two names or more, an ending, a capital or a hyphen, a slash behind it, one of [`ROOTS`],
//!   or a method of HTTP before it.
//! - A decorator: one of [`DECORATORS`], or followed by `(`, `.name`, `/name` or "decorator".
//! - A call: `datetime.now()`.

use std::ops::Range;

use super::{Entity, EntityStyle, Span};

/// Endings of files that are also domains of countries or companies.
const ENDINGS: &str =
    " cc cl cr gd inc java map md mk ml mm mov pl pm properties ps pub py rs sc sh so tf zip ";
/// Sites with such an ending that are named more often than files.
const SITES: &str = " astral.sh atuin.sh brew.sh bun.sh docs.rs esm.sh install.sh.com notion.so ntfy.sh ollama.sh \
    rustup.rs sh.rustup.rs starship.rs transfer.sh ";
/// Whole names of files whose endings are domains.
const FILES: &str = " Code.gs MANIFEST.in Makefile.am Makefile.in config.h.in configure.ac meson.build requirements.in ";
/// Folders at the root of a system, which are no commands of a bot.
const ROOTS: &str =
    " bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var ";
/// Methods of HTTP, before a path.
const METHODS: &str = " CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT ";
/// Decorators and annotations of common languages.
const DECORATORS: &str = " abstractmethod apply asynccontextmanager autoclosure autowired available bean beforeeach \
    aftereach binding cached_property charset classmethod component composable configuration container \
    contextmanager controller customelement dataclass deprecated directive discardableresult entity environment \
    escaping final fixture hostlistener import inject injectable inlinable input jvmstatic keyframes layer latest \
    lru_cache mainactor media module mock nonnull notnull nullable objc observedobject output overload override \
    param parameterizedtest pipe preview property published pytest repository requestmapping restcontroller return \
    returns runtime_checkable safevarargs service singledispatch springbootapplication state staticmethod \
    suppresswarnings supports tailwind test testable throws total_ordering transactional type viewbuilder wraps ";
/// First words of the preprocessor of C.
const DIRECTIVES: &str =
    " define elif endif error ifdef ifndef include pragma region undef warning ";
/// Variables of the environment that are short enough for a share.
const VARIABLES: &str = " CC CXX EDITOR HOME HOST LANG OLDPWD PATH PWD SHELL TERM TMPDIR UID USER ";
/// Methods whose names are domains.
const CALLS: &str = " as at call click date data do fit get host id info is link live map name new next now open page \
    play plot post read run select show style tab target to top watch zip ";

/// Makes code of the names in a text that Telegram would make links of.
pub(super) fn wrap_names(text: &str, spans: &mut Vec<Span>) {
    let mut taken: Vec<Range<usize>> = spans
        .iter()
        .filter(|span| is_taken(span.entity.kind))
        .map(|span| span.range.clone())
        .collect();
    taken.sort_by_key(|range| range.start);
    let mut ends: Vec<usize> = spans
        .iter()
        .filter(|span| span.entity.kind != EntityStyle::Blockquote)
        .flat_map(|span| [span.range.start, span.range.end])
        .collect();
    ends.sort_unstable();
    let names: Vec<Range<usize>> = words(text)
        .filter_map(|word| name_in(text, word))
        .filter(|name| {
            let index = taken.partition_point(|range| range.end <= name.start);
            let is_free = taken.get(index).is_none_or(|range| range.start >= name.end);
            // One that is partly formatted would be cut.
            let from = ends.partition_point(|end| *end <= name.start);
            is_free && ends.get(from).is_none_or(|end| *end >= name.end)
        })
        .collect();
    spans.extend(names.into_iter().map(|range| Span {
        range,
        entity: Entity::new(EntityStyle::Code, 0, 0),
    }));
}

/// Whether Telegram finds nothing in a formatting, or it would be cut.
fn is_taken(kind: EntityStyle) -> bool {
    matches!(
        kind,
        EntityStyle::Code | EntityStyle::Pre | EntityStyle::TextLink | EntityStyle::Spoiler
    )
}

/// The stretches of a text of which names are made.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "_./\\~@:#$+-".contains(c);
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.find(of_name)?;
        let rest = text.get(start..)?;
        let end = start + rest.find(|c| !of_name(c)).unwrap_or(rest.len());
        from = end;
        Some(start..end)
    })
}

/// Whether one of the lists has a word.
fn lists(list: &str, word: &str) -> bool {
    !word.is_empty() && !word.contains(' ') && list.contains(&format!(" {word} "))
}

/// The name in a word, if Telegram would make a link of it and it is one of a program.
fn name_in(text: &str, word: Range<usize>) -> Option<Range<usize>> {
    let before = text.get(..word.start)?;
    let previous = before.chars().next_back().unwrap_or(' ');
    // Telegram begins no link behind a letter.
    if previous.is_alphanumeric() || previous == '<' {
        return None;
    }
    // A part of a glob is no name.
    if previous == '*' || text.get(word.end..)?.starts_with('*') {
        return None;
    }
    let whole = text.get(word.clone())?;
    if whole.contains("://") {
        return None;
    }
    let core = whole.trim_end_matches(['.', ':', '-', '+', '#', '@', '$']);
    let after = text.get(word.start + core.len()..)?;
    let length = match core.chars().next()? {
        '@' => is_decorator(core, after).then_some(core.len()),
        '/' => is_path(core, before).then_some(core.len()),
        '#' => lists(DIRECTIVES, core.get(1..)?).then_some(core.len()),
        '$' => lists(VARIABLES, core.get(1..)?).then_some(core.len()),
        _ if core.contains('@') => None,
        _ if is_file(core) => Some(core.len()),
        _ => is_call(core, after).then(|| {
            let parentheses = if after.starts_with("()") { 2 } else { 0 };
            core.len() + parentheses
        }),
    }?;
    Some(word.start..word.start + length)
}

fn is_file(name: &str) -> bool {
    // "main.rs:12:3" and "main.rs#L12" name a place in it.
    let name = name.split('#').next().unwrap_or_default();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    if name.contains('/') {
        return false;
    }
    let last = name.rsplit('\\').next().unwrap_or_default();
    let Some((stem, ending)) = last.rsplit_once('.') else {
        return false;
    };
    let lower = ending.to_ascii_lowercase();
    let is_named = stem.contains(|c: char| c.is_ascii_alphanumeric() || c == '_');
    is_named && lists(ENDINGS, &lower) && !lists(SITES, last) || lists(FILES, last)
}

fn is_path(path: &str, before: &str) -> bool {
    let names: Vec<&str> = path.split('/').skip(1).collect();
    let known = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    match names.as_slice() {
        [] | [""] => false,
        [name] if name.contains('@') => false,
        [name] => {
            let word = before.split_whitespace().next_back().unwrap_or_default();
            !known(name) || lists(ROOTS, name) || lists(METHODS, word)
        }
        [first, ..] => !first.is_empty(),
    }
}

fn is_decorator(name: &str, after: &str) -> bool {
    let bare = name.get(1..).unwrap_or_default();
    if bare.is_empty() || bare.contains('@') {
        return false;
    }
    let begins_with_letter = bare.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_longer = bare.trim_end_matches('.').contains(['.', '/', '-']);
    let next = after.split_whitespace().next().unwrap_or_default();
    let next = next.trim_end_matches(['.', ',', ':', ';', 's']);
    lists(DECORATORS, &bare.to_ascii_lowercase())
        || begins_with_letter && (is_longer || after.starts_with('('))
        || matches!(next, "decorator" | "annotation")
}

fn is_call(name: &str, after: &str) -> bool {
    let is_dotted = name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    let last = name.rsplit_once('.').map_or("", |(_, last)| last);
    is_dotted && after.starts_with('(') && lists(CALLS, last)
}
