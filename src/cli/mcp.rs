//! `telepost mcp`: serves one agent over stdio.

use std::path::Path;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use super::arguments::{Cli, McpOptions};
use super::failure::Failure;
use super::logging;
use super::setup::{Setup, clock};
use super::signals::stop_on_signal;
use crate::config::{Env, GatewayStart};
use crate::error_chain::Chain;
use crate::launch::GatewayKeeper;
use crate::mcp::attach::Roots;
use crate::mcp::call::Mailbox;
use crate::mcp::server::{Served, Server, Waking};
use crate::state::agents::Reach;
use crate::state::agents::holder::Registration;
use crate::state::agents::process::ProcessId;
use crate::state::wake_requests::CallMarker;
use crate::waker::InboxSocket;

pub(super) fn run(cli: &Cli, env: &Env, options: &McpOptions) -> Result<(), Failure> {
    logging::start_for_mcp(cli.log_level(env));
    let client = ProcessId::parent();
    // A server that cannot serve says so in its tools: the agent is the one that can tell a person.
    let open = {
        let (cli, env, options, client) =
            (cli.clone(), env.clone(), options.clone(), client.clone());
        Box::new(move || {
            let session = open_session(&cli, &env, &options, &client);
            session.map_err(|error| Chain(&error).to_string())
        })
    };
    let server = Server::new(open, client, clock(env));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::io("start the runtime"))?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = stop_on_signal(stop.clone());
        tokio::select! {
            ended = server.run(stop.clone()) => ended,
            () = stop.cancelled() => Ok(()),
            () = signals => Ok(()),
        }
    });
    // A read of stdin that still waits must not keep the process.
    runtime.shutdown_background();
    ended.map_err(Failure::io("serve MCP"))
}

fn open_session(
    cli: &Cli,
    env: &Env,
    options: &McpOptions,
    client: &ProcessId,
) -> Result<Served, Failure> {
    let setup = Setup::load(cli, env)?;
    let launch = setup.launch(false)?;
    let Setup {
        config,
        state,
        clock,
    } = setup;
    let cwd = std::env::current_dir().ok();
    let (session, binding) = config.serving(options.session.as_deref(), env, cwd.as_deref())?;
    tracing::info!(session = %session.id, ?binding, "serving");
    let home = env.get("HOME").map(Path::new);
    let roots = Roots::new(session, cwd.as_deref(), home, state.root(), &config.path);
    let dir = state.session(&session.id);
    let reach = Reach {
        binding: Some(binding),
        ..Reach::see(env, client)
    };
    let registration = Registration::new(&dir, client, reach, clock.now());
    let waking = Waking {
        explicit: binding.is_explicit(),
        socket: Mutex::new(InboxSocket::of(env)),
        calls: Mutex::new(CallMarker::new(&dir, &registration.name())),
    };
    let start = if options.no_gateway {
        GatewayStart::Manual
    } else {
        config.gateway
    };
    Ok(Served {
        mailbox: Mailbox::new(state.clone(), session, registration, clock.clone()),
        roots,
        gateway: GatewayKeeper::new(launch, state, start, clock),
        waking,
    })
}
