//! Processes, identified by pid *and* start time: the system gives a pid to another process later.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started: letters and digits that are equal only for the same process.
    pub start: String,
}

impl ProcessId {
    /// A running process; `None` if there is none of that number.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: read_start(pid)?,
        })
    }

    /// The process that started this one.
    pub fn parent() -> Self {
        let pid =
            rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
        Self::of_running(pid)
    }

    /// This process.
    pub fn me() -> Self {
        Self::of_running(std::process::id())
    }

    fn of_running(pid: u32) -> Self {
        Self::of(pid).unwrap_or(Self {
            pid,
            start: "unknown".to_owned(),
        })
    }

    /// The number of its parent; `None` if that cannot be seen.
    pub fn started_by(&self) -> Option<u32> {
        read_parent(self.pid)
    }

    /// Whether it is a shell, which runs commands of another process.
    pub fn is_shell(&self) -> bool {
        self.program().as_deref().is_some_and(is_shell)
    }

    /// Its program; `None` if that cannot be seen.
    #[cfg(target_os = "linux")]
    pub fn program(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }

    /// Its program; `None` if that cannot be seen.
    #[cfg(not(target_os = "linux"))]
    pub fn program(&self) -> Option<PathBuf> {
        let path = PathBuf::from(run_ps("comm=", self.pid)?.trim());
        path.is_absolute().then_some(path)
    }

    /// One variable of the environment that it was started with; `None` if that cannot be seen.
    pub fn variable(&self, name: &str) -> Option<String> {
        let bytes = std::fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(one, value)| *one == name && !value.is_empty())?;
        Some(value.to_owned())
    }

    /// Whether it started at that time, as Claude Code writes it (on Linux the ticks since boot; on other
    /// systems the form is not known, and every time is accepted).
    pub fn began_at(&self, start: &str) -> bool {
        let ticks = self.start.split_once('b').map_or("", |(ticks, _)| ticks);
        !cfg!(target_os = "linux") || ticks == start
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        read_start(self.pid).is_some_and(|start| start == self.start)
    }

    /// Whether keys typed at this terminal reach it now: it runs, is not stopped, and is in the terminal's
    /// foreground.
    pub fn is_in_front(&self, tty: &Path) -> bool {
        let on = find_on_terminal(self.pid, tty);
        on.is_some_and(|on| on.group == on.foreground && !on.stopped) && self.is_running()
    }

    /// The processes in the foreground of the terminal that this one has.
    pub fn in_front(&self, tty: &Path) -> Vec<Self> {
        let Some(foreground) = find_on_terminal(self.pid, tty).map(|on| on.foreground) else {
            return Vec::new();
        };
        let is_of_it = |pid: &u32| {
            find_on_terminal(*pid, tty).is_some_and(|on| on.group == foreground && !on.stopped)
        };
        let pids = list_all().into_iter().filter(is_of_it);
        pids.filter_map(Self::of).collect()
    }
}

struct OnTerminal {
    group: i64,
    /// The terminal's foreground group.
    foreground: i64,
    stopped: bool,
}

/// The place of a process on this terminal; `None` if it has another terminal.
#[cfg(target_os = "linux")]
fn find_on_terminal(pid: u32, tty: &Path) -> Option<OnTerminal> {
    use std::os::unix::fs::MetadataExt as _;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    // State, parent, group, session, terminal, the terminal's foreground group.
    let fields: Vec<&str> = fields.split_ascii_whitespace().take(6).collect();
    let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
    // The kernel writes the device as a signed number of 32 bits.
    let device = u64::from(i32::try_from(number(4)?).ok()?.cast_unsigned());
    if std::fs::metadata(tty).ok()?.rdev() != device {
        return None;
    }
    Some(OnTerminal {
        group: number(2)?,
        foreground: number(5)?,
        stopped: matches!(*fields.first()?, "T" | "t"),
    })
}

/// The same from `ps`, where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
fn find_on_terminal(pid: u32, tty: &Path) -> Option<OnTerminal> {
    let line = run_ps("tty=,pgid=,tpgid=,stat=", pid)?;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, group, foreground, state] = fields.as_slice() else {
        return None;
    };
    if Path::new("/dev").join(name) != tty {
        return None;
    }
    Some(OnTerminal {
        group: group.parse().ok()?,
        foreground: foreground.parse().ok()?,
        stopped: state.starts_with('T'),
    })
}

#[cfg(target_os = "linux")]
fn list_all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn list_all() -> Vec<u32> {
    let output = std::process::Command::new("ps")
        .args(["-A", "-o", "pid="])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Clock ticks since boot from `/proc`, and the boot, because each boot counts from zero.
#[cfg(target_os = "linux")]
fn read_start(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may itself contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    // The third field of the line is the first after the name; the start time is the 22nd. A zombie
    // has ended.
    let mut fields = fields.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    let ticks = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    Some(format!("{ticks}b{boot}"))
}

/// The parent from `/proc`: the second field after the name.
#[cfg(target_os = "linux")]
fn read_parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The same from `ps`, where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
fn read_parent(pid: u32) -> Option<u32> {
    run_ps("ppid=", pid)?.trim().parse().ok()
}

/// Columns of `ps` for a process, where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
fn run_ps(columns: &str, pid: u32) -> Option<String> {
    let mut ps = std::process::Command::new("ps");
    let output = ps
        .args(["-o", columns, "-p", &pid.to_string()])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

fn is_shell(program: &Path) -> bool {
    const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "ash", "busybox"];
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    SHELLS.contains(&&*name)
}

/// The same from `ps`, where there is no `/proc`.
#[cfg(not(target_os = "linux"))]
fn read_start(pid: u32) -> Option<String> {
    let text = run_ps("lstart=", pid)?;
    let start: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    (!start.is_empty()).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_was_started_by_this_process_and_only_a_shell_is_a_shell() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line; exit"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert_eq!(id.started_by(), Some(std::process::id()));
        // Until it has become the shell, a child is still the program that it came from.
        let is_shell = (0..1000).any(|_| {
            std::thread::yield_now();
            id.is_shell()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_shell && !ProcessId::me().is_shell());
    }

    #[test]
    fn a_running_process_is_itself_and_an_ended_one_is_not() {
        assert!(ProcessId::me().is_running());
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        assert!(id.is_running());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!id.is_running());
    }

    #[test]
    fn nothing_is_in_front_of_what_is_not_its_terminal() {
        assert!(!ProcessId::me().is_in_front(Path::new("/dev/null")));
        assert!(!ProcessId::me().is_in_front(Path::new("/dev/no-such-terminal")));
        assert_eq!(ProcessId::me().in_front(Path::new("/dev/null")), []);
    }
}
