//! Fetches one file: asks for its path, reads it, and records the result.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::fetcher::decision::{FetchDecision, FetchFailures, FetchRequest, decide};
use crate::fetcher::too_big::{TooBigFile, explain_to_agent, notify_person};
use crate::ids::{Address, MessageId, SessionId};
use crate::state::StateDir;
use crate::state::files::state::{FetchResult, name_file};
use crate::state::files::{Files, PartialFile, QUOTA};
use crate::state::holds::{Conversation, Holds};
use crate::state::inbox::{EntryName, Inbox};
use crate::state::outbox::Outbox;
use crate::store::{ReadError, StoreError};
use crate::telegram::api::{Api, DownloadSource};
use crate::telegram::error::ApiError;
use crate::telegram::update::file::{FETCH_BYTES, IncomingFile};
use crate::telegram::update::{self, Body};
use crate::text::format_megabytes;

/// Of larger files only one is fetched at a time, so that a picture never waits for a film.
const LARGE_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct FetchJob {
    pub(super) session: SessionId,
    pub(super) entry: EntryName,
    pub(super) address: Address,
    message_id: MessageId,
    file: IncomingFile,
    pub(super) failures: FetchFailures,
}

impl FetchJob {
    /// The file of an entry, if it has one. A damaged entry has none: it is reported when it is shown.
    pub(super) fn read(
        inbox: &Inbox,
        session: &SessionId,
        name: EntryName,
    ) -> Result<Option<Self>, StoreError> {
        // An agent may wait for the file of an entry that is settled meanwhile.
        let entry = match inbox.peek(name)? {
            Some(entry) => Some(entry),
            None => inbox.peek_settled(name)?,
        };
        let Some(entry) = entry else {
            return Ok(None);
        };
        let Ok(update) = update::read(entry.update.get()) else {
            return Ok(None);
        };
        let Body::Message { message, .. } = update.body else {
            return Ok(None);
        };
        Ok(message.file().map(|file| Self {
            session: session.clone(),
            entry: name,
            address: entry.address,
            message_id: message.message_id,
            file,
            failures: FetchFailures::default(),
        }))
    }

    pub(super) fn is_large(&self) -> bool {
        self.file.size.is_none_or(|size| size > LARGE_BYTES)
    }

    /// The room that the file takes, or may take.
    pub(super) fn needed_bytes(&self) -> u64 {
        self.file.size.unwrap_or(FETCH_BYTES).min(FETCH_BYTES)
    }
}

#[derive(Debug)]
pub(super) enum FetchOutcome {
    /// A result is recorded.
    Recorded,
    /// There is no room for the file.
    NoRoom,
    /// The attempt failed, with these words.
    Failed(FetchDecision, String),
    /// The disk refused.
    Disk(StoreError),
}

#[derive(Clone, Debug)]
pub(super) struct Downloader {
    pub(super) state: StateDir,
    pub(super) clock: Clock,
}

impl Downloader {
    pub(super) fn files(&self, session: &SessionId) -> Files {
        Files::new(&self.state.session(session))
    }

    /// The entries that were shown or settled before their files had come. A damaged conversation is
    /// reported at the next call of its holder.
    pub(super) fn awaited(&self, session: &SessionId) -> Result<BTreeSet<EntryName>, StoreError> {
        let all = Holds::new(&self.state.session(session)).peek_all()?;
        Ok(all.iter().flat_map(Conversation::awaits_files).collect())
    }

    /// The recorded result of a job, if the file need not be fetched now.
    pub(super) fn recorded(&self, job: &FetchJob) -> Option<FetchOutcome> {
        let files = self.files(&job.session);
        match files.result(job.entry.update_id, &job.file.content, self.clock.now()) {
            Ok(Some(FetchResult::Ready { .. } | FetchResult::Failed { .. })) => {
                Some(FetchOutcome::Recorded)
            }
            Ok(Some(FetchResult::NoRoom { .. })) => Some(FetchOutcome::NoRoom),
            // A damaged result is in the quarantine, as the log says; the file is fetched again.
            Ok(None) | Err(ReadError::Quarantined { .. }) => None,
            // The file of a newer version is not overwritten.
            Err(error) => {
                tracing::error!(session = %job.session, error = %Chain(&error), "cannot read the state of a file");
                Some(FetchOutcome::Recorded)
            }
        }
    }

    pub(super) async fn fetch(&self, api: &Api, job: &FetchJob) -> FetchOutcome {
        self.try_fetch(api, job)
            .await
            .unwrap_or_else(FetchOutcome::Disk)
    }

    async fn try_fetch(&self, api: &Api, job: &FetchJob) -> Result<FetchOutcome, StoreError> {
        let Some(file_id) = &job.file.file_id else {
            return self.fail(job, "Telegram gave no path to download it from");
        };
        if let Some(outcome) = self.refuse_size(job, job.file.size)? {
            return Ok(outcome);
        }
        let place = match api.find_file(file_id).await {
            Ok(place) => place,
            Err(error) => return self.attempt_failed(job, &error, FetchRequest::GetFile),
        };
        if place.is_local() {
            return self.fail(
                job,
                "the Bot API server is a local one (--local), which serves no files over the network; telepost needs one that does",
            );
        }
        let size = place.file_size.or(job.file.size);
        if let Some(outcome) = self.refuse_size(job, size)? {
            return Ok(outcome);
        }
        self.download(api, &place, job, size).await
    }

    async fn download(
        &self,
        api: &Api,
        place: &DownloadSource,
        job: &FetchJob,
        size: Option<u64>,
    ) -> Result<FetchOutcome, StoreError> {
        let most = size.unwrap_or(FETCH_BYTES);
        let mut download = match api.download(place).await {
            Ok(download) => download,
            Err(error) => return self.attempt_failed(job, &error, FetchRequest::Download),
        };
        let files = self.files(&job.session);
        let mut partial = files.begin(name_file(&job.file))?;
        loop {
            match download.next().await {
                Ok(Some(piece)) => partial = write_piece(partial, piece).await?,
                Ok(None) => break,
                Err(error) => return self.attempt_failed(job, &error, FetchRequest::Download),
            }
            if partial.size() > most {
                break;
            }
        }
        let got = partial.size();
        if got > most || size.is_some_and(|size| size != got) {
            let words = format!("it had {got} bytes or more instead of {most}");
            return Ok(FetchOutcome::Failed(FetchDecision::Suspect, words));
        }
        let (id, now) = (job.entry.update_id, self.clock.now());
        tokio::task::block_in_place(|| files.finish(partial, id, &job.file.content, now))?;
        tracing::info!(session = %job.session, update_id = id.0, bytes = got, "file fetched");
        Ok(FetchOutcome::Recorded)
    }

    /// The outcome for a file that is too big, or too big for now.
    fn refuse_size(
        &self,
        job: &FetchJob,
        size: Option<u64>,
    ) -> Result<Option<FetchOutcome>, StoreError> {
        if size.is_some_and(|size| size > FETCH_BYTES) {
            return self.refuse_too_big(job, size).map(Some);
        }
        let files = self.files(&job.session);
        if files.make_room(size.unwrap_or(FETCH_BYTES), QUOTA)? {
            return Ok(None);
        }
        let reason = format!(
            "the files of this session fill their limit of {} and belong to waiting messages; this file is fetched when some of those are answered",
            format_megabytes(QUOTA)
        );
        self.record(job, FetchResult::NoRoom { reason })?;
        Ok(Some(FetchOutcome::NoRoom))
    }

    fn attempt_failed(
        &self,
        job: &FetchJob,
        error: &ApiError,
        request: FetchRequest,
    ) -> Result<FetchOutcome, StoreError> {
        match decide(error, request) {
            FetchDecision::TooBig => self.refuse_too_big(job, job.file.size),
            other
            @ (FetchDecision::PauseBot(_) | FetchDecision::Retry | FetchDecision::Suspect) => {
                Ok(FetchOutcome::Failed(other, error.to_string()))
            }
        }
    }

    /// Notifies the person, then records the result: after a kill in between, the key of the notice prevents
    /// a second one.
    fn refuse_too_big(
        &self,
        job: &FetchJob,
        size: Option<u64>,
    ) -> Result<FetchOutcome, StoreError> {
        let outbox = Outbox::new(&self.state, self.state.session(&job.session));
        let file = TooBigFile {
            session: &job.session,
            address: job.address,
            message_id: job.message_id,
            content: &job.file.content,
            size,
        };
        notify_person(&outbox, &file, self.clock.now())?;
        tracing::info!(session = %job.session, update_id = job.entry.update_id.0, size, "a file is too big to be fetched; telling the agent and the person");
        self.fail(job, explain_to_agent(size))
    }

    pub(super) fn fail(
        &self,
        job: &FetchJob,
        reason: impl Into<String>,
    ) -> Result<FetchOutcome, StoreError> {
        let reason = reason.into();
        self.record(job, FetchResult::Failed { reason })?;
        Ok(FetchOutcome::Recorded)
    }

    fn record(&self, job: &FetchJob, result: FetchResult) -> Result<(), StoreError> {
        let (id, now) = (job.entry.update_id, self.clock.now());
        let files = self.files(&job.session);
        files.give_up(id, &job.file.content, result, now)
    }
}

/// Writes a piece on a thread for blocking work. (With `block_in_place` another thread would take over the
/// worker for each piece, and each such thread keeps some memory.)
async fn write_piece(
    mut partial: PartialFile,
    piece: impl AsRef<[u8]> + Send + 'static,
) -> Result<PartialFile, StoreError> {
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
