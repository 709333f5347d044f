//! What is wrong with a configuration, all of it at once, told to somebody who has never seen the
//! program. Every text passes [`redact`] on its way in: whatever a file holds, no token comes out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Longest piece of somebody's text that a message repeats.
const QUOTE_MAX: usize = 48;

/// One mistake: where it stands, what it is, and what to write instead.
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
    pub(super) fn new(path: &str, what: &str, instead: &str) -> Self {
        Self {
            path: redact(path),
            what: redact(what),
            instead: redact(instead),
        }
    }
}

/// A configuration that is refused as a whole.
#[derive(Debug)]
pub struct ConfigError {
    subject: Subject,
    file: Option<PathBuf>,
    problems: Vec<Problem>,
    source: Option<io::Error>,
}

/// What could not be done; the first line of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Refused,
    Unreadable,
    NoConfigPath,
    NoStateDir,
    NoSession,
}

impl ConfigError {
    /// The file was read and has mistakes.
    pub(super) fn refused(file: &Path, problems: Vec<Problem>) -> Self {
        Self {
            subject: Subject::Refused,
            file: Some(file.to_owned()),
            problems,
            source: None,
        }
    }

    /// `file` (the configuration, or `.env` beside it) is missing or cannot be read.
    pub(super) fn unreadable(file: &Path, problem: Problem, source: io::Error) -> Self {
        Self {
            subject: Subject::Unreadable,
            file: Some(file.to_owned()),
            problems: vec![problem],
            source: Some(source),
        }
    }

    /// Nothing says where the configuration is.
    pub(super) fn no_config_path(problem: Problem) -> Self {
        Self {
            subject: Subject::NoConfigPath,
            file: None,
            problems: vec![problem],
            source: None,
        }
    }

    /// Nothing says where the state belongs.
    pub(super) fn no_state_dir(problem: Problem) -> Self {
        Self {
            subject: Subject::NoStateDir,
            file: None,
            problems: vec![problem],
            source: None,
        }
    }

    /// The session that was asked for does not exist.
    pub(super) fn no_session(file: &Path, problem: Problem) -> Self {
        Self {
            subject: Subject::NoSession,
            file: Some(file.to_owned()),
            problems: vec![problem],
            source: None,
        }
    }

    pub(super) fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
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
        self.source
            .as_ref()
            .is_some_and(|source| source.kind() == io::ErrorKind::NotFound)
            && self.subject == Subject::Unreadable
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = redact(
            &self
                .file
                .as_deref()
                .unwrap_or(Path::new(""))
                .display()
                .to_string(),
        );
        match (self.subject, self.problems.len()) {
            (Subject::Refused, 1) => write!(f, "{file} is refused because of 1 mistake:"),
            (Subject::Refused, n) => write!(f, "{file} is refused because of {n} mistakes:"),
            (Subject::Unreadable, _) => write!(f, "{file} cannot be read:"),
            (Subject::NoConfigPath, _) => {
                f.write_str("it is not clear where the configuration is:")
            }
            (Subject::NoStateDir, _) => f.write_str("it is not clear where the state belongs:"),
            (Subject::NoSession, _) => {
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

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Why a file cannot be read is told before its fix, not behind it.
        let untold = self.subject != Subject::Unreadable;
        let source = self.source.as_ref().filter(|_| untold);
        source.map(|source| source as _)
    }
}

/// `text` without the secret half of anything that has the form of a bot token.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(start);
        let (digits, after) = split_where(tail, |c| !c.is_ascii_digit());
        out.push_str(before);
        out.push_str(digits);
        rest = after;
        if digits.len() >= 5
            && let Some(secret) = after.strip_prefix(':')
            && let (secret, after) = split_where(secret, |c| !is_secret_char(c))
            && secret.len() >= 12
        {
            out.push_str(":…");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether `c` occurs in the secret half of a token.
pub(super) fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

/// Somebody's text for a message: quoted, escaped, without a token, not too long.
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
        let part = if text.len() >= 4 && name.contains(&text) {
            0.9
        } else {
            0.0
        };
        strsim::jaro_winkler(&text, &name).max(part)
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
