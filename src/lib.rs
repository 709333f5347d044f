//! telepost: a durable Telegram mailbox for every coding-agent session.
//!
//! The modules stand in the order in which a message travels; ARCHITECTURE.md has the map.

pub mod telegram;

pub mod gate;

pub mod inbox;

pub mod attachments;

pub mod mcp;

pub mod outbox;

pub mod session;

pub mod wake;

pub mod gateway;

pub mod store;

pub mod install;

pub mod care;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod ids;
mod logging;
pub mod prune;
pub mod report;
pub mod terminal;
