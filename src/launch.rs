//! Starts a gateway of its own and makes sure that one runs.
//!
//! The gateway is detached by a double fork: its own session, the folder `/`, no inherited descriptors, so that
//! no exit or kill of a client reaches it. The two forks are two starts of this program: the first
//! ([`LaunchStage::Leave`]) leaves the session of its starter, the second ([`LaunchStage::Run`]) is the
//! gateway. Its stdout is a pipe to the starter until it prints [`READY`] or an error; then stdout and stderr
//! go to the log.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::GatewayStart;
use crate::state::gateway_status;
use crate::state::layout::StateDir;
use crate::state::logs;
use crate::store::StoreError;

/// Printed by a started gateway once it holds its locks.
pub const READY: &str = "ready";
/// Begins the last line of a gateway that could not start.
const EXIT: &str = "exit code ";
/// How long a starter waits for it.
pub const READY_WITHIN: Duration = Duration::from_secs(2);
/// The longest output of a gateway that is not ready.
const OUTPUT_MAX: usize = 64 * 1024;
/// How long after a start the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// One of the two starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LaunchStage {
    /// Leaves the starter's session and starts the gateway.
    Leave,
    /// Is the gateway.
    Run,
}

/// The gateway to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// The configuration, absolute.
    pub config: PathBuf,
    /// The state folder, absolute.
    pub state: PathBuf,
    /// Whether to take over from a running gateway.
    pub replace: bool,
}

/// The result of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Ready,
    /// It ended.
    Failed {
        /// Its error.
        message: String,
        /// Its exit code, if it could report that.
        code: Option<u8>,
    },
    /// It has not reported anything yet.
    Silent,
}

impl Launch {
    /// Starts a gateway and waits until it is ready, has ended, or [`READY_WITHIN`] is over.
    pub fn start(&self) -> io::Result<Started> {
        let mut command = self.command("--stage=leave");
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let (sender, receiver) = mpsc::channel();
        // A pipe cannot be read with a time limit, so a thread reads it. It ends with the pipe.
        std::thread::spawn(move || {
            let output = output.map(read_until_ready).unwrap_or_default();
            drop(sender.send(output));
        });
        let started = match receiver.recv_timeout(READY_WITHIN) {
            Ok(output) if output.trim() == READY => Started::Ready,
            Ok(output) => parse_failure(&output),
            Err(_) => Started::Silent,
        };
        // The first stage ends at once and must not stay behind as a zombie.
        std::thread::spawn(move || drop(child.wait()));
        Ok(started)
    }

    /// The first stage: leaves the session, then starts the gateway, which becomes an orphan.
    pub fn leave(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        // The gateway must not inherit descriptors that the client left open for its children.
        close_fds::set_fds_cloexec(3, &[]);
        let mut command = self.command("--stage=run");
        command.stdout(Stdio::inherit()).spawn().map(drop)
    }

    fn command(&self, stage: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["gateway", stage, "--config"])
            .arg(&self.config)
            .env("TELEPOST_STATE_DIR", &self.state)
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if self.replace {
            command.arg("--replace");
        }
        command
    }
}

/// Reads up to the line that reports readiness, or to the end.
fn read_until_ready(mut output: impl io::Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while let Ok(1) = output.read(&mut byte) {
        text.extend(byte);
        if text == format!("{READY}\n").as_bytes() || text.len() > OUTPUT_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn parse_failure(output: &str) -> Started {
    let parts = output.trim_end().rsplit_once(EXIT);
    let (message, code) = parts.map_or((output, None), |(message, code)| {
        (message, code.parse().ok())
    });
    Started::Failed {
        message: message.trim().to_owned(),
        code,
    }
}

/// Reports to the starter why the gateway did not start.
pub fn report_failure(message: &str, code: u8) {
    drop(writeln!(io::stdout(), "{message}\n{EXIT}{code}"));
}

/// Reports to the starter that the gateway runs, and sends stdout and stderr to the log from now on.
pub fn report_ready(state: &StateDir) -> Result<(), StoreError> {
    // A starter that is gone is no reason not to run.
    drop(writeln!(io::stdout(), "{READY}"));
    let log = logs::open_output(state)?;
    let moved = rustix::stdio::dup2_stdout(&log).and_then(|()| rustix::stdio::dup2_stderr(&log));
    moved.map_err(|error| StoreError::new("write to", &logs::folder(state), error.into()))
}

/// Makes sure that a gateway runs, for an MCP server.
#[derive(Debug)]
pub struct GatewayKeeper {
    launch: Launch,
    state: StateDir,
    start: GatewayStart,
    clock: Clock,
    last: Mutex<LastStart>,
}

#[derive(Debug, Default)]
struct LastStart {
    at: Option<tokio::time::Instant>,
    /// Why no gateway runs since then.
    failure: Option<String>,
}

impl GatewayKeeper {
    /// Starts nothing yet.
    pub fn new(launch: Launch, state: StateDir, start: GatewayStart, clock: Clock) -> Self {
        Self {
            launch,
            state,
            start,
            clock,
            last: Mutex::default(),
        }
    }

    /// Whether a gateway runs.
    pub fn is_running(&self) -> bool {
        gateway_status::is_running(&self.state).unwrap_or(true)
    }

    /// Starts a gateway if none runs, it may be started, and the last start was long enough ago. Blocks until it
    /// is ready or has failed.
    pub fn ensure_running(&self) {
        if self.start == GatewayStart::Manual || self.is_running() {
            return;
        }
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.instant();
            if last
                .at
                .is_some_and(|at| now.duration_since(at) < RETRY_AFTER)
            {
                return;
            }
            *last = LastStart {
                at: Some(now),
                failure: None,
            };
        }
        let failure = match self.launch.start() {
            Ok(Started::Ready) => return,
            Ok(Started::Silent) => "The gateway was started but is not ready yet; messages are received and sent as soon as it is.".to_owned(),
            Ok(Started::Failed { message, .. }) => message,
            Err(error) => format!("It could not be started: {error}"),
        };
        tracing::warn!(failure, "the gateway did not start");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.failure = Some(failure);
    }

    /// Tells an agent that no gateway runs, and why.
    pub fn absence_notice(&self) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &last.failure {
            Some(failure) => format!(
                "No gateway is running, so no messages are received or sent (what you send is stored). {failure}"
            ),
            None => "No gateway is running, so no messages are received or sent. What you send is stored and will be sent when the person runs `telepost gateway`.".to_owned(),
        }
    }
}
