//! `telepost install` and `uninstall` as people meet them: which session for which folder, the difference,
//! the question, and what is left to do.

use std::path::{Path, PathBuf};

use super::arguments::{Cli, InstallOptions, Scope, UninstallOptions};
use super::ask::{Said, ask};
use super::{Failure, load, print};
use crate::config::{Binding, Config, ConfigError, Env, GatewayStart, Session, TokenState, Tokens};
use crate::error_chain::Chain;
use crate::install::places::{self, Client, Places};
use crate::install::plan::{Registration, Server};
use crate::install::{self, InstallError, Proposal};

/// An installation was not made, or not taken back.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallFailure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Files(#[from] InstallError),
    #[error("nothing was changed")]
    Declined,
}

pub(super) fn install(cli: &Cli, env: &Env, options: &InstallOptions) -> Result<(), Failure> {
    let client = options.client;
    let places = places_of(client, env)?;
    let (config, _) = load(cli, env)?;
    let here = std::env::current_dir().ok();
    let chosen = Chosen::new(&config, env, options, here.as_deref())?;
    let program = program(env)?;
    let registration = chosen.registration(&config, &program)?;
    let proposal = install::propose_install(&places, &registration, options.replace)
        .map_err(InstallFailure::from)?;

    print(&format!("{}\n", chosen.headline(&config, client)))?;
    let done = if proposal.is_nothing() {
        say_notes(&proposal)?;
        print("\nIt is installed already: no change.\n")?;
        true
    } else {
        agree_and_carry_out(&proposal, options.dry_run, options.yes)?
    };
    let mut missing = chosen.missing(&config, env);
    if places::is_build(&program) {
        missing.push(format!(
            "{} is a build and goes with the next `cargo clean`: run `cargo install --locked --path .` and \
             install again with that telepost",
            program.display()
        ));
    }
    let missing: Vec<String> = missing
        .iter()
        .map(|missing| format!("- {}\n", missing.replace('\n', "\n  ")))
        .collect();
    if !missing.is_empty() {
        print(&format!("\nStill missing:\n{}", missing.concat()))?;
    }
    if !done {
        return Ok(());
    }
    let place = match &chosen.folder {
        Some(folder) => format!(" in {}", folder.display()),
        None => String::new(),
    };
    let trust = match client {
        Client::Claude => "",
        // It asks at its next start, because anybody could have written that file (clients.md 5.2).
        Client::Codex => ", say yes when it asks whether the hooks of telepost may run",
    };
    print(&format!(
        "\nNext: restart {}{place}{trust}, write to your bot, and type {}.\n",
        client.name(),
        client.command()
    ))
}

pub(super) fn uninstall(env: &Env, options: &UninstallOptions) -> Result<(), Failure> {
    let client = options.client;
    let places = places_of(client, env)?;
    let proposal = install::propose_uninstall(&places).map_err(InstallFailure::from)?;
    if proposal.is_nothing() {
        say_notes(&proposal)?;
        return print(&format!(
            "telepost is not installed for {}: no change.\n",
            client.name()
        ));
    }
    if agree_and_carry_out(&proposal, options.dry_run, options.yes)? {
        print(&format!(
            "\nNext: restart {}. The configuration, the messages and the gateway are still there; \
             `telepost gateway stop` stops it.\n",
            client.name()
        ))?;
    }
    Ok(())
}

fn places_of(client: Client, env: &Env) -> Result<Places, Failure> {
    Places::of(client, env).ok_or_else(|| {
        let words = format!(
            "it is not clear where {} keeps its files: HOME is not set; set it, or name an absolute folder in {}",
            client.name(),
            client.variable()
        );
        InstallFailure::Usage(words).into()
    })
}

fn program(env: &Env) -> Result<PathBuf, Failure> {
    let running = super::program()?;
    let called = std::env::args_os().next().map(PathBuf::from);
    Ok(places::program(&called.unwrap_or_default(), &running, env))
}

/// Shows the difference and asks. `false`: it was only to be shown.
fn agree_and_carry_out(proposal: &Proposal, dry_run: bool, yes: bool) -> Result<bool, Failure> {
    print(&format!("\n{}", proposal.diff()))?;
    say_notes(proposal)?;
    let files = match proposal.files() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    if dry_run {
        print(&format!(
            "\nNothing was changed (--dry-run); {files} would be.\n"
        ))?;
        return Ok(false);
    }
    if !yes {
        match ask(&format!("\nChange {files}?"))? {
            Said::Yes => {}
            Said::No => return Err(InstallFailure::Declined.into()),
            Said::Nobody => {
                let words = "nothing was changed: there is no terminal to ask on; look at the difference above, \
                             then run the command again with --yes";
                return Err(InstallFailure::Usage(words.to_owned()).into());
            }
        }
    }
    proposal.carry_out().map_err(InstallFailure::from)?;
    print(&format!("\nDone: {files} changed.\n"))?;
    Ok(true)
}

fn say_notes(proposal: &Proposal) -> Result<(), Failure> {
    let notes = proposal
        .notes
        .iter()
        .map(|note| format!("\nnote: {note}\n"));
    print(&notes.collect::<String>())
}

/// What is to be registered.
struct Chosen<'c> {
    /// `None`: each window finds its session by its folder, else `default`.
    session: Option<&'c Session>,
    folder: Option<PathBuf>,
}

impl<'c> Chosen<'c> {
    fn new(
        config: &'c Config,
        env: &Env,
        options: &InstallOptions,
        here: Option<&Path>,
    ) -> Result<Self, Failure> {
        let scope = match (options.client, options.scope) {
            (Client::Claude, scope) => scope.unwrap_or(Scope::Local),
            (Client::Codex, None | Some(Scope::User)) => Scope::User,
            (Client::Codex, Some(Scope::Local)) => {
                let words = "Codex keeps its servers in one place for all folders: leave --scope out; \
                             for a second session give it a CODEX_HOME of its own";
                return Err(InstallFailure::Usage(words.to_owned()).into());
            }
        };
        let everywhere = (options.client, scope) == (Client::Claude, Scope::User);
        let here_counts = here.filter(|_| !everywhere);
        let (session, binding) = config.serving(options.session.as_deref(), env, here_counts)?;
        let session = match binding {
            Binding::Default if everywhere => None,
            Binding::Default if config.sessions.len() > 1 => {
                return Err(InstallFailure::Usage(several(config, options.client)).into());
            }
            Binding::Default | Binding::Flag | Binding::Environment | Binding::WorkingDirectory => {
                Some(session)
            }
        };
        let folder = match scope {
            Scope::User => None,
            Scope::Local => {
                let folder = session.and_then(|session| session.cwd.as_deref()).or(here);
                let folder = folder.ok_or_else(|| {
                    let words = "the working directory is gone: go to the folder of the project, or give the session a `cwd`";
                    InstallFailure::Usage(words.to_owned())
                })?;
                Some(places::project(folder))
            }
        };
        Ok(Self { session, folder })
    }

    fn registration(&self, config: &Config, program: &Path) -> Result<Registration, Failure> {
        let mut args = vec!["mcp".to_owned(), "--config".to_owned(), text(&config.path)?];
        if let Some(session) = self.session {
            args.extend(["--session".to_owned(), session.id.to_string()]);
        }
        Ok(Registration {
            server: Server {
                command: text(program)?,
                args,
            },
            folder: self.folder.as_deref().map(text).transpose()?,
        })
    }

    fn headline(&self, config: &Config, client: Client) -> String {
        let what = match self.session {
            Some(session) if session.name == session.id.as_str() => {
                format!("Session {}", session.id)
            }
            Some(session) => format!("Session {} ({})", session.id, session.name),
            None => format!(
                "The session of each folder by its `cwd`, else {},",
                config.default
            ),
        };
        let whom = match &self.folder {
            Some(folder) => format!("in {}", folder.display()),
            None => "in all folders".to_owned(),
        };
        format!("{what} for {} {whom}", client.name())
    }

    /// What a first message still needs. An installation does not wait for it.
    fn missing(&self, config: &Config, env: &Env) -> Vec<String> {
        let mut missing = config.warnings();
        let dotenv = config.path.with_file_name(".env");
        // A gateway that a client starts may have nothing but the file (Codex passes no variables on).
        let (all, lasting) = (
            Tokens::read(config, env),
            Tokens::read(config, &Env::default()),
        );
        match (all, lasting) {
            (Err(error), _) => missing.push(chain(&error)),
            (Ok(all), lasting) => {
                missing.extend(all.warnings().iter().cloned());
                let is_ours = |session: &&Session| self.session.is_none_or(|ours| ours == *session);
                for session in config.sessions.values().filter(is_ours) {
                    let variable = &session.bot_token_env;
                    let is_set = |tokens: &Tokens| {
                        matches!(tokens.of(&session.id), Some(TokenState::Set(_)))
                    };
                    let place = dotenv.display();
                    if !is_set(&all) {
                        missing.push(format!(
                            "the token of session {}: write {variable}=<the token> into {place}",
                            session.id
                        ));
                    } else if !lasting.as_ref().is_ok_and(is_set) {
                        missing.push(format!(
                            "{variable} is set in this shell only; write it into {place}, or start the gateway from \
                             here (telepost gateway --detach)"
                        ));
                    }
                }
            }
        }
        if config.gateway == GatewayStart::Manual {
            missing.push(
                "nobody starts the gateway (\"gateway\": \"manual\"): telepost gateway --detach"
                    .to_owned(),
            );
        }
        missing
    }
}

fn chain(error: &ConfigError) -> String {
    Chain(error).to_string()
}

fn several(config: &Config, client: Client) -> String {
    let command = match client {
        Client::Claude => "claude",
        Client::Codex => "codex",
    };
    let sessions = config.sessions.values().map(|session| {
        let name = if session.name == session.id.as_str() {
            String::new()
        } else {
            format!("    ({})", session.name)
        };
        format!(
            "\n  telepost install {command} --session {}{name}",
            session.id
        )
    });
    let everywhere = match client {
        Client::Claude => {
            "\nor, for all folders, each with the session whose `cwd` it is:\n  telepost install claude --scope user"
        }
        Client::Codex => "",
    };
    format!(
        "{} has several sessions; say which:{}{everywhere}",
        config.path.display(),
        sessions.collect::<String>()
    )
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let words = format!(
            "{} cannot be written into a configuration, because it is not UTF-8; rename it",
            path.display()
        );
        InstallFailure::Usage(words).into()
    })
}
