//! One message of a person, field by field.

use serde_json::{Map, Value, json};

use crate::person::{Draft, Sent};
use crate::render::merge;
use crate::sim::Sim;

/// A message to be sent by [`send`](Self::send). Without a chat it goes to the private chat of its author, without
/// an author it comes from the user of its private chat.
///
/// ```
/// # let sim = telegram_sim::Sim::start()?;
/// # let bot = sim.add_bot("42:secret", "my_bot");
/// let question = sim.message(bot).chat(7).text("Are you there?").ago(60).send();
/// sim.message(bot).chat(7).text("Hello?").reply_to(question.message_id).send();
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a message is sent by `send`"]
pub struct MessageBuilder<'a> {
    sim: &'a Sim,
    draft: Draft,
}

impl<'a> MessageBuilder<'a> {
    pub(crate) fn new(sim: &'a Sim, bot: i64) -> Self {
        Self {
            sim,
            draft: Draft {
                bot,
                ..Draft::default()
            },
        }
    }

    /// The chat: a user's id for a private chat, a negative number for a group.
    pub fn chat(mut self, chat: i64) -> Self {
        self.draft.chat = chat;
        self
    }

    /// The author.
    pub fn from(mut self, user: i64) -> Self {
        self.draft.user = user;
        self
    }

    /// Text, or caption of a message with media.
    pub fn text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.draft.text);
        self
    }

    /// Entities instead of those that the server finds.
    pub fn entities(mut self, entities: &Value) -> Self {
        self.draft.entities = Some(entities.as_array().cloned().unwrap_or_default());
        self
    }

    /// The topic.
    pub fn topic(mut self, topic: i64) -> Self {
        self.draft.topic = Some(topic);
        self
    }

    /// The message that it replies to.
    pub fn reply_to(mut self, message_id: i64) -> Self {
        self.draft.reply_to = Some(message_id);
        self
    }

    /// The part of the replied message that is quoted.
    pub fn quote(mut self, text: &str) -> Self {
        self.put(
            "quote",
            json!({ "text": text, "position": 0, "is_manual": true }),
        );
        self
    }

    /// Its date in Unix seconds. Older than a day is never delivered.
    pub fn date(mut self, unix: i64) -> Self {
        self.draft.date = Some(unix);
        self
    }

    /// How many seconds ago it was written.
    pub fn ago(mut self, seconds: i64) -> Self {
        self.draft.ago = seconds;
        self
    }

    /// The album that it belongs to.
    pub fn media_group(mut self, id: &str) -> Self {
        self.put("media_group_id", json!(id));
        self
    }

    /// A document from a file that was added with [`Sim::add_file`].
    pub fn document(mut self, file_id: &str, file_name: &str, mime_type: &str) -> Self {
        let size = self.sim.file_size(file_id);
        let unique = format!("unique-{file_id}");
        self.put(
            "document",
            json!({
                "file_id": file_id, "file_unique_id": unique, "file_name": file_name, "mime_type": mime_type,
                "file_size": size,
            }),
        );
        self
    }

    /// A photo from a file that was added with [`Sim::add_file`], with the small size that goes with it.
    pub fn photo(mut self, file_id: &str) -> Self {
        let size = self.sim.file_size(file_id);
        let unique = format!("unique-{file_id}");
        self.put(
            "photo",
            json!([
                { "file_id": format!("{file_id}-small"), "file_unique_id": format!("{unique}-small"), "width": 90,
                  "height": 67, "file_size": 1_500 },
                { "file_id": file_id, "file_unique_id": unique, "width": 1_280, "height": 960, "file_size": size },
            ]),
        );
        self
    }

    /// Fields merged over the message as the bot sees it; null removes a field.
    pub fn raw(mut self, fields: Value) -> Self {
        if let Value::Object(fields) = fields {
            merge(&mut self.draft.extra, &fields);
            // `merge` drops nulls, which here mean "remove from the message".
            let removed = fields.into_iter().filter(|(_, value)| value.is_null());
            self.draft.extra.extend(removed);
        }
        self
    }

    /// Sends it.
    pub fn send(mut self) -> Sent {
        let draft = &mut self.draft;
        if draft.chat == 0 {
            draft.chat = draft.user;
        }
        if draft.user == 0 {
            draft.user = if draft.chat > 0 { draft.chat } else { 1 };
        }
        self.sim.send(self.draft)
    }

    fn put(&mut self, name: &str, value: Value) {
        let fields = Map::from_iter([(name.to_owned(), value)]);
        merge(&mut self.draft.extra, &fields);
    }
}
