//! Everything the simulated server knows: bots, chats, messages, calls.
//!
//! One mutex holds it (see [`crate::shared`]); nothing in here waits or reads a clock.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::answer::Refusal;
use crate::calls::Call;
use crate::faults::Faults;
use crate::limits::Buckets;
use crate::queue::UpdateQueue;

/// The id of a bot's first update, far from zero as in real life.
const FIRST_UPDATE_ID: i64 = 300_000_001;

/// The update kinds of Bot API 10.3.
pub(crate) const UPDATE_KINDS: &[&str] = &[
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "message_reaction",
    "message_reaction_count",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "subscription",
    "stopped_message_generation",
];
/// Kinds that are delivered only when they were asked for by name.
const NOT_BY_DEFAULT: &[&str] = &["chat_member", "message_reaction", "message_reaction_count"];

/// The kind of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// A basic group.
    Group,
    /// A supergroup without topics.
    Supergroup,
    /// A supergroup with topics.
    Forum,
}

/// The standing of a bot in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In a group: an ordinary member. In a private chat: the user has started the bot.
    Member,
    /// In a group: an administrator who may manage topics; otherwise the same as a member.
    Administrator,
    /// The user has blocked the bot, or it was kicked from the group.
    Blocked,
    /// The bot is not in the group (any more).
    NotMember,
    /// The user's account is deleted.
    Deactivated,
    /// The user exists, and never wrote to the bot.
    NotStarted,
    /// A member that may not write.
    Muted,
}

/// A person who writes to bots.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) first_name: String,
    pub(crate) username: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) kind: GroupKind,
    pub(crate) migrated_to: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) closed: bool,
    pub(crate) deleted: bool,
    pub(crate) creator_bot: Option<i64>,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    Bot(i64),
    Person(i64),
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) author: Author,
    pub(crate) date: i64,
    pub(crate) at_ms: i64,
    pub(crate) edited_at: Option<i64>,
    pub(crate) text: String,
    pub(crate) entities: Vec<Value>,
    pub(crate) topic: Option<i64>,
    pub(crate) reply_to: Option<i64>,
    pub(crate) markup: Option<Value>,
    /// Fields of the message that the simulator only passes on: media, quotes, service parts.
    pub(crate) extra: Map<String, Value>,
    pub(crate) silent: bool,
    pub(crate) deleted: bool,
    pub(crate) earlier_texts: Vec<String>,
    pub(crate) reactions: BTreeMap<i64, Vec<Value>>,
}

impl Message {
    /// Whether `text` is a caption.
    pub(crate) fn has_media(&self) -> bool {
        const MEDIA: &[&str] = &[
            "document",
            "photo",
            "audio",
            "video",
            "voice",
            "animation",
            "video_note",
            "sticker",
        ];
        MEDIA.iter().any(|kind| self.extra.contains_key(*kind))
    }
}

/// The messages of one chat. A private chat is one between a bot and a user; a group is shared by its bots.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) messages: BTreeMap<i64, Message>,
    pub(crate) topics: BTreeMap<i64, Topic>,
    pub(crate) general_closed: bool,
}

/// (bot or 0 for groups, chat).
pub(crate) type RoomKey = (i64, i64);

pub(crate) const fn room_key(bot: i64, chat: i64) -> RoomKey {
    if chat > 0 { (bot, chat) } else { (0, chat) }
}

#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    pub(crate) path: String,
    pub(crate) name: Option<String>,
    pub(crate) size: u64,
    pub(crate) bytes: Bytes,
}

/// Why a waiting long poll wakes up.
#[derive(Debug)]
pub(crate) enum Wake {
    Updates,
    Aborted { refusal: Refusal, delay_ms: i64 },
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: u64,
    pub(crate) wake: UnboundedSender<Wake>,
}

/// The memory of `getUpdates` between calls.
#[derive(Debug, Default)]
pub(crate) struct PollMemory {
    pub(crate) waiter: Option<Waiter>,
    pub(crate) previous: Option<(i64, i64)>,
    pub(crate) last_conflict_ms: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) max_connections: i64,
}

#[derive(Debug)]
pub(crate) struct Bot {
    pub(crate) id: i64,
    pub(crate) token: String,
    pub(crate) username: String,
    pub(crate) revoked: bool,
    pub(crate) private_topics: bool,
    pub(crate) queue: UpdateQueue,
    /// `None` is the default set.
    pub(crate) allowed: Option<BTreeSet<String>>,
    pub(crate) poll: PollMemory,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) webhook_set_ms: Option<i64>,
    pub(crate) callbacks: BTreeSet<String>,
    pub(crate) commands: BTreeMap<String, Value>,
}

impl Bot {
    pub(crate) fn new(id: i64, token: &str, username: &str) -> Self {
        Self {
            id,
            token: token.to_owned(),
            username: username.to_owned(),
            revoked: false,
            private_topics: false,
            queue: UpdateQueue::new(FIRST_UPDATE_ID),
            allowed: None,
            poll: PollMemory::default(),
            webhook: None,
            webhook_set_ms: None,
            callbacks: BTreeSet::new(),
            commands: BTreeMap::new(),
        }
    }

    /// Whether updates of this kind get an id at all.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        match &self.allowed {
            Some(kinds) => kinds.contains(kind),
            None => !NOT_BY_DEFAULT.contains(&kind),
        }
    }

    /// Remembers the list of a request. Nothing, or something else than a list, changes nothing; a list without any
    /// known name is the default set.
    pub(crate) fn allow(&mut self, list: Option<&Value>) {
        let Some(list) = list.and_then(Value::as_array) else {
            return;
        };
        let known: BTreeSet<String> = list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_ascii_lowercase)
            .filter(|name| UPDATE_KINDS.contains(&name.as_str()))
            .collect();
        self.allowed = (!known.is_empty()).then_some(known);
    }

    pub(crate) fn user(&self) -> Value {
        json!({ "id": self.id, "is_bot": true, "first_name": self.username, "username": self.username })
    }

    pub(crate) fn wake(&mut self, why: Wake) {
        let woken = self
            .poll
            .waiter
            .as_ref()
            .map(|waiter| waiter.wake.send(why));
        // A poll whose connection has just gone can no longer be woken; its guard removes it.
        drop(woken);
    }
}

/// The whole server.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) bots: BTreeMap<i64, Bot>,
    pub(crate) people: BTreeMap<i64, Person>,
    pub(crate) groups: BTreeMap<i64, Group>,
    pub(crate) rooms: BTreeMap<RoomKey, Room>,
    pub(crate) standings: BTreeMap<(i64, i64), Standing>,
    pub(crate) files: BTreeMap<String, StoredFile>,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Faults,
    pub(crate) buckets: Buckets,
    pub(crate) rate_limits: bool,
    pub(crate) last_number: u64,
}

impl State {
    /// A number that was not given before, for ids of polls, files and queries.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn bot_by_token(&self, token: &str) -> Option<&Bot> {
        self.bots.values().find(|bot| bot.token == token)
    }

    pub(crate) fn message(&self, bot: i64, chat: i64, id: i64) -> Option<&Message> {
        self.rooms
            .get(&room_key(bot, chat))?
            .messages
            .get(&id)
            .filter(|message| !message.deleted)
    }

    pub(crate) fn message_mut(&mut self, bot: i64, chat: i64, id: i64) -> Option<&mut Message> {
        self.rooms
            .get_mut(&room_key(bot, chat))?
            .messages
            .get_mut(&id)
            .filter(|message| !message.deleted)
    }

    pub(crate) fn room(&mut self, bot: i64, chat: i64) -> &mut Room {
        self.rooms.entry(room_key(bot, chat)).or_default()
    }

    pub(crate) fn is_forum(&self, bot: i64, chat: i64) -> bool {
        if chat > 0 {
            return self.bots.get(&bot).is_some_and(|bot| bot.private_topics);
        }
        self.groups
            .get(&chat)
            .is_some_and(|group| group.kind == GroupKind::Forum)
    }

    /// Stores a message under the next id of its chat. Deleted ids are not given again.
    pub(crate) fn store(&mut self, bot: i64, chat: i64, mut message: Message) -> i64 {
        let room = self.room(bot, chat);
        let id = room
            .messages
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        message.id = id;
        room.messages.insert(id, message);
        id
    }

    /// The bots that get what people write in a chat.
    pub(crate) fn members(&self, bot: i64, chat: i64) -> Vec<i64> {
        if chat > 0 {
            return vec![bot];
        }
        self.standings
            .iter()
            .filter(|((_, place), standing)| {
                *place == chat
                    && matches!(
                        standing,
                        Standing::Member | Standing::Administrator | Standing::Muted
                    )
            })
            .map(|((bot, _), _)| *bot)
            .collect()
    }

    /// Queues an update of a known kind, unless the bot did not ask for it, and returns its id.
    pub(crate) fn post(
        &mut self,
        now: i64,
        bot: i64,
        kind: &str,
        body: &Value,
        expires_at: i64,
    ) -> Option<i64> {
        let bot = self.bots.get_mut(&bot)?;
        if !bot.wants(kind) {
            return None;
        }
        let id = bot.queue.push(now, expires_at, |id| {
            let mut update = Map::new();
            update.insert("update_id".to_owned(), id.into());
            update.insert(kind.to_owned(), body.clone());
            Value::Object(update).to_string()
        })?;
        bot.wake(Wake::Updates);
        Some(id)
    }
}
