//! Status and commands show the operator the truth: the difference between the running gateway and the configuration, agents, next
//! steps, and commands that work without a good configuration.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{Agent, Background, House, wait_for};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The lines of `status` on what is off, joined.
fn problems(house: &House) -> String {
    lines_of(&house.status(), "problems")
}

fn lines_of(status: &Value, key: &str) -> String {
    let lines = status[key].as_array().into_iter().flatten();
    let lines: Vec<&str> = lines.map(|line| line.as_str().unwrap()).collect();
    lines.join("\n")
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// An agent whose session came by `default`.
fn agent_by_default(house: &House) -> Agent {
    Agent::start(&mut house.command(&["mcp"]))
}

const REPLACE: &str = "telepost gateway --detach --replace";

#[test]
fn a_configuration_that_was_changed_under_a_running_gateway_is_reported_everywhere() {
    let mut house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    house.wait_for_bot(0, "polling", json!(true));
    assert_eq!(problems(&house), "");
    assert!(house.run(&["status"]).status.success());

    // Written again as it is: nothing has changed.
    house.write_config();
    assert_eq!(problems(&house), "");
    house.config["receipts"] = json!("on");
    house.write_config();
    let older = "The gateway runs with an older configuration";
    let said = problems(&house);
    assert!(said.contains(older) && said.contains(REPLACE), "{said}");
    let text = house.run(&["status"]);
    assert_eq!(text.status.code(), Some(1));
    assert!(
        out(&text).contains(&said),
        "the same words:\n{}",
        out(&text)
    );
    let checked = out(&house.run(&["check"]));
    assert!(checked.contains(older), "{checked}");
    let told = agent.poll(json!({}))["notices"].to_string();
    assert!(told.contains(older), "{told}");
}

#[test]
fn a_session_that_the_gateway_does_not_know_is_not_shown_as_served() {
    let mut house = House::new();
    let _gateway = house.gateway();
    house.wait_for_bot(0, "polling", json!(true));
    house.config["sessions"]["TWO"] =
        json!({"bot_token_env": "TOKEN_NONE", "chat_ids": [12], "allowed_users": [12]});
    house.write_config();
    let status = house.status();
    assert_eq!(status["sessions"][0].get("served"), None);
    assert_eq!(status["sessions"][1]["served"], false);
    let said = problems(&house);
    assert!(
        said.contains("TWO is not served") && said.contains(REPLACE),
        "{said}"
    );
    let text = out(&house.run(&["status"]));
    assert!(text.contains("TWO (not served)"), "{text}");
}

#[test]
fn status_shows_each_agent_with_its_client_folder_state_binding_and_ways() {
    let house = House::new();
    let _gateway = house.gateway();
    let _bound = house.agent();
    let _open = agent_by_default(&house);
    let agents = wait_for("both agents", || {
        let agents = house.status()["sessions"][0]["waking"]["agents"].clone();
        if agents.as_array().is_some_and(|agents| agents.len() == 2) {
            Ok(agents)
        } else {
            Err(agents)
        }
    });
    let find = |by: &str| {
        let mut agents = agents.as_array().unwrap().iter();
        agents
            .find(|agent| agent["bound_by"] == by)
            .unwrap()
            .clone()
    };
    let (bound, open) = (find("--session"), find("default"));
    assert_eq!(open["unclaimed"], true);
    assert_eq!(bound.get("unclaimed"), None);
    for agent in [&bound, &open] {
        assert!(
            agent["folder"].is_string() && agent["client"].is_string(),
            "{agent}"
        );
    }
    assert_eq!(open["ways"], json!([]));
    let text = out(&house.run(&["status"]));
    let head = text.lines().find(|line| line.contains("bound by")).unwrap();
    for word in ["session", "agent", "state", "woken by", "folder"] {
        assert!(head.contains(word), "{text}");
    }
}

#[test]
fn an_open_agent_that_came_by_default_is_not_no_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("hello");
    house.wait_for_inbox(1);
    let mut agent = agent_by_default(&house);
    let hint = "came by default: set `cwd` (or `--session`) to be woken";
    wait_for("the hint", || {
        let notes = lines_of(&house.status(), "notes");
        if notes.contains(hint) {
            Ok(())
        } else {
            Err(notes)
        }
    });
    assert!(!lines_of(&house.status(), "notes").contains("no agent"));
    // Once it has called, it is an agent as any other.
    agent.wait_for_message();
    let notes = lines_of(&house.status(), "notes");
    assert!(!notes.contains(hint), "{notes}");
}

#[test]
fn everything_that_is_off_has_its_next_step_and_the_exit_code_says_so() {
    let mut house = House::new();
    house.config["sessions"]["TWO"] =
        json!({"bot_token_env": "TOKEN_NONE", "chat_ids": [12], "allowed_users": [12]});
    house.write_config();
    let gateway = house.gateway();
    let env = house.path().join(".env");
    let said = problems(&house);
    let token = format!(
        "A bot is off: TOKEN_NONE is not set. Write the token into {}, then run `{REPLACE}`.",
        env.display()
    );
    assert!(said.contains(&token), "{said}");
    house.sim.revoke(house.bot());
    house.wait_for_bot(0, "off", json!("the token is not accepted (401)"));
    let said = problems(&house);
    assert!(
        said.contains("telepost check --online") && said.contains(&env.display().to_string()),
        "{said}"
    );
    assert_eq!(house.run(&["status"]).status.code(), Some(1));
    assert!(gateway.stop().success());
    assert!(problems(&house).contains("telepost gateway --detach"));
}

#[test]
fn no_table_is_wider_than_a_hundred_columns() {
    let long = "S".repeat(64);
    let mut house = House::empty();
    house.add_session(
        &long,
        json!({"name": "N".repeat(60), "chat_ids": [11, -100, -101, -102, -103, -104, -105]}),
    );
    house.write_config();
    let _gateway = house.gateway();
    let _agent = house.agent_of(&long);
    let refused = Fault::on(house.bot()).method("sendMessage").always();
    let reason =
        "Bad Request: the message is refused for a reason that is quite a bit longer than others";
    house.sim.fault(refused.error(400, reason));
    let mut agent = house.agent_of(&long);
    agent.reply(json!({"text": "word ".repeat(40), "to": "home"}));
    house.say(&"a long message ".repeat(20));
    for command in [
        &["status"][..],
        &["outbox", "list"],
        &["inbox", "list"],
        &["check"],
    ] {
        let text = out(&house.run(command));
        assert!(text.contains(&long[..20]), "{text}");
        // Lines of tables begin with a blank.
        for line in text.lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 100, "{command:?}: {line}");
        }
    }
    let listed = out(&house.run(&["outbox", "list"]));
    assert!(listed.lines().any(|line| line.contains(reason)), "{listed}");
}

#[test]
fn commands_that_look_and_mend_work_with_a_broken_configuration_and_say_what_is_wrong() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("hello");
    house.wait_for_inbox(1);
    for broken in [
        "{\"sessions\": {".to_owned(),
        // The state folder is not the usual one: the file still names it, or the gateway does.
        {
            let mut config = house.config.clone();
            config["sessions"]["ONE"]["allowed_users"] = json!([]);
            config.to_string()
        },
    ] {
        fs::write(house.config_path(), broken).unwrap();
        let shown = house.run(&["status", "--json"]);
        assert_eq!(shown.status.code(), Some(3));
        let status: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(status["gateway"]["pid"], gateway.pid());
        assert_eq!(status["sessions"][0]["pending"], 1);
        let said = lines_of(&status, "problems");
        assert!(
            said.contains("The configuration cannot be used: ") && said.contains("fix: "),
            "{said}"
        );
        assert!(out(&house.run(&["status"])).contains("fix: "));
        let inbox = house.run(&["inbox", "list"]);
        assert!(
            inbox.status.success() && out(&inbox).contains("hello"),
            "{inbox:?}"
        );
        assert!(
            err(&inbox).contains("warning: ") && err(&inbox).contains("fix: "),
            "{inbox:?}"
        );
        let outbox = house.run(&["outbox", "list"]);
        assert!(
            outbox.status.success() && err(&outbox).contains("fix: "),
            "{outbox:?}"
        );
    }
    // Moved away.
    fs::rename(house.config_path(), house.path().join("moved.json")).unwrap();
    let said = out(&house.run(&["status"]));
    assert!(
        said.contains("there is no such file") && said.contains("Put it back"),
        "{said}"
    );
    let stopped = house.run(&["gateway", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(out(&stopped), "The gateway has stopped.\n");
    assert!(gateway.end().0.success());
}

#[test]
fn status_as_json_is_always_json() {
    let house = House::new();
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_telepost"));
    nowhere.args(["status", "--json"]).env_clear();
    fs::create_dir_all(house.state()).unwrap();
    fs::write(house.state().join("sessions"), "not a folder").unwrap();
    let unreadable = house.command(&["status", "--json"]);
    for mut command in [nowhere, unreadable] {
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!lines_of(&status, "problems").is_empty(), "{status}");
    }
}

#[test]
fn check_warns_of_a_missing_token_with_the_place_where_it_belongs() {
    let house = House::new();
    let checked = house.command(&["check"]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let words = format!(
        "warning: session ONE has no token: write TOKEN_ONE=<the token> into {}\n",
        house.path().join(".env").display()
    );
    assert!(out(&checked).contains(&words), "{}", out(&checked));
}

#[test]
fn check_online_asks_for_the_name_of_each_bot() {
    let house = House::new();
    let asked = house.run(&["check", "--online"]);
    let bot = house.bot();
    assert!(asked.status.success(), "{asked:?}");
    let words = format!("Bot {bot} is @test_{bot}_bot: Telegram takes its token.\n");
    assert!(out(&asked).ends_with(&words), "{}", out(&asked));
    house.sim.revoke(bot);
    let asked = house.run(&["check", "--online"]);
    assert_eq!(asked.status.code(), Some(6));
    assert!(
        out(&asked).contains(&format!("Bot {bot} cannot be asked: ")),
        "{asked:?}"
    );
    house.sim.pause().unwrap();
    let asked = house.run(&["check", "--online"]);
    assert_eq!(asked.status.code(), Some(6));
    assert!(out(&asked).contains("the network"), "{asked:?}");
}

#[test]
fn a_gateway_in_the_background_says_whether_each_bot_is_polled() {
    let house = House::new();
    let _background = Background(&house);
    house.sim.revoke(house.bot());
    let started = house.run(&["gateway", "--detach"]);
    assert!(started.status.success(), "{started:?}");
    let said = out(&started);
    assert!(
        said.contains(" is not polled: the token is not accepted (401)"),
        "{said}"
    );
    house.sim.unrevoke(house.bot());
    let started = house.run(&["gateway", "--detach", "--replace"]);
    let polled = format!("@test_{}_bot is polled.\n", house.bot());
    assert!(out(&started).ends_with(&polled), "{started:?}");
    house.sim.pause().unwrap();
    let started = house.run(&["gateway", "--detach", "--replace"]);
    assert!(
        out(&started).contains("is tried again: cannot reach Telegram"),
        "{started:?}"
    );
    house.sim.resume().unwrap();
}

#[test]
fn a_dead_network_is_not_off() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.pause().unwrap();
    house.wait_until_unreachable();
    let bot = house.bot_status(0);
    assert_eq!(bot["state"], "cannot reach Telegram, tried again");
    assert_eq!((bot.get("off"), &bot["polling"]), (None, &json!(false)));
    let text = out(&house.run(&["status"]));
    assert!(
        text.contains("cannot reach Telegram, tried again"),
        "{text}"
    );
    assert!(text.contains("check the network of this machine"), "{text}");
    house.sim.resume().unwrap();
}

#[test]
fn a_gateway_of_another_version_is_reported() {
    let house = House::new();
    let gateway = house.gateway();
    house.wait_for_bot(0, "polling", json!(true));
    // It must not write its status meanwhile.
    signal(gateway.pid(), "-STOP");
    let path = house.state().join("gateway.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["version"] = json!("0.0.9");
    fs::write(&path, file.to_string()).unwrap();
    let said = problems(&house);
    signal(gateway.pid(), "-CONT");
    let own = env!("CARGO_PKG_VERSION");
    let words = format!("The gateway is telepost 0.0.9, this program is {own}: run `{REPLACE}`.");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn a_frozen_gateway_is_not_polling() {
    let house = House::new();
    let gateway = house.gateway();
    house.wait_for_bot(0, "polling", json!(true));
    signal(gateway.pid(), "-STOP");
    let later = |house: &House| {
        let mut command = house.command(&["status", "--json"]);
        let output = command
            .env("TELEPOST_TEST_CLOCK_MS", "100000")
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let status = later(&house);
    assert_eq!(status["bots"][0]["polling"], false);
    assert_eq!(status["bots"][0]["state"], "not answering");
    let said = lines_of(&status, "problems");
    assert!(
        said.contains("the gateway is frozen") && said.contains(REPLACE),
        "{said}"
    );
    // The next step that it names works.
    let _background = Background(&house);
    let replaced = house.run(&["gateway", "--detach", "--replace"]);
    assert!(replaced.status.success(), "{replaced:?}");
    gateway.end();
    house.wait_for_bot(0, "polling", json!(true));
}

#[test]
fn a_gateway_that_runs_already_names_the_command_in_the_form_that_was_typed() {
    let house = House::new();
    let _gateway = house.gateway();
    for (typed, named) in [
        (&["gateway"][..], "`telepost gateway --replace`"),
        (
            &["gateway", "--detach"],
            "`telepost gateway --detach --replace`",
        ),
    ] {
        let second = house.run(typed);
        assert_eq!(second.status.code(), Some(4));
        assert!(err(&second).contains(named), "{}", err(&second));
    }
}

#[test]
fn a_full_disk_ends_no_command_that_prints_in_a_panic() {
    let house = House::new();
    for command in [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["--help"],
        &["--version"],
        &["check"],
        &["status"],
        &["status", "--json"],
        &["inbox", "list"],
        &["outbox", "list", "--json"],
        &["files", "prune", "--dry-run"],
        &["prune"],
        &["gateway", "stop"],
        &["install", "claude", "--dry-run"],
        &["uninstall", "claude"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut run = if command[0].starts_with('-') {
            let mut run = Command::new(env!("CARGO_BIN_EXE_telepost"));
            run.args(command);
            run
        } else {
            house.command(command)
        };
        let run = run
            .current_dir(house.work())
            .stdin(Stdio::null())
            .stdout(full);
        let output = run.output().unwrap();
        let code = output.status.code();
        assert_eq!(code, Some(5), "{command:?}: {}", err(&output));
        assert!(
            err(&output).contains("cannot print"),
            "{command:?}: {}",
            err(&output)
        );
    }
}

#[test]
fn the_words_of_telegram_do_nothing_to_the_terminal() {
    let house = House::new();
    let hostile = "\u{1b}]0;title\u{7}\u{202e}gone";
    let poll = Fault::on(house.bot()).method("getUpdates").always();
    house.sim.fault(poll.error(500, hostile));
    let _gateway = house.gateway_with(&[]);
    wait_for("the refused poll", || {
        let bot = house.bot_status(0);
        if bot["unreachable"].is_string() {
            Ok(())
        } else {
            Err(bot)
        }
    });
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["check", "--online"],
    ] {
        let text = out(&house.run(command));
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acts), "{command:?}: {text:?}");
    }
}

#[test]
fn a_claude_code_that_does_not_allow_the_tools_is_named_with_the_rule() {
    let house = House::new();
    let home = house.path();
    let notes = || lines_of(&house.status(), "notes");
    let put = |name: &str, value: Value| {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    };
    assert_eq!(notes(), "");
    put(
        ".claude/settings.json",
        json!({"enabledPlugins": {"telepost@telepost": true}}),
    );
    assert!(
        notes().contains("\"mcp__plugin_telepost_telegram__*\" to permissions.allow"),
        "{}",
        notes()
    );
    let rule = json!(["mcp__plugin_telepost_telegram__*"]);
    put(
        ".claude/settings.json",
        json!({"enabledPlugins": {"telepost@telepost": true}, "permissions": {"allow": rule}}),
    );
    assert_eq!(notes(), "");
    put(".claude/settings.json", json!({}));
    put(
        ".claude.json",
        json!({"mcpServers": {"telegram": {"command": "/x/telepost", "args": ["mcp"]}}}),
    );
    assert!(
        notes().contains("\"mcp__telegram__*\" to permissions.allow"),
        "{}",
        notes()
    );
}
