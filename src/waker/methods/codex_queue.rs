//! `codex queue` (docs/facts/clients.md 5.3): an idle thread starts a turn with the message, a busy one after
//! its turn, and one that is not loaded when a person resumes it. Codex is never typed to.

use std::path::PathBuf;

use crate::state::agents::Reach;
use crate::state::wake_log::MethodId;
use crate::store::StoreError;
use crate::waker::WAKE_TEXT;
use crate::waker::methods::command::{CommandFailure, TIME_LIMIT, find_program, run_command};
use crate::waker::methods::{AttemptContext, AttemptResult, WakeMethod, WakeTarget};
use crate::waker::policy::Patience;

/// Wakes by a message in the queue of a thread.
#[derive(Debug)]
pub(crate) struct CodexQueueMethod;

impl WakeMethod for CodexQueueMethod {
    fn id(&self) -> MethodId {
        MethodId::new("codex_queue")
    }

    fn patience(&self) -> Patience {
        Patience::QUEUED
    }

    fn available(&self, target: &WakeTarget<'_>) -> bool {
        let codex = target
            .server
            .and_then(|server| server.file.reach.codex.as_ref());
        target.thread.is_some() && codex.is_some()
    }

    fn attempt(
        &self,
        target: &WakeTarget<'_>,
        _context: &AttemptContext<'_>,
    ) -> Result<AttemptResult, StoreError> {
        let (Some(server), Some(thread)) = (target.server, target.thread) else {
            return Ok(AttemptResult::Failed("its MCP server has ended".to_owned()));
        };
        let queued = queue_wake(&server.file.reach, thread);
        Ok(queued.map_or_else(AttemptResult::Failed, |()| AttemptResult::Given))
    }
}

/// Puts the wake into the queue of a thread. Returns the reason if that did not work.
fn queue_wake(reach: &Reach, thread: &str) -> Result<(), String> {
    let program = find_codex(reach).ok_or(
        "the program `codex` was found neither where the thread runs nor on its PATH".to_owned(),
    )?;
    let arguments = ["queue", "--thread", thread, "--message", WAKE_TEXT];
    let home = reach.home.as_ref().map(|home| ("HOME", home.into()));
    let path = reach.path.as_ref().map(|path| ("PATH", path.into()));
    let codex_home = reach.codex_home.as_ref();
    let codex_home = codex_home.map(|home| ("CODEX_HOME", home.into()));
    let language = ("LANG", "C.UTF-8".into());
    let variables: Vec<_> = [home, path, codex_home, Some(language)]
        .into_iter()
        .flatten()
        .collect();
    let program_name = program.display();
    match run_command(&program, &arguments, &variables, "") {
        Ok(end) if end.status.success() => Ok(()),
        Ok(end) => Err(format!(
            "`{program_name} queue` failed ({}): {}",
            end.status, end.message
        )),
        Err(CommandFailure::NotRun(error)) => {
            Err(format!("`{program_name} queue` cannot be run: {error}"))
        }
        Err(CommandFailure::TimedOut) => {
            let seconds = TIME_LIMIT.as_secs();
            Err(format!(
                "`{program_name} queue` did not end within {seconds} s"
            ))
        }
    }
}

/// The program that runs the thread, or one of that name: an update may have removed the first.
fn find_codex(reach: &Reach) -> Option<PathBuf> {
    let own = reach.codex.clone();
    own.filter(|path| path.is_absolute() && path.is_file())
        .or_else(|| find_program("codex", reach.path.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::{Durability, Step, atomic};

    /// A `codex` on a PATH of its own that does this.
    fn codex(script: &str) -> (tempfile::TempDir, Reach) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codex");
        let script = format!("#!/bin/sh\n{script}\n");
        let (step, durability) = (Step::Wake, Durability::Unsynced);
        atomic::replace_file(&path, script.as_bytes(), step, durability).unwrap();
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
        queue_wake(&reach, "the-thread").unwrap();
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
        let reason = queue_wake(&reach, "x").unwrap_err();
        assert!(
            reason.contains("failed (exit status: 3): no such thread"),
            "{reason}"
        );
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let (folder, reach) = codex("echo $$ > \"$HOME/pid\"; exec sleep 1000");
        let reason = queue_wake(&reach, "x").unwrap_err();
        assert!(reason.contains("did not end within 5 s"), "{reason}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let pid = pid.trim().parse().unwrap();
        assert_eq!(crate::state::agents::process::ProcessId::of(pid), None);
    }

    #[test]
    fn a_codex_that_is_nowhere_is_said() {
        let reason = queue_wake(&Reach::default(), "x").unwrap_err();
        assert!(
            reason.starts_with("the program `codex` was found neither"),
            "{reason}"
        );
    }
}
