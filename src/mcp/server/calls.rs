//! The three tools, step by step: what is asked of the mailbox, what is waited for, and when a call is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::JsonObject;
use rmcp::service::RequestContext;

use super::out::Says;
use super::{Served, Shared};
use crate::mcp::attach::Copies;
use crate::mcp::call::{Accepted, Caller, Mailbox, ShownPage, poll_limits};
use crate::mcp::forms::read_parameters;
use crate::mcp::tools::{PollParams, ReactParams, Refusal, ReplyParams, Status, Tool, ToolResult};
use crate::store::watch::FolderWatch;

/// How long a reply waits for Telegram before it is told `accepted`.
const DELIVERY_WAIT: Duration = Duration::from_secs(10);
/// How far a reply is before it is accepted.
enum Ready {
    /// The same call has made it before.
    Made(Accepted),
    /// Its files are copied, if it has any.
    ToMake(Option<Copies>),
}

impl Shared {
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        tool: Tool,
        caller: Caller,
        arguments: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        match tool {
            Tool::Poll => {
                self.poll(caller, read_parameters(tool, arguments)?, context)
                    .await
            }
            Tool::Reply => {
                let mut params: ReplyParams = read_parameters(tool, arguments)?;
                let served = self.open_session().map_err(Refusal)?;
                for path in params.files.iter_mut().flatten() {
                    *path = served.roots.plain_path(path);
                }
                self.reply(caller, params, context).await
            }
            Tool::React => {
                let params: ReactParams = read_parameters(tool, arguments)?;
                let mut notices = self.failure_notices(&caller, context).await;
                notices.extend(self.file_notices(&caller, context).await);
                not_cancelled(context)?;
                let mut accepted = self
                    .step(caller.clone(), move |mailbox, caller| {
                        mailbox.react(caller, &params)
                    })
                    .await?;
                accepted.notices.splice(0..0, notices);
                self.delivered(accepted, DELIVERY_WAIT, &caller, context)
                    .await
            }
        }
    }

    async fn poll(
        self: &Arc<Self>,
        caller: Caller,
        params: PollParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        let (limit, wait, part) = poll_limits(&params)?;
        let deadline = self.clock.instant() + wait;
        let mut notices = self.gateway_notices().await;
        notices.extend(self.failure_notices(&caller, context).await);
        let files = self.file_notices(&caller, context).await;
        let news = !files.is_empty();
        notices.extend(files);
        let ids = params.ack.unwrap_or_default();
        let (acked, not_acked) = self
            .step(caller.clone(), move |mailbox, caller| {
                mailbox.acknowledge(caller, &ids)
            })
            .await?;
        let base = ToolResult {
            acked,
            not_acked,
            notices,
            ..ToolResult::default()
        };
        if let Some(id) = params.message {
            let show =
                move |mailbox: &Mailbox, caller: &Caller| mailbox.show_part(caller, base, id, part);
            return self
                .show(caller, context, show)
                .await
                .map(|page| page.result);
        }
        let watch = if wait.is_zero() {
            None
        } else {
            Some(self.watch()?)
        };
        loop {
            let last = self.clock.instant() >= deadline;
            let said = base.clone();
            let show =
                move |mailbox: &Mailbox, caller: &Caller| mailbox.show(caller, &said, limit, last);
            let mut page = self.show(caller.clone(), context, show).await?;
            let Some(watch) = watch
                .as_ref()
                .filter(|_| page.result.messages.is_empty() && !last && !news)
            else {
                return Ok(page.result);
            };
            // After the messages, which must not wait for that look.
            let files = self.file_notices(&caller, context).await;
            if !files.is_empty() {
                page.result.notices.extend(files);
                return Ok(page.result);
            }
            let left = deadline.saturating_duration_since(self.clock.instant());
            let look_again = page.ready_in.map_or(left, |ready| ready.min(left));
            tokio::select! {
                // All arms are cancel-safe: whatever happened is found by looking again.
                () = context.ct.cancelled() => return Err(cancelled()),
                () = self.closing.cancelled() => return Ok(page.result),
                () = watch.changed_or_rescan() => {}
                () = self.clock.sleep(look_again) => {}
            }
        }
    }

    async fn reply(
        self: &Arc<Self>,
        caller: Caller,
        params: ReplyParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        if params.options.is_some() {
            return Err(Refusal("`options` is not supported in this version. Nothing was sent and nothing was acknowledged; call again without it.".to_owned()));
        }
        let mut notices = self.gateway_notices().await;
        notices.extend(self.failure_notices(&caller, context).await);
        notices.extend(self.file_notices(&caller, context).await);
        if params.text.is_none() && params.files().is_empty() {
            let base = ToolResult {
                notices,
                ..ToolResult::default()
            };
            let to = params.to;
            let show = move |mailbox: &Mailbox, caller: &Caller| {
                mailbox.show_conversation(caller, base, to)
            };
            return self
                .show(caller, context, show)
                .await
                .map(|page| page.result);
        }
        let wait = if params.keep_open == Some(true) {
            Duration::ZERO
        } else {
            DELIVERY_WAIT
        };
        not_cancelled(context)?;
        let mut accepted = match self.copied(&caller, &params).await? {
            Ready::Made(accepted) => accepted,
            Ready::ToMake(copies) => {
                not_cancelled(context)?;
                self.step(caller.clone(), move |mailbox, caller| {
                    mailbox.reply(caller, &params, copies)
                })
                .await?
            }
        };
        accepted.notices.splice(0..0, notices);
        self.delivered(accepted, wait, &caller, context).await
    }

    /// Copies the files of a reply, if it has any and may be sent at all. Other calls go on meanwhile.
    async fn copied(
        self: &Arc<Self>,
        caller: &Caller,
        params: &ReplyParams,
    ) -> Result<Ready, Refusal> {
        if params.files().is_empty() && !params.is_too_long_for_chat() {
            return Ok(Ready::ToMake(None));
        }
        let asked = params.clone();
        let made = self
            .step(caller.clone(), move |mailbox, caller| {
                mailbox.may_reply(caller, &asked)
            })
            .await?;
        if let Some(accepted) = made {
            return Ok(Ready::Made(accepted));
        }
        let (asked, shared) = (params.clone(), Arc::clone(self));
        self.blocking(move |served| {
            served
                .mailbox
                .copies(&served.roots, &asked)
                .or_else(|refusal| {
                    // The person may have allowed more folders meanwhile.
                    let now =
                        (shared.open)().map_or_else(|_| served.roots.clone(), |now| now.roots);
                    if now == served.roots {
                        return Err(refusal);
                    }
                    served.mailbox.copies(&now, &asked)
                })
        })
        .await
        .map(|copies| Ready::ToMake(Some(copies)))
    }

    /// Waits a while for Telegram, but not where that is known to be in vain.
    async fn delivered(
        self: &Arc<Self>,
        accepted: Accepted,
        wait: Duration,
        caller: &Caller,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        let deadline = self.clock.instant() + wait;
        let watch = self.watch()?;
        let accepted = Arc::new(accepted);
        loop {
            let at = Arc::clone(&accepted);
            let (result, ended) = self
                .blocking(move |served| served.mailbox.report(&at))
                .await?;
            if ended && result.status == Some(Status::Failed) {
                // This result says so already.
                let failed = BTreeSet::from([accepted.id.clone()]);
                self.track_result(caller, context, Says::Failures(failed));
            }
            let waiting = !ended && result.held_until.is_none();
            let left = deadline.saturating_duration_since(self.clock.instant());
            if !waiting || left.is_zero() || self.closing.is_cancelled() || !self.gateway_runs() {
                if ended {
                    return Ok(result);
                }
                let explained =
                    move |served: &Served| Ok(served.mailbox.explain(&accepted, result));
                return self.blocking(explained).await;
            }
            tokio::select! {
                // All arms are cancel-safe: the delivery stands on disk, even if no call waits for it.
                () = self.closing.cancelled() => {}
                () = watch.changed_or_rescan() => {}
                () = self.clock.sleep(left) => {}
            }
        }
    }

    /// Shows a page, unless the client has given the call up meanwhile.
    async fn show<F>(
        self: &Arc<Self>,
        caller: Caller,
        context: &RequestContext<RoleServer>,
        show: F,
    ) -> Result<ShownPage, Refusal>
    where
        F: FnOnce(&Mailbox, &Caller) -> Result<ShownPage, Refusal> + Send + 'static,
    {
        let turn = self.turn.lock().await;
        if context.ct.is_cancelled() {
            return Err(cancelled());
        }
        let at = caller.clone();
        let page = self
            .blocking(move |served| show(&served.mailbox, &at))
            .await?;
        if let Some(presentation) = page.presentation {
            self.track_result(&caller, context, Says::Messages(presentation));
        }
        drop(turn);
        if context.ct.is_cancelled() {
            self.cancel_result(&context.id);
            self.follow_up().await;
            return Err(cancelled());
        }
        Ok(page)
    }

    fn watch(&self) -> Result<FolderWatch, Refusal> {
        let served = self.open_session().map_err(Refusal)?;
        served.mailbox.prepare()?;
        Ok(FolderWatch::new(&served.mailbox.watched(), &self.clock))
    }
}

/// A reply that a person cancelled before it was accepted is not sent.
fn not_cancelled(context: &RequestContext<RoleServer>) -> Result<(), Refusal> {
    if context.ct.is_cancelled() {
        return Err(cancelled());
    }
    Ok(())
}

fn cancelled() -> Refusal {
    Refusal("The call was cancelled before it showed anything.".to_owned())
}
