//! Measures the promised speed and size: the real release program over real pipes, against the
//! simulator in this process. Prints one table and judges nothing: how fast a machine is that others
//! use too is no reason to fail.
//!
//! `TELEPOST_BIN=/path/to/another/telepost` measures that program beside ours, part by part.
//!
//! Everything lies in the temporary folder (`TMPDIR`), which should be on the disk whose syncs count.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::needless_pass_by_value,
    dead_code,
    reason = "a bench fails by panicking, makes its own files and times, and uses a part of the harness of the tests"
)]

mod files;
mod gateway;
mod machine;
mod mailbox;
mod mixed;
mod start;
mod syncs;
mod table;
mod waking;
mod way;

// The harness of the tests, as far as it needs no hooks.
#[path = "../../tests/it/support/agent.rs"]
mod agent;
#[path = "../../tests/it/support/house.rs"]
mod house;

pub(crate) use agent::Agent;
pub(crate) use house::House;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long anything may take before it is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Looks until the condition gives something; the last status is in the panic.
pub(crate) fn wait_for<T, S: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(status) if Instant::now() >= deadline => {
                panic!("waited in vain for {what}; last seen: {status:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Another program, such as the release before: all is measured of it, too.
const OTHER: &str = "TELEPOST_BIN";
/// The program that houses run, where it is not ours.
static PROGRAM: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The program that a new house runs.
pub(crate) fn program() -> PathBuf {
    let program = PROGRAM.lock().unwrap().clone();
    program.unwrap_or_else(|| env!("CARGO_BIN_EXE_telepost").into())
}

/// All programs that are measured, by what the table calls them.
pub(crate) fn programs() -> Vec<(&'static str, PathBuf)> {
    let other = std::env::var_os(OTHER).map(|program| (OTHER, program.into()));
    let ours = ("this", env!("CARGO_BIN_EXE_telepost").into());
    other.into_iter().chain([ours]).collect()
}

/// Measures figures and puts them into the table.
type Measure = fn(&mut table::Table);

/// The parts, which may be asked for by name: `cargo bench --bench figures -- start gateway`.
const PARTS: [(&str, Measure); 11] = [
    ("start", start::measure),
    ("way", way::measure),
    ("ingest", mailbox::measure_ingest),
    ("pending", mailbox::measure_pending),
    ("mixed", mixed::measure),
    ("gateway", gateway::measure),
    ("files", files::measure),
    ("waking", waking::measure),
    ("hooks", waking::measure_hooks),
    ("idle", waking::measure_idle),
    // Last: it measures all programs by itself.
    (SYNCS, syncs::measure),
];
const SYNCS: &str = "syncs";

fn main() {
    let load = machine::load();
    let mut table = table::Table::default();
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, measure) in PARTS {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        if name == SYNCS {
            measure(&mut table);
            continue;
        }
        let programs = programs();
        for (label, program) in &programs {
            *PROGRAM.lock().unwrap() = Some(program.clone());
            table.of = (programs.len() > 1).then(|| (*label).to_owned());
            measure(&mut table);
        }
        *PROGRAM.lock().unwrap() = None;
        table.of = None;
    }
    println!("\n{}", machine::describe());
    println!("load average before {load}, after {}\n", machine::load());
    println!("{table}");
}
