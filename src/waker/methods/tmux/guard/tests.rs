use crate::waker::methods::tmux::guard::*;

const COMMAND: &str = "/telegram-reply";

fn typing() -> TypingRules {
    TypingRules {
        session: "shop".to_owned(),
        command: COMMAND.to_owned(),
    }
}

/// A pane in which all is well.
fn well() -> PaneState {
    PaneState {
        sessions: vec!["shop".to_owned()],
        is_dead: false,
        in_mode: false,
        is_synchronized: false,
        is_input_off: false,
        agent_in_front: true,
        input: InputLine::Empty,
    }
}

fn showing(input: InputLine) -> PaneState {
    PaneState { input, ..well() }
}

fn ours(menu: Option<&str>) -> InputLine {
    InputLine::Typed {
        text: COMMAND.to_owned(),
        menu: menu.map(str::to_owned),
    }
}

#[test]
fn a_key_is_pressed_only_if_all_is_well() {
    let next = |pane: PaneState| decide_key(&pane, AgentState::Idle, &typing(), true);
    assert_eq!(next(well()), Ok(NextKey::Paste));
    let sessions = vec!["other".to_owned(), "shop".to_owned()];
    assert_eq!(next(PaneState { sessions, ..well() }), Ok(NextKey::Paste));
    let other = |sessions: &[&str]| PaneState {
        sessions: sessions.iter().map(|&name| name.to_owned()).collect(),
        ..well()
    };
    for (pane, refusal) in [
        (other(&[]), TypingRefusal::Gone),
        (
            other(&["sho"]),
            TypingRefusal::OtherSession("sho".to_owned()),
        ),
        (
            PaneState {
                is_dead: true,
                ..well()
            },
            TypingRefusal::Dead,
        ),
        (
            PaneState {
                in_mode: true,
                ..well()
            },
            TypingRefusal::Mode,
        ),
        (
            PaneState {
                is_synchronized: true,
                ..well()
            },
            TypingRefusal::Synchronized,
        ),
        (
            PaneState {
                is_input_off: true,
                ..well()
            },
            TypingRefusal::InputOff,
        ),
        (
            PaneState {
                agent_in_front: false,
                ..well()
            },
            TypingRefusal::NotInFront,
        ),
        (showing(InputLine::Dialog), TypingRefusal::Question),
        (showing(InputLine::AtWork), TypingRefusal::Busy),
        (showing(InputLine::Elsewhere), TypingRefusal::Elsewhere),
        (showing(InputLine::Other), TypingRefusal::NoInputLine),
    ] {
        assert_eq!(next(pane.clone()), Err(refusal), "{pane:?}");
    }
}

#[test]
fn only_an_agent_that_is_certainly_idle_is_typed_to() {
    for (state, refusal) in [
        (AgentState::Busy, TypingRefusal::Busy),
        (AgentState::Waiting, TypingRefusal::Dialog),
        (AgentState::Unknown, TypingRefusal::Unknown),
        (AgentState::Gone, TypingRefusal::Ended),
    ] {
        for pane in [well(), showing(ours(None))] {
            assert_eq!(
                decide_key(&pane, state, &typing(), true),
                Err(refusal.clone())
            );
        }
    }
}

#[test]
fn enter_follows_only_our_own_command_and_only_if_it_is_what_would_run() {
    let next = |shown, is_ours| decide_key(&showing(shown), AgentState::Idle, &typing(), is_ours);
    assert_eq!(next(ours(None), true), Ok(NextKey::Enter));
    assert_eq!(next(ours(Some(COMMAND)), true), Ok(NextKey::Enter));
    assert_eq!(next(ours(Some("…gram-reply")), true), Ok(NextKey::Enter));
    // A person has typed the same command and has not sent it.
    assert_eq!(next(ours(None), false), Err(TypingRefusal::Draft));
    let other = TypingRefusal::OtherCommand("/telemetry".to_owned());
    assert_eq!(next(ours(Some("/telemetry")), true), Err(other));
    for text in ["/telegram-replyx", "x/telegram-reply", "/telegram"] {
        let text = text.to_owned();
        let draft = InputLine::Typed { text, menu: None };
        assert_eq!(next(draft, true), Err(TypingRefusal::Draft));
    }
}

#[test]
fn each_refusal_has_a_text() {
    for (refusal, words) in [
        (TypingRefusal::Dialog, "a permission dialog is open"),
        (TypingRefusal::Draft, "the input line already contains text"),
        (
            TypingRefusal::Several(2),
            "2 panes of the tmux session run Claude Code, and it is not clear which one is meant",
        ),
        (
            TypingRefusal::Tmux("it did not answer within 5 s".to_owned()),
            "tmux cannot be queried: it did not answer within 5 s",
        ),
    ] {
        assert_eq!(refusal.to_string(), words);
    }
}
