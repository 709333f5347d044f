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
use crate::state::StateDir;
use crate::state::agents::holder::short_hash;
use crate::store::{ReadError, StateFolder, Step, StoreError};

/// How many dead letters of a bot are kept.
const LETTERS_MAX: usize = 1000;

/// The file of a dead letter. Written once, never changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The bot that received it.
    pub bot_id: BotId,
    /// When the bot received it.
    pub received: Timestamp,
    /// Why it could not be read, without any text of the update.
    pub reason: String,
    /// The update as Telegram gave it.
    pub update: Box<RawValue>,
    /// The name of its file, once it was read.
    #[serde(skip)]
    file_name: String,
}

impl DeadLetter {
    /// A letter that is not on disk yet.
    pub fn new(bot_id: BotId, received: Timestamp, reason: &str, update: Box<RawValue>) -> Self {
        Self {
            bot_id,
            received,
            reason: reason.to_owned(),
            update,
            file_name: String::new(),
        }
    }

    /// The hash of its update, which names it.
    pub fn hash(&self) -> String {
        short_hash(&[self.update.get()])
    }
}

fn letters_of(state: &StateDir, bot: BotId) -> StateFolder<DeadLetter> {
    state
        .storage()
        .folder(state.bot_dead(bot), Step::DeadLetter)
}

/// Stores a letter once. Returns its path, or `None` if it was there already.
pub fn store(state: &StateDir, letter: &DeadLetter) -> Result<Option<PathBuf>, StoreError> {
    let folder = letters_of(state, letter.bot_id);
    folder.create()?;
    let names = folder.names()?;
    let suffix = format!("-{}.json", letter.hash());
    if names.iter().any(|name| name.ends_with(&suffix)) {
        // The batch that wrote it may have failed, or died, before the folder was synced.
        folder.sync()?;
        return Ok(None);
    }
    let file = folder.file(format!("{:013}{suffix}", letter.received.0));
    file.write(letter)?;
    let beyond = (names.len() + 1).saturating_sub(LETTERS_MAX);
    for old in names.iter().take(beyond) {
        folder.file(old).at(Step::Sweep).remove()?;
    }
    Ok(Some(file.path().to_owned()))
}

/// How many letters all bots have.
pub fn count(state: &StateDir) -> Result<u64, StoreError> {
    let mut count = 0;
    for bot in state.all_bots()? {
        count += letters_of(state, bot).names()?.len() as u64;
    }
    Ok(count)
}

/// All letters, oldest first. A damaged one moves to the quarantine, as everywhere.
pub fn read_all(state: &StateDir, now: Timestamp) -> Result<Vec<DeadLetter>, ReadError> {
    let mut letters = Vec::new();
    for bot in state.all_bots()? {
        let folder = letters_of(state, bot);
        for file_name in folder.names()? {
            let letter = folder.file(&file_name).read_or_missing(now)?;
            letters.extend(letter.map(|letter| DeadLetter {
                file_name,
                ..letter
            }));
        }
    }
    letters.sort_by_key(|letter| letter.received);
    Ok(letters)
}

/// Removes a letter that [`read_all`] returned, for good.
pub fn remove(state: &StateDir, letter: &DeadLetter) -> Result<(), StoreError> {
    let folder = letters_of(state, letter.bot_id);
    folder.file(&letter.file_name).at(Step::Sweep).remove()?;
    folder.sync()
}
