//! The seeds of the fuzz targets, and what fuzzing has found, replayed: each goes through the same
//! functions that cargo-fuzz calls. `fuzz/README.md` says how to look for more.

#[path = "../../fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "for cargo-fuzz it is a crate of its own")]
mod targets;

use std::fs;
use std::path::Path;

/// Runs a target with each of its seeds, and with each seed cut short.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        run(&bytes);
        for cut in [
            bytes.len() / 3,
            bytes.len() / 2,
            bytes.len().saturating_sub(1),
        ] {
            run(&bytes[..cut]);
        }
        seeds += 1;
    }
    assert!(seeds >= 4, "{target} has no seeds");
}

#[test]
fn updates_keep_the_promises_of_the_way_in() {
    replay("update", targets::update);
}

#[test]
fn files_of_the_state_are_read_refused_or_damaged() {
    replay("state", targets::state);
}

#[test]
fn configurations_are_accepted_or_refused() {
    replay("sessions", targets::sessions);
}

#[test]
fn markdown_fits_into_messages() {
    replay("markdown", targets::markdown);
}
