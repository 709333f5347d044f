//! Whether an agent is in a tmux session: looked at, never touched.
//!
//! A session that has no server, or that the server does not know, is gone. An agent is in it while one of
//! its living panes has a client's process on its terminal, suspended ones included. Where tmux cannot be
//! run, does not answer or says something else, nobody knows.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::down::{Absence, Presence};
use crate::config::Env;

/// How long tmux may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it has ended.
const STEP: Duration = Duration::from_millis(5);
/// Most of what it says that is read.
const WORDS_MAX: u64 = 64 * 1024;
/// Where tmux is installed by those who do not put it on every PATH.
const FOLDERS: &str = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin";
/// What tmux needs of the environment. The rest stays here: the tokens are in it.
const VARIABLES: [&str; 4] = ["HOME", "LANG", "LC_ALL", "TMUX_TMPDIR"];

/// The program `tmux` and its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Tmux {
    variables: Vec<(&'static str, String)>,
}

impl Tmux {
    /// As this environment has it.
    pub fn of(env: &Env) -> Self {
        let path = env
            .get("PATH")
            .map_or_else(|| FOLDERS.to_owned(), |path| format!("{path}:{FOLDERS}"));
        let kept = VARIABLES
            .into_iter()
            .filter_map(|name| Some((name, env.get(name)?.to_owned())));
        Self {
            variables: kept.chain([("PATH", path)]).collect(),
        }
    }

    /// Whether an agent is in the session of that name.
    pub fn look(&self, session: &str) -> Presence {
        match self.panes(session) {
            Ok(Panes::Gone) => Presence::Gone(Absence::NoSession),
            Ok(Panes::Terminals(terminals)) => match has_client(&terminals) {
                Ok(true) => Presence::Here,
                Ok(false) => Presence::Gone(Absence::NoAgent),
                Err(error) => {
                    tracing::debug!(%error, "cannot see who is in a tmux session");
                    Presence::Unknown
                }
            },
            Err(error) => {
                tracing::debug!(%error, "tmux cannot be asked");
                Presence::Unknown
            }
        }
    }

    fn panes(&self, session: &str) -> io::Result<Panes> {
        let target = format!("={session}:");
        let mut command = Command::new("tmux");
        command
            .args(["list-panes", "-s", "-t", &target])
            .args(["-F", "#{pane_dead} #{pane_tty}"])
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let ended = wait(&mut child);
        if ended.is_err() {
            // It may have ended this moment.
            drop(child.kill());
            drop(child.wait());
        }
        let success = ended?;
        let (out, errors) = (words(child.stdout.take())?, words(child.stderr.take())?);
        if success {
            return Ok(Panes::Terminals(living(&out)));
        }
        if is_gone(&errors) {
            return Ok(Panes::Gone);
        }
        let reason = errors.lines().next().unwrap_or_default().to_owned();
        Err(io::Error::other(reason))
    }
}

enum Panes {
    Gone,
    /// Of the panes that are not dead.
    Terminals(Vec<String>),
}

fn wait(child: &mut Child) -> io::Result<bool> {
    let mut waited = Duration::ZERO;
    while waited < WITHIN {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(STEP);
        waited += STEP;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A list of panes is far shorter than a pipe is deep, so it is read when tmux has ended.
fn words(pipe: Option<impl io::Read>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(WORDS_MAX).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn living(list: &str) -> Vec<String> {
    let panes = list.lines().filter_map(|line| line.split_once(' '));
    panes
        .filter(|(dead, _)| *dead == "0")
        .map(|(_, terminal)| terminal.to_owned())
        .collect()
}

/// What tmux says when there is no server, or when it does not know the session.
fn is_gone(errors: &str) -> bool {
    let no_server = errors.starts_with("no server running on ");
    let no_socket =
        errors.starts_with("error connecting to ") && errors.contains("No such file or directory");
    let no_session = errors.starts_with("can't find session");
    no_server || no_socket || no_session
}

/// Whether a process is one of a client: by the name that it was started by, by its program, or, where an
/// interpreter runs it, by its script.
fn is_client(names: &[&str]) -> bool {
    names.iter().take(3).any(|name| {
        let path = Path::new(name);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        ["claude", "codex"].iter().any(|client| {
            file.starts_with(client) || (path.is_absolute() && name.contains(&format!("/{client}")))
        })
    })
}

#[cfg(target_os = "linux")]
fn has_client(terminals: &[String]) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let mut devices = Vec::new();
    for terminal in terminals {
        match std::fs::metadata(terminal) {
            Ok(found) => devices.push(found.rdev()),
            // The pane has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        // Processes end while they are looked at.
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else {
            continue;
        };
        let Some((comm, device)) = name_and_terminal(&stat) else {
            continue;
        };
        if !devices.contains(&device) {
            continue;
        }
        let program = std::fs::read_link(folder.join("exe")).unwrap_or_default();
        let arguments = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        let program = program.to_string_lossy();
        let mut names = vec![comm, program.as_ref()];
        names.extend(arguments.split('\0').take(1));
        if is_client(&names)
            || arguments
                .split('\0')
                .nth(1)
                .is_some_and(|script| is_client(&[script]))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// From `/proc/<pid>/stat`: the name, and the device number of the terminal.
#[cfg(target_os = "linux")]
fn name_and_terminal(stat: &str) -> Option<(&str, u64)> {
    let (before, fields) = stat.rsplit_once(") ")?;
    let (_, name) = before.split_once(" (")?;
    let mut fields = fields.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    // The seventh field of the line, as a signed number of 32 bits (proc(5)).
    let device: i32 = fields.nth(3)?.parse().ok()?;
    (device != 0).then(|| (name, u64::from(device.cast_unsigned())))
}

#[cfg(not(target_os = "linux"))]
fn has_client(terminals: &[String]) -> io::Result<bool> {
    for terminal in terminals {
        let name = terminal.trim_start_matches("/dev/");
        let output = Command::new("ps")
            .args(["-t", name, "-o", "comm=,args="])
            .stdin(Stdio::null())
            .output()?;
        let list = String::from_utf8_lossy(&output.stdout);
        let found = list.lines().any(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().take(3).collect();
            is_client(&words)
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tmux_says_of_a_missing_session_counts_as_gone() {
        for gone in [
            "no server running on /tmp/tmux-0/default",
            "error connecting to /tmp/tmux-0/default (No such file or directory)",
            "can't find session: shop",
        ] {
            assert!(is_gone(gone), "{gone}");
        }
        for unknown in [
            "",
            "error connecting to /tmp/tmux-0/default (Permission denied)",
            "server exited unexpectedly",
            "/tmp/tmux-0 has unsafe permissions",
        ] {
            assert!(!is_gone(unknown), "{unknown}");
        }
    }

    #[test]
    fn dead_panes_have_nobody() {
        assert_eq!(living("1 /dev/pts/3\n0 /dev/pts/4\n"), ["/dev/pts/4"]);
    }

    #[test]
    fn a_client_is_known_by_its_name_its_program_or_its_script() {
        for client in [
            &["claude"][..],
            &["codex"],
            &[
                "MainThread",
                "/home/mia/.local/share/claude/versions/2.1.329",
            ],
            &[
                "node",
                "/usr/bin/node",
                "/usr/lib/node_modules/@openai/codex/bin/codex.js",
            ],
            &["codex-x86_64-un", "/opt/codex-x86_64-unknown-linux-musl"],
        ] {
            assert!(is_client(client), "{client:?}");
        }
        for other in [
            &["bash", "/usr/bin/bash", "-bash"][..],
            &["vim", "/usr/bin/vim", "vim"],
            &["node", "/usr/bin/node", "server.js"],
            &["less", "/usr/bin/less", "less"],
        ] {
            assert!(!is_client(other), "{other:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_terminal_of_a_process_is_read_whatever_its_name_is() {
        let stat = "21400 (a (b) c) S 21399 21400 21400 34818 21400 4194304";
        assert_eq!(name_and_terminal(stat), Some(("a (b) c", 34818)));
        assert_eq!(name_and_terminal("7 (x) S 1 7 7 0 -1 0"), None);
        assert_eq!(name_and_terminal("7 (x) Z 1 7 7 34818 -1 0"), None);
    }

    #[test]
    fn tmux_gets_nothing_of_the_environment_that_it_does_not_need() {
        let env = Env::from_pairs([
            ("BOT_TOKEN_01", "7:secret"),
            ("TMUX_TMPDIR", "/x"),
            ("PATH", "/p"),
        ]);
        let tmux = Tmux::of(&env);
        let path = format!("/p:{FOLDERS}");
        assert_eq!(
            tmux.variables,
            [("TMUX_TMPDIR", "/x".to_owned()), ("PATH", path)]
        );
    }
}
