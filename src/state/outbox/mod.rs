//! The outbox: messages of agents, durable before the agent is told so, until Telegram has accepted them.
//!
//! On disk: `outbox/<accepted>-<key>.json` is a [`delivery::Delivery`], written once by the MCP
//! side: the commit point of a reply and of the acknowledgement of the messages that it answers.
//! `<…>.progress.json` is the gateway's [`delivery::Progress`]: what is in flight and what Telegram
//! accepted, message by message. `sent/` and `failed/` have delivery and result in one file; once
//! that file exists, the outbox files no longer count. `outbox/<accepted>-<key>/` has the copies of its
//! files while they may still be sent.

pub mod attachments;
pub mod changes;
pub mod delivery;
pub mod notice;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{Address, BotId, ChatId, MessageId};
use crate::state::agents::holder::short_hash;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::{SessionDir, StateDir};
use crate::state::outbox::delivery::{Content, Delivery, DeliveryId, Finished, Outcome, Progress};
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};
use crate::store::staging::{self, CopyError, Staging};

/// How long a finished delivery is kept.
const KEEP_MS: i64 = 7 * 24 * 3600 * 1000;
/// How many finished deliveries are kept.
const KEEP_MOST: usize = 1000;

const PROGRESS_SUFFIX: &str = ".progress.json";

/// The outbox of one session.
#[derive(Clone, Debug)]
pub struct Outbox {
    state: StateDir,
    dir: SessionDir,
}

/// A file in `drops/`. Only its name counts.
#[derive(Debug, Serialize, Deserialize)]
struct DropRequest {
    format: u32,
    at: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// On disk, not yet with Telegram.
    Waiting,
    /// Finished, one way or the other.
    Finished(Box<Finished>),
    /// Not there (any more).
    Gone,
}

impl Outbox {
    /// The outbox of a session whose folders exist.
    pub fn new(state: &StateDir, dir: SessionDir) -> Self {
        Self {
            state: state.clone(),
            dir,
        }
    }

    /// Accepts a delivery: the commit point. The caller holds the session lock.
    pub fn accept(&self, delivery: &Delivery) -> Result<(), StoreError> {
        format::write(
            &self.path(&delivery.id),
            delivery,
            Step::Accept,
            Durability::Synced,
        )
    }

    /// A folder for the copies of a delivery that is not accepted yet.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        Staging::create(&self.dir.outbox())
    }

    /// Accepts a delivery with its copies, which stand durably in their place before it does.
    pub fn accept_with(&self, delivery: &Delivery, mut copies: Staging) -> Result<(), StoreError> {
        copies.publish(&self.copies(&delivery.id), Step::Attach)?;
        let accepted = self.accept(delivery);
        // If only its last sync has failed, it is there and counts.
        if accepted.is_ok() || self.path(&delivery.id).exists() {
            copies.keep();
        }
        accepted
    }

    /// Accepts a delivery that takes the place of another one, with all of its files.
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
                // The gateway says of which file it is when it comes to it.
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

    /// Removes copies that belong to no delivery: of calls that were cut short before they accepted
    /// one, and of deliveries that are over. Copies that are being made are left alone.
    pub fn sweep_copies(&self) -> Result<(), StoreError> {
        let belongs = |name: &str| {
            let Some(id) = DeliveryId::parse(name) else {
                return Ok(None);
            };
            let failed = self.dir.failed().join(format!("{id}.json"));
            Ok(Some(self.path(&id).exists() || failed.exists()))
        };
        staging::sweep(&self.dir.outbox(), belongs, Step::Sweep)
    }

    /// Makes the names in `outbox/` durable: whoever finds a delivery does not know whether the sync
    /// of its commit has failed, or is still to come.
    pub fn sync_names(&self) -> Result<(), StoreError> {
        atomic::sync_folder(&self.dir.outbox())
    }

    /// The deliveries that are not finished, in the order of acceptance.
    pub fn waiting(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        names(&self.dir.outbox())
    }

    /// Calls `found` for each delivery that is not finished, in no order and without keeping any.
    pub fn each_waiting(&self, mut found: impl FnMut(DeliveryId)) -> Result<(), StoreError> {
        atomic::visit(&self.dir.outbox(), |name| {
            if let Some(id) = name.strip_suffix(".json").and_then(DeliveryId::parse) {
                found(id);
            }
        })
    }

    /// Whether a delivery may still have its file.
    pub fn may_wait(&self, id: &DeliveryId) -> bool {
        self.path(id).try_exists().unwrap_or(true)
    }

    /// Reads a delivery.
    pub fn read(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>, ReadError> {
        format::read(&self.state, &self.path(id), now)
    }

    /// Reads how far a delivery has come.
    pub fn progress(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Progress>, ReadError> {
        format::read(&self.state, &self.progress_path(id), now)
    }

    /// Records how far a delivery has come, durably.
    pub fn record(
        &self,
        id: &DeliveryId,
        progress: &Progress,
        step: Step,
    ) -> Result<(), StoreError> {
        format::write(&self.progress_path(id), progress, step, Durability::Synced)
    }

    /// Records the end of a delivery in `sent/` or `failed/`, then takes it out of `outbox/`.
    pub fn finish(&self, finished: &Finished) -> Result<(), StoreError> {
        let id = &finished.delivery.id;
        let folder = match finished.outcome {
            Outcome::Failed { .. } => self.dir.failed(),
            Outcome::Delivered { .. }
            | Outcome::Unknown
            | Outcome::Superseded
            | Outcome::Dropped { .. } => self.dir.sent(),
        };
        let path = folder.join(format!("{id}.json"));
        format::write(&path, finished, Step::Finish, Durability::Synced)?;
        self.leave(id)
    }

    /// Takes a delivery out of `outbox/` whose result another gateway has recorded: durably, unless
    /// it died before it synced.
    pub fn leave_recorded(&self, id: &DeliveryId) -> Result<(), StoreError> {
        atomic::sync_folder(&self.dir.sent())?;
        atomic::sync_folder(&self.dir.failed())?;
        self.leave(id)
    }

    /// Takes a finished delivery out of `outbox/`. Unsynced: `sent/` wins where both exist.
    fn leave(&self, id: &DeliveryId) -> Result<(), StoreError> {
        atomic::remove(&self.path(id), Step::Leave)?;
        atomic::remove(&self.progress_path(id), Step::Leave)?;
        // A person may let a failed one be tried again: its copies go with its record.
        if self.dir.failed().join(format!("{id}.json")).exists() {
            return Ok(());
        }
        staging::remove(&self.copies(id), Step::Leave)
    }

    /// Where a delivery stands. `sent/` and `failed/` win over `outbox/`.
    pub fn standing(&self, id: &DeliveryId, now: Timestamp) -> Result<Standing, ReadError> {
        if let Some(finished) = self.finished(id, now)? {
            return Ok(Standing::Finished(finished));
        }
        if self.path(id).exists() {
            return Ok(Standing::Waiting);
        }
        // It may have been finished between the two looks.
        Ok(self
            .finished(id, now)?
            .map_or(Standing::Gone, Standing::Finished))
    }

    /// The record of a delivery's end, if it has ended.
    pub fn finished(
        &self,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Box<Finished>>, ReadError> {
        for folder in [self.dir.sent(), self.dir.failed()] {
            if let Some(finished) =
                format::read(&self.state, &folder.join(format!("{id}.json")), now)?
            {
                return Ok(Some(Box::new(finished)));
            }
        }
        Ok(None)
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

    /// When the newest delivery was accepted that is still on disk, finished or not; 0 if there is none.
    pub fn newest(&self) -> Result<i64, StoreError> {
        let mut newest = 0;
        // In the order in which they move, so that none is missed.
        for folder in [self.dir.outbox(), self.dir.sent(), self.dir.failed()] {
            atomic::visit(&folder, |name| {
                let id = name.strip_suffix(".json").and_then(DeliveryId::parse);
                newest = newest.max(id.map_or(0, |id| id.accepted));
            })?;
        }
        Ok(newest)
    }

    /// All deliveries that are finished and still on disk, in the order of acceptance.
    pub fn all_finished(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        let mut all = names(&self.dir.sent())?;
        all.append(&mut names(&self.dir.failed())?);
        Ok(all)
    }

    /// What waiting deliveries answer, as far as they can be read: somebody may still have to settle it.
    /// Moves and reports nothing.
    pub fn answered(&self) -> Result<BTreeSet<EntryName>, StoreError> {
        let waiting = self.waiting()?;
        let read = |id: &DeliveryId| format::peek::<Delivery>(&self.path(id));
        let answers = waiting.iter().filter_map(read);
        Ok(answers.flat_map(|delivery| delivery.answers).collect())
    }

    /// Reads what was to be sent, finished or not.
    pub fn read_any(&self, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>, ReadError> {
        match self.standing(id, now)? {
            Standing::Finished(finished) => Ok(Some(finished.delivery)),
            Standing::Waiting => self.read(id, now),
            Standing::Gone => Ok(None),
        }
    }

    /// Where a message of a chat went, if it is one of those that this session has sent and that are
    /// still kept. The newest are looked at first.
    pub fn sent_to(&self, bot: BotId, chat: ChatId, message: MessageId) -> Option<Address> {
        let ids = names(&self.dir.sent()).ok()?;
        ids.iter().rev().find_map(|id| {
            let path = self.dir.sent().join(format!("{id}.json"));
            let finished: Finished = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
            let address = finished.delivery.address;
            let Outcome::Delivered { message_ids, .. } = finished.outcome else {
                return None;
            };
            ((address.bot_id, address.chat_id) == (bot, chat) && message_ids.contains(&message))
                .then_some(address)
        })
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
            let Standing::Finished(finished) = self.standing(id, now)? else {
                continue;
            };
            let delivery = &finished.delivery;
            let is_of_turn = delivery.id == *turn || delivery.turn.as_ref() == Some(turn);
            let is_progress = matches!(delivery.content, Content::Progress { .. });
            let message = finished.outcome.last_message();
            if is_of_turn && is_progress && message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// The deliveries that nobody can deliver and that nobody has tried again, in the order of
    /// acceptance.
    pub fn failed(&self) -> Result<Vec<DeliveryId>, StoreError> {
        let failed = names(&self.dir.failed())?;
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let sent = names(&self.dir.sent())?;
        let waiting = self.waiting()?;
        let all = failed.iter().chain(&sent).chain(&waiting);
        let keys: BTreeSet<&str> = all.map(|id| id.key.as_str()).collect();
        let open = |id: &&DeliveryId| !sent.contains(id) && !keys.contains(retry_key(id).as_str());
        Ok(failed.iter().filter(open).cloned().collect())
    }

    /// Records that a failed delivery was dropped, and takes it out of `failed/`.
    pub fn forget_failed(&self, dropped: &Finished) -> Result<(), StoreError> {
        // What a killed gateway has left in outbox/ must go first: without a record it would count.
        let id = &dropped.delivery.id;
        let name = format!("{id}.json");
        self.leave_recorded(id)?;
        format::write(
            &self.dir.sent().join(&name),
            dropped,
            Step::Finish,
            Durability::Synced,
        )?;
        atomic::remove(&self.dir.failed().join(&name), Step::Sweep)?;
        staging::remove(&self.copies(id), Step::Leave)
    }

    /// How often messages were sent once more because their fate was unknown, over all deliveries
    /// that are kept.
    pub fn repeats(&self, now: Timestamp) -> Result<usize, ReadError> {
        let mut repeats = 0;
        for id in names(&self.dir.sent())? {
            match format::read::<Finished>(
                &self.state,
                &self.dir.sent().join(format!("{id}.json")),
                now,
            ) {
                Ok(Some(finished)) => {
                    if let Outcome::Delivered { repeats: some, .. } = finished.outcome {
                        repeats += some;
                    }
                }
                Ok(None) | Err(ReadError::Quarantined { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(repeats)
    }

    /// Whether a person has asked to drop a delivery.
    pub fn drop_asked(&self, id: &DeliveryId) -> bool {
        self.drop_path(id).exists()
    }

    /// The deliveries that a person has asked to drop.
    pub fn drops(&self) -> Result<BTreeSet<DeliveryId>, StoreError> {
        names(&self.dir.drops())
    }

    /// Records durably that a person has asked to drop a delivery.
    pub fn ask_to_drop(&self, id: &DeliveryId, now: Timestamp) -> Result<(), StoreError> {
        let request = DropRequest {
            format: FORMAT,
            at: now,
        };
        format::write(
            &self.drop_path(id),
            &request,
            Step::Drop,
            Durability::Synced,
        )
    }

    /// Removes a request to drop a delivery that is fulfilled, or came too late.
    pub fn forget_drop(&self, id: &DeliveryId) -> Result<(), StoreError> {
        atomic::remove(&self.drop_path(id), Step::Leave)
    }

    fn drop_path(&self, id: &DeliveryId) -> PathBuf {
        self.dir.drops().join(format!("{id}.json"))
    }

    /// Removes finished deliveries beyond their time or number, and progress that has lost its
    /// delivery to a kill between the two removals.
    pub fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut past = Vec::new();
        for folder in [self.dir.sent(), self.dir.failed()] {
            let finished = names(&folder)?;
            let beyond = finished.len().saturating_sub(KEEP_MOST);
            for (index, id) in finished.iter().enumerate() {
                // A loss of power may have brought its delivery back, and nothing but the result tells
                // the sender that it is out.
                if (index < beyond || self.is_past(id, now)?) && !self.path(id).exists() {
                    past.push(folder.join(format!("{id}.json")));
                }
            }
        }
        if !past.is_empty() {
            // Once its result is gone, nothing else keeps a delivery from being sent again: its own
            // file has left the outbox unsynced.
            self.sync_names()?;
        }
        for path in past {
            atomic::remove(&path, Step::Sweep)?;
        }
        // Thousands may wait: of their names none is kept.
        let mut orphans = Vec::new();
        atomic::visit(&self.dir.outbox(), |name| {
            let id = name
                .strip_suffix(PROGRESS_SUFFIX)
                .and_then(DeliveryId::parse);
            if id.is_some_and(|id| !self.may_wait(&id)) {
                orphans.push(name);
            }
        })?;
        for name in orphans {
            atomic::remove(&self.dir.outbox().join(name), Step::Sweep)?;
        }
        self.sweep_copies()
    }

    /// Whether a delivery was finished too long ago to be kept. It may have waited for long before.
    fn is_past(&self, id: &DeliveryId, now: Timestamp) -> Result<bool, StoreError> {
        let past = |at: i64| now.0.saturating_sub(at) > KEEP_MS;
        if !past(id.accepted) {
            return Ok(false);
        }
        match self.finished(id, now) {
            Ok(finished) => Ok(finished.is_some_and(|finished| past(finished.finished_at.0))),
            Err(ReadError::Quarantined { .. } | ReadError::Newer { .. }) => Ok(false),
            Err(ReadError::Store(error)) => Err(error),
        }
    }

    fn path(&self, id: &DeliveryId) -> PathBuf {
        self.dir.outbox().join(format!("{id}.json"))
    }

    fn progress_path(&self, id: &DeliveryId) -> PathBuf {
        self.dir.outbox().join(format!("{id}{PROGRESS_SUFFIX}"))
    }
}

fn names(folder: &std::path::Path) -> Result<BTreeSet<DeliveryId>, StoreError> {
    let names = atomic::list(folder)?;
    Ok(names
        .iter()
        .filter_map(|name| DeliveryId::parse(name.strip_suffix(".json")?))
        .collect())
}

/// The key of the delivery that tries a failed one again.
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
            format: FORMAT,
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
    fn delivered(delivery: Delivery) -> Finished {
        let outcome = Outcome::Delivered {
            message_ids: vec![MessageId(5)],
            repeats: 0,
        };
        Finished {
            format: FORMAT,
            finished_at: Timestamp(delivery.id.accepted + 1000),
            delivery,
            outcome,
            progress: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_finished_delivery_wins_over_what_is_left_in_the_outbox() {
        let (_folder, outbox) = outbox();
        let delivery = delivery(1_700_000_000_000);
        outbox.accept(&delivery).unwrap();
        assert_eq!(
            outbox.standing(&delivery.id, Timestamp(1)).unwrap(),
            Standing::Waiting
        );
        let finished = delivered(delivery.clone());
        outbox.finish(&finished).unwrap();
        outbox.accept(&delivery).unwrap();
        let standing = outbox.standing(&delivery.id, Timestamp(1)).unwrap();
        assert_eq!(standing, Standing::Finished(Box::new(finished)));
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
    fn the_sweep_takes_old_results_and_progress_without_a_delivery_and_nothing_else() {
        let (_folder, outbox) = outbox();
        let now = Timestamp(1_700_000_000_000);
        let old = delivery(now.0 - KEEP_MS - 1001);
        let late = delivery(now.0 - KEEP_MS - 999);
        let fresh = delivery(now.0 - 5);
        let waiting = delivery(now.0 - 1);
        for delivery in [&old, &late, &fresh, &waiting] {
            outbox.accept(delivery).unwrap();
            outbox
                .record(
                    &delivery.id,
                    &Progress::plan(&delivery.content),
                    Step::InFlight,
                )
                .unwrap();
        }
        outbox.finish(&delivered(old.clone())).unwrap();
        outbox.finish(&delivered(late.clone())).unwrap();
        outbox.finish(&delivered(fresh.clone())).unwrap();
        outbox
            .record(&old.id, &Progress::plan(&old.content), Step::InFlight)
            .unwrap();
        outbox.sweep(now).unwrap();
        assert_eq!(
            outbox.all().unwrap().into_iter().collect::<Vec<_>>(),
            [late.id, fresh.id, waiting.id.clone()]
        );
        assert_eq!(outbox.progress(&old.id, now).unwrap(), None);
        assert!(outbox.progress(&waiting.id, now).unwrap().is_some());
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
        let standing = outbox.standing(&old.id, now).unwrap();
        assert_eq!(
            standing,
            Standing::Finished(Box::new(delivered(old.clone())))
        );
        outbox.leave_recorded(&old.id).unwrap();
        outbox.sweep(now).unwrap();
        assert_eq!(outbox.standing(&old.id, now).unwrap(), Standing::Gone);
    }
}
