//! The stdio MCP server: the only module that knows rmcp.
//!
//! Starting it has no side effect: clients start it for a mere health check. The gateway is started
//! at the first tool call, or after [`LIVE`] of a living connection. stdout carries MCP and nothing
//! else. EOF on stdin, or a stop signal, ends it at once; every state is on disk.

mod calls;
mod lines;
mod out;
mod start;
mod transport;
mod wake;
mod wire;

use std::borrow::Cow;
use std::collections::VecDeque;
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
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::out::PendingResult;
use self::transport::LineTransport;
pub(crate) use self::wake::Waking;
use self::wire::TOOLS;
use super::tools::{INSTRUCTIONS, Refusal, Tool, ToolResult};
use crate::clock::Clock;
use crate::launch::GatewayKeeper;
use crate::mcp::attach::Roots;
use crate::mcp::call::{Caller, Mailbox};
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;
use crate::state::agents::{ClientName, check_thread_id};
use crate::store::crash_points::{Side, Step, mark_step};

/// A connection that lives longer is more than a health check.
const LIVE: Duration = Duration::from_secs(3);
/// How long results may go out after the client has closed our stdin.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How many results are remembered in case their calls are cancelled.
const REMEMBERED: usize = 64;

pub(crate) struct Served {
    pub(crate) mailbox: Mailbox,
    /// From where files may be sent.
    pub(crate) roots: Roots,
    /// Makes sure that a gateway runs.
    pub(crate) gateway: GatewayKeeper,
    /// How this agent can be woken.
    pub(crate) waking: Waking,
}

/// Reads the configuration and opens the session that it means.
pub(crate) type Open = Box<dyn Fn() -> Result<Served, String> + Send + Sync>;

/// The server. With a broken configuration it still starts. Then every tool returns the error, and every
/// call reads the configuration anew.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    open: Open,
    served: Mutex<Option<Arc<Served>>>,
    clock: Clock,
    client: ProcessId,
    /// Cancelled when no client is left to read an answer.
    closing: CancellationToken,
    /// Taken in the order in which calls and cancellations come, so that a call finds a cancelled result
    /// taken back.
    turn: tokio::sync::Mutex<()>,
    /// A call has been made, so that the agent is registered.
    called: Notify,
    /// The results that went out last, and those on their way.
    results: Mutex<VecDeque<PendingResult>>,
    /// A notice has reached the client.
    flushed: Notify,
}

impl Server {
    /// A server of the session that is opened now, or by the first call that can.
    pub(crate) fn new(open: Open, client: ProcessId, clock: Clock) -> Self {
        let shared = Shared {
            open,
            served: Mutex::default(),
            clock,
            client,
            closing: CancellationToken::new(),
            turn: tokio::sync::Mutex::default(),
            called: Notify::new(),
            results: Mutex::default(),
            flushed: Notify::new(),
        };
        if let Err(error) = shared.open_session() {
            tracing::error!("{error}");
        }
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Serves stdin and stdout until the client goes or `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let gone = async {
            shared.closing.cancelled().await;
            shared.clock.sleep(LAST_WORDS).await;
        };
        let out = Arc::clone(&self.shared);
        let (transport, writing) = LineTransport::new(
            rmcp::transport::io::stdio_pipes(),
            shared.closing.clone(),
            move |call| out.on_flushed(&call),
        );
        tokio::select! {
            // Cancel-safe: state is on disk at every moment.
            () = stop.cancelled() => shared.closing.cancel(),
            () = gone => {}
            served = self.serve_client(transport) => served?,
            () = writing => {}
        }
        Ok(())
    }

    async fn serve_client(self, transport: LineTransport) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        // A client that goes before the handshake was a health check, or a mistake of its own.
        let running = match self.serve(transport).await {
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
        tokio::select! {
            // Cancel-safe: state is on disk at every moment.
            ended = running.waiting() => drop(ended.map_err(io::Error::other)?),
            () = live => {}
            () = shared.listen() => {}
            () = shared.note_flushed() => {}
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

    /// Capped: with 2026-07-28 Claude Code opens a connection without `initialize` (docs/facts/clients.md 0.1).
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(TOOLS.to_vec()))
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
        mark_step(Step::Answer, Side::Before);
        Ok(answer(result).into())
    }

    /// The client will never see that call's result: what it showed was not shown.
    async fn on_cancelled(
        &self,
        notification: CancelledNotificationParam,
        _context: NotificationContext<RoleServer>,
    ) {
        if let Some(call) = notification.request_id {
            self.shared.cancel_result(&call);
            self.shared.follow_up().await;
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
        self.blocking(|_| Ok(())).await?;
        let caller = self.caller(context);
        let _under_way = self.call_begins();
        self.follow_up().await;
        let result = self.carry_out(tool, caller, arguments, context).await;
        if result.is_err() {
            // An error has no notices.
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            results.retain(|one| one.call != context.id || !one.says.is_notice());
        }
        result
    }

    /// The calling agent: the thread where the client names one, else the process that started this server.
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
            thread: thread.as_deref().and_then(check_thread_id),
            client,
            call: meta("claudecode/toolUseId").or_else(|| meta("callId")),
        }
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
        let done = tokio::task::spawn_blocking(move || {
            let served = shared.open_session().map_err(|error| {
                Refusal(format!(
                    "telepost cannot use its configuration. Tell the person, and call again when it is fixed.\n{error}"
                ))
            })?;
            work(&served)
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a tool call panicked");
            Err(Refusal("This call failed because of a bug in telepost. It acknowledged nothing; call telegram_poll to see which messages are waiting.".to_owned()))
        })
    }

    /// The session, opened now if its configuration could not be read before.
    fn open_session(&self) -> Result<Arc<Served>, String> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = &*served {
            return Ok(Arc::clone(served));
        }
        let opened = Arc::new((self.open)()?);
        *served = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The session, if it is open.
    fn served(&self) -> Option<Arc<Served>> {
        let served = self.served.lock();
        served.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The client's name of itself, safe to print.
fn client_name(info: &Implementation) -> ClientName {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(40).collect() };
    ClientName {
        name: plain(&info.name),
        version: plain(&info.version),
    }
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
