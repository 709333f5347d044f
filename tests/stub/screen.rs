//! The screens of the clients, as far as they matter (`tests/data/panes` has the real screens).

use crate::{Doing, Look};

const WIDTH: usize = 100;
const HEIGHT: usize = 30;

/// The whole screen, as a terminal takes it.
pub(crate) fn draw(look: Look, doing: Doing, draft: &str, hint: bool) -> String {
    if look == Look::Other {
        let tildes = vec!["~"; HEIGHT - 1].join("\r\n");
        return format!("\u{1b}[2J\u{1b}[H{tildes}\r\n\"errands.txt\" 3L, 42B\u{1b}[1;1H");
    }
    let rule = "─".repeat(WIDTH);
    let mut rows = vec![
        " ▐▛███▛█   Claude Code".to_owned(),
        String::new(),
        "● An earlier answer.".to_owned(),
    ];
    if doing == Doing::Dialog {
        rows.extend(
            [
                &rule,
                " Bash command",
                "   touch approved",
                " Do you want to proceed?",
                " ❯ 1. Yes",
                "   2. No",
                "",
                " Esc to cancel · Tab to amend",
            ]
            .map(str::to_owned),
        );
        return place(&rows, (1, 7));
    }
    let menu = "/telegram-reply               read telegram";
    let has_menu = draft == "/telegram-reply";
    if has_menu && look != Look::ClaudeOld {
        rows.push(format!("  ❯ {menu}"));
    }
    rows.push(rule.clone());
    let row = rows.len();
    let lines: Vec<&str> = draft.split('\n').collect();
    if hint && draft.is_empty() {
        rows.push("❯\u{a0}\u{1b}[7mT\u{1b}[0;2mry \"fix the lint errors\"\u{1b}[0m".to_owned());
    } else {
        rows.push(format!("❯\u{a0}{}", lines[0]));
    }
    rows.extend(lines.iter().skip(1).map(|line| format!("  {line}")));
    let last = lines.last().unwrap();
    let cursor = (2 + last.chars().count(), row + lines.len() - 1);
    rows.push(rule);
    if has_menu && look == Look::ClaudeOld {
        rows.push(menu.to_owned());
    } else if doing == Doing::Busy {
        rows.push("  esc to interrupt".to_owned());
    } else {
        rows.push("  ? for shortcuts".to_owned());
    }
    place(&rows, cursor)
}

fn place(rows: &[String], (column, row): (usize, usize)) -> String {
    let rows = rows.join("\r\n");
    format!("\u{1b}[2J\u{1b}[H{rows}\u{1b}[{};{}H", row + 1, column + 1)
}
