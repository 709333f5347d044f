//! What can be asked on the command line. The comments here are what `--help` prints.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::gateway::detach::Stage;

/// A durable Telegram mailbox for every coding-agent session.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(super) struct Cli {
    /// The configuration [default: $TG_SESSIONS_CONFIG, else ~/.config/telepost/sessions.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace, or a tracing filter [default: $TELEPOST_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes:\n  0  all is well\n  2  the command line was not understood\n  3  the configuration is refused\n  4  another gateway runs already\n  5  the state folder cannot be used\n  6  Telegram cannot be talked to\n  70 a bug in telepost";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve one agent session over stdio (started by Claude Code or Codex)
    Mcp {
        /// Which session of the configuration [default: $TG_SESSION_ID, else by working directory, else `default`]
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Never start a gateway
        #[arg(long)]
        no_gateway: bool,
    },
    /// Poll Telegram and send: one per machine
    Gateway {
        /// Run in the background, and return when it is ready
        #[arg(long)]
        detach: bool,
        /// Stop the running gateway first, and take over
        #[arg(long)]
        replace: bool,
        #[arg(long, hide = true)]
        stage: Option<Stage>,
        #[command(subcommand)]
        action: Option<GatewayAction>,
    },
    /// Check the configuration and the tokens, and change nothing
    Check,
    /// Show how the gateway, the bots and the sessions are
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GatewayAction {
    /// Stop the running gateway
    Stop,
}
