//! One call from its arrival to its answer: recorded, struck by faults, applied, answered.

use std::sync::Arc;

use crate::answer::{Refusal, Verdict};
use crate::calls::{Call, Outcome};
use crate::clock::sleep;
use crate::faults::{self, Effect, FaultId, Plan};
use crate::methods::{self, Context};
use crate::params::Params;
use crate::polling;
use crate::reply::Reply;
use crate::shared::Shared;

/// Answers `/bot<token>/<method>`.
pub(crate) async fn call(shared: &Arc<Shared>, token: &str, method: &str, params: Params) -> Reply {
    let Some((bot, revoked)) =
        shared.read(|state| state.bot_by_token(token).map(|bot| (bot.id, bot.revoked)))
    else {
        // A token has a number before the colon; anything else is not even a path.
        let numbered = token
            .split_once(':')
            .is_some_and(|(id, secret)| id.parse::<i64>().is_ok() && !secret.is_empty());
        return Reply::refusal(&if numbered {
            Refusal::unauthorized()
        } else {
            Refusal::not_found()
        });
    };
    let known = methods::canonical(method);
    let record = Record::open(shared, bot, known.unwrap_or(method), &params);
    if revoked {
        return record.refuse(&Refusal::unauthorized());
    }
    let plan = shared.change(|state| {
        let call = state.calls.get(record.index)?;
        let (method, chat, params) = (call.method.clone(), call.chat_id, call.params.clone());
        state.faults.strike(bot, &method, chat, &params)
    });
    let plan = plan.unwrap_or(Plan {
        id: FaultId(u64::MAX),
        delay_before: std::time::Duration::ZERO,
        delay_after: std::time::Duration::ZERO,
        effect: Effect::None,
    });
    if !plan.delay_before.is_zero() {
        sleep(plan.delay_before).await;
    }
    match &plan.effect {
        Effect::Refuse(refusal) => {
            if !plan.delay_after.is_zero() {
                sleep(plan.delay_after).await;
            }
            return record.refuse(refusal);
        }
        Effect::ClosedBefore { reset } => {
            record.close(Outcome::Dropped);
            return Reply::Close { reset: *reset };
        }
        Effect::Html(status) => {
            record.close(Outcome::Error {
                code: *status,
                description: "an HTML page".to_owned(),
            });
            return Reply::html(*status, faults::html_page(*status));
        }
        Effect::HangBefore => shared.fault_cleared(plan.id).await,
        Effect::None
        | Effect::AnswerLost { .. }
        | Effect::HangAfter
        | Effect::Malformed
        | Effect::Truncated => {}
    }
    let verdict = match known {
        Some("getUpdates") => polling::get_updates(shared, bot, &params).await,
        Some(method) => apply(shared, bot, method, &params),
        None => Err(Refusal::new(404, "Not Found: method not found")),
    };
    if !plan.delay_after.is_zero() {
        sleep(plan.delay_after).await;
    }
    finish(shared, record, &plan, verdict).await
}

fn apply(shared: &Shared, bot: i64, method: &str, params: &Params) -> Verdict {
    let (now_ms, uptime_ms) = (shared.clock.now_ms(), shared.clock.uptime_ms());
    shared.change(|state| {
        methods::apply(
            method,
            &mut Context {
                state,
                now_ms,
                uptime_ms,
                bot,
                params,
            },
        )
    })
}

async fn finish(shared: &Arc<Shared>, record: Record, plan: &Plan, verdict: Verdict) -> Reply {
    let reply = match &verdict {
        Ok(answer) => Reply::json(200, answer.body()),
        Err(refusal) => Reply::refusal(refusal),
    };
    match &plan.effect {
        Effect::AnswerLost { reset } => {
            record.close(Outcome::Lost);
            Reply::Close { reset: *reset }
        }
        Effect::Malformed => {
            record.close(Outcome::Lost);
            Reply::json(200, faults::garbage())
        }
        Effect::Truncated => {
            record.close(Outcome::Lost);
            reply.truncated()
        }
        Effect::HangAfter => {
            shared.fault_cleared(plan.id).await;
            record.finish(&verdict);
            reply
        }
        Effect::None
        | Effect::Refuse(_)
        | Effect::ClosedBefore { .. }
        | Effect::HangBefore
        | Effect::Html(_) => {
            record.finish(&verdict);
            reply
        }
    }
}

/// A call in the log. When it is dropped without an outcome, the client has gone away, or the server is stopping.
struct Record {
    shared: Arc<Shared>,
    index: usize,
    open: bool,
}

impl Record {
    fn open(shared: &Arc<Shared>, bot: i64, method: &str, params: &Params) -> Self {
        let call = Call {
            at_ms: shared.clock.uptime_ms(),
            bot,
            method: method.to_owned(),
            params: params.shown(),
            chat_id: params.int("chat_id"),
            outcome: Outcome::Pending,
            answered_at_ms: None,
        };
        let index = shared.change(|state| {
            state.calls.push(call);
            state.calls.len() - 1
        });
        Self {
            shared: Arc::clone(shared),
            index,
            open: true,
        }
    }

    fn close(mut self, outcome: Outcome) {
        self.set(outcome);
    }

    fn refuse(self, refusal: &Refusal) -> Reply {
        self.close(Outcome::Error {
            code: refusal.code,
            description: refusal.description.clone(),
        });
        Reply::refusal(refusal)
    }

    fn finish(self, verdict: &Verdict) {
        self.close(match verdict {
            Ok(_) => Outcome::Ok,
            Err(refusal) => Outcome::Error {
                code: refusal.code,
                description: refusal.description.clone(),
            },
        });
    }

    fn set(&mut self, outcome: Outcome) {
        self.open = false;
        let at_ms = self.shared.clock.uptime_ms();
        self.shared.change(|state| {
            // A reset may have emptied the log in the meantime.
            if let Some(call) = state.calls.get_mut(self.index) {
                call.outcome = outcome;
                call.answered_at_ms = Some(at_ms);
            }
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.open {
            self.set(Outcome::Aborted);
        }
    }
}
