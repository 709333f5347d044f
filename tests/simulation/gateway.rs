//! The gateway: `gateway::intake`, `gateway::poller` and `sender` in small,
//! with the same order of writes. Every decision is telepost's: [`Routes::decide`], [`update::read`],
//! [`offset_after`], [`DeliveryState`], [`SendQueue`], [`Pause::opens_at`] and [`ApiError::decision`].
//! One turn is taken at a time. Cosmetic calls are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use telepost::config::Pace;
use telepost::ids::{ChatId, MessageId, UpdateId};
use telepost::routing::RouteDecision;
use telepost::sender::queue::{DeliveryKind, QueueKey, SendEnd, SendQueue};
use telepost::sender::repair::{self, Repaired};
use telepost::state::bots::rate_limits::{BLOCKED_FOR, ChatLimit, Pause};
use telepost::state::inbox::TOMBSTONE_MS;
use telepost::state::inbox::entry::EntryName;
use telepost::state::inbox::view::Item;
use telepost::state::outbox::delivery::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState,
};
use telepost::telegram::error::{ApiError, FailureDecision};
use telepost::telegram::polling::offset_after;
use telepost::telegram::update::{self, Unreadable, Update};

use crate::action::Answer;
use crate::disk::{Died, File, Folder, Name, path};
use crate::outbox::{fail, finish, leave, record, repeatable, turn_message};
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
    gates: BTreeMap<ChatId, (ChatLimit, Duration)>,
    queue: SendQueue,
    /// The names on disk of the deliveries in the queue.
    known: BTreeMap<QueueKey, DeliveryId>,
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
            let wait = gate.pause.opens_at(now)?.since(now);
            Some((gate.chat_id, (gate.clone(), world.mono + wait)))
        });
        Self {
            number: world.gateways,
            began: world.mono,
            offset: None,
            seen,
            last_received,
            gates: gates.collect(),
            queue: SendQueue::new(if world.has(Bug::NoPace) {
                Pace::Off
            } else {
                Pace::Normal
            }),
            known: BTreeMap::new(),
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
            self.heard(world, &update)?;
            let (session, address) = match world.routes.decide(BOT, &update) {
                RouteDecision::Admit { session, address } => {
                    let at = world.sessions.iter().position(|other| *other == session);
                    (at.unwrap(), address)
                }
                RouteDecision::Refuse(_) if world.has(Bug::GateOpen) => {
                    let address = telepost::ids::Address {
                        bot_id: BOT,
                        chat_id: ChatId(11),
                        topic_id: None,
                    };
                    (0, address)
                }
                RouteDecision::NotAddressed { .. }
                | RouteDecision::Refuse(_)
                | RouteDecision::Ignore(_) => continue,
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
                context: Vec::new(),
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

    /// A message from a blocked chat lets it be tried again.
    fn heard(&mut self, world: &mut World, update: &Update) -> Result<(), Died> {
        let RouteDecision::Admit { address, .. } = world.routes.decide(BOT, update) else {
            return Ok(());
        };
        let chat = address.chat_id;
        let parked = |(gate, _): &(ChatLimit, Duration)| gate.reason.is_some();
        if !self.gates.get(&chat).is_some_and(parked) {
            return Ok(());
        }
        self.gates.remove(&chat);
        world.ledger.closed.remove(&chat);
        self.queue.open(chat);
        self.record_gates(world)
    }

    /// Lets the delivery make one request whose turn it is. `false` if there is none.
    pub(crate) fn send(&mut self, world: &mut World, answer: Answer) -> Result<bool, Died> {
        self.scan(world)?;
        while let Some(key) = self.queue.superseded() {
            self.queue.remove(key);
            if let Some(id) = self.known.remove(&key) {
                let session = world.ledger.made[&id].session;
                if let Some(delivery) = world.disk.waiting(session, &id) {
                    finish(world, session, &delivery, DeliveryOutcome::Superseded)?;
                }
            }
        }
        let now = world.mono.saturating_sub(self.began);
        let Some(turn) = self.queue.next(now) else {
            return Ok(false);
        };
        let id = self.known[&turn.key].clone();
        let session = world.ledger.made[&id].session;
        let end = self.carry(world, session, &id, answer)?;
        if end == SendEnd::Finished {
            self.known.remove(&turn.key);
        }
        self.queue.ended(turn.chat, end, now);
        Ok(true)
    }

    pub(crate) fn send_all(&mut self, world: &mut World) -> Result<(), Died> {
        for _ in 0..1000 {
            if !self.send(world, Answer::Ok)? {
                break;
            }
        }
        Ok(())
    }

    fn scan(&mut self, world: &mut World) -> Result<(), Died> {
        for session in 0..2 {
            for id in world.disk.deliveries(session, Folder::Outbox) {
                let key = QueueKey {
                    accepted: if world.has(Bug::NewestFirst) {
                        -id.accepted
                    } else {
                        id.accepted
                    },
                    session: u16::try_from(session).unwrap(),
                    key: u128::from_str_radix(&id.key, 16).unwrap(),
                };
                if self.known.contains_key(&key) {
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
                    let turn = delivery.turn.as_ref().map(|turn| turn.accepted);
                    let kind = match &delivery.content {
                        Content::Reply { .. } => DeliveryKind::Reply { turn },
                        Content::ProgressUpdate { .. } => DeliveryKind::Progress {
                            turn: turn.unwrap_or(id.accepted),
                        },
                        Content::Reaction { message_id, .. } => DeliveryKind::Reaction {
                            message: *message_id,
                        },
                    };
                    self.queue.add(delivery.address.chat_id, key, kind);
                    self.known.insert(key, id);
                }
            }
        }
        Ok(())
    }

    fn carry(
        &mut self,
        world: &mut World,
        session: usize,
        id: &DeliveryId,
        answer: Answer,
    ) -> Result<SendEnd, Died> {
        let Some(delivery) = world.disk.waiting(session, id) else {
            return Ok(SendEnd::Finished);
        };
        if !world.has(Bug::OutboxUnsynced) {
            world.disk.sync(session, Folder::Outbox)?;
        }
        world.settle(session, &delivery.answers)?;
        let read = match world
            .disk
            .get(session, Folder::Outbox, Name::Progress(id.clone()))
        {
            Some(File::Progress(progress)) => Some(DeliveryState::clone(progress)),
            _ => None,
        };
        let mut progress = read.unwrap_or_else(|| DeliveryState::plan(&delivery.content));
        if let Some(index) = progress.in_flight() {
            if !repeatable(&delivery.content) {
                finish(world, session, &delivery, DeliveryOutcome::Unknown)?;
                return Ok(SendEnd::Finished);
            }
            if world.has(Bug::RepeatWithoutMark) {
                progress.failed(index, String::new());
            } else {
                progress.doubted(index, "in flight".to_owned());
            }
        }
        let mut had_turn = false;
        while let Some(index) = progress.next() {
            if std::mem::replace(&mut had_turn, true) {
                return Ok(SendEnd::More);
            }
            let chat = delivery.address.chat_id;
            if let Some(wait) = self.must_wait(world, chat) {
                return Ok(SendEnd::Later(wait));
            }
            progress.begin(index);
            if !world.has(Bug::InFlightAfterRequest) {
                record(world, session, id, &progress)?;
            }
            world.disk.step()?;
            let heard = self.request(world, session, &delivery, &progress, index, answer);
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
        let outcome = DeliveryOutcome::Delivered {
            message_ids: progress.message_ids(),
            repeats: progress.repeats(),
        };
        finish(world, session, &delivery, outcome)?;
        Ok(SendEnd::Finished)
    }

    fn failed(
        &mut self,
        world: &mut World,
        session: usize,
        delivery: &Delivery,
        progress: &mut DeliveryState,
        index: usize,
        error: &ApiError,
    ) -> Result<Option<SendEnd>, Died> {
        let (id, failure) = (&delivery.id, error.to_string());
        Ok(Some(match error.decision() {
            FailureDecision::TreatAsDone => {
                let message = progress.message_ids().last().copied();
                progress.accepted(index, message.unwrap_or(MessageId(0)));
                record(world, session, id, progress)?;
                return Ok(None);
            }
            FailureDecision::RateLimit(wait) => {
                self.close(world, delivery.address.chat_id, wait, None)?;
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                SendEnd::Later(wait)
            }
            FailureDecision::ChatBlocked | FailureDecision::TopicClosed
                if repeatable(&delivery.content) =>
            {
                let chat = delivery.address.chat_id;
                self.close(world, chat, BLOCKED_FOR, Some(failure.clone()))?;
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                SendEnd::Later(BLOCKED_FOR)
            }
            FailureDecision::Repair(repair) => {
                progress.failed(index, failure.clone());
                let chat = delivery.address.chat_id;
                match repair::apply_repair(progress, index, &delivery.content, chat, repair) {
                    Repaired::InVain => {
                        fail(world, session, delivery, progress, failure)?;
                        return Ok(Some(SendEnd::Finished));
                    }
                    Repaired::Now => {
                        record(world, session, id, progress)?;
                        return Ok(None);
                    }
                    Repaired::Later => {
                        record(world, session, id, progress)?;
                        SendEnd::Failed(0.0)
                    }
                }
            }
            FailureDecision::Retry => {
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                SendEnd::Failed(0.0)
            }
            FailureDecision::StopBot => {
                progress.failed(index, failure);
                record(world, session, id, progress)?;
                SendEnd::Later(Duration::from_secs(30))
            }
            FailureDecision::RetryMarked if repeatable(&delivery.content) => {
                if world.has(Bug::RepeatWithoutMark) {
                    progress.failed(index, failure);
                } else {
                    progress.doubted(index, failure);
                }
                record(world, session, id, progress)?;
                SendEnd::Failed(0.0)
            }
            FailureDecision::RetryMarked => {
                finish(world, session, delivery, DeliveryOutcome::Unknown)?;
                SendEnd::Finished
            }
            // No group of the model becomes a supergroup.
            FailureDecision::ChatBlocked
            | FailureDecision::Migrate(_)
            | FailureDecision::TopicClosed
            | FailureDecision::Fail => {
                fail(world, session, delivery, progress, failure)?;
                SendEnd::Finished
            }
        }))
    }

    fn must_wait(&self, world: &World, chat: ChatId) -> Option<Duration> {
        let (_, opens) = self.gates.get(&chat)?;
        let wait = opens.saturating_sub(world.mono);
        (!wait.is_zero()).then_some(wait)
    }

    fn close(
        &mut self,
        world: &mut World,
        chat: ChatId,
        wait: Duration,
        reason: Option<String>,
    ) -> Result<(), Died> {
        let gate = ChatLimit {
            chat_id: chat,
            pause: Pause {
                closed_at: world.now(),
                retry_after_ms: u64::try_from(wait.as_millis()).unwrap(),
            },
            reason,
        };
        self.gates.insert(chat, (gate, world.mono + wait));
        let closed = Closed {
            until: world.mono + wait,
            skew: world.skew,
            durable: false,
        };
        world.ledger.closed.insert(chat, closed);
        self.record_gates(world)?;
        world.ledger.closed.insert(
            chat,
            Closed {
                durable: true,
                ..closed
            },
        );
        Ok(())
    }

    fn record_gates(&mut self, world: &mut World) -> Result<(), Died> {
        self.gates.retain(|_, (_, opens)| *opens > world.mono);
        let gates: Vec<ChatLimit> = self.gates.values().map(|(gate, _)| gate.clone()).collect();
        if world.has(Bug::GateInMemoryOnly) {
            return Ok(());
        }
        let to = path(0, Folder::Bot, Name::Gates);
        world.disk.write(to, File::Gates(Rc::new(gates)))
    }

    fn request(
        &mut self,
        world: &mut World,
        session: usize,
        delivery: &Delivery,
        progress: &DeliveryState,
        index: usize,
        answer: Answer,
    ) -> Result<MessageId, ApiError> {
        let chat = delivery.address.chat_id;
        let closed = world.ledger.closed.get(&chat);
        let closed = closed.is_some_and(|closed| closed.until > world.mono);
        world.ledger.requests.push(Sent {
            chat,
            order: world.ledger.made[&delivery.id].order,
            reply: matches!(delivery.content, Content::Reply { .. }),
            turn: match &delivery.content {
                Content::ProgressUpdate { .. } => {
                    Some(delivery.turn.clone().unwrap_or(delivery.id.clone()))
                }
                Content::Reply { .. } | Content::Reaction { .. } => delivery.turn.clone(),
            },
            at: world.mono,
            gateway: self.number,
            gate_closed: closed,
        });
        let now = world.mono;
        match &delivery.content {
            Content::Reply { .. } => {
                let text = progress.text(index).text;
                world
                    .telegram
                    .send(chat, &Request::Text(&text), answer, now)
            }
            Content::ProgressUpdate { .. } => {
                let text = &progress.text(index).text;
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

    /// The sweep of the gateway, like `Inbox::sweep` and `Outbox::sweep` do.
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
                    let is_past = now.0 - id.accepted > KEEP_MS && now.0 - finished_at > KEEP_MS;
                    let delivery = self::path(session, Folder::Outbox, Name::Delivery(id.clone()));
                    if is_past && !world.disk.now.contains_key(&delivery) {
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
