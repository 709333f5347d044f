//! "typing…" while an agent that lives is at work on what it was shown. With `pace: off` it is shown
//! every 0.4 s.

use serde_json::json;
use telegram_sim::Fault;

use crate::support::{FORUM, House, OWNER, PATIENCE};

const OTHER: i64 = 12;

/// Two sessions at one bot, whose owners are [`OWNER`] and [`OTHER`].
fn attentive() -> House {
    let mut house = House::new();
    house.config["receipts"] = json!("on");
    house.share_bot("TWO", OTHER);
    house
}

fn typed(house: &House, chat: i64) -> usize {
    let calls = house.sim.calls_of(house.bot(), "sendChatAction");
    calls
        .iter()
        .filter(|call| call.chat_id == Some(chat))
        .count()
}

/// Waits until "typing…" was shown so many times more in a chat.
#[track_caller]
fn wait_for_typing(house: &House, chat: i64, more: usize) {
    let before = typed(house, chat);
    let bot = house.bot();
    let count = |view: &telegram_sim::View<'_>| {
        let calls = view.calls(bot);
        let typing = calls.iter().filter(|call| call.method == "sendChatAction");
        typing.filter(|call| call.chat_id == Some(chat)).count()
    };
    house
        .sim
        .wait_for(|view| count(view) >= before + more, PATIENCE)
        .unwrap();
}

/// Another agent is at work all the time, so that time can be seen to pass.
fn other_at_work(house: &House) -> crate::support::Agent {
    house.sim.say(house.bot(), OTHER, OTHER, "and you?");
    let mut other = house.agent_of("TWO");
    other.wait_for_message();
    other
}

#[test]
fn it_is_renewed_while_a_message_is_held_and_ends_with_the_answer() {
    let house = attentive();
    let _gateway = house.gateway();
    let _other = other_at_work(&house);
    let mut agent = house.agent_asked("build it");
    wait_for_typing(&house, OWNER, 3);
    agent.reply(json!({"text": "still at it", "keep_open": true}));
    wait_for_typing(&house, OWNER, 2);
    agent.reply(json!({"text": "done"}));
    let then = typed(&house, OWNER);
    wait_for_typing(&house, OTHER, 4);
    assert_eq!(typed(&house, OWNER), then);
}

#[test]
fn nobody_types_who_has_seen_nothing_or_is_dead() {
    let house = attentive();
    let _gateway = house.gateway();
    let _other = other_at_work(&house);
    house.arrive("anybody there?");
    wait_for_typing(&house, OTHER, 3);
    assert_eq!(typed(&house, OWNER), 0);
    let mut agent = house.agent();
    agent.poll(json!({}));
    wait_for_typing(&house, OWNER, 2);
    agent.kill();
    // One may be under way.
    wait_for_typing(&house, OTHER, 2);
    let then = typed(&house, OWNER);
    wait_for_typing(&house, OTHER, 3);
    assert_eq!(typed(&house, OWNER), then);
}

#[test]
fn nothing_is_typed_into_a_closed_gate() {
    let house = attentive();
    let _gateway = house.gateway();
    let _other = other_at_work(&house);
    let flood = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.retry_after(600));
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "held"}));
    let then = typed(&house, OWNER);
    house.say("two");
    agent.wait_for_message();
    wait_for_typing(&house, OTHER, 4);
    assert_eq!(typed(&house, OWNER), then);
}

#[test]
fn it_is_shown_in_the_topic_that_the_message_came_from() {
    let mut house = House::with_forum();
    house.config["receipts"] = json!("on");
    house.write_config();
    let _gateway = house.gateway();
    let topic = house.sim.add_topic(house.bot(), FORUM, "builds");
    let message = house.sim.message(house.bot()).chat(FORUM).from(OWNER);
    message.topic(topic).text("build it").send();
    let mut agent = house.agent();
    agent.wait_for_message();
    wait_for_typing(&house, FORUM, 1);
    let calls = house.sim.calls_of(house.bot(), "sendChatAction");
    assert_eq!(calls[0].int("message_thread_id"), Some(topic));
    assert_eq!(calls[0].text("action"), "typing");
}
