//! `codex queue` (clients.md 5.3): an idle thread begins a turn with the message, a busy one after its
//! turn, and one that is not loaded when somebody resumes it. Nothing is ever typed into Codex.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::state::agents::Reach;
use crate::waker::WAKE_TEXT;

/// How long the command may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has ended.
const STEP: Duration = Duration::from_millis(20);
/// How much of what it says is told.
const WORDS_MAX: usize = 300;

/// Puts the wake into the queue of a thread. The reason, if that did not work.
pub fn queue(reach: &Reach, thread: &str) -> Result<(), String> {
    let program = program(reach)
        .ok_or("there is no program `codex`, neither where the thread runs nor on its PATH")?;
    // Nothing of the gateway's own environment: the tokens of the bots are in it.
    let mut command = Command::new(&program);
    command
        .args(["queue", "--thread", thread, "--message", WAKE_TEXT])
        .env_clear()
        .env("TERM", "dumb")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(home) = &reach.home {
        command.env("HOME", home);
    }
    if let Some(path) = &reach.path {
        command.env("PATH", path);
    }
    if let Some(home) = &reach.codex_home {
        command.env("CODEX_HOME", home);
    }
    let failed = |error| format!("`{} queue` cannot be run: {error}", program.display());
    let mut child = command.spawn().map_err(failed)?;
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if waited >= WITHIN {
            end(&mut child);
            return Err(format!(
                "`{} queue` did not end within {} s",
                program.display(),
                WITHIN.as_secs()
            ));
        }
        std::thread::sleep(STEP);
        waited += STEP;
    };
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "`{} queue` failed ({status}): {}",
        program.display(),
        words(&mut child)
    ))
}

fn end(child: &mut Child) {
    // It may have ended this moment.
    drop(child.kill());
    drop(child.wait());
}

/// The beginning of what it has said. It has ended, so a child of its own may hold the pipe: no more
/// is read than is there.
fn words(child: &mut Child) -> String {
    let Some(stderr) = &mut child.stderr else {
        return String::new();
    };
    let nonblocking = rustix::fs::fcntl_getfl(&*stderr)
        .and_then(|flags| rustix::fs::fcntl_setfl(&*stderr, flags | rustix::fs::OFlags::NONBLOCK));
    let mut bytes = vec![0; 4096];
    let read = nonblocking.map_or(0, |()| stderr.read(&mut bytes).unwrap_or(0));
    bytes.truncate(read);
    let text = String::from_utf8_lossy(&bytes);
    let line = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(line).take(WORDS_MAX).collect()
}

/// The program that runs the thread, or one of that name. An update may have removed the first.
fn program(reach: &Reach) -> Option<PathBuf> {
    let is_file = |path: &PathBuf| path.is_absolute() && path.is_file();
    let own = reach.codex.clone().filter(is_file);
    let folders = reach.path.as_deref().unwrap_or_default().split(':');
    own.or_else(|| {
        folders
            .map(|folder| Path::new(folder).join("codex"))
            .find(is_file)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::atomic;
    use crate::store::atomic::Durability;
    use crate::store::crash_points::Step;

    /// A `codex` on a PATH of its own that does this.
    fn codex(script: &str) -> (tempfile::TempDir, Reach) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codex");
        let script = format!("#!/bin/sh\n{script}\n");
        let (step, durability) = (Step::Wake, Durability::Unsynced);
        atomic::replace(&path, script.as_bytes(), step, durability).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let reach = Reach {
            codex: Some(PathBuf::from("/removed/by/an/update/codex")),
            codex_home: Some(folder.path().join("its-own")),
            home: Some(folder.path().to_owned()),
            path: Some(format!(
                "relative:{}:/usr/bin:/bin",
                folder.path().display()
            )),
            ..Reach::default()
        };
        (folder, reach)
    }

    #[test]
    fn the_thread_is_told_the_constant_text_and_nothing_of_our_environment() {
        let (folder, reach) = codex("printf '%s\\n' \"$@\" > \"$HOME/words\"; env > \"$HOME/env\"");
        queue(&reach, "the-thread").unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let words = read("words");
        let words: Vec<&str> = words.lines().collect();
        assert_eq!(
            words,
            ["queue", "--thread", "the-thread", "--message", WAKE_TEXT]
        );
        let env = read("env");
        let mut names: Vec<&str> = env
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["CODEX_HOME", "HOME", "LANG", "PATH", "TERM"]);
    }

    #[test]
    fn what_it_says_when_it_fails_is_the_reason() {
        let (_folder, reach) = codex("echo 'no such thread' >&2; exit 3");
        let reason = queue(&reach, "x").unwrap_err();
        assert!(
            reason.contains("failed (exit status: 3): no such thread"),
            "{reason}"
        );
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let (folder, reach) = codex("echo $$ > \"$HOME/pid\"; exec sleep 1000");
        let reason = queue(&reach, "x").unwrap_err();
        assert!(reason.contains("did not end within 5 s"), "{reason}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let pid = pid.trim().parse().unwrap();
        assert_eq!(crate::state::agents::process::ProcessId::of(pid), None);
    }

    #[test]
    fn a_codex_that_is_nowhere_is_said() {
        let reason = queue(&Reach::default(), "x").unwrap_err();
        assert!(
            reason.starts_with("there is no program `codex`"),
            "{reason}"
        );
    }
}
