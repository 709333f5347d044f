//! Fetching what came with messages, beside everything else.
//!
//! Looks after every poll which pending entries have a file that is neither there nor given up, and
//! fetches a few at a time; no message ever waits for it. What was settled before its file had come is
//! fetched too: the conversations name it. All that it knows is derived again
//! after a kill. A file is counted, hashed and written as it comes, so that memory stays as it is.

pub mod notice;
pub mod verdict;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Pace};
use crate::error_chain::Chain;
use crate::fetcher::notice::TooBig;
use crate::fetcher::verdict::{BOT_PAUSE, Failures, Stage, Verdict, verdict};
use crate::ids::{Address, BotId, MessageId, SessionId, UpdateId};
use crate::state::bots::BotHandle;
use crate::state::files::state::{self, Standing, megabytes};
use crate::state::files::{Files, Partial, QUOTA};
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::Inbox;
use crate::state::inbox::entry::EntryName;
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::store::StoreError;
use crate::store::state_file::ReadError;
use crate::telegram::api::{Api, DownloadSource};
use crate::telegram::error::ApiError;
use crate::telegram::update::content::short;
use crate::telegram::update::file::{FETCH_BYTES, IncomingFile};
use crate::telegram::update::{self, Body};

/// How many files of one bot are fetched at once.
const AT_ONCE: usize = 2;
/// Of larger files only one, so that a picture never waits for a film.
const LARGE: u64 = 1 << 20;
/// How often it is asked anew whether what was fetched is still there.
const LOOK_ANEW: Duration = Duration::from_secs(3600);
/// How long after a poll it is looked what is to be fetched.
const AFTER_POLL: Duration = Duration::from_millis(5);
/// How long nothing is fetched after a full disk.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// How much of Telegram's words an agent is told.
const WORDS: usize = 160;

/// A pending message with a file.
type Key = (SessionId, EntryName);

/// Fetches files for the sessions of the configuration, and the bots that run.
#[derive(Debug)]
pub struct Fetcher {
    hands: Hands,
    sessions: Vec<SessionId>,
    bots: BTreeMap<BotId, Api>,
    /// Told after every completed poll.
    polled: Arc<Notify>,
    /// Pauses are divided by it.
    divisor: u32,
    known: BTreeMap<SessionId, BTreeMap<EntryName, Known>>,
    lanes: BTreeMap<BotId, Lane>,
    looked_anew: Instant,
    /// Whether the disk refused the last file.
    refused: bool,
}

/// What is known of a pending entry. There may be tens of thousands, most of which need nothing.
#[derive(Debug)]
enum Known {
    /// It has no file.
    Nothing,
    /// Its file is there, or given up.
    There,
    /// Its file is to be fetched.
    File(Box<File>),
}

impl Known {
    fn of(job: Option<Job>) -> Self {
        let phase = Phase::Unknown;
        job.map_or(Self::Nothing, |job| {
            Self::File(Box::new(File { job, phase }))
        })
    }

    fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Nothing | Self::There => None,
        }
    }

    fn file_mut(&mut self) -> Option<&mut File> {
        match self {
            Self::File(file) => Some(file),
            Self::Nothing | Self::There => None,
        }
    }
}

/// The file of an entry, and how far it is.
#[derive(Debug)]
struct File {
    job: Job,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It may be there already.
    Unknown,
    /// It is to be fetched, once this time has come.
    Wanted {
        due: Option<Instant>,
    },
    AtWork,
    /// There, or given up.
    Done,
    /// Given up until there is room.
    NoRoom,
}

/// One file to fetch.
#[derive(Clone, Debug)]
struct Job {
    session: SessionId,
    entry: EntryName,
    address: Address,
    message_id: MessageId,
    file: IncomingFile,
    failures: Failures,
}

#[derive(Debug, Default)]
struct Lane {
    at_work: usize,
    large: usize,
    paused: Option<Instant>,
}

/// How the work on one file ended for now.
#[derive(Debug)]
enum Ended {
    /// It is there, or given up.
    Done,
    NoRoom,
    /// It failed like this, with these words.
    Failed(Verdict, String),
    /// The disk refused.
    Disk(StoreError),
}

/// What the tasks work with.
#[derive(Clone, Debug)]
struct Hands {
    state: StateDir,
    clock: Clock,
}

impl Job {
    fn is_large(&self) -> bool {
        self.file.size.is_none_or(|size| size > LARGE)
    }

    fn id(&self) -> UpdateId {
        self.entry.update_id
    }
}

impl Fetcher {
    /// A fetcher that has not looked yet.
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
            known: BTreeMap::new(),
            lanes: BTreeMap::new(),
            looked_anew: clock.instant(),
            refused: false,
            hands: Hands {
                state: state.clone(),
                clock,
            },
        }
    }

    /// Fetches until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut at_work: JoinSet<(Key, Ended)> = JoinSet::new();
        loop {
            // Many may be pending at the start.
            tokio::task::block_in_place(|| self.scan());
            self.start(&mut at_work);
            let due = self.next_due();
            let clock = self.hands.clock.clone();
            let pause = async {
                match due {
                    Some(due) => clock.sleep(due.duration_since(clock.instant())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // All arms are cancel-safe: what is to be fetched is found by looking, a JoinSet keeps
                // what has ended, time passes by itself. What is half fetched goes with the set.
                () = stop.cancelled() => return,
                // A call that waits for the messages is served first.
                () = self.polled.notified() => self.hands.clock.sleep(AFTER_POLL).await,
                Some(ended) = at_work.join_next() => match ended {
                    Ok((key, ended)) => self.ended(&key, ended),
                    Err(error) => {
                        // The gateway ends with it and begins anew from what is on disk.
                        tracing::error!(%error, "the fetcher met a bug");
                        return;
                    }
                },
                () = pause => {}
            }
        }
    }

    /// Finds out what is to be fetched.
    fn scan(&mut self) {
        let now = self.hands.clock.instant();
        let anew = now.duration_since(self.looked_anew) >= LOOK_ANEW;
        if anew {
            self.looked_anew = now;
        }
        for session in self.sessions.clone() {
            if let Err(error) = self.scan_session(&session, anew) {
                tracing::error!(%session, error = %Chain(&error), "cannot look for files to fetch");
            }
        }
    }

    fn scan_session(&mut self, session: &SessionId, anew: bool) -> Result<(), StoreError> {
        let dir = self.hands.state.session(session);
        let inbox = Inbox::new(&self.hands.state, dir);
        let files = self.hands.files(session);
        let mut pending = inbox.pending()?;
        // What is settled may still be wanted.
        pending.extend(self.hands.awaited(session)?);
        let known = self.known.entry(session.clone()).or_default();
        known.retain(|entry, known| {
            let at_work = known.file().is_some_and(|file| file.phase == Phase::AtWork);
            at_work || pending.contains(entry)
        });
        for entry in pending {
            let known = match known.entry(entry) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(Known::of(read(&inbox, session, entry)?)),
            };
            if matches!(known, Known::There) && (anew || !files.has_state(entry.update_id)) {
                *known = Known::of(read(&inbox, session, entry)?);
            }
            let Some(File { job, phase }) = known.file_mut() else {
                continue;
            };
            if *phase == Phase::Unknown {
                *phase = self.hands.look(&files, job);
            }
            if *phase == Phase::NoRoom && files.make_room(needed(&job.file), QUOTA)? {
                *phase = Phase::Wanted { due: None };
            }
            if *phase == Phase::Done {
                *known = Known::There;
            }
        }
        Ok(())
    }

    /// Starts what is due and has a free hand: of each session the oldest first, and of all sessions in
    /// turn, so that one that has been sent many files keeps nobody else waiting.
    fn start(&mut self, at_work: &mut JoinSet<(Key, Ended)>) {
        let now = self.hands.clock.instant();
        let mut wanted = Vec::new();
        for known in self.known.values_mut() {
            let files: Vec<&mut File> = known.values_mut().filter_map(Known::file_mut).collect();
            let busy = files.iter().filter(|file| file.phase == Phase::AtWork);
            let busy = busy.count();
            let waits = |file: &&mut File| matches!(file.phase, Phase::Wanted { .. });
            let waiting = files.into_iter().filter(waits).enumerate();
            wanted.extend(waiting.map(|(index, file)| (busy + index, file)));
        }
        wanted.sort_by_key(|(turn, file)| (*turn, file.job.entry));
        for (_, File { job, phase }) in wanted {
            let Phase::Wanted { due } = *phase else {
                continue;
            };
            let Some(api) = self.bots.get(&job.address.bot_id) else {
                continue;
            };
            let lane = self.lanes.entry(api.id()).or_default();
            let later = due.into_iter().chain(lane.paused).any(|time| time > now);
            if later || lane.at_work >= AT_ONCE || (job.is_large() && lane.large > 0) {
                continue;
            }
            *phase = Phase::AtWork;
            lane.at_work += 1;
            lane.large += usize::from(job.is_large());
            let (hands, api, job) = (self.hands.clone(), api.clone(), job.clone());
            at_work.spawn(async move {
                let ended = hands.fetch(&api, &job).await;
                let key = (job.session, job.entry);
                (key, ended.unwrap_or_else(Ended::Disk))
            });
        }
    }

    /// The next time at which something may be fetched that may not now.
    fn next_due(&self) -> Option<Instant> {
        let now = self.hands.clock.instant();
        let all = self.known.values().flat_map(BTreeMap::values);
        let files = all.filter_map(Known::file);
        let waiting = files.filter_map(|file| match file.phase {
            Phase::Wanted { due } => {
                let paused = self.lanes.get(&file.job.address.bot_id)?.paused;
                due.into_iter().chain(paused).max()
            }
            Phase::Unknown | Phase::AtWork | Phase::Done | Phase::NoRoom => None,
        });
        waiting.filter(|due| *due > now).min()
    }

    fn ended(&mut self, (session, entry): &Key, ended: Ended) {
        let known = self.known.get_mut(session);
        let known = known.and_then(|known| known.get_mut(entry));
        let Some(File { job, phase }) = known.and_then(Known::file_mut) else {
            return;
        };
        let lane = self.lanes.entry(job.address.bot_id).or_default();
        lane.at_work = lane.at_work.saturating_sub(1);
        lane.large = lane.large.saturating_sub(usize::from(job.is_large()));
        let now = self.hands.clock.instant();
        let (session, update_id) = (&job.session, job.id().0);
        *phase = match ended {
            Ended::Done | Ended::NoRoom => {
                if std::mem::take(&mut self.refused) {
                    tracing::info!("files can be stored again; going on");
                }
                if matches!(ended, Ended::Done) {
                    Phase::Done
                } else {
                    Phase::NoRoom
                }
            }
            Ended::Disk(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::error!(%session, update_id, error = %Chain(&error), "cannot store a file; it is fetched again when that is over");
                }
                let pause = now + DISK_PAUSE / self.divisor;
                lane.paused = lane.paused.max(Some(pause));
                Phase::Wanted { due: None }
            }
            Ended::Failed(Verdict::PauseBot(asked), words) => {
                let pause = asked.unwrap_or(BOT_PAUSE / self.divisor);
                tracing::warn!(
                    bot_id = job.address.bot_id.0,
                    error = words,
                    seconds = pause.as_secs(),
                    "no file of this bot is fetched for a while"
                );
                lane.paused = lane.paused.max(Some(now + pause));
                Phase::Wanted { due: None }
            }
            Ended::Failed(verdict, words) => {
                job.failures = job.failures.and(&verdict);
                let received = job.entry.received_at();
                if job.failures.are_enough(received, self.hands.clock.now()) {
                    tracing::warn!(%session, update_id, error = words, "a file cannot be fetched; the agent is told");
                    let reason = format!(
                        "Telegram does not give it ({}); ask the person to send it again",
                        short(&words, WORDS)
                    );
                    self.hands
                        .give_up_or_later(job, Standing::Failed { reason }, now)
                } else {
                    let pause = job.failures.pause(fastrand::f64()) / self.divisor;
                    tracing::debug!(%session, update_id, error = words, pause_s = pause.as_secs(), "a file could not be fetched; trying again");
                    Phase::Wanted {
                        due: Some(now + pause),
                    }
                }
            }
        };
    }
}

/// Writes a piece on a thread for that. (With `block_in_place` other threads would take the worker's
/// part for each piece, and each thread keeps some of the memory that it has had.)
async fn written(
    mut partial: Partial,
    piece: impl AsRef<[u8]> + Send + 'static,
) -> Result<Partial, StoreError> {
    let path = partial.path().to_owned();
    let work = move || partial.write(piece.as_ref()).map(|()| partial);
    match tokio::task::spawn_blocking(work).await {
        Ok(written) => written,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The gateway is about to end.
            Err(_) => Err(StoreError::new(
                "write",
                &path,
                ErrorKind::Interrupted.into(),
            )),
        },
    }
}

/// How much room a file takes, or may take.
fn needed(file: &IncomingFile) -> u64 {
    file.size.unwrap_or(FETCH_BYTES).min(FETCH_BYTES)
}

/// The file of an entry, if it has one. Whoever is shown a damaged entry says what is wrong with it.
fn read(inbox: &Inbox, session: &SessionId, entry: EntryName) -> Result<Option<Job>, StoreError> {
    let pending = inbox.peek(entry)?;
    // Settled meanwhile, it may still be wanted.
    let read = match pending {
        Some(read) => Some(read),
        None => inbox.peek_settled(entry)?,
    };
    let Some(read) = read else {
        return Ok(None);
    };
    let Ok(update) = update::read(read.update.get()) else {
        return Ok(None);
    };
    let Body::Message { message, .. } = update.body else {
        return Ok(None);
    };
    Ok(message.file().map(|file| Job {
        session: session.clone(),
        entry,
        address: read.address,
        message_id: message.message_id,
        file,
        failures: Failures::default(),
    }))
}

impl Hands {
    fn files(&self, session: &SessionId) -> Files {
        Files::new(&self.state, self.state.session(session))
    }

    /// The entries that an agent was shown, or has settled, before their files had come. Whoever is
    /// called says what is wrong with a conversation.
    fn awaited(&self, session: &SessionId) -> Result<BTreeSet<EntryName>, StoreError> {
        let all = Holds::new(&self.state.session(session)).peek_all()?;
        Ok(all.iter().flat_map(Conversation::awaits_files).collect())
    }

    /// How far a file is that nothing is known of.
    fn look(&self, files: &Files, job: &Job) -> Phase {
        match files.standing(job.id(), &job.file.content, self.clock.now()) {
            Ok(Some(Standing::Ready { .. } | Standing::Failed { .. })) => Phase::Done,
            Ok(Some(Standing::NoRoom { .. })) => Phase::NoRoom,
            // Damaged: its bytes are kept, as the log says, and it is fetched again.
            Ok(None) | Err(ReadError::Quarantined { .. }) => Phase::Wanted { due: None },
            // A newer one is not overwritten.
            Err(error) => {
                tracing::error!(session = %job.session, error = %Chain(&error), "cannot see how a file stands");
                Phase::Done
            }
        }
    }

    /// Fetches one file.
    async fn fetch(&self, api: &Api, job: &Job) -> Result<Ended, StoreError> {
        let files = self.files(&job.session);
        let Some(file_id) = &job.file.file_id else {
            let reason = "Telegram does not say how to fetch it".to_owned();
            return self.give_up(job, Standing::Failed { reason });
        };
        if let Some(ended) = self.not_at_all(job, job.file.size)? {
            return Ok(ended);
        }
        let place = match api.find_file(file_id).await {
            Ok(place) => place,
            Err(error) => return self.failed(job, &error, Stage::Asking),
        };
        if place.is_local() {
            let reason = "the Bot API server is a local one (--local), which gives files to nobody over the network; telepost needs one that does".to_owned();
            return self.give_up(job, Standing::Failed { reason });
        }
        let size = place.file_size.or(job.file.size);
        if let Some(ended) = self.not_at_all(job, size)? {
            return Ok(ended);
        }
        self.take(api, &place, job, size, &files).await
    }

    async fn take(
        &self,
        api: &Api,
        place: &DownloadSource,
        job: &Job,
        size: Option<u64>,
        files: &Files,
    ) -> Result<Ended, StoreError> {
        let most = size.unwrap_or(FETCH_BYTES);
        let mut download = match api.download(place).await {
            Ok(download) => download,
            Err(error) => return self.failed(job, &error, Stage::Fetching),
        };
        let mut partial = files.begin(state::name_of(&job.file))?;
        loop {
            match download.next().await {
                Ok(Some(piece)) => partial = written(partial, piece).await?,
                Ok(None) => break,
                Err(error) => return self.failed(job, &error, Stage::Fetching),
            }
            if partial.size() > most {
                break;
            }
        }
        let got = partial.size();
        if got > most || size.is_some_and(|size| size != got) {
            let words = format!("it came with {got} bytes or more, not with {most}");
            return Ok(Ended::Failed(Verdict::Suspect, words));
        }
        let now = self.clock.now();
        tokio::task::block_in_place(|| files.finish(partial, job.id(), &job.file.content, now))?;
        tracing::info!(session = %job.session, update_id = job.id().0, bytes = got, "file fetched");
        Ok(Ended::Done)
    }

    /// Whether a file of that size is not fetched, or not now.
    fn not_at_all(&self, job: &Job, size: Option<u64>) -> Result<Option<Ended>, StoreError> {
        if size.is_some_and(|size| size > FETCH_BYTES) {
            return self.too_big(job, size).map(Some);
        }
        let room = self
            .files(&job.session)
            .make_room(size.unwrap_or(FETCH_BYTES), QUOTA)?;
        if room {
            return Ok(None);
        }
        let reason = format!(
            "the files of this session take all of the {} that they may, and messages wait that have them; it is fetched when some of those are answered",
            megabytes(QUOTA)
        );
        self.give_up(job, Standing::NoRoom { reason }).map(Some)
    }

    fn failed(&self, job: &Job, error: &ApiError, stage: Stage) -> Result<Ended, StoreError> {
        match verdict(error, stage) {
            Verdict::TooBig => self.too_big(job, job.file.size),
            other @ (Verdict::PauseBot(_) | Verdict::Again | Verdict::Suspect) => {
                Ok(Ended::Failed(other, error.to_string()))
            }
        }
    }

    /// Tells the person first: who is killed in between finds that it was said.
    fn too_big(&self, job: &Job, size: Option<u64>) -> Result<Ended, StoreError> {
        let outbox = Outbox::new(&self.state, self.state.session(&job.session));
        let about = TooBig {
            session: &job.session,
            address: job.address,
            message_id: job.message_id,
            content: &job.file.content,
            size,
        };
        notice::give(&outbox, &about, self.clock.now())?;
        let reason = state::too_big(size);
        tracing::info!(session = %job.session, update_id = job.id().0, size, "a file is too big to be fetched; agent and person are told");
        self.give_up(job, Standing::Failed { reason })
    }

    fn give_up(&self, job: &Job, standing: Standing) -> Result<Ended, StoreError> {
        let no_room = matches!(standing, Standing::NoRoom { .. });
        let files = self.files(&job.session);
        let now = self.clock.now();
        files.give_up(job.id(), &job.file.content, standing, now)?;
        Ok(if no_room { Ended::NoRoom } else { Ended::Done })
    }

    /// The same outside of a task; a disk that refuses is asked again.
    fn give_up_or_later(&self, job: &Job, standing: Standing, now: Instant) -> Phase {
        match self.give_up(job, standing) {
            Ok(_) => Phase::Done,
            Err(error) => {
                tracing::error!(session = %job.session, error = %Chain(&error), "cannot note that a file is given up; trying again");
                Phase::Wanted {
                    due: Some(now + DISK_PAUSE),
                }
            }
        }
    }
}
