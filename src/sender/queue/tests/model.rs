//! The queue against a naive model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::sender::queue::tests::*;

/// Everything that ever happened, in lists; each question is answered by looking through all of it.
#[derive(Default)]
struct Naive {
    waiting: Vec<(ChatId, QueueKey, DeliveryKind)>,
    sending: Vec<(ChatId, QueueKey, DeliveryKind)>,
    begun: Vec<(ChatId, QueueKey)>,
    held: BTreeMap<ChatId, (Duration, i32)>,
    /// Chat, begin, end, whether it was progress, session.
    requests: Vec<(ChatId, Option<Duration>, bool, u16)>,
}

impl Naive {
    fn rank(kind: DeliveryKind) -> usize {
        match kind {
            DeliveryKind::Reply { .. } => 0,
            DeliveryKind::Progress { .. } => 1,
            DeliveryKind::Reaction { .. } => 2,
        }
    }

    fn supersedes(
        newer: (ChatId, QueueKey, DeliveryKind),
        older: (ChatId, QueueKey, DeliveryKind),
    ) -> bool {
        let same = newer.0 == older.0 && newer.1 > older.1;
        let session = newer.1.session == older.1.session;
        same && match (newer.2, older.2) {
            (
                DeliveryKind::Progress { turn: new } | DeliveryKind::Reply { turn: Some(new) },
                DeliveryKind::Progress { turn: old },
            ) => session && new == old,
            (DeliveryKind::Reaction { message: new }, DeliveryKind::Reaction { message: old }) => {
                new == old
            }
            _ => false,
        }
    }

    /// Removes what something newer that waits has superseded, and returns it.
    fn superseded(&mut self) -> Vec<QueueKey> {
        let all = self.waiting.clone();
        let gone = |one: &(ChatId, QueueKey, DeliveryKind)| {
            all.iter().any(|other| Self::supersedes(*other, *one))
        };
        let keys = all
            .iter()
            .filter(|one| gone(one))
            .map(|one| one.1)
            .collect();
        self.waiting.retain(|one| !gone(one));
        keys
    }

    /// How many requests may still count at the server at `now`.
    fn counted(&self, chat: Option<ChatId>, span: Duration, now: Duration) -> usize {
        let counts = |end: &Option<Duration>| end.is_none_or(|end| end + span > now);
        let of = |of: ChatId| chat.is_none_or(|chat| chat == of);
        let all = self.requests.iter();
        all.filter(|(chat, end, ..)| of(*chat) && counts(end))
            .count()
    }

    fn may(&self, (chat, _, kind): (ChatId, QueueKey, DeliveryKind), now: Duration) -> bool {
        let rank = Self::rank(kind);
        if self.sending.iter().any(|one| one.0 == chat) {
            return false;
        }
        if self.held.get(&chat).is_some_and(|(until, _)| *until > now) {
            return false;
        }
        let apart = secs(if chat.0 < 0 { 6 } else { 3 });
        let progress = self.requests.iter().filter(|one| one.0 == chat && one.2);
        if rank == 1
            && progress
                .filter_map(|one| one.1)
                .any(|end| end + apart > now)
        {
            return false;
        }
        let leaves = usize::from(rank > 0);
        self.counted(None, secs(1), now) + [0, 4, 8][rank] < 29
            && self.counted(Some(chat), secs(3), now) + leaves < 3
            && (chat.0 > 0 || self.counted(Some(chat), secs(60), now) + 6 * leaves < 18)
    }

    fn next(&mut self, now: Duration) -> Option<SendPermit> {
        let served = |session: u16| {
            self.requests
                .iter()
                .rposition(|one| one.3 == session)
                .map_or(0, |at| at + 1)
        };
        let lane = |chat: ChatId| {
            self.requests
                .iter()
                .rposition(|one| one.0 == chat)
                .map_or(0, |at| at + 1)
        };
        let first = |one: &&(ChatId, QueueKey, DeliveryKind)| {
            // Nothing of its chat comes before it.
            !self.waiting.iter().any(|other| {
                let (mine, its) = (Self::rank(one.2), Self::rank(other.2));
                let begun =
                    |one: &(ChatId, QueueKey, DeliveryKind)| self.begun.contains(&(one.0, one.1));
                let earlier = match (begun(one), begun(other)) {
                    (true, false) => false,
                    (false, true) => true,
                    _ => other.1 < one.1,
                };
                other.0 == one.0 && (its == 0 && mine > 0 || (its == mine && earlier))
            })
        };
        let candidates = self
            .waiting
            .iter()
            .filter(first)
            .filter(|one| self.may(**one, now));
        let next = candidates
            .min_by_key(|one| (Self::rank(one.2), served(one.1.session), lane(one.0), one.1))
            .copied()?;
        self.waiting.retain(|one| *one != next);
        self.sending.push(next);
        if Self::rank(next.2) == 0 {
            self.begun.push((next.0, next.1));
        }
        self.requests
            .push((next.0, None, Self::rank(next.2) == 1, next.1.session));
        Some(SendPermit {
            chat: next.0,
            key: next.1,
        })
    }

    fn ended(&mut self, chat: ChatId, end: SendEnd, now: Duration) {
        let index = self.sending.iter().position(|one| one.0 == chat).unwrap();
        let one = self.sending.remove(index);
        for request in &mut self.requests {
            if request.0 == chat && request.1.is_none() {
                request.1 = Some(now);
            }
        }
        let (until, failures) = self.held.entry(chat).or_default();
        match end {
            SendEnd::Finished | SendEnd::More => *failures = 0,
            // Closed topics have tests of their own.
            SendEnd::Later(wait) | SendEnd::Parked(wait) => *until = now + wait,
            SendEnd::Failed(_) => {
                *until = now
                    + secs([1, 2, 4, 8, 16, 32, 60][usize::try_from(*failures).unwrap().min(6)]);
                *failures += 1;
            }
        }
        if end == SendEnd::Finished {
            self.begun.retain(|begun| *begun != (chat, one.1));
        } else {
            self.waiting.push(one);
        }
    }
}

/// A delivery that comes: chat, session, kind, and which turn or message.
type Comes = (usize, u16, u8, u8);

#[derive(Clone, Debug)]
enum Event {
    Add(Comes),
    Pass(u64),
    Due,
    Drop(usize),
    End { which: usize, how: u8, after: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let comes = (0usize..6, 0u16..3, 0u8..6, 0u8..3);
    prop_oneof![
        8 => comes.prop_map(Event::Add),
        2 => (0u64..4000).prop_map(Event::Pass),
        3 => Just(Event::Due),
        1 => (0usize..16).prop_map(Event::Drop),
        5 => (0usize..8, 0u8..12, 0u64..1500)
            .prop_map(|(which, how, after)| Event::End { which, how, after }),
    ]
}

/// The queue decides as the model.
fn decides_as_the_model(run: Vec<Event>) -> Result<(), TestCaseError> {
    let chats = [1, 2, 3, 4, -1, -2].map(ChatId);
    let (mut queue, mut naive) = (SendQueue::new(Pace::Normal), Naive::default());
    let (mut now, mut accepted) = (Duration::ZERO, 0i64);
    let mut sending: Vec<SendPermit> = Vec::new();
    let mut waiting: BTreeSet<QueueKey> = BTreeSet::new();
    for event in run {
        match event {
            Event::Add((chat, session, kind, of)) => {
                accepted += 10;
                // The deliveries of session 2 are found late.
                let late = if session == 2 { 45 } else { 0 };
                let key = key(session, accepted - late);
                let turn = i64::from(of);
                let kind = match kind {
                    0..3 => DeliveryKind::Reply {
                        turn: (kind == 0).then_some(turn),
                    },
                    3..5 => DeliveryKind::Progress { turn },
                    _ => DeliveryKind::Reaction {
                        message: MessageId(turn),
                    },
                };
                queue.add(chats[chat], key, kind);
                naive.waiting.push((chats[chat], key, kind));
                waiting.insert(key);
            }
            Event::Pass(ms) => now += Duration::from_millis(ms),
            Event::Due => {
                if let Some(due) = queue.due() {
                    prop_assert!(due > now, "a request that was due was not made");
                    // Until then no permit is given out, then one is.
                    let before = due.saturating_sub(Duration::from_nanos(1)).max(now);
                    prop_assert_eq!(naive.next(before), None);
                    now = due;
                } else {
                    prop_assert_eq!(naive.next(now + secs(100_000)), None);
                }
            }
            Event::Drop(which) => {
                let of = waiting.iter().nth(which % waiting.len().max(1));
                if let Some(key) = of.copied().filter(|key| !queue.is_sending(*key)) {
                    queue.remove(key);
                    naive.waiting.retain(|one| one.1 != key);
                    naive.begun.retain(|begun| begun.1 != key);
                    waiting.remove(&key);
                }
            }
            Event::End { which, how, after } if !sending.is_empty() => {
                now += Duration::from_millis(after);
                let permit = sending.remove(which % sending.len());
                let end = match how {
                    0..7 => SendEnd::Finished,
                    7..9 => SendEnd::More,
                    9..10 => SendEnd::Later(secs(5)),
                    _ => SendEnd::Failed(0.0),
                };
                if end == SendEnd::Finished {
                    waiting.remove(&permit.key);
                }
                queue.ended(permit.chat, end, now);
                naive.ended(permit.chat, end, now);
            }
            Event::End { .. } => {}
        }
        let mut superseded = naive.superseded();
        superseded.sort_unstable();
        prop_assert_eq!(&take_superseded(&mut queue), &superseded);
        waiting.retain(|key| !superseded.contains(key));
        loop {
            let permit = queue.next(now);
            prop_assert_eq!(permit, naive.next(now));
            match permit {
                Some(permit) => sending.push(permit),
                None => break,
            }
        }
        prop_assert!(waiting.iter().all(|key| queue.contains(*key)));
        prop_assert_eq!(queue.deliveries.len(), waiting.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_decides_as_a_model_that_looks_through_everything(run in proptest::collection::vec(event(), 1..200)) {
        decides_as_the_model(run)?;
    }
}
