use serde_json::json;

use super::*;
use crate::ids::{TopicId, UserId};

fn message(json: &str) -> Message {
    let body = read(json).unwrap().body;
    let Body::Message { message, .. } = body else {
        panic!("{body:?}")
    };
    *message
}

#[test]
fn a_text_with_an_unknown_entity_keeps_its_text() {
    let message = message(
        r#"{"update_id":5,"message":{"message_id":1,"date":2,"chat":{"id":3,"type":"private"},
           "text":"at noon","entities":[{"type":"date_time","offset":0,"length":2,"unix":1}]}}"#,
    );
    assert_eq!(message.text.as_deref(), Some("at noon"));
    assert_eq!(message.kind(), "text");
}

#[test]
fn an_optional_field_of_the_wrong_type_does_not_cost_the_message() {
    let message = message(
        r#"{"update_id":5,"message":{"message_id":1,"chat":{"id":3,"type":7},"from":"nobody","text":"hi",
           "date":"today","reply_to_message":[1],"media_group_id":9,"entities":{"a":1},"forward_origin":3}}"#,
    );
    assert_eq!(message.text.as_deref(), Some("hi"));
    assert_eq!(message.content(), "hi");
    assert_eq!(message.from, None);
}

#[test]
fn updates_without_a_usable_id_are_told_apart_from_those_with_a_bad_body() {
    for raw in [
        "null",
        "[]",
        "[7]",
        "{}",
        r#"{"update_id":null}"#,
        r#"{"update_id":-1}"#,
        r#"{"update_id":0}"#,
        r#"{"update_id":"7"}"#,
        r#"{"update_id":7.5}"#,
        r#"{"update_id":99999999999}"#,
        r#"{"update_id":7,"update_id":8}"#,
    ] {
        assert_eq!(read(raw), Err(Unreadable::NoId), "{raw}");
    }
    let error = read(r#"{"update_id":7,"message":{"text":"no chat"}}"#).unwrap_err();
    assert!(
        matches!(
            error,
            Unreadable::Body {
                id: UpdateId(7),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn whatever_is_wrong_with_the_body_the_id_can_be_confirmed() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let large = "x".repeat(UPDATE_BYTES);
    for (message, reason) in [
        (deep, "recursion limit"),
        (format!("{{\"text\":\"{large}\"}}"), "bytes"),
        (r#"{"text":"\ud800"}"#.to_owned(), "cannot be read as JSON"),
        ("7".to_owned(), "message is not an object"),
        (
            r#"{"message_id":1,"chat":7}"#.to_owned(),
            "message.chat is not an object",
        ),
        (
            r#"{"message_id":"1","chat":{"id":1}}"#.to_owned(),
            "message.message_id is not a whole number",
        ),
    ] {
        let raw = format!(r#"{{"message":{message},"update_id":7}}"#);
        let Err(Unreadable::Body { id, reason: said }) = read(&raw) else {
            panic!("{reason}")
        };
        assert!(id == UpdateId(7) && said.contains(reason), "{said}");
    }
}

#[test]
fn an_update_that_is_two_things_is_neither() {
    let error =
        read(r#"{"update_id":7,"message":{"message_id":1,"chat":{"id":3}},"callback_query":{}}"#);
    assert_eq!(
        error.unwrap_err().to_string(),
        "it contradicts itself: it is message and callback_query"
    );
}

#[test]
fn no_reason_repeats_what_somebody_wrote() {
    for raw in [
        r#"{"update_id":7,"message":"xyzzy"}"#,
        r#"{"update_id":7,"message":{"message_id":"xyzzy","chat":{"id":"xyzzy"}}}"#,
        r#"{"update_id":7,"message":{"message_id":1,"chat":{"id":"xyzzy"}}}"#,
        r#"{"update_id":7,"callback_query":{"id":1,"from":"xyzzy"}}"#,
        r#"{"update_id":7,"callback_query":{"id":"1","from":{"id":"xyzzy"}}}"#,
        r#"{"update_id":7,"message_reaction":{"chat":{"id":1},"message_id":"xyzzy"}}"#,
    ] {
        let error = read(raw).unwrap_err().to_string();
        assert!(!error.contains("xyzzy"), "{error}");
    }
}

#[test]
fn the_thread_id_of_a_plain_reply_and_of_the_general_topic_is_no_topic() {
    let at = |rest: &str| {
        message(&format!(
            r#"{{"update_id":5,"message":{{"message_id":1,"chat":{{"id":-3}},"text":"x"{rest}}}}}"#
        ))
        .topic()
    };
    assert_eq!(at(r#","message_thread_id":9"#), None);
    assert_eq!(
        at(r#","message_thread_id":1,"is_topic_message":true"#),
        None
    );
    assert_eq!(
        at(r#","message_thread_id":9,"is_topic_message":true"#),
        Some(TopicId(9))
    );
}

#[test]
fn an_animation_is_not_taken_for_a_document() {
    let message = message(
        r#"{"update_id":5,"message":{"message_id":1,"chat":{"id":3},"document":{},"animation":{},"caption":"c"}}"#,
    );
    assert_eq!(message.kind(), "animation");
}

fn of(fields: &Value) -> Message {
    let mut message = json!({"message_id": 1, "chat": {"id": -3}, "from": {"id": 11}});
    message
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    Message::read(message, "message").unwrap()
}

#[test]
fn a_topic_tells_its_name_where_nobody_replies_to_anything() {
    let made =
        json!({"message_id": 9, "chat": {"id": -3}, "forum_topic_created": {"name": "Bugs"}});
    let message = of(&json!({"text": "x", "reply_to_message": made}));
    assert_eq!(
        (message.topic_name(), message.replied()),
        (Some("Bugs"), None)
    );
    assert_eq!(
        of(&json!({"forum_topic_edited": {"name": "Fixed"}})).topic_name(),
        Some("Fixed")
    );
    assert_eq!(of(&json!({"text": "x"})).topic_name(), None);
}

#[test]
fn the_bot_is_addressed_by_name_person_reply_or_command_and_by_nothing_else() {
    let entity = |kind: &str, offset: i64, length: i64| json!([{"type": kind, "offset": offset, "length": length, "user": {"id": 7}}]);
    let quoted = |from: i64, more: Value| {
        let mut quoted = json!({"message_id": 9, "chat": {"id": -3}, "from": {"id": from}});
        quoted
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        quoted
    };
    let cases = [
        (
            json!({"text": "@My_Bot do it", "entities": entity("mention", 0, 7)}),
            true,
        ),
        (
            json!({"caption": "see @my_bot", "caption_entities": entity("mention", 4, 7)}),
            true,
        ),
        (
            json!({"text": "My Bot do it", "entities": entity("text_mention", 0, 6)}),
            true,
        ),
        (
            json!({"text": "/status", "entities": entity("bot_command", 0, 7)}),
            true,
        ),
        (
            json!({"text": "/status@my_bot", "entities": entity("bot_command", 0, 14)}),
            true,
        ),
        (
            json!({"text": "yes", "reply_to_message": quoted(7, json!({}))}),
            true,
        ),
        (
            json!({"rich_message": {"blocks": [{"type": "paragraph", "text": [{"type": "mention", "username": "my_bot", "text": "@my_bot"}]}]}}),
            true,
        ),
        // Everything else.
        (json!({"text": "@my_bot without an entity"}), false),
        (
            json!({"text": "@my_bots", "entities": entity("mention", 0, 8)}),
            false,
        ),
        (
            json!({"text": "mail@my_bot", "entities": entity("email", 0, 11)}),
            false,
        ),
        (
            json!({"text": "@my_bot", "entities": entity("code", 0, 7)}),
            false,
        ),
        (
            json!({"text": "/status@other", "entities": entity("bot_command", 0, 13)}),
            false,
        ),
        (
            json!({"text": "see /status", "entities": entity("bot_command", 4, 7)}),
            false,
        ),
        (
            json!({"text": "yes", "reply_to_message": quoted(8, json!({"text": "@my_bot"}))}),
            false,
        ),
        (
            json!({"text": "in a topic of the bot", "reply_to_message": quoted(7, json!({"forum_topic_created": {"name": "x"}}))}),
            false,
        ),
        (
            json!({"text": "x", "quote": {"text": "@my_bot"}, "forward_origin": {"type": "user", "sender_user": {"id": 7}}}),
            false,
        ),
        (
            json!({"text": "@my_bot", "entities": entity("mention", -1, 7)}),
            false,
        ),
    ];
    for (fields, expected) in cases {
        let addresses = of(&fields).addresses(UserId(7), Some("my_bot"));
        assert_eq!(addresses, expected, "{fields}");
    }
    let named = of(&json!({"text": "@my_bot", "entities": entity("mention", 0, 7)}));
    assert!(!named.addresses(UserId(7), None));
}

#[test]
fn every_kind_of_origin_tells_where_a_forward_comes_from() {
    let user = json!({"id": 9, "first_name": "Char", "username": "red"});
    let channel = json!({"id": -100, "type": "channel", "title": "News", "username": "news"});
    let group = json!({"id": -5, "type": "supergroup", "title": "Team"});
    let told = |fields: Value| {
        let forward = of(&fields).forward().unwrap();
        (
            forward.kind,
            forward.name.unwrap_or_default(),
            forward.id,
            forward.message_id.map(|id| id.0),
        )
    };
    let is = |kind: &str, name: &str, id, message| (kind.to_owned(), name.to_owned(), id, message);
    let origin = |origin: Value| told(json!({"forward_origin": origin}));
    assert_eq!(
        origin(json!({"type": "user", "date": 1, "sender_user": user})),
        is("user", "Char", Some(9), None)
    );
    assert_eq!(
        origin(json!({"type": "hidden_user", "date": 1, "sender_user_name": "Char"})),
        is("hidden_user", "Char", None, None)
    );
    assert_eq!(
        origin(json!({"type": "chat", "date": 1, "sender_chat": group})),
        is("chat", "Team", Some(-5), None)
    );
    assert_eq!(
        origin(json!({"type": "channel", "date": 1, "chat": channel, "message_id": 4})),
        is("channel", "News", Some(-100), Some(4))
    );
    assert_eq!(
        origin(json!({"type": "hologram"})),
        is("hologram", "", None, None)
    );
    assert_eq!(
        told(json!({"forward_from": user, "forward_date": 1})),
        is("user", "Char", Some(9), None)
    );
    assert_eq!(
        told(json!({"forward_sender_name": "Char", "forward_date": 1})),
        is("hidden_user", "Char", None, None)
    );
    assert_eq!(
        told(json!({"forward_from_chat": channel, "forward_from_message_id": 4})),
        is("channel", "News", Some(-100), Some(4))
    );
    assert_eq!(
        told(json!({"forward_from_chat": group})),
        is("chat", "Team", Some(-5), None)
    );
    assert_eq!(of(&json!({"text": "x"})).forward(), None);
}

#[test]
fn a_quote_says_whether_a_person_marked_it() {
    let quote = |fields: &Value| {
        let message = of(fields);
        message
            .quote()
            .map(|(words, is_manual)| (words.into_owned(), is_manual))
    };
    let marked = json!({"quote": {"text": "x", "is_manual": true}});
    assert_eq!(quote(&marked), Some(("x".to_owned(), true)));
    let bold = json!([{"type": "bold", "offset": 0, "length": 1}]);
    let served = json!({"quote": {"text": "x", "entities": bold}});
    assert_eq!(quote(&served), Some(("**x**".to_owned(), false)));
    assert_eq!(quote(&json!({"quote": {"position": 3}})), None);
}

#[test]
fn both_service_messages_tell_the_old_id_and_the_new_one() {
    let pair = Some((ChatId(-50), ChatId(-100)));
    let old = of(&json!({"chat": {"id": -50}, "migrate_to_chat_id": -100}));
    let new = of(&json!({"chat": {"id": -100}, "migrate_from_chat_id": -50}));
    assert_eq!((old.migration(), new.migration()), (pair, pair));
    for none in [json!({}), json!({"migrate_to_chat_id": "-100"})] {
        assert_eq!(of(&none).migration(), None);
    }
}

#[test]
fn what_the_bot_is_in_a_chat_is_read_and_what_is_unknown_may_write() {
    let is = |member: Value| {
        let update = json!({"update_id": 5, "my_chat_member": {"chat": {"id": -50}, "new_chat_member": member}});
        match read(&update.to_string()).unwrap().body {
            Body::Membership(membership) => membership.map(|is| is.standing),
            other
            @ (Body::Message { .. } | Body::Press(_) | Body::Reaction(_) | Body::Other(_)) => {
                panic!("{other:?}")
            }
        }
    };
    for status in ["kicked", "left"] {
        assert_eq!(is(json!({"status": status})), Some(ChatStanding::Removed));
    }
    for status in ["member", "administrator", "restricted", "invented"] {
        assert_eq!(
            is(json!({"status": status})),
            Some(ChatStanding::Member),
            "{status}"
        );
    }
    let restricted = |field: &str| is(json!({"status": "restricted", field: false}));
    assert_eq!(restricted("can_send_messages"), Some(ChatStanding::Muted));
    assert_eq!(restricted("is_member"), Some(ChatStanding::Removed));
    assert_eq!(is(json!("kicked")), None);
}
