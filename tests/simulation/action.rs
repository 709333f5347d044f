//! Possible events, and a seeded choice of one. An action carries all its chance, so that a list of
//! actions is a run.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How many steps into its work a process dies; `None`: it does not.
pub(crate) type Fuse = Option<u8>;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Action {
    Say {
        chat: u8,
        long: bool,
    },
    Album {
        chat: u8,
    },
    Edit {
        nth: u8,
    },
    Press {
        chat: u8,
    },
    Stranger {
        kind: u8,
    },
    /// An update that is not routed, or that cannot be read.
    Odd {
        kind: u8,
    },
    /// One poll: the offset arrives and confirms; the answer may be lost or be taken in twice.
    Poll {
        lost: bool,
        twice: bool,
        fuse: Fuse,
    },
    /// The server forgets what was confirmed last, and gives it out once more.
    ConfirmLost,
    /// A quiet week: ids begin anew.
    RestartIds {
        base: u16,
    },
    CrashGateway,
    StartGateway,
    /// One request, of the delivery whose turn it is.
    Send {
        answer: Answer,
        fuse: Fuse,
    },
    Show {
        agent: u8,
        limit: u8,
        fate: Fate,
        fuse: Fuse,
    },
    /// `telegram_reply` without text.
    ShowConversation {
        agent: u8,
        to: Option<u8>,
        fate: Fate,
        fuse: Fuse,
    },
    Ack {
        agent: u8,
        nth: u8,
        fuse: Fuse,
    },
    Reply {
        agent: u8,
        long: bool,
        keep_open: bool,
        to: Where,
        fuse: Fuse,
    },
    React {
        agent: u8,
        fuse: Fuse,
    },
    /// The last call of `Reply` again, with the client's id of it or with another.
    Repeat {
        agent: u8,
        same_call: bool,
        fuse: Fuse,
    },
    KillAgent {
        agent: u8,
    },
    /// The client starts its server anew (`same`), or another client comes.
    StartAgent {
        agent: u8,
        same: bool,
    },
    Pass {
        ms: u64,
    },
    ClockJump {
        ms: i64,
    },
    /// Every process dies; of what was not synced the changes whose bit is set survive.
    PowerLoss {
        keep: u32,
    },
    Sweep,
}

/// The fate of a request that sends something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Answer {
    Ok,
    Lost {
        applied: bool,
    },
    ServerError {
        applied: bool,
    },
    Flood {
        seconds: u16,
    },
    Refused,
    /// Nothing can be sent to that chat until something is heard from it.
    Blocked,
    /// Refused as it is: the message that it replies to is gone.
    ReplyGone,
    Unreachable,
    Unauthorized,
}

/// The fate of a result that shows messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    Heard,
    /// The client cancelled the call and never saw the result.
    Cancelled,
    /// The agent read it, and its server died before it could note that.
    HeardThenDead,
    /// The server died before the result went out.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Where {
    Unsaid,
    Home,
    Message { nth: u8 },
}

/// Chooses the next actions; more than one where a fault should meet another one.
pub(crate) fn choose(rng: &mut Rng, into: &mut Vec<Action>) {
    let fuse = |rng: &mut Rng| (rng.u8(..8) == 0).then(|| rng.u8(..14));
    let chat = rng.u8(..4);
    let agent = rng.u8(..3);
    let action = match rng.u32(..100) {
        0..12 => Action::Say {
            chat,
            long: rng.u8(..12) == 0,
        },
        12..15 => Action::Album { chat },
        15..18 => Action::Edit { nth: rng.u8(..) },
        18..19 => Action::Press { chat },
        19..21 => Action::Stranger { kind: rng.u8(..5) },
        21..22 => Action::Odd { kind: rng.u8(..3) },
        22..34 => Action::Poll {
            lost: rng.u8(..10) == 0,
            twice: rng.u8(..10) == 0,
            fuse: fuse(rng),
        },
        34..36 => Action::ConfirmLost,
        36..37 => Action::RestartIds { base: rng.u16(1..) },
        37..39 => Action::CrashGateway,
        39..43 => Action::StartGateway,
        43..56 => Action::Send {
            answer: answer(rng),
            fuse: fuse(rng),
        },
        56..65 => Action::Show {
            agent,
            limit: rng.u8(1..6),
            fate: fate(rng),
            fuse: fuse(rng),
        },
        65..70 => Action::ShowConversation {
            agent,
            to: rng.bool().then(|| rng.u8(..)),
            fate: fate(rng),
            fuse: fuse(rng),
        },
        70..73 => Action::Ack {
            agent,
            nth: rng.u8(..),
            fuse: fuse(rng),
        },
        73..84 => Action::Reply {
            agent,
            long: rng.u8(..8) == 0,
            keep_open: rng.u8(..4) == 0,
            to: match rng.u8(..10) {
                0..5 => Where::Unsaid,
                5 => Where::Home,
                _ => Where::Message { nth: rng.u8(..) },
            },
            fuse: fuse(rng),
        },
        84 => Action::React {
            agent,
            fuse: fuse(rng),
        },
        85..87 => Action::Repeat {
            agent,
            same_call: rng.bool(),
            fuse: fuse(rng),
        },
        87..89 => Action::KillAgent { agent },
        89..93 => Action::StartAgent {
            agent,
            same: rng.u8(..3) > 0,
        },
        93..97 => Action::Pass { ms: span(rng) },
        97 => Action::ClockJump {
            ms: rng.i64(-36_000_000..36_000_000),
        },
        98 => Action::PowerLoss { keep: keep(rng) },
        _ => Action::Sweep,
    };
    // Unsynced writes of a dying process are in danger when the power fails soon. Others
    // may come in between.
    let dies = matches!(
        action,
        Action::Poll { fuse: Some(_), .. }
            | Action::Send { fuse: Some(_), .. }
            | Action::Show { fuse: Some(_), .. }
            | Action::Ack { fuse: Some(_), .. }
            | Action::Reply { fuse: Some(_), .. }
            | Action::Repeat { fuse: Some(_), .. }
    );
    into.push(action);
    if dies && rng.u8(..4) == 0 {
        if rng.bool() {
            choose(rng, into);
        }
        into.push(Action::PowerLoss { keep: keep(rng) });
    }
}

fn keep(rng: &mut Rng) -> u32 {
    if rng.bool() { 0 } else { rng.u32(..) }
}

fn fate(rng: &mut Rng) -> Fate {
    match rng.u8(..12) {
        0 => Fate::Cancelled,
        1 => Fate::HeardThenDead,
        2 => Fate::Dead,
        _ => Fate::Heard,
    }
}

fn answer(rng: &mut Rng) -> Answer {
    match rng.u8(..20) {
        0..2 => Answer::Lost {
            applied: rng.bool(),
        },
        2 => Answer::ServerError {
            applied: rng.bool(),
        },
        3..5 => Answer::Flood {
            seconds: rng.u16(1..120),
        },
        5 => Answer::Refused,
        6 => Answer::Unreachable,
        7 => Answer::Unauthorized,
        8 => Answer::Blocked,
        9 => Answer::ReplyGone,
        _ => Answer::Ok,
    }
}

fn span(rng: &mut Rng) -> u64 {
    match rng.u8(..40) {
        0..16 => rng.u64(..1500),
        16..32 => rng.u64(..20_000),
        32..36 => rng.u64(..120_000),
        36..38 => 31 * 60_000,
        38 => 25 * 3_600_000,
        _ => rng.u64(..9 * 86_400_000),
    }
}
