//! A state folder that an earlier version has left is taken over as it is: `tests/data/state-0.1.0`.
//!
//! `compat/making.rs` lets a program leave such a folder, and says what is in it. The stored one is the work of
//! that release; a second test lets today's program do the same, so that the recipe stays alive.

mod making;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use telepost::clock::Clock;

use crate::support::{
    Agent, GROUP, Gateway, House, OWNER, SUPERGROUP, again, ids, names_in, texts, wait_for,
};
use making::{BUSY, Left};

/// Updates that Telegram gives from now on have this id or a later one.
const NEXT: i64 = 300_900_000;

/// A house with the state that another has left, a minute later.
struct Heir {
    house: House,
    left: Left,
    /// From the clock of this machine to that of the house.
    shift: i64,
}

impl Heir {
    fn of(left: Left) -> Self {
        // There is no tmux session, and none comes.
        let (mut house, _terminal) = making::house();
        let shift = left.at + 60_000 - Clock::system().now().0;
        let clock = ("TELEPOST_TEST_CLOCK_MS".to_owned(), shift.to_string());
        house.env.push(clock);
        left.give_to(&house);
        Self::tells_telegram_of_the_past(&house);
        Self { house, left, shift }
    }

    /// The messages of before are there to be replied to, the group has moved, and what was stored comes
    /// once more, as if Telegram had not heard that it was.
    fn tells_telegram_of_the_past(house: &House) {
        let (one, two) = (house.bots[0], house.bots[1]);
        for bot in [one, two] {
            house.sim.set_allowed_updates(bot, &["callback_query"]);
        }
        for _ in 0..40 {
            for (bot, chat) in [(one, OWNER), (one, GROUP), (two, OWNER)] {
                house.sim.say(bot, chat, OWNER, "of before");
            }
            house.sim.say(one, BUSY, BUSY, "of before");
        }
        house.sim.migrate(GROUP, SUPERGROUP);
        let mut stored = Vec::new();
        for folder in ["inbox", "done"] {
            for name in house.names(folder) {
                let file = fs::read(house.session(folder).join(name)).unwrap();
                let entry: Value = serde_json::from_slice(&file).unwrap();
                stored.push((
                    entry["update_id"].as_i64().unwrap(),
                    entry["update"].clone(),
                ));
            }
        }
        stored.sort_by_key(|(id, _)| *id);
        for (id, update) in stored {
            house.sim.restart_ids(one, id);
            house.sim.raw_text(one, &update.to_string());
        }
        house.sim.restart_ids(one, NEXT);
    }

    /// A gateway so many milliseconds later.
    fn gateway_after(&self, more: i64) -> Gateway {
        let clock = (self.shift + more).to_string();
        let clock = [("TELEPOST_TEST_CLOCK_MS", clock.as_str())];
        let gateway = self.house.gateway_with(&clock);
        gateway.wait_until_polling(&self.house);
        gateway
    }

    fn said(&self, chat: i64) -> Vec<String> {
        self.house.sim.bot_texts(self.house.bot(), chat)
    }

    /// How many requests of the first bot would put a message into a chat.
    fn sends(&self, chat: i64) -> usize {
        let calls = self.house.effects().into_iter();
        calls
            .filter(|call| call.chat_id == Some(chat) && call.method != "sendChatAction")
            .filter(|call| call.method.starts_with("send"))
            .count()
    }

    fn nothing_is_quarantined(&self) {
        let quarantined = names_in(&self.house.state().join("quarantine"));
        assert_eq!(quarantined, [""; 0]);
    }
}

/// The gateway sends each queued delivery once, from where it broke off, and none that was sent, dropped or failed.
fn the_queue_goes_on(heir: &Heir) {
    let doubted = format!("↻ may repeat\n{}", making::SECOND_PART);
    heir.house.wait_to_hear(&[&doubted, making::WITH_REPORT]);
    let file = heir.house.sent().pop().unwrap();
    assert_eq!(file.extra["document"]["file_name"], "report.txt");
    assert_eq!(heir.house.content(&file), making::REPORT);
    wait_for("only the delivery to the busy chat to be left", || {
        let left = heir.house.names("outbox");
        let records = left.iter().filter(|name| !name.contains(".progress"));
        if records.count() == 1 {
            Ok(())
        } else {
            Err(left)
        }
    });
    assert_eq!(heir.house.names("drops"), [""; 0]);
}

/// The next agent is offered held and pending messages alike, and its answers settle them.
fn the_next_agent_answers(heir: &Heir, agent: &mut Agent) {
    let mut offered = BTreeMap::new();
    while offered.len() < 5 {
        let page = agent.wait_for_message();
        let texts = texts(&page).into_iter().map(str::to_owned);
        for (id, row) in ids(&page).into_iter().zip(texts.zip(again(&page))) {
            offered.entry(id).or_insert(row);
        }
    }
    let brief: Vec<_> = offered
        .values()
        .map(|(text, again)| (text.as_str(), *again))
        .collect();
    let expected = [
        (making::BEFORE_THE_MOVE, true),
        (making::HELD_BY_BETA, true),
        (making::HELD_BY_ALPHA, true),
        (making::WITH_PLAN, false),
        (making::PENDING, false),
    ];
    assert_eq!(brief, expected);
    a_fetched_file_is_there(heir, agent);
    let ids: Vec<i64> = offered.into_keys().collect();
    for (text, answers) in [("to the group", &ids[..1]), ("to the person", &ids[1..])] {
        let answer = agent.reply(json!({"text": text, "to": answers[0]}));
        assert_eq!(answer["status"], "delivered", "{answer}");
        let acked = answer["acked"].as_array().unwrap().iter();
        let acked: BTreeSet<_> = acked.filter_map(Value::as_i64).collect();
        assert_eq!(acked, answers.iter().copied().collect(), "{answer}");
    }
    assert_eq!(heir.house.names("inbox"), [""; 0]);
    assert_eq!(heir.said(SUPERGROUP), ["to the group"]);
    assert_eq!(heir.sends(GROUP), 0, "that the group has moved was known");
    assert_eq!(heir.said(OWNER)[2..], ["to the person"]);
}

/// The file that came with a message is where the agent is told that it is.
fn a_fetched_file_is_there(heir: &Heir, agent: &mut Agent) {
    let id: i64 = heir.house.names("files")[0].parse().unwrap();
    let shown = agent.poll(json!({"message": id}));
    let file = &shown["messages"][0]["attachments"][0];
    crate::attachments::is_there(file, making::PLAN);
}

/// A call that was answered before is recognised, and answered in the same way.
fn a_call_made_again_sends_nothing(heir: &Heir, agent: &mut Agent) {
    let before = heir.sends(OWNER);
    let answer = making::settle(agent);
    for key in ["status", "delivery_id", "message_ids"] {
        assert_eq!(answer[key], heir.left.settled[key], "{answer}");
    }
    assert_eq!(heir.sends(OWNER), before);
}

/// The chat that was closed for an hour is left alone in this hour, over a kill, and then gets its one answer.
fn the_closed_chat_opens_in_time(heir: &Heir, gateway: Gateway) {
    assert_eq!(heir.sends(BUSY), 0);
    gateway.kill();
    let gateway = heir.gateway_after(2 * 3_600_000);
    wait_for("the answer to the busy chat", || {
        let said = heir.said(BUSY);
        if said == [making::TO_THE_BUSY] {
            Ok(())
        } else {
            Err(said)
        }
    });
    heir.house.wait_until_the_outbox_is_empty();
    assert!(gateway.stop().success());
}

/// The person who knows that no agent runs gets one more notice: that an agent runs again.
fn somebody_is_there_again(heir: &Heir) {
    let said = || heir.house.sim.bot_texts(heir.house.bots[1], OWNER);
    assert_eq!(said(), [""; 0]);
    let _agent = heir.house.agent_of("TWO");
    wait_for("the notice that somebody is there", || {
        if said().len() == 1 {
            Ok(())
        } else {
            Err(said())
        }
    });
    let down = heir.house.state().join("sessions/TWO/down.json");
    wait_for("the end of the downtime", || {
        if down.exists() { Err(()) } else { Ok(()) }
    });
}

fn take_over(left: Left) {
    let heir = Heir::of(left);
    let house = &heir.house;
    assert_eq!(house.status()["dead_letters"], 1);
    assert_eq!(house.names("inbox").len(), 5);

    let gateway = house.gateway();
    the_queue_goes_on(&heir);
    let mut agent = house.agent_in("gamma");
    the_next_agent_answers(&heir, &mut agent);
    a_call_made_again_sends_nothing(&heir, &mut agent);
    somebody_is_there_again(&heir);
    the_closed_chat_opens_in_time(&heir, gateway);
    heir.nothing_is_quarantined();
}

#[test]
fn what_version_0_1_0_has_left_is_taken_over() {
    take_over(Left::stored("0.1.0"));
}

#[test]
fn what_this_program_leaves_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    match std::env::var_os("TELEPOST_BIN") {
        Some(program) => Left::by(program.as_ref(), folder.path()).keep(),
        None => take_over(Left::by(&crate::support::program(), folder.path())),
    }
}

#[test]
fn an_agent_without_a_gateway_finds_home_in_what_the_last_gateway_has_left() {
    let heir = Heir::of(Left::stored("0.1.0"));
    let mut agent = heir.house.agent();
    let answer = agent.reply(json!({"text": "at home", "to": "home"}));
    assert_eq!(answer["status"], "accepted", "{answer}");
    heir.nothing_is_quarantined();
}
