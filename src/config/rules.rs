//! The rules that values must follow, and the messages for those that do not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{Violation, quote, violation};
use super::json::describe;
use super::paths::expand;
use super::reader::Reader;
use super::token::{is_secret_char, redact};
use crate::ids::{ChatId, ID_MAX, STAND_INS, UserId};

const NAME_MAX: usize = 64;
const COMMAND_MAX: usize = 200;
const TMUX_SESSION_MAX: usize = 100;
const VARIABLE_MAX: usize = 128;

/// The id in the examples. No account has so large an id, so a copy that was never edited admits nobody.
pub(super) const PLACEHOLDER: UserId = UserId(4_444_444_444_444_444);

/// Why a session needs chats, and how to find them.
pub(super) const NO_CHATS: (&str, &str) = (
    "without a chat this session can neither receive nor answer",
    "write the ids of its chats, the home chat first: a private chat has the id of the person, a group has a \
     negative one; the gateway's log names the ids of every chat that the bot refuses",
);

/// Why a session needs people, and how to find them.
pub(super) const NO_PEOPLE: (&str, &str) = (
    "a session accepts messages only from the people listed here",
    "write the numeric ids of the people who may write; the gateway's log shows your own id when you write to the \
     bot. Until you know it, write [4444444444444444], which is nobody's id and lets nobody in",
);

pub(super) fn any_text(_: &str, _: &Reader<'_>) -> Result<(), Violation> {
    Ok(())
}

pub(super) fn name(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    one_line(
        text.trim(),
        NAME_MAX,
        "write one short line that people know this session by, such as \"Shop\"",
    )
}

pub(super) fn wake_command(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    one_line(
        text,
        COMMAND_MAX,
        "write one line, which is typed as it stands and followed by Enter, such as \"/telegram-reply\"",
    )
}

fn one_line(text: &str, max: usize, instead: &'static str) -> Result<String, Violation> {
    Err(if text.trim().is_empty() {
        violation("is empty", instead)
    } else if text.contains(char::is_control) {
        violation(
            "contains a line break or another control character",
            instead,
        )
    } else if text.chars().count() > max {
        violation(format!("is longer than {max} characters"), instead)
    } else {
        return Ok(text.to_owned());
    })
}

pub(super) fn variable_name(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    const FORM: &str =
        "use letters, digits and _ only, and no digit first, such as \"BOT_TOKEN_01\"";
    let length = text.chars().count();
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_name =
        is_word && length <= VARIABLE_MAX && !text.starts_with(|c: char| c.is_ascii_digit());
    Err(if text.is_empty() {
        violation(
            "is empty",
            "write the name of the variable that holds the token, such as \"BOT_TOKEN_01\"",
        )
    } else if (text.contains(':') && length >= 20) || could_be_a_secret(text) {
        violation(
            "looks like the token itself",
            "put the token into the file .env beside this one, as BOT_TOKEN_01=…, and write the variable's name here: \
             \"BOT_TOKEN_01\"",
        )
    } else if is_name {
        return Ok(text.to_owned());
    } else if length < 20 {
        violation(
            format!("is {}, which cannot be the name of a variable", quote(text)),
            FORM,
        )
    } else {
        // It may be a secret, so it is not repeated.
        violation(
            "cannot be the name of a variable",
            format!("{FORM}; a token belongs in .env"),
        )
    })
}

/// A token's second half alone: long, with small and capital letters and digits.
fn could_be_a_secret(text: &str) -> bool {
    let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
    text.len() >= 30
        && text.chars().all(is_secret_char)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_digit)
}

pub(super) fn username(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    let bare = text.strip_prefix('@').unwrap_or(text);
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if (5..=32).contains(&bare.len()) && bare.chars().all(is_valid) {
        return Ok(bare.to_owned());
    }
    Err(violation(
        format!("is {}, which is not a Telegram username", quote(text)),
        "write the bot's username, 5 to 32 letters, digits and _, such as \"my_shop_bot\"",
    ))
}

pub(super) fn tmux_session(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    const SHOWN: &str = "write the name that `tmux ls` shows";
    Err(if text.trim().is_empty() {
        violation("is empty", format!("{SHOWN}, or leave the key out"))
    } else if text.chars().count() > TMUX_SESSION_MAX || text.contains(char::is_control) {
        violation(
            "is longer than 100 characters or contains a control character",
            SHOWN,
        )
    } else if text.contains([':', '.']) {
        let likely = quote(&redact(text).replace([':', '.'], "_"));
        violation(
            format!(
                "is {}, but tmux session names contain no : and no .",
                quote(text)
            ),
            format!("{SHOWN}, probably {likely}"),
        )
    } else {
        return Ok(text.to_owned());
    })
}

pub(super) fn absolute_path(text: &str, reader: &Reader<'_>) -> Result<PathBuf, Violation> {
    let path = expand(text, reader.env)?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(violation(
        format!("is {}, a relative path", quote(text)),
        "write an absolute path or one that begins with ~/",
    ))
}

/// Relative to the folder of the file.
pub(super) fn state_dir(text: &str, reader: &Reader<'_>) -> Result<PathBuf, Violation> {
    let folder = reader.file.parent().unwrap_or(Path::new("/"));
    Ok(folder.join(expand(text, reader.env)?))
}

pub(super) fn id(value: &Value) -> Result<i64, Violation> {
    Err(match (value, value.as_i64()) {
        (_, Some(0)) => violation(
            "is 0, which is nobody's id",
            "write the real id, or delete it",
        ),
        (_, Some(id)) if id.unsigned_abs() <= ID_MAX.unsigned_abs() => return Ok(id),
        (_, Some(id)) => violation(
            format!("is {id}, larger than any Telegram id"),
            "write it as the gateway's log shows it",
        ),
        (Value::Number(number), None) => violation(
            format!("is {number}, which is not a Telegram id"),
            "write a whole number of at most 16 digits, without a decimal point",
        ),
        (Value::String(text), _) if text.trim().parse::<i64>().is_ok() => violation(
            format!("is the text {}, not a number", quote(text)),
            format!("drop the quotes: {}", text.trim()),
        ),
        (Value::String(text), _) if text.starts_with('@') => violation(
            format!("is the username {}, not a number", quote(text)),
            "write the numeric id: usernames can change hands",
        ),
        _ => violation(
            format!("is {}, not a number", describe(value)),
            "write a numeric id, such as 4444444444444444",
        ),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "a rule of ids")]
pub(super) fn chat_id(id: i64) -> Result<ChatId, Violation> {
    Ok(ChatId(id))
}

pub(super) fn person_id(id: i64) -> Result<UserId, Violation> {
    Err(if STAND_INS.contains(&UserId(id)) {
        violation(
            format!("is {id}, which stands for an anonymous admin, a channel or Telegram itself"),
            "write the ids of people; the author of a message from this one cannot be told",
        )
    } else if id < 0 {
        violation(
            format!("is {id}: negative, so this is a group's id"),
            "move it to `chat_ids`; this list takes the ids of the people who may write, also of those in that group",
        )
    } else {
        return Ok(UserId(id));
    })
}
