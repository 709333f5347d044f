use crate::ids::UpdateId;
use crate::sender::attention::*;

const BOT: BotId = BotId(7);
const DEAD: fn(&AgentName) -> bool = |_| false;
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

fn one(chat: i64, message: i64) -> HeldMessage {
    HeldMessage {
        address: address(chat),
        message: MessageId(message),
        arrived: EntryName {
            received: message,
            update_id: UpdateId(message),
        },
    }
}

fn message(chat: i64, message: i64) -> MessageRef {
    one(chat, message).message_ref()
}

fn attention() -> Attention {
    Attention::new(Pace::Normal, [])
}

/// All that is to be done now, and done.
fn all(attention: &mut Attention, now: Duration) -> Vec<ChatAction> {
    let mut all = Vec::new();
    while let Some(action) = attention.next(now, free, ALIVE) {
        attention.ended(action, ActionResult::Done, now);
        all.push(action);
    }
    all
}

fn typing(chat: i64) -> ChatAction {
    ChatAction::Type(address(chat))
}

#[test]
fn the_newest_message_of_each_chat_that_was_just_shown_wears_eyes() {
    let mut attention = attention();
    let held = vec![one(11, 1), one(11, 2), one(12, 3)];
    attention.holds(agent(), held, Sign::Activity, secs(0));
    let done = all(&mut attention, secs(0));
    assert_eq!(
        done,
        [
            ChatAction::PutReceipt(message(11, 2)),
            ChatAction::PutReceipt(message(12, 3)),
            typing(12)
        ]
    );
    assert_eq!(attention.receipts(BOT).count(), 2);
    let held = vec![one(11, 1), one(11, 2), one(12, 3), one(11, 4)];
    attention.holds(agent(), held, Sign::Activity, secs(1));
    assert_eq!(
        all(&mut attention, secs(1)),
        [ChatAction::PutReceipt(message(11, 4))]
    );
}

#[test]
fn a_message_that_no_agent_holds_loses_its_eyes_and_one_that_another_agent_takes_keeps_them() {
    let mut attention = attention();
    attention.holds(
        agent(),
        vec![one(11, 1), one(12, 2)],
        Sign::Activity,
        secs(0),
    );
    all(&mut attention, secs(0));
    attention.holds(agent(), Vec::new(), Sign::Activity, secs(1));
    let other = (0, "thread-b".to_owned());
    attention.holds(other, vec![one(12, 2)], Sign::Activity, secs(1));
    assert_eq!(
        all(&mut attention, secs(1)),
        [typing(12)],
        "another may be about to take it"
    );
    assert_eq!(
        all(&mut attention, secs(2)),
        [ChatAction::TakeReceipt(message(11, 1))]
    );
    assert_eq!(
        attention.receipts(BOT).collect::<Vec<_>>(),
        [message(12, 2)]
    );
}

#[test]
fn eyes_that_cannot_be_put_soon_are_dropped_and_those_that_stand_are_not_forgotten() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1)], Sign::Activity, secs(0));
    let closed = |_: BotId, _: ChatId| Some(Duration::from_secs(300));
    assert_eq!(attention.next(secs(0), closed, DEAD), None);
    assert!(attention.due(secs(0)).is_some());
    assert_eq!(attention.next(secs(11), free, DEAD), None, "late");
    assert_eq!(attention.due(secs(11)), None);

    attention.holds(
        agent(),
        vec![one(11, 1), one(11, 2)],
        Sign::Activity,
        secs(20),
    );
    let put = attention.next(secs(20), free, DEAD).unwrap();
    attention.ended(put, ActionResult::Done, secs(20));
    attention.holds(agent(), Vec::new(), Sign::Activity, secs(21));
    assert_eq!(attention.next(secs(22), closed, DEAD), None);
    assert_eq!(attention.due(secs(22)), Some(secs(322)));
    assert_eq!(
        attention.next(secs(322), free, DEAD),
        Some(ChatAction::TakeReceipt(message(11, 2)))
    );
}

#[test]
fn eyes_from_an_earlier_time_are_taken_away_unless_the_message_is_still_held() {
    let mut attention = Attention::new(Pace::Normal, [message(11, 1), message(11, 2)]);
    let silent_for = Duration::from_secs(60);
    let start = Sign::Startup { silent_for };
    attention.holds(agent(), vec![one(11, 2), one(11, 3)], start, secs(0));
    let done = all(&mut attention, secs(0));
    assert_eq!(
        done,
        [ChatAction::TakeReceipt(message(11, 1)), typing(11)],
        "3 was shown before"
    );
    assert_eq!(
        attention.receipts(BOT).collect::<Vec<_>>(),
        [message(11, 2)]
    );
}

#[test]
fn the_agents_own_reaction_ends_ours_whenever_it_comes() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1)], Sign::Activity, secs(0));
    assert!(
        !attention.agent_reacts(message(11, 1)),
        "nothing was noted yet"
    );
    assert_eq!(attention.next(secs(0), free, DEAD), None);

    attention.holds(agent(), vec![one(11, 2)], Sign::Activity, secs(1));
    let put = attention.next(secs(1), free, DEAD).unwrap();
    assert!(
        attention.agent_reacts(message(11, 2)),
        "while ours is under way"
    );
    attention.ended(put, ActionResult::Done, secs(1));
    attention.holds(agent(), Vec::new(), Sign::Activity, secs(2));
    assert_eq!(attention.next(secs(9), free, DEAD), None);
}

#[test]
fn eyes_of_unknown_fate_may_stand_and_refused_ones_do_not() {
    let mut attention = attention();
    attention.holds(
        agent(),
        vec![one(11, 1), one(12, 2)],
        Sign::Activity,
        secs(0),
    );
    let first = attention.next(secs(0), free, DEAD).unwrap();
    assert!(!attention.ended(first, ActionResult::Unknown, secs(0)));
    let second = attention.next(secs(0), free, DEAD).unwrap();
    assert!(attention.ended(second, ActionResult::Refused, secs(0)));
    assert_eq!(
        attention.receipts(BOT).collect::<Vec<_>>(),
        [message(11, 1)]
    );
    // Taken away three times at most; after that the note is left to the next start.
    attention.holds(agent(), Vec::new(), Sign::Activity, secs(1));
    let mut now = secs(2);
    for _ in 0..3 {
        let take = attention.next(now, free, DEAD).unwrap();
        attention.ended(take, ActionResult::Unknown, now);
        now += PAUSE;
    }
    assert_eq!(
        (attention.next(now, free, DEAD), attention.due(now)),
        (None, None)
    );
    assert_eq!(attention.receipts(BOT).count(), 1);
}

#[test]
fn typing_goes_on_every_four_seconds_until_there_is_no_news_for_ten_minutes() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1)], Sign::Activity, secs(0));
    let mut typed = Vec::new();
    while let Some(due) = attention.due(secs(0)) {
        typed.extend(
            all(&mut attention, due)
                .into_iter()
                .map(|action| (due, action)),
        );
    }
    let typed: Vec<Duration> = typed
        .into_iter()
        .filter(|(_, action)| *action == typing(11))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(typed.len(), 150);
    assert!(typed.is_sorted_by(|a, b| *b == *a + TYPING));
    attention.agent_spoke(&agent(), secs(700));
    assert_eq!(all(&mut attention, secs(700)), [typing(11)]);
    attention.holds(agent(), Vec::new(), Sign::Activity, secs(701));
    all(&mut attention, secs(702));
    assert_eq!(
        attention.due(secs(702)),
        None,
        "nothing is held, nothing is due"
    );
}

#[test]
fn dead_and_silent_agents_do_not_type() {
    let mut attention = attention();
    let silent_for = Duration::from_secs(601);
    let start = Sign::Startup { silent_for };
    attention.holds(agent(), vec![one(11, 1)], start, secs(0));
    assert_eq!(attention.next(secs(0), free, ALIVE), None);
    attention.agent_spoke(&agent(), secs(1));
    assert_eq!(attention.next(secs(1), free, DEAD), None);
    assert_eq!(attention.due(secs(1)), None);
    // A scan that finds no change is no sign of life.
    attention.holds(agent(), vec![one(11, 1)], Sign::Scan, secs(2));
    assert_eq!(attention.due(secs(2)), None);
}

#[test]
fn a_failure_makes_typing_pause_and_a_busy_chat_skips_it() {
    let mut attention = attention();
    attention.holds(agent(), vec![one(11, 1)], Sign::Activity, secs(0));
    all(&mut attention, secs(0));
    let busy = |_: BotId, _: ChatId| Some(Duration::from_millis(250));
    assert_eq!(attention.next(secs(4), busy, ALIVE), None);
    assert_eq!(attention.due(secs(4)), Some(secs(8)));
    let action = attention.next(secs(8), free, ALIVE).unwrap();
    attention.ended(action, ActionResult::Unknown, secs(8));
    assert_eq!(attention.due(secs(8)), Some(secs(68)));
}
