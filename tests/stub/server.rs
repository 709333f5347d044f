//! The client's side of MCP: one turn reads what waits and answers it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use crate::Event;

pub(crate) struct Server {
    _child: Child,
    stdin: ChildStdin,
    next_id: u64,
    awaits: Option<(u64, Awaits)>,
}

#[derive(Clone, Copy)]
enum Awaits {
    Messages,
    Answered,
}

/// The meaning of a server's answer for the turn.
pub(crate) enum Step {
    Goes,
    TurnEnds,
}

impl Server {
    pub(crate) fn start(
        words: &[String],
        events: &Sender<Event>,
        event: impl Fn(Value) -> Event + Send + 'static,
    ) -> Self {
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let events = events.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    drop(events.send(event(value)));
                }
            }
        });
        let mut server = Self {
            stdin: child.stdin.take().unwrap(),
            _child: child,
            next_id: 0,
            awaits: None,
        };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "claude-code", "title": "Claude Code", "version": "2.1.197"},
        });
        let _first = server.ask("initialize", &hello);
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    /// A turn begins: what waits?
    pub(crate) fn begin(&mut self) {
        let id = self.call("telegram_poll", &json!({}));
        self.awaits = Some((id, Awaits::Messages));
    }

    /// The server's answers.
    pub(crate) fn hear(&mut self, line: &Value) -> Step {
        let Some((_, awaits)) = self.awaits.filter(|(id, _)| line["id"] == json!(id)) else {
            return Step::Goes;
        };
        let result = &line["result"]["structuredContent"];
        match awaits {
            Awaits::Messages => {
                let messages = result["messages"].as_array();
                let texts = messages.into_iter().flatten();
                let texts: Vec<&str> = texts.filter_map(|one| one["text"].as_str()).collect();
                if texts.is_empty() {
                    self.awaits = None;
                    return Step::TurnEnds;
                }
                let text = format!("to {}", texts.join(", "));
                let id = self.call("telegram_reply", &json!({"text": text}));
                self.awaits = Some((id, Awaits::Answered));
                Step::Goes
            }
            Awaits::Answered => {
                self.awaits = None;
                Step::TurnEnds
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn send(&mut self, line: &Value) {
        // One that was killed no longer reads.
        drop(writeln!(self.stdin, "{line}"));
    }
}
