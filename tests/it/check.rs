//! `telepost check`: each mistake has a message that says where, what and what to write; nothing is
//! created and no token is printed. The exact texts are snapshots: change them on purpose only.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// In the form of a real token.
const TOKEN: &str = "1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1";

/// Runs `check` on this file in a folder of its own, which must have nothing else in it afterwards.
fn check_text(text: &str, env: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.json");
    fs::write(&file, text).unwrap();
    let output = check_file(&file, env);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "something was created: {left:?}");
    (output, file.display().to_string())
}

fn check_file(file: &Path, env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_telepost"))
        .arg("check")
        .arg("--config")
        .arg(file)
        .env_clear()
        .env("HOME", file.parent().unwrap())
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

/// The file is refused with exit code 3 and exactly this on stderr, where FILE is the file.
#[track_caller]
fn refused(config: &Value, env: &[(&str, &str)], words: &str) {
    let (output, file) = check_text(&config.to_string(), env);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.replace(&file, "FILE"), format!("telepost: {words}\n"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"");
}

/// The file is accepted with exactly this on stdout, where FILE is the file and HOME its folder.
#[track_caller]
fn accepted(text: &str, env: &[(&str, &str)], words: &str) {
    let (output, file) = check_text(text, env);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let home = Path::new(&file).parent().unwrap().display().to_string();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.replace(&file, "FILE").replace(&home, "HOME"), words);
    assert_eq!(output.status.code(), Some(0));
}

fn session(more: Value) -> Value {
    let mut session =
        json!({"bot_token_env": "TOKEN_ONE", "chat_ids": [11], "allowed_users": [11]});
    for (key, value) in more.as_object().unwrap() {
        session[key] = value.clone();
    }
    session
}

fn one(more: Value) -> Value {
    json!({"sessions": {"ONE": session(more)}})
}

fn two(a: Value, b: Value) -> Value {
    json!({"sessions": {"ONE": session(a), "TWO": session(b)}, "default": "ONE"})
}

#[test]
fn an_unknown_key() {
    refused(
        &one(json!({"alowed_users": [5]})),
        &[],
        "FILE cannot be used because of 1 mistake:\n  sessions.ONE.alowed_users: is not a key that telepost knows\n    fix: did you mean `allowed_users`?",
    );
}

const ALLOWED_FIX: &str = "write the numeric ids of the people who may write; the gateway's log shows your own id when you write to the bot. Until you know it, write [4444444444444444], which is no one's id and lets no one in";

#[test]
fn missing_allowed_users() {
    let mut config = one(json!({}));
    let session = config["sessions"]["ONE"].as_object_mut().unwrap();
    session.remove("allowed_users");
    refused(
        &config,
        &[],
        &format!(
            "FILE cannot be used because of 1 mistake:\n  sessions.ONE.allowed_users: is missing: a session accepts messages only from the people listed here\n    fix: {ALLOWED_FIX}"
        ),
    );
}

#[test]
fn empty_allowed_users() {
    refused(
        &one(json!({"allowed_users": []})),
        &[],
        &format!(
            "FILE cannot be used because of 1 mistake:\n  sessions.ONE.allowed_users: is empty: a session accepts messages only from the people listed here\n    fix: {ALLOWED_FIX}"
        ),
    );
}

const OVERLAP_FIX: &str = "give each session a chat of its own, or a bot of its own (another token, another `bot_token_env`)";

#[test]
fn overlapping_addresses() {
    refused(
        &two(json!({}), json!({})),
        &[],
        &format!(
            "FILE cannot be used because of 1 mistake:\n  sessions.TWO.chat_ids: chat 11 is also in sessions.ONE.chat_ids, and both use the bot of TOKEN_ONE: a message from there could belong to either session\n    fix: {OVERLAP_FIX}"
        ),
    );
}

#[test]
fn addresses_that_overlap_because_two_variables_hold_one_bot() {
    refused(
        &two(json!({}), json!({"bot_token_env": "TOKEN_TWO"})),
        &[("TOKEN_ONE", TOKEN), ("TOKEN_TWO", TOKEN)],
        &format!(
            "FILE cannot be used because of 1 mistake:\n  sessions.TWO.chat_ids: chat 11 is also in sessions.ONE.chat_ids, and TOKEN_ONE and TOKEN_TWO are the same bot 1234567: a message from there could belong to either session\n    fix: {OVERLAP_FIX}"
        ),
    );
}

#[test]
fn a_malformed_token_which_is_not_printed() {
    refused(
        &one(json!({})),
        &[("TOKEN_ONE", "no-token-but-secret-words")],
        "FILE cannot be used because of 1 mistake:\n  sessions.ONE.bot_token_env: the variable TOKEN_ONE, set in the environment, does not hold a bot token: there is no colon in it\n    fix: copy the whole token as Telegram gave it: digits, a colon, 35 characters, no spaces (telepost never prints it)",
    );
}

#[test]
fn a_token_where_the_name_of_its_variable_belongs_which_is_not_printed() {
    let config = one(json!({"bot_token_env": TOKEN}));
    let (output, _) = check_text(&config.to_string(), &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sessions.ONE.bot_token_env"), "{said}");
    assert!(!said.contains("AAHdqTcv"), "{said}");
}

#[test]
fn an_unknown_default() {
    let mut config = one(json!({}));
    config["default"] = json!("ON");
    refused(
        &config,
        &[],
        "FILE cannot be used because of 1 mistake:\n  default: is \"ON\", but there is no such session\n    fix: did you mean `ONE`?",
    );
}

#[test]
fn a_session_id_that_would_leave_its_folder() {
    refused(
        &json!({"sessions": {"../etc": session(json!({}))}}),
        &[],
        "FILE cannot be used because of 1 mistake:\n  sessions[\"../etc\"]: is not a session id: it begins with '.'; the first character must be a letter or a digit\n    fix: session ids are folder names too; write, for example, `etc`",
    );
}

#[test]
fn session_ids_that_differ_only_in_case() {
    refused(
        &json!({"sessions": {"one": session(json!({})), "ONE": session(json!({"bot_token_env": "TOKEN_TWO"}))}, "default": "ONE"}),
        &[],
        "FILE cannot be used because of 1 mistake:\n  sessions.ONE: differs from `one` only in upper and lower case; on macOS both would be the same folder\n    fix: give one of the two another id",
    );
}

#[test]
fn two_equal_working_folders() {
    refused(
        &two(
            json!({"cwd": "/no/shop"}),
            json!({"bot_token_env": "TOKEN_TWO", "cwd": "/no//shop/"}),
        ),
        &[],
        "FILE cannot be used because of 1 mistake:\n  sessions.TWO.cwd: is the same folder as sessions.ONE.cwd\n    fix: name another folder, or leave one of the two out and start that agent with --session or TG_SESSION_ID",
    );
}

#[test]
fn several_mistakes_at_once() {
    refused(
        &one(json!({"chat_ids": [0], "alowed_users": [5]})),
        &[],
        "FILE cannot be used because of 2 mistakes:\n  sessions.ONE.alowed_users: is not a key that telepost knows\n    fix: did you mean `allowed_users`?\n  sessions.ONE.chat_ids[0]: is 0, which is no one's id\n    fix: write the real id, or delete it",
    );
}

#[test]
fn the_file_of_the_issue_is_accepted_as_it_stands() {
    let issue = r#"{"sessions": {
   "SESSION_X01": {"name": "RX-78-1", "bot_token_env": "BOT_TOKEN_02", "bot_username": "rx78_p_bot", "chat_ids": [195061634], "allowed_users": [195061634], "tmux_session": "session-x01", "tmux_wake_command": "/telegram-reply"},
   "SESSION_X02": {"name": "RX-78-2", "bot_token_env": "BOT_TOKEN_01", "bot_username": "rx78_p2_bot", "chat_ids": [195061634], "allowed_users": [195061634], "tmux_session": "session-x02", "tmux_wake_command": "/telegram-reply"}},
  "default": "SESSION_X01"}"#;
    accepted(
        issue,
        &[("BOT_TOKEN_01", TOKEN)],
        "\
FILE is valid.
State folder: HOME/.local/state/telepost
Bot API: https://api.telegram.org/, without a proxy

 session                name     bot                      chats      people
 SESSION_X01 (default)  RX-78-1  BOT_TOKEN_02 is not set  195061634  195061634
 SESSION_X02            RX-78-2  bot 1234567              195061634  195061634
warning: session SESSION_X01 has no token: write BOT_TOKEN_02=<the token> into HOME/.env
",
    );
}

#[test]
fn the_example_is_accepted_and_warns_of_its_placeholders() {
    accepted(
        include_str!("../../sessions.example.json"),
        &[],
        "\
FILE is valid.
State folder: HOME/.local/state/telepost
Bot API: https://api.telegram.org/, without a proxy

 session                name     bot                      chats              people
 SESSION_X01 (default)  Shop     BOT_TOKEN_01 is not set  4444444444444444,  4444444444444444
                                                          -4444444444444444
 SESSION_X02            Website  BOT_TOKEN_02 is not set  4444444444444444   4444444444444444
warning: sessions.SESSION_X01.allowed_users: 4444444444444444 is the placeholder of the examples, not a person's id
warning: sessions.SESSION_X02.allowed_users: 4444444444444444 is the placeholder of the examples, not a person's id
warning: session SESSION_X01 has no token: write BOT_TOKEN_01=<the token> into HOME/.env
warning: session SESSION_X02 has no token: write BOT_TOKEN_02=<the token> into HOME/.env
",
    );
}

#[test]
fn an_env_file_that_others_may_read_is_a_warning_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.json");
    fs::write(&file, one(json!({})).to_string()).unwrap();
    let env_file = folder.path().join(".env");
    fs::write(&env_file, format!("TOKEN_ONE={TOKEN}\n")).unwrap();
    fs::set_permissions(&env_file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = check_file(&file, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("bot 1234567"), "{said}");
    assert!(
        said.contains("\nwarning: ") && said.contains("chmod 600"),
        "{said}"
    );
    assert!(!said.contains("AAHdqTcv"), "{said}");
}

#[test]
fn a_gateway_refuses_what_check_refuses_and_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessions.json");
    fs::write(&file, one(json!({"allowed_users": []})).to_string()).unwrap();
    let gateway = Command::new(env!("CARGO_BIN_EXE_telepost"))
        .args(["gateway", "--config"])
        .arg(&file)
        .env_clear()
        .env("HOME", folder.path())
        .env("TOKEN_ONE", TOKEN)
        .output()
        .unwrap();
    let check = check_file(&file, &[]);
    assert_eq!(gateway.status.code(), Some(3));
    assert_eq!(gateway.stderr, check.stderr);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
