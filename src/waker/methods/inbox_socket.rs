//! Claude Code's inbox socket (docs/facts/clients.md 4.1), to which the session's own MCP server writes.
//!
//! Claude Code holds back frames of unrelated processes behind a dialog. So the gateway leaves a request in
//! `wakes/`; the server writes one frame and answers. A request has a number and is carried out once, so it
//! may be repeated. The frame is not documented, so it is known to have worked only when the agent looks into
//! its mailbox. The token of the socket stays in the memory of the MCP server.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::config::Env;
use crate::state::SessionDir;
use crate::state::wake_log::{MethodId, Wake};
use crate::state::wake_requests::{self, WakeAnswer, WakeRequest};
use crate::store::StoreError;
use crate::waker::WAKE_TEXT;
use crate::waker::methods::{AttemptContext, AttemptResult, WakeMethod, WakeTarget};
use crate::waker::policy::Patience;

/// How long the MCP server may take to answer a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Wakes by a frame on Claude Code's inbox socket.
#[derive(Debug)]
pub(crate) struct InboxSocketMethod;

impl WakeMethod for InboxSocketMethod {
    fn id(&self) -> MethodId {
        MethodId::new("inbox_socket")
    }

    fn patience(&self) -> Patience {
        Patience::PROMPT
    }

    fn available(&self, target: &WakeTarget<'_>) -> bool {
        let socket = target
            .server
            .and_then(|server| server.file.reach.inbox_socket.as_ref());
        target.thread.is_none() && socket.is_some_and(|path| path.exists())
    }

    fn attempt(
        &self,
        target: &WakeTarget<'_>,
        context: &AttemptContext<'_>,
    ) -> Result<AttemptResult, StoreError> {
        let asked = request_wake(target, context.wake, context.wake.at)?;
        Ok(asked.unwrap_or_else(|| AttemptResult::Failed("its MCP server has ended".to_owned())))
    }

    fn follow_up(
        &self,
        target: &WakeTarget<'_>,
        wake: &Wake,
        now: Timestamp,
    ) -> Result<Option<AttemptResult>, StoreError> {
        request_wake(target, wake, now)
    }
}

/// The answer of the MCP server to a wake. Until there is one, the request is written again: a gateway that
/// was killed may not have got round to it.
fn request_wake(
    target: &WakeTarget<'_>,
    wake: &Wake,
    now: Timestamp,
) -> Result<Option<AttemptResult>, StoreError> {
    let Some(server) = target.server else {
        return Ok(None);
    };
    let answer = WakeAnswer::file(target.dir, &server.name).peek();
    if let Some(answer) = answer.filter(|answer| answer.number == wake.number) {
        let failed = answer.error.map(AttemptResult::Failed);
        return Ok(Some(failed.unwrap_or(AttemptResult::Given)));
    }
    let left = ANSWER_WITHIN.saturating_sub(now.since(wake.at));
    if left.is_zero() {
        let reason = "its MCP server did not answer".to_owned();
        return Ok(Some(AttemptResult::Failed(reason)));
    }
    let number = wake.number;
    WakeRequest::file(target.dir, &server.name).write(&WakeRequest { number })?;
    Ok(Some(AttemptResult::Pending(left)))
}

/// The inbox socket of the session that an MCP server belongs to.
pub struct InboxSocket {
    path: PathBuf,
    token: Option<String>,
}

/// Leaves out the token.
impl fmt::Debug for InboxSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InboxSocket").field(&self.path).finish()
    }
}

impl InboxSocket {
    /// The socket that the client names, if it does.
    pub(crate) fn of(env: &Env) -> Option<Self> {
        Some(Self {
            path: PathBuf::from(env.get("CLAUDE_CODE_MESSAGING_SOCKET")?),
            token: env.get("CLAUDE_CODE_MESSAGING_TOKEN").map(str::to_owned),
        })
    }

    pub(crate) fn write(&self, number: i64) -> io::Result<()> {
        check_owner(&self.path)?;
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

/// Claude Code silently drops a text that it was given before (measured with 2.1.329).
fn frame_text(number: i64) -> String {
    format!("{WAKE_TEXT} (wake {number})")
}

/// Refuses the socket of another user: the token must not go there.
fn check_owner(path: &Path) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::other("it is not a socket"));
    }
    if found.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(())
}

/// The side of the MCP server: carries out each request once.
#[derive(Debug)]
pub(crate) struct RequestListener {
    dir: SessionDir,
    registration: String,
    socket: InboxSocket,
    done: Option<i64>,
}

impl RequestListener {
    /// A listener that has carried out nothing yet.
    pub(crate) fn new(dir: SessionDir, registration: String, socket: InboxSocket) -> Self {
        Self {
            dir,
            registration,
            socket,
            done: None,
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        wake_requests::folder(&self.dir)
    }

    pub(crate) fn path(&self) -> PathBuf {
        WakeRequest::file(&self.dir, &self.registration)
            .path()
            .to_owned()
    }

    pub(crate) fn carry_out(&mut self) -> Result<(), StoreError> {
        let file = WakeRequest::file(&self.dir, &self.registration);
        let Some(request) = file.peek() else {
            return Ok(());
        };
        let number = request.number;
        if self.done != Some(number) {
            self.done = Some(number);
            let failed = self.socket.write(number).err();
            let error = failed
                .map(|error| format!("cannot write to {}: {error}", self.socket.path.display()));
            tracing::info!(number, error, "woke the agent by its inbox socket");
            let answer = WakeAnswer { number, error };
            WakeAnswer::file(&self.dir, &self.registration).write(&answer)?;
        }
        file.remove()
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::ids::SessionId;
    use crate::state::StateDir;
    use crate::store::{Durability, Step, atomic};

    fn listener() -> (tempfile::TempDir, SessionDir, RequestListener, PathBuf) {
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
        let listener = RequestListener::new(dir.clone(), "7-1".to_owned(), socket);
        (folder, dir, listener, path)
    }

    fn request(dir: &SessionDir, number: i64) {
        let file = WakeRequest::file(dir, "7-1");
        file.write(&WakeRequest { number }).unwrap();
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
        let (_folder, dir, mut listener, path) = listener();
        let socket = UnixListener::bind(&path).unwrap();
        request(&dir, 3);
        listener.carry_out().unwrap();
        assert_eq!(
            lines(&socket),
            [
                json!({"type": "auth", "token": "a-secret"}),
                json!({"type": "user", "message": {"role": "user", "content": frame_text(3)}}),
            ]
        );
        let answered = WakeAnswer::file(&dir, "7-1").peek().unwrap();
        assert_eq!((answered.number, answered.error), (3, None));
        socket.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            request(&dir, 3);
            listener.carry_out().unwrap();
            assert!(!listener.path().exists());
            assert!(socket.accept().is_err(), "written twice");
        }
        request(&dir, 4);
        listener.carry_out().unwrap();
        assert!(socket.accept().is_ok());
    }

    #[test]
    fn no_two_wakes_have_the_same_text() {
        assert_ne!(frame_text(15_000), frame_text(15_001));
    }

    #[test]
    fn a_socket_that_is_not_there_is_an_answer_too() {
        let (_folder, dir, mut listener, path) = listener();
        request(&dir, 1);
        listener.carry_out().unwrap();
        let error = WakeAnswer::file(&dir, "7-1").peek().unwrap().error.unwrap();
        assert!(
            error.starts_with(&format!("cannot write to {}: ", path.display())),
            "{error}"
        );
    }

    #[test]
    fn the_token_goes_into_nothing_that_is_no_socket_and_is_never_printed() {
        let (folder, _dir, listener, path) = listener();
        atomic::replace_file(&path, b"", Step::WakeRequest, Durability::Unsynced).unwrap();
        assert!(listener.socket.write(1).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let printed = format!("{listener:?}");
        assert!(!printed.contains("a-secret"), "{printed}");
        drop(folder);
    }
}
