//! A client's session, as far as the gateway sees of it: an inbox socket, and the file in which Claude Code
//! says what it is doing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::{Agent, House, wait_for};

/// A client's session that can be woken: it has an inbox socket, and says what it is doing.
pub(crate) struct Client {
    socket: UnixListener,
}

impl Client {
    pub(crate) fn new(house: &mut House) -> Self {
        let path = house.path().join("in.sock");
        let socket = UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        house.env.extend([
            set("CLAUDE_CODE_MESSAGING_SOCKET", path.to_str().unwrap()),
            set("CLAUDE_CODE_MESSAGING_TOKEN", "a-secret-of-the-client"),
        ]);
        Self { socket }
    }

    /// Lines written since, a list for each connection.
    pub(crate) fn frames(&self) -> Vec<Vec<Value>> {
        let mut frames = Vec::new();
        while let Ok((stream, _)) = self.socket.accept() {
            stream.set_nonblocking(false).unwrap();
            let lines = BufReader::new(stream).lines();
            let read =
                |line: std::io::Result<String>| serde_json::from_str(&line.unwrap()).unwrap();
            frames.push(lines.map(read).collect());
        }
        frames
    }

    #[track_caller]
    pub(crate) fn is_left_alone(&self) {
        let frames = self.frames();
        assert!(frames.is_empty(), "{frames:?}");
    }

    #[track_caller]
    pub(crate) fn wait_for_a_wake(&self) -> Vec<Value> {
        wait_for("a wake", || {
            let mut frames = self.frames();
            assert!(frames.len() <= 1, "woken twice: {frames:?}");
            frames.pop().ok_or("none")
        })
    }
}

/// The client's file about itself, as Claude Code does: the test is the client's process.
pub(crate) fn says(house: &House, status: &str) {
    let far_future = 9_999_999_999_999_i64;
    says_since(house, status, far_future);
}

/// The same, since a moment in milliseconds.
pub(crate) fn says_since(house: &House, status: &str, since: i64) {
    let folder = house.path().join(".claude/sessions");
    fs::create_dir_all(&folder).unwrap();
    let text = json!({"status": status, "statusUpdatedAt": since}).to_string();
    let path = folder.join(format!("{}.json", std::process::id()));
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

impl House {
    /// Waits until an agent is known.
    #[track_caller]
    pub(crate) fn wait_until_registered(&self) {
        wait_for("a registration", || {
            let names = self.names("agents");
            if names.is_empty() { Err(names) } else { Ok(()) }
        });
    }

    /// An agent that the gateway knows before it has called.
    #[track_caller]
    pub(crate) fn agent_registered(&self) -> Agent {
        let agent = self.agent();
        self.wait_until_registered();
        agent
    }

    /// How the agents of session `ONE` can be woken, as `status` says it.
    pub(crate) fn waking(&self) -> Value {
        self.status()["sessions"][0]["waking"].clone()
    }

    /// Waits until its agent is seen doing that.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, state: &str) {
        wait_for(state, || {
            let seen = self.waking()["agents"][0]["state"].clone();
            if seen == state { Ok(()) } else { Err(seen) }
        });
    }
}
