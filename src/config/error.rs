//! Mistakes in a configuration, all of them at once, for a reader who has never seen the program. Every text
//! passes [`redact`] on its way in: whatever a file holds, no message shows a token.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use super::token::redact;

/// Longest piece of foreign text that a message repeats.
const QUOTE_MAX: usize = 48;

/// A rule that a value breaks: the mistake, and what to write instead.
pub(super) type Violation = (Cow<'static, str>, Cow<'static, str>);

pub(super) fn violation(
    what: impl Into<Cow<'static, str>>,
    instead: impl Into<Cow<'static, str>>,
) -> Violation {
    (what.into(), instead.into())
}

pub(super) fn refuse_if(
    is_violated: bool,
    what: impl Into<Cow<'static, str>>,
    instead: impl Into<Cow<'static, str>>,
) -> Result<(), Violation> {
    if is_violated {
        Err(violation(what, instead))
    } else {
        Ok(())
    }
}

/// One mistake with its place and its correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place: a JSON path such as `sessions.SESSION_X01.allowed_users`, a variable or a flag.
    pub path: String,
    /// The mistake.
    pub what: String,
    /// The text to write in its stead, or the step to take.
    pub instead: String,
}

impl Problem {
    pub(super) fn new(path: &str, what: impl AsRef<str>, instead: impl AsRef<str>) -> Self {
        Self {
            path: redact(path),
            what: redact(what.as_ref()),
            instead: redact(instead.as_ref()),
        }
    }

    pub(super) fn from_violation(path: &str, (what, instead): Violation) -> Self {
        Self::new(path, what, instead)
    }
}

/// A configuration that is refused as a whole. It has no source: the message of an unreadable file says the cause
/// before the fix.
#[derive(Debug)]
pub struct ConfigError {
    headline: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(headline: &str, problem: Problem) -> Self {
        Self {
            headline: redact(headline),
            problems: vec![problem],
        }
    }

    /// The file was read and has mistakes.
    pub(super) fn refused(file: &Path, problems: Vec<Problem>) -> Self {
        let (file, count) = (file.display(), problems.len());
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        let headline = redact(&format!(
            "{file} cannot be used because of {count} {mistakes}:"
        ));
        Self { headline, problems }
    }

    /// The file (the configuration, or `.env` beside it) is missing or cannot be read.
    pub(super) fn unreadable(file: &Path, what: &str, instead: &str) -> Self {
        let headline = format!("{} cannot be read:", file.display());
        Self::new(&headline, Problem::new("", what, instead))
    }

    /// Every mistake found, never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)?;
        for Problem {
            path,
            what,
            instead,
        } in &self.problems
        {
            let colon = if path.is_empty() { "" } else { ": " };
            write!(f, "\n  {path}{colon}{what}\n    fix: {instead}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Foreign text for a message: quoted, escaped, without a token, not too long.
pub(super) fn quote(text: &str) -> String {
    let text = redact(text);
    let mut shown: String = text.chars().take(QUOTE_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The name in `known` that `text` was probably meant to be.
pub(super) fn nearest<'k>(text: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let text = text.to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let is_part = text.len() >= 4 && name.contains(&text);
        strsim::jaro_winkler(&text, &name).max(if is_part { 0.9 } else { 0.0 })
    };
    known
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|&(likeness, _)| likeness >= 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// Names for a message: `a`, `b`, `c`, at most twelve of them.
pub(super) fn list<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.len() > 12 {
        names.truncate(12);
        names.push("…".to_owned());
    }
    names.join(", ")
}
