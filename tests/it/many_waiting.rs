//! A hundred thousand waiting messages: `status` does not count them again, and `inbox list` goes by the page.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::{House, OWNER};

/// So many that the count is kept.
const MANY: usize = 600;

/// A house with many messages in the inbox of session `ONE`, and no gateway.
fn full_house() -> House {
    let house = House::new();
    let gateway = house.gateway();
    house.say("0");
    house.wait_for_inbox(1);
    assert!(gateway.stop().success());
    let first = house.only_file("inbox");
    let entry: Value = serde_json::from_slice(&fs::read(&first).unwrap()).unwrap();
    let name = first.file_stem().unwrap().to_str().unwrap().to_owned();
    let (received, id) = name.split_once('-').unwrap();
    let (received, id): (i64, i64) = (received.parse().unwrap(), id.parse().unwrap());
    for number in 1..MANY {
        let offset = i64::try_from(number).unwrap();
        let mut entry = entry.clone();
        entry["update_id"] = json!(id + offset);
        entry["received"] = json!(received + offset);
        entry["update"]["update_id"] = json!(id + offset);
        entry["update"]["message"]["message_id"] = json!(1000 + number);
        entry["update"]["message"]["text"] = json!(number.to_string());
        let path =
            house
                .session("inbox")
                .join(format!("{}-{}.json", received + offset, id + offset));
        fs::write(path, entry.to_string()).unwrap();
    }
    assert_eq!(OWNER, 11);
    house
}

/// As if nothing had been stored for a minute.
fn let_rest(house: &House) {
    let folder = fs::File::open(house.session("inbox")).unwrap();
    folder
        .set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
}

fn pending(house: &House) -> Value {
    house.status()["sessions"][0]["pending"].clone()
}

fn counts(house: &House) -> PathBuf {
    house.session("counts.json")
}

#[test]
fn a_large_inbox_is_counted_once_until_it_changes() {
    let house = full_house();
    assert_eq!(pending(&house), MANY);
    assert!(!counts(&house).exists(), "it has changed this moment");
    let_rest(&house);
    assert_eq!(pending(&house), MANY);
    let mut kept: Value = serde_json::from_slice(&fs::read(counts(&house)).unwrap()).unwrap();
    assert_eq!(kept["summary"]["count"], MANY);
    // The count is believed as long as the folder is the same.
    kept["summary"]["count"] = json!(7);
    fs::write(counts(&house), kept.to_string()).unwrap();
    assert_eq!(pending(&house), 7);
    let names = house.names("inbox");
    fs::remove_file(house.session("inbox").join(&names[3])).unwrap();
    assert_eq!(pending(&house), MANY - 1, "and no longer");
    fs::write(counts(&house), "damaged").unwrap();
    assert_eq!(pending(&house), MANY - 1);
}

#[test]
fn the_inbox_is_listed_by_the_page() {
    let house = full_house();
    let texts = |arguments: &[&str]| -> Vec<String> {
        let output = house.run(&[&["inbox", "list", "--json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        rows.iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let numbers =
        |from: usize, to: usize| -> Vec<String> { (from..to).map(|n| n.to_string()).collect() };
    assert_eq!(texts(&[]), numbers(0, 100));
    assert_eq!(texts(&["--limit", "3"]), numbers(0, 3));
    let text = String::from_utf8(house.run(&["inbox", "list", "--limit", "3"]).stdout).unwrap();
    let next = text.lines().last().unwrap();
    assert!(
        next.starts_with(&format!(
            "ONE: {} more; `telepost inbox list --session ONE --after ",
            MANY - 3
        )),
        "{text}"
    );
    let id = next
        .split("--after ")
        .nth(1)
        .unwrap()
        .split('`')
        .next()
        .unwrap();
    assert_eq!(
        texts(&["--session", "ONE", "--after", id, "--limit", "2"]),
        numbers(3, 5)
    );
    assert_eq!(texts(&["--limit", "100000"]).len(), MANY);
    let gone = house.run(&["inbox", "list", "--after", "1"]);
    assert_eq!(gone.status.code(), Some(1));
}
