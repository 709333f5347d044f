//! What the lanes of one bot share, and what the pollers tell the sender.

pub mod migrations;
pub mod rate_limits;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::ids::{BotId, ChatId};
use crate::state::bots::migrations::Migrations;
use crate::state::bots::rate_limits::Gates;
use crate::state::layout::StateDir;
use crate::store::format::ReadError;
use crate::telegram::api::Api;

/// What all lanes of one bot share.
#[derive(Debug)]
pub struct BotState {
    /// The bot's access.
    pub api: Api,
    /// Its flood gates.
    pub gates: Mutex<Gates>,
    /// Where its groups have gone.
    pub migrations: Arc<Mutex<Migrations>>,
}

impl BotState {
    /// A bot with what stands on disk of its gates and migrations.
    pub fn load(state: &StateDir, api: Api, clock: &Clock) -> Result<Self, ReadError> {
        Ok(Self {
            gates: Mutex::new(Gates::load(state, api.id(), clock)?),
            migrations: Arc::new(Mutex::new(Migrations::load(state, api.id(), clock)?)),
            api,
        })
    }

    /// The flood gates.
    pub fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where groups have gone.
    pub fn migrations(&self) -> MutexGuard<'_, Migrations> {
        self.migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that a chat has now.
    pub fn chat_now(&self, chat: ChatId) -> ChatId {
        self.migrations().current(chat)
    }

    /// How long its chat must be left alone; `None` if it may be written to.
    pub(crate) fn closed_for(&self, chat: ChatId) -> Option<Duration> {
        let chat = self.chat_now(chat);
        self.gates().wait(chat)
    }
}

/// Chats that something was heard from since the sender has looked: whoever is parked is tried again.
#[derive(Debug, Default)]
pub struct Heard(Mutex<BTreeSet<(BotId, ChatId)>>);

impl Heard {
    /// Something came from there.
    pub fn note(&self, bot: BotId, chat: ChatId) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert((bot, chat));
    }

    /// What came from there does not count any more: the bot was put out since.
    pub fn forget(&self, bot: BotId, chat: ChatId) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.remove(&(bot, chat));
    }

    /// What was heard since the last look.
    pub(crate) fn take(&self) -> BTreeSet<(BotId, ChatId)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
