//! Starting and ending of the MCP server: clients start it for a mere health check, and never restart it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Agent, House, SelfStarting, ids};

fn initialize(agent: &mut Agent, version: &str) -> Value {
    agent.request(
        "initialize",
        json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}}),
    )
}

/// The names of everything in a house's folder.
fn everything(house: &House) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(house.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "agents.log")
        .collect();
    names.sort();
    names
}

#[test]
fn the_protocol_version_is_capped() {
    let house = House::new();
    for (asked, given) in [
        ("2026-07-28", "2025-11-25"),
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
    ] {
        let mut agent = Agent::start_without_handshake(&mut house.agent_command("ONE"));
        let hello = initialize(&mut agent, asked);
        assert_eq!(hello["result"]["protocolVersion"], given, "{hello}");
    }
}

#[test]
fn claude_code_that_asks_with_server_discover_gets_an_error_and_goes_on_with_initialize() {
    let house = House::new();
    let mut agent = Agent::start_without_handshake(&mut house.agent_command("ONE"));
    // Recorded; tests/clients holds it to what the real client says.
    let recorded = include_str!("../data/claude-code-2.1.332-handshake.jsonl");
    let mut said = recorded
        .lines()
        .map(|line| (line, serde_json::from_str::<Value>(line).unwrap()));
    let mut say = |agent: &mut Agent, method: &str| {
        let (line, message) = said.next().unwrap();
        assert_eq!(message["method"], method);
        agent.send_line(line);
        message["id"].clone()
    };
    let probe = say(&mut agent, "server/discover");
    let refused = agent.response_to(&probe);
    assert_eq!(refused["error"]["code"], -32022, "{refused}");
    let hello = say(&mut agent, "initialize");
    let hello = agent.response_to(&hello);
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
    say(&mut agent, "notifications/initialized");
    let tools = say(&mut agent, "tools/list");
    let tools = agent.response_to(&tools);
    assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_health_check_leaves_no_files_and_starts_no_gateway() {
    let house = SelfStarting::new();
    let before = everything(&house);
    let mut agent = house.agent();
    let tools = agent.request("tools/list", json!({}));
    assert_eq!(
        tools["result"]["tools"].as_array().map(Vec::len),
        Some(3),
        "{tools}"
    );
    let status = agent.close();
    assert!(status.success(), "{status}");
    assert_eq!(everything(&house), before);
    assert_eq!(house.sim.calls(house.bot()).len(), 0);
}

#[test]
fn a_server_that_is_started_and_left_without_a_word_ends_well_and_leaves_no_files() {
    let house = House::new();
    let before = everything(&house);
    let agent = Agent::start_without_handshake(&mut house.agent_command("ONE"));
    let status = agent.close();
    assert!(status.success(), "{status}");
    assert_eq!(everything(&house), before);
}

#[test]
fn the_end_of_the_input_ends_the_server_during_a_waiting_poll() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_in("first");
    agent.begin("telegram_poll", json!({"wait_seconds": 50}));
    let began = Instant::now();
    let status = agent.close();
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(status.success(), "{status}");
    let id = house.arrive("for the next one");
    let shown = house.agent_in("second").poll(json!({}));
    assert_eq!(
        (ids(&shown), &shown["messages"][0]["again"]),
        (vec![id], &Value::Null)
    );
}

#[test]
fn the_end_of_the_input_ends_the_server_during_a_reply_that_waits_for_telegram() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    house.sim.fault(
        telegram_sim::Fault::on(house.bot())
            .method("sendMessage")
            .hang(),
    );
    agent.begin("telegram_reply", json!({"text": "answer"}));
    house.wait_for_inbox(0);
    let began = Instant::now();
    agent.close();
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    house.sim.clear_faults();
    house.wait_to_hear(&["answer"]);
}

/// The refusals of all three tools.
fn refusals(agent: &mut Agent) -> Vec<String> {
    [
        ("telegram_poll", json!({})),
        ("telegram_reply", json!({})),
        ("telegram_react", json!({"emoji": "👍"})),
    ]
    .into_iter()
    .map(|(tool, arguments)| agent.call(tool, arguments).refused())
    .collect()
}

/// All three tools are there and say this.
fn assert_every_tool_says(house: &House, session: &str, words: &[&str]) {
    let mut agent = house.agent_of(session);
    let tools = agent.request("tools/list", json!({}));
    assert_eq!(
        tools["result"]["tools"].as_array().map(Vec::len),
        Some(3),
        "{tools}"
    );
    for refusal in refusals(&mut agent) {
        for words in words {
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}

#[test]
fn with_a_broken_configuration_every_tool_returns_its_mistakes() {
    let mut house = House::new();
    house.config["sessions"]["ONE"]["allowed_users"] = json!([]);
    house.config["pace"] = json!("warp");
    house.write_config();
    let path = house.config_path();
    assert_every_tool_says(
        &house,
        "ONE",
        &[
            "telepost cannot use its configuration. Tell the person, and call again when it is fixed.",
            path.to_str().unwrap(),
            "allowed_users",
            "pace",
        ],
    );
}

#[test]
fn with_a_configuration_that_is_no_json_every_tool_says_so() {
    let house = House::new();
    fs::write(house.config_path(), "{\"sessions\": ").unwrap();
    let path = house.config_path();
    assert_every_tool_says(&house, "ONE", &[path.to_str().unwrap(), "line 1"]);
}

#[test]
fn without_a_configuration_every_tool_says_where_it_should_be() {
    let house = House::new();
    fs::remove_file(house.config_path()).unwrap();
    let path = house.config_path();
    assert_every_tool_says(
        &house,
        "ONE",
        &[
            "there is no such file",
            "write {\"sessions\": {",
            path.to_str().unwrap(),
        ],
    );
}

#[test]
fn a_session_that_does_not_exist_is_said_by_every_tool() {
    let house = House::new();
    assert_every_tool_says(&house, "TWO", &["TWO", "ONE"]);
}

#[test]
fn a_broken_configuration_leaves_no_files() {
    let mut house = House::new();
    house.config["pace"] = json!("warp");
    house.write_config();
    let before = everything(&house);
    refusals(&mut house.agent());
    assert_eq!(everything(&house), before);
}

#[test]
fn a_tool_that_does_not_exist_is_a_protocol_error_that_names_it() {
    let house = House::new();
    let answer = house.agent().request(
        "tools/call",
        json!({"name": "telegram_send", "arguments": {}}),
    );
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("telegram_send"), "{answer}");
}

#[test]
fn lines_that_are_no_messages_do_not_end_the_server() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    for line in ["garbage", "{\"jsonrpc\":", "", "[]", "\"text\"", "{}"] {
        agent.send_line(line);
    }
    assert_eq!(
        agent.poll(json!({})),
        json!({"remaining": 0, "session": "ONE"})
    );
}
