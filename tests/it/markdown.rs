//! GitHub Markdown of agents is readable in the chat: nothing of it is refused or lost.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telepost::telegram::format::{EntityStyle, Rich, markdown};

use crate::support::markdown::{documents, generated, judge, judge_repairs, smallest};
use crate::support::{House, OWNER};

/// Limits by turn: of a message, of a caption, and one that cuts everywhere.
const LIMITS: [usize; 3] = [4096, 1024, 60];

#[track_caller]
fn judge_at(limits: &[usize], name: &str, source: &str) {
    let fault = |source: &str| {
        let cut = limits.iter().find_map(|limit| judge(source, *limit).err());
        cut.or_else(|| judge_repairs(source).err())
    };
    if fault(source).is_some() {
        let source = smallest(source, |source| fault(source).is_some());
        panic!("{name}: {}\n{source:?}", fault(&source).unwrap_or_default());
    }
}

#[track_caller]
fn judge_generated(seeds: std::ops::Range<u64>) {
    for (seed, limit) in seeds.zip(LIMITS.into_iter().cycle()) {
        judge_at(&[limit], &format!("seed {seed}"), &generated(seed));
    }
}

#[test]
fn no_document_is_refused_or_loses_anything() {
    let documents = documents();
    assert!(documents.len() >= 200, "{}", documents.len());
    for (title, source) in documents {
        judge_at(&LIMITS, &title, &source);
    }
}

#[test]
fn no_generated_document_is_refused_or_loses_anything() {
    judge_generated(0..1000);
}

#[test]
#[ignore = "ten thousand documents; run by TELEPOST_SOAK=1"]
fn ten_thousand_generated_documents() {
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    judge_generated(first..first + 10_000);
}

/// The agent answers with a document, and the chat has what the pure parts say of it.
#[track_caller]
fn travels(documents: &[(String, String)]) {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent();
    let mut heard = 0;
    for (title, source) in documents {
        house.say(title);
        agent.wait_for_message();
        let answer = agent.reply(json!({"text": source}));
        let pieces = judge(source, 4096).unwrap();
        house.wait_until_sent();
        let lines = house.bot_lines(OWNER).split_off(heard);
        heard += lines.len();
        let seen: Vec<(String, Vec<Value>)> = lines
            .into_iter()
            .map(|line| (line.text, line.entities))
            .collect();
        let meant: Vec<(String, Vec<Value>)> = pieces
            .into_iter()
            .map(|piece| {
                let entities = piece.entities.iter().map(|entity| json!(entity));
                (piece.text, entities.collect())
            })
            .collect();
        assert!(seen == meant, "{title}: {answer}\n{seen:?}\n{meant:?}");
    }
}

#[test]
fn documents_travel_from_the_agent_to_the_chat_as_they_are_meant() {
    let some: Vec<_> = documents().into_iter().step_by(4).collect();
    assert!(some.len() >= 50, "{}", some.len());
    travels(&some);
}

#[test]
fn bold_arrives_bold_and_no_link_shows_a_preview() {
    let house = House::new();
    let _gateway = house.gateway();
    house
        .agent_asked("how is it?")
        .reply(json!({"text": "All **green**: [log](https://example.org/log)"}));
    let line = house.bot_lines(OWNER).remove(0);
    assert_eq!(line.text, "All green: log");
    assert_eq!(
        line.entities,
        [
            json!({"type": "bold", "offset": 4, "length": 5}),
            json!({"type": "text_link", "offset": 11, "length": 3, "url": "https://example.org/log"}),
        ]
    );
    let call = &house.sim.calls_of(house.bot(), "sendMessage")[0];
    assert_eq!(
        call.params["link_preview_options"],
        json!({"is_disabled": true})
    );
    assert_eq!(call.params.get("parse_mode"), None);
}

#[test]
fn progress_is_formatted_too_also_when_it_is_edited() {
    let house = House::new();
    let _gateway = house.gateway();
    let mut agent = house.agent_asked("a long task");
    for text in ["`one`", "**two**"] {
        agent.reply(json!({"text": text, "keep_open": true}));
        house.wait_until_sent();
    }
    let line = house.bot_lines(OWNER).remove(0);
    assert_eq!((line.text.as_str(), line.edits), ("two", 1));
    assert_eq!(
        line.entities,
        [json!({"type": "bold", "offset": 0, "length": 3})]
    );
}

/// Set, the stored renderings are written anew instead of compared.
const BLESS: &str = "TELEPOST_BLESS";

/// A text with tags where its formatting begins and ends.
fn shown(rich: &Rich) -> String {
    let mut tags: Vec<(usize, bool, String)> = Vec::new();
    for span in rich.spans() {
        let name = match span.entity.kind {
            EntityStyle::Bold => "b",
            EntityStyle::Italic => "i",
            EntityStyle::Underline => "u",
            EntityStyle::Strikethrough => "s",
            EntityStyle::Spoiler => "spoiler",
            EntityStyle::Blockquote => "quote",
            EntityStyle::Code => "code",
            EntityStyle::Pre => "pre",
            EntityStyle::TextLink => "a",
        };
        let detail = span.entity.url.or(span.entity.language);
        let detail = detail.map_or(String::new(), |detail| format!(" {detail}"));
        tags.push((span.range.start, true, format!("<{name}{detail}>")));
        tags.insert(0, (span.range.end, false, format!("</{name}>")));
    }
    tags.sort_by_key(|(at, opens, _)| (*at, *opens));
    let mut text = String::new();
    let mut from = 0;
    for (at, _, tag) in tags {
        text.push_str(&rich.text[from..at]);
        text.push_str(&tag);
        from = at;
    }
    text + &rich.text[from..]
}

#[test]
fn markdown_is_shown_as_the_stored_examples_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/markdown/examples.txt");
    let stored = fs::read_to_string(&path).unwrap();
    let (head, examples) = stored.split_once("\n══ ").unwrap();
    let mut now = head.to_owned();
    for example in examples.split("\n══ ") {
        let (title, rest) = example.split_once('\n').unwrap();
        let source = rest.split("\n── shown\n").next().unwrap();
        let shown = shown(&markdown(source));
        write!(now, "\n══ {title}\n{source}\n── shown\n{shown}\n").unwrap();
    }
    if std::env::var_os(BLESS).is_some() {
        fs::write(&path, &now).unwrap();
        return;
    }
    for (now, stored) in now.split("\n══ ").zip(stored.split("\n══ ")) {
        assert_eq!(now, stored, "if it is meant, run once with {BLESS}=1");
    }
    assert_eq!(now, stored);
}
