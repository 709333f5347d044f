//! `kill -9` of a client, of its tmux server, of our MCP server: no process of ours is left without a client,
//! no hook either, and the next start is given what waits. At rest and in the middle of a call.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Kind, type_in, wait_for_agent, wait_for_client};
use crate::support::{Gateway, House, Terminal, texts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Tmux,
    Server,
}

const VICTIMS: [Victim; 3] = [Victim::Client, Victim::Tmux, Victim::Server];
/// The person's message.
const PROMPT: &str = "Look at Telegram.";
/// How many kills in CI, of an older client, and by hand.
const FEW: usize = 5;
const FEWER: usize = VICTIMS.len();
const MANY: usize = 100;

/// Fields are dropped in this order: nothing may be left that has lost its folder.
struct Scene {
    client: Client,
    terminal: Terminal,
    _gateway: Gateway,
    house: House,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let mut house = House::new();
        let terminal = Terminal::new(&mut house);
        let gateway = house.gateway();
        let client = Client::installed(kind, &house);
        Self {
            house,
            terminal,
            client,
            _gateway: gateway,
        }
    }

    /// A client in tmux. Codex is told at once to look, Claude Code has not been told anything.
    fn sit(&self) {
        self.sit_until(&["idle"]);
    }

    fn sit_until(&self, states: &[&str]) {
        let is_codex = self.client.kind == Kind::Codex;
        self.client
            .sit_in(&self.terminal, "shop", is_codex.then_some(PROMPT));
        self.terminal
            .run(&["set-option", "-g", "remain-on-exit", "on"]);
        if !is_codex {
            wait_for_agent(&self.house, states);
        }
    }

    /// A client in tmux that has called once and is at rest, or that is in a call that waits.
    fn begin(&self, in_a_call: bool) {
        let client = &self.client;
        self.sit();
        if client.kind != Kind::Codex {
            type_in(&self.terminal, "shop", PROMPT);
        }
        let asked = client.model.asked();
        if in_a_call {
            asked.call("telegram_poll", json!({"wait_seconds": 50}));
            wait_for_agent(&self.house, &["busy"]);
        } else {
            asked.call("telegram_poll", json!({}));
            client.model.asked().say("Nothing.");
            wait_for_agent(&self.house, &["idle", "unknown"]);
        }
        assert_eq!(client.servers().len(), 1);
    }

    fn kill(&self, victim: Victim) {
        let format = |what: &str| -> u32 {
            let text = self
                .terminal
                .run(&["display-message", "-p", "-t", "=shop:", what]);
            text.trim().parse().unwrap()
        };
        let pid = match victim {
            Victim::Client => self
                .client
                .daemon()
                .unwrap_or_else(|| format("#{pane_pid}")),
            Victim::Tmux => format("#{pid}"),
            Victim::Server => self.client.servers()[0],
        };
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits until none of ours lives whose client does not: how long that took.
    #[track_caller]
    fn no_orphan_is_left(&self, victim: Victim) -> Duration {
        let began = Instant::now();
        wait_for_client("the end of what has no client", || {
            let mut left = self.client.ours();
            // The threads of Codex live on in its daemon, and so does their server.
            if victim == Victim::Tmux && self.client.daemon().is_some() {
                let daemon = self.client.daemon();
                left.retain(|(_, parent)| Some(*parent) != daemon);
            }
            // A client whose server dies before the call reaches it starts another one.
            if victim == Victim::Server {
                left.retain(|(_, parent)| *parent == 1);
            }
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        began.elapsed()
    }

    /// The next client is given what waits, and answers.
    fn is_drained(&self, n: usize) {
        let client = &self.client;
        let text = format!("question {n}");
        self.house.say(&text);
        self.house.wait_for_inbox(1);
        // The newest is woken, perhaps at once.
        self.sit_until(&["idle", "busy"]);
        if client.kind == Kind::OlderClaude {
            type_in(&self.terminal, "shop", PROMPT);
        }
        client.model.asked().call("telegram_poll", json!({}));
        let asked = client.model.asked();
        assert_eq!(texts(&asked.result()), [text]);
        asked.call("telegram_reply", json!({"text": format!("answer {n}")}));
        let asked = client.model.asked();
        assert_eq!(asked.result()["status"], "delivered");
        asked.say("Answered.");
        self.house.wait_for_inbox(0);
    }

    /// Everything ends as when the person closes the terminal.
    fn end(&self) {
        self.terminal.close();
        wait_for_client("the end of everything", || {
            // Codex may have started its daemon anew this moment, so it is struck whenever it is seen.
            if let Some(daemon) = self.client.daemon() {
                let pid = rustix::process::Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap();
                let _may_have_ended =
                    rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            // The updater of Codex stays.
            let mut left = self.client.processes();
            left.retain(|(_, words)| !words.iter().any(|word| word == "pid-update-loop"));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        // A client that lost its server in a call has asked once more.
        while !self.client.model.is_left_alone() {}
    }
}

/// The longest that anything of ours has lived without its client.
fn nothing_of_ours_is_left(kind: Kind, kills: usize) -> Duration {
    let scene = Scene::new(kind);
    let mut longest = Duration::ZERO;
    for n in 0..kills {
        let victim = VICTIMS[n % VICTIMS.len()];
        scene.begin(n % 2 == 0);
        scene.kill(victim);
        longest = longest.max(scene.no_orphan_is_left(victim));
        scene.end();
        scene.is_drained(n);
        scene.end();
    }
    let answers: Vec<String> = (0..kills).map(|n| format!("answer {n}")).collect();
    assert_eq!(scene.house.heard(), answers);
    println!(
        "{kind:?}, {kills} kills: nothing of ours lived longer than {longest:?} without its client"
    );
    longest
}

#[test]
fn nothing_of_ours_outlives_claude_code_and_its_next_start_is_given_what_waits() {
    nothing_of_ours_is_left(Kind::Claude, FEW);
}

#[test]
fn nothing_of_ours_outlives_an_older_claude_code_and_its_next_start_is_given_what_waits() {
    nothing_of_ours_is_left(Kind::OlderClaude, FEWER);
}

#[test]
fn nothing_of_ours_outlives_codex_and_its_next_start_is_given_what_waits() {
    nothing_of_ours_is_left(Kind::Codex, FEW);
}

/// So soon nothing may be left, on a machine that does nothing else.
const SOON: Duration = Duration::from_secs(2);

#[test]
#[ignore = "many minutes; tests/run with TELEPOST_SOAK=1"]
fn nothing_of_ours_outlives_claude_code_however_often_it_is_killed() {
    assert!(nothing_of_ours_is_left(Kind::Claude, MANY) <= SOON);
}

#[test]
#[ignore = "many minutes; tests/run with TELEPOST_SOAK=1"]
fn nothing_of_ours_outlives_an_older_claude_code_however_often_it_is_killed() {
    assert!(nothing_of_ours_is_left(Kind::OlderClaude, MANY) <= SOON);
}

#[test]
#[ignore = "many minutes; tests/run with TELEPOST_SOAK=1"]
fn nothing_of_ours_outlives_codex_however_often_it_is_killed() {
    assert!(nothing_of_ours_is_left(Kind::Codex, MANY) <= SOON);
}
