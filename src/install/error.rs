//! Why the files of a client cannot be changed, in the words that a person reads.

use std::path::PathBuf;

use crate::config::redact;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("{} {error}; nothing was changed", path.display())]
    Refused { path: PathBuf, error: EditError },
    #[error("{} {reason}; nothing was changed. The original files are saved next to the changed ones as *.telepost-backup: restore the ones you need by hand, delete {}, and run the command again", path.display(), path.display())]
    Record { path: PathBuf, reason: String },
    #[error("{} was changed by another program in the meantime (is the client running?); run the command again to finish", path.display())]
    Changed { path: PathBuf },
    /// The operating system refused before anything was changed.
    #[error("nothing was changed")]
    Untouched(#[source] StoreError),
    /// The operating system refused halfway.
    #[error("not every file was changed; fix the problem and run the command again to finish")]
    Store(#[from] StoreError),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "cannot be read: line {line}, column {column}: {message}; fix it and run the command again"
    )]
    Syntax {
        line: usize,
        column: usize,
        message: String,
    },
    #[error(
        "needs {expected} at {place}, but has something else there; fix it and run the command again"
    )]
    Shape {
        place: String,
        expected: &'static str,
    },
    #[error(
        "already has another MCP server named `telegram`{}; rename or remove it, or run the command again with --replace (uninstall puts it back)",
        in_brackets(command)
    )]
    OtherServer { command: String },
}

fn in_brackets(command: &str) -> String {
    if command.is_empty() {
        String::new()
    } else {
        format!(" ({})", redact(command))
    }
}

impl EditError {
    /// A syntax error at a byte offset.
    pub(super) fn at_offset(text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self::Syntax {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            message,
        }
    }

    /// A value of the wrong type at a path of keys.
    pub(super) fn at_path(path: &[&str], expected: &'static str) -> Self {
        let place = if path.is_empty() {
            "the top level".to_owned()
        } else {
            path.join(".")
        };
        Self::Shape { place, expected }
    }
}
