//! The send queues of all bots, on one clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::Pace;
use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId};
use crate::sender::queue::{QueueKey, SendEnd, SendPermit, SendQueue};
use crate::sender::worker::WorkerExit;
use crate::state::bots::BotHandle;

/// The start of the gateway on the queues' clock, so that earlier moments have a time as well.
const START: Duration = Duration::from_secs(3600);

/// The bots that run, and the queue of each bot that has deliveries.
#[derive(Debug)]
pub(super) struct BotQueues {
    bots: BTreeMap<BotId, Arc<BotHandle>>,
    queues: BTreeMap<BotId, SendQueue>,
    pace: Pace,
    clock: Clock,
    began: Instant,
}

impl BotQueues {
    pub(super) fn new(bots: &[Arc<BotHandle>], pace: Pace, clock: Clock) -> Self {
        let bots = bots.iter().map(|bot| (bot.api.id(), Arc::clone(bot)));
        Self {
            bots: bots.collect(),
            queues: BTreeMap::new(),
            pace,
            began: clock.instant(),
            clock,
        }
    }

    /// The time on the queues' clock.
    pub(super) fn now(&self) -> Duration {
        START + self.clock.instant().duration_since(self.began)
    }

    /// The moment of a time on the queues' clock.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.began + at.saturating_sub(START)
    }

    /// A bot that runs.
    pub(super) fn bot(&self, bot: BotId) -> Option<&Arc<BotHandle>> {
        self.bots.get(&bot)
    }

    /// The queue of a bot, which need not run.
    pub(super) fn queue(&mut self, bot: BotId) -> &mut SendQueue {
        let pace = self.pace;
        let queue = self.queues.entry(bot);
        queue.or_insert_with(|| SendQueue::new(pace))
    }

    /// The queue of a bot that has one.
    pub(super) fn existing(&self, bot: BotId) -> Option<&SendQueue> {
        self.queues.get(&bot)
    }

    pub(super) fn bot_of(&self, key: QueueKey) -> Option<BotId> {
        let mut queues = self.queues.iter();
        queues.find_map(|(bot, queue)| queue.contains(key).then_some(*bot))
    }

    pub(super) fn superseded(&self) -> Option<(Arc<BotHandle>, QueueKey)> {
        let mut running = self.running();
        running.find_map(|(bot, queue)| Some((Arc::clone(bot), queue.superseded()?)))
    }

    /// The next request that may be made now, and its bot.
    pub(super) fn next(&mut self) -> Option<(Arc<BotHandle>, SendPermit)> {
        let now = self.now();
        let mut queues = self.queues.iter_mut();
        queues.find_map(|(id, queue)| {
            let bot = self.bots.get(id)?;
            Some((Arc::clone(bot), queue.next(now)?))
        })
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.running().filter_map(|(_, queue)| queue.due()).min();
        due.map(|at| self.instant(at))
    }

    fn running(&self) -> impl Iterator<Item = (&Arc<BotHandle>, &SendQueue)> {
        let queues = self.queues.iter();
        queues.filter_map(|(id, queue)| Some((self.bots.get(id)?, queue)))
    }

    pub(super) fn ended(&mut self, bot: BotId, permit: SendPermit, exit: WorkerExit) {
        let Some(handle) = self.bots.get(&bot).map(Arc::clone) else {
            return;
        };
        let chat = permit.chat;
        let end = match exit {
            WorkerExit::Finished => SendEnd::Finished,
            WorkerExit::More | WorkerExit::Moved => SendEnd::More,
            // The limit may have been lifted since: a message came from the chat.
            WorkerExit::Limited => SendEnd::Later(handle.wait_for(chat).unwrap_or_default()),
            WorkerExit::Later(wait) => SendEnd::Later(wait),
            WorkerExit::TopicClosed(wait) => SendEnd::Parked(wait),
            WorkerExit::Failed => SendEnd::Failed(fastrand::f64()),
            WorkerExit::Stopped => SendEnd::Later(Duration::ZERO),
        };
        let now = self.now();
        let queue = self.queue(bot);
        queue.ended(chat, end, now);
        if exit == WorkerExit::Moved {
            queue.moved(chat, handle.current_chat(chat));
        }
    }

    /// Obeys a 429, whatever was asked for: nothing at all goes to the chat meanwhile.
    pub(super) fn limit(&self, bot: BotId, chat: ChatId, wait: Duration) {
        let Some(bot) = self.bots.get(&bot) else {
            return;
        };
        let chat = bot.current_chat(chat);
        let wait = wait + Duration::from_millis(fastrand::u64(..500));
        if let Err(error) = bot.rate_limits().limit(chat, wait) {
            tracing::error!(chat_id = chat.0, error = %Chain(&error), "cannot record a rate limit; a restart will forget it");
        }
    }

    /// Tries a topic again that may be open by now.
    pub(super) fn topic_opened(&mut self, address: Address) {
        let Some(bot) = self.bots.get(&address.bot_id) else {
            return;
        };
        let chat = bot.current_chat(address.chat_id);
        let reopened = bot.rate_limits().reopen_topic(chat, address.topic_id);
        match reopened {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => {
                tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record that a topic is retried");
            }
        }
        if let Some(queue) = self.queues.get_mut(&address.bot_id) {
            queue.open(chat);
        }
    }

    /// Tries a chat again from which a message came: it may have been blocked. `false` if a delivery to
    /// it is under way, and the caller has to come back.
    pub(super) fn heard_from(&mut self, id: BotId, chat: ChatId) -> bool {
        let Some(bot) = self.bots.get(&id) else {
            return true;
        };
        let (before, chat) = (chat, bot.current_chat(chat));
        if let Some(queue) = self.queues.get_mut(&id).filter(|_| before != chat) {
            if queue.is_sending_to(before) {
                return false;
            }
            queue.moved(before, chat);
        }
        let unblocked = bot.rate_limits().unblock(chat);
        match unblocked {
            Ok(false) => return true,
            Ok(true) => {}
            // It is open in memory; on disk it opens within the hour.
            Err(error) => {
                tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record that a chat is retried");
            }
        }
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.open(chat);
        }
        true
    }
}
