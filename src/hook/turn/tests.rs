use proptest::prelude::*;

use crate::hook::turn::*;
use crate::ids::UpdateId;
use crate::state::agents::holder::HolderId;
use crate::state::agents::process::ProcessId;

const NOW: Timestamp = Timestamp(10_000_000);

fn at(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

fn entries(numbers: &[i64]) -> BTreeSet<EntryName> {
    let entry = |number: &i64| EntryName {
        received: *number,
        update_id: UpdateId(*number),
    };
    numbers.iter().map(entry).collect()
}

fn turn() -> TurnFile {
    let client = ProcessId {
        pid: 7,
        start: "1".to_owned(),
    };
    TurnFile::new(HolderId::of_process(&client), client, NOW)
}

fn report(event: HookEvent, turn: Option<&str>) -> HookReport {
    HookReport {
        event,
        client_session: None,
        turn: turn.map(str::to_owned),
        installation: "the plugin".to_owned(),
    }
}

/// The same from the other installation of our hooks.
fn echo(report: &HookReport) -> HookReport {
    HookReport {
        installation: "telepost install".to_owned(),
        ..report.clone()
    }
}

fn prompt(name: &str) -> HookReport {
    report(HookEvent::Prompt, Some(name))
}

/// A stop of turn `name`, of an agent that holds and of a mailbox in which waits.
fn stop(name: &str, held: &[i64], waiting: &[i64], kept_going: bool) -> HookReport {
    let event = HookEvent::Stop {
        mailbox: mailbox(held, waiting),
        kept_going: Some(kept_going),
    };
    report(event, Some(name))
}

fn mailbox(held: &[i64], waiting: &[i64]) -> MailboxSummary {
    MailboxSummary {
        held: entries(held),
        messages: held.len(),
        waiting: entries(waiting),
    }
}

#[test]
fn an_agent_works_from_its_prompt_to_its_stop() {
    let mut file = turn();
    let start = HookEvent::SessionStart { midway: false };
    assert_eq!(apply_report(&mut file, report(start, None), at(1)), None);
    assert_eq!((file.state, file.since), (TurnState::Idle, at(1)));
    assert_eq!(apply_report(&mut file, prompt("a"), at(2)), None);
    assert_eq!((file.state, file.since), (TurnState::Busy, at(2)));
    assert_eq!(file.prompted_at, Some(at(2)));
    let compacted = HookEvent::SessionStart { midway: true };
    assert_eq!(
        apply_report(&mut file, report(compacted, None), at(3)),
        None
    );
    assert_eq!((file.state, file.since), (TurnState::Busy, at(2)));
    assert_eq!(
        apply_report(&mut file, stop("a", &[], &[], false), at(4)),
        None
    );
    assert_eq!((file.state, file.since), (TurnState::Idle, at(4)));
    assert_eq!(file.stopped_at, Some(at(4)));
    assert_eq!(file.unanswered, None);
    assert_eq!(
        apply_report(&mut file, report(HookEvent::End, None), at(5)),
        None
    );
    assert_eq!(file.state, TurnState::Ended);
}

#[test]
fn what_is_held_is_reminded_of_once_and_then_counts_as_unanswered() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    assert_eq!(
        apply_report(&mut file, stop("a", &[1, 2], &[], false), at(2)),
        Some(HookReply::Remind(2))
    );
    assert_eq!((file.state, file.since), (TurnState::Busy, at(2)));
    assert_eq!(
        apply_report(&mut file, stop("a", &[1, 2], &[], true), at(3)),
        None
    );
    let unanswered = Unanswered {
        at: at(3),
        entries: entries(&[1, 2]),
    };
    assert_eq!(file.state, TurnState::Idle);
    assert_eq!(file.unanswered, Some(unanswered.clone()));
    // The hook of a second installation changes nothing of that.
    assert_eq!(
        apply_report(&mut file, stop("a", &[1, 2], &[], true), at(4)),
        None
    );
    assert_eq!(file.unanswered, Some(unanswered));
    // A new turn is a new chance, with a reminder of its own.
    apply_report(&mut file, prompt("b"), at(5));
    assert_eq!(file.unanswered, None);
    assert_eq!(
        apply_report(&mut file, stop("b", &[1, 2], &[], false), at(6)),
        Some(HookReply::Remind(2))
    );
}

#[test]
fn an_agent_that_answers_after_the_reminder_leaves_nothing_unanswered() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    apply_report(&mut file, stop("a", &[1], &[], false), at(2));
    assert_eq!(
        apply_report(&mut file, stop("a", &[], &[], true), at(3)),
        None
    );
    assert_eq!(file.unanswered, None);
    assert_eq!(file.state, TurnState::Idle);
}

#[test]
fn what_was_shown_after_a_reminder_is_reminded_of_too() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    apply_report(&mut file, stop("a", &[1], &[], false), at(2));
    assert_eq!(
        apply_report(&mut file, stop("a", &[1, 2], &[], true), at(3)),
        Some(HookReply::Remind(2))
    );
    assert_eq!(
        apply_report(&mut file, stop("a", &[1, 2], &[], true), at(4)),
        None
    );
    assert!(file.unanswered.is_some());
}

#[test]
fn a_batch_that_waits_is_told_of_once_in_a_turn() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    let mut stops = |waiting: &[i64], second: i64| {
        apply_report(&mut file, stop("a", &[], waiting, second > 2), at(second))
    };
    assert_eq!(stops(&[1, 2], 2), Some(HookReply::Announce));
    assert_eq!(stops(&[1, 2], 3), None, "it did not look");
    assert_eq!(stops(&[2, 3], 4), Some(HookReply::Announce), "another came");
    assert_eq!(stops(&[], 5), None);
    apply_report(&mut file, prompt("b"), at(6));
    assert_eq!(
        apply_report(&mut file, stop("b", &[], &[2, 3], false), at(7)),
        Some(HookReply::Announce)
    );
}

#[test]
fn a_reminder_goes_before_what_else_waits_and_neither_hides_the_other() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    assert_eq!(
        apply_report(&mut file, stop("a", &[1], &[2], false), at(2)),
        Some(HookReply::Remind(1))
    );
    assert_eq!(
        apply_report(&mut file, stop("a", &[1], &[2], true), at(3)),
        Some(HookReply::Announce)
    );
    assert_eq!(file.unanswered, None, "it has not ended");
    assert_eq!(
        apply_report(&mut file, stop("a", &[1], &[2], true), at(4)),
        None
    );
    assert!(file.unanswered.is_some());
}

#[test]
fn a_turn_whose_prompt_was_not_reported_is_a_turn_of_its_own() {
    let mut file = turn();
    apply_report(&mut file, stop("a", &[1], &[], false), at(2));
    apply_report(&mut file, stop("a", &[1], &[], true), at(3));
    assert_eq!(
        apply_report(&mut file, stop("b", &[1], &[], false), at(4)),
        Some(HookReply::Remind(1))
    );
    assert_eq!(file.continued, 1);
}

#[test]
fn two_installations_of_the_hook_say_it_once() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    assert_eq!(
        apply_report(&mut file, stop("a", &[1], &[], false), at(2)),
        Some(HookReply::Remind(1))
    );
    assert_eq!(
        apply_report(&mut file, stop("a", &[1], &[], false), at(2)),
        None
    );
    assert_eq!(file.state, TurnState::Busy, "its turn goes on");
    assert_eq!(file.unanswered, None);
}

#[test]
fn of_two_installations_one_speaks_also_later_in_a_turn() {
    let mut file = turn();
    for (second, told, says) in [
        (1, prompt("a"), None),
        (2, stop("a", &[1], &[], false), Some(HookReply::Remind(1))),
        (3, stop("a", &[1, 2], &[], true), Some(HookReply::Remind(2))),
        (4, stop("a", &[1, 2], &[3], true), Some(HookReply::Announce)),
        (5, stop("a", &[1, 2], &[3], true), None),
        (6, prompt("b"), None),
    ] {
        assert_eq!(
            apply_report(&mut file, told.clone(), at(second)),
            says,
            "{second}"
        );
        let reported_once = file.clone();
        assert_eq!(
            apply_report(&mut file, echo(&told), at(second)),
            None,
            "{second}"
        );
        assert_eq!(file, reported_once, "{second}");
    }
}

#[test]
fn an_installation_that_is_taken_away_leaves_the_word_to_the_other_with_the_next_turn() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    let stopped = stop("a", &[1], &[], false);
    assert_eq!(apply_report(&mut file, echo(&stopped), at(2)), None);
    assert_eq!(apply_report(&mut file, echo(&prompt("b")), at(3)), None);
    assert_eq!((file.state, file.since), (TurnState::Busy, at(3)));
    let stopped = stop("b", &[1], &[], false);
    assert_eq!(
        apply_report(&mut file, echo(&stopped), at(4)),
        Some(HookReply::Remind(1))
    );
    // A client that names no turns.
    assert_eq!(
        apply_report(&mut file, report(HookEvent::Prompt, None), at(20)),
        None
    );
    assert_eq!((file.state, file.since), (TurnState::Busy, at(20)));
}

#[test]
fn a_turn_that_the_api_ends_leaves_the_agent_idle_with_what_it_holds() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    assert_eq!(
        apply_report(&mut file, report(HookEvent::Failure, Some("a")), at(2)),
        None
    );
    assert_eq!((file.state, file.since), (TurnState::Idle, at(2)));
    assert_eq!(file.unanswered, None);
    apply_report(&mut file, prompt("b"), at(3));
    assert_eq!(
        apply_report(&mut file, stop("b", &[1], &[], false), at(4)),
        Some(HookReply::Remind(1))
    );
}

#[test]
fn a_client_that_names_no_turns_gets_its_reminder_in_each() {
    let nameless = |kept_going| {
        let event = HookEvent::Stop {
            mailbox: mailbox(&[1], &[]),
            kept_going,
        };
        report(event, None)
    };
    let mut file = turn();
    for (second, kept_going, says) in [
        (10, Some(false), Some(HookReply::Remind(1))),
        (11, Some(false), None),
        (12, Some(true), None),
        (60, Some(false), Some(HookReply::Remind(1))),
        (61, None, None),
    ] {
        assert_eq!(
            apply_report(&mut file, nameless(kept_going), at(second)),
            says,
            "{second}"
        );
    }
}

#[test]
fn a_session_that_starts_again_keeps_what_is_unanswered() {
    let mut file = turn();
    apply_report(&mut file, prompt("a"), at(1));
    apply_report(&mut file, stop("a", &[1], &[], false), at(2));
    apply_report(&mut file, stop("a", &[1], &[], true), at(3));
    apply_report(&mut file, report(HookEvent::End, None), at(4));
    let start = HookReport {
        event: HookEvent::SessionStart { midway: false },
        client_session: Some("another".to_owned()),
        ..report(HookEvent::End, None)
    };
    apply_report(&mut file, start, at(5));
    assert!(file.unanswered.is_some());
    assert_eq!(file.client_session.as_deref(), Some("another"));
    assert_eq!(file.state, TurnState::Idle);
}

#[derive(Clone, Debug)]
enum Act {
    Prompt,
    Start(bool),
    End,
    Stop {
        held: Vec<i64>,
        waiting: Vec<i64>,
        kept_going: Option<bool>,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let some = || prop::collection::vec(1..6i64, 0..4);
    let stop =
        (some(), some(), any::<Option<bool>>()).prop_map(|(held, waiting, kept_going)| Act::Stop {
            held,
            waiting,
            kept_going,
        });
    prop_oneof![
        1 => Just(Act::Prompt),
        1 => any::<bool>().prop_map(Act::Start),
        1 => Just(Act::End),
        12 => stop,
    ]
}

proptest! {
    #[test]
    fn no_turn_is_kept_going_for_ever_and_nothing_is_said_twice_in_it(
        acts in prop::collection::vec((act(), 0..3i64), 1..60),
        named in any::<bool>(),
        twice in any::<bool>(),
    ) {
        let mut file = turn();
        let (mut now, mut number) = (NOW, 0);
        let (mut said, mut reminded, mut told) = (0, BTreeSet::new(), BTreeSet::new());
        for (act, seconds) in acts {
            now = Timestamp(now.0 + seconds * 1000);
            let name = named.then(|| number.to_string());
            let (event, held) = match act {
                Act::Prompt => {
                    number += 1;
                    (HookEvent::Prompt, BTreeSet::new())
                }
                Act::Start(midway) => (HookEvent::SessionStart { midway }, BTreeSet::new()),
                Act::End => (HookEvent::End, BTreeSet::new()),
                Act::Stop { held, waiting, kept_going } => {
                    let mailbox = mailbox(&held, &waiting);
                    let held = mailbox.held.clone();
                    (HookEvent::Stop { mailbox, kept_going }, held)
                }
            };
            let begins = matches!(event, HookEvent::Prompt | HookEvent::SessionStart { midway: false });
            let waiting = match &event {
                HookEvent::Stop { mailbox, .. } => mailbox.waiting.clone(),
                HookEvent::Prompt | HookEvent::SessionStart { .. } | HookEvent::Failure | HookEvent::End => {
                    BTreeSet::new()
                }
            };
            let name = if matches!(event, HookEvent::Prompt) { named.then(|| number.to_string()) } else { name };
            let before = file.continued;
            let hook = report(event, name.as_deref());
            let once_more = echo(&hook);
            let says = apply_report(&mut file, hook, now);
            let reported_once = file.clone();
            if twice && !matches!(once_more.event, HookEvent::SessionStart { .. } | HookEvent::End) {
                prop_assert_eq!(apply_report(&mut file, once_more, now), None);
                prop_assert_eq!(&file, &reported_once);
            }
            // A turn that begins without a prompt is seen by the count.
            if begins || file.continued < before || (says.is_some() && file.continued == 1) {
                (said, reminded, told) = (0, BTreeSet::new(), BTreeSet::new());
            }
            match says {
                None => {}
                Some(HookReply::Remind(_)) => {
                    prop_assert!(!held.is_subset(&reminded), "reminded for nothing");
                    reminded.extend(held.clone());
                }
                Some(HookReply::Announce) => {
                    prop_assert!(waiting.last() > told.last(), "told twice");
                    told.extend(waiting);
                }
            }
            if says.is_some() {
                said += 1;
                prop_assert_eq!(file.state, TurnState::Busy);
                prop_assert_eq!(&file.unanswered, &None);
            }
            prop_assert!(said <= MAX_CONTINUED, "kept going {} times", said);
        }
    }
}
