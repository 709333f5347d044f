use crate::ids::{BotId, ChatId, TopicId, UpdateId};
use crate::waker::absence::policy::*;

const FORMAT: u32 = 1;
const HERE: Presence = Presence::Here;
const GONE: Presence = Presence::Gone(Absence::NoSession);

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_000_000 + seconds * 1000)
}

fn address(chat: i64, topic: Option<i64>) -> Address {
    Address {
        bot_id: BotId(7),
        chat_id: ChatId(chat),
        topic_id: topic.map(TopicId),
    }
}

fn wrote(id: i64, chat: i64, topic: Option<i64>) -> Wrote {
    Wrote {
        name: EntryName {
            received: 1_700_000_000_000 + id,
            update_id: UpdateId(id),
        },
        address: Some(address(chat, topic)),
        message_id: Some(MessageId(id)),
    }
}

/// A house that is looked at, and what people were told: the chat and the word.
#[derive(Default)]
struct House {
    note: Option<Downtime>,
    waiting: bool,
    told: Vec<(i64, Word)>,
    again: Option<Duration>,
}

impl House {
    fn with_a_message() -> Self {
        Self {
            waiting: true,
            ..Self::default()
        }
    }

    fn look(&mut self, presence: Presence, new: &[Wrote], now: Timestamp) -> &mut Self {
        let seen = Seen {
            presence,
            waiting: self.waiting,
            wrote: new,
        };
        let (effects, again) = next(self.note.as_ref(), &seen, FORMAT, now);
        self.again = again;
        for effect in effects {
            match effect {
                Effect::Save(note) => self.note = Some(note),
                Effect::Tell { chat, word, .. } => {
                    assert!(self.note.is_some(), "told before it was noted");
                    self.told.push((chat.address.chat_id.0, word));
                }
                Effect::Forget => self.note = None,
            }
        }
        self
    }

    /// Down since 0, told at 10.
    fn down() -> Self {
        let mut house = Self::with_a_message();
        house.look(GONE, &[wrote(1, 11, None)], at(0));
        house.look(GONE, &[], at(10));
        assert_eq!(house.told, [(11, Word::Down)]);
        house
    }
}

#[test]
fn nothing_is_looked_for_while_nothing_waits() {
    let mut house = House::default();
    house.look(GONE, &[], at(0));
    assert_eq!((house.note, house.again), (None, None));
}

#[test]
fn a_restart_within_the_grace_is_told_nobody() {
    let mut house = House::with_a_message();
    house.look(GONE, &[wrote(1, 11, None)], at(0));
    assert_eq!(house.again, Some(Duration::from_secs(5)));
    house.look(GONE, &[], at(9));
    assert_eq!(house.again, Some(Duration::from_secs(1)));
    house.look(HERE, &[], at(10));
    assert_eq!((house.note, house.told), (None, vec![]));
}

#[test]
fn a_downtime_is_told_once_in_each_chat_that_wrote_and_so_is_its_end() {
    let mut house = House::down();
    house.look(GONE, &[wrote(2, 11, None), wrote(3, 12, Some(5))], at(15));
    house.look(GONE, &[wrote(4, 12, Some(6)), wrote(5, 11, None)], at(20));
    assert_eq!(house.told, [(11, Word::Down), (12, Word::Down)]);
    house.told.clear();
    house.look(HERE, &[], at(300));
    assert_eq!(house.again, Some(BACK));
    assert_eq!(house.told, []);
    house.look(HERE, &[], at(305));
    assert_eq!(house.told, [(11, Word::Back), (12, Word::Back)]);
    assert_eq!(house.note, None);
}

#[test]
fn who_wrote_when_an_agent_was_there_again_is_told_nothing() {
    let mut house = House::down();
    house.look(HERE, &[], at(300));
    house.look(HERE, &[wrote(2, 12, None)], at(302));
    house.look(HERE, &[], at(305));
    assert_eq!(house.told, [(11, Word::Down), (11, Word::Back)]);
}

#[test]
fn one_that_comes_and_goes_is_the_same_downtime() {
    let mut house = House::down();
    for second in [20, 30, 40] {
        house.look(HERE, &[], at(second));
        house.look(GONE, &[], at(second + 4));
    }
    assert_eq!(house.told, [(11, Word::Down)]);
    assert_eq!(house.note.unwrap().since, at(0));
}

#[test]
fn where_nobody_knows_nobody_is_told() {
    let mut house = House::with_a_message();
    house.look(Presence::Unknown, &[], at(0));
    assert_eq!(
        (house.note.as_ref(), house.again),
        (None, Some(LOOK_SELDOM))
    );
    house.look(GONE, &[], at(15));
    house.look(Presence::Unknown, &[], at(30));
    house.look(GONE, &[], at(45));
    assert_eq!(house.told, []);
    let mut house = House::down();
    house.look(Presence::Unknown, &[], at(60));
    house.look(HERE, &[], at(70));
    house.look(Presence::Unknown, &[], at(75));
    assert_eq!(house.note.unwrap().phase, Phase::Down);
    assert_eq!(house.told, [(11, Word::Down)]);
}

#[test]
fn it_is_looked_for_seldom_after_a_while_and_not_at_all_when_nothing_waits() {
    let mut house = House::down();
    assert_eq!(house.again, Some(LOOK_AGAIN));
    house.look(GONE, &[], at(121));
    assert_eq!(house.again, Some(LOOK_SELDOM));
    house.waiting = false;
    house.look(GONE, &[], at(140));
    assert_eq!(house.again, None);
    assert!(house.note.is_some());
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_from_being_told() {
    let mut house = House::with_a_message();
    house.look(GONE, &[wrote(1, 11, None)], at(0));
    house.look(GONE, &[], at(-3600));
    assert_eq!(house.told, [(11, Word::Down)]);
}

#[test]
fn a_reaction_is_nobody_who_waits() {
    let mut house = House::with_a_message();
    let reaction = Wrote {
        address: None,
        ..wrote(1, 11, None)
    };
    house.look(GONE, &[reaction], at(0));
    house.look(GONE, &[], at(10));
    assert_eq!(house.told, []);
    assert_eq!(house.note.unwrap().known_to, Some(reaction.name));
}

/// Whoever dies between two effects is followed by one that finds what is on disk.
#[test]
fn a_kill_between_any_two_effects_leaves_nobody_untold() {
    let mut before = House::with_a_message();
    before.look(GONE, &[wrote(1, 11, None)], at(0));
    let seen = |presence| Seen {
        presence,
        waiting: true,
        wrote: &[],
    };
    let mut now = at(10);
    for (presence, word) in [(GONE, Word::Down), (HERE, Word::Back)] {
        if word == Word::Back {
            before.look(HERE, &[], at(20));
            now = at(25);
        }
        let (effects, _) = next(before.note.as_ref(), &seen(presence), FORMAT, now);
        for count in 0..effects.len() {
            let mut house = House {
                note: before.note.clone(),
                waiting: true,
                ..House::default()
            };
            for effect in effects.iter().take(count) {
                match effect {
                    Effect::Save(note) => house.note = Some(note.clone()),
                    Effect::Tell { .. } => house.told.push((11, word)),
                    Effect::Forget => house.note = None,
                }
            }
            let done = house.note.as_ref().map(|note| (note.since, note.phase));
            house.look(presence, &[], now.plus(Duration::from_secs(1)));
            // What is told twice has the same key, since it is the same downtime.
            assert!(house.told.contains(&(11, word)), "{count}: {done:?}");
            assert!(house.note.is_none_or(|note| note.since == at(0)));
        }
        before.look(presence, &[], now);
    }
}
