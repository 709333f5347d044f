//! Looking at a pane of tmux and typing into it. What may be typed, `guard.rs` decides.
//!
//! A pane is named by socket and id, its agent by a process that must be in the foreground of the pane's
//! terminal: neither can be mistaken for another one. The text goes through a buffer and is pasted (keys
//! that come fast are a paste for a client, too, and an Enter among them a line feed); Enter follows later.
//! Copy-mode may begin between a look and a key: then tmux itself leaves the key out.

pub mod guard;
pub mod pane;
pub mod typing;
pub mod typist;

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::Env;
use crate::state::agents::process::ProcessId;
use crate::state::agents::{self, Pane};
use crate::store::crash_points::{Side, Step, reached};
use crate::waker::methods::tmux::guard::{PaneState, Refusal};

/// How long one command may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has ended.
const STEP: Duration = Duration::from_millis(5);
/// How much of what it says is told.
const WORDS_MAX: usize = 300;
/// Where tmux is, if it is not on the PATH.
const USUAL: &str = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin";
/// One line for each pane and session. Names of sessions may have spaces.
const FORMAT: &str = "#{pane_id} #{pane_dead} #{pane_in_mode} #{pane_synchronized} #{pane_input_off} #{cursor_x} #{cursor_y} #{pane_pid} #{pane_tty} #{session_name}";
/// Between these lines and the screen.
const SCREEN: &str = "telepost screen";
/// Says that the pane may get a key, at the very moment when it would.
const STILL: &str = "#{?pane_in_mode,0,#{?pane_dead,0,1}}";
/// The buffer that the text goes through.
const BUFFER: &str = "telepost-wake";

/// Where the gateway looks for an agent that has not said where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    socket: PathBuf,
    path: Option<String>,
    claude_folder: Option<PathBuf>,
}

impl Surroundings {
    /// The default server of this user.
    pub fn of(env: &Env) -> Self {
        let folder = env.get("TMUX_TMPDIR").unwrap_or("/tmp");
        let user = rustix::process::getuid().as_raw();
        Self {
            socket: PathBuf::from(format!("{folder}/tmux-{user}/default")),
            path: env.get("PATH").map(str::to_owned),
            claude_folder: env.get("HOME").map(|home| Path::new(home).join(".claude")),
        }
    }
}

/// An agent in a pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The pane.
    pub pane: Pane,
    /// The process of the agent.
    pub agent: ProcessId,
    /// Where Claude Code keeps `sessions/<pid>.json`.
    pub claude_folder: Option<PathBuf>,
    /// Where tmux is looked for.
    pub path: Option<String>,
}

/// What was seen of a pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its state.
    pub state: PaneState,
    /// What it shows, as text with colours.
    pub screen: String,
}

impl Target {
    /// Looks at the pane.
    pub fn look(&self) -> Result<Seen, Refusal> {
        let words = [
            "list-panes",
            "-a",
            "-F",
            FORMAT,
            ";",
            "display-message",
            "-p",
            SCREEN,
            ";",
            "capture-pane",
            "-p",
            "-e",
            "-N",
            "-t",
            &self.pane.id,
        ];
        let said = tmux(&self.pane.socket, self.path.as_deref(), &words, "")?;
        let marker = format!("{SCREEN}\n");
        let (list, screen) = said.out.split_once(&marker).unwrap_or((&said.out, ""));
        let lines: Vec<PaneLine> = list.lines().filter_map(PaneLine::read).collect();
        let sessions = lines.iter().filter(|line| line.id == self.pane.id);
        let sessions = sessions.map(|line| line.session.clone()).collect();
        let Some(line) = lines.iter().find(|line| line.id == self.pane.id) else {
            return Err(Refusal::Gone);
        };
        if let Some(reason) = said.failed {
            return Err(Refusal::Tmux(reason));
        }
        let state = PaneState {
            sessions,
            is_dead: line.is_dead,
            in_mode: line.in_mode,
            is_synchronized: line.is_synchronized,
            is_input_off: line.is_input_off,
            agent_in_front: self.agent.is_in_front(&line.tty),
            shown: pane::read(screen, line.cursor),
        };
        let screen = screen.to_owned();
        Ok(Seen { state, screen })
    }

    /// Pastes a text.
    pub fn paste(&self, text: &str) -> Result<(), Refusal> {
        let paste = format!("paste-buffer -p -d -b {BUFFER} -t '{}'", self.pane.id);
        let words = ["load-buffer", "-b", BUFFER, "-", ";"];
        reached(Step::WakePaste, Side::Before);
        self.press(&words, &paste, text)?;
        reached(Step::WakePaste, Side::After);
        Ok(())
    }

    /// Presses Enter.
    pub fn enter(&self) -> Result<(), Refusal> {
        reached(Step::WakeEnter, Side::Before);
        self.press(&[], &format!("send-keys -t '{}' Enter", self.pane.id), "")?;
        reached(Step::WakeEnter, Side::After);
        Ok(())
    }

    /// Gives the pane a key by this command, if it still may have one.
    fn press(&self, before: &[&str], command: &str, input: &str) -> Result<(), Refusal> {
        let condition = ["if-shell", "-F", "-t", &self.pane.id, STILL, command];
        let words: Vec<&str> = before.iter().copied().chain(condition).collect();
        let said = tmux(&self.pane.socket, self.path.as_deref(), &words, input)?;
        said.failed
            .map_or(Ok(()), |reason| Err(Refusal::Tmux(reason)))
    }
}

/// The one agent in the panes of this session on the default server, if there is one.
pub fn find(around: &Surroundings, session: &str) -> Result<Option<Target>, Refusal> {
    let lines = panes(around, session)?.into_iter();
    let mut found: Vec<Target> = lines
        .filter(|line| !line.is_dead)
        .filter_map(|line| {
            let processes = ProcessId::of(line.pid)?.in_front(&line.tty);
            let (agent, folder) = processes.into_iter().find_map(|process| {
                let folder = claude_folder(&process, around)?;
                agents::claude_says(&folder, &process)?;
                Some((process, folder))
            })?;
            Some(Target {
                pane: Pane {
                    socket: around.socket.clone(),
                    id: line.id,
                },
                agent,
                claude_folder: Some(folder),
                path: around.path.clone(),
            })
        })
        .collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        several => Err(Refusal::Several(several)),
    }
}

/// The terminals of the living panes of this session on the default server; `None` if there is no such
/// session.
pub fn terminals(around: &Surroundings, session: &str) -> Result<Option<Vec<PathBuf>>, Refusal> {
    let lines = panes(around, session)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let living = lines.into_iter().filter(|line| !line.is_dead);
    Ok(Some(living.map(|line| line.tty).collect()))
}

/// The panes of this session on the default server.
fn panes(around: &Surroundings, session: &str) -> Result<Vec<PaneLine>, Refusal> {
    let words = ["list-panes", "-a", "-F", FORMAT];
    let said = match tmux(&around.socket, around.path.as_deref(), &words, "") {
        Ok(said) => said,
        // No server: no pane.
        Err(Refusal::Gone) => return Ok(Vec::new()),
        Err(refusal) => return Err(refusal),
    };
    if let Some(reason) = said.failed {
        return Err(Refusal::Tmux(reason));
    }
    let lines = said.out.lines().filter_map(PaneLine::read);
    Ok(lines.filter(|line| line.session == session).collect())
}

/// Where a process that may be a Claude Code would keep its own files.
fn claude_folder(process: &ProcessId, around: &Surroundings) -> Option<PathBuf> {
    let own = process.variable("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let home = || Some(Path::new(&process.variable("HOME")?).join(".claude"));
    own.or_else(home).or_else(|| around.claude_folder.clone())
}

/// One pane in one session.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that tmux tells"
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
    fn read(line: &str) -> Option<Self> {
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

/// What a command has said.
#[derive(Debug)]
struct Said {
    out: String,
    /// Why it failed, if it did.
    failed: Option<String>,
}

/// Runs tmux, within its time.
fn tmux(socket: &Path, path: Option<&str>, words: &[&str], input: &str) -> Result<Said, Refusal> {
    let cannot = |error: std::io::Error| Refusal::Tmux(format!("it cannot be run: {error}"));
    let program = program(path)
        .ok_or_else(|| Refusal::Tmux("there is no program `tmux` on the PATH".to_owned()))?;
    // Nothing of the gateway's own environment: the tokens of the bots are in it.
    let mut child = Command::new(program)
        .args(["-u", "-S"])
        .arg(socket)
        .args(words)
        .env_clear()
        .env("TERM", "dumb")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let (out, errors) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended already says why.
        drop(stdin.write_all(input.as_bytes()));
    }
    let mut waited = Duration::ZERO;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(cannot)? {
            break status;
        }
        if waited >= WITHIN {
            // It may have ended this moment.
            drop(child.kill());
            drop(child.wait());
            let seconds = WITHIN.as_secs();
            return Err(Refusal::Tmux(format!(
                "it did not answer within {seconds} s"
            )));
        }
        std::thread::sleep(STEP);
        waited += STEP;
    };
    let (out, errors) = (read(out), read(errors));
    if status.success() {
        return Ok(Said { out, failed: None });
    }
    // Whoever cannot reach a server for another reason does not know whether there is one.
    let no_socket = errors.contains("error connecting to") && errors.contains("(No such file");
    if no_socket || errors.contains("no server running") {
        return Err(Refusal::Gone);
    }
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let reason: String = errors.trim().chars().map(line).take(WORDS_MAX).collect();
    let failed = Some(format!("it failed ({status}): {reason}"));
    Ok(Said { out, failed })
}

/// Reads beside the waiting: a large screen does not fit into a pipe.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read is what there is.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    }))
}

fn read(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn program(path: Option<&str>) -> Option<PathBuf> {
    let folders = path
        .into_iter()
        .chain([USUAL])
        .flat_map(|path| path.split(':'));
    let mut programs = folders.map(|folder| Path::new(folder).join("tmux"));
    programs.find(|program| program.is_absolute() && program.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::atomic;
    use crate::store::atomic::Durability;

    /// An agent in a pane that is asked about with a `tmux` that does this.
    fn target(script: &str) -> (tempfile::TempDir, Target) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tmux");
        let folder_name = folder.path().display();
        let script = format!("#!/bin/sh\nHERE='{folder_name}'\n{script}\n");
        let (step, durability) = (Step::Wake, Durability::Unsynced);
        atomic::replace(&path, script.as_bytes(), step, durability).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let target = Target {
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
        let seen = target.look().unwrap();
        assert_eq!(seen.state.sessions, ["my shop", "shop-1"]);
        let state = seen.state;
        assert!(state.in_mode && !state.is_dead && !state.is_synchronized);
        assert!(!state.agent_in_front, "it has another terminal");
        assert_eq!(seen.screen, "the screen\n");
    }

    #[test]
    fn what_is_not_there_is_gone_and_what_fails_says_why() {
        let look = |script: &str| target(script).1.look().map(|_| ());
        let gone = Err(Refusal::Gone);
        assert_eq!(look("echo '%71 0 0 0 0 1 1 9 /dev/null x'; exit 1"), gone);
        assert_eq!(look("echo 'no server running on /x' >&2; exit 1"), gone);
        assert_eq!(
            look("echo 'error connecting to /x (No such file)' >&2; exit 1"),
            gone
        );
        let line = "echo '%7 0 0 0 0 1 1 9 /dev/null x'; echo 'a riddle' >&2; exit 3";
        let reason = "it failed (exit status: 3): a riddle".to_owned();
        assert_eq!(look(line), Err(Refusal::Tmux(reason)));
    }

    #[test]
    fn one_that_hangs_is_ended_by_its_number() {
        let (folder, target) = target("echo $$ > \"$HERE/pid\"; exec sleep 1000");
        let reason = "it did not answer within 5 s".to_owned();
        assert_eq!(target.look(), Err(Refusal::Tmux(reason)));
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
