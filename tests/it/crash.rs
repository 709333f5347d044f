//! Every durable step and every word given has a point before and after it. The process dies there,
//! is started again, and the promise holds.

use std::sync::{Arc, Mutex};

use crate::support::House;
use crate::support::day::{Who, live_through, prepare};
use crate::support::oracle::Ledger;
use crate::support::worker::{Keeper, Worker};

/// How it dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// `kill -9`: the kernel keeps what it has heard of.
    Kill,
    /// Power: what was not synced is gone.
    Power,
    /// `kill -9`, and nobody makes the agent's lost call again.
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
    let house = House::new();
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
    if point == "flood-gate:after" {
        nothing_was_sent_through_the_closed_gate(&house);
    }
    ledger.lock().unwrap().check(&house.sim);
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

macro_rules! points {
    ($who:expr, $($name:ident $step:literal)*) => {
        $(#[test]
        fn $name() {
            a_day($who, $step);
        })*
    };
}

mod gateway_dies_at {
    use super::{Who, a_day};

    points! { Who::Gateway,
        inbox_entry "inbox-entry"
        inbox_sync "inbox-sync"
        confirm "confirm"
        dead_letter "dead-letter"
        settle "settle"
        in_flight "in-flight"
        send "send"
        accepted "accepted"
        flood_gate "flood-gate"
        finish "finish"
        leave "leave"
        presence "presence"
        quarantine "quarantine"
        sweep "sweep"
    }
}

mod agent_dies_at {
    use super::{Who, a_day};

    points! { Who::Agent,
        agent "agent"
        hold "hold"
        seen "seen"
        accept "accept"
        settle "settle"
        release "release"
        answer "answer"
        quarantine "quarantine"
    }
}
