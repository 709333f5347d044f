//! `getUpdates`: the only method that waits.
//!
//! One poll per bot waits at a time. A newer one that has nothing to return either sends the older one home with 409;
//! a newer one that finds updates is served, and the older one goes on waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::answer::{Answer, Refusal, Verdict};
use crate::clock::{self, sleep};
use crate::params::Params;
use crate::queue::Event;
use crate::shared::Shared;
use crate::state::{PollMemory, State, Waiter, Wake};

const MAX_LIMIT: i64 = 100;
const MAX_TIMEOUT: i64 = 50;
/// The same offset again within this time, with a shorter timeout, waits as long.
const SPIN_MS: i64 = 3_000;
/// The same offset again within this time gets one update.
const FAST_SPIN_MS: i64 = 500;
/// Conflicts are answered at most this often; further ones wait as long.
const CONFLICT_MS: i64 = 3_000;
/// A waiting poll takes what arrives within this time of the first update.
const GATHER: Duration = Duration::from_millis(1);

const OTHER_POLL: &str = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK_ACTIVE: &str = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

enum Start {
    Answer(Verdict),
    Late(Refusal, i64),
    Wait {
        id: u64,
        offset: i64,
        limit: usize,
        timeout: Duration,
    },
}

pub(crate) async fn get_updates(shared: &Arc<Shared>, bot: i64, params: &Params) -> Verdict {
    let (wake, woken) = unbounded_channel();
    match shared.change(|state| start(state, shared.clock.now_ms(), bot, params, wake)) {
        Start::Answer(verdict) => verdict,
        Start::Late(refusal, delay_ms) => {
            sleep(milliseconds(delay_ms)).await;
            Err(refusal)
        }
        Start::Wait {
            id,
            offset,
            limit,
            timeout,
        } => {
            let place = Place {
                shared: Arc::clone(shared),
                bot,
                id,
            };
            wait(&place, woken, offset, limit, timeout).await
        }
    }
}

/// The effect of an arriving request; the offset confirms here, whatever becomes of the answer.
fn start(
    state: &mut State,
    now_ms: i64,
    bot: i64,
    params: &Params,
    wake: tokio::sync::mpsc::UnboundedSender<Wake>,
) -> Start {
    let id = state.number();
    let Some(bot) = state.bots.get_mut(&bot) else {
        return Start::Answer(Err(Refusal::unauthorized()));
    };
    if bot.webhook.is_some() {
        let refusal = Refusal::new(409, WEBHOOK_ACTIVE);
        return match conflict_delay(&mut bot.poll, now_ms) {
            0 => Start::Answer(Err(refusal)),
            delay_ms => Start::Late(refusal, delay_ms),
        };
    }
    let offset = params.int("offset").unwrap_or(0);
    let mut limit = params.int("limit").unwrap_or(MAX_LIMIT).clamp(1, MAX_LIMIT);
    let mut timeout_ms = params.int("timeout").unwrap_or(0).clamp(0, MAX_TIMEOUT) * 1_000;
    bot.allow(params.nested("allowed_updates").unwrap_or(None).as_ref());
    if let Some((_, at)) = bot
        .poll
        .previous
        .filter(|(previous, _)| *previous == offset)
    {
        if timeout_ms < SPIN_MS && now_ms < at + SPIN_MS {
            timeout_ms = SPIN_MS;
        }
        if now_ms < at + FAST_SPIN_MS {
            limit = 1;
        }
    }
    bot.poll.previous = Some((offset, now_ms));
    let limit = usize::try_from(limit).unwrap_or(1);
    let batch = bot.queue.take(now_ms.div_euclid(1_000), offset, limit);
    if !batch.is_empty() || timeout_ms == 0 {
        return Start::Answer(Ok(answer(&batch)));
    }
    if bot.poll.waiter.is_some() {
        let delay_ms = conflict_delay(&mut bot.poll, now_ms);
        bot.wake(Wake::Aborted {
            refusal: Refusal::new(409, OTHER_POLL),
            delay_ms,
        });
    }
    bot.poll.waiter = Some(Waiter { id, wake });
    Start::Wait {
        id,
        offset,
        limit,
        timeout: milliseconds(timeout_ms),
    }
}

/// The first conflict is answered at once, one soon after it later.
fn conflict_delay(poll: &mut PollMemory, now_ms: i64) -> i64 {
    if poll
        .last_conflict_ms
        .is_some_and(|at| now_ms < at + CONFLICT_MS)
    {
        return CONFLICT_MS;
    }
    poll.last_conflict_ms = Some(now_ms);
    0
}

fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

/// A waiting poll's place; given up when the poll ends, or its connection does.
struct Place {
    shared: Arc<Shared>,
    bot: i64,
    id: u64,
}

impl Place {
    /// Looks again. Nothing, when the poll shall go on waiting or has been sent home.
    fn look(&self, offset: i64, limit: usize, last_time: bool) -> Option<Answer> {
        let now = self.shared.clock.now_ms().div_euclid(1_000);
        self.shared.change(|state| {
            let bot = state.bots.get_mut(&self.bot)?;
            bot.poll
                .waiter
                .as_ref()
                .filter(|waiter| waiter.id == self.id)?;
            let batch = bot.queue.take(now, offset, limit);
            if batch.is_empty() && !last_time {
                return None;
            }
            bot.poll.waiter = None;
            Some(answer(&batch))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.change(|state| {
            if let Some(bot) = state.bots.get_mut(&self.bot)
                && bot
                    .poll
                    .waiter
                    .as_ref()
                    .is_some_and(|waiter| waiter.id == self.id)
            {
                bot.poll.waiter = None;
            }
        });
    }
}

async fn wait(
    place: &Place,
    mut woken: UnboundedReceiver<Wake>,
    offset: i64,
    limit: usize,
    timeout: Duration,
) -> Verdict {
    let mut over = std::pin::pin!(clock::sleep(timeout));
    let mut timed_out = false;
    loop {
        // Both arms may be dropped: receiving from the channel loses nothing, and the sleep is kept outside.
        tokio::select! {
            biased;
            wake = woken.recv() => match wake {
                Some(Wake::Updates) => {
                    sleep(GATHER).await;
                    if let Some(answer) = place.look(offset, limit, false) {
                        return Ok(answer);
                    }
                }
                Some(Wake::Aborted { refusal, delay_ms }) => {
                    sleep(milliseconds(delay_ms)).await;
                    return Err(refusal);
                }
                None => return Ok(answer(&[])),
            },
            () = &mut over, if !timed_out => {
                timed_out = true;
                if let Some(answer) = place.look(offset, limit, true) {
                    return Ok(answer);
                }
            }
        }
    }
}

/// The batch, with every update as it was put in.
fn answer(batch: &[Event]) -> Answer {
    let bodies: Vec<&str> = batch.iter().map(|event| event.body.as_str()).collect();
    Answer::Raw(format!("[{}]", bodies.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// How long a request with these parameters waits, when the one before it came this long ago.
    fn waits(timeout: i64, before_ms: i64) -> Option<Duration> {
        let mut state = State::default();
        let bot = state.add_bot("42:secret", "my_bot");
        let mut params = Params::default();
        params.set("timeout", json!(timeout));
        let mut last = None;
        for now_ms in [0, before_ms] {
            let (wake, _woken) = unbounded_channel();
            last = match start(&mut state, now_ms, bot, &params, wake) {
                Start::Wait { timeout, .. } => Some(timeout),
                Start::Answer(_) | Start::Late(..) => None,
            };
        }
        last
    }

    #[test]
    fn a_timeout_is_clamped_to_fifty_seconds() {
        assert_eq!(waits(3_600, 10_000), Some(Duration::from_secs(50)));
        assert_eq!(waits(-5, 10_000), None);
    }

    #[test]
    fn a_repeated_offset_waits_three_seconds_at_least() {
        assert_eq!(waits(0, 2_999), Some(Duration::from_secs(3)));
        assert_eq!(waits(2, 2_999), Some(Duration::from_secs(3)));
        assert_eq!(waits(20, 2_999), Some(Duration::from_secs(20)));
        assert_eq!(waits(0, 3_000), None);
    }
}
