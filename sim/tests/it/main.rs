//! The simulator over its socket, one fact per test.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod conflicts;
mod control;
mod entities;
mod faults;
mod files;
mod groups;
mod limits;
mod messages;
mod people;
mod reactions;
mod topics;
mod transport;
mod updates;
