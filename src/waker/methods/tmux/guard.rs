//! What may be typed into a pane now, if anything. Pure.
//!
//! Enter while a permission dialog is open approves it, and a shell runs whatever it is given. So a key
//! is pressed only where it is sure what it does; each refusal has its words, for the log and `status`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Session;
use crate::state::agents::AgentState;
use crate::waker::methods::tmux::pane::{self, Shown};

/// What is typed unless the configuration says otherwise: the command that `telepost install` brings.
const COMMAND: &str = "/telegram-reply";

/// What tmux and the system say of a pane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that tmux tells"
)]
pub struct PaneState {
    /// The sessions that show it.
    pub sessions: Vec<String>,
    /// Whether its process has ended.
    pub is_dead: bool,
    /// Whether it is in a mode of tmux, such as copy-mode.
    pub in_mode: bool,
    /// Whether keys go to other panes, too.
    pub is_synchronized: bool,
    /// Whether tmux takes keys for it at all.
    pub is_input_off: bool,
    /// Whether the agent is in the foreground of its terminal.
    pub agent_in_front: bool,
    /// What it shows.
    pub shown: Shown,
}

/// What may be typed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// The tmux session that the agent must be in.
    pub session: String,
    /// The one line that is typed.
    pub command: String,
}

impl Typing {
    /// What may be typed for this session, if it is in tmux.
    pub fn of(session: &Session) -> Option<Self> {
        let command = session.tmux_wake_command.as_deref().unwrap_or(COMMAND);
        Some(Self {
            session: session.tmux_session.clone()?,
            command: command.to_owned(),
        })
    }
}

/// The next key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The command may be pasted.
    Paste,
    /// The command stands there alone: Enter.
    Enter,
}

/// Why nothing is typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// tmux does not answer.
    Tmux(String),
    /// The pane is not there.
    Gone,
    /// It is not in the configured session.
    OtherSession(String),
    /// Its process has ended.
    Dead,
    /// It is in copy-mode or another mode of tmux.
    Mode,
    /// Keys go to other panes, too.
    Synchronized,
    /// tmux takes no keys for it.
    InputOff,
    /// Something else is in the foreground: a shell, an editor.
    NotInFront,
    /// The agent asks its person something, such as a permission.
    Dialog,
    /// A dialog is to be seen, of which its client says nothing.
    Question,
    /// The agent works.
    Busy,
    /// Nobody knows what it is doing.
    Unknown,
    /// It has ended.
    Ended,
    /// No input line is to be seen.
    NoInputLine,
    /// The cursor is not in the input line.
    Elsewhere,
    /// Somebody has begun to type.
    Draft,
    /// What was pasted is not to be seen.
    NotShown,
    /// Enter would run another command.
    OtherCommand(String),
    /// Several panes of the session have an agent.
    Several(usize),
    /// The agent there belongs to another session of the configuration.
    OfSession(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Tmux(reason) => return write!(f, "tmux cannot be asked: {reason}"),
            Self::Gone => "the agent's pane is gone",
            Self::OtherSession(session) => {
                return write!(
                    f,
                    "the agent's pane is in the tmux session `{session}`, not in the configured `tmux_session`"
                );
            }
            Self::Dead => "the process of the pane has ended",
            Self::Mode => "the pane is in copy-mode or another mode of tmux",
            Self::Synchronized => "`synchronize-panes` is on, keys would go to other panes, too",
            Self::InputOff => "tmux has input to the pane switched off",
            Self::NotInFront => {
                "the agent is not in the foreground of its pane (a shell or another program is)"
            }
            Self::Dialog => "a permission dialog is open",
            Self::Question => "a dialog is open, which Enter would answer",
            Self::Busy => "the agent is at work",
            Self::Unknown => "nobody knows whether the agent is idle",
            Self::Ended => "the agent has ended",
            Self::NoInputLine => "the agent's input line is not to be seen",
            Self::Elsewhere => "the cursor is not in the agent's input line",
            Self::Draft => "somebody has begun to type there",
            Self::NotShown => "what was pasted does not show in the agent's input line",
            Self::OtherCommand(other) => {
                return write!(
                    f,
                    "Enter would run `{other}`, because the agent does not know `tmux_wake_command`; run \
                     `telepost install claude`, or correct it"
                );
            }
            Self::Several(count) => {
                return write!(
                    f,
                    "{count} panes of the tmux session have a Claude Code, and nobody says which is meant"
                );
            }
            Self::OfSession(session) => {
                return write!(
                    f,
                    "the Claude Code in that tmux session is connected to the session {session}"
                );
            }
        };
        f.write_str(words)
    }
}

/// The next key, or why there is none. `is_ours`: we have pasted the command there, and do not know yet
/// that it was sent.
pub fn next_key(
    pane: &PaneState,
    agent: AgentState,
    typing: &Typing,
    is_ours: bool,
) -> Result<Key, Refusal> {
    if !pane.sessions.contains(&typing.session) {
        let session = pane.sessions.first().cloned();
        return Err(session.map_or(Refusal::Gone, Refusal::OtherSession));
    }
    let in_the_way = [
        (pane.is_dead, Refusal::Dead),
        (pane.in_mode, Refusal::Mode),
        (pane.is_synchronized, Refusal::Synchronized),
        (pane.is_input_off, Refusal::InputOff),
        (!pane.agent_in_front, Refusal::NotInFront),
    ];
    if let Some((_, refusal)) = in_the_way.into_iter().find(|(is, _)| *is) {
        return Err(refusal);
    }
    if let Some(refusal) = of_state(agent) {
        return Err(refusal);
    }
    match &pane.shown {
        Shown::Empty => Ok(Key::Paste),
        Shown::Typed { text, menu } => {
            let command = pane::without_blanks(&typing.command);
            if !is_ours || *text != command {
                return Err(Refusal::Draft);
            }
            match menu {
                Some(entry) if !pane::names(entry, &typing.command) => {
                    Err(Refusal::OtherCommand(entry.clone()))
                }
                Some(_) | None => Ok(Key::Enter),
            }
        }
        Shown::AtWork => Err(Refusal::Busy),
        Shown::Dialog => Err(Refusal::Question),
        Shown::Elsewhere => Err(Refusal::Elsewhere),
        Shown::Other => Err(Refusal::NoInputLine),
    }
}

/// Why nothing is typed to an agent in this state.
pub fn of_state(agent: AgentState) -> Option<Refusal> {
    match agent {
        AgentState::Idle => None,
        AgentState::Busy => Some(Refusal::Busy),
        AgentState::Waiting => Some(Refusal::Dialog),
        AgentState::Unknown => Some(Refusal::Unknown),
        AgentState::Gone => Some(Refusal::Ended),
    }
}

#[cfg(test)]
mod tests;
