//! The configuration, mistake by mistake. `/c/sessions.json` need not exist: [`Config::parse`]
//! takes the text.

mod between_sessions;
mod ids;
mod keys;
mod locations;
mod reference;
mod serving;
mod texts;
mod tokens;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::ids::SessionId;

/// The file of the issue that asked for telepost; it must be accepted as it stands.
const ISSUE: &str = r#"{"sessions": {
   "SESSION_X01": {"name": "RX-78-1", "bot_token_env": "BOT_TOKEN_02", "bot_username": "rx78_p_bot", "chat_ids": [195061634], "allowed_users": [195061634], "tmux_session": "session-x01", "tmux_wake_command": "/telegram-reply"},
   "SESSION_X02": {"name": "RX-78-2", "bot_token_env": "BOT_TOKEN_01", "bot_username": "rx78_p2_bot", "chat_ids": [195061634], "allowed_users": [195061634], "tmux_session": "session-x02", "tmux_wake_command": "/telegram-reply"}},
  "default": "SESSION_X01"}"#;

const EXAMPLE: &str = include_str!("../../../sessions.example.json");
const ENV_EXAMPLE: &str = include_str!("../../../.env.example");

/// An invented token in the form of a real one.
const TOKEN: &str = "700001:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1";

fn env() -> Env {
    Env::from_pairs([("HOME", "/home/ada")])
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/c/sessions.json"), &env())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The whole message for one mistake.
fn one_mistake(path: &str, what: &str, fix: &str) -> String {
    format!(
        "/c/sessions.json cannot be used because of 1 mistake:\n  {path}: {what}\n    fix: {fix}"
    )
}

/// A session without a mistake, with `key` set to `value`, or without `key` if `value` is empty.
fn session(key: &str, value: &str) -> String {
    let mut fields = BTreeMap::from([
        ("bot_token_env", r#""BOT_TOKEN_01""#),
        ("chat_ids", "[5]"),
        ("allowed_users", "[5]"),
    ]);
    fields.insert(key, value);
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

/// A file with the one session `A`, where `key` is `value`.
fn with(key: &str, value: &str) -> String {
    format!(r#"{{"sessions": {{"A": {}}}}}"#, session(key, value))
}

/// A file with the one session `A` and, at the top, `key` with `value`.
fn with_top(key: &str, value: &str) -> String {
    format!(
        r#"{{"sessions": {{"A": {}}}, "{key}": {value}}}"#,
        session("name", "\"Ada\"")
    )
}

/// A file with the sessions `A` and `B`, each without a mistake but for one key.
fn with_two(a: (&str, &str), b: (&str, &str)) -> String {
    let (a, b) = (session(a.0, a.1), session(b.0, b.1));
    format!(r#"{{"sessions": {{"A": {a}, "B": {b}}}, "default": "A"}}"#)
}

/// One mistake: the key, its value, and then the path, what is wrong and the fix.
type Case<'c> = (&'c str, &'c str, &'c str, &'c str, &'c str);

fn in_a_session(cases: &[Case<'_>]) {
    for &(key, value, path, what, fix) in cases {
        assert_eq!(
            refused(&with(key, value)),
            one_mistake(path, what, fix),
            "{key} = {value}"
        );
    }
}

fn at_the_top(cases: &[Case<'_>]) {
    for &(key, value, path, what, fix) in cases {
        assert_eq!(
            refused(&with_top(key, value)),
            one_mistake(path, what, fix),
            "{key} = {value}"
        );
    }
}

/// Puts `text` into a file; tests need no durability.
#[expect(
    clippy::disallowed_methods,
    reason = "a test writes what nobody needs after it"
)]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_file_of_the_issue_is_accepted_as_it_stands() {
    let config = parse(ISSUE).unwrap();
    assert_eq!(config.default.as_str(), "SESSION_X01");
    assert_eq!(config.path, Path::new("/c/sessions.json"));
    assert_eq!(config.api_url.as_str(), "https://api.telegram.org/");
    assert_eq!(
        (config.gateway, config.pace, config.receipts),
        (GatewayStart::Auto, Pace::Normal, Receipts::On)
    );
    assert_eq!(config.state_dir, None);
    assert_eq!(config.sessions.len(), 2);
    let expected = Session {
        id: SessionId::new("SESSION_X02").unwrap(),
        name: "RX-78-2".to_owned(),
        bot_token_env: "BOT_TOKEN_01".to_owned(),
        bot_username: Some("rx78_p2_bot".to_owned()),
        chat_ids: vec![ChatId(195_061_634)],
        allowed_users: vec![UserId(195_061_634)],
        require_mention: true,
        tmux_session: Some("session-x02".to_owned()),
        tmux_wake_command: Some("/telegram-reply".to_owned()),
        cwd: None,
        send_roots: Vec::new(),
        reply_to_message: true,
    };
    assert_eq!(config.sessions["SESSION_X02"], expected);
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn the_example_is_accepted_and_shows_every_field() {
    let value: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
    for key in Config::KEYS.iter().filter(|key| key.name != "$schema") {
        assert!(value.get(key.name).is_some(), "{} is not shown", key.name);
    }
    for key in Session::KEYS {
        let shown = value["sessions"]["SESSION_X01"].get(key.name);
        assert!(shown.is_some(), "{} is not shown", key.name);
    }
    let config = parse(EXAMPLE).unwrap();
    for session in config.sessions.values() {
        assert!(ENV_EXAMPLE.contains(&format!("\n{}=", session.bot_token_env)));
    }
    let first = &config.sessions["SESSION_X01"];
    assert_eq!(first.cwd.as_deref(), Some(Path::new("/home/ada/work/shop")));
    assert_eq!(
        config.state_dir.as_deref(),
        Some(Path::new("/home/ada/.local/state/telepost"))
    );
}

/// A copy of the example that is started as it is lets no stranger in, and says so.
#[test]
fn the_example_lets_nobody_in_and_says_so() {
    let warnings = parse(EXAMPLE).unwrap().warnings();
    let about = |id| {
        format!(
            "sessions.{id}.allowed_users: 4444444444444444 is the placeholder of the examples, not a person's id"
        )
    };
    assert_eq!(warnings, [about("SESSION_X01"), about("SESSION_X02")]);
}

#[test]
fn what_is_optional_may_be_left_out() {
    let config = parse(&with("name", "")).unwrap();
    assert_eq!(
        config.default.as_str(),
        "A",
        "the only session is the default"
    );
    let session = &config.sessions["A"];
    assert_eq!(
        session.name, "A",
        "a session without a name is called by its id"
    );
    assert_eq!((&session.bot_username, &session.cwd), (&None, &None));
    assert_eq!(session.home(), Some(ChatId(5)));
}

#[test]
fn what_is_harmless_is_put_right_in_silence() {
    let only = |key, value| parse(&with(key, value)).unwrap().sessions["A"].clone();
    assert_eq!(
        only("bot_username", r#""@my_shop_bot""#)
            .bot_username
            .as_deref(),
        Some("my_shop_bot")
    );
    assert_eq!(
        only("chat_ids", "[-7, 5, -7]").chat_ids,
        [ChatId(-7), ChatId(5)],
        "the home chat stays first"
    );
    assert_eq!(only("allowed_users", "[5, 5]").allowed_users, [UserId(5)]);
    assert_eq!(
        only("chat_ids", "[-1001234567890]").chat_ids,
        [ChatId(-1_001_234_567_890)]
    );
    assert_eq!(
        only("cwd", r#""/a/./b//""#).cwd.as_deref(),
        Some(Path::new("/a/b"))
    );
    assert_eq!(
        only("cwd", r#""~""#).cwd.as_deref(),
        Some(Path::new("/home/ada"))
    );
    assert!(!only("reply_to_message", "false").reply_to_message);
    assert_eq!(
        only("send_roots", r#"["~/out", "/t", "/t/"]"#).send_roots,
        ["/home/ada/out", "/t"].map(PathBuf::from)
    );
    assert!(
        parse(&format!("\u{feff}{ISSUE}")).is_ok(),
        "a byte order mark"
    );
    assert!(parse(&with_top("$schema", r#""https://example.org/s.json""#)).is_ok());
}

#[test]
fn the_switches_are_read() {
    assert_eq!(
        parse(&with_top("gateway", r#""manual""#)).unwrap().gateway,
        GatewayStart::Manual
    );
    assert_eq!(
        parse(&with_top("pace", r#""off""#)).unwrap().pace,
        Pace::Off
    );
    assert_eq!(
        parse(&with_top("receipts", r#""off""#)).unwrap().receipts,
        Receipts::Off
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let warnings = |key, value| parse(&with(key, value)).unwrap().warnings();
    assert_eq!(
        warnings("chat_ids", "[5, 6]"),
        [
            "sessions.A.chat_ids: 6 is a person's private chat, but this person is not in sessions.A.allowed_users, so \
          nothing from there gets in"
        ]
    );
    assert_eq!(
        warnings("tmux_wake_command", r#""/telegram-reply""#),
        ["sessions.A.tmux_wake_command is never typed, because sessions.A.tmux_session is missing"]
    );
}

#[test]
fn a_file_is_loaded_and_a_missing_one_says_how_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.json");
    let shown = path.display();
    let error = Config::load(&path, &env()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{shown} cannot be read:\n  there is no such file\n    fix: write {{\"sessions\": {{\"SESSION_X01\": \
             {{\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": \
             [4444444444444444]}}}}}} into it; the quick start of the README says how to find your own ids. Or \
             name your file with --config or TG_SESSIONS_CONFIG"
        )
    );
    assert!(
        std::error::Error::source(&error).is_none(),
        "nothing follows the fix"
    );

    put(&path, ISSUE);
    assert_eq!(Config::load(&path, &env()).unwrap().path, path);

    let error = Config::load(folder.path(), &env()).unwrap_err();
    let shown = folder.path().display();
    assert_eq!(
        error.to_string(),
        format!(
            "{shown} cannot be read:\n  Is a directory (os error 21)\n    fix: make {shown} a file that you may read, or name another \
             one with --config"
        )
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test writes what nobody needs after it"
)]
fn a_file_in_another_encoding_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.json");
    std::fs::write(&path, b"{\n\"name\": \"caf\xe9\"}").unwrap();
    assert_eq!(
        Config::load(&path, &env()).unwrap_err().to_string(),
        format!(
            "{} cannot be used because of 1 mistake:\n  line 2: contains bytes that are not UTF-8\n    fix: save the file as UTF-8 \
             in your editor",
            path.display()
        )
    );
}
