//! 👀 on the newest message that an agent was shown, until that is answered: never before, never over
//! the agent's own reaction, and never in the way of anything that matters.

use serde_json::json;
use telegram_sim::{Call, Fault};

use crate::support::{House, OWNER, PATIENCE, wait_for};

const EYES: &str = "👀";

fn attentive() -> House {
    let mut house = House::new();
    house.config["receipts"] = json!("on");
    house.write_config();
    house
}

/// The calls that put or take away a reaction: the message's text and the emoji.
fn gestures(house: &House) -> Vec<(String, String)> {
    let lines = house.sim.transcript(house.bot(), OWNER);
    let text = |call: &Call| {
        let id = call.int("message_id");
        let line = lines.iter().find(|line| Some(line.message_id) == id);
        line.unwrap().text.clone()
    };
    let calls = house.sim.calls_of(house.bot(), "setMessageReaction");
    let emoji = |call: &Call| {
        call.params["reaction"][0]["emoji"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    calls.iter().map(|call| (text(call), emoji(call))).collect()
}

fn gesture(text: &str, emoji: &str) -> (String, String) {
    (text.to_owned(), emoji.to_owned())
}

/// Waits until these messages wear these reactions, and no others any.
#[track_caller]
fn wait_to_see(house: &House, expected: &[(&str, &str)]) {
    let look = || -> Vec<(String, String)> {
        let lines = house.sim.transcript(house.bot(), OWNER).into_iter();
        lines
            .flat_map(|line| {
                let text = line.text.clone();
                let emoji = line.reactions.into_iter().map(|(_, emoji)| emoji);
                emoji.map(move |emoji| (text.clone(), emoji))
            })
            .collect()
    };
    let expected: Vec<_> = expected
        .iter()
        .map(|(text, emoji)| gesture(text, emoji))
        .collect();
    wait_for("the reactions in the chat", || {
        let seen = look();
        if seen == expected { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn the_newest_message_of_a_page_wears_eyes_until_it_is_answered() {
    let house = attentive();
    let _gateway = house.gateway();
    for text in ["one", "two"] {
        house.arrive(text);
    }
    let mut agent = house.agent();
    agent.poll(json!({}));
    wait_to_see(&house, &[("two", EYES)]);
    agent.reply(json!({"text": "both done"}));
    wait_to_see(&house, &[]);
    assert_eq!(gestures(&house), [gesture("two", EYES), gesture("two", "")]);
    let calls = house.effects();
    let at = |method: &str| calls.iter().rposition(|call| call.method == method);
    assert!(
        at("sendMessage") < at("setMessageReaction"),
        "the answer comes before the eyes go"
    );
}

#[test]
fn each_page_has_its_eyes_and_an_ack_takes_them_away() {
    let house = attentive();
    let _gateway = house.gateway();
    let one = house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    wait_to_see(&house, &[("one", EYES)]);
    let two = house.arrive("two");
    agent.poll(json!({}));
    wait_to_see(&house, &[("one", EYES), ("two", EYES)]);
    agent.poll(json!({"ack": [two]}));
    wait_to_see(&house, &[("one", EYES)]);
    agent.poll(json!({"ack": [one]}));
    wait_to_see(&house, &[]);
}

#[test]
fn eyes_of_a_showing_that_was_lost_move_with_its_message_to_the_next_agent() {
    let house = attentive();
    let _gateway = house.gateway();
    house.arrive("one");
    // Held, and the server dies before the result is out.
    let mut command = house.agent_command("ONE");
    command.env("TELEPOST_CRASH_AT", "answer:before");
    let mut unlucky = crate::support::Agent::start(&mut command).thread("unlucky");
    let id = unlucky.begin("telegram_poll", json!({}));
    assert_eq!(unlucky.try_answer(id), None);
    house.arrive("two");
    let mut agent = house.agent().thread("lucky");
    let page = agent.poll(json!({"limit": 1}));
    assert_eq!(page["messages"][0]["text"], "one", "{page}");
    wait_to_see(&house, &[("one", EYES)]);
    agent.reply(json!({"text": "done"}));
    wait_to_see(&house, &[]);
    assert_eq!(gestures(&house), [gesture("one", EYES), gesture("one", "")]);
}

#[test]
fn the_agents_own_reaction_takes_their_place_for_good() {
    let house = attentive();
    let gateway = house.gateway();
    house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    wait_to_see(&house, &[("one", EYES)]);
    agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    wait_to_see(&house, &[("one", "👍")]);
    agent.reply(json!({"text": "done"}));
    // Also a gateway that knows only what is on disk leaves it alone.
    gateway.kill();
    let _gateway = house.gateway();
    house.arrive("two");
    agent.poll(json!({}));
    wait_to_see(&house, &[("one", "👍"), ("two", EYES)]);
    assert_eq!(
        gestures(&house),
        [
            gesture("one", EYES),
            gesture("one", "👍"),
            gesture("two", EYES)
        ]
    );
}

#[test]
fn a_new_gateway_takes_the_eyes_of_a_killed_one_away() {
    let house = attentive();
    let gateway = house.gateway();
    house.arrive("one");
    house.arrive("two");
    let mut agent = house.agent();
    agent.poll(json!({}));
    wait_to_see(&house, &[("two", EYES)]);
    gateway.kill();
    agent.reply(json!({"text": "done"}));
    let _gateway = house.gateway();
    house.wait_to_hear(&["done"]);
    wait_to_see(&house, &[]);
}

#[test]
fn what_was_shown_while_no_gateway_ran_wears_none() {
    let house = attentive();
    let gateway = house.gateway();
    house.arrive("one");
    gateway.kill();
    let mut agent = house.agent();
    agent.poll(json!({}));
    let _gateway = house.gateway();
    house.arrive("two");
    agent.poll(json!({}));
    wait_to_see(&house, &[("two", EYES)]);
    assert_eq!(gestures(&house), [gesture("two", EYES)]);
}

#[test]
fn into_a_closed_gate_go_none_and_those_that_stand_are_taken_away_when_it_opens() {
    let house = attentive();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    wait_to_see(&house, &[("one", EYES)]);
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(2));
    agent.reply(json!({"text": "held"}));
    house.say("two");
    agent.wait_for_message();
    agent.reply(json!({"text": "also held"}));
    house.wait_to_hear(&["held", "also held"]);
    wait_to_see(&house, &[]);
    assert_eq!(gestures(&house), [gesture("one", EYES), gesture("one", "")]);
}

#[test]
fn a_flood_that_a_receipt_meets_closes_the_gate_for_everything() {
    let house = attentive();
    let _gateway = house.gateway();
    house.wait_for_menu();
    let flood = Fault::on(house.bot()).method("setMessageReaction");
    house.sim.fault(flood.retry_after(2));
    let mut agent = house.agent_asked("one");
    let gates = house
        .state()
        .join(format!("bots/{}/gates.json", house.bot()));
    wait_for("the gate", || {
        if gates.exists() { Ok(()) } else { Err("open") }
    });
    let answer = agent.reply(json!({"text": "held"}));
    assert!(answer["held_until"].is_string(), "{answer}");
    house.wait_to_hear(&["held"]);
    let calls = house.effects();
    let closed = calls
        .iter()
        .find(|call| call.outcome.code() == Some(429))
        .unwrap();
    let until = closed.answered_at_ms.unwrap() + 2000;
    let early: Vec<&str> = calls
        .iter()
        .filter(|call| call.at_ms > closed.at_ms && call.at_ms < until)
        .map(|call| call.method.as_str())
        .collect();
    // "Typing" may have been under way beside the receipt; it is repeated only every few seconds.
    assert!(matches!(early[..], [] | ["sendChatAction"]), "{early:?}");
}

#[test]
fn a_chat_that_allows_no_reactions_is_asked_once_a_page_and_answered_as_ever() {
    let house = attentive();
    let _gateway = house.gateway();
    let refused = Fault::on(house.bot()).method("setMessageReaction");
    let refused = house.sim.fault(
        refused
            .error(400, "Bad Request: REACTION_INVALID")
            .times(99),
    );
    let mut agent = house.agent_asked("one");
    house
        .sim
        .wait_for(|view| view.fault_hits(refused) == 1, PATIENCE)
        .unwrap();
    assert_eq!(agent.reply(json!({"text": "done"}))["status"], "delivered");
    house.say("two");
    agent.wait_for_message();
    house
        .sim
        .wait_for(|view| view.fault_hits(refused) == 2, PATIENCE)
        .unwrap();
    assert_eq!(
        gestures(&house),
        [gesture("one", EYES), gesture("two", EYES)]
    );
    assert_eq!(house.names("failed"), [""; 0]);
}

#[test]
fn switched_off_there_are_none() {
    let mut house = attentive();
    house.config["receipts"] = json!("off");
    house.write_config();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "done"}));
    house.say("two");
    agent.wait_for_message();
    agent.reply(json!({"text": "done, too"}));
    let methods: Vec<_> = house
        .effects()
        .into_iter()
        .map(|call| call.method)
        .collect();
    assert_eq!(methods, ["sendMessage", "sendMessage"]);
}
