//! Reads Claude Code's input line from a captured screen. Pure.
//!
//! The input line is a prompt between two rules, with the cursor in it (measured with 2.1.197 and 2.1.329;
//! `tests/data/panes` has the screens). A screen that is not certainly that counts as another one, because no
//! key may be pressed whose effect is unknown.

/// Claude Code writes it before the input, with a non-breaking space. Before prompts that were sent stands a
/// common space.
const PROMPT: &str = "❯\u{a0}";
/// It writes this before the selected answer, and before the selected command of a menu.
const CHOSEN: &str = "❯ ";
/// The greatest height of a menu above the input line.
const MENU_ROWS: usize = 15;
/// At the bottom of a dialog. An open answer may contain some of it, too.
const ASKING: [&str; 4] = [
    "Esc to cancel",
    "Enter to select",
    "Enter to confirm",
    "Do you want to proceed?",
];
/// At the bottom while the agent is at work.
const AT_WORK: &str = "esc to interrupt";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InputLine {
    Empty,
    Typed {
        /// The text without blanks: where a long line is broken, a blank may be missing.
        text: String,
        /// The command that an open menu would run instead.
        menu: Option<String>,
    },
    AtWork,
    /// A dialog is open, which Enter would answer.
    Dialog,
    /// There is one, but keys go elsewhere.
    Elsewhere,
    Other,
}

/// Reads a screen, captured with its colours, and the cursor on it: column and row from 0.
pub(crate) fn read_input_line(screen: &str, cursor: (usize, usize)) -> InputLine {
    let mut style = Style::default();
    let rows: Vec<Vec<ScreenCell>> = screen
        .lines()
        .map(|line| parse_cells(line, &mut style))
        .collect();
    let texts: Vec<String> = rows.iter().map(|row| join_text(row)).collect();
    let Some(input) = InputArea::find(&texts) else {
        let asks = |text: &String| {
            let is_answer = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
            let chosen = text.trim_start().strip_prefix(CHOSEN);
            chosen.is_some_and(is_answer) || ASKING.iter().any(|words| text.contains(words))
        };
        return if texts.iter().any(asks) {
            InputLine::Dialog
        } else {
            InputLine::Other
        };
    };
    let below = texts.get(input.end..).unwrap_or_default();
    let says = |words: &str| below.iter().any(|text| text.contains(words));
    if ASKING.iter().any(|words| says(words)) {
        return InputLine::Dialog;
    }
    if says(AT_WORK) {
        return InputLine::AtWork;
    }
    let (column, row) = cursor;
    if !(input.begin..input.end).contains(&row) {
        return InputLine::Elsewhere;
    }
    let typed = read_text(&rows, &input);
    if !input.is_prompt {
        return InputLine::Typed {
            text: typed,
            menu: None,
        };
    }
    let at_begin = (column, row) == (2, input.begin);
    if typed.is_empty() {
        return if at_begin {
            InputLine::Empty
        } else {
            InputLine::Elsewhere
        };
    }
    if at_begin && is_hint(&rows, &input) {
        return InputLine::Empty;
    }
    let menu = find_menu_entry(&texts, &input);
    InputLine::Typed { text: typed, menu }
}

/// Removes the blanks, as in [`InputLine::Typed`].
pub(crate) fn remove_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

struct InputArea {
    begin: usize,
    /// The rule below it.
    end: usize,
    /// Whether its text is a prompt, not a shell command.
    is_prompt: bool,
}

impl InputArea {
    /// The lowest one, if it stands between two rules.
    fn find(texts: &[String]) -> Option<Self> {
        let begins = |text: &String| text.starts_with(PROMPT) || text.starts_with('!');
        let begin = texts.iter().rposition(begins)?;
        if !is_rule(texts.get(begin.checked_sub(1)?)?) {
            return None;
        }
        let more = texts.get(begin + 1..)?;
        let rows = more.iter().position(|text| is_rule(text))?;
        let goes_on = |text: &String| text.trim().is_empty() || text.starts_with("  ");
        if !more.get(..rows)?.iter().all(goes_on) {
            return None;
        }
        Some(Self {
            begin,
            end: begin + 1 + rows,
            is_prompt: texts.get(begin)?.starts_with(PROMPT),
        })
    }
}

/// A line across the pane; a name may stand in it.
fn is_rule(text: &str) -> bool {
    let text = text.trim_end();
    text.starts_with("───") && text.ends_with('─')
}

/// The text of the input line, without the dim hint at what may follow.
fn read_text(rows: &[Vec<ScreenCell>], input: &InputArea) -> String {
    let rows = rows.get(input.begin..input.end).unwrap_or_default();
    let bright = rows.iter().flatten().filter(|cell| !cell.is_dim);
    let all: String = bright.map(|cell| cell.character).collect();
    remove_blanks(all.strip_prefix(PROMPT).unwrap_or(&all))
}

/// Whether the text is a hint: all of it is dim, except under the cursor.
fn is_hint(rows: &[Vec<ScreenCell>], input: &InputArea) -> bool {
    let rows = rows.get(input.begin..input.end).unwrap_or_default();
    let after_cursor = rows.iter().enumerate().flat_map(|(index, row)| {
        let skipped = if index == 0 { 3 } else { 0 };
        row.iter().skip(skipped)
    });
    let mut visible = after_cursor.filter(|cell| !cell.character.is_whitespace());
    let mut any = false;
    visible.all(|cell| {
        any = true;
        cell.is_dim
    }) && any
}

/// The command that Enter would run from a menu: newer clients mark it, above the input line; in older ones it
/// is the first entry below.
fn find_menu_entry(texts: &[String], input: &InputArea) -> Option<String> {
    let command = |entry: &str| {
        let word = entry.split_whitespace().next()?;
        let is_command = word.starts_with(['/', '…']);
        is_command.then(|| word.to_owned())
    };
    let upper = input.begin.saturating_sub(1);
    let above = texts.get(upper.saturating_sub(MENU_ROWS)..upper);
    let marked = above.unwrap_or_default().iter().rev().find_map(|text| {
        let entry = text.strip_prefix("  ")?.strip_prefix(CHOSEN)?;
        command(entry)
    });
    marked.or_else(|| {
        let below = texts.get(input.end + 1)?;
        command(below).filter(|word| below.starts_with(word.as_str()))
    })
}

/// Whether a menu entry names this command, perhaps cut at its beginning for lack of room.
pub(crate) fn is_entry_of(entry: &str, command: &str) -> bool {
    let word = command.split_whitespace().next().unwrap_or_default();
    match entry.strip_prefix('…') {
        Some(rest) => !rest.is_empty() && word.ends_with(rest),
        None => entry == word,
    }
}

/// Counts the lines in which the client says that it does not know this command.
pub(crate) fn count_unknown(screen: &str, command: &str) -> usize {
    let word = command.split_whitespace().next().unwrap_or_default();
    let name = word.trim_start_matches('/');
    let mut style = Style::default();
    let says = |line: &str| {
        let text = join_text(&parse_cells(line, &mut style));
        [
            "Unknown command: /",
            "Unknown skill: ",
            "Unknown slash command: ",
        ]
        .iter()
        .any(|words| {
            let after = text.split_once(words).map(|(_, after)| after);
            after.is_some_and(|after| after.starts_with(name))
        })
    };
    screen.lines().map(says).filter(|says| *says).count()
}

#[derive(Clone, Copy)]
struct ScreenCell {
    character: char,
    is_dim: bool,
}

/// The style of what follows, also on the next line.
#[derive(Clone, Copy, Default)]
struct Style {
    is_dim: bool,
}

impl Style {
    /// The parameters of one `ESC [ … m`.
    fn apply(&mut self, parameters: &str) {
        let mut parameters = parameters.split([';', ':']);
        while let Some(parameter) = parameters.next() {
            match parameter {
                "" | "0" | "22" => self.is_dim = false,
                "2" => self.is_dim = true,
                // A colour has parameters of its own, and one of them may be a 2.
                "38" | "48" | "58" => match parameters.next() {
                    Some("5") => drop(parameters.next()),
                    Some("2") => drop(parameters.by_ref().take(3).count()),
                    Some(_) | None => {}
                },
                _ => {}
            }
        }
    }
}

/// The characters of a line with their style.
fn parse_cells(line: &str, style: &mut Style) -> Vec<ScreenCell> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        // The address of a link, ended in one of two ways.
        if let Some(link) = rest.strip_prefix("\u{1b}]") {
            let ends = ["\u{1b}\\", "\u{7}"].map(|end| link.split_once(end));
            let shortest = ends
                .into_iter()
                .flatten()
                .max_by_key(|(_, after)| after.len());
            rest = shortest.map_or("", |(_, after)| after);
            continue;
        }
        let escape = rest.strip_prefix("\u{1b}[").and_then(|after| {
            after
                .split_once(|c: char| !matches!(c, '0'..='9' | ';' | ':'))
                .map(|(parameters, _)| {
                    let end = after.split_at(parameters.len()).1;
                    (parameters, end)
                })
        });
        if let Some((parameters, end)) = escape {
            if let Some(after) = end.strip_prefix('m') {
                style.apply(parameters);
                rest = after;
            } else {
                let mut end = end.chars();
                let _final: Option<char> = end.next();
                rest = end.as_str();
            }
            continue;
        }
        found.push(ScreenCell {
            character,
            is_dim: style.is_dim,
        });
        let mut after = rest.chars();
        let _taken: Option<char> = after.next();
        rest = after.as_str();
    }
    found
}

fn join_text(row: &[ScreenCell]) -> String {
    row.iter().map(|cell| cell.character).collect()
}

#[cfg(test)]
mod tests;
