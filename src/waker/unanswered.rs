//! An agent that has finished its turn and still holds messages: whether that is so, and what the person
//! is told.
//!
//! The hooks of its client say so at once. Without them, or where a person has stopped the turn, of which
//! no hook tells, an agent that has been idle for a while has finished too. The person is told once of each
//! message, through the outbox; the key of that notice comes from the oldest of the messages, so that a
//! kill never tells twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Address, SessionId};
use crate::state::agents::turns::Forgotten;
use crate::state::agents::{AgentState, Sighting};
use crate::state::holds::{Conversation, Held};
use crate::state::inbox::entry::EntryName;
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::store::StoreError;

/// So long an agent may be idle before it is taken to have finished.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// How often an agent is looked at that holds messages.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// An agent of which nobody has known anything for so long is no longer looked at.
const GIVE_UP: Duration = Duration::from_secs(600);

/// What has become of the messages that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds none, or nobody can know.
    Nothing,
    /// It may be answering: look again after this time.
    Later(Duration),
    /// It has finished without answering these.
    Forgot(Forgotten),
}

/// Judges. `told` is what the hooks of its client have told.
pub fn judge(
    mine: Option<&Conversation>,
    told: Option<&Forgotten>,
    seen: Sighting,
    now: Timestamp,
) -> Verdict {
    let held = mine.map(Conversation::entries).unwrap_or_default();
    if held.is_empty() {
        return Verdict::Nothing;
    }
    match seen.state {
        AgentState::Idle => {}
        AgentState::Busy | AgentState::Waiting => return Verdict::Later(LOOK_AGAIN),
        AgentState::Unknown if seen.age.is_some_and(|age| age < GIVE_UP) => {
            return Verdict::Later(LOOK_AGAIN);
        }
        AgentState::Unknown => return Verdict::Nothing,
        AgentState::Gone => return by_hooks(&held, told).map_or(Verdict::Nothing, Verdict::Forgot),
    }
    if let Some(forgotten) = by_hooks(&held, told) {
        return Verdict::Forgot(forgotten);
    }
    let idle = seen.age.unwrap_or_default();
    if idle < IDLE_FOR {
        return Verdict::Later(IDLE_FOR.saturating_sub(idle));
    }
    let since = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
    Verdict::Forgot(Forgotten {
        at: Timestamp(now.0.saturating_sub(since)),
        entries: held,
    })
}

/// What the hooks say of what is still held.
pub fn by_hooks(held: &BTreeSet<EntryName>, told: Option<&Forgotten>) -> Option<Forgotten> {
    let told = told?;
    let entries: BTreeSet<EntryName> = told.entries.intersection(held).copied().collect();
    (!entries.is_empty()).then_some(Forgotten {
        at: told.at,
        entries,
    })
}

/// Tells the persons of these messages of a conversation that nobody has answered them.
pub fn tell(
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
        tracing::info!(session = %session, messages = held.len(), "an agent has finished without answering; telling the person");
        let notice = Notice {
            session,
            address,
            about: &about,
            text: words(held.len()),
            reply_to: Some(newest.message_id),
            silent: false,
        };
        notice::give(outbox, notice, now)?;
    }
    Ok(())
}

fn words(messages: usize) -> String {
    let yours = match messages {
        1 => "Your message is kept".to_owned(),
        messages => format!("Your {messages} messages are kept"),
    };
    format!("The agent finished without answering. {yours} and will be offered to it again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BotId, ChatId, MessageId, UpdateId};

    const NOW: Timestamp = Timestamp(10_000_000);

    fn entry(number: i64) -> EntryName {
        EntryName {
            received: number,
            update_id: UpdateId(number),
        }
    }

    fn holding(numbers: &[i64]) -> Conversation {
        let mut all = Conversation::new("me", "a test", NOW);
        all.held = numbers
            .iter()
            .map(|number| Held {
                update_id: UpdateId(*number),
                message_id: MessageId(1),
                address: Address {
                    bot_id: BotId(1),
                    chat_id: ChatId(2),
                    topic_id: None,
                },
                entries: vec![entry(*number)],
                server: None,
                shown_at: NOW,
                awaits_files: false,
                seen: false,
            })
            .collect();
        all
    }

    fn forgot(seconds_ago: i64, numbers: &[i64]) -> Forgotten {
        Forgotten {
            at: Timestamp(NOW.0 - seconds_ago * 1000),
            entries: numbers.iter().copied().map(entry).collect(),
        }
    }

    #[test]
    fn who_has_finished_and_who_may_still_answer() {
        use AgentState::{Busy, Gone, Idle, Unknown, Waiting};
        let later = |seconds| Verdict::Later(Duration::from_secs(seconds));
        let told = forgot(3, &[1, 9]);
        for (what, held, told, state, age, expected) in [
            (
                "it holds nothing",
                &[][..],
                None,
                Idle,
                Some(60),
                Verdict::Nothing,
            ),
            ("it works", &[1], None, Busy, Some(60), later(5)),
            ("it works again", &[1], Some(&told), Busy, Some(1), later(5)),
            (
                "it asks its person",
                &[1],
                None,
                Waiting,
                Some(60),
                later(5),
            ),
            ("nobody knows", &[1], None, Unknown, Some(60), later(5)),
            (
                "nor ever will",
                &[1],
                None,
                Unknown,
                Some(600),
                Verdict::Nothing,
            ),
            (
                "it was never heard of",
                &[1],
                None,
                Unknown,
                None,
                Verdict::Nothing,
            ),
            ("it has gone", &[1], None, Gone, None, Verdict::Nothing),
            (
                "it has said so and gone",
                &[1],
                Some(&told),
                Gone,
                None,
                Verdict::Forgot(forgot(3, &[1])),
            ),
            (
                "it has said so",
                &[1, 2],
                Some(&told),
                Idle,
                Some(3),
                Verdict::Forgot(forgot(3, &[1])),
            ),
            (
                "of what is settled by now",
                &[2],
                Some(&told),
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
                Verdict::Forgot(forgot(10, &[1, 2])),
            ),
        ] {
            let seen = Sighting {
                state,
                age: age.map(Duration::from_secs),
            };
            let verdict = judge(Some(&holding(held)), told, seen, NOW);
            assert_eq!(verdict, expected, "{what}");
        }
    }

    #[test]
    fn an_agent_that_was_shown_nothing_has_forgotten_nothing() {
        let seen = Sighting {
            state: AgentState::Idle,
            age: Some(Duration::from_secs(60)),
        };
        assert_eq!(judge(None, None, seen, NOW), Verdict::Nothing);
    }
}
