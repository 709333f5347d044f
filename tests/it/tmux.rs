//! Waking by typing into tmux: the command is sent once where that is safe, and no key is pressed anywhere
//! else. The client is a stub with the paste detectors of the real ones, and everything that it was given
//! is compared to the byte.

use serde_json::{Value, json};

use crate::support::stub::{SESSION, Shell, Stub};
use crate::support::{Gateway, House, wait_for};

const COMMAND: &str = "/telegram-reply";
/// How many wakes of each state; the rest of the hundred is in the soak.
const FEW: usize = 5;
const MANY: usize = 95;

/// A house whose session is in tmux.
struct Scene {
    // The server ends first: its socket goes with the house.
    terminal: Shell,
    gateway: Gateway,
    house: House,
}

impl Scene {
    fn new() -> Self {
        Self::configured(json!({}))
    }

    fn configured(more: Value) -> Self {
        let mut house = House::empty();
        let mut keys = json!({"tmux_session": SESSION});
        let extra = more.as_object().unwrap().clone();
        keys.as_object_mut().unwrap().extend(extra);
        house.add_session("ONE", keys);
        Self::of(house)
    }

    /// Two sessions that are said to be in the same tmux session.
    fn with_two_sessions() -> Self {
        let mut house = House::empty();
        for id in ["ONE", "TWO"] {
            house.add_session(id, json!({"tmux_session": SESSION}));
        }
        Self::of(house)
    }

    fn of(mut house: House) -> Self {
        house.write_config();
        let terminal = Shell::start(&mut house);
        let gateway = house.gateway();
        Self {
            terminal,
            gateway,
            house,
        }
    }

    /// A client in the pane, registered for the session.
    fn stub(&self, look: &str) -> Stub {
        let stub = self
            .terminal
            .start_stub(&self.house, SESSION, look, &["--session", "ONE"]);
        self.wait_for_agents(1);
        stub
    }

    fn wait_for_agents(&self, count: usize) {
        wait_for("the registrations", || {
            let living = self.house.status()["sessions"][0]["waking"]["agents"].clone();
            let found = living.as_array().map_or(0, Vec::len);
            if found == count { Ok(()) } else { Err(living) }
        });
    }

    /// Waits until the status says why nothing is typed, and the pane was looked at once more since.
    #[track_caller]
    fn wait_until_refused(&self, words: &str) {
        let remark = format!("not typed: {words}");
        wait_for(&remark, || {
            let ways = self.house.status()["sessions"][0]["waking"]["ways"].clone();
            let tmux = ways.as_array().into_iter().flatten();
            let mut tmux = tmux.filter(|way| way["name"] == "tmux");
            if tmux.any(|way| way["refused"] == json!(remark)) {
                Ok(())
            } else {
                Err((ways, self.gateway.log()))
            }
        });
        let looks = || self.gateway.log().matches("still not typed").count();
        let before = looks();
        wait_for("another look", || match looks() {
            now if now > before => Ok(()),
            now => Err(now),
        });
    }

    /// So many messages in a row that come while the agent cannot be typed to; each is answered once that
    /// is over, and no key is pressed before.
    fn wakes_after(
        &self,
        stub: &Stub,
        times: usize,
        words: &str,
        begin: impl Fn(),
        end: impl Fn(),
    ) {
        for number in 1..=times {
            begin();
            let before = stub.report();
            self.house.say(&format!("errand {number}"));
            self.wait_until_refused(words);
            let after = stub.report();
            assert_eq!(after, before, "something was done to it");
            end();
            self.wait_for_answer(number);
            stub.wait_until_idle();
        }
    }

    #[track_caller]
    fn wait_for_answer(&self, number: usize) {
        let heard: Vec<String> = (1..=number).map(|n| format!("to errand {n}")).collect();
        wait_for("the answers", || {
            let so_far = self.house.heard();
            if so_far == heard {
                Ok(())
            } else {
                Err((so_far, self.gateway.log(), self.terminal.screen()))
            }
        });
    }
}

fn idle(times: usize, look: &str) {
    let scene = Scene::new();
    let stub = scene.stub(look);
    for number in 1..=times {
        scene.house.say(&format!("errand {number}"));
        scene.wait_for_answer(number);
        stub.wait_until_idle();
    }
    stub.was_woken(times, COMMAND);
    assert_eq!(scene.gateway.wakes(), times);
}

fn draft(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    let draft = "delete nothing, and then /telegram-reply";
    scene.wakes_after(
        &stub,
        times,
        "the input line already contains text",
        || drop(stub.say(&format!("draft {draft}"))),
        || {
            assert_eq!(stub.report()["draft"], draft);
            stub.say("draft ");
        },
    );
    stub.was_woken(times, COMMAND);
}

fn copy_mode(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-old");
    scene.wakes_after(
        &stub,
        times,
        "the pane is in copy-mode or another mode of tmux",
        || drop(scene.terminal.run(&["copy-mode", "-t", SESSION])),
        || {
            assert_eq!(scene.terminal.tells("#{pane_mode}"), "copy-mode");
            scene
                .terminal
                .run(&["send-keys", "-t", SESSION, "-X", "cancel"]);
        },
    );
    stub.was_woken(times, COMMAND);
}

fn dialog(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    scene.wakes_after(
        &stub,
        times,
        "a permission dialog is open",
        || drop(stub.say("dialog")),
        || drop(stub.say("idle")),
    );
    stub.was_woken(times, COMMAND);
}

fn busy(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-old");
    scene.wakes_after(
        &stub,
        times,
        "the agent is working",
        || drop(stub.say("busy")),
        || drop(stub.say("idle")),
    );
    stub.was_woken(times, COMMAND);
}

fn bare_shell(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    for number in 1..=times {
        stub.say("suspend");
        let prompt = scene.terminal.wait_for_prompt();
        scene.house.say(&format!("errand {number}"));
        scene.wait_until_refused(NOT_IN_FRONT);
        assert_eq!(
            scene.terminal.screen(),
            prompt,
            "the shell was given something"
        );
        scene.terminal.keys("fg");
        scene.wait_for_answer(number);
        stub.wait_until_idle();
    }
    stub.was_woken(times, COMMAND);
}

const NOT_IN_FRONT: &str =
    "the agent is not in the foreground of its pane (a shell or another program is)";

fn editor(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    for number in 1..=times {
        stub.say("suspend");
        scene.terminal.wait_for_prompt();
        let editor = scene
            .terminal
            .start_stub(&scene.house, SESSION, "other", &[]);
        scene.house.say(&format!("errand {number}"));
        scene.wait_until_refused(NOT_IN_FRONT);
        editor.has_no_keys();
        editor.say("quit");
        scene.terminal.wait_for_prompt();
        scene.terminal.keys("fg");
        scene.wait_for_answer(number);
        stub.wait_until_idle();
    }
    stub.was_woken(times, COMMAND);
}

fn dead_pane(times: usize) {
    let scene = Scene::new();
    for number in 1..=times {
        let stub = scene.stub("claude-new");
        let shell = scene.terminal.tells("#{pane_pid}");
        for pid in [stub.pid().to_string(), shell] {
            let mut kill = std::process::Command::new("kill");
            assert!(kill.args(["-9", &pid]).status().unwrap().success());
        }
        wait_for("the pane to die", || {
            match scene.terminal.tells("#{pane_dead}").as_str() {
                "1" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
        scene.wait_for_agents(0);
        scene.house.say(&format!("errand {number}"));
        scene.house.wait_for_inbox(1);
        let looks = || {
            scene
                .gateway
                .log()
                .matches("there is no agent to wake")
                .count()
        };
        let before = looks();
        wait_for("a look at the dead pane", || match looks() {
            now if now > before => Ok(()),
            now => Err(now),
        });
        assert_eq!(scene.terminal.tells("#{pane_dead}"), "1");
        scene.terminal.respawn();
        let stub = scene.stub("claude-new");
        scene.wait_for_answer(number);
        stub.was_woken(1, COMMAND);
        scene.terminal.respawn();
        scene.wait_for_agents(0);
    }
}

#[test]
fn an_idle_agent_is_sent_the_command_once_for_each_message() {
    idle(FEW, "claude-new");
}

#[test]
fn an_older_client_is_sent_it_too() {
    idle(FEW, "claude-old");
}

#[test]
fn the_strictest_paste_detector_takes_the_command_and_the_enter_apart() {
    idle(FEW, "codex");
}

#[test]
fn a_half_typed_draft_stays_as_it_is_and_the_wake_comes_after_it() {
    draft(FEW);
}

#[test]
fn copy_mode_is_not_disturbed_and_the_wake_comes_after_it() {
    copy_mode(FEW);
}

#[test]
fn a_permission_dialog_is_not_approved_and_the_wake_comes_after_it() {
    dialog(FEW);
}

#[test]
fn an_agent_at_work_is_not_typed_to_and_the_wake_comes_after_its_turn() {
    busy(FEW);
}

#[test]
fn a_bare_shell_is_given_nothing_and_the_wake_comes_when_the_agent_is_back() {
    bare_shell(FEW);
}

#[test]
fn another_program_in_the_pane_is_given_nothing_and_the_wake_comes_when_the_agent_is_back() {
    editor(FEW);
}

#[test]
fn a_dead_pane_is_given_nothing_and_the_next_agent_in_it_is_woken() {
    dead_pane(2);
}

/// Everything that the stub was given is one paste and one Enter, however many gateways there were.
fn gateway_dies_at(point: &str) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    let Scene {
        house,
        terminal: _terminal,
        gateway,
    } = scene;
    gateway.kill();
    let dying = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
    dying.wait_until_polling(&house);
    house.say("errand 1");
    let (status, log) = dying.end();
    assert!(!status.success(), "{log}");
    let _gateway = house.gateway();
    // The answer of a quick agent was on its way when its gateway died: then it comes once more, marked.
    wait_for("the answer", || {
        let heard = house.heard();
        let is_it = |text: &String| text.ends_with("to errand 1");
        let is_answered = !heard.is_empty() && heard.iter().all(is_it);
        if is_answered { Ok(()) } else { Err(heard) }
    });
    stub.wait_until_idle();
    stub.was_woken(1, COMMAND);
}

#[test]
fn a_gateway_that_dies_before_it_notes_the_wake_leaves_it_to_the_next() {
    gateway_dies_at("wake:before");
}

#[test]
fn a_gateway_that_dies_before_it_pastes_leaves_that_to_the_next() {
    gateway_dies_at("wake-paste:before");
}

#[test]
fn a_gateway_that_dies_after_it_pasted_leaves_the_enter_to_the_next() {
    gateway_dies_at("wake-paste:after");
}

#[test]
fn a_gateway_that_dies_before_the_enter_leaves_that_to_the_next() {
    gateway_dies_at("wake-enter:before");
}

#[test]
fn a_gateway_that_dies_after_the_enter_types_nothing_twice() {
    gateway_dies_at("wake-enter:after");
}

#[test]
fn a_gateway_that_dies_before_it_notes_that_the_command_was_sent_types_nothing_twice() {
    gateway_dies_at("wake:before:2");
}

#[test]
fn a_dialog_that_opens_behind_the_paste_is_not_approved_and_only_enter_follows_later() {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    stub.say("ambush behind");
    scene.house.say("errand 1");
    scene.wait_until_refused("a permission dialog is open");
    let report = stub.report();
    assert_eq!(report["draft"], COMMAND, "{report}");
    stub.say("idle");
    scene.wait_for_answer(1);
    stub.wait_until_idle();
    stub.was_woken(1, COMMAND);
}

#[test]
fn a_dialog_that_opens_before_the_paste_takes_the_text_and_is_not_approved() {
    let scene = Scene::new();
    let stub = scene.stub("claude-old");
    stub.say("ambush before");
    scene.house.say("errand 1");
    scene.wait_until_refused("a permission dialog is open");
    let report = stub.report();
    assert_eq!(
        (&report["draft"], &report["approved"]),
        (&json!(""), &json!(0)),
        "{report}"
    );
    stub.say("idle");
    scene.wait_for_answer(1);
    stub.wait_until_idle();
    let report = stub.report();
    let paste = format!("\u{1b}[200~{COMMAND}\u{1b}[201~");
    assert_eq!(
        report["bytes"],
        json!(format!("{paste}{paste}\r")),
        "{report}"
    );
    assert_eq!(report["approved"], json!(0), "{report}");
}

#[test]
fn an_enter_that_was_taken_for_a_line_feed_is_pressed_again_and_the_text_is_not() {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    stub.say("swallow 1");
    scene.house.say("errand 1");
    scene.wait_for_answer(1);
    stub.wait_until_idle();
    let report = stub.report();
    let keys = format!("\u{1b}[200~{COMMAND}\u{1b}[201~\r\r");
    assert_eq!(report["bytes"], json!(keys), "{report}");
    assert_eq!(report["submitted"], json!([COMMAND]), "{report}");
}

#[test]
fn an_enter_that_does_not_help_is_pressed_three_times_and_no_more_for_this_wake() {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    stub.say("swallow 3");
    scene.house.say("errand 1");
    scene
        .gateway
        .wait_for_log("is in the agent's input line, but Enter does not send it");
    let report = stub.report();
    let keys = format!("\u{1b}[200~{COMMAND}\u{1b}[201~\r\r\r");
    assert_eq!(report["bytes"], json!(keys), "{report}");
}

#[test]
fn a_hint_in_the_input_line_is_no_draft() {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    stub.say("hint on");
    scene.house.say("errand 1");
    scene.wait_for_answer(1);
    stub.was_woken(1, COMMAND);
}

#[test]
fn another_command_is_typed_as_it_is_configured() {
    let command = "look into \"Telegram\"; $(touch it) ' #{q}";
    let scene = Scene::configured(json!({"tmux_wake_command": command}));
    let stub = scene.stub("claude-new");
    scene.house.say("errand 1");
    scene.wait_for_answer(1);
    stub.was_woken(1, command);
}

#[test]
fn keys_that_would_go_to_other_panes_too_are_not_pressed() {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    scene
        .terminal
        .run(&["split-window", "-d", "-t", SESSION, "cat"]);
    let set = |state| {
        [
            "set-option",
            "-w",
            "-t",
            SESSION,
            "synchronize-panes",
            state,
        ]
    };
    scene.terminal.run(&set("on"));
    scene.house.say("errand 1");
    scene.wait_until_refused("`synchronize-panes` is on, so keys would also go to other panes");
    stub.has_no_keys();
    scene.terminal.run(&set("off"));
    scene.wait_for_answer(1);
    stub.was_woken(1, COMMAND);
}

#[test]
fn an_agent_in_another_tmux_session_is_not_typed_to() {
    let scene = Scene::new();
    scene.terminal.new_session("another one");
    let ours = ["--session", "ONE"];
    let stub = scene
        .terminal
        .start_stub(&scene.house, "another one", "claude-new", &ours);
    scene.wait_for_agents(1);
    scene.house.say("errand 1");
    scene.wait_until_refused(
        "the agent's pane is in the tmux session `another one`, not in the configured `tmux_session`",
    );
    stub.has_no_keys();
}

#[test]
fn a_client_that_has_not_registered_is_found_in_the_configured_session() {
    let scene = Scene::new();
    // Its session was not chosen for it, so it registers with its first call.
    let stub = scene.terminal.start_stub(
        &scene.house,
        SESSION,
        "claude-new",
        &["--log-level", "debug"],
    );
    for number in 1..=2 {
        scene.house.say(&format!("errand {number}"));
        scene.wait_for_answer(number);
        stub.wait_until_idle();
    }
    stub.was_woken(2, COMMAND);
}

#[test]
fn a_client_that_is_connected_to_another_session_is_not_typed_to_for_this_one() {
    let scene = Scene::with_two_sessions();
    let theirs = ["--session", "TWO"];
    let stub = scene
        .terminal
        .start_stub(&scene.house, SESSION, "claude-new", &theirs);
    scene.house.say("errand 1");
    scene
        .wait_until_refused("the Claude Code in that tmux session is connected to the session TWO");
    stub.has_no_keys();
}

#[test]
fn of_two_clients_that_have_not_registered_none_is_typed_to() {
    let scene = Scene::new();
    let words = [
        "split-window",
        "-d",
        "-t",
        SESSION,
        "env",
        "PS1=$ ",
        "ENV=",
        "sh",
        "-i",
    ];
    scene.terminal.run(&words);
    let other = format!("{SESSION}:.1");
    let unbound = ["--log-level", "debug"];
    let stubs = [SESSION, &other].map(|pane| {
        scene
            .terminal
            .start_stub(&scene.house, pane, "claude-new", &unbound)
    });
    scene.house.say("errand 1");
    let words =
        "2 panes of the tmux session run Claude Code, and it is not clear which one is meant";
    scene.wait_until_refused(words);
    for stub in &stubs {
        stub.has_no_keys();
    }
    let text = String::from_utf8(scene.house.run(&["status"]).stdout).unwrap();
    let remark = format!("ONE: its agent was not woken by tmux (not typed: {words}).");
    assert!(text.contains(&remark), "{text}");
    // One of them leaves: now it is clear who is meant.
    stubs[1].say("quit");
    scene.wait_for_answer(1);
    stubs[0].was_woken(1, COMMAND);
}

#[test]
fn a_shell_in_the_configured_session_is_nobody_and_is_given_nothing() {
    let scene = Scene::new();
    let before = scene.terminal.wait_for_prompt();
    scene.house.say("errand 1");
    scene.house.wait_for_inbox(1);
    scene.gateway.wait_for_log("there is no agent to wake");
    assert_eq!(
        scene.terminal.screen(),
        before,
        "the shell was given something"
    );
    let stub = scene.stub("claude-new");
    scene.wait_for_answer(1);
    stub.was_woken(1, COMMAND);
}

mod soak {
    use super::MANY;

    #[test]
    #[ignore = "a hundred wakes"]
    fn idle_agents() {
        super::idle(MANY, "claude-new");
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn idle_agents_of_an_older_client() {
        super::idle(MANY, "claude-old");
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn drafts() {
        super::draft(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn copy_modes() {
        super::copy_mode(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn dialogs() {
        super::dialog(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn agents_at_work() {
        super::busy(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn shells() {
        super::bare_shell(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn editors() {
        super::editor(MANY);
    }

    #[test]
    #[ignore = "a hundred wakes"]
    fn dead_panes() {
        super::dead_pane(MANY);
    }
}
