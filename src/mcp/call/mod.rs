//! The calls of an agent, each a step under the session lock: read, decide, write.
//!
//! A [`tool_call::ToolCall`] reads a [`picture::Picture`], pure functions decide on it and return
//! [`effects::Effects`], and the driver carries those out in their order. A call that shows: the other
//! agents let go, then this agent holds, then the result; nothing is synced. A call that sends: the names
//! in `inbox/`, the outbox file (the commit point), then the settling of the messages that it answers,
//! then this agent's hold. The next call of any agent makes good a kill between any two: it settles the
//! messages that the outbox answers, and a held entry without a file counts as settled.

mod commit;
pub mod effects;
mod failure_notices;
mod glance;
mod late_files;
mod picture;
mod presented;
mod reports;
mod show;
mod tool_call;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::ids::{Address, ChatId, SessionId, UpdateId};
use crate::mcp::attach::{Copies, Roots};
use crate::mcp::call::commit::SendCall;
use crate::mcp::call::effects::EffectDriver;
pub use crate::mcp::call::presented::PresentationId;
use crate::mcp::call::presented::Presented;
use crate::mcp::call::show::{Again, ShowCall};
use crate::mcp::call::tool_call::ToolCall;
use crate::mcp::tools::{PollParams, ReactParams, Refusal, ReplyParams, To, ToolResult, in_range};
use crate::state::agents::ClientName;
use crate::state::agents::holder::{HolderId, Registration};
use crate::state::files::Files;
use crate::state::holds::Holds;
use crate::state::inbox::Inbox;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::DeliveryId;
use crate::store::StoreError;
use crate::store::disk::HeldLock;
use crate::store::lock::LockError;
use crate::store::state_file::ReadError;
use crate::waker::methods::inbox_socket::{InboxSocket, RequestListener};

/// How long a call waits for the session lock: two hundred agents may answer at the same time.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most ids in one `ack`.
const ACK_MOST: usize = 200;

/// One session's mailbox, as one MCP server process uses it.
pub struct Mailbox {
    state: StateDir,
    dir: SessionDir,
    session: SessionId,
    home: ChatId,
    reply_to_message: bool,
    driver: EffectDriver,
    files: Files,
    clock: Clock,
    registration: Mutex<Registration>,
    /// The name of this server process in the holds that it writes.
    server: String,
    presented: Mutex<Presented>,
    /// Deliveries whose messages this process has settled: not read again at every call.
    settled: Mutex<BTreeSet<DeliveryId>>,
}

/// The agent that calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub holder: HolderId,
    /// The client, for people.
    pub label: String,
    /// The client's name of the thread that calls, where it has one that is safe to use.
    pub thread: Option<String>,
    /// The name that the client gives itself.
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
    /// The messages that it acknowledges.
    pub acked: Vec<UpdateId>,
    /// Notices for the agent.
    pub notices: Vec<String>,
}

/// Notices for an agent, each with the thing that it is about.
pub type Notices<Id> = Vec<(Id, String)>;

/// Refuses a call whose step failed.
fn refuse_for_now(reason: impl fmt::Display) -> Refusal {
    Refusal(format!(
        "{reason}. Nothing was lost; call again once that is fixed."
    ))
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        refuse_for_now(Chain(&error))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        refuse_for_now(Chain(&error))
    }
}

impl From<LockError> for Refusal {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Store(error) => error.into(),
            LockError::Held { .. } => refuse_for_now(format_args!(
                "another call of this session is still running: {error}"
            )),
        }
    }
}

impl Mailbox {
    /// The mailbox of a session. Touches nothing.
    pub fn new(
        state: StateDir,
        session: &crate::config::Session,
        registration: Registration,
        clock: Clock,
    ) -> Self {
        let dir = state.session(&session.id);
        let driver = EffectDriver {
            inbox: Inbox::new(&dir),
            outbox: Outbox::new(&state, dir.clone()),
            holds: Holds::new(&dir),
        };
        Self {
            files: Files::new(&dir),
            session: session.id.clone(),
            home: session.chat_ids.first().copied().unwrap_or(ChatId(0)),
            reply_to_message: session.reply_to_message,
            server: registration.name(),
            registration: Mutex::new(registration),
            presented: Mutex::default(),
            settled: Mutex::default(),
            driver,
            state,
            dir,
            clock,
        }
    }

    /// The folders that a waiting call watches: new messages, their files, and finished deliveries.
    pub fn watched(&self) -> [PathBuf; 4] {
        self.dir.folders_about_calls()
    }

    /// Creates the folders of the session, so that they can be watched.
    pub fn prepare(&self) -> Result<(), Refusal> {
        self.state.prepare()?;
        Ok(self.dir.prepare()?)
    }

    /// Makes this server known before an agent has called it, so that messages can wake the agent.
    pub fn register(&self, client: Option<ClientName>) -> Result<(), Refusal> {
        self.prepare()?;
        let _lock = take_lock(&self.dir, "registering")?;
        Ok(self.registration().update(|file| file.client = client)?)
    }

    /// Receives the requests to wake the agent of this server.
    pub(crate) fn listener(&self, socket: InboxSocket) -> RequestListener {
        RequestListener::new(self.dir.clone(), self.server.clone(), socket)
    }

    /// Carries out `ack`. Returns the messages that were, and were not, acknowledged.
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
        if ids.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        ToolCall::open(self, caller)?.acknowledge(ids)
    }

    /// Shows the messages that were not shown to this agent yet, oldest first. With `again`, those
    /// that it holds if there are no others.
    pub fn show(
        &self,
        caller: &Caller,
        base: &ToolResult,
        limit: usize,
        again: bool,
    ) -> Result<ShownPage, Refusal> {
        let again = if again {
            Again::IfNothingNew
        } else {
            Again::Never
        };
        self.show_if_any(caller, base, limit, again)
    }

    /// Shows one part of one message.
    pub fn show_part(
        &self,
        caller: &Caller,
        base: ToolResult,
        id: UpdateId,
        part: usize,
    ) -> Result<ShownPage, Refusal> {
        ShowCall::open(self, caller, base)?.show_part(id, part)
    }

    /// Shows the oldest waiting conversation, or the one meant, to be answered next.
    pub fn show_conversation(
        &self,
        caller: &Caller,
        base: ToolResult,
        to: Option<To>,
    ) -> Result<ShownPage, Refusal> {
        ShowCall::open(self, caller, base)?.show_conversation(to)
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
        ToolCall::open(self, caller)?.let_go(&unread)
    }

    /// Whether a reply with files may be sent, before they are copied; the delivery that an earlier call has
    /// made, if it is the same call again.
    pub fn may_reply(
        &self,
        caller: &Caller,
        params: &ReplyParams,
    ) -> Result<Option<Accepted>, Refusal> {
        SendCall::open(self, caller)?.may_reply(params)
    }

    /// Copies the files of a reply. Takes its time, and no lock.
    pub fn copies(&self, roots: &Roots, params: &ReplyParams) -> Result<Copies, Refusal> {
        let outbox = &self.driver.outbox;
        // The copies of calls that were cut short take room.
        if let Err(error) = outbox.sweep_copies() {
            tracing::warn!(error = %Chain(&error), "cannot remove the copies of an interrupted call");
        }
        let text = params.text.as_deref().unwrap_or_default();
        roots.copy(text, params.files(), || outbox.stage())
    }

    /// Accepts a reply, a progress update or a message of the agent's own.
    pub fn reply(
        &self,
        caller: &Caller,
        params: &ReplyParams,
        copies: Option<Copies>,
    ) -> Result<Accepted, Refusal> {
        SendCall::open(self, caller)?.reply(params, copies)
    }

    /// Accepts a reaction.
    pub fn react(&self, caller: &Caller, params: &ReactParams) -> Result<Accepted, Refusal> {
        SendCall::open(self, caller)?.react(params)
    }

    fn presented(&self) -> MutexGuard<'_, Presented> {
        let presented = self.presented.lock();
        presented.unwrap_or_else(PoisonError::into_inner)
    }

    fn registration(&self) -> MutexGuard<'_, Registration> {
        let registration = self.registration.lock();
        registration.unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> MutexGuard<'_, BTreeSet<DeliveryId>> {
        let settled = self.settled.lock();
        settled.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the session lock. `label` names the caller for people.
fn take_lock(dir: &SessionDir, label: &str) -> Result<HeldLock, LockError> {
    take_lock_within(dir, label, PATIENCE)
}

fn take_lock_within(
    dir: &SessionDir,
    label: &str,
    patience: Duration,
) -> Result<HeldLock, LockError> {
    let who = format!("telepost mcp, pid {} ({label})", std::process::id());
    dir.take_lock_within(&who, patience)
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
