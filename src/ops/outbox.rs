//! What a person does with deliveries: look at them, try a failed one again, drop one.
//!
//! The gateway never takes the session lock, and nobody but the gateway moves a delivery that waits.
//! So nothing here races with it. *Retry* makes a new delivery under the session lock, whose key
//! comes from the failed one: asked for twice, it is sent once, and what Telegram had of the first try
//! is not sent again. The record of the failed one moves to `sent/`, and it no longer counts. *Drop* leaves a
//! marker in `drops/`, which the gateway honours before its next request.

use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};
use crate::ids::SessionId;
use crate::state::bots::{migrations, rate_limits};
use crate::state::layout::StateDir;
use crate::state::outbox::attachments::AttachedFile;
use crate::state::outbox::delivery::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState, FinishedDelivery, PartState,
};
use crate::state::outbox::{DeliveryStatus, Outbox, retry_key};
use crate::store::StateError;
use crate::store::disk::HeldLock;
use crate::store::format::ReadError;

/// How long a running gateway is given to honour a drop before that is said.
const DROP_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How much of a text is shown in a list.
const TEXT_SHOWN: usize = 60;

/// One delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its id; any part of its beginning that no other has names it.
    pub id: DeliveryId,
    /// Whose it is.
    pub session: SessionId,
    /// Seconds since it was accepted.
    pub age_s: u64,
    /// Where it goes: chat and topic.
    pub to: String,
    /// `reply`, `progress` or `reaction`.
    pub kind: &'static str,
    /// `waiting`, `held`, `parked`, `dropping` or `failed`.
    pub state: &'static str,
    /// How many of its messages Telegram has.
    pub sent: usize,
    /// How many messages it has, once it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<usize>,
    /// Until when nothing goes to its chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<String>,
    /// Why it failed, or what went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first line of its text.
    pub text: String,
}

/// It could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The state cannot be used, or somebody else is at work.
    #[error(transparent)]
    State(StateError),
    /// No delivery, or several, begin with that.
    #[error("{0}; `telepost outbox list` shows what there is")]
    NotFound(String),
    /// It is there, but that cannot be done with it.
    #[error("{0}")]
    Refused(String),
}

impl<E: Into<StateError>> From<E> for ManageError {
    fn from(error: E) -> Self {
        Self::State(error.into())
    }
}

/// The outboxes of a state folder.
#[derive(Debug)]
pub struct Outboxes {
    state: StateDir,
    sessions: Vec<SessionId>,
    clock: Clock,
}

impl Outboxes {
    /// Those of these sessions.
    pub fn new(state: &StateDir, sessions: Vec<SessionId>, clock: Clock) -> Self {
        Self {
            state: state.clone(),
            sessions,
            clock,
        }
    }

    /// What waits and what has failed, in the order of acceptance.
    pub fn list(&self) -> Result<Vec<Row>, ManageError> {
        let mut rows = Vec::new();
        for session in &self.sessions {
            let outbox = self.outbox(session);
            for id in outbox.waiting()? {
                let read = outbox.read(&id, self.clock.now());
                if let Some(delivery) = unless_damaged(read)?.flatten() {
                    rows.extend(self.waiting(&outbox, &delivery)?);
                }
            }
            for id in outbox.failed()? {
                if let Some(finished) =
                    unless_damaged(outbox.finished(&id, self.clock.now()))?.flatten()
                {
                    rows.push(self.failed(&finished));
                }
            }
        }
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(rows)
    }

    fn waiting(&self, outbox: &Outbox, delivery: &Delivery) -> Result<Option<Row>, ManageError> {
        let now = self.clock.now();
        // A kill came between the record of its end and its removal.
        if let Some(finished) = unless_damaged(outbox.finished(&delivery.id, now))?.flatten() {
            drop(finished);
            return Ok(None);
        }
        let progress = unless_damaged(outbox.delivery_state(&delivery.id, now))?
            .flatten()
            .or_else(|| delivery.resume.clone());
        let bot = delivery.address.bot_id;
        let chat =
            migrations::read_migrations(&self.state, bot, now)?.current(delivery.address.chat_id);
        let held = unless_damaged(rate_limits::read_limits(&self.state, bot, now))?
            .and_then(|gates| gates.held(chat, now));
        let parked = held.as_ref().and_then(|held| held.reason.clone());
        let state = match (&held, &parked) {
            _ if outbox.drop_asked(&delivery.id) => "dropping",
            (Some(_), Some(_)) => "parked",
            (Some(_), None) => "held",
            (None, _) => "waiting",
        };
        let failure = progress
            .as_ref()
            .and_then(|progress| progress.last_failure.clone());
        Ok(Some(Row {
            state,
            held_until: held.map(|held| held.opens.rfc3339()),
            reason: parked.or(failure),
            ..self.row(delivery, progress.as_ref())
        }))
    }

    fn failed(&self, finished: &FinishedDelivery) -> Row {
        let reason = match &finished.outcome {
            DeliveryOutcome::Failed { reason, .. } => Some(reason.clone()),
            DeliveryOutcome::Delivered { .. }
            | DeliveryOutcome::Unknown
            | DeliveryOutcome::Superseded
            | DeliveryOutcome::Dropped { .. } => None,
        };
        Row {
            state: "failed",
            reason,
            ..self.row(&finished.delivery, finished.state.as_ref())
        }
    }

    fn row(&self, delivery: &Delivery, progress: Option<&DeliveryState>) -> Row {
        let (kind, text) = match &delivery.content {
            Content::Reply { text, .. } => ("reply", text.as_str()),
            Content::ProgressUpdate { text } => ("progress", text.as_str()),
            Content::Reaction { emoji, .. } => ("reaction", emoji.as_str()),
        };
        Row {
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

    /// Sends a failed delivery once more, as a new one; says what comes of it.
    pub fn retry(&self, name: &str) -> Result<String, ManageError> {
        let (session, id) = self.find(name)?;
        let outbox = self.outbox(&session);
        let _lock = self.lock(&session)?;
        let now = self.clock.now();
        let key = retry_key(&id);
        let all = outbox.all()?;
        let made = all.iter().find(|id| id.key == key);
        let finished = match outbox.status(&id, now)? {
            DeliveryStatus::Finished(finished) => finished,
            DeliveryStatus::Waiting => {
                return Err(ManageError::Refused(format!(
                    "{id} has not failed: it still waits, and is sent as soon as that is possible"
                )));
            }
            DeliveryStatus::Gone => return Err(gone(&id)),
        };
        if let Some(made) = made {
            // The commit may have been cut short before it was durable.
            outbox.sync_names()?;
            return retried(&outbox, *finished, made, "is being tried again already");
        }
        if !matches!(finished.outcome, DeliveryOutcome::Failed { .. }) {
            return Err(ManageError::Refused(format!(
                "{id} has not failed, so there is nothing to try again"
            )));
        }
        if matches!(finished.delivery.content, Content::ProgressUpdate { .. }) {
            return Err(ManageError::Refused(format!(
                "{id} said how the work was going then; it is not sent late. `telepost outbox drop {id}` removes it from the list"
            )));
        }
        let last = all.last().map_or(0, |id| id.accepted);
        let again = DeliveryId {
            accepted: now.0.max(last + 1),
            key,
        };
        let delivery = Delivery {
            id: again.clone(),
            answers: Vec::new(),
            acked: Vec::new(),
            turn: None,
            resume: finished.state.clone().map(anew),
            ..finished.delivery.clone()
        };
        outbox.accept_again(&delivery, &id)?;
        retried(&outbox, *finished, &again, "is tried again")
    }

    /// Sees to it that a delivery is not sent, or not the rest of it; says what comes of it.
    pub async fn drop(&self, name: &str, gateway_runs: bool) -> Result<String, ManageError> {
        let (session, id) = self.find(name)?;
        let outbox = self.outbox(&session);
        let lock = self.lock(&session)?;
        match outbox.status(&id, self.clock.now())? {
            DeliveryStatus::Gone => Err(gone(&id)),
            DeliveryStatus::Finished(finished) => {
                let DeliveryOutcome::Failed { message_ids, .. } = &finished.outcome else {
                    return Err(ManageError::Refused(format!(
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
                    let deadline = self.clock.instant() + DROP_PATIENCE;
                    while self.clock.instant() < deadline {
                        if outbox.status(&id, self.clock.now())? != DeliveryStatus::Waiting {
                            return self.ended(&outbox, &id);
                        }
                        self.clock.sleep(LOOK_AGAIN).await;
                    }
                }
                Ok(format!(
                    "{id} is dropped by the gateway before it sends anything more of it\n"
                ))
            }
        }
    }

    fn ended(&self, outbox: &Outbox, id: &DeliveryId) -> Result<String, ManageError> {
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

    /// The delivery whose id begins like that.
    fn find(&self, name: &str) -> Result<(SessionId, DeliveryId), ManageError> {
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
            Some(_) => Err(ManageError::NotFound(format!(
                "{count} deliveries begin with {name:?}"
            ))),
            None => Err(ManageError::NotFound(format!(
                "there is no delivery {name:?}"
            ))),
        }
    }

    fn outbox(&self, session: &SessionId) -> Outbox {
        Outbox::new(&self.state, self.state.session(session))
    }

    fn lock(&self, session: &SessionId) -> Result<HeldLock, ManageError> {
        let dir = self.state.session(session);
        dir.prepare()?;
        let who = format!("telepost outbox, pid {}", std::process::id());
        Ok(dir.take_lock(&who)?)
    }
}

/// The failed one no longer counts: another has taken its place. Until that is recorded, the key of the
/// other one says so.
fn retried(
    outbox: &Outbox,
    mut failed: FinishedDelivery,
    made: &DeliveryId,
    what: &str,
) -> Result<String, ManageError> {
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

/// What is left to send, with every repair allowed once more.
fn anew(mut progress: DeliveryState) -> DeliveryState {
    for part in &mut progress.parts {
        if !matches!(part.state, PartState::Sent { .. }) {
            part.repairs.clear();
        }
    }
    progress.last_failure = None;
    progress
}

fn gone(id: &DeliveryId) -> ManageError {
    ManageError::NotFound(format!("{id} is gone"))
}

/// What was damaged is reported when it is moved, and counts as not there in a list.
fn unless_damaged<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Err(ReadError::Quarantined { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Without what must not reach a terminal.
pub fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.collect()
}

/// The first line of a text, or what the files are named that go without one.
fn first_line(text: &str, files: &[AttachedFile]) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let names = || {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        names.join(", ")
    };
    let clean = printable(&line.map_or_else(names, str::to_owned));
    let mut shown: String = clean.chars().take(TEXT_SHOWN).collect();
    if clean.chars().count() > TEXT_SHOWN {
        shown.push('…');
    }
    shown.trim().to_owned()
}
