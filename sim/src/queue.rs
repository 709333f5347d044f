//! One bot's update queue, as `getUpdates` sees it. Pure: the time comes in.
//!
//! An offset confirms when it arrives, not when the answer is received. Expired updates are gone for good.

use std::collections::VecDeque;

/// Telegram keeps an update for a day.
pub(crate) const KEPT_SECONDS: i64 = 86_400;
/// One answer is cut at about this size.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// More waiting updates than this are not kept.
const MAX_UPDATES: usize = 100_000;
/// Offsets up to this far behind the tail are honoured; further ones are ignored.
const MAX_AHEAD: i64 = 10;
/// Offsets further before the head are ignored.
const MAX_BEHIND: i64 = 100_000;
/// How many confirmed updates are remembered, for tests that make them come again.
const REMEMBERED: usize = 100_000;

/// One update.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: i64,
    /// JSON text, verbatim.
    pub(crate) body: String,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

#[derive(Debug)]
pub(crate) struct UpdateQueue {
    events: VecDeque<Event>,
    /// The id that the next update gets.
    tail: i64,
    confirmed: VecDeque<Event>,
    /// Confirmed updates that are served once more, whatever the offset says.
    replays: VecDeque<Event>,
}

impl UpdateQueue {
    pub(crate) fn new(first_id: i64) -> Self {
        Self {
            events: VecDeque::new(),
            tail: first_id,
            confirmed: VecDeque::new(),
            replays: VecDeque::new(),
        }
    }

    pub(crate) fn tail(&self) -> i64 {
        self.tail
    }

    /// Adds an update and returns its id, or nothing when it is too old or the queue is full.
    pub(crate) fn push(
        &mut self,
        now: i64,
        expires_at: i64,
        body: impl FnOnce(i64) -> String,
    ) -> Option<i64> {
        let id = self.tail;
        self.push_at(now, expires_at, id, body(id))
    }

    /// Adds an update under an id that is not below the tail.
    pub(crate) fn push_at(
        &mut self,
        now: i64,
        expires_at: i64,
        id: i64,
        body: String,
    ) -> Option<i64> {
        if expires_at <= now || self.events.len() >= MAX_UPDATES {
            return None;
        }
        let id = id.max(self.tail);
        self.tail = id + 1;
        self.events.push_back(Event {
            id,
            body,
            expires_at,
        });
        Some(id)
    }

    /// Carries out one request: confirms, then returns what it gets (ids and bodies).
    pub(crate) fn take(&mut self, now: i64, offset: i64, limit: usize) -> Vec<Event> {
        self.expire(now);
        let head = self.events.front().map_or(self.tail, |event| event.id);
        let from = match offset {
            0 => head,
            ..0 => self.tail.saturating_add(offset).max(head),
            _ if offset > self.tail + MAX_AHEAD || offset < head - MAX_BEHIND => head,
            _ => offset,
        };
        while self.events.front().is_some_and(|event| event.id < from) {
            self.confirmed.extend(self.events.pop_front());
        }
        while self.confirmed.len() > REMEMBERED {
            self.confirmed.pop_front();
        }
        let mut batch = Vec::new();
        let mut size = 0;
        while batch.len() < limit {
            let Some(event) = self.replays.pop_front() else {
                break;
            };
            size += event.body.len();
            batch.push(event);
        }
        for event in self.events.iter().take(limit - batch.len()) {
            size += event.body.len();
            if size > MAX_ANSWER_BYTES && !batch.is_empty() {
                break;
            }
            batch.push(event.clone());
        }
        batch
    }

    /// Makes the newest `count` confirmed updates come again; returns how many there were.
    pub(crate) fn replay(&mut self, count: usize) -> usize {
        let skip = self.confirmed.len().saturating_sub(count);
        let before = self.replays.len();
        self.replays
            .extend(self.confirmed.iter().skip(skip).cloned());
        self.replays.len() - before
    }

    /// The next update gets `next`. Going down forgets what waits, because the real server restarts only an empty
    /// queue; returns how many were forgotten.
    pub(crate) fn restart(&mut self, next: i64) -> usize {
        let forgotten = if next < self.tail { self.clear() } else { 0 };
        self.tail = next;
        forgotten
    }

    pub(crate) fn clear(&mut self) -> usize {
        let count = self.events.len();
        self.events.clear();
        self.replays.clear();
        count
    }

    pub(crate) fn waiting(&self, now: i64) -> usize {
        self.events
            .iter()
            .filter(|event| event.expires_at > now)
            .count()
    }

    pub(crate) fn confirmed_ids(&self) -> Vec<i64> {
        self.confirmed.iter().map(|event| event.id).collect()
    }

    fn expire(&mut self, now: i64) {
        self.events.retain(|event| event.expires_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_takes_no_more_and_spends_no_id() {
        let mut queue = UpdateQueue::new(1);
        while queue.push(0, 10, |_| String::new()).is_some() {}
        assert_eq!((queue.waiting(0), queue.tail()), (MAX_UPDATES, 100_001));
        queue.take(0, 2, 1);
        assert_eq!(queue.push(0, 10, |_| String::new()), Some(100_001));
    }
}
