use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::*;

/// Set, the stored renderings are written anew instead of compared.
const BLESS: &str = "TELEPOST_BLESS";

/// A text with tags where its formatting begins and ends.
fn shown(rich: &Rich) -> String {
    let mut tags: Vec<(usize, bool, String)> = Vec::new();
    for span in rich.spans() {
        let name = match span.entity.kind {
            Kind::Bold => "b",
            Kind::Italic => "i",
            Kind::Strikethrough => "s",
            Kind::Spoiler => "spoiler",
            Kind::Blockquote => "quote",
            Kind::Code => "code",
            Kind::Pre => "pre",
            Kind::TextLink => "a",
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
