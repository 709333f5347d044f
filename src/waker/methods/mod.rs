//! The ways of waking an agent, one file each.

pub mod codex_queue;
pub mod inbox_socket;
pub mod tmux;
