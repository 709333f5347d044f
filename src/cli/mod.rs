//! The command line: what is asked, and the one place that prints and decides the exit code.

#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments to people as they stand"
)]
mod arguments;
mod ask;
mod files;
mod hook;
mod inbox;
mod install;
mod logging;
mod prune;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use tokio_util::sync::CancellationToken;

use self::arguments::{Cli, Command, GatewayAction, OutboxAction};
use self::install::InstallFailure;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, Env, GatewayStart, TokenState, Tokens};
use crate::error_chain::Chain;
use crate::gateway::singleton::{self, SingletonError};
use crate::gateway::{Gateway, GatewayError};
use crate::ids::SessionId;
use crate::launch::{self, GatewayKeeper, Launch, LaunchStage, Started};
use crate::mcp::attach::Roots;
use crate::mcp::call::Mailbox;
use crate::mcp::server::{Served, Server, Waking};
use crate::ops::inbox::CareError;
use crate::ops::outbox::{ManageError, Outboxes};
use crate::ops::status::{self, Report};
use crate::state::agents::Reach;
use crate::state::agents::holder::Registration;
use crate::state::agents::process::ProcessId;
use crate::state::gateway_status;
use crate::state::layout::StateDir;
use crate::state::wake_requests::CallMarker;
use crate::store::StateError;
use crate::store::lock::LockError;
use crate::store::state_file::ReadError;
use crate::text::one_line;
use crate::waker::InboxSocket;
use crate::waker::TmuxServer;

/// How the program ends, besides clap's 2 for a command line that it does not understand. The numbers
/// are public.
mod exit {
    pub(super) const NOT_DONE: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const CONFIG: u8 = 3;
    pub(super) const ALREADY_RUNNING: u8 = 4;
    pub(super) const STORAGE: u8 = 5;
    pub(super) const TELEGRAM: u8 = 6;
    pub(super) const CLIENT: u8 = 7;
    pub(super) const NO_DELIVERY: u8 = 8;
    pub(super) const BUG: u8 = 70;
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Singleton(#[from] SingletonError),
    #[error(transparent)]
    Read(ReadError),
    #[error(transparent)]
    Manage(#[from] ManageError),
    #[error("cannot {operation}")]
    Io {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Install(#[from] InstallFailure),
    #[error("{words}")]
    NotStarted { words: String, code: u8 },
    #[error("{0}")]
    NotDone(String),
}

impl From<CareError> for Failure {
    fn from(error: CareError) -> Self {
        match error {
            CareError::State(error) => error.into(),
            CareError::Refused(words) => Self::NotDone(words),
        }
    }
}

impl<E: Into<StateError>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            StateError::Read(error) => Self::Read(error),
            StateError::Store(error) | StateError::Lock(LockError::Store(error)) => {
                Self::Read(error.into())
            }
            StateError::Lock(held @ LockError::Held { .. }) => Self::NotDone(held.to_string()),
        }
    }
}

impl Failure {
    fn exit(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Gateway(GatewayError::NoTokens(_)) => exit::CONFIG,
            Self::Singleton(error) | Self::Gateway(GatewayError::Singleton(error)) => match error {
                SingletonError::SameState { .. }
                | SingletonError::SameBot { .. }
                | SingletonError::WillNotStop { .. }
                | SingletonError::Unknown(_) => exit::ALREADY_RUNNING,
                SingletonError::Folder { .. } | SingletonError::Store(_) => exit::STORAGE,
            },
            Self::Gateway(GatewayError::Store(_) | GatewayError::Read(_))
            | Self::Read(_)
            | Self::Manage(ManageError::State(_))
            | Self::Io { .. } => exit::STORAGE,
            Self::Install(InstallFailure::Usage(_)) => exit::USAGE,
            Self::Install(InstallFailure::Files(_) | InstallFailure::Declined) => exit::CLIENT,
            Self::Gateway(GatewayError::Client(_)) => exit::TELEGRAM,
            Self::Manage(ManageError::NotFound(_) | ManageError::Refused(_)) => exit::NO_DELIVERY,
            Self::NotStarted { code, .. } => *code,
            Self::NotDone(_) => exit::NOT_DONE,
            Self::Gateway(GatewayError::TaskEnded(_)) => exit::BUG,
        }
    }
}

/// Runs the program with these arguments.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_hook = arguments.get(1).is_some_and(|word| word == "hook");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if is_hook && error.use_stderr() => {
            // A client takes clap's 2 for a refusal, and would hold its agent up.
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            // Help and version are "errors" too, with their own exit code 0.
            let printed = error.print();
            drop(printed);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Hook { event, session } = &cli.command {
        hook::run(&cli, event, session.as_deref());
        return ExitCode::SUCCESS;
    }
    match execute(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit();
            if let Command::Gateway {
                stage: Some(LaunchStage::Run),
                ..
            } = &cli.command
            {
                launch::report_failure(&Chain(&failure).to_string(), exit);
            } else {
                drop(writeln!(io::stderr(), "telepost: {}", Chain(&failure)));
            }
            ExitCode::from(exit)
        }
    }
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    let env = Env::read();
    let level = cli.log_level.as_deref().or_else(|| env.get("TELEPOST_LOG"));
    match &cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "telepost", &mut io::stdout());
            Ok(())
        }
        Command::Mcp {
            session,
            no_gateway,
        } => mcp(cli, &env, level, session.as_deref(), *no_gateway),
        // Has been carried out: whatever becomes of it is no failure.
        Command::Hook { .. } => Ok(()),
        Command::Check => check(cli, &env),
        Command::Install(options) => install::install(cli, &env, options),
        Command::Uninstall(options) => install::uninstall(&env, options),
        Command::Status { json } => status(cli, &env, *json),
        Command::Outbox { action } => outbox(cli, &env, action),
        Command::Prune(options) => {
            let (config, state) = load(cli, &env)?;
            prune::run(options, &config, &state, &clock(&env))
        }
        Command::Inbox { session, action } => {
            let (config, state) = load(cli, &env)?;
            inbox::run(action, session.as_deref(), &config, &state, &clock(&env))
        }
        Command::Files { action } => {
            let (config, state) = load(cli, &env)?;
            files::run(action, &config, &state, &clock(&env))
        }
        Command::Gateway {
            action: Some(GatewayAction::Stop),
            ..
        } => {
            let (_, state) = load(cli, &env)?;
            let stopped = block_on(singleton::stop(&state, &clock(&env)))??;
            print(if stopped {
                "The gateway has stopped.\n"
            } else {
                "No gateway runs.\n"
            })
        }
        Command::Gateway {
            detach: true,
            replace,
            ..
        } => start_detached(cli, &env, *replace),
        Command::Gateway {
            stage: Some(LaunchStage::Leave),
            replace,
            ..
        } => {
            let launch = launch(cli, &env, *replace)?;
            launch.leave().map_err(|source| Failure::Io {
                operation: "start the gateway in the background",
                source,
            })
        }
        Command::Gateway { stage, replace, .. } => {
            gateway(cli, &env, level, *replace, stage.is_some())
        }
    }
}

fn load(cli: &Cli, env: &Env) -> Result<(Config, StateDir), ConfigError> {
    let path = config::config_path(cli.config.as_deref(), env)?;
    let config = Config::load(&path, env)?;
    let state = StateDir::new(config::state_dir(Some(&config), env)?);
    Ok((config, state))
}

/// The session that somebody has named.
fn named(id: &str) -> Result<SessionId, Failure> {
    let wrong = |wrong| Failure::NotDone(format!("{} is no session: {wrong}", one_line(id)));
    SessionId::new(id).map_err(wrong)
}

/// Refuses a session that is neither configured nor has left anything.
fn known(id: &SessionId, config: &Config, state: &StateDir) -> Result<(), Failure> {
    let left = state.all_sessions().map_err(CareError::from)?;
    if config.sessions.contains_key(id) || left.contains(id) {
        return Ok(());
    }
    Err(Failure::NotDone(format!(
        "there is no session {id}; `telepost status` shows those that there are"
    )))
}

fn launch(cli: &Cli, env: &Env, replace: bool) -> Result<Launch, Failure> {
    let (config, state) = load(cli, env)?;
    Ok(Launch {
        program: program()?,
        config: config.path,
        state: state.root().to_owned(),
        replace,
    })
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|source| Failure::Io {
        operation: "find this program",
        source,
    })
}

fn start_detached(cli: &Cli, env: &Env, replace: bool) -> Result<(), Failure> {
    let launch = launch(cli, env, replace)?;
    let state = StateDir::new(launch.state.clone());
    let started = launch.start().map_err(|source| Failure::Io {
        operation: "start the gateway in the background",
        source,
    })?;
    match started {
        Started::Ready => print(&format!(
            "The gateway runs in the background; its log is in {}\n",
            state.logs().display()
        )),
        Started::Silent => print(&format!(
            "The gateway was started and is not ready yet; its log is in {}\n",
            state.logs().display()
        )),
        Started::Failed { message, code } => Err(Failure::NotStarted {
            words: message,
            code: code.unwrap_or(exit::BUG),
        }),
    }
}

fn gateway(
    cli: &Cli,
    env: &Env,
    level: Option<&str>,
    replace: bool,
    detached: bool,
) -> Result<(), Failure> {
    let (config, state) = load(cli, env)?;
    let tokens = Tokens::read(&config, env)?;
    let clock = clock(env);
    let warnings: Vec<String> = config
        .warnings()
        .iter()
        .chain(tokens.warnings())
        .cloned()
        .collect();
    let gateway = Gateway {
        config,
        tokens,
        state: state.clone(),
        tmux: TmuxServer::of(env),
        clock: clock.clone(),
    };
    if replace {
        gateway.require_token()?;
        block_on(singleton::stop(&state, &clock))??;
    }
    let locks = gateway.take_locks()?;
    logging::for_gateway(&state, level, !detached).map_err(GatewayError::from)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Threads for the disk go with the work, not in the middle of an idle night.
        .thread_keep_alive(Duration::from_millis(100))
        .enable_all()
        .build()
        .map_err(|source| Failure::Io {
            operation: "start the runtime",
            source,
        })?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = signals(stop.clone());
        let run = gateway.run(locks, stop, || {
            if detached && let Err(error) = launch::report_ready(&state) {
                tracing::warn!(error = %Chain(&error), "cannot send output to the log");
            }
        });
        tokio::select! {
            // The second signal ends the wait for an orderly end; state is safe at every moment.
            ended = run => ended.map_err(Failure::from),
            () = signals => Ok(()),
        }
    });
    runtime.shutdown_background();
    if let Err(error) = &ended {
        tracing::error!(error = %Chain(error), "the gateway had to stop");
    }
    ended
}

/// Cancels `stop` at the first stop signal, returns at the second. Signals are heard from the call
/// on, not only from the first poll: whoever sees the gateway work may stop it.
fn signals(stop: CancellationToken) -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut streams = Vec::new();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ] {
        match signal(kind) {
            Ok(stream) => streams.push(stream),
            Err(error) => tracing::warn!(%error, "a stop signal cannot be heard"),
        }
    }
    let mut count = 0;
    std::future::poll_fn(move |context| {
        for stream in &mut streams {
            while stream.poll_recv(context).is_ready() {
                count += 1;
                stop.cancel();
            }
        }
        if count >= 2 {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
}

fn mcp(
    cli: &Cli,
    env: &Env,
    level: Option<&str>,
    session: Option<&str>,
    no_gateway: bool,
) -> Result<(), Failure> {
    logging::for_mcp(level);
    let clock = clock(env);
    let client = ProcessId::parent();
    let session = serve(cli, env, session, no_gateway, &client, &clock)
        .map_err(|error| Chain(&error).to_string());
    if let Err(error) = &session {
        tracing::error!("{error}");
    }
    let server = Server::new(session, client, clock);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Io {
            operation: "start the runtime",
            source,
        })?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::select! {
            ended = server.run(stop.clone()) => ended,
            () = stop_signal(stop.clone()) => Ok(()),
        }
    });
    // A read of stdin that still waits must not keep the process.
    runtime.shutdown_background();
    ended.map_err(|source| Failure::Io {
        operation: "serve MCP",
        source,
    })
}

async fn stop_signal(stop: CancellationToken) {
    let both = signals(stop.clone());
    tokio::select! {
        () = stop.cancelled() => {}
        () = both => {}
    }
}

fn serve(
    cli: &Cli,
    env: &Env,
    session: Option<&str>,
    no_gateway: bool,
    client: &ProcessId,
    clock: &Clock,
) -> Result<Served, Failure> {
    let (config, state) = load(cli, env)?;
    let cwd = std::env::current_dir().ok();
    let (session, binding) = config.serving(session, env, cwd.as_deref())?;
    tracing::info!(session = %session.id, ?binding, "serving");
    let roots = Roots::new(session, cwd.as_deref(), state.root(), &config.path);
    let dir = state.session(&session.id);
    let reach = Reach::see(env, client);
    let registration = Registration::new(&dir, client, reach, clock.now());
    let waking = Waking {
        explicit: binding.is_explicit(),
        socket: Mutex::new(InboxSocket::of(env)),
        calls: Mutex::new(CallMarker::new(&dir, &registration.name())),
    };
    let launch = Launch {
        program: program()?,
        config: config.path.clone(),
        state: state.root().to_owned(),
        replace: false,
    };
    let start = if no_gateway {
        GatewayStart::Manual
    } else {
        config.gateway
    };
    Ok(Served {
        mailbox: Mailbox::new(state.clone(), session, registration, roots, clock.clone()),
        gateway: GatewayKeeper::new(launch, state, start, clock.clone()),
        waking,
    })
}

fn check(cli: &Cli, env: &Env) -> Result<(), Failure> {
    let (config, state) = load(cli, env)?;
    let tokens = Tokens::read(&config, env)?;
    let mut text = format!(
        "{} is accepted.\nState folder: {}\nBot API: {}\n\n",
        config.path.display(),
        state.root().display(),
        config.api_url
    );
    let rows = config.sessions.values().map(|session| {
        let bot = match tokens.of(&session.id) {
            Some(TokenState::Set(token)) => format!("bot {}", token.bot_id()),
            Some(TokenState::Unset { variable }) => {
                format!("{variable} is not set: this bot stays off")
            }
            None => String::new(),
        };
        let id = if session.id == config.default {
            format!("{} (default)", session.id)
        } else {
            session.id.to_string()
        };
        vec![
            id,
            session.name.clone(),
            bot,
            list(&session.chat_ids),
            list(&session.allowed_users),
        ]
    });
    text.push_str(&status::table(
        &["session", "name", "bot", "chats", "people"],
        rows,
    ));
    for warning in config.warnings().iter().chain(tokens.warnings()) {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    print(&format!("{text}\n"))
}

fn list<T: std::fmt::Display>(ids: &[T]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn status(cli: &Cli, env: &Env, json: bool) -> Result<(), Failure> {
    let (config, state) = load(cli, env)?;
    let now = clock(env).now();
    let report = Report::gather(&state, &config, now)?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Io {
            operation: "write the report",
            source: error.into(),
        })?;
        return print(&format!("{text}\n"));
    }
    print(&report.to_text(now))
}

fn outbox(cli: &Cli, env: &Env, action: &OutboxAction) -> Result<(), Failure> {
    let (config, state) = load(cli, env)?;
    let mut sessions: Vec<_> = config.sessions.keys().cloned().collect();
    for id in state.all_sessions().map_err(ReadError::from)? {
        if !sessions.contains(&id) {
            sessions.push(id);
        }
    }
    let outboxes = Outboxes::new(&state, sessions, clock(env));
    match action {
        OutboxAction::List { json: true } => {
            let rows = outboxes.list()?;
            let text = serde_json::to_string_pretty(&rows).map_err(|error| Failure::Io {
                operation: "write the list",
                source: error.into(),
            })?;
            print(&format!("{text}\n"))
        }
        OutboxAction::List { json: false } => print(&status::deliveries(&outboxes.list()?)),
        OutboxAction::Retry { id } => print(&outboxes.retry(id)?),
        OutboxAction::Drop { id } => {
            let runs = gateway_status::is_running(&state).map_err(ReadError::from)?;
            print(&block_on(outboxes.drop(id, runs))??)
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // `telepost status | head` is not an error of ours.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|source| Failure::Io {
            operation: "print",
            source,
        }),
    }
}

fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Io {
            operation: "start the runtime",
            source,
        })?;
    Ok(runtime.block_on(future))
}

#[cfg(not(feature = "test-hooks"))]
fn clock(_env: &Env) -> Clock {
    Clock::system()
}

/// A test moves the wall clock of one process with `TELEPOST_TEST_CLOCK_MS`.
#[cfg(feature = "test-hooks")]
fn clock(env: &Env) -> Clock {
    Clock::shifted(
        env.get("TELEPOST_TEST_CLOCK_MS")
            .and_then(|shift| shift.parse().ok())
            .unwrap_or(0),
    )
}

/// Whether stderr is read by a person.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}
