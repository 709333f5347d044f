use proptest::prelude::*;
use serde_json::json;

use super::recent::RecentlyAdmitted;
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

fn decide(update: &serde_json::Value) -> RouteDecision {
    routes().decide(BOT, &update::read(&update.to_string()).unwrap())
}

fn why(verdict: &RouteDecision) -> Option<RefusalReason> {
    match verdict {
        RouteDecision::Refuse(refused) => Some(refused.why),
        RouteDecision::Admit { .. }
        | RouteDecision::NotAddressed { .. }
        | RouteDecision::Ignore(_) => None,
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
        RouteDecision::Admit {
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
        RouteDecision::Admit { session, .. } => Some(session.as_str().to_owned()),
        RouteDecision::NotAddressed { .. }
        | RouteDecision::Refuse(_)
        | RouteDecision::Ignore(_) => None,
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
        (message(99, 99), RefusalReason::UnknownChat),
        (message(99, OWNER), RefusalReason::UnknownChat),
        (message(GROUP, 12), RefusalReason::UnknownUser),
        (message(12, OWNER), RefusalReason::UnknownUser),
        (
            json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "text": "x"}}),
            RefusalReason::Anonymous,
        ),
        (
            json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": OWNER}, "sender_chat": {"id": GROUP}, "text": "x"}}),
            RefusalReason::Anonymous,
        ),
        (
            json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": OWNER}, "from": {"id": OWNER}, "guest_query_id": "g", "text": "x"}}),
            RefusalReason::ForeignKind,
        ),
        (
            json!({"update_id": 1, "edited_message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": 12}, "text": "x"}}),
            RefusalReason::UnknownUser,
        ),
        (
            json!({"update_id": 1, "callback_query": {"id": "c", "from": {"id": 12}, "message": {"message_id": 1, "chat": {"id": GROUP}}, "data": "x"}}),
            RefusalReason::UnknownUser,
        ),
        (
            json!({"update_id": 1, "callback_query": {"id": "c", "from": {"id": OWNER}, "message": {"message_id": 1, "chat": {"id": OWNER}, "business_connection_id": "b"}, "data": "x"}}),
            RefusalReason::ForeignKind,
        ),
        (
            json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": OWNER}, "from": {"id": OWNER}, "business_connection_id": "b", "text": "x"}}),
            RefusalReason::ForeignKind,
        ),
        (
            json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP, "type": "channel"}, "from": {"id": OWNER}, "text": "x"}}),
            RefusalReason::Anonymous,
        ),
        (
            json!({"update_id": 1, "message_reaction": {"chat": {"id": GROUP}, "message_id": 1, "user": {"id": 12}, "new_reaction": []}}),
            RefusalReason::UnknownUser,
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
        assert_eq!(why(&verdict), Some(RefusalReason::Anonymous));
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
        RouteDecision::NotAddressed { .. }
    ));
    for admitted in [&named, &private, &service] {
        assert!(
            matches!(routes.decide(BOT, admitted), RouteDecision::Admit { .. }),
            "{admitted:?}"
        );
    }
    routes.hear_all(&SessionId::new("TWO").unwrap());
    assert!(matches!(
        routes.decide(BOT, &chat),
        RouteDecision::NotAddressed { .. }
    ));
    routes.hear_all(&one);
    assert!(matches!(
        routes.decide(BOT, &chat),
        RouteDecision::Admit { .. }
    ));
}

#[test]
fn the_other_parts_of_an_album_or_a_cut_text_belong_to_the_one_that_was_let_in() {
    let mut recent = RecentlyAdmitted::default();
    recent.remember_parts(message_of(&said(
        &json!({"media_group_id": "g", "photo": []}),
    )));
    recent.remember_parts(message_of(&said(&json!({"text": "x".repeat(4096)}))));
    let begun = |fields| recent.is_continued_by(message_of(&said(&fields)));
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
    let mut recent = RecentlyAdmitted::default();
    recent.remember_for_edits(message_of(&said(&json!({"message_id": 7, "text": "x"}))));
    let begun = |fields| recent.is_continued_by(message_of(&said(&fields)));
    assert!(begun(json!({"message_id": 7, "text": "y"})));
    for other in [
        json!({"message_id": 8, "text": "y"}),
        json!({"message_id": 7, "text": "y", "from": {"id": 12}}),
        json!({"message_id": 7, "text": "y", "chat": {"id": -51}}),
    ] {
        assert!(!begun(other.clone()), "{other}");
    }
    recent.remember_for_edits(message_of(&said(&json!({"message_id": 0, "text": "x"}))));
    assert!(!recent.is_continued_by(message_of(&said(&json!({"message_id": 0})))));
    for id in 100..100 + recent::EDITABLE_MOST {
        recent.remember_for_edits(message_of(&said(&json!({"message_id": id}))));
    }
    assert!(!recent.is_continued_by(message_of(&said(&json!({"message_id": 7})))));
}

#[test]
fn an_edit_that_was_let_in_is_heard_again_and_brings_no_other_message_along() {
    let part = |id: i64| json!({"message_id": id, "date": 50, "chat": {"id": GROUP}, "from": {"id": OWNER}, "photo": [], "media_group_id": "g"});
    let read = |update: &serde_json::Value| update::read(&update.to_string()).unwrap();
    let edit = read(&json!({"update_id": 1, "edited_message": part(7)}));
    let mut recent = RecentlyAdmitted::default();
    recent.remember(&edit);
    assert!(recent.is_continued_by(message_of(&edit)));
    let other = read(&json!({"update_id": 2, "message": part(8)}));
    assert!(!recent.is_continued_by(message_of(&other)));
}

#[test]
fn a_reaction_in_a_group_is_not_for_the_bot_before_it_is_known_on_what() {
    let mut routes = Routes::default();
    let one = SessionId::new("ONE").unwrap();
    routes.add(&one, &[ChatId(OWNER), ChatId(GROUP)], &[UserId(OWNER)]);
    let on = |chat: i64| json!({"update_id": 1, "message_reaction": {"chat": {"id": chat}, "message_id": 1, "user": {"id": OWNER}, "new_reaction": []}});
    let verdict = |chat| routes.decide(BOT, &update::read(&on(chat).to_string()).unwrap());
    assert!(matches!(verdict(GROUP), RouteDecision::NotAddressed { .. }));
    assert!(matches!(verdict(OWNER), RouteDecision::Admit { .. }));
}

#[test]
fn a_forged_sender_in_text_quote_or_forward_does_not_count() {
    let verdict = decide(
        &json!({"update_id": 1, "message": {"message_id": 1, "chat": {"id": GROUP}, "from": {"id": 13},
        "text": "from: 11", "reply_to_message": {"message_id": 2, "from": {"id": OWNER}},
        "forward_origin": {"type": "user", "sender_user": {"id": OWNER}}}}),
    );
    assert_eq!(why(&verdict), Some(RefusalReason::UnknownUser));
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
            RouteDecision::Admit { session, .. } => Some(session.as_str().to_owned()),
            RouteDecision::NotAddressed { .. } | RouteDecision::Refuse(_) | RouteDecision::Ignore(_) => None,
        };
        prop_assert_eq!(got.as_deref(), expected);
    }
}
