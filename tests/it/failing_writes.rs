//! Every write of every step fails, with a full disk and with files of another user. The day goes
//! on: meanwhile nothing is confirmed, shown or accepted that is not on disk, a refused caller reads what to do, and at the end the promise holds.
//!
//! A write has parts (the bytes, the name, the sync of the folder); the failures strike one after the
//! other, so that also a file that is there counts as not written.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::day::{OnDrop, Who, live_through, prepare};
use crate::support::oracle::Ledger;
use crate::support::worker::{Keeper, Worker};
use crate::support::{House, names_in, wait_for};

/// The log line of a failing write in a test build.
const STRUCK: &str = "a test lets this write fail";

/// How a write fails, and the words of the remedy.
#[derive(Clone, Copy, Debug)]
struct Failure {
    errno: &'static str,
    remedy: &'static str,
}

const FULL: Failure = Failure {
    errno: "enospc",
    remedy: "disk full: free some space",
};
const FOREIGN: Failure = Failure {
    errno: "eacces",
    remedy: "check who owns it",
};

/// Both failures, side by side.
fn a_day(who: Who, step: &str, at_least: usize) {
    std::thread::scope(|scope| {
        for failure in [FULL, FOREIGN] {
            scope.spawn(move || day(who, step, at_least, failure));
        }
    });
}

fn day(who: Who, step: &str, at_least: usize, failure: Failure) {
    let mut house = House::new();
    house.prepare(step);
    // The gateway makes longer and longer pauses.
    let most = if who == Who::Gateway { 3 } else { 5 };
    let fail = format!("{step}:{}:{most}", failure.errno);
    let fail = vec![("TELEPOST_FAIL_AT".to_owned(), fail)];
    let (mut gateway_env, mut agent_env) = match who {
        Who::Gateway => (fail, Vec::new()),
        Who::Agent => (Vec::new(), fail),
    };
    if (who, step) == (Who::Gateway, "quarantine") {
        a_damaged_reply(&house);
    } else {
        prepare(&house, who, step, &mut gateway_env, &mut agent_env);
    }

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let keeper = Keeper::new(&house, gateway_env);
    let mut worker = Worker::new(&house, house.bot(), "ONE", &ledger, agent_env);
    worker.bears = Some(failure.remedy);
    worker.looks_after = true;
    keeper.ensure();
    if (who, step) == (Who::Gateway, "quarantine") {
        // Else the agent meets the damage first.
        wait_for("the gateway to meet it", || {
            let log = logs(&house, Who::Gateway);
            if log.contains(STRUCK) {
                Ok(())
            } else {
                Err(log)
            }
        });
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| nothing_is_confirmed_before_it_is_stored(&house, &over));
        let _over = OnDrop(&over);
        live_through(&house, &ledger, &keeper, &mut worker);
    });
    ledger.lock().unwrap().check(&house.sim);

    let log = logs(&house, who);
    let struck = log.matches(STRUCK).count();
    assert!(
        struck >= at_least,
        "{struck} of {at_least} writes failed at {step}"
    );
    // The person or agent that can act was told how.
    assert!(
        worker.refusals > 0 || log.contains(failure.remedy),
        "nobody was told {:?}:\n{log}",
        failure.remedy
    );
    assert_eq!(*keeper.deaths.lock().unwrap(), 0);
    assert!(names_in(&house.session("conversations")).len() <= 2);
}

/// A reply that cannot be read.
fn a_damaged_reply(house: &House) {
    fs::create_dir_all(house.session("outbox")).unwrap();
    let path = house.session("outbox/1700000000000-0123456789abcdef0123456789abcdef.json");
    fs::write(path, "{").unwrap();
}

/// The output of the gateways or the agents.
fn logs(house: &House, who: Who) -> String {
    let name = match who {
        Who::Gateway => "gateway-",
        Who::Agent => "agents.log",
    };
    let names = names_in(house.path()).into_iter();
    names
        .filter(|file| file.starts_with(name))
        .map(|file| fs::read_to_string(house.path().join(file)).unwrap())
        .collect()
}

/// Looks all the time whether what Telegram was told to forget is on disk.
fn nothing_is_confirmed_before_it_is_stored(house: &House, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        // First what is confirmed; then the folders in the order in which entries move.
        let confirmed = house.sim.confirmed(house.bot());
        let mut names = house.names("inbox");
        names.extend(house.names("done"));
        let dead = names_in(&house.state().join(format!("bots/{}/dead", house.bot()))).len();
        let missing: Vec<_> = confirmed
            .iter()
            .filter(|id| {
                !names
                    .iter()
                    .any(|name| name.ends_with(&format!("-{id}.json")))
            })
            .collect();
        assert!(
            missing.len() <= dead,
            "confirmed and not stored: {missing:?}; {dead} dead letters; {names:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

macro_rules! steps {
    ($who:expr, $($name:ident $step:literal $at_least:literal)*) => {
        $(#[test]
        fn $name() {
            a_day($who, $step, $at_least);
        })*
    };
}

/// With the number of writes of that step that surely fail.
mod of_the_gateway_at {
    use super::{Who, a_day};

    steps! { Who::Gateway,
        inbox_entry "inbox-entry" 3
        inbox_sync "inbox-sync" 3
        dead_letter "dead-letter" 3
        settle "settle" 1
        in_flight "in-flight" 3
        accepted "accepted" 3
        rate_limit "rate-limit" 1
        receipt "receipt" 1
        finish "finish" 3
        leave "leave" 3
        presence "presence" 3
        quarantine "quarantine" 1
        sweep "sweep" 1
    }
}

mod of_the_agent_at {
    use super::{Who, a_day};

    steps! { Who::Agent,
        agent "agent" 5
        hold "hold" 5
        told "told" 3
        stage "stage" 5
        attach "attach" 5
        accept "accept" 5
        settle "settle" 5
        release "release" 5
        quarantine "quarantine" 5
    }
}

#[test]
fn gates_that_are_damaged_and_cannot_be_kept_keep_the_gateway_from_starting_until_they_can() {
    for failure in [FULL, FOREIGN] {
        let house = House::new();
        let gates = house
            .state()
            .join(format!("bots/{}/gates.json", house.bot()));
        fs::create_dir_all(gates.parent().unwrap()).unwrap();
        fs::write(&gates, "{").unwrap();
        let fail = format!("quarantine:{}", failure.errno);
        let (status, log) = house.gateway_with(&[("TELEPOST_FAIL_AT", &fail)]).end();
        assert!(!status.success());
        assert!(log.contains(failure.remedy), "{log}");
        assert_eq!(fs::read(&gates).unwrap(), b"{");
        assert_eq!(house.sim.call_count(house.bot(), "getUpdates"), 0);
        let _gateway = house.gateway();
        assert!(!gates.exists());
        assert_eq!(names_in(&house.state().join("quarantine")).len(), 1);
    }
}

/// Its folder cannot be synced three times over: the third time the file is there, and is not safe.
#[test]
fn a_reply_whose_last_sync_failed_is_accepted_only_when_it_is_safe() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("question");
    house.wait_for_inbox(1);
    assert!(gateway.stop().success());
    let mut command = house.agent_command("ONE");
    // The power goes when the sixth answer is out: hello, one that shows, three that refuse, "accepted".
    command
        .env("TELEPOST_FAIL_AT", "accept:eio:3")
        .env("TELEPOST_CRASH_AT", "answer:after:6")
        .env("TELEPOST_POWER_LOSS", "1");
    let mut agent = crate::support::Agent::start(&mut command);
    agent.wait_for_message();
    let answer = json!({"text": "answer"});
    for _ in 0..3 {
        let refusal = agent
            .call_as("call", "telegram_reply", answer.clone())
            .refused();
        assert!(refusal.contains("cannot write"), "{refusal}");
    }
    let accepted = agent.call_as("call", "telegram_reply", answer).ok();
    assert_eq!(accepted["status"], "accepted");
    agent.end();
    assert_eq!(house.names("outbox").len(), 1, "accepted and lost");
    let _gateway = house.gateway();
    house.wait_to_hear(&["answer"]);
}

#[test]
fn a_dead_letter_whose_last_sync_failed_is_confirmed_only_when_it_is_safe() {
    let house = House::new();
    let gateway = house.gateway_with(&[
        ("TELEPOST_FAIL_AT", "dead-letter:eio:3"),
        ("TELEPOST_CRASH_AT", "confirm:after"),
        ("TELEPOST_POWER_LOSS", "1"),
    ]);
    house.sim.raw_text(house.bot(), "null");
    house.say("a batch without any id is not confirmed");
    house.wait_for_inbox(1);
    // Until then the batch comes again and again.
    gateway.wait_until_polling(&house);
    house.say("answers the poll that confirms it");
    drop(gateway.end());
    assert_eq!(house.dead_letters().len(), 1, "confirmed and lost");
}

#[test]
fn an_agent_whose_registration_could_not_be_written_counts_as_living_when_it_could() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut command = house.agent_command("ONE");
    command.env("TELEPOST_FAIL_AT", "agent:enospc:2");
    let mut agent = crate::support::Agent::start(&mut command).thread("one");
    for _ in 0..2 {
        let refusal = agent.call("telegram_poll", json!({})).refused();
        assert!(refusal.contains(FULL.remedy), "{refusal}");
    }
    house.say("question");
    agent.wait_for_message();
    // Held by a living process: not shown to another.
    let mut other = house.agent().thread("two");
    assert_eq!(other.poll(json!({})).get("messages"), None);
}
