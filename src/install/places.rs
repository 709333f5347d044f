//! Where each client keeps what telepost puts there: the list of files is all that differs between them.

use std::fs;
use std::path::{Path, PathBuf};

use super::plan::Kind;
use crate::config::Env;

const COMMAND: &str = include_str!("../../commands/telegram-reply.md");
const SKILL: &str = include_str!("../../skills/telegram/SKILL.md");
/// What telepost remembers of an installation, beside the files that it has changed.
const RECORD: &str = "telepost-install.json";

/// A client that agents run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Client {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
}

impl Client {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
        }
    }

    /// The variable that says where its files are.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Claude => "CLAUDE_CONFIG_DIR",
            Self::Codex => "CODEX_HOME",
        }
    }

    /// What a person types there to read the mailbox.
    pub fn command(self) -> &'static str {
        match self {
            Self::Claude => "/telegram-reply",
            Self::Codex => "$telegram",
        }
    }
}

/// One file of a client and what telepost has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub kind: Kind,
    /// The same for people.
    pub purpose: &'static str,
}

/// The files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What telepost changes, in the order in which it does.
    pub targets: Vec<Target>,
    /// The record of the installation.
    pub record: PathBuf,
}

impl Places {
    /// The files of a client (clients.md 1, 2, 5). `None`: neither its variable nor `HOME` says where.
    pub fn of(client: Client, env: &Env) -> Option<Self> {
        let home = absolute(env, "HOME");
        let folder = match client {
            Client::Claude => ".claude",
            Client::Codex => ".codex",
        };
        let set = absolute(env, client.variable());
        let root = set.clone().or_else(|| Some(home.clone()?.join(folder)))?;
        let target = |path: PathBuf, kind, purpose| Target {
            path,
            kind,
            purpose,
        };
        let skill = target(
            root.join("skills/telegram/SKILL.md"),
            Kind::Text(SKILL),
            "the skill `telegram`",
        );
        let targets = match client {
            Client::Claude => vec![
                target(
                    set.or(home)?.join(".claude.json"),
                    Kind::ClaudeServers,
                    "the MCP server `telegram`",
                ),
                target(
                    root.join("settings.json"),
                    Kind::ClaudeSettings,
                    "the rule that allows its tools, and the hooks",
                ),
                target(
                    root.join("commands/telegram-reply.md"),
                    Kind::Text(COMMAND),
                    "the command /telegram-reply",
                ),
                skill,
            ],
            Client::Codex => vec![
                target(
                    root.join("config.toml"),
                    Kind::CodexConfig,
                    "the MCP server `telegram`, its tools approved",
                ),
                target(root.join("hooks.json"), Kind::CodexHooks, "the hooks"),
                skill,
            ],
        };
        Some(Self {
            targets,
            record: root.join(RECORD),
        })
    }
}

/// A folder from the environment. A relative one means something else in each folder.
fn absolute(env: &Env, variable: &str) -> Option<PathBuf> {
    env.get(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The folder by which Claude Code knows a window: the top of the Git repository, of the main one if it
/// is a linked worktree, else the folder itself, without links (measured with 2.1.329).
pub fn project(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let Some((top, git)) = folder.ancestors().find_map(|top| {
        let git = top.join(".git");
        git.exists().then(|| (top.to_owned(), git))
    }) else {
        return folder;
    };
    main_worktree(&git).unwrap_or(top)
}

/// The main worktree, where `.git` is the file of a linked one.
fn main_worktree(git: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(git).ok()?;
    let folder = git.parent()?.join(text.strip_prefix("gitdir:")?.trim());
    let common = fs::read_to_string(folder.join("commondir")).ok()?;
    let common = folder.join(common.trim()).canonicalize().ok()?;
    (common.file_name()? == ".git").then(|| Some(common.parent()?.to_owned()))?
}

/// How this program should be named in a file that outlives an update: as it was called, if that leads
/// here, because the name behind a link may have a version in it.
pub fn program(called: &Path, running: &Path, env: &Env) -> PathBuf {
    let real = running.canonicalize().ok();
    let leads_here = |path: &PathBuf| real.is_some() && path.canonicalize().ok() == real;
    let named = if called.components().count() > 1 {
        std::path::absolute(called).ok().filter(leads_here)
    } else {
        let folders = env.get("PATH").unwrap_or_default();
        std::env::split_paths(folders)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(called))
            .find(leads_here)
    };
    named.unwrap_or_else(|| running.to_owned())
}

/// Whether a program lies where a build puts it, and the next `cargo clean` takes it away.
pub fn is_build(program: &Path) -> bool {
    let names: Vec<_> = program.iter().collect();
    names
        .windows(2)
        .any(|pair| pair[0] == "target" && (pair[1] == "debug" || pair[1] == "release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_the_clients_move_all_files() {
        let env = Env::from_pairs([
            ("HOME", "/h"),
            ("CLAUDE_CONFIG_DIR", "/c"),
            ("CODEX_HOME", "/x"),
        ]);
        for (client, root) in [(Client::Claude, "/c"), (Client::Codex, "/x")] {
            let places = Places::of(client, &env).unwrap();
            assert!(places.record.starts_with(root));
            for target in places.targets {
                assert!(target.path.starts_with(root), "{target:?}");
            }
        }
    }

    #[test]
    fn without_the_variable_claude_code_keeps_its_servers_beside_its_folder() {
        let env = Env::from_pairs([("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "relative")]);
        let places = Places::of(Client::Claude, &env).unwrap();
        let paths: Vec<_> = places.targets.iter().map(|target| &target.path).collect();
        assert_eq!(
            paths,
            [
                Path::new("/h/.claude.json"),
                Path::new("/h/.claude/settings.json"),
                Path::new("/h/.claude/commands/telegram-reply.md"),
                Path::new("/h/.claude/skills/telegram/SKILL.md"),
            ]
        );
        assert_eq!(Places::of(Client::Codex, &Env::default()), None);
    }

    #[test]
    fn a_program_in_the_folder_of_a_build_is_recognised() {
        assert!(is_build(Path::new("/w/telepost/target/debug/telepost")));
        assert!(is_build(Path::new("/w/target/release/telepost")));
        assert!(!is_build(Path::new("/home/target/bin/telepost")));
    }
}
