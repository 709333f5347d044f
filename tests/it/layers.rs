//! The layers of the library: imports go downwards only, so no circle between folders is possible.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, top to bottom. A module imports from its own layer and from those below it; the modules of
/// one line are one layer.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["gateway"],
    &["ops"],
    &["mcp"],
    &["hook"],
    &["sender"],
    &["fetcher"],
    &["waker"],
    &["launch"],
    &["state"],
    &["routing"],
    &["telegram"],
    &["install"],
    &["config"],
    &["store"],
    &["clock", "error_chain", "ids", "text"],
];

#[test]
fn imports_go_downwards_only() {
    let mut upwards = BTreeSet::new();
    for (file, from) in modules() {
        let rank = rank_of(&from).unwrap_or_else(|| panic!("`{from}` is in no layer"));
        for to in imports(&fs::read_to_string(&file).unwrap()) {
            let is_upwards = rank_of(&to).is_none_or(|other| other < rank);
            let is_beside = rank_of(&to) == Some(rank) && to != from && rank + 1 < LAYERS.len();
            if is_upwards || is_beside {
                upwards.insert(format!("{} -> {to}", file.display()));
            }
        }
    }
    assert_eq!(upwards, BTreeSet::new(), "these imports go upwards");
}

#[test]
fn every_layer_of_the_table_exists() {
    let there: BTreeSet<String> = modules().into_iter().map(|(_, module)| module).collect();
    let named: BTreeSet<String> = LAYERS
        .iter()
        .flat_map(|layer| layer.iter().map(|&name| name.to_owned()))
        .collect();
    assert_eq!(there, named);
}

#[test]
fn an_import_in_any_form_is_seen() {
    let text = "use crate::cli::a;\nuse crate::{mcp, ops::b as c};\n//! [`crate::hook`]\nfn f() -> crate::waker::X {}\n\
                #[cfg(test)]\nmod tests { use crate::gateway; }\n";
    let expected = ["cli", "mcp", "ops", "waker"].map(str::to_owned);
    assert_eq!(imports(text), BTreeSet::from(expected));
}

fn rank_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Every source file but unit tests, with the top module that it belongs to.
fn modules() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&src).unwrap();
            let is_test = inside
                .iter()
                .any(|part| part == "tests" || part == "tests.rs");
            let first = inside.iter().next().unwrap().to_str().unwrap();
            let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
            if !is_test && module != "lib" && module != "main" {
                found.push((path, module));
            }
        }
    }
    assert!(found.len() > 50, "{found:?}");
    found
}

/// The top modules of the crate that a source text names outside its comments and unit tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        let rest = &code[at + matched.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split("};").next().unwrap();
            found.extend(group.split(',').map(first_name));
        } else {
            found.insert(first_name(rest));
        }
    }
    found.remove("");
    found
}

/// The identifier that a path begins with.
fn first_name(path: &str) -> String {
    let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    path.trim_start().chars().take_while(is_name).collect()
}
