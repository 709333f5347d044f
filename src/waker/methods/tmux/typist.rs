//! Types one command into a pane and makes sure that it was sent.
//!
//! The pane is looked at before each key. A command that was pasted and not sent is recorded in `wake.json`
//! (`typed`), so that the next attempt, perhaps of another gateway, only presses Enter.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::state::SessionDir;
use crate::state::agents::{ClientName, HolderId, Registered, TurnFile};
use crate::state::wake_log::TypingRefusal;
use crate::state::wake_requests::CallActivity;
use crate::waker::activity::{
    Activity, StateReport, combine_reports, observe_agent, read_claude_state,
};
use crate::waker::methods::tmux::guard::{NextKey, TypingRules, decide_key};
use crate::waker::methods::tmux::pane::AgentPane;
use crate::waker::methods::tmux::screen::{self, InputLine};
use crate::waker::methods::{AttemptResult, WakeTarget};

/// Between the paste and the next look.
const SETTLES: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(100);
/// How long the pasted command may take to appear in the input line, and in a menu.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// How long the sent command may take to leave the input line.
const SENT_WITHIN: Duration = Duration::from_secs(2);
/// How long a turn may take to begin after that.
const BEGUN_WITHIN: Duration = Duration::from_secs(1);
const ENTERS: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Typist<'a> {
    pub(crate) pane: AgentPane,
    server: Option<&'a Registered>,
    rules: &'a TypingRules,
    dir: &'a SessionDir,
    clock: &'a Clock,
}

impl<'a> Typist<'a> {
    /// For an agent whose pane is known. Codex is never typed to.
    pub(super) fn new(target: &WakeTarget<'a>, clock: &'a Clock) -> Option<Self> {
        Some(Self {
            pane: find_pane(target)?,
            server: target.server,
            rules: target.typing?,
            dir: target.dir,
            clock,
        })
    }

    pub(super) fn observe(&self) -> Activity {
        let now = self.clock.now();
        match self.server {
            Some(server) => observe_agent(self.dir, server, &self.holder(), now),
            None => combine_reports(CallActivity::default(), None, self.client_report(), now),
        }
    }

    fn holder(&self) -> HolderId {
        HolderId::of_process(&self.pane.agent)
    }

    fn client_report(&self) -> Option<StateReport> {
        read_claude_state(self.pane.claude_folder.as_deref()?, &self.pane.agent)
    }

    fn turn_signs(&self) -> TurnSigns {
        let turn = self.server.and_then(|server| {
            TurnFile::peek(self.dir, &self.holder(), &server.file.client_process)
        });
        TurnSigns {
            report: self.client_report(),
            prompted_at: turn.and_then(|turn| turn.prompted_at),
        }
    }

    fn has_begun(&self, before: TurnSigns) -> bool {
        let now = self.turn_signs();
        (now.report.is_some() && now.report != before.report)
            || now.prompted_at > before.prompted_at
    }

    /// Looks at the pane and the agent, and decides on the next key.
    pub(super) fn next_key(&self, is_ours: bool) -> Result<NextKey, TypingRefusal> {
        self.look(is_ours)?.key
    }

    fn look(&self, is_ours: bool) -> Result<PaneLook, TypingRefusal> {
        let view = self.pane.view()?;
        // Observed last, so that the state is newer than the screen.
        let key = decide_key(&view.state, self.observe().state, self.rules, is_ours);
        let unknown = screen::count_unknown(&view.screen, &self.rules.command);
        Ok(PaneLook {
            key,
            input: view.state.input,
            unknown,
        })
    }

    /// Pastes the command, unless it stands there already, and sends it.
    pub(super) fn type_command(&self, is_ours: bool, stop: &CancellationToken) -> AttemptResult {
        match self.try_to_type(is_ours, stop) {
            Ok(result) => result,
            Err(refusal) => AttemptResult::Refused(refusal),
        }
    }

    fn try_to_type(
        &self,
        is_ours: bool,
        stop: &CancellationToken,
    ) -> Result<AttemptResult, TypingRefusal> {
        if self.next_key(is_ours)? == NextKey::Paste {
            self.pane.paste(&self.rules.command)?;
            std::thread::sleep(SETTLES);
        }
        let Some(ready) = self.wait_until_shown(stop)? else {
            return Ok(AttemptResult::Stopped);
        };
        let before = self.turn_signs();
        for _ in 0..ENTERS {
            // The look that allows it was the last step.
            self.pane.press_enter()?;
            if let Some(result) = self.wait_until_sent(before, ready.unknown, stop) {
                return Ok(result);
            }
            match self.next_key(true) {
                Ok(NextKey::Enter) => {}
                // It works, or its work needs a permission.
                Ok(NextKey::Paste)
                | Err(TypingRefusal::Busy | TypingRefusal::Dialog | TypingRefusal::Question) => {
                    return Ok(AttemptResult::Given);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(AttemptResult::Failed(format!(
            "`{}` is in the agent's input line, but Enter does not send it",
            self.rules.command
        )))
    }

    /// Waits until the input line holds the command alone and the menu of commands, if there is one, shows it.
    /// `None` if the gateway stops.
    fn wait_until_shown(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<PaneLook>, TypingRefusal> {
        let command = &self.rules.command;
        let opens_menu = command.starts_with('/') && !command.contains(' ');
        let mut waited = Duration::ZERO;
        while !stop.is_cancelled() {
            let look = self.look(true)?;
            let in_time = waited < SHOWN_WITHIN;
            match &look.key {
                Ok(NextKey::Enter) => {
                    let has_menu = matches!(&look.input, InputLine::Typed { menu: Some(_), .. });
                    if has_menu || !opens_menu || !in_time {
                        return Ok(Some(look));
                    }
                }
                Ok(NextKey::Paste) if !in_time => return Err(TypingRefusal::NotShown),
                // The pasted command may not be drawn in full yet.
                Err(TypingRefusal::Draft | TypingRefusal::Elsewhere) if in_time => {}
                Err(refusal) => return Err(refusal.clone()),
                Ok(NextKey::Paste) => {}
            }
            std::thread::sleep(STEP);
            waited += STEP;
        }
        Ok(None)
    }

    /// Waits until the command has left the input line. `None` if it stays there.
    fn wait_until_sent(
        &self,
        before: TurnSigns,
        unknown: usize,
        stop: &CancellationToken,
    ) -> Option<AttemptResult> {
        let command = screen::remove_blanks(&self.rules.command);
        let (mut waited, mut gone_for) = (Duration::ZERO, Duration::ZERO);
        loop {
            if self.has_begun(before) {
                return Some(AttemptResult::Given);
            }
            if stop.is_cancelled() {
                return Some(AttemptResult::Stopped);
            }
            let look = self.look(true).ok();
            if look.as_ref().is_some_and(|look| look.unknown > unknown) {
                return Some(AttemptResult::Failed(format!(
                    "the agent does not know `{}`; run `telepost install claude`, or correct `tmux_wake_command`",
                    self.rules.command
                )));
            }
            let is_there = look.is_some_and(
                |look| matches!(&look.input, InputLine::Typed { text, .. } if *text == command),
            );
            if is_there && waited >= SENT_WITHIN {
                return None;
            }
            if !is_there && gone_for >= BEGUN_WITHIN {
                return Some(AttemptResult::Given);
            }
            std::thread::sleep(STEP);
            waited += STEP;
            gone_for = if is_there {
                Duration::ZERO
            } else {
                gone_for + STEP
            };
        }
    }
}

/// The pane of an agent that may be typed to: only Claude Code may.
pub(super) fn find_pane(target: &WakeTarget<'_>) -> Option<AgentPane> {
    let Some(server) = target.server else {
        return target.pane.cloned();
    };
    let (file, reach) = (&server.file, &server.file.reach);
    let is_claude = |client: &ClientName| client.name == "claude-code";
    let may_be_claude = file.client.as_ref().is_none_or(is_claude);
    if !may_be_claude || !file.threads.is_empty() || reach.codex.is_some() {
        return None;
    }
    Some(AgentPane {
        pane: reach.tmux.clone()?,
        agent: file.client_process.clone(),
        claude_folder: reach.claude_folder.clone(),
        path: reach.path.clone(),
    })
}

/// The signs that a turn has begun, from the client and its hooks.
#[derive(Clone, Copy, Debug)]
struct TurnSigns {
    report: Option<StateReport>,
    prompted_at: Option<Timestamp>,
}

#[derive(Debug)]
struct PaneLook {
    key: Result<NextKey, TypingRefusal>,
    input: InputLine,
    /// How often the screen says that the command is unknown.
    unknown: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::ids::SessionId;
    use crate::state::StateDir;
    use crate::state::agents::{AgentFile, Pane, ProcessId, Reach, Thread};

    fn agent(client: Option<&str>) -> Registered {
        let tmux = Pane {
            socket: PathBuf::from("/s"),
            id: "%1".to_owned(),
        };
        let client = client.map(|name| ClientName {
            name: name.to_owned(),
            version: "1".to_owned(),
        });
        let file = AgentFile {
            pid: 1,
            started_at: Timestamp(1),
            client_process: ProcessId::me(),
            holders: BTreeSet::new(),
            client,
            threads: Vec::new(),
            reach: Reach {
                tmux: Some(tmux),
                ..Reach::default()
            },
        };
        let name = "1-1".to_owned();
        Registered { name, file }
    }

    #[test]
    fn only_claude_code_in_tmux_is_ever_typed_to() {
        let id = SessionId::new("ONE").unwrap();
        let dir = StateDir::new(PathBuf::from("/nowhere")).session(&id);
        let may_be = |server: &Registered| {
            let target = WakeTarget {
                dir: &dir,
                server: Some(server),
                thread: None,
                pane: None,
                typing: None,
            };
            find_pane(&target).is_some()
        };
        assert!(may_be(&agent(Some("claude-code"))));
        // If the client is not named, its own file decides.
        assert!(may_be(&agent(None)));
        assert!(!may_be(&agent(Some("codex-mcp-client"))));
        let mut codex = agent(None);
        codex.file.reach.codex = Some(PathBuf::from("/bin/codex"));
        assert!(!may_be(&codex));
        let mut thread = agent(None);
        let id = "a".to_owned();
        let holder = HolderId::of_thread(&id);
        thread.file.threads.push(Thread { holder, id });
        assert!(!may_be(&thread));
        let mut elsewhere = agent(Some("claude-code"));
        elsewhere.file.reach.tmux = None;
        assert!(!may_be(&elsewhere));
    }
}
