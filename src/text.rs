//! Text of other people, made safe for a terminal: nothing in it may move the cursor, change the window's title or
//! turn the direction of the line. Pure.

/// A text for one line of a table: what could act upon a terminal is shown as `\u{1b}`.
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

/// A JSON text whose strings hold nothing that could act upon a terminal; still the same JSON.
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

/// Control characters (C0, DEL, C1), line and paragraph separators, marks that turn the direction of
/// writing, and invisible characters.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
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
