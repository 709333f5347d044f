use crate::sender::queue::*;

mod model;

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

#[test]
fn a_group_that_moves_takes_along_what_it_has_begun_and_from_where_on_the_rest_is_on_disk() {
    let mut schedule = Schedule::with_window(Pace::Off, 2);
    let to = ChatId(-100);
    for accepted in [5, 6, 7] {
        schedule.add(GROUP_CHAT, seat(0, accepted), REPLY);
    }
    assert_eq!(schedule.next(secs(0)).unwrap().seat, seat(0, 5));
    schedule.ended(GROUP_CHAT, End::More, secs(0));
    // Of another session, accepted earlier and found later.
    schedule.add(GROUP_CHAT, seat(1, 4), REPLY);
    schedule.moved(GROUP_CHAT, to);
    for expected in [seat(0, 5), seat(1, 4)] {
        let turn = schedule.next(secs(0)).unwrap();
        assert_eq!((turn.chat, turn.seat), (to, expected));
        schedule.ended(to, End::Finished, secs(0));
    }
    assert_eq!(schedule.wants(), Some(seat(0, 6)));
}

#[test]
fn a_reply_that_is_dropped_in_the_middle_keeps_nobody_waiting() {
    let mut schedule = Schedule::new(Pace::Off);
    schedule.add(CHAT, seat(0, 1), REPLY);
    schedule.add(CHAT, seat(0, 2), REPLY);
    assert_eq!(schedule.next(secs(0)).unwrap().seat, seat(0, 1));
    schedule.ended(CHAT, End::More, secs(0));
    assert_eq!(schedule.withdraw(seat(0, 1)), Some((CHAT, REPLY)));
    assert_eq!(schedule.next(secs(0)).unwrap().seat, seat(0, 2));
}

#[test]
fn a_chat_that_is_opened_early_is_tried_at_once() {
    let mut schedule = Schedule::new(Pace::Normal);
    schedule.add(CHAT, seat(0, 1), REPLY);
    schedule.next(secs(0)).unwrap();
    schedule.ended(CHAT, End::Later(secs(3600)), secs(0));
    assert_eq!(schedule.next(secs(10)), None);
    schedule.open(CHAT);
    assert_eq!(schedule.next(secs(10)).unwrap().seat, seat(0, 1));
}

#[test]
fn of_the_budget_of_a_bot_each_rank_leaves_room_for_those_before_it() {
    let message = MessageId(7);
    let mut room = Vec::new();
    for kind in [
        REPLY,
        Kind::Progress { turn: 1 },
        Kind::Reaction { message },
    ] {
        let mut schedule = Schedule::new(Pace::Normal);
        for number in 1..=40 {
            schedule.add(ChatId(number), seat(0, number), kind);
        }
        room.push(std::iter::from_fn(|| schedule.next(secs(1))).count());
    }
    let mut schedule = Schedule::new(Pace::Normal);
    let begins = |chat: &ChatId| {
        let may = schedule.has_room_for_gesture(*chat, secs(1));
        if may {
            schedule.gesture_begun(*chat);
        }
        may
    };
    room.push((1..=40).map(ChatId).take_while(begins).count());
    assert_eq!(room, [29, 25, 21, 15]);
}
