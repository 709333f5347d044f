//! The harness: a house with a simulator, a configuration and a state folder of its own, gateways
//! and agents as real processes.
//!
//! Each house has bot ids of its own, because the bot lock is per user. No sleeps: whatever is
//! waited for is waited for by a condition and a deadline.

mod agent;
pub(crate) mod client;
mod contract;
pub(crate) mod day;
mod detached;
mod files;
pub(crate) mod home;
pub(crate) mod hooks;
mod house;
pub(crate) mod markdown;
pub(crate) mod oracle;
pub(crate) mod stub;
mod terminal;
pub(crate) mod worker;
mod world;

pub(crate) use agent::{Agent, Answer};
pub(crate) use contract::{FORUM, GROUP, again, ids, texts, without_messages};
pub(crate) use detached::SelfStarting;
pub(crate) use files::png;
pub(crate) use house::{Gateway, House, OWNER};
pub(crate) use terminal::Terminal;
pub(crate) use world::{Background, STRANGER, SUPERGROUP, call, names_in};

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_telepost").into()
}

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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
