//! One call from its arrival to its answer: recorded, struck by faults, applied, answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::{Answer, Refusal, Verdict};
use crate::calls::{Call, Outcome};
use crate::clock::sleep;
use crate::faults::{self, Effect, Plan};
use crate::methods::{self, Context};
use crate::params::Params;
use crate::polling;
use crate::reply::{Ending, Reply};
use crate::shared::Shared;

/// Under this name downloads are recorded, and faults can strike them.
const DOWNLOAD: &str = "download";

/// Whether the client still listens; it does until the connection drops this.
struct Presence(Arc<AtomicBool>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Answers `/bot<token>/<method>`.
///
/// A call that has arrived is carried out, also when the client hangs up before it is. Only a poll ends with its
/// connection.
pub(crate) async fn call(
    shared: &Arc<Shared>,
    token: String,
    method: &str,
    params: Params,
) -> Reply {
    let name = methods::canonical(method);
    if name == Some("getUpdates") {
        let work = async |bot| {
            let answer = polling::get_updates(shared, bot, &params).await?;
            Ok(Reply::json(200, answer.body()))
        };
        let present = Arc::new(AtomicBool::new(true));
        return carry_out(shared, &token, "getUpdates", params.shown(), present, work).await;
    }
    let listening = Presence(Arc::new(AtomicBool::new(true)));
    let present = Arc::clone(&listening.0);
    let (owned, method) = (Arc::clone(shared), method.to_owned());
    let whole = async move {
        let shared = owned;
        let work = async |bot| match name {
            Some(name) => {
                apply(&shared, bot, name, &params).map(|answer| Reply::json(200, answer.body()))
            }
            None => Err(Refusal::new(404, "Not Found: method not found")),
        };
        let shown = params.shown();
        carry_out(
            &shared,
            &token,
            name.unwrap_or(&method),
            shown,
            present,
            work,
        )
        .await
    };
    let reply = shared.to_the_end(whole).await;
    drop(listening);
    reply.unwrap_or(Reply::Close { reset: false })
}

/// Answers `/file/bot<token>/<path>`.
pub(crate) async fn download(shared: &Arc<Shared>, token: &str, path: &str) -> Reply {
    let work = async |_bot| {
        let file = shared.read(|state| {
            let file = state.files.values().find(|file| file.path == path)?;
            Some(Bytes::clone(&file.bytes))
        });
        let bytes = file.ok_or_else(Refusal::not_found)?;
        Ok(Reply::of(200, "application/octet-stream", bytes))
    };
    let present = Arc::new(AtomicBool::new(true));
    carry_out(
        shared,
        token,
        DOWNLOAD,
        json!({ "path": path }),
        present,
        work,
    )
    .await
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

/// The bot of a token, and whether the token was revoked.
fn owner(shared: &Shared, token: &str) -> Result<(i64, bool), Refusal> {
    let found = shared.read(|state| state.bot_by_token(token).map(|bot| (bot.id, bot.revoked)));
    found.ok_or_else(|| {
        // A token has a number before the colon; anything else is not even a path.
        let well_formed = token
            .split_once(':')
            .is_some_and(|(id, secret)| id.parse::<i64>().is_ok() && !secret.is_empty());
        if well_formed {
            Refusal::unauthorized()
        } else {
            Refusal::not_found()
        }
    })
}

async fn carry_out(
    shared: &Arc<Shared>,
    token: &str,
    name: &str,
    params: Value,
    present: Arc<AtomicBool>,
    work: impl AsyncFnOnce(i64) -> Result<Reply, Refusal>,
) -> Reply {
    let (bot, revoked) = match owner(shared, token) {
        Ok(owner) => owner,
        Err(refusal) => return Reply::refusal(&refusal),
    };
    let (record, plan) = Record::open(shared, present, bot, name, params);
    if revoked {
        return record.refuse(&Refusal::unauthorized());
    }
    let Some(plan) = plan else {
        return record.answer(work(bot).await);
    };
    if !plan.delay_before.is_zero() {
        sleep(plan.delay_before).await;
    }
    match &plan.effect {
        Effect::Refuse(refusal) => return record.refuse(refusal),
        Effect::ClosedBefore { reset } => {
            record.close(Outcome::Dropped);
            return Reply::Close { reset: *reset };
        }
        Effect::Html(status, retry_after) => {
            let description = "a page of HTML".to_owned();
            record.close(Outcome::Error {
                code: *status,
                description,
            });
            let page = Reply::html(*status, faults::html_page(*status));
            return page.retry_after(retry_after.clone());
        }
        Effect::HangBefore => shared.fault_cleared(plan.id).await,
        Effect::None
        | Effect::AnswerLost { .. }
        | Effect::HangAfter
        | Effect::Result(_)
        | Effect::Malformed
        | Effect::Truncated
        | Effect::Stalled => {}
    }
    let result = work(bot).await;
    if !plan.delay_after.is_zero() {
        sleep(plan.delay_after).await;
    }
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
            result
                .unwrap_or_else(|refusal| Reply::refusal(&refusal))
                .ending(Ending::Cut)
        }
        Effect::Stalled => {
            let (shared, id) = (Arc::clone(shared), plan.id);
            let cleared = async move { shared.fault_cleared(id).await };
            record
                .answer(result)
                .ending(Ending::Stalled(Box::pin(cleared)))
        }
        Effect::HangAfter => {
            shared.fault_cleared(plan.id).await;
            record.answer(result)
        }
        Effect::Result(other) => record.answer(result.map(|_| {
            let answer = Answer::Raw(other.clone());
            Reply::json(200, answer.body())
        })),
        Effect::None
        | Effect::Refuse(_)
        | Effect::ClosedBefore { .. }
        | Effect::HangBefore
        | Effect::Html(..) => record.answer(result),
    }
}

/// A call in the log. When it is dropped without an outcome, the client has gone away, or the server is stopping.
struct Record {
    shared: Arc<Shared>,
    present: Arc<AtomicBool>,
    id: u64,
    open: bool,
}

impl Record {
    /// Records the call, and finds out what fault strikes it.
    fn open(
        shared: &Arc<Shared>,
        present: Arc<AtomicBool>,
        bot: i64,
        method: &str,
        params: Value,
    ) -> (Self, Option<Plan>) {
        let (at_ms, at) = (shared.clock.uptime_ms(), shared.clock.instant());
        let chat_id = params.get("chat_id").and_then(crate::params::as_int);
        shared.change(|state| {
            let id = state.number();
            let plan = state.faults.strike(bot, method, chat_id, &params);
            state.calls.push(Call {
                id,
                at_ms,
                at,
                bot,
                method: method.to_owned(),
                params,
                chat_id,
                outcome: Outcome::Pending,
                answered_at_ms: None,
                answered_at: None,
            });
            (
                Self {
                    shared: Arc::clone(shared),
                    present,
                    id,
                    open: true,
                },
                plan,
            )
        })
    }

    fn close(mut self, outcome: Outcome) {
        self.set(outcome);
    }

    fn refuse(self, refusal: &Refusal) -> Reply {
        let description = refusal.description.clone();
        self.close(Outcome::Error {
            code: refusal.code,
            description,
        });
        Reply::refusal(refusal)
    }

    fn answer(self, result: Result<Reply, Refusal>) -> Reply {
        match result {
            Ok(reply) => {
                let heard = self.present.load(Ordering::SeqCst);
                self.close(if heard { Outcome::Ok } else { Outcome::Lost });
                reply
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn set(&mut self, outcome: Outcome) {
        self.open = false;
        let clock = &self.shared.clock;
        let (at_ms, at) = (clock.uptime_ms(), clock.instant());
        self.shared.change(|state| {
            // A reset may have emptied the log in the meantime.
            if let Some(call) = state.calls.iter_mut().rev().find(|call| call.id == self.id) {
                call.outcome = outcome;
                call.answered_at_ms = Some(at_ms);
                call.answered_at = Some(at);
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
