//! The gateway: the one process per machine that owns the tokens. It alone polls, and it alone sends.
//!
//! Owns the order of its life: locks before any side effect, then the house of tasks (one poller and
//! one responder per bot, one sender, one fetcher, one waker, one housekeeper), then an orderly end that saves
//! time and never data.

pub mod commands;
mod dedup;
pub mod intake;
pub mod poller;
pub mod responder;
pub mod singleton;
mod undecided;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Bot, Config, TokenState, Tokens};
use crate::fetcher::Fetcher;
use crate::ids::{BotId, SessionId};
use crate::routing::routes;
use crate::sender::Sender;
use crate::sender::command_replies::Asides;
use crate::state::bots::{BotState, Heard};
use crate::state::files::Files;
use crate::state::gateway_status;
use crate::state::gateway_status::Presence;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::state::outbox::Outbox;
use crate::store::{StoreError, atomic};
use crate::telegram::api::{self, Api, ClientError};
use crate::waker::Waker;
use crate::waker::methods::tmux::Surroundings;
use responder::Responder;
use singleton::{BotLock, Locks, SingletonError};

/// How long tasks may take to end after a stop signal. Longer than this only a request in flight
/// takes, and what becomes of that is on disk already.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often the housekeeper looks after tombstones, results and lock files.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// What a gateway runs on.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration.
    pub config: Config,
    /// The tokens of its bots.
    pub tokens: Tokens,
    /// The state folder.
    pub state: StateDir,
    /// Where agents are looked for that have not said where they are.
    pub around: Surroundings,
    /// The clocks.
    pub clock: Clock,
}

/// The gateway could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Another gateway runs.
    #[error(transparent)]
    Singleton(#[from] SingletonError),
    /// The state folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the state is newer than this program.
    #[error(transparent)]
    Read(#[from] crate::store::format::ReadError),
    /// No HTTPS.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No bot has a token.
    #[error("no bot can run, because no token is set: {0}")]
    NoTokens(String),
    /// A task ended that never should: a bug.
    #[error("the gateway stopped because its {0} ended unasked; this is a bug in telepost")]
    TaskEnded(&'static str),
}

/// What a task of the gateway was.
#[derive(Clone, Copy, Debug)]
enum Task {
    Poller,
    Responder,
    Sender,
    Fetcher,
    Waker,
    Housekeeper,
}

impl Gateway {
    /// Whether there is a bot to run. Asked before a running gateway is replaced by one that cannot.
    pub fn has_a_token(&self) -> Result<(), GatewayError> {
        if self.tokens.bots().is_empty() {
            return Err(GatewayError::NoTokens(unset_variables(&self.tokens)));
        }
        Ok(())
    }

    /// Takes the locks. No side effect of any kind comes before: no log line in the running gateway's
    /// files, no call to Telegram.
    pub fn take_locks(&self) -> Result<Locks, GatewayError> {
        self.has_a_token()?;
        let ids: Vec<BotId> = self.tokens.bots().keys().copied().collect();
        self.state.prepare()?;
        Ok(Locks::take(
            &self.state,
            &self.config.path,
            &ids,
            self.clock.now(),
        )?)
    }

    /// Runs under these locks until `stop` is cancelled. `ready` is called once the house stands.
    pub async fn run(
        self,
        locks: Locks,
        stop: CancellationToken,
        ready: impl FnOnce(),
    ) -> Result<(), GatewayError> {
        let Self {
            config,
            tokens,
            state,
            around,
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
        sweep(&state, &clock);
        // A damaged one makes room, a newer one is not overwritten.
        let before = gateway_status::read(&state, clock.now())?;
        let presence = Presence::begin(&state, &config, &tokens, clock.clone(), before.as_ref());
        // Before the first poll: whoever sees the bot polled finds out by whom.
        presence.write();
        for (_, reason) in unset(&tokens) {
            tracing::error!(reason, "a bot is switched off; the others run");
        }

        let Locks {
            gateway: gateway_lock,
            bots: bot_locks,
        } = locks;
        let hall = Hall {
            presence,
            polled: [Arc::new(Notify::new()), Arc::new(Notify::new())],
            heard: Arc::new(Heard::default()),
            asides: Asides::default(),
        };
        let clients = api::Clients::new()?;
        let mut staff = Vec::new();
        for (bot_lock, bot) in bot_locks.into_iter().zip(bots.values()) {
            let api = Api::new(&bot.token, &config.api_url, clients.clone());
            staff.push(Staff::of(
                &config, &state, &clock, api, bot, bot_lock, &hall,
            )?);
        }
        let states: Vec<_> = staff.iter().map(|staff| Arc::clone(&staff.bot)).collect();
        let Hall {
            polled: [polled, fetch],
            heard,
            asides,
            ..
        } = hall;
        let fetcher = Fetcher::new(&state, &config, &states, clock.clone(), fetch);
        let sender = Sender::new(
            &state,
            &config,
            &states,
            clock.clone(),
            polled,
            heard,
            asides,
        )?;

        // Everything that could refuse to start has been asked; from here on the house lives.
        let mut house: JoinSet<Task> = JoinSet::new();
        for Staff {
            poller, responder, ..
        } in staff
        {
            enter(&mut house, Task::Poller, poller.run(stop.clone()));
            enter(&mut house, Task::Responder, responder.run(stop.clone()));
        }
        enter(&mut house, Task::Sender, sender.run(stop.clone()));
        enter(&mut house, Task::Fetcher, fetcher.run(stop.clone()));
        let waker = Waker::new(&state, &config, around, clock.clone());
        enter(&mut house, Task::Waker, waker.run(stop.clone()));
        let housekeeping = housekeeping(state.clone(), clock, stop.clone());
        enter(&mut house, Task::Housekeeper, housekeeping);
        ready();
        let ended = live(house, stop).await;
        drop(gateway_lock);
        tracing::info!("gateway stopped");
        ended
    }
}

/// Lets a task of the gateway begin its work.
fn enter(house: &mut JoinSet<Task>, task: Task, work: impl Future<Output = ()> + Send + 'static) {
    house.spawn(async move {
        work.await;
        task
    });
}

/// Where the tasks of the house meet.
#[derive(Debug)]
struct Hall {
    presence: Arc<Presence>,
    /// Tells the sender and the fetcher that a poll is done.
    polled: [Arc<Notify>; 2],
    heard: Arc<Heard>,
    asides: Asides,
}

/// Who works for one bot, besides the sender.
#[derive(Debug)]
struct Staff {
    bot: Arc<BotState>,
    poller: poller::Poller,
    responder: Responder,
}

impl Staff {
    fn of(
        config: &Config,
        state: &StateDir,
        clock: &Clock,
        api: Api,
        bot: &Bot,
        lock: BotLock,
        hall: &Hall,
    ) -> Result<Self, GatewayError> {
        let id = api.id();
        let shared = Arc::new(BotState::load(state, api, clock)?);
        let ingest = intake::Ingest::open(
            state,
            id,
            routes(config, &bot.sessions),
            Arc::clone(&shared.migrations),
            Arc::clone(&hall.heard),
            clock.clone(),
        )?;
        let sessions = bot.sessions.iter().filter_map(|id| config.sessions.get(id));
        let names = sessions.map(|session| (session.id.clone(), session.name.clone()));
        let (responder, tasks) = Responder::new(
            state,
            clock,
            Arc::clone(&shared),
            hall.asides.clone(),
            names.collect(),
        );
        let told = poller::Told {
            presence: Arc::clone(&hall.presence),
            polled: hall.polled.clone(),
            tasks,
        };
        let poller = poller::Poller::new(
            Arc::clone(&shared),
            ingest,
            lock,
            told,
            clock.clone(),
            config.pace,
        );
        Ok(Self {
            bot: shared,
            poller,
            responder,
        })
    }
}

/// Waits until the gateway is told to stop, or a task ends that never should, and for the end of all.
async fn live(mut house: JoinSet<Task>, stop: CancellationToken) -> Result<(), GatewayError> {
    let ended = tokio::select! {
        // Cancel-safe: a JoinSet loses nothing, a token stays cancelled.
        () = stop.cancelled() => None,
        ended = house.join_next() => ended,
    };
    let asked = stop.is_cancelled();
    stop.cancel();
    let drained = async { while house.join_next().await.is_some() {} };
    if tokio::time::timeout(END_WITHIN, drained).await.is_err() {
        tracing::info!(
            "a request was still under way; what it was is recorded and is taken up at the next start"
        );
        house.abort_all();
    }
    match ended {
        None => Ok(()),
        Some(_) if asked => Ok(()),
        Some(Ok(task)) => Err(GatewayError::TaskEnded(name(task))),
        Some(Err(error)) => {
            tracing::error!(%error, "a task of the gateway panicked");
            Err(GatewayError::TaskEnded("task"))
        }
    }
}

fn name(task: Task) -> &'static str {
    match task {
        Task::Poller => "poller",
        Task::Responder => "responder",
        Task::Sender => "sender",
        Task::Fetcher => "fetcher",
        Task::Waker => "waker",
        Task::Housekeeper => "housekeeper",
    }
}

/// The sessions without a token, and why.
fn unset(tokens: &Tokens) -> Vec<(SessionId, String)> {
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
    let reasons: Vec<String> = unset(tokens)
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    format!(
        "{}; set it in the environment, or as NAME=token in the file .env beside sessions.json",
        reasons.join(", ")
    )
}

async fn housekeeping(state: StateDir, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            // Cancel-safe: nothing is begun before the pause is over.
            () = stop.cancelled() => return,
            () = clock.sleep(HOUSEKEEPING) => sweep(&state, &clock),
        }
    }
}

/// Removes what is past its time. A failure costs room, never a message.
fn sweep(state: &StateDir, clock: &Clock) {
    let now = clock.now();
    // Compared with the times of files, which no test shifts.
    let file_time = Clock::system().now();
    let swept = (|| -> Result<(), StoreError> {
        for id in state.all_sessions()? {
            let dir = state.session(&id);
            for folder in [
                dir.inbox(),
                dir.conversations(),
                dir.agents(),
                dir.wakes(),
                dir.turns(),
                dir.outbox(),
                dir.sent(),
                dir.failed(),
                dir.drops(),
            ] {
                atomic::remove_leftovers(&folder, file_time);
            }
            Inbox::new(state, dir.clone()).sweep(now)?;
            Files::new(state, dir.clone()).sweep(now)?;
            Outbox::new(state, dir).sweep(now)?;
        }
        atomic::remove_leftovers(state.root(), file_time);
        // The log's writer knows no modes.
        for name in atomic::list(&state.logs())? {
            atomic::make_private(&state.logs().join(name))?;
        }
        Ok(())
    })();
    if let Err(error) = swept {
        tracing::warn!(error = %crate::error_chain::Chain(&error), "cannot clean up");
    }
}
