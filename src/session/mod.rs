//! The processes around a session.

pub mod down;
pub mod downtime;
pub mod process;
pub mod registry;
pub mod tmux;
pub mod turn;
