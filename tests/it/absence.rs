//! Session down: no agent runs in the configured tmux session while messages wait. The person is told once, and
//! once when an agent is back; over every restart of the gateway.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};
use telegram_sim::GroupKind;
use telepost::clock::Clock;
use telepost::state::outbox::delivery::REPEAT_MARK;
use telepost::waker::{BACK_TEXT, CONNECTED_TEXT, DOWN_TEXT, UNCONNECTED_TEXT};

use crate::support::{Agent, GROUP, House, OWNER, Terminal, wait_for};

/// So long ago that every grace is over, and so shortly that it is still looked often.
fn a_while_ago() -> i64 {
    Clock::system().now().0 - 30_000
}

/// Something that sits in its pane for ever and is called like a client.
fn client(house: &House) -> Command {
    let path = house.path().join("claude");
    if !path.exists() {
        let cat = ["/bin/cat", "/usr/bin/cat"]
            .into_iter()
            .find(|cat| fs::exists(cat).unwrap());
        symlink(cat.unwrap(), &path).unwrap();
    }
    Command::new(path)
}

/// A message waits, and a downtime was noted a while ago and has come so far.
fn waits_for_a_while(house: &House, phase: &Value) {
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    gateway.kill();
    let mut note =
        json!({"format": 1, "since": a_while_ago(), "absence": "no_session", "phase": phase});
    if *phase != json!({"is": "doubtful"}) {
        let name = house.names("inbox").remove(0);
        let address = json!({"bot_id": house.bot(), "chat_id": OWNER});
        note["known_to"] = json!(name.trim_end_matches(".json"));
        note["chats"] = json!([{"address": address, "told": true}]);
    }
    fs::write(house.session("down.json"), note.to_string()).unwrap();
}

/// The grace is over when the next gateway starts.
fn nobody_for_long(house: &House) {
    waits_for_a_while(house, &json!({"is": "doubtful"}));
}

fn down(house: &House) -> Value {
    house.status()["sessions"][0]["waking"]["down"].clone()
}

#[test]
fn a_person_who_writes_to_a_session_that_is_gone_is_told_once_and_once_when_it_is_back() {
    let (house, terminal) = Terminal::with_house();
    let _gateway = house.gateway();
    house.say("one");
    house.wait_to_hear(&[DOWN_TEXT]);
    house.say("two");
    house.wait_for_inbox(2);
    let told = &house.sim.transcript(house.bot(), OWNER)[1];
    assert_eq!((told.reply_to, told.silent), (Some(1), false));
    assert_eq!(down(&house)["reason"], "its tmux session is gone");
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains("ONE: not running since "), "{text}");

    terminal.session("shop", &client(&house));
    house.wait_to_hear(&[DOWN_TEXT, BACK_TEXT]);
    wait_for("the end of it", || {
        let down = down(&house);
        if down.is_null() { Ok(()) } else { Err(down) }
    });
    assert_eq!(house.names("inbox").len(), 2, "kept");
}

#[test]
fn an_agent_that_connects_is_the_end_of_it_wherever_it_runs() {
    let (house, _terminal) = Terminal::with_house();
    nobody_for_long(&house);
    let _gateway = house.gateway();
    house.wait_to_hear(&[DOWN_TEXT]);
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    assert_eq!(shown["messages"][0]["text"], "one");
    agent.reply(json!({"text": "done"}));
    wait_for("all of it", || {
        let mut heard = house.heard();
        heard.sort_by_key(|text| text == "done");
        if heard == [DOWN_TEXT, BACK_TEXT, "done"] {
            Ok(())
        } else {
            Err(heard)
        }
    });
}

#[test]
fn a_shell_and_a_dead_pane_are_nobody() {
    let (house, terminal) = Terminal::with_house();
    terminal.session("shop", &Command::new("sh"));
    terminal.run(&["set-option", "-g", "remain-on-exit", "on"]);
    terminal.window("shop", &Command::new("true"));
    // Its name begins in the same way.
    terminal.session("shop2", &client(&house));
    let _gateway = house.gateway();
    house.say("one");
    house.wait_to_hear(&[DOWN_TEXT]);
    let reason = down(&house)["reason"].clone();
    assert_eq!(reason, "no agent runs in its tmux session");
    terminal.window("shop", &client(&house));
    house.wait_to_hear(&[DOWN_TEXT, BACK_TEXT]);
}

/// Time passes for all alike: when the one that is down was told, no other person was.
#[test]
fn nothing_is_told_where_an_agent_is_there_or_nobody_can_know() {
    let mut house = House::empty();
    let sessions = ["DOWN", "IN_TMUX", "CONNECTED", "NOT_CONFIGURED"];
    for id in sessions {
        let more = match id {
            "NOT_CONFIGURED" => json!({}),
            _ => json!({"tmux_session": id}),
        };
        house.add_session(id, more);
    }
    house.write_config();
    let terminal = Terminal::new(&mut house);
    terminal.session("IN_TMUX", &client(&house));
    let gateway = house.gateway();
    let _agent: Agent = house.agent_of("CONNECTED");
    wait_for("a registration", || {
        let names = house.names_of("CONNECTED", "agents");
        if names.is_empty() { Err(names) } else { Ok(()) }
    });
    for (_, &bot) in sessions.iter().zip(&house.bots).rev() {
        house.sim.say(bot, OWNER, OWNER, "one");
    }
    house.wait_to_hear(&[DOWN_TEXT]);
    for &bot in house.bots.iter().skip(1) {
        assert_eq!(house.sim.bot_texts(bot, OWNER), [""; 0]);
    }
    assert_eq!(
        gateway
            .log()
            .matches("telling a chat whether the session runs")
            .count(),
        1
    );
}

#[test]
fn nothing_is_told_where_tmux_cannot_be_asked() {
    let (mut house, _terminal) = Terminal::with_house();
    // Not a folder: tmux says something else than that there is no server.
    let file = house.path().join("no-folder");
    fs::write(&file, "").unwrap();
    house.env.retain(|(name, _)| name != "TMUX_TMPDIR");
    let file = file.to_str().unwrap().to_owned();
    house.env.push(("TMUX_TMPDIR".to_owned(), file));
    let gateway = house.gateway();
    house.say("one");
    gateway.wait_for_log("tmux cannot be queried");
    assert!(!house.session("down.json").exists());
}

#[test]
fn each_chat_that_wrote_is_told_and_no_other() {
    let mut house = House::empty();
    let more = json!({"tmux_session": "shop", "chat_ids": [OWNER, GROUP, GROUP - 1], "allowed_users": [OWNER]});
    let bot = house.add_session("ONE", more);
    house.write_config();
    let terminal = Terminal::new(&mut house);
    house.sim.add_group(GROUP, "Team", GroupKind::Group);
    house.sim.open_chat(bot, GROUP);
    nobody_for_long(&house);
    let _gateway = house.gateway();
    house.wait_to_hear(&[DOWN_TEXT]);
    house.sim.say(bot, GROUP, OWNER, "and here");
    wait_for("the group", || {
        let texts = house.sim.bot_texts(bot, GROUP);
        if texts == [DOWN_TEXT] {
            Ok(())
        } else {
            Err(texts)
        }
    });
    terminal.session("shop", &client(&house));
    for chat in [OWNER, GROUP] {
        wait_for("the end of it", || {
            let texts = house.sim.bot_texts(bot, chat);
            if texts == [DOWN_TEXT, BACK_TEXT] {
                Ok(())
            } else {
                Err(texts)
            }
        });
    }
    assert_eq!(house.sim.call_count(bot, "sendMessage"), 4);
}

/// A gateway dies at this point, with or without the power, and another takes its place: what is told, and
/// that it is told once.
fn dies_at(point: &str, phase: &Value, told: &str) {
    for power in [false, true] {
        let (house, terminal) = Terminal::with_house();
        waits_for_a_while(&house, phase);
        if told == BACK_TEXT {
            terminal.session("shop", &client(&house));
        }
        let mut env = vec![("TELEPOST_CRASH_AT", point)];
        if power {
            env.push(("TELEPOST_POWER_LOSS", "1"));
        }
        house.gateway_with(&env).end();
        let _gateway = house.gateway();
        wait_for(point, || {
            let note = fs::read_to_string(house.session("down.json")).unwrap_or_default();
            let is_noted = if told == DOWN_TEXT {
                note.contains("\"told\":true")
            } else {
                note.is_empty()
            };
            // One delivery. A kill while it was sent makes a marked copy of it, as of any other.
            let (waits, sent) = (house.names("outbox"), house.names("sent"));
            if is_noted && waits.is_empty() && sent.len() == 1 {
                Ok(())
            } else {
                Err((note, waits, sent, house.heard()))
            }
        });
        let heard = house.heard();
        let is_told = |text: &String| text.trim_start_matches(REPEAT_MARK) == told;
        assert!(heard.iter().all(is_told), "{point}: {heard:?}");
        assert_eq!(house.names("inbox").len(), 1, "{point}");
    }
}

#[test]
fn a_gateway_that_dies_while_it_tells_of_a_downtime_leaves_it_to_the_next_which_tells_once() {
    let doubtful = json!({"is": "doubtful"});
    for point in [
        "downtime:before",
        "downtime:after",
        "accept:before",
        "accept:after",
    ] {
        dies_at(point, &doubtful, DOWN_TEXT);
    }
    // Told, and not noted so.
    for point in ["downtime:before:2", "downtime:after:2"] {
        dies_at(point, &doubtful, DOWN_TEXT);
    }
}

#[test]
fn a_gateway_that_dies_while_it_tells_the_end_leaves_it_to_the_next_which_tells_once() {
    let returning = json!({"is": "returning", "at": a_while_ago()});
    for point in [
        "downtime:before",
        "downtime:after",
        "accept:before",
        "accept:after",
    ] {
        dies_at(point, &returning, BACK_TEXT);
    }
    // Told, and still noted. After it nothing is left to do.
    dies_at("downtime:before:2", &returning, BACK_TEXT);
}

#[test]
fn a_downtime_that_cannot_be_noted_is_told_when_it_can() {
    let (house, _terminal) = Terminal::with_house();
    nobody_for_long(&house);
    let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", "downtime:enospc:3")]);
    gateway.wait_until_polling(&house);
    for count in 1..=3 {
        wait_for("the failure", || {
            let failed = gateway
                .log()
                .matches("cannot check whether it is running")
                .count();
            if failed == count { Ok(()) } else { Err(failed) }
        });
        assert_eq!(house.heard(), [""; 0]);
        // Looks again at once.
        house.say("is anybody there?");
    }
    house.wait_to_hear(&[DOWN_TEXT]);
}

/// A gateway whose clock is a minute ahead, so that a grace is over.
const A_MINUTE_LATER: (&str, &str) = ("TELEPOST_TEST_CLOCK_MS", "61000");

/// A message waits without any agent, and the absence is noted.
fn waits_without_an_agent(house: &House) {
    let gateway = house.gateway();
    house.say("one");
    wait_for("the note of the absence", || {
        let names = house.names("");
        if names.contains(&"down.json".to_owned()) {
            Ok(())
        } else {
            Err(names)
        }
    });
    assert_eq!(house.heard(), [""; 0], "not before a minute is over");
    gateway.kill();
}

#[test]
fn without_a_tmux_session_the_person_is_told_once_that_no_agent_is_connected() {
    let house = House::new();
    waits_without_an_agent(&house);
    let _gateway = house.gateway_with(&[A_MINUTE_LATER]);
    house.wait_to_hear(&[UNCONNECTED_TEXT]);
    house.say("two");
    house.wait_for_inbox(2);
    assert_eq!(down(&house)["reason"], "no agent is connected");
    let mut agent = house.agent();
    agent.wait_for_message();
    house.wait_to_hear(&[UNCONNECTED_TEXT, CONNECTED_TEXT]);
}

#[test]
fn an_open_window_that_came_by_default_is_an_agent_to_the_person() {
    let house = House::new();
    let _gateway = house.gateway();
    let _agent = Agent::start(&mut house.command(&["mcp"]));
    wait_for("the registration", || {
        let agents = house.status()["sessions"][0]["agents"].clone();
        if agents == 1 { Ok(()) } else { Err(agents) }
    });
    house.say("one");
    house.wait_for_inbox(1);
    house.wait_for_texts(&["one"]);
    assert!(!house.names("").contains(&"down.json".to_owned()));
}

#[test]
fn nobody_is_told_of_an_absence_where_that_is_switched_off() {
    let mut house = House::new();
    house.config["absence"] = json!("off");
    house.write_config();
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    // It is checked as soon as the message is there: the next one is stored after that.
    house.say("two");
    house.wait_for_inbox(2);
    assert!(gateway.stop().success());
    assert!(!house.names("").contains(&"down.json".to_owned()));
}
