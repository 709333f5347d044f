//! Messages that continue an admitted one: parts of albums, parts of texts that a client cut, edits. Pure.

use std::collections::VecDeque;

use super::{is_group, is_near_limit};
use crate::ids::{ChatId, MessageId, TopicId, UserId};
use crate::telegram::update::{Body, Message, Update};

/// Most seconds between the parts of a text that was cut, as `date` counts them.
const CUT_SECONDS: i64 = 1;
/// How many albums and cut texts are remembered.
const RECENT_MOST: usize = 64;
/// How many messages are remembered whose edits are admitted.
pub(super) const EDITABLE_MOST: usize = 512;

/// Albums and cut texts that were admitted a moment ago, and messages whose edits are admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentlyAdmitted {
    albums: VecDeque<(ChatId, UserId, String)>,
    cut: VecDeque<(ChatId, Option<TopicId>, UserId, i64)>,
    editable: VecDeque<(ChatId, UserId, MessageId)>,
}

impl RecentlyAdmitted {
    /// Remembers an admitted update that may be continued or edited.
    pub fn remember(&mut self, update: &Update) {
        if let Body::Message { message, edited } = &update.body {
            self.remember_for_edits(message);
            if !edited {
                self.remember_parts(message);
            }
        }
    }

    /// Remembers an admitted message of a group: later edits of it are admitted even if they no longer name
    /// the bot.
    pub fn remember_for_edits(&mut self, message: &Message) {
        let Some(identity) = identity(message) else {
            return;
        };
        if !self.editable.contains(&identity) {
            self.editable.push_back(identity);
        }
        if self.editable.len() > EDITABLE_MOST {
            self.editable.pop_front();
        }
    }

    /// Remembers an admitted message of which further parts may come.
    pub fn remember_parts(&mut self, message: &Message) {
        let Some(from) = message.from.as_ref().map(|from| from.id) else {
            return;
        };
        if let Some(album) = &message.media_group_id {
            let album = (message.chat.id, from, album.clone());
            if !self.albums.contains(&album) {
                self.albums.push_back(album);
            }
        }
        if is_near_limit(message) {
            let topic = message.topic();
            self.cut
                .push_back((message.chat.id, topic, from, message.date));
        }
        while self.albums.len() > RECENT_MOST {
            self.albums.pop_front();
        }
        while self.cut.len() > RECENT_MOST {
            self.cut.pop_front();
        }
    }

    /// Whether a message continues an admitted one, or is an edit of one.
    pub fn is_continued_by(&self, message: &Message) -> bool {
        let Some(from) = message.from.as_ref().map(|from| from.id) else {
            return false;
        };
        let chat = message.chat.id;
        let album = message.media_group_id.as_ref().is_some_and(|group| {
            self.albums
                .iter()
                .any(|(c, f, album)| (*c, *f) == (chat, from) && album == group)
        });
        let cut = message.text.is_some()
            && self.cut.iter().any(|(c, topic, f, date)| {
                (*c, *topic, *f) == (chat, message.topic(), from)
                    && (0..=CUT_SECONDS).contains(&message.date.saturating_sub(*date))
            });
        let edit = identity(message).is_some_and(|message| self.editable.contains(&message));
        album || cut || edit
    }
}

/// The key that a message of a group shares with its edits. In private chats every edit is admitted.
fn identity(message: &Message) -> Option<(ChatId, UserId, MessageId)> {
    let from = message.from.as_ref()?.id;
    // All ephemeral messages have the id 0.
    (is_group(message.chat.id) && message.message_id.0 != 0).then_some((
        message.chat.id,
        from,
        message.message_id,
    ))
}
