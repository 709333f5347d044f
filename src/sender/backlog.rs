//! From the outboxes on disk into the send queues.
//!
//! A watch reports new names; a scan at the start and after polls finds the names that the watch has
//! missed. Both collect the deliveries that no queue has, and these are read in the order of
//! acceptance, some at a time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::SessionId;
use crate::sender::bot_queues::BotQueues;
use crate::sender::chat_actions::ChatActions;
use crate::sender::queue::{DeliveryKind, QueueKey};
use crate::sender::worker::{DeliveryWorker, WorkerExit};
use crate::state::StateDir;
use crate::state::bots::BotHandle;
use crate::state::bots::receipts::MessageRef;
use crate::state::changes::SessionChange;
use crate::state::inbox::Inbox;
use crate::state::outbox::{Content, DeliveryId, DeliveryStatus, Outbox};
use crate::store::ReadError;

/// How many deliveries are read, or put away, before the other work gets its turn.
const BATCH: usize = 64;
/// When a delivery that could not be read or put away is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Scans take at most the 20th part of the time.
const SCAN_SHARE: u32 = 20;
/// A delivery that is newer shows that its agent is at work. After a restart older ones are read as well.
const RECENT: Duration = Duration::from_secs(60);

/// The deliveries on disk that no queue has, and the work that they ask for.
#[derive(Debug)]
pub(super) struct Backlog {
    state: StateDir,
    /// The number of a session is its place here.
    sessions: Arc<[SessionId]>,
    clock: Clock,
    /// Deliveries that no queue has yet.
    unread: BTreeSet<QueueKey>,
    /// Deliveries that a person has asked to drop.
    drops: BTreeSet<QueueKey>,
    scan_at: Option<Instant>,
    /// When the next scan may begin.
    scan_after: Instant,
    /// When a superseded delivery that could not be put away is tried again.
    supersede_after: Option<Instant>,
}

impl Backlog {
    /// Begins with a scan.
    pub(super) fn new(state: &StateDir, sessions: Arc<[SessionId]>, clock: Clock) -> Self {
        Self {
            state: state.clone(),
            sessions,
            unread: BTreeSet::new(),
            drops: BTreeSet::new(),
            scan_at: Some(clock.instant()),
            scan_after: clock.instant(),
            supersede_after: None,
            clock,
        }
    }

    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let dirs = self.sessions.iter().map(|id| self.state.session(id));
        dirs.flat_map(|dir| SessionChange::folders_of_deliveries(&dir))
            .collect()
    }

    /// The number of a session that is configured.
    pub(super) fn number_of(&self, session: &SessionId) -> Option<u16> {
        let number = self.sessions.iter().position(|id| id == session)?;
        u16::try_from(number).ok()
    }

    pub(super) fn add_accepted(&mut self, session: u16, id: &DeliveryId) {
        self.unread.extend(queue_key(session, id));
    }

    pub(super) fn add_drop(&mut self, session: u16, id: &DeliveryId) {
        self.drops.extend(queue_key(session, id));
    }

    pub(super) fn request_scan(&mut self, pause: Duration) {
        let at = (self.clock.instant() + pause).max(self.scan_after);
        self.scan_at = Some(self.scan_at.map_or(at, |other| other.min(at)));
    }

    /// Whether a scan is due. It waits until the names that are already known are read.
    pub(super) fn is_scan_due(&self) -> bool {
        self.unread.is_empty() && self.scan_at.is_some_and(|at| at <= self.clock.instant())
    }

    /// Compares the names in all outboxes with the queues.
    pub(super) fn scan(&mut self, queues: &BotQueues) {
        let began = self.clock.instant();
        self.scan_at = None;
        let mut failed = false;
        for (number, session) in (0u16..).zip(self.sessions.iter()) {
            let outbox = self.outbox(session);
            let unread = &mut self.unread;
            let listed = outbox.each_waiting(|id| {
                let key = queue_key(number, &id);
                unread.extend(key.filter(|key| queues.bot_of(*key).is_none()));
            });
            if let Err(error) = listed {
                tracing::error!(%session, error = %Chain(&error), "cannot read the outbox");
                failed = true;
            }
            match outbox.drops() {
                Ok(drops) => {
                    let keys = drops.iter().filter_map(|id| queue_key(number, id));
                    self.drops.extend(keys);
                }
                Err(error) => {
                    tracing::error!(%session, error = %Chain(&error), "cannot read which deliveries are to be dropped");
                    failed = true;
                }
            }
        }
        let took = self.clock.instant().duration_since(began);
        self.scan_after = self.clock.instant() + took * SCAN_SHARE;
        if failed {
            self.request_scan(RETRY);
        }
    }

    /// Reads some of the deliveries that no queue has.
    pub(super) fn ingest(&mut self, queues: &mut BotQueues, actions: &mut ChatActions) {
        for _ in 0..BATCH {
            let Some(key) = self.unread.pop_first() else {
                return;
            };
            match self.ingest_one(key, queues, actions) {
                Ok(()) | Err(ReadError::Quarantined { .. }) => {}
                Err(error) => {
                    tracing::error!(delivery = %delivery_id(key), error = %Chain(&error), "cannot read a delivery now; retrying");
                    self.request_scan(RETRY);
                }
            }
        }
    }

    fn ingest_one(
        &mut self,
        key: QueueKey,
        queues: &mut BotQueues,
        actions: &mut ChatActions,
    ) -> Result<(), ReadError> {
        let Some(session) = self.sessions.get(usize::from(key.session)) else {
            return Ok(());
        };
        let (outbox, id) = (self.outbox(session), delivery_id(key));
        // A name may be reported twice, and the delivery be finished by then.
        if queues.bot_of(key).is_some() || !outbox.may_wait(&id) {
            return Ok(());
        }
        let now = self.clock.now();
        if let DeliveryStatus::Finished(finished) = outbox.status(&id, now)? {
            // A kill came between the record and the removal.
            Inbox::new(&self.state.session(session)).settle(&finished.delivery.answers)?;
            outbox.leave_recorded(&id)?;
            return Ok(());
        }
        let Some(delivery) = outbox.read(&id, now)? else {
            return Ok(());
        };
        let (bot, chat) = (delivery.address.bot_id, delivery.address.chat_id);
        let turn = delivery.turn.map(|turn| turn.accepted);
        let is_short = delivery.content.is_short();
        let kind = match delivery.content {
            Content::Reply { .. } => DeliveryKind::Reply { turn },
            // The first progress update of a turn names it.
            Content::ProgressUpdate { .. } => DeliveryKind::Progress {
                turn: turn.unwrap_or(key.accepted),
            },
            Content::Reaction { message_id, .. } => {
                actions.agent_reacts(MessageRef {
                    bot,
                    chat,
                    message: message_id,
                })?;
                DeliveryKind::Reaction {
                    message: message_id,
                }
            }
        };
        if queues.bot(bot).is_none() {
            tracing::warn!(%session, delivery = %id, bot_id = bot.0, "a delivery is waiting for a bot that is not running");
        }
        if now.since(Timestamp(key.accepted)) < RECENT {
            actions.agent_spoke(key.session, delivery.holder, queues.now());
        }
        // While a delivery to a group is under way that has become a supergroup, its queue keeps the old id.
        let current = queues.bot(bot).map_or(chat, |bot| bot.current_chat(chat));
        let queue = queues.queue(bot);
        let chat = if queue.is_sending_to(chat) {
            chat
        } else {
            current
        };
        queue.add(chat, key, kind);
        if is_short {
            queue.mark_short(key);
        }
        Ok(())
    }

    /// Puts away the deliveries that a person has asked to drop. The worker of one that is under way
    /// notices by itself.
    pub(super) fn put_away_dropped(&mut self, queues: &mut BotQueues) {
        for key in std::mem::take(&mut self.drops) {
            let id = delivery_id(key);
            if let Some(bot) = queues.bot_of(key) {
                let handle = queues.bot(bot).map(Arc::clone);
                let Some(handle) = handle.filter(|_| !queues.queue(bot).is_sending(key)) else {
                    continue;
                };
                if self.is_put_away(&handle, key, |worker| worker.put_away_dropped(&id)) {
                    queues.queue(bot).remove(key);
                } else {
                    self.request_scan(RETRY);
                }
                continue;
            }
            if self.unread.contains(&key) {
                self.drops.insert(key);
                continue;
            }
            let Some(session) = self.sessions.get(usize::from(key.session)) else {
                continue;
            };
            // The request came too late, or a kill came before it was removed.
            let outbox = self.outbox(session);
            let status = outbox.status(&id, self.clock.now());
            if matches!(
                status,
                Ok(DeliveryStatus::Finished(_) | DeliveryStatus::Gone)
            ) && let Err(error) = outbox.forget_drop(&id)
            {
                tracing::warn!(%session, delivery = %id, error = %Chain(&error), "cannot remove a request to drop a delivery");
            }
        }
    }

    pub(super) fn put_away_superseded(&mut self, queues: &mut BotQueues) {
        for _ in 0..BATCH {
            if !self.has_superseded(queues) {
                return;
            }
            let Some((bot, key)) = queues.superseded() else {
                return;
            };
            let id = delivery_id(key);
            if self.is_put_away(&bot, key, |worker| worker.supersede(&id)) {
                queues.queue(bot.api.id()).remove(key);
                self.supersede_after = None;
            } else {
                self.supersede_after = Some(self.clock.instant() + RETRY);
            }
        }
    }

    pub(super) fn has_superseded(&self, queues: &BotQueues) -> bool {
        let now = self.clock.instant();
        self.supersede_after.is_none_or(|after| after <= now) && queues.superseded().is_some()
    }

    fn is_put_away(
        &self,
        bot: &Arc<BotHandle>,
        key: QueueKey,
        put_away: impl FnOnce(DeliveryWorker) -> WorkerExit,
    ) -> bool {
        let worker = self.worker(Arc::clone(bot), key);
        worker.is_none_or(|worker| put_away(worker) == WorkerExit::Finished)
    }

    pub(super) fn worker(&self, bot: Arc<BotHandle>, key: QueueKey) -> Option<DeliveryWorker> {
        let session = self.sessions.get(usize::from(key.session))?;
        Some(DeliveryWorker::new(
            &self.state,
            session,
            bot,
            self.clock.clone(),
        ))
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// When something has to be tried again.
    pub(super) fn due(&self, queues: &BotQueues) -> Option<Instant> {
        let retry = self
            .supersede_after
            .filter(|_| queues.superseded().is_some());
        retry.into_iter().chain(self.scan_at).min()
    }

    fn outbox(&self, session: &SessionId) -> Outbox {
        Outbox::new(&self.state, self.state.session(session))
    }
}

fn queue_key(session: u16, id: &DeliveryId) -> Option<QueueKey> {
    Some(QueueKey {
        accepted: id.accepted,
        session,
        key: u128::from_str_radix(&id.key, 16).ok()?,
    })
}

/// The name on disk of a delivery in a queue.
pub(super) fn delivery_id(key: QueueKey) -> DeliveryId {
    DeliveryId {
        accepted: key.accepted,
        key: format!("{:032x}", key.key),
    }
}
