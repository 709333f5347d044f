//! Waking by typing into tmux: the command is sent once where that is safe, and no key is pressed anywhere
//! else. The client is a stub with the paste detectors of the real ones, and everything that it was given
//! is compared to the byte.

use serde_json::{Value, json};

use crate::support::stub::{SESSION, Stub, Terminal};
use crate::support::{Gateway, House, wait_for};

const COMMAND: &str = "/telegram-reply";
/// How many wakes of each state; the rest of the hundred is in the soak.
const FEW: usize = 5;
const MANY: usize = 95;

/// A house whose session is in tmux.
struct Scene {
    house: House,
    terminal: Terminal,
    gateway: Gateway,
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
        house.write_config();
        let terminal = Terminal::start(&mut house);
        let gateway = house.gateway();
        Self {
            house,
            terminal,
            gateway,
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
    }
    stub.was_woken(times, COMMAND);
    assert_eq!(
        scene.gateway.log().matches("waking the agent").count(),
        times
    );
}

fn draft(times: usize) {
    let scene = Scene::new();
    let stub = scene.stub("claude-new");
    let draft = "delete nothing, and then /telegram-reply";
    scene.wakes_after(
        &stub,
        times,
        "somebody has begun to type there",
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
            let mode = ["display-message", "-p", "-t", SESSION, "#{pane_mode}"];
            assert_eq!(scene.terminal.run(&mode).trim(), "copy-mode");
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
        "the agent is at work",
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
        let prompt = wait_for("the shell's prompt", || {
            let screen = scene.terminal.screen();
            let last = screen.trim_end().lines().last().map(str::to_owned);
            match last.as_deref() {
                Some("$") => Ok(screen),
                Some(_) | None => Err(screen),
            }
        });
        scene.house.say(&format!("errand {number}"));
        scene.wait_until_refused(NOT_IN_FRONT);
        assert_eq!(
            scene.terminal.screen(),
            prompt,
            "the shell was given something"
        );
        scene.terminal.keys("fg");
        scene.wait_for_answer(number);
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
        let editor = scene
            .terminal
            .start_stub(&scene.house, SESSION, "other", &[]);
        scene.house.say(&format!("errand {number}"));
        scene.wait_until_refused(NOT_IN_FRONT);
        editor.has_no_keys();
        let pid = editor.pid().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        assert!(killed.unwrap().success());
        scene.terminal.keys("fg");
        scene.wait_for_answer(number);
    }
    stub.was_woken(times, COMMAND);
}

fn dead_pane(times: usize) {
    let scene = Scene::new();
    for number in 1..=times {
        let stub = scene.stub("claude-new");
        scene.terminal.run(&["send-keys", "-t", SESSION, ""]);
        let shell = ["display-message", "-p", "-t", SESSION, "#{pane_pid}"];
        let shell = scene.terminal.run(&shell).trim().to_owned();
        for pid in [stub.pid().to_string(), shell] {
            let killed = std::process::Command::new("kill")
                .args(["-9", &pid])
                .status();
            assert!(killed.unwrap().success());
        }
        wait_for("the pane to die", || {
            let dead = ["display-message", "-p", "-t", SESSION, "#{pane_dead}"];
            match scene.terminal.run(&dead).trim() {
                "1" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
        scene.wait_for_agents(0);
        scene.house.say(&format!("errand {number}"));
        scene.house.wait_for_inbox(1);
        let shell = ["env", "PS1=$ ", "ENV=", "sh", "-i"];
        let words = ["respawn-pane", "-t", SESSION];
        scene.terminal.run(&[&words[..], &shell].concat());
        let stub = scene.stub("claude-new");
        scene.wait_for_answer(number);
        stub.was_woken(1, COMMAND);
        let pid = stub.pid().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        assert!(killed.unwrap().success());
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
