use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ids::BotId;
use crate::state::inbox::view::*;
use crate::telegram::update;

fn item(update_id: i64, received: i64, body: &Value) -> Item {
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
        context: Vec::new(),
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

fn texts(shown: &[RenderedMessage]) -> Vec<&str> {
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
fn a_file_is_looked_for_where_any_of_its_updates_brought_it_and_the_newest_first() {
    let document = |id: i64, field: &str, file: &str| {
        let message = json!({"message_id": 1, "date": 5, "chat": {"id": 11}, "from": {"id": 11},
            "document": {"file_id": format!("{file}{id}"), "file_unique_id": file}});
        item(id, 1_700_000_000_000 + id, &json!({field: message}))
    };
    let files = |items: &[Item]| fresh(items).remove(0).files;
    let same = [
        document(1, "message", "a"),
        document(2, "edited_message", "a"),
    ];
    let ids = |updates: &[i64]| updates.iter().copied().map(UpdateId).collect::<Vec<_>>();
    assert_eq!(files(&same)[0].updates, ids(&[2, 1]));
    let other = [
        document(1, "message", "a"),
        document(2, "edited_message", "b"),
    ];
    assert_eq!(files(&other)[0].updates, ids(&[2]));
    assert_eq!(files(&other)[0].content, "b");
}

#[test]
fn a_message_waits_a_second_for_its_files_and_a_text_for_nothing() {
    let now = Timestamp(1_700_000_000_400);
    let file = item(
        1,
        1_700_000_000_000,
        &json!({"message": {"message_id": 1, "date": 5, "chat": {"id": 11}, "from": {"id": 11}, "voice": {"file_id": "v"}}}),
    );
    let mut shown = fresh(&[file]).remove(0);
    assert_eq!(shown.wait(now), None);
    assert_eq!(shown.wait_for_files(now), Some(Duration::from_millis(600)));
    assert_eq!(shown.wait_for_files(now.plus(Duration::from_secs(1))), None);
    shown.message.attachments[0].state = FileStanding::Failed;
    assert_eq!(shown.wait_for_files(now), None);
    assert_eq!(fresh(&[text(2, 5, "x")])[0].wait_for_files(now), None);
}

#[test]
fn only_the_first_part_of_a_long_message_has_the_files_and_the_parts_stay_when_those_arrive() {
    let caption = "long words ".repeat(900);
    let photo = item(
        1,
        1_700_000_000_000,
        &json!({"message": {"message_id": 1, "date": 5, "chat": {"id": 11}, "from": {"id": 11}, "photo": [{"file_id": "p"}], "caption": caption}}),
    );
    let mut message = fresh(&[photo]).remove(0).message;
    let cut = |message: &MessageView| -> Vec<(String, usize)> {
        let parts = (1..=message.part_count()).filter_map(|number| message.part(number));
        parts
            .map(|part| (part.text, part.attachments.len()))
            .collect()
    };
    let before = cut(&message);
    assert_eq!(
        before.iter().map(|part| part.1).collect::<Vec<_>>(),
        [1, 0, 0]
    );
    message.attachments[0].path = Some("p".repeat(300));
    message.attachments[0].state = FileStanding::Ready;
    assert_eq!(cut(&message), before);
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
fn an_edit_of_what_was_shown_long_ago_has_not_waited_since_then() {
    let edited = |edit_date: i64| {
        let message = json!({"message_id": 10, "date": 1_700_000_000, "edit_date": edit_date,
            "chat": {"id": 11, "type": "private"}, "from": {"id": 11}, "text": "now"});
        item(5, 1_700_003_600_000, &json!({"edited_message": message}))
    };
    let now = Timestamp(1_700_003_660_000);
    let alone = fresh(&[edited(1_700_003_600)])
        .remove(0)
        .message
        .at(now, false);
    assert_eq!((alone.age_seconds, alone.backlog), (60, false));
    // Together with its first text it is as old as that; and no edit comes before it was sent.
    let mut first = text(1, 1_700_000_000, "before");
    first.name.received = 1_700_000_000_000;
    let folded = fresh(&[first, edited(1_700_003_600)]).remove(0).message;
    assert!(folded.edited && folded.at(now, false).backlog);
    let odd = fresh(&[edited(-1)]).remove(0).message.at(now, false);
    assert_eq!(odd.age_seconds, 3660);
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
            "[voice message]",
            "[joined the group]",
            "[a kind of message that this version of telepost does not know: something_new: {}]",
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
        "reply_to_message": {"message_id": 4, "chat": {"id": 11}, "from": {"id": 9, "first_name": "Char"}, "text": "y".repeat(400)},
        "quote": {"text": "yy", "is_manual": true}, "forward_origin": {"type": "user", "sender_user": {"id": 9, "first_name": "Char"}}}}),
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
        username: None,
        signature: None,
        message_id: None,
        sent_at: None,
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

fn said(update_id: i64, fields: &Value) -> Item {
    let mut message = json!({"message_id": update_id * 10, "date": 5, "chat": {"id": 11}, "from": {"id": 11, "first_name": "Amuro"}});
    message
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    item(
        update_id,
        1_700_000_000_000 + update_id,
        &json!({"message": message}),
    )
}

#[test]
fn an_album_goes_on_after_one_of_its_captions_was_edited() {
    let photo = |id: i64, caption: &str| {
        said(
            id,
            &json!({"media_group_id": "g", "photo": [{}], "caption": caption}),
        )
    };
    let edited = json!({"edited_message": {"message_id": 10, "date": 5, "chat": {"id": 11}, "from": {"id": 11},
        "media_group_id": "g", "photo": [{}], "caption": "better"}});
    let shown = fresh(&[
        photo(1, "good"),
        item(2, 1_700_000_000_002, &edited),
        photo(3, ""),
        photo(4, "and last"),
    ]);
    assert_eq!(texts(&shown), ["better\nand last"]);
    assert_eq!(shown[0].message.attachments.len(), 3);
    assert!(shown[0].message.edited);
}

#[test]
fn a_part_of_an_album_that_comes_after_the_others_were_shown_is_a_message_of_its_own() {
    let photo = |id: i64| said(id, &json!({"media_group_id": "g", "photo": [{}]}));
    let shown = fresh(&[photo(3)]);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].entries.len(), 1);
}

#[test]
fn albums_and_texts_of_two_chats_that_come_mixed_are_kept_apart() {
    let in_topic = |mut item: Item| {
        item.address.topic_id = Some(TopicId(9));
        item
    };
    let long = "x".repeat(4096);
    let shown = fresh(&[
        text(1, 5, &long),
        in_topic(text(2, 5, &long)),
        text(3, 5, "one"),
        in_topic(text(4, 5, "two")),
    ]);
    assert_eq!(texts(&shown), [format!("{long}one"), format!("{long}two")]);
}

#[test]
fn a_comment_after_a_long_forwarded_text_is_no_part_of_it_but_the_rest_of_it_is() {
    let origin = |date: i64| json!({"type": "user", "date": date, "sender_user": {"id": 9, "first_name": "Char"}});
    let long = "x".repeat(4096);
    let shown = fresh(&[
        said(1, &json!({"text": long, "forward_origin": origin(1)})),
        said(2, &json!({"text": "the rest", "forward_origin": origin(2)})),
        said(3, &json!({"text": "what do you think?"})),
    ]);
    assert_eq!(
        texts(&shown),
        [format!("{long}the rest"), "what do you think?".to_owned()]
    );
    let shown = fresh(&[
        said(1, &json!({"text": long, "forward_origin": origin(1)})),
        said(2, &json!({"text": "what do you think?"})),
    ]);
    assert_eq!(shown.len(), 2);
}

#[test]
fn ephemeral_messages_without_an_id_of_their_own_are_never_mixed() {
    let ephemeral = |id: i64, kind: &str| {
        item(
            id,
            1_700_000_000_000 + id,
            &json!({kind: {"message_id": 0, "date": 5, "chat": {"id": 11}, "from": {"id": 11}, "text": kind}}),
        )
    };
    let shown = fresh(&[ephemeral(1, "message"), ephemeral(2, "edited_message")]);
    assert_eq!(texts(&shown), ["message", "edited_message"]);
}

#[test]
fn a_topic_has_its_name_where_the_message_tells_it() {
    let mut item = said(
        1,
        &json!({"text": "x", "message_thread_id": 9, "is_topic_message": true,
        "reply_to_message": {"message_id": 9, "chat": {"id": 11}, "forum_topic_created": {"name": "Bugs"}}}),
    );
    item.address.topic_id = Some(TopicId(9));
    let message = fresh(&[item]).remove(0).message;
    assert_eq!(message.topic.unwrap().name.as_deref(), Some("Bugs"));
    assert_eq!(message.reply_to, None);
}

#[test]
fn a_reply_to_something_without_text_says_what_that_was() {
    let replies_to = |fields: Value| {
        let reply = fresh(&[said(1, &fields)])
            .remove(0)
            .message
            .reply_to
            .unwrap();
        (
            reply.message_id.map_or(0, |id| id.0),
            reply.from.unwrap_or_default(),
            reply.text,
        )
    };
    let is = |id: i64, from: &str, text: &str| (id, from.to_owned(), text.to_owned());
    assert_eq!(
        replies_to(
            json!({"text": "x", "reply_to_message": {"message_id": 4, "chat": {"id": 11}, "from": {"id": 9, "first_name": "Char"}, "voice": {"duration": 70}}})
        ),
        is(4, "Char", "[voice message: 1:10]")
    );
    assert_eq!(
        replies_to(
            json!({"text": "x", "reply_to_story": {"id": 4, "chat": {"id": 9, "title": "News"}}})
        ),
        is(0, "News", "[story]")
    );
    assert_eq!(
        replies_to(
            json!({"text": "x", "external_reply": {"origin": {"type": "hidden_user", "sender_user_name": "Char"}, "message_id": 4, "dice": {"value": 3}}})
        ),
        is(4, "Char", "[dice: 3]")
    );
    assert_eq!(
        replies_to(json!({"text": "x", "external_reply": {"origin": {"type": "hologram"}}})),
        is(0, "", "[a message from another chat]")
    );
}

#[test]
fn a_pressed_button_says_what_stands_on_it_and_under_which_message_it_is() {
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "opt:1"}, {"text": "No", "callback_data": "opt:2"}]]});
    let shown = fresh(&[item(
        1,
        1,
        &json!({"callback_query": {"id": "c", "from": {"id": 11}, "data": "opt:2",
        "message": {"message_id": 8, "date": 5, "chat": {"id": 11}, "text": "Deploy?", "reply_markup": keyboard}}}),
    )]);
    let message = &shown[0].message;
    assert_eq!(
        (message.kind.as_str(), message.text.as_str()),
        ("choice", "No")
    );
    assert_eq!(message.reply_to.as_ref().unwrap().text, "Deploy?");
}

#[test]
fn a_reaction_tells_what_it_was_before() {
    let reaction = |old: Value, new: Value| {
        let body = json!({"message_reaction": {"chat": {"id": 11}, "message_id": 8, "user": {"id": 11}, "date": 5,
            "old_reaction": old, "new_reaction": new}});
        fresh(&[item(1, 1, &body)]).remove(0).message.text
    };
    let emoji = |emoji: &str| json!([{"type": "emoji", "emoji": emoji}]);
    assert_eq!(
        reaction(json!([]), emoji("👍")),
        "[reacted with 👍 to message 8]"
    );
    assert_eq!(
        reaction(emoji("👍"), emoji("👎")),
        "[reacted with 👎 instead of 👍 to message 8]"
    );
    assert_eq!(
        reaction(emoji("👍"), json!([])),
        "[removed the reaction 👍 from message 8]"
    );
    assert_eq!(
        reaction(
            json!([]),
            json!([{"type": "custom_emoji", "custom_emoji_id": "5"}, {"type": "paid"}])
        ),
        "[reacted with (custom) ⭐ (paid) to message 8]"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_put_together_are_the_text_and_each_fits(text in "(\\PC|[\u{0}-\u{1f}\"\\\\😀]|\n){0,6000}") {
        let pieces = parts(&text, PART_BYTES);
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
