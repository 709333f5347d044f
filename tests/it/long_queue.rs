//! Long queues: every reply goes once and in order, and a dropped one does not go.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, House, OWNER, wait_for};

/// Another chat of the session.
const OTHER: i64 = 12;
/// How many replies wait for each chat.
const EACH: usize = 150;

/// A house whose chats have written, and its agent. No gateway runs.
fn house() -> (House, Agent, Value) {
    let house = House::with(json!({"chat_ids": [OWNER, OTHER], "allowed_users": [OWNER, OTHER]}));
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    house.sim.say(house.bot(), OTHER, OTHER, "hello");
    let shown = agent.wait_for_message();
    let other = shown["messages"][0]["update_id"].clone();
    assert!(gateway.stop().success());
    (house, agent, other)
}

/// Sends to the two chats in turn, and returns the ids of the accepted replies.
fn queue(agent: &mut Agent, other: &Value, numbers: std::ops::Range<usize>) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in numbers {
        for to in [&json!("home"), other] {
            let reply = agent.reply(json!({"text": number.to_string(), "to": to}));
            ids.push(reply["delivery_id"].clone());
        }
    }
    ids
}

#[track_caller]
fn wait_until_all_are_out(house: &House) {
    wait_for("everything to be sent", || {
        let left = house.names("outbox");
        if left.is_empty() {
            Ok(())
        } else {
            Err(left.len())
        }
    });
}

fn numbers(without: usize) -> Vec<String> {
    let all = (0..EACH).filter(|number| *number != without);
    all.map(|number| number.to_string()).collect()
}

#[test]
fn a_long_queue_goes_in_order_over_a_restart_and_with_what_comes_meanwhile() {
    let (house, mut agent, other) = house();
    let ids = queue(&mut agent, &other, 0..EACH - 20);
    let unwanted = ids[2 * 100].as_str().unwrap();
    let dropped = house.run(&["outbox", "drop", unwanted]);
    assert!(dropped.status.success(), "{dropped:?}");
    let gateway = house.gateway();
    wait_for("some of them", || {
        let heard = house.heard().len();
        if heard >= 10 { Ok(()) } else { Err(heard) }
    });
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    queue(&mut agent, &other, EACH - 20..EACH);
    wait_until_all_are_out(&house);
    assert_eq!(house.heard(), numbers(100));
    assert_eq!(house.sim.bot_texts(house.bot(), OTHER), numbers(EACH));
}

#[test]
fn behind_a_rate_limit_the_end_of_a_long_queue_can_be_dropped_and_the_rest_goes_in_order() {
    let (house, mut agent, other) = house();
    let ids = queue(&mut agent, &other, 0..EACH);
    let closed = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    let closed = house.sim.fault(closed.retry_after(3600));
    let gateway = house.gateway();
    // The other chat goes on.
    wait_for("all replies to the other chat", || {
        let heard = house.sim.bot_texts(house.bot(), OTHER).len();
        if heard == EACH { Ok(()) } else { Err(heard) }
    });
    assert_eq!(house.sim.bot_texts(house.bot(), OTHER), numbers(EACH));
    assert_eq!(house.heard(), [""; 0]);
    let unwanted = ids[2 * (EACH - 5)].as_str().unwrap();
    let dropped = house.run(&["outbox", "drop", unwanted]);
    let words = String::from_utf8_lossy(&dropped.stdout).into_owned();
    assert!(words.contains("dropped"), "{words}");
    // Its result stands before its delivery leaves the outbox.
    wait_for("the dropped delivery to leave the outbox", || {
        let names = house.names("outbox");
        let left = names.into_iter().find(|name| name.contains(unwanted));
        left.map_or(Ok(()), Err)
    });
    house.sim.clear_fault(closed);
    let bot = house.bot();
    gateway.kill();
    std::fs::remove_file(house.state().join(format!("bots/{bot}/gates.json"))).unwrap();
    let _gateway = house.gateway();
    wait_until_all_are_out(&house);
    assert_eq!(house.heard(), numbers(EACH - 5));
}

/// More than the sender reads before the other work gets its turn.
const THOUSANDS: usize = 2048 + 64 + 64;

#[test]
fn a_reply_that_waits_behind_thousands_for_a_limited_chat_goes_and_they_stay() {
    let (house, mut agent, other) = house();
    let first = agent.reply(json!({"text": "held", "to": "home"}));
    let first = first["delivery_id"].as_str().unwrap();
    let path = |id: &str| house.session(&format!("outbox/{id}.json"));
    let delivery = std::fs::read_to_string(path(first)).unwrap();
    let (accepted, _) = first.split_once('-').unwrap();
    let accepted: i64 = accepted.parse().unwrap();
    for (at, key) in (accepted + 1..).zip(0..THOUSANDS) {
        let id = format!("{at:013}-{key:032x}");
        std::fs::write(path(&id), delivery.replace(first, &id)).unwrap();
    }
    let last = agent.reply(json!({"text": "goes", "to": other}));
    let closed = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(closed.retry_after(3600));
    let _gateway = house.gateway();
    wait_for("the reply to the other chat", || {
        let heard = house.sim.bot_texts(house.bot(), OTHER);
        if heard == ["goes"] {
            Ok(())
        } else {
            Err(heard)
        }
    });
    let names = house.names("outbox");
    let json = |name: &&String| {
        let stem = name.strip_suffix(".json");
        stem.is_some_and(|stem| !stem.ends_with(".progress"))
    };
    let waiting = names.iter().filter(json).count();
    assert!(waiting > THOUSANDS, "{waiting} of them, before {last}");
    assert_eq!(house.heard(), [""; 0]);
}
