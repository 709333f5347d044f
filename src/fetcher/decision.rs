//! The decision after a failed attempt to fetch a file. Pure.
//!
//! Fetching has no side effects, so unlike with a message doubt is harmless: the fetcher retries. A refusal of
//! a file counts only after several attempts, because Telegram uses the same words for a temporary failure
//! (`wrong file_id or the file is temporarily unavailable`).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::telegram::error::ApiError;

/// How often Telegram must refuse a file, or send one of another size, until that counts.
pub(super) const SUSPECT_MAX: u32 = 4;
/// How often, and for how long after the message came, other failures are retried.
const FAILURES_MAX: u32 = 12;
const RETRY_FOR: Duration = Duration::from_secs(24 * 3600);
/// The pause of a bot whose token is refused, or that must wait for an unknown time.
pub(super) const BOT_PAUSE: Duration = Duration::from_secs(30);
/// The first pause of a file, doubled with each failure, and the longest.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchRequest {
    /// `getFile`, which returns the path of the file.
    GetFile,
    /// The file itself.
    Download,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchDecision {
    /// No bot can fetch the file.
    TooBig,
    /// The bot fetches nothing for a while, as long as Telegram says if it does. The failure does not concern
    /// the file.
    PauseBot(Option<Duration>),
    /// Retry after a growing pause.
    Retry,
    /// Retry, but give up if it happens several times.
    Suspect,
}

pub(super) fn decide(error: &ApiError, request: FetchRequest) -> FetchDecision {
    let (code, description, retry_after) = match error {
        ApiError::Unreachable(_) | ApiError::Doubt(_) => return FetchDecision::Retry,
        ApiError::Refused {
            code,
            description,
            retry_after,
            ..
        } => (*code, description.to_lowercase(), *retry_after),
    };
    match code {
        429 => FetchDecision::PauseBot(retry_after),
        401 | 421 => FetchDecision::PauseBot(None),
        // On a method this concerns the token, on a path it concerns the file.
        404 if request == FetchRequest::GetFile => FetchDecision::PauseBot(None),
        400 | 413 if description.contains("too big") => FetchDecision::TooBig,
        409 | 500..=599 => FetchDecision::Retry,
        _ => FetchDecision::Suspect,
    }
}

/// How often a file could not be fetched since the gateway started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FetchFailures {
    pub(super) all: u32,
    /// The failures that concern the file itself.
    pub(super) suspect: u32,
}

impl FetchFailures {
    #[must_use]
    pub(super) fn and(self, verdict: &FetchDecision) -> Self {
        Self {
            all: self.all.saturating_add(1),
            suspect: self.suspect + u32::from(*verdict == FetchDecision::Suspect),
        }
    }

    pub(super) fn are_enough(self, received: Timestamp, now: Timestamp) -> bool {
        let long = self.all >= FAILURES_MAX && now.since(received) >= RETRY_FOR;
        self.suspect >= SUSPECT_MAX || long
    }

    /// How long to wait before the next attempt; `jitter` is 0 to 1.
    pub(super) fn pause(self, jitter: f64) -> Duration {
        let doubled = PAUSE.saturating_mul(1 << self.all.saturating_sub(1).min(16));
        doubled.min(PAUSE_MAX).mul_f64(1.0 + jitter / 4.0)
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
    fn only_what_telegram_says_of_a_file_is_held_against_it() {
        use FetchRequest::{Download, GetFile};
        let unreachable = ApiError::Unreachable("refused".to_owned());
        for (error, stage, expected) in [
            (
                refused(400, "Bad Request: file is too big"),
                GetFile,
                FetchDecision::TooBig,
            ),
            (
                refused(
                    400,
                    "Bad Request: wrong file_id or the file is temporarily unavailable",
                ),
                GetFile,
                FetchDecision::Suspect,
            ),
            (
                refused(404, "Not Found"),
                GetFile,
                FetchDecision::PauseBot(None),
            ),
            (refused(404, "Not Found"), Download, FetchDecision::Suspect),
            (
                refused(401, "Unauthorized"),
                Download,
                FetchDecision::PauseBot(None),
            ),
            (refused(502, "Bad Gateway"), Download, FetchDecision::Retry),
            (unreachable, Download, FetchDecision::Retry),
        ] {
            assert_eq!(decide(&error, stage), expected, "{error} {stage:?}");
        }
    }

    #[test]
    fn a_network_that_is_down_for_hours_costs_no_file_and_one_that_never_comes_is_given_up() {
        let mut failures = FetchFailures::default();
        for _ in 0..100 {
            failures = failures.and(&FetchDecision::Retry);
        }
        let hour = |hours: i64| Timestamp(hours * 3_600_000);
        assert!(!failures.are_enough(hour(0), hour(23)));
        assert!(failures.are_enough(hour(0), hour(25)));
        // A gateway that was down for long tries first.
        assert!(!FetchFailures::default().are_enough(hour(0), hour(1000)));
        assert_eq!(failures.pause(0.0), PAUSE_MAX);
    }

    #[test]
    fn a_file_that_telegram_denies_several_times_is_given_up_at_once() {
        let mut failures = FetchFailures::default();
        for _ in 1..SUSPECT_MAX {
            failures = failures.and(&FetchDecision::Suspect);
            assert!(!failures.are_enough(Timestamp(0), Timestamp(0)));
        }
        failures = failures.and(&FetchDecision::Suspect);
        assert!(failures.are_enough(Timestamp(0), Timestamp(0)));
    }
}
