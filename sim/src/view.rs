//! Looking at the server: transcripts, calls, queues.

use serde_json::Value;

use crate::calls::Call;
use crate::faults::FaultId;
use crate::state::{Author, State, room_key};

/// One message of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its id in the chat.
    pub message_id: i64,
    /// Whether a bot wrote it.
    pub from_bot: bool,
    /// The bot or the user who wrote it.
    pub from: i64,
    /// Text or caption, as it is now.
    pub text: String,
    /// Entities of the text or caption, as they are now.
    pub entities: Vec<Value>,
    /// The message that it replies to.
    pub reply_to: Option<i64>,
    /// Its topic.
    pub topic: Option<i64>,
    /// How often it was edited.
    pub edits: usize,
    /// Its texts before each edit, oldest first.
    pub earlier_texts: Vec<String>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Whether it was sent without a notification.
    pub silent: bool,
    /// Emoji that stand on it, as (bot or user, emoji).
    pub reactions: Vec<(i64, String)>,
    /// Its inline keyboard.
    pub markup: Option<Value>,
    /// Media and other fields: `document`, `photo`, `media_group_id`, …
    pub extra: Value,
    /// Real milliseconds since the simulator was started.
    pub at_ms: i64,
}

impl Line {
    /// Whether it was edited.
    pub fn edited(&self) -> bool {
        self.edits > 0
    }
}

/// The server at one moment, as [`Sim::wait_for`](crate::Sim::wait_for) shows it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) now: i64,
}

impl View<'_> {
    /// All messages of a chat in order, deleted ones and service messages included.
    pub fn transcript(&self, bot: i64, chat: i64) -> Vec<Line> {
        let Some(room) = self.state.rooms.get(&room_key(bot, chat)) else {
            return Vec::new();
        };
        room.messages
            .values()
            .map(|message| {
                let emoji = |reaction: &Value| {
                    reaction
                        .get("emoji")
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                };
                let (from_bot, from) = match message.author {
                    Author::Bot(bot) => (true, bot),
                    Author::Person(user) => (false, user),
                };
                Line {
                    message_id: message.id,
                    from_bot,
                    from,
                    text: message.text.clone(),
                    entities: message.entities.clone(),
                    reply_to: message.reply_to,
                    topic: message.topic,
                    edits: message.earlier_texts.len(),
                    earlier_texts: message.earlier_texts.clone(),
                    deleted: message.deleted,
                    silent: message.silent,
                    reactions: message
                        .reactions
                        .iter()
                        .flat_map(|(who, list)| {
                            list.iter().filter_map(emoji).map(|emoji| (*who, emoji))
                        })
                        .collect(),
                    markup: message.markup.clone(),
                    extra: Value::Object(message.extra.clone()),
                    at_ms: message.at_ms,
                }
            })
            .collect()
    }

    /// The texts that bots sent to a chat and that are still there, in order.
    pub fn bot_texts(&self, bot: i64, chat: i64) -> Vec<String> {
        let room = self.state.rooms.get(&room_key(bot, chat));
        let messages = room.into_iter().flat_map(|room| room.messages.values());
        messages
            .filter(|message| !message.deleted && matches!(message.author, Author::Bot(_)))
            .map(|message| message.text.clone())
            .collect()
    }

    /// The transcript for people.
    pub fn transcript_text(&self, bot: i64, chat: i64) -> String {
        let mut lines = Vec::new();
        for line in self.transcript(bot, chat) {
            let who = if line.from_bot {
                self.state
                    .bots
                    .get(&line.from)
                    .map_or("bot", |bot| bot.username.as_str())
                    .to_owned()
            } else {
                self.state.person(line.from).first_name
            };
            let mut marks = String::new();
            let mut mark = |text: String| marks.extend([" [", &text, "]"]);
            if let Some(topic) = line.topic {
                mark(format!("topic {topic}"));
            }
            if let Some(id) = line.reply_to {
                mark(format!("reply to {id}"));
            }
            for (set, text) in [
                (line.silent, "silent"),
                (line.edits > 0, "edited"),
                (line.deleted, "deleted"),
            ] {
                if set {
                    mark(text.to_owned());
                }
            }
            if line
                .extra
                .as_object()
                .is_some_and(|extra| !extra.is_empty())
            {
                mark(line.extra.to_string());
            }
            for (_, emoji) in &line.reactions {
                mark(emoji.clone());
            }
            let id = line.message_id;
            lines.push(format!("{id} {who}{marks}: {}\n", line.text));
        }
        lines.concat()
    }

    /// The transcripts of all chats of a bot, for people.
    pub(crate) fn all_transcripts(&self, bot: i64) -> String {
        let chats = self
            .state
            .rooms
            .keys()
            .filter(|(owner, _)| *owner == bot || *owner == 0);
        let shown: Vec<String> = chats
            .map(|(_, chat)| format!("chat {chat}:\n{}", self.transcript_text(bot, *chat)))
            .collect();
        shown.concat()
    }

    /// All calls of one bot, in the order of arrival.
    pub fn calls(&self, bot: i64) -> Vec<Call> {
        self.state
            .calls
            .iter()
            .filter(|call| call.bot == bot)
            .cloned()
            .collect()
    }

    /// The calls of one method.
    pub fn calls_of(&self, bot: i64, method: &str) -> Vec<Call> {
        self.calls(bot)
            .into_iter()
            .filter(|call| call.method.eq_ignore_ascii_case(method))
            .collect()
    }

    /// How many calls of one method have arrived; cheaper than counting [`calls_of`](Self::calls_of).
    pub fn call_count(&self, bot: i64, method: &str) -> usize {
        let calls = self.state.calls.iter();
        calls
            .filter(|call| call.bot == bot && call.method.eq_ignore_ascii_case(method))
            .count()
    }

    /// How many updates wait to be confirmed.
    pub fn pending(&self, bot: i64) -> usize {
        self.state
            .bots
            .get(&bot)
            .map_or(0, |bot| bot.queue.waiting(self.now))
    }

    /// The updates that were confirmed, in order.
    pub fn confirmed(&self, bot: i64) -> Vec<i64> {
        self.state
            .bots
            .get(&bot)
            .map_or_else(Vec::new, |bot| bot.queue.confirmed_ids())
    }

    /// How many long polls wait: none or one, since a newer one sends the older one home.
    pub fn waiting_polls(&self, bot: i64) -> usize {
        self.state
            .bots
            .get(&bot)
            .map_or(0, |bot| usize::from(bot.poll.waiter.is_some()))
    }

    /// How often a fault has struck.
    pub fn fault_hits(&self, fault: FaultId) -> u32 {
        self.state.faults.hits(fault)
    }

    /// The report of a failed wait: queues, the latest calls, and what was written last.
    pub(crate) fn status(&self) -> String {
        const SHOWN_CALLS: usize = 15;
        let mut lines = Vec::new();
        for bot in self.state.bots.keys() {
            let (pending, polls) = (self.pending(*bot), self.waiting_polls(*bot));
            lines.push(format!(
                "bot {bot}: {pending} updates pending, {polls} long polls waiting"
            ));
        }
        let skip = self.state.calls.len().saturating_sub(SHOWN_CALLS);
        for call in self.state.calls.iter().skip(skip) {
            let Call {
                at_ms,
                method,
                params,
                outcome,
                ..
            } = call;
            lines.push(format!("{at_ms} ms {method} {params} -> {outcome:?}"));
        }
        lines.extend(self.state.bots.keys().map(|bot| self.all_transcripts(*bot)));
        lines.join("\n")
    }
}
