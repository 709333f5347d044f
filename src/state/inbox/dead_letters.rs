//! Dead letters: updates that this version could not read, kept with the reason for a person.
//!
//! They belong to no session yet: on disk each is `bots/<bot_id>/dead/<received>-<hash>.json`, the
//! newest 1,000 of a bot. The hash is that of the update's bytes: it recognises an update that comes
//! again, and it names the letter on the command line. The gateway writes dead letters; `telepost inbox`
//! shows, retries and drops them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::ids::BotId;
use crate::state::agents::holder::short_hash;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};

/// How many dead letters of a bot are kept.
const LETTERS_MAX: usize = 1000;

/// The file of a dead letter. Written once, never changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The version of this file.
    pub format: u32,
    /// The bot that received it.
    pub bot_id: BotId,
    /// When the bot received it.
    pub received: Timestamp,
    /// Why it could not be read, without any text of the update.
    pub reason: String,
    /// The update as Telegram gave it.
    pub update: Box<RawValue>,
    /// Where it was read from.
    #[serde(skip)]
    path: PathBuf,
}

impl DeadLetter {
    /// A letter that is not on disk yet.
    pub fn new(bot_id: BotId, received: Timestamp, reason: &str, update: Box<RawValue>) -> Self {
        Self {
            format: FORMAT,
            bot_id,
            received,
            reason: reason.to_owned(),
            update,
            path: PathBuf::new(),
        }
    }

    /// The hash of its update, which names it.
    pub fn hash(&self) -> String {
        short_hash(&[self.update.get()])
    }

    fn path_in(&self, state: &StateDir) -> PathBuf {
        let name = format!("{:013}-{}.json", self.received.0, self.hash());
        state.bot_dead(self.bot_id).join(name)
    }
}

/// Stores a letter once. Returns its path, or `None` if it was there already.
pub fn store(state: &StateDir, letter: &DeadLetter) -> Result<Option<PathBuf>, StoreError> {
    let folder = state.bot_dead(letter.bot_id);
    atomic::create_folder(&folder)?;
    let names = atomic::list(&folder)?;
    let suffix = format!("-{}.json", letter.hash());
    if names.iter().any(|name| name.ends_with(&suffix)) {
        // The batch that wrote it may have failed, or died, before the folder was synced.
        atomic::sync_folder(&folder)?;
        return Ok(None);
    }
    let path = letter.path_in(state);
    format::write(&path, letter, Step::DeadLetter, Durability::Synced)?;
    let beyond = (names.len() + 1).saturating_sub(LETTERS_MAX);
    for old in names.iter().take(beyond) {
        atomic::remove(&folder.join(old), Step::Sweep)?;
    }
    Ok(Some(path))
}

/// How many letters all bots have.
pub fn count(state: &StateDir) -> Result<u64, StoreError> {
    let mut count = 0;
    for bot in state.all_bots()? {
        count += atomic::list(&state.bot_dead(bot))?.len() as u64;
    }
    Ok(count)
}

/// All letters, oldest first. A damaged one moves to the quarantine, as everywhere.
pub fn read_all(state: &StateDir, now: Timestamp) -> Result<Vec<DeadLetter>, ReadError> {
    let mut letters = Vec::new();
    for bot in state.all_bots()? {
        let folder = state.bot_dead(bot);
        for name in atomic::list(&folder)? {
            let path = folder.join(name);
            match format::read::<DeadLetter>(state, &path, now) {
                Ok(letter) => letters.extend(letter.map(|letter| DeadLetter { path, ..letter })),
                Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    letters.sort_by_key(|letter: &DeadLetter| letter.received);
    Ok(letters)
}

/// Removes a letter that [`read_all`] returned, for good.
pub fn remove(state: &StateDir, letter: &DeadLetter) -> Result<(), StoreError> {
    atomic::remove(&letter.path, Step::Sweep)?;
    atomic::sync_folder(&state.bot_dead(letter.bot_id))
}
