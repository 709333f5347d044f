//! Progress: one silent message per turn that later progress edits; the final reply is new and rings.

use std::time::{Duration, Instant};

use serde_json::json;
use telegram_sim::{Fault, Line};

use crate::support::{Agent, House, OWNER, PATIENCE, wait_for};

fn progress(agent: &mut Agent, text: &str) {
    let result = agent.reply(json!({"text": text, "keep_open": true}));
    assert_eq!(
        result["acked"],
        json!(null),
        "progress acknowledges nothing"
    );
}

/// (text, earlier texts, silent) of what the bot wrote.
fn written(house: &House) -> Vec<(String, Vec<String>, bool)> {
    let lines = house.sim.transcript(house.bot(), OWNER).into_iter();
    lines
        .filter(|line| line.from_bot)
        .map(|line: Line| (line.text, line.earlier_texts, line.silent))
        .collect()
}

fn wait_until_written(house: &House, text: &str) {
    let found = house.sim.wait_for(
        |view| {
            let texts = view.bot_texts(house.bot(), OWNER);
            texts.iter().any(|written| written == text)
        },
        PATIENCE,
    );
    found.unwrap();
}

fn line(text: &str, earlier: &[&str], silent: bool) -> (String, Vec<String>, bool) {
    let earlier = earlier.iter().map(|text| (*text).to_owned()).collect();
    (text.to_owned(), earlier, silent)
}

#[test]
fn later_progress_edits_the_first_and_the_final_reply_is_new_and_rings() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    for text in ["compiling", "testing", "packing"] {
        progress(&mut agent, text);
        wait_until_written(&house, text);
    }
    let answer = agent.reply(json!({"text": "done"}));
    assert_eq!(answer["acked"].as_array().unwrap().len(), 1);
    assert_eq!(
        written(&house),
        [
            line("packing", &["compiling", "testing"], true),
            line("done", &[], false)
        ]
    );
}

#[test]
fn progress_that_could_not_go_out_is_coalesced_to_the_newest() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    assert!(gateway.stop().success());
    for number in 1..=5 {
        progress(&mut agent, &format!("step {number}"));
    }
    let _gateway = house.gateway();
    wait_until_written(&house, "step 5");
    assert_eq!(written(&house), [line("step 5", &[], true)]);
}

#[test]
fn progress_that_a_final_reply_overtook_is_not_sent_at_all() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    assert!(gateway.stop().success());
    progress(&mut agent, "working");
    agent.reply(json!({"text": "done"}));
    let _gateway = house.gateway();
    wait_until_written(&house, "done");
    assert_eq!(written(&house), [line("done", &[], false)]);
}

#[test]
fn the_progress_of_the_next_turn_is_a_new_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    progress(&mut agent, "working on one");
    wait_until_written(&house, "working on one");
    agent.reply(json!({"text": "one is done"}));
    house.say("two");
    agent.wait_for_message();
    progress(&mut agent, "working on two");
    wait_until_written(&house, "working on two");
    assert_eq!(
        written(&house),
        [
            line("working on one", &[], true),
            line("one is done", &[], false),
            line("working on two", &[], true)
        ]
    );
}

#[test]
fn a_message_that_was_shown_meanwhile_ends_the_turn() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    progress(&mut agent, "working");
    wait_until_written(&house, "working");
    house.say("faster");
    agent.wait_for_message();
    progress(&mut agent, "hurrying");
    wait_until_written(&house, "hurrying");
    assert_eq!(
        written(&house),
        [line("working", &[], true), line("hurrying", &[], true)]
    );
}

#[test]
fn progress_whose_answer_is_lost_is_not_repeated() {
    let house = House::new();
    let _gateway = house.gateway();
    let lost = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(lost.answer_lost());
    let mut agent = house.agent_asked("build it");
    progress(&mut agent, "working");
    wait_until_written(&house, "working");
    agent.reply(json!({"text": "done"}));
    assert_eq!(
        written(&house),
        [line("working", &[], true), line("done", &[], false)]
    );
}

#[test]
fn progress_that_was_under_way_at_a_kill_is_not_repeated() {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "send:after")]);
    gateway.wait_until_polling(&house);
    let mut agent = house.agent_asked("build it");
    progress(&mut agent, "working");
    drop(gateway.end());
    let _gateway = house.gateway();
    agent.reply(json!({"text": "done"}));
    assert_eq!(
        written(&house),
        [line("working", &[], true), line("done", &[], false)]
    );
}

#[test]
fn progress_that_says_the_same_again_is_no_failure() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    progress(&mut agent, "working");
    wait_until_written(&house, "working");
    progress(&mut agent, "working");
    agent.reply(json!({"text": "done"}));
    assert_eq!(
        written(&house),
        [line("working", &[], true), line("done", &[], false)]
    );
    assert_eq!(house.names("failed"), [""; 0]);
}

#[test]
fn only_the_first_message_of_a_long_reply_rings() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .agent_asked("all of it")
        .reply(json!({"text": "x".repeat(9000)}));
    let silent: Vec<bool> = written(&house).into_iter().map(|line| line.2).collect();
    assert_eq!(silent, [false, true, true]);
}

#[test]
fn a_reply_that_is_to_be_silent_is_silent() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .agent_asked("psst")
        .reply(json!({"text": "quietly", "silent": true}));
    assert_eq!(written(&house), [line("quietly", &[], true)]);
}

#[test]
fn a_hundred_updates_in_ten_seconds_are_at_most_four_edits_and_one_ring() {
    let mut house = House::new();
    house.config["pace"] = json!("normal");
    house.write_config();
    house.sim.rate_limits(true);
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("build it");
    let began = Instant::now();
    for number in 1..=100u32 {
        progress(&mut agent, &format!("{number} %"));
        // The promise is a rate: ten updates a second.
        let due = Duration::from_millis(100) * number;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let answer = agent.reply(json!({"text": "done"}));
    assert_eq!(answer["status"], "delivered", "{answer}");
    let written = written(&house);
    let [(_, edits, true), (done, unedited, false)] = written.as_slice() else {
        panic!("not one silent message and one that rings: {written:?}");
    };
    assert!((1..=4).contains(&edits.len()), "{written:?}");
    assert_eq!((done.as_str(), unedited.len()), ("done", 0));
    let refused: Vec<_> = house
        .effects()
        .into_iter()
        .filter(|call| !call.outcome.is_ok())
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    wait_for("what was overtaken to be put away", || {
        let left = house.names("outbox");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
