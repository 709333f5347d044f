//! Every file of the state folder: its type, its reading and its writing.
//!
//! Three kinds of process share the state folder: the gateway, one MCP server per agent, and short-lived
//! commands and hooks. No other module joins a path of it.

pub(crate) mod absence;
pub mod agents;
pub mod bots;
pub mod changes;
pub mod failure_notices;
pub mod files;
pub mod gateway_status;
pub mod holds;
pub mod inbox;
pub mod layout;
pub mod logs;
pub mod outbox;
pub mod sweep;
pub(crate) mod wake_log;
pub(crate) mod wake_requests;

pub use self::layout::{SessionDir, StateDir};
