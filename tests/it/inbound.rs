//! Messages of people arrive: on disk before it is confirmed, once, in order, whatever comes between.

use serde_json::json;

use crate::support::{House, OWNER, PATIENCE, SUPERGROUP, texts, wait_for};

#[test]
fn every_poll_asks_for_the_kinds_that_are_routed() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    let polls = house.sim.calls_of(house.bot(), "getUpdates");
    assert!(polls.len() >= 2, "{polls:?}");
    for poll in polls {
        let kinds = json!([
            "message",
            "edited_message",
            "callback_query",
            "message_reaction",
            "my_chat_member"
        ]);
        assert_eq!(poll.params["allowed_updates"], kinds);
    }
}

#[test]
fn the_first_poll_has_no_offset_and_the_next_confirms_what_came() {
    let house = House::new();
    let gateway = house.gateway();
    let sent = house.say("one").update_id.unwrap();
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    let mut offsets: Vec<_> = house
        .sim
        .calls_of(house.bot(), "getUpdates")
        .iter()
        .map(|poll| poll.int("offset"))
        .collect();
    offsets.dedup();
    assert_eq!(offsets, [None, Some(sent + 1)]);
    assert_eq!(house.sim.confirmed(house.bot()), [sent]);
}

#[test]
fn what_telegram_was_told_is_on_disk_and_what_is_on_disk_need_not_be_told() {
    let house = House::new();
    let sent = house.say("precious").update_id.unwrap();
    let (_, log) = house
        .gateway_with(&[("TELEPOST_CRASH_AT", "confirm:before")])
        .end();
    assert!(log.contains("messages stored"), "{log}");
    assert_eq!(house.inbox_texts(), ["precious"]);
    assert_eq!(house.sim.confirmed(house.bot()), [0; 0]);

    let _gateway = house.gateway();
    assert_eq!(house.sim.confirmed(house.bot()), [sent]);
    assert_eq!(house.inbox_texts(), ["precious"]);
}

#[test]
fn a_gateway_that_dies_before_its_batch_is_on_disk_has_confirmed_nothing() {
    let house = House::new();
    house.say("one");
    house.say("two");
    let (_, log) = house
        .gateway_with(&[("TELEPOST_CRASH_AT", "inbox-sync:before")])
        .end();
    assert_eq!(house.sim.confirmed(house.bot()), [0; 0], "{log}");
    let _gateway = house.gateway();
    house.wait_for_texts(&["one", "two"]);
}

#[test]
fn an_update_that_comes_again_gives_no_second_entry() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("one");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
    house.say("two");
    house.wait_for_texts(&["one", "two"]);
}

#[test]
fn an_update_that_comes_again_after_it_was_answered_stays_answered() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("one");
    agent.reply(json!({"text": "answered"}));
    gateway.wait_until_polling(&house);
    assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
    house.say("two");
    house.wait_for_texts(&["two"]);
    assert_eq!(texts(&agent.poll(json!({}))), ["two"]);
}

#[test]
fn an_update_that_comes_again_after_a_restart_gives_no_second_entry() {
    let house = House::new();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("settled");
    agent.reply(json!({"text": "answered"}));
    house.say("pending");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    assert_eq!(house.sim.redeliver(house.bot(), 2), 2);
    house.say("new");
    house.wait_for_texts(&["pending", "new"]);
    assert_eq!(house.names("done").len(), 1);
}

#[test]
fn update_ids_that_start_again_at_a_lower_number_arrive_and_are_confirmed() {
    let house = House::new();
    let gateway = house.gateway();
    house.say("before the quiet week");
    house.wait_for_inbox(1);
    gateway.wait_until_polling(&house);
    house.sim.restart_ids(house.bot(), 7);
    for text in ["after it", "and more", "and more again"] {
        house.say(text);
        gateway.wait_until_polling(&house);
    }
    house.wait_for_texts(&[
        "before the quiet week",
        "after it",
        "and more",
        "and more again",
    ]);
    gateway.wait_until_polling(&house);
    let confirmed = house.sim.confirmed(house.bot());
    assert_eq!(confirmed.get(1..), Some(&[7, 8, 9][..]));
}

#[test]
fn poison_among_good_updates_costs_nothing_but_itself() {
    let house = House::new();
    let (sim, bot) = (&house.sim, house.bot());
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    house.say("good 1");
    sim.raw_text(bot, "null");
    sim.raw_text(bot, "{}");
    sim.raw_text(bot, r#"{"update_id":-5,"message":{}}"#);
    house.say("good 2");
    sim.raw_text(bot, &deep);
    sim.raw_update(
        bot,
        json!({"message": {"message_id": 5, "text": "no chat"}}),
    );
    sim.raw_update(bot, json!({"message": "no object"}));
    sim.raw_update(bot, json!({"kind_of_next_year": {"id": 1}}));
    house.say("good 3");
    let gateway = house.gateway();
    house.wait_for_texts(&["good 1", "good 2", "good 3"]);
    // The kind of next year is skipped, like every unknown kind.
    assert_eq!(
        house.dead_letters(),
        [
            "it has no usable update_id",
            "it has no usable update_id",
            "it has no usable update_id",
            "it has no usable update_id",
            "message is not an object",
            "message.chat is missing",
        ]
    );
    gateway.wait_until_polling(&house);
    assert_eq!(sim.pending(bot), 0, "all of it is confirmed");
    house.say("good 4");
    house.wait_for_texts(&["good 1", "good 2", "good 3", "good 4"]);
    assert_eq!(house.dead_letters().len(), 6);
}

#[test]
fn updates_without_an_id_alone_are_kept_once_and_asked_for_in_no_storm() {
    let house = House::new();
    let gateway = house.gateway();
    let before = house.sim.call_count(house.bot(), "getUpdates");
    house.sim.raw_text(house.bot(), "null");
    let polls = |view: &telegram_sim::View<'_>| view.call_count(house.bot(), "getUpdates");
    let three_more = house
        .sim
        .wait_for(|view| polls(view) >= before + 3, PATIENCE);
    three_more.unwrap();
    let times: Vec<i64> = house
        .sim
        .calls_of(house.bot(), "getUpdates")
        .iter()
        .skip(before)
        .map(|poll| poll.at_ms)
        .collect();
    // Pauses of 1 s, 2 s and 4 s, divided by ten by `"pace": "off"`.
    assert!(
        times[1] - times[0] >= 200 && times[2] - times[1] >= 400,
        "{times:?}"
    );
    assert_eq!(house.dead_letters().len(), 1);
    house.say("good");
    house.wait_for_texts(&["good"]);
    gateway.wait_until_polling(&house);
    assert_eq!(house.sim.pending(house.bot()), 0);
}

#[test]
fn a_text_with_an_entity_of_next_year_arrives_with_its_text() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("at noon")
        .entities(&json!([{"type": "telepathy", "offset": 0, "length": 2, "depth": {"x": []}}]))
        .send();
    let shown = house.agent().wait_for_message();
    assert_eq!(texts(&shown), ["at noon"]);
}

#[test]
fn an_update_of_four_megabytes_is_kept_as_a_dead_letter_and_the_others_arrive() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("before");
    let big = "x".repeat(4 << 20);
    let message = json!({"message": {"message_id": 900, "date": house.sim.now(), "chat": {"id": OWNER, "type": "private"}, "from": {"id": OWNER}, "text": big}});
    house.sim.raw_update(house.bot(), message);
    house.say("after");
    house.wait_for_texts(&["before", "after"]);
    let reasons = house.dead_letters();
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].ends_with("but at most 1048576 are accepted"),
        "{reasons:?}"
    );
}

#[test]
fn kill_9_in_the_middle_of_a_backlog_of_300_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    let said: Vec<String> = (0..300).map(|number| format!("message {number}")).collect();
    for text in &said {
        house.say(text);
    }
    let gateway = house.gateway_with(&[]);
    wait_for("some of the backlog", || {
        let count = house.names("inbox").len();
        if count >= 40 { Ok(()) } else { Err(count) }
    });
    gateway.kill();
    let _gateway = house.gateway();
    house.wait_for_inbox(300);
    assert_eq!(house.inbox_texts(), said);
}

#[test]
fn an_abort_between_two_entries_of_a_batch_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    for number in 0..20 {
        house.say(&format!("message {number}"));
    }
    drop(
        house
            .gateway_with(&[("TELEPOST_CRASH_AT", "inbox-entry:after:7")])
            .end(),
    );
    assert_eq!(house.names("inbox").len(), 7);
    let _gateway = house.gateway();
    house.wait_for_inbox(20);
    let expected: Vec<String> = (0..20).map(|number| format!("message {number}")).collect();
    assert_eq!(house.inbox_texts(), expected);
}

#[test]
fn two_sessions_of_one_bot_each_get_their_own_chats() {
    let mut house = House::new();
    house.share_bot("TWO", 12);
    let _gateway = house.gateway();
    house.sim.say(house.bot(), 12, 12, "for two");
    house.say("for one");
    let mut one = house.agent().thread("one");
    let mut two = house.agent_of("TWO").thread("two");
    assert_eq!(texts(&one.wait_for_message()), ["for one"]);
    assert_eq!(texts(&two.wait_for_message()), ["for two"]);
    one.reply(json!({"text": "from one"}));
    two.reply(json!({"text": "from two"}));
    assert_eq!(house.heard(), ["from one"]);
    assert_eq!(house.sim.bot_texts(house.bot(), 12), ["from two"]);
}

#[test]
fn an_edit_before_the_message_was_shown_shows_only_the_newest_text() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.say("frist");
    house
        .sim
        .edit(house.bot(), OWNER, sent.message_id, "first")
        .unwrap();
    house.wait_for_inbox(2);
    let mut agent = house.agent();
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["first"]);
    assert_eq!(shown["messages"][0]["edited"], true);
    agent.reply(json!({"text": "got it"}));
    assert_eq!(house.names("inbox"), [""; 0], "both entries are settled");
}

#[test]
fn an_edit_after_the_message_was_shown_is_a_message_of_its_own() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.say("delete it");
    let mut agent = house.agent();
    agent.wait_for_message();
    house
        .sim
        .edit(house.bot(), OWNER, sent.message_id, "do not delete it");
    let shown = agent.wait_for_message();
    assert_eq!(texts(&shown), ["do not delete it"]);
    assert_eq!(shown["messages"][0]["edited"], true);
    assert_eq!(shown["messages"][0]["message_id"], sent.message_id);
}

#[test]
fn an_album_is_shown_as_one_message_and_settled_as_a_whole() {
    let house = House::new();
    let _gateway = house.gateway();
    for part in 1..=3 {
        let file = format!("photo-{part}");
        house.sim.add_file(&file, "bytes");
        let caption = if part == 1 { "my holidays" } else { "" };
        house
            .sim
            .message(house.bot())
            .chat(OWNER)
            .photo(&file)
            .media_group("album")
            .text(caption)
            .send();
    }
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    assert_eq!(texts(&shown), ["my holidays"]);
    let attachments = shown["messages"][0]["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 3);
    agent.reply(json!({"text": "nice"}));
    assert_eq!(house.names("inbox"), [""; 0]);
    assert_eq!(house.names("done").len(), 3);
}

#[test]
fn a_paste_that_telegram_cut_is_shown_as_one_message() {
    let house = House::new();
    let _gateway = house.gateway();
    let paste = "word ".repeat(1000);
    let pieces = house.sim.say_long(house.bot(), OWNER, OWNER, &paste);
    assert_eq!(pieces.len(), 2);
    let mut agent = house.agent();
    let shown = agent.wait_for_message();
    let first = &shown["messages"][0];
    assert_eq!(shown["messages"].as_array().unwrap().len(), 1, "{shown}");
    let mut text = String::new();
    for part in 1..=first["parts"].as_u64().unwrap_or(1) {
        let page = agent.poll(json!({"message": first["update_id"], "part": part}));
        text.push_str(page["messages"][0]["text"].as_str().unwrap());
    }
    assert_eq!(text.trim_end(), paste.trim_end());
}

#[test]
fn a_reaction_of_the_owner_arrives() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("do it?");
    let answer = agent.reply(json!({"text": "done"}));
    let message = answer["message_ids"][0].as_i64().unwrap();
    house
        .sim
        .react(house.bot(), OWNER, message, OWNER, &["👍"])
        .unwrap();
    let shown = agent.wait_for_message();
    let reaction = &shown["messages"][0];
    assert_eq!(reaction["kind"], "reaction");
    assert_eq!(
        reaction["text"],
        format!("[reacted with 👍 to message {message}]")
    );
}

#[test]
fn a_button_that_the_owner_presses_arrives_as_a_choice() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("red or blue?");
    let answer = agent.reply(json!({"text": "which?"}));
    let message = answer["message_ids"][0].as_i64().unwrap();
    house
        .sim
        .press(house.bot(), OWNER, message, "blue", OWNER)
        .unwrap();
    let shown = agent.wait_for_message();
    let choice = &shown["messages"][0];
    assert_eq!(
        (&choice["kind"], &choice["text"]),
        (&json!("choice"), &json!("blue"))
    );
}

#[test]
fn an_answer_goes_into_the_topic_of_its_question() {
    let house = House::with(json!({"chat_ids": [OWNER, SUPERGROUP]}));
    house
        .sim
        .add_group(SUPERGROUP, "Forum", telegram_sim::GroupKind::Forum);
    house.sim.open_chat(house.bot(), SUPERGROUP);
    let _gateway = house.gateway();
    let topic = house.sim.add_topic(house.bot(), SUPERGROUP, "Bugs");
    let in_topic = house
        .sim
        .message(house.bot())
        .chat(SUPERGROUP)
        .from(OWNER)
        .topic(topic)
        .text("in the topic")
        .send();
    let in_general = house
        .sim
        .message(house.bot())
        .chat(SUPERGROUP)
        .from(OWNER)
        .text("in General")
        .send();
    let mut agent = house.agent();
    wait_for("both messages", || {
        let count = house.names("inbox").len();
        if count >= 2 { Ok(()) } else { Err(count) }
    });
    let shown = agent.poll(json!({}));
    let places: Vec<_> = shown["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (message["text"].clone(), message["topic"]["id"].clone()))
        .collect();
    assert_eq!(
        places,
        [
            (json!("in the topic"), json!(topic)),
            (json!("in General"), json!(null))
        ]
    );
    agent.reply(json!({"text": "answer in topic", "to": in_topic.update_id}));
    agent.reply(json!({"text": "answer in General", "to": in_general.update_id}));
    let answers: Vec<_> = house
        .sim
        .transcript(house.bot(), SUPERGROUP)
        .into_iter()
        .filter(|line| line.from_bot)
        .map(|line| (line.text, line.topic))
        .collect();
    assert_eq!(
        answers,
        [
            ("answer in topic".to_owned(), Some(topic)),
            ("answer in General".to_owned(), None)
        ]
    );
}
