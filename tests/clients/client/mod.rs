//! A real client with a HOME, a project folder and a model of its own, without login, on loopback.

mod claude;
mod codex;
mod sitting;

pub(crate) use sitting::{screen, type_in, wait_for_agent};

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::model::{Dialect, Model};
use crate::npm;
use crate::support::House;

/// How long a client may take, also on a machine that does much else.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_mins(1);

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The newest Claude Code that we know.
    Claude,
    /// An older one that is still in use.
    OlderClaude,
    Codex,
}

impl Kind {
    /// Its folder in `tests/clients/npm`.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Claude => "claude-code-2.1.332",
            Self::OlderClaude => "claude-code-2.1.197",
            Self::Codex => "codex-0.171.0",
        }
    }

    fn dialect(self) -> Dialect {
        match self {
            Self::Claude | Self::OlderClaude => Dialect::Messages,
            Self::Codex => Dialect::Responses,
        }
    }
}

/// An installed client. Processes that it leaves running end with it.
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) model: Model,
    home: PathBuf,
    project: PathBuf,
    path: String,
}

impl Client {
    /// A client that has never run, in folders of the house. It knows no MCP server yet.
    pub(crate) fn new(kind: Kind, house: &House) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let client = Self {
            kind,
            model: Model::start(kind.dialect()),
            home: house.path().join("home"),
            project: house.path().join("project"),
            path,
        };
        fs::create_dir_all(&client.home).unwrap();
        fs::create_dir_all(&client.project).unwrap();
        match kind {
            Kind::Claude | Kind::OlderClaude => claude::seed(&client),
            Kind::Codex => codex::seed(&client),
        }
        client
    }

    /// A client that has our server as README tells people to register it.
    pub(crate) fn registered(kind: Kind, house: &House) -> Self {
        let client = Self::new(kind, house);
        let added = client.register(house);
        assert!(added.status.success(), "{added:?}");
        client.allow(&["mcp__telegram__*"]);
        client
    }

    /// A client that has everything that `telepost install` writes.
    pub(crate) fn installed(kind: Kind, house: &House) -> Self {
        let client = Self::new(kind, house);
        let name = match kind {
            Kind::Claude | Kind::OlderClaude => "claude",
            Kind::Codex => "codex",
        };
        client.telepost(house, &["install", name, "--yes", "--session", "ONE"]);
        match kind {
            Kind::Claude | Kind::OlderClaude => {}
            Kind::Codex => codex::trust_hooks(&client),
        }
        client
    }

    /// A Claude Code with our plugin, from this checkout. It names no configuration: that is where it is by
    /// default.
    #[track_caller]
    pub(crate) fn with_plugin(kind: Kind, house: &House) -> Self {
        let mut client = Self::new(kind, house);
        client.with_on_path(Path::new(env!("CARGO_BIN_EXE_telepost")).parent().unwrap());
        let folder = client.home().join(".config/telepost");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(house.config_path(), folder.join("sessions.json")).unwrap();
        let top = env!("CARGO_MANIFEST_DIR");
        client.out(&["plugin", "marketplace", "add", top]);
        client.out(&["plugin", "install", "telepost@telepost"]);
        client
    }

    /// Our program as the person runs it, in the folder of the project.
    #[track_caller]
    pub(crate) fn telepost(&self, house: &House, arguments: &[&str]) {
        let mut command = house.command(arguments);
        let output = command
            .env("HOME", &self.home)
            .current_dir(self.project())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// `claude mcp add telegram -- …` or `codex mcp add telegram -- …`.
    pub(crate) fn register(&self, house: &House) -> Output {
        let config = house.config_path();
        self.run(&[
            "mcp",
            "add",
            "telegram",
            "--",
            env!("CARGO_BIN_EXE_telepost"),
            "mcp",
            "--config",
            config.to_str().unwrap(),
            "--session",
            "ONE",
        ])
    }

    /// Registers our server for all folders of the user. No session is named: each window finds its own.
    pub(crate) fn register_everywhere(&self, house: &House) {
        let config = house.config_path();
        self.out(&[
            "mcp",
            "add",
            "--scope",
            "user",
            "telegram",
            "--",
            env!("CARGO_BIN_EXE_telepost"),
            "mcp",
            "--config",
            config.to_str().unwrap(),
        ]);
    }

    /// Lets the client call these tools without a question.
    pub(crate) fn allow(&self, rules: &[&str]) {
        match self.kind {
            Kind::Claude | Kind::OlderClaude => claude::allow(self, rules),
            Kind::Codex => codex::allow(self),
        }
    }

    /// Changes the settings of the user; Claude Code only.
    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Value)) {
        claude::change_settings(self, change);
    }

    /// Lets the hooks of Codex run that are there, as the person does who is asked at the terminal.
    pub(crate) fn trust_hooks(&self) {
        codex::trust_hooks(self);
    }

    /// Finds programs in this folder first.
    pub(crate) fn with_on_path(&mut self, folder: &Path) {
        self.path = format!("{}:{}", folder.display(), self.path);
    }

    /// The file with the hooks.
    pub(crate) fn hooks_file(&self) -> PathBuf {
        self.home.join(match self.kind {
            Kind::Claude | Kind::OlderClaude => ".claude/settings.json",
            Kind::Codex => ".codex/hooks.json",
        })
    }

    /// The person agrees to the hooks as they are now, where the client asks.
    pub(crate) fn trust_hooks_again(&self) {
        match self.kind {
            Kind::Claude | Kind::OlderClaude => {}
            Kind::Codex => codex::trust_hooks(self),
        }
    }

    /// Everything that the client has written down of its sessions.
    pub(crate) fn records(&self) -> String {
        let folders = [".claude/projects", ".codex/sessions"];
        let files = folders
            .iter()
            .flat_map(|folder| files(&self.home.join(folder)));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        texts.collect()
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn project(&self) -> &Path {
        &self.project
    }

    /// The program with nothing in its environment but what it needs here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(npm::program(self.kind.package()));
        command
            .args(arguments)
            .current_dir(&self.project)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .env("TERM", "dumb")
            .env("LANG", "C.UTF-8");
        match self.kind {
            Kind::Claude | Kind::OlderClaude => claude::environment(self, &mut command),
            Kind::Codex => codex::environment(&mut command),
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; its output.
    #[track_caller]
    pub(crate) fn out(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}\n{errors}");
        text
    }

    /// A session in which the person has said this. Codex works one turn and ends (`codex exec`).
    pub(crate) fn start(&self, prompt: &str) -> Session {
        match self.kind {
            Kind::Claude | Kind::OlderClaude => claude::start(self, None, prompt),
            Kind::Codex => codex::start(self, None, prompt),
        }
    }

    /// The same session again, after its client has gone.
    pub(crate) fn resume(&self, session: &str, prompt: &str) -> Session {
        match self.kind {
            Kind::Claude | Kind::OlderClaude => claude::start(self, Some(session), prompt),
            Kind::Codex => codex::start(self, Some(session), prompt),
        }
    }

    /// A session that stays for many turns, as at the terminal.
    pub(crate) fn converse(&self, prompt: &str) -> Session {
        match self.kind {
            Kind::Claude | Kind::OlderClaude => claude::start(self, None, prompt),
            Kind::Codex => codex::converse(self, prompt),
        }
    }

    /// Waits until the client has written down what is said here of the session. Both do so a moment later,
    /// and what is not there yet when they are killed cannot be resumed.
    #[track_caller]
    pub(crate) fn wait_until_stored(&self, session: &str, what: &str) {
        let folder = match self.kind {
            Kind::Claude | Kind::OlderClaude => ".claude/projects",
            Kind::Codex => ".codex/sessions",
        };
        wait_for_client("the client to store its session", || {
            let files = files(&self.home.join(folder));
            let is_stored = files.iter().any(|file| {
                let is_of_it = file.to_string_lossy().contains(session);
                is_of_it && fs::read_to_string(file).is_ok_and(|text| text.contains(what))
            });
            if is_stored { Ok(()) } else { Err(files) }
        });
    }

    /// The `telepost mcp` processes of this client that live, by pid.
    #[cfg(target_os = "linux")]
    pub(crate) fn servers(&self) -> Vec<u32> {
        let mut processes = self.processes();
        processes.retain(|(_, arguments)| {
            let program = arguments.first().map(Path::new).and_then(Path::file_name);
            program == Some("telepost".as_ref()) && arguments.iter().any(|word| word == "mcp")
        });
        processes.into_iter().map(|(pid, _)| pid).collect()
    }

    /// Every living process of ours that this client has started, with its parent.
    #[cfg(target_os = "linux")]
    pub(crate) fn ours(&self) -> Vec<(u32, u32)> {
        let mut processes = self.processes();
        processes.retain(|(_, arguments)| {
            let program = arguments.first().map(Path::new).and_then(Path::file_name);
            program == Some("telepost".as_ref())
        });
        let parent = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, fields) = stat.rsplit_once(") ")?;
            fields.split(' ').nth(1)?.parse().ok()
        };
        processes
            .into_iter()
            .filter_map(|(pid, _)| Some((pid, parent(pid)?)))
            .collect()
    }

    /// The daemon in which the threads of Codex live, if it runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn daemon(&self) -> Option<u32> {
        let is_daemon = |words: &[String]| {
            words.get(1).is_some_and(|word| word == "app-server")
                && words.iter().any(|word| word == "--listen")
        };
        let mut processes = self.processes().into_iter();
        processes
            .find(|(_, arguments)| is_daemon(arguments))
            .map(|(pid, _)| pid)
    }

    /// Every living process whose HOME is that of this client: its pid and arguments.
    #[cfg(target_os = "linux")]
    pub(crate) fn processes(&self) -> Vec<(u32, Vec<String>)> {
        let home = format!("HOME={}", self.home.display());
        // A process that is gone, or belongs to another user, has no words.
        let words = |file: PathBuf| -> Vec<String> {
            let bytes = fs::read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split('\0').map(str::to_owned).collect()
        };
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            if words(entry.path().join("environ")).contains(&home) {
                found.push((pid, words(entry.path().join("cmdline"))));
            }
        }
        found
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        for (pid, _) in self.processes() {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
    }
}

/// As [`support::wait_for`](crate::support::wait_for), for what a client of some hundred megabytes does.
#[track_caller]
pub(crate) fn wait_for_client<T, S: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + CLIENT_PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(status) if Instant::now() >= deadline => {
                panic!("waited in vain for {what}; last seen: {status:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// How a running client is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Talk {
    /// Claude Code: lines of its own.
    Claude,
    /// `codex exec`: not at all.
    Exec,
    /// `codex app-server`, which the terminal interface of Codex uses too: JSON-RPC, about a thread.
    AppServer { thread: String, turn: String },
}

/// A running client: what it prints, line by line, and what can be done to it.
pub(crate) struct Session {
    talk: Talk,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    said: Vec<Value>,
    log: PathBuf,
}

impl Session {
    fn spawn(talk: Talk, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("client-{:08x}.log", fastrand::u32(..)));
        let stdin = if talk == Talk::Exec {
            Stdio::null()
        } else {
            Stdio::piped()
        };
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        Self {
            talk,
            stdin: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
            said: Vec::new(),
            log,
        }
    }

    fn send(&mut self, line: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line that the client prints.
    #[track_caller]
    fn line(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(found) = self.seen.iter().find(|line| wanted(line)) {
            return found.clone();
        }
        let deadline = Instant::now() + CLIENT_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    self.said.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(error) => {
                    let ended = error == RecvTimeoutError::Disconnected;
                    panic!("no {what} (ended: {ended})")
                }
            }
        }
    }

    /// Everything that the client has printed.
    pub(crate) fn everything(&mut self) -> String {
        self.said.extend(self.lines.try_iter());
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{:?}{log}", self.said)
    }

    /// The id by which the session is resumed.
    #[track_caller]
    pub(crate) fn id(&mut self) -> String {
        let key = match &self.talk {
            Talk::Claude => "session_id",
            Talk::Exec => "thread_id",
            Talk::AppServer { thread, .. } => return thread.clone(),
        };
        let line = self.line("session id", |line| line[key].is_string());
        line[key].as_str().unwrap().to_owned()
    }

    /// Waits until the turn is over, however it ended.
    #[track_caller]
    pub(crate) fn turn_ends(&mut self) {
        let (key, end) = match self.talk {
            Talk::Claude => ("type", "result"),
            Talk::Exec => ("type", "turn.completed"),
            Talk::AppServer { .. } => ("method", "turn/completed"),
        };
        self.line("end of the turn", |line| line[key] == end);
        self.seen.clear();
    }

    /// The person says something more; only after [`converse`](Client::converse).
    pub(crate) fn say(&mut self, prompt: &str) {
        match self.talk.clone() {
            Talk::Claude => self.send(&claude::user(prompt)),
            Talk::Exec => panic!("nobody speaks to `codex exec`"),
            Talk::AppServer { thread, .. } => codex::turn(self, thread, prompt),
        }
    }

    /// The person stops the turn, as Esc does at the terminal; the session stays.
    pub(crate) fn interrupt(&mut self) {
        let request = match &self.talk {
            Talk::Claude => claude::interrupt(),
            Talk::Exec => panic!("nobody speaks to `codex exec`"),
            Talk::AppServer { thread, turn } => codex::interrupt(thread, turn),
        };
        self.send(&request);
    }

    /// `kill -9` of the client, and of nothing else.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The client ends as it does when the person leaves it.
    #[track_caller]
    pub(crate) fn close(mut self) {
        drop(self.stdin.take());
        wait_for_client("the client to end", || {
            self.child.try_wait().unwrap().ok_or("runs")
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.seen.extend(self.lines.try_iter());
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            println!("the client said: {:#?}\n{log}", self.seen);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
