use proptest::prelude::*;

use super::*;

const CHAT: ChatId = ChatId(11);
const GROUP_CHAT: ChatId = ChatId(-11);
/// How long a request takes, where that does not matter.
const REQUEST: Duration = Duration::from_millis(20);

fn seat(session: u16, accepted: i64) -> Seat {
    Seat { accepted, session }
}

const REPLY: Kind = Kind::Reply { turn: None };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sends all that waits, each request taking [`REQUEST`], and returns who went when.
fn drain(schedule: &mut Schedule, mut now: Duration) -> Vec<(Duration, Turn)> {
    let mut sent = Vec::new();
    let mut under_way: VecDeque<(Duration, ChatId)> = VecDeque::new();
    loop {
        while let Some(turn) = schedule.next(now) {
            sent.push((now, turn));
            under_way.push_back((now + REQUEST, turn.chat));
        }
        let due = schedule.due();
        match under_way.front().copied() {
            Some((end, chat)) if due.is_none_or(|due| end <= due) => {
                now = end;
                under_way.pop_front();
                schedule.ended(chat, End::Finished, now);
            }
            _ => match due {
                Some(due) => now = now.max(due),
                None => return sent,
            },
        }
    }
}

fn times(sent: &[(Duration, Turn)]) -> Vec<Duration> {
    sent.iter().map(|(at, _)| *at).collect()
}

#[test]
fn a_private_chat_gets_a_short_burst_and_then_one_a_second() {
    let mut schedule = Schedule::new(Pace::Normal);
    for number in 0..61 {
        schedule.add(CHAT, seat(0, number), REPLY);
    }
    let times = times(&drain(&mut schedule, Duration::ZERO));
    assert!(times[2] < secs(1));
    assert!((59..=62).contains(&times[60].as_secs()), "{:?}", times[60]);
}

#[test]
fn a_group_gets_eighteen_a_minute() {
    let mut schedule = Schedule::new(Pace::Normal);
    for number in 0..54 {
        schedule.add(GROUP_CHAT, seat(0, number), REPLY);
    }
    let times = times(&drain(&mut schedule, Duration::ZERO));
    assert_eq!(
        [
            times[17].as_secs(),
            times[18].as_secs() / 10,
            times[36].as_secs() / 10
        ],
        [15, 6, 12]
    );
}

#[test]
fn three_hundred_replies_to_thirty_chats_take_little_longer_than_the_budgets_ask_for() {
    let mut schedule = Schedule::new(Pace::Normal);
    for number in 0..300 {
        schedule.add(ChatId(1 + number % 30), seat(0, number), REPLY);
    }
    let sent = drain(&mut schedule, Duration::ZERO);
    let last = sent.last().unwrap().0;
    assert!(last <= Duration::from_millis(11_000), "{last:?}");
}

#[test]
fn off_means_no_pace_of_our_own() {
    let mut schedule = Schedule::new(Pace::Off);
    for number in 0..100 {
        schedule.add(ChatId(number), seat(0, number), REPLY);
    }
    let together = std::iter::from_fn(|| schedule.next(Duration::ZERO)).count();
    assert_eq!(together, 100);
}

#[test]
fn a_long_queue_keeps_nobody_else_waiting() {
    let mut schedule = Schedule::new(Pace::Normal);
    for number in 0..1000 {
        schedule.add(ChatId(1 + number % 30), seat(0, number), REPLY);
    }
    // The budget of this second is used up.
    let first: Vec<Turn> = std::iter::from_fn(|| schedule.next(Duration::ZERO)).collect();
    for turn in &first {
        schedule.ended(turn.chat, End::Finished, REQUEST);
    }
    schedule.add(ChatId(99), seat(1, 5000), REPLY);
    let next = schedule.next(schedule.due().unwrap());
    assert_eq!(
        next,
        Some(Turn {
            chat: ChatId(99),
            seat: seat(1, 5000)
        })
    );
}

#[test]
fn sessions_share_the_budget_and_so_do_the_chats_of_each() {
    let mut schedule = Schedule::new(Pace::Normal);
    for chat in 1..=20 {
        for number in 0..3 {
            schedule.add(ChatId(chat), seat(0, chat * 10 + number), REPLY);
        }
    }
    for chat in 31..=32 {
        for number in 0..3 {
            schedule.add(ChatId(chat), seat(1, 1000 + chat * 10 + number), REPLY);
        }
    }
    let second: Vec<Turn> = drain(&mut schedule, Duration::ZERO)
        .into_iter()
        .filter(|(at, _)| *at < secs(1))
        .map(|(_, turn)| turn)
        .collect();
    let of = |chats: std::ops::RangeInclusive<i64>| -> Vec<usize> {
        chats
            .map(|chat| {
                second
                    .iter()
                    .filter(|turn| turn.chat == ChatId(chat))
                    .count()
            })
            .collect()
    };
    assert_eq!(of(31..=32), [2, 2]);
    // Of 29 in a second the other session has the rest, as evenly as it goes.
    assert!(
        of(1..=20).iter().all(|count| (1..=2).contains(count)),
        "{:?}",
        of(1..=20)
    );
}

#[test]
fn a_hundred_updates_in_ten_seconds_are_a_message_three_edits_and_the_reply() {
    let mut schedule = Schedule::new(Pace::Normal);
    let mut sent = Vec::new();
    let mut step = |schedule: &mut Schedule, now: Duration| {
        while let Some(turn) = schedule.next(now) {
            sent.push(turn.seat.accepted);
            schedule.ended(turn.chat, End::Finished, now);
        }
    };
    for number in 0..100u64 {
        let now = Duration::from_millis(100 * number);
        let accepted = i64::try_from(number).unwrap();
        schedule.add(CHAT, seat(0, accepted), Kind::Progress { turn: 0 });
        step(&mut schedule, now);
    }
    schedule.add(CHAT, seat(0, 100), Kind::Reply { turn: Some(0) });
    step(&mut schedule, secs(10));
    assert_eq!(sent, [0, 30, 60, 90, 100]);
    let overtaken = std::iter::from_fn(|| schedule.overtaken()).count();
    assert_eq!(overtaken, 101 - sent.len());
    assert_eq!(schedule.due(), None);
}

#[test]
fn the_final_reply_takes_the_place_of_progress_that_comes_to_light_late() {
    let mut schedule = Schedule::new(Pace::Normal);
    schedule.add(CHAT, seat(0, 9), Kind::Reply { turn: Some(3) });
    schedule.add(CHAT, seat(0, 5), Kind::Progress { turn: 3 });
    assert_eq!(schedule.overtaken(), Some((CHAT, seat(0, 5))));
    schedule.add(CHAT, seat(0, 10), Kind::Progress { turn: 10 });
    assert_eq!(schedule.overtaken(), None, "the next turn's is wanted");
}

#[test]
fn progress_that_did_not_get_through_gives_way_to_what_came_meanwhile() {
    let mut schedule = Schedule::new(Pace::Normal);
    schedule.add(CHAT, seat(0, 1), Kind::Progress { turn: 1 });
    schedule.next(secs(0)).unwrap();
    schedule.add(CHAT, seat(0, 2), Kind::Progress { turn: 1 });
    schedule.ended(CHAT, End::Later(secs(300)), secs(1));
    assert_eq!(schedule.overtaken(), Some((CHAT, seat(0, 1))));
    assert_eq!(schedule.due(), Some(secs(301)));
}

#[test]
fn replies_overtake_progress_and_progress_overtakes_reactions() {
    let mut schedule = Schedule::new(Pace::Normal);
    let message = MessageId(7);
    schedule.add(CHAT, seat(0, 1), Kind::Reaction { message });
    schedule.add(CHAT, seat(0, 2), Kind::Progress { turn: 2 });
    schedule.add(CHAT, seat(0, 3), REPLY);
    let order: Vec<i64> = drain(&mut schedule, Duration::ZERO)
        .into_iter()
        .map(|(_, turn)| turn.seat.accepted)
        .collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn nothing_comes_between_the_messages_of_one_reply() {
    let mut schedule = Schedule::new(Pace::Off);
    schedule.add(CHAT, seat(0, 5), REPLY);
    assert_eq!(schedule.next(secs(0)).unwrap().seat, seat(0, 5));
    // Of another session, accepted earlier and found later.
    schedule.add(CHAT, seat(1, 4), REPLY);
    schedule.ended(CHAT, End::More, secs(1));
    assert_eq!(schedule.next(secs(1)).unwrap().seat, seat(0, 5));
    schedule.ended(CHAT, End::Finished, secs(1));
    assert_eq!(schedule.next(secs(1)).unwrap().seat, seat(1, 4));
}

#[test]
fn of_several_reactions_on_a_message_the_newest_is_put() {
    let mut schedule = Schedule::new(Pace::Normal);
    let on = |message| Kind::Reaction {
        message: MessageId(message),
    };
    schedule.add(CHAT, seat(0, 1), on(7));
    schedule.add(CHAT, seat(0, 2), on(8));
    schedule.add(CHAT, seat(0, 3), on(7));
    assert_eq!(schedule.overtaken(), Some((CHAT, seat(0, 1))));
    let order = drain(&mut schedule, Duration::ZERO);
    assert_eq!([order[0].1.seat.accepted, order[1].1.seat.accepted], [2, 3]);
}

#[test]
fn a_closed_gate_and_a_growing_pause_hold_only_their_chat() {
    let mut schedule = Schedule::new(Pace::Normal);
    for (chat, accepted) in [(11, 1), (12, 2), (13, 3)] {
        schedule.add(ChatId(chat), seat(0, accepted), REPLY);
    }
    for _ in 0..3 {
        schedule.next(secs(0)).unwrap();
    }
    schedule.ended(ChatId(11), End::Later(secs(7200)), secs(0));
    schedule.ended(ChatId(12), End::Failed(0.0), secs(0));
    schedule.ended(ChatId(13), End::Finished, secs(0));
    assert_eq!(schedule.due(), Some(secs(1)));
    assert_eq!(schedule.next(secs(1)).unwrap().chat, ChatId(12));
    schedule.ended(ChatId(12), End::Failed(0.0), secs(1));
    assert_eq!(schedule.due(), Some(secs(3)), "the pause grows");
    schedule.next(secs(3)).unwrap();
    schedule.ended(ChatId(12), End::Finished, secs(3));
    assert_eq!(
        (schedule.next(secs(7199)), schedule.due()),
        (None, Some(secs(7200)))
    );
}

#[test]
fn gestures_give_way_and_a_reaction_of_the_agent_is_never_overtaken_by_one() {
    let mut schedule = Schedule::new(Pace::Normal);
    assert!(schedule.has_room_for_gesture(CHAT, secs(0)));
    schedule.gesture_begun(CHAT);
    let message = MessageId(7);
    schedule.add(CHAT, seat(0, 1), Kind::Reaction { message });
    assert_eq!(schedule.next(secs(0)), None);
    schedule.gesture_ended(CHAT, secs(1));
    assert!(schedule.next(secs(1)).is_some());
    assert!(
        !schedule.has_room_for_gesture(CHAT, secs(1)),
        "a reaction is under way"
    );
    schedule.ended(CHAT, End::Finished, secs(2));
    schedule.add(CHAT, seat(0, 2), REPLY);
    assert!(
        !schedule.has_room_for_gesture(CHAT, secs(2)),
        "an answer is on its way"
    );
    for chat in 0..20 {
        schedule.add(ChatId(100 + chat), seat(0, 100 + chat), REPLY);
    }
    while schedule.next(secs(2)).is_some() {}
    assert!(
        !schedule.has_room_for_gesture(ChatId(99), secs(2)),
        "the budget is scarce"
    );
}

// ---- against a naive model -------------------------------------------------------------------

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
    known: std::collections::BTreeSet<Seat>,
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

proptest! {
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

#[test]
fn nothing_of_less_weight_goes_while_replies_wait_on_disk() {
    let mut schedule = Schedule::with_window(Pace::Off, 1);
    schedule.add(CHAT, seat(0, 1), REPLY);
    schedule.add(CHAT, seat(0, 2), REPLY);
    schedule.add(CHAT, seat(0, 3), Kind::Progress { turn: 3 });
    assert_eq!(schedule.left_to_disk(), [seat(0, 2)]);
    assert_eq!(schedule.next(secs(0)).unwrap().seat, seat(0, 1));
    schedule.ended(CHAT, End::Finished, secs(1));
    assert_eq!(schedule.next(secs(1)), None);
    assert!(!schedule.has_room_for_gesture(CHAT, secs(1)));
    assert_eq!(schedule.wants(), Some(seat(0, 2)));
    schedule.pass_begins(seat(0, 2));
    schedule.found(CHAT, seat(0, 2), REPLY);
    schedule.pass_ends(true);
    assert_eq!(schedule.next(secs(1)).unwrap().seat, seat(0, 2));
    schedule.ended(CHAT, End::Finished, secs(2));
    assert_eq!(schedule.next(secs(2)).unwrap().seat, seat(0, 3));
}

#[test]
fn a_group_that_moves_takes_what_is_on_disk_along() {
    let mut schedule = Schedule::with_window(Pace::Off, 2);
    let to = ChatId(-100);
    for (chat, accepted) in [(GROUP_CHAT, 1), (to, 2), (to, 4), (to, 6), (GROUP_CHAT, 5)] {
        schedule.add(chat, seat(0, accepted), REPLY);
    }
    assert_eq!(schedule.left_to_disk(), [seat(0, 6)]);
    // Here are 1, 5 and 2, 4: with the third the others are left to the disk.
    schedule.moved(GROUP_CHAT, to);
    let mut left = schedule.left_to_disk();
    left.sort_unstable();
    assert_eq!(left, [seat(0, 4), seat(0, 5)]);
    let mut order = Vec::new();
    while let Some(turn) = schedule.next(secs(0)) {
        order.push(turn.seat.accepted);
        schedule.ended(to, End::Finished, secs(0));
        if let Some(from) = schedule.wants() {
            schedule.pass_begins(from);
            for accepted in [4, 5, 6] {
                if seat(0, accepted) >= from {
                    schedule.found(to, seat(0, accepted), REPLY);
                }
            }
            schedule.pass_ends(true);
            schedule.left_to_disk();
        }
    }
    assert_eq!(order, [1, 2, 4, 5, 6]);
}

#[test]
fn an_answer_of_the_gateway_counts_as_a_reply_does_and_goes_before_those_that_wait() {
    let mut schedule = Schedule::new(Pace::Normal);
    for _ in 0..3 {
        assert!(schedule.aside_begun(CHAT, secs(1)));
    }
    assert!(
        !schedule.aside_begun(CHAT, secs(1)),
        "three in three seconds"
    );
    assert!(schedule.aside_begun(GROUP_CHAT, secs(1)), "another chat");
    for _ in 0..3 {
        schedule.aside_ended(CHAT, secs(1));
    }
    let seat = seat(0, 1);
    schedule.add(CHAT, seat, REPLY);
    assert_eq!(schedule.next(secs(2)), None);
    assert_eq!(schedule.aside_due(CHAT), Some(secs(4)));
    assert!(schedule.aside_begun(CHAT, secs(4)));
    assert_eq!(schedule.next(secs(4)), Some(Turn { chat: CHAT, seat }));
}
