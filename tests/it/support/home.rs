//! A home for the tests of `install`: settings of both clients, a configuration and a project.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1";
pub(crate) const COMMAND: &str = ".claude/commands/telegram-reply.md";
pub(crate) const SKILL: &str = ".claude/skills/telegram/SKILL.md";

/// As Claude Code writes it: no line end at the end.
pub(crate) const SERVERS: &str = "{\n  \"numStartups\": 7,\n  \"mcpServers\": {\n    \"other\": {\"command\": \"x\"}\n  },\n  \"projects\": {}\n}";
/// As a person writes it: tabs, a list on one line, a number in a spelling that no program uses.
pub(crate) const SETTINGS: &str = "{\n\t\"model\" : \"opus\", \"n\": 1.50e1,\n\t\"permissions\": {\n\t\t\"allow\": [\"Bash(ls)\",  \"Read\"]\n\t}\n}\n\n";
pub(crate) const CODEX: &str =
    "# my settings\nmodel = \"x\" # good\n\n[mcp_servers.a]\ncommand = 'b'";

/// Every file, folder and link: its mode and content.
pub(crate) type Everything = BTreeMap<PathBuf, String>;

/// A home with a configuration and a project.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("telepost-it-")
            .tempdir()
            .unwrap();
        let home = Self(folder);
        home.put("shop/readme", "");
        home.put(".config/telepost/.env", &format!("TOKEN_ONE={TOKEN}\n"));
        home.set_mode(".config/telepost/.env", 0o600);
        home.configure(json!({}));
        home
    }

    /// With settings of both clients.
    pub(crate) fn new() -> Self {
        let home = Self::empty();
        home.put(".claude.json", SERVERS);
        home.put(".claude/settings.json", SETTINGS);
        home.put(".codex/config.toml", CODEX);
        home
    }

    /// Session `ONE`, and these.
    pub(crate) fn configure(&self, more: Value) {
        let mut config = json!({"sessions": {"ONE": {
            "bot_token_env": "TOKEN_ONE", "chat_ids": [11], "allowed_users": [11]}}, "default": "ONE"});
        let sessions = config["sessions"].as_object_mut().unwrap();
        sessions.extend(more.as_object().unwrap().clone());
        self.put(".config/telepost/sessions.json", &config.to_string());
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.get(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path().join(name)).is_ok()
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// telepost with these arguments, in the folder of the project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_telepost"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .current_dir(self.path().join("shop"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Removes the notes that a simulated loss of power keeps.
    pub(crate) fn forget_syncs(&self) {
        for path in self.everything().into_keys() {
            if path.ends_with(".synced") {
                fs::remove_file(self.path().join(path)).unwrap();
            }
        }
    }

    /// Everything below the home: folders, files with mode and content, links.
    pub(crate) fn everything(&self) -> Everything {
        let home = self.path();
        let (mut found, mut folders) = (BTreeMap::new(), vec![home.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let mode = metadata.permissions().mode();
                let name = path.strip_prefix(&home).unwrap().to_owned();
                let what = if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else if metadata.is_dir() {
                    folders.push(path);
                    format!("{mode:o}")
                } else {
                    let bytes = fs::read(&path).unwrap();
                    format!("{mode:o} {}", String::from_utf8_lossy(&bytes))
                };
                found.insert(name, what);
            }
        }
        found
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn succeeds(output: &Output) -> String {
    assert_eq!(
        (output.status.code(), err(output)),
        (Some(0), String::new()),
        "{}",
        out(output)
    );
    out(output)
}

#[track_caller]
pub(crate) fn fails(output: &Output, code: i32) -> String {
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        out(output),
        err(output)
    );
    err(output)
}

/// Runs the command on a terminal; after its question calls `meanwhile`, then types the answer.
pub(crate) fn answered(
    home: &Home,
    arguments: &[&str],
    meanwhile: impl FnOnce(),
    answer: &str,
) -> Output {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = fs::File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut ours = fs::File::from(ours);
    let mut child = home
        .command(arguments)
        .stdin(theirs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"[y/N] ") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("it asks");
        said.extend(byte);
    }
    meanwhile();
    ours.write_all(answer.as_bytes()).unwrap();
    stdout.read_to_end(&mut said).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stdout = said;
    output
}

pub(crate) fn server(home: &Home, session: &[&str]) -> Value {
    let config = home.path().join(".config/telepost/sessions.json");
    let mut args = vec![json!("mcp"), json!("--config"), json!(config)];
    args.extend(session.iter().map(|word| json!(word)));
    json!({"type": "stdio", "command": env!("CARGO_BIN_EXE_telepost"), "args": args})
}

pub(crate) fn project(home: &Home) -> String {
    home.path().join("shop").display().to_string()
}

pub(crate) const BOTH: [&str; 2] = ["claude", "codex"];
