//! What a captured pane shows of Claude Code. Pure.
//!
//! Its input line is a prompt between two rules, and the cursor stands in it (measured with 2.1.197 and
//! 2.1.329; `tests/data/panes` has the screens). Whatever is not surely that counts as something else:
//! who does not know what a key would do presses none.

/// Claude Code writes it before what is typed, with a space that does not break. Before what was sent
/// earlier stands a common space.
const PROMPT: &str = "❯\u{a0}";
/// The same before an answer that is chosen, and before the command that a menu would take.
const CHOSEN: &str = "❯ ";
/// A menu above the input line is at most so high.
const MENU_ROWS: usize = 15;
/// At the bottom of what waits for an answer. Some of it may stand in an open answer, too.
const ASKING: [&str; 4] = [
    "Esc to cancel",
    "Enter to select",
    "Enter to confirm",
    "Do you want to proceed?",
];
/// At the bottom while the agent is at work.
const AT_WORK: &str = "esc to interrupt";

/// What a pane shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The input line, with nothing in it.
    Empty,
    /// The input line, with something in it.
    Typed {
        /// What, without the blanks: where a long line is broken, nobody knows what was a blank.
        text: String,
        /// What a menu of commands would take instead of it, if there is one.
        menu: Option<String>,
    },
    /// The input line of an agent that is at work.
    AtWork,
    /// A question: Enter would answer it.
    Dialog,
    /// The input line, but keys go elsewhere.
    Elsewhere,
    /// No input line of Claude Code.
    Other,
}

/// Reads a screen, captured with its colours, and the cursor on it: column and row from 0.
pub fn read(screen: &str, cursor: (usize, usize)) -> Shown {
    let mut style = Style::default();
    let rows: Vec<Vec<Cell>> = screen.lines().map(|line| cells(line, &mut style)).collect();
    let texts: Vec<String> = rows.iter().map(|row| text(row)).collect();
    let Some(input) = Input::find(&texts) else {
        let asks = |text: &String| {
            let is_answer = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
            let chosen = text.trim_start().strip_prefix(CHOSEN);
            chosen.is_some_and(is_answer) || ASKING.iter().any(|words| text.contains(words))
        };
        return if texts.iter().any(asks) {
            Shown::Dialog
        } else {
            Shown::Other
        };
    };
    let below = texts.get(input.end..).unwrap_or_default();
    let says = |words: &str| below.iter().any(|text| text.contains(words));
    if ASKING.iter().any(|words| says(words)) {
        return Shown::Dialog;
    }
    if says(AT_WORK) {
        return Shown::AtWork;
    }
    let (column, row) = cursor;
    if !(input.begin..input.end).contains(&row) {
        return Shown::Elsewhere;
    }
    let typed = typed(&rows, &input);
    if !input.is_prompt {
        return Shown::Typed {
            text: typed,
            menu: None,
        };
    }
    let at_begin = (column, row) == (2, input.begin);
    if typed.is_empty() {
        return if at_begin {
            Shown::Empty
        } else {
            Shown::Elsewhere
        };
    }
    if at_begin && is_hint(&rows, &input) {
        return Shown::Empty;
    }
    let menu = menu(&texts, &input);
    Shown::Typed { text: typed, menu }
}

/// A text without its blanks, as [`Shown::Typed`] has it.
pub fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Where the input line stands.
struct Input {
    begin: usize,
    /// The rule below it.
    end: usize,
    /// Whether it takes what is typed as a prompt, not as a command of the shell.
    is_prompt: bool,
}

impl Input {
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

/// What was typed: a hint at what may follow is dim.
fn typed(rows: &[Vec<Cell>], input: &Input) -> String {
    let rows = rows.get(input.begin..input.end).unwrap_or_default();
    let bright = rows.iter().flatten().filter(|cell| !cell.is_dim);
    let all: String = bright.map(|cell| cell.character).collect();
    without_blanks(all.strip_prefix(PROMPT).unwrap_or(&all))
}

/// Whether what stands in the input line was not typed: it is dim, but for what the cursor lies on.
fn is_hint(rows: &[Vec<Cell>], input: &Input) -> bool {
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

/// The command that Enter would take from a menu: newer clients mark it, above the input line; with
/// older ones it is the first, below.
fn menu(texts: &[String], input: &Input) -> Option<String> {
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

/// Whether a menu names this command, perhaps cut at its beginning for want of room.
pub fn names(entry: &str, command: &str) -> bool {
    let word = command.split_whitespace().next().unwrap_or_default();
    match entry.strip_prefix('…') {
        Some(rest) => !rest.is_empty() && word.ends_with(rest),
        None => entry == word,
    }
}

/// How often a screen says that the client does not know this command.
pub fn calls_unknown(screen: &str, command: &str) -> usize {
    let word = command.split_whitespace().next().unwrap_or_default();
    let name = word.trim_start_matches('/');
    let mut style = Style::default();
    let says = |line: &str| {
        let text = text(&cells(line, &mut style));
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

/// One character of a screen.
#[derive(Clone, Copy)]
struct Cell {
    character: char,
    is_dim: bool,
}

/// How what follows is drawn, also on the next line.
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
                // A colour has parameters of its own, among which may be a 2.
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

/// The characters of a line, and how each is drawn.
fn cells(line: &str, style: &mut Style) -> Vec<Cell> {
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
        found.push(Cell {
            character,
            is_dim: style.is_dim,
        });
        let mut after = rest.chars();
        let _taken: Option<char> = after.next();
        rest = after.as_str();
    }
    found
}

fn text(row: &[Cell]) -> String {
    row.iter().map(|cell| cell.character).collect()
}

#[cfg(test)]
mod tests;
