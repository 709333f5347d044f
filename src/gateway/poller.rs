//! The poll loop of one bot.
//!
//! Owns the offset, in memory only: after a start the first poll has none, and what comes again is
//! recognised. An offset goes out only for a batch that is durable. Nothing ends this loop but a
//! stop: it heals by itself from every failure.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::responder::{Task, Tasks};
use super::singleton::BotLock;
use crate::clock::Clock;
use crate::config::Pace;
use crate::error_chain::Chain;
use crate::gateway::intake::Ingest;
use crate::state::bots::BotState;
use crate::state::gateway_status::Presence;
use crate::store::StoreError;
use crate::store::crash_points::{Side, Step, reached};
use crate::telegram::api::Api;
use crate::telegram::error::{ApiError, Conflict};
use crate::telegram::polling::{Backoff, Health, POLL_DEADLINE, POLL_WAIT, offset_after};
use crate::telegram::update::{Membership, Standing};

/// How often the bot's lock file is marked as used.
const TOUCH: Duration = Duration::from_secs(3600);

/// After a batch that confirms nothing. Longer than 0.5 s: a poll with the same offset within that
/// time gets one update only (telegram.md 2.1), and that would be the same unreadable one for ever.
const AFTER_UNCONFIRMED: Duration = Duration::from_millis(700);

/// How long the question for the bot's name may take.
const NAME_DEADLINE: Duration = Duration::from_secs(5);

/// Who is told of what a poll brings.
#[derive(Debug)]
pub struct Told {
    /// What `status` reads.
    pub presence: Arc<Presence>,
    /// The sender and the fetcher.
    pub polled: [Arc<Notify>; 2],
    /// The responder of the bot.
    pub tasks: Tasks,
}

/// Polls one bot.
#[derive(Debug)]
pub struct Poller {
    bot: Arc<BotState>,
    api: Api,
    ingest: Ingest,
    tasks: Tasks,
    lock: BotLock,
    presence: Arc<Presence>,
    /// Told when a poll is done: the sender and the fetcher.
    polled: [Arc<Notify>; 2],
    clock: Clock,
    backoff: Backoff,
    /// Confirms everything below it, on arrival of the next poll.
    offset: Option<i64>,
    health: Health,
    /// Whether the last poll was answered. Until then one is asked that does not wait, so that
    /// nobody has to write before `status` can say how the bot is.
    answered: bool,
    /// Whether the last batch could not be stored.
    storage_failed: bool,
    knows_name: bool,
}

impl Poller {
    /// A poller that has not polled yet.
    pub fn new(
        bot: Arc<BotState>,
        ingest: Ingest,
        lock: BotLock,
        told: Told,
        clock: Clock,
        pace: Pace,
    ) -> Self {
        let Told {
            presence,
            polled,
            tasks,
        } = told;
        Self {
            api: bot.api.clone(),
            bot,
            ingest,
            tasks,
            lock,
            presence,
            polled,
            clock,
            backoff: Backoff::new(pace),
            offset: None,
            health: Health::Good,
            answered: false,
            storage_failed: false,
            knows_name: false,
        }
    }

    /// Polls until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut touched = self.clock.instant();
        loop {
            if self.clock.instant().duration_since(touched) >= TOUCH {
                touched = self.clock.instant();
                self.lock.touch(self.clock.now());
                self.ingest.forget_old();
                // Its owner may have given it another name.
                self.knows_name = false;
            }
            let pause = tokio::select! {
                // A poll that is dropped confirms nothing that is not on disk: the offset that it
                // carried was for a durable batch.
                () = stop.cancelled() => return,
                pause = self.once() => pause,
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

    /// One poll. Returns how long to pause before the next.
    async fn once(&mut self) -> Option<Duration> {
        if let Err(error) = self.lock.confirm() {
            let reason = format!("its lock was lost: {}", Chain(&error));
            tracing::error!(bot_id = self.api.id().0, reason, "bot is not polled");
            self.presence.update(self.api.id(), |bot, _| {
                bot.polling = false;
                bot.off = Some(reason);
            });
            return Some(self.backoff.pause(5.0, 60.0, fastrand::f64()));
        }
        if let Err(error) = self.ask_name().await {
            return Some(self.failed(&error));
        }
        if self.offset.is_some() {
            reached(Step::Confirm, Side::Before);
        }
        // In a conflict every poll waits: one that does not would be answered although somebody
        // else polls.
        let conflict = matches!(self.health, Health::Conflict(_));
        let wait = if self.answered || conflict {
            POLL_WAIT
        } else {
            Duration::ZERO
        };
        let poll = self.api.updates(self.offset, wait);
        // The transport's own limit may itself hang; this one cannot.
        let answer = tokio::time::timeout(POLL_DEADLINE, poll)
            .await
            .unwrap_or_else(|_| Err(ApiError::Doubt("the poll hung and was given up".to_owned())));
        match answer {
            Ok(updates) => self.answered(&updates).await,
            Err(error) => Some(self.failed(&error)),
        }
    }

    async fn answered(&mut self, updates: &[Box<RawValue>]) -> Option<Duration> {
        if self.offset.is_some() {
            reached(Step::Confirm, Side::After);
        }
        self.healthy();
        self.answered = true;
        let taken = match tokio::task::block_in_place(|| self.ingest.batch(updates)) {
            Ok(taken) => taken,
            Err(error) => return Some(self.cannot_store(&error)),
        };
        if self.storage_failed {
            self.storage_failed = false;
            tracing::info!(bot_id = self.api.id().0, "there is room again; going on");
        }
        taken.memberships.iter().for_each(|is| self.is_member(*is));
        self.polled.iter().for_each(|told| told.notify_one());
        taken
            .tasks
            .into_iter()
            .for_each(|task| self.tasks.add(task));
        for (session, count) in &taken.entries {
            tracing::info!(%session, count, "messages stored");
        }
        self.presence.update(self.api.id(), |bot, now| {
            bot.polling = true;
            bot.last_poll_at = Some(now);
            bot.off = None;
            bot.conflict = None;
            bot.refused += taken.refused;
            bot.refused_on.add(now, taken.refused);
        });
        if !self.knows_name {
            self.knows_name = true;
            // For `status`: a failure costs nothing.
            let asked = tokio::time::timeout(NAME_DEADLINE, self.api.me()).await;
            if let Ok(Ok(me)) = asked {
                self.name(me.username);
            }
        }
        if let Some(offset) = offset_after(taken.last_id.map(|id| id.0)) {
            self.offset = Some(offset);
        } else if !updates.is_empty() {
            // Updates without a usable id cannot be confirmed: without a growing pause they would
            // come in a storm.
            let pause = self.backoff.pause(1.0, 30.0, fastrand::f64());
            return Some(pause.max(AFTER_UNCONFIRMED));
        }
        self.backoff.succeeded();
        None
    }

    /// What goes to a chat that has blocked or removed the bot would be refused: it waits. The sender
    /// opens it when the bot is let in again, or somebody writes there.
    fn is_member(&self, is: Membership) {
        let why = match is.standing {
            Standing::Member => return,
            Standing::Removed if is.chat.0 > 0 => "the person has blocked the bot",
            Standing::Removed => "the bot was removed from the group",
            Standing::Muted => "the bot may not write in the group",
        };
        let chat = self.bot.chat_now(is.chat);
        tracing::warn!(
            bot_id = self.api.id().0,
            chat_id = chat.0,
            why,
            "nothing is sent to this chat until that changes"
        );
        if let Err(error) = self.bot.gates().park(chat, why.to_owned()) {
            tracing::warn!(chat_id = chat.0, error = %Chain(&error), "that is known in memory only");
        }
    }

    /// The disk is full or refuses: nothing of the batch is confirmed, Telegram keeps it for 24 h.
    fn cannot_store(&mut self, error: &StoreError) -> Duration {
        let reason = Chain(error).to_string();
        tracing::error!(
            bot_id = self.api.id().0,
            error = reason,
            "cannot store messages; Telegram keeps them until there is room (24 hours at most)"
        );
        self.storage_failed = true;
        self.presence.update(self.api.id(), |bot, _| {
            bot.polling = false;
            bot.off = Some(format!("cannot store messages: {reason}"));
        });
        self.backoff.pause(1.0, 30.0, fastrand::f64())
    }

    fn failed(&mut self, error: &ApiError) -> Duration {
        let (health, pause) = self.backoff.poll_failed(error, fastrand::f64());
        self.answered = false;
        let bot = self.api.id();
        if health == self.health {
            tracing::debug!(bot_id = bot.0, %error, pause_s = pause.as_secs(), "poll failed again");
        } else {
            match &health {
                Health::Good => {}
                Health::Conflict(conflict) => {
                    tracing::error!(
                        bot_id = bot.0,
                        advice = conflict.advice(),
                        "conflict: {error}"
                    );
                }
                Health::Unauthorized => {
                    tracing::error!(bot_id = bot.0, %error, "the token of this bot is not accepted: it is off until that changes; the other bots run. Check the token with @BotFather");
                }
                Health::Unreachable => {
                    tracing::warn!(bot_id = bot.0, %error, "polling fails; trying again");
                }
            }
        }
        self.presence.update(bot, |presence, _| {
            presence.polling = false;
            presence.conflict = match &health {
                Health::Conflict(Conflict::OtherPoller) => Some("other_poller".to_owned()),
                Health::Conflict(Conflict::Webhook) => Some("webhook".to_owned()),
                Health::Good | Health::Unauthorized | Health::Unreachable => None,
            };
            presence.off = match &health {
                Health::Unauthorized => Some("the token is not accepted (401)".to_owned()),
                Health::Unreachable => Some(error.to_string()),
                Health::Good | Health::Conflict(_) => None,
            };
        });
        self.health = health;
        pause
    }

    fn healthy(&mut self) {
        if self.health != Health::Good {
            tracing::info!(bot_id = self.api.id().0, "polling works again");
            self.health = Health::Good;
        }
    }

    /// Groups may wait for the bot's name: no update is asked for before it is known, or who names
    /// the bot would not be heard.
    async fn ask_name(&mut self) -> Result<(), ApiError> {
        if self.knows_name || !self.ingest.needs_username() {
            return Ok(());
        }
        let me = tokio::time::timeout(NAME_DEADLINE, self.api.me())
            .await
            .unwrap_or_else(|_| Err(ApiError::Doubt("getMe took too long".to_owned())))?;
        self.knows_name = true;
        self.name(me.username);
        Ok(())
    }

    fn name(&mut self, username: String) {
        self.tasks.add(Task::Menu);
        self.ingest.set_username(&username);
        self.presence.update(self.api.id(), |bot, _| {
            if bot
                .username
                .as_ref()
                .is_some_and(|name| !name.eq_ignore_ascii_case(&username))
            {
                tracing::warn!(
                    configured = bot.username,
                    real = username,
                    "bot_username in the configuration is another bot's"
                );
            }
            bot.username = Some(username);
        });
    }
}
