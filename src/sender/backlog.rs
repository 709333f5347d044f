//! How deliveries get into the schedules: told by their names, and found by passes over the outboxes.
//!
//! What a schedule leaves to the disk is known here as a sum only, so that looking through the names
//! tells whether there is something else. A pass goes through what nobody has in the order of seats, a
//! page of names at a time: a whole one at the start and after a surprise, one from a seat on when a
//! chat will soon have no reply in its schedule.

use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error_chain::Chain;
use crate::sender::{
    BATCH, Carrier, Content, DeliveryId, Ended, Inbox, Kind, LOOK_SHARE, RETRY, ReadError,
    Schedule, Seat, Sender, SessionId, Spot, Standing, delivery_id,
};

/// How many names a pass has in memory.
const PAGE: usize = 2048;
/// A delivery that is newer says that its agent is at work.
const NEWS: Duration = Duration::from_secs(60);

/// A delivery by place and key.
pub(super) type Found = (Seat, u128);

/// How a delivery was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By the news of its name.
    Told,
    /// By a whole pass.
    Looked,
    /// By a pass for what was left to the disk.
    Wanted,
}

/// A way through what is on disk and that no schedule has, in the order of seats.
#[derive(Debug)]
pub(super) struct Pass {
    /// Where the next page begins.
    from: Seat,
    /// What comes next.
    page: VecDeque<Found>,
    /// Whether nothing comes after the page.
    last: bool,
    /// Whether it goes through everything, not only as far as somebody needs.
    whole: bool,
    /// Whether an outbox could not be listed: it is not all that there is.
    unread: bool,
}

/// A set of deliveries, as far as one has to know whether it is the same as another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    count: u64,
    sum: u128,
}

impl Digest {
    pub(super) fn add(&mut self, found: Found) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(Self::of(found));
    }

    fn take(&mut self, found: Found) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(Self::of(found));
    }

    /// Keys are hashes, or random.
    fn of((seat, key): Found) -> u128 {
        let seat = i128::from(seat.accepted) << 16 | i128::from(seat.session);
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            .wrapping_add(seat.cast_unsigned())
    }
}

/// A delivery of a session by its name.
pub(super) fn found(session: u16, id: &DeliveryId) -> Option<Found> {
    let seat = Seat {
        accepted: id.accepted,
        session,
    };
    Some((seat, u128::from_str_radix(&id.key, 16).ok()?))
}

impl Sender {
    /// Looks through all outboxes and conversations.
    pub(super) fn look(&mut self) {
        let began = self.clock.instant();
        self.look_at = None;
        let mut there = Digest::default();
        let mut unread = false;
        for (number, session) in (0u16..).zip(&self.sessions) {
            let looked = self.outbox(session).each_waiting(|id| {
                if let Some(found) = found(number, &id).filter(|found| !self.has(*found)) {
                    there.add(found);
                }
            });
            if let Err(error) = looked {
                tracing::error!(%session, error = %Chain(&error), "cannot read the outbox");
                unread = true;
            }
            match self.outbox(session).drops() {
                Ok(drops) => self
                    .dropped
                    .extend(drops.into_iter().map(|id| (number, id))),
                Err(error) => {
                    tracing::error!(%session, error = %Chain(&error), "cannot read what is to be dropped");
                    unread = true;
                }
            }
        }
        self.compare(there);
        self.found.extend(std::mem::take(&mut self.unread));
        self.watcher.look(self.now());
        let took = self.clock.instant().duration_since(began);
        self.look_after = self.clock.instant() + took * LOOK_SHARE;
        if unread {
            self.ask_to_look(RETRY);
        }
    }

    /// Whether a delivery is known, in whatever way.
    fn has(&self, (seat, _): Found) -> bool {
        self.known.contains_key(&seat) || self.unread.contains_key(&seat)
    }

    /// Passes over the disk where something is on it that nobody has told of. A name may be on its way
    /// to us at this moment: before much is read again for it, it is given some time.
    fn compare(&mut self, there: Digest) {
        if self.pass.as_ref().is_some_and(|pass| pass.whole) {
            return;
        }
        let surprise = there != self.shelved;
        let again = std::mem::replace(&mut self.surprised, surprise);
        if surprise && (again || self.shelved == Digest::default()) {
            self.begin_pass(Seat::FIRST, true);
        } else if surprise {
            self.ask_to_look(RETRY);
        }
    }

    fn begin_pass(&mut self, from: Seat, whole: bool) {
        if self.pass.is_some() {
            self.end_pass(false);
        }
        if whole {
            self.shelved = Digest::default();
            self.shelved_last.clear();
            self.surprised = false;
        }
        for schedule in self.schedules.values_mut() {
            schedule.pass_begins(from);
        }
        self.pass = Some(Pass {
            from,
            page: VecDeque::new(),
            last: false,
            whole,
            unread: false,
        });
    }

    fn end_pass(&mut self, at_the_end: bool) {
        let unread = self.pass.take().is_some_and(|pass| pass.unread);
        let complete = at_the_end && !unread;
        if unread {
            self.pass_after = self.clock.instant() + RETRY;
            self.ask_to_look(RETRY);
        }
        for schedule in self.schedules.values_mut() {
            schedule.pass_ends(complete);
        }
    }

    /// Whether there is something to take up without anything new.
    pub(super) fn has_more_to_take_up(&self) -> bool {
        let may_pass = self.pass_after <= self.clock.instant();
        let wants = |schedule: &Schedule| may_pass && schedule.wants().is_some();
        !self.found.is_empty() || self.pass.is_some() || self.schedules.values().any(wants)
    }

    /// The next delivery of a pass, if one is to be made.
    fn next_of_pass(&mut self) -> Option<Found> {
        if self.pass.is_none() {
            if self.pass_after > self.clock.instant() {
                return None;
            }
            let from = self.schedules.values().filter_map(Schedule::wants).min()?;
            self.begin_pass(from, false);
        }
        loop {
            let pass = self.pass.as_mut()?;
            if !pass.whole && !self.schedules.values().any(Schedule::wants_more) {
                self.end_pass(false);
                return None;
            }
            if let Some(found) = pass.page.pop_front() {
                return Some(found);
            }
            if pass.last {
                self.end_pass(true);
                return None;
            }
            self.turn_page();
        }
    }

    /// Lists what comes next in a pass.
    fn turn_page(&mut self) {
        let Some(from) = self.pass.as_ref().map(|pass| pass.from) else {
            return;
        };
        let (mut first, mut unread) = (BinaryHeap::new(), false);
        for (number, session) in (0u16..).zip(&self.sessions) {
            let listed = self.outbox(session).each_waiting(|id| {
                if let Some(found) = found(number, &id)
                    && found.0 >= from
                    && first
                        .peek()
                        .is_none_or(|last| first.len() < PAGE || found < *last)
                    && !self.has(found)
                {
                    first.push(found);
                    if first.len() > PAGE {
                        first.pop();
                    }
                }
            });
            if let Err(error) = listed {
                tracing::error!(%session, error = %Chain(&error), "cannot read the outbox");
                unread = true;
            }
        }
        if let Some(pass) = &mut self.pass {
            pass.unread |= unread;
            pass.last = first.len() < PAGE;
            pass.page = first.into_sorted_vec().into();
            pass.from = pass.page.back().map_or(from, |(seat, _)| seat.next());
        }
    }

    /// Takes up some of the deliveries that were told, or that a pass finds.
    pub(super) fn take_up(&mut self) {
        self.forget_left();
        for _ in 0..BATCH {
            let next = self.next_to_take_up();
            let Some(((seat, key), how)) = next else {
                return;
            };
            let Some(session) = self.sessions.get(usize::from(seat.session)).cloned() else {
                continue;
            };
            let id = delivery_id(seat, key);
            match self.take_up_one(&session, (seat, key), &id, how) {
                Ok(()) | Err(ReadError::Quarantined { .. }) => {}
                Err(error) => {
                    tracing::error!(%session, delivery = %id, error = %Chain(&error), "cannot take up a delivery now");
                    if self.unread.len() < PAGE {
                        self.unread.insert(seat, key);
                    }
                    self.ask_to_look(RETRY);
                }
            }
            self.forget_left();
        }
    }

    /// News waits for a pass through everything, which may find what was accepted before it.
    fn next_to_take_up(&mut self) -> Option<(Found, How)> {
        if self.pass.as_ref().is_some_and(|pass| pass.whole)
            && let Some(found) = self.next_of_pass()
        {
            return Some((found, How::Looked));
        }
        match self.found.pop_front() {
            Some(told) => Some((told, How::Told)),
            None => Some((self.next_of_pass()?, How::Wanted)),
        }
    }

    /// What the schedules have left to the disk is not known here either.
    fn forget_left(&mut self) {
        let left = self.schedules.values_mut().flat_map(Schedule::left_to_disk);
        for seat in left.collect::<Vec<_>>() {
            if let Some(key) = self.known.remove(&seat) {
                self.shelved.add((seat, key));
                self.shelved_last.push_back(seat);
            }
        }
        while self.shelved_last.len() > BATCH {
            self.shelved_last.pop_front();
        }
    }

    fn take_up_one(
        &mut self,
        session: &SessionId,
        (seat, key): Found,
        id: &DeliveryId,
        how: How,
    ) -> Result<(), ReadError> {
        let outbox = self.outbox(session);
        let twice =
            self.known.contains_key(&seat) || how == How::Told && self.shelved_last.contains(&seat);
        if twice {
            return Ok(());
        }
        if how == How::Wanted {
            self.shelved.take((seat, key));
        }
        // Finished meanwhile.
        if !outbox.may_wait(id) {
            return Ok(());
        }
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
        let (bot, chat) = (delivery.address.bot_id, delivery.address.chat_id);
        let turn = delivery.turn.map(|turn| turn.accepted);
        let kind = match delivery.content {
            Content::Reply { .. } => Kind::Reply { turn },
            // The first progress of a turn names it.
            Content::Progress { .. } => Kind::Progress {
                turn: turn.unwrap_or(seat.accepted),
            },
            Content::Reaction { message_id, .. } => {
                self.watcher.reacted(Spot {
                    bot,
                    chat,
                    message: message_id,
                })?;
                Kind::Reaction {
                    message: message_id,
                }
            }
        };
        // Where a group has become a supergroup, its turn is that of the supergroup, once the last
        // one of the group is over.
        let chat_now = self.bots.get(&bot).map_or(chat, |bot| bot.chat_now(chat));
        let is_at_work = |schedule: &Schedule| schedule.is_at_work(chat);
        let chat = if self.schedules.get(&bot).is_some_and(is_at_work) {
            chat
        } else {
            chat_now
        };
        if !self.bots.contains_key(&bot) {
            tracing::warn!(%session, delivery = %id, bot_id = bot.0, "a delivery waits for a bot that does not run");
        }
        // What waits for long is read more than once.
        if now.since(Timestamp(seat.accepted)) < NEWS {
            let agent = (seat.session, delivery.holder);
            let time = self.now();
            self.watcher.attention.said(&agent, time);
        }
        let pace = self.pace;
        let schedule = self
            .schedules
            .entry(bot)
            .or_insert_with(|| Schedule::new(pace));
        self.known.insert(seat, key);
        match how {
            How::Told => schedule.add(chat, seat, kind),
            How::Looked | How::Wanted => schedule.found(chat, seat, kind),
        }
        Ok(())
    }

    /// Puts away what a person does not want sent and no schedule has.
    pub(super) fn put_away_on_disk(&mut self, session: &SessionId, named: Found, id: &DeliveryId) {
        let bot = match self.outbox(session).read(id, self.clock.now()) {
            Ok(Some(delivery)) => self.bots.get(&delivery.address.bot_id).cloned(),
            Ok(None) | Err(ReadError::Quarantined { .. }) => None,
            Err(error) => {
                tracing::error!(%session, delivery = %id, error = %Chain(&error), "cannot drop a delivery now");
                self.ask_to_look(RETRY);
                None
            }
        };
        let Some(bot) = bot else {
            return;
        };
        let carrier = Carrier::new(&self.state, session, bot, self.clock.clone());
        if carrier.put_away_dropped(id) == Ended::Finished {
            self.shelved.take(named);
        } else {
            self.ask_to_look(RETRY);
        }
    }
}
