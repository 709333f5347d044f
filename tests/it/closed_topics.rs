//! A closed topic takes no messages: what goes there is kept until the topic is opened again, and nothing else
//! waits for it.

use serde_json::{Value, json};

use crate::support::{Agent, FORUM, House, OWNER, wait_for};

/// An agent that holds a message of a topic; 0 is General.
fn agent_asked_in(house: &House, topic: i64, text: &str) -> Agent {
    let message = house.sim.message(house.bot()).chat(FORUM).from(OWNER);
    let message = if topic == 0 {
        message
    } else {
        message.topic(topic)
    };
    let update = message.text(text).send().update_id;
    house.wait_until_arrived(update.unwrap());
    let mut agent = house.agent();
    agent.wait_for_message();
    agent
}

#[track_caller]
fn wait_for_forum(house: &House, texts: &[&str]) {
    wait_for("the forum", || {
        let heard = house.sim.bot_texts(house.bot(), FORUM);
        if heard == texts { Ok(()) } else { Err(heard) }
    });
}

#[test]
fn an_answer_to_a_closed_topic_waits_until_the_topic_is_opened_again() {
    for general in [false, true] {
        let house = House::with_forum();
        let gateway = house.gateway();
        let bot = house.bot();
        let builds = house.sim.add_topic(bot, FORUM, "Builds");
        let topic = if general { 0 } else { builds };
        let other = if general { builds } else { 0 };
        let mut agent = agent_asked_in(&house, topic, "in the closed one");
        house.sim.close_topic(bot, FORUM, topic);
        let kept = agent.reply(json!({"text": "first"}));
        assert_eq!(kept["status"], "accepted", "{kept}");
        let reason = kept["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("topic is closed"), "{kept}");
        assert!(kept["held_until"].is_string(), "{kept}");
        let notice = kept["notices"][0].as_str().unwrap_or_default();
        assert!(notice.contains("opened again"), "{kept}");
        assert_eq!(house.names("failed"), [""; 0]);

        // People see it, and where.
        let status = house.status();
        let parked = &status["parked"][0];
        assert_eq!(parked["chat_id"], FORUM);
        let shown = parked["topic_id"].as_i64();
        assert_eq!(shown, (!general).then_some(topic), "{parked}");
        let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
        assert!(text.contains("topic is closed"), "{text}");
        let list = house.run(&["outbox", "list", "--json"]).stdout;
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list[0]["state"], "parked", "{list}");

        // The other topic goes on, for the next gateway as well, which does not knock again.
        gateway.kill();
        let _gateway = house.gateway();
        let mut second = agent_asked_in(&house, other, "in the open one");
        let answer = second.reply(json!({"text": "open"}));
        assert_eq!(answer["status"], "delivered", "{answer}");
        let calls = house.sim.call_count(bot, "sendMessage");
        assert_eq!(calls, 2, "one refused, one delivered");

        house.sim.reopen_topic(bot, FORUM, topic);
        wait_for_forum(&house, &["open", "first"]);
        house.wait_until_the_outbox_is_empty();
        assert_eq!(house.status()["parked"], Value::Null);
    }
}

#[test]
fn a_long_answer_whose_topic_is_closed_in_between_goes_on_where_it_was() {
    let house = House::with_forum();
    let gateway = house.gateway();
    let bot = house.bot();
    let topic = house.sim.add_topic(bot, FORUM, "Builds");
    let mut agent = agent_asked_in(&house, topic, "all of it");
    assert!(gateway.stop().success());
    let parts = ["a", "b", "c"].map(|letter| letter.repeat(4000));
    agent.reply(json!({"text": parts.join("\n")}));
    let send = telegram_sim::Fault::on(bot).method("sendMessage").after(1);
    house
        .sim
        .fault(send.error(400, "Bad Request: TOPIC_CLOSED"));
    let _gateway = house.gateway();
    wait_for_forum(&house, &[&parts[0]]);
    wait_for("the parked topic", || {
        let parked = house.status()["parked"].clone();
        if parked[0]["topic_id"] == topic {
            Ok(())
        } else {
            Err(parked)
        }
    });
    house.sim.close_topic(bot, FORUM, topic);
    house.sim.reopen_topic(bot, FORUM, topic);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    wait_for_forum(&house, &parts);
}

#[test]
fn progress_for_a_closed_topic_is_given_up() {
    let house = House::with_forum();
    let _gateway = house.gateway();
    let bot = house.bot();
    let topic = house.sim.add_topic(bot, FORUM, "Builds");
    let mut agent = agent_asked_in(&house, topic, "a long task");
    house.sim.close_topic(bot, FORUM, topic);
    agent.reply(json!({"text": "half", "keep_open": true}));
    house.only_file_soon("failed");
}
