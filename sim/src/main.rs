//! The simulator as a program: prints its address and runs until it is interrupted.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use telegram_sim::Sim;

/// A strict Telegram Bot API on loopback, for trying telepost without a token.
///
/// Write to a bot with `curl -d '{"chat": 7, "text": "hello"}' ADDRESS/sim/message`; `ADDRESS/sim/help` lists the rest.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// A bot, as TOKEN:username, where a token is NUMBER:secret.
    #[arg(long = "bot", value_name = "NUMBER:SECRET:USERNAME", required = true, value_parser = bot)]
    bots: Vec<(String, String)>,
    /// Switch the rate limits on.
    #[arg(long)]
    rate_limits: bool,
}

fn bot(text: &str) -> Result<(String, String), String> {
    let wrong = "expected NUMBER:SECRET:USERNAME";
    let (token, username) = text.rsplit_once(':').ok_or(wrong)?;
    let (number, secret) = token.split_once(':').ok_or(wrong)?;
    if number.parse::<i64>().is_err() || secret.is_empty() || username.is_empty() {
        return Err(wrong.to_owned());
    }
    Ok((token.to_owned(), username.to_owned()))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "telegram-sim: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let sim = Sim::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)))?;
    sim.rate_limits(arguments.rate_limits);
    for (token, username) in &arguments.bots {
        sim.add_bot(token, username);
    }
    writeln!(std::io::stdout(), "{}", sim.url())?;
    runtime.block_on(tokio::signal::ctrl_c())
}
