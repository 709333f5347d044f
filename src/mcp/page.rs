//! How much fits into one result. Pure.
//!
//! Codex cuts the middle out of a result at 12,000 bytes, Claude Code moves one of 50,000
//! characters to a file (docs/facts/clients.md 0.6): a page stays below both.

use super::tools::ToolResult;
use crate::state::inbox::view::MessageView;

/// Most bytes of a result as JSON.
pub const PAGE_BYTES: usize = 9000;
/// Room for what is added to a result after its page is filled: notices, and digits of `remaining`.
const RESERVE: usize = 1200;
/// Most notices, and most bytes of each.
const NOTICES: usize = 4;
const NOTICE_CHARS: usize = 240;
/// How much of why a file is not there stays where room is short.
const REASON_CHARS: usize = 60;

/// Fills a page.
#[derive(Debug)]
pub struct Page {
    limit: usize,
    room: usize,
    messages: Vec<MessageView>,
}

impl Page {
    /// An empty page of at most `limit` messages beside what `result` has already.
    pub fn new(result: &ToolResult, limit: usize) -> Self {
        let base = json_len(result) + "\"messages\":[],".len() + RESERVE;
        Self {
            limit,
            room: PAGE_BYTES.saturating_sub(base),
            messages: Vec::new(),
        }
    }

    /// Adds a message if it fits; `false` if the page is full.
    pub fn push(&mut self, message: MessageView) -> bool {
        if self.messages.len() >= self.limit {
            return false;
        }
        let message = if self.messages.is_empty() {
            slim(message, self.room)
        } else {
            message
        };
        let needed = json_len(&message) + 1;
        if needed > self.room {
            return false;
        }
        self.room -= needed;
        self.messages.push(message);
        true
    }

    /// Whether nothing fitted yet.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages.
    pub fn into_messages(self) -> Vec<MessageView> {
        self.messages
    }
}

/// A message whose surroundings are larger than a page (ten files with long names, a long quote in
/// four-byte letters) loses some of them rather than never being shown. Its text stays.
fn slim(mut message: MessageView, room: usize) -> MessageView {
    if json_len(&message) < room {
        return message;
    }
    message.context.clear();
    for attachment in &mut message.attachments {
        attachment.mime = None;
        attachment.reason = attachment
            .reason
            .take()
            .map(|reason| cut(&reason, REASON_CHARS));
    }
    if json_len(&message) < room {
        return message;
    }
    for attachment in &mut message.attachments {
        attachment.name = None;
        attachment.sha256 = None;
    }
    if let Some(reply) = &mut message.reply_to {
        reply.quote = None;
        reply.text = cut(&reply.text, 50);
    }
    if json_len(&message) < room {
        return message;
    }
    // Names of nothing but characters that JSON writes with six bytes.
    if let Some(forward) = &mut message.forwarded_from {
        forward.username = None;
        forward.signature = None;
    }
    if let Some(topic) = &mut message.topic {
        topic.name = None;
    }
    if let Some(from) = &mut message.from {
        from.username = None;
    }
    message.chat.title = None;
    message
}

/// The beginning of a text.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Notices, no more and no longer than a result has room for.
pub fn notices(all: &[String]) -> Vec<String> {
    let shortened = all.iter().map(|notice| cut(notice, NOTICE_CHARS));
    let mut notices: Vec<String> = shortened.collect();
    notices.dedup();
    notices.truncate(NOTICES);
    notices
}

fn json_len<T: serde::Serialize>(value: &T) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::{Address, BotId, ChatId, UpdateId};
    use crate::state::inbox::entry::EntryName;
    use crate::state::inbox::view;
    use crate::state::inbox::view::{FileStanding, Item};
    use crate::telegram::update;

    /// A state folder may lie deep.
    const PATH_BYTES: usize = 200;

    /// The largest message that a person can make: every field at its limit, in a given letter.
    fn largest(letter: char, text: usize) -> MessageView {
        let many = |n: usize| letter.to_string().repeat(n);
        let user = json!({"id": 4_503_599_627_370_495i64, "first_name": many(64), "last_name": many(64), "username": many(64)});
        let photos = (1..=10).map(|id| {
            let raw = json!({"update_id": i64::from(i32::MAX) - id, "message": {"message_id": i32::MAX, "date": 1,
                "chat": {"id": -4_503_599_627_370_495i64, "type": "supergroup", "title": many(255)}, "from": user,
                "media_group_id": "g", "caption": many(text), "document": {"file_name": many(255), "mime_type": many(64), "file_size": u32::MAX},
                "reply_to_message": {"message_id": i32::MAX, "chat": {"id": 1}, "from": user, "text": many(4096)},
                "quote": {"text": many(1024), "is_manual": true}, "forum_topic_edited": {"name": many(128)},
                "forward_origin": {"type": "channel", "date": 1, "message_id": i32::MAX, "author_signature": many(128),
                    "chat": {"id": -4_503_599_627_370_495i64, "title": many(255), "username": many(64)}}}});
            Item {
                name: EntryName { received: 1_700_000_000_000 + id, update_id: UpdateId(id) },
                address: Address { bot_id: BotId(7), chat_id: ChatId(-4_503_599_627_370_495), topic_id: Some(crate::ids::TopicId(i64::from(i32::MAX))) },
                update: update::read(&raw.to_string()).ok(),
                context: vec![many(250); 8],
            }
        });
        let mut message = view::fresh(&photos.collect::<Vec<_>>()).remove(0).message;
        for file in &mut message.attachments {
            file.state = FileStanding::Ready;
            file.path = Some(format!("/home/{}/document.docx", "s".repeat(PATH_BYTES)));
            file.sha256 = Some("0".repeat(64));
        }
        message.at(Timestamp(1_900_000_000_000), true)
    }

    proptest! {
        #[test]
        fn every_message_has_a_page_that_it_fits_on(letter in prop_oneof![Just('x'), Just('"'), Just('😀'), Just('\u{1}')], text in 0usize..4096) {
            let message = largest(letter, text);
            for part in 1..=message.part_count() {
                let mut result = ToolResult { remaining: 99_999, session: "S".repeat(64), ..ToolResult::default() };
                let mut page = Page::new(&result, 20);
                prop_assert!(page.push(message.part(part).unwrap()));
                result.messages = page.into_messages();
                result.notices = notices(&["é".repeat(500), "a".repeat(500), "b".to_owned(), "c".to_owned(), "d".to_owned()]);
                let length = json_len(&result);
                prop_assert!(length <= PAGE_BYTES, "{length}");
            }
        }
    }
}
