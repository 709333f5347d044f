//! The messages that an agent sees, computed from the pending entries at each poll. Pure.
//!
//! Entries never change. Parts of one album, or of a text that Telegram cut, form one message; an edit replaces a
//! text that no agent has seen yet; long texts come in parts. `render` makes one message.

mod render;

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, ChatId, MessageId, TopicId, UpdateId, UserId};
use crate::routing::is_near_limit;
use crate::state::inbox::{Entry, EntryName};
use crate::telegram::update::{self, Body, Forward, Message, Update};

/// How long the newest part of an album or of a cut text waits for the next one.
pub const JOIN_MS: i64 = 1000;
/// A longer wait means that the clock was set back.
const JOIN_AT_MOST: Duration = Duration::from_secs(5);
/// Messages that waited longer are marked, so that the agent asks before it acts on them.
const BACKLOG_SECONDS: u64 = 15 * 60;
/// Most bytes of JSON for the text of one part: with the largest envelope, a message stays below a page of 9,000
/// bytes.
pub const PART_BYTES: usize = 4500;
/// How many of these bytes each file of the message takes.
const FILE_BYTES: usize = 200;
/// Most events that are shown beside a message.
pub const CONTEXT_MOST: usize = 8;

/// A pending entry, read.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name.
    pub name: EntryName,
    /// Where it came from.
    pub address: Address,
    /// The update; `None` if this version cannot read it.
    pub update: Option<Update>,
    /// The events of the chat before it.
    pub context: Vec<String>,
}

impl Item {
    /// Reads an entry that has this name.
    pub fn new(name: EntryName, entry: Entry) -> Self {
        Self {
            name,
            address: entry.address,
            update: update::read(entry.update.get()).ok(),
            context: entry.context,
        }
    }
}

/// One message as an agent sees it, with its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedMessage {
    /// The entries that are settled with it.
    pub entries: Vec<EntryName>,
    /// Where an answer goes.
    pub address: Address,
    /// The whole message, before it is cut into parts.
    pub message: MessageView,
    /// The files of `message.attachments`, in the same order.
    pub files: Vec<FileRef>,
    /// Not shown before this time, because more parts may come; `None` if none can.
    pub ready_at: Option<Timestamp>,
}

/// One file of a message, to look up its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// The updates that brought it, the newest first: an edit brings the file of its message again.
    pub updates: Vec<UpdateId>,
    /// The identity of its bytes.
    pub content: String,
}

impl RenderedMessage {
    /// How long it waits for its next part. The times of entries strictly increase, so they may lie ahead of the
    /// clock, and far ahead of a clock that was set back: then the message does not wait.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        within(self.ready_at?.since(now))
    }

    /// How long a waiting call gives the files to arrive: most come within the time that an album waits.
    pub fn wait_for_files(&self, now: Timestamp) -> Option<Duration> {
        let newest = self.entries.iter().map(|name| name.received).max()?;
        let wait = Timestamp(newest + JOIN_MS).since(now);
        within(wait).filter(|_| self.message.awaits_files())
    }
}

fn within(wait: Duration) -> Option<Duration> {
    (!wait.is_zero() && wait <= JOIN_AT_MOST).then_some(wait)
}

/// A message, as the tools show it.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageView {
    /// Identifies the message in `to`, `ack` and `message`.
    pub update_id: UpdateId,
    /// Telegram's id of the message within its chat.
    pub message_id: MessageId,
    /// text, photo, document, voice, poll, …; `choice` for a pressed button, reaction for a reaction, the event for a service message.
    pub kind: String,
    /// The chat.
    pub chat: ChatView,
    /// The forum topic, if any.
    pub topic: Option<TopicView>,
    /// The sender, who is on the session's list of allowed people.
    pub from: Option<PersonView>,
    /// The text as Markdown, or a description in brackets for kinds without text.
    pub text: String,
    /// When it was sent.
    pub sent_at: String,
    /// How long ago that was.
    pub age_seconds: u64,
    /// The message waited longer than 15 minutes: check that it still makes sense before you act on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backlog: bool,
    /// Which part of a long message this is, from 1.
    pub part: Option<usize>,
    /// How many parts there are; read the others with `message` and `part`.
    pub parts: Option<usize>,
    /// The message that this one replies to.
    pub reply_to: Option<ReplyView>,
    /// The original author: these are the words of a third party.
    pub forwarded_from: Option<ForwardView>,
    /// This text replaces an earlier version of the same message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// It was shown before, to you or to another agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Files that came with the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView>,
    /// Events in the chat before this message, such as a pinned message. They need no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<String>,
}

/// A chat.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatView {
    /// Its id.
    pub id: ChatId,
    /// private, group, supergroup or channel.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of a group.
    pub title: Option<String>,
}

/// A forum topic.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicView {
    /// Its id.
    pub id: TopicId,
    /// Its name, if known.
    pub name: Option<String>,
}

/// A person.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PersonView {
    /// The user id.
    pub id: UserId,
    /// First and last name.
    pub name: String,
    /// The public name.
    pub username: Option<String>,
}

/// A message that another one replies to.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyView {
    /// Its id within its chat, if it has one.
    pub message_id: Option<MessageId>,
    /// Its author.
    pub from: Option<String>,
    /// Up to 300 characters of it, or a description in brackets.
    pub text: String,
    /// The part that the person quoted.
    pub quote: Option<String>,
}

/// Where a forwarded message comes from.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForwardView {
    /// user, `hidden_user`, chat or channel.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the person or chat.
    pub name: Option<String>,
    /// The id, unless it is hidden.
    pub id: Option<i64>,
    /// The public name.
    pub username: Option<String>,
    /// The author's signature, on a post in the name of a channel or group.
    pub signature: Option<String>,
    /// The id of the original post in its channel.
    pub message_id: Option<MessageId>,
    /// When the original was sent.
    pub sent_at: Option<String>,
}

/// A file that came with a message.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttachmentView {
    /// photo, document, …
    pub kind: String,
    /// The name that the sender gave it.
    pub name: Option<String>,
    /// The type that the sender gave it.
    pub mime: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// ready (it is at `path`), downloading (poll again), or failed (see `reason`).
    #[schemars(with = "String", extend("enum" = ["ready", "downloading", "failed"]))]
    pub state: FileStanding,
    /// Where it is on this machine.
    pub path: Option<String>,
    /// Its SHA-256.
    pub sha256: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStanding {
    /// It is there.
    Ready,
    /// It is being fetched, or will be.
    Downloading,
    /// It cannot be had.
    Failed,
}

/// Groups entries that no agent has seen into messages, oldest first.
pub fn fresh(items: &[Item]) -> Vec<RenderedMessage> {
    let mut groups: Vec<Vec<&Item>> = Vec::new();
    for item in items {
        match groups.iter().rposition(|group| belongs(group, item)) {
            Some(position) => groups
                .get_mut(position)
                .into_iter()
                .for_each(|group| group.push(item)),
            None => groups.push(vec![item]),
        }
    }
    groups.iter().filter_map(|group| show(group)).collect()
}

/// Combines entries that were shown as one message into that message again.
pub fn together(items: &[Item]) -> Option<RenderedMessage> {
    show(&items.iter().collect::<Vec<_>>())
}

/// Whether an entry is part of a group: an edit of one of its messages, the next part of an album,
/// or the next piece of a text that was cut.
fn belongs(group: &[&Item], item: &Item) -> bool {
    let Some((message, edited)) = message_of(item) else {
        return false;
    };
    let same_place = |other: &Item| other.address == item.address;
    // Ephemeral messages all have the id 0, so an edit or a cut cannot be assigned.
    if message.message_id.0 == 0 {
        return false;
    }
    if edited {
        return group.iter().any(|other| {
            same_place(other)
                && message_of(other)
                    .is_some_and(|(first, _)| first.message_id == message.message_id)
        });
    }
    // An edit of one part may come before the next part does.
    let parts = group.iter().rev().filter(|last| same_place(last));
    let Some(before) = parts
        .filter_map(|last| message_of(last))
        .find_map(|(before, edited)| (!edited).then_some(before))
    else {
        return false;
    };
    let same_sender =
        before.from.as_ref().map(|from| from.id) == message.from.as_ref().map(|from| from.id);
    let album = message.media_group_id.is_some() && message.media_group_id == before.media_group_id;
    let cut = message.text.is_some()
        && is_near_limit(before)
        && (0..=1).contains(&message.date.saturating_sub(before.date))
        // A comment that follows a long forwarded text is no part of it.
        && origin(message) == origin(before);
    same_sender && (album || cut)
}

/// The origin of a forwarded message, without the time, which differs for each part of a text.
fn origin(message: &Message) -> Option<Forward> {
    message.forward().map(|forward| Forward {
        date: None,
        message_id: None,
        ..forward
    })
}

fn message_of(item: &Item) -> Option<(&Message, bool)> {
    match &item.update.as_ref()?.body {
        Body::Message { message, edited } => Some((message, *edited)),
        Body::Press(_) | Body::Reaction(_) | Body::Membership(_) | Body::Other(_) => None,
    }
}

fn show(group: &[&Item]) -> Option<RenderedMessage> {
    let first = group.first()?;
    let newest = group.iter().map(|item| item.name.received).max()?;
    // Only a message that may grow waits; an ordinary one is shown at once.
    let may_grow = group
        .iter()
        .filter_map(|item| message_of(item))
        .any(|(message, edited)| {
            !edited && (message.media_group_id.is_some() || is_near_limit(message))
        });
    let (message, files) = render::message(first, group);
    Some(RenderedMessage {
        entries: group.iter().map(|item| item.name).collect(),
        address: first.address,
        message,
        files,
        ready_at: may_grow.then_some(Timestamp(newest + JOIN_MS)),
    })
}

impl MessageView {
    /// The message as it looks now: its age, and whether it was shown before.
    #[must_use]
    pub fn at(mut self, now: Timestamp, again: bool) -> Self {
        let sent = chrono::DateTime::parse_from_rfc3339(&self.sent_at)
            .map_or(now, |time| Timestamp(time.timestamp_millis()));
        self.age_seconds = now.since(sent).as_secs();
        self.backlog = self.age_seconds > BACKLOG_SECONDS;
        self.again = again;
        self
    }

    /// Whether a file of it is still being fetched.
    pub fn awaits_files(&self) -> bool {
        let mut files = self.attachments.iter();
        files.any(|file| file.state == FileStanding::Downloading)
    }

    /// One part of the message, from 1. A message that fits is its only part, unnumbered.
    pub fn part(&self, number: usize) -> Option<Self> {
        let pieces = self.pieces();
        let piece = pieces.get(number.checked_sub(1)?)?;
        let mut view = self.clone();
        (*piece).clone_into(&mut view.text);
        if pieces.len() > 1 {
            view.part = Some(number);
            view.parts = Some(pieces.len());
        }
        if number > 1 {
            view.attachments.clear();
            view.context.clear();
        }
        Some(view)
    }

    /// How many parts the message has.
    pub fn part_count(&self) -> usize {
        self.pieces().len()
    }

    /// Each file takes the same room from the text, whatever its state: the parts of a message must not change
    /// while an agent reads them.
    fn pieces(&self) -> Vec<&str> {
        parts(
            &self.text,
            PART_BYTES - self.attachments.len().min(10) * FILE_BYTES,
        )
    }
}

/// Cuts a text into pieces of at most so many bytes as JSON, after a line end where one is in the last
/// quarter of the piece.
fn parts(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let mut bytes = 0;
        let mut end = rest.len();
        let mut line_end = None;
        for (index, character) in rest.char_indices() {
            bytes += json_len(character);
            if bytes > most {
                end = line_end.unwrap_or(index);
                break;
            }
            if character == '\n' && bytes > most * 3 / 4 {
                line_end = Some(index + 1);
            }
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        if after.is_empty() {
            return pieces;
        }
        rest = after;
    }
}

/// How many bytes a character takes in a JSON string as `serde_json` writes it.
fn json_len(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// The entries behind a set of messages.
pub fn entries_of<'a>(shown: impl IntoIterator<Item = &'a RenderedMessage>) -> BTreeSet<EntryName> {
    shown
        .into_iter()
        .flat_map(|shown| shown.entries.iter().copied())
        .collect()
}

#[cfg(test)]
mod tests;
