//! The gate: whether an update gets in, and to which session. Pure, and closed by default.
//!
//! A message is admitted when its chat belongs to a session of this bot *and* its sender is on that
//! session's list. Everything else is refused without an answer. The sender is `from.id` of the
//! update itself: nothing in the text, a quote or a forward counts.
//!
//! In a group the bot must also be meant, unless the session hears everything (`require_mention`).
//! Telegram's clients send one message as several, an album or a long text that they cut, and name
//! the bot in one part only: [`Recent`] knows what the other parts belong to.

pub mod commands;

use std::collections::{BTreeMap, VecDeque};

use crate::config::Config;
use crate::ids::{Address, BotId, ChatId, MessageId, STAND_INS, SessionId, TopicId, UserId};
use crate::telegram::update::{Body, Message, Update, User};

/// A text of at least so many code points may be the beginning of a longer one that Telegram's
/// client cut at 4096.
pub const NEAR_LIMIT: usize = 4000;
/// Most seconds between the parts of a text that was cut, as `date` counts them.
const CUT_SECONDS: i64 = 1;
/// How many albums and cut texts are remembered.
const RECENT_MOST: usize = 64;
/// How many messages are remembered of which an edit is heard, too.
const HEARD_MOST: usize = 512;

/// Which chats of one bot belong to which session, and who may write there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    chats: BTreeMap<ChatId, Route>,
    /// The bot's public name, without `@`.
    username: Option<String>,
}

/// Which chats of a bot belong to which of its sessions, by the ids that the configuration has.
pub fn routes<'a>(config: &Config, sessions: impl IntoIterator<Item = &'a SessionId>) -> Routes {
    let mut routes = Routes::default();
    for session in sessions
        .into_iter()
        .filter_map(|id| config.sessions.get(id))
    {
        routes.add(&session.id, &session.chat_ids, &session.allowed_users);
        if !session.require_mention {
            routes.hear_all(&session.id);
        }
    }
    routes
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    session: SessionId,
    allowed: Vec<UserId>,
    require_mention: bool,
}

impl Routes {
    /// Adds a session's chats. The configuration has made sure that no two sessions overlap. In
    /// groups the bot must be meant, see [`Self::hear_all`].
    pub fn add(&mut self, session: &SessionId, chats: &[ChatId], allowed: &[UserId]) {
        for &chat in chats {
            self.chats.insert(
                chat,
                Route {
                    session: session.clone(),
                    allowed: allowed.to_vec(),
                    require_mention: true,
                },
            );
        }
    }

    /// A session hears everything that its people write in its groups.
    pub fn hear_all(&mut self, session: &SessionId) {
        for route in self.chats.values_mut() {
            if route.session == *session {
                route.require_mention = false;
            }
        }
    }

    /// The same with the ids that groups have now: a supergroup belongs to the session that lists
    /// the group that it was, unless the configuration gives its new id to somebody.
    #[must_use]
    pub fn following(&self, now: impl Fn(ChatId) -> ChatId) -> Self {
        let mut routes = self.clone();
        for (&chat, route) in &self.chats {
            let to = now(chat);
            routes.chats.entry(to).or_insert_with(|| route.clone());
        }
        routes
    }

    /// Whether a chat is somebody's.
    pub fn knows(&self, chat: ChatId) -> bool {
        self.chats.contains_key(&chat)
    }

    /// The bot's public name, without `@`.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The bot's public name, without `@`.
    pub fn set_username(&mut self, username: &str) {
        self.username = Some(username.to_owned());
    }

    /// Whether messages depend on the bot's public name: in a group, whom they mention, and whose
    /// command `/status@name` is.
    pub fn need_username(&self) -> bool {
        self.chats.keys().any(|chat| is_group(*chat))
    }

    /// Decides about one update.
    pub fn decide(&self, bot: BotId, update: &Update) -> Verdict {
        match &update.body {
            Body::Message { message, .. } => self.message(bot, message),
            Body::Press(press) => match &press.message {
                Some(message) if is_foreign(message) => Verdict::Refuse(refused(
                    Refusal::ForeignKind,
                    Some(message.chat.id),
                    Some(&press.from),
                )),
                Some(message) => {
                    self.check(bot, message.chat.id, message.topic(), Some(&press.from))
                }
                None => Verdict::Refuse(refused(Refusal::UnknownChat, None, Some(&press.from))),
            },
            // On one of our messages it is meant for us; on which one it is, only the store knows.
            Body::Reaction(reaction) => {
                let verdict = self.check(bot, reaction.chat.id, None, reaction.user.as_ref());
                self.if_meant(verdict, reaction.chat.id, || false)
            }
            Body::Membership(_) => Verdict::Ignore("membership"),
            Body::Other(_) => Verdict::Ignore("a kind that is not routed"),
        }
    }

    fn message(&self, bot: BotId, message: &Message) -> Verdict {
        let chat = Some(message.chat.id);
        let from = message.from.as_ref();
        if is_foreign(message) {
            return Verdict::Refuse(refused(Refusal::ForeignKind, chat, from));
        }
        if message.by_chat || message.chat.kind.as_deref() == Some("channel") {
            // Anonymous admins and channels carry a placeholder `from`: nobody knows who it is.
            return Verdict::Refuse(refused(Refusal::Anonymous, chat, from));
        }
        let verdict = self.check(bot, message.chat.id, message.topic(), from);
        self.if_meant(verdict, message.chat.id, || {
            message.service().is_some()
                || message.addresses(UserId(bot.0), self.username.as_deref())
        })
    }

    fn if_meant(&self, verdict: Verdict, chat: ChatId, meant: impl FnOnce() -> bool) -> Verdict {
        if let Verdict::Admit { session, address } = &verdict
            && self.is_quiet(chat)
            && !meant()
        {
            return Verdict::NotMeant {
                session: session.clone(),
                address: *address,
            };
        }
        verdict
    }

    /// Whether a chat is a group in which the bot must be meant.
    fn is_quiet(&self, chat: ChatId) -> bool {
        let route = self.chats.get(&chat);
        is_group(chat) && route.is_some_and(|route| route.require_mention)
    }

    fn check(
        &self,
        bot: BotId,
        chat: ChatId,
        topic: Option<TopicId>,
        from: Option<&User>,
    ) -> Verdict {
        let Some(route) = self.chats.get(&chat) else {
            return Verdict::Refuse(refused(Refusal::UnknownChat, Some(chat), from));
        };
        match from {
            None => Verdict::Refuse(refused(Refusal::Anonymous, Some(chat), None)),
            Some(user) if STAND_INS.contains(&user.id) => {
                Verdict::Refuse(refused(Refusal::Anonymous, Some(chat), from))
            }
            Some(user) if !route.allowed.contains(&user.id) => {
                Verdict::Refuse(refused(Refusal::UnknownUser, Some(chat), from))
            }
            Some(_) => Verdict::Admit {
                session: route.session.clone(),
                address: Address {
                    bot_id: bot,
                    chat_id: chat,
                    topic_id: topic,
                },
            },
        }
    }
}

/// Groups have negative ids (telegram.md 7).
fn is_group(chat: ChatId) -> bool {
    chat.0 < 0
}

/// A guest message's chat id may coincide with a chat of ours (Bot API 10.0), and business messages
/// are somebody else's conversation.
fn is_foreign(message: &Message) -> bool {
    ["guest_query_id", "business_connection_id"]
        .into_iter()
        .any(|field| message.rest.contains_key(field))
}

fn refused(why: Refusal, chat: Option<ChatId>, from: Option<&User>) -> Refused {
    Refused {
        why,
        chat,
        user: from.map(|user| user.id),
    }
}

/// The albums and cut texts that were let in a moment ago, and the messages whose edits are heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    albums: VecDeque<(ChatId, UserId, String)>,
    cut: VecDeque<(ChatId, Option<TopicId>, UserId, i64)>,
    heard: VecDeque<(ChatId, UserId, MessageId)>,
}

impl Recent {
    /// Remembers what was let in, as far as more of it may come, or edits.
    pub fn take_in(&mut self, update: &Update) {
        if let Body::Message { message, edited } = &update.body {
            self.hear(message);
            if !edited {
                self.note(message);
            }
        }
    }

    /// Remembers a message of a group that was let in, new or edited: what its sender makes of it later
    /// is meant for the bot, even where it is no longer named.
    pub fn hear(&mut self, message: &Message) {
        let Some(heard) = identity(message) else {
            return;
        };
        if !self.heard.contains(&heard) {
            self.heard.push_back(heard);
        }
        if self.heard.len() > HEARD_MOST {
            self.heard.pop_front();
        }
    }

    /// Remembers a message that was let in, if more of it may come.
    pub fn note(&mut self, message: &Message) {
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

    /// Whether a message goes on with one that was let in, or is an edit of one.
    pub fn has_begun(&self, message: &Message) -> bool {
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
        let edit = identity(message).is_some_and(|message| self.heard.contains(&message));
        album || cut || edit
    }
}

/// What a message of a group and its edits have in common. In private chats everything is heard.
fn identity(message: &Message) -> Option<(ChatId, UserId, MessageId)> {
    let from = message.from.as_ref()?.id;
    // Ephemeral messages all have the id 0.
    (is_group(message.chat.id) && message.message_id.0 != 0).then_some((
        message.chat.id,
        from,
        message.message_id,
    ))
}

/// Whether a text is so long that a client may have cut it.
pub fn is_near_limit(message: &Message) -> bool {
    message
        .text
        .as_ref()
        .is_some_and(|text| text.len() >= NEAR_LIMIT && text.chars().count() >= NEAR_LIMIT)
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The update becomes an entry of this session.
    Admit {
        /// The session.
        session: SessionId,
        /// Where it came from.
        address: Address,
    },
    /// A listed person in a listed group, who does not speak to the bot. It becomes an entry only if
    /// it goes on with one that did ([`Recent::has_begun`]), or is a reaction to our message.
    NotMeant {
        /// The session.
        session: SessionId,
        /// Where it came from.
        address: Address,
    },
    /// Not for us. No answer, no entry.
    Refuse(Refused),
    /// Nothing that anybody should see.
    Ignore(&'static str),
}

/// A refusal, for the count and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// The chat, if the update names one.
    pub chat: Option<ChatId>,
    /// The sender, if the update names one.
    pub user: Option<UserId>,
}

/// Why an update is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The chat belongs to no session of this bot.
    UnknownChat,
    /// The sender is not on the session's list.
    UnknownUser,
    /// Nobody can tell who wrote it.
    Anonymous,
    /// A guest or business message.
    ForeignKind,
}

impl Refusal {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownChat => "the chat is in no session's chat_ids",
            Self::UnknownUser => "the sender is not in allowed_users",
            Self::Anonymous => "the sender is anonymous",
            Self::ForeignKind => "a guest or business message",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::telegram::update;

    const BOT: BotId = BotId(700);
    const OWNER: i64 = 11;
    const GROUP: i64 = -50;

    fn routes() -> Routes {
        let mut routes = Routes::default();
        let one = SessionId::new("ONE").unwrap();
        let two = SessionId::new("TWO").unwrap();
        routes.add(&one, &[ChatId(OWNER), ChatId(GROUP)], &[UserId(OWNER)]);
        routes.add(&two, &[ChatId(12)], &[UserId(12)]);
        routes.hear_all(&one);
        routes
    }

    fn decide(update: &serde_json::Value) -> Verdict {
        routes().decide(BOT, &update::read(&update.to_string()).unwrap())
    }

    fn why(verdict: &Verdict) -> Option<Refusal> {
        match verdict {
            Verdict::Refuse(refused) => Some(refused.why),
            Verdict::Admit { .. } | Verdict::NotMeant { .. } | Verdict::Ignore(_) => None,
        }
    }

    #[test]
    fn a_listed_person_in_a_listed_chat_gets_in_with_the_topic() {
        let verdict = decide(
            &json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP},
            "from": {"id": OWNER}, "text": "x", "message_thread_id": 9, "is_topic_message": true}}),
        );
        let address = Address {
            bot_id: BOT,
            chat_id: ChatId(GROUP),
            topic_id: Some(crate::ids::TopicId(9)),
        };
        assert_eq!(
            verdict,
            Verdict::Admit {
                session: SessionId::new("ONE").unwrap(),
                address
            }
        );
    }

    #[test]
    fn a_supergroup_is_let_in_as_the_group_that_it_was_unless_it_is_somebody_elses() {
        let moved = |chat| {
            if chat == ChatId(GROUP) {
                ChatId(-100)
            } else {
                chat
            }
        };
        let from = |chat: i64, user: i64| {
            let message =
                json!({"message_id": 1, "chat": {"id": chat}, "from": {"id": user}, "text": "x"});
            update::read(&json!({"update_id": 1, "message": message}).to_string()).unwrap()
        };
        let session = |routes: &Routes, chat, user| match routes.decide(BOT, &from(chat, user)) {
            Verdict::Admit { session, .. } => Some(session.as_str().to_owned()),
            Verdict::NotMeant { .. } | Verdict::Refuse(_) | Verdict::Ignore(_) => None,
        };
        let mut routes = routes();
        let followed = routes.following(moved);
        assert_eq!(session(&followed, -100, OWNER).as_deref(), Some("ONE"));
        assert_eq!(session(&followed, GROUP, OWNER).as_deref(), Some("ONE"));
        assert_eq!(session(&followed, -100, 12), None);
        let two = SessionId::new("TWO").unwrap();
        routes.add(&two, &[ChatId(-100)], &[UserId(12)]);
        routes.hear_all(&two);
        let followed = routes.following(moved);
        assert_eq!(session(&followed, -100, OWNER), None);
        assert_eq!(session(&followed, -100, 12).as_deref(), Some("TWO"));
    }

    #[test]
    fn everybody_else_is_refused() {
        let message = |chat: i64, from: i64| json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": chat}, "from": {"id": from}, "text": "x"}});
        let cases = [
            (message(99, 99), Refusal::UnknownChat),
            (message(99, OWNER), Refusal::UnknownChat),
            (message(GROUP, 12), Refusal::UnknownUser),
            (message(12, OWNER), Refusal::UnknownUser),
            (
                json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "text": "x"}}),
                Refusal::Anonymous,
            ),
            (
                json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": OWNER}, "sender_chat": {"id": GROUP}, "text": "x"}}),
                Refusal::Anonymous,
            ),
            (
                json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": OWNER}, "from": {"id": OWNER}, "guest_query_id": "g", "text": "x"}}),
                Refusal::ForeignKind,
            ),
            (
                json!({"update_id": 1, "edited_message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": 12}, "text": "x"}}),
                Refusal::UnknownUser,
            ),
            (
                json!({"update_id": 1, "callback_query": {"id": "c", "from": {"id": 12}, "message": {"message_id": 1, "chat": {"id": GROUP}}, "data": "x"}}),
                Refusal::UnknownUser,
            ),
            (
                json!({"update_id": 1, "callback_query": {"id": "c", "from": {"id": OWNER}, "message": {"message_id": 1, "chat": {"id": OWNER}, "business_connection_id": "b"}, "data": "x"}}),
                Refusal::ForeignKind,
            ),
            (
                json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": OWNER}, "from": {"id": OWNER}, "business_connection_id": "b", "text": "x"}}),
                Refusal::ForeignKind,
            ),
            (
                json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP, "type": "channel"}, "from": {"id": OWNER}, "text": "x"}}),
                Refusal::Anonymous,
            ),
            (
                json!({"update_id": 1, "message_reaction": {"chat": {"id": GROUP}, "message_id": 1, "user": {"id": 12}, "new_reaction": []}}),
                Refusal::UnknownUser,
            ),
        ];
        for (update, expected) in cases {
            assert_eq!(why(&decide(&update)), Some(expected), "{update}");
        }
    }

    #[test]
    fn who_stands_in_for_somebody_is_refused_even_if_a_list_names_it() {
        let mut routes = Routes::default();
        let one = SessionId::new("ONE").unwrap();
        routes.add(&one, &[ChatId(GROUP)], &STAND_INS);
        for user in STAND_INS {
            let update = json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": user}, "text": "/x",
                "entities": [{"type": "bot_command", "offset": 0, "length": 2}]}});
            let verdict = routes.decide(BOT, &update::read(&update.to_string()).unwrap());
            assert_eq!(why(&verdict), Some(Refusal::Anonymous));
        }
    }

    fn said(fields: &serde_json::Value) -> Update {
        let mut message =
            json!({"message_id": 1, "date": 50, "chat": {"id": GROUP}, "from": {"id": OWNER}});
        message
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        update::read(&json!({"update_id": 1, "message": message}).to_string()).unwrap()
    }

    fn message_of(update: &Update) -> &Message {
        match &update.body {
            Body::Message { message, .. } => message,
            other @ (Body::Press(_) | Body::Reaction(_) | Body::Membership(_) | Body::Other(_)) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn in_a_group_only_what_is_meant_for_the_bot_gets_in_unless_all_is_heard() {
        let mut routes = Routes::default();
        let one = SessionId::new("ONE").unwrap();
        routes.add(&one, &[ChatId(OWNER), ChatId(GROUP)], &[UserId(OWNER)]);
        routes.set_username("my_bot");
        let chat = said(&json!({"text": "lunch?"}));
        let named = said(
            &json!({"text": "@my_bot lunch?", "entities": [{"type": "mention", "offset": 0, "length": 7}]}),
        );
        let private = said(&json!({"text": "lunch?", "chat": {"id": OWNER}}));
        let service = said(&json!({"forum_topic_created": {"name": "x"}}));
        assert!(matches!(
            routes.decide(BOT, &chat),
            Verdict::NotMeant { .. }
        ));
        for admitted in [&named, &private, &service] {
            assert!(
                matches!(routes.decide(BOT, admitted), Verdict::Admit { .. }),
                "{admitted:?}"
            );
        }
        routes.hear_all(&SessionId::new("TWO").unwrap());
        assert!(matches!(
            routes.decide(BOT, &chat),
            Verdict::NotMeant { .. }
        ));
        routes.hear_all(&one);
        assert!(matches!(routes.decide(BOT, &chat), Verdict::Admit { .. }));
    }

    #[test]
    fn the_other_parts_of_an_album_or_a_cut_text_belong_to_the_one_that_was_let_in() {
        let mut recent = Recent::default();
        recent.note(message_of(&said(
            &json!({"media_group_id": "g", "photo": []}),
        )));
        recent.note(message_of(&said(&json!({"text": "x".repeat(4096)}))));
        let begun = |fields| recent.has_begun(message_of(&said(&fields)));
        assert!(begun(json!({"media_group_id": "g", "photo": []})));
        assert!(begun(json!({"text": "the end", "date": 51})));
        for other in [
            json!({"media_group_id": "h", "photo": []}),
            json!({"media_group_id": "g", "photo": [], "from": {"id": 12}}),
            json!({"media_group_id": "g", "photo": [], "chat": {"id": -51}}),
            json!({"text": "later", "date": 52}),
            json!({"text": "before", "date": 49}),
            json!({"text": "somebody else", "from": {"id": 12}}),
            json!({"text": "in a topic", "message_thread_id": 9, "is_topic_message": true}),
            json!({"photo": [], "caption": "no text"}),
        ] {
            assert!(!begun(other.clone()), "{other}");
        }
    }

    #[test]
    fn an_edit_of_what_was_let_in_is_heard_although_it_names_nobody_any_more() {
        let mut recent = Recent::default();
        recent.hear(message_of(&said(&json!({"message_id": 7, "text": "x"}))));
        let begun = |fields| recent.has_begun(message_of(&said(&fields)));
        assert!(begun(json!({"message_id": 7, "text": "y"})));
        for other in [
            json!({"message_id": 8, "text": "y"}),
            json!({"message_id": 7, "text": "y", "from": {"id": 12}}),
            json!({"message_id": 7, "text": "y", "chat": {"id": -51}}),
        ] {
            assert!(!begun(other.clone()), "{other}");
        }
        recent.hear(message_of(&said(&json!({"message_id": 0, "text": "x"}))));
        assert!(!recent.has_begun(message_of(&said(&json!({"message_id": 0})))));
        for id in 100..100 + HEARD_MOST {
            recent.hear(message_of(&said(&json!({"message_id": id}))));
        }
        assert!(!recent.has_begun(message_of(&said(&json!({"message_id": 7})))));
    }

    #[test]
    fn an_edit_that_was_let_in_is_heard_again_and_brings_no_other_message_along() {
        let part = |id: i64| json!({"message_id": id, "date": 50, "chat": {"id": GROUP}, "from": {"id": OWNER}, "photo": [], "media_group_id": "g"});
        let read = |update: &serde_json::Value| update::read(&update.to_string()).unwrap();
        let edit = read(&json!({"update_id": 1, "edited_message": part(7)}));
        let mut recent = Recent::default();
        recent.take_in(&edit);
        assert!(recent.has_begun(message_of(&edit)));
        let other = read(&json!({"update_id": 2, "message": part(8)}));
        assert!(!recent.has_begun(message_of(&other)));
    }

    #[test]
    fn a_reaction_in_a_group_is_not_for_the_bot_before_it_is_known_on_what() {
        let mut routes = Routes::default();
        let one = SessionId::new("ONE").unwrap();
        routes.add(&one, &[ChatId(OWNER), ChatId(GROUP)], &[UserId(OWNER)]);
        let on = |chat: i64| json!({"update_id": 1, "message_reaction": {"chat": {"id": chat}, "message_id": 1, "user": {"id": OWNER}, "new_reaction": []}});
        let verdict = |chat| routes.decide(BOT, &update::read(&on(chat).to_string()).unwrap());
        assert!(matches!(verdict(GROUP), Verdict::NotMeant { .. }));
        assert!(matches!(verdict(OWNER), Verdict::Admit { .. }));
    }

    #[test]
    fn a_forged_sender_in_text_quote_or_forward_does_not_count() {
        let verdict = decide(
            &json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": 13},
            "text": "from: 11", "reply_to_message": {"message_id": 2, "from": {"id": OWNER}},
            "forward_origin": {"type": "user", "sender_user": {"id": OWNER}}}}),
        );
        assert_eq!(why(&verdict), Some(Refusal::UnknownUser));
    }

    proptest! {
        #[test]
        fn whoever_gets_in_stands_on_the_list_of_the_session_that_has_the_chat(chat in -60i64..60, from in 0i64..20) {
            let update = json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": chat}, "from": {"id": from}, "text": "x"}});
            let expected = match (chat, from) {
                (11 | -50, 11) => Some("ONE"),
                (12, 12) => Some("TWO"),
                _ => None,
            };
            let got = match decide(&update) {
                Verdict::Admit { session, .. } => Some(session.as_str().to_owned()),
                Verdict::NotMeant { .. } | Verdict::Refuse(_) | Verdict::Ignore(_) => None,
            };
            prop_assert_eq!(got.as_deref(), expected);
        }
    }
}
