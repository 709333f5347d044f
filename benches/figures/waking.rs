//! How soon an agent is woken, and what it costs while nothing happens.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::gateway::quiet_gateway;
use crate::machine::cpu_time;
use crate::table::Table;
use crate::{Agent, House, wait_for};

const WAKES: usize = 100;
const HOOKS: usize = 200;
const SESSIONS: usize = 20;
const IDLE: Duration = Duration::from_secs(60);

/// From the moment at which the message has its name in `inbox/` to that at which the client has read the
/// whole wake from its inbox socket.
pub(crate) fn measure(table: &mut Table) {
    let mut house = House::new();
    let path = house.path().join("in.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let variable = "CLAUDE_CODE_MESSAGING_SOCKET".to_owned();
    house
        .env
        .push((variable, path.to_str().unwrap().to_owned()));
    says_idle(&house);
    let _gateway = quiet_gateway(&house);
    let mut agent = house.agent();
    wait_for("a registration", || {
        let names = house.names("agents");
        if names.is_empty() { Err(names) } else { Ok(()) }
    });
    let mut woken = Vec::new();
    for n in 0..WAKES {
        house.say(&format!("Message {n}"));
        let (mut stream, _) = socket.accept().unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        let read = SystemTime::now();
        let name = house.names("inbox").remove(0);
        let found = fs::metadata(house.session("inbox").join(name)).unwrap();
        let stored = SystemTime::UNIX_EPOCH
            + Duration::new(
                found.ctime().unsigned_abs(),
                u32::try_from(found.ctime_nsec()).unwrap(),
            );
        woken.push(read.duration_since(stored).unwrap_or_default());
        let page = agent.poll(json!({}));
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
        agent.reply(json!({"text": "Seen."}));
        // The wake is over when the gateway has noted that it has worked.
        wait_for("the end of the wake", || {
            let memory = fs::read_to_string(house.session("wake.json")).unwrap_or_default();
            if memory.contains("\"newest\"") {
                Err(memory)
            } else {
                Ok(())
            }
        });
    }
    table.times(
        "message stored → wake read by the client, over gateway and MCP server",
        "≤ 50 ms",
        &woken,
        &[],
    );
}

/// A hook as a client runs it, from its start to its end. This process is the client, and has an agent.
pub(crate) fn measure_hooks(table: &mut Table) {
    let house = House::new();
    let _gateway = quiet_gateway(&house);
    let mut agent = house.agent();
    agent.poll(json!({}));
    for (event, what) in [("prompt", "a prompt"), ("stop", "the end of a turn")] {
        let (mut hooks, mut nothing) = (Vec::new(), Vec::new());
        for turn in 0..HOOKS {
            nothing.push(run(&mut Command::new("true"), ""));
            let payload = json!({"session_id": "s", "prompt_id": turn.to_string(), "stop_hook_active": false});
            let mut hook = house.command(&["hook", event, "--session", "ONE"]);
            hooks.push(run(&mut hook, &payload.to_string()));
        }
        let turns = house.names("turns").join(" ");
        assert!(turns.contains(".json"), "it was not heard: {turns}");
        table.times(
            &format!("`telepost hook {event}`, which notes {what}: the whole process"),
            "≤ 20 ms",
            &hooks,
            &[("a process that does nothing", &nothing)],
        );
    }
}

/// Runs a command with this on its stdin, to its end.
fn run(command: &mut Command, stdin: &str) -> Duration {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    // One that does nothing does not read either.
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let time = began.elapsed();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    time
}

/// Twenty sessions in tmux sessions, each with an agent that is connected and has nothing to do.
pub(crate) fn measure_idle(table: &mut Table) {
    let mut house = House::empty();
    let names: Vec<String> = (0..SESSIONS).map(|n| format!("S{n}")).collect();
    for name in &names {
        house.add_session(name, json!({"tmux_session": name}));
    }
    house.write_config();
    says_idle(&house);
    let gateway = quiet_gateway(&house);
    gateway.wait_until_polling(&house);
    let agents: Vec<Agent> = names.iter().map(|name| house.agent_of(name)).collect();
    for name in &names {
        wait_for("a registration", || {
            let names = house.names_of(name, "agents");
            if names.is_empty() { Err(names) } else { Ok(()) }
        });
    }
    let spent = || {
        let gateway = cpu_time(gateway.pid())?;
        let servers = agents.iter().map(|agent| cpu_time(agent.pid()));
        Some((gateway, servers.sum::<Option<Duration>>()?))
    };
    let (before, began) = (spent(), Instant::now());
    std::thread::sleep(IDLE);
    let (after, passed) = (spent(), began.elapsed());
    let share = |spent: Duration| {
        format!(
            "{:.3} %",
            100.0 * spent.as_secs_f64() / passed.as_secs_f64()
        )
    };
    let (all, beside) = before.zip(after).map_or_else(
        || ("not known".to_owned(), String::new()),
        |(before, after)| {
            let (gateway, servers) = (
                after.0.saturating_sub(before.0),
                after.1.saturating_sub(before.1),
            );
            let beside = format!(
                "the gateway {}, 20 MCP servers {}",
                share(gateway),
                share(servers)
            );
            (share(gateway + servers), beside)
        },
    );
    table.value(
        "20 idle sessions with an agent each, for 60 s: part of one core that gateway and MCP servers take",
        "< 0.5 %",
        &all,
        1,
        &beside,
    );
}

/// The client says of itself that it has nothing to do: this process is the agents' client.
fn says_idle(house: &House) {
    let folder = house.path().join(".claude/sessions");
    fs::create_dir_all(&folder).unwrap();
    let far_future = 9_999_999_999_999_i64;
    let text = json!({"status": "idle", "statusUpdatedAt": far_future}).to_string();
    fs::write(folder.join(format!("{}.json", std::process::id())), text).unwrap();
}
