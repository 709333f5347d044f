//! `telepost mcp` from its start to the answer to `initialize`, and what it takes then.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::machine::resident;
use crate::table::{Table, median};
use crate::{Agent, House};

const STARTS: usize = 100;
const SIZES: usize = 9;

pub(crate) fn measure(table: &mut Table) {
    let house = House::new();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut our_size, mut bare_size, mut after_poll) = (Vec::new(), Vec::new(), Vec::new());
    build_bare();
    for round in 0..STARTS {
        let (agent, time) = timed(&mut house.agent_command("ONE"));
        ours.push(time);
        let (other, time) = timed(&mut bare_command());
        bare.push(time);
        if round >= STARTS - SIZES {
            our_size.extend(resident(agent.pid()));
            bare_size.extend(resident(other.pid()));
        }
    }
    table.times(
        "`telepost mcp`: start of the process to `initialize` answered",
        "≤ 8 ms",
        &ours,
        &[("a bare rmcp server", &bare)],
    );
    let beside = format!("a bare rmcp server: {}", size(&bare_size));
    table.value(
        "`telepost mcp`: resident after `initialize`",
        "≤ 8 MB",
        &size(&our_size),
        SIZES,
        &beside,
    );

    let gateway = house.gateway();
    for n in 0..20 {
        house.say(&format!("Message {n} of those that wait."));
    }
    house.wait_for_inbox(20);
    for _ in 0..SIZES {
        let mut agent = house.agent();
        let page = agent.poll(json!({}));
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(20));
        after_poll.extend(resident(agent.pid()));
    }
    drop(gateway);
    table.value(
        "`telepost mcp`: resident after a poll with 20 messages",
        "≤ 8 MB",
        &size(&after_poll),
        SIZES,
        "",
    );
}

/// Starts a server and waits until it has answered.
fn timed(command: &mut Command) -> (Agent, Duration) {
    let began = Instant::now();
    let mut agent = Agent::start_without_handshake(command);
    let hello = agent.request(
        "initialize",
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}),
    );
    let time = began.elapsed();
    assert!(hello["result"].is_object(), "{hello}");
    (agent, time)
}

/// cargo builds examples for tests and not for benches.
fn build_bare() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--example", "bare_rmcp"])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(built.success(), "the baseline cannot be built");
}

fn bare_command() -> Command {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_telepost"));
    let mut command = Command::new(program.with_file_name("examples").join("bare_rmcp"));
    command.env_clear().stderr(Stdio::null());
    command
}

/// The medians of all that is resident, and of what of it is not file pages.
pub(crate) fn size(sizes: &[(f64, f64)]) -> String {
    if sizes.is_empty() {
        return "not known".to_owned();
    }
    let all = median(sizes.iter().map(|size| size.0).collect());
    let own = median(sizes.iter().map(|size| size.1).collect());
    format!("{all:.1} MB ({own:.1} MB without file pages)")
}
