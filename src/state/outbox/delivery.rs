//! One delivery: its content, and how far it has come. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId, UpdateId};
use crate::state::inbox::EntryName;
use crate::state::outbox::attachments::{AttachedFile, group_albums};
use crate::store::envelope::serialize_versioned;
use crate::telegram::api::OutgoingMessage;
use crate::telegram::error::Repair;
use crate::telegram::format::{self, Rich};
use crate::telegram::split::{self, CAPTION_LIMIT, MESSAGE_LIMIT};

/// The first line of a message that may already stand in the chat.
pub const REPEAT_MARK: &str = "↻ may repeat\n";

/// Most characters of a short reply: tables and lists may become longer in the chat than they are in Markdown.
const SHORT: usize = 2000;

/// The name of a delivery, whose order is the order of acceptance within a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// When it was accepted, in milliseconds; strictly increasing within a session.
    pub accepted: i64,
    /// The key of the call that made it: 32 hexadecimal digits.
    pub key: String,
}

impl DeliveryId {
    /// Reads a name such as `1700000000000-0123…`.
    pub fn parse(text: &str) -> Option<Self> {
        let (accepted, key) = text.split_once('-')?;
        let valid = accepted.len() == 13
            && accepted.bytes().all(|b| b.is_ascii_digit())
            && key.len() == 32
            && key
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then(|| {
            Some(Self {
                accepted: accepted.parse().ok()?,
                key: key.to_owned(),
            })
        })?
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}-{}", self.accepted, self.key)
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the name of a delivery"))
    }
}

/// The file of a delivery. Written once, never changed.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name on disk.
    pub id: DeliveryId,
    /// The session that it comes from.
    pub session: SessionId,
    /// The agent that it comes from.
    pub holder: String,
    /// Where it goes.
    pub address: Address,
    /// Its content.
    pub content: Content,
    /// The entries that it answers and thereby settles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<EntryName>,
    /// The messages that it acknowledges, as the agent saw them: the result of the same call made
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acked: Vec<UpdateId>,
    /// The newest message that it answers.
    pub reply_to: Option<MessageId>,
    /// Whether its first message is a Telegram reply to that one.
    #[serde(default)]
    pub as_reply: bool,
    /// How far an earlier attempt came that a person has resumed: messages that Telegram has are not
    /// sent again.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_versioned"
    )]
    pub resume: Option<DeliveryState>,
    /// Whether the phone stays silent.
    #[serde(default)]
    pub silent: bool,
    /// The turn that it belongs to, named by the turn's first progress update.
    pub turn: Option<DeliveryId>,
}

/// The content of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// An answer, or a message that the agent sends unasked.
    Reply {
        /// As the agent wrote it.
        text: String,
        /// The copies in `outbox/<id>/`, each named by its number in this list.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<AttachedFile>,
        /// Labels of buttons.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// A progress update: one message per turn, which later updates edit.
    #[serde(rename = "progress")]
    ProgressUpdate {
        /// As the agent wrote it.
        text: String,
    },
    /// A reaction on a message; empty removes it.
    Reaction {
        /// The message.
        message_id: MessageId,
        /// One of the allowed, or nothing.
        emoji: String,
    },
}

impl Content {
    /// The files that go with it.
    pub fn files(&self) -> &[AttachedFile] {
        match self {
            Self::Reply { files, .. } => files,
            Self::ProgressUpdate { .. } | Self::Reaction { .. } => &[],
        }
    }

    /// Whether it is a reply that is one message, by all likelihood.
    pub fn is_short(&self) -> bool {
        let fits = |text: &str| text.chars().nth(SHORT).is_none();
        matches!(self, Self::Reply { text, files, .. } if files.len() <= 1 && fits(text))
    }

    /// The text as the agent wrote it; empty for a reaction.
    pub fn text(&self) -> &str {
        match self {
            Self::Reply { text, .. } | Self::ProgressUpdate { text } => text,
            Self::Reaction { .. } => "",
        }
    }
}

/// How far a delivery has come. The gateway records it before and after every request.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryState {
    /// Its messages, in order.
    pub parts: Vec<Part>,
    /// Requests made so far.
    pub attempts: u32,
    /// The last failure, for people.
    pub last_failure: Option<String>,
}

/// One message of a delivery.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its text without the mark; empty for a reaction, and for files without a caption.
    pub message: Rich,
    /// The files that it carries; its text is their caption.
    pub upload: Option<Upload>,
    /// The further messages of an album that Telegram has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub album: Vec<MessageId>,
    /// How far it has come.
    pub state: PartState,
    /// An earlier request may have had its effect, so it is sent again with the mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    /// The changes that were made because Telegram refused it; each at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Repair>,
}

/// The files of one request. Several are one album, which is several messages in the chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Their numbers among the files of the delivery.
    pub files: Vec<usize>,
    /// Telegram has refused them as photos: they go as documents.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_documents: bool,
}

/// How far one message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum PartState {
    /// Surely not sent.
    Unsent,
    /// A request is under way; after a kill, it may have had its effect.
    InFlight,
    /// Telegram has it.
    Sent {
        /// As this message.
        message_id: MessageId,
    },
}

impl Part {
    fn unsent(message: Rich, repeat: bool) -> Self {
        Self {
            message,
            upload: None,
            album: Vec::new(),
            state: PartState::Unsent,
            repeat,
            repairs: Vec::new(),
        }
    }

    fn upload(files: Vec<usize>) -> Self {
        let as_documents = false;
        Self {
            upload: Some(Upload {
                files,
                as_documents,
            }),
            ..Self::unsent(Rich::default(), false)
        }
    }

    /// Most code points of its text.
    fn limit(&self) -> usize {
        if self.upload.is_some() {
            CAPTION_LIMIT
        } else {
            MESSAGE_LIMIT
        }
    }
}

/// The messages of a reply. A text that fits is the caption of the first file, a longer one goes before.
fn plan_reply(text: &str, files: &[AttachedFile]) -> Vec<Part> {
    let mut uploads = group_albums(files)
        .into_iter()
        .map(Part::upload)
        .collect::<Vec<_>>();
    let rich = format::markdown(text);
    match (uploads.first_mut(), format::is_blank(text)) {
        (Some(_), true) => {}
        (Some(first), false) => {
            let mut below = split::split(&rich, CAPTION_LIMIT);
            match below.pop().filter(|_| below.is_empty()) {
                Some(caption) => first.message = caption,
                None => return [plan_texts(&rich), uploads].concat(),
            }
        }
        (None, _) => return plan_texts(&rich),
    }
    uploads
}

fn plan_texts(rich: &Rich) -> Vec<Part> {
    split::split(rich, MESSAGE_LIMIT)
        .into_iter()
        .map(|message| Part::unsent(message, false))
        .collect()
}

impl DeliveryState {
    /// The plan of a delivery that was never tried. It stays as it is: a later version that renders or
    /// splits differently still sends the rest of this one as begun.
    pub fn plan(content: &Content) -> Self {
        let parts = match content {
            Content::Reply { text, files, .. } => plan_reply(text, files),
            Content::ProgressUpdate { text } => {
                let message = split::fit(&format::markdown(text), MESSAGE_LIMIT);
                vec![Part::unsent(message, false)]
            }
            Content::Reaction { .. } => vec![Part::unsent(Rich::default(), false)],
        };
        Self {
            parts,
            attempts: 0,
            last_failure: None,
        }
    }

    /// The first message that Telegram does not have.
    pub fn next(&self) -> Option<usize> {
        self.parts
            .iter()
            .position(|part| !matches!(part.state, PartState::Sent { .. }))
    }

    /// The messages that Telegram has.
    pub fn message_ids(&self) -> Vec<MessageId> {
        let sent = self.parts.iter().filter_map(|part| match part.state {
            PartState::Sent { message_id } => Some((message_id, &part.album)),
            PartState::Unsent | PartState::InFlight => None,
        });
        sent.flat_map(|(first, album)| std::iter::once(first).chain(album.iter().copied()))
            .collect()
    }

    /// How many messages were sent with the mark.
    pub fn repeats(&self) -> usize {
        self.parts
            .iter()
            .filter(|part| part.repeat && matches!(part.state, PartState::Sent { .. }))
            .count()
    }

    /// Whether a request was under way when this was written.
    pub fn in_flight(&self) -> Option<usize> {
        self.parts
            .iter()
            .position(|part| part.state == PartState::InFlight)
    }

    /// A request is about to be made.
    pub fn begin(&mut self, index: usize) {
        self.set(index, PartState::InFlight);
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Telegram has the message.
    pub fn accepted(&mut self, index: usize, message_id: MessageId) {
        self.set(index, PartState::Sent { message_id });
        self.last_failure = None;
    }

    /// Telegram has further messages of the same request.
    pub fn accepted_album(&mut self, index: usize, further: &[MessageId]) {
        if let Some(part) = self.parts.get_mut(index) {
            further.clone_into(&mut part.album);
        }
    }

    /// The request surely had no effect.
    pub fn failed(&mut self, index: usize, failure: String) {
        self.set(index, PartState::Unsent);
        self.last_failure = Some(failure);
    }

    /// The request may have had its effect: from now on the message is sent with the mark. If the mark
    /// makes it too long it is split in two; a caption then goes before its files.
    pub fn doubted(&mut self, index: usize, failure: String) {
        self.failed(index, failure);
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        if part.repeat {
            return;
        }
        part.repeat = true;
        let room = part.limit() - REPEAT_MARK.chars().count();
        if part.message.code_points() > room {
            if part.upload.is_some() {
                self.without_caption(index);
            } else {
                self.cut(index, room);
            }
        }
    }

    /// Some messages of an album may have been sent although it was refused.
    pub fn mark(&mut self, index: usize) {
        if let Some(part) = self.parts.get_mut(index) {
            part.repeat = true;
        }
    }

    /// Sends a caption as a message of its own, before the files. Returns whether there was one.
    fn without_caption(&mut self, index: usize) -> bool {
        let Some(part) = self.parts.get_mut(index) else {
            return false;
        };
        let caption = std::mem::take(&mut part.message);
        if caption.text.is_empty() {
            return false;
        }
        let text = Part {
            repairs: part.repairs.clone(),
            ..Part::unsent(caption, part.repeat)
        };
        self.parts.insert(index, text);
        true
    }

    /// Telegram does not take these files as photos: they go as documents. Returns whether that
    /// changes anything.
    pub fn as_documents(&mut self, index: usize) -> bool {
        let upload = self
            .parts
            .get_mut(index)
            .and_then(|part| part.upload.as_mut());
        upload.is_some_and(|upload| !std::mem::replace(&mut upload.as_documents, true))
    }

    /// Telegram does not take these files as one album: each goes by itself. Returns whether there
    /// were several.
    pub fn apart(&mut self, index: usize) -> bool {
        let Some(part) = self.parts.get(index).cloned() else {
            return false;
        };
        let Some(upload) = part.upload.as_ref().filter(|upload| upload.files.len() > 1) else {
            return false;
        };
        let mut single: Vec<Part> = upload
            .files
            .iter()
            .map(|file| Part {
                message: Rich::default(),
                upload: Some(Upload {
                    files: vec![*file],
                    ..upload.clone()
                }),
                ..part.clone()
            })
            .collect();
        if let Some(first) = single.first_mut() {
            first.message = part.message;
        }
        self.parts.splice(index..=index, single);
        true
    }

    /// Telegram refused the message's entities: it goes without any. The addresses of its links stand
    /// in the text then, which is cut where that makes it too long.
    pub fn without_entities(&mut self, index: usize) {
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        part.message = part.message.without_formatting();
        if part.message.code_points() <= part.limit() - REPEAT_MARK.chars().count() {
            return;
        }
        if part.upload.is_some() {
            self.without_caption(index);
        }
        self.cut(index, MESSAGE_LIMIT - REPEAT_MARK.chars().count());
    }

    /// Telegram found the message too long: it goes in two halves, or a caption goes before its files.
    /// Returns whether it could be split.
    pub fn halve(&mut self, index: usize) -> bool {
        if self
            .parts
            .get(index)
            .is_some_and(|part| part.upload.is_some())
        {
            return self.without_caption(index);
        }
        let length = self
            .parts
            .get(index)
            .map_or(0, |part| part.message.code_points());
        length > 1 && self.cut(index, length.div_ceil(2)) > 1
    }

    /// Whether any of its messages was repaired in this way.
    pub fn has_repair(&self, repair: Repair) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.repairs.contains(&repair))
    }

    /// One message as it goes out. Ids of messages do not carry over into a supergroup, so `has_moved`
    /// makes it no reply.
    pub fn outgoing(&self, delivery: &Delivery, index: usize, has_moved: bool) -> OutgoingMessage {
        let is_reply = matches!(delivery.content, Content::Reply { .. });
        let may_refer = !has_moved
            && !self.has_repair(Repair::WithoutReply)
            && !self.has_repair(Repair::WithoutTopic);
        let refers = is_reply && delivery.as_reply && index == 0 && may_refer;
        OutgoingMessage {
            text: self.text(index),
            reply_to: delivery.reply_to.filter(|_| refers),
            // Of several messages only the first rings.
            silent: !is_reply || delivery.silent || index > 0,
            keyboard: None,
        }
    }

    /// The text of one message, with the mark if it may repeat one.
    pub fn text(&self, index: usize) -> Rich {
        match self.parts.get(index) {
            Some(part) if part.repeat && part.message.text.is_empty() => {
                format::plain(REPEAT_MARK.trim_end())
            }
            Some(part) if part.repeat => part.message.below(REPEAT_MARK),
            Some(part) => part.message.clone(),
            None => Rich::default(),
        }
    }

    /// Replaces one message by several; returns how many.
    fn cut(&mut self, index: usize, limit: usize) -> usize {
        let Some(part) = self.parts.get(index) else {
            return 0;
        };
        let cut: Vec<Part> = split::split(&part.message, limit)
            .into_iter()
            .map(|message| Part {
                repairs: part.repairs.clone(),
                ..Part::unsent(message, part.repeat)
            })
            .collect();
        let count = cut.len();
        self.parts.splice(index..=index, cut);
        count
    }

    fn set(&mut self, index: usize, state: PartState) {
        if let Some(part) = self.parts.get_mut(index) {
            part.state = state;
        }
    }
}

/// The file of a finished delivery, in `sent/` or `failed/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedDelivery {
    /// The delivery.
    #[serde(serialize_with = "serialize_versioned")]
    pub delivery: Delivery,
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How far it came, if it can be tried again.
    #[serde(
        rename = "progress",
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_versioned"
    )]
    pub state: Option<DeliveryState>,
    /// Hints for the agent on how it was delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Telegram has all of it.
    Delivered {
        /// As these messages.
        message_ids: Vec<MessageId>,
        /// How many of them were sent with the mark.
        repeats: usize,
    },
    /// A progress update or a reaction of unknown fate, which is not repeated on doubt.
    Unknown,
    /// A newer progress update or the final reply superseded it before it was sent.
    Superseded,
    /// A person dropped it, or the rest of it.
    Dropped {
        /// The messages that Telegram had by then.
        message_ids: Vec<MessageId>,
    },
    /// It can never be delivered.
    Failed {
        /// The reason, in the server's words or ours.
        reason: String,
        /// The messages that Telegram had by then.
        message_ids: Vec<MessageId>,
    },
}

impl DeliveryOutcome {
    /// The message that later progress updates of the same turn edit.
    pub fn last_message(&self) -> Option<MessageId> {
        match self {
            Self::Delivered { message_ids, .. } => message_ids.last().copied(),
            Self::Unknown | Self::Superseded | Self::Dropped { .. } | Self::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
