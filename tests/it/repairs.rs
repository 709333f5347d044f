//! A message that Telegram refuses as it is goes out with a change, once; a kill does not repeat that.

use serde_json::{Value, json};
use telegram_sim::{Fault, Line};

use crate::support::{Agent, FORUM, House, OWNER, wait_for};

fn refuse(house: &House, method: &str, description: &str) {
    let fault = Fault::on(house.bot()).method(method);
    house
        .sim
        .fault(fault.error(400, &format!("Bad Request: {description}")));
}

/// Calls that send something, oldest first.
fn requests(house: &House) -> Vec<Value> {
    let calls = house.effects().into_iter();
    calls.map(|call| call.params).collect()
}

/// A reply that waits at the start of a gateway, with formatting in every rendering.
fn formatted_reply(house: &House) {
    let id = "1700000000000-0123456789abcdef0123456789abcdef";
    let part = json!({"message": {"text": "bold", "entities": [{"type": "bold", "offset": 0, "length": 4}]},
        "state": {"is": "unsent"}});
    let delivery = json!({"format": 1, "id": id, "session": "ONE", "holder": "somebody",
        "address": {"bot_id": house.bot(), "chat_id": OWNER}, "content": {"kind": "reply", "text": "bold"},
        "resume": {"format": 1, "parts": [part], "attempts": 0}});
    std::fs::create_dir_all(house.session("outbox")).unwrap();
    let file = house.session("outbox").join(format!("{id}.json"));
    std::fs::write(file, delivery.to_string()).unwrap();
    house.sim.open_chat(house.bot(), OWNER);
}

#[test]
fn refused_entities_are_left_out() {
    let house = House::new();
    formatted_reply(&house);
    refuse(&house, "sendMessage", "can't parse entities: unsupported");
    let _gateway = house.gateway();
    house.wait_to_hear(&["bold"]);
    let [first, second] = &requests(&house)[..] else {
        panic!("{:?}", requests(&house))
    };
    assert!(first["entities"].is_array(), "{first}");
    assert_eq!(second["entities"], Value::Null);
}

#[test]
fn a_text_that_is_too_long_for_telegram_goes_out_in_smaller_pieces() {
    let house = House::new();
    let _gateway = house.gateway();
    refuse(&house, "sendMessage", "message is too long");
    let text: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    let text = text.join("\n");
    let answer = house.agent_asked("all of it").reply(json!({"text": text}));
    assert_eq!(answer["status"], "delivered");
    let heard = house.heard();
    assert!(heard.len() > 1, "{heard:?}");
    assert_eq!(heard.join("\n"), text);
}

#[test]
fn an_answer_is_a_reply_to_the_newest_message_that_it_answers_and_only_its_beginning_is() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("first");
    let newest = house.say("second").message_id;
    house.wait_for_inbox(2);
    let mut agent = house.agent();
    agent.reply(json!({}));
    agent.reply(json!({"text": "x".repeat(5000)}));
    let replies: Vec<_> = house
        .bot_lines(OWNER)
        .iter()
        .map(|line| line.reply_to)
        .collect();
    assert_eq!(replies, [Some(newest), None]);
    assert_eq!(
        requests(&house)[0]["reply_parameters"],
        json!({"message_id": newest, "allow_sending_without_reply": true})
    );
}

#[test]
fn progress_and_messages_of_the_agents_own_are_no_replies() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("go");
    agent.reply(json!({"text": "at work", "keep_open": true}));
    agent.reply(json!({"text": "by the way", "to": "home"}));
    let lines = wait_for("both", || {
        let lines = house.bot_lines(OWNER);
        if lines.len() == 2 {
            Ok(lines)
        } else {
            Err(lines)
        }
    });
    assert!(
        lines.iter().all(|line| line.reply_to.is_none()),
        "{lines:?}"
    );
}

#[test]
fn answers_are_plain_messages_where_the_configuration_says_so() {
    let house = House::with(json!({"reply_to_message": false}));
    let _gateway = house.gateway();
    house.agent_asked("hello").reply(json!({"text": "hi"}));
    assert_eq!(house.bot_lines(OWNER)[0].reply_to, None);
}

#[test]
fn an_answer_to_a_message_that_was_deleted_arrives_without_the_reply() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.say("hello");
    let mut agent = house.agent();
    agent.wait_for_message();
    house.sim.delete(house.bot(), OWNER, sent.message_id);
    let answer = agent.reply(json!({"text": "hi"}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(requests(&house).len(), 1);
}

#[test]
fn a_server_that_insists_on_the_message_replied_to_gets_the_answer_without_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    refuse(&house, "sendMessage", "message to be replied not found");
    let answer = agent.reply(json!({"text": "hi"}));
    assert_eq!(answer["status"], "delivered");
    let [first, second] = &requests(&house)[..] else {
        panic!("{:?}", requests(&house))
    };
    assert!(first["reply_parameters"].is_object(), "{first}");
    assert_eq!(second["reply_parameters"], Value::Null);
    assert_eq!(house.heard(), ["hi"]);
}

#[test]
fn a_repair_is_made_once_and_then_the_answer_has_failed() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    refuse(&house, "sendMessage", "message to be replied not found");
    refuse(&house, "sendMessage", "message to be replied not found");
    let answer = agent.reply(json!({"text": "hi"}));
    assert_eq!(answer["status"], "failed");
    assert_eq!(requests(&house).len(), 2);
}

#[test]
fn a_repair_is_known_to_the_next_gateway_and_what_was_refused_is_not_marked() {
    for (point, calls) in [("accepted:after", 2), ("in-flight:after:2", 2)] {
        let house = House::new();
        let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", point)]);
        gateway.wait_until_polling(&house);
        let mut agent = house.agent_asked("hello");
        refuse(&house, "sendMessage", "message to be replied not found");
        agent.reply(json!({"text": "hi"}));
        drop(gateway.end());
        let _gateway = house.gateway();
        // In flight at the kill, though it never went out: the gateway cannot know.
        let marked = point.starts_with("in-flight");
        let text = if marked { "↻ may repeat\nhi" } else { "hi" };
        house.wait_to_hear(&[text]);
        let requests = requests(&house);
        assert_eq!(requests.len(), calls, "{point}");
        assert_eq!(requests[1]["reply_parameters"], Value::Null, "{point}");
    }
}

/// An agent that holds a message of this topic.
fn agent_asked_in(house: &House, chat: i64, topic: i64) -> Agent {
    let message = house.sim.message(house.bot()).chat(chat).from(OWNER);
    let update = message.topic(topic).text("in the topic").send().update_id;
    house.wait_until_arrived(update.unwrap());
    let mut agent = house.agent();
    agent.wait_for_message();
    agent
}

#[test]
fn an_answer_to_a_topic_that_is_gone_stands_outside_of_it_and_the_agent_is_told() {
    let house = House::with_forum();
    let _gateway = house.gateway();
    let bot = house.bot();
    let topic = house.sim.add_topic(bot, FORUM, "Builds");
    let mut agent = agent_asked_in(&house, FORUM, topic);
    house.sim.delete_topic(bot, FORUM, topic);
    let answer = agent.reply(json!({"text": "x".repeat(5000)}));
    assert_eq!(answer["status"], "delivered");
    let notice = answer["notices"][0].as_str().unwrap();
    assert!(notice.contains("The topic no longer exists"), "{notice}");
    // Asked once for the whole answer, not for each of its messages.
    let topics: Vec<_> = requests(&house)
        .iter()
        .map(|params| params["message_thread_id"].clone())
        .collect();
    assert_eq!(topics, [json!(topic), Value::Null, Value::Null]);
}

#[test]
fn a_topic_of_a_private_chat_is_asked_for_a_second_time_before_it_is_given_up() {
    let house = House::new();
    let bot = house.bot();
    house.sim.private_topics(bot, true);
    house.sim.open_chat(bot, OWNER);
    let topic = house.sim.add_topic(bot, OWNER, "Builds");
    let _gateway = house.gateway();
    let mut agent = agent_asked_in(&house, OWNER, topic);
    refuse(&house, "sendMessage", "message thread not found");
    let answer = agent.reply(json!({"text": "hi"}));
    assert_eq!(answer["status"], "delivered");
    assert_eq!(house.bot_lines(OWNER)[0].topic, Some(topic));

    let mut agent = agent_asked_in(&house, OWNER, topic);
    house.sim.delete_topic(bot, OWNER, topic);
    let answer = agent.reply(json!({"text": "still there?"}));
    assert_eq!(answer["status"], "delivered", "{answer}");
    let topics: Vec<_> = requests(&house)
        .iter()
        .map(|params| params["message_thread_id"].clone())
        .collect();
    let asked = json!(topic);
    assert_eq!(
        topics,
        [
            asked.clone(),
            asked.clone(),
            asked.clone(),
            asked,
            Value::Null
        ]
    );
}

fn progress(house: &House, agent: &mut Agent, text: &str) -> Vec<Line> {
    agent.reply(json!({"text": text, "keep_open": true}));
    house.wait_until_sent();
    house.bot_lines(OWNER)
}

#[test]
fn progress_whose_message_was_deleted_goes_on_in_a_new_one() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("go");
    let first = progress(&house, &mut agent, "one")[0].message_id;
    house.sim.delete(house.bot(), OWNER, first);
    progress(&house, &mut agent, "two");
    let lines = progress(&house, &mut agent, "three");
    let lines: Vec<_> = lines.iter().filter(|line| !line.deleted).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((lines[0].text.as_str(), lines[0].edits), ("three", 1));
    assert!(lines[0].silent);
}

#[test]
fn progress_that_says_the_same_again_is_done_and_the_next_edits_the_same_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("go");
    progress(&house, &mut agent, "one");
    progress(&house, &mut agent, "one");
    let lines = progress(&house, &mut agent, "two");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].text, "two");
    assert_eq!(house.names("failed"), [""; 0]);
}
