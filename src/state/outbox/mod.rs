//! The outbox: messages of agents, durable before the agent hears of it, until Telegram has accepted them.
//!
//! `outbox/<accepted>-<key>.json` is a [`delivery::Delivery`], written once by the MCP server: the commit
//! point of a reply and of the acknowledgement of the messages that it answers. `<…>.progress.json` is
//! the sender's [`delivery::DeliveryState`]: the message in flight and those that Telegram has accepted.
//! `sent/` and `failed/` have delivery and result in one file; once that file exists, the files in
//! `outbox/` no longer count. `outbox/<accepted>-<key>/` has the copies of a delivery's files while they
//! may still be sent.

pub mod attachments;
pub mod delivery;
pub mod notice;
pub mod sent_index;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::delivery::{
    Content, Delivery, DeliveryId, DeliveryOutcome, DeliveryState, FinishedDelivery,
};
use crate::clock::Timestamp;
use crate::ids::{BotId, MessageId};
use crate::state::agents::holder::short_hash;
use crate::state::inbox::EntryName;
use crate::state::{SessionDir, StateDir};
use crate::store::staging::{self, CopyError, Staging};
use crate::store::{ReadError, StateFile, StateFolder, Step, StoreError};

/// How long a finished delivery is kept.
const KEEP_MS: i64 = 7 * 24 * 3600 * 1000;
/// How many finished deliveries are kept.
const KEEP_MOST: usize = 1000;

/// How many of the oldest deliveries are read to find those of a bot that is gone.
const OLDEST: usize = 10;

const STATE_SUFFIX: &str = ".progress.json";

/// The outbox of one session.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: SessionDir,
    waiting: StateFolder<Delivery>,
    states: StateFolder<DeliveryState>,
    sent: StateFolder<FinishedDelivery>,
    failed: StateFolder<FinishedDelivery>,
    drops: StateFolder<DropRequest>,
}

/// A file in `drops/`. Only its name counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct DropRequest {
    at: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryStatus {
    /// On disk, and Telegram does not have all of it yet.
    Waiting,
    /// Finished, with any outcome.
    Finished(Box<FinishedDelivery>),
    /// Not on disk, or not any more.
    Gone,
}

impl Outbox {
    /// The outbox of a session whose folders exist.
    pub fn new(state: &StateDir, dir: SessionDir) -> Self {
        let storage = state.storage();
        Self {
            waiting: storage.folder(dir.outbox(), Step::Accept),
            states: storage.folder(dir.outbox(), Step::Accepted),
            sent: storage.folder(dir.sent(), Step::Finish),
            failed: storage.folder(dir.failed(), Step::Finish),
            drops: storage.folder(dir.drops(), Step::Drop),
            dir,
        }
    }

    /// Accepts a delivery: the commit point. The caller holds the session lock.
    pub fn accept(&self, delivery: &Delivery) -> Result<(), StoreError> {
        entry(&self.waiting, &delivery.id).write(delivery)
    }

    /// A folder for the copies of a delivery that is not accepted yet.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        Staging::create(&self.dir.outbox())
    }

    /// Accepts a delivery with its copies, which are durable before it.
    pub fn accept_with(&self, delivery: &Delivery, mut copies: Staging) -> Result<(), StoreError> {
        copies.publish(&self.copies(&delivery.id), Step::Attach)?;
        let accepted = self.accept(delivery);
        // If only its last sync has failed, it is there and counts.
        if accepted.is_ok() || self.may_wait(&delivery.id) {
            copies.keep();
        }
        accepted
    }

    /// Accepts a delivery that replaces another one, with all files of that one.
    pub fn accept_again(&self, delivery: &Delivery, of: &DeliveryId) -> Result<(), StoreError> {
        let count = delivery.content.files().len();
        if count == 0 {
            return self.accept(delivery);
        }
        let copies = self.stage()?;
        for number in 0..count {
            let from = self.copy(of, number);
            match copies.take_over(&number.to_string(), &from) {
                Ok(()) => {}
                // The sender names the missing file when it comes to it.
                Err(CopyError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(CopyError::Read(error)) => return Err(StoreError::new("read", &from, error)),
                Err(CopyError::Store(error)) => return Err(error),
            }
        }
        copies.sync()?;
        self.accept_with(delivery, copies)
    }

    /// The copy of one of the files of a delivery.
    pub fn copy(&self, id: &DeliveryId, number: usize) -> PathBuf {
        self.copies(id).join(number.to_string())
    }

    fn copies(&self, id: &DeliveryId) -> PathBuf {
        self.dir.outbox().join(id.to_string())
    }

    /// Removes copies without a delivery: of calls that were cut short, and of finished deliveries.
    /// Copies that are being made stay.
    pub fn sweep_copies(&self) -> Result<(), StoreError> {
        let belongs = |name: &str| {
            let Some(id) = DeliveryId::parse(name) else {
                return Ok(None);
            };
            let waits = entry(&self.waiting, &id).exists()?;
            Ok(Some(waits || entry(&self.failed, &id).exists()?))
        };
        staging::sweep_folders(&self.dir.outbox(), belongs, Step::Sweep)
    }

    /// Makes the names in `outbox/` durable. A process that finds a delivery cannot tell whether the sync of
    /// its commit has failed or is still to come.
    pub fn sync_names(&self) -> Result<(), StoreError> {
        self.waiting.sync()
    }

    /// The deliveries that are not finished, in the order of acceptance.
    pub fn waiting(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        list_ids(&self.waiting)
    }

    /// The bots of the oldest deliveries that are not finished.
    pub fn oldest_bots(&self, now: Timestamp) -> Result<BTreeSet<BotId>, ReadError> {
        let mut bots = BTreeSet::new();
        for id in self.waiting()?.iter().take(OLDEST) {
            match self.read(id, now) {
                Ok(delivery) => bots.extend(delivery.map(|delivery| delivery.address.bot_id)),
                Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bots)
    }

    /// Visits each delivery that is not finished, unordered and without keeping the names.
    pub fn each_waiting(&self, mut visitor: impl FnMut(DeliveryId)) -> Result<(), StoreError> {
        self.waiting.visit(|name| {
            if let Some(id) = name.strip_suffix(".json").and_then(DeliveryId::parse) {
                visitor(id);
            }
        })
    }

    /// Whether a delivery may still have its file.
    pub fn may_wait(&self, id: &DeliveryId) -> bool {
        entry(&self.waiting, id).exists().unwrap_or(true)
    }

    /// Reads a delivery.
    pub fn read(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>, ReadError> {
        entry(&self.waiting, id).read(now)
    }

    /// Reads how far a delivery has come.
    pub fn delivery_state(
        &self,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Option<DeliveryState>, ReadError> {
        self.state_file(id).read(now)
    }

    /// Records durably how far a delivery has come.
    pub fn record_state(
        &self,
        id: &DeliveryId,
        state: &DeliveryState,
        step: Step,
    ) -> Result<(), StoreError> {
        self.state_file(id).at(step).write(state)
    }

    fn state_file(&self, id: &DeliveryId) -> StateFile<DeliveryState> {
        self.states.file(format!("{id}{STATE_SUFFIX}"))
    }

    /// Records the end of a delivery in `sent/` or `failed/`, then takes it out of `outbox/`.
    pub fn finish(&self, finished: &FinishedDelivery) -> Result<(), StoreError> {
        let id = &finished.delivery.id;
        let folder = match finished.outcome {
            DeliveryOutcome::Failed { .. } => &self.failed,
            DeliveryOutcome::Delivered { .. }
            | DeliveryOutcome::Unknown
            | DeliveryOutcome::Superseded
            | DeliveryOutcome::Dropped { .. } => &self.sent,
        };
        entry(folder, id).write(finished)?;
        self.leave(id)
    }

    /// Takes a delivery out of `outbox/` whose result an earlier gateway has recorded. That gateway may
    /// have died before it synced the result.
    pub fn leave_recorded(&self, id: &DeliveryId) -> Result<(), StoreError> {
        self.sent.sync()?;
        self.failed.sync()?;
        self.leave(id)
    }

    /// Takes a finished delivery out of `outbox/`. Unsynced: `sent/` wins where both exist.
    fn leave(&self, id: &DeliveryId) -> Result<(), StoreError> {
        entry(&self.waiting, id).at(Step::Leave).remove()?;
        self.state_file(id).at(Step::Leave).remove()?;
        // A person may retry a failed delivery: its copies go with its record.
        if entry(&self.failed, id).exists()? {
            return Ok(());
        }
        staging::remove_folder(&self.copies(id), Step::Leave)
    }

    /// Where a delivery stands. `sent/` and `failed/` win over `outbox/`.
    pub fn status(&self, id: &DeliveryId, now: Timestamp) -> Result<DeliveryStatus, ReadError> {
        if let Some(finished) = self.finished(id, now)? {
            return Ok(DeliveryStatus::Finished(finished));
        }
        if entry(&self.waiting, id).exists()? {
            return Ok(DeliveryStatus::Waiting);
        }
        // It may have been finished between the two reads.
        let finished = self.finished(id, now)?;
        Ok(finished.map_or(DeliveryStatus::Gone, DeliveryStatus::Finished))
    }

    /// The record of a delivery's end, if it has ended.
    pub fn finished(
        &self,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Box<FinishedDelivery>>, ReadError> {
        let sent = entry(&self.sent, id).read(now)?;
        let finished = match sent {
            None => entry(&self.failed, id).read(now)?,
            sent => sent,
        };
        Ok(finished.map(Box::new))
    }

    /// The delivery that a call made, by the call's key.
    pub fn by_key(&self, key: &str) -> Result<Option<DeliveryId>, StoreError> {
        Ok(self.all()?.into_iter().find(|id| id.key == key))
    }

    /// All deliveries that are on disk, finished or not, in the order of acceptance.
    pub fn all(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        let mut all = self.waiting()?;
        all.append(&mut self.all_finished()?);
        Ok(all)
    }

    /// When the newest delivery on disk was accepted, finished or not; 0 if there is none. Finished ones from the
    /// future do not count: their clock had jumped ahead. The name of a waiting one counts, for the order.
    pub fn newest(&self, now: Timestamp) -> Result<i64, StoreError> {
        let newest = |folder: &StateFolder<_>, counts: &dyn Fn(i64) -> bool| {
            let mut newest = 0;
            folder.visit(|name| {
                let id = name.strip_suffix(".json").and_then(DeliveryId::parse);
                let accepted = id.map(|id| id.accepted).filter(|at| counts(*at));
                newest = newest.max(accepted.unwrap_or_default());
            })?;
            Ok::<i64, StoreError>(newest)
        };
        let mut waiting = 0;
        // In the order in which deliveries move, so that none is missed.
        self.each_waiting(|id| waiting = waiting.max(id.accepted))?;
        let is_near = |at: i64| waiting >= at || !now.is_future(Timestamp(at));
        let finished = newest(&self.sent, &is_near)?.max(newest(&self.failed, &is_near)?);
        Ok(waiting.max(finished))
    }

    /// All finished deliveries that are on disk, in the order of acceptance.
    pub fn all_finished(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        let mut all = list_ids(&self.sent)?;
        all.append(&mut list_ids(&self.failed)?);
        Ok(all)
    }

    /// The entries that waiting deliveries answer, as far as they can be read; they may not be settled yet.
    /// Moves and reports nothing.
    pub fn answered(&self) -> Result<BTreeSet<EntryName>, StoreError> {
        let waiting = self.waiting()?;
        let deliveries = waiting
            .iter()
            .filter_map(|id| entry(&self.waiting, id).peek());
        Ok(deliveries.flat_map(|delivery| delivery.answers).collect())
    }

    /// Reads a delivery, finished or not.
    pub fn read_any(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>, ReadError> {
        match self.status(id, now)? {
            DeliveryStatus::Finished(finished) => Ok(Some(finished.delivery)),
            DeliveryStatus::Waiting => self.read(id, now),
            DeliveryStatus::Gone => Ok(None),
        }
    }

    /// Visits the record of each delivery in `sent/` that can be read, oldest first.
    pub fn each_sent(&self, mut visitor: impl FnMut(&FinishedDelivery)) -> Result<(), StoreError> {
        for id in list_ids(&self.sent)? {
            if let Some(finished) = entry(&self.sent, &id).peek() {
                visitor(&finished);
            }
        }
        Ok(())
    }

    /// The message that the progress updates of a turn edit: the one of its newest finished update.
    pub fn turn_message(
        &self,
        turn: &DeliveryId,
        before: &DeliveryId,
        now: Timestamp,
    ) -> Result<Option<MessageId>, ReadError> {
        let all = self.all_finished()?;
        for id in all.range(turn..before).rev() {
            let DeliveryStatus::Finished(finished) = self.status(id, now)? else {
                continue;
            };
            let delivery = &finished.delivery;
            let is_of_turn = delivery.id == *turn || delivery.turn.as_ref() == Some(turn);
            let is_progress = matches!(delivery.content, Content::ProgressUpdate { .. });
            let message = finished.outcome.last_message();
            if is_of_turn && is_progress && message.is_some() {
                // 0 is a message whose id Telegram did not say.
                return Ok(message.filter(|message| message.0 > 0));
            }
        }
        Ok(None)
    }

    /// The failed deliveries that no one has retried, in the order of acceptance.
    pub fn failed(&self) -> Result<Vec<DeliveryId>, StoreError> {
        let failed = list_ids(&self.failed)?;
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let sent = list_ids(&self.sent)?;
        let waiting = self.waiting()?;
        let all = failed.iter().chain(&sent).chain(&waiting);
        let keys: BTreeSet<&str> = all.map(|id| id.key.as_str()).collect();
        let open = |id: &&DeliveryId| !sent.contains(id) && !keys.contains(retry_key(id).as_str());
        Ok(failed.iter().filter(open).cloned().collect())
    }

    /// Records that a failed delivery was dropped, and takes it out of `failed/`.
    pub fn forget_failed(&self, dropped: &FinishedDelivery) -> Result<(), StoreError> {
        // The leftovers of a killed gateway in outbox/ go first: without a record they would count.
        let id = &dropped.delivery.id;
        self.leave_recorded(id)?;
        entry(&self.sent, id).write(dropped)?;
        entry(&self.failed, id).at(Step::Sweep).remove()?;
        staging::remove_folder(&self.copies(id), Step::Leave)
    }

    /// How often a message of unknown fate was sent again, over all deliveries that are kept.
    pub fn repeats(&self, now: Timestamp) -> Result<usize, ReadError> {
        let mut repeats = 0;
        for id in list_ids(&self.sent)? {
            let finished = entry(&self.sent, &id).read_or_missing(now)?;
            let outcome = finished.map(|finished| finished.outcome);
            if let Some(DeliveryOutcome::Delivered { repeats: some, .. }) = outcome {
                repeats += some;
            }
        }
        Ok(repeats)
    }

    /// Whether a person has asked to drop a delivery.
    pub fn drop_asked(&self, id: &DeliveryId) -> bool {
        entry(&self.drops, id).exists().unwrap_or(false)
    }

    /// The deliveries that a person has asked to drop.
    pub fn drops(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        list_ids(&self.drops)
    }

    /// Records durably that a person has asked to drop a delivery.
    pub fn ask_to_drop(&self, id: &DeliveryId, now: Timestamp) -> Result<(), StoreError> {
        entry(&self.drops, id).write(&DropRequest { at: now })
    }

    /// Removes a request to drop a delivery that is fulfilled, or came too late.
    pub fn forget_drop(&self, id: &DeliveryId) -> Result<(), StoreError> {
        entry(&self.drops, id).at(Step::Leave).remove()
    }

    /// Removes finished deliveries beyond their time or number, and states that a kill has separated from
    /// their delivery.
    pub fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut past = Vec::new();
        for folder in [&self.sent, &self.failed] {
            let finished = list_ids(folder)?;
            let beyond = finished.len().saturating_sub(KEEP_MOST);
            for (index, id) in finished.iter().enumerate() {
                // A loss of power may have restored its delivery, and only the result tells the sender
                // that it is out.
                if (index < beyond || self.is_past(id, now)?)
                    && !entry(&self.waiting, id).exists()?
                {
                    past.push(entry(folder, id).at(Step::Sweep));
                }
            }
        }
        if !past.is_empty() {
            // Once its result is gone, nothing else keeps a delivery from being sent again: its own
            // file has left the outbox unsynced.
            self.sync_names()?;
        }
        for file in past {
            file.remove()?;
        }
        // Thousands may wait: their names are not kept.
        let mut orphans = Vec::new();
        self.states.visit(|name| {
            let id = name.strip_suffix(STATE_SUFFIX).and_then(DeliveryId::parse);
            orphans.extend(id.filter(|id| !self.may_wait(id)));
        })?;
        for id in orphans {
            self.state_file(&id).at(Step::Sweep).remove()?;
        }
        self.sweep_copies()
    }

    /// Whether a delivery was finished too long ago to be kept. It may have waited for long before.
    fn is_past(&self, id: &DeliveryId, now: Timestamp) -> Result<bool, StoreError> {
        let past = |at: Timestamp| now.0.saturating_sub(at.0) > KEEP_MS;
        let accepted = Timestamp(id.accepted);
        if now.is_future(accepted) {
            // A clock that had jumped ahead has named it; only the change of its file tells its age.
            let files = [&self.sent, &self.failed].map(|folder| entry(folder, id));
            let mut changes = files.iter().filter_map(|file| file.believed_change(now));
            return Ok(changes.next().is_some_and(past));
        }
        if !past(accepted) {
            return Ok(false);
        }
        match self.finished(id, now) {
            Ok(finished) => Ok(finished.is_some_and(|finished| past(finished.finished_at))),
            Err(ReadError::Quarantined { .. } | ReadError::Newer { .. }) => Ok(false),
            Err(ReadError::Store(error)) => Err(error),
        }
    }
}

fn entry<T>(folder: &StateFolder<T>, id: &DeliveryId) -> StateFile<T> {
    folder.file(format!("{id}.json"))
}

fn list_ids<T>(folder: &StateFolder<T>) -> Result<BTreeSet<DeliveryId>, StoreError> {
    let names = folder.names()?;
    let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
    Ok(ids.filter_map(DeliveryId::parse).collect())
}

/// The key of the delivery that retries a failed one.
pub fn retry_key(failed: &DeliveryId) -> String {
    short_hash(&["retry", &failed.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Address, BotId, ChatId, MessageId, SessionId};

    fn outbox() -> (tempfile::TempDir, Outbox) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        let dir = state.session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        (folder, Outbox::new(&state, dir))
    }

    fn delivery(accepted: i64) -> Delivery {
        Delivery {
            id: DeliveryId {
                accepted,
                key: format!("{accepted:032x}"),
            },
            session: SessionId::new("ONE").unwrap(),
            holder: "h".to_owned(),
            address: Address {
                bot_id: BotId(7),
                chat_id: ChatId(11),
                topic_id: None,
            },
            content: Content::Reply {
                text: "hello".to_owned(),
                files: Vec::new(),
                options: Vec::new(),
            },
            answers: Vec::new(),
            acked: Vec::new(),
            reply_to: None,
            as_reply: false,
            resume: None,
            silent: false,
            turn: None,
        }
    }

    /// Finished a second after it was accepted.
    fn delivered(delivery: Delivery) -> FinishedDelivery {
        let outcome = DeliveryOutcome::Delivered {
            message_ids: vec![MessageId(5)],
            repeats: 0,
        };
        FinishedDelivery {
            finished_at: Timestamp(delivery.id.accepted + 1000),
            delivery,
            outcome,
            state: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_finished_delivery_wins_over_what_is_left_in_the_outbox() {
        let (_folder, outbox) = outbox();
        let delivery = delivery(1_700_000_000_000);
        outbox.accept(&delivery).unwrap();
        assert_eq!(
            outbox.status(&delivery.id, Timestamp(1)).unwrap(),
            DeliveryStatus::Waiting
        );
        let finished = delivered(delivery.clone());
        outbox.finish(&finished).unwrap();
        outbox.accept(&delivery).unwrap();
        let status = outbox.status(&delivery.id, Timestamp(1)).unwrap();
        assert_eq!(status, DeliveryStatus::Finished(Box::new(finished)));
    }

    #[test]
    fn a_call_is_found_by_its_key_wherever_its_delivery_stands() {
        let (_folder, outbox) = outbox();
        let delivery = delivery(1_700_000_000_000);
        let key = delivery.id.key.clone();
        assert_eq!(outbox.by_key(&key).unwrap(), None);
        outbox.accept(&delivery).unwrap();
        assert_eq!(outbox.by_key(&key).unwrap(), Some(delivery.id.clone()));
        outbox.finish(&delivered(delivery.clone())).unwrap();
        assert_eq!(outbox.by_key(&key).unwrap(), Some(delivery.id));
        assert!(outbox.waiting().unwrap().is_empty());
    }

    #[test]
    fn the_sweep_removes_old_results_and_states_without_a_delivery_and_nothing_else() {
        let (_folder, outbox) = outbox();
        let now = Timestamp(1_700_000_000_000);
        let old = delivery(now.0 - KEEP_MS - 1001);
        let late = delivery(now.0 - KEEP_MS - 999);
        let fresh = delivery(now.0 - 5);
        let waiting = delivery(now.0 - 1);
        for delivery in [&old, &late, &fresh, &waiting] {
            outbox.accept(delivery).unwrap();
            outbox
                .record_state(
                    &delivery.id,
                    &DeliveryState::plan(&delivery.content),
                    Step::InFlight,
                )
                .unwrap();
        }
        outbox.finish(&delivered(old.clone())).unwrap();
        outbox.finish(&delivered(late.clone())).unwrap();
        outbox.finish(&delivered(fresh.clone())).unwrap();
        outbox
            .record_state(&old.id, &DeliveryState::plan(&old.content), Step::InFlight)
            .unwrap();
        outbox.sweep(now).unwrap();
        assert_eq!(
            outbox.all().unwrap().into_iter().collect::<Vec<_>>(),
            [late.id, fresh.id, waiting.id.clone()]
        );
        assert_eq!(outbox.delivery_state(&old.id, now).unwrap(), None);
        assert!(outbox.delivery_state(&waiting.id, now).unwrap().is_some());
    }

    #[test]
    fn a_result_stays_however_old_as_long_as_its_delivery_is_in_the_outbox() {
        let (_folder, outbox) = outbox();
        let now = Timestamp(1_700_000_000_000);
        let old = delivery(now.0 - KEEP_MS - 1001);
        outbox.accept(&old).unwrap();
        outbox.finish(&delivered(old.clone())).unwrap();
        // A loss of power has brought it back, and no gateway has run since.
        outbox.accept(&old).unwrap();
        outbox.sweep(now).unwrap();
        let status = outbox.status(&old.id, now).unwrap();
        assert_eq!(
            status,
            DeliveryStatus::Finished(Box::new(delivered(old.clone())))
        );
        outbox.leave_recorded(&old.id).unwrap();
        outbox.sweep(now).unwrap();
        assert_eq!(outbox.status(&old.id, now).unwrap(), DeliveryStatus::Gone);
    }
}
