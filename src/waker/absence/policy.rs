//! Decides when chats are told that a session has no agent, and that it has one again. Pure.
//!
//! An absence begins when a message waits, no agent is connected, and the tmux session, if one is configured,
//! certainly has none. The chats that wrote are told after a grace period, and again when an agent has been back for a while. An agent
//! that comes and goes belongs to the same absence. While the presence is unknown, no chat is told.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId};
use crate::state::absence::{Absence, AbsencePhase, Missing, WaitingChat};
use crate::state::inbox::EntryName;
use crate::waker::time_since;

/// How long a restart of an agent may take before a chat is told.
const GRACE: Duration = Duration::from_secs(10);
/// The same where only a connection shows an agent: a client connects some time after its start.
const GRACE_UNSEEN: Duration = Duration::from_mins(1);
/// How long an agent must be back before the chats are told.
const BACK: Duration = Duration::from_secs(5);
/// How often the session is checked while messages wait.
const CHECK_OFTEN: Duration = Duration::from_secs(5);
/// The same after [`A_WHILE`].
const CHECK_SELDOM: Duration = Duration::from_secs(15);
const A_WHILE: Duration = Duration::from_secs(120);

/// The notice to a chat whose message waits.
pub const DOWN_TEXT: &str = "The session is not running, so no one can read this now. Your message is kept, and the agent will get it when the session is running again.";
/// The same where it is not known whether the session runs.
pub const UNCONNECTED_TEXT: &str = "No agent is connected to this session, so no one can read this now. Your message is kept, and the next agent that connects gets it.";
/// The notice to the same chat when an agent is back.
pub const BACK_TEXT: &str =
    "The session is running again, and the agent now gets the messages that waited.";
/// The same where no agent was connected.
pub const CONNECTED_TEXT: &str =
    "An agent is connected again, and now gets the messages that waited.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentPresence {
    Present,
    Absent(Missing),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingMessage {
    pub(crate) name: EntryName,
    /// Where it was written, if a person wrote it.
    pub(crate) address: Option<Address>,
    pub(crate) message_id: Option<MessageId>,
}

#[derive(Clone, Debug)]
pub(crate) struct AbsenceInput<'a> {
    pub(crate) presence: AgentPresence,
    pub(crate) waiting: bool,
    /// The messages that the note does not cover yet, oldest first.
    pub(crate) new: &'a [WaitingMessage],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AbsenceNotice {
    Down,
    Back,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AbsenceEffect {
    Save(Absence),
    /// Tell a chat, once for this absence.
    Notify {
        since: Timestamp,
        chat: WaitingChat,
        notice: AbsenceNotice,
        missing: Missing,
    },
    /// Remove the note: the absence is over.
    Remove,
}

/// Decides. The effects are carried out in order, up to the first that fails.
pub(crate) fn decide_absence(
    note: Option<&Absence>,
    input: &AbsenceInput<'_>,
    now: Timestamp,
) -> (Vec<AbsenceEffect>, Option<Duration>) {
    let Some(before) = note else {
        return begin_absence(input, now);
    };
    let mut after = before.clone();
    add_chats(&mut after, input.new);
    match (before.phase, input.presence) {
        (AbsencePhase::Doubtful, AgentPresence::Present) => {
            return (vec![AbsenceEffect::Remove], None);
        }
        // Only an absence that was seen without a break is believed.
        (AbsencePhase::Doubtful, AgentPresence::Unknown) => {
            let again = input.waiting.then_some(CHECK_SELDOM);
            return (vec![AbsenceEffect::Remove], again);
        }
        (AbsencePhase::Doubtful, AgentPresence::Absent(_)) if !input.waiting => {
            return (vec![AbsenceEffect::Remove], None);
        }
        (AbsencePhase::Doubtful, AgentPresence::Absent(missing)) => {
            after.missing = missing;
            if time_since(before.since, now) >= find_grace(missing) {
                after.phase = AbsencePhase::Down;
            }
        }
        (AbsencePhase::Down, AgentPresence::Present) => {
            after.phase = AbsencePhase::Returning { at: now };
        }
        (AbsencePhase::Down | AbsencePhase::Returning { .. }, AgentPresence::Absent(missing)) => {
            after.missing = missing;
            after.phase = AbsencePhase::Down;
        }
        (AbsencePhase::Returning { .. }, AgentPresence::Unknown) => {
            after.phase = AbsencePhase::Down;
        }
        (AbsencePhase::Returning { at }, AgentPresence::Present) => {
            if time_since(at, now) >= BACK {
                after.phase = AbsencePhase::Over;
            }
        }
        (AbsencePhase::Over, _) | (AbsencePhase::Down, AgentPresence::Unknown) => {}
    }
    let again = match after.phase {
        AbsencePhase::Doubtful | AbsencePhase::Down => {
            input.waiting.then(|| next_check(&after, now))
        }
        AbsencePhase::Returning { .. } => Some(next_check(&after, now)),
        // The next check may find another absence.
        AbsencePhase::Over => input.waiting.then_some(Duration::ZERO),
    };
    (list_effects(before, &after), again)
}

fn begin_absence(
    input: &AbsenceInput<'_>,
    now: Timestamp,
) -> (Vec<AbsenceEffect>, Option<Duration>) {
    match input.presence {
        AgentPresence::Absent(missing) if input.waiting => {
            let mut note = Absence::new(missing, now);
            add_chats(&mut note, input.new);
            let again = next_check(&note, now);
            (vec![AbsenceEffect::Save(note)], Some(again))
        }
        AgentPresence::Unknown if input.waiting => (Vec::new(), Some(CHECK_SELDOM)),
        AgentPresence::Present | AgentPresence::Absent(_) | AgentPresence::Unknown => {
            (Vec::new(), None)
        }
    }
}

/// Lists the chats that wrote, each once, whatever the topic.
fn add_chats(note: &mut Absence, new: &[WaitingMessage]) {
    for message in new {
        note.known_to = note.known_to.max(Some(message.name));
        let Some(address) = message.address else {
            continue;
        };
        let is_same = |chat: &WaitingChat| {
            chat.address.bot_id == address.bot_id && chat.address.chat_id == address.chat_id
        };
        if !note.chats.iter().any(is_same) {
            note.chats.push(WaitingChat {
                address,
                message_id: message.message_id,
                told: false,
            });
        }
    }
}

fn find_grace(missing: Missing) -> Duration {
    match missing {
        Missing::TmuxSession | Missing::Agent => GRACE,
        Missing::Connection => GRACE_UNSEEN,
    }
}

/// When to check again while messages wait.
fn next_check(note: &Absence, now: Timestamp) -> Duration {
    let age = time_since(note.since, now);
    match note.phase {
        AbsencePhase::Doubtful => find_grace(note.missing)
            .saturating_sub(age)
            .min(CHECK_OFTEN),
        AbsencePhase::Down if age > A_WHILE => CHECK_SELDOM,
        AbsencePhase::Down => CHECK_OFTEN,
        AbsencePhase::Returning { at } => BACK.saturating_sub(time_since(at, now)),
        AbsencePhase::Over => Duration::ZERO,
    }
}

/// The note comes first, then the notices, then the note that they were given.
fn list_effects(before: &Absence, after: &Absence) -> Vec<AbsenceEffect> {
    let mut effects = Vec::new();
    if after != before {
        effects.push(AbsenceEffect::Save(after.clone()));
    }
    let notify = |chat: &WaitingChat, notice| AbsenceEffect::Notify {
        since: after.since,
        chat: chat.clone(),
        notice,
        missing: after.missing,
    };
    match after.phase {
        AbsencePhase::Doubtful | AbsencePhase::Returning { .. } => {}
        AbsencePhase::Down => {
            let untold: Vec<_> = after.chats.iter().filter(|chat| !chat.told).collect();
            effects.extend(untold.iter().map(|chat| notify(chat, AbsenceNotice::Down)));
            if !untold.is_empty() {
                let mut told = after.clone();
                told.chats.iter_mut().for_each(|chat| chat.told = true);
                effects.push(AbsenceEffect::Save(told));
            }
        }
        AbsencePhase::Over => {
            let told = after.chats.iter().filter(|chat| chat.told);
            effects.extend(told.map(|chat| notify(chat, AbsenceNotice::Back)));
            effects.push(AbsenceEffect::Remove);
        }
    }
    effects
}

#[cfg(test)]
mod tests;
