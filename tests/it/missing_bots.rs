//! A delivery whose bot the gateway does not have: it waits, and everyone is told why and what to do.

use serde_json::{Value, json};

use crate::support::House;

#[test]
fn a_delivery_of_a_bot_that_is_gone_says_so_to_people_and_to_the_agent() {
    let mut house = House::new();
    let gateway = house.gateway();
    let old = house.bot();
    let mut agent = house.agent_asked("go");
    assert!(gateway.stop().success());
    let kept = agent.reply(json!({"text": "for the old bot"}));
    assert_eq!(kept["status"], "accepted");
    drop(agent);

    // The session gets another bot.
    let bot = house.add_session("TWO", json!({"chat_ids": [12], "allowed_users": [12]}));
    house.config["sessions"]["ONE"]["bot_token_env"] = json!("TOKEN_TWO");
    house.write_config();
    house.bots = vec![bot];
    let _gateway = house.gateway();

    let list = house.run(&["outbox", "list", "--json"]).stdout;
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list[0]["state"], "parked", "{list}");
    let reason = list[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&format!("bot {old}")), "{list}");
    assert!(reason.contains("telepost outbox drop"), "{list}");
    let text = String::from_utf8(house.run(&["outbox", "list"]).stdout).unwrap();
    assert!(text.contains(&format!("bot {old}")), "{text}");

    let status = house.status();
    let session = &status["sessions"][0];
    assert!(
        session["reason"]
            .as_str()
            .unwrap_or_default()
            .contains(&format!("bot {old}")),
        "{status}"
    );
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(text.contains(&format!("bot {old}")), "{text}");
    assert!(text.contains("telepost outbox drop"), "{text}");

    let mut agent = house.agent();
    let told = agent.poll(json!({}))["notices"].to_string();
    assert!(told.contains(&format!("bot {old}")), "{told}");
    assert!(told.contains("person"), "{told}");
}
