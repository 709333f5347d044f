//! Time, as an argument: the only place that reads the clocks of the machine or waits.
//!
//! Modules that decide take a [`Timestamp`]; modules that wait take a [`Clock`].

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A day, in milliseconds.
pub const DAY_MS: i64 = 86_400_000;

/// A clock that is so far past the newest name may have jumped.
const QUIET_MOST: Duration = Duration::from_secs(30 * 86_400);

/// Milliseconds since 1970-01-01 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time of a Bot API `date` (seconds since 1970).
    pub fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// This moment and a span more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether a time lies so far ahead of this one that a clock which has jumped must have told it.
    pub fn is_future(self, time: Self) -> bool {
        time.0 > self.0.saturating_add(DAY_MS)
    }

    /// The time by which files expire. A clock that has jumped ahead expires nothing but what is old beside the
    /// newest name.
    #[must_use]
    pub fn for_expiry(self, newest: Self) -> Self {
        if self.since(newest) > QUIET_MOST {
            newest
        } else {
            self
        }
    }

    /// RFC 3339 in UTC, to the second, as the tools show it.
    pub fn rfc3339(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Its day in UTC, such as `2026-11-26`.
    pub fn day(self) -> String {
        self.utc().format("%Y-%m-%d").to_string()
    }

    /// Reads RFC 3339.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(moment.timestamp_millis()))
    }

    /// Hour and minute in the zone of this machine, as a person reads it in `status`; with the date
    /// unless it is that of `now`.
    pub fn local_moment(self, now: Self) -> String {
        let local = |at: Self| at.utc().with_timezone(&Local);
        let (at, now) = (local(self), local(now));
        let form = if at.date_naive() == now.date_naive() {
            "%H:%M"
        } else {
            "%Y-%m-%d %H:%M"
        };
        at.format(form).to_string()
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// The clocks of this machine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Added to the wall clock, so that a test can let a night pass.
    shift_ms: i64,
    /// The clocks that a simulation sets, instead of those of the machine.
    #[cfg(feature = "test-hooks")]
    hand: Option<std::sync::Arc<Hand>>,
}

/// Both clocks of a simulation.
#[cfg(feature = "test-hooks")]
#[derive(Debug)]
struct Hand {
    began: tokio::time::Instant,
    /// The wall clock, and the span since the beginning, in milliseconds.
    shown: std::sync::Mutex<(i64, u64)>,
}

#[cfg(feature = "test-hooks")]
impl Hand {
    fn shown(&self) -> std::sync::MutexGuard<'_, (i64, u64)> {
        self.shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock {
    /// The real clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// The real clocks with the wall clock moved by so many milliseconds.
    #[cfg(any(test, feature = "test-hooks"))]
    pub fn shifted(shift_ms: i64) -> Self {
        Self {
            shift_ms,
            ..Self::default()
        }
    }

    /// Clocks that stand still until they are [set](Self::set).
    #[doc(hidden)]
    #[cfg(feature = "test-hooks")]
    pub fn by_hand(now: Timestamp) -> Self {
        let hand = Hand {
            began: tokio::time::Instant::now(),
            shown: std::sync::Mutex::new((now.0, 0)),
        };
        Self {
            hand: Some(std::sync::Arc::new(hand)),
            ..Self::default()
        }
    }

    /// Sets clocks that are moved by hand, and all clones of them.
    #[doc(hidden)]
    #[cfg(feature = "test-hooks")]
    pub fn set(&self, now: Timestamp, since_began: Duration) {
        let since_began = u64::try_from(since_began.as_millis()).unwrap_or(u64::MAX);
        if let Some(hand) = &self.hand {
            *hand.shown() = (now.0, since_began);
        }
    }

    /// The wall clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn now(&self) -> Timestamp {
        #[cfg(feature = "test-hooks")]
        if let Some(hand) = &self.hand {
            return Timestamp(hand.shown().0);
        }
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(
            i64::try_from(since.as_millis())
                .unwrap_or(i64::MAX)
                .saturating_add(self.shift_ms),
        )
    }

    /// The monotonic clock, for measuring spans.
    pub fn instant(&self) -> tokio::time::Instant {
        #[cfg(feature = "test-hooks")]
        if let Some(hand) = &self.hand {
            return hand.began + Duration::from_millis(hand.shown().1);
        }
        tokio::time::Instant::now()
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_to_the_second() {
        assert_eq!(
            Timestamp(1_700_000_000_123).rfc3339(),
            "2023-11-14T22:13:20Z"
        );
    }

    #[test]
    fn a_clock_that_has_jumped_expires_by_the_newest_name() {
        let (now, month) = (Timestamp(100 * DAY_MS), 30 * DAY_MS);
        assert_eq!(now.for_expiry(Timestamp(now.0 - month)), now);
        assert_eq!(now.for_expiry(Timestamp(5)), Timestamp(5));
        assert_eq!(now.for_expiry(Timestamp(now.0 + month)), now);
        assert!(!now.is_future(now.plus(Duration::from_secs(86_400))));
        assert!(now.is_future(Timestamp(now.0 + DAY_MS + 1)));
    }

    #[test]
    fn a_moment_in_the_future_is_no_time_ago() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_millis(4));
    }
}
