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
    /// The configuration [default: $TG_SESSIONS_CONFIG, else ~/.config/telepost/sessions.json]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, trace, or a tracing filter [default: $TELEPOST_LOG]
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

const EXIT_CODES: &str = "Exit codes:\n  0  success\n  1  not everything that was asked could be done\n  2  the command line was not understood\n  3  the configuration is refused, or no bot has a token\n  4  another gateway is already running\n  5  the state folder cannot be used\n  6  no connection to Telegram can be made\n  7  a file of Claude Code or Codex cannot be changed, or you said no\n  8  there is no such delivery, or its state does not allow that\n  70 a bug in telepost";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Serve one agent session over stdio (started by Claude Code or Codex)
    Mcp(McpOptions),
    /// Take in an event from a hook of Claude Code or Codex; the exit code is always 0
    Hook {
        /// Which: session-start, prompt, stop, stop-failure, end
        event: String,
        /// Which session of the configuration [default: all that the client of this hook serves]
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Poll Telegram and send: one per machine
    Gateway(GatewayOptions),
    /// Check the configuration and the tokens, and change nothing
    Check {
        /// Also ask Telegram for the name of each bot
        #[arg(long)]
        online: bool,
    },
    /// Register telepost with a client: server, hooks, command, skill, permission; shows the difference and asks
    Install(InstallOptions),
    /// Undo what install did
    Uninstall(UninstallOptions),
    /// Show the state of the gateway, the bots, the sessions and their agents; exits with 1 if something is off
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// List messages that wait to be sent or have failed; retry or drop one
    Outbox {
        #[command(subcommand)]
        action: OutboxAction,
    },
    /// Remove sessions that are no longer in the configuration, with all their messages; asks first
    Prune(PruneOptions),
    /// List, show and drop waiting messages; retry unreadable updates
    Inbox {
        /// Only this session
        #[arg(long, global = true, value_name = "ID")]
        session: Option<String>,
        #[command(subcommand)]
        action: InboxAction,
    },
    /// Remove files that came with messages
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

#[derive(Clone, Debug, Args)]
pub(super) struct McpOptions {
    /// Which session of the configuration [default: $TG_SESSION_ID, else by working directory, else `default`]
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Never start a gateway
    #[arg(long)]
    pub(super) no_gateway: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct GatewayOptions {
    /// Run in the background, and return when it is ready
    #[arg(long)]
    pub(super) detach: bool,
    /// Stop the running gateway first, and take over
    #[arg(long)]
    pub(super) replace: bool,
    #[arg(long, hide = true)]
    pub(super) stage: Option<LaunchStage>,
    #[command(subcommand)]
    pub(super) action: Option<GatewayAction>,
}

#[derive(Clone, Debug, Args)]
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

#[derive(Clone, Debug, Args)]
pub(super) struct PruneOptions {
    /// Which [default: all that are not in the configuration]
    #[arg(value_name = "SESSION")]
    pub(super) sessions: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Clone, Debug, Args)]
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

#[derive(Clone, Debug, Subcommand)]
pub(super) enum OutboxAction {
    /// List messages that wait to be sent or could not be delivered
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Send the parts of a failed delivery that Telegram does not have
    Retry {
        /// The id of the delivery, or the beginning of it
        id: String,
    },
    /// Do not send a delivery, or the rest of it
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
    /// Remove the files of answered messages; the files of waiting messages always stay
    Prune {
        /// Only this session
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only files older than this, such as 7d, 12h, 30m
        #[arg(long, value_name = "SPAN", value_parser = super::files::parse_span)]
        older_than: Option<std::time::Duration>,
        /// Say what would be removed, but remove nothing
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
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show a message or an unreadable update in full, as JSON
    Show {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Try unreadable updates again, after an update of telepost or of its configuration
    Retry {
        /// The ids that `list` shows
        #[arg(required_unless_present = "all", value_name = "ID")]
        ids: Vec<String>,
        /// All unreadable updates
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Drop messages, so that no agent sees them, or unreadable updates
    Drop {
        /// The ids that `list` shows
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}
