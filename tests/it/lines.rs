//! Every line of a client is answered, whatever is in it: clients wait for ever for an answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Agent, House, OWNER, wait_for};

/// A call of `telegram_reply` with these arguments as they stand, in the order in which Claude Code writes it.
fn reply_line(id: &str, arguments: &str) -> String {
    format!(
        r#"{{"method":"tools/call","params":{{"name":"telegram_reply","arguments":{arguments}}},"jsonrpc":"2.0","id":{id}}}"#
    )
}

#[test]
fn half_an_emoji_is_sent_as_the_replacement_character() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    let mut agent = house.agent();
    for (id, text) in [
        (901, r"half an emoji \ud83d here"),
        (902, r"the other \uDE00 half"),
        (903, r"two \ud83d\ud83d\ude00"),
        (904, r"a whole \ud83d\ude00"),
        (905, r"a backslash \\ud83d"),
    ] {
        let arguments = format!(r#"{{"text":"{text}","to":"home"}}"#);
        agent.send_line(&reply_line(&id.to_string(), &arguments));
        let answer = agent.response_to(&json!(id));
        assert_eq!(
            answer["result"]["structuredContent"]["status"], "delivered",
            "{answer}"
        );
    }
    house.wait_to_hear(&[
        "half an emoji \u{fffd} here",
        "the other \u{fffd} half",
        "two \u{fffd}😀",
        "a whole 😀",
        "a backslash \\ud83d",
    ]);
}

/// Asserts that a line is answered under this id by an error that has these words, and changes nothing.
#[track_caller]
fn assert_refused(agent: &mut Agent, line: &[u8], id: &Value, words: &str) {
    agent.send_bytes(line);
    agent.send_bytes(b"\n");
    let answer = agent.response_to(id);
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(words) && message.contains("call again"),
        "{answer} for {}",
        String::from_utf8_lossy(line)
    );
}

#[test]
fn a_line_that_cannot_be_read_is_answered_under_its_id_with_the_reason() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let deep = format!(
        r#"{{"text":"x","to":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let mut lines: Vec<(Vec<u8>, Value, &str)> = vec![
        (
            reply_line("901", r#"{"text":"x","to":1e999}"#).into(),
            json!(901),
            "number out of range",
        ),
        (
            reply_line("\"a-1\"", &deep).into(),
            json!("a-1"),
            "nested deeper than 128",
        ),
        (
            reply_line("902", "{\"text\":\"a\u{1}b\"}").into(),
            json!(902),
            "control character",
        ),
        (
            br#"{"jsonrpc":"2.0","id":903,"method":"tools/call","params":{"name":"telegram_re"#
                .to_vec(),
            json!(903),
            "cut off",
        ),
        (
            reply_line("904", r#"{"text":"say "no" now"}"#).into(),
            json!(904),
            "not JSON",
        ),
        (
            reply_line("905", r#"{"text":"\x"}"#).into(),
            json!(905),
            "not JSON",
        ),
        (
            reply_line("906", r#""text""#).into(),
            json!(906),
            "`params`",
        ),
        (
            br#"{"jsonrpc":"2.0","id":907,"params":{}}"#.to_vec(),
            json!(907),
            "`method`",
        ),
        (
            br#"{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}"#.to_vec(),
            json!(1.5),
            "`id`",
        ),
        (
            br#"[{"jsonrpc":"2.0","id":908,"method":"tools/list"},{"jsonrpc":"2.0","id":909,"method":"ping"}]"#
                .to_vec(),
            json!(909),
            "a line of its own",
        ),
    ];
    let mut bytes = reply_line("910", r#"{"text":"?"}"#).into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'?').unwrap();
    bytes[at] = 0xFF;
    lines.push((bytes, json!(910), "not UTF-8"));
    for (line, id, words) in lines {
        assert_refused(&mut agent, &line, &id, words);
    }
    agent.response_to(&json!(908));
    assert_eq!(agent.poll(json!({}))["remaining"], 0);
    assert_eq!(house.names("outbox"), [""; 0]);
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn a_text_with_a_raw_line_end_is_answered_under_the_id_that_ends_it() {
    let house = House::new();
    let mut agent = house.agent();
    let line = reply_line("901", "{\"text\":\"line one\nline two\"}");
    assert_refused(&mut agent, line.as_bytes(), &json!(901), "not JSON");
}

#[test]
fn a_line_beyond_16_megabytes_is_answered_and_its_bytes_are_not_kept() {
    let house = House::new();
    let mut agent = house.agent();
    for (id, field) in [("901", ""), ("902", r#""jsonrpc":"2.0","id":902,"#)] {
        let text = "x".repeat(17 * 1024 * 1024);
        let line = match field {
            "" => reply_line(id, &format!(r#"{{"text":"{text}"}}"#)),
            head => format!(r#"{{{head}"method":"tools/call","params":{{"text":"{text}"}}}}"#),
        };
        let id = serde_json::from_str(id).unwrap();
        assert_refused(&mut agent, line.as_bytes(), &id, "16 MB");
    }
    assert_eq!(agent.request("ping", json!({}))["result"], json!({}));
}

#[test]
fn a_line_without_a_readable_id_is_logged_by_its_kind_and_without_its_content() {
    let house = House::new();
    let mut agent = house.agent();
    agent.send_line(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"text":"xyzzy"#);
    agent.send_line("xyzzy");
    agent.send_bytes(b"xyzzy\xff\n");
    agent.request("ping", json!({}));
    let log = fs::read_to_string(house.path().join("agents.log")).unwrap();
    for kind in ["cut off", "not JSON", "not UTF-8"] {
        assert!(log.contains(kind), "{kind}: {log}");
    }
    assert!(!log.contains("xyzzy"), "{log}");
}

#[test]
fn a_notification_before_the_handshake_does_not_end_the_server() {
    let house = House::new();
    let mut agent = Agent::start_without_handshake(&mut house.agent_command("ONE"));
    agent.notify("notifications/cancelled", json!({"requestId": 7}));
    agent.send(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    let hello = agent.request(
        "initialize",
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}}),
    );
    assert_eq!(hello["result"]["serverInfo"]["name"], "telepost", "{hello}");
}

/// Sends requests without reading an answer, until the server has taken nothing for a second or all of them.
fn flood(mut stdin: &std::process::ChildStdin, requests: i64) -> i64 {
    rustix::fs::fcntl_setfl(stdin, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut taken = Instant::now();
    for id in 1..=requests {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/list\"}}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match stdin.write(rest) {
                Ok(written) => {
                    rest = &rest[written..];
                    taken = Instant::now();
                }
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    std::thread::yield_now();
                }
            }
            if taken.elapsed() > Duration::from_secs(1) {
                return id;
            }
        }
    }
    requests
}

/// The resident memory of a process, in megabytes.
fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() / 1024
}

#[test]
fn a_client_that_reads_no_answers_costs_no_memory_and_its_end_is_noticed() {
    let house = House::new();
    let mut child = house
        .agent_command("ONE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    writeln!(stdin, r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-06-18","capabilities":{{}},"clientInfo":{{"name":"test-client","version":"1"}}}}}}"#).unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
    }
    let sent = flood(&stdin, 20_000);
    let memory = memory_of(child.id());
    assert!(sent < 20_000, "all requests were taken, with {memory} MB");
    assert!(memory < 64, "{memory} MB after {sent} requests");
    let began = Instant::now();
    drop(stdin);
    wait_for("the server to end", || {
        child.try_wait().unwrap().ok_or("runs")
    });
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    drop(stdout);
}

#[test]
fn a_client_that_reads_late_gets_every_answer() {
    let house = House::new();
    let mut agent = house.agent();
    let ids: Vec<i64> = (0..300)
        .map(|_| agent.send_request("tools/list", json!({})))
        .collect();
    for id in ids {
        assert!(agent.response_to(&json!(id))["result"].is_object());
    }
}
