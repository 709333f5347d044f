//! Flipped bits: every file that a day leaves behind, each of its bytes in turn, three bits of it.
//!
//! A flipped bit is never a panic and never "not there": the file is quarantined with its bytes, or it
//! is of a newer telepost and left alone, or it is read. A flip of the highest bit that is read changes
//! nothing that counts. A lower bit may make one letter or digit another; no check sum is kept that
//! could tell.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use telegram_sim::Fault;
use telepost::clock::Timestamp;
use telepost::state::gateway_status::GatewayStatus;
use telepost::state::holds::Conversation;
use telepost::state::inbox::entry::Entry;
use telepost::state::layout::StateDir;
use telepost::state::outbox::delivery::{Delivery, DeliveryState, FinishedDelivery};
use telepost::store::crash_points::Step;
use telepost::store::state_file::{ReadError, StateFile};

use crate::support::{House, wait_for};

/// A house whose processes have ended, with a file of each kind.
fn a_house_with_everything() -> House {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("settled \u{e4} \u{1f600}");
    assert_eq!(agent.reply(json!({"text": "sent"}))["status"], "delivered");
    house.say("held");
    agent.wait_for_message();
    let flood = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(flood.retry_after(600));
    agent.reply(json!({"text": "waits", "keep_open": true}));
    wait_for("the progress of the delivery", || {
        let names = house.names("outbox");
        if names.len() == 2 { Ok(()) } else { Err(names) }
    });
    house.say("pending");
    house.wait_for_inbox(2);
    assert!(gateway.stop().success());
    house
}

/// Flips bits of a file and reads it each time. `0x80` never gives another value than before.
fn flips_are_noticed_or_read<T: DeserializeOwned + Serialize>(house: &House, path: &Path) {
    let state = StateDir::new(house.state());
    let file: StateFile<T> = state.storage().file(path.to_owned(), Step::Quarantine);
    let name = path.display();
    let whole = fs::read(path).unwrap();
    let value = |value: &T| serde_json::to_string(value).unwrap();
    let before = value(&file.read(Timestamp(0)).unwrap().unwrap());
    let (mut noticed, mut changed) = (0, 0);
    for place in 0..whole.len() {
        for bit in [0x80, 0x01, 0x10] {
            let mut bytes = whole.clone();
            bytes[place] ^= bit;
            fs::write(path, &bytes).unwrap();
            match file.read(Timestamp(0)) {
                Ok(Some(read)) if value(&read) == before => {}
                Ok(Some(_)) => {
                    assert_ne!(bit, 0x80, "changed unnoticed at {place} of {name}");
                    changed += 1;
                }
                Ok(None) => panic!("silently absent: bit {bit:#x} at {place} of {name}"),
                Err(ReadError::Quarantined { kept, .. }) => {
                    assert_eq!(fs::read(&kept).unwrap(), bytes);
                    assert!(!path.exists());
                    fs::remove_file(kept).unwrap();
                    noticed += 1;
                }
                Err(ReadError::Newer { .. }) => {
                    assert_eq!(fs::read(path).unwrap(), bytes);
                    noticed += 1;
                }
                Err(ReadError::Store(error)) => panic!("{error} at {place} of {name}"),
            }
        }
    }
    assert!(
        noticed > whole.len() && noticed > changed,
        "{noticed} noticed, {changed} changed of {} bytes in {name}",
        whole.len()
    );
    fs::write(path, &whole).unwrap();
}

/// The only or the first file of a folder whose name ends so.
fn file(house: &House, folder: &str, end: &str) -> PathBuf {
    let names = house.names(folder);
    let name = names.iter().find(|name| name.ends_with(end));
    house.session(folder).join(name.expect(folder))
}

#[test]
fn a_flipped_bit_in_any_file_is_never_a_panic_and_never_an_absence() {
    let house = a_house_with_everything();
    let progress = file(&house, "outbox", ".progress.json");
    let delivery = progress.to_str().unwrap().replace(".progress", "");
    flips_are_noticed_or_read::<Entry>(&house, &file(&house, "inbox", ".json"));
    flips_are_noticed_or_read::<Entry>(&house, &file(&house, "done", ".json"));
    flips_are_noticed_or_read::<Conversation>(&house, &file(&house, "conversations", ".json"));
    flips_are_noticed_or_read::<Delivery>(&house, Path::new(&delivery));
    flips_are_noticed_or_read::<DeliveryState>(&house, &progress);
    flips_are_noticed_or_read::<FinishedDelivery>(&house, &file(&house, "sent", ".json"));
    let presence = house.state().join("gateway.json");
    flips_are_noticed_or_read::<GatewayStatus>(&house, &presence);
}

#[test]
fn a_message_with_a_flipped_bit_is_shown_or_reported_and_the_next_one_is_shown() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    let path = house.only_file("inbox");
    let whole = fs::read(&path).unwrap();
    house.say("two");
    house.wait_for_inbox(2);
    let mut agents = 0;
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x01;
        fs::write(&path, &bytes).unwrap();
        agents += 1;
        // Each is an agent of its own, and goes again.
        let mut agent = house.agent().thread(&format!("agent {agents}"));
        let shown = match agent.call("telegram_poll", json!({})) {
            crate::support::Answer::Ok(shown) => shown,
            crate::support::Answer::Refused(words) => {
                assert!(words.contains("update telepost"), "{place}: {words}");
                continue;
            }
        };
        let texts = crate::support::texts(&shown);
        let told = shown["notices"].to_string();
        assert!(
            texts.len() == 2 || told.contains("could not be read"),
            "{place}: {shown}"
        );
        assert!(texts.contains(&"two"), "{place}: {shown}");
        assert!(agent.close().success());
    }
}
