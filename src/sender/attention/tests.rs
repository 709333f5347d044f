use crate::ids::UpdateId;
use crate::sender::attention::*;

const BOT: BotId = BotId(7);
const NOBODY: fn(&AgentName) -> bool = |_| false;
const ALIVE: fn(&AgentName) -> bool = |_| true;

fn free(_: BotId, _: ChatId) -> Option<Duration> {
    None
}

fn agent() -> AgentName {
    (0, "thread-a".to_owned())
}

fn secs(seconds: u64) -> Duration {
    // Long after the start.
    Duration::from_secs(3600 + seconds)
}

fn address(chat: i64) -> Address {
    Address {
        bot_id: BOT,
        chat_id: ChatId(chat),
        topic_id: None,
    }
}

fn one(chat: i64, message: i64, seen: bool) -> InHand {
    InHand {
        address: address(chat),
        message: MessageId(message),
        arrived: EntryName {
            received: message,
            update_id: UpdateId(message),
        },
        seen,
    }
}

fn spot(chat: i64, message: i64) -> Spot {
    one(chat, message, true).spot()
}

fn attention() -> Attention {
    Attention::new(Pace::Normal, [])
}

/// All that is to be done now, and done.
fn all(attention: &mut Attention, now: Duration) -> Vec<Gesture> {
    let mut all = Vec::new();
    while let Some(gesture) = attention.next(now, free, ALIVE) {
        attention.ended(gesture, Answer::Done, now);
        all.push(gesture);
    }
    all
}

fn typing(chat: i64) -> Gesture {
    Gesture::Type(address(chat))
}

#[test]
fn of_what_was_shown_just_now_the_newest_of_each_conversation_wears_eyes() {
    let mut attention = attention();
    let held = vec![
        one(11, 1, true),
        one(11, 2, true),
        one(12, 3, true),
        one(11, 4, false),
    ];
    attention.holds(agent(), held, Sign::News, secs(0));
    let done = all(&mut attention, secs(0));
    assert_eq!(
        done,
        [
            Gesture::Put(spot(11, 2)),
            Gesture::Put(spot(12, 3)),
            typing(12)
        ]
    );
    assert_eq!(attention.worn(BOT).count(), 2);
    let held = vec![
        one(11, 1, true),
        one(11, 2, true),
        one(12, 3, true),
        one(11, 4, true),
    ];
    attention.holds(agent(), held, Sign::News, secs(1));
    assert_eq!(all(&mut attention, secs(1)), [Gesture::Put(spot(11, 4))]);
}

#[test]
fn what_nobody_holds_any_more_loses_its_eyes_and_what_another_takes_keeps_them() {
    let mut attention = attention();
    attention.holds(
        agent(),
        vec![one(11, 1, true), one(12, 2, true)],
        Sign::News,
        secs(0),
    );
    all(&mut attention, secs(0));
    attention.holds(agent(), Vec::new(), Sign::News, secs(1));
    let other = (0, "thread-b".to_owned());
    attention.holds(other, vec![one(12, 2, false)], Sign::News, secs(1));
    assert_eq!(
        all(&mut attention, secs(1)),
        [],
        "another may be about to take it"
    );
    assert_eq!(all(&mut attention, secs(2)), [Gesture::Take(spot(11, 1))]);
    assert_eq!(attention.worn(BOT).collect::<Vec<_>>(), [spot(12, 2)]);
}

#[test]
fn eyes_that_cannot_be_put_soon_are_dropped_and_those_that_stand_are_not_forgotten() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1, true)], Sign::News, secs(0));
    let closed = |_: BotId, _: ChatId| Some(Duration::from_secs(300));
    assert_eq!(attention.next(secs(0), closed, NOBODY), None);
    assert!(attention.due(secs(0)).is_some());
    assert_eq!(attention.next(secs(11), free, NOBODY), None, "late");
    assert_eq!(attention.due(secs(11)), None);

    attention.holds(
        agent(),
        vec![one(11, 1, true), one(11, 2, true)],
        Sign::News,
        secs(20),
    );
    let put = attention.next(secs(20), free, NOBODY).unwrap();
    attention.ended(put, Answer::Done, secs(20));
    attention.holds(agent(), Vec::new(), Sign::News, secs(21));
    assert_eq!(attention.next(secs(22), closed, NOBODY), None);
    assert_eq!(attention.due(secs(22)), Some(secs(322)));
    assert_eq!(
        attention.next(secs(322), free, NOBODY),
        Some(Gesture::Take(spot(11, 2)))
    );
}

#[test]
fn what_may_stand_from_an_earlier_time_is_taken_away_unless_it_is_still_held() {
    let mut attention = Attention::new(Pace::Normal, [spot(11, 1), spot(11, 2)]);
    let silent_for = Duration::from_secs(60);
    let start = Sign::Start { silent_for };
    attention.holds(
        agent(),
        vec![one(11, 2, true), one(11, 3, true)],
        start,
        secs(0),
    );
    let done = all(&mut attention, secs(0));
    assert_eq!(
        done,
        [Gesture::Take(spot(11, 1)), typing(11)],
        "3 was shown before"
    );
    assert_eq!(attention.worn(BOT).collect::<Vec<_>>(), [spot(11, 2)]);
}

#[test]
fn the_agents_own_reaction_ends_ours_whenever_it_comes() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1, true)], Sign::News, secs(0));
    assert!(!attention.reacted(spot(11, 1)), "nothing was noted yet");
    assert_eq!(attention.next(secs(0), free, NOBODY), None);

    attention.holds(agent(), vec![one(11, 2, true)], Sign::News, secs(1));
    let put = attention.next(secs(1), free, NOBODY).unwrap();
    assert!(attention.reacted(spot(11, 2)), "while ours is under way");
    attention.ended(put, Answer::Done, secs(1));
    attention.holds(agent(), Vec::new(), Sign::News, secs(2));
    assert_eq!(attention.next(secs(9), free, NOBODY), None);
}

#[test]
fn eyes_of_unknown_fate_may_stand_and_refused_ones_do_not() {
    let mut attention = attention();
    attention.holds(
        agent(),
        vec![one(11, 1, true), one(12, 2, true)],
        Sign::News,
        secs(0),
    );
    let first = attention.next(secs(0), free, NOBODY).unwrap();
    assert!(!attention.ended(first, Answer::Unknown, secs(0)));
    let second = attention.next(secs(0), free, NOBODY).unwrap();
    assert!(attention.ended(second, Answer::Refused, secs(0)));
    assert_eq!(attention.worn(BOT).collect::<Vec<_>>(), [spot(11, 1)]);
    // Taken away three times at most; after that the note is left to the next start.
    attention.holds(agent(), Vec::new(), Sign::News, secs(1));
    let mut now = secs(2);
    for _ in 0..3 {
        let take = attention.next(now, free, NOBODY).unwrap();
        attention.ended(take, Answer::Unknown, now);
        now += PAUSE;
    }
    assert_eq!(
        (attention.next(now, free, NOBODY), attention.due(now)),
        (None, None)
    );
    assert_eq!(attention.worn(BOT).count(), 1);
}

#[test]
fn typing_goes_on_every_four_seconds_until_there_is_no_news_for_ten_minutes() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1, true)], Sign::News, secs(0));
    let mut typed = Vec::new();
    while let Some(due) = attention.due(secs(0)) {
        typed.extend(
            all(&mut attention, due)
                .into_iter()
                .map(|gesture| (due, gesture)),
        );
    }
    let typed: Vec<Duration> = typed
        .into_iter()
        .filter(|(_, gesture)| *gesture == typing(11))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(typed.len(), 150);
    assert!(typed.is_sorted_by(|a, b| *b == *a + TYPING));
    attention.said(&agent(), secs(700));
    assert_eq!(all(&mut attention, secs(700)), [typing(11)]);
    attention.holds(agent(), Vec::new(), Sign::News, secs(701));
    all(&mut attention, secs(702));
    assert_eq!(
        attention.due(secs(702)),
        None,
        "nothing is held, nothing is due"
    );
}

#[test]
fn the_dead_do_not_type_and_neither_do_those_who_have_been_silent() {
    let mut attention = attention();
    let silent_for = Duration::from_secs(601);
    let start = Sign::Start { silent_for };
    attention.holds(agent(), vec![one(11, 1, true)], start, secs(0));
    assert_eq!(attention.next(secs(0), free, ALIVE), None);
    attention.said(&agent(), secs(1));
    assert_eq!(attention.next(secs(1), free, NOBODY), None);
    assert_eq!(attention.due(secs(1)), None);
    // What somebody saw by looking is no news.
    attention.holds(agent(), vec![one(11, 1, true)], Sign::Look, secs(2));
    assert_eq!(attention.due(secs(2)), None);
}

#[test]
fn a_failure_makes_typing_pause_and_a_busy_chat_skips_it() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1, true)], Sign::News, secs(0));
    all(&mut attention, secs(0));
    let busy = |_: BotId, _: ChatId| Some(Duration::from_millis(250));
    assert_eq!(attention.next(secs(4), busy, ALIVE), None);
    assert_eq!(attention.due(secs(4)), Some(secs(8)));
    let gesture = attention.next(secs(8), free, ALIVE).unwrap();
    attention.ended(gesture, Answer::Unknown, secs(8));
    assert_eq!(attention.due(secs(8)), Some(secs(68)));
}
