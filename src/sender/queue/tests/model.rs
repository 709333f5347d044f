//! Against a naive model, and with most of what waits on disk.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::sender::queue::tests::*;

/// Everything that ever happened, in lists; each question is answered by looking through all of it.
#[derive(Default)]
struct Naive {
    waiting: Vec<(ChatId, Seat, Kind)>,
    at_work: Vec<(ChatId, Seat, Kind)>,
    begun: Vec<(ChatId, Seat)>,
    held: BTreeMap<ChatId, (Duration, i32)>,
    /// Chat, begin, end, whether it was progress, turn number.
    requests: Vec<(ChatId, Option<Duration>, bool, u16)>,
}

impl Naive {
    fn rank(kind: Kind) -> usize {
        match kind {
            Kind::Reply { .. } => 0,
            Kind::Progress { .. } => 1,
            Kind::Reaction { .. } => 2,
        }
    }

    fn supersedes(newer: (ChatId, Seat, Kind), older: (ChatId, Seat, Kind)) -> bool {
        let same = newer.0 == older.0 && newer.1 > older.1;
        let session = newer.1.session == older.1.session;
        same && match (newer.2, older.2) {
            (
                Kind::Progress { turn: new } | Kind::Reply { turn: Some(new) },
                Kind::Progress { turn: old },
            ) => session && new == old,
            (Kind::Reaction { message: new }, Kind::Reaction { message: old }) => new == old,
            _ => false,
        }
    }

    /// Removes what something newer that waits has overtaken, and returns it.
    fn overtaken(&mut self) -> Vec<Seat> {
        let all = self.waiting.clone();
        let gone =
            |one: &(ChatId, Seat, Kind)| all.iter().any(|other| Self::supersedes(*other, *one));
        let seats = all
            .iter()
            .filter(|one| gone(one))
            .map(|one| one.1)
            .collect();
        self.waiting.retain(|one| !gone(one));
        seats
    }

    /// How many requests may still count at the server at `now`.
    fn counted(&self, chat: Option<ChatId>, span: Duration, now: Duration) -> usize {
        let counts = |end: &Option<Duration>| end.is_none_or(|end| end + span > now);
        let of = |of: ChatId| chat.is_none_or(|chat| chat == of);
        let all = self.requests.iter();
        all.filter(|(chat, end, ..)| of(*chat) && counts(end))
            .count()
    }

    fn may(&self, (chat, _, kind): (ChatId, Seat, Kind), now: Duration) -> bool {
        let rank = Self::rank(kind);
        if self.at_work.iter().any(|one| one.0 == chat) {
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

    fn next(&mut self, now: Duration) -> Option<Turn> {
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
        let first = |one: &&(ChatId, Seat, Kind)| {
            // Nothing of its chat comes before it.
            !self.waiting.iter().any(|other| {
                let (mine, its) = (Self::rank(one.2), Self::rank(other.2));
                let begun = |one: &(ChatId, Seat, Kind)| self.begun.contains(&(one.0, one.1));
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
        self.at_work.push(next);
        if Self::rank(next.2) == 0 {
            self.begun.push((next.0, next.1));
        }
        self.requests
            .push((next.0, None, Self::rank(next.2) == 1, next.1.session));
        Some(Turn {
            chat: next.0,
            seat: next.1,
        })
    }

    fn ended(&mut self, chat: ChatId, end: End, now: Duration) {
        let index = self.at_work.iter().position(|one| one.0 == chat).unwrap();
        let one = self.at_work.remove(index);
        for request in &mut self.requests {
            if request.0 == chat && request.1.is_none() {
                request.1 = Some(now);
            }
        }
        let (until, failures) = self.held.entry(chat).or_default();
        match end {
            End::Finished | End::More => *failures = 0,
            End::Later(wait) => *until = now + wait,
            End::Failed(_) => {
                *until = now
                    + secs([1, 2, 4, 8, 16, 32, 60][usize::try_from(*failures).unwrap().min(6)]);
                *failures += 1;
            }
        }
        if end == End::Finished {
            self.begun.retain(|begun| *begun != (chat, one.1));
        } else {
            self.waiting.push(one);
        }
    }
}

/// A delivery that comes: chat, session, kind, and which turn or message.
type Comes = (usize, u16, u8, u8);

#[derive(Clone, Debug)]
enum Happens {
    /// One after the other; after each the pass over the disk goes on by so many.
    Add(Vec<(Comes, usize)>),
    Pass(u64),
    Due,
    /// All of the disk is passed over, as after a poll.
    Look,
    End {
        which: usize,
        how: u8,
        after: u64,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let comes = (0usize..6, 0u16..3, 0u8..6, 0u8..3);
    let steps = 0usize..4;
    prop_oneof![
        5 => proptest::collection::vec((comes, steps), 1..4).prop_map(Happens::Add),
        2 => (0u64..4000).prop_map(Happens::Pass),
        3 => Just(Happens::Due),
        1 => Just(Happens::Look),
        5 => (0usize..8, 0u8..12, 0u64..1500)
            .prop_map(|(which, how, after)| Happens::End { which, how, after }),
    ]
}

/// The disk, and who passes over it as the sender does.
#[derive(Default)]
struct Disk {
    /// All that is not finished.
    all: BTreeMap<Seat, (ChatId, Kind)>,
    /// What the schedule has.
    known: BTreeSet<Seat>,
    /// What the pass that is under way has listed and not come to.
    pass: Option<VecDeque<Seat>>,
}

impl Disk {
    fn add(&mut self, schedule: &mut Schedule, chat: ChatId, seat: Seat, kind: Kind) {
        self.all.insert(seat, (chat, kind));
        self.known.insert(seat);
        schedule.add(chat, seat, kind);
        self.forget(schedule);
    }

    fn forget(&mut self, schedule: &mut Schedule) {
        for seat in schedule.left_to_disk() {
            assert!(self.known.remove(&seat), "it was not here");
        }
    }

    fn begin(&mut self, schedule: &mut Schedule, from: Seat) {
        schedule.pass_begins(from);
        let listed = self.all.range(from..).map(|(seat, _)| *seat);
        self.pass = Some(listed.filter(|seat| !self.known.contains(seat)).collect());
    }

    /// Takes up to so many steps of a pass, if one is to be made.
    fn steps(&mut self, schedule: &mut Schedule, most: usize) {
        for _ in 0..most {
            let Some(pass) = &mut self.pass else {
                match schedule.wants() {
                    Some(from) => self.begin(schedule, from),
                    None => return,
                }
                continue;
            };
            let Some(seat) = pass.pop_front() else {
                schedule.pass_ends(true);
                self.pass = None;
                continue;
            };
            if let Some(&(chat, kind)) = self.all.get(&seat)
                && self.known.insert(seat)
            {
                schedule.found(chat, seat, kind);
                self.forget(schedule);
            }
            if !schedule.wants_more() {
                schedule.pass_ends(false);
                self.pass = None;
            }
        }
    }

    fn finished(&mut self, seat: Seat) {
        self.known.remove(&seat);
        self.all.remove(&seat);
    }
}

/// However few replies of a chat are in memory, it decides as the model that has them all.
fn decides_as_the_model(most: usize, run: Vec<Happens>) -> Result<(), TestCaseError> {
    let chats = [1, 2, 3, 4, -1, -2].map(ChatId);
    let mut schedule = Schedule::with_window(Pace::Normal, most);
    let (mut naive, mut disk) = (Naive::default(), Disk::default());
    let (mut now, mut accepted) = (Duration::ZERO, 0i64);
    let mut at_work: Vec<Turn> = Vec::new();
    let (mut gone, mut expected) = (Vec::new(), Vec::new());
    for happens in run {
        match happens {
            Happens::Add(all) => {
                for ((chat, session, kind, of), steps) in all {
                    // Session 2 is one whose deliveries are found late.
                    accepted += 10;
                    let late = if session == 2 { 45 } else { 0 };
                    let seat = seat(session, accepted - late);
                    let turn = i64::from(of);
                    let kind = match kind {
                        0..3 => Kind::Reply {
                            turn: (kind == 0).then_some(turn),
                        },
                        3..5 => Kind::Progress { turn },
                        _ => Kind::Reaction {
                            message: MessageId(turn),
                        },
                    };
                    disk.add(&mut schedule, chats[chat], seat, kind);
                    naive.waiting.push((chats[chat], seat, kind));
                    expected.extend(naive.overtaken());
                    disk.steps(&mut schedule, steps);
                }
            }
            Happens::Pass(ms) => now += Duration::from_millis(ms),
            Happens::Look => {
                disk.begin(&mut schedule, Seat::FIRST);
            }
            Happens::Due => {
                if let Some(due) = schedule.due() {
                    prop_assert!(due > now, "what is due now was given out");
                    // Until then nothing is given, then something is.
                    let before = due.saturating_sub(Duration::from_nanos(1)).max(now);
                    prop_assert_eq!(naive.next(before), None);
                    now = due;
                } else {
                    prop_assert_eq!(naive.next(now + secs(100_000)), None);
                }
            }
            Happens::End { which, how, after } if !at_work.is_empty() => {
                now += Duration::from_millis(after);
                let turn = at_work.remove(which % at_work.len());
                let end = match how {
                    0..7 => End::Finished,
                    7..9 => End::More,
                    9..10 => End::Later(secs(5)),
                    _ => End::Failed(0.0),
                };
                if end == End::Finished {
                    disk.finished(turn.seat);
                }
                schedule.ended(turn.chat, end, now);
                disk.forget(&mut schedule);
                naive.ended(turn.chat, end, now);
            }
            Happens::End { .. } => {}
        }
        disk.steps(&mut schedule, usize::MAX);
        expected.extend(naive.overtaken());
        gone.extend(std::iter::from_fn(|| schedule.overtaken()).map(|(_, seat)| seat));
        for seat in &gone {
            disk.finished(*seat);
        }
        gone.sort_unstable();
        expected.sort_unstable();
        // Progress that came to light later than its reply waits until that reply is here again.
        if schedule.lanes.values().all(|lane| lane.cut.is_none()) {
            prop_assert_eq!(&gone, &expected);
        }
        prop_assert!(gone.iter().all(|seat| expected.contains(seat)));
        for lane in schedule.lanes.values() {
            prop_assert!(lane.replies.len() <= most + 1);
        }
        loop {
            let turn = schedule.next(now);
            prop_assert_eq!(turn, naive.next(now));
            match turn {
                Some(turn) => at_work.push(turn),
                None => break,
            }
            disk.steps(&mut schedule, usize::MAX);
        }
    }
    Ok(())
}

/// What happens to replies while a pass is under way.
#[derive(Clone, Debug)]
enum Mixed {
    Add { chat: i64, session: u16 },
    Steps(usize),
    Look,
    Turn,
    End(End),
}

fn mixed() -> impl Strategy<Value = Mixed> {
    prop_oneof![
        4 => (1i64..3, 0u16..3).prop_map(|(chat, session)| Mixed::Add { chat, session }),
        3 => (1usize..4).prop_map(Mixed::Steps),
        1 => Just(Mixed::Look),
        3 => Just(Mixed::Turn),
        3 => Just(Mixed::End(End::Finished)),
        1 => Just(Mixed::End(End::More)),
    ]
}

/// No pass is over before the next turn: not all that waits is here, but what goes is the first of its chat.
fn goes_in_order(most: usize, run: Vec<Mixed>) -> Result<(), TestCaseError> {
    let mut schedule = Schedule::with_window(Pace::Off, most);
    let (mut disk, mut accepted) = (Disk::default(), 0);
    let mut at_work: VecDeque<Turn> = VecDeque::new();
    let mut begun = BTreeSet::new();
    // In the end everything goes.
    let rest = [
        Mixed::Steps(usize::MAX),
        Mixed::Turn,
        Mixed::End(End::Finished),
    ];
    let rest = rest.iter().cycle().take(3 * (run.len() + 1)).cloned();
    for happens in run.into_iter().chain(rest) {
        match happens {
            Mixed::Add { chat, session } => {
                accepted += 10;
                // Session 2 is one whose deliveries are found late.
                let late = if session == 2 { 45 } else { 0 };
                let seat = seat(session, accepted - late);
                disk.add(&mut schedule, ChatId(chat), seat, REPLY);
            }
            Mixed::Steps(most) => disk.steps(&mut schedule, most),
            Mixed::Look => disk.begin(&mut schedule, Seat::FIRST),
            Mixed::Turn => {
                let Some(turn) = schedule.next(Duration::ZERO) else {
                    continue;
                };
                let waits = |(seat, (chat, _)): (&Seat, &(ChatId, Kind))| {
                    (*chat == turn.chat).then_some(*seat)
                };
                let first = disk.all.iter().find_map(waits);
                if !begun.contains(&turn.seat) {
                    prop_assert_eq!(Some(turn.seat), first, "another one was before it");
                }
                begun.insert(turn.seat);
                at_work.push_back(turn);
            }
            Mixed::End(end) => {
                let Some(turn) = at_work.pop_front() else {
                    continue;
                };
                if end == End::Finished {
                    disk.finished(turn.seat);
                }
                schedule.ended(turn.chat, end, Duration::ZERO);
                disk.forget(&mut schedule);
            }
        }
    }
    prop_assert_eq!(disk.all, BTreeMap::new());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn however_passes_and_turns_mix_the_replies_of_a_chat_go_in_order(
        most in 1usize..9,
        run in proptest::collection::vec(mixed(), 1..150),
    ) {
        goes_in_order(most, run)?;
    }

    #[test]
    fn it_decides_as_a_model_that_looks_through_everything(run in proptest::collection::vec(happens(), 1..150)) {
        decides_as_the_model(WINDOW, run)?;
    }

    #[test]
    fn with_most_of_it_on_disk_it_decides_as_a_model_that_has_everything(
        most in 1usize..6,
        run in proptest::collection::vec(happens(), 1..150),
    ) {
        decides_as_the_model(most, run)?;
    }
}

#[test]
fn of_ten_thousand_replies_to_one_chat_few_are_here_and_all_go_in_order() {
    let (mut schedule, mut disk) = (Schedule::new(Pace::Off), Disk::default());
    for number in 0..10_000 {
        disk.add(&mut schedule, CHAT, seat(0, number), REPLY);
        assert!(disk.known.len() <= WINDOW);
    }
    for number in 0..10_000 {
        disk.steps(&mut schedule, usize::MAX);
        let turn = schedule.next(Duration::ZERO).unwrap();
        assert_eq!(turn.seat, seat(0, number));
        assert!(disk.known.len() <= WINDOW);
        disk.finished(turn.seat);
        schedule.ended(CHAT, End::Finished, Duration::ZERO);
    }
    assert_eq!(schedule.next(Duration::ZERO), None);
    assert_eq!(schedule.wants(), None);
}
