//! A message goes from a phone to an agent, and the answer comes back.

use serde_json::json;

use crate::support::House;

#[test]
fn a_message_is_shown_answered_and_settled() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let sent = house.say("hello agent");

    let shown = agent.wait_for_message();
    assert_eq!(shown["remaining"], 0);
    assert_eq!(shown["session"], "ONE");
    assert_eq!(shown["messages"][0]["text"], "hello agent");
    assert_eq!(shown["messages"][0]["message_id"], sent.message_id);
    assert_eq!(shown["messages"][0]["update_id"], json!(sent.update_id));

    let answered = agent.reply(json!({"text": "hello human"}));
    assert_eq!(answered["status"], "delivered");
    assert_eq!(answered["acked"], json!([sent.update_id]));
    assert_eq!(house.heard(), ["hello human"]);
    assert_eq!(house.names("inbox"), [""; 0]);
    assert_eq!(house.names("done").len(), 1);
    assert_eq!(
        agent.poll(json!({})),
        json!({"remaining": 0, "session": "ONE"})
    );
}

#[test]
fn telegram_reply_alone_shows_and_then_answers() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    house.say("what time is it?");
    house.wait_for_inbox(1);

    let shown = agent.reply(json!({}));
    assert_eq!(shown["messages"][0]["text"], "what time is it?");
    let answered = agent.reply(json!({"text": "noon"}));
    assert_eq!(answered["status"], "delivered");
    assert_eq!(house.heard(), ["noon"]);
}

#[test]
fn a_message_that_waited_overnight_is_shown_with_its_age() {
    let house = House::new();
    // Ten hours ago by every clock: Telegram, the gateway.
    house.sim.set_ago(std::time::Duration::from_secs(10 * 3600));
    let ago = (-10 * 3600 * 1000).to_string();
    let gateway = house.gateway_with(&[("TELEPOST_TEST_CLOCK_MS", &ago)]);
    gateway.wait_until_polling(&house);
    house.say("good night");
    house.wait_for_inbox(1);
    // No other process runs. In the morning an agent starts.
    let shown = house.agent().poll(json!({}));
    let message = &shown["messages"][0];
    let age = message["age_seconds"].as_u64().unwrap();
    assert!((35_990..36_060).contains(&age), "{message}");
    assert_eq!(message["backlog"], true);
    let status = house.status();
    let oldest = status["sessions"][0]["oldest_age_s"].as_u64().unwrap();
    assert!((35_990..36_060).contains(&oldest), "{status}");
}
