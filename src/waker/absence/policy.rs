//! When the person is told that nobody is there, and that somebody is again. Pure.
//!
//! A downtime begins when a message waits, no agent lives, and its tmux session is surely without one; it
//! is told after a grace, in each chat that wrote, and ends when an agent has been there for a while.
//! One that comes and goes is the same downtime. Where nobody knows, nothing is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId};
use crate::state::inbox::entry::EntryName;

/// An agent that is started anew may take so long: nobody is told before.
const GRACE: Duration = Duration::from_secs(10);
/// So long it must be there until it is said to be back.
const BACK: Duration = Duration::from_secs(5);
/// How often it is looked for while messages wait.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The same, when that has lasted for a while.
const LOOK_SELDOM: Duration = Duration::from_secs(15);
/// After so long it is looked for seldom.
const A_WHILE: Duration = Duration::from_secs(120);

/// What a person is told whose message waits.
pub const TOLD_DOWN: &str = "The session is not running, so nobody reads this now. Your message is kept and is given to the agent when it runs again.";
/// What a person is told who was told that.
pub const TOLD_BACK: &str = "The session is running again. What waits is given to it now.";

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// An agent is there.
    Here,
    /// None is.
    Gone(Absence),
    /// Nobody can tell.
    Unknown,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The tmux session.
    NoSession,
    /// An agent in any of its panes.
    NoAgent,
}

impl Absence {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoSession => "its tmux session is gone",
            Self::NoAgent => "no agent runs in its tmux session",
        }
    }
}

/// How far a downtime has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// It may be a restart: nobody is told.
    Doubtful,
    /// It is told.
    Down,
    /// An agent is there again.
    Returning {
        /// Since when.
        at: Timestamp,
    },
    /// An agent is surely there again, which is told.
    Over,
}

/// A chat that wrote during the downtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// Where its first message was written.
    pub address: Address,
    /// That message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Whether it surely was told.
    pub told: bool,
}

/// The note of a downtime, as long as it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    /// The version of this file.
    pub format: u32,
    /// When it was noticed. Names it.
    pub since: Timestamp,
    /// What is missing.
    pub absence: Absence,
    /// How far it has come.
    pub phase: Phase,
    /// The newest message whose chat is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_to: Option<EntryName>,
    /// Who wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<Chat>,
}

impl Downtime {
    fn new(format: u32, absence: Absence, now: Timestamp) -> Self {
        Self {
            format,
            since: now,
            absence,
            phase: Phase::Doubtful,
            known_to: None,
            chats: Vec::new(),
        }
    }

    fn in_phase(&self, phase: Phase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }

    /// Notes who wrote, each chat once, whatever the topic.
    fn hear(&mut self, wrote: &[Wrote]) {
        for one in wrote {
            self.known_to = self.known_to.max(Some(one.name));
            let Some(address) = one.address else { continue };
            let of = |address: Address| (address.bot_id, address.chat_id);
            if !self
                .chats
                .iter()
                .any(|chat| of(chat.address) == of(address))
            {
                self.chats.push(Chat {
                    address,
                    message_id: one.message_id,
                    told: false,
                });
            }
        }
    }

    /// How long it lasts; a clock that was set back must not keep the person from being told.
    fn age(&self, now: Timestamp) -> Duration {
        span(self.since, now)
    }

    /// When to look again while messages wait.
    fn look_again(&self, now: Timestamp) -> Duration {
        match self.phase {
            Phase::Doubtful => GRACE.saturating_sub(self.age(now)).min(LOOK_AGAIN),
            Phase::Down if self.age(now) > A_WHILE => LOOK_SELDOM,
            Phase::Down => LOOK_AGAIN,
            Phase::Returning { at } => BACK.saturating_sub(span(at, now)),
            Phase::Over => Duration::ZERO,
        }
    }
}

fn span(from: Timestamp, now: Timestamp) -> Duration {
    if from > now {
        Duration::MAX
    } else {
        now.since(from)
    }
}

/// A message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// Its entry.
    pub name: EntryName,
    /// Where it was written, if a person wrote it.
    pub address: Option<Address>,
    /// Which one it is there.
    pub message_id: Option<MessageId>,
}

/// How things are.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Whether somebody is there.
    pub presence: Presence,
    /// Whether messages wait.
    pub waiting: bool,
    /// Those that the note does not know yet, oldest first.
    pub wrote: &'a [Wrote],
}

/// What a person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nobody is there.
    Down,
    /// Somebody is there again.
    Back,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The note is written, durably.
    Save(Downtime),
    /// A chat is told, once for this downtime.
    Tell {
        /// Names the downtime.
        since: Timestamp,
        /// Where.
        chat: Chat,
        /// What.
        word: Word,
    },
    /// The downtime is over, and the note goes.
    Forget,
}

/// Decides. The effects are carried out in their order, up to the first that fails.
pub fn next(
    note: Option<&Downtime>,
    seen: &Seen<'_>,
    format: u32,
    now: Timestamp,
) -> (Vec<Effect>, Option<Duration>) {
    let Some(before) = note else {
        return begin(seen, format, now);
    };
    let mut after = before.clone();
    after.hear(seen.wrote);
    match (before.phase, seen.presence) {
        (Phase::Doubtful, Presence::Here) => return (vec![Effect::Forget], None),
        // Only what is seen without a break is believed.
        (Phase::Doubtful, Presence::Unknown) => {
            return (vec![Effect::Forget], seen.waiting.then_some(LOOK_SELDOM));
        }
        (Phase::Doubtful, Presence::Gone(_)) if !seen.waiting => {
            return (vec![Effect::Forget], None);
        }
        (Phase::Doubtful, Presence::Gone(absence)) => {
            after.absence = absence;
            if before.age(now) >= GRACE {
                after.phase = Phase::Down;
            }
        }
        (Phase::Down, Presence::Here) => after.phase = Phase::Returning { at: now },
        (Phase::Down | Phase::Returning { .. }, Presence::Gone(absence)) => {
            after.absence = absence;
            after.phase = Phase::Down;
        }
        (Phase::Returning { .. }, Presence::Unknown) => after.phase = Phase::Down,
        (Phase::Returning { at }, Presence::Here) => {
            if span(at, now) >= BACK {
                after.phase = Phase::Over;
            }
        }
        (Phase::Over, Presence::Here | Presence::Gone(_) | Presence::Unknown)
        | (Phase::Down, Presence::Unknown) => {}
    }
    let again = match after.phase {
        Phase::Doubtful | Phase::Down => seen.waiting.then(|| after.look_again(now)),
        Phase::Returning { .. } => Some(after.look_again(now)),
        // What comes next is another downtime.
        Phase::Over => seen.waiting.then_some(Duration::ZERO),
    };
    (effects(before, &after), again)
}

fn begin(seen: &Seen<'_>, format: u32, now: Timestamp) -> (Vec<Effect>, Option<Duration>) {
    if !seen.waiting {
        return (Vec::new(), None);
    }
    match seen.presence {
        Presence::Here => (Vec::new(), None),
        Presence::Unknown => (Vec::new(), Some(LOOK_SELDOM)),
        Presence::Gone(absence) => {
            let mut begun = Downtime::new(format, absence, now);
            begun.hear(seen.wrote);
            let again = begun.look_again(now);
            (vec![Effect::Save(begun)], Some(again))
        }
    }
}

/// The note first, then what it says, then that this was said.
fn effects(before: &Downtime, after: &Downtime) -> Vec<Effect> {
    let mut effects = Vec::new();
    if after != before {
        effects.push(Effect::Save(after.clone()));
    }
    let tell = |chat: &Chat, word| Effect::Tell {
        since: after.since,
        chat: chat.clone(),
        word,
    };
    match after.phase {
        Phase::Doubtful | Phase::Returning { .. } => {}
        Phase::Down => {
            let untold: Vec<&Chat> = after.chats.iter().filter(|chat| !chat.told).collect();
            effects.extend(untold.iter().map(|chat| tell(chat, Word::Down)));
            if !untold.is_empty() {
                let mut told = after.in_phase(Phase::Down);
                told.chats.iter_mut().for_each(|chat| chat.told = true);
                effects.push(Effect::Save(told));
            }
        }
        Phase::Over => {
            let told = after.chats.iter().filter(|chat| chat.told);
            effects.extend(told.map(|chat| tell(chat, Word::Back)));
            effects.push(Effect::Forget);
        }
    }
    effects
}

#[cfg(test)]
mod tests;
