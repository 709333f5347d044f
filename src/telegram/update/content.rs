//! The content of a message: its kind, and words for whatever has no words. Pure.
//!
//! The kind is the name of the content's field in the Bot API (10.3). Words in brackets are ours,
//! with what an agent can use: a place, a number, the options of a poll. A content that we do not
//! know is shown with its field's name and the beginning of its JSON, so nothing comes without a
//! trace.

mod brackets;

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use self::brackets::{describe, field, other};
use super::message::{Message, User};
use super::{markdown, rich};
use crate::ids::UserId;

/// The content fields that come with a file. An animation also has `document`, a live photo `photo`: the more
/// telling name stands first.
pub(super) const FILES: &str =
    "animation live_photo photo document voice audio video video_note sticker";

/// The other content fields. A venue also has `location`.
const CONTENT: &str = "venue location contact poll dice story game invoice rich_message checklist paid_media giveaway \
    giveaway_winners";

/// The fields of service messages.
const SERVICE: &str = "new_chat_members left_chat_member chat_owner_left chat_owner_changed new_chat_title new_chat_photo \
    delete_chat_photo group_chat_created supergroup_chat_created channel_chat_created \
    message_auto_delete_timer_changed migrate_to_chat_id migrate_from_chat_id pinned_message successful_payment \
    refunded_payment users_shared chat_shared gift unique_gift gift_upgrade_sent connected_website \
    write_access_allowed passport_data proximity_alert_triggered boost_added chat_background_set \
    checklist_tasks_done checklist_tasks_added community_chat_added community_chat_joined community_chat_removed \
    direct_message_price_changed forum_topic_created forum_topic_edited forum_topic_closed forum_topic_reopened \
    general_forum_topic_hidden general_forum_topic_unhidden giveaway_created giveaway_completed \
    managed_bot_created paid_message_price_changed poll_option_added poll_option_deleted suggested_post_approved \
    suggested_post_approval_failed suggested_post_declined suggested_post_paid suggested_post_refunded \
    video_chat_scheduled video_chat_started video_chat_ended video_chat_participants_invited web_app_data";

/// Service messages that are meant for the bot: a person answers a button of it or pays, or the group that it is
/// in was made or has moved.
const FOR_THE_BOT: &str = "group_chat_created supergroup_chat_created channel_chat_created migrate_to_chat_id migrate_from_chat_id \
    successful_payment refunded_payment users_shared chat_shared passport_data managed_bot_created web_app_data";

/// Fields that say something about a message and are not what it says.
const ABOUT: &str = "edit_date entities caption_entities quote external_reply reply_to_story reply_to_checklist_task_id \
    reply_to_poll_option_id forward_origin forward_from forward_from_chat forward_from_message_id \
    forward_signature forward_sender_name forward_date is_automatic_forward via_bot sender_boost_count \
    sender_tag receiver_user ephemeral_message_id direct_messages_topic guest_query_id guest_bot_caller_user \
    guest_bot_caller_chat business_connection_id has_protected_content is_from_offline is_paid_post \
    paid_star_count author_signature link_preview_options suggested_post_info effect_id show_caption_above_media \
    has_media_spoiler reply_markup is_forum media_group_id is_topic_message message_thread_id \
    sender_business_bot";

/// Kinds whose words in brackets say more than the attachment and the caption do.
const DESCRIBED: [&str; 2] = ["paid_media", "live_photo"];

/// Most characters of JSON that are shown of a content that we do not know.
const RAW_CHARS: usize = 1000;
/// Most characters of a name or title within brackets.
const NAME_CHARS: usize = 128;
/// Most characters of an event.
const EVENT_CHARS: usize = 160;

impl Message {
    /// The kind of a message, by the name of its content field; `unknown` if we know none.
    pub fn kind(&self) -> &'static str {
        if self.text.is_some() {
            return "text";
        }
        self.content_field()
            .or_else(|| self.service())
            .unwrap_or("unknown")
    }

    /// The name of the event that a service message tells, such as `new_chat_members`.
    pub fn service(&self) -> Option<&'static str> {
        if self.text.is_some() || self.content_field().is_some() {
            return None;
        }
        self.first_of(SERVICE)
    }

    /// Whether it is an event of the chat that asks nothing of `bot`: a pinned message, a new title, a person who
    /// joined. The arrival and the removal of the bot itself are no such events.
    pub fn is_event(&self, bot: UserId) -> bool {
        self.service().is_some_and(|kind| {
            let value = self.rest.get(kind);
            let people = value.and_then(Value::as_array).map(Vec::as_slice);
            let mut people = people
                .or(value.map(std::slice::from_ref))
                .unwrap_or_default()
                .iter();
            let moves = matches!(kind, "new_chat_members" | "left_chat_member");
            let is_bot = |person: &Value| person.get("id").and_then(Value::as_i64) == Some(bot.0);
            !(FOR_THE_BOT.split(' ').any(|one| one == kind) || moves && people.any(is_bot))
        })
    }

    /// An event in one line, with the person who caused it.
    pub fn event_line(&self) -> String {
        let name = self.from.as_ref().map(User::name).unwrap_or_default();
        let event = self.placeholder().replace('\n', " ");
        format!(
            "{}: {}",
            short(&name, NAME_CHARS / 2),
            short(&event, EVENT_CHARS)
        )
    }

    /// A number that stays the same as long as a reader sees the same: the words with their formatting, the file,
    /// the question of a poll. Telegram sends an edit also for a reaction, a vote, a link preview.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let kind = self.kind();
        kind.hash(&mut hasher);
        let (words, file) = (self.words(), self.file().map(|file| file.content));
        (&words, &file).hash(&mut hasher);
        let nothing = Value::Null;
        let value = self.rest.get(kind).unwrap_or(&nothing);
        match kind {
            "poll" => field(value, "question").hash(&mut hasher),
            "checklist" => {
                let tasks = value.get("tasks").and_then(Value::as_array);
                let tasks = tasks.into_iter().flatten().map(|task| field(task, "text"));
                (field(value, "title"), tasks.collect::<Vec<_>>()).hash(&mut hasher);
            }
            _ if words.is_none() && file.is_none() => self.placeholder().hash(&mut hasher),
            _ => {}
        }
        hasher.finish()
    }

    fn content_field(&self) -> Option<&'static str> {
        self.first_of(FILES).or_else(|| self.first_of(CONTENT))
    }

    fn first_of(&self, names: &'static str) -> Option<&'static str> {
        let there = |name: &&str| self.rest.get(*name).is_some_and(|value| !value.is_null());
        names.split(' ').find(there)
    }

    /// A person's text as Markdown: the text, the caption, or a rich message. `None` for kinds
    /// without words.
    pub fn words(&self) -> Option<Cow<'_, str>> {
        let formatted = |words, field: &str| markdown::to_markdown(words, self.rest.get(field));
        if let Some(text) = &self.text {
            return Some(formatted(text, "entities"));
        }
        if let Some(message) = self.rest.get("rich_message") {
            let words = rich::to_markdown(message);
            return (!words.is_empty()).then_some(Cow::Owned(words));
        }
        let caption = self
            .caption
            .as_ref()
            .filter(|caption| !caption.is_empty())?;
        let caption = formatted(caption, "caption_entities");
        if DESCRIBED.contains(&self.kind()) {
            return Some(Cow::Owned(format!("{}\n{caption}", self.placeholder())));
        }
        Some(caption)
    }

    /// Its text: the words, or what it is in brackets.
    pub fn content(&self) -> Cow<'_, str> {
        self.words()
            .unwrap_or_else(|| Cow::Owned(self.placeholder()))
    }

    /// A description in brackets, with all that is known about it.
    pub fn placeholder(&self) -> String {
        let kind = self.kind();
        if kind == "unknown" {
            return self.unknown();
        }
        let nothing = Value::Null;
        let value = self.rest.get(kind).unwrap_or(&nothing);
        describe(kind, value).unwrap_or_else(|| other(kind, value))
    }

    /// A content that no version of the Bot API had that we know.
    fn unknown(&self) -> String {
        let fields: Vec<String> = self
            .rest
            .iter()
            .filter(|(name, _)| !ABOUT.split(' ').any(|one| one == *name))
            .map(|(name, value)| format!("{}: {value}", short(name, NAME_CHARS)))
            .collect();
        if fields.is_empty() {
            return "[an empty message]".to_owned();
        }
        format!(
            "[a kind of message that this version of telepost does not know: {}]",
            short(&fields.join(", "), RAW_CHARS)
        )
    }
}

/// A text of at most so many characters.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(fields: &Value) -> String {
        let mut message = json!({"message_id": 1, "chat": {"id": 3}});
        message
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        Message::read(message, "message")
            .unwrap()
            .content()
            .into_owned()
    }

    #[test]
    fn what_has_no_words_is_told_in_brackets_with_what_an_agent_can_use() {
        let cases = [
            (json!({"voice": {"duration": 12}}), "[voice message: 0:12]"),
            (
                json!({"photo": [{"width": 9, "height": 9}, {"width": 1280, "height": 720}]}),
                "[photo: 1280×720]",
            ),
            (
                json!({"document": {"file_name": "a.pdf"}}),
                "[document: a.pdf]",
            ),
            (
                json!({"audio": {"performer": "Bach", "title": "Air", "duration": 303}}),
                "[audio: Bach – Air, 5:03]",
            ),
            (
                json!({"location": {"latitude": 52.5, "longitude": -13.25}}),
                "[location: 52.5, -13.25]",
            ),
            (
                json!({"venue": {"title": "Bar", "address": "Road 1", "location": {"latitude": 1.0, "longitude": 2.0}}, "location": {}}),
                "[venue: Bar, Road 1, at 1, 2]",
            ),
            (
                json!({"contact": {"first_name": "Ada", "phone_number": "+4912", "user_id": 5}}),
                "[contact: Ada, +4912, user 5]",
            ),
            (json!({"dice": {"emoji": "🎲", "value": 4}}), "[dice 🎲: 4]"),
            (
                json!({"poll": {"question": "Tea?", "is_closed": true, "options": [{"text": "yes", "voter_count": 2}, {"text": "no", "voter_count": 0}]}}),
                "[poll: Tea?, closed]\n- yes (2 votes)\n- no",
            ),
            (
                json!({"checklist": {"title": "Trip", "tasks": [{"text": "pack", "completion_date": 5}, {"text": "go"}]}}),
                "[checklist: Trip]\n- [x] pack\n- [ ] go",
            ),
            (
                json!({"new_chat_members": [{"id": 5, "first_name": "Ada"}]}),
                "[joined the group: Ada]",
            ),
            (
                json!({"forum_topic_created": {"name": "Bugs"}}),
                "[topic created: Bugs]",
            ),
            (
                json!({"migrate_to_chat_id": -1005}),
                "[this group became the supergroup: -1005]",
            ),
            (
                json!({"pinned_message": {"message_id": 7, "date": 3, "chat": {"id": 3}, "text": "read me"}}),
                "[pinned: message 7, read me]",
            ),
            (
                json!({"boost_added": {"boost_count": 2}}),
                "[boost added: {\"boost_count\":2}]",
            ),
            (json!({"group_chat_created": true}), "[group chat created]"),
            (
                json!({"passport_data": {"data": "secret"}}),
                "[Telegram Passport data, not shown]",
            ),
            (
                json!({"hologram": {"depth": 3}}),
                "[a kind of message that this version of telepost does not know: hologram: {\"depth\":3}]",
            ),
            (json!({"effect_id": "5"}), "[an empty message]"),
            (
                json!({"paid_media": {"star_count": 5, "paid_media": [{"type": "photo"}]}, "caption": "look"}),
                "[paid media: 5 stars, photo]\nlook",
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(content(&fields), expected, "{fields}");
        }
    }

    #[test]
    fn a_field_that_is_null_is_no_content() {
        assert_eq!(
            content(&json!({"voice": null, "dice": {"value": 1}})),
            "[dice: 1]"
        );
    }

    #[test]
    fn what_is_unknown_is_shown_in_part_however_large_it_is() {
        let said = content(&json!({"hologram": "x".repeat(100_000)}));
        assert!(said.chars().count() < RAW_CHARS + 100);
    }
}
