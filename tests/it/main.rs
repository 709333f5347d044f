//! The product as people and agents see it: the real binary over real pipes, against the strict
//! simulator. One file per behaviour.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    unused_crate_dependencies,
    reason = "a test fails by panicking, and makes its own files and times"
)]

mod support;

mod autostart;
mod cancel;
mod gateway;
mod holders;
mod keep_open;
mod message;
mod paging;
mod poll;
mod random;
mod react;
mod repeat;
mod reply;
mod round_trip;
mod schema;
mod startup;
