//! Answers of the gateway's own, such as those to commands: past the queues, within the pace.
//!
//! They are asked for by somebody who looks at the chat at this moment, so they come before what
//! waits, and count as it does. They stand nowhere on disk: one that cannot go out soon, or that
//! Telegram does not want, is left out, and so is one whose fate is unknown.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId, MessageId};
use crate::sender::{START, Schedule, Sender};
use crate::telegram::error::{ApiError, Decision};
use crate::telegram::format::Rich;

/// How many may wait. They are few: each is asked for by hand.
const WAITING_MOST: usize = 32;
/// An answer that comes later answers nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the request may take: Telegram makes some wait for up to 8 s (telegram.md 4).
const TIMEOUT: Duration = Duration::from_secs(15);

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it goes.
    pub to: Address,
    /// What it says.
    pub text: Rich,
    /// What it answers.
    pub reply_to: MessageId,
    /// When it was asked for.
    pub since: Instant,
}

/// Where answers are handed in.
#[derive(Clone, Debug, Default)]
pub struct Asides(Arc<HandedIn>);

#[derive(Debug, Default)]
struct HandedIn {
    new: Mutex<VecDeque<Aside>>,
    told: Notify,
}

impl Asides {
    /// Hands in an answer.
    pub fn add(&self, aside: Aside) {
        let mut new = self.waiting();
        if new.len() < WAITING_MOST {
            new.push_back(aside);
            self.0.told.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Aside>> {
        self.0.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers that the sender has to do with.
#[derive(Debug)]
pub(super) struct Desk {
    new: Asides,
    /// Those that must wait for the pace, or for another one.
    queue: VecDeque<Aside>,
    /// Chats that an answer is on its way to: they keep their order.
    at_work: BTreeSet<(BotId, ChatId)>,
}

impl Desk {
    pub(super) fn new(asides: Asides) -> Self {
        Self {
            new: asides,
            queue: VecDeque::new(),
            at_work: BTreeSet::new(),
        }
    }

    /// Waits for a new one. Cancel-safe.
    pub(super) async fn told(&self) {
        self.new.0.told.notified().await;
    }
}

/// An answer that is out, or not.
pub(super) type Said = (BotId, ChatId, Result<MessageId, ApiError>);

impl Sender {
    /// Sends those that may go now, and lets go of those that cannot go soon.
    pub(super) fn start_asides(&mut self, at_work: &mut JoinSet<Said>) {
        let mut queue = std::mem::take(&mut self.asides.queue);
        queue.append(&mut self.asides.new.waiting());
        let (now, instant) = (self.now(), self.clock.instant());
        let mut waits = self.asides.at_work.clone();
        let mut kept = VecDeque::new();
        for aside in queue {
            let id = aside.to.bot_id;
            let Some(bot) = self.bots.get(&id) else {
                continue;
            };
            let chat = bot.chat_now(aside.to.chat_id);
            let closed = bot.closed_for(chat).is_some();
            if closed
                || instant.duration_since(aside.since) > PATIENCE
                || kept.len() >= WAITING_MOST
            {
                tracing::info!(
                    chat_id = chat.0,
                    closed,
                    "an answer to a command is left out: nothing may go to that chat now"
                );
                continue;
            }
            let pace = self.pace;
            let schedule = self
                .schedules
                .entry(id)
                .or_insert_with(|| Schedule::new(pace));
            if waits.contains(&(id, chat)) || !schedule.aside_begun(chat, now) {
                waits.insert((id, chat));
                kept.push_back(aside);
                continue;
            }
            waits.insert((id, chat));
            self.asides.at_work.insert((id, chat));
            let api = bot.api.clone();
            at_work.spawn(async move {
                let Aside {
                    mut to,
                    text,
                    reply_to,
                    ..
                } = aside;
                let moved = to.chat_id != chat;
                if moved {
                    // Ids of messages and topics do not carry over into a supergroup.
                    to.chat_id = chat;
                    to.topic_id = None;
                }
                let reply_to = Some(reply_to).filter(|_| !moved);
                let sent = tokio::time::timeout(TIMEOUT, api.send_text(to, &text, reply_to, false));
                let sent = sent
                    .await
                    .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())));
                (id, chat, sent)
            });
        }
        self.asides.queue = kept;
    }

    /// A request has ended: what it says of the chat counts for everything that goes there.
    pub(super) fn aside_ended(&mut self, (id, chat, answer): Said) {
        let now = self.now();
        self.asides.at_work.remove(&(id, chat));
        if let Some(schedule) = self.schedules.get_mut(&id) {
            schedule.aside_ended(chat, now);
        }
        let Err(error) = answer else {
            return;
        };
        tracing::info!(bot_id = id.0, chat_id = chat.0, %error, "an answer to a command is left out");
        let Some(bot) = self.bots.get(&id) else {
            return;
        };
        let noted = match error.decision() {
            Decision::CloseGate(wait) => {
                self.close_gate(id, chat, wait);
                Ok(())
            }
            Decision::Park => bot.gates().park(chat, error.to_string()),
            Decision::Migrate(to) => bot.migrations().learn(chat, to).map(drop),
            Decision::Retry
            | Decision::RetryMarked
            | Decision::StopBot
            | Decision::TreatAsDone
            | Decision::Repair(_)
            | Decision::Fail => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(chat_id = chat.0, error = %Chain(&error), "what Telegram said of a chat is known in memory only");
        }
    }

    /// When one of those that wait may go, or is given up.
    pub(super) fn asides_due(&self) -> Option<Instant> {
        let each = self.asides.queue.iter().map(|aside| {
            let id = aside.to.bot_id;
            let free = self.bots.get(&id).and_then(|bot| {
                let chat = bot.chat_now(aside.to.chat_id);
                // The end of the one before it is noticed by itself.
                let is_free = !self.asides.at_work.contains(&(id, chat));
                let schedule = self.schedules.get(&id).filter(|_| is_free)?;
                schedule.aside_due(chat)
            });
            let free = free.map(|at| self.began + at.saturating_sub(START));
            let given_up = aside.since + PATIENCE + Duration::from_millis(1);
            free.map_or(given_up, |free| free.min(given_up))
        });
        each.min()
    }
}
