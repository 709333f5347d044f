//! Odd updates: raw ones, confirmed ones that come again.

use serde_json::Value;

use crate::person::When;
use crate::queue::KEPT_SECONDS;
use crate::render::put;
use crate::state::{State, UPDATE_KINDS, Wake};

/// The id that an update brings along, if it can be confirmed; any other must not move the tail of the queue.
fn confirmable(update: &Value) -> Option<i64> {
    let id = update.get("update_id")?.as_i64()?;
    (1..i64::from(i32::MAX)).contains(&id).then_some(id)
}

impl State {
    /// Queues any JSON. An object without `update_id` gets one; kinds that the server knows are filtered as usual.
    pub(crate) fn raw_update(&mut self, when: When, bot: i64, mut update: Value) -> Option<i64> {
        let wanted = self.bots.get(&bot)?;
        let mut kinds = update
            .as_object()
            .into_iter()
            .flatten()
            .map(|(kind, _)| kind.as_str());
        if kinds.any(|kind| UPDATE_KINDS.contains(&kind) && !wanted.wants(kind)) {
            return None;
        }
        if update.is_object() && update.get("update_id").is_none() {
            let id = wanted.queue.tail();
            put(&mut update, "update_id", Some(id.into()));
        }
        self.queue_text(when, bot, confirmable(&update), update.to_string())
    }

    /// Queues text that is put into the answer as it is, whatever the bot asked for.
    pub(crate) fn raw_text(&mut self, when: When, bot: i64, text: &str) -> Option<i64> {
        let id = serde_json::from_str(text)
            .ok()
            .and_then(|update| confirmable(&update));
        self.queue_text(when, bot, id, text.to_owned())
    }

    fn queue_text(&mut self, when: When, bot: i64, id: Option<i64>, text: String) -> Option<i64> {
        let bot = self.bots.get_mut(&bot)?;
        let id = id.unwrap_or_else(|| bot.queue.tail());
        let id = bot
            .queue
            .push_at(when.now(), when.now() + KEPT_SECONDS, id, text);
        bot.wake(Wake::Updates);
        id
    }

    /// Makes confirmed updates come again; returns how many.
    pub(crate) fn redeliver(&mut self, bot: i64, count: usize) -> usize {
        let Some(bot) = self.bots.get_mut(&bot) else {
            return 0;
        };
        let replayed = bot.queue.replay(count);
        bot.wake(Wake::Updates);
        replayed
    }
}
