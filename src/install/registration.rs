//! The registration of the MCP server with a client: how the MCP server is started, and for which folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Env;

/// How a client starts the MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCommand {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
}

impl ServerCommand {
    /// The session that it serves, if it names one.
    pub(crate) fn session(&self) -> Option<&str> {
        find_option(&self.args, "--session")
    }

    /// Whether it starts telepost, of any version and in any folder.
    pub(super) fn is_ours(&self) -> bool {
        is_telepost(&self.command) && self.args.iter().any(|argument| argument == "mcp")
    }
}

/// The value of an option among arguments.
pub(super) fn find_option<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|word| word == name)?;
    args.get(at + 1).map(String::as_str)
}

/// Whether the file name of a program is ours.
pub(super) fn is_telepost(command: &str) -> bool {
    command.rsplit('/').next() == Some("telepost")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerRegistration {
    pub(crate) server: ServerCommand,
    /// The folder whose windows get it; `None`: all. Claude Code only.
    pub(crate) folder: Option<String>,
}

/// The folder by which Claude Code knows a window: the top of the Git repository (for a linked worktree,
/// of the main one), else the folder itself with links resolved.
pub(crate) fn find_project(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let top = folder.ancestors().find(|top| top.join(".git").exists());
    let project = top.map(|top| find_main_worktree(top).unwrap_or_else(|| top.to_owned()));
    project.unwrap_or(folder)
}

/// The main worktree. `None`: this is not a linked one, whose `.git` is a file.
fn find_main_worktree(top: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(top.join(".git")).ok()?;
    let folder = top.join(text.strip_prefix("gitdir:")?.trim());
    let common = fs::read_to_string(folder.join("commondir")).ok()?;
    let common = folder.join(common.trim()).canonicalize().ok()?;
    (common.file_name()? == ".git").then(|| Some(common.parent()?.to_owned()))?
}

/// The path to register for this program: the one that it was called by, if that leads here. The path behind
/// a link may contain a version and would not survive an update.
pub(crate) fn find_program(called: &Path, running: &Path, env: &Env) -> PathBuf {
    let real = running.canonicalize().ok();
    let leads_here = |path: &PathBuf| real.is_some() && path.canonicalize().ok() == real;
    let named = if called.components().count() > 1 {
        std::path::absolute(called).ok().filter(leads_here)
    } else {
        std::env::split_paths(env.get("PATH").unwrap_or_default())
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(called))
            .find(leads_here)
    };
    named.unwrap_or_else(|| running.to_owned())
}

/// Whether a program lies where a build puts it, and the next `cargo clean` deletes it.
pub(crate) fn is_build(program: &Path) -> bool {
    let names: Vec<_> = program.iter().collect();
    names
        .windows(2)
        .any(|pair| pair[0] == "target" && (pair[1] == "debug" || pair[1] == "release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_the_folder_of_a_build_is_recognised() {
        assert!(is_build(Path::new("/w/telepost/target/debug/telepost")));
        assert!(is_build(Path::new("/w/target/release/telepost")));
        assert!(!is_build(Path::new("/home/target/bin/telepost")));
    }
}
