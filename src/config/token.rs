//! A bot's token. It has no way out except [`Token::expose`].

use std::fmt;

use super::error::is_secret_char;
use super::id_lists::ID_MAX;
use crate::ids::BotId;

/// Fewest characters that a secret half has; Telegram's have 35.
const SECRET_MIN: usize = 20;

/// A bot's token. `Debug` and `Display` show the bot's id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: String,
    bot_id: BotId,
}

impl Token {
    /// Reads `<bot id>:<secret>`. The error says what is wrong, never what stands there.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let (id, secret) = text.split_once(':').ok_or(MalformedToken::NoColon)?;
        let bot_id = match id.parse::<i64>() {
            Ok(number)
                if (1..=ID_MAX).contains(&number) && id.chars().all(|c| c.is_ascii_digit()) =>
            {
                BotId(number)
            }
            Ok(_) | Err(_) => return Err(MalformedToken::BotId),
        };
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

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// No colon between the two halves.
    #[error("there is no colon in it")]
    NoColon,
    /// The first half is no bot id.
    #[error("what stands before the colon is not a number")]
    BotId,
    /// The second half has a character that no token has.
    #[error("there is a character after the colon that no token has")]
    Character,
    /// The second half is cut off.
    #[error("what stands after the colon is too short")]
    TooShort,
}
