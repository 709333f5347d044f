//! Asks Telegram for the names of the bots, for `telepost check --online`.

use std::time::Duration;

use crate::config::{Config, Tokens};
use crate::ids::BotId;
use crate::telegram::api::{Api, ClientError, HttpClients};
use crate::telegram::error::ApiError;

/// How long one bot may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The name of each bot that has a token, or why Telegram does not tell it. Changes nothing.
pub(crate) async fn ask_names(
    config: &Config,
    tokens: &Tokens,
) -> Result<Vec<(BotId, Result<String, ApiError>)>, ClientError> {
    let clients = HttpClients::new(tokens.proxy())?;
    let mut names = Vec::new();
    for (id, bot) in tokens.bots() {
        let api = Api::new(&bot.token, &config.api_url, clients.clone());
        let asked = tokio::time::timeout(ANSWER_WITHIN, api.me()).await;
        let asked =
            asked.unwrap_or_else(|_| Err(ApiError::Doubt("getMe took too long".to_owned())));
        names.push((id, asked.map(|me| me.username)));
    }
    Ok(names)
}
