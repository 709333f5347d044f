//! Codex: one `codex exec` per turn.

use std::fs;
use std::process::Command;

use super::Client;

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

/// What README tells people to add to the table that `codex mcp add` has made.
pub(super) fn allow(client: &Client) {
    let file = client.home.join(".codex/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    let table = "[mcp_servers.telegram]\n";
    assert!(config.contains(table), "{config}");
    let allowed = format!("{table}default_tools_approval_mode = \"approve\"\n");
    fs::write(file, config.replace(table, &allowed)).unwrap();
}

pub(super) fn environment(command: &mut Command) {
    command.env("SCRIPTED_KEY", "a-key-that-no-server-knows");
}

pub(super) fn session(client: &Client, resumed: Option<&str>, prompt: &str) -> Command {
    let mut command = client.command(&["exec", "--json", "--skip-git-repo-check"]);
    if let Some(id) = resumed {
        command.args(["resume", id]);
    }
    command.arg(prompt);
    command
}
