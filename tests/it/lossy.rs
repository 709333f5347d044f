//! A network that loses answers and connections, outages and kills, all at once: every reply arrives,
//! in order, and what stands twice is marked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use telegram_sim::{Fault, Outcome};

use crate::support::worker::Keeper;
use crate::support::{Agent, House, OWNER};

const MARK: &str = "↻ may repeat\n";

struct Trial {
    replies: usize,
    kills: usize,
    outage: Duration,
    limit: Duration,
}

impl Trial {
    fn run(&self) {
        let house = House::new();
        let bot = house.bot();
        house.sim.open_chat(bot, OWNER);
        assert!(house.gateway().stop().success());
        // The half of it waits already.
        let mut agent = house.agent();
        for number in 0..self.replies / 2 {
            accept(&mut agent, number);
        }
        // Of ten requests the fifth never arrives, and the answer to the tenth is lost. A fault does
        // not count the requests that struck others before it.
        for count in 0..u32::try_from(self.replies).unwrap() {
            let send = Fault::on(bot).method("sendMessage").after(4 * count + 4);
            house.sim.fault(if count % 2 == 0 {
                send.closed_before()
            } else {
                send.answer_lost()
            });
        }
        let keeper = Keeper::new(&house, Vec::new());
        keeper.ensure();
        let over = AtomicBool::new(false);
        let began = Instant::now();
        let struck = std::thread::scope(|scope| {
            let (house, keeper, over) = (&house, &keeper, &over);
            scope.spawn(|| keeper.keep(over));
            let killer = scope.spawn(move || self.strike(house, keeper, over));
            let end = crate::support::day::OnDrop(over);
            for number in self.replies / 2..self.replies {
                accept(&mut agent, number);
            }
            let done = || house.names("outbox").is_empty() && killer.is_finished();
            while !done() {
                assert!(
                    began.elapsed() < self.limit,
                    "{} left",
                    house.names("outbox").len()
                );
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(end);
            killer.join().unwrap()
        });
        let figures = self.check(&house);
        println!(
            "{} replies, {struck} kills, an outage of {:?}: {figures} in {:.1?}",
            self.replies,
            self.outage,
            began.elapsed()
        );
    }

    /// Kills the gateway while it has work, and takes the network away once in the middle.
    fn strike(&self, house: &House, keeper: &Keeper<'_>, over: &AtomicBool) -> usize {
        let mut struck = 0;
        let mut outage = false;
        while struck < self.kills && !over.load(Ordering::SeqCst) {
            let sent = house.sim.call_count(house.bot(), "sendMessage");
            let pause = Duration::from_millis(300 + u64::try_from(struck * 37 % 211).unwrap());
            // Until something was sent since the last kill, and a little longer.
            let went_on = house.sim.wait_for(
                |view| view.call_count(house.bot(), "sendMessage") > sent + 3,
                pause * 8,
            );
            drop(went_on);
            if !outage && struck * 2 >= self.kills {
                outage = true;
                house.sim.pause().unwrap();
                std::thread::sleep(self.outage);
                house.sim.resume().unwrap();
            }
            keeper.kill();
            struck += 1;
        }
        struck
    }

    /// Nothing is missing, the order is kept, and whatever stands twice is one of those whose answer
    /// was not heard, and is marked.
    fn check(&self, house: &House) -> String {
        let heard = house.heard();
        let mut first_seen = Vec::new();
        let mut copies: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for text in &heard {
            let (bare, marked) = match text.strip_prefix(MARK) {
                Some(bare) => (bare, true),
                None => (text.as_str(), false),
            };
            if !copies.contains_key(bare) {
                first_seen.push(bare.to_owned());
            }
            let count = copies.entry(bare.to_owned()).or_default();
            if marked {
                count.1 += 1;
            } else {
                count.0 += 1;
            }
        }
        let expected: Vec<String> = (0..self.replies).map(text).collect();
        assert_eq!(first_seen, expected, "lost or out of order");
        let unheard: Vec<String> = house
            .sim
            .calls_of(house.bot(), "sendMessage")
            .iter()
            .filter(|call| !matches!(call.outcome, Outcome::Ok | Outcome::Error { .. }))
            .map(|call| call.text("text").replace(MARK, ""))
            .collect();
        let (mut twice, mut marked, mut by_a_kill) = (0, 0, 0);
        for (text, (unmarked, repeats)) in &copies {
            assert!(*unmarked <= 1, "{text} stands {unmarked} times unmarked");
            marked += repeats;
            if unmarked + repeats > 1 {
                twice += 1;
                by_a_kill += usize::from(!unheard.contains(text));
            }
        }
        // Answered, and the gateway was killed before it could record that.
        assert!(
            by_a_kill <= self.kills,
            "{by_a_kill} doubles, {} kills",
            self.kills
        );
        let doubted = unheard.len();
        format!(
            "0 lost, {twice} stand more than once ({by_a_kill} by a kill alone), {marked} marked, {doubted} requests without an answer"
        )
    }
}

fn text(number: usize) -> String {
    format!("reply {number:04}")
}

fn accept(agent: &mut Agent, number: usize) {
    // Progress of a turn of its own would be overtaken; a report to the home chat is a reply.
    let answer = agent.call(
        "telegram_reply",
        json!({"text": text(number), "to": "home"}),
    );
    drop(answer.ok());
}

#[test]
fn a_hundred_replies_over_a_bad_network_and_eight_kills_arrive_in_order() {
    Trial {
        replies: 100,
        kills: 8,
        outage: Duration::from_secs(1),
        limit: Duration::from_secs(90),
    }
    .run();
}

#[test]
#[ignore = "minutes; run by TELEPOST_SOAK=1"]
fn a_thousand_replies_over_a_bad_network_an_outage_and_fifty_kills_arrive_in_order() {
    Trial {
        replies: 1000,
        kills: 50,
        outage: Duration::from_secs(30),
        limit: Duration::from_secs(1500),
    }
    .run();
}
