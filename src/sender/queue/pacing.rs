//! How much may be sent: our own limits below Telegram's, and how much of them each rank leaves to the
//! ranks above it. Pure.
//!
//! The exact limits are unknown and adaptive (docs/facts/telegram.md 4): about one message a second per chat
//! with short bursts, 20 a minute per group with edits counted, 30 a second per bot. The rate limits of
//! [`crate::state::bots::rate_limits`] obey a 429; the pace keeps it from happening. A request counts
//! from the moment at which it is allowed until the limit's span after its end, because the server may
//! count it at any time in between.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Pace;
use crate::ids::ChatId;

/// At most so many requests in any such span.
pub(super) type Limit = (usize, Duration);

pub(super) const BOT_LIMITS: [Limit; 1] = [(29, Duration::from_secs(1))];
const PRIVATE_LIMITS: [Limit; 1] = [(3, Duration::from_secs(3))];
const GROUP_LIMITS: [Limit; 2] = [(3, Duration::from_secs(3)), (18, Duration::from_secs(60))];
/// Least time between two progress updates in a chat.
const PROGRESS_PRIVATE: Duration = Duration::from_secs(3);
const PROGRESS_GROUP: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Reply,
    Progress,
    Reaction,
    ChatAction,
}

impl Rank {
    /// How much of the bot's limit a rank leaves free for the ranks above it.
    pub(super) fn leaves_to_bot(self) -> usize {
        match self {
            Self::Reply => 0,
            Self::Progress => 4,
            Self::Reaction => 8,
            Self::ChatAction => 14,
        }
    }

    /// The same for a limit of a chat.
    pub(super) fn leaves_to_chat(self, most: usize) -> usize {
        match self {
            Self::Reply => 0,
            Self::Progress | Self::Reaction | Self::ChatAction => most / 3,
        }
    }
}

/// The requests that may still count at the server.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestWindow {
    pub(super) under_way: usize,
    /// When finished requests ended, oldest first.
    ended: VecDeque<Duration>,
}

impl RequestWindow {
    /// When one more request leaves `left` of a limit free; `None` if another one has to end first.
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
pub(super) fn chat_limits(chat: ChatId) -> &'static [Limit] {
    if chat.0 < 0 {
        &GROUP_LIMITS
    } else {
        &PRIVATE_LIMITS
    }
}

pub(super) fn progress_interval(chat: ChatId) -> Duration {
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

/// A pause of our own; without a pace, as in tests, a tenth of it.
pub(crate) fn shortened(pause: Duration, pace: Pace) -> Duration {
    match pace {
        Pace::Normal => pause,
        Pace::Off => pause / 10,
    }
}
