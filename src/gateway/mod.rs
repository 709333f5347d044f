//! The gateway: the one process per machine that owns the tokens. It alone polls, and it alone sends.
//!
//! Its life has an order: locks before any side effect, then the tasks (one poller and one responder per bot,
//! one sender, one fetcher, one waker, one housekeeper), then an orderly end that saves time and never data.

pub(crate) mod commands;
mod dedup;
mod housekeeping;
pub mod intake;
pub(crate) mod online;
pub(crate) mod poller;
pub mod responder;
pub(crate) mod singleton;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::intake::{BatchWriter, Intake};
use self::poller::Poller;
use self::responder::Responder;
use self::singleton::{BotLock, Locks, SingletonError};
use crate::clock::Clock;
use crate::config::{Bot, Config, TokenState, Tokens};
use crate::fetcher::Fetcher;
use crate::ids::{BotId, SessionId};
use crate::routing::build_routes;
use crate::sender::Sender;
use crate::sender::command_replies::CommandReplyInbox;
use crate::state::bots::{BotHandle, HeardChats};
use crate::state::gateway_status::{self, StatusWriter};
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::telegram::api::{self, Api, ClientError};
use crate::waker::TmuxServer;
use crate::waker::Waker;

/// How long tasks may take to end after a stop signal. Only a request in flight takes longer, and its
/// outcome is recorded as unknown already.
const END_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) tokens: Tokens,
    pub(crate) state: StateDir,
    /// Where to look for agents that have not registered.
    pub(crate) tmux: TmuxServer,
    pub(crate) clock: Clock,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error(transparent)]
    Singleton(#[from] SingletonError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the state is newer than this program.
    #[error(transparent)]
    Read(#[from] crate::store::state_file::ReadError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no bot can run, because no token is set: {0}")]
    NoTokens(String),
    /// A task ended although none should: a bug.
    #[error("the gateway stopped because its {0} ended unexpectedly; this is a bug in telepost")]
    TaskEnded(&'static str),
}

impl Gateway {
    /// Fails when no bot has a token. Checked before a running gateway is replaced by one that cannot run.
    pub(crate) fn require_token(&self) -> Result<(), GatewayError> {
        if self.tokens.bots().is_empty() {
            return Err(GatewayError::NoTokens(unset_variables(&self.tokens)));
        }
        Ok(())
    }

    /// Takes the locks; `take_over` is the command that would take them from another gateway. No side effect of any kind comes before: no log line in the running gateway's files,
    /// no call to Telegram.
    pub(crate) fn take_locks(&self, take_over: &'static str) -> Result<Locks, GatewayError> {
        self.require_token()?;
        let ids: Vec<BotId> = self.tokens.bots().keys().copied().collect();
        self.state.prepare()?;
        Ok(Locks::take(
            &self.state,
            &self.config.path,
            &ids,
            self.clock.now(),
            take_over,
        )?)
    }

    /// Runs under these locks until `stop` is cancelled. `ready` is called once everything has started.
    pub(crate) async fn run(
        self,
        locks: Locks,
        stop: CancellationToken,
        ready: impl FnOnce(),
    ) -> Result<(), GatewayError> {
        let Self {
            config,
            tokens,
            state,
            tmux,
            clock,
        } = self;
        let bots = tokens.bots();
        let ids: Vec<BotId> = bots.keys().copied().collect();
        tracing::info!(
            pid = std::process::id(),
            version = env!("CARGO_PKG_VERSION"),
            bots = ids.len(),
            sessions = config.sessions.len(),
            "gateway started"
        );

        for id in config.sessions.keys() {
            state.session(id).prepare()?;
        }
        housekeeping::sweep(&state, &clock);
        // A damaged file makes room; a newer one is not overwritten.
        let before = gateway_status::read(&state, clock.now())?;
        let status = StatusWriter::begin(&state, &config, &tokens, clock.clone(), before.as_ref());
        // Written before the first poll, so that a second gateway can name the one that polls.
        status.write();
        for (_, reason) in unset_tokens(&tokens) {
            tracing::error!(reason, "a bot is off; the others keep running");
        }

        let Locks {
            gateway: gateway_lock,
            bots: bot_locks,
        } = locks;
        let shared = SharedHandles {
            status,
            wakes: [Arc::new(Notify::new()), Arc::new(Notify::new())],
            heard: Arc::new(HeardChats::default()),
            command_replies: CommandReplyInbox::default(),
        };
        let clients = api::HttpClients::new(tokens.proxy())?;
        let mut bot_tasks = Vec::new();
        for (bot_lock, bot) in bot_locks.into_iter().zip(bots.values()) {
            let api = Api::new(&bot.token, &config.api_url, clients.clone());
            bot_tasks.push(BotTasks::new(
                &config, &state, &clock, api, bot, bot_lock, &shared,
            )?);
        }
        let bots: Vec<_> = bot_tasks.iter().map(|one| Arc::clone(&one.bot)).collect();
        let SharedHandles {
            wakes: [wake_sender, wake_fetcher],
            heard,
            command_replies,
            ..
        } = shared;
        let fetcher = Fetcher::new(&state, &config, &bots, clock.clone(), wake_fetcher);
        let sender = Sender::new(
            &state,
            &config,
            &bots,
            clock.clone(),
            wake_sender,
            heard,
            command_replies,
        )?;
        let waker = Waker::new(&state, &config, tmux, clock.clone());

        // Everything that can refuse to start has been tried.
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        for one in bot_tasks {
            spawn(&mut tasks, "poller", one.poller.run(stop.clone()));
            spawn(&mut tasks, "responder", one.responder.run(stop.clone()));
        }
        spawn(&mut tasks, "sender", sender.run(stop.clone()));
        spawn(&mut tasks, "fetcher", fetcher.run(stop.clone()));
        spawn(&mut tasks, "waker", waker.run(stop.clone()));
        let housekeeper = housekeeping::run(state.clone(), clock, stop.clone());
        spawn(&mut tasks, "housekeeper", housekeeper);
        ready();
        let ended = wait_for_end(tasks, stop).await;
        drop(gateway_lock);
        tracing::info!("gateway stopped");
        ended
    }
}

/// Spawns a task that returns its own name, so that an unexpected end can be reported.
fn spawn(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    tasks.spawn(async move {
        work.await;
        name
    });
}

#[derive(Debug)]
struct SharedHandles {
    status: Arc<StatusWriter>,
    /// Intake notifies the sender and the fetcher after each batch.
    wakes: [Arc<Notify>; 2],
    heard: Arc<HeardChats>,
    command_replies: CommandReplyInbox,
}

/// The tasks of one bot, besides the sender.
#[derive(Debug)]
struct BotTasks {
    bot: Arc<BotHandle>,
    poller: Poller,
    responder: Responder,
}

impl BotTasks {
    fn new(
        config: &Config,
        state: &StateDir,
        clock: &Clock,
        api: Api,
        bot: &Bot,
        lock: BotLock,
        shared: &SharedHandles,
    ) -> Result<Self, GatewayError> {
        let handle = Arc::new(BotHandle::load(state, api.clone(), clock)?);
        let writer = BatchWriter::open(
            state,
            api.id(),
            build_routes(config, &bot.sessions),
            Arc::clone(&handle.migrations),
            Arc::clone(&shared.heard),
            clock.clone(),
        )?
        .sharing(Arc::clone(&handle.sent));
        let sessions = bot.sessions.iter().filter_map(|id| config.sessions.get(id));
        let names = sessions.map(|session| (session.id.clone(), session.name.clone()));
        let (responder, tasks) = Responder::new(
            state,
            clock,
            Arc::clone(&handle),
            shared.command_replies.clone(),
            names.collect(),
        );
        let status = &shared.status;
        let intake = Intake::new(
            Arc::clone(&handle),
            writer,
            Arc::clone(status),
            shared.wakes.clone(),
            tasks.clone(),
        );
        let poller = Poller::new(
            api,
            intake,
            lock,
            Arc::clone(status),
            tasks,
            clock.clone(),
            config.pace,
        );
        Ok(Self {
            bot: handle,
            poller,
            responder,
        })
    }
}

/// Waits until the gateway is told to stop or a task ends unexpectedly, then for the end of all tasks.
async fn wait_for_end(
    mut tasks: JoinSet<&'static str>,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    let ended = tokio::select! {
        // Cancel-safe: a JoinSet keeps its tasks, a token stays cancelled.
        () = stop.cancelled() => None,
        ended = tasks.join_next() => ended,
    };
    let asked = stop.is_cancelled();
    stop.cancel();
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(END_WITHIN, drained).await.is_err() {
        tracing::info!(
            "a request was still in flight; it is recorded and resumed at the next start"
        );
        tasks.abort_all();
    }
    match ended {
        None => Ok(()),
        Some(_) if asked => Ok(()),
        Some(Ok(task)) => Err(GatewayError::TaskEnded(task)),
        Some(Err(error)) => {
            tracing::error!(%error, "a task of the gateway panicked");
            Err(GatewayError::TaskEnded("task"))
        }
    }
}

/// The sessions without a token, and the reason.
fn unset_tokens(tokens: &Tokens) -> Vec<(SessionId, String)> {
    tokens
        .iter()
        .filter_map(|(session, state)| match state {
            TokenState::Set(_) => None,
            TokenState::Unset { variable } => Some((
                session.clone(),
                format!("{variable} is not set (session {session})"),
            )),
        })
        .collect()
}

fn unset_variables(tokens: &Tokens) -> String {
    let reasons: Vec<String> = unset_tokens(tokens)
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    format!(
        "{}; set it in the environment, or as NAME=token in the file .env beside sessions.json",
        reasons.join(", ")
    )
}
