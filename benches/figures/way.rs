//! A message on its way in, and an answer on its way out.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::quiet_gateway;
use crate::machine::durable_file;
use crate::table::Table;
use crate::{House, PATIENCE};

const MESSAGES: usize = 200;

pub(crate) fn measure(table: &mut Table) {
    let house = House::new();
    let gateway = quiet_gateway(&house);
    gateway.wait_until_polling(&house);
    let mut agent = house.agent();
    let (mut file, mut file_and_name) = (Vec::new(), Vec::new());
    let (mut shown, mut said, mut sent, mut told) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..MESSAGES {
        let (one, both) = durable_file(house.path());
        file.push(one);
        file_and_name.push(both);

        let call = agent.begin("telegram_poll", json!({"wait_seconds": 50}));
        // Long enough for the call and the gateway's poll to wait; neither can be asked.
        std::thread::sleep(Duration::from_millis(40));
        house
            .sim
            .wait_for(|view| view.waiting_polls(house.bot()) > 0, PATIENCE)
            .unwrap();
        let spoken = Instant::now();
        house.say(&format!("Question {n}"));
        let page = agent.answer(call).ok();
        let seen = Instant::now();
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
        let answers = house.sim.calls_of(house.bot(), "getUpdates");
        let answered = answers
            .iter()
            .filter_map(|call| call.answered_at)
            .find(|at| *at > spoken)
            .unwrap();
        shown.push(seen - answered);
        said.push(seen - spoken);

        let began = Instant::now();
        let result = agent.reply(json!({"text": format!("Answer {n}")}));
        told.push(began.elapsed());
        assert_eq!(result["status"], json!("delivered"), "{result}");
        let requests = house.sim.calls_of(house.bot(), "sendMessage");
        assert_eq!(requests.len(), n + 1);
        sent.push(requests[n].at - began);
    }
    drop(gateway);
    let baseline = [
        ("one durable file", file.as_slice()),
        ("with its name", file_and_name.as_slice()),
    ];
    table.times(
        "update in the Bot API's answer → returned by a waiting `telegram_poll`",
        "≤ 3 ms",
        &shown,
        &baseline,
    );
    table.times(
        "the same from the person's message, of which the simulator gathers for 1 ms",
        "",
        &said,
        &[],
    );
    table.times(
        "`telegram_reply` called → request seen by the Bot API, nothing queued",
        "≤ 5 ms",
        &sent,
        &baseline,
    );
    table.times(
        "`telegram_reply` called → `delivered` returned",
        "",
        &told,
        &[],
    );
}
