//! A bot's token, which only [`Token::expose`] gives away, and the removal of tokens from texts.

use std::fmt;

use crate::ids::{BotId, ID_MAX};

/// Fewest characters that a secret half has; Telegram's have 35.
const SECRET_MIN: usize = 20;

/// A bot's token. `Debug` and `Display` show the bot's id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    bot_id: BotId,
}

impl Token {
    /// Reads `<bot id>:<secret>`. The error names the mistake and never repeats the text.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let (id, secret) = text.split_once(':').ok_or(MalformedToken::NoColon)?;
        let number = id
            .parse()
            .ok()
            .filter(|number| (1..=ID_MAX).contains(number));
        // A number may also begin with a plus sign.
        let number = number.filter(|_| !id.starts_with('+'));
        let bot_id = BotId(number.ok_or(MalformedToken::BotId)?);
        if !secret.chars().all(is_secret_char) {
            return Err(MalformedToken::Character);
        }
        if secret.len() < SECRET_MIN {
            return Err(MalformedToken::TooShort);
        }
        Ok(Self {
            text: text.to_owned(),
            bot_id,
        })
    }

    /// The token itself, for the request line and nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The bot that the token belongs to.
    pub fn bot_id(&self) -> BotId {
        self.bot_id
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.bot_id)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

/// `text` without the secret half of anything that has the form of a bot token.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(start);
        let (digits, after) = split_where(tail, |c| !c.is_ascii_digit());
        out.push_str(before);
        out.push_str(digits);
        rest = after;
        if digits.len() >= 5
            && let Some(secret) = after.strip_prefix(':')
            && let (secret, after) = split_where(secret, |c| !is_secret_char(c))
            && secret.len() >= 12
        {
            out.push_str(":…");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether `c` occurs in the secret half of a token.
pub(super) fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

/// The reason why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// No colon between the two halves.
    #[error("there is no colon in it")]
    NoColon,
    /// The first half is not a bot id.
    #[error("the part before the colon is not a number")]
    BotId,
    /// The second half has a character that no token has.
    #[error("the part after the colon contains a character that no token has")]
    Character,
    /// The second half is cut off.
    #[error("the part after the colon is too short")]
    TooShort,
}
