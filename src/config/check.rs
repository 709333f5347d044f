//! The whole file: its keys, and what must hold between sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::env::Env;
use super::error::{Problem, list, nearest, quote};
use super::json::{self, Field, Object, Place, child, describe};
use super::paths::{canonical, expand, variable};
use super::session::{self, BOT_TOKEN_ENV, CHAT_IDS, CWD, Draft, NAME};
use super::{Config, GatewayStart, Pace, Receipts, Session, api_url};
use crate::ids::SessionId;

const SCHEMA: Field = Field {
    key: "$schema",
    kind: "a text",
    example: "\"…\"",
    required: false,
};
const SESSIONS: Field = Field {
    key: "sessions",
    kind: "an object",
    example: "{\"SESSION_X01\": {\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": [4444444444444444]}}",
    required: true,
};
const DEFAULT: Field = Field {
    key: "default",
    kind: "a text",
    example: "\"SESSION_X01\"",
    required: false,
};
const STATE_DIR: Field = Field {
    key: "state_dir",
    kind: "a text",
    example: "\"~/.local/state/telepost\"",
    required: false,
};
const API_URL: Field = Field {
    key: "api_url",
    kind: "a text",
    example: "\"https://api.telegram.org\"",
    required: false,
};
const GATEWAY: Field = Field {
    key: "gateway",
    kind: "a text",
    example: "\"auto\"",
    required: false,
};
const PACE: Field = Field {
    key: "pace",
    kind: "a text",
    example: "\"normal\"",
    required: false,
};

const RECEIPTS: Field = Field {
    key: "receipts",
    kind: "a text",
    example: "\"on\"",
    required: false,
};

/// Every key of the top level.
pub(super) const FIELDS: [Field; 8] = [
    SESSIONS, DEFAULT, STATE_DIR, API_URL, GATEWAY, PACE, RECEIPTS, SCHEMA,
];

const SESSIONS_MAX: usize = 200;
const API_VARIABLE: &str = "TELEGRAM_API_URL";

/// Reads the text of the file at `path`, which is absolute.
pub(super) fn read(text: &str, path: &Path, env: &Env) -> Result<Config, Vec<Problem>> {
    let parsed = json::parse(text).map_err(|error| vec![syntax(text, &error)])?;
    let mut problems: Vec<Problem> = parsed.duplicates.iter().map(|path| twice(path)).collect();
    let Value::Object(map) = &parsed.value else {
        return Err(vec![Problem::new(
            "top level",
            &format!("is {}, not an object", describe(&parsed.value)),
            "begin with {\"sessions\": and end with }; sessions.example.json shows every key",
        )]);
    };
    let top = Object::new(String::new(), map);
    top.refuse_unknown(
        &FIELDS,
        (
            &session::FIELDS,
            "into a session, that is into sessions.<ID>",
        ),
        &mut problems,
    );
    top.text(&SCHEMA, &mut problems);

    let sessions = match top.get(&SESSIONS, &mut problems) {
        Some(place) => read_sessions(&place, env, &mut problems),
        None => Vec::new(),
    };
    between_sessions(&sessions, &mut problems);
    let ids = map.get(SESSIONS.key).and_then(Value::as_object);
    let default = ids.and_then(|ids| read_default(&top, ids, &mut problems));
    let state_dir = top
        .text(&STATE_DIR, &mut problems)
        .and_then(|found| state_dir(&found, path, env, &mut problems));
    let api_url = read_api_url(&top, env, &mut problems);
    let choose =
        |field, choices, problems: &mut Vec<Problem>| one_of(&top, field, choices, problems);
    let gateway = choose(&GATEWAY, ["auto", "manual"], &mut problems);
    let pace = choose(&PACE, ["normal", "off"], &mut problems);
    let receipts = choose(&RECEIPTS, ["on", "off"], &mut problems);

    match (default, api_url) {
        (Some(default), Some(api_url)) if problems.is_empty() => Ok(Config {
            path: path.to_owned(),
            sessions: sessions
                .into_iter()
                .filter_map(Draft::finish)
                .map(|session: Session| (session.id.clone(), session))
                .collect(),
            default,
            state_dir,
            api_url,
            gateway: if gateway == Some("manual") {
                GatewayStart::Manual
            } else {
                GatewayStart::Auto
            },
            pace: if pace == Some("off") {
                Pace::Off
            } else {
                Pace::Normal
            },
            receipts: if receipts == Some("off") {
                Receipts::Off
            } else {
                Receipts::On
            },
        }),
        _ => Err(problems),
    }
}

/// What to write into a file that has nothing yet.
pub(super) fn smallest() -> String {
    format!(
        "write {{\"sessions\": {}}} into it; the quick start of the README says how to learn your own numbers",
        SESSIONS.example
    )
}

fn syntax(text: &str, error: &serde_json::Error) -> Problem {
    if text.trim().is_empty() {
        return Problem::new("", "the file is empty", &smallest());
    }
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let message = message
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&message);
    let place = format!("line {line}, column {column}");
    if error.is_eof() {
        return Problem::new(
            &place,
            &format!("the file ends too early: {message}"),
            "close what is open: each { needs its }, each [ its ], each text its second quote",
        );
    }
    Problem::new(
        &place,
        &format!("this is not JSON: {message}"),
        "correct it there or just before; every text and every key stands in double quotes, a comma stands between two \
         entries and not after the last one, and there are no comments",
    )
}

fn twice(path: &str) -> Problem {
    Problem::new(
        path,
        "stands twice; only one of the two could count",
        "keep one of them, or rename one",
    )
}

fn read_sessions(place: &Place<'_>, env: &Env, problems: &mut Vec<Problem>) -> Vec<Draft> {
    let Value::Object(map) = place.value else {
        problems.push(place.wrong_kind(&SESSIONS));
        return Vec::new();
    };
    if map.is_empty() {
        problems.push(place.problem(
            "is empty",
            &format!("write one session at least: {}", SESSIONS.example),
        ));
    }
    if map.len() > SESSIONS_MAX {
        problems.push(place.problem(
            &format!(
                "has {} sessions; {SESSIONS_MAX} are the most that one gateway serves",
                map.len()
            ),
            "delete those that are no longer used",
        ));
        return Vec::new();
    }
    let mut folders = BTreeMap::new();
    let mut drafts = Vec::new();
    for (key, value) in map {
        let place = Place {
            path: child(&place.path, key),
            value,
        };
        if let Some(other) = folders.insert(key.to_lowercase(), key) {
            problems.push(place.problem(
                &format!("differs from `{other}` only in upper and lower case; on macOS both would be the same folder"),
                "give one of the two another id",
            ));
        }
        drafts.extend(Draft::read(key, &place, &FIELDS, env, problems));
    }
    drafts
}

/// Two sessions must not have the same name, the same folder or the same address.
fn between_sessions(drafts: &[Draft], problems: &mut Vec<Problem>) {
    let mut names: BTreeMap<&str, &Draft> = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, &Draft> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let place = |field: &Field| child(&draft.path, field.key);
        if let Some(name) = draft.name.as_deref() {
            let other = *names.entry(name).or_insert(draft);
            if other.path != draft.path {
                problems.push(Problem::new(
                    &place(&NAME),
                    &format!(
                        "is {}, like the name of `{}`: nobody could tell the two apart",
                        quote(name),
                        other.key
                    ),
                    "give each session a name of its own",
                ));
            }
        }
        if let Some(cwd) = &draft.cwd {
            let other = *folders.entry(canonical(cwd)).or_insert(draft);
            if other.path != draft.path {
                problems.push(Problem::new(
                    &place(&CWD),
                    &format!("is the same folder as {}", child(&other.path, CWD.key)),
                    "name another folder, or leave one of the two out and start that agent with --session or TG_SESSION_ID",
                ));
            }
        }
        for other in drafts.iter().take(index) {
            if draft.bot_token_env.is_some() && draft.bot_token_env == other.bot_token_env {
                let bot = format!(
                    "and both use the bot of {}",
                    draft.bot_token_env.as_deref().unwrap_or_default()
                );
                let shared: BTreeSet<_> = draft
                    .chat_ids
                    .iter()
                    .filter(|chat| other.chat_ids.contains(chat))
                    .map(|chat| chat.0)
                    .collect();
                problems.extend(overlap(&draft.path, &other.path, &shared, &bot));
            }
        }
    }
}

/// Two sessions that share `chats` of one bot, if they do.
pub(super) fn overlap(
    path: &str,
    other: &str,
    chats: &BTreeSet<i64>,
    bot: &str,
) -> Option<Problem> {
    let first = chats.first()?;
    let chats = match chats.len() {
        1 => format!("chat {first} is"),
        count => format!("chat {first} and {} more are", count - 1),
    };
    Some(Problem::new(
        &child(path, CHAT_IDS.key),
        &format!(
            "{chats} also in {}, {bot}: a message from there could belong to either session",
            child(other, CHAT_IDS.key)
        ),
        &format!(
            "give each session a chat of its own, or a bot of its own (another token, another `{}`)",
            BOT_TOKEN_ENV.key
        ),
    ))
}

fn read_default(
    top: &Object<'_>,
    ids: &Map<String, Value>,
    problems: &mut Vec<Problem>,
) -> Option<SessionId> {
    let Some(place) = top.get(&DEFAULT, problems) else {
        if ids.len() > 1 {
            problems.push(Problem::new(
                DEFAULT.key,
                &format!("is missing, and there are {} sessions", ids.len()),
                &format!(
                    "write \"default\": and one of the ids: {}",
                    list(ids.keys().map(String::as_str))
                ),
            ));
        }
        let only = ids.keys().next()?;
        return SessionId::new(only).ok();
    };
    let Value::String(default) = place.value else {
        problems.push(place.wrong_kind(&DEFAULT));
        return None;
    };
    if !ids.contains_key(default) {
        let (what, instead) = no_such_session(default, ids.keys().map(String::as_str));
        problems.push(place.problem(&what, &instead));
    }
    SessionId::new(default).ok()
}

/// The texts for an id that no session has.
pub(super) fn no_such_session<'k>(
    id: &str,
    ids: impl Iterator<Item = &'k str> + Clone,
) -> (String, String) {
    let instead = match nearest(id, ids.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write the id of a session that there is: {}", list(ids)),
    };
    (
        format!("is {}, but there is no such session", quote(id)),
        instead,
    )
}

fn state_dir(
    (place, text): &(Place<'_>, &str),
    file: &Path,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    match expand(text, env) {
        Ok(path) => Some(file.parent().unwrap_or(Path::new("/")).join(path)),
        Err(mistake) => {
            let (what, instead) = mistake.texts();
            problems.push(place.problem(what, instead));
            None
        }
    }
}

/// `TELEGRAM_API_URL`, else `api_url`, else Telegram's own; both are checked.
fn read_api_url(top: &Object<'_>, env: &Env, problems: &mut Vec<Problem>) -> Option<url::Url> {
    let written = top
        .text(&API_URL, problems)
        .map(|(place, text)| (place.path, text));
    let set = env
        .get(API_VARIABLE)
        .map(|text| (variable(API_VARIABLE), text));
    let mut url = url::Url::parse(api_url::DEFAULT).ok();
    for (place, text) in [written, set].into_iter().flatten() {
        match api_url::read(text) {
            Ok(found) => url = Some(found),
            Err((what, instead)) => problems.push(Problem::new(&place, &what, instead)),
        }
    }
    url
}

fn one_of<'v>(
    top: &Object<'v>,
    field: &Field,
    choices: [&str; 2],
    problems: &mut Vec<Problem>,
) -> Option<&'v str> {
    let (place, text) = top.text(field, problems)?;
    let [first, second] = choices;
    if !choices.contains(&text) {
        problems.push(place.problem(
            &format!("is {}", quote(text)),
            &format!("write \"{first}\" (the default) or \"{second}\""),
        ));
    }
    Some(text)
}
