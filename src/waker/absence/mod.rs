//! Checks whether a session has an agent while messages wait, and carries out the effects of
//! [`decide_absence`]. A session without waiting messages is not checked.

pub(crate) mod policy;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::absence::{Absence, Missing};
use crate::state::inbox::{EntryName, Inbox};
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::state::{SessionDir, StateDir};
use crate::store::{ReadError, StoreError};
use crate::telegram::update::{self, Body};
use crate::waker::absence::policy::{
    AbsenceEffect, AbsenceInput, AbsenceNotice, AgentPresence, BACK_TEXT, CONNECTED_TEXT,
    DOWN_TEXT, UNCONNECTED_TEXT, WaitingMessage, decide_absence,
};

/// The most messages that are read in one check.
const READ_MAX: usize = 500;

/// A session whose people are told of an absence.
pub(super) struct AbsenceCheck<'a> {
    pub(crate) state: &'a StateDir,
    pub(crate) id: &'a SessionId,
    pub(crate) dir: &'a SessionDir,
    pub(crate) inbox: &'a Inbox,
    pub(crate) is_connected: bool,
}

impl AbsenceCheck<'_> {
    /// Checks the session, tells the chats that wrote, and returns when to check again. `look` looks for an
    /// agent in the tmux session.
    pub(super) fn run(
        &self,
        look: impl FnOnce() -> AgentPresence,
        now: Timestamp,
    ) -> Result<Option<Duration>, ReadError> {
        let note = Absence::file(self.dir).read_or_missing(now)?;
        if note.is_none() && self.is_connected {
            return Ok(None);
        }
        let pending = self.inbox.pending()?;
        if note.is_none() && pending.is_empty() {
            return Ok(None);
        }
        let presence = if self.is_connected {
            AgentPresence::Present
        } else {
            look()
        };
        let known_to = note.as_ref().and_then(|note| note.known_to);
        let new = self.read_new(&pending, known_to)?;
        let input = AbsenceInput {
            presence,
            waiting: !pending.is_empty(),
            new: &new,
        };
        let (effects, again) = decide_absence(note.as_ref(), &input, now);
        for effect in effects {
            self.carry_out(effect, now)?;
        }
        let is_complete = new.len() < READ_MAX;
        Ok(if is_complete {
            again
        } else {
            Some(Duration::ZERO)
        })
    }

    fn carry_out(&self, effect: AbsenceEffect, now: Timestamp) -> Result<(), StoreError> {
        match effect {
            AbsenceEffect::Save(note) => {
                tracing::debug!(session = %self.id, phase = ?note.phase, "noting an absence");
                Absence::file(self.dir).write(&note)
            }
            AbsenceEffect::Notify {
                since,
                chat,
                notice,
                missing,
            } => {
                let (name, reply_to) = match notice {
                    AbsenceNotice::Down => ("down", chat.message_id),
                    AbsenceNotice::Back => ("back", None),
                };
                let text = match (notice, missing) {
                    (AbsenceNotice::Down, Missing::Connection) => UNCONNECTED_TEXT,
                    (AbsenceNotice::Down, Missing::TmuxSession | Missing::Agent) => DOWN_TEXT,
                    (AbsenceNotice::Back, Missing::Connection) => CONNECTED_TEXT,
                    (AbsenceNotice::Back, Missing::TmuxSession | Missing::Agent) => BACK_TEXT,
                };
                tracing::info!(session = %self.id, chat = %chat.address, notice = name, "telling a chat whether the session runs");
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
                    // The agent's answer, which follows, makes a sound.
                    silent: notice == AbsenceNotice::Back,
                };
                notice::send_notice(&Outbox::new(self.state, self.dir.clone()), notice, now)
            }
            AbsenceEffect::Remove => {
                tracing::debug!(session = %self.id, "an absence is over");
                Absence::file(self.dir).remove()
            }
        }
    }

    /// Reads the oldest messages that the note does not cover yet.
    fn read_new(
        &self,
        pending: &BTreeSet<EntryName>,
        known_to: Option<EntryName>,
    ) -> Result<Vec<WaitingMessage>, StoreError> {
        let is_new = |name: &&EntryName| known_to.is_none_or(|known| **name > known);
        let mut messages = Vec::new();
        for &name in pending.iter().filter(is_new).take(READ_MAX) {
            // An entry that cannot be read is reported by the agents.
            let entry = self.inbox.peek(name)?;
            let parsed = entry.and_then(|entry| {
                let update = update::read(entry.update.get()).ok()?;
                Some((entry.address, update.body))
            });
            let (address, message_id) = match parsed {
                Some((address, Body::Message { message, .. })) => {
                    (Some(address), Some(message.message_id))
                }
                Some((address, Body::Press(_))) => (Some(address), None),
                // No person waits for an answer to these.
                Some((_, Body::Reaction(_) | Body::Membership(_) | Body::Other(_))) | None => {
                    (None, None)
                }
            };
            messages.push(WaitingMessage {
                name,
                address,
                message_id,
            });
        }
        Ok(messages)
    }
}
