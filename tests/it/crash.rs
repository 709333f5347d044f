//! Every durable step and every word given has a point before and after it. The process dies there,
//! is started again, and the promise holds.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use telegram_sim::Fault;

use crate::support::oracle::{Ledger, Place};
use crate::support::worker::{Keeper, Worker, at_rest, say};
use crate::support::{House, OWNER, wait_for};

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Gateway,
    Agent,
}

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
    let place = Place { bot, chat: OWNER };
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
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keeper.keep(&over));
        // Also when a test fails in here: a scope waits for its threads.
        let _over = OnDrop(&over);
        the_day_itself(&house, &ledger, place, &mut worker);
    });
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

/// Two questions and their answer, poison, a long answer into a flood gate, progress, an
/// acknowledgement, and one more answer.
fn the_day_itself(house: &House, ledger: &Mutex<Ledger>, place: Place, worker: &mut Worker<'_>) {
    let bot = place.bot;
    let work = |worker: &mut Worker<'_>, lines: usize| {
        wait_for("the inbox to be empty", || {
            worker.look(lines > 1, 0);
            worker.answer(lines);
            let left = house.names("inbox").len() + house.sim.pending(bot);
            if left == 0 && !worker.holds_something() {
                Ok(())
            } else {
                Err(left)
            }
        });
    };
    house.sim.raw_text(bot, "null");
    say(house, ledger, place, "m1");
    say(house, ledger, place, "m2");
    work(worker, 1);
    let wait = "Too Many Requests: retry after 1";
    house.sim.fault(
        Fault::on(bot)
            .method("sendMessage")
            .error(429, wait)
            .retry_after(1),
    );
    say(house, ledger, place, "m3");
    work(worker, 120);
    say(house, ledger, place, "m4");
    wait_for("m4", || {
        worker.look(true, 0);
        if worker.holds_something() {
            Ok(())
        } else {
            Err(())
        }
    });
    worker.progress();
    worker.progress();
    worker.acknowledge();
    say(house, ledger, place, "m5");
    work(worker, 1);
    wait_for("everything to be settled and sent", || {
        at_rest(house, &["ONE"], ledger)
    });
}

/// Sets a flag at the end, however it ends.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
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

/// What it takes to reach the rarer steps.
fn prepare(
    house: &House,
    who: Who,
    step: &str,
    gateway_env: &mut Vec<(String, String)>,
    agent_env: &mut Vec<(String, String)>,
) {
    let put = |folder: &str, name: &str, text: &str| {
        fs::create_dir_all(house.session(folder)).unwrap();
        fs::write(house.session(folder).join(name), text).unwrap();
    };
    match (who, step) {
        // The agent's side settles first, unless it dies just after the commit.
        (Who::Gateway, "settle") => {
            agent_env.push(("TELEPOST_CRASH_AT".to_owned(), "accept:after".to_owned()));
        }
        (Who::Gateway, "quarantine") => {
            let folder = house.state().join(format!("bots/{}", house.bot()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("gates.json"), "{").unwrap();
        }
        (Who::Agent, "quarantine") => put("conversations", "process-1-1.json", "{"),
        (Who::Gateway, "sweep") => {
            put(
                "done",
                "1700000000000-7.json",
                &json!({"format": 1}).to_string(),
            );
            gateway_env.push((
                "TELEPOST_TEST_CLOCK_MS".to_owned(),
                (72 * 3600 * 1000).to_string(),
            ));
        }
        _ => {}
    }
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
