use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn rule() -> Value {
    json!("mcp__telegram__*")
}

#[track_caller]
fn becomes(text: &str, path: &[&str], value: &Value, expected: &str) {
    assert_eq!(set_value(text, path, value).unwrap(), expected);
    assert_eq!(restore_value(expected, path, Some(text)), text);
}

#[test]
fn a_value_is_appended_with_the_indentation_of_its_neighbours() {
    becomes(
        "{\n    \"a\" : 1.50e3\n}",
        &["b"],
        &json!({"c": [1]}),
        "{\n    \"a\" : 1.50e3,\n    \"b\": {\n        \"c\": [\n            1\n        ]\n    }\n}",
    );
    becomes(
        "{\r\n\t\"a\": {\r\n\t\t\"x\": 1\r\n\t}\r\n}\r\n",
        &["a", "y"],
        &json!(2),
        "{\r\n\t\"a\": {\r\n\t\t\"x\": 1,\r\n\t\t\"y\": 2\r\n\t}\r\n}\r\n",
    );
}

#[test]
fn a_file_on_one_line_stays_on_one_line() {
    becomes(
        "{\"a\":1}",
        &["b"],
        &json!({"c": [1, 2]}),
        "{\"a\":1,\"b\":{\"c\":[1,2]}}",
    );
    becomes(
        "{\"a\": {}}",
        &["a", "b"],
        &json!([1, 2]),
        "{\"a\": {\"b\": [1,2]}}",
    );
}

#[test]
fn an_empty_object_gets_its_blanks_back() {
    becomes("{ }\n", &["a"], &json!(1), "{\n  \"a\": 1\n}\n");
    becomes(
        "{\n  \"a\": {  }\n}",
        &["a", "b", "c"],
        &json!(1),
        "{\n  \"a\": {\n    \"b\": {\n      \"c\": 1\n    }\n  }\n}",
    );
}

#[test]
fn an_existing_value_is_replaced_in_place_and_comes_back_as_it_was_written() {
    becomes(
        "{\"a\": { \"x\":1 } , \"b\": 2}",
        &["a"],
        &json!([true]),
        "{\"a\": [true] , \"b\": 2}",
    );
}

#[test]
fn of_a_key_that_is_written_twice_the_last_counts() {
    let text = "{\"a\": {\"x\": 1}, \"a\": {\"x\": 2}}";
    assert_eq!(get_value(text, &["a", "x"]), Some(json!(2)));
    becomes(
        text,
        &["a", "x"],
        &json!(3),
        "{\"a\": {\"x\": 1}, \"a\": {\"x\": 3}}",
    );
}

#[test]
fn the_removal_of_a_value_keeps_what_follows_it() {
    let before = "{\n  \"a\": 1\n}";
    let now = "{\n  \"ours\": {\"x\": 1},\n  \"a\": 1,\n  \"new\": 2\n}";
    assert_eq!(
        restore_value(now, &["ours"], Some(before)),
        "{\n  \"a\": 1,\n  \"new\": 2\n}"
    );
}

#[test]
fn objects_created_for_a_value_go_with_it_unless_they_are_used() {
    let path = ["projects", "/x", "mcpServers", "telegram"];
    let with = set_value("{}", &path, &json!(1)).unwrap();
    assert_eq!(restore_value(&with, &path, Some("{}")), "{}");
    let used = set_value(&with, &["projects", "/x", "history"], &json!([])).unwrap();
    let rest = restore_value(&used, &path, Some("{}"));
    assert_eq!(
        serde_json::from_str::<Value>(&rest).unwrap(),
        json!({"projects": {"/x": {"history": []}}})
    );
}

#[test]
fn an_item_is_appended_to_a_list_in_the_style_of_the_others() {
    for (before, after) in [
        ("{\"p\":[]}", "{\"p\":[\"mcp__telegram__*\"]}"),
        ("{\"p\":[1,2]}", "{\"p\":[1,2,\"mcp__telegram__*\"]}"),
        (
            "{\"p\": [1,  2]}",
            "{\"p\": [1,  2,  \"mcp__telegram__*\"]}",
        ),
        (
            "{\n \"p\": [\n  1\n ]\n}",
            "{\n \"p\": [\n  1,\n  \"mcp__telegram__*\"\n ]\n}",
        ),
    ] {
        assert_eq!(push_value(before, &["p"], &rule()).unwrap(), after);
        assert_eq!(withdraw_value(after, &["p"], &rule(), Some(before)), before);
    }
}

#[test]
fn an_item_that_was_there_before_is_not_withdrawn() {
    let text = "{\"p\": [\"mcp__telegram__*\"]}";
    assert_eq!(withdraw_value(text, &["p"], &rule(), Some(text)), text);
}

#[test]
fn an_item_that_the_user_has_deleted_does_not_come_back() {
    let now = "{\"p\": [\"mcp__telegram__*\"]}";
    let before = "{\"p\": [1]}";
    assert_eq!(
        withdraw_value(now, &["p"], &rule(), Some(before)),
        "{\"p\": []}"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    let shape = |place: &str, expected| EditError::Shape {
        place: place.to_owned(),
        expected,
    };
    assert_eq!(
        set_value("{\"a\": {\"b\": 3}}", &["a", "b", "c"], &json!(1)),
        Err(shape("a.b", "an object"))
    );
    assert_eq!(
        set_value("[]", &["a"], &json!(1)),
        Err(shape("the top level", "an object"))
    );
    assert_eq!(
        push_value("{\"a\": null}", &["a"], &json!(1)),
        Err(shape("a", "a list"))
    );
}

#[test]
fn a_text_that_is_not_json_is_refused_with_line_and_column() {
    assert_eq!(
        check_syntax("{\n  \"a\": 1,\n}"),
        Err(EditError::Syntax {
            line: 3,
            column: 1,
            message: "key must be a string".to_owned()
        })
    );
    assert_eq!(check_syntax("{\"a\": \"\\ud800\", \"n\": 1e999}"), Ok(()));
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        5 => Just(""),
        3 => Just(" "),
        1 => Just("\n  "),
        1 => Just("\r\n\t"),
        1 => Just("\n\n"),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"mcpServers\"".to_owned()),
        Just("\"projects\"".to_owned()),
        Just("\"/x\"".to_owned()),
        Just("\"permissions\"".to_owned()),
        Just("\"allow\"".to_owned()),
        Just("\"p\\u0061ths\"".to_owned()),
        "\"[a-z{}\\[\\],: äß]{0,4}\"",
    ]
}

fn written() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0E+2".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("\"\\ud83d\\ude00 \\/ {\"".to_owned()),
        Just("{}".to_owned()),
        Just("[ ]".to_owned()),
        Just("\"mcp__telegram__*\"".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let member = (blank(), key(), blank(), blank(), inner.clone(), blank());
        let member = member.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
        let element = (blank(), inner, blank()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        prop_oneof![
            3 => prop::collection::vec(member, 1..5).prop_map(|members| format!("{{{}}}", members.join(","))),
            1 => prop::collection::vec(element, 1..4).prop_map(|elements| format!("[{}]", elements.join(","))),
        ]
    })
}

/// A document in any style, including one that no program would write.
pub(in crate::install) fn document() -> impl Strategy<Value = String> {
    (blank(), written(), blank()).prop_map(|(a, text, b)| format!("{a}{text}{b}"))
}

proptest! {
    #[test]
    fn setting_and_restoring_a_value_gives_the_same_bytes(
        text in document(),
        path in prop::sample::select(vec![
            vec!["mcpServers", "telegram"],
            vec!["projects", "/x", "mcpServers", "telegram"],
            vec!["mcpServers"],
        ]),
    ) {
        let value = json!({"type": "stdio", "args": ["a", {"b": {}}]});
        if let Ok(with) = set_value(&text, &path, &value) {
            prop_assert_eq!(check_syntax(&with), Ok(()));
            prop_assert_eq!(get_value(&with, &path), Some(value));
            prop_assert_eq!(restore_value(&with, &path, Some(&text)), text);
        }
    }

    #[test]
    fn appending_and_withdrawing_an_item_gives_the_same_bytes(text in document()) {
        let path = ["permissions", "allow"];
        let value = json!("Bash(x)");
        if let Ok(with) = push_value(&text, &path, &value) {
            prop_assert_eq!(check_syntax(&with), Ok(()));
            prop_assert_eq!(withdraw_value(&with, &path, &value, Some(&text)), text);
        }
    }
}
