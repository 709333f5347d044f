//! How the chats show an agent's attention: 👀 on the newest message that the agent was shown, until
//! it answers, and "typing…" while it is at work. Pure.
//!
//! Everything follows from what the agents hold; nothing is queued. A 👀 that cannot be put at once is
//! left out when it is late. It is recorded on disk before it is put
//! ([`crate::state::bots::receipts`]), so that it is taken away again whichever process dies meanwhile.
//! The agent's own reaction replaces it for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::Pace;
use crate::ids::{Address, BotId, ChatId, MessageId};
use crate::sender::queue::shortened;
use crate::state::bots::receipts::MessageRef;
use crate::state::inbox::EntryName;

/// The reaction that says "seen".
pub const EYES: &str = "👀";

/// "typing…" is shown for five seconds at most (docs/facts/telegram.md 8).
const TYPING: Duration = Duration::from_secs(4);
/// An agent that is silent for this long no longer counts as at work.
const NO_NEWS: Duration = Duration::from_secs(600);
/// A 👀 that comes later than this is of no use.
const LATE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(60);
/// For a moment no agent holds a message that another agent takes over.
const LINGER: Duration = Duration::from_millis(200);
/// How many attempts to take a 👀 away are made before the next start.
const TRIES: u8 = 3;
/// How many messages with an agent's own reaction are kept.
const REACTED_MAX: usize = 1000;

/// A message that an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldMessage {
    /// The chat and topic that it came from.
    pub address: Address,
    /// Telegram's id of it.
    pub message: MessageId,
    /// Its place in the order of arrival.
    pub arrived: EntryName,
}

impl HeldMessage {
    fn message_ref(&self) -> MessageRef {
        MessageRef {
            bot: self.address.bot_id,
            chat: self.address.chat_id,
            message: self.message,
        }
    }
}

/// An agent, by the caller's number for its session and the name of its conversation.
pub type AgentName = (u16, String);

/// The reason why the holds of an agent are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The gateway starts: older messages get no 👀.
    Startup {
        /// Time since the agent's last sign of life.
        silent_for: Duration,
    },
    /// The agent has just changed its holds.
    Activity,
    /// A scan: a sign of life only if the holds have changed.
    Scan,
}

/// A request that only changes what people see of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChatAction {
    /// Put 👀 on a message. The caller records it on disk before.
    PutReceipt(MessageRef),
    /// Take the 👀 away.
    TakeReceipt(MessageRef),
    /// Show "typing…".
    Type(Address),
}

impl ChatAction {
    /// The bot and the chat.
    pub fn place(self) -> (BotId, ChatId) {
        match self {
            Self::PutReceipt(message) | Self::TakeReceipt(message) => (message.bot, message.chat),
            Self::Type(address) => (address.bot_id, address.chat_id),
        }
    }
}

/// The result of a chat action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It is done.
    Done,
    /// It surely had no effect.
    Refused,
    /// It may have had its effect.
    Unknown,
}

/// A 👀 that may stand in the chat.
#[derive(Clone, Copy, Debug, Default)]
struct Receipt {
    /// When it is to be taken away; `None` while an agent holds the message.
    take_at: Option<Duration>,
    under_way: bool,
    tries: u8,
}

#[derive(Clone, Debug)]
struct AgentAttention {
    held: Vec<HeldMessage>,
    active_at: Duration,
    /// When "typing…" is due next; `None` until its next sign of life.
    typing: Option<Duration>,
}

/// The attention of all agents.
#[derive(Clone, Debug)]
pub struct Attention {
    pace: Pace,
    agents: BTreeMap<AgentName, AgentAttention>,
    /// Messages that are to get a 👀, and since when.
    wishes: BTreeMap<MessageRef, Duration>,
    receipts: BTreeMap<MessageRef, Receipt>,
    reacted: VecDeque<MessageRef>,
}

impl Attention {
    /// No agent holds anything; the receipts stand from an earlier time.
    pub fn new(pace: Pace, receipts: impl IntoIterator<Item = MessageRef>) -> Self {
        let free = Receipt {
            take_at: Some(Duration::ZERO),
            ..Receipt::default()
        };
        Self {
            pace,
            agents: BTreeMap::new(),
            wishes: BTreeMap::new(),
            receipts: receipts
                .into_iter()
                .map(|message| (message, free))
                .collect(),
            reacted: VecDeque::new(),
        }
    }

    /// Takes over what an agent holds now.
    pub fn holds(&mut self, agent: AgentName, held: Vec<HeldMessage>, sign: Sign, now: Duration) {
        let before = self.agents.get(&agent);
        let same = before.map_or(held.is_empty(), |before| before.held == held);
        if sign == Sign::Scan && same {
            return;
        }
        let silent_for = match sign {
            Sign::Startup { silent_for } => silent_for,
            Sign::Scan | Sign::Activity => {
                self.wish(&agent, &held, now);
                Duration::ZERO
            }
        };
        if held.is_empty() {
            self.agents.remove(&agent);
        } else {
            let typing = self.agents.get(&agent).and_then(|agent| agent.typing);
            let agent_now = AgentAttention {
                held,
                active_at: now.saturating_sub(silent_for),
                typing: typing.or(Some(now)),
            };
            self.agents.insert(agent, agent_now);
        }
        self.update_held(now);
    }

    /// The newest message of each chat that the agent was just shown is to get a 👀.
    fn wish(&mut self, agent: &AgentName, held: &[HeldMessage], now: Duration) {
        let before = self.agents.get(agent);
        let before = before.into_iter().flat_map(|before| before.held.iter());
        let held_before: BTreeSet<MessageRef> = before.map(HeldMessage::message_ref).collect();
        let mut newest: BTreeMap<Address, &HeldMessage> = BTreeMap::new();
        for one in held {
            let other = newest.entry(one.address).or_insert(one);
            if other.arrived < one.arrived {
                *other = one;
            }
        }
        for message in newest.into_values().map(HeldMessage::message_ref) {
            let mine = held_before.contains(&message);
            if !mine && !self.receipts.contains_key(&message) && !self.reacted.contains(&message) {
                self.wishes.insert(message, now);
            }
        }
    }

    /// The agents that hold something in a session.
    pub fn agents(&self, session: u16) -> Vec<AgentName> {
        let names = self.agents.keys().filter(|name| name.0 == session);
        names.cloned().collect()
    }

    /// The agent has handed in a delivery, so it is at work.
    pub fn agent_spoke(&mut self, agent: &AgentName, now: Duration) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.active_at = now;
            agent.typing.get_or_insert(now);
        }
    }

    /// The agent's own reaction goes on a message. Returns whether the receipts have changed.
    pub fn agent_reacts(&mut self, message: MessageRef) -> bool {
        self.wishes.remove(&message);
        if self.reacted.len() >= REACTED_MAX {
            self.reacted.pop_front();
        }
        self.reacted.push_back(message);
        self.receipts.remove(&message).is_some()
    }

    /// The messages of a bot that may wear 👀.
    pub fn receipts(&self, bot: BotId) -> impl Iterator<Item = MessageRef> {
        self.receipts
            .keys()
            .copied()
            .filter(move |message| message.bot == bot)
    }

    /// The next action. `wait` tells how long a chat has to be left alone, `lives` whether an agent
    /// lives.
    pub fn next(
        &mut self,
        now: Duration,
        mut wait: impl FnMut(BotId, ChatId) -> Option<Duration>,
        lives: impl FnMut(&AgentName) -> bool,
    ) -> Option<ChatAction> {
        for (message, receipt) in &mut self.receipts {
            if receipt.take_at.is_none_or(|free| free > now) || receipt.under_way {
                continue;
            }
            let Some(wait) = wait(message.bot, message.chat) else {
                receipt.under_way = true;
                return Some(ChatAction::TakeReceipt(*message));
            };
            receipt.take_at = Some(now + wait);
        }
        self.wishes.retain(|_, since| *since + LATE > now);
        let mut wishes = self.wishes.keys().copied();
        let ready = wishes.find(|message| wait(message.bot, message.chat).is_none());
        if let Some(message) = ready {
            self.wishes.remove(&message);
            let receipt = Receipt {
                under_way: true,
                ..Receipt::default()
            };
            self.receipts.insert(message, receipt);
            return Some(ChatAction::PutReceipt(message));
        }
        self.next_typing(now, wait, lives)
    }

    fn next_typing(
        &mut self,
        now: Duration,
        mut wait: impl FnMut(BotId, ChatId) -> Option<Duration>,
        mut lives: impl FnMut(&AgentName) -> bool,
    ) -> Option<ChatAction> {
        let (every, silence) = (self.span(TYPING), self.span(NO_NEWS));
        for (name, agent) in &mut self.agents {
            if agent.typing.is_none_or(|due| due > now) {
                continue;
            }
            if now.saturating_sub(agent.active_at) >= silence || !lives(name) {
                agent.typing = None;
                continue;
            }
            agent.typing = Some(now + every);
            // It works on the message that it saw last.
            let latest = agent.held.last();
            if let Some(one) = latest
                && wait(one.address.bot_id, one.address.chat_id).is_none()
            {
                return Some(ChatAction::Type(one.address));
            }
        }
        None
    }

    /// An action has ended. Returns whether the receipts have changed.
    pub fn ended(&mut self, action: ChatAction, result: ActionResult, now: Duration) -> bool {
        match action {
            ChatAction::Type(address) => {
                if result != ActionResult::Done {
                    let later = now + self.span(PAUSE);
                    for agent in self.agents.values_mut() {
                        if agent.held.iter().any(|one| one.address == address) {
                            agent.typing = agent.typing.map(|due| due.max(later));
                        }
                    }
                }
                false
            }
            ChatAction::PutReceipt(message) => {
                if result == ActionResult::Refused {
                    return self.receipts.remove(&message).is_some();
                }
                if let Some(receipt) = self.receipts.get_mut(&message) {
                    receipt.under_way = false;
                }
                false
            }
            ChatAction::TakeReceipt(message) => {
                if result != ActionResult::Unknown {
                    return self.receipts.remove(&message).is_some();
                }
                let later = now + self.span(PAUSE);
                if let Some(receipt) = self.receipts.get_mut(&message) {
                    receipt.under_way = false;
                    receipt.tries += 1;
                    receipt.take_at = Some(later).filter(|_| receipt.tries < TRIES);
                }
                false
            }
        }
    }

    /// An action that was not made, because it could not be recorded.
    pub fn cancelled(&mut self, action: ChatAction) {
        if let ChatAction::PutReceipt(message) = action {
            self.receipts.remove(&message);
        }
    }

    /// When [`Self::next`] may return an action that it does not return now.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let typing = self.agents.values().filter_map(|agent| agent.typing);
        let receipt = self.receipts.values().filter(|receipt| !receipt.under_way);
        // A chat that was busy is tried again soon, and not for long.
        let wish = (!self.wishes.is_empty()).then(|| now + LINGER);
        typing
            .chain(receipt.filter_map(|receipt| receipt.take_at))
            .chain(wish)
            .min()
    }

    fn update_held(&mut self, now: Duration) {
        let held: BTreeSet<MessageRef> = self
            .agents
            .values()
            .flat_map(|agent| agent.held.iter().map(HeldMessage::message_ref))
            .collect();
        self.wishes.retain(|message, _| held.contains(message));
        for (message, receipt) in &mut self.receipts {
            if held.contains(message) {
                receipt.take_at = None;
                receipt.tries = 0;
            } else if receipt.take_at.is_none() && receipt.tries < TRIES {
                receipt.take_at = Some(now + LINGER);
            }
        }
    }

    fn span(&self, span: Duration) -> Duration {
        shortened(span, self.pace)
    }
}

#[cfg(test)]
mod tests;
