//! When to poll again. Pure.
//!
//! Owns the pauses after failures of `getUpdates`. Heals by itself from everything: nothing here
//! ever gives up.

use std::time::Duration;

use super::error::{ApiError, Conflict};
use crate::config::Pace;

/// How long one poll asks the server to wait: its maximum (docs/facts/telegram.md 2.1).
pub(crate) const POLL_WAIT: Duration = Duration::from_secs(50);
/// Longest pause before a poll, whatever the server or a program in between asks for: a poll costs nothing, and an
/// answer that was wrong once must not keep messages away for days.
const LONGEST_PAUSE: Duration = Duration::from_secs(75);
/// After this time a poll is given up whatever the transport says: it hangs.
pub(crate) const POLL_DEADLINE: Duration = Duration::from_secs(65);

/// Why a poll failed, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollFailure {
    /// Another program receives the updates.
    Conflict(Conflict),
    /// Telegram does not accept the token.
    Unauthorized,
    /// The server cannot be reached or understood.
    Unreachable,
}

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// Divides our own pauses, in tests.
    divisor: u32,
}

impl Backoff {
    pub(crate) fn new(pace: Pace) -> Self {
        let divisor = match pace {
            Pace::Normal => 1,
            Pace::Off => 10,
        };
        Self {
            failures: 0,
            divisor,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Classifies a failed poll and says how long to pause. `jitter` is 0.0 to 1.0.
    pub(crate) fn poll_failed(&mut self, error: &ApiError, jitter: f64) -> (PollFailure, Duration) {
        let (failure, pause) = match error {
            _ if let Some(conflict) = error.conflict() => {
                // Not fighting: the other poller may be the one that the person wants.
                let pause = self.pause(5.0, 30.0, jitter);
                (PollFailure::Conflict(conflict), pause)
            }
            ApiError::Refused {
                code: 401 | 404 | 421,
                ..
            } => (PollFailure::Unauthorized, self.pause(30.0, 60.0, jitter)),
            ApiError::Refused {
                retry_after: Some(wait),
                ..
            } => {
                self.failures = self.failures.saturating_add(1);
                let pause = *wait + Duration::from_secs_f64(jitter);
                (PollFailure::Unreachable, pause)
            }
            ApiError::Refused { .. } | ApiError::Unreachable(_) | ApiError::Doubt(_) => {
                (PollFailure::Unreachable, self.pause(1.0, 60.0, jitter))
            }
        };
        (failure, pause.min(LONGEST_PAUSE))
    }

    /// A growing pause in seconds: doubles from `first` to `most`, plus up to a quarter of jitter.
    pub(crate) fn pause(&mut self, first: f64, most: f64, jitter: f64) -> Duration {
        let doubled = first * f64::from(1u32 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        Duration::from_secs_f64(doubled.min(most) * (1.0 + jitter / 4.0) / f64::from(self.divisor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, description: &str) -> ApiError {
        ApiError::Refused {
            code,
            description: description.to_owned(),
            retry_after: None,
            migrate_to: None,
        }
    }

    #[test]
    fn a_conflict_pauses_at_least_five_seconds_and_at_most_thirty_and_a_quarter() {
        let mut backoff = Backoff::new(Pace::Normal);
        let error = refused(409, "Conflict: terminated by other getUpdates request");
        let pauses: Vec<u64> = (0..6)
            .map(|_| backoff.poll_failed(&error, 0.0).1.as_secs())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 30, 30, 30]);
        assert_eq!(
            backoff.poll_failed(&error, 1.0).1,
            Duration::from_secs_f64(37.5)
        );
    }

    #[test]
    fn a_success_begins_the_pauses_anew() {
        let mut backoff = Backoff::new(Pace::Normal);
        let error = ApiError::Unreachable("refused".to_owned());
        assert_eq!(backoff.poll_failed(&error, 0.0).1.as_secs(), 1);
        assert_eq!(backoff.poll_failed(&error, 0.0).1.as_secs(), 2);
        backoff.succeeded();
        assert_eq!(backoff.poll_failed(&error, 0.0).1.as_secs(), 1);
    }

    #[test]
    fn the_servers_own_wait_is_obeyed_up_to_75_seconds() {
        for (asked, pause) in [(5, 5), (70, 70), (86_400, 75), (2_678_400, 75)] {
            let mut backoff = Backoff::new(Pace::Off);
            let error = ApiError::Refused {
                code: 429,
                description: String::new(),
                retry_after: Some(Duration::from_secs(asked)),
                migrate_to: None,
            };
            assert_eq!(backoff.poll_failed(&error, 0.0).1.as_secs(), pause);
        }
    }

    #[test]
    fn no_failure_keeps_a_bot_from_being_polled_for_more_than_75_seconds() {
        let conflict = "Conflict: terminated by other getUpdates request";
        for error in [
            refused(409, conflict),
            refused(401, "Unauthorized"),
            refused(500, "Internal Server Error"),
            ApiError::Unreachable("refused".to_owned()),
        ] {
            let mut backoff = Backoff::new(Pace::Normal);
            let pauses = (0..20).map(|_| backoff.poll_failed(&error, 1.0).1);
            assert!(pauses.max() <= Some(Duration::from_secs(75)), "{error}");
        }
    }
}
