//! Waking by typing: from a decision to a command that was surely sent.
//!
//! Before each key the pane is looked at anew. What was pasted and not sent is remembered in `wake.json`
//! (`typed`), so that whoever comes later, also another gateway, presses Enter only.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::state::agents::holder::HolderId;
use crate::state::agents::{self, CallsSeen, Registered, Says, Sighting};
use crate::state::layout::SessionDir;
use crate::waker::methods::tmux::Target;
use crate::waker::methods::tmux::guard::{self, Key, Refusal, Typing};
use crate::waker::methods::tmux::pane::{self, Shown};

/// Between the paste and the next look.
const SETTLES: Duration = Duration::from_millis(300);
/// Between two looks.
const STEP: Duration = Duration::from_millis(100);
/// How long what was pasted may take to stand in the input line, and a menu to show it.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// How long what was sent may take to leave the input line.
const SENT_WITHIN: Duration = Duration::from_secs(2);
/// How long a turn may take to begin after that.
const BEGUN_WITHIN: Duration = Duration::from_secs(1);
/// How often Enter is pressed.
const ENTERS: u32 = 3;

/// An agent that can be typed to.
#[derive(Clone, Debug)]
pub struct Typist {
    /// Its pane.
    pub target: Target,
    /// Its registration, if it has one.
    pub registered: Option<Registered>,
    /// What is typed.
    pub typing: Typing,
    /// Where the hooks of its client note its turns.
    pub dir: SessionDir,
}

/// How an attempt has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The command was sent.
    Sent,
    /// Enter was not pressed; the command may stand in the input line.
    NotSent(Refusal),
    /// It did not help, for this reason.
    Failed(String),
    /// The gateway stops. What was pasted is found by the next one.
    Stopped,
}

impl Typist {
    /// An agent that has said in which pane it is. Nothing is ever typed into Codex.
    pub fn of(dir: &SessionDir, one: &Registered, typing: &Typing) -> Option<Self> {
        let reach = &one.file.reach;
        let is_claude = |client: &agents::ClientName| client.name == "claude-code";
        let may_be = one.file.client.as_ref().is_none_or(is_claude);
        if !may_be || !one.file.threads.is_empty() || reach.codex.is_some() {
            return None;
        }
        Some(Self {
            target: Target {
                pane: reach.tmux.clone()?,
                agent: one.file.client_process.clone(),
                claude_folder: reach.claude_folder.clone(),
                path: reach.path.clone(),
            },
            registered: Some(one.clone()),
            typing: typing.clone(),
            dir: dir.clone(),
        })
    }

    /// What the agent is doing.
    pub fn sight(&self, now: Timestamp) -> Sighting {
        match &self.registered {
            Some(one) => agents::look(&self.dir, one, &self.holder(), now),
            None => agents::state(CallsSeen::default(), None, self.says(), now),
        }
    }

    fn holder(&self) -> HolderId {
        HolderId::of_process(&self.target.agent)
    }

    fn says(&self) -> Option<Says> {
        let folder = self.target.claude_folder.as_deref()?;
        agents::claude_says(folder, &self.target.agent)
    }

    /// What is known of the beginning of its turns.
    fn turns(&self) -> Turns {
        let one = self.registered.as_ref();
        let turn = one.and_then(|one| agents::turn(&self.dir, one, &self.holder()));
        Turns {
            says: self.says(),
            prompted_at: turn.and_then(|turn| turn.prompted_at),
        }
    }

    /// Whether a turn has begun since then.
    fn submitted(&self, before: Turns) -> bool {
        let now = self.turns();
        (now.says.is_some() && now.says != before.says) || now.prompted_at > before.prompted_at
    }

    /// The next key, by a look at everything.
    pub fn next_key(
        &self,
        at: &mut impl FnMut() -> Sighting,
        is_ours: bool,
    ) -> Result<Key, Refusal> {
        self.look(at, is_ours).map(|look| look.key)?
    }

    fn look(&self, at: &mut impl FnMut() -> Sighting, is_ours: bool) -> Result<Look, Refusal> {
        let seen = self.target.look()?;
        // Last, so that it is newer than what is on the screen.
        let key = guard::next_key(&seen.state, at().state, &self.typing, is_ours);
        let unknown = pane::calls_unknown(&seen.screen, &self.typing.command);
        Ok(Look {
            key,
            shown: seen.state.shown,
            unknown,
        })
    }

    /// Types the command, or sends what stands there already.
    pub fn wake(
        &self,
        mut at: impl FnMut() -> Sighting,
        is_ours: bool,
        stop: &CancellationToken,
    ) -> Attempt {
        match self.next_key(&mut at, is_ours) {
            Ok(Key::Paste) => {
                if let Err(refusal) = self.target.paste(&self.typing.command) {
                    return Attempt::NotSent(refusal);
                }
                std::thread::sleep(SETTLES);
            }
            Ok(Key::Enter) => {}
            Err(refusal) => return Attempt::NotSent(refusal),
        }
        let ready = match self.wait_until_shown(&mut at, stop) {
            Ok(ready) => ready,
            Err(attempt) => return attempt,
        };
        let before = self.turns();
        for _ in 0..ENTERS {
            // The look that allows it was the last thing that was done.
            if let Err(refusal) = self.target.enter() {
                return Attempt::NotSent(refusal);
            }
            match self.wait_until_sent(&mut at, before, ready.unknown, stop) {
                Some(attempt) => return attempt,
                None => match self.next_key(&mut at, true) {
                    Ok(Key::Enter) => {}
                    // It works, or what it does needs a permission.
                    Ok(Key::Paste) | Err(Refusal::Busy | Refusal::Dialog | Refusal::Question) => {
                        return Attempt::Sent;
                    }
                    Err(refusal) => return Attempt::NotSent(refusal),
                },
            }
        }
        Attempt::Failed(format!(
            "`{}` stands in the agent's input line, and Enter does not send it",
            self.typing.command
        ))
    }

    /// Waits until the command stands alone in the input line, and the menu of commands, if there is one,
    /// shows it.
    fn wait_until_shown(
        &self,
        at: &mut impl FnMut() -> Sighting,
        stop: &CancellationToken,
    ) -> Result<Look, Attempt> {
        let is_lone_command =
            self.typing.command.starts_with('/') && !self.typing.command.contains(' ');
        let mut waited = Duration::ZERO;
        loop {
            if stop.is_cancelled() {
                return Err(Attempt::Stopped);
            }
            let look = self.look(at, true).map_err(Attempt::NotSent)?;
            let in_time = waited < SHOWN_WITHIN;
            match &look.key {
                Ok(Key::Enter) => {
                    let has_menu = matches!(&look.shown, Shown::Typed { menu: Some(_), .. });
                    if has_menu || !is_lone_command || !in_time {
                        return Ok(look);
                    }
                }
                Ok(Key::Paste) if !in_time => {
                    return Err(Attempt::NotSent(Refusal::NotShown));
                }
                Err(refusal) if !in_time || !may_pass(refusal) => {
                    return Err(Attempt::NotSent(refusal.clone()));
                }
                Ok(Key::Paste) | Err(_) => {}
            }
            std::thread::sleep(STEP);
            waited += STEP;
        }
    }

    /// Waits until the command has left the input line. `None`: it still stands there.
    fn wait_until_sent(
        &self,
        at: &mut impl FnMut() -> Sighting,
        before: Turns,
        unknown: usize,
        stop: &CancellationToken,
    ) -> Option<Attempt> {
        let command = pane::without_blanks(&self.typing.command);
        let (mut waited, mut gone_for) = (Duration::ZERO, Duration::ZERO);
        loop {
            if self.submitted(before) {
                return Some(Attempt::Sent);
            }
            if stop.is_cancelled() {
                return Some(Attempt::Stopped);
            }
            let look = self.look(at, true).ok();
            if look.as_ref().is_some_and(|look| look.unknown > unknown) {
                return Some(Attempt::Failed(format!(
                    "the agent does not know `{}`; run `telepost install claude`, or correct `tmux_wake_command`",
                    self.typing.command
                )));
            }
            let stands = look.is_some_and(
                |look| matches!(&look.shown, Shown::Typed { text, .. } if *text == command),
            );
            if stands && waited >= SENT_WITHIN {
                return None;
            }
            if !stands && gone_for >= BEGUN_WITHIN {
                return Some(Attempt::Sent);
            }
            std::thread::sleep(STEP);
            waited += STEP;
            gone_for = if stands {
                Duration::ZERO
            } else {
                gone_for + STEP
            };
        }
    }
}

/// Whether what was just pasted may not be drawn in full.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Draft | Refusal::Elsewhere)
}

/// What the client and its hooks have told of turns.
#[derive(Clone, Copy, Debug)]
struct Turns {
    says: Option<Says>,
    prompted_at: Option<Timestamp>,
}

/// What one look has seen.
#[derive(Debug)]
struct Look {
    key: Result<Key, Refusal>,
    shown: Shown,
    /// How often the screen says that the command is unknown.
    unknown: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;
    use crate::ids::SessionId;
    use crate::state::agents::process::ProcessId;
    use crate::state::agents::{AgentFile, ClientName, Pane, Reach, Thread};
    use crate::state::layout::StateDir;

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
            format: 1,
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
        let typing = Typing {
            session: "shop".to_owned(),
            command: "/x".to_owned(),
        };
        let id = SessionId::new("ONE").unwrap();
        let dir = StateDir::new(PathBuf::from("/nowhere")).session(&id);
        let may_be = |one: &Registered| Typist::of(&dir, one, &typing).is_some();
        assert!(may_be(&agent(Some("claude-code"))));
        // One that has not said who it is: then its own file decides.
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
