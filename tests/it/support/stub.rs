//! A tmux server of the house's own, and in its one pane a shell from which the stub of a client is started.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{House, Terminal, wait_for};

/// A shell with the plainest prompt.
const SHELL: [&str; 5] = ["env", "PS1=$ ", "ENV=", "sh", "-i"];
/// The tmux session.
pub(crate) const SESSION: &str = "shop";

/// A shell in a tmux server of the house's own.
pub(crate) struct Shell {
    server: Terminal,
}

impl Shell {
    /// It has nothing to do. The house's gateway finds this server as its default one.
    pub(crate) fn start(house: &mut House) -> Self {
        let shell = Self {
            server: Terminal::new(house),
        };
        shell.new_session(SESSION);
        shell
    }

    /// One more session with a shell.
    pub(crate) fn new_session(&self, name: &str) {
        let words = ["new-session", "-d", "-s", name, "-x", "100", "-y", "30"];
        self.run(&[&words[..], &SHELL].concat());
        self.run(&["set-option", "-g", "remain-on-exit", "on"]);
    }

    /// Runs a command of tmux; what it prints.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        self.server.run(words)
    }

    /// tmux's description of the pane.
    pub(crate) fn tells(&self, format: &str) -> String {
        let words = ["display-message", "-p", "-t", SESSION, format];
        self.run(&words).trim().to_owned()
    }

    /// A new shell in the pane, whatever was in it.
    pub(crate) fn respawn(&self) {
        let words = ["respawn-pane", "-k", "-t", SESSION];
        self.run(&[&words[..], &SHELL].concat());
        self.wait_for_prompt();
    }

    /// Waits until the shell waits for a command; the screen then.
    #[track_caller]
    pub(crate) fn wait_for_prompt(&self) -> String {
        wait_for("the shell's prompt", || {
            let screen = self.screen();
            match screen.trim_end().lines().last() {
                Some("$") => Ok(screen),
                Some(_) | None => Err(screen),
            }
        })
    }

    /// The screen of the pane.
    pub(crate) fn screen(&self) -> String {
        self.run(&["capture-pane", "-p", "-t", SESSION])
    }

    /// Keys of the person at the terminal.
    pub(crate) fn keys(&self, text: &str) {
        self.run(&["send-keys", "-t", SESSION, "-l", text]);
        self.run(&["send-keys", "-t", SESSION, "Enter"]);
    }

    /// Types a command that starts the stub, and waits until that listens.
    #[track_caller]
    pub(crate) fn start_stub(
        &self,
        house: &House,
        session: &str,
        look: &str,
        mcp: &[&str],
    ) -> Stub {
        let folder = house.path().join(format!("stub-{:08x}", fastrand::u32(..)));
        std::fs::create_dir(&folder).unwrap();
        let config = house.config_path();
        let mut words = vec![
            env!("CARGO_BIN_EXE_stub-tui"),
            folder.to_str().unwrap(),
            look,
        ];
        if !mcp.is_empty() {
            words.extend([env!("CARGO_BIN_EXE_telepost"), "mcp", "--config"]);
            words.push(config.to_str().unwrap());
            words.extend(mcp);
        }
        let command = words.join(" ");
        self.run(&["send-keys", "-t", session, "-l", &command]);
        self.run(&["send-keys", "-t", session, "Enter"]);
        let stub = Stub {
            socket: folder.join("stub.sock"),
        };
        wait_for("the stub", || {
            if stub.socket.exists() {
                Ok(())
            } else {
                Err(self.run(&["capture-pane", "-p", "-t", session]))
            }
        });
        stub.say("report");
        stub
    }
}

/// The stub of a client (`tests/stub`).
pub(crate) struct Stub {
    socket: PathBuf,
}

impl Stub {
    /// Tells it something; how it is then. The answer comes when the screen shows it.
    #[track_caller]
    pub(crate) fn say(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// Its input so far.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        self.say("report")
    }

    /// Waits until its turn is over.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self) {
        wait_for("the end of the turn", || {
            let report = self.report();
            if report["doing"] == "idle" {
                Ok(())
            } else {
                Err(report)
            }
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.report()["pid"].as_u64().unwrap()).unwrap()
    }

    /// No key was pressed since it started.
    #[track_caller]
    pub(crate) fn has_no_keys(&self) {
        let report = self.report();
        assert_eq!(report["bytes"], json!(""), "{report}");
    }

    /// The command was pasted and sent so many times, and nothing else was pressed.
    #[track_caller]
    pub(crate) fn was_woken(&self, times: usize, command: &str) {
        let report = self.report();
        let paste = format!("\u{1b}[200~{command}\u{1b}[201~\r");
        assert_eq!(report["bytes"], json!(paste.repeat(times)), "{report}");
        assert_eq!(report["submitted"], json!(vec![command; times]), "{report}");
        assert_eq!(report["queued"], json!([]), "{report}");
        assert_eq!(report["approved"], json!(0), "{report}");
    }
}
