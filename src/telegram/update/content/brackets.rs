//! Descriptions in brackets of messages without words. Pure.

use serde_json::Value;

use super::{NAME_CHARS, RAW_CHARS, short};
use crate::clock::Timestamp;
use crate::telegram::update::message::{Chat, Message, User};

/// Most characters of the message that was pinned.
const PINNED_CHARS: usize = 300;

/// The words for a kind of which we know what is in it; `None` for all others.
pub(super) fn describe(kind: &str, value: &Value) -> Option<String> {
    let string = |name: &str| field(value, name);
    let number = |name: &str| value.get(name).and_then(Value::as_i64);
    Some(match kind {
        "photo" => file("photo", None, value),
        "live_photo" => file("live photo", None, value),
        "animation" => file("animation", string("file_name"), value),
        "document" => file("document", string("file_name"), value),
        "voice" => file("voice message", None, value),
        "audio" => {
            let title = [string("performer"), string("title")];
            let title: Vec<String> = title.into_iter().flatten().collect();
            let title = Some(title.join(" – ")).filter(|title| !title.is_empty());
            file("audio", title.or_else(|| string("file_name")), value)
        }
        "video" => file("video", string("file_name"), value),
        "video_note" => file("video message", None, value),
        "sticker" => {
            let set = string("set_name").map(|set| format!("of the set {set}"));
            brackets("sticker", [string("emoji"), set])
        }
        "location" => brackets("location", [place(value)]),
        "venue" => {
            let at = value.get("location").and_then(place);
            let at = at.map(|at| format!("at {at}"));
            brackets("venue", [string("title"), string("address"), at])
        }
        "contact" => {
            let names = [string("first_name"), string("last_name")];
            let names: Vec<String> = names.into_iter().flatten().collect();
            let user = number("user_id").map(|id| format!("user {id}"));
            brackets(
                "contact",
                [Some(names.join(" ")), string("phone_number"), user],
            )
        }
        "poll" => poll(value),
        "dice" => {
            let emoji = string("emoji").unwrap_or_default();
            brackets(
                &format!("dice {emoji}"),
                [number("value").map(|n| n.to_string())],
            )
        }
        "story" => {
            let id = number("id").map(|id| id.to_string());
            brackets("story", [id, value.get("chat").and_then(chat_name)])
        }
        "game" => brackets("game", [string("title"), string("description")]),
        "invoice" => brackets(
            "invoice",
            [string("title"), string("description"), price(value)],
        ),
        "checklist" => checklist("checklist", value),
        "checklist_tasks_added" => checklist("tasks added to the checklist", value),
        "paid_media" => {
            let items = value.get("paid_media").and_then(Value::as_array);
            let kinds = items
                .into_iter()
                .flatten()
                .filter_map(|item| field(item, "type"));
            let kinds: Vec<String> = kinds.collect();
            let stars = number("star_count").map(|stars| format!("{stars} stars"));
            brackets("paid media", [stars, Some(kinds.join(", "))])
        }
        "giveaway" => {
            let count = number("winner_count").map(|count| format!("{count} winners"));
            let day = number("winners_selection_date").map(time);
            brackets(
                "giveaway",
                [
                    count,
                    day.map(|day| format!("drawn {day}")),
                    string("prize_description"),
                ],
            )
        }
        "giveaway_winners" => {
            let winners = people(value.get("winners"));
            brackets(
                "winners of a giveaway",
                [winners, string("prize_description")],
            )
        }
        _ => return event(kind, value),
    })
}

/// The words for the service messages of which we know what is in them.
fn event(kind: &str, value: &Value) -> Option<String> {
    let string = |name: &str| field(value, name);
    Some(match kind {
        "new_chat_members" => brackets("joined the group", [people(Some(value))]),
        "left_chat_member" => brackets("left the group", [person(value)]),
        "new_chat_title" => brackets("the group has a new name", [words(value)]),
        "forum_topic_created" => brackets("topic created", [string("name")]),
        "forum_topic_edited" => brackets("topic changed", [string("name")]),
        "forum_topic_closed" => "[topic closed]".to_owned(),
        "forum_topic_reopened" => "[topic reopened]".to_owned(),
        "migrate_to_chat_id" => brackets("this group became the supergroup", [id(value)]),
        "migrate_from_chat_id" => brackets("this supergroup was the group", [id(value)]),
        "pinned_message" => {
            let pinned = Message::read(value.clone(), "pinned_message").ok()?;
            let message = format!("message {}", pinned.message_id);
            // Date 0 means that it is no longer visible.
            let said = (pinned.date != 0).then(|| short(&pinned.content(), PINNED_CHARS));
            brackets("pinned", [Some(message), said])
        }
        "users_shared" => brackets("shared people", [people(value.get("users"))]),
        "chat_shared" => {
            let id = value.get("chat_id").and_then(id);
            brackets("shared a chat", [string("title"), id])
        }
        "connected_website" => brackets("logged in at", [words(value)]),
        // Documents of a person's identity: that they are there is enough.
        "passport_data" => "[Telegram Passport data, not shown]".to_owned(),
        "web_app_data" => brackets("web app data", [string("button_text"), string("data")]),
        "video_chat_ended" => {
            let length = value.get("duration").and_then(Value::as_i64).map(span);
            brackets("video chat ended", [length])
        }
        _ => return None,
    })
}

/// A kind whose name says the most; what is in it stands there as it came.
pub(super) fn other(kind: &str, value: &Value) -> String {
    let name = kind.replace('_', " ");
    match value {
        Value::Bool(_) | Value::Null => format!("[{name}]"),
        Value::Object(fields) if fields.is_empty() => format!("[{name}]"),
        Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::String(_) => {
            format!("[{name}: {}]", short(&value.to_string(), RAW_CHARS))
        }
    }
}

/// `[name: one, two]`, without the parts that are not there.
fn brackets<const N: usize>(name: &str, parts: [Option<String>; N]) -> String {
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.trim().is_empty())
        .collect();
    if parts.is_empty() {
        format!("[{}]", name.trim())
    } else {
        format!("[{}: {}]", name.trim(), parts.join(", "))
    }
}

/// `[name: title, 0:12, 640×480]`
fn file(name: &str, title: Option<String>, value: &Value) -> String {
    // A photo comes in several sizes, the largest last.
    let value = value
        .as_array()
        .map_or(Some(value), |sizes| sizes.last())
        .unwrap_or(value);
    let number = |name: &str| value.get(name).and_then(Value::as_i64);
    let size = number("width").zip(number("height"));
    brackets(
        name,
        [
            title,
            number("duration").map(span),
            size.map(|(width, height)| format!("{width}×{height}")),
        ],
    )
}

fn poll(value: &Value) -> String {
    let is = |name: &str| value.get(name) == Some(&Value::Bool(true));
    let quiz = field(value, "type").as_deref() == Some("quiz");
    let mut text = brackets(
        if quiz { "quiz" } else { "poll" },
        [
            field(value, "question"),
            is("allows_multiple_answers").then(|| "several answers".to_owned()),
            is("is_closed").then(|| "closed".to_owned()),
        ],
    );
    let options = value.get("options").and_then(Value::as_array);
    for option in options.into_iter().flatten() {
        let votes = option
            .get("voter_count")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let said = field(option, "text").unwrap_or_default();
        let votes = match votes {
            0 => String::new(),
            1 => " (1 vote)".to_owned(),
            votes => format!(" ({votes} votes)"),
        };
        text.extend(["\n- ", &said, &votes]);
    }
    text
}

fn checklist(name: &str, value: &Value) -> String {
    let mut text = brackets(name, [field(value, "title")]);
    let tasks = value.get("tasks").and_then(Value::as_array);
    for task in tasks.into_iter().flatten() {
        let done = task
            .get("completion_date")
            .and_then(Value::as_i64)
            .unwrap_or(0)
            != 0;
        let said = field(task, "text").unwrap_or_default();
        text.extend([if done { "\n- [x] " } else { "\n- [ ] " }, &said]);
    }
    text
}

fn place(value: &Value) -> Option<String> {
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    let mut text = format!("{}, {}", number("latitude")?, number("longitude")?);
    if let Some(metres) = number("horizontal_accuracy") {
        text.extend([" (within ", &metres.to_string(), " m)"]);
    }
    if let Some(seconds) = value.get("live_period").and_then(Value::as_i64) {
        text.extend([", live for ", &span(seconds)]);
    }
    Some(text)
}

fn price(value: &Value) -> Option<String> {
    let amount = value.get("total_amount")?.as_i64()?;
    // How many digits are cents depends on the currency.
    Some(match field(value, "currency")?.as_str() {
        "XTR" => format!("{amount} stars"),
        currency => format!("{amount} of the smallest units of {currency}"),
    })
}

fn people(list: Option<&Value>) -> Option<String> {
    let names: Vec<String> = list?.as_array()?.iter().filter_map(person).collect();
    Some(names.join(", "))
}

fn person(value: &Value) -> Option<String> {
    // A `SharedUser` has `user_id` instead.
    let shared = value.get("user_id").and_then(Value::as_i64);
    match User::read(value.clone()) {
        Some(user) => Some(short(&user.name(), NAME_CHARS)),
        None => shared.map(|id| format!("user {id}")),
    }
}

fn chat_name(value: &Value) -> Option<String> {
    let chat = Chat::read(value.clone(), "").ok()?;
    let name = chat.title.or(chat.username);
    Some(name.map_or_else(
        || format!("chat {}", chat.id),
        |name| short(&name, NAME_CHARS),
    ))
}

pub(super) fn field(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(words)
}

fn words(value: &Value) -> Option<String> {
    value.as_str().map(|text| short(text, PINNED_CHARS))
}

fn id(value: &Value) -> Option<String> {
    value.as_i64().map(|id| id.to_string())
}

fn time(seconds: i64) -> String {
    Timestamp::from_unix_seconds(seconds).rfc3339()
}

/// `0:12`, `75:03`
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
