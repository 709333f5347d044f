//! One session of the file: its keys, and what each of them may hold.
//!
//! A session is read into a [`Draft`] first, so that a mistake in one key does not hide another,
//! nor an overlap with another session.

use std::path::PathBuf;

use serde_json::Value;

use super::Session;
use super::env::Env;
use super::error::{Problem, is_secret_char, quote, redact};
use super::id_lists::{allowed_users, chat_ids};
use super::json::{Field, Object, Place, describe};
use super::paths::expand;
use crate::ids::{ChatId, SessionId, UserId};

pub(super) const NAME: Field = Field {
    key: "name",
    kind: "a text",
    example: "\"Shop\"",
    required: false,
};
pub(super) const BOT_TOKEN_ENV: Field = Field {
    key: "bot_token_env",
    kind: "a text",
    example: "\"BOT_TOKEN_01\"",
    required: true,
};
const BOT_USERNAME: Field = Field {
    key: "bot_username",
    kind: "a text",
    example: "\"my_shop_bot\"",
    required: false,
};
pub(super) const CHAT_IDS: Field = Field {
    key: "chat_ids",
    kind: "a list of numbers",
    example: "[4444444444444444]",
    required: true,
};
pub(super) const ALLOWED_USERS: Field = Field {
    key: "allowed_users",
    kind: "a list of numbers",
    example: "[4444444444444444]",
    required: true,
};
const REQUIRE_MENTION: Field = Field {
    key: "require_mention",
    kind: "true or false",
    example: "true",
    required: false,
};
const TMUX_SESSION: Field = Field {
    key: "tmux_session",
    kind: "a text",
    example: "\"shop\"",
    required: false,
};
const TMUX_WAKE_COMMAND: Field = Field {
    key: "tmux_wake_command",
    kind: "a text",
    example: "\"/telegram-reply\"",
    required: false,
};
pub(super) const CWD: Field = Field {
    key: "cwd",
    kind: "a text",
    example: "\"~/work/shop\"",
    required: false,
};
const SEND_ROOTS: Field = Field {
    key: "send_roots",
    kind: "a list of texts",
    example: "[\"~/work/shop/out\"]",
    required: false,
};
const REPLY_TO_MESSAGE: Field = Field {
    key: "reply_to_message",
    kind: "true or false",
    example: "true",
    required: false,
};

/// Every key of a session.
pub(super) const FIELDS: [Field; 11] = [
    NAME,
    BOT_TOKEN_ENV,
    BOT_USERNAME,
    CHAT_IDS,
    ALLOWED_USERS,
    REQUIRE_MENTION,
    TMUX_SESSION,
    TMUX_WAKE_COMMAND,
    CWD,
    SEND_ROOTS,
    REPLY_TO_MESSAGE,
];

const NAME_MAX: usize = 64;
const COMMAND_MAX: usize = 200;
const TMUX_SESSION_MAX: usize = 100;
const VARIABLE_MAX: usize = 128;

/// What could be read of a session. Whatever is missing here was reported.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) key: String,
    id: Option<SessionId>,
    pub(super) name: Option<String>,
    pub(super) bot_token_env: Option<String>,
    bot_username: Option<String>,
    pub(super) chat_ids: Vec<ChatId>,
    allowed_users: Vec<UserId>,
    require_mention: bool,
    tmux_session: Option<String>,
    tmux_wake_command: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    send_roots: Vec<PathBuf>,
    reply_to_message: bool,
}

impl Draft {
    /// Reads the session `key` at `place`; `None` only if it is no object at all.
    pub(super) fn read(
        key: &str,
        place: &Place<'_>,
        top: &[Field],
        env: &Env,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let id = session_id(key, place, problems);
        let Value::Object(map) = place.value else {
            problems.push(place.problem(
                &format!("is {}, not an object", describe(place.value)),
                "write {\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": [4444444444444444]}",
            ));
            return None;
        };
        let object = Object::new(place.path.clone(), map);
        object.refuse_unknown(
            &FIELDS,
            (top, "to the top level, beside `sessions`"),
            problems,
        );
        Some(Self {
            path: place.path.clone(),
            key: key.to_owned(),
            id,
            name: match map.get(NAME.key) {
                Some(_) => object
                    .text(&NAME, problems)
                    .and_then(|found| name(&found, problems)),
                None => Some(key.to_owned()),
            },
            bot_token_env: object
                .text(&BOT_TOKEN_ENV, problems)
                .and_then(|found| variable_name(&found, problems)),
            bot_username: object
                .text(&BOT_USERNAME, problems)
                .and_then(|found| username(&found, problems)),
            chat_ids: chat_ids(&object, problems),
            allowed_users: allowed_users(&object, problems),
            require_mention: require_mention(&object, problems),
            tmux_session: object
                .text(&TMUX_SESSION, problems)
                .and_then(|found| tmux_session(&found, problems)),
            tmux_wake_command: object
                .text(&TMUX_WAKE_COMMAND, problems)
                .and_then(|found| command(&found, problems)),
            cwd: object
                .text(&CWD, problems)
                .and_then(|found| absolute_path(&found, env, problems)),
            send_roots: send_roots(&object, env, problems),
            reply_to_message: reply_to_message(&object, problems),
        })
    }

    /// The session, if everything that it needs was readable.
    pub(super) fn finish(self) -> Option<Session> {
        Some(Session {
            id: self.id?,
            name: self.name?,
            bot_token_env: self.bot_token_env?,
            bot_username: self.bot_username,
            chat_ids: self.chat_ids,
            allowed_users: self.allowed_users,
            require_mention: self.require_mention,
            tmux_session: self.tmux_session,
            tmux_wake_command: self.tmux_wake_command,
            cwd: self.cwd,
            send_roots: self.send_roots,
            reply_to_message: self.reply_to_message,
        })
    }
}

fn session_id(key: &str, place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<SessionId> {
    let wrong = match SessionId::new(key) {
        Ok(id) => return Some(id),
        Err(wrong) => wrong,
    };
    let safe: String = redact(key)
        .chars()
        .map(|c| if is_secret_char(c) { c } else { '_' })
        .take(crate::ids::SESSION_ID_MAX)
        .collect();
    let safe = safe.trim_matches(['_', '-']);
    let example = if safe.is_empty() { "SESSION_X01" } else { safe };
    problems.push(place.problem(
        &format!("is no session id: {wrong}"),
        &format!("session ids are folder names too; write for example `{example}`"),
    ));
    None
}

fn name((place, text): &(Place<'_>, &str), problems: &mut Vec<Problem>) -> Option<String> {
    let text = text.trim();
    let what = if text.is_empty() {
        "is empty"
    } else if text.contains(char::is_control) {
        "has a line break or another control character in it"
    } else if text.chars().count() > NAME_MAX {
        "is longer than 64 characters"
    } else {
        return Some(text.to_owned());
    };
    problems.push(place.problem(
        what,
        "write one short line that people know this session by, such as \"Shop\"",
    ));
    None
}

fn variable_name((place, text): &(Place<'_>, &str), problems: &mut Vec<Problem>) -> Option<String> {
    let length = text.chars().count();
    let (what, instead) = if text.is_empty() {
        (
            "is empty".to_owned(),
            "write the name of the variable that holds the token, such as \"BOT_TOKEN_01\"",
        )
    } else if (text.contains(':') && length >= 20) || could_be_a_secret(text) {
        (
            "looks like the token itself".to_owned(),
            "put the token into the file .env beside this one, as BOT_TOKEN_01=…, and write the variable's name here: \
             \"BOT_TOKEN_01\"",
        )
    } else if length <= VARIABLE_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some((*text).to_owned());
    } else if length < 20 {
        (
            format!("is {}, which cannot be the name of a variable", quote(text)),
            "use letters, digits and _ only, and no digit first, such as \"BOT_TOKEN_01\"",
        )
    } else {
        (
            "cannot be the name of a variable".to_owned(),
            "use letters, digits and _ only, and no digit first, such as \"BOT_TOKEN_01\"; a token belongs into .env",
        )
    };
    problems.push(place.problem(&what, instead));
    None
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

fn username((place, text): &(Place<'_>, &str), problems: &mut Vec<Problem>) -> Option<String> {
    let bare = text.strip_prefix('@').unwrap_or(text);
    if (5..=32).contains(&bare.len()) && bare.chars().all(|c| is_secret_char(c) && c != '-') {
        return Some(bare.to_owned());
    }
    problems.push(place.problem(
        &format!("is {}, which is no Telegram username", quote(text)),
        "write the bot's username, 5 to 32 letters, digits and _, such as \"my_shop_bot\"",
    ));
    None
}

fn require_mention(object: &Object<'_>, problems: &mut Vec<Problem>) -> bool {
    let Some(place) = object.get(&REQUIRE_MENTION, problems) else {
        return true;
    };
    place.value.as_bool().unwrap_or_else(|| {
        problems.push(place.wrong_kind(&REQUIRE_MENTION));
        true
    })
}

fn tmux_session((place, text): &(Place<'_>, &str), problems: &mut Vec<Problem>) -> Option<String> {
    let (what, instead) = if text.trim().is_empty() {
        (
            "is empty".to_owned(),
            "write the name that `tmux ls` shows, or leave the key out".to_owned(),
        )
    } else if text.chars().count() > TMUX_SESSION_MAX || text.contains(char::is_control) {
        (
            "is longer than 100 characters, or has a control character in it".to_owned(),
            "write the name that `tmux ls` shows".to_owned(),
        )
    } else if text.contains([':', '.']) {
        (
            format!(
                "is {}, but tmux session names have no : and no .",
                quote(text)
            ),
            format!(
                "write the name that `tmux ls` shows, probably {}",
                quote(&redact(text).replace([':', '.'], "_"))
            ),
        )
    } else {
        return Some((*text).to_owned());
    };
    problems.push(place.problem(&what, &instead));
    None
}

fn command((place, text): &(Place<'_>, &str), problems: &mut Vec<Problem>) -> Option<String> {
    let what = if text.trim().is_empty() {
        "is empty"
    } else if text.contains(char::is_control) {
        "has a line break or another control character in it"
    } else if text.chars().count() > COMMAND_MAX {
        "is longer than 200 characters"
    } else {
        return Some((*text).to_owned());
    };
    problems.push(place.problem(
        what,
        "write one line, which is typed as it stands and followed by Enter, such as \"/telegram-reply\"",
    ));
    None
}

fn absolute_path(
    (place, text): &(Place<'_>, &str),
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    match expand(text, env) {
        Ok(path) if path.is_absolute() => return Some(path),
        Ok(_) => problems.push(place.problem(
            &format!("is {}, a relative path", quote(text)),
            "write an absolute path or one that begins with ~/",
        )),
        Err(mistake) => {
            let (what, instead) = mistake.texts();
            problems.push(place.problem(what, instead));
        }
    }
    None
}

fn reply_to_message(object: &Object<'_>, problems: &mut Vec<Problem>) -> bool {
    let Some(place) = object.get(&REPLY_TO_MESSAGE, problems) else {
        return true;
    };
    place.value.as_bool().unwrap_or_else(|| {
        problems.push(place.wrong_kind(&REPLY_TO_MESSAGE));
        true
    })
}

fn send_roots(object: &Object<'_>, env: &Env, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let items = object
        .get(&SEND_ROOTS, problems)
        .map(|place| place.items(&SEND_ROOTS, problems));
    let mut roots = Vec::new();
    for place in items.unwrap_or_default() {
        match place.value.as_str() {
            Some(text) => {
                let found = absolute_path(&(place, text), env, problems);
                roots.extend(found.filter(|root| !roots.contains(root)));
            }
            None => problems.push(place.wrong_kind(&CWD)),
        }
    }
    roots
}
