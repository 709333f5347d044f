//! A day with everything in it, for tests in which something goes wrong at one point of it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use telegram_sim::Fault;

use super::oracle::{Ledger, Place};
use super::worker::{Keeper, Worker, at_rest, say};
use super::{House, OWNER, wait_for};

/// To whom it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Gateway,
    Agent,
}

/// Lives through the day. The keeper looks after the gateway meanwhile.
pub(crate) fn live_through(
    house: &House,
    ledger: &Arc<Mutex<Ledger>>,
    keeper: &Keeper<'_>,
    worker: &mut Worker<'_>,
) {
    let place = Place {
        bot: house.bot(),
        chat: OWNER,
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| keeper.keep(&over));
        // Also when a test fails in here: a scope waits for its threads.
        let _over = OnDrop(&over);
        the_day_itself(house, ledger, place, worker);
    });
}

/// Two questions and their answer, poison, a long answer into a rate limit, progress, an
/// acknowledgement, and one more answer, with a file.
fn the_day_itself(house: &House, ledger: &Mutex<Ledger>, place: Place, worker: &mut Worker<'_>) {
    let bot = place.bot;
    let work = |worker: &mut Worker<'_>, lines: usize| {
        wait_for("the inbox to be empty", || {
            worker.look(lines > 1, 0);
            worker.answer(lines);
            // In the order in which it moves.
            let unpolled = house.sim.pending(bot);
            let left = unpolled + house.names("inbox").len();
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
    house.file("a.txt", "a file of the last answer");
    worker.files = vec!["a.txt"];
    say(house, ledger, place, "m5");
    work(worker, 1);
    wait_for("everything to be settled and sent", || {
        at_rest(house, &["ONE"], ledger)
    });
}

/// Sets a flag at the end, however it ends.
pub(crate) struct OnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl House {
    /// Switches on what only some steps need.
    pub(crate) fn prepare(&mut self, step: &str) {
        if step == "receipt" {
            self.config["receipts"] = "on".into();
            self.write_config();
        }
    }
}

/// The events that reach the rarer steps.
pub(crate) fn prepare(
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
        (Who::Agent, "told") => {
            let now = now_ms();
            let id = format!("{now}-0123456789abcdef0123456789abcdef");
            let delivery = json!({"format": 1, "id": id, "session": "ONE", "holder": "somebody who is gone",
                "address": {"bot_id": house.bot(), "chat_id": OWNER}, "content": {"kind": "reply", "text": "lost"}});
            let failed = json!({"format": 1, "delivery": delivery, "finished_at": u64::try_from(now).unwrap(),
                "outcome": {"is": "failed", "reason": "refused", "message_ids": []}});
            put("failed", &format!("{id}.json"), &failed.to_string());
        }
        (Who::Gateway, "sweep") => {
            // A name of years ago, alone, would say that the clock has jumped.
            let name = format!("{}-7.json", now_ms());
            put("done", &name, &json!({"format": 1}).to_string());
            gateway_env.push((
                "TELEPOST_TEST_CLOCK_MS".to_owned(),
                (72 * 3600 * 1000).to_string(),
            ));
        }
        _ => {}
    }
}

fn now_ms() -> u128 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis()
}
