//! Fetches the files of messages, independently of polling and sending: no message waits for its file.
//!
//! After each poll, the fetcher looks for pending entries whose file is neither there nor given up, and fetches
//! a few at a time. It also fetches files of entries that were settled first, which the conversations name. It
//! derives all of this from the disk again after a kill. A file is hashed and written piece by piece, so memory
//! stays small.

mod decision;
mod download;
mod too_big;

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::decision::{BOT_PAUSE, FetchDecision};
use self::download::{Downloader, FetchJob, FetchOutcome};
use crate::clock::Clock;
use crate::config::{Config, Pace};
use crate::error_chain::Chain;
use crate::ids::{BotId, SessionId};
use crate::state::StateDir;
use crate::state::bots::BotHandle;
use crate::state::files::QUOTA;
use crate::state::inbox::{EntryName, Inbox};
use crate::store::StoreError;
use crate::telegram::api::Api;
use crate::telegram::update::content::short;

/// How many files of one bot are fetched at once.
const SLOTS: usize = 2;
/// How often the fetcher checks that fetched files are still there.
const RESCAN_INTERVAL: Duration = Duration::from_secs(3600);
/// The delay of a scan after a poll: a call that waits for the messages is served first.
const AFTER_POLL: Duration = Duration::from_millis(5);
/// How long a bot fetches nothing after the disk refused a file.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// How many characters of Telegram's error an agent sees.
const WORDS_MAX: usize = 160;

/// The entry of a file.
type JobKey = (SessionId, EntryName);

/// Fetches files for the configured sessions whose bots run.
#[derive(Debug)]
pub struct Fetcher {
    downloader: Downloader,
    sessions: Vec<SessionId>,
    bots: BTreeMap<BotId, Api>,
    /// Notified after each completed poll.
    polled: Arc<Notify>,
    /// Pauses are divided by this.
    divisor: u32,
    entries: BTreeMap<SessionId, BTreeMap<EntryName, EntryFile>>,
    slots: BTreeMap<BotId, BotSlots>,
    rescanned_at: Instant,
    /// Whether the disk refused the last file.
    disk_refused: bool,
}

/// The file of an entry. There may be tens of thousands of entries, most of which need nothing.
#[derive(Debug)]
enum EntryFile {
    /// The entry has no file.
    None,
    /// A result is recorded.
    Recorded,
    /// The file is to be fetched.
    Tracked(Box<TrackedFile>),
}

impl EntryFile {
    fn new(job: Option<FetchJob>) -> Self {
        let phase = FilePhase::Unknown;
        job.map_or(Self::None, |job| {
            Self::Tracked(Box::new(TrackedFile { job, phase }))
        })
    }

    fn tracked(&self) -> Option<&TrackedFile> {
        match self {
            Self::Tracked(file) => Some(file),
            Self::None | Self::Recorded => None,
        }
    }

    fn tracked_mut(&mut self) -> Option<&mut TrackedFile> {
        match self {
            Self::Tracked(file) => Some(file),
            Self::None | Self::Recorded => None,
        }
    }
}

#[derive(Debug)]
struct TrackedFile {
    job: FetchJob,
    phase: FilePhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilePhase {
    /// A result may be recorded already.
    Unknown,
    /// To be fetched, from this time on.
    Wanted { due: Option<Instant> },
    /// Being fetched.
    Fetching,
    /// A result is recorded.
    Recorded,
    /// Waiting for room.
    NoRoom,
}

#[derive(Debug, Default)]
struct BotSlots {
    used: usize,
    large: usize,
    paused_until: Option<Instant>,
}

impl Fetcher {
    /// A fetcher that has not scanned yet.
    pub fn new(
        state: &StateDir,
        config: &Config,
        bots: &[Arc<BotHandle>],
        clock: Clock,
        polled: Arc<Notify>,
    ) -> Self {
        Self {
            sessions: config.sessions.keys().cloned().collect(),
            bots: bots
                .iter()
                .map(|bot| (bot.api.id(), bot.api.clone()))
                .collect(),
            polled,
            divisor: match config.pace {
                Pace::Normal => 1,
                Pace::Off => 10,
            },
            entries: BTreeMap::new(),
            slots: BTreeMap::new(),
            rescanned_at: clock.instant(),
            disk_refused: false,
            downloader: Downloader {
                state: state.clone(),
                clock,
            },
        }
    }

    /// Fetches until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut running: JoinSet<(JobKey, FetchOutcome)> = JoinSet::new();
        loop {
            // At the start, many entries may be pending.
            tokio::task::block_in_place(|| self.scan());
            self.start(&mut running);
            let due = self.next_due();
            let clock = self.downloader.clock.clone();
            let pause = async {
                match due {
                    Some(due) => clock.sleep(due.duration_since(clock.instant())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // All arms are cancel-safe: a scan finds the files to fetch, a JoinSet keeps ended tasks, time
                // passes by itself. A half-fetched file goes with the set.
                () = stop.cancelled() => return,
                () = self.polled.notified() => self.downloader.clock.sleep(AFTER_POLL).await,
                Some(ended) = running.join_next() => match ended {
                    Ok((key, outcome)) => self.handle_outcome(&key, outcome),
                    Err(error) => {
                        // The gateway ends with this task, and starts again from the disk.
                        tracing::error!(%error, "a task of the fetcher panicked");
                        return;
                    }
                },
                () = pause => {}
            }
        }
    }

    fn scan(&mut self) {
        let now = self.downloader.clock.instant();
        let rescan = now.duration_since(self.rescanned_at) >= RESCAN_INTERVAL;
        if rescan {
            self.rescanned_at = now;
        }
        for session in self.sessions.clone() {
            if let Err(error) = self.scan_session(&session, rescan) {
                tracing::error!(%session, error = %Chain(&error), "cannot look for files to fetch");
            }
        }
    }

    fn scan_session(&mut self, session: &SessionId, rescan: bool) -> Result<(), StoreError> {
        let dir = self.downloader.state.session(session);
        let inbox = Inbox::new(&dir);
        let files = self.downloader.files(session);
        let mut pending = inbox.pending()?;
        // Agents may wait for files of settled entries.
        pending.extend(self.downloader.awaited(session)?);
        let entries = self.entries.entry(session.clone()).or_default();
        entries.retain(|name, file| {
            let file = file.tracked();
            file.is_some_and(|file| file.phase == FilePhase::Fetching) || pending.contains(name)
        });
        for name in pending {
            let read = || Ok(EntryFile::new(FetchJob::read(&inbox, session, name)?));
            let file = match entries.entry(name) {
                Entry::Occupied(file) => file.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(read()?),
            };
            if matches!(file, EntryFile::Recorded) && (rescan || !files.has_result(name.update_id))
            {
                *file = read()?;
            }
            let Some(TrackedFile { job, phase }) = file.tracked_mut() else {
                continue;
            };
            if *phase == FilePhase::Unknown {
                *phase = match self.downloader.recorded(job) {
                    Some(FetchOutcome::NoRoom) => FilePhase::NoRoom,
                    Some(_) => FilePhase::Recorded,
                    None => FilePhase::Wanted { due: None },
                };
            }
            if *phase == FilePhase::NoRoom && files.make_room(job.needed_bytes(), QUOTA)? {
                *phase = FilePhase::Wanted { due: None };
            }
            if *phase == FilePhase::Recorded {
                *file = EntryFile::Recorded;
            }
        }
        Ok(())
    }

    /// Starts the fetches that are due and have a free slot: the oldest of each session first, and the sessions in
    /// turn, so that a session with many files does not delay the others.
    fn start(&mut self, running: &mut JoinSet<(JobKey, FetchOutcome)>) {
        let now = self.downloader.clock.instant();
        let mut wanted = Vec::new();
        for entries in self.entries.values_mut() {
            let files = entries.values_mut().filter_map(EntryFile::tracked_mut);
            let (fetching, waiting): (Vec<_>, Vec<_>) = files
                .filter(|file| matches!(file.phase, FilePhase::Fetching | FilePhase::Wanted { .. }))
                .partition(|file| file.phase == FilePhase::Fetching);
            let turns = fetching.len()..;
            wanted.extend(turns.zip(waiting));
        }
        wanted.sort_by_key(|(turn, file)| (*turn, file.job.entry));
        for (_, TrackedFile { job, phase }) in wanted {
            let FilePhase::Wanted { due } = *phase else {
                continue;
            };
            let Some(api) = self.bots.get(&job.address.bot_id) else {
                continue;
            };
            let slots = self.slots.entry(api.id()).or_default();
            let is_early = due
                .into_iter()
                .chain(slots.paused_until)
                .any(|time| time > now);
            if is_early || slots.used >= SLOTS || (job.is_large() && slots.large > 0) {
                continue;
            }
            *phase = FilePhase::Fetching;
            slots.used += 1;
            slots.large += usize::from(job.is_large());
            let (downloader, api, job) = (self.downloader.clone(), api.clone(), job.clone());
            running.spawn(async move {
                let outcome = downloader.fetch(&api, &job).await;
                ((job.session, job.entry), outcome)
            });
        }
    }

    /// The next time at which a waiting file becomes due.
    fn next_due(&self) -> Option<Instant> {
        let now = self.downloader.clock.instant();
        let entries = self.entries.values().flat_map(BTreeMap::values);
        let waiting = entries.filter_map(EntryFile::tracked).filter_map(|file| {
            let FilePhase::Wanted { due } = file.phase else {
                return None;
            };
            let paused_until = self.slots.get(&file.job.address.bot_id)?.paused_until;
            due.into_iter().chain(paused_until).max()
        });
        waiting.filter(|due| *due > now).min()
    }

    fn handle_outcome(&mut self, (session, name): &JobKey, outcome: FetchOutcome) {
        let file = self.entries.get_mut(session);
        let file = file.and_then(|entries| entries.get_mut(name));
        let Some(TrackedFile { job, phase }) = file.and_then(EntryFile::tracked_mut) else {
            return;
        };
        let slots = self.slots.entry(job.address.bot_id).or_default();
        slots.used = slots.used.saturating_sub(1);
        slots.large = slots.large.saturating_sub(usize::from(job.is_large()));
        let now = self.downloader.clock.instant();
        let update_id = name.update_id.0;
        if matches!(outcome, FetchOutcome::Recorded | FetchOutcome::NoRoom)
            && std::mem::take(&mut self.disk_refused)
        {
            tracing::info!("files can be stored again; continuing");
        }
        *phase = match outcome {
            FetchOutcome::Recorded => FilePhase::Recorded,
            FetchOutcome::NoRoom => FilePhase::NoRoom,
            FetchOutcome::Disk(error) => {
                if !std::mem::replace(&mut self.disk_refused, true) {
                    tracing::error!(%session, update_id, error = %Chain(&error), "cannot store a file; retrying when the disk accepts writes again");
                }
                let pause = now + DISK_PAUSE / self.divisor;
                slots.paused_until = slots.paused_until.max(Some(pause));
                FilePhase::Wanted { due: None }
            }
            FetchOutcome::Failed(FetchDecision::PauseBot(asked), words) => {
                let pause = asked.unwrap_or(BOT_PAUSE / self.divisor);
                tracing::warn!(
                    bot_id = job.address.bot_id.0,
                    error = words,
                    seconds = pause.as_secs(),
                    "downloads of this bot's files are paused"
                );
                slots.paused_until = slots.paused_until.max(Some(now + pause));
                FilePhase::Wanted { due: None }
            }
            FetchOutcome::Failed(decision, words) => {
                job.failures = job.failures.and(&decision);
                let received = job.entry.received_at();
                if job
                    .failures
                    .are_enough(received, self.downloader.clock.now())
                {
                    tracing::warn!(%session, update_id, error = words, "a file cannot be fetched; telling the agent");
                    let reason = format!(
                        "Telegram does not provide it ({}); ask the person to send it again",
                        short(&words, WORDS_MAX)
                    );
                    match self.downloader.fail(job, reason) {
                        Ok(_) => FilePhase::Recorded,
                        Err(error) => {
                            tracing::error!(%session, error = %Chain(&error), "cannot record that a file was given up; retrying");
                            let due = Some(now + DISK_PAUSE);
                            FilePhase::Wanted { due }
                        }
                    }
                } else {
                    let pause = job.failures.pause(fastrand::f64()) / self.divisor;
                    tracing::debug!(%session, update_id, error = words, pause_s = pause.as_secs(), "a file could not be fetched; retrying");
                    let due = Some(now + pause);
                    FilePhase::Wanted { due }
                }
            }
        };
    }
}
