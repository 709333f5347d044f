use crate::waker::methods::tmux::screen::*;

/// A screen of a real client: from `tests/data/panes`, its first line says where the cursor is.
fn shown(version: &str, name: &str) -> InputLine {
    let (screen, cursor) = capture(version, name);
    read_input_line(&screen, cursor)
}

fn capture(version: &str, name: &str) -> (String, (usize, usize)) {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = top.join(format!("tests/data/panes/{version}/{name}.screen"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, screen) = text.split_once('\n').unwrap();
    let numbers: Vec<usize> = head
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    (screen.to_owned(), (numbers[0], numbers[1]))
}

fn typed(text: &str, menu: Option<&str>) -> InputLine {
    InputLine::Typed {
        text: remove_blanks(text),
        menu: menu.map(str::to_owned),
    }
}

#[test]
fn the_screens_of_the_real_clients_are_read_as_what_they_are() {
    let command = "/telegram-reply";
    for (name, newer, older) in [
        ("empty", InputLine::Empty, InputLine::Empty),
        ("after_turn", InputLine::Empty, InputLine::Empty),
        ("unknown_submitted", InputLine::Empty, InputLine::Empty),
        ("help", InputLine::Empty, InputLine::Empty),
        ("narrow", InputLine::Empty, InputLine::Empty),
        ("draft", typed("my draft", None), typed("my draft", None)),
        (
            "draft_lines",
            typed("line one line two", None),
            typed("line one line two", None),
        ),
        (
            "draft_pasted",
            typed("[Pasted text #1 +6 lines]", None),
            typed("[Pasted text #1 +6 lines]", None),
        ),
        ("bash_mode", typed("! ls", None), typed("! ls", None)),
        (
            "pasted",
            typed(command, Some(command)),
            typed(command, Some(command)),
        ),
        (
            "narrow_pasted",
            typed(command, Some("…elegram-reply")),
            typed(command, Some("…elegram-reply")),
        ),
        // The newer one marks what Enter would take, here nothing; the older one takes the first.
        (
            "unknown_pasted",
            typed("/telegram-replx", None),
            typed("/telegram-replx", Some(command)),
        ),
        (
            "menu_other",
            typed("/mod", Some("/model")),
            typed("/mod", Some("/model")),
        ),
        ("busy", InputLine::AtWork, InputLine::AtWork),
        ("queued", InputLine::AtWork, InputLine::AtWork),
        ("permission", InputLine::Dialog, InputLine::Dialog),
        ("question", InputLine::Dialog, InputLine::Dialog),
        ("model_picker", InputLine::Dialog, InputLine::Dialog),
        ("history_search", InputLine::Dialog, InputLine::Elsewhere),
        ("transcript", InputLine::Other, InputLine::Other),
        ("editor", InputLine::Other, InputLine::Other),
        ("suspended", InputLine::Other, InputLine::Other),
    ] {
        assert_eq!(shown("2.1.329", name), newer, "2.1.329 {name}");
        assert_eq!(shown("2.1.197", name), older, "2.1.197 {name}");
    }
}

/// A key that is pressed in one of them decides for the person.
#[test]
fn every_dialog_of_an_agent_that_waits_for_its_person_is_a_dialog() {
    for name in [
        "plan",
        "question_of_many",
        "question_review",
        "elicitation",
        "unchecked_notice",
        "unchecked",
    ] {
        assert_eq!(shown("2.1.332", name), InputLine::Dialog, "{name}");
    }
}

/// A screen with this in the input line, drawn so, and more below.
fn screen(input: &str, below: &str) -> String {
    let rule = "─".repeat(40);
    format!("● An answer.\n{rule}\n❯\u{a0}{input}\n{rule}\n{below}\n")
}

#[test]
fn a_hint_in_an_empty_input_line_was_not_typed() {
    let hint = "\u{1b}[7mT\u{1b}[0;2mry \"fix the tests\"\u{1b}[0m";
    let read_at =
        |text: &str, column| read_input_line(&screen(text, "  ? for shortcuts"), (column, 2));
    assert_eq!(read_at(hint, 2), InputLine::Empty);
    // The same words, typed by a person, with the cursor back at the beginning.
    assert_eq!(
        read_at("\u{1b}[7mT\u{1b}[0mry this", 2),
        typed("Try this", None)
    );
    // With one letter it cannot be known.
    assert_eq!(read_at("\u{1b}[7mT\u{1b}[0m", 2), typed("T", None));
    // Colours have twos of their own.
    let colour = "\u{1b}[38;5;2mT\u{1b}[48;2;2;2;2mry\u{1b}[0m";
    assert_eq!(read_at(colour, 2), typed("Try", None));
    // Behind the mark of a command for the shell it is no empty line, either.
    let rule = "─".repeat(40);
    let shell = format!("{rule}\n! {hint}\n{rule}\n");
    assert_eq!(read_input_line(&shell, (2, 1)), typed("!T", None));
    // A link has an address that is not seen, and ends in either way.
    let link = "\u{1b}]8;;https://a.b\u{1b}\\see\u{1b}]8;;\u{7} this";
    assert_eq!(read_at(link, 9), typed("see this", None));
    // The arguments of a command, behind it.
    let command = "/telegram-reply\u{1b}[2m [text to send]\u{1b}[0m";
    assert_eq!(read_at(command, 17), typed("/telegram-reply", None));
}

#[test]
fn a_line_further_up_that_begins_like_one_does_not_hide_the_input_line() {
    let screen = format!("! a line of an answer\n{}", screen("", ""));
    assert_eq!(read_input_line(&screen, (2, 3)), InputLine::Empty);
}

#[test]
fn when_in_doubt_it_is_not_the_input_line() {
    let rule = "─".repeat(40);
    for (what, screen, cursor, expected) in [
        ("nothing", String::new(), (0, 0), InputLine::Other),
        ("a shell", "$ \n".to_owned(), (2, 0), InputLine::Other),
        (
            "a shell's prompt that looks like it",
            "❯\u{a0}\n".to_owned(),
            (2, 0),
            InputLine::Other,
        ),
        (
            "no rule below",
            format!("{rule}\n❯\u{a0}\n\n"),
            (2, 1),
            InputLine::Other,
        ),
        (
            "no rule above",
            format!("text\n❯\u{a0}\n{rule}\n"),
            (2, 1),
            InputLine::Other,
        ),
        (
            "a common space",
            format!("{rule}\n❯ \n{rule}\n"),
            (2, 1),
            InputLine::Other,
        ),
        (
            "a text between that does not belong to it",
            format!("{rule}\n❯\u{a0}\nReally?\n{rule}\n"),
            (2, 1),
            InputLine::Other,
        ),
        (
            "a question below",
            screen("", "  Esc to cancel"),
            (2, 2),
            InputLine::Dialog,
        ),
        (
            "the cursor elsewhere",
            screen("", "  search:"),
            (9, 4),
            InputLine::Elsewhere,
        ),
        (
            "something typed, and the cursor elsewhere",
            screen("/telegram-reply", "  search:"),
            (9, 4),
            InputLine::Elsewhere,
        ),
        (
            "the cursor not at its beginning",
            screen("", ""),
            (5, 2),
            InputLine::Elsewhere,
        ),
        (
            "an answer to choose",
            " ❯ 1. Yes\n   2. No\n".to_owned(),
            (1, 0),
            InputLine::Dialog,
        ),
        (
            "a vi that shows a capture",
            format!("{}~\n~\n", screen("", "")),
            (0, 0),
            InputLine::Elsewhere,
        ),
        ("all is well", screen("", ""), (2, 2), InputLine::Empty),
    ] {
        assert_eq!(read_input_line(&screen, cursor), expected, "{what}");
    }
}

#[test]
fn a_rule_may_have_a_name_in_it() {
    let rule = format!("{} shop ──", "─".repeat(30));
    let screen = format!("{rule}\n❯\u{a0}\n{rule}\n");
    assert_eq!(read_input_line(&screen, (2, 1)), InputLine::Empty);
}

#[test]
fn a_menu_names_a_command_also_if_it_is_cut() {
    for (entry, command, expected) in [
        ("/telegram-reply", "/telegram-reply", true),
        ("/telegram-reply", "/telegram-reply now", true),
        ("…elegram-reply", "/telegram-reply", true),
        ("…", "/telegram-reply", false),
        ("/telegram", "/telegram-reply", false),
        ("/telepost:telegram-reply", "/telegram-reply", false),
        ("…o-reply", "/telegram-reply", false),
    ] {
        assert_eq!(is_entry_of(entry, command), expected, "{entry} {command}");
    }
}

#[test]
fn an_unknown_command_is_seen() {
    let count = |version, name| {
        let (screen, _) = capture(version, name);
        count_unknown(&screen, "/telegram-replx")
    };
    assert_eq!(count("2.1.329", "unknown_submitted"), 1);
    assert_eq!(count("2.1.329", "unknown_pasted"), 0);
}

proptest::proptest! {
    #[test]
    fn no_screen_is_too_odd(screen in "(?s).{0,200}", column in 0..9usize, row in 0..9usize) {
        let _shown: InputLine = read_input_line(&screen, (column, row));
        let _count: usize = count_unknown(&screen, "/x");
    }

    #[test]
    fn what_was_typed_is_never_taken_for_an_empty_line(
        text in "[a-z/!?]{1,20}( [a-z]{1,20}){0,3}",
        below in "[a-z ]{0,20}",
        column in 0..40usize,
    ) {
        let shown = read_input_line(&screen(&text, &below), (column, 2));
        proptest::prop_assert_ne!(shown, InputLine::Empty);
    }
}
