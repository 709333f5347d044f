//! The deliveries that wait for one chat, and which of them may come next. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::MessageId;
use crate::sender::queue::pacing::{Rank, RequestWindow};
use crate::sender::queue::{DeliveryKind, MOST_BEFORE_SHORT, QueueKey};

#[derive(Clone, Debug, Default)]
pub(super) struct ChatQueue {
    pub(super) replies: BTreeSet<QueueKey>,
    /// Those of one message, each with the count of messages of replies when it came.
    pub(super) short: BTreeMap<QueueKey, u64>,
    /// Those whose topic is closed, and until when.
    pub(super) parked: BTreeMap<QueueKey, Duration>,
    /// The newest progress update of each turn, by session and turn.
    pub(super) progress: BTreeMap<(u16, i64), QueueKey>,
    /// The newest reaction on each message.
    pub(super) reactions: BTreeMap<MessageId, QueueKey>,
    pub(super) sending: Option<QueueKey>,
    /// The reply of which a part may be out: only an overdue short one comes between its messages.
    pub(super) begun: Option<QueueKey>,
    /// How many messages of replies have gone to this chat.
    pub(super) replied: u64,
    pub(super) chat_actions: usize,
    pub(super) not_before: Duration,
    pub(super) failures: u32,
    pub(super) progress_ended: Option<Duration>,
    pub(super) window: RequestWindow,
    /// The last permit of this chat, as a count of permits.
    pub(super) served: u64,
}

impl ChatQueue {
    /// Takes the progress update of a turn out whose place a reply takes.
    pub(super) fn take_progress_before(&mut self, turn: i64, reply: QueueKey) -> Option<QueueKey> {
        let turn = (reply.session, turn);
        let is_older = self.progress.get(&turn).is_some_and(|at| *at < reply);
        is_older.then(|| self.progress.remove(&turn)).flatten()
    }

    pub(super) fn remove(&mut self, key: QueueKey, kind: DeliveryKind) {
        self.parked.remove(&key);
        match kind {
            DeliveryKind::Reply { .. } => {
                self.replies.remove(&key);
                self.short.remove(&key);
                self.begun = self.begun.filter(|begun| *begun != key);
            }
            DeliveryKind::Progress { turn } => {
                remove_if(&mut self.progress, &(key.session, turn), key);
            }
            DeliveryKind::Reaction { message } => remove_if(&mut self.reactions, &message, key),
        }
    }

    pub(super) fn keys(&self) -> Vec<QueueKey> {
        let replies = self.replies.iter().chain(self.progress.values());
        replies.chain(self.reactions.values()).copied().collect()
    }

    /// The deliveries that may come next, the more important first.
    pub(super) fn choices(&self) -> impl Iterator<Item = (Rank, QueueKey)> {
        let waits = |key: &&QueueKey| !self.parked.contains_key(*key);
        let overdue = self.short.iter().find(|(key, came_after)| {
            waits(key) && self.replied - **came_after >= MOST_BEFORE_SHORT
        });
        let overdue = overdue.map(|(key, _)| *key);
        let begun = self.begun.filter(|begun| self.replies.contains(begun));
        let reply = overdue
            .or(begun)
            .or_else(|| self.replies.iter().find(waits).copied());
        let is_first = reply.is_none();
        let progress = self.progress.values().filter(waits).min();
        let progress = progress.filter(|_| is_first);
        let reaction = self.reactions.values().filter(waits).min();
        let reaction = reaction.filter(|_| is_first && self.chat_actions == 0);
        let is_free = self.sending.is_none();
        [
            reply.map(|key| (Rank::Reply, key)),
            progress.map(|key| (Rank::Progress, *key)),
            reaction.map(|key| (Rank::Reaction, *key)),
        ]
        .into_iter()
        .flatten()
        .filter(move |_| is_free)
    }
}

/// Keeps the newer one under a key, and returns the other.
pub(super) fn keep_newer<K: Ord>(
    all: &mut BTreeMap<K, QueueKey>,
    under: K,
    new: QueueKey,
) -> Option<QueueKey> {
    let kept = all.entry(under).or_insert(new);
    let (older, newer) = ((*kept).min(new), (*kept).max(new));
    *kept = newer;
    (older != newer).then_some(older)
}

fn remove_if<K: Ord>(all: &mut BTreeMap<K, QueueKey>, under: &K, key: QueueKey) {
    if all.get(under) == Some(&key) {
        all.remove(under);
    }
}
