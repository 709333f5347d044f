//! Mistakes in a configuration, all of them at once, for a reader who has never seen the program. Every text
//! passes [`redact`] on its way in: whatever a file holds, no message shows a token.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::token::redact;

/// Longest piece of foreign text that a message repeats.
const QUOTE_MAX: usize = 48;

/// A rule that a value breaks: the mistake, and what to write instead.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) what: Cow<'static, str>,
    pub(super) instead: Cow<'static, str>,
}

impl Violation {
    pub(super) fn new(
        what: impl Into<Cow<'static, str>>,
        instead: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            what: what.into(),
            instead: instead.into(),
        }
    }
}

/// One mistake: its place, what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place: a JSON path such as `sessions.SESSION_X01.allowed_users`, a variable or a flag.
    pub path: String,
    /// What is wrong there.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Problem {
    pub(super) fn new(path: &str, violation: &Violation) -> Self {
        Self {
            path: redact(path),
            what: redact(&violation.what),
            instead: redact(&violation.instead),
        }
    }
}

/// A configuration that is refused as a whole.
#[derive(Debug)]
pub struct ConfigError {
    failure: ConfigFailure,
    file: Option<PathBuf>,
    problems: Vec<Problem>,
    source: Option<io::Error>,
}

/// The first line of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfigFailure {
    /// The file was read and has mistakes.
    Refused,
    /// The file (the configuration, or `.env` beside it) is missing or cannot be read.
    Unreadable,
    /// Nothing says where the configuration is.
    NoConfigPath,
    /// Nothing says where the state belongs.
    NoStateDir,
    /// The requested session does not exist.
    NoSession,
}

impl ConfigError {
    pub(super) fn new(failure: ConfigFailure, file: Option<&Path>, problems: Vec<Problem>) -> Self {
        Self {
            failure,
            file: file.map(Path::to_owned),
            problems,
            source: None,
        }
    }

    pub(super) fn refused(file: &Path, problems: Vec<Problem>) -> Self {
        Self::new(ConfigFailure::Refused, Some(file), problems)
    }

    pub(super) fn unreadable(file: &Path, violation: &Violation, source: io::Error) -> Self {
        let problem = Problem::new("", violation);
        let error = Self::new(ConfigFailure::Unreadable, Some(file), vec![problem]);
        Self {
            source: Some(source),
            ..error
        }
    }

    /// The file that the mistakes belong to, where there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Every mistake found, never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there simply is no configuration file yet.
    pub fn is_not_found(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        let file = redact(&file.display().to_string());
        match (self.failure, self.problems.len()) {
            (ConfigFailure::Refused, 1) => write!(f, "{file} is refused because of 1 mistake:"),
            (ConfigFailure::Refused, n) => write!(f, "{file} is refused because of {n} mistakes:"),
            (ConfigFailure::Unreadable, _) => write!(f, "{file} cannot be read:"),
            (ConfigFailure::NoConfigPath, _) => {
                f.write_str("it is not clear where the configuration is:")
            }
            (ConfigFailure::NoStateDir, _) => {
                f.write_str("it is not clear where the state belongs:")
            }
            (ConfigFailure::NoSession, _) => {
                write!(f, "it is not clear which session of {file} to serve:")
            }
        }?;
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

/// Without a source: the message of an unreadable file has the cause in it, before the fix.
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
