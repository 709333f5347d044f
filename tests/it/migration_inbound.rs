//! A group that becomes a supergroup: messages in the new one are admitted at once, and nothing of
//! the old one is lost. And a chat that puts the bot out is left alone until it takes it back.

use serde_json::{Value, json};

use crate::support::{GROUP, House, OWNER, SUPERGROUP, texts, wait_for};

fn moved(house: &House) -> Value {
    house.status()["moved"].clone()
}

fn expected(house: &House) -> Value {
    json!([{"bot_id": house.bot(), "from": GROUP, "to": SUPERGROUP}])
}

#[track_caller]
fn wait_until_followed(house: &House) {
    wait_for("the new id", || {
        let moved = moved(house);
        if moved == expected(house) {
            Ok(())
        } else {
            Err(moved)
        }
    });
}

/// How often something was asked of the old group.
fn asked_of_the_group(house: &House) -> usize {
    let calls = house.effects();
    calls
        .iter()
        .filter(|call| call.chat_id == Some(GROUP))
        .count()
}

#[test]
fn a_group_that_moves_is_followed_at_once_with_all_that_was_pending_and_held() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let held = house.arrive_in(GROUP, "held");
    let mut agent = house.agent();
    agent.wait_for_message();
    house.arrive_in(GROUP, "pending");
    house.sim.migrate(GROUP, SUPERGROUP);
    wait_until_followed(&house);
    let after = house.say_in(SUPERGROUP, "after");
    house.wait_until_arrived(after.update_id.unwrap());

    let reply = agent.reply(json!({"text": "to the held one", "to": held}));
    assert_eq!(reply["status"], "delivered", "{reply}");
    let shown = agent.poll(json!({}));
    let said = texts(&shown);
    assert!(
        said.contains(&"pending") && said.contains(&"after"),
        "{said:?}"
    );
    let messages = shown["messages"].as_array().unwrap();
    for (index, message) in messages.iter().enumerate() {
        let reply =
            agent.reply(json!({"text": format!("answer {index}"), "to": message["update_id"]}));
        assert_eq!(reply["status"], "delivered", "{reply}");
    }
    let heard = house.sim.bot_texts(house.bot(), SUPERGROUP);
    assert_eq!(heard.len(), messages.len() + 1, "{heard:?}");
    assert_eq!(asked_of_the_group(&house), 0);
    assert_eq!(house.names("inbox"), [""; 0]);
}

#[test]
fn what_is_written_in_the_new_group_is_heard_although_it_comes_in_the_same_batch() {
    let house = House::with_group();
    drop(house.gateway());
    house.sim.migrate(GROUP, SUPERGROUP);
    let first = house.say_in(SUPERGROUP, "first words");
    let gateway = house.gateway();
    house.wait_until_arrived(first.update_id.unwrap());
    // And the next gateway knows it from the start.
    gateway.kill();
    let _gateway = house.gateway();
    let second = house.say_in(SUPERGROUP, "second words");
    house.wait_until_arrived(second.update_id.unwrap());
}

#[test]
fn a_move_that_only_a_refused_answer_tells_lets_the_new_group_in_without_a_restart() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive_in(GROUP, "before");
    let mut agent = house.agent();
    agent.wait_for_message();
    // The service messages get lost.
    house
        .sim
        .set_allowed_updates(house.bot(), &["callback_query"]);
    house.sim.migrate(GROUP, SUPERGROUP);
    assert_eq!(
        agent.reply(json!({"text": "answer"}))["status"],
        "delivered"
    );
    house.sim.set_allowed_updates(house.bot(), &["message"]);
    let sent = house.say_in(SUPERGROUP, "after");
    house.wait_until_arrived(sent.update_id.unwrap());
}

#[test]
fn a_move_that_cannot_be_noted_is_not_confirmed_and_loses_nothing() {
    let house = House::with_group();
    let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", "migration:enospc:3")]);
    gateway.wait_until_polling(&house);
    house.sim.migrate(GROUP, SUPERGROUP);
    let sent = house.say_in(SUPERGROUP, "after");
    gateway.wait_for_log("cannot store messages");
    house.wait_until_arrived(sent.update_id.unwrap());
    assert_eq!(moved(&house), expected(&house));
}

#[test]
fn a_group_of_nobody_that_moves_is_nobodys() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), GROUP);
    house.sim.migrate(GROUP, SUPERGROUP);
    house.say_in(SUPERGROUP, "let me in");
    house.arrive("the owner");
    house.wait_for_texts(&["the owner"]);
    assert_eq!(moved(&house), Value::Null);
}

fn parked(house: &House) -> Value {
    house.status()["parked"].clone()
}

#[track_caller]
fn wait_for_parked(house: &House, chats: &[i64]) {
    wait_for("the parked chats", || {
        let parked = parked(house);
        let found = parked.as_array().into_iter().flatten();
        let found: Vec<_> = found
            .map(|chat| chat["chat_id"].as_i64().unwrap())
            .collect();
        if found == chats { Ok(()) } else { Err(parked) }
    });
}

#[test]
fn a_person_who_blocks_the_bot_is_left_alone_before_anything_was_refused() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("bye");
    house.sim.block(house.bot(), OWNER);
    wait_for_parked(&house, &[OWNER]);
    let why = "the person has blocked the bot";
    assert_eq!(parked(&house)[0]["reason"], why);
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(
        text.contains(&format!("Chat 11 accepts no messages: {why}")),
        "{text}"
    );

    let kept = agent.reply(json!({"text": "wait"}));
    assert_eq!(
        (&kept["status"], &kept["reason"]),
        (&json!("accepted"), &json!(why))
    );
    gateway.kill();
    let _gateway = house.gateway();
    wait_for_parked(&house, &[OWNER]);
    assert_eq!(house.sim.call_count(house.bot(), "sendMessage"), 0);

    house.sim.unblock(house.bot(), OWNER);
    house.wait_to_hear(&["wait"]);
    wait_for_parked(&house, &[]);
}

#[test]
fn a_group_that_removes_the_bot_is_shown_until_it_takes_it_back() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.sim.block(house.bot(), GROUP);
    wait_for_parked(&house, &[GROUP]);
    assert_eq!(
        parked(&house)[0]["reason"],
        "the bot was removed from the group"
    );
    house.sim.unblock(house.bot(), GROUP);
    wait_for_parked(&house, &[]);
}

#[test]
fn who_blocks_and_comes_back_while_no_gateway_runs_is_written_to() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("bye");
    assert!(gateway.stop().success());
    house.sim.block(house.bot(), OWNER);
    house.sim.unblock(house.bot(), OWNER);
    let _gateway = house.gateway();
    assert_eq!(agent.reply(json!({"text": "here"}))["status"], "delivered");
    wait_for_parked(&house, &[]);
}

#[test]
fn a_chat_of_nobody_that_removes_the_bot_is_not_noted() {
    let house = House::new();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), GROUP);
    house.sim.block(house.bot(), GROUP);
    house.arrive("the owner");
    assert_eq!(parked(&house), Value::Null);
}
