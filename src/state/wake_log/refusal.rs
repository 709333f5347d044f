//! Why nothing is typed into a pane.

use serde::{Deserialize, Serialize};

/// Why nothing is typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TypingRefusal {
    #[error("tmux cannot be queried: {0}")]
    Tmux(String),
    #[error("the agent's pane is gone")]
    Gone,
    #[error("the agent's pane is in the tmux session `{0}`, not in the configured `tmux_session`")]
    OtherSession(String),
    #[error("the process of the pane has ended")]
    Dead,
    #[error("the pane is in copy-mode or another mode of tmux")]
    Mode,
    #[error("`synchronize-panes` is on, so keys would also go to other panes")]
    Synchronized,
    #[error("input to the pane is switched off in tmux")]
    InputOff,
    #[error("the agent is not in the foreground of its pane (a shell or another program is)")]
    NotInFront,
    #[error("a permission dialog is open")]
    Dialog,
    #[error("a dialog is open that Enter would answer")]
    Question,
    #[error("the agent is working")]
    Busy,
    #[error("it is not known whether the agent is idle")]
    Unknown,
    #[error("the agent has ended")]
    Ended,
    #[error("the agent's input line is not on the screen")]
    NoInputLine,
    #[error("the cursor is not in the agent's input line")]
    Elsewhere,
    #[error("the input line already contains text")]
    Draft,
    #[error("the pasted command does not appear in the agent's input line")]
    NotShown,
    #[error(
        "Enter would run `{0}`, because the agent does not know `tmux_wake_command`; run `telepost install claude`, or correct it"
    )]
    OtherCommand(String),
    #[error(
        "{0} panes of the tmux session run Claude Code, and it is not clear which one is meant"
    )]
    Several(usize),
    #[error("the Claude Code in that tmux session is connected to the session {0}")]
    OfSession(String),
}
