//! Helpers of the tests of the tool contract: houses with groups, and short looks at a result.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use telegram_sim::{GroupKind, Line, Sent};

use super::house::{House, OWNER};
use super::{Agent, wait_for};

/// A basic group of the sessions of [`House::with_group`].
pub(crate) const GROUP: i64 = -50;
/// A forum of the sessions of [`House::with_forum`].
pub(crate) const FORUM: i64 = -1_000_000_000_050;

impl House {
    /// One session with two chats: the private chat of its owner, and [`GROUP`].
    pub(crate) fn with_group() -> Self {
        Self::with_chat(GROUP, "Team", GroupKind::Group)
    }

    /// One session with two chats: the private chat of its owner, and [`FORUM`].
    pub(crate) fn with_forum() -> Self {
        Self::with_chat(FORUM, "Forum", GroupKind::Forum)
    }

    fn with_chat(chat: i64, title: &str, kind: GroupKind) -> Self {
        let mut house = Self::empty();
        house.add_session("ONE", json!({"chat_ids": [OWNER, chat]}));
        house.sim.add_group(chat, title, kind);
        house.sim.open_chat(house.bot(), chat);
        house.write_config();
        house
    }

    /// An agent of session `ONE` that is another holder than those of other threads.
    pub(crate) fn agent_in(&self, thread: &str) -> Agent {
        self.agent().thread(thread)
    }

    /// The owner writes in another chat.
    pub(crate) fn say_in(&self, chat: i64, text: &str) -> Sent {
        self.sim.say(self.bot(), chat, OWNER, text)
    }

    /// The owner writes, and the message arrives. Returns its update.
    #[track_caller]
    pub(crate) fn arrive(&self, text: &str) -> i64 {
        self.arrive_in(OWNER, text)
    }

    /// The owner writes in another chat, and the message arrives. Returns its update.
    #[track_caller]
    pub(crate) fn arrive_in(&self, chat: i64, text: &str) -> i64 {
        let update = self.say_in(chat, text).update_id;
        let update = update.expect("the bot asked for messages");
        self.wait_until_arrived(update);
        update
    }

    /// Waits until an update is in the inbox.
    #[track_caller]
    pub(crate) fn wait_until_arrived(&self, update: i64) {
        let end = format!("-{update}.json");
        wait_for("the message in the inbox", || {
            let names = self.names("inbox");
            if names.iter().any(|name| name.ends_with(&end)) {
                Ok(())
            } else {
                Err(names)
            }
        });
    }

    /// The bot's messages in a chat, as the person sees it.
    pub(crate) fn bot_lines(&self, chat: i64) -> Vec<Line> {
        let mut lines = self.sim.transcript(self.bot(), chat);
        lines.retain(|line| line.from_bot);
        lines
    }

    /// Waits until the outbox is empty: everything that was accepted is with Telegram.
    #[track_caller]
    pub(crate) fn wait_until_sent(&self) {
        wait_for("an empty outbox", || {
            let names = self.names("outbox");
            if names.is_empty() { Ok(()) } else { Err(names) }
        });
    }

    /// How often a message stands in the private chat, by text.
    pub(crate) fn heard_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for text in self.heard() {
            *counts.entry(text).or_default() += 1;
        }
        counts
    }
}

/// The texts of the messages of a result.
pub(crate) fn texts(result: &Value) -> Vec<&str> {
    each(result, "text")
        .into_iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

/// The updates of the messages of a result.
pub(crate) fn ids(result: &Value) -> Vec<i64> {
    each(result, "update_id")
        .into_iter()
        .map(|id| id.as_i64().unwrap())
        .collect()
}

/// For each message of a result, whether it is marked as shown before.
pub(crate) fn again(result: &Value) -> Vec<bool> {
    each(result, "again")
        .into_iter()
        .map(|again| again == &json!(true))
        .collect()
}

fn each<'a>(result: &'a Value, key: &str) -> Vec<&'a Value> {
    let messages = result["messages"].as_array();
    messages
        .into_iter()
        .flatten()
        .map(|message| &message[key])
        .collect()
}

/// A result without the messages, to compare the rest as a whole.
pub(crate) fn without_messages(mut result: Value) -> Value {
    result.as_object_mut().unwrap().shift_remove("messages");
    result
}
