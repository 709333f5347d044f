//! The language of the source: one name, one meaning, and sentences that name their actor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that hide the actor of a sentence.
const VAGUE: [&str; 6] = [
    "whoever",
    "whomever",
    "somebody",
    "nobody",
    "anybody",
    "everybody",
];
/// Words that begin a sentence without an actor, unless it is a question.
const OPENINGS: [&str; 4] = ["Who", "Whose", "Whom", "What"];

#[test]
fn no_type_name_stands_twice_in_the_crate() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in files("src", "rs") {
        let is_test = path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs");
        if is_test {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for name in code.lines().filter_map(declared_type) {
            let places = places.entry(name.to_owned()).or_default();
            let place = path.display().to_string();
            // One file may have a type in two builds, with and without a feature.
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    assert!(places.len() > 200, "{places:?}");
    places.retain(|_, places| places.len() > 1);
    assert_eq!(places, BTreeMap::new());
}

#[test]
fn every_sentence_of_comments_and_documents_names_its_actor() {
    let mut found = Vec::new();
    for folder in ["src", "sim", "tests", "benches", "examples", "fuzz"] {
        for (path, text) in files(folder, "rs") {
            let is_this_file = path.ends_with("vocabulary.rs");
            for comment in comments(&text).into_iter().filter(|_| !is_this_file) {
                found.extend(faults(&comment).map(|fault| format!("{}: {fault}", path.display())));
            }
        }
    }
    for (path, text) in files(".", "md") {
        for paragraph in paragraphs(&text) {
            // Headings and the heads of tables are no sentences.
            found.extend(
                faults(&paragraph)
                    .filter(|fault| fault.ends_with('.'))
                    .map(|fault| format!("{}: {fault}", path.display())),
            );
        }
    }
    assert!(
        found.is_empty(),
        "{} sentences:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn a_sentence_without_an_actor_is_noticed() {
    let faulty = [
        "Whoever comes first does it.",
        "It is read. What is held stays.",
        "Nothing that nobody reads.",
    ];
    for text in faulty {
        assert_eq!(faults(text).count(), 1, "{text}");
    }
    for text in [
        "What is a hold?",
        "The sender skips names that the watcher reported.",
        "It says `whoever`.",
    ] {
        assert_eq!(faults(text).count(), 0, "{text}");
    }
    let source =
        "//! Head\n//! goes on.\nfn f() {\n    // One\n    // two.\n    g(); // three\n}\n";
    assert_eq!(comments(source), ["Head goes on.", "One two.", "three"]);
}

/// The faults of one text: each sentence with a vague word or opening.
fn faults(text: &str) -> impl Iterator<Item = String> {
    let prose = without_code(text);
    sentences(&prose)
        .into_iter()
        .filter(|sentence| {
            let first = sentence.split_whitespace().next().unwrap_or_default();
            let opens = OPENINGS.contains(&first) && !sentence.ends_with('?');
            let vague = sentence
                .split(|letter: char| !letter.is_alphabetic())
                .any(|word| VAGUE.contains(&word.to_lowercase().as_str()));
            opens || vague
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find([' ', '\n']).and_then(|_| end_of_sentence(rest)) {
        found.push(rest[..at].trim().to_owned());
        rest = rest[at..].trim_start();
    }
    found.push(rest.trim().to_owned());
    found
}

/// The place behind the first full stop, colon, question or exclamation mark that a space follows.
fn end_of_sentence(text: &str) -> Option<usize> {
    let ends = |(at, letter): (usize, char)| {
        let next = text[at + letter.len_utf8()..].chars().next();
        (".?!:".contains(letter) && next == Some(' ')).then_some(at + letter.len_utf8())
    };
    text.char_indices().find_map(ends)
}

fn without_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 0 { part } else { "code" })
        .collect()
}

/// The comments of a source text, each run of comment lines as one text.
fn comments(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in source.lines() {
        let trimmed = line.trim_start();
        let whole = ["//!", "///", "//"]
            .into_iter()
            .find_map(|mark| trimmed.strip_prefix(mark));
        match (whole, line.split_once(" // ")) {
            (Some(text), _) if goes_on && !text.trim().is_empty() => {
                let last = found.last_mut().unwrap();
                last.push(' ');
                last.push_str(text.trim());
            }
            (Some(text), _) | (None, Some((_, text))) => found.push(text.trim().to_owned()),
            (None, None) => {}
        }
        goes_on = whole.is_some_and(|text| !text.trim().is_empty());
    }
    found
}

/// The paragraphs, items and table cells of a Markdown text outside blocks of code.
fn paragraphs(text: &str) -> Vec<String> {
    let outside: Vec<&str> = text.split("\n```").step_by(2).collect();
    let mut found = Vec::new();
    for block in outside.join("\n\n").split("\n\n") {
        let mut paragraph = String::new();
        for line in block.lines() {
            let line = line.trim();
            let begins = line.starts_with(['|', '-', '*', '#', '>']);
            if begins {
                found.push(std::mem::take(&mut paragraph));
            }
            if line.starts_with('|') {
                found.extend(line.split('|').map(|cell| cell.trim().to_owned()));
            } else {
                paragraph.push(' ');
                paragraph.push_str(line.trim_start_matches(['-', '*', '#', '>', ' ']));
            }
        }
        found.push(paragraph);
    }
    found.retain(|paragraph| !paragraph.trim().is_empty());
    found
        .into_iter()
        .map(|text| text.trim().to_owned())
        .collect()
}

/// The name of the type that a line declares, if it declares one.
fn declared_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1.trim_start(),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let rest = ["struct ", "enum ", "trait ", "union "]
        .into_iter()
        .find_map(|keyword| line.strip_prefix(keyword))?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let name = &rest[..end.unwrap_or(rest.len())];
    // A macro has a variable there.
    (!name.is_empty()).then_some(name)
}

/// The files of a folder with an ending, below all its folders but builds and installed packages.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let is_built = name == "target" || name == "node_modules" || name == ".git";
            if entry.file_type().unwrap().is_dir() && !is_built {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) && path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(top).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}
