//! The tokens of the configured bots, and the proxy to Telegram, for the gateway and `telepost check` only: from the environment, else from
//! `.env` beside `sessions.json`. The values of `.env` never enter the process environment, so that no agent
//! inherits them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::dotenv::Dotenv;
use super::env::Env;
use super::error::{ConfigError, Problem};
use super::json::child;
use super::proxy::{self, Proxy};
use super::sessions::find_overlap;
use super::token::Token;
use super::{Config, Session};
use crate::ids::{BotId, SessionId};

/// The token of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// The bot has one.
    Set(Token),
    /// The variable is set nowhere: this bot is off, loudly; the others run.
    Unset {
        /// The variable that `bot_token_env` names.
        variable: String,
    },
}

/// The tokens of all sessions.
#[derive(Clone, Debug)]
pub struct Tokens {
    sessions: BTreeMap<SessionId, TokenState>,
    proxy: Option<Proxy>,
    warnings: Vec<String>,
}

/// One bot and the sessions behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    /// Its token.
    pub token: Token,
    /// The sessions that it serves.
    pub sessions: Vec<SessionId>,
}

impl Tokens {
    /// Finds the token of every session of `config`. A malformed one, or one bot that stands for the
    /// same chat in two sessions, refuses the whole; an unset one does not.
    pub fn read(config: &Config, env: &Env) -> Result<Self, ConfigError> {
        let file = config.path.parent().unwrap_or(Path::new("/")).join(".env");
        let mut variables: BTreeSet<&str> = config
            .sessions
            .values()
            .map(|session| session.bot_token_env.as_str())
            .collect();
        for name in proxy::variables() {
            variables.insert(name);
        }
        let dotenv = Dotenv::read(&file, &variables)?;

        let mut problems = dotenv.problems.clone();
        let mut states: BTreeMap<&str, Option<TokenState>> = BTreeMap::new();
        let mut sessions = BTreeMap::new();
        for session in config.sessions.values() {
            let state = states.entry(&session.bot_token_env).or_insert_with(|| {
                find_token(session, env, &dotenv, &file)
                    .map_err(|problem| problems.push(problem))
                    .ok()
            });
            sessions.extend(state.clone().map(|state| (session.id.clone(), state)));
        }
        let proxy = proxy::find(config, env, &dotenv)
            .map_err(|problem| problems.push(problem))
            .ok()
            .flatten();
        let tokens = Self {
            sessions,
            proxy,
            warnings: dotenv.warnings,
        };
        tokens.refuse_conflicts(config, &mut problems);
        if problems.is_empty() {
            Ok(tokens)
        } else {
            Err(ConfigError::refused(&config.path, problems))
        }
    }

    /// The token of `session`.
    pub fn of(&self, session: &SessionId) -> Option<&TokenState> {
        self.sessions.get(session)
    }

    /// The proxy to Telegram, if one is used.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Every session and its token.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionId, &TokenState)> {
        self.sessions.iter()
    }

    /// Every bot that has a token, with its sessions.
    pub fn bots(&self) -> BTreeMap<BotId, Bot> {
        let mut bots = BTreeMap::new();
        for (session, state) in &self.sessions {
            if let TokenState::Set(token) = state {
                let bot = || Bot {
                    token: token.clone(),
                    sessions: Vec::new(),
                };
                bots.entry(token.bot_id())
                    .or_insert_with(bot)
                    .sessions
                    .push(session.clone());
            }
        }
        bots
    }

    /// Oddities that are allowed: a `.env` that others can read, skipped lines.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn token(&self, session: &Session) -> Option<&Token> {
        match self.of(&session.id)? {
            TokenState::Set(token) => Some(token),
            TokenState::Unset { .. } => None,
        }
    }

    /// Different variables may hold the same bot: then addresses can overlap after all.
    fn refuse_conflicts(&self, config: &Config, problems: &mut Vec<Problem>) {
        let all: Vec<(&Session, &Token)> = config
            .sessions
            .values()
            .filter_map(|session| Some((session, self.token(session)?)))
            .collect();
        let mut contradictions = BTreeSet::new();
        for (index, &(session, token)) in all.iter().enumerate() {
            for &(other, other_token) in all.iter().take(index) {
                let (variable, other_variable) = (&session.bot_token_env, &other.bot_token_env);
                let bot_id = token.bot_id();
                if bot_id != other_token.bot_id() || variable == other_variable {
                    continue;
                }
                if token != other_token && contradictions.insert((variable, other_variable)) {
                    problems.push(Problem::new(
                        &variable_path(session),
                        format!(
                            "{other_variable} and {variable} hold two different tokens of the same bot {bot_id}, and \
                             Telegram accepts only the newer one"
                        ),
                        "delete the older one and let both sessions name the same variable",
                    ));
                }
                let bot = format!("and {other_variable} and {variable} are the same bot {bot_id}");
                let (id, other_id) = (session.id.as_str(), other.id.as_str());
                problems.extend(find_overlap((id, session), (other_id, other), &bot));
            }
        }
    }
}

fn find_token(
    session: &Session,
    env: &Env,
    dotenv: &Dotenv,
    file: &Path,
) -> Result<TokenState, Problem> {
    let variable = &session.bot_token_env;
    let (text, place) = match (env.get(variable), dotenv.get(variable)) {
        (Some(text), _) => (text, "the environment".to_owned()),
        (None, Some(text)) => (text, file.display().to_string()),
        (None, None) => {
            let variable = variable.clone();
            return Ok(TokenState::Unset { variable });
        }
    };
    let token = Token::parse(text.trim()).map_err(|malformed| {
        Problem::new(
            &variable_path(session),
            format!("the variable {variable}, set in {place}, does not hold a bot token: {malformed}"),
            "copy the whole token as Telegram gave it: digits, a colon, 35 characters, no spaces (telepost never prints \
             it)",
        )
    })?;
    Ok(TokenState::Set(token))
}

fn variable_path(session: &Session) -> String {
    child(&child("sessions", session.id.as_str()), "bot_token_env")
}
