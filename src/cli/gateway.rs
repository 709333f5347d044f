//! `telepost gateway`: in the foreground, in the background, and its stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::arguments::{Cli, GatewayAction, GatewayOptions};
use super::failure::{Failure, exit};
use super::logging;
use super::setup::{Setup, block_on};
use super::signals::stop_on_signal;
use super::terminal::print;
use crate::config::{Env, Tokens};
use crate::error_chain::Chain;
use crate::gateway::{Gateway, GatewayError, singleton};
use crate::launch::{self, LaunchStage, Started};
use crate::state::logs;
use crate::waker::TmuxServer;

pub(super) fn run(cli: &Cli, env: &Env, options: &GatewayOptions) -> Result<(), Failure> {
    let setup = Setup::load(cli, env)?;
    let replace = options.replace;
    match (&options.action, options.stage) {
        (Some(GatewayAction::Stop), _) => stop(&setup),
        (None, _) if options.detach => start_detached(&setup, replace),
        (None, Some(LaunchStage::Leave)) => {
            let left = setup.launch(replace)?.leave();
            left.map_err(Failure::io("start the gateway in the background"))
        }
        (None, stage) => run_here(cli, env, setup, replace, stage.is_some()),
    }
}

fn stop(setup: &Setup) -> Result<(), Failure> {
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
    ))
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
    let locks = gateway.take_locks()?;
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
        tracing::error!(error = %Chain(error), "the gateway had to stop");
    }
    ended
}
