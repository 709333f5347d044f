//! When a chat may be sent to: our own pace below Telegram's budgets. Pure.
//!
//! The exact limits are unknown and adaptive (telegram.md 4): about one message a second per chat
//! with short bursts, 20 a minute per group with edits counted, 30 a second per bot. A 429 is
//! obeyed by the flood gate; this keeps it from happening.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Pace;
use crate::ids::ChatId;

/// Tokens that come back at a steady rate.
#[derive(Clone, Debug)]
struct Bucket {
    capacity: f64,
    per_second: f64,
    tokens: f64,
    /// When `tokens` was counted, since the schedule began.
    at: Duration,
}

impl Bucket {
    fn new(capacity: f64, per_second: f64, at: Duration) -> Self {
        Self {
            capacity,
            per_second,
            tokens: capacity,
            at,
        }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.capacity);
        self.at = self.at.max(now);
    }

    fn wait(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}

/// The pace of one bot.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    bot: Bucket,
    chats: BTreeMap<ChatId, Bucket>,
}

impl Schedule {
    /// A bot that has sent nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            bot: Bucket::new(5.0, 25.0, Duration::ZERO),
            chats: BTreeMap::new(),
        }
    }

    /// Takes the right to send one message to a chat now, or says how long to wait for it. `now` is
    /// the time since the schedule began, on a monotonic clock.
    pub fn take(&mut self, chat: ChatId, now: Duration) -> Result<(), Duration> {
        match self.pace {
            Pace::Off => return Ok(()),
            Pace::Normal => {}
        }
        let bucket = self.chats.entry(chat).or_insert_with(|| {
            // Groups have negative ids.
            let (capacity, per_second) = if chat.0 < 0 { (4.0, 0.3) } else { (4.0, 1.0) };
            Bucket::new(capacity, per_second, now)
        });
        bucket.refill(now);
        self.bot.refill(now);
        let wait = bucket.wait().max(self.bot.wait());
        if wait > Duration::ZERO {
            return Err(wait);
        }
        bucket.tokens -= 1.0;
        self.bot.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends as fast as allowed and returns how many went out within `span` seconds.
    fn sent_within(chat: i64, span: u64) -> usize {
        let mut schedule = Schedule::new(Pace::Normal);
        let mut now = Duration::ZERO;
        let mut sent = 0;
        while now < Duration::from_secs(span) {
            match schedule.take(ChatId(chat), now) {
                Ok(()) => sent += 1,
                Err(wait) => now += wait + Duration::from_micros(1),
            }
        }
        sent
    }

    #[test]
    fn a_private_chat_gets_a_short_burst_and_then_one_a_second() {
        assert_eq!(sent_within(11, 60), 63);
    }

    #[test]
    fn a_group_gets_about_twenty_a_minute() {
        assert!((18..=22).contains(&sent_within(-11, 60)));
    }

    #[test]
    fn off_means_no_pace_of_our_own() {
        let mut schedule = Schedule::new(Pace::Off);
        assert!((0..1000).all(|_| schedule.take(ChatId(11), Duration::ZERO).is_ok()));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_thirty_of_one_bot(chats in proptest::collection::vec(1i64..200, 200)) {
            let mut schedule = Schedule::new(Pace::Normal);
            let mut now = Duration::ZERO;
            let mut times = Vec::new();
            for chat in chats {
                while let Err(wait) = schedule.take(ChatId(chat), now) {
                    now += wait + Duration::from_micros(1);
                }
                times.push(now);
            }
            for window in times.windows(31) {
                prop_assert!(window[30].saturating_sub(window[0]) >= Duration::from_secs(1));
            }
        }
    }
}
