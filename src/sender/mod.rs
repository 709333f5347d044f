//! The sender: takes deliveries from disk to Telegram, per (bot, chat) in the order of acceptance
//! over all sessions.
//!
//! Deliveries stay on disk. In memory is what decides the next turns ([`crate::sender::queue`]); `found` has
//! how they get there, and [`crate::sender::worker`] carries one message of one. The sender is woken by new names
//! in the outboxes, and looks through them as a whole only at its start and after polls.

pub mod attention;
mod backlog;
mod chat_actions;
pub mod command_replies;
pub mod queue;
pub mod receipts;
pub mod repair;
pub mod upload;
pub mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Pace};
use crate::error_chain::Chain;
use crate::ids::{BotId, ChatId, SessionId};
use crate::sender::attention::Spot;
use crate::sender::backlog::{Digest, Found, Pass, found};
use crate::sender::chat_actions::Gestured;
use crate::sender::command_replies::{Asides, Desk, Said};
use crate::sender::queue::{End, Kind, Schedule, Seat, Turn};
use crate::sender::receipts::Watcher;
use crate::sender::worker::{Carrier, Ended};
use crate::state::bots::{BotState, Heard};
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::outbox::delivery::{Content, DeliveryId, Outcome};
use crate::state::outbox::{Outbox, Standing};
use crate::store::format::ReadError;
use crate::store::watch::{Interest, NameWatch, News};

/// How many deliveries are taken up, or put away, before the others get their turn.
const BATCH: usize = 64;
/// After a poll, so that a call that waits for its messages is served first.
const AFTER_POLL: Duration = Duration::from_millis(5);
/// When something that could not be read or put away is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Looking through the outboxes takes at most the 20th part of the time.
const LOOK_SHARE: u32 = 20;
/// The start of the gateway on our own time, so that what was before it has a time as well.
const START: Duration = Duration::from_secs(3600);

/// A turn that is over.
type Over = (BotId, Turn, Ended);

/// Sends what waits in the outboxes.
#[derive(Debug)]
pub struct Sender {
    state: StateDir,
    /// A session's number is its place here.
    sessions: Vec<SessionId>,
    bots: BTreeMap<BotId, Arc<BotState>>,
    schedules: BTreeMap<BotId, Schedule>,
    clock: Clock,
    pace: Pace,
    began: Instant,
    /// The keys of those that the schedules have.
    known: BTreeMap<Seat, u128>,
    /// Names that were told and not taken up yet.
    found: VecDeque<Found>,
    /// The way through all that is on disk.
    pass: Option<Pass>,
    /// When the next one may begin.
    pass_after: Instant,
    /// What the schedules have left to the disk.
    shelved: Digest,
    /// Of that, what was left last: a name may be told twice.
    shelved_last: VecDeque<Seat>,
    /// Whether something else was on disk when it was looked at last.
    surprised: bool,
    /// What could not be read.
    unread: BTreeMap<Seat, u128>,
    /// What a person does not want sent any more.
    dropped: BTreeSet<(u16, DeliveryId)>,
    /// What is not to be sent any more.
    overtaken: VecDeque<(BotId, Seat)>,
    overtaken_after: Option<Instant>,
    /// When to look through all outboxes, and when at the earliest.
    look_at: Option<Instant>,
    look_after: Instant,
    watcher: Watcher,
    asides: Desk,
    /// Told after every completed poll.
    polled: Arc<Notify>,
    heard: Arc<Heard>,
}

impl Sender {
    /// A sender for the sessions of the configuration. Reads the receipts.
    pub fn new(
        state: &StateDir,
        config: &Config,
        bots: &[Arc<BotState>],
        clock: Clock,
        polled: Arc<Notify>,
        heard: Arc<Heard>,
        asides: Asides,
    ) -> Result<Self, ReadError> {
        let bots = bots.iter().map(|bot| (bot.api.id(), Arc::clone(bot)));
        let bots: BTreeMap<_, _> = bots.collect();
        let ids = bots.keys().copied();
        let sessions: Vec<SessionId> = config.sessions.keys().cloned().collect();
        let pace = config.pace;
        let watcher = Watcher::load(state, &sessions, ids, &clock, (config.receipts, pace))?;
        let began = clock.instant();
        Ok(Self {
            state: state.clone(),
            sessions,
            bots,
            schedules: BTreeMap::new(),
            clock,
            pace,
            began,
            known: BTreeMap::new(),
            found: VecDeque::new(),
            pass: None,
            pass_after: began,
            shelved: Digest::default(),
            shelved_last: VecDeque::new(),
            surprised: false,
            unread: BTreeMap::new(),
            dropped: BTreeSet::new(),
            overtaken: VecDeque::new(),
            overtaken_after: None,
            look_at: Some(began),
            look_after: began,
            watcher,
            asides: Desk::new(asides),
            polled,
            heard,
        })
    }

    /// Sends until it is told to stop; a request in flight is waited for.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut folders: Vec<PathBuf> = self
            .sessions
            .iter()
            .map(|id| self.state.session(id))
            .flat_map(|dir| [dir.outbox(), dir.drops()])
            .collect();
        folders.extend(self.watcher.folders());
        let watch = NameWatch::new(&folders, &self.clock, interest);
        let mut at_work: JoinSet<Over> = JoinSet::new();
        let mut gestures: JoinSet<Gestured> = JoinSet::new();
        let mut asides: JoinSet<Said> = JoinSet::new();
        loop {
            self.take_news(&watch.news());
            // What was told is no surprise.
            if self.found.is_empty() && self.look_at.is_some_and(|at| at <= self.clock.instant()) {
                self.look();
            }
            self.take_up();
            self.open_heard();
            self.put_away_dropped();
            self.put_away();
            self.start_asides(&mut asides);
            self.start_turns(&mut at_work, &stop);
            self.start_gestures(&mut gestures);
            let more = self.has_more_to_take_up() || self.overtaken_due();
            let wake = self.next_due();
            tokio::select! {
                // All arms are cancel-safe: what is new is noted by the watch, a JoinSet keeps what
                // has ended, time passes by itself.
                () = stop.cancelled() => break,
                () = watch.changed() => {}
                // What a watch has missed is found after the next poll: no timer in an idle house.
                () = self.polled.notified() => self.ask_to_look(AFTER_POLL),
                Some(over) = at_work.join_next() => match over {
                    Ok(over) => self.ended(over),
                    Err(error) => {
                        // The gateway ends with it and begins anew from what is on disk.
                        tracing::error!(%error, "the sender met a bug");
                        return;
                    }
                },
                Some(over) = gestures.join_next() => {
                    if let Ok(over) = over {
                        self.gesture_ended(over);
                    }
                }
                () = self.asides.told() => {}
                Some(said) = asides.join_next() => {
                    if let Ok(said) = said {
                        self.aside_ended(said);
                    }
                }
                () = tokio::task::yield_now(), if more => {}
                () = sleep_until(&self.clock, wake) => {}
            }
        }
        // Nobody waits for what is cosmetic.
        gestures.abort_all();
        asides.abort_all();
        while at_work.join_next().await.is_some() {}
    }

    fn now(&self) -> Duration {
        START + self.clock.instant().duration_since(self.began)
    }

    fn take_news(&mut self, news: &News) {
        if news.all {
            self.ask_to_look(Duration::ZERO);
        }
        let now = self.now();
        for path in &news.names {
            let Some((session, folder)) = self.place(path) else {
                continue;
            };
            let name = path.file_name().and_then(|name| name.to_str());
            match (folder, name.and_then(delivery_name)) {
                ("conversations", _) => {
                    if let Some(holder) = name.and_then(|name| name.strip_suffix(".json")) {
                        self.watcher.news(session, holder, now);
                    }
                }
                ("outbox", Some(id)) => self.found.extend(found(session, &id)),
                ("drops", Some(id)) => drop(self.dropped.insert((session, id))),
                _ => {}
            }
        }
    }

    /// The session and the folder of a path such as `…/sessions/ONE/outbox/<name>`.
    fn place<'p>(&self, path: &'p Path) -> Option<(u16, &'p str)> {
        let folder = path.parent()?;
        let session = folder.parent()?.file_name()?.to_str()?;
        let index = self.sessions.iter().position(|id| id.as_str() == session)?;
        Some((u16::try_from(index).ok()?, folder.file_name()?.to_str()?))
    }

    fn ask_to_look(&mut self, pause: Duration) {
        let at = (self.clock.instant() + pause).max(self.look_after);
        self.look_at = Some(self.look_at.map_or(at, |other| other.min(at)));
    }

    /// Tries parked chats again that something was heard from.
    fn open_heard(&mut self) {
        for (id, chat) in self.heard.take() {
            let Some(bot) = self.bots.get(&id) else {
                continue;
            };
            let (before, chat) = (chat, bot.chat_now(chat));
            if let Some(schedule) = self.schedules.get_mut(&id).filter(|_| before != chat) {
                if schedule.is_at_work(before) {
                    self.heard.note(id, before);
                    continue;
                }
                schedule.moved(before, chat);
            }
            let opened = bot.gates().heard_from(chat);
            match opened {
                Ok(false) => continue,
                Ok(true) => {}
                // Open in memory; on disk it opens within the hour.
                Err(error) => {
                    tracing::warn!(chat_id = chat.0, error = %Chain(&error), "cannot record that a chat is tried again");
                }
            }
            if let Some(schedule) = self.schedules.get_mut(&id) {
                schedule.open(chat);
            }
        }
    }

    /// Puts away what a person does not want sent. What is being carried at this moment notices by
    /// itself.
    fn put_away_dropped(&mut self) {
        for (session, id) in std::mem::take(&mut self.dropped) {
            let Some(name) = self.sessions.get(usize::from(session)).cloned() else {
                continue;
            };
            let Some(named) = found(session, &id) else {
                continue;
            };
            let seat = named.0;
            let withdrawn = self
                .schedules
                .iter_mut()
                .filter(|(bot, _)| self.bots.contains_key(bot))
                .find_map(|(bot, schedule)| Some((*bot, schedule.withdraw(seat)?)));
            if let Some((bot, (chat, kind))) = withdrawn {
                let ended = self
                    .carrier(bot, seat)
                    .map_or(Ended::Finished, |(carrier, id)| {
                        carrier.put_away_dropped(&id)
                    });
                if ended == Ended::Finished {
                    self.known.remove(&seat);
                } else if let Some(schedule) = self.schedules.get_mut(&bot) {
                    schedule.add(chat, seat, kind);
                    self.ask_to_look(RETRY);
                }
                continue;
            }
            let outbox = self.outbox(&name);
            let standing = outbox.standing(&id, self.clock.now());
            if matches!(standing, Ok(Standing::Waiting)) && !self.known.contains_key(&seat) {
                self.put_away_on_disk(&name, named, &id);
                continue;
            }
            // It came too late, or a kill came before the wish was forgotten.
            if !matches!(standing, Ok(Standing::Waiting) | Err(_))
                && let Err(error) = outbox.forget_drop(&id)
            {
                tracing::warn!(session = %name, delivery = %id, error = %Chain(&error), "cannot clear away");
            }
        }
    }

    fn overtaken_due(&self) -> bool {
        let now = self.clock.instant();
        !self.overtaken.is_empty() && self.overtaken_after.is_none_or(|after| after <= now)
    }

    /// Puts some of those away that something newer has overtaken.
    fn put_away(&mut self) {
        for (bot, schedule) in &mut self.schedules {
            if self.bots.contains_key(bot) {
                let overtaken = std::iter::from_fn(|| schedule.overtaken());
                self.overtaken
                    .extend(overtaken.map(|(_, seat)| (*bot, seat)));
            }
        }
        for _ in 0..BATCH {
            if !self.overtaken_due() {
                return;
            }
            let Some((bot, seat)) = self.overtaken.pop_front() else {
                return;
            };
            let Some((carrier, id)) = self.carrier(bot, seat) else {
                continue;
            };
            if carrier.supersede(&id) == Ended::Finished {
                self.known.remove(&seat);
                self.overtaken_after = None;
            } else {
                self.overtaken.push_back((bot, seat));
                self.overtaken_after = Some(self.clock.instant() + RETRY);
            }
        }
    }

    fn carrier(&self, bot: BotId, seat: Seat) -> Option<(Carrier, DeliveryId)> {
        let session = self.sessions.get(usize::from(seat.session))?;
        let id = delivery_id(seat, *self.known.get(&seat)?);
        let bot = Arc::clone(self.bots.get(&bot)?);
        let carrier = Carrier::new(&self.state, session, bot, self.clock.clone());
        Some((carrier, id))
    }

    /// Lets everybody work whose turn it is.
    fn start_turns(&mut self, at_work: &mut JoinSet<Over>, stop: &CancellationToken) {
        // First it is durable what must not follow a reply.
        if self.overtaken_due() {
            return;
        }
        let now = self.now();
        for bot in self.bots.keys().copied().collect::<Vec<_>>() {
            while let Some(turn) = self.schedules.get_mut(&bot).and_then(|all| all.next(now)) {
                let Some((carrier, id)) = self.carrier(bot, turn.seat) else {
                    // What nobody knows is not there.
                    self.ended((bot, turn, Ended::Finished));
                    continue;
                };
                let stop = stop.clone();
                at_work.spawn(async move {
                    let ended = carrier.carry(&id, &stop).await;
                    (bot, turn, ended)
                });
            }
        }
    }

    fn ended(&mut self, (bot, turn, ended): Over) {
        let end = match ended {
            Ended::Finished => {
                self.known.remove(&turn.seat);
                End::Finished
            }
            Ended::More | Ended::Moved => End::More,
            // It may have been opened again since: something was heard from there.
            Ended::Closed => {
                let closed = self
                    .bots
                    .get(&bot)
                    .and_then(|bot| bot.closed_for(turn.chat));
                End::Later(closed.unwrap_or(Duration::ZERO))
            }
            Ended::Later(wait) => End::Later(wait),
            Ended::Failed => End::Failed(fastrand::f64()),
            Ended::Stopped => End::Later(Duration::ZERO),
        };
        let now = self.now();
        if let Some(schedule) = self.schedules.get_mut(&bot) {
            schedule.ended(turn.chat, end, now);
            if let (Ended::Moved, Some(state)) = (ended, self.bots.get(&bot)) {
                schedule.moved(turn.chat, state.chat_now(turn.chat));
            }
        }
    }

    /// Whatever was asked for: a 429 closes the chat for everything.
    fn close_gate(&self, bot: BotId, chat: ChatId, wait: Duration) {
        let Some(state) = self.bots.get(&bot) else {
            return;
        };
        let chat = state.chat_now(chat);
        let mut gates = state.gates();
        if let Err(error) = gates.close(chat, wait + Duration::from_millis(fastrand::u64(..500))) {
            tracing::error!(chat_id = chat.0, error = %Chain(&error), "a closed gate is known in memory only");
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let schedules = self.schedules.iter();
        let turns = schedules.filter(|(bot, _)| self.bots.contains_key(bot));
        let due = turns.filter_map(|(_, schedule)| schedule.due());
        let due = due.chain(self.watcher.attention.due(self.now()));
        let due = due.map(|at| self.began + at.saturating_sub(START));
        let retry = self.overtaken_after.filter(|_| !self.overtaken.is_empty());
        let due = due.chain(retry).chain(self.asides_due());
        due.chain(self.look_at).min()
    }

    fn outbox(&self, session: &SessionId) -> Outbox {
        Outbox::new(&self.state, self.state.session(session))
    }
}

/// What of a watched folder concerns the sender. Its own records do not.
fn interest(path: &Path, gone: bool) -> Interest {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    if name.starts_with('.') {
        Interest::None
    } else if folder.is_some_and(|folder| folder == "conversations") {
        Interest::Name
    } else if folder.is_some_and(|folder| folder == "seen") {
        // The conversation has taken over one that is gone.
        if gone { Interest::None } else { Interest::Name }
    } else if gone
        || Path::new(name)
            .file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with(".progress"))
    {
        Interest::None
    } else if delivery_name(name).is_some() {
        Interest::Name
    } else {
        Interest::All
    }
}

fn delivery_name(name: &str) -> Option<DeliveryId> {
    name.strip_suffix(".json").and_then(DeliveryId::parse)
}

fn delivery_id(seat: Seat, key: u128) -> DeliveryId {
    DeliveryId {
        accepted: seat.accepted,
        key: format!("{key:032x}"),
    }
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
    let all = outbox.all_finished()?;
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
