//! Each bot of the gateway: its rate limits, migrations and receipts, and the handle that its tasks share.

pub mod migrations;
pub mod rate_limits;
pub mod receipts;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::{Address, BotId, ChatId};
use crate::state::StateDir;
use crate::state::bots::migrations::Migrations;
use crate::state::bots::rate_limits::RateLimits;
use crate::state::outbox::sent_index::SentIndex;
use crate::store::ReadError;
use crate::telegram::api::Api;

/// One bot while the gateway runs, shared by its poller, the sender and the fetcher.
#[derive(Debug)]
pub struct BotHandle {
    /// The bot's access.
    pub api: Api,
    rate_limits: Mutex<RateLimits>,
    /// Where its groups have gone.
    pub migrations: Arc<Mutex<Migrations>>,
    /// Its messages in groups and topics.
    pub sent: Arc<SentIndex>,
}

impl BotHandle {
    /// Reads what is on disk of a bot's rate limits and migrations.
    pub fn load(state: &StateDir, api: Api, clock: &Clock) -> Result<Self, ReadError> {
        Ok(Self {
            rate_limits: Mutex::new(RateLimits::load(state, api.id(), clock)?),
            migrations: Arc::new(Mutex::new(Migrations::load(state, api.id(), clock)?)),
            sent: Arc::default(),
            api,
        })
    }

    /// The rate limits.
    pub fn rate_limits(&self) -> MutexGuard<'_, RateLimits> {
        self.rate_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where groups have gone.
    pub fn migrations(&self) -> MutexGuard<'_, Migrations> {
        self.migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that a chat has now.
    pub fn current_chat(&self, chat: ChatId) -> ChatId {
        self.migrations().current(chat)
    }

    /// How long a chat must be left alone; `None` if it may be written to.
    pub(crate) fn wait_for(&self, chat: ChatId) -> Option<Duration> {
        let chat = self.current_chat(chat);
        self.rate_limits().wait(chat)
    }
}

/// Chats from which a message came since the sender last asked, and topics that may be open again: those that
/// were blocked are tried again.
#[derive(Debug, Default)]
pub struct HeardChats {
    chats: Mutex<BTreeSet<(BotId, ChatId)>>,
    topics: Mutex<BTreeSet<Address>>,
}

impl HeardChats {
    /// A message came from a chat.
    pub fn note(&self, bot: BotId, chat: ChatId) {
        self.chats().insert((bot, chat));
    }

    /// The bot was removed from a chat, so an earlier message from there does not count any more.
    pub fn forget(&self, bot: BotId, chat: ChatId) {
        self.chats().remove(&(bot, chat));
    }

    /// A message came from a topic, or it was opened again; without a topic, General.
    pub fn note_topic(&self, address: Address) {
        self.topics().insert(address);
    }

    /// Takes the chats.
    #[doc(hidden)]
    pub fn take(&self) -> BTreeSet<(BotId, ChatId)> {
        std::mem::take(&mut *self.chats())
    }

    pub(crate) fn take_topics(&self) -> BTreeSet<Address> {
        std::mem::take(&mut *self.topics())
    }

    fn chats(&self) -> MutexGuard<'_, BTreeSet<(BotId, ChatId)>> {
        self.chats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, BTreeSet<Address>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
