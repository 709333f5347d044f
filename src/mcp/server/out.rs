//! What results say, and when that is noted: a result that was given up has shown nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use rmcp::RoleServer;
use rmcp::model::RequestId;
use rmcp::service::RequestContext;

use super::wire::Note;
use super::{REMEMBERED, Shared};
use crate::error_chain::Chain;
use crate::ids::UpdateId;
use crate::mcp::call::{Caller, Mailbox, News, Showing};
use crate::mcp::tools::Refusal;
use crate::state::outbox::delivery::DeliveryId;

pub(super) struct Show {
    pub(super) call: RequestId,
    pub(super) caller: Caller,
    pub(super) what: What,
    pub(super) stage: Stage,
}

/// What a result says that is noted when it is out.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Messages.
    Showing(Showing),
    /// Failed deliveries.
    Failures(BTreeSet<DeliveryId>),
    /// Files of messages that are settled.
    Files(BTreeSet<UpdateId>),
}

impl What {
    /// Whether it stands in `notices`, which an error has not.
    pub(super) fn is_notice(&self) -> bool {
        match self {
            Self::Showing(_) => false,
            Self::Failures(_) | Self::Files(_) => true,
        }
    }
}

/// How far a result has come that showed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way to the client.
    Leaving,
    /// In the client's pipe but for its newline.
    Out,
    /// And that is noted.
    Noted,
    /// Given up by the client.
    Cancelled,
}

impl Shared {
    /// A result will say this.
    pub(super) fn goes_out(
        &self,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
        what: What,
    ) {
        let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
        shows.push_back(Show {
            call: context.id.clone(),
            caller: caller.clone(),
            what,
            stage: Stage::Leaving,
        });
        if shows.len() > REMEMBERED {
            shows.pop_front();
        }
    }

    /// What the agent is told of failed deliveries.
    pub(super) async fn failure_notices(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Vec<String> {
        self.notices(caller, context, Mailbox::failures, What::Failures)
            .await
    }

    /// What the agent is told of files that came after their message was settled.
    pub(super) async fn file_notices(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Vec<String> {
        self.notices(caller, context, Mailbox::news_of_files, What::Files)
            .await
    }

    /// What the mailbox has to tell besides. That this is not known is no reason to refuse a call.
    async fn notices<Id: Ord + Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
        news: fn(&Mailbox, &Caller) -> Result<News<Id>, Refusal>,
        what: fn(BTreeSet<Id>) -> What,
    ) -> Vec<String> {
        let at = caller.clone();
        match self
            .blocking(move |served| news(&served.mailbox, &at))
            .await
        {
            Ok(news) if news.is_empty() => Vec::new(),
            Ok(news) => {
                let (ids, words): (BTreeSet<_>, Vec<_>) = news.into_iter().unzip();
                self.goes_out(caller, context, what(ids));
                words
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for what the agent is to be told");
                Vec::new()
            }
        }
    }

    /// A result is in the client's pipe but for its newline: what it showed is noted as seen before
    /// that follows. The mark for messages is made at once: on the protocol's own thread, which costs
    /// less than the way to another, and nothing is synced.
    pub(super) fn going_out(self: &Arc<Self>, call: &RequestId) -> Option<Note> {
        let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut any = false;
        for show in shows
            .iter_mut()
            .filter(|show| show.call == *call && show.stage == Stage::Leaving)
        {
            match (&show.what, &self.served) {
                (What::Showing(showing), Ok(served)) => {
                    if let Err(error) = served.mailbox.went_out(&show.caller, showing) {
                        tracing::warn!(error = %Chain(&error), "cannot note what an agent has seen; it is shown again");
                    }
                    // Kept: a late cancellation takes back what was marked, too.
                    show.stage = Stage::Noted;
                }
                (What::Showing(_) | What::Failures(_) | What::Files(_), _) => {
                    show.stage = Stage::Out;
                    any = true;
                }
            }
        }
        if !any {
            return None;
        }
        let shared = Arc::clone(self);
        Some(Box::pin(async move { shared.note_out().await }))
    }

    /// Notes which results have gone out, and takes back what cancelled calls showed. Before every
    /// call, so that what the client has read, or given up, is known when it answers.
    pub(super) async fn note_out(self: &Arc<Self>) {
        let _turn = self.turn.lock().await;
        let due: Vec<(Caller, What, Stage)> = {
            let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
            let news = |show: &&Show| match show.stage {
                Stage::Out | Stage::Cancelled => true,
                Stage::Leaving | Stage::Noted => false,
            };
            let due = shows.iter().filter(news);
            let due = due
                .map(|show| (show.caller.clone(), show.what.clone(), show.stage))
                .collect();
            for show in shows.iter_mut().filter(|show| show.stage == Stage::Out) {
                show.stage = Stage::Noted;
            }
            shows.retain(|show| show.stage != Stage::Cancelled);
            due
        };
        for (caller, what, stage) in due {
            let note = move |mailbox: &Mailbox, caller: &Caller| match (stage, what) {
                (Stage::Out, What::Failures(ids)) => mailbox.note_told(caller, &ids),
                (Stage::Out, What::Files(ids)) => mailbox.note_files(caller, &ids),
                (Stage::Cancelled, What::Showing(showing)) => mailbox.unshow(caller, &showing),
                (Stage::Cancelled, What::Failures(_) | What::Files(_))
                | (Stage::Out, What::Showing(_))
                | (Stage::Leaving | Stage::Noted, _) => Ok(()),
            };
            if let Err(error) = self
                .blocking(move |served| note(&served.mailbox, &caller))
                .await
            {
                tracing::warn!(%error, ?stage, "cannot note what an agent has seen; it is shown again");
            }
        }
    }

    /// The client gave a call up, and will never see what it showed.
    pub(super) fn cancelled(&self, call: &RequestId) {
        let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
        for show in shows.iter_mut().filter(|show| show.call == *call) {
            show.stage = Stage::Cancelled;
        }
    }
}
