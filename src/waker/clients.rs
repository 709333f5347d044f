//! Looks for a client on a terminal.
//!
//! Every process of a client counts, in the foreground or suspended. It is recognized by the name it was
//! started by, by its program, or, if an interpreter runs it, by its script.

use std::io;
use std::path::{Path, PathBuf};

use crate::state::absence::Missing;
use crate::waker::absence::policy::AgentPresence;

pub(super) fn find_client(terminals: &[PathBuf]) -> AgentPresence {
    match has_client(terminals) {
        Ok(true) => AgentPresence::Present,
        Ok(false) => AgentPresence::Absent(Missing::Agent),
        Err(error) => {
            tracing::debug!(%error, "cannot see the processes on a terminal");
            AgentPresence::Unknown
        }
    }
}

/// Whether a process with these names is a client.
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
fn has_client(terminals: &[PathBuf]) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let mut devices = Vec::new();
    for terminal in terminals {
        match std::fs::metadata(terminal) {
            Ok(found) => devices.push(found.rdev()),
            // The pane is gone by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        // A process may end at any moment.
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else {
            continue;
        };
        let Some((comm, device)) = parse_stat(&stat) else {
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

/// Parses the name and the device number of the terminal from `/proc/<pid>/stat`.
#[cfg(target_os = "linux")]
fn parse_stat(stat: &str) -> Option<(&str, u64)> {
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
fn has_client(terminals: &[PathBuf]) -> io::Result<bool> {
    for terminal in terminals {
        let name = terminal.strip_prefix("/dev").unwrap_or(terminal);
        let output = std::process::Command::new("ps")
            .arg("-t")
            .arg(name)
            .args(["-o", "comm=", "-o", "args="])
            .stdin(std::process::Stdio::null())
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
        assert_eq!(parse_stat(stat), Some(("a (b) c", 34818)));
        assert_eq!(parse_stat("7 (x) S 1 7 7 0 -1 0"), None);
        assert_eq!(parse_stat("7 (x) Z 1 7 7 34818 -1 0"), None);
    }
}
