//! Damaged notes: what telepost writes down beside messages and answers. Each is kept in quarantine and
//! counts as missing, which costs a repetition and never a message; one of a newer telepost is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::damage::{
    Damage, in_every_way, is_kept, keeps_the_gateway_from_starting_when_newer, make_newer,
};
use crate::failures::{failed_behind_its_back, told};
use crate::support::{Gateway, House, names_in, wait_for};

/// A note as telepost writes it, before the gateway starts.
fn noted(house: &House, path: &str, text: &str) -> PathBuf {
    let path = house.state().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn of_bot(house: &House, name: &str) -> String {
    format!("bots/{}/{name}", house.bot())
}

fn moves(house: &House) -> PathBuf {
    let text = r#"{"format":1,"migrations":[]}"#;
    noted(house, &of_bot(house, "migrations.json"), text)
}

fn wakes(house: &House) -> PathBuf {
    noted(
        house,
        "sessions/ONE/wake.json",
        r#"{"format":1,"number":7}"#,
    )
}

/// Of a session that has a tmux session.
fn downtime(house: &House) -> PathBuf {
    let mut config = house.config.clone();
    config["sessions"]["ONE"]["tmux_session"] = json!("nobody-has-this-one");
    fs::write(house.config_path(), config.to_string()).unwrap();
    noted(
        house,
        "sessions/ONE/down.json",
        r#"{"format":1,"since":7,"absence":"no_session","phase":{"is":"down"}}"#,
    )
}

fn wait_for_quarantine(house: &House) {
    wait_for("the quarantine", || {
        let kept = house.state().join("quarantine");
        if kept.is_dir() && !names_in(&kept).is_empty() {
            Ok(())
        } else {
            Err(())
        }
    });
}

/// A message comes and is answered; another one waits meanwhile, for which an agent is to be woken.
fn all_goes_on(house: &House) {
    let mut agent = house.agent_asked("one");
    house.say("two");
    house.wait_for_inbox(2);
    assert_eq!(agent.reply(json!({"text": "done"}))["status"], "delivered");
    assert_eq!(house.heard(), ["done"]);
}

fn is_kept_and_all_goes_on(note: impl Fn(&House) -> PathBuf + Sync) {
    is_kept_and_all_goes_on_except(&[], note);
}

/// The same, but files that are damaged in some ways count as missing and are replaced.
fn is_kept_and_all_goes_on_except(missing: &[Damage], note: impl Fn(&House) -> PathBuf + Sync) {
    in_every_way(|way| {
        let house = House::new();
        let path = note(&house);
        let bytes = way.inflict(&path);
        let gateway = house.gateway();
        all_goes_on(&house);
        if missing.contains(&way) {
            return;
        }
        wait_for_quarantine(&house);
        is_kept(&house, &path, bytes);
        let log = gateway.log();
        let said = log.contains("unreadable file moved to quarantine");
        assert!(said, "{way:?}: {log}");
    });
}

/// It is left alone, and all goes on.
fn is_left_alone(note: impl Fn(&House) -> PathBuf) -> (House, Gateway, PathBuf, Vec<u8>) {
    let house = House::new();
    let path = note(&house);
    let bytes = make_newer(&path);
    let gateway = house.gateway();
    all_goes_on(&house);
    (house, gateway, path, bytes)
}

fn is_unchanged(path: &Path, bytes: &[u8]) {
    assert_eq!(fs::read(path).unwrap(), bytes);
}

#[test]
fn damaged_moves_of_groups_are_kept_and_count_as_none() {
    is_kept_and_all_goes_on(moves);
}

#[test]
fn moves_of_a_newer_telepost_keep_the_gateway_from_starting_and_are_left_alone() {
    let house = House::new();
    let path = moves(&house);
    keeps_the_gateway_from_starting_when_newer(&house, &path);
}

// An empty one is left of a loss of power: wakes are not synced.
#[test]
fn a_damaged_note_of_wakes_is_kept_and_counts_as_none() {
    is_kept_and_all_goes_on_except(&[Damage::Empty], wakes);
}

#[test]
fn a_note_of_wakes_of_a_newer_telepost_is_left_alone_and_said_in_the_log() {
    let (_house, gateway, path, bytes) = is_left_alone(wakes);
    gateway.wait_for_log("update telepost");
    is_unchanged(&path, &bytes);
}

#[test]
fn a_damaged_note_of_a_downtime_is_kept_and_counts_as_none() {
    is_kept_and_all_goes_on(downtime);
}

#[test]
fn a_note_of_a_downtime_of_a_newer_telepost_is_left_alone_and_said_in_the_log() {
    let (_house, gateway, path, bytes) = is_left_alone(downtime);
    gateway.wait_for_log("update telepost");
    is_unchanged(&path, &bytes);
}

/// The notices of a result are noted once the client has it.
fn wait_until_noted(path: &Path) {
    wait_for("the note", || path.exists().then_some(()).ok_or("none"));
}

#[test]
fn damaged_notes_of_what_was_told_are_kept_and_failures_told_once_more() {
    in_every_way(|way| {
        let house = House::new();
        let mut agent = failed_behind_its_back(&house);
        assert_eq!(told(&agent.poll(json!({}))).len(), 1);
        let path = house.session("told.json");
        wait_until_noted(&path);
        let bytes = way.inflict(&path);
        assert_eq!(told(&agent.poll(json!({}))).len(), 1, "{way:?}");
        is_kept(&house, &path, bytes);
        assert_eq!(told(&agent.poll(json!({}))), [""; 0], "{way:?}");
    });
}

#[test]
fn notes_of_what_was_told_of_a_newer_telepost_are_left_alone_and_calls_go_on() {
    let house = House::new();
    let mut agent = failed_behind_its_back(&house);
    assert_eq!(told(&agent.poll(json!({}))).len(), 1);
    let path = house.session("told.json");
    wait_until_noted(&path);
    let bytes = make_newer(&path);
    let result = agent.poll(json!({}));
    assert_eq!(told(&result), [""; 0]);
    is_unchanged(&path, &bytes);
}
