//! What ARCHITECTURE.md says of the source, held by a test.

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

/// The files of the code map in ARCHITECTURE.md, each with what it owns.
fn code_map() -> Vec<(PathBuf, String)> {
    let text = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
    let (_, map) = text.split_once("\n## Code map\n").unwrap();
    let (map, _) = map.split_once("\n### ").unwrap();
    let mut found = Vec::new();
    for row in map.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let mut names = cells[1].split('`').skip(1).step_by(2);
        let first = Path::new("src").join(names.next().unwrap());
        // Behind the first come its neighbours.
        let beside = names.map(|name| first.with_file_name(name));
        let files: Vec<PathBuf> = [first.clone()].into_iter().chain(beside).collect();
        found.extend(files.into_iter().map(|file| (file, cells[2].to_owned())));
    }
    found
}

#[test]
fn the_code_map_names_every_module_and_nothing_else() {
    let mut named: Vec<PathBuf> = code_map().into_iter().map(|(path, _)| path).collect();
    // "A file for each larger command."
    named.retain(|path| !path.ends_with("cli/*.rs"));
    let gone: Vec<&PathBuf> = named
        .iter()
        .filter(|path| !top().join(path).is_file())
        .collect();
    assert_eq!(gone, [] as [&PathBuf; 0], "named, and not there");
    // Lists of modules, unit tests and the commands have no rows of their own.
    let needs_none = |path: &Path| {
        path.ends_with("mod.rs")
            || path.ends_with("lib.rs")
            || path.starts_with("src/cli")
            || path
                .iter()
                .any(|part| part == "tests" || part == "tests.rs")
    };
    let unnamed: Vec<PathBuf> = sources(&["src"])
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| !needs_none(path) && !named.contains(path))
        .collect();
    assert_eq!(unnamed, [] as [PathBuf; 0], "there, and not named");
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

#[test]
fn pure_modules_touch_neither_files_nor_clocks_nor_tasks() {
    let pure: Vec<PathBuf> = code_map()
        .into_iter()
        .filter(|(_, owns)| owns.contains("Pure"))
        .map(|(path, _)| path)
        .collect();
    assert!(pure.len() > 40, "{pure:?}");
    for path in pure {
        let text = fs::read_to_string(top().join(&path)).unwrap();
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
    let reasons = fs::read_to_string(top().join("ARCHITECTURE.md")).unwrap();
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
