//! Several agents of one session: each answers what it was shown, and what a dead one held comes again.

use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::support::{Agent, House, OWNER, again, ids};

/// The notice about messages that another agent holds.
fn busy(count: usize) -> Value {
    json!([format!(
        "Another agent of this session (test-client, pid {}) is answering {count} message(s); they are offered to you if it ends or makes no call for 30 minutes.",
        std::process::id()
    )])
}

/// An agent of a thread so many minutes later.
fn agent_later(house: &House, thread: &str, minutes: i64) -> Agent {
    let shift = (minutes * 60_000).to_string();
    Agent::start(
        house
            .agent_command("ONE")
            .env("TELEPOST_TEST_CLOCK_MS", shift),
    )
    .thread(thread)
}

#[test]
fn what_another_agent_holds_is_not_shown_but_counted_and_said() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    house.arrive("two");
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    first.poll(json!({"limit": 2}));
    assert_eq!(
        second.poll(json!({})),
        json!({"remaining": 2, "session": "ONE", "notices": busy(2)})
    );
    assert_eq!(
        second.reply(json!({})),
        json!({"remaining": 2, "session": "ONE", "notices": busy(2)})
    );
}

#[test]
fn what_several_agents_of_one_client_hold_is_counted_together() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agents = ["a", "b", "c"].map(|thread| house.agent_in(thread));
    for (agent, text) in agents.iter_mut().zip(["one", "two"]) {
        house.arrive(text);
        agent.poll(json!({}));
    }
    assert_eq!(
        agents[2].poll(json!({})),
        json!({"remaining": 2, "session": "ONE", "notices": busy(2)})
    );
}

#[test]
fn two_agents_share_what_comes_without_doubles() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..4).map(|n| house.arrive(&n.to_string())).collect();
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    assert_eq!(ids(&first.poll(json!({"limit": 3}))), sent[..3]);
    let rest = second.poll(json!({}));
    assert_eq!(
        (ids(&rest), &rest["remaining"]),
        (sent[3..].to_vec(), &json!(3))
    );
    assert_eq!(ids(&first.poll(json!({}))), sent[..3]);
}

#[test]
fn a_reply_settles_only_what_was_shown_to_its_own_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    let one = house.arrive("one");
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    first.poll(json!({}));
    let two = house.arrive("two");
    second.poll(json!({}));
    let by_second = second.reply(json!({"text": "to two"}));
    assert_eq!(
        (&by_second["acked"], &by_second["remaining"]),
        (&json!([two]), &json!(1))
    );
    let by_first = first.reply(json!({"text": "to one"}));
    assert_eq!(
        (&by_first["acked"], &by_first["remaining"]),
        (&json!([one]), &json!(0))
    );
    assert_eq!(house.heard(), ["to two", "to one"]);
}

#[test]
fn a_message_that_another_agent_holds_cannot_be_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    first.poll(json!({}));
    for arguments in [json!({"text": "mine", "to": id}), json!({"to": id})] {
        let words = second.call("telegram_reply", arguments).refused();
        assert_eq!(
            words,
            format!(
                "Message {id} is being answered by another agent of this session. Leave it to that agent, or wait until it ends or makes no call for 30 minutes."
            )
        );
    }
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn a_reply_without_anything_held_is_refused_although_another_agent_holds_something() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let (mut first, mut second) = (house.agent_in("first"), house.agent_in("second"));
    first.poll(json!({}));
    let words = second
        .call("telegram_reply", json!({"text": "mine"}))
        .refused();
    assert!(
        words.contains("No message is waiting for an answer."),
        "{words}"
    );
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn what_a_dead_agent_held_is_offered_again_and_can_be_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    first.kill();
    let mut second = house.agent_in("second");
    let shown = second.poll(json!({}));
    assert_eq!(
        (ids(&shown), again(&shown), &shown["notices"]),
        (vec![id], vec![true], &Value::Null)
    );
    assert_eq!(
        second.reply(json!({"text": "taken over"}))["acked"],
        json!([id])
    );
}

#[test]
fn an_agent_whose_message_was_taken_over_cannot_settle_it_any_more() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    first.kill();
    let mut second = house.agent_in("second");
    second.poll(json!({}));
    // The thread comes back in another server.
    let mut first = house.agent_in("first");
    first
        .call("telegram_reply", json!({"text": "late"}))
        .refused();
    assert_eq!(first.poll(json!({"ack": [id]}))["not_acked"], json!([id]));
    assert_eq!(
        second.reply(json!({"text": "in time"}))["acked"],
        json!([id])
    );
    assert_eq!(house.heard(), ["in time"]);
}

#[test]
fn an_agent_that_closes_its_server_leaves_its_messages_to_others() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    first.close();
    let shown = house.agent_in("second").poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
}

#[test]
fn an_agent_that_is_silent_for_less_than_thirty_minutes_keeps_its_messages() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    let shown = agent_later(&house, "second", 29).poll(json!({}));
    assert_eq!(
        (&shown["remaining"], &shown["messages"]),
        (&json!(1), &Value::Null)
    );
    // To this agent the gateway seems to be silent, too.
    assert_eq!(shown["notices"][1], busy(1)[0]);
}

#[test]
fn what_a_living_agent_holds_is_offered_again_after_thirty_minutes_of_silence() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    let mut second = agent_later(&house, "second", 31);
    let shown = second.poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
    // From now on it belongs to the second.
    first
        .call("telegram_reply", json!({"text": "late"}))
        .refused();
    assert_eq!(
        second.reply(json!({"text": "in time"}))["acked"],
        json!([id])
    );
}

#[test]
fn a_reaction_breaks_the_silence() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    // The server that has shown it lives on.
    let mut asleep = house.agent_in("first");
    asleep.poll(json!({}));
    let mut first = agent_later(&house, "first", 20);
    first.call("telegram_react", json!({"emoji": "👀"})).ok();
    let shown = agent_later(&house, "second", 40).poll(json!({}));
    assert_eq!(ids(&shown), [0; 0]);
}

#[test]
fn two_threads_of_one_server_are_two_agents() {
    let house = House::new();
    let _gateway = house.gateway();
    let one = house.arrive("one");
    let mut server = house.agent_in("first");
    server.poll(json!({}));
    let two = house.arrive("two");
    let mut server = server.thread("second");
    assert_eq!(ids(&server.poll(json!({}))), [two]);
    let mut server = server.thread("first");
    assert_eq!(
        server.reply(json!({"text": "to one"}))["acked"],
        json!([one])
    );
}

#[test]
fn two_servers_of_one_client_process_are_one_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let (mut first, mut second) = (house.agent(), house.agent());
    first.poll(json!({}));
    let shown = second.poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
    assert_eq!(
        second.reply(json!({"text": "answer"}))["acked"],
        json!([id])
    );
}

/// Asserts that a server process refuses to answer before it has shown the message itself.
#[track_caller]
fn assert_must_look_first(agent: &mut Agent, id: i64, answer: Value) {
    let words = agent.call("telegram_reply", answer).refused();
    let begin = format!("The result that showed message {id} may not have reached you");
    assert!(words.starts_with(&begin), "{words}");
}

#[test]
fn a_server_that_its_client_starts_anew_shows_the_messages_again_before_it_answers() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let private = house.arrive("private");
    let group = house.arrive_in(crate::support::GROUP, "group");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.kill();
    let mut agent = house.agent();
    assert_must_look_first(&mut agent, group, json!({"text": "answer", "to": group}));
    let shown = agent.poll(json!({}));
    assert_eq!(
        (ids(&shown), again(&shown)),
        (vec![private, group], vec![true, true])
    );
    let answered = agent.reply(json!({"text": "answer", "to": group}));
    assert_eq!(answered["acked"], json!([group]));
}

#[test]
fn a_resumed_thread_in_another_server_shows_the_message_again_before_it_answers() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("same");
    first.poll(json!({}));
    // Both servers live: what the other one has shown is not known here.
    let mut second = house.agent_in("same");
    assert_must_look_first(&mut second, id, json!({"text": "answer"}));
    assert_eq!(second.poll(json!({"ack": [id]}))["not_acked"], json!([id]));
    assert_must_look_first(&mut first, id, json!({"text": "answer"}));
    let answered = second.reply(json!({"text": "answer"}));
    assert_eq!(answered["acked"], json!([id]));
    assert_eq!(house.heard(), ["answer"]);
}

#[test]
fn a_living_thread_does_not_keep_what_its_dead_server_has_shown() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut first = house.agent_in("first");
    first.poll(json!({}));
    first.kill();
    // The thread lives again and has not looked yet.
    let mut first = house.agent_in("first");
    assert_must_look_first(&mut first, id, json!({"text": "answer"}));
    let shown = house.agent_in("second").poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
}

#[test]
fn the_holds_of_an_earlier_version_are_shown_again_before_they_are_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut agent = house.agent_in("same");
    agent.poll(json!({}));
    agent.kill();
    let [name] = &house.names("conversations")[..] else {
        panic!("one agent was there")
    };
    let path = house.session("conversations").join(name);
    let mut old: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    old["answering"] = old["held"][0]["address"].clone();
    let held = old["held"][0].as_object_mut().unwrap();
    held.retain(|key, _| key != "server" && key != "shown_at");
    held.insert("seen".to_owned(), json!(false));
    held.insert("show".to_owned(), json!(7));
    std::fs::write(&path, old.to_string()).unwrap();
    std::fs::create_dir(house.session("seen")).unwrap();
    let mark = name.replace(".json", ".7");
    std::fs::write(house.session("seen").join(mark), "").unwrap();
    let mut agent = house.agent_in("same");
    assert_must_look_first(&mut agent, id, json!({"text": "answer"}));
    let shown = agent.poll(json!({}));
    assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
    let answered = agent.reply(json!({"text": "answer"}));
    assert_eq!(answered["acked"], json!([id]));
}

/// Each round: a question is shown, the server is killed, a new one shows it again and answers.
fn rounds(count: usize) -> usize {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let mut questions = Vec::new();
    for round in 0..count {
        let id = house.arrive(&format!("question {round}"));
        let shown = agent.poll(json!({}));
        assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![false]));
        agent.kill();
        agent = house.agent();
        let answer = json!({"text": format!("answer {round}")});
        assert_must_look_first(&mut agent, id, answer.clone());
        let shown = agent.poll(json!({}));
        assert_eq!((ids(&shown), again(&shown)), (vec![id], vec![true]));
        let answered = agent
            .call_as(&format!("toolu_{round}"), "telegram_reply", answer)
            .ok();
        assert_eq!(
            (&answered["acked"], &answered["remaining"]),
            (&json!([id]), &json!(0))
        );
        questions.push(format!("question {round}"));
        questions.push(format!("answer {round}"));
    }
    let lines = house.sim.transcript(house.bot(), OWNER);
    let said: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(said, questions);
    house.heard_counts().len()
}

#[test]
fn a_hundred_kills_between_showing_and_answering_cost_and_double_nothing() {
    let (told, heard) = channel();
    for _ in 0..4 {
        let told = told.clone();
        std::thread::spawn(move || told.send(rounds(25)));
    }
    drop(told);
    // A panicking round says nothing.
    assert_eq!(heard.iter().collect::<Vec<_>>(), [25; 4]);
}

#[test]
fn agents_that_poll_at_the_same_time_are_never_shown_the_same_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..6).map(|n| house.arrive(&n.to_string())).collect();
    let mut agents: Vec<Agent> = ["a", "b", "c"].map(|thread| house.agent_in(thread)).into();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let calls: Vec<i64> = agents
            .iter_mut()
            .map(|agent| agent.begin("telegram_poll", json!({"limit": 1})))
            .collect();
        for (agent, call) in agents.iter_mut().zip(calls) {
            shown.extend(ids(&agent.answer(call).ok()));
        }
    }
    shown.sort_unstable();
    assert_eq!(shown, sent);
}

#[test]
fn a_message_whose_showing_was_lost_is_not_acknowledged_by_the_agent_that_never_saw_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("read me first");
    let mut dying = Agent::start(
        house
            .agent_command("ONE")
            .env("TELEPOST_CRASH_AT", "answer:before"),
    )
    .thread("same");
    let call = dying.begin("telegram_poll", json!({}));
    assert!(dying.try_answer(call).is_none());
    let mut agent = house.agent_in("same");
    let answered = agent.poll(json!({"ack": [id]}));
    assert_eq!(answered["not_acked"], json!([id]));
    assert_eq!(ids(&answered), [id]);
}
