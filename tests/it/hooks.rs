//! Hooks of the clients: whom one speaks for, what it tells the gateway and the agent, and that it never
//! stands in the way.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::damage::{Damage, in_every_way, is_kept, make_newer};
use crate::support::client::{Client, says_since};
use crate::support::hooks::{DRAIN, Said, run_hook, said};
use crate::support::{Agent, House, OWNER, names_in, wait_for};

fn drain() -> Said {
    Said::Context(DRAIN.to_owned())
}

#[track_caller]
fn is_a_reminder(said: Said) {
    let Said::Context(text) = &said else {
        panic!("{said:?}")
    };
    assert!(
        text.starts_with("You were shown 1 Telegram message and have not answered."),
        "{text}"
    );
    assert!(text.contains("telegram_reply"), "{text}");
}

#[test]
fn the_gateway_sees_the_turns_of_an_agent_by_its_hooks() {
    let house = House::new();
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    house.wait_for_state("unknown");
    let start = json!({"session_id": "s", "source": "startup"});
    assert_eq!(house.hook("session-start", start), Said::Nothing);
    house.wait_for_state("idle");
    house.prompted("a");
    house.wait_for_state("busy");
    assert_eq!(house.stops("a", false), Said::Nothing);
    house.wait_for_state("idle");
    assert_eq!(house.hook("end", json!({"session_id": "s"})), Said::Nothing);
    house.wait_for_state("unknown");
    let ways = house.waking()["ways"].clone();
    assert_eq!(ways, json!([{"name": "Stop hook", "live": true}]));
}

#[test]
fn an_agent_at_work_by_its_hooks_is_woken_when_its_turn_has_ended() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let gateway = house.gateway();
    let _agent = house.agent_registered();
    house.prompted("a");
    house.arrive("one");
    gateway.wait_for_log("update_id=300000001");
    house.wait_for_state("busy");
    client.is_left_alone();
    // Only the client's own file tells of a turn that a person stops.
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis());
    says_since(&house, "idle", now.unwrap() + 1000);
    client.wait_for_a_wake();
}

#[test]
fn an_agent_that_stops_while_messages_wait_is_told_so_once_and_nothing_of_what_they_say() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_registered();
    house.prompted("a");
    house.arrive("rm -rf /");
    assert_eq!(house.stops("a", false), drain());
    house.wait_for_state("busy");
    assert_eq!(house.stops("a", true), Said::Nothing, "it did not look");
    house.wait_for_state("idle");
    house.prompted("b");
    assert_eq!(house.stops("b", false), drain());
    agent.wait_for_message();
    agent.reply(json!({"text": "no"}));
    assert_eq!(house.stops("b", true), Said::Nothing);
    wait_for("the record of it", || {
        let way = house.waking()["ways"][0].clone();
        let worked = way["name"] == "Stop hook" && way["worked_at"].is_string();
        if worked { Ok(()) } else { Err(way) }
    });
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    let remark = "It learns of messages at the end of each turn through Stop hook (last worked ";
    assert!(text.contains(remark), "{text}");
}

#[test]
fn a_turn_goes_on_at_most_eight_times_in_a_row() {
    let house = House::new();
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    house.prompted("a");
    for number in 1..=9 {
        house.say("another one");
        house.wait_for_inbox(number);
        let said = house.stops("a", number > 1);
        assert_eq!(said == drain(), number <= 8, "{number}: {said:?}");
    }
}

#[test]
fn an_agent_that_stops_without_an_answer_is_reminded_of_each_message_once() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("rm -rf /");
    assert_eq!(house.names("turns"), [] as [&str; 0]);
    let first = house.stops("a", false);
    assert!(!format!("{first:?}").contains("rm -rf"), "{first:?}");
    is_a_reminder(first);
    agent.reply(json!({"text": "no"}));
    assert_eq!(house.stops("a", true), Said::Nothing);
    assert!(house.turn().unwrap().1["forgotten"].is_null());
}

#[test]
fn what_is_answered_and_not_yet_settled_is_no_matter_for_a_reminder() {
    let house = House::new();
    let gateway = house.gateway();
    house.arrive("one");
    gateway.kill();
    let mut command = house.agent_command("ONE");
    let mut agent = Agent::start(command.env("TELEPOST_FAIL_AT", "settle:eio:9"));
    agent.wait_for_message();
    let _refused = agent.call("telegram_reply", json!({"text": "done"}));
    assert_eq!(
        (house.names("inbox").len(), house.names("outbox").len()),
        (1, 1)
    );
    assert_eq!(house.stops("a", false), Said::Nothing);
    let _gateway = house.gateway();
    house.wait_to_hear(&["done"]);
}

#[test]
fn an_agent_that_is_on_its_way_already_is_not_told_once_more() {
    let mut house = House::new();
    let client = Client::new(&mut house);
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    house.say("one");
    client.wait_for_a_wake();
    house.prompted("the wake");
    assert_eq!(house.stops("the wake", false), Said::Nothing);
    // A later message is another wake.
    house.arrive("two");
    house.prompted("b");
    assert_eq!(house.stops("b", false), drain());
}

#[test]
fn a_thread_is_known_by_its_name_and_another_one_is_nobody() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent().thread("thread-1");
    agent.poll(json!({}));
    house.arrive("one");
    assert_eq!(house.thread_stops("thread-2", false), Said::Nothing);
    assert_eq!(house.names("turns"), [] as [&str; 0]);
    assert_eq!(
        house.thread_stops("thread-1", false),
        Said::Block(DRAIN.to_owned())
    );
    agent.wait_for_message();
    let Said::Block(text) = house.thread_stops("thread-1", true) else {
        panic!("no reminder")
    };
    assert!(
        text.starts_with("You were shown 1 Telegram message"),
        "{text}"
    );
}

#[test]
fn of_plugin_and_installation_one_speaks_to_the_end_of_a_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    let both = |event: &str, payload: serde_json::Value| {
        let first = house.hook(event, payload.clone());
        // The hook of the plugin names no session.
        let output = run_hook(&mut house.command(&["hook", event]), &payload.to_string());
        assert_eq!(said(&output), Said::Nothing, "{event}");
        first
    };
    let stop = |kept_going: bool| json!({"prompt_id": "a", "stop_hook_active": kept_going});
    both("session-start", json!({"source": "startup"}));
    both("prompt", json!({"prompt_id": "a"}));
    is_a_reminder(both("stop", stop(false)));
    house.say("two");
    house.wait_for_inbox(2);
    agent.poll(json!({}));
    let Said::Context(text) = both("stop", stop(true)) else {
        panic!("no reminder")
    };
    assert!(text.starts_with("You were shown 2 Telegram"), "{text}");
    let (_, turn) = house.turn().unwrap();
    assert_eq!(turn["state"], "busy", "its turn goes on");
    assert!(turn["forgotten"].is_null(), "{turn}");
    assert_eq!(both("stop", stop(true)), Said::Nothing);
    house.wait_for_state("idle");
}

#[test]
fn a_client_that_has_servers_of_two_sessions_is_reminded_for_both() {
    let mut house = House::new();
    let bot = house.add_session("TWO", json!({}));
    house.write_config();
    let _gateway = house.gateway();
    let (mut one, mut two) = (house.agent(), house.agent_of("TWO"));
    house.say("one");
    house.sim.say(bot, OWNER, OWNER, "two");
    one.wait_for_message();
    two.wait_for_message();
    let stop = |kept_going: bool| {
        let payload = json!({"prompt_id": "a", "stop_hook_active": kept_going});
        let output = run_hook(&mut house.command(&["hook", "stop"]), &payload.to_string());
        said(&output)
    };
    is_a_reminder(stop(false));
    is_a_reminder(stop(true));
    assert_eq!(stop(true), Said::Nothing);
}

#[test]
fn an_agent_is_idle_when_the_api_has_ended_its_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let _agent = house.agent_asked("one");
    house.prompted("a");
    house.wait_for_state("busy");
    let payload = json!({"session_id": "s", "prompt_id": "a", "error": "rate_limit"});
    assert_eq!(house.hook("stop-failure", payload), Said::Nothing);
    house.wait_for_state("idle");
    house.prompted("b");
    is_a_reminder(house.stops("b", false));
}

/// Codex's record of the beginning and the end of a turn.
fn record(house: &House, turns: &[(&str, &str)]) {
    let line = |(kind, turn): &(&str, &str)| {
        let now = chrono::Utc::now().to_rfc3339();
        let payload = json!({"type": kind, "turn_id": turn});
        json!({"timestamp": now, "type": "event_msg", "payload": payload}).to_string() + "\n"
    };
    // The day is in the name of the thread.
    let folder = house.path().join(".codex/sessions/2026/11/26");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("rollout-2026-11-26T03-25-03-{THREAD}.jsonl"));
    fs::write(file, turns.iter().map(line).collect::<String>()).unwrap();
}

const THREAD: &str = "01a215e2-a219-7193-9662-25c2c7babb8e";

#[test]
fn a_thread_whose_turn_the_api_has_ended_is_idle_by_its_own_record() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent().thread(THREAD);
    agent.poll(json!({}));
    let payload = json!({"session_id": THREAD, "turn_id": "t"});
    assert_eq!(house.hook("prompt", payload), Said::Nothing);
    house.wait_for_state("busy");
    let before = ("task_complete", "before");
    record(&house, &[before, ("task_started", "t")]);
    house.wait_for_state("busy");
    record(
        &house,
        &[before, ("task_started", "t"), ("task_complete", "t")],
    );
    house.wait_for_state("idle");
}

#[test]
fn a_thread_without_hooks_is_idle_by_its_own_record() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent().thread(THREAD);
    agent.poll(json!({}));
    house.wait_for_state("unknown");
    record(&house, &[("task_started", "t"), ("turn_aborted", "t")]);
    house.wait_for_state("idle");
    agent.poll(json!({}));
    house.wait_for_state("unknown");
}

#[test]
fn a_hook_of_a_window_that_is_not_bound_is_silent_and_leaves_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    for event in ["session-start", "prompt", "stop", "stop-failure", "end"] {
        assert_eq!(house.hook(event, json!({"session_id": "s"})), Said::Nothing);
    }
    let _agent = house.agent_registered();
    let stop = |runner: &[&str], input: &str| {
        let hook = house.command(&["hook", "stop", "--session", "ONE"]);
        let mut command = Command::new(runner[0]);
        command.args(&runner[1..]).arg(hook.get_program());
        command.args(hook.get_args()).env_clear();
        let env = hook.get_envs();
        command.envs(env.filter_map(|(name, value)| Some((name, value?))));
        said(&run_hook(&mut command, input))
    };
    // Another program in between is another client, however it came to run here.
    assert_eq!(stop(&["xargs"], "--log-level error"), Said::Nothing);
    assert_eq!(house.names("turns"), [] as [&str; 0]);
    // A shell only does what it is told.
    assert_eq!(stop(&["sh", "-c", "\"$0\" \"$@\"; true"], "{}"), drain());
}

#[test]
fn a_hook_finds_the_state_of_a_server_that_was_given_less_of_the_environment() {
    let mut house = House::new();
    house.config.as_object_mut().unwrap().remove("state_dir");
    house.write_config();
    let session = house.path().join(".local/state/telepost/sessions/ONE");
    let _agent = house.agent();
    wait_for("a registration", || {
        let agents = session.join("agents");
        if agents.is_dir() && !names_in(&agents).is_empty() {
            Ok(())
        } else {
            Err(())
        }
    });
    let mut command = house.command(&["hook", "prompt", "--session", "ONE"]);
    let elsewhere = house.path().join("elsewhere");
    let output = run_hook(command.env("XDG_STATE_HOME", &elsewhere), "{}");
    assert_eq!(said(&output), Said::Nothing);
    assert!(!names_in(&session.join("turns")).is_empty());
    assert!(!elsewhere.exists());
}

#[test]
fn a_hook_without_a_session_speaks_for_the_one_that_its_client_serves() {
    let mut house = House::new();
    house.add_session("TWO", json!({}));
    house.write_config();
    let _gateway = house.gateway();
    let _agent = house.agent_of("TWO");
    wait_for("a registration", || {
        let names = house.names_of("TWO", "agents");
        if names.is_empty() { Err(names) } else { Ok(()) }
    });
    let output = run_hook(&mut house.command(&["hook", "prompt"]), "{}");
    assert_eq!(said(&output), Said::Nothing);
    assert_eq!(house.names("turns"), [] as [&str; 0]);
    assert_eq!(
        house.names_of("TWO", "turns").len(),
        2,
        "a note and its lock"
    );
    // Bound to another one in its arguments, it is not heard.
    house.prompted("a");
    assert_eq!(house.names("turns"), [] as [&str; 0]);
}

#[test]
fn the_variables_of_a_session_choose_nobody() {
    let mut house = House::new();
    house.add_session("TWO", json!({}));
    house.write_config();
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    let mut command = house.command(&["hook", "prompt", "--session", "ONE"]);
    command.env("TG_SESSION_ID", "TWO");
    assert_eq!(said(&run_hook(&mut command, "{}")), Said::Nothing);
    assert_eq!(house.turn().unwrap().1["state"], "busy");
}

#[test]
fn whatever_is_wrong_a_hook_ends_well_and_says_nothing_to_the_agent() {
    let house = House::new();
    let gateway = house.gateway();
    let _agent = house.agent_registered();
    house.arrive("one");
    let quiet = |what: &str, arguments: &[&str], payload: &str, env: &[(&str, &str)]| {
        let mut command = house.command(arguments);
        command.envs(env.iter().copied());
        let output = run_hook(&mut command, payload);
        assert_eq!(said(&output), Said::Nothing, "{what}");
        String::from_utf8(output.stderr).unwrap()
    };
    let stop = &["hook", "stop", "--session", "ONE"];
    let one_line = |text: &str| {
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("telepost hook: "), "{text}");
    };
    assert_eq!(
        quiet("of a later version", &["hook", "dream"], "{}", &[]),
        ""
    );
    quiet(
        "a flag of a later version",
        &["hook", "stop", "--more", "x"],
        "{}",
        &[],
    );
    quiet("nothing", &["hook"], "{}", &[]);
    one_line(&quiet(
        "a session that cannot be",
        &["hook", "stop", "--session", "../x"],
        "{}",
        &[],
    ));
    assert_eq!(
        quiet(
            "one that is not there",
            &["hook", "stop", "--session", "NINE"],
            "{}",
            &[]
        ),
        ""
    );
    one_line(&quiet(
        "a full disk",
        stop,
        "{}",
        &[("TELEPOST_FAIL_AT", "turn:enospc:9")],
    ));
    one_line(&quiet(
        "another's files",
        stop,
        "{}",
        &[("TELEPOST_FAIL_AT", "turn:eacces:9")],
    ));
    let panics = quiet("a bug", stop, "{}", &[("TELEPOST_CRASH_AT", "turn:panic")]);
    assert!(panics.contains("a test asked for a panic"), "{panics}");
    assert_eq!(house.names("turns").len(), 1, "only the lock");

    drop(gateway);
    let good = fs::read(house.config_path()).unwrap();
    fs::write(house.config_path(), "{").unwrap();
    let said = quiet("a broken configuration", stop, "{}", &[]);
    assert!(said.starts_with("telepost hook: "), "{said}");
    fs::write(house.config_path(), good).unwrap();
    fs::rename(house.state(), house.path().join("elsewhere")).unwrap();
    assert_eq!(quiet("no state", stop, "{}", &[]), "");
    assert!(!house.state().exists());
}

#[test]
fn what_a_client_says_on_stdin_is_read_as_far_as_it_can_be() {
    let house = House::new();
    let _agent = house.agent_registered();
    let long = "x".repeat(1 << 20);
    for payload in [
        "",
        "not json",
        "[]",
        r#"{"session_id": 7, "prompt_id": ["x"], "stop_hook_active": "yes", "source": {}}"#,
        &format!(r#"{{"session_id": "{long}", "prompt": "{long}"}}"#),
        &"[".repeat(1 << 20),
    ] {
        assert_eq!(house.stops("a", true), Said::Nothing);
        assert_eq!(house.turn().unwrap().1["state"], "idle");
        let mut prompt = house.command(&["hook", "prompt", "--session", "ONE"]);
        let output = run_hook(&mut prompt, payload);
        assert_eq!(said(&output), Said::Nothing);
        let note = house.turn().unwrap().1;
        assert_eq!(note["state"], "busy");
        assert!(note.to_string().len() < 1000, "{note}");
    }
}

#[test]
fn a_client_that_never_closes_stdin_does_not_hold_its_hook_up() {
    let house = House::new();
    let _agent = house.agent_registered();
    let mut command = house.command(&["hook", "prompt"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let open = child.stdin.take();
    let status = wait_for("its end", || child.try_wait().unwrap().ok_or("runs"));
    assert!(status.success());
    drop(open);
    assert_eq!(house.turn().unwrap().1["state"], "busy");
}

// An empty one is left of a loss of power: turns are not synced.
#[test]
fn a_damaged_turn_file_is_kept_and_the_next_hook_begins_anew() {
    in_every_way(|way| {
        let house = House::new();
        let _agent = house.agent_registered();
        house.prompted("a");
        let (path, _) = house.turn().unwrap();
        let bytes = way.inflict(&path);
        let _gateway = house.gateway();
        house.arrive("one");
        assert_eq!(house.stops("a", false), drain());
        if way != Damage::Empty {
            is_kept(&house, &path, bytes);
        }
    });
}

#[test]
fn a_turn_file_of_a_newer_telepost_is_left_alone() {
    let house = House::new();
    let _agent: Agent = house.agent_registered();
    house.prompted("a");
    let (path, _) = house.turn().unwrap();
    let bytes = make_newer(&path);
    let mut command = house.command(&["hook", "stop", "--session", "ONE"]);
    let output = run_hook(&mut command, "{}");
    assert_eq!(said(&output), Said::Nothing);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("update telepost"), "{words}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn nothing_that_was_said_stands_in_what_hooks_leave_on_disk() {
    let house = House::new();
    let _gateway = house.gateway();
    let _agent = house.agent_registered();
    house.prompted("a");
    house.stops("a", false);
    for name in house.names("turns") {
        let text = fs::read_to_string(house.session("turns").join(name)).unwrap();
        assert!(!text.contains("the words of"), "{text}");
    }
}

#[test]
fn a_hook_that_is_killed_before_or_after_its_note_costs_no_message() {
    for (point, next) in [("turn:before", drain()), ("turn:after", Said::Nothing)] {
        let house = House::new();
        let _gateway = house.gateway();
        let mut agent = house.agent_registered();
        house.arrive("one");
        let payload = r#"{"session_id": "s", "prompt_id": "a", "stop_hook_active": false}"#;
        let mut command = house.command(&["hook", "stop", "--session", "ONE"]);
        let output = run_hook(command.env("TELEPOST_CRASH_AT", point), payload);
        assert_eq!((output.status.code(), &*output.stdout), (None, &[][..]));
        // The client asks again, or takes it for the end of the turn.
        assert_eq!(house.stops("a", true), next, "{point}");
        agent.wait_for_message();
        agent.reply(json!({"text": "done"}));
        house.wait_to_hear(&["done"]);
    }
}

#[test]
fn the_turns_of_a_client_that_has_ended_are_cleared_away() {
    let house = House::new();
    let _gateway = house.gateway();
    let agent = house.agent_registered();
    house.prompted("a");
    let (path, mut file) = house.turn().unwrap();
    agent.close();
    // The test is the client and goes on: as if it had been another.
    file["client_process"]["start"] = json!("1");
    fs::write(&path, file.to_string()).unwrap();
    house.say("one");
    wait_for("the turns to go", || house.turn().map_or(Ok(()), Err));
}
