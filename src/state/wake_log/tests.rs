use std::time::Duration;

use crate::ids::UpdateId;
use crate::state::wake_log::*;

const NOW: Timestamp = Timestamp(10_000_000);
const SOCKET: MethodId = MethodId::new("inbox_socket");

fn entry(n: i64) -> EntryName {
    EntryName {
        received: n,
        update_id: UpdateId(n),
    }
}

/// The first wake of an agent, over its inbox socket.
fn first_plan() -> WakePlan {
    WakePlan {
        agent: AgentKey {
            registration: "a".to_owned(),
            thread: None,
        },
        method: SOCKET,
        tried: BTreeSet::from([SOCKET]),
        rounds: 0,
    }
}

#[test]
fn a_refusal_is_new_once_and_dropped_when_nothing_waits() {
    let mut log = WakeLog::default();
    assert!(log.refuse(&TypingRefusal::Draft, NOW));
    let later = NOW.plus(Duration::from_secs(9));
    assert!(!log.refuse(&TypingRefusal::Draft, later));
    assert_eq!(log.refused, Some((NOW, TypingRefusal::Draft)));
    assert!(log.refuse(&TypingRefusal::Mode, later));
    log.observe_waiting(&BTreeSet::from([entry(1)]), later);
    assert_eq!(log.refused, Some((later, TypingRefusal::Mode)));
    log.observe_waiting(&BTreeSet::new(), later);
    assert_eq!(log.refused, None);
}

#[test]
fn the_stop_hook_has_worked_when_what_it_told_of_was_taken() {
    let mut log = WakeLog::default();
    let drained = Drained {
        at: NOW,
        newest: entry(2),
    };
    let later = NOW.plus(Duration::from_secs(1));
    log.observe_drained(drained, &BTreeSet::from([entry(1)]), later);
    assert_eq!(log.stop_hook.worked_at, None);
    log.observe_drained(drained, &BTreeSet::from([entry(3)]), later);
    assert_eq!(log.stop_hook.worked_at, Some(later));
    log.observe_drained(
        drained,
        &BTreeSet::new(),
        later.plus(Duration::from_secs(9)),
    );
    assert_eq!(log.stop_hook.worked_at, Some(later), "the same once more");
}

#[test]
fn a_wake_has_worked_when_its_messages_were_taken_and_only_then() {
    let mut log = WakeLog::default();
    let plan = first_plan();
    log.begin(plan.clone(), entry(5), NOW);
    log.end(WakeOutcome::Given, NOW);
    log.observe_waiting(&BTreeSet::from([entry(5), entry(6)]), NOW);
    assert!(log.wake.is_some());
    assert_eq!(log.records.get(&SOCKET), None);
    log.observe_waiting(&BTreeSet::from([entry(6)]), NOW);
    assert_eq!(log.wake, None);
    assert_eq!(log.records[&SOCKET].worked_at, Some(NOW));

    let later = NOW.plus(Duration::from_secs(9));
    log.begin(plan, entry(6), later);
    log.end(WakeOutcome::Failed("no".to_owned()), later);
    log.observe_waiting(&BTreeSet::new(), later);
    let record = &log.records[&SOCKET];
    assert_eq!(
        record.worked_at,
        Some(NOW),
        "the agent looked without a wake"
    );
    assert_eq!(record.failed, Some((later, "no".to_owned())));
}

#[test]
fn no_two_wakes_have_the_same_number_whatever_the_clock_does() {
    let mut log = WakeLog::default();
    let plan = first_plan();
    let set_back = Timestamp(NOW.0 - 5000);
    let numbers = [NOW, NOW, set_back].map(|now| {
        let wake = log.begin(plan.clone(), entry(5), now);
        wake.number - NOW.0
    });
    assert_eq!(numbers, [0, 1, 2]);
}

/// The file as the version before wrote it.
#[test]
fn a_log_of_an_earlier_version_is_read_as_it_is_and_written_with_the_same_names() {
    let text = r#"{"format":1,"number":7,"wake":{"number":7,"newest":"0000000000005-5","agent":{"registration":"7-1"},"rung":"inbox_socket","tried":["inbox_socket","tmux"],"rounds":1,"at":10000000,"outcome":{"failed":"no"}},"records":{"codex_queue":{"worked_at":5},"tmux":{"failed":[6,"no"]}},"stop_hook":{"worked_at":9},"forgotten":{"0000000000005-5":{"times":2,"at":10000000}},"refused":[8,{"other_session":"x"}],"typed":{"registration":"7-1"}}"#;
    let log: WakeLog = serde_json::from_str(text).unwrap();
    assert_eq!(log.wake.as_ref().unwrap().plan.method, SOCKET);
    assert_eq!(log.unanswered[&entry(5)].times, 2);
    let refusal = TypingRefusal::OtherSession("x".to_owned());
    assert_eq!(log.refused, Some((Timestamp(8), refusal)));
    // The version before the other keys is written by the file, not by its type.
    let keys = text.replacen("\"format\":1,", "", 1);
    assert_eq!(serde_json::to_string(&log).unwrap(), keys);
}
