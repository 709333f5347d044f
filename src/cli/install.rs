//! `telepost install` and `uninstall` at the terminal: which session gets which folder, the difference, the
//! question, and what is left to do.

use std::path::{Path, PathBuf};

use super::arguments::{Cli, InstallOptions, Scope, UninstallOptions};
use super::failure::Failure;
use super::setup::{self, Setup};
use super::terminal::{Confirmation, confirm, print};
use crate::config::{Binding, Config, Env, GatewayStart, Session, TokenState, Tokens};
use crate::error_chain::Chain;
use crate::install::client::{Client, ClientFiles};
use crate::install::registration::{
    ServerCommand, ServerRegistration, find_program, find_project, is_build,
};
use crate::install::{InstallError, Proposal, find_registered, propose_install, propose_uninstall};

#[derive(Debug, thiserror::Error)]
pub(super) enum InstallFailure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Files(#[from] InstallError),
    #[error("nothing was changed")]
    Declined,
}

fn usage_error(message: impl Into<String>) -> Failure {
    InstallFailure::Usage(message.into()).into()
}

pub(super) fn install(cli: &Cli, env: &Env, options: &InstallOptions) -> Result<(), Failure> {
    let client = options.client;
    let files = locate_files(client, env)?;
    let config = Setup::load(cli, env)?.config;
    let here = std::env::current_dir().ok();
    let selection = Selection::resolve(&config, env, options, here.as_deref())?;
    let called = std::env::args_os().next().map(PathBuf::from);
    let program = find_program(&called.unwrap_or_default(), &setup::find_program()?, env);
    let registration = selection.registration(&config, &program)?;
    let switch = find_switch(&files, &registration, client)?;
    let proposal = propose_install(&files, &registration, options.replace);
    let proposal = proposal.map_err(InstallFailure::from)?;

    print(&format!("{}\n", selection.headline(&config, client)))?;
    let is_done = if proposal.is_empty() {
        print_notes(&proposal)?;
        print("\ntelepost is already installed: no change.\n")?;
        true
    } else {
        if let Some(switch) = &switch {
            print(&format!("\n{switch}\n"))?;
        }
        confirm_and_carry_out(&proposal, options.dry_run, options.yes)?
    };
    let mut steps = selection.missing_steps(&config, env);
    if is_build(&program) {
        steps.push(format!(
            "{} is a development build, which the next `cargo clean` deletes: run `cargo install --locked --path .`, \
             then run this command again with the installed telepost",
            program.display()
        ));
    }
    if !steps.is_empty() {
        let steps = steps.iter().map(|step| step.replace('\n', "\n  "));
        let steps: Vec<String> = steps.map(|step| format!("- {step}\n")).collect();
        print(&format!("\nStill to do:\n{}", steps.concat()))?;
    }
    if !is_done {
        return Ok(());
    }
    let place = match &selection.folder {
        Some(folder) => format!(" in {}", folder.display()),
        None => String::new(),
    };
    let trust = match client {
        Client::Claude => "",
        // Codex asks at its next start, because any program could have written that file.
        Client::Codex => ", allow telepost's hooks when it asks",
    };
    print(&format!(
        "\nNext: restart {}{place}{trust}, send your bot a message, and type {}.\n",
        client.name(),
        client.command()
    ))
}

pub(super) fn uninstall(env: &Env, options: &UninstallOptions) -> Result<(), Failure> {
    let client = options.client;
    let proposal = propose_uninstall(&locate_files(client, env)?);
    let proposal = proposal.map_err(InstallFailure::from)?;
    if proposal.is_empty() {
        print_notes(&proposal)?;
        return print(&format!(
            "telepost is not installed for {}: no change.\n",
            client.name()
        ));
    }
    if confirm_and_carry_out(&proposal, options.dry_run, options.yes)? {
        print(&format!(
            "\nNext: restart {}. Your configuration and messages are kept, and the gateway keeps running; \
             stop it with `telepost gateway stop`.\n",
            client.name()
        ))?;
    }
    Ok(())
}

fn locate_files(client: Client, env: &Env) -> Result<ClientFiles, Failure> {
    ClientFiles::locate(client, env).ok_or_else(|| {
        usage_error(format!(
            "cannot tell where {} keeps its files, because HOME is not set; set HOME, or set {} to an absolute path",
            client.name(),
            client.variable()
        ))
    })
}

/// Says which session the agents of this place have now, if the registration would give them another.
fn find_switch(
    files: &ClientFiles,
    registration: &ServerRegistration,
    client: Client,
) -> Result<Option<String>, Failure> {
    let found = find_registered(files, registration).map_err(InstallFailure::from)?;
    let (old, new) = (
        found.as_ref().and_then(ServerCommand::session),
        registration.server.session(),
    );
    let switched = old.zip(new).filter(|(old, new)| old != new);
    Ok(switched.map(|(old, new)| {
        let place = match &registration.folder {
            Some(folder) => format!("in {folder}"),
            None => "in all folders".to_owned(),
        };
        format!(
            "{} is registered for session {old} {place}, which would no longer get an agent from there: session {new} takes its place.",
            client.name()
        )
    }))
}

/// Shows the difference and asks. `false`: it was only to be shown.
fn confirm_and_carry_out(proposal: &Proposal, dry_run: bool, yes: bool) -> Result<bool, Failure> {
    print(&format!("\n{}", proposal.diff()))?;
    print_notes(proposal)?;
    let files = match proposal.file_count() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    if dry_run {
        print(&format!(
            "\nDry run: {files} would change; nothing was changed.\n"
        ))?;
        return Ok(false);
    }
    if !yes {
        match confirm(&format!("\nChange {files}?"))? {
            Confirmation::Yes => {}
            Confirmation::No => return Err(InstallFailure::Declined.into()),
            Confirmation::NoTerminal => {
                return Err(usage_error(
                    "nothing was changed: there is no terminal to ask for confirmation; check the changes above, \
                     then run the command again with --yes",
                ));
            }
        }
    }
    proposal.carry_out().map_err(InstallFailure::from)?;
    print(&format!("\nDone: {files} changed.\n"))?;
    Ok(true)
}

fn print_notes(proposal: &Proposal) -> Result<(), Failure> {
    let notes = proposal.notes.iter();
    let notes: Vec<String> = notes.map(|note| format!("\nnote: {note}\n")).collect();
    print(&notes.concat())
}

/// The session and the folder that an installation is for.
struct Selection<'c> {
    /// `None`: each window finds its session by its folder, else `default`.
    session: Option<&'c Session>,
    /// `None`: all folders.
    folder: Option<PathBuf>,
}

impl<'c> Selection<'c> {
    fn resolve(
        config: &'c Config,
        env: &Env,
        options: &InstallOptions,
        here: Option<&Path>,
    ) -> Result<Self, Failure> {
        let scope = match (options.client, options.scope) {
            (Client::Claude, scope) => scope.unwrap_or(Scope::Local),
            (Client::Codex, None | Some(Scope::User)) => Scope::User,
            (Client::Codex, Some(Scope::Local)) => {
                return Err(usage_error(
                    "Codex has one list of servers for all folders: leave --scope out; to serve a second session, \
                     give it a CODEX_HOME of its own",
                ));
            }
        };
        let is_everywhere = scope == Scope::User
            && (options.client == Client::Claude
                || config
                    .sessions
                    .values()
                    .any(|session| session.cwd.is_some()));
        let cwd = here.filter(|_| !is_everywhere);
        let (session, binding) = config.serving(options.session.as_deref(), env, cwd)?;
        let session = match binding {
            Binding::Default if is_everywhere => None,
            Binding::Default if config.sessions.len() > 1 => {
                return Err(usage_error(list_choices(config, options.client)));
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
                    usage_error(
                        "the working directory no longer exists: change to the project's folder, or give the session \
                         a `cwd`",
                    )
                })?;
                let project = find_project(folder);
                refuse_no_project(&project, config, env)?;
                Some(project)
            }
        };
        Ok(Self { session, folder })
    }

    fn registration(&self, config: &Config, program: &Path) -> Result<ServerRegistration, Failure> {
        let config = to_text(&config.path)?;
        let mut args = vec!["mcp".to_owned(), "--config".to_owned(), config];
        if let Some(session) = self.session {
            args.extend(["--session".to_owned(), session.id.to_string()]);
        }
        let command = to_text(program)?;
        Ok(ServerRegistration {
            server: ServerCommand { command, args },
            folder: self.folder.as_deref().map(to_text).transpose()?,
        })
    }

    fn headline(&self, config: &Config, client: Client) -> String {
        let session = match self.session {
            Some(session) if session.name == session.id.as_str() => {
                format!("Session {}", session.id)
            }
            Some(session) => format!("Session {} ({})", session.id, session.name),
            None => format!(
                "Each folder's session by its `cwd`, otherwise {},",
                config.default
            ),
        };
        let place = match &self.folder {
            Some(folder) => format!("in {}", folder.display()),
            None => "in all folders".to_owned(),
        };
        format!("{session} for {} {place}", client.name())
    }

    /// The steps before a first message can arrive. An installation does not wait for them.
    fn missing_steps(&self, config: &Config, env: &Env) -> Vec<String> {
        let mut steps = config.warnings();
        match Tokens::read(config, env) {
            Err(error) => steps.push(Chain(&error).to_string()),
            Ok(tokens) => {
                steps.extend(tokens.warnings().iter().cloned());
                steps.extend(self.missing_tokens(config, &tokens));
            }
        }
        if config.gateway == GatewayStart::Manual {
            steps.push(
                "start the gateway yourself, because the configuration has \"gateway\": \"manual\": \
                 telepost gateway --detach"
                    .to_owned(),
            );
        }
        steps
    }

    fn missing_tokens(&self, config: &Config, tokens: &Tokens) -> Vec<String> {
        // A gateway that a client starts may see only the file: Codex passes no variables on.
        let from_file = Tokens::read(config, &Env::default());
        let file = config.path.with_file_name(".env");
        let file = file.display();
        let sessions = config.sessions.values();
        let selected = sessions.filter(|session| self.session.is_none_or(|only| only == *session));
        let step = |session: &Session| {
            let variable = &session.bot_token_env;
            let is_set =
                |tokens: &Tokens| matches!(tokens.of(&session.id), Some(TokenState::Set(_)));
            if !is_set(tokens) {
                Some(format!(
                    "set the bot token of session {}: write {variable}=<the token> into {file}",
                    session.id
                ))
            } else if !from_file.as_ref().is_ok_and(is_set) {
                Some(format!(
                    "{variable} is set only in this shell; write it into {file}, or start the gateway from \
                     this shell (telepost gateway --detach)"
                ))
            } else {
                None
            }
        };
        selected.filter_map(step).collect()
    }
}

/// Refuses the folders that are no project: Claude Code would have the server there and in no project.
fn refuse_no_project(folder: &Path, config: &Config, env: &Env) -> Result<(), Failure> {
    let is_here = |other: &Path| find_project(other) == folder || other == folder;
    let home = env.get("HOME").map(Path::new);
    let what = if config.path.parent().is_some_and(is_here) {
        "the folder of telepost's configuration"
    } else if home.is_some_and(is_here) {
        "your home folder"
    } else {
        return Ok(());
    };
    Err(usage_error(format!(
        "{} is {what}, not a project: the agents of your projects would not get the session. Change to the project's \
         folder and run this again, or give the session a `cwd`; for all folders at once, use --scope user",
        folder.display()
    )))
}

fn list_choices(config: &Config, client: Client) -> String {
    let command = client.argument();
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
    let sessions: String = sessions.collect();
    let everywhere = match client {
        Client::Claude => {
            "\nor install for all folders at once; each folder gets the session whose `cwd` it is in:\n  telepost install claude --scope user"
        }
        Client::Codex => "",
    };
    let path = config.path.display();
    format!("{path} has several sessions; choose one:{sessions}{everywhere}")
}

fn to_text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        usage_error(format!(
            "{} cannot be written into a configuration file, because its name is not UTF-8; rename it",
            path.display()
        ))
    })
}
