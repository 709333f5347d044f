//! Two hundred random steps of one agent, compared with a model that is too simple to be wrong.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Agent, Answer, GROUP, House, OWNER, again, ids};

/// Most messages on a page of `telegram_reply`.
const REPLY_PAGE: usize = 20;

/// The result of a call, as far as the model predicts it.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Result {
        shown: Vec<(i64, bool)>,
        acked: Vec<i64>,
        not_acked: Vec<i64>,
        remaining: usize,
    },
}

#[derive(Default)]
struct Model {
    /// Update and chat, in the order of arrival.
    pending: Vec<(i64, i64)>,
    /// The same in the order of showing.
    held: Vec<(i64, i64)>,
    /// Messages that an earlier server of the same agent showed: they must be shown again before they may be
    /// answered.
    shown_before: Vec<(i64, i64)>,
    settled: Vec<(i64, i64)>,
    answering: Option<i64>,
    /// The bot's messages, by chat.
    said: BTreeMap<i64, Vec<String>>,
}

impl Model {
    fn settle(&mut self, ids: &[i64]) {
        let is_settled = |(id, _): &(i64, i64)| ids.contains(id);
        self.settled
            .extend(self.pending.iter().copied().filter(is_settled));
        self.pending.retain(|message| !is_settled(message));
        self.held.retain(|message| !is_settled(message));
        let held = &self.held;
        self.answering = self
            .answering
            .filter(|answering| held.iter().any(|(_, chat)| chat == answering));
    }

    fn held_at(&self, chat: i64) -> Vec<i64> {
        let held = self.held.iter().filter(|(_, at)| *at == chat);
        held.map(|(id, _)| *id).collect()
    }

    fn show(
        &mut self,
        page: Vec<((i64, i64), bool)>,
        acked: Vec<i64>,
        not_acked: Vec<i64>,
    ) -> Outcome {
        let mut shown: Vec<(i64, bool)> =
            page.iter().map(|((id, _), again)| (*id, *again)).collect();
        shown.sort_unstable();
        for (message, _) in &page {
            if !self.held.contains(message) {
                self.held.push(*message);
            }
        }
        let remaining = self.pending.len() - shown.len();
        Outcome::Result {
            shown,
            acked,
            not_acked,
            remaining,
        }
    }

    /// Messages in the order of arrival: the unseen ones, or those that are held.
    fn waiting(&self, held: bool) -> Vec<((i64, i64), bool)> {
        let pending = self.pending.iter().copied();
        pending
            .filter(|message| self.held.contains(message) == held)
            .map(|message| (message, held || self.shown_before.contains(&message)))
            .collect()
    }

    fn poll(&mut self, limit: usize, ack: &[i64]) -> Outcome {
        let (acked, not_acked): (Vec<i64>, Vec<i64>) = ack
            .iter()
            .partition(|id| self.held.iter().any(|(held, _)| held == *id));
        self.settle(&acked);
        let mut page = self.waiting(false);
        if page.is_empty() {
            page = self.waiting(true);
        }
        page.truncate(limit);
        self.show(page, acked, not_acked)
    }

    fn show_conversation(&mut self, to: Option<i64>) -> Outcome {
        let chat = to.map_or_else(
            || self.pending.first().map(|(_, chat)| *chat),
            |id| self.chat_of(id),
        );
        let mut page = self.waiting(false);
        page.extend(self.waiting(true));
        page.retain(|((_, at), _)| Some(*at) == chat);
        page.truncate(REPLY_PAGE);
        // Naming a conversation of which nothing waits forgets the one before.
        self.answering = chat.filter(|_| !page.is_empty());
        self.show(page, Vec::new(), Vec::new())
    }

    fn chat_of(&self, id: i64) -> Option<i64> {
        let mut all = self.pending.iter().chain(&self.settled);
        all.find(|(other, _)| *other == id).map(|(_, chat)| *chat)
    }

    /// `to`: nothing, an update, or 0 for home.
    fn reply(&mut self, text: &str, to: Option<i64>) -> Outcome {
        let mut chats: Vec<i64> = self.held.iter().map(|(_, chat)| *chat).collect();
        chats.sort_unstable();
        chats.dedup();
        let (chat, acked) = match to {
            Some(0) => (Some(OWNER), Vec::new()),
            Some(id) => {
                let chat = self.chat_of(id);
                let acked = chat.map(|chat| self.held_at(chat)).unwrap_or_default();
                let unseen = self.pending.iter().any(|(other, _)| *other == id);
                (chat.filter(|_| !acked.is_empty() || !unseen), acked)
            }
            None => {
                let only = (chats.len() == 1).then(|| chats[0]);
                let chat = self.answering.or(only);
                (
                    chat,
                    chat.map(|chat| self.held_at(chat)).unwrap_or_default(),
                )
            }
        };
        let Some(chat) = chat else {
            return Outcome::Refused;
        };
        // An earlier server showed a message of this chat: whether that result arrived is not known.
        let is_unclear = |message: &(i64, i64)| {
            message.1 == chat && self.pending.contains(message) && !self.held.contains(message)
        };
        if to != Some(0) && self.shown_before.iter().any(is_unclear) {
            return Outcome::Refused;
        }
        self.settle(&acked);
        self.said.entry(chat).or_default().push(text.to_owned());
        Outcome::Result {
            shown: Vec::new(),
            acked,
            not_acked: Vec::new(),
            remaining: self.pending.len(),
        }
    }
}

fn outcome(answer: Answer) -> Outcome {
    let Answer::Ok(result) = answer else {
        return Outcome::Refused;
    };
    let list =
        |key: &str| -> Vec<i64> { serde_json::from_value(result[key].clone()).unwrap_or_default() };
    Outcome::Result {
        shown: ids(&result).into_iter().zip(again(&result)).collect(),
        acked: list("acked"),
        not_acked: list("not_acked"),
        remaining: serde_json::from_value(result["remaining"].clone()).unwrap(),
    }
}

/// Some update that was ever sent, or one that never was.
fn any_update(random: &mut fastrand::Rng, model: &Model) -> i64 {
    let all: Vec<i64> = model
        .pending
        .iter()
        .chain(&model.settled)
        .map(|(id, _)| *id)
        .collect();
    random.choice(all).unwrap_or(77)
}

/// Does one step; what a call gave, and what the model says.
fn step(
    random: &mut fastrand::Rng,
    number: usize,
    house: &House,
    agent: &mut Agent,
    model: &mut Model,
) -> (String, Option<(Outcome, Outcome)>) {
    let text = format!("text {number}");
    let (tool, arguments, expected) = match random.u8(0..11) {
        0..3 => {
            let chat = if random.bool() { OWNER } else { GROUP };
            model.pending.push((house.arrive_in(chat, &text), chat));
            return (format!("{number}: a message in {chat}"), None);
        }
        3..5 => {
            let limit = random.usize(1..6);
            (
                "telegram_poll",
                json!({"limit": limit}),
                model.poll(limit, &[]),
            )
        }
        5 => {
            let mut ack = vec![any_update(random, model), any_update(random, model)];
            ack.dedup();
            ("telegram_poll", json!({"ack": ack}), model.poll(20, &ack))
        }
        6 => ("telegram_reply", json!({}), model.show_conversation(None)),
        7 => {
            let to = any_update(random, model);
            let expected = match model.chat_of(to) {
                Some(_) => model.show_conversation(Some(to)),
                None => Outcome::Refused,
            };
            ("telegram_reply", json!({"to": to}), expected)
        }
        8 => (
            "telegram_reply",
            json!({"text": text}),
            model.reply(&text, None),
        ),
        9 => {
            let (to, value) = if random.bool() {
                (0, json!("home"))
            } else {
                let to = any_update(random, model);
                (to, json!(to))
            };
            (
                "telegram_reply",
                json!({"text": text, "to": value}),
                model.reply(&text, Some(to)),
            )
        }
        _ => {
            *agent = house.agent();
            model.shown_before.append(&mut model.held);
            model.answering = None;
            return (format!("{number}: a new server"), None);
        }
    };
    let line = format!("{number}: {tool} {arguments}");
    (line, Some((outcome(agent.call(tool, arguments)), expected)))
}

fn two_hundred_steps(seed: u64) {
    let house = House::with_group();
    house.sim.open_chat(house.bot(), OWNER);
    let _gateway = house.gateway();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut agent = house.agent();
    let mut model = Model::default();
    let mut log = Vec::new();
    for number in 0..200 {
        let (line, outcomes) = step(&mut random, number, &house, &mut agent, &mut model);
        log.push(line);
        if let Some((given, expected)) = outcomes {
            let log = log.join("\n");
            assert_eq!(given, expected, "seed {seed}:\n{log}");
        }
    }
    house.wait_until_sent();
    for chat in [OWNER, GROUP] {
        let heard = house.sim.bot_texts(house.bot(), chat);
        assert_eq!(
            heard,
            model.said.remove(&chat).unwrap_or_default(),
            "chat {chat}, seed {seed}"
        );
    }
    assert_eq!(house.names("inbox").len(), model.pending.len());
}

#[test]
fn two_hundred_random_steps_are_as_the_model_says_with_seed_1() {
    two_hundred_steps(1);
}

#[test]
fn two_hundred_random_steps_are_as_the_model_says_with_seed_2() {
    two_hundred_steps(2);
}

#[test]
fn two_hundred_random_steps_are_as_the_model_says_with_seed_3() {
    two_hundred_steps(3);
}
