//! The stdio MCP server: the only module that knows rmcp.
//!
//! Starting it has no side effect: clients start it for a mere health check. The gateway is started
//! at the first tool call, or after [`LIVE`] of a living connection. stdout carries MCP and nothing
//! else. EOF on stdin, or a stop signal, ends it at once; every state is on disk.

mod out;
mod wake;
mod wire;

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelledNotificationParam,
    ContentBlock, Implementation, JsonObject, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::out::{Show, What};
pub use self::wake::Waking;
use self::wire::{AnswerWriter, EofReader, wire_tool};
use super::attach::Copies;
use super::holder::HolderId;
use super::mailbox::{Accepted, Caller, Mailbox, ShownPage, poll_limits};
use super::tools::{
    INSTRUCTIONS, PollParams, ReactParams, Refusal, ReplyParams, Status, Tool, ToolResult,
};
use crate::clock::Clock;
use crate::config::GatewayStart;
use crate::gateway::detach::{Launch, Started};
use crate::gateway::presence;
use crate::session::process::ProcessId;
use crate::session::registry::{ClientName, thread_id};
use crate::store::layout::StateDir;
use crate::store::steps::{Side, Step, reached};
use crate::store::watch::FolderWatch;

/// A connection that lives longer is more than a health check.
const LIVE: Duration = Duration::from_secs(3);
/// How long a reply waits for Telegram before it is told `accepted`.
const DELIVERY_WAIT: Duration = Duration::from_secs(10);
/// How long after a failed start of the gateway the next is tried.
const START_AGAIN: Duration = Duration::from_secs(30);
/// How many shown pages are remembered in case their calls are cancelled.
const REMEMBERED: usize = 64;

/// What the server works on.
pub struct Served {
    /// The session's mailbox.
    pub mailbox: Mailbox,
    /// The state folder.
    pub state: StateDir,
    /// How to start the gateway.
    pub launch: Launch,
    /// Who starts it.
    pub start: GatewayStart,
    /// How this agent can be woken.
    pub waking: Waking,
}

/// The server. With a broken configuration it still starts, and every tool returns the error.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    served: Result<Served, String>,
    clock: Clock,
    client: ProcessId,
    /// Cancelled when nobody is there any more to hear an answer.
    closing: CancellationToken,
    starts: Mutex<Starts>,
    /// Taken in the order in which calls, cancellations and results come and go, so that a call finds
    /// noted what earlier results showed, and taken back what a cancelled one did.
    turn: tokio::sync::Mutex<()>,
    /// A call has been made, so that the agent is registered.
    called: Notify,
    /// Which call showed what, newest last.
    shows: Mutex<VecDeque<Show>>,
}

#[derive(Default)]
struct Starts {
    last: Option<tokio::time::Instant>,
    notice: Option<String>,
}

/// How far a reply is before it is accepted.
enum Ready {
    /// The same call has made it before.
    Made(Accepted),
    /// Its files are copied, if it has any.
    ToMake(Option<Copies>),
}

impl Server {
    /// A server of a session, or of a configuration's error.
    pub fn new(served: Result<Served, String>, client: ProcessId, clock: Clock) -> Self {
        let shared = Shared {
            served,
            clock,
            client,
            closing: CancellationToken::new(),
            starts: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            called: Notify::new(),
            shows: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Serves stdin and stdout until the client goes or `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let (reader, writer) = rmcp::transport::io::stdio_pipes();
        let reader = EofReader {
            reader,
            closing: self.shared.closing.clone(),
        };
        let out = Arc::clone(&self.shared);
        let writer = AnswerWriter::new(writer, move |call| out.going_out(&call));
        let shared = Arc::clone(&self.shared);
        let served = tokio::select! {
            // Cancel-safe: before the handshake nothing has happened.
            () = stop.cancelled() => return Ok(()),
            served = self.serve((reader, writer)) => served,
        };
        // A client that goes before the handshake was a health check, or a mistake of its own.
        let running = match served {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(%error, "no handshake");
                return Ok(());
            }
        };
        let peer = running.peer().clone();
        let live = async {
            shared.clock.sleep(LIVE).await;
            let info = peer.peer_info();
            shared
                .register(info.map(|info| client_name(&info.client_info)))
                .await;
            shared.ensure_gateway().await;
            std::future::pending::<()>().await;
        };
        let woken = shared.listen();
        tokio::select! {
            // Cancel-safe: state is on disk at every moment.
            () = stop.cancelled() => shared.closing.cancel(),
            ended = running.waiting() => {
                if let Err(error) = ended {
                    return Err(io::Error::other(error));
                }
            }
            () = live => {}
            () = woken => {}
        }
        Ok(())
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("telepost", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    /// Capped: with 2026-07-28 Claude Code opens a connection without `initialize` (clients.md 0.1).
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(
            Tool::ALL.into_iter().map(wire_tool).collect(),
        ))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = Tool::ALL
            .into_iter()
            .find(|tool| tool.name() == request.name)
        else {
            return Err(ErrorData::invalid_params(
                format!("there is no tool {:?}", request.name),
                None,
            ));
        };
        let arguments = request.arguments.unwrap_or_default();
        let result = self.shared.call(tool, arguments, &context).await;
        reached(Step::Answer, Side::Before);
        Ok(answer(result).into())
    }

    /// The client will never see that call's result: what it showed was not shown.
    async fn on_cancelled(
        &self,
        notification: CancelledNotificationParam,
        _context: NotificationContext<RoleServer>,
    ) {
        if let Some(call) = notification.request_id {
            self.shared.cancelled(&call);
            self.shared.note_out().await;
        }
    }
}

impl Shared {
    async fn call(
        self: &Arc<Self>,
        tool: Tool,
        arguments: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        if let Err(error) = &self.served {
            return Err(Refusal(format!(
                "telepost cannot work with its configuration. Tell the person, then call again.\n{error}"
            )));
        }
        let caller = self.caller(context);
        let _under_way = self.call_begins();
        self.note_out().await;
        let result = self.carry_out(tool, caller, arguments, context).await;
        if result.is_err() {
            // An error has no notices.
            let mut shows = self.shows.lock().unwrap_or_else(PoisonError::into_inner);
            shows.retain(|show| show.call != context.id || !show.what.is_notice());
        }
        result
    }

    async fn carry_out(
        self: &Arc<Self>,
        tool: Tool,
        caller: Caller,
        arguments: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<ToolResult, Refusal> {
        match tool {
            Tool::Poll => {
                self.poll(caller, parameters(tool, arguments)?, context)
                    .await
            }
            Tool::Reply => {
                self.reply(caller, parameters(tool, arguments)?, context)
                    .await
            }
            Tool::React => {
                let params: ReactParams = parameters(tool, arguments)?;
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

    /// Who calls: the thread where the client names one, else the process that started this server.
    fn caller(&self, context: &RequestContext<RoleServer>) -> Caller {
        let meta = |name: &str| {
            context
                .meta
                .0
                .0
                .get(name)
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        };
        let thread = meta("threadId");
        let holder = match &thread {
            Some(thread) => HolderId::of_thread(thread),
            None => HolderId::of_process(&self.client),
        };
        let client = context.client_info().map(|info| client_name(&info));
        let name = client.as_ref().map_or("a client", |client| &client.name);
        Caller {
            holder,
            label: format!("{name}, pid {}", self.client.pid),
            thread: thread.as_deref().and_then(thread_id),
            client,
            call: meta("claudecode/toolUseId").or_else(|| meta("callId")),
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
                move |mailbox: &Mailbox, caller: &Caller| mailbox.show(caller, said, limit, last);
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
            return Err(Refusal("`options` is not possible yet in this version. Nothing was sent and nothing was acknowledged; call again without it.".to_owned()));
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
        if params.files().is_empty() {
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
        let asked = params.clone();
        self.blocking(move |served| served.mailbox.copies(&asked))
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
                .blocking(move |served| served.mailbox.standing(&at))
                .await?;
            if ended && result.status == Some(Status::Failed) {
                // This result says so already.
                let failed = BTreeSet::from([accepted.id.clone()]);
                self.goes_out(caller, context, What::Failures(failed));
            }
            let waiting = !ended && result.held_until.is_none();
            let left = deadline.saturating_duration_since(self.clock.instant());
            if !waiting || left.is_zero() || self.closing.is_cancelled() || !self.gateway_runs() {
                if ended {
                    return Ok(result);
                }
                let explained =
                    move |served: &Served| Ok(served.mailbox.explained(&accepted, result));
                return self.blocking(explained).await;
            }
            tokio::select! {
                // All arms are cancel-safe: the delivery stands on disk, whoever waits for it.
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
        if !page.showing.is_empty() {
            self.goes_out(&caller, context, What::Showing(page.showing.clone()));
        }
        drop(turn);
        if context.ct.is_cancelled() {
            self.cancelled(&context.id);
            self.note_out().await;
            return Err(cancelled());
        }
        Ok(page)
    }

    async fn step<T, F>(self: &Arc<Self>, caller: Caller, step: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Mailbox, &Caller) -> Result<T, Refusal> + Send + 'static,
    {
        let _turn = self.turn.lock().await;
        self.blocking(move |served| step(&served.mailbox, &caller))
            .await
    }

    /// Disk work beside the protocol's own thread.
    async fn blocking<T, F>(self: &Arc<Self>, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Served) -> Result<T, Refusal> + Send + 'static,
    {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || match &shared.served {
            Ok(served) => work(served),
            Err(error) => Err(Refusal(error.clone())),
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a tool call panicked");
            Err(Refusal("telepost met a bug in this call. Nothing was acknowledged by it; call telegram_poll to see how things are.".to_owned()))
        })
    }

    fn watch(&self) -> Result<FolderWatch, Refusal> {
        let served = self
            .served
            .as_ref()
            .map_err(|error| Refusal(error.clone()))?;
        served.mailbox.prepare()?;
        Ok(FolderWatch::new(&served.mailbox.watched(), &self.clock))
    }

    fn gateway_runs(&self) -> bool {
        self.served
            .as_ref()
            .is_ok_and(|served| presence::is_running(&served.state).unwrap_or(true))
    }

    /// Makes sure that a gateway runs, and says what the agent should know if none does.
    async fn gateway_notices(self: &Arc<Self>) -> Vec<String> {
        self.ensure_gateway().await;
        if self.gateway_runs() {
            let trouble = self.blocking(|served| Ok(served.mailbox.trouble()));
            return trouble.await.ok().flatten().into_iter().collect();
        }
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        vec![starts.notice.clone().unwrap_or_else(|| {
            "No gateway runs, so nothing arrives and nothing leaves. What you send is stored and goes out when the person runs `telepost gateway`.".to_owned()
        })]
    }

    async fn ensure_gateway(self: &Arc<Self>) {
        let Ok(served) = &self.served else { return };
        if served.start == GatewayStart::Manual || self.gateway_runs() {
            return;
        }
        {
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.instant();
            if starts
                .last
                .is_some_and(|last| now.duration_since(last) < START_AGAIN)
            {
                return;
            }
            starts.last = Some(now);
            starts.notice = None;
        }
        let started = self
            .blocking(|served| {
                served
                    .launch
                    .start()
                    .map_err(|error| Refusal(format!("it could not be started: {error}")))
            })
            .await;
        let notice = match started {
            Ok(Started::Ready) => None,
            Ok(Started::Silent) => Some("The gateway was started and is not ready yet; messages arrive and leave as soon as it is.".to_owned()),
            Ok(Started::Ended { words, .. }) | Err(Refusal(words)) => Some(words),
        };
        if let Some(words) = notice {
            tracing::warn!(words, "the gateway did not start");
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            starts.notice = Some(format!(
                "No gateway runs, so nothing arrives and nothing leaves (what you send is stored). {words}"
            ));
        }
    }
}

/// What a client calls itself, harmless wherever it is printed.
fn client_name(info: &Implementation) -> ClientName {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(40).collect() };
    ClientName {
        name: plain(&info.name),
        version: plain(&info.version),
    }
}

/// What a person gave up before it was accepted is not sent.
fn not_cancelled(context: &RequestContext<RoleServer>) -> Result<(), Refusal> {
    if context.ct.is_cancelled() {
        return Err(cancelled());
    }
    Ok(())
}

fn cancelled() -> Refusal {
    Refusal("The call was cancelled; nothing was shown by it.".to_owned())
}

fn answer(result: Result<ToolResult, Refusal>) -> CallToolResult {
    match result {
        Ok(result) => {
            let text = serde_json::to_string(&result).unwrap_or_default();
            let mut answer = CallToolResult::success(vec![ContentBlock::text(text)]);
            answer.structured_content = serde_json::to_value(&result).ok();
            answer
        }
        Err(refusal) => CallToolResult::error(vec![ContentBlock::text(refusal.0)]),
    }
}

fn parameters<T: DeserializeOwned>(tool: Tool, arguments: JsonObject) -> Result<T, Refusal> {
    serde_json::from_value(serde_json::Value::Object(arguments)).map_err(|error| {
        Refusal(format!("{} cannot be called like that: {error}. Nothing was changed; call again with the parameters of its schema.", tool.name()))
    })
}
