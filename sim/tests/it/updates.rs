use std::time::Duration;

use serde_json::{Value, json};

use crate::client::*;

/// A house with this many messages of Anna waiting, and their update ids.
fn waiting(count: usize) -> (House, Vec<i64>) {
    let house = house();
    let updates = (0..count).map(|n| {
        house
            .sim
            .say(house.bot, ANNA, ANNA, &format!("message {n}"))
            .update_id
            .unwrap()
    });
    let updates = updates.collect();
    (house, updates)
}

/// Lets the anti-spin rules forget the last request.
fn later(house: &House) {
    house.sim.advance(Duration::from_secs(4));
}

#[test]
fn a_request_without_offset_confirms_nothing() {
    let (house, updates) = waiting(2);
    assert_eq!(house.poll(json!({})), updates);
    later(&house);
    assert_eq!(house.poll(json!({})), updates);
    assert_eq!(house.sim.confirmed(house.bot), Vec::<i64>::new());
}

#[test]
fn an_offset_confirms_everything_below_it_when_it_arrives() {
    let (house, updates) = waiting(3);
    assert_eq!(house.poll(json!({ "offset": updates[2] })), updates[2..]);
    assert_eq!(house.sim.confirmed(house.bot), updates[..2]);
    assert_eq!(house.sim.pending(house.bot), 1);
}

#[test]
fn an_offset_confirms_even_when_the_answer_is_lost() {
    let (house, updates) = waiting(2);
    house.sim.fault(
        telegram_sim::Fault::on(house.bot)
            .method("getUpdates")
            .answer_lost(),
    );
    house
        .try_call("getUpdates", &json!({ "offset": updates[1] }))
        .unwrap_err();
    assert_eq!(house.sim.confirmed(house.bot), updates[..1]);
}

#[test]
fn a_negative_offset_keeps_the_newest_and_forgets_the_rest() {
    let (house, updates) = waiting(5);
    assert_eq!(house.poll(json!({ "offset": -2 })), updates[3..]);
    later(&house);
    assert_eq!(house.poll(json!({})), updates[3..]);
}

#[test]
fn a_negative_offset_larger_than_the_queue_keeps_everything() {
    let (house, updates) = waiting(2);
    assert_eq!(house.poll(json!({ "offset": -100 })), updates);
}

#[test]
fn an_offset_ten_behind_the_tail_is_honoured_and_eats_the_next_updates() {
    let (house, updates) = waiting(1);
    let tail = updates[0] + 1;
    assert_eq!(
        house.poll(json!({ "offset": tail + 10 })),
        Vec::<i64>::new()
    );
    let lost = house
        .sim
        .say(house.bot, ANNA, ANNA, "lost")
        .update_id
        .unwrap();
    later(&house);
    assert_eq!(
        house.poll(json!({ "offset": tail + 10 })),
        Vec::<i64>::new()
    );
    assert_eq!(house.sim.confirmed(house.bot), [updates[0], lost]);
}

#[test]
fn an_offset_eleven_behind_the_tail_is_ignored() {
    let (house, updates) = waiting(2);
    assert_eq!(house.poll(json!({ "offset": updates[1] + 12 })), updates);
    assert_eq!(house.sim.pending(house.bot), 2);
}

#[test]
fn an_offset_far_before_the_head_starts_at_the_head() {
    let (house, updates) = waiting(2);
    assert_eq!(house.poll(json!({ "offset": 5 })), updates);
}

#[test]
fn the_limit_is_clamped_to_one_and_to_a_hundred() {
    let (house, updates) = waiting(103);
    assert_eq!(house.poll(json!({ "limit": 500 })), updates[..100]);
    later(&house);
    assert_eq!(house.poll(json!({ "limit": 0 })), updates[..1]);
    later(&house);
    assert_eq!(house.poll(json!({ "limit": 3 })), updates[..3]);
}

#[test]
fn the_same_offset_again_at_once_gets_one_update() {
    let (house, updates) = waiting(3);
    assert_eq!(house.poll(json!({ "offset": updates[0] })), updates);
    assert_eq!(house.poll(json!({ "offset": updates[0] })), updates[..1]);
    house.sim.advance(Duration::from_millis(600));
    assert_eq!(house.poll(json!({ "offset": updates[0] })), updates);
}

#[test]
fn the_same_offset_again_within_three_seconds_waits_for_three() {
    let house = house();
    assert_eq!(house.poll(json!({ "timeout": 0 })), Vec::<i64>::new());
    assert!(
        house.took() < Duration::from_secs(2),
        "the first does not wait"
    );
    assert_eq!(house.poll(json!({ "timeout": 0 })), Vec::<i64>::new());
    assert!(
        house.took() > Duration::from_millis(2_900),
        "the second does"
    );
}

#[test]
fn a_long_poll_wakes_with_the_first_update() {
    let house = house();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| house.poll(json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        let sent = house.sim.say(house.bot, ANNA, ANNA, "wake up");
        assert_eq!(poll.join().unwrap(), [sent.update_id.unwrap()]);
        assert!(house.took() < Duration::from_secs(5));
    });
    assert_eq!(house.sim.waiting_polls(house.bot), 0);
}

#[test]
fn a_long_poll_ends_empty_after_its_timeout() {
    let house = house();
    assert_eq!(house.poll(json!({ "timeout": 1 })), Vec::<i64>::new());
    assert!(house.took() >= Duration::from_secs(1));
}

#[test]
fn a_long_poll_ends_when_its_client_goes_away() {
    let house = house();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| house.try_call("getUpdates", &json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        house.sim.sever().unwrap();
        poll.join().unwrap().unwrap_err();
    });
    house.wait_for(|view| view.waiting_polls(house.bot) == 0);
    assert_eq!(
        house.sim.calls(house.bot)[0].outcome,
        telegram_sim::Outcome::Aborted
    );
}

#[test]
fn an_answer_is_cut_at_four_mebibytes() {
    let house = house();
    let long = "x".repeat(1 << 20);
    let updates: Vec<i64> = (0..5)
        .map(|_| {
            house
                .sim
                .say(house.bot, ANNA, ANNA, &long)
                .update_id
                .unwrap()
        })
        .collect();
    assert_eq!(
        house.poll(json!({})),
        updates[..3],
        "four of them, with their wrapping, are more than 4 MiB"
    );
    assert_eq!(house.poll(json!({ "offset": updates[3] })), updates[3..]);
}

#[test]
fn an_update_larger_than_the_cut_comes_alone() {
    let house = house();
    house.sim.say(house.bot, ANNA, ANNA, &"x".repeat(5 << 20));
    house.sim.say(house.bot, ANNA, ANNA, "small");
    assert_eq!(house.poll(json!({})).len(), 1);
}

#[test]
fn updates_expire_after_a_day() {
    let (house, _) = waiting(2);
    house.sim.advance(Duration::from_secs(86_399));
    let fresh = house
        .sim
        .say(house.bot, ANNA, ANNA, "fresh")
        .update_id
        .unwrap();
    house.sim.advance(Duration::from_secs(2));
    assert_eq!(house.sim.pending(house.bot), 1);
    assert_eq!(house.poll(json!({})), [fresh]);
    assert_eq!(
        house.sim.confirmed(house.bot),
        Vec::<i64>::new(),
        "expired is not confirmed"
    );
}

#[test]
fn a_message_older_than_a_day_never_becomes_an_update() {
    let house = house();
    let sent = house
        .sim
        .message(house.bot)
        .chat(ANNA)
        .text("old")
        .ago(86_401)
        .send();
    assert_eq!(sent.update_id, None);
    assert_eq!(house.sim.pending(house.bot), 0);
}

#[test]
fn the_default_set_has_no_reactions() {
    let house = house();
    let sent = house.sim.say(house.bot, ANNA, ANNA, "hello");
    assert_eq!(
        house
            .sim
            .react(house.bot, ANNA, sent.message_id, ANNA, &["👍"]),
        None
    );
}

#[test]
fn allowed_updates_apply_when_an_update_comes_into_being() {
    let house = house();
    let before = house
        .sim
        .say(house.bot, ANNA, ANNA, "before")
        .update_id
        .unwrap();
    let reactions = json!({ "allowed_updates": ["message_reaction"] });
    assert_eq!(
        house.poll(reactions),
        [before],
        "what is queued is still delivered"
    );
    let unwanted = house.sim.say(house.bot, ANNA, ANNA, "unwanted");
    assert_eq!(unwanted.update_id, None);
    let reaction = house
        .sim
        .react(house.bot, ANNA, unwanted.message_id, ANNA, &["👍"]);
    assert_eq!(reaction, Some(before + 1), "filtered updates take no id");
    house.call(
        "getUpdates",
        json!({ "offset": before + 1, "allowed_updates": ["message", "message_reaction"] }),
    );
    assert_eq!(
        house.sim.say(house.bot, ANNA, ANNA, "wanted").update_id,
        Some(before + 2),
        "and never come back"
    );
}

#[test]
fn allowed_updates_persist_until_another_list_comes() {
    let house = house();
    house.poll(json!({ "allowed_updates": ["callback_query"] }));
    later(&house);
    house.poll(json!({}));
    later(&house);
    house.poll(json!({ "allowed_updates": "not a list" }));
    assert_eq!(
        house.sim.say(house.bot, ANNA, ANNA, "hello").update_id,
        None
    );
}

#[test]
fn an_empty_list_or_one_of_unknown_names_is_the_default_set() {
    for list in [json!([]), json!(["made_up"]), json!("[]")] {
        let house = house();
        house
            .sim
            .set_allowed_updates(house.bot, &["callback_query"]);
        house.poll(json!({ "allowed_updates": list }));
        assert!(
            house
                .sim
                .say(house.bot, ANNA, ANNA, "hello")
                .update_id
                .is_some()
        );
    }
}

#[test]
fn confirmed_updates_can_come_again() {
    let (house, updates) = waiting(3);
    house.poll(json!({}));
    assert_eq!(
        house.poll(json!({ "offset": updates[2] + 1 })),
        Vec::<i64>::new()
    );
    assert_eq!(house.sim.redeliver(house.bot, 2), 2);
    later(&house);
    assert_eq!(
        house.poll(json!({ "offset": updates[2] + 1 })),
        updates[1..]
    );
    later(&house);
    assert_eq!(
        house.poll(json!({ "offset": updates[2] + 1 })),
        Vec::<i64>::new(),
        "once"
    );
}

#[test]
fn ids_can_start_again_lower() {
    let (house, updates) = waiting(1);
    house.poll(json!({ "offset": updates[0] + 1 }));
    assert_eq!(house.sim.restart_ids(house.bot, 1_000), 0);
    assert_eq!(
        house
            .sim
            .say(house.bot, ANNA, ANNA, "after a week")
            .update_id,
        Some(1_000)
    );
    assert_eq!(
        house.poll(json!({ "offset": updates[0] + 1 })),
        [1_000],
        "the stale offset is ignored"
    );
    assert_eq!(house.sim.pending(house.bot), 1);
}

#[test]
fn ids_can_jump_ahead() {
    let (house, updates) = waiting(1);
    house.sim.restart_ids(house.bot, updates[0] + 50_000);
    house.sim.say(house.bot, ANNA, ANNA, "next");
    assert_eq!(house.poll(json!({})), [updates[0], updates[0] + 50_000]);
}

#[test]
fn raw_updates_get_an_id_and_come_as_they_are() {
    let house = house();
    let id = house
        .sim
        .raw_update(
            house.bot,
            json!({ "stopped_message_generation": { "draft_id": 1 } }),
        )
        .unwrap();
    let got = house.call("getUpdates", json!({})).result();
    assert_eq!(
        got,
        json!([{ "update_id": id, "stopped_message_generation": { "draft_id": 1 } }])
    );
}

#[test]
fn raw_updates_of_known_kinds_are_filtered() {
    let house = house();
    assert_eq!(
        house
            .sim
            .raw_update(house.bot, json!({ "chat_member": {} })),
        None
    );
    assert!(
        house
            .sim
            .raw_update(house.bot, json!({ "made_up": {} }))
            .is_some()
    );
}

#[test]
fn raw_text_comes_verbatim_and_is_confirmed_by_its_number() {
    let house = house();
    let number = house.sim.raw_text(house.bot, "null").unwrap();
    house.sim.raw_text(house.bot, r#"{"update_id":-5}"#);
    let answer = house.call("getUpdates", json!({}));
    assert_eq!(
        answer.text(),
        r#"{"ok":true,"result":[null,{"update_id":-5}]}"#
    );
    house.call("getUpdates", json!({ "offset": number + 1 }));
    assert_eq!(house.sim.pending(house.bot), 1);
}

#[test]
fn raw_text_need_not_be_json() {
    let house = house();
    house.sim.raw_text(house.bot, "{garbage");
    let answer = house.call("getUpdates", json!({}));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
}

#[test]
fn a_long_poll_ends_when_its_client_hangs_up() {
    let house = house();
    let mut stream = std::net::TcpStream::connect(house.sim.address()).unwrap();
    let line = format!("GET /bot{TOKEN}/getUpdates?timeout=50 HTTP/1.1\r\nHost: sim\r\n\r\n");
    std::io::Write::write_all(&mut stream, line.as_bytes()).unwrap();
    house.wait_for(|view| view.waiting_polls(house.bot) == 1);
    drop(stream);
    house.wait_for(|view| view.waiting_polls(house.bot) == 0);
}

#[test]
fn a_waiting_poll_with_an_offset_behind_the_tail_eats_what_arrives() {
    let house = house();
    let first = house
        .sim
        .say(house.bot, ANNA, ANNA, "one")
        .update_id
        .unwrap();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| house.poll(json!({ "offset": first + 3, "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        house.sim.say(house.bot, ANNA, ANNA, "eaten");
        house.wait_for(|view| view.confirmed(house.bot).len() == 2);
        house.sim.say(house.bot, ANNA, ANNA, "eaten too");
        house.wait_for(|view| view.confirmed(house.bot).len() == 3);
        house.sim.say(house.bot, ANNA, ANNA, "heard");
        assert_eq!(poll.join().unwrap(), [first + 3]);
    });
}
