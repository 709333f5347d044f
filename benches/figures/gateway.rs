//! The memory of a gateway with ten sessions, at work and idle.

use std::time::Duration;

use serde_json::json;

use crate::house::{Gateway, OWNER};
use crate::machine::{resident, switches};
use crate::start::size;
use crate::table::Table;
use crate::{House, PATIENCE};

const SESSIONS: usize = 10;
const MESSAGES: usize = 100;
const IDLE: Duration = Duration::from_secs(20);
/// The HTTP client closes a connection that it may need no more within 30 s.
const SETTLED: Duration = Duration::from_secs(35);

/// A gateway that logs as one does for people.
pub(crate) fn quiet_gateway(house: &House) -> Gateway {
    Gateway::start(&mut house.command_with_tokens(&["gateway"]), house.path())
}

pub(crate) fn measure(table: &mut Table) {
    let mut house = House::empty();
    let names: Vec<String> = (0..SESSIONS).map(|n| format!("S{n}")).collect();
    for name in &names {
        house.add_session(name, json!({}));
    }
    house.write_config();
    let gateway = quiet_gateway(&house);
    gateway.wait_until_polling(&house);
    let started: Vec<_> = resident(gateway.pid()).into_iter().collect();
    table.value(
        "gateway with ten sessions: resident after its start",
        "≤ 16 MB",
        &size(&started),
        1,
        "",
    );

    for (name, &bot) in names.iter().zip(&house.bots) {
        for n in 0..MESSAGES {
            house.sim.say(bot, OWNER, OWNER, &format!("Message {n}"));
        }
        let mut agent = house.agent_of(name);
        while !agent.poll(json!({"wait_seconds": 50, "limit": 100}))["messages"].is_null() {
            agent.reply(json!({"text": "Seen. ".repeat(500)}));
            if house.names_of(name, "done").len() == MESSAGES {
                break;
            }
        }
    }
    let worked: Vec<_> = resident(gateway.pid()).into_iter().collect();
    table.value(
        "gateway with ten sessions: resident after 1,000 messages in and their answers out",
        "≤ 16 MB",
        &size(&worked),
        1,
        "",
    );

    // Memory that follows the traffic: unused connections close.
    std::thread::sleep(SETTLED);
    for &bot in &house.bots {
        house
            .sim
            .wait_for(|view| view.waiting_polls(bot) > 0, PATIENCE)
            .unwrap();
    }
    let polls = || -> usize {
        let count = |bot: &i64| house.sim.call_count(*bot, "getUpdates");
        house.bots.iter().map(count).sum()
    };
    let before = (switches(gateway.pid()), polls());
    std::thread::sleep(IDLE);
    let after = (switches(gateway.pid()), polls());
    let woken = before.0.zip(after.0).map(|(before, after)| -> u64 {
        let of = |(thread, count)| count - before.get(thread).copied().unwrap_or(0);
        after.iter().map(of).sum()
    });
    table.value(
        "gateway, idle for 20 s: how often any of its threads ran",
        "0",
        &woken.map_or_else(|| "not known".to_owned(), |woken| woken.to_string()),
        1,
        &format!("{} polls ended in that time", after.1 - before.1),
    );
}
