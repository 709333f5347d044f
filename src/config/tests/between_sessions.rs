//! Mistakes that two sessions make together, and ids.

use super::*;

const OVERLAP: &str = "give each session a chat of its own, or a bot of its own (another token, another `bot_token_env`)";
const TWICE: (&str, &str) = (
    "appears twice; only one of the two could take effect",
    "keep one of them, or rename one",
);

#[test]
fn overlapping_addresses() {
    let two = with_two(("chat_ids", "[5, 6, 7]"), ("chat_ids", "[8, 7]"));
    assert_eq!(
        refused(&two),
        one_mistake(
            "sessions.B.chat_ids",
            "chat 7 is also in sessions.A.chat_ids, and both use the bot of BOT_TOKEN_01: a message from there could \
             belong to either session",
            OVERLAP
        )
    );
    let two = with_two(("chat_ids", "[5, 6, 7]"), ("chat_ids", "[7, 5, 6]"));
    assert_eq!(
        refused(&two),
        one_mistake(
            "sessions.B.chat_ids",
            "chat 5 and 2 more are also in sessions.A.chat_ids, and both use the bot of BOT_TOKEN_01: a message from \
             there could belong to either session",
            OVERLAP
        )
    );
}

#[test]
fn one_token_may_serve_two_sessions_with_different_chats() {
    assert!(parse(&with_two(("chat_ids", "[5]"), ("chat_ids", "[-7]"))).is_ok());
}

#[test]
fn equal_names() {
    let two = r#"{"sessions": {
        "A": {"name": "Shop", "bot_token_env": "T1", "chat_ids": [5], "allowed_users": [5]},
        "B": {"name": "Shop ", "bot_token_env": "T2", "chat_ids": [5], "allowed_users": [5]}}, "default": "A"}"#;
    assert_eq!(
        refused(two),
        one_mistake(
            "sessions.B.name",
            "is \"Shop\", which is also the name of `A`: people could not tell the two apart",
            "give each session a name of its own"
        )
    );
}

fn two_folders(a: &str, b: &str) -> String {
    format!(
        r#"{{"sessions": {{
        "A": {{"cwd": "{a}", "bot_token_env": "T1", "chat_ids": [5], "allowed_users": [5]}},
        "B": {{"cwd": "{b}", "bot_token_env": "T2", "chat_ids": [5], "allowed_users": [5]}}}}, "default": "A"}}"#
    )
}

#[test]
fn two_equal_cwd() {
    let expected = one_mistake(
        "sessions.B.cwd",
        "is the same folder as sessions.A.cwd",
        "name another folder, or leave one of the two out and start that agent with --session or TG_SESSION_ID",
    );
    assert_eq!(refused(&two_folders("/no/shop", "/no//shop/.")), expected);
    assert_eq!(refused(&two_folders("~/shop", "/home/ada/shop")), expected);
    assert!(parse(&two_folders("/no/shop", "/no/shop/sub")).is_ok());

    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(
        refused(&two_folders(
            &real.display().to_string(),
            &link.display().to_string()
        )),
        expected
    );
}

#[test]
fn default() {
    let two = |default: &str| {
        let (a, b) = (session("chat_ids", "[5]"), session("chat_ids", "[6]"));
        refused(&format!(
            r#"{{"sessions": {{"SESSION_X01": {a}, "SESSION_X02": {b}}}{default}}}"#
        ))
    };
    assert_eq!(
        two(""),
        one_mistake(
            "default",
            "is missing, and there are 2 sessions",
            "write \"default\": and one of the ids: `SESSION_X01`, `SESSION_X02`"
        )
    );
    for (value, what, fix) in [
        (
            "\"session_x02\"",
            "is \"session_x02\", but there is no such session",
            "did you mean `SESSION_X02`?",
        ),
        (
            "\"Paul\"",
            "is \"Paul\", but there is no such session",
            "write the id of a configured session: `SESSION_X01`, `SESSION_X02`",
        ),
        (
            "5",
            "is the number 5, not a string",
            "write, for example, \"SESSION_X01\"",
        ),
    ] {
        assert_eq!(
            two(&format!(", \"default\": {value}")),
            one_mistake("default", what, fix)
        );
    }
}

#[test]
fn session_ids_that_are_no_safe_folder_names() {
    let characters = "only letters, digits, '.', '_' and '-' are safe in a folder name";
    let first = "the first character must be a letter or a digit";
    for (id, path, what, example) in [
        (
            "a b/",
            r#"sessions["a b/"]"#,
            &*format!("it contains ' '; {characters}"),
            "a_b",
        ),
        (
            "../etc",
            r#"sessions["../etc"]"#,
            &format!("it begins with '.'; {first}"),
            "etc",
        ),
        ("", r#"sessions[""]"#, "it is empty", "SESSION_X01"),
        (
            "shop.",
            r#"sessions["shop."]"#,
            "it ends with a dot",
            "shop",
        ),
    ] {
        let text = format!(
            r#"{{"sessions": {{"{id}": {}}}}}"#,
            session("chat_ids", "[5]")
        );
        let fix = format!("session ids are folder names too; write, for example, `{example}`");
        assert_eq!(
            refused(&text),
            one_mistake(path, &format!("is not a session id: {what}"), &fix)
        );
    }
}

#[test]
fn session_ids_that_differ_only_in_case() {
    let (a, b) = (session("chat_ids", "[5]"), session("chat_ids", "[6]"));
    let text = format!(r#"{{"sessions": {{"SHOP": {a}, "shop": {b}}}, "default": "shop"}}"#);
    assert_eq!(
        refused(&text),
        one_mistake(
            "sessions.shop",
            "differs from `SHOP` only in upper and lower case; on macOS both would be the same folder",
            "give one of the two another id"
        )
    );
}

#[test]
fn keys_that_stand_twice() {
    let (what, fix) = TWICE;
    let (a, b) = (session("chat_ids", "[5]"), session("chat_ids", "[6]"));
    let text = format!(r#"{{"sessions": {{"A": {a}, "A": {b}, "A": {b}}}}}"#);
    assert_eq!(refused(&text), one_mistake("sessions.A", what, fix));
    assert_eq!(
        refused(&with_top("default", r#""A", "default": "A""#)),
        one_mistake("default", what, fix)
    );
    let text = with("allowed_users", r#"[5], "allowed_users": [6]"#);
    assert_eq!(
        refused(&text),
        one_mistake("sessions.A.allowed_users", what, fix)
    );
}

#[test]
fn too_many_sessions() {
    let many = |count: usize| {
        let one = |n| {
            format!(
                r#""S{n}": {}"#,
                session("chat_ids", &format!("[{}]", n + 1))
            )
        };
        let sessions: Vec<String> = (0..count).map(one).collect();
        format!(
            r#"{{"sessions": {{{}}}, "default": "S0"}}"#,
            sessions.join(", ")
        )
    };
    assert!(parse(&many(200)).is_ok());
    assert_eq!(
        refused(&many(201)),
        one_mistake(
            "sessions",
            "has 201 sessions; one gateway serves at most 200",
            "delete those that are no longer used"
        )
    );
}

#[test]
fn twenty_thousand_chats_are_compared_and_the_shared_ones_are_found() {
    let list = |first: i64| {
        let ids: Vec<String> = (first..first + 20_000).map(|id| id.to_string()).collect();
        format!("[{}]", ids.join(","))
    };
    let config = parse(&with_two(
        ("chat_ids", &list(1)),
        ("chat_ids", &list(30_000)),
    ))
    .unwrap();
    assert_eq!(
        config.warnings().len(),
        40_000 - 1,
        "each is a private chat of another person"
    );
    let refused = refused(&with_two(
        ("chat_ids", &list(1)),
        ("chat_ids", &list(19_999)),
    ));
    assert!(
        refused.contains("chat 19999 and 1 more are also in"),
        "{refused}"
    );
}
