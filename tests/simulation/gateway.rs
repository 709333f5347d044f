//! The gateway: `gateway::ingest`, `gateway::poller`, `outbox::sender` and `outbox::lane` in small,
//! with the same order of writes. Every decision is telepost's: [`Routes::decide`], [`update::read`],
//! [`offset_after`], [`Progress`], [`Schedule`], [`ClosedGate::opens_at`] and [`ApiError::decision`].
//! One lane works at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use telepost::config::Pace;
use telepost::gate::Verdict;
use telepost::ids::{ChatId, MessageId, UpdateId};
use telepost::inbox::disk::TOMBSTONE_MS;
use telepost::inbox::entry::EntryName;
use telepost::inbox::view::Item;
use telepost::outbox::delivery::{Content, Delivery, DeliveryId, Finished, Outcome, Progress};
use telepost::outbox::gates::ClosedGate;
use telepost::outbox::schedule::Schedule;
use telepost::store::format::FORMAT;
use telepost::telegram::error::{ApiError, Decision};
use telepost::telegram::polling::offset_after;
use telepost::telegram::update::{self, Unreadable};

use crate::action::Answer;
use crate::disk::{Died, File, Folder, Name, path};
use crate::telegram::Request;
use crate::world::{BOT, Bug, Closed, Sent, World};

/// How long finished deliveries are kept, as `outbox::disk` does.
const KEEP_MS: i64 = 7 * 24 * 3600 * 1000;

#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    number: u32,
    began: Duration,
    offset: Option<i64>,
    seen: BTreeMap<UpdateId, Vec<(usize, EntryName)>>,
    last_received: [i64; 2],
    gates: BTreeMap<ChatId, (ClosedGate, Duration)>,
    schedule: Schedule,
    lanes: BTreeMap<ChatId, Lane>,
    known: BTreeSet<DeliveryId>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    queue: BTreeSet<DeliveryId>,
    not_before: Option<Duration>,
    failures: u32,
}

enum Ended {
    Finished,
    Later(Duration),
    Failed,
}

impl Gateway {
    pub(crate) fn open(world: &World) -> Self {
        let mut seen: BTreeMap<UpdateId, Vec<_>> = BTreeMap::new();
        let mut last_received = [0; 2];
        for (session, last) in last_received.iter_mut().enumerate() {
            for folder in [Folder::Inbox, Folder::Done] {
                for name in world.disk.entries(session, folder) {
                    seen.entry(name.update_id)
                        .or_default()
                        .push((session, name));
                    *last = name.received.max(*last);
                }
            }
        }
        let now = world.now();
        let gates = match world.disk.get(0, Folder::Bot, Name::Gates) {
            Some(File::Gates(gates)) => gates.to_vec(),
            _ => Vec::new(),
        };
        let gates = gates.into_iter().filter_map(|gate| {
            let wait = gate.opens_at(now)?.since(now);
            Some((gate.chat_id, (gate, world.mono + wait)))
        });
        Self {
            number: world.gateways,
            began: world.mono,
            offset: None,
            seen,
            last_received,
            gates: gates.collect(),
            schedule: Schedule::new(Pace::Normal),
            lanes: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    pub(crate) fn poll(&mut self, world: &mut World, lost: bool, twice: bool) -> Result<(), Died> {
        world.disk.step()?;
        let batch = world.telegram.updates(self.offset, world.mono);
        world.disk.step()?;
        if lost {
            return Ok(());
        }
        if world.has(Bug::ConfirmBeforeDisk) {
            self.offset = last_id(&batch).or(self.offset);
            drop(world.telegram.updates(self.offset, world.mono));
        }
        for _ in 0..=u8::from(twice) {
            self.ingest(world, &batch)?;
        }
        self.offset = last_id(&batch).or(self.offset);
        Ok(())
    }

    fn ingest(&mut self, world: &mut World, batch: &[String]) -> Result<(), Died> {
        let mut touched = BTreeSet::new();
        for raw in batch {
            let Ok(update) = update::read(raw) else {
                continue;
            };
            let (session, address) = match world.routes.decide(BOT, &update) {
                Verdict::Admit { session, address } => {
                    let at = world.sessions.iter().position(|other| *other == session);
                    (at.unwrap(), address)
                }
                Verdict::Refuse(_) if world.has(Bug::GateOpen) => {
                    let address = telepost::ids::Address {
                        bot_id: BOT,
                        chat_id: ChatId(11),
                        topic_id: None,
                    };
                    (0, address)
                }
                Verdict::NotMeant { .. } | Verdict::Refuse(_) | Verdict::Ignore(_) => continue,
            };
            let places = self.seen.get(&update.id).cloned().unwrap_or_default();
            let known = places.into_iter().find(|(session, name)| {
                let mut folders = [Folder::Inbox, Folder::Done].into_iter();
                folders.any(|folder| world.disk.item(*session, folder, *name).is_some())
            });
            if let Some((holder, _)) = known {
                touched.insert(holder);
                continue;
            }
            let received = world.now().0.max(self.last_received[session] + 1);
            let name = EntryName {
                received,
                update_id: update.id,
            };
            let item = Item {
                name,
                address,
                update: Some(update),
            };
            let to = path(session, Folder::Inbox, Name::Entry(name));
            world.disk.name(to, File::Entry(Rc::new(item)))?;
            self.last_received[session] = received;
            self.seen
                .entry(name.update_id)
                .or_default()
                .push((session, name));
            touched.insert(session);
        }
        for session in touched {
            world.disk.sync(session, Folder::Inbox)?;
        }
        Ok(())
    }

    /// Carries the first delivery of one of the lanes that are due. `false` if there is none.
    pub(crate) fn send(
        &mut self,
        world: &mut World,
        lane: u8,
        at: u8,
        answer: Answer,
    ) -> Result<bool, Died> {
        self.scan(world)?;
        let due: Vec<ChatId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.queue.is_empty())
            .filter(|(_, lane)| lane.not_before.is_none_or(|due| due <= world.mono))
            .map(|(chat, _)| *chat)
            .collect();
        if due.is_empty() {
            return Ok(false);
        }
        let chat = due[usize::from(lane) % due.len()];
        while let Some(id) = self.next(world, chat) {
            let session = world.ledger.made[&id].session;
            if self.overtaken(world, chat, &id) {
                if let Some(delivery) = world.disk.waiting(session, &id) {
                    finish(world, session, &delivery, Outcome::Superseded)?;
                }
                self.ended(world, chat, &id, &Ended::Finished);
                continue;
            }
            let mut requests = 0u8;
            let ended = self.carry(world, session, &id, |_| {
                requests = requests.saturating_add(1);
                if requests == at.saturating_add(1) {
                    answer
                } else {
                    Answer::Ok
                }
            })?;
            self.ended(world, chat, &id, &ended);
            return Ok(true);
        }
        Ok(true)
    }

    pub(crate) fn send_all(&mut self, world: &mut World) -> Result<(), Died> {
        for _ in 0..1000 {
            if !self.send(world, 0, 0, Answer::Ok)? {
                break;
            }
        }
        Ok(())
    }

    fn next(&self, world: &World, chat: ChatId) -> Option<DeliveryId> {
        let queue = &self.lanes.get(&chat)?.queue;
        let first = if world.has(Bug::NewestFirst) {
            queue.last()
        } else {
            queue.first()
        };
        first.cloned()
    }

    fn overtaken(&self, world: &World, chat: ChatId, id: &DeliveryId) -> bool {
        let turn = |id: &DeliveryId| {
            let delivery = &world.ledger.made[id].delivery;
            let is_progress = matches!(delivery.content, Content::Progress { .. });
            let own = is_progress.then(|| id.clone());
            delivery.turn.clone().or(own)
        };
        let content = |id: &DeliveryId| &world.ledger.made[id].delivery.content;
        matches!(content(id), Content::Progress { .. })
            && self.lanes[&chat].queue.iter().skip(1).any(|later| {
                turn(later) == turn(id) && !matches!(content(later), Content::Reaction { .. })
            })
    }

    fn scan(&mut self, world: &mut World) -> Result<(), Died> {
        for session in 0..2 {
            for id in world.disk.deliveries(session, Folder::Outbox) {
                if !self.known.insert(id.clone()) {
                    continue;
                }
                if let Some(finished) = world.disk.finished(session, &id) {
                    world.settle(session, &finished.delivery.answers)?;
                    if !world.has(Bug::FinishedUnsynced) {
                        world.disk.sync(session, Folder::Sent)?;
                        world.disk.sync(session, Folder::Failed)?;
                    }
                    leave(world, session, &id)?;
                    continue;
                }
                if let Some(delivery) = world.disk.waiting(session, &id) {
                    let lane = self.lanes.entry(delivery.address.chat_id).or_default();
                    lane.queue.insert(id);
                }
            }
        }
        Ok(())
    }

    fn ended(&mut self, world: &World, chat: ChatId, id: &DeliveryId, ended: &Ended) {
        let Some(lane) = self.lanes.get_mut(&chat) else {
            return;
        };
        match ended {
            Ended::Finished => {
                lane.queue.remove(id);
                lane.failures = 0;
                lane.not_before = None;
                self.known.remove(id);
            }
            Ended::Later(wait) => lane.not_before = Some(world.mono + *wait),
            Ended::Failed => {
                let pause =
                    Duration::from_secs(1 << lane.failures.min(6)).min(Duration::from_secs(60));
                lane.failures = lane.failures.saturating_add(1);
                lane.not_before = Some(world.mono + pause);
            }
        }
    }

    fn carry(
        &mut self,
        world: &mut World,
        session: usize,
        id: &DeliveryId,
        mut answer: impl FnMut(usize) -> Answer,
    ) -> Result<Ended, Died> {
        let Some(delivery) = world.disk.waiting(session, id) else {
            return Ok(Ended::Finished);
        };
        if !world.has(Bug::OutboxUnsynced) {
            world.disk.sync(session, Folder::Outbox)?;
        }
        world.settle(session, &delivery.answers)?;
        let read = match world
            .disk
            .get(session, Folder::Outbox, Name::Progress(id.clone()))
        {
            Some(File::Progress(progress)) => Some(Progress::clone(progress)),
            _ => None,
        };
        let mut progress = read.unwrap_or_else(|| Progress::plan(&delivery.content));
        if let Some(index) = progress.in_flight() {
            if !repeatable(&delivery.content) {
                finish(world, session, &delivery, Outcome::Unknown)?;
                return Ok(Ended::Finished);
            }
            if world.has(Bug::RepeatWithoutMark) {
                progress.failed(index, String::new());
            } else {
                progress.doubted(index, "in flight".to_owned());
            }
        }
        while let Some(index) = progress.next() {
            let chat = delivery.address.chat_id;
            if let Some(wait) = self.must_wait(world, chat) {
                return Ok(Ended::Later(wait));
            }
            progress.begin(index);
            if !world.has(Bug::InFlightAfterRequest) {
                record(world, session, id, &progress)?;
            }
            world.disk.step()?;
            let heard = self.request(world, session, &delivery, &progress, index, answer(index));
            world.disk.step()?;
            let error = match heard {
                Ok(message) => {
                    progress.accepted(index, message);
                    record(world, session, id, &progress)?;
                    continue;
                }
                Err(error) => error,
            };
            if let Some(ended) =
                self.failed(world, session, &delivery, &mut progress, index, &error)?
            {
                return Ok(ended);
            }
        }
        let outcome = Outcome::Delivered {
            message_ids: progress.message_ids(),
            repeats: progress.repeats(),
        };
        finish(world, session, &delivery, outcome)?;
        Ok(Ended::Finished)
    }

    fn failed(
        &mut self,
        world: &mut World,
        session: usize,
        delivery: &Delivery,
        progress: &mut Progress,
        index: usize,
        error: &ApiError,
    ) -> Result<Option<Ended>, Died> {
        let (id, failure) = (&delivery.id, error.to_string());
        Ok(Some(match error.decision() {
            Decision::TreatAsDone => {
                let message = progress.message_ids().last().copied();
                progress.accepted(index, message.unwrap_or(MessageId(0)));
                record(world, session, id, progress)?;
                return Ok(None);
            }
            Decision::CloseGate(wait) => {
                self.close(world, delivery.address.chat_id, wait)?;
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                Ended::Later(wait)
            }
            Decision::Retry => {
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                Ended::Failed
            }
            Decision::StopBot => {
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                Ended::Later(Duration::from_secs(30))
            }
            Decision::RetryMarked if repeatable(&delivery.content) => {
                if world.has(Bug::RepeatWithoutMark) {
                    progress.failed(index, failure);
                } else {
                    progress.doubted(index, failure);
                }
                record(world, session, id, progress)?;
                Ended::Failed
            }
            Decision::RetryMarked => {
                finish(world, session, delivery, Outcome::Unknown)?;
                Ended::Finished
            }
            Decision::Fail => {
                let outcome = Outcome::Failed {
                    reason: failure,
                    message_ids: progress.message_ids(),
                };
                finish(world, session, delivery, outcome)?;
                Ended::Finished
            }
        }))
    }

    fn must_wait(&mut self, world: &World, chat: ChatId) -> Option<Duration> {
        if let Some((_, opens)) = self.gates.get(&chat) {
            let wait = opens.saturating_sub(world.mono);
            if !wait.is_zero() {
                return Some(wait);
            }
        }
        let since = world.mono.saturating_sub(self.began);
        let wait = self.schedule.take(chat, since).err();
        wait.filter(|_| !world.has(Bug::NoPace))
    }

    fn close(&mut self, world: &mut World, chat: ChatId, wait: Duration) -> Result<(), Died> {
        let gate = ClosedGate {
            chat_id: chat,
            closed_at: world.now(),
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap(),
        };
        self.gates.insert(chat, (gate, world.mono + wait));
        let closed = Closed {
            until: world.mono + wait,
            skew: world.skew,
            durable: false,
        };
        world.ledger.closed.insert(chat, closed);
        self.gates.retain(|_, (_, opens)| *opens > world.mono);
        let gates: Vec<ClosedGate> = self.gates.values().map(|(gate, _)| *gate).collect();
        if !world.has(Bug::GateInMemoryOnly) {
            world.disk.write(
                path(0, Folder::Bot, Name::Gates),
                File::Gates(Rc::new(gates)),
            )?;
        }
        world.ledger.closed.insert(
            chat,
            Closed {
                durable: true,
                ..closed
            },
        );
        Ok(())
    }

    fn request(
        &mut self,
        world: &mut World,
        session: usize,
        delivery: &Delivery,
        progress: &Progress,
        index: usize,
        answer: Answer,
    ) -> Result<MessageId, ApiError> {
        let chat = delivery.address.chat_id;
        let closed = world.ledger.closed.get(&chat);
        let closed = closed.is_some_and(|closed| closed.until > world.mono);
        world.ledger.requests.push(Sent {
            chat,
            order: world.ledger.made[&delivery.id].order,
            at: world.mono,
            gateway: self.number,
            gate_closed: closed,
        });
        let now = world.mono;
        match &delivery.content {
            Content::Reply { .. } => {
                let text = progress.message(index).text;
                world
                    .telegram
                    .send(chat, &Request::Text(&text), answer, now)
            }
            Content::Progress { .. } => {
                let text = &progress.message(index).text;
                let turn = delivery.turn.as_ref();
                let earlier =
                    turn.and_then(|turn| turn_message(world, session, turn, &delivery.id));
                let request = match earlier {
                    Some(message) => Request::Edit(message, text),
                    None => Request::Text(text),
                };
                world.telegram.send(chat, &request, answer, now)
            }
            Content::Reaction { message_id, .. } => {
                world
                    .telegram
                    .send(chat, &Request::React(*message_id), answer, now)
            }
        }
    }

    /// What the gateway clears away, as `Inbox::sweep` and `Outbox::sweep` do.
    pub(crate) fn sweep(&mut self, world: &mut World) -> Result<(), Died> {
        let now = world.now();
        for session in 0..2 {
            let old: Vec<_> = world
                .disk
                .list(session, Folder::Done)
                .filter_map(|(path, file)| match file {
                    File::Settled(item, at) => {
                        let since = at.0.max(item.name.received);
                        (now.0 - since > TOMBSTONE_MS || world.has(Bug::ForgetTombstones))
                            .then(|| (path.clone(), item.name.update_id))
                    }
                    _ => None,
                })
                .collect();
            for (path, id) in old {
                world.disk.remove(&path)?;
                world.ledger.swept.insert(id);
            }
            let mut past = Vec::new();
            for folder in [Folder::Sent, Folder::Failed] {
                for id in world.disk.deliveries(session, folder) {
                    let path = path(session, folder, Name::Delivery(id.clone()));
                    let finished_at = match world.disk.now.get(&path) {
                        Some(File::Finished(finished)) => finished.finished_at.0,
                        _ => id.accepted,
                    };
                    if now.0 - id.accepted > KEEP_MS && now.0 - finished_at > KEEP_MS {
                        past.push((path, id));
                    }
                }
            }
            if !past.is_empty() && !world.has(Bug::SweepUnsynced) {
                world.disk.sync(session, Folder::Outbox)?;
            }
            for (path, id) in past {
                world.disk.remove(&path)?;
                world.ledger.swept_deliveries.insert(id);
            }
            let waiting = world.disk.deliveries(session, Folder::Outbox);
            let orphans: Vec<_> = world
                .disk
                .list(session, Folder::Outbox)
                .filter(
                    |(path, _)| matches!(&path.name, Name::Progress(id) if !waiting.contains(id)),
                )
                .map(|(path, _)| path.clone())
                .collect();
            for orphan in orphans {
                world.disk.remove(&orphan)?;
            }
        }
        self.seen.retain(|_, places| {
            let mut places = places.iter();
            places.any(|(_, name)| now.0 - name.received <= 2 * TOMBSTONE_MS)
        });
        Ok(())
    }
}

fn last_id(batch: &[String]) -> Option<i64> {
    let ids = batch.iter().filter_map(|raw| match update::read(raw) {
        Ok(update) => Some(update.id.0),
        Err(Unreadable::Body { id, .. }) => Some(id.0),
        Err(Unreadable::NoId) => None,
    });
    offset_after(ids)
}

fn record(
    world: &mut World,
    session: usize,
    id: &DeliveryId,
    progress: &Progress,
) -> Result<(), Died> {
    let to = path(session, Folder::Outbox, Name::Progress(id.clone()));
    world
        .disk
        .write(to, File::Progress(Rc::new(progress.clone())))
}

fn finish(
    world: &mut World,
    session: usize,
    delivery: &Delivery,
    outcome: Outcome,
) -> Result<(), Died> {
    world.settle(session, &delivery.answers)?;
    let folder = match outcome {
        Outcome::Failed { .. } => Folder::Failed,
        Outcome::Delivered { .. } | Outcome::Unknown | Outcome::Superseded => Folder::Sent,
    };
    let finished = Finished {
        format: FORMAT,
        delivery: delivery.clone(),
        outcome,
        finished_at: world.now(),
    };
    let to = path(session, folder, Name::Delivery(delivery.id.clone()));
    world.disk.write(to, File::Finished(Rc::new(finished)))?;
    leave(world, session, &delivery.id)
}

fn leave(world: &mut World, session: usize, id: &DeliveryId) -> Result<(), Died> {
    world
        .disk
        .remove(&path(session, Folder::Outbox, Name::Delivery(id.clone())))?;
    world
        .disk
        .remove(&path(session, Folder::Outbox, Name::Progress(id.clone())))
}

fn repeatable(content: &Content) -> bool {
    matches!(content, Content::Reply { .. })
}

/// As `outbox::sender::turn_message`.
fn turn_message(
    world: &World,
    session: usize,
    turn: &DeliveryId,
    before: &DeliveryId,
) -> Option<MessageId> {
    let all = world.disk.all_deliveries(session);
    let mut between = all.iter().rev().filter(|id| *id >= turn && *id < before);
    between.find_map(|id| {
        let finished = world.disk.finished(session, id)?;
        let same = finished.delivery.id == *turn || finished.delivery.turn.as_ref() == Some(turn);
        let progress = matches!(finished.delivery.content, Content::Progress { .. });
        finished.outcome.last_message().filter(|_| same && progress)
    })
}

impl World {
    /// As `Inbox::settle`.
    pub(crate) fn settle(&mut self, session: usize, names: &[EntryName]) -> Result<(), Died> {
        let mut moved = false;
        for &name in names {
            moved |= self.disk.settle(session, name, self.now())?;
        }
        // Another process may have moved them and died before it synced.
        if moved || (!names.is_empty() && !self.has(Bug::SettleUnsynced)) {
            self.disk.sync(session, Folder::Done)?;
            self.disk.sync(session, Folder::Inbox)?;
        }
        Ok(())
    }
}
