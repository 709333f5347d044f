use super::*;
use crate::ids::{ChatId, UserId};
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;

const BOT: BotId = BotId(7);

fn routes() -> Routes {
    let mut routes = Routes::default();
    routes.add(&session(), &[ChatId(11)], &[UserId(11)]);
    routes
}

fn session() -> SessionId {
    SessionId::new("ONE").unwrap()
}

fn open(state: &StateDir) -> BatchWriter {
    let clock = Clock::system();
    let migrations = Migrations::load(state, BOT, &clock).unwrap();
    let migrations = Arc::new(Mutex::new(migrations));
    BatchWriter::open(state, BOT, routes(), migrations, Arc::default(), clock).unwrap()
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn message(id: i64, from: i64) -> Box<RawValue> {
    raw(&format!(
        r#"{{"update_id":{id},"message":{{"message_id":{id},"date":5,"chat":{{"id":{from}}},"from":{{"id":{from}}},"text":"t{id}"}}}}"#
    ))
}

fn pending(state: &StateDir) -> Vec<i64> {
    let inbox = Inbox::new(&state.session(&session()));
    inbox
        .pending()
        .unwrap()
        .iter()
        .map(|name| name.update_id.0)
        .collect()
}

#[test]
fn a_batch_that_comes_again_is_a_no_op_also_for_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let batch = [message(5, 11), message(6, 11)];
    let mut writer = open(&state);
    assert_eq!(
        writer.store(&batch).unwrap().entries,
        BTreeMap::from([(session(), 2)])
    );
    assert_eq!(writer.store(&batch).unwrap().known, 2);
    assert_eq!(open(&state).store(&batch).unwrap().known, 2);
    assert_eq!(pending(&state), [5, 6]);
}

#[test]
fn a_settled_update_that_comes_again_stays_settled() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    open(&state).store(&[message(5, 11)]).unwrap();
    let inbox = Inbox::new(&state.session(&session()));
    inbox
        .settle(&inbox.pending().unwrap().into_iter().collect::<Vec<_>>())
        .unwrap();
    assert_eq!(open(&state).store(&[message(5, 11)]).unwrap().known, 1);
    assert_eq!(pending(&state), [] as [i64; 0]);
}

#[test]
fn ids_that_start_again_at_a_lower_number_are_new_updates() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let mut writer = open(&state);
    writer.store(&[message(900_000, 11)]).unwrap();
    assert_eq!(
        writer.store(&[message(3, 11)]).unwrap().last_id,
        Some(UpdateId(3))
    );
    assert_eq!(pending(&state), [900_000, 3]);
}

#[test]
fn the_order_of_a_batch_is_the_order_of_the_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let batch: Vec<_> = [9, 3, 7, 1].map(|id| message(id, 11)).into();
    open(&state).store(&batch).unwrap();
    assert_eq!(pending(&state), [9, 3, 7, 1]);
}

#[test]
fn poison_among_good_updates_costs_nothing_but_itself() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let mut writer = open(&state);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let batch = [
        raw("null"),
        message(5, 11),
        raw(r#"{"update_id":-4,"message":{}}"#),
        raw(r#"{"update_id":6,"message":{"text":"no chat"}}"#),
        raw(&deep),
        message(7, 11),
    ];
    let taken = writer.store(&batch).unwrap();
    assert_eq!((taken.dead, taken.last_id), (4, Some(UpdateId(7))));
    assert_eq!(pending(&state), [5, 7]);
    writer.store(&batch).unwrap();
    assert_eq!(dead_letters::count(&state).unwrap(), 4);
}

#[test]
fn a_letter_that_cannot_be_kept_holds_up_none_of_the_good_ones_and_is_not_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let mut writer = open(&state);
    let dead = state.root().join(format!("bots/{BOT}/dead"));
    atomic::create_folder(dead.parent().unwrap()).unwrap();
    atomic::replace_file(&dead, b"in its place", Step::DeadLetter, Durability::Synced).unwrap();
    let batch = [raw("null"), message(5, 11)];
    writer.store(&batch).unwrap_err();
    assert_eq!(pending(&state), [5]);
    std::fs::remove_file(&dead).unwrap();
    let taken = writer.store(&batch).unwrap();
    assert_eq!((taken.dead, taken.known), (1, 1));
    assert_eq!(dead_letters::count(&state).unwrap(), 1);
}

#[test]
fn strangers_leave_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::new(folder.path().to_owned());
    let taken = open(&state)
        .store(&[message(5, 99), message(6, 99)])
        .unwrap();
    assert_eq!((taken.refused, taken.last_id), (2, Some(UpdateId(6))));
    assert_eq!(pending(&state), [] as [i64; 0]);
}
