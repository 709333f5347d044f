//! The turns of one agent, as the hooks of its client tell of them: whether it works, and what is said to
//! it when it is about to stop. Pure; one file per holder, `turns/<holder>.json`.
//!
//! An agent that stops and holds messages is reminded of each of them once. If messages wait that nobody
//! has been shown, it is told so, once for each batch. Both let its turn go on, so both are counted, and
//! after [`MAX_CONTINUED`] in a row a turn ends whatever waits. What the client says of itself
//! (`stop_hook_active`) is a hint: our own count decides. An agent that was reminded and stops all the
//! same has *forgotten* what it holds, which the gateway tells the person.
//!
//! Of two installations of our hooks (the plugin and `telepost install`) one speaks in each turn: the one
//! that was heard first in it. What the other tells of that turn is the same thing once more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;
use crate::state::inbox::entry::EntryName;
use crate::store::format::FORMAT;

/// How often in a row a turn that wants to end goes on. Claude Code has the same limit of its own.
pub const MAX_CONTINUED: u32 = 8;

/// Two hooks of one stop are not farther apart.
const ONE_STOP: Duration = Duration::from_secs(5);

/// What is known of the turns of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFile {
    /// The version of this file.
    pub format: u32,
    /// Whose it is.
    pub holder: HolderId,
    /// The process that runs the agent: once that has ended, the file says nothing any more.
    pub client_process: ProcessId,
    /// The client's own name of its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_session: Option<String>,
    /// The client's own name of the turn, if it gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Which installation of our hooks speaks in this turn: its program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// What the agent is doing.
    pub state: TurnState,
    /// Since when.
    pub since: Timestamp,
    /// When a prompt was last submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompted_at: Option<Timestamp>,
    /// When a turn last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// How often this turn went on because of us.
    #[serde(default)]
    pub continued: u32,
    /// What the agent was told of at the end of this turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Drained>,
    /// What it was reminded of in this turn.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reminded: BTreeSet<EntryName>,
    /// What it held when it ended its turn all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Forgotten>,
}

/// What an agent is doing, by its hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// Between two turns.
    Idle,
    /// In a turn.
    Busy,
    /// Its session has ended: nothing more is known of it.
    Ended,
}

/// A batch of which an agent was told when it wanted to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// When.
    pub at: Timestamp,
    /// The newest message of it.
    pub newest: EntryName,
}

/// What an agent held when it ended its turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// When.
    pub at: Timestamp,
    /// The entries behind the messages.
    pub entries: BTreeSet<EntryName>,
}

/// What a hook tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session begins, or begins anew.
    SessionStart {
        /// Whether in the middle of whatever is going on (its context was compacted).
        midway: bool,
    },
    /// A prompt was submitted.
    Prompt,
    /// The agent wants to stop.
    Stop {
        /// How the mailbox stands.
        mailbox: Mailbox,
        /// Whether the client says that a stop hook has kept this turn going.
        kept_going: Option<bool>,
    },
    /// The API has failed, which ends the turn. Nobody listens to what its hook says.
    Failure,
    /// The session ends.
    End,
}

/// How the mailbox stands for an agent that wants to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The entries that it was surely shown and has not settled.
    pub held: BTreeSet<EntryName>,
    /// As how many messages it was shown them.
    pub messages: usize,
    /// What waits and is in nobody's hands, unless somebody is on the way to it.
    pub waiting: BTreeSet<EntryName>,
}

/// A hook was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it tells.
    pub event: Event,
    /// The client's own name of its session.
    pub client_session: Option<String>,
    /// The client's own name of the turn.
    pub turn: Option<String>,
    /// Which installation of our hooks it comes from.
    pub voice: String,
}

/// What is said to the agent, whose turn then goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It holds so many messages.
    Remind(usize),
    /// Messages wait.
    Drain,
}

impl TurnFile {
    /// An agent of which nothing was heard.
    pub fn new(holder: HolderId, client_process: ProcessId, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            holder,
            client_process,
            client_session: None,
            turn: None,
            voice: None,
            state: TurnState::Busy,
            since: now,
            prompted_at: None,
            stopped_at: None,
            continued: 0,
            drained: None,
            reminded: BTreeSet::new(),
            forgotten: None,
        }
    }

    /// Takes in what a hook tells. What is to be said to the agent, if anything.
    pub fn hear(&mut self, heard: Heard, now: Timestamp) -> Option<Say> {
        if self.is_said_already(&heard, now) {
            return None;
        }
        if heard.client_session.is_some() {
            self.client_session = heard.client_session;
        }
        self.voice = Some(heard.voice);
        match heard.event {
            Event::SessionStart { midway: true } => None,
            Event::SessionStart { midway: false } => {
                self.begin(None);
                self.enter(TurnState::Idle, now);
                None
            }
            Event::Prompt => {
                self.begin(heard.turn);
                self.forgotten = None;
                self.prompted_at = Some(now);
                self.enter(TurnState::Busy, now);
                None
            }
            Event::Stop {
                mailbox,
                kept_going,
            } => self.stop(&mailbox, heard.turn, kept_going, now),
            // What it holds is not forgotten yet: the person at the terminal may let it try again. Whoever
            // stays idle has forgotten it soon.
            Event::Failure => {
                self.enter(TurnState::Idle, now);
                None
            }
            Event::End => {
                self.enter(TurnState::Ended, now);
                None
            }
        }
    }

    /// Whether another installation of our hooks speaks in this turn.
    fn is_said_already(&self, heard: &Heard, now: Timestamp) -> bool {
        if self
            .voice
            .as_ref()
            .is_none_or(|voice| *voice == heard.voice)
        {
            return false;
        }
        match heard.event {
            // Whoever tells of these, it is so.
            Event::SessionStart { .. } | Event::Failure | Event::End => false,
            Event::Prompt if heard.turn.is_some() => heard.turn == self.turn,
            Event::Prompt => self.prompted_at.is_some_and(|at| now.since(at) < ONE_STOP),
            Event::Stop { .. } => heard.turn.is_none() || heard.turn == self.turn,
        }
    }

    /// A new turn: nothing was said in it yet.
    fn begin(&mut self, turn: Option<String>) {
        self.turn = turn;
        self.continued = 0;
        self.drained = None;
        self.reminded.clear();
    }

    fn enter(&mut self, state: TurnState, now: Timestamp) {
        self.state = state;
        self.since = now;
    }

    fn stop(
        &mut self,
        mailbox: &Mailbox,
        turn: Option<String>,
        kept_going: Option<bool>,
        now: Timestamp,
    ) -> Option<Say> {
        let same_turn = turn == self.turn;
        // The client says that nothing has kept this turn going, and we know better: that is the same
        // stop once more, from a second installation of the same hook, or a turn without a name.
        let answered = self.continued > 0 || self.state == TurnState::Idle;
        if same_turn && answered && kept_going == Some(false) {
            if turn.is_some() || now.since(self.since) < ONE_STOP {
                return None;
            }
            self.begin(None);
            self.forgotten = None;
        } else if !same_turn && turn.is_some() {
            // Its prompt was not heard: our server was not there yet.
            self.begin(turn);
            self.forgotten = None;
        }
        let may_go_on = self.continued < MAX_CONTINUED;
        let fresh = !mailbox.held.is_subset(&self.reminded);
        if may_go_on && fresh {
            self.reminded.extend(&mailbox.held);
            return Some(self.go_on(Say::Remind(mailbox.messages), now));
        }
        let news = mailbox
            .waiting
            .last()
            .copied()
            .filter(|newest| self.drained.is_none_or(|drained| drained.newest < *newest));
        if let Some(newest) = news.filter(|_| may_go_on) {
            self.drained = Some(Drained { at: now, newest });
            return Some(self.go_on(Say::Drain, now));
        }
        self.stopped_at = Some(now);
        let same = |before: &Forgotten| before.entries == mailbox.held;
        if !self.forgotten.as_ref().is_some_and(same) {
            self.forgotten = (!mailbox.held.is_empty()).then(|| Forgotten {
                at: now,
                entries: mailbox.held.clone(),
            });
        }
        self.enter(TurnState::Idle, now);
        None
    }

    fn go_on(&mut self, say: Say, now: Timestamp) -> Say {
        self.continued += 1;
        self.forgotten = None;
        self.enter(TurnState::Busy, now);
        say
    }
}

#[cfg(test)]
mod tests;
