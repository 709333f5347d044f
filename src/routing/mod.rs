//! Routing: whether an update is admitted, to which session, and for which recipient. Pure, and closed by
//! default.
//!
//! A message is admitted when its chat belongs to a session of this bot *and* its sender is on that
//! session's list. Every other update is refused without an answer. The sender is `from.id` of the update
//! itself: nothing in the text, a quote or a forward counts.
//!
//! In a group the message must also address the bot, unless the session hears everything
//! (`require_mention`). Telegram's clients send one message as several, an album or a long text that they
//! cut, and only one part names the bot: [`recent::RecentlyAdmitted`] recognises the others.

pub mod commands;
pub mod recent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::commands::Command;
use crate::config::Config;
use crate::ids::{Address, BotId, ChatId, PLACEHOLDER, STAND_INS, SessionId, TopicId, UserId};
use crate::telegram::update::{Body, Message, Update, User};

/// The recipient of an admitted update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The agent: the update becomes an entry of the inbox.
    Agent,
    /// The gateway, which answers a command by itself.
    Command(Command),
    /// An edited command is neither a second command nor a message for the agent.
    EditedCommand,
}

/// A text of at least this many code points may be the beginning of a longer one that Telegram's client cut
/// at 4096.
pub const NEAR_LIMIT: usize = 4000;

/// Which chats of one bot belong to which session, and the people who may write there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    chats: BTreeMap<ChatId, Route>,
    /// The bot's public name, without `@`.
    username: Option<String>,
}

/// Builds the routes of a bot from the configuration.
pub fn build_routes<'a>(
    config: &Config,
    sessions: impl IntoIterator<Item = &'a SessionId>,
) -> Routes {
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
    allowed: Arc<BTreeSet<UserId>>,
    require_mention: bool,
}

impl Routes {
    /// Adds a session's chats. The configuration guarantees that no two sessions overlap. In groups a message
    /// must address the bot, see [`Self::hear_all`].
    pub fn add(&mut self, session: &SessionId, chats: &[ChatId], allowed: &[UserId]) {
        let allowed = Arc::new(allowed.iter().copied().collect());
        for &chat in chats {
            self.chats.insert(
                chat,
                Route {
                    session: session.clone(),
                    allowed: Arc::clone(&allowed),
                    require_mention: true,
                },
            );
        }
    }

    /// Lets a session hear everything that its people write in its groups.
    pub fn hear_all(&mut self, session: &SessionId) {
        for route in self.chats.values_mut() {
            if route.session == *session {
                route.require_mention = false;
            }
        }
    }

    /// The same with the ids that groups have now: a supergroup belongs to the session that lists the group
    /// that it was, unless the configuration gives its new id to another session.
    #[must_use]
    pub fn following(&self, now: impl Fn(ChatId) -> ChatId) -> Self {
        let mut routes = self.clone();
        for (&chat, route) in &self.chats {
            let to = now(chat);
            routes.chats.entry(to).or_insert_with(|| route.clone());
        }
        routes
    }

    /// Whether a chat belongs to a session.
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

    /// Whether routing depends on the bot's public name: for mentions and commands like `/status@name` in
    /// groups.
    pub fn need_username(&self) -> bool {
        self.chats.keys().any(|chat| is_group(*chat))
    }

    /// Says how the owner of the bot would change `sessions.json` to admit such an update.
    pub fn advise(&self, refused: &RefusedUpdate) -> String {
        let ids = match (refused.chat, refused.user.as_ref().map(|user| user.id)) {
            (_, None) => return String::new(),
            (Some(chat), Some(user)) => (chat, user),
            (None, Some(user)) => (ChatId(user.0), user),
        };
        let (chat, user) = ids;
        let session = self.chats.get(&chat).map(|route| route.session.as_str());
        let session = session.map_or("a session".to_owned(), |id| format!("session {id}"));
        let unedited = self
            .chats
            .values()
            .find(|route| route.allowed.contains(&PLACEHOLDER));
        match (refused.why, unedited) {
            (RefusalReason::UnknownChat, Some(route)) if chat.0 > 0 => format!(
                "put {user} in the place of {PLACEHOLDER}, the placeholder of the example, into chat_ids and allowed_users of session {}",
                route.session
            ),
            (RefusalReason::UnknownChat, _) if chat.0 > 0 => {
                format!("put {user} into chat_ids and allowed_users of {session}")
            }
            (RefusalReason::UnknownChat, _) => {
                format!("put {chat} into chat_ids of {session}, and {user} into its allowed_users")
            }
            (RefusalReason::UnknownUser, _) => {
                format!("put {user} into allowed_users of {session}")
            }
            (RefusalReason::Anonymous, _) => {
                "write as yourself: an anonymous admin or a channel hides the person".to_owned()
            }
            (RefusalReason::ForeignKind, _) => String::new(),
        }
    }

    /// The recipient of an admitted update.
    pub fn recipient(&self, update: &Update) -> Recipient {
        let Body::Message { message, edited } = &update.body else {
            return Recipient::Agent;
        };
        match Command::read(message, self.username()) {
            Some(_) if *edited => Recipient::EditedCommand,
            // An anonymous command has no person to answer.
            Some(command) if message.from.is_some() => Recipient::Command(command),
            Some(_) | None => Recipient::Agent,
        }
    }

    /// Decides about one update.
    pub fn decide(&self, bot: BotId, update: &Update) -> RouteDecision {
        match &update.body {
            Body::Message { message, .. } => self.message(bot, message),
            Body::Press(press) => match &press.message {
                Some(message) if is_foreign(message) => RouteDecision::Refuse(refused(
                    RefusalReason::ForeignKind,
                    Some(message.chat.id),
                    Some(&press.from),
                )),
                Some(message) => {
                    self.check(bot, message.chat.id, message.topic(), Some(&press.from))
                }
                None => RouteDecision::Refuse(refused(
                    RefusalReason::UnknownChat,
                    None,
                    Some(&press.from),
                )),
            },
            // A reaction to one of our messages addresses the bot; only the store knows our messages.
            Body::Reaction(reaction) => {
                let verdict = self.check(bot, reaction.chat.id, None, reaction.user.as_ref());
                self.if_addressed(verdict, reaction.chat.id, || false)
            }
            Body::Membership(_) => RouteDecision::Ignore("membership"),
            Body::Other(_) => RouteDecision::Ignore("a kind that is not routed"),
        }
    }

    fn message(&self, bot: BotId, message: &Message) -> RouteDecision {
        let chat = Some(message.chat.id);
        let from = message.from.as_ref();
        if is_foreign(message) {
            return RouteDecision::Refuse(refused(RefusalReason::ForeignKind, chat, from));
        }
        if message.by_chat || message.chat.kind.as_deref() == Some("channel") {
            // Anonymous admins and channels carry a placeholder `from`.
            return RouteDecision::Refuse(refused(RefusalReason::Anonymous, chat, from));
        }
        let verdict = self.check(bot, message.chat.id, message.topic(), from);
        self.if_addressed(verdict, message.chat.id, || {
            message.service().is_some()
                || message.addresses(UserId(bot.0), self.username.as_deref())
        })
    }

    fn if_addressed(
        &self,
        verdict: RouteDecision,
        chat: ChatId,
        is_addressed: impl FnOnce() -> bool,
    ) -> RouteDecision {
        if let RouteDecision::Admit { session, address } = &verdict
            && self.is_quiet(chat)
            && !is_addressed()
        {
            return RouteDecision::NotAddressed {
                session: session.clone(),
                address: *address,
            };
        }
        verdict
    }

    /// Whether a chat is a group in which a message must address the bot.
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
    ) -> RouteDecision {
        let Some(route) = self.chats.get(&chat) else {
            return RouteDecision::Refuse(refused(RefusalReason::UnknownChat, Some(chat), from));
        };
        match from {
            None => RouteDecision::Refuse(refused(RefusalReason::Anonymous, Some(chat), None)),
            Some(user) if STAND_INS.contains(&user.id) => {
                RouteDecision::Refuse(refused(RefusalReason::Anonymous, Some(chat), from))
            }
            Some(user) if !route.allowed.contains(&user.id) => {
                RouteDecision::Refuse(refused(RefusalReason::UnknownUser, Some(chat), from))
            }
            Some(_) => RouteDecision::Admit {
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

/// Groups have negative ids (docs/facts/telegram.md 7).
fn is_group(chat: ChatId) -> bool {
    chat.0 < 0
}

/// A guest message's chat id may coincide with a chat of ours (Bot API 10.0), and a business message belongs
/// to a conversation of the account's owner.
fn is_foreign(message: &Message) -> bool {
    ["guest_query_id", "business_connection_id"]
        .into_iter()
        .any(|field| message.rest.contains_key(field))
}

fn refused(why: RefusalReason, chat: Option<ChatId>, from: Option<&User>) -> RefusedUpdate {
    RefusedUpdate {
        why,
        chat,
        user: from.cloned(),
    }
}

/// Whether a text is so long that a client may have cut it.
pub fn is_near_limit(message: &Message) -> bool {
    message
        .text
        .as_ref()
        .is_some_and(|text| text.len() >= NEAR_LIMIT && text.chars().count() >= NEAR_LIMIT)
}

/// The decision about one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteDecision {
    /// The update belongs to this session.
    Admit {
        /// The session.
        session: SessionId,
        /// Where it came from.
        address: Address,
    },
    /// A listed person in a listed group did not address the bot. The update is admitted only if it continues
    /// an admitted one ([`recent::RecentlyAdmitted::is_continued_by`]) or reacts to one of our messages.
    NotAddressed {
        /// The session.
        session: SessionId,
        /// Where it came from.
        address: Address,
    },
    /// Not admitted: no answer, no entry.
    Refuse(RefusedUpdate),
    /// A kind of update that is not routed, and its name for the log.
    Ignore(&'static str),
}

/// A refusal, for the count and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedUpdate {
    /// Why.
    pub why: RefusalReason,
    /// The chat, if the update names one.
    pub chat: Option<ChatId>,
    /// The sender, if the update names one.
    pub user: Option<User>,
}

/// Why an update is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The chat belongs to no session of this bot.
    UnknownChat,
    /// The sender is not on the session's list.
    UnknownUser,
    /// The update does not name the person who wrote it.
    Anonymous,
    /// A guest or business message.
    ForeignKind,
}

impl RefusalReason {
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
mod tests;
