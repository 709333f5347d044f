//! Groups that have become supergroups: `bots/<bot_id>/migrations.json` has the new id of each.
//!
//! Deliveries, rate limits and queues go by the new id as soon as Telegram has told it; `sessions.json`
//! belongs to the person and still has the old one. Message ids do not carry over (docs/facts/telegram.md 8).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::ids::{BotId, ChatId};
use crate::state::StateDir;
use crate::store::{ReadError, StateFile, Step, StoreError};

#[derive(Debug, Serialize, Deserialize)]
struct MigrationsFile {
    migrations: Vec<Migration>,
}

/// One group that became a supergroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The old id.
    pub from: ChatId,
    /// The new id.
    pub to: ChatId,
    /// When Telegram told it.
    pub at: Timestamp,
}

/// The migrations of one bot. Pure.
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

    /// All migrations.
    pub fn all(&self) -> impl Iterator<Item = Migration> {
        self.0.values().copied()
    }

    /// Adds one. `false` if it leads nowhere: the answer of a confused server.
    pub fn add(&mut self, migration: Migration) -> bool {
        let groups = migration.from.0 < 0 && migration.to.0 < 0;
        if !groups || self.current(migration.to) == migration.from {
            return false;
        }
        self.0.insert(migration.from, migration);
        true
    }
}

/// Reads the migrations of a bot. A damaged file counts as none: Telegram will tell them again.
pub fn read_migrations(state: &StateDir, bot: BotId, now: Timestamp) -> Result<Moves, ReadError> {
    let file = migrations_file(state, bot).read_or_missing(now)?;
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
    /// Reads them from disk.
    pub fn load(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Self, ReadError> {
        Ok(Self {
            moves: read_migrations(state, bot, clock.now())?,
            state: state.clone(),
            bot,
            clock: clock.clone(),
        })
    }

    /// The id that a chat has now.
    pub fn current(&self, chat: ChatId) -> ChatId {
        self.moves.current(chat)
    }

    /// All migrations.
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Telegram has told that a group has another id now. The migration is durable before anything is
    /// sent there. `false` if it leads nowhere.
    pub fn record_migration(&mut self, from: ChatId, to: ChatId) -> Result<bool, StoreError> {
        let mut moves = self.moves.clone();
        let at = self.clock.now();
        if !moves.add(Migration { from, to, at }) {
            return Ok(false);
        }
        self.state.prepare_bot(self.bot)?;
        migrations_file(&self.state, self.bot).write(&MigrationsFile {
            migrations: moves.all().collect(),
        })?;
        tracing::warn!(
            bot_id = self.bot.0,
            from = from.0,
            to = to.0,
            "a group became a supergroup and has a new id: put the new id into chat_ids in sessions.json"
        );
        self.moves = moves;
        Ok(true)
    }
}

fn migrations_file(state: &StateDir, bot: BotId) -> StateFile<MigrationsFile> {
    state.storage().file(state.migrations(bot), Step::Migration)
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
    fn a_recorded_migration_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let clock = Clock::system();
        let mut migrations = Migrations::load(&state, BOT, &clock).unwrap();
        assert!(
            migrations
                .record_migration(ChatId(-1), ChatId(-100))
                .unwrap()
        );
        assert!(
            !migrations
                .record_migration(ChatId(-100), ChatId(-1))
                .unwrap()
        );
        let again = Migrations::load(&state, BOT, &clock).unwrap();
        assert_eq!(again.current(ChatId(-1)), ChatId(-100));
        assert_eq!(
            read_migrations(&state, BotId(8), clock.now()).unwrap(),
            Moves::default()
        );
    }
}
