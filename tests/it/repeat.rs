//! Models repeat calls whose result they lost: a repetition sends nothing, anything else is sent.

use serde_json::{Value, json};

use crate::support::{Agent, Answer, House, OWNER};

fn asked(house: &House) -> Agent {
    house.arrive("a question");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent
}

/// The result of an earlier reply, as a repetition of it returns it.
fn repeated(earlier: &Value) -> Value {
    let mut result = earlier.clone();
    result["repeat"] = json!(true);
    result
}

#[test]
fn the_same_text_again_sends_nothing_and_returns_the_first_result() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    let first = agent.reply(json!({"text": "answer"}));
    assert_eq!(agent.reply(json!({"text": "answer"})), repeated(&first));
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn the_same_text_again_is_recognised_by_a_restarted_server() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    let first = agent.reply(json!({"text": "answer"}));
    agent.kill();
    assert_eq!(
        house.agent().reply(json!({"text": "answer"})),
        repeated(&first)
    );
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn the_same_text_is_sent_when_something_was_newly_shown_in_between() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    agent.reply(json!({"text": "yes"}));
    let id = house.arrive("and this?");
    agent.poll(json!({}));
    let second = agent.reply(json!({"text": "yes"}));
    assert_eq!(
        (&second["acked"], &second["repeat"]),
        (&json!([id]), &Value::Null)
    );
    assert_eq!(house.heard(), ["yes", "yes"]);
}

#[test]
fn a_message_that_was_not_shown_does_not_make_the_same_text_new() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    agent.reply(json!({"text": "yes"}));
    house.arrive("unseen");
    let second = agent.reply(json!({"text": "yes"}));
    assert_eq!(
        (&second["repeat"], &second["remaining"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(house.heard(), ["yes"]);
}

#[test]
fn showing_held_messages_again_does_not_make_the_same_text_new() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    house.arrive_in(crate::support::GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({}));
    agent.reply(json!({"text": "answer"}));
    agent.poll(json!({}));
    assert_eq!(agent.reply(json!({"text": "answer"}))["repeat"], true);
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn another_text_is_sent() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    agent.reply(json!({"text": "answer"}));
    agent.reply(json!({"text": "better answer", "to": "home"}));
    assert_eq!(house.heard(), ["answer", "better answer"]);
}

#[test]
fn the_text_before_the_last_is_sent_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    for text in ["yes", "no", "yes"] {
        agent.reply(json!({"text": text, "to": "home"}));
    }
    assert_eq!(house.heard(), ["yes", "no", "yes"]);
}

#[test]
fn the_same_text_to_another_conversation_is_sent() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("private");
    let group = house.arrive_in(crate::support::GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"text": "yes", "to": "home"}));
    let second = agent.reply(json!({"text": "yes", "to": group}));
    assert_eq!(
        (&second["acked"], &second["repeat"]),
        (&json!([group]), &Value::Null)
    );
    assert_eq!(
        (
            house.heard().len(),
            house.bot_lines(crate::support::GROUP).len()
        ),
        (1, 1)
    );
}

#[test]
fn the_same_text_is_sent_after_ten_minutes() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    agent.reply(json!({"text": "still at it", "to": "home"}));
    let later = |minutes: i64| {
        let shift = (minutes * 60_000).to_string();
        Agent::start(
            house
                .agent_command("ONE")
                .env("TELEPOST_TEST_CLOCK_MS", shift),
        )
        .reply(json!({"text": "still at it", "to": "home"}))
    };
    assert_eq!(later(9)["repeat"], true);
    assert_eq!(later(11)["repeat"], Value::Null);
    assert_eq!(house.heard(), ["still at it", "still at it"]);
}

#[test]
fn the_same_text_of_another_agent_is_sent() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    for thread in ["first", "second"] {
        house
            .agent_in(thread)
            .reply(json!({"text": "ready", "to": "home"}));
    }
    assert_eq!(house.heard(), ["ready", "ready"]);
}

#[test]
fn a_call_of_the_client_is_never_carried_out_twice() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    let call = json!({"text": "answer"});
    let first = agent
        .call_as("toolu_1", "telegram_reply", call.clone())
        .ok();
    // Something newly shown makes the same text new, but not the same call.
    house.arrive("another question");
    agent.poll(json!({}));
    let mut second = agent.call_as("toolu_1", "telegram_reply", call).ok();
    assert_eq!(second["remaining"], 1);
    second["remaining"] = json!(0);
    assert_eq!(second, repeated(&first));
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn a_call_of_the_client_is_recognised_after_the_server_was_killed() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = asked(&house);
    gateway.kill();
    let call = json!({"text": "answer"});
    let first = agent
        .call_as("toolu_1", "telegram_reply", call.clone())
        .ok();
    agent.kill();
    let second = house
        .agent()
        .call_as("toolu_1", "telegram_reply", call)
        .ok();
    assert_eq!(second, repeated(&first));
    let _gateway = house.gateway();
    house.wait_until_sent();
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn the_same_text_to_home_in_another_call_is_another_report() {
    let house = House::new();
    let gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    let report = json!({"text": "still at it", "to": "home"});
    let mut agent = house.agent();
    let send = |agent: &mut Agent, call: &str| {
        let result = agent.call_as(call, "telegram_reply", report.clone()).ok();
        result["repeat"].clone()
    };
    assert_eq!(send(&mut agent, "toolu_1"), Value::Null);
    assert_eq!(send(&mut agent, "toolu_2"), Value::Null);
    gateway.kill();
    assert_eq!(send(&mut agent, "toolu_3"), Value::Null);
    agent.kill();
    let mut agent = house.agent();
    assert_eq!(send(&mut agent, "toolu_3"), json!(true));
    assert_eq!(send(&mut agent, "toolu_1"), json!(true));
    let _gateway = house.gateway();
    house.wait_to_hear(&["still at it"; 3]);
}

#[test]
fn a_progress_call_is_never_carried_out_twice() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = asked(&house);
    gateway.kill();
    let call = json!({"text": "reading", "keep_open": true});
    agent
        .call_as("toolu_1", "telegram_reply", call.clone())
        .ok();
    let second = agent.call_as("toolu_1", "telegram_reply", call).ok();
    assert_eq!(
        (&second["repeat"], house.names("outbox").len()),
        (&json!(true), 1)
    );
}

#[test]
fn a_reaction_call_is_never_carried_out_twice() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = asked(&house);
    gateway.kill();
    let call = json!({"emoji": "👍"});
    agent
        .call_as("toolu_1", "telegram_react", call.clone())
        .ok();
    let second = agent.call_as("toolu_1", "telegram_react", call).ok();
    assert_eq!(
        (&second["repeat"], house.names("outbox").len()),
        (&json!(true), 1)
    );
}

#[test]
fn a_call_id_that_is_used_for_other_arguments_is_another_call() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = asked(&house);
    let send = |agent: &mut Agent, arguments: Value| -> Answer {
        agent.call_as("call_1", "telegram_reply", arguments)
    };
    send(&mut agent, json!({"text": "answer"})).ok();
    let second = send(&mut agent, json!({"text": "another", "to": "home"})).ok();
    assert_eq!(second["repeat"], Value::Null);
    assert_eq!(house.heard(), ["answer", "another"]);
}

#[test]
fn a_refused_call_may_be_made_again_under_its_id() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("a question");
    let mut agent = house.agent();
    let call = json!({"text": "answer"});
    agent
        .call_as("toolu_1", "telegram_reply", call.clone())
        .refused();
    agent.poll(json!({}));
    let answered = agent.call_as("toolu_1", "telegram_reply", call).ok();
    assert_eq!(answered["acked"], json!([id]));
}
