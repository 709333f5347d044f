//! The simulation can fail: each invariant notices the mistake that it is meant for.

use crate::action::{Action, Answer, Fate, Where};
use crate::disk::Folder;
use crate::world::{Bug, World};
use crate::{EVENTS, actions, invariants, run};

/// How many runs a mistake may take until it is found. Those that only a loss of power right after a
/// kill brings to light are rare: their search begins near a run that is known to show them.
const RUNS: u64 = 4000;

/// A driver that makes the mistake is found, and by that invariant.
fn is_noticed(bug: Bug, from: u64, invariant: &str) {
    let fault = (from..from + RUNS).find_map(|seed| run(&actions(seed, EVENTS), Some(bug)).err());
    let noticed = fault.map(|(_, fault)| fault.invariant);
    assert_eq!(noticed, Some(invariant), "{bug:?}");
}

macro_rules! mistakes {
    ($($test:ident: $bug:ident from $from:literal => $invariant:literal;)*) => {
        $(#[test]
        fn $test() {
            is_noticed(Bug::$bug, $from, $invariant);
        })*
    };
}

mistakes! {
    confirming_before_the_disk_is_noticed: ConfirmBeforeDisk from 0 => "invariant_what_is_confirmed_is_durable";
    settling_before_the_commit_is_noticed: SettleBeforeCommit from 0 => "invariant_what_is_settled_is_answered_durably";
    repeating_without_the_mark_is_noticed: RepeatWithoutMark from 0 => "invariant_a_chunk_stands_unmarked_at_most_once";
    recording_a_request_after_it_is_noticed: InFlightAfterRequest from 0 => "invariant_a_chunk_stands_unmarked_at_most_once";
    keeping_a_gate_in_memory_only_is_noticed: GateInMemoryOnly from 0 => "invariant_nothing_is_sent_to_a_closed_chat";
    holding_what_another_holds_is_noticed: HoldWithoutLettingGo from 0 => "invariant_an_entry_has_at_most_one_living_holder";
    answering_what_was_not_read_is_noticed: AnswerUnseen from 0 => "invariant_what_is_settled_was_read_by_who_settled_it";
    acknowledging_what_was_not_read_is_noticed: AckUnseen from 390 => "invariant_what_is_settled_was_read_by_who_settled_it";
    sweeping_fresh_tombstones_is_noticed: ForgetTombstones from 0 => "invariant_nothing_is_answered_twice";
    giving_the_word_before_the_sync_is_noticed: WordBeforeSync from 0 => "invariant_an_accepted_delivery_is_in_outbox_or_sent";
    sending_without_a_pace_is_noticed: NoPace from 0 => "invariant_the_budget_is_kept";
    sending_the_newest_first_is_noticed: NewestFirst from 0 => "invariant_the_order_of_a_chat_is_the_order_of_acceptance";
    letting_strangers_in_is_noticed: GateOpen from 0 => "invariant_strangers_have_no_entry";
    acting_upon_an_unsynced_commit_is_noticed: OutboxUnsynced from 368 => "invariant_what_is_settled_is_answered_durably";
    acting_upon_an_unsynced_result_is_noticed: FinishedUnsynced from 1066 => "invariant_an_accepted_delivery_is_in_outbox_or_sent";
    sweeping_a_result_before_its_delivery_surely_left_is_noticed: SweepUnsynced from 1947 => "invariant_a_chunk_stands_unmarked_at_most_once";
}

/// A run that is told, in which the driver makes the mistake.
#[track_caller]
fn is_noticed_in(bug: Bug, actions: &[Action], invariant: &str) {
    assert!(run(actions, None).is_ok(), "without the mistake");
    let noticed = run(actions, Some(bug)).err();
    let noticed = noticed.map(|(_, fault)| fault.invariant);
    assert_eq!(noticed, Some(invariant), "{bug:?}");
}

fn say() -> Action {
    Action::Say {
        chat: 0,
        long: false,
    }
}

fn poll(fuse: Option<u8>) -> Action {
    Action::Poll {
        lost: false,
        twice: false,
        fuse,
    }
}

fn show() -> Action {
    Action::Show {
        agent: 0,
        limit: 5,
        fate: Fate::Heard,
        fuse: None,
    }
}

fn reply(fuse: Option<u8>) -> Action {
    Action::Reply {
        agent: 0,
        long: false,
        keep_open: false,
        to: Where::Unsaid,
        fuse,
    }
}

#[test]
fn committing_before_the_names_of_the_questions_is_noticed() {
    let start = Action::StartAgent {
        agent: 0,
        same: true,
    };
    // The gateway dies before it syncs the folder, the agent before it settles.
    let before = [say(), poll(Some(3)), show(), reply(Some(2))];
    let after = [
        Action::PowerLoss { keep: 0 },
        Action::Pass { ms: 10 },
        Action::StartGateway,
        poll(None),
        start,
        show(),
        reply(None),
    ];
    is_noticed_in(
        Bug::CommitBeforeNames,
        &[&before[..], &after].concat(),
        "invariant_nothing_is_answered_twice",
    );
}

#[test]
fn leaving_a_settling_unsynced_is_noticed() {
    let send = Action::Send {
        answer: Answer::Ok,
        fuse: None,
    };
    // The agent dies between the move and its sync.
    is_noticed_in(
        Bug::SettleUnsynced,
        &[say(), poll(None), show(), reply(Some(4)), send],
        "invariant_no_delivery_leaves_before_its_answers_are_settled",
    );
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
    let mut world = one_message();
    let name = world.disk.entries(0, Folder::Inbox)[0];
    let entry = crate::disk::path(0, Folder::Inbox, crate::disk::Name::Entry(name));
    world.disk.now.remove(&entry);
    let noticed = invariants::check(&world).unwrap_err().invariant;
    assert_eq!(noticed, "invariant_no_admitted_message_is_lost");
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
