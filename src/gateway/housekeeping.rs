//! Housekeeping: removes files that are past their time, at the start and once an hour.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::state;
use crate::state::layout::StateDir;

/// How often the housekeeper removes old tombstones, results, files and locks.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Sweeps the state folder once an hour until it is told to stop.
pub(super) async fn run(state: StateDir, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            // Cancel-safe: nothing is begun before the pause is over.
            () = stop.cancelled() => return,
            () = clock.sleep(INTERVAL) => sweep(&state, &clock),
        }
    }
}

/// Removes files that are past their time. A failure costs room, never a message.
pub(super) fn sweep(state: &StateDir, clock: &Clock) {
    // The times of files come from the system's clock, which no test shifts.
    let file_time = Clock::system().now();
    if let Err(error) = state::sweep::sweep(state, clock.now(), file_time) {
        tracing::warn!(error = %Chain(&error), "cannot clean up");
    }
}
