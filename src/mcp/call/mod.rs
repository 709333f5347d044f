//! The calls of an agent, as read-decide-write steps under the session lock.
//!
//! Owns what a call may do and the order of its writes. Showing ([`crate::mcp::call::desk`]): the other
//! agents let go, then our hold, then the result; nothing is synced. Replying
//! ([`crate::mcp::call::commit`]): the names in `inbox/`, the outbox file (the commit point), then the
//! settling of the messages that it answers, then our conversation. The next call of any agent makes good a
//! kill between any two: it settles what the outbox answers, and a held entry without a file is settled.

mod bot_health;
mod commit;
mod desk;
mod failure_notices;
pub mod late;
mod presented;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::{Address, ChatId, SessionId, UpdateId};
use crate::mcp::attach::{Copies, Roots};
use crate::mcp::call::desk::{Again, Desk};
pub use crate::mcp::call::presented::PresentationId;
use crate::mcp::call::presented::Presented;
use crate::mcp::tools::{
    PollParams, ReactParams, Refusal, ReplyParams, Status, To, ToolResult, in_range,
};
use crate::state::agents::ClientName;
use crate::state::agents::holder::{HolderId, Registration};
use crate::state::bots::migrations;
use crate::state::bots::rate_limits::{self, HeldUntil};
use crate::state::files::Files;
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::delivery::{DeliveryId, DeliveryOutcome};
use crate::state::outbox::{DeliveryStatus, Outbox};
use crate::store::StoreError;
use crate::store::lock::LockError;
use crate::store::state_file::ReadError;
use crate::waker::methods::inbox_socket::{InboxSocket, RequestListener};

/// Most ids in one `ack`.
const ACK_MOST: usize = 200;

/// One session's mailbox, as one MCP server uses it.
pub struct Mailbox {
    pub(super) state: StateDir,
    pub(super) dir: SessionDir,
    pub(super) session: SessionId,
    pub(super) home: ChatId,
    pub(super) reply_to_message: bool,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    pub(super) files: Files,
    pub(super) holds: Holds,
    pub(super) clock: Clock,
    roots: Roots,
    pub(super) registration: Mutex<Registration>,
    /// The name of this server process in the holds that it writes.
    pub(super) server: String,
    presented: Mutex<Presented>,
    /// Deliveries whose answers this process has seen settled: not read again at every call.
    settled: Mutex<BTreeSet<DeliveryId>>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub holder: HolderId,
    /// The client, for people.
    pub label: String,
    /// The client's name of the thread that calls, where it has one that is safe to use.
    pub thread: Option<String>,
    /// What the client calls itself.
    pub client: Option<ClientName>,
    /// The client's own id of this call, if it gives one: the same call is never carried out twice.
    pub call: Option<String>,
}

/// A page that was shown.
#[derive(Debug)]
pub struct ShownPage {
    /// The result.
    pub result: ToolResult,
    /// The presentation to be tracked until the result went out, if it shows anything new.
    pub presentation: Option<PresentationId>,
    /// When a message that is still being put together will be complete.
    pub ready_in: Option<Duration>,
}

/// A reply or reaction that is on disk.
#[derive(Debug)]
pub struct Accepted {
    /// The delivery.
    pub id: DeliveryId,
    /// Where it goes.
    pub address: Address,
    /// Whether an earlier call has made it.
    pub repeat: bool,
    /// How many messages wait now.
    pub remaining: usize,
    /// What was acknowledged with it.
    pub acked: Vec<UpdateId>,
    /// What the agent should know besides.
    pub notices: Vec<String>,
}

/// What an agent is to be told besides, each with its words.
pub type News<Id> = Vec<(Id, String)>;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("another call of this session is still at work")]
    Busy(#[source] LockError),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<LockError> for MailboxError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Store(error) => Self::Store(error),
            held @ LockError::Held { .. } => Self::Busy(held),
        }
    }
}

impl From<MailboxError> for Refusal {
    fn from(error: MailboxError) -> Self {
        match error {
            MailboxError::Refused(refusal) => refusal,
            MailboxError::Store(_) | MailboxError::Read(_) | MailboxError::Busy(_) => {
                Self(format!(
                    "{}. Nothing was lost; call again when that is mended.",
                    Chain(&error)
                ))
            }
        }
    }
}

impl Mailbox {
    /// The mailbox of a session. Touches nothing.
    pub fn new(
        state: StateDir,
        session: &crate::config::Session,
        registration: Registration,
        roots: Roots,
        clock: Clock,
    ) -> Self {
        let dir = state.session(&session.id);
        Self {
            inbox: Inbox::new(&dir),
            outbox: Outbox::new(&state, dir.clone()),
            files: Files::new(&dir),
            holds: Holds::new(&dir),
            session: session.id.clone(),
            home: session.chat_ids.first().copied().unwrap_or(ChatId(0)),
            reply_to_message: session.reply_to_message,
            server: registration.name(),
            registration: Mutex::new(registration),
            presented: Mutex::default(),
            settled: Mutex::default(),
            state,
            dir,
            clock,
            roots,
        }
    }

    /// The folders whose changes a waiting call watches: new messages, their files, and finished
    /// deliveries.
    pub fn watched(&self) -> [std::path::PathBuf; 4] {
        self.dir.folders_about_calls()
    }

    /// Creates the folders of the session, so that they can be watched.
    pub fn prepare(&self) -> Result<(), Refusal> {
        let prepared = self.state.prepare().and_then(|()| self.dir.prepare());
        prepared.map_err(|error| MailboxError::from(error).into())
    }

    /// Makes this server known before an agent has called it, so that messages can wake the agent.
    pub fn register(&self, client: Option<ClientName>) -> Result<(), Refusal> {
        Ok(desk::register(self, client)?)
    }

    /// Where requests to wake the agent of this server arrive.
    pub(crate) fn listener(&self, socket: InboxSocket) -> RequestListener {
        let registration = self
            .registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        RequestListener::new(self.dir.clone(), registration.name(), socket)
    }

    /// Carries out `ack`. Returns what was and what was not acknowledged.
    pub fn acknowledge(
        &self,
        caller: &Caller,
        ids: &[UpdateId],
    ) -> Result<(Vec<UpdateId>, Vec<UpdateId>), Refusal> {
        if ids.len() > ACK_MOST {
            return Err(Refusal(format!(
                "`ack` lists {} messages; at most {ACK_MOST} at once. Nothing was acknowledged; call again with fewer.",
                ids.len()
            )));
        }
        Ok(self.acknowledge_ids(caller, ids)?)
    }

    fn acknowledge_ids(
        &self,
        caller: &Caller,
        ids: &[UpdateId],
    ) -> Result<(Vec<UpdateId>, Vec<UpdateId>), MailboxError> {
        if ids.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut desk = Desk::open(self, caller)?;
        let (mut acked, mut not_acked, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for &id in ids {
            match desk.me.find(id) {
                // The result that showed it may be lost, as for a reply.
                Some(held) if desk.is_read(held) => {
                    acked.push(id);
                    entries.extend(held.entries.iter().copied());
                }
                Some(_) | None => not_acked.push(id),
            }
        }
        self.inbox.settle(&entries)?;
        desk.forget_settled(&entries);
        desk.release()?;
        Ok((acked, not_acked))
    }

    /// Shows the messages that were not shown to this agent yet, oldest first. With `again`, those
    /// that it holds if there are no others.
    pub fn show(
        &self,
        caller: &Caller,
        base: ToolResult,
        limit: usize,
        again: bool,
    ) -> Result<ShownPage, Refusal> {
        let again = if again {
            Again::IfNothingNew
        } else {
            Again::Never
        };
        Ok(Desk::open(self, caller)?.show(base, limit, again, None)?)
    }

    /// Shows one part of one message.
    pub fn show_part(
        &self,
        caller: &Caller,
        base: ToolResult,
        id: UpdateId,
        part: usize,
    ) -> Result<ShownPage, Refusal> {
        Ok(Desk::open(self, caller)?.show_part(base, id, part)?)
    }

    /// Shows the oldest waiting conversation, or the one meant, and remembers it as the one that is
    /// being answered.
    pub fn show_conversation(
        &self,
        caller: &Caller,
        base: ToolResult,
        to: Option<To>,
    ) -> Result<ShownPage, Refusal> {
        Ok(Desk::open(self, caller)?.show_conversation(base, to)?)
    }

    /// The result of a presentation is in the client's pipe.
    pub fn mark_delivered(&self, id: PresentationId) {
        self.presented().flushed(id);
    }

    /// Lets go of the messages of a result that the client has cancelled, and so never saw.
    pub fn withdraw(&self, caller: &Caller, id: PresentationId) -> Result<(), Refusal> {
        let unread = self.presented().cancelled(id);
        if unread.is_empty() {
            return Ok(());
        }
        let let_go = || -> Result<(), MailboxError> {
            let mut desk = Desk::open(self, caller)?;
            desk.me.let_go(&unread);
            desk.release()
        };
        Ok(let_go()?)
    }

    pub(super) fn presented(&self) -> MutexGuard<'_, Presented> {
        self.presented
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reply with files may be sent, before they are copied; what an earlier call has made,
    /// if it is the same call again.
    pub fn may_reply(
        &self,
        caller: &Caller,
        params: &ReplyParams,
    ) -> Result<Option<Accepted>, Refusal> {
        Ok(Desk::open(self, caller)?.may_reply(params)?)
    }

    /// Copies the files of a reply. Takes its time, and no lock.
    pub fn copies(&self, params: &ReplyParams) -> Result<Copies, Refusal> {
        // What earlier calls have left that were cut short takes room.
        if let Err(error) = self.outbox.sweep_copies() {
            tracing::warn!(error = %Chain(&error), "cannot remove what a call that was cut short has left");
        }
        self.roots.copy(params.files(), || self.outbox.stage())
    }

    /// Accepts a reply, a progress or a message of the agent's own.
    pub fn reply(
        &self,
        caller: &Caller,
        params: &ReplyParams,
        copies: Option<Copies>,
    ) -> Result<Accepted, Refusal> {
        Ok(Desk::open(self, caller)?.reply(params, copies)?)
    }

    /// Accepts a reaction.
    pub fn react(&self, caller: &Caller, params: &ReactParams) -> Result<Accepted, Refusal> {
        Ok(Desk::open(self, caller)?.react(params)?)
    }

    /// How an accepted delivery stands, and whether that is its end.
    pub fn standing(&self, accepted: &Accepted) -> Result<(ToolResult, bool), Refusal> {
        Ok(self.standing_of(accepted)?)
    }

    fn standing_of(&self, accepted: &Accepted) -> Result<(ToolResult, bool), MailboxError> {
        let now = self.clock.now();
        let mut result = ToolResult {
            remaining: accepted.remaining,
            session: self.session.to_string(),
            status: Some(Status::Accepted),
            acked: accepted.acked.clone(),
            delivery_id: Some(accepted.id.to_string()),
            repeat: accepted.repeat,
            notices: accepted.notices.clone(),
            ..ToolResult::default()
        };
        let standing = self.outbox.status(&accepted.id, now)?;
        let ended = standing != DeliveryStatus::Waiting;
        match standing {
            DeliveryStatus::Finished(finished) => {
                result.notices.extend(finished.notes);
                match finished.outcome {
                    DeliveryOutcome::Delivered { message_ids, .. } => {
                        result.status = Some(Status::Delivered);
                        result.message_ids = message_ids;
                    }
                    DeliveryOutcome::Unknown => {
                        result.notices.push("Telegram's answer was lost: it may stand in the chat or not; it is not sent again.".to_owned());
                    }
                    DeliveryOutcome::Superseded => {
                        result
                            .notices
                            .push("A newer message took its place before it was sent.".to_owned());
                    }
                    DeliveryOutcome::Failed {
                        reason,
                        message_ids,
                    } => {
                        result.status = Some(Status::Failed);
                        result.reason = Some(reason);
                        result.message_ids = message_ids;
                    }
                    DeliveryOutcome::Dropped { message_ids } => {
                        result.status = Some(Status::Failed);
                        result.reason = Some("the person dropped it before it was sent".to_owned());
                        result.message_ids = message_ids;
                    }
                }
            }
            // Gone after it was accepted means finished so long ago that its record was swept.
            DeliveryStatus::Waiting | DeliveryStatus::Gone => {
                if let Some(held) = self.held(accepted.address, now)? {
                    result.held_until = Some(held.opens.rfc3339());
                    if held.reason.is_some() {
                        result.reason = held.reason;
                        result.notices.push("Nothing can be sent to that chat now. What you send is kept, and tried again when somebody writes there and every hour.".to_owned());
                    }
                }
            }
        }
        Ok((result, ended))
    }

    /// Until when nothing goes to a chat; `None` if it is open.
    fn held(&self, address: Address, now: Timestamp) -> Result<Option<HeldUntil>, ReadError> {
        let moves = migrations::read_migrations(&self.state, address.bot_id, now)?;
        match rate_limits::read_limits(&self.state, address.bot_id, now) {
            Ok(gates) => Ok(gates.held(moves.current(address.chat_id), now)),
            // The gateway will report it and write new ones.
            Err(ReadError::Quarantined { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Mailbox {
    /// Settles what waiting deliveries answer: the follow-up of a commit that a kill cut short.
    pub(super) fn settle_committed(
        &self,
        now: Timestamp,
        notices: &mut Vec<String>,
    ) -> Result<(), MailboxError> {
        let mut known = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.outbox.waiting()?;
        known.retain(|id| waiting.contains(id));
        let unknown: Vec<_> = waiting.difference(&known).cloned().collect();
        if !unknown.is_empty() {
            self.outbox.sync_names()?;
        }
        for id in unknown {
            match self.outbox.read(&id, now) {
                Ok(Some(delivery)) => {
                    self.inbox.settle(&delivery.answers)?;
                    known.insert(id);
                }
                Ok(None) => {}
                Err(error @ ReadError::Quarantined { .. }) => {
                    notices.push(format!(
                        "One reply could not be read. The person did not get it, or not all of it, and its question may not come again: write it once more. {}",
                        Chain(&error)
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Checks what `telegram_poll` was asked for, before anything is changed.
pub fn poll_limits(params: &PollParams) -> Result<(usize, Duration, usize), Refusal> {
    let limit = in_range("limit", params.limit, 20, 1..=100)?;
    let wait = in_range("wait_seconds", params.wait_seconds, 0, 0..=50)?;
    let part = in_range("part", params.part, 1, 1..=100_000)?;
    if params.part.is_some() && params.message.is_none() {
        return Err(Refusal("`part` needs `message`: the update_id of the message whose part you want. Nothing was changed; call again with both.".to_owned()));
    }
    Ok((limit, Duration::from_secs(wait as u64), part))
}
