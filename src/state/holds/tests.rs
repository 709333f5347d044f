use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::ids::{BotId, ChatId};
use crate::state::holds::*;
use crate::state::inbox::view::{self, FileStanding, Item};
use crate::telegram::update;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn address(chat: i64) -> Address {
    Address {
        bot_id: BotId(7),
        chat_id: ChatId(chat),
        topic_id: None,
    }
}

fn name(update_id: i64) -> EntryName {
    EntryName {
        received: NOW.0 + update_id,
        update_id: UpdateId(update_id),
    }
}

fn shown(update_id: i64, chat: i64) -> Shown {
    let raw = json!({"update_id": update_id, "message": {"message_id": update_id * 10, "date": 5, "chat": {"id": chat}, "from": {"id": chat}, "text": "x"}});
    let item = Item {
        name: name(update_id),
        address: address(chat),
        update: update::read(&raw.to_string()).ok(),
    };
    view::fresh(&[item]).remove(0)
}

const SHOW: ShowId = ShowId(7);

fn go_out(conversation: &mut Conversation) {
    conversation.went_out(&[SHOW].into());
}

fn holding(messages: &[(i64, i64)]) -> Conversation {
    let mut conversation = Conversation::new("h", "test", NOW);
    let shown: Vec<Shown> = messages.iter().map(|&(id, chat)| shown(id, chat)).collect();
    conversation.hold(&shown.iter().collect::<Vec<_>>(), SHOW, NOW);
    go_out(&mut conversation);
    conversation
}

fn id(n: i64) -> DeliveryId {
    DeliveryId {
        accepted: NOW.0 + n,
        key: format!("{n:032x}"),
    }
}

#[test]
fn a_reply_that_names_nothing_goes_to_the_only_conversation_held() {
    assert_eq!(holding(&[]).place(), Err(Unplaced::NothingHeld));
    assert_eq!(
        holding(&[(1, 11), (2, 11)]).place(),
        Ok(Target::Held(address(11)))
    );
}

#[test]
fn with_several_held_it_goes_to_the_one_shown_last_by_reply_or_is_refused_with_the_list() {
    let mut conversation = holding(&[(1, 11), (2, 12), (3, 11)]);
    let Err(Unplaced::Several(choices)) = conversation.place() else {
        panic!("placed")
    };
    assert_eq!(
        choices
            .iter()
            .map(|held| held.update_id.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    conversation.answering = Some(address(12));
    assert_eq!(conversation.place(), Ok(Target::Held(address(12))));
}

#[test]
fn a_showing_that_nobody_saw_leaves_no_trace() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    conversation.answering = Some(address(11));
    let (as_it_was, before) = (conversation.clone(), conversation.mark());
    conversation.hold(&[&shown(2, 11), &shown(3, 12)], SHOW, Timestamp(NOW.0 + 9));
    conversation.answering = Some(address(12));
    let after = conversation.mark();
    conversation.unshow(&BTreeSet::from([name(2), name(3)]), &before, &after);
    assert_eq!(conversation, as_it_was);
}

#[test]
fn a_showing_that_was_answered_was_seen_and_its_turn_stays_over() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    let before = conversation.mark();
    conversation.hold(&[&shown(2, 11)], SHOW, Timestamp(NOW.0 + 9));
    let after = conversation.mark();
    conversation.replied(address(11));
    conversation.unshow(&BTreeSet::from([name(2)]), &before, &after);
    assert_eq!(conversation.turn(address(11)), None);
}

#[test]
fn a_reply_ends_the_turn_and_leaves_other_conversations_held() {
    let mut conversation = holding(&[(1, 11), (2, 12)]);
    conversation.answering = Some(address(11));
    conversation.progressed(address(11), &id(1));
    conversation.replied(address(11));
    assert_eq!(
        conversation
            .held
            .iter()
            .map(|held| held.update_id.0)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(
        (conversation.answering, conversation.turn(address(11))),
        (None, None)
    );
}

#[test]
fn later_progress_belongs_to_the_turn_of_the_first_until_something_new_is_shown() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    conversation.progressed(address(11), &id(2));
    assert_eq!(conversation.turn(address(11)), Some(&id(1)));
    let again = shown(1, 11);
    conversation.hold(&[&again], SHOW, NOW);
    assert_eq!(conversation.turn(address(11)), Some(&id(1)));
    let new = shown(2, 11);
    conversation.hold(&[&new], SHOW, NOW);
    assert_eq!(conversation.turn(address(11)), None);
}

#[test]
fn an_acknowledgement_that_empties_a_conversation_ends_its_turn() {
    let mut conversation = holding(&[(1, 11), (2, 11)]);
    conversation.progressed(address(11), &id(1));
    conversation.answering = Some(address(11));
    conversation.reconcile(&[name(2)].into());
    assert!(conversation.turn(address(11)).is_some());
    conversation.reconcile(&BTreeSet::new());
    assert_eq!(
        (conversation.turn(address(11)), conversation.answering),
        (None, None)
    );
    assert!(conversation.is_idle());
}

#[test]
fn silence_counts_from_the_last_call() {
    let conversation = Conversation::new("h", "test", NOW);
    assert!(!conversation.is_silent(Timestamp(NOW.0 + 1_799_999)));
    assert!(conversation.is_silent(Timestamp(NOW.0 + 1_800_000)));
}

#[derive(Clone, Debug)]
enum Action {
    Show(i64),
    ShowAgain,
    Answering(i64),
    Reply(i64),
    Settle(i64),
    Cancel(i64),
    Progress(i64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0i64..12).prop_map(Action::Show),
        Just(Action::ShowAgain),
        (0i64..3).prop_map(Action::Answering),
        (0i64..3).prop_map(Action::Reply),
        (0i64..12).prop_map(Action::Settle),
        (0i64..12).prop_map(Action::Cancel),
        (0i64..3).prop_map(Action::Progress),
    ]
}

proptest! {
    /// The naive model: a map from entry to chat, and nothing else.
    #[test]
    fn it_holds_exactly_what_was_shown_and_neither_settled_nor_cancelled(actions in proptest::collection::vec(action(), 0..40)) {
        let mut conversation = Conversation::new("h", "test", NOW);
        let mut model: BTreeMap<EntryName, i64> = BTreeMap::new();
        let mut pending: BTreeSet<EntryName> = (0..12).map(name).collect();
        for (step, action) in (0i64..).zip(actions) {
            match action {
                Action::Show(id) if pending.contains(&name(id)) => {
                    conversation.hold(&[&shown(id, id % 3)], SHOW, Timestamp(NOW.0 + step));
                    go_out(&mut conversation);
                    model.insert(name(id), id % 3);
                }
                Action::ShowAgain => {
                    let before = conversation.clone();
                    let all: Vec<Shown> = model.iter().map(|(name, chat)| shown(name.update_id.0, *chat)).collect();
                    conversation.hold(&all.iter().collect::<Vec<_>>(), SHOW, Timestamp(NOW.0 + step));
                    prop_assert_eq!(&conversation, &before);
                }
                Action::Answering(chat) if model.values().any(|held| *held == chat) => conversation.answering = Some(address(chat)),
                Action::Reply(chat) => {
                    conversation.replied(address(chat));
                    pending.retain(|name| model.get(name) != Some(&chat));
                    model.retain(|_, held| *held != chat);
                }
                Action::Settle(id) => {
                    pending.remove(&name(id));
                    model.remove(&name(id));
                    conversation.reconcile(&pending);
                }
                Action::Cancel(id) => {
                    conversation.let_go(&[name(id)].into());
                    model.remove(&name(id));
                }
                Action::Progress(chat) => conversation.progressed(address(chat), &id(step)),
                Action::Show(_) | Action::Answering(_) => {}
            }
            prop_assert_eq!(conversation.entries(), model.keys().copied().collect::<BTreeSet<_>>());
            if let Ok(target) = conversation.place() {
                prop_assert!(model.values().any(|chat| address(*chat) == target.address()));
            }
            if let Some(answering) = conversation.answering {
                prop_assert!(model.values().any(|chat| address(*chat) == answering));
            }
        }
    }
}

#[test]
fn what_was_shown_in_a_result_that_may_be_lost_is_held_but_not_seen() {
    let mut conversation = Conversation::new("h", "test", NOW);
    let first = shown(1, 11);
    conversation.hold(&[&first], SHOW, NOW);
    assert_eq!(
        (conversation.entries(), conversation.seen()),
        ([name(1)].into(), BTreeSet::new())
    );
    // Shown once more, and this time it went out: that the first one does says nothing any more.
    let second = ShowId(8);
    conversation.hold(&[&first], second, NOW);
    assert_eq!(conversation.held.len(), 1);
    assert_eq!(conversation.shows().collect::<Vec<_>>(), [second]);
    go_out(&mut conversation);
    assert_eq!(conversation.seen(), BTreeSet::new());
    conversation.went_out(&[second].into());
    assert_eq!(conversation.seen(), [name(1)].into());
    assert_eq!(conversation.shows().count(), 0);
}

#[test]
fn what_is_held_knows_whether_a_file_was_on_its_way_when_it_was_shown_last() {
    let mut message = shown(1, 11);
    let file = json!({"kind": "photo", "state": "downloading"});
    message.message.attachments = vec![serde_json::from_value(file).unwrap()];
    let mut conversation = Conversation::new("h", "test", NOW);
    conversation.hold(&[&message], SHOW, NOW);
    go_out(&mut conversation);
    assert!(conversation.held[0].awaits_files);
    let shown_at = conversation.shown_at;
    message.message.attachments[0].state = FileStanding::Ready;
    conversation.hold(&[&message], SHOW, Timestamp(NOW.0 + 9));
    assert!(!conversation.held[0].awaits_files && conversation.held[0].seen);
    // Nothing new was shown: the same answer again is still a repetition.
    assert_eq!(conversation.shown_at, shown_at);
}

fn awaiting(update_id: i64) -> Shown {
    let mut message = shown(update_id, 11);
    let file = json!({"kind": "photo", "state": "downloading"});
    message.message.attachments = vec![serde_json::from_value(file).unwrap()];
    message
}

#[test]
fn what_is_settled_before_its_files_came_is_remembered_until_the_agent_was_told() {
    let mut conversation = holding(&[(1, 11)]);
    let messages = [awaiting(2), awaiting(3)];
    conversation.hold(&messages.iter().collect::<Vec<_>>(), SHOW, NOW);
    go_out(&mut conversation);
    conversation.hold(&[&awaiting(4)], SHOW, NOW);
    assert_eq!(conversation.awaits_files(), [name(2), name(3)].into());
    // Somebody else takes one of them, the others are settled; nobody has surely seen the last one.
    conversation.let_go(&[name(3)].into());
    conversation.reconcile(&BTreeSet::new());
    conversation.reconcile(&BTreeSet::new());
    let late = Late {
        update_id: UpdateId(2),
        entries: vec![name(2)],
        told: false,
    };
    assert_eq!(conversation.late, [late]);
    assert!(conversation.is_idle());
    assert_eq!(conversation.awaits_files(), [name(2)].into());
    conversation.told_of_files(&[UpdateId(2)].into());
    assert_eq!(conversation.awaits_files(), BTreeSet::new());
    assert!(conversation.find_late(UpdateId(2)).is_some());
}

#[test]
fn the_parts_of_an_album_are_remembered_as_one_however_they_are_settled() {
    let mut conversation = Conversation::new("h", "test", NOW);
    let mut album = awaiting(1);
    album.entries = vec![name(1), name(2)];
    conversation.hold(&[&album], SHOW, NOW);
    go_out(&mut conversation);
    conversation.reconcile(&[name(2)].into());
    conversation.told_of_files(&[UpdateId(1)].into());
    conversation.reconcile(&BTreeSet::new());
    let late = &conversation.late[0];
    assert_eq!(
        (late.entries.as_slice(), late.told),
        ([name(1), name(2)].as_slice(), false)
    );
    for id in 10..10 + 2 * i64::try_from(LATE_MOST).unwrap() {
        conversation.hold(&[&awaiting(id)], SHOW, NOW);
        go_out(&mut conversation);
        conversation.reconcile(&BTreeSet::new());
    }
    assert_eq!(conversation.late.len(), LATE_MOST);
}
