//! Texts for people: sizes, spans of time, and texts of other people made safe for a terminal. Pure.

/// A span of seconds, such as `3 min`.
pub fn format_span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A size as Telegram's clients show it, rounded up: a size above a limit looks so.
pub fn format_megabytes(size: u64) -> String {
    let tenths = size.saturating_mul(10).div_ceil(1 << 20);
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} MB"),
        (whole, tenth) => format!("{whole}.{tenth} MB"),
    }
}

/// A number of things, such as `1 message` or `2 messages`.
pub fn format_count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A text for one line of a table. Characters that could act upon a terminal are escaped, as in `\u{1b}`:
/// none moves the cursor, changes the title of the window or turns the direction of the line.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(' '),
            character if acts(character) => out.extend(character.escape_unicode()),
            character => out.push(character),
        }
    }
    out
}

/// The same JSON without characters that could act upon a terminal.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // Line ends stand between the values only; within strings `serde_json` has escaped them.
        if character == '\n' || !acts(character) {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.extend(["\\u", &format!("{unit:04x}")]);
        }
    }
    out
}

/// Whether a character acts upon a terminal or is invisible: control characters (C0, DEL, C1), line and paragraph
/// separators, marks that turn the direction of writing, fillers, private use.
pub fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{ffa0}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffc}'
                | '\u{e0000}'..='\u{e007f}'
                | '\u{f0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;title\u{7}\u{9b}31m\u{202e}b\r\n\u{e0041}é👨‍💻";

    #[test]
    fn nothing_that_acts_upon_a_terminal_is_left() {
        assert_eq!(
            one_line(HOSTILE),
            "a\\u{1b}]0;title\\u{7}\\u{9b}31m\\u{202e}b\\u{d} \\u{e0041}é👨‍💻"
        );
    }

    #[test]
    fn a_size_above_the_limit_looks_so() {
        assert_eq!(format_megabytes(20 << 20), "20 MB");
        assert_eq!(format_megabytes((20 << 20) + 1), "20.1 MB");
        assert_eq!(format_megabytes(1), "0.1 MB");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        let safe = json(&text);
        assert!(!safe.chars().any(|c| c != '\n' && acts(c)), "{safe:?}");
        assert_eq!(
            serde_json::from_str::<Vec<String>>(&safe).unwrap(),
            [HOSTILE]
        );
    }
}
