//! The poll loop of one bot.
//!
//! The loop owns the offset, in memory only: after a start the first poll has none, and updates that come
//! again are recognised. An offset goes out only for a batch that is durable. Only a stop ends the loop: it
//! recovers from every failure.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::responder::{ResponderTask, TaskQueue};
use super::singleton::BotLock;
use crate::clock::Clock;
use crate::config::Pace;
use crate::error_chain::Chain;
use crate::state::gateway_status::{BotHealth, StatusWriter};
use crate::store::StoreError;
use crate::store::crash_points::{Side, Step, mark_step};
use crate::telegram::api::Api;
use crate::telegram::error::ApiError;
use crate::telegram::polling::{Backoff, POLL_DEADLINE, POLL_WAIT, PollFailure};

/// How often the bot's lock file is marked as used.
const TOUCH: Duration = Duration::from_secs(3600);

/// After a batch that confirms nothing. Longer than 0.5 s: Telegram answers a poll with the same offset
/// within that time with one update only (docs/facts/telegram.md 2.1), and that would be the same unreadable one.
const AFTER_UNCONFIRMED: Duration = Duration::from_millis(700);

/// How long the question for the bot's name may take.
const NAME_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Poller {
    api: Api,
    intake: Intake,
    lock: BotLock,
    status: Arc<StatusWriter>,
    tasks: TaskQueue,
    clock: Clock,
    backoff: Backoff,
    /// Confirms everything below it when the next poll arrives at Telegram.
    offset: Option<i64>,
    /// Why the last poll failed, if it did.
    failure: Option<PollFailure>,
    /// Whether the last poll was answered. Until then the poll does not wait, so that `status` can tell how
    /// the bot stands before the first message.
    answered: bool,
    /// Whether the last batch could not be stored.
    storage_failed: bool,
    knows_name: bool,
}

impl Poller {
    pub(crate) fn new(
        api: Api,
        intake: Intake,
        lock: BotLock,
        status: Arc<StatusWriter>,
        tasks: TaskQueue,
        clock: Clock,
        pace: Pace,
    ) -> Self {
        Self {
            api,
            intake,
            lock,
            status,
            tasks,
            clock,
            backoff: Backoff::new(pace),
            offset: None,
            failure: None,
            answered: false,
            storage_failed: false,
            knows_name: false,
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut touched = self.clock.instant();
        loop {
            if self.clock.instant().duration_since(touched) >= TOUCH {
                touched = self.clock.instant();
                self.lock.touch(self.clock.now());
                self.intake.forget_old();
                // The bot's owner may have renamed it.
                self.knows_name = false;
            }
            let pause = tokio::select! {
                // A dropped poll confirms nothing that is not on disk: its offset belongs to a durable batch.
                () = stop.cancelled() => return,
                pause = self.poll_once() => pause,
            };
            if let Some(pause) = pause {
                tokio::select! {
                    // Cancel-safe: a pause has no effect.
                    () = stop.cancelled() => return,
                    () = self.clock.sleep(pause) => {}
                }
            }
        }
    }

    /// Polls once. Returns how long to pause before the next poll.
    async fn poll_once(&mut self) -> Option<Duration> {
        if let Err(error) = self.lock.confirm() {
            let reason = format!("its lock was lost: {}", Chain(&error));
            tracing::error!(bot_id = self.api.id().0, reason, "bot is not polled");
            let pause = self.backoff.pause(5.0, 60.0, fastrand::f64());
            self.set_health(BotHealth::Off(reason), pause);
            return Some(pause);
        }
        if let Err(error) = self.ask_needed_name().await {
            return Some(self.record_failure(&error));
        }
        if self.offset.is_some() {
            mark_step(Step::Confirm, Side::Before);
        }
        // In a conflict every poll waits: a poll without a wait is answered while the other program polls.
        let conflict = matches!(self.failure, Some(PollFailure::Conflict(_)));
        let wait = if self.answered || conflict {
            POLL_WAIT
        } else {
            Duration::ZERO
        };
        let poll = self.api.updates(self.offset, wait);
        // The transport's own limit may itself hang; this one cannot.
        let answer = tokio::time::timeout(POLL_DEADLINE, poll)
            .await
            .unwrap_or_else(|_| {
                Err(ApiError::Doubt(
                    "the poll hung and was cancelled".to_owned(),
                ))
            });
        match answer {
            Ok(updates) => self.accept(&updates).await,
            Err(error) => Some(self.record_failure(&error)),
        }
    }

    async fn accept(&mut self, updates: &[Box<RawValue>]) -> Option<Duration> {
        if self.offset.is_some() {
            mark_step(Step::Confirm, Side::After);
        }
        if self.failure.take().is_some() {
            tracing::info!(bot_id = self.api.id().0, "polling works again");
        }
        self.answered = true;
        let ack = match tokio::task::block_in_place(|| self.intake.accept(updates)) {
            Ok(ack) => ack,
            Err(error) => return Some(self.record_full_disk(&error)),
        };
        if self.storage_failed {
            self.storage_failed = false;
            tracing::info!(bot_id = self.api.id().0, "messages are stored again");
        }
        self.status.update(self.api.id(), |bot, now| {
            bot.health = BotHealth::Polling;
            bot.last_poll_at = Some(now);
            bot.retry_at = None;
        });
        self.ask_name_for_status().await;
        if let Some(last) = ack.last_id {
            // Never compared with an earlier one: ids start again at a random number after a quiet week.
            self.offset = Some(last.0 + 1);
        } else if !updates.is_empty() {
            // Updates without a usable id cannot be confirmed: without a growing pause the same ones would be
            // polled in a storm.
            let pause = self.backoff.pause(1.0, 30.0, fastrand::f64());
            return Some(pause.max(AFTER_UNCONFIRMED));
        }
        self.backoff.succeeded();
        None
    }

    /// The disk is full or refuses: nothing of the batch is confirmed, and Telegram keeps it for 24 hours.
    fn record_full_disk(&mut self, error: &StoreError) -> Duration {
        let reason = Chain(error).to_string();
        tracing::error!(
            bot_id = self.api.id().0,
            error = reason,
            "cannot store messages; Telegram keeps them until there is space (24 hours at most)"
        );
        self.storage_failed = true;
        let pause = self.backoff.pause(1.0, 30.0, fastrand::f64());
        let health = BotHealth::Off(format!("cannot store messages: {reason}"));
        self.set_health(health, pause);
        pause
    }

    fn record_failure(&mut self, error: &ApiError) -> Duration {
        let (failure, pause) = self.backoff.poll_failed(error, fastrand::f64());
        self.answered = false;
        let bot_id = self.api.id().0;
        let is_news = self.failure.replace(failure) != Some(failure);
        if !is_news {
            tracing::debug!(bot_id, %error, pause_s = pause.as_secs(), "poll failed again");
        }
        let health = match failure {
            PollFailure::Conflict(conflict) => {
                if is_news {
                    tracing::error!(bot_id, advice = conflict.advice(), "conflict: {error}");
                }
                BotHealth::Conflict(conflict)
            }
            PollFailure::Unauthorized => {
                if is_news {
                    tracing::error!(bot_id, %error, "Telegram does not accept the token of this bot: the bot is off until that changes; the other bots keep running. Check the token with @BotFather");
                }
                BotHealth::Off("the token is not accepted (401)".to_owned())
            }
            PollFailure::Unreachable => {
                if is_news {
                    tracing::warn!(bot_id, %error, "polling failed; retrying");
                }
                BotHealth::Unreachable(error.to_string())
            }
        };
        self.set_health(health, pause);
        pause
    }

    fn set_health(&self, health: BotHealth, pause: Duration) {
        self.status.update(self.api.id(), |bot, now| {
            bot.health = health;
            bot.retry_at = Some(now.plus(pause));
        });
    }

    /// Asks for the bot's name before any update if messages of groups depend on it: otherwise a message that
    /// names the bot would be dropped.
    async fn ask_needed_name(&mut self) -> Result<(), ApiError> {
        if self.knows_name || !self.intake.needs_username() {
            return Ok(());
        }
        let me = tokio::time::timeout(NAME_DEADLINE, self.api.me())
            .await
            .unwrap_or_else(|_| Err(ApiError::Doubt("getMe took too long".to_owned())))?;
        self.knows_name = true;
        self.set_name(&me.username);
        Ok(())
    }

    /// Asks for the bot's name once for `status`; a failure costs nothing.
    async fn ask_name_for_status(&mut self) {
        if self.knows_name {
            return;
        }
        self.knows_name = true;
        let asked = tokio::time::timeout(NAME_DEADLINE, self.api.me()).await;
        if let Ok(Ok(me)) = asked {
            self.set_name(&me.username);
        }
    }

    fn set_name(&mut self, username: &str) {
        self.tasks.add(ResponderTask::Menu);
        self.intake.set_username(username);
        self.status.update(self.api.id(), |bot, _| {
            let configured = bot.username.replace(username.to_owned());
            if let Some(configured) = configured
                && !configured.eq_ignore_ascii_case(username)
            {
                tracing::warn!(
                    configured,
                    real = username,
                    "bot_username in the configuration is the name of another bot"
                );
            }
        });
    }
}
