//! Chat actions: receipts (👀) and "typing…", where there is plenty of room.
//!
//! [`Attention`] decides from what the agents hold. Each 👀 is recorded on disk before it is put and
//! until it is surely gone.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{Config, Receipts};
use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId, SessionId};
use crate::sender::attention::{
    ActionResult, AgentName, Attention, ChatAction, EYES, HeldMessage, Sign,
};
use crate::sender::bot_queues::BotQueues;
use crate::state::StateDir;
use crate::state::agents::holder;
use crate::state::bots::receipts::{MessageRef, load_receipts, save_receipts};
use crate::state::changes::SessionChange;
use crate::state::holds::Holds;
use crate::store::{ReadError, StoreError};
use crate::telegram::api::Api;
use crate::telegram::error::{ApiError, FailureDecision};

const TIMEOUT: Duration = Duration::from_secs(10);
/// When a busy chat is looked at again for a chat action.
const BUSY: Duration = Duration::from_millis(250);

type EndedAction = (ChatAction, Result<(), ApiError>);

#[derive(Debug)]
pub(super) struct ChatActions {
    state: StateDir,
    /// The number of a session is its place here.
    sessions: Arc<[SessionId]>,
    clock: Clock,
    receipts: Receipts,
    attention: Attention,
    has_scanned: bool,
    /// Bots whose file names messages that no longer wear 👀.
    outdated: BTreeSet<BotId>,
    requests: JoinSet<EndedAction>,
}

impl ChatActions {
    /// Reads which messages may wear 👀 from an earlier time. Without receipts they are still taken
    /// away.
    pub(super) fn load(
        state: &StateDir,
        config: &Config,
        sessions: Arc<[SessionId]>,
        bots: impl IntoIterator<Item = BotId>,
        clock: Clock,
    ) -> Result<Self, ReadError> {
        let mut receipts = Vec::new();
        for bot in bots {
            receipts.extend(load_receipts(state, bot, clock.now())?);
        }
        Ok(Self {
            state: state.clone(),
            sessions,
            clock,
            receipts: config.receipts,
            attention: Attention::new(config.pace, receipts),
            has_scanned: false,
            outdated: BTreeSet::new(),
            requests: JoinSet::new(),
        })
    }

    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.sessions.iter().map(|id| self.state.session(id));
        match self.receipts {
            Receipts::On => dirs
                .map(|dir| SessionChange::folder_of_holds(&dir))
                .collect(),
            Receipts::Off => Vec::new(),
        }
    }

    /// The holds of an agent have changed.
    pub(super) fn observe(&mut self, session: u16, holder: &str, now: Duration) {
        if self.receipts == Receipts::On {
            self.read_holds(session, holder, Sign::Activity, now);
        }
    }

    /// Looks through what all agents hold.
    pub(super) fn scan(&mut self, now: Duration) {
        if self.receipts == Receipts::Off {
            return;
        }
        let sessions = Arc::clone(&self.sessions);
        for (number, session) in (0u16..).zip(sessions.iter()) {
            let holders = match Holds::new(&self.state.session(session)).holders() {
                Ok(holders) => holders,
                Err(error) => {
                    tracing::warn!(%session, error = %Chain(&error), "cannot read which messages the agents hold");
                    continue;
                }
            };
            for gone in self.attention.agents(number) {
                if !holders.contains(&gone.1) {
                    self.attention.holds(gone, Vec::new(), Sign::Scan, now);
                }
            }
            for holder in holders {
                self.read_holds(number, &holder, Sign::Scan, now);
            }
        }
        self.has_scanned = true;
    }

    fn read_holds(&mut self, session: u16, name: &str, sign: Sign, now: Duration) {
        let Some(id) = self.sessions.get(usize::from(session)) else {
            return;
        };
        // The agents report a file that cannot be read.
        let conversation = Holds::new(&self.state.session(id)).peek(name);
        let silent_for = conversation
            .as_ref()
            .map(|all| self.clock.now().since(all.active_at.max(all.shown_at)));
        let held = conversation.map(|all| all.held).unwrap_or_default();
        let held = held.into_iter().filter_map(|one| {
            Some(HeldMessage {
                address: one.address,
                message: one.message_id,
                arrived: *one.entries.first()?,
            })
        });
        let sign = match silent_for {
            Some(silent_for) if !self.has_scanned => Sign::Startup { silent_for },
            _ => sign,
        };
        self.attention
            .holds((session, name.to_owned()), held.collect(), sign, now);
    }

    pub(super) fn agent_spoke(&mut self, session: u16, holder: String, now: Duration) {
        self.attention.agent_spoke(&(session, holder), now);
    }

    /// An agent's own reaction is about to go on a message: from now on there is no 👀 of ours to take
    /// away, durably.
    pub(super) fn agent_reacts(&mut self, message: MessageRef) -> Result<(), StoreError> {
        let has_changed = self.attention.agent_reacts(message);
        if has_changed || self.outdated.contains(&message.bot) {
            self.save(message.bot)?;
        }
        Ok(())
    }

    fn save(&mut self, bot: BotId) -> Result<(), StoreError> {
        let saved = save_receipts(&self.state, bot, self.attention.receipts(bot));
        match &saved {
            Ok(()) => self.outdated.remove(&bot),
            Err(_) => self.outdated.insert(bot),
        };
        saved
    }

    /// Begins what there is room for.
    pub(super) fn start(&mut self, queues: &mut BotQueues) {
        let now = queues.now();
        while let Some(action) = self.next(queues, now) {
            let (bot, chat) = action.place();
            if matches!(action, ChatAction::PutReceipt(_))
                && let Err(error) = self.save(bot)
            {
                tracing::warn!(error = %Chain(&error), "a receipt is skipped, because it cannot be recorded");
                self.attention.cancelled(action);
                continue;
            }
            let Some(api) = queues.bot(bot).map(|bot| bot.api.clone()) else {
                continue;
            };
            queues.queue(bot).chat_action_begun(chat);
            self.requests.spawn(async move {
                let answer = tokio::time::timeout(TIMEOUT, request_action(&api, action));
                let answer = answer
                    .await
                    .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())));
                (action, answer)
            });
        }
    }

    fn next(&mut self, queues: &BotQueues, now: Duration) -> Option<ChatAction> {
        let wait = |bot: BotId, chat: ChatId| {
            let Some(handle) = queues.bot(bot) else {
                return Some(TIMEOUT);
            };
            let has_room = || {
                let queue = queues.existing(bot);
                queue.is_none_or(|queue| queue.has_room_for_chat_action(chat, now))
            };
            let limited = handle.wait_for(chat);
            limited.or_else(|| (!has_room()).then_some(BUSY))
        };
        let (state, sessions) = (&self.state, &self.sessions);
        let lives = |(session, holder): &AgentName| {
            let session = sessions.get(usize::from(*session));
            session.is_some_and(|id| holder::seems_to_live(&state.session(id), holder))
        };
        self.attention.next(now, wait, lives)
    }

    /// Waits for the end of a request; for ever if there is none. Cancel-safe.
    pub(super) async fn next_ended(&mut self) -> EndedAction {
        while let Some(ended) = self.requests.join_next().await {
            if let Ok(ended) = ended {
                return ended;
            }
        }
        std::future::pending().await
    }

    pub(super) fn ended(&mut self, (action, answer): EndedAction, queues: &mut BotQueues) {
        let (bot, chat) = action.place();
        let now = queues.now();
        queues.queue(bot).chat_action_ended(chat, now);
        let result = match answer {
            Ok(()) => ActionResult::Done,
            Err(error) => {
                tracing::debug!(bot_id = bot.0, chat_id = chat.0, %error, ?action, "chat action skipped");
                let limit = if let FailureDecision::RateLimit(wait) = error.decision() {
                    Some(wait)
                } else {
                    None
                };
                if let Some(wait) = limit {
                    queues.limit(bot, chat, wait);
                }
                // After a 429 a 👀 that was to be taken away still stands.
                let still_stands = limit.is_some() && matches!(action, ChatAction::TakeReceipt(_));
                if matches!(error, ApiError::Refused { .. }) && !still_stands {
                    ActionResult::Refused
                } else {
                    ActionResult::Unknown
                }
            }
        };
        if self.attention.ended(action, result, now)
            && let Err(error) = self.save(bot)
        {
            tracing::warn!(error = %Chain(&error), "cannot record that a receipt is gone");
        }
    }

    /// When there may be something to do.
    pub(super) fn due(&self, queues: &BotQueues) -> Option<Instant> {
        let due = self.attention.due(queues.now());
        due.map(|at| queues.instant(at))
    }
}

async fn request_action(api: &Api, action: ChatAction) -> Result<(), ApiError> {
    let react = async |message: MessageRef, emoji| {
        let to = Address {
            bot_id: message.bot,
            chat_id: message.chat,
            topic_id: None,
        };
        api.react(to, message.message, emoji).await
    };
    match action {
        ChatAction::PutReceipt(message) => react(message, EYES).await,
        ChatAction::TakeReceipt(message) => react(message, "").await,
        ChatAction::Type(address) => api.typing(address).await,
    }
}
