//! The texts of a session: names, commands and paths.

use super::*;

const VARIABLE: &str =
    "use only letters, digits and _, not beginning with a digit, such as \"BOT_TOKEN_01\"";
const LINE: &str = "write one line, which is typed as it stands and followed by Enter, such as \"/telegram-reply\"";
const PATH: &str = "write an absolute path or one that begins with ~/";
const NAME: &str = "write one short line that people know this session by, such as \"Shop\"";
const USERNAME: &str =
    "write the bot's username, 5 to 32 letters, digits and _, such as \"my_shop_bot\"";

#[test]
fn bot_token_env() {
    let path = "sessions.A.bot_token_env";
    in_a_session(&[
        (
            "bot_token_env",
            "",
            path,
            "is missing",
            "write \"bot_token_env\": \"BOT_TOKEN_01\"",
        ),
        (
            "bot_token_env",
            "\"\"",
            path,
            "is empty",
            "write the name of the variable that holds the token, such as \"BOT_TOKEN_01\"",
        ),
        (
            "bot_token_env",
            &format!("\"{TOKEN}\""),
            path,
            "looks like the token itself",
            "put the token into the file .env beside this one, as BOT_TOKEN_01=…, and write the variable's name here: \
             \"BOT_TOKEN_01\"",
        ),
        (
            "bot_token_env",
            "\"AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1\"",
            path,
            "looks like the token itself",
            "put the token into the file .env beside this one, as BOT_TOKEN_01=…, and write the variable's name here: \
             \"BOT_TOKEN_01\"",
        ),
        (
            "bot_token_env",
            "\"BOT TOKEN\"",
            path,
            "is \"BOT TOKEN\", which cannot be the name of a variable",
            VARIABLE,
        ),
        (
            "bot_token_env",
            "\"1BOT\"",
            path,
            "is \"1BOT\", which cannot be the name of a variable",
            VARIABLE,
        ),
        (
            "bot_token_env",
            "\"the token of my shop bot\"",
            path,
            "cannot be the name of a variable",
            &format!("{VARIABLE}; a token belongs in .env"),
        ),
        (
            "bot_token_env",
            "7",
            path,
            "is the number 7, not a string",
            "write, for example, \"BOT_TOKEN_01\"",
        ),
    ]);
}

#[test]
fn names() {
    let long = format!("\"{}\"", "é".repeat(65));
    in_a_session(&[
        ("name", "\" \"", "sessions.A.name", "is empty", NAME),
        (
            "name",
            r#""a\nb""#,
            "sessions.A.name",
            "contains a line break or another control character",
            NAME,
        ),
        (
            "name",
            &long,
            "sessions.A.name",
            "is longer than 64 characters",
            NAME,
        ),
        (
            "name",
            "5",
            "sessions.A.name",
            "is the number 5, not a string",
            "write, for example, \"Shop\"",
        ),
        (
            "bot_username",
            "\"@ab\"",
            "sessions.A.bot_username",
            "is \"@ab\", which is not a Telegram username",
            USERNAME,
        ),
        (
            "bot_username",
            "\"my-bot\"",
            "sessions.A.bot_username",
            "is \"my-bot\", which is not a Telegram username",
            USERNAME,
        ),
        (
            "bot_username",
            "null",
            "sessions.A.bot_username",
            "is null, not a string",
            "write, for example, \"my_shop_bot\", or leave the key out",
        ),
    ]);
}

#[test]
fn tmux() {
    let (session, command) = ("sessions.A.tmux_session", "sessions.A.tmux_wake_command");
    let long = format!("\"/{}\"", "a".repeat(200));
    in_a_session(&[
        (
            "tmux_session",
            "\"\"",
            session,
            "is empty",
            "write the name that `tmux ls` shows, or leave the key out",
        ),
        (
            "tmux_session",
            "\"a:b.c\"",
            session,
            "is \"a:b.c\", but tmux session names contain no : and no .",
            "write the name that `tmux ls` shows, probably \"a_b_c\"",
        ),
        (
            "tmux_session",
            r#""a\tb""#,
            session,
            "is longer than 100 characters or contains a control character",
            "write the name that `tmux ls` shows",
        ),
        ("tmux_wake_command", "\"\"", command, "is empty", LINE),
        (
            "tmux_wake_command",
            r#""/a\n""#,
            command,
            "contains a line break or another control character",
            LINE,
        ),
        (
            "tmux_wake_command",
            &long,
            command,
            "is longer than 200 characters",
            LINE,
        ),
    ]);
}

#[test]
fn paths() {
    let path = "sessions.A.cwd";
    in_a_session(&[
        ("cwd", "\"\"", path, "is empty", PATH),
        (
            "cwd",
            "\"work\"",
            path,
            "is \"work\", a relative path",
            PATH,
        ),
        (
            "cwd",
            "\"~bob/x\"",
            path,
            "begins with ~ and a name",
            "write the path out; the only short form is ~/ (your own home)",
        ),
        (
            "cwd",
            r#""/a\nb""#,
            path,
            "contains a control character",
            "write the path without line breaks and tabs",
        ),
        (
            "send_roots",
            "\"/a\"",
            "sessions.A.send_roots",
            "is a string, not a list of strings",
            "write, for example, [\"~/work/shop/out\"]",
        ),
        (
            "send_roots",
            "[\"out\"]",
            "sessions.A.send_roots[0]",
            "is \"out\", a relative path",
            PATH,
        ),
        (
            "send_roots",
            "[5]",
            "sessions.A.send_roots[0]",
            "is the number 5, not a string",
            "write, for example, \"~/work/shop/out\"",
        ),
    ]);
    in_a_session(&[(
        "reply_to_message",
        "\"no\"",
        "sessions.A.reply_to_message",
        "is a string, not true or false",
        "write, for example, true",
    )]);
    at_the_top(&[("state_dir", "\"\"", "state_dir", "is empty", PATH)]);
    let homeless = Config::parse(
        &with("cwd", "\"~/x\""),
        Path::new("/c/sessions.json"),
        &Env::default(),
    );
    assert_eq!(
        homeless.unwrap_err().to_string(),
        one_mistake(
            path,
            "begins with ~/, but HOME is not set",
            "write the path out, beginning with /"
        )
    );
}
