//! `telegram_poll`: what is shown, in which order, how much of it, and what `ack` does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{House, OWNER, again, ids, texts, without_messages};

#[test]
fn a_message_is_shown_with_everything_that_the_contract_names_and_nothing_else() {
    let house = House::new();
    house.sim.name(OWNER, "Ada", Some("ada"));
    let _gateway = house.gateway();
    let question = house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("first")
        .send();
    let sent = house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("second")
        .reply_to(question.message_id)
        .quote("fir")
        .send();
    house.wait_for_inbox(2);

    let mut shown = house.agent().poll(json!({}))["messages"][1].clone();
    assert!(shown["age_seconds"].as_u64().unwrap() < 20, "{shown}");
    shown["age_seconds"] = json!(0);
    let sent_at = chrono::DateTime::from_timestamp(sent.date, 0).unwrap();
    let expected = json!({
        "update_id": sent.update_id,
        "message_id": sent.message_id,
        "kind": "text",
        "chat": {"id": OWNER, "type": "private"},
        "from": {"id": OWNER, "name": "Ada", "username": "ada"},
        "text": "second",
        "sent_at": sent_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "age_seconds": 0,
        "reply_to": {"message_id": question.message_id, "from": "Ada", "text": "first", "quote": "fir"},
    });
    // As text, because the order of the keys belongs to the contract.
    assert_eq!(shown.to_string(), expected.to_string());
}

#[test]
fn messages_are_shown_oldest_first() {
    let house = House::new();
    let _gateway = house.gateway();
    for text in ["one", "two", "three"] {
        house.arrive(text);
    }
    let shown = house.agent().poll(json!({}));
    assert_eq!(texts(&shown), ["one", "two", "three"]);
}

#[test]
fn showing_a_message_does_not_remove_it() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("still here?");
    let mut agent = house.agent();
    let first = agent.poll(json!({}));
    let second = agent.poll(json!({}));
    assert_eq!(
        (texts(&first), again(&first)),
        (vec!["still here?"], vec![false])
    );
    assert_eq!(
        (texts(&second), again(&second)),
        (vec!["still here?"], vec![true])
    );
    assert_eq!(house.names("inbox").len(), 1);
}

#[test]
fn what_you_hold_is_shown_again_only_when_nothing_new_is_there() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    house.arrive("old");
    agent.poll(json!({}));
    house.arrive("new");
    let fresh = agent.poll(json!({}));
    assert_eq!((texts(&fresh), again(&fresh)), (vec!["new"], vec![false]));
    let held = agent.poll(json!({}));
    assert_eq!(
        (texts(&held), again(&held)),
        (vec!["old", "new"], vec![true, true])
    );
}

#[test]
fn limit_bounds_the_page_and_remaining_counts_exactly_what_is_not_on_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..5).map(|n| house.arrive(&n.to_string())).collect();
    let mut agent = house.agent();
    let pages: Vec<(Vec<i64>, Value)> = (0..3)
        .map(|_| agent.poll(json!({"limit": 2})))
        .map(|page| (ids(&page), page["remaining"].clone()))
        .collect();
    assert_eq!(
        pages,
        [
            (sent[..2].to_vec(), json!(3)),
            (sent[2..4].to_vec(), json!(3)),
            (sent[4..].to_vec(), json!(4)),
        ]
    );
}

#[test]
fn twenty_messages_are_a_page_when_no_limit_is_given() {
    let house = House::new();
    let _gateway = house.gateway();
    for n in 0..21 {
        house.say(&n.to_string());
    }
    house.wait_for_inbox(21);
    let shown = house.agent().poll(json!({}));
    assert_eq!((ids(&shown).len(), &shown["remaining"]), (20, &json!(1)));
}

#[test]
fn messages_that_came_before_the_clock_was_set_back_are_shown_at_once() {
    let house = House::new();
    // An hour ahead of the agent's clock.
    let gateway = house.gateway_with(&[("TELEPOST_TEST_CLOCK_MS", "3600000")]);
    gateway.wait_until_polling(&house);
    let short = house.arrive("short");
    let long = house.arrive(&"x".repeat(4096));
    let shown = house.agent().poll(json!({}));
    assert_eq!(ids(&shown), [short, long]);
}

#[test]
fn a_number_outside_of_its_range_is_refused_with_the_range() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    for (arguments, range) in [
        (json!({"limit": 0}), "`limit` is 0, but must be 1 to 100."),
        (
            json!({"limit": 101}),
            "`limit` is 101, but must be 1 to 100.",
        ),
        (json!({"limit": -1}), "`limit` is -1, but must be 1 to 100."),
        (
            json!({"wait_seconds": -1}),
            "`wait_seconds` is -1, but must be 0 to 50.",
        ),
        (
            json!({"wait_seconds": 51}),
            "`wait_seconds` is 51, but must be 0 to 50.",
        ),
    ] {
        let words = agent.call("telegram_poll", arguments).refused();
        assert_eq!(words, format!("{range} Nothing was changed; call again."));
    }
}

#[test]
fn a_call_with_a_number_out_of_range_acknowledges_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("keep me");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent
        .call("telegram_poll", json!({"ack": [id], "limit": 0}))
        .refused();
    assert_eq!(ids(&agent.poll(json!({}))), [id]);
}

#[test]
fn a_parameter_that_does_not_exist_is_refused_by_name() {
    let house = House::new();
    let _gateway = house.gateway();
    let words = house
        .agent()
        .call("telegram_poll", json!({"max": 5}))
        .refused();
    assert!(words.contains("no parameter `max`"), "{words}");
    assert!(words.contains("`wait_seconds`"), "{words}");
}

#[test]
fn a_waiting_poll_returns_as_soon_as_a_message_comes() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let began = Instant::now();
    let waiting = agent.begin("telegram_poll", json!({"wait_seconds": 50}));
    house.arrive("at last");
    let shown = agent.answer(waiting).ok();
    assert_eq!(
        (texts(&shown), again(&shown)),
        (vec!["at last"], vec![false])
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_poll_does_not_wait_when_a_message_is_there() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("here");
    let began = Instant::now();
    let shown = house.agent().poll(json!({"wait_seconds": 50}));
    assert_eq!(texts(&shown), ["here"]);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_waiting_poll_to_which_nothing_comes_ends_after_its_time_with_what_you_hold() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    house.arrive("held");
    agent.poll(json!({}));
    let began = Instant::now();
    let shown = agent.poll(json!({"wait_seconds": 1}));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!((texts(&shown), again(&shown)), (vec!["held"], vec![true]));
}

#[test]
fn an_empty_session_says_only_that_nothing_remains() {
    let house = House::new();
    let _gateway = house.gateway();
    let shown = house.agent().poll(json!({"wait_seconds": 1}));
    assert_eq!(shown, json!({"remaining": 0, "session": "ONE"}));
}

#[test]
fn acknowledged_messages_are_gone_for_good() {
    let house = House::new();
    let _gateway = house.gateway();
    let (one, two) = (house.arrive("one"), house.arrive("two"));
    let mut agent = house.agent();
    agent.poll(json!({}));
    let acked = agent.poll(json!({"ack": [one, two]}));
    assert_eq!(
        acked,
        json!({"remaining": 0, "session": "ONE", "acked": [one, two]})
    );
    // Durable: nothing of it is in the memory of the server.
    agent.kill();
    assert_eq!(
        house.agent().poll(json!({})),
        json!({"remaining": 0, "session": "ONE"})
    );
    assert_eq!(
        (house.names("inbox").len(), house.names("done").len()),
        (0, 2)
    );
}

#[test]
fn ack_is_carried_out_before_messages_are_shown() {
    let house = House::new();
    let _gateway = house.gateway();
    let one = house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let two = house.arrive("two");
    let shown = agent.poll(json!({"ack": [one]}));
    assert_eq!(ids(&shown), [two]);
    assert_eq!(
        without_messages(shown),
        json!({"remaining": 0, "session": "ONE", "acked": [one]})
    );
}

#[test]
fn ack_takes_one_of_the_messages_that_you_hold_and_leaves_the_others() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..3).map(|n| house.arrive(&n.to_string())).collect();
    let mut agent = house.agent();
    agent.poll(json!({}));
    let shown = agent.poll(json!({"ack": [sent[1]]}));
    assert_eq!(
        (ids(&shown), again(&shown)),
        (vec![sent[0], sent[2]], vec![true, true])
    );
}

#[test]
fn ack_of_what_was_not_shown_to_you_comes_back_and_does_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("unseen");
    let shown = house.agent().poll(json!({"ack": [id, 999]}));
    // The same call then shows it, because it still waits.
    assert_eq!(ids(&shown), [id]);
    assert_eq!(
        without_messages(shown),
        json!({"remaining": 0, "session": "ONE", "not_acked": [id, 999]})
    );
    assert_eq!(house.names("inbox").len(), 1);
}

#[test]
fn ack_of_what_another_agent_was_shown_comes_back() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("for one of you");
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    first.poll(json!({}));
    let refused = second.poll(json!({"ack": [id]}));
    assert_eq!(
        (&refused["not_acked"], &refused["acked"]),
        (&json!([id]), &Value::Null)
    );
    assert_eq!(first.poll(json!({"ack": [id]}))["acked"], json!([id]));
}

#[test]
fn ack_a_second_time_comes_back() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("once");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.poll(json!({"ack": [id]}));
    assert_eq!(
        agent.poll(json!({"ack": [id]})),
        json!({"remaining": 0, "session": "ONE", "not_acked": [id]})
    );
}
