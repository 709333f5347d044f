//! Claude Code: driven by JSON lines over its pipes (docs/facts/clients.md 4.6).

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{Client, Session, Talk, wait_for_client};

const KEY: &str = "a-key-that-no-server-knows";

/// Answers the questions of the first start at the terminal, and of the first start without permissions.
pub(super) fn seed(client: &Client) {
    let (_, end) = KEY.split_at(KEY.len().saturating_sub(20));
    let project = client.project.to_str().unwrap();
    let state = json!({
        "hasCompletedOnboarding": true,
        "bypassPermissionsModeAccepted": true,
        "customApiKeyResponses": {"approved": [end], "rejected": []},
        "projects": {project: {"hasTrustDialogAccepted": true}},
    });
    fs::write(client.home.join(".claude.json"), state.to_string()).unwrap();
}

pub(super) fn allow(client: &Client, rules: &[&str]) {
    change_settings(client, |settings| {
        settings["permissions"]["allow"] = json!(rules);
    });
}

pub(super) fn change_settings(client: &Client, change: impl FnOnce(&mut Value)) {
    let folder = client.home.join(".claude");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("settings.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    change(&mut settings);
    fs::write(file, settings.to_string()).unwrap();
}

pub(super) fn environment(client: &Client, command: &mut Command) {
    command
        .env("ANTHROPIC_BASE_URL", client.model.url())
        .env("ANTHROPIC_API_KEY", KEY)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
        .env("DISABLE_AUTOUPDATER", "1")
        // Auto mode asks its own model, not the vendor's server (docs/facts/clients.md 7.6).
        .env("CLAUDE_CODE_AUTO_MODE_SERVER", "0")
        // Root may work without permissions.
        .env("IS_SANDBOX", "1");
}

pub(super) fn start(client: &Client, resumed: Option<&str>, prompt: &str) -> Session {
    let mut command = client.command(&[
        "-p",
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
        "--verbose",
        "--permission-mode",
        "default",
    ]);
    if let Some(id) = resumed {
        command.args(["--resume", id]);
    }
    let mut session = Session::spawn(Talk::Claude, command, &client.home);
    wait_until_connected(&mut session);
    session.send(&user(prompt));
    session
}

/// An older one does not wait for a server that a busy machine starts slowly: its first turn would have no
/// tools (docs/facts/clients.md 1).
fn wait_until_connected(session: &mut Session) {
    wait_for_client("the client to connect to its servers", || {
        let id = format!("status {:08x}", fastrand::u32(..));
        let ask = json!({"subtype": "mcp_status"});
        session.send(&json!({"type": "control_request", "request_id": id, "request": ask}));
        let answer = session.line("MCP status", |line| {
            line["response"]["request_id"] == json!(id)
        });
        let servers = answer["response"]["response"]["mcpServers"].clone();
        let states: Vec<Value> = servers
            .as_array()
            .unwrap_or_else(|| panic!("{answer}"))
            .iter()
            .map(|server| server["status"].clone())
            .collect();
        if !states.is_empty() && states.iter().all(|state| state == "connected") {
            Ok(())
        } else {
            Err(servers)
        }
    });
}

pub(super) fn user(text: &str) -> Value {
    json!({"type": "user", "message": {"role": "user", "content": text}})
}

pub(super) fn interrupt() -> Value {
    json!({"type": "control_request", "request_id": "stop", "request": {"subtype": "interrupt"}})
}
