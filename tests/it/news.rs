//! Words of people are news to an agent. Edits without a visible change, movements and the events of a group are
//! none.

use serde_json::{Value, json};
use telegram_sim::GroupKind;

use crate::support::{Agent, FORUM, Gateway, House, OWNER, texts, wait_for};

/// The owner's message of this id with these fields, as Telegram sends it.
fn message(house: &House, kind: &str, id: i64, fields: Value) -> i64 {
    let mut message = json!({
        "message_id": id,
        "date": house.sim.now(),
        "chat": {"id": OWNER, "type": "private", "first_name": "Ada"},
        "from": {"id": OWNER, "is_bot": false, "first_name": "Ada"},
    });
    let fields = fields.as_object().unwrap().clone();
    message.as_object_mut().unwrap().extend(fields);
    house
        .sim
        .raw_update(house.bot(), json!({kind: message}))
        .unwrap()
}

/// Waits until everything that was sent before is taken in.
#[track_caller]
fn wait_until_taken(house: &House, gateway: &Gateway) {
    gateway.wait_until_polling(house);
    wait_for("the updates to be taken", || {
        match house.sim.pending(house.bot()) {
            0 => Ok(()),
            left => Err((left, gateway.log())),
        }
    });
}

/// Each kind of message that can be edited: its fields, edits that change nothing that a reader sees, and edits
/// that do.
fn edits() -> Vec<(Value, Vec<Value>, Vec<Value>)> {
    let photo = |id: &str| json!([{"file_id": format!("{id}-now"), "file_unique_id": id, "width": 9, "height": 9}]);
    let bold = json!([{"type": "bold", "offset": 0, "length": 6}]);
    let link = json!([{"type": "url", "offset": 7, "length": 19}]);
    let poll = |question: &str, votes: i64| {
        json!({"poll": {"id": "1", "question": question, "total_voter_count": votes,
        "options": [{"text": "yes", "voter_count": votes}, {"text": "no", "voter_count": 0}]}})
    };
    vec![
        (
            json!({"text": "deploy https://example.org"}),
            vec![
                // The first reaction, a link preview, buttons that were pressed, an entity that Telegram found.
                json!({"text": "deploy https://example.org"}),
                json!({"text": "deploy https://example.org", "edit_date": 0}),
                json!({"text": "deploy https://example.org", "link_preview_options": {"url": "https://example.org"}}),
                json!({"text": "deploy https://example.org", "entities": link, "reply_markup": {"inline_keyboard": []}}),
            ],
            vec![
                json!({"text": "do not deploy https://example.org"}),
                json!({"text": "deploy https://example.org", "entities": bold}),
            ],
        ),
        (
            json!({"photo": photo("cat"), "caption": "look", "media_group_id": "g"}),
            vec![
                json!({"photo": photo("cat"), "caption": "look", "media_group_id": "g", "has_media_spoiler": true}),
                json!({"photo": [{"file_id": "another", "file_unique_id": "cat", "width": 9, "height": 9}], "caption": "look",
                    "media_group_id": "g", "show_caption_above_media": true}),
            ],
            vec![
                json!({"photo": photo("cat"), "caption": "look there", "media_group_id": "g"}),
                json!({"photo": photo("dog"), "caption": "look", "media_group_id": "g"}),
            ],
        ),
        (
            poll("Tea?", 0),
            vec![poll("Tea?", 1), poll("Tea?", 2)],
            vec![poll("Coffee?", 0)],
        ),
        (
            json!({"checklist": {"title": "Trip", "tasks": [{"id": 1, "text": "pack"}]}}),
            vec![
                json!({"checklist": {"title": "Trip", "tasks": [{"id": 1, "text": "pack", "completion_date": 5}]}}),
            ],
            vec![
                json!({"checklist": {"title": "Trip", "tasks": [{"id": 1, "text": "pack more"}]}}),
            ],
        ),
    ]
}

/// Waits until messages are shown; a notice about a file may come first.
fn next(agent: &mut Agent) -> Value {
    let mut polls = (0..5).map(|_| agent.poll(json!({"wait_seconds": 5})));
    polls.find(|page| !texts(page).is_empty()).unwrap()
}

#[test]
fn an_edit_that_changes_nothing_visible_is_no_news_and_every_other_one_is() {
    for (original, same, other) in edits() {
        let house = House::new();
        let gateway = house.gateway();
        let first = message(&house, "message", 500, original.clone());
        house.wait_until_arrived(first);
        let mut agent = house.agent();
        agent.wait_for_message();
        agent.poll(json!({"ack": [first]}));
        for fields in &same {
            message(&house, "edited_message", 500, fields.clone());
        }
        wait_until_taken(&house, &gateway);
        assert_eq!(house.names("inbox"), [""; 0], "{original}");
        for fields in &other {
            let mut fields = fields.clone();
            fields["edit_date"] = json!(house.sim.now());
            let edit = message(&house, "edited_message", 500, fields.clone());
            house.wait_until_arrived(edit);
            let shown = next(&mut agent);
            assert_eq!(shown["messages"][0]["edited"], true, "{shown}");
            agent.poll(json!({"ack": [edit]}));
            // Telegram repeats the newest version by itself, too.
            message(&house, "edited_message", 500, fields);
            wait_until_taken(&house, &gateway);
            assert_eq!(house.names("inbox"), [""; 0], "{original}");
        }
    }
}

#[test]
fn a_restarted_gateway_knows_what_an_answered_message_said() {
    let house = House::new();
    let gateway = house.gateway();
    let sent = house.say("deploy to production");
    let mut agent = house.agent();
    agent.wait_for_message();
    assert_eq!(agent.reply(json!({"text": "done"}))["status"], "delivered");
    house.wait_until_put_away(1);
    assert!(gateway.stop().success());
    let gateway = house.gateway();
    let fields = json!({"text": "deploy to production"});
    message(&house, "edited_message", sent.message_id, fields.clone());
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox"), [""; 0]);
    gateway.kill();
    let gateway = house.gateway();
    message(&house, "edited_message", sent.message_id, fields);
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox"), [""; 0]);
    let update = house
        .sim
        .edit(house.bot(), OWNER, sent.message_id, "roll it back");
    house.wait_until_arrived(update.unwrap());
    assert_eq!(texts(&agent.wait_for_message()), ["roll it back"]);
}

#[test]
fn an_edit_of_a_message_of_last_month_is_no_news_unless_a_person_edited_it() {
    let house = House::new();
    let gateway = house.gateway();
    let long_ago = house.sim.now() - 30 * 86_400;
    // Two reactions: the message was never edited, or a month ago.
    let fields = json!({"text": "deploy", "date": long_ago});
    message(&house, "edited_message", 500, fields);
    let fields = json!({"text": "deploy", "date": long_ago, "edit_date": long_ago + 60});
    message(&house, "edited_message", 501, fields);
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox"), [""; 0]);
    let fields = json!({"text": "deploy it", "date": long_ago, "edit_date": house.sim.now()});
    message(&house, "edited_message", 502, fields);
    house.wait_for_texts(&["deploy it"]);
}

#[test]
fn of_a_live_location_the_newest_position_is_shown_with_its_message_and_movements_are_none() {
    let house = House::new();
    let gateway = house.gateway();
    let at = |degrees: i64| json!({"location": {"latitude": degrees, "longitude": 0, "live_period": 900}});
    let first = message(&house, "message", 500, at(10));
    let mut agent = house.agent();
    assert_eq!(
        texts(&agent.wait_for_message()),
        ["[location: 10, 0, live for 15:00]"]
    );
    for degrees in 11..=20 {
        message(&house, "edited_message", 500, at(degrees));
    }
    // The last one says that it is over.
    let over = json!({"location": {"latitude": 21, "longitude": 0}});
    message(&house, "edited_message", 500, over);
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox").len(), 1);
    let shown = agent.poll(json!({"message": first}));
    assert_eq!(texts(&shown), ["[location: 21, 0]"], "{shown}");
    agent.poll(json!({"ack": [first]}));
    message(&house, "edited_message", 500, at(22));
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox"), [""; 0]);
    assert_eq!(agent.poll(json!({}))["remaining"], 0);
}

#[test]
fn movements_that_come_in_one_batch_with_their_message_are_no_messages_either() {
    let house = House::new();
    let at = |degrees: i64| json!({"location": {"latitude": degrees, "longitude": 0, "live_period": 900}});
    message(&house, "message", 500, at(10));
    for degrees in 11..=20 {
        message(&house, "edited_message", 500, at(degrees));
    }
    let gateway = house.gateway();
    wait_until_taken(&house, &gateway);
    assert_eq!(house.names("inbox").len(), 1);
    let shown = house.agent().wait_for_message();
    assert_eq!(texts(&shown), ["[location: 20, 0, live for 15:00]"]);
}

/// Events of a group and of a chat that are no words of a person, and the words that they are shown with.
fn events() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"pinned_message": {"message_id": 7, "date": 3, "chat": {"id": OWNER}, "text": "read me"}}),
            "Ada: [pinned: message 7, read me]",
        ),
        (
            json!({"new_chat_title": "Crew"}),
            "Ada: [the group has a new name: Crew]",
        ),
        (
            json!({"delete_chat_photo": true}),
            "Ada: [delete chat photo]",
        ),
        (
            json!({"message_auto_delete_timer_changed": {"message_auto_delete_time": 86_400}}),
            "Ada: [message auto delete timer changed",
        ),
        (
            json!({"video_chat_started": {}}),
            "Ada: [video chat started]",
        ),
        (
            json!({"chat_background_set": {"type": {"type": "fill"}}}),
            "Ada: [chat background set",
        ),
        (
            json!({"boost_added": {"boost_count": 2}}),
            "Ada: [boost added",
        ),
        (json!({"forum_topic_closed": {}}), "Ada: [topic closed]"),
        (
            json!({"new_chat_members": [{"id": 5, "first_name": "Bob"}]}),
            "Ada: [joined the group: Bob]",
        ),
    ]
}

#[test]
fn an_event_waits_without_a_wake_and_is_shown_beside_the_next_message() {
    for (fields, words) in events() {
        let house = House::new();
        let gateway = house.gateway();
        let mut agent = house.agent();
        message(&house, "message", 400, fields.clone());
        wait_until_taken(&house, &gateway);
        assert_eq!(house.names("inbox"), [""; 0], "{fields}");
        let nothing = agent.poll(json!({}));
        assert_eq!(
            (&nothing["remaining"], texts(&nothing).len()),
            (&json!(0), 0)
        );
        // A restart keeps it.
        assert!(gateway.stop().success());
        let _gateway = house.gateway();
        house.arrive("hello");
        house.arrive("again");
        let shown = agent.wait_for_message();
        assert_eq!(texts(&shown), ["hello", "again"], "{fields}");
        let context = &shown["messages"][0]["context"];
        assert_eq!(context.as_array().map(Vec::len), Some(1), "{shown}");
        assert!(context[0].as_str().unwrap().starts_with(words), "{context}");
        assert_eq!(shown["messages"][1]["context"], Value::Null, "{shown}");
    }
}

#[test]
fn data_that_a_person_sends_by_a_button_and_the_arrival_of_the_bot_are_messages() {
    let house = House::new();
    let bot = house.bot();
    let sent = [
        json!({"web_app_data": {"button_text": "Open", "data": "{}"}}),
        json!({"users_shared": {"request_id": 1, "users": [{"user_id": 7}]}}),
        json!({"chat_shared": {"request_id": 1, "chat_id": -5}}),
        json!({"new_chat_members": [{"id": bot, "is_bot": true, "first_name": "Bot"}]}),
        json!({"group_chat_created": true}),
    ];
    for (index, fields) in (700..).zip(sent.iter().cloned()) {
        message(&house, "message", index, fields);
    }
    let _gateway = house.gateway();
    house.wait_for_inbox(sent.len());
}

#[test]
fn an_event_of_a_topic_goes_with_that_topic_and_one_of_the_group_with_any() {
    let house = House::with(json!({"chat_ids": [OWNER, FORUM], "require_mention": false}));
    let (sim, bot) = (&house.sim, house.bot());
    sim.add_group(FORUM, "Forum", GroupKind::Forum);
    sim.open_chat(bot, FORUM);
    let one = sim.add_topic(bot, FORUM, "One");
    let two = sim.add_topic(bot, FORUM, "Two");
    let gateway = house.gateway();
    let say = |topic: i64, fields: Value| {
        let message = sim.message(bot).chat(FORUM).from(OWNER).topic(topic);
        message.raw(fields).send()
    };
    wait_until_taken(&house, &gateway);
    say(one, json!({"text": "first in one"}));
    say(two, json!({"text": "first in two"}));
    house.wait_for_inbox(2);
    say(
        one,
        json!({"text": null, "forum_topic_edited": {"name": "Uno"}}),
    );
    say(two, json!({"text": "in two"}));
    say(one, json!({"text": "in one"}));
    house.wait_for_inbox(4);
    let shown = house.agent().wait_for_message();
    assert_eq!(
        texts(&shown),
        ["first in one", "first in two", "in two", "in one"]
    );
    let contexts = shown["messages"].as_array().unwrap().iter();
    let contexts: Vec<usize> = contexts
        .map(|message| message["context"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(contexts[2..], [0, 1], "{shown}");
}

#[test]
fn a_thousand_events_are_a_few_lines_and_no_message() {
    let house = House::new();
    for id in 0..300 {
        let title = json!({"new_chat_title": format!("title {id} {}", "é".repeat(300))});
        message(&house, "message", 1000 + id, title);
    }
    let gateway = house.gateway();
    wait_until_taken(&house, &gateway);
    assert!(house.names("context").len() <= 64);
    house.arrive(&"long ".repeat(700));
    let shown = house.agent().wait_for_message();
    let context = shown["messages"][0]["context"].as_array().unwrap().clone();
    assert!((1..=8).contains(&context.len()), "{context:?}");
    let newest = context.last().unwrap().as_str().unwrap();
    assert!(newest.contains("title 299"), "{newest}");
    assert!(serde_json::to_string(&shown).unwrap().len() < 9000);
}

fn reply_of(house: &House, fields: Value) -> Value {
    let mut agent = house.agent();
    let id = message(house, "message", 600, fields);
    let shown = agent.wait_for_message();
    agent.poll(json!({"ack": [id]}));
    shown["messages"][0]["reply_to"].clone()
}

#[test]
fn the_words_of_a_message_of_another_chat_are_shown() {
    let house = House::new();
    let _gateway = house.gateway();
    let origin = json!({"type": "user", "sender_user": {"id": 5, "is_bot": false, "first_name": "Bob"}, "date": 3});
    let quote = json!({"text": "the build is red", "position": 0,
        "entities": [{"type": "bold", "offset": 13, "length": 3}]});

    let reply = reply_of(
        &house,
        json!({"text": "why?", "external_reply": {"origin": origin}, "quote": quote}),
    );
    assert_eq!(
        reply,
        json!({"from": "Bob", "text": "the build is **red**"})
    );

    let picture = json!({"origin": origin, "message_id": 9, "chat": {"id": -5, "type": "supergroup", "title": "Team"},
        "photo": [{"file_id": "f", "file_unique_id": "u", "width": 9, "height": 8}]});
    let reply = reply_of(
        &house,
        json!({"text": "why?", "external_reply": picture, "quote": quote}),
    );
    assert_eq!(
        reply,
        json!({"message_id": 9, "from": "Bob", "text": "[photo: 9×8]\nthe build is **red**"})
    );

    let link = json!({"origin": origin, "link_preview_options": {"url": "https://example.org/x"}});
    let reply = reply_of(&house, json!({"text": "why?", "external_reply": link}));
    assert_eq!(
        reply,
        json!({"from": "Bob", "text": "[a message from another chat, with a link to https://example.org/x]"})
    );

    let mut manual = quote.clone();
    manual["is_manual"] = json!(true);
    let reply = reply_of(
        &house,
        json!({"text": "why?", "external_reply": {"origin": origin}, "quote": manual}),
    );
    assert_eq!(
        reply,
        json!({"from": "Bob", "text": "[a message from another chat]", "quote": "the build is **red**"})
    );

    // The message that is replied to is gone; its words came with the quote.
    let reply = reply_of(&house, json!({"text": "why?", "quote": quote}));
    assert_eq!(reply, json!({"text": "the build is **red**"}));
}

#[test]
fn a_story_that_is_replied_to_has_no_message_id() {
    let house = House::new();
    let _gateway = house.gateway();
    let story = json!({"chat": {"id": -5, "type": "channel", "title": "News"}, "id": 4});
    let reply = reply_of(&house, json!({"text": "nice", "reply_to_story": story}));
    assert_eq!(reply, json!({"from": "News", "text": "[story]"}));
}
