//! The Claude Code plugin, installed from this checkout; the command and the skill in each client.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::House;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn claude_code_installs_the_plugin_and_answers_with_its_command() {
    the_plugin_is_installed_and_its_command_answers(Kind::Claude);
}

#[test]
fn an_older_claude_code_installs_the_plugin_and_answers_with_its_command() {
    the_plugin_is_installed_and_its_command_answers(Kind::OlderClaude);
}

fn the_plugin_is_installed_and_its_command_answers(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::with_plugin(kind, &house);
    let listed = client.out(&["plugin", "list"]);
    assert!(listed.contains("telepost@telepost"), "{listed}");
    assert!(listed.contains("✔ enabled"), "{listed}");
    let servers = client.out(&["mcp", "list"]);
    assert!(
        servers.contains("plugin:telepost:telegram: telepost mcp - ✔ Connected"),
        "{servers}"
    );
    // A checkout also has target/, which belongs to no plugin.
    let cache = client.home().join(".claude/plugins/cache");
    assert!(size(&cache) < 100_000, "{} bytes", size(&cache));

    house.say("is it raining?");
    house.wait_for_inbox(1);
    // No rule allows the tools: the command does, for its turn.
    let mut session = client.start("/telepost:telegram-reply");
    let asked = client.model.asked();
    let prompt = "Text given with this command (nothing, if the line is empty):";
    assert!(asked.everything().contains(prompt), "not the command");
    assert!(
        asked.everything().contains("telepost:telegram:"),
        "no skill"
    );
    let poll = asked.tool("telegram_poll");
    assert_eq!(poll.name, "mcp__plugin_telepost_telegram__telegram_poll");
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["messages"][0]["text"], "is it raining?");
    asked.call("telegram_react", json!({"emoji": "👀"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.call("telegram_reply", json!({"text": "no"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.say("Answered.");
    session.turn_ends();
    session.close();

    // Any other turn needs the rule, with the plugin's name for the server.
    client.allow(&["mcp__plugin_telepost_telegram__*"]);
    house.say("and now?");
    house.wait_for_inbox(1);
    let mut session = client.start("Look at Telegram.");
    let asked = client.model.asked();
    asked.call("telegram_reply", json!({}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["messages"][0]["text"], "and now?");
    asked.call("telegram_reply", json!({"text": "yes"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.say("Answered.");
    session.turn_ends();
    assert_eq!(house.heard(), ["no", "yes"]);
}

#[test]
fn claude_code_finds_nothing_wrong_with_the_plugin() {
    let house = House::new();
    for kind in [Kind::Claude, Kind::OlderClaude] {
        let client = Client::new(kind, &house);
        for path in [TOP, &format!("{TOP}/plugin")] {
            let said = client.out(&["plugin", "validate", path]);
            assert!(said.contains("✔ Validation passed\n"), "{said}");
        }
    }
}

#[test]
fn the_version_of_the_plugin_is_that_of_the_program() {
    let text = fs::read_to_string(format!("{TOP}/plugin/.claude-plugin/plugin.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_command_of_a_person_answers_without_a_rule_that_allows_the_tools() {
    for kind in [Kind::Claude, Kind::OlderClaude] {
        let house = House::new();
        let _gateway = house.gateway();
        let client = Client::new(kind, &house);
        assert!(client.register(&house).status.success());
        let commands = client.home().join(".claude/commands");
        fs::create_dir_all(&commands).unwrap();
        let command = format!("{TOP}/commands/telegram-reply.md");
        fs::copy(command, commands.join("telegram-reply.md")).unwrap();
        house.say("hello");
        house.wait_for_inbox(1);
        let mut session = client.start("/telegram-reply It is *done*.");
        let asked = client.model.asked();
        assert!(asked.everything().contains("It is *done*."), "no text");
        asked.call("telegram_reply", json!({}));
        let asked = client.model.asked();
        assert_eq!(asked.result()["messages"][0]["text"], "hello");
        asked.call("telegram_reply", json!({"text": "It is *done*."}));
        let asked = client.model.asked();
        assert_eq!(asked.result()["status"], "delivered");
        asked.say("Sent.");
        session.turn_ends();
        // The marks have become italics.
        assert_eq!(house.heard(), ["It is done."]);
    }
}

#[test]
fn codex_reads_the_skill_when_it_is_named() {
    let house = House::new();
    let client = Client::registered(Kind::Codex, &house);
    let skill = client.home().join(".codex/skills/telegram");
    fs::create_dir_all(&skill).unwrap();
    let text = format!("{TOP}/skills/telegram/SKILL.md");
    fs::copy(text, skill.join("SKILL.md")).unwrap();
    let _session = client.start("$telegram look for messages");
    let asked = client.model.asked();
    let rule = "The person sees only what you send with these tools";
    assert!(asked.everything().contains(rule), "not the skill");
}

/// The bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                size(&entry.path())
            } else {
                about.len()
            }
        })
        .sum()
}
