//! The two lists of a session that decide who is heard: its chats and its people.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{Problem, quote};
use super::json::{Field, Object, Place, describe};
use super::session::{ALLOWED_USERS, CHAT_IDS};
use crate::ids::STAND_INS;
use crate::ids::{ChatId, UserId};

/// Telegram ids have at most 52 significant bits.
pub(super) const ID_MAX: i64 = 1 << 52;

/// What stands in examples, of which somebody may forget to change one: an id that nobody has, for
/// Telegram's are far from having so many digits.
pub(super) const PLACEHOLDER: i64 = 4_444_444_444_444_444;

/// The chats; their order stays, for the first is the home chat.
pub(super) fn chat_ids(object: &Object<'_>, problems: &mut Vec<Problem>) -> Vec<ChatId> {
    ids(
        object,
        &CHAT_IDS,
        "without a chat this session can neither hear nor answer",
        "write the ids of its chats, the one for its own reports first: a private chat has the id of the person, a \
         group has a negative one; what the bot refuses is named in the gateway's log, with its ids",
        problems,
    )
    .into_iter()
    .map(|(_, id)| ChatId(id))
    .collect()
}

/// The people who may write.
pub(super) fn allowed_users(object: &Object<'_>, problems: &mut Vec<Problem>) -> Vec<UserId> {
    let found = ids(
        object,
        &ALLOWED_USERS,
        "nobody may write to a session until it says who",
        "write the numeric ids of the people who may; your own id is shown in the gateway's log when you write to the \
         bot. Until you know it, [4444444444444444] is nobody's id and lets nobody in",
        problems,
    );
    let mut users = Vec::new();
    for (place, id) in found {
        if STAND_INS.contains(&UserId(id)) {
            problems.push(place.problem(
                &format!(
                    "is {id}, which stands for an anonymous admin, a channel or Telegram itself"
                ),
                "write the ids of people; nobody can tell who writes behind this one",
            ));
        } else if id > 0 {
            users.push(UserId(id));
        } else {
            problems.push(place.problem(
                &format!("is {id}: negative, so this is a group's id"),
                "move it to `chat_ids`; here stand the ids of the people who may write, also of those in that group",
            ));
        }
    }
    users
}

/// The ids of a list, without repetitions, in their order.
fn ids<'v>(
    object: &Object<'v>,
    field: &Field,
    why: &str,
    instead: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(Place<'v>, i64)> {
    let mut own = Vec::new();
    let place = object.get(field, &mut own);
    problems.extend(
        own.into_iter()
            .map(|missing| Problem::new(&missing.path, &format!("is missing: {why}"), instead)),
    );
    let Some(place) = place else {
        return Vec::new();
    };
    match place.value {
        Value::Array(items) if items.is_empty() => {
            problems.push(place.problem(&format!("is empty: {why}"), instead));
            return Vec::new();
        }
        Value::Number(number) => {
            problems.push(place.problem("is a number, not a list", &format!("write [{number}]")));
            return Vec::new();
        }
        Value::String(text) if text.trim().parse::<i64>().is_ok() => {
            let text = text.trim();
            problems.push(place.problem(
                "is a text, not a list of numbers",
                &format!("write [{text}]"),
            ));
            return Vec::new();
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {}
    }
    let mut seen = BTreeSet::new();
    let mut found = place.items(field, problems);
    found.retain(|item| item.value.as_i64().is_none_or(|id| seen.insert(id)));
    found
        .into_iter()
        .filter_map(|item| id(&item, problems).map(|id| (item, id)))
        .collect()
}

fn id(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<i64> {
    let (what, instead) = match place.value {
        Value::Number(number) => match number.as_i64() {
            Some(0) => (
                "is 0, which is nobody's id".to_owned(),
                "write the real id, or delete it".to_owned(),
            ),
            Some(id) if id.unsigned_abs() <= ID_MAX.unsigned_abs() => return Some(id),
            Some(_) => (
                format!("is {number}, larger than any Telegram id"),
                "write it as the gateway's log shows it".to_owned(),
            ),
            None => (
                format!("is {number}, no Telegram id"),
                "write a whole number of at most 16 digits, without a decimal point".to_owned(),
            ),
        },
        Value::String(text) if text.trim().parse::<i64>().is_ok() => (
            format!("is the text {}, not a number", quote(text)),
            format!("drop the quotes: {}", text.trim()),
        ),
        Value::String(text) if text.starts_with('@') => (
            format!("is the username {}, not a number", quote(text)),
            "write the numeric id: usernames can change hands".to_owned(),
        ),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => (
            format!("is {}, not a number", describe(place.value)),
            "write a numeric id, such as 4444444444444444".to_owned(),
        ),
    };
    problems.push(place.problem(&what, &instead));
    None
}
