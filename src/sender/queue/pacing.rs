//! How much may be sent: Telegram's budgets as we keep below them, and who leaves how much of them to
//! whom. Pure.
//!
//! The exact limits are unknown and adaptive (telegram.md 4): about one message a second per chat
//! with short bursts, 20 a minute per group with edits counted, 30 a second per bot. A 429 is
//! obeyed by the flood gate; this keeps it from happening. A request counts from the moment at which
//! it is allowed until the limit's span after its end, because nobody knows when in between the
//! server has counted it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Pace;
use crate::ids::ChatId;

/// At most so many requests in any such span.
pub(super) type Limit = (usize, Duration);

pub(super) const BOT: [Limit; 1] = [(29, Duration::from_secs(1))];
const PRIVATE: [Limit; 1] = [(3, Duration::from_secs(3))];
const GROUP: [Limit; 2] = [(3, Duration::from_secs(3)), (18, Duration::from_secs(60))];
/// How long the progress of a chat is kept apart.
const PROGRESS_PRIVATE: Duration = Duration::from_secs(3);
const PROGRESS_GROUP: Duration = Duration::from_secs(6);

/// Requests in the order of importance; the numbers are what each leaves free for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Reply,
    Progress,
    Reaction,
    Gesture,
}

impl Rank {
    pub(super) fn leaves_to_bot(self) -> usize {
        match self {
            Self::Reply => 0,
            Self::Progress => 4,
            Self::Reaction => 8,
            Self::Gesture => 14,
        }
    }

    /// Of each limit of a chat, whose largest numbers are 3 and 18.
    pub(super) fn leaves_to_chat(self, most: usize) -> usize {
        match self {
            Self::Reply => 0,
            Self::Progress | Self::Reaction | Self::Gesture => most / 3,
        }
    }
}

/// The requests that may still count at the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) under_way: usize,
    /// When those ended that are over, oldest first.
    ended: VecDeque<Duration>,
}

impl Window {
    /// When one more request leaves `left` of a limit free; `None` if first another one has to end.
    pub(super) fn free_at(&self, (most, span): Limit, left: usize) -> Option<Duration> {
        // So many of those that have ended may still count.
        let room = most.checked_sub(left + 1 + self.under_way)?;
        let must_go = self.ended.len().checked_sub(room + 1);
        let last = must_go.and_then(|index| self.ended.get(index));
        Some(last.map_or(Duration::ZERO, |ended| *ended + span))
    }

    pub(super) fn end(&mut self, now: Duration, limits: &[Limit]) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended.push_back(now);
        let most = limits.iter().map(|(most, _)| *most).max().unwrap_or(0);
        while self.ended.len() > most {
            self.ended.pop_front();
        }
    }
}

/// Groups have negative ids.
pub(super) fn limits(chat: ChatId) -> &'static [Limit] {
    if chat.0 < 0 { &GROUP } else { &PRIVATE }
}

pub(super) fn apart(chat: ChatId) -> Duration {
    if chat.0 < 0 {
        PROGRESS_GROUP
    } else {
        PROGRESS_PRIVATE
    }
}

/// 1, 2, 4 … 60 seconds, with up to a quarter of jitter.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let seconds = f64::from(1u32 << failures.min(6)).min(60.0);
    Duration::from_secs_f64(seconds * (1.0 + jitter / 4.0))
}

/// A pause of our own: a tenth of it without a pace, in tests.
pub(crate) fn shortened(pause: Duration, pace: Pace) -> Duration {
    match pace {
        Pace::Normal => pause,
        Pace::Off => pause / 10,
    }
}
