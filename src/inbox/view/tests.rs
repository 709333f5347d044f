use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::BotId;
use crate::telegram::update;

fn item(update_id: i64, received: i64, body: &serde_json::Value) -> Item {
    let mut update = json!({"update_id": update_id});
    update
        .as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    let update = update::read(&update.to_string()).unwrap();
    Item {
        name: EntryName {
            received,
            update_id: UpdateId(update_id),
        },
        address: Address {
            bot_id: BotId(7),
            chat_id: ChatId(11),
            topic_id: None,
        },
        update: Some(update),
    }
}

fn text(update_id: i64, date: i64, text: &str) -> Item {
    item(
        update_id,
        1_700_000_000_000 + update_id,
        &json!({"message": {"message_id": update_id * 10, "date": date,
        "chat": {"id": 11, "type": "private"}, "from": {"id": 11, "first_name": "Amuro"}, "text": text}}),
    )
}

fn edit(update_id: i64, message_id: i64, text: &str) -> Item {
    item(
        update_id,
        1_700_000_000_000 + update_id,
        &json!({"edited_message": {"message_id": message_id, "date": 1, "edit_date": 2,
        "chat": {"id": 11, "type": "private"}, "from": {"id": 11, "first_name": "Amuro"}, "text": text}}),
    )
}

fn texts(shown: &[Shown]) -> Vec<&str> {
    shown
        .iter()
        .map(|shown| shown.message.text.as_str())
        .collect()
}

#[test]
fn ordinary_messages_are_shown_one_by_one_at_once() {
    let shown = fresh(&[text(1, 5, "a"), text(2, 5, "b")]);
    assert_eq!(texts(&shown), ["a", "b"]);
    assert!(shown.iter().all(|shown| shown.ready_at.is_none()));
}

#[test]
fn a_paste_that_telegram_cut_is_one_message_a_second_after_its_newest_part() {
    let long = "x".repeat(4096);
    let shown = fresh(&[
        text(1, 5, &long),
        text(2, 5, &long),
        text(3, 6, "end"),
        text(4, 6, "next"),
    ]);
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0].message.text, format!("{long}{long}end"));
    assert_eq!(shown[0].message.update_id, UpdateId(1));
    assert_eq!(shown[0].entries.len(), 3);
    assert_eq!(
        shown[0].ready_at,
        Some(Timestamp(1_700_000_000_003 + JOIN_MS))
    );
    assert_eq!(shown[1].message.text, "next");
}

#[test]
fn what_may_grow_waits_for_a_second_but_never_for_a_clock_that_was_set_back() {
    let shown = &fresh(&[text(1, 5, &"x".repeat(4096))])[0];
    let received = shown.entries[0].received;
    assert_eq!(
        shown.wait(Timestamp(received)),
        Some(Duration::from_secs(1))
    );
    assert_eq!(shown.wait(Timestamp(received + JOIN_MS)), None);
    assert_eq!(shown.wait(Timestamp(received - 3_600_000)), None);
}

#[test]
fn a_long_text_that_comes_later_is_not_joined() {
    let long = "x".repeat(4096);
    assert_eq!(fresh(&[text(1, 5, &long), text(2, 7, "later")]).len(), 2);
}

#[test]
fn an_album_is_one_message_with_all_its_files() {
    let photo = |id: i64, caption: Option<&str>| {
        item(
            id,
            1_700_000_000_000 + id,
            &json!({"message": {"message_id": id, "date": 5, "chat": {"id": 11}, "from": {"id": 11},
            "media_group_id": "g", "photo": [{"file_size": 1}, {"file_size": 9}], "caption": caption}}),
        )
    };
    let shown = fresh(&[photo(1, Some("two pictures")), photo(2, None)]);
    assert_eq!(texts(&shown), ["two pictures"]);
    assert_eq!(shown[0].message.attachments.len(), 2);
    assert_eq!(shown[0].message.attachments[0].size, Some(9));
}

#[test]
fn an_edit_of_what_nobody_has_seen_replaces_the_text() {
    let shown = fresh(&[
        text(1, 5, "old"),
        text(2, 5, "other"),
        edit(3, 10, "new"),
        edit(4, 10, "newest"),
    ]);
    assert_eq!(texts(&shown), ["newest", "other"]);
    assert!(shown[0].message.edited && !shown[1].message.edited);
    assert_eq!(shown[0].entries.len(), 3);
}

#[test]
fn an_edit_of_what_was_shown_is_a_message_of_its_own() {
    let shown = fresh(&[text(2, 5, "other"), edit(3, 10, "new")]);
    assert_eq!(texts(&shown), ["other", "new"]);
    assert!(shown[1].message.edited);
}

#[test]
fn kinds_without_text_have_a_placeholder() {
    let body = |field: &str| json!({"message": {"message_id": 1, "date": 5, "chat": {"id": 11}, "from": {"id": 11}, field: {}}});
    let shown = fresh(&[
        item(1, 1, &body("voice")),
        item(2, 2, &body("new_chat_members")),
        item(3, 3, &body("something_new")),
        item(
            4,
            4,
            &json!({"message_reaction": {"chat": {"id": 11}, "message_id": 8, "user": {"id": 11}, "date": 5,
            "new_reaction": [{"type": "emoji", "emoji": "👍"}]}}),
        ),
        item(
            5,
            5,
            &json!({"callback_query": {"id": "c", "from": {"id": 11}, "message": {"message_id": 8, "chat": {"id": 11}}, "data": "yes"}}),
        ),
    ]);
    assert_eq!(
        texts(&shown),
        [
            "[voice]",
            "[new chat members]",
            "[unknown]",
            "[reacted with 👍 to message 8]",
            "yes"
        ]
    );
}

#[test]
fn quotes_and_forwards_are_shown_as_what_they_are() {
    let shown = fresh(&[item(
        1,
        1,
        &json!({"message": {"message_id": 1, "date": 5, "chat": {"id": 11}, "from": {"id": 11}, "text": "see",
        "reply_to_message": {"message_id": 4, "from": {"id": 9, "first_name": "Char"}, "text": "y".repeat(400)},
        "quote": {"text": "yy"}, "forward_origin": {"type": "user", "sender_user": {"id": 9, "first_name": "Char"}}}}),
    )]);
    let message = &shown[0].message;
    let reply = message.reply_to.as_ref().unwrap();
    assert_eq!(
        (
            reply.from.as_deref(),
            reply.text.chars().count(),
            reply.quote.as_deref()
        ),
        (Some("Char"), 300, Some("yy"))
    );
    let forward = ForwardView {
        kind: "user".to_owned(),
        name: Some("Char".to_owned()),
        id: Some(9),
    };
    assert_eq!(message.forwarded_from, Some(forward));
}

#[test]
fn what_waited_longer_than_a_quarter_of_an_hour_is_marked() {
    let message = fresh(&[text(1, 1_700_000_000, "a")]).remove(0).message;
    assert!(
        !message
            .clone()
            .at(Timestamp(1_700_000_900_000), false)
            .backlog
    );
    let late = message.at(Timestamp(1_700_000_901_000), true);
    assert_eq!(
        (late.backlog, late.age_seconds, late.again),
        (true, 901, true)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_put_together_are_the_text_and_each_fits(text in "(\\PC|[\u{0}-\u{1f}\"\\\\😀]|\n){0,6000}") {
        let pieces = parts(&text);
        prop_assert_eq!(pieces.concat(), text.as_str());
        for piece in pieces {
            prop_assert!(serde_json::to_string(piece).unwrap().len() - 2 <= PART_BYTES);
        }
    }

    #[test]
    fn every_entry_stands_behind_exactly_one_message(
        kinds in proptest::collection::vec((0u8..4, 0i64..4, 0i64..3), 0..12)
    ) {
        let long = "x".repeat(4050);
        let items: Vec<Item> = kinds.iter().zip(1i64..).map(|(&(kind, target, date), id)| match kind {
            0 => text(id, date, "short"),
            1 => text(id, date, &long),
            2 => edit(id, target * 10, "edited"),
            _ => item(id, id, &json!({"message": {"message_id": id * 10, "date": date, "chat": {"id": 11}, "from": {"id": 11},
                "media_group_id": target.to_string(), "photo": [{}]}})),
        }).collect();
        let shown = fresh(&items);
        let behind: Vec<EntryName> = shown.iter().flat_map(|shown| shown.entries.clone()).collect();
        let mut sorted = behind.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let mut all: Vec<EntryName> = items.iter().map(|item| item.name).collect();
        all.sort_unstable();
        prop_assert_eq!(behind.len(), items.len());
        prop_assert_eq!(sorted, all);
    }
}
