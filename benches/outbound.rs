//! The sender at scale: the real gateway against the simulator with the documented rate limits.
//!
//!     cargo bench --bench outbound
//!
//! Prints figures and asserts none. Measures the release build without test hooks.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unused_crate_dependencies,
    reason = "a bench prints, and stops at what it did not expect"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use telegram_sim::Sim;
use telepost::ids::{Address, BotId, ChatId, SessionId};
use telepost::state::bots::rate_limits::RateLimits;
use telepost::state::layout::StateDir;
use telepost::state::outbox::Outbox;
use telepost::state::outbox::delivery::{Content, Delivery, DeliveryId};

const CHATS: i64 = 30;
const PATIENCE: Duration = Duration::from_secs(120);

/// A simulator, a state folder and a configuration with one session of thirty chats.
struct House {
    sim: Sim,
    folder: tempfile::TempDir,
    bot: i64,
    token: String,
    state: StateDir,
    outbox: Outbox,
    /// Makes names unique.
    count: i64,
}

impl House {
    fn new(pace: &str, number: i64) -> Self {
        let sim = Sim::start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bot = 2_000_000_000 + i64::from(std::process::id()) * 10 + number;
        let token = format!("{bot}:{}", "A".repeat(35));
        sim.add_bot(&token, "bench_bot");
        let chats: Vec<i64> = (1..=CHATS).collect();
        for chat in &chats {
            sim.open_chat(bot, *chat);
        }
        let session = json!({"bot_token_env": "TOKEN", "chat_ids": chats, "allowed_users": chats});
        let config = json!({
            "sessions": {"ONE": session},
            "state_dir": folder.path().join("state"),
            "api_url": sim.url(),
            "gateway": "manual",
            "pace": pace,
        });
        std::fs::write(folder.path().join("sessions.json"), config.to_string()).unwrap();
        let state = StateDir::new(folder.path().join("state"));
        let dir = state.session(&SessionId::new("ONE").unwrap());
        dir.prepare().unwrap();
        let outbox = Outbox::new(&state, dir);
        Self {
            sim,
            folder,
            bot,
            token,
            state,
            outbox,
            count: 0,
        }
    }

    /// The deliveries that `telegram_reply` commits.
    fn accept(&mut self, chat: i64, text: String) {
        self.count += 1;
        let delivery = Delivery {
            id: DeliveryId {
                accepted: 1_700_000_000_000 + self.count,
                key: format!("{:032x}", self.count),
            },
            session: SessionId::new("ONE").unwrap(),
            holder: "bench".to_owned(),
            address: Address {
                bot_id: BotId(self.bot),
                chat_id: ChatId(chat),
                topic_id: None,
            },
            content: Content::Reply {
                text,
                files: Vec::new(),
                options: Vec::new(),
            },
            answers: Vec::new(),
            acked: Vec::new(),
            reply_to: None,
            as_reply: false,
            resume: None,
            silent: false,
            turn: None,
        };
        self.outbox.accept(&delivery).unwrap();
    }

    fn gateway(&self) -> Gateway {
        let polls = self.sim.call_count(self.bot, "getUpdates");
        let child = Command::new(env!("CARGO_BIN_EXE_telepost"))
            .args(["gateway", "--config"])
            .arg(self.folder.path().join("sessions.json"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let gateway = Gateway(child);
        let polls_now = |view: &telegram_sim::View<'_>| {
            let calls = view.calls(self.bot);
            calls
                .iter()
                .filter(|call| call.method == "getUpdates")
                .count()
                > polls
        };
        self.sim.wait_for(polls_now, PATIENCE).unwrap();
        gateway
    }

    fn sent(&self) -> usize {
        self.sim.call_count(self.bot, "sendMessage")
    }
}

struct Gateway(Child);

impl Gateway {
    /// A number of kB from `/proc/<pid>/status`.
    fn kilobytes(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time, in ticks.
    fn ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.0.id());
        let stat = std::fs::read_to_string(Path::new(&path)).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Waits until it has done nothing for a second.
    fn rest(&self) {
        let mut before = u64::MAX;
        while before != self.ticks() {
            before = self.ticks();
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let parts: [(&str, fn()); 3] = [
        ("chats", replies_to_thirty_chats),
        ("wire", reply_on_the_wire),
        ("memory", memory),
    ];
    let one = parts
        .iter()
        .any(|(name, _)| asked.iter().any(|asked| asked == name));
    for (name, measure) in parts {
        if !one || asked.iter().any(|asked| asked == name) {
            measure();
        }
    }
}

/// 300 replies, ten to each chat, all waiting when the gateway starts.
fn replies_to_thirty_chats() {
    let mut house = House::new("normal", 1);
    house.sim.rate_limits(true);
    for number in 0..300 {
        house.accept(1 + number % CHATS, format!("{number:03}"));
    }
    let _gateway = house.gateway();
    let all = |view: &telegram_sim::View<'_>| {
        let texts = (1..=CHATS).map(|chat| view.bot_texts(house.bot, chat).len());
        texts.sum::<usize>() == 300
    };
    house.sim.wait_for(all, PATIENCE).unwrap();
    let calls = house.sim.calls_of(house.bot, "sendMessage");
    let refused = calls
        .iter()
        .filter(|call| call.outcome.code() == Some(429))
        .count();
    let first = calls.iter().map(|call| call.at_ms).min().unwrap();
    let last = calls
        .iter()
        .filter_map(|call| call.answered_at_ms)
        .max()
        .unwrap();
    let mut by_chat: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for chat in 1..=CHATS {
        by_chat.insert(chat, house.sim.bot_texts(house.bot, chat));
    }
    let in_order = by_chat.values().all(|texts| texts.is_sorted());
    println!(
        "300 replies to 30 chats: {:.2} s (target 11.0), {refused} times 429, order per chat {}",
        Duration::from_millis(u64::try_from(last - first).unwrap()).as_secs_f64(),
        if in_order { "exact" } else { "WRONG" }
    );
}

/// From before the commit, with its syncs, to the request at the server, nothing else queued.
fn reply_on_the_wire() {
    let mut house = House::new("off", 2);
    let _gateway = house.gateway();
    let mut times = Vec::new();
    for number in 0..300 {
        let before = house.sent();
        let began = Instant::now();
        house.accept(1 + number % CHATS, "hello".to_owned());
        let arrived = |view: &telegram_sim::View<'_>| {
            let calls = view.calls(house.bot);
            calls
                .iter()
                .filter(|call| call.method == "sendMessage")
                .count()
                > before
        };
        house.sim.wait_for(arrived, PATIENCE).unwrap();
        times.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    times.sort_unstable();
    println!(
        "commit to request on the wire: median {:.2} ms, p95 {:.2} ms (target 5 median)",
        times[times.len() / 2].as_secs_f64() * 1000.0,
        times[times.len() * 95 / 100].as_secs_f64() * 1000.0
    );
}

/// Resident memory with nothing queued and with 10,000 replies to closed chats.
fn memory() {
    // A few first: what any queue needs, such as the pages of the code that reads it.
    for (number, queued) in [(3, 0i64), (4, 100), (5, 10_000)] {
        let mut house = House::new("normal", number);
        let clock = telepost::clock::Clock::system();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut limits = RateLimits::load(&house.state, BotId(house.bot), &clock).unwrap();
            for chat in 1..=CHATS {
                limits
                    .limit(ChatId(chat), Duration::from_secs(7200))
                    .unwrap();
            }
        });
        for number in 0..queued {
            house.accept(1 + number % CHATS, "x".repeat(2000));
        }
        let began = Instant::now();
        let gateway = house.gateway();
        gateway.rest();
        let took = began.elapsed().as_secs_f64();
        let resident = gateway.kilobytes("VmRSS:");
        let ticks = gateway.ticks();
        std::thread::sleep(Duration::from_secs(5));
        println!(
            "{queued} queued: {resident} kB resident, {} of them anonymous, at rest after {took:.1} s, {} ticks in 5 s after that; peak {} kB",
            gateway.kilobytes("RssAnon:"),
            gateway.ticks() - ticks,
            gateway.kilobytes("VmHWM:")
        );
        assert_eq!(house.sent(), 0, "all gates are closed");
    }
}
