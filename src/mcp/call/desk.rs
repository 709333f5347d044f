//! What lies on the desk while one call is decided. What of it is shown: [`show`].

mod show;

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

pub(in crate::mcp) use self::show::Again;
use crate::clock::Timestamp;
use crate::error_chain::Chain;
use crate::ids::{Address, UpdateId};
use crate::mcp::call::{Caller, Mailbox, MailboxError};
use crate::mcp::tools::{Refusal, To};
use crate::state::agents::holder::{self, HolderId};
use crate::state::agents::{AgentFile, ClientName, Thread};
use crate::state::gateway_status;
use crate::state::holds::Conversation;
use crate::state::holds::seen::{self, Marks};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::Item;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::disk::HeldLock;
use crate::store::format::{self, ReadError};
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
    marks: Marks,
    /// The conversation that this call shows, to be remembered as the one that is being answered.
    answering: Option<Address>,
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
    let marks = Marks::read(&mailbox.dir)?;
    let path = mailbox.dir.conversations().join(file_name(&caller.holder));
    let on_disk: Option<Conversation> = format::read(&mailbox.state, &path, mailbox.clock.now())?;
    let Some(on_disk) = on_disk else {
        return Ok(());
    };
    let mut me = on_disk.clone();
    marks.apply(&mut me);
    said(&mut me);
    if me != on_disk {
        // Lost with the power, that note only means that it is said once more.
        format::write(&path, &me, Step::Seen, Durability::FileSynced)?;
    }
    Ok(())
}

/// What this agent was shown, if it can be read. What is wrong with the file is for the call to say.
pub(crate) fn peek(mailbox: &Mailbox, caller: &Caller) -> Option<Conversation> {
    seen::peek(&mailbox.dir, caller.holder.as_str())
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

pub(crate) struct Other {
    conversation: Conversation,
    alive: bool,
    /// Alive and not silent: what it holds is not shown to anybody else.
    keeps: bool,
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
        let marks = Marks::read(&mailbox.dir)?;
        let mut me_on_disk = None;
        let (mut others, mut left) = (Vec::new(), Vec::new());
        for name in atomic::list_names(&mailbox.dir.conversations())? {
            let path = mailbox.dir.conversations().join(&name);
            let mut conversation: Conversation = match format::read(&mailbox.state, &path, now) {
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
            if name == file_name(&caller.holder) {
                me_on_disk = Some(conversation);
                continue;
            }
            marks.apply(&mut conversation);
            conversation.reconcile(&pending);
            let alive = living
                .iter()
                .any(|holder| holder.as_str() == conversation.holder);
            if !alive && conversation.is_idle() {
                left.push((path, conversation.late));
                continue;
            }
            let keeps = alive && !conversation.is_silent(now);
            others.push(Other {
                conversation,
                alive,
                keeps,
            });
        }
        let mut me = me_on_disk
            .clone()
            .unwrap_or_else(|| Conversation::new(caller.holder.as_str(), &caller.label, now));
        marks.apply(&mut me);
        me.reconcile(&pending);
        let mut desk = Self {
            mailbox,
            caller,
            now,
            pending,
            me,
            me_on_disk,
            others,
            marks,
            answering: None,
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
            && let Err(error) = self.save(Step::Hold)
        {
            tracing::warn!(error = %Chain(&error), "cannot note that this agent is not silent");
        }
    }

    /// Writes this holder's conversation if that says something new.
    pub(crate) fn save(&mut self, step: Step) -> Result<(), MailboxError> {
        self.me.label.clone_from(&self.caller.label);
        let noted = self.me_on_disk.as_ref().map(|on_disk| on_disk.active_at);
        let fresh = noted.is_some_and(|at| self.now.since(at) < ACTIVE_NOTE);
        self.me.active_at = if fresh {
            noted.unwrap_or(self.now)
        } else {
            self.now
        };
        if self.me_on_disk.as_ref() != Some(&self.me) {
            let path = self
                .mailbox
                .dir
                .conversations()
                .join(file_name(&self.caller.holder));
            format::write(&path, &self.me, step, Durability::Synced)?;
            self.me_on_disk = Some(self.me.clone());
            self.clear_marks();
        }
        Ok(())
    }

    /// Removes the marks that the conversation just written has taken over. One that stays costs nothing
    /// but its name.
    fn clear_marks(&mut self) {
        let others = self.others.iter();
        let others = others.map(|other| other.conversation.holder.as_str());
        if let Err(error) = self
            .marks
            .clear(&self.mailbox.dir, &self.me, &others.collect())
        {
            tracing::debug!(error = %Chain(&error), "marks that are not needed any more stay");
        }
    }

    pub(crate) fn forget_settled(&mut self, entries: &[EntryName]) {
        for entry in entries {
            self.pending.remove(entry);
        }
        self.me.reconcile(&self.pending);
    }

    /// Pending entries that another agent keeps.
    pub(crate) fn kept(&self) -> BTreeSet<EntryName> {
        self.others
            .iter()
            .filter(|other| other.keeps)
            .flat_map(|other| other.conversation.entries())
            .collect()
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

fn file_name(holder: &HolderId) -> String {
    format!("{}.json", holder.as_str())
}
