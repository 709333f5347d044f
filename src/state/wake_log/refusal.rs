//! Why nothing is typed into a pane.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why nothing is typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TypingRefusal {
    Tmux(String),
    Gone,
    OtherSession(String),
    Dead,
    Mode,
    Synchronized,
    InputOff,
    NotInFront,
    Dialog,
    Question,
    Busy,
    Unknown,
    Ended,
    NoInputLine,
    Elsewhere,
    Draft,
    NotShown,
    OtherCommand(String),
    Several(usize),
    OfSession(String),
}

impl fmt::Display for TypingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Tmux(reason) => return write!(f, "tmux cannot be asked: {reason}"),
            Self::OtherSession(session) => {
                return write!(
                    f,
                    "the agent's pane is in the tmux session `{session}`, not in the configured `tmux_session`"
                );
            }
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
                    "{count} panes of the tmux session run Claude Code, and it is not clear which one is meant"
                );
            }
            Self::OfSession(session) => {
                return write!(
                    f,
                    "the Claude Code in that tmux session is connected to the session {session}"
                );
            }
            Self::Gone => "the agent's pane is gone",
            Self::Dead => "the process of the pane has ended",
            Self::Mode => "the pane is in copy-mode or another mode of tmux",
            Self::Synchronized => "`synchronize-panes` is on, so keys would also go to other panes",
            Self::InputOff => "tmux has input to the pane switched off",
            Self::NotInFront => {
                "the agent is not in the foreground of its pane (a shell or another program is)"
            }
            Self::Dialog => "a permission dialog is open",
            Self::Question => "a dialog is open that Enter would answer",
            Self::Busy => "the agent is at work",
            Self::Unknown => "it is not known whether the agent is idle",
            Self::Ended => "the agent has ended",
            Self::NoInputLine => "the agent's input line is not on the screen",
            Self::Elsewhere => "the cursor is not in the agent's input line",
            Self::Draft => "the input line already contains text",
            Self::NotShown => "the pasted command does not appear in the agent's input line",
        };
        f.write_str(text)
    }
}
