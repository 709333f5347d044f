//! Replies of the gateway itself to commands: past the queues, within the pace.
//!
//! A person who looks at the chat at this moment asks for them, so they go before the deliveries that
//! wait, and count as those do. They stand nowhere on disk: a reply is left out when it cannot go soon,
//! when Telegram refuses it, or when its fate is unknown.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId, MessageId};
use crate::sender::bot_queues::BotQueues;
use crate::telegram::api::{Api, OutgoingMessage};
use crate::telegram::error::{ApiError, FailureDecision};
use crate::telegram::format::Rich;

/// How many may wait. They are few: a person asks for each.
const MAX_WAITING: usize = 32;
/// A reply that comes later is of no use.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the request may take: Telegram lets some wait for up to 8 s (docs/facts/telegram.md 4).
const TIMEOUT: Duration = Duration::from_secs(15);

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandReply {
    /// Where it goes.
    pub to: Address,
    /// Its text.
    pub text: Rich,
    /// The command.
    pub reply_to: MessageId,
    /// When the command came.
    pub since: Instant,
}

/// Where the responders hand in replies.
#[derive(Clone, Debug, Default)]
pub struct CommandReplyInbox(Arc<HandedIn>);

#[derive(Debug, Default)]
struct HandedIn {
    new: Mutex<VecDeque<CommandReply>>,
    changed: Notify,
}

impl CommandReplyInbox {
    /// Hands in a reply.
    pub fn add(&self, reply: CommandReply) {
        let mut new = self.handed_in();
        if new.len() < MAX_WAITING {
            new.push_back(reply);
            self.0.changed.notify_one();
        }
    }

    fn handed_in(&self) -> MutexGuard<'_, VecDeque<CommandReply>> {
        self.0.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type SentReply = (BotId, ChatId, Result<MessageId, ApiError>);

#[derive(Debug)]
pub(super) struct CommandReplies {
    inbox: CommandReplyInbox,
    clock: Clock,
    /// Replies that wait for the pace, or for the reply before them.
    waiting: VecDeque<CommandReply>,
    /// Chats to which a reply is under way: replies keep their order.
    sending: BTreeSet<(BotId, ChatId)>,
    requests: JoinSet<SentReply>,
}

impl CommandReplies {
    pub(super) fn new(inbox: CommandReplyInbox, clock: Clock) -> Self {
        Self {
            inbox,
            clock,
            waiting: VecDeque::new(),
            sending: BTreeSet::new(),
            requests: JoinSet::new(),
        }
    }

    /// Waits until a new reply is handed in, or returns a request that has ended. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Option<SentReply> {
        tokio::select! {
            () = self.inbox.0.changed.notified() => None,
            Some(ended) = self.requests.join_next() => ended.ok(),
        }
    }

    /// Sends the replies that may go now, and gives up those that cannot go soon.
    pub(super) fn start(&mut self, queues: &mut BotQueues) {
        self.waiting.append(&mut self.inbox.handed_in());
        let now = queues.now();
        let mut busy = self.sending.clone();
        for reply in std::mem::take(&mut self.waiting) {
            let id = reply.to.bot_id;
            let Some(bot) = queues.bot(id).map(Arc::clone) else {
                continue;
            };
            let chat = bot.current_chat(reply.to.chat_id);
            let is_limited = bot.wait_for(chat).is_some();
            let is_late = self.clock.instant().duration_since(reply.since) > PATIENCE;
            if is_limited || is_late || self.waiting.len() >= MAX_WAITING {
                tracing::info!(
                    chat_id = chat.0,
                    is_limited,
                    "a command reply is skipped: nothing may be sent to that chat now"
                );
                continue;
            }
            // The first one that waits keeps the chat's later ones behind it.
            let is_free = busy.insert((id, chat));
            if is_free && queues.queue(id).command_reply_begun(chat, now) {
                self.sending.insert((id, chat));
                let request = send_reply(bot.api.clone(), reply, chat);
                self.requests
                    .spawn(async move { (id, chat, request.await) });
            } else {
                self.waiting.push_back(reply);
            }
        }
    }

    /// A request has ended. A refusal of the chat holds for everything that goes there.
    pub(super) fn ended(&mut self, (id, chat, answer): SentReply, queues: &mut BotQueues) {
        let now = queues.now();
        self.sending.remove(&(id, chat));
        queues.queue(id).command_reply_ended(chat, now);
        let (Err(error), Some(bot)) = (answer, queues.bot(id)) else {
            return;
        };
        tracing::info!(bot_id = id.0, chat_id = chat.0, %error, "a command reply is skipped");
        let recorded = match error.decision() {
            FailureDecision::RateLimit(wait) => {
                queues.limit(id, chat, wait);
                Ok(())
            }
            FailureDecision::ChatBlocked => bot.rate_limits().block(chat, error.to_string()),
            FailureDecision::Migrate(to) => bot.migrations().record_migration(chat, to).map(drop),
            FailureDecision::Retry
            | FailureDecision::RetryMarked
            | FailureDecision::StopBot
            | FailureDecision::TreatAsDone
            | FailureDecision::Repair(_)
            | FailureDecision::TopicClosed
            | FailureDecision::Fail => Ok(()),
        };
        if let Err(error) = recorded {
            tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record what Telegram reported about a chat; a restart will forget it");
        }
    }

    /// When one of the waiting replies may go, or is given up.
    pub(super) fn due(&self, queues: &BotQueues) -> Option<Instant> {
        let each = self.waiting.iter().map(|reply| {
            let id = reply.to.bot_id;
            let free = queues.bot(id).and_then(|bot| {
                let chat = bot.current_chat(reply.to.chat_id);
                // The end of the reply before it wakes the sender.
                let queue = queues.existing(id);
                let queue = queue.filter(|_| !self.sending.contains(&(id, chat)))?;
                queue.command_reply_due(chat)
            });
            let given_up = reply.since + PATIENCE + Duration::from_millis(1);
            free.map_or(given_up, |free| queues.instant(free).min(given_up))
        });
        each.min()
    }
}

/// Sends a reply to a chat that may have another id by now.
async fn send_reply(api: Api, reply: CommandReply, chat: ChatId) -> Result<MessageId, ApiError> {
    let mut to = reply.to;
    let mut message = OutgoingMessage::new(reply.text);
    if to.chat_id == chat {
        message.reply_to = Some(reply.reply_to);
    } else {
        // Ids of messages and topics do not carry over into a supergroup.
        to.chat_id = chat;
        to.topic_id = None;
    }
    tokio::time::timeout(TIMEOUT, api.send_text(to, &message))
        .await
        .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())))
}
