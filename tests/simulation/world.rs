//! The whole world of one run, and what each action does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use telepost::clock::Timestamp;
use telepost::ids::{BotId, ChatId, SessionId, UpdateId, UserId};
use telepost::routing::Routes;
use telepost::state::outbox::delivery::{Delivery, DeliveryId};

use crate::action::{Action, Fate};
use crate::agent::Agent;
use crate::disk::{Died, Disk, Folder};
use crate::gateway::Gateway;
use crate::telegram::Telegram;

pub(crate) const BOT: BotId = BotId(7);
/// The person of the first session, and that of the second.
const OWNERS: [i64; 2] = [11, 12];
const GROUP: i64 = -50;
/// Where people write: chat, topic, person.
const PLACES: [(i64, Option<i64>, i64); 4] = [
    (11, None, 11),
    (GROUP, None, 11),
    (12, None, 12),
    (GROUP, Some(9), 11),
];
const BEGAN: i64 = 1_700_000_000_000;
/// The wall clock goes wrong by no more than this: with more, 48 h of tombstones would not cover
/// the 24 h for which Telegram keeps updates.
const SKEW_MOST: i64 = 10 * 3_600_000;

/// A deliberate mistake in a driver, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    ConfirmBeforeDisk,
    SettleBeforeCommit,
    RepeatWithoutMark,
    InFlightAfterRequest,
    GateInMemoryOnly,
    HoldWithoutLettingGo,
    AnswerUnseen,
    ForgetTombstones,
    WordBeforeSync,
    NoPace,
    NewestFirst,
    GateOpen,
    /// As telepost was before the simulation: what another process moved is not synced.
    SettleUnsynced,
    /// As telepost was: another process's unsynced commit is acted upon.
    OutboxUnsynced,
    /// As telepost was: another gateway's unsynced result is acted upon.
    FinishedUnsynced,
    /// A reply is committed before the names of its questions are durable.
    CommitBeforeNames,
    /// As telepost was: `ack` settles what a lost result would have shown.
    AckUnseen,
    /// As telepost was: a result is swept whose delivery may come back with a loss of power.
    SweepUnsynced,
}

/// The chat that `home` means.
pub(crate) fn home(session: usize) -> ChatId {
    ChatId(OWNERS[session])
}

/// Everything known outside, for the invariants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Updates that the gate must admit, and those that it must not.
    pub(crate) admitted: BTreeMap<UpdateId, usize>,
    pub(crate) foreign: BTreeSet<UpdateId>,
    pub(crate) messages: Vec<(UpdateId, usize, i64)>,
    /// Tombstones that a sweep removed, and finished deliveries.
    pub(crate) swept: BTreeSet<UpdateId>,
    pub(crate) swept_deliveries: BTreeSet<DeliveryId>,
    /// The messages that each holder has surely read.
    pub(crate) read: BTreeMap<String, BTreeSet<UpdateId>>,
    /// Messages settled by `ack`, with the agent.
    pub(crate) acked: BTreeMap<UpdateId, BTreeSet<String>>,
    pub(crate) made: BTreeMap<DeliveryId, Made>,
    pub(crate) requests: Vec<Sent>,
    pub(crate) closed: BTreeMap<ChatId, Closed>,
}

/// A delivery that got a name in an outbox.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) order: usize,
    pub(crate) session: usize,
    pub(crate) delivery: Delivery,
    /// The agent was told that it is accepted.
    pub(crate) promised: bool,
}

/// A request that sends something.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) chat: ChatId,
    pub(crate) order: usize,
    /// Replies keep their order; others may be overtaken by them.
    pub(crate) reply: bool,
    pub(crate) turn: Option<DeliveryId>,
    pub(crate) at: Duration,
    pub(crate) gateway: u32,
    /// The gateway knew, or could know, that the chat's gate is closed.
    pub(crate) gate_closed: bool,
}

/// A gate that the gateway knows to be closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) until: Duration,
    /// How wrong the wall clock was: a gate on disk opens early if that grows.
    pub(crate) skew: i64,
    pub(crate) durable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) telegram: Telegram,
    pub(crate) mono: Duration,
    pub(crate) skew: i64,
    pub(crate) sessions: [SessionId; 2],
    pub(crate) routes: Routes,
    pub(crate) gateway: Option<Gateway>,
    /// How many gateways there were.
    pub(crate) gateways: u32,
    pub(crate) agents: Vec<Agent>,
    pub(crate) ledger: Ledger,
    /// Makes names and texts unique.
    pub(crate) count: u64,
    pub(crate) bug: Option<Bug>,
}

impl World {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let sessions = ["ONE", "TWO"].map(|name| SessionId::new(name).unwrap());
        let mut routes = Routes::default();
        routes.add(
            &sessions[0],
            &[ChatId(OWNERS[0]), ChatId(GROUP)],
            &[UserId(OWNERS[0])],
        );
        routes.add(&sessions[1], &[ChatId(OWNERS[1])], &[UserId(OWNERS[1])]);
        routes.hear_all(&sessions[0]);
        let mut world = Self {
            disk: Disk::default(),
            telegram: Telegram::new(),
            mono: Duration::ZERO,
            skew: 0,
            sessions,
            routes,
            gateway: None,
            gateways: 0,
            agents: vec![Agent::new(0, 0), Agent::new(0, 1), Agent::new(1, 2)],
            ledger: Ledger::default(),
            count: 0,
            bug,
        };
        world.start_gateway();
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(BEGAN + i64::try_from(self.mono.as_millis()).unwrap() + self.skew)
    }

    pub(crate) fn unique(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn start_gateway(&mut self) {
        if self.gateway.is_none() {
            self.gateways += 1;
            // A new gateway knows what is on disk, and cannot tell that the wall clock jumped ahead
            // while none ran: then a gate opens early.
            let skew = self.skew;
            let closed = &mut self.ledger.closed;
            closed.retain(|_, closed| closed.durable && skew <= closed.skew);
            self.gateway = Some(Gateway::open(self));
        }
    }

    /// The whole state in one line.
    pub(crate) fn summary(&self) -> String {
        let count = |session, folder| self.disk.list(session, folder).count();
        let mut line = format!(
            "t={:.1}s skew={}s gateway={} queue={}",
            self.mono.as_secs_f64(),
            self.skew / 1000,
            if self.gateway.is_some() { "up" } else { "down" },
            self.telegram.queue.len()
        );
        for session in 0..2 {
            let _ = write!(
                line,
                " | {} inbox={} done={} outbox={} sent={} failed={}",
                self.sessions[session],
                count(session, Folder::Inbox),
                count(session, Folder::Done),
                self.disk.deliveries(session, Folder::Outbox).len(),
                count(session, Folder::Sent),
                count(session, Folder::Failed)
            );
        }
        for agent in &self.agents {
            let held = self.conversation(agent.session, &agent.holder);
            let held = held.map_or(0, |conversation| conversation.held.len());
            let dead = if agent.alive { "" } else { " dead" };
            let _ = write!(line, " | {} holds {held}{dead}", agent.holder);
        }
        line
    }

    pub(crate) fn apply(&mut self, action: &Action) {
        match action {
            Action::Say { chat, long } => self.say(*chat, *long),
            Action::Album { chat } => {
                let group = format!("g{}", self.unique());
                for _ in 0..2 {
                    self.message(*chat, |text| {
                        json!({"caption": text, "media_group_id": group,
                            "photo": [{"file_id": "f", "file_size": 5}]})
                    });
                }
            }
            Action::Edit { nth } => self.edit(*nth),
            Action::Press { chat } => {
                let (at, _, from) = place(*chat);
                let data = format!("m{}", self.unique());
                let body = json!({"callback_query": {"id": "c", "from": {"id": from}, "data": data,
                    "message": {"message_id": 1, "chat": {"id": at}}}});
                self.update(body, Some(session_of(at)));
            }
            Action::Stranger { kind } => self.stranger(*kind),
            Action::Odd { kind } => {
                let body = match kind {
                    0 => json!({"my_chat_member": {}}),
                    1 => json!({"message": {"text": "no chat"}}),
                    _ => json!({"purchased_paid_media": {"from": {"id": 11}}}),
                };
                self.update(body, None);
            }
            Action::Poll { lost, twice, fuse } => {
                self.at_gateway(*fuse, |gateway, world| gateway.poll(world, *lost, *twice));
            }
            Action::ConfirmLost => self.telegram.forget_confirmation(),
            Action::RestartIds { base } => {
                let fresh = i64::from(*base) * 1000 + 500_000;
                let mut used = self.ledger.admitted.keys().chain(&self.ledger.foreign);
                if self.telegram.queue.is_empty() && !used.any(|id| id.0 / 1000 == fresh / 1000) {
                    self.telegram.restart_ids(*base);
                }
            }
            Action::CrashGateway => self.gateway = None,
            Action::StartGateway => self.start_gateway(),
            Action::Send { answer, fuse } => self.at_gateway(*fuse, |gateway, world| {
                gateway.send(world, *answer).map(|_| ())
            }),
            Action::Show {
                agent,
                limit,
                fate,
                fuse,
            } => self.at_agent(*agent, *fuse, |agent, world| {
                agent.show(world, usize::from(*limit), *fate)?;
                dies(*fate)
            }),
            Action::ShowConversation {
                agent,
                to,
                fate,
                fuse,
            } => self.at_agent(*agent, *fuse, |agent, world| {
                agent.show_conversation(world, *to, *fate)?;
                dies(*fate)
            }),
            Action::Ack { agent, nth, fuse } => {
                self.at_agent(*agent, *fuse, |agent, world| agent.ack(world, *nth));
            }
            Action::Reply {
                agent,
                long,
                keep_open,
                to,
                fuse,
            } => self.at_agent(*agent, *fuse, |agent, world| {
                agent.write(world, *long, *keep_open, *to)
            }),
            Action::React { agent, fuse } => self.at_agent(*agent, *fuse, Agent::react),
            Action::Repeat {
                agent,
                same_call,
                fuse,
            } => self.at_agent(*agent, *fuse, |agent, world| {
                agent.repeat(world, *same_call)
            }),
            Action::KillAgent { agent } => self.agents[usize::from(*agent)].die(),
            Action::StartAgent { agent, same } => self.agents[usize::from(*agent)].start(*same),
            Action::Pass { ms } => self.pass(Duration::from_millis(*ms)),
            Action::ClockJump { ms } => {
                self.skew = (self.skew + ms).clamp(-SKEW_MOST, SKEW_MOST);
            }
            Action::PowerLoss { keep } => {
                self.gateway = None;
                self.agents.iter_mut().for_each(Agent::die);
                self.disk.lose(*keep);
            }
            Action::Sweep => self.at_gateway(None, Gateway::sweep),
        }
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.mono += span;
        if span > Duration::from_secs(60) {
            self.disk.write_back();
        }
    }

    fn at_gateway(
        &mut self,
        fuse: Option<u8>,
        work: impl FnOnce(&mut Gateway, &mut Self) -> Result<(), Died>,
    ) {
        if let Some(mut gateway) = self.gateway.take() {
            self.disk.fuse = fuse;
            let survived = work(&mut gateway, self).is_ok();
            self.disk.fuse = None;
            self.gateway = survived.then_some(gateway);
        }
    }

    pub(crate) fn at_agent(
        &mut self,
        index: u8,
        fuse: Option<u8>,
        work: impl FnOnce(&mut Agent, &mut Self) -> Result<(), Died>,
    ) {
        let index = usize::from(index) % self.agents.len();
        if !self.agents[index].alive {
            return;
        }
        let mut agent = self.agents[index].clone();
        self.disk.fuse = fuse;
        if work(&mut agent, self).is_err() {
            agent.die();
        }
        self.disk.fuse = None;
        self.agents[index] = agent;
    }

    fn update(&mut self, mut body: Value, session: Option<usize>) -> UpdateId {
        let id = self.telegram.enqueue(self.mono, |id| {
            body["update_id"] = id.into();
            body.to_string()
        });
        match session {
            Some(session) => drop(self.ledger.admitted.insert(id, session)),
            None => drop(self.ledger.foreign.insert(id)),
        }
        id
    }

    fn message(&mut self, chat: u8, content: impl FnOnce(String) -> Value) {
        let (at, topic, from) = place(chat);
        let text = format!("m{}", self.unique());
        let mut message = content(text);
        let id = self.telegram.next_message;
        self.telegram.next_message += 1;
        self.envelope(&mut message, id, at, topic, from);
        let update = self.update(json!({"message": message}), Some(session_of(at)));
        self.ledger.messages.push((update, usize::from(chat), id));
    }

    fn envelope(&self, message: &mut Value, id: i64, at: i64, topic: Option<i64>, from: i64) {
        message["message_id"] = id.into();
        message["date"] = (BEGAN / 1000 + i64::try_from(self.mono.as_secs()).unwrap()).into();
        message["chat"] = json!({"id": at, "type": "private"});
        message["from"] = json!({"id": from, "first_name": "P"});
        if let Some(topic) = topic {
            message["message_thread_id"] = topic.into();
            message["is_topic_message"] = true.into();
        }
    }

    fn say(&mut self, chat: u8, long: bool) {
        if long {
            // As a client cuts a long text.
            self.message(
                chat,
                |text| json!({"text": format!("{text} {}", "x".repeat(4090 - text.len()))}),
            );
        }
        self.message(chat, |text| json!({"text": text}));
    }

    fn edit(&mut self, nth: u8) {
        let count = self.ledger.messages.len();
        if count == 0 {
            return;
        }
        let (_, chat, id) = self.ledger.messages[count - 1 - usize::from(nth) % count.min(8)];
        let (at, topic, from) = PLACES[chat % PLACES.len()];
        let mut message = json!({"text": format!("m{}", self.unique()), "edit_date": 1});
        self.envelope(&mut message, id, at, topic, from);
        self.update(json!({"edited_message": message}), Some(session_of(at)));
    }

    fn stranger(&mut self, kind: u8) {
        let (at, from) = match kind {
            0 => (99, 99),
            1 => (GROUP, 99),
            2 => (12, 11),
            3 => (99, 11),
            _ => (11, 12),
        };
        let mut message = json!({"text": format!("s{}", self.unique())});
        self.envelope(&mut message, 1, at, None, from);
        self.update(json!({"message": message}), None);
    }

    /// The end of a run: no faults any more, every process works until nothing is left.
    pub(crate) fn drain(
        &mut self,
        mut after: impl FnMut(&Self) -> Result<(), crate::invariants::Fault>,
    ) -> Result<(), crate::invariants::Fault> {
        self.start_gateway();
        for agent in &mut self.agents {
            agent.start(true);
        }
        for _ in 0..130 {
            self.pass(Duration::from_secs(31));
            self.apply(&Action::Poll {
                lost: false,
                twice: false,
                fuse: None,
            });
            for index in 0..self.agents.len() {
                let index = u8::try_from(index).unwrap();
                self.at_agent(index, None, Agent::answer_all);
            }
            self.at_gateway(None, Gateway::send_all);
            after(self)?;
            if self.is_idle() {
                break;
            }
        }
        // Progress that has lost its delivery to a crash is cleared away.
        self.at_gateway(None, Gateway::sweep);
        crate::invariants::after_the_drain(self)
    }

    fn is_idle(&self) -> bool {
        self.telegram.queue.is_empty()
            && (0..2).all(|session| {
                self.disk.list(session, Folder::Inbox).next().is_none()
                    && self.disk.deliveries(session, Folder::Outbox).is_empty()
            })
    }
}

fn dies(fate: Fate) -> Result<(), Died> {
    match fate {
        Fate::Heard | Fate::Cancelled => Ok(()),
        Fate::HeardThenDead | Fate::Dead => Err(Died),
    }
}

fn place(chat: u8) -> (i64, Option<i64>, i64) {
    PLACES[usize::from(chat) % PLACES.len()]
}

fn session_of(chat: i64) -> usize {
    usize::from(chat == 12)
}
