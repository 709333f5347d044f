//! Why the files of a client cannot be changed, in the words that a person reads.

use std::path::PathBuf;

use crate::config::redact;
use crate::store::StoreError;

/// The files of a client cannot be changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A file has content that cannot be edited safely.
    #[error("{} {error}; nothing was changed", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        error: EditError,
    },
    /// The record cannot be understood.
    #[error("{} {reason}; nothing was changed. The original files are saved next to the changed ones as *.telepost-backup: restore the ones you need by hand, delete {}, and run the command again", path.display(), path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// The fault in it.
        reason: String,
    },
    /// Another program has written a file since it was read.
    #[error("{} was changed by another program in the meantime (is the client running?); run the command again to finish", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused before anything was changed.
    #[error("nothing was changed")]
    Untouched(#[source] StoreError),
    /// The operating system refused halfway.
    #[error("not every file was changed; fix the problem and run the command again to finish")]
    Store(#[from] StoreError),
}

/// Why the content of a file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text does not parse.
    #[error(
        "cannot be read: line {line}, column {column}: {message}; fix it and run the command again"
    )]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's own words.
        message: String,
    },
    /// A value has another type than the client expects there.
    #[error(
        "needs {expected} at {place}, but has something else there; fix it and run the command again"
    )]
    Shape {
        /// The keys that lead to the value.
        place: String,
        /// The type that it must have.
        expected: &'static str,
    },
    /// The name is taken by a server that is not telepost.
    #[error(
        "already has another MCP server named `telegram`{}; rename or remove it, or run the command again with --replace (uninstall puts it back)",
        in_brackets(command)
    )]
    OtherServer {
        /// The program that it starts.
        command: String,
    },
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
