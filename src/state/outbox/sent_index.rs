//! Which of our messages stand in which topic: a reaction names its message and chat only.
//!
//! An index over `sent/`, read at the first question about a session and kept current by the sender. Messages of
//! private chats without topics are not in it: a reaction on them says all that matters.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{Address, ChatId, MessageId, SessionId, TopicId};
use crate::state::outbox::{DeliveryOutcome, FinishedDelivery, Outbox};
use crate::store::StoreError;

/// Most messages of one session that are known; the oldest are forgotten.
const MOST: usize = 10_000;

/// The index of one bot.
#[derive(Debug, Default)]
pub struct SentIndex(Mutex<BTreeMap<SessionId, SentOfSession>>);

#[derive(Debug, Default)]
struct SentOfSession {
    topics: HashMap<(ChatId, MessageId), Option<TopicId>>,
    by_age: VecDeque<(ChatId, MessageId)>,
}

impl SentOfSession {
    fn add(&mut self, finished: &FinishedDelivery) {
        let Address {
            chat_id, topic_id, ..
        } = finished.delivery.address;
        let DeliveryOutcome::Delivered { message_ids, .. } = &finished.outcome else {
            return;
        };
        if chat_id.0 > 0 && topic_id.is_none() {
            return;
        }
        for message in message_ids {
            let place = (chat_id, *message);
            if self.topics.insert(place, topic_id).is_none() {
                self.by_age.push_back(place);
            }
        }
        while self.by_age.len() > MOST {
            let oldest = self.by_age.pop_front();
            oldest.and_then(|oldest| self.topics.remove(&oldest));
        }
    }
}

impl SentIndex {
    /// A delivery has ended; its record is on disk.
    pub fn note(&self, finished: &FinishedDelivery) {
        // A session that was not asked about is read from the disk when it is.
        if let Some(session) = self.sessions().get_mut(&finished.delivery.session) {
            session.add(finished);
        }
    }

    /// The address of a message that a session has sent to a group or topic. `at` is the chat, without its topic.
    pub fn find(
        &self,
        session: &SessionId,
        outbox: &Outbox,
        at: Address,
        message: MessageId,
    ) -> Result<Option<Address>, StoreError> {
        let mut sessions = self.sessions();
        if !sessions.contains_key(session) {
            let mut index = SentOfSession::default();
            outbox.each_sent(|finished| {
                if finished.delivery.address.bot_id == at.bot_id {
                    index.add(finished);
                }
            })?;
            sessions.insert(session.clone(), index);
        }
        let index = sessions.get(session);
        let topic = index.and_then(|index| index.topics.get(&(at.chat_id, message)));
        Ok(topic.map(|topic_id| Address {
            topic_id: *topic_id,
            ..at
        }))
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, SentOfSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
