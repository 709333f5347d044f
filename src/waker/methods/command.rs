//! Runs a short command of another program, within a time limit and without the gateway's environment, which
//! has the tokens of the bots.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

pub(super) const TIME_LIMIT: Duration = Duration::from_secs(5);
/// How often its end is checked.
const STEP: Duration = Duration::from_millis(5);
/// How long its output may take after its end. A child of its own may hold the pipe for longer.
const OUTPUT_WITHIN: Duration = Duration::from_millis(500);
/// How much of an error message is reported.
const MESSAGE_MAX: usize = 300;

#[derive(Debug)]
pub(super) struct CommandEnd {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    /// The beginning of its error output, on one line.
    pub(crate) message: String,
}

/// A command that did not end by itself.
#[derive(Debug)]
pub(super) enum CommandFailure {
    NotRun(std::io::Error),
    TimedOut,
}

/// Runs a program. It gets only these variables.
pub(super) fn run_command(
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, OsString)],
    input: &str,
) -> Result<CommandEnd, CommandFailure> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("TERM", "dumb")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(CommandFailure::NotRun)?;
    let output = read_beside(child.stdout.take());
    let errors = read_beside(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has ended already reports why.
        drop(stdin.write_all(input.as_bytes()));
    }
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(CommandFailure::NotRun)? {
            break status;
        }
        if waited >= TIME_LIMIT {
            // It may have ended at this moment.
            drop(child.kill());
            drop(child.wait());
            return Err(CommandFailure::TimedOut);
        }
        std::thread::sleep(STEP);
        waited += STEP;
    };
    let on_one_line = |c: char| if c.is_control() { ' ' } else { c };
    let errors = collect(&errors);
    Ok(CommandEnd {
        status,
        output: collect(&output),
        message: errors
            .trim()
            .chars()
            .map(on_one_line)
            .take(MESSAGE_MAX)
            .collect(),
    })
}

/// Reads while the command runs: a large screen does not fit into a pipe.
fn read_beside(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pipe = pipe?;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            sender.send(buffer.get(..count)?.to_owned()).ok()?;
        }
        Some(())
    });
    receiver
}

fn collect(receiver: &Receiver<Vec<u8>>) -> String {
    let mut bytes = Vec::new();
    while let Ok(more) = receiver.recv_timeout(OUTPUT_WITHIN) {
        bytes.extend(more);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Finds a program in the folders of a `PATH`, by absolute names only.
pub(super) fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    let mut programs = path.split(':').map(|folder| Path::new(folder).join(name));
    programs.find(|program| program.is_absolute() && program.is_file())
}
