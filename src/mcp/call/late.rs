//! Files that come after their message was answered: it stays settled, and the agent is told.
//!
//! What was settled while a file of it was on its way stands in its holder's conversation, and so the
//! gateway goes on fetching. A later result says in `notices` that the file has come, or never will;
//! that is noted when the result has gone out, and killed before, it is said once more. The message
//! itself can then be looked at, as long as its tombstone is there. Of what a dead agent was to be told
//! the next one is.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::ids::UpdateId;
use crate::mcp::call::desk::{self, Desk};
use crate::mcp::call::{Caller, Mailbox, MailboxError, News, ShownPage};
use crate::mcp::page::{self, Page};
use crate::mcp::tools::{Refusal, ToolResult};
use crate::state::holds::Late;
use crate::state::inbox::view::{self, FileStanding, Item, Shown};
use crate::telegram::update;

/// Of most messages that one result tells; others follow with the next.
const MOST: usize = 2;

impl Mailbox {
    /// The settled messages of whose files this agent is to be told, each with the words.
    pub fn news_of_files(&self, caller: &Caller) -> Result<News<UpdateId>, Refusal> {
        Ok(self.untold_files(caller)?)
    }

    /// Notes that the result which told of these has gone out.
    pub fn note_files(&self, caller: &Caller, ids: &BTreeSet<UpdateId>) -> Result<(), Refusal> {
        Ok(desk::note(self, caller, |me| me.told_of_files(ids))?)
    }

    fn untold_files(&self, caller: &Caller) -> Result<News<UpdateId>, MailboxError> {
        let Some(mine) = desk::peek(self, caller) else {
            return Ok(Vec::new());
        };
        let mut news = Vec::new();
        for late in mine.late.iter().filter(|late| !late.told) {
            if news.len() == MOST {
                break;
            }
            let Some((shown, _)) = self.late(late, self.clock.now())? else {
                continue;
            };
            if !shown.message.awaits_files() {
                news.push((late.update_id, say(&shown)));
            }
        }
        Ok(news)
    }

    /// A message that was settled before its files had come, with how they stand now, and what the agent
    /// should know besides; `None` if nothing is left of it.
    pub(in crate::mcp) fn late(
        &self,
        late: &Late,
        now: Timestamp,
    ) -> Result<Option<(Shown, Vec<String>)>, MailboxError> {
        let mut items = Vec::new();
        for &name in &late.entries {
            items.extend(self.inbox.peek_settled(name)?.map(|entry| Item {
                name,
                address: entry.address,
                update: update::read(entry.update.get()).ok(),
            }));
        }
        let Some(mut shown) = view::together(&items) else {
            return Ok(None);
        };
        let notices = self.files.fill(&mut shown, now);
        Ok(Some((shown, notices)))
    }
}

impl Desk<'_> {
    /// Removes what dead agents have left. Of files that were to come yet this one is told instead.
    pub(crate) fn inherit(&mut self, left: Vec<(String, Vec<Late>)>) -> Result<(), MailboxError> {
        for (holder, mut late) in left {
            late.retain(|late| !late.told);
            if !late.is_empty() {
                self.me.take_over(late);
                // First it is ours: a kill in between leaves it with both.
                self.release()?;
            }
            self.mailbox.holds.remove(&holder)?;
        }
        Ok(())
    }

    /// Shows a message that is settled, for its files. It is not held anew: there is nothing to answer.
    pub(crate) fn show_late(
        mut self,
        mut result: ToolResult,
        late: &Late,
        part: usize,
    ) -> Result<ShownPage, MailboxError> {
        let Some((shown, notices)) = self.mailbox.late(late, self.now)? else {
            return Err(self.no_such(late.update_id).into());
        };
        let mut page = Page::new(&result, 1);
        page.push(self.part_of(&shown, true, part)?);
        result.remaining = self.pending.len();
        result.messages = page.into_messages();
        self.notices.extend(notices);
        result.notices.append(&mut self.notices);
        result.notices = page::notices(&result.notices);
        Ok(ShownPage {
            result,
            presentation: None,
            ready_in: None,
        })
    }
}

fn say(shown: &Shown) -> String {
    let (id, files) = (shown.message.update_id, &shown.message.attachments);
    let failed = files
        .iter()
        .filter(|file| file.state == FileStanding::Failed)
        .count();
    let what = match (failed, files.len()) {
        (0, 1) => "The file is here",
        (0, _) => "The files are here",
        (_, 1) => "The file cannot be had",
        (failed, all) if failed == all => "The files cannot be had",
        (_, _) => "Some of the files are here, others cannot be had",
    };
    format!(
        "{what} that message {id} came with; it was still on its way when that was settled. Call telegram_poll with `message`: {id} to see where it is, or why not."
    )
}
