//! An agent that would wait in vain is told why: its bot is off, its gateway does not know it, its reply
//! does not go out.

use serde_json::{Value, json};

use crate::support::{House, call, wait_for};

fn notices(result: &Value) -> String {
    let all = result["notices"].as_array().cloned().unwrap_or_default();
    let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
    words.join("\n")
}

#[test]
fn a_token_that_is_not_accepted_is_no_secret_to_the_agent_and_its_reply_goes_out_when_it_is() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("are you there?");
    assert_eq!(notices(&agent.poll(json!({}))), "");
    house.sim.revoke(house.bot());
    wait_for("the bot to be off", || {
        let bot = &house.status()["bots"][0];
        if bot["off"].is_string() {
            Ok(())
        } else {
            Err(bot.clone())
        }
    });
    let told = notices(&agent.poll(json!({})));
    assert!(told.contains("token is not accepted"), "{told}");
    let kept = agent.reply(json!({"text": "yes"}));
    assert_eq!(kept["status"], "accepted");
    let reason = kept["reason"].as_str().unwrap();
    assert!(reason.contains("401"), "{kept}");
    let told = notices(&kept);
    assert!(told.contains("do not send it again"), "{told}");

    // A gateway that goes on looks again after half a minute.
    house.sim.unrevoke(house.bot());
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    house.wait_to_hear(&["yes"]);
    wait_for("the bot to be back", || {
        let told = notices(&agent.poll(json!({})));
        if told.is_empty() { Ok(()) } else { Err(told) }
    });
}

#[test]
fn an_agent_of_a_session_that_the_running_gateway_does_not_know_is_told_what_to_ask_for() {
    let mut house = House::new();
    let gateway = house.gateway();
    gateway.wait_until_polling(&house);
    house.add_session("TWO", json!({"chat_ids": [12], "allowed_users": [12]}));
    house.write_config();
    let told = notices(&house.agent_of("ONE").poll(json!({})));
    assert!(told.contains("older configuration"), "{told}");
    let told = notices(&house.agent_of("TWO").poll(json!({})));
    assert!(told.contains("telepost gateway --replace"), "{told}");
}

#[test]
fn an_agent_whose_bot_somebody_else_polls_is_told_so_until_that_is_over() {
    let house = House::new();
    let gateway = house.gateway();
    gateway.wait_until_polling(&house);
    let mut agent = house.agent();
    // The newer of two waiting polls wins.
    let request = house.request("getUpdates", &json!({"timeout": 50}));
    let address = house.sim.address();
    let other = std::thread::spawn(move || call(&request, address));
    house.wait_for_bot(0, "conflict", json!("other_poller"));
    let told = notices(&agent.poll(json!({})));
    assert!(told.contains("another program polls"), "{told}");
    house.say("hello");
    other.join().unwrap();
    wait_for("the conflict to be over", || {
        let told = notices(&agent.poll(json!({})));
        if told.is_empty() { Ok(()) } else { Err(told) }
    });
}
