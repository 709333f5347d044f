//! The simulation can fail: each invariant notices the mistake that it is meant for.

use std::collections::BTreeSet;

use telepost::store::atomic::Durability;
use telepost::store::crash_points::Step;

use crate::action::{Action, Answer, Fate, Where};
use crate::memory_disk::Mistake;
use crate::world::{Bug, Folder, World};
use crate::{EVENTS, actions, invariants, run};

/// How many runs a mistake may take until it is found. Those that only a loss of power right after a
/// kill brings to light are rare: their search begins near a run that is known to show them.
const RUNS: u64 = 4000;

/// A driver that makes the mistake is found, and by that invariant.
#[track_caller]
fn is_noticed(bug: Bug, from: u64, invariant: &str) {
    let noticed = (from..from + RUNS).find_map(|seed| {
        let actions = actions(seed, EVENTS);
        let (_, fault) = run(&actions, Some(bug)).err()?;
        assert!(run(&actions, None).is_ok(), "without the mistake");
        Some(fault.invariant)
    });
    assert_eq!(noticed, Some(invariant), "{bug:?}");
}

macro_rules! mistakes {
    ($($test:ident: $bug:expr, from $from:literal => $invariant:literal;)*) => {
        $(#[test]
        fn $test() {
            is_noticed($bug, $from, $invariant);
        })*
    };
}

mistakes! {
    confirming_before_the_disk_is_noticed: Bug::ConfirmBeforeDisk, from 0 => "invariant_what_is_confirmed_is_durable";
    storing_without_a_sync_is_noticed: Bug::Disk(Mistake::NoSync("inbox")), from 0 => "invariant_what_is_confirmed_is_durable";
    recording_a_request_in_memory_only_is_noticed: Bug::Disk(Mistake::NoWrite(".progress.json")), from 0 => "invariant_a_chunk_stands_unmarked_at_most_once";
    keeping_a_gate_in_memory_only_is_noticed: Bug::Disk(Mistake::NoWrite("gates.json")), from 0 => "invariant_nothing_is_sent_to_a_closed_chat";
    sweeping_fresh_tombstones_is_noticed: Bug::ForgetTombstones, from 0 => "invariant_nothing_is_answered_twice";
    giving_the_word_before_the_sync_is_noticed: Bug::Disk(Mistake::NoSync("outbox")), from 0 => "invariant_what_is_settled_is_answered_durably";
    finishing_without_a_sync_is_noticed: Bug::Disk(Mistake::NoSync("sent")), from 0 => "invariant_what_is_settled_is_answered_durably";
    sending_without_a_pace_is_noticed: Bug::NoPace, from 0 => "invariant_the_budget_is_kept";
    sending_the_newest_first_is_noticed: Bug::NewestFirst, from 0 => "invariant_the_order_of_a_chat_is_the_order_of_acceptance";
    letting_strangers_in_is_noticed: Bug::OpenGate, from 0 => "invariant_strangers_have_no_entry";
    sweeping_a_result_before_its_delivery_surely_left_is_noticed: Bug::SweepUnsynced, from 1947 => "invariant_a_chunk_stands_unmarked_at_most_once";
}

#[test]
fn promising_progress_without_a_sync_is_noticed() {
    let mut world = one_message();
    world.apply(&show());
    let mistake = Mistake::NoSync("outbox");
    world.shared.disk.make_mistake(Some(mistake));
    world.apply(&Action::Reply {
        agent: 0,
        long: false,
        keep_open: true,
        to: Where::Unsaid,
        fuse: None,
    });
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(
        noticed,
        "invariant_an_accepted_delivery_is_in_outbox_or_sent"
    );
}

/// The agent dies at each change of its reply; then the gateway sends it.
#[test]
fn a_settling_that_a_dead_process_began_is_made_durable_before_the_delivery_leaves() {
    for changes in 0..12 {
        let mut world = one_message();
        world.apply(&show());
        world.apply(&Action::Reply {
            agent: 0,
            long: false,
            keep_open: false,
            to: Where::Unsaid,
            fuse: Some(changes),
        });
        world.apply(&Action::Send {
            answer: Answer::Ok,
            fuse: None,
        });
        invariants::check(&world).unwrap();
    }
}

/// The server dies before its result goes out, and the agent acknowledges what it never saw.
#[test]
fn an_acknowledgement_of_a_lost_result_settles_nothing() {
    let mut world = one_message();
    world.apply(&Action::Show {
        agent: 0,
        limit: 5,
        fate: Fate::Dead,
        fuse: None,
    });
    world.apply(&Action::StartAgent {
        agent: 0,
        same: true,
    });
    world.apply(&Action::Ack {
        agent: 0,
        nth: 0,
        fuse: None,
    });
    invariants::check(&world).unwrap();
    assert_eq!(world.entries(0, Folder::Inbox, false).len(), 1);
}

/// A world in which one message was said, taken in and confirmed.
fn one_message() -> World {
    let mut world = World::new(None);
    let poll = Action::Poll {
        lost: false,
        twice: false,
        fuse: None,
    };
    world.apply(&Action::Say {
        chat: 0,
        long: false,
    });
    world.apply(&poll);
    world.apply(&poll);
    invariants::check(&world).unwrap();
    world
}

#[test]
fn a_message_that_vanishes_is_noticed() {
    let world = one_message();
    let folder = world.folder(0, Folder::Inbox);
    let name = world.shared.disk.names(folder, false).remove(0);
    world.shared.disk.lose_file(&folder.join(name));
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(noticed, "invariant_no_admitted_message_is_lost");
}

#[test]
fn an_answer_to_a_message_that_was_not_read_is_noticed() {
    let mut world = one_message();
    world.apply(&show());
    world.apply(&reply());
    invariants::check(&world).unwrap();
    world.ledger.read.values_mut().for_each(BTreeSet::clear);
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(
        noticed,
        "invariant_what_is_settled_was_read_by_who_settled_it"
    );
}

#[test]
fn a_delivery_that_left_before_its_question_surely_did_is_noticed() {
    let mut world = one_message();
    world.apply(&show());
    let folder = world.folder(0, Folder::Inbox).to_owned();
    let name = world.shared.disk.names(&folder, true).remove(0);
    world.apply(&reply());
    world.apply(&Action::Send {
        answer: Answer::Ok,
        fuse: None,
    });
    invariants::check(&world).unwrap();
    world.shared.disk.bring_back(&folder.join(name));
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(
        noticed,
        "invariant_no_delivery_leaves_before_its_answers_are_settled"
    );
}

#[test]
fn a_message_with_two_living_holders_is_noticed() {
    let mut world = one_message();
    world.apply(&show());
    let holds = world.holds(0);
    let mut held = holds.peek(world.agents[0].holder.as_str()).unwrap();
    held.holder = world.agents[1].holder.as_str().to_owned();
    for held in &mut held.held {
        held.server = Some(world.agents[1].server.clone());
    }
    holds
        .write(&held, Step::Hold, Durability::Unsynced)
        .unwrap();
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(noticed, "invariant_an_entry_has_at_most_one_living_holder");
}

fn show() -> Action {
    Action::Show {
        agent: 0,
        limit: 5,
        fate: Fate::Heard,
        fuse: None,
    }
}

fn reply() -> Action {
    Action::Reply {
        agent: 0,
        long: false,
        keep_open: false,
        to: Where::Unsaid,
        fuse: None,
    }
}

#[test]
fn a_message_that_nobody_answers_in_the_end_is_noticed() {
    let world = one_message();
    let noticed = invariants::after_the_drain(&world).unwrap_err().invariant;
    assert_eq!(noticed, "after_the_drain");
}

#[test]
fn every_invariant_has_a_mistake() {
    let here = include_str!("broken.rs");
    for (invariant, _) in invariants::INVARIANTS {
        assert!(here.contains(&format!("{invariant}\"")), "{invariant}");
    }
}
