//! The documents, held by tests: their length, their links, the facts that the source cites, the paths that they
//! name, and the parts that are made from the code.
//!
//! `UPDATE_DOCS=1` rewrites the generated parts, between `<!-- generated:NAME -->` and
//! `<!-- /generated:NAME -->`, instead of comparing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files with this extension below these folders.
fn files(folders: &[&str], extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| top().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(top()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every document that people read.
fn documents() -> Vec<PathBuf> {
    let mut found = files(&["docs", "plugin", "fuzz"], "md");
    for entry in fs::read_dir(top()).unwrap() {
        let path = PathBuf::from(entry.unwrap().file_name());
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

/// A document without its code blocks.
fn prose(path: &Path) -> String {
    let mut is_code = false;
    let text = read(path);
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_pages_are_short() {
    assert!(read("README.md").lines().count() <= 180);
    assert!(read("ARCHITECTURE.md").lines().count() <= 220);
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = prose(&document);
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                _ => document.parent().unwrap().join(path),
            };
            let is_there = top().join(&target).exists()
                && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !is_there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_eq!(broken, [] as [String; 0]);
}

/// The anchors of a document, as GitHub makes them of its headings.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = prose(document);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter.is_alphanumeric().then_some(letter),
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_document_can_be_found_from_the_index() {
    let index = read("docs/README.md") + &read("docs/decisions/README.md");
    let lost: Vec<PathBuf> = files(&["docs"], "md")
        .into_iter()
        .filter(|page| !page.ends_with("README.md"))
        .filter(|page| !index.contains(page.file_name().unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(lost, [] as [PathBuf; 0]);
}

#[test]
fn every_fact_that_the_source_cites_is_written_down() {
    let mut missing = Vec::new();
    let mut count = 0;
    let mut sources = files(&["src", "sim", "tests", "benches", "examples"], "rs");
    // Here they are only examples.
    sources.retain(|file| !file.ends_with("documents.rs"));
    for file in sources {
        for (page, section) in citations(&read(&file)) {
            count += 1;
            let page = format!("docs/facts/{page}.md");
            let is_there = fs::read_to_string(top().join(&page)).is_ok_and(|text| {
                let mut headings = text.lines().filter(|line| line.starts_with("##"));
                headings.any(|heading| {
                    let number = heading.trim_start_matches('#').split_whitespace().next();
                    number.is_some_and(|number| number.trim_end_matches('.') == section)
                })
            });
            if !is_there {
                missing.push(format!("{}: {page} {section}", file.display()));
            }
        }
    }
    assert_eq!(missing, [] as [String; 0]);
    assert!(count > 40, "only {count} citations found");
}

/// The page and the sections of each citation, such as `page.md 1, 2.3 and 4`.
fn citations(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let comments: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("//").map(|(_, comment)| comment))
        .map(|comment| comment.trim_start_matches(['/', '!', ' ']))
        .collect();
    let text = comments.join(" ");
    let pieces: Vec<&str> = text.split(".md ").collect();
    for pair in pieces.windows(2) {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        let page: String = pair[0].chars().rev().take_while(|&c| is_name(c)).collect();
        let page: String = page.chars().rev().collect();
        for word in pair[1].split_whitespace() {
            let number: String = word
                .chars()
                .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
                .collect();
            let number = number.trim_end_matches('.');
            if number.is_empty() && word != "and" {
                break;
            }
            if !number.is_empty() {
                found.push((page.clone(), number.to_owned()));
            }
            // Only these lead to one more section.
            if word != "and" && !word.ends_with(',') && !pair[1].contains(&format!("{word} and ")) {
                break;
            }
        }
    }
    found
}

#[test]
fn citations_are_read_as_they_are_written() {
    let text = "/// It waits (x.md 4).\n// (see docs/facts/some-page.md 1, 2.1, 5)\n//! All (y.md\n//! 3 and 5.2: that).";
    let found = citations(text);
    let expected = [
        ("x", "4"),
        ("some-page", "1"),
        ("some-page", "2.1"),
        ("some-page", "5"),
        ("y", "3"),
        ("y", "5.2"),
    ];
    let expected = expected.map(|(page, section)| (page.to_owned(), section.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn every_source_path_that_a_document_names_is_there() {
    const FOLDERS: [&str; 9] = [
        "src/",
        "tests/",
        "sim/",
        "benches/",
        "fuzz/",
        "examples/",
        "docs/",
        "plugin/",
        ".ci/",
    ];
    let layers: Vec<String> = fs::read_dir(top().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| format!("{}/", entry.file_name().to_str().unwrap()))
        .collect();
    let mut gone = Vec::new();
    for document in documents() {
        for name in prose(&document).split('`').skip(1).step_by(2) {
            let is_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
            let is_named = FOLDERS.iter().any(|folder| name.starts_with(folder))
                || layers.iter().any(|layer| name.starts_with(layer.as_str()))
                || Path::new(name).extension().is_some_and(|end| end == "rs");
            if !is_named || !name.chars().all(is_path) {
                continue;
            }
            // A module may be named as imports name it, a test by its name alone.
            let beside = document.parent().unwrap();
            let folders = [
                beside,
                Path::new("src"),
                Path::new("tests/it"),
                Path::new(""),
            ];
            let is_there = folders.iter().any(|folder| {
                let path = top().join(folder).join(name);
                path.exists() || path.with_extension("rs").exists()
            });
            if !is_there {
                gone.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert_eq!(gone, [] as [String; 0]);
}

/// Compares a generated part of a document with what it should be, or rewrites it.
fn generated(page: &str, name: &str, make: impl FnOnce(&str) -> String) {
    let text = read(page);
    let (begin, end) = (
        format!("<!-- generated:{name} -->\n"),
        format!("<!-- /generated:{name} -->"),
    );
    let (head, rest) = text.split_once(&begin).unwrap();
    let (now, tail) = rest.split_once(&end).unwrap();
    let expected = make(now);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(
            top().join(page),
            format!("{head}{begin}{expected}{end}{tail}"),
        )
        .unwrap();
    } else {
        assert!(
            now == expected,
            "{page} differs from the code: run this test with UPDATE_DOCS=1. It should be\n{expected}"
        );
    }
}

#[test]
fn the_page_of_commands_is_what_help_prints() {
    generated("docs/commands.md", "commands", |_| {
        let mut page = Vec::new();
        describe(&[], &mut page);
        page.concat()
    });
}

/// A command and those below it, as headings with what `--help` says.
fn describe(command: &[&str], page: &mut Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_telepost"))
        .args(command)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    // Every command has these; they stand at the first one.
    let is_global = |line: &&str| {
        let all = ["--config ", "--log-level ", "-h, --help", "-V, --version"];
        !command.is_empty()
            && all
                .iter()
                .any(|option| line.trim_start().starts_with(option))
    };
    let lines: Vec<&str> = help.lines().filter(|line| !is_global(line)).collect();
    let text = lines.join("\n").trim_end().to_owned();
    let text = text.strip_suffix("\nOptions:").unwrap_or(&text).trim_end();
    let title = [&["telepost"], command].concat().join(" ");
    let level = "#".repeat(3 + command.len().saturating_sub(1).min(1));
    page.push(format!("{level} {title}\n\n```text\n{text}\n```\n\n"));
    let commands = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, rest)| rest);
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    // Deeper indentation goes on with the words of the line above.
    for name in commands.filter(|line| !line.starts_with("   ")) {
        let name = name.split_whitespace().next().unwrap();
        if name != "help" {
            describe(&[command, &[name]].concat(), page);
        }
    }
}

#[test]
fn the_page_of_crash_points_has_a_row_for_each_step() {
    generated("docs/crash-points.md", "steps", |now| {
        let rows: BTreeMap<&str, &str> = now
            .lines()
            .filter_map(|row| row.strip_prefix("| `")?.split_once("` |"))
            .map(|(name, rest)| (name, rest.split_once('|').unwrap().1))
            .collect();
        let heading = now.lines().take(2);
        let mut page: Vec<String> = heading.map(|line| format!("{line}\n")).collect();
        for (name, meaning) in steps() {
            let rest = rows.get(name.as_str());
            assert!(
                rest.is_some() || std::env::var_os("UPDATE_DOCS").is_some(),
                "docs/crash-points.md has no row for the step {name}"
            );
            let rest = rest.copied().unwrap_or(" TO DO | | | |");
            page.push(format!("| `{name}` | {meaning} |{rest}\n"));
        }
        page.concat()
    });
    assert!(!read("docs/crash-points.md").contains("TO DO"));
}

/// The name of each durable step, and what its comment says, in the order of the code.
fn steps() -> Vec<(String, String)> {
    let source = read("src/store/crash_points.rs");
    let (_, all) = source.split_once("\ndeclare_steps! {\n").unwrap();
    let (all, _) = all.split_once("\n}\n").unwrap();
    let mut found = Vec::new();
    let mut comment = Vec::new();
    for line in all.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            comment.push(words);
        } else if let Some((_, name)) = line.split_once(" = ") {
            let name = name.trim_matches(['"', ',']);
            let meaning = comment.join(" ");
            found.push((name.to_owned(), meaning.trim_end_matches('.').to_owned()));
            comment.clear();
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}
