//! Our server is registered by the clients' own commands, and their health checks change nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{Client, Kind};
use crate::support::{House, SelfStarting};

/// The lines that the newest Claude Code was seen to say first.
const HANDSHAKE: &str = include_str!("../data/claude-code-2.1.332-handshake.jsonl");

#[test]
fn claude_code_lists_it_as_connected() {
    claude_lists_it_as_connected(Kind::Claude);
}

#[test]
fn an_older_claude_code_lists_it_as_connected() {
    claude_lists_it_as_connected(Kind::OlderClaude);
}

fn claude_lists_it_as_connected(kind: Kind) {
    let house = House::new();
    let client = Client::registered(kind, &house);
    // The exit code is 0 even on failure (docs/facts/clients.md 1), so the text has to say it.
    let listed = client.out(&["mcp", "list"]);
    let line = line_of(&listed, "telegram:");
    assert!(line.ends_with("✔ Connected"), "{listed}");
}

#[test]
fn codex_lists_it_as_enabled_with_its_arguments() {
    let house = House::new();
    let client = Client::registered(Kind::Codex, &house);
    let listed: Value = serde_json::from_str(&client.out(&["mcp", "list", "--json"])).unwrap();
    let config = house.config_path();
    assert_eq!(listed[0]["name"], "telegram");
    assert_eq!(listed[0]["enabled"], true);
    assert_eq!(
        listed[0]["transport"]["args"],
        json!(["mcp", "--config", config, "--session", "ONE"])
    );
}

#[test]
fn a_health_check_starts_no_gateway_and_writes_no_file() {
    for kind in [Kind::Claude, Kind::OlderClaude, Kind::Codex] {
        // Here the first tool call would start a gateway.
        let house = SelfStarting::new();
        let client = Client::registered(kind, &house);
        let before = fs::read_dir(house.path()).unwrap().count();
        for arguments in [["mcp", "list"].as_slice(), &["mcp", "get", "telegram"]] {
            client.out(arguments);
        }
        assert_eq!(fs::read_dir(house.path()).unwrap().count(), before);
        assert!(!house.state().exists(), "{kind:?}");
        assert!(!house.has_gateway(), "{kind:?}");
        assert_eq!(house.sim.calls(house.bot()).len(), 0, "{kind:?}");
    }
}

#[test]
fn a_configuration_with_a_mistake_does_not_keep_the_clients_from_connecting() {
    let mut house = House::new();
    house.config["sessions"]["ONE"]["allowed_users"] = json!([]);
    house.write_config();
    let client = Client::registered(Kind::Claude, &house);
    let listed = client.out(&["mcp", "list"]);
    assert!(listed.contains("✔ Connected"), "{listed}");
}

#[test]
fn the_recorded_handshake_is_what_claude_code_says() {
    let house = House::new();
    let client = Client::new(Kind::Claude, &house);
    let heard = house.path().join("heard");
    let server = house.path().join("server");
    let program = env!("CARGO_BIN_EXE_telepost");
    let config = house.config_path();
    let script = format!(
        "#!/bin/sh\ntee '{}' | '{program}' mcp --config '{}'\n",
        heard.display(),
        config.display()
    );
    write_program(&server, &script);
    client.out(&["mcp", "add", "telegram", "--", server.to_str().unwrap()]);
    let listed = client.out(&["mcp", "list"]);
    assert!(listed.contains("✔ Connected"), "{listed}");
    let heard = fs::read_to_string(heard).unwrap();
    let lines = |text: &str| -> Vec<Value> {
        let lines = text.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert_eq!(lines(&heard), lines(HANDSHAKE));
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The line that begins like this.
#[track_caller]
fn line_of<'a>(text: &'a str, beginning: &str) -> &'a str {
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with(beginning))
        .unwrap_or_else(|| panic!("no line begins with {beginning}: {text}"))
}
