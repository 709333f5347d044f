//! Decides which key may be pressed in a pane now. Pure.
//!
//! Enter approves an open permission dialog, and a shell runs whatever it is given. So a key is pressed only
//! if its effect is certain; every other case is a [`TypingRefusal`], for the log and `status`.

use crate::config::Session;
use crate::state::wake_log::{TypingRefusal, Wake, WakeOutcome};
use crate::waker::activity::AgentState;
use crate::waker::methods::tmux::TmuxMethod;
use crate::waker::methods::tmux::screen::{self, InputLine};
use crate::waker::policy::WakeCandidate;

/// The command that `telepost install` adds, typed unless the configuration names another.
const COMMAND: &str = "/telegram-reply";

/// The state of a pane, from tmux and the system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "tmux reports each separately"
)]
pub(crate) struct PaneState {
    pub(crate) sessions: Vec<String>,
    pub(crate) is_dead: bool,
    /// Whether it is in a mode of tmux, such as copy-mode.
    pub(crate) in_mode: bool,
    pub(crate) is_synchronized: bool,
    pub(crate) is_input_off: bool,
    pub(crate) agent_in_front: bool,
    pub(crate) input: InputLine,
}

/// The command that may be typed for a session, and the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypingRules {
    /// The tmux session that the agent must be in.
    pub(crate) session: String,
    pub(crate) command: String,
}

impl TypingRules {
    /// The rules of a configured session, if it is in tmux.
    pub(crate) fn of(session: &Session) -> Option<Self> {
        let command = session.tmux_wake_command.as_deref().unwrap_or(COMMAND);
        Some(Self {
            session: session.tmux_session.clone()?,
            command: command.to_owned(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextKey {
    Paste,
    /// The input line holds the command alone, so Enter sends it.
    Enter,
}

/// Decides on the next key. `is_ours`: we pasted the command there and do not know whether it was sent.
pub(crate) fn decide_key(
    pane: &PaneState,
    agent: AgentState,
    rules: &TypingRules,
    is_ours: bool,
) -> Result<NextKey, TypingRefusal> {
    if !pane.sessions.contains(&rules.session) {
        let session = pane.sessions.first().cloned();
        return Err(session.map_or(TypingRefusal::Gone, TypingRefusal::OtherSession));
    }
    let obstacles = [
        (pane.is_dead, TypingRefusal::Dead),
        (pane.in_mode, TypingRefusal::Mode),
        (pane.is_synchronized, TypingRefusal::Synchronized),
        (pane.is_input_off, TypingRefusal::InputOff),
        (!pane.agent_in_front, TypingRefusal::NotInFront),
    ];
    if let Some((_, refusal)) = obstacles.into_iter().find(|(is, _)| *is) {
        return Err(refusal);
    }
    if let Some(refusal) = refuse_state(agent) {
        return Err(refusal);
    }
    match &pane.input {
        InputLine::Empty => Ok(NextKey::Paste),
        InputLine::Typed { text, menu } => {
            let command = screen::remove_blanks(&rules.command);
            if !is_ours || *text != command {
                return Err(TypingRefusal::Draft);
            }
            match menu {
                Some(entry) if !screen::is_entry_of(entry, &rules.command) => {
                    Err(TypingRefusal::OtherCommand(entry.clone()))
                }
                Some(_) | None => Ok(NextKey::Enter),
            }
        }
        InputLine::AtWork => Err(TypingRefusal::Busy),
        InputLine::Dialog => Err(TypingRefusal::Question),
        InputLine::Elsewhere => Err(TypingRefusal::Elsewhere),
        InputLine::Other => Err(TypingRefusal::NoInputLine),
    }
}

/// Refuses every state but idle.
pub(crate) fn refuse_state(agent: AgentState) -> Option<TypingRefusal> {
    match agent {
        AgentState::Idle => None,
        AgentState::Busy => Some(TypingRefusal::Busy),
        AgentState::Waiting => Some(TypingRefusal::Dialog),
        AgentState::Unknown => Some(TypingRefusal::Unknown),
        AgentState::Gone => Some(TypingRefusal::Ended),
    }
}

/// Refuses to type to an agent that works or asks, if it can be woken in no other way. An agent that works
/// after it was woken is no reason.
pub(in crate::waker) fn refuse_busy(
    agent: &WakeCandidate,
    last: Option<&Wake>,
) -> Option<TypingRefusal> {
    let was_woken =
        last.is_some_and(|last| last.plan.agent == agent.key && last.outcome == WakeOutcome::Given);
    match agent.activity.state {
        _ if agent.methods != [TmuxMethod::ID] => None,
        AgentState::Busy if was_woken => None,
        AgentState::Busy | AgentState::Waiting => refuse_state(agent.activity.state),
        AgentState::Idle | AgentState::Unknown | AgentState::Gone => None,
    }
}

#[cfg(test)]
mod tests;
