//! The agent is told of a failed delivery, once, at its next call.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, House};

/// The next request that sends something is refused for good.
fn refuse(house: &House) {
    let refuse = Fault::on(house.bot()).method("sendMessage");
    house
        .sim
        .fault(refuse.error(400, "Bad Request: message text is empty"));
}

/// An agent whose answer failed after it was told `accepted`: the gateway was down meanwhile.
pub(crate) fn failed_behind_its_back(house: &House) -> Agent {
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "the long awaited answer"}));
    refuse(house);
    let gateway = house.gateway();
    house.wait_until_sent();
    assert!(gateway.stop().success());
    agent
}

pub(crate) fn told(result: &Value) -> Vec<&str> {
    let notices = result["notices"].as_array().into_iter().flatten();
    notices
        .filter_map(Value::as_str)
        .filter(|notice| notice.starts_with("Not delivered"))
        .collect()
}

#[test]
fn a_failure_is_told_at_the_next_call_and_never_again() {
    let house = House::new();
    let mut agent = failed_behind_its_back(&house);
    let result = agent.poll(json!({}));
    let [notice] = told(&result)[..] else {
        panic!("{result}")
    };
    for words in ["the long awaited answer", "message text is empty"] {
        assert!(notice.contains(words), "{notice}");
    }
    for _ in 0..2 {
        assert_eq!(told(&agent.poll(json!({}))), [""; 0]);
    }
    assert_eq!(house.status()["sessions"][0]["failed"], 1);
}

#[test]
fn a_failure_is_told_by_every_tool() {
    for tool in ["show", "text", "react"] {
        let house = House::new();
        let mut agent = failed_behind_its_back(&house);
        let asked = house.sim.confirmed(house.bot())[0];
        let (name, arguments) = match tool {
            "show" => ("telegram_reply", json!({})),
            "text" => ("telegram_reply", json!({"text": "more", "to": "home"})),
            _ => ("telegram_react", json!({"emoji": "👍", "to": asked})),
        };
        let result = agent.call(name, arguments).ok();
        assert_eq!(told(&result).len(), 1, "{tool}: {result}");
        assert_eq!(told(&agent.poll(json!({}))), [""; 0], "{tool}");
    }
}

#[test]
fn an_error_tells_nothing_so_the_next_result_does() {
    let house = House::new();
    let mut agent = failed_behind_its_back(&house);
    agent
        .call("telegram_reply", json!({"text": "to whom?"}))
        .refused();
    assert_eq!(told(&agent.poll(json!({}))).len(), 1);
}

#[test]
fn a_failure_is_not_told_to_another_agent_while_its_own_lives() {
    let house = House::new();
    let mut agent = failed_behind_its_back(&house);
    let mut other = house.agent_in("another");
    assert_eq!(told(&other.poll(json!({}))), [""; 0]);
    assert_eq!(told(&agent.poll(json!({}))).len(), 1);
}

#[test]
fn a_failure_of_an_agent_that_is_gone_is_told_to_the_next_one() {
    let house = House::new();
    let agent = failed_behind_its_back(&house);
    agent.kill();
    let result = house.agent_in("another").poll(json!({}));
    assert_eq!(told(&result).len(), 1, "{result}");
}

#[test]
fn a_failure_that_the_reply_itself_has_reported_is_not_told_again() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    refuse(&house);
    assert_eq!(agent.reply(json!({"text": "hi"}))["status"], "failed");
    assert_eq!(told(&agent.poll(json!({}))), [""; 0]);
}

#[test]
fn a_failure_whose_result_the_client_gave_up_is_told_again() {
    let house = House::new();
    let mut agent = failed_behind_its_back(&house);
    let _gateway = house.gateway();
    let id = agent.begin("telegram_poll", json!({"wait_seconds": 20}));
    agent.cancel(id);
    let result = agent.poll(json!({}));
    assert_eq!(told(&result).len(), 1, "{result}");
}
