//! The disk's side of [`crate::sender::attention`]: which agents hold what, and which messages may wear 👀.
//!
//! `bots/<bot_id>/receipts.json` names a message before 👀 is put on it and until it is surely gone,
//! so that no kill leaves one behind. Conversations belong to the agents' side: they are only looked
//! at here, and one that cannot be read is for the agents to report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::config::{Pace, Receipts};
use crate::error_chain::Chain;
use crate::ids::{BotId, ChatId, MessageId, SessionId};
use crate::sender::attention::{AgentName, Attention, Gesture, InHand, Sign, Spot};
use crate::state::agents::holder;
use crate::state::holds::Holds;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};

/// The file of a bot.
#[derive(Debug, Serialize, Deserialize)]
struct ReceiptsFile {
    format: u32,
    worn: Vec<WornMessage>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WornMessage {
    chat_id: ChatId,
    message_id: MessageId,
}

/// The messages of a bot that may wear 👀. Unreadable ones are reported and count as none: a 👀 may
/// stay then.
pub fn load(state: &StateDir, bot: BotId, now: Timestamp) -> Result<Vec<Spot>, ReadError> {
    let file: Option<ReceiptsFile> = match format::read(state, &state.receipts(bot), now) {
        Err(ReadError::Quarantined { .. }) => None,
        other => other?,
    };
    let worn = file.map(|file| file.worn).unwrap_or_default();
    let spot = |worn: WornMessage| Spot {
        bot,
        chat: worn.chat_id,
        message: worn.message_id,
    };
    Ok(worn.into_iter().map(spot).collect())
}

/// Notes which messages of a bot may wear 👀, durably.
pub fn save(state: &StateDir, bot: BotId, attention: &Attention) -> Result<(), StoreError> {
    let worn = attention.worn(bot).map(|spot| WornMessage {
        chat_id: spot.chat,
        message_id: spot.message,
    });
    let file = ReceiptsFile {
        format: FORMAT,
        worn: worn.collect(),
    };
    let path = state.receipts(bot);
    if let Some(folder) = path.parent() {
        atomic::create_folder(folder)?;
    }
    format::write(&path, &file, Step::Receipt, Durability::Synced)
}

/// Follows what the agents of all sessions hold.
#[derive(Debug)]
pub struct Watcher {
    state: StateDir,
    sessions: Vec<SessionId>,
    clock: Clock,
    receipts: Receipts,
    /// What people see of it.
    pub attention: Attention,
    started: bool,
    /// Whether the file of a bot may say more than is true.
    stale: BTreeMap<BotId, bool>,
}

impl Watcher {
    /// Reads what may stand in the chats of these bots from an earlier time. Without receipts, that
    /// is still taken away.
    pub fn load(
        state: &StateDir,
        sessions: &[SessionId],
        bots: impl IntoIterator<Item = BotId>,
        clock: &Clock,
        (receipts, pace): (Receipts, Pace),
    ) -> Result<Self, ReadError> {
        let mut worn = Vec::new();
        for bot in bots {
            worn.extend(load(state, bot, clock.now())?);
        }
        Ok(Self {
            state: state.clone(),
            sessions: sessions.to_vec(),
            clock: clock.clone(),
            receipts,
            attention: Attention::new(pace, worn),
            started: false,
            stale: BTreeMap::new(),
        })
    }

    /// The folders to watch.
    pub fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.sessions.iter().map(|id| self.state.session(id));
        match self.receipts {
            Receipts::On => dirs.map(|dir| dir.conversations()).collect(),
            Receipts::Off => Vec::new(),
        }
    }

    /// Looks through all conversations.
    pub fn look(&mut self, now: Duration) {
        if self.receipts == Receipts::Off {
            return;
        }
        for (number, session) in (0u16..).zip(self.sessions.clone()) {
            let folder = self.state.session(&session).conversations();
            let names = match atomic::list(&folder) {
                Ok(names) => names,
                Err(error) => {
                    tracing::warn!(%session, error = %Chain(&error), "cannot see what the agents hold");
                    continue;
                }
            };
            for gone in self.attention.agents(number) {
                if !names.contains(&format!("{}.json", gone.1)) {
                    self.attention.holds(gone, Vec::new(), Sign::Look, now);
                }
            }
            for name in names {
                if let Some(holder) = name.strip_suffix(".json") {
                    self.look_at(number, holder, Sign::Look, now);
                }
            }
        }
        self.started = true;
    }

    /// The conversation of a holder has changed.
    pub fn news(&mut self, session: u16, holder: &str, now: Duration) {
        if self.receipts == Receipts::On {
            self.look_at(session, holder, Sign::News, now);
        }
    }

    fn look_at(&mut self, session: u16, name: &str, sign: Sign, now: Duration) {
        let Some(id) = self.sessions.get(usize::from(session)) else {
            return;
        };
        let conversation = Holds::new(&self.state, self.state.session(id)).peek(name);
        let silent_for = conversation
            .as_ref()
            .map(|all| self.clock.now().since(all.active_at.max(all.shown_at)));
        let held = conversation.map(|all| all.held).unwrap_or_default();
        let held = held.into_iter().filter_map(|one| {
            Some(InHand {
                address: one.address,
                message: one.message_id,
                arrived: *one.entries.first()?,
                seen: true,
            })
        });
        let sign = match silent_for {
            Some(silent_for) if !self.started => Sign::Start { silent_for },
            _ => sign,
        };
        self.attention
            .holds((session, name.to_owned()), held.collect(), sign, now);
    }

    /// An agent's own reaction is about to go on a message: from now on there is no 👀 of ours to take
    /// away, durably.
    pub fn reacted(&mut self, spot: Spot) -> Result<(), StoreError> {
        let changed = self.attention.reacted(spot);
        if changed || self.stale.get(&spot.bot) == Some(&true) {
            self.save(spot.bot)?;
        }
        Ok(())
    }

    /// Notes what may stand in the chats of a bot.
    pub fn save(&mut self, bot: BotId) -> Result<(), StoreError> {
        let saved = save(&self.state, bot, &self.attention);
        self.stale.insert(bot, saved.is_err());
        saved
    }

    /// The next thing to do; `wait` says how long a chat has to be left alone.
    pub fn next(
        &mut self,
        now: Duration,
        wait: impl FnMut(BotId, ChatId) -> Option<Duration>,
    ) -> Option<Gesture> {
        let (state, sessions) = (&self.state, &self.sessions);
        let lives = |(session, holder): &AgentName| {
            let session = sessions.get(usize::from(*session));
            session.is_some_and(|id| holder::seems_to_live(&state.session(id), holder))
        };
        self.attention.next(now, wait, lives)
    }
}
