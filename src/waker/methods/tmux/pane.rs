//! Observes a pane of tmux and presses keys in it. `guard.rs` decides which.
//!
//! A pane is named by its socket and id, its agent by a process that must be in the foreground of the pane's
//! terminal, so neither can be mistaken for another. The text goes through a buffer and is pasted: a client
//! takes fast keys for a paste, and an Enter among them for a line feed. Enter follows later. If copy-mode
//! begins between a look and a key, tmux itself drops the key.

use std::path::{Path, PathBuf};

use crate::config::Env;
use crate::state::agents::{Pane, ProcessId};
use crate::state::wake_log::TypingRefusal;
use crate::store::{Side, Step, mark_step};
use crate::waker::activity::read_claude_state;
use crate::waker::methods::command::{CommandFailure, TIME_LIMIT, find_program, run_command};
use crate::waker::methods::tmux::guard::PaneState;
use crate::waker::methods::tmux::screen::read_input_line;

/// Where tmux is looked for after the `PATH`.
const USUAL_PATH: &str = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin";
/// One line for each pane and session. Names of sessions may contain spaces.
const FORMAT: &str = "#{pane_id} #{pane_dead} #{pane_in_mode} #{pane_synchronized} #{pane_input_off} #{cursor_x} #{cursor_y} #{pane_pid} #{pane_tty} #{session_name}";
/// Separates these lines from the screen.
const SCREEN: &str = "telepost screen";
/// Lets tmux itself check the pane at the moment of the key.
const STILL: &str = "#{?pane_in_mode,0,#{?pane_dead,0,1}}";
const BUFFER: &str = "telepost-wake";

/// Where the gateway looks for an agent that is not connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TmuxServer {
    socket: PathBuf,
    path: Option<String>,
    claude_folder: Option<PathBuf>,
}

impl TmuxServer {
    /// The default server of this user.
    pub(crate) fn of(env: &Env) -> Self {
        let folder = env.get("TMUX_TMPDIR").unwrap_or("/tmp");
        let user = rustix::process::getuid().as_raw();
        Self {
            socket: PathBuf::from(format!("{folder}/tmux-{user}/default")),
            path: env.get("PATH").map(str::to_owned),
            claude_folder: env.get("HOME").map(|home| Path::new(home).join(".claude")),
        }
    }

    /// The one agent in the panes of a session, if there is one.
    pub(super) fn find_agent(&self, session: &str) -> Result<Option<AgentPane>, TypingRefusal> {
        let lines = self.list_panes(session)?;
        let mut found: Vec<AgentPane> = lines
            .into_iter()
            .filter(|line| !line.is_dead)
            .filter_map(|line| {
                let processes = ProcessId::of(line.pid)?.in_front(&line.tty);
                let (agent, folder) = processes.into_iter().find_map(|process| {
                    let folder = self.claude_folder_of(&process)?;
                    read_claude_state(&folder, &process)?;
                    Some((process, folder))
                })?;
                Some(AgentPane {
                    pane: Pane {
                        socket: self.socket.clone(),
                        id: line.id,
                    },
                    agent,
                    claude_folder: Some(folder),
                    path: self.path.clone(),
                })
            })
            .collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            several => Err(TypingRefusal::Several(several)),
        }
    }

    /// The terminals of the living panes of a session; `None` if there is no such session.
    pub(crate) fn list_terminals(
        &self,
        session: &str,
    ) -> Result<Option<Vec<PathBuf>>, TypingRefusal> {
        let lines = self.list_panes(session)?;
        if lines.is_empty() {
            return Ok(None);
        }
        let living = lines.into_iter().filter(|line| !line.is_dead);
        Ok(Some(living.map(|line| line.tty).collect()))
    }

    fn list_panes(&self, session: &str) -> Result<Vec<PaneLine>, TypingRefusal> {
        let words = ["list-panes", "-a", "-F", FORMAT];
        let answer = match run_tmux(&self.socket, self.path.as_deref(), &words, "") {
            // Without a server there is no pane.
            Err(TypingRefusal::Gone) => return Ok(Vec::new()),
            answer => answer?,
        };
        if let Some(reason) = answer.failed {
            return Err(TypingRefusal::Tmux(reason));
        }
        let lines = answer.output.lines().filter_map(PaneLine::parse);
        Ok(lines.filter(|line| line.session == session).collect())
    }

    /// Where a process that may be a Claude Code would keep its own files.
    fn claude_folder_of(&self, process: &ProcessId) -> Option<PathBuf> {
        let own = process.variable("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        let home = || Some(Path::new(&process.variable("HOME")?).join(".claude"));
        own.or_else(home).or_else(|| self.claude_folder.clone())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentPane {
    pub(crate) pane: Pane,
    pub(crate) agent: ProcessId,
    /// Where Claude Code keeps `sessions/<pid>.json`.
    pub(crate) claude_folder: Option<PathBuf>,
    /// The `PATH` on which tmux is looked for.
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PaneView {
    pub(crate) state: PaneState,
    /// The screen as text, with its colours.
    pub(crate) screen: String,
}

impl AgentPane {
    pub(super) fn view(&self) -> Result<PaneView, TypingRefusal> {
        let list = ["list-panes", "-a", "-F", FORMAT, ";"];
        let separator = ["display-message", "-p", SCREEN, ";"];
        let capture = ["capture-pane", "-p", "-e", "-N", "-t", &self.pane.id];
        let words = [&list[..], &separator, &capture].concat();
        let answer = run_tmux(&self.pane.socket, self.path.as_deref(), &words, "")?;
        let marker = format!("{SCREEN}\n");
        let (list, screen) = answer
            .output
            .split_once(&marker)
            .unwrap_or((&answer.output, ""));
        let lines = list.lines().filter_map(PaneLine::parse);
        let lines: Vec<PaneLine> = lines.filter(|line| line.id == self.pane.id).collect();
        let Some(line) = lines.first() else {
            return Err(TypingRefusal::Gone);
        };
        if let Some(reason) = answer.failed {
            return Err(TypingRefusal::Tmux(reason));
        }
        let state = PaneState {
            sessions: lines.iter().map(|line| line.session.clone()).collect(),
            is_dead: line.is_dead,
            in_mode: line.in_mode,
            is_synchronized: line.is_synchronized,
            is_input_off: line.is_input_off,
            agent_in_front: self.agent.is_in_front(&line.tty),
            input: read_input_line(screen, line.cursor),
        };
        let screen = screen.to_owned();
        Ok(PaneView { state, screen })
    }

    pub(super) fn paste(&self, text: &str) -> Result<(), TypingRefusal> {
        let paste = format!("paste-buffer -p -d -b {BUFFER} -t '{}'", self.pane.id);
        mark_step(Step::WakePaste, Side::Before);
        self.run_guarded(&["load-buffer", "-b", BUFFER, "-", ";"], &paste, text)?;
        mark_step(Step::WakePaste, Side::After);
        Ok(())
    }

    pub(super) fn press_enter(&self) -> Result<(), TypingRefusal> {
        mark_step(Step::WakeEnter, Side::Before);
        self.run_guarded(&[], &format!("send-keys -t '{}' Enter", self.pane.id), "")?;
        mark_step(Step::WakeEnter, Side::After);
        Ok(())
    }

    /// Runs a command on the pane, if that may still have a key.
    fn run_guarded(
        &self,
        before: &[&str],
        command: &str,
        input: &str,
    ) -> Result<(), TypingRefusal> {
        let condition = ["if-shell", "-F", "-t", &self.pane.id, STILL, command];
        let words = [before, &condition].concat();
        let answer = run_tmux(&self.pane.socket, self.path.as_deref(), &words, input)?;
        answer
            .failed
            .map_or(Ok(()), |reason| Err(TypingRefusal::Tmux(reason)))
    }
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "tmux reports each separately"
)]
struct PaneLine {
    id: String,
    is_dead: bool,
    in_mode: bool,
    is_synchronized: bool,
    is_input_off: bool,
    cursor: (usize, usize),
    pid: u32,
    tty: PathBuf,
    session: String,
}

impl PaneLine {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(10, ' ');
        let mut word = || words.next();
        let is = |word: &str| word != "0";
        Some(Self {
            id: word()?.to_owned(),
            is_dead: is(word()?),
            in_mode: is(word()?),
            is_synchronized: is(word()?),
            is_input_off: is(word()?),
            cursor: (word()?.parse().ok()?, word()?.parse().ok()?),
            pid: word()?.parse().ok()?,
            tty: PathBuf::from(word()?),
            session: word()?.to_owned(),
        })
    }
}

#[derive(Debug)]
struct TmuxAnswer {
    output: String,
    failed: Option<String>,
}

fn run_tmux(
    socket: &Path,
    path: Option<&str>,
    words: &[&str],
    input: &str,
) -> Result<TmuxAnswer, TypingRefusal> {
    let refuse = |reason: String| Err(TypingRefusal::Tmux(reason));
    let path = [path, Some(USUAL_PATH)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(":");
    let Some(program) = find_program("tmux", &path) else {
        return refuse("the program `tmux` was not found on the PATH".to_owned());
    };
    let socket = socket.to_string_lossy();
    let arguments = [&["-u", "-S", &socket], words].concat();
    let end = match run_command(&program, &arguments, &[], input) {
        Ok(end) => end,
        Err(CommandFailure::NotRun(error)) => return refuse(format!("it cannot be run: {error}")),
        Err(CommandFailure::TimedOut) => {
            return refuse(format!(
                "it did not answer within {} s",
                TIME_LIMIT.as_secs()
            ));
        }
    };
    // A server that cannot be reached for another reason may be there.
    let no_socket =
        end.message.contains("error connecting to") && end.message.contains("(No such file");
    if !end.status.success() && (no_socket || end.message.contains("no server running")) {
        return Err(TypingRefusal::Gone);
    }
    let failed =
        (!end.status.success()).then(|| format!("it failed ({}): {}", end.status, end.message));
    Ok(TmuxAnswer {
        output: end.output,
        failed,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::{Durability, atomic};

    /// An agent in a pane that is asked about with a `tmux` that does this.
    fn target(script: &str) -> (tempfile::TempDir, AgentPane) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tmux");
        let folder_name = folder.path().display();
        let script = format!("#!/bin/sh\nHERE='{folder_name}'\n{script}\n");
        let (step, durability) = (Step::Wake, Durability::Unsynced);
        atomic::replace_file(&path, script.as_bytes(), step, durability).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let target = AgentPane {
            pane: Pane {
                socket: PathBuf::from("/the/socket"),
                id: "%7".to_owned(),
            },
            agent: ProcessId::me(),
            claude_folder: None,
            path: Some(format!("relative:{folder_name}:/usr/bin:/bin")),
        };
        (folder, target)
    }

    #[test]
    fn a_pane_is_told_from_others_and_shown_by_several_sessions() {
        let (_folder, target) = target(
            "printf '%s\\n' '%71 0 0 0 0 1 1 9 /dev/null x' '%7 0 1 0 0 3 4 9 /dev/null my shop' \
             '%7 0 1 0 0 3 4 9 /dev/null shop-1' 'telepost screen' 'the screen'",
        );
        let seen = target.view().unwrap();
        assert_eq!(seen.state.sessions, ["my shop", "shop-1"]);
        let state = seen.state;
        assert!(state.in_mode && !state.is_dead && !state.is_synchronized);
        assert!(!state.agent_in_front, "it has another terminal");
        assert_eq!(seen.screen, "the screen\n");
    }

    #[test]
    fn what_is_not_there_is_gone_and_what_fails_says_why() {
        let look = |script: &str| target(script).1.view().map(|_| ());
        let gone = Err(TypingRefusal::Gone);
        assert_eq!(look("echo '%71 0 0 0 0 1 1 9 /dev/null x'; exit 1"), gone);
        assert_eq!(look("echo 'no server running on /x' >&2; exit 1"), gone);
        assert_eq!(
            look("echo 'error connecting to /x (No such file)' >&2; exit 1"),
            gone
        );
        let line = "echo '%7 0 0 0 0 1 1 9 /dev/null x'; echo 'a riddle' >&2; exit 3";
        let reason = "it failed (exit status: 3): a riddle".to_owned();
        assert_eq!(look(line), Err(TypingRefusal::Tmux(reason)));
    }

    #[test]
    fn one_that_hangs_is_ended_by_its_number() {
        let (folder, target) = target("echo $$ > \"$HERE/pid\"; exec sleep 1000");
        let reason = "it did not answer within 5 s".to_owned();
        assert_eq!(target.view(), Err(TypingRefusal::Tmux(reason)));
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        assert_eq!(ProcessId::of(pid.trim().parse().unwrap()), None);
    }

    #[test]
    fn the_text_stands_on_no_command_line_and_nothing_of_our_environment_is_given() {
        let (folder, target) = target(
            "printf '%s\\n' \"$@\" > \"$HERE/words\"; cat > \"$HERE/text\"; env > \"$HERE/env\"",
        );
        target.paste("/some-command").unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("text"), "/some-command");
        let words = read("words");
        assert!(!words.contains("some-command"), "{words}");
        assert!(
            words.contains("paste-buffer -p -d -b telepost-wake -t '%7'"),
            "{words}"
        );
        let env = read("env");
        let mut names: Vec<&str> = env
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["TERM"]);
    }
}
