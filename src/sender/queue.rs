//! The send queue of one bot: which delivery may make a request next, and when. Pure.
//!
//! Within a chat, replies keep the order of acceptance over all sessions, but a reply of one message goes
//! next once [`MOST_BEFORE_SHORT`] messages of others went before it. They go before progress
//! updates, and progress updates go before reactions. Only the newest progress update of a turn counts,
//! and the final reply takes its place; of several reactions on one message only the newest counts.
//! Between chats the same ranks hold. Among equals the session goes first that was served longest ago,
//! then the chat.
//!
//! Every delivery of the bot that is not finished stands in one ordered map, and the queue of its chat
//! points to it. A scan of the disk compares names with that map. A queued delivery costs about 150
//! bytes, so ten thousand of them fit into 2 MB.

mod chat_queue;
mod pacing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Pace;
use crate::ids::{ChatId, MessageId};
use crate::sender::queue::chat_queue::{ChatQueue, keep_newer};
pub(crate) use crate::sender::queue::pacing::shortened;
use crate::sender::queue::pacing::{
    BOT_LIMITS, Rank, RequestWindow, backoff, chat_limits, progress_interval,
};

/// Most messages of other replies that go to its chat before a reply of one message.
pub const MOST_BEFORE_SHORT: u64 = 10;

/// A delivery in the order of acceptance over all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// When it was accepted, in milliseconds.
    pub accepted: i64,
    /// The caller's number for the session.
    pub session: u16,
    /// The key of the call that made it. The gateway's notices may share a millisecond with a reply.
    pub key: u128,
}

/// The kind of a delivery, which decides its place. A turn is named by the time at which its first progress update
/// was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryKind {
    /// An answer, or a message that the agent sends unasked.
    Reply {
        /// The turn that it ends.
        turn: Option<i64>,
    },
    /// A progress update.
    Progress {
        /// Its turn.
        turn: i64,
    },
    /// A reaction.
    Reaction {
        /// The message that it is put on.
        message: MessageId,
    },
}

/// The right to make one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendPermit {
    /// The chat.
    pub chat: ChatId,
    /// The delivery.
    pub key: QueueKey,
}

/// The result of a permit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SendEnd {
    /// The delivery has left the outbox.
    Finished,
    /// One message of it is out; more follow.
    More,
    /// Nothing may go to the chat for this long.
    Later(Duration),
    /// Its topic is closed for this long: the delivery waits, and others to the chat go on.
    Parked(Duration),
    /// A temporary failure: the delivery waits for a growing pause with this much jitter (0.0 to 1.0).
    Failed(f64),
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    chat: ChatId,
    kind: DeliveryKind,
    /// For a reply of one message: how many had gone to its chat when it came.
    came_after: Option<u64>,
    /// Until when its topic is closed.
    parked_until: Duration,
}

/// The send queue of one bot.
#[derive(Clone, Debug)]
pub struct SendQueue {
    pace: Pace,
    /// Every delivery that is not finished: waiting, being sent, or superseded and still on disk.
    deliveries: BTreeMap<QueueKey, Queued>,
    chats: BTreeMap<ChatId, ChatQueue>,
    /// Deliveries that must not be sent any more.
    superseded: BTreeSet<QueueKey>,
    window: RequestWindow,
    /// The last permit of each session, as a count of permits.
    served: BTreeMap<u16, u64>,
    permits: u64,
}

impl SendQueue {
    /// The queue of a bot that has sent nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            deliveries: BTreeMap::new(),
            chats: BTreeMap::new(),
            superseded: BTreeSet::new(),
            window: RequestWindow::default(),
            served: BTreeMap::new(),
            permits: 0,
        }
    }

    /// Whether a delivery is here and not finished.
    pub fn contains(&self, key: QueueKey) -> bool {
        self.deliveries.contains_key(&key)
    }

    /// Adds a delivery that is not here yet.
    pub fn add(&mut self, chat: ChatId, key: QueueKey, kind: DeliveryKind) {
        let queued = Queued {
            chat,
            kind,
            came_after: None,
            parked_until: Duration::ZERO,
        };
        self.deliveries.insert(key, queued);
        self.enqueue(key);
    }

    /// A reply has one message only, so that it waits for a limited number of others.
    pub fn mark_short(&mut self, key: QueueKey) {
        let Some(queued) = self.deliveries.get_mut(&key) else {
            return;
        };
        let queue = self.chats.entry(queued.chat).or_default();
        queued.came_after = Some(queue.replied);
        queue.short.insert(key, queue.replied);
    }

    fn enqueue(&mut self, key: QueueKey) {
        let Some(&queued) = self.deliveries.get(&key) else {
            return;
        };
        let Queued { chat, kind, .. } = queued;
        let queue = self.chats.entry(chat).or_default();
        if !queued.parked_until.is_zero() {
            queue.parked.insert(key, queued.parked_until);
        }
        if let Some(came_after) = queued.came_after {
            queue.short.insert(key, came_after);
        }
        let superseded = match kind {
            DeliveryKind::Reply { turn } => {
                queue.replies.insert(key);
                turn.and_then(|turn| queue.take_progress_before(turn, key))
            }
            DeliveryKind::Progress { turn } => {
                let ends_turn = |(other, queued): (&QueueKey, &Queued)| {
                    other.session == key.session
                        && queued.kind == DeliveryKind::Reply { turn: Some(turn) }
                        && queue.replies.contains(other)
                };
                if self.deliveries.range(key..).any(ends_turn) {
                    Some(key)
                } else {
                    keep_newer(&mut queue.progress, (key.session, turn), key)
                }
            }
            DeliveryKind::Reaction { message } => keep_newer(&mut queue.reactions, message, key),
        };
        self.superseded.extend(superseded);
    }

    /// A delivery that something newer has superseded: the caller puts it away, then [removes](Self::remove) it.
    pub fn superseded(&self) -> Option<QueueKey> {
        self.superseded.first().copied()
    }

    /// Removes a delivery that is finished and [not being sent](Self::is_sending).
    pub fn remove(&mut self, key: QueueKey) {
        self.superseded.remove(&key);
        if let Some(queued) = self.deliveries.remove(&key)
            && let Some(queue) = self.chats.get_mut(&queued.chat)
        {
            queue.remove(key, queued.kind);
        }
    }

    /// Gives out the next permit, if a request may be made now. `now` is the time since the queue
    /// began, on a monotonic clock. The caller reports how each permit [ended](Self::ended).
    pub fn next(&mut self, now: Duration) -> Option<SendPermit> {
        for (chat, key) in self.opened(now) {
            self.unpark(chat, key);
        }
        let (chat, (rank, key)) = self
            .choices()
            .filter(|(chat, (rank, _))| self.free_at(*chat, *rank).is_some_and(|at| at <= now))
            .min_by_key(|(chat, (rank, key))| {
                let session = self.served.get(&key.session).copied().unwrap_or(0);
                let served = self.chats.get(chat).map_or(0, |queue| queue.served);
                (*rank, session, served, *key)
            })?;
        self.permits += 1;
        self.served.insert(key.session, self.permits);
        self.window.under_way += 1;
        let kind = self.deliveries.get(&key)?.kind;
        let queue = self.chats.get_mut(&chat)?;
        queue.remove(key, kind);
        queue.served = self.permits;
        queue.window.under_way += 1;
        queue.sending = Some(key);
        if rank == Rank::Reply {
            queue.replied += 1;
            queue.begun.get_or_insert(key);
        }
        Some(SendPermit { chat, key })
    }

    /// The deliveries that may come next in each chat, whether or not their time has come.
    fn choices(&self) -> impl Iterator<Item = (ChatId, (Rank, QueueKey))> {
        let chats = self.chats.iter();
        chats.flat_map(|(chat, queue)| queue.choices().map(move |choice| (*chat, choice)))
    }

    /// When [`Self::next`] may give out a permit that it does not give out now; `None` if something
    /// has to be added or to end first.
    pub fn due(&self) -> Option<Duration> {
        let parked = self.chats.values().filter(|queue| queue.sending.is_none());
        let parked = parked.flat_map(|queue| queue.parked.values().copied());
        self.choices()
            .filter_map(|(chat, (rank, _))| self.free_at(chat, rank))
            .chain(parked)
            .min()
    }

    fn opened(&self, now: Duration) -> Vec<(ChatId, QueueKey)> {
        let chats = self.chats.iter();
        let parked = chats.flat_map(|(chat, queue)| {
            let parked = queue.parked.iter();
            parked.map(move |(key, until)| (*chat, *key, *until))
        });
        parked
            .filter(|(_, _, until)| *until <= now)
            .map(|(chat, key, _)| (chat, key))
            .collect()
    }

    fn unpark(&mut self, chat: ChatId, key: QueueKey) {
        if let Some(queued) = self.deliveries.get_mut(&key) {
            queued.parked_until = Duration::ZERO;
        }
        if let Some(queue) = self.chats.get_mut(&chat) {
            queue.parked.remove(&key);
        }
    }

    /// The permit of a chat has been used.
    pub fn ended(&mut self, chat: ChatId, end: SendEnd, now: Duration) {
        self.window.end(now, &BOT_LIMITS);
        let Some(queue) = self.chats.get_mut(&chat) else {
            return;
        };
        queue.window.end(now, chat_limits(chat));
        let Some(key) = queue.sending.take() else {
            return;
        };
        let queued = self.deliveries.get(&key);
        if queued.is_some_and(|queued| matches!(queued.kind, DeliveryKind::Progress { .. })) {
            queue.progress_ended = Some(now);
        }
        match end {
            SendEnd::Finished => {
                queue.begun = queue.begun.filter(|begun| *begun != key);
                queue.failures = 0;
                self.deliveries.remove(&key);
            }
            SendEnd::More => queue.failures = 0,
            SendEnd::Later(wait) => queue.not_before = now + wait,
            SendEnd::Parked(wait) => {
                queue.begun = queue.begun.filter(|begun| *begun != key);
                if let Some(queued) = self.deliveries.get_mut(&key) {
                    queued.parked_until = now + wait;
                }
            }
            SendEnd::Failed(jitter) => {
                queue.not_before = now + shortened(backoff(queue.failures, jitter), self.pace);
                queue.failures = queue.failures.saturating_add(1);
            }
        }
        self.enqueue(key);
    }

    /// A chat that was to be left alone for a while, or a topic of it, may be tried again.
    pub fn open(&mut self, chat: ChatId) {
        let Some(queue) = self.chats.get_mut(&chat) else {
            return;
        };
        queue.not_before = Duration::ZERO;
        for key in queue.parked.keys().copied().collect::<Vec<_>>() {
            self.unpark(chat, key);
        }
    }

    /// A chat has another id now: its deliveries join those of the new id. None of them may be under
    /// way.
    pub fn moved(&mut self, from: ChatId, to: ChatId) {
        if from == to {
            return;
        }
        let Some(old) = self.chats.remove(&from) else {
            return;
        };
        let joined = self.chats.entry(to).or_default();
        joined.begun = joined.begun.or(old.begun);
        let replied = joined.replied;
        for key in old.keys() {
            if let Some(queued) = self.deliveries.get_mut(&key) {
                queued.chat = to;
                // The supergroup counts for itself, and has other topics.
                queued.came_after = queued.came_after.map(|_| replied);
                queued.parked_until = Duration::ZERO;
            }
            self.enqueue(key);
        }
    }

    /// Whether a chat action may go out now: there is plenty of room, and nothing that matters more is
    /// under way or waits for that chat.
    pub fn has_room_for_chat_action(&self, chat: ChatId, now: Duration) -> bool {
        let is_quiet = self.chats.get(&chat).is_none_or(|queue| {
            queue.sending.is_none() && queue.replies.is_empty() && queue.not_before <= now
        });
        is_quiet
            && self
                .bot_free_at(Rank::ChatAction)
                .is_some_and(|at| at <= now)
    }

    /// A chat action is under way. It counts for the bot. Until it has ended no reaction of the agent
    /// goes to that chat, so that the agent's reaction is the later one.
    pub fn chat_action_begun(&mut self, chat: ChatId) {
        self.window.under_way += 1;
        self.chats.entry(chat).or_default().chat_actions += 1;
    }

    /// A chat action has ended.
    pub fn chat_action_ended(&mut self, chat: ChatId, now: Duration) {
        self.window.end(now, &BOT_LIMITS);
        if let Some(queue) = self.chats.get_mut(&chat) {
            queue.chat_actions = queue.chat_actions.saturating_sub(1);
        }
    }

    /// Takes the right to send a command reply, which counts as a reply does. `false` if there is no
    /// room now.
    pub fn command_reply_begun(&mut self, chat: ChatId, now: Duration) -> bool {
        self.chats.entry(chat).or_default();
        if self.command_reply_due(chat).is_none_or(|at| at > now) {
            return false;
        }
        self.window.under_way += 1;
        if let Some(queue) = self.chats.get_mut(&chat) {
            queue.window.under_way += 1;
        }
        true
    }

    /// A command reply has ended.
    pub fn command_reply_ended(&mut self, chat: ChatId, now: Duration) {
        self.window.end(now, &BOT_LIMITS);
        if let Some(queue) = self.chats.get_mut(&chat) {
            queue.window.end(now, chat_limits(chat));
        }
    }

    /// When there is room for a command reply; `None` if something has to end first.
    pub fn command_reply_due(&self, chat: ChatId) -> Option<Duration> {
        self.free_at(chat, Rank::Reply)
    }

    /// Whether a delivery to a chat is under way.
    pub fn is_sending_to(&self, chat: ChatId) -> bool {
        let queue = self.chats.get(&chat);
        queue.is_some_and(|queue| queue.sending.is_some())
    }

    /// Whether a delivery is under way.
    pub fn is_sending(&self, key: QueueKey) -> bool {
        let queued = self.deliveries.get(&key);
        let queue = queued.and_then(|queued| self.chats.get(&queued.chat));
        queue.is_some_and(|queue| queue.sending == Some(key))
    }

    fn free_at(&self, chat: ChatId, rank: Rank) -> Option<Duration> {
        let queue = self.chats.get(&chat)?;
        let mut free = queue.not_before.max(self.bot_free_at(rank)?);
        if rank == Rank::Progress
            && let Some(ended) = queue.progress_ended
        {
            free = free.max(ended + shortened(progress_interval(chat), self.pace));
        }
        match self.pace {
            Pace::Off => Some(free),
            Pace::Normal => chat_limits(chat).iter().try_fold(free, |free, &limit| {
                let at = queue.window.free_at(limit, rank.leaves_to_chat(limit.0))?;
                Some(free.max(at))
            }),
        }
    }

    fn bot_free_at(&self, rank: Rank) -> Option<Duration> {
        match self.pace {
            Pace::Off => Some(Duration::ZERO),
            Pace::Normal => BOT_LIMITS.iter().try_fold(Duration::ZERO, |free, &limit| {
                let at = self.window.free_at(limit, rank.leaves_to_bot())?;
                Some(free.max(at))
            }),
        }
    }
}

#[cfg(test)]
mod tests;
