//! The delivery worker: makes the requests of one delivery, each between two durable records.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::{Address, MessageId, SessionId};
use crate::sender::repair::{Repaired, apply_repair, repair_notes};
use crate::sender::upload::{FilesError, open_files};
use crate::state::StateDir;
use crate::state::bots::BotHandle;
use crate::state::bots::rate_limits::BLOCKED_FOR;
use crate::state::inbox::Inbox;
use crate::state::outbox::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState, FinishedDelivery, Outbox,
};
use crate::store::{ReadError, Side, Step, StoreError, mark_step};
use crate::telegram::api::{Api, FileToSend, Media, OutgoingMessage};
use crate::telegram::error::{ApiError, FailureDecision, Repair};

/// How the work on a delivery ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerExit {
    /// It has left the outbox.
    Finished,
    /// One message of it is out; the next needs another permit.
    More,
    /// It waits until its chat is no longer limited.
    Limited,
    /// It waits for this long.
    Later(Duration),
    /// Its topic is closed: it waits for this long, or until the topic is opened, and holds up no other topic.
    TopicClosed(Duration),
    /// A temporary failure: it waits for a growing pause.
    Failed,
    /// Its chat has another id now: it goes on in the queue of that chat.
    Moved,
    /// The gateway stops.
    Stopped,
}

/// How long a delivery waits for a bot whose token is not accepted. The poller logs the reason.
const BOT_OFF: Duration = Duration::from_secs(30);

/// Sends one delivery of a session.
#[derive(Debug)]
pub struct DeliveryWorker {
    outbox: Outbox,
    inbox: Inbox,
    bot: Arc<BotHandle>,
    clock: Clock,
    /// Telegram, if it is not the one that the bot has access to.
    transport: Option<Arc<dyn Transport>>,
}

/// One request to Telegram.
#[doc(hidden)]
#[derive(Debug)]
pub struct SendRequest {
    /// Where it goes now: the chat may have moved, and the topic may be gone.
    pub to: Address,
    /// The message that it edits or reacts to.
    pub target: Option<MessageId>,
    /// The message that it sends.
    pub message: OutgoingMessage,
}

/// Makes the requests of deliveries: a bot's [`Api`], or the Telegram of a simulation.
#[doc(hidden)]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Makes a request. Returns the ids of the messages that it made or changed.
    fn request<'a>(
        &'a self,
        content: &'a Content,
        request: &'a SendRequest,
        files: Option<(Media, Vec<FileToSend>)>,
    ) -> SendAnswer<'a>;
}

/// The answer to a request, once it is there.
#[doc(hidden)]
pub type SendAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<MessageId>, ApiError>> + Send + 'a>>;

impl Transport for Api {
    fn request<'a>(
        &'a self,
        content: &'a Content,
        request: &'a SendRequest,
        files: Option<(Media, Vec<FileToSend>)>,
    ) -> SendAnswer<'a> {
        Box::pin(async move {
            let (to, message) = (request.to, &request.message);
            match (content, request.target, files) {
                (_, _, Some((media, files))) => self.upload(to, media, files, message).await,
                (Content::Reaction { emoji, .. }, Some(target), None) => {
                    self.react(to, target, emoji).await.map(|()| vec![target])
                }
                (_, Some(target), None) => {
                    let edited = self.edit_text(to, target, message).await;
                    edited.map(|()| vec![target])
                }
                (_, None, None) => self.send_text(to, message).await.map(|id| vec![id]),
            }
        })
    }
}

/// Whether the next message may follow at once.
type Flow = ControlFlow<WorkerExit>;

impl DeliveryWorker {
    /// A worker for a delivery of this session.
    pub fn new(state: &StateDir, session: &SessionId, bot: Arc<BotHandle>, clock: Clock) -> Self {
        let dir = state.session(session);
        Self {
            outbox: Outbox::new(state, dir.clone()),
            inbox: Inbox::new(&dir),
            bot,
            clock,
            transport: None,
        }
    }

    /// The same worker with another Telegram.
    #[doc(hidden)]
    #[must_use]
    pub fn over(self, transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Some(transport),
            ..self
        }
    }

    /// Sends the next message that Telegram does not have yet, with one permit.
    pub async fn send_next(&self, id: &DeliveryId, stop: &CancellationToken) -> WorkerExit {
        self.exit(self.advance(id, stop).await)
    }

    /// Puts away a delivery that a person has asked to drop, while no request of it is under way.
    pub fn put_away_dropped(&self, id: &DeliveryId) -> WorkerExit {
        let put_away = || {
            let now = self.clock.now();
            if let Some(delivery) = self.outbox.read(id, now)? {
                let state = match self.outbox.delivery_state(id, now) {
                    Err(ReadError::Quarantined { .. }) => None,
                    state => state?,
                };
                self.drop_delivery(delivery, state.as_ref())?;
            }
            Ok(WorkerExit::Finished)
        };
        self.exit(put_away())
    }

    /// Puts away a delivery that something newer has superseded.
    pub fn supersede(&self, id: &DeliveryId) -> WorkerExit {
        let put_away = || {
            if let Some(delivery) = self.outbox.read(id, self.clock.now())? {
                self.finish(delivery, DeliveryOutcome::Superseded, None)?;
            }
            Ok(WorkerExit::Finished)
        };
        self.exit(put_away())
    }

    fn exit(&self, result: Result<WorkerExit, ReadError>) -> WorkerExit {
        match result {
            Ok(exit) => exit,
            // The log names the file; nothing is left to send.
            Err(ReadError::Quarantined { .. }) => WorkerExit::Finished,
            Err(error) => {
                tracing::error!(bot_id = self.bot.api.id().0, error = %Chain(&error), "cannot continue sending; nothing is lost; retrying");
                WorkerExit::Failed
            }
        }
    }

    async fn advance(
        &self,
        id: &DeliveryId,
        stop: &CancellationToken,
    ) -> Result<WorkerExit, ReadError> {
        let now = self.clock.now();
        let Some(delivery) = self.outbox.read(id, now)? else {
            return Ok(WorkerExit::Finished);
        };
        // The commit is durable and its answers are settled before anything of it is sent.
        self.outbox.sync_names()?;
        self.inbox.settle(&delivery.answers)?;
        let mut state = match self.load_state(&delivery, now)? {
            Ok(state) => state,
            Err(outcome) => {
                self.finish(delivery, outcome, None)?;
                return Ok(WorkerExit::Finished);
            }
        };
        let mut has_used_permit = false;
        while let Some(index) = state.next() {
            if stop.is_cancelled() {
                return Ok(WorkerExit::Stopped);
            }
            if self.outbox.drop_asked(&delivery.id) {
                self.drop_delivery(delivery, Some(&state))?;
                return Ok(WorkerExit::Finished);
            }
            if std::mem::replace(&mut has_used_permit, true) {
                return Ok(WorkerExit::More);
            }
            if self.bot.wait_for(delivery.address.chat_id).is_some() {
                return Ok(WorkerExit::Limited);
            }
            if let Flow::Break(exit) = self.send(&delivery, &mut state, index).await? {
                return Ok(exit);
            }
        }
        let outcome = DeliveryOutcome::Delivered {
            message_ids: state.message_ids(),
            repeats: state.repeats(),
        };
        tracing::info!(session = %delivery.session, delivery = %delivery.id, messages = state.parts.len(), "delivered");
        self.finish(delivery, outcome, Some(&state))?;
        Ok(WorkerExit::Finished)
    }

    /// Ends a delivery that a person has asked to drop, or the rest of it.
    fn drop_delivery(
        &self,
        delivery: Delivery,
        state: Option<&DeliveryState>,
    ) -> Result<(), StoreError> {
        let id = delivery.id.clone();
        let message_ids = state.map(DeliveryState::message_ids).unwrap_or_default();
        tracing::info!(session = %delivery.session, delivery = %id, sent = message_ids.len(), "dropped at a person's request");
        self.finish(delivery, DeliveryOutcome::Dropped { message_ids }, None)?;
        self.outbox.forget_drop(&id)
    }

    /// How far a delivery has come. If it was in flight when the last gateway died, it is in doubt:
    /// progress updates and reactions are not repeated on doubt, so they end here.
    fn load_state(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Result<DeliveryState, DeliveryOutcome>, ReadError> {
        let read = match self.outbox.delivery_state(&delivery.id, now) {
            // Any message may have been sent, so all are sent again, marked.
            Err(ReadError::Quarantined { .. }) => {
                let mut state = DeliveryState::plan(&delivery.content);
                for index in (0..state.parts.len()).rev() {
                    state.doubted(index, "its record was unreadable".to_owned());
                }
                let is_repeated = is_repeatable(&delivery.content);
                return Ok(is_repeated.then_some(state).ok_or(DeliveryOutcome::Unknown));
            }
            read => read?,
        };
        let mut state = read
            .or_else(|| delivery.resume.clone())
            .unwrap_or_else(|| DeliveryState::plan(&delivery.content));
        if let Some(index) = state.in_flight() {
            if !is_repeatable(&delivery.content) {
                return Ok(Err(DeliveryOutcome::Unknown));
            }
            state.doubted(index, "the gateway ended while it was in flight".to_owned());
        }
        Ok(Ok(state))
    }

    /// One request, between its two records.
    async fn send(
        &self,
        delivery: &Delivery,
        state: &mut DeliveryState,
        index: usize,
    ) -> Result<Flow, ReadError> {
        let request = self.plan_request(delivery, state, index)?;
        let closed = self
            .bot
            .rate_limits()
            .wait_for_topic(request.to.chat_id, request.to.topic_id);
        if let Some(wait) = closed.filter(|_| is_repeatable(&delivery.content)) {
            return Ok(Flow::Break(WorkerExit::TopicClosed(wait)));
        }
        let has_moved = request.to.chat_id != delivery.address.chat_id;
        if has_moved && matches!(delivery.content, Content::Reaction { .. }) {
            let reason =
                "the group became a supergroup, and its earlier messages cannot be reacted to";
            return self.fail(delivery, state, reason.to_owned());
        }
        let upload = state.parts.get(index).and_then(|part| part.upload.as_ref());
        let files = upload.map(|upload| open_files(&self.outbox, delivery, upload));
        let files = match files.transpose() {
            Ok(files) => files,
            Err(FilesError::Unusable(reason)) => return self.fail(delivery, state, reason),
            Err(FilesError::Store(error)) => return Err(error.into()),
        };
        state.begin(index);
        self.outbox
            .record_state(&delivery.id, state, Step::InFlight)?;
        mark_step(Step::Send, Side::Before);
        let transport = self.transport.as_deref().unwrap_or(&self.bot.api);
        let answer = transport.request(&delivery.content, &request, files).await;
        mark_step(Step::Send, Side::After);
        match answer {
            Ok(ids) => {
                let (first, album) = ids.split_first().unwrap_or((&MessageId(0), &[]));
                state.accepted(index, *first);
                state.accepted_album(index, album);
                self.record(delivery, state)?;
                // It was blocked an hour ago, and takes messages again.
                let mut limits = self.bot.rate_limits();
                limits.unblock(request.to.chat_id)?;
                limits.reopen_topic(request.to.chat_id, request.to.topic_id)?;
                Ok(Flow::Continue(()))
            }
            Err(error) => self.refused(delivery, state, index, &request, &error),
        }
    }

    /// Decides after a request that did not succeed: the table of docs/facts/telegram.md 9.
    fn refused(
        &self,
        delivery: &Delivery,
        state: &mut DeliveryState,
        index: usize,
        request: &SendRequest,
        error: &ApiError,
    ) -> Result<Flow, ReadError> {
        let failure = error.to_string();
        let chat = request.to.chat_id;
        let exit = match error.decision() {
            FailureDecision::TreatAsDone => {
                state.accepted(index, request.target.unwrap_or(MessageId(0)));
                self.record(delivery, state)?;
                return Ok(Flow::Continue(()));
            }
            FailureDecision::RateLimit(wait) => {
                let wait = wait + Duration::from_secs_f64(fastrand::f64() * 0.5);
                tracing::warn!(
                    chat_id = chat.0,
                    seconds = wait.as_secs(),
                    "Telegram asked for a pause of this chat; nothing is sent there meanwhile"
                );
                // The limit holds in memory first: with a full disk, too, nothing more goes to the chat.
                let limited = self.bot.rate_limits().limit(chat, wait);
                state.failed(index, failure);
                self.record(delivery, state)?;
                limited?;
                WorkerExit::Limited
            }
            FailureDecision::ChatBlocked if is_repeatable(&delivery.content) => {
                tracing::error!(chat_id = chat.0, delivery = %delivery.id, error = failure, "nothing can be sent to this chat; deliveries to it are kept and retried every hour, and when a message arrives from it");
                let blocked = self.bot.rate_limits().block(chat, failure.clone());
                state.failed(index, failure);
                self.record(delivery, state)?;
                blocked?;
                WorkerExit::Limited
            }
            FailureDecision::TopicClosed if is_repeatable(&delivery.content) => {
                let topic = request.to.topic_id;
                tracing::warn!(chat_id = chat.0, topic = topic.map_or(0, |topic| topic.0), delivery = %delivery.id, "this topic is closed; deliveries to it are kept and retried every hour, and when it is opened again");
                let closed = self.bot.rate_limits().close_topic(chat, topic);
                state.failed(index, failure);
                self.record(delivery, state)?;
                closed?;
                WorkerExit::TopicClosed(BLOCKED_FOR)
            }
            FailureDecision::Retry => {
                tracing::warn!(delivery = %delivery.id, error = failure, "not sent; retrying");
                state.failed(index, failure);
                self.record(delivery, state)?;
                WorkerExit::Failed
            }
            FailureDecision::StopBot => {
                state.failed(index, failure);
                self.record(delivery, state)?;
                WorkerExit::Later(BOT_OFF)
            }
            FailureDecision::RetryMarked if is_repeatable(&delivery.content) => {
                tracing::warn!(delivery = %delivery.id, error = failure, "this message may have been sent; it is sent again, marked");
                state.doubted(index, failure);
                self.record(delivery, state)?;
                WorkerExit::Failed
            }
            FailureDecision::RetryMarked => {
                self.finish(delivery.clone(), DeliveryOutcome::Unknown, None)?;
                WorkerExit::Finished
            }
            FailureDecision::Repair(repair) => {
                state.failed(index, failure.clone());
                if error.is_partial() {
                    state.mark(index);
                }
                let repaired = apply_repair(state, index, &delivery.content, chat, repair);
                if repaired == Repaired::InVain {
                    return self.fail(delivery, state, failure);
                }
                tracing::warn!(delivery = %delivery.id, ?repair, error = failure, "Telegram refused this message; sending it again, repaired");
                self.record(delivery, state)?;
                if repaired == Repaired::Now {
                    return Ok(Flow::Continue(()));
                }
                WorkerExit::Failed
            }
            FailureDecision::Migrate(to) => {
                // The refusal first: a kill before the new id is recorded leaves no doubt.
                state.failed(index, failure.clone());
                self.record(delivery, state)?;
                if !self.bot.migrations().record_migration(chat, to)? {
                    return self.fail(delivery, state, failure);
                }
                WorkerExit::Moved
            }
            FailureDecision::ChatBlocked | FailureDecision::TopicClosed | FailureDecision::Fail => {
                state.failed(index, failure.clone());
                return self.fail(delivery, state, failure);
            }
        };
        Ok(Flow::Break(exit))
    }

    fn record(&self, delivery: &Delivery, state: &DeliveryState) -> Result<(), StoreError> {
        self.outbox
            .record_state(&delivery.id, state, Step::Accepted)
    }

    fn fail(
        &self,
        delivery: &Delivery,
        state: &DeliveryState,
        reason: String,
    ) -> Result<Flow, ReadError> {
        tracing::error!(session = %delivery.session, delivery = %delivery.id, error = reason, "cannot be delivered; kept in failed/");
        let outcome = DeliveryOutcome::Failed {
            reason,
            message_ids: state.message_ids(),
        };
        self.finish(delivery.clone(), outcome, Some(state))?;
        Ok(Flow::Break(WorkerExit::Finished))
    }

    /// The request for one part, after all that was learned about it.
    fn plan_request(
        &self,
        delivery: &Delivery,
        state: &DeliveryState,
        index: usize,
    ) -> Result<SendRequest, ReadError> {
        let mut to = delivery.address;
        to.chat_id = self.bot.current_chat(to.chat_id);
        // Ids of messages and topics do not carry over into a supergroup.
        let has_moved = to.chat_id != delivery.address.chat_id;
        if has_moved || state.has_repair(Repair::WithoutTopic) {
            to.topic_id = None;
        }
        let target = match (&delivery.content, &delivery.turn) {
            (Content::ProgressUpdate { .. }, Some(turn))
                if !has_moved && !state.has_repair(Repair::NewMessage) =>
            {
                let now = self.clock.now();
                self.outbox.turn_message(turn, &delivery.id, now)?
            }
            (Content::Reaction { message_id, .. }, _) => Some(*message_id),
            (Content::Reply { .. } | Content::ProgressUpdate { .. }, _) => None,
        };
        Ok(SendRequest {
            to,
            target,
            message: state.outgoing(delivery, index, has_moved),
        })
    }

    fn finish(
        &self,
        delivery: Delivery,
        outcome: DeliveryOutcome,
        state: Option<&DeliveryState>,
    ) -> Result<(), StoreError> {
        // No file leaves the outbox before its answers are settled.
        self.inbox.settle(&delivery.answers)?;
        let mut notes = state.map(repair_notes).unwrap_or_default();
        let from = delivery.address.chat_id;
        let chat = self.bot.current_chat(from);
        if chat != from {
            notes.push(format!("The group {from} became a supergroup with the id {chat}. Tell the person to put {chat} into chat_ids in sessions.json; otherwise messages from there will not arrive."));
        }
        let keeps_state = matches!(outcome, DeliveryOutcome::Failed { .. });
        let finished = FinishedDelivery {
            delivery,
            outcome,
            finished_at: self.clock.now(),
            state: state.filter(|_| keeps_state).cloned(),
            notes,
        };
        self.outbox.finish(&finished)?;
        self.bot.sent.note(&finished);
        Ok(())
    }
}

/// Whether a message of unknown fate is sent again: a missing answer is worse than a marked double, but a
/// stale progress update or a second reaction is not.
fn is_repeatable(content: &Content) -> bool {
    match content {
        Content::Reply { .. } => true,
        Content::ProgressUpdate { .. } | Content::Reaction { .. } => false,
    }
}
