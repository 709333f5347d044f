//! The rules that values must follow, and the messages for those that do not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{Violation, quote, refuse_if, violation};
use super::json::describe;
use super::paths::expand;
use super::reader::Reader;
use super::token::{is_secret_char, redact};
use crate::ids::{ID_MAX, STAND_INS, UserId};
use crate::text::acts;

const NAME_MAX: usize = 64;
const COMMAND_MAX: usize = 200;
const TMUX_SESSION_MAX: usize = 100;
const VARIABLE_MAX: usize = 128;

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
     bot. Until you know it, write [4444444444444444], which is no one's id and lets no one in",
);

pub(super) fn name(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    let instead = "write one short line that people know this session by, such as \"Shop\"";
    one_line(text.trim(), NAME_MAX, instead)
}

pub(super) fn wake_command(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    let instead = "write one line, which is typed as it stands and followed by Enter, such as \"/telegram-reply\"";
    let text = one_line(text, COMMAND_MAX, instead)?;
    // A terminal shows these otherwise than it sends them, or not at all.
    let hidden = text
        .chars()
        .find(|&c| acts(c) || c != ' ' && c.is_whitespace());
    let what = hidden.map(|c| format!("contains the invisible character {}", c.escape_unicode()));
    refuse_if(what.is_some(), what.unwrap_or_default(), instead)?;
    Ok(text)
}

fn one_line(text: &str, max: usize, instead: &'static str) -> Result<String, Violation> {
    let control = "contains a line break or another control character";
    let long = format!("is longer than {max} characters");
    refuse_if(text.trim().is_empty(), "is empty", instead)?;
    refuse_if(text.contains(char::is_control), control, instead)?;
    refuse_if(text.chars().count() > max, long, instead)?;
    Ok(text.to_owned())
}

pub(super) fn variable_name(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    let form =
        "use only letters, digits and _, not beginning with a digit, such as \"BOT_TOKEN_01\"";
    let length = text.chars().count();
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_name = is_word && !text.starts_with(|c: char| c.is_ascii_digit());
    refuse_if(
        text.is_empty(),
        "is empty",
        "write the name of the variable that holds the token, such as \"BOT_TOKEN_01\"",
    )?;
    refuse_if(
        (text.contains(':') && length >= 20) || could_be_a_secret(text),
        "looks like the token itself",
        "put the token into the file .env beside this one, as BOT_TOKEN_01=…, and write the variable's name here: \
         \"BOT_TOKEN_01\"",
    )?;
    // A longer text may be a secret, so it is not repeated.
    let short = format!("is {}, which cannot be the name of a variable", quote(text));
    refuse_if(!is_name && length < 20, short, form)?;
    let instead = format!("{form}; a token belongs in .env");
    refuse_if(
        !is_name || length > VARIABLE_MAX,
        "cannot be the name of a variable",
        instead,
    )?;
    Ok(text.to_owned())
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
    let is_word = bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    refuse_if(
        !is_word || !(5..=32).contains(&bare.len()),
        format!("is {}, which is not a Telegram username", quote(text)),
        "write the bot's username, 5 to 32 letters, digits and _, such as \"my_shop_bot\"",
    )?;
    Ok(bare.to_owned())
}

pub(super) fn tmux_session(text: &str, _: &Reader<'_>) -> Result<String, Violation> {
    let shown = "write the name that `tmux ls` shows";
    refuse_if(
        text.trim().is_empty(),
        "is empty",
        format!("{shown}, or leave the key out"),
    )?;
    refuse_if(
        text.chars().count() > TMUX_SESSION_MAX || text.contains(char::is_control),
        "is longer than 100 characters or contains a control character",
        shown,
    )?;
    let name = quote(text);
    let likely = quote(&redact(text).replace([':', '.'], "_"));
    refuse_if(
        text.contains([':', '.']),
        format!("is {name}, but tmux session names contain no : and no ."),
        format!("{shown}, probably {likely}"),
    )?;
    Ok(text.to_owned())
}

pub(super) fn absolute_path(text: &str, reader: &Reader<'_>) -> Result<PathBuf, Violation> {
    let path = expand(text, reader.env)?;
    let what = format!("is {}, a relative path", quote(text));
    refuse_if(
        path.is_relative(),
        what,
        "write an absolute path or one that begins with ~/",
    )?;
    Ok(path)
}

/// Relative to the folder of the file.
pub(super) fn state_dir(text: &str, reader: &Reader<'_>) -> Result<PathBuf, Violation> {
    let folder = reader.file.parent().unwrap_or(Path::new("/"));
    Ok(folder.join(expand(text, reader.env)?))
}

pub(super) fn id(value: &Value) -> Result<i64, Violation> {
    let Some(id) = value.as_i64() else {
        let text = value.as_str().unwrap_or_default();
        let is_number = text.trim().parse::<i64>().is_ok();
        refuse_if(
            value.is_number(),
            format!("is {value}, which is not a Telegram id"),
            "write a whole number of at most 16 digits, without a decimal point",
        )?;
        refuse_if(
            is_number,
            format!("is the string {}, not a number", quote(text)),
            format!("drop the quotes: {}", text.trim()),
        )?;
        refuse_if(
            text.starts_with('@'),
            format!("is the username {}, not a number", quote(text)),
            "write the numeric id: usernames can change hands",
        )?;
        let what = format!("is {}, not a number", describe(value));
        return Err(violation(
            what,
            "write a numeric id, such as 4444444444444444",
        ));
    };
    let large = format!("is {id}, larger than any Telegram id");
    refuse_if(
        id == 0,
        "is 0, which is no one's id",
        "write the real id, or delete it",
    )?;
    refuse_if(
        !(-ID_MAX..=ID_MAX).contains(&id),
        large,
        "write it as the gateway's log shows it",
    )?;
    Ok(id)
}

pub(super) fn person_id(id: i64) -> Result<UserId, Violation> {
    refuse_if(
        STAND_INS.contains(&UserId(id)),
        format!("is {id}, which stands for an anonymous admin, a channel or Telegram itself"),
        "write the ids of people; this id hides the person who writes",
    )?;
    refuse_if(
        id < 0,
        format!("is {id}: negative, so this is a group's id"),
        "move it to `chat_ids`; this list takes the ids of the people who may write, also of those in that group",
    )?;
    Ok(UserId(id))
}
