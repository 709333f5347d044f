use proptest::prelude::*;

use crate::ids::UpdateId;
use crate::waker::policy::*;
use AgentState::{Busy, Gone, Idle, Unknown, Waiting};
use Rung::{CodexQueue, InboxSocket, Tmux};

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
fn agent(name: &str, state: AgentState, ago: Option<u64>, rungs: &[Rung]) -> Agent {
    Agent {
        key: key(name),
        holds: false,
        forgot: BTreeSet::new(),
        seen: Sighting {
            state,
            age: ago.map(Duration::from_secs),
        },
        rungs: rungs.iter().copied().collect(),
    }
}

fn holding(agent: Agent) -> Agent {
    Agent {
        holds: true,
        ..agent
    }
}

fn forgetting(agent: Agent, entries: &[i64]) -> Agent {
    Agent {
        forgot: entries.iter().copied().map(entry).collect(),
        ..holding(agent)
    }
}

fn situation(unshown: &[i64], agents: Vec<Agent>) -> Situation {
    Situation {
        unshown: unshown.iter().copied().map(entry).collect(),
        agents,
    }
}

/// A wake of agent `a`, so many seconds ago.
fn woken(ago: i64, tried: &[Rung], rounds: u32, outcome: Outcome) -> Wake {
    Wake {
        number: 1,
        newest: entry(1),
        agent: key("a"),
        rung: *tried.last().unwrap(),
        tried: tried.iter().copied().collect(),
        rounds,
        at: Timestamp(NOW.0 - ago * 1000),
        outcome,
    }
}

/// A decision in short.
#[derive(Debug, PartialEq)]
enum Short {
    Nothing,
    Wake(&'static str, Rung, u32),
    Later,
}

fn short(decision: Decision) -> Short {
    match decision {
        Decision::Nothing => Short::Nothing,
        Decision::Later(later) => {
            assert!(!later.is_zero() && later <= LOOK_SELDOM, "{later:?}");
            Short::Later
        }
        Decision::Wake(plan) => {
            let name = match plan.agent.registration.as_str() {
                "a" => "a",
                "b" => "b",
                other => panic!("{other}"),
            };
            Short::Wake(name, plan.rung, plan.rounds)
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn who_is_woken_first_and_when() {
    let socket: &[Rung] = &[InboxSocket];
    let idle = || agent("a", Idle, Some(60), socket);
    let at = |state, ago| agent("a", state, ago, socket);
    let wake = Short::Wake("a", InboxSocket, 0);
    for (what, unshown, agents, expected) in [
        ("nothing waits", vec![], vec![idle()], Short::Nothing),
        ("nobody is there", vec![1], vec![], Short::Nothing),
        (
            "it is idle",
            vec![1],
            vec![idle()],
            Short::Wake("a", InboxSocket, 0),
        ),
        (
            "it just became idle",
            vec![1],
            vec![at(Idle, Some(0))],
            Short::Wake("a", InboxSocket, 0),
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
            Short::Wake("a", InboxSocket, 0),
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
            Short::Wake("a", InboxSocket, 0),
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
            Short::Wake("a", InboxSocket, 0),
        ),
        (
            "it holds others and is idle",
            vec![1],
            vec![holding(idle())],
            Short::Wake("a", InboxSocket, 0),
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
            Short::Wake("a", InboxSocket, 0),
        ),
        (
            "who holds messages is woken",
            vec![1],
            vec![holding(idle()), agent("b", Idle, None, socket)],
            Short::Wake("a", InboxSocket, 0),
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
            Short::Wake("b", InboxSocket, 0),
        ),
        (
            "the newest cannot be woken",
            vec![1],
            vec![idle(), agent("b", Idle, None, &[])],
            Short::Wake("a", InboxSocket, 0),
        ),
        (
            "it is Codex",
            vec![1],
            vec![agent("a", Unknown, Some(60), &[CodexQueue])],
            Short::Wake("a", CodexQueue, 0),
        ),
        (
            "the best way first",
            vec![1],
            vec![agent("a", Idle, None, &[CodexQueue, InboxSocket])],
            wake,
        ),
    ] {
        let decision = decide(&situation(&unshown, agents), None, NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_follows_a_wake_that_did_not_help() {
    use Outcome::{Given, Open};
    let failed = || Outcome::Failed("no".to_owned());
    let both = [InboxSocket, CodexQueue];
    let one = [InboxSocket];
    let queue = [CodexQueue];
    let all = [InboxSocket, CodexQueue];
    let socket = |rounds| Short::Wake("a", InboxSocket, rounds);
    for (what, rungs, state, last, expected) in [
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
            Short::Wake("a", CodexQueue, 0),
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
            Short::Wake("a", CodexQueue, 0),
        ),
        (
            "it failed: the next way at once",
            &both,
            Idle,
            woken(0, &one, 0, failed()),
            Short::Wake("a", CodexQueue, 0),
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
            Short::Wake("a", CodexQueue, 1),
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
        let agents = vec![agent("a", state, Some(999), rungs)];
        let decision = decide(&situation(&[1, 2], agents), Some(&last), NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
    // Somebody else has not been woken for these messages.
    let agents = vec![agent("b", Idle, None, &one)];
    let decision = decide(
        &situation(&[1], agents),
        Some(&woken(1, &one, 3, Given)),
        NOW,
    );
    assert_eq!(short(decision), Short::Wake("b", InboxSocket, 0));
}

#[test]
fn typing_is_the_last_way_and_is_tried_again_like_the_others() {
    let rungs = [InboxSocket, Tmux];
    let decide = |rungs: &[Rung], state, last: &Wake| {
        let agents = vec![agent("a", state, Some(999), rungs)];
        short(decide(&situation(&[1], agents), Some(last), NOW))
    };
    let wake = |tried: &[Rung], ago| woken(ago, tried, 0, Outcome::Given);
    let first = woken(999, &[CodexQueue], 0, Outcome::Given);
    let is_typed = |rounds| Short::Wake("a", Tmux, rounds);
    assert_eq!(
        decide(&rungs, Idle, &wake(&[InboxSocket], 14)),
        Short::Later
    );
    assert_eq!(decide(&rungs, Idle, &wake(&[InboxSocket], 15)), is_typed(0));
    assert_eq!(decide(&[Tmux], Idle, &first), is_typed(0));
    assert_eq!(decide(&[Tmux], Idle, &wake(&[Tmux], 14)), Short::Later);
    assert_eq!(decide(&[Tmux], Idle, &wake(&[Tmux], 15)), is_typed(1));
    for state in [Busy, Waiting] {
        assert_eq!(decide(&[Tmux], state, &wake(&[Tmux], 999)), Short::Later);
    }
}

#[test]
fn where_nothing_may_be_typed_the_other_ways_go_on_and_the_pane_is_looked_at_soon() {
    let refused = |rungs: &[Rung], last: Option<&Wake>, since: i64| {
        let agents = vec![agent("a", Idle, Some(999), rungs)];
        let since = Timestamp(NOW.0 - since * 1000);
        decide_refused(&situation(&[1], agents), last, since, NOW)
    };
    let later = |seconds| Decision::Later(Duration::from_secs(seconds));
    assert_eq!(refused(&[Tmux], None, 0), later(2));
    assert_eq!(refused(&[Tmux], None, 60), later(2));
    assert_eq!(refused(&[Tmux], None, 61), later(5));
    let rungs = [InboxSocket, Tmux];
    let last = woken(14, &[InboxSocket], 0, Outcome::Given);
    assert_eq!(refused(&rungs, Some(&last), 99), later(1));
    // The socket is not forgotten as long as somebody's draft stands there.
    let last = woken(15, &[InboxSocket], 0, Outcome::Given);
    let wake = Short::Wake("a", InboxSocket, 1);
    assert_eq!(short(refused(&rungs, Some(&last), 99)), wake);
}

#[test]
fn why_nothing_is_typed_is_said_only_of_who_could_be_woken_by_nothing_else() {
    let said = |state, rungs: &[Rung]| {
        not_typed(&situation(&[1], vec![agent("a", state, None, rungs)]), None)
    };
    assert_eq!(said(Busy, &[Tmux]), Some(Refusal::Busy));
    assert_eq!(said(Waiting, &[Tmux]), Some(Refusal::Dialog));
    assert_eq!(said(Idle, &[Tmux]), None);
    assert_eq!(said(Busy, &[InboxSocket, Tmux]), None);
    let agents = vec![agent("a", Waiting, None, &[Tmux])];
    assert_eq!(not_typed(&situation(&[], agents), None), None);
    let after = |state, outcome| {
        let last = woken(1, &[Tmux], 0, outcome);
        not_typed(
            &situation(&[1], vec![agent("a", state, None, &[Tmux])]),
            Some(&last),
        )
    };
    let given = || Outcome::Given;
    assert_eq!(
        after(Busy, given()),
        None,
        "it works on what it was woken for"
    );
    assert_eq!(after(Waiting, given()), Some(Refusal::Dialog));
    assert_eq!(after(Busy, Outcome::Open), Some(Refusal::Busy));
}

#[test]
fn a_refusal_is_news_once_and_forgotten_when_nothing_waits() {
    let mut memory = Memory::new(1);
    assert!(memory.refuse(&Refusal::Draft, NOW));
    let later = NOW.plus(Duration::from_secs(9));
    assert!(!memory.refuse(&Refusal::Draft, later));
    assert_eq!(memory.refused, Some((NOW, Refusal::Draft)));
    assert!(memory.refuse(&Refusal::Mode, later));
    memory.look(&BTreeSet::from([entry(1)]), later);
    assert_eq!(memory.refused, Some((later, Refusal::Mode)));
    memory.look(&BTreeSet::new(), later);
    assert_eq!(memory.refused, None);
}

#[test]
fn only_the_agent_that_has_forgotten_messages_is_woken_for_them() {
    let (a, b) = (
        || agent("a", Idle, Some(60), &[InboxSocket]),
        || agent("b", Idle, Some(60), &[InboxSocket]),
    );
    let woken = |name| Short::Wake(name, InboxSocket, 0);
    for (what, unshown, agents, expected) in [
        (
            "it is not the newest",
            &[][..],
            vec![forgetting(a(), &[1]), b()],
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
            "something else waits for whoever comes",
            &[2],
            vec![a(), b()],
            woken("b"),
        ),
        (
            "it cannot be woken, and nobody else would see them",
            &[],
            vec![forgetting(agent("a", Idle, None, &[]), &[1]), b()],
            Short::Nothing,
        ),
    ] {
        let situation = situation(unshown, agents);
        let decision = decide(&situation, None, NOW);
        assert_eq!(short(decision), expected, "{what}");
    }
    let both = situation(&[3], vec![forgetting(a(), &[1, 2]), b()]);
    assert_eq!(both.waiting(), [1, 2, 3].map(entry).into());
}

#[test]
fn the_pause_after_a_message_was_forgotten_gets_longer_and_the_person_is_told_once() {
    let mut memory = Memory::new(1);
    let one = BTreeSet::from([entry(1)]);
    let both = BTreeSet::from([entry(1), entry(2)]);
    let mut now = NOW;
    for (round, pause) in PAUSES.into_iter().chain([PAUSES[5]]).enumerate() {
        let untold = memory.forget(&one, now);
        assert_eq!(untold.len(), usize::from(round == 0));
        // The same evidence once more is nothing new.
        assert!(memory.forget(&one, now).is_empty());
        assert_eq!(memory.rest(&one, now), pause);
        let later = now.plus(pause);
        assert_eq!(memory.rest(&one, later), Duration::ZERO);
        now = later;
    }
    assert_eq!(memory.forget(&both, now), BTreeSet::from([entry(2)]));
    assert_eq!(
        memory.rest(&both, now),
        PAUSES[0],
        "the new one is due first"
    );
    let set_back = Timestamp(NOW.0 - 1);
    assert_eq!(memory.rest(&one, set_back), Duration::ZERO);
}

#[test]
fn the_stop_hook_has_worked_when_what_it_told_of_was_taken() {
    let mut memory = Memory::new(1);
    let drained = Drained {
        at: NOW,
        newest: entry(2),
    };
    let later = NOW.plus(Duration::from_secs(1));
    memory.drained(drained, &BTreeSet::from([entry(1)]), later);
    assert_eq!(memory.stop_hook.worked_at, None);
    memory.drained(drained, &BTreeSet::from([entry(3)]), later);
    assert_eq!(memory.stop_hook.worked_at, Some(later));
    memory.drained(
        drained,
        &BTreeSet::new(),
        later.plus(Duration::from_secs(9)),
    );
    assert_eq!(
        memory.stop_hook.worked_at,
        Some(later),
        "the same once more"
    );
}

/// The first wake of an agent, over its inbox socket.
fn first_plan() -> Plan {
    Plan {
        agent: key("a"),
        rung: InboxSocket,
        tried: BTreeSet::from([InboxSocket]),
        rounds: 0,
    }
}

#[test]
fn a_wake_has_worked_when_its_messages_were_taken_and_only_then() {
    let mut memory = Memory::new(1);
    let plan = first_plan();
    memory.begin(plan.clone(), entry(5), NOW);
    memory.ended(memory.number, Outcome::Given, NOW);
    memory.look(&BTreeSet::from([entry(5), entry(6)]), NOW);
    assert!(memory.wake.is_some());
    assert_eq!(memory.records.get(&InboxSocket), None);
    memory.look(&BTreeSet::from([entry(6)]), NOW);
    assert_eq!(memory.wake, None);
    assert_eq!(memory.records[&InboxSocket].worked_at, Some(NOW));

    let later = NOW.plus(Duration::from_secs(9));
    memory.begin(plan, entry(6), later);
    memory.ended(memory.number, Outcome::Failed("no".to_owned()), later);
    memory.look(&BTreeSet::new(), later);
    let record = &memory.records[&InboxSocket];
    assert_eq!(
        record.worked_at,
        Some(NOW),
        "somebody has looked by himself"
    );
    assert_eq!(record.failed, Some((later, "no".to_owned())));
}

#[test]
fn no_two_wakes_have_the_same_number_whatever_the_clock_does() {
    let mut memory = Memory::new(1);
    let plan = first_plan();
    let set_back = Timestamp(NOW.0 - 5000);
    let numbers = [NOW, NOW, set_back].map(|now| {
        let wake = memory.begin(plan.clone(), entry(5), now);
        wake.number - NOW.0
    });
    assert_eq!(numbers, [0, 1, 2]);
}

/// What may happen in a second.
#[derive(Clone, Copy, Debug)]
enum Event {
    Message,
    /// The agent looks into its mailbox.
    Shown,
    State(AgentState),
    /// The last attempt is found to have failed.
    Fails,
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Message),
        Just(Event::Shown),
        Just(Event::Fails),
        prop::sample::select(vec![Idle, Busy, Waiting, Unknown]).prop_map(Event::State),
        Just(Event::Nothing),
        Just(Event::Nothing),
    ]
}

proptest! {
    #[test]
    fn an_agent_is_never_woken_twice_within_the_patience_nor_at_work_nor_for_nothing(
        events in prop::collection::vec((event(), 1..40u64), 1..200),
        rungs in prop::sample::subsequence(vec![InboxSocket, CodexQueue, Tmux], 1..=3),
    ) {
        let mut now = NOW;
        let (mut next, mut state) = (0, Unknown);
        let mut unshown = BTreeSet::new();
        let mut memory = Memory::new(1);
        // The last wake since messages were taken, and whether it was found to have failed.
        let mut last: Option<(Timestamp, bool)> = None;
        for (event, seconds) in events {
            now = now.plus(Duration::from_secs(seconds));
            match event {
                Event::Message => {
                    next += 1;
                    unshown.insert(entry(next));
                }
                Event::Shown => {
                    unshown.clear();
                    last = None;
                }
                Event::State(new) => state = new,
                Event::Fails => {
                    memory.ended(memory.number, Outcome::Failed("no".to_owned()), now);
                    last = last.map(|(at, _)| (at, true));
                }
                Event::Nothing => {}
            }
            memory.look(&unshown, now);
            let agents = vec![agent("a", state, Some(999), &rungs)];
            let situation = Situation { unshown: unshown.clone(), agents };
            if let Decision::Wake(plan) = decide(&situation, memory.wake.as_ref(), now) {
                prop_assert!(!unshown.is_empty(), "woken for nothing");
                prop_assert!(!matches!(state, Busy | Waiting), "woken at work");
                if let Some((at, false)) = last {
                    prop_assert!(now.since(at) >= PATIENCE_IDLE, "woken twice for one batch");
                }
                let newest = *unshown.last().unwrap();
                memory.begin(plan, newest, now);
                last = Some((now, false));
            }
        }
    }
}
