//! A clock that jumped ahead once and came back: order holds, names come back, files expire, and none too early.

use serde_json::json;

use crate::support::{Agent, House, texts, wait_for};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3652 * DAY;

fn start_gateway(house: &House, shift: i64) -> crate::support::Gateway {
    let gateway = house.gateway_with(&[("TELEPOST_TEST_CLOCK_MS", &shift.to_string())]);
    gateway.wait_until_polling(house);
    gateway
}

fn start_agent(house: &House, shift: i64) -> Agent {
    let mut command = house.agent_command("ONE");
    Agent::start(command.env("TELEPOST_TEST_CLOCK_MS", shift.to_string()))
}

/// How far the newest name of a folder lies ahead of the clock, in milliseconds.
fn ahead(house: &House, folder: &str) -> i64 {
    let names = house.names(folder);
    let times = names
        .iter()
        .filter_map(|name| name.split('-').next()?.parse::<i64>().ok());
    // The simulator's time is in seconds, and names count on by milliseconds.
    times.max().unwrap_or(0) - (house.sim.now() + 1) * 1000
}

/// Takes a message in and answers it, all at this time.
fn answer_one(house: &House, shift: i64, text: &str) {
    let gateway = start_gateway(house, shift);
    house.arrive(text);
    let mut agent = start_agent(house, shift);
    let sent = house.names("sent").len();
    assert_eq!(texts(&agent.wait_for_message()), [text]);
    agent.reply(json!({"text": format!("re {text}")}));
    house.wait_until_put_away(sent + 1);
    agent.close();
    assert!(gateway.stop().success());
}

#[test]
fn messages_keep_their_order_and_their_names_stay_within_a_day_of_the_clock() {
    let house = House::new();
    let gateway = start_gateway(&house, TEN_YEARS);
    house.arrive("one");
    house.arrive("two");
    assert!(ahead(&house, "inbox") <= DAY, "{:?}", house.names("inbox"));
    assert!(gateway.stop().success());
    let _gateway = start_gateway(&house, 0);
    house.arrive("three");
    house.arrive("four");
    assert!(ahead(&house, "inbox") <= DAY, "{:?}", house.names("inbox"));
    let shown = start_agent(&house, 0).wait_for_message();
    assert_eq!(texts(&shown), ["one", "two", "three", "four"]);
}

#[test]
fn names_of_an_earlier_version_from_the_future_are_left_behind_once_nothing_of_them_waits() {
    let house = House::new();
    answer_one(&house, 0, "old");
    // The clock of the version before was believed.
    let done = house.session("done");
    let name = house.names("done").remove(0);
    let (received, rest) = name.split_once('-').unwrap();
    let future = (received.parse::<i64>().unwrap() + TEN_YEARS).to_string();
    let text = std::fs::read_to_string(done.join(&name)).unwrap();
    std::fs::remove_file(done.join(&name)).unwrap();
    let name = format!("{future}-{rest}");
    std::fs::write(done.join(&name), text.replace(received, &future)).unwrap();

    let gateway = start_gateway(&house, 0);
    house.arrive("new");
    assert!(ahead(&house, "inbox") <= DAY, "{:?}", house.names("inbox"));
    // Telegram's repetition of the old one is still known.
    assert!(house.sim.redeliver(house.bot(), 1) > 0);
    house.arrive("newer");
    assert_eq!(house.inbox_texts(), ["new", "newer"]);
    assert!(gateway.stop().success());
    // Two days later it is gone like any other.
    let _gateway = start_gateway(&house, 3 * DAY);
    wait_for("the tombstone to go", || {
        let names = house.names("done");
        if names.contains(&name) {
            Err(names)
        } else {
            Ok(())
        }
    });
}

#[test]
fn replies_that_were_accepted_in_the_future_expire_and_new_ones_come_back_to_the_clock() {
    let house = House::new();
    answer_one(&house, TEN_YEARS, "one");
    assert!(ahead(&house, "sent") > DAY);
    let future = house.names("sent");
    answer_one(&house, 0, "two");
    let mut names = house.names("sent");
    names.retain(|name| !future.contains(name));
    let accepted: i64 = names[0].split('-').next().unwrap().parse().unwrap();
    assert!(accepted - house.sim.now() * 1000 <= DAY, "{names:?}");
    house.wait_to_hear(&["re one", "re two"]);
    let _gateway = start_gateway(&house, 9 * DAY);
    assert_eq!(house.names("sent"), [""; 0]);
}

#[test]
fn a_clock_that_jumps_ahead_takes_no_fresh_tombstone_away() {
    let house = House::new();
    answer_one(&house, 0, "deploy");
    let gateway = start_gateway(&house, TEN_YEARS);
    assert_eq!(house.names("done").len(), 1);
    assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
    house.arrive("next");
    assert_eq!(house.inbox_texts(), ["next"]);
    assert!(gateway.stop().success());
}
