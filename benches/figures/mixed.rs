//! Everything that people send, mixed, at the rate that is promised; and every kind there is among texts.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::gateway::quiet_gateway;
use crate::house::OWNER;
use crate::machine::resident;
use crate::table::Table;
use crate::{House, PATIENCE};

const BATCH: usize = 100;
const BATCHES: usize = 250;
const EVERY: Duration = Duration::from_millis(100);
const STRANGER: i64 = 99;
/// Of twenty updates these are refused, or of a kind that is not asked for.
const LEFT_OUT: usize = 3;

const KINDS: &str = include_str!("../../tests/data/kinds.json");

pub(crate) fn measure(table: &mut Table) {
    sustained(table);
    kinds(table);
}

/// So many a second for 25 seconds, a batch every 100 ms, whatever has become of those before.
fn sustained(table: &mut Table) {
    let house = House::new();
    house.sim.add_file("file", vec![7; 2000]);
    let gateway = quiet_gateway(&house);
    gateway.wait_until_polling(&house);
    let before = resident(gateway.pid()).map_or(0.0, |size| size.1);
    let began = Instant::now();
    let mut number = 0;
    for batch in 0..BATCHES {
        let due = EVERY * u32::try_from(batch).unwrap();
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        for _ in 0..BATCH {
            house.sim.raw_update(house.bot(), update(number));
            number += 1;
        }
    }
    let said = began.elapsed();
    house
        .sim
        .wait_for(|view| view.pending(house.bot()) == 0, PATIENCE)
        .unwrap();
    let stored = began.elapsed();
    gateway.wait_until_polling(&house);
    let kept = house.names("inbox").len();
    assert_eq!(kept, number - number / 20 * LEFT_OUT, "lost or let in");
    table.value(
        "mixed updates, 1,000 a second said for 25 s: stored and confirmed until the last of them is",
        "≥ 1,000/s",
        &format!("{:.0}/s", number as f64 / stored.as_secs_f64()),
        1,
        &format!(
            "{number} in all, the last {:.0} ms after it was said, the slowest batch {:.0} ms, anonymous memory {before:.1} MB before, {:.1} MB after",
            stored.saturating_sub(said).as_secs_f64() * 1e3,
            slowest(&house),
            resident(gateway.pid()).map_or(0.0, |size| size.1),
        ),
    );
}

/// Of twenty: eight texts of several sizes, edits, reactions, presses, albums, files, unknown kinds, strangers.
fn update(number: usize) -> Value {
    let id = i64::try_from(number).unwrap() + 1000;
    let with = |from: i64, fields: Value| {
        let mut message = json!({"message_id": id, "date": 1_700_000_000 + id / 1000,
            "chat": {"id": OWNER, "type": "private", "first_name": "Ada"},
            "from": {"id": from, "is_bot": false, "first_name": "Ada"}});
        let fields = fields.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(fields);
        message
    };
    let file = json!({"file_id": "file", "file_unique_id": "file", "file_size": 2000});
    let said = |fields: Value| json!({"message": with(OWNER, fields)});
    match number % 20 {
        0..=5 => {
            said(json!({"text": format!("Message {number} of a busy day, of ordinary length.")}))
        }
        6 => said(json!({"text": "word ".repeat(200)})),
        7 => said(json!({"text": "é漢😀 ".repeat(900),
            "entities": [{"type": "bold", "offset": 0, "length": 9}]})),
        8 | 9 => {
            let mut edit = with(
                OWNER,
                json!({"text": "better said", "edit_date": 1_800_000_000}),
            );
            edit["message_id"] = json!(id - 8);
            json!({"edited_message": edit})
        }
        10 | 11 => {
            json!({"message_reaction": {"chat": {"id": OWNER, "type": "private"}, "message_id": id,
            "user": {"id": OWNER, "is_bot": false, "first_name": "Ada"}, "date": 1_700_000_000,
            "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}]}})
        }
        12 => {
            json!({"callback_query": {"id": number.to_string(), "chat_instance": "1", "data": "yes",
            "from": {"id": OWNER, "is_bot": false, "first_name": "Ada"}, "message": with(OWNER, json!({"text": "?"}))}})
        }
        13 | 14 => said(
            json!({"caption": "two pictures", "media_group_id": (number / 20).to_string(),
            "photo": [{"file_id": "file", "file_unique_id": "file", "width": 9, "height": 9, "file_size": 2000}]}),
        ),
        15 => said(json!({"caption": "a file", "document": file})),
        16 => said(json!({"hologram": {"depth": 3, "points": vec![1; 300]}})),
        17 | 18 => json!({"message": with(STRANGER, json!({"text": "let me in"}))}),
        _ => json!({"kind_of_next_year": {"id": number}}),
    }
}

/// Every kind of message with a text after it, all waiting when the gateway starts.
fn kinds(table: &mut Table) {
    let house = House::new();
    let kinds: Vec<Map<String, Value>> = serde_json::from_str(KINDS).unwrap();
    for (number, kind) in kinds.iter().enumerate() {
        let mut message = json!({"message_id": 1000 + number, "date": house.sim.now(),
            "chat": {"id": OWNER, "type": "private"}, "from": {"id": OWNER, "is_bot": false, "first_name": "Ada"}});
        let fields = kind["message"].as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(fields);
        house
            .sim
            .raw_update(house.bot(), json!({"message": message}));
        house.say(&format!("text {number}"));
    }
    // And what costs a parser its patience.
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for text in ["null", "{}", r#"{"update_id":-5,"message":{}}"#, &deep] {
        house.sim.raw_text(house.bot(), text);
    }
    let mut big = update(0);
    big["message"]["text"] = json!("x".repeat(3 << 20));
    house.sim.raw_update(house.bot(), big);
    house.say("the last");
    let gateway = quiet_gateway(&house);
    house.wait_for_inbox(2 * kinds.len() + 1);
    gateway.wait_until_polling(&house);
    table.value(
        "every kind of message, texts and poison in between: an answer of the Bot API until all of it is stored",
        "≤ 2 s",
        &format!("{:.0} ms", slowest(&house)),
        1,
        "the slowest batch",
    );
}

/// The longest time from an answer of the Bot API to the poll that confirmed it, in milliseconds.
fn slowest(house: &House) -> f64 {
    let longest = house.batch_times().into_iter().max().unwrap();
    longest.as_secs_f64() * 1e3
}
