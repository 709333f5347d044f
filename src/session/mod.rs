//! The processes around a session.

pub mod clients;
pub mod down;
pub mod downtime;
pub mod process;
pub mod registry;
pub mod rollout;
pub mod turn;
