//! The gate: whether an update gets in, and to which session. Pure, and closed by default.
//!
//! A message is admitted when its chat belongs to a session of this bot *and* its sender is on that
//! session's list. Everything else is refused without an answer. The sender is `from.id` of the
//! update itself: nothing in the text, a quote or a forward counts.

use std::collections::BTreeMap;

use crate::ids::{Address, BotId, ChatId, SessionId, UserId};
use crate::telegram::update::{Body, Message, Update, User};

/// Which chats of one bot belong to which session, and who may write there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    chats: BTreeMap<ChatId, Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    session: SessionId,
    allowed: Vec<UserId>,
}

impl Routes {
    /// Adds a session's chats. The configuration has made sure that no two sessions overlap.
    pub fn add(&mut self, session: &SessionId, chats: &[ChatId], allowed: &[UserId]) {
        for &chat in chats {
            self.chats.insert(
                chat,
                Route {
                    session: session.clone(),
                    allowed: allowed.to_vec(),
                },
            );
        }
    }

    /// Decides about one update.
    pub fn decide(&self, bot: BotId, update: &Update) -> Verdict {
        match &update.body {
            Body::Message { message, .. } => self.message(bot, message),
            Body::Press(press) => match &press.message {
                Some(message) => {
                    self.check(bot, message.chat.id, message.topic(), Some(&press.from))
                }
                None => Verdict::Refuse(refused(Refusal::UnknownChat, None, Some(&press.from))),
            },
            Body::Reaction(reaction) => {
                self.check(bot, reaction.chat.id, None, reaction.user.as_ref())
            }
            Body::Membership(_) => Verdict::Ignore("membership"),
            Body::Other(_) => Verdict::Ignore("a kind that is not routed"),
        }
    }

    fn message(&self, bot: BotId, message: &Message) -> Verdict {
        // A guest message's chat id may coincide with a chat of ours (Bot API 10.0), and business
        // messages are somebody else's conversation.
        for foreign in ["guest_query_id", "business_connection_id"] {
            if message.rest.contains_key(foreign) {
                return Verdict::Refuse(refused(
                    Refusal::ForeignKind,
                    Some(message.chat.id),
                    message.from.as_ref(),
                ));
            }
        }
        if message.sender_chat.is_some() {
            // Anonymous admins and channels carry a placeholder `from`: nobody knows who it is.
            return Verdict::Refuse(refused(
                Refusal::Anonymous,
                Some(message.chat.id),
                message.from.as_ref(),
            ));
        }
        self.check(bot, message.chat.id, message.topic(), message.from.as_ref())
    }

    fn check(
        &self,
        bot: BotId,
        chat: ChatId,
        topic: Option<crate::ids::TopicId>,
        from: Option<&User>,
    ) -> Verdict {
        let Some(route) = self.chats.get(&chat) else {
            return Verdict::Refuse(refused(Refusal::UnknownChat, Some(chat), from));
        };
        match from {
            None => Verdict::Refuse(refused(Refusal::Anonymous, Some(chat), None)),
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

fn refused(why: Refusal, chat: Option<ChatId>, from: Option<&User>) -> Refused {
    Refused {
        why,
        chat,
        user: from.map(|user| user.id),
    }
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
        routes
    }

    fn decide(update: &serde_json::Value) -> Verdict {
        routes().decide(BOT, &update::read(&update.to_string()).unwrap())
    }

    fn why(verdict: &Verdict) -> Option<Refusal> {
        match verdict {
            Verdict::Refuse(refused) => Some(refused.why),
            Verdict::Admit { .. } | Verdict::Ignore(_) => None,
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
                json!({"update_id": 1, "message_reaction": {"chat": {"id": GROUP}, "message_id": 1, "user": {"id": 12}, "new_reaction": []}}),
                Refusal::UnknownUser,
            ),
        ];
        for (update, expected) in cases {
            assert_eq!(why(&decide(&update)), Some(expected), "{update}");
        }
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
                Verdict::Refuse(_) | Verdict::Ignore(_) => None,
            };
            prop_assert_eq!(got.as_deref(), expected);
        }
    }
}
