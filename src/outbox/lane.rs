//! Carrying one delivery: the requests of one lane, one after the other.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::delivery::{Content, Delivery, DeliveryId, Finished, Outcome, Progress};
use super::disk::Outbox;
use super::sender::{BotState, turn_message};
use crate::chain::Chain;
use crate::clock::{Clock, Timestamp};
use crate::ids::{ChatId, MessageId, SessionId};
use crate::inbox::disk::Inbox;
use crate::store::StoreError;
use crate::store::format::{FORMAT, ReadError};
use crate::store::layout::StateDir;
use crate::store::steps::{Side, Step, reached};
use crate::telegram::error::{ApiError, Decision};

/// How the work on a delivery ended for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has left the outbox.
    Finished,
    /// One message of it is out; for the next it needs another turn.
    More,
    /// Not before that time: a closed gate.
    Later(Duration),
    /// A temporary failure: after a growing pause.
    Failed,
    /// Told to stop.
    Stopped,
}

/// How long a lane waits for a bot whose token is not accepted. The poller says it in the log.
const BOT_OFF: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Carries deliveries of one session to one chat.
#[derive(Debug)]
pub struct Carrier {
    outbox: Outbox,
    inbox: Inbox,
    bot: Arc<BotState>,
    clock: Clock,
}

/// What to do after one request.
enum Next {
    Go,
    End(Ended),
}

impl Carrier {
    /// For a session whose delivery is next.
    pub fn new(state: &StateDir, session: &SessionId, bot: Arc<BotState>, clock: Clock) -> Self {
        let dir = state.session(session);
        Self {
            outbox: Outbox::new(state, dir.clone()),
            inbox: Inbox::new(state, dir),
            bot,
            clock,
        }
    }

    /// Sends the next message that Telegram does not have yet: one turn.
    pub async fn carry(&self, id: &DeliveryId, stop: &CancellationToken) -> Ended {
        self.ended(self.carry_on(id, stop).await)
    }

    /// Puts away a progress that something newer overtook.
    pub fn supersede(&self, id: &DeliveryId) -> Ended {
        let put_away = || -> Result<Ended, CarryError> {
            if let Some(delivery) = self.outbox.read(id, self.clock.now())? {
                self.finish(delivery, Outcome::Superseded)?;
            }
            Ok(Ended::Finished)
        };
        self.ended(put_away())
    }

    fn ended(&self, result: Result<Ended, CarryError>) -> Ended {
        match result {
            Ok(ended) => ended,
            // Reported when it was moved; nothing is left to send.
            Err(CarryError::Read(ReadError::Quarantined { .. })) => Ended::Finished,
            Err(error) => {
                tracing::error!(bot_id = self.bot.api.id().0, error = %Chain(&error), "cannot go on sending; nothing is lost, trying again");
                Ended::Failed
            }
        }
    }

    async fn carry_on(
        &self,
        id: &DeliveryId,
        stop: &CancellationToken,
    ) -> Result<Ended, CarryError> {
        let now = self.clock.now();
        let Some(delivery) = self.outbox.read(id, now)? else {
            return Ok(Ended::Finished);
        };
        // The commit stands, and durably: what it answers is settled before anything of it is sent.
        self.outbox.sync_names()?;
        self.inbox.settle(&delivery.answers)?;
        let mut progress = match self.progress(&delivery, now)? {
            Ok(progress) => progress,
            Err(outcome) => return self.finish(delivery, outcome).map(|()| Ended::Finished),
        };
        let mut had_turn = false;
        while let Some(index) = progress.next() {
            if stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            // Who sends next is for the schedule to say.
            if std::mem::replace(&mut had_turn, true) {
                return Ok(Ended::More);
            }
            if let Some(wait) = self.must_wait(delivery.address.chat_id) {
                return Ok(Ended::Later(wait));
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
        self.finish(delivery, outcome)?;
        Ok(Ended::Finished)
    }

    /// How far the delivery had come. One that was in flight when the last gateway died is in doubt;
    /// progress and reactions are not repeated on doubt, so they end there.
    fn progress(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Result<Progress, Outcome>, CarryError> {
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
        let mut progress = read.unwrap_or_else(|| Progress::plan(&delivery.content));
        if let Some(index) = progress.in_flight() {
            if !repeatable(&delivery.content) {
                return Ok(Err(Outcome::Unknown));
            }
            progress.doubted(index, "the gateway ended while it was in flight".to_owned());
        }
        Ok(Ok(progress))
    }

    fn must_wait(&self, chat: ChatId) -> Option<Duration> {
        self.bot
            .gates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait(chat)
    }

    /// One request, between its two records.
    async fn send(
        &self,
        delivery: &Delivery,
        progress: &mut Progress,
        index: usize,
    ) -> Result<Next, CarryError> {
        progress.begin(index);
        self.outbox.record(&delivery.id, progress, Step::InFlight)?;
        reached(Step::Send, Side::Before);
        let answer = self.request(delivery, progress, index).await?;
        reached(Step::Send, Side::After);
        let error = match answer {
            Ok(message_id) => {
                progress.accepted(index, message_id);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                return Ok(Next::Go);
            }
            Err(error) => error,
        };
        let failure = error.to_string();
        match error.decision() {
            Decision::TreatAsDone => {
                let message_id = progress
                    .message_ids()
                    .last()
                    .copied()
                    .unwrap_or(MessageId(0));
                progress.accepted(index, message_id);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                Ok(Next::Go)
            }
            Decision::CloseGate(wait) => {
                let wait = wait + Duration::from_secs_f64(fastrand::f64() * 0.5);
                tracing::warn!(
                    chat_id = delivery.address.chat_id.0,
                    seconds = wait.as_secs(),
                    "Telegram asks for a pause of this chat; nothing goes there meanwhile"
                );
                // Closed in memory first: a full disk must not make us knock on a closed gate.
                let closed = self
                    .bot
                    .gates
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .close(delivery.address.chat_id, wait);
                progress.failed(index, failure);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                closed?;
                Ok(Next::End(Ended::Later(wait)))
            }
            Decision::Retry => {
                tracing::warn!(delivery = %delivery.id, error = failure, "not sent; trying again");
                progress.failed(index, failure);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                Ok(Next::End(Ended::Failed))
            }
            Decision::StopBot => {
                progress.failed(index, failure);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                Ok(Next::End(Ended::Later(BOT_OFF)))
            }
            Decision::RetryMarked if repeatable(&delivery.content) => {
                tracing::warn!(delivery = %delivery.id, error = failure, "it is not known whether this was sent; it is sent again, marked");
                progress.doubted(index, failure);
                self.outbox.record(&delivery.id, progress, Step::Accepted)?;
                Ok(Next::End(Ended::Failed))
            }
            Decision::RetryMarked => {
                self.finish(delivery.clone(), Outcome::Unknown)?;
                Ok(Next::End(Ended::Finished))
            }
            Decision::Fail => {
                tracing::error!(session = %delivery.session, delivery = %delivery.id, error = failure, "cannot be delivered; kept in failed/");
                let outcome = Outcome::Failed {
                    reason: failure,
                    message_ids: progress.message_ids(),
                };
                self.finish(delivery.clone(), outcome)?;
                Ok(Next::End(Ended::Finished))
            }
        }
    }

    async fn request(
        &self,
        delivery: &Delivery,
        progress: &Progress,
        index: usize,
    ) -> Result<Result<MessageId, ApiError>, CarryError> {
        let (api, to) = (&self.bot.api, delivery.address);
        Ok(match &delivery.content {
            Content::Reply { .. } => {
                // Of several messages only the first rings.
                let silent = delivery.silent || index > 0;
                api.send_text(to, &progress.message(index), silent).await
            }
            Content::Progress { .. } => {
                let text = &progress.message(index);
                let earlier = match &delivery.turn {
                    Some(turn) => turn_message(&self.outbox, turn, &delivery.id, self.clock.now())?,
                    None => None,
                };
                match earlier {
                    Some(message) => api.edit_text(to, message, text).await.map(|()| message),
                    None => api.send_text(to, text, true).await,
                }
            }
            Content::Reaction { message_id, emoji } => api
                .react(to, *message_id, emoji)
                .await
                .map(|()| *message_id),
        })
    }

    fn finish(&self, delivery: Delivery, outcome: Outcome) -> Result<(), CarryError> {
        // No file leaves the outbox before its answers are settled.
        self.inbox.settle(&delivery.answers)?;
        let finished = Finished {
            format: FORMAT,
            delivery,
            outcome,
            finished_at: self.clock.now(),
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
