//! Files that come after their message was answered: the message stays settled, and the agent is told.
//!
//! A message that was settled while a file of it was being fetched stands in its holder's conversation, and so
//! the gateway goes on fetching. A later result says in `notices` that the file has come, or never will;
//! that is recorded when the client has the result. After a kill before that, the notice is given once
//! more. The message itself can then be looked at, as long as its tombstone is there. The next agent
//! inherits the notices of a dead one.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::ids::UpdateId;
use crate::mcp::call::{Caller, Mailbox, Notices, take_lock};
use crate::mcp::tools::Refusal;
use crate::state::holds::Late;
use crate::state::inbox::view::{self, FileStanding, Item, RenderedMessage};
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;

/// Most messages that one result tells of; others follow with the next.
const MOST: usize = 2;

impl Mailbox {
    /// The notices about files that have come, or never will.
    pub(crate) fn list_late_files(&self, caller: &Caller) -> Result<Notices<UpdateId>, Refusal> {
        // The call itself reports a damaged file.
        let Some(me) = self.driver.holds.peek(caller.holder.as_str()) else {
            return Ok(Vec::new());
        };
        let mut notices = Vec::new();
        for late in me.late.iter().filter(|late| !late.told) {
            if notices.len() == MOST {
                break;
            }
            let Some((message, _)) = self.read_late(late, self.clock.now())? else {
                continue;
            };
            if !message.message.awaits_files() {
                notices.push((late.update_id, describe_files(&message)));
            }
        }
        Ok(notices)
    }

    /// Records that the client has the notices about the files of these messages.
    pub(crate) fn record_files_told(
        &self,
        caller: &Caller,
        ids: &BTreeSet<UpdateId>,
    ) -> Result<(), Refusal> {
        let _lock = take_lock(&self.dir, &caller.label)?;
        let me = self
            .driver
            .holds
            .read(caller.holder.as_str(), self.clock.now())?;
        let Some(mut me) = me else {
            return Ok(());
        };
        me.told_of_files(ids);
        // A loss of power costs a notice that is given once more.
        Ok(self
            .driver
            .holds
            .write(&me, Step::Told, Durability::Unsynced)?)
    }

    /// Reads a message that was settled before its files had come, with their state now and notices about
    /// them; `None` if nothing is left of it.
    pub(super) fn read_late(
        &self,
        late: &Late,
        now: Timestamp,
    ) -> Result<Option<(RenderedMessage, Vec<String>)>, Refusal> {
        let mut items = Vec::new();
        for &name in &late.entries {
            items.extend(
                self.driver
                    .inbox
                    .peek_settled(name)?
                    .map(|entry| Item::new(name, entry)),
            );
        }
        let Some(mut message) = view::together(&items) else {
            return Ok(None);
        };
        let notices = self.files.fill(&mut message, now);
        Ok(Some((message, notices)))
    }
}

/// Describes for an agent how the files of a message stand.
fn describe_files(message: &RenderedMessage) -> String {
    let (id, files) = (message.message.update_id, &message.message.attachments);
    let failed = files
        .iter()
        .filter(|file| file.state == FileStanding::Failed)
        .count();
    let what = match (failed, files.len()) {
        (0, 1) => "Its file is here now",
        (0, _) => "Its files are here now",
        (_, 1) => "Its file cannot be downloaded",
        (failed, all) if failed == all => "Its files cannot be downloaded",
        (_, _) => "Some of its files are here now; the others cannot be downloaded",
    };
    format!(
        "Message {id} was settled before its download ended. {what}. Call telegram_poll with `message`: {id} for the path, or the reason why there is none."
    )
}
