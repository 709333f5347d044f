use proptest::prelude::*;

use crate::ids::UpdateId;
use crate::state::wake_log::{TypingRefusal, WakeLog};
use crate::waker::methods::tmux::guard::refuse_busy;
use crate::waker::policy::*;
use AgentState::{Busy, Gone, Idle, Unknown, Waiting};

const SOCKET: MethodId = MethodId::new("inbox_socket");
const QUEUE: MethodId = MethodId::new("codex_queue");
const TMUX: MethodId = MethodId::new("tmux");

const NOW: Timestamp = Timestamp(10_000_000);

fn entry(n: i64) -> EntryName {
    EntryName {
        received: n,
        update_id: UpdateId(n),
    }
}

fn key(name: &str) -> AgentKey {
    AgentKey {
        registration: name.to_owned(),
        thread: None,
    }
}

/// An agent that was last heard of so many seconds ago.
fn agent(name: &str, state: AgentState, ago: Option<u64>, methods: &[MethodId]) -> WakeCandidate {
    WakeCandidate {
        key: key(name),
        holds: false,
        unanswered: BTreeSet::new(),
        activity: Activity {
            state,
            age: ago.map(Duration::from_secs),
        },
        methods: methods.to_vec(),
    }
}

fn holding(agent: WakeCandidate) -> WakeCandidate {
    WakeCandidate {
        holds: true,
        ..agent
    }
}

fn unanswering(agent: WakeCandidate, entries: &[i64]) -> WakeCandidate {
    WakeCandidate {
        unanswered: entries.iter().copied().map(entry).collect(),
        ..holding(agent)
    }
}

fn situation(unshown: &[i64], agents: Vec<WakeCandidate>) -> Situation {
    Situation {
        unshown: unshown.iter().copied().map(entry).collect(),
        agents,
    }
}

/// A wake of agent `a`, so many seconds ago.
fn woken(ago: i64, tried: &[MethodId], rounds: u32, outcome: WakeOutcome) -> Wake {
    Wake {
        number: 1,
        newest: entry(1),
        plan: WakePlan {
            agent: key("a"),
            method: tried.last().unwrap().clone(),
            tried: tried.iter().cloned().collect(),
            rounds,
        },
        at: Timestamp(NOW.0 - ago * 1000),
        outcome,
    }
}

/// A decision in short.
#[derive(Debug, PartialEq)]
enum Short {
    Nothing,
    Wake(&'static str, MethodId, u32),
    Later,
}

fn short(decision: WakeDecision) -> Short {
    match decision {
        WakeDecision::Nothing => Short::Nothing,
        WakeDecision::Later(later) => {
            assert!(!later.is_zero() && later <= CHECK_SELDOM, "{later:?}");
            Short::Later
        }
        WakeDecision::Wake(plan) => {
            let name = match plan.agent.registration.as_str() {
                "a" => "a",
                "b" => "b",
                other => panic!("{other}"),
            };
            Short::Wake(name, plan.method, plan.rounds)
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn one_agent_is_woken_first_and_at_the_right_time() {
    let socket: &[MethodId] = &[SOCKET];
    let idle = || agent("a", Idle, Some(60), socket);
    let at = |state, ago| agent("a", state, ago, socket);
    let wake = Short::Wake("a", SOCKET, 0);
    for (what, unshown, agents, expected) in [
        ("nothing waits", vec![], vec![idle()], Short::Nothing),
        ("no agent is there", vec![1], vec![], Short::Nothing),
        (
            "it is idle",
            vec![1],
            vec![idle()],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it just became idle",
            vec![1],
            vec![at(Idle, Some(0))],
            Short::Wake("a", SOCKET, 0),
        ),
        ("it works", vec![1], vec![at(Busy, Some(0))], Short::Later),
        (
            "it has worked for long",
            vec![1],
            vec![at(Busy, Some(9999))],
            Short::Later,
        ),
        (
            "a dialog is open",
            vec![1],
            vec![at(Waiting, Some(9999))],
            Short::Later,
        ),
        ("it has gone", vec![1], vec![at(Gone, None)], Short::Nothing),
        (
            "nothing is known of it",
            vec![1],
            vec![at(Unknown, None)],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it called just now",
            vec![1],
            vec![at(Unknown, Some(1))],
            Short::Later,
        ),
        (
            "it called a while ago",
            vec![1],
            vec![at(Unknown, Some(10))],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it may be answering",
            vec![1],
            vec![holding(at(Unknown, Some(60)))],
            Short::Later,
        ),
        (
            "it does not answer",
            vec![1],
            vec![holding(at(Unknown, Some(120)))],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it holds others and is idle",
            vec![1],
            vec![holding(idle())],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it cannot be woken",
            vec![1],
            vec![agent("a", Idle, None, &[])],
            Short::Nothing,
        ),
        (
            "the newest is woken",
            vec![1],
            vec![agent("b", Idle, None, socket), idle()],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "the agent that holds messages is woken",
            vec![1],
            vec![holding(idle()), agent("b", Idle, None, socket)],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "the holder works",
            vec![1],
            vec![holding(at(Busy, Some(1))), agent("b", Idle, None, socket)],
            Short::Later,
        ),
        (
            "the holder has gone",
            vec![1],
            vec![holding(at(Gone, None)), agent("b", Idle, None, socket)],
            Short::Wake("b", SOCKET, 0),
        ),
        (
            "the newest cannot be woken",
            vec![1],
            vec![idle(), agent("b", Idle, None, &[])],
            Short::Wake("a", SOCKET, 0),
        ),
        (
            "it is Codex",
            vec![1],
            vec![agent("a", Unknown, Some(60), &[QUEUE])],
            Short::Wake("a", QUEUE, 0),
        ),
        (
            "the best way first",
            vec![1],
            vec![agent("a", Idle, None, &[SOCKET, QUEUE])],
            wake,
        ),
    ] {
        let decision = decide_wake(&situation(&unshown, agents), None, NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_next_method_follows_a_wake_that_did_not_help() {
    use WakeOutcome::{Given, Open};
    let failed = || WakeOutcome::Failed("no".to_owned());
    let both = [SOCKET, QUEUE];
    let one = [SOCKET];
    let queue = [QUEUE];
    let all = [SOCKET, QUEUE];
    let socket = |rounds| Short::Wake("a", SOCKET, rounds);
    for (what, methods, state, last, expected) in [
        (
            "within its patience",
            &both[..],
            Idle,
            woken(14, &one, 0, Given),
            Short::Later,
        ),
        (
            "after it, the next way",
            &both,
            Idle,
            woken(15, &one, 0, Given),
            Short::Wake("a", QUEUE, 0),
        ),
        (
            "more patience where nothing is known",
            &both,
            Unknown,
            woken(14, &one, 0, Given),
            Short::Later,
        ),
        (
            "and then the next way",
            &both,
            Unknown,
            woken(60, &one, 0, Open),
            Short::Wake("a", QUEUE, 0),
        ),
        (
            "it failed: the next way at once",
            &both,
            Idle,
            woken(0, &one, 0, failed()),
            Short::Wake("a", QUEUE, 0),
        ),
        (
            "it failed, there is no other",
            &one,
            Idle,
            woken(14, &one, 0, failed()),
            Short::Later,
        ),
        (
            "a pause, then once more",
            &one,
            Idle,
            woken(15, &one, 0, failed()),
            socket(1),
        ),
        (
            "no other way: the pause",
            &one,
            Idle,
            woken(14, &one, 0, Given),
            Short::Later,
        ),
        (
            "and then once more",
            &one,
            Idle,
            woken(15, &one, 0, Given),
            socket(1),
        ),
        (
            "the second pause is longer",
            &one,
            Idle,
            woken(59, &one, 1, Given),
            Short::Later,
        ),
        ("but ends", &one, Idle, woken(60, &one, 1, Given), socket(2)),
        (
            "the last pause",
            &one,
            Idle,
            woken(899, &one, 100, Given),
            Short::Later,
        ),
        (
            "ends too",
            &one,
            Idle,
            woken(900, &one, 100, Given),
            socket(101),
        ),
        (
            "all were tried",
            &both,
            Idle,
            woken(599, &all, 0, Given),
            Short::Later,
        ),
        (
            "from the beginning",
            &both,
            Idle,
            woken(600, &all, 0, Given),
            socket(1),
        ),
        (
            "a queue keeps it",
            &queue,
            Unknown,
            woken(599, &queue, 0, Given),
            Short::Later,
        ),
        (
            "unless it failed",
            &queue,
            Unknown,
            woken(60, &queue, 0, failed()),
            Short::Wake("a", QUEUE, 1),
        ),
        (
            "it works on it",
            &both,
            Busy,
            woken(999, &one, 0, Given),
            Short::Later,
        ),
        (
            "a clock that was set back",
            &one,
            Idle,
            woken(-9999, &one, 0, Given),
            socket(1),
        ),
    ] {
        let agents = vec![agent("a", state, Some(999), methods)];
        let decision = decide_wake(&situation(&[1, 2], agents), Some(&last), NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
    // Another agent has not been woken for these messages.
    let agents = vec![agent("b", Idle, None, &one)];
    let decision = decide_wake(
        &situation(&[1], agents),
        Some(&woken(1, &one, 3, Given)),
        NOW,
    );
    assert_eq!(short(decision), Short::Wake("b", SOCKET, 0));
}

#[test]
fn typing_is_the_last_method_and_is_tried_again_like_the_others() {
    let methods = [SOCKET, TMUX];
    let decide = |methods: &[MethodId], state, last: &Wake| {
        let agents = vec![agent("a", state, Some(999), methods)];
        short(decide_wake(&situation(&[1], agents), Some(last), NOW))
    };
    let wake = |tried: &[MethodId], ago| woken(ago, tried, 0, WakeOutcome::Given);
    let first = woken(999, &[QUEUE], 0, WakeOutcome::Given);
    let is_typed = |rounds| Short::Wake("a", TMUX, rounds);
    assert_eq!(decide(&methods, Idle, &wake(&[SOCKET], 14)), Short::Later);
    assert_eq!(decide(&methods, Idle, &wake(&[SOCKET], 15)), is_typed(0));
    assert_eq!(decide(&[TMUX], Idle, &first), is_typed(0));
    assert_eq!(decide(&[TMUX], Idle, &wake(&[TMUX], 14)), Short::Later);
    assert_eq!(decide(&[TMUX], Idle, &wake(&[TMUX], 15)), is_typed(1));
    for state in [Busy, Waiting] {
        assert_eq!(decide(&[TMUX], state, &wake(&[TMUX], 999)), Short::Later);
    }
}

#[test]
fn while_typing_is_refused_the_other_methods_go_on_and_the_pane_is_checked_soon() {
    let refused = |methods: &[MethodId], last: Option<&Wake>, since: i64| {
        let agents = vec![agent("a", Idle, Some(999), methods)];
        let since = Timestamp(NOW.0 - since * 1000);
        decide_without((&TMUX, since), &situation(&[1], agents), last, NOW)
    };
    let later = |seconds| WakeDecision::Later(Duration::from_secs(seconds));
    assert_eq!(refused(&[TMUX], None, 0), later(2));
    assert_eq!(refused(&[TMUX], None, 60), later(2));
    assert_eq!(refused(&[TMUX], None, 61), later(5));
    let methods = [SOCKET, TMUX];
    let last = woken(14, &[SOCKET], 0, WakeOutcome::Given);
    assert_eq!(refused(&methods, Some(&last), 99), later(1));
    // A draft in the pane does not keep the socket from being tried.
    let last = woken(15, &[SOCKET], 0, WakeOutcome::Given);
    let wake = Short::Wake("a", SOCKET, 1);
    assert_eq!(short(refused(&methods, Some(&last), 99)), wake);
}

#[test]
fn a_busy_agent_is_a_refusal_only_if_it_can_be_woken_by_typing_alone() {
    let said = |state, methods: &[MethodId]| refuse_busy(&agent("a", state, None, methods), None);
    assert_eq!(said(Busy, &[TMUX]), Some(TypingRefusal::Busy));
    assert_eq!(said(Waiting, &[TMUX]), Some(TypingRefusal::Dialog));
    assert_eq!(said(Idle, &[TMUX]), None);
    assert_eq!(said(Busy, &[SOCKET, TMUX]), None);
    let after = |state, outcome| {
        let last = woken(1, &[TMUX], 0, outcome);
        refuse_busy(&agent("a", state, None, &[TMUX]), Some(&last))
    };
    let given = || WakeOutcome::Given;
    assert_eq!(
        after(Busy, given()),
        None,
        "it works on what it was woken for"
    );
    assert_eq!(after(Waiting, given()), Some(TypingRefusal::Dialog));
    assert_eq!(after(Busy, WakeOutcome::Open), Some(TypingRefusal::Busy));
}

#[test]
fn only_the_agent_that_left_messages_unanswered_is_woken_for_them() {
    let (a, b) = (
        || agent("a", Idle, Some(60), &[SOCKET]),
        || agent("b", Idle, Some(60), &[SOCKET]),
    );
    let woken = |name| Short::Wake(name, SOCKET, 0);
    for (what, unshown, agents, expected) in [
        (
            "it is not the newest",
            &[][..],
            vec![unanswering(a(), &[1]), b()],
            woken("a"),
        ),
        (
            "nothing is due",
            &[],
            vec![holding(a()), b()],
            Short::Nothing,
        ),
        (
            "something else waits",
            &[2],
            vec![holding(a()), b()],
            woken("a"),
        ),
        (
            "something else waits that no agent holds",
            &[2],
            vec![a(), b()],
            woken("b"),
        ),
        (
            "it cannot be woken, and no other agent would see them",
            &[],
            vec![unanswering(agent("a", Idle, None, &[]), &[1]), b()],
            Short::Nothing,
        ),
    ] {
        let situation = situation(unshown, agents);
        let decision = decide_wake(&situation, None, NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
    let both = situation(&[3], vec![unanswering(a(), &[1, 2]), b()]);
    assert_eq!(both.waiting(), [1, 2, 3].map(entry).into());
}

#[test]
fn the_pause_after_an_unanswered_message_gets_longer_and_the_chat_is_told_once() {
    let mut log = WakeLog::default();
    let one = BTreeSet::from([entry(1)]);
    let both = BTreeSet::from([entry(1), entry(2)]);
    let mut now = NOW;
    for (round, pause) in PAUSES.into_iter().chain([PAUSES[5]]).enumerate() {
        let untold = log.record_unanswered(&one, now);
        assert_eq!(untold.len(), usize::from(round == 0));
        // The same evidence once more is nothing new.
        assert!(log.record_unanswered(&one, now).is_empty());
        assert_eq!(pause_left(&log.unanswered, &one, now), pause);
        let later = now.plus(pause);
        assert_eq!(pause_left(&log.unanswered, &one, later), Duration::ZERO);
        now = later;
    }
    assert_eq!(
        log.record_unanswered(&both, now),
        BTreeSet::from([entry(2)])
    );
    assert_eq!(
        pause_left(&log.unanswered, &both, now),
        PAUSES[0],
        "the new one is due first"
    );
    let set_back = Timestamp(NOW.0 - 1);
    assert_eq!(pause_left(&log.unanswered, &one, set_back), Duration::ZERO);
}

/// An event of one second.
#[derive(Clone, Copy, Debug)]
enum Act {
    Message,
    /// The agent looks into its mailbox.
    Shown,
    State(AgentState),
    /// The last attempt is found to have failed.
    Fails,
    Nothing,
}

fn event() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(Act::Message),
        Just(Act::Shown),
        Just(Act::Fails),
        prop::sample::select(vec![Idle, Busy, Waiting, Unknown]).prop_map(Act::State),
        Just(Act::Nothing),
        Just(Act::Nothing),
    ]
}

proptest! {
    #[test]
    fn an_agent_is_never_woken_twice_within_the_patience_nor_at_work_nor_for_nothing(
        events in prop::collection::vec((event(), 1..40u64), 1..200),
        methods in prop::sample::subsequence(vec![SOCKET, QUEUE, TMUX], 1..=3),
    ) {
        let mut now = NOW;
        let (mut next, mut state) = (0, Unknown);
        let mut unshown = BTreeSet::new();
        let mut log = WakeLog::default();
        // The last wake since messages were taken, and whether it was found to have failed.
        let mut last: Option<(Timestamp, bool)> = None;
        for (event, seconds) in events {
            now = now.plus(Duration::from_secs(seconds));
            match event {
                Act::Message => {
                    next += 1;
                    unshown.insert(entry(next));
                }
                Act::Shown => {
                    unshown.clear();
                    last = None;
                }
                Act::State(new) => state = new,
                Act::Fails => {
                    log.end(WakeOutcome::Failed("no".to_owned()), now);
                    last = last.map(|(at, _)| (at, true));
                }
                Act::Nothing => {}
            }
            log.observe_waiting(&unshown, now);
            let agents = vec![agent("a", state, Some(999), &methods)];
            let situation = Situation { unshown: unshown.clone(), agents };
            if let WakeDecision::Wake(plan) = decide_wake(&situation, log.wake.as_ref(), now) {
                prop_assert!(!unshown.is_empty(), "woken for nothing");
                prop_assert!(!matches!(state, Busy | Waiting), "woken at work");
                if let Some((at, false)) = last {
                    prop_assert!(now.since(at) >= Patience::PROMPT.idle, "woken twice for one batch");
                }
                let newest = *unshown.last().unwrap();
                log.begin(plan, newest, now);
                last = Some((now, false));
            }
        }
    }
}
