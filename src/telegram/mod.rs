//! The Bot API: the only module that knows Telegram's wire.
//!
//! Owns the transport ([`api`]), what an answer means ([`error`]), the lenient reading of updates
//! ([`update`]), text with entities ([`mod@format`]), the 73 reactions ([`reactions`]) and the poll loop's timing ([`polling`]).

pub mod api;
pub mod error;
pub mod format;
pub(crate) mod picture;
pub(crate) mod polling;
pub(crate) mod reactions;
pub mod split;
pub mod update;
