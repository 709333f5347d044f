//! Every key of `sessions.json`. To add one, declare it here and show it in `sessions.example.json`; a rule of its
//! own goes into `rules.rs`. Then run the tests once with `UPDATE_DOCS=1`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use super::api_url::read_api_url;
use super::key::Absent::{Means, Off, Refused};
use super::key::Takes::{Chats, OneOf, Paths, People, Sessions, Switch, Text};
use super::key::{Choice, ConfigKey, declare_keys};
use super::proxy::{self, ProxySetting};
use super::reader::{Object, Reader};
use super::rules;
use super::sessions::{read_default, read_sessions};
use crate::ids::{ChatId, SessionId, UserId};

declare_keys! {
    /// A configuration without mistakes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config {
        given {
            /// The file, absolute.
            path: PathBuf,
        }

        /// The sessions by id. An id is also a folder name: letters, digits, `.`, `_` and `-`, at most 64
        /// characters. One gateway serves at most 200 sessions.
        sessions: BTreeMap<SessionId, Session> = with(read_sessions),
            Sessions(Session::KEYS), Refused, SESSIONS_EXAMPLE;

        /// The session of an agent that no other rule assigns to one.
        default: SessionId = with(read_default),
            Text("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
            Means("the only session; required if there are several"), r#""SESSION_X01""#;

        /// The state folder; a relative path starts at the folder of this file. `TELEPOST_STATE_DIR` overrides it.
        state_dir: Option<PathBuf> = text(rules::state_dir),
            Text("~|~/.*|[^~].*"),
            Means("`$XDG_STATE_HOME/telepost`, else `~/.local/state/telepost`"), r#""~/.local/state/telepost""#;

        /// The Bot API server: https, or http to this machine or a private address, because it receives the tokens.
        /// `TELEGRAM_API_URL` overrides it.
        api_url: Url = with(read_api_url),
            Text(r"\s*https?://.+"), Means("\"https://api.telegram.org\""), r#""https://api.telegram.org""#;

        /// The proxy between the gateway and Telegram: `http`, `https`, `socks5` or `socks5h` (the proxy finds the
        /// name). `"none"`: directly. `"auto"`: `HTTPS_PROXY` or `ALL_PROXY`, in the environment or in `.env`. A
        /// password belongs in `.env`, as `TELEPOST_PROXY`, which wins. See [proxies](proxies.md).
        proxy: ProxySetting = required_text(proxy::setting),
            Text(".+"), Means("\"auto\""), r#""socks5h://127.0.0.1:1080""#;

        /// `"auto"`: `telepost mcp` starts a gateway if none runs. `"manual"`: you do, or a service manager does.
        gateway: GatewayStart = one_of(),
            OneOf(GatewayStart::names), Means("\"auto\""), r#""auto""#;

        /// `"normal"`: the gateway sends below Telegram's limits. `"off"`: as fast as it can, for tests against a
        /// simulator.
        pace: Pace = one_of(),
            OneOf(Pace::names), Means("\"normal\""), r#""normal""#;

        /// `"on"`: 👀 on the newest message that the agent was shown until it is answered, and "typing…" while the
        /// agent works. `"off"`: neither.
        receipts: Receipts = one_of(),
            OneOf(Receipts::names), Means("\"on\""), r#""on""#;

        /// `"on"`: people are told once when they write while no agent is connected (after a minute; with
        /// `tmux_session` after ten seconds), and once when one is back. `"off"`: they are told nothing.
        absence: AbsenceNotices = one_of(),
            OneOf(AbsenceNotices::names), Means("\"on\""), r#""on""#;

        also { SCHEMA }
    }
}

declare_keys! {
    /// One agent session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Session {
        given {
            /// Its id, also the name of its folder.
            id: SessionId,
        }

        /// The name that people see. No two sessions have the same one.
        name: String = required_text(rules::name),
            Text(r"\s*\S(?:.{0,62}\S)?\s*"), Means("the id of the session"), r#""Shop""#;

        /// The *name* of the variable that holds the bot's token. The gateway looks for it in its environment, then
        /// in `.env` beside `sessions.json`.
        bot_token_env: String = required_text(rules::variable_name),
            Text("[A-Za-z_][A-Za-z0-9_]{0,127}"), Refused, r#""BOT_TOKEN_01""#;

        /// The bot's username, for `telepost status`. The gateway warns if the token belongs to another bot.
        bot_username: Option<String> = text(rules::username),
            Text("@?[A-Za-z0-9_]{5,32}"), Off, r#""my_shop_bot""#;

        /// The chats of this session; the first is its home chat. A private chat has the person's id, a group a
        /// negative one.
        chat_ids: Vec<ChatId> = ids(|id| Ok(ChatId(id)), &rules::NO_CHATS),
            Chats, Refused, "[4444444444444444]";

        /// The ids of the people who may write. In a group, the chat *and* the person must be listed.
        allowed_users: Vec<UserId> = ids(rules::person_id, &rules::NO_PEOPLE),
            People, Refused, "[4444444444444444]";

        /// `true`: a group's message gets in only if it names the bot (`@name`), replies to it or gives it a command.
        /// `false`: everything that the listed people write gets in. A private chat always admits everything.
        require_mention: bool = switch(true),
            Switch, Means("true"), "true";

        /// The tmux session that the agent runs in, as `tmux ls` shows it. telepost can wake the agent by typing there,
        /// and tells people when the agent is down.
        tmux_session: Option<String> = text(rules::tmux_session),
            Text("[^:.]{1,100}"), Off, r#""shop""#;

        /// The one line that is typed there, followed by Enter. With the plugin it is `/telepost:telegram-reply`.
        tmux_wake_command: Option<String> = text(rules::wake_command),
            Text(".{1,200}"), Means("\"/telegram-reply\""), r#""/telegram-reply""#;

        /// The folder whose agents belong to this session: absolute, or `~/…`.
        cwd: Option<PathBuf> = text(rules::absolute_path),
            Text("~|(?:~/|/).*"), Off, r#""~/work/shop""#;

        /// Further folders from which files may be sent: absolute, or `~/…`. The first is always `cwd`, else the
        /// folder that the agent's server runs in.
        send_roots: Vec<PathBuf> = paths(),
            Paths, Means("[]"), r#"["~/work/shop/out"]"#;

        /// `true`: an answer appears as a Telegram reply to the newest message that it answers. `false`: as a plain
        /// message.
        reply_to_message: bool = switch(true),
            Switch, Means("true"), "true";

        also {}
    }
}

/// One session with the keys that it must have.
pub(super) const SESSIONS_EXAMPLE: &str = r#"{"SESSION_X01": {"bot_token_env": "BOT_TOKEN_01", "chat_ids": [4444444444444444], "allowed_users": [4444444444444444]}}"#;

/// Editors find the schema by it; telepost accepts any text.
pub(super) const SCHEMA: ConfigKey = ConfigKey {
    name: "$schema",
    takes: Text(".*"),
    absent: Off,
    example: "\"…\"",
    about: "The address of the JSON schema, for your editor.",
};

/// Each table with the place of its keys in words, for a key that stands in the wrong object.
pub(super) const TABLES: [(&[ConfigKey], &str); 2] = [
    (Config::KEYS, "at the top level, beside `sessions`"),
    (Session::KEYS, "in a session, that is in sessions.<ID>"),
];

/// How the gateway is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayStart {
    /// By an MCP server that finds none running.
    #[default]
    Auto,
    /// By a person or a service manager.
    Manual,
}

/// How fast the gateway sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Below Telegram's limits.
    #[default]
    Normal,
    /// As fast as it can, for tests against the simulator.
    Off,
}

/// Whether people see that the agent was shown their message (👀) and works on it ("typing…").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    /// They do.
    #[default]
    On,
    /// They see the agent's own messages and reactions only.
    Off,
}

/// Whether people are told that their message waits because no agent is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsenceNotices {
    /// Once per chat and absence.
    #[default]
    On,
    /// Never.
    Off,
}

impl Choice for GatewayStart {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("manual", Self::Manual)];
}

impl Choice for Pace {
    const NAMES: &'static [(&'static str, Self)] = &[("normal", Self::Normal), ("off", Self::Off)];
}

impl Choice for AbsenceNotices {
    const NAMES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}

impl Choice for Receipts {
    const NAMES: &'static [(&'static str, Self)] = &[("on", Self::On), ("off", Self::Off)];
}
