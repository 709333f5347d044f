//! The ids of people and chats.

use super::*;

const WHO: &str = "write the numeric ids of the people who may write; the gateway's log shows your own id when you write \
     to the bot. Until you know it, write [4444444444444444], which is no one's id and lets no one in";
const WHERE: &str = "write the ids of its chats, the home chat first: a private chat has the id of the \
     person, a group has a negative one; the gateway's log names the ids of every chat that the bot refuses";
const WHOLE: &str = "write a whole number of at most 16 digits, without a decimal point";
const ID: &str = "write a numeric id, such as 4444444444444444";

#[test]
fn allowed_users() {
    in_a_session(&[
        (
            "allowed_users",
            "",
            "sessions.A.allowed_users",
            "is missing: a session accepts messages only from the people listed here",
            WHO,
        ),
        (
            "allowed_users",
            "[]",
            "sessions.A.allowed_users",
            "is empty: a session accepts messages only from the people listed here",
            WHO,
        ),
        (
            "allowed_users",
            "5",
            "sessions.A.allowed_users",
            "is a number, not a list",
            "write [5]",
        ),
        (
            "allowed_users",
            "\"5\"",
            "sessions.A.allowed_users",
            "is a string, not a list of numbers",
            "write [5]",
        ),
        (
            "allowed_users",
            "null",
            "sessions.A.allowed_users",
            "is null, not a list of numbers",
            "write, for example, [4444444444444444]",
        ),
        (
            "allowed_users",
            "[-1001234567890]",
            "sessions.A.allowed_users[0]",
            "is -1001234567890: negative, so this is a group's id",
            "move it to `chat_ids`; this list takes the ids of the people who may write, also of those in that group",
        ),
    ]);
}

#[test]
fn chat_ids() {
    let why = "without a chat this session can neither receive nor answer";
    in_a_session(&[
        (
            "chat_ids",
            "",
            "sessions.A.chat_ids",
            &format!("is missing: {why}"),
            WHERE,
        ),
        (
            "chat_ids",
            "[]",
            "sessions.A.chat_ids",
            &format!("is empty: {why}"),
            WHERE,
        ),
        (
            "chat_ids",
            "-7",
            "sessions.A.chat_ids",
            "is a number, not a list",
            "write [-7]",
        ),
    ]);
}

#[test]
fn ids() {
    in_a_session(&[
        (
            "allowed_users",
            "[5, \"195061634\"]",
            "sessions.A.allowed_users[1]",
            "is the string \"195061634\", not a number",
            "drop the quotes: 195061634",
        ),
        (
            "allowed_users",
            "[\"@ada\"]",
            "sessions.A.allowed_users[0]",
            "is the username \"@ada\", not a number",
            "write the numeric id: usernames can change hands",
        ),
        (
            "allowed_users",
            "[\"ada\"]",
            "sessions.A.allowed_users[0]",
            "is a string, not a number",
            ID,
        ),
        (
            "chat_ids",
            "[null]",
            "sessions.A.chat_ids[0]",
            "is null, not a number",
            ID,
        ),
        (
            "chat_ids",
            "[[5]]",
            "sessions.A.chat_ids[0]",
            "is a list, not a number",
            ID,
        ),
        (
            "chat_ids",
            "[0]",
            "sessions.A.chat_ids[0]",
            "is 0, which is no one's id",
            "write the real id, or delete it",
        ),
        (
            "chat_ids",
            "[1.5]",
            "sessions.A.chat_ids[0]",
            "is 1.5, which is not a Telegram id",
            WHOLE,
        ),
        (
            "chat_ids",
            "[18446744073709551615]",
            "sessions.A.chat_ids[0]",
            "is 18446744073709551615, which is not a Telegram id",
            WHOLE,
        ),
        (
            "chat_ids",
            "[4503599627370497]",
            "sessions.A.chat_ids[0]",
            "is 4503599627370497, larger than any Telegram id",
            "write it as the gateway's log shows it",
        ),
    ]);
    assert!(parse(&with("chat_ids", "[-4503599627370496]")).is_ok());
}

#[test]
fn who_stands_in_for_somebody_is_no_person() {
    const PEOPLE: &str = "write the ids of people; this id hides the person who writes";
    in_a_session(&[
        (
            "allowed_users",
            "[5, 1087968824]",
            "sessions.A.allowed_users[1]",
            "is 1087968824, which stands for an anonymous admin, a channel or Telegram itself",
            PEOPLE,
        ),
        (
            "allowed_users",
            "[777000]",
            "sessions.A.allowed_users[0]",
            "is 777000, which stands for an anonymous admin, a channel or Telegram itself",
            PEOPLE,
        ),
    ]);
}
