//! Claude Code's inbox socket (clients.md 4.1): the session's own MCP server writes to it.
//!
//! What an unrelated process writes there is held back behind a dialog, so the gateway asks: it puts
//! `wakes/<registration>.request.json` beside the server's other files, the server writes one frame and
//! answers with `wakes/<registration>.answer.json`. A request has a number and is carried out once, so it
//! may be asked again. The frame is not documented: that it has worked is only known when the agent
//! looks into its mailbox. The socket's token stays in the memory of the MCP server.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::Env;
use crate::state::layout::SessionDir;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT};
use crate::waker::WAKE_TEXT;

/// How long writing may take.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// A request to wake one's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    format: u32,
    /// The number of the wake.
    pub number: i64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    format: u32,
    /// The number of the wake.
    pub number: i64,
    /// Why the frame could not be written, if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a request to the MCP server of this registration lies.
pub fn request_path(dir: &SessionDir, registration: &str) -> PathBuf {
    dir.wakes().join(format!("{registration}.request.json"))
}

/// Where its answer lies.
pub fn answer_path(dir: &SessionDir, registration: &str) -> PathBuf {
    dir.wakes().join(format!("{registration}.answer.json"))
}

/// Asks an MCP server to wake its agent.
pub fn ask(dir: &SessionDir, registration: &str, number: i64) -> Result<(), StoreError> {
    let request = Request {
        format: FORMAT,
        number,
    };
    let path = request_path(dir, registration);
    format::write(&path, &request, Step::WakeRequest, Durability::Unsynced)
}

/// The answer of an MCP server, if it has given one.
pub fn answer(dir: &SessionDir, registration: &str) -> Option<Answer> {
    format::peek(&answer_path(dir, registration))
}

/// The inbox socket of the session that an MCP server belongs to.
pub struct InboxSocket {
    path: PathBuf,
    token: Option<String>,
}

/// Without the token.
impl fmt::Debug for InboxSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InboxSocket").field(&self.path).finish()
    }
}

impl InboxSocket {
    /// The socket that the client names, if it does.
    pub fn of(env: &Env) -> Option<Self> {
        Some(Self {
            path: PathBuf::from(env.get("CLAUDE_CODE_MESSAGING_SOCKET")?),
            token: env.get("CLAUDE_CODE_MESSAGING_TOKEN").map(str::to_owned),
        })
    }

    /// Writes the frame that wakes the agent.
    pub fn write(&self, number: i64) -> io::Result<()> {
        is_mine(&self.path)?;
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_write_timeout(Some(WRITE_WITHIN))?;
        let auth = self.token.as_ref();
        let auth = auth.map(|token| format!("{}\n", json!({"type": "auth", "token": token})));
        let text = frame_text(number);
        let message = json!({"role": "user", "content": text});
        let frame = format!("{}\n", json!({"type": "user", "message": message}));
        let lines = auth.unwrap_or_default() + &frame;
        stream.write_all(lines.as_bytes())?;
        stream.flush()
    }
}

/// Claude Code drops a text that it was given before, in silence (measured with 2.1.329).
fn frame_text(number: i64) -> String {
    format!("{WAKE_TEXT} (wake {number})")
}

/// The token goes to nobody else's socket.
fn is_mine(path: &Path) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::other("it is no socket"));
    }
    if found.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::other("it belongs to somebody else"));
    }
    Ok(())
}

/// The MCP server's side: carries out requests, each once.
#[derive(Debug)]
pub struct Listener {
    dir: SessionDir,
    registration: String,
    socket: InboxSocket,
    done: Option<i64>,
}

impl Listener {
    /// Nothing is carried out yet.
    pub fn new(dir: SessionDir, registration: String, socket: InboxSocket) -> Self {
        Self {
            dir,
            registration,
            socket,
            done: None,
        }
    }

    /// The folder to watch.
    pub fn folder(&self) -> PathBuf {
        self.dir.wakes()
    }

    /// The file to watch for.
    pub fn path(&self) -> PathBuf {
        request_path(&self.dir, &self.registration)
    }

    /// Carries out what is asked.
    pub fn look(&mut self) -> Result<(), StoreError> {
        let path = self.path();
        let Some(request) = format::peek::<Request>(&path) else {
            return Ok(());
        };
        if self.done != Some(request.number) {
            self.done = Some(request.number);
            let written = self.socket.write(request.number);
            let error = written.err().map(|error| {
                format!(
                    "{} cannot be written to: {error}",
                    self.socket.path.display()
                )
            });
            tracing::info!(
                number = request.number,
                error,
                "woke the agent by its inbox socket"
            );
            let answer = Answer {
                format: FORMAT,
                number: request.number,
                error,
            };
            let path = answer_path(&self.dir, &self.registration);
            format::write(&path, &answer, Step::WakeRequest, Durability::Unsynced)?;
        }
        atomic::remove(&path, Step::WakeRequest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::ids::SessionId;
    use crate::state::layout::StateDir;

    fn house() -> (tempfile::TempDir, SessionDir, Listener, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let dir =
            StateDir::new(folder.path().join("state")).session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        let path = folder.path().join("in.sock");
        let env = Env::from_pairs([
            ("CLAUDE_CODE_MESSAGING_SOCKET", path.to_str().unwrap()),
            ("CLAUDE_CODE_MESSAGING_TOKEN", "a-secret"),
        ]);
        let socket = InboxSocket::of(&env).unwrap();
        let listener = Listener::new(dir.clone(), "7-1".to_owned(), socket);
        (folder, dir, listener, path)
    }

    fn lines(socket: &UnixListener) -> Vec<serde_json::Value> {
        let (stream, _) = socket.accept().unwrap();
        let lines = io::BufReader::new(stream).lines();
        lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn a_request_is_carried_out_once_however_often_it_is_asked() {
        let (_folder, dir, mut listener, path) = house();
        let socket = UnixListener::bind(&path).unwrap();
        ask(&dir, "7-1", 3).unwrap();
        listener.look().unwrap();
        assert_eq!(
            lines(&socket),
            [
                json!({"type": "auth", "token": "a-secret"}),
                json!({"type": "user", "message": {"role": "user", "content": frame_text(3)}}),
            ]
        );
        let answered = answer(&dir, "7-1").unwrap();
        assert_eq!((answered.number, answered.error), (3, None));
        socket.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            ask(&dir, "7-1", 3).unwrap();
            listener.look().unwrap();
            assert!(!listener.path().exists());
            assert!(socket.accept().is_err(), "written twice");
        }
        ask(&dir, "7-1", 4).unwrap();
        listener.look().unwrap();
        assert!(socket.accept().is_ok());
    }

    #[test]
    fn no_two_wakes_have_the_same_text() {
        assert_ne!(frame_text(15_000), frame_text(15_001));
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_answer_too() {
        let (_folder, dir, mut listener, path) = house();
        ask(&dir, "7-1", 1).unwrap();
        listener.look().unwrap();
        let error = answer(&dir, "7-1").unwrap().error.unwrap();
        assert!(
            error.starts_with(&format!("{} cannot be written to", path.display())),
            "{error}"
        );
    }

    #[test]
    fn the_token_goes_into_nothing_that_is_no_socket_and_is_never_printed() {
        let (folder, _dir, listener, path) = house();
        atomic::replace(&path, b"", Step::WakeRequest, Durability::Unsynced).unwrap();
        assert!(listener.socket.write(1).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let printed = format!("{listener:?}");
        assert!(!printed.contains("a-secret"), "{printed}");
        drop(folder);
    }
}
