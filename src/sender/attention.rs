//! What people see of an agent's attention: 👀 on the newest message that it was shown, until that is
//! answered, and "typing…" while it is at work. Pure.
//!
//! Derived from what agents hold, never queued. A 👀 that cannot be put at once is dropped when it is
//! late. One that is put is noted on disk before ([`crate::sender::receipts`]), so that it is taken away
//! again whoever dies meanwhile. A reaction of the agent's own takes its place for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::Pace;
use crate::ids::{Address, BotId, ChatId, MessageId};
use crate::sender::queue::shortened;
use crate::state::inbox::entry::EntryName;

/// The reaction that says "seen".
pub const EYES: &str = "👀";

/// "typing…" is shown for five seconds at most (telegram.md 8).
const TYPING: Duration = Duration::from_secs(4);
/// Without news of the agent for so long, nobody knows that it is at work.
const NO_NEWS: Duration = Duration::from_secs(600);
/// A 👀 that comes later than this is worth nothing.
const LATE: Duration = Duration::from_secs(10);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(60);
/// A message may be in nobody's hands for a moment when another agent takes it.
const LINGER: Duration = Duration::from_millis(200);
/// How often a 👀 is tried to be taken away before that is left to the next start.
const TRIES: u8 = 3;
/// How many messages with an agent's own reaction are remembered.
const REACTED_MAX: usize = 1000;

/// A message of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The bot that sees the chat.
    pub bot: BotId,
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
}

/// A message that an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InHand {
    /// Where it came from.
    pub address: Address,
    /// Telegram's id of it.
    pub message: MessageId,
    /// Its place in the order of arrival.
    pub arrived: EntryName,
    /// Whether it has surely been shown.
    pub seen: bool,
}

impl InHand {
    fn spot(&self) -> Spot {
        Spot {
            bot: self.address.bot_id,
            chat: self.address.chat_id,
            message: self.message,
        }
    }
}

/// An agent, by session (the caller's number for it) and the name of its conversation.
pub type AgentName = (u16, String);

/// How it is known what an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It stood there when the gateway started: no reason for a 👀.
    Start {
        /// How long ago the agent's last sign of life was.
        silent_for: Duration,
    },
    /// The agent has done something just now.
    News,
    /// Somebody looked: news only if it differs from what was known.
    Look,
}

/// Something to do for people's eyes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gesture {
    /// Put 👀 on a message. To be noted on disk before.
    Put(Spot),
    /// Take it away.
    Take(Spot),
    /// Show "typing…".
    Type(Address),
}

impl Gesture {
    /// The bot and the chat.
    pub fn place(self) -> (BotId, ChatId) {
        match self {
            Self::Put(spot) | Self::Take(spot) => (spot.bot, spot.chat),
            Self::Type(address) => (address.bot_id, address.chat_id),
        }
    }
}

/// What became of a gesture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    Done,
    /// It surely had no effect.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A 👀 that may stand in the chat.
#[derive(Clone, Copy, Debug, Default)]
struct Worn {
    /// Since when nobody holds the message, and not before when it is to be taken away.
    free: Option<Duration>,
    under_way: bool,
    tries: u8,
}

#[derive(Clone, Debug)]
struct Agent {
    held: Vec<InHand>,
    news: Duration,
    /// When "typing…" is due next; `None` until there is news.
    typing: Option<Duration>,
}

/// What people see of the agents' attention.
#[derive(Clone, Debug)]
pub struct Attention {
    pace: Pace,
    agents: BTreeMap<AgentName, Agent>,
    /// What is to be put, and since when.
    wishes: BTreeMap<Spot, Duration>,
    worn: BTreeMap<Spot, Worn>,
    reacted: VecDeque<Spot>,
}

impl Attention {
    /// Nothing is held; `worn` stands from an earlier time.
    pub fn new(pace: Pace, worn: impl IntoIterator<Item = Spot>) -> Self {
        let free = Worn {
            free: Some(Duration::ZERO),
            ..Worn::default()
        };
        Self {
            pace,
            agents: BTreeMap::new(),
            wishes: BTreeMap::new(),
            worn: worn.into_iter().map(|spot| (spot, free)).collect(),
            reacted: VecDeque::new(),
        }
    }

    /// What an agent holds now, and how that is known.
    pub fn holds(&mut self, agent: AgentName, held: Vec<InHand>, sign: Sign, now: Duration) {
        let before = self.agents.get(&agent);
        let same = before.map_or(held.is_empty(), |before| before.held == held);
        if sign == Sign::Look && same {
            return;
        }
        let silent_for = match sign {
            Sign::Start { silent_for } => silent_for,
            Sign::Look | Sign::News => {
                self.wish(&agent, &held, now);
                Duration::ZERO
            }
        };
        if held.is_empty() {
            self.agents.remove(&agent);
        } else {
            let typing = self.agents.get(&agent).and_then(|agent| agent.typing);
            let agent_now = Agent {
                held,
                news: now.saturating_sub(silent_for),
                typing: typing.or(Some(now)),
            };
            self.agents.insert(agent, agent_now);
        }
        self.look_who_is_held(now);
    }

    /// The newest message of each conversation that was shown just now is to wear 👀.
    fn wish(&mut self, agent: &AgentName, held: &[InHand], now: Duration) {
        let before = self.agents.get(agent);
        let before = before.into_iter().flat_map(|before| before.held.iter());
        let seen_before: BTreeSet<Spot> = before.filter(|one| one.seen).map(InHand::spot).collect();
        let mut newest: BTreeMap<Address, &InHand> = BTreeMap::new();
        for one in held.iter().filter(|one| one.seen) {
            let other = newest.entry(one.address).or_insert(one);
            if other.arrived < one.arrived {
                *other = one;
            }
        }
        for spot in newest.into_values().map(InHand::spot) {
            let mine = seen_before.contains(&spot);
            if !mine && !self.worn.contains_key(&spot) && !self.reacted.contains(&spot) {
                self.wishes.insert(spot, now);
            }
        }
    }

    /// The agents that hold something in a session.
    pub fn agents(&self, session: u16) -> Vec<AgentName> {
        let names = self.agents.keys().filter(|name| name.0 == session);
        names.cloned().collect()
    }

    /// The agent is at work: it has said something.
    pub fn said(&mut self, agent: &AgentName, now: Duration) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.news = now;
            agent.typing.get_or_insert(now);
        }
    }

    /// The agent's own reaction goes on a message. `true` if what is noted has changed.
    pub fn reacted(&mut self, spot: Spot) -> bool {
        self.wishes.remove(&spot);
        if self.reacted.len() >= REACTED_MAX {
            self.reacted.pop_front();
        }
        self.reacted.push_back(spot);
        self.worn.remove(&spot).is_some()
    }

    /// The messages of a bot that may wear 👀.
    pub fn worn(&self, bot: BotId) -> impl Iterator<Item = Spot> {
        self.worn
            .keys()
            .copied()
            .filter(move |spot| spot.bot == bot)
    }

    /// The next thing to do. `wait` says how long a chat has to be left alone, `lives` whether an
    /// agent does.
    pub fn next(
        &mut self,
        now: Duration,
        mut wait: impl FnMut(BotId, ChatId) -> Option<Duration>,
        lives: impl FnMut(&AgentName) -> bool,
    ) -> Option<Gesture> {
        for (spot, worn) in &mut self.worn {
            if worn.free.is_none_or(|free| free > now) || worn.under_way {
                continue;
            }
            let Some(wait) = wait(spot.bot, spot.chat) else {
                worn.under_way = true;
                return Some(Gesture::Take(*spot));
            };
            worn.free = Some(now + wait);
        }
        self.wishes.retain(|_, since| *since + LATE > now);
        let mut wishes = self.wishes.keys().copied();
        let ready = wishes.find(|spot| wait(spot.bot, spot.chat).is_none());
        if let Some(spot) = ready {
            self.wishes.remove(&spot);
            let worn = Worn {
                under_way: true,
                ..Worn::default()
            };
            self.worn.insert(spot, worn);
            return Some(Gesture::Put(spot));
        }
        self.next_typing(now, wait, lives)
    }

    fn next_typing(
        &mut self,
        now: Duration,
        mut wait: impl FnMut(BotId, ChatId) -> Option<Duration>,
        mut lives: impl FnMut(&AgentName) -> bool,
    ) -> Option<Gesture> {
        let (every, silence) = (self.span(TYPING), self.span(NO_NEWS));
        for (name, agent) in &mut self.agents {
            if agent.typing.is_none_or(|due| due > now) {
                continue;
            }
            if now.saturating_sub(agent.news) >= silence || !lives(name) {
                agent.typing = None;
                continue;
            }
            agent.typing = Some(now + every);
            // The conversation that it was shown last is the one that it works on.
            let latest = agent.held.iter().rfind(|one| one.seen);
            if let Some(one) = latest
                && wait(one.address.bot_id, one.address.chat_id).is_none()
            {
                return Some(Gesture::Type(one.address));
            }
        }
        None
    }

    /// What became of a gesture. `true` if what is noted has changed.
    pub fn ended(&mut self, gesture: Gesture, answer: Answer, now: Duration) -> bool {
        match gesture {
            Gesture::Type(address) => {
                if answer != Answer::Done {
                    let later = now + self.span(PAUSE);
                    for agent in self.agents.values_mut() {
                        if agent.held.iter().any(|one| one.address == address) {
                            agent.typing = agent.typing.map(|due| due.max(later));
                        }
                    }
                }
                false
            }
            Gesture::Put(spot) => {
                if answer == Answer::Refused {
                    return self.worn.remove(&spot).is_some();
                }
                if let Some(worn) = self.worn.get_mut(&spot) {
                    worn.under_way = false;
                }
                false
            }
            Gesture::Take(spot) => {
                if answer != Answer::Unknown {
                    return self.worn.remove(&spot).is_some();
                }
                let later = now + self.span(PAUSE);
                if let Some(worn) = self.worn.get_mut(&spot) {
                    worn.under_way = false;
                    worn.tries += 1;
                    worn.free = Some(later).filter(|_| worn.tries < TRIES);
                }
                false
            }
        }
    }

    /// A gesture that could not be noted, and therefore was not made.
    pub fn dropped(&mut self, gesture: Gesture) {
        if let Gesture::Put(spot) = gesture {
            self.worn.remove(&spot);
        }
    }

    /// When [`Self::next`] may give something that it does not give now.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let typing = self.agents.values().filter_map(|agent| agent.typing);
        let worn = self.worn.values().filter(|worn| !worn.under_way);
        // What could not be put is looked at again soon, and not for long.
        let wish = (!self.wishes.is_empty()).then(|| now + LINGER);
        typing
            .chain(worn.filter_map(|worn| worn.free))
            .chain(wish)
            .min()
    }

    fn look_who_is_held(&mut self, now: Duration) {
        let held: BTreeSet<Spot> = self
            .agents
            .values()
            .flat_map(|agent| agent.held.iter().map(InHand::spot))
            .collect();
        self.wishes.retain(|spot, _| held.contains(spot));
        for (spot, worn) in &mut self.worn {
            if held.contains(spot) {
                worn.free = None;
                worn.tries = 0;
            } else if worn.free.is_none() && worn.tries < TRIES {
                worn.free = Some(now + LINGER);
            }
        }
    }

    fn span(&self, span: Duration) -> Duration {
        shortened(span, self.pace)
    }
}

#[cfg(test)]
mod tests;
