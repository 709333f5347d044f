//! The gateway's life: one per machine and bot, and it heals by itself.

use std::fs;

use crate::support::{Gateway, House};

#[test]
fn a_second_gateway_exits_with_4_names_the_first_and_touches_nothing() {
    let house = House::new();
    let first = house.gateway();
    house.wait_for_menu();
    let calls = house.sim.calls(house.bot()).len();
    let log_folder = house.state().join("logs");
    let log = fs::read_dir(&log_folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let before = fs::read_to_string(&log).unwrap();

    let second = house.run(&["gateway"]);
    assert_eq!(second.status.code(), Some(4));
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(
        words.contains(&format!("telepost gateway, pid {}", first.pid())),
        "{words}"
    );
    assert!(words.contains("--replace"), "{words}");

    assert_eq!(
        house.sim.calls(house.bot()).len(),
        calls,
        "the second gateway called Telegram"
    );
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        before,
        "the second gateway wrote into the first one's log"
    );
    house.say("still there?");
    house.wait_for_inbox(1);
}

#[test]
fn gateways_with_nothing_in_common_but_the_token_still_find_each_other() {
    let house = House::new();
    let first = house.gateway();
    house.wait_for_menu();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        elsewhere
            .path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    let mut config = house.config.clone();
    config["state_dir"] = path("other-state").into();
    let config_path = path("sessions.json");
    fs::write(&config_path, config.to_string()).unwrap();
    let calls = house.sim.calls(house.bot()).len();

    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_telepost"));
    command
        .args(["gateway", "--config", &config_path])
        .env_clear()
        .env("TOKEN_ONE", house.token());
    for name in [
        "HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
    ] {
        command.env(name, path(name));
    }
    let (status, log) = Gateway::start(&mut command, elsewhere.path()).end();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(
        log.contains(&format!(
            "bot {} is already polled by telepost gateway, pid {}",
            house.bot(),
            first.pid()
        )),
        "{log}"
    );
    assert_eq!(house.sim.calls(house.bot()).len(), calls);
}
