//! The promise under chance: telepost's own drivers over a disk in memory.
//!
//! [`world`] is one run. Its [`memory_disk`] forgets what was not synced; its [`telegram`] keeps what it was
//! sent. An [`agent`] calls telepost's `Mailbox` (poll, reply, react, `ack`, a cancelled call), a [`gateway`] calls
//! `Intake::accept` and `DeliveryWorker::send_next`: no order of writes is told twice. Told here are only the two
//! loops around them that wait on the network (docs/decisions/0030-simulated-loops.md). [`action`] chooses what
//! happens; [`invariants`] are asked after every event; at the end of a run the faults stop, and everything must
//! come to rest settled and delivered.
//!
//! A run depends on nothing but its actions. One that fails is made shorter and written to
//! `target/simulation-failure-<seed>.jsonl`: the seed, then one action per line.
//!
//!     TELEPOST_REPLAY=<file> cargo nextest run --features test-hooks --test simulation replay --no-capture
//!     TELEPOST_SEED=<seed>   cargo nextest run --features test-hooks --test simulation one_seed
//!     TELEPOST_SOAK=1        cargo nextest run --features test-hooks --test simulation --run-ignored all
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    clippy::wildcard_enum_match_arm,
    unused_crate_dependencies,
    reason = "a test fails by panicking, and writes the log of its failure"
)]

mod action;
mod agent;
mod broken;
mod gateway;
mod invariants;
mod memory_disk;
mod telegram;
mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::action::Action;
use crate::invariants::Fault;
use crate::world::{Bug, World};

const EVENTS: usize = 200;

/// A run that broke an invariant.
struct Failure {
    actions: Vec<Action>,
    fault: Fault,
}

/// The actions of a seed.
fn actions(seed: u64, events: usize) -> Vec<Action> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut actions = Vec::new();
    while actions.len() < events {
        action::choose(&mut rng, &mut actions);
    }
    actions
}

/// Carries out a run. On a fault: after how many actions, or `len` for the drain.
fn run(actions: &[Action], bug: Option<Bug>) -> Result<World, (usize, Fault)> {
    let mut world = World::new(bug);
    for (index, action) in actions.iter().enumerate() {
        world.apply(action);
        invariants::check(&world).map_err(|fault| (index + 1, fault))?;
    }
    let drained = world.drain(invariants::check);
    drained.map_err(|fault| (actions.len(), fault))?;
    Ok(world)
}

/// Runs a seed; what fails is cut down to the actions that it takes.
fn run_seed(seed: u64, bug: Option<Bug>) -> Result<World, Failure> {
    let mut actions = actions(seed, EVENTS);
    run(&actions, bug).map_err(|(length, mut fault)| {
        actions.truncate(length);
        let mut size = actions.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < actions.len() {
                let mut fewer = actions.clone();
                fewer.drain(at..(at + size).min(actions.len()));
                match run(&fewer, bug) {
                    Err((length, same)) if same.invariant == fault.invariant => {
                        fewer.truncate(length);
                        actions = fewer;
                        fault = same;
                    }
                    _ => at += size,
                }
            }
            size /= 2;
        }
        Failure { actions, fault }
    })
}

fn log_of(seed: u64, actions: &[Action]) -> String {
    let mut log = format!("{{\"seed\":{seed}}}\n");
    for action in actions {
        log += &serde_json::to_string(action).unwrap();
        log.push('\n');
    }
    log
}

/// Shares the seeds among the cores.
fn must_hold_all(seeds: std::ops::Range<u64>) {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    must_hold(seed);
                }
            });
        }
    });
}

fn must_hold(seed: u64) {
    if let Err(failure) = run_seed(seed, None) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("target/simulation-failure-{seed}.jsonl"));
        std::fs::write(&path, log_of(seed, &failure.actions)).unwrap();
        panic!(
            "{}: {}\nthe {} actions that it takes are in {path}; replay them:\n  TELEPOST_REPLAY={path} cargo nextest run --features test-hooks --test simulation replay --no-capture",
            failure.fault.invariant,
            failure.fault.what,
            failure.actions.len(),
            path = path.display(),
        );
    }
}

#[test]
fn three_hundred_runs_keep_every_invariant() {
    must_hold_all(0..300);
}

#[test]
#[ignore = "fifty thousand runs, by hand: TELEPOST_SOAK=1"]
fn fifty_thousand_runs_keep_every_invariant() {
    must_hold_all(1_000..51_000);
}

#[test]
fn one_seed_is_run_if_telepost_seed_names_it_and_nothing_otherwise() {
    if let Ok(seed) = std::env::var("TELEPOST_SEED") {
        must_hold(seed.parse().unwrap());
    }
}

#[test]
fn replay_of_the_file_that_telepost_replay_names_and_nothing_otherwise() {
    let Ok(path) = std::env::var("TELEPOST_REPLAY") else {
        return;
    };
    let log = std::fs::read_to_string(&path).unwrap();
    let mut world = World::new(None);
    println!("{}", world.summary());
    for line in log.lines().skip(1) {
        let action: Action = serde_json::from_str(line).unwrap();
        println!("\n{line}");
        world.apply(&action);
        println!("  {}", world.summary());
        if let Err(fault) = invariants::check(&world) {
            panic!("{}: {}", fault.invariant, fault.what);
        }
    }
    println!("\nno more faults, everybody does their work");
    let drained = world.drain(|world| {
        println!("  {}", world.summary());
        invariants::check(world)
    });
    if let Err(fault) = drained {
        panic!("{}: {}", fault.invariant, fault.what);
    }
}

#[test]
fn a_log_gives_the_same_run_again() {
    let actions = actions(7, EVENTS);
    let read: Vec<Action> = log_of(7, &actions)
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = |actions: &[Action]| {
        run(actions, None)
            .map_err(|(_, fault)| fault)
            .unwrap()
            .summary()
    };
    assert_eq!(summary(&actions), summary(&read));
}
