//! An agent: `telepost mcp` over real pipes, spoken to in raw JSON lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use super::PATIENCE;

/// A running MCP server and the client's end of its pipes.
pub(crate) struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    waiting: Vec<Value>,
    next_id: i64,
    thread: Option<String>,
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Ok(Value),
    Refused(String),
}

impl Answer {
    /// The result; panics on a refusal.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        match self {
            Self::Ok(value) => value,
            Self::Refused(text) => panic!("refused: {text}"),
        }
    }

    /// The refusal; panics on a result.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        match self {
            Self::Ok(value) => panic!("not refused: {value}"),
            Self::Refused(text) => text,
        }
    }
}

impl Agent {
    /// Starts the command and shakes hands.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).expect("the MCP server ended during the handshake")
    }

    /// The same, for tests in which it may be killed at any moment.
    pub(crate) fn try_start(command: &mut Command) -> Option<Self> {
        let mut agent = Self::start_without_handshake(command);
        let id = agent.send_request(
            "initialize",
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}}),
        );
        let hello = agent.try_response(id)?;
        assert_eq!(hello["result"]["serverInfo"]["name"], "telepost", "{hello}");
        agent.notify("notifications/initialized", json!({}));
        Some(agent)
    }

    /// Starts the command only.
    pub(crate) fn start_without_handshake(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Anything that is not JSON on stdout would break the protocol.
                let value =
                    serde_json::from_str(&line).unwrap_or_else(|_| json!({"not json": line}));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            stdin,
            lines,
            waiting: Vec::new(),
            next_id: 1,
            thread: None,
        }
    }

    /// Speaks for this thread of the client from now on, so that two agents of one test are two holders.
    pub(crate) fn thread(mut self, thread: &str) -> Self {
        self.thread = Some(thread.to_owned());
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls a tool and waits for its answer.
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        let id = self.begin(tool, arguments);
        self.answer(id)
    }

    /// Calls a tool under the client's own id of the call, as Claude Code does.
    pub(crate) fn call_as(&mut self, call: &str, tool: &str, arguments: Value) -> Answer {
        let id = self.begin_with(tool, arguments, json!({"claudecode/toolUseId": call}));
        self.answer(id)
    }

    pub(crate) fn poll(&mut self, arguments: Value) -> Value {
        self.call("telegram_poll", arguments).ok()
    }

    pub(crate) fn reply(&mut self, arguments: Value) -> Value {
        self.call("telegram_reply", arguments).ok()
    }

    /// Waits until a message is shown, and returns the whole result.
    pub(crate) fn wait_for_message(&mut self) -> Value {
        let result = self.poll(json!({"wait_seconds": 15}));
        assert!(result["messages"].is_array(), "no message came: {result}");
        result
    }

    /// Sends a tool call without waiting for its answer; returns its id.
    pub(crate) fn begin(&mut self, tool: &str, arguments: Value) -> i64 {
        self.begin_with(tool, arguments, json!({}))
    }

    pub(crate) fn begin_with(&mut self, tool: &str, arguments: Value, mut meta: Value) -> i64 {
        if let Some(thread) = &self.thread {
            meta["threadId"] = json!(thread);
        }
        self.send_request(
            "tools/call",
            json!({"name": tool, "arguments": arguments, "_meta": meta}),
        )
    }

    /// Waits for the answer to a call.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: i64) -> Answer {
        self.try_answer(id)
            .expect("the MCP server ended before it answered")
    }

    /// The same, for tests in which it may be killed at any moment.
    #[track_caller]
    pub(crate) fn try_answer(&mut self, id: i64) -> Option<Answer> {
        let response = self.try_response(id)?;
        Some(Self::read(&response))
    }

    #[track_caller]
    fn read(response: &Value) -> Answer {
        let result = &response["result"];
        assert!(result.is_object(), "no result: {response}");
        let text = result["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if result["isError"] == json!(true) {
            return Answer::Refused(text);
        }
        let structured = result["structuredContent"].clone();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            structured,
            "text and structured content differ"
        );
        Answer::Ok(structured)
    }

    /// Cancels a call, as Esc does in a client.
    pub(crate) fn cancel(&mut self, id: i64) {
        self.notify(
            "notifications/cancelled",
            json!({"requestId": id, "reason": "the person pressed Esc"}),
        );
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send_request(method, params);
        self.response(id)
    }

    pub(crate) fn send_request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    pub(crate) fn send(&mut self, message: &Value) {
        // A server that was killed no longer reads; the test finds that out by its answer.
        drop(writeln!(self.stdin.as_mut().unwrap(), "{message}"));
    }

    /// Sends a line that is not a message at all.
    pub(crate) fn send_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends bytes that are not even a line.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    #[track_caller]
    fn response(&mut self, id: i64) -> Value {
        self.response_to(&json!(id))
    }

    #[track_caller]
    fn try_response(&mut self, id: i64) -> Option<Value> {
        self.try_response_to(&json!(id))
    }

    /// Waits for the answer to a request whose id may also be a text.
    #[track_caller]
    pub(crate) fn response_to(&mut self, id: &Value) -> Value {
        self.try_response_to(id)
            .expect("the MCP server ended before it answered")
    }

    #[track_caller]
    fn try_response_to(&mut self, id: &Value) -> Option<Value> {
        let mine = |value: &Value| value["id"] == *id;
        if let Some(index) = self.waiting.iter().position(mine) {
            return Some(self.waiting.remove(index));
        }
        let deadline = std::time::Instant::now() + PATIENCE + PATIENCE + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(value) if mine(&value) => return Some(value),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
                Ok(value) => {
                    assert_eq!(
                        value["jsonrpc"], "2.0",
                        "stdout carries MCP and nothing else: {value}"
                    );
                    self.waiting.push(value);
                }
                Err(error) => panic!(
                    "no answer to request {id}: {error}; other messages: {:?}",
                    self.waiting
                ),
            }
        }
    }

    /// Whether an answer to the call has come already.
    pub(crate) fn has_answered(&mut self, id: i64) -> bool {
        self.waiting.extend(self.lines.try_iter());
        self.waiting.iter().any(|value| value["id"] == json!(id))
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end by itself.
    pub(crate) fn end(mut self) {
        super::wait_for("the MCP server to end", || {
            self.child.try_wait().unwrap().ok_or("runs")
        });
    }

    /// Closes its stdin and waits for its end, as a client does that goes.
    pub(crate) fn close(mut self) -> std::process::ExitStatus {
        drop(self.stdin.take());
        super::wait_for("the MCP server to end", || {
            self.child.try_wait().unwrap().ok_or("runs")
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
