//! The bot's own commands: which messages are one, and what is answered. Pure.
//!
//! The gateway answers them itself, at once, also while the agent is busy; no agent sees them.
//!
//! Text of other people stands in an answer as code only: there Telegram makes no links, mentions
//! or commands of it.

use crate::clock::Timestamp;
use crate::ids::{Address, UpdateId, UserId};
use crate::ops::status::SessionReport;
use crate::routing::commands::SKIP_MOST;
use crate::telegram::format::{Entity, EntityStyle, Rich};
use crate::telegram::update::content::short;
use crate::text::{format_span, one_line};

/// The commands as Telegram's menu shows them: name and description. `/start` is the first command of every chat and needs no line.
pub(crate) const MENU: [(&str, &str); 5] = [
    (
        "status",
        "The state of this session: agent, waiting messages, unsent answers",
    ),
    ("queue", "The messages that are waiting in this chat"),
    ("skip", "Drop waiting messages: /skip 123 124"),
    ("id", "Your id and the ids of this chat"),
    ("help", "What this bot does"),
];

/// Most messages that `/queue` lists.
pub(crate) const QUEUE_SHOWN: usize = 20;
/// Most characters that the list shows of a message.
const WORDS_SHOWN: usize = 60;

/// A message that waits, as `/queue` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueLine {
    pub(crate) id: UpdateId,
    pub(crate) age_s: u64,
    pub(crate) from: String,
    pub(crate) text: String,
    /// Whether an agent was shown it.
    pub(crate) held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// Dropped; no agent has seen it.
    Dropped,
    /// Dropped, but an agent was shown it and may still answer.
    Seen,
    /// No message of that number waits in this chat.
    NotHere,
}

#[derive(Debug, Default)]
struct Words {
    rich: Rich,
    /// Its length in UTF-16 units.
    length: usize,
}

impl Words {
    fn say(mut self, text: &str) -> Self {
        self.rich.text.push_str(text);
        self.length += text.encode_utf16().count();
        self
    }

    /// Something that others may have written, on one line.
    fn code(self, text: &str) -> Self {
        let text = one_line(text);
        let offset = self.length;
        let mut words = self.say(&text);
        let length = words.length - offset;
        if length > 0 {
            words
                .rich
                .entities
                .push(Entity::new(EntityStyle::Code, offset, length));
        }
        words
    }
}

pub(crate) fn help(session: &str, name: &str) -> Rich {
    let mut words = Words::default()
        .say("This is the mailbox of session ")
        .code(session);
    if name != session {
        words = words.say(" (").code(name).say(")");
    }
    let mut words = words.say(". Your messages wait here until its agent reads them, and the agent answers here.\n\nI answer these commands myself, even while the agent is busy:\n");
    for (command, description) in MENU {
        words = words.say(&format!("/{command} – {description}\n"));
    }
    let mut rich = words.rich;
    rich.text.truncate(rich.text.trim_end().len());
    rich
}

pub(crate) fn status(report: &SessionReport, now: Timestamp) -> Rich {
    let agent = match report.agents {
        0 => "none connected; messages wait until one connects".to_owned(),
        1 => "connected".to_owned(),
        many => format!("{many} connected"),
    };
    let with_agent = match report.held {
        0 => String::new(),
        held => format!(", {held} of them shown to the agent"),
    };
    let oldest = report
        .oldest_age_s
        .map(|age| format!(", the oldest for {}", format_span(age)));
    let waiting = format!(
        "{}{with_agent}{}",
        report.pending,
        oldest.unwrap_or_default()
    );
    let mut words = Words::default()
        .say("Session ")
        .code(report.id.as_str())
        .say(&format!(
            "\nAgent: {agent}\nWaiting: {waiting}\nTo send: {}",
            report.outbox
        ));
    if let Some(held) = report.format_held_until(now) {
        words = words.say(&format!(", held until {held}"));
    }
    if report.failed > 0 {
        words = words.say(&format!(
            "\nCould not be delivered: {} (see telepost outbox list)",
            report.failed
        ));
    }
    words.rich
}

/// The answer to `/queue`: what waits of this chat, the first of it, and how many wait in others.
pub(crate) fn queue(first: &[QueueLine], all: usize, elsewhere: usize) -> Rich {
    let first = first.get(..QUEUE_SHOWN).unwrap_or(first);
    let mut words = Words::default();
    words = match all {
        0 => words.say("No messages are waiting in this chat."),
        1 => words.say("1 message is waiting:"),
        many => words.say(&format!("{many} messages are waiting:")),
    };
    for one in first {
        let seen = if one.held {
            " · shown to the agent"
        } else {
            ""
        };
        let said = format!(
            "{}: {}",
            short(&one.from, WORDS_SHOWN),
            short(&one.text, WORDS_SHOWN)
        );
        words = words
            .say("\n")
            .code(&one.id.to_string())
            .say(&format!(" · {}{seen} · ", format_span(one.age_s)))
            .code(&said);
    }
    if let Some(more) = all.checked_sub(first.len()).filter(|more| *more > 0) {
        words = words.say(&format!("\nand {more} more"));
    }
    if elsewhere > 0 {
        words = words.say(&format!(
            "\nWaiting in other chats of this session: {elsewhere}"
        ));
    }
    if all > 0 {
        words = words.say("\nTo drop a message, send /skip and its number.");
    }
    words.rich
}

pub(crate) fn skip(done: &[(UpdateId, Skipped)], others: usize) -> Rich {
    if done.is_empty() {
        return Words::default()
            .say("Which messages? Add the numbers that /queue shows, such as ")
            .code("/skip 123 124")
            .say(".")
            .rich;
    }
    let mut words = Words::default();
    for (index, (id, skipped)) in done.iter().enumerate() {
        let line = match skipped {
            Skipped::Dropped => ": dropped, no agent will see it",
            Skipped::Seen => ": dropped, but the agent has seen it and may still answer",
            Skipped::NotHere => ": is not waiting in this chat",
        };
        words = words
            .say(if index == 0 { "" } else { "\n" })
            .code(&id.to_string())
            .say(line);
    }
    if others > 0 {
        words = words.say(&format!(
            "\nNot handled: {others} (at most {SKIP_MOST} at once)"
        ));
    }
    words.rich
}

pub(crate) fn ids(session: &str, address: Address, user: UserId) -> Rich {
    let mut words = Words::default()
        .say("Chat: ")
        .code(&address.chat_id.to_string());
    if let Some(topic) = address.topic_id {
        words = words.say("\nTopic: ").code(&topic.to_string());
    }
    words
        .say("\nYou: ")
        .code(&user.to_string())
        .say("\nSession: ")
        .code(session)
        .rich
}

/// The answer when the state cannot be read; why is in the log.
pub(crate) fn failed() -> Rich {
    Words::default()
        .say("I cannot read the state of this session now; the gateway's log says why.")
        .rich
}

#[cfg(test)]
mod tests;
