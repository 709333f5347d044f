//! A client at the terminal, as a person starts it: in a window of tmux, or on a terminal without it.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{Client, Kind, wait_for_client};
use crate::model::Model;
use crate::support::{House, Terminal};

impl Client {
    /// Starts the client in a tmux session of that name, where the person says this first.
    #[track_caller]
    pub(crate) fn sit_in(&self, terminal: &Terminal, session: &str, prompt: Option<&str>) {
        self.sit_in_mode(terminal, session, "default", prompt);
    }

    /// The same in a permission mode of Claude Code.
    #[track_caller]
    pub(crate) fn sit_in_mode(
        &self,
        terminal: &Terminal,
        session: &str,
        mode: &str,
        prompt: Option<&str>,
    ) {
        terminal.session(session, &self.interactive(mode, prompt));
    }

    /// Starts the client on a terminal of its own, without tmux.
    pub(crate) fn sit(&self) -> Sitting {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let open = || {
            let mut options = fs::File::options();
            options.read(true).write(true);
            options.open(name.to_str().unwrap()).unwrap()
        };
        let child = self
            .interactive("default", None)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .unwrap();
        // A terminal must be attached, or it stands still. Ends when the terminal is closed.
        let mut screen = fs::File::from(ours);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while screen.read(&mut bytes).is_ok_and(|count| count > 0) {}
        });
        Sitting { child }
    }

    /// One more window of the same user, with a project folder and a model of its own.
    pub(crate) fn beside(&self, project: &str) -> Self {
        let beside = Self {
            kind: self.kind,
            model: Model::start(self.kind.dialect()),
            home: self.home.clone(),
            project: self.project.with_file_name(project),
            path: self.path.clone(),
        };
        fs::create_dir_all(&beside.project).unwrap();
        beside.trust_project();
        beside
    }

    /// The question of the first start in a project.
    fn trust_project(&self) {
        let project = self.project.to_str().unwrap();
        match self.kind {
            Kind::Claude | Kind::OlderClaude => {
                let file = self.home.join(".claude.json");
                let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
                state["projects"][project] = json!({"hasTrustDialogAccepted": true});
                fs::write(file, state.to_string()).unwrap();
            }
            Kind::Codex => {
                let file = self.home.join(".codex/config.toml");
                let text = fs::read_to_string(&file).unwrap();
                let table = format!("[projects.{project:?}]\n");
                if !text.contains(&table) {
                    let trusted = format!("\n{table}trust_level = \"trusted\"\n");
                    fs::write(file, text + &trusted).unwrap();
                }
            }
        }
    }

    fn interactive(&self, mode: &str, prompt: Option<&str>) -> Command {
        let mut command = match self.kind {
            Kind::Claude | Kind::OlderClaude => self.command(&["--permission-mode", mode]),
            Kind::Codex => {
                self.trust_project();
                self.command(&[])
            }
        };
        command.args(prompt);
        command
    }
}

/// A client on a terminal without tmux.
pub(crate) struct Sitting {
    child: Child,
}

impl Drop for Sitting {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until the session's one agent is seen doing this.
#[track_caller]
pub(crate) fn wait_for_agent(house: &House, states: &[&str]) {
    wait_for_client("an agent that can be woken", || {
        let waking = house.status()["sessions"][0]["waking"].clone();
        let agents = waking["agents"].as_array().cloned().unwrap_or_default();
        match agents.as_slice() {
            [agent] if states.iter().any(|state| agent["state"] == json!(state)) => Ok(()),
            _ => Err(waking),
        }
    });
}

/// The person types this at the terminal, and Enter when it stands there.
#[track_caller]
pub(crate) fn type_in(terminal: &Terminal, session: &str, text: &str) {
    let target = format!("={session}:");
    terminal.run(&["send-keys", "-t", &target, "-l", text]);
    wait_for_client("the text at the terminal", || {
        let shown = screen(terminal, session);
        if shown.contains(text) {
            Ok(())
        } else {
            Err(shown)
        }
    });
    terminal.run(&["send-keys", "-t", &target, "Enter"]);
}

/// The screen of a tmux session's window.
pub(crate) fn screen(terminal: &Terminal, session: &str) -> String {
    terminal.run(&["capture-pane", "-p", "-t", &format!("={session}:")])
}
