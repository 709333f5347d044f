//! The processes around a session.

pub mod process;
pub mod registry;
pub mod turn;
