//! A client of the terminal for the tests of typing: it draws what Claude Code draws, takes keys as the
//! real clients take them, writes down every byte that it was given, and speaks to a real `telepost mcp`.
//!
//! `stub-tui FOLDER claude-new|claude-old|codex|other [PROGRAM ARGUMENT …]`; the program is its MCP server.
//! The test talks to it by the socket `stub.sock` in the folder, one line for each command, one line of
//! JSON for each answer; an answer comes when the screen shows what was asked. Its state file lies in
//! `$HOME/.claude`.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::string_slice,
    unused_crate_dependencies,
    reason = "a part of the tests: it fails by panicking"
)]

mod keys;
mod screen;
mod server;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use self::keys::{Detector, Key};
use self::server::{Server, Step};

/// The client that it imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Claude Code 2.1.329.
    ClaudeNew,
    /// Claude Code 2.1.197.
    ClaudeOld,
    /// Claude Code's screen with Codex's paste detector.
    Codex,
    /// Another program in the foreground, such as an editor.
    Other,
}

/// Its activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Idle,
    Busy,
    /// A permission dialog is open; Enter approves.
    Dialog,
}

impl Doing {
    fn status(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Dialog => "waiting",
        }
    }
}

/// When a dialog opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ambush {
    Before,
    Behind,
}

/// An event.
enum Event {
    Bytes(Vec<u8>),
    Command(String, UnixStream),
    Server(Value),
    /// The terminal is gone.
    Gone,
}

struct Stub {
    folder: PathBuf,
    look: Look,
    doing: Doing,
    draft: String,
    /// Whether a hint is shown in an empty input line.
    hint: bool,
    detector: Detector,
    server: Option<Server>,
    /// Enters that are taken for line feeds.
    swallow: u32,
    /// A dialog opens when a text comes: behind it, or before it, and then the text is lost.
    ambush: Option<Ambush>,
    bytes: Vec<u8>,
    submitted: Vec<String>,
    queued: Vec<String>,
    approved: u32,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let look = match arguments.next().unwrap().as_str() {
        "claude-new" => Look::ClaudeNew,
        "claude-old" => Look::ClaudeOld,
        "codex" => Look::Codex,
        "other" => Look::Other,
        unknown => panic!("no such client: {unknown}"),
    };
    let (sender, events) = channel();
    raw();
    let words: Vec<String> = arguments.collect();
    let server = (!words.is_empty()).then(|| Server::start(&words, &sender, Event::Server));
    let mut stub = Stub {
        folder,
        look,
        doing: Doing::Idle,
        draft: String::new(),
        hint: false,
        detector: Detector::new(look),
        server,
        swallow: 0,
        ambush: None,
        bytes: Vec::new(),
        submitted: Vec::new(),
        queued: Vec::new(),
        approved: 0,
    };
    stub.become_(Doing::Idle);
    listen(&stub.folder, &sender);
    read_keys(sender);
    stub.run(&events);
}

/// The terminal gives every key at once and shows none.
fn raw() {
    let status = Command::new("stty")
        .args(["raw", "-echo"])
        .stdin(Stdio::inherit())
        .status();
    assert!(status.unwrap().success());
    print!("\u{1b}[?2004h\u{1b}[?25l");
}

fn read_keys(sender: Sender<Event>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
            let event = Event::Bytes(bytes[..count].to_vec());
            if sender.send(event).is_err() {
                return;
            }
        }
        drop(sender.send(Event::Gone));
    });
}

fn listen(folder: &std::path::Path, sender: &Sender<Event>) {
    let path = folder.join("stub.sock");
    drop(fs::remove_file(&path));
    // Under another name until it listens.
    let new = folder.join("stub.sock.new");
    drop(fs::remove_file(&new));
    let listener = UnixListener::bind(&new).unwrap();
    fs::rename(&new, &path).unwrap();
    let sender = sender.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(stream);
            if reader.read_line(&mut line).is_ok() {
                let event = Event::Command(line.trim_end().to_owned(), reader.into_inner());
                drop(sender.send(event));
            }
        }
    });
}

impl Stub {
    fn run(&mut self, events: &Receiver<Event>) {
        while let Ok(event) = events.recv() {
            match event {
                Event::Bytes(bytes) => {
                    self.bytes.extend(&bytes);
                    for key in self.detector.take(&bytes, Instant::now()) {
                        self.key(key);
                    }
                    if self
                        .ambush
                        .take_if(|_| self.bytes.ends_with(b"~"))
                        .is_some()
                    {
                        self.become_(Doing::Dialog);
                    }
                }
                Event::Command(line, mut answer) => {
                    self.command(&line);
                    self.draw();
                    drop(writeln!(answer, "{}", self.report()));
                    if line == "suspend" {
                        self.suspend();
                    } else if line == "quit" {
                        leave_screen();
                        return;
                    }
                }
                Event::Server(line) => self.server_says(&line),
                Event::Gone => return,
            }
            self.draw();
        }
    }

    fn key(&mut self, key: Key) {
        match (self.doing, key) {
            // Text is lost, Enter is the first answer.
            (Doing::Dialog, Key::Enter) => {
                self.approved += 1;
                self.become_(Doing::Idle);
            }
            (Doing::Dialog, Key::Text(_) | Key::Clear | Key::Erase) => {}
            (Doing::Idle | Doing::Busy, Key::Text(text)) => {
                if self.ambush == Some(Ambush::Before) {
                    self.become_(Doing::Dialog);
                } else {
                    self.draft.push_str(&text);
                }
            }
            (Doing::Idle | Doing::Busy, Key::Clear) => self.draft.clear(),
            (Doing::Idle | Doing::Busy, Key::Erase) => drop(self.draft.pop()),
            (Doing::Idle | Doing::Busy, Key::Enter) if self.swallow > 0 => {
                self.swallow -= 1;
                self.draft.push('\n');
            }
            (Doing::Busy, Key::Enter) => self.queued.push(std::mem::take(&mut self.draft)),
            (Doing::Idle, Key::Enter) => {
                let text = std::mem::take(&mut self.draft).trim_end().to_owned();
                if text.is_empty() {
                    return;
                }
                self.submitted.push(text);
                self.become_(Doing::Busy);
                match &mut self.server {
                    Some(server) => server.begin(),
                    None => self.become_(Doing::Idle),
                }
            }
        }
    }

    fn command(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "report" | "suspend" | "quit" => {}
            "idle" => self.become_(Doing::Idle),
            "busy" => self.become_(Doing::Busy),
            "dialog" => self.become_(Doing::Dialog),
            "draft" => rest.clone_into(&mut self.draft),
            "hint" => self.hint = rest == "on",
            "swallow" => self.swallow = rest.parse().unwrap(),
            "ambush" if rest == "before" => self.ambush = Some(Ambush::Before),
            "ambush" => self.ambush = Some(Ambush::Behind),
            unknown => panic!("no such command: {unknown}"),
        }
    }

    fn server_says(&mut self, line: &Value) {
        let Some(server) = &mut self.server else {
            return;
        };
        match server.hear(line) {
            Step::Goes => {}
            Step::TurnEnds => self.become_(Doing::Idle),
        }
    }

    /// Says so in the file, as Claude Code does.
    fn become_(&mut self, doing: Doing) {
        self.doing = doing;
        if self.look == Look::Other {
            return;
        }
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        let folder = home.join(".claude/sessions");
        fs::create_dir_all(&folder).unwrap();
        let pid = std::process::id();
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let text = json!({
            "pid": pid,
            "procStart": start_of(pid),
            "status": doing.status(),
            "statusUpdatedAt": u64::try_from(millis).unwrap(),
        });
        let path = folder.join(format!("{pid}.json"));
        fs::write(path.with_extension("new"), text.to_string()).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn draw(&self) {
        let text = screen::draw(self.look, self.doing, &self.draft, self.hint);
        let mut out = std::io::stdout().lock();
        // A terminal that is gone ends this process by other means.
        drop(out.write_all(text.as_bytes()));
        drop(out.flush());
    }

    fn report(&self) -> Value {
        let bytes = String::from_utf8_lossy(&self.bytes).into_owned();
        json!({
            "pid": std::process::id(),
            "doing": self.doing.status(),
            "bytes": bytes,
            "submitted": self.submitted,
            "queued": self.queued,
            "approved": self.approved,
            "draft": self.draft,
        })
    }

    /// As Ctrl-Z does, until it receives `fg`.
    fn suspend(&self) {
        leave_screen();
        let me = std::process::id().to_string();
        drop(Command::new("kill").args(["-STOP", &me]).status());
        raw();
        self.draw();
    }
}

/// Leaves the terminal as a shell needs it.
fn leave_screen() {
    print!("\u{1b}[2J\u{1b}[H\u{1b}[?25h\u{1b}[?2004lleft\r\n");
    std::io::stdout().flush().unwrap();
    let mut sane = Command::new("stty");
    drop(sane.arg("sane").stdin(Stdio::inherit()).status());
}

/// As Claude Code writes it: ticks since boot where there is `/proc`.
fn start_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_ascii_whitespace().nth(19)?.to_owned())
}
