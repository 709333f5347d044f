//! `telepost check`: the configuration as telepost understands it.

use super::arguments::Cli;
use super::failure::Failure;
use super::setup::Setup;
use super::terminal::{format_table, print};
use crate::config::{Env, TokenState, Tokens};

pub(super) fn run(cli: &Cli, env: &Env) -> Result<(), Failure> {
    let Setup { config, state, .. } = Setup::load(cli, env)?;
    let tokens = Tokens::read(&config, env)?;
    let rows = config.sessions.values().map(|session| {
        let bot = match tokens.of(&session.id) {
            Some(TokenState::Set(token)) => format!("bot {}", token.bot_id()),
            Some(TokenState::Unset { variable }) => {
                format!("{variable} is not set: this bot stays off")
            }
            None => String::new(),
        };
        let mut id = session.id.to_string();
        if session.id == config.default {
            id.push_str(" (default)");
        }
        vec![
            id,
            session.name.clone(),
            bot,
            join_ids(&session.chat_ids),
            join_ids(&session.allowed_users),
        ]
    });
    let mut text = format!(
        "{} is accepted.\nState folder: {}\nBot API: {}, {}\n\n{}",
        config.path.display(),
        state.root().display(),
        config.api_url,
        tokens.proxy().map_or_else(
            || "without a proxy".to_owned(),
            |proxy| format!("through the proxy {proxy}")
        ),
        format_table(&["session", "name", "bot", "chats", "people"], rows)
    );
    for warning in config.warnings().iter().chain(tokens.warnings()) {
        text.extend(["warning: ", warning, "\n"]);
    }
    print(&text)
}

fn join_ids<T: ToString>(ids: &[T]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
