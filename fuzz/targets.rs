//! The fuzz targets, as plain functions of bytes: cargo-fuzz calls them, and so do the tests with the
//! seeds. Each panics if a promise is broken.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use telepost::clock::Timestamp;
use telepost::config::{Config, Env};
use telepost::ids::{Address, BotId, ChatId, SessionId, TopicId, UpdateId, UserId};
use telepost::routing::commands::Command;
use telepost::routing::recent::RecentlyAdmitted;
use telepost::routing::{RouteDecision, Routes};
use telepost::state::gateway_status::GatewayStatus;
use telepost::state::holds::Conversation;
use telepost::state::inbox::dead_letters::DeadLetter;
use telepost::state::inbox::entry::{Entry, EntryName};
use telepost::state::inbox::view::{self, Item};
use telepost::state::outbox::delivery::{Delivery, DeliveryState, FinishedDelivery};
use telepost::store::envelope;
use telepost::telegram::format as words;
use telepost::telegram::split;
use telepost::telegram::update as reading;

const BOT: BotId = BotId(700);
/// The person on the list, and the private chat; the group has the other id.
const OWNER: i64 = 11;
const GROUP: i64 = -50;
const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// One update, from Telegram's bytes to what an agent is shown of it.
pub fn update(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(read) = reading::read(text) else {
        return;
    };
    let session = SessionId::new("ONE").expect("a name");
    let mut routes = Routes::default();
    routes.add(&session, &[ChatId(OWNER), ChatId(GROUP)], &[UserId(OWNER)]);
    routes.set_username("my_bot");
    let from = match &read.body {
        reading::Body::Message { message, .. } => {
            Command::read(message, Some("my_bot"));
            let mut recent = RecentlyAdmitted::default();
            recent.remember_parts(message);
            recent.is_continued_by(message);
            message.from.as_ref().map(|from| from.id)
        }
        reading::Body::Press(press) => Some(press.from.id),
        reading::Body::Reaction(reaction) => reaction.user.as_ref().map(|user| user.id),
        reading::Body::Membership(_) | reading::Body::Other(_) => None,
    };
    if let RouteDecision::Admit { .. } | RouteDecision::NotAddressed { .. } =
        routes.decide(BOT, &read)
    {
        assert_eq!(from, Some(UserId(OWNER)), "somebody else was let in");
    }
    let item = Item {
        name: EntryName {
            received: NOW.0,
            update_id: read.id,
        },
        address: Address {
            bot_id: BOT,
            chat_id: ChatId(OWNER),
            topic_id: Some(TopicId(9)),
        },
        update: Some(read),
        context: Vec::new(),
    };
    let mut edit = item.clone();
    edit.name.received += 1;
    edit.name.update_id = UpdateId(edit.name.update_id.0 + 1);
    let shown = view::fresh(&[item, edit]);
    assert!(!shown.is_empty(), "an entry is not shown");
    for shown in shown {
        let message = shown.message.at(NOW, false);
        let whole: String = (1..=message.part_count())
            .map(|number| message.part(number).expect("a part").text)
            .collect();
        assert_eq!(whole, message.text, "a part is missing");
        for number in 1..=message.part_count() {
            let part = message.part(number).expect("a part").text;
            let json = serde_json::to_string(&part).expect("JSON");
            assert!(json.len() <= view::PART_BYTES + 2, "a part is too large");
        }
        serde_json::to_vec(&message).expect("JSON");
    }
}

/// Every kind of file of the state: it is read, refused as newer, or goes to quarantine.
pub fn state(bytes: &[u8]) {
    if let Some(entry) = file::<Entry>(bytes) {
        update(entry.update.get().as_bytes());
    }
    file::<DeadLetter>(bytes);
    file::<GatewayStatus>(bytes);
    if let Some(mut conversation) = file::<Conversation>(bytes) {
        let pending = conversation.entries();
        conversation.reconcile(&pending);
        drop(conversation.place(None, &conversation.addresses()));
        conversation.reconcile(&std::collections::BTreeSet::new());
        assert!(conversation.entries().is_empty(), "settled and still held");
        let late = conversation.late.clone();
        conversation.take_over(late);
        let ids = conversation
            .late
            .iter()
            .map(|late| late.update_id)
            .collect();
        conversation.told_of_files(&ids);
        assert!(
            conversation.awaits_files().is_empty(),
            "told and still awaited"
        );
    }
    if let Some(delivery) = file::<Delivery>(bytes) {
        send(&mut DeliveryState::plan(&delivery.content));
    }
    if let Some(mut progress) = file::<DeliveryState>(bytes) {
        send(&mut progress);
    }
    file::<FinishedDelivery>(bytes);
}

/// A file that is accepted is written as one that is accepted.
fn file<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let value: T = envelope::parse(bytes).ok()?;
    let again = envelope::encode(Path::new(""), &value).expect("JSON");
    assert!(envelope::parse::<T>(&again).is_ok(), "cannot be read back");
    Some(value)
}

/// Sends all parts; every second one is in doubt first.
fn send(progress: &mut DeliveryState) {
    for round in 0..2 * progress.parts.len() {
        let Some(index) = progress.next() else {
            break;
        };
        progress.begin(index);
        if round % 2 == 0 {
            progress.doubted(index, "nobody knows".to_owned());
        }
        progress.text(index);
        progress.accepted(index, telepost::ids::MessageId(1));
    }
    assert_eq!(progress.next(), None, "it never ends");
}

/// A configuration: accepted, or refused with words for people.
pub fn sessions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let home = [("HOME", "/home/nobody")];
    let env = Env::from_pairs(home);
    match Config::parse(text, Path::new("/home/nobody/sessions.json"), &env) {
        Ok(config) => {
            for session in config.sessions.values() {
                // The gate is closed: no session without people and chats.
                assert!(!session.allowed_users.is_empty() && !session.chat_ids.is_empty());
            }
            assert!(config.sessions.contains_key(&config.default));
            config.warnings();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An answer in Markdown, to the messages that are sent.
pub fn markdown(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for rich in [words::markdown(&text), words::plain(&text)] {
        for limit in [split::MESSAGE_LIMIT, 20] {
            for piece in split::split(&rich, limit) {
                fits(&piece, limit, rich.text.trim().is_empty());
            }
            fits(
                &split::fit(&rich, limit),
                limit,
                rich.text.trim().is_empty(),
            );
        }
    }
}

fn fits(piece: &words::Rich, limit: usize, blank: bool) {
    assert!(blank || piece.code_points() <= limit, "too long");
    let units = piece.text.encode_utf16().count();
    for entity in &piece.entities {
        assert!(
            entity.length > 0 && entity.offset + entity.length <= units,
            "{entity:?}"
        );
    }
}
