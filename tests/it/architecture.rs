//! Rules of the source that no lint holds: headers, sizes, pure modules, reasons for dependencies.

use std::fs;
use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| top().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(top()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn no_file_is_longer_than_seven_hundred_lines() {
    let long: Vec<_> = sources(&["src", "sim/src", "tests", "examples"])
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 700)
        .collect();
    assert_eq!(long, []);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = sources(&["src", "sim/src", "tests/it", "tests/clients"])
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("tests.rs"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(silent, [] as [PathBuf; 0]);
}

/// A module is pure if its header says so.
fn is_pure(text: &str) -> bool {
    let header = text.lines().take_while(|line| line.starts_with("//!"));
    let words = header.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric()));
    words.into_iter().any(|word| word == "Pure")
}

#[test]
fn pure_modules_touch_neither_files_nor_clocks_nor_tasks() {
    let pure: Vec<(PathBuf, String)> = sources(&["src"])
        .into_iter()
        .filter(|(_, text)| is_pure(text))
        .collect();
    assert!(pure.len() > 40, "only {} modules are pure", pure.len());
    for (path, text) in pure {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for world in [
            "std::fs", "std::env", "tokio::", "Clock", "async fn", "fastrand",
        ] {
            assert!(
                !code.contains(world),
                "{} is pure, but has {world}",
                path.display()
            );
        }
    }
}

#[test]
fn every_test_file_is_run() {
    for folder in ["tests/it", "tests/clients"] {
        let main = fs::read_to_string(top().join(folder).join("main.rs")).unwrap();
        for entry in fs::read_dir(top().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "main") {
                assert!(
                    main.contains(&format!("\nmod {module};")),
                    "{folder}/{name} is not run"
                );
            }
        }
    }
}

#[test]
fn the_pinned_clients_are_held_by_check_sums_and_to_no_registry() {
    for folder in fs::read_dir(top().join("tests/clients/npm")).unwrap() {
        let folder = folder.unwrap().path();
        let lock = fs::read_to_string(folder.join("package-lock.json")).unwrap();
        assert!(
            !lock.contains("\"resolved\"") && !lock.contains("://"),
            "{lock}"
        );
        let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
        for (name, package) in lock["packages"].as_object().unwrap() {
            let is_ours = name.is_empty();
            assert!(is_ours || package["integrity"].is_string(), "{name}");
        }
    }
}

#[test]
fn every_dependency_has_its_line_of_reason() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let reasons = fs::read_to_string(top().join("docs/dependencies.md")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let names = dependencies
        .lines()
        .filter_map(|line| line.split(" = ").next());
    let unexplained: Vec<_> = names
        .filter(|name| !name.is_empty() && !reasons.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(unexplained, [] as [&str; 0]);
}
