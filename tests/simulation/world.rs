//! The whole world of one run, and what each action does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use telepost::clock::{Clock, Timestamp};
use telepost::config::{Config, Env, Tokens};
use telepost::ids::{BotId, ChatId, SessionId, UpdateId, UserId};
use telepost::routing::{Routes, build_routes};
use telepost::state::holds::Holds;
use telepost::state::inbox::Inbox;
use telepost::state::inbox::entry::EntryName;
use telepost::state::layout::StateDir;
use telepost::state::outbox::Outbox;
use telepost::state::outbox::delivery::{Delivery, DeliveryId};

use crate::action::{Action, Fate};
use crate::agent::Agent;
use crate::gateway::Gateway;
use crate::invariants::standing;
use crate::memory_disk::{MemoryDisk, Mistake};
use crate::telegram::Telegram;

/// The process that was at work is dead.
#[derive(Debug)]
pub(crate) struct Died;

/// Where the state folder is said to be: the real disk has no such folder.
const ROOT: &str = "/nowhere/telepost";
pub(crate) const TOKEN: &str = "7:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
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

/// A deliberate mistake, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    ConfirmBeforeDisk,
    ForgetTombstones,
    /// A result is swept whose delivery may come back with a loss of power.
    SweepUnsynced,
    NoPace,
    NewestFirst,
    OpenGate,
    /// The disk makes it: as a driver that leaves out a sync or a write.
    Disk(Mistake),
}

/// A folder of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    Inbox,
    Done,
    Outbox,
    Sent,
    Failed,
}

/// The things that every process of a run uses.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) disk: MemoryDisk,
    pub(crate) state: StateDir,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) sessions: [SessionId; 2],
    /// The folders of each session, by [`Folder`].
    folders: Arc<[[PathBuf; 5]; 2]>,
}

fn configuration() -> (Arc<Config>, Arc<Tokens>) {
    let text = json!({"default": "ONE", "sessions": {
        "ONE": {"name": "One", "bot_token_env": "BOT", "chat_ids": [OWNERS[0], GROUP],
            "allowed_users": [OWNERS[0]], "require_mention": false},
        "TWO": {"name": "Two", "bot_token_env": "BOT", "chat_ids": [OWNERS[1]],
            "allowed_users": [OWNERS[1]]},
    }});
    let env = Env::from_pairs([("BOT", TOKEN), ("HOME", ROOT)]);
    let path = Path::new(ROOT).join("sessions.json");
    let config = Config::parse(&text.to_string(), &path, &env).unwrap();
    let tokens = Tokens::read(&config, &env).unwrap();
    (Arc::new(config), Arc::new(tokens))
}

impl Shared {
    fn new() -> Self {
        static CONFIG: OnceLock<(Arc<Config>, Arc<Tokens>)> = OnceLock::new();
        let (config, tokens) = CONFIG.get_or_init(configuration).clone();
        let disk = MemoryDisk::new();
        let folders = ["ONE", "TWO"].map(|session| {
            ["inbox", "done", "outbox", "sent", "failed"]
                .map(|name| Path::new(ROOT).join("sessions").join(session).join(name))
        });
        Self {
            state: StateDir::on(disk.clone(), PathBuf::from(ROOT)),
            disk,
            clock: Clock::by_hand(Timestamp(BEGAN)),
            config,
            tokens,
            sessions: ["ONE", "TWO"].map(|name| SessionId::new(name).unwrap()),
            folders: Arc::new(folders),
        }
    }
}

/// Everything known outside, for the invariants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Updates that the gate must admit, and those that it must not.
    pub(crate) admitted: BTreeMap<UpdateId, usize>,
    pub(crate) foreign: BTreeSet<UpdateId>,
    /// Chat, message and time of each message of a person.
    pub(crate) messages: Vec<(usize, i64, i64)>,
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
    /// The name of its files.
    pub(crate) file: String,
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

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) telegram: Telegram,
    pub(crate) mono: Duration,
    pub(crate) skew: i64,
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
        // The product takes its jitter from here: a run depends on nothing but its actions.
        fastrand::seed(7);
        let shared = Shared::new();
        let mut routes = build_routes(&shared.config, &shared.sessions);
        if bug == Some(Bug::OpenGate) {
            routes.add(&shared.sessions[0], &[ChatId(99)], &[UserId(99)]);
        }
        if let Some(Bug::Disk(mistake)) = bug {
            shared.disk.make_mistake(Some(mistake));
        }
        let mut world = Self {
            agents: Vec::new(),
            shared,
            telegram: Telegram::new(),
            mono: Duration::ZERO,
            skew: 0,
            routes,
            gateway: None,
            gateways: 0,
            ledger: Ledger::default(),
            count: 0,
            bug,
        };
        world.set_clocks();
        for (session, slot) in [(0, 0), (0, 1), (1, 2)] {
            world.agents.push(Agent::new(&world.shared, session, slot));
        }
        world.start_gateway();
        world
    }

    fn set_clocks(&self) {
        self.shared.clock.set(self.now(), self.mono);
        self.shared.disk.set_time(self.now());
    }

    /// A point at which the process at work may die.
    pub(crate) fn step(&self) -> Result<(), Died> {
        self.shared.disk.step().map_err(|_| Died)
    }

    /// A dead process does nothing more, whatever it has heard from its disk.
    pub(crate) fn live(&self) -> Result<(), Died> {
        if self.shared.disk.is_dead() {
            return Err(Died);
        }
        Ok(())
    }

    pub(crate) fn inbox(&self, session: usize) -> Inbox {
        Inbox::new(&self.shared.state.session(&self.shared.sessions[session]))
    }

    pub(crate) fn outbox(&self, session: usize) -> Outbox {
        let state = &self.shared.state;
        Outbox::new(state, state.session(&self.shared.sessions[session]))
    }

    pub(crate) fn holds(&self, session: usize) -> Holds {
        Holds::new(&self.shared.state.session(&self.shared.sessions[session]))
    }

    pub(crate) fn folder(&self, session: usize, folder: Folder) -> &Path {
        &self.shared.folders[session][folder as usize]
    }

    /// The updates in a folder; those that `survive` a loss of power for sure.
    pub(crate) fn entries(
        &self,
        session: usize,
        folder: Folder,
        survive: bool,
    ) -> BTreeSet<UpdateId> {
        let names = self
            .shared
            .disk
            .names(self.folder(session, folder), survive);
        let names = names.iter().filter_map(|name| EntryName::parse(name));
        names.map(|name| name.update_id).collect()
    }

    pub(crate) fn deliveries(&self, session: usize, folder: Folder) -> BTreeSet<DeliveryId> {
        let names = self.shared.disk.names(self.folder(session, folder), false);
        let names = names.iter().filter_map(|name| name.strip_suffix(".json"));
        names.filter_map(DeliveryId::parse).collect()
    }

    pub(crate) fn has_file(&self, made: &Made, folder: Folder, survive: bool) -> bool {
        let folder = self.folder(made.session, folder);
        self.shared.disk.has(folder, &made.file, survive)
    }

    pub(crate) fn server_lives(&self, server: &str) -> bool {
        let mut agents = self.agents.iter();
        agents.any(|agent| agent.is_alive() && agent.server == server)
    }

    /// Whether a delivery answers an update.
    pub(crate) fn is_answered(&self, id: UpdateId) -> bool {
        // One that a loss of power took answers nothing.
        let mut answers = standing(self).flat_map(|made| &made.delivery.answers);
        answers.any(|entry| entry.update_id == id)
    }

    /// Learns of the deliveries that have got a name, whether or not their agent lives to hear of it.
    fn note_made(&mut self) {
        for session in 0..2 {
            for id in self.deliveries(session, Folder::Outbox) {
                if self.ledger.made.contains_key(&id) {
                    continue;
                }
                let delivery = self.outbox(session).read(&id, self.now());
                let delivery = delivery.unwrap().expect("it was listed");
                let made = Made {
                    order: self.ledger.made.len(),
                    session,
                    delivery,
                    file: format!("{id}.json"),
                    promised: false,
                };
                self.ledger.made.insert(id, made);
            }
        }
    }

    /// An agent was told that its delivery is accepted.
    pub(crate) fn promise(&mut self, id: &DeliveryId) {
        self.note_made();
        if let Some(made) = self.ledger.made.get_mut(id) {
            made.promised = true;
        }
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
        let disk = &self.shared.disk;
        let count = |session, folder| disk.names(self.folder(session, folder), false).len();
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
                self.shared.sessions[session],
                count(session, Folder::Inbox),
                count(session, Folder::Done),
                self.deliveries(session, Folder::Outbox).len(),
                count(session, Folder::Sent),
                count(session, Folder::Failed)
            );
        }
        for agent in &self.agents {
            let held = self.holds(agent.session).peek(agent.holder.as_str());
            let held = held.map_or(0, |conversation| conversation.held.len());
            let dead = if agent.is_alive() { "" } else { " dead" };
            let _ = write!(line, " | {} holds {held}{dead}", agent.holder.as_str());
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
            Action::KillAgent { agent } => self.agents[usize::from(*agent)].die(&self.shared.disk),
            Action::StartAgent { agent, same } => {
                self.agents[usize::from(*agent)].start(&self.shared, *same);
            }
            Action::Pass { ms } => self.pass(Duration::from_millis(*ms)),
            Action::ClockJump { ms } => {
                self.skew = (self.skew + ms).clamp(-SKEW_MOST, SKEW_MOST);
                self.set_clocks();
            }
            Action::PowerLoss { keep } => {
                self.gateway = None;
                for agent in &mut self.agents {
                    agent.die(&self.shared.disk);
                }
                self.shared.disk.lose_power(*keep);
            }
            Action::Sweep => self.at_gateway(None, Gateway::sweep),
        }
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        self.mono += span;
        self.set_clocks();
        if span > Duration::from_secs(60) {
            self.shared.disk.write_back();
        }
    }

    fn at_gateway(
        &mut self,
        fuse: Option<u8>,
        work: impl FnOnce(&mut Gateway, &mut Self) -> Result<(), Died>,
    ) {
        if let Some(mut gateway) = self.gateway.take() {
            self.shared.disk.set_fuse(fuse);
            let survived = work(&mut gateway, self).is_ok() && self.live().is_ok();
            self.shared.disk.set_fuse(None);
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
        if !self.agents[index].is_alive() {
            return;
        }
        let mut agent = self.agents.remove(index);
        self.shared.disk.set_fuse(fuse);
        if work(&mut agent, self).is_err() || self.live().is_err() {
            agent.die(&self.shared.disk);
        }
        self.shared.disk.set_fuse(None);
        self.agents.insert(index, agent);
        self.note_made();
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
        let date = self.date();
        self.update(json!({"message": message}), Some(session_of(at)));
        self.ledger.messages.push((usize::from(chat), id, date));
    }

    /// The time at Telegram, in seconds since 1970.
    fn date(&self) -> i64 {
        BEGAN / 1000 + i64::try_from(self.mono.as_secs()).unwrap()
    }

    fn envelope(&self, message: &mut Value, id: i64, at: i64, topic: Option<i64>, from: i64) {
        message["message_id"] = id.into();
        message["date"] = self.date().into();
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
        let (chat, id, date) = self.ledger.messages[count - 1 - usize::from(nth) % count.min(8)];
        let (at, topic, from) = PLACES[chat % PLACES.len()];
        let edited_at = self.date().max(date + 1);
        let mut message = json!({"text": format!("m{}", self.unique()), "edit_date": edited_at});
        self.envelope(&mut message, id, at, topic, from);
        message["date"] = date.into();
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
            agent.start(&self.shared, true);
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
                self.entries(session, Folder::Inbox, false).is_empty()
                    && self.deliveries(session, Folder::Outbox).is_empty()
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
