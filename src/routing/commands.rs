//! Which messages are commands of the bot. Pure.
//!
//! A command is a message's own words: a forwarded text, a caption and an edit never are one. Any other
//! `/word` is a text for the agent, and so is a command with other words behind it: only `/skip` takes any.

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
        /// How many numbers are too many.
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
        let command = match name.to_ascii_lowercase().as_str() {
            "skip" => return Self::skip(rest),
            "start" | "help" => Self::Help,
            "status" => Self::Status,
            "queue" => Self::Queue,
            "id" => Self::Id,
            _ => return None,
        };
        // A full stop or an emoji behind it is no word.
        (!rest.contains(char::is_alphanumeric)).then_some(command)
    }

    fn skip(words: &str) -> Option<Self> {
        let mut ids = Vec::new();
        let mut others = 0;
        let separates = |c: char| c.is_whitespace() || c == ',';
        let is_word = |word: &&str| word.contains(char::is_alphanumeric);
        for word in words.split(separates).filter(is_word) {
            let id = word.parse().map(UpdateId).ok()?;
            if ids.len() == SKIP_MOST {
                others += 1;
            } else if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Some(Self::Skip { ids, others })
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
