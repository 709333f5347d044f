//! Groups that have become supergroups: the new id of each, durably.
//!
//! On disk as `bots/<bot_id>/migrations.json`. Deliveries, gates and lanes go by the new id as soon as
//! Telegram has told it; `sessions.json` is the person's and still has the old one. Message ids do not
//! carry over (telegram.md 8).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::ids::{BotId, ChatId};
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct MigrationsFile {
    format: u32,
    migrations: Vec<Migration>,
}

/// One group that became a supergroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The id that it had.
    pub from: ChatId,
    /// The id that it has.
    pub to: ChatId,
    /// When Telegram said so.
    pub at: Timestamp,
}

/// Where chats have gone. Pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves(BTreeMap<ChatId, Migration>);

impl Moves {
    /// The id that a chat has now.
    pub fn current(&self, chat: ChatId) -> ChatId {
        let mut seen = BTreeSet::new();
        let mut at = chat;
        while let Some(migration) = self.0.get(&at) {
            if !seen.insert(at) {
                return chat;
            }
            at = migration.to;
        }
        at
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Migration> {
        self.0.values().copied()
    }

    /// Takes one up. `false` if nothing can be sent by it: the answer of a server that is confused.
    pub fn add(&mut self, migration: Migration) -> bool {
        let groups = migration.from.0 < 0 && migration.to.0 < 0;
        if !groups || self.current(migration.to) == migration.from {
            return false;
        }
        self.0.insert(migration.from, migration);
        true
    }
}

/// Reads where a bot's chats have gone. A damaged file counts as none: Telegram will say so again.
pub fn read(state: &StateDir, bot: BotId, now: Timestamp) -> Result<Moves, ReadError> {
    let file: Option<MigrationsFile> = match format::read(state, &state.migrations(bot), now) {
        Err(ReadError::Quarantined { .. }) => None,
        file => file?,
    };
    let mut moves = Moves::default();
    for migration in file.into_iter().flat_map(|file| file.migrations) {
        moves.add(migration);
    }
    Ok(moves)
}

/// The migrations of one bot while the gateway runs.
#[derive(Debug)]
pub struct Migrations {
    state: StateDir,
    bot: BotId,
    clock: Clock,
    moves: Moves,
}

impl Migrations {
    /// Takes up what stands on disk.
    pub fn load(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Self, ReadError> {
        Ok(Self {
            moves: read(state, bot, clock.now())?,
            state: state.clone(),
            bot,
            clock: clock.clone(),
        })
    }

    /// The id that a chat has now.
    pub fn current(&self, chat: ChatId) -> ChatId {
        self.moves.current(chat)
    }

    /// Where all have gone.
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Telegram says that a group has another id now: recorded before anything is sent there.
    /// `false` if that cannot be.
    pub fn learn(&mut self, from: ChatId, to: ChatId) -> Result<bool, StoreError> {
        let mut moves = self.moves.clone();
        let at = self.clock.now();
        if !moves.add(Migration { from, to, at }) {
            return Ok(false);
        }
        let file = MigrationsFile {
            format: FORMAT,
            migrations: moves.all().collect(),
        };
        let path = self.state.migrations(self.bot);
        if let Some(folder) = path.parent() {
            atomic::create_folder(folder)?;
        }
        format::write(&path, &file, Step::Migration, Durability::Synced)?;
        tracing::warn!(
            bot_id = self.bot.0,
            from = from.0,
            to = to.0,
            "a group became a supergroup and has another id: put the new one into chat_ids in sessions.json"
        );
        self.moves = moves;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: BotId = BotId(7);

    fn learned(pairs: &[(i64, i64)]) -> Moves {
        let mut moves = Moves::default();
        for &(from, to) in pairs {
            moves.add(Migration {
                from: ChatId(from),
                to: ChatId(to),
                at: Timestamp(1),
            });
        }
        moves
    }

    #[test]
    fn a_chat_is_followed_to_its_last_id_and_never_in_a_circle() {
        let moves = learned(&[(-1, -2), (-2, -3), (-3, -1)]);
        assert_eq!(moves.current(ChatId(-1)), ChatId(-3));
        assert_eq!(moves.current(ChatId(-3)), ChatId(-3));
        assert_eq!(moves.current(ChatId(-9)), ChatId(-9));
    }

    #[test]
    fn only_a_group_can_become_another_and_nothing_becomes_itself() {
        let moves = learned(&[(11, -2), (-3, 12), (-4, -4)]);
        assert_eq!(moves, Moves::default());
    }

    #[test]
    fn what_was_learned_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let clock = Clock::system();
        let mut migrations = Migrations::load(&state, BOT, &clock).unwrap();
        assert!(migrations.learn(ChatId(-1), ChatId(-100)).unwrap());
        assert!(!migrations.learn(ChatId(-100), ChatId(-1)).unwrap());
        let again = Migrations::load(&state, BOT, &clock).unwrap();
        assert_eq!(again.current(ChatId(-1)), ChatId(-100));
        assert_eq!(
            read(&state, BotId(8), clock.now()).unwrap(),
            Moves::default()
        );
    }
}
