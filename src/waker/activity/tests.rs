use std::collections::BTreeSet;

use crate::ids::SessionId;
use crate::state::StateDir;
use crate::state::agents::{AgentFile, Reach};
use crate::store::atomic;
use crate::waker::activity::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn calls(under_way: bool, ended_ago: Option<i64>) -> CallActivity {
    CallActivity {
        under_way,
        last: ended_ago.map(|ago| Timestamp(NOW.0 - ago)),
    }
}

fn report(state: AgentState, ago: i64) -> StateReport {
    let since = Timestamp(NOW.0 - ago);
    StateReport { state, since }
}

#[test]
fn what_contradicts_itself_is_not_known() {
    use AgentState::{Busy, Idle, Unknown, Waiting};
    for (calls, says, expected, age) in [
        (calls(false, None), None, Unknown, None),
        (calls(false, Some(5)), None, Unknown, Some(5)),
        (calls(true, Some(5)), None, Busy, Some(0)),
        // A call under way is at work, whatever the client says.
        (calls(true, None), Some(report(Idle, 7)), Busy, Some(0)),
        (calls(false, None), Some(report(Idle, 7)), Idle, Some(7)),
        (calls(false, Some(9)), Some(report(Idle, 7)), Idle, Some(7)),
        // It called after it is said to have become idle: that file is not up to date.
        (
            calls(false, Some(5)),
            Some(report(Idle, 7)),
            Unknown,
            Some(5),
        ),
        (calls(false, Some(5)), Some(report(Busy, 7)), Busy, Some(7)),
        (
            calls(false, Some(5)),
            Some(report(Waiting, 7)),
            Waiting,
            Some(7),
        ),
    ] {
        let age = age.map(Duration::from_millis);
        let expected = Activity {
            state: expected,
            age,
        };
        assert_eq!(
            combine_reports(calls, None, says, NOW),
            expected,
            "{calls:?} {says:?}"
        );
    }
}

#[test]
fn the_newest_word_counts_and_when_in_doubt_the_agent_is_not_idle() {
    use AgentState::{Busy, Idle, Unknown, Waiting};
    let minutes = |minutes: i64| minutes * 60_000;
    for (what, called, hooks, client, expected) in [
        (
            "a turn began",
            None,
            report(Busy, 5),
            report(Idle, 900),
            Busy,
        ),
        (
            "it was stopped by hand",
            None,
            report(Busy, 5000),
            report(Idle, 7),
            Idle,
        ),
        (
            "a dialog opened",
            None,
            report(Busy, 5000),
            report(Waiting, 7),
            Waiting,
        ),
        (
            "both at once",
            None,
            report(Idle, 100),
            report(Busy, 599),
            Busy,
        ),
        (
            "the same, the other way",
            None,
            report(Busy, 599),
            report(Idle, 100),
            Busy,
        ),
        (
            "not at once",
            None,
            report(Idle, 100),
            report(Busy, 601),
            Idle,
        ),
        (
            "a dialog at once",
            None,
            report(Waiting, 400),
            report(Busy, 100),
            Busy,
        ),
        (
            "it called since",
            Some(50),
            report(Idle, 100),
            report(Idle, 90),
            Unknown,
        ),
        (
            "a word that is old",
            None,
            report(Busy, minutes(10)),
            report(Idle, minutes(11)),
            Idle,
        ),
    ] {
        let seen = combine_reports(calls(false, called), Some(hooks), Some(client), NOW);
        assert_eq!(seen.state, expected, "{what}");
    }
    // Hooks alone.
    for (what, called, hooks, expected) in [
        ("it works", None, report(Busy, minutes(9)), Busy),
        (
            "it has worked for long",
            None,
            report(Busy, minutes(10)),
            Unknown,
        ),
        (
            "and calls",
            Some(minutes(9)),
            report(Busy, minutes(30)),
            Busy,
        ),
        ("it has ended its turn", Some(200), report(Idle, 100), Idle),
    ] {
        let seen = combine_reports(calls(false, called), Some(hooks), None, NOW);
        assert_eq!(seen.state, expected, "{what}");
    }
}

#[test]
fn the_turns_of_another_process_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::new(folder.path().to_owned()).session(&SessionId::new("ONE").unwrap());
    dir.prepare().unwrap();
    let client = ProcessId::me();
    let holder = HolderId::of_process(&client);
    let agent = Registered {
        name: "7-1".to_owned(),
        file: AgentFile {
            pid: 7,
            started_at: NOW,
            client_process: client.clone(),
            holders: BTreeSet::new(),
            client: None,
            threads: Vec::new(),
            reach: Reach::default(),
        },
    };
    let told = |client: &ProcessId| {
        TurnFile::update(&dir, (&holder, client), Duration::ZERO, NOW, |file| {
            file.state = TurnState::Idle;
            Ok(())
        })
        .unwrap();
        observe_agent(&dir, &agent, &holder, NOW).state
    };
    assert_eq!(
        observe_agent(&dir, &agent, &holder, NOW).state,
        AgentState::Unknown
    );
    assert_eq!(told(&client), AgentState::Idle);
    let other = ProcessId {
        start: "1".to_owned(),
        ..client.clone()
    };
    assert_eq!(told(&other), AgentState::Unknown);
}

#[test]
fn claude_codes_file_is_believed_if_it_is_of_this_process_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let me = ProcessId::me();
    let path = folder.path().join(format!("sessions/{}.json", me.pid));
    atomic::create_folder(path.parent().unwrap()).unwrap();
    let read = |text: &str| {
        let step = crate::store::crash_points::Step::Presence;
        let durability = atomic::Durability::Unsynced;
        atomic::replace_file(&path, text.as_bytes(), step, durability).unwrap();
        read_claude_state(folder.path(), &me).map(|says| says.state)
    };
    let (ticks, _) = me.start.split_once('b').unwrap_or((&me.start, ""));
    for (status, state) in [
        ("idle", Some(AgentState::Idle)),
        ("busy", Some(AgentState::Busy)),
        ("waiting", Some(AgentState::Waiting)),
        ("dreaming", None),
    ] {
        let text = format!(
            r#"{{"pid":1,"procStart":"{ticks}","status":"{status}","statusUpdatedAt":5,"more":{{}}}}"#
        );
        assert_eq!(read(&text), state);
    }
    assert_eq!(
        read(r#"{"status":"idle","statusUpdatedAt":5}"#),
        Some(AgentState::Idle)
    );
    assert_eq!(read("{"), None);
    assert_eq!(read(r#"{"status":7}"#), None);
    #[cfg(target_os = "linux")]
    assert_eq!(
        read(r#"{"procStart":"1","status":"idle","statusUpdatedAt":5}"#),
        None,
        "the file of an earlier process of the same number"
    );
}
