//! `telepost gateway`: in the foreground, in the background, and its stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::arguments::{Cli, GatewayAction, GatewayOptions};
use super::failure::{Failure, exit};
use super::logging;
use super::setup::{LenientSetup, Setup, block_on};
use super::signals::stop_on_signal;
use super::terminal::print;
use crate::config::{Env, Tokens};
use crate::error_chain::Chain;
use crate::gateway::{Gateway, GatewayError, singleton};
use crate::launch::{self, LaunchStage, Started};
use crate::state::gateway_status::{self, BotHealth, BotStatus};
use crate::state::logs;
use crate::text::one_line;
use crate::waker::TmuxServer;

/// How long the start of a gateway in the background waits for the first polls.
const POLLED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(cli: &Cli, env: &Env, options: &GatewayOptions) -> Result<(), Failure> {
    if matches!(options.action, Some(GatewayAction::Stop)) {
        return stop(&LenientSetup::load_and_warn(cli, env)?);
    }
    let setup = Setup::load(cli, env)?;
    let replace = options.replace;
    match options.stage {
        _ if options.detach => start_detached(&setup, replace),
        Some(LaunchStage::Leave) => {
            let left = setup.launch(replace)?.leave();
            left.map_err(Failure::io("start the gateway in the background"))
        }
        stage => run_here(cli, env, setup, replace, stage.is_some()),
    }
}

fn stop(setup: &LenientSetup) -> Result<(), Failure> {
    let was_running = block_on(singleton::stop(&setup.state, &setup.clock))??;
    print(if was_running {
        "The gateway has stopped.\n"
    } else {
        "No gateway is running.\n"
    })
}

fn start_detached(setup: &Setup, replace: bool) -> Result<(), Failure> {
    let started = setup.launch(replace)?.start();
    let started = started.map_err(Failure::io("start the gateway in the background"))?;
    let state = match started {
        Started::Ready => "is running in the background",
        Started::Silent => "was started but is not ready yet",
        Started::Failed { message, code } => {
            let code = code.unwrap_or(exit::BUG);
            return Err(Failure::NotStarted { message, code });
        }
    };
    let logs = logs::folder(&setup.state);
    print(&format!(
        "The gateway {state}; its log is in {}\n",
        logs.display()
    ))?;
    print(&wait_for_polls(setup)?)
}

/// Waits until each bot was polled once or cannot be, and says so, a line for each.
fn wait_for_polls(setup: &Setup) -> Result<String, Failure> {
    let deadline = setup.clock.instant() + POLLED_WITHIN;
    loop {
        let status = gateway_status::read(&setup.state, setup.clock.now())?;
        let bots = status.map(|status| status.bots).unwrap_or_default();
        let is_settled = |bot: &BotStatus| match bot.health {
            BotHealth::Starting => false,
            // Its name follows the first poll.
            BotHealth::Polling => bot.username.is_some(),
            BotHealth::Conflict(_) | BotHealth::Unreachable(_) | BotHealth::Off(_) => true,
        };
        if bots.iter().all(is_settled) || setup.clock.instant() >= deadline {
            return Ok(bots.iter().map(describe_poll).collect());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn describe_poll(bot: &BotStatus) -> String {
    let name = match (&bot.username, bot.id) {
        (Some(name), _) => format!("@{}", one_line(name)),
        (None, Some(id)) => format!("bot {id}"),
        (None, None) => "a bot".to_owned(),
    };
    match (&bot.health, bot.health.problem()) {
        (BotHealth::Polling, _) => format!("{name} is polled.\n"),
        (BotHealth::Unreachable(reason), _) => format!(
            "{name} is not polled yet, and is tried again: {}.\n",
            one_line(reason.trim_end_matches('.'))
        ),
        (_, Some(problem)) => format!(
            "{name} is not polled: {}.\n",
            one_line(problem.trim_end_matches('.'))
        ),
        (_, None) => format!("{name} is not polled yet; `telepost status` shows how it goes on.\n"),
    }
}

fn run_here(
    cli: &Cli,
    env: &Env,
    setup: Setup,
    replace: bool,
    is_detached: bool,
) -> Result<(), Failure> {
    let Setup {
        config,
        state,
        clock,
    } = setup;
    let tokens = Tokens::read(&config, env)?;
    let warnings = [&config.warnings()[..], tokens.warnings()].concat();
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
    let locks = gateway.take_locks(if is_detached {
        "telepost gateway --detach --replace"
    } else {
        "telepost gateway --replace"
    })?;
    logging::start_for_gateway(&state, cli.log_level(env), !is_detached)
        .map_err(GatewayError::from)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Threads for the disk end with their work, so that an idle gateway has none.
        .thread_keep_alive(Duration::from_millis(100))
        .enable_all()
        .build()
        .map_err(Failure::io("start the runtime"))?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = stop_on_signal(stop.clone());
        let run = gateway.run(locks, stop, || {
            if is_detached && let Err(error) = launch::report_ready(&state) {
                tracing::warn!(error = %Chain(&error), "cannot send output to the log");
            }
        });
        tokio::select! {
            // The second signal ends the wait for an orderly end; the state is safe at every moment.
            ended = run => ended.map_err(Failure::from),
            () = signals => Ok(()),
        }
    });
    runtime.shutdown_background();
    if let Err(error) = &ended {
        tracing::error!(error = %Chain(error), "the gateway stopped because of an error");
    }
    ended
}
