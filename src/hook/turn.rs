//! How a report of a hook changes the turns of an agent, and how the agent is answered. Pure.
//!
//! An agent that stops while it holds messages is reminded of each of them once. If other messages wait that
//! no agent was shown, they are announced to it, once for each batch. Both continue its turn, so both are
//! counted, and after [`MAX_CONTINUED`] in a row a turn ends whatever waits. The client's own flag
//! (`stop_hook_active`) is a hint; our count decides. An agent that was reminded and stops all the same
//! leaves its messages *unanswered*, and the gateway tells their chats.
//!
//! If our hooks are installed twice (the plugin and `telepost install`), one installation speaks in each
//! turn: the first to report in it. The other repeats what is known already.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::state::agents::turns::{Drained, TurnFile, TurnState, Unanswered};
use crate::state::inbox::entry::EntryName;

use std::collections::BTreeSet;

/// How often in a row a turn is continued. Claude Code has the same limit of its own.
const MAX_CONTINUED: u32 = 8;
/// The hooks of two installations report the same stop within this time.
const ONE_STOP: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HookEvent {
    /// A session starts or is reset.
    SessionStart {
        /// Whether a turn may be going on (the context was compacted).
        midway: bool,
    },
    Prompt,
    Stop {
        mailbox: MailboxSummary,
        /// Whether the client says that a stop hook has continued this turn.
        kept_going: Option<bool>,
    },
    /// The API failed, which ends the turn. The client ignores an answer.
    Failure,
    End,
}

/// The messages of a session, as they concern an agent that is about to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MailboxSummary {
    /// The entries that the agent was shown and has not settled.
    pub(crate) held: BTreeSet<EntryName>,
    /// The number of messages that they were shown as.
    pub(crate) messages: usize,
    /// The entries that wait for an agent, unless one has just been woken for them.
    pub(crate) waiting: BTreeSet<EntryName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HookReport {
    pub(crate) event: HookEvent,
    pub(crate) client_session: Option<String>,
    pub(crate) turn: Option<String>,
    pub(crate) installation: String,
}

/// An answer to the agent, which continues its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookReply {
    Remind(usize),
    Announce,
}

/// Applies a report. Returns the answer to the agent, if there is one.
pub(super) fn apply_report(
    file: &mut TurnFile,
    report: HookReport,
    now: Timestamp,
) -> Option<HookReply> {
    if is_repeated(file, &report, now) {
        return None;
    }
    if report.client_session.is_some() {
        file.client_session = report.client_session;
    }
    file.installation = Some(report.installation);
    match report.event {
        HookEvent::SessionStart { midway: true } => {}
        HookEvent::SessionStart { midway: false } => {
            begin_turn(file, None);
            set_state(file, TurnState::Idle, now);
        }
        HookEvent::Prompt => {
            begin_turn(file, report.turn);
            file.unanswered = None;
            file.prompted_at = Some(now);
            set_state(file, TurnState::Busy, now);
        }
        HookEvent::Stop {
            mailbox,
            kept_going,
        } => return stop_turn(file, &mailbox, report.turn, kept_going, now),
        // Its messages are not unanswered yet: the person at the terminal may let it try again. If it stays
        // idle, the gateway will find out.
        HookEvent::Failure => set_state(file, TurnState::Idle, now),
        HookEvent::End => set_state(file, TurnState::Ended, now),
    }
    None
}

/// Whether another installation of our hooks speaks in this turn.
fn is_repeated(file: &TurnFile, report: &HookReport, now: Timestamp) -> bool {
    let speaker = file.installation.as_ref();
    if speaker.is_none_or(|speaker| *speaker == report.installation) {
        return false;
    }
    match report.event {
        // True whichever installation reports it.
        HookEvent::SessionStart { .. } | HookEvent::Failure | HookEvent::End => false,
        HookEvent::Prompt if report.turn.is_some() => report.turn == file.turn,
        HookEvent::Prompt => file.prompted_at.is_some_and(|at| now.since(at) < ONE_STOP),
        HookEvent::Stop { .. } => report.turn.is_none() || report.turn == file.turn,
    }
}

fn begin_turn(file: &mut TurnFile, turn: Option<String>) {
    file.turn = turn;
    file.continued = 0;
    file.drained = None;
    file.reminded.clear();
}

fn set_state(file: &mut TurnFile, state: TurnState, now: Timestamp) {
    file.state = state;
    file.since = now;
}

fn stop_turn(
    file: &mut TurnFile,
    mailbox: &MailboxSummary,
    turn: Option<String>,
    kept_going: Option<bool>,
    now: Timestamp,
) -> Option<HookReply> {
    let same_turn = turn == file.turn;
    // If the client says that no hook has continued this turn although one did, this is the same stop from a
    // second installation, or a new turn of a client that does not name its turns.
    let answered = file.continued > 0 || file.state == TurnState::Idle;
    if same_turn && answered && kept_going == Some(false) {
        if turn.is_some() || now.since(file.since) < ONE_STOP {
            return None;
        }
        begin_turn(file, None);
        file.unanswered = None;
    } else if !same_turn && turn.is_some() {
        // Its prompt was not reported: our server was not there yet.
        begin_turn(file, turn);
        file.unanswered = None;
    }
    let may_continue = file.continued < MAX_CONTINUED;
    if may_continue && !mailbox.held.is_subset(&file.reminded) {
        file.reminded.extend(&mailbox.held);
        return Some(continue_turn(
            file,
            HookReply::Remind(mailbox.messages),
            now,
        ));
    }
    let newest = mailbox.waiting.last().copied();
    let fresh = newest.filter(|newest| file.drained.is_none_or(|drained| drained.newest < *newest));
    if let Some(newest) = fresh.filter(|_| may_continue) {
        file.drained = Some(Drained { at: now, newest });
        return Some(continue_turn(file, HookReply::Announce, now));
    }
    file.stopped_at = Some(now);
    let is_known = |before: &Unanswered| before.entries == mailbox.held;
    if !file.unanswered.as_ref().is_some_and(is_known) {
        file.unanswered = (!mailbox.held.is_empty()).then(|| Unanswered {
            at: now,
            entries: mailbox.held.clone(),
        });
    }
    set_state(file, TurnState::Idle, now);
    None
}

fn continue_turn(file: &mut TurnFile, reply: HookReply, now: Timestamp) -> HookReply {
    file.continued += 1;
    file.unanswered = None;
    set_state(file, TurnState::Busy, now);
    reply
}

#[cfg(test)]
mod tests;
