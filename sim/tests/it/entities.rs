use serde_json::{Value, json};

use crate::client::*;

fn send(text: &str, entities: &Value) -> Answer {
    house().call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": text, "entities": entities }),
    )
}

fn html(text: &str) -> Answer {
    house().call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": text, "parse_mode": "HTML" }),
    )
}

fn bold(offset: i64, length: i64) -> Value {
    json!({ "type": "bold", "offset": offset, "length": length })
}

#[test]
fn entities_count_utf16_units() {
    let message = send("\u{1F600} bold", &json!([bold(3, 4)])).result();
    assert_eq!(message["entities"], json!([bold(3, 4)]));
}

#[test]
fn entities_may_come_as_text() {
    let message = send("bold", &json!(json!([bold(0, 4)]).to_string())).result();
    assert_eq!(message["entities"], json!([bold(0, 4)]));
}

#[test]
fn an_entity_may_not_begin_inside_a_surrogate_pair() {
    let refused = send("\u{1F600}x", &json!([bold(1, 1)])).refusal();
    assert_eq!(
        refused,
        "400 Bad Request: entity begins in a middle of a UTF-16 symbol at byte offset 4"
    );
}

#[test]
fn an_entity_may_not_end_inside_a_surrogate_pair() {
    let refused = send("x\u{1F600}", &json!([bold(0, 2)])).refusal();
    assert_eq!(
        refused,
        "400 Bad Request: entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at byte offset 5"
    );
}

#[test]
fn an_entity_may_not_leave_the_text() {
    assert_eq!(
        send("aba caba", &json!([bold(3, 6)])).refusal(),
        "400 Bad Request: entity beginning at UTF-16 offset 3 ends after the end of the text at UTF-16 offset 9"
    );
    assert_eq!(
        send("aba caba", &json!([bold(9, 1)])).refusal(),
        "400 Bad Request: entity begins after the end of the text at UTF-16 offset 9"
    );
    assert_eq!(
        send("x", &json!([bold(-1, 1)])).refusal(),
        "400 Bad Request: receive an entity with incorrect offset -1"
    );
}

#[test]
fn entity_types_must_be_known() {
    let refused = send(
        "x",
        &json!([{ "type": "sparkle", "offset": 0, "length": 1 }]),
    )
    .refusal();
    assert_eq!(
        refused,
        "400 Bad Request: can't parse MessageEntity: Unsupported type specified"
    );
}

#[test]
fn a_link_needs_an_address() {
    let refused = send(
        "x",
        &json!([{ "type": "text_link", "offset": 0, "length": 1 }]),
    )
    .refusal();
    assert_eq!(
        refused,
        "400 Bad Request: can't parse MessageEntity: Can't find field \"url\""
    );
    let refused = send(
        "x",
        &json!([{ "type": "text_link", "offset": 0, "length": 1, "url": "file:///etc" }]),
    )
    .refusal();
    assert_eq!(
        refused,
        "400 Bad Request: entity URL 'file:///etc' is invalid"
    );
}

#[test]
fn entities_may_nest_but_not_cross() {
    send("0123456789", &json!([bold(0, 10), bold(2, 3)])).result();
    let refused = send("0123456789", &json!([bold(0, 5), bold(3, 5)])).refusal();
    assert!(refused.contains("crosses another entity"), "{refused}");
}

#[test]
fn code_stands_alone_and_quotes_do_not_nest() {
    let of = |kind: &str, offset: i64, length: i64| json!({ "type": kind, "offset": offset, "length": length });
    let link = json!({ "type": "text_link", "offset": 0, "length": 3, "url": "https://e.org" });
    for allowed in [
        json!([of("blockquote", 0, 9), of("pre", 0, 3), of("bold", 4, 2)]),
        json!([of("bold", 0, 9), link, of("italic", 1, 1)]),
    ] {
        send("0123456789", &allowed).result();
    }
    for refused in [
        json!([of("bold", 0, 9), of("code", 2, 3)]),
        json!([of("code", 0, 9), of("bold", 2, 3)]),
        json!([of("blockquote", 0, 9), of("blockquote", 2, 3)]),
        json!([link, of("code", 0, 2)]),
        json!([of("bold", 0, 9), of("blockquote", 0, 9), of("pre", 1, 3)]),
    ] {
        let words = send("0123456789", &refused).refusal();
        assert!(words.contains("may not lie in entity"), "{words}");
    }
}

#[test]
fn a_text_can_be_judged_without_a_server() {
    let judge = |text: &str, entities: Value| telegram_sim::check_text(text, &entities, 5);
    assert_eq!(
        judge(" bold ", json!([bold(1, 5)])),
        Ok(("bold".to_owned(), vec![bold(0, 4)]))
    );
    assert_eq!(
        judge("bolder", json!([])),
        Err("Bad Request: message is too long".to_owned())
    );
    assert_eq!(
        judge(" ", json!([])),
        Err("Bad Request: message text is empty".to_owned())
    );
}

#[test]
fn entities_that_the_server_finds_itself_are_ignored() {
    let message = send(
        "/start",
        &json!([{ "type": "bot_command", "offset": 0, "length": 6 }]),
    )
    .result();
    assert_eq!(message.get("entities"), None);
}

#[test]
fn trimming_moves_and_cuts_entities() {
    let message = send("  bold  ", &json!([bold(2, 6)])).result();
    assert_eq!(
        (&message["text"], &message["entities"]),
        (&json!("bold"), &json!([bold(0, 4)]))
    );
    let message = send("  x", &json!([bold(0, 3)])).result();
    assert_eq!(message["text"], "  x", "a space inside of an entity stays");
}

#[test]
fn only_the_first_hundred_entities_count() {
    let many: Vec<Value> = (0..150).map(|at| bold(at, 1)).collect();
    let message = send(&"x".repeat(150), &json!(many)).result();
    assert_eq!(message["entities"].as_array().unwrap().len(), 100);
}

#[test]
fn html_becomes_text_and_entities() {
    let message =
        html("a <b>b &lt; <i>c</i></b> <a href=\"https://e.org/?a=1&amp;b=2\">d</a>").result();
    assert_eq!(message["text"], "a b < c d");
    assert_eq!(
        message["entities"],
        json!([
            bold(2, 5),
            { "type": "italic", "offset": 6, "length": 1 },
            { "type": "text_link", "offset": 8, "length": 1, "url": "https://e.org/?a=1&b=2" },
        ])
    );
}

#[test]
fn broken_html_is_refused() {
    for text in [
        "<b>x",
        "x</b>",
        "<b>x</i>",
        "<blink>x</blink>",
        "a < b",
        "<b",
    ] {
        let refused = html(text).refusal();
        assert!(
            refused.starts_with("400 Bad Request: can't parse entities: "),
            "{text}: {refused}"
        );
    }
}

#[test]
fn the_limit_counts_html_after_parsing() {
    html(&format!("<b>{}</b>", "x".repeat(4096))).result();
}

#[test]
fn an_unknown_parse_mode_is_refused() {
    let answer = house().call(
        "sendMessage",
        json!({ "chat_id": ANNA, "text": "x", "parse_mode": "rtf" }),
    );
    assert_eq!(answer.refusal(), "400 Bad Request: unsupported parse_mode");
}
