//! Whose turn it is: our own pace below Telegram's budgets, and a fair share of it. Pure.
//!
//! Per chat, replies keep the order of acceptance and come before progress, progress before
//! reactions. Of a turn only the newest progress counts, and its final reply takes its place; of
//! several reactions on one message the newest. Between chats the same ranks hold, and among equals
//! the session goes first that was served longest ago, then the chat.
//!
//! Thousands of replies may wait, so of each chat only the first [`WINDOW`] are here: all that have their
//! seat before its `cut`. What comes behind is on disk only, and who keeps the schedule forgets it
//! ([`Schedule::left_to_disk`]). Before a chat runs out, the rest is found by a pass over the disk in the
//! order of seats ([`Schedule::wants`]), which moves the cut. As long as there is a cut the chat has a
//! reply that waits, so nothing of a lower rank goes before it.

mod lane;
mod pacing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::Pace;
use crate::ids::{ChatId, MessageId};
use crate::sender::queue::lane::{Changes, Lane};
pub(crate) use crate::sender::queue::pacing::shortened;
use crate::sender::queue::pacing::{BOT, Rank, Window, apart, backoff, limits};

/// Most replies of a chat that are here.
const WINDOW: usize = 64;

/// A delivery's place: no two that wait have the same. Its order is the order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// When it was accepted, in milliseconds; strictly increasing within a session.
    pub accepted: i64,
    /// Whose it is: a number that the caller gives to the session.
    pub session: u16,
}

impl Seat {
    /// Before all others.
    pub const FIRST: Self = Self {
        accepted: i64::MIN,
        session: 0,
    };

    /// The one right behind it.
    #[must_use]
    pub fn next(self) -> Self {
        match self.session.checked_add(1) {
            Some(session) => Self { session, ..self },
            None => Self {
                accepted: self.accepted.saturating_add(1),
                session: 0,
            },
        }
    }
}

/// What decides the turn of a delivery. A turn is named by when its first progress was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer, or a message of the agent's own.
    Reply {
        /// The turn that it ends.
        turn: Option<i64>,
    },
    /// How the work goes.
    Progress {
        /// Its turn.
        turn: i64,
    },
    /// A reaction.
    Reaction {
        /// The message that it is put on.
        message: MessageId,
    },
}

/// The right to make one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The chat.
    pub chat: ChatId,
    /// The delivery.
    pub seat: Seat,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// The delivery has left the outbox.
    Finished,
    /// One message of it is out; more follow.
    More,
    /// Nothing may go to the chat for so long.
    Later(Duration),
    /// A temporary failure: after a growing pause, with this much jitter (0.0 to 1.0).
    Failed(f64),
}

/// The queue of one bot.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    lanes: BTreeMap<ChatId, Lane>,
    window: Window,
    /// When each session was served last, as a count of turns.
    sessions: BTreeMap<u16, u64>,
    turns: u64,
    overtaken: VecDeque<(ChatId, Seat)>,
    left: Vec<Seat>,
    /// Most replies of a chat that are here.
    most: usize,
}

impl Schedule {
    /// A bot that has sent nothing yet.
    pub fn new(pace: Pace) -> Self {
        Self::with_window(pace, WINDOW)
    }

    fn with_window(pace: Pace, most: usize) -> Self {
        Self {
            pace,
            most,
            left: Vec::new(),
            lanes: BTreeMap::new(),
            window: Window::default(),
            sessions: BTreeMap::new(),
            turns: 0,
            overtaken: VecDeque::new(),
        }
    }

    /// A delivery waits. One that waits already is not to be added again.
    pub fn add(&mut self, chat: ChatId, seat: Seat, kind: Kind) {
        let mut changes = Changes::default();
        let lane = self.lanes.entry(chat).or_default();
        lane.add(seat, kind, self.most, &mut changes);
        self.note(chat, changes);
    }

    fn note(&mut self, chat: ChatId, changes: Changes) {
        let overtaken = changes.overtaken.into_iter();
        self.overtaken.extend(overtaken.map(|seat| (chat, seat)));
        self.left.extend(changes.left);
    }

    /// Takes out what is on disk only from now on: a pass finds it again in time.
    pub fn left_to_disk(&mut self) -> Vec<Seat> {
        std::mem::take(&mut self.left)
    }

    /// From where on the disk is to be passed over now, because some chat will soon have no reply here.
    pub fn wants(&self) -> Option<Seat> {
        let lanes = self.lanes.values();
        let low = lanes.filter(|lane| lane.replies.len() <= self.most / 4);
        low.filter_map(|lane| lane.cut).min()
    }

    /// A pass over the disk begins: all that is not here, from a seat on and in their order.
    pub fn pass_begins(&mut self, from: Seat) {
        for lane in self.lanes.values_mut() {
            lane.passing = lane.cut.is_some_and(|cut| cut >= from);
            lane.left = None;
        }
    }

    /// The pass has come to a delivery.
    pub fn found(&mut self, chat: ChatId, seat: Seat, kind: Kind) {
        let lane = self.lanes.entry(chat).or_default();
        if matches!(kind, Kind::Reply { .. }) && lane.passing && lane.is_on_disk(seat) {
            // Its names were listed before that one came: it must not stay behind the cut.
            let missed = lane.left.is_some_and(|left| left < seat);
            if lane.replies.len() < self.most && !missed {
                lane.cut = Some(seat.next());
            } else {
                lane.passing = false;
            }
        }
        self.add(chat, seat, kind);
    }

    /// Whether the pass may find something that there is room for.
    pub fn wants_more(&self) -> bool {
        let mut lanes = self.lanes.values();
        lanes.any(|lane| lane.passing && lane.replies.len() < self.most)
    }

    /// The pass is over; `whole` if it came to the end of what there is.
    pub fn pass_ends(&mut self, whole: bool) {
        for lane in self.lanes.values_mut() {
            if std::mem::take(&mut lane.passing) && whole && lane.left.is_none() {
                lane.cut = None;
            }
        }
    }

    /// Takes out a delivery whose place something newer has taken: it is not to be sent.
    pub fn overtaken(&mut self) -> Option<(ChatId, Seat)> {
        self.overtaken.pop_front()
    }

    /// Gives out the next turn, if somebody may send now. `now` is the time since the schedule
    /// began, on a monotonic clock. Whoever gets a turn must say how it [ended](Self::ended).
    pub fn next(&mut self, now: Duration) -> Option<Turn> {
        let (&chat, (_, seat, kind)) = self
            .lanes
            .iter()
            .flat_map(|(chat, lane)| lane.choices().map(move |choice| (chat, choice)))
            .filter(|(chat, (rank, ..))| self.free_at(**chat, *rank).is_some_and(|at| at <= now))
            .min_by_key(|(chat, (rank, seat, _))| {
                let session = self.sessions.get(&seat.session).copied().unwrap_or(0);
                let lane = self.lanes.get(chat).map_or(0, |lane| lane.served);
                (*rank, session, lane, *seat)
            })?;
        self.turns += 1;
        self.sessions.insert(seat.session, self.turns);
        self.window.under_way += 1;
        let lane = self.lanes.get_mut(&chat)?;
        lane.served = self.turns;
        lane.window.under_way += 1;
        lane.take(seat, kind);
        Some(Turn { chat, seat })
    }

    /// When [`Self::next`] may give something that it does not give now; `None` if first something
    /// has to be added or to end.
    pub fn due(&self) -> Option<Duration> {
        let choices = self
            .lanes
            .iter()
            .flat_map(|(chat, lane)| lane.choices().map(move |choice| (*chat, choice)));
        choices
            .filter_map(|(chat, (rank, ..))| self.free_at(chat, rank))
            .min()
    }

    /// The turn of a chat is over.
    pub fn ended(&mut self, chat: ChatId, end: End, now: Duration) {
        self.window.end(now, &BOT);
        let pace = self.pace;
        let Some(lane) = self.lanes.get_mut(&chat) else {
            return;
        };
        lane.window.end(now, limits(chat));
        let Some((seat, kind)) = lane.at_work.take() else {
            return;
        };
        if matches!(kind, Kind::Progress { .. }) {
            lane.progress_ended = Some(now);
        }
        match end {
            End::Finished => {
                lane.begun = None;
                lane.failures = 0;
                return;
            }
            End::More => lane.failures = 0,
            End::Later(wait) => lane.not_before = now + wait,
            End::Failed(jitter) => {
                lane.not_before = now + shortened(backoff(lane.failures, jitter), pace);
                lane.failures = lane.failures.saturating_add(1);
            }
        }
        let mut changes = Changes::default();
        lane.add(seat, kind, self.most, &mut changes);
        self.note(chat, changes);
    }

    /// A chat that was to be left alone for a while may be tried again.
    pub fn open(&mut self, chat: ChatId) {
        if let Some(lane) = self.lanes.get_mut(&chat) {
            lane.not_before = Duration::ZERO;
        }
    }

    /// A chat has another id now: what waits for it joins what waits there already.
    pub fn moved(&mut self, from: ChatId, to: ChatId) {
        if from == to {
            return;
        }
        let Some(mut lane) = self.lanes.remove(&from) else {
            return;
        };
        let joined = self.lanes.entry(to).or_default();
        joined.begun = joined.begun.or(lane.begun);
        let mut changes = Changes::default();
        joined.cut_at(lane.cut, &mut changes);
        while let Some((seat, kind)) = lane.first() {
            lane.withdraw(seat);
            joined.add(seat, kind, self.most, &mut changes);
        }
        self.note(to, changes);
    }

    /// Takes out a delivery that is not to be sent, with its chat; `None` if it does not wait here, or
    /// has its turn at this moment.
    pub fn withdraw(&mut self, seat: Seat) -> Option<(ChatId, Kind)> {
        self.lanes
            .iter_mut()
            .find_map(|(chat, lane)| Some((*chat, lane.withdraw(seat)?)))
    }

    /// Whether something cosmetic may go to a chat now: there is plenty of room, and nothing for
    /// that chat is under way or waits that matters more.
    pub fn has_room_for_gesture(&self, chat: ChatId, now: Duration) -> bool {
        let quiet = self.lanes.get(&chat).is_none_or(|lane| {
            lane.at_work.is_none()
                && lane.replies.is_empty()
                && lane.cut.is_none()
                && lane.not_before <= now
        });
        quiet && self.bot_free_at(Rank::Gesture).is_some_and(|at| at <= now)
    }

    /// Something cosmetic is under way. It counts for the bot. Until it has ended no reaction of the
    /// agent goes to that chat, so that the agent's is the later one.
    pub fn gesture_begun(&mut self, chat: ChatId) {
        self.window.under_way += 1;
        self.lanes.entry(chat).or_default().gestures += 1;
    }

    /// It has ended.
    pub fn gesture_ended(&mut self, chat: ChatId, now: Duration) {
        self.window.end(now, &BOT);
        if let Some(lane) = self.lanes.get_mut(&chat) {
            lane.gestures = lane.gestures.saturating_sub(1);
        }
    }

    /// Takes the right to send an answer of the gateway's own, which counts as a reply does. `false`:
    /// there is no room at this moment.
    pub fn aside_begun(&mut self, chat: ChatId, now: Duration) -> bool {
        self.lanes.entry(chat).or_default();
        if self.aside_due(chat).is_none_or(|at| at > now) {
            return false;
        }
        self.window.under_way += 1;
        if let Some(lane) = self.lanes.get_mut(&chat) {
            lane.window.under_way += 1;
        }
        true
    }

    /// It has ended.
    pub fn aside_ended(&mut self, chat: ChatId, now: Duration) {
        self.window.end(now, &BOT);
        if let Some(lane) = self.lanes.get_mut(&chat) {
            lane.window.end(now, limits(chat));
        }
    }

    /// When there is room for one; `None` if first something has to end.
    pub fn aside_due(&self, chat: ChatId) -> Option<Duration> {
        self.free_at(chat, Rank::Reply)
    }

    /// Whether a turn of a chat is not over.
    pub fn is_at_work(&self, chat: ChatId) -> bool {
        let lane = self.lanes.get(&chat);
        lane.is_some_and(|lane| lane.at_work.is_some())
    }

    fn free_at(&self, chat: ChatId, rank: Rank) -> Option<Duration> {
        let lane = self.lanes.get(&chat)?;
        let mut free = lane.not_before.max(self.bot_free_at(rank)?);
        if rank == Rank::Progress {
            let apart = shortened(apart(chat), self.pace);
            free = free.max(lane.progress_ended.map_or(Duration::ZERO, |at| at + apart));
        }
        match self.pace {
            Pace::Off => Some(free),
            Pace::Normal => limits(chat).iter().try_fold(free, |free, &limit| {
                let at = lane.window.free_at(limit, rank.leaves_to_chat(limit.0))?;
                Some(free.max(at))
            }),
        }
    }

    fn bot_free_at(&self, rank: Rank) -> Option<Duration> {
        match self.pace {
            Pace::Off => Some(Duration::ZERO),
            Pace::Normal => BOT.iter().try_fold(Duration::ZERO, |free, &limit| {
                let at = self.window.free_at(limit, rank.leaves_to_bot())?;
                Some(free.max(at))
            }),
        }
    }
}

#[cfg(test)]
mod tests;
