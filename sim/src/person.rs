//! Actions of people: write, edit, react, press buttons, block, and run groups.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::methods::{auto_entities, create_topic};
use crate::queue::KEPT_SECONDS;
use crate::state::{Author, Group, GroupKind, Message, Standing, State};

/// A message that a person has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its id in the chat.
    pub message_id: i64,
    /// The update that the bot gets; nothing when the bot did not ask for messages, or the message is too old.
    pub update_id: Option<i64>,
    /// Its date, in Unix seconds.
    pub date: i64,
}

/// A message to be sent; see [`crate::MessageBuilder`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) bot: i64,
    pub(crate) chat: i64,
    pub(crate) user: i64,
    pub(crate) text: String,
    pub(crate) entities: Option<Vec<Value>>,
    pub(crate) topic: Option<i64>,
    pub(crate) reply_to: Option<i64>,
    pub(crate) date: Option<i64>,
    pub(crate) ago: i64,
    pub(crate) extra: Map<String, Value>,
}

/// The two times that a change needs: Unix milliseconds as simulated, and real milliseconds since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    pub(crate) now_ms: i64,
    pub(crate) uptime_ms: i64,
}

impl When {
    pub(crate) const fn now(self) -> i64 {
        self.now_ms.div_euclid(1_000)
    }
}

impl State {
    /// Makes a chat known to a bot. Groups that were not added are made up.
    pub(crate) fn open_chat(&mut self, bot: i64, chat: i64) {
        if chat < 0 && !self.groups.contains_key(&chat) {
            let kind = if chat <= -1_000_000_000_000 {
                GroupKind::Supergroup
            } else {
                GroupKind::Group
            };
            self.groups.insert(
                chat,
                Group {
                    title: format!("Group {chat}"),
                    kind,
                    migrated_to: None,
                },
            );
        }
        let default = if chat < 0 {
            Standing::Administrator
        } else {
            Standing::Member
        };
        let standing = self.standings.entry((bot, chat)).or_insert(default);
        if *standing == Standing::NotStarted {
            *standing = default;
        }
    }

    pub(crate) fn person_sends(&mut self, when: When, draft: Draft) -> Sent {
        self.open_chat(draft.bot, draft.chat);
        let date = draft.date.unwrap_or_else(|| when.now()) - draft.ago;
        let replied = draft
            .reply_to
            .and_then(|id| self.message(draft.bot, draft.chat, id));
        let topic = draft
            .topic
            .or_else(|| replied.and_then(|replied| replied.topic));
        let entities = draft.entities.unwrap_or_else(|| auto_entities(&draft.text));
        let message = Message {
            id: 0,
            author: Author::Person(draft.user),
            date,
            at_ms: when.uptime_ms,
            edited_at: None,
            text: draft.text,
            entities,
            topic,
            reply_to: draft.reply_to,
            markup: None,
            extra: draft.extra,
            silent: false,
            deleted: false,
            earlier_texts: Vec::new(),
            reactions: BTreeMap::new(),
        };
        let message_id = self.store(draft.bot, draft.chat, message);
        let update_id = self.post_message(when, draft.bot, draft.chat, message_id, "message");
        Sent {
            message_id,
            update_id,
            date,
        }
    }

    /// Tells all bots of the chat about a message; returns the update of the one that is meant.
    fn post_message(
        &mut self,
        when: When,
        bot: i64,
        chat: i64,
        id: i64,
        kind: &str,
    ) -> Option<i64> {
        let mut of_bot = None;
        for member in self.members(bot, chat) {
            let Some(message) = self.message(member, chat, id) else {
                continue;
            };
            let expires_at = message.edited_at.unwrap_or(message.date) + KEPT_SECONDS;
            let body = self.message_json(member, chat, message);
            let update_id = self.post(when.now(), member, kind, &body, expires_at);
            if member == bot {
                of_bot = update_id;
            }
        }
        of_bot
    }

    pub(crate) fn person_edits(
        &mut self,
        when: When,
        bot: i64,
        chat: i64,
        id: i64,
        text: &str,
    ) -> Option<i64> {
        let now = when.now();
        let message = self.message_mut(bot, chat, id)?;
        if matches!(message.author, Author::Bot(_)) {
            return None;
        }
        message
            .earlier_texts
            .push(std::mem::replace(&mut message.text, text.to_owned()));
        message.entities = auto_entities(text);
        message.edited_at = Some(now);
        self.post_message(when, bot, chat, id, "edited_message")
    }

    pub(crate) fn person_deletes(&mut self, bot: i64, chat: i64, id: i64) {
        if let Some(message) = self.message_mut(bot, chat, id) {
            message.deleted = true;
        }
    }

    /// In groups only administrators hear of reactions.
    pub(crate) fn person_reacts(
        &mut self,
        when: When,
        (bot, chat, id): (i64, i64, i64),
        user: i64,
        emoji: &[&str],
    ) -> Option<i64> {
        let new: Vec<Value> = emoji
            .iter()
            .map(|emoji| json!({ "type": "emoji", "emoji": emoji }))
            .collect();
        let message = self.message_mut(bot, chat, id)?;
        let old = message
            .reactions
            .insert(user, new.clone())
            .unwrap_or_default();
        if chat < 0 && self.standings.get(&(bot, chat)) != Some(&Standing::Administrator) {
            return None;
        }
        let body = json!({
            "chat": self.chat_json(chat),
            "message_id": id,
            "user": self.user_json(user),
            "date": when.now(),
            "old_reaction": old,
            "new_reaction": new,
        });
        self.post(
            when.now(),
            bot,
            "message_reaction",
            &body,
            when.now() + KEPT_SECONDS,
        )
    }

    /// A message that is gone is shown as inaccessible, with date 0.
    pub(crate) fn person_presses(
        &mut self,
        when: When,
        (bot, chat, id): (i64, i64, i64),
        data: &str,
        user: i64,
    ) -> Option<i64> {
        let query = (4_000_000_000_000_000 + self.number()).to_string();
        let message = match self.message(bot, chat, id) {
            Some(message) => self.message_json(bot, chat, message),
            None => json!({ "chat": self.chat_json(chat), "message_id": id, "date": 0 }),
        };
        let body = json!({
            "id": query,
            "from": self.user_json(user),
            "message": message,
            "chat_instance": format!("{}", chat.wrapping_mul(31)),
            "data": data,
        });
        self.bots.get_mut(&bot)?.callbacks.insert(query);
        self.post(
            when.now(),
            bot,
            "callback_query",
            &body,
            when.now() + KEPT_SECONDS,
        )
    }

    /// Blocks or kicks the bot, or lets it in again, and tells it so.
    pub(crate) fn set_membership(
        &mut self,
        when: When,
        bot: i64,
        chat: i64,
        standing: Standing,
    ) -> Option<i64> {
        let status = |standing: Option<&Standing>| match standing {
            Some(Standing::Member) => "member",
            Some(Standing::Administrator) => "administrator",
            Some(Standing::Muted) => "restricted",
            Some(Standing::Blocked) => "kicked",
            Some(Standing::NotMember | Standing::Deactivated | Standing::NotStarted) | None => {
                "left"
            }
        };
        let old = status(self.standings.get(&(bot, chat)));
        self.standings.insert((bot, chat), standing);
        let new = status(Some(&standing));
        let user = self.bots.get(&bot)?.user();
        let actor = if chat > 0 { chat } else { 1 };
        let body = json!({
            "chat": self.chat_json(chat),
            "from": self.user_json(actor),
            "date": when.now(),
            "old_chat_member": { "user": user, "status": old },
            "new_chat_member": { "user": user, "status": new },
        });
        self.post(
            when.now(),
            bot,
            "my_chat_member",
            &body,
            when.now() + KEPT_SECONDS,
        )
    }

    /// Turns a group into a supergroup with another id, with the two service messages. Message ids do not carry over.
    pub(crate) fn migrate(&mut self, when: When, chat: i64, new_chat: i64) {
        let title = self
            .groups
            .get(&chat)
            .map_or_else(|| "Group".to_owned(), |group| group.title.clone());
        let bots = self.members(0, chat);
        self.groups.insert(
            new_chat,
            Group {
                title,
                kind: GroupKind::Supergroup,
                migrated_to: None,
            },
        );
        for bot in bots {
            let standing = self
                .standings
                .get(&(bot, chat))
                .copied()
                .unwrap_or(Standing::Member);
            self.standings.insert((bot, new_chat), standing);
        }
        for (place, field, other) in [
            (chat, "migrate_to_chat_id", new_chat),
            (new_chat, "migrate_from_chat_id", chat),
        ] {
            let mut extra = Map::new();
            extra.insert(field.to_owned(), other.into());
            let Some(bot) = self.members(0, place).first().copied() else {
                continue;
            };
            self.person_sends(
                when,
                Draft {
                    bot,
                    chat: place,
                    user: 1,
                    extra,
                    ..Draft::default()
                },
            );
        }
        if let Some(group) = self.groups.get_mut(&chat) {
            group.migrated_to = Some(new_chat);
        }
    }

    /// Adds a topic as a person does, and tells the bots.
    pub(crate) fn person_adds_topic(
        &mut self,
        when: When,
        bot: i64,
        chat: i64,
        user: i64,
        name: &str,
    ) -> i64 {
        self.open_chat(bot, chat);
        let times = (when.now(), when.uptime_ms);
        let id = create_topic(
            self,
            bot,
            chat,
            Author::Person(user),
            times,
            (name, 7_322_096),
        );
        self.post_message(when, bot, chat, id, "message");
        id
    }

    /// Closes, opens, renames or deletes a topic as a person does, and tells the bots; 0 is General.
    pub(crate) fn person_changes_topic(
        &mut self,
        when: When,
        place: (i64, i64),
        topic: i64,
        change: &TopicChange,
    ) {
        let (bot, chat) = place;
        let room = self.room(bot, chat);
        let general = topic == 0;
        match (change, room.topics.get_mut(&topic)) {
            (TopicChange::Close, _) if general => room.general_closed = true,
            (TopicChange::Reopen, _) if general => room.general_closed = false,
            (TopicChange::Close, Some(topic)) => topic.closed = true,
            (TopicChange::Reopen, Some(topic)) => topic.closed = false,
            (TopicChange::Rename(name), Some(topic)) => topic.name.clone_from(name),
            (TopicChange::Delete, Some(found)) => {
                found.deleted = true;
                for message in room.messages.values_mut() {
                    message.deleted |= message.topic == Some(topic);
                }
                return;
            }
            (_, None) => return,
        }
        let (field, value) = match change {
            TopicChange::Close => ("forum_topic_closed", json!({})),
            TopicChange::Reopen => ("forum_topic_reopened", json!({})),
            TopicChange::Rename(name) => ("forum_topic_edited", json!({ "name": name })),
            TopicChange::Delete => return,
        };
        let extra = Map::from_iter([(field.to_owned(), value)]);
        let topic = Some(topic).filter(|_| !general);
        let user = if chat > 0 { chat } else { 1 };
        self.person_sends(
            when,
            Draft {
                bot,
                chat,
                user,
                topic,
                extra,
                ..Draft::default()
            },
        );
    }
}

/// A person's action on a topic.
#[derive(Debug, Clone)]
pub(crate) enum TopicChange {
    Close,
    Reopen,
    Rename(String),
    Delete,
}
