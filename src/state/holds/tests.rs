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

fn shown(update_id: i64, chat: i64) -> RenderedMessage {
    let raw = json!({"update_id": update_id, "message": {"message_id": update_id * 10, "date": 5, "chat": {"id": chat}, "from": {"id": chat}, "text": "x"}});
    let item = Item {
        name: name(update_id),
        address: address(chat),
        update: update::read(&raw.to_string()).ok(),
        context: Vec::new(),
    };
    view::fresh(&[item]).remove(0)
}

/// The server process that shows.
const SERVER: &str = "4711-1700000000000";

/// The results of the server that go out: all of them.
fn all_read() -> BTreeSet<EntryName> {
    (0..100).map(name).collect()
}

/// A result shows messages and goes out.
fn show(conversation: &mut Conversation, shown: &[RenderedMessage], now: Timestamp) {
    let shown: Vec<&RenderedMessage> = shown.iter().collect();
    let before = conversation.entries();
    conversation.hold(&shown, SERVER, &before, now);
    conversation.observe_read(SERVER, &all_read());
}

fn holding(messages: &[(i64, i64)]) -> Conversation {
    let mut conversation = Conversation::new("h", "test", NOW);
    let shown: Vec<RenderedMessage> = messages.iter().map(|&(id, chat)| shown(id, chat)).collect();
    show(&mut conversation, &shown, NOW);
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
    assert_eq!(
        holding(&[]).place(None, &BTreeSet::new()),
        Err(Unplaced::NothingHeld)
    );
    assert_eq!(
        holding(&[(1, 11), (2, 11)]).place(None, &BTreeSet::from([address(11)])),
        Ok(ReplyTarget::Held(address(11)))
    );
}

#[test]
fn with_several_held_it_goes_to_the_one_shown_last_by_reply_or_is_refused_with_the_list() {
    let conversation = holding(&[(1, 11), (2, 12), (3, 11)]);
    let Err(Unplaced::Several(choices)) = conversation.place(None, &conversation.addresses())
    else {
        panic!("placed")
    };
    assert_eq!(
        choices
            .iter()
            .map(|held| held.update_id.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let answering = Some(address(12));
    assert_eq!(
        conversation.place(answering, &conversation.addresses()),
        Ok(ReplyTarget::Held(address(12)))
    );
    assert!(
        conversation
            .place(Some(address(13)), &conversation.addresses())
            .is_err()
    );
}

#[test]
fn a_reply_ends_the_turn_and_leaves_other_conversations_held() {
    let mut conversation = holding(&[(1, 11), (2, 12)]);
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
    assert_eq!(conversation.turn(address(11)), None);
}

#[test]
fn a_result_that_was_lost_ends_no_turn_and_does_not_make_the_same_answer_new() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    let before = (conversation.shown_at, conversation.turns.clone());
    let later = Timestamp(NOW.0 + 9);
    conversation.hold(&[&shown(2, 11)], SERVER, &BTreeSet::new(), later);
    conversation.observe_read(SERVER, &[name(1)].into());
    assert_eq!(before, (conversation.shown_at, conversation.turns.clone()));
    conversation.observe_read(SERVER, &all_read());
    assert_eq!(
        (conversation.shown_at, conversation.turn(address(11))),
        (later, None)
    );
}

#[test]
fn a_message_that_another_server_shows_again_is_as_old_as_its_first_showing() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    assert_eq!(
        conversation.read_entries("another", &all_read()),
        BTreeSet::new()
    );
    conversation.hold(
        &[&shown(1, 11)],
        "another",
        &BTreeSet::new(),
        Timestamp(NOW.0 + 9),
    );
    assert_eq!(conversation.held.len(), 1);
    assert_eq!(
        conversation.read_entries(SERVER, &all_read()),
        BTreeSet::new()
    );
    assert_eq!(
        conversation.read_entries("another", &all_read()),
        [name(1)].into()
    );
    conversation.observe_read("another", &all_read());
    assert_eq!(conversation.shown_at, NOW);
    assert!(conversation.turn(address(11)).is_some());
}

#[test]
fn a_hold_of_an_earlier_version_is_of_no_server_and_keeps_what_its_holder_keeps() {
    let old = json!({"format": 1, "holder": "h", "label": "test", "active_at": NOW, "shown_at": NOW,
        "answering": address(11), "held": [{"update_id": 1, "message_id": 10, "address": address(11),
        "entries": [name(1)], "seen": true, "show": 7}]});
    let mut conversation: Conversation = serde_json::from_value(old).unwrap();
    assert_eq!(
        conversation.read_entries(SERVER, &all_read()),
        BTreeSet::new()
    );
    assert_eq!(conversation.living_entries(|_| false), [name(1)].into());
    conversation.hold(&[&shown(1, 11)], SERVER, &BTreeSet::new(), NOW);
    assert_eq!(conversation.living_entries(|_| false), BTreeSet::new());
    assert_eq!(
        conversation.living_entries(|server| server == SERVER),
        [name(1)].into()
    );
}

#[test]
fn later_progress_belongs_to_the_turn_of_the_first_until_something_new_is_shown() {
    let mut conversation = holding(&[(1, 11)]);
    conversation.progressed(address(11), &id(1));
    conversation.progressed(address(11), &id(2));
    assert_eq!(conversation.turn(address(11)), Some(&id(1)));
    show(&mut conversation, &[shown(1, 11)], Timestamp(NOW.0 + 2));
    assert_eq!(conversation.turn(address(11)), Some(&id(1)));
    show(&mut conversation, &[shown(2, 11)], Timestamp(NOW.0 + 3));
    assert_eq!(conversation.turn(address(11)), None);
}

#[test]
fn an_acknowledgement_that_empties_a_conversation_ends_its_turn() {
    let mut conversation = holding(&[(1, 11), (2, 11)]);
    conversation.progressed(address(11), &id(1));
    conversation.reconcile(&[name(2)].into());
    assert!(conversation.turn(address(11)).is_some());
    conversation.reconcile(&BTreeSet::new());
    assert_eq!(conversation.turn(address(11)), None);
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
    Reply(i64),
    Settle(i64),
    Cancel(i64),
    Progress(i64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0i64..12).prop_map(Action::Show),
        Just(Action::ShowAgain),
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
                    show(&mut conversation, &[shown(id, id % 3)], Timestamp(NOW.0 + step));
                    model.insert(name(id), id % 3);
                }
                Action::ShowAgain => {
                    let before = conversation.clone();
                    let all: Vec<RenderedMessage> = model.iter().map(|(name, chat)| shown(name.update_id.0, *chat)).collect();
                    show(&mut conversation, &all, Timestamp(NOW.0 + step));
                    prop_assert_eq!(&conversation, &before);
                }
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
                Action::Show(_) => {}
            }
            prop_assert_eq!(conversation.entries(), model.keys().copied().collect::<BTreeSet<_>>());
            if let Ok(target) = conversation.place(None, &conversation.addresses()) {
                prop_assert!(model.values().any(|chat| address(*chat) == target.address()));
            }
        }
    }
}

#[test]
fn what_is_held_knows_whether_a_file_was_on_its_way_when_it_was_shown_last() {
    let mut message = shown(1, 11);
    let file = json!({"kind": "photo", "state": "downloading"});
    message.message.attachments = vec![serde_json::from_value(file).unwrap()];
    let mut conversation = Conversation::new("h", "test", NOW);
    show(&mut conversation, &[message.clone()], NOW);
    assert!(conversation.held[0].awaits_files);
    let shown_at = conversation.shown_at;
    message.message.attachments[0].state = FileStanding::Ready;
    show(&mut conversation, &[message], Timestamp(NOW.0 + 9));
    assert!(!conversation.held[0].awaits_files);
    // Nothing new was shown: the same answer again is still a repetition.
    assert_eq!(conversation.shown_at, shown_at);
}

fn awaiting(update_id: i64) -> RenderedMessage {
    let mut message = shown(update_id, 11);
    let file = json!({"kind": "photo", "state": "downloading"});
    message.message.attachments = vec![serde_json::from_value(file).unwrap()];
    message
}

#[test]
fn what_is_settled_before_its_files_came_is_remembered_until_the_agent_was_told() {
    let mut conversation = holding(&[(1, 11)]);
    show(&mut conversation, &[awaiting(2), awaiting(3)], NOW);
    assert_eq!(conversation.awaits_files(), [name(2), name(3)].into());
    // Another agent takes one of them, the other one is settled.
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
    show(&mut conversation, &[album], NOW);
    conversation.reconcile(&[name(2)].into());
    conversation.told_of_files(&[UpdateId(1)].into());
    conversation.reconcile(&BTreeSet::new());
    let late = &conversation.late[0];
    assert_eq!(
        (late.entries.as_slice(), late.told),
        ([name(1), name(2)].as_slice(), false)
    );
    for id in 10..10 + 2 * i64::try_from(LATE_MOST).unwrap() {
        show(&mut conversation, &[awaiting(id)], NOW);
        conversation.reconcile(&BTreeSet::new());
    }
    assert_eq!(conversation.late.len(), LATE_MOST);
}
