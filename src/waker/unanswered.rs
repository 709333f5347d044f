//! Finds agents that finished their turn and still hold messages, and tells the chats of those.
//!
//! The hooks of the client report it at once. Without hooks, or if the person stopped the turn, which no hook
//! reports, an agent that has been idle for a while counts as finished, too. A chat is told once of each
//! message: the notice is named by the oldest of its messages, so a kill repeats no notice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Address, SessionId};
use crate::state::agents::Unanswered;
use crate::state::holds::{Conversation, Held};
use crate::state::inbox::EntryName;
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::store::StoreError;
use crate::waker::activity::{Activity, AgentState};

/// How long an agent may be idle before it counts as finished.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// How often an agent is checked while it holds messages.
const CHECK_OFTEN: Duration = Duration::from_secs(5);
/// An agent that has been in an unknown state for so long is no longer checked.
const GIVE_UP: Duration = Duration::from_secs(600);

/// The judgment on the messages that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TurnVerdict {
    /// The agent was shown none, or it cannot be known.
    Nothing,
    /// The agent may be answering: check again after this time.
    Later(Duration),
    /// The agent finished without answering these.
    Finished(Unanswered),
}

/// Judges an agent that was shown these entries. `reported` comes from the hooks of its client.
pub(crate) fn judge_turn(
    shown: BTreeSet<EntryName>,
    reported: Option<&Unanswered>,
    activity: Activity,
    now: Timestamp,
) -> TurnVerdict {
    if shown.is_empty() {
        return TurnVerdict::Nothing;
    }
    let by_hooks = || still_unanswered(&shown, reported);
    match activity.state {
        AgentState::Idle => {}
        AgentState::Busy | AgentState::Waiting => return TurnVerdict::Later(CHECK_OFTEN),
        AgentState::Unknown if activity.age.is_some_and(|age| age < GIVE_UP) => {
            return TurnVerdict::Later(CHECK_OFTEN);
        }
        AgentState::Unknown => return TurnVerdict::Nothing,
        AgentState::Gone => {
            return by_hooks().map_or(TurnVerdict::Nothing, TurnVerdict::Finished);
        }
    }
    if let Some(unanswered) = by_hooks() {
        return TurnVerdict::Finished(unanswered);
    }
    let idle = activity.age.unwrap_or_default();
    if idle < IDLE_FOR {
        return TurnVerdict::Later(IDLE_FOR.saturating_sub(idle));
    }
    let since = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
    TurnVerdict::Finished(Unanswered {
        at: Timestamp(now.0.saturating_sub(since)),
        entries: shown,
    })
}

/// The reported entries that the agent still holds.
pub(crate) fn still_unanswered(
    shown: &BTreeSet<EntryName>,
    reported: Option<&Unanswered>,
) -> Option<Unanswered> {
    let reported = reported?;
    let entries: BTreeSet<EntryName> = reported.entries.intersection(shown).copied().collect();
    (!entries.is_empty()).then_some(Unanswered {
        at: reported.at,
        entries,
    })
}

/// Tells the chats of these messages of a conversation that the agent did not answer them.
pub(crate) fn notify_chats(
    outbox: &Outbox,
    session: &SessionId,
    conversation: &Conversation,
    untold: &BTreeSet<EntryName>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut chats: BTreeMap<Address, Vec<&Held>> = BTreeMap::new();
    for held in &conversation.held {
        if held.entries.iter().any(|entry| untold.contains(entry)) {
            chats.entry(held.address).or_default().push(held);
        }
    }
    for (address, held) in chats {
        let entries = held.iter().flat_map(|held| &held.entries);
        let (Some(oldest), Some(newest)) = (entries.min(), held.last()) else {
            continue;
        };
        let about = [
            "forgotten",
            session.as_str(),
            &address.bot_id.to_string(),
            &address.to_string(),
            &oldest.to_string(),
        ];
        tracing::info!(session = %session, messages = held.len(), "an agent finished without answering; telling the chat");
        let notice = Notice {
            session,
            address,
            about: &about,
            text: render_notice(held.len()),
            reply_to: Some(newest.message_id),
            silent: false,
        };
        notice::send_notice(outbox, notice, now)?;
    }
    Ok(())
}

fn render_notice(messages: usize) -> String {
    match messages {
        1 => "The agent finished without answering. Your message is kept, and the agent will be shown it again.".to_owned(),
        messages => format!("The agent finished without answering. Your {messages} messages are kept, and the agent will be shown them again."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UpdateId;

    const NOW: Timestamp = Timestamp(10_000_000);

    fn entry(number: i64) -> EntryName {
        EntryName {
            received: number,
            update_id: UpdateId(number),
        }
    }

    fn entries(numbers: &[i64]) -> BTreeSet<EntryName> {
        numbers.iter().copied().map(entry).collect()
    }

    fn unanswered(seconds_ago: i64, numbers: &[i64]) -> Unanswered {
        Unanswered {
            at: Timestamp(NOW.0 - seconds_ago * 1000),
            entries: entries(numbers),
        }
    }

    #[test]
    fn an_agent_has_finished_or_may_still_answer() {
        use AgentState::{Busy, Gone, Idle, Unknown, Waiting};
        let later = |seconds| TurnVerdict::Later(Duration::from_secs(seconds));
        let reported = unanswered(3, &[1, 9]);
        for (what, held, reported, state, age, expected) in [
            (
                "it holds nothing",
                &[][..],
                None,
                Idle,
                Some(60),
                TurnVerdict::Nothing,
            ),
            ("it works", &[1], None, Busy, Some(60), later(5)),
            (
                "it works again",
                &[1],
                Some(&reported),
                Busy,
                Some(1),
                later(5),
            ),
            (
                "it asks its person",
                &[1],
                None,
                Waiting,
                Some(60),
                later(5),
            ),
            (
                "its state is unknown",
                &[1],
                None,
                Unknown,
                Some(60),
                later(5),
            ),
            (
                "and has been for long",
                &[1],
                None,
                Unknown,
                Some(600),
                TurnVerdict::Nothing,
            ),
            (
                "it was never heard from",
                &[1],
                None,
                Unknown,
                None,
                TurnVerdict::Nothing,
            ),
            ("it has gone", &[1], None, Gone, None, TurnVerdict::Nothing),
            (
                "its hooks reported it and it has gone",
                &[1],
                Some(&reported),
                Gone,
                None,
                TurnVerdict::Finished(unanswered(3, &[1])),
            ),
            (
                "its hooks reported it",
                &[1, 2],
                Some(&reported),
                Idle,
                Some(3),
                TurnVerdict::Finished(unanswered(3, &[1])),
            ),
            (
                "the reported ones are settled",
                &[2],
                Some(&reported),
                Idle,
                Some(3),
                later(7),
            ),
            ("it is idle", &[1, 2], None, Idle, Some(9), later(1)),
            (
                "for a while",
                &[1, 2],
                None,
                Idle,
                Some(10),
                TurnVerdict::Finished(unanswered(10, &[1, 2])),
            ),
        ] {
            let activity = Activity {
                state,
                age: age.map(Duration::from_secs),
            };
            let verdict = judge_turn(entries(held), reported, activity, NOW);
            assert_eq!(verdict, expected, "{what}");
        }
    }
}
