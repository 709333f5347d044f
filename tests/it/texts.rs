//! Every text that a person or an agent can meet, in one file to be read aloud: `tests/data/texts.md`.
//!
//! The help and the tools are the program's own output. All other texts are the string literals of the source
//! that read like words, so a new text appears in the file by itself. `UPDATE_DOCS=1` rewrites the file.

mod literals;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::House;
use literals::{Use, literals};

/// Set, the file is written anew instead of compared.
const UPDATE: &str = "UPDATE_DOCS";
const HEAD: &str = "\
# Every text that a person or an agent can meet

Made by `tests/it/texts.rs`; `UPDATE_DOCS=1 cargo nextest run --features test-hooks texts::` writes it anew. Read
what changes here aloud: it says what happened and what to do next, in words that a native speaker would choose.
The command and the skill that agents get are files of their own: `plugin/commands`, `plugin/skills`.
`{…}` stands for what the program puts in. A text that the program joins of several literals stands here in pieces.
";

#[test]
fn every_text_stands_in_one_file() {
    let mut text = HEAD.to_owned();
    put_help(&mut text);
    put_tools(&mut text);
    put_source(&mut text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/texts.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let difference = diffy::create_patch(&stored, &text);
    assert!(
        stored == text,
        "texts have changed; if they read well, run once with {UPDATE}=1:\n{difference}"
    );
}

/// A heading, and texts below it that stay as they are.
fn put(text: &mut String, heading: &str, body: &str) {
    let body = body.trim_end();
    writeln!(text, "\n{heading}\n\n````text\n{body}\n````").unwrap();
}

/// The help of every command, as the program prints it.
fn put_help(text: &mut String) {
    let house = House::new();
    text.push_str("\n## Help of the commands\n");
    let mut commands = vec![Vec::new()];
    while let Some(command) = commands.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let name = ["telepost"].into_iter().chain(arguments.iter().copied());
        let heading = format!("### `{}`", name.collect::<Vec<_>>().join(" "));
        arguments.push("--help");
        let output = house.run(&arguments);
        assert!(output.status.success(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        put(text, &heading, &help);
        let below = help.split_once("Commands:\n").unwrap_or_default().1;
        let names = below.lines().take_while(|line| line.starts_with("  "));
        let names = names.filter_map(|line| line.split_whitespace().next());
        let names = names.filter(|name| *name != "help");
        let below = names.map(|name| [command.clone(), vec![name.to_owned()]].concat());
        let from = commands.len();
        commands.extend(below);
        commands[from..].reverse();
    }
}

/// The server and its tools, as a client shows them to a model.
fn put_tools(text: &mut String) {
    let house = House::new();
    let mut agent = crate::support::Agent::start_without_handshake(&mut house.agent_command("ONE"));
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}});
    let hello = agent.request("initialize", hello);
    text.push_str("\n## The tools, as a model reads them\n");
    let instructions = hello["result"]["instructions"].as_str().unwrap();
    put(text, "### Instructions of the server", instructions);
    agent.notify("notifications/initialized", json!({}));
    let tools = agent.request("tools/list", json!({}))["result"]["tools"].take();
    for tool in tools.as_array().unwrap() {
        let mut body = String::new();
        put_descriptions(&mut body, "", tool);
        let name = tool["name"].as_str().unwrap();
        put(text, &format!("### `{name}`"), &body);
    }
}

/// Titles and descriptions in a schema, each with its place.
fn put_descriptions(body: &mut String, place: &str, value: &Value) {
    let Some(fields) = value.as_object() else {
        return;
    };
    for (key, value) in fields {
        if let (Some(words), "description" | "title") = (value.as_str(), key.as_str()) {
            writeln!(body, "{place}{key}: {words}").unwrap();
        }
        let structure = [
            "inputSchema",
            "outputSchema",
            "properties",
            "$defs",
            "items",
        ];
        let inner = if structure.contains(&key.as_str()) {
            place.to_owned()
        } else {
            format!("{place}{key}.")
        };
        let choices = value.as_array().into_iter().flatten();
        for value in choices.chain([value]) {
            put_descriptions(body, &inner, value);
        }
    }
}

/// The string literals of the source that read like words, by file, in their order.
fn put_source(text: &mut String) {
    text.push_str(
        "\n## The source\n\n`error:` is the text of an error, `log:` a line of a log; all others are words by themselves.\n",
    );
    for path in sources() {
        let source = fs::read_to_string(&path).unwrap();
        let mut body = String::new();
        for literal in literals(&source) {
            if reads_like_words(&literal.text) {
                let mark = match literal.used {
                    Use::Error => "error: ",
                    Use::Log => "log: ",
                    Use::Text => "",
                };
                let words = literal.text.trim_end().replace('\n', "\n    ");
                writeln!(body, "{mark}{words}").unwrap();
            }
        }
        if !body.is_empty() {
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            put(text, &format!("### {}", name.display()), &body);
        }
    }
}

/// All files of the source but unit tests, sorted.
fn sources() -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if !path.ends_with("tests") => folders.push(path),
                false if !path.ends_with("tests.rs") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "{found:?}");
    found
}

/// Two words, or one with the end of a sentence.
fn reads_like_words(text: &str) -> bool {
    let mut without_values = String::new();
    let mut depth = 0_usize;
    for letter in text.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => without_values.push(letter),
            _ => {}
        }
    }
    let is_word = |word: &&str| {
        let word = word.trim_matches(|letter: char| letter.is_ascii_punctuation());
        word.chars().filter(|letter| letter.is_alphabetic()).count() > 1
            && word
                .chars()
                .all(|letter| letter.is_alphabetic() || "'’-".contains(letter))
    };
    let words = without_values.split_whitespace().filter(is_word).count();
    let is_sentence =
        text.trim_end().ends_with(['.', '?', '!']) && text.starts_with(char::is_uppercase);
    words > 1 || (words == 1 && (is_sentence || text.contains(' ')))
}
