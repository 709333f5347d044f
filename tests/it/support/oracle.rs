//! Everything that was seen from outside, and whether the promise was kept.
//!
//! Everything the person sent was shown to an agent until it was settled; everything settled was
//! answered or acknowledged by an agent that was shown it; every accepted reply stands in the chat
//! once, or more often with all but one marked; in order per chat; and nothing else stands there.

use std::collections::{BTreeMap, BTreeSet};

use telegram_sim::Sim;

const MARK: &str = "↻ may repeat";

/// One chat as one bot sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) bot: i64,
    pub(crate) chat: i64,
}

/// A reply that an agent has tried to send.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) place: Place,
    pub(crate) text: String,
    /// The messages that it says it answers.
    pub(crate) answers: Vec<String>,
    pub(crate) agent: String,
    /// Whether the agent was told that it is accepted.
    pub(crate) committed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) said: BTreeMap<String, Place>,
    pub(crate) shown: BTreeMap<String, BTreeSet<String>>,
    /// In the order in which each agent made them.
    pub(crate) attempts: Vec<Attempt>,
    /// Acknowledgements that were asked for, whether or not the answer was heard.
    pub(crate) acked: BTreeMap<String, BTreeSet<String>>,
    pub(crate) progress: BTreeSet<String>,
}

/// Most characters of one message of the Bot API.
const MESSAGE_MOST: usize = 4096;

impl Ledger {
    /// Checks the promise against what stands in the chats.
    pub(crate) fn check(&self, sim: &Sim) {
        let mut faults = Vec::new();
        let mut answered: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let places: BTreeSet<Place> = self.said.values().copied().collect();
        for place in places {
            self.check_place(sim, place, &mut answered, &mut faults);
        }
        for (said, place) in &self.said {
            let empty = BTreeSet::new();
            let by_reply = answered.get(said.as_str()).unwrap_or(&empty);
            let by_ack = self.acked.get(said);
            if by_reply.len() > 1 {
                faults.push(format!(
                    "{said} in {place:?} was answered {} times: {by_reply:?}",
                    by_reply.len()
                ));
            }
            if by_reply.is_empty() && by_ack.is_none() {
                faults.push(format!(
                    "{said} in {place:?} was lost: neither answered nor acknowledged"
                ));
            }
            if by_reply.len() == 1 && by_ack.is_some_and(|agents| agents.len() > 1) {
                faults.push(format!(
                    "{said} was acknowledged by {by_ack:?} and answered"
                ));
            }
        }
        assert!(
            faults.is_empty(),
            "the promise was broken:\n{}",
            faults.join("\n")
        );
    }

    fn check_place<'a>(
        &'a self,
        sim: &Sim,
        place: Place,
        answered: &mut BTreeMap<&'a str, BTreeSet<&'a str>>,
        faults: &mut Vec<String>,
    ) {
        // Every line of every reply is unique, so that a reply in several messages can be followed.
        let attempts: Vec<&Attempt> = self
            .attempts
            .iter()
            .filter(|attempt| attempt.place == place)
            .collect();
        let mut known: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (index, attempt) in attempts.iter().enumerate() {
            for (line, text) in attempt.text.lines().enumerate() {
                known.insert(text, (index, line));
            }
        }
        let mut unmarked: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut first_seen: Vec<(usize, usize)> = Vec::new();
        for message in sim
            .transcript(place.bot, place.chat)
            .into_iter()
            .filter(|line| line.from_bot)
        {
            if self.progress.contains(&message.text) {
                continue;
            }
            let marked = message.text.lines().next() == Some(MARK);
            for text in message.text.lines().skip(usize::from(marked)) {
                let Some(&position) = known.get(text) else {
                    faults.push(format!("nobody wrote {text:?} in {place:?}"));
                    continue;
                };
                if !marked {
                    *unmarked.entry(position).or_default() += 1;
                }
                if !first_seen.contains(&position) {
                    first_seen.push(position);
                }
            }
        }
        for (position, copies) in &unmarked {
            if *copies > 1 {
                faults.push(format!(
                    "{:?} stands {copies} times unmarked in {place:?}",
                    attempts[position.0].text
                ));
            }
        }
        // An answer of one message may go before the rest of a long one; nothing else passes anything.
        let is_short = |index: usize| attempts[index].text.chars().count() <= MESSAGE_MOST;
        let (mut newest, mut newest_long) = ((0, 0), (0, 0));
        for &seen in &first_seen {
            let is_long = !is_short(seen.0);
            let passed = if is_long { newest_long } else { newest };
            if seen < passed {
                faults.push(format!("{seen:?} came after {passed:?} in {place:?}"));
            }
            if is_long {
                newest_long = newest_long.max(seen);
            }
            newest = newest.max(seen);
        }
        for (index, attempt) in attempts.iter().enumerate() {
            let lines = attempt.text.lines().count();
            let there = first_seen.iter().filter(|(seen, _)| *seen == index).count();
            if attempt.committed && there < lines {
                faults.push(format!(
                    "{:?} was accepted, but {there} of {lines} lines stand in {place:?}",
                    attempt.text
                ));
            }
            if there == 0 {
                continue;
            }
            for said in &attempt.answers {
                answered.entry(said).or_default().insert(&attempt.text);
                if !self
                    .shown
                    .get(said)
                    .is_some_and(|agents| agents.contains(&attempt.agent))
                {
                    faults.push(format!(
                        "{} answered {said}, which it was never shown",
                        attempt.agent
                    ));
                }
            }
        }
    }
}
