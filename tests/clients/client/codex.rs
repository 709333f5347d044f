//! Codex: `codex exec` for one turn, `codex app-server` for a session that stays (docs/facts/clients.md 5.3).

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{Client, Session, Talk};

pub(super) fn seed(client: &Client) {
    let folder = client.home.join(".codex");
    fs::create_dir_all(&folder).unwrap();
    let config = format!(
        r#"model = "scripted"
model_provider = "scripted"

[model_providers.scripted]
name = "scripted"
base_url = "{}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
request_max_retries = 0
stream_max_retries = 0
"#,
        client.model.url()
    );
    fs::write(folder.join("config.toml"), config).unwrap();
}

/// The lines that README adds to the table that `codex mcp add` has made; and that the first turn waits
/// for our server, however slowly a busy machine starts it.
pub(super) fn allow(client: &Client) {
    let file = client.home.join(".codex/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    let table = "[mcp_servers.telegram]\n";
    assert!(config.contains(table), "{config}");
    let allowed = format!(
        "{table}default_tools_approval_mode = \"approve\"\nrequired = true\nstartup_timeout_sec = 60\n"
    );
    fs::write(file, config.replace(table, &allowed)).unwrap();
}

pub(super) fn environment(command: &mut Command) {
    command.env("SCRIPTED_KEY", "a-key-that-no-server-knows");
}

pub(super) fn start(client: &Client, resumed: Option<&str>, prompt: &str) -> Session {
    let mut command = client.command(&["exec", "--json", "--skip-git-repo-check"]);
    if let Some(id) = resumed {
        command.args(["resume", id]);
    }
    command.arg(prompt);
    Session::spawn(Talk::Exec, command, &client.home)
}

/// Writes down that the person trusts each hook.
pub(super) fn trust_hooks(client: &Client) {
    let mut session = serve(client);
    let listed = ask(
        &mut session,
        "hooks/list",
        &json!({"cwds": [client.project]}),
    );
    let hooks = listed["data"][0]["hooks"].as_array().unwrap();
    assert!(!hooks.is_empty(), "{listed}");
    let state = hooks.iter().map(|hook| {
        let (key, hash) = (&hook["key"], &hook["currentHash"]);
        format!("\n[hooks.state.{key}]\ntrusted_hash = {hash}\n")
    });
    let file = client.home.join(".codex/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    // The hooks that were trusted before stand at the end, too.
    let config = config.split("\n[hooks.state.").next().unwrap();
    fs::write(file, config.to_owned() + &state.collect::<String>()).unwrap();
}

pub(super) fn converse(client: &Client, prompt: &str) -> Session {
    let mut session = serve(client);
    let thread = ask(&mut session, "thread/start", &json!({}));
    let thread = thread["thread"]["id"].as_str().unwrap().to_owned();
    turn(&mut session, thread, prompt);
    session
}

fn serve(client: &Client) -> Session {
    let command = client.command(&["app-server"]);
    let nothing = Talk::AppServer {
        thread: String::new(),
        turn: String::new(),
    };
    let mut session = Session::spawn(nothing, command, &client.home);
    let about = json!({"name": "telepost-test", "title": "a test", "version": "1"});
    ask(&mut session, "initialize", &json!({"clientInfo": about}));
    session.send(&json!({"method": "initialized"}));
    session
}

/// Begins a turn of a thread.
pub(super) fn turn(session: &mut Session, thread: String, prompt: &str) {
    let input = json!([{"type": "text", "text": prompt}]);
    let turn = json!({"threadId": thread, "input": input});
    let turn = ask(session, "turn/start", &turn);
    let turn = turn["turn"]["id"].as_str().unwrap().to_owned();
    session.talk = Talk::AppServer { thread, turn };
}

pub(super) fn interrupt(thread: &str, turn: &str) -> Value {
    json!({"id": "interrupt", "method": "turn/interrupt", "params": {"threadId": thread, "turnId": turn}})
}

/// A request and its result.
fn ask(session: &mut Session, method: &str, params: &Value) -> Value {
    let id = format!("{method} {:08x}", fastrand::u32(..));
    session.send(&json!({"id": id, "method": method, "params": params}));
    let answer = session.line(method, |line| line["id"] == json!(id));
    assert!(answer["result"].is_object(), "{method}: {answer}");
    answer["result"].clone()
}
