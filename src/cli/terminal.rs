//! Output on stdout, tables, and questions.

use std::io::{self, IsTerminal as _, Write as _};

use super::failure::Failure;
use crate::text;

pub(super) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // `telepost status | head` is not an error of ours.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Failure::io("print")),
    }
}

/// Writes a value to stdout as JSON.
pub(super) fn print_json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(io::Error::from);
    let json = json.map_err(Failure::io("write JSON"))?;
    print(&format!("{}\n", text::json(&json)))
}

/// The widest table, so that it fits into a usual terminal.
const WIDTH: u16 = 100;

/// A plain table of at most [`WIDTH`] columns: long cells are broken into lines.
pub(super) fn format_table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(head.to_vec())
        .add_rows(rows);
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The answer of the person at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    Yes,
    /// Or any other answer.
    No,
    /// There is no terminal to ask on.
    NoTerminal,
}

/// Asks for a confirmation, with `[y/N]` after the question.
pub(super) fn confirm(question: &str) -> Result<Confirmation, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(Confirmation::NoTerminal);
    }
    print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdout()
        .flush()
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(Failure::io("ask"))?;
    Ok(match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Confirmation::Yes,
        _ => Confirmation::No,
    })
}
