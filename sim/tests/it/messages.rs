use std::time::Duration;

use serde_json::{Value, json};
use telegram_sim::Standing;

use crate::client::*;

fn edit(house: &House, message: &Value, text: &str) -> Answer {
    house.call(
        "editMessageText",
        json!({ "chat_id": ANNA, "message_id": message["message_id"], "text": text }),
    )
}

#[test]
fn a_sent_message_comes_back_as_the_chat_shows_it() {
    let house = house();
    house.sim.name(ANNA, "Anna", Some("anna"));
    let message = house.send("  hello \n").result();
    assert_eq!(message["text"], "hello", "trimmed");
    assert_eq!(
        message["chat"],
        json!({ "id": ANNA, "type": "private", "first_name": "Anna", "username": "anna" })
    );
    assert_eq!(message["from"]["id"], house.bot);
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["hello"]);
}

#[test]
fn an_empty_text_is_refused() {
    let house = house();
    for text in ["", "  ", "\n \n"] {
        assert_eq!(
            house.send(text).refusal(),
            "400 Bad Request: message text is empty"
        );
    }
    let without = house.call("sendMessage", json!({ "chat_id": ANNA }));
    assert_eq!(without.refusal(), "400 Bad Request: message text is empty");
}

#[test]
fn four_thousand_and_ninety_six_emoji_fit_although_they_are_twice_as_many_utf16_units() {
    let house = house();
    house.send(&"\u{1F600}".repeat(4096)).result();
}

#[test]
fn one_code_point_more_is_too_long() {
    let house = house();
    let text = "\u{1F600}".repeat(4097);
    assert_eq!(
        house.send(&text).refusal(),
        "400 Bad Request: message is too long"
    );
    let message = house.send("short").result();
    assert_eq!(
        edit(&house, &message, &text).refusal(),
        "400 Bad Request: MESSAGE_TOO_LONG"
    );
}

#[test]
fn white_space_around_the_text_does_not_count() {
    let house = house();
    house
        .send(&format!("{}{}", "x".repeat(4096), " ".repeat(50)))
        .result();
}

#[test]
fn an_unknown_chat_is_not_found() {
    let house = house();
    let to = |chat: Value| {
        house
            .call("sendMessage", json!({ "chat_id": chat, "text": "x" }))
            .refusal()
    };
    assert_eq!(to(json!(99)), "400 Bad Request: chat not found");
    assert_eq!(to(json!("nonsense")), "400 Bad Request: chat not found");
    assert_eq!(to(json!("")), "400 Bad Request: chat_id is empty");
}

#[test]
fn a_chat_becomes_known_when_a_person_writes() {
    let house = house();
    house.sim.say(house.bot, 99, 99, "hello");
    house
        .call("sendMessage", json!({ "chat_id": "99", "text": "x" }))
        .result();
}

#[test]
fn a_chat_of_one_bot_is_unknown_to_another() {
    let house = house();
    house.sim.add_bot("43:other", "other_bot");
    let body = json!({ "chat_id": ANNA, "text": "x" }).to_string();
    let answer = request(
        &house.sim,
        "POST /bot43:other/sendMessage",
        "application/json",
        body.as_bytes(),
    )
    .unwrap();
    assert_eq!(answer.refusal(), "400 Bad Request: chat not found");
}

#[test]
fn who_may_not_write_is_told_why() {
    for (standing, why) in [
        (
            Standing::Blocked,
            "403 Forbidden: bot was blocked by the user",
        ),
        (Standing::Deactivated, "403 Forbidden: user is deactivated"),
        (
            Standing::NotStarted,
            "403 Forbidden: bot can't initiate conversation with a user",
        ),
        (
            Standing::Muted,
            "400 Bad Request: not enough rights to send text messages to the chat",
        ),
    ] {
        let house = house();
        house.sim.set_standing(house.bot, ANNA, standing);
        assert_eq!(house.send("x").refusal(), why);
    }
}

#[test]
fn a_user_who_writes_has_started_the_bot() {
    let house = house();
    house
        .sim
        .set_standing(house.bot, ANNA, Standing::NotStarted);
    house.sim.say(house.bot, ANNA, ANNA, "/start");
    house.send("welcome").result();
}

#[test]
fn a_block_is_told_and_can_be_taken_back() {
    let house = house();
    house.sim.block(house.bot, ANNA).unwrap();
    assert_eq!(
        house.send("x").refusal(),
        "403 Forbidden: bot was blocked by the user"
    );
    house.sim.unblock(house.bot, ANNA).unwrap();
    house.send("x").result();
    let updates = house.call("getUpdates", json!({})).result();
    assert_eq!(
        updates[0]["my_chat_member"]["new_chat_member"]["status"],
        "kicked"
    );
    assert_eq!(
        updates[1]["my_chat_member"]["new_chat_member"]["status"],
        "member"
    );
}

#[test]
fn an_edit_changes_the_text_and_shows_when() {
    let house = house();
    let message = house.send("one").result();
    let edited = edit(&house, &message, "two").result();
    assert_eq!(edited["text"], "two");
    assert!(edited["edit_date"].is_i64());
    let line = house.sim.transcript(house.bot, ANNA).pop().unwrap();
    assert_eq!(
        (line.text.as_str(), line.earlier_texts),
        ("two", vec!["one".to_owned()])
    );
}

#[test]
fn an_edit_that_changes_nothing_is_refused() {
    let house = house();
    let message = house.send("one").result();
    let why = edit(&house, &message, " one ").refusal();
    assert!(
        why.starts_with("400 Bad Request: message is not modified: specified new message content"),
        "{why}"
    );
}

#[test]
fn an_edit_without_a_keyboard_takes_the_keyboard_away() {
    let house = house();
    let markup = json!({ "inline_keyboard": [[{ "text": "Yes", "callback_data": "yes" }]] });
    let message = house
        .call(
            "sendMessage",
            json!({ "chat_id": ANNA, "text": "Sure?", "reply_markup": markup }),
        )
        .result();
    assert_eq!(message["reply_markup"], markup);
    let edited = edit(&house, &message, "Sure?").result();
    assert_eq!(edited.get("reply_markup"), None);
}

#[test]
fn only_own_messages_that_exist_can_be_edited() {
    let house = house();
    let theirs = house.sim.say(house.bot, ANNA, ANNA, "mine");
    let of = |id: i64| edit(&house, &json!({ "message_id": id }), "yours").refusal();
    assert_eq!(
        of(theirs.message_id),
        "400 Bad Request: message can't be edited"
    );
    assert_eq!(of(999), "400 Bad Request: message to edit not found");
    assert_eq!(
        of(0),
        "400 Bad Request: message identifier is not specified"
    );
}

#[test]
fn a_deleted_message_is_gone() {
    let house = house();
    let message = house.send("one").result();
    let delete = || {
        house.call(
            "deleteMessage",
            json!({ "chat_id": ANNA, "message_id": message["message_id"] }),
        )
    };
    delete().result();
    assert_eq!(
        delete().refusal(),
        "400 Bad Request: message to delete not found"
    );
    assert_eq!(
        edit(&house, &message, "two").refusal(),
        "400 Bad Request: message to edit not found"
    );
    assert_ne!(
        house.send("next").result()["message_id"],
        message["message_id"],
        "ids are not given twice"
    );
}

#[test]
fn a_message_of_the_day_before_yesterday_cannot_be_deleted() {
    let house = house();
    let message = house.send("one").result();
    house.sim.advance(Duration::from_secs(48 * 3_600 + 1));
    let answer = house.call(
        "deleteMessage",
        json!({ "chat_id": ANNA, "message_id": message["message_id"] }),
    );
    assert_eq!(
        answer.refusal(),
        "400 Bad Request: message can't be deleted"
    );
}

#[test]
fn a_reply_shows_the_message_that_it_replies_to() {
    let house = house();
    let asked = house.sim.say(house.bot, ANNA, ANNA, "how are you?");
    let reply = json!({ "message_id": asked.message_id });
    let sent = house.call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": "fine", "reply_parameters": reply }),
    );
    assert_eq!(sent.result()["reply_to_message"]["text"], "how are you?");
    let nested = json!({ "chat_id": ANNA, "text": "again", "reply_parameters": reply.to_string() });
    assert_eq!(
        house.call("sendMessage", nested).result()["reply_to_message"]["message_id"],
        asked.message_id
    );
}

#[test]
fn a_reply_to_nothing_is_refused_unless_it_may_be_sent_without() {
    let house = house();
    let reply = |parameters: Value| {
        house.call(
            "sendMessage",
            json!({ "chat_id": ANNA, "text": "x", "reply_parameters": parameters }),
        )
    };
    let refused = reply(json!({ "message_id": 999 })).refusal();
    assert_eq!(refused, "400 Bad Request: message to be replied not found");
    let sent = reply(json!({ "message_id": 999, "allow_sending_without_reply": true })).result();
    assert_eq!(sent.get("reply_to_message"), None);
    let old = json!({ "chat_id": ANNA, "text": "x", "reply_to_message_id": 999 });
    assert_eq!(
        house.call("sendMessage", old).refusal(),
        "400 Bad Request: message to be replied not found"
    );
}

#[test]
fn leniency_about_replies_ends_at_the_chat() {
    let house = house();
    let reply = json!({ "message_id": 999, "chat_id": 8, "allow_sending_without_reply": true });
    let answer = house.call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": "x", "reply_parameters": reply }),
    );
    assert_eq!(
        answer.refusal(),
        "400 Bad Request: message to be replied not found"
    );
}

#[test]
fn callback_data_has_one_to_sixty_four_bytes() {
    let house = house();
    let send = |data: &str| {
        let markup = json!({ "inline_keyboard": [[{ "text": "x", "callback_data": data }]] });
        house.call(
            "sendMessage",
            json!({ "chat_id": ANNA, "text": "x", "reply_markup": markup }),
        )
    };
    send(&"x".repeat(64)).result();
    for data in ["", &"x".repeat(65), &"é".repeat(33)] {
        assert_eq!(send(data).refusal(), "400 Bad Request: BUTTON_DATA_INVALID");
    }
}

#[test]
fn a_button_without_an_effect_is_refused() {
    let house = house();
    let markup = json!({ "inline_keyboard": [[{ "text": "x" }]] });
    let answer = house.call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": "x", "reply_markup": markup }),
    );
    assert!(
        answer
            .refusal()
            .starts_with("400 Bad Request: can't parse inline keyboard button")
    );
}

#[test]
fn silence_is_recorded() {
    let house = house();
    house
        .call(
            "sendMessage",
            json!({ "chat_id": ANNA, "text": "psst", "disable_notification": true }),
        )
        .result();
    assert!(house.sim.transcript(house.bot, ANNA)[0].silent);
}

#[test]
fn a_chat_action_must_be_a_known_one() {
    let house = house();
    house
        .call(
            "sendChatAction",
            json!({ "chat_id": ANNA, "action": "typing" }),
        )
        .result();
    let answer = house.call(
        "sendChatAction",
        json!({ "chat_id": ANNA, "action": "thinking" }),
    );
    assert_eq!(
        answer.refusal(),
        "400 Bad Request: wrong parameter action in request"
    );
}

#[test]
fn a_callback_can_be_answered_when_there_was_one() {
    let house = house();
    let message = house.send("Sure?").result();
    house
        .sim
        .press(
            house.bot,
            ANNA,
            message["message_id"].as_i64().unwrap(),
            "yes",
            ANNA,
        )
        .unwrap();
    let query = house.call("getUpdates", json!({})).result()[0]["callback_query"].clone();
    assert_eq!(
        (&query["data"], &query["message"]["text"]),
        (&json!("yes"), &json!("Sure?"))
    );
    house
        .call(
            "answerCallbackQuery",
            json!({ "callback_query_id": query["id"] }),
        )
        .result();
    assert_eq!(
        house
            .call("answerCallbackQuery", json!({ "callback_query_id": "1" }))
            .refusal(),
        "400 Bad Request: query is too old and response timeout expired or query ID is invalid"
    );
}

#[test]
fn command_menus_are_kept_per_scope() {
    let house = house();
    let commands = json!([{ "command": "status", "description": "How are things?" }]);
    house
        .call("setMyCommands", json!({ "commands": commands }))
        .result();
    assert_eq!(house.call("getMyCommands", json!({})).result(), commands);
    let scope = json!({ "type": "chat", "chat_id": ANNA });
    assert_eq!(
        house
            .call("getMyCommands", json!({ "scope": scope }))
            .result(),
        json!([])
    );
}

#[test]
fn command_names_are_small_letters() {
    let house = house();
    let commands = json!([{ "command": "Status", "description": "x" }]);
    let answer = house.call("setMyCommands", json!({ "commands": commands }));
    assert_eq!(answer.refusal(), "400 Bad Request: BOT_COMMAND_INVALID");
}
