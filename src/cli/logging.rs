//! Where log lines go: always stderr for the MCP server (stdout is the protocol's), stderr and a
//! rotating file for the gateway. Never message text or tokens above DEBUG.

use std::io::{self, IsTerminal as _};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::state::layout::StateDir;
use crate::state::logs;
use crate::store::StoreError;

/// How many days of logs are kept.
const DAYS: usize = 7;

/// Starts the log of an MCP server: warnings, unless the level says more.
pub(super) fn start_for_mcp(level: Option<&str>) {
    let stderr = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let started = tracing_subscriber::registry()
        .with(filter(level, LevelFilter::WARN))
        .with(stderr)
        .try_init();
    drop(started);
}

/// Starts the log of the gateway: a file per day, and stderr when it runs in the foreground.
pub(super) fn start_for_gateway(
    state: &StateDir,
    level: Option<&str>,
    stderr: bool,
) -> Result<(), StoreError> {
    let folder = logs::create_folder(state)?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("gateway")
        .filename_suffix("log")
        .max_log_files(DAYS)
        .build(&folder)
        .map_err(|error| StoreError::new("open a log in", &folder, io::Error::other(error)))?;
    let file = fmt::layer().with_writer(file).with_ansi(false);
    let stderr = stderr.then(|| {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
    });
    let started = tracing_subscriber::registry()
        .with(filter(level, LevelFilter::INFO))
        .with(file)
        .with(stderr)
        .try_init();
    drop(started);
    // A panic belongs in the same log.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(
            place = panic.location().map(ToString::to_string),
            "panic: {words}"
        );
    }));
    Ok(())
}

/// Accepts a level or a filter from the command line.
pub(super) fn check_level(text: &str) -> Result<String, String> {
    let is_understood = if text.contains(['=', ',']) {
        text.parse::<Targets>().is_ok()
    } else {
        text.parse::<LevelFilter>().is_ok()
    };
    if is_understood {
        return Ok(text.to_owned());
    }
    Err(
        "write error, warn, info, debug, trace, off, or a filter such as telepost::waker=debug"
            .to_owned(),
    )
}

/// A bare level is ours alone: other crates log what they send and receive, message text included.
/// Not tracing's `EnvFilter`, whose expressions bring an engine of their own into every agent's memory.
fn filter(level: Option<&str>, default: LevelFilter) -> Targets {
    let ours = |level: LevelFilter| {
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("telepost", level)
    };
    let asked = level.and_then(|level| {
        if level.contains(['=', ',']) {
            level.parse().ok()
        } else {
            level.parse().ok().map(ours)
        }
    });
    asked.unwrap_or_else(|| ours(default))
}
