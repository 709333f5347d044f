//! Changes to a message that Telegram refuses as it is. Pure.
//!
//! Each change is made once per message. It stands in the part, which is recorded before the next
//! request: a kill does not repeat it without end.

use crate::ids::ChatId;
use crate::state::outbox::{Content, DeliveryState};
use crate::telegram::error::Repair;
use crate::telegram::split::{self, MESSAGE_LIMIT};

/// The result of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It can be sent again at once.
    Now,
    /// It can be sent again after a pause.
    Later,
    /// Nothing can be changed, or that was tried already.
    InVain,
}

/// Changes the message of a delivery to `chat` that was refused.
pub fn apply_repair(
    state: &mut DeliveryState,
    index: usize,
    content: &Content,
    chat: ChatId,
    repair: Repair,
) -> Repaired {
    let Some(part) = state.parts.get_mut(index) else {
        return Repaired::InVain;
    };
    // Telegram has lost the topics of private chats before, and found them again (docs/facts/telegram.md 7).
    let again = chat.0 > 0 && !part.repairs.contains(&Repair::AgainLater);
    let repair = if repair == Repair::WithoutTopic && again {
        Repair::AgainLater
    } else {
        repair
    };
    if part.repairs.contains(&repair) {
        return Repaired::InVain;
    }
    part.repairs.push(repair);
    let is_update = matches!(content, Content::ProgressUpdate { .. });
    let changed = match repair {
        _ if matches!(content, Content::Reaction { .. }) => false,
        Repair::Plain => {
            let formatted = !part.message.entities.is_empty();
            if is_update {
                part.message = split::fit(&part.message.without_formatting(), MESSAGE_LIMIT);
            } else {
                state.without_entities(index);
            }
            formatted
        }
        Repair::Split if is_update => {
            // One message it is, so its end is given up.
            let half = part.message.code_points().div_ceil(2);
            part.message = split::fit(&part.message, half);
            half > 0
        }
        Repair::Split => state.halve(index),
        Repair::NewMessage => is_update,
        Repair::AsDocuments => state.as_documents(index),
        Repair::Apart => state.apart(index),
        Repair::WithoutReply | Repair::AgainLater | Repair::WithoutTopic => true,
    };
    match (changed, repair) {
        (false, _) => Repaired::InVain,
        (true, Repair::AgainLater) => Repaired::Later,
        (true, _) => Repaired::Now,
    }
}

/// Hints for the agent on how a delivery went out.
pub fn repair_notes(state: &DeliveryState) -> Vec<String> {
    let made = |repair: Repair| state.has_repair(repair);
    let notes = [
        (
            made(Repair::WithoutTopic),
            "The topic no longer exists, so this was sent to the same chat, outside of any topic.",
        ),
        (
            made(Repair::Plain),
            "Telegram refused the formatting, so this was sent as plain text.",
        ),
        (
            made(Repair::AsDocuments),
            "Telegram did not accept a picture as a photo, so it was sent as a document.",
        ),
    ];
    notes
        .into_iter()
        .filter(|(made, _)| *made)
        .map(|(_, note)| note.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MessageId;
    use crate::telegram::format::{Entity, EntityStyle};

    const GROUP: ChatId = ChatId(-50);
    const PERSON: ChatId = ChatId(11);

    fn reply(text: &str) -> Content {
        Content::Reply {
            text: text.to_owned(),
            files: Vec::new(),
            options: Vec::new(),
        }
    }

    fn edit(text: &str) -> Content {
        Content::ProgressUpdate {
            text: text.to_owned(),
        }
    }

    #[test]
    fn every_repair_is_made_once_and_where_it_makes_sense() {
        use Repair::{NewMessage, Plain, Split, WithoutReply, WithoutTopic};
        use Repaired::{InVain, Later, Now};
        let thumb = Content::Reaction {
            message_id: MessageId(1),
            emoji: "👍".to_owned(),
        };
        for (content, chat, repair, first, second) in [
            (reply("bold"), PERSON, Plain, Now, InVain),
            (edit("bold"), PERSON, Plain, Now, InVain),
            (reply("plain"), PERSON, Plain, InVain, InVain),
            (reply("long text"), PERSON, Split, Now, InVain),
            (edit("long text"), PERSON, Split, Now, InVain),
            (reply("x"), PERSON, Split, InVain, InVain),
            (reply("x"), PERSON, WithoutReply, Now, InVain),
            (reply("x"), GROUP, WithoutTopic, Now, InVain),
            (reply("x"), PERSON, WithoutTopic, Later, Now),
            (edit("x"), PERSON, NewMessage, Now, InVain),
            (reply("x"), PERSON, NewMessage, InVain, InVain),
            (thumb, PERSON, NewMessage, InVain, InVain),
        ] {
            let mut state = DeliveryState::plan(&content);
            if content.text() == "bold" {
                state.parts[0].message.entities = vec![Entity::new(EntityStyle::Bold, 0, 4)];
            }
            let mut once = || apply_repair(&mut state, 0, &content, chat, repair);
            assert_eq!((once(), once()), (first, second), "{content:?} {repair:?}");
        }
    }

    #[test]
    fn the_halves_of_a_message_that_was_too_long_are_not_cut_once_more() {
        let content = reply("one two three four");
        let mut state = DeliveryState::plan(&content);
        let mut split = |index| apply_repair(&mut state, index, &content, PERSON, Repair::Split);
        assert_eq!(split(0), Repaired::Now);
        assert_eq!((split(0), split(1)), (Repaired::InVain, Repaired::InVain));
        assert!(state.parts.len() >= 2);
    }

    #[test]
    fn what_was_changed_is_known_after_a_restart() {
        let content = reply("bold");
        let mut state = DeliveryState::plan(&content);
        state.parts[0].message.entities = vec![Entity::new(EntityStyle::Bold, 0, 4)];
        apply_repair(&mut state, 0, &content, GROUP, Repair::WithoutTopic);
        apply_repair(&mut state, 0, &content, GROUP, Repair::Plain);
        let read: DeliveryState =
            serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(read, state);
        assert_eq!(repair_notes(&read).len(), 2);
    }
}
