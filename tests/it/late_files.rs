//! A message that is answered before its file has come stays answered, and its agent is told when the file
//! is there, or never will be.

use serde_json::{Value, json};
use telegram_sim::{Fault, FaultId, Sent};

use crate::attachments::{bytes, is_there, send, strike, wait_until_struck};
use crate::support::{Agent, House, texts, wait_for};

/// A house whose agent was shown a message and answered it while its file was on its way.
struct Answered {
    house: House,
    agent: Agent,
    sent: Sent,
    content: Vec<u8>,
    fault: FaultId,
}

/// `fault` keeps the file from coming when that method is called.
fn answered(house: House, method: &str, fault: impl FnOnce(Fault) -> Fault) -> Answered {
    let fault = strike(&house, method, fault);
    let content = bytes(1, 70_000);
    let sent = send(&house, "doc", content.clone(), "look at this");
    wait_until_struck(&house, fault);
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    assert_eq!(
        shown["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
    let answer = agent.reply(json!({"text": "in a moment"}));
    assert_eq!(answer["acked"], json!([sent.update_id]));
    assert_eq!(house.names("inbox"), [""; 0]);
    Answered {
        house,
        agent,
        sent,
        content,
        fault,
    }
}

impl Answered {
    fn id(&self) -> i64 {
        self.sent.update_id.unwrap()
    }

    /// The message when it is asked for by its number.
    fn looked_at(&mut self) -> Value {
        let id = self.id();
        self.agent.poll(json!({"message": id}))
    }
}

/// The files of a result.
fn told(result: &Value) -> Vec<&str> {
    let notices = result["notices"].as_array().into_iter().flatten();
    let notices = notices.map(|notice| notice.as_str().unwrap());
    notices
        .filter(|notice| notice.contains("was settled before its download ended"))
        .collect()
}

/// Calls until the agent is told of a file.
#[track_caller]
fn wait_to_be_told(agent: &mut Agent) -> String {
    wait_for("a word about the file", || {
        let shown = agent.poll(json!({}));
        match told(&shown).as_slice() {
            [] => Err(shown),
            words => Ok(words.concat()),
        }
    })
}

#[test]
fn the_agent_is_told_once_when_the_file_has_come_and_can_see_where_it_is() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut all = answered(house, "download", Fault::stalled);
    let (id, content) = (all.id(), all.content.clone());
    assert_eq!(told(&all.agent.poll(json!({}))), [""; 0], "it has not come");
    let looked_at = all.looked_at();
    assert_eq!(
        looked_at["messages"][0]["attachments"][0]["state"],
        "downloading"
    );
    // A call that waits does not wait on when there is that to tell.
    let waiting = all
        .agent
        .begin("telegram_poll", json!({"wait_seconds": 50}));
    all.house.sim.clear_fault(all.fault);
    let shown = all.agent.answer(waiting).ok();
    assert_eq!(
        (shown.get("messages"), &shown["remaining"]),
        (None, &json!(0))
    );
    assert_eq!(
        told(&shown),
        [format!(
            "Message {id} was settled before its download ended. Its file is here now. Call telegram_poll with `message`: {id} for the path, or the reason why there is none."
        )]
    );
    let looked_at = all.looked_at();
    assert_eq!(told(&looked_at), [""; 0], "told twice");
    let message = &looked_at["messages"][0];
    assert_eq!(
        (&message["update_id"], &message["again"]),
        (&json!(id), &json!(true))
    );
    is_there(&message["attachments"][0], &content);
    // It stays answered.
    let refusal = all
        .agent
        .call("telegram_reply", json!({"text": "once more"}));
    assert!(refusal.refused().contains("hold no message"), "held anew");
    let ack = all.agent.poll(json!({"ack": [id]}));
    assert_eq!(ack["not_acked"], json!([id]));
    assert_eq!(all.house.heard(), ["in a moment"]);
}

#[test]
fn a_gateway_that_is_killed_in_between_leaves_the_file_to_the_next_one() {
    let house = House::new();
    let gateway = house.gateway();
    let mut all = answered(house, "download", |fault| fault.stalled().always());
    gateway.kill();
    all.house.sim.clear_faults();
    let _gateway = all.house.gateway();
    let words = wait_to_be_told(&mut all.agent);
    assert!(words.contains("Its file is here now"), "{words}");
    let content = all.content.clone();
    is_there(&all.looked_at()["messages"][0]["attachments"][0], &content);
}

#[test]
fn an_agent_that_is_killed_before_it_has_noted_its_answer_loses_no_file() {
    for point in ["accept:after", "release:before"] {
        let house = House::new();
        let _gateway = house.gateway();
        let fault = strike(&house, "download", |fault| fault.stalled().always());
        let content = bytes(1, 70_000);
        let sent = send(&house, "doc", content.clone(), "look at this");
        wait_until_struck(&house, fault);
        let mut command = house.agent_command("ONE");
        let mut agent = Agent::start(command.env("TELEPOST_CRASH_AT", point));
        agent.wait_for_message();
        agent.begin("telegram_reply", json!({"text": "in a moment"}));
        agent.end();
        house.wait_to_hear(&["in a moment"]);
        house.sim.clear_faults();
        let mut agent = house.agent();
        wait_to_be_told(&mut agent);
        let looked_at = agent.poll(json!({"message": sent.update_id}));
        is_there(&looked_at["messages"][0]["attachments"][0], &content);
        assert_eq!(house.heard(), ["in a moment"], "{point}");
    }
}

#[test]
fn a_file_that_never_comes_is_explained() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut all = answered(house, "getFile", Fault::stalled);
    strike(&all.house, "download", |fault| {
        fault.error(404, "Not Found").always()
    });
    all.house.sim.clear_fault(all.fault);
    let words = wait_to_be_told(&mut all.agent);
    assert!(words.contains("Its file cannot be downloaded"), "{words}");
    let looked_at = all.looked_at();
    let file = &looked_at["messages"][0]["attachments"][0];
    assert_eq!(file["state"], "failed");
    assert!(file["reason"].as_str().unwrap().contains("Not Found"));
}

#[test]
fn what_a_dead_agent_was_to_be_told_the_next_one_is_and_no_other() {
    let house = House::new();
    let _gateway = house.gateway();
    let all = answered(house, "download", Fault::stalled);
    let (house, id) = (all.house, all.sent.update_id.unwrap());
    let mut another = house.agent().thread("another");
    another.poll(json!({}));
    all.agent.kill();
    house.sim.clear_fault(all.fault);
    let words = wait_to_be_told(&mut another);
    assert!(words.contains(&format!("Message {id} ")), "{words}");
    let looked_at = another.poll(json!({"message": id}));
    is_there(&looked_at["messages"][0]["attachments"][0], &all.content);
    let mut third = house.agent().thread("third");
    house.say("next");
    assert_eq!(texts(&third.wait_for_message()), ["next"]);
    assert_eq!(told(&third.poll(json!({}))), [""; 0]);
    let unknown = third.call("telegram_poll", json!({"message": id}));
    assert!(unknown.refused().contains(&format!("no message {id}")));
}

#[test]
fn a_message_that_is_acknowledged_or_dropped_before_its_file_came_is_told_of_as_well() {
    let house = House::new();
    let _gateway = house.gateway();
    let fault = strike(&house, "download", |fault| fault.stalled().always());
    for name in ["one", "two"] {
        send(&house, name, bytes(1, 70_000), name);
    }
    wait_until_struck(&house, fault);
    house.wait_for_inbox(2);
    let mut agent = house.agent();
    let shown = agent.poll(json!({}));
    let ids = [0, 1].map(|n| shown["messages"][n]["update_id"].as_i64().unwrap());
    agent.poll(json!({"ack": [ids[0]]}));
    assert!(
        house
            .run(&["inbox", "drop", &ids[1].to_string()])
            .status
            .success()
    );
    house.sim.clear_faults();
    let mut words = wait_to_be_told(&mut agent);
    if !ids.iter().all(|id| words.contains(&id.to_string())) {
        words.push_str(&wait_to_be_told(&mut agent));
    }
    for id in ids {
        assert!(words.contains(&format!("Message {id} ")), "{words}");
    }
}
