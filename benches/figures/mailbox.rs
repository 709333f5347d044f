//! Many messages: how fast they become durable, and how fast an agent is shown those of a page.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use telepost::clock::{Clock, Timestamp};
use telepost::ids::{Address, BotId, ChatId, UpdateId};
use telepost::state::inbox::entry::Entry;

use crate::gateway::quiet_gateway;
use crate::house::OWNER;
use crate::machine::durable_file;
use crate::table::{Table, median};
use crate::{House, PATIENCE};

const FEW: usize = 10_000;
const MANY: usize = 100_000;
const POLLS: usize = 30;

pub(crate) fn measure_ingest(table: &mut Table) {
    let (mut rates, mut files) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let house = House::new();
        files.extend((0..20).map(|_| durable_file(house.path()).0.as_secs_f64()));
        rates.push(ingest(&house, FEW));
        files.extend((0..20).map(|_| durable_file(house.path()).0.as_secs_f64()));
    }
    table.value(
        "durable ingest of 10,000 updates through the gateway, batches of 100",
        "≥ 1,000/s",
        &format!("{:.0}/s", median(rates.clone())),
        rates.len(),
        &format!("durable files one by one: {:.0}/s", 1.0 / median(files)),
    );
}

pub(crate) fn measure_pending(table: &mut Table) {
    for (count, target) in [(FEW, "≤ 20 ms"), (MANY, "≤ 150 ms")] {
        let house = House::new();
        fill(&house, count);
        pending(table, &house, count, target);
    }
}

/// Lets a new gateway take in so many updates, and says how many a second: from the first answer with
/// updates to the request that confirms the last of them, when all are durable.
fn ingest(house: &House, count: usize) -> f64 {
    for n in 0..count {
        house.say(&format!("Message {n} of a long night, of ordinary length."));
    }
    let gateway = quiet_gateway(house);
    house
        .sim
        .wait_for(|view| view.pending(house.bot()) == 0, PATIENCE)
        .unwrap();
    let calls = house.sim.calls_of(house.bot(), "getUpdates");
    let first = calls.iter().find_map(|call| call.answered_at).unwrap();
    let last = calls.iter().filter_map(|call| call.int("offset")).max();
    let confirmed = calls
        .iter()
        .find(|call| call.int("offset") == last)
        .map(|call| call.at)
        .unwrap();
    house.wait_for_inbox(count);
    drop(gateway);
    count as f64 / (confirmed - first).as_secs_f64()
}

/// Polls of an agent that is shown twenty more each time.
fn pending(table: &mut Table, house: &House, count: usize, target: &str) {
    let mut agent = house.agent();
    let (mut polls, mut lists) = (Vec::new(), Vec::new());
    for round in 0..POLLS {
        lists.push(list(&house.session("inbox"), count));
        let began = Instant::now();
        let page = agent.poll(json!({}));
        polls.push(began.elapsed());
        let shown = page["messages"].as_array().map_or(0, Vec::len);
        let left = count - shown;
        assert!(
            shown == 20 && page["remaining"] == json!(left),
            "{round}: {page}"
        );
    }
    table.times(
        &format!("`telegram_poll` with {count} pending"),
        target,
        &polls,
        &[("listing the folder", &lists)],
    );
}

fn list(folder: &Path, count: usize) -> Duration {
    let began = Instant::now();
    assert_eq!(fs::read_dir(folder).unwrap().count(), count);
    began.elapsed()
}

/// Puts so many entries into the inbox, as the gateway would have, without waiting for the disk.
fn fill(house: &House, count: usize) {
    let folder = house.session("inbox");
    fs::create_dir_all(&folder).unwrap();
    let address = Address {
        bot_id: BotId(house.bot()),
        chat_id: ChatId(OWNER),
        topic_id: None,
    };
    let first = Clock::system().now().0 - 1_000_000;
    for n in 0..count {
        let id = i64::try_from(n).unwrap() + 1;
        let update = format!(
            r#"{{"update_id":{id},"message":{{"message_id":{id},"from":{{"id":{OWNER},"is_bot":false,"first_name":"Mia"}},"chat":{{"id":{OWNER},"first_name":"Mia","type":"private"}},"date":{},"text":"Message {n} of a long night, of ordinary length."}}}}"#,
            first / 1000
        );
        let update = serde_json::value::RawValue::from_string(update).unwrap();
        let entry = Entry::new(address, UpdateId(id), Timestamp(first + id), update);
        let bytes = serde_json::to_vec(&entry).unwrap();
        fs::write(folder.join(entry.name().file_name()), bytes).unwrap();
    }
    // The first sync would otherwise pay for earlier writes.
    fs::File::open(&folder).unwrap().sync_all().unwrap();
}
