use std::collections::VecDeque;

use crate::sender::queue::*;

mod model;

const CHAT: ChatId = ChatId(11);
const GROUP_CHAT: ChatId = ChatId(-11);
/// How long a request takes, where that does not matter.
const REQUEST: Duration = Duration::from_millis(20);

fn key(session: u16, accepted: i64) -> QueueKey {
    QueueKey {
        accepted,
        session,
        key: 0,
    }
}

/// Takes the superseded deliveries out, as the sender does once they are put away.
fn take_superseded(queue: &mut SendQueue) -> Vec<QueueKey> {
    let next = || {
        let key = queue.superseded()?;
        queue.remove(key);
        Some(key)
    };
    std::iter::from_fn(next).collect()
}

const REPLY: DeliveryKind = DeliveryKind::Reply { turn: None };

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Sends all that waits, each request taking [`REQUEST`], and returns the permits with their times.
fn drain(queue: &mut SendQueue, mut now: Duration) -> Vec<(Duration, SendPermit)> {
    let mut sent = Vec::new();
    let mut under_way: VecDeque<(Duration, ChatId)> = VecDeque::new();
    loop {
        while let Some(permit) = queue.next(now) {
            sent.push((now, permit));
            under_way.push_back((now + REQUEST, permit.chat));
        }
        let due = queue.due();
        match under_way.front().copied() {
            Some((end, chat)) if due.is_none_or(|due| end <= due) => {
                now = end;
                under_way.pop_front();
                queue.ended(chat, SendEnd::Finished, now);
            }
            _ => match due {
                Some(due) => now = now.max(due),
                None => return sent,
            },
        }
    }
}

fn times(sent: &[(Duration, SendPermit)]) -> Vec<Duration> {
    sent.iter().map(|(at, _)| *at).collect()
}

#[test]
fn a_private_chat_gets_a_short_burst_and_then_one_a_second() {
    let mut queue = SendQueue::new(Pace::Normal);
    for number in 0..61 {
        queue.add(CHAT, key(0, number), REPLY);
    }
    let times = times(&drain(&mut queue, Duration::ZERO));
    assert!(times[2] < secs(1));
    assert!((59..=62).contains(&times[60].as_secs()), "{:?}", times[60]);
}

#[test]
fn a_group_gets_eighteen_a_minute() {
    let mut queue = SendQueue::new(Pace::Normal);
    for number in 0..54 {
        queue.add(GROUP_CHAT, key(0, number), REPLY);
    }
    let times = times(&drain(&mut queue, Duration::ZERO));
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
    let mut queue = SendQueue::new(Pace::Normal);
    for number in 0..300 {
        queue.add(ChatId(1 + number % 30), key(0, number), REPLY);
    }
    let sent = drain(&mut queue, Duration::ZERO);
    let last = sent.last().unwrap().0;
    assert!(last <= Duration::from_millis(11_000), "{last:?}");
}

#[test]
fn off_means_no_pace_of_our_own() {
    let mut queue = SendQueue::new(Pace::Off);
    for number in 0..100 {
        queue.add(ChatId(number), key(0, number), REPLY);
    }
    let together = std::iter::from_fn(|| queue.next(Duration::ZERO)).count();
    assert_eq!(together, 100);
}

#[test]
fn a_long_queue_does_not_keep_other_chats_waiting() {
    let mut queue = SendQueue::new(Pace::Normal);
    for number in 0..1000 {
        queue.add(ChatId(1 + number % 30), key(0, number), REPLY);
    }
    // The budget of this second is used up.
    let first: Vec<SendPermit> = std::iter::from_fn(|| queue.next(Duration::ZERO)).collect();
    for permit in &first {
        queue.ended(permit.chat, SendEnd::Finished, REQUEST);
    }
    queue.add(ChatId(99), key(1, 5000), REPLY);
    let next = queue.next(queue.due().unwrap());
    assert_eq!(
        next,
        Some(SendPermit {
            chat: ChatId(99),
            key: key(1, 5000)
        })
    );
}

#[test]
fn sessions_share_the_budget_and_so_do_the_chats_of_each() {
    let mut queue = SendQueue::new(Pace::Normal);
    for chat in 1..=20 {
        for number in 0..3 {
            queue.add(ChatId(chat), key(0, chat * 10 + number), REPLY);
        }
    }
    for chat in 31..=32 {
        for number in 0..3 {
            queue.add(ChatId(chat), key(1, 1000 + chat * 10 + number), REPLY);
        }
    }
    let second: Vec<SendPermit> = drain(&mut queue, Duration::ZERO)
        .into_iter()
        .filter(|(at, _)| *at < secs(1))
        .map(|(_, permit)| permit)
        .collect();
    let of = |chats: std::ops::RangeInclusive<i64>| -> Vec<usize> {
        chats
            .map(|chat| {
                second
                    .iter()
                    .filter(|permit| permit.chat == ChatId(chat))
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
    let mut queue = SendQueue::new(Pace::Normal);
    let mut sent = Vec::new();
    let mut step = |queue: &mut SendQueue, now: Duration| {
        while let Some(permit) = queue.next(now) {
            sent.push(permit.key.accepted);
            queue.ended(permit.chat, SendEnd::Finished, now);
        }
    };
    for number in 0..100u64 {
        let now = Duration::from_millis(100 * number);
        let accepted = i64::try_from(number).unwrap();
        queue.add(CHAT, key(0, accepted), DeliveryKind::Progress { turn: 0 });
        step(&mut queue, now);
    }
    queue.add(CHAT, key(0, 100), DeliveryKind::Reply { turn: Some(0) });
    step(&mut queue, secs(10));
    assert_eq!(sent, [0, 30, 60, 90, 100]);
    assert_eq!(take_superseded(&mut queue).len(), 101 - sent.len());
    assert_eq!(queue.due(), None);
}

#[test]
fn the_final_reply_supersedes_progress_that_is_found_late() {
    let mut queue = SendQueue::new(Pace::Normal);
    queue.add(CHAT, key(0, 9), DeliveryKind::Reply { turn: Some(3) });
    queue.add(CHAT, key(0, 5), DeliveryKind::Progress { turn: 3 });
    assert_eq!(take_superseded(&mut queue), [key(0, 5)]);
    queue.add(CHAT, key(0, 10), DeliveryKind::Progress { turn: 10 });
    assert_eq!(
        take_superseded(&mut queue),
        [],
        "the next turn's update is wanted"
    );
}

#[test]
fn progress_that_was_not_sent_gives_way_to_newer_progress() {
    let mut queue = SendQueue::new(Pace::Normal);
    queue.add(CHAT, key(0, 1), DeliveryKind::Progress { turn: 1 });
    queue.next(secs(0)).unwrap();
    queue.add(CHAT, key(0, 2), DeliveryKind::Progress { turn: 1 });
    queue.ended(CHAT, SendEnd::Later(secs(300)), secs(1));
    assert_eq!(take_superseded(&mut queue), [key(0, 1)]);
    assert_eq!(queue.due(), Some(secs(301)));
}

#[test]
fn replies_go_before_progress_and_progress_before_reactions() {
    let mut queue = SendQueue::new(Pace::Normal);
    let message = MessageId(7);
    queue.add(CHAT, key(0, 1), DeliveryKind::Reaction { message });
    queue.add(CHAT, key(0, 2), DeliveryKind::Progress { turn: 2 });
    queue.add(CHAT, key(0, 3), REPLY);
    let order: Vec<i64> = drain(&mut queue, Duration::ZERO)
        .into_iter()
        .map(|(_, permit)| permit.key.accepted)
        .collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn nothing_comes_between_the_messages_of_one_reply() {
    let mut queue = SendQueue::new(Pace::Off);
    queue.add(CHAT, key(0, 5), REPLY);
    assert_eq!(queue.next(secs(0)).unwrap().key, key(0, 5));
    // Of another session, accepted earlier and found later.
    queue.add(CHAT, key(1, 4), REPLY);
    queue.ended(CHAT, SendEnd::More, secs(1));
    assert_eq!(queue.next(secs(1)).unwrap().key, key(0, 5));
    queue.ended(CHAT, SendEnd::Finished, secs(1));
    assert_eq!(queue.next(secs(1)).unwrap().key, key(1, 4));
}

#[test]
fn of_several_reactions_on_a_message_the_newest_is_put() {
    let mut queue = SendQueue::new(Pace::Normal);
    let on = |message| DeliveryKind::Reaction {
        message: MessageId(message),
    };
    queue.add(CHAT, key(0, 1), on(7));
    queue.add(CHAT, key(0, 2), on(8));
    queue.add(CHAT, key(0, 3), on(7));
    assert_eq!(take_superseded(&mut queue), [key(0, 1)]);
    let order = drain(&mut queue, Duration::ZERO);
    assert_eq!([order[0].1.key.accepted, order[1].1.key.accepted], [2, 3]);
}

#[test]
fn a_rate_limit_and_a_growing_pause_hold_only_their_chat() {
    let mut queue = SendQueue::new(Pace::Normal);
    for (chat, accepted) in [(11, 1), (12, 2), (13, 3)] {
        queue.add(ChatId(chat), key(0, accepted), REPLY);
    }
    for _ in 0..3 {
        queue.next(secs(0)).unwrap();
    }
    queue.ended(ChatId(11), SendEnd::Later(secs(7200)), secs(0));
    queue.ended(ChatId(12), SendEnd::Failed(0.0), secs(0));
    queue.ended(ChatId(13), SendEnd::Finished, secs(0));
    assert_eq!(queue.due(), Some(secs(1)));
    assert_eq!(queue.next(secs(1)).unwrap().chat, ChatId(12));
    queue.ended(ChatId(12), SendEnd::Failed(0.0), secs(1));
    assert_eq!(queue.due(), Some(secs(3)), "the pause grows");
    queue.next(secs(3)).unwrap();
    queue.ended(ChatId(12), SendEnd::Finished, secs(3));
    assert_eq!(
        (queue.next(secs(7199)), queue.due()),
        (None, Some(secs(7200)))
    );
}

#[test]
fn chat_actions_give_way_and_the_reaction_of_an_agent_goes_after_one_that_is_under_way() {
    let mut queue = SendQueue::new(Pace::Normal);
    assert!(queue.has_room_for_chat_action(CHAT, secs(0)));
    queue.chat_action_begun(CHAT);
    let message = MessageId(7);
    queue.add(CHAT, key(0, 1), DeliveryKind::Reaction { message });
    assert_eq!(queue.next(secs(0)), None);
    queue.chat_action_ended(CHAT, secs(1));
    assert!(queue.next(secs(1)).is_some());
    assert!(
        !queue.has_room_for_chat_action(CHAT, secs(1)),
        "a reaction is under way"
    );
    queue.ended(CHAT, SendEnd::Finished, secs(2));
    queue.add(CHAT, key(0, 2), REPLY);
    assert!(
        !queue.has_room_for_chat_action(CHAT, secs(2)),
        "an answer is on its way"
    );
    for chat in 0..20 {
        queue.add(ChatId(100 + chat), key(0, 100 + chat), REPLY);
    }
    while queue.next(secs(2)).is_some() {}
    assert!(
        !queue.has_room_for_chat_action(ChatId(99), secs(2)),
        "the budget is scarce"
    );
}

#[test]
fn a_command_reply_counts_as_a_reply_and_goes_before_those_that_wait() {
    let mut queue = SendQueue::new(Pace::Normal);
    for _ in 0..3 {
        assert!(queue.command_reply_begun(CHAT, secs(1)));
    }
    assert!(
        !queue.command_reply_begun(CHAT, secs(1)),
        "three in three seconds"
    );
    assert!(
        queue.command_reply_begun(GROUP_CHAT, secs(1)),
        "another chat"
    );
    for _ in 0..3 {
        queue.command_reply_ended(CHAT, secs(1));
    }
    let first = key(0, 1);
    queue.add(CHAT, first, REPLY);
    assert_eq!(queue.next(secs(2)), None);
    assert_eq!(queue.command_reply_due(CHAT), Some(secs(4)));
    assert!(queue.command_reply_begun(CHAT, secs(4)));
    assert_eq!(
        queue.next(secs(4)),
        Some(SendPermit {
            chat: CHAT,
            key: first
        })
    );
}

#[test]
fn a_group_that_moves_joins_the_queue_of_its_new_id_and_what_was_begun_stays_first() {
    let mut queue = SendQueue::new(Pace::Off);
    let to = ChatId(-100);
    let message = MessageId(7);
    for accepted in [5, 7] {
        queue.add(GROUP_CHAT, key(0, accepted), REPLY);
    }
    queue.add(GROUP_CHAT, key(0, 1), DeliveryKind::Progress { turn: 1 });
    queue.add(GROUP_CHAT, key(0, 2), DeliveryKind::Reaction { message });
    queue.add(to, key(0, 6), REPLY);
    assert_eq!(queue.next(secs(0)).unwrap().key, key(0, 5));
    queue.ended(GROUP_CHAT, SendEnd::More, secs(0));
    // Of another session, accepted earlier and found later.
    queue.add(GROUP_CHAT, key(1, 4), REPLY);
    queue.moved(GROUP_CHAT, to);
    for expected in [(0, 5), (1, 4), (0, 6), (0, 7), (0, 1), (0, 2)] {
        let permit = queue.next(secs(0)).unwrap();
        assert_eq!((permit.chat, permit.key), (to, key(expected.0, expected.1)));
        queue.ended(to, SendEnd::Finished, secs(0));
    }
    assert!(!queue.contains(key(0, 7)));
}

#[test]
fn a_reply_that_is_dropped_in_the_middle_does_not_keep_others_waiting() {
    let mut queue = SendQueue::new(Pace::Off);
    queue.add(CHAT, key(0, 1), REPLY);
    queue.add(CHAT, key(0, 2), REPLY);
    assert_eq!(queue.next(secs(0)).unwrap().key, key(0, 1));
    queue.ended(CHAT, SendEnd::More, secs(0));
    queue.remove(key(0, 1));
    assert_eq!(queue.next(secs(0)).unwrap().key, key(0, 2));
}

#[test]
fn a_chat_that_is_opened_early_is_tried_at_once() {
    let mut queue = SendQueue::new(Pace::Normal);
    queue.add(CHAT, key(0, 1), REPLY);
    queue.next(secs(0)).unwrap();
    queue.ended(CHAT, SendEnd::Later(secs(3600)), secs(0));
    assert_eq!(queue.next(secs(10)), None);
    queue.open(CHAT);
    assert_eq!(queue.next(secs(10)).unwrap().key, key(0, 1));
}

#[test]
fn each_rank_leaves_some_of_the_bots_limit_to_the_ranks_above_it() {
    let message = MessageId(7);
    let mut room = Vec::new();
    for kind in [
        REPLY,
        DeliveryKind::Progress { turn: 1 },
        DeliveryKind::Reaction { message },
    ] {
        let mut queue = SendQueue::new(Pace::Normal);
        for number in 1..=40 {
            queue.add(ChatId(number), key(0, number), kind);
        }
        room.push(std::iter::from_fn(|| queue.next(secs(1))).count());
    }
    let mut queue = SendQueue::new(Pace::Normal);
    let begins = |chat: &ChatId| {
        let may = queue.has_room_for_chat_action(*chat, secs(1));
        if may {
            queue.chat_action_begun(*chat);
        }
        may
    };
    room.push((1..=40).map(ChatId).take_while(begins).count());
    assert_eq!(room, [29, 25, 21, 15]);
}

#[test]
fn a_dropped_delivery_is_not_sent_whatever_its_kind() {
    let mut queue = SendQueue::new(Pace::Off);
    let message = MessageId(7);
    for (accepted, kind) in [
        (1, REPLY),
        (2, DeliveryKind::Progress { turn: 2 }),
        (3, DeliveryKind::Reaction { message }),
        (4, DeliveryKind::Progress { turn: 2 }),
    ] {
        queue.add(CHAT, key(0, accepted), kind);
    }
    assert_eq!(queue.superseded(), Some(key(0, 2)));
    for accepted in 1..=4 {
        queue.remove(key(0, accepted));
        assert!(!queue.contains(key(0, accepted)));
    }
    assert_eq!((queue.superseded(), queue.next(secs(0))), (None, None));
}

#[test]
fn ten_thousand_replies_to_one_chat_go_in_order() {
    let mut queue = SendQueue::new(Pace::Off);
    for number in (0..10_000).rev() {
        queue.add(CHAT, key(0, number), REPLY);
    }
    let order = drain(&mut queue, Duration::ZERO);
    assert!(
        order
            .iter()
            .map(|(_, permit)| permit.key.accepted)
            .eq(0..10_000)
    );
}

/// Sends all of it, where a reply at `long` has so many messages; the order of what went.
fn order(queue: &mut SendQueue, long: &[(QueueKey, usize)]) -> Vec<i64> {
    let mut left: BTreeMap<QueueKey, usize> = long.iter().copied().collect();
    let mut order = Vec::new();
    while let Some(permit) = queue.next(Duration::ZERO) {
        order.push(permit.key.accepted);
        let more = left.get_mut(&permit.key).is_some_and(|left| {
            *left -= 1;
            *left > 0
        });
        let end = if more {
            SendEnd::More
        } else {
            SendEnd::Finished
        };
        queue.ended(permit.chat, end, Duration::ZERO);
    }
    order
}

#[test]
fn a_reply_of_one_message_goes_once_ten_messages_of_longer_ones_went_before_it() {
    let mut queue = SendQueue::new(Pace::Off);
    let long = [(key(0, 1), 20), (key(0, 2), 20)];
    for (key, _) in long {
        queue.add(CHAT, key, REPLY);
    }
    for short in [key(0, 3), key(1, 4)] {
        queue.add(CHAT, short, REPLY);
        queue.mark_short(short);
    }
    let order = order(&mut queue, &long);
    let place = |key: i64| order.iter().position(|one| *one == key).unwrap();
    assert_eq!((place(3), place(4)), (10, 11));
    let rest: Vec<i64> = order.into_iter().filter(|key| *key < 3).collect();
    assert_eq!(rest, [[1; 20], [2; 20]].concat());
}

#[test]
fn a_short_reply_that_comes_in_between_waits_for_ten_messages_at_most_too() {
    let mut queue = SendQueue::new(Pace::Off);
    let long = [(key(0, 1), 20)];
    queue.add(CHAT, key(0, 1), REPLY);
    for _ in 0..7 {
        let permit = queue.next(Duration::ZERO).unwrap();
        queue.ended(permit.chat, SendEnd::More, Duration::ZERO);
    }
    queue.add(CHAT, key(0, 2), REPLY);
    queue.mark_short(key(0, 2));
    let order = order(&mut queue, &long);
    assert_eq!(order.iter().position(|one| *one == 2), Some(10));
}

#[test]
fn what_waits_for_a_closed_topic_holds_up_nothing_else_and_keeps_its_order() {
    let mut queue = SendQueue::new(Pace::Off);
    for number in 1..=3 {
        queue.add(CHAT, key(0, number), REPLY);
    }
    for number in 1..=2 {
        let permit = queue.next(secs(number)).unwrap();
        queue.ended(permit.chat, SendEnd::Parked(secs(3600)), secs(number));
    }
    let other = queue.next(secs(3)).unwrap();
    assert_eq!(other.key, key(0, 3));
    queue.ended(CHAT, SendEnd::Finished, secs(3));
    assert_eq!(queue.next(secs(4)), None);
    assert_eq!(queue.due(), Some(secs(3601)));
    // Its topic is open again.
    queue.open(CHAT);
    assert_eq!(order(&mut queue, &[]), [1, 2]);
}
