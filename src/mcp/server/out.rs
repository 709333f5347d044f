//! The results that are on their way to the client: a cancelled one has shown nothing, and one that
//! reached the client is noted.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use rmcp::RoleServer;
use rmcp::model::RequestId;
use rmcp::service::RequestContext;

use super::{REMEMBERED, Shared};
use crate::ids::UpdateId;
use crate::mcp::call::{Caller, Mailbox, Notices, PresentationId};
use crate::mcp::tools::Refusal;
use crate::state::outbox::delivery::DeliveryId;

/// A result, or a part of it, that is noted when the client has it.
pub(super) struct PendingResult {
    pub(super) call: RequestId,
    pub(super) caller: Caller,
    pub(super) says: Says,
    pub(super) stage: Stage,
}

/// A part of a result that is noted when the client has it.
#[derive(Clone, Debug)]
pub(super) enum Says {
    Messages(PresentationId),
    Failures(BTreeSet<DeliveryId>),
    /// Files of messages that are settled.
    Files(BTreeSet<UpdateId>),
}

impl Says {
    /// Whether it stands in `notices`. An error has none.
    pub(super) fn is_notice(&self) -> bool {
        match self {
            Self::Messages(_) => false,
            Self::Failures(_) | Self::Files(_) => true,
        }
    }
}

/// How far a result has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// On its way to the client.
    Leaving,
    /// In the client's pipe, to be noted on disk.
    Flushed,
    Noted,
    /// Cancelled by the client, to be taken back.
    Cancelled,
}

impl Shared {
    /// Tracks a part of a result.
    pub(super) fn track_result(
        &self,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
        says: Says,
    ) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        results.push_back(PendingResult {
            call: context.id.clone(),
            caller: caller.clone(),
            says,
            stage: Stage::Leaving,
        });
        if results.len() > REMEMBERED {
            results.pop_front();
        }
    }

    /// The notices about failed deliveries.
    pub(super) async fn failure_notices(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Vec<String> {
        let list = |mailbox: &Mailbox, caller: &Caller| mailbox.list_failures(caller);
        self.notices(caller, context, list, Says::Failures).await
    }

    /// The notices about files that came after their message was settled.
    pub(super) async fn file_notices(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Vec<String> {
        let list = |mailbox: &Mailbox, caller: &Caller| mailbox.list_late_files(caller);
        self.notices(caller, context, list, Says::Files).await
    }

    /// The notices of the mailbox. A failure to read them is no reason to refuse a call.
    async fn notices<Id: Ord + Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
        list: fn(&Mailbox, &Caller) -> Result<Notices<Id>, Refusal>,
        says: fn(BTreeSet<Id>) -> Says,
    ) -> Vec<String> {
        let at = caller.clone();
        match self
            .blocking(move |served| list(&served.mailbox, &at))
            .await
        {
            Ok(notices) if notices.is_empty() => Vec::new(),
            Ok(notices) => {
                let (ids, words): (BTreeSet<_>, Vec<_>) = notices.into_iter().unzip();
                self.track_result(caller, context, says(ids));
                words
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the notices for the agent");
                Vec::new()
            }
        }
    }

    /// A result is in the client's pipe: its agent can answer the messages from now on.
    pub(super) fn on_flushed(&self, call: &RequestId) {
        let Some(served) = self.served() else { return };
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let leaving = |one: &&mut PendingResult| one.call == *call && one.stage == Stage::Leaving;
        for result in results.iter_mut().filter(leaving) {
            match &result.says {
                Says::Messages(id) => {
                    served.mailbox.mark_delivered(*id);
                    // Kept, in case its cancellation comes late.
                    result.stage = Stage::Noted;
                }
                Says::Failures(_) | Says::Files(_) => {
                    result.stage = Stage::Flushed;
                    self.flushed.notify_one();
                }
            }
        }
    }

    /// Notes on disk which notices the client has. Killed before that, another process gives them once
    /// more.
    pub(super) async fn note_flushed(self: &Arc<Self>) {
        loop {
            self.flushed.notified().await;
            self.follow_up().await;
        }
    }

    /// Notes the notices that the client has, and takes cancelled results back. It runs before every
    /// call, so that a call finds done whatever the client did before it.
    pub(super) async fn follow_up(self: &Arc<Self>) {
        let _turn = self.turn.lock().await;
        let due: Vec<(Caller, Says, Stage)> = {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |one: &&PendingResult| match one.stage {
                Stage::Flushed | Stage::Cancelled => true,
                Stage::Leaving | Stage::Noted => false,
            };
            let due = results.iter().filter(is_due);
            let due = due
                .map(|one| (one.caller.clone(), one.says.clone(), one.stage))
                .collect();
            for result in results.iter_mut().filter(|one| one.stage == Stage::Flushed) {
                result.stage = Stage::Noted;
            }
            results.retain(|one| one.stage != Stage::Cancelled);
            due
        };
        for (caller, says, stage) in due {
            let note = move |mailbox: &Mailbox, caller: &Caller| match (stage, says) {
                (Stage::Flushed, Says::Failures(ids)) => mailbox.record_failures_told(caller, &ids),
                (Stage::Flushed, Says::Files(ids)) => mailbox.record_files_told(caller, &ids),
                (Stage::Cancelled, Says::Messages(id)) => mailbox.withdraw(caller, id),
                (Stage::Cancelled, Says::Failures(_) | Says::Files(_))
                | (Stage::Flushed, Says::Messages(_))
                | (Stage::Leaving | Stage::Noted, _) => Ok(()),
            };
            if let Err(error) = self
                .blocking(move |served| note(&served.mailbox, &caller))
                .await
            {
                tracing::warn!(%error, ?stage, "cannot follow up a result; its messages or notices are shown again");
            }
        }
    }

    /// The client has cancelled a call, and never sees its result.
    pub(super) fn cancel_result(&self, call: &RequestId) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        for result in results.iter_mut().filter(|one| one.call == *call) {
            result.stage = Stage::Cancelled;
        }
    }
}
