//! In a group the bot hears what is meant for it, unless its session hears everything.

use serde_json::{Value, json};
use telegram_sim::GroupKind;

use crate::support::{Gateway, House, OWNER, PATIENCE, STRANGER, SUPERGROUP, wait_for};

fn house() -> House {
    let house = House::with(json!({"chat_ids": [OWNER, SUPERGROUP], "require_mention": true}));
    house
        .sim
        .add_group(SUPERGROUP, "Team", GroupKind::Supergroup);
    house.sim.open_chat(house.bot(), SUPERGROUP);
    house
}

fn name(house: &House) -> String {
    format!("@test_{}_bot", house.bot())
}

/// The owner writes in the group; `kind` is the entity on the first word.
fn say(house: &House, text: &str, kind: Option<&str>) {
    let first = text.split(' ').next().unwrap().chars().count();
    let entities = kind.map(|kind| json!([{"type": kind, "offset": 0, "length": first, "user": {"id": house.bot(), "is_bot": true, "first_name": "Bot"}}]));
    house
        .sim
        .message(house.bot())
        .chat(SUPERGROUP)
        .from(OWNER)
        .text(text)
        .entities(&entities.unwrap_or_else(|| json!([])))
        .send();
}

fn in_group(house: &House, fields: Value) {
    house
        .sim
        .message(house.bot())
        .chat(SUPERGROUP)
        .from(OWNER)
        .raw(fields)
        .send();
}

/// Waits until the inbox has what the agent would be shown, in order.
#[track_caller]
fn wait_for_shown(house: &House, gateway: &Gateway, texts: &[&str]) {
    house.say("the last");
    wait_for("the last message", || {
        let seen = house.inbox_texts();
        if seen.iter().any(|text| text == "the last") {
            Ok(())
        } else {
            Err((seen, gateway.log()))
        }
    });
    let mut seen = house.inbox_texts();
    seen.pop();
    assert_eq!(seen, texts);
}

#[test]
fn a_name_a_reply_and_a_command_are_heard_and_talk_among_people_is_not() {
    let house = house();
    let gateway = house.gateway();
    let mine = name(&house);
    let named = format!("{mine} build it");
    say(&house, &named, Some("mention"));
    say(&house, "lunch?", None);
    say(
        &house,
        &format!("{mine} without an entity"),
        Some("hashtag"),
    );
    say(&house, "@other_bot build it", Some("mention"));
    say(&house, "/build", Some("bot_command"));
    say(&house, "/build@other_bot", Some("bot_command"));
    say(&house, "Bot build it", Some("text_mention"));
    house.sim.say(house.bot(), SUPERGROUP, STRANGER, "/build");
    let bot = json!({"id": house.bot(), "is_bot": true, "first_name": "Bot"});
    let quoted = |from: &Value| json!({"text": "yes", "reply_to_message": {"message_id": 3, "date": 5, "chat": {"id": SUPERGROUP, "type": "supergroup"}, "from": from, "text": "?"}});
    in_group(&house, quoted(&bot));
    in_group(
        &house,
        quoted(&json!({"id": STRANGER, "is_bot": false, "first_name": "S"})),
    );
    wait_for_shown(&house, &gateway, &[&named, "/build", "Bot build it", "yes"]);
}

#[test]
fn a_caption_that_names_the_bot_lets_in_the_whole_album_wherever_it_stands() {
    let house = house();
    let mine = name(&house);
    let photo = |album: &str, named: bool| {
        let mut fields = json!({"text": null, "media_group_id": album, "photo": [{"file_id": "p", "width": 9, "height": 9}]});
        if named {
            fields["caption"] = json!(mine);
            fields["caption_entities"] =
                json!([{"type": "mention", "offset": 0, "length": mine.len()}]);
        }
        in_group(&house, fields);
    };
    for (album, named) in [("a", 0), ("b", 9), ("c", 2)] {
        for part in 0..3 {
            photo(album, part == named);
        }
    }
    let gateway = house.gateway();
    wait_for_shown(&house, &gateway, &["(no text)"; 6]);
}

#[test]
fn a_part_that_comes_in_an_earlier_batch_than_the_one_that_names_the_bot_gets_in_with_it() {
    let house = house();
    let gateway = house.gateway();
    let mine = name(&house);
    let part = |album: &str, caption: Value| {
        let fields = json!({"text": null, "media_group_id": album, "caption": caption,
            "caption_entities": [{"type": "mention", "offset": 0, "length": mine.len()}],
            "photo": [{"file_id": "p", "width": 9, "height": 9}]});
        let confirmed = || house.sim.confirmed(house.bot()).len();
        let before = confirmed();
        in_group(&house, fields);
        wait_for("a batch of its own", || {
            let now = confirmed();
            if now > before {
                Ok(())
            } else {
                Err(gateway.log())
            }
        });
    };
    part("theirs", Value::Null);
    part("ours", Value::Null);
    part("ours", Value::Null);
    part("theirs", Value::Null);
    assert_eq!(house.names("inbox"), [""; 0]);
    part("ours", json!(mine));
    house.wait_for_inbox(3);
    let shown = house.agent().wait_for_message();
    let messages = shown["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["text"]), (1, &json!(mine)));
    assert_eq!(messages[0]["attachments"].as_array().unwrap().len(), 3);
}

#[test]
fn the_rest_of_an_album_gets_in_after_a_restart() {
    let house = house();
    let mine = name(&house);
    let part = |named: bool| {
        let mut fields = json!({"text": null, "media_group_id": "g", "photo": [{"file_id": "p", "width": 9, "height": 9}]});
        if named {
            fields["caption"] = json!(mine);
            fields["caption_entities"] =
                json!([{"type": "mention", "offset": 0, "length": mine.len()}]);
        }
        in_group(&house, fields);
    };
    let gateway = house.gateway();
    part(true);
    house.wait_for_inbox(1);
    gateway.kill();
    let gateway = house.gateway();
    part(false);
    wait_for_shown(&house, &gateway, &["(no text)"; 2]);
}

#[test]
fn an_edit_of_a_message_that_was_heard_is_heard_although_it_names_the_bot_no_more() {
    let house = house();
    let gateway = house.gateway();
    let said = |text: &str, entities: Value| {
        let message = house.sim.message(house.bot()).chat(SUPERGROUP).from(OWNER);
        message.text(text).entities(&entities).send().message_id
    };
    let mine = name(&house);
    let named = json!([{"type": "mention", "offset": 0, "length": mine.len()}]);
    let heard = said(&format!("{mine} delete foo"), named);
    let talk = said("lunch?", json!([]));
    house.wait_for_inbox(1);
    let edit = |id: i64, text: &str| house.sim.edit(house.bot(), SUPERGROUP, id, text);
    edit(talk, "lunch at one?");
    edit(heard, "delete bar, not foo");
    house.wait_for_inbox(2);
    // Also by a gateway that has only what is on disk.
    gateway.kill();
    let gateway = house.gateway();
    edit(heard, "delete nothing");
    let first = format!("{mine} delete foo");
    wait_for_shown(
        &house,
        &gateway,
        &[&first, "delete bar, not foo", "delete nothing"],
    );
}

#[test]
fn the_rest_of_a_cut_text_gets_in_with_its_beginning() {
    let house = house();
    let long = format!("{} {}", name(&house), "x".repeat(4050));
    let date = house.sim.now();
    let text = |text: &str| json!({"text": text, "date": date, "entities": [{"type": "mention", "offset": 0, "length": name(&house).len()}]});
    in_group(&house, text(&long));
    in_group(&house, json!({"text": "and the end", "date": date}));
    let gateway = house.gateway();
    wait_for_shown(&house, &gateway, &[&long, "and the end"]);
}

#[test]
fn without_the_key_a_group_is_heard_only_when_the_bot_is_meant_and_false_hears_everything() {
    for (keys, texts) in [
        (
            json!({"chat_ids": [OWNER, SUPERGROUP], "require_mention": true}),
            &[][..],
        ),
        (
            json!({"chat_ids": [OWNER, SUPERGROUP], "require_mention": false}),
            &["lunch?"][..],
        ),
    ] {
        let mut house = House::with(keys);
        if texts.is_empty() {
            house.config["sessions"]["ONE"]
                .as_object_mut()
                .unwrap()
                .remove("require_mention");
            house.write_config();
        }
        house
            .sim
            .add_group(SUPERGROUP, "Team", GroupKind::Supergroup);
        house.sim.open_chat(house.bot(), SUPERGROUP);
        let gateway = house.gateway();
        say(&house, "lunch?", None);
        wait_for_shown(&house, &gateway, texts);
    }
}

#[test]
fn topics_and_other_events_of_a_listed_person_are_kept_for_the_next_message_without_a_name() {
    let house = house();
    let gateway = house.gateway();
    in_group(
        &house,
        json!({"text": null, "forum_topic_created": {"name": "Bugs", "icon_color": 1}}),
    );
    in_group(&house, json!({"text": null, "new_chat_title": "Crew"}));
    wait_for_shown(&house, &gateway, &[]);
    assert_eq!(house.names("context").len(), 2);
}

#[test]
fn a_reaction_in_a_group_gets_in_if_it_is_on_a_message_of_the_bot() {
    let house = house();
    let gateway = house.gateway();
    say(&house, "/build", Some("bot_command"));
    house.wait_for_inbox(1);
    let mut agent = house.agent();
    agent.poll(json!({}));
    let sent = agent.reply(json!({"text": "here"}));
    let ours = sent["message_ids"][0].as_i64().unwrap();
    let theirs = house.sim.say(house.bot(), SUPERGROUP, OWNER, "lunch?");
    for message in [theirs.message_id, ours] {
        let reacted = house
            .sim
            .react(house.bot(), SUPERGROUP, message, OWNER, &["👍"]);
        assert!(reacted.is_some());
    }
    house.wait_for_inbox(1);
    let shown = agent.wait_for_message();
    assert_eq!(
        shown["messages"][0]["text"],
        json!(format!("[reacted with 👍 to message {ours}]"))
    );
    gateway.wait_until_polling(&house);
    assert_eq!(house.names("inbox").len(), 1);
    // A message that was sent since counts as well.
    let sent = agent.reply(json!({"text": "and here"}));
    let ours = sent["message_ids"][0].as_i64().unwrap();
    let bot = house.bot();
    house.sim.react(bot, SUPERGROUP, ours, OWNER, &["🔥"]);
    let shown = agent.wait_for_message();
    assert_eq!(
        shown["messages"][0]["text"],
        json!(format!("[reacted with 🔥 to message {ours}]"))
    );
}

#[test]
fn a_group_is_not_polled_before_the_bot_knows_its_name() {
    let house = house();
    let fault = telegram_sim::Fault::on(house.bot()).method("getMe");
    let fault = house.sim.fault(fault.html(502).always());
    let named = format!("{} build it", name(&house));
    say(&house, &named, Some("mention"));
    let gateway = house.gateway_with(&[]);
    let asked = |view: &telegram_sim::View<'_>| view.call_count(house.bot(), "getMe") >= 2;
    house.sim.wait_for(asked, PATIENCE).unwrap();
    assert_eq!(house.sim.call_count(house.bot(), "getUpdates"), 0);
    house.sim.clear_fault(fault);
    wait_for_shown(&house, &gateway, &[&named]);
}

#[test]
fn messages_that_do_not_name_the_bot_are_counted_and_said_once_a_day_for_each_chat() {
    let house = house();
    let gateway = house.gateway();
    for text in ["lunch?", "at one?", "fine"] {
        say(&house, text, None);
    }
    wait_for_shown(&house, &gateway, &[]);
    house.wait_for_bot(0, "not_addressed_today", json!(3));
    let log = gateway.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("does not name the bot"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    for words in [
        &format!("chat_id={SUPERGROUP} "),
        "require_mention",
        "session=ONE",
    ] {
        assert!(lines[0].contains(words), "{words}: {log}");
    }
}
