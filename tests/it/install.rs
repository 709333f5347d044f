//! `telepost install` in a temporary home: the clients' files afterwards, the user's content in them, questions and
//! refusals.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::home::*;

#[test]
fn a_dry_run_shows_the_difference_and_changes_nothing() {
    let home = Home::new();
    let before = home.everything();
    let said = succeeds(&home.run(&["install", "claude", "--dry-run"]));
    let binary = env!("CARGO_BIN_EXE_telepost");
    let said = said
        .replace(&home.path().display().to_string(), "HOME")
        .replace(binary, "TELEPOST");
    // The lengths of these texts are not the business of this test.
    let said = [
        include_str!("../../commands/telegram-reply.md"),
        include_str!("../../skills/telegram/SKILL.md"),
    ]
    .iter()
    .fold(said, |said, text| {
        said.replace(&format!(", {} lines", text.lines().count()), ", N lines")
    });
    assert_eq!(said, include_str!("../data/install-dry-run.txt"));
    assert_eq!(home.everything(), before);
}

#[test]
fn claude_code_gets_the_server_of_the_folder_the_rule_the_command_and_the_skill() {
    let home = Home::new();
    let said = succeeds(&home.run(&["install", "claude", "--yes"]));
    let mut servers: Value = serde_json::from_str(SERVERS).unwrap();
    servers["projects"][project(&home)] =
        json!({"mcpServers": {"telegram": server(&home, &["--session", "ONE"])}});
    assert_eq!(home.json(".claude.json"), servers);
    let rule = "[\"Bash(ls)\",  \"Read\",  \"mcp__telegram__*\"]";
    let settings = home.get(".claude/settings.json");
    let (theirs, hooks) = settings.split_once(",\n\t\"hooks\": {").unwrap();
    let rest = SETTINGS.replace("[\"Bash(ls)\",  \"Read\"]", rule);
    assert!(rest.starts_with(theirs), "{settings}");
    assert!(hooks.ends_with("\t}\n}\n\n"), "{settings}");
    assert_eq!(
        home.get(COMMAND),
        include_str!("../../commands/telegram-reply.md")
    );
    assert_eq!(
        home.get(SKILL),
        include_str!("../../skills/telegram/SKILL.md")
    );
    let next = format!("Next: restart Claude Code in {}", project(&home));
    assert!(
        said.contains(&next) && said.contains("/telegram-reply"),
        "{said}"
    );
}

#[test]
fn each_client_gets_hooks_that_name_the_configuration_and_keep_those_of_the_user() {
    let home = Home::new();
    let mine = json!({"hooks": [{"type": "command", "command": "mine"}]});
    let theirs = json!({"hooks": {"Stop": [mine]}}).to_string();
    home.put(".claude/settings.json", &theirs);
    home.put(".codex/hooks.json", &theirs);
    for client in BOTH {
        succeeds(&home.run(&["install", client, "--yes"]));
    }
    let (binary, path) = (env!("CARGO_BIN_EXE_telepost"), home.path());
    let config = path.join(".config/telepost/sessions.json");
    let config = config.to_str().unwrap();
    for (event, name) in [
        ("SessionStart", "session-start"),
        ("UserPromptSubmit", "prompt"),
        ("Stop", "stop"),
        ("StopFailure", "stop-failure"),
        ("SessionEnd", "end"),
    ] {
        let line = format!("test ! -x {binary} || exec {binary} hook {name} --config {config}");
        let ours = json!({"type": "command", "command": line, "timeout": 3});
        for file in [".claude/settings.json", ".codex/hooks.json"] {
            let found = home.json(file)["hooks"][event].clone();
            if event == "StopFailure" && file == ".codex/hooks.json" {
                assert_eq!(found, Value::Null, "Codex knows no such event");
                continue;
            }
            let mut groups = found.as_array().unwrap().clone();
            assert_eq!(groups.pop(), Some(json!({"hooks": [ours]})));
            let theirs: &[Value] = if event == "Stop" {
                std::slice::from_ref(&mine)
            } else {
                &[]
            };
            assert_eq!(groups, theirs);
        }
    }
}

#[test]
fn a_plugin_that_is_installed_too_is_reported() {
    let home = Home::new();
    let words = "the telepost plugin is installed too";
    for (state, is_told) in [(json!(true), true), (json!(false), false)] {
        let settings = json!({"enabledPlugins": {"telepost@telepost": state}});
        home.put(".claude/settings.json", &settings.to_string());
        let said = succeeds(&home.run(&["install", "claude", "--yes"]));
        assert_eq!(said.contains(words), is_told, "{said}");
    }
}

#[test]
fn codex_gets_the_server_approved_and_the_skill() {
    let home = Home::new();
    succeeds(&home.run(&["install", "codex", "--yes"]));
    let config = home.path().join(".config/telepost/sessions.json");
    assert_eq!(
        home.get(".codex/config.toml"),
        format!(
            "{CODEX}\n\n[mcp_servers.telegram]\ncommand = \"{}\"\nargs = [\"mcp\", \"--config\", \"{}\", \"--session\", \"ONE\"]\ndefault_tools_approval_mode = \"approve\"\n",
            env!("CARGO_BIN_EXE_telepost"),
            config.display()
        )
    );
    assert_eq!(
        home.get(".codex/skills/telegram/SKILL.md"),
        include_str!("../../skills/telegram/SKILL.md")
    );
}

#[test]
fn the_registered_command_starts_and_serves() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let entry =
        home.json(".claude.json")["projects"][project(&home)]["mcpServers"]["telegram"].clone();
    let arguments: Vec<&str> = entry["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let mut server = Command::new(entry["command"].as_str().unwrap())
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let mut input = server.stdin.take().unwrap();
    writeln!(input, "{hello}").unwrap();
    drop(input);
    let output = server.wait_with_output().unwrap();
    assert!(out(&output).contains("\"serverInfo\""), "{output:?}");
}

#[test]
fn a_second_installation_changes_nothing_and_says_so() {
    for client in BOTH {
        let home = Home::new();
        succeeds(&home.run(&["install", client, "--yes"]));
        let before = home.everything();
        // Not even --yes is needed, because nothing is asked.
        let said = succeeds(&home.run(&["install", client]));
        assert!(said.contains("no change"), "{said}");
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn backups_are_private_because_such_files_hold_secrets() {
    let home = Home::new();
    home.set_mode(".claude.json", 0o644);
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let backup = &home.everything()[Path::new(".claude.json.telepost-backup")];
    assert_eq!(backup, &format!("100600 {SERVERS}"));
}

#[test]
fn no_token_is_written_or_shown() {
    let home = Home::new();
    let theirs = json!({"mcpServers": {"telegram": {"command": "bun", "env": {"TELEGRAM_BOT_TOKEN": TOKEN}}}});
    home.put(
        ".claude.json",
        &serde_json::to_string_pretty(&theirs).unwrap(),
    );
    let secret = TOKEN.split_once(':').unwrap().1;
    let output = home.run(&["install", "claude", "--scope", "user", "--replace", "--yes"]);
    let said = succeeds(&output);
    assert!(
        said.contains("TELEGRAM_BOT_TOKEN") && !said.contains(secret),
        "{said}"
    );
    let with_secret: Vec<_> = home
        .everything()
        .into_iter()
        .filter(|(_, content)| content.contains(secret))
        .map(|(path, _)| path.display().to_string())
        .collect();
    // The user's own file, and the backup of the user's own file.
    assert_eq!(
        with_secret,
        [".claude.json.telepost-backup", ".config/telepost/.env"]
    );
}

#[test]
fn without_a_terminal_and_without_yes_the_difference_is_shown_and_nothing_is_changed() {
    let home = Home::new();
    let before = home.everything();
    let output = home.run(&["install", "claude"]);
    assert_eq!(
        fails(&output, 2),
        "telepost: nothing was changed: there is no terminal to ask for confirmation; check the changes above, then run the command again with --yes\n"
    );
    assert!(out(&output).contains("+++ "), "{}", out(&output));
    assert_eq!(home.everything(), before);
}

#[test]
fn on_a_terminal_it_asks_and_only_a_yes_changes_anything() {
    let home = Home::new();
    let before = home.everything();
    for no in ["\n", "n\n", "what?\n"] {
        let output = answered(&home, &["install", "claude"], || {}, no);
        assert_eq!(fails(&output, 7), "telepost: nothing was changed\n");
        assert!(
            out(&output).ends_with("Change 4 files? [y/N] "),
            "{}",
            out(&output)
        );
        assert_eq!(home.everything(), before);
    }
    succeeds(&answered(&home, &["install", "claude"], || {}, "y\n"));
    assert!(home.exists(COMMAND));
    succeeds(&answered(&home, &["uninstall", "claude"], || {}, "YES\n"));
    assert_eq!(home.everything(), before);
}

#[test]
fn a_file_that_the_client_writes_while_it_asks_is_not_overwritten_and_the_next_run_finishes() {
    let home = Home::new();
    let newer = SERVERS.replace("\"numStartups\": 7", "\"numStartups\": 8");
    let write = || home.put(".claude.json", &newer);
    let output = answered(&home, &["install", "claude"], write, "y\n");
    let said = fails(&output, 7);
    let words = format!(
        "telepost: {} was changed by another program in the meantime",
        home.path().join(".claude.json").display()
    );
    assert!(
        said.starts_with(&words) && said.contains("run the command again"),
        "{said}"
    );
    assert_eq!(home.get(".claude.json"), newer);
    succeeds(&home.run(&["install", "claude", "--yes"]));
    assert_eq!(home.json(".claude.json")["numStartups"], 8);
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.get(".claude.json"), newer);
}

#[test]
fn the_folders_of_the_clients_can_be_moved() {
    let home = Home::empty();
    let elsewhere = home.path().join("elsewhere");
    for (client, variable) in [("claude", "CLAUDE_CONFIG_DIR"), ("codex", "CODEX_HOME")] {
        let run = |action| {
            home.command(&[action, client, "--yes"])
                .env(variable, &elsewhere)
                .output()
                .unwrap()
        };
        let before = home.everything();
        succeeds(&run("install"));
        let file = if client == "claude" {
            "elsewhere/.claude.json"
        } else {
            "elsewhere/config.toml"
        };
        assert!(home.get(file).contains("telegram"));
        assert!(!home.exists(".claude") && !home.exists(".claude.json") && !home.exists(".codex"));
        succeeds(&run("uninstall"));
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn another_server_of_the_name_is_refused_and_the_message_says_what_to_do() {
    let home = Home::new();
    let servers = json!({"mcpServers": {"telegram": {"command": "bun", "args": ["server.ts"]}}});
    home.put(".claude.json", &servers.to_string());
    home.put(
        ".codex/config.toml",
        "[mcp_servers.telegram]\ncommand = \"bun\"\n",
    );
    let before = home.everything();
    for (arguments, file) in [
        (
            &["install", "claude", "--scope", "user", "--yes"][..],
            ".claude.json",
        ),
        (&["install", "codex", "--yes"], ".codex/config.toml"),
    ] {
        assert_eq!(
            fails(&home.run(arguments), 7),
            format!(
                "telepost: {} already has another MCP server named `telegram` (bun); rename or remove it, or run the command again with --replace (uninstall puts it back); nothing was changed\n",
                home.path().join(file).display()
            )
        );
        assert_eq!(home.everything(), before);
        let mut arguments = arguments.to_vec();
        arguments.push("--replace");
        succeeds(&home.run(&arguments));
        succeeds(&home.run(&["uninstall", arguments[1], "--yes"]));
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn a_file_that_does_not_parse_is_refused_with_its_place_and_nothing_changes_anywhere() {
    for (client, file, text, place) in [
        (
            "claude",
            ".claude.json",
            "{\n  \"a\": 1\n  \"b\"\n}",
            "line 3, column 3",
        ),
        (
            "claude",
            ".claude/settings.json",
            "{\"permissions\": }",
            "line 1, column 17",
        ),
        (
            "claude",
            ".claude/settings.json",
            "{\"permissions\": {\"allow\": 3}}",
            "needs a list at permissions.allow",
        ),
        (
            "codex",
            ".codex/config.toml",
            "a = 1\nb = = 2\n",
            "line 2, column 5",
        ),
    ] {
        let home = Home::new();
        home.put(file, text);
        let before = home.everything();
        let said = fails(&home.run(&["install", client, "--yes"]), 7);
        let path = home.path().join(file).display().to_string();
        assert!(
            said.contains(&path) && said.contains(place) && said.contains("nothing was changed"),
            "{said}"
        );
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_place() {
    let home = Home::new();
    fs::write(
        home.path().join(".claude/settings.json"),
        b"{\n \"a\": \"\xff\"}",
    )
    .unwrap();
    let said = fails(&home.run(&["install", "claude", "--yes"]), 7);
    assert!(
        said.contains("line 2, column 8: the bytes are not UTF-8"),
        "{said}"
    );
}

#[test]
fn a_second_folder_gets_its_own_session_and_both_go_together() {
    let home = Home::new();
    home.configure(
        json!({"TWO": {"bot_token_env": "TOKEN_TWO", "chat_ids": [11], "allowed_users": [11],
        "cwd": home.path().join("web")}}),
    );
    home.put("web/readme", "");
    let before = home.everything();
    succeeds(&home.run(&["install", "claude", "--session", "ONE", "--yes"]));
    let said = succeeds(&home.run(&["install", "claude", "--session", "TWO", "--yes"]));
    // The session says where its agent works; where the command runs does not matter.
    let web = home.path().join("web").display().to_string();
    assert!(
        said.starts_with(&format!("Session TWO for Claude Code in {web}\n")),
        "{said}"
    );
    let projects = &home.json(".claude.json")["projects"];
    let telegram = |folder: &str| projects[folder]["mcpServers"]["telegram"].clone();
    assert_eq!(
        telegram(&project(&home)),
        server(&home, &["--session", "ONE"])
    );
    assert_eq!(telegram(&web), server(&home, &["--session", "TWO"]));
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.everything(), before);
}

#[test]
fn a_folder_gets_another_session_when_it_is_installed_again() {
    for client in BOTH {
        let home = Home::new();
        home.configure(
            json!({"TWO": {"bot_token_env": "TOKEN_TWO", "chat_ids": [11], "allowed_users": [11]}}),
        );
        let before = home.everything();
        succeeds(&home.run(&["install", client, "--session", "ONE", "--yes"]));
        succeeds(&home.run(&["install", client, "--session", "TWO", "--yes"]));
        let file = if client == "claude" {
            ".claude.json"
        } else {
            ".codex/config.toml"
        };
        let text = home.get(file);
        assert!(
            text.contains("\"TWO\"") && !text.contains("\"ONE\""),
            "{text}"
        );
        succeeds(&home.run(&["uninstall", client, "--yes"]));
        assert_eq!(home.everything(), before);
    }
}

#[test]
fn a_file_on_one_long_line_is_shown_only_where_it_changes() {
    let home = Home::new();
    let servers = json!({"history": "x".repeat(5000), "projects": {}, "more": "y".repeat(5000)});
    home.put(".claude.json", &servers.to_string());
    let said = succeeds(&home.run(&["install", "claude", "--dry-run"]));
    assert!(
        said.contains("\"telegram\":{\"type\":\"stdio\"") && said.contains("@@ from character "),
        "{said}"
    );
    assert!(said.len() < 3500, "{said}");
    assert!(!said.contains(&"x".repeat(50)), "{said}");
}

#[test]
fn without_a_session_several_sessions_are_listed() {
    let home = Home::new();
    home.configure(json!({"TWO": {"name": "Website", "bot_token_env": "TOKEN_TWO", "chat_ids": [11], "allowed_users": [11]}}));
    let config = home.path().join(".config/telepost/sessions.json");
    let config = config.display();
    assert_eq!(
        fails(&home.run(&["install", "claude", "--yes"]), 2),
        format!(
            "telepost: {config} has several sessions; choose one:\n  telepost install claude --session ONE\n  telepost install claude --session TWO    (Website)\nor install for all folders at once; each folder gets the session whose `cwd` it is in:\n  telepost install claude --scope user\n"
        )
    );
    assert_eq!(
        fails(&home.run(&["install", "codex", "--yes"]), 2),
        format!(
            "telepost: {config} has several sessions; choose one:\n  telepost install codex --session ONE\n  telepost install codex --session TWO    (Website)\n"
        )
    );
    let named = home
        .command(&["install", "codex", "--dry-run"])
        .env("TG_SESSION_ID", "TWO")
        .output()
        .unwrap();
    assert!(succeeds(&named).starts_with("Session TWO (Website) for Codex in all folders\n"));
}

#[test]
fn an_installation_for_all_folders_names_no_session() {
    let home = Home::new();
    let said = succeeds(&home.run(&["install", "claude", "--scope", "user", "--yes"]));
    assert!(said.contains("for Claude Code in all folders"), "{said}");
    assert_eq!(
        home.json(".claude.json")["mcpServers"]["telegram"],
        server(&home, &[])
    );
    succeeds(&home.run(&[
        "install",
        "claude",
        "--scope",
        "user",
        "--session",
        "ONE",
        "--yes",
    ]));
    assert_eq!(
        home.json(".claude.json")["mcpServers"]["telegram"],
        server(&home, &["--session", "ONE"])
    );
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.get(".claude.json"), SERVERS);
}

#[test]
fn codex_has_no_folders() {
    let home = Home::new();
    let said = fails(&home.run(&["install", "codex", "--scope", "local"]), 2);
    assert!(
        said.contains("leave --scope out") && said.contains("CODEX_HOME"),
        "{said}"
    );
}

#[test]
fn the_folder_is_the_top_of_the_repository_as_claude_code_has_it() {
    let home = Home::empty();
    let git = |folder: &str, arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .current_dir(home.path().join(folder))
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git("shop", &["init", "-q"]);
    git("shop", &["commit", "-q", "--allow-empty", "-m", "x"]);
    git("shop", &["worktree", "add", "-q", "../tree"]);
    fs::create_dir_all(home.path().join("shop/deep/er")).unwrap();
    symlink("shop/deep", home.path().join("link")).unwrap();
    for folder in ["shop", "shop/deep/er", "link", "tree"] {
        let mut command = home.command(&["install", "claude", "--dry-run"]);
        let said = succeeds(
            &command
                .current_dir(home.path().join(folder))
                .output()
                .unwrap(),
        );
        let words = format!("Session ONE for Claude Code in {}\n", project(&home));
        assert!(said.starts_with(&words), "{folder}: {said}");
    }
}

#[test]
fn without_a_valid_configuration_nothing_is_installed_and_the_message_says_how_to_begin() {
    let home = Home::new();
    let config = home.path().join(".config/telepost/sessions.json");
    fs::remove_file(&config).unwrap();
    let before = home.everything();
    let said = fails(&home.run(&["install", "claude", "--yes"]), 3);
    assert!(
        said.contains("there is no such file") && said.contains("write {\"sessions\": {"),
        "{said}"
    );
    assert_eq!(home.everything(), before);
    home.put(".config/telepost/sessions.json", "{\"sessions\": {}}");
    fails(&home.run(&["install", "claude", "--yes"]), 3);
    // `uninstall` needs no configuration.
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
}

#[test]
fn missing_tokens_are_reported_and_do_not_stop_an_installation() {
    let home = Home::new();
    fs::remove_file(home.path().join(".config/telepost/.env")).unwrap();
    let env_file = home.path().join(".config/telepost/.env");
    let said = succeeds(&home.run(&["install", "claude", "--yes"]));
    let words = format!(
        "- set the bot token of session ONE: write TOKEN_ONE=<the token> into {}\n",
        env_file.display()
    );
    assert!(said.contains(&words), "{said}");
    let said = succeeds(
        &home
            .command(&["install", "claude"])
            .env("TOKEN_ONE", TOKEN)
            .output()
            .unwrap(),
    );
    assert!(
        said.contains("TOKEN_ONE is set only in this shell"),
        "{said}"
    );
    home.put(".config/telepost/.env", "TOKEN_ONE=no-token-but-secret\n");
    let said = succeeds(&home.run(&["install", "claude"]));
    assert!(
        said.contains("does not hold a bot token") && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn a_read_only_folder_is_refused_before_the_first_change() {
    let home = Home::new();
    let folder = home.path().join(".claude/commands");
    fs::create_dir_all(&folder).unwrap();
    home.set_mode(".claude/commands", 0o700);
    let before = home.everything();
    let output = {
        let _read_only = crate::read_only::ReadOnly::folder(&folder);
        home.run(&["install", "claude", "--yes"])
    };
    let said = fails(&output, 7);
    assert!(
        said.starts_with("telepost: nothing was changed: cannot write into "),
        "{said}"
    );
    assert!(said.contains(&folder.display().to_string()), "{said}");
    assert_eq!(home.everything(), before);
}
