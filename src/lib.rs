//! telepost: a durable Telegram mailbox for every coding-agent session.
//!
//! The modules stand in layers, top to bottom: a module imports from its own layer and from those below it.
//! `tests/it/layers.rs` holds the table.

pub mod cli;

pub mod gateway;

mod ops;

pub mod mcp;

mod hook;

pub mod sender;

pub mod fetcher;

pub mod waker;

pub mod launch;

pub mod state;

pub mod routing;

pub mod telegram;

mod install;

pub mod config;

pub mod store;

pub mod clock;
pub mod error_chain;
pub mod ids;
pub mod text;
