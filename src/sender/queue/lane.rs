//! What waits for one chat, and what of it may come next. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::MessageId;
use crate::sender::queue::pacing::{Rank, Window};
use crate::sender::queue::{Kind, Seat};

/// A turn of an agent: session and first progress.
type TurnId = (u16, i64);

/// What an addition brings about.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Not to be sent any more.
    pub(super) overtaken: Vec<Seat>,
    /// No longer here.
    pub(super) left: Vec<Seat>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    pub(super) replies: BTreeMap<Seat, Option<i64>>,
    /// From here on its replies are on disk only, but for the one that is begun.
    pub(super) cut: Option<Seat>,
    /// Whether the pass over the disk has taken in all that it has come to from the cut on.
    pub(super) passing: bool,
    /// The first that was left to the disk since the pass began, which may have missed it.
    pub(super) left: Option<Seat>,
    /// The newest reply that waits here, of each turn that has one.
    finals: BTreeMap<TurnId, Seat>,
    /// The newest of each turn.
    progress: BTreeMap<TurnId, Seat>,
    /// The newest on each message.
    reactions: BTreeMap<MessageId, Seat>,
    pub(super) at_work: Option<(Seat, Kind)>,
    /// The reply of which something may be out: nothing comes in between.
    pub(super) begun: Option<Seat>,
    /// Receipts and the like that are under way.
    pub(super) gestures: usize,
    pub(super) not_before: Duration,
    pub(super) failures: u32,
    pub(super) progress_ended: Option<Duration>,
    pub(super) window: Window,
    pub(super) served: u64,
}

impl Lane {
    /// Puts a delivery in its place, or leaves it to the disk.
    pub(super) fn add(&mut self, seat: Seat, kind: Kind, most: usize, changes: &mut Changes) {
        match kind {
            Kind::Reply { turn } => {
                let named = turn.map(|turn| (seat.session, turn));
                // Wherever it waits, it takes the place of what came before it.
                if let Some(turn) = named
                    && self.progress.get(&turn).is_some_and(|at| *at < seat)
                {
                    changes.overtaken.extend(self.progress.remove(&turn));
                }
                if self.is_on_disk(seat) {
                    self.leave(seat);
                    changes.left.push(seat);
                    return;
                }
                self.replies.insert(seat, turn);
                if let Some(turn) = named {
                    let last = self.finals.entry(turn).or_insert(seat);
                    *last = seat.max(*last);
                }
                while self.replies.len() > most {
                    let begun = self.begun;
                    let mut others = self.replies.keys().rev().copied();
                    let Some(last) = others.find(|seat| Some(*seat) != begun) else {
                        return;
                    };
                    self.cut_at(Some(last), changes);
                }
            }
            Kind::Progress { turn } => {
                let turn = (seat.session, turn);
                if self.finals.get(&turn).is_some_and(|last| *last > seat) {
                    changes.overtaken.push(seat);
                } else {
                    changes
                        .overtaken
                        .extend(newest(&mut self.progress, turn, seat));
                }
            }
            Kind::Reaction { message } => {
                let overtaken = newest(&mut self.reactions, message, seat);
                changes.overtaken.extend(overtaken);
            }
        }
    }

    pub(super) fn is_on_disk(&self, seat: Seat) -> bool {
        self.cut.is_some_and(|cut| seat >= cut) && self.begun != Some(seat)
    }

    fn leave(&mut self, seat: Seat) {
        self.left = Some(self.left.map_or(seat, |left| left.min(seat)));
    }

    /// Leaves what is behind a seat to the disk, if there is one.
    pub(super) fn cut_at(&mut self, seat: Option<Seat>, changes: &mut Changes) {
        let Some(cut) = self.cut.into_iter().chain(seat).min() else {
            return;
        };
        self.cut = Some(cut);
        self.passing = false;
        self.leave(cut);
        let behind = self.replies.range(cut..).map(|(seat, _)| *seat);
        let behind: Vec<Seat> = behind.filter(|seat| self.is_on_disk(*seat)).collect();
        for seat in behind {
            self.withdraw(seat);
            changes.left.push(seat);
        }
    }

    pub(super) fn take(&mut self, seat: Seat, kind: Kind) {
        self.at_work = Some((seat, kind));
        match kind {
            Kind::Reply { turn } => {
                self.begun = Some(seat);
                self.replies.remove(&seat);
                let turn = turn.map(|turn| (seat.session, turn));
                if let Some(turn) = turn.filter(|turn| self.finals.get(turn) == Some(&seat)) {
                    self.finals.remove(&turn);
                }
            }
            Kind::Progress { turn } => {
                self.progress.remove(&(seat.session, turn));
            }
            Kind::Reaction { message } => {
                self.reactions.remove(&message);
            }
        }
    }

    /// Something that waits.
    pub(super) fn first(&self) -> Option<(Seat, Kind)> {
        let reply = self.replies.first_key_value();
        let reply = reply.map(|(&seat, &turn)| (seat, Kind::Reply { turn }));
        let progress = self.progress.first_key_value();
        let progress = progress.map(|(&(_, turn), &seat)| (seat, Kind::Progress { turn }));
        let reaction = self.reactions.first_key_value();
        let reaction = reaction.map(|(&message, &seat)| (seat, Kind::Reaction { message }));
        reply.or(progress).or(reaction)
    }

    pub(super) fn withdraw(&mut self, seat: Seat) -> Option<Kind> {
        if let Some(turn) = self.replies.remove(&seat) {
            if self.begun == Some(seat) {
                self.begun = None;
            }
            let named = turn.map(|turn| (seat.session, turn));
            self.finals
                .retain(|turn, last| Some(*turn) != named || *last != seat);
            return Some(Kind::Reply { turn });
        }
        let progress = self.progress.iter().find(|(_, at)| **at == seat);
        if let Some(turn) = progress.map(|(turn, _)| *turn) {
            self.progress.remove(&turn);
            return Some(Kind::Progress { turn: turn.1 });
        }
        let reaction = self.reactions.iter().find(|(_, at)| **at == seat);
        let message = reaction.map(|(message, _)| *message)?;
        self.reactions.remove(&message);
        Some(Kind::Reaction { message })
    }

    /// What may come next, the more important first.
    pub(super) fn choices(&self) -> impl Iterator<Item = (Rank, Seat, Kind)> {
        let free = self.at_work.is_none();
        let first = self.replies.first_key_value().map(|(seat, _)| *seat);
        let reply = self.begun.or(first).and_then(|seat| {
            let turn = *self.replies.get(&seat)?;
            Some((Rank::Reply, seat, Kind::Reply { turn }))
        });
        let waits = reply.is_some() || self.cut.is_some();
        let progress = self.progress.iter().min_by_key(|(_, seat)| **seat);
        let progress =
            progress.map(|(&(_, turn), &seat)| (Rank::Progress, seat, Kind::Progress { turn }));
        let reaction = self.reactions.iter().min_by_key(|(_, seat)| **seat);
        let reaction = reaction
            .filter(|_| self.gestures == 0)
            .map(|(&message, &seat)| (Rank::Reaction, seat, Kind::Reaction { message }));
        [
            reply,
            progress.filter(|_| !waits),
            reaction.filter(|_| !waits),
        ]
        .into_iter()
        .flatten()
        .filter(move |_| free)
    }
}

/// Keeps the newer of two under one key, and returns the other.
fn newest<K: Ord>(all: &mut BTreeMap<K, Seat>, key: K, seat: Seat) -> Vec<Seat> {
    match all.get_mut(&key) {
        None => {
            all.insert(key, seat);
            Vec::new()
        }
        Some(other) if *other < seat => vec![std::mem::replace(other, seat)],
        Some(_) => vec![seat],
    }
}
