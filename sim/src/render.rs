//! Messages, chats and users as the Bot API shows them.

use serde_json::{Map, Value, json};

use crate::state::{Author, GroupKind, Message, Person, State, room_key};

impl State {
    pub(crate) fn person(&self, user: i64) -> Person {
        self.people.get(&user).cloned().unwrap_or_else(|| Person {
            first_name: format!("User {user}"),
            username: None,
        })
    }

    pub(crate) fn user_json(&self, user: i64) -> Value {
        let person = self.person(user);
        let mut shown = json!({ "id": user, "is_bot": false, "first_name": person.first_name, "language_code": "en" });
        put(&mut shown, "username", person.username.map(Value::from));
        shown
    }

    pub(crate) fn author_json(&self, author: Author) -> Value {
        match author {
            Author::Person(user) => self.user_json(user),
            Author::Bot(bot) => self
                .bots
                .get(&bot)
                .map_or(Value::Null, crate::state::Bot::user),
        }
    }

    pub(crate) fn chat_json(&self, chat: i64) -> Value {
        if chat > 0 {
            let person = self.person(chat);
            let mut shown =
                json!({ "id": chat, "type": "private", "first_name": person.first_name });
            put(&mut shown, "username", person.username.map(Value::from));
            return shown;
        }
        let group = self.groups.get(&chat);
        let title = group.map_or("", |group| group.title.as_str());
        match group.map(|group| group.kind) {
            Some(GroupKind::Forum) => {
                json!({ "id": chat, "type": "supergroup", "title": title, "is_forum": true })
            }
            Some(GroupKind::Supergroup) => {
                json!({ "id": chat, "type": "supergroup", "title": title })
            }
            Some(GroupKind::Group) | None => {
                json!({ "id": chat, "type": "group", "title": title, "all_members_are_administrators": false })
            }
        }
    }

    /// A message. A replied message is shown inside, one level deep. A message in a topic that replies to nothing
    /// shows the service message that created the topic, as the real server does in groups.
    pub(crate) fn message_json(&self, bot: i64, chat: i64, message: &Message) -> Value {
        let mut shown = self.shallow_json(bot, chat, message);
        let root = if chat < 0 { message.topic } else { None };
        let replied = message.reply_to.or(root).filter(|id| *id != message.id);
        if let Some(replied) = replied.and_then(|id| self.message(bot, chat, id)) {
            put(
                &mut shown,
                "reply_to_message",
                Some(self.shallow_json(bot, chat, replied)),
            );
        }
        shown
    }

    fn shallow_json(&self, bot: i64, chat: i64, message: &Message) -> Value {
        let mut shown = json!({
            "message_id": message.id,
            "from": self.author_json(message.author),
            "chat": self.chat_json(chat),
            "date": message.date,
        });
        put(&mut shown, "edit_date", message.edited_at.map(Value::from));
        match message.topic {
            Some(topic) => {
                put(&mut shown, "message_thread_id", Some(topic.into()));
                put(&mut shown, "is_topic_message", Some(true.into()));
            }
            None => put(
                &mut shown,
                "message_thread_id",
                self.reply_thread(bot, chat, message).map(Value::from),
            ),
        }
        let (words, marks) = if message.has_media() {
            ("caption", "caption_entities")
        } else {
            ("text", "entities")
        };
        if !message.text.is_empty() {
            put(&mut shown, words, Some(message.text.clone().into()));
            put(
                &mut shown,
                marks,
                (!message.entities.is_empty()).then(|| message.entities.clone().into()),
            );
        }
        put(&mut shown, "reply_markup", message.markup.clone());
        if let Some(object) = shown.as_object_mut() {
            merge(object, &message.extra);
        }
        shown
    }

    /// Replies in supergroups carry the id of the first message of their chain, although it is no topic.
    fn reply_thread(&self, bot: i64, chat: i64, message: &Message) -> Option<i64> {
        let supergroup = self
            .groups
            .get(&chat)
            .is_some_and(|group| group.kind != GroupKind::Group);
        let messages = &self
            .rooms
            .get(&room_key(bot, chat))
            .filter(|_| supergroup)?
            .messages;
        let mut first = message.reply_to?;
        while let Some(above) = messages.get(&first).and_then(|message| message.reply_to) {
            first = above;
        }
        Some(first)
    }
}

/// Sets a field when there is a value for it.
pub(crate) fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

/// Merges `from` into `into`, objects field by field; null removes a field.
pub(crate) fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (_, Value::Null) => drop(into.remove(name)),
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => drop(into.insert(name.clone(), value.clone())),
        }
    }
}
