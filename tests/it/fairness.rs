//! Many replies wait: the budgets are kept, each chat keeps its order, and no session starves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{House, wait_for};

/// Chats of session `ONE`, and the one of session `TWO`.
const CHATS: std::ops::Range<i64> = 100..112;
const SMALL: i64 = 200;
const EACH: usize = 5;

#[test]
fn a_session_with_much_to_say_keeps_no_other_one_waiting() {
    let chats: Vec<i64> = CHATS.collect();
    let mut house = House::with(json!({"chat_ids": chats, "allowed_users": chats}));
    house.config["pace"] = json!("normal");
    house.share_bot("TWO", SMALL);
    house.sim.rate_limits(true);
    let gateway = house.gateway();
    for chat in CHATS {
        house.sim.say(house.bot(), chat, chat, "hello");
    }
    house.wait_for_inbox(CHATS.count());
    let mut agent = house.agent();
    let page = agent.poll(json!({}));
    let ids: Vec<Value> = page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["update_id"].clone())
        .collect();
    house.sim.say(house.bot(), SMALL, SMALL, "and me?");
    let mut small = house.agent_of("TWO");
    small.wait_for_message();
    assert!(gateway.stop().success());
    for number in 0..EACH {
        for id in &ids {
            agent.reply(json!({"text": format!("{number} for {id}"), "to": id}));
        }
    }
    small.reply(json!({"text": "you, too"}));

    let _gateway = house.gateway();
    wait_for("everything to be sent", || {
        let left = (house.names("outbox"), house.names_of("TWO", "outbox"));
        if left == (vec![], vec![]) {
            Ok(())
        } else {
            Err(left)
        }
    });
    let calls = house.sim.calls_of(house.bot(), "sendMessage");
    let refused = calls.iter().filter(|call| !call.outcome.is_ok()).count();
    assert_eq!(refused, 0, "the pace is below the limits");
    let place = calls.iter().position(|call| call.chat_id == Some(SMALL));
    // At most one reply of each chat comes before it: these are on their way at the same time.
    assert!(
        place.unwrap() <= CHATS.count(),
        "{place:?} of {}",
        calls.len()
    );
    let mut numbers: BTreeMap<Option<i64>, Vec<String>> = BTreeMap::new();
    for call in &calls {
        let number = call.text("text").split(' ').next().unwrap().to_owned();
        numbers.entry(call.chat_id).or_default().push(number);
    }
    numbers.remove(&Some(SMALL));
    let in_order: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
    assert_eq!(numbers.len(), CHATS.count());
    assert!(
        numbers.values().all(|found| *found == in_order),
        "{numbers:?}"
    );
}
