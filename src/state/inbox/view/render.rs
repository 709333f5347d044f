//! One message as an agent sees it, from the entries that stand behind it. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::ids::{MessageId, UpdateId};
use crate::state::inbox::view::{
    AttachmentView, CONTEXT_MOST, ChatView, FileRef, FileStanding, ForwardView, Item, MessageView,
    PersonView, ReplyView, TopicView, message_of,
};
use crate::telegram::update::content::short;
use crate::telegram::update::file::IncomingFile;
use crate::telegram::update::{Body, Chat, Forward, Message, Press, Reaction, User};

/// Most characters of a quoted message.
const QUOTE_CHARS: usize = 300;
/// Most characters of a name or title.
const NAME_CHARS: usize = 64;
/// A message of which Telegram tells nothing.
const ELSEWHERE: &str = "[a message from another chat]";
/// Where Telegram's clients cut a text.
const CUT_CHARS: usize = 4096;

/// Renders the message of a group of entries, of which `first` is the oldest.
pub(super) fn message(first: &Item, group: &[&Item]) -> (MessageView, Vec<FileRef>) {
    let mut files = Vec::new();
    let mut view = MessageView {
        update_id: first.name.update_id,
        message_id: MessageId(0),
        kind: "unknown".to_owned(),
        chat: ChatView {
            id: first.address.chat_id,
            kind: "unknown".to_owned(),
            title: None,
        },
        topic: first
            .address
            .topic_id
            .map(|id| TopicView { id, name: None }),
        from: None,
        text: "[an update that this version of telepost cannot read]".to_owned(),
        sent_at: first.name.received_at().rfc3339(),
        age_seconds: 0,
        backlog: false,
        part: None,
        parts: None,
        reply_to: None,
        forwarded_from: None,
        edited: false,
        again: false,
        attachments: Vec::new(),
        context: context(group),
    };
    match first.update.as_ref().map(|update| &update.body) {
        Some(Body::Message { message, .. }) => said(&mut view, &mut files, message, group),
        Some(Body::Press(press)) => pressed(&mut view, press),
        Some(Body::Reaction(reaction)) => reacted(&mut view, reaction),
        Some(Body::Membership(_) | Body::Other(_)) | None => {}
    }
    (view, files)
}

/// The newest events before the message.
fn context(group: &[&Item]) -> Vec<String> {
    let lines = group.iter().flat_map(|item| &item.context);
    let mut newest: Vec<String> = lines.rev().take(CONTEXT_MOST).cloned().collect();
    newest.reverse();
    newest
}

fn said(view: &mut MessageView, files: &mut Vec<FileRef>, first: &Message, group: &[&Item]) {
    first.kind().clone_into(&mut view.kind);
    view.message_id = first.message_id;
    view.chat = chat(&first.chat);
    view.from = first.from.as_ref().map(person);
    let edited = group
        .first()
        .and_then(|item| message_of(item))
        .is_some_and(|(_, edited)| edited);
    // An edit of a message that was shown before is news: it has waited since the edit, not since the first text.
    let sent = if edited { first.edited_at() } else { None };
    view.sent_at = Timestamp::from_unix_seconds(sent.unwrap_or(first.date)).rfc3339();
    view.reply_to = reply_to(first);
    view.forwarded_from = first.forward().map(forward);
    if let Some(topic) = &mut view.topic {
        topic.name = first.topic_name().map(|name| short(name, NAME_CHARS));
    }

    // The newest text of each message, in the order in which the messages came.
    let mut newest: BTreeMap<MessageId, &Message> = BTreeMap::new();
    let mut order = Vec::new();
    for (message, edited) in group.iter().filter_map(|item| message_of(item)) {
        view.edited |= edited;
        if newest.insert(message.message_id, message).is_none() {
            order.push(message.message_id);
        }
    }
    let mut text = String::new();
    let mut previous: Option<&Message> = None;
    for message in order.iter().filter_map(|id| newest.get(id).copied()) {
        let piece = message.words().unwrap_or_default();
        // Cut hard at the limit, within a word; a shorter piece lost the white space at the cut.
        let cut_hard = previous
            .and_then(|previous| previous.text.as_ref())
            .is_some_and(|text| text.chars().count() >= CUT_CHARS);
        if !text.is_empty() && !piece.is_empty() && (!cut_hard || text.ends_with("```")) {
            text.push('\n');
        }
        text.push_str(&piece);
        if let Some(file) = message.file() {
            files.push(FileRef {
                updates: brought_by(group, message.message_id, &file.content),
                content: file.content.clone(),
            });
            view.attachments.push(attachment(&file));
        }
        previous = Some(message);
    }
    view.text = if text.is_empty() {
        first.placeholder()
    } else {
        text
    };
}

fn pressed(view: &mut MessageView, press: &Press) {
    "choice".clone_into(&mut view.kind);
    view.from = Some(person(&press.from));
    let said = press.label().or(press.data.as_deref());
    said.unwrap_or("[a button]").clone_into(&mut view.text);
    if let Some(message) = &press.message {
        view.message_id = message.message_id;
        view.chat = chat(&message.chat);
        // Date 0 means that the message is no longer visible.
        view.reply_to = (message.date != 0).then(|| quoted(message));
    }
}

fn reacted(view: &mut MessageView, reaction: &Reaction) {
    "reaction".clone_into(&mut view.kind);
    view.message_id = reaction.message_id;
    view.chat = chat(&reaction.chat);
    view.from = reaction.user.as_ref().map(person);
    view.sent_at = Timestamp::from_unix_seconds(reaction.date).rfc3339();
    let (old, new) = (reaction.old.join(" "), reaction.new.join(" "));
    let message = reaction.message_id;
    view.text = match (old.is_empty(), new.is_empty()) {
        (_, true) if old.is_empty() => format!("[removed the reaction from message {message}]"),
        (_, true) => format!("[removed the reaction {old} from message {message}]"),
        (true, false) => format!("[reacted with {new} to message {message}]"),
        (false, false) => format!("[reacted with {new} instead of {old} to message {message}]"),
    };
}

/// The updates of a group that brought a file with a message, the newest first.
fn brought_by(group: &[&Item], message_id: MessageId, content: &str) -> Vec<UpdateId> {
    let brought = group.iter().rev().filter(|item| {
        message_of(item).is_some_and(|(message, _)| {
            message.message_id == message_id
                && message.file().is_some_and(|file| file.content == content)
        })
    });
    brought.map(|item| item.name.update_id).collect()
}

/// A file as the message describes it; its state is filled in later.
fn attachment(file: &IncomingFile) -> AttachmentView {
    let words = |words: &Option<String>| words.as_deref().map(|words| short(words, NAME_CHARS));
    AttachmentView {
        kind: file.kind.to_owned(),
        name: words(&file.name),
        mime: words(&file.mime),
        size: file.size,
        state: FileStanding::Downloading,
        path: None,
        sha256: None,
        reason: None,
    }
}

fn reply_to(message: &Message) -> Option<ReplyView> {
    let quote = message.quote();
    let mut reply = match (message.replied(), elsewhere(message)) {
        (Some(message), _) => quoted(message),
        (None, Some(reply)) => with_words(reply, quote.as_ref()),
        // The message itself is gone.
        (None, None) => with_words(ReplyView::default(), Some(quote.as_ref()?)),
    };
    reply.quote = quote
        .filter(|(_, is_manual)| *is_manual)
        .map(|(quote, _)| short(&quote, QUOTE_CHARS));
    Some(reply)
}

/// Adds the words that the server quoted: of a message that the bot cannot see there are no others.
fn with_words(mut reply: ReplyView, quote: Option<&(Cow<'_, str>, bool)>) -> ReplyView {
    match quote {
        Some((words, false)) if matches!(reply.text.as_str(), "" | ELSEWHERE) => {
            reply.text = short(words, QUOTE_CHARS);
        }
        Some((words, false)) => {
            reply.text = short(&format!("{}\n{words}", reply.text), QUOTE_CHARS);
        }
        Some((_, true)) if reply.text.is_empty() => ELSEWHERE.clone_into(&mut reply.text),
        Some((_, true)) | None => {}
    }
    reply
}

/// Ephemeral messages all have the id 0, which names none.
fn message_id(id: i64) -> Option<MessageId> {
    (id != 0).then_some(MessageId(id))
}

fn quoted(message: &Message) -> ReplyView {
    ReplyView {
        message_id: message_id(message.message_id.0),
        from: message
            .from
            .as_ref()
            .map(|user| short(&user.name(), NAME_CHARS)),
        text: short(&message.content(), QUOTE_CHARS),
        quote: None,
    }
}

/// A reply to a story, or to a message of another chat or topic, of which Telegram gives only the kind.
fn elsewhere(message: &Message) -> Option<ReplyView> {
    if let Some(story) = message.rest.get("reply_to_story") {
        let place = story.get("chat").cloned();
        let place = place.and_then(|chat| Chat::read(chat, "").ok());
        return Some(ReplyView {
            message_id: None,
            from: place
                .and_then(|chat| chat.title.or(chat.username))
                .map(|name| short(&name, NAME_CHARS)),
            text: "[story]".to_owned(),
            quote: None,
        });
    }
    let Some(Value::Object(reply)) = message.rest.get("external_reply") else {
        return None;
    };
    let mut fields = reply.clone();
    let id = fields.get("message_id").and_then(Value::as_i64);
    let url = fields
        .get("link_preview_options")
        .and_then(|link| link.get("url")?.as_str());
    let text = match url {
        Some(url) => format!("[a message from another chat, with a link to {url}]"),
        None => ELSEWHERE.to_owned(),
    };
    let [text_of, caption] = ["text", "caption"].map(|name| {
        let words = fields.get(name).and_then(Value::as_str);
        words.map(str::to_owned)
    });
    let from = fields.remove("origin").map(|origin| Forward::read(&origin));
    fields.remove("chat");
    fields.remove("message_id");
    // The remaining fields are those of a message's content.
    let content = Message {
        rest: fields,
        text: text_of,
        caption,
        reply_to_message: None,
        ..message.clone()
    };
    let text = match (content.kind(), content.words()) {
        ("unknown", None) => short(&text, QUOTE_CHARS),
        ("unknown" | "text", Some(words)) => short(&words, QUOTE_CHARS),
        (_, None) => short(&content.placeholder(), QUOTE_CHARS),
        (_, Some(words)) => short(&format!("{}\n{words}", content.placeholder()), QUOTE_CHARS),
    };
    Some(ReplyView {
        message_id: id.and_then(message_id),
        from: from
            .and_then(|from| from.name)
            .map(|name| short(&name, NAME_CHARS)),
        text,
        quote: None,
    })
}

fn forward(forward: Forward) -> ForwardView {
    let name = |text: Option<String>| text.map(|text| short(&text, NAME_CHARS));
    ForwardView {
        kind: short(&forward.kind, NAME_CHARS),
        name: name(forward.name),
        id: forward.id,
        username: name(forward.username),
        signature: name(forward.signature),
        message_id: forward.message_id,
        sent_at: forward
            .date
            .map(|date| Timestamp::from_unix_seconds(date).rfc3339()),
    }
}

fn chat(chat: &Chat) -> ChatView {
    ChatView {
        id: chat.id,
        kind: short(chat.kind.as_deref().unwrap_or("unknown"), 16),
        title: chat.title.as_deref().map(|title| short(title, NAME_CHARS)),
    }
}

fn person(user: &User) -> PersonView {
    PersonView {
        id: user.id,
        name: short(&user.name(), NAME_CHARS),
        username: user.username.as_deref().map(|name| short(name, NAME_CHARS)),
    }
}
