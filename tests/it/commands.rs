//! The bot's own commands: answered by the gateway at once, and no business of any agent. Presses of
//! buttons are answered too, so that the phone stops waiting.

use serde_json::json;
use telegram_sim::{Fault, GroupKind};

use crate::support::{
    FORUM, GROUP, Gateway, House, OWNER, STRANGER, call, names_in, texts, wait_for,
};

/// Waits until the bot has written so many messages in a chat, and returns them.
#[track_caller]
fn heard_in(house: &House, chat: i64, count: usize) -> Vec<String> {
    wait_for("the answers", || {
        let heard = house.sim.bot_texts(house.bot(), chat);
        if heard.len() == count {
            Ok(heard)
        } else {
            Err(heard)
        }
    })
}

/// Writes a command in the private chat and waits for the answer.
#[track_caller]
fn answer(house: &House, command: &str) -> String {
    let before = house.heard().len();
    house.say(command);
    heard_in(house, OWNER, before + 1).pop().unwrap()
}

/// After this, whatever was to be answered is answered or never will be.
#[track_caller]
fn and_nothing_else(house: &House, answers: usize) {
    let last = answer(house, "/help");
    assert!(last.starts_with("This is the mailbox"), "{last}");
    assert_eq!(house.heard().len(), answers + 1, "{:?}", house.heard());
}

#[test]
fn commands_are_answered_while_the_agent_is_busy_and_no_agent_ever_sees_them() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("do the work");
    house.arrive("one more");

    let status = answer(&house, "/status");
    for line in [
        "Session ONE",
        "Agent: connected",
        "Waiting: 2, 1 of them shown to the agent",
        "To send: 0",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let queue = answer(&house, "/queue");
    assert!(queue.starts_with("2 messages are waiting:\n"), "{queue}");
    assert!(
        queue.contains("shown to the agent · User 11: do the work")
            || queue.contains(": do the work"),
        "{queue}"
    );
    assert!(queue.contains(": one more"), "{queue}");
    let help = answer(&house, "/help");
    assert_eq!(answer(&house, "/start"), help);
    let ids = answer(&house, "/id");
    assert_eq!(ids, "Chat: 11\nYou: 11\nSession: ONE");

    assert_eq!(house.names("inbox").len(), 2);
    let shown = agent.poll(json!({}));
    assert_eq!(texts(&shown), ["one more"]);
    let answered = agent.reply(json!({"text": "done"}));
    assert_eq!(answered["status"], "delivered");
}

#[test]
fn with_nothing_to_tell_the_answers_say_so() {
    let house = House::new();
    let _gateway = house.gateway();
    assert!(answer(&house, "/status").contains("Agent: none connected"));
    assert_eq!(
        answer(&house, "/queue"),
        "No messages are waiting in this chat."
    );
    assert!(answer(&house, "/skip").starts_with("Which messages?"));
    assert_eq!(answer(&house, "/skip 5"), "5: is not waiting in this chat");
    let many: Vec<String> = (1..=52).map(|id| id.to_string()).collect();
    let said = answer(&house, &format!("/skip {}", many.join(" ")));
    assert!(
        said.ends_with("\nNot handled: 2 (at most 50 at once)"),
        "{said}"
    );
}

#[test]
fn skip_drops_what_it_names_with_all_its_parts_and_nothing_else() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("seen");
    let seen = house.sim.confirmed(house.bot()).last().copied();
    let first = house.arrive("not wanted");
    house.arrive("wanted");
    let parts = house
        .sim
        .say_long(house.bot(), OWNER, OWNER, &"long ".repeat(1000));
    let album: Vec<i64> = parts.iter().filter_map(|sent| sent.update_id).collect();
    house.wait_for_inbox(3 + album.len());
    let seen = seen.unwrap_or(first - 1);

    let said = answer(&house, &format!("/skip {first}, {seen} {}", album[1]));
    assert_eq!(
        said,
        format!(
            "{first}: dropped, no agent will see it\n{seen}: dropped, but the agent has seen it and may still answer\n{}: dropped, no agent will see it",
            album[1]
        )
    );
    assert_eq!(house.inbox_texts(), ["wanted"]);
    assert_eq!(texts(&agent.poll(json!({}))), ["wanted"]);
    let again = answer(&house, &format!("/skip {first}"));
    assert_eq!(again, format!("{first}: is not waiting in this chat"));
}

#[test]
fn an_agent_whose_only_message_was_dropped_answers_nothing_by_mistake() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("never mind");
    let update = house
        .sim
        .confirmed(house.bot())
        .last()
        .copied()
        .unwrap_or(300_000_001);
    answer(&house, &format!("/skip {update}"));
    let refused = agent
        .call("telegram_reply", json!({"text": "done"}))
        .refused();
    println!("{refused}");
    assert_eq!(house.heard().len(), 1);
    assert_eq!(
        agent.reply(json!({"text": "done", "to": "home"}))["status"],
        "delivered"
    );
}

#[test]
fn nobody_is_shown_or_drops_in_one_chat_what_was_written_in_another() {
    let house = House::with_group();
    let _gateway = house.gateway();
    let private = house.arrive("for the agent's eyes");
    house.say_in(GROUP, "/queue");
    house.say_in(GROUP, &format!("/skip {private}"));
    let heard = heard_in(&house, GROUP, 2);
    assert_eq!(
        heard,
        [
            "No messages are waiting in this chat.\nWaiting in other chats of this session: 1"
                .to_owned(),
            format!("{private}: is not waiting in this chat"),
        ]
    );
    house.wait_for_texts(&["for the agent's eyes"]);
}

#[test]
fn in_a_topic_the_answer_stands_in_the_topic_as_a_reply() {
    let house = House::with_forum();
    let topic = house.sim.add_topic(house.bot(), FORUM, "Plans");
    let _gateway = house.gateway();
    let message = house.sim.message(house.bot()).chat(FORUM).from(OWNER);
    let sent = message.topic(topic).text("/id").send();
    heard_in(&house, FORUM, 1);
    let line = house.bot_lines(FORUM).pop().unwrap();
    assert_eq!(
        (line.topic, line.reply_to),
        (Some(topic), Some(sent.message_id))
    );
    assert!(
        line.text.contains(&format!("Topic: {topic}")),
        "{}",
        line.text
    );
}

#[test]
fn a_command_of_another_bot_or_of_the_agents_own_is_none_of_ours() {
    let house = House::with_group();
    let _gateway = house.gateway();
    house.arrive("/deploy now");
    house.arrive("/status@other_bot");
    let mine = format!("/id@test_{}_bot", house.bot());
    house.say_in(GROUP, &mine);
    heard_in(&house, GROUP, 1);
    house.wait_for_texts(&["/deploy now", "/status@other_bot"]);
    let shown = house.agent().poll(json!({}));
    assert_eq!(texts(&shown), ["/deploy now", "/status@other_bot"]);
}

#[test]
fn a_stranger_in_an_allowed_group_gets_no_answer_to_any_command() {
    let house = House::with_group();
    let _gateway = house.gateway();
    for command in ["/start", "/help", "/status", "/queue", "/skip 1", "/id"] {
        house.sim.say(house.bot(), GROUP, STRANGER, command);
        house.sim.say(house.bot(), STRANGER, STRANGER, command);
    }
    house.arrive("the owner");
    assert_eq!(house.effects(), []);
    assert_eq!(house.names("done"), [""; 0]);
}

#[test]
fn an_edit_neither_runs_a_command_nor_shows_it_to_an_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.say("/id");
    heard_in(&house, OWNER, 1);
    let edit = house
        .sim
        .edit(house.bot(), OWNER, sent.message_id, "/status");
    assert!(edit.is_some());
    and_nothing_else(&house, 1);
    assert_eq!(house.names("inbox"), [""; 0]);
}

#[test]
fn a_command_that_comes_again_is_not_carried_out_again_not_even_by_the_next_gateway() {
    let house = House::new();
    let gateway = house.gateway();
    answer(&house, "/id");
    // Telegram delivers unconfirmed updates again.
    wait_for("the confirmation", || {
        match house.sim.pending(house.bot()) {
            0 => Ok(()),
            left => Err(left),
        }
    });
    assert_eq!(house.sim.redeliver(house.bot(), 1), 1);
    and_nothing_else(&house, 1);
    assert!(gateway.stop().success());
    house.sim.redeliver(house.bot(), 2);
    let _gateway = house.gateway();
    and_nothing_else(&house, 2);
}

#[test]
fn command_dies_before_and_after_its_tombstone_and_is_carried_out_at_most_once() {
    for (point, answers) in [("command:before", 1), ("command:after", 0)] {
        for power in [false, true] {
            let house = House::new();
            let mut env = vec![("TELEPOST_CRASH_AT", point)];
            if power {
                env.push(("TELEPOST_POWER_LOSS", "1"));
            }
            let gateway = house.gateway_with(&env);
            house.say("/id");
            drop(gateway.end());
            let _gateway = house.gateway();
            and_nothing_else(&house, answers);
            assert_eq!(house.names("inbox"), [""; 0], "{point}");
        }
    }
}

#[test]
fn a_skip_whose_gateway_dies_before_it_drops_leaves_the_message() {
    let house = House::new();
    let gateway = house.gateway();
    let update = house.arrive("still there");
    assert!(gateway.stop().success());
    let gateway = house.gateway_with(&[("TELEPOST_CRASH_AT", "command:after")]);
    house.say(&format!("/skip {update}"));
    drop(gateway.end());
    let _gateway = house.gateway();
    and_nothing_else(&house, 0);
    house.wait_for_texts(&["still there"]);
    let said = answer(&house, &format!("/skip {update}"));
    assert!(said.ends_with("dropped, no agent will see it"), "{said}");
}

#[test]
fn a_command_that_cannot_be_noted_is_not_confirmed_and_answered_once_when_there_is_room() {
    let house = House::new();
    let gateway = house.gateway_with(&[("TELEPOST_FAIL_AT", "command:enospc:3")]);
    house.say("/id");
    gateway.wait_for_log("cannot store messages");
    heard_in(&house, OWNER, 1);
    and_nothing_else(&house, 1);
}

#[test]
fn an_answer_goes_past_what_waits_for_the_chat() {
    let mut house = House::new();
    house.config["pace"] = json!("normal");
    house.write_config();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("tell me everything");
    let reply = agent.begin("telegram_reply", json!({"text": "word ".repeat(5000)}));
    wait_for("the first message", || {
        let heard = house.heard();
        if heard.is_empty() { Err(heard) } else { Ok(()) }
    });
    house.say("/id");
    agent.answer(reply).ok();
    house.wait_until_sent();
    let heard = house.heard();
    let place = heard.iter().position(|text| text.starts_with("Chat: "));
    let place = place.unwrap_or_else(|| panic!("no answer:\n{}", gateway.log()));
    assert!(place + 1 < heard.len(), "it came last, as number {place}");
}

#[test]
fn while_the_gate_of_the_chat_is_closed_nothing_is_answered_and_a_skip_still_drops() {
    let house = House::new();
    let gateway = house.gateway();
    let update = house.arrive("not wanted");
    let wait = "Too Many Requests: retry after 600";
    let fault = Fault::on(house.bot())
        .method("sendMessage")
        .error(429, wait);
    house.sim.fault(fault.retry_after(600));
    house.say("/status");
    gateway.wait_for_log("a command reply is skipped");
    house.say(&format!("/skip {update}"));
    house.wait_for_inbox(0);
    house.say("/status");
    house.arrive("heard all the same");
    assert_eq!(house.sim.call_count(house.bot(), "sendMessage"), 1);
    assert_eq!(house.heard(), [""; 0]);
}

#[test]
fn hostile_words_in_the_queue_stand_there_as_code() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("@everyone /skip 1 https://evil.example\n*bold* \u{202e}");
    house.say("/queue");
    heard_in(&house, OWNER, 1);
    let call = house
        .sim
        .calls_of(house.bot(), "sendMessage")
        .pop()
        .unwrap();
    let text = call.text("text");
    assert!(
        text.contains("@everyone /skip 1 https://evil.example *bold* \\u{202e}"),
        "{text}"
    );
    let entities = &call.params["entities"];
    let kinds: Vec<&str> = entities
        .as_array()
        .unwrap()
        .iter()
        .map(|entity| entity["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["code", "code"], "{entities}");
}

fn menus(house: &House) -> Vec<(String, usize)> {
    let calls = house.sim.calls_of(house.bot(), "setMyCommands");
    calls
        .iter()
        .map(|call| {
            let scope = call.params["scope"]["type"].as_str().unwrap().to_owned();
            (scope, call.params["commands"].as_array().unwrap().len())
        })
        .collect()
}

#[test]
fn each_gateway_sets_the_menu_once_for_private_chats_and_once_for_groups() {
    let house = House::new();
    let both = [("all_private_chats", 5), ("all_group_chats", 5)];
    let both = both.map(|(scope, count)| (scope.to_owned(), count));
    let gateway = house.gateway();
    house.wait_for_menu();
    answer(&house, "/id");
    assert_eq!(menus(&house), both);
    assert!(gateway.stop().success());
    let _gateway = house.gateway();
    wait_for("the menu to be set again", || {
        let menus = menus(&house);
        if menus == [both.clone(), both.clone()].concat() {
            Ok(())
        } else {
            Err(menus)
        }
    });
}

#[test]
fn a_gateway_answers_commands_although_its_menu_cannot_be_set() {
    let house = House::new();
    let fault = Fault::on(house.bot()).method("setMyCommands");
    house
        .sim
        .fault(fault.error(400, "BOT_COMMAND_INVALID").always());
    let _gateway = house.gateway();
    wait_for("an attempt to set the menu", || {
        let calls = house.sim.call_count(house.bot(), "setMyCommands");
        if calls > 0 { Ok(()) } else { Err(calls) }
    });
    answer(&house, "/id");
}

/// A message of the bot in the private chat, to which a button could belong.
fn a_message_of_the_bot(house: &House) -> i64 {
    let params = json!({"chat_id": OWNER, "text": "Choose"});
    let sent = call(&house.request("sendMessage", &params), house.sim.address());
    sent["result"]["message_id"].as_i64().unwrap()
}

#[track_caller]
fn wait_for_answered_presses(house: &House, count: usize) {
    wait_for("the answers to the presses", || {
        let calls = house.sim.call_count(house.bot(), "answerCallbackQuery");
        if calls == count { Ok(()) } else { Err(calls) }
    });
}

#[test]
fn a_press_is_answered_once_it_is_stored_and_the_agent_sees_it() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let message = a_message_of_the_bot(&house);
    house.sim.press(house.bot(), OWNER, message, "yes", OWNER);
    wait_for_answered_presses(&house, 1);
    let calls = house.sim.calls_of(house.bot(), "answerCallbackQuery");
    assert!(calls[0].outcome.is_ok(), "{calls:?}");
    let shown = house.agent().poll(json!({}));
    assert_eq!(shown["messages"][1]["kind"], "choice");
}

#[test]
fn the_press_of_a_stranger_is_not_answered() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("hello");
    let message = a_message_of_the_bot(&house);
    house
        .sim
        .press(house.bot(), OWNER, message, "yes", STRANGER);
    house.arrive("the owner");
    assert_eq!(house.sim.call_count(house.bot(), "answerCallbackQuery"), 0);
}

#[test]
fn a_press_that_telegram_has_forgotten_or_a_hanging_answer_holds_up_nothing() {
    let house = House::new();
    let _gateway: Gateway = house.gateway();
    house.arrive("hello");
    let message = a_message_of_the_bot(&house);
    let hang = Fault::on(house.bot()).method("answerCallbackQuery").hang();
    house.sim.fault(hang);
    house.sim.press(house.bot(), OWNER, message, "yes", OWNER);
    let too_old =
        "Bad Request: query is too old and response timeout expired or query ID is invalid";
    let fault = Fault::on(house.bot()).method("answerCallbackQuery");
    house.sim.fault(fault.error(400, too_old));
    house.sim.press(house.bot(), OWNER, message, "no", OWNER);
    house.wait_for_inbox(3);
    house.wait_until_sent();
    let before = house.heard().len();
    house.say("/id");
    heard_in(&house, OWNER, before + 1);
    house.sim.clear_faults();
}

#[test]
fn two_sessions_of_one_bot_each_answer_for_their_own_chat() {
    let mut house = House::new();
    house.share_bot("TWO", 12);
    house.sim.add_group(GROUP, "Team", GroupKind::Group);
    let _gateway = house.gateway();
    house.sim.say(house.bot(), 12, 12, "/id");
    house.say("/id");
    let two = heard_in(&house, 12, 1);
    let one = heard_in(&house, OWNER, 1);
    assert!(two[0].ends_with("Session: TWO") && one[0].ends_with("Session: ONE"));
    assert_eq!(names_in(&house.state().join("sessions/TWO/done")).len(), 1);
}

#[test]
fn a_queue_of_hundreds_is_counted_in_messages_wherever_an_album_stands_in_it() {
    let house = House::new();
    house.sim.add_file("photo", vec![7; 10]);
    for album in 0..6 {
        for n in 0..42 {
            house.say(&format!("text {n}"));
        }
        let album = format!("album {album}");
        for _ in 0..10 {
            let message = house.sim.message(house.bot()).chat(OWNER);
            message.photo("photo").media_group(&album).send();
        }
    }
    let _gateway = house.gateway();
    house.wait_for_inbox(312);
    let queue = answer(&house, "/queue");
    assert!(queue.starts_with("258 messages are waiting:\n"), "{queue}");
    assert!(queue.contains("\nand 238 more\n"), "{queue}");
}

#[test]
fn a_command_with_other_words_behind_it_is_a_message_to_the_agent() {
    let house = House::new();
    let _gateway = house.gateway();
    house.wait_for_menu();
    let name = format!("test_{}_bot", house.bot());
    let said = [
        "/id column in table users",
        "/status of the build please",
        "/start fix-42",
        "/skip the tests",
        "/skip 5 and the tests",
        "/help me with this",
        "/queue\nis a word of SQL",
        &format!("/id@{name} of the user"),
        "/status 🙏 now",
    ];
    for text in said {
        house.arrive(text);
    }
    assert_eq!(house.inbox_texts(), said);
    assert_eq!(house.heard(), [""; 0]);
    // No word at all is none.
    for bare in ["/id ", "/id.", "/ID\n", &format!("/id@{name} 🙏")] {
        assert!(answer(&house, bare).starts_with("Chat: 11"), "{bare}");
    }
    let mut agent = house.agent();
    assert_eq!(texts(&agent.wait_for_message()), said);
}
