//! What lies on the desk while one call is decided. What of it is shown: [`show`].

mod show;

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

pub(in crate::mcp) use self::show::Again;
use crate::clock::Timestamp;
use crate::error_chain::Chain;
use crate::ids::{Address, UpdateId};
use crate::mcp::call::{Caller, Mailbox, MailboxError, PresentationId};
use crate::mcp::tools::{Refusal, To};
use crate::state::agents::holder;
use crate::state::agents::{AgentFile, ClientName, Thread};
use crate::state::gateway_status;
use crate::state::holds::{Conversation, Held};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::Item;
use crate::store::atomic::Durability;
use crate::store::crash_points::Step;
use crate::store::disk::HeldLock;
use crate::store::state_file::ReadError;
use crate::telegram::update;

/// A holder's call is noted at least this often, so that others see that it is not silent.
const ACTIVE_NOTE: Duration = Duration::from_secs(60);

/// What lies on the desk while one call is decided: everything read under the lock, once.
pub(crate) struct Desk<'a> {
    pub(crate) mailbox: &'a Mailbox,
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
    pub(crate) pending: BTreeSet<EntryName>,
    pub(crate) me: Conversation,
    /// As it is on disk.
    me_on_disk: Option<Conversation>,
    others: Vec<Other>,
    /// The entries that this process has surely shown to this agent.
    read: BTreeSet<EntryName>,
    /// The conversation that `telegram_reply` has shown last.
    pub(crate) answering: Option<Address>,
    pub(crate) notices: Vec<String>,
    _lock: HeldLock,
}

/// Notes something in this agent's conversation that a result said, now that it has gone out.
pub(crate) fn note(
    mailbox: &Mailbox,
    caller: &Caller,
    said: impl FnOnce(&mut Conversation),
) -> Result<(), MailboxError> {
    let _lock = lock(mailbox, caller)?;
    let holder = caller.holder.as_str();
    let Some(on_disk) = mailbox.holds.read(holder, mailbox.clock.now())? else {
        return Ok(());
    };
    let mut me = on_disk.clone();
    said(&mut me);
    if me != on_disk {
        // Lost with the power, that note only means that it is said once more.
        mailbox.holds.write(&me, Step::Told, Durability::Unsynced)?;
    }
    Ok(())
}

/// What this agent was shown, if it can be read. What is wrong with the file is for the call to say.
pub(crate) fn peek(mailbox: &Mailbox, caller: &Caller) -> Option<Conversation> {
    mailbox.holds.peek(caller.holder.as_str())
}

/// Makes the server known before an agent has called it.
pub(crate) fn register(mailbox: &Mailbox, client: Option<ClientName>) -> Result<(), MailboxError> {
    mailbox.state.prepare()?;
    mailbox.dir.prepare()?;
    let _lock = lock_as(mailbox, "registering")?;
    let mut registration = mailbox
        .registration
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(registration.update(|file| file.client = client)?)
}

/// Takes the session lock for a call.
pub(crate) fn lock(mailbox: &Mailbox, caller: &Caller) -> Result<HeldLock, MailboxError> {
    lock_as(mailbox, &caller.label)
}

fn lock_as(mailbox: &Mailbox, whom: &str) -> Result<HeldLock, MailboxError> {
    let who = format!("telepost mcp, pid {} ({whom})", std::process::id());
    Ok(mailbox.dir.take_lock(&who)?)
}

/// What a call tells of an agent: that it lives, and how it can be reached.
fn call_of(file: &mut AgentFile, caller: &Caller) {
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

/// Another agent of the session.
pub(crate) struct Other {
    conversation: Conversation,
    alive: bool,
    /// The entries that it keeps others from: shown by a living server process, and it is not silent.
    kept: BTreeSet<EntryName>,
}

impl<'a> Desk<'a> {
    pub(crate) fn open(mailbox: &'a Mailbox, caller: &'a Caller) -> Result<Self, MailboxError> {
        mailbox.state.prepare()?;
        mailbox.dir.prepare()?;
        let lock = lock(mailbox, caller)?;
        let now = mailbox.clock.now();
        mailbox
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .update(|file| call_of(file, caller))?;

        let mut notices = Vec::new();
        mailbox.settle_committed(now, &mut notices)?;
        let pending = mailbox.inbox.pending()?;
        let living = holder::list_living(&mailbox.dir, now)?;
        let mut me_on_disk = None;
        let (mut others, mut left) = (Vec::new(), Vec::new());
        for holder in mailbox.holds.holders()? {
            let mut conversation = match mailbox.holds.read(&holder, now) {
                Ok(Some(conversation)) => conversation,
                Ok(None) => continue,
                Err(error @ ReadError::Quarantined { .. }) => {
                    notices.push(format!(
                        "What one agent was shown is not known any more; the messages that it held are offered again. {}",
                        Chain(&error)
                    ));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if holder == caller.holder.as_str() {
                me_on_disk = Some(conversation);
                continue;
            }
            conversation.reconcile(&pending);
            let alive = living.has_holder(&holder);
            if !alive && conversation.is_idle() {
                left.push((holder, conversation.late));
                continue;
            }
            let kept = if alive && !conversation.is_silent(now) {
                conversation.living_entries(|server| living.servers.contains(server))
            } else {
                BTreeSet::new()
            };
            others.push(Other {
                conversation,
                alive,
                kept,
            });
        }
        let mut me = me_on_disk
            .clone()
            .unwrap_or_else(|| Conversation::new(caller.holder.as_str(), &caller.label, now));
        let mut presented = mailbox.presented();
        let read = presented.read(&caller.holder);
        // Before the settled ones go: also a message that another process has settled was read.
        me.observe_read(&mailbox.server, &read);
        let on_disk = me.entries();
        me.reconcile(&pending);
        // A conversation that was answered is not the one to answer next.
        presented.retain(
            &caller.holder,
            &on_disk,
            &me.read_addresses(&mailbox.server, &read),
        );
        let answering = presented.answering(&caller.holder);
        drop(presented);
        let mut desk = Self {
            mailbox,
            caller,
            now,
            pending,
            me,
            me_on_disk,
            others,
            read,
            answering,
            notices,
            _lock: lock,
        };
        desk.inherit(left)?;
        desk.note_activity();
        Ok(desk)
    }

    /// Notes that this holder is not silent, whatever it calls. Without a file it holds nothing, so
    /// that nobody asks.
    fn note_activity(&mut self) {
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        if noted.is_some_and(|at| self.now.since(at) >= ACTIVE_NOTE)
            && let Err(error) = self.save(Step::Hold, Durability::Unsynced)
        {
            tracing::warn!(error = %Chain(&error), "cannot note that this agent is not silent");
        }
    }

    /// Forgets durably what is settled, or was never seen.
    pub(crate) fn release(&mut self) -> Result<(), MailboxError> {
        self.save(Step::Release, Durability::Synced)
    }

    /// Writes this holder's conversation if that says something new.
    fn save(&mut self, step: Step, durability: Durability) -> Result<(), MailboxError> {
        self.me.label.clone_from(&self.caller.label);
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        let fresh = noted.is_some_and(|at| self.now.since(at) < ACTIVE_NOTE);
        self.me.active_at = if fresh {
            noted.unwrap_or(self.now)
        } else {
            self.now
        };
        if self.me_on_disk.as_ref() != Some(&self.me) {
            self.mailbox.holds.write(&self.me, step, durability)?;
            self.me_on_disk = Some(self.me.clone());
        }
        Ok(())
    }

    /// Whether this agent has surely read a message from this process.
    pub(crate) fn is_read(&self, held: &Held) -> bool {
        held.is_read(&self.mailbox.server, &self.read)
    }

    /// Tracks a result that shows something new, or another conversation to be answered.
    fn present(
        &self,
        newly: BTreeSet<EntryName>,
        answering: Option<Address>,
    ) -> Option<PresentationId> {
        let answering = answering.filter(|address| self.me.held_at(*address).next().is_some());
        if newly.is_empty() && answering.is_none_or(|address| self.answering == Some(address)) {
            return None;
        }
        let holder = &self.caller.holder;
        Some(self.mailbox.presented().begin(holder, newly, answering))
    }

    /// The entries that this agent has surely read from this process.
    fn read_entries(&self) -> BTreeSet<EntryName> {
        self.me.read_entries(&self.mailbox.server, &self.read)
    }

    pub(crate) fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    /// Pending entries that another agent keeps.
    pub(crate) fn kept(&self) -> BTreeSet<EntryName> {
        let kept = self.others.iter().flat_map(|other| &other.kept);
        kept.copied().collect()
    }

    pub(crate) fn read(&mut self, name: EntryName) -> Result<Option<Item>, MailboxError> {
        match self.mailbox.inbox.read(name, self.now) {
            Ok(Some(entry)) => {
                let update = update::read(entry.update.get()).ok();
                Ok(Some(Item {
                    name,
                    address: entry.address,
                    update,
                }))
            }
            Ok(None) => {
                self.pending.remove(&name);
                Ok(None)
            }
            Err(error @ ReadError::Quarantined { .. }) => {
                self.pending.remove(&name);
                self.notices.push(format!(
                    "One message could not be read; ask the person to send it again. {}",
                    Chain(&error)
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The conversation that `to` means.
    pub(crate) fn address_of(&mut self, to: To) -> Result<Address, MailboxError> {
        let id = match to {
            To::Home => return self.home(),
            To::Message(id) => id,
        };
        if let Some(held) = self.me.find(id) {
            return Ok(held.address);
        }
        let kept = self.kept();
        if let Some(name) = self
            .pending
            .iter()
            .find(|name| name.update_id == id)
            .copied()
        {
            if kept.contains(&name) {
                return Err(Refusal(format!("Message {id} is being answered by another agent of this session. Leave it to that agent, or wait until it ends.")).into());
            }
            if let Some(item) = self.read(name)? {
                return Ok(item.address);
            }
        }
        match self.mailbox.inbox.read_settled(id, self.now) {
            Ok(Some(entry)) => Ok(entry.address),
            Ok(None) | Err(ReadError::Quarantined { .. }) => Err(self.no_such(id).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn home(&self) -> Result<Address, MailboxError> {
        let presence = gateway_status::read(&self.mailbox.state, self.now)?;
        let bot = presence
            .as_ref()
            .and_then(|presence| presence.sessions.get(&self.mailbox.session))
            .map(|session| session.bot_id);
        match bot {
            Some(bot_id) => Ok(Address { bot_id, chat_id: self.mailbox.home, topic_id: None }),
            None => Err(Refusal(
                "The bot of this session is not known yet, because no gateway has run with its token. Nothing was sent. Ask the person to set the token and to run `telepost gateway`, then call again.".to_owned(),
            )
            .into()),
        }
    }

    pub(crate) fn no_such(&self, id: UpdateId) -> Refusal {
        let ids: Vec<String> = self
            .me
            .held
            .iter()
            .map(|held| held.update_id.to_string())
            .collect();
        let held = if ids.is_empty() {
            "You hold none.".to_owned()
        } else {
            format!("You hold {}.", ids.join(", "))
        };
        Refusal(format!(
            "This session has no message {id}; `update_id` of a message names it. {held} Call telegram_poll to see what waits."
        ))
    }
}
