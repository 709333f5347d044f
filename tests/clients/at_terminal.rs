//! Clients that sit at a terminal, as people have them: in tmux, without it, one window among several. A
//! message comes in at Telegram, the model is woken for it and for nothing else, and its answer goes out.

use std::time::Duration;

use serde_json::json;
use telepost::waker::{BACK_TEXT, DOWN_TEXT, WAKE_TEXT};

use crate::client::{Client, Kind, screen, wait_for_agent};
use crate::support::{House, Terminal, texts, wait_for};

/// The words of the typed command that the model reads.
const COMMAND: &str = "## If there is no text";

/// Messages, one after the other has been answered, so much apart: each wakes the model once, with this text
/// and nothing of the message, and nothing else does. The model is asked three times for each: it polls, answers,
/// and ends its turn.
fn each_is_answered(house: &House, client: &Client, wake: &str, messages: usize, apart: Duration) {
    let before = client.model.count();
    let mut answers = Vec::new();
    for n in 0..messages {
        // One agent: other windows belong to no session. At work, it would be told by its hook at the end of its turn.
        wait_for_agent(house, &["idle"]);
        std::thread::sleep(apart);
        assert_eq!(client.model.count(), before + 3 * n, "asked for nothing");
        let text = format!("errand {n}");
        house.say(&text);
        let asked = client.model.asked();
        let read = asked.everything();
        assert_eq!(read.matches(wake).count(), n + 1, "{read}");
        assert!(!read.contains(&text), "content travels by the tool");
        asked.call("telegram_poll", json!({}));
        let asked = client.model.asked();
        assert_eq!(texts(&asked.result()), [text]);
        let answer = format!("done {n}");
        asked.call("telegram_reply", json!({"text": answer}));
        let asked = client.model.asked();
        assert_eq!(asked.result()["status"], "delivered");
        asked.say("Answered.");
        answers.push(answer);
    }
    assert_eq!(house.heard(), answers);
    assert_eq!(client.model.count(), before + 3 * messages);
    assert!(client.model.is_left_alone());
    assert_eq!(house.names("inbox"), [""; 0]);
}

fn in_tmux(kind: Kind, messages: usize, apart: Duration) {
    let (house, terminal) = Terminal::with_house();
    let gateway = house.gateway();
    let client = Client::installed(kind, &house);
    let mut wake = WAKE_TEXT;
    match kind {
        Kind::Claude | Kind::OlderClaude => {
            client.sit_in(&terminal, "shop", None);
            if kind == Kind::OlderClaude {
                wake = COMMAND;
            }
        }
        Kind::Codex => {
            // Only its first call tells which thread it is.
            client.sit_in(&terminal, "shop", Some("Hello."));
            let asked = client.model.asked();
            asked.call("telegram_poll", json!({}));
            client.model.asked().say("Hello.");
        }
    }
    each_is_answered(&house, &client, wake, messages, apart);
    let log = gateway.log();
    assert_eq!(log.matches("waking the agent").count(), messages, "{log}");
    wait_for("the end of the turn at the terminal", || {
        let shown = screen(&terminal, "shop");
        if shown.contains("Answered.") {
            Ok(())
        } else {
            Err(shown)
        }
    });
}

fn without_tmux(messages: usize, apart: Duration) {
    let house = House::new();
    let gateway = house.gateway();
    let client = Client::registered(Kind::Claude, &house);
    let _sitting = client.sit();
    each_is_answered(&house, &client, WAKE_TEXT, messages, apart);
    assert_eq!(gateway.wakes(), messages);
}

/// Five windows of one user, who has telepost for all of them; the session's folder is that of the third.
fn one_of_five(messages: usize, apart: Duration) {
    let mut house = House::empty();
    let bound = house.path().join("project");
    house.add_session("ONE", json!({"cwd": bound, "tmux_session": "shop"}));
    house.write_config();
    let terminal = Terminal::new(&mut house);
    let gateway = house.gateway();
    let client = Client::new(Kind::Claude, &house);
    client.register_everywhere(&house);
    client.allow(&["mcp__telegram__*"]);
    let others: Vec<Client> = (0..4)
        .map(|n| client.beside(&format!("other-{n}")))
        .collect();
    for (n, other) in others.iter().enumerate() {
        if n == 2 {
            client.sit_in(&terminal, "shop", None);
        }
        other.sit_in(&terminal, &format!("other-{n}"), None);
    }
    each_is_answered(&house, &client, WAKE_TEXT, messages, apart);
    assert_eq!(gateway.wakes(), messages);
    for other in &others {
        assert_eq!(other.model.count(), 0);
    }
    for n in 0..others.len() {
        let shown = screen(&terminal, &format!("other-{n}"));
        assert!(
            shown.contains('❯') && !shown.contains("telegram"),
            "{shown}"
        );
    }
}

#[test]
fn an_idle_claude_code_in_tmux_answers_without_a_key_pressed() {
    in_tmux(Kind::Claude, 1, Duration::ZERO);
}

#[test]
fn an_idle_older_claude_code_in_tmux_answers_what_is_typed_for_it() {
    in_tmux(Kind::OlderClaude, 1, Duration::ZERO);
}

#[test]
fn an_idle_codex_in_tmux_answers_without_a_key_pressed() {
    in_tmux(Kind::Codex, 1, Duration::ZERO);
}

#[test]
fn an_idle_claude_code_without_tmux_answers() {
    without_tmux(1, Duration::ZERO);
}

#[test]
fn of_five_claude_code_windows_the_one_that_is_bound_answers_and_the_others_rest() {
    one_of_five(1, Duration::ZERO);
}

#[test]
fn a_claude_code_that_has_ended_is_said_to_be_down_and_is_given_what_waits_when_it_is_back() {
    let (house, terminal) = Terminal::with_house();
    let _gateway = house.gateway();
    let client = Client::registered(Kind::Claude, &house);
    client.sit_in(&terminal, "shop", None);
    wait_for_agent(&house, &["idle"]);
    terminal.close();
    house.say("are you there?");
    house.wait_to_hear(&[DOWN_TEXT]);
    client.sit_in(&terminal, "shop", None);
    client.model.asked().call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["are you there?"]);
    asked.call("telegram_reply", json!({"text": "yes"}));
    client.model.asked().say("Answered.");
    wait_for("what is told", || {
        let mut heard = house.heard();
        // It may answer before it has been there for long enough to be said to be back.
        heard.sort_by_key(|text| text == "yes");
        if heard == [DOWN_TEXT, BACK_TEXT, "yes"] {
            Ok(())
        } else {
            Err(heard)
        }
    });
}

/// How many messages by hand, and how far apart.
const MANY: usize = 20;
const APART: Duration = Duration::from_secs(3);

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn a_claude_code_in_tmux_answers_many() {
    in_tmux(Kind::Claude, MANY, APART);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn an_older_claude_code_in_tmux_answers_many() {
    in_tmux(Kind::OlderClaude, MANY, APART);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn a_codex_in_tmux_answers_many() {
    in_tmux(Kind::Codex, MANY, APART);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn a_claude_code_without_tmux_answers_many() {
    without_tmux(MANY, APART);
}

#[test]
#[ignore = "minutes; tests/run with TELEPOST_SOAK=1"]
fn one_of_five_claude_code_windows_answers_many() {
    one_of_five(MANY, APART);
}
