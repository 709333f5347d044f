//! `telepost install` for several sessions: one set of hooks, a server for all folders, and the refusals and
//! questions before a session loses its agents.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::home::*;
use crate::support::hooks::{Said, run_hook, said};

const TWO: &str =
    r#"{"TWO": {"bot_token_env": "TOKEN_TWO", "chat_ids": [12], "allowed_users": [11]}}"#;

/// Its second session is `TWO`.
fn home_with_two() -> Home {
    let home = Home::new();
    home.configure(serde_json::from_str(TWO).unwrap());
    home
}

#[test]
fn all_sessions_of_a_client_share_one_set_of_hooks() {
    for (client, file) in [
        ("claude", ".claude/settings.json"),
        ("codex", ".codex/hooks.json"),
    ] {
        let home = home_with_two();
        let before = home.everything();
        for session in ["ONE", "TWO", "ONE"] {
            succeeds(&home.run(&[
                "install",
                client,
                "--session",
                session,
                "--yes",
                "--replace",
            ]));
        }
        let stops = home.json(file)["hooks"]["Stop"].clone();
        assert_eq!(stops.as_array().unwrap().len(), 1, "{stops}");
        succeeds(&home.run(&["uninstall", client, "--yes"]));
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn a_hook_is_silent_and_succeeds_once_the_program_is_gone() {
    let home = Home::new();
    for (client, file) in [
        ("claude", ".claude/settings.json"),
        ("codex", ".codex/hooks.json"),
    ] {
        succeeds(&home.run(&["install", client, "--yes"]));
        let hooks = home.json(file)["hooks"].clone();
        for (event, groups) in hooks.as_object().unwrap() {
            let hook = &groups[0]["hooks"][0];
            assert_eq!(hook["args"], Value::Null, "a line for a shell");
            let line = hook["command"].as_str().unwrap();
            let gone = line.replace(env!("CARGO_BIN_EXE_telepost"), "/no/telepost");
            for line in [line, &gone] {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", line])
                    .env_clear()
                    .env("HOME", home.path());
                let output = run_hook(&mut shell, "{}");
                assert_eq!(said(&output), Said::Nothing, "{event}");
                assert!(output.stderr.is_empty(), "{output:?}");
            }
        }
    }
}

#[test]
fn codex_names_no_session_where_each_folder_has_its_own() {
    let home = Home::new();
    home.configure(json!({"TWO": {
        "bot_token_env": "TOKEN_TWO", "chat_ids": [12], "allowed_users": [11], "cwd": home.path().join("shop")}}));
    let said = succeeds(&home.run(&["install", "codex", "--yes"]));
    assert!(
        said.starts_with(
            "Each folder's session by its `cwd`, otherwise ONE, for Codex in all folders\n"
        ),
        "{said}"
    );
    assert!(!home.get(".codex/config.toml").contains("--session"));
    assert!(!home.get(".codex/hooks.json").contains("--session"));
}

#[test]
fn an_installation_that_would_take_another_sessions_agents_away_asks() {
    for client in BOTH {
        let home = home_with_two();
        succeeds(&home.run(&["install", client, "--session", "ONE", "--yes"]));
        let before = home.everything();
        let to_two = ["install", client, "--session", "TWO"];
        let declined = answered(&home, &to_two, || {}, "n\n");
        assert!(out(&declined).contains("session TWO takes its place"));
        assert_eq!(home.everything(), before);
        let agreed = answered(&home, &to_two, || {}, "y\n");
        assert!(agreed.status.success(), "{agreed:?}");
        let said = succeeds(&home.run(&["install", client, "--session", "ONE", "--yes"]));
        assert!(said.contains("session ONE takes its place"), "{said}");
    }
}

#[test]
fn claude_code_is_not_installed_where_no_project_is() {
    let home = Home::new();
    let before = home.everything();
    for (folder, words) in [
        ("", "is your home folder, not a project"),
        (
            ".config/telepost",
            "is the folder of telepost's configuration, not a project",
        ),
    ] {
        let output = home
            .command(&["install", "claude", "--yes"])
            .current_dir(home.path().join(folder))
            .output()
            .unwrap();
        let said = fails(&output, 2);
        assert!(
            said.contains(words) && said.contains("--scope user"),
            "{said}"
        );
    }
    assert_eq!(home.everything(), before);
}
