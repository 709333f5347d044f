//! What can be asked on the command line. The comments here are what `--help` prints.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::install::client::Client;
use crate::launch::LaunchStage;

/// A durable Telegram mailbox for every coding-agent session.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(super) struct Cli {
    /// The configuration [default: $TG_SESSIONS_CONFIG, else ~/.config/telepost/sessions.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace, or a tracing filter [default: $TELEPOST_LOG]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = crate::cli::logging::checked)]
    pub(super) log_level: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes:\n  0  all is well\n  1  not all of what was asked could be done\n  2  the command line was not understood\n  3  the configuration is refused, or no bot has a token\n  4  another gateway runs already\n  5  the state folder cannot be used\n  6  Telegram cannot be talked to\n  7  a file of Claude Code or Codex cannot be changed, or you said no\n  8  there is no such delivery, or that cannot be done with it\n  70 a bug in telepost";

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
    /// Take in what a hook of Claude Code or Codex tells; its exit code is always 0
    Hook {
        /// Which: session-start, prompt, stop, stop-failure, end
        event: String,
        /// Which session of the configuration [default: all that the client of this hook serves]
        #[arg(long, value_name = "ID")]
        session: Option<String>,
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
        stage: Option<LaunchStage>,
        #[command(subcommand)]
        action: Option<GatewayAction>,
    },
    /// Check the configuration and the tokens, and change nothing
    Check,
    /// Register telepost with a client: server, hooks, command, skill, permission; shows the difference and asks
    Install(InstallOptions),
    /// Take all of that back
    Uninstall(UninstallOptions),
    /// Show how the gateway, the bots and the sessions are
    Status {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show what waits to be sent or has failed, try a failed one again, drop one
    Outbox {
        #[command(subcommand)]
        action: OutboxAction,
    },
    /// Remove sessions that are no longer in the configuration, with everything that waits there; asks
    Prune(PruneOptions),
    /// Look after what waits and what nobody could read
    Inbox {
        /// Only this session
        #[arg(long, global = true, value_name = "ID")]
        session: Option<String>,
        #[command(subcommand)]
        action: InboxAction,
    },
    /// Look after the files that came with messages
    Files {
        #[command(subcommand)]
        action: FilesAction,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct InstallOptions {
    /// Which client
    pub(super) client: Client,
    /// Which session of the configuration [default: $TG_SESSION_ID, else by working directory, else the only one]
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Which windows of Claude Code get it [default: local]
    #[arg(long)]
    pub(super) scope: Option<Scope>,
    /// Show the difference and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Replace another server, command or skill of the same name; uninstall brings it back
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct PruneOptions {
    /// Which [default: all that are not in the configuration]
    #[arg(value_name = "SESSION")]
    pub(super) sessions: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct UninstallOptions {
    /// Which client
    pub(super) client: Client,
    /// Show the difference and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scope {
    /// Those in the session's `cwd`, else in the working directory (all of its Git repository)
    Local,
    /// All; without --session each gets the session of its folder, else `default`
    User,
}

#[derive(Debug, Subcommand)]
pub(super) enum OutboxAction {
    /// Show what waits to be sent and what could not be delivered
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Send a failed delivery again: what Telegram does not have of it
    Retry {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Do not send a delivery, or not the rest of it
    Drop {
        /// Its id, or the beginning of it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GatewayAction {
    /// Stop the running gateway
    Stop,
}

#[derive(Debug, Subcommand)]
pub(super) enum FilesAction {
    /// Remove the files of messages that are answered; those of messages that wait always stay
    Prune {
        /// Only this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only files that came longer ago than that, such as 7d, 12h, 30m
        #[arg(long, value_name = "SPAN", value_parser = super::files::span)]
        older_than: Option<std::time::Duration>,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum InboxAction {
    /// List the messages that wait and the updates that nobody could read
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Show all of a message or of an unreadable update, as JSON
    Show {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Take in unreadable updates again, after an update of telepost or of its configuration
    Retry {
        /// The ids that `list` shows
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Drop messages, which no agent will see, or unreadable updates
    Drop {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}
