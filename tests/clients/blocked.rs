//! An agent that waits for its person: one hook, `PermissionRequest`, is asked and may answer, and the dialog at
//! the terminal stays usable (docs/facts/clients.md 7).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Kind, screen, type_in, wait_for_agent, wait_for_client};
use crate::model::Asked;
use crate::support::{House, Terminal, texts};

crate::each_claude!(
    a_question_is_answered_by_the_hook_or_at_the_terminal_in_every_mode,
    a_permission_is_given_by_the_hook_or_at_the_terminal_in_every_mode,
    a_permission_for_the_session_holds_for_the_next_call_and_is_not_written_down,
    the_hook_ends_when_the_person_refuses_at_the_terminal,
    a_plan_is_sent_back_and_approved_by_the_hook,
    an_answer_by_the_hook_is_the_persons_word_for_auto_mode_and_a_message_that_was_polled_is_not,
    the_third_denial_of_auto_mode_in_a_row_asks_the_hook,
);

const MODES: [&str; 5] = [
    "default",
    "acceptEdits",
    "plan",
    "auto",
    "bypassPermissions",
];

fn a_question_is_answered_by_the_hook_or_at_the_terminal_in_every_mode(kind: Kind) {
    for mode in MODES {
        let scene = Scene::begin(kind, mode);
        let asked = scene.client.model.asked();
        let request = scene.request(asked, "AskUserQuestion", &question("Which colour?"));
        assert_eq!(request.asked["tool_name"], "AskUserQuestion");
        assert_eq!(request.asked["permission_mode"], mode);
        scene.see("1. Red");
        request.decide(&answer("Which colour?", "Neither: mauve."));
        let asked = scene.client.model.asked();
        let read = asked.result_text();
        assert!(
            read.contains(r#""Which colour?"="Neither: mauve.""#),
            "{mode}: {read}"
        );

        let request = scene.request(asked, "AskUserQuestion", &question("Which shape?"));
        scene.see("1. Red");
        let read = scene.accept().result_text();
        assert!(read.contains(r#""Which shape?"="Red""#), "{mode}: {read}");
        assert!(request.waits(), "{mode}: it is not told, and not ended");
    }
}

/// The rule asks also where the mode would not.
fn a_permission_is_given_by_the_hook_or_at_the_terminal_in_every_mode(kind: Kind) {
    for mode in MODES {
        let scene = Scene::begin(kind, mode);
        let made = |name: &str| scene.client.project().join(name);
        let mkdir = |name: &str| json!({"command": format!("mkdir {name}"), "description": "x"});
        let asked = scene.client.model.asked();
        let request = scene.request(asked, "Bash", &mkdir("first"));
        scene.see("Do you want to proceed?");
        request.decide(&deny("Not on a Sunday."));
        let asked = scene.client.model.asked();
        assert_eq!(asked.result_text(), "Not on a Sunday.", "{mode}");

        let request = scene.request(asked, "Bash", &mkdir("second"));
        request.decide(&json!({"behavior": "allow"}));
        let asked = scene.client.model.asked();
        assert!(made("second").exists(), "{mode}: {}", asked.result_text());

        let request = scene.request(asked, "Bash", &mkdir("third"));
        scene.see("Do you want to proceed?");
        let asked = scene.accept();
        assert!(made("third").exists(), "{mode}: {}", asked.result_text());
        assert!(request.waits(), "{mode}: it is not told, and not ended");
        assert!(!made("first").exists(), "{mode}: denied");
    }
}

fn a_permission_for_the_session_holds_for_the_next_call_and_is_not_written_down(kind: Kind) {
    let scene = Scene::begin(kind, "default");
    let command = json!({"command": "curl --version", "description": "x"});
    let asked = scene.client.model.asked();
    let request = scene.request(asked, "Bash", &command);
    let mut suggested = request.asked["permission_suggestions"].clone();
    assert_eq!(suggested[0]["destination"], "localSettings", "{suggested}");
    suggested[0]["destination"] = json!("session");
    request.decide(&json!({"behavior": "allow", "updatedPermissions": suggested}));
    scene.client.model.asked().call_own("Bash", command);
    scene.client.model.asked().say("Done.");
    assert_eq!(fs::read_dir(&scene.requests).unwrap().count(), 0);
    assert!(!scene.client.project().join(".claude").exists());
}

fn the_hook_ends_when_the_person_refuses_at_the_terminal(kind: Kind) {
    let scene = Scene::begin(kind, "default");
    let asked = scene.client.model.asked();
    let command = json!({"command": "mkdir first", "description": "x"});
    let request = scene.request(asked, "Bash", &command);
    scene.see("Do you want to proceed?");
    wait_for_client("the end of the hook after Esc", || {
        if request.waits() {
            scene.press("Escape");
            return Err(screen(&scene.terminal, "shop"));
        }
        Ok(())
    });
    assert!(scene.client.model.is_left_alone(), "the turn is over");
    assert!(!scene.client.project().join("first").exists());
}

fn a_plan_is_sent_back_and_approved_by_the_hook(kind: Kind) {
    let scene = Scene::begin(kind, "plan");
    let asked = scene.client.model.asked();
    let file = plan_file(&asked);
    asked.call_own("Write", json!({"file_path": file, "content": "# Paint it"}));
    let asked = scene.client.model.asked();
    let request = scene.request(asked, "ExitPlanMode", &json!({}));
    assert_eq!(request.asked["tool_input"]["plan"], "# Paint it");
    scene.see("Would you like to proceed?");
    request.decide(&deny("Which colour?"));
    let asked = scene.client.model.asked();
    assert_eq!(asked.result_text(), "Which colour?");

    let request = scene.request(asked, "ExitPlanMode", &json!({}));
    let plan = request.asked["tool_input"].clone();
    let edits_freely =
        json!([{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]);
    request.decide(&json!({
        "behavior": "allow", "updatedInput": plan, "updatedPermissions": edits_freely,
    }));
    let asked = scene.client.model.asked();
    let read = asked.result_text();
    assert!(read.contains("User has approved your plan"), "{read}");
    let request = scene.request(asked, "AskUserQuestion", &question("Which colour?"));
    assert_eq!(request.asked["permission_mode"], "acceptEdits");
}

fn an_answer_by_the_hook_is_the_persons_word_for_auto_mode_and_a_message_that_was_polled_is_not(
    kind: Kind,
) {
    let (house, terminal) = Terminal::with_house();
    let _gateway = house.gateway();
    let client = Client::registered(kind, &house);
    let scene = Scene::of(house, terminal, client);
    scene
        .client
        .sit_in_mode(&scene.terminal, "shop", "auto", None);
    wait_for_agent(&scene.house, &["idle"]);
    scene.house.say("paint it green");
    scene.house.wait_for_inbox(1);
    type_in(&scene.terminal, "shop", "Look at Telegram.");
    scene.client.model.asked().call("telegram_poll", json!({}));
    let asked = scene.client.model.asked();
    assert_eq!(texts(&asked.result()), ["paint it green"]);
    let request = scene.request(asked, "AskUserQuestion", &question("Which colour?"));
    request.decide(&answer("Which colour?", "Paint it mauve."));
    let command = json!({"command": "touch /dev/null && curl --version", "description": "x"});
    scene.client.model.asked().call_own("Bash", command);
    let asked = scene.client.model.asked();
    let checks = scene.client.model.checks();
    let last = checks
        .last()
        .unwrap_or_else(|| panic!("{}", asked.result_text()));
    assert!(last.contains("[User answered AskUserQuestion]"), "{last}");
    assert!(last.contains("Paint it mauve."), "{last}");
    assert!(!last.contains("paint it green"), "{last}");
}

fn the_third_denial_of_auto_mode_in_a_row_asks_the_hook(kind: Kind) {
    let scene = Scene::begin(kind, "auto");
    scene.client.model.deny_calls();
    let command = json!({"command": "touch made && curl --version", "description": "x"});
    let mut asked = scene.client.model.asked();
    for _ in 0..2 {
        asked.call_own("Bash", command.clone());
        asked = scene.client.model.asked();
        let read = asked.result_text();
        let denied = "denied by the Claude Code auto mode classifier. Reason: ";
        assert!(
            read.contains(denied) && read.contains("Git Destructive"),
            "{read}"
        );
    }
    let request = scene.request(asked, "Bash", &command);
    assert!(!scene.client.project().join("made").exists());
    request.decide(&json!({"behavior": "allow"}));
    let asked = scene.client.model.asked();
    let is_made = scene.client.project().join("made").exists();
    assert!(is_made, "{}", asked.result_text());
}

#[test]
fn codex_asks_the_hook_before_it_shows_its_dialog() {
    let (house, terminal) = Terminal::with_house();
    let client = Client::new(Kind::Codex, &house);
    let scene = Scene::of(house, terminal, client);
    scene.client.sit_in(&scene.terminal, "shop", Some("Work."));
    let made = |name: &str| scene.client.project().join(name);
    let mkdir = |name: &str| {
        json!({
            "cmd": format!("mkdir {name}"), "sandbox_permissions": "require_escalated",
            "justification": "May I make it?",
        })
    };
    let asked = scene.client.model.asked();
    let request = scene.request(asked, "exec_command", &mkdir("first"));
    assert_eq!(request.asked["tool_name"], "Bash");
    let input = json!({"command": "mkdir first", "description": "May I make it?"});
    assert_eq!(request.asked["tool_input"], input);
    scene.see("Running hook");
    let shown = screen(&scene.terminal, "shop");
    assert!(!shown.contains("Would you like to run"), "{shown}");
    request.decide(&deny("Not on a Sunday."));
    let asked = scene.client.model.asked();
    let read = asked.result_text();
    assert!(read.contains("Not on a Sunday."), "{read}");

    let request = scene.request(asked, "exec_command", &mkdir("second"));
    request.decide(&json!({"behavior": "allow"}));
    let asked = scene.client.model.asked();
    assert!(made("second").exists(), "{}", asked.result_text());

    let request = scene.request(asked, "exec_command", &mkdir("third"));
    request.abstain();
    scene.see("Would you like to run");
    let asked = scene.accept();
    assert!(made("third").exists(), "{}", asked.result_text());
    assert!(!made("first").exists(), "denied");
}

/// A client at a terminal whose requests reach a hook that waits for the test.
struct Scene {
    house: House,
    terminal: Terminal,
    client: Client,
    requests: PathBuf,
}

impl Scene {
    /// The person has said something, and the model is asked.
    #[track_caller]
    fn begin(kind: Kind, mode: &str) -> Self {
        let (house, terminal) = Terminal::with_house();
        let client = Client::new(kind, &house);
        let scene = Self::of(house, terminal, client);
        scene
            .client
            .sit_in_mode(&scene.terminal, "shop", mode, Some("Work."));
        scene
    }

    fn of(house: House, terminal: Terminal, client: Client) -> Self {
        let requests = house.path().join("requests");
        fs::create_dir(&requests).unwrap();
        let hook = format!(
            "'{}/tests/stub/deciding-hook' '{}'",
            env!("CARGO_MANIFEST_DIR"),
            requests.display()
        );
        let hook = json!({"type": "command", "command": hook});
        let hooks = json!({"PermissionRequest": [{"hooks": [hook]}]});
        match client.kind {
            Kind::Claude | Kind::OlderClaude => client.change_settings(|settings| {
                settings["hooks"] = hooks;
                settings["permissions"]["ask"] = json!(["Bash(mkdir *)"]);
            }),
            Kind::Codex => {
                let file = client.home().join(".codex/hooks.json");
                fs::write(file, json!({"hooks": hooks}).to_string()).unwrap();
                client.trust_hooks();
            }
        }
        Self {
            house,
            terminal,
            client,
            requests,
        }
    }

    /// The model calls a tool that needs the person, and the hook waits.
    #[track_caller]
    fn request(&self, asked: Asked, tool: &str, input: &Value) -> Request {
        asked.call_own(tool, input.clone());
        let file = wait_for_client("a request at the hook", || {
            let mut files = fs::read_dir(&self.requests).unwrap().flatten();
            files
                .find(|file| file.path().extension().is_some_and(|end| end == "asked"))
                .ok_or_else(|| screen(&self.terminal, "shop"))
        });
        let file = file.path();
        let asked: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        fs::remove_file(&file).unwrap();
        let decision = file.with_extension("decision");
        Request { asked, decision }
    }

    /// Waits until this stands on the screen.
    #[track_caller]
    fn see(&self, text: &str) {
        wait_for_client(text, || {
            let shown = screen(&self.terminal, "shop");
            if shown.contains(text) {
                Ok(())
            } else {
                Err(shown)
            }
        });
    }

    fn press(&self, key: &str) {
        self.terminal.run(&["send-keys", "-t", "=shop:", key]);
    }

    /// The person takes what the dialog offers first. A dialog that has just opened overlooks a key.
    #[track_caller]
    fn accept(&self) -> Asked {
        wait_for_client("the model to be asked after Enter", || {
            self.press("Enter");
            let asked = self.client.model.asked_within(Duration::from_secs(1));
            asked.ok_or_else(|| screen(&self.terminal, "shop"))
        })
    }
}

/// A hook that was asked this, and waits for the decision.
struct Request {
    asked: Value,
    decision: PathBuf,
}

impl Request {
    fn decide(self, decision: &Value) {
        let output = json!({"hookEventName": "PermissionRequest", "decision": decision});
        let output = json!({"hookSpecificOutput": output});
        self.print(&output.to_string());
    }

    /// Leaves it to the person at the terminal.
    fn abstain(self) {
        self.print("");
    }

    fn print(self, output: &str) {
        fs::write(&self.decision, output).unwrap();
        fs::remove_file(self.decision).unwrap();
    }

    /// Whether the process of the hook lives.
    fn waits(&self) -> bool {
        let pid = self.decision.file_stem().unwrap().to_str().unwrap();
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::test_kill_process(pid).is_ok()
    }
}

fn question(text: &str) -> Value {
    let options = json!([
        {"label": "Red", "description": "as a rose"}, {"label": "Blue", "description": "as the sea"},
    ]);
    json!({"questions": [
        {"question": text, "header": "Paint", "multiSelect": false, "options": options},
    ]})
}

fn answer(text: &str, answer: &str) -> Value {
    let mut input = question(text);
    input["answers"] = json!({text: answer});
    json!({"behavior": "allow", "updatedInput": input})
}

fn deny(message: &str) -> Value {
    json!({"behavior": "deny", "message": message})
}

/// The file in which the model is told to write its plan.
#[track_caller]
fn plan_file(asked: &Asked) -> String {
    let read = asked.everything();
    let (before, after) = read.split_once(".claude/plans/").unwrap();
    let before = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next()
        .unwrap();
    let (name, _) = after.split_once(".md").unwrap();
    format!("{before}.claude/plans/{name}.md")
}
