//! The result of a cancelled call is never seen: what it showed was not shown, what it sent stands.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, House, again, ids, wait_for};

/// A call that was cancelled before it had an answer gets none.
#[track_caller]
fn assert_unanswered(agent: &mut Agent, call: i64) {
    agent.request("ping", json!({}));
    assert!(!agent.has_answered(call), "a cancelled call was answered");
}

#[test]
fn a_cancelled_poll_is_not_answered_any_more() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_in("first");
    let call = agent.begin("telegram_poll", json!({"wait_seconds": 50}));
    agent.cancel(call);
    house.arrive("too late");
    // Another agent being shown it means that the cancelled one had its chance.
    house.agent_in("second").poll(json!({}));
    assert_unanswered(&mut agent, call);
}

#[test]
fn a_message_that_comes_after_a_poll_was_cancelled_is_new_to_another_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut first = house.agent_in("first");
    let call = first.begin("telegram_poll", json!({"wait_seconds": 50}));
    first.cancel(call);
    first.request("ping", json!({}));
    let id = house.arrive("for anybody");
    let shown = house.agent_in("second").poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![false]));
}

#[test]
fn a_message_that_comes_while_a_poll_is_being_cancelled_is_held_by_nobody() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut first = house.agent_in("first");
    let mut second = house.agent_in("second");
    for round in 0..15 {
        let call = first.begin("telegram_poll", json!({"wait_seconds": 50}));
        let id = house.say(&format!("message {round}")).update_id.unwrap();
        first.cancel(call);
        house.wait_until_arrived(id);
        // Unless the result was out before the cancellation, and then it is taken back.
        let shown = wait_for("the message", || {
            let shown = second.poll(json!({}));
            if ids(&shown) == [id] {
                Ok(shown)
            } else {
                Err(shown)
            }
        });
        assert_eq!(again(&shown), [false], "round {round}");
        second.poll(json!({"ack": [id]}));
    }
}

#[test]
fn a_cancellation_that_comes_after_the_result_takes_the_showing_back() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("seen by nobody");
    let mut first = house.agent_in("first");
    let call = first.begin("telegram_poll", json!({}));
    wait_for("the answer", || {
        first.has_answered(call).then_some(()).ok_or("none")
    });
    first.cancel(call);
    let mut second = house.agent_in("second");
    let shown = wait_for("the message", || {
        let shown = second.poll(json!({}));
        if ids(&shown) == [id] {
            Ok(shown)
        } else {
            Err(shown)
        }
    });
    assert_eq!(again(&shown), [false]);
    first
        .call("telegram_reply", json!({"text": "answer"}))
        .refused();
}

#[test]
fn a_poll_right_after_a_cancelled_one_shows_the_message_as_new_and_holds_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    for round in 0..15 {
        let id = house.arrive(&format!("message {round}"));
        let call = agent.begin("telegram_poll", json!({}));
        wait_for("the answer", || {
            agent.has_answered(call).then_some(()).ok_or("none")
        });
        agent.cancel(call);
        let shown = agent.poll(json!({}));
        assert_eq!(
            (ids(&shown), again(&shown)),
            (vec![id], vec![false]),
            "round {round}"
        );
        let answered = agent.reply(json!({"text": format!("answer {round}")}));
        assert_eq!(answered["acked"], json!([id]), "round {round}");
    }
}

#[test]
fn what_was_held_before_a_cancelled_call_stays_held() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("held");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let call = agent.begin("telegram_poll", json!({}));
    wait_for("the answer", || {
        agent.has_answered(call).then_some(()).ok_or("none")
    });
    agent.cancel(call);
    agent.request("ping", json!({}));
    assert_eq!(agent.reply(json!({"text": "answer"}))["acked"], json!([id]));
}

#[test]
fn a_showing_that_was_taken_back_does_not_make_the_same_text_new() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("a question");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"text": "answer"}));
    house.arrive("seen by nobody");
    let call = agent.begin("telegram_poll", json!({}));
    wait_for("the answer", || {
        agent.has_answered(call).then_some(()).ok_or("none")
    });
    agent.cancel(call);
    assert_eq!(agent.reply(json!({"text": "answer"}))["repeat"], true);
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn a_cancelled_telegram_reply_without_text_remembers_no_conversation() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    house.arrive_in(crate::support::GROUP, "group");
    let mut agent = house.agent();
    let call = agent.begin("telegram_reply", json!({}));
    wait_for("the answer", || {
        agent.has_answered(call).then_some(()).ok_or("none")
    });
    agent.cancel(call);
    assert_eq!(again(&agent.poll(json!({}))), [false, false]);
    let words = agent
        .call("telegram_reply", json!({"text": "answer"}))
        .refused();
    assert!(
        words.starts_with("You hold messages of 2 conversations"),
        "{words}"
    );
}

#[test]
fn an_ack_stands_although_its_call_was_cancelled_while_it_waited() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("done with it");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let call = agent.begin("telegram_poll", json!({"ack": [id], "wait_seconds": 50}));
    house.wait_for_inbox(0);
    agent.cancel(call);
    assert_eq!(
        agent.poll(json!({})),
        json!({"remaining": 0, "session": "ONE"})
    );
}

#[test]
fn a_cancelled_reply_that_was_committed_stands_and_its_repetition_is_recognised() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("a question");
    let mut agent = house.agent();
    agent.poll(json!({}));
    house
        .sim
        .fault(Fault::on(house.bot()).method("sendMessage").hang());
    let call = agent.begin("telegram_reply", json!({"text": "answer"}));
    house.wait_for_inbox(0);
    agent.cancel(call);
    house.sim.clear_faults();
    let repeated = agent.reply(json!({"text": "answer"}));
    assert_eq!(
        (&repeated["status"], &repeated["repeat"]),
        (&json!("delivered"), &json!(true))
    );
    assert_unanswered(&mut agent, call);
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn a_cancellation_of_a_call_that_nobody_made_does_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.cancel(4711);
    agent.notify("notifications/cancelled", json!({"reason": "no id"}));
    let shown = agent.poll(json!({}));
    assert_eq!((ids(&shown), &shown["remaining"]), (vec![id], &json!(0)));
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["repeat"],
        Value::Null
    );
}

#[test]
fn a_cancelled_showing_of_another_conversation_leaves_the_one_that_is_being_answered() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let private = house.arrive("private");
    let group = house.arrive_in(crate::support::GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"to": private}));
    let call = agent.begin("telegram_reply", json!({"to": group}));
    wait_for("the answer", || {
        agent.has_answered(call).then_some(()).ok_or("none")
    });
    agent.cancel(call);
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["acked"],
        json!([private])
    );
}

#[test]
fn a_showing_that_was_taken_back_begins_no_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("a long task");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"text": "reading", "keep_open": true}));
    house.wait_until_sent();
    house.arrive("seen by nobody");
    let call = agent.begin("telegram_poll", json!({}));
    wait_for("the answer", || {
        agent.has_answered(call).then_some(()).ok_or("none")
    });
    agent.cancel(call);
    agent.reply(json!({"text": "writing", "keep_open": true}));
    house.wait_until_sent();
    assert_eq!(house.heard(), ["writing"]);
}

#[test]
fn a_reply_right_after_a_cancelled_showing_settles_nothing_that_it_showed() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    for round in 0..15 {
        let seen = house.arrive(&format!("seen {round}"));
        agent.poll(json!({}));
        let unseen = house.arrive(&format!("unseen {round}"));
        let call = agent.begin("telegram_poll", json!({}));
        wait_for("the answer", || {
            agent.has_answered(call).then_some(()).ok_or("none")
        });
        agent.cancel(call);
        let answered = agent.reply(json!({"text": format!("answer {round}")}));
        assert_eq!(answered["acked"], json!([seen]), "round {round}");
        let shown = agent.poll(json!({}));
        assert_eq!(
            (ids(&shown), again(&shown)),
            (vec![unseen], vec![false]),
            "round {round}"
        );
        agent.poll(json!({"ack": [unseen]}));
    }
}
