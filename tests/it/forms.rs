//! The forms in which models write parameters: whatever can mean only one thing is taken.

use std::fs;

use serde_json::{Value, json};

use crate::support::{House, OWNER, ids};

#[test]
fn a_poll_takes_numbers_and_lists_in_every_form() {
    let house = House::new();
    let _gateway = house.gateway();
    let first = house.arrive("one");
    let second = house.arrive("two");
    let third = house.arrive("three");
    let mut agent = house.agent();
    let arguments =
        json!({"limit": "20", "wait_seconds": "5", "ack": [], "message": null, "part": ""});
    let shown = agent.poll(arguments);
    assert_eq!(ids(&shown), [first, second, third]);
    let result = agent.poll(json!({"ack": first}));
    assert_eq!(result["acked"], json!([first]));
    let result = agent.poll(json!({"ack": format!("{second}, {third}"), "limit": 20.0}));
    assert_eq!(
        (&result["acked"], &result["remaining"]),
        (&json!([second, third]), &json!(0))
    );
}

#[test]
fn a_reply_takes_flags_and_empty_parameters() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("a question");
    let mut agent = house.agent();
    let shown = agent.reply(json!({"text": null, "to": "", "files": [], "options": []}));
    assert_eq!(ids(&shown), [id]);
    let progress = agent.reply(json!({"text": "reading", "keep_open": "true", "to": ""}));
    assert_eq!(progress["acked"], Value::Null);
    // A step that is not sent yet gives way to the answer.
    house.wait_to_hear(&["reading"]);
    let answer = agent.reply(
        json!({"text": "done", "keep_open": "false", "silent": "false", "options": [""], "to": id.to_string()}),
    );
    assert_eq!(answer["acked"], json!([id]));
    house.wait_to_hear(&["reading", "done"]);
}

#[test]
fn a_file_is_named_by_its_path_alone_by_home_or_by_url() {
    let mut house = House::new();
    let home = house.path().join("home");
    fs::create_dir(&home).unwrap();
    house.config["sessions"]["ONE"]["send_roots"] = json!([home]);
    house.write_config();
    house
        .env
        .push(("HOME".to_owned(), home.to_str().unwrap().to_owned()));
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    fs::write(house.work().join("a.txt"), "a").unwrap();
    fs::write(home.join("b c.txt"), "b").unwrap();
    let mut agent = house.agent();
    let url = format!("file://{}/b%20c.txt", home.display());
    let urls = [
        json!(url),
        json!([url.replace("file://", "file://localhost")]),
    ];
    let files = [json!("a.txt"), json!("[\"a.txt\"]"), json!(["~/b c.txt"])];
    for (number, files) in files.into_iter().chain(urls).enumerate() {
        let text = format!("file {number}");
        let result = agent.reply(json!({"text": text, "files": files, "to": "home"}));
        assert_eq!(result["status"], "delivered", "{files}: {result}");
    }
}

#[test]
fn a_reaction_is_named_as_people_name_it() {
    let house = House::new();
    let _gateway = house.gateway();
    let id = house.arrive("look");
    let mut agent = house.agent();
    agent.poll(json!({}));
    for emoji in ["thumbsup", ":+1:", "👍🏽", "\u{1f44d}\u{fe0f}"] {
        let result = agent
            .call(
                "telegram_react",
                json!({"emoji": emoji, "to": [id.to_string()]}),
            )
            .ok();
        assert_eq!(result["status"], "delivered", "{emoji}: {result}");
    }
    let refusal = agent
        .call("telegram_react", json!({"emoji": "party hard"}))
        .refused();
    assert!(refusal.contains("choose one of ❤ 👍"), "{refusal}");
}

#[test]
fn what_stays_refused_says_what_to_write() {
    let house = House::new();
    let mut agent = house.agent();
    for (tool, arguments, words) in [
        (
            "telegram_reply",
            json!({"text": "x", "keep_open": "maybe"}),
            "must be true or false",
        ),
        ("telegram_poll", json!({"ack": "all"}), "such as [815, 816]"),
        (
            "telegram_poll",
            json!({"seconds": 5}),
            "the parameters are `limit`, `wait_seconds`",
        ),
        (
            "telegram_reply",
            json!({"text": "x", "to": "the group"}),
            "or \"home\"",
        ),
        (
            "telegram_react",
            json!({}),
            "`emoji` is missing: write one emoji",
        ),
    ] {
        let refusal = agent.call(tool, arguments).refused();
        assert!(
            refusal.contains(words) && refusal.contains("Nothing was changed; call again"),
            "{refusal}"
        );
    }
}

#[test]
fn a_configuration_that_was_corrected_is_read_by_the_next_call() {
    let mut house = House::new();
    house.config["pace"] = json!("warp");
    house.write_config();
    let mut agent = house.agent();
    let refusal = agent.call("telegram_poll", json!({})).refused();
    assert!(refusal.contains("warp"), "{refusal}");
    house.config["pace"] = json!("wrap");
    house.write_config();
    let refusal = agent.call("telegram_reply", json!({})).refused();
    assert!(refusal.contains("wrap"), "{refusal}");
    house.config["pace"] = json!("off");
    house.write_config();
    let _gateway = house.gateway();
    let id = house.arrive("at last");
    assert_eq!(ids(&agent.poll(json!({}))), [id]);
    let answer = agent.reply(json!({"text": "answer"}));
    assert_eq!(answer["acked"], json!([id]));
}

#[test]
fn a_folder_that_was_allowed_meanwhile_is_sent_from_by_the_next_call() {
    let mut house = House::new();
    let _gateway = house.gateway();
    house.sim.open_chat(house.bot(), OWNER);
    let folder = house.path().join("reports");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("a.txt");
    fs::write(&file, "a").unwrap();
    let mut agent = house.agent();
    let send = json!({"files": [file], "to": "home"});
    let refusal = agent.call("telegram_reply", send.clone()).refused();
    assert!(refusal.contains("send_roots"), "{refusal}");
    house.config["sessions"]["ONE"]["send_roots"] = json!([folder]);
    house.write_config();
    assert_eq!(agent.reply(send)["status"], "delivered");
}
