use std::time::Duration;

use serde_json::json;

use crate::client::*;

const OTHER: &str = "409 Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
const WEBHOOK: &str = "409 Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

#[test]
fn the_older_of_two_waiting_polls_gets_409_and_the_newer_lives() {
    let house = house();
    std::thread::scope(|scope| {
        let older = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        let newer = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50, "limit": 5 })));
        assert_eq!(older.join().unwrap().refusal(), OTHER);
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        house.sim.say(house.bot, ANNA, ANNA, "for the newer");
        assert_eq!(ids(&newer.join().unwrap()).len(), 1);
    });
}

#[test]
fn a_poll_that_does_not_wait_sends_nobody_home() {
    let house = house();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        assert_eq!(
            house.poll(json!({ "timeout": 0, "offset": -1 })),
            Vec::<i64>::new()
        );
        assert_eq!(house.sim.waiting_polls(house.bot), 1);
        house
            .sim
            .say(house.bot, ANNA, ANNA, "for the one that waits");
        assert_eq!(ids(&waiting.join().unwrap()).len(), 1);
    });
}

#[test]
fn while_updates_are_pending_both_pollers_are_served_without_409() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, "for both");
    let first = house.call("getUpdates", json!({ "timeout": 50 }));
    let second = house.call("getUpdates", json!({ "timeout": 50 }));
    assert_eq!(ids(&first), ids(&second));
    assert!(
        house
            .sim
            .calls(house.bot)
            .iter()
            .all(|call| call.outcome.is_ok())
    );
}

#[test]
fn a_second_conflict_within_three_seconds_is_answered_three_seconds_late() {
    let house = house();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        let second =
            scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50, "offset": 1 })));
        assert_eq!(first.join().unwrap().refusal(), OTHER);
        house.wait_for(|view| {
            view.waiting_polls(house.bot) == 1 && view.calls(house.bot).len() == 2
        });
        let third = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50, "offset": 2 })));
        assert_eq!(second.join().unwrap().refusal(), OTHER);
        let calls = house.sim.calls(house.bot);
        let late = calls[1].answered_at_ms.unwrap() - calls[2].at_ms;
        assert!(late >= 2_900, "{late} ms");
        house.sim.say(house.bot, ANNA, ANNA, "for the third");
        third.join().unwrap().result();
    });
}

#[test]
fn an_active_webhook_refuses_polls() {
    let house = house();
    house
        .call("setWebhook", json!({ "url": "https://example.org/hook" }))
        .result();
    assert_eq!(house.call("getUpdates", json!({})).refusal(), WEBHOOK);
    house.call("deleteWebhook", json!({})).result();
    assert_eq!(house.poll(json!({})), Vec::<i64>::new());
}

#[test]
fn setting_a_webhook_sends_the_waiting_poll_home() {
    let house = house();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        house
            .call("setWebhook", json!({ "url": "https://example.org/hook" }))
            .result();
        assert_eq!(
            poll.join().unwrap().refusal(),
            "409 Conflict: terminated by setWebhook request"
        );
    });
}

#[test]
fn a_webhook_must_be_https_on_a_known_port() {
    let house = house();
    let set = |url: &str| house.call("setWebhook", json!({ "url": url })).refusal();
    assert_eq!(
        set("http://example.org"),
        "400 Bad Request: bad webhook: An HTTPS URL must be provided for webhook"
    );
    assert_eq!(
        set("https://example.org:8444"),
        "400 Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
    );
}

#[test]
fn a_webhook_set_twice_within_a_second_is_too_many() {
    let house = house();
    let set = || house.call("setWebhook", json!({ "url": "https://example.org/hook" }));
    set().result();
    assert_eq!(set().refusal(), "429 Too Many Requests: retry after 1");
    house.sim.advance(Duration::from_secs(2));
    set().result();
}

#[test]
fn webhook_info_counts_what_waits() {
    let house = house();
    house.sim.set_allowed_updates(house.bot, &["message"]);
    house.sim.say(house.bot, ANNA, ANNA, "one");
    let info = house.call("getWebhookInfo", json!({})).result();
    assert_eq!(
        info,
        json!({ "url": "", "has_custom_certificate": false, "pending_update_count": 1, "allowed_updates": ["message"] })
    );
}

#[test]
fn deleting_a_webhook_can_drop_what_waits() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, "one");
    house
        .call("deleteWebhook", json!({ "drop_pending_updates": true }))
        .result();
    assert_eq!(house.sim.pending(house.bot), 0);
}

#[test]
fn conflicts_with_a_webhook_keep_the_same_distance() {
    let house = house();
    house
        .call("setWebhook", json!({ "url": "https://example.org/hook" }))
        .result();
    house.call("getUpdates", json!({})).refusal();
    assert!(house.took() < Duration::from_secs(2));
    house.call("getUpdates", json!({})).refusal();
    assert!(house.took() >= Duration::from_millis(2_900));
    house.sim.advance(Duration::from_secs(3));
    house.call("getUpdates", json!({})).refusal();
    assert!(house.took() < Duration::from_secs(2));
}
