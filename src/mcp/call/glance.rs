//! A look at the session without its lock: whether surely nothing is there to be shown.
//!
//! A message wakes every agent that waits for one, and one of them is shown it. If all of them took the lock
//! for that, hundreds would keep each other from it for seconds. So an agent that holds nothing takes the lock
//! only while it sees a message that no other agent keeps. The look may be wrong for a moment; then the agent
//! takes the lock for nothing, or looks again when the next name changes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mcp::call::picture::{OtherAgent, Picture};
use crate::mcp::call::show::{Again, ShowCall};
use crate::mcp::call::{Caller, Mailbox, ShownPage, take_lock_within};
use crate::mcp::page;
use crate::mcp::tools::{Refusal, ToolResult};
use crate::state::agents::list_registered;
use crate::state::holds::Conversation;
use crate::store::lock::LockError;

/// How long an agent waits for the lock before it looks again whether it still needs it.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often it does that before the call is refused.
const ATTEMPTS: usize = 100;

impl Mailbox {
    /// Shows a page as [`ShowCall::show_page`] does, and takes the lock only if there may be something to show.
    pub(super) fn show_if_any(
        &self,
        caller: &Caller,
        base: &ToolResult,
        limit: usize,
        again: Again,
    ) -> Result<ShownPage, Refusal> {
        self.prepare()?;
        let mut attempts = 1..ATTEMPTS;
        let lock = loop {
            if let Some(page) = self.glance(caller, base)? {
                return Ok(page);
            }
            match take_lock_within(&self.dir, &caller.label, PATIENCE) {
                Ok(lock) => break lock,
                Err(LockError::Held { .. }) if attempts.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        };
        ShowCall::open_locked(self, caller, base.clone(), lock)?.show_page(limit, again, None)
    }

    /// The empty page of an agent for which there is surely nothing.
    fn glance(&self, caller: &Caller, base: &ToolResult) -> Result<Option<ShownPage>, Refusal> {
        let me = self.driver.holds.peek(caller.holder.as_str());
        let holds = |one: &Conversation| !one.held.is_empty() || !one.late.is_empty();
        let follow_ups = self.driver.outbox.waiting()?;
        if !self.registration().names(&caller.holder)
            || me.as_ref().is_some_and(holds)
            || !follow_ups.is_subset(&self.settled())
        {
            return Ok(None);
        }
        let now = self.clock.now();
        let pending = self.driver.inbox.follow_pending()?;
        let mut others = Vec::new();
        for holder in self.driver.holds.holders()? {
            if holder == caller.holder.as_str() {
                continue;
            }
            let Some(mut conversation) = self.driver.holds.peek(&holder) else {
                return Ok(None);
            };
            conversation.reconcile(&pending.among(&conversation.entries()));
            if holds(&conversation) {
                others.push(conversation);
            }
        }
        let living = if others.is_empty() {
            Vec::new()
        } else {
            list_registered(&self.dir)?
        };
        let servers: BTreeSet<&str> = living.iter().map(|one| one.name.as_str()).collect();
        let others = others.into_iter().map(|conversation| {
            let mut holders = living.iter().flat_map(|server| &server.file.holders);
            let alive = holders.any(|one| one.as_str() == conversation.holder);
            OtherAgent::new(conversation, alive, now, |server| servers.contains(server))
        });
        let others: Vec<OtherAgent> = others.collect();
        if others.iter().any(|other| !other.alive) {
            return Ok(None);
        }
        let picture = Picture {
            now,
            server: self.server.clone(),
            label: caller.label.clone(),
            pending,
            me: Conversation::new(caller.holder.as_str(), &caller.label, now),
            me_on_disk: None,
            others,
            read: BTreeSet::new(),
            answering: None,
            newest_accepted: 0,
        };
        if picture.fresh_names().next().is_some() {
            return Ok(None);
        }
        let mut notices = base.notices.clone();
        notices.extend(picture.notices_about_others(&BTreeSet::new()));
        Ok(Some(ShownPage {
            result: ToolResult {
                remaining: picture.pending.len(),
                session: self.session.to_string(),
                notices: page::notices(&notices),
                ..base.clone()
            },
            presentation: None,
            ready_in: None,
        }))
    }
}
