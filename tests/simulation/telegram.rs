//! Telegram as far as the model needs it: a queue that an arriving offset confirms, and chats that
//! keep what was sent whether or not the answer is heard.

use std::collections::BTreeMap;
use std::time::Duration;

use telepost::ids::{ChatId, MessageId, UpdateId};
use telepost::state::outbox::delivery::REPEAT_MARK;
use telepost::telegram::error::ApiError;

use crate::action::Answer;

/// How long an update waits for a poll.
const EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// Most updates of one answer; small, so that several are needed.
const BATCH: usize = 6;

#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) id: i64,
    pub(crate) raw: String,
    pub(crate) at: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Telegram {
    pub(crate) queue: Vec<Queued>,
    /// The last confirmed update.
    last_confirmed: Vec<Queued>,
    /// Given out once more, whatever the offset says.
    again: Vec<Queued>,
    /// Every update that is gone because a poll confirmed it.
    pub(crate) confirmed: Vec<UpdateId>,
    pub(crate) next_id: i64,
    pub(crate) next_message: i64,
    pub(crate) chats: BTreeMap<ChatId, BTreeMap<MessageId, String>>,
    /// How often each line was sent without the mark, over all chats.
    pub(crate) unmarked: BTreeMap<String, u32>,
    /// How often each line was sent at all.
    pub(crate) sent: BTreeMap<String, u32>,
    closed: BTreeMap<ChatId, Duration>,
}

/// A sent message.
#[derive(Clone, Debug)]
pub(crate) enum Request<'a> {
    Text(&'a str),
    Edit(MessageId, &'a str),
    React(MessageId),
}

impl Telegram {
    pub(crate) fn new() -> Self {
        Self {
            queue: Vec::new(),
            last_confirmed: Vec::new(),
            again: Vec::new(),
            confirmed: Vec::new(),
            next_id: 500_000,
            next_message: 1,
            chats: BTreeMap::new(),
            unmarked: BTreeMap::new(),
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
        }
    }

    pub(crate) fn enqueue(&mut self, at: Duration, raw: impl FnOnce(i64) -> String) -> UpdateId {
        let id = self.next_id;
        self.next_id += 1;
        let raw = raw(id);
        self.queue.push(Queued { id, raw, at });
        UpdateId(id)
    }

    /// `getUpdates`: confirms on arrival, then gives out a batch.
    pub(crate) fn updates(&mut self, offset: Option<i64>, now: Duration) -> Vec<String> {
        self.queue
            .retain(|update| now.saturating_sub(update.at) < EXPIRY);
        // An offset far past the tail is a leftover from before the ids began anew.
        if let Some(offset) = offset.filter(|offset| *offset <= self.next_id + 10) {
            let (confirmed, rest): (Vec<_>, Vec<_>) =
                self.queue.drain(..).partition(|update| update.id < offset);
            self.queue = rest;
            self.confirmed
                .extend(confirmed.iter().map(|update| UpdateId(update.id)));
            if !confirmed.is_empty() {
                self.last_confirmed = confirmed;
            }
        }
        let mut again = std::mem::take(&mut self.again);
        again.retain(|update| now.saturating_sub(update.at) < EXPIRY);
        again
            .iter()
            .chain(&self.queue)
            .take(BATCH)
            .map(|update| update.raw.clone())
            .collect()
    }

    pub(crate) fn forget_confirmation(&mut self) {
        self.again = std::mem::take(&mut self.last_confirmed);
    }

    /// Only after a week in which nothing waited.
    pub(crate) fn restart_ids(&mut self, base: u16) {
        self.again.clear();
        self.last_confirmed.clear();
        // Far from all that was before: each run uses few ids.
        self.next_id = i64::from(base) * 1000 + 500_000;
    }

    pub(crate) fn send(
        &mut self,
        chat: ChatId,
        request: &Request<'_>,
        answer: Answer,
        now: Duration,
    ) -> Result<MessageId, ApiError> {
        let refused = |code, description: &str, retry_after| {
            Err(ApiError::Refused {
                code,
                description: description.to_owned(),
                retry_after,
                migrate_to: None,
            })
        };
        if let Some(&until) = self.closed.get(&chat).filter(|until| **until > now) {
            return refused(429, "Too Many Requests", Some(until.saturating_sub(now)));
        }
        match answer {
            Answer::Ok => Ok(self.apply(chat, request)),
            Answer::Lost { applied } => {
                if applied {
                    self.apply(chat, request);
                }
                Err(ApiError::Doubt("the answer was lost".to_owned()))
            }
            Answer::ServerError { applied } => {
                if applied {
                    self.apply(chat, request);
                }
                refused(500, "Internal Server Error", None)
            }
            Answer::Flood { seconds } => {
                let wait = Duration::from_secs(seconds.into());
                self.closed.insert(chat, now + wait);
                refused(429, "Too Many Requests", Some(wait))
            }
            Answer::Refused => refused(400, "Bad Request: message text is empty", None),
            Answer::Blocked => refused(403, "Forbidden: bot was blocked by the user", None),
            Answer::ReplyGone => refused(400, "Bad Request: message to be replied not found", None),
            Answer::Unreachable => Err(ApiError::Unreachable("connection refused".to_owned())),
            Answer::Unauthorized => refused(401, "Unauthorized", None),
        }
    }

    fn apply(&mut self, chat: ChatId, request: &Request<'_>) -> MessageId {
        let messages = self.chats.entry(chat).or_default();
        match *request {
            Request::React(message) => message,
            Request::Text(text) => {
                let id = MessageId(self.next_message);
                self.next_message += 1;
                messages.insert(id, text.to_owned());
                self.count(text);
                id
            }
            Request::Edit(id, text) => {
                messages.insert(id, text.to_owned());
                self.count(text);
                id
            }
        }
    }

    fn count(&mut self, text: &str) {
        let body = text.strip_prefix(REPEAT_MARK);
        for line in body.unwrap_or(text).lines() {
            *self.sent.entry(line.to_owned()).or_default() += 1;
            if body.is_none() {
                *self.unmarked.entry(line.to_owned()).or_default() += 1;
            }
        }
    }
}
