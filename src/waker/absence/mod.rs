//! Looking whether somebody is there while messages wait, and carrying out what [`crate::waker::absence::policy`]
//! decides.
//!
//! `down.json` is written before anybody is told, and names the downtime; the notices are deliveries whose
//! keys come from it, so a kill in between tells nobody twice. An idle house looks at nothing.

pub mod policy;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};
use crate::telegram::update::{self, Body};
use crate::waker::absence::policy::{
    Downtime, Effect, Presence, Seen, TOLD_BACK, TOLD_DOWN, Word, Wrote,
};

/// Most messages that are read at once.
const READ_MAX: usize = 500;

/// A session that has a tmux session.
pub struct Watched<'a> {
    /// The state folder.
    pub state: &'a StateDir,
    /// The session.
    pub id: &'a SessionId,
    /// Looks whether an agent is in its tmux session.
    pub presence: &'a dyn Fn() -> Presence,
}

impl Watched<'_> {
    /// Looks whether somebody is there, tells who wrote, and says when to look again. `lives`: whether an
    /// agent of the session is known to live.
    pub fn look(&self, lives: bool, now: Timestamp) -> Result<Option<Duration>, ReadError> {
        let dir = self.state.session(self.id);
        let note = read(self.state, &dir, now)?;
        if note.is_none() && lives {
            return Ok(None);
        }
        let inbox = Inbox::new(self.state, dir.clone());
        let pending = inbox.pending()?;
        if note.is_none() && pending.is_empty() {
            return Ok(None);
        }
        let presence = if lives {
            Presence::Here
        } else {
            (self.presence)()
        };
        let known_to = note.as_ref().and_then(|note| note.known_to);
        let wrote = wrote(&inbox, &pending, known_to)?;
        let more = wrote.len() == READ_MAX;
        let seen = Seen {
            presence,
            waiting: !pending.is_empty(),
            wrote: &wrote,
        };
        let (effects, again) = policy::next(note.as_ref(), &seen, FORMAT, now);
        for effect in effects {
            self.carry_out(&dir, effect, now)?;
        }
        Ok(if more { Some(Duration::ZERO) } else { again })
    }

    fn carry_out(
        &self,
        dir: &SessionDir,
        effect: Effect,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match effect {
            Effect::Save(note) => {
                tracing::debug!(session = %self.id, phase = ?note.phase, "noting a downtime");
                format::write(&dir.down(), &note, Step::Downtime, Durability::Synced)
            }
            Effect::Tell { since, chat, word } => {
                let (text, name, reply_to) = match word {
                    Word::Down => (TOLD_DOWN, "down", chat.message_id),
                    Word::Back => (TOLD_BACK, "back", None),
                };
                tracing::info!(session = %self.id, chat = %chat.address, what = name, "telling how the session is");
                let about = [
                    name,
                    self.id.as_str(),
                    &chat.address.bot_id.to_string(),
                    &chat.address.to_string(),
                    &since.0.to_string(),
                ];
                let notice = Notice {
                    session: self.id,
                    address: chat.address,
                    about: &about,
                    text: text.to_owned(),
                    reply_to,
                    // The agent's answer, which follows, rings.
                    silent: word == Word::Back,
                };
                notice::send_notice(&Outbox::new(self.state, dir.clone()), notice, now)
            }
            Effect::Forget => {
                tracing::debug!(session = %self.id, "a downtime is over");
                atomic::remove(&dir.down(), Step::Downtime)
            }
        }
    }
}

/// The note of a downtime. A damaged one counts as none: somebody may be told once more.
pub fn read(
    state: &StateDir,
    dir: &SessionDir,
    now: Timestamp,
) -> Result<Option<Downtime>, ReadError> {
    match format::read(state, &dir.down(), now) {
        Err(ReadError::Quarantined { .. }) => Ok(None),
        read @ (Ok(_) | Err(_)) => read,
    }
}

/// The oldest messages that the note does not know yet.
fn wrote(
    inbox: &Inbox,
    pending: &BTreeSet<EntryName>,
    known_to: Option<EntryName>,
) -> Result<Vec<Wrote>, StoreError> {
    let fresh = pending
        .iter()
        .filter(|name| known_to.is_none_or(|known| **name > known));
    let mut wrote = Vec::new();
    for &name in fresh.take(READ_MAX) {
        // One that cannot be read is for the agents to report.
        let entry = inbox.peek(name)?;
        let update = entry
            .as_ref()
            .and_then(|entry| update::read(entry.update.get()).ok());
        let message_id = update.and_then(|update| match update.body {
            Body::Message { message, .. } => Some(Some(message.message_id)),
            Body::Press(_) => Some(None),
            // Nobody waits for an answer to these.
            Body::Reaction(_) | Body::Membership(_) | Body::Other(_) => None,
        });
        wrote.push(Wrote {
            name,
            address: entry
                .filter(|_| message_id.is_some())
                .map(|entry| entry.address),
            message_id: message_id.flatten(),
        });
    }
    Ok(wrote)
}
