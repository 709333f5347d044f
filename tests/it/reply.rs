//! `telegram_reply`: which conversation is shown, where an answer goes, and what it settles.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{FORUM, GROUP, House, OWNER, again, ids, texts, without_messages};

#[test]
fn without_text_it_shows_the_oldest_conversation_and_no_other() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private, first");
    house.arrive_in(GROUP, "group");
    house.arrive("private, second");
    let shown = house.agent().reply(json!({}));
    assert_eq!(texts(&shown), ["private, first", "private, second"]);
    assert_eq!(
        without_messages(shown),
        json!({"remaining": 1, "session": "ONE"})
    );
}

#[test]
fn without_text_it_shows_what_you_hold_of_the_oldest_conversation_again() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    house.arrive("private");
    agent.poll(json!({}));
    house.arrive_in(GROUP, "group");
    let shown = agent.reply(json!({}));
    assert_eq!(
        (texts(&shown), again(&shown)),
        (vec!["private"], vec![true])
    );
}

#[test]
fn without_text_and_without_messages_it_says_that_nothing_remains() {
    let house = House::new();
    let _gateway = house.gateway();
    assert_eq!(
        house.agent().reply(json!({})),
        json!({"remaining": 0, "session": "ONE"})
    );
}

#[test]
fn the_answer_goes_to_the_conversation_that_was_shown_and_settles_only_that() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let asked = house.arrive("private");
    let other = house.arrive_in(GROUP, "group");
    let mut agent = house.agent();
    // Held by polling: both; remembered by telegram_reply: the private chat.
    agent.poll(json!({}));
    agent.reply(json!({}));
    let answered = agent.reply(json!({"text": "answer"}));
    assert_eq!(
        (&answered["acked"], &answered["remaining"]),
        (&json!([asked]), &json!(1))
    );
    assert_eq!(house.heard(), ["answer"]);
    assert_eq!(house.bot_lines(GROUP), []);
    assert_eq!(ids(&agent.poll(json!({}))), [other]);
}

#[test]
fn an_answer_settles_all_messages_of_its_conversation_that_were_shown() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = [
        house.arrive("one"),
        house.arrive("two"),
        house.arrive("three"),
    ];
    let mut agent = house.agent();
    agent.reply(json!({}));
    let answered = agent.reply(json!({"text": "to all of you"}));
    assert_eq!(answered["acked"], json!(sent));
    assert_eq!(house.names("inbox"), [""; 0]);
}

#[test]
fn the_next_conversation_is_shown_after_the_answer() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    let next = house.arrive_in(GROUP, "group");
    let mut agent = house.agent();
    agent.reply(json!({}));
    agent.reply(json!({"text": "answer"}));
    assert_eq!(ids(&agent.reply(json!({}))), [next]);
    agent.reply(json!({"text": "to the group"}));
    let heard: Vec<String> = house
        .bot_lines(GROUP)
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert_eq!(heard, ["to the group"]);
}

#[test]
fn a_message_that_came_after_the_last_showing_stays_pending() {
    let house = House::new();
    let _gateway = house.gateway();
    let seen = house.arrive("seen");
    let mut agent = house.agent();
    agent.reply(json!({}));
    let unseen = house.arrive("unseen");
    let answered = agent.reply(json!({"text": "answer"}));
    assert_eq!(
        (&answered["acked"], &answered["remaining"]),
        (&json!([seen]), &json!(1))
    );
    let shown = agent.poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![unseen], vec![false]));
}

#[test]
fn with_one_conversation_held_by_polling_the_answer_goes_there() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let asked = house.arrive_in(GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["acked"],
        json!([asked])
    );
    assert_eq!(house.bot_lines(GROUP).len(), 1);
}

#[test]
fn with_several_held_and_none_named_it_is_refused_with_the_list_and_nothing_is_sent() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let (private, group) = (house.arrive("private"), house.arrive_in(GROUP, "group"));
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent
        .call("telegram_reply", json!({"text": "answer"}))
        .refused();
    assert!(
        words.starts_with("You hold messages of 2 conversations"),
        "{words}"
    );
    assert!(
        words.contains("Nothing was sent; call again with `to`"),
        "{words}"
    );
    for id in [private, group] {
        assert!(words.contains(&id.to_string()), "{words}");
    }
    assert_eq!((house.heard().len(), house.bot_lines(GROUP).len()), (0, 0));
    assert_eq!(
        (house.names("inbox").len(), house.names("outbox").len()),
        (2, 0)
    );
}

#[test]
fn to_names_the_conversation_by_any_of_its_messages() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    let group = [house.arrive_in(GROUP, "one"), house.arrive_in(GROUP, "two")];
    let mut agent = house.agent();
    agent.poll(json!({}));
    let answered = agent.reply(json!({"text": "answer", "to": group[0]}));
    assert_eq!(
        (&answered["acked"], &answered["remaining"]),
        (&json!(group), &json!(1))
    );
}

#[test]
fn to_may_be_written_as_text() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let answered = agent.reply(json!({"text": "answer", "to": id.to_string()}));
    assert_eq!(answered["acked"], json!([id]));
}

#[test]
fn to_without_text_shows_that_conversation_and_remembers_it() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    let group = house.arrive_in(GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let shown = agent.reply(json!({"to": group}));
    assert_eq!((ids(&shown), again(&shown)), (vec![group], vec![true]));
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["acked"],
        json!([group])
    );
}

#[test]
fn a_message_that_waits_unseen_cannot_be_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let words = house
        .agent()
        .call("telegram_reply", json!({"text": "answer", "to": id}))
        .refused();
    assert_eq!(
        words,
        format!(
            "Message {id} was not shown to you, so you cannot answer it. Nothing was sent; call telegram_reply with `to`: {id} and without text first."
        )
    );
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn holding_nothing_the_refusal_says_how_many_messages_wait() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let mut refusals = Vec::new();
    for text in ["one", "two", "three"] {
        refusals.push(
            agent
                .call("telegram_reply", json!({"text": "answer"}))
                .refused(),
        );
        house.arrive(text);
    }
    refusals.push(
        agent
            .call("telegram_reply", json!({"text": "answer"}))
            .refused(),
    );
    let begin = "You hold no message, so it is not clear where this goes. Nothing was sent.";
    assert_eq!(
        refusals,
        [
            format!(
                "{begin} No message is waiting for an answer. Use `to`: \"home\" to write to the person on your own initiative, or `to` with the update_id of an earlier message."
            ),
            format!(
                "{begin} 1 message is waiting that you have not seen; call telegram_reply without text first."
            ),
            format!(
                "{begin} 2 messages are waiting that you have not seen; call telegram_reply without text first."
            ),
            format!(
                "{begin} 3 messages are waiting that you have not seen; call telegram_reply without text first."
            ),
        ]
    );
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn home_is_a_message_of_its_own_in_the_first_chat() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    let reported = house
        .agent()
        .reply(json!({"text": "the build is green", "to": "home"}));
    assert_eq!(
        (&reported["status"], &reported["acked"]),
        (&json!("delivered"), &Value::Null)
    );
    assert_eq!(house.heard(), ["the build is green"]);
}

#[test]
fn home_leaves_messages_that_nobody_has_seen_waiting() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("a question");
    let mut agent = house.agent();
    let reported = agent.reply(json!({"text": "report", "to": "home"}));
    assert_eq!(
        (&reported["acked"], &reported["remaining"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(ids(&agent.poll(json!({}))), [id]);
}

#[test]
fn home_is_no_answer_to_what_you_hold_there() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("a question");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let reported = agent.reply(json!({"text": "report", "to": "home"}));
    assert_eq!(
        (&reported["acked"], &reported["remaining"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(agent.reply(json!({"text": "answer"}))["acked"], json!([id]));
}

#[test]
fn home_leaves_the_conversation_that_is_being_answered_and_its_progress() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let id = house.arrive("a question");
    house.arrive_in(GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({}));
    agent.reply(json!({"text": "reading", "keep_open": true}));
    house.wait_until_sent();
    agent.reply(json!({"text": "report", "to": "home"}));
    agent.reply(json!({"text": "writing", "keep_open": true}));
    house.wait_until_sent();
    assert_eq!(agent.reply(json!({"text": "answer"}))["acked"], json!([id]));
    assert_eq!(house.heard(), ["writing", "report", "answer"]);
}

#[test]
fn to_a_settled_message_is_a_follow_up_in_its_chat() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let id = house.arrive_in(GROUP, "a question");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"text": "answer"}));
    let followed = agent.reply(json!({"text": "one more thing", "to": id}));
    assert_eq!(
        (&followed["status"], &followed["acked"]),
        (&json!("delivered"), &Value::Null)
    );
    let heard: Vec<String> = house
        .bot_lines(GROUP)
        .into_iter()
        .map(|line| line.text)
        .collect();
    assert_eq!(heard, ["answer", "one more thing"]);
}

#[test]
fn to_a_message_that_does_not_exist_is_refused() {
    let house = House::new();
    let _gateway = house.gateway();
    let words = house
        .agent()
        .call("telegram_reply", json!({"text": "x", "to": 7}))
        .refused();
    assert_eq!(
        words,
        "This session has no message 7; messages are named by their `update_id`. You hold no messages. Call telegram_poll to see which messages are waiting."
    );
}

#[test]
fn a_blank_text_is_refused_and_acknowledges_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    for blank in ["", "  ", "\n\t"] {
        let words = agent
            .call("telegram_reply", json!({"text": blank}))
            .refused();
        assert!(
            words.starts_with("The text is blank: there is nothing to send."),
            "{words}"
        );
    }
    assert_eq!(ids(&agent.poll(json!({}))), [id]);
}

#[test]
fn what_this_version_cannot_do_yet_is_refused_and_acknowledges_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent
        .call(
            "telegram_reply",
            json!({"text": "answer", "options": ["yes", "no"]}),
        )
        .refused();
    assert_eq!(
        words,
        "`options` is not supported in this version. Nothing was sent and nothing was acknowledged; call again without it."
    );
    assert_eq!(
        (ids(&agent.poll(json!({}))), house.heard().len()),
        (vec![id], 0)
    );
}

#[test]
fn a_parameter_that_does_not_exist_is_refused_by_name_and_nothing_is_sent() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent
        .call("telegram_reply", json!({"text": "answer", "chat_id": 11}))
        .refused();
    assert!(words.contains("no parameter `chat_id`"), "{words}");
    assert!(words.contains("Nothing was changed"), "{words}");
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn the_keys_of_a_result_stand_in_the_order_of_the_contract() {
    let house = House::new();
    let gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let keys =
        |result: &Value| -> Vec<String> { result.as_object().unwrap().keys().cloned().collect() };
    let delivered = agent.reply(json!({"text": "answer"}));
    assert_eq!(
        keys(&delivered),
        [
            "remaining",
            "session",
            "status",
            "acked",
            "delivery_id",
            "message_ids"
        ]
    );
    let repeated = agent.reply(json!({"text": "answer"}));
    assert_eq!(
        keys(&repeated),
        [
            "remaining",
            "session",
            "status",
            "acked",
            "delivery_id",
            "message_ids",
            "repeat"
        ]
    );
    let next = house.arrive("next");
    gateway.kill();
    let shown = agent.poll(json!({"ack": [id]}));
    assert_eq!(
        keys(&shown),
        ["remaining", "session", "messages", "not_acked", "notices"]
    );
    let acked = agent.poll(json!({"ack": [next, 7]}));
    assert_eq!(
        keys(&acked),
        ["remaining", "session", "acked", "not_acked", "notices"]
    );
}

#[test]
fn a_delivered_answer_names_its_messages_in_telegram() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    // Longer than one message of Telegram.
    let answered = agent.reply(json!({"text": "line of words\n".repeat(400)}));
    let lines: Vec<i64> = house
        .bot_lines(OWNER)
        .iter()
        .map(|line| line.message_id)
        .collect();
    assert_eq!((&answered["message_ids"], lines.len()), (&json!(lines), 2));
}

#[test]
fn silent_is_passed_on_and_an_ordinary_answer_rings() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"text": "aloud"}));
    agent.reply(json!({"text": "hush", "silent": true, "to": "home"}));
    let silent: Vec<bool> = house
        .bot_lines(OWNER)
        .iter()
        .map(|line| line.silent)
        .collect();
    assert_eq!(silent, [false, true]);
}

#[test]
fn a_reply_waits_for_a_slow_telegram() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    house.sim.fault(
        Fault::on(house.bot())
            .method("sendMessage")
            .delay_before(Duration::from_millis(700)),
    );
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
}

#[test]
fn without_a_gateway_an_answer_is_accepted_and_goes_out_when_one_runs() {
    let house = House::new();
    let gateway = house.gateway();
    let id = house.arrive("hello");
    gateway.kill();
    let mut agent = house.agent();
    agent.poll(json!({}));
    let began = Instant::now();
    let answered = agent.reply(json!({"text": "answer"}));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "it waited: {:?}",
        began.elapsed()
    );
    let delivery = answered["delivery_id"].clone();
    assert_eq!(
        answered,
        json!({
            "remaining": 0,
            "session": "ONE",
            "status": "accepted",
            "acked": [id],
            "delivery_id": delivery,
            "notices": ["No gateway is running, so no messages are received or sent. What you send is stored and will be sent when the person runs `telepost gateway`."],
        })
    );
    assert_eq!(house.heard(), [""; 0]);
    let _gateway = house.gateway();
    house.wait_to_hear(&["answer"]);
}

#[test]
fn while_the_gate_of_a_chat_is_closed_an_answer_is_accepted_with_the_time_of_its_opening() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent();
    house.sim.fault(
        Fault::on(house.bot())
            .method("sendMessage")
            .retry_after(100),
    );
    house.arrive("first");
    agent.poll(json!({}));
    // This one learns of the gate while it waits, the next one finds it closed: neither waits on.
    let first = agent.reply(json!({"text": "one"}));
    gateway.wait_for_log("Telegram asked for a pause of this chat");
    let second = agent.reply(json!({"text": "two", "to": "home"}));
    for answered in [first, second] {
        assert_eq!(answered["status"], "accepted");
        let opens = answered["held_until"].as_str().unwrap();
        let opens = chrono::DateTime::parse_from_rfc3339(opens)
            .unwrap()
            .timestamp();
        let left = opens - house.sim.now();
        assert!((60..=102).contains(&left), "{left} s: {answered}");
    }
    assert_eq!(
        house
            .sim
            .look(|view| view.call_count(house.bot(), "sendMessage")),
        1
    );
}

#[test]
fn an_answer_that_telegram_refuses_for_good_has_failed_with_the_reason() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    house.sim.fault(
        Fault::on(house.bot())
            .method("sendMessage")
            .error(400, "Bad Request: message text is empty"),
    );
    let answered = agent.reply(json!({"text": "answer"}));
    assert_eq!(answered["status"], "failed");
    let reason = answered["reason"].as_str().unwrap();
    assert!(reason.contains("message text is empty"), "{reason}");
}

#[test]
fn a_topic_is_a_conversation_of_its_own_and_answered_in_the_topic() {
    let house = House::with_forum();
    let topic = house.sim.add_topic(house.bot(), FORUM, "Builds");
    let _gateway = house.gateway();
    let in_topic = |text: &str| {
        let message = house.sim.message(house.bot()).chat(FORUM).from(OWNER);
        let id = message.topic(topic).text(text).send().update_id.unwrap();
        house.wait_until_arrived(id);
        id
    };
    let asked = in_topic("is it green?");
    let general = house.arrive_in(FORUM, "good morning");
    let mut agent = house.agent();
    let shown = agent.reply(json!({}));
    assert_eq!(
        (ids(&shown), &shown["messages"][0]["topic"]),
        (vec![asked], &json!({"id": topic, "name": "Builds"}))
    );
    assert_eq!(
        agent.reply(json!({"text": "green"}))["acked"],
        json!([asked])
    );
    assert_eq!(ids(&agent.poll(json!({}))), [general]);
    let placed: Vec<(String, Option<i64>)> = house
        .bot_lines(FORUM)
        .into_iter()
        .map(|line| (line.text, line.topic))
        .collect();
    assert_eq!(placed, [("green".to_owned(), Some(topic))]);
}

#[test]
fn the_general_topic_is_answered_without_a_thread_id() {
    let house = House::with_forum();
    let _gateway = house.gateway();
    house.arrive_in(FORUM, "good morning");
    let mut agent = house.agent();
    agent.poll(json!({}));
    assert_eq!(
        agent.reply(json!({"text": "good morning"}))["status"],
        "delivered"
    );
    let calls = house.sim.calls_of(house.bot(), "sendMessage");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].int("message_thread_id"), None);
}
