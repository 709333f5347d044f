//! Deliveries by hand: list them, retry a failed one, drop one.
//!
//! The gateway alone moves a delivery that waits, and it never takes the session lock, so nothing here
//! races with it. *Retry* makes a new delivery under the session lock. Its key comes from the failed one:
//! a second request sends nothing twice, and the messages that Telegram accepted are not sent again. The
//! record of the failed one moves to `sent/` and no longer counts. *Drop* leaves a marker in `drops/`,
//! which the gateway honours before its next request.

use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};
use crate::ids::SessionId;
use crate::ops::{OpsError, lock_session};
use crate::state::bots::{migrations, rate_limits};
use crate::state::gateway_status::{self, GatewayStatus};
use crate::state::layout::StateDir;
use crate::state::outbox::attachments::AttachedFile;
use crate::state::outbox::delivery::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState, FinishedDelivery, PartState,
};
use crate::state::outbox::{DeliveryStatus, Outbox, retry_key};
use crate::store::state_file::ReadError;
use crate::telegram::update::content::short;
use crate::text::one_line;

/// How long a drop waits for a running gateway to honour it.
const DROP_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const TEXT_MAX: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OutboxRow {
    /// Its id; a unique beginning of it names the delivery too.
    pub(crate) id: DeliveryId,
    pub(crate) session: SessionId,
    pub(crate) age_s: u64,
    pub(crate) to: String,
    /// `reply`, `progress` or `reaction`.
    pub(crate) kind: &'static str,
    /// `waiting`, `held`, `parked`, `dropping` or `failed`.
    pub(crate) state: &'static str,
    /// How many of its messages Telegram has accepted.
    pub(crate) sent: usize,
    /// How many messages it has, once it was attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_until: Option<String>,
    /// Why it or its last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The first line of its text.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct OutboxAdmin {
    state: StateDir,
    sessions: Vec<SessionId>,
    clock: Clock,
}

impl OutboxAdmin {
    pub(crate) fn new(state: &StateDir, sessions: Vec<SessionId>, clock: Clock) -> Self {
        Self {
            state: state.clone(),
            sessions,
            clock,
        }
    }

    /// The deliveries that wait or have failed, in the order of acceptance.
    pub(crate) fn list(&self) -> Result<Vec<OutboxRow>, OpsError> {
        let mut rows = Vec::new();
        for session in &self.sessions {
            let outbox = self.outbox(session);
            for id in outbox.waiting()? {
                let read = outbox.read(&id, self.clock.now());
                if let Some(delivery) = unless_damaged(read)?.flatten() {
                    rows.extend(self.waiting_row(&outbox, &delivery)?);
                }
            }
            for id in outbox.failed()? {
                if let Some(finished) =
                    unless_damaged(outbox.finished(&id, self.clock.now()))?.flatten()
                {
                    rows.push(self.failed_row(&finished));
                }
            }
        }
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(rows)
    }

    fn waiting_row(
        &self,
        outbox: &Outbox,
        delivery: &Delivery,
    ) -> Result<Option<OutboxRow>, OpsError> {
        let now = self.clock.now();
        if unless_damaged(outbox.finished(&delivery.id, now))?
            .flatten()
            .is_some()
        {
            // A kill came between the record of its end and its removal.
            return Ok(None);
        }
        let progress = unless_damaged(outbox.delivery_state(&delivery.id, now))?
            .flatten()
            .or_else(|| delivery.resume.clone());
        let bot = delivery.address.bot_id;
        let chat =
            migrations::read_migrations(&self.state, bot, now)?.current(delivery.address.chat_id);
        let held = unless_damaged(rate_limits::read_limits(&self.state, bot, now))?
            .and_then(|gates| gates.held(chat, delivery.address.topic_id, now));
        let missing = self
            .gateway()?
            .and_then(|status| status.explain_missing(bot));
        let parked = missing.or_else(|| held.as_ref().and_then(|held| held.reason.clone()));
        let state = match (&held, &parked) {
            _ if outbox.drop_asked(&delivery.id) => "dropping",
            (_, Some(_)) => "parked",
            (Some(_), None) => "held",
            (None, None) => "waiting",
        };
        let failure = progress
            .as_ref()
            .and_then(|progress| progress.last_failure.clone());
        Ok(Some(OutboxRow {
            state,
            held_until: held.map(|held| held.opens.rfc3339()),
            reason: parked.or(failure),
            ..self.row(delivery, progress.as_ref())
        }))
    }

    /// The gateway that runs, as far as it can be read.
    fn gateway(&self) -> Result<Option<GatewayStatus>, OpsError> {
        if !gateway_status::is_running(&self.state)? {
            return Ok(None);
        }
        Ok(unless_damaged(gateway_status::read(&self.state, self.clock.now()))?.flatten())
    }

    fn failed_row(&self, finished: &FinishedDelivery) -> OutboxRow {
        let reason = match &finished.outcome {
            DeliveryOutcome::Failed { reason, .. } => Some(reason.clone()),
            DeliveryOutcome::Delivered { .. }
            | DeliveryOutcome::Unknown
            | DeliveryOutcome::Superseded
            | DeliveryOutcome::Dropped { .. } => None,
        };
        OutboxRow {
            state: "failed",
            reason,
            ..self.row(&finished.delivery, finished.state.as_ref())
        }
    }

    fn row(&self, delivery: &Delivery, progress: Option<&DeliveryState>) -> OutboxRow {
        let (kind, text) = match &delivery.content {
            Content::Reply { text, .. } => ("reply", text.as_str()),
            Content::ProgressUpdate { text } => ("progress", text.as_str()),
            Content::Reaction { emoji, .. } => ("reaction", emoji.as_str()),
        };
        OutboxRow {
            id: delivery.id.clone(),
            session: delivery.session.clone(),
            age_s: self
                .clock
                .now()
                .since(Timestamp(delivery.id.accepted))
                .as_secs(),
            to: delivery.address.to_string(),
            kind,
            state: "waiting",
            sent: progress.map_or(0, |progress| progress.message_ids().len()),
            messages: progress.map(|progress| progress.parts.len()),
            held_until: None,
            reason: None,
            text: first_line(text, delivery.content.files()),
        }
    }

    /// Sends a failed delivery once more, as a new one. Returns the result in words.
    pub(crate) fn retry(&self, name: &str) -> Result<String, OpsError> {
        let (session, id) = self.find(name)?;
        let outbox = self.outbox(&session);
        let _lock = lock_session(&self.state, &session, "outbox")?;
        let now = self.clock.now();
        let key = retry_key(&id);
        let all = outbox.all()?;
        let made = all.iter().find(|id| id.key == key);
        let finished = match outbox.status(&id, now)? {
            DeliveryStatus::Finished(finished) => finished,
            DeliveryStatus::Waiting => {
                return Err(OpsError::NoDelivery(format!(
                    "{id} has not failed: it is still waiting, and will be sent as soon as possible"
                )));
            }
            DeliveryStatus::Gone => return Err(not_found(&format!("{id} no longer exists"))),
        };
        if let Some(made) = made {
            // The commit may have been cut short before it was durable.
            outbox.sync_names()?;
            return supersede(&outbox, *finished, made, "is already being retried");
        }
        if !matches!(finished.outcome, DeliveryOutcome::Failed { .. }) {
            return Err(OpsError::NoDelivery(format!(
                "{id} has not failed, so there is nothing to retry"
            )));
        }
        if matches!(finished.delivery.content, Content::ProgressUpdate { .. }) {
            return Err(OpsError::NoDelivery(format!(
                "{id} is a progress update, which is not sent late; `telepost outbox drop {id}` removes it from the list"
            )));
        }
        let last = outbox.newest(now)?;
        let again = DeliveryId {
            accepted: now.0.max(last + 1),
            key,
        };
        let delivery = Delivery {
            id: again.clone(),
            answers: Vec::new(),
            acked: Vec::new(),
            turn: None,
            resume: finished.state.clone().map(allow_repairs),
            ..finished.delivery.clone()
        };
        outbox.accept_again(&delivery, &id)?;
        supersede(&outbox, *finished, &again, "is retried")
    }

    /// Drops a delivery: none or nothing more of it is sent. Returns the result in words.
    pub(crate) async fn drop(&self, name: &str, gateway_runs: bool) -> Result<String, OpsError> {
        let (session, id) = self.find(name)?;
        let outbox = self.outbox(&session);
        let lock = lock_session(&self.state, &session, "outbox")?;
        match outbox.status(&id, self.clock.now())? {
            DeliveryStatus::Gone => Err(not_found(&format!("{id} no longer exists"))),
            DeliveryStatus::Finished(finished) => {
                let DeliveryOutcome::Failed { message_ids, .. } = &finished.outcome else {
                    return Err(OpsError::NoDelivery(format!(
                        "{id} is finished, so there is nothing to drop"
                    )));
                };
                let dropped = DeliveryOutcome::Dropped {
                    message_ids: message_ids.clone(),
                };
                outbox.forget_failed(&FinishedDelivery {
                    outcome: dropped,
                    ..*finished
                })?;
                Ok(format!("{id} is dropped\n"))
            }
            DeliveryStatus::Waiting => {
                outbox.ask_to_drop(&id, self.clock.now())?;
                drop(lock);
                if gateway_runs {
                    let deadline = self.clock.instant() + DROP_TIMEOUT;
                    while self.clock.instant() < deadline {
                        if outbox.status(&id, self.clock.now())? != DeliveryStatus::Waiting {
                            return self.describe_drop(&outbox, &id);
                        }
                        self.clock.sleep(POLL_INTERVAL).await;
                    }
                }
                Ok(format!(
                    "the gateway will drop {id} before it sends any more of it\n"
                ))
            }
        }
    }

    fn describe_drop(&self, outbox: &Outbox, id: &DeliveryId) -> Result<String, OpsError> {
        let finished = outbox.finished(id, self.clock.now())?;
        Ok(match finished.map(|finished| finished.outcome) {
            Some(DeliveryOutcome::Dropped { message_ids }) if !message_ids.is_empty() => format!(
                "{id} is dropped; {} of its messages had been sent\n",
                message_ids.len()
            ),
            Some(DeliveryOutcome::Delivered { .. }) => {
                format!("{id} was delivered before it could be dropped\n")
            }
            _ => format!("{id} is dropped\n"),
        })
    }

    /// The delivery with this id, or the only one whose id begins with it.
    fn find(&self, name: &str) -> Result<(SessionId, DeliveryId), OpsError> {
        let mut found = Vec::new();
        for session in &self.sessions {
            for id in self.outbox(session).all()? {
                let text = id.to_string();
                if text == name {
                    return Ok((session.clone(), id));
                }
                if !name.is_empty() && text.starts_with(name) {
                    found.push((session.clone(), id));
                }
            }
        }
        let count = found.len();
        match found.pop() {
            Some(only) if count == 1 => Ok(only),
            Some(_) => Err(not_found(&format!(
                "{count} deliveries begin with {name:?}"
            ))),
            None => Err(not_found(&format!("there is no delivery {name:?}"))),
        }
    }

    fn outbox(&self, session: &SessionId) -> Outbox {
        Outbox::new(&self.state, self.state.session(session))
    }
}

/// Records that another delivery has taken the place of a failed one. Until then, the key of the other one
/// says so.
fn supersede(
    outbox: &Outbox,
    mut failed: FinishedDelivery,
    made: &DeliveryId,
    what: &str,
) -> Result<String, OpsError> {
    let id = failed.delivery.id.clone();
    if matches!(
        failed.outcome,
        DeliveryOutcome::Failed { .. } | DeliveryOutcome::Superseded
    ) {
        failed.outcome = DeliveryOutcome::Superseded;
        failed.state = None;
        outbox.forget_failed(&failed)?;
    }
    Ok(format!("{id} {what}, as {made}\n"))
}

/// The unsent rest, with every repair allowed once more.
fn allow_repairs(mut progress: DeliveryState) -> DeliveryState {
    for part in &mut progress.parts {
        if !matches!(part.state, PartState::Sent { .. }) {
            part.repairs.clear();
        }
    }
    progress.last_failure = None;
    progress
}

fn not_found(words: &str) -> OpsError {
    OpsError::NoDelivery(format!(
        "{words}; `telepost outbox list` shows the deliveries"
    ))
}

/// In a list, a damaged file counts as missing: its move to the quarantine is logged.
fn unless_damaged<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Err(ReadError::Quarantined { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// The first line of a text, or the names of its files if it has none.
fn first_line(text: &str, files: &[AttachedFile]) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let names = || {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        names.join(", ")
    };
    let line = line.map_or_else(names, str::to_owned);
    one_line(short(&line, TEXT_MAX).trim())
}
