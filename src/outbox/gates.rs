//! Flood gates: after a 429, nothing at all goes to that chat until the server's time is over.
//!
//! On disk as `bots/<bot_id>/gates.json` with wall-clock `closed_at` and `retry_after`; while the
//! gateway runs, time is counted on the monotonic clock. A `closed_at` in the future (the clock was
//! set back) counts as now: the wait is never skipped and never longer than the server asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::ids::{BotId, ChatId};
use crate::store::StoreError;
use crate::store::atomic::Durability;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::layout::StateDir;
use crate::store::steps::Step;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct GatesFile {
    format: u32,
    gates: Vec<ClosedGate>,
}

/// A chat that nothing may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedGate {
    /// The chat.
    pub chat_id: ChatId,
    /// When the server said so.
    pub closed_at: Timestamp,
    /// The wait that it asked for, in milliseconds.
    pub retry_after_ms: u64,
}

impl ClosedGate {
    /// When it opens, as far as can be told at `now`; `None` if it is open.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let closed_at = self.closed_at.min(now);
        let opens = closed_at.plus(Duration::from_millis(self.retry_after_ms));
        (opens > now).then_some(opens)
    }
}

/// Reads the gates of a bot that are closed at `now`.
pub fn read_closed(
    state: &StateDir,
    bot: BotId,
    now: Timestamp,
) -> Result<Vec<ClosedGate>, ReadError> {
    let file: Option<GatesFile> = format::read(state, &state.gates(bot), now)?;
    let gates = file.map(|file| file.gates).unwrap_or_default();
    Ok(gates
        .into_iter()
        .filter(|gate| gate.opens_at(now).is_some())
        .collect())
}

/// The gates of one bot while the gateway runs.
#[derive(Debug)]
pub struct Gates {
    state: StateDir,
    bot: BotId,
    clock: Clock,
    closed: BTreeMap<ChatId, (ClosedGate, Instant)>,
}

impl Gates {
    /// Takes up what stands on disk. Unreadable gates are reported and count as open: the server
    /// will say so again.
    pub fn load(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Self, ReadError> {
        let now = clock.now();
        let gates = match read_closed(state, bot, now) {
            Ok(gates) => gates,
            Err(ReadError::Quarantined { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let closed = gates
            .into_iter()
            .filter_map(|gate| {
                let wait = gate.opens_at(now)?.since(now);
                Some((gate.chat_id, (gate, clock.instant() + wait)))
            })
            .collect();
        Ok(Self {
            state: state.clone(),
            bot,
            clock: clock.clone(),
            closed,
        })
    }

    /// How long the chat's gate stays closed; `None` if it is open.
    pub fn wait(&self, chat: ChatId) -> Option<Duration> {
        let (_, opens) = self.closed.get(&chat)?;
        let wait = opens.saturating_duration_since(self.clock.instant());
        (!wait.is_zero()).then_some(wait)
    }

    /// Closes a chat's gate, durably. It is closed in memory even if the disk is full.
    pub fn close(&mut self, chat: ChatId, retry_after: Duration) -> Result<(), StoreError> {
        let opens = self.clock.instant() + retry_after;
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        let gate = ClosedGate {
            chat_id: chat,
            closed_at: self.clock.now(),
            retry_after_ms,
        };
        self.closed.insert(chat, (gate, opens));
        let now = self.clock.instant();
        self.closed.retain(|_, (_, opens)| *opens > now);
        let file = GatesFile {
            format: FORMAT,
            gates: self.closed.values().map(|(gate, _)| *gate).collect(),
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
        let gate = ClosedGate {
            chat_id: CHAT,
            closed_at: Timestamp(1_000_000),
            retry_after_ms: 5000,
        };
        assert_eq!(gate.opens_at(Timestamp(400_000)), Some(Timestamp(405_000)));
    }
}
