use serde_json::json;

use super::*;
use crate::telegram::update::{self, Body};

fn read(fields: &serde_json::Value) -> Option<Command> {
    let mut message = json!({"message_id": 1, "chat": {"id": 11}, "from": {"id": 11}});
    message
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let update = json!({"update_id": 1, "message": message}).to_string();
    match update::read(&update).unwrap().body {
        Body::Message { message, .. } => Command::read(&message, Some("My_Bot")),
        other @ (Body::Press(_) | Body::Reaction(_) | Body::Membership(_) | Body::Other(_)) => {
            panic!("{other:?}")
        }
    }
}

/// A text whose first word is marked as a command.
fn typed(text: &str) -> Option<Command> {
    let length = text
        .split_whitespace()
        .next()
        .unwrap()
        .encode_utf16()
        .count();
    read(
        &json!({"text": text, "entities": [{"type": "bot_command", "offset": 0, "length": length}]}),
    )
}

#[test]
fn our_commands_are_known_with_and_without_the_name_of_the_bot() {
    for (text, command) in [
        ("/start", Command::Help),
        ("/help", Command::Help),
        ("/Status", Command::Status),
        ("/status@my_bot", Command::Status),
        ("/queue", Command::Queue),
        ("/id@MY_BOT .", Command::Id),
    ] {
        assert_eq!(typed(text), Some(command), "{text}");
    }
}

#[test]
fn everything_else_is_a_text_for_the_agent() {
    for text in [
        "/deploy now",
        "/status@other_bot",
        "/statuses",
        "/@my_bot",
        "/start from_a_link",
        "/id@my_bot please",
        "/skip 12 all",
        "/skip the tests",
    ] {
        assert_eq!(typed(text), None, "{text}");
    }
    let command = json!([{"type": "bot_command", "offset": 0, "length": 7}]);
    for fields in [
        json!({"text": "/status"}),
        json!({"text": "see /status", "entities": [{"type": "bot_command", "offset": 4, "length": 7}]}),
        json!({"caption": "/status", "caption_entities": command}),
        json!({"text": "/status", "entities": command, "forward_origin": {"type": "hidden_user", "sender_user_name": "x"}}),
    ] {
        assert_eq!(read(&fields), None, "{fields}");
    }
}

#[test]
fn skip_takes_numbers_however_they_are_separated_and_each_once() {
    let expected = Command::Skip {
        ids: [12, 13, 14].map(UpdateId).into(),
        others: 0,
    };
    assert_eq!(typed("/skip 12,13\n14  12 ."), Some(expected));
    let none = Command::Skip {
        ids: Vec::new(),
        others: 0,
    };
    assert_eq!(typed("/skip"), Some(none));
}

#[test]
fn skip_takes_no_more_than_its_answer_can_name() {
    let numbers: Vec<String> = (1..=60).map(|id| id.to_string()).collect();
    let Some(Command::Skip { ids, others }) = typed(&format!("/skip {}", numbers.join(" "))) else {
        panic!("no skip");
    };
    assert_eq!((ids.len(), others), (SKIP_MOST, 10));
}
