//! The gateway: telepost's own intake and delivery worker over the disk in memory. This file tells the poll
//! loop and the sender's loop, which wait on the network and on clocks: which batch is confirmed when, and which
//! delivery is in the queue.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::value::RawValue;
use telepost::config::{Pace, Token};
use telepost::gateway::intake::{BatchWriter, Intake};
use telepost::gateway::responder::TaskQueue;
use telepost::ids::{ChatId, MessageId};
use telepost::sender::queue::{DeliveryKind, QueueKey, SendEnd, SendQueue};
use telepost::sender::worker::{DeliveryWorker, SendAnswer, SendRequest, Transport, WorkerExit};
use telepost::state::bots::rate_limits::BLOCKED_FOR;
use telepost::state::bots::{BotHandle, HeardChats};
use telepost::state::gateway_status::StatusWriter;
use telepost::state::inbox::TOMBSTONE_MS;
use telepost::state::outbox::delivery::{Content, DeliveryId};
use telepost::state::outbox::{DeliveryStatus, Outbox};
use telepost::telegram::api::{Api, FileToSend, HttpClients, Media};
use telepost::telegram::error::{ApiError, FailureDecision};
use telepost::telegram::update;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::action::Answer;
use crate::memory_disk::Mistake;
use crate::telegram::Request;
use crate::world::{BOT, Bug, Closed, Died, Folder, Sent, TOKEN, World};

#[derive(Debug)]
pub(crate) struct Gateway {
    number: u32,
    began: Duration,
    offset: Option<i64>,
    bot: Arc<BotHandle>,
    heard: Arc<HeardChats>,
    intake: Intake,
    queue: SendQueue,
    /// The names on disk of the deliveries in the queue.
    known: BTreeMap<QueueKey, DeliveryId>,
    wire: Arc<Wire>,
}

/// A request that waits for its answer.
#[derive(Debug)]
enum Asked {
    Text(String),
    Edit(MessageId, String),
    React(MessageId),
}

/// The line to Telegram: the worker waits at it until the world has answered.
#[derive(Debug, Default)]
struct Wire {
    asked: Mutex<Option<(ChatId, Asked)>>,
    answer: Mutex<Option<Result<Vec<MessageId>, ApiError>>>,
}

impl Transport for Wire {
    fn request<'a>(
        &'a self,
        content: &'a Content,
        request: &'a SendRequest,
        _files: Option<(Media, Vec<FileToSend>)>,
    ) -> SendAnswer<'a> {
        let text = request.message.text.text.clone();
        let asked = match (content, request.target) {
            (Content::Reaction { .. }, target) => Asked::React(target.unwrap()),
            (_, Some(target)) => Asked::Edit(target, text),
            (_, None) => Asked::Text(text),
        };
        *self.asked.lock().unwrap() = Some((request.to.chat_id, asked));
        Box::pin(std::future::poll_fn(|_| {
            match self.answer.lock().unwrap().take() {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            }
        }))
    }
}

/// Access to a server that is never asked.
fn api() -> Api {
    static CLIENTS: OnceLock<Api> = OnceLock::new();
    let make = || {
        let url = reqwest::Url::parse("http://127.0.0.1:9").unwrap();
        let token = Token::parse(TOKEN).unwrap();
        Api::new(&token, &url, HttpClients::new(None).unwrap())
    };
    CLIENTS.get_or_init(make).clone()
}

impl Gateway {
    pub(crate) fn open(world: &World) -> Self {
        let (state, clock) = (&world.shared.state, &world.shared.clock);
        let shared = &world.shared;
        let bot = Arc::new(BotHandle::load(state, api(), clock).unwrap());
        let heard = Arc::new(HeardChats::default());
        let status =
            StatusWriter::begin(state, &shared.config, &shared.tokens, clock.clone(), None);
        status.write();
        let writer = BatchWriter::open(
            state,
            BOT,
            world.routes.clone(),
            Arc::clone(&bot.migrations),
            Arc::clone(&heard),
            clock.clone(),
        );
        let wakes = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        let tasks = TaskQueue::detached();
        Self {
            number: world.gateways,
            began: world.mono,
            offset: None,
            intake: Intake::new(Arc::clone(&bot), writer.unwrap(), status, wakes, tasks),
            bot,
            heard,
            queue: SendQueue::new(if world.has(Bug::NoPace) {
                Pace::Off
            } else {
                Pace::Normal
            }),
            known: BTreeMap::new(),
            wire: Arc::default(),
        }
    }

    /// As the poller does: the offset goes out only for a batch that the intake has acknowledged.
    pub(crate) fn poll(&mut self, world: &mut World, lost: bool, twice: bool) -> Result<(), Died> {
        world.step()?;
        let batch = world.telegram.updates(self.offset, world.mono);
        world.step()?;
        if lost {
            return Ok(());
        }
        if world.has(Bug::ConfirmBeforeDisk) {
            let newest = batch.iter().rev().find_map(|raw| update::read(raw).ok());
            self.offset = newest.map(|update| update.id.0 + 1).or(self.offset);
            drop(world.telegram.updates(self.offset, world.mono));
        }
        let batch: Vec<Box<RawValue>> = batch
            .into_iter()
            .map(|raw| RawValue::from_string(raw).unwrap())
            .collect();
        for _ in 0..=u8::from(twice) {
            let ack = self.intake.accept(&batch);
            world.live()?;
            self.offset = ack.unwrap().last_id.map(|id| id.0 + 1).or(self.offset);
        }
        // As the sender does.
        for (_, chat) in self.heard.take() {
            let unblocked = self.bot.rate_limits().unblock(chat);
            // A gateway that dies here may have written that the chat is open.
            if !matches!(unblocked, Ok(false)) {
                world.ledger.closed.remove(&chat);
            }
            world.live()?;
            if unblocked.unwrap() {
                self.queue.open(chat);
            }
        }
        Ok(())
    }

    /// Lets the delivery make one request whose turn it is. `false` if there is none.
    pub(crate) fn send(&mut self, world: &mut World, answer: Answer) -> Result<bool, Died> {
        self.scan(world)?;
        while let Some(key) = self.queue.superseded() {
            self.queue.remove(key);
            if let Some(id) = self.known.remove(&key) {
                self.worker(world, &id).supersede(&id);
                world.live()?;
            }
        }
        let now = world.mono.saturating_sub(self.began);
        let Some(turn) = self.queue.next(now) else {
            return Ok(false);
        };
        let id = self.known[&turn.key].clone();
        let exit = self.carry(world, &id, answer)?;
        let end = match exit {
            WorkerExit::Finished => SendEnd::Finished,
            WorkerExit::More | WorkerExit::Moved => SendEnd::More,
            WorkerExit::Limited => {
                let wait = self.bot.rate_limits().wait(turn.chat);
                SendEnd::Later(wait.unwrap_or_default())
            }
            WorkerExit::Later(wait) => SendEnd::Later(wait),
            WorkerExit::TopicClosed(wait) => SendEnd::Parked(wait),
            WorkerExit::Failed => SendEnd::Failed(0.0),
            WorkerExit::Stopped => SendEnd::Later(Duration::ZERO),
        };
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

    /// As the sender's backlog does.
    fn scan(&mut self, world: &World) -> Result<(), Died> {
        for session in 0..2 {
            let outbox = world.outbox(session);
            for id in outbox.waiting().map_err(|_| Died)? {
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
                let status = outbox.status(&id, world.now()).map_err(|_| Died)?;
                if let DeliveryStatus::Finished(finished) = status {
                    let inbox = world.inbox(session);
                    inbox.settle(&finished.delivery.answers).map_err(|_| Died)?;
                    outbox.leave_recorded(&id).map_err(|_| Died)?;
                    continue;
                }
                self.add(&outbox, world, key, id)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        outbox: &Outbox,
        world: &World,
        key: QueueKey,
        id: DeliveryId,
    ) -> Result<(), Died> {
        let read = outbox.read(&id, world.now()).map_err(|_| Died)?;
        let Some(delivery) = read else {
            return Ok(());
        };
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
        if delivery.content.is_short() {
            self.queue.mark_short(key);
        }
        self.known.insert(key, id);
        Ok(())
    }

    fn worker(&self, world: &World, id: &DeliveryId) -> DeliveryWorker {
        let session = &world.shared.sessions[world.ledger.made[id].session];
        let (state, clock) = (&world.shared.state, world.shared.clock.clone());
        let worker = DeliveryWorker::new(state, session, Arc::clone(&self.bot), clock);
        worker.over(Arc::<Wire>::clone(&self.wire))
    }

    /// Runs the worker, and answers its requests.
    fn carry(
        &mut self,
        world: &mut World,
        id: &DeliveryId,
        answer: Answer,
    ) -> Result<WorkerExit, Died> {
        let (worker, stop) = (self.worker(world, id), CancellationToken::new());
        let mut sending = pin!(worker.send_next(id, &stop));
        let mut context = Context::from_waker(Waker::noop());
        let exit = loop {
            match sending.as_mut().poll(&mut context) {
                Poll::Ready(exit) => break exit,
                Poll::Pending => {
                    world.step()?;
                    let asked = self.wire.asked.lock().unwrap().take();
                    let (chat, asked) = asked.expect("the worker waits for nothing else");
                    let answer = request(world, self.number, id, chat, &asked, answer);
                    world.step()?;
                    let answer = answer.map(|message| vec![message]);
                    *self.wire.answer.lock().unwrap() = Some(answer);
                }
            }
        };
        world.live()?;
        // The worker has recorded them.
        for closed in world.ledger.closed.values_mut() {
            closed.durable = true;
        }
        Ok(exit)
    }

    /// As the housekeeper does.
    pub(crate) fn sweep(&mut self, world: &mut World) -> Result<(), Died> {
        let now = world.now();
        let mut settled_by = now;
        if world.has(Bug::ForgetTombstones) {
            settled_by.0 += TOMBSTONE_MS + 1;
        }
        if world.has(Bug::SweepUnsynced) {
            let mistake = Mistake::NoSync("outbox");
            world.shared.disk.make_mistake(Some(mistake));
        }
        for session in 0..2 {
            let names = |world: &World| {
                let sent = world.deliveries(session, Folder::Sent);
                let failed = world.deliveries(session, Folder::Failed);
                (world.entries(session, Folder::Done, false), sent, failed)
            };
            let before = names(world);
            let swept = world.inbox(session).sweep(settled_by).is_ok()
                && world.outbox(session).sweep(now).is_ok();
            world.live()?;
            assert!(swept, "nothing hinders the sweep");
            let after = names(world);
            world.ledger.swept.extend(before.0.difference(&after.0));
            let finished = before.1.union(&before.2);
            let gone = finished.filter(|id| !after.1.contains(id) && !after.2.contains(id));
            world.ledger.swept_deliveries.extend(gone.cloned());
        }
        if world.has(Bug::SweepUnsynced) {
            world.shared.disk.make_mistake(None);
        }
        self.intake.forget_old();
        Ok(())
    }
}

/// A request arrives at Telegram.
fn request(
    world: &mut World,
    gateway: u32,
    id: &DeliveryId,
    chat: ChatId,
    asked: &Asked,
    answer: Answer,
) -> Result<MessageId, ApiError> {
    let closed = world.ledger.closed.get(&chat);
    let closed = closed.is_some_and(|closed| closed.until > world.mono);
    let made = &world.ledger.made[id];
    let (order, delivery) = (made.order, &made.delivery);
    let is_reply = matches!(delivery.content, Content::Reply { .. });
    let turn = match &delivery.content {
        Content::ProgressUpdate { .. } => Some(delivery.turn.clone().unwrap_or(id.clone())),
        Content::Reply { .. } | Content::Reaction { .. } => delivery.turn.clone(),
    };
    world.ledger.requests.push(Sent {
        chat,
        order,
        reply: is_reply,
        turn,
        at: world.mono,
        gateway,
        gate_closed: closed,
    });
    let request = match asked {
        Asked::Text(text) => Request::Text(text),
        Asked::Edit(message, text) => Request::Edit(*message, text),
        Asked::React(message) => Request::React(*message),
    };
    let answer = world.telegram.send(chat, &request, answer, world.mono);
    let wait = match answer.as_ref().err().map(ApiError::decision) {
        Some(FailureDecision::RateLimit(wait)) => Some(wait),
        Some(FailureDecision::ChatBlocked) if is_reply => Some(BLOCKED_FOR),
        _ => None,
    };
    if let Some(wait) = wait {
        let closed = Closed {
            until: world.mono + wait,
            skew: world.skew,
            durable: false,
        };
        world.ledger.closed.insert(chat, closed);
    }
    answer
}
