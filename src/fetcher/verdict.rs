//! What a failed attempt to fetch a file means, as a decision. Pure.
//!
//! Fetching has no effect on anybody, so unlike with a message doubt is harmless: it is simply tried
//! again. What Telegram says about a file is believed after several attempts only, because the same
//! words mean "temporarily unavailable" (`wrong file_id or the file is temporarily unavailable`).

use std::time::Duration;

use crate::clock::Timestamp;
use crate::telegram::error::ApiError;

/// How often Telegram may say that it does not have a file, or give one of another size.
pub const BELIEVED_AFTER: u32 = 4;
/// How often, and for how long after the message came, everything else is tried again.
const FAILURES_MOST: u32 = 12;
const TRY_FOR: Duration = Duration::from_secs(24 * 3600);
/// The pause of a bot whose token is not accepted, or that is told to wait without a number.
pub const BOT_PAUSE: Duration = Duration::from_secs(30);
/// The first pause of a file, doubled with every failure, and the longest.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MOST: Duration = Duration::from_secs(5 * 60);

/// At which of the two requests it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `getFile`, which says where the file is.
    Asking,
    /// The file itself.
    Fetching,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No bot can fetch it.
    TooBig,
    /// The bot fetches nothing for a while, as long as Telegram says if it does; it says nothing about
    /// this file.
    PauseBot(Option<Duration>),
    /// Tried again after a growing pause.
    Again,
    /// Tried again, and believed if it stays so.
    Suspect,
}

/// What an answer, or none, means.
pub fn verdict(error: &ApiError, stage: Stage) -> Verdict {
    let (code, description, retry_after) = match error {
        ApiError::Unreachable(_) | ApiError::Doubt(_) => return Verdict::Again,
        ApiError::Refused {
            code,
            description,
            retry_after,
            ..
        } => (*code, description.to_lowercase(), *retry_after),
    };
    match code {
        429 => Verdict::PauseBot(retry_after),
        401 | 421 => Verdict::PauseBot(None),
        // Of a method it is said of the token, of a path it is said of the file.
        404 if stage == Stage::Asking => Verdict::PauseBot(None),
        400 | 413 if description.contains("too big") => Verdict::TooBig,
        409 | 500..=599 => Verdict::Again,
        _ => Verdict::Suspect,
    }
}

/// How often a file could not be fetched in this life of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Altogether.
    pub all: u32,
    /// Those that say something about the file.
    pub suspect: u32,
}

impl Failures {
    /// One more.
    #[must_use]
    pub fn and(self, verdict: &Verdict) -> Self {
        Self {
            all: self.all.saturating_add(1),
            suspect: self.suspect + u32::from(*verdict == Verdict::Suspect),
        }
    }

    /// Whether it is tried no more.
    pub fn are_enough(self, received: Timestamp, now: Timestamp) -> bool {
        let long = self.all >= FAILURES_MOST && now.since(received) >= TRY_FOR;
        self.suspect >= BELIEVED_AFTER || long
    }

    /// How long to wait; `jitter` is 0 to 1.
    pub fn pause(self, jitter: f64) -> Duration {
        let doubled = PAUSE.saturating_mul(1 << self.all.saturating_sub(1).min(16));
        doubled.min(PAUSE_MOST).mul_f64(1.0 + jitter / 4.0)
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
        use Stage::{Asking, Fetching};
        let unreachable = ApiError::Unreachable("refused".to_owned());
        for (error, stage, expected) in [
            (
                refused(400, "Bad Request: file is too big"),
                Asking,
                Verdict::TooBig,
            ),
            (
                refused(
                    400,
                    "Bad Request: wrong file_id or the file is temporarily unavailable",
                ),
                Asking,
                Verdict::Suspect,
            ),
            (refused(404, "Not Found"), Asking, Verdict::PauseBot(None)),
            (refused(404, "Not Found"), Fetching, Verdict::Suspect),
            (
                refused(401, "Unauthorized"),
                Fetching,
                Verdict::PauseBot(None),
            ),
            (refused(502, "Bad Gateway"), Fetching, Verdict::Again),
            (unreachable, Fetching, Verdict::Again),
        ] {
            assert_eq!(verdict(&error, stage), expected, "{error} {stage:?}");
        }
    }

    #[test]
    fn a_network_that_is_down_for_hours_costs_no_file_and_one_that_never_comes_is_given_up() {
        let mut failures = Failures::default();
        for _ in 0..100 {
            failures = failures.and(&Verdict::Again);
        }
        let hour = |hours: i64| Timestamp(hours * 3_600_000);
        assert!(!failures.are_enough(hour(0), hour(23)));
        assert!(failures.are_enough(hour(0), hour(25)));
        // A gateway that was down for long tries first.
        assert!(!Failures::default().are_enough(hour(0), hour(1000)));
        assert_eq!(failures.pause(0.0), PAUSE_MOST);
    }

    #[test]
    fn a_file_that_telegram_denies_several_times_is_given_up_at_once() {
        let mut failures = Failures::default();
        for _ in 1..BELIEVED_AFTER {
            failures = failures.and(&Verdict::Suspect);
            assert!(!failures.are_enough(Timestamp(0), Timestamp(0)));
        }
        failures = failures.and(&Verdict::Suspect);
        assert!(failures.are_enough(Timestamp(0), Timestamp(0)));
    }
}
