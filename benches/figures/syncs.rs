//! How often a message and its answer wait for the disk: the syncs of each process, counted by strace, and
//! how long a message is on its way in. With `TELEPOST_BIN` the same of that program, message by message in
//! turn, so that both meet the same machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::house::Gateway;
use crate::machine::durable_file;
use crate::table::Table;
use crate::{Agent, House, PATIENCE, programs};

const COUNTED: usize = 100;
const TIMED: usize = 200;
/// Time for work that a process does after its result is out.
const REST: Duration = Duration::from_millis(60);
const CALLS: [&str; 4] = ["fsync", "fdatasync", "sync_file_range", "syncfs"];

pub(crate) fn measure(table: &mut Table) {
    time(table);
    match tracer_is_missing() {
        None => count(table),
        Some(reason) => table.value("syncs for a message", "", "not counted", 0, &reason),
    }
}

/// A gateway and an agent that run one program.
struct Side {
    name: &'static str,
    gateway: Gateway,
    agent: Agent,
    house: House,
}

/// A message and its answer, by the wall clock and by the one that measures.
struct Trip {
    asked: SystemTime,
    shown: SystemTime,
    answered: SystemTime,
    delivered: SystemTime,
    inwards: Duration,
    outwards: Duration,
}

impl Side {
    fn new((name, program): (&'static str, PathBuf), traced: bool) -> Self {
        let mut house = House::new();
        house.program = program;
        let (mut gateway, mut agent) = (
            house.command_with_tokens(&["gateway"]),
            house.agent_command("ONE"),
        );
        if traced {
            gateway = under_strace(&gateway, &house.path().join("gateway.strace"));
            agent = under_strace(&agent, &house.path().join("mcp.strace"));
        }
        let gateway = Gateway::start(&mut gateway, house.path());
        gateway.wait_until_polling(&house);
        let agent = Agent::start(&mut agent);
        Self {
            name,
            gateway,
            agent,
            house,
        }
    }

    fn trip(&mut self, n: usize) -> Trip {
        let bot = self.house.bot();
        let poll = json!({"wait_seconds": 50});
        let call = self.agent.begin("telegram_poll", poll);
        // No interface tells when the call waits.
        std::thread::sleep(REST);
        let waits = |view: &telegram_sim::View<'_>| view.waiting_polls(bot) > 0;
        self.house.sim.wait_for(waits, PATIENCE).unwrap();
        let (asked, began) = (SystemTime::now(), Instant::now());
        self.house.say(&format!("Question {n}"));
        let page = self.agent.answer(call).ok();
        let (shown, seen) = (SystemTime::now(), Instant::now());
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
        let polls = self.house.sim.calls_of(bot, "getUpdates");
        let mut answers = polls.iter().filter_map(|poll| poll.answered_at);
        let update = answers.find(|at| *at > began).unwrap();
        std::thread::sleep(REST);

        let (answered, began) = (SystemTime::now(), Instant::now());
        let result = self.agent.reply(json!({"text": format!("Answer {n}")}));
        let (delivered, outwards) = (SystemTime::now(), began.elapsed());
        assert_eq!(result["status"], "delivered", "{result}");
        std::thread::sleep(REST);
        Trip {
            asked,
            shown,
            answered,
            delivered,
            inwards: seen - update,
            outwards,
        }
    }

    fn end(self) -> House {
        self.agent.close();
        self.gateway.stop();
        self.house
    }
}

fn time(table: &mut Table) {
    let mut sides: Vec<Side> = programs()
        .into_iter()
        .map(|program| Side::new(program, false))
        .collect();
    let mut times = vec![(Vec::new(), Vec::new()); sides.len()];
    let mut file = Vec::new();
    for n in 0..TIMED {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            file.push(durable_file(side.house.path()).0);
            let trip = side.trip(n);
            times.0.push(trip.inwards);
            times.1.push(trip.outwards);
        }
    }
    let beside = [("one durable file", file.as_slice())];
    for (side, (inwards, outwards)) in sides.into_iter().zip(times) {
        let name = side.name;
        let figure =
            format!("{name}: update in the Bot API's answer → returned by a waiting poll, in turn");
        table.times(&figure, "", &inwards, &beside);
        let figure = format!("{name}: `telegram_reply` called → `delivered` returned, in turn");
        table.times(&figure, "", &outwards, &beside);
        drop(side.end());
    }
}

fn count(table: &mut Table) {
    for program in programs() {
        let mut side = Side::new(program, true);
        let name = side.name;
        let trips: Vec<Trip> = (0..COUNTED).map(|n| side.trip(n)).collect();
        let house = side.end();
        for process in ["gateway", "mcp"] {
            let syncs = read_trace(&house.path().join(format!("{process}.strace")));
            for (step, begin, end) in STEPS {
                let within = |at: &SystemTime| {
                    trips
                        .iter()
                        .enumerate()
                        .any(|(n, trip)| begin(trip) <= *at && *at < end(trip, trips.get(n + 1)))
                };
                let mut places: BTreeMap<String, usize> = BTreeMap::new();
                for (_, path) in syncs.iter().filter(|(at, _)| within(at)) {
                    *places.entry(place(path, &house.state())).or_default() += 1;
                }
                let all: usize = places.values().sum();
                let places = places
                    .iter()
                    .map(|(place, count)| format!("{place} {count}"));
                table.value(
                    &format!("{name}: syncs of the {process} for {COUNTED} messages, {step}"),
                    "",
                    &all.to_string(),
                    1,
                    &places.collect::<Vec<_>>().join(", "),
                );
            }
        }
    }
}

type Begin = fn(&Trip) -> SystemTime;
type End = fn(&Trip, Option<&Trip>) -> SystemTime;

/// The steps of a trip. Work after a result is a step of its own.
const STEPS: [(&str, Begin, End); 4] = [
    ("message → shown", |trip| trip.asked, |trip, _| trip.shown),
    (
        "after it is shown",
        |trip| trip.shown,
        |trip, _| trip.answered,
    ),
    (
        "reply → delivered",
        |trip| trip.answered,
        |trip, _| trip.delivered,
    ),
    (
        "after it is delivered",
        |trip| trip.delivered,
        |trip, next| next.map_or(trip.delivered + REST, |next| next.asked),
    ),
];

/// Why nothing can be counted here.
fn tracer_is_missing() -> Option<String> {
    let traced = Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .output();
    match traced {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("strace (Debian package strace): {error}")),
    }
}

/// The same command, whose syncs are written there. It stays our child: strace watches from aside.
fn under_strace(command: &Command, trace: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-qq", "-ttt", "-y"]);
    traced.args(["--seccomp-bpf", "-e"]);
    traced.arg(format!("trace={}", CALLS.join(",")));
    traced.arg("-o").arg(trace).arg("--");
    traced.arg(command.get_program()).args(command.get_args());
    traced.env_clear().stderr(Stdio::null());
    for (key, value) in command.get_envs() {
        traced.envs(value.map(|value| (key, value)));
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// When each sync began, and of what.
fn read_trace(path: &Path) -> Vec<(SystemTime, PathBuf)> {
    // Its last line is written when the process has ended.
    std::thread::sleep(Duration::from_millis(500));
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| {
        // 4711 1700000000.123456 fsync(9</state/inbox/.x.tmp>) = 0
        let (head, of) = line.split_once('(')?;
        let mut head = head.split_whitespace().rev();
        let (call, at) = (head.next()?, head.next()?);
        if !CALLS.contains(&call) {
            return None;
        }
        let at = UNIX_EPOCH + Duration::from_secs_f64(at.parse().ok()?);
        let (_, path) = of.split_once('<')?;
        let (path, _) = path.split_once('>')?;
        Some((at, PathBuf::from(path)))
    });
    lines.collect()
}

/// A file's folder, or the names in a folder.
fn place(path: &Path, state: &Path) -> String {
    let is_folder = path.is_dir();
    let folder = if is_folder {
        path.to_owned()
    } else {
        path.parent().unwrap().to_owned()
    };
    let folder = folder.strip_prefix(state).unwrap_or(&folder);
    let folder = folder.strip_prefix("sessions/ONE").unwrap_or(folder);
    let of = if is_folder { "names of" } else { "file in" };
    format!("{of} {}/", folder.display())
}
