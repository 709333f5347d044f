//! Folders and files that other users can change are believed by no command, and each says what mends that.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::support::{House, texts};

/// A user and a group that are not ours.
const OTHER: u32 = 12_345;

/// Every command that reads the state folder.
const COMMANDS: [&[&str]; 6] = [
    &["status"],
    &["inbox", "list"],
    &["outbox", "list"],
    &["prune", "--yes"],
    &["files", "prune", "--older-than", "7d"],
    &["gateway"],
];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Every command refuses and names this path and the command that mends it.
#[track_caller]
fn all_refuse(house: &House, path: &Path, remedy: &str) {
    let shown = path.to_str().unwrap();
    for command in COMMANDS {
        let output = house.command_with_tokens(command).output().unwrap();
        let words = words(&output);
        assert!(!output.status.success(), "{command:?}: {words}");
        assert!(
            words.contains(shown) && words.contains(remedy),
            "{command:?}: {words}"
        );
    }
    let words = house.agent().call("telegram_poll", json!({})).refused();
    assert!(words.contains(shown) && words.contains(remedy), "{words}");
    let mut hook = house.command(&["hook", "stop", "--session", "ONE"]);
    let output = hook.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(self::words(&output).contains(remedy), "{output:?}");
}

fn used_house() -> House {
    let house = House::new();
    let gateway = house.gateway();
    house.arrive("hello");
    assert!(gateway.stop().success());
    house
}

#[test]
fn a_state_folder_or_a_folder_in_it_that_others_can_write_is_refused_until_it_is_mended() {
    let house = used_house();
    for (folder, mode) in [
        (house.state(), 0o777),
        (house.state().join("sessions"), 0o707),
        (house.session("inbox"), 0o722),
        (house.session("done"), 0o702),
    ] {
        set_mode(&folder, mode);
        all_refuse(&house, &folder, &format!("chmod go-w {}", folder.display()));
        set_mode(&folder, 0o755);
    }
    let shown = house.agent().poll(json!({}));
    assert_eq!(texts(&shown), ["hello"]);
}

#[test]
fn a_state_folder_or_a_folder_in_it_of_another_user_is_refused() {
    let house = used_house();
    for folder in [house.state(), house.session("inbox")] {
        if chown(&folder, Some(OTHER), None).is_err() {
            println!("left out: only root can give a folder away");
            return;
        }
        all_refuse(&house, &folder, &format!("belongs to user {OTHER}"));
        let me = rustix::process::getuid().as_raw();
        all_refuse(
            &house,
            &folder,
            &format!("chown -R {me} {}", folder.display()),
        );
        chown(&folder, Some(me), None).unwrap();
    }
    assert!(house.run(&["inbox", "list"]).status.success());
}

#[test]
fn a_folder_that_a_foreign_group_can_write_is_refused_by_the_name_of_the_group() {
    let house = used_house();
    let folder = house.session("inbox");
    if chown(&folder, None, Some(OTHER)).is_err() {
        println!("left out: only root can give a folder away");
        return;
    }
    set_mode(&folder, 0o770);
    all_refuse(&house, &folder, &format!("group {OTHER}"));
    set_mode(&folder, 0o750);
    assert!(house.run(&["inbox", "list"]).status.success());
}

#[test]
fn a_configuration_that_others_can_write_is_refused_until_it_is_mended() {
    let house = used_house();
    let file = house.config_path();
    for mode in [0o666, 0o602] {
        set_mode(&file, mode);
        let remedy = format!("chmod go-w {}", file.display());
        for command in [["check"].as_slice(), &["status"], &["gateway"]] {
            let output = house.command_with_tokens(command).output().unwrap();
            let words = words(&output);
            assert!(!output.status.success(), "{command:?}: {words}");
            assert!(words.contains(&remedy), "{command:?}: {words}");
        }
        let words = house.agent().call("telegram_poll", json!({})).refused();
        assert!(words.contains(&remedy), "{words}");
    }
    set_mode(&file, 0o644);
    assert!(house.run(&["inbox", "list"]).status.success());
    let folder = file.parent().unwrap().to_owned();
    set_mode(&folder, 0o777);
    let words = self::words(&house.run(&["status"]));
    assert!(
        words.contains(&format!("chmod go-w {}", folder.display())),
        "{words}"
    );
    // In a folder like /tmp no user can replace the file of another one.
    set_mode(&folder, 0o1777);
    assert!(house.run(&["inbox", "list"]).status.success());
    set_mode(&folder, 0o700);
    if chown(&file, Some(OTHER), None).is_ok() {
        let words = self::words(&house.run(&["status"]));
        assert!(
            words.contains(&format!("belongs to user {OTHER}")),
            "{words}"
        );
    }
}

#[test]
fn tokens_that_others_can_replace_are_refused() {
    let house = House::new();
    let file = house.path().join(".env");
    fs::write(&file, format!("TOKEN_ONE={}\n", house.token())).unwrap();
    set_mode(&file, 0o622);
    let output = house.run(&["check"]);
    assert!(!output.status.success(), "{output:?}");
    let words = words(&output);
    assert!(
        words.contains(&format!("chmod go-w {}", file.display())),
        "{words}"
    );
}

#[test]
fn a_configuration_that_is_no_plain_file_or_too_large_is_refused_at_once() {
    let house = House::new();
    let file = house.config_path();
    let whole = fs::read(&file).unwrap();
    let refused = |house: &House, why: &str| {
        for command in [["check"].as_slice(), &["status"]] {
            let output = house.run(command);
            let words = words(&output);
            assert!(!output.status.success(), "{words}");
            assert!(words.contains(why), "{words}");
        }
    };
    fs::remove_file(&file).unwrap();
    let name = CString::new(file.to_str().unwrap()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, name, rustix::fs::Mode::RUSR).unwrap();
    refused(&house, "it is a pipe, a device or a socket, not a file");
    fs::remove_file(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    refused(&house, "it is a pipe, a device or a socket, not a file");
    fs::remove_file(&file).unwrap();
    fs::write(&file, vec![b' '; (4 << 20) + 1]).unwrap();
    refused(&house, "it is larger than 4 MB");
    fs::write(&file, whole).unwrap();
    let env = house.path().join(".env");
    let name = CString::new(env.to_str().unwrap()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, name, rustix::fs::Mode::RUSR).unwrap();
    let output = house.run(&["check"]);
    assert!(words(&output).contains("it is a pipe"), "{output:?}");
}

#[test]
fn a_state_folder_of_other_words_is_never_shown_to_an_agent() {
    let house = used_house();
    // Another user has put a message into the inbox.
    let name = house.names("inbox").remove(0);
    let inbox = house.session("inbox");
    let text = fs::read_to_string(inbox.join(&name)).unwrap();
    let forged = name.replace('-', "-1");
    fs::write(inbox.join(forged), text.replace("hello", "run this")).unwrap();
    set_mode(&inbox, 0o777);
    let words = house.agent().call("telegram_poll", json!({})).refused();
    assert!(!words.contains("run this"), "{words}");
}
