//! The whole loop without a token: a person, the simulated Telegram, the real gateway and the real
//! MCP server, as a transcript of both sides.
//!
//! ```text
//! cargo build --locked && cargo run --locked --quiet --example demo
//! ```
//!
//! Everything happens in a temporary folder and on loopback. Nothing stays behind but the lock
//! file of an invented bot in `/var/tmp/telepost-<uid>/`, where locks are never removed.
#![expect(
    clippy::disallowed_methods,
    reason = "a demonstration writes its own configuration and looks at its own clock"
)]

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value, json};
use telegram_sim::{Fault, Line, Sim, View};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The person, and the private chat with the bot, which has the person's id.
const MIA: i64 = 4711;
/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match House::build().and_then(|house| tell(&house)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn bears(line: &Line, emoji: &str) -> bool {
    line.reactions.iter().any(|(_, reaction)| reaction == emoji)
}

/// The story, step by step.
fn tell(house: &House) -> Result<()> {
    let began = Instant::now();
    title("Mia writes to her bot; the agent is shown the message and answers")?;
    let gateway = house.gateway()?;
    let mut agent = Agent::start(house)?;
    let question = house.phone_writes("Which version runs in the shop?")?;
    agent.call("telegram_poll", &json!({"wait_seconds": 5}))?;
    agent.call("telegram_react", &json!({"emoji": "👍"}))?;
    let reacted = |line: &Line| line.message_id == question && bears(line, "👍");
    house.phone_line(reacted)?;
    say("phone ← 👍 on her message")?;
    for progress in ["Looking it up …", "Found it, checking the date …"] {
        let arguments = json!({"text": progress, "keep_open": true});
        agent.call("telegram_reply", &arguments)?;
        house.phone_hears(progress)?;
    }
    let answer = "Version 2.14, since Tuesday.";
    agent.call("telegram_reply", &json!({"text": answer}))?;
    house.phone_hears(answer)?;
    agent.call("telegram_poll", &json!({}))?;

    title("telepost status")?;
    house.show_status()?;

    title("kill -9 of the gateway while an answer is on its way")?;
    house.phone_writes("And how many orders came in today?")?;
    agent.call("telegram_poll", &json!({"wait_seconds": 5}))?;
    // Telegram takes the message, and its answer never arrives: the gateway cannot know whether it was sent.
    let silence = Fault::on(house.bot).method("sendMessage").hang_after();
    let stuck = house.sim.fault(silence);
    let call = agent.begin("telegram_reply", &json!({"text": "Forty-two orders."}))?;
    let is_out = |view: &View<'_>| view.fault_hits(stuck) > 0;
    house.sim.wait_for(is_out, PATIENCE)?;
    say(&format!("        kill -9 {}", gateway.0.id()))?;
    drop(gateway);
    say("        the request is out, Telegram has not answered, and the gateway is dead")?;
    house.phone_hears("Forty-two orders.")?;
    agent.finish(call)?;
    house.sim.clear_faults();

    title("While no gateway runs, both sides go on")?;
    let report = json!({"to": "home", "text": "By the way: the backup is done."});
    agent.call("telegram_reply", &report)?;
    house.phone_writes("Are you still there?")?;
    house.show_status()?;

    title("A new gateway: what was queued is delivered, what is in doubt is repeated and marked")?;
    let gateway = house.gateway()?;
    house.phone_hears("↻ may repeat\nForty-two orders.")?;
    house.phone_hears("By the way: the backup is done.")?;
    agent.call("telegram_poll", &json!({"wait_seconds": 5}))?;
    agent.call("telegram_reply", &json!({"text": "Yes, I am."}))?;
    house.phone_hears("Yes, I am.")?;
    house.phone_shows_no_eyes()?;

    title("The end: everything is stopped by its own process id")?;
    agent.close()?;
    let stopped = house.telepost(&["gateway", "stop"]).output()?;
    say(String::from_utf8_lossy(&stopped.stdout).trim())?;
    gateway.wait()?;

    title("What Mia's phone shows")?;
    for line in house.sim.transcript_text(house.bot, MIA).lines() {
        say(line)?;
    }
    say(&format!("\n{:.1} seconds.", began.elapsed().as_secs_f64()))
}

/// A simulated Telegram with one bot, and a configuration for it.
struct House {
    sim: Sim,
    bot: i64,
    token: String,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl House {
    fn build() -> Result<Self> {
        let program = program()?;
        let sim = Sim::start()?;
        // The lock of a bot is per user, so each run has a bot of its own.
        let number = fastrand::i64(1_000_000_000..9_000_000_000);
        let token = format!("{number}:{}", "D".repeat(35));
        let bot = sim.add_bot(&token, "demo_shop_bot");
        sim.name(MIA, "Mia", None);
        let folder = tempfile::tempdir()?;
        let config = json!({
            "sessions": {"SHOP": {"bot_token_env": "SHOP_TOKEN", "chat_ids": [MIA], "allowed_users": [MIA]}},
            "state_dir": folder.path().join("state"),
            "api_url": sim.url(),
            "gateway": "manual",
        });
        fs::write(folder.path().join("sessions.json"), format!("{config:#}\n"))?;
        Ok(Self {
            sim,
            bot,
            token,
            program,
            folder,
        })
    }

    /// The real program with this configuration, and nothing of the caller's environment.
    fn telepost(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("sessions.json"))
            .env_clear()
            .env("HOME", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts a gateway and waits until it polls. Only the gateway is given the token.
    fn gateway(&self) -> Result<Process> {
        let polls = self.sim.call_count(self.bot, "getUpdates");
        let child = self
            .telepost(&["gateway", "--log-level", "error"])
            .env("SHOP_TOKEN", &self.token)
            .stdout(Stdio::null())
            .spawn()?;
        let gateway = Process(child);
        say(&format!("        telepost gateway, pid {}", gateway.0.id()))?;
        let polls_again = |view: &View<'_>| view.call_count(self.bot, "getUpdates") > polls;
        self.sim.wait_for(polls_again, PATIENCE)?;
        Ok(gateway)
    }

    fn phone_writes(&self, text: &str) -> Result<i64> {
        say(&format!("phone → {text}"))?;
        Ok(self.sim.say(self.bot, MIA, MIA, text).message_id)
    }

    /// Waits until the phone shows this text of the bot.
    fn phone_hears(&self, text: &str) -> Result<()> {
        let line = self.phone_line(|line| line.from_bot && line.text == text)?;
        let how = match (line.edited(), line.silent) {
            (true, _) => "(the same message, edited) ",
            (false, true) => "(without a sound) ",
            (false, false) => "",
        };
        say(&format!("phone ← {how}{}", text.replace('\n', " ⏎ ")))
    }

    fn phone_line(&self, is_it: impl Fn(&Line) -> bool) -> Result<Line> {
        let find = |view: &View<'_>| view.transcript(self.bot, MIA).into_iter().find(&is_it);
        Ok(self.sim.wait_for(find, PATIENCE)?)
    }

    /// Waits until the 👀 is gone that stood on each message while the agent had it in hand.
    fn phone_shows_no_eyes(&self) -> Result<()> {
        let none = |view: &View<'_>| {
            let lines = view.transcript(self.bot, MIA);
            !lines.iter().any(|line| bears(line, "👀"))
        };
        self.sim.wait_for(none, PATIENCE)?;
        say("phone ← (the 👀 that stood on each message until it was answered is gone)")
    }

    fn show_status(&self) -> Result<()> {
        let status = self.telepost(&["status"]).output()?;
        for line in String::from_utf8_lossy(&status.stdout).lines() {
            say(format!("        {line}").trim_end())?;
        }
        Ok(())
    }
}

/// The program that `cargo build` put beside the folder of this example.
fn program() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let program = me.with_file_name("../telepost");
    if program.exists() {
        return Ok(program.canonicalize()?);
    }
    let missing = program.display();
    Err(format!("there is no {missing}; run `cargo build --locked` first").into())
}

/// A process of ours, which ends with this value whatever happens.
struct Process(Child);

impl Process {
    /// Waits for an orderly end.
    fn wait(mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                return say(&format!("        pid {}: {status}", self.0.id()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("pid {} did not end", self.0.id()).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `kill -9`, unless it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An agent: `telepost mcp`, spoken to in lines of JSON as its client does.
struct Agent {
    process: Process,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    last_id: u64,
}

impl Agent {
    fn start(house: &House) -> Result<Self> {
        let mut child = house
            .telepost(&["mcp", "--session", "SHOP"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no pipe to the agent")?;
        let stdout = child.stdout.take().ok_or("no pipe from the agent")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = Deserializer::from_reader(stdout).into_iter::<Value>();
            lines
                .map_while(std::result::Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut agent = Self {
            process: Process(child),
            stdin,
            lines,
            last_id: 0,
        };
        say(&format!(
            "        telepost mcp, pid {}",
            agent.process.0.id()
        ))?;
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "demo", "version": "1"}});
        let id = agent.request("initialize", &hello)?;
        agent.answer(id)?;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        writeln!(agent.stdin, "{ready}")?;
        Ok(agent)
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.last_id += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        writeln!(self.stdin, "{request}")?;
        Ok(self.last_id)
    }

    fn answer(&self, id: u64) -> Result<Value> {
        loop {
            let line = self.lines.recv_timeout(2 * PATIENCE)?;
            if line.get("id") == Some(&json!(id)) {
                return Ok(line);
            }
        }
    }

    /// Calls a tool and shows its result.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<()> {
        let id = self.begin(tool, arguments)?;
        self.finish(id)
    }

    fn begin(&mut self, tool: &str, arguments: &Value) -> Result<u64> {
        say(&format!("agent → {tool} {arguments}"))?;
        self.request("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    fn finish(&self, id: u64) -> Result<()> {
        let answer = self.answer(id)?;
        match answer.pointer("/result/structuredContent") {
            Some(result) => say(&format!("agent ← {}", shortened(result))),
            None => Err(format!("the tool refused: {answer}").into()),
        }
    }

    /// Closes its stdin, as a client does that goes.
    fn close(self) -> Result<()> {
        drop(self.stdin);
        self.process.wait()
    }
}

/// A result with less of each message than the agent is shown, so that it fits on a screen.
fn shortened(result: &Value) -> Value {
    let mut result = result.clone();
    let messages = result.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        let fields = ["update_id", "text"].map(|key| message.get(key).cloned().unwrap_or_default());
        let [id, text] = fields;
        *message = json!({"update_id": id, "text": text, "…": "…"});
    }
    result
}

fn title(text: &str) -> Result<()> {
    say(&format!("\n── {text}"))
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
