//! A model server on loopback whose model is the test: each request for a turn waits until the test
//! answers it, so a test reads like a conversation and sees exactly what the model was shown.
//!
//! Other requests of clients (titles, quota, token counts) are answered at once.

mod anthropic;
mod responses;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::client::CLIENT_PATIENCE;

/// Which API the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The Messages API, which Claude Code speaks.
    Messages,
    /// The Responses API, which Codex speaks.
    Responses,
}

/// A tool as it was offered to the model.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// The name as a call must give it.
    pub(crate) name: String,
    /// Where the API groups tools: the group.
    pub(crate) namespace: Option<String>,
    pub(crate) description: String,
    pub(crate) schema: Value,
}

/// The model's answer.
enum Said<'a> {
    Text(&'a str),
    Call(Offered, Value),
}

/// The server; its thread ends with it.
pub(crate) struct Model {
    address: SocketAddr,
    asked: Receiver<Asked>,
    desk: Arc<Desk>,
    _stop: oneshot::Sender<()>,
}

/// The state that the server and the test share.
#[derive(Default)]
struct Desk {
    count: AtomicUsize,
    is_broken: AtomicBool,
    is_strict: AtomicBool,
    checks: Mutex<Vec<String>>,
}

/// A request that waits for the model's word. Dropped without an answer, it fails.
pub(crate) struct Asked {
    dialect: Dialect,
    /// The request as the client sent it.
    pub(crate) body: Value,
    answer: oneshot::Sender<Response<Full<Bytes>>>,
}

impl Model {
    pub(crate) fn start(dialect: Dialect) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (sender, asked) = channel();
        let desk = Arc::new(Desk::default());
        let served = Arc::clone(&desk);
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                // Both may be dropped at any point: the receiver is gone.
                tokio::select! {
                    () = serve(listener, dialect, sender, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            asked,
            desk,
            _stop: stop,
        }
    }

    /// Where the server is, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the next request for a turn.
    #[track_caller]
    pub(crate) fn asked(&self) -> Asked {
        self.asked
            .recv_timeout(CLIENT_PATIENCE)
            .expect("the client asked its model nothing more")
    }
}

impl Model {
    /// The next request for a turn, if it comes this soon.
    pub(crate) fn asked_within(&self, patience: Duration) -> Option<Asked> {
        self.asked.recv_timeout(patience).ok()
    }

    /// How many requests for a turn have come.
    pub(crate) fn count(&self) -> usize {
        self.desk.count.load(Ordering::SeqCst)
    }

    /// From now on the API refuses each request; also one that waits, once it is dropped. That ends a turn.
    pub(crate) fn break_down(&self) {
        self.desk.is_broken.store(true, Ordering::SeqCst);
    }

    /// The texts that the classifier of auto mode was sent so far, request by request.
    pub(crate) fn checks(&self) -> Vec<String> {
        self.desk.checks.lock().unwrap().clone()
    }

    /// From now on the classifier denies each call; until then it allows all.
    pub(crate) fn deny_calls(&self) {
        self.desk.is_strict.store(true, Ordering::SeqCst);
    }

    /// Whether no request waits for the model's word.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Asked {
    /// The tools that the model may call.
    pub(crate) fn tools(&self) -> Vec<Offered> {
        match self.dialect {
            Dialect::Messages => anthropic::tools(&self.body),
            Dialect::Responses => responses::tools(&self.body),
        }
    }

    /// The one offered tool whose name ends like this.
    #[track_caller]
    pub(crate) fn tool(&self, name: &str) -> Offered {
        let mut tools = self.tools();
        let names: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
        tools.retain(|tool| tool.name == name || tool.name.ends_with(&format!("__{name}")));
        assert_eq!(tools.len(), 1, "{name} is offered once among {names:?}");
        tools.remove(0)
    }

    /// The results of tools since the model's last answer, in full, as the model reads it.
    pub(crate) fn results(&self) -> Vec<String> {
        match self.dialect {
            Dialect::Messages => anthropic::results(&self.body),
            Dialect::Responses => responses::results(&self.body),
        }
    }

    /// The only result, as text.
    #[track_caller]
    pub(crate) fn result_text(&self) -> String {
        let mut results = self.results();
        assert_eq!(results.len(), 1, "one result: {results:?}");
        results.remove(0)
    }

    /// The only result, as the JSON that it must be.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let text = self.result_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Everything in the request, as text.
    pub(crate) fn everything(&self) -> String {
        strings(&self.body)
    }

    /// The model calls one tool.
    #[track_caller]
    pub(crate) fn call(self, tool: &str, arguments: Value) {
        let tool = self.tool(tool);
        self.answer(Said::Call(tool, arguments));
    }

    /// The model calls a tool of the client's own, which works without having been offered.
    pub(crate) fn call_own(self, tool: &str, arguments: Value) {
        let tool = Offered {
            name: tool.to_owned(),
            namespace: None,
            description: String::new(),
            schema: Value::Null,
        };
        self.answer(Said::Call(tool, arguments));
    }

    /// The model ends its turn.
    pub(crate) fn say(self, text: &str) {
        self.answer(Said::Text(text));
    }

    fn answer(self, said: Said<'_>) {
        let response = match self.dialect {
            Dialect::Messages => anthropic::answer(&self.body, &said),
            Dialect::Responses => responses::answer(&said),
        };
        // The client may have gone meanwhile; the test finds that out by what does not happen.
        drop(self.answer.send(response));
    }
}

async fn serve(listener: TcpListener, dialect: Dialect, asked: Sender<Asked>, desk: Arc<Desk>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let asked = asked.clone();
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            let service = service_fn(|request| handle(request, dialect, asked.clone(), &desk));
            // A client that hangs up in the middle is a normal end here.
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn handle(
    request: Request<Incoming>,
    dialect: Dialect,
    asked: Sender<Asked>,
    desk: &Desk,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_post = request.method() == Method::POST;
    let path = request.uri().path().to_owned();
    let bytes = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if dialect == Dialect::Messages
        && let Some(verdict) = anthropic::verdict(&body, desk.is_strict.load(Ordering::SeqCst))
    {
        desk.checks.lock().unwrap().push(strings(&body));
        return Ok(verdict);
    }
    let besides = match dialect {
        Dialect::Messages => anthropic::besides(is_post, &path, &body),
        Dialect::Responses => responses::besides(is_post, &path, &body),
    };
    if let Some(response) = besides {
        return Ok(response);
    }
    if desk.is_broken.load(Ordering::SeqCst) {
        return Ok(refusal());
    }
    desk.count.fetch_add(1, Ordering::SeqCst);
    let (answer, said) = oneshot::channel();
    let waiting = Asked {
        dialect,
        body,
        answer,
    };
    drop(asked.send(waiting));
    Ok(said.await.unwrap_or_else(|_| {
        if desk.is_broken.load(Ordering::SeqCst) {
            return refusal();
        }
        let text =
            r#"{"type":"error","error":{"type":"api_error","message":"the test has ended"}}"#;
        json_response(500, text.to_owned())
    }))
}

/// A status that no client retries for long.
fn refusal() -> Response<Full<Bytes>> {
    let text = r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#;
    json_response(400, text.to_owned())
}

fn json_response(status: u16, text: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(text)))
        .unwrap()
}

/// A whole stream of server-sent events.
fn events(events: &[Value]) -> Response<Full<Bytes>> {
    let line = |event: &Value| {
        let name = event["type"].as_str().unwrap();
        format!("event: {name}\ndata: {event}\n\n")
    };
    let text: String = events.iter().map(line).collect();
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Full::new(Bytes::from(text)))
        .unwrap()
}

/// An id that no other call has.
fn id(prefix: &str) -> String {
    format!("{prefix}_{:016x}", fastrand::u64(..))
}

/// All strings of a value, one per line.
fn strings(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone() + "\n",
        Value::Array(items) => items.iter().map(strings).collect(),
        Value::Object(object) => object.values().map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// The text of a content that may be a string or a list of blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
