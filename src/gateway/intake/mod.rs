//! Intake: one call that makes a batch of updates durable and passes on what follows from it.
//!
//! The poller is its caller, and a webhook can be another one. A batch may be confirmed to Telegram only
//! after [`Intake::accept`] has returned its [`Ack`].

mod album_parts;
mod batch;
mod outsiders;
mod session_inbox;
mod versions;

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::Notify;

pub use self::batch::BatchWriter;
use super::responder::TaskQueue;
use crate::error_chain::Chain;
use crate::ids::UpdateId;
use crate::state::bots::BotHandle;
use crate::state::gateway_status::StatusWriter;
use crate::store::StoreError;
use crate::telegram::update::{ChatStanding, Membership};

/// Takes in the updates of one bot.
#[derive(Debug)]
pub struct Intake {
    bot: Arc<BotHandle>,
    writer: BatchWriter,
    status: Arc<StatusWriter>,
    /// The sender and the fetcher look for work after each batch.
    wakes: [Arc<Notify>; 2],
    tasks: TaskQueue,
}

/// The batch is durable: it may be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The id of the last update that has a usable one. `None` if none has: then nothing can be confirmed.
    pub last_id: Option<UpdateId>,
}

impl Intake {
    /// The intake of a bot. It notifies `wakes` after each batch and hands commands and button presses to
    /// `tasks`.
    pub fn new(
        bot: Arc<BotHandle>,
        writer: BatchWriter,
        status: Arc<StatusWriter>,
        wakes: [Arc<Notify>; 2],
        tasks: TaskQueue,
    ) -> Self {
        Self {
            bot,
            writer,
            status,
            wakes,
            tasks,
        }
    }

    /// Stores a batch, then acts on it. On an error nothing of it may be confirmed: Telegram keeps it and
    /// delivers it again.
    pub fn accept(&mut self, updates: &[Box<RawValue>]) -> Result<Ack, StoreError> {
        let stored = self.writer.store(updates)?;
        for membership in &stored.memberships {
            self.apply_membership(*membership);
        }
        for wake in &self.wakes {
            wake.notify_one();
        }
        for task in stored.tasks {
            self.tasks.add(task);
        }
        for (session, count) in &stored.entries {
            tracing::info!(%session, count, "messages stored");
        }
        self.status.update(self.bot.api.id(), |bot, now| {
            bot.refused += stored.refused;
            bot.refused_on.add(now, stored.refused);
            bot.not_addressed_on.add(now, stored.not_addressed);
        });
        Ok(Ack {
            last_id: stored.last_id,
        })
    }

    /// Whether messages of groups cannot be routed before the bot's name is known.
    pub fn needs_username(&self) -> bool {
        self.writer.needs_username()
    }

    /// Sets the bot's public name, without `@`.
    pub fn set_username(&mut self, username: &str) {
        self.writer.set_username(username);
    }

    /// Forgets names that are older than any tombstone.
    pub fn forget_old(&mut self) {
        self.writer.forget_old();
    }

    /// Blocks a chat in which the bot may no longer write: Telegram would refuse what is sent there. The
    /// sender unblocks it when the bot is let in again, or when a message comes from there.
    fn apply_membership(&self, membership: Membership) {
        let why = match membership.standing {
            ChatStanding::Member => return,
            ChatStanding::Removed if membership.chat.0 > 0 => "the person has blocked the bot",
            ChatStanding::Removed => "the bot was removed from the group",
            ChatStanding::Muted => "the bot may not write in the group",
        };
        let chat = self.bot.current_chat(membership.chat);
        tracing::warn!(
            bot_id = self.bot.api.id().0,
            chat_id = chat.0,
            why,
            "nothing is sent to this chat until that changes"
        );
        if let Err(error) = self.bot.rate_limits().block(chat, why.to_owned()) {
            tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record that this chat is blocked; a restart will forget it");
        }
    }
}
