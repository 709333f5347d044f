//! Which messages are commands of the bot. Pure.
//!
//! A command is a message's own words: a forwarded text, a caption and an edit never are one. Any other
//! `/word` is a text for the agent.

use crate::ids::UpdateId;
use crate::telegram::update::{EntityKind, Message};

/// Most ids that one `/skip` takes.
pub const SKIP_MOST: usize = 50;

/// A command that the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `/start` and `/help`.
    Help,
    /// `/status`.
    Status,
    /// `/queue`.
    Queue,
    /// `/skip 123 124`.
    Skip {
        /// The messages to drop, each once.
        ids: Vec<UpdateId>,
        /// How many words are no number of a message, or one too many.
        others: usize,
    },
    /// `/id`.
    Id,
}

impl Command {
    /// The command that a message is, if it is one of ours. `username` is the bot's, without `@`: in
    /// a group `/status@other_bot` is another bot's.
    pub fn read(message: &Message, username: Option<&str>) -> Option<Self> {
        let text = message.text.as_deref()?;
        let end = message.entities().into_iter().find_map(|entity| {
            let first = entity.start == 0 && entity.kind == EntityKind::Command;
            first.then_some(entity.end)
        })?;
        if message.forward().is_some() {
            return None;
        }
        let (word, rest) = (text.get(..end)?, text.get(end..)?);
        let word = word.strip_prefix('/')?;
        let name = match word.split_once('@') {
            Some((name, bot)) => username
                .is_some_and(|mine| mine.eq_ignore_ascii_case(bot))
                .then_some(name)?,
            None => word,
        };
        match name.to_ascii_lowercase().as_str() {
            "start" | "help" => Some(Self::Help),
            "status" => Some(Self::Status),
            "queue" => Some(Self::Queue),
            "skip" => Some(Self::skip(rest)),
            "id" => Some(Self::Id),
            _ => None,
        }
    }

    fn skip(words: &str) -> Self {
        let mut ids = Vec::new();
        let mut others = 0;
        let separates = |c: char| c.is_whitespace() || c == ',';
        for word in words.split(separates).filter(|word| !word.is_empty()) {
            match word.parse().map(UpdateId) {
                Ok(id) if ids.contains(&id) => {}
                Ok(id) if ids.len() < SKIP_MOST => ids.push(id),
                Ok(_) | Err(_) => others += 1,
            }
        }
        Self::Skip { ids, others }
    }

    /// For the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Status => "status",
            Self::Queue => "queue",
            Self::Skip { .. } => "skip",
            Self::Id => "id",
        }
    }
}

#[cfg(test)]
mod tests;
