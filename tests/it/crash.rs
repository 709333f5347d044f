//! Every durable step and every word given has a point before and after it. The process dies there,
//! is started again, and the promise holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::day::{Who, live_through, prepare};
use crate::support::oracle::Ledger;
use crate::support::worker::{Keeper, Worker};
use crate::support::{House, OWNER, wait_for};

/// How it dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// `kill -9`: the kernel keeps what it has heard of.
    Kill,
    /// Power: what was not synced is gone.
    Power,
    /// `kill -9`, and no process makes the agent's lost call again.
    WithClient,
}

/// A day with everything in it, in which one process dies at one point.
fn a_day(who: Who, step: &str) {
    for side in ["before", "after"] {
        let point = format!("{step}:{side}");
        day(who, step, &point, Death::Kill);
        day(who, step, &point, Death::Power);
        if who == Who::Agent {
            day(who, step, &point, Death::WithClient);
        }
    }
}

fn day(who: Who, step: &str, point: &str, death: Death) {
    let mut house = House::new();
    house.prepare(step);
    let bot = house.bot();
    let crash = vec![("TELEPOST_CRASH_AT".to_owned(), point.to_owned())];

    let (mut gateway_env, mut agent_env) = match who {
        Who::Gateway => (crash, Vec::new()),
        Who::Agent => (Vec::new(), crash),
    };
    if death == Death::Power {
        for env in [&mut gateway_env, &mut agent_env] {
            env.push(("TELEPOST_POWER_LOSS".to_owned(), "1".to_owned()));
        }
    }
    prepare(&house, who, step, &mut gateway_env, &mut agent_env);

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let keeper = Keeper::new(&house, gateway_env);
    let mut worker = Worker::new(&house, bot, "ONE", &ledger, agent_env);
    worker.mortal = death == Death::WithClient;
    keeper.ensure();
    live_through(&house, &ledger, &keeper, &mut worker);
    let struck = match who {
        Who::Gateway => *keeper.deaths.lock().unwrap(),
        Who::Agent => worker.deaths,
    };
    assert!(struck > 0, "nothing died at {point}");
    if point == "rate-limit:after" {
        nothing_was_sent_through_the_closed_gate(&house);
    }
    if step == "receipt" {
        no_receipt_stays(&house);
    }
    ledger.lock().unwrap().check(&house.sim);
    drop(keeper);
    nothing_is_left_for_ever(&house);
}

/// Copies of files that a killed process has left go when the next gateway starts.
fn nothing_is_left_for_ever(house: &House) {
    if !house.outbox().is_empty() {
        let _gateway = house.gateway();
        house.wait_until_the_outbox_is_empty();
    }
}

/// The gate was recorded before the gateway died, so the next gateway knows of it.
fn nothing_was_sent_through_the_closed_gate(house: &House) {
    let calls = house.sim.calls(house.bot());
    let closed = calls
        .iter()
        .find(|call| call.outcome.code() == Some(429))
        .unwrap();
    let until = closed.answered_at_ms.unwrap() + 1000;
    let early: Vec<_> = calls
        .iter()
        .filter(|call| {
            call.chat_id == closed.chat_id && call.at_ms > closed.at_ms && call.at_ms < until
        })
        .collect();
    assert!(
        early.is_empty(),
        "sent while the gate was closed: {early:?}"
    );
}

/// Whatever died: at the end everything is answered, and no message wears 👀.
fn no_receipt_stays(house: &House) {
    wait_for("the receipts to be gone", || {
        let lines = house.sim.transcript(house.bot(), OWNER).into_iter();
        let worn: Vec<_> = lines.filter(|line| !line.reactions.is_empty()).collect();
        if worn.is_empty() { Ok(()) } else { Err(worn) }
    });
}

/// Both die on the same day, each at a point of its own. Prints how often each point was struck.
#[test]
#[ignore = "ten minutes; run by TELEPOST_SOAK=1"]
fn pairs_of_points_keep_the_promise() {
    let points = |steps: &[&'static str]| -> Vec<(&'static str, String)> {
        let sides = ["before", "after"];
        let points = steps
            .iter()
            .flat_map(|step| sides.map(|side| (*step, format!("{step}:{side}"))));
        points.collect()
    };
    let agents = points(agent_dies_at::STEPS);
    // Settling by the gateway needs the agent to die at a point of its own.
    let gateways: Vec<_> = points(gateway_dies_at::STEPS)
        .into_iter()
        .filter(|(step, _)| *step != "settle")
        .collect();
    let pairs: Vec<_> = gateways
        .iter()
        .flat_map(|gateway| agents.iter().map(move |agent| (gateway, agent)))
        .collect();
    let (next, struck) = (
        AtomicUsize::new(0),
        Mutex::new(BTreeMap::<String, usize>::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((gateway, agent)) = pairs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (by_gateway, by_agent) = a_bad_day(gateway, agent);
                    let mut struck = struck.lock().unwrap();
                    *struck.entry(format!("gateway {}", gateway.1)).or_default() += by_gateway;
                    *struck.entry(format!("agent {}", agent.1)).or_default() += by_agent;
                }
            });
        }
    });
    let struck = struck.into_inner().unwrap();
    println!("{} pairs; how often each point was struck:", pairs.len());
    for (point, times) in &struck {
        println!("  {point:30} {times}");
    }
    let missed: Vec<_> = struck.iter().filter(|(_, times)| **times == 0).collect();
    assert!(missed.is_empty(), "never struck: {missed:?}");
}

fn a_bad_day(gateway: &(&str, String), agent: &(&str, String)) -> (usize, usize) {
    let mut house = House::new();
    house.prepare(gateway.0);
    let at = |point: &str| vec![("TELEPOST_CRASH_AT".to_owned(), point.to_owned())];
    let (mut gateway_env, mut agent_env) = (at(&gateway.1), at(&agent.1));
    prepare(
        &house,
        Who::Gateway,
        gateway.0,
        &mut gateway_env,
        &mut agent_env,
    );
    prepare(
        &house,
        Who::Agent,
        agent.0,
        &mut gateway_env,
        &mut agent_env,
    );
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let keeper = Keeper::new(&house, gateway_env);
    let mut worker = Worker::new(&house, house.bot(), "ONE", &ledger, agent_env);
    keeper.ensure();
    live_through(&house, &ledger, &keeper, &mut worker);
    ledger.lock().unwrap().check(&house.sim);
    (*keeper.deaths.lock().unwrap(), worker.deaths)
}

macro_rules! points {
    ($who:expr, $all:ident, $($name:ident $step:literal)*) => {
        pub(super) const $all: &[&str] = &[$($step),*];

        $(#[test]
        fn $name() {
            a_day($who, $step);
        })*
    };
}

mod gateway_dies_at {
    use super::{Who, a_day};

    points! { Who::Gateway, STEPS,
        inbox_entry "inbox-entry"
        inbox_sync "inbox-sync"
        confirm "confirm"
        dead_letter "dead-letter"
        settle "settle"
        in_flight "in-flight"
        send "send"
        accepted "accepted"
        rate_limit "rate-limit"
        receipt "receipt"
        finish "finish"
        leave "leave"
        presence "presence"
        quarantine "quarantine"
        sweep "sweep"
    }
}

/// Events beside the messages; the day has none of it.
mod fetcher_dies_at {
    use crate::attachments::dies_at;

    #[test]
    fn download() {
        dies_at("download", false);
        dies_at("download", true);
    }

    #[test]
    fn accept() {
        dies_at("accept", false);
        dies_at("accept", true);
    }
}

mod agent_dies_at {
    use super::{Who, a_day};

    points! { Who::Agent, STEPS,
        agent "agent"
        hold "hold"
        stage "stage"
        attach "attach"
        accept "accept"
        settle "settle"
        release "release"
        answer "answer"
        told "told"
        quarantine "quarantine"
    }
}

/// The installing process dies; there is no day to live through.
mod installer_dies_at {
    use crate::uninstall::dies_at;

    #[test]
    fn install_backup() {
        dies_at("install-backup");
    }

    #[test]
    fn install_record() {
        dies_at("install-record");
    }

    #[test]
    fn install_file() {
        dies_at("install-file");
    }
}
