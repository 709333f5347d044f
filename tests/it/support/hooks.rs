//! The hooks of a client: `telepost hook`, run as a client runs it. The test is the client.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::House;

/// The hook's answer to an agent that stops while messages wait.
pub(crate) const DRAIN: &str = "Telegram messages are waiting for this session. Call the tool telegram_poll to read them, then answer with telegram_reply.";
/// The notice for the person.
pub(crate) const TOLD: &str = "The agent finished without answering. Your message is kept, and the agent will be shown it again.";
/// A gateway whose clock is so far ahead that every pause is over at once.
pub(crate) const PAUSES_ARE_OVER: (&str, &str) = ("TELEPOST_TEST_CLOCK_MS", "960000");

/// The stdout of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// Words for the model, as Claude Code reads them.
    Context(String),
    /// The same for Codex.
    Block(String),
}

impl House {
    /// A hook of the client that the agents of this house run in, for session `ONE`. It never fails.
    #[track_caller]
    pub(crate) fn hook(&self, event: &str, payload: Value) -> Said {
        let mut command = self.command(&["hook", event, "--session", "ONE"]);
        let output = run_hook(&mut command, &payload.to_string());
        assert!(output.stderr.is_empty(), "{output:?}");
        said(&output)
    }

    /// The turns that the hooks recorded of the one agent of session `ONE`, and where.
    pub(crate) fn turn(&self) -> Option<(PathBuf, Value)> {
        let names = self.names("turns");
        let mut files = names
            .iter()
            .filter(|name| name.strip_suffix(".json").is_some());
        let path = self.session("turns").join(files.next()?);
        assert_eq!(files.next(), None, "{names:?}");
        let note = fs::read(&path).ok()?;
        Some((path, serde_json::from_slice(&note).ok()?))
    }

    /// A prompt begins a turn of this name.
    #[track_caller]
    pub(crate) fn prompted(&self, turn: &str) {
        let payload =
            json!({"session_id": "s", "prompt_id": turn, "prompt": "the words of a person"});
        assert_eq!(self.hook("prompt", payload), Said::Nothing);
    }

    /// The agent wants to stop, at the end of that turn.
    #[track_caller]
    pub(crate) fn stops(&self, turn: &str, kept_going: bool) -> Said {
        let payload = json!({
            "session_id": "s", "prompt_id": turn, "stop_hook_active": kept_going,
            "last_assistant_message": "the words of the model",
        });
        self.hook("stop", payload)
    }

    /// The agent of a thread of Codex wants to stop.
    #[track_caller]
    pub(crate) fn thread_stops(&self, thread: &str, kept_going: bool) -> Said {
        let payload = json!({"session_id": thread, "turn_id": "t", "stop_hook_active": kept_going});
        self.hook("stop", payload)
    }
}

/// Runs a hook with this on its stdin.
pub(crate) fn run_hook(command: &mut Command, payload: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read it.
    drop(child.stdin.take().unwrap().write_all(payload.as_bytes()));
    child.wait_with_output().unwrap()
}

/// Its stdout; panics if it has failed.
#[track_caller]
pub(crate) fn said(output: &Output) -> Said {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    if output.stdout.is_empty() {
        return Said::Nothing;
    }
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    if value["decision"] == "block" {
        return Said::Block(text(&value["reason"]));
    }
    let said = &value["hookSpecificOutput"];
    assert_eq!(said["hookEventName"], "Stop", "{value}");
    Said::Context(text(&said["additionalContext"]))
}
