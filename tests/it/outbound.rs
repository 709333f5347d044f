//! Answers of agents reach the person: whole, in order, and honestly marked where Telegram
//! may have it already.

use serde_json::{Value, json};
use telegram_sim::{Call, Fault};

use crate::support::{House, OWNER, PATIENCE, wait_for};

const MARK: &str = "↻ may repeat\n";

/// Lines of 100 code points with their line ends, numbered.
fn lines(count: usize) -> String {
    let lines: Vec<String> = (0..count)
        .map(|number| format!("{number:05} {}", "ä".repeat(93)))
        .collect();
    lines.join("\n")
}

fn sends(house: &House, chat: i64) -> Vec<Call> {
    let mut calls = house.sim.calls_of(house.bot(), "sendMessage");
    calls.retain(|call| call.chat_id == Some(chat));
    calls
}

/// Real milliseconds between the 429 and the next call that names the chat.
#[track_caller]
fn pause_after_429(house: &House, chat: i64) -> i64 {
    let calls = sends(house, chat);
    let refused = calls
        .iter()
        .position(|call| call.outcome.code() == Some(429))
        .unwrap();
    calls[refused + 1].at_ms - calls[refused].answered_at_ms.unwrap()
}

#[test]
fn a_text_of_20_000_code_points_arrives_whole_in_order_and_cut_at_line_ends() {
    let house = House::new();
    let _gateway = house.gateway();
    let text = lines(200);
    let answer = house.agent_asked("all of it").reply(json!({"text": text}));
    assert_eq!(answer["status"], "delivered");
    let heard = house.heard();
    assert_eq!(heard.join("\n"), text);
    assert_eq!(heard.len(), 5);
    assert_eq!(answer["message_ids"].as_array().unwrap().len(), 5);
    assert!(heard.iter().all(|part| part.chars().count() <= 4096));
}

#[test]
fn a_text_of_4096_emoji_is_one_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let text = "😀".repeat(4096);
    house.agent_asked("smile").reply(json!({"text": text}));
    assert!(house.heard() == [text]);
}

#[test]
fn a_429_on_the_second_message_is_obeyed_and_the_rest_follows_once_and_in_order() {
    let house = House::new();
    let _gateway = house.gateway();
    let text = lines(120);
    let flood = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.after(1).retry_after(2));
    let mut agent = house.agent_asked("all of it");
    let answer = agent.reply(json!({"text": text}));
    assert_eq!(answer["status"], "accepted");
    assert!(answer["held_until"].is_string(), "{answer}");
    assert_eq!(house.heard().len(), 1);
    let whole = house.sim.wait_for(
        |view| view.bot_texts(house.bot(), OWNER).len() == 3,
        PATIENCE,
    );
    whole.unwrap();
    assert_eq!(house.heard().join("\n"), text);
    let pause = pause_after_429(&house, OWNER);
    assert!(pause >= 2000, "{pause}");
}

#[test]
fn a_closed_gate_holds_up_no_other_chat() {
    let house = House::with(json!({"chat_ids": [OWNER, 12], "allowed_users": [OWNER, 12]}));
    let _gateway = house.gateway();
    let flood = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.retry_after(600));
    let mut agent = house.agent_asked("to the closed chat");
    let held = agent.reply(json!({"text": "later"}));
    assert_eq!(held["status"], "accepted");
    house.sim.say(house.bot(), 12, 12, "to the open chat");
    agent.wait_for_message();
    assert_eq!(agent.reply(json!({"text": "now"}))["status"], "delivered");
    assert_eq!(house.sim.bot_texts(house.bot(), 12), ["now"]);
}

#[test]
fn nothing_at_all_goes_to_a_closed_chat_not_even_a_reaction() {
    let house = House::new();
    let _gateway = house.gateway();
    let flood = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.retry_after(600));
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "held"}));
    house.say("two");
    agent.wait_for_message();
    let reaction = agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    assert!(reaction["held_until"].is_string(), "{reaction}");
    agent.reply(json!({"text": "still working", "keep_open": true}));
    agent.reply(json!({"text": "also held"}));
    let effects: Vec<_> = house
        .effects()
        .into_iter()
        .map(|call| (call.method, call.outcome.code()))
        .collect();
    assert_eq!(effects, [("sendMessage".to_owned(), Some(429))]);
    // The reply has taken the place of the progress of its turn.
    wait_for("two replies and a reaction that wait", || {
        let outbox = house.status()["sessions"][0]["outbox"].clone();
        if outbox == 3 { Ok(()) } else { Err(outbox) }
    });
}

#[test]
fn a_gate_stays_closed_over_kill_9_of_the_gateway() {
    let house = House::new();
    let gateway = house.gateway();
    let flood = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    house.sim.fault(flood.retry_after(3));
    let answer = house.agent_asked("hello").reply(json!({"text": "hi"}));
    assert!(answer["held_until"].is_string(), "{answer}");
    gateway.kill();
    let _gateway = house.gateway();
    let status = house.status();
    assert!(status["sessions"][0]["held_until"].is_string(), "{status}");
    house.wait_to_hear(&["hi"]);
    let pause = pause_after_429(&house, OWNER);
    assert!(pause >= 3000, "{pause}");
}

#[test]
fn an_answer_of_telegram_that_is_lost_gives_one_marked_repeat_in_order() {
    let house = House::new();
    let _gateway = house.gateway();
    let lost = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(lost.answer_lost());
    let mut agent = house.agent_asked("one");
    let answer = agent.reply(json!({"text": "first"}));
    assert_eq!(answer["status"], "delivered");
    house.say("two");
    agent.wait_for_message();
    agent.reply(json!({"text": "second"}));
    let marked = format!("{MARK}first");
    assert_eq!(house.heard(), ["first", marked.as_str(), "second"]);
}

#[test]
fn a_doubt_in_the_middle_of_a_long_reply_repeats_only_the_message_in_doubt() {
    let house = House::new();
    let _gateway = house.gateway();
    let lost = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(lost.after(1).answer_lost());
    let parts = ["a", "b", "c"].map(|letter| letter.repeat(4000));
    let text = parts.join("\n");
    let answer = house.agent_asked("all of it").reply(json!({"text": text}));
    assert_eq!(answer["status"], "delivered");
    let [a, b, c] = parts;
    let marked = format!("{MARK}{b}");
    assert!(house.heard() == [a, b, marked, c], "{:?}", house.heard());
}

/// A reply meets this fault once; what the person has then.
fn heard_after(fault: impl FnOnce(Fault) -> Fault) -> Vec<String> {
    let house = House::new();
    let _gateway = house.gateway();
    let send = Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(fault(send));
    let answer = house.agent_asked("hello").reply(json!({"text": "hi"}));
    assert_eq!(answer["status"], "delivered");
    house.heard()
}

#[test]
fn an_answer_that_is_cut_off_is_doubt() {
    assert_eq!(heard_after(Fault::truncated), ["hi", "↻ may repeat\nhi"]);
}

#[test]
fn an_answer_that_is_no_json_is_doubt() {
    assert_eq!(heard_after(Fault::malformed), ["hi", "↻ may repeat\nhi"]);
}

#[test]
fn a_connection_that_closes_without_an_answer_is_doubt_even_if_nothing_was_sent() {
    assert_eq!(heard_after(Fault::closed_before), ["↻ may repeat\nhi"]);
}

#[test]
fn a_proxys_error_page_is_doubt() {
    assert_eq!(heard_after(|fault| fault.html(502)), ["↻ may repeat\nhi"]);
}

#[test]
fn a_refused_connection_is_no_doubt_and_the_repeat_is_not_marked() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    house.sim.pause().unwrap();
    // The connections that stood are found dead by the poll.
    gateway.wait_for_log("polling failed");
    let call = agent.begin("telegram_reply", json!({"text": "hi"}));
    gateway.wait_for_log("not sent; retrying");
    house.sim.resume().unwrap();
    assert_eq!(agent.answer(call).ok()["status"], "delivered");
    assert_eq!(house.heard(), ["hi"]);
}

#[test]
fn a_send_that_was_under_way_at_kill_9_is_repeated_with_the_mark() {
    let house = House::new();
    let gateway = house.gateway();
    let send = Fault::on(house.bot()).method("sendMessage");
    let hang = house.sim.fault(send.hang_after());
    let mut agent = house.agent_asked("hello");
    let call = agent.begin("telegram_reply", json!({"text": "hi"}));
    house.wait_to_hear(&["hi"]);
    gateway.kill();
    house.sim.clear_fault(hang);
    let _gateway = house.gateway();
    house.wait_to_hear(&["hi", "↻ may repeat\nhi"]);
    agent.answer(call).ok();
}

#[test]
fn a_send_that_never_reached_telegram_at_kill_9_arrives_once_with_the_mark() {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "send:before")]);
    gateway.wait_until_polling(&house);
    let mut agent = house.agent_asked("hello");
    agent.reply(json!({"text": "hi"}));
    drop(gateway.end());
    assert_eq!(house.heard(), [""; 0]);
    let _gateway = house.gateway();
    house.wait_to_hear(&["↻ may repeat\nhi"]);
}

#[test]
fn messages_that_telegram_has_are_not_sent_again_after_a_kill() {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "accepted:after:2")]);
    gateway.wait_until_polling(&house);
    let text = lines(120);
    house.agent_asked("all of it").reply(json!({"text": text}));
    drop(gateway.end());
    assert_eq!(house.heard().len(), 2);
    let _gateway = house.gateway();
    let whole = house.sim.wait_for(
        |view| view.bot_texts(house.bot(), OWNER).len() == 3,
        PATIENCE,
    );
    whole.unwrap();
    assert_eq!(house.heard().join("\n"), text);
}

#[test]
fn replies_of_two_sessions_to_one_chat_go_out_in_the_order_of_acceptance() {
    let mut house = House::new();
    house.share_bot("TWO", 12);
    let gateway = house.gateway();
    let mut one = house.agent().thread("one");
    house.say("for one");
    one.wait_for_message();
    assert!(gateway.stop().success());
    one.reply(json!({"text": "1 by one"}));
    // The person gives the chat to the other session.
    house.config["sessions"]["ONE"]["chat_ids"] = json!([13]);
    house.config["sessions"]["TWO"]["chat_ids"] = json!([OWNER]);
    house.write_config();
    let mut two = house.agent_of("TWO").thread("two");
    two.reply(json!({"text": "2 by two", "to": "home"}));
    one.reply(json!({"text": "3 by one", "to": house.sim.confirmed(house.bot())[0]}));
    two.reply(json!({"text": "4 by two", "to": "home"}));
    let _gateway = house.gateway();
    house.wait_to_hear(&["1 by one", "2 by two", "3 by one", "4 by two"]);
}

#[test]
fn thirty_replies_to_three_chats_keep_their_order() {
    let house = House::with(json!({"chat_ids": [11, 12, 13], "allowed_users": [11, 12, 13]}));
    let gateway = house.gateway();
    let chats: Vec<(i64, i64)> = [11, 12, 13]
        .into_iter()
        .map(|chat| (chat, house.sim.say(house.bot(), chat, chat, "?")))
        .map(|(chat, sent)| (chat, sent.update_id.unwrap()))
        .collect();
    house.wait_for_inbox(3);
    let mut agent = house.agent();
    agent.poll(json!({}));
    assert!(gateway.stop().success());
    for number in 0..10 {
        for (chat, update) in &chats {
            let text = format!("{number} to {chat}");
            agent.reply(json!({"text": text, "to": update}));
        }
    }
    let _gateway = house.gateway();
    for (chat, _) in chats {
        let expected: Vec<String> = (0..10)
            .map(|number| format!("{number} to {chat}"))
            .collect();
        wait_for("the replies", || {
            let heard = house.sim.bot_texts(house.bot(), chat);
            if heard.len() == 10 {
                Ok(())
            } else {
                Err(heard)
            }
        });
        assert_eq!(house.sim.bot_texts(house.bot(), chat), expected);
    }
}

#[test]
fn a_reaction_whose_answer_is_lost_is_not_repeated() {
    let house = House::new();
    let _gateway = house.gateway();
    let lost = Fault::on(house.bot()).method("setMessageReaction");
    house.sim.fault(lost.answer_lost());
    let mut agent = house.agent_asked("hello");
    let asked = std::time::Instant::now();
    let reaction = agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    assert_eq!(reaction["status"], "accepted");
    let waited = asked.elapsed();
    assert!(
        waited.as_secs() < 5,
        "nothing is to be waited for: {waited:?}"
    );
    assert!(
        reaction["notices"][0]
            .as_str()
            .unwrap()
            .contains("it is not sent again"),
        "{reaction}"
    );
    agent.reply(json!({"text": "after it"}));
    assert_eq!(house.heard(), ["after it"]);
    assert_eq!(house.sim.call_count(house.bot(), "setMessageReaction"), 1);
}

#[test]
fn a_reaction_stands_on_the_message_without_an_answer() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    let reaction = agent.call("telegram_react", json!({"emoji": "❤️"})).ok();
    assert_eq!(reaction["status"], "delivered");
    let line = &house.sim.transcript(house.bot(), OWNER)[0];
    assert_eq!(line.reactions, [(house.bot(), "❤".to_owned())]);
    assert_eq!(reaction["acked"], Value::Null);
    assert_eq!(house.names("inbox").len(), 1);
}

#[test]
fn a_revoked_token_keeps_the_reply_until_it_is_good_again() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("hello");
    house.sim.revoke(house.bot());
    house.wait_for_bot(0, "off", json!("the token is not accepted (401)"));
    assert!(gateway.stop().success());
    agent.reply(json!({"text": "hi"}));
    let gateway = house.gateway_with(&[]);
    let refused = house.sim.wait_for(
        |view| view.call_count(house.bot(), "sendMessage") == 1,
        PATIENCE,
    );
    refused.unwrap();
    assert!(gateway.stop().success());
    assert_eq!(house.names("failed"), [""; 0]);
    house.sim.unrevoke(house.bot());
    let _gateway = house.gateway();
    house.wait_to_hear(&["hi"]);
}
