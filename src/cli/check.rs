//! `telepost check`: the configuration as telepost understands it.

use super::arguments::Cli;
use super::failure::{Failure, exit};
use super::setup::{Setup, block_on};
use super::terminal::{format_table, print};
use crate::config::{Config, Env, TokenState, Tokens};
use crate::gateway::GatewayError;
use crate::gateway::online::ask_names;
use crate::state::gateway_status;
use crate::text::one_line;

/// How many ids of a list are shown.
const IDS_SHOWN: usize = 4;

pub(super) fn run(cli: &Cli, env: &Env, online: bool) -> Result<(), Failure> {
    let Setup {
        config,
        state,
        clock,
    } = Setup::load(cli, env)?;
    let tokens = Tokens::read(&config, env)?;
    let rows = config.sessions.values().map(|session| {
        let bot = match tokens.of(&session.id) {
            Some(TokenState::Set(token)) => format!("bot {}", token.bot_id()),
            Some(TokenState::Unset { variable }) => {
                format!("{variable} is not set")
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
        "{} is valid.\nState folder: {}\nBot API: {}, {}\n\n{}",
        config.path.display(),
        state.root().display(),
        config.api_url,
        tokens.proxy().map_or_else(
            || "without a proxy".to_owned(),
            |proxy| format!("through the proxy {proxy}")
        ),
        format_table(&["session", "name", "bot", "chats", "people"], rows)
    );
    let env_file = config.path.with_file_name(".env");
    let unset = tokens.iter().filter_map(|(session, token)| match token {
        TokenState::Unset { variable } => Some(format!(
            "session {session} has no token: write {variable}=<the token> into {}",
            env_file.display()
        )),
        TokenState::Set(_) => None,
    });
    let mut warnings = [&config.warnings()[..], tokens.warnings()].concat();
    warnings.extend(unset);
    if gateway_status::is_running(&state)? {
        let status = gateway_status::read(&state, clock.now())?;
        warnings.extend(status.and_then(|status| status.explain_old_configuration()));
    }
    for warning in warnings {
        text.extend(["warning: ", &warning, "\n"]);
    }
    print(&text)?;
    if online {
        return ask_bots(&config, &tokens);
    }
    Ok(())
}

/// Asks Telegram for the name of each bot, and fails if one is not told.
fn ask_bots(config: &Config, tokens: &Tokens) -> Result<(), Failure> {
    let names = block_on(ask_names(config, tokens))?.map_err(GatewayError::from)?;
    if names.is_empty() {
        print("No bot can be asked, because no token is set.\n")?;
    }
    let mut is_silent = names.is_empty();
    for (id, name) in names {
        print(&match name {
            Ok(name) => format!(
                "Bot {id} is @{}: Telegram takes its token.\n",
                one_line(&name)
            ),
            Err(error) => {
                is_silent = true;
                format!(
                    "Bot {id} cannot be asked: {}. Check its token with @BotFather, and the network of this machine.\n",
                    one_line(error.to_string().trim_end_matches('.'))
                )
            }
        })?;
    }
    if is_silent {
        return Err(Failure::Reported(exit::TELEGRAM));
    }
    Ok(())
}

fn join_ids<T: ToString>(ids: &[T]) -> String {
    let shown: Vec<String> = ids
        .iter()
        .take(IDS_SHOWN)
        .map(ToString::to_string)
        .collect();
    let shown = shown.join(", ");
    if ids.len() > IDS_SHOWN {
        return format!("{shown}, … ({} in all)", ids.len());
    }
    shown
}
