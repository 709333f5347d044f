//! The sender: takes deliveries from disk to Telegram, per (bot, chat) in the order of acceptance
//! over all sessions.
//!
//! Owns the order of writes around a request: what is in flight is synced before it, what Telegram
//! accepted after it. A kill in between leaves a message in flight, whose fate is unknown: it is
//! sent again, marked. [`super::lane`] carries one delivery; this file decides which one is next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::delivery::{Content, DeliveryId, Outcome};
use super::disk::{Outbox, Standing};
use super::gates::Gates;
use super::lane::{Carrier, Ended};
use super::migrations::Migrations;
use super::schedule::Schedule;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::config::Pace;
use crate::ids::{BotId, ChatId, SessionId};
use crate::inbox::disk::Inbox;
use crate::store::format::ReadError;
use crate::store::layout::StateDir;
use crate::store::watch::FolderWatch;
use crate::telegram::api::Api;

/// One chat of one bot: deliveries to it go one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneKey {
    /// The bot.
    pub bot: BotId,
    /// The chat, with all its topics: they share Telegram's budget.
    pub chat: ChatId,
}

/// A delivery in its lane. Only what decides its turn is kept in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    id: DeliveryId,
    session: SessionId,
    kind: Kind,
    turn: Option<DeliveryId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Reply,
    Progress,
    Reaction,
}

#[derive(Debug, Default)]
struct Lane {
    queue: BTreeSet<Queued>,
    busy: bool,
    not_before: Option<Instant>,
    failures: u32,
}

/// What all lanes of one bot share.
#[derive(Debug)]
pub struct BotState {
    /// The bot's access.
    pub api: Api,
    /// Its flood gates.
    pub gates: Mutex<Gates>,
    /// Where its groups have gone.
    pub migrations: Mutex<Migrations>,
    /// Its pace.
    pub schedule: Mutex<Schedule>,
    /// When the schedule began.
    pub began: Instant,
}

impl BotState {
    /// The flood gates.
    pub fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where groups have gone.
    pub fn migrations(&self) -> MutexGuard<'_, Migrations> {
        self.migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The id that a chat has now.
    pub fn chat_now(&self, chat: ChatId) -> ChatId {
        self.migrations().current(chat)
    }
}

/// Chats that something was heard from since the sender has looked: whoever is parked is tried again.
#[derive(Debug, Default)]
pub struct Heard(Mutex<BTreeSet<LaneKey>>);

impl Heard {
    /// Something came from there.
    pub fn note(&self, bot: BotId, chat: ChatId) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(LaneKey { bot, chat });
    }

    fn take(&self) -> BTreeSet<LaneKey> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sends what waits in the outboxes.
#[derive(Debug)]
pub struct Sender {
    state: StateDir,
    sessions: Vec<SessionId>,
    bots: BTreeMap<BotId, Arc<BotState>>,
    clock: Clock,
    lanes: BTreeMap<LaneKey, Lane>,
    known: BTreeSet<(SessionId, DeliveryId)>,
    /// Told after every completed poll.
    polled: Arc<Notify>,
    heard: Arc<Heard>,
    pace: Pace,
}

impl Sender {
    /// A sender for the sessions of the configuration. Reads the flood gates.
    pub fn new(
        state: &StateDir,
        sessions: Vec<SessionId>,
        apis: Vec<Api>,
        clock: Clock,
        pace: Pace,
        polled: Arc<Notify>,
        heard: Arc<Heard>,
    ) -> Result<Self, ReadError> {
        let mut bots = BTreeMap::new();
        for api in apis {
            let gates = Mutex::new(Gates::load(state, api.id(), &clock)?);
            let migrations = Mutex::new(Migrations::load(state, api.id(), &clock)?);
            let bot = BotState {
                gates,
                migrations,
                schedule: Mutex::new(Schedule::new(pace)),
                began: clock.instant(),
                api,
            };
            bots.insert(bot.api.id(), Arc::new(bot));
        }
        Ok(Self {
            state: state.clone(),
            sessions,
            bots,
            clock,
            lanes: BTreeMap::new(),
            known: BTreeSet::new(),
            polled,
            heard,
            pace,
        })
    }

    /// Sends until it is told to stop; a request in flight is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let folders: Vec<_> = self
            .sessions
            .iter()
            .map(|id| self.state.session(id))
            .flat_map(|dir| [dir.outbox(), dir.drops()])
            .collect();
        let watch = FolderWatch::new(&folders, &self.clock);
        let mut at_work: JoinSet<(LaneKey, Queued, Ended)> = JoinSet::new();
        loop {
            self.open_heard();
            let unread = self.scan();
            self.put_away_dropped();
            self.start_lanes(&mut at_work, &stop);
            let again = unread.then(|| self.clock.instant() + RETRY_READ);
            let wake = self.next_due().into_iter().chain(again).min();
            tokio::select! {
                // All arms are cancel-safe: a change is looked for by scanning, a JoinSet keeps
                // what has ended, time passes by itself.
                () = stop.cancelled() => break,
                () = watch.changed() => {}
                // What a watch has missed is found after the next poll: no timer in an idle house.
                () = self.polled.notified() => {}
                Some(ended) = at_work.join_next() => match ended {
                    Ok((lane, queued, ended)) => self.ended(lane, &queued, ended),
                    Err(error) => {
                        // The gateway ends with it and begins anew from what is on disk.
                        tracing::error!(%error, "the sender met a bug");
                        return;
                    }
                },
                () = sleep_until(&self.clock, wake) => {}
            }
        }
        while at_work.join_next().await.is_some() {}
    }

    /// Tries parked chats again that something was heard from.
    fn open_heard(&mut self) {
        for key in self.heard.take() {
            let Some(bot) = self.bots.get(&key.bot) else {
                continue;
            };
            let chat = bot.chat_now(key.chat);
            match bot.gates().heard_from(chat) {
                Ok(false) => continue,
                Ok(true) => {}
                // Open in memory; on disk it opens within the hour.
                Err(error) => {
                    tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record that a chat is tried again");
                }
            }
            if let Some(lane) = self.lanes.get_mut(&LaneKey { chat, ..key }) {
                lane.not_before = None;
            }
        }
    }

    /// Puts away what a person does not want sent. What is being carried at this moment notices by
    /// itself.
    fn put_away_dropped(&mut self) {
        for session in self.sessions.clone() {
            let outbox = self.outbox(&session);
            let drops = match outbox.drops() {
                Ok(drops) => drops,
                Err(error) => {
                    tracing::error!(%session, error = %Chain(&error), "cannot read what is to be dropped");
                    continue;
                }
            };
            for id in drops {
                self.put_away(&session, &outbox, &id);
            }
        }
    }

    fn put_away(&mut self, session: &SessionId, outbox: &Outbox, id: &DeliveryId) {
        let waits = self.lanes.iter().find_map(|(key, lane)| {
            let queued = lane
                .queue
                .iter()
                .find(|queued| queued.id == *id && queued.session == *session)?;
            let carried = lane.busy && lane.queue.first() == Some(queued);
            Some((*key, queued.clone(), carried))
        });
        match waits {
            Some((key, queued, false)) => {
                let Some(bot) = self.bots.get(&key.bot) else {
                    return;
                };
                let carrier =
                    Carrier::new(&self.state, session, Arc::clone(bot), self.clock.clone());
                if carrier.put_away_dropped(id) == Ended::Finished {
                    self.forget(key, &queued);
                }
            }
            Some((_, _, true)) => {}
            // It came too late, or a kill came before the wish was forgotten.
            None => {
                let standing = outbox.standing(id, self.clock.now());
                if !matches!(standing, Ok(Standing::Waiting) | Err(_))
                    && let Err(error) = outbox.forget_drop(id)
                {
                    tracing::warn!(%session, delivery = %id, error = %Chain(&error), "cannot clear away");
                }
            }
        }
    }

    /// A delivery that is not being carried has left the outbox.
    fn forget(&mut self, key: LaneKey, queued: &Queued) {
        self.known
            .remove(&(queued.session.clone(), queued.id.clone()));
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.queue.remove(queued);
            if lane.queue.is_empty() && !lane.busy {
                self.lanes.remove(&key);
            }
        }
    }

    /// Takes up deliveries that are new on disk. `true` if something could not be read now.
    fn scan(&mut self) -> bool {
        let mut unread = false;
        for session in self.sessions.clone() {
            let outbox = self.outbox(&session);
            let waiting = match outbox.waiting() {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::error!(%session, error = %Chain(&error), "cannot read the outbox");
                    unread = true;
                    continue;
                }
            };
            for id in waiting {
                if self.known.contains(&(session.clone(), id.clone())) {
                    continue;
                }
                match self.take_up(&session, &outbox, &id) {
                    Ok(()) => {
                        self.known.insert((session.clone(), id));
                    }
                    Err(ReadError::Quarantined { .. }) => {}
                    Err(error) => {
                        tracing::error!(%session, delivery = %id, error = %Chain(&error), "cannot take up a delivery now");
                        unread = true;
                    }
                }
            }
        }
        unread
    }

    fn take_up(
        &mut self,
        session: &SessionId,
        outbox: &Outbox,
        id: &DeliveryId,
    ) -> Result<(), ReadError> {
        let now = self.clock.now();
        if let Standing::Finished(finished) = outbox.standing(id, now)? {
            // A kill came between the record and the removal.
            Inbox::new(&self.state, self.state.session(session))
                .settle(&finished.delivery.answers)?;
            outbox.leave_recorded(id)?;
            return Ok(());
        }
        let Some(delivery) = outbox.read(id, now)? else {
            return Ok(());
        };
        let kind = match delivery.content {
            Content::Reply { .. } => Kind::Reply,
            Content::Progress { .. } => Kind::Progress,
            Content::Reaction { .. } => Kind::Reaction,
        };
        // The first progress of a turn names it.
        let turn = delivery
            .turn
            .or_else(|| (kind == Kind::Progress).then(|| id.clone()));
        let bot = self.bots.get(&delivery.address.bot_id);
        let chat = delivery.address.chat_id;
        let key = LaneKey {
            bot: delivery.address.bot_id,
            chat: bot.map_or(chat, |bot| bot.chat_now(chat)),
        };
        if bot.is_none() {
            tracing::warn!(%session, delivery = %id, bot_id = key.bot.0, "a delivery waits for a bot that does not run");
        }
        let queued = Queued {
            id: id.clone(),
            session: session.clone(),
            kind,
            turn,
        };
        self.lanes.entry(key).or_default().queue.insert(queued);
        Ok(())
    }

    /// Starts the first delivery of every lane that is free and due.
    fn start_lanes(
        &mut self,
        at_work: &mut JoinSet<(LaneKey, Queued, Ended)>,
        stop: &CancellationToken,
    ) {
        let now = self.clock.instant();
        let mut superseded = Vec::new();
        for (&key, lane) in &mut self.lanes {
            if lane.busy || lane.not_before.is_some_and(|due| due > now) {
                continue;
            }
            let Some(bot) = self.bots.get(&key.bot) else {
                continue;
            };
            let Some(queued) = lane.queue.first().cloned() else {
                continue;
            };
            // A newer progress of the same turn, or its final reply, takes this one's place.
            let overtaken = queued.kind == Kind::Progress
                && lane
                    .queue
                    .iter()
                    .skip(1)
                    .any(|later| later.turn == queued.turn && later.kind != Kind::Reaction);
            if overtaken && superseded.len() < BATCH {
                superseded.push((key, queued));
                continue;
            }
            lane.busy = true;
            let carrier = Carrier::new(
                &self.state,
                &queued.session,
                Arc::clone(bot),
                self.clock.clone(),
            );
            let stop = stop.clone();
            at_work.spawn(async move {
                let ended = carrier.carry(&queued.id, &stop).await;
                (key, queued, ended)
            });
        }
        let again = !superseded.is_empty();
        for (key, queued) in superseded {
            let carrier_end = self
                .bots
                .get(&key.bot)
                .map(|bot| {
                    Carrier::new(
                        &self.state,
                        &queued.session,
                        Arc::clone(bot),
                        self.clock.clone(),
                    )
                })
                .map_or(Ended::Finished, |carrier| carrier.supersede(&queued.id));
            self.ended(key, &queued, carrier_end);
        }
        if again {
            self.start_lanes(at_work, stop);
        }
    }

    fn ended(&mut self, key: LaneKey, queued: &Queued, ended: Ended) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.busy = false;
        match ended {
            Ended::Finished => {
                lane.queue.remove(queued);
                lane.failures = 0;
                lane.not_before = None;
                self.known
                    .remove(&(queued.session.clone(), queued.id.clone()));
                if lane.queue.is_empty() {
                    self.lanes.remove(&key);
                }
            }
            Ended::Later(wait) => {
                lane.not_before = Some(self.clock.instant() + wait);
            }
            Ended::Failed => {
                let pause = backoff(lane.failures, self.pace);
                lane.failures = lane.failures.saturating_add(1);
                lane.not_before = Some(self.clock.instant() + pause);
            }
            Ended::Moved => self.move_lane(key),
            Ended::Stopped => {}
        }
    }

    /// A chat has another id now: what waits for it joins what waits there already.
    fn move_lane(&mut self, key: LaneKey) {
        let (Some(bot), Some(lane)) = (self.bots.get(&key.bot), self.lanes.remove(&key)) else {
            return;
        };
        let chat = bot.chat_now(key.chat);
        let joined = self.lanes.entry(LaneKey { chat, ..key }).or_default();
        joined.queue.extend(lane.queue);
    }

    fn next_due(&self) -> Option<Instant> {
        self.lanes
            .values()
            .filter(|lane| !lane.busy)
            .filter_map(|lane| lane.not_before)
            .min()
    }

    fn outbox(&self, session: &SessionId) -> Outbox {
        Outbox::new(&self.state, self.state.session(session))
    }
}

/// How many overtaken progress deliveries are put away before others get their turn.
const BATCH: usize = 64;
/// When something that could not be read is tried again.
const RETRY_READ: Duration = Duration::from_secs(2);

/// 1, 2, 4 … 60 seconds, with up to a quarter of jitter; a tenth of it without a pace, in tests.
fn backoff(failures: u32, pace: Pace) -> Duration {
    let seconds = f64::from(1u32 << failures.min(6)).min(60.0);
    let divisor = match pace {
        Pace::Normal => 1.0,
        Pace::Off => 10.0,
    };
    Duration::from_secs_f64(seconds * (1.0 + fastrand::f64() / 4.0) / divisor)
}

/// Waits until then; for ever if there is nothing to wait for.
async fn sleep_until(clock: &Clock, due: Option<Instant>) {
    match due {
        Some(due) => {
            let left = due.saturating_duration_since(clock.instant());
            clock.sleep(left).await;
        }
        None => std::future::pending().await,
    }
}

/// The message that a turn's progress edits: the one of its newest finished progress.
pub fn turn_message(
    outbox: &Outbox,
    turn: &DeliveryId,
    before: &DeliveryId,
    now: crate::clock::Timestamp,
) -> Result<Option<crate::ids::MessageId>, ReadError> {
    let all = outbox.all()?;
    for id in all.range(turn..before).rev() {
        if let Standing::Finished(finished) = outbox.standing(id, now)? {
            let same_turn =
                finished.delivery.id == *turn || finished.delivery.turn.as_ref() == Some(turn);
            let progress = matches!(finished.delivery.content, Content::Progress { .. });
            let message = match &finished.outcome {
                Outcome::Delivered { .. } => finished.outcome.last_message(),
                Outcome::Unknown
                | Outcome::Superseded
                | Outcome::Dropped { .. }
                | Outcome::Failed { .. } => None,
            };
            if same_turn && progress && message.is_some() {
                return Ok(message);
            }
        }
    }
    Ok(None)
}
