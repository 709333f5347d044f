use proptest::prelude::*;

use super::*;
use crate::ids::{BotId, ChatId, TopicId};
use crate::telegram::split;

fn waits(id: i64, text: &str) -> QueueLine {
    QueueLine {
        id: UpdateId(id),
        age_s: 90,
        from: "Ann".to_owned(),
        text: text.to_owned(),
        held: false,
    }
}

/// The code of an answer, and the rest.
fn code_and_rest(rich: &Rich) -> (Vec<String>, String) {
    let units: Vec<u16> = rich.text.encode_utf16().collect();
    let (mut code, mut rest, mut at) = (Vec::new(), String::new(), 0);
    let part = |from: usize, to: usize| String::from_utf16(&units[from..to]).unwrap();
    for entity in &rich.entities {
        rest += &part(at, entity.offset);
        at = entity.offset + entity.length;
        code.push(part(entity.offset, at));
    }
    rest += &part(at, units.len());
    (code, rest)
}

#[test]
fn what_others_wrote_is_code_and_nothing_else() {
    let hostile = "@everyone /skip 1 https://evil.example\n😀\u{202e}";
    let mut other = waits(124, hostile);
    other.from = "@root".to_owned();
    other.held = true;
    let (code, rest) = code_and_rest(&queue(&[waits(123, hostile), other], 2, 1));
    let said = "@everyone /skip 1 https://evil.example 😀\\u{202e}";
    assert_eq!(
        code,
        [
            "123",
            &format!("Ann: {said}"),
            "124",
            &format!("@root: {said}")
        ]
    );
    assert_eq!(
        rest,
        "2 messages are waiting:\n · 90 s · \n · 90 s · shown to the agent · \nWaiting in other chats of this session: 1\nTo drop a message, send /skip and its number."
    );
}

#[test]
fn a_long_queue_is_cut_and_says_how_many_are_left() {
    let long = "x".repeat(5000);
    let waiting: Vec<QueueLine> = (1..=27).map(|id| waits(id, &long)).collect();
    let text = queue(&waiting, 27, 0).text;
    assert!(text.contains("\nand 7 more\n"), "{text}");
    let text = queue(&waiting[..QUEUE_SHOWN], 21_000, 0).text;
    assert!(text.contains("\nand 20980 more\n"), "{text}");
    assert_eq!(
        queue(&[], 0, 0).text,
        "No messages are waiting in this chat."
    );
}

#[test]
fn skip_says_of_each_number_what_became_of_it() {
    let done = [
        (UpdateId(1), Skipped::Dropped),
        (UpdateId(2), Skipped::Seen),
        (UpdateId(3), Skipped::NotHere),
    ];
    assert_eq!(
        skip(&done, 2).text,
        "1: dropped, no agent will see it\n2: dropped, but the agent has seen it and may still answer\n3: is not waiting in this chat\nNot handled: 2 (at most 50 at once)"
    );
    assert!(skip(&[], 3).text.starts_with("Which messages?"));
}

#[test]
fn ids_are_those_of_the_chat_the_topic_and_the_person() {
    let address = Address {
        bot_id: BotId(7),
        chat_id: ChatId(-100),
        topic_id: Some(TopicId(9)),
    };
    assert_eq!(
        ids("ONE", address, UserId(11)).text,
        "Chat: -100\nTopic: 9\nYou: 11\nSession: ONE"
    );
}

#[test]
fn help_names_every_command_of_the_menu() {
    let text = help("ONE", "Shop").text;
    for (name, description) in MENU {
        assert!(text.contains(&format!("/{name} – {description}")), "{text}");
    }
    assert!(text.starts_with("This is the mailbox of session ONE (Shop)."));
    let (code, _) = code_and_rest(&help("ONE", "ONE"));
    assert_eq!(code, ["ONE"]);
}

proptest! {
    /// An answer is always one message, whatever waits.
    #[test]
    fn an_answer_fits_into_one_message(
        texts in proptest::collection::vec("\\PC{0,200}", 0..40),
        ids in proptest::collection::vec(any::<i64>(), 0..SKIP_MOST),
    ) {
        let waiting: Vec<QueueLine> = texts.iter().map(|text| {
            let mut one = waits(i64::MAX, text);
            one.from.clone_from(text);
            one
        }).collect();
        let done: Vec<_> = ids.into_iter().map(|id| (UpdateId(id), Skipped::Seen)).collect();
        for rich in [queue(&waiting, texts.len(), 9), skip(&done, 9)] {
            prop_assert!(rich.text.chars().count() <= split::MESSAGE_LIMIT);
            prop_assert!(rich.entities.len() <= 100);
            code_and_rest(&rich);
        }
    }
}
