//! The command line. `--help` prints the comments here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Env;
use crate::install::client::Client;
use crate::launch::LaunchStage;

/// A durable Telegram mailbox for every coding-agent session.
#[derive(Clone, Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(super) struct Cli {
    /// The configuration file [default: $TG_SESSIONS_CONFIG, else ~/.config/telepost/sessions.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The log level: error, warn, info, debug, trace, or a tracing filter [default: $TELEPOST_LOG]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = super::logging::check_level)]
    pub(super) log_level: Option<String>,
    #[command(subcommand)]
    pub(super) command: CliCommand,
}

impl Cli {
    /// How much is logged, unless the default holds.
    pub(super) fn log_level<'a>(&'a self, env: &'a Env) -> Option<&'a str> {
        self.log_level
            .as_deref()
            .or_else(|| env.get("TELEPOST_LOG"))
    }
}

const EXIT_CODES: &str = "Exit codes:\n  0  success\n  1  the request, or part of it, could not be carried out\n  2  the command line is invalid\n  3  the configuration is invalid, or no bot has a token\n  4  another gateway is already running\n  5  the state folder cannot be used\n  6  the HTTPS client for Telegram cannot be set up\n  7  a file of Claude Code or Codex cannot be changed, or you declined\n  8  there is no such delivery, or its state does not allow that\n  70 a bug in telepost";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Serve one agent session over stdio (started by Claude Code or Codex)
    Mcp(McpOptions),
    /// Handle an event from a Claude Code or Codex hook; the exit code is always 0
    Hook {
        /// The event: session-start, prompt, stop, stop-failure, end
        event: String,
        /// The session's id in the configuration [default: all sessions that this hook's client serves]
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Poll Telegram and send messages; one gateway per machine
    Gateway(GatewayOptions),
    /// Check the configuration and the tokens without changing anything
    Check {
        /// Also ask Telegram for the name of each bot
        #[arg(long)]
        online: bool,
    },
    /// Register telepost with a client: server, hooks, command, skill, permission; shows the changes and asks first
    Install(InstallOptions),
    /// Undo what install did
    Uninstall(UninstallOptions),
    /// Show the state of the gateway, the bots, the sessions and their agents; exits with 1 if something is off
    Status {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// List messages that are waiting to be sent or have failed; retry or drop one
    Outbox {
        #[command(subcommand)]
        action: OutboxAction,
    },
    /// Remove sessions that are no longer in the configuration, including all their messages; asks first
    Prune(PruneOptions),
    /// List, show and drop waiting messages; retry unreadable updates
    Inbox {
        /// Only this session
        #[arg(long, global = true, value_name = "ID")]
        session: Option<String>,
        #[command(subcommand)]
        action: InboxAction,
    },
    /// Remove files received with messages
    Files {
        #[command(subcommand)]
        action: FilesAction,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct McpOptions {
    /// The session's id in the configuration [default: $TG_SESSION_ID, else by working directory, else `default`]
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Never start a gateway
    #[arg(long)]
    pub(super) no_gateway: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct GatewayOptions {
    /// Run in the background; return when the gateway is ready
    #[arg(long)]
    pub(super) detach: bool,
    /// Stop the running gateway first, then take over
    #[arg(long)]
    pub(super) replace: bool,
    #[arg(long, hide = true)]
    pub(super) stage: Option<LaunchStage>,
    #[command(subcommand)]
    pub(super) action: Option<GatewayAction>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct InstallOptions {
    /// The client
    pub(super) client: Client,
    /// The session's id in the configuration [default: $TG_SESSION_ID, else by working directory, else the only one]
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Which Claude Code windows get telepost [default: local]
    #[arg(long)]
    pub(super) scope: Option<Scope>,
    /// Show the changes without making them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
    /// Replace another server, command or skill of the same name; uninstall restores it
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct PruneOptions {
    /// The sessions to remove [default: all that are not in the configuration]
    #[arg(value_name = "SESSION")]
    pub(super) sessions: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct UninstallOptions {
    /// The client
    pub(super) client: Client,
    /// Show the changes without making them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scope {
    /// Windows in the session's `cwd`, else in the working directory (its whole Git repository)
    Local,
    /// All windows; without --session, each one gets its folder's session, else `default`
    User,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum OutboxAction {
    /// List messages that are waiting to be sent or could not be delivered
    List {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Send the undelivered parts of a failed delivery
    Retry {
        /// The id of the delivery, or the beginning of it
        id: String,
    },
    /// Drop a delivery, or the part of it that has not been sent
    Drop {
        /// The id of the delivery, or the beginning of it
        id: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum GatewayAction {
    /// Stop the running gateway
    Stop,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum FilesAction {
    /// Remove the files of answered messages; the files of waiting messages are always kept
    Prune {
        /// Only this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only files older than this, such as 7d, 12h, 30m
        #[arg(long, value_name = "SPAN", value_parser = super::files::parse_span)]
        older_than: Option<std::time::Duration>,
        /// Show what would be removed without removing anything
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum InboxAction {
    /// List waiting messages and unreadable updates
    List {
        /// How many messages of each session at most
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: usize,
        /// Only messages that came after this one
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show a message or an unreadable update in full, as JSON
    Show {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Retry unreadable updates, after an upgrade of telepost or a change of its configuration
    Retry {
        /// The ids that `list` shows
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<String>,
        /// All unreadable updates
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Drop waiting messages (no agent will see them) or unreadable updates
    Drop {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}
