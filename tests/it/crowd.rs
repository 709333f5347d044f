//! Many agents on one session: they do not keep each other from it.

use std::thread;

use serde_json::{Value, json};

use crate::support::{Agent, House, ids};

/// How many agents wait for one message.
const AGENTS: usize = 200;

#[test]
fn of_many_agents_that_report_at_the_same_time_each_is_heard() {
    let house = House::new();
    drop(house.gateway());
    let mut agents: Vec<Agent> = (0..60).map(|_| house.agent()).collect();
    let call = |(number, agent): (usize, &mut Agent)| {
        let report = json!({"text": format!("report {number}"), "to": "home"});
        let thread = json!({"threadId": format!("agent-{number}")});
        agent.begin_with("telegram_reply", report, thread)
    };
    let calls: Vec<i64> = agents.iter_mut().enumerate().map(call).collect();
    for (agent, call) in agents.iter_mut().zip(calls) {
        assert_eq!(agent.answer(call).ok()["status"], "accepted");
    }
    assert_eq!(house.names("outbox").len(), agents.len());
}

#[test]
fn one_of_two_hundred_waiting_agents_is_shown_a_message_and_the_others_return_empty() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agents: Vec<Agent> = (0..AGENTS).map(|_| house.agent()).collect();
    // Known to the session, so that all of them wait.
    for (number, agent) in agents.iter_mut().enumerate() {
        let thread = json!({"threadId": format!("agent-{number}")});
        let call = agent.begin_with("telegram_poll", json!({}), thread);
        assert_eq!(agent.answer(call).ok()["remaining"], 0);
    }
    let waiting = agents.into_iter().enumerate().map(|(number, mut agent)| {
        let thread = json!({"threadId": format!("agent-{number}")});
        let call = agent.begin_with("telegram_poll", json!({"wait_seconds": 8}), thread);
        (agent, call)
    });
    let waiting: Vec<(Agent, i64)> = waiting.collect();
    let id = house.arrive("for one of you");
    let answers = waiting.into_iter().map(|(mut agent, call)| {
        // Each keeps living until all have answered.
        thread::spawn(move || (agent.answer(call).ok(), agent))
    });
    let answers: Vec<_> = answers.collect();
    let answers: Vec<(Value, Agent)> = answers.into_iter().map(|one| one.join().unwrap()).collect();
    let shown = answers.iter().filter(|(answer, _)| ids(answer) == [id]);
    assert_eq!(shown.count(), 1);
    for (answer, _) in &answers {
        let is_empty = answer["messages"].is_null();
        assert!(ids(answer) == [id] || is_empty, "{answer}");
        assert_eq!(answer["remaining"], i32::from(is_empty), "{answer}");
    }
}
