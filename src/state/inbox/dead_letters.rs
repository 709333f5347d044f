//! Dead letters: updates that nobody could read, kept with the reason until somebody looks.
//!
//! They belong to no session yet: on disk each is `bots/<bot_id>/dead/<received>-<hash>.json`, the
//! newest 1,000 of a bot. The hash is that of the update's bytes, so one that comes again is
//! recognised, and it is what names a letter on the command line. The gateway writes them; `telepost
//! inbox` shows, retries and drops them.

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

/// How many unreadable updates of a bot are kept.
const DEAD_MOST: usize = 1000;

/// The file of a dead letter. Written once, never changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadUpdate {
    /// The version of this file.
    pub format: u32,
    /// The bot that received it.
    pub bot_id: BotId,
    /// When.
    pub received: Timestamp,
    /// Why it could not be read; no word of it is repeated here.
    pub reason: String,
    /// The update as Telegram gave it.
    pub update: Box<RawValue>,
    /// Where it was found.
    #[serde(skip)]
    found: PathBuf,
}

impl DeadUpdate {
    /// A letter that is not on disk yet.
    pub fn new(bot_id: BotId, received: Timestamp, reason: &str, update: Box<RawValue>) -> Self {
        Self {
            format: FORMAT,
            bot_id,
            received,
            reason: reason.to_owned(),
            update,
            found: PathBuf::new(),
        }
    }

    /// What names it: the hash of its update.
    pub fn hash(&self) -> String {
        short_hash(&[self.update.get()])
    }

    fn path(&self, state: &StateDir) -> PathBuf {
        let name = format!("{:013}-{}.json", self.received.0, self.hash());
        state.bot_dead(self.bot_id).join(name)
    }
}

/// Keeps a letter, once. Returns where, or `None` if it was there already.
pub fn store(state: &StateDir, letter: &DeadUpdate) -> Result<Option<PathBuf>, StoreError> {
    let folder = state.bot_dead(letter.bot_id);
    atomic::create_folder(&folder)?;
    let names = atomic::list_names(&folder)?;
    let suffix = format!("-{}.json", letter.hash());
    if names.iter().any(|name| name.ends_with(&suffix)) {
        // The batch that wrote it may have failed, or died, before the folder was synced.
        atomic::sync_folder(&folder)?;
        return Ok(None);
    }
    let path = letter.path(state);
    format::write(&path, letter, Step::DeadLetter, Durability::Synced)?;
    let beyond = (names.len() + 1).saturating_sub(DEAD_MOST);
    for old in names.iter().take(beyond) {
        atomic::remove_file(&folder.join(old), Step::Sweep)?;
    }
    Ok(Some(path))
}

/// How many letters there are, of all bots.
pub fn count(state: &StateDir) -> Result<u64, StoreError> {
    let mut count = 0;
    for bot in state.all_bots()? {
        count += atomic::list_names(&state.bot_dead(bot))?.len() as u64;
    }
    Ok(count)
}

/// All letters, oldest first. A damaged one goes to quarantine, as everywhere.
pub fn all(state: &StateDir, now: Timestamp) -> Result<Vec<DeadUpdate>, ReadError> {
    let mut letters = Vec::new();
    for bot in state.all_bots()? {
        let folder = state.bot_dead(bot);
        for name in atomic::list_names(&folder)? {
            let path = folder.join(name);
            match format::read::<DeadUpdate>(state, &path, now) {
                Ok(letter) => letters.extend(letter.map(|letter| DeadUpdate {
                    found: path,
                    ..letter
                })),
                Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    letters.sort_by_key(|letter: &DeadUpdate| letter.received);
    Ok(letters)
}

/// Removes a letter that [`all`] has found, for good.
pub fn remove(state: &StateDir, letter: &DeadUpdate) -> Result<(), StoreError> {
    atomic::remove_file(&letter.found, Step::Sweep)?;
    atomic::sync_folder(&state.bot_dead(letter.bot_id))
}
