//! Keys that are unknown, the shape of the file, and the keys of the top level.

use super::*;

const UNKNOWN: &str = "is not a key that telepost knows";
const SESSION_KEYS: &str = "delete it; the valid keys here are `name`, `bot_token_env`, `bot_username`, `chat_ids`, \
     `allowed_users`, `require_mention`, `tmux_session`, `tmux_wake_command`, `cwd`, `send_roots`, `reply_to_message`";
const TOP_KEYS: &str = "delete it; the valid keys here are `sessions`, `default`, `state_dir`, `api_url`, `proxy`, `gateway`, \
     `pace`, `receipts`, `absence`, `$schema`";
const URL: &str = "write, for example, \"https://api.telegram.org\", or \"http://127.0.0.1:8081\" for a server of your own";
const HTTPS: &str = "write https; http is for this machine and for private addresses (127.0.0.1, 10.…, 172.16.…, \
     192.168.…)";
const MINIMAL: &str = r#"{"SESSION_X01": {"bot_token_env": "BOT_TOKEN_01", "chat_ids": [4444444444444444], "allowed_users": [4444444444444444]}}"#;
const SYNTAX: &str = "correct it there or just before; every string and every key needs double quotes, a comma goes \
     between two entries and not after the last one, and there are no comments";
const CLOSE: &str =
    "close what is open: each { needs its }, each [ its ], each string its closing quote";

#[test]
fn unknown_keys() {
    in_a_session(&[
        (
            "allowed_user",
            "[5]",
            "sessions.A.allowed_user",
            UNKNOWN,
            "did you mean `allowed_users`?",
        ),
        (
            "allowedUsers",
            "[5]",
            "sessions.A.allowedUsers",
            UNKNOWN,
            "did you mean `allowed_users`?",
        ),
        (
            "users",
            "[5]",
            "sessions.A.users",
            UNKNOWN,
            "did you mean `allowed_users`?",
        ),
        (
            "chat_id",
            "5",
            "sessions.A.chat_id",
            UNKNOWN,
            "did you mean `chat_ids`?",
        ),
        (
            "wake_command",
            "5",
            "sessions.A.wake_command",
            UNKNOWN,
            "did you mean `tmux_wake_command`?",
        ),
        (
            "bot_token",
            "5",
            "sessions.A.bot_token",
            UNKNOWN,
            "did you mean `bot_token_env`? It takes the name of a variable; the token itself belongs in the file .env \
             beside this one",
        ),
        ("xyzzy", "5", "sessions.A.xyzzy", UNKNOWN, SESSION_KEYS),
        ("//", "5", "sessions.A[\"//\"]", UNKNOWN, SESSION_KEYS),
        (
            "$schema",
            "\"\"",
            "sessions.A.$schema",
            UNKNOWN,
            "move it: `$schema` belongs at the top level, beside `sessions`",
        ),
        (
            "pace",
            "\"off\"",
            "sessions.A.pace",
            UNKNOWN,
            "move it: `pace` belongs at the top level, beside `sessions`",
        ),
    ]);
    at_the_top(&[
        (
            "defualt",
            "\"A\"",
            "defualt",
            UNKNOWN,
            "did you mean `default`?",
        ),
        ("xyzzy", "5", "xyzzy", UNKNOWN, TOP_KEYS),
        (
            "cwd",
            "5",
            "cwd",
            UNKNOWN,
            "move it: `cwd` belongs in a session, that is in sessions.<ID>",
        ),
    ]);
}

#[test]
fn the_shape_of_the_file() {
    let minimal_session = r#"write {"bot_token_env": "BOT_TOKEN_01", "chat_ids": [4444444444444444], "allowed_users": [4444444444444444]}"#;
    for (text, path, what, fix) in [
        (
            "{}",
            "sessions",
            "is missing",
            &*format!("write \"sessions\": {MINIMAL}"),
        ),
        (
            r#"{"sessions": {}}"#,
            "sessions",
            "is empty",
            &format!("write at least one session: {MINIMAL}"),
        ),
        (
            r#"{"sessions": []}"#,
            "sessions",
            "is a list, not an object",
            &format!("write, for example, {MINIMAL}"),
        ),
        (
            r#"{"sessions": {"A": 5}}"#,
            "sessions.A",
            "is the number 5, not an object",
            minimal_session,
        ),
        (
            "[]",
            "top level",
            "is a list, not an object",
            "begin with {\"sessions\": and end with }; sessions.example.json shows every key",
        ),
        (
            "{\n  \"default\": \"A\",\n}",
            "line 3, column 1",
            "this is not JSON: trailing comma",
            SYNTAX,
        ),
        (
            "// mine\n{}",
            "line 1, column 1",
            "this is not JSON: expected value",
            SYNTAX,
        ),
        (
            "{\"sessions\": {",
            "line 1, column 14",
            "the file ends too early: EOF while parsing an object",
            CLOSE,
        ),
    ] {
        assert_eq!(refused(text), one_mistake(path, what, fix), "{text}");
    }
    assert_eq!(
        refused(" \n"),
        "/c/sessions.json cannot be used because of 1 mistake:\n  the file is empty\n    fix: write {\"sessions\": {\"SESSION_X01\": \
         {\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": [4444444444444444]}}} \
         into it; the quick start of the README says how to find your own ids"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"{"sessions": {"A": {"bot_token_env": "T", "chat_ids": [0], "allowed_users": [5]}}, "pace": "fast", "defualt": "A"}"#;
    assert_eq!(
        refused(text),
        "/c/sessions.json cannot be used because of 3 mistakes:\n  \
         defualt: is not a key that telepost knows\n    fix: did you mean `default`?\n  \
         sessions.A.chat_ids[0]: is 0, which is no one's id\n    fix: write the real id, or delete it\n  \
         pace: is \"fast\"\n    fix: write \"normal\" (the default) or \"off\""
    );
}

#[test]
fn switches() {
    at_the_top(&[
        (
            "gateway",
            "\"automatic\"",
            "gateway",
            "is \"automatic\"",
            "write \"auto\" (the default) or \"manual\"",
        ),
        (
            "gateway",
            "true",
            "gateway",
            "is true, not a string",
            "write, for example, \"auto\"",
        ),
        (
            "pace",
            "\"fast\"",
            "pace",
            "is \"fast\"",
            "write \"normal\" (the default) or \"off\"",
        ),
    ]);
}

#[test]
fn api_url() {
    let elsewhere = "uses http to another machine, which would send the bot's token unencrypted";
    at_the_top(&[
        (
            "api_url",
            "\"api.telegram.org\"",
            "api_url",
            "is not an address: \"api.telegram.org\" cannot be read as a URL",
            URL,
        ),
        (
            "api_url",
            "\"ftp://x\"",
            "api_url",
            "begins with \"ftp\", but the Bot API is reached by https or http",
            URL,
        ),
        (
            "api_url",
            "\"http://api.telegram.org\"",
            "api_url",
            elsewhere,
            HTTPS,
        ),
        (
            "api_url",
            "\"http://172.32.0.1\"",
            "api_url",
            elsewhere,
            HTTPS,
        ),
        (
            "api_url",
            "\"http://bots.local\"",
            "api_url",
            elsewhere,
            HTTPS,
        ),
        (
            "api_url",
            "\"https://ada:secret@h\"",
            "api_url",
            "contains a user name or a password",
            "leave out everything before the @",
        ),
        (
            "api_url",
            "\"https://h/?a\"",
            "api_url",
            "contains a ? or a #",
            "leave out everything from the ? or # on",
        ),
        (
            "api_url",
            "\"https://h/#a\"",
            "api_url",
            "contains a ? or a #",
            "leave out everything from the ? or # on",
        ),
        (
            "api_url",
            &format!("\"https://api.telegram.org/bot{TOKEN}/\""),
            "api_url",
            "contains a bot's token",
            "leave out everything from /bot on; the token belongs in the file .env beside sessions.json",
        ),
    ]);
}

#[test]
fn whether_the_bot_must_be_meant_is_true_or_false_and_true_if_nobody_says() {
    let required = |config: &str| {
        let config = parse(config).unwrap();
        config.sessions["A"].require_mention
    };
    assert!(required(&with("name", "\"Ada\"")));
    assert!(required(&with("require_mention", "true")));
    assert!(!required(&with("require_mention", "false")));
    in_a_session(&[(
        "require_mention",
        "\"yes\"",
        "sessions.A.require_mention",
        "is a string, not true or false",
        "write, for example, true",
    )]);
}

#[test]
fn a_wake_command_has_printable_characters_only() {
    for hidden in [
        "\u{202e}",
        "\u{2028}",
        "\u{200b}",
        "\u{feff}",
        "\u{ad}",
        "\u{a0}",
        "\u{e0041}",
        "\u{3164}",
    ] {
        let text = format!(r#""/telegram-{hidden}reply""#);
        let refused = refused(&with("tmux_wake_command", &text));
        let shown = hidden.escape_unicode().to_string();
        assert!(refused.contains(&shown), "{refused}");
        assert!(!refused.contains(hidden), "{refused}");
    }
    parse(&with("tmux_wake_command", r#""/réponse à 返信 🙏""#)).unwrap();
}
