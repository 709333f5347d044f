//! `telepost uninstall`: every file comes back to the byte, later edits by others stay, and a kill at any point of
//! either command does no harm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::home::*;

#[test]
fn uninstall_leaves_every_file_folder_and_mode_as_it_was() {
    for client in BOTH {
        for home in [Home::new(), Home::empty()] {
            if home.exists(".claude") {
                home.set_mode(".claude/settings.json", 0o644);
                home.set_mode(".claude.json", 0o640);
            }
            let before = home.everything();
            succeeds(&home.run(&["install", client, "--yes"]));
            assert_ne!(home.everything(), before);
            let said = succeeds(&home.run(&["uninstall", client, "--yes"]));
            assert!(said.contains("Next: restart"), "{said}");
            assert_eq!(home.everything(), before, "{client}");
            let again = succeeds(&home.run(&["uninstall", client]));
            assert!(
                again.contains("not installed") && again.contains("no change"),
                "{again}"
            );
        }
    }
}

#[test]
fn a_dry_run_of_uninstall_changes_nothing() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let before = home.everything();
    let said = succeeds(&home.run(&["uninstall", "claude", "--dry-run"]));
    assert!(
        said.contains("-          \"command\": ") && said.contains("remove "),
        "{said}"
    );
    assert_eq!(home.everything(), before);
}

#[test]
fn files_keep_their_mode_and_links_stay_links() {
    let home = Home::new();
    home.put("dotfiles/settings.json", SETTINGS);
    home.set_mode("dotfiles/settings.json", 0o664);
    fs::remove_file(home.path().join(".claude/settings.json")).unwrap();
    symlink(
        "../dotfiles/settings.json",
        home.path().join(".claude/settings.json"),
    )
    .unwrap();
    let before = home.everything();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let now = home.everything();
    let link = Path::new(".claude/settings.json");
    assert_eq!(now[link], before[link]);
    let file = &now[Path::new("dotfiles/settings.json")];
    assert!(
        file.starts_with("100664 ") && file.contains("mcp__telegram__*"),
        "{file}"
    );
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.everything(), before);
}

#[test]
fn a_link_to_a_file_that_is_not_there_yet_is_kept_both_ways() {
    let home = Home::new();
    home.put("dotfiles/readme", "");
    fs::remove_file(home.path().join(".claude/settings.json")).unwrap();
    symlink(
        "../dotfiles/settings.json",
        home.path().join(".claude/settings.json"),
    )
    .unwrap();
    let before = home.everything();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    assert!(
        home.get("dotfiles/settings.json")
            .contains("mcp__telegram__*")
    );
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.everything(), before);
}

#[test]
fn edits_of_the_client_and_the_user_stay() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let mut servers = home.json(".claude.json");
    servers["numStartups"] = json!(8);
    servers["projects"][project(&home)]["hasTrustDialogAccepted"] = json!(true);
    home.put(
        ".claude.json",
        &serde_json::to_string_pretty(&servers).unwrap(),
    );
    let settings = home
        .get(".claude/settings.json")
        .replace("\"opus\"", "\"sonnet\"");
    home.put(".claude/settings.json", &settings);
    home.put(COMMAND, "my own words\n");
    let said = succeeds(&home.run(&["uninstall", "claude", "--yes"]));

    let mut expected: Value = serde_json::from_str(SERVERS).unwrap();
    expected["numStartups"] = json!(8);
    expected["projects"][project(&home)] = json!({"hasTrustDialogAccepted": true});
    assert_eq!(home.json(".claude.json"), expected);
    assert_eq!(
        home.get(".claude/settings.json"),
        SETTINGS.replace("\"opus\"", "\"sonnet\"")
    );
    assert_eq!(home.get(COMMAND), "my own words\n");
    let note = format!(
        "note: {} was edited after telepost wrote it and is kept",
        home.path().join(COMMAND).display()
    );
    assert!(said.contains(&note), "{said}");
    assert!(!home.exists(SKILL) && !home.exists(".claude/telepost-install.json"));
}

#[test]
fn an_edited_command_stays_over_a_new_installation_unless_it_may_be_replaced() {
    let home = Home::new();
    home.put(COMMAND, "my own words\n");
    let before = home.everything();
    let said = succeeds(&home.run(&["install", "claude", "--yes"]));
    assert!(
        said.contains(
            "was not written by telepost, or has been edited since, and is left as it is; --replace"
        ),
        "{said}"
    );
    assert_eq!(home.get(COMMAND), "my own words\n");
    succeeds(&home.run(&["install", "claude", "--yes", "--replace"]));
    assert_ne!(home.get(COMMAND), "my own words\n");
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.everything(), before);
}

#[test]
fn a_registration_by_hand_from_before_stays_and_is_reported() {
    let home = Home::new();
    home.put(COMMAND, include_str!("../../commands/telegram-reply.md"));
    let before = home.everything();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    let said = succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert!(
        said.contains("had the command /telegram-reply before `telepost install` and keeps it"),
        "{said}"
    );
    assert_eq!(home.everything(), before);
}

#[test]
fn a_registration_by_hand_can_be_uninstalled_too() {
    let home = Home::empty();
    let other = json!({"command": "x"});
    let servers = json!({"mcpServers": {"other": other, "telegram": server(&home, &[])}});
    home.put(".claude.json", &servers.to_string());
    home.put(COMMAND, include_str!("../../commands/telegram-reply.md"));
    home.put(SKILL, "an older one\n");
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(
        home.json(".claude.json"),
        json!({"mcpServers": {"other": other}})
    );
    assert!(!home.exists(COMMAND) && home.exists(SKILL));
}

#[test]
fn a_damaged_record_stops_uninstall_and_the_message_says_where_the_backups_are() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    home.put(".claude/telepost-install.json", "{");
    let before = home.everything();
    for action in ["install", "uninstall"] {
        let said = fails(&home.run(&[action, "claude", "--yes"]), 7);
        assert!(
            said.contains("telepost-install.json cannot be read")
                && said.contains("*.telepost-backup"),
            "{said}"
        );
    }
    home.put(".claude/telepost-install.json", "{\"format\": 99}");
    let said = fails(&home.run(&["uninstall", "claude", "--yes"]), 7);
    assert!(said.contains("newer telepost"), "{said}");
    home.put(".claude/telepost-install.json", "{");
    assert_eq!(home.everything(), before);
}

#[test]
fn a_lost_or_edited_backup_is_not_used_and_our_content_is_removed_without_it() {
    for change in [None, Some("{}")] {
        let home = Home::new();
        succeeds(&home.run(&["install", "claude", "--yes"]));
        let backup = ".claude.json.telepost-backup";
        match change {
            None => fs::remove_file(home.path().join(backup)).unwrap(),
            Some(text) => home.put(backup, text),
        }
        succeeds(&home.run(&["uninstall", "claude", "--yes"]));
        let mut expected: Value = serde_json::from_str(SERVERS).unwrap();
        expected.as_object_mut().unwrap().remove("projects");
        assert_eq!(home.json(".claude.json"), expected);
    }
}

#[test]
fn a_deleted_file_stays_deleted_and_its_backup_is_reported() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    fs::remove_file(home.path().join(".claude/settings.json")).unwrap();
    let said = succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    let backup = ".claude/settings.json.telepost-backup";
    assert!(
        said.contains(&home.path().join(backup).display().to_string()),
        "{said}"
    );
    assert!(!home.exists(".claude/settings.json"));
    assert_eq!(home.get(backup), SETTINGS);
}

#[test]
fn a_lost_backup_of_a_file_that_was_changed_too_leaves_the_rest() {
    let home = Home::new();
    succeeds(&home.run(&["install", "claude", "--yes"]));
    fs::remove_file(home.path().join(".claude.json.telepost-backup")).unwrap();
    let mut servers = home.json(".claude.json");
    servers["numStartups"] = json!(8);
    home.put(".claude.json", &servers.to_string());
    succeeds(&home.run(&["uninstall", "claude", "--yes"]));
    assert_eq!(home.json(".claude.json")["numStartups"], 8);
    assert!(!home.get(".claude.json").contains("telegram"));
    assert!(home.get(".claude.json").contains("other"));
}

#[test]
fn a_full_disk_is_reported_and_the_next_run_finishes() {
    for step in ["install-backup", "install-record", "install-file"] {
        let home = Home::new();
        let before = home.everything();
        for action in ["install", "uninstall"] {
            if (step, action) != ("install-backup", "uninstall") {
                let failed = home
                    .command(&[action, "claude", "--yes"])
                    .env("TELEPOST_FAIL_AT", format!("{step}:enospc:1"))
                    .output()
                    .unwrap();
                let said = fails(&failed, 7);
                assert!(
                    said.contains("disk full: free some space"),
                    "{step} {action}: {said}"
                );
                if action == "install" && step != "install-file" {
                    assert!(said.contains("nothing was changed"), "{said}");
                    assert_eq!(home.everything(), before, "{step}");
                }
            }
            succeeds(&home.run(&[action, "claude", "--yes"]));
        }
        assert_eq!(home.everything(), before, "{step}");
    }
}

/// The process dies at every occurrence of a step, on both sides, by a kill and by a loss of power. Each
/// file is old or new then, and the same command again finishes.
pub(crate) fn dies_at(step: &str) {
    for client in BOTH {
        for power in [false, true] {
            for side in ["before", "after"] {
                let mut count = 1;
                while a_bad_day(client, step, &format!("{step}:{side}:{count}"), power) {
                    count += 1;
                }
                assert!(count > 1, "nothing died at {step}:{side}");
            }
        }
    }
}

/// `false`: neither install nor uninstall reached the point.
fn a_bad_day(client: &str, step: &str, point: &str, power: bool) -> bool {
    let home = Home::new();
    let before = home.everything();
    let installed = as_installed(&home, client);
    let dies = |action: &str, old: &Everything, new: &Everything| {
        let mut command = home.command(&[action, client, "--yes"]);
        command.env("TELEPOST_CRASH_AT", point);
        if power {
            command.env("TELEPOST_POWER_LOSS", "1");
        }
        let status = command.output().unwrap().status;
        home.forget_syncs();
        if status.success() {
            return false;
        }
        assert_eq!(status.code(), None, "killed, not refused");
        let now = without_own_files(&home);
        for (path, what) in &now {
            // A file that a simulated loss of power brings back has lost its mode.
            let same = |known: &String| {
                let content = |what: &str| what.split_once(' ').map(|(_, text)| text.to_owned());
                known == what || (power && content(known) == content(what))
            };
            let known = [old.get(path), new.get(path)]
                .into_iter()
                .flatten()
                .any(same);
            assert!(known, "{action} {point}: {} is {what}", path.display());
        }
        for path in old.keys().filter(|path| new.contains_key(*path)) {
            assert!(
                now.contains_key(path),
                "{action} {point}: {}",
                path.display()
            );
        }
        true
    };
    let struck_install = dies("install", &before, &installed);
    succeeds(&home.run(&["install", client, "--yes"]));
    assert_eq!(without_own_files(&home), installed, "{step}: {point}");
    let struck_uninstall = dies("uninstall", &installed, &before);
    succeeds(&home.run(&["uninstall", client, "--yes"]));
    let mut now = home.everything();
    if power {
        // Notes of the test in these folders kept them from being removed.
        now.retain(|path, what| before.contains_key(path) || !what.starts_with("40"));
    }
    assert_eq!(now, before, "{step}: {point}");
    struck_install || struck_uninstall
}

/// The files of this home after an undisturbed installation.
fn as_installed(home: &Home, client: &str) -> Everything {
    let other = Home::new();
    succeeds(&other.run(&["install", client, "--yes"]));
    let (here, there) = (home.path(), other.path());
    let (here, there) = (here.to_str().unwrap(), there.to_str().unwrap());
    let found = without_own_files(&other).into_iter();
    found
        .map(|(path, what)| (path, what.replace(there, here)))
        .collect()
}

/// Without backups and record.
fn without_own_files(home: &Home) -> Everything {
    let mut found = home.everything();
    found.retain(|path, _| {
        let name = path.to_string_lossy();
        !name.contains(".telepost-backup") && !name.contains("telepost-install.json")
    });
    found
}
