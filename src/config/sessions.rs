//! The key `sessions`: each session, and the rules between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::Session;
use super::error::{Problem, Violation, list, nearest, quote};
use super::json::{child, describe};
use super::key::ConfigKey;
use super::paths::canonical;
use super::reader::{Object, Reader};
use super::token::{is_secret_char, redact};
use crate::ids::{SESSION_ID_MAX, SessionId};

const SESSIONS_MAX: usize = 200;

/// A session as it was read, with the key that it stands under. After a mistake the key may not be a valid id,
/// and values that could not be read are empty.
type Keyed<'k> = (&'k str, Session);

pub(super) fn read_sessions(
    top: &Object<'_>,
    key: &ConfigKey,
    reader: &mut Reader<'_>,
) -> BTreeMap<SessionId, Session> {
    let Some(node) = reader.find(top, key) else {
        return BTreeMap::new();
    };
    let Value::Object(map) = node.value else {
        reader.report_wrong_type(&node, key);
        return BTreeMap::new();
    };
    if map.is_empty() {
        let instead = format!("write at least one session: {}", key.example);
        reader.report(&node.path, &Violation::new("is empty", instead));
    }
    if map.len() > SESSIONS_MAX {
        let count = map.len();
        let what = format!("has {count} sessions; one gateway serves at most {SESSIONS_MAX}");
        let violation = Violation::new(what, "delete those that are no longer used");
        reader.report(&node.path, &violation);
        return BTreeMap::new();
    }
    let mut folders = BTreeMap::new();
    let mut sessions = Vec::new();
    for (key, value) in map {
        let path = child(&node.path, key);
        if let Some(other) = folders.insert(key.to_lowercase(), key) {
            let what = format!(
                "differs from `{other}` only in upper and lower case; on macOS both would be the same folder"
            );
            reader.report(
                &path,
                &Violation::new(what, "give one of the two another id"),
            );
        }
        sessions
            .extend(read_session(key, path, value, reader).map(|session| (key.as_str(), session)));
    }
    refuse_conflicts(&sessions, reader);
    sessions
        .into_iter()
        .map(|(_, session)| (session.id.clone(), session))
        .collect()
}

/// Reads one session; `None` only if it is not an object at all.
fn read_session(
    key: &str,
    path: String,
    value: &Value,
    reader: &mut Reader<'_>,
) -> Option<Session> {
    let id = SessionId::new(key).unwrap_or_else(|wrong| {
        let example = suggest_id(key);
        let violation = Violation::new(
            format!("is not a session id: {wrong}"),
            format!("session ids are folder names too; write for example `{example}`"),
        );
        reader.report(&path, &violation);
        example
    });
    let Value::Object(map) = value else {
        let violation = Violation::new(
            format!("is {}, not an object", describe(value)),
            "write {\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": [4444444444444444]}",
        );
        reader.report(&path, &violation);
        return None;
    };
    let mut session = Session::read(&Object { path, map }, reader, id);
    if !map.contains_key("name") {
        key.clone_into(&mut session.name);
    }
    Some(session)
}

/// A valid id that is close to `key`.
fn suggest_id(key: &str) -> SessionId {
    let safe = redact(key);
    let safe = safe
        .chars()
        .map(|c| if is_secret_char(c) { c } else { '_' });
    let safe: String = safe.take(SESSION_ID_MAX).collect();
    SessionId::new(safe.trim_matches(['_', '-'])).unwrap_or_else(|_| SessionId::example())
}

/// No two sessions may have the same name, the same folder or the same address.
fn refuse_conflicts(sessions: &[Keyed<'_>], reader: &mut Reader<'_>) {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut folders: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (index, (key, session)) in sessions.iter().enumerate() {
        let path = child("sessions", key);
        let other = *names.entry(&session.name).or_insert(key);
        if other != *key && !session.name.is_empty() {
            let what = format!(
                "is {}, which is also the name of `{other}`: people could not tell the two apart",
                quote(&session.name)
            );
            let violation = Violation::new(what, "give each session a name of its own");
            reader.report(&child(&path, "name"), &violation);
        }
        let folder = session.cwd.as_deref().map(canonical);
        let other = folder.map_or(*key, |folder| *folders.entry(folder).or_insert(key));
        if other != *key {
            let violation = Violation::new(
                format!(
                    "is the same folder as {}",
                    child(&child("sessions", other), "cwd")
                ),
                "name another folder, or leave one of the two out and start that agent with --session or TG_SESSION_ID",
            );
            reader.report(&child(&path, "cwd"), &violation);
        }
        let variable = &session.bot_token_env;
        for (other_key, other) in sessions.iter().take(index) {
            if !variable.is_empty() && *variable == other.bot_token_env {
                let bot = format!("and both use the bot of {variable}");
                let overlap = find_overlap((key, session), (other_key, other), &bot);
                reader.problems.extend(overlap);
            }
        }
    }
}

/// The mistake of two sessions of one bot, if they share chats.
pub(super) fn find_overlap(
    (key, session): (&str, &Session),
    (other_key, other): (&str, &Session),
    bot: &str,
) -> Option<Problem> {
    let shared = session
        .chat_ids
        .iter()
        .filter(|chat| other.chat_ids.contains(chat));
    let shared: BTreeSet<_> = shared.collect();
    let first = shared.first()?;
    let chats = match shared.len() {
        1 => format!("chat {first} is"),
        count => format!("chat {first} and {} more are", count - 1),
    };
    let path = |key| child(&child("sessions", key), "chat_ids");
    let violation = Violation::new(
        format!(
            "{chats} also in {}, {bot}: a message from there could belong to either session",
            path(other_key)
        ),
        "give each session a chat of its own, or a bot of its own (another token, another `bot_token_env`)",
    );
    Some(Problem::new(&path(key), &violation))
}

/// The session named by the key `default`, which a file with one session need not have.
pub(super) fn read_default(
    top: &Object<'_>,
    key: &ConfigKey,
    reader: &mut Reader<'_>,
) -> SessionId {
    let sessions = top.map.get("sessions").and_then(Value::as_object);
    let ids = || {
        sessions
            .into_iter()
            .flat_map(|map| map.keys().map(String::as_str))
    };
    let found = match reader.find(top, key) {
        Some(node) => match node.value.as_str() {
            Some(id) => {
                if sessions.is_some() && !ids().any(|known| known == id) {
                    reader.report(&node.path, &no_such_session(id, ids()));
                }
                Some(id)
            }
            None => {
                reader.report_wrong_type(&node, key);
                None
            }
        },
        None => {
            let count = ids().count();
            if count > 1 {
                let violation = Violation::new(
                    format!("is missing, and there are {count} sessions"),
                    format!("write \"default\": and one of the ids: {}", list(ids())),
                );
                reader.report(key.name, &violation);
            }
            ids().next()
        }
    };
    found
        .and_then(|id| SessionId::new(id).ok())
        .unwrap_or_else(SessionId::example)
}

/// The mistake of naming a session that is not configured.
pub(super) fn no_such_session<'k>(
    id: &str,
    ids: impl Iterator<Item = &'k str> + Clone,
) -> Violation {
    let instead = match nearest(id, ids.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write the id of a configured session: {}", list(ids)),
    };
    Violation::new(
        format!("is {}, but there is no such session", quote(id)),
        instead,
    )
}
