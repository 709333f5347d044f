//! The command line: one file per command. Only this layer prints, and it decides the exit code.

#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments to people as they stand"
)]
mod arguments;
mod check;
mod failure;
mod files;
mod gateway;
mod hook;
mod inbox;
mod install;
mod logging;
mod mcp;
mod outbox;
mod prune;
mod setup;
mod signals;
mod status;
mod terminal;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::arguments::{Cli, CliCommand, GatewayOptions};
use self::failure::Failure;
use self::setup::{LenientSetup, Setup};
use self::terminal::print;
use crate::config::Env;
use crate::error_chain::Chain;
use crate::launch::{self, LaunchStage};

/// Runs the program with these arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_hook = arguments.get(1).is_some_and(|word| word == "hook");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let is_printed = error.print();
            // A client takes clap's 2 for a refusal, and would stop its agent.
            if is_hook && error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            if let Err(full) = is_printed
                && !error.use_stderr()
                && full.kind() != io::ErrorKind::BrokenPipe
            {
                drop(writeln!(io::stderr(), "telepost: cannot print: {full}"));
                return ExitCode::from(failure::exit::STORAGE);
            }
            // Help and version are "errors" too, with an exit code of 0.
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Err(failure) = execute(&cli) else {
        return ExitCode::SUCCESS;
    };
    let (words, code) = (Chain(&failure).to_string(), failure.exit_code());
    if matches!(failure, Failure::Reported(_)) {
        return ExitCode::from(code);
    }
    if let CliCommand::Gateway(GatewayOptions {
        stage: Some(LaunchStage::Run),
        ..
    }) = &cli.command
    {
        launch::report_failure(&words, code);
    } else {
        drop(writeln!(io::stderr(), "telepost: {words}"));
    }
    ExitCode::from(code)
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    let env = Env::read();
    let inspect = || LenientSetup::load_and_warn(cli, &env);
    match &cli.command {
        CliCommand::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "telepost", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
        CliCommand::Mcp(options) => mcp::run(cli, &env, options),
        CliCommand::Hook { event, session } => {
            hook::run(cli, event, session.as_deref());
            Ok(())
        }
        CliCommand::Gateway(options) => gateway::run(cli, &env, options),
        CliCommand::Check { online } => check::run(cli, &env, *online),
        CliCommand::Install(options) => install::install(cli, &env, options),
        CliCommand::Uninstall(options) => install::uninstall(&env, options),
        CliCommand::Status { json } => status::run(cli, &env, *json),
        CliCommand::Outbox { action } => outbox::run(&inspect()?, action),
        CliCommand::Prune(options) => prune::run(&Setup::load(cli, &env)?, options),
        CliCommand::Inbox { session, action } => {
            inbox::run(&inspect()?, session.as_deref(), action)
        }
        CliCommand::Files { action } => files::run(&inspect()?, action),
    }
}
