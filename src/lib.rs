//! telepost: a durable Telegram mailbox for every coding-agent session.
//!
//! The modules stand in the order in which a message travels; ARCHITECTURE.md has the map.

pub mod ids;
