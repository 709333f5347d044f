//! One call of an agent, from the session lock to the effects: it reads the [`Picture`] and, as far as the
//! call needs them, entries and deliveries. The decisions are those of [`Picture`], [`super::show`] and
//! [`super::commit`].

use std::collections::BTreeSet;

use crate::error_chain::Chain;
use crate::ids::{Address, UpdateId};
use crate::mcp::call::effects::{Effect, Effects};
use crate::mcp::call::picture::{OtherAgent, Picture};
use crate::mcp::call::presented::PresentationId;
use crate::mcp::call::{Caller, Mailbox, take_lock};
use crate::mcp::tools::{Refusal, To};
use crate::state::agents::holder;
use crate::state::agents::{AgentFile, Thread};
use crate::state::gateway_status;
use crate::state::holds::{Conversation, Late};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::pending::Pending;
use crate::state::inbox::view::Item;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::disk::HeldLock;
use crate::store::state_file::ReadError;

/// A call that has the session lock.
pub(in crate::mcp) struct ToolCall<'a> {
    pub(super) mailbox: &'a Mailbox,
    pub(super) caller: &'a Caller,
    pub(super) picture: Picture,
    pub(super) notices: Vec<String>,
    _lock: HeldLock,
}

/// The conversations of the other agents: those that hold something, and those to be removed, with the
/// late files that they leave.
type Others = (Vec<OtherAgent>, Vec<(String, Vec<Late>)>);

impl<'a> ToolCall<'a> {
    /// Takes the lock and reads the picture.
    pub(super) fn open(mailbox: &'a Mailbox, caller: &'a Caller) -> Result<Self, Refusal> {
        mailbox.prepare()?;
        let lock = take_lock(&mailbox.dir, &caller.label)?;
        Self::open_locked(mailbox, caller, lock)
    }

    /// Reads the picture. First it makes good what killed processes have left.
    pub(super) fn open_locked(
        mailbox: &'a Mailbox,
        caller: &'a Caller,
        lock: HeldLock,
    ) -> Result<Self, Refusal> {
        let now = mailbox.clock.now();
        mailbox
            .registration()
            .update(|file| add_caller(file, caller))?;
        let mut notices = Vec::new();
        settle_committed(mailbox, &mut notices)?;
        let holder = caller.holder.as_str();
        let pending = mailbox.driver.inbox.follow_pending()?;
        let me_on_disk = read_conversation(mailbox, holder, &mut notices)?;
        let (others, left) = read_others(mailbox, holder, &pending, &mut notices)?;
        let mut me = me_on_disk
            .clone()
            .unwrap_or_else(|| Conversation::new(holder, &caller.label, now));
        me.come_back(now);
        let mut presented = mailbox.presented();
        let read = presented.read(&caller.holder);
        // Before the settled ones go: also a message that another process has settled was read.
        me.observe_read(&mailbox.server, &read);
        let held = me.entries();
        me.reconcile(&pending.among(&held));
        // A conversation that was answered is not the one to answer next.
        presented.retain(
            &caller.holder,
            &held,
            &me.read_addresses(&mailbox.server, &read),
        );
        let answering = presented.answering(&caller.holder);
        drop(presented);
        let mut call = Self {
            mailbox,
            caller,
            picture: Picture {
                now,
                server: mailbox.server.clone(),
                label: caller.label.clone(),
                pending,
                me,
                me_on_disk,
                others,
                read,
                answering,
                newest_accepted: mailbox.driver.outbox.newest(now)?,
            },
            notices,
            _lock: lock,
        };
        let inherited = call.picture.plan_inheritance(left);
        call.carry_out(inherited)?;
        if let Some(note) = call.picture.plan_activity_note()
            && let Err(error) = call.carry_out(vec![note])
        {
            tracing::warn!(%error, "cannot record that this agent is active");
        }
        Ok(call)
    }

    /// Settles messages without an answer. Returns those that were, and were not, acknowledged.
    pub(super) fn acknowledge(
        mut self,
        ids: &[UpdateId],
    ) -> Result<(Vec<UpdateId>, Vec<UpdateId>), Refusal> {
        let (acked, not_acked): (Vec<UpdateId>, _) = ids
            .iter()
            .partition(|id| self.picture.find_read(**id).is_some());
        let held = acked.iter().filter_map(|id| self.picture.find_read(*id));
        let entries = held.flat_map(|held| held.entries.iter().copied()).collect();
        let effects = self.picture.plan_acknowledgement(entries);
        self.carry_out(effects)?;
        Ok((acked, not_acked))
    }

    pub(super) fn let_go(mut self, unread: &BTreeSet<EntryName>) -> Result<(), Refusal> {
        let effects = self.picture.plan_release(unread);
        self.carry_out(effects)
    }

    /// Carries out what was decided.
    pub(super) fn carry_out(&self, effects: impl Into<Effects>) -> Result<(), Refusal> {
        Ok(self.mailbox.driver.carry_out(effects.into())?)
    }

    /// Tracks a result that shows something new, or another conversation to be answered.
    pub(super) fn track_presentation(
        &self,
        newly: BTreeSet<EntryName>,
        answering: Option<Address>,
    ) -> Option<PresentationId> {
        let picture = &self.picture;
        let holds = |address: &Address| picture.me.held_at(*address).next().is_some();
        let answering = answering.filter(holds);
        if newly.is_empty() && answering.is_none_or(|address| picture.answering == Some(address)) {
            return None;
        }
        let holder = &self.caller.holder;
        Some(self.mailbox.presented().begin(holder, newly, answering))
    }

    /// Reads a pending entry. `None` if it cannot be shown; the notices say why.
    pub(super) fn read_entry(&mut self, name: EntryName) -> Result<Option<Item>, Refusal> {
        match self.mailbox.driver.inbox.read(name, self.picture.now) {
            Ok(Some(entry)) => Ok(Some(Item::new(name, entry))),
            Ok(None) => {
                self.picture.pending.remove(name);
                Ok(None)
            }
            Err(error @ ReadError::Quarantined { .. }) => {
                self.picture.pending.remove(name);
                self.notices.push(format!(
                    "One message could not be read; ask the person to send it again. {}",
                    Chain(&error)
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a settled entry whose tombstone is still there.
    pub(super) fn read_settled(&self, id: UpdateId) -> Result<Option<Item>, Refusal> {
        match self.mailbox.driver.inbox.read_settled(id, self.picture.now) {
            Ok(entry) => Ok(entry.map(|entry| Item::new(entry.name(), entry))),
            Err(ReadError::Quarantined { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The conversation that `to` means.
    pub(super) fn address_of(&mut self, to: To) -> Result<Address, Refusal> {
        let id = match to {
            To::Home => return self.home(),
            To::Message(id) => id,
        };
        if let Some(held) = self.picture.me.find(id) {
            return Ok(held.address);
        }
        if let Some(name) = self.picture.pending.find(id) {
            if self.picture.kept().contains(&name) {
                return Err(Refusal(format!(
                    "Message {id} is being answered by another agent of this session. Leave it to that agent, or wait until it ends or makes no call for 30 minutes."
                )));
            }
            if let Some(item) = self.read_entry(name)? {
                return Ok(item.address);
            }
        }
        let settled = self.read_settled(id)?;
        settled
            .map(|item| item.address)
            .ok_or_else(|| self.no_such(id))
    }

    fn home(&self) -> Result<Address, Refusal> {
        let mailbox = self.mailbox;
        let status = gateway_status::read(&mailbox.state, self.picture.now)?;
        let bot = status
            .as_ref()
            .and_then(|status| status.sessions.get(&mailbox.session))
            .map(|session| session.bot_id);
        match bot {
            Some(bot_id) => Ok(Address { bot_id, chat_id: mailbox.home, topic_id: None }),
            None => Err(Refusal(
                "The bot of this session is not known yet, because no gateway has run with its token. Nothing was sent. Ask the person to set the token and to run `telepost gateway`, then call again.".to_owned(),
            )),
        }
    }

    pub(super) fn no_such(&self, id: UpdateId) -> Refusal {
        let held = self.picture.me.held.iter();
        let ids: Vec<String> = held.map(|held| held.update_id.to_string()).collect();
        let held = if ids.is_empty() {
            "You hold no messages.".to_owned()
        } else {
            format!("You hold {}.", ids.join(", "))
        };
        Refusal(format!(
            "This session has no message {id}; messages are named by their `update_id`. {held} Call telegram_poll to see which messages are waiting."
        ))
    }
}

/// Adds the calling agent to the registration: it lives, and this is how it can be reached.
fn add_caller(file: &mut AgentFile, caller: &Caller) {
    file.holders.insert(caller.holder.clone());
    if caller.client.is_some() {
        file.client.clone_from(&caller.client);
    }
    let known = file.threads.iter().any(|one| one.holder == caller.holder);
    if let Some(id) = caller.thread.clone().filter(|_| !known) {
        let holder = caller.holder.clone();
        file.threads.push(Thread { holder, id });
    }
}

/// Settles the messages that waiting deliveries answer: the follow-up of commits that a kill cut short.
fn settle_committed(mailbox: &Mailbox, notices: &mut Vec<String>) -> Result<(), Refusal> {
    let mut known = mailbox.settled();
    let waiting = mailbox.driver.outbox.waiting()?;
    known.retain(|id| waiting.contains(id));
    let unknown: Vec<DeliveryId> = waiting.difference(&known).cloned().collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut effects = vec![Effect::SyncOutbox];
    let mut read = Vec::new();
    for id in unknown {
        match mailbox.driver.outbox.read(&id, mailbox.clock.now()) {
            Ok(Some(delivery)) => {
                effects.push(Effect::Settle(delivery.answers));
                read.push(id);
            }
            Ok(None) => {}
            Err(error @ ReadError::Quarantined { .. }) => {
                notices.push(format!(
                    "One stored reply could not be read. The person did not get all of it, and the message that it answers may not be shown again: send the reply again. {}",
                    Chain(&error)
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    mailbox.driver.carry_out(effects.into())?;
    known.extend(read);
    Ok(())
}

/// Reads the conversation of an agent. A damaged one counts as missing; the notices say so.
fn read_conversation(
    mailbox: &Mailbox,
    holder: &str,
    notices: &mut Vec<String>,
) -> Result<Option<Conversation>, Refusal> {
    match mailbox.driver.holds.read(holder, mailbox.clock.now()) {
        Err(error @ ReadError::Quarantined { .. }) => {
            notices.push(format!(
                "The record of what one agent was shown could not be read; the messages that it held are offered again. {}",
                Chain(&error)
            ));
            Ok(None)
        }
        read => Ok(read?),
    }
}

fn read_others(
    mailbox: &Mailbox,
    me: &str,
    pending: &Pending,
    notices: &mut Vec<String>,
) -> Result<Others, Refusal> {
    let now = mailbox.clock.now();
    let (mut others, mut left) = (Vec::new(), Vec::new());
    let mut holders = mailbox.driver.holds.holders()?;
    holders.retain(|holder| holder != me);
    if holders.is_empty() {
        return Ok((others, left));
    }
    let living = holder::list_living(&mailbox.dir, now)?;
    for holder in holders {
        let Some(mut conversation) = read_conversation(mailbox, &holder, notices)? else {
            continue;
        };
        conversation.reconcile(&pending.among(&conversation.entries()));
        let alive = living.has_holder(&holder);
        if !alive && conversation.is_idle() {
            left.push((holder, conversation.late));
            continue;
        }
        let lives = |server: &str| living.servers.contains(server);
        others.push(OtherAgent::new(conversation, alive, now, lives));
    }
    Ok((others, left))
}
