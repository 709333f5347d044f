//! The clients as npm has them, at exactly the versions that `tests/clients/npm/` pins.
//!
//! `tests/run` installs them before the tests; a test that finds one missing installs it itself.
//! Install scripts are not run: all that they do is put the program of this platform elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of a client (`claude-code-2.1.332`, …), installed.
pub(crate) fn program(name: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = top.join("target/clients").join(name);
    let program = folder.join("node_modules").join(path_in_modules(name));
    if !program.exists() {
        install(name);
    }
    assert!(
        program.exists(),
        "{name} is installed, but has no {}; remove {} and try again",
        program.display(),
        folder.display()
    );
    program
}

/// Runs what `tests/run` runs. It locks, so several tests may do it at the same time.
fn install(name: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/install");
    let output = Command::new(&script)
        .arg(name)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{name} cannot be installed; these tests need the real client:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn path_in_modules(name: &str) -> PathBuf {
    let (system, processor) = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => ("darwin", "arm64"),
        ("macos", _) => ("darwin", "x64"),
        (_, "aarch64") => ("linux", "arm64"),
        (_, _) => ("linux", "x64"),
    };
    if name.starts_with("claude-code") {
        return format!("@anthropic-ai/claude-code-{system}-{processor}/claude").into();
    }
    let target = match (system, processor) {
        ("darwin", "arm64") => "aarch64-apple-darwin",
        ("darwin", _) => "x86_64-apple-darwin",
        (_, "arm64") => "aarch64-unknown-linux-musl",
        (_, _) => "x86_64-unknown-linux-musl",
    };
    format!("@openai/codex-{system}-{processor}/vendor/{target}/bin/codex").into()
}
