//! A gateway of its own: double fork, own session, folder `/`, no inherited descriptors, so that no
//! client's exit or kill reaches it.
//!
//! The two forks are two starts of this program: the first (`leave`) leaves the session of whoever
//! started it, the second (`run`) is the gateway. Its stdout is a pipe to the starter until it says
//! [`READY`] or its last words; then stdout and stderr go to the log.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::state::layout::StateDir;
use crate::state::logs;
use crate::store::StoreError;

/// What a started gateway says once it holds its locks.
pub const READY: &str = "ready";
/// Begins the last line of one that could not.
const EXIT: &str = "exit code ";
/// How long a starter waits for it.
pub const READY_WITHIN: Duration = Duration::from_secs(2);

/// Which of the two starts this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Leaves the starter's session and starts the gateway.
    Leave,
    /// Is the gateway.
    Run,
}

impl Stage {
    fn argument(self) -> &'static str {
        match self {
            Self::Leave => "--stage=leave",
            Self::Run => "--stage=run",
        }
    }
}

/// What to start.
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

/// How a start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Ready,
    /// It ended.
    Ended {
        /// Its last words.
        words: String,
        /// The exit code that it ended with, if it could say so.
        code: Option<u8>,
    },
    /// It has said nothing yet.
    Silent,
}

impl Launch {
    /// Starts a gateway and waits until it is ready, has ended, or [`READY_WITHIN`] is over.
    pub fn start(&self) -> io::Result<Started> {
        let mut child = self.command(Stage::Leave).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let (told, heard) = mpsc::channel();
        // A thread, because a pipe has no read with a time limit. It ends with the pipe.
        std::thread::spawn(move || {
            let words = output.map(first_words).unwrap_or_default();
            let told = told.send(words);
            drop(told);
        });
        let started = match heard.recv_timeout(READY_WITHIN) {
            Ok(words) if words.trim() == READY => Started::Ready,
            Ok(words) => ended(&words),
            Err(_) => Started::Silent,
        };
        // The first stage ends at once; it must not stay behind as a zombie.
        reap(child);
        Ok(started)
    }

    fn command(&self, stage: Stage) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("gateway")
            .arg(stage.argument())
            .arg("--config")
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

    /// The first stage: leaves the session, then starts the gateway, which is nobody's child.
    pub fn leave(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        // Whatever the client left open for its children is not the gateway's business.
        close_fds::set_fds_cloexec(3, &[]);
        self.command(Stage::Run)
            .stdout(Stdio::inherit())
            .spawn()
            .map(drop)
    }
}

/// Everything up to the end of the first line that says that it is ready, or to the end.
fn first_words(mut output: impl io::Read) -> String {
    let mut words = Vec::new();
    let mut byte = [0];
    while let Ok(1) = output.read(&mut byte) {
        words.extend(byte);
        if words == format!("{READY}\n").as_bytes() || words.len() > 64 * 1024 {
            break;
        }
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// The last words of a gateway that did not start: to stdout, for whoever started it.
pub fn say_last_words(words: &str, code: u8) {
    drop(writeln!(io::stdout(), "{words}\n{EXIT}{code}"));
}

fn ended(words: &str) -> Started {
    match words.trim_end().rsplit_once(EXIT) {
        Some((words, code)) => Started::Ended {
            words: words.trim().to_owned(),
            code: code.parse().ok(),
        },
        None => Started::Ended {
            words: words.trim().to_owned(),
            code: None,
        },
    }
}

fn reap(mut child: Child) {
    std::thread::spawn(move || drop(child.wait()));
}

/// Says to the starter that the gateway runs, and sends stdout and stderr to the log from now on.
pub fn say_ready(state: &StateDir) -> Result<(), StoreError> {
    // A starter that has gone is no reason not to run.
    drop(writeln!(io::stdout(), "{READY}"));
    let log = logs::open_output(state)?;
    let moved = rustix::stdio::dup2_stdout(&log).and_then(|()| rustix::stdio::dup2_stderr(&log));
    moved.map_err(|error| StoreError::new("write to", &logs::folder(state), error.into()))
}
