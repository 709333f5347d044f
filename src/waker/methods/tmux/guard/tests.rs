use crate::waker::methods::tmux::guard::*;

const COMMAND: &str = "/telegram-reply";

fn typing() -> Typing {
    Typing {
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
        shown: Shown::Empty,
    }
}

fn showing(shown: Shown) -> PaneState {
    PaneState { shown, ..well() }
}

fn ours(menu: Option<&str>) -> Shown {
    Shown::Typed {
        text: COMMAND.to_owned(),
        menu: menu.map(str::to_owned),
    }
}

#[test]
fn a_key_is_pressed_only_where_all_is_well() {
    let next = |pane: PaneState| next_key(&pane, AgentState::Idle, &typing(), true);
    assert_eq!(next(well()), Ok(Key::Paste));
    let sessions = vec!["other".to_owned(), "shop".to_owned()];
    assert_eq!(next(PaneState { sessions, ..well() }), Ok(Key::Paste));
    let other = |sessions: &[&str]| PaneState {
        sessions: sessions.iter().map(|&name| name.to_owned()).collect(),
        ..well()
    };
    for (pane, refusal) in [
        (other(&[]), Refusal::Gone),
        (other(&["sho"]), Refusal::OtherSession("sho".to_owned())),
        (
            PaneState {
                is_dead: true,
                ..well()
            },
            Refusal::Dead,
        ),
        (
            PaneState {
                in_mode: true,
                ..well()
            },
            Refusal::Mode,
        ),
        (
            PaneState {
                is_synchronized: true,
                ..well()
            },
            Refusal::Synchronized,
        ),
        (
            PaneState {
                is_input_off: true,
                ..well()
            },
            Refusal::InputOff,
        ),
        (
            PaneState {
                agent_in_front: false,
                ..well()
            },
            Refusal::NotInFront,
        ),
        (showing(Shown::Dialog), Refusal::Question),
        (showing(Shown::AtWork), Refusal::Busy),
        (showing(Shown::Elsewhere), Refusal::Elsewhere),
        (showing(Shown::Other), Refusal::NoInputLine),
    ] {
        assert_eq!(next(pane.clone()), Err(refusal), "{pane:?}");
    }
}

#[test]
fn only_an_agent_that_is_surely_idle_is_typed_to() {
    for (state, refusal) in [
        (AgentState::Busy, Refusal::Busy),
        (AgentState::Waiting, Refusal::Dialog),
        (AgentState::Unknown, Refusal::Unknown),
        (AgentState::Gone, Refusal::Ended),
    ] {
        for pane in [well(), showing(ours(None))] {
            assert_eq!(
                next_key(&pane, state, &typing(), true),
                Err(refusal.clone())
            );
        }
    }
}

#[test]
fn enter_follows_only_our_own_command_and_only_if_it_is_what_would_run() {
    let next = |shown, is_ours| next_key(&showing(shown), AgentState::Idle, &typing(), is_ours);
    assert_eq!(next(ours(None), true), Ok(Key::Enter));
    assert_eq!(next(ours(Some(COMMAND)), true), Ok(Key::Enter));
    assert_eq!(next(ours(Some("…gram-reply")), true), Ok(Key::Enter));
    // Somebody has typed the same, and thinks about it.
    assert_eq!(next(ours(None), false), Err(Refusal::Draft));
    let other = Refusal::OtherCommand("/telemetry".to_owned());
    assert_eq!(next(ours(Some("/telemetry")), true), Err(other));
    for text in ["/telegram-replyx", "x/telegram-reply", "/telegram"] {
        let text = text.to_owned();
        let draft = Shown::Typed { text, menu: None };
        assert_eq!(next(draft, true), Err(Refusal::Draft));
    }
}

#[test]
fn each_refusal_has_its_words() {
    for (refusal, words) in [
        (Refusal::Dialog, "a permission dialog is open"),
        (Refusal::Draft, "somebody has begun to type there"),
        (
            Refusal::Several(2),
            "2 panes of the tmux session have a Claude Code, and nobody says which is meant",
        ),
        (
            Refusal::Tmux("it did not answer within 5 s".to_owned()),
            "tmux cannot be asked: it did not answer within 5 s",
        ),
    ] {
        assert_eq!(refusal.to_string(), words);
    }
}
