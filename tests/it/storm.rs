//! Real processes under a killer that strikes at random moments, with faults of the network at the
//! same time: nothing is lost, nothing is answered twice.
//!
//! `TELEPOST_SEED` repeats a run as far as threads allow. Small counts by default, the promise's own
//! with `TELEPOST_SOAK=1` (run with `--run-ignored all`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use telegram_sim::Fault;

use crate::support::oracle::{Ledger, Place};
use crate::support::worker::{Keeper, Worker, at_rest, say};
use crate::support::{House, OWNER};

/// A small generator, so that a seed says everything.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// One of these.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}

struct Storm {
    seed: u64,
    messages: usize,
    kills: usize,
    /// Said before anything runs.
    backlog: usize,
    limit: Duration,
}

/// The group of a session: every bot in a group hears everything there, so each has its own.
fn group(session: usize) -> i64 {
    -1_000_500 - i64::try_from(session).unwrap()
}

fn seed() -> u64 {
    let given = std::env::var("TELEPOST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        u64::from(now.subsec_nanos()) | 1
    })
}

impl Storm {
    fn rage(&self) {
        println!(
            "storm: TELEPOST_SEED={} messages={} kills={}",
            self.seed, self.messages, self.kills
        );
        let mut house = House::empty();
        let sessions = ["ONE", "TWO", "THREE"];
        let bots: Vec<i64> = sessions
            .iter()
            .enumerate()
            .map(|(index, session)| {
                house.add_session(session, json!({"chat_ids": [OWNER, group(index)]}))
            })
            .collect();
        house.write_config();
        let trail = leaves_a_trail(&mut house);
        let house = house;
        let mut places = Vec::new();
        for (index, &bot) in bots.iter().enumerate() {
            let kind = telegram_sim::GroupKind::Supergroup;
            house.sim.add_group(group(index), "Crew", kind);
            house.sim.open_chat(bot, group(index));
            places.extend([OWNER, group(index)].map(|chat| Place { bot, chat }));
        }
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        for index in 0..self.backlog {
            say(
                &house,
                &ledger,
                places[index % places.len()],
                &format!("b{index}"),
            );
        }

        let keeper = Keeper::new(&house, Vec::new());
        keeper.ensure();
        let began = Instant::now();
        let (calm, struck, said_all) = (
            AtomicBool::new(false),
            AtomicUsize::new(0),
            AtomicBool::new(false),
        );
        let victims: Vec<Arc<Mutex<Option<u32>>>> =
            sessions.iter().map(|_| Arc::default()).collect();
        std::thread::scope(|scope| {
            let (house, ledger, keeper, calm, struck, said_all) =
                (&house, &ledger, &keeper, &calm, &struck, &said_all);
            for (index, session) in sessions.into_iter().enumerate() {
                let (bot, victim) = (bots[index], Arc::clone(&victims[index]));
                let dice = Dice(self.seed.wrapping_mul(31).wrapping_add(index as u64) | 1);
                scope.spawn(move || {
                    let mut worker = Worker::new(house, bot, session, ledger, Vec::new());
                    worker.pid = victim;
                    work(&mut worker, dice, calm);
                });
            }
            scope.spawn(|| {
                self.person(house, ledger, &places);
                said_all.store(true, Ordering::SeqCst);
            });
            scope.spawn(|| self.weather(house, &bots, calm));
            scope.spawn(|| self.killer(keeper, &victims, struck));
            // The keeper lives here: it is done when all is said, the killer is satisfied and
            // nothing waits any more.
            loop {
                keeper.ensure();
                let over =
                    said_all.load(Ordering::SeqCst) && struck.load(Ordering::SeqCst) >= self.kills;
                let rest = at_rest(house, &sessions, ledger);
                if over && rest.is_ok() {
                    break;
                }
                if began.elapsed() > self.limit {
                    calm.store(true, Ordering::SeqCst);
                    struck.store(usize::MAX / 2, Ordering::SeqCst);
                    panic!(
                        "seed {}: not at rest after {:?}: {rest:?}",
                        self.seed, self.limit
                    );
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            calm.store(true, Ordering::SeqCst);
        });
        let took = began.elapsed();
        let ledger = ledger.lock().unwrap();
        ledger.check(&house.sim);
        let marked = places
            .iter()
            .flat_map(|place| house.sim.bot_texts(place.bot, place.chat))
            .filter(|text| text.starts_with('↻'))
            .count();
        println!(
            "storm over: seed {}, {} messages, {} replies, {} marked, {} kills ({} found dead gateways) in {took:.1?}",
            self.seed,
            ledger.said.len(),
            ledger.attempts.len(),
            marked,
            struck.load(Ordering::SeqCst),
            keeper.deaths.lock().unwrap(),
        );
        where_it_struck(&trail);
    }

    /// Says everything, spread over the storm.
    fn person(&self, house: &House, ledger: &Mutex<Ledger>, places: &[Place]) {
        let mut dice = Dice(self.seed | 1);
        let pause =
            u64::try_from(self.limit.as_micros()).unwrap() / 6 / self.messages.max(1) as u64;
        for index in self.backlog..self.messages {
            let place = *dice.pick(places);
            say(house, ledger, place, &format!("m{index}"));
            std::thread::sleep(Duration::from_micros(dice.roll(pause.clamp(1, 40_000) + 1)));
        }
    }

    /// Lost answers, 429, resets, half answers, redelivery, hung and slow polls.
    fn weather(&self, house: &House, bots: &[i64], calm: &AtomicBool) {
        let mut dice = Dice(self.seed.rotate_left(17) | 1);
        while !calm.load(Ordering::SeqCst) {
            let bot = *dice.pick(bots);
            let send = Fault::on(bot).method("sendMessage");
            let poll = Fault::on(bot).method("getUpdates");
            match dice.roll(12) {
                0 | 1 => drop(house.sim.fault(send.answer_lost())),
                2 => drop(house.sim.fault(send.closed_after())),
                3 => drop(house.sim.fault(send.reset_before())),
                4 => drop(house.sim.fault(send.html(502))),
                5 => drop(
                    house.sim.fault(
                        send.error(429, "Too Many Requests: retry after 1")
                            .retry_after(1),
                    ),
                ),
                6 => drop(house.sim.fault(send.delay_after(Duration::from_millis(50)))),
                7 => drop(house.sim.fault(poll.answer_lost())),
                8 => drop(house.sim.fault(poll.truncated())),
                9 => drop(house.sim.fault(poll.error(500, "Internal Server Error"))),
                10 => drop(house.sim.fault(poll.delay_after(Duration::from_millis(30)))),
                _ => drop(house.sim.redeliver(bot, 5)),
            }
            std::thread::sleep(Duration::from_millis(50 + dice.roll(150)));
        }
        house.sim.clear_faults();
    }

    /// Strikes the gateway, an agent's server, or both, in the midst of whatever they do.
    fn killer(
        &self,
        keeper: &Keeper<'_>,
        victims: &[Arc<Mutex<Option<u32>>>],
        struck: &AtomicUsize,
    ) {
        let mut dice = Dice(self.seed.rotate_right(23) | 1);
        while struck.load(Ordering::SeqCst) < self.kills {
            // Anything from at once to long enough for some work in between.
            std::thread::sleep(Duration::from_micros(500 + dice.roll(350_000)));
            let (gateway, server) = match dice.roll(5) {
                0 | 1 => (true, false),
                2 | 3 => (false, true),
                _ => (true, true),
            };
            if gateway {
                keeper.kill();
                struck.fetch_add(1, Ordering::SeqCst);
            }
            if server {
                let victim = dice.pick(victims).lock().unwrap();
                // Held while striking, so that the number cannot be another process's meanwhile.
                if let Some(pid) = victim
                    .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()))
                {
                    let _struck = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    struck.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}

/// From now on each process of the house notes which point it has passed last.
fn leaves_a_trail(house: &mut House) -> PathBuf {
    let trail = house.path().join("trail");
    std::fs::create_dir(&trail).unwrap();
    let folder = trail.to_str().unwrap().to_owned();
    house.env.push(("TELEPOST_TRAIL".to_owned(), folder));
    trail
}

/// Prints how many processes had passed each point last when they ended: by the killer, but for the
/// few that were alive at the end or died with their agent.
fn where_it_struck(trail: &Path) {
    let mut struck = BTreeMap::<String, usize>::new();
    for note in std::fs::read_dir(trail).unwrap() {
        let note = note.unwrap();
        let name = note.file_name().into_string().unwrap();
        let who = name.split('-').next().unwrap();
        let last = std::fs::read_to_string(note.path()).unwrap();
        *struck.entry(format!("{who} {}", last.trim())).or_default() += 1;
    }
    println!("the last point that each process passed:");
    for (point, times) in struck {
        println!("  {times:>5}  {point}");
    }
}

/// An agent that answers, acknowledges, reports, gives calls up, and dies with messages in hand.
fn work(worker: &mut Worker<'_>, mut dice: Dice, calm: &AtomicBool) {
    while !calm.load(Ordering::SeqCst) {
        match dice.roll(20) {
            0..=4 => worker.look(true, 0),
            5..=8 => worker.look(false, dice.roll(2)),
            9..=14 => worker.answer(1),
            15 => worker.answer(120),
            16 | 17 => worker.acknowledge(),
            18 => worker.progress(),
            _ => match dice.roll(4) {
                0 => worker.die(),
                1 | 2 => worker.cancel_a_poll(),
                _ => worker.answer(1),
            },
        }
    }
}

#[test]
fn two_hundred_kills_lose_nothing_and_answer_nothing_twice() {
    let storm = Storm {
        seed: seed(),
        messages: 500,
        kills: 200,
        backlog: 200,
        limit: Duration::from_secs(150),
    };
    storm.rage();
}

#[test]
#[ignore = "minutes; run by TELEPOST_SOAK=1"]
fn a_thousand_kills_lose_nothing_and_answer_nothing_twice() {
    for seed in [seed(), 20_261_120, 7] {
        let storm = Storm {
            seed,
            messages: 5000,
            kills: 1000,
            backlog: 500,
            limit: Duration::from_secs(1500),
        };
        storm.rage();
    }
}
