//! Asking a person on the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use super::{Failure, print};

/// What the person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    /// Or anything else.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// Asks, with `[y/N]` behind the question.
pub(super) fn ask(question: &str) -> Result<Said, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(Said::Nobody);
    }
    print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdout()
        .flush()
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|source| Failure::Io {
            operation: "ask",
            source,
        })?;
    Ok(match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Said::Yes,
        _ => Said::No,
    })
}
