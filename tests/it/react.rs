//! `telegram_react`: one reaction of the bot on a message, and nothing settled by it.

use serde_json::{Value, json};

use crate::support::{GROUP, House, OWNER, again, ids};

/// The bot's reactions on each message of the private chat, by text.
fn reactions(house: &House) -> Vec<(String, Vec<String>)> {
    house
        .sim
        .transcript(house.bot(), OWNER)
        .into_iter()
        .map(|line| {
            let emoji = line.reactions.into_iter().map(|(_, emoji)| emoji);
            (line.text, emoji.collect())
        })
        .collect()
}

fn on(text: &str, emoji: &[&str]) -> (String, Vec<String>) {
    (
        text.to_owned(),
        emoji.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn a_reaction_is_put_on_the_newest_message_held() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    house.arrive("two");
    let mut agent = house.agent();
    agent.poll(json!({}));
    house.arrive("unseen");
    let result = agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    assert_eq!(result["status"], "delivered");
    assert_eq!(
        reactions(&house),
        [on("one", &[]), on("two", &["👍"]), on("unseen", &[])]
    );
}

#[test]
fn a_reaction_acknowledges_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let result = agent.call("telegram_react", json!({"emoji": "👀"})).ok();
    assert_eq!(
        (&result["acked"], &result["remaining"]),
        (&Value::Null, &json!(1))
    );
    let held = agent.poll(json!({}));
    assert_eq!((ids(&held), again(&held)), (vec![id], vec![true]));
}

#[test]
fn to_names_the_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let one = house.arrive("one");
    house.arrive("two");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent
        .call("telegram_react", json!({"emoji": "🎉", "to": one}))
        .ok();
    assert_eq!(reactions(&house), [on("one", &["🎉"]), on("two", &[])]);
}

#[test]
fn to_reaches_a_message_of_another_chat() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let group = house.arrive_in(GROUP, "group");
    house.arrive("private");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent
        .call("telegram_react", json!({"emoji": "🎉", "to": group}))
        .ok();
    let lines = house.sim.transcript(house.bot(), GROUP);
    assert_eq!(lines[0].reactions, [(house.bot(), "🎉".to_owned())]);
}

#[test]
fn a_settled_message_can_still_get_a_reaction() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("thanks");
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.poll(json!({"ack": [id]}));
    agent
        .call("telegram_react", json!({"emoji": "❤", "to": id}))
        .ok();
    assert_eq!(reactions(&house), [on("thanks", &["❤"])]);
}

#[test]
fn a_later_reaction_replaces_the_earlier_one() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    for emoji in ["👀", "👍"] {
        agent.call("telegram_react", json!({"emoji": emoji})).ok();
    }
    assert_eq!(reactions(&house), [on("one", &["👍"])]);
}

#[test]
fn an_empty_emoji_removes_the_reaction() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    for emoji in ["👀", ""] {
        agent.call("telegram_react", json!({"emoji": emoji})).ok();
    }
    assert_eq!(reactions(&house), [on("one", &[])]);
    assert_eq!(house.sim.call_count(house.bot(), "setMessageReaction"), 2);
}

#[test]
fn variation_selectors_and_skin_tones_are_stripped() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = [house.arrive("heart"), house.arrive("thumb")];
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent
        .call(
            "telegram_react",
            json!({"emoji": "❤\u{fe0f}", "to": sent[0]}),
        )
        .ok();
    agent
        .call(
            "telegram_react",
            json!({"emoji": "👍\u{1f3fd}", "to": sent[1]}),
        )
        .ok();
    assert_eq!(
        reactions(&house),
        [on("heart", &["❤"]), on("thumb", &["👍"])]
    );
}

#[test]
fn a_reaction_that_telegram_does_not_have_is_refused_with_the_list() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent
        .call("telegram_react", json!({"emoji": "✅"}))
        .refused();
    let list = words
        .strip_prefix("Telegram has no reaction \"✅\". Nothing was sent; choose one of ")
        .unwrap();
    assert_eq!(list.split(' ').count(), 73, "{words}");
    assert_eq!(house.sim.call_count(house.bot(), "setMessageReaction"), 0);
}

#[test]
fn every_reaction_of_the_list_is_taken_by_telegram() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("one");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent
        .call("telegram_react", json!({"emoji": "✅"}))
        .refused();
    let list = words.split_once("choose one of ").unwrap().1.to_owned();
    for emoji in list.split(' ') {
        let result = agent.call("telegram_react", json!({"emoji": emoji})).ok();
        assert_eq!(result["status"], "delivered", "{emoji}");
    }
}

#[test]
fn holding_nothing_it_is_refused() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("unseen");
    assert_eq!(
        house
            .agent()
            .call("telegram_react", json!({"emoji": "👍"}))
            .refused(),
        "You hold no message to react to. Nothing was sent; call telegram_poll first, or name a message in `to`."
    );
}

#[test]
fn a_message_that_was_not_shown_gets_no_reaction() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("unseen");
    assert_eq!(
        house
            .agent()
            .call("telegram_react", json!({"emoji": "👍", "to": id}))
            .refused(),
        format!("Message {id} was not shown to you. Nothing was sent; call telegram_poll first.")
    );
}
