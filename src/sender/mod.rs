//! The sender: brings deliveries from disk to Telegram, per bot and chat in the order of acceptance over
//! all sessions.
//!
//! [`backlog`] finds deliveries on disk, [`queue`] decides which request comes next, and [`worker`]
//! makes it. New names in the outboxes wake the sender; it scans all of them only at its start and after
//! polls.

pub mod attention;
mod backlog;
mod bot_queues;
mod chat_actions;
pub mod command_replies;
pub mod queue;
pub mod repair;
pub mod upload;
pub mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::ids::{BotId, SessionId};
use crate::sender::backlog::{Backlog, delivery_id};
use crate::sender::bot_queues::BotQueues;
use crate::sender::chat_actions::ChatActions;
use crate::sender::command_replies::{CommandReplies, CommandReplyInbox};
use crate::sender::queue::SendPermit;
use crate::sender::worker::WorkerExit;
use crate::state::StateDir;
use crate::state::bots::{BotHandle, HeardChats};
use crate::state::changes::{ChangedFile, SessionChange};
use crate::store::ReadError;
use crate::store::watch::{NameWatch, News};

/// A scan after a poll waits for this long, so that a call that waits for its messages is served first.
const AFTER_POLL: Duration = Duration::from_millis(5);

/// Sends what waits in the outboxes.
#[derive(Debug)]
pub struct Sender {
    clock: Clock,
    backlog: Backlog,
    queues: BotQueues,
    command_replies: CommandReplies,
    chat_actions: ChatActions,
    workers: JoinSet<(BotId, SendPermit, WorkerExit)>,
    /// Notified after every completed poll.
    polled: Arc<Notify>,
    heard: Arc<HeardChats>,
}

impl Sender {
    /// A sender for the sessions of the configuration. Reads the receipts.
    pub fn new(
        state: &StateDir,
        config: &Config,
        bots: &[Arc<BotHandle>],
        clock: Clock,
        polled: Arc<Notify>,
        heard: Arc<HeardChats>,
        command_replies: CommandReplyInbox,
    ) -> Result<Self, ReadError> {
        let sessions: Arc<[SessionId]> = config.sessions.keys().cloned().collect();
        let ids = bots.iter().map(|bot| bot.api.id());
        Ok(Self {
            backlog: Backlog::new(state, Arc::clone(&sessions), clock.clone()),
            queues: BotQueues::new(bots, config.pace, clock.clone()),
            command_replies: CommandReplies::new(command_replies, clock.clone()),
            chat_actions: ChatActions::load(state, config, sessions, ids, clock.clone())?,
            workers: JoinSet::new(),
            clock,
            polled,
            heard,
        })
    }

    /// Sends until it is told to stop, and waits for the requests in flight.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut folders: Vec<PathBuf> = self.backlog.folders();
        folders.extend(self.chat_actions.folders());
        let watch = NameWatch::new(&folders, &self.clock, SessionChange::interest);
        loop {
            self.observe(&watch.news());
            self.work(&stop);
            let has_more = self.backlog.has_unread() || self.backlog.has_superseded(&self.queues);
            let due = self.due();
            tokio::select! {
                // All arms are cancel-safe: the watch remembers new names, a JoinSet keeps ended tasks,
                // time passes by itself.
                () = stop.cancelled() => break,
                () = watch.changed() => {}
                // A scan after each poll finds the names that the watch has missed: an idle gateway
                // needs no timer.
                () = self.polled.notified() => self.backlog.request_scan(AFTER_POLL),
                Some(ended) = self.workers.join_next() => {
                    if let Err(error) = self.worker_ended(ended) {
                        // The gateway ends with it and begins anew from what is on disk.
                        tracing::error!(%error, "a task of the sender panicked");
                        return;
                    }
                }
                ended = self.chat_actions.next_ended() => {
                    self.chat_actions.ended(ended, &mut self.queues);
                }
                ended = self.command_replies.changed() => {
                    if let Some(ended) = ended {
                        self.command_replies.ended(ended, &mut self.queues);
                    }
                }
                () = tokio::task::yield_now(), if has_more => {}
                () = sleep_until(&self.clock, due) => {}
            }
        }
        // Command replies and chat actions are not waited for.
        drop((self.chat_actions, self.command_replies));
        while self.workers.join_next().await.is_some() {}
    }

    fn observe(&mut self, news: &News) {
        if news.all {
            self.backlog.request_scan(Duration::ZERO);
        }
        let now = self.queues.now();
        for path in &news.names {
            let Some(SessionChange { session, file }) = SessionChange::at(path) else {
                continue;
            };
            let Some(session) = self.backlog.number_of(&session) else {
                continue;
            };
            match file {
                ChangedFile::Accepted(id) => self.backlog.add_accepted(session, &id),
                ChangedFile::Drop(id) => self.backlog.add_drop(session, &id),
                ChangedFile::Holds(holder) => self.chat_actions.observe(session, &holder, now),
            }
        }
    }

    fn work(&mut self, stop: &CancellationToken) {
        if self.backlog.is_scan_due() {
            self.backlog.scan(&self.queues);
            self.chat_actions.scan(self.queues.now());
        }
        self.backlog
            .ingest(&mut self.queues, &mut self.chat_actions);
        for (bot, chat) in self.heard.take() {
            if !self.queues.heard_from(bot, chat) {
                self.heard.note(bot, chat);
            }
        }
        for address in self.heard.take_topics() {
            self.queues.topic_opened(address);
        }
        self.backlog.put_away_dropped(&mut self.queues);
        self.backlog.put_away_superseded(&mut self.queues);
        self.command_replies.start(&mut self.queues);
        // Superseded deliveries are put away durably before the reply goes.
        if !self.backlog.has_superseded(&self.queues) {
            self.start_workers(stop);
        }
        self.chat_actions.start(&mut self.queues);
    }

    fn start_workers(&mut self, stop: &CancellationToken) {
        while let Some((bot, permit)) = self.queues.next() {
            let id = bot.api.id();
            let Some(worker) = self.backlog.worker(bot, permit.key) else {
                self.queues.ended(id, permit, WorkerExit::Finished);
                continue;
            };
            let stop = stop.clone();
            self.workers.spawn(async move {
                let exit = worker.send_next(&delivery_id(permit.key), &stop).await;
                (id, permit, exit)
            });
        }
    }

    fn worker_ended(
        &mut self,
        ended: Result<(BotId, SendPermit, WorkerExit), JoinError>,
    ) -> Result<(), JoinError> {
        let (bot, permit, exit) = ended?;
        self.queues.ended(bot, permit, exit);
        Ok(())
    }

    /// When there is something to do without anything new.
    fn due(&self) -> Option<Instant> {
        let due = [
            self.queues.due(),
            self.backlog.due(&self.queues),
            self.command_replies.due(&self.queues),
            self.chat_actions.due(&self.queues),
        ];
        due.into_iter().flatten().min()
    }
}

/// Sleeps until a moment; for ever if there is none.
async fn sleep_until(clock: &Clock, due: Option<Instant>) {
    match due {
        Some(due) => {
            let left = due.saturating_duration_since(clock.instant());
            clock.sleep(left).await;
        }
        None => std::future::pending().await,
    }
}
