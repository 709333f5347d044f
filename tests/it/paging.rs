//! A result never exceeds 9,000 bytes of JSON, and whatever waits is reached by calling again.

use serde_json::{Value, json};

use crate::support::{Agent, House, OWNER, again, ids, texts};

/// Codex cuts the middle out of what is longer (12,000 bytes, with room for its own words).
const PAGE_BYTES: usize = 9000;

/// Calls with these arguments until a page has nothing new; each page within its bytes.
fn all_pages(agent: &mut Agent, arguments: &Value) -> Vec<Value> {
    let mut pages = Vec::new();
    loop {
        let page = agent.poll(arguments.clone());
        let length = page.to_string().len();
        assert!(length <= PAGE_BYTES, "{length} bytes");
        if again(&page) != vec![false; ids(&page).len()] || ids(&page).is_empty() {
            return pages;
        }
        pages.push(page);
    }
}

fn all_ids(pages: &[Value]) -> Vec<i64> {
    pages.iter().flat_map(ids).collect()
}

#[test]
fn sixty_messages_come_in_order_on_pages_that_fit() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..60)
        .map(|n| house.say(&format!("message {n}")).update_id.unwrap())
        .collect();
    house.wait_for_inbox(60);
    let pages = all_pages(&mut house.agent(), &json!({"limit": 100}));
    assert_eq!(all_ids(&pages), sent);
    let remaining: Vec<usize> = pages.iter().map(|page| 60 - ids(page).len()).collect();
    let said: Vec<Value> = pages.iter().map(|page| page["remaining"].clone()).collect();
    assert_eq!(json!(said), json!(remaining));
    assert!(
        pages.len() > 1,
        "too small a test: one page held everything"
    );
}

#[test]
fn large_messages_in_every_alphabet_come_whole_and_in_order() {
    let house = House::new();
    let _gateway = house.gateway();
    // Below 4,000 code points, which may be the beginning of a longer text.
    let written: Vec<String> = ["x", "é", "\"", "😀", "\n\\", "漢"]
        .iter()
        .map(|piece| format!("<{}>", piece.repeat(3900 / piece.chars().count())))
        .collect();
    let sent: Vec<i64> = written
        .iter()
        .map(|text| house.say(text).update_id.unwrap())
        .collect();
    house.wait_for_inbox(written.len());
    let mut agent = house.agent();
    let pages = all_pages(&mut agent, &json!({}));
    assert_eq!(all_ids(&pages), sent);
    let read: Vec<String> = pages
        .iter()
        .flat_map(|page| page["messages"].as_array().unwrap().clone())
        .map(|message| read_whole(&mut agent, &message))
        .collect();
    assert_eq!(read, written);
}

/// The text of a message with all its parts.
fn read_whole(agent: &mut Agent, message: &Value) -> String {
    let mut text = message["text"].as_str().unwrap().to_owned();
    for part in 2..=message["parts"].as_u64().unwrap_or(1) {
        let page = agent.poll(json!({"message": message["update_id"], "part": part}));
        let length = page.to_string().len();
        assert!(length <= PAGE_BYTES, "{length} bytes");
        assert_eq!(page["messages"][0]["part"], part);
        text.push_str(texts(&page)[0]);
    }
    text
}

/// 12,000 code points as people paste them: lines of words.
fn long_text() -> String {
    let words = (0..).map(|n| format!("word{n}{}", if n % 12 == 11 { "\n" } else { " " }));
    let text: String = words.take(2000).collect();
    format!("{}.", &text[..11_999])
}

#[test]
fn a_paste_that_telegram_cut_is_one_message_whose_parts_joined_are_the_text() {
    let house = House::new();
    let _gateway = house.gateway();
    let text = long_text();
    let sent = house.sim.say_long(house.bot(), OWNER, OWNER, &text);
    assert_eq!(sent.len(), 3, "too small a test");
    let mut agent = house.agent();
    let page = agent.wait_for_message();
    assert_eq!(ids(&page), [sent[0].update_id.unwrap()]);
    assert_eq!(page["remaining"], 0);
    assert_eq!(page["messages"][0]["part"], 1);
    assert_eq!(read_whole(&mut agent, &page["messages"][0]), text);
}

#[test]
fn the_answer_to_a_paste_settles_all_of_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.sim.say_long(house.bot(), OWNER, OWNER, &long_text());
    let mut agent = house.agent();
    agent.wait_for_message();
    let answered = agent.reply(json!({"text": "read it"}));
    assert_eq!(answered["acked"], json!([sent[0].update_id]));
    assert_eq!(
        (house.names("inbox").len(), house.names("done").len()),
        (0, 3)
    );
}

#[test]
fn a_paste_is_named_by_any_of_its_pieces() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent = house.sim.say_long(house.bot(), OWNER, OWNER, &long_text());
    let mut agent = house.agent();
    agent.wait_for_message();
    let by_first = agent.poll(json!({"message": sent[0].update_id, "part": 2}));
    let by_last = agent.poll(json!({"message": sent[2].update_id, "part": 2}));
    assert_eq!(texts(&by_first), texts(&by_last));
}

#[test]
fn message_without_part_shows_its_first_part() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive(&"😀".repeat(3900));
    let mut agent = house.agent();
    let first = agent.poll(json!({}));
    let named = agent.poll(json!({"message": id}));
    assert_eq!(texts(&named), texts(&first));
    assert_eq!(again(&named), [true]);
}

#[test]
fn a_short_message_is_its_own_only_part_and_unnumbered() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("short");
    let shown = house.agent().poll(json!({"message": id, "part": 1}));
    assert_eq!(texts(&shown), ["short"]);
    assert_eq!(
        (
            &shown["messages"][0]["part"],
            &shown["messages"][0]["parts"]
        ),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_message_that_is_asked_for_by_name_is_held() {
    let house = House::new();
    let _gateway = house.gateway();
    house.arrive("first");
    let id = house.arrive("second");
    let mut agent = house.agent();
    let named = agent.poll(json!({"message": id}));
    assert_eq!(
        (ids(&named), again(&named), &named["remaining"]),
        (vec![id], vec![false], &json!(1))
    );
    assert_eq!(
        agent.reply(json!({"text": "to the second"}))["acked"],
        json!([id])
    );
}

#[test]
fn a_part_beyond_the_last_is_refused_with_their_number() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("short");
    let mut agent = house.agent();
    agent.poll(json!({}));
    assert_eq!(
        agent
            .call("telegram_poll", json!({"message": id, "part": 2}))
            .refused(),
        format!(
            "Message {id} has 1 part(s), so there is no part 2. Call again with `part` 1 to 1."
        )
    );
}

#[test]
fn part_zero_and_part_without_a_message_are_refused() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let zero = agent
        .call("telegram_poll", json!({"message": 1, "part": 0}))
        .refused();
    assert!(zero.starts_with("`part` is 0, but must be 1 to"), "{zero}");
    let alone = agent.call("telegram_poll", json!({"part": 1})).refused();
    assert!(alone.starts_with("`part` needs `message`"), "{alone}");
}

#[test]
fn a_message_that_does_not_exist_is_refused_with_those_that_you_hold() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("hello");
    let mut agent = house.agent();
    agent.poll(json!({}));
    let words = agent.call("telegram_poll", json!({"message": 7})).refused();
    assert_eq!(
        words,
        format!(
            "This session has no message 7; messages are named by their `update_id`. You hold {id}. Call telegram_poll to see which messages are waiting."
        )
    );
}

#[test]
fn a_full_page_fits_also_with_notices_about_other_agents() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut others = Vec::new();
    for thread in ["a", "b", "c", "d"] {
        house.arrive("for another agent");
        // Each with as long a name as is shown.
        let mut other = Agent::start_without_handshake(&mut house.agent_command("ONE"));
        let client = json!({"name": thread.repeat(50), "version": "1"});
        other.request(
            "initialize",
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
        );
        other.notify("notifications/initialized", json!({}));
        let mut other = other.thread(thread);
        assert_eq!(ids(&other.poll(json!({}))).len(), 1);
        others.push(other);
    }
    for n in 0..60 {
        house.say(&n.to_string());
    }
    house.wait_for_inbox(64);
    let page = house.agent_in("mine").poll(json!({"limit": 100}));
    assert_eq!(page["notices"].as_array().map(Vec::len), Some(4), "{page}");
    let length = page.to_string().len();
    assert!(
        (PAGE_BYTES - 1000..=PAGE_BYTES).contains(&length),
        "{length} bytes"
    );
}

#[test]
fn a_conversation_of_many_messages_is_shown_by_telegram_reply_page_by_page() {
    let house = House::new();
    let _gateway = house.gateway();
    let sent: Vec<i64> = (0..45)
        .map(|n| {
            house
                .say(&format!("{n} {}", "x".repeat(300)))
                .update_id
                .unwrap()
        })
        .collect();
    house.wait_for_inbox(45);
    let mut agent = house.agent();
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        let page = agent.reply(json!({}));
        assert!(page.to_string().len() <= PAGE_BYTES);
        let new: Vec<i64> = ids(&page)
            .into_iter()
            .zip(again(&page))
            .filter_map(|(id, again)| (!again).then_some(id))
            .collect();
        assert!(!new.is_empty(), "nothing new on the page: {page}");
        seen.extend(new);
    }
    assert_eq!(seen, sent);
    assert_eq!(
        agent.reply(json!({"text": "all read"}))["acked"],
        json!(sent)
    );
}
