//! A tmux server of a house's own, where the gateway of that house looks for tmux sessions.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::House;

/// The server starts with the first session and ends with the test.
pub(crate) struct Terminal {
    socket: PathBuf,
    home: PathBuf,
}

impl Terminal {
    /// A house whose session `ONE` is configured to run in the tmux session `shop` of a server of its own.
    pub(crate) fn with_house() -> (House, Self) {
        let mut house = House::empty();
        house.add_session("ONE", serde_json::json!({"tmux_session": "shop"}));
        house.write_config();
        let terminal = Self::new(&mut house);
        (house, terminal)
    }

    /// No session yet. Every process of the house finds it from now on.
    pub(crate) fn new(house: &mut House) -> Self {
        let tmux = house.path().join("tmux");
        let user = rustix::process::getuid().as_raw();
        let folder = tmux.join(format!("tmux-{user}"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .unwrap();
        let tmux = tmux.to_str().unwrap().to_owned();
        house.env.push(("TMUX_TMPDIR".to_owned(), tmux));
        Self {
            socket: folder.join("default"),
            home: house.path().to_owned(),
        }
    }

    fn tmux(&self, arguments: &[&OsStr]) -> Output {
        Command::new("tmux")
            .args(["-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .output()
            .expect("these tests need tmux")
    }

    /// A command that must succeed; what it prints.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let output = self.tmux(&arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A session with one window of fixed size, in which this runs, with its own environment and no more.
    #[track_caller]
    pub(crate) fn session(&self, name: &str, command: &Command) {
        self.begin(
            &["new-session", "-d", "-x", "140", "-y", "45", "-s", name],
            command,
        );
    }

    /// One more window in a session.
    #[track_caller]
    pub(crate) fn window(&self, session: &str, command: &Command) {
        self.begin(
            &["new-window", "-d", "-t", &format!("={session}:")],
            command,
        );
    }

    #[track_caller]
    fn begin(&self, how: &[&str], command: &Command) {
        let mut arguments: Vec<&OsStr> = how.iter().map(OsStr::new).collect();
        if let Some(folder) = command.get_current_dir() {
            arguments.extend([OsStr::new("-c"), folder.as_os_str()]);
        }
        // tmux says what kind of terminal it is.
        let set = command.get_envs().filter(|(name, _)| *name != "TERM");
        let set = set.filter_map(|(name, value)| {
            let mut pair = name.to_owned();
            pair.push("=");
            pair.push(value?);
            Some(pair)
        });
        let set: Vec<_> = set.collect();
        arguments.extend(["--", "env"].map(OsStr::new));
        arguments.extend(set.iter().map(std::ffi::OsString::as_os_str));
        arguments.push(command.get_program());
        arguments.extend(command.get_args());
        let output = self.tmux(&arguments);
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
    }
}

impl Terminal {
    /// Ends its sessions and the server. The next session starts another, and must not meet this one on its way out.
    pub(crate) fn close(&self) {
        let server = self.tmux(&["display-message", "-p", "#{pid}"].map(OsStr::new));
        let pid = String::from_utf8_lossy(&server.stdout).trim().to_owned();
        self.tmux(&["kill-server"].map(OsStr::new));
        // Of a process that has ended, and of one whose parent has not waited for it yet, the command line is empty.
        let command = format!("/proc/{pid}/cmdline");
        for _ in 0..1000 {
            if fs::read(&command).unwrap_or_default().is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let sessions = self.tmux(&["list-sessions", "-F", "#{session_name}"].map(OsStr::new));
            for session in String::from_utf8_lossy(&sessions.stdout).lines() {
                let target = format!("={session}:");
                let shown = self.tmux(&["capture-pane", "-p", "-t", &target].map(OsStr::new));
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                println!("{session} shows:\n{}", shown.trim_end());
            }
        }
        self.close();
    }
}
