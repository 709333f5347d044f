use crate::ids::SessionId;
use crate::state::agents::*;
use crate::state::layout::StateDir;

const NOW: Timestamp = Timestamp(1_000_000);

fn calls(under_way: bool, ended_ago: Option<i64>) -> CallsSeen {
    CallsSeen {
        under_way,
        last: ended_ago.map(|ago| Timestamp(NOW.0 - ago)),
    }
}

fn says(state: AgentState, ago: i64) -> Says {
    let since = Timestamp(NOW.0 - ago);
    Says { state, since }
}

#[test]
fn what_contradicts_itself_is_not_known() {
    use AgentState::{Busy, Idle, Unknown, Waiting};
    for (calls, says, expected, age) in [
        (calls(false, None), None, Unknown, None),
        (calls(false, Some(5)), None, Unknown, Some(5)),
        (calls(true, Some(5)), None, Busy, Some(0)),
        // A call under way is at work, whatever the client says.
        (calls(true, None), Some(says(Idle, 7)), Busy, Some(0)),
        (calls(false, None), Some(says(Idle, 7)), Idle, Some(7)),
        (calls(false, Some(9)), Some(says(Idle, 7)), Idle, Some(7)),
        // It called after it is said to have become idle: that file is not up to date.
        (calls(false, Some(5)), Some(says(Idle, 7)), Unknown, Some(5)),
        (calls(false, Some(5)), Some(says(Busy, 7)), Busy, Some(7)),
        (
            calls(false, Some(5)),
            Some(says(Waiting, 7)),
            Waiting,
            Some(7),
        ),
    ] {
        let age = age.map(Duration::from_millis);
        let expected = Sighting {
            state: expected,
            age,
        };
        assert_eq!(
            state(calls, None, says, NOW),
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
        ("a turn began", None, says(Busy, 5), says(Idle, 900), Busy),
        (
            "it was stopped by hand",
            None,
            says(Busy, 5000),
            says(Idle, 7),
            Idle,
        ),
        (
            "a dialog opened",
            None,
            says(Busy, 5000),
            says(Waiting, 7),
            Waiting,
        ),
        ("both at once", None, says(Idle, 100), says(Busy, 599), Busy),
        (
            "the same, the other way",
            None,
            says(Busy, 599),
            says(Idle, 100),
            Busy,
        ),
        ("not at once", None, says(Idle, 100), says(Busy, 601), Idle),
        (
            "a dialog at once",
            None,
            says(Waiting, 400),
            says(Busy, 100),
            Busy,
        ),
        (
            "it called since",
            Some(50),
            says(Idle, 100),
            says(Idle, 90),
            Unknown,
        ),
        (
            "a word that is old",
            None,
            says(Busy, minutes(10)),
            says(Idle, minutes(11)),
            Idle,
        ),
    ] {
        let seen = state(calls(false, called), Some(hooks), Some(client), NOW);
        assert_eq!(seen.state, expected, "{what}");
    }
    // Hooks alone.
    for (what, called, hooks, expected) in [
        ("it works", None, says(Busy, minutes(9)), Busy),
        (
            "it has worked for long",
            None,
            says(Busy, minutes(10)),
            Unknown,
        ),
        ("and calls", Some(minutes(9)), says(Busy, minutes(30)), Busy),
        ("it has ended its turn", Some(200), says(Idle, 100), Idle),
    ] {
        let seen = state(calls(false, called), Some(hooks), None, NOW);
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
            format: format::FORMAT,
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
        let mut file = TurnFile::new(holder.clone(), client.clone(), NOW);
        file.state = TurnState::Idle;
        let (step, durability) = (
            crate::store::crash_points::Step::Turn,
            atomic::Durability::Unsynced,
        );
        format::write(&dir.turn(holder.as_str()), &file, step, durability).unwrap();
        look(&dir, &agent, &holder, NOW).state
    };
    assert_eq!(look(&dir, &agent, &holder, NOW).state, AgentState::Unknown);
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
        atomic::replace(&path, text.as_bytes(), step, durability).unwrap();
        claude_says(folder.path(), &me).map(|says| says.state)
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

#[test]
fn only_a_plain_name_of_a_thread_goes_on_a_command_line() {
    let id = "0199a213-81c0-7800-8aa1-bbab2a035a53";
    assert_eq!(thread_id(id), Some(id.to_owned()));
    for bad in [
        "",
        "-x",
        "--message",
        "a b",
        "a;b",
        "ä",
        "a/b",
        &"x".repeat(101),
    ] {
        assert_eq!(thread_id(bad), None, "{bad}");
    }
}

#[test]
fn calls_are_under_way_until_the_last_has_ended_and_that_moment_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::new(folder.path().to_owned()).session(&SessionId::new("ONE").unwrap());
    let path = lock_path(&dir, "7-1");
    let mut calls = Calls::new(&dir, "7-1");
    let under_way = || lock::is_held(&path).unwrap();
    assert!(!under_way());
    calls.begin();
    calls.begin();
    assert!(under_way());
    calls.end(Timestamp(5000));
    assert!(under_way());
    calls.end(Timestamp(6000));
    assert!(!under_way());
    assert_eq!(modified(&path), Some(Timestamp(6000)));
}

#[test]
fn a_pane_is_known_by_its_socket_and_its_id_and_by_nothing_else() {
    let pane =
        |tmux: &str, id: &str| Pane::of(&Env::from_pairs([("TMUX", tmux), ("TMUX_PANE", id)]));
    let expected = |socket: &str| {
        let (socket, id) = (PathBuf::from(socket), "%12".to_owned());
        Some(Pane { socket, id })
    };
    assert_eq!(
        pane("/tmp/tmux-1000/default,4711,3", "%12"),
        expected("/tmp/tmux-1000/default")
    );
    assert_eq!(pane("/a,b/s,1,0", "%12"), expected("/a,b/s"));
    for (tmux, id) in [
        ("", "%1"),
        ("relative,1,0", "%1"),
        ("/s,1,0", ""),
        ("/s,1,0", "1"),
        ("/s,1,0", "%"),
        ("/s,1,0", "shop:0.1"),
        ("/s,1,0", "%1; kill-server"),
    ] {
        assert_eq!(pane(tmux, id), None, "{tmux} {id}");
    }
}
