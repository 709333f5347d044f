//! The product inside the real clients: Claude Code and Codex from npm, at pinned versions, with a
//! model that the test plays, the real binary and the strict simulator. All on loopback, no login.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    unused_crate_dependencies,
    reason = "a test fails by panicking, and makes its own files and times"
)]

#[path = "../it/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the harness of tests/it, of which these tests need a part"
)]
mod support;

/// Makes a test of a function for each client: `each_client!(a_sentence)`.
macro_rules! each_client {
    ($($name:ident),+ $(,)?) => {
        mod claude_code {
            $(#[test] fn $name() { super::$name(crate::client::Kind::Claude); })+
        }
        mod claude_code_older {
            $(#[test] fn $name() { super::$name(crate::client::Kind::OlderClaude); })+
        }
        mod codex {
            $(#[test] fn $name() { super::$name(crate::client::Kind::Codex); })+
        }
    };
}
pub(crate) use each_client;

/// The same for the two Claude Codes.
macro_rules! each_claude {
    ($($name:ident),+ $(,)?) => {
        mod newer {
            $(#[test] fn $name() { super::$name(crate::client::Kind::Claude); })+
        }
        mod older {
            $(#[test] fn $name() { super::$name(crate::client::Kind::OlderClaude); })+
        }
    };
}
pub(crate) use each_claude;

mod client;
mod model;
mod npm;

mod at_terminal;
mod blocked;
mod forms;
mod hooks;
mod installed;
mod interrupted;
#[cfg(target_os = "linux")]
mod orphans;
mod plugin;
mod reading;
mod registration;
mod soak;
mod turn;
mod waking;
