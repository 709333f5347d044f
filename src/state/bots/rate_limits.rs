//! Rate limits: after a 429 nothing at all goes to that chat until the server's time is over.
//!
//! On disk as `bots/<bot_id>/gates.json` with the wall-clock time and the wait that the server asked
//! for; while the gateway runs, time is counted on the monotonic clock. A time in the future (the clock
//! was set back) counts as now: the wait is never skipped and never longer than the server asked.
//!
//! A chat that refuses messages (the person blocked the bot, or removed it) is blocked: it is limited
//! with a reason for [`BLOCKED_FOR`] at a time, and opens earlier when a message comes from it. It stays
//! in the file until a message comes from it or goes to it, so that `status` names it even when nothing
//! waits. A closed topic is blocked in the same way, without the rest of its chat. When several chats are limited at once, the bot as a whole pauses (docs/facts/telegram.md 4).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::ids::{BotId, ChatId, TopicId};
use crate::state::StateDir;
use crate::store::{ReadError, StateFile, Step, StoreError};

/// How long a blocked chat is left alone before it is tried again.
pub const BLOCKED_FOR: Duration = Duration::from_secs(3600);
/// When this many chats are limited within [`AT_ONCE`], the bot is.
const SEVERAL: usize = 3;
const AT_ONCE: Duration = Duration::from_secs(5);

/// The limits of a bot on disk, also those that are over by now.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveLimits {
    /// The limited chats; with a reason, the blocked ones.
    #[serde(rename = "gates")]
    pub chats: Vec<ChatLimit>,
    /// The closed topics; version 0.1 does not know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<ClosedTopic>,
    /// The limit of the whole bot.
    bot: Option<Pause>,
}

/// A topic that takes no messages.
#[serde_with::skip_serializing_none]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedTopic {
    /// Its chat.
    pub chat_id: ChatId,
    /// The topic; absent for General.
    pub topic_id: Option<TopicId>,
    /// How long it is left alone.
    #[serde(flatten)]
    pub pause: Pause,
}

/// The reason why nothing goes to a closed topic.
pub const TOPIC_IS_CLOSED: &str = "the topic is closed (TOPIC_CLOSED)";

/// The limit of one chat.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatLimit {
    /// The chat.
    pub chat_id: ChatId,
    /// Its time.
    #[serde(flatten)]
    pub pause: Pause,
    /// The server's words, if the chat is blocked.
    pub reason: Option<String>,
}

/// A time during which nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When the server said so.
    pub closed_at: Timestamp,
    /// The wait that it asked for, in milliseconds.
    pub retry_after_ms: u64,
}

impl Pause {
    /// When it is over, as seen at `now`; `None` if it is over.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let closed_at = self.closed_at.min(now);
        let opens = closed_at.plus(Duration::from_millis(self.retry_after_ms));
        (opens > now).then_some(opens)
    }
}

/// Until when nothing goes to a chat, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUntil {
    /// When the limit ends.
    pub opens: Timestamp,
    /// The server's words, if the chat is blocked.
    pub reason: Option<String>,
}

impl ActiveLimits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chats.is_empty() && self.topics.is_empty() && self.bot.is_none()
    }

    /// Until when nothing goes to a chat, or a topic of it; `None` if messages may go there.
    pub fn held(&self, chat: ChatId, topic: Option<TopicId>, now: Timestamp) -> Option<HeldUntil> {
        let chats = self.chats.iter().filter(|limit| limit.chat_id == chat);
        let chats = chats.map(|limit| (limit.pause, limit.reason.clone()));
        let bot = self.bot.map(|pause| (pause, None));
        let is_same = |closed: &&ClosedTopic| (closed.chat_id, closed.topic_id) == (chat, topic);
        let topics = self.topics.iter().filter(is_same);
        let topics = topics.map(|closed| (closed.pause, Some(TOPIC_IS_CLOSED.to_owned())));
        let held = chats
            .chain(bot)
            .chain(topics)
            .filter_map(|(pause, reason)| {
                let opens = pause.opens_at(now)?;
                Some(HeldUntil { opens, reason })
            });
        held.max_by_key(|held| held.opens)
    }
}

/// Reads the limits of a bot.
pub fn read_limits(
    state: &StateDir,
    bot: BotId,
    now: Timestamp,
) -> Result<ActiveLimits, ReadError> {
    Ok(limits_file(state, bot).read(now)?.unwrap_or_default())
}

/// The rate limits of one bot while the gateway runs.
#[derive(Debug)]
pub struct RateLimits {
    state: StateDir,
    bot: BotId,
    clock: Clock,
    /// With the moment at which each ends.
    chats: BTreeMap<ChatId, (ChatLimit, Instant)>,
    topics: BTreeMap<(ChatId, Option<TopicId>), (ClosedTopic, Instant)>,
    whole_bot: Option<(Pause, Instant)>,
    /// When each chat was last limited by a 429.
    last_429: BTreeMap<ChatId, Instant>,
}

impl RateLimits {
    /// Reads what is on disk. A damaged file counts as no limits: the server will ask again.
    pub fn load(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Self, ReadError> {
        let now = clock.now();
        let on_disk = limits_file(state, bot).read_or_missing(now)?;
        let on_disk = on_disk.unwrap_or_default();
        let end = |pause: &Pause| {
            let left = pause
                .opens_at(now)
                .map_or(Duration::ZERO, |at| at.since(now));
            clock.instant() + left
        };
        let chats = on_disk.chats.into_iter();
        let chats = chats.map(|limit| (limit.chat_id, (limit.clone(), end(&limit.pause))));
        let topics = on_disk.topics.into_iter().map(|closed| {
            let place = (closed.chat_id, closed.topic_id);
            (place, (closed, end(&closed.pause)))
        });
        Ok(Self {
            topics: topics.collect(),
            chats: chats.collect(),
            whole_bot: on_disk.bot.map(|pause| (pause, end(&pause))),
            last_429: BTreeMap::new(),
            state: state.clone(),
            bot,
            clock: clock.clone(),
        })
    }

    /// How long nothing may go to a chat; `None` if messages may go there.
    pub fn wait(&self, chat: ChatId) -> Option<Duration> {
        let own = self.chats.get(&chat).map(|(_, opens)| *opens);
        let bot = self.whole_bot.map(|(_, opens)| opens);
        self.time_left(own.into_iter().chain(bot).max()?)
    }

    /// Limits a chat after a 429, durably. The limit holds in memory even if the disk is full.
    pub fn limit(&mut self, chat: ChatId, retry_after: Duration) -> Result<(), StoreError> {
        let now = self.clock.instant();
        self.limit_chat(chat, retry_after, None);
        self.last_429.insert(chat, now);
        self.last_429
            .retain(|_, at| now.saturating_duration_since(*at) < AT_ONCE);
        if self.last_429.len() >= SEVERAL {
            let waits = self.last_429.keys().filter_map(|chat| self.chats.get(chat));
            if let Some((limit, opens)) = waits.min_by_key(|(_, opens)| *opens) {
                tracing::warn!(
                    bot_id = self.bot.0,
                    chats = self.last_429.len(),
                    "Telegram asked for pauses of several chats at once: the whole bot pauses"
                );
                self.whole_bot = Some((limit.pause, *opens));
            }
        }
        self.record()
    }

    /// Blocks a chat that refuses messages, durably.
    pub fn block(&mut self, chat: ChatId, reason: String) -> Result<(), StoreError> {
        self.limit_chat(chat, BLOCKED_FOR, Some(reason));
        self.record()
    }

    /// Whether a chat is blocked, and not only limited by a 429.
    pub fn is_blocked(&self, chat: ChatId) -> bool {
        self.chats
            .get(&chat)
            .is_some_and(|(limit, _)| limit.reason.is_some())
    }

    /// A message came from a chat, or went there: if it was blocked, it is open again. A 429 is waited
    /// out. Returns whether it was blocked.
    pub fn unblock(&mut self, chat: ChatId) -> Result<bool, StoreError> {
        if !self.is_blocked(chat) {
            return Ok(false);
        }
        self.chats.remove(&chat);
        self.record().map(|()| true)
    }

    /// Leaves a closed topic alone, durably; the rest of its chat goes on.
    pub fn close_topic(&mut self, chat: ChatId, topic: Option<TopicId>) -> Result<(), StoreError> {
        let closed = ClosedTopic {
            chat_id: chat,
            topic_id: topic,
            pause: self.pause(BLOCKED_FOR),
        };
        let opens = self.clock.instant() + BLOCKED_FOR;
        self.topics.insert((chat, topic), (closed, opens));
        self.record()
    }

    /// How long nothing may go to a topic because it is closed.
    pub fn wait_for_topic(&self, chat: ChatId, topic: Option<TopicId>) -> Option<Duration> {
        let (_, opens) = self.topics.get(&(chat, topic))?;
        self.time_left(*opens)
    }

    fn time_left(&self, opens: Instant) -> Option<Duration> {
        let wait = opens.saturating_duration_since(self.clock.instant());
        (!wait.is_zero()).then_some(wait)
    }

    /// A topic was opened again, or a message went there or came from there. Returns whether it was closed.
    pub fn reopen_topic(
        &mut self,
        chat: ChatId,
        topic: Option<TopicId>,
    ) -> Result<bool, StoreError> {
        if self.topics.remove(&(chat, topic)).is_none() {
            return Ok(false);
        }
        self.record().map(|()| true)
    }

    fn pause(&self, wait: Duration) -> Pause {
        Pause {
            closed_at: self.clock.now(),
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn limit_chat(&mut self, chat: ChatId, wait: Duration, reason: Option<String>) {
        let limit = ChatLimit {
            chat_id: chat,
            pause: self.pause(wait),
            reason,
        };
        let opens = self.clock.instant() + wait;
        // Two requests may have been under way: the shorter of two waits does not end the longer one.
        let is_longer = self
            .chats
            .get(&chat)
            .is_some_and(|(limit, at)| limit.reason.is_none() && *at > opens);
        if !is_longer {
            self.chats.insert(chat, (limit, opens));
        }
    }

    fn record(&mut self) -> Result<(), StoreError> {
        let now = self.clock.instant();
        self.chats
            .retain(|_, (limit, opens)| *opens > now || limit.reason.is_some());
        self.whole_bot = self.whole_bot.filter(|(_, opens)| *opens > now);
        let file = ActiveLimits {
            chats: self
                .chats
                .values()
                .map(|(limit, _)| limit.clone())
                .collect(),
            topics: self.topics.values().map(|(closed, _)| *closed).collect(),
            bot: self.whole_bot.map(|(pause, _)| pause),
        };
        self.state.prepare_bot(self.bot)?;
        limits_file(&self.state, self.bot).write(&file)
    }
}

fn limits_file(state: &StateDir, bot: BotId) -> StateFile<ActiveLimits> {
    state.storage().file(state.gates(bot), Step::RateLimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(7);
    const CHAT: ChatId = ChatId(11);

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_for_the_whole_time_and_only_for_its_chat() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        limits.limit(CHAT, Duration::from_secs(300)).unwrap();
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(limits.wait(CHAT), Some(Duration::from_secs(1)));
        assert_eq!(limits.wait(ChatId(12)), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limits.wait(CHAT), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_survives_a_restart_and_ends_in_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        limits.limit(CHAT, Duration::from_secs(7200)).unwrap();
        let later = Clock::shifted(7_000_000);
        let wait = RateLimits::load(&state, BOT, &later)
            .unwrap()
            .wait(CHAT)
            .unwrap();
        assert!((190..=200).contains(&wait.as_secs()), "{wait:?}");
        let after = Clock::shifted(7_201_000);
        assert_eq!(
            RateLimits::load(&state, BOT, &after).unwrap().wait(CHAT),
            None
        );
    }

    #[test]
    fn a_clock_that_was_set_back_neither_ends_a_limit_nor_makes_it_longer() {
        let pause = Pause {
            closed_at: Timestamp(1_000_000),
            retry_after_ms: 5000,
        };
        assert_eq!(pause.opens_at(Timestamp(400_000)), Some(Timestamp(405_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_chat_says_why_over_a_restart_and_opens_when_it_is_unblock() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let clock = Clock::system();
        let mut limits = RateLimits::load(&state, BOT, &clock).unwrap();
        limits.block(CHAT, "blocked".to_owned()).unwrap();
        let mut again = RateLimits::load(&state, BOT, &clock).unwrap();
        assert!(again.wait(CHAT).is_some());
        let held = read_limits(&state, BOT, clock.now())
            .unwrap()
            .held(CHAT, None, clock.now());
        assert_eq!(held.unwrap().reason.as_deref(), Some("blocked"));
        assert!(!again.unblock(ChatId(12)).unwrap());
        assert!(again.unblock(CHAT).unwrap());
        assert_eq!(again.wait(CHAT), None);
        assert!(read_limits(&state, BOT, clock.now()).unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_chat_is_tried_again_after_an_hour_and_stays_known_until_it_is_unblock() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let blocked = |now| {
            let chats = read_limits(&state, BOT, now).unwrap().chats;
            chats.iter().filter(|limit| limit.reason.is_some()).count()
        };
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        limits.block(CHAT, "blocked".to_owned()).unwrap();
        tokio::time::advance(BLOCKED_FOR).await;
        assert_eq!(limits.wait(CHAT), None);
        limits.limit(ChatId(12), Duration::from_secs(300)).unwrap();
        let later = Clock::shifted(3_601_000);
        assert_eq!(blocked(later.now()), 1);
        let mut again = RateLimits::load(&state, BOT, &later).unwrap();
        assert_eq!(again.wait(CHAT), None);
        assert!(again.unblock(CHAT).unwrap());
        assert_eq!(blocked(later.now()), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_is_waited_out_although_messages_come_from_the_chat() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        limits.limit(CHAT, Duration::from_secs(300)).unwrap();
        assert!(!limits.unblock(CHAT).unwrap());
        assert!(limits.wait(CHAT).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_wait_does_not_end_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        limits.limit(CHAT, Duration::from_secs(300)).unwrap();
        limits.limit(CHAT, Duration::from_secs(5)).unwrap();
        assert_eq!(limits.wait(CHAT), Some(Duration::from_secs(300)));
        let again = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        assert!(again.wait(CHAT).unwrap() > Duration::from_secs(299));

        // A 429 is waited out also where the chat was blocked before.
        limits.block(ChatId(12), "blocked".to_owned()).unwrap();
        limits.limit(ChatId(12), Duration::from_secs(5)).unwrap();
        assert!(!limits.unblock(ChatId(12)).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn three_chats_that_are_limited_at_once_pause_the_bot_for_the_shortest_wait() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        for (chat, wait) in [(1, 90), (2, 20), (3, 60)] {
            assert_eq!(limits.wait(ChatId(9)), None);
            limits
                .limit(ChatId(chat), Duration::from_secs(wait))
                .unwrap();
        }
        let mut again = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        for limits in [&mut limits, &mut again] {
            let others = limits.wait(ChatId(9)).unwrap();
            assert!((19..=20).contains(&others.as_secs()), "{others:?}");
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(limits.wait(ChatId(9)), None);
        assert!(limits.wait(ChatId(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn limits_one_after_the_other_leave_the_other_chats_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut limits = RateLimits::load(&state, BOT, &Clock::system()).unwrap();
        for chat in 1..=5 {
            limits.limit(ChatId(chat), Duration::from_secs(90)).unwrap();
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        assert_eq!(limits.wait(ChatId(9)), None);
    }
}
