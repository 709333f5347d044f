//! Whatever happens to a poll, the gateway heals by itself, and what was written meanwhile arrives
//! exactly once.
//!
//! A poll that hangs for ever is given up after 65 s: `telegram::polling` has that number, and the
//! test for it is a soak test below.

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::support::{House, PATIENCE, call, wait_for};

/// The next poll meets the fault; a message that is written then arrives, once, and so does a later one.
fn arrives_once_despite(fault: impl FnOnce(Fault) -> Fault) {
    let house = House::new();
    let gateway = house.gateway();
    let fault = house
        .sim
        .fault(fault(Fault::on(house.bot()).method("getUpdates")));
    // The poll that waits is answered with this one; the next poll meets the fault.
    house.say("before");
    let struck = house
        .sim
        .wait_for(|view| view.fault_hits(fault) > 0, PATIENCE);
    struck.unwrap();
    house.say("meanwhile");
    house.wait_for_inbox(2);
    gateway.wait_until_polling(&house);
    house.say("after");
    house.wait_for_texts(&["before", "meanwhile", "after"]);
    house.wait_for_bot(0, "polling", json!(true));
    assert_eq!(house.bot_status(0).get("unreachable"), None);
}

#[test]
fn a_server_error_costs_no_message() {
    arrives_once_despite(|fault| fault.error(500, "Internal Server Error").times(2));
}

#[test]
fn a_proxys_error_page_costs_no_message() {
    arrives_once_despite(|fault| fault.html(502));
}

#[test]
fn a_not_found_costs_no_message() {
    arrives_once_despite(|fault| fault.error(404, "Not Found"));
}

#[test]
fn a_flood_wait_on_polls_costs_no_message() {
    arrives_once_despite(|fault| fault.retry_after(1));
}

#[test]
fn an_answer_that_is_no_json_costs_no_message() {
    arrives_once_despite(Fault::malformed);
}

#[test]
fn an_answer_that_ends_in_the_middle_costs_no_message() {
    arrives_once_despite(Fault::truncated);
}

#[test]
fn an_answer_that_is_lost_costs_no_message() {
    arrives_once_despite(Fault::answer_lost);
}

#[test]
fn a_connection_that_closes_instead_of_an_answer_costs_no_message() {
    arrives_once_despite(Fault::closed_after);
}

#[test]
fn a_connection_that_closes_before_the_poll_is_heard_costs_no_message() {
    arrives_once_despite(Fault::closed_before);
}

#[test]
fn a_connection_that_is_reset_costs_no_message() {
    arrives_once_despite(Fault::reset_before);
}

#[test]
fn while_telegram_is_away_the_bot_is_tried_again_and_what_was_written_arrives_when_it_is_back() {
    let house = House::new();
    let gateway = house.gateway();
    house.sim.pause().unwrap();
    house.say("is anybody there?");
    house.wait_until_unreachable();
    house.sim.resume().unwrap();
    house.wait_for_texts(&["is anybody there?"]);
    house.wait_for_bot(0, "unreachable", Value::Null);
    gateway.wait_for_log("polling works again");
}

#[test]
fn connections_that_break_under_a_waiting_poll_cost_no_message() {
    let house = House::new();
    let gateway = house.gateway();
    house.sim.sever().unwrap();
    house.say("hello");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    house.say("again");
    house.wait_for_texts(&["hello", "again"]);
}

#[test]
fn another_poller_is_shown_as_a_conflict_and_outlived() {
    let house = House::new();
    let gateway = house.gateway();
    // The newer of two waiting polls wins: the gateway gets 409.
    let request = house.request("getUpdates", &json!({"timeout": 50}));
    let address = house.sim.address();
    let other = std::thread::spawn(move || call(&request, address));
    house.wait_for_bot(0, "conflict", json!("other_poller"));
    assert_eq!(house.bot_status(0)["polling"], false);
    gateway.wait_for_log("another program polls this bot's updates");
    // It polls again after its pause, which ends the other poll, and no other program polls any more.
    assert_eq!(other.join().unwrap()["error_code"], 409);
    house.say("mine again");
    house.wait_for_texts(&["mine again"]);
    house.wait_for_bot(0, "conflict", Value::Null);
}

#[test]
fn a_conflict_is_not_fought_but_waited_out_for_at_least_its_pause() {
    let house = House::new();
    let gateway = house.gateway();
    let conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    let fault = house.sim.fault(
        Fault::on(house.bot())
            .method("getUpdates")
            .error(409, conflict)
            .times(2),
    );
    house.say("one");
    let struck = house
        .sim
        .wait_for(|view| view.fault_hits(fault) == 2, PATIENCE);
    struck.unwrap();
    gateway.wait_until_polling(&house);
    let refused: Vec<_> = house.sim.calls_of(house.bot(), "getUpdates");
    let after: Vec<i64> = refused
        .windows(2)
        .filter(|pair| pair[0].outcome.code() == Some(409))
        .map(|pair| pair[1].at_ms - pair[0].answered_at_ms.unwrap())
        .collect();
    // 5 s, then 10 s, both divided by ten by `"pace": "off"`.
    assert!(
        after.len() == 2 && after[0] >= 500 && after[1] >= 1000,
        "{after:?}"
    );
}

#[test]
fn a_foreign_webhook_is_shown_as_a_conflict_and_never_deleted() {
    let house = House::new();
    let gateway = house.gateway();
    let set = house.other_program("setWebhook", &json!({"url": "https://example.org/hook"}));
    assert_eq!(set["ok"], true, "{set}");
    house.wait_for_bot(0, "conflict", json!("webhook"));
    gateway.wait_for_log("telepost does not remove what it did not set");
    assert_eq!(house.sim.call_count(house.bot(), "deleteWebhook"), 0);

    // The program that set it removes it.
    house.other_program("deleteWebhook", &json!({}));
    house.say("back");
    house.wait_for_texts(&["back"]);
    house.wait_for_bot(0, "conflict", Value::Null);
    assert_eq!(house.sim.call_count(house.bot(), "deleteWebhook"), 1);
}

#[test]
fn a_revoked_token_switches_its_bot_off_loudly_until_it_is_good_again() {
    let mut house = House::new();
    house.add_session("TWO", json!({"chat_ids": [12], "allowed_users": [12]}));
    house.write_config();
    let gateway = house.gateway();
    house.sim.revoke(house.bot());
    house.wait_for_bot(0, "off", json!("the token is not accepted (401)"));
    gateway.wait_for_log("Telegram does not accept the token of this bot");
    house.say("can you hear me?");

    house.sim.say(house.bots[1], 12, 12, "the other bot works");
    wait_for("the message of the other bot", || {
        let names = house.names_of("TWO", "inbox");
        if names.len() == 1 { Ok(()) } else { Err(names) }
    });
    assert_eq!(house.bot_status(1)["polling"], true);

    house.sim.unrevoke(house.bot());
    house.wait_for_texts(&["can you hear me?"]);
    house.wait_for_bot(0, "off", Value::Null);
}

#[test]
#[ignore = "takes 65 s; run by TELEPOST_SOAK=1"]
fn a_poll_that_hangs_is_given_up_after_65_seconds() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .sim
        .fault(Fault::on(house.bot()).method("getUpdates").hang());
    house.say("before");
    house.wait_for_inbox(1);
    house.say("meanwhile");
    let deadline = std::time::Duration::from_secs(75);
    let again = house.sim.wait_for(
        |view| {
            view.calls_of(house.bot(), "getUpdates")
                .iter()
                .any(|call| call.outcome == telegram_sim::Outcome::Aborted)
        },
        deadline,
    );
    again.unwrap();
    house.wait_for_texts(&["before", "meanwhile"]);
}
