//! A bot that speaks HTTP by hand, so that broken answers can be seen as they are.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use telegram_sim::{Sim, TimedOut, Until, View};

pub(crate) const TOKEN: &str = "42:secret";
/// Long enough for a machine under load; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A private chat, and the user in it.
pub(crate) const ANNA: i64 = 7;
pub(crate) const GROUP: i64 = -1_001_234;
pub(crate) const FORUM: i64 = -1_001_999_888_777;

/// One HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        assert_eq!(json["ok"], true, "{json}");
        json["result"].clone()
    }

    /// "400 Bad Request: …"
    pub(crate) fn refusal(&self) -> String {
        let json = self.json();
        assert_eq!(json["ok"], false, "{json}");
        assert_eq!(
            json["error_code"], self.status,
            "the HTTP status is the error code"
        );
        format!("{} {}", self.status, json["description"].as_str().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn request(
    sim: &Sim,
    line: &str,
    content_type: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(sim.address())?;
    stream.set_read_timeout(Some(PATIENCE * 3))?;
    let length = body.len();
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap();
    let answer = Answer {
        status,
        head,
        body: bytes.split_off(end + 4),
    };
    let promised = answer
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    if answer.body.len() == promised {
        Ok(answer)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A server with one bot that knows Anna.
pub(crate) struct House {
    pub(crate) sim: Sim,
    pub(crate) bot: i64,
}

pub(crate) fn house() -> House {
    let sim = Sim::start().unwrap();
    sim.freeze_clock();
    let bot = sim.add_bot(TOKEN, "my_bot");
    sim.open_chat(bot, ANNA);
    House { sim, bot }
}

impl House {
    pub(crate) fn try_call(&self, method: &str, params: &Value) -> io::Result<Answer> {
        let line = format!("POST /bot{TOKEN}/{method}");
        request(
            &self.sim,
            &line,
            "application/json",
            params.to_string().as_bytes(),
        )
    }

    pub(crate) fn call(&self, method: &str, params: Value) -> Answer {
        let answer = self.try_call(method, &params).unwrap();
        drop(params);
        answer
    }

    pub(crate) fn send(&self, text: &str) -> Answer {
        self.call("sendMessage", json!({ "chat_id": ANNA, "text": text }))
    }

    /// The ids of the updates that one request gets.
    pub(crate) fn poll(&self, params: Value) -> Vec<i64> {
        ids(&self.call("getUpdates", params))
    }

    /// How long the latest call took, by the log of the server.
    pub(crate) fn took(&self) -> Duration {
        let call = self.sim.calls(self.bot).pop().unwrap();
        let took = call.answered_at_ms.unwrap() - call.at_ms;
        Duration::from_millis(took.unsigned_abs())
    }

    pub(crate) fn wait_for<R: Until>(&self, check: impl FnMut(&View<'_>) -> R) -> R::Found {
        let found: Result<_, TimedOut> = self.sim.wait_for(check, PATIENCE);
        found.unwrap()
    }
}

pub(crate) fn ids(answer: &Answer) -> Vec<i64> {
    answer
        .result()
        .as_array()
        .unwrap()
        .iter()
        .map(|update| update["update_id"].as_i64().unwrap())
        .collect()
}
