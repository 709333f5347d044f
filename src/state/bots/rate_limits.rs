//! Flood gates: after a 429, nothing at all goes to that chat until the server's time is over.
//!
//! On disk as `bots/<bot_id>/gates.json` with wall-clock `closed_at` and `retry_after`; while the
//! gateway runs, time is counted on the monotonic clock. A `closed_at` in the future (the clock was
//! set back) counts as now: the wait is never skipped and never longer than the server asked.
//!
//! A chat that cannot be written to (blocked, kicked) is parked: its gate is closed with a reason, for
//! [`PARKED`] at a time, and opens earlier when something is heard from that chat. It stays in the file
//! until something is heard or taken there, so that `status` can say so also when nothing waits. When several chats
//! are flooded at once, the bot as a whole is asked to pause (telegram.md 4).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::ids::{BotId, ChatId};
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};

/// How long a chat that cannot be written to is left alone before it is tried again.
pub const PARKED: Duration = Duration::from_secs(3600);
/// So many chats that are flooded within [`AT_ONCE`] mean that the bot is.
const SEVERAL: usize = 3;
const AT_ONCE: Duration = Duration::from_secs(5);

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct GatesFile {
    format: u32,
    gates: Vec<ClosedGate>,
    /// The gate of the whole bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bot: Option<Pause>,
}

/// A chat that nothing may go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedGate {
    /// The chat.
    pub chat_id: ChatId,
    /// When and for how long.
    #[serde(flatten)]
    pub pause: Pause,
    /// Why, if it is not a flood: the server's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// When it is over, as far as can be told at `now`; `None` if it is.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let closed_at = self.closed_at.min(now);
        let opens = closed_at.plus(Duration::from_millis(self.retry_after_ms));
        (opens > now).then_some(opens)
    }
}

/// What is closed at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosedGates {
    gates: Vec<ClosedGate>,
    bot: Option<Pause>,
    /// Chats that cannot be written to, also those that are tried again by now.
    pub parked: Vec<ClosedGate>,
}

/// Until when a chat is closed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUntil {
    /// When it opens.
    pub opens: Timestamp,
    /// Why, if it is not a flood.
    pub reason: Option<String>,
}

impl ClosedGates {
    /// Whether everything is open.
    pub fn is_empty(&self) -> bool {
        self.gates.is_empty() && self.bot.is_none()
    }

    /// Until when nothing goes to a chat; `None` if it is open.
    pub fn held(&self, chat: ChatId, now: Timestamp) -> Option<HeldUntil> {
        let own = self.gates.iter().find(|gate| gate.chat_id == chat);
        let own = own.and_then(|gate| {
            let opens = gate.pause.opens_at(now)?;
            Some(HeldUntil {
                opens,
                reason: gate.reason.clone(),
            })
        });
        let bot = self.bot.and_then(|pause| {
            let opens = pause.opens_at(now)?;
            Some(HeldUntil {
                opens,
                reason: None,
            })
        });
        own.into_iter().chain(bot).max_by_key(|held| held.opens)
    }
}

/// Reads what of a bot is closed at `now`.
pub fn read_closed(state: &StateDir, bot: BotId, now: Timestamp) -> Result<ClosedGates, ReadError> {
    let file: Option<GatesFile> = format::read(state, &state.gates(bot), now)?;
    let Some(file) = file else {
        return Ok(ClosedGates::default());
    };
    let mut gates = file.gates;
    let parked = gates.iter().filter(|gate| gate.reason.is_some());
    let parked = parked.cloned().collect();
    gates.retain(|gate| gate.pause.opens_at(now).is_some());
    Ok(ClosedGates {
        gates,
        bot: file.bot.filter(|pause| pause.opens_at(now).is_some()),
        parked,
    })
}

/// The gates of one bot while the gateway runs.
#[derive(Debug)]
pub struct Gates {
    state: StateDir,
    bot: BotId,
    clock: Clock,
    closed: BTreeMap<ChatId, (ClosedGate, Instant)>,
    whole_bot: Option<(Pause, Instant)>,
    /// When each chat was flooded last.
    floods: BTreeMap<ChatId, Instant>,
}

impl Gates {
    /// Takes up what stands on disk. Unreadable gates are reported and count as open: the server
    /// will say so again.
    pub fn load(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Self, ReadError> {
        let now = clock.now();
        let on_disk = match read_closed(state, bot, now) {
            Ok(gates) => gates,
            Err(ReadError::Quarantined { .. }) => ClosedGates::default(),
            Err(error) => return Err(error),
        };
        let until = |pause: &Pause| Some(clock.instant() + pause.opens_at(now)?.since(now));
        let open_again = on_disk.parked.iter().map(|gate| {
            let opens = until(&gate.pause).unwrap_or_else(|| clock.instant());
            (gate.chat_id, (gate.clone(), opens))
        });
        let closed = on_disk.gates.iter().filter_map(|gate| {
            let opens = until(&gate.pause)?;
            Some((gate.chat_id, (gate.clone(), opens)))
        });
        let closed = open_again.chain(closed);
        Ok(Self {
            closed: closed.collect(),
            whole_bot: on_disk.bot.and_then(|pause| Some((pause, until(&pause)?))),
            floods: BTreeMap::new(),
            state: state.clone(),
            bot,
            clock: clock.clone(),
        })
    }

    /// How long the chat's gate stays closed; `None` if it is open.
    pub fn wait(&self, chat: ChatId) -> Option<Duration> {
        let own = self.closed.get(&chat).map(|(_, opens)| *opens);
        let bot = self.whole_bot.map(|(_, opens)| opens);
        let opens = own.into_iter().chain(bot).max()?;
        let wait = opens.saturating_duration_since(self.clock.instant());
        (!wait.is_zero()).then_some(wait)
    }

    /// Closes a chat's gate after a 429, durably. It is closed in memory even if the disk is full.
    pub fn close(&mut self, chat: ChatId, retry_after: Duration) -> Result<(), StoreError> {
        let now = self.clock.instant();
        self.shut(chat, retry_after, None);
        self.floods.insert(chat, now);
        self.floods
            .retain(|_, at| now.saturating_duration_since(*at) < AT_ONCE);
        if self.floods.len() >= SEVERAL {
            let waits = self.floods.keys().filter_map(|chat| self.closed.get(chat));
            if let Some((gate, opens)) = waits.min_by_key(|(_, opens)| *opens) {
                tracing::warn!(
                    bot_id = self.bot.0,
                    chats = self.floods.len(),
                    "Telegram asks several chats at once for a pause: the whole bot pauses"
                );
                self.whole_bot = Some((gate.pause, *opens));
            }
        }
        self.record()
    }

    /// Leaves a chat alone that cannot be written to, durably.
    pub fn park(&mut self, chat: ChatId, reason: String) -> Result<(), StoreError> {
        self.shut(chat, PARKED, Some(reason));
        self.record()
    }

    /// Whether a chat is parked, and not only flooded.
    pub fn is_parked(&self, chat: ChatId) -> bool {
        self.closed
            .get(&chat)
            .is_some_and(|(gate, _)| gate.reason.is_some())
    }

    /// Something was heard from a chat: if it was parked, it is tried again. A flood is waited out.
    pub fn heard_from(&mut self, chat: ChatId) -> Result<bool, StoreError> {
        if !self.is_parked(chat) {
            return Ok(false);
        }
        self.closed.remove(&chat);
        self.record().map(|()| true)
    }

    fn shut(&mut self, chat: ChatId, wait: Duration, reason: Option<String>) {
        let pause = Pause {
            closed_at: self.clock.now(),
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let gate = ClosedGate {
            chat_id: chat,
            pause,
            reason,
        };
        let opens = self.clock.instant() + wait;
        // Two requests may have been under way; the shorter of two floods ends no longer one.
        let longer = self
            .closed
            .get(&chat)
            .is_some_and(|(gate, at)| gate.reason.is_none() && *at > opens);
        if !longer {
            self.closed.insert(chat, (gate, opens));
        }
    }

    fn record(&mut self) -> Result<(), StoreError> {
        let now = self.clock.instant();
        self.closed
            .retain(|_, (gate, opens)| *opens > now || gate.reason.is_some());
        self.whole_bot = self.whole_bot.filter(|(_, opens)| *opens > now);
        let file = GatesFile {
            format: FORMAT,
            gates: self.closed.values().map(|(gate, _)| gate.clone()).collect(),
            bot: self.whole_bot.map(|(pause, _)| pause),
        };
        let path = self.state.gates(self.bot);
        if let Some(folder) = path.parent() {
            crate::store::atomic::create_folder(folder)?;
        }
        format::write(&path, &file, Step::FloodGate, Durability::Synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(7);
    const CHAT: ChatId = ChatId(11);

    #[tokio::test(start_paused = true)]
    async fn a_gate_is_closed_for_the_whole_time_and_only_for_its_chat() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        gates.close(CHAT, Duration::from_secs(300)).unwrap();
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(gates.wait(CHAT), Some(Duration::from_secs(1)));
        assert_eq!(gates.wait(ChatId(12)), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(gates.wait(CHAT), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_stays_closed_over_a_restart_and_opens_in_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        gates.close(CHAT, Duration::from_secs(7200)).unwrap();
        let later = Clock::shifted(7_000_000);
        let wait = Gates::load(&state, BOT, &later)
            .unwrap()
            .wait(CHAT)
            .unwrap();
        assert!((190..=200).contains(&wait.as_secs()), "{wait:?}");
        let after = Clock::shifted(7_201_000);
        assert_eq!(Gates::load(&state, BOT, &after).unwrap().wait(CHAT), None);
    }

    #[test]
    fn a_clock_that_was_set_back_neither_opens_a_gate_nor_closes_it_longer() {
        let gate = Pause {
            closed_at: Timestamp(1_000_000),
            retry_after_ms: 5000,
        };
        assert_eq!(gate.opens_at(Timestamp(400_000)), Some(Timestamp(405_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_chat_says_why_over_a_restart_and_opens_when_it_is_heard_from() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let clock = Clock::system();
        let mut gates = Gates::load(&state, BOT, &clock).unwrap();
        gates.park(CHAT, "blocked".to_owned()).unwrap();
        let mut again = Gates::load(&state, BOT, &clock).unwrap();
        assert!(again.wait(CHAT).is_some());
        let held = read_closed(&state, BOT, clock.now())
            .unwrap()
            .held(CHAT, clock.now());
        assert_eq!(held.unwrap().reason.as_deref(), Some("blocked"));
        assert!(!again.heard_from(ChatId(12)).unwrap());
        assert!(again.heard_from(CHAT).unwrap());
        assert_eq!(again.wait(CHAT), None);
        assert!(read_closed(&state, BOT, clock.now()).unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_chat_is_tried_again_after_an_hour_and_stays_known_until_it_is_heard_from() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let parked = |now| read_closed(&state, BOT, now).unwrap().parked.len();
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        gates.park(CHAT, "blocked".to_owned()).unwrap();
        tokio::time::advance(PARKED).await;
        assert_eq!(gates.wait(CHAT), None);
        gates.close(ChatId(12), Duration::from_secs(300)).unwrap();
        let later = Clock::shifted(3_601_000);
        assert_eq!(parked(later.now()), 1);
        let mut again = Gates::load(&state, BOT, &later).unwrap();
        assert_eq!(again.wait(CHAT), None);
        assert!(again.heard_from(CHAT).unwrap());
        assert_eq!(parked(later.now()), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_waited_out_whatever_is_heard_from_the_chat() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        gates.close(CHAT, Duration::from_secs(300)).unwrap();
        assert!(!gates.heard_from(CHAT).unwrap());
        assert!(gates.wait(CHAT).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_wait_does_not_open_a_gate_early_that_was_closed_for_longer() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        gates.close(CHAT, Duration::from_secs(300)).unwrap();
        gates.close(CHAT, Duration::from_secs(5)).unwrap();
        assert_eq!(gates.wait(CHAT), Some(Duration::from_secs(300)));
        let again = Gates::load(&state, BOT, &Clock::system()).unwrap();
        assert!(again.wait(CHAT).unwrap() > Duration::from_secs(299));

        // A flood is waited out also where the chat was parked before.
        gates.park(ChatId(12), "blocked".to_owned()).unwrap();
        gates.close(ChatId(12), Duration::from_secs(5)).unwrap();
        assert!(!gates.heard_from(ChatId(12)).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn three_chats_that_are_flooded_at_once_pause_the_bot_for_the_shortest_wait() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        for (chat, wait) in [(1, 90), (2, 20), (3, 60)] {
            assert_eq!(gates.wait(ChatId(9)), None);
            gates
                .close(ChatId(chat), Duration::from_secs(wait))
                .unwrap();
        }
        let mut again = Gates::load(&state, BOT, &Clock::system()).unwrap();
        for gates in [&mut gates, &mut again] {
            let others = gates.wait(ChatId(9)).unwrap();
            assert!((19..=20).contains(&others.as_secs()), "{others:?}");
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(gates.wait(ChatId(9)), None);
        assert!(gates.wait(ChatId(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn floods_one_after_the_other_leave_the_other_chats_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let mut gates = Gates::load(&state, BOT, &Clock::system()).unwrap();
        for chat in 1..=5 {
            gates.close(ChatId(chat), Duration::from_secs(90)).unwrap();
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        assert_eq!(gates.wait(ChatId(9)), None);
    }
}
