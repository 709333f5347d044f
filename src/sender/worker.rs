//! Carrying one delivery: the requests of one lane, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::{Address, ChatId, MessageId, SessionId};
use crate::sender::repair::{self, Repaired};
use crate::sender::upload;
use crate::state::bots::BotHandle;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::{Content, Delivery, DeliveryId, Finished, Outcome, Progress};
use crate::store::StoreError;
use crate::store::crash_points::{Side, Step, reached};
use crate::store::format::{FORMAT, ReadError};
use crate::telegram::api::{FileToSend, Media, OutgoingMessage};
use crate::telegram::error::{ApiError, FailureDecision, Repair};

/// How the work on a delivery ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerExit {
    /// It has left the outbox.
    Finished,
    /// One message of it is out; for the next it needs another turn.
    More,
    /// Not before the gate of its chat opens.
    Limited,
    /// Not before that time.
    Later(Duration),
    /// A temporary failure: after a growing pause.
    Failed,
    /// Its chat has another id now: it goes on in that chat's lane.
    Moved,
    /// Told to stop.
    Stopped,
}

/// How long a lane waits for a bot whose token is not accepted. The poller says it in the log.
const BOT_OFF: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Carries deliveries of one session to one chat.
#[derive(Debug)]
pub struct DeliveryWorker {
    outbox: Outbox,
    inbox: Inbox,
    bot: Arc<BotHandle>,
    clock: Clock,
}

/// One request to Telegram.
#[derive(Debug)]
struct Request {
    /// Where it goes now: the chat may have moved, and the topic may be gone.
    to: Address,
    /// The message that it edits or reacts to.
    target: Option<MessageId>,
    message: OutgoingMessage,
}

/// What to do after one request.
enum Next {
    Go,
    End(WorkerExit),
}

impl DeliveryWorker {
    /// For a session whose delivery is next.
    pub fn new(state: &StateDir, session: &SessionId, bot: Arc<BotHandle>, clock: Clock) -> Self {
        let dir = state.session(session);
        Self {
            outbox: Outbox::new(state, dir.clone()),
            inbox: Inbox::new(&dir),
            bot,
            clock,
        }
    }

    /// Sends the next message that Telegram does not have yet: one turn.
    pub async fn send_next(&self, id: &DeliveryId, stop: &CancellationToken) -> WorkerExit {
        self.ended(self.advance(id, stop).await)
    }

    /// Puts away a delivery that a person does not want sent, and that no request is under way for.
    pub fn put_away_dropped(&self, id: &DeliveryId) -> WorkerExit {
        let put_away = || -> Result<WorkerExit, WorkerError> {
            let now = self.clock.now();
            if let Some(delivery) = self.outbox.read(id, now)? {
                let progress = match self.outbox.progress(id, now) {
                    Err(ReadError::Quarantined { .. }) => None,
                    progress => progress?,
                };
                self.dropped(delivery, progress.as_ref())?;
            }
            Ok(WorkerExit::Finished)
        };
        self.ended(put_away())
    }

    /// Puts away a progress that something newer overtook.
    pub fn supersede(&self, id: &DeliveryId) -> WorkerExit {
        let put_away = || -> Result<WorkerExit, WorkerError> {
            if let Some(delivery) = self.outbox.read(id, self.clock.now())? {
                self.finish(delivery, Outcome::Superseded, None)?;
            }
            Ok(WorkerExit::Finished)
        };
        self.ended(put_away())
    }

    fn ended(&self, result: Result<WorkerExit, WorkerError>) -> WorkerExit {
        match result {
            Ok(ended) => ended,
            // Reported when it was moved; nothing is left to send.
            Err(WorkerError::Read(ReadError::Quarantined { .. })) => WorkerExit::Finished,
            Err(error) => {
                tracing::error!(bot_id = self.bot.api.id().0, error = %Chain(&error), "cannot go on sending; nothing is lost, trying again");
                WorkerExit::Failed
            }
        }
    }

    async fn advance(
        &self,
        id: &DeliveryId,
        stop: &CancellationToken,
    ) -> Result<WorkerExit, WorkerError> {
        let now = self.clock.now();
        let Some(delivery) = self.outbox.read(id, now)? else {
            return Ok(WorkerExit::Finished);
        };
        // The commit stands, and durably: what it answers is settled before anything of it is sent.
        self.outbox.sync_names()?;
        self.inbox.settle(&delivery.answers)?;
        let mut progress = match self.progress(&delivery, now)? {
            Ok(progress) => progress,
            Err(outcome) => {
                return self
                    .finish(delivery, outcome, None)
                    .map(|()| WorkerExit::Finished);
            }
        };
        let mut had_turn = false;
        while let Some(index) = progress.next() {
            if stop.is_cancelled() {
                return Ok(WorkerExit::Stopped);
            }
            if self.outbox.drop_asked(&delivery.id) {
                self.dropped(delivery, Some(&progress))?;
                return Ok(WorkerExit::Finished);
            }
            // Who sends next is for the schedule to say.
            if std::mem::replace(&mut had_turn, true) {
                return Ok(WorkerExit::More);
            }
            if self.must_wait(delivery.address.chat_id) {
                return Ok(WorkerExit::Limited);
            }
            match self.send(&delivery, &mut progress, index).await? {
                Next::Go => {}
                Next::End(ended) => return Ok(ended),
            }
        }
        let outcome = Outcome::Delivered {
            message_ids: progress.message_ids(),
            repeats: progress.repeats(),
        };
        tracing::info!(session = %delivery.session, delivery = %delivery.id, messages = progress.parts.len(), "delivered");
        self.finish(delivery, outcome, Some(&progress))?;
        Ok(WorkerExit::Finished)
    }

    /// Ends a delivery that a person does not want sent, or not the rest of it.
    fn dropped(&self, delivery: Delivery, progress: Option<&Progress>) -> Result<(), WorkerError> {
        let id = delivery.id.clone();
        let message_ids = progress.map(Progress::message_ids).unwrap_or_default();
        tracing::info!(session = %delivery.session, delivery = %id, sent = message_ids.len(), "dropped, as a person asked");
        self.finish(delivery, Outcome::Dropped { message_ids }, None)?;
        Ok(self.outbox.forget_drop(&id)?)
    }

    /// How far the delivery had come. One that was in flight when the last gateway died is in doubt;
    /// progress and reactions are not repeated on doubt, so they end there.
    fn progress(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Result<Progress, Outcome>, WorkerError> {
        let read = match self.outbox.progress(&delivery.id, now) {
            // Nobody knows how much was sent: everything is sent again, marked.
            Err(ReadError::Quarantined { .. }) => {
                let mut progress = Progress::plan(&delivery.content);
                for index in (0..progress.parts.len()).rev() {
                    progress.doubted(index, "its record was unreadable".to_owned());
                }
                return Ok(if repeatable(&delivery.content) {
                    Ok(progress)
                } else {
                    Err(Outcome::Unknown)
                });
            }
            other => other?,
        };
        let mut progress = read
            .or_else(|| delivery.resume.clone())
            .unwrap_or_else(|| Progress::plan(&delivery.content));
        if let Some(index) = progress.in_flight() {
            if !repeatable(&delivery.content) {
                return Ok(Err(Outcome::Unknown));
            }
            progress.doubted(index, "the gateway ended while it was in flight".to_owned());
        }
        Ok(Ok(progress))
    }

    fn must_wait(&self, chat: ChatId) -> bool {
        self.bot.wait_for(chat).is_some()
    }

    /// One request, between its two records.
    async fn send(
        &self,
        delivery: &Delivery,
        progress: &mut Progress,
        index: usize,
    ) -> Result<Next, WorkerError> {
        let request = self.request(delivery, progress, index)?;
        let moved = request.to.chat_id != delivery.address.chat_id;
        if moved && matches!(delivery.content, Content::Reaction { .. }) {
            let reason =
                "the group became a supergroup, and its earlier messages cannot be reacted to"
                    .to_owned();
            return self.fail(delivery, progress, reason);
        }
        let part = progress.parts.get(index);
        let files = part.map(|part| upload::open(&self.outbox, delivery, part));
        let files = match files.transpose()? {
            Some(Ok(files)) => files,
            Some(Err(reason)) => return self.fail(delivery, progress, reason),
            None => None,
        };
        progress.begin(index);
        self.outbox.record(&delivery.id, progress, Step::InFlight)?;
        reached(Step::Send, Side::Before);
        let answer = self.make_request(delivery, &request, files).await;
        reached(Step::Send, Side::After);
        match answer {
            Ok(ids) => {
                let (first, album) = ids.split_first().unwrap_or((&MessageId(0), &[]));
                progress.accepted(index, *first);
                progress.accepted_album(index, album);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                // It was parked an hour ago, and takes messages again.
                self.bot.rate_limits().unblock(request.to.chat_id)?;
                Ok(Next::Go)
            }
            Err(error) => self.refused(delivery, progress, index, &request, &error),
        }
    }

    /// What comes of a request that did not succeed: the table of telegram.md 9.
    fn refused(
        &self,
        delivery: &Delivery,
        progress: &mut Progress,
        index: usize,
        request: &Request,
        error: &ApiError,
    ) -> Result<Next, WorkerError> {
        let failure = error.to_string();
        let chat = request.to.chat_id;
        match error.decision() {
            FailureDecision::TreatAsDone => {
                progress.accepted(index, request.target.unwrap_or(MessageId(0)));
                self.record(delivery, progress)?;
                Ok(Next::Go)
            }
            FailureDecision::CloseGate(wait) => {
                let wait = wait + Duration::from_secs_f64(fastrand::f64() * 0.5);
                tracing::warn!(
                    chat_id = chat.0,
                    seconds = wait.as_secs(),
                    "Telegram asks for a pause of this chat; nothing goes there meanwhile"
                );
                // Closed in memory first: a full disk must not make us knock on a closed gate.
                let closed = self.bot.rate_limits().limit(chat, wait);
                progress.failed(index, failure);
                self.record(delivery, progress)?;
                closed?;
                Ok(Next::End(WorkerExit::Limited))
            }
            FailureDecision::Park if repeatable(&delivery.content) => {
                tracing::error!(chat_id = chat.0, delivery = %delivery.id, error = failure, "nothing can be sent to this chat; what waits for it is kept, and tried again when it is heard from and every hour");
                let parked = self.bot.rate_limits().block(chat, failure.clone());
                progress.failed(index, failure);
                self.record(delivery, progress)?;
                parked?;
                Ok(Next::End(WorkerExit::Limited))
            }
            FailureDecision::Retry => {
                tracing::warn!(delivery = %delivery.id, error = failure, "not sent; trying again");
                progress.failed(index, failure);
                self.record(delivery, progress)?;
                Ok(Next::End(WorkerExit::Failed))
            }
            FailureDecision::StopBot => {
                progress.failed(index, failure);
                self.record(delivery, progress)?;
                Ok(Next::End(WorkerExit::Later(BOT_OFF)))
            }
            FailureDecision::RetryMarked if repeatable(&delivery.content) => {
                tracing::warn!(delivery = %delivery.id, error = failure, "it is not known whether this was sent; it is sent again, marked");
                progress.doubted(index, failure);
                self.record(delivery, progress)?;
                Ok(Next::End(WorkerExit::Failed))
            }
            FailureDecision::RetryMarked => {
                self.finish(delivery.clone(), Outcome::Unknown, None)?;
                Ok(Next::End(WorkerExit::Finished))
            }
            FailureDecision::Repair(repair) => {
                progress.failed(index, failure.clone());
                if error.is_partial() {
                    progress.mark(index);
                }
                let repaired = repair::apply(progress, index, &delivery.content, chat, repair);
                if repaired == Repaired::InVain {
                    return self.fail(delivery, progress, failure);
                }
                tracing::warn!(delivery = %delivery.id, ?repair, error = failure, "refused as it is; sent again with a change");
                self.record(delivery, progress)?;
                Ok(match repaired {
                    Repaired::Later => Next::End(WorkerExit::Failed),
                    Repaired::Now | Repaired::InVain => Next::Go,
                })
            }
            FailureDecision::Migrate(to) => {
                // The refusal first: a kill before the new id is recorded leaves no doubt.
                progress.failed(index, failure.clone());
                self.record(delivery, progress)?;
                if !self.bot.migrations().learn(chat, to)? {
                    return self.fail(delivery, progress, failure);
                }
                Ok(Next::End(WorkerExit::Moved))
            }
            FailureDecision::Park | FailureDecision::Fail => {
                progress.failed(index, failure.clone());
                self.fail(delivery, progress, failure)
            }
        }
    }

    fn record(&self, delivery: &Delivery, progress: &Progress) -> Result<(), StoreError> {
        self.outbox.record(&delivery.id, progress, Step::Accepted)
    }

    /// Ends a delivery that can never succeed.
    fn fail(
        &self,
        delivery: &Delivery,
        progress: &Progress,
        reason: String,
    ) -> Result<Next, WorkerError> {
        tracing::error!(session = %delivery.session, delivery = %delivery.id, error = reason, "cannot be delivered; kept in failed/");
        let outcome = Outcome::Failed {
            reason,
            message_ids: progress.message_ids(),
        };
        self.finish(delivery.clone(), outcome, Some(progress))?;
        Ok(Next::End(WorkerExit::Finished))
    }

    /// The request for one part, after all that was learned about it.
    fn request(
        &self,
        delivery: &Delivery,
        progress: &Progress,
        index: usize,
    ) -> Result<Request, WorkerError> {
        let mut to = delivery.address;
        to.chat_id = self.bot.current_chat(to.chat_id);
        // Ids of messages and topics do not carry over into a supergroup.
        let has_moved = to.chat_id != delivery.address.chat_id;
        if has_moved || progress.has_repair(Repair::WithoutTopic) {
            to.topic_id = None;
        }
        let target = match (&delivery.content, &delivery.turn) {
            (Content::Progress { .. }, Some(turn))
                if !has_moved && !progress.has_repair(Repair::NewMessage) =>
            {
                let now = self.clock.now();
                self.outbox.turn_message(turn, &delivery.id, now)?
            }
            (Content::Reaction { message_id, .. }, _) => Some(*message_id),
            (Content::Reply { .. } | Content::Progress { .. }, _) => None,
        };
        let message = progress.outgoing(delivery, index, has_moved);
        Ok(Request {
            to,
            target,
            message,
        })
    }

    /// Makes a request; the ids of the messages that it made or changed.
    async fn make_request(
        &self,
        delivery: &Delivery,
        request: &Request,
        files: Option<(Media, Vec<FileToSend>)>,
    ) -> Result<Vec<MessageId>, ApiError> {
        let (api, to, message) = (&self.bot.api, request.to, &request.message);
        match (&delivery.content, request.target, files) {
            (_, _, Some((media, files))) => api.upload(to, media, files, message).await,
            (Content::Reaction { emoji, .. }, Some(target), None) => {
                api.react(to, target, emoji).await.map(|()| vec![target])
            }
            (_, Some(target), None) => {
                let edited = api.edit_text(to, target, message).await;
                edited.map(|()| vec![target])
            }
            (_, None, None) => api.send_text(to, message).await.map(|id| vec![id]),
        }
    }

    fn finish(
        &self,
        delivery: Delivery,
        outcome: Outcome,
        progress: Option<&Progress>,
    ) -> Result<(), WorkerError> {
        // No file leaves the outbox before its answers are settled.
        self.inbox.settle(&delivery.answers)?;
        let mut notes = progress.map(repair::notes).unwrap_or_default();
        let (from, chat) = (
            delivery.address.chat_id,
            self.bot.current_chat(delivery.address.chat_id),
        );
        if chat != from {
            notes.push(format!("The group {from} became a supergroup and is {chat} now. Tell the person to put {chat} into chat_ids in sessions.json, or what is written there does not arrive."));
        }
        let keep = matches!(outcome, Outcome::Failed { .. });
        let finished = Finished {
            format: FORMAT,
            delivery,
            outcome,
            finished_at: self.clock.now(),
            progress: progress.filter(|_| keep).cloned(),
            notes,
        };
        Ok(self.outbox.finish(&finished)?)
    }
}

/// Whether a message whose fate is unknown is sent again: a missing answer is worse than a marked
/// double, a stale progress or a second reaction is not.
fn repeatable(content: &Content) -> bool {
    match content {
        Content::Reply { .. } => true,
        Content::Progress { .. } | Content::Reaction { .. } => false,
    }
}
