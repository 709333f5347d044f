//! The key `sessions`: each session, and the rules between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::Session;
use super::error::{Problem, Violation, list, nearest, quote, violation};
use super::json::{child, describe};
use super::keys::SESSIONS_EXAMPLE;
use super::paths::canonical;
use super::reader::{Object, Reader, Slot};
use super::token::{is_secret_char, redact};
use crate::ids::{ChatId, SESSION_ID_MAX, SessionId};

const SESSIONS_MAX: usize = 200;

/// A session as it was read, with the key that it stands under. After a mistake the key may not be a valid id,
/// and values that could not be read are empty.
type Keyed<'k> = (&'k str, Session);

pub(super) fn read_sessions(
    slot: &Slot<'_>,
    reader: &mut Reader<'_>,
) -> BTreeMap<SessionId, Session> {
    let Some(map) = reader.typed(slot, Value::as_object) else {
        return BTreeMap::new();
    };
    let count = map.len();
    if count == 0 {
        let instead = format!("write at least one session: {SESSIONS_EXAMPLE}");
        reader.report(&slot.path, "is empty", instead);
    }
    if count > SESSIONS_MAX {
        let what = format!("has {count} sessions; one gateway serves at most {SESSIONS_MAX}");
        reader.report(&slot.path, what, "delete those that are no longer used");
        return BTreeMap::new();
    }
    let mut folders = BTreeMap::new();
    let mut sessions: Vec<Keyed<'_>> = Vec::new();
    for (key, value) in map {
        let path = child(&slot.path, key);
        if let Some(other) = folders.insert(key.to_lowercase(), key) {
            let what = format!(
                "differs from `{other}` only in upper and lower case; on macOS both would be the same folder"
            );
            reader.report(&path, what, "give one of the two another id");
        }
        sessions.extend(read_session(key, path, value, reader).map(|read| (key.as_str(), read)));
    }
    refuse_conflicts(&sessions, reader);
    let by_id = |(_, session): Keyed<'_>| (session.id.clone(), session);
    sessions.into_iter().map(by_id).collect()
}

/// Reads one session; `None` only if it is not an object at all.
fn read_session(
    key: &str,
    path: String,
    value: &Value,
    reader: &mut Reader<'_>,
) -> Option<Session> {
    let id = SessionId::new(key).unwrap_or_else(|wrong| {
        let close = suggest_id(key);
        let instead = format!("session ids are folder names too; write, for example, `{close}`");
        reader.report(&path, format!("is not a session id: {wrong}"), instead);
        close
    });
    let Some(map) = value.as_object() else {
        let what = format!("is {}, not an object", describe(value));
        let instead = "write {\"bot_token_env\": \"BOT_TOKEN_01\", \"chat_ids\": [4444444444444444], \"allowed_users\": [4444444444444444]}";
        reader.report(&path, what, instead);
        return None;
    };
    let mut session = Session::read(reader, &Object { path, map }, id);
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
    let mut chats: BTreeMap<(&str, ChatId), usize> = BTreeMap::new();
    let path = |id: &str, key: &str| child(&child("sessions", id), key);
    for (index, &(id, ref session)) in sessions.iter().enumerate() {
        let name = &session.name;
        let other = *names.entry(name).or_insert(id);
        if other != id && !name.is_empty() {
            let name = quote(name);
            let what = format!(
                "is {name}, which is also the name of `{other}`: people could not tell the two apart"
            );
            reader.report(
                &path(id, "name"),
                what,
                "give each session a name of its own",
            );
        }
        let folder = session.cwd.as_deref().map(canonical);
        let other = folder.map_or(id, |folder| *folders.entry(folder).or_insert(id));
        if other != id {
            reader.report(
                &path(id, "cwd"),
                format!("is the same folder as {}", path(other, "cwd")),
                "name another folder, or leave one of the two out and start that agent with --session or TG_SESSION_ID",
            );
        }
        let variable = session.bot_token_env.as_str();
        let mut others = BTreeSet::new();
        for &chat in session.chat_ids.iter().filter(|_| !variable.is_empty()) {
            let first = *chats.entry((variable, chat)).or_insert(index);
            others.extend((first != index).then_some(first));
        }
        for &(other_id, ref other) in others.into_iter().filter_map(|other| sessions.get(other)) {
            let bot = format!("and both use the bot of {variable}");
            let overlap = find_overlap((id, session), (other_id, other), &bot);
            reader.problems.extend(overlap);
        }
    }
}

/// The mistake of two sessions of one bot, if they share chats.
pub(super) fn find_overlap(
    (id, session): (&str, &Session),
    (other_id, other): (&str, &Session),
    bot: &str,
) -> Option<Problem> {
    let [mine, theirs] = [session, other].map(|session| session.chat_ids.iter().collect());
    let shared: BTreeSet<&ChatId> = BTreeSet::intersection(&mine, &theirs).copied().collect();
    let first = shared.first()?;
    let chats = match shared.len() {
        1 => format!("chat {first} is"),
        count => format!("chat {first} and {} more are", count - 1),
    };
    let path = |id| child(&child("sessions", id), "chat_ids");
    let other = path(other_id);
    Some(Problem::new(
        &path(id),
        format!(
            "{chats} also in {other}, {bot}: a message from there could belong to either session"
        ),
        "give each session a chat of its own, or a bot of its own (another token, another `bot_token_env`)",
    ))
}

/// The session named by the key `default`, which a file with one session need not have.
pub(super) fn read_default(slot: &Slot<'_>, reader: &mut Reader<'_>) -> SessionId {
    let sessions = slot.siblings.get("sessions").and_then(Value::as_object);
    let ids = || {
        sessions
            .into_iter()
            .flat_map(|map| map.keys().map(String::as_str))
    };
    let written = reader.typed(slot, Value::as_str);
    let count = ids().count();
    if let Some(id) = written
        && sessions.is_some_and(|map| !map.contains_key(id))
    {
        let unknown = no_such_session(id, ids());
        reader
            .problems
            .push(Problem::from_violation(&slot.path, unknown));
    }
    if slot.value.is_none() && count > 1 {
        let what = format!("is missing, and there are {count} sessions");
        let instead = format!("write \"default\": and one of the ids: {}", list(ids()));
        reader.report(&slot.path, what, instead);
    }
    let id = written
        .or(ids().next())
        .and_then(|id| SessionId::new(id).ok());
    id.unwrap_or_else(SessionId::example)
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
    violation(
        format!("is {}, but there is no such session", quote(id)),
        instead,
    )
}
