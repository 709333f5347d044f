//! The simulator's clock: real time plus an offset that tests may move.
//!
//! Message dates, the 24 h expiry, the anti-spin rules and the rate buckets read it. Long polls and injected delays
//! wait in real time, because a moved clock must not answer a poll early.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Real time plus a settable offset.
pub(crate) struct Clock {
    started: Instant,
    offset_ms: AtomicI64,
    /// Replaces real time while the clock stands still; 0 while it runs.
    frozen_ms: AtomicI64,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the simulator that reads a clock"
    )]
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            offset_ms: AtomicI64::new(0),
            frozen_ms: AtomicI64::new(0),
        }
    }

    /// Unix milliseconds as the simulated server sees them.
    pub(crate) fn now_ms(&self) -> i64 {
        let base = match self.frozen_ms.load(Ordering::SeqCst) {
            0 => real_ms(),
            frozen => frozen,
        };
        base.saturating_add(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Lets the clock stand still, or run again.
    pub(crate) fn freeze(&self, still: bool) {
        self.frozen_ms
            .store(if still { real_ms() } else { 0 }, Ordering::SeqCst);
    }

    /// Real milliseconds since the simulator was started; never moved by tests.
    pub(crate) fn uptime_ms(&self) -> i64 {
        millis(self.started.elapsed())
    }

    /// This moment, to measure from.
    pub(crate) fn instant(&self) -> Instant {
        self.started + self.started.elapsed()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset_ms.fetch_add(millis(by), Ordering::SeqCst);
    }

    pub(crate) fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::SeqCst);
    }
}

/// Unix milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the simulator that reads a clock"
)]
fn real_ms() -> i64 {
    millis(
        std::time::SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A duration in whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Waits in real time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the simulator that sleeps"
)]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
