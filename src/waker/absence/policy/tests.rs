use crate::ids::{BotId, ChatId, TopicId, UpdateId};
use crate::waker::absence::policy::*;

const HERE: AgentPresence = AgentPresence::Present;
const GONE: AgentPresence = AgentPresence::Absent(Missing::TmuxSession);

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

fn wrote(id: i64, chat: i64, topic: Option<i64>) -> WaitingMessage {
    WaitingMessage {
        name: EntryName {
            received: 1_700_000_000_000 + id,
            update_id: UpdateId(id),
        },
        address: Some(address(chat, topic)),
        message_id: Some(MessageId(id)),
    }
}

/// A session under observation, and the notices that chats were given.
#[derive(Default)]
struct WatchedSession {
    note: Option<Absence>,
    waiting: bool,
    told: Vec<(i64, AbsenceNotice)>,
    again: Option<Duration>,
}

impl WatchedSession {
    fn with_a_message() -> Self {
        Self {
            waiting: true,
            ..Self::default()
        }
    }

    fn check(
        &mut self,
        presence: AgentPresence,
        new: &[WaitingMessage],
        now: Timestamp,
    ) -> &mut Self {
        let seen = AbsenceInput {
            presence,
            waiting: self.waiting,
            new,
        };
        let (effects, again) = decide_absence(self.note.as_ref(), &seen, now);
        self.again = again;
        for effect in effects {
            match effect {
                AbsenceEffect::Save(note) => self.note = Some(note),
                AbsenceEffect::Notify { chat, notice, .. } => {
                    assert!(self.note.is_some(), "told before it was noted");
                    self.told.push((chat.address.chat_id.0, notice));
                }
                AbsenceEffect::Remove => self.note = None,
            }
        }
        self
    }

    /// Down since 0, told at 10.
    fn down() -> Self {
        let mut session = Self::with_a_message();
        session.check(GONE, &[wrote(1, 11, None)], at(0));
        session.check(GONE, &[], at(10));
        assert_eq!(session.told, [(11, AbsenceNotice::Down)]);
        session
    }
}

#[test]
fn nothing_is_checked_while_nothing_waits() {
    let mut session = WatchedSession::default();
    session.check(GONE, &[], at(0));
    assert_eq!((session.note, session.again), (None, None));
}

#[test]
fn a_restart_within_the_grace_is_told_to_no_chat() {
    let mut session = WatchedSession::with_a_message();
    session.check(GONE, &[wrote(1, 11, None)], at(0));
    assert_eq!(session.again, Some(Duration::from_secs(5)));
    session.check(GONE, &[], at(9));
    assert_eq!(session.again, Some(Duration::from_secs(1)));
    session.check(HERE, &[], at(10));
    assert_eq!((session.note, session.told), (None, vec![]));
}

#[test]
fn an_absence_is_told_once_in_each_chat_that_wrote_and_so_is_its_end() {
    let mut session = WatchedSession::down();
    session.check(GONE, &[wrote(2, 11, None), wrote(3, 12, Some(5))], at(15));
    session.check(GONE, &[wrote(4, 12, Some(6)), wrote(5, 11, None)], at(20));
    assert_eq!(
        session.told,
        [(11, AbsenceNotice::Down), (12, AbsenceNotice::Down)]
    );
    session.told.clear();
    session.check(HERE, &[], at(300));
    assert_eq!(session.again, Some(BACK));
    assert_eq!(session.told, []);
    session.check(HERE, &[], at(305));
    assert_eq!(
        session.told,
        [(11, AbsenceNotice::Back), (12, AbsenceNotice::Back)]
    );
    assert_eq!(session.note, None);
}

#[test]
fn a_chat_that_wrote_when_an_agent_was_back_is_told_nothing() {
    let mut session = WatchedSession::down();
    session.check(HERE, &[], at(300));
    session.check(HERE, &[wrote(2, 12, None)], at(302));
    session.check(HERE, &[], at(305));
    assert_eq!(
        session.told,
        [(11, AbsenceNotice::Down), (11, AbsenceNotice::Back)]
    );
}

#[test]
fn an_agent_that_comes_and_goes_is_the_same_absence() {
    let mut session = WatchedSession::down();
    for second in [20, 30, 40] {
        session.check(HERE, &[], at(second));
        session.check(GONE, &[], at(second + 4));
    }
    assert_eq!(session.told, [(11, AbsenceNotice::Down)]);
    assert_eq!(session.note.unwrap().since, at(0));
}

#[test]
fn while_the_presence_is_unknown_no_chat_is_told() {
    let mut session = WatchedSession::with_a_message();
    session.check(AgentPresence::Unknown, &[], at(0));
    assert_eq!(
        (session.note.as_ref(), session.again),
        (None, Some(CHECK_SELDOM))
    );
    session.check(GONE, &[], at(15));
    session.check(AgentPresence::Unknown, &[], at(30));
    session.check(GONE, &[], at(45));
    assert_eq!(session.told, []);
    let mut session = WatchedSession::down();
    session.check(AgentPresence::Unknown, &[], at(60));
    session.check(HERE, &[], at(70));
    session.check(AgentPresence::Unknown, &[], at(75));
    assert_eq!(session.note.unwrap().phase, AbsencePhase::Down);
    assert_eq!(session.told, [(11, AbsenceNotice::Down)]);
}

#[test]
fn checks_become_rare_after_a_while_and_stop_when_nothing_waits() {
    let mut session = WatchedSession::down();
    assert_eq!(session.again, Some(CHECK_OFTEN));
    session.check(GONE, &[], at(121));
    assert_eq!(session.again, Some(CHECK_SELDOM));
    session.waiting = false;
    session.check(GONE, &[], at(140));
    assert_eq!(session.again, None);
    assert!(session.note.is_some());
}

#[test]
fn a_clock_that_was_set_back_keeps_no_chat_from_being_told() {
    let mut session = WatchedSession::with_a_message();
    session.check(GONE, &[wrote(1, 11, None)], at(0));
    session.check(GONE, &[], at(-3600));
    assert_eq!(session.told, [(11, AbsenceNotice::Down)]);
}

#[test]
fn a_reaction_waits_for_no_answer() {
    let mut session = WatchedSession::with_a_message();
    let reaction = WaitingMessage {
        address: None,
        ..wrote(1, 11, None)
    };
    session.check(GONE, &[reaction], at(0));
    session.check(GONE, &[], at(10));
    assert_eq!(session.told, []);
    assert_eq!(session.note.unwrap().known_to, Some(reaction.name));
}

/// A gateway that dies between two effects is followed by one that finds the note on disk.
#[test]
fn a_kill_between_any_two_effects_leaves_no_chat_untold() {
    let mut before = WatchedSession::with_a_message();
    before.check(GONE, &[wrote(1, 11, None)], at(0));
    let seen = |presence| AbsenceInput {
        presence,
        waiting: true,
        new: &[],
    };
    let mut now = at(10);
    for (presence, word) in [(GONE, AbsenceNotice::Down), (HERE, AbsenceNotice::Back)] {
        if word == AbsenceNotice::Back {
            before.check(HERE, &[], at(20));
            now = at(25);
        }
        let (effects, _) = decide_absence(before.note.as_ref(), &seen(presence), now);
        for count in 0..effects.len() {
            let mut session = WatchedSession {
                note: before.note.clone(),
                waiting: true,
                ..WatchedSession::default()
            };
            for effect in effects.iter().take(count) {
                match effect {
                    AbsenceEffect::Save(note) => session.note = Some(note.clone()),
                    AbsenceEffect::Notify { .. } => session.told.push((11, word)),
                    AbsenceEffect::Remove => session.note = None,
                }
            }
            let done = session.note.as_ref().map(|note| (note.since, note.phase));
            session.check(presence, &[], now.plus(Duration::from_secs(1)));
            // A notice that is given twice has the same key, since the absence is the same.
            assert!(session.told.contains(&(11, word)), "{count}: {done:?}");
            assert!(session.note.is_none_or(|note| note.since == at(0)));
        }
        before.check(presence, &[], now);
    }
}
