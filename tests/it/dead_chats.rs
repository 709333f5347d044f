//! A chat that cannot be written to, as a refused answer tells, is left alone; what waits for it is kept, and goes out when that
//! is over.

use std::fs;

use serde_json::{Value, json};
use telegram_sim::Standing;

use crate::support::{GROUP, House, OWNER, wait_for};

#[test]
fn a_person_who_blocked_the_bot_gets_what_waits_when_they_come_back_and_nothing_is_tried_before() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("bye");
    house
        .sim
        .set_standing(house.bot(), OWNER, Standing::Blocked);
    let kept = agent.reply(json!({"text": "wait"}));
    assert_eq!(
        (kept["status"].as_str(), kept["reason"].as_str()),
        (
            Some("accepted"),
            Some("Telegram answered 403: Forbidden: bot was blocked by the user")
        )
    );
    assert!(kept["held_until"].is_string(), "{kept}");
    let notice = kept["notices"][0].as_str().unwrap();
    assert!(notice.contains("is kept"), "{notice}");
    let session = &house.status()["sessions"][0];
    assert_eq!(session["reason"], kept["reason"]);
    assert_eq!(
        [&session["failed"], &session["outbox"]].map(Value::as_i64),
        [Some(0), Some(1)]
    );
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains("(blocked)"), "{text}");
    assert!(
        text.contains("ONE: Telegram accepts no messages for one of its chats"),
        "{text}"
    );

    // Also for the next gateway: it does not knock again.
    gateway.kill();
    let _gateway = house.gateway();
    agent.reply(json!({"text": "more", "to": "home"}));
    assert_eq!(house.sim.call_count(house.bot(), "sendMessage"), 1);

    house.sim.unblock(house.bot(), OWNER);
    house.wait_to_hear(&["wait", "more"]);
    house.say("sorry");
    agent.wait_for_message();
    let answer = agent.reply(json!({"text": "welcome back"}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(house.status()["sessions"][0]["reason"], Value::Null);
}

#[test]
fn a_home_chat_that_never_wrote_to_the_bot_keeps_the_message_and_says_why() {
    let house = House::new();
    let _gateway = house.gateway();
    let kept = house.agent().reply(json!({"text": "hello", "to": "home"}));
    assert_eq!(
        (kept["status"].as_str(), kept["reason"].as_str()),
        (
            Some("accepted"),
            Some("Telegram answered 400: Bad Request: chat not found")
        )
    );
    house.say("here I am");
    house.wait_to_hear(&["hello"]);
}

#[test]
fn a_group_that_takes_the_bot_back_gets_what_waits_although_nobody_writes() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive_in(GROUP, "bye");
    let mut agent = house.agent();
    agent.wait_for_message();
    let bot = house.bot();
    house.sim.set_standing(bot, GROUP, Standing::Blocked);
    let kept = agent.reply(json!({"text": "wait"}));
    assert!(
        kept["reason"].as_str().unwrap().contains("kicked"),
        "{kept}"
    );
    house.sim.unblock(bot, GROUP);
    wait_for("the answer", || {
        let heard = house.sim.bot_texts(bot, GROUP);
        if heard == ["wait"] {
            Ok(())
        } else {
            Err(heard)
        }
    });
}

#[test]
fn a_parked_chat_holds_up_no_other_chat() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let bot = house.bot();
    let mut agent = house.agent_asked("here");
    house.sim.set_standing(bot, GROUP, Standing::Member);
    house.arrive_in(GROUP, "there");
    agent.wait_for_message();
    let there = house.sim.confirmed(bot).last().copied().unwrap();
    house.sim.set_standing(bot, GROUP, Standing::Muted);
    let kept = agent.reply(json!({"text": "to the group", "to": there}));
    let reason = kept["reason"].as_str().unwrap();
    assert!(reason.contains("not enough rights to send"), "{kept}");
    let answer = agent.reply(json!({"text": "to the person"}));
    assert_eq!(answer["status"], "delivered");
}

#[test]
fn a_reaction_in_a_chat_that_cannot_be_written_to_is_given_up() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("bye");
    house
        .sim
        .set_standing(house.bot(), OWNER, Standing::Blocked);
    let reaction = agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    assert_eq!(reaction["status"], "failed");
    let record: Value =
        serde_json::from_slice(&fs::read(house.only_file("failed")).unwrap()).unwrap();
    assert_eq!(record["delivery"]["content"]["emoji"], "👍");
}
