//! The command line: the gateway in the background, exit codes, and what is said to people.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Background, House, PATIENCE, wait_for};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Exit code, stdout, stderr.
fn all(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), out(output), err(output))
}

fn detach(house: &House) -> Output {
    house.run(&["gateway", "--detach"])
}

#[track_caller]
fn wait_for_poll(house: &House, bot: i64) {
    let polled = house
        .sim
        .wait_for(|view| view.waiting_polls(bot) > 0, PATIENCE);
    polled.unwrap();
}

/// The pid of the gateway of the house, from its status.
#[track_caller]
fn pid(house: &House) -> i64 {
    house.status()["gateway"]["pid"].as_i64().unwrap()
}

#[test]
fn a_detached_gateway_is_ready_when_the_command_returns_and_survives_it() {
    let house = House::new();
    let _background = Background(&house);
    let started = detach(&house);
    let logs = house.state().join("logs");
    let words = format!(
        "The gateway is running in the background; its log is in {}\n@test_{}_bot is polled.\n",
        logs.display(),
        house.bot()
    );
    assert_eq!(all(&started), (Some(0), words, String::new()));
    wait_for_poll(&house, house.bot());
    house.say("hello");
    house.wait_for_texts(&["hello"]);
}

#[test]
fn a_detached_gateway_has_a_session_of_its_own_and_the_root_folder() {
    let house = House::new();
    let _background = Background(&house);
    detach(&house);
    let pid = pid(&house);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own: Vec<&str> = own.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_ne!(fields[3], own[3], "the session of the test");
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(folder.to_str(), Some("/"));
}

#[test]
fn a_detached_gateway_inherits_no_descriptor() {
    let house = House::new();
    let _background = Background(&house);
    let (reader, writer) = std::io::pipe().unwrap();
    // A descriptor that the client left open for its children.
    let mut command = house.command_with_tokens(&["gateway", "--detach"]);
    let inherited = Stdio::from(writer);
    // As stdin the first stage drops it; the test is that no process keeps it.
    command.stdin(inherited);
    assert!(command.output().unwrap().status.success());
    drop(command);
    // The end of the pipe comes only when no process has its other end any more.
    let mut reader = reader;
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn kill_of_the_starters_whole_group_does_not_reach_a_detached_gateway() {
    let house = House::new();
    let _background = Background(&house);
    let mut shell = Command::new("sh");
    let command = house.command_with_tokens(&["gateway", "--detach"]);
    shell
        .arg("-c")
        .arg("\"$@\" && echo started && read -r never")
        .arg("sh")
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut shell = shell.spawn().unwrap();
    wait_for_poll(&house, house.bot());
    let group = format!("-{}", shell.id());
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
    assert!(killed.unwrap().success());
    shell.wait().unwrap();
    house.say("still there?");
    house.wait_for_texts(&["still there?"]);
}

#[test]
fn a_second_detached_gateway_exits_with_4_and_says_who_has_it() {
    let house = House::new();
    let first = house.gateway();
    let second = detach(&house);
    assert_eq!(second.status.code(), Some(4));
    let words = err(&second);
    assert!(
        words.contains(&format!("telepost gateway, pid {}", first.pid()))
            && words.contains("--replace"),
        "{words}"
    );
    assert_eq!(out(&second), "");
}

#[test]
fn a_detached_gateway_whose_bot_is_polled_elsewhere_exits_with_4_and_says_by_whom() {
    let mut house = House::new();
    let first = house.gateway();
    house.config["state_dir"] = json!(house.path().join("other-state"));
    house.write_config();
    let second = detach(&house);
    assert_eq!(second.status.code(), Some(4));
    let words = err(&second);
    let expected = format!(
        "bot {} is already polled by telepost gateway, pid {}",
        house.bot(),
        first.pid()
    );
    assert!(words.contains(&expected), "{words}");
}

#[test]
fn gateway_stop_stops_the_gateway_in_an_orderly_way() {
    let house = House::new();
    let gateway = house.gateway();
    let stopped = house.run(&["gateway", "stop"]);
    let words = "The gateway has stopped.\n".to_owned();
    assert_eq!(all(&stopped), (Some(0), words, String::new()));
    let (status, log) = gateway.end();
    assert!(status.success(), "{log}");
    assert!(log.contains("gateway stopped"), "{log}");
}

#[test]
fn gateway_stop_without_a_gateway_is_no_error() {
    let house = House::new();
    let stopped = house.run(&["gateway", "stop"]);
    let words = "No gateway is running.\n".to_owned();
    assert_eq!(all(&stopped), (Some(0), words, String::new()));
    assert!(!house.state().exists(), "nothing is created by it");
}

#[test]
fn gateway_replace_takes_over_and_loses_nothing() {
    let house = House::new();
    let first = house.gateway();
    house.say("before");
    house.wait_for_inbox(1);
    let second = crate::support::Gateway::start(
        &mut house.command_with_tokens(&["gateway", "--replace"]),
        house.path(),
    );
    let (status, log) = first.end();
    assert!(status.success(), "{log}");
    house.say("after");
    house.wait_for_texts(&["before", "after"]);
    wait_for("the new gateway in the status", || {
        let status = house.status();
        if status["gateway"]["pid"] == second.pid() {
            Ok(())
        } else {
            Err(status)
        }
    });
}

#[test]
fn gateway_replace_without_a_gateway_just_starts() {
    let house = House::new();
    let _background = Background(&house);
    let started = house.run(&["gateway", "--detach", "--replace"]);
    assert!(started.status.success(), "{started:?}");
    assert!(pid(&house) > 0);
}

#[test]
fn a_second_stop_signal_ends_a_gateway_that_waits_for_a_request() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    let send = Fault::on(house.bot()).method("sendMessage");
    let hang = house.sim.fault(send.hang());
    agent.begin("telegram_reply", json!({"text": "hi"}));
    house
        .sim
        .wait_for(|view| view.fault_hits(hang) == 1, PATIENCE)
        .unwrap();
    let pid = gateway.pid().to_string();
    let term = || Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(term().success());
    // The poll is dropped at once; the request under way is waited for.
    house
        .sim
        .wait_for(|view| view.waiting_polls(house.bot()) == 0, PATIENCE)
        .unwrap();
    let asked = std::time::Instant::now();
    assert!(term().success());
    let (status, log) = gateway.end();
    assert_eq!(status.code(), Some(0), "{log}");
    let waited = asked.elapsed();
    assert!(waited.as_secs() < 2, "{waited:?}");
}

#[test]
fn the_version_is_printed() {
    let house = House::new();
    let words = format!("telepost {}\n", env!("CARGO_PKG_VERSION"));
    let version = Command::new(env!("CARGO_BIN_EXE_telepost"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(all(&version), (Some(0), words, String::new()));
    drop(house);
}

#[test]
fn help_exits_with_0_and_names_every_command_and_exit_code() {
    let help = Command::new(env!("CARGO_BIN_EXE_telepost"))
        .arg("--help")
        .output()
        .unwrap();
    assert_eq!((help.status.code(), err(&help)), (Some(0), String::new()));
    let words = out(&help);
    for part in [
        "mcp",
        "gateway",
        "check",
        "status",
        "completions",
        "install",
        "uninstall",
        "3  the configuration is invalid",
        "4  another gateway is already running",
        "7  a file of Claude Code or Codex",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains("stage"), "the inner workings are hidden");
}

#[test]
fn no_command_at_all_prints_the_help_and_exits_with_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_telepost"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("Usage: telepost"), "{}", err(&output));
}

#[test]
fn an_unknown_flag_exits_with_2() {
    let house = House::new();
    let output = house.run(&["status", "--jsno"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("'--jsno'"), "{}", err(&output));
}

#[test]
fn completions_for_bash_are_a_script_that_bash_accepts() {
    let house = House::new();
    let output = house.run(&["completions", "bash"]);
    assert!(output.status.success());
    let script = house.path().join("completions.bash");
    fs::write(&script, out(&output)).unwrap();
    let checked = Command::new("bash").arg("-n").arg(script).status().unwrap();
    assert!(checked.success());
    assert!(out(&output).contains("complete -F _telepost"));
}

#[test]
fn a_missing_configuration_exits_with_3_and_says_how_to_begin() {
    let house = House::empty();
    for command in [
        &["gateway"][..],
        &["gateway", "--detach"],
        &["status"],
        &["check"],
    ] {
        let output = house.run(command);
        let path = house.config_path();
        let path = path.display();
        let words = format!(
            "telepost: {path} cannot be read:\n  there is no such file\n    fix: write {{\"sessions\": {{\"SESSION_X01\": "
        );
        let end = "Or name your file with --config or TG_SESSIONS_CONFIG\n";
        let (code, said) = (output.status.code(), err(&output));
        assert_eq!(code, Some(3), "{command:?}");
        assert!(said.starts_with(&words), "{command:?}: {said}");
        assert!(said.ends_with(end), "{command:?}: {said}");
    }
    assert!(!house.state().exists());
}

#[test]
fn a_session_or_a_level_that_is_not_there_is_refused_by_name() {
    let house = House::new();
    for command in [
        &["inbox", "list", "--session", "NOPE"][..],
        &["files", "prune", "--session", "NOPE"],
        &["prune", "NOPE"],
    ] {
        let output = house.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let words = "telepost: there is no session NOPE; `telepost status` lists the sessions\n";
        assert_eq!(err(&output), words, "{command:?}");
    }
    let output = house.run(&["prune", "ONE"]);
    assert_eq!(output.status.code(), Some(1));
    let words = "telepost: session ONE is in the configuration and has nothing to remove";
    assert!(err(&output).starts_with(words), "{output:?}");
    let output = house.run(&["status", "--log-level", "inof"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("write error, warn, info"),
        "{output:?}"
    );
}

#[test]
fn a_file_where_the_state_belongs_is_named_with_what_to_do() {
    let house = House::new();
    std::fs::write(house.state(), "not a folder").unwrap();
    for command in [&["status"][..], &["gateway"], &["inbox", "list"]] {
        let output = house.run(command);
        assert_eq!(output.status.code(), Some(5), "{command:?}");
        let state = house.state();
        let words = format!("({} is a file, not a folder: move it away", state.display());
        assert!(err(&output).contains(&words), "{command:?}: {output:?}");
    }
}

#[test]
fn a_token_that_is_not_set_switches_its_bot_off_loudly_and_the_others_run() {
    let mut house = House::new();
    house.config["sessions"]["TWO"] =
        json!({"bot_token_env": "TOKEN_NONE", "chat_ids": [12], "allowed_users": [12]});
    house.write_config();
    let gateway = house.gateway();
    let log = gateway.log();
    assert!(
        log.contains("ERROR") && log.contains("TOKEN_NONE is not set (session TWO)"),
        "{log}"
    );
    house.say("hello");
    house.wait_for_texts(&["hello"]);
    let off = house.bot_status(1);
    assert_eq!(
        off,
        json!({"id": null, "username": null, "polling": false, "last_poll_age_s": null, "conflict": null, "off": "TOKEN_NONE is not set", "state": "off"})
    );
}

#[test]
fn a_gateway_without_any_token_exits_with_3_and_says_where_tokens_belong() {
    let house = House::new();
    let output = house
        .command(&["gateway"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = "telepost: no bot can run, because no token is set: TOKEN_ONE is not set (session ONE); set it in the environment, or as NAME=token in the file .env beside sessions.json\n";
    assert_eq!(all(&output), (Some(3), String::new(), words.to_owned()));
    assert!(!house.state().exists());
}

#[test]
fn a_detached_gateway_without_any_token_exits_with_3_and_the_same_words() {
    let house = House::new();
    let output = house
        .command(&["gateway", "--detach"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let words = err(&output);
    assert!(
        words.contains("TOKEN_ONE is not set (session ONE)"),
        "{words}"
    );
}

#[test]
fn a_token_from_the_env_file_beside_the_configuration_is_used() {
    let house = House::new();
    let file = house.path().join(".env");
    fs::write(&file, format!("TOKEN_ONE={}\n", house.token())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = crate::support::Gateway::start(&mut house.command(&["gateway"]), house.path());
    gateway.wait_until_polling(&house);
    house.say("hello");
    house.wait_for_texts(&["hello"]);
}

#[test]
fn a_state_folder_of_somebody_else_is_refused_with_the_owner_and_what_to_do() {
    let house = House::new();
    fs::create_dir(house.state()).unwrap();
    let owner = 12345;
    if std::os::unix::fs::chown(house.state(), Some(owner), None).is_err() {
        println!("left out: only root can give a folder away");
        return;
    }
    let output = house.run(&["gateway"]);
    let state = house.state();
    let me = rustix::process::getuid().as_raw();
    let words = format!(
        "telepost: cannot use {0}: it belongs to user {owner} and you are root; run telepost as that user, without sudo; if it is meant for root: chown -R {me} {0}\n",
        state.display()
    );
    assert_eq!(all(&output), (Some(5), String::new(), words));
}

#[test]
fn folders_are_0700_and_files_0600() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    agent.reply(json!({"text": "hi"}));
    assert!(gateway.stop().success());
    let mut folders = vec![house.state()];
    let mut wrong = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            let mode = metadata.permissions().mode() & 0o777;
            if mode != expected {
                wrong.push((entry.path(), format!("{mode:o}")));
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn commands_that_only_look_create_nothing() {
    let house = House::new();
    for (command, code) in [
        (&["check"][..], 0),
        (&["status"], 1),
        (&["status", "--json"], 1),
    ] {
        let output = house.run(command);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    assert!(!house.state().exists());
}

#[test]
fn a_gateway_that_was_killed_leaves_nothing_that_stops_the_next() {
    let house = House::new();
    house.gateway().kill();
    let status = house.status();
    assert_eq!(status["gateway"], Value::Null);
    let _gateway = house.gateway();
    house.say("hello");
    house.wait_for_texts(&["hello"]);
}

#[test]
fn a_lock_file_that_a_cleaner_removed_is_locked_anew() {
    let house = House::new();
    let gateway = house.gateway();
    let me = rustix::process::getuid().as_raw();
    let lock = format!("/var/tmp/telepost-{me}/bot-{}.lock", house.bot());
    fs::remove_file(&lock).unwrap();
    house.say("hello");
    house.wait_for_texts(&["hello"]);
    gateway.wait_for_log("the bot's lock file was removed");
    gateway.wait_until_polling(&house);
    assert!(fs::exists(lock).unwrap());
}

#[test]
fn a_gateway_whose_lock_somebody_else_took_stops_polling_until_it_is_free() {
    let house = House::new();
    let gateway = house.gateway();
    let me = rustix::process::getuid().as_raw();
    let lock = format!("/var/tmp/telepost-{me}/bot-{}.lock", house.bot());
    fs::remove_file(&lock).unwrap();
    let other = fs::File::create(&lock).unwrap();
    other.try_lock().unwrap();
    house.say("the poll that waits ends with this");
    house.wait_for_inbox(1);
    gateway.wait_for_log("its lock was lost");
    let polls = house.sim.call_count(house.bot(), "getUpdates");
    house.say("kept at Telegram");
    wait_for("the bot to be off", || {
        let off = house.bot_status(0)["off"].clone();
        if off
            .as_str()
            .is_some_and(|off| off.contains("its lock was lost"))
        {
            Ok(())
        } else {
            Err(off)
        }
    });
    assert_eq!(house.sim.call_count(house.bot(), "getUpdates"), polls);
    drop(other);
    house.wait_for_texts(&["the poll that waits ends with this", "kept at Telegram"]);
    house.wait_for_bot(0, "off", Value::Null);
}

#[test]
fn a_gateway_that_could_not_start_does_not_stop_the_running_one() {
    let house = House::new();
    let running = house.gateway();
    let output = house.command(&["gateway", "--replace"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("TOKEN_ONE is not set"), "{words}");
    house.say("still there?");
    house.wait_for_inbox(1);
    drop(running);
}
